/* The environment of a real node: tasks, gates, sleeping, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/replication/threads.h"

#include "fdfs/net.h"

#include "lib/clock.h"

#include <stdatomic.h>
#include <unistd.h>

static const struct rep_env_ops *const ops = &rep_thread_ops;

struct shared {
	struct rep_threads *t;
	void *gate, *done;
	atomic_int n, woken;
	struct fdfs_addr deaf;
	atomic_int rc;
	int64_t ms;
};

static struct rep_threads *
open_threads(void)
{
	struct rep_threads_opts o = {
		.client = { .self = { .kind = RPC_NODE,
				.secret = STR_LIT("0123456789abcdef") },
		    .io_ms = 30000 }
	};
	struct rep_threads *t;

	assert_int_equal(rep_threads_open(&o, &t, NULL), 0);
	assert_non_null(rep_threads_client(t));
	return t;
}

static void
wait_gate(void *arg)
{
	struct shared *s = arg;

	if (ops->gate_wait(s->t, s->gate, 60000))
		atomic_fetch_add(&s->woken, 1);
	if (atomic_fetch_sub(&s->n, 1) == 1)
		ops->gate_signal(s->t, s->done);
}

static void
test_gates(void **state)
{
	struct shared s = { .t = open_threads() };

	(void)state;
	s.gate = ops->gate_new(s.t);
	s.done = ops->gate_new(s.t);
	atomic_store(&s.n, 96);
	for (int i = 0; i < 96; i++)
		assert_int_equal(ops->spawn(s.t, wait_gate, &s, NULL), 0);
	/* 96 at once, no more. */
	assert_int_equal(ops->spawn(s.t, wait_gate, &s, NULL), ERR_BUSY);
	assert_false(ops->gate_wait(s.t, s.gate, 10));
	assert_false(ops->gate_wait(s.t, s.done, 0));
	ops->gate_signal(s.t, s.gate);
	assert_true(ops->gate_wait(s.t, s.done, 10000));
	assert_int_equal(atomic_load(&s.woken), 96);
	/* It stays signalled. */
	assert_true(ops->gate_wait(s.t, s.gate, 0));
	/* And there is room again, over and over. */
	for (int i = 0; i < 200; i++) {
		ops->gate_free(s.t, s.done);
		s.done = ops->gate_new(s.t);
		atomic_store(&s.n, 1);
		assert_int_equal(ops->spawn(s.t, wait_gate, &s, NULL), 0);
		assert_true(ops->gate_wait(s.t, s.done, 10000));
		clock_sleep_ms(i % 20 == 0);
	}
	ops->gate_free(s.t, s.gate);
	ops->gate_free(s.t, s.done);
	rep_threads_close(&s.t);
	assert_null(s.t);
}

static void
test_time(void **state)
{
	struct rep_threads *t = open_threads();
	int64_t begin = ops->now_ms(t);

	(void)state;
	assert_true(ops->sleep(t, 30));
	assert_true(ops->now_ms(t) - begin >= 29);
	assert_true(ops->sleep(t, 0));
	assert_true(ops->real_s(t) > 1700000000);
	assert_true(ops->random(t) != ops->random(t));
	ops->event(t, 0, "nobody listens");
	rep_threads_close(&t);
}

static void
sleep_long(void *arg)
{
	struct shared *s = arg;

	if (!ops->sleep(s->t, 600000))
		atomic_fetch_add(&s->woken, 1);
}

static void
wait_long(void *arg)
{
	struct shared *s = arg;
	void *gate = ops->gate_new(s->t);

	if (!ops->gate_wait(s->t, gate, 600000))
		atomic_fetch_add(&s->woken, 1);
	ops->gate_free(s->t, gate);
}

static void
call_long(void *arg)
{
	struct shared *s = arg;
	struct rpc_request q = { .op = RPC_STAT };

	if (ops->call(s->t, &s->deaf, &q, 60000, NULL, NULL) == ERR_CLOSED)
		atomic_fetch_add(&s->woken, 1);
}

static void
test_stop(void **state)
{
	struct shared s = { .t = open_threads(),
		.deaf = { .ip = "127.0.0.1" } };
	struct rpc_request q = { .op = RPC_STAT };
	int64_t begin;
	int fd;

	(void)state;
	assert_int_equal(fdfs_net_listen("127.0.0.1", 0, &fd, &s.deaf.port,
			     NULL),
	    0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ops->spawn(s.t, sleep_long, &s, NULL), 0);
		assert_int_equal(ops->spawn(s.t, wait_long, &s, NULL), 0);
		assert_int_equal(ops->spawn(s.t, call_long, &s, NULL), 0);
	}
	clock_sleep_ms(50);
	begin = ops->now_ms(s.t);
	rep_threads_stop(s.t);
	assert_int_equal(ops->call(s.t, &s.deaf, &q, 0, NULL, NULL),
	    ERR_CLOSED);
	assert_int_equal(ops->spawn(s.t, wait_long, &s, NULL), ERR_CLOSED);
	assert_false(ops->sleep(s.t, 1000));
	assert_true(ops->now_ms(s.t) - begin < 900);
	rep_threads_close(&s.t);
	assert_int_equal(atomic_load(&s.woken), 15);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gates),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
