/* storage/server/storage.c - see storage/server/storage.h: opening, closing. */
#include "storage/server/storage_int.h"

#include "cluster/secret.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

#define KEEP_MS 1000
#define STOP_GRACE_MS 500
#define GUESS_MS 500
#define GUESS_TRIES 40

void
storage_say(struct storage *s, int level, const char *what, const struct err *e)
{
	char text[400];

	snprintf(text, sizeof(text), "%s: %s", what,
	    e->msg[0] != '\0' ? e->msg : err_text(e->code));
	s->c.event(s->c.arg, level, text);
}

/* False when it is time to stop. */
static bool
rest(struct storage *s, int ms)
{
	int64_t until = clock_mono_ns() / 1000000 + ms, left = ms;
	bool stopping;

	lock_take(&s->lock);
	while (!s->stopping && left > 0) {
		cond_wait_ms(&s->wake, &s->lock, (int)left);
		left = until - clock_mono_ns() / 1000000;
	}
	stopping = s->stopping;
	lock_drop(&s->lock);
	return !stopping;
}

/* Something that trackers should know at once. Any task. */
static void
on_change(void *arg)
{
	struct storage *s = arg;

	lock_take(&s->lock);
	s->changes++;
	cond_broadcast(&s->wake);
	lock_drop(&s->lock);
}

/* --- addresses --- */

/* "[HOST]:PORT"; @any_host: HOST may be empty; @any_port: so may ":PORT". */
static int
parse_address(const char *what, const char *text, bool any_host,
    uint16_t port_default, char host[STORAGE_HOST_MAX], uint16_t *port,
    struct err *e)
{
	struct str s = str_trim(str_of(text)), h = s;
	ptrdiff_t colon = str_rchr(s, ':'), close = str_rchr(s, ']');
	uint64_t n = port_default;

	if (colon > close) {
		h = str_sub(s, 0, (size_t)colon);
		if (!str_to_u64(str_skip(s, (size_t)colon + 1), UINT16_MAX, &n))
			return err_set(e, ERR_CONFIG, "%s: %s has no port",
			    what, text);
	}
	if (h.len >= 2 && h.p[0] == '[' && h.p[h.len - 1] == ']')
		h = str_sub(h, 1, h.len - 2);
	else if (str_chr(h, ':') >= 0)
		return err_set(e, ERR_CONFIG,
		    "%s: %s: an IPv6 host stands in brackets", what, text);
	if (h.len >= STORAGE_HOST_MAX || (h.len == 0 && !any_host) ||
	    (n == 0 && port_default != 0))
		return err_set(e, ERR_CONFIG, "%s: %s is not HOST:PORT", what,
		    text);
	if (h.len > 0)
		memcpy(host, h.p, h.len);
	host[h.len] = '\0';
	*port = (uint16_t)n;
	return 0;
}

static void
ip_of_sockaddr(const struct sockaddr *sa, socklen_t len,
    char dst[FDFS_IP_MAX + 1])
{
	char text[NI_MAXHOST];

	dst[0] = '\0';
	if (getnameinfo(sa, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
	    0) {
		text[strcspn(text, "%")] = '\0';
		if (strncmp(text, "::ffff:", 7) == 0 &&
		    strchr(text, '.') != NULL)
			memmove(text, text + 7, strlen(text + 7) + 1);
		if (strlen(text) <= FDFS_IP_MAX)
			memcpy(dst, text, strlen(text) + 1);
	}
}

/* IPv4 first: clients of FastDFS know hardly anything else. */
static int
resolve(const char *host, uint16_t port, struct addrinfo **ret, struct err *e)
{
	struct addrinfo hints = { .ai_family = AF_INET,
		.ai_socktype = SOCK_DGRAM };
	char service[8];
	int rc;

	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, ret);
	if (rc != 0) {
		hints.ai_family = AF_UNSPEC;
		rc = getaddrinfo(host, service, &hints, ret);
	}
	return rc == 0
	           ? 0
	           : err_set(e, ERR_CONFIG, "%s: %s", host, gai_strerror(rc));
}

static int
address_of(const char *what, const char *text, uint16_t port,
    struct fdfs_addr *ret, struct err *e)
{
	char host[STORAGE_HOST_MAX];
	struct addrinfo *found = NULL;
	int rc = parse_address(what, text, false, port, host, &ret->port, e);

	if (rc == 0)
		rc = resolve(host, ret->port, &found, e);
	if (rc < 0)
		return rc;
	ip_of_sockaddr(found->ai_addr, found->ai_addrlen, ret->ip);
	freeaddrinfo(found);
	return 0;
}

/* From which address this machine reaches the first tracker that it knows a
 * way to. Nothing is sent. */
