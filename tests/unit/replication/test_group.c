/* tests/unit/replication/test_group.c - a group whose nodes are well: every
 * call of rep.h does what it says. */
#include "tests/unit/replication/story.h"

#include "lib/hash.h"

#include <stdio.h>

static const size_t sizes[] = { 0, 1, 1000, 100000, 1024 * 1024,
	1024 * 1024 + 1, sizeof(big) };

static void
tell_put_get(struct story *st)
{
	struct engine_file_info f;
	size_t i;
	int node;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(put(st, 1, sizes[i], &f), 0);
		assert_true(copies(st, f.id) >= 2);
		for (node = 0; node < st->g.n; node++)
			assert_int_equal(get(st, node, &f), 0);
		sim_sleep(st->g.s, 1500);
		assert_int_equal(copies(st, f.id), st->g.n);
	}
}

static void
test_put_get(void **state)
{
	(void)state;
	run(3, tell_put_get);
	run(2, tell_put_get);
}

/* What is small between nodes may be large to a store, and the reverse. */
static void
test_small_limits(void **state)
{
	(void)state;
	small_limit = 4096;
	run(3, tell_put_get);
	small_limit = 8 << 20;
	run(3, tell_put_get);
	small_limit = 0;
}

static void
tell_alone(struct story *st)
{
	struct engine_file_info f;
	struct str id;
	struct err e = ERR_INIT;
	struct rep *r;

	assert_int_equal(put(st, 0, 1000, &f), 0);
	assert_int_equal(get(st, 0, &f), 0);
	r = sim_group_enter(&st->g, 0);
	id = str_of(f.id);
	assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
	sim_leave(st->g.s, 0);
	assert_int_equal(get(st, 0, &f), ERR_NOT_FOUND);
}

static void
test_alone(void **state)
{
	(void)state;
	run(1, tell_alone);
}

static int
count_live(void *arg, const uint8_t key[ENGINE_KEY],
    const struct engine_version *v)
{
	(void)key;
	*(size_t *)arg += v->known == ENGINE_LIVE;
	return 0;
}

static size_t
live_files(struct story *st, int node)
{
	static const uint8_t lowest[ENGINE_KEY];
	uint8_t highest[ENGINE_KEY];
	struct err e = ERR_INIT;
	struct rep_env env;
	size_t n = 0;

	memset(highest, 0xff, sizeof(highest));
	assert_true(sim_enter(st->g.s, node));
	sim_env(st->g.s, node, &env);
	assert_int_equal(env.store_ops->range(env.store, lowest, highest, 1000,
			     count_live, &n, &e),
	    0);
	sim_leave(st->g.s, node);
	return n;
}

/* Two of three are gone: refused, and what was written goes again. */
static void
tell_refused(struct story *st)
{
	struct engine_file_info f, kept;
	struct err e = ERR_INIT;
	size_t sz[] = { 100, sizeof(big) }, i;

	assert_int_equal(put(st, 0, 100, &kept), 0);
	sim_sleep(st->g.s, 1500);
	sim_group_stop(&st->g, 1);
	sim_group_stop(&st->g, 2);
	for (i = 0; i < 2; i++)
		assert_int_equal(put(st, 0, sz[i], &f), ERR_BUSY);
	assert_int_equal(get(st, 0, &kept), 0);
	assert_int_equal(sim_group_start(&st->g, 1, &e), 0);
	assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
	for (i = 0; i < 300 && !sim_group_is_well(&st->g); i++)
		sim_sleep(st->g.s, 100);
	assert_true(sim_group_is_well(&st->g));
	assert_int_equal(sim_disk_count(sim_disk(st->g.s, 0)), 3);
	sim_sleep(st->g.s, 3000);
	assert_int_equal(sim_disk_count(sim_disk(st->g.s, 2)), 3);
	assert_int_equal(copies(st, kept.id), 3);
	for (i = 0; i < 3; i++) /* those that were refused are tombstones */
		assert_int_equal(live_files(st, (int)i), 1);
	assert_int_equal(put(st, 0, 100, &f), 0);
}

