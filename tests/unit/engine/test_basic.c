/* Put, read, delete, find; sizes at every border; reopening. */
#include "engine_test.h"

#include <sys/uio.h>

#include "fdfs/file_id.h"

#include "lib/hash.h"

#include <errno.h>

static const size_t sizes[] = { 0, 1, 7, 4095, 4096, 30000, 32768 - 250, 32768,
	65535, 65536, 65537, 131072, 200001, 262143, 262144, 262145, 327680,
	1000000 };
enum {
	N = sizeof(sizes) / sizeof(sizes[0])
};

static void
test_put_read_reopen(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info info[N];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		struct fdfs_file_id id;

		info[i] = test_put(g, i, sizes[i]);
		assert_int_equal(info[i].size, sizes[i]);
		assert_int_equal(info[i].file_version, 1);
		assert_int_equal(fdfs_id_parse(str_of(info[i].id), &id, NULL),
		    0);
		assert_int_equal(fdfs_id_size(&id), sizes[i]);
		assert_int_equal(id.crc32, info[i].crc32);
		assert_int_equal(id.server, 7);
		test_reads(g, info[i].id, i, sizes[i]);
	}
	for (int round = 0; round < 3; round++) {
		struct err e = ERR_INIT;

		engine_close(&g);
		if (round == 1 && engine_rebuild(&c, &e) != 0)
			fail_msg("rebuild: %s", e.msg);
		g = test_open(&c);
		for (size_t i = 0; i < N; i++) {
			struct id128 w = test_owner(i).write_id;
			struct engine_file_info f;

			test_reads(g, info[i].id, i, sizes[i]);
			assert_int_equal(engine_find_write(g, &w, &f, &e), 0);
			assert_string_equal(f.id, info[i].id);
			assert_int_equal(f.crc32, info[i].crc32);
			assert_int_equal(f.created_s, info[i].created_s);
		}
	}
	engine_close(&g);
}

static void
test_ranges(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	static const uint64_t offs[] = { 0, 1, 65535, 65536, 65537, 131071,
		200000, 199999, 131072, 250000 };
	static const size_t lens[] = { 0, 1, 2, 65535, 65536, 65537, 131072,
		300000 };
	static const size_t file_sizes[] = { 200000, 262144, 900000 };
	char *got = malloc(400000), *want = malloc(400000);

	(void)state;
	for (size_t s = 0; s < 3; s++) {
		size_t size = file_sizes[s];
		struct engine_file_info i = test_put(g, 40 + s, size);
		struct err e = ERR_INIT;
		struct engine_file *f;

		assert_int_equal(engine_file_open(g, str_of(i.id), &f, &e), 0);
		for (size_t a = 0; a < sizeof(offs) / sizeof(offs[0]); a++) {
			for (size_t b = 0; b < sizeof(lens) / sizeof(lens[0]);
			     b++) {
				size_t n = 99, left = offs[a] < size
				                          ? size - offs[a]
				                          : 0;
				size_t expect = lens[b] < left ? lens[b] : left;

				assert_int_equal(engine_file_read(f, offs[a],
						     got, lens[b], &n, &e),
				    0);
				assert_int_equal(n, expect);
				test_fill(want, 40 + s, offs[a], n);
				assert_memory_equal(got, want, n);
				assert_int_equal(engine_read(g, str_of(i.id),
						     offs[a], got, lens[b], &n,
						     &e),
				    0);
				assert_int_equal(n, expect);
				assert_memory_equal(got, want, n);
			}
		}
		engine_file_close(&f);
	}
	free(got);
	free(want);
	engine_close(&g);
}

/* Where whole blocks lie, and what they have to be: of volumes' files and large
 * ones. */
