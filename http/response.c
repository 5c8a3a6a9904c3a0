/* http/response.c - answers: header and first body bytes in one write.
 *
 * The header is kept until the first body bytes, the end, or http_finish();
 * then both go out by one sendmsg(2), large bodies without a copy.
 * Threads: the connection's worker. */
#include "http/internal.h"
#include "lib/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

static const char *
reason_of(int status)
{
	static const struct {
		int status;
		const char *text;
	} table[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 416, "Range Not Satisfiable" },
		{ 417, "Expectation Failed" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 507, "Insufficient Storage" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].status == status)
			return table[i].text;
	}
	return "Status";
}

/* --- header --- */

int
http_set(struct http_req *r, const char *name, struct str value)
{
	size_t n = strlen(name);
	char *p;
	int rc;

	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (r->started)
		return ERR_INVALID;
	rc = buf_reserve(&r->head, n + value.len + 4);
	if (rc < 0)
		return rc;
	p = r->head.p + r->head.len;
	memcpy(p, name, n);
	memcpy(p + n, ": ", 2);
	p += n + 2;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		p[i] = c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
	}
	memcpy(p + value.len, "\r\n", 2);
	r->head.len += n + value.len + 4;
	return 0;
}

int
http_setz(struct http_req *r, const char *name, const char *value)
{
	return http_set(r, name, str_of(value));
}