static void
test_refused(void **state)
{
	(void)state;
	run(3, tell_refused);
}

/* A delete that was acknowledged holds at all members within reach, not only at
 * a majority; one that hangs is not waited for again and again. */
static void
tell_deleted_everywhere(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	struct rep *r;
	struct str id;
	int64_t begin;
	int i, k;

	for (i = 0; i < 60; i++) {
		assert_int_equal(put(st, i % 3, 1000, &f), 0);
		id = str_of(f.id);
		r = sim_group_enter(&st->g, (i + 1) % 3);
		assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
		sim_leave(st->g.s, (i + 1) % 3);
		for (k = 0; k < 3; k++)
			assert_int_equal(get(st, k, &f), ERR_NOT_FOUND);
	}
	sim_cut(st->g.s, 0, 2, true);
	sim_cut(st->g.s, 1, 2, true);
	begin = sim_now(st->g.s);
	for (i = 0; i < 60; i++) {
		assert_int_equal(put(st, 0, 1000, &f), 0);
		id = str_of(f.id);
		r = sim_group_enter(&st->g, 1);
		assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
		sim_leave(st->g.s, 1);
	}
	assert_true(sim_now(st->g.s) - begin < 10000);
}

static void
test_deleted_everywhere(void **state)
{
	(void)state;
	run(3, tell_deleted_everywhere);
}

/* A node is away, catches up; is wiped, and is filled again. */
static void
tell_away(struct story *st)
{
	struct engine_file_info f[40];
	struct err e = ERR_INIT;
	struct str id;
	struct rep *r;
	char why[300];
	int i, round;

	for (round = 0; round < 2; round++) {
		sim_group_stop(&st->g, 2);
		if (round == 1)
			sim_disk_wipe(st->g.s, 2);
		for (i = 0; i < 40; i++)
			assert_int_equal(put(st, i % 2,
					     i == 7 ? sizeof(big)
						    : (size_t)i * 100,
					     &f[i]),
			    0);
		r = sim_group_enter(&st->g, 0);
		id = str_of(f[3].id);
		assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
		sim_leave(st->g.s, 0);
		assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
		/* Before it has caught up it reads through. */
		assert_int_equal(get_soon(st, 2, &f[5]), 0);
		assert_int_equal(get_soon(st, 2, &f[7]), 0);
		for (i = 0; i < 600 && !sim_group_is_well(&st->g); i++)
			sim_sleep(st->g.s, 100);
		assert_true(sim_group_is_well(&st->g));
		sim_sleep(st->g.s, 3000);
		assert_true(sim_disk_same(sim_disk(st->g.s, 0),
		    sim_disk(st->g.s, 2), why, sizeof(why)));
		assert_int_equal(get(st, 2, &f[3]), ERR_NOT_FOUND);
	}
}

static void
test_away(void **state)
{
	(void)state;
	run(3, tell_away);
}

static void
tell_damage(struct story *st)
{
	struct engine_file_info f;
	char why[300];

	assert_int_equal(put(st, 0, 5000, &f), 0);
	sim_sleep(st->g.s, 2000);
	assert_true(sim_disk_damage(st->g.s, 0));
	assert_int_equal(get(st, 0, &f), 0);
	sim_sleep(st->g.s, 2000);
	assert_true(sim_disk_same(sim_disk(st->g.s, 0), sim_disk(st->g.s, 1),
	    why, sizeof(why)));
}

/* What the only copy can't give was there all the same. */
static void
tell_lost(struct story *st)
{
	struct engine_file_info f;
	int i, rc;

	assert_int_equal(put(st, 0, 5000, &f), 0);
	sim_sleep(st->g.s, 2000);
	assert_true(sim_disk_damage(st->g.s, 0));
	for (i = 1; i < st->g.n; i++)
		sim_disk_forget(sim_disk(st->g.s, i), str_of(f.id));
	rc = get(st, 0, &f);
	assert_true(rc < 0 && rc != ERR_NOT_FOUND);
}

