/* tests/unit/object/test_share.c - copy, failures, collector, sweep, verify. */
#include "tests/unit/object/kv_double.h"

#include "tests/unit/object/shared.h"

#include "gateway/object/store.h"

/* --- copy --- */

static void
test_copy(void **state)
{
	struct fixture *f = *state;
	uint64_t empty = records(f).records;
	struct write_cond none = { .if_none_match_any = true };
	struct err e = ERR_INIT;

	put_z(f, "a", "hello");
	copy(f, "a", "b");
	copy(f, "b", "c");
	copy(f, "a", "c");
	assert_body(f, "b", "hello");
	assert_body(f, "c", "hello");
	assert_int_equal(blobs(f->s).files, 1);
	assert_usage(f, 3, 15);
	assert_int_equal(copy_cond(f, "a", "b", &none, &e),
	    ERR_PRECONDITION_FAILED);
	del(f, "a");
	collect(f);
	assert_body(f, "b", "hello");
	put_z(f, "b", "other");
	collect(f);
	assert_body(f, "c", "hello");
	assert_int_equal(blobs(f->s).files, 2);
	del(f, "c");
	collect(f);
	assert_int_equal(blobs(f->s).files, 1);
	del(f, "b");
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
	assert_usage(f, 0, 0);
	assert_int_equal(records(f).records, empty);
}

static void
test_copy_empty_and_self(void **state)
{
	struct fixture *f = *state;
	struct header h = { STR_LIT("x-amz-meta-v"), STR_LIT("2") };
	struct object_reader *r;
	struct err e = ERR_INIT;
	struct object o;
	int i;

	put_z(f, "empty", "");
	copy(f, "empty", "empty2");
	copy(f, "empty", "empty");
	assert_body(f, "empty2", "");
	assert_usage(f, 2, 0);
	del(f, "empty");
	del(f, "empty2");

	put_z(f, "a", "hello");
	for (i = 0; i < 3; i++) {
		r = open_object(f, "a", &o);
		o.headers = &h;
		o.n_headers = 1;
		OK(object_copy(r, &f->b, STR_LIT("a"), &f->user, NULL, &o, &e));
		object_close(&r);
		assert_body(f, "a", "hello");
		if (i == 1)
			copy(f, "a", "b"); /* shared from now on */
	}
	r = open_object(f, "a", &o);
	assert_int_equal(o.n_headers, 1);
	assert_true(str_eqz(o.headers[0].value, "2"));
	object_close(&r);
	collect(f);
	assert_int_equal(blobs(f->s).files, 1);
	assert_usage(f, 2, 10);
	del(f, "a");
	del(f, "b");
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
}

/* O3: what was replaced since it was opened is not brought back. */
static void
test_copy_of_garbage(void **state)
{
	struct fixture *f = *state;
	struct object_reader *r;
	struct err e = ERR_INIT;
	struct object o;
	char got[8];
	size_t n;

	put_z(f, "a", "hello");
	r = open_object(f, "a", &o);
	put_z(f, "a", "newer");
	assert_int_equal(object_copy(r, &f->b, STR_LIT("b"), &f->user, NULL, &o,
			     &e),
	    ERR_RETRY);
	collect(f);
	/* the reader is older than its death: bytes are still there */
	assert_int_equal(blobs(f->s).files, 2);
	OK(object_read(r, 0, got, 8, &n, &e));
	assert_memory_equal(got, "hello", 5);
	object_close(&r);
	collect(f);
	assert_int_equal(blobs(f->s).files, 1);
	assert_null(get_body(f, "b", NULL).p);
	/* an inline manifest that another copy shared meanwhile is fine */
	r = open_object(f, "a", &o);
	copy(f, "a", "c");
	OK(object_copy(r, &f->b, STR_LIT("b"), &f->user, NULL, &o, &e));
	object_close(&r);
	assert_body(f, "b", "newer");
	del(f, "a");
	del(f, "b");
	collect(f);
	assert_body(f, "c", "newer");
	del(f, "c");
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
}

