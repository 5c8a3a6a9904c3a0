/* Parked connections: many of them, few threads awake (http/pool.h). */
#include "tests/unit/http/client.h"

#include "lib/thread.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

enum {
	MANY = 60,
	STUCK = 40, /* more than are active of themselves */
	CLIENTS = 4,
	ROUNDS = 100
};

static _Atomic bool is_open;
static _Atomic int n_put_off, n_done;

/* In place of the C library's: while it is held no event is given, then all of
 * them to the thread that takes many, if there is one. */
static _Atomic bool is_held, is_many_first;

int
epoll_wait(int fd, struct epoll_event *ev, int max, int ms)
{
	int patience = 300;
	long n = 0;

	if (ms >= 0)
		return (int)syscall(SYS_epoll_wait, fd, ev, max, ms);
	while (n == 0) {
		if (atomic_load(&is_held) ||
		    (max == 1 && atomic_load(&is_many_first) && --patience > 0))
			usleep(1000);
		else
			n = syscall(SYS_epoll_wait, fd, ev, max, 1);
	}
	if (max > 1)
		atomic_store(&is_many_first, false);
	return (int)n;
}

static struct http_req *_Atomic deferred;

static void
answer_late(void *arg, struct http_req *r)
{
	http_reply(r, 200, http_info(r)->path);
	(void)arg;
}

static void
on_rest(struct thread_rest *r)
{
	(void)r;
	atomic_fetch_add(&n_done, 1);
}

/* GET /stuck sleeps without saying so; /told says so; both until the gate
 * opens. /off puts something off, once other threads wait for events. All answers
 * are the path. */
static void
handle(void *arg, struct http_req *r)
{
	struct str path = http_info(r)->path;

	(void)arg;
	if (str_eqz(path, "/later") && http_defer(r)) {
		atomic_store(&deferred, r);
		return;
	}
	if (str_eqz(path, "/told"))
		thread_blocks();
	while ((str_eqz(path, "/told") || str_eqz(path, "/stuck")) &&
	       !atomic_load(&is_open))
		usleep(1000);
	if (str_eqz(path, "/off")) {
		usleep(50000);
		atomic_fetch_add(&n_put_off, thread_put_off());
	}
	http_reply(r, 200, path);
}

static struct http_server *
start(struct http_conf *c)
{
	*c = test_conf();
	c->max_connections = 200;
	c->handle = handle;
	atomic_store(&is_open, false);
	return test_start(c);
}

/* The answer to GET @path is its own; reads no byte of what follows. */
static bool
is_answered(int fd, const char *path, int ms)
{
	char buf[1024];
	const char *body = read_ok(fd, buf, sizeof(buf), strlen(path), ms);

	return body != NULL && strcmp(body, path) == 0;
}

static void
open_kept(struct http_server *s, int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fds[i] = must_connect(s);
		get(fds[i], "/first");
		assert_true(is_answered(fds[i], "/first", 5000));
	}
}

static void
close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

struct client {
	int fds[MANY];
	unsigned no;
	_Atomic int failures;
	pthread_t t;
};

/* On all of its connections at once, in pairs now and then, in pieces too. */
static void *
client_main(void *arg)
{
	struct client *c = arg;
	char path[2][64];

	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < MANY / CLIENTS; i++) {
			bool pair = (r + i) % 3 == 0;

			for (int k = 0; k <= pair; k++) {
				snprintf(path[k], sizeof(path[k]),
				    "/%u-%d-%d-%d", c->no, r, i, k);
				if ((r + i) % 5 != 0) {
					get(c->fds[i], path[k]);
					continue;
				}
				send_text(c->fds[i], "GET ");
				send_text(c->fds[i], path[k]);
				send_text(c->fds[i],
				    " HTTP/1.1\r\nHost: h\r\n\r\n");
			}
		}
		for (int i = 0; i < MANY / CLIENTS; i++) {
			bool pair = (r + i) % 3 == 0;

			for (int k = 0; k <= pair; k++) {
				snprintf(path[k], sizeof(path[k]),
				    "/%u-%d-%d-%d", c->no, r, i, k);
				if (!is_answered(c->fds[i], path[k], 5000))
					atomic_fetch_add(&c->failures, 1);
			}
		}
	}
	return NULL;
}