struct ids {
	char id[16][ENGINE_FILE_ID_MAX];
	size_t n;
};

static int
note_id(void *arg, const char *id)
{
	struct ids *v = arg;

	assert_true(v->n < 16);
	snprintf(v->id[v->n++], ENGINE_FILE_ID_MAX, "%s", id);
	return 0;
}

static void
bad_files(struct story *st, struct ids *ret)
{
	struct rep_env env;

	ret->n = 0;
	assert_non_null(sim_group_enter(&st->g, 0));
	sim_env(st->g.s, 0, &env);
	assert_int_equal(env.store_ops->each_bad(env.store, note_id, ret), 0);
	sim_leave(st->g.s, 0);
}

/* What nobody can repair keeps nothing else from it. */
static void
tell_beyond_repair(struct story *st)
{
	struct engine_file_info f;
	struct ids bad;
	size_t i;

	for (i = 0; i < 12; i++)
		assert_int_equal(put(st, 0, 100 + i, &f), 0);
	sim_sleep(st->g.s, 2000);
	for (i = 0; i < 400; i++)
		assert_true(sim_disk_damage(st->g.s, 0));
	bad_files(st, &bad);
	assert_int_equal(bad.n, 12);
	for (i = 0; i < 5; i++) {
		sim_disk_forget(sim_disk(st->g.s, 1), str_of(bad.id[i]));
		sim_disk_forget(sim_disk(st->g.s, 2), str_of(bad.id[i]));
	}
	sim_sleep(st->g.s, 200000);
	bad_files(st, &bad);
	assert_int_equal(bad.n, 5);
}

static void
test_damage(void **state)
{
	(void)state;
	run(2, tell_damage);
	run(3, tell_damage);
	run(2, tell_lost);
	run(3, tell_lost);
	run(3, tell_beyond_repair);
}

#define NAME "group1/M00/00/00/wKgAAWVT8wCEWVsDAAAAAAAAAAA1234567"

static int
change(struct story *st, bool is_new, bool is_delete, uint64_t base,
    const char *text, struct engine_file_info *ret)
{
	struct err e = ERR_INIT;
	int node = sim_group_leader(&st->g), rc;
	struct rep *r = sim_group_enter(&st->g, node);
	struct rep_change c = { .id = STR_LIT(NAME),
		.class = ENGINE_CLASS_LIST,
		.is_new = is_new,
		.is_delete = is_delete,
		.base = base,
		.body = str_of(text) };

	rc = rep_change(r, &c, ret, &e);
	sim_trace(st->g.s, "change: %s %s", err_name(rc), e.msg);
	sim_leave(st->g.s, node);
	return rc;
}

static int
newest(struct story *st, const char *text)
{
	struct buf b = BUF_CAP(1000);
	struct engine_file_info info;
	struct err e = ERR_INIT;
	int node = sim_group_leader(&st->g), rc;
	struct rep *r = sim_group_enter(&st->g, node);

	rc = rep_read_newest(r, STR_LIT(NAME), &info, &b, &e);
	if (rc == 0)
		assert_true(str_eqz(buf_str(&b), text));
	sim_leave(st->g.s, node);
	buf_fini(&b);
	return rc;
}

