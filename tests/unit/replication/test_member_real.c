/* Membership over real sockets, threads and files: a group is founded and
 * joined, survives the loss of its leader, of its trackers, and of a member for
 * good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/replication/member.h"
#include "storage/replication/threads.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <stdatomic.h>
#include <stdio.h>

#define SECRET STR_LIT("0123456789abcdef")
#define NODES 3

struct node {
	char dir[64];
	struct rpc_self self;
	struct fdfs_addr addr;
	struct fdfs_server *server;
	struct rpc_server *rpc;
	struct rep_threads *threads;
	_Atomic(struct members *) m;
	struct fdfs_addr tracker;
};

/* --- files of a node --- */

static int
store_save(void *st, const char *name, struct str bytes, struct err *e)
{
	struct node *n = st;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", n->dir, name);
	return fs_write_file(path, bytes, 0600, e);
}

static int
store_load(void *st, const char *name, struct buf *ret, struct err *e)
{
	struct node *n = st;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", n->dir, name);
	return fs_read_file(path, 1 << 20, ret, e);
}

static int
store_digest(void *st, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], struct engine_digest *ret, struct err *e)
{
	(void)st;
	(void)from;
	(void)to;
	(void)e;
	*ret = (struct engine_digest){ 0 };
	return 0;
}

static bool
store_has_failed(void *st)
{
	(void)st;
	return false;
}

static const struct rep_store_ops store_ops = { .save = store_save,
	.load = store_load,
	.digest = store_digest,
	.has_failed = store_has_failed };

/* --- processes --- */

static int
serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct node *n = arg;
	struct members *m = atomic_load(&n->m);

	if (m == NULL)
		return err_set(e, ERR_RETRY, "starting");
	return members_serve(m, from, q, a, e);
}

/* A tracker that grants to the first, and then knows of the group. */
struct tracker {
	struct rpc_server *rpc;
	struct fdfs_server *server;
	atomic_uint granted;
};

static int
tracker_serve(void *arg, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct tracker *t = arg;

	(void)from;
	(void)a;
	if (q->op != RPC_FOUND)
		return err_set(e, ERR_NOT_IMPLEMENTED, NULL);
	return atomic_fetch_add(&t->granted, 1) == 0
	           ? 0
	           : err_set(e, ERR_EXISTS, "it is there");
}

static struct fdfs_server *
listen_for(struct rpc_server *rpc, uint16_t port)
{
	struct fdfs_route routes[RPC_ROUTES];
	struct fdfs_server_opts o = { .kind = FDFS_STORAGE,
		.host = "127.0.0.1",
		.port = port,
		.routes = routes,
		.n_routes = RPC_ROUTES };
	struct fdfs_server *s;
	struct err e = ERR_INIT;

	rpc_server_routes(rpc, routes);
	if (fdfs_server_open(&o, &s, &e) < 0)
		fail_msg("%s", e.msg);
	return s;
}

static void
start(struct node *n)
{
	struct rep_threads_opts to = {
		.client = { .self = n->self, .connect_ms = 1000, .io_ms = 2000 }
	};
	struct members_conf c = { .group = "g",
		.server_id = n->self.server_id,
		.node = n->self.id,
		.trackers = { n->tracker },
		.n_trackers = 1,
		.election_ms = 300 };
	struct err e = ERR_INIT;
	struct members *m;

	assert_int_equal(rpc_server_new(&n->self, serve, n, 0, &n->rpc, &e), 0);
	n->server = listen_for(n->rpc, n->addr.port);
	n->addr = (struct fdfs_addr){ .ip = "127.0.0.1",
		.port = fdfs_server_port(n->server) };
	assert_int_equal(rep_threads_open(&to, &n->threads, &e), 0);
	c.env = (struct rep_env){ &store_ops, n, &rep_thread_ops, n->threads };
	c.inner = n->addr;
	if (members_open(&c, &m, &e) < 0)
		fail_msg("%s", e.msg);
	atomic_store(&n->m, m);
}

static void
stop(struct node *n)
{
	struct members *m = atomic_load(&n->m);

	rep_threads_stop(n->threads);
	fdfs_server_close(&n->server, 100);
	atomic_store(&n->m, NULL);
	members_close(&m);
	rep_threads_close(&n->threads);
	rpc_server_free(&n->rpc);
}

