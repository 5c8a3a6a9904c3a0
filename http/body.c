/* http/body.c - request bodies: length or chunked, 100-continue, drain.
 *
 * Read from the socket here and not by mg_read(): that takes two system calls
 * per byte of chunk framing, is lax about it, and can't tell a stalled client
 * from the end.
 *
 * B1  Never reads past Content-Length. What was read past the last chunk is
 *     handed back to the connection for the next request.
 * B2  After a failed read every later one fails likewise, and the connection
 *     closes.
 * Threads: the connection's worker. */
#include "http/internal.h"
#include "lib/clock.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#define SIZE_LINE_MAX 256u   /* chunk size with extensions */
#define TRAILERS_MAX 8192u   /* all trailer lines together */
#define FILL_MAX 16384u      /* one read of framing and small chunks */
#define KEEP_DRAIN_MAX 65536 /* unread body worth a kept connection */
#define LINGER_BYTES (16 << 20)
#define LINGER_MS 3000      /* a body is on its way */
#define LINGER_SHORT_MS 500 /* unknown what comes */
#define DRAIN_IDLE_MS 5000

enum {
	CHUNK_SIZE,
	CHUNK_DATA,
	CHUNK_END,
	CHUNK_TRAILER,
	CHUNK_DONE
};

void
http_body_init(struct http_req *r)
{
	const struct http_info *in = &r->info;

	r->body_left = in->content_length > 0 ? in->content_length : 0;
	r->taken = 0;
	r->scratch = (size_t)r->raw.head_len;
	r->scratch_end = (size_t)r->raw.data_len;
	r->chunk_left = 0;
	r->chunk_state = CHUNK_SIZE;
	r->trailer_bytes = 0;
	r->bytes_in = 0;
	r->continued = false;
	r->body_error = 0;
	r->body_done = !in->chunked && r->body_left == 0;
	if (r->body_done)
		unit_body_done(r->conn, 0);
}

bool
http_body_is_done(const struct http_req *r)
{
	return r->body_done;
}

static bool
has_body_bytes(const struct http_req *r)
{
	return r->raw.data_len > r->raw.head_len;
}

int
http_continue(struct http_req *r, struct err *e)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec iov = { .iov_len = sizeof(line) - 1 };
	char copy[sizeof(line)];

	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (r->continued)
		return 0;
	r->continued = true;
	/* A client that sends already does not wait (RFC 9110 10.1.1). */
	if (!r->info.expect_continue || has_body_bytes(r) || r->started)
		return 0;
	memcpy(copy, line, sizeof(line));
	iov.iov_base = copy;
	return http_io_write(r, &iov, 1, e);
}

static int
read_sized(struct http_req *r, char *p, size_t len, int idle_ms,
    size_t *ret_len, struct err *e)
{
	size_t behind = (size_t)(r->raw.data_len - r->raw.head_len);
	int rc;

	if ((int64_t)len > r->body_left || len > INT64_MAX)
		len = (size_t)r->body_left;
	if (r->taken < behind) {
		if (len > behind - r->taken)
			len = behind - r->taken;
		memcpy(p, r->raw.buf + r->raw.head_len + r->taken, len);
		r->taken += len;
	} else {
		rc = http_io_read(r, p, len, idle_ms, &len, e);
		if (rc < 0)
			return rc;
		if (len == 0)
			return err_set(e, ERR_INCOMPLETE_BODY, NULL);
	}
	r->body_left -= (int64_t)len;
	if (r->body_left == 0) {
		r->body_done = true;
		unit_body_done(r->conn, 0);
	}
	*ret_len = len;
	return 0;
}

/* --- chunked: RFC 9112 section 7.1 --- */

static int
bad_chunk(struct err *e)
{
	return err_set(e, ERR_BAD_REQUEST, "malformed chunk in the body");
}

/* At least one byte more in the scratch space behind the header. */
static int
fill(struct http_req *r, int idle_ms, struct err *e)
{
	size_t base = (size_t)r->raw.head_len, room, n;
	char *b = r->raw.buf;
	int rc;

	if (r->scratch > base) {
		memmove(b + base, b + r->scratch, r->scratch_end - r->scratch);
		r->scratch_end -= r->scratch - base;
		r->scratch = base;
	}
	room = (size_t)r->raw.buf_size - r->scratch_end;
	if (room > FILL_MAX)
		room = FILL_MAX;
	if (room == 0)
		return bad_chunk(e);
	rc = http_io_read(r, b + r->scratch_end, room, idle_ms, &n, e);
	if (rc < 0)
		return rc;
	if (n == 0)
		return err_set(e, ERR_INCOMPLETE_BODY, NULL);
	r->scratch_end += n;
	return 0;
}

