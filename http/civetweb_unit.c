/* http/civetweb_unit.c - civetweb 1.16, unmodified, in one translation unit,
 * and the few functions of ours that need its internals.
 *
 * What we change without touching a line of it:
 * U1  isspace() is true for LF only. civetweb skips blanks, CR and LF in any
 *     number between the words of a request line and before it; so, one blank
 *     and CRLF are all that passes, the rest fails its parse or our guard.
 * U2  accept() is ours: the acceptor knows every connection from its first
 *     moment, and never blocks (see server.c).
 * U3  recv() is used for headers only (bodies are read by body.c); it takes
 *     8 KiB at most, so that the buffers of idle threads stay small, and keeps
 *     in mind whether that was all.
 * U4  A wait is not cut into quanta: server.c shuts sockets down to wake
 *     their threads, so that 1,000 idle ones do not wake up all the time.
 * U5  A worker's request buffer is a mapping: not one page of it is touched
 *     before the first connection.
 * U6  pthread_create() starts the first few workers only; consume_socket(), in
 *     which a worker waits for a connection, is ours around theirs. The acceptor
 *     starts a worker when there are more connections than workers; one that
 *     has served ends where many have nothing to do, and one that has waited
 *     for some seconds, but for the first few. Each connection that
 *     the acceptor hands over is taken by one worker, which comes back: so
 *     `busy` is exact. All of it under thread_mutex, which the acceptor
 *     takes at its end before it joins them: none of them ends by itself
 *     behind that, and no thread is joined twice.
 * U7  The scan of a header block asks isprint() and tolower() for each byte:
 *     ASCII's, inline, instead of the locale's by a call. (We never leave the
 *     C locale, where they are the same.)
 * U8  poll() for the next request of a plain connection is ours, and the recv()
 *     behind it: the worker may come out of them with another connection
 *     (pool.h). What a connection is
 *     between two requests is its socket and how many requests it has had; all
 *     else civetweb sets anew for each request.
 * U9  The search for a header block's end is ours, a word at a time: theirs
 *     looks at each byte four times, twice a request. HL_const() is the head
 *     of its definition, HL_buf() a call.
 * U10 strtod() reads the time-outs from the options, all digits, anew for each
 *     request.
 * U11 Its time-outs need no clock that is finer than a tick.
 * U12 The look at each byte of a target is ours, like U9: eight at once.
 * U13 SSL_accept() is ours: it waits for the peer by the clock. Theirs counts the
 *     times that it has waited, up to 50 ms each, as 50: a client in many pieces
 *     was cut early; and one that is stuck, late on a busy machine, having
 *     woken its thread 20 times a second.
 * A changed upstream breaks this compile, not the behaviour. */
#include <ctype.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "http/civetweb_unit.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/thread.h"

#define USE_IPV6
#define NO_SSL_DL
#define OPENSSL_API_3_0
#define NO_CGI
#define NO_FILES
#define NO_FILESYSTEMS
#define NO_CACHING
#define USE_STACK_SIZE (1024 * 1024)
#define SOCKET_TIMEOUT_QUANTUM (600 * 1000)
#define MG_EXTERNAL_FUNCTION_log_access
#define MG_EXTERNAL_FUNCTION_mg_cry_internal_impl

#undef isspace
#define isspace(c) ((c) == '\n')
#undef isprint
#define isprint(c) ((unsigned)(c)-0x20 < 0x5f)
#undef isgraph
#define isgraph(c) ((unsigned)(c)-0x21 < 0x5e)
#undef tolower
#define tolower(c) ((unsigned)(c) - 'A' < 26 ? (c) + 32 : (c))

static double
unit_strtod(const char *z, char **end)
{
	double v = 0;

	MUST(end == NULL);
	for (; *z >= '0' && *z <= '9'; z++)
		v = v * 10 + (*z - '0');
	return v;
}
#define strtod(z, end) unit_strtod(z, end)

/* U11 */
#define clock_gettime(id, ts)                                                  \
	clock_gettime((id) == CLOCK_MONOTONIC ? CLOCK_MONOTONIC_COARSE : (id), \
	    ts)

#define get_uri_type(a) UT_##a)
#define UT_const unit_uri_type_plain(const
#define UT_conn unit_uri_type(conn
#define UT_destination_hdr unit_uri_type(destination_hdr
static int unit_uri_type(const char *uri);

