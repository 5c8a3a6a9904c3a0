/* Whole runs against a small server: what is counted, and as what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 8

/* Answers on every connection by turns, one request at a time. */
struct server {
	int fd, stop[2];
	uint16_t port;
	pthread_t thread;
	/* what to answer; body length from the request line's method */
	const char *(*answer)(struct server *s, const char *request);
	unsigned requests, hang_up; /* every n-th request: cut */
	unsigned parts, completed;
	uint64_t body_bytes;
};

struct client {
	int fd;
	char in[70000];
	size_t len;
};

/* A whole request at the front of @c: its length, or 0. */
static size_t
request_length(struct client *c, size_t *ret_body)
{
	const char *end, *at;
	size_t head;

	c->in[c->len] = '\0';
	end = strstr(c->in, "\r\n\r\n");
	if (end == NULL)
		return 0;
	head = (size_t)(end + 4 - c->in);
	at = strstr(c->in, "Content-Length: ");
	*ret_body =
	    at != NULL && at < end ? (size_t)strtoul(at + 16, NULL, 10) : 0;
	return c->len >= head + *ret_body ? head + *ret_body : 0;
}

static bool
serve(struct server *s, struct client *c)
{
	ssize_t n = read(c->fd, c->in + c->len, sizeof(c->in) - 1 - c->len);
	size_t whole, body;
	const char *a;

	if (n <= 0)
		return false;
	c->len += (size_t)n;
	while ((whole = request_length(c, &body)) > 0) {
		s->requests++;
		if (s->hang_up > 0 && s->requests % s->hang_up == 0)
			return false;
		s->body_bytes += body;
		a = s->answer(s, c->in);
		if (write(c->fd, a, strlen(a)) < 0)
			return false;
		memmove(c->in, c->in + whole, c->len - whole);
		c->len -= whole;
	}
	return true;
}

static void *
server_main(void *arg)
{
	static struct client clients[CONNECTIONS * 2];
	struct server *s = arg;
	size_t n = 0;

	for (;;) {
		struct pollfd p[CONNECTIONS * 2 + 2];

		for (size_t i = 0; i < n; i++)
			p[i] = (struct pollfd){ clients[i].fd, POLLIN, 0 };
		p[n] = (struct pollfd){ s->fd, POLLIN, 0 };
		p[n + 1] = (struct pollfd){ s->stop[0], POLLIN, 0 };
		poll(p, n + 2, -1);
		if (p[n + 1].revents != 0)
			break;
		if (p[n].revents != 0 && n < CONNECTIONS * 2) {
			clients[n].fd = accept(s->fd, NULL, NULL);
			clients[n].len = 0;
			p[n++].revents = 0;
		}
		for (size_t i = n; i-- > 0;) {
			if (p[i].revents == 0 || serve(s, &clients[i]))
				continue;
			close(clients[i].fd);
			clients[i] = clients[--n];
			p[i].revents = 0;
		}
	}
	while (n > 0)
		close(clients[--n].fd);
	return NULL;
}

