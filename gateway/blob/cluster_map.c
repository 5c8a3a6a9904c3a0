/* gateway/blob/cluster_map.c - who is there: the map, the thread that keeps it
 * fresh, the one that looks after nodes that are waited for, and the order in
 * which nodes are tried. */
#include "gateway/blob/cluster_int.h"

#include "lib/clock.h"
#include "lib/mem.h"

#include <stdio.h>

#define MS 1000000ll
#define TRACKER_BAD_MS 3000
#define ASK_MS 1000
#define HOME_MS 2000 /* of all trackers together */
#define KICK_MS 100  /* between two refreshes, however many failures */
#define WATCH_MS 1000
#define REMEMBER_S 600
#define GRACE_S 10

/* --- views --- */

void
view_put(struct view *v)
{
	if (v == NULL || atomic_fetch_sub(&v->refs, 1) > 1)
		return;
	cmap_fini(&v->map);
	mem_free(&v->nodes);
	mem_free(&v->groups);
	mem_free(&v);
}

struct view *
view_get(struct cluster *c)
{
	struct view *v;

	lock_take(&c->lock);
	v = c->view;
	atomic_fetch_add(&v->refs, 1);
	lock_drop(&c->lock);
	return v;
}

static const struct view_group *
view_group(const struct view *v, struct str name)
{
	for (size_t i = 0; i < v->n_groups; i++)
		if (str_eqz(name, v->groups[i].name))
			return &v->groups[i];
	return NULL;
}

static struct node *
remember(struct cluster *c, const struct id128 *id)
{
	struct node *n;

	for (n = c->nodes; n != NULL; n = n->next)
		if (id128_eq(&n->id, id))
			return n;
	n = mem_zalloc(sizeof(*n));
	if (n == NULL)
		return NULL;
	n->id = *id;
	n->next = c->nodes;
	c->nodes = n;
	return n;
}

static bool
takes_writes(const struct cmap_node *n)
{
	return !n->is_away && n->can_write && n->state == FDFS_STATE_ACTIVE;
}

static uint64_t
room_of(const struct cmap_node *n)
{
	uint64_t room = 0;

	for (size_t i = 0; i < n->n_paths; i++)
		if (!n->paths[i].is_failed && n->paths[i].avail > n->reserved)
			room += n->paths[i].avail - n->reserved;
	return room;
}

static void
add_to_group(struct view *v, size_t i)
{
	struct view_group *g =
	    v->n_groups == 0 ? NULL : &v->groups[v->n_groups - 1];
	const struct cmap_node *n = v->nodes[i].c;
	uint32_t copies;

	if (g == NULL || strcmp(g->name, n->group) != 0) {
		g = &v->groups[v->n_groups++];
		*g = (struct view_group){ .first = i, .avail = UINT64_MAX };
		memcpy(g->name, n->group, sizeof(g->name));
	}
	g->n++;
	if (n->n_members > g->members)
		g->members = n->n_members;
	if (g->members < g->n)
		g->members = g->n;
	/* What one node may have acknowledged with fewest counts; 0 is two
	 * (storage/replication/rep.h). */
	copies = n->min_copies > 0 ? n->min_copies : 2;
	if (n->heard_s != 0 && (g->copies == 0 || copies < g->copies))
		g->copies = copies;
	if (takes_writes(n)) {
		g->can_write = true;
		if (room_of(n) < g->avail)
			g->avail = room_of(n);
	}
}

static int
by_group(const void *a, const void *b)
{
	const struct cmap_node *x = a, *y = b;
	int d = strcmp(x->group, y->group);

	if (d != 0)
		return d;
	return x->server_id < y->server_id ? -1 : x->server_id > y->server_id;
}

/* C1: what @old has and this map lacks, for a while. */
static int
keep_forgotten(struct cluster *c, struct cmap *map, const struct view *old,
    struct err *e)
{
	int64_t now = clock_mono_ns();
	struct cmap_node *p;

