/* tests/unit/replication/test_group_away.c - P8: who was away from its group for
 * longer than tombstones are kept (here: a minute) is not taken back, whatever
 * clocks say, and nobody else is refused. */
#include "tests/unit/replication/story.h"

#include "lib/hash.h"
#include "storage/replication/rep_int.h"

#include <stdio.h>

#define KEEP_S 60

static void
delete_at(struct story *st, int node, const struct engine_file_info *f)
{
	struct err e = ERR_INIT;
	struct rep *r = sim_group_enter(&st->g, node);
	struct str id = str_of(f->id);

	assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
	sim_leave(st->g.s, node);
}

static bool
has_expired(struct story *st, int node)
{
	struct rep *r = sim_group_enter(&st->g, node);
	struct rep_status s;

	rep_status(r, &s);
	sim_leave(st->g.s, node);
	return s.state == FDFS_STATE_OFFLINE &&
	       strstr(s.reason, "out of touch") != NULL;
}

static int64_t
age_at(struct story *st, int node)
{
	int64_t age = (int64_t)away_age(sim_group_enter(&st->g, node));

	sim_leave(st->g.s, node);
	return age;
}

/* Node 2 was away while a file was deleted and its tombstone dropped; it is there
 * again: the file stays deleted. */
static void
stays_deleted(struct story *st, const struct engine_file_info *f)
{
	struct engine_file_info other;
	struct err e = ERR_INIT;
	uint64_t version;
	struct str b;
	int i;

	for (i = 0; i < 600; i++) {
		/* Reading looks everywhere, and brings here what it finds. */
		assert_true(get(st, i % 2, f) < 0);
		sim_sleep(st->g.s, 20);
	}
	for (i = 0; i < 2; i++)
		assert_int_not_equal(sim_disk_find(sim_disk(st->g.s, i),
					 str_of(f->id), &version, &b),
		    ENGINE_LIVE);
	assert_true(has_expired(st, 2));
	assert_true(get(st, 2, f) < 0);
	assert_true(put(st, 2, 100, &other) < 0);
	/* The others are none the worse for it. */
	assert_int_equal(put(st, 0, 100, &other), 0);
	assert_int_equal(get(st, 1, &other), 0);
	sim_group_stop(&st->g, 2);
	assert_int_equal(sim_group_start(&st->g, 2, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "out of touch"));
	sim_disk_wipe(st->g.s, 2);
	assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
	wait_well(st);
	assert_int_equal(copies(st, f->id), 0);
}

/* What is deleted is forgotten: no tombstone is there any more. */
static void
delete_and_forget(struct story *st, const struct engine_file_info *f)
{
	int i;

	delete_at(st, 0, f);
	sim_sleep(st->g.s, 3000);
	for (i = 0; i < 2; i++)
		sim_disk_forget(sim_disk(st->g.s, i), str_of(f->id));
}

static void
put_everywhere(struct story *st, struct engine_file_info *f)
{
	assert_int_equal(put(st, 0, 1000, f), 0);
	sim_sleep(st->g.s, 5000);
	assert_int_equal(copies(st, f->id), 3);
}

static void
tell_stopped(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;

	put_everywhere(st, &f);
	sim_group_stop(&st->g, 2);
	delete_and_forget(st, &f);
	sim_sleep(st->g.s, (KEEP_S + 10) * 1000);
	/* A clock that was set back does not make it short. */
	sim_clock_jump(st->g.s, 2, -400 * 86400);
	assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
	stays_deleted(st, &f);
}

static void
tell_cut(struct story *st)
{
	struct engine_file_info f;
	int i;

	put_everywhere(st, &f);
	for (i = 0; i < 2; i++)
		sim_cut(st->g.s, i, 2, true);
	sim_sleep(st->g.s, 3000);
	delete_and_forget(st, &f);
	sim_sleep(st->g.s, (KEEP_S + 10) * 1000);
	sim_heal(st->g.s);
	stays_deleted(st, &f);
}

/* A group that stood still all the time has deleted nothing. */
static void
tell_all_down(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	int i;

	put_everywhere(st, &f);
	for (i = 0; i < 3; i++)
		sim_group_stop(&st->g, i);
	sim_sleep(st->g.s, 3 * KEEP_S * 1000);
	for (i = 0; i < 3; i++) {
		sim_clock_jump(st->g.s, i, (i - 1) * 300 * 86400);
		assert_int_equal(sim_group_start(&st->g, i, &e), 0);
	}
	wait_well(st);
	for (i = 0; i < 3; i++)
		assert_int_equal(get(st, i, &f), 0);
	/* Nor has one while all its members were apart. */
	sim_cut(st->g.s, 0, 1, true);
	sim_cut(st->g.s, 0, 2, true);
	sim_cut(st->g.s, 1, 2, true);
	sim_sleep(st->g.s, 3 * KEEP_S * 1000);
	sim_heal(st->g.s);
	sim_sleep(st->g.s, 5000);
	wait_well(st);
	for (i = 0; i < 3; i++)
		assert_false(has_expired(st, i));
	assert_int_equal(put(st, 2, 1000, &f), 0);
}

