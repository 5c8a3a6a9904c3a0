/* Requests on a real server: slow clients, proxies, the access log, counters.
 * (What single requests look like on the wire: tests/http/cases.) */
#include "lib/fs.h"
#include "tests/unit/http/client.h"

#include <pthread.h>
#include <stdatomic.h>

static char dir[64], log_path[96];

/* Under 1 KiB/s over five minutes, with a client that never falls silent. */
static void
check_rate(uint64_t rate, int want)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	char text[4096];
	int fd;

	c.min_body_rate = rate;
	s = test_start(&c);
	fd = must_connect(s);
	send_text(fd, "PUT /a HTTP/1.1\r\nHost: h\r\n"
		      "Content-Length: 10\r\n\r\nhello");
	wait_counts(s, 1, true);
	clock_sleep_ms(100); /* the handler waits for more */
	clock_shift(INT64_C(400000000000));
	send_text(fd, "w");
	clock_sleep_ms(50);
	send_text(fd, "orld");
	assert_int_equal(answer(fd, text, sizeof(text), 5000), want);
	if (want == 400)
		assert_non_null(strstr(text, "error=REQUEST_TIMEOUT"));
	close(fd);
	http_server_stop(&s);
}

static void
test_rate(void **state)
{
	(void)state;
	check_rate(1024, 400);
	check_rate(0, 200);
}

/* A client that does not read its answer does not hold a thread for ever. */
static void
test_stalled_reader(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	int fd;

	(void)state;
	c.body_idle_timeout_ms = 200;
	s = test_start(&c);
	fd = must_connect(s);
	get(fd, "/bytes/100000000");
	wait_counts(s, 1, true);
	wait_counts(s, 0, false);
	close(fd);
	http_server_stop(&s);
}

static void
test_client_goes_away(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = test_start(&c);
	int fd;

	(void)state;
	fd = must_connect(s);
	get(fd, "/bytes/100000000");
	wait_counts(s, 1, true);
	close(fd);
	wait_counts(s, 0, false);
	http_server_stop(&s);
}

static void
forwarded(struct http_server *s, const char *headers, char *text, size_t size)
{
	char request[1024];
	int fd = must_connect(s);

	snprintf(request, sizeof(request),
	    "GET /a HTTP/1.1\r\nHost: h\r\n%s\r\n", headers);
	send_text(fd, request);
	assert_int_equal(answer(fd, text, size, 5000), 200);
	close(fd);
}