#define get_http_header_len(a, b) HL_##a, b)
#define HL_const unit_header_len_plain(const
#define HL_buf unit_header_len(buf

#define consume_socket(a, b, i) CS_##a, b, i)
#define CS_struct unit_consume_plain(struct
#define CS_ctx unit_consume(ctx
struct mg_context;
struct socket;
static int unit_consume(struct mg_context *ctx, struct socket *sp, int no);

static __thread struct mg_context *accept_ctx;
static int unit_accept(int fd, struct sockaddr *sa, socklen_t *len);
static ssize_t unit_recv(int fd, void *p, size_t len, int flags);
static int unit_poll(struct pollfd *p, nfds_t n, int ms);
static int unit_thread(pthread_t *t, const pthread_attr_t *attr,
    void *(*fn)(void *), void *arg);
static void *unit_malloc(size_t n);
static void unit_free(void *p);
static int unit_ssl_accept(SSL *ssl);
#define accept(fd, sa, len) unit_accept(fd, sa, len)
#define recv(fd, p, len, flags) unit_recv(fd, p, len, flags)
#define poll(p, n, ms) unit_poll(p, n, ms)
#define pthread_create(t, attr, fn, arg) unit_thread(t, attr, fn, arg)
#define malloc(n) unit_malloc(n)
#define free(p) unit_free(p)
#define SSL_accept unit_ssl_accept

#include "civetweb.c"

#undef accept
#undef recv
#undef poll
#undef pthread_create
#undef malloc
#undef free
#undef SSL_accept
#undef calloc /* civetweb forbids it behind its own */
#undef mg_cry
#undef strtod
#undef get_http_header_len
#undef get_uri_type
#undef consume_socket
#undef clock_gettime

int
unit_header_len_as_theirs(const char *buf, int len)
{
	return unit_header_len_plain(buf, len);
}

/* A control byte, or DEL, that is not part of a line's end. */
static bool
is_control(unsigned char c)
{
	return (c < 0x20 && c != '\r' && c != '\n') || c == 0x7f;
}

static bool
has_control(const char *p, size_t n)
{
	typedef unsigned char bytes __attribute__((vector_size(16)));
	typedef uint64_t words __attribute__((vector_size(16)));
	words bad = { 0 };
	size_t i = 0;

	for (; n - i >= 16; i += 16) {
		bytes b;

		memcpy(&b, p + i, 16);
		bad |= (words)(((b < 0x20) & (b != '\r') & (b != '\n')) |
			       (b == 0x7f));
	}
	for (; i < n; i++)
		bad[0] |= is_control((unsigned char)p[i]);
	return (bad[0] | bad[1]) != 0;
}

/* As theirs for what begins with a slash: no blank, no control byte, and none
 * from 0x80 on, which are below these to its signed char. */
static int
unit_uri_type(const char *uri)
{
	size_t i = 0, n = strlen(uri);

	if (uri[0] != '/')
		return unit_uri_type_plain(uri);
	for (; n - i >= 8; i += 8) {
		uint64_t w;

		memcpy(&w, uri + i, 8);
		if (((w | (w - WORD_ONES * 33)) & WORD_HIGH) != 0)
			return 0;
	}
	for (; i < n; i++) {
		if ((signed char)uri[i] < 33)
			return 0;
	}
	return 2;
}

int
unit_header_len(const char *p, int len)
{
	size_t n = len < 0 ? 0 : (size_t)len, end = 0;
	const char *at = n == 0 ? NULL : memchr(p, '\n', n);

	for (; at != NULL && end == 0;
	     at = memchr(at + 1, '\n', (size_t)(p + n - at - 1))) {
		size_t i = (size_t)(at - p), left = n - i;

		if (left > 1 && at[1] == '\n')
			end = i + 2;
		else if (left > 2 && at[1] == '\r' && at[2] == '\n' && i > 0 &&
			 at[-1] == '\r')
			end = i + 3;
	}
	if (has_control(p, end == 0 ? n : end))
		return -1;
	return (int)end;
}

/* The request buffer is allocated and freed by its worker, and the only thing
 * of that size (U5). */
static __thread struct {
	void *p;
	size_t size;
} mapping;

