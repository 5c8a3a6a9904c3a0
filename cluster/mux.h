/* cluster/mux.h - many small calls on one connection, for callers that do not
 * wait.
 *
 * One connection and one thread for each address. A request is the same bytes
 * as rpc_call()'s (cluster/rpc.h), its answer is known by the request's ID:
 * calls follow each other without waiting for answers, requests and answers of
 * many go out and come in together. Meant for calls that the other side answers
 * at once (READ_NOW); what goes wrong is to be asked again with rpc_call().
 * M1  An ask that was taken ends with exactly one call of its function.
 * M2  A connection that breaks, breaks the protocol or leaves a call without an
 *     answer for call_ms ends all calls under way on it.
 * M3  At most MUX_CALLS are under way on a connection, at most MUX_LINES
 *     connections there are; beyond, and while there is no connection, asks
 *     are not taken. Nobody waits here.
 * Threads: any. */
#ifndef CLUSTER_MUX_H
#define CLUSTER_MUX_H

#include "cluster/rpc.h"

#define MUX_CALLS 512
#define MUX_LINES 64
#define MUX_ARGS_MAX 512
#define MUX_BODY_MAX 32768

struct rpc_ask { /* the caller's, from rpc_mux_ask() on until @fn */
	void *dst;
	size_t cap; /* of the answer's body, at most MUX_BODY_MAX */
	/* On a thread of the mux; must not wait, and may free the ask. @rc: 0,
	 * what the handler returned, ERR_DISCONNECTED (M2), ERR_CLOSED. @args
	 * are the answer's, valid during the call; @len of the body. */
	void (*fn)(struct rpc_ask *a, int rc, struct str args, size_t len);
};

struct rpc_mux;
struct rpc_mux_opts {
	struct rpc_self self;
	int connect_ms; /* 500 */
	int call_ms;    /* 1000 */
	int idle_ms;    /* without a call, then closed: 60 s */
	int retry_ms;   /* after a failure to connect: 1000 */
};
int rpc_mux_open(const struct rpc_mux_opts *o, struct rpc_mux **ret,
    struct err *e);
/* Ends all calls under way, takes no more; waits for their functions. */
void rpc_mux_stop(struct rpc_mux *m);
void rpc_mux_close(struct rpc_mux **mp);
/* 0: taken. ERR_BUSY: not (M3); there may be a connection soon. */
int rpc_mux_ask(struct rpc_mux *m, const struct fdfs_addr *to, unsigned op,
    struct str args, struct rpc_ask *a);

#endif
