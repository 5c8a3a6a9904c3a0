/* As many workers as connections, on a machine that may have too few threads. */
#include "tests/unit/http/client.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum {
	MANY = 150,
	KEPT = 64, /* idle ones, at most */
	OTHERS =
	    12 /* threads of the server that are no workers, and this one */
};

/* In place of the C library's: workers are refused beyond so many threads. */
static _Atomic int n_refused;
static _Atomic long most_threads = 100000;
static _Atomic int refuse_in; /* 1: the next one, once */

static long base; /* this one, and what a sanitizer has */

static long
n_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *t;
	long n = 0;

	assert_non_null(d);
	while ((t = readdir(d)) != NULL)
		n += t->d_name[0] != '.';
	closedir(d);
	return n - base;
}

int
pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *),
    void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *,
	    void *(*)(void *), void *);

	if (atomic_fetch_sub(&refuse_in, 1) == 1 ||
	    n_threads() >= atomic_load(&most_threads)) {
		atomic_fetch_add(&n_refused, 1);
		return EAGAIN;
	}
	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	return real(t, attr, fn, arg);
}

static struct http_server *
start(struct http_conf *c)
{
	*c = test_conf();
	c->max_connections = 2 * MANY;
	return test_start(c);
}

static void
ask(int fd)
{
	char buf[2048];

	get(fd, "/");
	assert_non_null(read_ok(fd, buf, sizeof(buf), 0, 5000));
}

static void
open_all(struct http_server *s, int *fds, int n)
{
	for (int i = 0; i < n; i++)
		fds[i] = must_connect(s);
	for (int i = 0; i < n; i++)
		ask(fds[i]);
}

static void
close_all(struct http_server *s, const int *fds, int n)
{
	for (int i = 0; i < n; i++)
		close(fds[i]);
	wait_counts(s, 0, false);
}

/* One that was joined may be seen for a moment more. */
static void
wait_until_most(long most, int ms)
{
	for (int i = 0; i < ms && n_threads() > most; i++)
		usleep(1000);
	assert_true(n_threads() <= most);
}

static void
wait_threads(long most)
{
	wait_until_most(most, 5000);
}

static void
test_come_and_go(void **state)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[MANY];

	(void)state;
	assert_in_range(n_threads(), 1, OTHERS);
	open_all(s, fds, 1);
	assert_in_range(n_threads(), 1, OTHERS);
	close_all(s, fds, 1);
	for (int i = 0; i < 3; i++) {
		open_all(s, fds, MANY);
		assert_in_range(n_threads(), MANY, MANY + OTHERS);
		close_all(s, fds, MANY);
		wait_threads(KEPT + OTHERS);
	}
	wait_until_most(OTHERS, 15000);
	open_all(s, fds, 10);
	close_all(s, fds, 10);
	http_server_stop(&s);
	wait_threads(0);
	assert_int_equal(n_threads(), 0);
}

struct flood {
	struct http_server *s;
	pthread_t t;
};

static void *
flood_main(void *arg)
{
	struct flood *f = arg;

	for (int i = 0; i < 100; i++) {
		int fds[4];

		for (int k = 0; k < 4; k++)
			fds[k] = must_connect(f->s);
		for (int k = 0; k < 4; k++)
			ask(fds[k]);
		for (int k = 0; k < 4; k++)
			close(fds[k]);
	}
	return NULL;
}

/* Workers begin and end all the time; nobody waits for one in vain. */
static void
test_many_short(void **state)
{
	struct flood f[4];
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[KEPT + 20];

	(void)state;
	for (int i = 0; i < 4; i++) {
		f[i].s = s;
		assert_int_equal(pthread_create(&f[i].t, NULL, flood_main,
				     &f[i]),
		    0);
	}
	for (int i = 0; i < 10; i++) {
		open_all(s, fds, KEPT + 20);
		for (int k = 0; k < KEPT + 20; k++)
			close(fds[k]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(f[i].t, NULL);
	wait_counts(s, 0, false);
	wait_threads(KEPT + OTHERS);
	http_server_stop(&s);
	wait_threads(0);
	assert_int_equal(n_threads(), 0);
}

static unsigned
max_of(struct http_server *s)
{
	struct http_counts n;

	http_server_counts(s, &n);
	return n.max_connections;
}

/* As many connections as it can serve, the idle ones giving way; and threads are
 * left for the rest of the process. */
static void
test_too_few(void **state)
{
	struct http_conf c;
	struct http_server *s = start(&c);
	int fds[MANY];

	(void)state;
	assert_int_equal(max_of(s), 2 * MANY);
	atomic_store(&most_threads, 100);
	for (int i = 0; i < MANY; i++) {
		fds[i] = must_connect(s);
		ask(fds[i]);
	}
	assert_in_range(n_refused, 1, MANY);
	assert_in_range(max_of(s), 30, 100);
	close_all(s, fds, MANY);
	wait_threads(100 - 16);
	open_all(s, fds, 20);
	close_all(s, fds, 20);
	atomic_store(&most_threads, 100000);
	http_server_stop(&s);
	wait_threads(0);
	assert_int_equal(n_threads(), 0);
}

/* The machine is short of threads only while the server starts. */
static void
test_refused_at_start(void **state)
{
	struct http_server *s;
	struct http_conf c;
	int fds[MANY];

	(void)state;
	atomic_store(&n_refused, 0);
	atomic_store(&refuse_in, 4); /* watcher, ticker, a worker, this one */
	s = start(&c);
	assert_int_equal(n_refused, 1);
	assert_in_range(n_threads(), 1, 5);
	open_all(s, fds, MANY);
	assert_in_range(n_threads(), MANY, MANY + OTHERS);
	assert_int_equal(max_of(s), 2 * MANY);
	close_all(s, fds, MANY);
	http_server_stop(&s);
	wait_threads(0);
	assert_int_equal(n_threads(), 0);
}

static void *
note_id(void *arg)
{
	*(pid_t *)arg = gettid();
	return NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_come_and_go),
		cmocka_unit_test(test_many_short),
		cmocka_unit_test(test_too_few),
		cmocka_unit_test(test_refused_at_start),
	};
	pthread_t t;
	pid_t id;

	/* TSan starts its own beside the first. */
	MUST(pthread_create(&t, NULL, note_id, &id) == 0);
	pthread_join(t, NULL);
	while (tgkill(getpid(), id, 0) == 0)
		usleep(100);
	base = n_threads();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
