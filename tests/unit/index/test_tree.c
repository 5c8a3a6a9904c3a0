/* tests/unit/index/test_tree.c - LMDB behind its seam. */
#include "gateway/index/tree.h"
#include "model.h"

static char dir[256], path[300];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s", test_dir());
	snprintf(path, sizeof(path), "%s/t.lmdb", dir);
	return 0;
}

static int
teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return fs_remove_tree(dir, &e);
}

static void
put(struct tree_writer *w, const char *key, const char *raw)
{
	struct err e = ERR_INIT;

	OK(tree_write_put(w, str_of(key), str_of(raw), false, &e));
}

static void
test_meta(void **state)
{
	struct tree_meta m = { .index_id = id128_new(),
		.epoch = 7,
		.flushed_seq = 99,
		.created_ns = 1234,
		.is_fresh = true };
	struct tree_meta got = { 0 };
	struct tree_writer *w;
	struct err e = ERR_INIT;
	struct tree *t;

	(void)state;
	assert_int_equal(tree_open(path, 1 << 20, false, &got, &t, &e),
	    ERR_NOT_FOUND);
	OK(tree_open(path, 1 << 20, true, &m, &t, &e));
	tree_close(&t);
	OK(tree_open(path, 1 << 20, false, &got, &t, &e));
	assert_memory_equal(&got.index_id, &m.index_id, 16);
	assert_int_equal(got.epoch, 7);
	assert_int_equal(got.flushed_seq, 99);
	assert_int_equal(got.created_ns, 1234);
	assert_true(got.is_fresh);
	/* With an abort nothing changes, with a commit all of it. */
	OK(tree_write_begin(t, &w, &e));
	put(w, "a", "12345678a");
	tree_write_abort(&w);
	OK(tree_write_begin(t, &w, &e));
	put(w, "b", "12345678b");
	m.flushed_seq = 100;
	m.is_fresh = false;
	OK(tree_write_commit(&w, &m, &e));
	tree_close(&t);
	OK(tree_open(path, 1 << 20, false, &got, &t, &e));
	assert_int_equal(got.flushed_seq, 100);
	assert_false(got.is_fresh);
	tree_close(&t);
}

static void
test_readers(void **state)
{
	struct tree_meta m = { 0 };
	struct tree_reader *old, *now;
	struct tree_cursor *c, *d;
	struct tree_writer *w;
	struct err e = ERR_INIT;
	struct tree *t;
	struct str key, raw;

	(void)state;
	OK(tree_open(path, 1 << 20, true, &m, &t, &e));
	OK(tree_reader_new(t, &old, &e));
	OK(tree_reader_new(t, &now, &e));
	OK(tree_reader_renew(now, &e));
	assert_int_equal(tree_records(now), 0);
	OK(tree_cursor_open(now, &c, &e));
	assert_int_equal(tree_cursor_seek(c, STR_NULL, &key, &raw, &e), 0);
	tree_cursor_close(&c);
	tree_reader_reset(now);

	OK(tree_write_begin(t, &w, &e));
	put(w, "a", "00000000");
	put(w, "ab", "11111111");
	put(w, "\xff", "22222222");
	OK(tree_write_commit(&w, NULL, &e));
	OK(tree_reader_renew(old, &e));
	OK(tree_write_begin(t, &w, &e));
	put(w, "a", "99999999");
	OK(tree_write_del(w, STR_LIT("ab"), &e));
	OK(tree_write_del(w, STR_LIT("absent"), &e));
	OK(tree_write_commit(&w, NULL, &e));
	OK(tree_reader_renew(now, &e));

	assert_int_equal(tree_get(old, STR_LIT("a"), &raw, &e), 1);
	assert_true(str_eq(raw, STR_LIT("00000000")));
	assert_int_equal(tree_get(now, STR_LIT("a"), &raw, &e), 1);
	assert_true(str_eq(raw, STR_LIT("99999999")));
	assert_int_equal(tree_get(now, STR_LIT("ab"), &raw, &e), 0);
	assert_int_equal(tree_records(old), 3);
	assert_int_equal(tree_records(now), 2);

	for (int again = 0; again < 3; again++) {
		OK(tree_cursor_open(old, &c, &e));
		OK(tree_cursor_open(old, &d, &e));
		assert_int_equal(tree_cursor_seek(c, STR_LIT("aa"), &key, &raw,
				     &e),
		    1);
		assert_true(str_eq(key, STR_LIT("ab")));
		assert_int_equal(tree_cursor_seek(d, STR_NULL, &key, &raw, &e),
		    1);
		assert_true(str_eq(key, STR_LIT("a")));
		assert_int_equal(tree_cursor_next(c, &key, &raw, &e), 1);
		assert_true(str_eq(key, STR_LIT("\xff")));
		assert_int_equal(tree_cursor_next(c, &key, &raw, &e), 0);
		tree_cursor_close(&c);
		tree_cursor_close(&d);
		tree_reader_reset(old);
		OK(tree_reader_renew(old, &e));
		if (again == 0) {
			assert_int_equal(tree_records(old), 2);
			/* As it was, for the next time round. */
			tree_reader_reset(old);
			OK(tree_write_begin(t, &w, &e));
			put(w, "ab", "11111111");
			OK(tree_write_commit(&w, NULL, &e));
			OK(tree_reader_renew(old, &e));
		}
	}
	tree_reader_reset(old);
	tree_reader_reset(now);
	tree_reader_free(&old);
	tree_reader_free(&now);
	tree_close(&t);
}

