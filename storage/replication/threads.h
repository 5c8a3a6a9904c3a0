/* storage/replication/threads.h - the environment of a real node: threads, the
 * clock, and calls over the network (`rep_thread_ops` of env.h; its `env` is a
 * struct rep_threads *).
 *
 * Order of ending: rep_threads_stop(); then members_close() and what else had
 * tasks; then rep_threads_close().
 * Threads: any. */
#ifndef STORAGE_REPLICATION_THREADS_H
#define STORAGE_REPLICATION_THREADS_H

#include "storage/replication/env.h"

struct rep_threads;

struct rep_threads_opts {
	struct rpc_client_opts client;
	/* May be NULL. Level: enum log_level's values. Any thread. */
	void (*event)(void *arg, int level, const char *text);
	void *arg;
};
int rep_threads_open(const struct rep_threads_opts *o, struct rep_threads **ret,
    struct err *e);
/* Calls of a node that goes through its environment can use it as well. */
struct rpc_client *rep_threads_client(struct rep_threads *t);
/* V2: from now on calls answer ERR_CLOSED, waiting ends. */
void rep_threads_stop(struct rep_threads *t);
/* Stops it, waits for its tasks. All gates are freed. NULL in *tp is fine. */
void rep_threads_close(struct rep_threads **tp);

#endif