static void
tell_change(struct story *st)
{
	struct engine_file_info a, b;
	int i, old = sim_group_leader(&st->g);
	struct err e = ERR_INIT;

	assert_int_equal(change(st, false, false, 0, "x", &a), ERR_NOT_FOUND);
	assert_int_equal(change(st, true, false, 0, "one", &a), 0);
	assert_int_equal(change(st, true, false, 0, "one", &b), ERR_EXISTS);
	assert_int_equal(change(st, false, false, a.file_version, "two", &b),
	    0);
	assert_true(b.file_version > a.file_version);
	assert_int_equal(change(st, false, false, a.file_version, "no", &a),
	    ERR_RETRY);
	assert_int_equal(newest(st, "two"), 0);
	sim_group_stop(&st->g, old);
	sim_disk_wipe(st->g.s, old);
	assert_int_equal(sim_group_start(&st->g, old, &e), 0);
	for (i = 0; i < 300 && sim_group_leader(&st->g) < 0; i++)
		sim_sleep(st->g.s, 100);
	for (i = 0; i < 300 && newest(st, "two") != 0; i++)
		sim_sleep(st->g.s, 100);
	assert_int_equal(newest(st, "two"), 0);
	assert_int_equal(change(st, false, true, b.file_version, "", &a), 0);
	assert_int_equal(newest(st, ""), ERR_NOT_FOUND);
	assert_int_equal(change(st, true, false, 0, "three", &a), 0);
	assert_int_equal(newest(st, "three"), 0);
}

static bool
has_text(struct story *st, int node, const char *text)
{
	uint64_t version;
	struct str body = STR_NULL;

	return sim_disk_find(sim_disk(st->g.s, node), STR_LIT(NAME), &version,
		   &body) == ENGINE_LIVE &&
	       str_eqz(body, text);
}

/* What failed at the leader lies at a peer that is not asked when the next
 * change is made: that one must not get the same version. */
static void
tell_spent(struct story *st)
{
	int lead = sim_group_leader(&st->g), b = (lead + 1) % 3,
	    c = (lead + 2) % 3, i;
	struct engine_file_info info;

	assert_int_equal(change(st, true, false, 0, "one", &info), 0);
	sim_disk_full(sim_disk(st->g.s, lead), true);
	sim_cut(st->g.s, lead, c, true);
	assert_true(change(st, false, false, 0, "lost", &info) < 0);
	assert_true(has_text(st, b, "lost"));
	assert_int_equal(sim_group_leader(&st->g), lead);
	sim_disk_full(sim_disk(st->g.s, lead), false);
	sim_cut(st->g.s, lead, c, false);
	sim_cut(st->g.s, lead, b, true);
	assert_int_equal(change(st, false, false, 0, "kept", &info), 0);
	sim_heal(st->g.s);
	for (i = 0; i < 300 && !has_text(st, b, "kept"); i++)
		sim_sleep(st->g.s, 100);
	for (i = 0; i < 3; i++)
		assert_true(has_text(st, i, "kept"));
	assert_int_equal(newest(st, "kept"), 0);
}

static void
test_spent(void **state)
{
	(void)state;
	run(3, tell_spent);
}

static void
test_change(void **state)
{
	(void)state;
	run(3, tell_change);
	run(2, tell_change);
}

/* One write ID is one file, however often it is sent. */
static void
tell_same_write(struct story *st)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3,
		.write_id = { { 1, 2, 3 } } };
	struct engine_file_info a, b;
	struct err e = ERR_INIT;
	struct rep_upload *u;
	struct rep *r = sim_group_enter(&st->g, 0);

	assert_int_equal(rep_put(r, &o, -1, body(500), "", 0, &a, &e), 0);
	assert_int_equal(rep_put(r, &o, -1, body(500), "", 0, &b, &e), 0);
	assert_string_equal(a.id, b.id);
	assert_int_equal(rep_put(r, &o, -1, body(501), "", 0, &b, &e),
	    ERR_INVALID);
	o.write_id.b[0] = 2;
	assert_int_equal(rep_put(r, &o, -1, body(sizeof(big)), "", 0, &a, &e),
	    0);
	assert_int_equal(rep_upload_begin(r, &o, -1, UINT64_MAX, &u, &e), 0);
	assert_int_equal(rep_upload_write(u, big, sizeof(big), &e), 0);
	assert_int_equal(rep_upload_commit(&u, "", 0, &b, &e), 0);
	assert_string_equal(a.id, b.id);
	sim_leave(st->g.s, 0);
	sim_sleep(st->g.s, 1500);
	assert_int_equal(sim_disk_count(sim_disk(st->g.s, 0)), 2);
	assert_int_equal(sim_disk_count(sim_disk(st->g.s, 1)), 2);
}

