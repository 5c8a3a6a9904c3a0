/* The volume log as another member reads it. */
#include "engine_test.h"

#include "replica_test.h"

#include "lib/clock.h"

#include <pthread.h>

/* --- a replica: what was given, applied --- */

struct seen {
	char id[ENGINE_FILE_ID_MAX];
	uint64_t version;
	bool is_tomb;
};
struct replica {
	struct seen v[4096];
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
		assert_true(r->n < 4096);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_ends, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_positions, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_waiting, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
