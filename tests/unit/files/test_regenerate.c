/* storage/files/regenerate.c: an appender becomes a normal file, or it does not,
 * wherever its node stops. */
#include "rep_double.h"

#include "storage/files/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MORE 70000 /* in a segment */
#define META STR_LIT("a\002b")

static struct files *files;

static void
open_files(void)
{
	world.stop_at = 0;
	assert_int_equal(dbl_open_files(&files), 0);
}

struct given {
	size_t left;
};

static int
give(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct given *g = arg;

	(void)e;
	*ret = len < g->left ? len : g->left;
	memset(p, 'x', *ret);
	g->left -= *ret;
	return 0;
}

/* An appender with metadata. */
static void
make(char name[128])
{
	struct given none = { 0 }, more = { MORE };
	struct engine_file_info info;
	struct err e = ERR_INIT;

	assert_int_equal(files_upload(files, -1, true, STR_LIT("txt"), 0, give,
			     &none, &info, &e),
	    0);
	snprintf(name, 128, "%.127s", info.id + 7);
	assert_int_equal(files_append(files, str_of(name), MORE, give, &more,
			     &e),
	    0);
	assert_int_equal(files_set_meta(files, str_of(name), 'O', META, &e), 0);
}

/* Content and metadata. */
static void
assert_whole(const char *name)
{
	struct buf b = BUF_CAP(1000);
	struct files_info info;
	struct err e = ERR_INIT;
	char *want = malloc(MORE);

	assert_non_null(want);
	memset(want, 'x', MORE);
	assert_int_equal(files_info(files, str_of(name), true, &info, &e), 0);
	assert_int_equal(info.size, MORE);
	assert_int_equal(info.crc32, hash_crc32(0, want, MORE));
	assert_int_equal(files_get_meta(files, str_of(name), &b, &e), 0);
	assert_true(str_eq(buf_str(&b), META));
	buf_fini(&b);
	free(want);
}

enum after { /* what comes next */
	AFTER_SWEEP,
	AFTER_APPEND,
	AFTER_REGENERATE,
	AFTER_DELETE,
	AFTER_N
};

/* There is one file: the old one or the new one. */
static void
assert_one(const char *old, bool must_be_new)
{
	size_t lists = dbl_count(ENGINE_CLASS_LIST);

	assert_int_equal(lists + dbl_count(ENGINE_CLASS_FASTDFS), 1);
	if (lists == 1) {
		assert_false(must_be_new);
		assert_whole(old);
		return;
	}
	for (size_t i = 0; i < world.n; i++)
		if (!world.v[i].is_tomb &&
		    world.v[i].info.class == ENGINE_CLASS_FASTDFS)
			assert_whole(world.v[i].info.id + 7);
}

static void
go_on(const char *old, enum after what)
{
	struct given none = { 1 };
	struct engine_file_info info;
	struct err e = ERR_INIT;
	bool is_old = dbl_count(ENGINE_CLASS_LIST) == 1;
	uint64_t n;
	int rc = 0;

	if (what == AFTER_APPEND)
		rc = files_append(files, str_of(old), 1, give, &none, &e);
	else if (what == AFTER_REGENERATE)
		rc = files_regenerate(files, str_of(old), &info, &e);
	else if (what == AFTER_DELETE)
		rc = files_delete(files, str_of(old), &e);
	assert_int_equal(rc, is_old || what == AFTER_SWEEP ? 0 : ERR_NOT_FOUND);
	if (what == AFTER_APPEND && is_old) /* take it back */
		assert_int_equal(files_truncate(files, str_of(old), MORE, &e),
		    0);
	if (what == AFTER_DELETE && is_old) {
		assert_int_equal(dbl_count(ENGINE_CLASS_LIST) +
				     dbl_count(ENGINE_CLASS_FASTDFS),
		    0);
		return;
	}
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_one(old, what == AFTER_REGENERATE);
}

/* The @at-th write is the last, done or not. False: it stops no more. */
static bool
stop_at(unsigned at, bool is_done, enum after what)
{
	struct engine_file_info info;
	struct err e = ERR_INIT;
	char old[128];
	uint64_t n;
	int rc;

	dbl_open();
	world.small_limit = 1024 * 1024;
	open_files();
	make(old);
	world.writes = 0;
	world.stop_after = is_done;
	world.stop_at = at;
	rc = files_regenerate(files, str_of(old), &info, &e);
	dbl_close_files(&files);
	open_files();
	go_on(old, what);
	/* What is left over is not seen, and goes. */
	world.shift_s += FILES_ORPHAN_S + 10;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	world.shift_s += FILES_ORPHAN_S + 10;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_META),
	    dbl_count(ENGINE_CLASS_LIST) + dbl_count(ENGINE_CLASS_FASTDFS));
	dbl_close_files(&files);
	dbl_close();
	return rc != 0;
}

