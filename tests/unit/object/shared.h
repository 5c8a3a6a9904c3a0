/* tests/unit/object/shared.h - set-up over the doubles, and more short ways:
 * for the tests of what objects share. Include kv_double.h first. */
#ifndef TESTS_OBJECT_SHARED_H
#define TESTS_OBJECT_SHARED_H

#include "tests/unit/object/fixture.h"

#define DAY ((int64_t)86400 * 1000000000)

static UNUSED int
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

static UNUSED int
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

static UNUSED void
collect(struct fixture *f)
{
	struct err e = ERR_INIT;

	OK(store_collect(f->s, &e));
}

static UNUSED struct object_reader *
open_object(struct fixture *f, const char *key, struct object *ret)
{
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;

	OK(object_open(f->s, &f->b, str_of(key), STR_NULL, f->a, ret, &r, &e));
	return r;
}

static UNUSED int
copy_cond(struct fixture *f, const char *from, const char *to,
    const struct write_cond *cond, struct err *e)
{
	struct object o;
	struct object_reader *r = open_object(f, from, &o);
	int rc = object_copy(r, &f->b, str_of(to), &f->user, cond, &o, e);

	object_close(&r);
	return rc;
}

static UNUSED void
copy(struct fixture *f, const char *from, const char *to)
{
	struct err e = ERR_INIT;

	OK(copy_cond(f, from, to, NULL, &e));
}

static UNUSED void
del(struct fixture *f, const char *key)
{
	struct err e = ERR_INIT;

	OK(object_delete(f->s, &f->b, str_of(key), STR_NULL, STR_NULL, &e));
}

static UNUSED struct kv_stat
records(struct fixture *f)
{
	struct kv_stat st;

	kv_get_stat(store_kv(f->s), &st);
	return st;
}

static UNUSED struct str
pattern(struct fixture *f, size_t len, unsigned seed)
{
	char *p = arena_alloc(f->a, len + 1);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (char)((i * 2654435761u + seed) >> 13);
	return str_mem(p, len);
}

static UNUSED void
assert_bytes(struct fixture *f, const char *key, struct str want)
{
	struct str got = get_body(f, key, NULL);

	assert_non_null(got.p);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.p, want.p, want.len);
}

static UNUSED struct upload
begin_upload(struct fixture *f, const char *key, uint8_t alg, bool composite)
{
	struct header h = { STR_LIT("content-type"), STR_LIT("a/b") };
	struct err e = ERR_INIT;
	struct upload u;

	OK(upload_create(f->s, &f->b, str_of(key), &f->user, &h, 1, alg,
	    composite, &u, &e));
	return u;
}

static UNUSED struct checksum
crc32_of(struct str body)
{
	struct checksum c = { .alg = CHECKSUM_CRC32, .len = 4 };

	hash_one(HASH_CRC32, body.p, body.len, c.value);
	return c;
}

static UNUSED int
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

static UNUSED struct complete_part
want_part(struct fixture *f, uint32_t number, struct str body)
{
	return (struct complete_part){ .number = number,
		.etag = md5_text(f->a, body) };
}

static UNUSED int
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

#endif
