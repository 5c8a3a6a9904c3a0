/* tests/unit/replication/real.c - see real.h. */
#include "tests/unit/replication/real.h"

#include "lib/clock.h"
#include "lib/fs.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "0123456789abcdef"

static void
must(int rc, const char *what, const struct err *e)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, err_name(rc), e->msg);
	abort();
}

static struct rpc_self
self_of(const struct real_group *g, enum rpc_kind kind, uint32_t server_id,
    const struct id128 *id)
{
	return (struct rpc_self){ .kind = kind,
		.id = *id,
		.cluster = g->cluster,
		.group = "group1",
		.server_id = server_id,
		.secret = STR_LIT(SECRET) };
}

static void
listen_on(const struct rpc_self *self, rpc_handler *fn, void *arg,
    enum fdfs_server_kind kind, uint16_t port, struct rpc_server **ret_rpc,
    struct fdfs_server **ret)
{
	struct fdfs_route routes[RPC_ROUTES];
	struct fdfs_server_opts o = { .kind = kind,
		.host = "127.0.0.1",
		.port = port,
		.routes = routes,
		.n_routes = RPC_ROUTES };
	struct err e = ERR_INIT;

	must(rpc_server_new(self, fn, arg, 0, ret_rpc, &e), "rpc", &e);
	rpc_server_routes(*ret_rpc, routes);
	must(fdfs_server_open(&o, ret, &e), "listen", &e);
}

/* --- the tracker --- */

static int
tracker(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct real_group *g = arg;

	(void)a;
	if (q->op != RPC_FOUND)
		return err_set(e, ERR_INVALID, "not of this tracker");
	if (!id128_is_zero(&g->founder) && !id128_eq(&g->founder, &from->id))
		return err_set(e, ERR_EXISTS, "it is there");
	g->founder = from->id;
	return 0;
}

/* What it would tell: to everybody, from the test's thread. */
static void
tell_all(struct real_group *g)
{
	static struct cmap_node v[REAL_NODES];
	struct cmap map = { .seq = 1, .nodes = v };
	struct member_view mv;
	struct cmap_node *n;
	int i;

	memset(v, 0, sizeof(v));
	for (i = 0; i < g->n; i++) {
		if (g->v[i].m == NULL)
			continue;
		members_get(g->v[i].m, &mv);
		n = &v[map.n_nodes++];
		memcpy(n->group, "group1", 6);
		n->node = *engine_node_id(g->v[i].engine);
		n->inner = (struct fdfs_addr){ .ip = "127.0.0.1",
			.port = g->v[i].port };
		n->server_id = (uint32_t)i + 1;
		n->group_id = mv.group_id;
		n->n_members = mv.self < 0 ? 0 : mv.n;
		memcpy(n->members, mv.m, sizeof(mv.m));
		n->heard_s = 1;
	}
	for (i = 0; i < g->n; i++) {
		if (g->v[i].m != NULL)
			members_hear(g->v[i].m, &map);
	}
}

/* --- nodes --- */

static int
serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct real_node *n = arg;
	struct members *m = __atomic_load_n(&n->m, __ATOMIC_ACQUIRE);
	struct rep *r = __atomic_load_n(&n->r, __ATOMIC_ACQUIRE);

	if (q->op >= RPC_MEMBERS && q->op <= RPC_LEAD)
		return m == NULL ? err_set(e, ERR_BUSY, "starting")
		                 : members_serve(m, from, q, a, e);
	return r == NULL ? err_set(e, ERR_BUSY, "starting")
	                 : rep_serve(r, from, q, a, e);
}

static void
on_event(void *arg, int level, const char *text)
{
	struct real_node *n = arg;

	(void)level;
	if (getenv("CREEL_TEST_EVENTS") != NULL)
		fprintf(stderr, "node %d: %s\n", n->i, text);
}

static void
open_engine(struct real_node *n)
{
	struct engine_conf c = { .paths = n->paths,
		.n_paths = 1,
		.group = "group1",
		.server_id = (uint32_t)n->i + 1,
		.small_limit = n->g->small_limit,
		.volume_size = n->g->volume_size,
		.deployment = &n->g->cluster,
		.tombstone_keep_s = 30 * 86400,
		.event = on_event,
		.event_arg = n };
	struct err e = ERR_INIT;

	mkdir(n->path, 0700);
	must(engine_open(&c, &n->engine, &e), "engine", &e);
	n->store = (struct rep_engine_store){ n->engine, n->cluster_dir };
}

