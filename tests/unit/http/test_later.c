/* Requests that are answered later (http_defer(), http_resume()). */
#include "tests/unit/http/client.h"

#include "lib/thread.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	MAX = 8, /* test_conf() */
	MANY = 60,
	CLIENTS = 4,
	ROUNDS = 100,
	RESUMERS = 3,
	ITEMS = 256
};

/* Threads that resume what is theirs when its time has come. */
static struct {
	pthread_mutex_t m;
	struct {
		struct http_req *r;
		int64_t due_ns;
	} items[ITEMS];
	int n;
	bool is_over, is_held; /* until release() */
	pthread_t threads[RESUMERS];
} later = { .m = PTHREAD_MUTEX_INITIALIZER };

static _Atomic unsigned n_done, n_deferred, n_refused;

/* Answers the path and the header X-Test, which both lie in the request's
 * buffer; /big/N: N bytes. */
static void
reply(void *arg, struct http_req *r)
{
	struct str path = http_info(r)->path, test = http_header(r, "X-Test");
	struct str text = arena_fmt(http_arena(r), STR_FMT STR_FMT,
	    STR_ARG(path), STR_ARG(test));

	(void)arg;
	if (str_has_prefix(path, STR_LIT("/big")))
		echo_stream(r, (uint64_t)20 << 20, (uint64_t)20 << 20, false);
	else if (!str_eqz(path, "/none"))
		http_reply(r, 200, text);
}

static void
reply_deferred(void *arg, struct http_req *r)
{
	http_setz(r, "X-Deferred", "yes");
	reply(arg, r);
}

static void
add_item(struct http_req *r, int ms)
{
	pthread_mutex_lock(&later.m);
	MUST(later.n < ITEMS);
	later.items[later.n].r = r;
	later.items[later.n++].due_ns = clock_mono_ns() + ms * INT64_C(1000000);
	pthread_mutex_unlock(&later.m);
}

static void *
resumer(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&later.m);
	while (!later.is_over || later.n > 0) {
		int64_t now = clock_mono_ns();

		/* With a lock held, which the contract allows. */
		for (int i = 0; i < later.n && !later.is_held; i++) {
			if (later.items[i].due_ns > now)
				continue;
			http_resume(later.items[i].r, reply_deferred, NULL);
			later.items[i--] = later.items[--later.n];
		}
		pthread_mutex_unlock(&later.m);
		usleep(200);
		pthread_mutex_lock(&later.m);
	}
	pthread_mutex_unlock(&later.m);
	return NULL;
}

static void
hold(bool is_held)
{
	pthread_mutex_lock(&later.m);
	later.is_held = is_held;
	pthread_mutex_unlock(&later.m);
}

static void
drop_body(struct http_req *r)
{
	char buf[4096];
	size_t n = 1;

	while (n > 0 && http_read(r, buf, sizeof(buf), &n, NULL) == 0)
		;
}

/* /now: resumed before the handler returns; /race: by another thread at once,
 * while the handler goes on; /soon: after 2 ms; /never: not deferred; /unread:
 * the body is not read; all else: by the others, at once. */
static void
handle(void *arg, struct http_req *r)
{
	struct str path = http_info(r)->path;

	if (!str_eqz(path, "/unread"))
		drop_body(r);
	if (str_eqz(path, "/never") || !http_defer(r)) {
		atomic_fetch_add(&n_refused, 1);
		reply(arg, r);
		return;
	}
	atomic_fetch_add(&n_deferred, 1);
	if (str_eqz(path, "/now"))
		http_resume(r, reply_deferred, arg);
	else
		add_item(r, str_has_prefix(path, STR_LIT("/soon")) ? 2 : 0);
	if (str_has_prefix(path, STR_LIT("/race")))
		usleep(500);
}

static void
done(void *arg, struct http_req *r)
{
	(void)arg;
	(void)r;
	atomic_fetch_add(&n_done, 1);
}

