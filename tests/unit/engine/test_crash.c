/* Crashes and damage: killed processes, torn tails, flipped bits, bodies that
 * look like needles. Never wrong bytes; what is not hit is not harmed. */
#include "engine_test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

enum {
	FILES = 24,
	MAX_RAW = 8 << 20
};

struct saved {
	char id[ENGINE_FILE_ID_MAX];
	size_t size;
};

static size_t
size_of(unsigned k)
{
	static const size_t sizes[] = { 3000, 70000, 0, 12345, 131072, 300000 };

	return sizes[k % 6];
}

/* Puts and deletes in a process that dies without closing. */
static void
die_after(const struct engine_conf *c, unsigned first, unsigned n,
    struct saved *ret)
{
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct engine *g = test_open(c);

		for (unsigned k = first; k < first + n; k++) {
			struct engine_file_info i = test_put(g, k, size_of(k));
			struct saved s = { .size = i.size };

			memcpy(s.id, i.id, sizeof(s.id));
			if (write(fds[1], &s, sizeof(s)) != sizeof(s))
				_exit(1);
		}
		kill(getpid(), SIGKILL);
		_exit(1);
	}
	close(fds[1]);
	for (unsigned k = 0; k < n; k++)
		assert_int_equal(read(fds[0], &ret[k], sizeof(*ret)),
		    sizeof(*ret));
	close(fds[0]);
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
}

static void
volume_name(char dst[400], unsigned no)
{
	snprintf(dst, 400, "%s/volumes/%016x.vol", test_paths[0], no);
}

static void
load(const char *name, struct buf *ret)
{
	struct err e = ERR_INIT;

	*ret = BUF_CAP(MAX_RAW);
	if (fs_read_file(name, MAX_RAW, ret, &e) != 0)
		fail_msg("%s", e.msg);
}

static void
store(const char *name, const struct buf *b)
{
	struct err e = ERR_INIT;
	int fd;

	assert_int_equal(fs_open(name, O_RDWR | O_TRUNC, &fd, &e), 0);
	assert_int_equal(fs_pwrite_all(fd, buf_str(b), 0, &e), 0);
	fs_close(&fd);
}

static void
copy_dir(const char *from, const char *to)
{
	char cmd[1000];

	snprintf(cmd, sizeof(cmd), "rm -rf %s && cp -a %s %s", to, from, to);
	assert_int_equal(system(cmd), 0);
}

static void
test_killed(void **state)
{
	struct engine_conf c = test_conf(1);
	struct saved s[5 * FILES];
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		struct engine *g;

		c.index_table_max = round == 2 ? 5 : 0;
		die_after(&c, round * FILES, FILES, &s[round * FILES]);
		if (round == 3)
			assert_int_equal(engine_rebuild(&c, &e), 0);
		g = test_open(&c);
		for (unsigned k = 0; k < (round + 1) * FILES; k++) {
			struct id128 w = test_owner(k).write_id;
			struct engine_file_info f;

			test_reads(g, s[k].id, k, s[k].size);
			assert_int_equal(engine_find_write(g, &w, &f, &e), 0);
			assert_string_equal(f.id, s[k].id);
		}
		engine_close(&g);
	}
}

/* Where the last needle of a volume lies: from its end back to the magic. */
static void
last_needle(const struct buf *b, size_t *ret_from, size_t *ret_to)
{
	size_t to = b->len, from;

	while (to > 0 && b->p[to - 1] == 0)
		to--;
	for (from = to; from >= 4; from--) {
		if (memcmp(b->p + from - 4, "CNDL", 4) == 0)
			break;
	}
	assert_true(from >= 4);
	*ret_from = from - 4;
	*ret_to = to;
}

