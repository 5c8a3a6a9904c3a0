/* The volume log as another member reads it. */
#include "engine_test.h"

#include "replica_test.h"

#include "lib/clock.h"

#include <pthread.h>
#include <stdarg.h>

/* --- a replica: what was given, applied --- */

struct seen {
	char id[ENGINE_FILE_ID_MAX];
	uint64_t version;
	bool is_tomb;
};
enum {
	MAX_SEEN = 6000
};
struct replica {
	struct seen v[MAX_SEEN];
	size_t n, given;
	int stop_after; /* < 0: never */
	int answer;
};

static struct seen *
seen_of(struct replica *r, const char *id)
{
	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->v[i].id, id) == 0)
			return &r->v[i];
	}
	return NULL;
}

static int
take(void *arg, const struct engine_record *rec)
{
	struct replica *r = arg;
	struct seen *s = seen_of(r, rec->info.id);

	if (r->stop_after == 0 && r->answer < 0)
		return r->answer;
	if (s == NULL) {
		assert_true(r->n < MAX_SEEN);
		s = &r->v[r->n++];
		memcpy(s->id, rec->info.id, sizeof(s->id));
		s->version = 0;
	}
	if (rec->info.file_version >= s->version) {
		s->version = rec->info.file_version;
		s->is_tomb = rec->is_tomb;
	}
	r->given++;
	if (r->stop_after > 0 && --r->stop_after == 0)
		return r->answer > 0 ? 1 : 0;
	return 0;
}

/* To the end, @max at a time. */
static int
follow(struct engine *g, size_t path, struct replica *r, struct engine_pos *pos,
    size_t max, struct err *e)
{
	bool end = false;

	while (!end) {
		uint8_t raw[ENGINE_POS_LEN];
		int rc = engine_log_read(g, path, pos, max, take, r, &end, e);

		if (rc < 0)
			return rc;
		engine_pos_encode(pos, raw);
		memset(pos, 0x55, sizeof(*pos));
		engine_pos_decode(raw, pos);
	}
	return 0;
}