static struct http_conf
conf(unsigned max_connections)
{
	struct http_conf c = test_conf();
	struct err e = ERR_INIT;

	c.max_connections = max_connections;
	c.handle = handle;
	c.done = done;
	n_done = n_deferred = n_refused = 0;
	later.is_over = later.is_held = false;
	for (int i = 0; i < RESUMERS; i++)
		assert_int_equal(thread_start(&later.threads[i], "resumer",
				     resumer, NULL, &e),
		    0);
	return c;
}

static void
end(struct http_server *s)
{
	http_server_stop(&s);
	pthread_mutex_lock(&later.m);
	later.is_over = true;
	pthread_mutex_unlock(&later.m);
	for (int i = 0; i < RESUMERS; i++)
		thread_join(later.threads[i]);
	assert_int_equal(later.n, 0);
}

/* The answer is to @path with X-Test @test, deferred or not; not a byte of what
 * follows is read. */
static bool
is_answered(int fd, const char *path, const char *test, bool deferred, int ms)
{
	size_t n = strlen(path);
	char buf[1024];
	const char *body = read_ok(fd, buf, sizeof(buf), n + strlen(test), ms);

	return body != NULL && strncmp(body, path, n) == 0 &&
	       strcmp(body + n, test) == 0 &&
	       (strstr(buf, "X-Deferred: yes\r\n") != NULL) == deferred;
}

static void
ask(int fd, const char *path, const char *test)
{
	char text[1024];

	snprintf(text, sizeof(text),
	    "GET %s HTTP/1.1\r\nHost: h\r\nX-Test: %s\r\n\r\n", path, test);
	send_text(fd, text);
}

static void
test_kinds(void **state)
{
	static const char *const paths[] = { "/at-once", "/now", "/race",
		"/soon", "/never" };
	struct http_conf c = conf(20);
	struct http_server *s = test_start(&c);
	int fd = must_connect(s);

	(void)state;
	for (int i = 0; i < 50; i++) {
		const char *path = paths[i % 5];

		ask(fd, path, "abc");
		assert_true(is_answered(fd, path, "abc",
		    strcmp(path, "/never") != 0, 5000));
	}
	wait_counts(s, 0, true);
	assert_int_equal(n_done, 50);
	assert_int_equal(n_deferred, 40);
	close(fd);
	wait_counts(s, 0, false);
	end(s);
}