static void
test_same_write(void **state)
{
	(void)state;
	run(2, tell_same_write);
}

/* degraded_writes = allow: one copy does, and the others get it later. */
static void
tell_degraded(struct story *st)
{
	struct engine_file_info f, large;
	struct err e = ERR_INIT;

	sim_group_stop(&st->g, 1);
	assert_int_equal(put(st, 0, 100, &f), 0);
	assert_int_equal(put(st, 0, sizeof(big), &large), 0);
	assert_int_equal(copies(st, f.id), 1);
	assert_int_equal(sim_group_start(&st->g, 1, &e), 0);
	wait_well(st);
	sim_sleep(st->g.s, 2000);
	assert_int_equal(copies(st, f.id), 2);
	assert_int_equal(copies(st, large.id), 2);
}

static void
test_degraded(void **state)
{
	(void)state;
	is_degraded = true;
	run(2, tell_degraded);
	is_degraded = false;
}

/* What is said about a node that is blank, and about one that is cut off. */
static void
tell_status(struct story *st)
{
	struct rep_status s;
	struct engine_file_info f;
	struct err e = ERR_INIT;
	struct rep *r;
	int i;

	for (i = 0; i < 50; i++)
		assert_int_equal(put(st, 0, 1000, &f), 0);
	sim_group_stop(&st->g, 2);
	sim_disk_wipe(st->g.s, 2);
	assert_int_equal(sim_group_start(&st->g, 2, &e), 0);
	r = sim_group_enter(&st->g, 2);
	rep_status(r, &s);
	sim_leave(st->g.s, 2);
	assert_int_not_equal(s.state, FDFS_STATE_ACTIVE);
	assert_true(s.reason[0] != '\0');
	wait_well(st);
	r = sim_group_enter(&st->g, 2);
	rep_status(r, &s);
	assert_int_equal(s.state, FDFS_STATE_ACTIVE);
	assert_int_equal(s.progress, 100);
	assert_true(s.can_write);
	assert_string_equal(s.reason, "");
	assert_true(s.pulled_files >= 50);
	assert_int_equal(s.n_peers, 2);
	sim_cut(st->g.s, 2, 0, true);
	sim_cut(st->g.s, 2, 1, true);
	sim_sleep(st->g.s, 10000);
	rep_status(r, &s);
	sim_leave(st->g.s, 2);
	assert_false(s.can_write);
	assert_string_equal(s.reason,
	    "takes no writes: 1 of 2 nodes that hold copies are within reach");
	assert_false(s.peers[0].is_reachable);
}

/* A node whose clock starts in the past writes no tombstone that is over. */
static void
tell_no_battery(struct story *st)
{
	struct engine_file_info info;
	struct engine_record rec;
	struct err e = ERR_INIT;
	struct buf note = BUF_CAP(4096);
	struct rep_env env;
	struct rep *r;
	struct str id;
	int64_t now;

	assert_int_equal(put(st, 1, 100, &info), 0);
	sim_env(st->g.s, 1, &env);
	now = env.ops->real_s(env.env);
	sim_group_stop(&st->g, 1);
	sim_clock_jump(st->g.s, 1, -400 * 86400);
	assert_int_equal(sim_group_start(&st->g, 1, &e), 0);
	wait_well(st);
	id = str_of(info.id);
	r = sim_group_enter(&st->g, 1);
	assert_int_equal(rep_delete_many(r, &id, 1, &e), 0);
	sim_env(st->g.s, 1, &env);
	assert_int_equal(env.store_ops->record_of(env.store, id, &rec, &note,
			     &e),
	    0);
	sim_leave(st->g.s, 1);
	buf_fini(&note);
	assert_true(rec.is_tomb);
	assert_true(rec.info.created_s > now - 3600);
}

static void
test_no_battery(void **state)
{
	(void)state;
	run(3, tell_no_battery);
}

