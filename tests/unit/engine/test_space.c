/* Compaction, tombstones, hole punching, scrub, the reserve. */
#include "engine_test.h"

#include <errno.h>

enum {
	MANY = 60
};

static uint64_t
disk_bytes(size_t path)
{
	char cmd[400], out[64] = "";
	FILE *f;

	snprintf(cmd, sizeof(cmd), "du -s -B1 %s/volumes", test_paths[path]);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_non_null(fgets(out, sizeof(out), f));
	pclose(f);
	return strtoull(out, NULL, 10);
}

static void
test_compaction(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info i[MANY];
	struct engine_file *held[MANY];
	struct engine_path_stat before, after;
	struct err e = ERR_INIT;
	char buf[100001];
	size_t n;

	(void)state;
	for (size_t k = 0; k < MANY; k++)
		i[k] = test_put(g, k, k % 7 == 0 ? 300000 : 100000);
	for (size_t k = 0; k < MANY; k++) {
		held[k] = NULL;
		if (k % 3 == 0)
			continue;
		if (k % 2 == 0)
			assert_int_equal(engine_file_open(g, str_of(i[k].id),
					     &held[k], &e),
			    0);
		test_delete(g, i[k].id);
	}
	engine_path_stat(g, 0, &before);
	assert_true(before.dead_bytes > 2000000);
	if (engine_compact_now(g, &e) != 0)
		fail_msg("compact: %s", e.msg);
	engine_path_stat(g, 0, &after);
	assert_true(after.dead_bytes < before.dead_bytes / 3);
	assert_true(after.volumes < before.volumes);
	assert_int_equal(after.files, before.files);
	assert_int_equal(after.bytes, before.bytes);
	/* Who had it open reads on. */
	for (size_t k = 0; k < MANY; k++) {
		if (held[k] == NULL || i[k].size != 100000)
			continue;
		assert_int_equal(engine_file_read(held[k], 0, buf, 100001, &n,
				     &e),
		    0);
		assert_int_equal(n, 100000);
	}
	for (size_t k = 0; k < MANY; k++)
		engine_file_close(&held[k]);
	for (int round = 0; round < 3; round++) {
		for (size_t k = 0; k < MANY; k++) {
			struct id128 w = test_owner(k).write_id;
			struct engine_file_info f;

			if (k % 3 == 0) {
				test_reads(g, i[k].id, k, i[k].size);
				assert_int_equal(engine_find_write(g, &w, &f,
						     &e),
				    0);
				assert_string_equal(f.id, i[k].id);
			} else {
				test_gone(g, i[k].id);
				assert_int_equal(engine_find_write(g, &w, &f,
						     &e),
				    ERR_NOT_FOUND);
			}
		}
		engine_close(&g);
		if (round == 1 && engine_rebuild(&c, &e) != 0)
			fail_msg("rebuild: %s", e.msg);
		g = test_open(&c);
		if (round == 0)
			assert_int_equal(engine_compact_now(g, &e), 0);
	}
	engine_close(&g);
}

/* Everything deleted: volumes and, in the end, tombstones go. */
static void
test_tombstones_go(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info i[MANY];
	struct engine_path_stat st;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t k = 0; k < MANY; k++)
		i[k] = test_put(g, k, 60000);
	for (size_t k = 0; k < MANY; k++)
		test_delete(g, i[k].id);
	for (size_t k = 0; k < MANY; k++) /* rolls the volume with tombstones */
		i[k] = test_put(g, 1000 + k, 60000);
	for (int round = 0; round < 4; round++)
		assert_int_equal(engine_compact_now(g, &e), 0);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.files, MANY);
	assert_true(st.volumes <= 6);
	assert_true(st.dead_bytes < 1000000);
	for (size_t k = 0; k < MANY; k++)
		test_reads(g, i[k].id, 1000 + k, 60000);
	engine_close(&g);
	assert_int_equal(engine_rebuild(&c, &e), 0);
	g = test_open(&c);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.files, MANY);
	engine_close(&g);
}

static void
test_holes(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine_file_info i[MANY];
	struct engine_file *held;
	struct engine *g;
	struct err e = ERR_INIT;
	uint64_t before, after;
	char buf[200000];
	size_t n;

	(void)state;
	c.compact_percent = 99;
	g = test_open(&c);
	for (size_t k = 0; k < MANY; k++)
		i[k] = test_put(g, k, 200000);
	before = disk_bytes(0);
	assert_int_equal(engine_file_open(g, str_of(i[1].id), &held, &e), 0);
	for (size_t k = 0; k < MANY; k++) {
		if (k % 4 != 0)
			test_delete(g, i[k].id);
	}
	assert_int_equal(engine_compact_now(g, &e), 0);
	/* Not under a reader. */
	assert_int_equal(engine_file_read(held, 0, buf, 200000, &n, &e), 0);
	assert_int_equal(n, 200000);
	engine_file_close(&held);
	assert_int_equal(engine_compact_now(g, &e), 0);
	after = disk_bytes(0);
	assert_true(after < before / 2);
	assert_int_equal(engine_scrub_now(g, &e), 0);
	for (int round = 0; round < 3; round++) {
		struct engine_path_stat st;

		engine_path_stat(g, 0, &st);
		assert_int_equal(st.scrub_errors, 0);
		assert_int_equal(st.quarantined, 0);
		for (size_t k = 0; k < MANY; k++) {
			if (k % 4 == 0)
				test_reads(g, i[k].id, k, 200000);
			else
				test_gone(g, i[k].id);
		}
		engine_close(&g);
		if (round == 1)
			assert_int_equal(engine_rebuild(&c, &e), 0);
		g = test_open(&c);
	}
	engine_close(&g);
}