static void
test_proxies(void **state)
{
	static const char *const trusted[] = { "127.0.0.0/8", "10.1.0.0/16" };
	static const char *const cases[][2] = {
		{ "X-Forwarded-For: 1.2.3.4\r\n", "remote=1.2.3.4\n" },
		{ "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "remote=1.2.3.4\n" },
		{ "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.9.9\r\n",
		    "remote=1.2.3.4\n" },
		{ "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4:99\r\n",
		    "remote=1.2.3.4\n" },
		{ "X-Forwarded-For: 6.6.6.6, junk, 10.1.9.9\r\n",
		    "remote=10.1.9.9\n" },
		{ "X-Forwarded-For: junk\r\n", "remote=127.0.0.1\n" },
		{ "X-Forwarded-For: 2001:db8::1\r\n", "remote=2001:db8::1\n" },
		{ "X-Forwarded-Proto: https\r\n", "tls=1\n" },
		{ "X-Forwarded-Proto: http\r\n", "tls=0\n" },
		{ "", "remote=127.0.0.1\n" },
	};
	struct http_conf c = test_conf();
	struct http_server *s;
	struct err e = ERR_INIT;
	char text[8192];

	(void)state;
	c.trusted_proxies = trusted;
	c.n_trusted_proxies = 2;
	s = test_start(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		forwarded(s, cases[i][0], text, sizeof(text));
		if (strstr(text, cases[i][1]) == NULL)
			fail_msg("%s: no %s in %s", cases[i][0], cases[i][1],
			    text);
	}
	http_server_stop(&s);
	c.trusted_proxies = &any_port;
	c.n_trusted_proxies = 1;
	assert_int_equal(http_server_start(&c, &s, &e), ERR_CONFIG);
}

/* --- access log --- */

static void
read_log(struct buf *b)
{
	struct err e = ERR_INIT;

	buf_reset(b);
	if (fs_read_file(log_path, b->cap, b, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(buf_addc(b, '\0'), 0);
}

static struct http_server *
start_logged(struct http_conf *c)
{
	fs_unlink(log_path, NULL);
	c->access_log = log_path;
	return test_start(c);
}

static void
ask(struct http_server *s, const char *request)
{
	int fd = must_connect(s);

	send_text(fd, request);
	assert_true(status_of(fd, 5000) > 0);
	close(fd);
}

static void
test_log_lines(void **state)
{
	struct buf b = BUF_CAP(1 << 20);
	struct http_conf c = test_conf();
	struct http_server *s = start_logged(&c);
	static const char *const wanted[] = {
		" 127.0.0.1 ",
		(" GET \"/a?X-Amz-Signature=REDACTED&x=1&X-Amz-Credential=AK%2F1&"
		 "X-Amz-Security-Token=REDACTED\" 200 - 0 "),
		" GET \"/b?AWSAccessKeyId=k&Signature=REDACTED\" 200 ",
		" GET \"/c?x%2damz%2dsiGnature=REDACTED\" 200 ",
		" PUT \"/d\" 200 - 5 ",
		" Echo - \"a \\x22quoted\\x22 \\xc3\\xa4gent\"\n",
		" PUT \"/deny\" 403 AccessDenied 5 7 ",
		" GET \"/junk\" 400 BadRequest 0 ",
		" GET \"http://x/\" 400 BadRequest 0 ",
		" - \"-\" 400 BadRequest 0 ",
	};
	static const char *const absent[] = { "geheim", "hunter2" };

	(void)state;
	ask(s, "GET /a?X-Amz-Signature=geheim&x=1&X-Amz-Credential=AK%2F1&"
	       "X-Amz-Security-Token=geheim HTTP/1.1\r\nHost: h\r\n\r\n");
	ask(s, "GET /b?AWSAccessKeyId=k&Signature=geheim HTTP/1.1\r\n"
	       "Host: h\r\n\r\n");
	ask(s, "GET /c?x%2damz%2dsiGnature=geheim HTTP/1.1\r\n"
	       "Host: h\r\n\r\n");
	ask(s, "PUT /d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
	       "User-Agent: a \"quoted\" \xc3\xa4gent\r\n\r\nhello");
	ask(s, "PUT /deny HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
	       "hello");
	ask(s, "GET /junk HTTX/1.1\r\nAuthorization: hunter2\r\n\r\n");
	ask(s, "GET http://x/ HTTP/1.1\r\nAuthorization: hunter2\r\n\r\n");
	ask(s, "\x16\x03\x01\x02");
	http_server_stop(&s);
	read_log(&b);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (strstr(b.p, wanted[i]) == NULL)
			fail_msg("no %s in\n%s", wanted[i], b.p);
	}
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		assert_null(strstr(b.p, absent[i]));
	buf_fini(&b);
}

/* What is escaped is, wherever it stands. */
static void
test_log_escapes(void **state)
{
	static const unsigned char bytes[] = { '"', '\\', 0x80, 0xff, '!', '#',
		'[', ']', '~', ' ' };
	struct buf b = BUF_CAP(1 << 20);
	struct http_conf c = test_conf();
	struct http_server *s = start_logged(&c);
	int fd = must_connect(s);
	char text[256], want[256];

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < (int)sizeof(bytes) * 17; i++) {
			int c1 = bytes[i / 17], at = i % 17;
			int n = sprintf(want, " - \"%d-%.*s", i, at,
			    "aaaaaaaaaaaaaaaa");

			n += i / 17 < 4 ? sprintf(want + n, "\\x%02x", c1)
			                : sprintf(want + n, "%c", c1);
			sprintf(want + n, "bbbbbbbbb\"\n");
			if (pass == 1) {
				if (strstr(b.p, want) == NULL)
					fail_msg("no %s", want);
				continue;
			}
			snprintf(text, sizeof(text),
			    "GET / HTTP/1.1\r\nHost: h\r\n"
			    "User-Agent: %d-%.*s%cbbbbbbbbb\r\n\r\n",
			    i, at, "aaaaaaaaaaaaaaaa", c1);
			send_text(fd, text);
			assert_int_equal(status_of(fd, 5000), 200);
		}
		if (pass == 0) {
			close(fd);
			http_server_stop(&s);
			read_log(&b);
		}
	}
	buf_fini(&b);
}