static void
test_spans(void **state)
{
	static const size_t lens[] = { 1, 65536, 65537, 200000, 262144,
		900000 };
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	char *got = malloc(900000), *want = malloc(900000);
	struct engine_span span;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t s = 0; s < sizeof(lens) / sizeof(*lens); s++) {
		struct engine_file_info i = test_put(g, 70 + s, lens[s]);
		struct engine_file *f;
		size_t from, to;

		assert_int_equal(engine_file_open(g, str_of(i.id), &f, &e), 0);
		for (from = 0; from < lens[s]; from += ENGINE_BLOCK) {
			for (to = from; to < lens[s];) {
				size_t n;

				to += ENGINE_BLOCK;
				if (to > lens[s])
					to = lens[s];
				n = to - from;
				assert_int_equal(engine_file_span(f, from, n,
						     &span, &e),
				    0);
				assert_int_equal(fs_pread_all(span.fd, got, n,
						     span.off, &e),
				    0);
				test_fill(want, 70 + s, from, n);
				assert_memory_equal(got, want, n);
				assert_int_equal(span.crc32c,
				    hash_crc32c(0, want, n));
			}
		}
		assert_int_equal(engine_file_span(f, 0, 0, &span, &e),
		    ERR_RETRY);
		assert_int_equal(engine_file_span(f, 0, lens[s] + 1, &span, &e),
		    ERR_RETRY);
		if (lens[s] > 1) {
			assert_int_equal(engine_file_span(f, 1, lens[s] - 1,
					     &span, &e),
			    ERR_RETRY);
			assert_int_equal(engine_file_span(f, 0, lens[s] - 1,
					     &span, &e),
			    (lens[s] - 1) % ENGINE_BLOCK == 0 ? 0 : ERR_RETRY);
		}
		engine_file_close(&f);
	}
	free(got);
	free(want);
	engine_close(&g);
}

/* Not every file system does. */
static bool
says_what_is_at_hand(void)
{
	char path[320], byte = 'x';
	struct iovec v = { &byte, 1 };
	struct err e = ERR_INIT;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/probe", test_dir);
	assert_int_equal(fs_open(path, O_RDWR | O_CREAT, &fd, &e), 0);
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("x"), 0, &e), 0);
	n = preadv2(fd, &v, 1, 0, RWF_NOWAIT);
	assert_int_equal(fs_pread_now(fd, &byte, 1, 0, &e) == 0, n == 1);
	assert_int_equal(fs_pread_now(fd, &byte, 1, 1, &e), ERR_RETRY);
	fs_close(&fd);
	return n == 1;
}