static int
count_bad(void *arg, const char *id)
{
	const char **want = arg;

	assert_string_equal(id, *want);
	*want = NULL;
	return 0;
}

static void
test_scrub(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info a = test_put(g, 1, 5000), b, l;
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	char name[500], mark[16], *at, *all;
	const char *want;
	struct buf raw = BUF_CAP(4 << 20);
	int fd;

	(void)state;
	b = test_put(g, 2, 100000);
	l = test_put(g, 3, 600000);
	assert_int_equal(engine_scrub_now(g, &e), 0);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.scrub_errors, 0);
	assert_int_equal(st.scrub_passes, 1);
	assert_true(st.scrub_bytes >= 705000);
	assert_true(st.scrub_last_s > 0);
	/* One bit of b's second block, and of the large file. */
	snprintf(name, sizeof(name), "%s/volumes/0000000000000001.vol",
	    test_paths[0]);
	assert_int_equal(fs_read_file(name, 4 << 20, &raw, &e), 0);
	test_fill(mark, 2, 80000, 16);
	at = memmem(raw.p, raw.len, mark, 16);
	assert_non_null(at);
	*at ^= 4;
	assert_int_equal(fs_open(name, O_RDWR, &fd, &e), 0);
	assert_int_equal(fs_pwrite_all(fd, str_mem(at, 1),
			     (uint64_t)(at - raw.p), &e),
	    0);
	fs_close(&fd);
	assert_int_equal(engine_scrub_now(g, &e), 0);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.scrub_errors, 1);
	want = b.id;
	assert_int_equal(engine_each_bad(g, count_bad, &want), 0);
	assert_null(want);
	assert_int_equal(test_check(g, b.id, 2, 100000, &e), ERR_CORRUPT);
	test_reads(g, a.id, 1, 5000);
	snprintf(name, sizeof(name), "%s/data%s", test_paths[0],
	    strchr(l.id, '/') + 4);
	assert_int_equal(fs_open(name, O_RDWR, &fd, &e), 0);
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("x!"), 300000, &e), 0);
	fs_close(&fd);
	assert_int_equal(engine_scrub_now(g, &e), 0);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.scrub_errors, 1 + 2); /* b's is still there */
	assert_int_equal(test_check(g, l.id, 3, 600000, &e), ERR_CORRUPT);
	/* A damaged file can be deleted. */
	test_delete(g, b.id);
	test_delete(g, l.id);
	test_gone(g, b.id);
	test_gone(g, l.id);
	all = raw.p;
	(void)all;
	buf_fini(&raw);
	engine_close(&g);
}

/* Below the reserve uploads are refused, deletes are not. */
static void
test_reserve(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info a = test_put(g, 1, 5000), b, x;
	struct fs_space sp;
	struct err e = ERR_INIT;

	(void)state;
	b = test_put(g, 2, 300000);
	engine_close(&g);
	assert_int_equal(fs_space(test_dir, &sp, &e), 0);
	c.reserved = sp.total;
	g = test_open(&c);
	assert_false(engine_can_write(g));
	assert_int_equal(test_try_put(g, 3, 400000, &x, &e), ERR_NO_SPACE);
	/* What a volume has allocated may be used while half the reserve is
	 * there; here it is not. */
	c.reserved = sp.avail * 3;
	engine_close(&g);
	g = test_open(&c);
	assert_int_equal(test_try_put(g, 3, 1000, &x, &e), ERR_NO_SPACE);
	test_delete(g, a.id);
	test_delete(g, b.id);
	test_gone(g, a.id);
	test_gone(g, b.id);
	engine_close(&g);
	c.reserved = 0;
	g = test_open(&c);
	test_gone(g, a.id);
	assert_true(engine_can_write(g));
	x = test_put(g, 3, 400000);
	test_reads(g, x.id, 3, 400000);
	engine_close(&g);
}

/* The system says ENOSPC: no doubt about anything older, and it passes. */
static void
test_enospc(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_FALLOCATE };
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info a = test_put(g, 1, 200000), x;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		uint64_t seed = 10 + 100 * k;

		fault_arm(kinds[k], 1, ENOSPC, true);
		while (test_try_put(g, seed, 200000, &x, &e) == 0)
			assert_true(++seed < 30 + 100 * k);
		assert_int_equal(test_try_put(g, 99, 200000, &x, &e),
		    ERR_NO_SPACE);
		fault_disarm();
		test_reads(g, a.id, 1, 200000);
		x = test_put(g, 98 + k, 200000);
		test_reads(g, x.id, 98 + k, 200000);
	}
	engine_close(&g);
	g = test_open(&c);
	test_reads(g, a.id, 1, 200000);
	test_reads(g, x.id, 99, 200000);
	engine_close(&g);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)
	const struct CMUnitTest tests[] = { T(test_compaction),
		T(test_tombstones_go), T(test_holes), T(test_scrub),
		T(test_reserve), T(test_enospc) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
