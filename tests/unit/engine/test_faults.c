/* The fault-point walk: every n-th open, read, write, sync, ... fails, once or
 * from then on, during a scenario that touches all of the engine. After each
 * the engine is opened again without faults and must keep its promises:
 *
 * T1  What was acknowledged reads whole.
 * T2  What was deleted and acknowledged stays deleted.
 * T3  What failed either is there, whole, or is not; a delete that failed
 *     either happened or not.
 * T4  There is nothing else.
 * T5  A write ID that was repeated has one file.
 * T6  It can be written to again.
 * All of it once more after a rebuild of the file index. */
#include "engine_test.h"

#include "lib/clock.h"

#include <errno.h>

enum {
	MAX_FILES = 64
};

enum state {
	UNUSED_SEED,
	PUT_OK,
	PUT_FAILED,
	DELETED,
	DELETE_FAILED
};

struct model {
	struct {
		enum state state;
		size_t size;
		char id[ENGINE_FILE_ID_MAX];
	} f[MAX_FILES];
	unsigned n;
};

static struct engine_conf
small_conf(void)
{
	struct engine_conf c = test_conf(2);

	c.small_limit = 32 * 1024;
	c.volume_size = 160 * 1024;
	c.index_table_max = 8;
	c.compact_percent = 20;
	return c;
}

static void
put(struct engine *g, struct model *m, size_t size)
{
	unsigned k = m->n++;
	struct engine_file_info i;

	assert_true(k < MAX_FILES);
	m->f[k].size = size;
	m->f[k].state = PUT_FAILED;
	/* As a gateway would: the same write ID once more. */
	if (test_try_put(g, k, size, &i, NULL) == 0 ||
	    test_try_put(g, k, size, &i, NULL) == 0) {
		m->f[k].state = PUT_OK;
		memcpy(m->f[k].id, i.id, sizeof(i.id));
	}
}

static void
del(struct engine *g, struct model *m, unsigned k)
{
	if (m->f[k].state != PUT_OK && m->f[k].state != DELETE_FAILED)
		return;
	m->f[k].state = engine_delete(g, str_of(m->f[k].id), NULL) == 0
	                    ? DELETED
	                    : DELETE_FAILED;
}

static void
del_many(struct engine *g, struct model *m, unsigned from, unsigned to)
{
	struct str ids[MAX_FILES];
	size_t n = 0;
	bool ok;

	for (unsigned k = from; k < to; k++) {
		if (m->f[k].state == PUT_OK)
			ids[n++] = str_of(m->f[k].id);
	}
	ok = engine_delete_many(g, ids, n, NULL) == 0;
	for (unsigned k = from; k < to; k++) {
		if (m->f[k].state == PUT_OK)
			m->f[k].state = ok ? DELETED : DELETE_FAILED;
	}
}

static int
ignore_one(void *arg, const struct engine_file_info *f)
{
	(void)arg;
	(void)f;
	return 0;
}

static void
read_all(struct engine *g, const struct model *m)
{
	for (unsigned k = 0; k < m->n; k++) {
		struct err e = ERR_INIT;
		int rc;

		if (m->f[k].id[0] == '\0')
			continue;
		rc = test_check(g, m->f[k].id, k, m->f[k].size, &e);
		if (rc == 1)
			fail_msg("wrong bytes in %u", k);
		if (rc == 0 && m->f[k].state == DELETED)
			fail_msg("%u is deleted and can be read", k);
	}
}

static void
scenario(struct model *m)
{
	static const size_t sizes[] = { 100, 0, 20000, 5000, 50000, 32768 };
	struct engine_conf c = small_conf();
	struct engine *g;

	for (int round = 0; round < 2; round++) {
		if (engine_open(&c, &g, NULL) != 0)
			continue;
		for (unsigned k = 0; k < 18; k++)
			put(g, m, sizes[(k + (unsigned)round) % 6]);
		read_all(g, m);
		for (unsigned k = 0; k < m->n; k += 3)
			del(g, m, k);
		del_many(g, m, m->n - 8, m->n - 2);
		(void)engine_compact_now(g, NULL);
		put(g, m, 70000);
		(void)engine_each(g, 0, ignore_one, NULL, NULL);
		put(g, m, 9000);
		(void)engine_scrub_now(g, NULL);
		read_all(g, m);
		engine_close(&g);
	}
}

struct census {
	const struct model *m;
	struct engine *g;
	unsigned seen[MAX_FILES];
	const char *what;
};

static int
count_one(void *arg, const struct engine_file_info *f)
{
	struct census *s = arg;
	uint64_t seed;

	memcpy(&seed, f->write_id.b + 8, 8);
	if (seed >= s->m->n)
		fail_msg("%s: unknown file %s", s->what, f->id);
	if (s->seen[seed]++ > 0)
		fail_msg("%s: two files of write ID %u", s->what,
		    (unsigned)seed);
	if (s->m->f[seed].state == DELETED)
		fail_msg("%s: deleted file %u is back", s->what,
		    (unsigned)seed);
	if (s->m->f[seed].state != PUT_FAILED &&
	    strcmp(f->id, s->m->f[seed].id) != 0)
		fail_msg("%s: another file of write ID %u", s->what,
		    (unsigned)seed);
	test_reads(s->g, f->id, seed, s->m->f[seed].size);
	return 0;
}

