/* http/io.c - bytes from and to a connection, plain or TLS, with time-outs.
 *
 * No read or write blocks: try first, wait only when there is nothing. Only
 * time spent waiting for the peer counts for the minimal rate, over windows of
 * five minutes. http_server_cut() shuts the socket down, which ends a wait.
 * Threads: the connection's worker. */
#include "http/pool.h"

#include "http/internal.h"
#include "lib/clock.h"
#include "lib/thread.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#define RATE_WINDOW_S 300

static int
too_slow(struct err *e)
{
	return err_set(e, ERR_REQUEST_TIMEOUT, NULL);
}

static int
gone(struct err *e)
{
	return err_set(e, ERR_DISCONNECTED, NULL);
}

static int
wait_for(struct http_req *r, short events, int ms, struct err *e)
{
	struct pollfd pfd = { .fd = r->fd, .events = events };
	int64_t from = clock_mono_ns();
	int n;

	thread_blocks();
	if (events == POLLIN && r->ssl == NULL)
		pool_quiet(r->s->pool, r->slot, r->s->slots);
	do {
		n = poll(&pfd, 1, ms);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return gone(e);
	if (n == 0)
		return too_slow(e);
	r->waited_ns += clock_mono_ns() - from;
	if (r->waited_ns >= RATE_WINDOW_S * NS_PER_S) {
		uint64_t least = r->s->c.min_body_rate * RATE_WINDOW_S;

		if (r->paced_bytes < least)
			return too_slow(e);
		r->waited_ns = 0;
		r->paced_bytes = 0;
	}
	return 0;
}

/* What to wait for after a TLS call returned @n <= 0; 0 when it is over. */
static short
tls_wants(SSL *ssl, int n)
{
	switch (SSL_get_error(ssl, n)) {
	case SSL_ERROR_WANT_READ:
		return POLLIN;
	case SSL_ERROR_WANT_WRITE:
		return POLLOUT;
	default:
		ERR_clear_error();
		return 0;
	}
}

int
http_io_read(struct http_req *r, void *p, size_t len, int idle_ms,
    size_t *ret_len, struct err *e)
{
	for (;;) {
		short want = POLLIN;
		ssize_t n;
		int rc;

		if (r->ssl != NULL) {
			ERR_clear_error();
			n = SSL_read(r->ssl, p,
			    len < INT32_MAX ? (int)len : INT32_MAX);
			if (n <= 0) {
				want = tls_wants(r->ssl, (int)n);
				if (want == 0) {
					*ret_len = 0;
					return 0;
				}
			}
		} else {
			n = recv(r->fd, p, len, MSG_DONTWAIT);
			unit_set_drained(n < 0 || (size_t)n < len);
			if (n == 0) {
				*ret_len = 0;
				return 0;
			}
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return gone(e);
		}
		if (n > 0) {
			r->paced_bytes += (uint64_t)n;
			*ret_len = (size_t)n;
			return 0;
		}
		rc = wait_for(r, want, idle_ms, e);
		if (rc < 0)
			return rc;
	}
}

/* At most one TLS record: small pieces are joined, so that header and body
 * share one. Not inlined: the buffer would be in every plain worker's stack. */
static __attribute__((noinline)) ssize_t
send_tls(struct http_req *r, const struct iovec *iov, int n, short *ret_want)
{
	char joined[16384];
	const void *p = iov[0].iov_base;
	size_t len = iov[0].iov_len;
	int sent;

	if (len < sizeof(joined) && n > 1) {
		len = 0;
		for (int i = 0; i < n && len < sizeof(joined); i++) {
			size_t part = sizeof(joined) - len;

			if (part > iov[i].iov_len)
				part = iov[i].iov_len;
			memcpy(joined + len, iov[i].iov_base, part);
			len += part;
		}
		p = joined;
	}
	ERR_clear_error();
	sent = SSL_write(r->ssl, p, len < INT32_MAX ? (int)len : INT32_MAX);
	if (sent > 0)
		return sent;
	*ret_want = tls_wants(r->ssl, sent);
	return *ret_want == 0 ? -1 : 0;
}

/* 0: nothing went out, wait for *ret_want; -1: the peer is gone. */
static ssize_t
send_some(struct http_req *r, struct iovec *iov, int n, short *ret_want)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
	ssize_t sent;

	*ret_want = POLLOUT;
	if (r->ssl != NULL)
		return send_tls(r, iov, n, ret_want);
	sent = sendmsg(r->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

int
http_io_write(struct http_req *r, struct iovec *iov, int n, struct err *e)
{
	for (;;) {
		ssize_t sent;
		short want;
		int rc;

		while (n > 0 && iov->iov_len == 0) {
			iov++;
			n--;
		}
		if (n == 0)
			return 0;
		sent = send_some(r, iov, n, &want);
		if (sent < 0)
			return gone(e);
		if (sent == 0) {
			rc = wait_for(r, want, r->s->c.body_idle_timeout_ms, e);
			if (rc < 0)
				return rc;
			continue;
		}
		r->paced_bytes += (uint64_t)sent;
		for (int i = 0; i < n && sent > 0; i++) {
			size_t part = (size_t)sent < iov[i].iov_len
			                  ? (size_t)sent
			                  : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			sent -= (ssize_t)part;
		}
	}
}