/* One line without its CRLF; valid until the next fill(). */
static int
take_line(struct http_req *r, size_t max, int idle_ms, struct str *ret,
    struct err *e)
{
	size_t seen = 0;

	for (;;) {
		const char *p = r->raw.buf + r->scratch;
		size_t n = r->scratch_end - r->scratch;
		const char *nl = memchr(p + seen, '\n', n - seen);
		int rc;

		if (nl != NULL) {
			size_t len = (size_t)(nl - p);

			if (len == 0 || len - 1 > max || nl[-1] != '\r' ||
			    memchr(p, '\r', len - 1) != NULL ||
			    memchr(p, '\0', len - 1) != NULL)
				return bad_chunk(e);
			*ret = str_mem(p, len - 1);
			r->scratch += len + 1;
			return 0;
		}
		if (n > max + 1)
			return bad_chunk(e);
		seen = n;
		rc = fill(r, idle_ms, e);
		if (rc < 0)
			return rc;
	}
}

static int
parse_size(struct str line, uint64_t *ret, struct err *e)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < line.len && hex_value(line.p[i]) >= 0; i++) {
		if (v > (uint64_t)INT64_MAX / 16)
			return bad_chunk(e);
		v = v * 16 + (uint64_t)hex_value(line.p[i]);
	}
	if (i == 0 || i > 16 || (i < line.len && line.p[i] != ';'))
		return bad_chunk(e);
	*ret = v;
	return 0;
}

static int
take_trailer(struct http_req *r, int idle_ms, struct err *e)
{
	struct str line;
	int rc;

	rc = take_line(r, TRAILERS_MAX - r->trailer_bytes, idle_ms, &line, e);
	if (rc < 0)
		return rc;
	if (line.len > 0) {
		/* Trailers of the transfer mean nothing here: aws-chunked has
		 * its own, inside. */
		r->trailer_bytes += (uint32_t)line.len;
		if (str_chr(line, ':') <= 0 || line.p[0] == ' ' ||
		    line.p[0] == '\t' || r->trailer_bytes >= TRAILERS_MAX)
			return bad_chunk(e);
		return 0;
	}
	r->chunk_state = CHUNK_DONE;
	r->body_done = true;
	memmove(r->raw.buf + r->raw.head_len, r->raw.buf + r->scratch,
	    r->scratch_end - r->scratch);
	unit_body_done(r->conn, r->scratch_end - r->scratch); /* B1 */
	return 0;
}

static int
take_data(struct http_req *r, char *p, size_t len, int idle_ms, size_t *ret_len,
    struct err *e)
{
	size_t have;
	int rc;

	if (len > r->chunk_left)
		len = (size_t)r->chunk_left;
	/* Small chunks come through the scratch space, with the framing of
	 * those that follow; large ones straight to the caller. */
	if (r->scratch == r->scratch_end && r->chunk_left < FILL_MAX) {
		rc = fill(r, idle_ms, e);
		if (rc < 0)
			return rc;
	}
	have = r->scratch_end - r->scratch;
	if (have > 0) {
		if (len > have)
			len = have;
		memcpy(p, r->raw.buf + r->scratch, len);
		r->scratch += len;
	} else {
		rc = http_io_read(r, p, len, idle_ms, &len, e);
		if (rc < 0)
			return rc;
		if (len == 0)
			return err_set(e, ERR_INCOMPLETE_BODY, NULL);
	}
	r->chunk_left -= len;
	if (r->chunk_left == 0)
		r->chunk_state = CHUNK_END;
	*ret_len = len;
	return 0;
}

/* Framing up to the next byte of data, or to the end. */
static int
take_framing(struct http_req *r, int idle_ms, struct err *e)
{
	struct str line;
	int rc = 0;

	while (rc == 0 && r->chunk_state != CHUNK_DATA &&
	       r->chunk_state != CHUNK_DONE) {
		switch (r->chunk_state) {
		case CHUNK_SIZE:
			rc = take_line(r, SIZE_LINE_MAX, idle_ms, &line, e);
			if (rc == 0)
				rc = parse_size(line, &r->chunk_left, e);
			if (rc == 0)
				r->chunk_state = r->chunk_left > 0
				                     ? CHUNK_DATA
				                     : CHUNK_TRAILER;
			break;
		case CHUNK_END:
			rc = take_line(r, 0, idle_ms, &line, e);
			r->chunk_state = CHUNK_SIZE;
			break;
		default:
			rc = take_trailer(r, idle_ms, e);
			break;
		}
	}
	return rc;
}