void *
unit_buffer_new(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
unit_buffer_free(void *p, size_t size)
{
	munmap(p, size);
}

/* The worker's connection (U8). */
static __thread struct mg_connection *served;

struct parked {
	struct socket client;
	int handled;
};
_Static_assert(sizeof(struct parked) <= UNIT_PARKED, "it fits");

void
unit_save(const struct mg_connection *conn, void *dst)
{
	struct parked p = { conn->client, conn->handled_requests };

	memcpy(dst, &p, sizeof(p));
}

void
unit_load(struct mg_connection *conn, const void *src)
{
	struct parked p;

	memcpy(&p, src, sizeof(p));
	conn->client = p.client;
	conn->handled_requests = p.handled;
	/* Its time-out for the rest of the header counts from here. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &conn->req_time);
}

void
unit_detach(struct mg_connection *conn, void *dst, void *buf)
{
	struct parked p = { conn->client, conn->handled_requests + 1 };
	struct mg_request_info *ri = &conn->request_info;

	memcpy(dst, &p, sizeof(p));
	MUST(conn->ssl == NULL && conn->buf == mapping.p);
	conn->buf = mapping.p = buf;
	conn->client.sock = INVALID_SOCKET;
	/* To civetweb a request without a body, served, of a connection that
	 * stays: what follows looks at nothing else until all is set anew. */
	conn->data_len = 0;
	conn->is_chunked = 0;
	conn->content_len = conn->consumed_content = 0;
	conn->must_close = 0;
	ri->num_headers = 0;
	ri->http_version = "1.1";
	ri->request_method = "GET";
	ri->request_uri = ri->local_uri_raw = "/";
	ri->query_string = NULL;
}

void
unit_serves(struct mg_connection *conn)
{
	served = conn->ssl == NULL ? conn : NULL;
}

void
unit_serves_none(void)
{
	served = NULL;
}

static __thread bool is_drained;
static __thread int wait_ms; /* of the wait for the next request */

void
unit_set_drained(bool is)
{
	is_drained = is;
}

bool
unit_is_drained(void)
{
	return is_drained;
}

/* @c has had a request, and nothing of the next one. */
static bool
is_between(const struct mg_connection *c, int fd)
{
	return c != NULL && fd == c->client.sock && c->data_len == 0 &&
	       c->handled_requests > 0 && !c->must_close;
}

static int
unit_poll(struct pollfd *p, nfds_t n, int ms)
{
	struct mg_connection *c = served;

	if (n == 1 && ms > 0 && is_between(c, p->fd) &&
	    (p->events & (POLLIN | POLLOUT)) == POLLIN) {
		wait_ms = ms;
		switch (unit_on_wait(c, false)) {
		case UNIT_READS:
			p->revents = POLLIN;
			return 1;
		case UNIT_CLOSES:
			errno = ECONNABORTED;
			return -1;
		case UNIT_WAITS:
			p->fd = c->client.sock;
			break;
		}
	}
	MUST(p->fd >= 0);
	if (ms != 0)
		thread_blocks();
	return poll(p, n, ms);
}

/* Waits for what the pool, mistaken, said was there. */
static bool
wait_again(struct mg_connection *c)
{
	struct pollfd pfd = { .events = POLLIN };

	switch (unit_on_wait(c, true)) {
	case UNIT_READS:
		return true;
	case UNIT_CLOSES:
		return false;
	case UNIT_WAITS:
		break;
	}
	pfd.fd = c->client.sock;
	thread_blocks();
	return poll(&pfd, 1, wait_ms) == 1;
}

static ssize_t
unit_recv(int fd, void *p, size_t len, int flags)
{
	struct mg_connection *c = served;
	ssize_t n;

	if (len > 8192)
		len = 8192;
	while ((n = recv(fd, p, len, flags)) < 0 && errno == EAGAIN &&
	       is_between(c, fd)) {
		if (!wait_again(c)) {
			errno = ECONNABORTED;
			break;
		}
		fd = c->client.sock;
	}
	is_drained = n < (ssize_t)len;
	return n;
}

/* Waits for @events until @end_ns. False: it has not come. */
static bool
wait_until(int fd, short events, int64_t end_ns)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int64_t left;

	thread_blocks();
	while ((left = end_ns - clock_mono_ns()) > 0) {
		int n = poll(&pfd, 1, (int)(left / 1000000) + 1);

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

/* U13. Whoever shuts the socket down ends it too (server.c). */
static int
unit_ssl_accept(SSL *ssl)
{
	struct mg_connection *c = SSL_get_app_data(ssl);
	double ms = unit_strtod(c->dom_ctx->config[REQUEST_TIMEOUT], NULL);
	int64_t end_ns = clock_mono_ns() + (int64_t)ms * 1000000;
	bool is_over = false;

	for (;;) {
		int rc, why;

		ERR_clear_error();
		rc = SSL_accept(ssl);
		if (rc == 1)
			return rc;
		why = SSL_get_error(ssl, rc);
		if (is_over ||
		    (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE))
			return rc;
		if (!wait_until(c->client.sock,
			why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT,
			end_ns)) {
			/* What their loop goes by is an error of the socket. */
			shutdown(c->client.sock, SHUT_RDWR);
			is_over = true;
		}
	}
}

/* --- workers (U6) --- */

enum {
	WORKERS_FIRST = 4,
	WORKERS_IDLE = 64, /* that stay, for a while */
	IDLE_S = 5,        /* until those beyond the first few end */
	/* Threads that the machine has to have left for the rest of the process. */
	WORKERS_LEFT = 16,
	RETRY_S = 60
};

static __thread bool worker_has_served, worker_ends;

/* Under thread_mutex, as the next ones. This thread is about to end: joined by the
 * next that is, by the acceptor when it needs its place, or at the end. */
static void
leave(struct mg_context *ctx, struct unit_workers *w, int no)
{
	if (w->leaving > 0) {
		mg_join_thread(ctx->worker_threadids[w->leaving - 1]);
		ctx->worker_threadids[w->leaving - 1] = 0;
	}
	w->leaving = no + 1;
	w->started--;
	worker_ends = true;
}

static void *
run_worker(void *arg)
{
	struct mg_connection *conn = arg;
	struct mg_context *ctx = conn->phys_ctx;

	worker_thread(arg);
	if (!worker_ends) { /* it could not even begin */
		pthread_mutex_lock(&ctx->thread_mutex);
		if (STOP_FLAG_IS_ZERO(&ctx->stop_flag))
			leave(ctx, unit_workers_of(ctx->user_data),
			    (int)(conn - ctx->worker_connections));
		pthread_mutex_unlock(&ctx->thread_mutex);
	}
	return NULL;
}

/* Under thread_mutex: until there is a connection, or the end. False: it has been
 * one worker too many for long. Not while the acceptor is about to hand over one
 * that is counted as this worker's. */
static bool
wait_for_work(struct mg_context *ctx, const struct unit_workers *w)
{
	struct timespec end;
	int rc = 0;

	while (ctx->sq_head == ctx->sq_tail &&
	       STOP_FLAG_IS_ZERO(&ctx->stop_flag)) {
		if (rc == ETIMEDOUT && w->started > WORKERS_FIRST &&
		    w->started > w->busy)
			return false;
		if (w->started <= WORKERS_FIRST) {
			rc = pthread_cond_wait(&ctx->sq_full,
			    &ctx->thread_mutex);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += IDLE_S;
		rc = pthread_cond_clockwait(&ctx->sq_full, &ctx->thread_mutex,
		    CLOCK_MONOTONIC, &end);
	}
	return true;
}

static int
unit_consume(struct mg_context *ctx, struct socket *sp, int no)
{
	struct unit_workers *w = unit_workers_of(ctx->user_data);

	pthread_mutex_lock(&ctx->thread_mutex);
	if (worker_has_served) {
		w->busy--;
		/* A connection that another one was just shut for is not among
		 * the busy before it has been accepted. */
		if (STOP_FLAG_IS_ZERO(&ctx->stop_flag) &&
		    ((w->started > w->most && w->started > w->busy + 2) ||
			w->started > w->busy + WORKERS_IDLE))
			leave(ctx, w, no);
	}
	if (!worker_ends && !wait_for_work(ctx, w))
		leave(ctx, w, no);
	/* It has nothing to wait for now, and the mutex is a recursive one. */
	if (!worker_ends)
		worker_has_served = unit_consume_plain(ctx, sp, no) != 0;
	pthread_mutex_unlock(&ctx->thread_mutex);
	worker_ends = worker_ends || !worker_has_served;
	return !worker_ends;
}

/* Under thread_mutex, which a new worker takes first of all. */
static int
count_worker(struct unit_workers *w, pthread_t *t, const pthread_attr_t *attr,
    void *arg)
{
	int err = pthread_create(t, attr, run_worker, arg);

	if (err == 0)
		w->started++;
	return err;
}

static int
unit_thread(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *),
    void *arg)
{
	struct mg_connection *conn = arg;
	struct mg_context *ctx;
	struct unit_workers *w;
	int err = 0;

	if (fn != worker_thread)
		return pthread_create(t, attr, fn, arg);
	ctx = conn->phys_ctx;
	w = unit_workers_of(ctx->user_data);
	if (accept_ctx != NULL) /* start_worker() */
		return count_worker(w, t, attr, arg);
	/* While civetweb starts: of the others there is no thread, and no error. */
	*t = 0;
	pthread_mutex_lock(&ctx->thread_mutex);
	w->most = ctx->cfg_worker_threads;
	if (w->started < WORKERS_FIRST)
		err = count_worker(w, t, attr, arg);
	pthread_mutex_unlock(&ctx->thread_mutex);
	return err;
}

/* On the acceptor's thread, under thread_mutex. False: the machine has no more. */
static bool
start_worker(struct mg_context *ctx, struct unit_workers *w)
{
	unsigned i = 0;

	if (w->leaving > 0) {
		i = (unsigned)w->leaving - 1;
		w->leaving = 0;
		mg_join_thread(ctx->worker_threadids[i]);
		ctx->worker_threadids[i] = 0;
	}
	while (ctx->worker_threadids[i] != 0)
		i++;
	MUST(i < ctx->cfg_worker_threads);
	/* civetweb, refused a thread while it starts, leaves the rest as it is. */
	ctx->worker_connections[i].phys_ctx = ctx;
	return mg_start_thread_with_id(worker_thread,
		   &ctx->worker_connections[i], &ctx->worker_threadids[i]) == 0;
}

/* One more connection: there is a worker for it. */
static void
have_worker(struct mg_context *ctx)
{
	struct unit_workers *w = unit_workers_of(ctx->user_data);
	unsigned most;

	pthread_mutex_lock(&ctx->thread_mutex);
	most = w->most;
	w->busy++;
	if (most < ctx->cfg_worker_threads && clock_mono_ns() >= w->retry_ns)
		w->most = ctx->cfg_worker_threads;
	if (w->busy > w->started && w->started < w->most &&
	    !start_worker(ctx, w)) {
		w->most = w->started > 2 * WORKERS_LEFT
		              ? w->started - WORKERS_LEFT
		              : w->started;
		w->retry_ns = clock_mono_ns() + RETRY_S * INT64_C(1000000000);
	}
	most = most == w->most ? 0 : w->most;
	pthread_mutex_unlock(&ctx->thread_mutex);
	if (most > 0)
		unit_on_most_workers(ctx->user_data, most);
}

bool
unit_has_acceptor(const struct mg_context *ctx)
{
	return ctx->masterthreadid != 0;
}

void
unit_abandon(struct mg_context *ctx)
{
	/* What the acceptor does at its end, and mg_stop() after it. */
	STOP_FLAG_ASSIGN(&ctx->stop_flag, 1);
	master_thread_run(ctx);
	free_context(ctx);
}

static void *
unit_malloc(size_t n)
{
	if (n < UNIT_MAP_MIN || mapping.p != NULL)
		return malloc(n);
	mapping.p = unit_buffer_new(n);
	mapping.size = mapping.p == NULL ? 0 : n;
	return mapping.p;
}

static void
unit_free(void *p)
{
	if (p == NULL || p != mapping.p) {
		free(p);
		return;
	}
	unit_buffer_free(mapping.p, mapping.size);
	mapping.p = NULL;
}

static int
unit_accept(int listener, struct sockaddr *sa, socklen_t *len)
{
	int fd = unit_on_accept(accept_ctx->user_data, listener, sa, len);

	if (fd >= 0)
		have_worker(accept_ctx);
	return fd;
}

void
unit_set_acceptor(const struct mg_context *ctx)
{
	/* The callback's const, as in on_close(). */
	accept_ctx = (struct mg_context *)(uintptr_t)ctx;
}

static void
init_once(void)
{
	mg_init_library(MG_FEATURES_TLS);
}

bool
unit_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	/* Never undone: a process may have several servers. */
	pthread_once(&once, init_once);
	return mg_init_library_called > 0;
}

void
unit_raw(const struct mg_connection *conn, struct unit_raw *ret)
{
	const struct mg_request_info *ri = &conn->request_info;

	*ret = (struct unit_raw){
		.buf = conn->buf,
		.head_len = conn->request_len,
		.data_len = conn->data_len,
		.buf_size = conn->buf_size,
		.ri = ri,
	};
}

int
unit_fd(const struct mg_connection *conn)
{
	return conn->client.sock;
}

struct ssl_st *
unit_ssl(const struct mg_connection *conn)
{
	return conn->ssl;
}

int
unit_handled(const struct mg_connection *conn)
{
	return conn->handled_requests;
}

bool
unit_has_head(const struct mg_connection *conn)
{
	return conn->request_len > 0;
}

bool
unit_is_full(const struct mg_connection *conn)
{
	return conn->request_len <= 0 && conn->data_len >= conn->buf_size;
}

void
unit_drop_buffer(const struct mg_connection *conn)
{
	if (conn->buf == mapping.p && mapping.p != NULL)
		madvise(mapping.p, mapping.size, MADV_DONTNEED);
}

void
unit_close_after(struct mg_connection *conn)
{
	conn->must_close = 1;
}

bool
unit_keeps_alive(const struct mg_connection *conn)
{
	return should_keep_alive(conn) != 0;
}

void
unit_set_length(struct mg_connection *conn, int64_t len, bool chunked)
{
	conn->is_chunked = chunked ? 1 : 0;
	conn->content_len = chunked ? 0 : len;
}

void
unit_body_done(struct mg_connection *conn, size_t left)
{
	if (conn->is_chunked) {
		/* What is left (the next request) was moved to directly
		 * behind the header. */
		conn->is_chunked = 4;
		conn->content_len = 0;
		conn->consumed_content = 0;
		conn->data_len = conn->request_len + (int)left;
	} else {
		conn->consumed_content = conn->content_len;
	}
}

size_t
unit_n_listeners(const struct mg_context *ctx)
{
	return ctx->num_listening_sockets;
}

void
unit_listener(const struct mg_context *ctx, size_t i,
    struct sockaddr_storage *ret)
{
	union {
		union usa usa;
		struct sockaddr_storage storage;
	} copy = { 0 };

	copy.usa = ctx->listening_sockets[i].lsa;
	*ret = copy.storage;
}

void
unit_request_line(const struct mg_connection *conn, struct str *ret_method,
    struct str *ret_target)
{
	const struct mg_request_info *ri = &conn->request_info;

	/* The parser terminates the target before it sets the version. */
	if (conn->request_len <= 0 || ri->request_method == NULL ||
	    ri->request_uri == NULL || ri->http_version == NULL)
		return;
	*ret_method = str_of(ri->request_method);
	*ret_target = str_of(ri->request_uri);
}

bool
unit_is_open(const struct mg_connection *conn)
{
	return !conn->client.is_ssl || conn->ssl != NULL;
}

void
unit_wake_listeners(const struct mg_context *ctx)
{
	for (unsigned i = 0; i < ctx->num_listening_sockets; i++)
		shutdown(ctx->listening_sockets[i].sock, SHUT_RDWR);
}

#ifdef CREEL_FUZZ
struct mg_connection *
unit_parse(const char *p, size_t len, size_t buf_size)
{
	struct mg_connection *c = calloc(1, sizeof(*c));
	char *query;

	c->buf = malloc(buf_size);
	c->buf_size = (int)buf_size;
	c->data_len = (int)(len < buf_size ? len : buf_size);
	memcpy(c->buf, p, (size_t)c->data_len);
	c->request_len = unit_header_len(c->buf, c->data_len);
	MUST(c->request_len == unit_header_len_plain(c->buf, c->data_len));
	if (c->request_len <= 0 ||
	    parse_http_request(c->buf, c->buf_size, &c->request_info) <= 0 ||
	    (strcmp(c->request_info.http_version, "1.0") != 0 &&
		strcmp(c->request_info.http_version, "1.1") != 0)) {
		unit_parse_free(c);
		return NULL;
	}
	/* As handle_request() does. */
	query = strchr(c->request_info.request_uri, '?');
	if (query != NULL) {
		*query = '\0';
		c->request_info.query_string = query + 1;
	}
	return c;
}

void
unit_parse_free(struct mg_connection *conn)
{
	free(conn->buf);
	free(conn);
}
#endif
