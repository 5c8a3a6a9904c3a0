/* http/internal.h - shared by the files of http/ only.
 *
 * A connection is a slot from accept(2) to close(2). Its state says who may
 * shut its socket down:
 *   WAIT     nothing under way: new, in TLS handshake, or between requests;
 *            the server may take it to CLOSING and shut it down
 *   BUSY     a request under way, deferred or not: only a cut ends it
 *   CLOSING  shut down by the server; its worker finds out and closes it
 * I1  WAIT -> BUSY and WAIT -> CLOSING are compare-and-swaps: one of them wins.
 * I2  A slot is freed under the server's lock before its socket is closed, and
 *     sockets of others are shut down under that lock: never a reused one. */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "http/civetweb_unit.h"
#include "http/http.h"
#include "lib/ip.h"
#include "lib/lock.h"

#include <stdatomic.h>
#include <sys/uio.h>

#define HTTP_REQ_MAGIC 0x4e71e570u
#define HTTP_SERVER_MAGIC 0x4e71e57eu

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* --- addresses (address.c) --- */

struct sockaddr;
/* "host:port" of a socket address. */
void http_address_text(const struct sockaddr *sa, char dst[64]);
/* Appends civetweb's form of @address ("[HOST]:PORT"), names resolved, to a
 * comma-separated list. */
int http_address_add(struct buf *list, const char *address, bool tls,
    struct err *e);

/* --- access log (access_log.c) --- */

struct access_log;
int access_log_open(const char *path, struct access_log **ret, struct err *e);
void access_log_close(struct access_log **lp);
void access_log_flush(struct access_log *l);  /* opens anew when asked to */
void access_log_reopen(struct access_log *l); /* at the next flush */
/* @now_ns: clock_mono_ns(), its end. */
void access_log_request(struct access_log *l, struct http_req *r,
    int64_t now_ns);

/* --- TLS (tls.c) --- */

struct tls;
struct ssl_ctx_st;
int tls_new(const char *cert, const char *key, struct tls **ret, struct err *e);
int tls_reload(struct tls *t, struct err *e);
struct ssl_ctx_st *tls_ctx(struct tls *t);
void tls_free(struct tls **tp);
/* What OpenSSL keeps for this thread is given back, until it is needed again. */
void tls_thread_rests(void);

/* --- connections and server (server.c) --- */

enum slot_state {
	SLOT_FREE,
	SLOT_WAIT,
	SLOT_BUSY,
	SLOT_CLOSING
};

struct slot {
	_Atomic int state;
	int fd;
	_Atomic int64_t since_ns; /* begin of WAIT */
	struct ip_addr ip;
	bool is_trusted;  /* a proxy whose X-Forwarded-* we believe */
	int seen;         /* requests that reached us; its worker only */
	_Atomic int park; /* pool.c */
	bool is_known;    /* to epoll; these four: its owner only */
	bool is_quiet;    /* no events until it is parked */
	bool is_drained;  /* the last read took all there was */
	bool is_unsure;   /* unless an end has come behind it */
	char parked[UNIT_PARKED];
	struct slot *next_ready; /* pool.c */
	struct http_req *later;  /* to be gone on with; its owner only */
	char remote[46];
};

/* What takes the place of deferred requests at their workers (later.c). */
struct spares {
	pthread_mutex_t m; /* outside of all ranks: nothing is called inside */
	struct http_req *first;
	unsigned n, low; /* now, and the least since the last trim */
};

struct http_server {
	unsigned magic;
	struct http_server *next; /* running (server.c) */
	struct http_conf c;       /* strings in it are copies or unused */
	struct mg_context *ctx;
	struct tls *tls;
	struct access_log *log;
	struct ip_net *trusted;
	size_t n_trusted;
	char (*addresses)[64];
	size_t n_addresses;
	char start_message[256]; /* civetweb's first one while it starts */

	_Atomic unsigned max_connections; /* fewer with too few workers */
	struct unit_workers workers;      /* civetweb_unit.c */
	_Atomic unsigned connections, busy;
	_Atomic bool is_up, draining, cutting;

