/* fdfs/server.h - a server loop for FastDFS's protocol.
 *
 * Takes connections, reads each request's header and head, calls the handler
 * of its command and sees to it that exactly one answer goes out.
 * S1  Connections, and the memory that peers can make it hold, are bounded:
 *     a head is read only as far as its command's limit, and only within
 *     max_memory; content never.
 * S2  Header and first bytes of an answer go out in one send.
 * S3  After an answer the stream stands at the next request, or is closed.
 * S4  QUIT, ACTIVE_TEST and unknown commands are answered here. A storage
 *     closes after status 22, a tracker does not, as FastDFS's do.
 * S5  A request that came whole and has a `later` is served without a thread of
 *     its own, and may be answered by any thread; the next one of its connection
 *     is looked at after that.
 * When all connections are taken the one that was idle longest makes room; is
 * none idle, the new one is closed.
 * Threads: one that accepts, one per connection; handlers run on the latter. One
 * loop, if there is any `later`, for the connections that send such requests one
 * after the other (fdfs/loop.c). */
#ifndef FDFS_SERVER_H
#define FDFS_SERVER_H

#include "fdfs/proto.h"

struct fdfs_server;
struct fdfs_conn;

struct fdfs_incoming {
	struct fdfs_header header;
	const struct fdfs_command *command;
	struct str head;  /* valid during the call */
	uint64_t content; /* bytes to be had from fdfs_conn_read() */
};

/* Answers through @c, or returns a negative code for which the loop does, or
 * 0 without an answer: status 0, no body. A failure after an answer was begun
 * closes the connection. What it leaves unread of the content is dropped. */
typedef int fdfs_handler(void *arg, struct fdfs_conn *c,
    const struct fdfs_incoming *in, struct err *e);

/* The loop's: must not wait. @content is all of it, and stays, with what was taken
 * from the connection's arena, until the answer. FDFS_LATER: fdfs_conn_resume()
 * was called or will be. FDFS_WAITS: the handler is to do it, as do all that come
 * by this connection. Else as a handler. */
typedef int fdfs_later(void *arg, struct fdfs_conn *c,
    const struct fdfs_incoming *in, struct str content, struct err *e);
enum {
	FDFS_LATER = 1,
	FDFS_WAITS = 2
};

struct fdfs_route {
	/* fdfs_command()'s, or a command of the caller's own. */
	const struct fdfs_command *command;
	fdfs_handler *fn;
	fdfs_later *later; /* may be NULL */
};

struct fdfs_server_opts {
	enum fdfs_server_kind kind; /* TRACKER or STORAGE: how it closes */
	const char *host;           /* "" for all addresses */
	uint16_t port;              /* 0 draws one */
	const struct fdfs_route *routes;
	size_t n_routes;
	void *arg; /* the handlers' first */
	/* May be NULL: everybody. Called on the accepting thread. */
	bool (*allow)(void *arg, const struct fdfs_addr *peer);
	/* May be NULL: everybody. Once a header has come and before anything
	 * behind it is read, on the connection's thread: 0, or what is answered
	 * before the connection is closed. */
	int (*admit)(void *arg, const struct fdfs_addr *peer,
	    const struct fdfs_command *c, struct err *e);
	/* The loop has called some `later`, and nothing more is there at the moment.
	 * May be NULL; may wait. */
	void (*gathered)(void *arg);
	/* 0 is the default. */
	unsigned max_connections; /* 1000 */
	size_t max_memory;        /* of heads over 512 bytes: 64 MiB */
	int idle_ms;              /* between requests: 1 hour */
	int head_ms;              /* for all of a header and head: 30 s */
	int io_ms;                /* without a byte moving: 30 s */
	/* Content slower than this, in bytes/s over at least 5 minutes of
	 * waiting for it, closes: 1024. */
	unsigned min_rate;
};

/* Listens and starts. */
int fdfs_server_open(const struct fdfs_server_opts *o, struct fdfs_server **ret,
    struct err *e);