static void
test_status(void **state)
{
	(void)state;
	run(3, tell_status);
}

/* A name that nobody knows: said only when enough say so. */
static void
tell_not_found(struct story *st)
{
	struct engine_file_info f = { .size = 10 };

	snprintf(f.id, sizeof(f.id), "%s", NAME);
	sim_sleep(st->g.s, 1000);
	assert_int_equal(get(st, 0, &f), ERR_NOT_FOUND);
	sim_group_stop(&st->g, 1);
	/* Of three, two copies each: two say so, one of them would have it. */
	assert_int_equal(get(st, 0, &f), ERR_NOT_FOUND);
	sim_group_stop(&st->g, 2);
	assert_int_equal(get(st, 0, &f), ERR_RETRY);
}

static void
test_not_found(void **state)
{
	(void)state;
	run(3, tell_not_found);
}

/* One node has lost its disk, and the other one that had the file is away before
 * it was read: nobody knows then that it is not there. */
static void
tell_wiped_beside_away(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	struct member_view v;
	int i;

	sim_disk_full(sim_disk(st->g.s, 2), true);
	assert_int_equal(put(st, 0, 1000, &f), 0);
	assert_int_equal(copies(st, f.id), 2);
	sim_group_stop(&st->g, 1);
	sim_disk_wipe(st->g.s, 1);
	sim_cut(st->g.s, 0, 1, true);
	assert_int_equal(sim_group_start(&st->g, 1, &e), 0);
	for (i = 0; i < 300; i++) {
		members_get(st->g.v[1].m, &v);
		if (v.self >= 0)
			break;
		sim_sleep(st->g.s, 100);
	}
	assert_true(v.self >= 0);
	sim_sleep(st->g.s, 3000);
	sim_group_stop(&st->g, 0);
	for (i = 0; i < 10; i++) {
		assert_int_equal(get(st, 2, &f), ERR_RETRY);
		assert_int_equal(get(st, 1, &f), ERR_RETRY);
		sim_sleep(st->g.s, 1000);
	}
	sim_disk_full(sim_disk(st->g.s, 2), false);
	sim_heal(st->g.s);
	assert_int_equal(sim_group_start(&st->g, 0, &e), 0);
	wait_well(st);
	assert_int_equal(get_soon(st, 1, &f), 0);
	sim_sleep(st->g.s, 2000);
	assert_int_equal(copies(st, f.id), 3);
}

static void
test_wiped_beside_away(void **state)
{
	(void)state;
	run(3, tell_wiped_beside_away);
}

/* Two of three are there, one of them just restarted: after a while it counts as
 * the witness that it was, and changes go on without the third. */
