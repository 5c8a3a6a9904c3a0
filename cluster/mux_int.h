/* cluster/mux_int.h - shared by mux.c (asking) and mux_line.c (a connection's
 * thread). */
#ifndef CLUSTER_MUX_INT_H
#define CLUSTER_MUX_INT_H

#include "cluster/mux.h"
#include "cluster/rpc_wire.h"

#include "lib/lock.h"
#include "lib/thread.h"

#define MUX_REQUEST_MAX (FDFS_HEADER + RPC_HEAD + MUX_ARGS_MAX)
#define MUX_ANSWER_MAX (RPC_ANSWER_HEAD + MUX_ARGS_MAX + MUX_BODY_MAX)
#define MUX_OUT 65536    /* bytes of requests that wait to be sent */
#define MUX_IN 262144    /* bytes of answers in one receive */
#define MUX_TOGETHER 16  /* so many requests are sent at once, whoever rests */
#define MUX_SLOT_BITS 10 /* of a request's ID */
_Static_assert(MUX_CALLS <= 1 << MUX_SLOT_BITS, "IDs have room for it");

enum line_state {
	LINE_DOWN,
	LINE_CONNECTING,
	LINE_UP,
};

struct call {
	struct rpc_ask *a; /* NULL: free */
	uint64_t id;
	int64_t end_ns;
};

/* L1  The socket is the thread's: it alone connects, receives and closes. Who
 *     has is_sending alone sends, and the socket is closed only without one.
 * L2  A call leaves the table on the thread, which then runs its function. */
struct line {
	struct rpc_mux *m;
	pthread_t thread;
	int wake;    /* eventfd */
	uint8_t *in; /* the thread's */
	size_t in_len;
	int64_t looked_ns;  /* for calls that are late */
	struct lock lock;   /* the fields below; no I/O */
	struct cond change; /* is_wanted, is_sending, is_stuck, stop */
	struct fdfs_addr to;
	enum line_state state;
	int fd;
	bool is_wanted, stop;
	bool is_asleep; /* the thread has no time-out: a call must wake it */
	bool is_sending, send_again;
	bool is_stuck; /* sending goes on when the socket takes more */
	int64_t used_ns, retry_ns;
	uint8_t *out, *busy; /* gathered; being sent */
	size_t out_len, busy_len, busy_pos;
	unsigned n_out, n_calls; /* requests in @out; under way */
	unsigned n_free;
	uint16_t free[MUX_CALLS];
	struct call calls[MUX_CALLS];
};

struct rpc_mux {
	unsigned magic;
	struct rpc_mux_opts o;
	struct thread_rest rest;
	_Atomic uint64_t next_id;
	struct lock lock; /* the table; no I/O */
	bool is_stopped, is_joined;
	_Atomic unsigned n_lines; /* grows only */
	struct line *lines[MUX_LINES];
};

/* mux.c: sends what is gathered, unless somebody does. */
void line_send(struct line *l);
/* As the one who has is_sending. */
void line_go_on_sending(struct line *l);

/* mux_line.c */
void *line_run(void *arg);

#endif