int
http_setf(struct http_req *r, const char *name, const char *fmt, ...)
{
	char text[512], *p = text;
	va_list ap;
	int n, rc;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return ERR_INVALID;
	if ((size_t)n >= sizeof(text)) {
		p = arena_alloc(r->arena, (size_t)n + 1);
		if (p == NULL)
			return ERR_NO_MEMORY;
		va_start(ap, fmt);
		vsnprintf(p, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	rc = http_set(r, name, str_mem(p, (size_t)n));
	return rc;
}

void
http_unset_all(struct http_req *r)
{
	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (!r->started)
		buf_reset(&r->head);
}

static bool
must_close(struct http_req *r)
{
	struct http_server *s = r->s;
	unsigned open =
	    atomic_load_explicit(&s->connections, memory_order_relaxed);

	return !http_keeps_alive(r) || r->is_distrusted ||
	       open > s->max_connections / 4 * 3 ||
	       atomic_load_explicit(&s->draining, memory_order_relaxed) ||
	       http_body_forbids_reuse(r);
}

static char *
put(char *p, const char *z)
{
	size_t n = strlen(z);

	memcpy(p, z, n);
	return p + n;
}

static char *
put_u64(char *p, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	while (n > 0)
		*p++ = digits[--n];
	return p;
}

/* The status line and the headers that this layer owns; fits r->first. */
static void
make_first(struct http_req *r)
{
	int64_t now = clock_real_s();
	char *p = r->first;

	if (now != r->date_s) {
		clock_fmt_http(now, r->date);
		r->date_s = now;
	}
	p = put(p, "HTTP/1.1 ");
	p = put_u64(p, (uint64_t)r->status);
	*p++ = ' ';
	p = put(p, reason_of(r->status));
	p = put(p, "\r\nDate: ");
	p = put(p, r->date);
	if (r->closes)
		p = put(p, "\r\nConnection: close");
	else if (r->info.is_http10)
		p = put(p, "\r\nConnection: keep-alive");
	if (r->is_chunked_out) {
		p = put(p, "\r\nTransfer-Encoding: chunked");
	} else if (r->length >= 0 && r->status != 204 && r->status != 304) {
		p = put(p, "\r\nContent-Length: ");
		p = put_u64(p, (uint64_t)r->length);
	}
	p = put(p, "\r\n");
	r->first_len = (size_t)(p - r->first);
	MUST(r->first_len <= sizeof(r->first));
}

int
http_start(struct http_req *r, int status, int64_t length)
{
	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	MUST(status >= 200 && status <= 599);
	if (r->started)
		return ERR_INVALID;
	/* Also for `Content-Length: 0`, which nobody reads: botocore takes the
	 * status of an answer without a 100 before it for that of the next one
	 * on this connection too, and then waits for its end. */
	if (http_body_is_done(r) && r->info.content_length == 0)
		(void)http_continue(r, NULL);
	r->status = status;
	r->length = length;
	r->no_body =
	    status == 204 || status == 304 || str_eqz(r->info.method, "HEAD");
	r->closes = must_close(r);
	if (length < 0 && !r->no_body) {
		/* Without chunks only the close says where it ends. */
		r->is_chunked_out = !r->info.is_http10;
		r->closes = r->closes || r->info.is_http10;
	}
	make_first(r);
	if (buf_add(&r->head, "\r\n", 2) < 0) {
		http_break(r);
		return ERR_NO_MEMORY;
	}
	r->started = true;
	if (r->closes)
		http_close_after(r);
	return 0;
}

/* --- body --- */

static int
put_iov(struct iovec *iov, int n, const void *p, size_t len)
{
	/* sendmsg(2) does not write there; the type has no const. */
	iov[n].iov_base = (void *)(uintptr_t)p;
	iov[n].iov_len = len;
	return n + 1;
}

/* Header, if it is still here, and @p (of chunked answers one chunk; with
 * @last its end too) in one write. */
static int
send_part(struct http_req *r, const void *p, size_t len, bool last,
    struct err *e)
{
	struct iovec iov[6];
	char size[24];
	int n = 0, rc;

	if (r->broken)
		return err_set(e, ERR_DISCONNECTED, NULL);
	if (!r->head_sent) {
		n = put_iov(iov, n, r->first, r->first_len);
		n = put_iov(iov, n, r->head.p, r->head.len);
		r->head_sent = true;
	}
	if (len > 0 && r->is_chunked_out) {
		int k = snprintf(size, sizeof(size), "%zx\r\n", len);

		n = put_iov(iov, n, size, (size_t)k);
	}
	if (len > 0)
		n = put_iov(iov, n, p, len);
	if (len > 0 && r->is_chunked_out)
		n = put_iov(iov, n, "\r\n", 2);
	if (last && r->is_chunked_out)
		n = put_iov(iov, n, "0\r\n\r\n", 5);
	rc = http_io_write(r, iov, n, e);
	if (rc < 0) {
		r->broken = true;
		http_close_after(r);
		return rc;
	}
	r->bytes_out += len;
	return 0;
}

int
http_write(struct http_req *r, const void *p, size_t len, struct err *e)
{
	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (!r->started || r->finished)
		return err_set(e, ERR_INVALID, "no answer is open");
	if (r->length >= 0 && len > (uint64_t)r->length - r->written)
		return err_set(e, ERR_INVALID,
		    "more body than the %jd bytes announced",
		    (intmax_t)r->length);
	if (len == 0)
		return 0;
	r->written += len;
	if (r->no_body)
		return r->broken ? err_set(e, ERR_DISCONNECTED, NULL) : 0;
	return send_part(r, p, len, false, e);
}

int
http_finish(struct http_req *r)
{
	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (!r->started)
		return ERR_INVALID;
	if (r->finished)
		return 0;
	if (!r->no_body && r->length >= 0 && r->written < (uint64_t)r->length) {
		http_break(r);
		return ERR_DISCONNECTED;
	}
	r->finished = true;
	if (r->head_sent && !r->is_chunked_out)
		return r->broken ? ERR_DISCONNECTED : 0;
	return send_part(r, NULL, 0, true, NULL);
}

int
http_reply(struct http_req *r, int status, struct str body)
{
	struct err e = ERR_INIT;
	int rc;

	rc = http_start(r, status, (int64_t)body.len);
	if (rc < 0)
		return rc;
	rc = http_write(r, body.p, body.len, &e);
	return rc < 0 ? rc : http_finish(r);
}

void
http_break(struct http_req *r)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (!r->broken) {
		/* A reset and not an end: where the close says how long the
		 * body is, an end would pass for the whole. connect(2) to
		 * nowhere resets at once; civetweb's orderly close comes too
		 * late then. */
		setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		(void)connect(r->fd, &sa, sizeof(sa));
	}
	r->broken = true;
	r->finished = true;
	http_close_after(r);
}

bool
http_is_started(const struct http_req *r)
{
	return r->started;
}

int
http_status(const struct http_req *r)
{
	return r->status;
}

uint64_t
http_bytes_in(const struct http_req *r)
{
	return r->bytes_in;
}

uint64_t
http_bytes_out(const struct http_req *r)
{
	return r->bytes_out;
}

/* An answer of this layer's own. The connection closes. */
void
http_fail(struct http_req *r, const struct err *why)
{
	struct buf body = BUF_CAP(65536);
	const char *type = "application/xml";

	http_unset_all(r);
	http_close_after(r);
	r->note.error = err_s3_code(why->code);
	if (r->s->c.error_body != NULL)
		r->s->c.error_body(r->s->c.arg, r, why, &body, &type);
	if (body.len > 0)
		http_setz(r, "Content-Type", type);
	if (err_http_status(why->code) == 503)
		http_setz(r, "Retry-After", "1");
	http_reply(r, err_http_status(why->code), buf_str(&body));
	buf_fini(&body);
}