/* C1: a reader keeps its own bytes, whatever becomes of their record, and
 * nothing else that is deleted meanwhile. */
static void
test_readers_hold(void **state)
{
	struct fixture *f = *state;
	struct str body = pattern(f, 350000, 3); /* four extents */
	struct str parts[] = { pattern(f, 150000, 4), pattern(f, 10, 5) };
	struct complete_part want[2];
	struct upload u = begin_upload(f, "parts", CHECKSUM_NONE, false);
	char *got = arena_alloc(f->a, body.len);
	struct object_reader *r, *rp;
	struct err e = ERR_INIT;
	struct object o;
	size_t n;

	for (uint32_t i = 0; i < 2; i++) {
		OK(put_part(f, &u, i + 1, parts[i], NULL, &e));
		want[i] = want_part(f, i + 1, parts[i]);
	}
	OK(complete(f, &u, want, 2, 0, NULL, &e));
	put_str(f, "a", body);
	put_z(f, "other", "other");
	collect(f);
	r = open_object(f, "a", &o);
	rp = open_object(f, "parts", &o);
	/* its bytes go through another record, and another's manifest */
	copy(f, "a", "a");
	copy(f, "a", "b");
	del(f, "a");
	del(f, "b");
	copy(f, "parts", "parts2");
	del(f, "parts");
	del(f, "parts2");
	del(f, "other");
	n = blobs(f->s).files;
	collect(f);
	assert_int_equal(blobs(f->s).files, n - 1);
	collect(f);
	assert_int_equal(blobs(f->s).files, n - 1);
	memset(got, 0, body.len);
	OK(object_read(r, 0, got, body.len, &n, &e));
	assert_int_equal(n, body.len);
	assert_memory_equal(got, body.p, body.len);
	OK(object_read(rp, 100000, got, 50010, &n, &e));
	assert_int_equal(n, 50010);
	assert_memory_equal(got, parts[0].p + 100000, 50000);
	assert_memory_equal(got + 50000, parts[1].p, 10);
	object_close(&rp);
	collect(f);
	OK(object_read(r, 0, got, body.len, &n, &e));
	assert_memory_equal(got, body.p, body.len);
	object_close(&r);
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
}

/* S1: a transaction that writes nothing has no sequence of its own. */
static void
test_reader_after_nothing(void **state)
{
	struct fixture *f = *state;
	struct object_reader *r;
	struct err e = ERR_INIT;
	struct object o;
	char got[8];
	size_t n;

	put_z(f, "a", "hello");
	del(f, "not there");
	r = open_object(f, "a", &o);
	del(f, "a");
	collect(f);
	OK(object_read(r, 0, got, 8, &n, &e));
	assert_memory_equal(got, "hello", 5);
	object_close(&r);
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
}

/* C1: a reader that began and has not found its object yet holds back all that
 * dies meanwhile. */
static void
test_reader_that_looks(void **state)
{
	struct fixture *f = *state;
	struct reader_link r;
	uint64_t files;

	put_z(f, "a", "hello");
	reader_begin(f->s, &r);
	del(f, "a");
	collect(f);
	files = blobs(f->s).files;
	reader_end(f->s, &r);
	assert_int_equal(files, 1);
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
}

/* --- failing --- */

