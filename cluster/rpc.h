/* cluster/rpc.h - calls between Creel's own processes.
 *
 * They travel on FastDFS's ports as one command number that FastDFS leaves free
 * (RPC_COMMAND), after a handshake with the cluster secret (RPC_HELLO): both
 * sides prove by HMAC-SHA256 over both nonces, kinds, IDs and the cluster's ID
 * that they hold it. A request is a sub-header (version, operation, flags,
 * request ID, membership epoch, cluster ID), packed arguments, and a body of
 * bytes; so is an answer, with a result in place of the operation. Every call
 * is bounded: RPC_ARGS_MAX and RPC_BODY_MAX either way.
 * R1  No handler runs for a connection that has not proved the secret, or for
 *     an operation that its kind may not ask for (cluster/op_table.h).
 * R2  A result travels by name: two versions never confuse two errors. (A name
 *     unknown here is ERR_IO; a handler's ERR_DISCONNECTED travels as ERR_BUSY,
 *     since here it would mean this call.)
 * R3  A request of which a byte was sent is never sent again here.
 * R4  A request with an end (until_ms) is not handled later than that, wherever
 *     it lay in between, whatever the hosts' clocks say: what travels is how
 *     long after they last met on this connection (the answer before, or the
 *     handshake; rpc_until() in cluster/rpc_wire.h), and both count from there,
 *     each by its own monotonic clock, the server from a little before. So it may
 *     come out earlier, by what that answer took on its way.
 * Layout: docs/CLUSTER.md. Threads: any. */
#ifndef CLUSTER_RPC_H
#define CLUSTER_RPC_H

#include "cluster/pack.h"
#include "fdfs/client.h"
#include "fdfs/server.h"

#define RPC_COMMAND 200
#define RPC_HELLO 201
/* What both say of themselves in the handshake; they then speak the lower one.
 * 2: answers of READ and READ_NOW are sealed, which gateways insist on. The
 * frames are those of version 1. 3: a request may have an end (R4). */
#define RPC_VERSION 3
#define RPC_SEALED 2
#define RPC_ENDS 3
#define RPC_FRAMES 1
#define RPC_ARGS_MAX (1024 * 1024)
#define RPC_BODY_MAX (4 * 1024 * 1024)
#define RPC_DATA (1024 * 1024) /* a piece of a stream, by custom */

enum rpc_kind { /* who speaks; bits */
	RPC_GATE = 1,
	RPC_NODE = 2, /* a storage node of any group */
	RPC_PEER = 4, /* one that names the server's group */
	RPC_TRACKER = 8,
	RPC_ADMIN = 16,
};

enum rpc_op {
#define X(name, number, who) RPC_##name = number,
#include "cluster/op_table.h"
#undef X
};
const char *rpc_op_name(unsigned op); /* "LOG_READ"; "?" */

/* Who one is, in the handshake. */
struct rpc_self {
	enum rpc_kind kind;   /* RPC_NODE for a storage: the server sees whether
	                          it is a PEER */
	struct id128 id;      /* of the node, gateway, tracker */
	struct id128 cluster; /* secret_cluster_id(), or the setting's */
	char group[FDFS_GROUP_LEN + 1];
	uint32_t server_id;
	struct str secret; /* must outlive it */
	uint8_t version;   /* 0: RPC_VERSION; else an older one, for tests */
};

struct rpc_request {
	unsigned op;
	uint64_t epoch; /* membership epoch known to the sender, 0 = none */
	struct str args, body;
	/* Not to be done later, by env's or lib's monotonic clock of who reads
	 * this: the asker's when it is sent, the answerer's when it has come. 0:
	 * whenever; also what comes by way of a version before RPC_ENDS. */
	int64_t until_ms;
	/* Who asks may find out elsewhere that no answer will come; may be
	 * NULL. Sending only. */
	const struct rpc_watch *watch;
};
struct rpc_watch {
	/* Asked every 100 ms while the answer is waited for; true ends the call
	 * with ERR_DISCONNECTED. May be NULL. */
	bool (*is_over)(void *arg);
	void *arg;
	int open_ms; /* for connecting and greeting each; 0: the client's */
};

