/* What the engine's tests share: a scratch directory, an engine in it, bodies
 * that can be told apart. Each test program includes it once. */
#ifndef ENGINE_TEST_H
#define ENGINE_TEST_H

#include "storage/engine/engine.h"

#include "lib/fault.h"
#include "lib/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))

static char test_dir[256];
static char test_paths[4][300];
static const char *test_path_list[4];
static bool test_quiet = true;

static UNUSED void
test_event(void *arg, int level, const char *text)
{
	(void)arg;
	if (!test_quiet)
		fprintf(stderr, "[%d] %s\n", level, text);
}

static UNUSED struct engine_conf
test_conf(size_t n_paths)
{
	for (size_t i = 0; i < n_paths; i++)
		test_path_list[i] = test_paths[i];
	return (struct engine_conf){ .paths = test_path_list,
		.n_paths = n_paths,
		.group = "group1",
		.server_id = 7,
		.small_limit = 256 * 1024,
		.volume_size = 1024 * 1024,
		.compact_percent = 30,
		.event = test_event };
}

static UNUSED void
test_make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	/* Nothing here depends on a real disk; thousands of syncs do cost. */
	if (tmp == NULL)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(test_dir, sizeof(test_dir), "%s/creel-engine-XXXXXX", tmp);
	assert_non_null(mkdtemp(test_dir));
	for (size_t i = 0; i < 4; i++)
		snprintf(test_paths[i], sizeof(test_paths[i]), "%s/disk%zu",
		    test_dir, i);
}

static UNUSED void
test_remove_dir(void)
{
	struct err e = ERR_INIT;

	fault_disarm();
	if (fs_remove_tree(test_dir, &e) != 0)
		fail_msg("%s", e.msg);
}

static UNUSED int
test_setup(void **state)
{
	(void)state;
	test_make_dir();
	return 0;
}

static UNUSED int
test_teardown(void **state)
{
	(void)state;
	test_remove_dir();
	return 0;
}

static UNUSED struct engine *
test_open(const struct engine_conf *c)
{
	struct err e = ERR_INIT;
	struct engine *g;

	if (engine_open(c, &g, &e) != 0)
		fail_msg("open: %s", e.msg);
	return g;
}

/* Bytes that depend on @seed and the place. */
static UNUSED void
test_fill(char *dst, uint64_t seed, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t x = (seed * 1000003 + (off + i) / 8) *
		             UINT64_C(0x9e3779b97f4a7c15);

		x ^= x >> 29;
		dst[i] = (char)(x >> (8 * ((off + i) % 8)));
	}
}

static UNUSED struct engine_owner
test_owner(uint64_t seed)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3 };

	memset(o.index_id.b, 0x11, 16);
	memcpy(o.write_id.b + 8, &seed, 8);
	o.write_id.b[0] = 0x77;
	return o;
}

/* engine_put_then() and engine_put_gather(), held against their contracts. */
struct test_then {
	struct engine *g;
	struct engine_file_info *i;
	_Atomic uint32_t stored;
	int rc;
	bool reads_it;
};

static UNUSED int
test_named(void *arg, const struct engine_file_info *i, struct err *e)
{
	struct test_then *t = arg;

	(void)e;
	if (t->stored != 0 || i->id[0] == '\0')
		abort();
	*t->i = *i;
	return 0;
}

static UNUSED void
test_stored(void *arg, int rc, bool more)
{
	struct test_then *t = arg;
	struct err e = ERR_INIT;
	char c;
	size_t n;
	int got;

	(void)more;
	if (rc == 0 && t->reads_it) {
		got = engine_read(t->g, str_of(t->i->id), 0, &c, 1, &n, &e);
		if (got == ERR_NOT_FOUND) /* not visible: against E1 */
			abort();
	}
	t->rc = rc;
	if (atomic_fetch_add(&t->stored, 1) != 0)
		abort();
}

static UNUSED int
test_put_then(struct engine *g, const struct engine_owner *o, struct str body,
    bool gathers, struct engine_file_info *ret, struct err *e)
{
	struct test_then t = { .g = g, .i = ret, .rc = 1 };
	struct arena *a = arena_new(1 << 20);
	struct engine_then then = { test_named, test_stored, &t, a };
	int rc;

	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	/* Reading would move the fault points of a walk. */
	t.reads_it = atomic_load(&fault_armed) == 0;
	rc = gathers ? engine_put_gather(g, o, -1, body, "bin", &then, e)
	             : engine_put_then(g, o, body, "bin", &then, e);
	if (gathers)
		engine_gathered(g);
	if (rc < 0 && t.stored != 0)
		abort();
	if (rc == 0) {
		while (t.stored == 0)
			usleep(50);
		rc = t.rc;
	}
	arena_free(&a);
	return rc;
}

static UNUSED int
test_try_put(struct engine *g, uint64_t seed, size_t size,
    struct engine_file_info *ret, struct err *e)
{
	struct engine_owner o = test_owner(seed);
	char *body = malloc(size + 1);
	int rc;

	assert_non_null(body);
	test_fill(body, seed, 0, size);
	rc = seed % 2 == 0
	         ? engine_put(g, &o, str_mem(body, size), "bin", ret, e)
	         : test_put_then(g, &o, str_mem(body, size),
		       seed % 4 == 1 && size <= 8192, ret, e);
	free(body);
	return rc;
}

static UNUSED struct engine_file_info
test_put(struct engine *g, uint64_t seed, size_t size)
{
	struct engine_file_info i;
	struct err e = ERR_INIT;

	if (test_try_put(g, seed, size, &i, &e) != 0)
		fail_msg("put of %zu: %s", size, e.msg);
	return i;
}

/* 0 when @id reads whole and right; else the error, or 1 for wrong bytes. */
static UNUSED int
test_check(struct engine *g, const char *id, uint64_t seed, size_t size,
    struct err *e)
{
	char *got = malloc(size + 1), *want = malloc(size + 1);
	size_t n = 0;
	int rc;

	assert_non_null(got);
	assert_non_null(want);
	test_fill(want, seed, 0, size);
	rc = engine_read(g, str_of(id), 0, got, size + 1, &n, e);
	if (rc == 0 && (n != size || memcmp(got, want, size) != 0))
		rc = 1;
	free(got);
	free(want);
	return rc;
}

static UNUSED void
test_reads(struct engine *g, const char *id, uint64_t seed, size_t size)
{
	struct err e = ERR_INIT;
	int rc = test_check(g, id, seed, size, &e);

	if (rc != 0)
		fail_msg("%s (%zu bytes): %d %s", id, size, rc, e.msg);
}

static UNUSED void
test_gone(struct engine *g, const char *id)
{
	struct err e = ERR_INIT;
	char c;
	size_t n;

	assert_int_equal(engine_read(g, str_of(id), 0, &c, 1, &n, &e),
	    ERR_NOT_FOUND);
}

static UNUSED void
test_delete(struct engine *g, const char *id)
{
	struct err e = ERR_INIT;

	if (engine_delete(g, str_of(id), &e) != 0)
		fail_msg("delete: %s", e.msg);
}

#endif
