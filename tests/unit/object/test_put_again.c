/* tests/unit/object/test_put_again.c - a body that is written again elsewhere,
 * because what became of it where it was is not known (ERR_RETRY). */
#include "tests/unit/object/kv_double.h"

#include "tests/unit/object/shared.h"

#define WHOLE (1u << 20)

/* Blobs in memory; the next @lost whole ones are stored, and denied. */
static struct wrap {
	struct blob *b;
	int lost, wholes, streams;
	struct id128 ids[16];
} wrap;

static void
wrap_close(void *impl)
{
	(void)impl;
	blob_close(&wrap.b);
}

static int
wrap_put_whole(void *impl, struct str group, const struct blob_owner *owner,
    struct str body, struct blob_info *ret, struct err *e)
{
	int rc;

	(void)impl;
	assert_true(wrap.wholes < 16);
	wrap.ids[wrap.wholes++] = owner->write_id;
	rc = blob_put_whole(wrap.b, group, owner, body, ret, e);
	if (rc == 0 && wrap.lost > 0) {
		wrap.lost--;
		memset(ret, 0, sizeof(*ret));
		rc = err_set(e, ERR_RETRY, "no answer");
	}
	return rc;
}

static int
wrap_put_begin(void *impl, struct str group, const struct blob_owner *owner,
    uint64_t hint, void **ret, struct err *e)
{
	struct blob_put *u;
	int rc = blob_put_begin(wrap.b, group, owner, hint, &u, e);

	(void)impl;
	wrap.streams++;
	if (rc == 0)
		*ret = u;
	return rc;
}

static int
wrap_put_write(void *put, const void *p, size_t len, struct err *e)
{
	return blob_put_write(put, p, len, e);
}

static int
wrap_put_commit(void *put, struct blob_info *ret, struct err *e)
{
	struct blob_put *u = put;

	return blob_put_commit(&u, ret, e);
}

static void
wrap_put_abort(void *put)
{
	struct blob_put *u = put;

	blob_put_abort(&u);
}

static int
wrap_read_once(void *impl, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	(void)impl;
	return blob_read_once(wrap.b, id, off, p, len, ret_len, e);
}

static int
wrap_open(void *impl, struct str id, void **ret, uint64_t *ret_size,
    struct err *e)
{
	struct blob_file *f;
	int rc = blob_open(wrap.b, id, &f, e);

	(void)impl;
	if (rc < 0)
		return rc;
	*ret = f;
	*ret_size = blob_size(f);
	return 0;
}

static int
wrap_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	return blob_read(file, off, p, len, ret_len, e);
}

static void
wrap_file_close(void *file)
{
	struct blob_file *f = file;

	blob_file_close(&f);
}

static int
wrap_delete_many(void *impl, const struct str *ids, size_t n, struct err *e)
{
	(void)impl;
	return blob_delete_many(wrap.b, ids, n, e);
}

static int
wrap_find_write(void *impl, const struct id128 *id, struct blob_info *ret,
    struct err *e)
{
	(void)impl;
	return blob_find_write(wrap.b, id, ret, e);
}

static int
wrap_each(void *impl, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e)
{
	(void)impl;
	return blob_each(wrap.b, class, fn, arg, e);
}

static void
wrap_get_stat(void *impl, size_t i, struct blob_stat *ret)
{
	(void)impl;
	blob_get_stat(wrap.b, i, ret);
}

static size_t
wrap_whole_max(void *impl)
{
	(void)impl;
	return WHOLE;
}

static void
wrap_choose_group(void *impl, struct str wish, char dst[BLOB_GROUP_MAX + 1])
{
	(void)impl;
	snprintf(dst, BLOB_GROUP_MAX + 1, "%s",
	    str_eqz(wish, "group7") ? "group7" : "group2");
}

static const struct blob_ops wrap_ops = {
	.close = wrap_close,
	.put_begin = wrap_put_begin,
	.put_write = wrap_put_write,
	.put_commit = wrap_put_commit,
	.put_abort = wrap_put_abort,
	.put_whole = wrap_put_whole,
	.open = wrap_open,
	.read = wrap_read,
	.file_close = wrap_file_close,
	.read_once = wrap_read_once,
	.delete_many = wrap_delete_many,
	.find_write = wrap_find_write,
	.each = wrap_each,
	.get_stat = wrap_get_stat,
	.whole_max = wrap_whole_max,
	.choose_group = wrap_choose_group,
};

static int
wrap_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store_conf c = { .extent_size = 4u << 20, .trash_s = 7 * 86400 };
	struct err e = ERR_INIT;
	struct store *s = NULL;

	memset(&wrap, 0, sizeof(wrap));
	kv_double_rerun = true;
	OK(kv_open(NULL, &c.kv, &e));
	OK(blob_memory_new(&wrap.b, &e));
	c.blob = blob_new(&wrap_ops, &wrap);
	assert_non_null(c.blob);
	OK(store_open(&c, &s, &e));
	fixture_setup(f, s);
	*state = f;
	return 0;
}