/* As if they had been announced. */
static void
introduce(struct node *n, struct node *to)
{
	struct cmap_node c = { .node = n->self.id,
		.group = "g",
		.inner = n->addr,
		.heard_s = 1 };
	struct cmap map = { .nodes = &c, .n_nodes = 1 };

	members_hear(atomic_load(&to->m), &map);
}

/* Position of the leader that all of @n (NULL: left out) agree upon; -1. */
static int
leader_of(struct node *nodes[NODES], size_t members)
{
	struct member_view v;
	int leader = -2;

	for (int i = 0; i < NODES; i++) {
		if (nodes[i] == NULL)
			continue;
		members_get(atomic_load(&nodes[i]->m), &v);
		if (v.self < 0 || v.n != members || v.leader < 0 ||
		    (leader != -2 &&
			leader != (int)v.m[v.leader].server_id - 1) ||
		    (v.leader == v.self && !v.is_leader))
			return -1;
		leader = (int)v.m[v.leader].server_id - 1;
	}
	return leader;
}

/* Another one than @other. */
static int
wait_leader(struct node *nodes[NODES], size_t members, int other)
{
	int leader = -1;

	for (int i = 0; i < 400 && (leader < 0 || leader == other); i++) {
		clock_sleep_ms(50);
		leader = leader_of(nodes, members);
	}
	assert_true(leader >= 0 && leader != other);
	return leader;
}

static void
test_group(void **state)
{
	struct rpc_self ts = { .kind = RPC_TRACKER, .secret = SECRET };
	struct node node[NODES] = { 0 };
	struct node *all[NODES] = { &node[0], &node[1], &node[2] },
		    *some[NODES];
	struct tracker t = { 0 };
	struct member_view v;
	struct err e = ERR_INIT;
	int64_t begin;
	int leader, other;

	(void)state;
	assert_int_equal(rpc_server_new(&ts, tracker_serve, &t, 0, &t.rpc, &e),
	    0);
	t.server = listen_for(t.rpc, 0);
	for (int i = 0; i < NODES; i++) {
		snprintf(node[i].dir, sizeof(node[i].dir),
		    "/tmp/creel-members-XXXXXX");
		assert_non_null(mkdtemp(node[i].dir));
		node[i].self = (struct rpc_self){ .kind = RPC_NODE,
			.id = id128_new(),
			.group = "g",
			.server_id = (uint32_t)i + 1,
			.secret = SECRET };
		node[i].tracker = (struct fdfs_addr){ .ip = "127.0.0.1",
			.port = fdfs_server_port(t.server) };
		start(&node[i]);
		if (i > 0)
			introduce(&node[0], &node[i]);
	}
	leader = wait_leader(all, 3, -1);
	/* The leader goes; the rest has another within seconds. */
	memcpy(some, all, sizeof(some));
	some[leader] = NULL;
	begin = clock_mono_ns();
	stop(&node[leader]);
	(void)wait_leader(some, 3, leader);
	print_message("another leader after %jd ms\n",
	    (intmax_t)((clock_mono_ns() - begin) / 1000000));
	start(&node[leader]);
	wait_leader(all, 3, -1);
	/* No tracker is left, all start again: they know each other. */
	fdfs_server_close(&t.server, 0);
	for (int i = 0; i < NODES; i++)
		stop(&node[i]);
	for (int i = 0; i < NODES; i++)
		start(&node[i]);
	leader = wait_leader(all, 3, -1);
	/* One is removed for good, by another: it is told. */
	other = (leader + 1) % NODES;
	assert_int_equal(members_remove(atomic_load(&node[leader].m),
			     node[other].self.server_id, 0, 15000, &e),
	    0);
	memcpy(some, all, sizeof(some));
	some[other] = NULL;
	wait_leader(some, 2, -1);
	for (int i = 0; i < 400; i++) {
		members_get(atomic_load(&node[other].m), &v);
		if (v.is_removed)
			break;
		clock_sleep_ms(50);
	}
	assert_true(v.is_removed);
	assert_string_equal(v.waiting, "was removed from its group");
	for (int i = 0; i < NODES; i++) {
		stop(&node[i]);
		assert_int_equal(fs_remove_tree(node[i].dir, &e), 0);
	}
	rpc_server_free(&t.rpc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