	struct lock lock; /* LOCK_RANK_SERVER: slots but state, ticker */
	struct cond wake;
	struct slot *slots;
	unsigned n_slots;
	int32_t *slot_of_fd;
	int max_fd;
	struct pool *pool;
	struct spares spares;
	unsigned free_hint;
	pthread_t ticker;
	bool has_ticker, is_stopping, is_stopped, drained;
	bool ticker_rests; /* until a connection comes, or: */
	bool must_tick;
	int64_t stop_at_ns;
};

/* --- one request (request.c) --- */

enum later {
	LATER_NO,
	LATER_DEFERRED, /* the handler has yet to return */
	LATER_LEFT,     /* it has: no thread has it */
	LATER_RESUMED
};

struct http_req {
	unsigned magic;
	struct http_server *s;
	struct mg_connection *conn; /* NULL once it is deferred */
	struct slot *slot;
	struct arena *arena;
	int fd;
	struct ssl_st *ssl;
	struct unit_raw raw;
	struct http_info info;
	struct http_note note;
	uint64_t id_next; /* this worker's sequence of request ids */

	/* body.c */
	int64_t body_left; /* Content-Length not yet read */
	size_t taken;      /* of what came behind the header */
	size_t scratch, scratch_end;
	uint64_t chunk_left;
	uint64_t bytes_in;
	uint32_t trailer_bytes;
	uint8_t chunk_state;
	bool continued, body_done, is_distrusted;
	int body_error; /* what the first failed read returned */

	/* io.c: waiting for the peer, for the minimal rate */
	int64_t waited_ns;
	uint64_t paced_bytes;

	/* response.c */
	struct buf head; /* header lines */
	char first[256]; /* status line and what we add */
	size_t first_len;
	int status;
	int64_t length; /* announced; -1: chunked or until close */
	uint64_t written, bytes_out;
	bool started, head_sent, finished, is_chunked_out, no_body, closes;
	bool broken; /* nothing more can be written */
	int64_t date_s;
	char date[30];

	/* later.c */
	_Atomic int later;
	bool keeps_alive; /* of a deferred one */
	void (*resume)(void *arg, struct http_req *r);
	void *resume_arg;
	struct http_req *next; /* the spare one for its worker; among spares */
	void *buf;             /* request buffer, unless it is its worker's */
	size_t buf_size;
};

/* No further request on its connection. */
void http_close_after(struct http_req *r);
bool http_keeps_alive(const struct http_req *r);

/* Fills r->info from the parsed header block after proving H1. */
int http_guard(struct http_req *r, struct err *e);

/* io.c: ERR_REQUEST_TIMEOUT or ERR_DISCONNECTED. Read: 0 bytes = the peer's
 * end. Write: all or an error; @iov is used up. */
int http_io_read(struct http_req *r, void *p, size_t len, int idle_ms,
    size_t *ret_len, struct err *e);
int http_io_write(struct http_req *r, struct iovec *iov, int n, struct err *e);

/* body.c */
void http_body_init(struct http_req *r);
bool http_body_is_done(const struct http_req *r);
/* After the answer: makes the connection ready for the next request, or reads
 * a bounded amount so that the answer is not lost (H3). */
void http_body_settle(struct http_req *r);
bool http_body_forbids_reuse(const struct http_req *r);

/* later.c */
void http_spares_init(struct spares *k);
/* Of what was not needed lately. False: there are none left. */
bool http_spares_trim(struct spares *k);
void http_spares_fini(struct spares *k);
/* The handler of a deferred @r has returned: what its worker has instead. NULL:
 * it was gone on with at once, and is the worker's to finish. */
struct http_req *http_later_leave(struct http_req *r);
/* Goes on with it, to its end. False: its connection is to be closed. */
bool http_later_run(struct http_req *r);

/* response.c */
void http_fail(struct http_req *r, const struct err *why);

#endif
