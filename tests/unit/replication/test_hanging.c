/* tests/unit/replication/test_hanging.c - members that hang: what the others
 * have to do with each other is not held up. */
#include "tests/unit/replication/sim_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NODES 5
#define ASKERS 30
#define NAME "group1/M00/00/00/wKgAAWVT8wCEWVsDAAAAAAAAAAA123%04d"

static struct sim_group g;
static bool is_over;
static unsigned n_asking;

static void
start_all(void)
{
	struct err e = ERR_INIT;
	int i;

	for (i = 0; i < NODES; i++)
		assert_int_equal(sim_group_start(&g, i, &e), 0);
	for (i = 0; i < 1000 && !sim_group_is_well(&g); i++)
		sim_sleep(g.s, 100);
	assert_true(sim_group_is_well(&g));
}

static int64_t
put(int node)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3 };
	struct engine_file_info info;
	struct err e = ERR_INIT;
	int64_t begin = sim_now(g.s);
	struct rep *r = sim_group_enter(&g, node);

	assert_non_null(r);
	assert_int_equal(rep_put(r, &o, -1, STR_LIT("some bytes"), "txt", 0,
			     &info, &e),
	    0);
	sim_leave(g.s, node);
	return sim_now(g.s) - begin;
}

/* Every peer is asked for what none has. */
static void
ask(void *arg)
{
	char name[100];
	int n = 0;

	(void)arg;
	n_asking++;
	while (!is_over) {
		struct rep *r = sim_group_enter(&g, 0);
		struct rep_file *f;
		struct err e = ERR_INIT;

		snprintf(name, sizeof(name), NAME, n++ % 1000);
		if (rep_file_open(r, str_of(name), &f, &e) == 0)
			rep_file_close(&f);
		sim_leave(g.s, 0);
		sim_sleep(g.s, 10);
	}
	n_asking--;
}

static void
tell(void *arg)
{
	int64_t took, longest = 0;
	bool *is_done = arg;
	int i;

	start_all();
	/* Frozen: what is sent there gets no answer. */
	for (i = 0; i < NODES; i++) {
		if (i != 3)
			sim_cut(g.s, 3, i, true);
		if (i != 4)
			sim_cut(g.s, 4, i, true);
	}
	for (i = 0; i < ASKERS; i++)
		sim_spawn(g.s, SIM_OUTSIDE, ask, NULL);
	for (i = 0; i < 60; i++) {
		sim_sleep(g.s, 50);
		took = put(0);
		if (took > longest)
			longest = took;
	}
	is_over = true;
	while (n_asking > 0)
		sim_sleep(g.s, 100);
	sim_group_stop_all(&g);
	*is_done = true;
	printf("longest put: %jd ms\n", (intmax_t)longest);
	assert_true(longest < 300);
}

/* Two of five hang, and everything that is asked goes to all: a write, that two
 * of the others can acknowledge, does not wait for them. */
static void
test_two_of_five(void **state)
{
	struct sim *s = sim_new(42);
	bool is_done = false;

	(void)state;
	sim_calm(s);
	sim_group_init(&g, s, NODES);
	sim_spawn(s, SIM_OUTSIDE, tell, &is_done);
	sim_run(s, 1000000);
	assert_true(is_done);
	sim_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_of_five),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
