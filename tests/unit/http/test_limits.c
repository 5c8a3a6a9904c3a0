/* Connections: limits, the reserve, idle and busy floods, graceful stop. */
#include "lib/lock.h"
#include "tests/unit/http/client.h"

#include <pthread.h>
#include <stdatomic.h>

#define MAX 8 /* test_conf() */

/* GET /wait returns when the gate opens. */
static struct {
	pthread_mutex_t m;
	pthread_cond_t c;
	bool open;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

static void
set_gate(bool open)
{
	pthread_mutex_lock(&gate.m);
	gate.open = open;
	pthread_cond_broadcast(&gate.c);
	pthread_mutex_unlock(&gate.m);
}

static void
gate_handle(void *arg, struct http_req *r)
{
	if (str_eqz(http_info(r)->path, "/wait")) {
		pthread_mutex_lock(&gate.m);
		while (!gate.open)
			pthread_cond_wait(&gate.c, &gate.m);
		pthread_mutex_unlock(&gate.m);
	}
	echo_handle(arg, r);
}

static void
fill_busy(struct http_server *s, int *fds)
{
	set_gate(false);
	for (int i = 0; i < MAX; i++) {
		fds[i] = must_connect(s);
		get(fds[i], "/wait");
	}
	wait_counts(s, MAX, true);
}

static void
release_busy(int *fds)
{
	set_gate(true);
	for (int i = 0; i < MAX; i++) {
		assert_int_equal(status_of(fds[i], 5000), 200);
		close(fds[i]);
	}
}

static void
close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void
test_silent_flood(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = test_start(&c);
	int fds[200], fd;

	(void)state;
	for (size_t i = 0; i < 200; i++)
		fds[i] = must_connect(s);
	fd = must_connect(s);
	get(fd, "/a");
	assert_int_equal(status_of(fd, 1000), 200);
	close(fd);
	close_all(fds, 200);
	http_server_stop(&s);
}

static void
test_idle_flood(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = test_start(&c);
	int fds[MAX], fd;

	(void)state;
	for (size_t i = 0; i < MAX; i++) {
		fds[i] = must_connect(s);
		get(fds[i], "/a");
		assert_int_equal(status_of(fds[i], 5000), 200);
	}
	fd = must_connect(s);
	get(fd, "/a");
	assert_int_equal(status_of(fd, 1000), 200);
	close(fd);
	close_all(fds, MAX);
	http_server_stop(&s);
}

/* Above three quarters an answer ends its connection. */
static void
test_close_when_nearly_full(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = test_start(&c);
	int fds[MAX];
	char text[4096];

	(void)state;
	for (size_t i = 0; i < MAX; i++) {
		fds[i] = must_connect(s);
		wait_counts(s, (unsigned)i + 1, false);
		get(fds[i], "/a");
		assert_int_equal(answer(fds[i], text, sizeof(text), 5000), 200);
		assert_int_equal(strstr(text, "Connection: close") != NULL,
		    i + 1 > MAX / 4 * 3);
		if (i + 1 > MAX / 4 * 3) {
			assert_true(is_closed(fds[i], 5000));
			close(fds[i]);
			break;
		}
	}
	close_all(fds, MAX / 4 * 3);
	http_server_stop(&s);
}

static void
test_busy_flood(void **state)
{
	struct http_conf c = test_conf();
	int fds[MAX], silent[100], fd;
	struct http_counts n;
	struct http_server *s;
	char text[4096];

	(void)state;
	c.handle = gate_handle;
	s = test_start(&c);
	fill_busy(s, fds);

	fd = must_connect(s);
	get(fd, "/a");
	assert_int_equal(answer(fd, text, sizeof(text), 1000), 503);
	assert_non_null(strstr(text, "<Code>SlowDown</Code>"));
	assert_non_null(strstr(text, "Connection: close"));
	assert_non_null(strstr(text, "Retry-After: 1"));
	close(fd);
	fd = must_connect(s);
	get(fd, "/-/health/live");
	assert_int_equal(status_of(fd, 1000), 200);
	close(fd);

	/* Silent connections do not take the reserve away. */
	for (size_t i = 0; i < 100; i++)
		silent[i] = must_connect(s);
	fd = must_connect(s);
	get(fd, "/-/health/live");
	assert_int_equal(status_of(fd, 1000), 200);
	close(fd);
	fd = must_connect(s);
	get(fd, "/a");
	assert_int_equal(status_of(fd, 1000), 503);
	close(fd);
	close_all(silent, 100);

	wait_counts(s, MAX, true); /* the last 503's worker is done too */
	http_server_counts(s, &n);
	assert_int_equal(n.max_connections, MAX);
	release_busy(fds);
	wait_counts(s, 0, false);
	http_server_stop(&s);
}

/* A PUT with a large body beyond the limit: the 503 reaches the client. */
static void
test_busy_put(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	int fds[MAX], fd;
	char *body;

	(void)state;
	c.handle = gate_handle;
	s = test_start(&c);
	fill_busy(s, fds);
	fd = must_connect(s);
	send_text(fd, "PUT /a HTTP/1.1\r\nHost: h\r\n"
		      "Content-Length: 3000000\r\n\r\n");
	body = malloc(3000001);
	memset(body, 'a', 3000000);
	body[3000000] = '\0';
	send_text(fd, body);
	free(body);
	assert_int_equal(status_of(fd, 3000), 503);
	close(fd);
	release_busy(fds);
	http_server_stop(&s);
}

static void
test_per_address(void **state)
{
	const char *trusted = "127.0.0.1";
	struct http_conf c = test_conf();
	struct http_server *s;
	int fds[3], fd;

	(void)state;
	c.handle = gate_handle;
	c.max_connections_per_address = 2;
	s = test_start(&c);
	set_gate(false);
	for (int i = 0; i < 2; i++) {
		fds[i] = must_connect(s);
		get(fds[i], "/wait");
	}
	wait_counts(s, 2, true);
	fd = must_connect(s);
	assert_int_equal(status_of(fd, 1000), 503);
	close(fd);
	set_gate(true);
	for (int i = 0; i < 2; i++)
		assert_int_equal(status_of(fds[i], 5000), 200);
	/* Both idle now: the older one makes room. */
	fd = must_connect(s);
	get(fd, "/a");
	assert_int_equal(status_of(fd, 1000), 200);
	close(fd);
	close_all(fds, 2);
	http_server_stop(&s);

	c.trusted_proxies = &trusted;
	c.n_trusted_proxies = 1;
	s = test_start(&c);
	for (int i = 0; i < 3; i++) {
		fds[i] = must_connect(s);
		get(fds[i], "/a");
		assert_int_equal(status_of(fds[i], 1000), 200);
	}
	close_all(fds, 3);
	http_server_stop(&s);
}

/* --- stop --- */

static void *
stop_server(void *arg)
{
	struct http_server *s = arg;

	http_server_stop(&s);
	return NULL;
}

static pthread_t
begin_stop(struct http_server *s)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, stop_server, s), 0);
	return t;
}

