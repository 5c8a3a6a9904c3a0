/* http/civetweb_unit.h - what the rest of http/ needs of civetweb's inside.
 * Threads: functions on a connection, on its worker only. */
#ifndef HTTP_CIVETWEB_UNIT_H
#define HTTP_CIVETWEB_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct mg_connection;
struct mg_context;
struct mg_request_info;
struct ssl_st;

/* A request buffer is at least this long, and nothing else of a worker is. */
#define UNIT_MAP_MIN 16384u

/* Once per process; false when civetweb can't. */
bool unit_init(void);

/* Called for accept(2) on the acceptor's thread: a socket, or -1 for "nothing to
 * serve". Implemented in server.c. */
int unit_on_accept(void *user_data, int listener, struct sockaddr *sa,
    socklen_t *len);
void unit_set_acceptor(const struct mg_context *ctx); /* this thread is */

/* A server's workers: as many as it has connections, and some that wait for the
 * next ones. All zero at first. */
struct unit_workers {
	unsigned started, busy;
	unsigned most; /* that may be started */
	int leaving; /* 1 + which, of the last one that ended, unless joined */
	int64_t retry_ns; /* when @most is as many as were asked for again */
};
/* Both implemented in server.c. */
struct unit_workers *unit_workers_of(void *user_data);
/* On the acceptor's thread: the machine gives no more threads than that, or, for
 * all that is known, does again. */
void unit_on_most_workers(void *user_data, unsigned most);
/* False when the acceptor could not be started: such a context accepts nothing
 * and mg_stop() does nothing; unit_abandon() takes it down. */
bool unit_has_acceptor(const struct mg_context *ctx);
void unit_abandon(struct mg_context *ctx);

/* The header block as it lies in the buffer: [0, head_len) is the request with
 * NULs written by the parser, [head_len, data_len) came behind it. */
struct unit_raw {
	char *buf;
	int head_len, data_len, buf_size;
	const struct mg_request_info *ri;
};
void unit_raw(const struct mg_connection *conn, struct unit_raw *ret);

int unit_fd(const struct mg_connection *conn);
struct ssl_st *unit_ssl(const struct mg_connection *conn); /* or NULL */
int unit_handled(const struct mg_connection *conn); /* requests, so far */
bool unit_has_head(const struct mg_connection *conn);
bool unit_is_full(const struct mg_connection *conn); /* header too long */

/* Method and target of a request that was not served, as far as they were
 * understood: never anything of the headers. */
struct str;
void unit_request_line(const struct mg_connection *conn, struct str *ret_method,
    struct str *ret_target);
/* False for a TLS connection whose handshake failed. */
bool unit_is_open(const struct mg_connection *conn);
void unit_wake_listeners(const struct mg_context *ctx); /* and refuse */

/* Called where @conn, a plain connection that has had a request, would wait for
 * the next one. @is_empty: it was said to have something to read, and has not.
 * Implemented in server.c. */
enum unit_wait {
	UNIT_READS,  /* there is something to read, of whatever connection @conn
	                is now (unit_load()) */
	UNIT_CLOSES, /* what it is now is to be closed */
	UNIT_WAITS   /* as ever, for what it is now */
};
enum unit_wait unit_on_wait(struct mg_connection *conn, bool is_empty);
/* The last recv(2) of this worker, here or in io.c, took all there was. */
void unit_set_drained(bool is_drained);
bool unit_is_drained(void);
/* What @conn is between two requests, to the end of a worker's service of it. */
#define UNIT_PARKED 96
void unit_save(const struct mg_connection *conn, void *dst);
void unit_load(struct mg_connection *conn, const void *src);
/* In the middle of a request whose body was read: what @conn will be after it goes
 * to @dst, with the buffer; @conn goes on with the buffer @buf and is none, its
 * socket -1, until the next unit_load(). */
void unit_detach(struct mg_connection *conn, void *dst, void *buf);
void *unit_buffer_new(size_t size); /* NULL without memory */
void unit_buffer_free(void *buf, size_t size);
/* From its first request on, and at its end. */
void unit_serves(struct mg_connection *conn);
void unit_serves_none(void);

/* The connection closes: gives the pages of its request buffer back. */
void unit_drop_buffer(const struct mg_connection *conn);

/* No further request on this connection. */
void unit_close_after(struct mg_connection *conn);
bool unit_keeps_alive(const struct mg_connection *conn);
/* Framing, where it stands behind the headers that civetweb looks at. */
void unit_set_length(struct mg_connection *conn, int64_t len, bool chunked);
/* The whole body was read. For a chunked one, @left bytes that belong to the
 * next request lie at buf + head_len. */
void unit_body_done(struct mg_connection *conn, size_t left);

/* Length of the header block at @p with the empty line behind it; 0: not all
 * here, -1: a byte that must not be in it. The other is civetweb's own. */
int unit_header_len(const char *p, int len);
int unit_header_len_as_theirs(const char *p, int len);

size_t unit_n_listeners(const struct mg_context *ctx);
/* A copy of its address. */
struct sockaddr_storage;
void unit_listener(const struct mg_context *ctx, size_t i,
    struct sockaddr_storage *ret);

#ifdef CREEL_FUZZ
/* A connection that has received nothing but @p, up to where the handler would
 * be called; NULL if civetweb refuses it. */
struct mg_connection *unit_parse(const char *p, size_t len, size_t buf_size);
void unit_parse_free(struct mg_connection *conn);
#endif

#endif