uint16_t fdfs_server_port(const struct fdfs_server *s);
/* Closes idle connections, waits up to @drain_ms for requests under way, cuts
 * the rest, returns when all threads are gone. What is left is fdfs_server_stat()
 * and the end. On the thread that closes it. */
void fdfs_server_stop(struct fdfs_server *s, int drain_ms);
/* The same, if it was not done, and the end. NULL in *sp is fine. */
void fdfs_server_close(struct fdfs_server **sp, int drain_ms);

struct fdfs_server_stat {
	unsigned connections, most, limit;
	uint64_t accepted, refused, requests, failed; /* failed: status not 0 */
	size_t memory;
};
void fdfs_server_stat(struct fdfs_server *s, struct fdfs_server_stat *ret);

/* --- for handlers --- */

/* From now on commands that are for trusted peers may have large heads. */
void fdfs_conn_trust(struct fdfs_conn *c);
const struct fdfs_addr *fdfs_conn_peer(const struct fdfs_conn *c);
/* The address under which the peer reached this server; "" if unknown. */
void fdfs_conn_local(const struct fdfs_conn *c, struct fdfs_addr *ret);
void fdfs_conn_server_stat(const struct fdfs_conn *c,
    struct fdfs_server_stat *ret);
/* Up to @len bytes of content; *ret is 0 when all was read. A peer that stops
 * is ERR_DISCONNECTED. */
int fdfs_conn_read(struct fdfs_conn *c, void *p, size_t len, size_t *ret,
    struct err *e);
/* Status 0 and a body, in one. */
int fdfs_conn_reply(struct fdfs_conn *c, struct str body, struct err *e);
/* The same with a body whose pieces lie apart; at most 4. */
int fdfs_conn_reply_pieces(struct fdfs_conn *c, const struct str *v, size_t n,
    struct err *e);
/* The same for an answer that was made without waiting for anything: while the
 * next request is here already, it waits to go out along with that one's. */
int fdfs_conn_reply_along(struct fdfs_conn *c, const struct str *v, size_t n,
    struct err *e);
/* Sends what waits so: for a handler of such a command, before it waits for
 * something (of other commands the loop does it). */
int fdfs_conn_send_waiting(struct fdfs_conn *c, struct err *e);
/* A status that no ERR_* code stands for; not 0. */
int fdfs_conn_reply_status(struct fdfs_conn *c, uint8_t status, struct err *e);
/* Status 0 and @len bytes, which fdfs_conn_write() gives. The header waits
 * for the first of them. */
int fdfs_conn_reply_begin(struct fdfs_conn *c, uint64_t len, struct err *e);
int fdfs_conn_write(struct fdfs_conn *c, const void *p, size_t len,
    struct err *e);
/* Some of them: @v, at most 4, and @len bytes at @off of the file @fd, straight
 * from there. ERR_IO: the file gives no more than *ret_sent bytes, the rest is
 * still owed. On a worker only. */
int fdfs_conn_write_file(struct fdfs_conn *c, const struct str *v, size_t n,
    int fd, uint64_t off, size_t len, size_t *ret_sent, struct err *e);
/* The answer to what was FDFS_LATER: status 0 and @body, or @rc's. Any thread;
 * does not wait, whatever the peer does. @c is no more the caller's. */
void fdfs_conn_resume(struct fdfs_conn *c, int rc, struct str body,
    struct err *e);
/* What a `later` needs until its answer; NULL without memory. */
struct arena *fdfs_conn_arena(struct fdfs_conn *c);
/* Close after this request. */
void fdfs_conn_hang_up(struct fdfs_conn *c);
/* What a handler keeps with the connection (who is at its other end, for one):
 * NULL at first; @fini, which may be NULL, is called at its end or when it is
 * replaced. */
void *fdfs_conn_data(const struct fdfs_conn *c);
void fdfs_conn_set_data(struct fdfs_conn *c, void *data, void (*fini)(void *));

#endif