/* The last needle as a power cut may leave it. */
static void
test_torn_tail(void **state)
{
	struct engine_conf c = test_conf(1);
	char name[400], keep[400];
	struct saved s[8];
	struct buf whole;
	size_t from, to;
	struct engine *g;

	(void)state;
	/* 0..6: small ones, the last of them 3000 bytes. */
	g = test_open(&c);
	engine_close(&g);
	die_after(&c, 0, 5, s);
	die_after(&c, 12, 1, &s[5]);
	die_after(&c, 6, 1, &s[6]);
	die_after(&c, 7, 1, &s[7]); /* 70,000 bytes, torn below */
	snprintf(keep, sizeof(keep), "%s/keep", test_dir);
	copy_dir(test_paths[0], keep);
	volume_name(name, 1);
	load(name, &whole);
	last_needle(&whole, &from, &to);
	assert_true(to - from > 70000);
	for (unsigned kind = 0; kind < 40; kind++) {
		struct engine_file_info fresh;
		struct buf b = BUF_CAP(MAX_RAW);
		struct err e = ERR_INIT;
		int rc;

		copy_dir(keep, test_paths[0]);
		assert_int_equal(buf_add(&b, whole.p, whole.len), 0);
		if (kind < 10) { /* ends somewhere in it */
			size_t at = from + (to - from) * kind / 10;

			memset(b.p + at, 0, to - at);
		} else if (kind < 20) { /* a page did not arrive */
			size_t page = from / 4096 + 2 * (kind - 10);

			if (page * 4096 < from)
				memset(b.p + from, 0, (page + 1) * 4096 - from);
			else
				memset(b.p + page * 4096, 0,
				    page * 4096 + 4096 > to ? to - page * 4096
							    : 4096);
		} else if (kind < 30) { /* garbage instead of it */
			size_t at = from + (kind - 20) * 31;

			for (size_t i = at; i < to; i++)
				b.p[i] = (char)(i * 197 + kind);
		} else { /* the file ends in it */
			b.len = from + (to - from) * (kind - 30) / 10;
		}
		store(name, &b);
		buf_fini(&b);
		g = test_open(&c);
		for (int round = 0; round < 2; round++) {
			struct engine_path_stat st;

			for (unsigned k = 0; k < 7; k++)
				test_reads(g, s[k].id,
				    k < 5    ? k
				    : k == 5 ? 12
					     : 6,
				    s[k].size);
			rc = test_check(g, s[7].id, 7, s[7].size, &e);
			assert_true(rc == 0 || rc == ERR_NOT_FOUND);
			engine_path_stat(g, 0, &st);
			assert_int_equal(st.quarantined, 0);
			if (round == 0) {
				/* A retry makes it again; nothing of the old
				 * one shows through. */
				fresh = test_put(g, 7, s[7].size);
				test_put(g, 100 + kind, 50 + kind * 100);
			}
			test_reads(g, fresh.id, 7, s[7].size);
			if (round == 0)
				engine_close(&g);
			if (round == 0 && kind % 2 == 1)
				assert_int_equal(engine_rebuild(&c, &e), 0);
			if (round == 0)
				g = test_open(&c);
		}
		engine_close(&g);
	}
	buf_fini(&whole);
}

/* Damage in the middle: only what is hit is lost, and it is told. */
static void
test_gap(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine_path_stat st;
	struct saved s[6];
	struct err e = ERR_INIT;
	struct engine *g;
	char name[400];
	struct buf b;
	char *at;

	(void)state;
	die_after(&c, 0, 4, s);
	volume_name(name, 1);
	load(name, &b);
	/* The header of number 1. */
	at = memmem(b.p, b.len, s[1].id, strlen(s[1].id));
	assert_non_null(at);
	at[3] ^= 1;
	store(name, &b);
	buf_fini(&b);
	for (int round = 0; round < 3; round++) {
		g = test_open(&c);
		test_reads(g, s[0].id, 0, s[0].size);
		test_reads(g, s[2].id, 2, s[2].size);
		test_reads(g, s[3].id, 3, s[3].size);
		test_gone(g, s[1].id);
		engine_path_stat(g, 0, &st);
		assert_int_equal(st.quarantined, 1);
		test_put(g, 50 + (unsigned)round, 5000);
		engine_close(&g);
		if (round == 1)
			assert_int_equal(engine_rebuild(&c, &e), 0);
	}
	/* Never thrown away. */
	g = test_open(&c);
	test_delete(g, s[0].id);
	test_delete(g, s[2].id);
	test_delete(g, s[3].id);
	assert_int_equal(engine_compact_now(g, &e), 0);
	assert_true(fs_exists(name));
	engine_close(&g);
}