static void
test_limits_and_growth(void **state)
{
	struct tree_meta m = { 0 };
	char key[KV_KEY_MAX];
	char *value = calloc(1, KV_VALUE_MAX + 8);
	struct tree_reader *r;
	struct tree_writer *w;
	struct err e = ERR_INIT;
	struct tree *t;
	struct str raw;
	uint64_t size;
	int rc, n = 0, full = 0;

	(void)state;
	memset(key, 'k', sizeof(key));
	memset(value, 'v', KV_VALUE_MAX + 8);
	OK(tree_open(path, 1, true, &m, &t, &e));
	OK(tree_reader_new(t, &r, &e));
	for (int i = 0; i < 12; i++) {
		OK(tree_write_begin(t, &w, &e));
		key[KV_KEY_MAX - 1] = (char)i;
		rc = tree_write_put(w, str_mem(key, KV_KEY_MAX),
		    str_mem(value, KV_VALUE_MAX + 8), false, &e);
		if (rc == 0)
			rc = tree_write_commit(&w, NULL, &e);
		else
			tree_write_abort(&w);
		if (rc == TREE_MAP_FULL) {
			size = tree_map_size(t);
			OK(tree_grow(t, &e));
			assert_int_equal(tree_map_size(t), 2 * size);
			full++;
			i--;
			continue;
		}
		assert_int_equal(rc, 0);
		n++;
	}
	assert_true(full >= 3);
	OK(tree_reader_renew(r, &e));
	assert_int_equal(tree_records(r), 12);
	assert_true(tree_bytes(r) > 12u << 20);
	for (int i = 0; i < 12; i++) {
		key[KV_KEY_MAX - 1] = (char)i;
		assert_int_equal(tree_get(r, str_mem(key, KV_KEY_MAX), &raw,
				     &e),
		    1);
		assert_true(str_eq(raw, str_mem(value, KV_VALUE_MAX + 8)));
	}
	assert_true(tree_free(r) < 1u << 20);
	tree_reader_reset(r);
	OK(tree_write_begin(t, &w, &e));
	for (int i = 0; i < 12; i++) {
		key[KV_KEY_MAX - 1] = (char)i;
		OK(tree_write_del(w, str_mem(key, KV_KEY_MAX), &e));
	}
	OK(tree_write_commit(&w, NULL, &e));
	OK(tree_reader_renew(r, &e));
	assert_int_equal(tree_records(r), 0);
	assert_true(tree_free(r) >= 12u << 20);
	tree_reader_reset(r);
	tree_reader_free(&r);
	tree_trim(t);
	tree_close(&t);
	/* It opens with a smaller map than it needs. */
	OK(tree_open(path, 1, false, &m, &t, &e));
	tree_close(&t);
	free(value);
}

static void
test_damage(void **state)
{
	struct tree_meta m = { 0 };
	struct err e = ERR_INIT;
	struct tree *t;
	char junk[8192];

	(void)state;
	memset(junk, 'j', sizeof(junk));
	OK(fs_write_file(path, str_mem(junk, sizeof(junk)), 0600, &e));
	assert_int_equal(tree_open(path, 1 << 20, false, &m, &t, &e),
	    ERR_CORRUPT);
	/* An LMDB file, but no index. */
	OK(fs_unlink(path, &e));
	OK(fs_write_file(path, STR_LIT(""), 0600, &e));
	assert_int_equal(tree_open(path, 1 << 20, false, &m, &t, &e),
	    ERR_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_meta, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits_and_growth, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