static int
read_chunked(struct http_req *r, char *p, size_t len, int idle_ms,
    size_t *ret_len, struct err *e)
{
	size_t total = 0;

	/* Goes on over chunk borders as long as nothing has to be waited for,
	 * so that small chunks do not make small reads. */
	do {
		size_t n = 0;
		int rc;

		rc = take_framing(r, idle_ms, e);
		if (rc < 0)
			return rc;
		if (r->chunk_state == CHUNK_DONE)
			break;
		rc = take_data(r, p + total, len - total, idle_ms, &n, e);
		if (rc < 0)
			return rc;
		total += n;
	} while (total < len && r->scratch < r->scratch_end &&
		 memchr(r->raw.buf + r->scratch, '\n',
		     r->scratch_end - r->scratch) != NULL);
	*ret_len = total;
	return 0;
}

static int
read_some(struct http_req *r, void *p, size_t len, int idle_ms, size_t *ret_len,
    struct err *e)
{
	int rc;

	if (r->body_error != 0)
		return err_set(e, r->body_error, NULL);
	if (r->body_done || len == 0) {
		*ret_len = 0;
		return 0;
	}
	if (r->info.chunked)
		rc = read_chunked(r, p, len, idle_ms, ret_len, e);
	else
		rc = read_sized(r, p, len, idle_ms, ret_len, e);
	if (rc < 0) {
		r->body_error = rc; /* B2 */
		http_close_after(r);
		return rc;
	}
	r->bytes_in += *ret_len;
	return 0;
}

int
http_read(struct http_req *r, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	int rc;

	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	if (!r->body_done) {
		rc = http_continue(r, e);
		if (rc < 0)
			return rc;
	}
	return read_some(r, p, len, r->s->c.body_idle_timeout_ms, ret_len, e);
}

/* --- what the handler left --- */

void
http_distrust(struct http_req *r)
{
	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	r->is_distrusted = true;
}

/* Asked when the header of the answer is made: true if it must say
 * `Connection: close`. */
bool
http_body_forbids_reuse(const struct http_req *r)
{
	if (r->body_done)
		return false;
	/* A client that waits for 100 may send the body or not: unknown where
	 * the next request begins. */
	if (r->info.expect_continue && !r->continued && !has_body_bytes(r))
		return true;
	return r->body_error != 0 || r->info.chunked ||
	       r->body_left > KEEP_DRAIN_MAX;
}

/* Ends our side, then reads on for a bounded while: a close with unread data
 * is a reset, which can destroy the answer on its way (RFC 9112 9.6). */
static __attribute__((noinline)) void
linger(struct http_req *r)
{
	bool has_body = r->body_left > 0 || r->info.chunked;
	int64_t end = clock_mono_ns() +
	              (has_body ? LINGER_MS : LINGER_SHORT_MS) * NS_PER_MS;
	size_t total = 0;
	char trash[16384];

	if (r->ssl != NULL)
		SSL_shutdown(r->ssl);
	if (shutdown(r->fd, SHUT_WR) != 0)
		return;
	while (total < LINGER_BYTES) {
		int64_t left = (end - clock_mono_ns()) / NS_PER_MS;
		struct pollfd pfd = { .fd = r->fd, .events = POLLIN };
		ssize_t n = recv(r->fd, trash, sizeof(trash), MSG_DONTWAIT);

		if (n > 0) {
			total += (size_t)n;
			continue;
		}
		if (n == 0 || left <= 0 || atomic_load(&r->s->cutting) ||
		    poll(&pfd, 1, (int)left) <= 0)
			return;
	}
}

static __attribute__((noinline)) void
drain(struct http_req *r)
{
	char trash[16384];
	size_t n;

	while (!r->body_done) {
		if (read_some(r, trash, sizeof(trash), DRAIN_IDLE_MS, &n,
			NULL) < 0)
			return; /* closes */
	}
}

/* The two above are not inlined: their buffers would be touched (probed, with
 * -fstack-clash-protection) in every worker's stack by every request. */
void
http_body_settle(struct http_req *r)
{
	if (r->broken) {
		http_close_after(r);
	} else if (r->closes) {
		http_close_after(r);
		if (!r->body_done || r->is_distrusted)
			linger(r);
	} else if (!r->body_done) {
		drain(r);
	}
}