static void
flip_walk(const char *name, size_t step, const struct saved *s, unsigned n,
    bool rebuild)
{
	struct engine_conf c = test_conf(1);
	struct buf b;
	char keep[400];
	unsigned harmed = 0;

	snprintf(keep, sizeof(keep), "%s/keep", test_dir);
	load(name, &b);
	copy_dir(test_paths[0], keep);
	for (size_t at = step / 2; at < b.len; at += step) {
		struct err e = ERR_INIT;
		struct engine *g;
		int rc;

		b.p[at] ^= (char)(1 << (at % 8));
		store(name, &b);
		rc = rebuild ? engine_rebuild(&c, &e) : 0;
		if (rc == 0)
			rc = engine_open(&c, &g, &e);
		if (rc == 0) {
			for (unsigned k = 0; k < n; k++) {
				rc = test_check(g, s[k].id, k, s[k].size, &e);
				if (rc == 1)
					fail_msg("wrong bytes: %s at %zu", name,
					    at);
				harmed += rc != 0;
			}
			(void)engine_scrub_now(g, &e);
			engine_close(&g);
		} else {
			assert_true(rc == ERR_CORRUPT || rc == ERR_VERSION ||
				    rc == ERR_IO);
		}
		copy_dir(keep, test_paths[0]);
		b.p[at] ^= (char)(1 << (at % 8));
	}
	assert_true(harmed > 0 || n == 0);
	buf_fini(&b);
}

static void
test_bit_flips(void **state)
{
	struct engine_conf c = test_conf(1);
	struct saved s[4];
	char name[400], large[400];
	struct engine *g = test_open(&c);

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		size_t size = k == 0 ? 300 : k == 1 ? 66000 : k == 2 ? 1 : 0;
		struct engine_file_info i =
		    test_put(g, k, k == 3 ? 263000 : size);

		memcpy(s[k].id, i.id, sizeof(i.id));
		s[k].size = i.size;
	}
	engine_close(&g);
	volume_name(name, 1);
	/* All of the first file and the headers; then coarser. */
	snprintf(large, sizeof(large), "%s/data%s", test_paths[0],
	    strchr(s[3].id, '/') + 4);
	flip_walk(name, 2003, s, 4, false);
	flip_walk(name, 4801, s, 4, true);
	flip_walk(large, 5003, s, 4, false);
	snprintf(name, sizeof(name), "%s/findex/data.mdb", test_paths[0]);
	flip_walk(name, 611, s, 4, false);
}

/* Every byte of one small needle: header, file ID, sums, payload. */
static void
test_every_byte(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info i = test_put(g, 1, 100);
	struct err e = ERR_INIT;
	char name[400];
	size_t from, to;
	struct buf b;
	int fd;

	(void)state;
	engine_close(&g);
	volume_name(name, 1);
	load(name, &b);
	last_needle(&b, &from, &to);
	assert_true(to - from > 184 + 44 + 100);
	g = test_open(&c);
	assert_int_equal(fs_open(name, O_RDWR, &fd, &e), 0);
	for (size_t at = from; at < to; at++) {
		char bad = (char)(b.p[at] ^ (1 << (at % 8)));

		assert_int_equal(fs_pwrite_all(fd, str_mem(&bad, 1), at, &e),
		    0);
		assert_int_equal(test_check(g, i.id, 1, 100, &e), ERR_CORRUPT);
		assert_int_equal(fs_pwrite_all(fd, str_mem(&b.p[at], 1), at,
				     &e),
		    0);
	}
	test_reads(g, i.id, 1, 100);
	fs_close(&fd);
	buf_fini(&b);
	engine_close(&g);
}

