/* tests/unit/lib/test_lock.c - locks, conditions, threads, log lines. What must
 * abort runs in a child. */
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fault.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct lock low, high, same;

/* True when @fn aborts. Its words go to /dev/null. */
static bool
aborts(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open("/dev/null", O_WRONLY);

		dup2(fd, STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
rising(void)
{
	lock_take(&low);
	lock_take(&high);
	lock_drop(&low); /* any order */
	lock_drop(&high);
	lock_take(&low);
	lock_drop(&low);
}

static void
must_false(void)
{
	MUST(1 == 2);
}

#ifdef CREEL_DEBUG_LOCKS
static void
falling(void)
{
	lock_take(&high);
	lock_take(&low);
}

static void
equal(void)
{
	lock_take(&low);
	lock_take(&same);
}

static void
twice(void)
{
	lock_take(&low);
	lock_take(&low);
}

static void
drop_free(void)
{
	lock_drop(&low);
}

/* Dropping the lower one first must not lower what counts as held. */
static void
falling_after_drop(void)
{
	lock_take(&low);
	lock_take(&high);
	lock_drop(&low);
	lock_take(&low);
}

static void *
drop_low(void *arg)
{
	(void)arg;
	lock_drop(&low);
	return NULL;
}

static void
drop_foreign(void)
{
	pthread_t t;

	lock_take(&low);
	if (thread_start(&t, "x", drop_low, NULL, NULL) == 0)
		thread_join(t);
}
#endif

static void
test_ranks(void **state)
{
	(void)state;
	lock_init(&low, LOCK_RANK_SERVER);
	lock_init(&same, LOCK_RANK_SERVER);
	lock_init(&high, LOCK_RANK_LEAF);
	assert_false(aborts(rising));
	assert_true(aborts(must_false));
#ifdef CREEL_DEBUG_LOCKS
	assert_true(aborts(falling));
	assert_true(aborts(equal));
	assert_true(aborts(twice));
	assert_true(aborts(drop_free));
	assert_true(aborts(falling_after_drop));
	assert_true(aborts(drop_foreign));
	assert_false(lock_is_mine(&low));
#endif
	lock_take(&low);
	assert_true(lock_is_mine(&low));
	lock_drop(&low);
	lock_fini(&low);
	lock_fini(&same);
	lock_fini(&high);
}

static struct {
	struct lock l;
	struct cond c;
	int turn;
} game;

static void *
player(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 200; i++) {
		lock_take(&game.l);
		while (game.turn % 2 != me)
			cond_wait(&game.c, &game.l);
		game.turn++;
		cond_broadcast(&game.c);
		lock_drop(&game.l);
	}
	return arg;
}

static void
test_cond(void **state)
{
	pthread_t a, b;
	int64_t t;

	(void)state;
	lock_init(&game.l, LOCK_RANK_LEAF);
	cond_init(&game.c);
	assert_int_equal(thread_start(&a, "player-a", player, (void *)0, NULL),
	    0);
	assert_int_equal(thread_start(&b, "a name that is far too long", player,
			     (void *)1, NULL),
	    0);
	thread_join(a);
	thread_join(b);
	assert_int_equal(game.turn, 400);

	lock_take(&game.l);
	t = clock_mono_ns();
	clock_shift((int64_t)86400 * 1000000000); /* must not matter */
	while (cond_wait_ms(&game.c, &game.l, 20)) {
	}
	clock_shift(-(int64_t)86400 * 1000000000);
	assert_true(clock_mono_ns() - t >= 20000000);
	assert_false(cond_wait_ms(&game.c, &game.l, -1));
	assert_true(lock_is_mine(&game.l));
	cond_signal(&game.c);
	lock_drop(&game.l);
	cond_fini(&game.c);
	lock_fini(&game.l);
}

static void *
signals(void *arg)
{
	sigset_t *s = arg;

	pthread_sigmask(SIG_SETMASK, NULL, s);
	return NULL;
}

static void
test_thread(void **state)
{
	sigset_t in, out;
	pthread_t t;

	(void)state;
	assert_int_equal(thread_start(&t, "signals", signals, &in, NULL), 0);
	thread_join(t);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &out), 0);
	assert_true(sigismember(&in, SIGTERM));
	assert_false(sigismember(&out, SIGTERM));
}

/* What log_line() writes, at most one pipe full. */
static size_t
logged(char *dst, size_t size, enum log_level level, const char *text)
{
	int p[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	dup2(p[1], STDERR_FILENO);
	errno = 77;
	log_line(level, "%s", text);
	assert_int_equal(errno, 77);
	dup2(saved, STDERR_FILENO);
	n = read(p[0], dst, size - 1);
	close(p[0]);
	close(p[1]);
	close(saved);
	dst[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t)n;
}

static void
test_log(void **state)
{
	char line[20000], big[5000];

	(void)state;
	assert_int_equal(logged(line, sizeof(line), LOG_DEBUG, "x"), 0);
	logged(line, sizeof(line), LOG_WARN,
	    "a\nb\x1b[1m\x7f\xc2\x85 \xc3\xa4\t");
	assert_int_equal(clock_parse_iso(line, 24) > 1600000000, 1);
	assert_string_equal(line + 24,
	    " WARN a\\x0ab\\x1b[1m\\x7f\\xc2\x85 \xc3\xa4\\x09\n");
	log_set_level(LOG_ERROR);
	assert_int_equal(logged(line, sizeof(line), LOG_WARN, "x"), 0);
	memset(big, '\n', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_true(logged(line, sizeof(line), LOG_ERROR, big) > 4000);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	log_set_level(LOG_INFO);
}

static void
test_fault(void **state)
{
	(void)state;
	assert_int_equal(fault_check(FAULT_OPEN), 0);
	fault_arm(FAULT_ANY, 3, EIO, false);
	assert_int_equal(fault_check(FAULT_OPEN), 0);
	assert_int_equal(fault_check(FAULT_ALLOC), 0);
	assert_false(fault_fired());
	assert_int_equal(fault_check(FAULT_SYNC), EIO);
	assert_true(fault_fired());
	assert_int_equal(fault_check(FAULT_SYNC), 0);
	fault_arm(FAULT_SYNC, 1, ENOSPC, true);
	assert_false(fault_fired());
	assert_int_equal(fault_check(FAULT_OPEN), 0);
	assert_int_equal(fault_check(FAULT_SYNC), ENOSPC);
	assert_int_equal(fault_check(FAULT_SYNC), ENOSPC);
	fault_disarm();
	assert_int_equal(fault_check(FAULT_SYNC), 0);
	assert_true(fault_fired());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranks),
		cmocka_unit_test(test_cond),
		cmocka_unit_test(test_thread),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