static void
test_stop_is_graceful(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	int busy, idle, silent, port, refused = 0;
	char text[4096];
	pthread_t t;

	(void)state;
	c.handle = gate_handle;
	c.stop_timeout_ms = 30000;
	s = test_start(&c);
	port = port_of(s);
	idle = must_connect(s);
	get(idle, "/a");
	assert_int_equal(status_of(idle, 5000), 200);
	wait_counts(s, 0, true); /* not the one of `idle` below */
	silent = must_connect(s);
	busy = must_connect(s);
	set_gate(false);
	get(busy, "/wait");
	wait_counts(s, 1, true);

	t = begin_stop(s);
	assert_true(is_closed(idle, 1000));
	assert_true(is_closed(silent, 1000));
	for (int i = 0; i < 100 && refused >= 0; i++) {
		refused = try_connect(port);
		if (refused >= 0) {
			close(refused);
			clock_sleep_ms(10);
		}
	}
	assert_int_equal(refused, -1);
	set_gate(true);
	assert_int_equal(answer(busy, text, sizeof(text), 20000), 200);
	assert_non_null(strstr(text, "Connection: close"));
	pthread_join(t, NULL);
	close(busy);
	close(idle);
	close(silent);
}

/* A large answer under way is not cut (mg_stop alone would). */
static void
test_stop_lets_transfers_finish(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = test_start(&c);
	size_t total = 0;
	char buf[65536];
	pthread_t t;
	ssize_t n;
	int fd;

	(void)state;
	fd = must_connect(s);
	get(fd, "/bytes/20000000");
	n = recv(fd, buf, sizeof(buf), 0);
	assert_true(n > 0);
	total = (size_t)n;
	wait_counts(s, 1, true);
	t = begin_stop(s);
	clock_sleep_ms(100);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		total += (size_t)n;
	assert_true(total > 20000000);
	pthread_join(t, NULL);
	close(fd);
}

static void
check_stop_ends(bool by_cut)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	int64_t from;
	pthread_t t;
	int fd;

	c.stop_timeout_ms = by_cut ? 60000 : 200;
	s = test_start(&c);
	fd = must_connect(s);
	send_text(fd, "PUT /a HTTP/1.1\r\nHost: h\r\n"
		      "Content-Length: 10\r\n\r\nhello");
	wait_counts(s, 1, true);
	from = clock_mono_ns();
	t = begin_stop(s);
	if (by_cut) {
		clock_sleep_ms(50);
		http_server_cut(s);
	}
	pthread_join(t, NULL);
	http_server_cut(s); /* gone: nothing happens */
	assert_true(clock_mono_ns() - from < INT64_C(10000000000));
	assert_true(is_closed(fd, 1000));
	close(fd);
}

static void
test_stop_timeout(void **state)
{
	(void)state;
	check_stop_ends(false);
}

static void
test_cut(void **state)
{
	(void)state;
	check_stop_ends(true);
}

static void
test_start_stop(void **state)
{
	struct http_conf c = test_conf();

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct http_server *s = test_start(&c);

		http_server_stop(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_flood),
		cmocka_unit_test(test_idle_flood),
		cmocka_unit_test(test_close_when_nearly_full),
		cmocka_unit_test(test_busy_flood),
		cmocka_unit_test(test_busy_put),
		cmocka_unit_test(test_per_address),
		cmocka_unit_test(test_stop_is_graceful),
		cmocka_unit_test(test_stop_lets_transfers_finish),
		cmocka_unit_test(test_stop_timeout),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_start_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