/* The bytes of a small file that are in memory, or nothing at all. */
static void
test_read_now(void **state)
{
	static const size_t lens[] = { 0, 1, 4096, 28672, 32769, 500000 };
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	char *got = malloc(500000), *want = malloc(500000);
	struct err e = ERR_INIT;
	bool can;
	size_t n;
	int rc;

	(void)state;
	can = says_what_is_at_hand();
	for (size_t k = 0; k < 6; k++) {
		struct engine_file_info i = test_put(g, k, lens[k]);

		n = 77;
		assert_int_equal(engine_read(g, str_of(i.id), 0, got, 500000,
				     &n, &e),
		    0);
		memset(got, 'x', 500000);
		n = 77;
		rc = engine_read_now(g, str_of(i.id), 0, got, 500000, &n, &e);
		if (!can || lens[k] > 32768) {
			assert_int_equal(rc, ERR_RETRY);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(n, lens[k]);
		test_fill(want, k, 0, n);
		assert_memory_equal(got, want, n);
		assert_int_equal(engine_read_now(g, str_of(i.id), 1, got, 5, &n,
				     &e),
		    0);
		assert_int_equal(n, lens[k] < 2 ? 0 : 5);
		test_fill(want, k, 1, n);
		assert_memory_equal(got, want, n);
		test_delete(g, i.id);
		assert_int_equal(engine_read_now(g, str_of(i.id), 0, got, 5, &n,
				     &e),
		    ERR_RETRY);
	}
	assert_int_equal(engine_read_now(g, STR_LIT("nonsense"), 0, got, 5, &n,
			     &e),
	    ERR_RETRY);
	free(got);
	free(want);
	engine_close(&g);
}

static void
test_deleting(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info i[6];
	struct engine_file *small, *large;
	struct err e = ERR_INIT;
	struct str ids[8];
	char buf[600000];
	size_t n;

	(void)state;
	for (size_t k = 0; k < 6; k++)
		i[k] = test_put(g, k, k < 3 ? 5000 : 500000);
	assert_int_equal(engine_file_open(g, str_of(i[0].id), &small, &e), 0);
	assert_int_equal(engine_file_open(g, str_of(i[3].id), &large, &e), 0);
	test_delete(g, i[0].id);
	test_delete(g, i[3].id);
	test_gone(g, i[0].id);
	test_gone(g, i[3].id);
	/* Open files keep their bytes. */
	assert_int_equal(engine_file_read(small, 0, buf, sizeof(buf), &n, &e),
	    0);
	assert_int_equal(n, 5000);
	assert_int_equal(engine_file_read(large, 0, buf, sizeof(buf), &n, &e),
	    0);
	assert_int_equal(n, 500000);
	engine_file_close(&small);
	engine_file_close(&large);
	/* Again, and what never was. */
	test_delete(g, i[0].id);
	test_delete(g, "group1/M00/05/0A/BwAAAGsBLvWAPl1EAAAFeEEZMs8887.txt");
	test_delete(g, "group1/M09/05/0A/BwAAAGsBLvWAPl1EAAAFeEEZMs8887.txt");
	assert_int_equal(engine_delete(g, STR_LIT("nonsense"), &e),
	    ERR_INVALID);
	/* Many, one of them twice, one deleted already. */
	ids[0] = str_of(i[1].id);
	ids[1] = str_of(i[4].id);
	ids[2] = str_of(i[1].id);
	ids[3] = str_of(i[0].id);
	ids[4] = str_of(i[2].id);
	assert_int_equal(engine_delete_many(g, ids, 5, &e), 0);
	for (int round = 0; round < 3; round++) {
		struct id128 w = test_owner(1).write_id;
		struct engine_file_info f;
		struct engine_path_stat st;

		for (size_t k = 0; k < 5; k++)
			test_gone(g, i[k].id);
		test_reads(g, i[5].id, 5, 500000);
		assert_int_equal(engine_find_write(g, &w, &f, &e),
		    ERR_NOT_FOUND);
		engine_path_stat(g, 0, &st);
		assert_int_equal(st.files, 1);
		assert_int_equal(st.bytes, 500000);
		engine_close(&g);
		if (round == 1)
			assert_int_equal(engine_rebuild(&c, &e), 0);
		g = test_open(&c);
	}
	engine_close(&g);
}

static void
test_write_id(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info a = test_put(g, 1, 100), b, d;
	struct engine_owner none = { .class = ENGINE_CLASS_S3 };
	struct err e = ERR_INIT;

	(void)state;
	b = test_put(g, 1, 100); /* E5 */
	assert_string_equal(a.id, b.id);
	a = test_put(g, 2, 300000);
	engine_close(&g);
	g = test_open(&c);
	b = test_put(g, 2, 300000);
	assert_string_equal(a.id, b.id);
	assert_int_equal(engine_put(g, &none, STR_LIT("x"), "", &a, &e), 0);
	assert_int_equal(engine_put(g, &none, STR_LIT("x"), "", &d, &e), 0);
	assert_string_not_equal(a.id, d.id);
	engine_close(&g);
}

static void
test_streams(void **state)
{
	static const struct {
		size_t size;
		uint64_t hint;
	} cases[] = { { 0, UINT64_MAX }, { 1000, UINT64_MAX }, { 1000, 1000 },
		{ 262144, UINT64_MAX }, { 262145, UINT64_MAX },
		{ 700000, UINT64_MAX }, { 700000, 700000 }, { 700000, 10 },
		{ 10, 700000 }, { 0, 700000 } };
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);

	(void)state;
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct engine_owner o = test_owner(100 + k);
		struct engine_file_info i;
		struct engine_upload *u;
		struct err e = ERR_INIT;
		char part[10007];
		struct buf note = BUF_CAP(4096);
		struct engine_file *f;

		o.note = STR_LIT("bucket/key");
		assert_int_equal(engine_upload_begin(g, &o, cases[k].hint, &u,
				     &e),
		    0);
		for (size_t at = 0; at < cases[k].size;) {
			size_t n = cases[k].size - at;

			if (n > sizeof(part))
				n = sizeof(part);
			test_fill(part, 100 + k, at, n);
			assert_int_equal(engine_upload_write(u, part, n, &e),
			    0);
			at += n;
		}
		assert_int_equal(engine_upload_commit(&u, "jpg", &i, &e), 0);
		assert_null(u);
		assert_int_equal(i.size, cases[k].size);
		assert_string_equal(i.id + strlen(i.id) - 4, ".jpg");
		test_reads(g, i.id, 100 + k, cases[k].size);
		assert_int_equal(engine_file_open(g, str_of(i.id), &f, &e), 0);
		assert_int_equal(engine_file_note(f, &note, &e), 0);
		assert_true(str_eqz(buf_str(&note), "bucket/key"));
		buf_fini(&note);
		engine_file_close(&f);
		/* The same again: E5. */
		assert_int_equal(engine_upload_begin(g, &o, UINT64_MAX, &u, &e),
		    0);
		assert_int_equal(engine_upload_write(u, part, 10, &e), 0);
		engine_upload_abort(&u);
	}
	engine_close(&g);
}

