/* Waits on sockets (fdfs/net.h): how long, and who is told of them. */
#include "fdfs/net.h"

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
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

static char content[1 << 20];

static int
file_of(size_t len)
{
	char name[] = "/tmp/creel-net-XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7 + i / 255);
	assert_int_equal(write(fd, content, len), len);
	return fd;
}

struct reader {
	int fd;
	char *got;
	size_t n, max;
};

/* Slower than what is sent, so that the socket is full at times. */
static void *
read_slowly(void *arg)
{
	struct reader *r = arg;
	struct err e;
	size_t n;

	while (r->n < r->max &&
	       fdfs_net_recv(r->fd, r->got + r->n,
		   r->max - r->n < 50000 ? r->max - r->n : 50000, 5000, &n,
		   &e) == 0 &&
	       n > 0) {
		r->n += n;
		clock_sleep_ms(1);
	}
	return NULL;
}

static void
test_send_file(void **state)
{
	static char got[1 << 20];
	struct iovec v = { "head", 4 };
	struct reader r = { .got = got };
	struct err e = ERR_INIT;
	int fds[2], fd = file_of(sizeof(content));
	pthread_t t;
	size_t n;

	(void)state;
	pair(fds);
	r.fd = fds[1];
	r.max = 4 + sizeof(content) - 333;
	assert_int_equal(thread_start(&t, "reader", read_slowly, &r, &e), 0);
	assert_int_equal(fdfs_net_send_more(fds[0], &v, 1, 5000, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_int_equal(fdfs_net_send_file(fds[0], fd, 333,
			     sizeof(content) - 333, 5000, &n, &e),
	    0);
	assert_int_equal(n, sizeof(content) - 333);
	thread_join(t);
	assert_int_equal(r.n, r.max);
	assert_memory_equal(got, "head", 4);
	assert_memory_equal(got + 4, content + 333, sizeof(content) - 333);
	close(fds[0]);
	close(fds[1]);
	close(fd);
}

/* Whose fault it is that not all went out. */
static void
test_send_file_ends(void **state)
{
	struct err e = ERR_INIT;
	struct rlimit max, none;
	int fds[2], fd = file_of(1000), rc;
	size_t n;

	(void)state;
	pair(fds);
	assert_int_equal(fdfs_net_send_file(fds[0], fd, 0, 5000, 100, &n, &e),
	    ERR_END);
	assert_int_equal(n, 1000);
	fault_arm(FAULT_READ, 1, EIO, true);
	assert_int_equal(fdfs_net_send_file(fds[0], fd, 0, 1000, 100, &n, &e),
	    ERR_IO);
	assert_int_equal(n, 0);
	fault_disarm();
	close(fd);
	fd = file_of(sizeof(content));
	/* Nobody reads. */
	assert_int_equal(fdfs_net_send_file(fds[0], fd, 0, sizeof(content), 100,
			     &n, &e),
	    ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, ETIMEDOUT);
	assert_true(n < sizeof(content));
	/* Nor can it be waited for: nothing that the file could be blamed
	 * for. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &max), 0);
	none = (struct rlimit){ 0, max.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = fdfs_net_send_file(fds[0], fd, 0, sizeof(content), 100, &n, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &max), 0);
	assert_int_equal(rc, ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, EINVAL);
	close(fds[1]);
	assert_int_equal(fdfs_net_send_file(fds[0], fd, 0, 10, 100, &n, &e),
	    ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, EPIPE);
	assert_int_equal(n, 0);
	close(fds[0]);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_says_that_it_waits),
		cmocka_unit_test(test_full_socket),
		cmocka_unit_test(test_send_file),
		cmocka_unit_test(test_send_file_ends),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