	for (size_t i = 0; old != NULL && i < old->n_nodes; i++) {
		const struct cmap_node *n = old->nodes[i].c;
		size_t j;

		for (j = 0; j < map->n_nodes; j++)
			if (id128_eq(&map->nodes[j].node, &n->node) ||
			    (map->nodes[j].server_id == n->server_id &&
				strcmp(map->nodes[j].group, n->group) == 0))
				break;
		if (j < map->n_nodes || map->n_nodes >= CLUSTER_MAX_NODES ||
		    now - old->nodes[i].n->listed_ns > REMEMBER_S * 1000 * MS)
			continue;
		p = mem_realloc(map->nodes, (map->n_nodes + 1) * sizeof(*p));
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		map->nodes = p;
		p = &map->nodes[map->n_nodes++];
		*p = *n;
		p->n_paths = 0; /* not its own: see cmap_fini() */
		p->paths = NULL;
		if (now - old->nodes[i].n->listed_ns < GRACE_S * 1000 * MS)
			continue; /* it will be announced in a moment */
		p->is_away = true;
		p->can_write = false;
	}
	(void)c;
	return 0;
}

/* Takes @map over. */
static int
view_make(struct cluster *c, struct cmap *map, const struct view *old,
    struct view **ret, struct err *e)
{
	struct view *v = mem_zalloc(sizeof(*v));
	size_t listed = map->n_nodes;
	int64_t now = clock_mono_ns();
	int rc = 0;

	if (v == NULL) {
		cmap_fini(map);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	atomic_store(&v->refs, 1);
	for (size_t i = 0; i < listed; i++) {
		struct node *n = remember(c, &map->nodes[i].node);

		if (n != NULL)
			n->listed_ns = now;
	}
	rc = keep_forgotten(c, map, old, e);
	v->map = *map;
	v->nodes = mem_zalloc((map->n_nodes + 1) * sizeof(*v->nodes));
	v->groups = mem_zalloc((map->n_nodes + 1) * sizeof(*v->groups));
	if (rc == 0 && (v->nodes == NULL || v->groups == NULL))
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	if (rc < 0) {
		view_put(v);
		return rc;
	}
	if (map->n_nodes > 1)
		qsort(map->nodes, map->n_nodes, sizeof(*map->nodes), by_group);
	for (size_t i = 0; i < map->n_nodes; i++) {
		const struct cmap_node *n = &v->map.nodes[i];
		struct view_node *p = &v->nodes[v->n_nodes];

		p->n = remember(c, &n->node);
		if (p->n == NULL || n->group[0] == '\0')
			continue; /* it is not seen until the next time */
		p->c = n;
		p->addr = n->inner.ip[0] != '\0' ? n->inner : n->outer;
		add_to_group(v, v->n_nodes++);
	}
	*ret = v;
	return 0;
}

/* --- the order of trying --- */

bool
node_is_bad(const struct node *n)
{
	int64_t until =
	    atomic_load_explicit(&n->bad_until_ns, memory_order_relaxed);

	return until != 0 && until > clock_mono_ns();
}

bool
node_is_good(const struct view_node *n, bool to_write)
{
	if (n->c->is_away || n->c->state != FDFS_STATE_ACTIVE ||
	    node_is_bad(n->n))
		return false;
	if (!to_write)
		return true;
	return n->c->can_write &&
	       atomic_load(&n->n->unwilling_until_ns) <= clock_mono_ns();
}

static bool
is_gone(const struct view_node *n)
{
	return n->c->state == FDFS_STATE_DELETED || n->addr.ip[0] == '\0';
}

static bool
is_first_choice(const struct view_node *n, bool to_write)
{
	return node_is_good(n, to_write) &&
	       (to_write || atomic_load_explicit(&n->n->slow_until_ns,
				memory_order_relaxed) <= clock_mono_ns());
}

/* Nodes of @g that are good, or those that are not, from a turn on. */
static size_t
add_nodes(const struct view *v, const struct view_group *g, bool good,
    bool to_write, uint32_t turn, struct view_node **ret, size_t n)
{
	for (size_t i = 0; i < g->n && n < CLUSTER_TRIES; i++) {
		struct view_node *p = &v->nodes[g->first + (turn + i) % g->n];

		if (!is_gone(p) && is_first_choice(p, to_write) == good)
			ret[n++] = p;
	}
	return n;
}

size_t
order_read(struct cluster *c, const struct view *v, struct str group,
    struct view_node *ret[CLUSTER_TRIES])
{
	const struct view_group *g = view_group(v, group);
	uint32_t turn =
	    atomic_fetch_add_explicit(&c->turn, 1, memory_order_relaxed);
	size_t n;