enum how {
	WRITE,
	LEND,    /* in pieces as they should be, but for the last */
	LEND_ODD /* and some that cannot be taken as they are */
};

/* What was lent is overwritten as soon as it may be. */
static int
stream(struct engine *g, enum how how, uint64_t seed, size_t size,
    uint64_t hint, struct engine_file_info *ret)
{
	static const size_t odd[] = { 262144, 10007, 1, 524288, 4096 };
	static const size_t even[] = { 262144, 8192, 524288, 262144, 4096 };
	static _Alignas(ENGINE_LEND_ALIGN) char part[ENGINE_LENT + 1][524288];
	const size_t *chunks = how == LEND ? even : odd;
	struct engine_owner o = test_owner(seed);
	struct engine_upload *u;
	int rc = engine_upload_begin(g, &o, hint, &u, NULL);

	if (rc < 0)
		return rc;
	for (size_t at = 0, k = 0; at < size && rc == 0; k++) {
		char *p = part[k % (ENGINE_LENT + 1)];
		size_t n = chunks[k % 5];

		if (how == LEND_ODD && at < size / 2)
			n = even[k % 5];
		if (n > size - at)
			n = size - at;
		test_fill(p, seed, at, n);
		rc = how == WRITE ? engine_upload_write(u, p, n, NULL)
		                  : engine_upload_lend(u, p, n, NULL);
		at += n;
	}
	if (rc == 0 && how != WRITE)
		engine_upload_settle(u);
	if (rc < 0)
		engine_upload_abort(&u);
	memset(part, 0xee, sizeof(part));
	return rc < 0 ? rc : engine_upload_commit(&u, "", ret, NULL);
}

