/* http/http.h - HTTP/1.1 server: the only user of civetweb.
 *
 * Knows listeners, TLS, connections, framing, time-outs and limits; knows
 * nothing of S3. The handler runs on a worker thread and may block, since there
 * are as many of them as connections; or it answers later, and gives its thread
 * back meanwhile. Everything a handler sees has passed the strict framing check
 * (DESIGN 7): malformed requests are answered with 400 and closed before it.
 *
 * H1  Whatever civetweb accepted, every header line was consumed and framing is
 *     unambiguous, or the handler is not called.
 * H2  A request gets exactly one final response and one access-log line.
 * H3  After an error before the whole body was read, at most a bounded amount
 *     is drained and the connection closes.
 * Threads: a struct http_req belongs to the worker that runs the handler; after
 * http_defer() from that one's return on to nobody, and then to the worker that
 * http_resume() has chosen. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/header.h"

#include <stdint.h>

struct http_server;
struct http_req;

struct http_conf {
	const char *const *addresses; /* "[HOST]:PORT", HOST may be empty */
	size_t n_addresses;
	const char *tls_cert,
	    *tls_key; /* both or none; then every listener is TLS.
	    tls_cert may be a directory of NAME.crt/NAME.key chosen by SNI */
	unsigned max_connections, max_connections_per_address;
	int header_timeout_ms, keepalive_timeout_ms, body_idle_timeout_ms;
	uint64_t min_body_rate; /* bytes/s over 5 minutes; 0 = off */
	int stop_timeout_ms;
	size_t max_header_bytes; /* request line and headers, 64 KiB */
	size_t request_memory;   /* cap of the request's arena, 8 MiB */
	const char *const *trusted_proxies; /* addresses or CIDR */
	size_t n_trusted_proxies;
	const char *access_log; /* path, "-" (stdout) or NULL */

	/* Called for each request on its worker thread. */
	void (*handle)(void *arg, struct http_req *r);
	/* Body of an error answer found below the handler (malformed request,
	 * limits, time-outs): appends to @out, sets *ret_type. */
	void (*error_body)(void *arg, struct http_req *r, const struct err *why,
	    struct buf *out, const char **ret_type);
	/* True for targets that the reserve threads still serve when all
	 * connections are taken (health checks). May be NULL. */
	bool (*is_vital)(void *arg, struct str path);
	/* After the response, for counters. May be NULL. */
	void (*done)(void *arg, struct http_req *r);
	void *arg;
};

int http_server_start(const struct http_conf *c, struct http_server **ret,
    struct err *e);
/* Bound addresses as "host:port", NULL past the last; valid while it runs. */
const char *http_server_address(struct http_server *s, size_t i);
int http_server_reload_tls(struct http_server *s, struct err *e);
void http_server_reopen_log(struct http_server *s);
/* No new connections, requests under way may finish, at most stop_timeout;
 * http_server_cut() from another thread ends the wait at once; it may come too
 * late, when the server is gone already. */
void http_server_stop(struct http_server **sp);
/* The waiting part of http_server_stop(), which is still to be called: until
 * then the server is there for http_server_cut(). */
void http_server_drain(struct http_server *s);
void http_server_cut(struct http_server *s);
struct http_counts {
	unsigned connections, busy, max_connections;
};
void http_server_counts(struct http_server *s, struct http_counts *ret);

/* --- the request; all views live as long as the request --- */

struct http_info {
	struct str method;
	struct str target; /* as sent, with query */
	struct str path;   /* raw, up to '?' */
	struct str query;  /* raw, after '?'; p == NULL when there is no '?' */
	struct str host;   /* Host header */
	const struct header *headers; /* in order, duplicates kept */
	size_t n_headers;
	int64_t content_length; /* -1: none (then chunked says) */
	bool chunked;           /* Transfer-Encoding: chunked */
	bool expect_continue;
	bool is_tls; /* or X-Forwarded-Proto: https of a trusted proxy */
	bool is_http10;
	char remote[64]; /* peer, or X-Forwarded-For of a trusted proxy */
	char id[33];     /* request id, upper-case hex, fits x-amz-request-id */
	int64_t start_ns; /* clock_mono_ns() */
};

const struct http_info *http_info(const struct http_req *r);
struct arena *http_arena(struct http_req *r);
/* First value, or STR_NULL. */
struct str http_header(const struct http_req *r, const char *name);
size_t http_header_count(const struct http_req *r, const char *name);

/* What the handler wants the access log and counters to say. Views must live
 * in the arena. user = access key or "-". */
struct http_note {
	int op; /* the gateway's operation number */
	const char *op_name;
	struct str user, bucket, key;
	const char *error; /* S3 error code, NULL when none */
};
struct http_note *http_note(struct http_req *r);

/* --- answering later --- */

/* From a true result on the handler may return without an answer, and gives its
 * thread back: @r, its arena and all views of it live until the function given
 * to http_resume() has returned, which must be called, once. Until then @r is
 * under way, and a stop waits for it. False: not for this request (TLS, an answer
 * begun, a body not wholly read, the next request behind it, no memory); the
 * handler answers as ever. Once per request, by its handler. */
bool http_defer(struct http_req *r);
/* Once after a good http_defer(), on any thread, with any lock held; never blocks,
 * and @r is not the caller's any more. @fn runs soon, on some worker and never
 * at the same time as the handler, and makes the answer. It should not block
 * long. */
void http_resume(struct http_req *r, void (*fn)(void *arg, struct http_req *r),
    void *arg);

/* --- the body --- */

/* Sends `100 Continue` if the client waits for it; idempotent. http_read()
 * does so by itself on its first call. */
int http_continue(struct http_req *r, struct err *e);
/* Up to @len bytes; *ret_len 0 is the end of the body. ERR_REQUEST_TIMEOUT when
 * the client stalls or is too slow, ERR_INCOMPLETE_BODY when it ends early,
 * ERR_BAD_REQUEST for bad chunked framing. Use buffers of 256 KiB. */
int http_read(struct http_req *r, void *p, size_t len, size_t *ret_len,
    struct err *e);

/* The body is not what its sender meant: where it ends may not be either, and what
 * follows is no request to be trusted. The connection closes with the answer.
 * Before it begins. */
void http_distrust(struct http_req *r);

/* --- the response --- */

/* Adds a header; CR, LF and NUL in the value become blanks. Before start. */
int http_set(struct http_req *r, const char *name, struct str value);
int http_setz(struct http_req *r, const char *name, const char *value);
int http_setf(struct http_req *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Drops all headers set so far (an error replaces the answer). */
void http_unset_all(struct http_req *r);
/* Whole response in one write. For HEAD, @body is not sent but its length is
 * announced. Adds Date, Connection, Content-Length. */
int http_reply(struct http_req *r, int status, struct str body);
/* Status and headers; @length -1 = chunked. Nothing goes out before the first
 * http_write() or http_finish(), so that they share one segment. */
int http_start(struct http_req *r, int status, int64_t length);
/* ERR_DISCONNECTED when the client is gone. */
int http_write(struct http_req *r, const void *p, size_t len, struct err *e);
/* Flushes; closes the connection if fewer bytes than announced were written. */
int http_finish(struct http_req *r);
/* The answer breaks off: the connection is cut, so that a client that was
 * promised more bytes cannot take what it has for the whole (P2). */
void http_break(struct http_req *r);
bool http_is_started(const struct http_req *r);
int http_status(const struct http_req *r);         /* 0 before the answer */
uint64_t http_bytes_in(const struct http_req *r);  /* body */
uint64_t http_bytes_out(const struct http_req *r); /* body */

#endif