	if (g == NULL)
		return 0;
	n = add_nodes(v, g, true, false, turn, ret, 0);
	return add_nodes(v, g, false, false, turn, ret, n);
}

/* Positions of all groups: @wanted, then those with the most room. */
static size_t
order_groups(const struct view *v, struct str wanted,
    size_t ret[CLUSTER_MAX_GROUPS])
{
	size_t n = 0;

	for (size_t i = 0; i < v->n_groups && n < CLUSTER_MAX_GROUPS; i++) {
		const struct view_group *g = &v->groups[i];
		size_t at = n++;

		while (at > 0) {
			const struct view_group *o = &v->groups[ret[at - 1]];

			if (str_eqz(wanted, o->name) ||
			    (!str_eqz(wanted, g->name) && o->avail >= g->avail))
				break;
			ret[at] = ret[at - 1];
			at--;
		}
		ret[at] = i;
	}
	return n;
}

size_t
order_write(struct cluster *c, const struct view *v, struct str group,
    struct view_node *ret[CLUSTER_TRIES])
{
	uint32_t turn =
	    atomic_fetch_add_explicit(&c->turn, 1, memory_order_relaxed);
	size_t order[CLUSTER_MAX_GROUPS], n_groups, n = 0;

	n_groups = order_groups(v, group, order);
	for (size_t i = 0; i < n_groups; i++)
		n = add_nodes(v, &v->groups[order[i]], true, true, turn, ret,
		    n);
	for (size_t i = 0; i < n_groups; i++)
		n = add_nodes(v, &v->groups[order[i]], false, true, turn, ret,
		    n);
	return n;
}

static int
ask_home(struct cluster *c, size_t i, int64_t ms, char ret[FDFS_GROUP_LEN + 1],
    struct err *e)
{
	int limit = ms < ASK_MS ? (int)ms : ASK_MS;
	struct rpc_watch w = { .open_ms = limit };
	struct rpc_request q = { .op = RPC_HOME, .watch = &w };
	struct rpc_reply r;
	struct unpack u;
	struct str name;
	int rc;