/* Written directly, by other threads; on a real file system if there is one. */
static void
walk_direct(enum how how)
{
	static const size_t big[] = { (9 << 20) + 123, 8 << 20,
		(8 << 20) + 4096 };
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_OPEN,
		FAULT_FALLOCATE, FAULT_SYNC, FAULT_TRUNCATE };
	struct engine_conf c = test_conf(1);
	struct engine_file_info i, f[6];
	struct engine *g;

	test_remove_dir();
	setenv("TMPDIR", "/tmp", 0);
	test_make_dir();
	g = test_open(&c);
	for (uint64_t k = 0; k < 6; k++) {
		assert_int_equal(stream(g, how, k, big[k / 2],
				     k % 2 ? UINT64_MAX : big[k / 2], &f[k]),
		    0);
		test_reads(g, f[k].id, k, big[k / 2]);
	}
	/* It may be less than was said, or more. */
	assert_int_equal(stream(g, how, 50, 300000, 9 << 20, &i), 0);
	test_reads(g, i.id, 50, 300000);
	assert_int_equal(stream(g, how, 51, 9 << 20, 8 << 20, &i), 0);
	test_reads(g, i.id, 51, 9 << 20);
	/* One that is small at first. */
	assert_int_equal(stream(g, how, 52, 3 << 20, 1, &i), 0);
	test_reads(g, i.id, 52, 3 << 20);
	for (uint64_t k = 0; k < 25; k++) {
		struct id128 w = test_owner(100 + k).write_id;
		int rc;

		fault_arm(kinds[k % 5], 1 + k / 5 * 4, EIO, k % 2 == 1);
		rc =
		    stream(g, how, 100 + k, (8 << 20) + 99, (8 << 20) + 99, &i);
		fault_disarm();
		if (rc == 0)
			test_reads(g, i.id, 100 + k, (8 << 20) + 99);
		else
			assert_int_equal(engine_find_write(g, &w, &i, NULL),
			    ERR_NOT_FOUND);
		if (rc != 0) { /* the path may be out of service */
			engine_close(&g);
			g = test_open(&c);
		}
	}
	for (uint64_t k = 0; k < 6; k++)
		test_reads(g, f[k].id, k, big[k / 2]);
	engine_close(&g);
	unsetenv("TMPDIR");
}

static void
test_direct(void **state)
{
	(void)state;
	walk_direct(WRITE);
}

static void
test_lent(void **state)
{
	(void)state;
	walk_direct(LEND);
}

static void
test_lent_odd(void **state)
{
	(void)state;
	walk_direct(LEND_ODD);
}

/* Memory for the copies that an odd piece needs. */
static void
test_lent_no_memory(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info i;
	unsigned failed = 0;

	(void)state;
	for (unsigned long k = 1; k < 20; k++) {
		int rc;

		fault_arm(FAULT_ALLOC, k, ENOMEM, k % 2 == 0);
		rc = stream(g, LEND_ODD, k, (8 << 20) + 99, (8 << 20) + 99, &i);
		fault_disarm();
		failed += rc < 0;
		assert_true(rc == 0 || rc == ERR_NO_MEMORY);
		if (rc == 0)
			test_reads(g, i.id, k, (8 << 20) + 99);
	}
	assert_in_range(failed, 1, 18);
	engine_close(&g);
}

static int
count_one(void *arg, const struct engine_file_info *f)
{
	size_t *n = arg;

	assert_true(f->size < 300001);
	++*n;
	return 0;
}

static void
test_each(void **state)
{
	struct engine_conf c = test_conf(2);
	struct engine *g = test_open(&c);
	struct engine_file_info last = { 0 };
	struct err e = ERR_INIT;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 600; i++)
		last = test_put(g, i, i % 100 == 0 ? 300000 : 100 + i);
	test_delete(g, last.id);
	assert_int_equal(engine_each(g, ENGINE_CLASS_S3, count_one, &n, &e), 0);
	assert_int_equal(n, 599);
	n = 0;
	assert_int_equal(engine_each(g, 0, count_one, &n, &e), 0);
	assert_int_equal(n, 599);
	n = 0;
	assert_int_equal(engine_each(g, ENGINE_CLASS_INDEX, count_one, &n, &e),
	    0);
	assert_int_equal(n, 0);
	engine_close(&g);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)
	const struct CMUnitTest tests[] = { T(test_put_read_reopen),
		T(test_ranges), T(test_spans), T(test_read_now),
		T(test_deleting), T(test_write_id), T(test_streams),
		T(test_direct), T(test_lent), T(test_lent_odd),
		T(test_lent_no_memory), T(test_each) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
