/* tests/unit/index/test_kv_archive.c - the copy of the index in the storage:
 * archive, rebuild, backup. */
#include "gateway/blob/blob.h"
#include "gateway/index/chunk.h"
#include "model.h"

#include "lib/fault.h"

#include <errno.h>

#define UNIVERSE 300

struct fixture {
	char dir[300], other[300];
	struct kv_conf conf;
	struct blob *blob;
	struct kv *kv;
	struct model model;
	uint64_t seed, i;
};

static char last_event[600];

static void
note_event(void *arg, int level, const char *text)
{
	snprintf(last_event, sizeof(last_event), "%s", text);
	test_event(arg, level, text);
}

static void
setup(struct fixture *f, uint64_t snapshot_every)
{
	struct err e = ERR_INIT;
	char *base = test_dir();

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/a", base);
	snprintf(f->other, sizeof(f->other), "%s/b", base);
	f->seed = 5;
	last_event[0] = '\0';
	OK(blob_memory_new(&f->blob, &e));
	f->conf = (struct kv_conf){
		.dir = f->dir,
		.map_size = 64 << 20,
		.table_max = 256 << 10,
		.log_segment = 256 << 10,
		.archive_interval_s = 3600, /* the test says when */
		.snapshot_every = snapshot_every,
		.archive = f->blob,
		.event = note_event,
	};
	OK(kv_open(&f->conf, &f->kv, &e));
}

static void
teardown(struct fixture *f)
{
	struct err e = ERR_INIT;

	kv_close(&f->kv);
	model_fini(&f->model);
	blob_close(&f->blob);
	*strrchr(f->dir, '/') = '\0';
	OK(fs_remove_tree(f->dir, &e));
}

static void
transactions(struct fixture *f, unsigned n)
{
	struct err e = ERR_INIT;
	struct tx_plan t;

	for (unsigned j = 0; j < n; j++) {
		tx_make(&t, f->seed, f->i++, UNIVERSE);
		kv_update(f->kv, tx_run, &t, &e);
		tx_apply(&f->model, &t);
	}
}

/* Rebuilds into the other directory and opens that. */
static void
rebuild(struct fixture *f)
{
	struct id128 id = *kv_id(f->kv);
	struct err e = ERR_INIT;

	OK(fs_remove_tree(f->other, &e));
	f->conf.dir = f->other;
	OK(kv_rebuild(&f->conf, &id, &e));
	kv_close(&f->kv);
	OK(kv_open(&f->conf, &f->kv, &e));
	assert_true(id128_eq(kv_id(f->kv), &id));
	assert_true(kv_is_fresh(f->kv));
}

static void
counts(struct fixture *f, size_t *ret_snapshots, size_t *ret_chunks)
{
	struct archived_list l;
	struct err e = ERR_INIT;

	*ret_snapshots = *ret_chunks = 0;
	OK(archived_load(f->blob, kv_id(f->kv), &l, &e));
	for (size_t i = 0; i < l.n; i++)
		++*(l.p[i].is_snapshot ? ret_snapshots : ret_chunks);
	archived_fini(&l);
}

static void
test_log_only(void **state)
{
	struct err e = ERR_INIT;
	struct fixture f;
	struct kv_stat st;
	size_t snapshots, chunks;

	(void)state;
	setup(&f, 1ull << 40);
	for (int round = 0; round < 4; round++) {
		transactions(&f, 150);
		OK(kv_archive(f.kv, &e));
	}
	kv_get_stat(f.kv, &st);
	assert_int_equal(st.archived_seq, st.seq);
	assert_true(st.archived_at_s > 0);
	counts(&f, &snapshots, &chunks);
	assert_int_equal(snapshots, 0);
	assert_true(chunks >= 4);
	rebuild(&f);
	assert_true(kv_equals(f.kv, &f.model));
	teardown(&f);
}

static void
test_snapshots(void **state)
{
	struct err e = ERR_INIT;
	struct fixture f;
	size_t snapshots, chunks, most = 0;

	(void)state;
	setup(&f, 200 << 10);
	assert_true(kv_is_fresh(f.kv));
	OK(kv_clear_fresh(f.kv, &e));
	for (int round = 0; round < 30; round++) {
		transactions(&f, 100);
		if (round == 11) {
			kv_close(&f.kv); /* archives */
			OK(kv_open(&f.conf, &f.kv, &e));
			assert_false(kv_is_fresh(f.kv));
		}
		OK(kv_archive(f.kv, &e));
		counts(&f, &snapshots, &chunks);
		if (chunks > most)
			most = chunks;
	}
	assert_int_equal(snapshots, 1); /* older ones are gone */
	assert_true(most < 12);         /* and their log */
	rebuild(&f);
	assert_true(kv_equals(f.kv, &f.model));

	/* The rebuilt one goes on, and is archived in turn. */
	transactions(&f, 200);
	kv_close(&f.kv);
	OK(kv_open(&f.conf, &f.kv, &e));
	assert_true(kv_equals(f.kv, &f.model));
	OK(kv_archive(f.kv, &e));
	snprintf(f.other, sizeof(f.other), "%s", f.dir); /* the lost one's */
	rebuild(&f);
	assert_true(kv_equals(f.kv, &f.model));
	teardown(&f);
}