	rpc_reply_init(&r);
	rc = rpc_call(c->rpc, &c->trackers[i], &q, limit, &r, e);
	if (rc == 0) {
		u = unpack_of(buf_str(&r.args));
		name = unpack_str(&u, FDFS_GROUP_LEN);
		rc = unpack_end(&u, e);
	}
	if (rc == 0 && name.len > 0) {
		memset(ret, 0, FDFS_GROUP_LEN + 1);
		memcpy(ret, name.p, name.len);
	}
	rpc_reply_fini(&r);
	return rc;
}

/* What a tracker would choose (its store_lookup); NULL: none says in HOME_MS, or
 * none that is known here. Each is asked once. */
static const struct view_group *
home_of_trackers(struct cluster *c, const struct view *v)
{
	char name[FDFS_GROUP_LEN + 1] = "";
	int64_t now = clock_mono_ns(), until = now + HOME_MS * MS;
	size_t n = c->conf.n_trackers;
	bool was_bad[FDFS_MAX_TRACKERS];
	struct err e = ERR_INIT;
	int rc = -1;

	for (size_t i = 0; i < n; i++)
		was_bad[i] = atomic_load(&c->tracker_bad_ns[i]) > now;
	/* First those that answered lately. */
	for (size_t k = 0; rc < 0 && k < 2 * n && now < until; k++) {
		if (was_bad[k % n] != (k >= n))
			continue;
		rc = ask_home(c, k % n, (until - now) / MS + 1, name, &e);
		now = clock_mono_ns();
		if (rc == ERR_DISCONNECTED)
			atomic_store(&c->tracker_bad_ns[k % n],
			    now + TRACKER_BAD_MS * MS);
	}
	return rc < 0 ? NULL : view_group(v, str_of(name));
}

static const struct view_group *
roomiest(const struct view *v)
{
	const struct view_group *g = NULL;

	for (size_t i = 0; i < v->n_groups; i++) {
		const struct view_group *o = &v->groups[i];

		if (o->can_write && (g == NULL || o->avail > g->avail))
			g = o;
	}
	return g;
}

void
cluster_choose_group(void *impl, struct str wish, char dst[BLOB_GROUP_MAX + 1])
{
	struct view *v = view_get(impl);
	const struct view_group *g = view_group(v, wish);

	if (g == NULL)
		g = home_of_trackers(impl, v);
	if (g == NULL)
		g = roomiest(v);
	if (g != NULL)
		memcpy(dst, g->name, BLOB_GROUP_MAX + 1);
	view_put(v);
}

/* --- keeping it fresh --- */

void
cluster_kick(struct cluster *c)
{
	lock_take(&c->lock);
	c->is_kicked = true;
	cond_signal(&c->wake);
	lock_drop(&c->lock);
}

static int
ask_map(struct cluster *c, size_t i, struct cmap *ret, struct err *e)
{
	struct rpc_request q = { .op = RPC_MAP };
	struct rpc_reply r;
	int rc;

	rpc_reply_init(&r);
	rc = rpc_call(c->rpc, &c->trackers[i], &q, ASK_MS, &r, e);
	if (rc == 0)
		rc = cmap_unpack(r.body.len > 0 ? buf_str(&r.body)
						: buf_str(&r.args),
		    ret, e);
	if (rc == 0 && ret->n_nodes > CLUSTER_MAX_NODES) {
		cmap_fini(ret);
		rc = err_set(e, ERR_TOO_BIG, "a map of too many nodes");
	}
	rpc_reply_fini(&r);
	return rc;
}

static int
ask_any(struct cluster *c, struct cmap *ret, struct err *e)
{
	int64_t now = clock_mono_ns();
	int rc = err_set(e, ERR_DISCONNECTED, "no tracker is named");

	/* First those that answered lately, then all. */
	for (int last = 0; last < 2; last++) {
		for (size_t i = 0; i < c->conf.n_trackers; i++) {
			size_t t = (c->tracker + i) % c->conf.n_trackers;

			if ((c->tracker_bad_ns[t] > now) != (last == 1))
				continue;
			rc = ask_map(c, t, ret, e);
			if (rc == 0) {
				c->tracker = t;
				c->tracker_bad_ns[t] = 0;
				return 0;
			}
			c->tracker_bad_ns[t] = now + TRACKER_BAD_MS * MS;
		}
	}
	return rc;
}

static void
report(struct cluster *c, int rc, const struct err *e)
{
	if (rc < 0 && !c->was_bad)
		cluster_event(c, 1, "no tracker gives a map of the cluster: %s",
		    e->msg);
	else if (rc == 0 && c->was_bad)
		cluster_event(c, 2, "trackers answer again");
	c->was_bad = rc < 0;
}

static int
refresh(struct cluster *c, struct err *e)
{
	struct view *v, *old = view_get(c);
	struct cmap map = { 0 };
	int rc = ask_any(c, &map, e);

	if (rc == 0)
		rc = view_make(c, &map, old, &v, e);
	view_put(old);
	if (rc < 0)
		return rc;
	v->is_given = true;
	lock_take(&c->lock);
	old = c->view;
	c->view = v;
	lock_drop(&c->lock);
	view_put(old);
	return 0;
}

/* GATE_ANNOUNCE: index, epoch, address, version. */
static int
pack_gate(struct cluster *c, struct buf *b)
{
	struct id128 index_id;
	int rc;

	lock_take(&c->lock);
	index_id = c->index_id;
	lock_drop(&c->lock);
	rc = pack_id(b, &index_id);
	if (rc == 0)
		rc = pack_u64(b, atomic_load(&c->epoch));
	if (rc == 0)
		rc = pack_str(b, str_of(c->conf.address.ip));
	if (rc == 0)
		rc = pack_u32(b, c->conf.address.port);
	if (rc == 0)
		rc = pack_str(b, str_of(c->conf.version));
	return rc;
}

static void
announce_to(struct cluster *c, size_t i)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_GATE_ANNOUNCE };
	struct err e = ERR_INIT;

	if (c->tracker_bad_ns[i] > clock_mono_ns())
		return;
	if (pack_gate(c, &args) == 0) {
		q.args = buf_str(&args);
		if (rpc_call(c->rpc, &c->trackers[i], &q, ASK_MS, NULL, &e) ==
		    ERR_DISCONNECTED)
			c->tracker_bad_ns[i] =
			    clock_mono_ns() + TRACKER_BAD_MS * MS;
	}
	buf_fini(&args);
}

