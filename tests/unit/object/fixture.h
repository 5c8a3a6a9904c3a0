/* tests/unit/object/fixture.h - a store over doubles, and short ways to use it.
 * Include it after kv_double.h (or without, for the real index). */
#ifndef TESTS_OBJECT_FIXTURE_H
#define TESTS_OBJECT_FIXTURE_H

#include "gateway/object/object.h"

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define OK(x) ok((x), #x, &e, __LINE__)
#define UNUSED __attribute__((unused))

static UNUSED void
ok(int rc, const char *what, const struct err *e, int line)
{
	if (rc < 0)
		fail_msg("line %d: %s: %s: %s", line, what, err_name(rc),
		    e->msg);
}

struct fixture {
	struct store *s;
	struct user user;
	struct bucket b;
	struct arena *a;
};

static UNUSED struct blob_stat
blobs(struct store *s)
{
	struct blob_stat st;

	blob_get_stat(store_blob(s), 0, &st);
	return st;
}

static UNUSED void
fixture_setup(struct fixture *f, struct store *s)
{
	struct err e = ERR_INIT;

	f->s = s;
	f->a = arena_new(256u << 20);
	assert_non_null(f->a);
	OK(user_add(s, "alice", &f->user, &e));
	OK(bucket_create(s, &f->user, STR_LIT("bucket"), STR_NULL, &f->b, &e));
}

static UNUSED struct str
md5_text(struct arena *a, struct str body)
{
	uint8_t d[16];
	char hex[33];

	hash_md5(body.p, body.len, d);
	hex_encode(d, 16, hex);
	return arena_str(a, str_mem(hex, 32));
}

static UNUSED int
put_cond(struct fixture *f, const char *key, struct str body,
    const struct write_cond *cond, struct object *ret, struct err *e)
{
	struct object o = { .etag = md5_text(f->a, body) };
	struct put *p = NULL;
	int rc = put_begin(f->s, &f->b, str_of(key), body.len, &p, e);

	if (rc == 0)
		rc = put_hold(p, body.p, body.len, e);
	if (rc < 0) {
		put_abort(&p);
		return rc;
	}
	rc = put_commit(&p, &f->user, cond, &o, e);
	if (ret != NULL)
		*ret = o;
	return rc;
}

static UNUSED void
put_str(struct fixture *f, const char *key, struct str body)
{
	struct err e = ERR_INIT;

	OK(put_cond(f, key, body, NULL, NULL, &e));
}

static UNUSED void
put_z(struct fixture *f, const char *key, const char *body)
{
	put_str(f, key, str_of(body));
}

/* The body, in f->a; p NULL when there is no such key. */
static UNUSED struct str
get_body(struct fixture *f, const char *key, struct object *ret)
{
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct object o;
	size_t n = 0;
	char *p;
	int rc =
	    object_open(f->s, &f->b, str_of(key), STR_NULL, f->a, &o, &r, &e);

	if (rc == ERR_NO_SUCH_KEY)
		return STR_NULL;
	OK(rc);
	p = arena_alloc(f->a, o.size + 1);
	OK(object_read(r, 0, p, o.size + 1, &n, &e));
	assert_int_equal(n, o.size);
	object_close(&r);
	if (ret != NULL)
		*ret = o;
	return str_mem(p, n);
}

#define assert_body(f, key, z)                                                 \
	do {                                                                   \
		struct str got_ = get_body(f, key, NULL);                      \
		assert_non_null(got_.p);                                       \
		assert_int_equal(got_.len, strlen(z));                         \
		assert_memory_equal(got_.p, z, got_.len);                      \
	} while (0)

static UNUSED void
assert_usage(struct fixture *f, uint64_t objects, uint64_t bytes)
{
	struct bucket_usage u;
	struct err e = ERR_INIT;

	OK(bucket_usage(f->s, &f->b, &u, &e));
	assert_int_equal(u.objects, objects);
	assert_int_equal(u.bytes, bytes);
}

#endif
