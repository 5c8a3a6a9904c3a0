/* tests/unit/http/client.h - sockets for the tests of http/, and a server of
 * the echo handler on a free port. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/http/echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const any_port = "127.0.0.1:0";

static inline struct http_conf
test_conf(void)
{
	return (struct http_conf){
		.addresses = &any_port,
		.n_addresses = 1,
		.max_connections = 8,
		.header_timeout_ms = 20000,
		.keepalive_timeout_ms = 20000,
		.body_idle_timeout_ms = 20000,
		.stop_timeout_ms = 5000,
		.handle = echo_handle,
		.error_body = echo_error,
		.is_vital = echo_is_vital,
	};
}

static inline struct http_server *
test_start(const struct http_conf *c)
{
	struct http_server *s = NULL;
	struct err e = ERR_INIT;

	if (http_server_start(c, &s, &e) < 0)
		fail_msg("start: %s", e.msg);
	return s;
}

static inline int
port_of(struct http_server *s)
{
	const char *a = http_server_address(s, 0);

	return (int)strtol(strrchr(a, ':') + 1, NULL, 10);
}

/* -1 when refused. */
static inline int
try_connect(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int
must_connect(struct http_server *s)
{
	int fd = try_connect(port_of(s));

	assert_true(fd >= 0);
	return fd;
}

static inline void
send_text(int fd, const char *z)
{
	size_t n = strlen(z);

	while (n > 0) {
		ssize_t k = send(fd, z, n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		z += k;
		n -= (size_t)k;
	}
}

static inline void
get(int fd, const char *path)
{
	char text[4096];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
	    path);
	send_text(fd, text);
}

/* One answer with a Content-Length, into @buf. Its status; 0: closed before
 * it; -1: nothing for @ms. */
static inline int
answer(int fd, char *buf, size_t size, int ms)
{
	int64_t end = clock_mono_ns() + ms * INT64_C(1000000);
	size_t at = 0;

	buf[0] = '\0';
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		char *body = strstr(buf, "\r\n\r\n");
		char *len = strstr(buf, "Content-Length: ");
		int64_t left = (end - clock_mono_ns()) / 1000000;
		ssize_t n;

		if (body != NULL &&
		    at >= (size_t)(body + 4 - buf) +
			      (len == NULL ? 0 : strtoul(len + 16, NULL, 10)))
			return (int)strtol(buf + 9, NULL, 10);
		assert_true(at + 1 < size);
		if (left <= 0 || poll(&pfd, 1, (int)left) <= 0)
			return -1;
		/* Not a byte of what follows. */
		n = recv(fd, buf + at, body == NULL ? 1 : size - at - 1, 0);
		if (n <= 0)
			return 0;
		at += (size_t)n;
		buf[at] = '\0';
	}
}

/* The answer 200 with a body of @body_len, and not a byte of what follows, into
 * @buf. The body; NULL: it was not that, or not for @ms. */
static inline const char *
read_ok(int fd, char *buf, size_t size, size_t body_len, int ms)
{
	int64_t end_ns = clock_mono_ns() + ms * INT64_C(1000000);
	const char *body = NULL;
	size_t at = 0;

	buf[0] = '\0';
	while (body == NULL || at < (size_t)(body - buf) + body_len) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int64_t left = (end_ns - clock_mono_ns()) / 1000000;

		if (at + 1 == size || left <= 0 ||
		    poll(&pfd, 1, (int)left) <= 0 ||
		    recv(fd, buf + at, 1, 0) != 1)
			return NULL;
		buf[++at] = '\0';
		if (body == NULL && strstr(buf, "\r\n\r\n") != NULL)
			body = buf + at;
	}
	return strncmp(buf, "HTTP/1.1 200 ", 13) == 0 ? body : NULL;
}

static inline int
status_of(int fd, int ms)
{
	static __thread char buf[16384];

	return answer(fd, buf, sizeof(buf), ms);
}

/* The server has ended the connection within @ms; what comes before that is
 * dropped. */
static inline bool
is_closed(int fd, int ms)
{
	int64_t end = clock_mono_ns() + ms * INT64_C(1000000);

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int64_t left = (end - clock_mono_ns()) / 1000000;
		char trash[4096];

		if (left < 0 || poll(&pfd, 1, (int)left) <= 0)
			return false;
		if (recv(fd, trash, sizeof(trash), 0) <= 0)
			return true;
	}
}

/* Waits for @n connections (or requests under way, @busy); bounded. */
static inline void
wait_counts(struct http_server *s, unsigned n, bool busy)
{
	struct http_counts c = { 0 };

	for (int i = 0; i < 500; i++) {
		http_server_counts(s, &c);
		if ((busy ? c.busy : c.connections) == n)
			return;
		clock_sleep_ms(10);
	}
	fail_msg("%u connections, %u busy; not %u", c.connections, c.busy, n);
}

#endif