static void
check_all(struct engine *g, const struct model *m, const char *what)
{
	struct census s = { .m = m, .g = g, .what = what };
	struct err e = ERR_INIT;
	struct engine_path_stat st;

	if (engine_each(g, 0, count_one, &s, &e) != 0)
		fail_msg("%s: each: %s", what, e.msg);
	for (unsigned k = 0; k < m->n; k++) {
		int rc;

		if (m->f[k].id[0] == '\0')
			continue;
		rc = test_check(g, m->f[k].id, k, m->f[k].size, &e);
		switch (m->f[k].state) {
		case PUT_OK:
			if (rc != 0)
				fail_msg("%s: file %u (%s): %d %s", what, k,
				    m->f[k].id, rc, e.msg);
			if (s.seen[k] == 0)
				fail_msg("%s: file %u is not listed", what, k);
			break;
		case DELETED:
			if (rc != ERR_NOT_FOUND)
				fail_msg("%s: deleted %u: %d", what, k, rc);
			break;
		default:
			if (rc != 0 && rc != ERR_NOT_FOUND)
				fail_msg("%s: file %u: %d %s", what, k, rc,
				    e.msg);
		}
	}
	for (size_t i = 0; i < engine_n_paths(g); i++) {
		engine_path_stat(g, i, &st);
		assert_false(st.is_failed);
		if (st.quarantined != 0)
			fail_msg("%s: quarantine", what);
	}
}

/* False when no fault came: the walk of this kind is over. */
static bool
one_walk(enum fault_kind kind, unsigned long n, int code, bool stick,
    bool rebuild)
{
	struct engine_conf c = small_conf();
	struct model *m = calloc(1, sizeof(*m));
	struct engine_file_info i;
	struct err e = ERR_INIT;
	struct engine *g;
	char what[100];
	bool fired;

	assert_non_null(m);
	snprintf(what, sizeof(what), "kind %d, n %lu, errno %d%s", (int)kind, n,
	    code, stick ? ", sticking" : "");
	test_make_dir();
	fault_arm(kind, n, code, stick);
	scenario(m);
	fired = fault_fired();
	fault_disarm();
	if (engine_open(&c, &g, &e) != 0)
		fail_msg("%s: reopen: %s", what, e.msg);
	check_all(g, m, what);
	if (test_try_put(g, 1000, 20000, &i, &e) != 0) /* T6 */
		fail_msg("%s: put: %s", what, e.msg);
	test_reads(g, i.id, 1000, 20000);
	test_delete(g, i.id);
	engine_close(&g);
	if (rebuild) {
		if (engine_rebuild(&c, &e) != 0)
			fail_msg("%s: rebuild: %s", what, e.msg);
		g = test_open(&c);
		check_all(g, m, what);
		engine_close(&g);
	}
	test_remove_dir();
	free(m);
	return fired;
}

static void
walk(enum fault_kind kind, int code)
{
	/* Every place for a while, then ever larger steps: the scenario says
	 * the same things again and again. */
	unsigned long n = 1, done = 0;

	for (; n < 5000; n += 1 + n / 24, done++) {
		bool fired =
		    one_walk(kind, n, code, done % 2 == 1, done % 4 == 0);

		if (!fired)
			break;
	}
	assert_true(n > 1); /* it did come by */
}

#define WALK(name, kind, code)                                                 \
	static void name(void **state)                                         \
	{                                                                      \
		(void)state;                                                   \
		walk(kind, code);                                              \
	}

WALK(test_open_fails, FAULT_OPEN, EIO)
WALK(test_read_fails, FAULT_READ, EIO)
WALK(test_write_fails, FAULT_WRITE, EIO)
WALK(test_write_full, FAULT_WRITE, ENOSPC)
WALK(test_sync_fails, FAULT_SYNC, EIO)
WALK(test_rename_fails, FAULT_RENAME, EIO)
WALK(test_unlink_fails, FAULT_UNLINK, EIO)
WALK(test_mkdir_fails, FAULT_MKDIR, ENOSPC)
WALK(test_truncate_fails, FAULT_TRUNCATE, EIO)
WALK(test_allocate_fails, FAULT_FALLOCATE, ENOSPC)
WALK(test_alloc_fails, FAULT_ALLOC, ENOMEM)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_read_fails),
		cmocka_unit_test(test_write_fails),
		cmocka_unit_test(test_write_full),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_rename_fails),
		cmocka_unit_test(test_unlink_fails),
		cmocka_unit_test(test_mkdir_fails),
		cmocka_unit_test(test_truncate_fails),
		cmocka_unit_test(test_allocate_fails),
		cmocka_unit_test(test_alloc_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
