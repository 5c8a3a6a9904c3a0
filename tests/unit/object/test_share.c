/* tests/unit/object/test_share.c - copy, multipart, collector, sweep, verify. */
#include "tests/unit/object/kv_double.h"

#include "tests/unit/object/fixture.h"

#define DAY ((int64_t)86400 * 1000000000)

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store_conf c = { .extent_size = 100000,
		.trash_s = 7 * 86400,
		.upload_expiry_s = 3 * 86400 };
	struct err e = ERR_INIT;
	struct store *s = NULL;

	kv_double_rerun = true;
	OK(kv_open(NULL, &c.kv, &e));
	OK(blob_memory_new(&c.blob, &e));
	OK(store_open(&c, &s, &e));
	fixture_setup(f, s);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	arena_free(&f->a);
	free(f);
	fault_disarm();
	kv_double_fail = 0;
	kv_double_fail_applied = false;
	return 0;
}

static void
collect(struct fixture *f)
{
	struct err e = ERR_INIT;

	OK(store_collect(f->s, &e));
}

static struct object_reader *
open_object(struct fixture *f, const char *key, struct object *ret)
{
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;

	OK(object_open(f->s, &f->b, str_of(key), STR_NULL, f->a, ret, &r, &e));
	return r;
}

static int
copy_cond(struct fixture *f, const char *from, const char *to,
    const struct write_cond *cond, struct err *e)
{
	struct object o;
	struct object_reader *r = open_object(f, from, &o);
	int rc = object_copy(r, &f->b, str_of(to), &f->user, cond, &o, e);

	object_close(&r);
	return rc;
}

static void
copy(struct fixture *f, const char *from, const char *to)
{
	struct err e = ERR_INIT;

	OK(copy_cond(f, from, to, NULL, &e));
}

static void
del(struct fixture *f, const char *key)
{
	struct err e = ERR_INIT;

	OK(object_delete(f->s, &f->b, str_of(key), STR_NULL, STR_NULL, &e));
}

static struct kv_stat
records(struct fixture *f)
{
	struct kv_stat st;

	kv_get_stat(store_kv(f->s), &st);
	return st;
}

static struct str
pattern(struct fixture *f, size_t len, unsigned seed)
{
	char *p = arena_alloc(f->a, len + 1);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (char)((i * 2654435761u + seed) >> 13);
	return str_mem(p, len);
}

static void
assert_bytes(struct fixture *f, const char *key, struct str want)
{
	struct str got = get_body(f, key, NULL);

	assert_non_null(got.p);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.p, want.p, want.len);
}

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

/* --- multipart --- */

static struct upload
begin_upload(struct fixture *f, const char *key, uint8_t alg, bool composite)
{
	struct header h = { STR_LIT("content-type"), STR_LIT("a/b") };
	struct err e = ERR_INIT;
	struct upload u;

	OK(upload_create(f->s, &f->b, str_of(key), &f->user, &h, 1, alg,
	    composite, &u, &e));
	return u;
}

static struct checksum
crc32_of(struct str body)
{
	struct checksum c = { .alg = CHECKSUM_CRC32, .len = 4 };

	hash_one(HASH_CRC32, body.p, body.len, c.value);
	return c;
}

static int
put_part(struct fixture *f, const struct upload *u, uint32_t number,
    struct str body, struct object_part *ret, struct err *ret_e)
{
	struct err e = ERR_INIT;
	struct object_part part = { .etag = md5_text(f->a, body),
		.checksum = crc32_of(body) };
	struct put *p = NULL;
	size_t i, n;
	int rc;

	OK(put_begin(f->s, &f->b, u->key, body.len, &p, &e));
	for (i = 0; i < body.len; i += n) {
		n = body.len - i < 33333 ? body.len - i : 33333;
		OK(put_write(p, body.p + i, n, &e));
	}
	rc = part_commit(&p, str_of(u->id), number, &part, ret_e);
	if (ret != NULL)
		*ret = part;
	return rc;
}

static struct complete_part
want_part(struct fixture *f, uint32_t number, struct str body)
{
	return (struct complete_part){ .number = number,
		.etag = md5_text(f->a, body) };
}

static int
complete(struct fixture *f, const struct upload *u,
    const struct complete_part *parts, size_t n, uint64_t min,
    struct object *ret, struct err *e)
{
	struct object o;
	int rc = upload_complete(f->s, &f->b, u->key, str_of(u->id), parts, n,
	    min, NULL, UINT64_MAX, NULL, f->a, &o, e);

	if (ret != NULL && rc == 0)
		*ret = o;
	return rc;
}

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

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_copy),
		T(test_copy_empty_and_self),
		T(test_copy_of_garbage),
		T(test_multipart),
		T(test_complete_races),
		T(test_composite),
		T(test_part_copy),
		T(test_upload_list),
		T(test_failed_put),
		T(test_unknown_commit),
		T(test_sweep),
		T(test_sweep_new_index),
		T(test_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