static void
tell_restart_beside_dead(struct story *st)
{
	struct engine_file_info a, b;
	struct err e = ERR_INIT;
	int i, rc = ERR_BUSY;

	assert_int_equal(change(st, true, false, 0, "one", &a), 0);
	sim_sleep(st->g.s, 3000);
	sim_group_stop(&st->g, 2);
	sim_group_stop(&st->g, 1);
	assert_int_equal(sim_group_start(&st->g, 1, &e), 0);
	for (i = 0; i < 60 && rc != 0; i++) {
		sim_sleep(st->g.s, 500);
		if (sim_group_leader(&st->g) < 0)
			continue;
		rc = change(st, false, false, a.file_version, "two", &b);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(newest(st, "two"), 0);
}

static void
test_restart_beside_dead(void **state)
{
	(void)state;
	run(3, tell_restart_beside_dead);
}

/* What nodes say to each other bears the membership's epoch. */
static void
check_epochs(struct story *st, int node, int other, int gone)
{
	struct rpc_from from = { .kind = RPC_PEER, .group = "group1" };
	struct err e = ERR_INIT;
	struct member_view v;

	members_get(st->g.v[node].m, &v);
	sim_disk_node_id(sim_disk(st->g.s, other), &from.id);
	assert_int_equal(members_check(st->g.v[node].m, &from, v.epoch, &e), 0);
	assert_int_equal(members_check(st->g.v[node].m, &from, v.epoch - 1, &e),
	    ERR_RETRY);
	sim_disk_node_id(sim_disk(st->g.s, gone), &from.id);
	assert_int_equal(members_check(st->g.v[node].m, &from, v.epoch, &e),
	    ERR_ACCESS_DENIED);
	from.id = id128_new();
	assert_int_equal(members_check(st->g.v[node].m, &from, v.epoch, &e),
	    ERR_ACCESS_DENIED);
}

/* A node is removed for good, then another: the rest counts as what it is. */
static void
tell_removed(struct story *st)
{
	struct engine_file_info f;
	struct err e = ERR_INIT;
	struct rep_status s;
	struct member_view v;
	int leader = sim_group_leader(&st->g), gone = (leader + 1) % 3, i;
	int other = (leader + 2) % 3;

	assert_true(sim_enter(st->g.s, leader));
	assert_int_equal(rep_remove(st->g.v[leader].r, (uint32_t)gone + 1,
			     false, &e),
	    0);
	sim_leave(st->g.s, leader);
	sim_sleep(st->g.s, 3000);
	members_get(st->g.v[leader].m, &v);
	assert_int_equal(v.n, 2);
	check_epochs(st, leader, other, gone);
	assert_int_equal(put(st, leader, 1000, &f), 0);
	assert_int_equal(copies(st, f.id), 2);
	assert_true(put(st, gone, 1000, &f) < 0);
	rep_status(st->g.v[gone].r, &s);
	assert_int_equal(s.state, FDFS_STATE_DELETED);
	sim_group_stop(&st->g, gone);
	/* Two copies are wanted, and one of two is there. */
	sim_group_stop(&st->g, other);
	assert_int_equal(put(st, leader, 1000, &f), ERR_BUSY);
	assert_int_equal(sim_group_start(&st->g, other, &e), 0);
	for (i = 0; i < 50 && put(st, leader, 1000, &f) != 0; i++)
		sim_sleep(st->g.s, 100);
	assert_int_equal(put(st, leader, 1000, &f), 0);
}

static void
test_removed(void **state)
{
	(void)state;
	run(3, tell_removed);
}

static int
remove_at(struct story *st, int at, int who, bool force)
{
	struct err e = ERR_INIT;
	struct rep *r = sim_group_enter(&st->g, at);
	int rc = rep_remove(r, (uint32_t)who + 1, force, &e);

	sim_trace(st->g.s, "remove: %s %s", err_name(rc), e.msg);
	sim_leave(st->g.s, at);
	return rc;
}

static size_t
members_at(struct story *st, int node)
{
	struct member_view v;

	members_get(st->g.v[node].m, &v);
	return v.n;
}

/* Of five, three hold a change, and two of these go one right after the other:
 * not before the other two hold it too. */
static void
tell_two_removed(struct story *st)
{
	int lead = sim_group_leader(&st->g), b = (lead + 1) % 5,
	    c = (lead + 2) % 5, late[2] = { (lead + 3) % 5, (lead + 4) % 5 };
	struct engine_file_info info;
	int i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < 3; k++)
			sim_cut(st->g.s, late[i], (lead + k) % 5, true);
	sim_sleep(st->g.s, 3000);
	assert_int_equal(change(st, true, false, 0, "one", &info), 0);
	assert_int_equal(remove_at(st, lead, b, false), ERR_BUSY);
	assert_int_equal(remove_at(st, lead, b, true), 0);
	sim_group_stop(&st->g, b);
	sim_heal(st->g.s);
	assert_int_equal(remove_at(st, c, lead, false), 0);
	for (i = 0; i < 2; i++)
		while (members_at(st, late[i]) != 3)
			sim_sleep(st->g.s, 5);
	for (i = 0; i < 2; i++)
		sim_cut(st->g.s, late[i], c, true);
	sim_group_stop(&st->g, lead);
	for (i = 0; i < 2; i++)
		assert_true(has_text(st, late[i], "one"));
	for (i = 0; i < 300 && sim_group_leader(&st->g) < 0; i++)
		sim_sleep(st->g.s, 100);
	assert_int_equal(newest(st, "one"), 0);
}