static void
test_bodies(void **state)
{
	struct http_conf c = conf(20);
	struct http_server *s = test_start(&c);
	int fd = must_connect(s);

	(void)state;
	send_text(fd, "PUT /soon HTTP/1.1\r\nHost: h\r\nX-Test: t\r\n"
		      "Content-Length: 5\r\n\r\nhello");
	assert_true(is_answered(fd, "/soon", "t", true, 5000));
	send_text(fd, "PUT /soon HTTP/1.1\r\nHost: h\r\nX-Test: u\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	send_text(fd, "0\r\n\r\n");
	assert_true(is_answered(fd, "/soon", "u", true, 5000));
	send_text(fd, "PUT /soon HTTP/1.1\r\nHost: h\r\nX-Test: v\r\n"
		      "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
	assert_int_equal(status_of(fd, 5000), 100);
	send_text(fd, "hello");
	assert_true(is_answered(fd, "/soon", "v", true, 5000));
	/* Not read: not deferred, and drained. */
	send_text(fd, "PUT /unread HTTP/1.1\r\nHost: h\r\nX-Test: w\r\n"
		      "Content-Length: 5\r\n\r\nhello");
	assert_true(is_answered(fd, "/unread", "w", false, 5000));
	ask(fd, "/soon", "x");
	assert_true(is_answered(fd, "/soon", "x", true, 5000));
	close(fd);
	end(s);
}

/* Answers come in the order of the requests, whatever is sent when. */
static void
test_pipelined(void **state)
{
	struct http_conf c = conf(20);
	struct http_server *s = test_start(&c);
	int fd = must_connect(s);

	(void)state;
	ask(fd, "/first", "");
	assert_true(is_answered(fd, "/first", "", true, 5000));
	/* The next one in the buffer: not deferred. */
	send_text(fd, "GET /soon HTTP/1.1\r\nHost: h\r\n\r\n"
		      "GET /race HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_true(is_answered(fd, "/soon", "", false, 5000));
	assert_true(is_answered(fd, "/race", "", true, 5000));
	send_text(fd, "PUT /soon HTTP/1.1\r\nHost: h\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
		      "0\r\n\r\nGET /race HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_true(is_answered(fd, "/soon", "", false, 5000));
	assert_true(is_answered(fd, "/race", "", true, 5000));
	/* The next one comes while the first is deferred. */
	hold(true);
	ask(fd, "/a", "1");
	wait_counts(s, 1, true);
	ask(fd, "/b", "2");
	ask(fd, "/c", "3");
	hold(false);
	assert_true(is_answered(fd, "/a", "1", true, 5000));
	assert_true(is_answered(fd, "/b", "2", false, 5000));
	assert_true(is_answered(fd, "/c", "3", true, 5000));
	close(fd);
	end(s);
}

static void
test_closes(void **state)
{
	static const char *const heads[] = {
		"GET /soon HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"GET /soon HTTP/1.0\r\nHost: h\r\n\r\n",
		"GET /none HTTP/1.1\r\nHost: h\r\n\r\n",
	};
	struct http_conf c = conf(20);
	struct http_server *s = test_start(&c);
	char buf[4096];
	int fd;

	(void)state;
	for (int i = 0; i < 40; i++) {
		fd = must_connect(s);
		if (i % 2 == 0) {
			ask(fd, "/first", "");
			assert_true(is_answered(fd, "/first", "", true, 5000));
		}
		send_text(fd, heads[i % 4]);
		assert_int_equal(answer(fd, buf, sizeof(buf), 5000),
		    i % 4 == 3 ? 500 : 200);
		assert_non_null(strstr(buf, "Connection: close\r\n"));
		assert_true(is_closed(fd, 5000));
		close(fd);
	}
	fd = must_connect(s);
	for (int i = 0; i < 2; i++) {
		send_text(fd, "GET /soon HTTP/1.0\r\nHost: h\r\n"
			      "Connection: keep-alive\r\n\r\n");
		assert_int_equal(answer(fd, buf, sizeof(buf), 5000), 200);
		assert_non_null(strstr(buf, "Connection: keep-alive\r\n"));
	}
	close(fd);
	wait_counts(s, 0, false);
	end(s);
}

/* The client goes while its request is deferred. */
static void
test_client_gone(void **state)
{
	struct http_conf c = conf(50);
	struct http_server *s = test_start(&c);
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)state;
	hold(true);
	for (int i = 0; i < 20; i++) {
		int fd = must_connect(s);

		ask(fd, i % 4 < 2 ? "/soon" : "/big", "");
		wait_counts(s, (unsigned)i + 1, true);
		if (i % 2 == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now,
			    sizeof(now));
		close(fd);
	}
	hold(false);
	wait_counts(s, 0, false);
	assert_int_equal(n_done, 20);
	assert_int_equal(n_deferred, 20);
	end(s);
}

/* --- many --- */

struct client {
	int fds[MANY];
	unsigned no;
	_Atomic int failures;
	pthread_t t;
};

static void
make_path(char *path, size_t size, unsigned no, int round, int i)
{
	static const char *const kinds[] = { "/race", "/soon", "/x", "/x",
		"/x" };

	snprintf(path, size, "%s-%u-%d-%d", kinds[(round + i) % 5], no, round,
	    i);
}

static void *
client_main(void *arg)
{
	struct client *c = arg;
	char path[64];

	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < MANY / CLIENTS; i++) {
			make_path(path, sizeof(path), c->no, r, i);
			ask(c->fds[i], path, path);
		}
		for (int i = 0; i < MANY / CLIENTS; i++) {
			make_path(path, sizeof(path), c->no, r, i);
			if (!is_answered(c->fds[i], path, path, true, 10000))
				atomic_fetch_add(&c->failures, 1);
		}
	}
	return NULL;
}

static void
test_many(void **state)
{
	struct client *cs = calloc(CLIENTS, sizeof(*cs));
	struct http_conf c = conf(200);
	struct http_server *s = test_start(&c);
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		cs[i].no = i;
		for (int k = 0; k < MANY / CLIENTS; k++)
			cs[i].fds[k] = must_connect(s);
		assert_int_equal(thread_start(&cs[i].t, "client", client_main,
				     &cs[i], &e),
		    0);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		thread_join(cs[i].t);
		assert_int_equal(cs[i].failures, 0);
		for (int k = 0; k < MANY / CLIENTS; k++)
			close(cs[i].fds[k]);
	}
	wait_counts(s, 0, false);
	assert_int_equal(n_done, CLIENTS * (MANY / CLIENTS) * ROUNDS);
	assert_int_equal(n_refused, 0);
	end(s);
	free(cs);
}