static int
guess_address(struct storage *s, char dst[FDFS_IP_MAX + 1], struct err *e)
{
	struct sockaddr_storage mine;
	socklen_t len;
	int fd;

	for (size_t i = 0; i < s->n_announcers; i++) {
		const struct fdfs_addr *t = &s->announcers[i].addr;
		struct addrinfo *found = NULL;

		if (resolve(t->ip, t->port, &found, e) < 0)
			continue;
		fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		len = sizeof(mine);
		dst[0] = '\0';
		if (fd >= 0 &&
		    connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
		    getsockname(fd, (struct sockaddr *)&mine, &len) == 0)
			ip_of_sockaddr((struct sockaddr *)&mine, len, dst);
		if (fd >= 0)
			close(fd);
		freeaddrinfo(found);
		if (dst[0] != '\0')
			return 0;
	}
	return err_set(e, ERR_CONFIG,
	    "no way to any tracker is known: set inner_address");
}

static int
find_addresses(struct storage *s, struct err *e)
{
	int rc = parse_address("storage_address", s->c.address, true, 0,
	    s->host, &s->port, e);

	for (size_t i = 0; rc == 0 && i < s->c.n_trackers; i++) {
		struct announcer *a = &s->announcers[i];

		if (i == FDFS_MAX_TRACKERS)
			return err_set(e, ERR_CONFIG, "more than %d trackers",
			    FDFS_MAX_TRACKERS);
		a->s = s;
		if (fdfs_addr_parse(str_of(s->c.trackers[i]), &a->addr, e) < 0)
			return err_set(e, ERR_CONFIG,
			    "trackers: %s is not HOST:PORT", s->c.trackers[i]);
		fdfs_addr_text(&a->addr, a->name);
		s->n_announcers++;
	}
	if (rc == 0 && s->port == 0)
		rc = err_set(e, ERR_CONFIG, "storage_address: %s has no port",
		    s->c.address);
	if (rc == 0 && s->n_announcers == 0)
		rc = err_set(e, ERR_CONFIG, "trackers: name at least one");
	return rc;
}

/* Where containers start together, the trackers' names may come later. */
static int
wait_for_address(struct storage *s, struct err *e)
{
	int rc = guess_address(s, s->inner.ip, e);

	for (int i = 0; rc < 0 && i < GUESS_TRIES; i++) {
		if (i == 0)
			storage_say(s, LOG_WARN, "waiting", e);
		clock_sleep_ms(GUESS_MS);
		rc = guess_address(s, s->inner.ip, e);
	}
	return rc;
}

/* When the port is known. */
static int
find_self(struct storage *s, struct err *e)
{
	int rc;

	s->inner.port = s->port;
	if (s->c.inner[0] != '\0')
		rc = address_of("inner_address", s->c.inner, s->port, &s->inner,
		    e);
	else
		rc = wait_for_address(s, e);
	if (rc == 0 && s->c.outer[0] != '\0')
		rc = address_of("outer_address", s->c.outer, s->port, &s->outer,
		    e);
	return rc;
}

/* --- opening --- */