static void
test_each_its_own(void **state)
{
	struct client *cs = calloc(CLIENTS, sizeof(*cs));
	struct http_conf c;
	struct http_server *s = start(&c);
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		cs[i].no = i;
		open_kept(s, cs[i].fds, MANY / CLIENTS);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(thread_start(&cs[i].t, "client", client_main,
				     &cs[i], &e),
		    0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		thread_join(cs[i].t);
		assert_int_equal(cs[i].failures, 0);
		close_all(cs[i].fds, MANY / CLIENTS);
	}
	wait_counts(s, 0, false);
	http_server_stop(&s);
	free(cs);
}

/* Requests that sleep, whether they say so or not, hold up nobody. */
static void
sleepers(const char *path)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[MANY + 1];

	open_kept(s, fds, MANY + 1);
	for (int i = 0; i < MANY; i++)
		get(fds[i], path);
	wait_counts(s, MANY, true);
	for (int i = 0; i < 20; i++) {
		get(fds[MANY], "/quick");
		assert_true(is_answered(fds[MANY], "/quick", 1000));
	}
	atomic_store(&is_open, true);
	for (int i = 0; i < MANY; i++)
		assert_true(is_answered(fds[i], path, 5000));
	for (int i = 0; i < MANY + 1; i++) {
		get(fds[i], "/again");
		assert_true(is_answered(fds[i], "/again", 5000));
	}
	close_all(fds, MANY + 1);
	wait_counts(s, 0, false);
	http_server_stop(&s);
}

static void
test_stuck(void **state)
{
	(void)state;
	sleepers("/stuck");
}

static void
test_told(void **state)
{
	(void)state;
	sleepers("/told");
}

/* What was put off is done also by a thread of which there are too many (Q4a):
 * it is one as long as others are stuck. */
static void
test_put_off(void **state)
{
	struct thread_rest rest = { .rest = on_rest, .hurry = on_rest };
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[MANY];

	(void)state;
	thread_rest_add(&rest);
	atomic_store(&n_put_off, 0);
	open_kept(s, fds, MANY);
	for (int i = 0; i < STUCK; i++)
		get(fds[i], "/stuck");
	wait_counts(s, STUCK, true);
	for (int i = 0; atomic_load(&n_put_off) < 3; i++) {
		int done = atomic_load(&n_done), n = atomic_load(&n_put_off);
		int64_t end = clock_mono_ns() + INT64_C(5000000000);

		assert_true(i < 100);
		get(fds[MANY - 1], "/off");
		assert_true(is_answered(fds[MANY - 1], "/off", 5000));
		while (atomic_load(&n_put_off) > n &&
		       atomic_load(&n_done) == done) {
			assert_true(clock_mono_ns() < end);
			usleep(1000);
		}
	}
	atomic_store(&is_open, true);
	for (int i = 0; i < STUCK; i++)
		assert_true(is_answered(fds[i], "/stuck", 5000));
	close_all(fds, MANY);
	http_server_stop(&s);
	thread_rest_remove(&rest);
}

/* The rest of a header that comes late keeps one thread, not the others; and it
 * has the whole time-out, however long its thread has waited before. */
static void
test_half_header(void **state)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[MANY];

	(void)state;
	open_kept(s, fds, MANY);
	for (int i = 0; i < MANY - 1; i++)
		send_text(fds[i], "GET /late HTTP/1.1\r\nHo");
	for (int i = 0; i < 20; i++) {
		get(fds[MANY - 1], "/quick");
		assert_true(is_answered(fds[MANY - 1], "/quick", 1000));
	}
	for (int i = 0; i < MANY - 1; i++)
		send_text(fds[i], "st: h\r\n\r\n");
	for (int i = 0; i < MANY - 1; i++)
		assert_true(is_answered(fds[i], "/late", 5000));
	close_all(fds, MANY);
	http_server_stop(&s);
}