static void
test_failed_put(void **state)
{
	struct fixture *f = *state;
	struct str body = pattern(f, 350000, 1);
	struct object o = { .etag = STR_LIT("x") };
	struct err e = ERR_INIT;
	struct put *p = NULL;
	int n, rc;

	put_z(f, "k", "old");
	/* each write, sync and allocation on the way fails once */
	for (n = 1;; n++) {
		fault_arm(FAULT_ANY, (unsigned long)n, EIO, false);
		rc = put_begin(f->s, &f->b, STR_LIT("k"), body.len, &p, &e);
		if (rc == 0)
			rc = put_write(p, body.p, body.len, &e);
		if (rc == 0)
			rc = put_commit(&p, &f->user, NULL, &o, &e);
		else
			put_abort(&p);
		fault_disarm();
		if (rc == 0)
			break;
		assert_body(f, "k", "old");
		assert_usage(f, 1, 3);
	}
	assert_true(n > 8);
	assert_bytes(f, "k", body);
	assert_usage(f, 1, 350000);
	collect(f);
	/* given up extents are gone, too (those whose give-up failed is the
	 * sweep's work) */
	{
		struct sweep_report r;

		OK(store_sweep(f->s, true, &r, &e));
		clock_shift(8 * DAY);
		collect(f);
		clock_shift(-8 * DAY);
		assert_int_equal(blobs(f->s).files, 4);
	}
}

static void
test_unknown_commit(void **state)
{
	struct fixture *f = *state;
	struct write_cond none = { .if_none_match_any = true };
	struct err e = ERR_INIT;
	struct sweep_report r;
	struct object o;
	struct upload u;
	struct complete_part want[1];

	kv_double_rerun = false;
	/* it was committed, only the answer failed: settled by write ID */
	kv_double_fail = 1;
	kv_double_fail_applied = true;
	OK(put_cond(f, "k", STR_LIT("one"), &none, &o, &e));
	assert_body(f, "k", "one");
	kv_double_fail = 1;
	OK(copy_cond(f, "k", "k2", &none, &e));
	assert_body(f, "k2", "one");
	u = begin_upload(f, "mp", 0, false);
	kv_double_fail = 1;
	OK(put_part(f, &u, 1, STR_LIT("part"), NULL, &e));
	want[0] = want_part(f, 1, STR_LIT("part"));
	kv_double_fail = 1;
	OK(complete(f, &u, want, 1, 1, &o, &e));
	assert_body(f, "mp", "part");
	/* it was not: an error, the bytes wait for the sweep */
	kv_double_fail = 1;
	kv_double_fail_applied = false;
	assert_int_equal(put_cond(f, "k3", STR_LIT("three"), &none, &o, &e),
	    ERR_FAILED);
	kv_double_fail = 0;
	assert_null(get_body(f, "k3", NULL).p);
	collect(f);
	assert_int_equal(blobs(f->s).files, 3);
	OK(store_sweep(f->s, true, &r, &e));
	assert_int_equal(r.unknown, 1);
	assert_int_equal(r.trashed, 1);
}

/* --- sweep --- */

static struct blob_info
stray_blob(struct fixture *f, const struct id128 *index_id, uint8_t class)
{
	struct blob_owner o = { .class = class,
		.index_id = *index_id,
		.write_id = id128_new() };
	struct err e = ERR_INIT;
	struct blob_info i;

	OK(blob_put_whole(store_blob(f->s), STR_NULL, &o, STR_LIT("stray"), &i,
	    &e));
	return i;
}

