/* Connections that are told to epoll once (http/pool.h, Q6): whatever comes in
 * whatever pieces, at whatever moment, is read. What is lost would be missed for
 * the whole time-out of a kept connection, 20 s. */
#include "tests/unit/http/client.h"

#include "lib/thread.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	KEPT = 24,
	THREADS = 4,
	ROUNDS = 150,
	SOON_MS = 5000
};

/* Answers the path, and the length of the body that was read. */
static void
handle(void *arg, struct http_req *r)
{
	char buf[16384], text[256];
	size_t n = 1, total = 0;

	(void)arg;
	while (n > 0 && http_read(r, buf, sizeof(buf), &n, NULL) == 0)
		total += n;
	snprintf(text, sizeof(text), STR_FMT " %zu",
	    STR_ARG(http_info(r)->path), total);
	if (str_has_prefix(http_info(r)->path, STR_LIT("/later")))
		usleep(1000);
	http_reply(r, 200, str_of(text));
}

static struct http_server *
start(void)
{
	struct http_conf c = test_conf();

	c.max_connections = 300;
	c.handle = handle;
	return test_start(&c);
}

static bool
is_answered(int fd, const char *path, size_t body_len)
{
	char buf[1024], want[256];
	const char *body;

	snprintf(want, sizeof(want), "%s %zu", path, body_len);
	body = read_ok(fd, buf, sizeof(buf), strlen(want), SOON_MS);
	return body != NULL && strcmp(body, want) == 0;
}

/* A GET of @path in exactly @len bytes, or as many as it needs. */
static size_t
make_get(char *p, const char *path, size_t len)
{
	int n = sprintf(p, "GET %s HTTP/1.1\r\nHost: h\r\nX-Pad: ", path);
	size_t at = (size_t)n;

	while (at + 4 < len)
		p[at++] = 'x';
	memcpy(p + at, "\r\n\r\n", 5);
	return at + 4;
}

static void
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		assert_true(k > 0);
		p += k;
		n -= (size_t)k;
	}
}

static int
open_kept(struct http_server *s)
{
	int fd = must_connect(s);

	for (int i = 0; i < 2; i++) {
		get(fd, "/first");
		assert_true(is_answered(fd, "/first", 0));
	}
	return fd;
}

/* Requests that end where a read of the server's ends. */
static void
test_pipelines(void **state)
{
	static const size_t sizes[] = { 128, 512, 1024, 2048, 4096, 8192, 8191,
		8193, 16384, 3000 };
	struct http_server *s = start();
	char *p = malloc(16 * 16384 + 1), path[32];

	(void)state;
	for (int round = 0; round < 3; round++) {
		int fd = open_kept(s);

		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			size_t n = 0;

			for (int i = 0; i < 16; i++) {
				snprintf(path, sizeof(path), "/%zu-%d", k, i);
				n += make_get(p + n, path, sizes[k]);
			}
			send_all(fd, p, n);
			for (int i = 0; i < 16; i++) {
				snprintf(path, sizeof(path), "/%zu-%d", k, i);
				assert_true(is_answered(fd, path, 0));
			}
		}
		close(fd);
	}
	free(p);
	http_server_stop(&s);
}

/* A body is read to its end and no further; the next request stands right
 * behind it. */
static void
test_behind_a_body(void **state)
{
	static const size_t sizes[] = { 1, 100, 8000, 8192, 16384, 70000,
		300000 };
	struct http_server *s = start();
	int fd = open_kept(s);
	char *p = malloc(400000);

	(void)state;
	for (int round = 0; round < 20; round++) {
		size_t len = sizes[round % 7], n;

		n = (size_t)sprintf(p,
		    "PUT /body HTTP/1.1\r\nHost: h\r\n"
		    "Content-Length: %zu\r\n\r\n",
		    len);
		memset(p + n, 'b', len);
		n += len;
		n += make_get(p + n, "/behind", 0);
		if (round < 14) {
			send_all(fd, p, n);
		} else {
			/* The body later, which is waited for. */
			size_t head = (size_t)(strstr(p, "\r\n\r\n") - p) + 4;

			send_all(fd, p, head + len / 2);
			usleep(3000);
			send_all(fd, p + head + len / 2, n - head - len / 2);
		}
		assert_true(is_answered(fd, "/body", len));
		assert_true(is_answered(fd, "/behind", 0));
		get(fd, "/next");
		assert_true(is_answered(fd, "/next", 0));
	}
	free(p);
	close(fd);
	http_server_stop(&s);
}

