/* tests/unit/replication/test_group_late.c - a change that has an end. */
#include "tests/unit/replication/story.h"

#define NAME "group1/M00/00/00/wKgAAWVT8wCEWVsDAAAAAAAAAAA1234567"

/* By the leader, which is to begin with it within @ms of its clock; 0: whenever. */
static int
change(struct story *st, const char *text, bool is_new, int64_t ms)
{
	int node = sim_group_leader(&st->g), rc;
	struct rep *r = sim_group_enter(&st->g, node);
	struct engine_file_info info;
	struct err e = ERR_INIT;
	struct rep_env env;
	struct rep_change c = { .id = STR_LIT(NAME),
		.class = ENGINE_CLASS_LIST,
		.is_new = is_new,
		.body = str_of(text) };

	sim_env(st->g.s, node, &env);
	c.until_ms = ms == 0 ? 0 : env.ops->now_ms(env.env) + ms;
	rc = rep_change(r, &c, &info, &e);
	sim_leave(st->g.s, node);
	return rc;
}

/* How many have it so. */
static int
have(struct story *st, const char *text)
{
	uint64_t version;
	struct str body = STR_NULL;
	int n = 0;

	for (int i = 0; i < st->g.n; i++)
		n += sim_disk_find(sim_disk(st->g.s, i), STR_LIT(NAME),
			 &version, &body) == ENGINE_LIVE &&
		     str_eqz(body, text);
	return n;
}

static void
release(void *arg)
{
	struct story *st = arg;

	sim_sleep(st->g.s, 300);
	for (int i = 0; i < st->g.n; i++)
		sim_hold(st->g.s, i, 0);
}

static void
tell_end(struct story *st)
{
	int leader = sim_group_leader(&st->g);

	assert_int_equal(change(st, "one", true, 0), 0);
	assert_int_equal(change(st, "two", false, 10000), 0);
	/* It is over already. */
	assert_int_equal(change(st, "late", false, -1), ERR_RETRY);
	/* It is over when what there is has been found out. */
	for (int i = 0; i < st->g.n; i++)
		sim_hold(st->g.s, i, RPC_LOOKUP);
	sim_spawn(st->g.s, SIM_OUTSIDE, release, st);
	assert_int_equal(change(st, "late", false, 200), ERR_RETRY);
	sim_sleep(st->g.s, 2000);
	assert_int_equal(have(st, "late"), 0);
	assert_int_equal(have(st, "two"), 3);
	assert_int_equal(sim_group_leader(&st->g), leader);
	assert_int_equal(change(st, "three", false, 10000), 0);
}

static void
test_end(void **state)
{
	(void)state;
	run(3, tell_end);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