static void
test_sweep(void **state)
{
	struct fixture *f = *state;
	struct id128 own = *kv_id(store_kv(f->s)), other = id128_new();
	struct object o = { .etag = STR_LIT("x") };
	struct err e = ERR_INIT;
	struct sweep_report r;
	struct put *p = NULL;
	struct upload u;
	char name[16], all[110000];
	int i;

	memset(all, 'x', sizeof(all));
	assert_true(kv_is_fresh(store_kv(f->s)));
	for (i = 0; i < 250; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		put_z(f, name, name);
	}
	copy(f, "k0", "copy");
	put_z(f, "k1", "replaced"); /* garbage */
	u = begin_upload(f, "mp", 0, false);
	OK(put_part(f, &u, 1, STR_LIT("part"), NULL, &e));
	stray_blob(f, &other, BLOB_CLASS_S3);
	stray_blob(f, &own, BLOB_CLASS_INDEX);
	/* an upload in progress, one extent written */
	OK(put_begin(f->s, &f->b, STR_LIT("slow"), 400000, &p, &e));
	for (i = 0; i < 3; i++)
		OK(put_write(p, all, sizeof(all), &e));
	stray_blob(f, &own, BLOB_CLASS_S3);

	/* fresh: not without confirmation */
	OK(store_sweep(f->s, false, &r, &e));
	assert_int_equal(r.unknown, 1);
	assert_true(r.needs_confirm);
	assert_int_equal(r.trashed, 0);
	assert_true(kv_is_fresh(store_kv(f->s)));
	OK(store_sweep(f->s, true, &r, &e));
	assert_false(r.needs_confirm);
	assert_int_equal(r.seen, 250 + 1 + 1 + 3 + 1);
	assert_int_equal(r.trashed, 1);
	assert_int_equal(r.unknown_bytes, 5);
	assert_false(kv_is_fresh(store_kv(f->s)));
	/* what is in the trash is known */
	OK(store_sweep(f->s, false, &r, &e));
	assert_int_equal(r.unknown, 0);
	/* not fresh, under 1 %: by itself */
	stray_blob(f, &own, BLOB_CLASS_S3);
	stray_blob(f, &own, BLOB_CLASS_S3);
	OK(store_sweep(f->s, false, &r, &e));
	assert_false(r.needs_confirm);
	assert_int_equal(r.trashed, 2);
	for (i = 0; i < 3; i++)
		stray_blob(f, &own, BLOB_CLASS_S3);
	OK(store_sweep(f->s, false, &r, &e)); /* 3 of 262 */
	assert_int_equal(r.unknown, 3);
	assert_true(r.needs_confirm);
	assert_int_equal(r.trashed, 0);
	OK(store_sweep(f->s, true, &r, &e));
	assert_int_equal(r.trashed, 3);

	/* the upload went on all the while */
	OK(put_write(p, all, 400000 - 3 * sizeof(all), &e));
	OK(put_commit(&p, &f->user, NULL, &o, &e));
	/* in the trash for a week */
	collect(f);
	assert_int_equal(blobs(f->s).files, 250 + 1 + 4 + 2 + 6);
	clock_shift(6 * DAY);
	collect(f);
	assert_int_equal(blobs(f->s).files, 250 + 1 + 4 + 2 + 6);
	clock_shift(2 * DAY);
	collect(f);
	clock_shift(-8 * DAY);
	assert_int_equal(blobs(f->s).files, 250 + 1 + 4 + 2);
	assert_body(f, "copy", "k0");
	assert_int_equal(get_body(f, "slow", NULL).len, 400000);
}

static void
test_sweep_new_index(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct sweep_report r;

	/* nothing unknown: a new index need not be confirmed */
	put_z(f, "k", "x");
	OK(store_sweep(f->s, false, &r, &e));
	assert_false(r.needs_confirm);
	assert_false(kv_is_fresh(store_kv(f->s)));
}

/* --- verify --- */

static void
note_bad(void *arg, struct str bucket, struct str key, const struct err *why)
{
	assert_true(str_eqz(bucket, "bucket"));
	assert_true(str_eqz(key, "k7"));
	assert_int_equal(why->code, *(int *)arg);
	*(int *)arg = 0;
}

struct first {
	char id[BLOB_ID_MAX];
	uint64_t size;
};

static int
find_size(void *arg, const struct blob_info *i)
{
	struct first *c = arg;

	if (i->size == c->size)
		memcpy(c->id, i->id, sizeof(c->id));
	return 0;
}

