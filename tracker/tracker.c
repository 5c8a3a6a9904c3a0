/* tracker/tracker.c - see tracker/tracker.h. */
#include "tracker/tracker.h"

#include "cluster/rpc.h"
#include "cluster/secret.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	TRACKER_MAGIC = 0x5472636b,
	LISTENERS_MAX = 16,
	TICK_MS = 250,
	ANNOUNCE_MS = 1000,
	HOST_MAX = 256,
	ANSWER_MAX = 1 << 20, /* of FastDFS's commands */
	SAVED_MAX = 16 << 20,
	EVENTS_MAX = 64 << 10,
	DIR_MAX = 4096
};

struct listener {
	struct tracker *t;
	enum fdfs_form form;
	char host[HOST_MAX];
	uint16_t port;
	struct fdfs_server *server;
};

struct other { /* a tracker of the settings; perhaps this one */
	struct tracker *t;
	size_t no;
	struct fdfs_addr addr;
	pthread_t thread;
	bool is_started;
};

struct tracker {
	unsigned magic;
	char dir[DIR_MAX], file[DIR_MAX];
	int dir_lock;
	char version[16];
	void (*event)(void *arg, int level, const char *text);
	void *arg;
	struct id128 self;
	int64_t started_s;
	struct rpc_server *rpc;
	struct rpc_client *client;
	char *secret; /* lasts as long as the RPC halves */
	struct listener listeners[LISTENERS_MAX];
	size_t n_listeners;
	struct other others[FDFS_MAX_TRACKERS];
	size_t n_others;
	pthread_t ticker;
	bool has_ticker;
	struct lock lock; /* the fields below; no I/O */
	struct cond wake;
	bool stopping;
	struct tcore *core;
	struct fdfs_allow allow;
	struct buf events; /* level, text, NUL: said by the ticker */
	uint64_t saved;    /* tcore_changes() of what is in the file */
	struct caller {    /* nodes with connections here */
		struct id128 id;
		unsigned n;
	} * callers;
	size_t n_callers, room; /* room: of the array */
};

static struct tcore_now
now(void)
{
	return (struct tcore_now){ clock_mono_ns() / 1000000, clock_real_s() };
}

/* --- events --- */

static void
on_event(void *arg, int level, const char *text)
{
	struct tracker *t = arg;
	size_t old = t->events.len;

	/* Under the lock; what does not fit is lost, the log lives on. */
	if (buf_addc(&t->events, (char)level) < 0 ||
	    buf_add(&t->events, text, strlen(text) + 1) < 0)
		t->events.len = old;
}

static void
say_events(struct tracker *t)
{
	struct buf b;

	lock_take(&t->lock);
	b = t->events;
	t->events = BUF_CAP(EVENTS_MAX);
	lock_drop(&t->lock);
	for (size_t i = 0; i < b.len; i += strlen(b.p + i) + 1) {
		int level = b.p[i++];

		t->event(t->arg, level, b.p + i);
	}
	buf_fini(&b);
}

static void
say(struct tracker *t, int level, const char *what, const char *why)
{
	char text[400];

	snprintf(text, sizeof(text), "%.150s: %s", what, why);
	t->event(t->arg, level, text);
}

/* --- FastDFS's commands --- */

static void
fill_stat(struct fdfs_conn *c, struct tcore_ask *a)
{
	struct fdfs_server_stat s;

	fdfs_conn_server_stat(c, &s);
	a->connections = s.connections;
	a->most = s.most;
	a->limit = s.limit;
}

static int
admit(void *arg, const struct fdfs_addr *peer, const struct fdfs_command *c,
    struct err *e)
{
	struct listener *l = arg;
	bool yes;

	if (c != fdfs_command(c->number))
		return 0; /* Creel's own prove the secret */
	lock_take(&l->t->lock);
	yes = fdfs_allow_has(&l->t->allow, peer);
	lock_drop(&l->t->lock);
	return yes ? 0 : err_set(e, ERR_ACCESS_DENIED, "not in allow_hosts");
}