struct rpc_reply {
	uint64_t epoch; /* the answerer's */
	struct buf args;
	/* Where the answer's body goes: @dst if it is not NULL (then at most
	 * @cap bytes, more is ERR_TOO_BIG), else into @body. */
	void *dst;
	size_t cap, len;
	struct buf body;
	bool was_sent; /* a byte of the request may have arrived */
};
void rpc_reply_init(struct rpc_reply *r); /* no dst; caps set */
void rpc_reply_fini(struct rpc_reply *r);

/* --- asking --- */

struct rpc_client;
struct rpc_client_opts {
	struct rpc_self self;
	int connect_ms, io_ms, idle_ms; /* 0: fdfs/client.h's defaults */
	unsigned max_idle_each, max_idle;
};
int rpc_client_open(const struct rpc_client_opts *o, struct rpc_client **ret,
    struct err *e);
/* From now on every call fails with ERR_CLOSED, those under way soon; for a
 * process that ends. */
void rpc_client_stop(struct rpc_client *c);
/* Calls to @to that are under way fail soon, as when it had died. */
void rpc_client_cut(struct rpc_client *c, const struct fdfs_addr *to);
/* No call is under way. */
void rpc_client_close(struct rpc_client **cp);
/* One call. Returns what the handler returned (an ERR_* code with its text in
 * @e), or why the call itself failed: ERR_DISCONNECTED; ERR_CONFIG (the other
 * side has another secret, cluster or protocol); ERR_BUSY (it has no memory for
 * the request); ERR_RETRY (q->until_ms has passed, there or here); ERR_TOO_BIG,
 * ERR_NO_MEMORY. @timeout_ms without a byte moving,
 * 0 is the client's; long polls give more; a shorter one holds for connecting
 * too. @r may be NULL. An error's answer can have args, never a body. */
int rpc_call(struct rpc_client *c, const struct fdfs_addr *to,
    const struct rpc_request *q, int timeout_ms, struct rpc_reply *r,
    struct err *e);

/* --- answering --- */

struct rpc_from {           /* proved */
	enum rpc_kind kind; /* RPC_PEER: a node of the server's own group */
	struct id128 id;
	char group[FDFS_GROUP_LEN + 1];
	uint32_t server_id;
	struct fdfs_addr addr;
};
/* The end of an answer's body, sent straight from a file. What neither the file
 * nor @read gives arrives as zeros: it is for who checks what comes. */
struct rpc_span {
	int fd;
	uint64_t off;
	size_t len; /* 0: there is none */
	/* Of what can't be sent from there: up to @len bytes, at least one,
	 * from @at of the span on. */
	int (*read)(void *arg, size_t at, void *p, size_t len, size_t *ret_len,
	    struct err *e);
	void (*end)(void *arg); /* always called, when all else is over */
	void *arg;
};
struct rpc_answer {
	uint64_t epoch;
	struct buf args, body;
	struct rpc_span span;
};
/* 0 or an ERR_* code, which goes back with @e's text; the answer's args go back
 * with either. On the connection's thread. */
typedef int rpc_handler(void *arg, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);

struct rpc_server;
/* @self.kind is the server's own. Bodies of requests share @max_memory (0: 256
 * MiB); beyond it the answer is ERR_BUSY. */
int rpc_server_new(const struct rpc_self *self, rpc_handler *fn, void *arg,
    size_t max_memory, struct rpc_server **ret, struct err *e);
void rpc_server_free(struct rpc_server **sp);
/* Its two routes, for fdfs_server_opts.routes; the handlers' first argument
 * there is not looked at. The fdfs_server is closed before @s is freed. What
 * fdfs_conn_data() holds of a connection that said hello is this server's. */
#define RPC_ROUTES 2
/* @fn is told of each connection that has proved the secret, and of its end: a
 * process that dies closes its own at once. Before the server is opened; on the
 * connections' threads. */
typedef void rpc_watcher(void *arg, const struct rpc_from *from, bool is_open);
void rpc_server_watch(struct rpc_server *s, rpc_watcher *fn);
void rpc_server_routes(struct rpc_server *s, struct fdfs_route ret[RPC_ROUTES]);

#endif
