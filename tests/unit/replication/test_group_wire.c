/* tests/unit/replication/test_group_wire.c - what members tell each other is
 * changed on its way. */
#include "tests/unit/replication/story.h"

/* Pieces of large files from one of two holders have a flipped bit: they are read,
 * and copied, from the other one. */
static void
tell_garbled(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	char why[300];
	int i, round;

	for (round = 0; round < 4; round++) {
		sim_group_stop(&st->g, 2);
		sim_garble(st->g.s, round % 2, true);
		assert_int_equal(put(st, 0, sizeof(big), &f), 0);
		assert_int_equal(copies(st, f.id), 2);
		assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
		assert_int_equal(get_soon(st, 2, &f), 0);
		for (i = 0; i < 600 && copies(st, f.id) < 3; i++)
			sim_sleep(st->g.s, 100);
		for (i = 0; i < 3; i++)
			assert_int_equal(get(st, i, &f), 0);
		assert_true(sim_disk_same(sim_disk(st->g.s, 1),
		    sim_disk(st->g.s, 2), why, sizeof(why)));
		/* Read through, from either. */
		sim_disk_forget(sim_disk(st->g.s, 2), str_of(f.id));
		assert_int_equal(get(st, 2, &f), 0);
		for (i = 0; i < 600 && copies(st, f.id) < 3; i++)
			sim_sleep(st->g.s, 100);
		sim_garble(st->g.s, round % 2, false);
	}
	assert_true(sim_garbled(st->g.s) > 0);
}

static void
test_garbled(void **state)
{
	(void)state;
	run(3, tell_garbled);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbled),
	};

	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