static void
server_start(struct server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 64), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(pipe2(s->stop, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void
server_stop(struct server *s)
{
	assert_int_equal(write(s->stop[1], "x", 1), 1);
	pthread_join(s->thread, NULL);
	close(s->stop[0]);
	close(s->stop[1]);
	close(s->fd);
}

#define OK(body_len, body)                                                     \
	"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: " body_len          \
	"\r\n\r\n" body
#define SLOW "<Error><Code>SlowDown</Code><Message>wait</Message></Error>"

static const char *
all_fine(struct server *s, const char *request)
{
	(void)s;
	if (strncmp(request, "GET", 3) == 0)
		return OK("5", "hello");
	if (strncmp(request, "DELETE", 6) == 0)
		return "HTTP/1.1 204 No Content\r\n\r\n";
	return strncmp(request, "HEAD", 4) == 0 ? OK("5", "") : OK("0", "");
}

static const char *
third_fails(struct server *s, const char *request)
{
	if (s->requests % 3 != 0)
		return all_fine(s, request);
	return "HTTP/1.1 503 Slow Down\r\nContent-Length: 59\r\n\r\n" SLOW;
}

static const char *
uploads(struct server *s, const char *request)
{
	if (strstr(request, "?uploads=") != NULL)
		return OK("28", "<r><UploadId>a/b+</UploadId>");
	if (strstr(request, "uploadId=a%2Fb%2B") == NULL)
		return "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
	if (strncmp(request, "PUT", 3) == 0) {
		s->parts++;
		return OK("0", "");
	}
	if (strstr(request, "<PartNumber>3</PartNumber><ETag>\"e\"</ETag>"
			    "</Part></CompleteMultipartUpload>") == NULL)
		return "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
	s->completed++;
	return OK("0", "");
}

/* Runs 200 operations of @op against @s. */
static struct bench_result *
run(struct server *s, const char *command, enum bench_op op, uint64_t size,
    int *ret_rc, struct err *e)
{
	struct bench_conf c = { .command = command,
		.bucket = "b",
		.prefix = "p/",
		.access_key = "a",
		.secret_key = "s",
		.region = "r",
		.size = size,
		.part_size = 10000,
		.zipf = 1,
		.max_keys = 10,
		.host = "127.0.0.1",
		.host_header = "127.0.0.1" };
	struct bench_result *res = calloc(1, sizeof(*res));
	struct bench_run r = { .count = 200,
		.concurrency = CONNECTIONS,
		.threads = 2,
		.keys = 50,
		.distribution = BENCH_ZIPF,
		.quiet = true };
	struct bench_plan p;

	server_start(s);
	snprintf(c.port, sizeof(c.port), "%u", s->port);
	assert_int_equal(bench_plan_init(&p, &c, e), 0);
	r.plan = &p;
	r.mix[op] = 100;
	*ret_rc = bench_run(&r, res, e);
	bench_plan_fini(&p);
	server_stop(s);
	return res;
}

static void
test_all_fine(void **state)
{
	static const struct {
		enum bench_op op;
		uint64_t bytes;
	} cases[] = { { BENCH_PUT, 200 * 3000 }, { BENCH_GET, 200 * 5 },
		{ BENCH_HEAD, 0 }, { BENCH_DELETE, 0 },
		{ BENCH_LIST, 200 * 5 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct server s = { .answer = all_fine };
		enum bench_op op = cases[i].op;
		struct bench_result *r;
		struct err e;
		int rc;

		r = run(&s, bench_op_names[op], op, 3000, &rc, &e);
		assert_int_equal(rc, 0);
		assert_int_equal(r->n_ops, 200);
		assert_int_equal(r->n_errors, 0);
		assert_int_equal(r->bytes, cases[i].bytes);
		assert_int_equal(r->ops[op].count, 200);
		assert_int_equal(s.requests, 200);
		assert_true(r->seconds > 0);
		if (op == BENCH_PUT)
			assert_int_equal(s.body_bytes, 200 * 3000);
		free(r);
	}
}

static void
test_error_codes(void **state)
{
	struct server s = { .answer = third_fails };
	struct bench_result *r;
	struct err e;
	int rc;

	(void)state;
	r = run(&s, "put", BENCH_PUT, 10, &rc, &e);
	assert_int_equal(rc, 0);
	assert_int_equal(r->n_ops + r->n_errors, 200);
	assert_int_equal(r->n_errors, 200 / 3);
	assert_string_equal(r->errors.e[0].code, "SlowDown");
	assert_int_equal(r->errors.e[0].n, 200 / 3);
	free(r);
}

/* Connections that are cut are errors, and opened again. */
static void
test_hang_up(void **state)
{
	struct server s = { .answer = all_fine, .hang_up = 10 };
	struct bench_result *r;
	struct err e;
	int rc;

	(void)state;
	r = run(&s, "get", BENCH_GET, 10, &rc, &e);
	assert_int_equal(rc, 0);
	assert_int_equal(r->n_ops, 180);
	assert_int_equal(r->n_errors, 20);
	assert_string_equal(r->errors.e[0].code, "Disconnected");
	free(r);
}

static void
test_multipart(void **state)
{
	struct server s = { .answer = uploads };
	struct bench_result *r;
	struct err e;
	int rc;

	(void)state;
	r = run(&s, "multipart", BENCH_MULTIPART, 25000, &rc, &e);
	assert_int_equal(rc, 0);
	assert_int_equal(r->n_errors, 0);
	assert_int_equal(r->ops[BENCH_MULTIPART].count, 200);
	assert_int_equal(s.parts, 600);
	assert_int_equal(s.completed, 200);
	assert_int_equal(s.requests, 1000);
	assert_int_equal(r->bytes, 200 * 25000);
	free(r);
}

static void
test_nobody_there(void **state)
{
	struct bench_conf c = { .command = "get",
		.bucket = "b",
		.prefix = "",
		.host = "127.0.0.1",
		.port = "1" };
	struct bench_run r = { .count = 1, .concurrency = 1, .threads = 1 };
	struct bench_result *res = calloc(1, sizeof(*res));
	struct bench_plan p;
	struct err e;

	(void)state;
	assert_int_equal(bench_plan_init(&p, &c, &e), 0);
	r.plan = &p;
	assert_true(bench_run(&r, res, &e) < 0);
	assert_non_null(strstr(e.msg, "cannot connect"));
	bench_plan_fini(&p);
	free(res);
}

static void
test_baseline(void **state)
{
	char path[] = "/tmp/creel-test-XXXXXX";
	struct bench_result *res = calloc(1, sizeof(*res));
	struct bench_conf c = { .size = 100, .count = 50, .concurrency = 4 };
	struct err e = ERR_INIT;
	int fd = mkstemp(path), rc;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	/* It never overwrites a file. */
	c.baseline_log = path;
	assert_true(bench_baseline(&c, res, &e) < 0);
	unlink(path);
	rc = bench_baseline(&c, res, &e);
	if (rc != ERR_NO_SPACE) { /* wants 1 GiB */
		assert_int_equal(rc, 0);
		assert_int_equal(res->n_ops, 50);
		assert_in_range(res->syncs, 13, 50);
	}
	assert_int_equal(access(path, F_OK), -1);
	free(res);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_fine),
		cmocka_unit_test(test_error_codes),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_multipart),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_baseline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