/* The end comes with the request, before its answer, or after it: the server
 * closes. */
static void
test_half_closed(void **state)
{
	static const char *const paths[] = { "/later", "/quick", "/later",
		"/quick" };
	struct http_server *s = start();

	(void)state;
	for (int i = 0; i < 200; i++) {
		const char *path = paths[i % 4];
		int fd = open_kept(s);

		get(fd, path);
		if (i % 4 == 2)
			usleep(300);
		else if (i % 4 == 3)
			assert_true(is_answered(fd, path, 0));
		shutdown(fd, SHUT_WR);
		if (i % 4 != 3)
			assert_true(is_answered(fd, path, 0));
		assert_true(is_closed(fd, SOON_MS));
		close(fd);
	}
	wait_counts(s, 0, false);
	http_server_stop(&s);
}

/* A byte out of band ends a read early. */
static void
test_out_of_band(void **state)
{
	struct http_server *s = start();
	int fd = open_kept(s);

	(void)state;
	for (int i = 0; i < 50; i++) {
		get(fd, "/a");
		send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL);
		get(fd, "/b");
		assert_true(is_answered(fd, "/a", 0));
		assert_true(is_answered(fd, "/b", 0));
	}
	close(fd);
	http_server_stop(&s);
}

/* --- all at once --- */

struct client {
	struct http_server *s;
	unsigned seed;
	_Atomic int failures;
	pthread_t t;
};

static unsigned
draw(struct client *c, unsigned n)
{
	c->seed = c->seed * 1103515245 + 12345;
	return (c->seed >> 16) % n;
}

/* One to three requests, some with a body, whole or in pieces. */
static int
ask(struct client *c, int fd, size_t *bodies)
{
	char text[16384];
	size_t n = 0;
	int asked = 1 + (int)draw(c, 3);

	for (int i = 0; i < asked; i++) {
		bodies[i] = draw(c, 4) == 0 ? draw(c, 3000) : 0;
		n += (size_t)sprintf(text + n,
		    "%s /%u/%d HTTP/1.1\r\nHost: h\r\nContent-Length: "
		    "%zu\r\n\r\n",
		    bodies[i] > 0 ? "PUT" : "GET", draw(c, 1), i, bodies[i]);
		memset(text + n, 'b', bodies[i]);
		n += bodies[i];
	}
	for (size_t at = 0; at < n;) {
		size_t part = draw(c, 3) == 0 ? 1 + draw(c, 200) : n - at;

		if (part > n - at)
			part = n - at;
		send_all(fd, text + at, part);
		at += part;
		if (at < n && draw(c, 2) == 0)
			usleep(draw(c, 300));
	}
	return asked;
}

/* Connections come and go among those that stay, so that slots and sockets are
 * used again while events of their last ones are on the way. */
static void *
client_main(void *arg)
{
	struct client *c = arg;
	int fds[KEPT], asked[KEPT];
	size_t bodies[KEPT][3];
	char path[32];

	for (int i = 0; i < KEPT; i++)
		fds[i] = must_connect(c->s);
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < KEPT; i++)
			asked[i] = ask(c, fds[i], bodies[i]);
		for (int i = 0; i < KEPT; i++) {
			for (int k = 0; k < asked[i]; k++) {
				snprintf(path, sizeof(path), "/0/%d", k);
				if (!is_answered(fds[i], path, bodies[i][k]))
					atomic_fetch_add(&c->failures, 1);
			}
			if (draw(c, 8) != 0)
				continue;
			if (draw(c, 2) == 0)
				get(fds[i], "/gone");
			close(fds[i]);
			fds[i] = must_connect(c->s);
		}
	}
	for (int i = 0; i < KEPT; i++)
		close(fds[i]);
	return NULL;
}

static void
test_churn(void **state)
{
	struct http_server *s = start();
	struct client cs[THREADS] = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		cs[i].s = s;
		cs[i].seed = i;
		assert_int_equal(thread_start(&cs[i].t, "client", client_main,
				     &cs[i], &e),
		    0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		thread_join(cs[i].t);
		assert_int_equal(cs[i].failures, 0);
	}
	wait_counts(s, 0, false);
	http_server_stop(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipelines),
		cmocka_unit_test(test_behind_a_body),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_out_of_band),
		cmocka_unit_test(test_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