static void
test_stopped_anywhere(void **state)
{
	unsigned at;

	(void)state;
	for (int is_done = 0; is_done <= 1; is_done++)
		for (int what = 0; what < AFTER_N; what++) {
			for (at = 1; stop_at(at, is_done, (enum after)what);)
				at++;
			assert_in_range(at, 5, 20); /* it was a walk */
		}
}

/* The first leader is deposed while it regenerates, and the next one undoes what
 * it finds, or a part of that: whatever the first does then, the file is there. */
static struct files *next_leader;
static unsigned before_n, before_at, next_stops_at;

static void
settle_in_between(void)
{
	struct err e = ERR_INIT;
	uint64_t n;

	if (++before_n != before_at)
		return;
	world.before = NULL;
	world.writes = 0;
	world.stop_at = next_stops_at;
	world.stop_after = true;
	(void)files_sweep(next_leader, &n, &e);
	world.stop_at = 0;
}

/* False: so many writes there are not. */
static bool
depose_at(unsigned at, unsigned next_stops)
{
	struct engine_file_info info;
	struct err e = ERR_INIT;
	pthread_t thread;
	char old[128];
	uint64_t n;
	int rc;

	dbl_open();
	world.small_limit = 1024 * 1024;
	open_files();
	next_leader = files;
	thread = dbl_thread;
	open_files();
	make(old);
	before_n = 0;
	before_at = at;
	next_stops_at = next_stops;
	world.before = settle_in_between;
	rc = files_regenerate(files, str_of(old), &info, &e);
	world.before = NULL;
	assert_int_equal(files_sweep(next_leader, &n, &e), 0);
	assert_one(old, rc == 0);
	dbl_close_files(&files);
	files_close(&next_leader);
	thread_join(thread);
	dbl_close();
	return before_n >= at;
}

static void
test_of_a_leader_before(void **state)
{
	unsigned at;

	(void)state;
	for (unsigned next_stops = 0; next_stops <= 4; next_stops++) {
		for (at = 1; depose_at(at, next_stops);)
			at++;
		assert_in_range(at, 5, 20);
	}
}

/* --- an open outcome --- */

/* The outcome of the @open_at-th write is open: it is done, or it is not. Nothing
 * can be looked at for so many times. */
static unsigned open_at, open_more;
static bool open_done;

static void
leave_open(void)
{
	if (++before_n != open_at)
		return;
	if (open_done)
		world.fail_change_after = ERR_BUSY;
	else
		world.fail_change = ERR_BUSY;
	world.fail_newest = open_more;
}

/* False: so many changes there are not. */
static bool
open_outcome(unsigned at, bool is_done, unsigned more)
{
	struct engine_file_info info = { .size = 0 };
	struct err e = ERR_INIT;
	char old[128];
	uint64_t n;
	int rc;

	dbl_open();
	world.small_limit = 1024 * 1024;
	open_files();
	make(old);
	before_n = 0;
	open_at = at;
	open_more = more;
	open_done = is_done;
	world.before = leave_open;
	rc = files_regenerate(files, str_of(old), &info, &e);
	world.before = NULL;
	world.fail_change = world.fail_change_after = 0;
	world.fail_newest = 0;
	/* What it says is so. */
	if (rc == 0) {
		assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 0);
		assert_whole(info.id + 7);
	} else {
		assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 1);
		assert_whole(old);
	}
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_one(old, rc == 0);
	dbl_close_files(&files);
	dbl_close();
	return before_n >= at;
}

static void
test_open_outcome(void **state)
{
	unsigned at;

	(void)state;
	for (unsigned more = 0; more <= 3; more++) {
		for (int is_done = 0; is_done <= 1; is_done++) {
			for (at = 1; open_outcome(at, is_done, more);)
				at++;
			assert_in_range(at, 5, 20);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped_anywhere),
		cmocka_unit_test(test_of_a_leader_before),
		cmocka_unit_test(test_open_outcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
