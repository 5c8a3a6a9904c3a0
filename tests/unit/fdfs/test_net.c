/* Waits on sockets (fdfs/net.h): how long, and who is told of them. */
#include "fdfs/net.h"

#include "lib/clock.h"
#include "lib/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

static unsigned blocks;

static void
on_block(void)
{
	blocks++;
}

static void
pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
			     fds),
	    0);
}

/* A thread that others rely on says that it waits, but not of what is there or
 * asked for without waiting. */
static void
test_says_that_it_waits(void **state)
{
	struct err e = ERR_INIT;
	int64_t begin;
	char buf[16];
	int fds[2];
	size_t n;

	(void)state;
	pair(fds);
	thread_on_block = on_block;
	blocks = 0;
	assert_int_equal(write(fds[1], "here", 4), 4);
	assert_int_equal(fdfs_net_recv(fds[0], buf, 16, 5000, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_true(fdfs_net_is_quiet(fds[0]));
	assert_int_equal(blocks, 0);
	begin = clock_mono_ns();
	assert_int_equal(fdfs_net_recv(fds[0], buf, 16, 100, &n, &e),
	    ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, ETIMEDOUT);
	assert_true(clock_mono_ns() - begin >= INT64_C(99000000));
	assert_int_equal(blocks, 1);
	thread_on_block = NULL;
	begin = clock_mono_ns();
	assert_int_equal(fdfs_net_recv(fds[0], buf, 16, 100, &n, &e),
	    ERR_DISCONNECTED);
	assert_true(clock_mono_ns() - begin >= INT64_C(99000000));
	assert_int_equal(blocks, 1);
	close(fds[0]);
	close(fds[1]);
}

/* The same of sending, when the other side takes no more; and at its end. */
static void
test_full_socket(void **state)
{
	static char big[1 << 22];
	struct iovec v = { big, sizeof(big) };
	struct err e = ERR_INIT;
	bool input;
	int fds[2];
	size_t n;

	(void)state;
	pair(fds);
	thread_on_block = on_block;
	blocks = 0;
	assert_int_equal(fdfs_net_send(fds[0], &v, 1, 100, false, &n, &input,
			     &e),
	    ERR_DISCONNECTED);
	assert_true(n > 0 && n < sizeof(big));
	assert_int_equal(blocks, 1);
	thread_on_block = NULL;
	close(fds[1]);
	v = (struct iovec){ big, 1 };
	assert_int_equal(fdfs_net_send(fds[0], &v, 1, 100, false, &n, &input,
			     &e),
	    ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, EPIPE);
	close(fds[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_says_that_it_waits),
		cmocka_unit_test(test_full_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