/* --- threads --- */

static pthread_t served_by[MANY];
static _Atomic int n_served;

static void
tell_thread(void *arg, struct http_req *r)
{
	if (str_eqz(http_info(r)->path, "/told"))
		served_by[n_served++] = pthread_self();
	handle(arg, r);
}

/* The thread of a deferred request serves others meanwhile: some thread has
 * several that are under way at the same time. */
static void
test_thread_is_free(void **state)
{
	struct http_conf c = conf(200);
	struct http_server *s;
	bool is_reused = false;
	int fds[MANY];

	(void)state;
	c.handle = tell_thread;
	n_served = 0;
	s = test_start(&c);
	for (int i = 0; i < MANY; i++) {
		fds[i] = must_connect(s);
		ask(fds[i], "/x", "");
		assert_true(is_answered(fds[i], "/x", "", true, 5000));
	}
	hold(true);
	for (int i = 0; i < MANY; i++) {
		ask(fds[i], "/told", "");
		wait_counts(s, (unsigned)i + 1, true);
	}
	hold(false);
	for (int i = 0; i < MANY; i++) {
		assert_true(is_answered(fds[i], "/told", "", true, 5000));
		close(fds[i]);
	}
	end(s);
	assert_int_equal(n_served, MANY);
	for (int i = 0; i < MANY; i++) {
		for (int k = 0; k < i; k++)
			is_reused = is_reused ||
			            pthread_equal(served_by[i], served_by[k]);
	}
	assert_true(is_reused);
}

/* Answers that can't be written now hold up no others, which come in the same
 * moment. */
static void
test_slow_clients(void **state)
{
	struct http_conf c = conf(200);
	struct http_server *s = test_start(&c);
	int fds[MANY];
	char buf[65536];

	(void)state;
	hold(true);
	for (int i = 0; i < MANY; i++) {
		fds[i] = must_connect(s);
		ask(fds[i], i % 2 == 0 ? "/big" : "/x", "");
	}
	wait_counts(s, MANY, true);
	hold(false);
	for (int i = 1; i < MANY; i += 2)
		assert_true(is_answered(fds[i], "/x", "", true, 5000));
	wait_counts(s, MANY / 2, true);
	assert_true(recv(fds[0], buf, sizeof(buf), 0) > 0);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	wait_counts(s, 0, false);
	end(s);
}

/* Deferred ones are under way: those beyond the limit are refused. */
static void
test_limit(void **state)
{
	struct http_conf c = conf(MAX);
	struct http_server *s = test_start(&c);
	int fds[MAX], fd;

	(void)state;
	hold(true);
	for (int i = 0; i < MAX; i++) {
		fds[i] = must_connect(s);
		ask(fds[i], "/x", "");
	}
	wait_counts(s, MAX, true);
	fd = must_connect(s);
	get(fd, "/x");
	assert_int_equal(status_of(fd, 5000), 503);
	close(fd);
	hold(false);
	for (int i = 0; i < MAX; i++) {
		assert_true(is_answered(fds[i], "/x", "", true, 5000));
		close(fds[i]);
	}
	end(s);
}

