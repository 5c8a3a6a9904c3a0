/* tests/unit/replication/real.h - a group of real nodes in one process: engines on
 * disk, threads, sockets on the loopback. For tests and benches; no cmocka. */
#ifndef TEST_REAL_H
#define TEST_REAL_H

#include "storage/replication/engine_store.h"
#include "storage/replication/rep.h"
#include "storage/replication/threads.h"

#define REAL_NODES 5

struct real_group {
	const char *dir; /* nodeN below it */
	uint64_t small_limit, volume_size;
	struct fdfs_addr tracker;
	struct rpc_server *tracker_rpc;
	struct fdfs_server *tracker_server;
	struct id128 cluster, founder;
	int n;
	struct real_node {
		struct real_group *g;
		int i;
		char path[400], cluster_dir[420];
		const char *paths[1];
		uint16_t port; /* the same at each start */
		struct engine *engine;
		struct rep_engine_store store;
		struct rpc_server *rpc;
		struct fdfs_server *server;
		struct rep_threads *threads;
		struct members *m;
		struct rep *r;
	} v[REAL_NODES];
};

/* What fails here ends the process with a word. */
void real_open(struct real_group *g, const char *dir, int n);
void real_close(struct real_group *g);
void real_start(struct real_group *g, int node);
void real_stop(struct real_group *g, int node);
/* Removes a stopped node's store path. */
void real_wipe(struct real_group *g, int node);
/* All that run are ACTIVE members of one group of @n; false after @ms. */
bool real_is_well(struct real_group *g, size_t n, int ms);
int real_leader(struct real_group *g); /* -1 */

#endif