static void
test_expiry(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	int fds[MANY], busy;
	int64_t begun;

	(void)state;
	c.max_connections = 200;
	c.handle = handle;
	c.keepalive_timeout_ms = 600;
	atomic_store(&is_open, false);
	s = test_start(&c);
	open_kept(s, fds, MANY);
	open_kept(s, &busy, 1);
	begun = clock_mono_ns();
	get(busy, "/stuck");
	for (int i = 0; i < MANY; i++)
		assert_true(is_closed(fds[i], 5000));
	assert_true(clock_mono_ns() - begun > 300 * INT64_C(1000000));
	close_all(fds, MANY);
	atomic_store(&is_open, true);
	assert_true(is_answered(busy, "/stuck", 1000)); /* under way: not cut */
	close(busy);
	http_server_stop(&s);
}

static void
test_stop(void **state)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[MANY];
	int64_t begun;

	(void)state;
	open_kept(s, fds, MANY);
	begun = clock_mono_ns();
	http_server_stop(&s);
	assert_true(clock_mono_ns() - begun < 3000 * INT64_C(1000000));
	for (int i = 0; i < MANY; i++)
		assert_true(is_closed(fds[i], 1000));
	close_all(fds, MANY);
}

/* One thread takes an event together with the word that something is ready, and
 * is held up by the event: others are told, though the watcher sleeps. */
static void
test_ready_beside_stuck(void **state)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[2];

	(void)state;
	open_kept(s, fds, 2);
	get(fds[0], "/later");
	while (atomic_load(&deferred) == NULL)
		usleep(1000);
	usleep(400000); /* the watcher sleeps */
	atomic_store(&is_held, true);
	usleep(20000);
	get(fds[1], "/stuck");
	http_resume(atomic_load(&deferred), answer_late, NULL);
	usleep(20000);
	atomic_store(&is_many_first, true);
	atomic_store(&is_held, false);
	assert_true(is_answered(fds[0], "/later", 3000));
	atomic_store(&is_open, true);
	assert_true(is_answered(fds[1], "/stuck", 5000));
	close_all(fds, 2);
	http_server_stop(&s);
}

/* How often the watcher has gone to sleep. */
static long
watcher_sleeps(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *t;
	long n = -1;

	assert_non_null(d);
	while ((t = readdir(d)) != NULL) {
		char name[300], line[128];
		bool is_it = false;
		FILE *f;

		snprintf(name, sizeof(name), "/proc/self/task/%s/status",
		    t->d_name);
		f = fopen(name, "re");
		while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
			is_it =
			    is_it || strcmp(line, "Name:\thttp-watch\n") == 0;
			if (is_it)
				sscanf(line, "voluntary_ctxt_switches: %ld",
				    &n);
		}
		if (f != NULL)
			fclose(f);
	}
	closedir(d);
	assert_true(n >= 0);
	return n;
}

/* With nothing to do it sleeps until there is: not once in a third of a second,
 * where it looks 150 times while there is. */
static void
wait_watcher_rests(void)
{
	long before = -1, now = watcher_sleeps();

	for (int i = 0; i < 30 && now != before; i++) {
		before = now;
		usleep(300000);
		now = watcher_sleeps();
	}
	assert_int_equal(now, before);
}

static void
test_watcher_rests(void **state)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[STUCK + 1], one;

	(void)state;
	wait_watcher_rests();
	open_kept(s, &one, 1);
	wait_watcher_rests();
	close(one);
	wait_counts(s, 0, false);
	wait_watcher_rests();
	/* It is there when it is needed. */
	open_kept(s, fds, STUCK + 1);
	for (int i = 0; i < STUCK; i++)
		get(fds[i], "/stuck");
	wait_counts(s, STUCK, true);
	get(fds[STUCK], "/quick");
	assert_true(is_answered(fds[STUCK], "/quick", 1000));
	atomic_store(&is_open, true);
	for (int i = 0; i < STUCK; i++)
		assert_true(is_answered(fds[i], "/stuck", 5000));
	close_all(fds, STUCK + 1);
	wait_counts(s, 0, false);
	http_server_stop(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_its_own),
		cmocka_unit_test(test_watcher_rests),
		cmocka_unit_test(test_ready_beside_stuck),
		cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_told),
		cmocka_unit_test(test_put_off),
		cmocka_unit_test(test_half_header),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
