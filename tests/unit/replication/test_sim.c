/* tests/unit/replication/test_sim.c - the simulation itself: a seed is one
 * history; crashes lose nothing that a call returned from; messages get lost. */
#include "tests/unit/replication/sim.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
	struct sim *s;
	unsigned served, answered, lost, saved;
};

static int
serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct world *w = arg;

	(void)from;
	(void)e;
	w->served++;
	sim_sleep(w->s, 1);
	return buf_adds(&a->args, q->args);
}

static void
ask(void *arg)
{
	struct world *w = arg;
	struct rep_env env;
	struct rpc_reply r;
	struct fdfs_addr to;
	struct err e = ERR_INIT;
	int i, rc;

	for (i = 0; i < 20; i++) {
		if (!sim_enter(w->s, 0))
			return;
		sim_env(w->s, 0, &env);
		sim_addr(1, &to);
		r = (struct rpc_reply){ .args = BUF_CAP(RPC_ARGS_MAX),
			.body = BUF_CAP(RPC_BODY_MAX) };
		rc = env.ops->call(env.env, &to,
		    &(struct rpc_request){ .op = RPC_LOOKUP,
			.args = STR_LIT("hello") },
		    100, &r, &e);
		if (rc == 0) {
			assert_true(str_eqz(buf_str(&r.args), "hello"));
			w->answered++;
		} else {
			w->lost++;
		}
		buf_fini(&r.args);
		buf_fini(&r.body);
		if (env.store_ops->save(env.store, "x", STR_LIT("1"), &e) == 0)
			w->saved++;
		sim_leave(w->s, 0);
		sim_sleep(w->s, 5);
	}
}

static void
killer(void *arg)
{
	struct world *w = arg;

	sim_sleep(w->s, 150);
	sim_stop(w->s, 1);
	sim_sleep(w->s, 100);
	sim_start(w->s, 1, serve, w);
	sim_sleep(w->s, 100);
	sim_stop(w->s, 0);
	sim_stop(w->s, 1);
}

static struct world
history(uint64_t seed, uint64_t *ret)
{
	struct world w = { .s = sim_new(seed) };

	sim_network(w.s, 10, 5);
	sim_start(w.s, 0, serve, &w);
	sim_start(w.s, 1, serve, &w);
	sim_spawn(w.s, SIM_OUTSIDE, ask, &w);
	sim_spawn(w.s, SIM_OUTSIDE, ask, &w);
	sim_spawn(w.s, SIM_OUTSIDE, killer, &w);
	assert_true(sim_run(w.s, 100000));
	*ret = sim_history(w.s);
	sim_free(&w.s);
	return w;
}

static void
test_repeats(void **state)
{
	uint64_t a, b, c;
	struct world x, y;

	(void)state;
	x = history(7, &a);
	y = history(7, &b);
	history(8, &c);
	assert_true(a == b);
	assert_true(a != c);
	assert_int_equal(x.answered, y.answered);
	assert_true(x.answered > 0 && x.lost > 0 && x.saved > 0);
	assert_true(x.served >= x.answered);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repeats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
