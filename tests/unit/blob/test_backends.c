/* tests/unit/blob/test_backends.c - the seam's contracts, over memory and over
 * the engine on disk. */
#include "gateway/blob/blob.h"

#include "lib/fault.h"
#include "lib/fs.h"
#include "storage/engine/engine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char dir[] = "/tmp/creel-blob-XXXXXX";

static int
memory_setup(void **state)
{
	struct err e = ERR_INIT;
	struct blob *b = NULL;

	assert_int_equal(blob_memory_new(&b, &e), 0);
	*state = b;
	return 0;
}

static int
local_setup(void **state)
{
	const char *paths[] = { dir };
	struct engine_conf c = { .paths = paths,
		.n_paths = 1,
		.group = "group1",
		.server_id = 1,
		.small_limit = 64 << 10,
		.volume_size = 1 << 20 };
	struct engine *g = NULL;
	struct err e = ERR_INIT;
	struct blob *b = NULL;

	memcpy(dir, "/tmp/creel-blob-XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	assert_int_equal(engine_open(&c, &g, &e), 0);
	assert_int_equal(blob_local_new(g, &b, &e), 0);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct blob *b = *state;

	fault_disarm();
	blob_close(&b);
	return 0;
}

static int
local_teardown(void **state)
{
	struct err e = ERR_INIT;

	teardown(state);
	return fs_remove_tree(dir, &e);
}

static struct blob_owner
owner(const char *note)
{
	return (struct blob_owner){ .class = BLOB_CLASS_S3,
		.index_id = id128_new(),
		.write_id = id128_new(),
		.note = str_of(note) };
}

static void
test_whole(void **state)
{
	struct blob_owner o = owner("b/k");
	struct blob_info i, j;
	struct blob *b = *state;
	struct blob_file *f;
	struct err e = ERR_INIT;
	struct buf note = BUF_CAP(4096);
	char got[16];
	size_t n;

	assert_int_equal(blob_put_whole(b, STR_NULL, &o, STR_LIT("hello"), &i,
			     &e),
	    0);
	assert_int_equal(i.size, 5);
	assert_true(id128_eq(&i.write_id, &o.write_id));
	/* the same write ID is the same blob */
	assert_int_equal(blob_put_whole(b, STR_NULL, &o, STR_LIT("hello"), &j,
			     &e),
	    0);
	assert_string_equal(i.id, j.id);
	assert_int_equal(blob_find_write(b, &o.write_id, &j, &e), 0);
	assert_string_equal(i.id, j.id);

	assert_int_equal(blob_read_once(b, str_of(i.id), 1, got, 99, &n, &e),
	    0);
	assert_int_equal(n, 4);
	assert_memory_equal(got, "ello", 4);
	assert_int_equal(blob_read_once(b, str_of(i.id), 9, got, 9, &n, &e), 0);
	assert_int_equal(n, 0);

	/* an open blob keeps its bytes over its delete */
	assert_int_equal(blob_open(b, str_of(i.id), &f, &e), 0);
	assert_int_equal(blob_size(f), 5);
	assert_int_equal(blob_delete_many(b,
			     &(struct str){ i.id, strlen(i.id) }, 1, &e),
	    0);
	assert_int_equal(blob_delete_many(b,
			     &(struct str){ i.id, strlen(i.id) }, 1, &e),
	    0);
	assert_int_equal(blob_read(f, 0, got, 5, &n, &e), 0);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(blob_note(f, &note, &e), 0);
	assert_true(str_eqz(buf_str(&note), "b/k"));
	blob_file_close(&f);
	assert_null(f);
	assert_int_equal(blob_open(b, str_of(i.id), &f, &e), ERR_NOT_FOUND);
	assert_int_equal(blob_find_write(b, &o.write_id, &j, &e),
	    ERR_NOT_FOUND);
	buf_fini(&note);
}

static int
count(void *arg, const struct blob_info *i)
{
	(void)i;
	return ++*(int *)arg == 150 ? 7 : 0;
}

static void
test_stream_and_each(void **state)
{
	struct blob *b = *state;
	struct err e = ERR_INIT;
	struct blob_stat st;
	int i, n = 0;

	for (i = 0; i < 200; i++) {
		struct blob_owner o = owner("");
		struct blob_put *u = NULL;
		struct blob_info info;

		if (i % 2 == 1)
			o.class = BLOB_CLASS_INDEX;
		assert_int_equal(blob_put_begin(b, STR_LIT("group1"), &o,
				     UINT64_MAX, &u, &e),
		    0);
		assert_int_equal(blob_put_write(u, "abc", 3, &e), 0);
		assert_int_equal(blob_put_write(u, "def", 3, &e), 0);
		if (i == 7) {
			blob_put_abort(&u);
			continue;
		}
		assert_int_equal(blob_put_commit(&u, &info, &e), 0);
		assert_null(u);
		assert_true(
		    str_has_prefix(str_of(info.id), STR_LIT("group1/M00/")));
	}
	assert_int_equal(blob_each(b, BLOB_CLASS_INDEX, count, &n, &e), 0);
	assert_int_equal(n, 99);
	n = 0;
	assert_int_equal(blob_each(b, 0, count, &n, &e), 7);
	blob_get_stat(b, 0, &st);
	assert_int_equal(st.files, 199);
	assert_int_equal(st.bytes, 199 * 6);
}

static void
test_faults(void **state)
{
	struct blob *b = *state;
	struct blob_owner o = owner("");
	struct blob_info i;
	struct err e = ERR_INIT;
	struct blob_stat st;

	fault_arm(FAULT_SYNC, 1, EIO, false);
	assert_int_equal(blob_put_whole(b, STR_NULL, &o, STR_LIT("x"), &i, &e),
	    ERR_IO);
	fault_disarm();
	blob_get_stat(b, 0, &st);
	assert_int_equal(st.files, 0);
	o.note.len = BLOB_NOTE_MAX + 1;
	assert_int_equal(blob_put_whole(b, STR_NULL, &o, STR_LIT("x"), &i, &e),
	    ERR_TOO_BIG);
}

static void
test_again(void **state)
{
	struct blob *b = *state, *again = NULL;
	struct blob_owner o = owner("");
	struct err e = ERR_INIT;
	struct blob_info i;

	assert_int_equal(blob_memory_again(b, &again, &e), 0);
	assert_int_equal(blob_put_whole(b, STR_NULL, &o, STR_LIT("x"), &i, &e),
	    0);
	assert_int_equal(blob_find_write(again, &o.write_id, &i, &e), 0);
	blob_close(&b);
	assert_int_equal(blob_find_write(again, &o.write_id, &i, &e), 0);
	*state = again;
}

int
main(void)
{
#define M(f) cmocka_unit_test_setup_teardown(f, memory_setup, teardown)
#define L(f) cmocka_unit_test_setup_teardown(f, local_setup, local_teardown)
	const struct CMUnitTest tests[] = {
		M(test_whole),
		M(test_stream_and_each),
		M(test_faults),
		M(test_again),
		L(test_whole),
		L(test_stream_and_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
