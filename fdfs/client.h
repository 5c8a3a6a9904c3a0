/* fdfs/client.h - FastDFS's client side: connections in a pool, and calls.
 *
 * A call is one request and its answer on one connection.
 * L1  A call is sent again, on a new connection, only when not one byte of it
 *     was taken by the old one: what may have been done is not repeated.
 * L2  A connection returns to the pool only when its answer was read to the
 *     end; after any failure it is closed.
 * L3  Content and answers stream: memory does not grow with them.
 * fdfs/ops.h has the commands on top of it.
 * Threads: a client may be used by many, a call by one at a time. */
#ifndef FDFS_CLIENT_H
#define FDFS_CLIENT_H

#include "fdfs/proto.h"

struct fdfs_client;
struct fdfs_call;

struct fdfs_client_opts {
	/* 0 is the default. */
	int connect_ms; /* 5 s */
	int io_ms;      /* without a byte moving: 30 s */
	int idle_ms;    /* in the pool, then closed: 60 s */
	/* Resting connections, of one address and of all; more are closed. */
	unsigned max_idle_each, max_idle; /* 16, 256 */
	/* May be NULL. Called on each new connection before its first request,
	 * to introduce itself with fdfs/net.h; a failure is the call's, another
	 * number is kept with the connection (fdfs_call_link()). */
	int (*greet)(void *arg, int fd, const struct fdfs_addr *to,
	    int timeout_ms, struct err *e);
	void *arg;
};

/* @o may be NULL. ERR_NO_MEMORY. */
int fdfs_client_open(const struct fdfs_client_opts *o, struct fdfs_client **ret,
    struct err *e);
/* From now on every call fails, new ones with ERR_CLOSED, those under way soon
 * (one that is connecting when it gives that up). */
void fdfs_client_stop(struct fdfs_client *c);
/* Calls to @to that are under way fail soon; new ones are made as ever. */
void fdfs_client_cut(struct fdfs_client *c, const struct fdfs_addr *to);
/* All calls must be closed. NULL in *cp is fine. */
void fdfs_client_close(struct fdfs_client **cp);

struct fdfs_client_stat {
	uint64_t connects, reused, stale; /* stale: found dead in the pool */
	unsigned idle;
};
void fdfs_client_stat(struct fdfs_client *c, struct fdfs_client_stat *ret);

/* Begins a call with @head: header and head, as the codec makes them (copied).
 * Content follows by fdfs_call_write() if the header says so. The head goes
 * out with the first of it, or in fdfs_call_answer(): a failure here means
 * that nothing was sent (ERR_DISCONNECTED: nobody listens). */
int fdfs_call_open(struct fdfs_client *c, const struct fdfs_addr *to,
    struct str head, struct fdfs_call **ret, struct err *e);
/* The same, with @timeout_ms (0: the client's) for each wait of this call
 * instead of io_ms; it shortens connecting and greeting too, but lengthens
 * neither. */
int fdfs_call_open_within(struct fdfs_client *c, const struct fdfs_addr *to,
    struct str head, int timeout_ms, struct fdfs_call **ret, struct err *e);
/* What is known of the connection that the call is on. */
struct fdfs_link {
	int greeted;    /* what greet() returned; 0 */
	int64_t met_ns; /* clock_mono_ns() when the last thing that was to come
	                   on it had come: the end of the greeting, or of the
	                   answer to the call before */
};
void fdfs_call_link(const struct fdfs_call *call, struct fdfs_link *ret);
/* Before anything else: @head, as long as the one at opening, instead of it, for
 * this connection alone: where that one, from the pool, turns out dead, the call
 * fails with ERR_DISCONNECTED, and fdfs_call_is_stale(). */
void fdfs_call_bind(struct fdfs_call *call, struct str head);
bool fdfs_call_is_stale(const struct fdfs_call *call);
/* A server that answers before it has all of the content ends the call: its
 * status is the error. */
int fdfs_call_write(struct fdfs_call *call, const void *p, size_t len,
    struct err *e);
/* Pieces of content that lie apart, in one send. */
#define FDFS_PIECES 4
int fdfs_call_write_pieces(struct fdfs_call *call, const struct str *v,
    size_t n, struct err *e);
/* Before the answer, for each byte of which is then waited up to @io_ms, and only
 * until @is_over, which is asked every FDFS_WATCH_MS, says that it will not come:
 * ERR_DISCONNECTED. */
#define FDFS_WATCH_MS 100
void fdfs_call_watch(struct fdfs_call *call, int io_ms,
    bool (*is_over)(void *arg), void *arg);
/* After all of the content. A status other than 0 is returned as its code with
 * the status in e->sys_errno. An answer of over @max bytes is ERR_TOO_BIG. */
int fdfs_call_answer(struct fdfs_call *call, uint64_t max, uint64_t *ret_len,
    struct err *e);
/* The answer's body, up to @len bytes of it; 0 at its end. */
int fdfs_call_read(struct fdfs_call *call, void *p, size_t len, size_t *ret,
    struct err *e);
/* Whether a byte of the request may have reached the server. */
bool fdfs_call_was_sent(const struct fdfs_call *call);
/* NULL in *cp is fine. */
void fdfs_call_close(struct fdfs_call **cp);

/* A call without content in one: the body, at most @max bytes, is appended to
 * @b, which may be NULL if @max is 0. */
int fdfs_exchange(struct fdfs_client *c, const struct fdfs_addr *to,
    struct str head, size_t max, struct buf *b, struct err *e);

#endif