static void
sweep_finds(struct fixture *f, unsigned n)
{
	struct sweep_report r;
	struct err e = ERR_INIT;

	OK(store_sweep(f->s, true, &r, &e));
	assert_int_equal(r.unknown, n);
	assert_int_equal(r.trashed, n);
	clock_shift(8 * DAY);
	collect(f);
	clock_shift(-8 * DAY);
}

/* Each attempt has a name of its own; the last one's bytes stay. */
static void
test_again(void **state)
{
	struct fixture *f = *state;

	wrap.lost = 2;
	put_z(f, "k", "hello");
	assert_int_equal(wrap.wholes, 3);
	assert_false(id128_eq(&wrap.ids[0], &wrap.ids[1]));
	assert_false(id128_eq(&wrap.ids[1], &wrap.ids[2]));
	assert_body(f, "k", "hello");
	assert_int_equal(blobs(f->s).files, 3);
	sweep_finds(f, 2);
	assert_int_equal(blobs(f->s).files, 1);
	assert_body(f, "k", "hello");
	del(f, "k");
	collect(f);
	assert_int_equal(blobs(f->s).files, 0);
}

static void
test_given_up(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	put_z(f, "k", "old");
	wrap.lost = 100;
	assert_int_equal(put_cond(f, "k", STR_LIT("new"), NULL, NULL, &e),
	    ERR_RETRY);
	assert_int_equal(wrap.wholes, 1 + 4);
	wrap.lost = 0;
	assert_body(f, "k", "old");
	sweep_finds(f, 4);
	assert_int_equal(blobs(f->s).files, 1);
}

static int
put_pieces(struct fixture *f, const char *key, size_t size, uint64_t said)
{
	struct object o = { .etag = STR_LIT("x") };
	char *p = mem_zalloc(size);
	struct err e = ERR_INIT;
	struct put *u = NULL;
	size_t at, n;
	int rc;

	memset(p, 'p', size);
	rc = put_begin(f->s, &f->b, str_of(key), said, &u, &e);
	for (at = 0; rc == 0 && at < size; at += n) {
		n = size - at < 65536 ? size - at : 65536;
		rc = put_write(u, p + at, n, &e);
	}
	if (rc == 0)
		rc = put_commit(&u, &f->user, NULL, &o, &e);
	else
		put_abort(&u);
	mem_free(&p);
	return rc;
}

/* What comes in pieces is kept whole up to the backend's wish. */
static void
test_pieces(void **state)
{
	struct fixture *f = *state;

	wrap.lost = 1;
	assert_int_equal(put_pieces(f, "a", WHOLE, WHOLE), 0);
	assert_int_equal(wrap.wholes, 2);
	assert_int_equal(wrap.streams, 0);
	assert_int_equal(get_body(f, "a", NULL).len, WHOLE);
	assert_int_equal(put_pieces(f, "b", WHOLE + 1, WHOLE + 1), 0);
	assert_int_equal(wrap.streams, 1);
	assert_int_equal(get_body(f, "b", NULL).len, WHOLE + 1);
	assert_int_equal(put_pieces(f, "c", WHOLE, UINT64_MAX), 0);
	assert_int_equal(get_body(f, "c", NULL).len, WHOLE);
	sweep_finds(f, 1);
}

/* All such buffers together are bounded; more of them stream. */
static void
test_budget(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct put *u[70];
	char piece[1000] = { 0 };
	int i;

	for (i = 0; i < 70; i++) {
		OK(put_begin(f->s, &f->b, STR_LIT("k"), WHOLE, &u[i], &e));
		OK(put_write(u[i], piece, sizeof(piece), &e));
	}
	assert_int_equal(wrap.streams, 70 - 64);
	for (i = 0; i < 70; i++)
		put_abort(&u[i]);
	assert_int_equal(put_pieces(f, "a", WHOLE, WHOLE), 0);
	assert_int_equal(wrap.streams, 70 - 64);
}

static void
test_group_of_bucket(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct bucket b;

	OK(bucket_create(f->s, &f->user, STR_LIT("near"), STR_LIT("group7"), &b,
	    &e));
	OK(bucket_get(f->s, STR_LIT("near"), &b, &e));
	assert_string_equal(b.group, "group7");
	assert_string_equal(b.location, "group7");
	OK(bucket_create(f->s, &f->user, STR_LIT("far"), STR_LIT("eu-west-1"),
	    &b, &e));
	OK(bucket_get(f->s, STR_LIT("far"), &b, &e));
	assert_string_equal(b.group, "group2");
	assert_string_equal(b.location, "eu-west-1");
	f->b = b;
	put_z(f, "k", "hello");
	assert_body(f, "k", "hello");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_again, wrap_setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_given_up, wrap_setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_pieces, wrap_setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_budget, wrap_setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_group_of_bucket,
		    wrap_setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