/* C7 */
static void
watch(struct cluster *c)
{
	struct view *v = view_get(c);

	for (size_t i = 0; i < v->n_nodes; i++) {
		struct view_node *n = &v->nodes[i];

		if (atomic_load(&n->n->n_long) == 0 || cluster_lives(c, n) ||
		    cluster_lives(c, n))
			continue;
		cluster_event(c, 1,
		    "node %u of %s shows no sign of life: what waits for it "
		    "is given up",
		    n->c->server_id, n->c->group);
		rpc_client_cut(c->rpc, &n->addr);
	}
	view_put(v);
}

/* C3: nodes that were away when the index was taken are told; and one of each
 * group is asked whether another gateway has taken it since. */
static void
fence_again(struct cluster *c)
{
	uint64_t epoch = atomic_load(&c->epoch), newest;
	struct view *v;

	if (epoch == 0 || atomic_load(&c->is_lost))
		return;
	v = view_get(c);
	for (size_t g = 0; g < v->n_groups; g++) {
		for (size_t i = 0; i < v->groups[g].n; i++) {
			struct view_node *n = &v->nodes[v->groups[g].first + i];
			bool is_turn = i == c->round % v->groups[g].n;
			struct err e = ERR_INIT;
			int rc;

			if (n->c->is_away || node_is_bad(n->n) ||
			    (!is_turn && atomic_load(&n->n->fenced) == epoch))
				continue;
			newest = 0;
			rc = cluster_fence(c, n, &c->index_id, epoch, &newest,
			    &e);
			if (rc == 0)
				atomic_store(&n->n->fenced, epoch);
			else if (rc == ERR_ACCESS_DENIED && newest > epoch)
				cluster_lose(c, newest);
		}
	}
	view_put(v);
	c->round++;
}

static void *
refresher_main(void *arg)
{
	struct cluster *c = arg;
	int64_t next = 0;
	struct err e;
	int rc;

	lock_take(&c->lock);
	while (!c->stop) {
		c->is_kicked = false;
		lock_drop(&c->lock);
		e = ERR_INIT;
		rc = refresh(c, &e);
		report(c, rc, &e);
		if (clock_mono_ns() >= next) {
			next = clock_mono_ns() + c->conf.refresh_ms * MS;
			fence_again(c);
			for (size_t i = 0; i < c->conf.n_trackers; i++)
				announce_to(c, i);
		}
		lock_take(&c->lock);
		if (!c->stop)
			cond_wait_ms(&c->wake, &c->lock,
			    c->is_kicked ? KICK_MS : c->conf.refresh_ms);
		if (!c->stop && c->is_kicked && c->conf.refresh_ms > KICK_MS) {
			/* Many failures are one: not one question each. */
			lock_drop(&c->lock);
			clock_sleep_ms(KICK_MS);
			lock_take(&c->lock);
		}
	}
	lock_drop(&c->lock);
	return NULL;
}

static void *
watcher_main(void *arg)
{
	struct cluster *c = arg;

	lock_take(&c->lock);
	while (!c->stop) {
		lock_drop(&c->lock);
		watch(c);
		lock_take(&c->lock);
		if (!c->stop)
			cond_wait_ms(&c->watch, &c->lock, WATCH_MS);
	}
	lock_drop(&c->lock);
	return NULL;
}

int
cluster_map_start(struct cluster *c, struct err *e)
{
	struct cmap none = { 0 };
	int rc = view_make(c, &none, NULL, &c->view, e);

	if (rc == 0)
		rc = thread_start(&c->thread, "blob-map", refresher_main, c, e);
	c->has_thread = rc == 0;
	if (rc == 0) {
		rc =
		    thread_start(&c->watcher, "blob-watch", watcher_main, c, e);
		c->has_watcher = rc == 0;
	}
	return rc;
}

void
cluster_map_stop(struct cluster *c)
{
	struct node *n;

	lock_take(&c->lock);
	c->stop = true;
	cond_broadcast(&c->wake);
	cond_broadcast(&c->watch);
	lock_drop(&c->lock);
	if (c->has_thread)
		thread_join(c->thread);
	if (c->has_watcher)
		thread_join(c->watcher);
	view_put(c->view);
	while ((n = c->nodes) != NULL) {
		c->nodes = n->next;
		mem_free(&n);
	}
}