static void
test_verify(void **state)
{
	struct fixture *f = *state;
	struct str body = pattern(f, 3333, 1);
	struct first find = { .size = 3333 };
	struct err e = ERR_INIT;
	struct upload u;
	struct complete_part want[1] = { want_part(f, 1, body) };
	uint64_t n = 0;
	char name[16];
	struct str id;
	int i, why;

	for (i = 0; i < 700; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		put_z(f, name, name);
	}
	u = begin_upload(f, "mp", 0, false);
	OK(put_part(f, &u, 1, STR_LIT("123"), NULL, &e));
	want[0] = want_part(f, 1, STR_LIT("123"));
	OK(complete(f, &u, want, 1, 1, NULL, &e));
	put_str(f, "k7", body);
	why = ERR_OK;
	OK(store_verify(f->s, false, note_bad, &why, &n, &e));
	assert_int_equal(n, 701);
	OK(store_verify(f->s, true, note_bad, &why, &n, &e));
	OK(blob_each(store_blob(f->s), 0, find_size, &find, &e));
	id = str_of(find.id);
	OK(blob_delete_many(store_blob(f->s), &id, 1, &e));
	why = ERR_NOT_FOUND;
	OK(store_verify(f->s, false, note_bad, &why, &n, &e));
	assert_int_equal(why, 0);
	why = ERR_CORRUPT;
	OK(store_verify(f->s, true, note_bad, &why, &n, &e));
	assert_int_equal(why, 0);
}

/* Bytes that are durable before it is known whether the object will be. */
static void
test_stored_early(void **state)
{
	struct fixture *f = *state;
	struct object o = { .etag = STR_LIT("x") };
	struct err e = ERR_INIT;
	struct put *p = NULL;
	size_t size = 350000, before;
	char *body = arena_alloc(f->a, size);
	struct str got;

	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i * 7 + (i >> 8));
	before = blobs(f->s).files;
	for (int end = 0; end < 2; end++) {
		OK(put_begin(f->s, &f->b, STR_LIT("early"), size, &p, &e));
		OK(put_lend(p, body, 200000, &e));
		OK(put_lend(p, body + 200000, size - 200000, &e));
		put_settle(p);
		OK(put_store(p, &e));
		OK(put_store(p, &e)); /* again: nothing is left to do */
		assert_int_equal(blobs(f->s).files, before + 4);
		assert_null(get_body(f, "early", NULL).p);
		if (end == 0)
			put_abort(&p);
		else
			OK(put_commit(&p, &f->user, NULL, &o, &e));
		collect(f);
		assert_int_equal(blobs(f->s).files, before + 4 * (size_t)end);
	}
	got = get_body(f, "early", NULL);
	assert_int_equal(got.len, size);
	assert_memory_equal(got.p, body, size);
	/* Too few: it has failed. */
	OK(put_begin(f->s, &f->b, STR_LIT("early"), size, &p, &e));
	OK(put_lend(p, body, 200000, &e));
	assert_int_equal(put_store(p, &e), ERR_INCOMPLETE_BODY);
	assert_int_equal(put_commit(&p, &f->user, NULL, &o, &e), ERR_FAILED);
	collect(f);
	assert_int_equal(blobs(f->s).files, before + 4);
	/* One that is kept whole is written by its commit. */
	OK(put_begin(f->s, &f->b, STR_LIT("small"), 1000, &p, &e));
	OK(put_lend(p, body, 500, &e));
	OK(put_lend(p, body + 500, 500, &e));
	OK(put_store(p, &e));
	assert_int_equal(blobs(f->s).files, before + 4);
	OK(put_commit(&p, &f->user, NULL, &o, &e));
	assert_int_equal(blobs(f->s).files, before + 5);
	assert_memory_equal(get_body(f, "small", NULL).p, body, 1000);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_copy),
		T(test_copy_empty_and_self),
		T(test_copy_of_garbage),
		T(test_readers_hold),
		T(test_reader_after_nothing),
		T(test_reader_that_looks),
		T(test_failed_put),
		T(test_stored_early),
		T(test_unknown_commit),
		T(test_sweep),
		T(test_sweep_new_index),
		T(test_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