/* Away for a while, often, with clocks that are wrong: it comes back. */
static void
tell_not_long(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	int i;

	for (i = 0; i < 6; i++) {
		put_everywhere(st, &f);
		if (i % 2 == 0)
			sim_group_stop(&st->g, 2);
		else
			sim_cut(st->g.s, 0, 2, true),
			    sim_cut(st->g.s, 1, 2, true);
		delete_at(st, 0, &f);
		sim_sleep(st->g.s, KEEP_S / 2 * 1000);
		sim_clock_jump(st->g.s, 2, (i % 3 - 1) * 1000 * 86400);
		sim_clock_jump(st->g.s, 1, 500 * 86400);
		if (i % 2 == 0)
			assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
		else
			sim_heal(st->g.s);
		sim_sleep(st->g.s, 8000);
		wait_well(st);
		assert_int_equal(copies(st, f.id), 0);
	}
}

/* W4: what may be forgotten is what was made KEEP_S ago and more, whatever happened
 * to the clock since, and nothing at all of what is not known to be so old. */
static void
tell_forgetting(struct story *st)
{
	struct err e = ERR_INIT;
	int64_t t0 = 1700000000 + sim_now(st->g.s) / 1000, now, s;
	int i;

	for (i = 0; i < 40; i++) {
		s = sim_disk_forgets(sim_disk(st->g.s, 0));
		assert_true(s == INT64_MIN);
		sim_sleep(st->g.s, 1000);
	}
	sim_clock_jump(st->g.s, 0, 400 * 86400); /* ahead, and so it stays */
	sim_clock_jump(st->g.s, 1, 400 * 86400); /* for a moment */
	sim_sleep(st->g.s, 3000);
	sim_clock_jump(st->g.s, 1, -400 * 86400);
	sim_clock_jump(st->g.s, 2, -400 * 86400);
	for (i = 0; i < 50; i++) {
		now = 1700000000 + sim_now(st->g.s) / 1000;
		s = sim_disk_forgets(sim_disk(st->g.s, 0));
		assert_true(s <= now - KEEP_S);
		s = sim_disk_forgets(sim_disk(st->g.s, 1));
		assert_true(s <= now - KEEP_S);
		if (i == 25) { /* known after a start, too */
			sim_group_stop(&st->g, 0);
			assert_int_equal(sim_group_start(&st->g, 0, &e), 0);
		}
		sim_sleep(st->g.s, 1000);
	}
	for (i = 0; i < 2; i++)
		assert_true(sim_disk_forgets(sim_disk(st->g.s, i)) > t0 - 10);
}

static void
test_forgetting(void **state)
{
	(void)state;
	run(3, tell_forgetting);
}

/* W1: the age goes on as time does, however often members tell each other theirs. */
static void
tell_pace(struct story *st)
{
	int64_t t0 = sim_now(st->g.s), age0 = age_at(st, 0), passed;
	struct engine_file_info f;
	int i;

	for (i = 0; i < 300; i++) {
		assert_int_equal(put(st, i % 3, 1000, &f), 0);
		sim_sleep(st->g.s, 100);
	}
	passed = sim_now(st->g.s) - t0;
	for (i = 0; i < 3; i++)
		assert_in_range(age_at(st, i) - age0, passed - 1000,
		    passed + 1000);
}

static void
test_pace(void **state)
{
	(void)state;
	run(3, tell_pace);
}

/* In a group of two a delete needs both. */
static void
tell_two(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;

	assert_int_equal(put(st, 0, 1000, &f), 0);
	sim_group_stop(&st->g, 1);
	sim_sleep(st->g.s, 3 * KEEP_S * 1000);
	sim_clock_jump(st->g.s, 1, 400 * 86400);
	assert_int_equal(sim_group_start(&st->g, 1, &e), 0);
	wait_well(st);
	assert_int_equal(get(st, 1, &f), 0);
}

static void
test_stopped(void **state)
{
	(void)state;
	run(3, tell_stopped);
}

static void
test_cut(void **state)
{
	(void)state;
	run(3, tell_cut);
}

static void
test_all_down(void **state)
{
	(void)state;
	run(3, tell_all_down);
}

static void
test_not_long(void **state)
{
	(void)state;
	run(3, tell_not_long);
}

static void
test_two(void **state)
{
	(void)state;
	run(2, tell_two);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_all_down),
		cmocka_unit_test(test_not_long),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_forgetting),
		cmocka_unit_test(test_pace),
	};

	keep_s = KEEP_S;
	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