static int
on_fdfs(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct buf b = BUF_CAP(ANSWER_MAX);
	struct listener *l = arg;
	struct tracker *t = l->t;
	struct tcore_ask a = { .peer = *fdfs_conn_peer(c), .form = l->form };
	int rc;

	fdfs_conn_local(c, &a.local);
	if (in->header.command == FDFS_TRACKER_STAT)
		fill_stat(c, &a);
	lock_take(&t->lock);
	rc = tcore_answer(t->core, now(), &a, &in->header, in->head, &b, e);
	lock_drop(&t->lock);
	if (rc == 0)
		rc = fdfs_conn_reply(c, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

/* --- Creel's --- */

static int
on_announce(struct tracker *t, const struct rpc_from *from, struct str args,
    struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(args);
	char group[FDFS_GROUP_LEN + 1];
	struct cmap_node n;
	int rc = cmap_node_unpack(&u, &n, e);

	if (rc < 0)
		return rc;
	memcpy(group, n.group, sizeof(group));
	if (!id128_eq(&n.node, &from->id) || n.server_id != from->server_id ||
	    strcmp(n.group, from->group) != 0)
		rc = err_set(e, ERR_INVALID,
		    "announcement of another node than that of the handshake");
	if (rc < 0) {
		cmap_node_fini(&n);
		return rc;
	}
	if (n.inner.ip[0] == '\0')
		memcpy(n.inner.ip, from->addr.ip, sizeof(n.inner.ip));
	lock_take(&t->lock);
	rc = tcore_hear_node(t->core, now(), &n, e);
	if (rc == 0)
		rc = tcore_map(t->core, now(), str_of(group), 0, &a->body, e);
	lock_drop(&t->lock);
	return rc;
}

static int
on_map(struct tracker *t, struct str args, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(args);
	uint64_t seq = args.len > 0 ? unpack_u64(&u) : 0;
	struct str group =
	    u.rest.len > 0 ? unpack_str(&u, FDFS_GROUP_LEN) : STR_LIT("");
	int rc = unpack_end(&u, e);

	if (rc < 0)
		return rc;
	lock_take(&t->lock);
	rc = tcore_map(t->core, now(), group, seq, &a->body, e);
	lock_drop(&t->lock);
	return rc;
}

static int
on_gate(struct tracker *t, const struct rpc_from *from, struct str args,
    struct err *e)
{
	struct unpack u = unpack_of(args);
	struct cmap_gate g = { .gate = from->id };
	struct str ip, version;
	int rc;

	g.index = unpack_id(&u);
	g.index_epoch = unpack_u64(&u);
	ip = unpack_str(&u, FDFS_IP_MAX);
	g.addr.port = (uint16_t)unpack_u32(&u);
	version = unpack_str(&u, sizeof(g.version) - 1);
	rc = unpack_end(&u, e);
	if (rc < 0)
		return rc;
	if (ip.len > 0)
		memcpy(g.addr.ip, ip.p, ip.len);
	else
		memcpy(g.addr.ip, from->addr.ip, sizeof(g.addr.ip));
	if (version.len > 0)
		memcpy(g.version, version.p, version.len);
	lock_take(&t->lock);
	rc = tcore_hear_gate(t->core, now(), &g, e);
	lock_drop(&t->lock);
	return rc;
}

static int
on_tracker(struct tracker *t, struct rpc_answer *a, struct err *e)
{
	int rc = pack_id(&a->args, &t->self);

	if (rc == 0)
		rc = pack_str(&a->args, str_of(t->version));
	if (rc == 0)
		rc = pack_u64(&a->args, (uint64_t)t->started_s);
	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

static int
on_forget(struct tracker *t, struct str args, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct str group = unpack_str(&u, FDFS_GROUP_LEN);
	uint32_t server_id = unpack_u32(&u);
	int rc = unpack_end(&u, e);

	if (rc < 0)
		return rc;
	lock_take(&t->lock);
	rc = tcore_forget(t->core, now(), group, server_id, e);
	lock_drop(&t->lock);
	return rc;
}

static int
on_home(struct tracker *t, struct rpc_answer *a, struct err *e)
{
	char name[FDFS_GROUP_LEN + 1];
	int rc;

	lock_take(&t->lock);
	rc = tcore_home(t->core, now(), name, e);
	lock_drop(&t->lock);
	return rc == 0 ? pack_str(&a->args, str_of(name)) : rc;
}

static int
on_rpc(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct tracker *t = arg;
	int rc;

	switch (q->op) {
	case RPC_ANNOUNCE:
		return on_announce(t, from, q->args, a, e);
	case RPC_MAP:
		return on_map(t, q->args, a, e);
	case RPC_GATE_ANNOUNCE:
		return on_gate(t, from, q->args, e);
	case RPC_TRACKER_ANNOUNCE:
		return on_tracker(t, a, e);
	case RPC_FOUND:
		lock_take(&t->lock);
		rc = tcore_found(t->core, now(), str_of(from->group), &from->id,
		    from->server_id, e);
		lock_drop(&t->lock);
		return rc;
	case RPC_HOME:
		return on_home(t, a, e);
	case RPC_FORGET:
		return on_forget(t, q->args, e);
	default:
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "%s is not for a tracker", rpc_op_name(q->op));
	}
}

/* One connection more or less; false without memory. The last one's end is not
 * waited for: a node that was killed gets no more clients from here. */
static bool
count_caller(struct tracker *t, const struct rpc_from *from, bool is_open,
    bool *ret_is_last)
{
	size_t i = 0;

	*ret_is_last = false;
	while (i < t->n_callers && !id128_eq(&t->callers[i].id, &from->id))
		i++;
	if (!is_open) {
		if (i < t->n_callers && --t->callers[i].n == 0) {
			t->callers[i] = t->callers[--t->n_callers];
			*ret_is_last = true;
		}
		return true;
	}
	if (i == t->room) {
		size_t room = t->room * 2 + 16;
		void *more =
		    mem_realloc(t->callers, room * sizeof(*t->callers));

		if (more == NULL)
			return false;
		t->callers = more;
		t->room = room;
	}
	if (i == t->n_callers)
		t->callers[t->n_callers++] = (struct caller){ from->id, 0 };
	t->callers[i].n++;
	return true;
}

static void
on_connection(void *arg, const struct rpc_from *from, bool is_open)
{
	struct tracker *t = arg;
	bool is_last;

	if (from->kind != RPC_NODE && from->kind != RPC_PEER)
		return;
	lock_take(&t->lock);
	/* Without memory a connection is not counted, and the node is seen as
	 * gone too early once: its next word corrects that. */
	if (count_caller(t, from, is_open, &is_last) && is_last)
		tcore_lose_node(t->core, now(), str_of(from->group), &from->id);
	lock_drop(&t->lock);
}

/* --- the file (W1) --- */

static int
load(struct tracker *t, struct err *e)
{
	struct buf b = BUF_CAP(SAVED_MAX);
	struct err why = ERR_INIT;
	int rc = fs_read_file(t->file, SAVED_MAX, &b, e);

	if (rc == ERR_NOT_FOUND) {
		buf_fini(&b);
		return 0;
	}
	if (rc == 0)
		rc = tcore_load(t->core, now(), buf_str(&b), &why);
	buf_fini(&b);
	if (rc == ERR_CORRUPT) {
		say(t, LOG_WARN, t->file, why.msg);
		return 0;
	}
	if (rc == 0)
		t->saved = tcore_changes(t->core);
	else if (why.msg[0] != '\0')
		*e = why;
	return rc;
}

static void
save(struct tracker *t)
{
	struct buf b = BUF_CAP(SAVED_MAX);
	struct err e = ERR_INIT;
	uint64_t changes;
	int rc = 0;

	lock_take(&t->lock);
	changes = tcore_changes(t->core);
	if (changes != t->saved)
		rc = tcore_save(t->core, &b);
	lock_drop(&t->lock);
	if (changes == t->saved)
		return;
	if (rc < 0)
		err_set(&e, rc, "%s", err_text(rc));
	else
		rc = fs_write_file(t->file, buf_str(&b), 0600, &e);
	buf_fini(&b);
	if (rc < 0)
		say(t, LOG_ERROR, "groups cannot be saved", e.msg);
	else
		t->saved = changes;
}

/* --- threads --- */

/* False when it is time to stop. */
static bool
rest(struct tracker *t, int ms)
{
	int64_t until = clock_mono_ns() / 1000000 + ms, left = ms;
	bool stopping;

	lock_take(&t->lock);
	while (!t->stopping && left > 0) {
		cond_wait_ms(&t->wake, &t->lock, (int)left);
		left = until - clock_mono_ns() / 1000000;
	}
	stopping = t->stopping;
	lock_drop(&t->lock);
	return !stopping;
}

static void *
tick(void *arg)
{
	struct tracker *t = arg;

	do {
		lock_take(&t->lock);
		tcore_tick(t->core, now());
		lock_drop(&t->lock);
		save(t);
		say_events(t);
	} while (rest(t, TICK_MS));
	save(t);
	say_events(t);
	return NULL;
}

/* Is that tracker there, and is it perhaps this one? */
static int
ask_other(struct other *o, struct err *e)
{
	struct rpc_request q = { .op = RPC_TRACKER_ANNOUNCE };
	struct tracker *t = o->t;
	struct rpc_reply r;
	struct str version;
	struct unpack u;
	struct id128 id;
	int64_t started;
	int rc;

	rpc_reply_init(&r);
	rc = rpc_call(t->client, &o->addr, &q, ANNOUNCE_MS, &r, e);
	if (rc == 0) {
		u = unpack_of(buf_str(&r.args));
		id = unpack_id(&u);
		version = unpack_str(&u, 64);
		started = (int64_t)unpack_u64(&u);
		rc = unpack_end(&u, e);
	}
	if (rc == 0) {
		lock_take(&t->lock);
		tcore_hear_tracker(t->core, now(), o->no, &id, version,
		    started);
		lock_drop(&t->lock);
	}
	rpc_reply_fini(&r);
	return rc;
}

static void *
watch_other(void *arg)
{
	char host[FDFS_HOST_LEN + 1], what[80];
	struct other *o = arg;
	bool is_there = true;

	fdfs_addr_text(&o->addr, host);
	snprintf(what, sizeof(what), "tracker %s", host);
	do {
		struct err e = ERR_INIT;
		int rc = ask_other(o, &e);

		if (rc == ERR_CLOSED)
			break;
		if (rc < 0 && is_there)
			say(o->t, LOG_WARN, what, e.msg);
		if (rc == 0 && !is_there)
			say(o->t, LOG_INFO, what, "is there");
		is_there = rc == 0;
	} while (rest(o->t, ANNOUNCE_MS));
	return NULL;
}

/* --- opening --- */

/* "[HOST]:PORT", HOST empty for all addresses. */
static int
parse_address(const char *text, char host[HOST_MAX], uint16_t *port,
    struct err *e)
{
	struct str s = str_trim(str_of(text)), h;
	ptrdiff_t colon = str_rchr(s, ':');
	uint64_t n;

	if (colon < 0 ||
	    !str_to_u64(str_skip(s, (size_t)colon + 1), UINT16_MAX, &n))
		return err_set(e, ERR_CONFIG, "address %s is not [HOST]:PORT",
		    text);
	h = str_sub(s, 0, (size_t)colon);
	if (h.len >= 2 && h.p[0] == '[' && h.p[h.len - 1] == ']')
		h = str_sub(h, 1, h.len - 2);
	else if (str_chr(h, ':') >= 0)
		return err_set(e, ERR_CONFIG,
		    "address %s: an IPv6 host stands in brackets", text);
	if (h.len >= HOST_MAX)
		return err_set(e, ERR_CONFIG, "address %s is too long", text);
	if (h.len > 0)
		memcpy(host, h.p, h.len);
	host[h.len] = '\0';
	*port = (uint16_t)n;
	return 0;
}

static int
listen_on(struct tracker *t, const char *address, enum fdfs_form form,
    unsigned max_connections, struct err *e)
{
	struct fdfs_route routes[64 + RPC_ROUTES];
	struct fdfs_server_opts o = { .kind = FDFS_TRACKER,
		.routes = routes,
		.admit = admit,
		.max_connections = max_connections };
	struct err why = ERR_INIT;
	struct listener *l;
	int rc;

	if (t->n_listeners == LISTENERS_MAX)
		return err_set(e, ERR_CONFIG, "more than %d addresses",
		    LISTENERS_MAX);
	l = &t->listeners[t->n_listeners];
	*l = (struct listener){ .t = t, .form = form };
	rc = parse_address(address, l->host, &l->port, e);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < 256; i++) {
		const struct fdfs_command *c = fdfs_command((uint8_t)i);

		if (c != NULL && c->servers == FDFS_TRACKER)
			routes[o.n_routes++] =
			    (struct fdfs_route){ .command = c, .fn = on_fdfs };
	}
	MUST(o.n_routes <= 64);
	rpc_server_routes(t->rpc, routes + o.n_routes);
	o.n_routes += RPC_ROUTES;
	o.host = l->host;
	o.port = l->port;
	o.arg = l;
	rc = fdfs_server_open(&o, &l->server, &why);
	if (rc < 0)
		return err_set(e, ERR_CONFIG, "tracker_address %s: %s", address,
		    why.msg);
	l->port = fdfs_server_port(l->server);
	t->n_listeners++;
	return 0;
}

static int
add_other(struct tracker *t, const char *text, struct fdfs_addr *v,
    struct err *e)
{
	struct other *o = &t->others[t->n_others];

	if (t->n_others == FDFS_MAX_TRACKERS)
		return err_set(e, ERR_CONFIG, "more than %d trackers",
		    FDFS_MAX_TRACKERS);
	*o = (struct other){ .t = t, .no = t->n_others };
	if (fdfs_addr_parse(str_of(text), &o->addr, e) < 0)
		return err_set(e, ERR_CONFIG, "trackers: %s is not HOST:PORT",
		    text);
	v[t->n_others++] = o->addr;
	return 0;
}

static int
open_core(struct tracker *t, const struct tracker_conf *c, struct err *e)
{
	struct tcore_conf cc = { .o = c->tune.o,
		.self = t->self,
		.seq = rand_u64() >> 1 | 1,
		.event = on_event,
		.arg = t };
	struct fdfs_addr v[FDFS_MAX_TRACKERS];
	int rc;

	memcpy(cc.version, t->version, sizeof(cc.version));
	rc = tcore_new(&cc, now(), &t->core, e);
	for (size_t i = 0; rc == 0 && i < c->n_trackers; i++)
		rc = add_other(t, c->trackers[i], v, e);
	if (rc == 0)
		tcore_set_trackers(t->core, v, t->n_others);
	return rc == 0 ? load(t, e) : rc;
}

static int
open_dir(struct tracker *t, const char *dir, struct err *e)
{
	char lock[DIR_MAX];
	int rc = fs_mkdir_p(dir, e);

	if (rc < 0)
		return rc;
	snprintf(t->dir, sizeof(t->dir), "%s", dir);
	rc = fs_join(t->file, sizeof(t->file), dir, "groups", e);
	if (rc == 0)
		rc = fs_join(lock, sizeof(lock), dir, "lock", e);
	if (rc == 0)
		rc = fs_lock(lock, &t->dir_lock, e);
	if (rc == ERR_BUSY)
		return err_set(e, ERR_CONFIG, "%s is in use by another process",
		    dir);
	return rc;
}

static int
open_rpc(struct tracker *t, const struct tracker_conf *c, struct err *e)
{
	struct rpc_client_opts o = { .connect_ms = ANNOUNCE_MS,
		.io_ms = ANNOUNCE_MS };
	struct rpc_self self = { .kind = RPC_TRACKER, .id = t->self };
	int rc = secret_check(c->secret, e);

	if (rc == 0)
		rc = secret_cluster_id(c->secret, c->cluster_id, &self.cluster,
		    e);
	if (rc < 0)
		return rc;
	t->secret = str_dupz(c->secret);
	if (t->secret == NULL)
		return err_set(e, ERR_NO_MEMORY, "tracker");
	self.secret = str_of(t->secret);
	o.self = self;
	rc = rpc_client_open(&o, &t->client, e);
	if (rc == 0)
		rc = rpc_server_new(&self, on_rpc, t, 0, &t->rpc, e);
	if (rc == 0)
		rpc_server_watch(t->rpc, on_connection);
	return rc;
}

static int
start(struct tracker *t, const struct tracker_conf *c, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->n_addresses; i++)
		rc = listen_on(t, c->addresses[i], FDFS_NARROW,
		    c->max_connections, e);
	for (size_t i = 0; rc == 0 && i < c->n_wide_addresses; i++)
		rc = listen_on(t, c->wide_addresses[i], FDFS_WIDE,
		    c->max_connections, e);
	if (rc == 0) {
		rc = thread_start(&t->ticker, "tick", tick, t, e);
		t->has_ticker = rc == 0;
	}
	for (size_t i = 0; rc == 0 && i < t->n_others; i++) {
		struct other *o = &t->others[i];

		rc = thread_start(&o->thread, "tracker", watch_other, o, e);
		o->is_started = rc == 0;
	}
	return rc;
}