static void
open_replication(struct real_node *n, const struct rpc_self *self)
{
	struct rep_threads_opts to = { .client = { .self = *self },
		.event = on_event,
		.arg = n };
	struct members_conf mc = { .group = "group1",
		.server_id = (uint32_t)n->i + 1,
		.node = self->id,
		.cluster = n->g->cluster,
		.n_trackers = 1,
		.election_ms = 300 };
	/* No test is of a peer that is slow; on a busy machine each may be. */
	struct rep_conf rc = { .peer_ms = 10000 };
	struct err e = ERR_INIT;
	struct members *m;
	struct rep *r;

	must(rep_threads_open(&to, &n->threads, &e), "threads", &e);
	mc.env = (struct rep_env){ &rep_engine_ops, &n->store, &rep_thread_ops,
		n->threads };
	mc.inner = (struct fdfs_addr){ .ip = "127.0.0.1", .port = n->port };
	mc.trackers[0] = n->g->tracker;
	must(members_open(&mc, &m, &e), "members", &e);
	__atomic_store_n(&n->m, m, __ATOMIC_RELEASE);
	rc.env = mc.env;
	rc.members = m;
	must(rep_open(&rc, &r, &e), "replication", &e);
	__atomic_store_n(&n->r, r, __ATOMIC_RELEASE);
}

void
real_start(struct real_group *g, int node)
{
	struct real_node *n = &g->v[node];
	struct rpc_self self;

	open_engine(n);
	self =
	    self_of(g, RPC_NODE, (uint32_t)node + 1, engine_node_id(n->engine));
	listen_on(&self, serve, n, FDFS_STORAGE, n->port, &n->rpc, &n->server);
	n->port = fdfs_server_port(n->server);
	open_replication(n, &self);
}

void
real_stop(struct real_group *g, int node)
{
	struct real_node *n = &g->v[node];

	if (n->engine == NULL)
		return;
	rep_threads_stop(n->threads);
	fdfs_server_close(&n->server, 0);
	rep_close(&n->r);
	members_close(&n->m);
	rep_threads_close(&n->threads);
	rpc_server_free(&n->rpc);
	engine_close(&n->engine);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	(void)f;
	return remove(path);
}

void
real_wipe(struct real_group *g, int node)
{
	MUST(g->v[node].engine == NULL);
	nftw(g->v[node].path, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

void
real_open(struct real_group *g, const char *dir, int n)
{
	struct rpc_self self;
	struct id128 id = id128_new();
	int i;

	memset(g, 0, sizeof(*g));
	g->dir = dir;
	g->n = n;
	g->cluster = id128_new();
	self = self_of(g, RPC_TRACKER, 0, &id);
	listen_on(&self, tracker, g, FDFS_TRACKER, 0, &g->tracker_rpc,
	    &g->tracker_server);
	g->tracker = (struct fdfs_addr){ .ip = "127.0.0.1",
		.port = fdfs_server_port(g->tracker_server) };
	for (i = 0; i < n; i++) {
		g->v[i].g = g;
		g->v[i].i = i;
		snprintf(g->v[i].path, sizeof(g->v[i].path), "%s/node%d", dir,
		    i);
		snprintf(g->v[i].cluster_dir, sizeof(g->v[i].cluster_dir),
		    "%s/node%d/cluster", dir, i);
		g->v[i].paths[0] = g->v[i].path;
	}
}

void
real_close(struct real_group *g)
{
	int i;

	for (i = 0; i < g->n; i++)
		real_stop(g, i);
	fdfs_server_close(&g->tracker_server, 0);
	rpc_server_free(&g->tracker_rpc);
}

/* --- looking --- */

static bool
is_well(struct real_group *g, size_t n)
{
	struct member_view v;
	struct rep_status st;
	int i, leaders = 0;

	for (i = 0; i < g->n; i++) {
		if (g->v[i].r == NULL)
			continue;
		members_get(g->v[i].m, &v);
		rep_status(g->v[i].r, &st);
		if (v.n != n || st.state != FDFS_STATE_ACTIVE)
			return false;
		leaders += v.is_leader;
	}
	return leaders == 1;
}

bool
real_is_well(struct real_group *g, size_t n, int ms)
{
	int64_t until = clock_mono_ns() + ms * INT64_C(1000000);

	while (!is_well(g, n)) {
		if (clock_mono_ns() > until)
			return false;
		tell_all(g);
		clock_sleep_ms(20);
	}
	return true;
}

int
real_leader(struct real_group *g)
{
	struct member_view v;
	int i;

	for (i = 0; i < g->n; i++) {
		if (g->v[i].m == NULL)
			continue;
		members_get(g->v[i].m, &v);
		if (v.is_leader)
			return i;
	}
	return -1;
}