static int
count_file(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

/* What was not archived yet is kept in the log, flushed or not. */
static void
test_log_is_kept(void **state)
{
	struct err e = ERR_INIT;
	char log[400];
	struct fixture f;
	unsigned before = 0, after = 0;

	(void)state;
	setup(&f, 1ull << 40);
	transactions(&f, 1500);
	OK(kv_flush(f.kv, &e));
	snprintf(log, sizeof(log), "%s/log", f.dir);
	OK(fs_each(log, count_file, &before, &e));
	assert_true(before > 4);
	OK(kv_archive(f.kv, &e));
	OK(fs_each(log, count_file, &after, &e));
	assert_true(after <= 4);
	rebuild(&f);
	assert_true(kv_equals(f.kv, &f.model));
	teardown(&f);
}

static void
copy_file(const char *from_dir, const char *to_dir, const char *name)
{
	struct err e = ERR_INIT;
	struct buf b = BUF_CAP(256 << 20);
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", from_dir, name);
	OK(fs_read_file(path, b.cap, &b, &e));
	snprintf(path, sizeof(path), "%s/%s", to_dir, name);
	OK(fs_write_file(path, buf_str(&b), 0600, &e));
	buf_fini(&b);
}

struct copying {
	const char *from, *to;
};

static int
copy_one(void *arg, const char *name)
{
	const struct copying *c = arg;

	copy_file(c->from, c->to, name);
	return 0;
}

static void
copy_index(const char *from, const char *to)
{
	char from_log[400], to_log[400];
	struct copying c = { from_log, to_log };
	struct err e = ERR_INIT;

	snprintf(from_log, sizeof(from_log), "%s/log", from);
	snprintf(to_log, sizeof(to_log), "%s/log", to);
	OK(fs_mkdir_p(to_log, &e));
	copy_file(from, to, "index.lmdb");
	OK(fs_each(from_log, copy_one, &c, &e));
}

/* A3: somebody brings back last week's directory. */
static void
test_older_copy(void **state)
{
	struct err e = ERR_INIT;
	struct fixture f;
	struct model old;
	char copy[400];
	uint64_t i;

	(void)state;
	setup(&f, 300 << 10);
	transactions(&f, 300);
	OK(kv_clear_fresh(f.kv, &e));
	kv_close(&f.kv);
	snprintf(copy, sizeof(copy), "%s-copy", f.dir);
	copy_index(f.dir, copy);
	old = model_clone(&f.model);
	i = f.i;

	OK(kv_open(&f.conf, &f.kv, &e));
	transactions(&f, 400); /* these are lost with it */
	OK(kv_archive(f.kv, &e));
	kv_close(&f.kv);

	model_fini(&f.model);
	f.model = old;
	f.i = i + 10000;
	f.conf.dir = copy;
	OK(kv_open(&f.conf, &f.kv, &e));
	assert_false(kv_is_fresh(f.kv));
	assert_true(kv_equals(f.kv, &f.model));
	transactions(&f, 20); /* before it finds out */
	OK(kv_archive(f.kv, &e));
	assert_true(kv_is_fresh(f.kv));
	transactions(&f, 300);
	OK(kv_archive(f.kv, &e));
	rebuild(&f);
	assert_true(kv_equals(f.kv, &f.model));
	transactions(&f, 100);
	kv_close(&f.kv);
	OK(kv_open(&f.conf, &f.kv, &e));
	assert_true(kv_equals(f.kv, &f.model));
	teardown(&f);
}

static void
test_missing_parts(void **state)
{
	struct err e = ERR_INIT;
	struct archived_list l;
	struct model first;
	struct id128 id, other;
	struct fixture f;
	struct str ids[1];

	(void)state;
	setup(&f, 1ull << 40);
	transactions(&f, 100);
	OK(kv_archive(f.kv, &e));
	first = model_clone(&f.model);
	for (int j = 0; j < 3; j++) {
		transactions(&f, 100);
		OK(kv_archive(f.kv, &e));
	}
	OK(archived_load(f.blob, kv_id(f.kv), &l, &e));
	for (size_t j = 0; j < l.n; j++) {
		for (size_t m = j + 1; m < l.n; m++) {
			struct archived t = l.p[j];

			if (l.p[m].first < t.first) {
				l.p[j] = l.p[m];
				l.p[m] = t;
			}
		}
	}
	ids[0] = str_of(l.p[1].id);
	OK(blob_delete_many(f.blob, ids, 1, &e));
	/* As far as it is contiguous, and it says so. */
	id = *kv_id(f.kv);
	f.conf.dir = f.other;
	last_event[0] = '\0';
	OK(kv_rebuild(&f.conf, &id, &e));
	assert_non_null(strstr(last_event, "cannot be read"));
	/* Not over an index. */
	assert_int_equal(kv_rebuild(&f.conf, &id, &e), ERR_EXISTS);
	kv_close(&f.kv);
	f.conf.archive = NULL;
	OK(kv_open(&f.conf, &f.kv, &e));
	assert_true(kv_equals(f.kv, &first));
	kv_close(&f.kv);

	/* Nothing to begin with: nothing is made. */
	f.conf.archive = f.blob;
	ids[0] = str_of(l.p[0].id);
	OK(blob_delete_many(f.blob, ids, 1, &e));
	OK(fs_remove_tree(f.other, &e));
	assert_int_equal(kv_rebuild(&f.conf, NULL, &e), ERR_CORRUPT);
	other = id128_new();
	assert_int_equal(kv_rebuild(&f.conf, &other, &e), ERR_NOT_FOUND);
	f.conf.archive = NULL;
	OK(kv_open(&f.conf, &f.kv, &e)); /* a new one */
	assert_false(id128_eq(kv_id(f.kv), &id));
	archived_fini(&l);
	model_fini(&first);
	teardown(&f);
}

static void
test_backup(void **state)
{
	struct err e = ERR_INIT;
	struct fixture f;

	(void)state;
	setup(&f, 1ull << 40);
	f.conf.archive = NULL;
	transactions(&f, 600);
	OK(kv_backup(f.kv, f.other, &e));
	assert_int_equal(kv_backup(f.kv, f.other, &e), ERR_EXISTS);
	kv_close(&f.kv);
	f.conf.dir = f.other;
	OK(kv_open(&f.conf, &f.kv, &e));
	assert_true(kv_equals(f.kv, &f.model));
	assert_true(kv_is_fresh(f.kv));
	transactions(&f, 100);
	assert_true(kv_equals(f.kv, &f.model));
	teardown(&f);
}

/* Every write, sync, read or delete that fails on the way is met later on. */
static void
test_faults(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC,
		FAULT_READ, FAULT_UNLINK, FAULT_ALLOC };
	struct err e = ERR_INIT;
	struct id128 id;
	struct fixture f;
	unsigned long n;
	int rc;

	(void)state;
	setup(&f, 100 << 10);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (n = 1; n < 25; n++) {
			transactions(&f, 8);
			OK(kv_flush(f.kv, &e));
			fault_arm(kinds[k], n, EIO, false);
			rc = kv_archive(f.kv, &e);
			fault_disarm();
			if (!fault_fired())
				assert_int_equal(rc, 0);
		}
		OK(kv_archive(f.kv, &e));
		id = *kv_id(f.kv);
		f.conf.dir = f.other;
		for (n = 1; n < 400; n += 1 + n / 10) {
			OK(fs_remove_tree(f.other, &e));
			fault_arm(kinds[k], n, EIO, false);
			rc = kv_rebuild(&f.conf, &id, &e);
			fault_disarm();
			if (!fault_fired())
				break;
			if (rc == 0)
				continue;
			/* Half-made ones are not opened, but made again. */
			rc = kv_rebuild(&f.conf, &id, &e);
			if (rc != ERR_EXISTS)
				assert_int_equal(rc, 0);
		}
		kv_close(&f.kv);
		OK(kv_open(&f.conf, &f.kv, &e));
		assert_true(kv_equals(f.kv, &f.model));
		memcpy(f.other, f.dir, sizeof(f.other));
		snprintf(f.dir, sizeof(f.dir), "%s", f.conf.dir);
		f.conf.dir = f.dir;
	}
	teardown(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_only),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_log_is_kept),
		cmocka_unit_test(test_older_copy),
		cmocka_unit_test(test_missing_parts),
		cmocka_unit_test(test_backup),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