static void
follow_ok(struct engine *g, struct replica *r, struct engine_pos *pos,
    size_t max)
{
	struct err e = ERR_INIT;

	if (follow(g, 0, r, pos, max, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(engine_log_left(g, 0, pos), 0);
}

static struct replica *
replica_new(void)
{
	struct replica *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->stop_after = -1;
	return r;
}

static void
test_order_and_ends(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct replica *r = replica_new();
	struct engine_pos pos = { 0 }, before;
	struct engine_file_info i[40];
	struct err e = ERR_INIT;
	bool end = false;

	/* Nothing was written yet. */
	follow_ok(g, r, &pos, 5);
	assert_int_equal(r->n, 0);
	for (int k = 0; k < 40; k++)
		i[k] = test_put(g, (uint64_t)k, k == 7 ? 300 * 1024 : 60000);
	test_delete(g, i[3].id);
	assert_true(engine_log_left(g, 0, &pos) > 39 * 60000);
	follow_ok(g, r, &pos, 7);
	/* What was deleted may be left out. */
	assert_int_equal(r->n, 40);
	for (int k = 0, at = 0; k < 40; k++) {
		if (k != 3)
			assert_string_equal(r->v[at++].id, i[k].id);
	}
	assert_string_equal(r->v[39].id, i[3].id);
	assert_true(r->v[39].is_tomb);
	assert_int_equal(r->v[39].version, 2);

	/* At the end; then one more. */
	before = pos;
	follow_ok(g, r, &pos, 1);
	assert_int_equal(r->given, 40);
	assert_memory_equal(&pos, &before, sizeof(pos));
	i[0] = test_put(g, 99, 10);
	engine_close(&g);
	g = test_open(&c);
	follow_ok(g, r, &pos, 100);
	assert_int_equal(r->given, 41);

	/* Taken and stopped; not taken. */
	memset(&pos, 0, sizeof(pos));
	r->stop_after = 2;
	r->answer = 1;
	r->given = 0;
	assert_int_equal(engine_log_read(g, 0, &pos, 100, take, r, &end, &e),
	    0);
	assert_false(end);
	assert_int_equal(r->given, 2);
	r->stop_after = 2;
	r->answer = ERR_BUSY;
	assert_int_equal(engine_log_read(g, 0, &pos, 100, take, r, &end, &e),
	    ERR_BUSY);
	assert_int_equal(r->given, 4);
	r->stop_after = -1;
	follow_ok(g, r, &pos, 100);
	assert_int_equal(r->given, 41);
	assert_int_equal(engine_log_read(g, 1, &pos, 1, take, r, &end, &e),
	    ERR_INVALID);
	engine_close(&g);
	free(r);
}

/* I3 */
static void
test_positions(void **state UNUSED)
{
	struct engine_conf c = test_conf(2);
	struct engine *g = test_open(&c);
	struct replica *r = replica_new();
	struct engine_pos pos = { 0 }, bad;
	struct err e = ERR_INIT;

	for (uint64_t k = 0; k < 10; k++)
		test_put(g, k, 1000);
	follow_ok(g, r, &pos, 1);
#define BAD(change)                                                            \
	do {                                                                   \
		bad = pos;                                                     \
		change;                                                        \
		assert_int_equal(follow(g, 0, r, &bad, 1, &e), ERR_RETRY);     \
	} while (0)
	BAD(bad.path.b[0] ^= 1);
	BAD(bad.vol++);
	BAD(bad.vol = 0);
	BAD(bad.off += 8);
	BAD(bad.off -= 8);
	BAD(bad.last -= 8);
	BAD(bad.last = 0);
	BAD(bad.last = UINT64_MAX - 7);
	BAD(bad.off = UINT64_MAX);
	BAD(bad.check ^= 1);
	BAD(bad.tag ^= 1);
	BAD((bad.off = 4096, bad.last = 0));
#undef BAD
	bad = pos;
	assert_int_equal(follow(g, 1, r, &bad, 1, &e), ERR_RETRY);
	follow_ok(g, r, &pos, 1);
	engine_close(&g);
	free(r);
}

/* --- waiting --- */

struct waiter {
	struct engine *g;
	uint64_t seen;
	bool woken;
};

static void *
wait_main(void *arg)
{
	struct waiter *w = arg;

	w->woken = engine_log_wait(w->g, &w->seen, 20000);
	return NULL;
}

static void
test_waiting(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct waiter w = { .g = g };
	int64_t t0;
	pthread_t t;

	test_put(g, 1, 10);
	assert_true(engine_log_wait(g, &w.seen, 0));
	t0 = clock_mono_ns();
	assert_false(engine_log_wait(g, &w.seen, 50));
	assert_true(clock_mono_ns() - t0 >= 45 * 1000000);
	assert_int_equal(pthread_create(&t, NULL, wait_main, &w), 0);
	clock_sleep_ms(30);
	test_put(g, 2, 10);
	pthread_join(t, NULL);
	assert_true(w.woken);
	assert_true(clock_mono_ns() - t0 < INT64_C(10) * 1000000000);
	assert_false(engine_log_wait(g, &w.seen, 0));
	engine_close(&g);
}

/* --- volumes that go, disks that are put back --- */

static void
shell(const char *fmt, ...)
{
	char cmd[1400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

static bool
volume_exists(uint64_t no)
{
	char name[500];

	snprintf(name, sizeof(name), "%s/disk0/volumes/%016jx.vol", test_dir,
	    (uintmax_t)no);
	return fs_exists(name);
}

/* Files @from to @to of 60,000 bytes. */
static void
fill(struct engine *g, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct engine_record r = record_make(g, i, 1, 60000);

		assert_int_equal(put_version(g, &r, i, 60000), 0);
	}
}

static void
bury(struct engine *g, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct engine_record r = record_make(g, i, 1, 60000);

		r.info.created_s = clock_real_s();
		assert_int_equal(put_tomb(g, &r, 2), 0);
	}
}

static void
expect(struct replica *r, struct engine *g, uint64_t i, bool is_tomb)
{
	struct engine_record rec = record_make(g, i, 1, 60000);
	struct seen *s = seen_of(r, rec.info.id);

	if (s == NULL)
		fail_msg("file %ju was never given", (uintmax_t)i);
	if (s->is_tomb != is_tomb || s->version != (is_tomb ? 2 : 1))
		fail_msg("file %ju: tombstone %d", (uintmax_t)i, s->is_tomb);
}

static void
compact(struct engine *g)
{
	struct err e = ERR_INIT;

	assert_int_equal(engine_compact_now(g, &e), 0);
}

static void
test_compacted_underneath(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct replica *r = replica_new();
	struct engine_pos pos = { 0 }, old;
	struct err e = ERR_INIT;
	struct engine *g;
	bool end;

	c.tombstone_keep_s = 100000;
	g = test_open(&c);
	fill(g, 0, 100);
	assert_int_equal(engine_log_read(g, 0, &pos, 20, take, r, &end, &e), 0);
	assert_false(end);
	assert_int_equal(pos.vol, 2);
	/* All volumes up to there go, what was read and what was not. */
	bury(g, 0, 19);
	bury(g, 20, 45);
	compact(g);
	assert_false(volume_exists(2));
	old = pos;
	follow_ok(g, r, &pos, 3);
	for (uint64_t i = 0; i < 100; i++)
		expect(r, g, i, i < 45 && i != 19);
	/* Given again, by who reads from the old place, after a restart too. */
	engine_close(&g);
	g = test_open(&c);
	memset(r->v, 0, sizeof(r->v));
	r->n = 0;
	follow_ok(g, r, &old, 1000);
	for (uint64_t i = 20; i < 100; i++)
		expect(r, g, i, i < 45);
	/* A volume that never was, between those that are. */
	old.vol = 3;
	old.tag ^= 1;
	assert_int_equal(follow(g, 0, r, &old, 1, &e), ERR_RETRY);

	/* The very last ones go, all of them: the end is where it was. */
	c.tombstone_keep_s = 0;
	engine_close(&g);
	g = test_open(&c);
	follow_ok(g, r, &pos, 1000);
	old = pos;
	bury(g, 19, 20);
	bury(g, 45, 100);
	fill(g, 300, 340);
	bury(g, 300, 340);
	follow_ok(g, r, &pos, 1000);
	for (int k = 0; k < 4; k++)
		compact(g);
	assert_false(volume_exists(old.vol));
	follow_ok(g, r, &old, 1000);
	engine_close(&g);
	g = test_open(&c);
	follow_ok(g, r, &pos, 1000);
	r->given = 0;
	fill(g, 200, 220);
	follow_ok(g, r, &pos, 1000);
	assert_int_equal(r->given, 20);
	engine_close(&g);
	free(r);
}

static enum engine_known
known(struct engine *g, uint64_t i)
{
	struct engine_record r = record_make(g, i, 1, 60000);
	struct engine_version v;

	look(g, r.info.id, &v);
	return v.known;
}

/* A member forgets what is old by the clock only if it was left to it as well. */
static void
test_forget_before(void **state UNUSED)
{
	static const struct id128 cluster = { { 7, 7, 7 } };
	struct engine_conf c = test_conf(1);
	int64_t now = clock_real_s();
	struct engine *g;

	c.deployment = &cluster;
	c.tombstone_keep_s = 100;
	g = test_open(&c);
	fill(g, 0, 60);
	for (uint64_t i = 0; i < 60; i++) {
		struct engine_record r = record_make(g, i, 1, 60000);

		r.info.created_s = now - 1000;
		assert_int_equal(put_tomb(g, &r, 2), 0);
	}
	for (uint64_t round = 0; round < 4; round++) {
		if (round == 1)
			engine_forget_before(g, now - 2000);
		if (round == 2) { /* anew: nothing is left to it */
			engine_close(&g);
			g = test_open(&c);
		}
		if (round == 3)
			engine_forget_before(g, now - 500);
		for (uint64_t k = 1000 + round * 60; k < 1060 + round * 60;
		     k += 20) {
			fill(g, k, k + 20);
			bury(g, k, k + 20);
			compact(g);
		}
		assert_int_equal(known(g, 5),
		    round == 3 ? ENGINE_UNKNOWN : ENGINE_TOMB);
		assert_int_equal(known(g, 1005), ENGINE_TOMB);
	}
	engine_close(&g);
}

/* I3: the disk is put back to an older state and goes on from there. */
static void
test_put_back(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct replica *r = replica_new();
	struct engine_pos pos = { 0 }, early = { 0 }, at[3];
	struct err e = ERR_INIT;

	fill(g, 0, 25);
	follow_ok(g, r, &early, 10);
	engine_close(&g);
	shell("cp -a --sparse=always %s/disk0 %s/kept", test_dir, test_dir);

	g = test_open(&c);
	pos = early;
	for (int k = 0; k < 3; k++) {
		/* In the volume of the copy, and in later ones. */
		fill(g, 100 + (uint64_t)k * 30,
		    k == 0 ? 102 : 130 + (uint64_t)k * 30);
		follow_ok(g, r, &pos, 10);
		at[k] = pos;
	}
	assert_int_equal(at[0].vol, early.vol);
	assert_true(at[1].vol > early.vol && at[2].vol > at[1].vol);
	engine_close(&g);

	shell("rm -r %s/disk0 && cp -a --sparse=always %s/kept %s/disk0",
	    test_dir, test_dir, test_dir);
	g = test_open(&c);
	/* What it does not hold. */
	for (int k = 0; k < 3; k++) {
		pos = at[k];
		assert_int_equal(follow(g, 0, r, &pos, 10, &e), ERR_RETRY);
		assert_memory_equal(&pos, &at[k], sizeof(pos));
	}
	/* It has grown beyond them: other needles in the same places. */
	fill(g, 500, 600);
	for (int k = 0; k < 3; k++) {
		pos = at[k];
		assert_int_equal(follow(g, 0, r, &pos, 10, &e), ERR_RETRY);
	}
	/* From before the copy was made all goes on. */
	pos = early;
	r->given = 0;
	follow_ok(g, r, &pos, 10);
	assert_int_equal(r->given, 100);
	/* Those volumes go: the numbers tell nothing then. */
	bury(g, 0, 25);
	bury(g, 500, 590);
	compact(g);
	for (int k = 0; k < 3; k++)
		assert_false(volume_exists(at[k].vol));
	for (int round = 0; round < 2; round++) {
		for (int k = 1; k < 3; k++) {
			pos = at[k];
			assert_int_equal(follow(g, 0, r, &pos, 10, &e),
			    ERR_RETRY);
		}
		/* All that lived in it at the copy's time has come behind. */
		pos = early;
		follow_ok(g, r, &pos, 10);
		engine_close(&g);
		g = test_open(&c);
	}
	for (uint64_t i = 590; i < 600; i++)
		expect(r, g, i, false);
	engine_close(&g);
	free(r);
}

/* Each volume remembers those before it: the newest one cannot, for so many. */
static void
test_many_volumes(void **state UNUSED)
{
	enum {
		N = 5100,
		SIZE = 16000
	};
	static struct engine_record rec[N];
	static struct engine_install v[N];
	struct engine_conf c = test_conf(1);
	struct replica *r = replica_new();
	struct body b = body_make(1, SIZE);
	struct engine_pos pos = { 0 }, old, gone;
	struct err e = ERR_INIT;
	struct engine *g;
	bool end;

	c.small_limit = 16 * 1024;
	c.volume_size = 96 * 1024;
	g = test_open(&c);
	for (uint64_t i = 0; i < N; i++) {
		rec[i] = record_make(g, i, 1, SIZE);
		rec[i].info.crc32 = b.crc32;
		v[i] = (struct engine_install){ .r = &rec[i],
			.body = str_mem(b.p, b.len) };
	}
	assert_int_equal(engine_install_many(g, v, N, &e), 0);
	assert_int_equal(engine_log_read(g, 0, &pos, 12, take, r, &end, &e), 0);
	gone = pos;
	assert_int_equal(engine_log_read(g, 0, &pos, 10, take, r, &end, &e), 0);
	old = pos;
	assert_true(gone.vol > 1 && gone.vol < old.vol && old.vol < 7);
	assert_true(volume_exists(old.vol + 1000));
	follow_ok(g, r, &pos, 1000);
	assert_int_equal(r->n, N);
	/* The volume of the first goes, that of the second stays. */
	for (uint64_t i = 0; i < 14; i++)
		assert_int_equal(put_tomb(g, &rec[i], 2), 0);
	compact(g);
	assert_false(volume_exists(gone.vol));
	assert_true(volume_exists(old.vol));
	for (int round = 0; round < 2; round++) {
		struct engine_pos a = gone, d = old;

		follow_ok(g, r, &a, 1000);
		follow_ok(g, r, &d, 1000);
		a = gone;
		a.tag ^= 1;
		assert_int_equal(follow(g, 0, r, &a, 1, &e), ERR_RETRY);
		engine_close(&g);
		g = test_open(&c);
	}
	/* All go but the last ones: what those don't remember is no other log's. */
	for (uint64_t i = 14; i < N; i++) {
		rec[i].is_tomb = true;
		rec[i].info.file_version = 2;
		rec[i].info.size = 0;
		v[i] = (struct engine_install){ .r = &rec[i] };
	}
	assert_int_equal(engine_install_many(g, v + 14, N - 64, &e), 0);
	compact(g);
	assert_false(volume_exists(old.vol) || volume_exists(old.vol + 800));
	for (int round = 0; round < 2; round++) {
		struct engine_pos a = gone, d = old;

		assert_int_equal(follow(g, 0, r, &a, 1, &e), ERR_NOT_FOUND);
		assert_int_equal(follow(g, 0, r, &d, 1, &e), ERR_NOT_FOUND);
		/* Nor is it, what lies in front of this log. */
		d.vol += 100000;
		assert_int_equal(follow(g, 0, r, &d, 1, &e), ERR_RETRY);
		a = pos;
		follow_ok(g, r, &a, 1000);
		engine_close(&g);
		g = test_open(&c);
	}
	engine_close(&g);
	body_free(&b);
	free(r);
}

static void
test_damage(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct replica *r = replica_new();
	struct engine_pos pos = { 0 }, at;
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	bool end;

	fill(g, 0, 60);
	assert_int_equal(engine_log_read(g, 0, &pos, 3, take, r, &end, &e), 0);
	at = pos;
	/* A header in the volume after that, and the one at the position. */
	shell("printf xxxx | dd of=%s/disk0/volumes/%016x.vol bs=1 seek=4200 "
	      "conv=notrunc 2>/dev/null",
	    test_dir, 2);
	follow_ok(g, r, &pos, 7);
	assert_int_equal(r->n, 59);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.quarantined, 1);
	shell("printf xxxx | dd of=%s/disk0/volumes/%016x.vol bs=1 seek=%ju "
	      "conv=notrunc 2>/dev/null",
	    test_dir, 1, (uintmax_t)at.last + 20);
	assert_int_equal(follow(g, 0, r, &at, 10, &e), ERR_RETRY);
	/* A whole volume's header. */
	engine_close(&g);
	shell("printf xxxx | dd of=%s/disk0/volumes/%016x.vol bs=1 seek=20 "
	      "conv=notrunc 2>/dev/null",
	    test_dir, 3);
	g = test_open(&c);
	memset(&pos, 0, sizeof(pos));
	r->n = 0;
	follow_ok(g, r, &pos, 7);
	assert_in_range(r->n, 40, 45);
	engine_close(&g);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_ends, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_positions, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_compacted_underneath,
		    test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_forget_before, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_put_back, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_many_volumes, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_damage, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_waiting, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