int
tracker_open(const struct tracker_conf *c, struct tracker **ret, struct err *e)
{
	struct tracker *t = mem_zalloc(sizeof(*t));
	int rc;

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, "tracker");
	t->magic = TRACKER_MAGIC;
	t->dir_lock = -1;
	t->self = id128_new();
	t->started_s = clock_real_s();
	t->event = c->event;
	t->arg = c->arg;
	t->events = BUF_CAP(EVENTS_MAX);
	snprintf(t->version, sizeof(t->version), "%s", c->version);
	lock_init(&t->lock, LOCK_RANK_TRACKER);
	cond_init(&t->wake);
	rc = open_dir(t, c->dir, e);
	if (rc == 0)
		rc = fdfs_allow_init(&t->allow, c->tune.allow, c->tune.n_allow,
		    e);
	if (rc == 0)
		rc = open_core(t, c, e);
	if (rc == 0)
		rc = open_rpc(t, c, e);
	if (rc == 0)
		rc = start(t, c, e);
	if (rc < 0) {
		tracker_close(&t, 0);
		return rc;
	}
	*ret = t;
	return 0;
}

void
tracker_close(struct tracker **tp, int drain_ms)
{
	struct tracker *t = *tp;

	if (t == NULL)
		return;
	OBJ_CHECK(t, TRACKER_MAGIC);
	for (size_t i = 0; i < t->n_listeners; i++)
		fdfs_server_close(&t->listeners[i].server, drain_ms);
	lock_take(&t->lock);
	t->stopping = true;
	cond_broadcast(&t->wake);
	lock_drop(&t->lock);
	if (t->client != NULL)
		rpc_client_stop(t->client);
	for (size_t i = 0; i < t->n_others; i++)
		if (t->others[i].is_started)
			thread_join(t->others[i].thread);
	if (t->has_ticker)
		thread_join(t->ticker);
	rpc_server_free(&t->rpc);
	rpc_client_close(&t->client);
	tcore_free(&t->core);
	fdfs_allow_fini(&t->allow);
	buf_fini(&t->events);
	fs_close(&t->dir_lock);
	cond_fini(&t->wake);
	lock_fini(&t->lock);
	if (t->secret != NULL)
		explicit_bzero(t->secret, strlen(t->secret));
	mem_free(&t->secret);
	mem_free(&t->callers);
	mem_free(tp);
}

int
tracker_retune(struct tracker *t, const struct tracker_tune *u, struct err *e)
{
	struct fdfs_allow allow, old;
	int rc = fdfs_allow_init(&allow, u->allow, u->n_allow, e);

	OBJ_CHECK(t, TRACKER_MAGIC);
	if (rc < 0)
		return rc;
	lock_take(&t->lock);
	old = t->allow;
	t->allow = allow;
	tcore_tune(t->core, &u->o);
	lock_drop(&t->lock);
	fdfs_allow_fini(&old);
	return 0;
}

bool
tracker_listens(struct tracker *t, size_t i, char dst[300], bool *ret_is_wide)
{
	const struct listener *l = &t->listeners[i];
	bool is_six;

	OBJ_CHECK(t, TRACKER_MAGIC);
	if (i >= t->n_listeners)
		return false;
	is_six = strchr(l->host, ':') != NULL;
	snprintf(dst, 300, "%s%s%s:%u", is_six ? "[" : "", l->host,
	    is_six ? "]" : "", l->port);
	*ret_is_wide = l->form == FDFS_WIDE;
	return true;
}
