/* tests/unit/object/test_multipart.c - uploads: parts, copied parts, Complete,
 * abort, listing, expiry. */
#include "tests/unit/object/kv_double.h"

#include "tests/unit/object/shared.h"

static void
test_multipart(void **state)
{
	struct fixture *f = *state;
	uint64_t empty = records(f).records;
	struct str whole = pattern(f, 700000, 3);
	struct str body[3] = { str_sub(whole, 0, 250000),
		str_sub(whole, 250000, 300000),
		str_sub(whole, 550000, 150000) };
	uint32_t number[3] = { 2, 5, 9999 };
	struct upload u = begin_upload(f, "mp", CHECKSUM_CRC32, false);
	struct complete_part want[3];
	struct object_part part, *list;
	struct bucket_usage usage;
	struct object_reader *r;
	struct checksum sum;
	struct err e = ERR_INIT;
	struct object o, again;
	struct upload got;
	char *bytes;
	bool more;
	size_t i, n;

	OK(upload_get(f->s, &f->b, u.key, str_of(u.id), f->a, &got, &e));
	assert_true(str_eqz(got.key, "mp"));
	assert_string_equal(got.owner_name, "alice");
	assert_int_equal(got.checksum_alg, CHECKSUM_CRC32);
	assert_int_equal(got.n_headers, 1);
	assert_int_equal(upload_get(f->s, &f->b, STR_LIT("other"), str_of(u.id),
			     f->a, &got, &e),
	    ERR_NO_SUCH_UPLOAD);
	assert_int_equal(upload_get(f->s, &f->b, u.key, STR_LIT("zz"), f->a,
			     &got, &e),
	    ERR_NO_SUCH_UPLOAD);
	for (i = 3; i-- > 0;) {
		OK(put_part(f, &u, number[i], body[i], &part, &e));
		assert_int_equal(part.size, body[i].len);
		want[i] = want_part(f, number[i], body[i]);
	}
	/* replaced, and one that is not asked for */
	OK(put_part(f, &u, 5, STR_LIT("replaced"), NULL, &e));
	OK(put_part(f, &u, 5, body[1], NULL, &e));
	OK(put_part(f, &u, 7, STR_LIT("unused"), NULL, &e));
	assert_int_equal(put_part(f, &u, 10001, STR_LIT("x"), NULL, &e),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(put_part(f, &u, 0, STR_LIT("x"), NULL, &e),
	    ERR_INVALID_ARGUMENT);
	OK(part_list(f->s, &f->b, u.key, str_of(u.id), 2, 2, f->a, &list, &n,
	    &more, &e));
	assert_int_equal(n, 2);
	assert_true(more);
	assert_int_equal(list[0].number, 5);
	assert_int_equal(list[1].number, 7);
	assert_int_equal(list[0].size, body[1].len);
	assert_true(str_eq(list[0].etag, want[1].etag));
	OK(part_list(f->s, &f->b, u.key, str_of(u.id), 9999, 2, f->a, &list, &n,
	    &more, &e));
	assert_int_equal(n, 0);
	OK(bucket_usage(f->s, &f->b, &usage, &e));
	assert_int_equal(usage.uploads, 1);
	assert_int_equal(usage.objects, 0);
	assert_null(get_body(f, "mp", NULL).p);

	/* what must not complete */
	assert_int_equal(complete(f, &u, want, 3, 250001, NULL, &e),
	    ERR_ENTITY_TOO_SMALL);
	assert_int_equal(complete(f, &u, want, 0, 1, NULL, &e),
	    ERR_MALFORMED_XML);
	want[1].number = 6;
	assert_int_equal(complete(f, &u, want, 3, 1, NULL, &e),
	    ERR_INVALID_PART);
	want[1].number = 2;
	assert_int_equal(complete(f, &u, want, 3, 1, NULL, &e),
	    ERR_INVALID_PART_ORDER);
	want[1].number = 5;
	want[1].etag = want[0].etag;
	assert_int_equal(complete(f, &u, want, 3, 1, NULL, &e),
	    ERR_INVALID_PART);
	want[1] = want_part(f, 5, body[1]);
	want[1].checksum = crc32_of(body[0]);
	assert_int_equal(complete(f, &u, want, 3, 1, NULL, &e),
	    ERR_INVALID_PART);
	want[1].checksum = crc32_of(body[1]);
	want[2].number = 10000;
	assert_int_equal(complete(f, &u, want, 3, 1, NULL, &e),
	    ERR_INVALID_PART);
	want[2].number = 9999;
	sum = crc32_of(body[0]);
	assert_int_equal(upload_complete(f->s, &f->b, u.key, str_of(u.id), want,
			     3, 1, &sum, UINT64_MAX, NULL, f->a, &o, &e),
	    ERR_BAD_DIGEST);
	assert_int_equal(upload_complete(f->s, &f->b, u.key, str_of(u.id), want,
			     3, 1, NULL, 699999, NULL, f->a, &o, &e),
	    ERR_INVALID_REQUEST);

	put_z(f, "mp", "old");
	sum = crc32_of(whole);
	OK(upload_complete(f->s, &f->b, u.key, str_of(u.id), want, 3, 250000,
	    &sum, 700000, NULL, f->a, &o, &e));
	assert_int_equal(o.size, 700000);
	assert_true(str_has_suffix(o.etag, STR_LIT("-3")));
	assert_int_equal(o.etag.len, 34);
	assert_int_equal(o.checksum.alg, CHECKSUM_CRC32);
	assert_memory_equal(o.checksum.value, sum.value, 4);
	assert_int_equal(o.n_parts, 3);
	assert_usage(f, 1, 700000);
	/* repeated: the same answer; other parts: not */
	OK(complete(f, &u, want, 3, 1, &again, &e));
	assert_int_equal(again.seq, o.seq);
	assert_int_equal(again.size, o.size);
	assert_true(str_eq(again.etag, o.etag));
	assert_memory_equal(again.checksum.value, sum.value, 4);
	assert_int_equal(complete(f, &u, want, 2, 1, NULL, &e),
	    ERR_INVALID_PART);
	assert_int_equal(put_part(f, &u, 1, STR_LIT("late"), NULL, &e),
	    ERR_NO_SUCH_UPLOAD);
	assert_int_equal(upload_abort(f->s, &f->b, u.key, str_of(u.id), &e),
	    ERR_NO_SUCH_UPLOAD);

	collect(f);
	assert_int_equal(blobs(f->s).files, 3 + 3 + 2);
	assert_bytes(f, "mp", whole);
	r = open_object(f, "mp", &o);
	assert_int_equal(o.n_headers, 1);
	assert_string_equal(o.owner_id, f->user.id);
	OK(object_parts(r, f->a, &list, &n, &e));
	assert_int_equal(n, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(list[i].number, number[i]);
		assert_int_equal(list[i].size, body[i].len);
	}
	assert_int_equal(list[1].off, 250000);
	OK(object_part(r, 5, f->a, &part, &n, &e));
	assert_int_equal(n, 3);
	assert_int_equal(part.off, 250000);
	assert_int_equal(part.size, body[1].len);
	assert_int_equal(object_part(r, 4, f->a, &part, &n, &e),
	    ERR_INVALID_PART_NUMBER);
	bytes = arena_alloc(f->a, 700000);
	for (i = 700000; i >= 50000; i -= 50000) { /* backwards */
		OK(object_read(r, i - 50000, bytes, 60000, &n, &e));
		assert_int_equal(n, i == 700000 ? 50000 : 60000);
		assert_memory_equal(bytes, whole.p + i - 50000, n);
	}
	object_close(&r);

	copy(f, "mp", "mp2");
	del(f, "mp");
	collect(f);
	assert_bytes(f, "mp2", whole);
	r = open_object(f, "mp2", &o);
	assert_int_equal(o.n_parts, 3);
	del(f, "mp2");
	collect(f);
	/* parts rows and blobs outlive the object for its reader */
	for (i = 0; i < 700000; i += n) {
		OK(object_read(r, i, bytes, 123456, &n, &e));
		assert_memory_equal(bytes, whole.p + i, n);
	}
	object_close(&r);
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
	OK(store_expire(f->s, &e)); /* not a day old yet */
	OK(complete(f, &u, want, 3, 1, &again, &e));
	clock_shift(2 * DAY);
	OK(store_expire(f->s, &e));
	clock_shift(-2 * DAY);
	assert_int_equal(complete(f, &u, want, 3, 1, NULL, &e),
	    ERR_NO_SUCH_UPLOAD);
	assert_int_equal(records(f).records, empty);
}

struct meanwhile {
	struct fixture *f;
	const struct upload *u;
	struct complete_part *want;
};

static void
replace_part(void *arg)
{
	struct meanwhile *m = arg;
	struct err e = ERR_INIT;

	OK(put_part(m->f, m->u, 1, STR_LIT("other bytes"), NULL, &e));
}

static void
complete_too(void *arg)
{
	struct meanwhile *m = arg;
	struct err e = ERR_INIT;

	OK(complete(m->f, m->u, m->want, 1, 1, NULL, &e));
}

static void
abort_it(void *arg)
{
	struct meanwhile *m = arg;
	struct err e = ERR_INIT;

	OK(upload_abort(m->f->s, &m->f->b, m->u->key, str_of(m->u->id), &e));
}

/* What happens between Complete's look at the parts and its transaction. */
static void
test_complete_races(void **state)
{
	struct fixture *f = *state;
	struct complete_part want[1] = { want_part(f, 1,
	    STR_LIT("some bytes")) };
	struct err e = ERR_INIT;
	struct upload u = begin_upload(f, "mp", CHECKSUM_NONE, false);
	struct meanwhile m = { f, &u, want };
	struct object o;

	kv_double_hook_arg = &m;
	OK(put_part(f, &u, 1, STR_LIT("some bytes"), NULL, &e));
	kv_double_hook = replace_part;
	assert_int_equal(complete(f, &u, want, 1, 1, NULL, &e),
	    ERR_INVALID_PART);
	assert_null(get_body(f, "mp", NULL).p);
	OK(put_part(f, &u, 1, STR_LIT("some bytes"), NULL, &e));
	kv_double_hook = complete_too;
	OK(complete(f, &u, want, 1, 1, &o, &e));
	assert_body(f, "mp", "some bytes");
	assert_usage(f, 1, 10);
	u = begin_upload(f, "mp", CHECKSUM_NONE, false);
	OK(put_part(f, &u, 1, STR_LIT("some bytes"), NULL, &e));
	kv_double_hook = abort_it;
	assert_int_equal(complete(f, &u, want, 1, 1, &o, &e),
	    ERR_NO_SUCH_UPLOAD);
	collect(f);
	assert_int_equal(blobs(f->s).files, 1);
	assert_usage(f, 1, 10);
}

static void
test_composite(void **state)
{
	struct fixture *f = *state;
	struct str b1 = STR_LIT("part one"), b2 = STR_LIT("part two");
	struct upload u = begin_upload(f, "c", CHECKSUM_CRC32, true);
	struct upload v = begin_upload(f, "d", CHECKSUM_NONE, false);
	struct complete_part want[2] = { want_part(f, 1, b1),
		want_part(f, 2, b2) };
	struct checksum c1 = crc32_of(b1), c2 = crc32_of(b2), sum;
	struct err e = ERR_INIT;
	uint8_t both[8], md5[32];
	struct object o;
	char hex[40];

	OK(put_part(f, &u, 1, b1, NULL, &e));
	OK(put_part(f, &u, 2, b2, NULL, &e));
	memcpy(both, c1.value, 4);
	memcpy(both + 4, c2.value, 4);
	sum = crc32_of(str_mem(both, 8));
	OK(upload_complete(f->s, &f->b, u.key, str_of(u.id), want, 2, 1, &sum,
	    UINT64_MAX, NULL, f->a, &o, &e));
	assert_true(o.checksum.is_composite);
	assert_memory_equal(o.checksum.value, sum.value, 4);
	hash_md5(b1.p, b1.len, md5);
	hash_md5(b2.p, b2.len, md5 + 16);
	hash_md5(md5, 32, md5);
	hex_encode(md5, 16, hex);
	strcpy(hex + 32, "-2");
	assert_true(str_eqz(o.etag, hex));
	/* parts without the algorithm of the upload: no checksum */
	OK(put_part(f, &v, 1, b1, NULL, &e));
	want[0] = want_part(f, 1, b1);
	OK(complete(f, &v, want, 1, 1 << 20, &o, &e));
	assert_int_equal(o.checksum.alg, CHECKSUM_NONE);
	assert_body(f, "d", "part one");
	/* parts of nothing */
	v = begin_upload(f, "e", CHECKSUM_NONE, false);
	OK(put_part(f, &v, 1, STR_LIT(""), NULL, &e));
	want[0] = want_part(f, 1, STR_LIT(""));
	OK(complete(f, &v, want, 1, 1, &o, &e));
	assert_body(f, "e", "");
	copy(f, "e", "e2");
	del(f, "e");
	assert_body(f, "e2", "");
}

static void
test_part_copy(void **state)
{
	struct fixture *f = *state;
	uint64_t empty = records(f).records;
	struct str src = pattern(f, 450000, 9), part = pattern(f, 777, 5);
	struct str want_body;
	struct upload u, v;
	struct complete_part want[3];
	struct object_part p;
	struct object_reader *r;
	struct err e = ERR_INIT;
	struct object o;
	char *joined = arena_alloc(f->a, 1000000);

	put_str(f, "src", src);
	u = begin_upload(f, "dst", CHECKSUM_NONE, false);
	r = open_object(f, "src", &o);
	p = (struct object_part){ .etag = STR_LIT("e1") };
	OK(part_copy(r, 150000, 200000, &f->b, u.key, str_of(u.id), 1, &p, &e));
	assert_int_equal(p.size, 200000);
	assert_int_equal(part_copy(r, 450000, 1, &f->b, u.key, str_of(u.id), 2,
			     &p, &e),
	    ERR_INVALID_RANGE);
	/* the same part again, another range; then a part of bytes */
	OK(part_copy(r, 5, 400000, &f->b, u.key, str_of(u.id), 1, &p, &e));
	object_close(&r);
	OK(put_part(f, &u, 2, part, NULL, &e));
	want[0] = (struct complete_part){ 1, STR_LIT("e1"), { 0 } };
	want[1] = want_part(f, 2, part);
	OK(complete(f, &u, want, 2, 1, &o, &e));
	memcpy(joined, src.p + 5, 400000);
	memcpy(joined + 400000, part.p, part.len);
	want_body = str_mem(joined, 400000 + part.len);
	collect(f);
	del(f, "src");
	collect(f);
	assert_bytes(f, "dst", want_body);
	assert_int_equal(blobs(f->s).files, 5 + 1);

	/* a part of that, which borrows in turn */
	v = begin_upload(f, "dst2", CHECKSUM_NONE, false);
	r = open_object(f, "dst", &o);
	p.etag = STR_LIT("e2");
	OK(part_copy(r, 399990, 20, &f->b, v.key, str_of(v.id), 4, &p, &e));
	object_close(&r);
	want[0] = (struct complete_part){ 4, STR_LIT("e2"), { 0 } };
	OK(complete(f, &v, want, 1, 1, &o, &e));
	del(f, "dst");
	collect(f);
	assert_bytes(f, "dst2", str_sub(want_body, 399990, 20));
	del(f, "dst2");
	collect(f);
	collect(f); /* what the first freed held references itself */
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
	clock_shift(2 * DAY);
	OK(store_expire(f->s, &e));
	clock_shift(-2 * DAY);
	assert_int_equal(records(f).records, empty);

	/* copied part into an upload that is aborted */
	put_str(f, "src", src);
	u = begin_upload(f, "dst", CHECKSUM_NONE, false);
	r = open_object(f, "src", &o);
	OK(part_copy(r, 0, 450000, &f->b, u.key, str_of(u.id), 1, &p, &e));
	del(f, "src");
	assert_int_equal(part_copy(r, 0, 450000, &f->b, u.key, str_of(u.id), 2,
			     &p, &e),
	    ERR_RETRY);
	object_close(&r);
	collect(f);
	assert_int_equal(blobs(f->s).files, 5);
	OK(upload_abort(f->s, &f->b, u.key, str_of(u.id), &e));
	collect(f);
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
	assert_int_equal(records(f).records, empty);
}

static void
test_upload_list(void **state)
{
	static const char *const keys[] = { "a/1", "a/2", "b", "b", "c" };
	struct fixture *f = *state;
	struct upload u[5];
	struct upload_entry *list;
	struct bucket_usage usage;
	struct err e = ERR_INIT;
	uint64_t empty;
	bool more;
	size_t i, n;

	for (i = 0; i < 5; i++) {
		u[i] = begin_upload(f, keys[i], 0, false);
		u[i].key = str_of(keys[i]);
		clock_shift(1000000);
		OK(put_part(f, &u[i], 1, STR_LIT("x"), NULL, &e));
	}
	OK(upload_list(f->s, &f->b, STR_NULL, STR_NULL, STR_NULL, STR_NULL, 100,
	    f->a, &list, &n, &more, &e));
	assert_int_equal(n, 5);
	for (i = 0; i < 5; i++)
		assert_string_equal(list[i].u.id, u[i].id);
	OK(upload_list(f->s, &f->b, STR_NULL, STR_LIT("/"), STR_NULL, STR_NULL,
	    2, f->a, &list, &n, &more, &e));
	assert_int_equal(n, 2);
	assert_true(more);
	assert_true(list[0].is_prefix);
	assert_true(str_eqz(list[0].u.key, "a/"));
	assert_string_equal(list[1].u.id, u[2].id);
	OK(upload_list(f->s, &f->b, STR_NULL, STR_LIT("/"), STR_LIT("b"),
	    str_of(u[2].id), 2, f->a, &list, &n, &more, &e));
	assert_int_equal(n, 2);
	assert_false(more);
	assert_string_equal(list[0].u.id, u[3].id);
	OK(upload_list(f->s, &f->b, STR_NULL, STR_LIT("/"), STR_LIT("b"),
	    STR_NULL, 2, f->a, &list, &n, &more, &e));
	assert_int_equal(n, 1);
	OK(upload_list(f->s, &f->b, STR_NULL, STR_LIT("/"), STR_LIT("a/"),
	    STR_NULL, 9, f->a, &list, &n, &more, &e));
	assert_int_equal(n, 3);
	OK(upload_list(f->s, &f->b, STR_LIT("a/2"), STR_LIT("/"), STR_NULL,
	    STR_NULL, 9, f->a, &list, &n, &more, &e));
	assert_int_equal(n, 1);
	OK(upload_abort(f->s, &f->b, u[0].key, str_of(u[0].id), &e));
	OK(bucket_usage(f->s, &f->b, &usage, &e));
	assert_int_equal(usage.uploads, 4);
	collect(f);
	assert_int_equal(blobs(f->s).files, 4);

	/* abandoned ones expire */
	clock_shift(2 * DAY);
	u[0] = begin_upload(f, "young", 0, false);
	clock_shift(DAY + DAY / 2);
	OK(store_expire(f->s, &e));
	clock_shift(-3 * DAY - DAY / 2 - 5000000);
	OK(bucket_usage(f->s, &f->b, &usage, &e));
	assert_int_equal(usage.uploads, 1);
	clock_shift(4 * DAY); /* they died in the future of this clock */
	collect(f);
	clock_shift(-4 * DAY);
	assert_int_equal(blobs(f->s).files, 0);

	/* a bucket goes with the uploads in it */
	empty = records(f).records;
	OK(bucket_create(f->s, &f->user, STR_LIT("other"), STR_NULL, &f->b,
	    &e));
	for (i = 0; i < 5; i++) {
		u[i] = begin_upload(f, keys[i], 0, false);
		u[i].key = str_of(keys[i]);
		OK(put_part(f, &u[i], 1, STR_LIT("x"), NULL, &e));
	}
	OK(bucket_delete(f->s, &f->b, &e));
	collect(f);
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
	assert_int_equal(records(f).records, empty);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_multipart),
		T(test_complete_races),
		T(test_composite),
		T(test_part_copy),
		T(test_upload_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