/* A body made of needles, whose own header is then lost, is no source of
 * files: neither of deleted ones nor of forged ones. */
static void
test_body_like_needle(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_file_info a = test_put(g, 1, 400), fake, z;
	struct engine_owner o = test_owner(2);
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	struct buf raw, body = BUF_CAP(MAX_RAW);
	char name[400], *at;
	size_t from, to;

	(void)state;
	volume_name(name, 1);
	load(name, &raw);
	last_needle(&raw, &from, &to);
	to = (to + 7) & ~(size_t)7;
	while (body.len < 100000)
		assert_int_equal(buf_add(&body, raw.p + from, to - from), 0);
	buf_fini(&raw);
	test_delete(g, a.id);
	assert_int_equal(engine_put(g, &o, buf_str(&body), "", &fake, &e), 0);
	z = test_put(g, 3, 5000);
	engine_close(&g);
	load(name, &raw);
	at = memmem(raw.p, raw.len, fake.id, strlen(fake.id));
	assert_non_null(at);
	at[20] ^= 2;
	store(name, &raw);
	buf_fini(&raw);
	buf_fini(&body);
	assert_int_equal(engine_rebuild(&c, &e), 0);
	g = test_open(&c);
	test_gone(g, a.id);
	test_gone(g, fake.id);
	test_reads(g, z.id, 3, 5000);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.files, 1);
	engine_close(&g);
}

struct list {
	struct engine_file_info *f;
	size_t n;
};

static int
list_one(void *arg, const struct engine_file_info *f)
{
	struct list *l = arg;

	assert_true(l->n < 500);
	l->f[l->n++] = *f;
	return 0;
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(((const struct engine_file_info *)a)->id,
	    ((const struct engine_file_info *)b)->id);
}

static struct list
list_all(struct engine *g)
{
	struct list l = { .f = calloc(500, sizeof(*l.f)) };
	struct err e = ERR_INIT;

	assert_non_null(l.f);
	assert_int_equal(engine_each(g, 0, list_one, &l, &e), 0);
	qsort(l.f, l.n, sizeof(*l.f), by_id);
	return l;
}

static void
test_rebuild_is_the_same(void **state)
{
	struct engine_conf c = test_conf(2);
	struct engine *g = test_open(&c);
	struct engine_path_stat before[2], after;
	struct list a, b;
	struct err e = ERR_INIT;
	uint64_t dice = 12345;

	(void)state;
	for (unsigned k = 0; k < 300; k++) {
		struct engine_file_info i =
		    test_put(g, k, size_of(k) / (1 + k % 5));

		dice = dice * 6364136223846793005u + 1442695040888963407u;
		if ((dice >> 60) < 7)
			test_delete(g, i.id);
		if (k % 100 == 50)
			assert_int_equal(engine_compact_now(g, &e), 0);
	}
	a = list_all(g);
	for (size_t i = 0; i < 2; i++)
		engine_path_stat(g, i, &before[i]);
	engine_close(&g);
	assert_int_equal(engine_rebuild(&c, &e), 0);
	g = test_open(&c);
	b = list_all(g);
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.f, b.f, a.n * sizeof(*a.f));
	for (size_t i = 0; i < 2; i++) {
		engine_path_stat(g, i, &after);
		assert_int_equal(after.files, before[i].files);
		assert_int_equal(after.bytes, before[i].bytes);
		assert_int_equal(after.volumes, before[i].volumes);
		assert_int_equal(after.dead_bytes, before[i].dead_bytes);
	}
	free(a.f);
	free(b.f);
	engine_close(&g);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)
	const struct CMUnitTest tests[] = { T(test_killed), T(test_torn_tail),
		T(test_gap), T(test_bit_flips), T(test_every_byte),
		T(test_body_like_needle), T(test_rebuild_is_the_same) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