/* --- stop --- */

static void *
stop_server(void *arg)
{
	struct http_server *s = arg;

	http_server_drain(s);
	return NULL;
}

static void
test_stop_waits(void **state)
{
	struct http_conf c = conf(50);
	struct http_server *s = test_start(&c);
	int fds[20], idle = must_connect(s);
	struct err e = ERR_INIT;
	char buf[4096];
	pthread_t t;

	(void)state;
	ask(idle, "/x", "");
	assert_true(is_answered(idle, "/x", "", true, 5000));
	hold(true);
	for (int i = 0; i < 20; i++) {
		fds[i] = must_connect(s);
		ask(fds[i], "/x", "");
	}
	wait_counts(s, 20, true);
	assert_int_equal(thread_start(&t, "stop", stop_server, s, &e), 0);
	assert_true(is_closed(idle, 5000));
	clock_sleep_ms(50);
	wait_counts(s, 20, true);
	hold(false);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(answer(fds[i], buf, sizeof(buf), 5000), 200);
		assert_non_null(strstr(buf, "Connection: close\r\n"));
		assert_true(is_closed(fds[i], 5000));
		close(fds[i]);
	}
	thread_join(t);
	assert_int_equal(n_done, 21);
	close(idle);
	end(s);
}

/* A cut ends the connection at once, the request when it is resumed. */
static void
test_cut(void **state)
{
	struct http_conf c = conf(50);
	struct http_server *s;
	struct err e = ERR_INIT;
	pthread_t t;
	int fd;

	(void)state;
	c.stop_timeout_ms = 60000;
	s = test_start(&c);
	hold(true);
	fd = must_connect(s);
	ask(fd, "/x", "");
	wait_counts(s, 1, true);
	assert_int_equal(thread_start(&t, "stop", stop_server, s, &e), 0);
	http_server_cut(s);
	assert_true(is_closed(fd, 5000));
	hold(false);
	thread_join(t);
	assert_int_equal(n_done, 1);
	close(fd);
	end(s);
}

struct pusher {
	int port;
	_Atomic bool is_over;
	pthread_t t;
};

/* Requests on several connections at once, until the server is gone. */
static void *
push(void *arg)
{
	struct pusher *p = arg;
	char buf[4096];
	int fds[5];

	for (int i = 0; i < 5; i++)
		fds[i] = try_connect(p->port);
	while (!p->is_over) {
		for (int i = 0; i < 5; i++) {
			if (fds[i] >= 0)
				ask(fds[i], i < 3 ? "/x" : "/race", "");
		}
		for (int i = 0; i < 5; i++) {
			if (fds[i] < 0 ||
			    answer(fds[i], buf, sizeof(buf), 10000) == 200)
				continue;
			close(fds[i]);
			fds[i] = -1;
		}
	}
	for (int i = 0; i < 5; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return NULL;
}

/* A stop at any moment: each request that began has its end. */
static void
test_stop_under_load(void **state)
{
	(void)state;
	for (int k = 0; k < 20; k++) {
		struct http_conf c = conf(100);
		struct http_server *s = test_start(&c);
		struct pusher ps[4] = { 0 };
		struct err e = ERR_INIT;

		for (int i = 0; i < 4; i++) {
			ps[i].port = port_of(s);
			assert_int_equal(thread_start(&ps[i].t, "push", push,
					     &ps[i], &e),
			    0);
		}
		clock_sleep_ms(10 + 3 * k);
		http_server_drain(s);
		assert_int_equal(n_done, n_deferred + n_refused);
		for (int i = 0; i < 4; i++) {
			ps[i].is_over = true;
			thread_join(ps[i].t);
		}
		end(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_closes),
		cmocka_unit_test(test_client_gone),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_thread_is_free),
		cmocka_unit_test(test_slow_clients),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_stop_waits),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_stop_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
