/* cli/bench_conn.c - one connection: sends a request, takes the answer.
 *
 * Never blocks. Understands of HTTP what servers of S3 send: status, headers,
 * Content-Length, chunked, 100-continue, Connection: close. Bodies are thrown
 * away in the kernel (MSG_TRUNC) where that is possible. */
#include "cli/bench.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	PHASE_HEAD,
	PHASE_BODY,      /* `left` bytes */
	PHASE_UNTIL_END, /* as long as the connection */
	PHASE_CHUNK,     /* a line with a size */
	PHASE_DATA,      /* `left` bytes and CRLF */
	PHASE_TRAILER,
	PHASE_DONE,
};

/* --- TLS --- */

struct bench_tls {
	SSL_CTX *ctx;
};

int
bench_tls_new(const struct bench_conf *c, struct bench_tls **ret, struct err *e)
{
	struct bench_tls *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (t->ctx == NULL ||
	    (c->ca != NULL
		    ? SSL_CTX_load_verify_locations(t->ctx, c->ca, NULL) != 1
		    : SSL_CTX_set_default_verify_paths(t->ctx) != 1)) {
		bench_tls_free(&t);
		return err_set(e, ERR_CONFIG, "cannot set up TLS%s%s",
		    c->ca != NULL ? " with " : "", c->ca != NULL ? c->ca : "");
	}
	SSL_CTX_set_verify(t->ctx,
	    c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	*ret = t;
	return 0;
}

void
bench_tls_free(struct bench_tls **tp)
{
	if (*tp == NULL)
		return;
	SSL_CTX_free((*tp)->ctx);
	free(*tp);
	*tp = NULL;
}

/* --- the socket --- */

void
bench_conn_init(struct bench_conn *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->head = BUF_CAP(65536);
}

void
bench_conn_close(struct bench_conn *c)
{
	if (c->ssl != NULL)
		SSL_free(c->ssl);
	c->ssl = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->connected = false;
	c->usable = false;
}

void
bench_conn_fini(struct bench_conn *c)
{
	bench_conn_close(c);
	buf_fini(&c->head);
}

int
bench_conn_open(struct bench_conn *c, const struct addrinfo *ai,
    const struct bench_conf *conf, struct bench_tls *tls, struct err *e)
{
	char name[sizeof(conf->host)]; /* OpenSSL's macro takes no const */
	int one = 1;

	MUST(c->fd < 0);
	c->fd = socket(ai->ai_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_set_errno(e, errno, "socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, ai->ai_addr, ai->ai_addrlen) < 0 &&
	    errno != EINPROGRESS) {
		int err = errno;

		bench_conn_close(c);
		return err_set_errno(e, err, "connect to %s:%s", conf->host,
		    conf->port);
	}
	if (tls == NULL)
		return 0;
	c->ssl = SSL_new(tls->ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
	    SSL_set1_host(c->ssl, conf->host) != 1) {
		bench_conn_close(c);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	memcpy(name, conf->host, sizeof(name));
	SSL_set_tlsext_host_name(c->ssl, name);
	SSL_set_connect_state(c->ssl);
	return 0;
}

/* What an SSL call that did not work waits for. */
static int
ssl_wait(struct bench_conn *c, int n, enum bench_want *ret, struct err *e)
{
	switch (SSL_get_error(c->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		*ret = BENCH_WANT_READ;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		*ret = BENCH_WANT_WRITE;
		return 0;
	case SSL_ERROR_ZERO_RETURN:
	case SSL_ERROR_SYSCALL:
		return err_set(e, ERR_DISCONNECTED, "connection closed");
	default:
		return err_set(e, ERR_IO, "TLS: %s",
		    ERR_reason_error_string(ERR_peek_last_error()));
	}
}

/* --- sending --- */

/* 1 = all is sent, 0 = *ret says what to wait for */
static int
send_plain(struct bench_conn *c, enum bench_want *ret, struct err *e)
{
	uint64_t total = c->head.len + c->body_len;

	while (c->sent < total) {
		struct iovec v[2];
		struct msghdr m = { .msg_iov = v };
		uint64_t at = 0;
		ssize_t n;

		if (c->sent < c->head.len) {
			v[m.msg_iovlen++] = (struct iovec){ c->head.p + c->sent,
				c->head.len - c->sent };
		} else {
			at = c->sent - c->head.len;
		}
		if (at < c->body_len) {
			const void *p = c->body + at;

			memcpy(&v[m.msg_iovlen].iov_base, &p, sizeof(p));
			v[m.msg_iovlen++].iov_len = c->body_len - at;
		}
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			*ret = BENCH_WANT_WRITE;
			return 0;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return err_set(e, ERR_DISCONNECTED,
			    "connection closed while sending");
		if (n < 0)
			return err_set_errno(e, errno, "send");
		c->sent += (uint64_t)n;
	}
	return 1;
}

static int
send_tls(struct bench_conn *c, enum bench_want *ret, struct err *e)
{
	uint64_t total = c->head.len + c->body_len;

	while (c->sent < total) {
		const char *p = c->head.p + c->sent;
		uint64_t n = c->head.len - c->sent;
		size_t done;

		if (c->sent >= c->head.len) {
			p = c->body + (c->sent - c->head.len);
			n = total - c->sent;
		}
		ERR_clear_error();
		if (SSL_write_ex(c->ssl, p, n, &done) != 1)
			return ssl_wait(c, 0, ret, e);
		c->sent += done;
	}
	return 1;
}

/* --- receiving --- */

void
bench_conn_begin(struct bench_conn *c, bool is_head, bool keep_body)
{
	c->sent = 0;
	c->phase = PHASE_HEAD;
	c->in_len = 0;
	c->status = 0;
	c->is_head = is_head;
	c->keep_body = keep_body;
	c->keep_len = 0;
	c->received = 0;
	c->etag[0] = '\0';
	c->usable = false;
}

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "not an HTTP answer: %s", what);
}

static int
head_line(struct bench_conn *c, struct str line, bool *has_length,
    struct err *e)
{
	struct str value = line, name = str_split(&value, ':');

	value = str_trim(value);
	if (str_ieq(name, STR_LIT("content-length"))) {
		if (!str_to_u64(value, INT64_MAX, &c->left))
			return bad(e, "Content-Length");
		*has_length = true;
	} else if (str_ieq(name, STR_LIT("transfer-encoding"))) {
		c->chunked = str_ieq(value, STR_LIT("chunked"));
	} else if (str_ieq(name, STR_LIT("connection"))) {
		c->close = str_ieq(value, STR_LIT("close"));
	} else if (str_ieq(name, STR_LIT("etag"))) {
		snprintf(c->etag, sizeof(c->etag), STR_FMT, STR_ARG(value));
	}
	return 0;
}

/* The whole head is @head, with its last empty line. */
static int
parse_head(struct bench_conn *c, struct str head, struct err *e)
{
	struct str line = str_split(&head, '\n');
	bool has_length = false;
	uint64_t status;

	c->left = 0;
	c->chunked = false;
	c->close = false;
	if (line.len < 12 || !str_has_prefix(line, STR_LIT("HTTP/1.")) ||
	    !str_to_u64(str_sub(line, 9, 3), 999, &status))
		return bad(e, "status line");
	c->close = line.p[7] == '0';
	c->status = (int)status;
	while (head.p != NULL) {
		int rc;

		line = str_split(&head, '\n');
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0)
			continue;
		rc = head_line(c, line, &has_length, e);
		if (rc < 0)
			return rc;
	}
	if (c->status / 100 == 1)
		c->phase = PHASE_HEAD; /* 100 Continue: the next one */
	else if (c->is_head || c->status == 204 || c->status == 304)
		c->phase = PHASE_DONE;
	else if (c->chunked)
		c->phase = PHASE_CHUNK;
	else if (has_length)
		c->phase = c->left > 0 ? PHASE_BODY : PHASE_DONE;
	else
		c->phase = PHASE_UNTIL_END;
	return 0;
}

static void
take_body(struct bench_conn *c, const char *p, size_t n)
{
	c->received += n;
	if ((c->keep_body || c->status >= 300) &&
	    c->keep_len < BENCH_KEEP_MAX) {
		if (n > BENCH_KEEP_MAX - c->keep_len)
			n = BENCH_KEEP_MAX - c->keep_len;
		memcpy(c->keep + c->keep_len, p, n);
		c->keep_len += n;
	}
}

/* A whole line in c->in, or nothing. */
static int
line_of(struct bench_conn *c, const char **p, const char *end, bool *ret,
    struct str *ret_line, struct err *e)
{
	const char *lf = memchr(*p, '\n', (size_t)(end - *p));
	size_t n = (size_t)((lf == NULL ? end : lf) - *p);

	*ret = false;
	if (n > sizeof(c->in) - c->in_len)
		return bad(e, "a line is too long");
	memcpy(c->in + c->in_len, *p, n);
	c->in_len += n;
	*p += n + (lf != NULL);
	if (lf == NULL)
		return 0;
	n = c->in_len;
	if (n > 0 && c->in[n - 1] == '\r')
		n--;
	c->in_len = 0;
	*ret = true;
	*ret_line = str_mem(c->in, n);
	return 0;
}

static int
chunk_size(struct bench_conn *c, struct str line, struct err *e)
{
	uint64_t v = 0;
	size_t i;

	if (line.len == 0 && c->left == 1) { /* the CRLF behind a chunk */
		c->left = 0;
		return 0;
	}
	for (i = 0; i < line.len && i < 15; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *d = strchr(digits, line.p[i] | 0x20);

		if (line.p[i] == ';' || line.p[i] == ' ')
			break;
		if (d == NULL || *d == '\0')
			return bad(e, "chunk size");
		v = v << 4 | (uint64_t)(d - digits);
	}
	if (i == 0)
		return bad(e, "chunk size");
	c->left = v;
	c->phase = v == 0 ? PHASE_TRAILER : PHASE_DATA;
	return 0;
}

static int
feed_head(struct bench_conn *c, const char **p, const char *end, struct err *e)
{
	size_t n = (size_t)(end - *p), old = c->in_len, from;
	const char *found;

	if (n > sizeof(c->in) - old)
		n = sizeof(c->in) - old;
	if (n == 0)
		return bad(e, "the head is too long");
	memcpy(c->in + old, *p, n);
	from = old < 3 ? 0 : old - 3;
	found = memmem(c->in + from, old + n - from, "\r\n\r\n", 4);
	if (found == NULL) {
		c->in_len += n;
		*p += n;
		return 0;
	}
	*p += (size_t)(found + 4 - c->in) - old;
	c->in_len = 0;
	return parse_head(c, str_mem(c->in, (size_t)(found + 2 - c->in)), e);
}

int
bench_conn_feed(struct bench_conn *c, const char *p, size_t len, bool *ret_done,
    struct err *e)
{
	const char *end = p + len;
	struct str line;
	bool whole;
	int rc = 0;

	while (p < end && rc == 0 && c->phase != PHASE_DONE) {
		size_t n = (size_t)(end - p);

		switch (c->phase) {
		case PHASE_HEAD:
			rc = feed_head(c, &p, end, e);
			break;
		case PHASE_BODY:
		case PHASE_DATA:
			if (n > c->left)
				n = (size_t)c->left;
			take_body(c, p, n);
			p += n;
			c->left -= n;
			if (c->left > 0)
				break;
			if (c->phase == PHASE_BODY) {
				c->phase = PHASE_DONE;
			} else {
				c->phase = PHASE_CHUNK;
				c->left = 1; /* an empty line first */
			}
			break;
		case PHASE_UNTIL_END:
			take_body(c, p, n);
			p = end;
			break;
		default:
			rc = line_of(c, &p, end, &whole, &line, e);
			if (rc < 0 || !whole)
				break;
			if (c->phase == PHASE_CHUNK)
				rc = chunk_size(c, line, e);
			else if (line.len == 0)
				c->phase = PHASE_DONE;
		}
	}
	if (rc == 0 && p < end)
		rc = bad(e, "data behind the answer");
	*ret_done = rc == 0 && c->phase == PHASE_DONE;
	return rc;
}

/* Bytes, 0 at the end, -1 when it would wait. */
static int
receive(struct bench_conn *c, char *p, size_t size, ssize_t *ret_n,
    enum bench_want *ret, struct err *e)
{
	size_t done;

	if (c->ssl != NULL) {
		ERR_clear_error();
		if (SSL_read_ex(c->ssl, p, size, &done) == 1) {
			*ret_n = (ssize_t)done;
			return 0;
		}
		*ret_n =
		    SSL_get_error(c->ssl, 0) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
		return *ret_n == 0 ? 0 : ssl_wait(c, 0, ret, e);
	}
	do {
		*ret_n = recv(c->fd, p, size, 0);
	} while (*ret_n < 0 && errno == EINTR);
	if (*ret_n >= 0)
		return 0;
	*ret = BENCH_WANT_READ;
	if (errno == EAGAIN)
		return 0;
	if (errno == ECONNRESET)
		return err_set(e, ERR_DISCONNECTED, "connection reset");
	return err_set_errno(e, errno, "receive");
}

/* Lets the kernel throw away a body that nobody wants. */
static bool
discard(struct bench_conn *c)
{
	while (c->phase == PHASE_BODY && c->left > 0) {
		size_t want = c->left < (1u << 20) ? (size_t)c->left : 1u << 20;
		ssize_t n = recv(c->fd, NULL, want, MSG_TRUNC);

		if (n <= 0)
			return false; /* the ordinary way finds out why */
		c->left -= (uint64_t)n;
		c->received += (uint64_t)n;
	}
	if (c->phase == PHASE_BODY)
		c->phase = PHASE_DONE;
	return c->phase == PHASE_DONE;
}

static int
receive_answer(struct bench_conn *c, char *scratch, size_t size,
    enum bench_want *ret, struct err *e)
{
	bool done = false;
	ssize_t n;
	int rc;

	for (;;) {
		if (c->phase == PHASE_BODY && c->ssl == NULL && !c->keep_body &&
		    c->status < 300 && discard(c))
			break;
		rc = receive(c, scratch, size, &n, ret, e);
		if (rc < 0 || n < 0)
			return rc;
		if (n == 0 && c->phase == PHASE_UNTIL_END)
			break;
		if (n == 0)
			return err_set(e, ERR_DISCONNECTED,
			    "connection closed before the answer's end");
		rc = bench_conn_feed(c, scratch, (size_t)n, &done, e);
		if (rc < 0)
			return rc;
		if (done)
			break;
	}
	c->usable = !c->close && c->phase == PHASE_DONE &&
	            c->sent == c->head.len + c->body_len;
	*ret = BENCH_DONE;
	return 0;
}

static int
finish_connect(struct bench_conn *c, enum bench_want *ret, struct err *e)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (c->ssl == NULL || !SSL_in_init(c->ssl)) {
		c->connected = true;
		return 1;
	}
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 &&
	    err != 0)
		return err_set_errno(e, err, "connect");
	ERR_clear_error();
	if (SSL_do_handshake(c->ssl) != 1)
		return ssl_wait(c, -1, ret, e);
	c->connected = true;
	return 1;
}