static void
test_two_removed(void **state)
{
	(void)state;
	run(5, tell_two_removed);
}

/* With a majority gone nobody can be forced out. */
static void
tell_none_removed(struct story *st)
{
	int i;

	for (i = 2; i < 5; i++)
		sim_group_stop(&st->g, i);
	assert_int_equal(remove_at(st, 0, 2, false), ERR_BUSY);
	assert_int_equal(remove_at(st, 0, 2, true), ERR_BUSY);
	assert_int_equal(remove_at(st, 0, 8, true), ERR_NOT_FOUND);
}

static void
test_none_removed(void **state)
{
	(void)state;
	run(5, tell_none_removed);
}

/* What is on its way while sets are compared is no difference. */
static void
write_on(void *arg)
{
	struct story *st = arg;
	struct engine_file_info f;
	int i;

	for (i = 0; i < 150; i++) {
		put(st, i % 2, 300, &f);
		sim_sleep(st->g.s, 20);
	}
	st->is_written = true;
}

static void
tell_compare_under_load(struct story *st)
{
	struct err e = ERR_INIT;
	uint64_t diff, sum = 0;
	unsigned n = 0;
	struct rep *r;

	sim_spawn(st->g.s, SIM_OUTSIDE, write_on, st);
	while (!st->is_written) {
		r = sim_group_enter(&st->g, 1);
		if (rep_compare_now(r, &diff, &e) == 0) {
			sum += diff;
			n++;
		}
		sim_leave(st->g.s, 1);
	}
	assert_true(n > 1);
	assert_int_equal(sum, 0);
}

static void
test_compare_under_load(void **state)
{
	(void)state;
	run(2, tell_compare_under_load);
}

/* Sets that differ although no log says so are found by comparing. */
static void
tell_compare(struct story *st)
{
	struct engine_file_info f[300];
	struct sim_disk *old;
	struct err e = ERR_INIT;
	struct rep *r;
	uint64_t diff;
	char why[300];
	int i;

	for (i = 0; i < 300; i++)
		assert_int_equal(put(st, 0, (size_t)i, &f[i]), 0);
	sim_sleep(st->g.s, 2000);
	r = sim_group_enter(&st->g, 1);
	assert_int_equal(rep_compare_now(r, &diff, &e), 0);
	assert_int_equal(diff, 0);
	sim_leave(st->g.s, 1);
	old = sim_disk_copy(st->g.s, 1);
	sim_disk_forget(sim_disk(st->g.s, 1), str_of(f[7].id));
	sim_disk_forget(sim_disk(st->g.s, 1), str_of(f[200].id));
	r = sim_group_enter(&st->g, 1);
	assert_int_equal(rep_compare_now(r, &diff, &e), 0);
	assert_int_equal(diff, 2);
	assert_int_equal(rep_compare_now(r, &diff, &e), 0);
	assert_int_equal(diff, 0);
	sim_leave(st->g.s, 1);
	assert_true(sim_disk_same(old, sim_disk(st->g.s, 1), why, sizeof(why)));
	sim_disk_free(&old);
}

static void
test_compare(void **state)
{
	(void)state;
	run(2, tell_compare);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_put_get),
		cmocka_unit_test(test_small_limits),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_deleted_everywhere),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_spent),
		cmocka_unit_test(test_same_write),
		cmocka_unit_test(test_degraded),
		cmocka_unit_test(test_no_battery),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_wiped_beside_away),
		cmocka_unit_test(test_restart_beside_dead),
		cmocka_unit_test(test_removed),
		cmocka_unit_test(test_two_removed),
		cmocka_unit_test(test_none_removed),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_compare_under_load),
	};

	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
