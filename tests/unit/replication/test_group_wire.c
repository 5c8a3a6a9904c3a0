/* tests/unit/replication/test_group_wire.c - what members tell each other is
 * changed on its way, and what
 * they remember of each other does not fit. */
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

static bool
is_active(struct story *st, int node)
{
	struct rep_status s;
	struct rep *r = sim_group_enter(&st->g, node);

	rep_status(r, &s);
	sim_leave(st->g.s, node);
	return s.state == FDFS_STATE_ACTIVE;
}

static int
change(struct story *st)
{
	struct rep_change c = { .id = STR_LIT("group1/M00/00/00/"
					      "wKgAAWVT8wCEWVsDAAAAAAAAAAA1234"
					      "567"),
		.class = ENGINE_CLASS_LIST,
		.body = STR_LIT("x") };
	int node = sim_group_leader(&st->g), rc;
	struct engine_file_info info;
	struct err e = ERR_INIT;
	struct rep *r;

	if (node < 0)
		return ERR_RETRY;
	r = sim_group_enter(&st->g, node);
	c.is_new = rep_read_newest(r, c.id, &info, NULL, &e) == ERR_NOT_FOUND;
	rc = rep_change(r, &c, &info, &e);
	sim_leave(st->g.s, node);
	return rc;
}

/* Who was away for longer than the others' logs remember their volumes reads them
 * from the beginning; the others have lost nothing, and know it: with yet
 * another one away, changes go on. */
static void
tell_outgrown(struct story *st)
{
	struct engine_file_info f[30];
	struct err e = ERR_INIT;
	char why[300];
	int i;

	for (i = 0; i < 10; i++)
		assert_int_equal(put(st, i % 3, 1000, &f[i]), 0);
	assert_int_equal(change(st), 0);
	sim_sleep(st->g.s, 20000);
	sim_group_stop(&st->g, 2);
	for (i = 10; i < 30; i++)
		assert_int_equal(put(st, i % 2, 1000, &f[i]), 0);
	for (i = 0; i < 2; i++)
		sim_disk_outgrow(sim_disk(st->g.s, i));
	/* Those two know each other's logs to the end. */
	sim_sleep(st->g.s, 5000);
	sim_group_stop(&st->g, 1);
	assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
	for (i = 0; i < 400; i++) {
		assert_true(is_active(st, 0));
		sim_sleep(st->g.s, 50);
	}
	assert_true(is_active(st, 2));
	for (i = 0; i < 100 && change(st) != 0; i++)
		sim_sleep(st->g.s, 200);
	assert_int_equal(change(st), 0);
	sim_sleep(st->g.s, 3000);
	assert_true(sim_disk_same(sim_disk(st->g.s, 0), sim_disk(st->g.s, 2),
	    why, sizeof(why)));
	for (i = 0; i < 30; i++)
		assert_int_equal(get(st, 2, &f[i]), 0);
}

static void
test_outgrown(void **state)
{
	(void)state;
	run(3, tell_outgrown);
}

/* And one whose disk was put back is found out by the others' cursors. */
static void
tell_put_back(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	struct rep_status s;
	struct sim_disk *old;
	bool was_told = false;
	char why[300];
	int i;

	assert_int_equal(put(st, 0, 1000, &f), 0);
	sim_sleep(st->g.s, 3000);
	old = sim_disk_copy(st->g.s, 2);
	for (i = 0; i < 20; i++)
		assert_int_equal(put(st, 2, 1000, &f), 0);
	sim_sleep(st->g.s, 5000);
	sim_group_stop(&st->g, 2);
	sim_disk_put_back(st->g.s, 2, old);
	assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
	for (i = 0; i < 400; i++) {
		rep_status(st->g.v[2].r, &s);
		was_told = was_told || s.state == FDFS_STATE_RECOVERY;
		assert_true(is_active(st, 0) && is_active(st, 1));
		sim_sleep(st->g.s, 10);
	}
	assert_true(was_told);
	wait_well(st);
	assert_true(sim_disk_same(sim_disk(st->g.s, 0), sim_disk(st->g.s, 2),
	    why, sizeof(why)));
	sim_disk_free(&old);
}

static void
test_put_back(void **state)
{
	(void)state;
	run(3, tell_put_back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbled),
		cmocka_unit_test(test_outgrown),
		cmocka_unit_test(test_put_back),
	};

	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
