/* tests/unit/replication/test_group_tomb.c - a reader has lost what it knew of a
 * file, and hears of a tombstone from one peer: that is an answer, no hole. */
#include "tests/unit/replication/story.h"

static void
delete_at(struct story *st, int node, const struct engine_file_info *f)
{
	struct rep *r = sim_group_enter(&st->g, node);
	struct str id = str_of(f->id);
	struct err e = ERR_INIT;

	assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
	sim_leave(st->g.s, node);
}

static enum engine_known
known_at(struct story *st, int node, const struct engine_file_info *f)
{
	uint64_t version;
	struct str body;

	return sim_disk_find(sim_disk(st->g.s, node), str_of(f->id), &version,
	    &body);
}

/* Deleted at nodes 0 and 1; node 2, which takes nothing any more, has it still, and
 * node 0 forgets. */
static void
set_up(struct story *st, struct engine_file_info *f)
{
	assert_int_equal(put(st, 0, 1000, f), 0);
	for (int i = 0; i < 100 && copies(st, f->id) < 3; i++)
		sim_sleep(st->g.s, 100);
	sim_disk_fail(sim_disk(st->g.s, 2), true);
	delete_at(st, 1, f);
	sim_sleep(st->g.s, 2000);
	sim_disk_forget(sim_disk(st->g.s, 0), str_of(f->id));
	assert_int_equal(known_at(st, 0, f), ENGINE_UNKNOWN);
	assert_int_equal(known_at(st, 1, f), ENGINE_TOMB);
	assert_int_equal(known_at(st, 2, f), ENGINE_LIVE);
}

/* An older copy elsewhere is not the file, whoever answers first. */
static void
tell_beside_older_copy(struct story *st)
{
	struct engine_file_info f;

	set_up(st, &f);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(get(st, 0, &f), ERR_NOT_FOUND);
		assert_int_equal(known_at(st, 0, &f), ENGINE_UNKNOWN);
	}
}

/* One is enough; none of them is not, by the same one member's silence. */
static void
tell_alone(struct story *st)
{
	struct engine_file_info f;

	set_up(st, &f);
	sim_cut(st->g.s, 0, 2, true);
	for (int i = 0; i < 20; i++)
		assert_int_equal(get(st, 0, &f), ERR_NOT_FOUND);
	sim_cut(st->g.s, 0, 1, true);
	assert_int_equal(get(st, 0, &f), ERR_RETRY);
}

static void
test_beside_older_copy(void **state)
{
	(void)state;
	run(3, tell_beside_older_copy);
}

static void
test_alone(void **state)
{
	(void)state;
	run(3, tell_alone);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside_older_copy),
		cmocka_unit_test(test_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