int
bench_conn_step(struct bench_conn *c, char *scratch, size_t size,
    enum bench_want *ret, struct err *e)
{
	int rc;

	if (!c->connected) {
		rc = finish_connect(c, ret, e);
		if (rc <= 0)
			return rc;
	}
	if (c->sent < c->head.len + c->body_len) {
		struct err why;

		rc = c->ssl != NULL ? send_tls(c, ret, e)
		                    : send_plain(c, ret, e);
		/* A server may answer (503) and close before it has read all. */
		if (rc == ERR_DISCONNECTED &&
		    receive_answer(c, scratch, size, ret, &why) == 0 &&
		    *ret == BENCH_DONE)
			return 0;
		if (rc <= 0)
			return rc;
		*ret = BENCH_WANT_READ; /* no answer is there that fast */
		return 0;
	}
	return receive_answer(c, scratch, size, ret, e);
}

struct str
bench_conn_xml(const struct bench_conn *c, const char *name)
{
	struct str s = str_mem(c->keep, c->keep_len);
	char open[64], close_[64];
	ptrdiff_t from, to;

	snprintf(open, sizeof(open), "<%s>", name);
	snprintf(close_, sizeof(close_), "</%s>", name);
	from = str_find(s, str_of(open));
	if (from < 0)
		return STR_NULL;
	s = str_skip(s, (size_t)from + strlen(open));
	to = str_find(s, str_of(close_));
	return to < 0 ? STR_NULL : str_sub(s, 0, (size_t)to);
}