static int
set_tune(struct storage *s, const struct storage_tune *u, struct err *e)
{
	char *secret = str_dupz(str_of(u->http_token_secret)), *old_secret;
	struct fdfs_allow allow, old;
	int rc;

	if (secret == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = fdfs_allow_init(&allow, u->allow, u->n_allow, e);
	if (rc == 0 && u->http_check_token && secret[0] == '\0') {
		fdfs_allow_fini(&allow);
		rc = err_set(e, ERR_CONFIG,
		    "http_check_token needs http_token_secret");
	}
	if (rc < 0) {
		mem_free(&secret);
		return rc;
	}
	lock_take(&s->lock);
	old = s->allow;
	old_secret = s->token_secret;
	s->allow = allow;
	s->token_secret = secret;
	s->check_token = u->http_check_token;
	s->token_ttl_s = u->http_token_ttl_s;
	s->metrics_public = u->metrics_public;
	lock_drop(&s->lock);
	fdfs_allow_fini(&old);
	mem_free(&old_secret);
	return 0;
}

static void
on_event(void *arg, int level, const char *text)
{
	struct storage *s = arg;

	s->c.event(s->c.arg, level, text);
}

static int
open_engine(struct storage *s, struct err *e)
{
	struct engine_conf ec = s->c.tune.engine;
	int rc = secret_check(s->c.secret, e);

	if (rc == 0)
		rc = secret_cluster_id(s->c.secret, s->c.cluster_id,
		    &s->cluster, e);
	if (rc < 0)
		return rc;
	s->secret = str_dupz(s->c.secret);
	if (s->secret == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	ec.deployment = &s->cluster;
	ec.group = s->c.group;
	ec.server_id = s->c.server_id;
	ec.tombstone_keep_s = s->c.tombstone_keep_s;
	ec.event = on_event;
	ec.event_arg = s;
	rc = engine_open(&ec, &s->engine, e);
	if (rc == 0)
		rc = fs_join(s->dir, sizeof(s->dir), ec.paths[0], "cluster", e);
	if (rc == 0)
		s->node = *engine_node_id(s->engine);
	return rc;
}

static void
self_of(struct storage *s, struct rpc_self *ret)
{
	*ret = (struct rpc_self){ .kind = RPC_NODE,
		.id = s->node,
		.cluster = s->cluster,
		.server_id = s->c.server_id,
		.secret = str_of(s->secret) };
	snprintf(ret->group, sizeof(ret->group), "%s", s->c.group);
}

static int
open_env(struct storage *s, struct err *e)
{
	struct rep_threads_opts o = { .client = { .connect_ms = 2000 },
		.event = on_event,
		.arg = s };
	int rc;

	self_of(s, &o.client.self);
	rc = rep_threads_open(&o, &s->threads, e);
	if (rc < 0)
		return rc;
	s->store = (struct rep_engine_store){ s->engine, s->dir };
	s->env = (struct rep_env){ &rep_engine_ops, &s->store, &rep_thread_ops,
		s->threads };
	return fence_load(s, e);
}

static int
open_group(struct storage *s, struct err *e)
{
	struct members_conf mc = { .env = s->env,
		.server_id = s->c.server_id,
		.node = s->node,
		.cluster = s->cluster,
		.inner = s->inner,
		.outer = s->outer,
		.n_trackers = s->n_announcers,
		.has_files = engine_has_files(s->engine),
		.changed = on_change,
		.arg = s };
	struct rep_conf rep = { .env = s->env,
		.min_copies = s->c.min_copies,
		.degraded_writes = s->c.degraded_writes,
		.tombstone_keep_s = s->c.tombstone_keep_s,
		.expired = s->c.expired,
		.arg = s->c.arg };
	struct files_conf fc = { .env = s->env,
		.group = s->c.group,
		.small_limit = s->c.tune.engine.small_limit };
	int rc;

	snprintf(mc.group, sizeof(mc.group), "%s", s->c.group);
	for (size_t i = 0; i < s->n_announcers; i++)
		mc.trackers[i] = s->announcers[i].addr;
	rc = members_open(&mc, &s->members, e);
	if (rc < 0)
		return rc;
	rep.members = s->members;
	rc = rep_open(&rep, &s->rep, e);
	if (rc < 0)
		return rc;
	fc.rep = s->rep;
	fc.members = s->members;
	return files_open(&fc, &s->files, e);
}

static int
open_server(struct storage *s, struct err *e)
{
	struct fdfs_route routes[32 + RPC_ROUTES];
	struct fdfs_server_opts o = { .kind = FDFS_STORAGE,
		.host = s->host,
		.port = s->port,
		.routes = routes,
		.arg = s,
		.admit = storage_admit,
		.gathered = storage_gathered,
		.max_connections = s->c.max_connections };
	struct rpc_self self;
	struct err why = ERR_INIT;
	int rc;

	self_of(s, &self);
	rc = rpc_server_new(&self, storage_on_rpc, s, 0, &s->rpc, e);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < 256; i++) {
		const struct fdfs_command *c = fdfs_command((uint8_t)i);

		if (c != NULL && c->servers == FDFS_STORAGE)
			routes[o.n_routes++] = (struct fdfs_route){ c,
				storage_on_fdfs,
				i == FDFS_UPLOAD ? storage_on_upload : NULL };
	}
	MUST(o.n_routes <= 32);
	rpc_server_routes(s->rpc, routes + o.n_routes);
	o.n_routes += RPC_ROUTES;
	if (fdfs_server_open(&o, &s->server, &why) < 0)
		return err_set(e, ERR_CONFIG, "storage_address %s: %s",
		    s->c.address, why.msg);
	s->port = fdfs_server_port(s->server);
	return 0;
}

static void *
keeper_run(void *arg)
{
	struct storage *s = arg;

	while (rest(s, KEEP_MS)) {
		streams_expire(s, false);
		fence_tell(s);
	}
	return NULL;
}

static int
start_all(struct storage *s, struct err *e)
{
	int rc = find_addresses(s, e);

	if (rc == 0)
		rc = find_self(s, e);
	if (rc == 0)
		rc = open_engine(s, e);
	if (rc == 0)
		rc = open_env(s, e);
	if (rc == 0)
		rc = open_group(s, e);
	if (rc == 0)
		rc = open_server(s, e);
	if (rc == 0 && s->c.http != NULL)
		rc = url_start(s, e);
	if (rc == 0)
		rc = announce_start(s, e);
	s->c.http = NULL; /* the caller's */
	if (rc == 0) {
		rc = thread_start(&s->keeper, "keeper", keeper_run, s, e);
		s->has_keeper = rc == 0;
	}
	return rc;
}

int
storage_open(const struct storage_conf *c, struct storage **ret, struct err *e)
{
	struct storage *s = mem_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	s->magic = STORAGE_MAGIC;
	s->c = *c;
	s->started_s = clock_real_s();
	lock_init(&s->lock, LOCK_RANK_LEAF);
	lock_init(&s->stream_lock, LOCK_RANK_LEAF);
	lock_init(&s->fence_lock, LOCK_RANK_FENCE);
	cond_init(&s->fence_cond);
	cond_init(&s->wake);
	rc = set_tune(s, &c->tune, e);
	if (rc == 0)
		rc = start_all(s, e);
	if (rc < 0) {
		storage_close(&s, 0);
		return rc;
	}
	*ret = s;
	return 0;
}

/* --- closing --- */

struct cutter {
	struct storage *s;
	int64_t at_ns;
	atomic_bool done;
};

/* Handlers that wait for other nodes must not outlive the drain. */
static void *
cut_run(void *arg)
{
	struct cutter *c = arg;

	while (!atomic_load(&c->done) && clock_mono_ns() < c->at_ns)
		usleep(20000);
	rep_threads_stop(c->s->threads);
	return NULL;
}

static void
close_servers(struct storage *s, int drain_ms)
{
	struct cutter c = { .s = s,
		.at_ns = clock_mono_ns() +
		         (drain_ms + STOP_GRACE_MS) * INT64_C(1000000) };
	struct err e = ERR_INIT;
	pthread_t t;
	bool has_cutter;

	has_cutter =
	    s->threads != NULL && thread_start(&t, "cut", cut_run, &c, &e) == 0;
	if (s->rep != NULL)
		rep_hush(s->rep);
	if (s->http != NULL)
		http_server_stop(&s->http);
	if (s->server != NULL) /* announcers look at it to the last */
		fdfs_server_stop(s->server, drain_ms);
	atomic_store(&c.done, true);
	if (has_cutter)
		thread_join(t);
}

void
storage_close(struct storage **sp, int drain_ms)
{
	struct storage *s = *sp;

	if (s == NULL)
		return;
	OBJ_CHECK(s, STORAGE_MAGIC);
	close_servers(s, drain_ms);
	lock_take(&s->lock);
	s->stopping = true;
	cond_broadcast(&s->wake);
	lock_drop(&s->lock);
	if (s->threads != NULL)
		rep_threads_stop(s->threads);
	announce_join(s);
	if (s->has_keeper)
		thread_join(s->keeper);
	streams_expire(s, true);
	fdfs_server_close(&s->server, 0);
	rpc_server_free(&s->rpc);
	files_close(&s->files);
	if (s->rep != NULL)
		rep_close(&s->rep);
	if (s->members != NULL)
		members_close(&s->members);
	rep_threads_close(&s->threads);
	engine_close(&s->engine);
	fdfs_allow_fini(&s->allow);
	mem_free(&s->token_secret);
	mem_free(&s->fences);
	if (s->secret != NULL)
		explicit_bzero(s->secret, strlen(s->secret));
	mem_free(&s->secret);
	cond_fini(&s->wake);
	cond_fini(&s->fence_cond);
	lock_fini(&s->fence_lock);
	lock_fini(&s->stream_lock);
	lock_fini(&s->lock);
	s->magic = 0;
	mem_free(sp);
}

/* --- running --- */

int
storage_retune(struct storage *s, const struct storage_tune *u, struct err *e)
{
	int rc;

	OBJ_CHECK(s, STORAGE_MAGIC);
	rc = set_tune(s, u, e);
	if (rc == 0)
		engine_tune(s->engine, &u->engine);
	return rc;
}

void
storage_reopen_log(struct storage *s)
{
	OBJ_CHECK(s, STORAGE_MAGIC);
	if (s->http != NULL)
		http_server_reopen_log(s->http);
}

void
storage_listens(struct storage *s, char dst[300], char http[300])
{
	bool is_six = strchr(s->host, ':') != NULL;

	OBJ_CHECK(s, STORAGE_MAGIC);
	snprintf(dst, 300, "%s%s%s:%u", is_six ? "[" : "", s->host,
	    is_six ? "]" : "", s->port);
	snprintf(http, 300, "%s", s->http_address);
}
