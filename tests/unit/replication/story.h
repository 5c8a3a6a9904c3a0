/* tests/unit/replication/story.h - what happens to one group in a simulation,
 * told by a function: the group is well when it begins. Files are the beginnings
 * of `big`, with the note "note". For one test program, with cmocka. */
#ifndef TEST_STORY_H
#define TEST_STORY_H

#include "tests/unit/replication/sim_group.h"

#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STORY static __attribute__((unused))

struct story {
	struct sim_group g;
	void (*fn)(struct story *st);
	bool is_done, is_written;
};

STORY bool is_degraded; /* of the groups to come */
STORY size_t small_limit;
STORY int64_t keep_s; /* tombstones; 0: as long as usual */

STORY void
wait_well(struct story *st)
{
	int i;

	for (i = 0; i < 1000 && !sim_group_is_well(&st->g); i++)
		sim_sleep(st->g.s, 100);
	assert_true(sim_group_is_well(&st->g));
}

STORY void
start_all(struct story *st)
{
	struct err e = ERR_INIT;
	int i;

	for (i = 0; i < st->g.n; i++)
		assert_int_equal(sim_group_start(&st->g, i, &e), 0);
	wait_well(st);
}

STORY void
tell(void *arg)
{
	struct story *st = arg;

	start_all(st);
	st->fn(st);
	sim_group_stop_all(&st->g);
	st->is_done = true;
}

STORY void
run(int n, void (*fn)(struct story *st))
{
	struct story st = { .fn = fn };
	struct sim *s = sim_new(42);

	sim_calm(s);
	if (small_limit != 0)
		sim_set_small(s, small_limit);
	sim_group_init(&st.g, s, n);
	st.g.conf.degraded_writes = is_degraded;
	st.g.conf.tombstone_keep_s = keep_s;
	sim_spawn(s, SIM_OUTSIDE, tell, &st);
	sim_run(s, 1000000);
	assert_true(st.is_done);
	sim_free(&s);
}

STORY char big[3 * 1024 * 1024 + 17];

STORY void
fill(void)
{
	size_t i;

	for (i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 131 + i / 1000);
}

STORY struct str
body(size_t len)
{
	return str_mem(big, len);
}

STORY int
put(struct story *st, int node, size_t len, struct engine_file_info *ret)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3,
		.note = STR_LIT("note") };
	struct err e = ERR_INIT;
	struct rep *r = sim_group_enter(&st->g, node);
	int rc;

	assert_non_null(r);
	rc = rep_put(r, &o, -1, body(len), "txt", 0, ret, &e);
	sim_leave(st->g.s, node);
	if (rc < 0)
		sim_trace(st->g.s, "put at %d: %s", node, e.msg);
	return rc;
}

/* 0: as it was written. */
STORY int
get(struct story *st, int node, const struct engine_file_info *f)
{
	struct err e = ERR_INIT;
	struct rep *r = sim_group_enter(&st->g, node);
	struct engine_file_info info;
	struct rep_file *rf;
	char *p = mem_alloc(f->size + 1);
	size_t n;
	int rc;

	assert_non_null(r);
	rc = rep_file_open(r, str_of(f->id), &rf, &e);
	if (rc == 0) {
		rep_file_info(rf, &info);
		assert_int_equal(info.size, f->size);
		assert_true(str_eqz(rep_file_note(rf), "note"));
		rc = rep_file_read(rf, 0, p, f->size, &n, &e);
		if (rc == 0) {
			assert_int_equal(n, f->size);
			assert_memory_equal(p, big, n);
		}
		rep_file_close(&rf);
	}
	sim_leave(st->g.s, node);
	mem_free(&p);
	return rc;
}

/* A node that was wiped must be a member again first. */
STORY int
get_soon(struct story *st, int node, const struct engine_file_info *f)
{
	int i, rc = ERR_RETRY;

	for (i = 0; i < 100 && rc == ERR_RETRY; i++) {
		rc = get(st, node, f);
		if (rc == ERR_RETRY)
			sim_sleep(st->g.s, 50);
	}
	return rc;
}

STORY int
copies(struct story *st, const char *id)
{
	uint64_t version;
	struct str b;
	int i, n = 0;

	for (i = 0; i < st->g.n; i++)
		n += sim_disk_find(sim_disk(st->g.s, i), str_of(id), &version,
			 &b) == ENGINE_LIVE;
	return n;
}

#endif
