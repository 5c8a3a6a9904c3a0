/* A server of calls in this process, and clients of it. For tests. */
#ifndef TEST_RPC_TEST_H
#define TEST_RPC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/rpc_wire.h"

#include "fdfs/net.h"

#include "lib/bytes.h"
#include "lib/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define OK(call)                                                               \
	do {                                                                   \
		int ok_rc_ = (call);                                           \
		if (ok_rc_ < 0)                                                \
			fail_msg("%s: %s", #call, err_name(ok_rc_));           \
	} while (0)

#define SECRET "0123456789abcdef"
#define OTHER_SECRET "0123456789abcdeX"

struct rpc_test {
	struct rpc_server *rpc;
	struct fdfs_server *server;
	struct fdfs_addr addr;
	atomic_uint calls;
	pthread_mutex_t lock;
	struct rpc_from last; /* of the last call */
};

static inline struct rpc_self
self_of(enum rpc_kind kind, const char *group, const char *secret)
{
	struct rpc_self s = { .kind = kind,
		.id = { { 1, 2, 3, (uint8_t)kind } },
		.server_id = 7,
		.secret = str_of(secret) };

	memcpy(s.group, group, strlen(group) + 1);
	OK(secret_cluster_id(STR_LIT(SECRET), "", &s.cluster, NULL));
	return s;
}

static uint8_t rpc_test_version; /* of the next server; 0: this one's */

static inline void
rpc_test_open(struct rpc_test *t, rpc_handler *fn, size_t max_memory,
    const struct fdfs_server_opts *more)
{
	struct rpc_self self = self_of(RPC_NODE, "group1", SECRET);
	struct fdfs_route routes[RPC_ROUTES];
	struct fdfs_server_opts o = { 0 };
	struct err e = ERR_INIT;

	if (more != NULL)
		o = *more;
	o.kind = FDFS_STORAGE;
	o.host = "127.0.0.1";
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	self.version = rpc_test_version;
	OK(rpc_server_new(&self, fn, t, max_memory, &t->rpc, &e));
	rpc_server_routes(t->rpc, routes);
	o.routes = routes;
	o.n_routes = RPC_ROUTES;
	OK(fdfs_server_open(&o, &t->server, &e));
	t->addr = (struct fdfs_addr){ .ip = "127.0.0.1",
		.port = fdfs_server_port(t->server) };
}

static inline void
rpc_test_close(struct rpc_test *t)
{
	fdfs_server_close(&t->server, 2000);
	rpc_server_free(&t->rpc);
	pthread_mutex_destroy(&t->lock);
}

static inline struct rpc_client *
client_of(enum rpc_kind kind, const char *group, const char *secret)
{
	struct rpc_client_opts o = { .self = self_of(kind, group, secret),
		.connect_ms = 2000,
		.io_ms = 3000 };
	struct rpc_client *c;

	OK(rpc_client_open(&o, &c, NULL));
	return c;
}

#endif