static size_t
count_lines(const char *p)
{
	size_t n = 0;

	for (; *p != '\0'; p++)
		n += *p == '\n';
	return n;
}

/* Flushed by the ticker; rotated without a lost line. */
static void
test_log_reopen(void **state)
{
	struct buf b = BUF_CAP(1 << 20);
	struct http_conf c = test_conf();
	struct http_server *s = start_logged(&c);
	char moved[128];
	size_t first, i;

	(void)state;
	snprintf(moved, sizeof(moved), "%s.1", log_path);
	ask(s, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
	for (i = 0; i < 500; i++) {
		read_log(&b);
		if (count_lines(b.p) == 1)
			break;
		clock_sleep_ms(10);
	}
	assert_int_equal(count_lines(b.p), 1);
	assert_int_equal(fs_rename(log_path, moved, NULL), 0);
	http_server_reopen_log(s);
	for (i = 0; i < 500 && !fs_exists(log_path); i++)
		clock_sleep_ms(10);
	assert_true(fs_exists(log_path));
	ask(s, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
	http_server_stop(&s);
	read_log(&b);
	assert_non_null(strstr(b.p, "\"/2\""));
	first = count_lines(b.p);
	assert_int_equal(fs_rename(moved, log_path, NULL), 0);
	read_log(&b);
	assert_int_equal(first + count_lines(b.p), 2);
	buf_fini(&b);
}

/* Many threads through several buffers: every line whole, none lost. */
static void *
write_lines(void *arg)
{
	struct http_server *s = arg;
	char text[1024];
	int fd = -1;

	snprintf(text, sizeof(text), "/%0900d", 7);
	for (int i = 0; i < 300; i++) {
		int status = 0;

		while (status == 0) { /* the server may close between two */
			if (fd < 0)
				fd = must_connect(s);
			get(fd, text);
			status = status_of(fd, 10000);
			if (status == 0) {
				close(fd);
				fd = -1;
			}
		}
		if (status != 200)
			return s;
	}
	close(fd);
	return NULL;
}

static void
test_log_threads(void **state)
{
	struct buf b = BUF_CAP(8 << 20);
	struct http_conf c = test_conf();
	struct http_server *s;
	pthread_t t[4];
	size_t lines = 0;

	(void)state;
	c.max_connections = 64;
	s = start_logged(&c);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, write_lines, s);
	for (int i = 0; i < 4; i++) {
		void *bad = NULL;

		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	http_server_stop(&s);
	read_log(&b);
	for (char *p = b.p; *p != '\0'; lines++) {
		char *end = strchr(p, '\n');

		assert_non_null(end);
		*end = '\0';
		assert_non_null(strstr(p, "Z 127.0.0.1 "));
		assert_non_null(strstr(p, "7\" 200 - 0 "));
		assert_int_equal(strlen(strchr(p, '"')) > 900, 1);
		p = end + 1;
	}
	assert_int_equal(lines, 4 * 300);
	buf_fini(&b);
}

static void
test_log_unwritable(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = NULL;
	struct err e = ERR_INIT;

	(void)state;
	c.access_log = "/nonexistent/log";
	assert_int_not_equal(http_server_start(&c, &s, &e), 0);
	assert_non_null(strstr(e.msg, "/nonexistent/log"));
	assert_null(s);
}

/* --- the handler's side --- */

static _Atomic unsigned done_calls, done_errors;

static void
count_done(void *arg, struct http_req *r)
{
	(void)arg;
	atomic_fetch_add(&done_calls, 1);
	if (http_status(r) >= 400)
		atomic_fetch_add(&done_errors, 1);
}

static void
check_api(void *arg, struct http_req *r)
{
	char big[200000];
	struct err e = ERR_INIT;

	(void)arg;
	assert_false(http_is_started(r));
	assert_int_equal(http_status(r), 0);
	assert_int_equal(http_header_count(r, "x-a"), 2);
	assert_true(str_eqz(http_header(r, "X-A"), "1"));
	assert_null(http_header(r, "X-B").p);
	assert_int_equal(strlen(http_info(r)->id), 16);
	assert_non_null(arena_alloc(http_arena(r), 100000));
	assert_null(arena_alloc(http_arena(r), (size_t)100 << 20));
	http_setz(r, "X-Gone", "1");
	http_unset_all(r);
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(http_setf(r, "X-Long", "%.1000s", big), 0);
	assert_int_equal(http_setz(r, "X-Big", big), 0);
	assert_int_equal(http_setz(r, "X-Too-Big", big), ERR_TOO_BIG);
	http_unset_all(r);
	assert_int_equal(http_setf(r, "X-N", "%d", 7), 0);
	assert_int_equal(http_write(r, "a", 1, &e), ERR_INVALID);
	assert_int_equal(http_finish(r), ERR_INVALID);
	assert_int_equal(http_start(r, 200, 3), 0);
	assert_int_equal(http_start(r, 200, 3), ERR_INVALID);
	assert_int_equal(http_setz(r, "X-Late", "1"), ERR_INVALID);
	assert_true(http_is_started(r));
	assert_int_equal(http_write(r, "abcd", 4, &e), ERR_INVALID);
	assert_int_equal(http_write(r, "abc", 3, &e), 0);
	assert_int_equal(http_finish(r), 0);
	assert_int_equal(http_finish(r), 0);
	assert_int_equal(http_write(r, "d", 1, &e), ERR_INVALID);
	assert_int_equal(http_reply(r, 200, STR_LIT("x")), ERR_INVALID);
	assert_int_equal(http_bytes_out(r), 3);
}

static void
test_api(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	char text[4096];
	int fd;

	(void)state;
	done_calls = done_errors = 0;
	c.handle = check_api;
	c.done = count_done;
	s = test_start(&c);
	fd = must_connect(s);
	for (int i = 0; i < 3; i++) {
		send_text(fd, "GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n"
			      "x-a: 2\r\n\r\n");
		assert_int_equal(answer(fd, text, sizeof(text), 5000), 200);
		assert_non_null(strstr(text, "X-N: 7\r\n"));
		assert_non_null(strstr(text, "\r\n\r\nabc"));
		assert_null(strstr(text, "X-Gone"));
		assert_null(strstr(text, "X-Late"));
	}
	close(fd);
	ask(s, "GET /a HTTP/1.1\r\n\r\n");
	wait_counts(s, 0, false);
	assert_int_equal(done_calls, 4);
	assert_int_equal(done_errors, 1);
	http_server_stop(&s);
}

static int
set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/creel-http-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(log_path, sizeof(log_path), "%s/access.log", dir);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_stalled_reader),
		cmocka_unit_test(test_client_goes_away),
		cmocka_unit_test(test_proxies),
		cmocka_unit_test(test_log_lines),
		cmocka_unit_test(test_log_escapes),
		cmocka_unit_test(test_log_reopen),
		cmocka_unit_test(test_log_threads),
		cmocka_unit_test(test_log_unwritable),
		cmocka_unit_test(test_api),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
