/* tests/unit/replication/test_real.c - three real nodes: engines on disk,
 * threads, sockets. What the simulation has shown of the rules is shown here of
 * the parts that it has doubles for. */
#include "tests/unit/replication/real.h"

#include "lib/clock.h"
#include "lib/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct err last; /* of the test's thread */

#define OK(call)                                                               \
	do {                                                                   \
		int ok_rc_ = (call);                                           \
		if (ok_rc_ < 0)                                                \
			fail_msg("%s: %s: %s", #call, err_name(ok_rc_),        \
			    last.msg);                                         \
	} while (0)

static struct real_group g;
static uint64_t small_limit; /* 0: the engine's default */
static char dir[100], body[5 * 1024 * 1024 + 3];

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	(void)f;
	return remove(path);
}

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 31 + i / 977);
	snprintf(dir, sizeof(dir), "%s/creel-real-XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(dir));
	real_open(&g, dir, 3);
	g.volume_size = 64 << 20;
	g.small_limit = small_limit;
	for (i = 0; i < 3; i++)
		real_start(&g, (int)i);
	assert_true(real_is_well(&g, 3, 60000));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	real_close(&g);
	nftw(dir, remove_one, 20, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static void
put(int node, size_t len, struct engine_file_info *ret)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3,
		.write_id = id128_new(),
		.note = STR_LIT("note") };

	OK(rep_put(g.v[node].r, &o, -1, str_mem(body, len), "bin", 0, ret,
	    &last));
}

static int
get(int node, const struct engine_file_info *f)
{
	struct err e = ERR_INIT;
	struct rep_file *rf;
	char *p = mem_alloc(f->size + 1);
	size_t n = 0, at = 0;
	int rc = rep_file_open(g.v[node].r, str_of(f->id), &rf, &e);

	if (rc == 0) {
		do {
			rc = rep_file_read(rf, at, p + at, f->size + 1 - at, &n,
			    &e);
			at += n;
		} while (rc == 0 && n > 0 && at < f->size);
		rep_file_close(&rf);
	}
	if (rc == 0) {
		assert_int_equal(at, f->size);
		assert_memory_equal(p, body, at);
	}
	mem_free(&p);
	return rc;
}

static void
wait_same(void)
{
	struct engine_digest d[3];
	uint8_t from[ENGINE_KEY], to[ENGINE_KEY];
	int i, tries;

	memset(from, 0, sizeof(from));
	memset(to, 0xff, sizeof(to));
	for (tries = 0; tries < 2000; tries++) {
		for (i = 0; i < 3; i++)
			OK(engine_digest(g.v[i].engine, from, to, &d[i],
			    &last));
		if (memcmp(&d[0], &d[1], sizeof(d[0])) == 0 &&
		    memcmp(&d[0], &d[2], sizeof(d[0])) == 0)
			return;
		clock_sleep_ms(20);
	}
	fail_msg("replicas differ: %ju, %ju, %ju entries", (uintmax_t)d[0].n,
	    (uintmax_t)d[1].n, (uintmax_t)d[2].n);
}

static const size_t sizes[] = { 0, 1, 4096, 65537, 1 << 20, (1 << 20) + 1,
	sizeof(body) };
enum {
	SIZES = sizeof(sizes) / sizeof(sizes[0])
};

static void
test_put_get_delete(void **state)
{
	struct engine_file_info f[SIZES];
	struct str id;
	size_t i;
	int node;

	(void)state;
	for (i = 0; i < SIZES; i++) {
		put((int)i % 3, sizes[i], &f[i]);
		for (node = 0; node < 3; node++)
			assert_int_equal(get(node, &f[i]), 0);
	}
	wait_same();
	for (i = 0; i < SIZES; i++) {
		id = str_of(f[i].id);
		OK(rep_delete_many(g.v[(i + 1) % 3].r, &id, 1, &last));
	}
	wait_same();
	for (i = 0; i < SIZES; i++)
		assert_int_equal(get((int)i % 3, &f[i]), ERR_NOT_FOUND);
}

/* A node is away for uploads and deletes; then its disk is lost too. */
static void
test_away_and_wiped(void **state)
{
	struct engine_file_info f[100];
	struct str id;
	int i, round;

	(void)state;
	for (round = 0; round < 2; round++) {
		put(0, 777, &f[0]);
		real_stop(&g, 2);
		if (round == 1)
			real_wipe(&g, 2);
		for (i = 1; i < 100; i++)
			put(i % 2, i % 40 == 7 ? sizeof(body) : (size_t)i * 99,
			    &f[i]);
		id = str_of(f[0].id);
		OK(rep_delete_many(g.v[0].r, &id, 1, &last));
		real_start(&g, 2);
		assert_true(real_is_well(&g, 3, 60000));
		wait_same();
		assert_int_equal(get(2, &f[0]), ERR_NOT_FOUND);
		for (i = 1; i < 100; i++)
			assert_int_equal(get(2, &f[i]), 0);
	}
}

struct writer {
	pthread_t thread;
	int node;
	unsigned n, refused;
	struct engine_file_info f[400];
	_Atomic bool *stop;
};

static void *
write_on(void *arg)
{
	struct writer *w = arg;
	struct engine_owner o = { .class = ENGINE_CLASS_S3,
		.note = STR_LIT("note") };
	struct err e;

	while (!*w->stop && w->n < 400) {
		o.write_id = id128_new();
		if (rep_put(g.v[w->node].r, &o, -1, str_mem(body, 5000), "bin",
			0, &w->f[w->n], &e) == 0)
			w->n++;
		else
			w->refused++;
	}
	return NULL;
}

/* Writers through two nodes while the third goes and comes. */
static void
test_writes_go_on(void **state)
{
	static struct writer w[4];
	static _Atomic bool stop;
	unsigned i, k, refused = 0;

	(void)state;
	stop = false;
	for (i = 0; i < 4; i++) {
		w[i] = (struct writer){ .node = (int)i % 2, .stop = &stop };
		assert_int_equal(pthread_create(&w[i].thread, NULL, write_on,
				     &w[i]),
		    0);
	}
	clock_sleep_ms(300);
	real_stop(&g, 2);
	clock_sleep_ms(500);
	real_start(&g, 2);
	clock_sleep_ms(500);
	stop = true;
	for (i = 0; i < 4; i++) {
		pthread_join(w[i].thread, NULL);
		refused += w[i].refused;
	}
	assert_int_equal(refused, 0);
	assert_true(real_is_well(&g, 3, 60000));
	wait_same();
	for (i = 0; i < 4; i++) {
		assert_true(w[i].n > 10);
		for (k = 0; k < w[i].n; k++)
			assert_int_equal(get(2, &w[i].f[k]), 0);
	}
}

/* Finds the file's bytes in the node's volumes and turns one bit. */
static void
flip(int node, const char *mark, size_t len)
{
	char path[500], *p;
	struct stat st;
	int fd, i;
	void *at;

	for (i = 1; i < 100; i++) {
		snprintf(path, sizeof(path), "%s/volumes/%016x.vol",
		    g.v[node].path, (unsigned)i);
		fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		assert_int_equal(fstat(fd, &st), 0);
		p = malloc((size_t)st.st_size);
		assert_int_equal(pread(fd, p, (size_t)st.st_size, 0),
		    st.st_size);
		at = memmem(p, (size_t)st.st_size, mark, len);
		if (at != NULL) {
			*(char *)at ^= 1;
			assert_int_equal(pwrite(fd, at, 1, (char *)at - p), 1);
			free(p);
			close(fd);
			return;
		}
		free(p);
		close(fd);
	}
	fail_msg("the file is in no volume");
}

/* A file at node 0 with a bit turned there. */
static void
put_flipped(struct engine_file_info *f, char mark[4000])
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3,
		.note = STR_LIT("note") };

	rand_bytes(mark, 4000);
	OK(rep_put(g.v[0].r, &o, -1, str_mem(mark, 4000), "bin", 0, f, &last));
	wait_same();
	flip(0, mark, 4000);
}

/* The copy at node 0 is good again before long. */
static void
wait_good(const struct engine_file_info *f, const char mark[4000])
{
	int i, rc = ERR_CORRUPT;
	char got[4000];
	size_t n;

	for (i = 0; i < 600 && rc < 0; i++) {
		rc = engine_read(g.v[0].engine, str_of(f->id), 0, got,
		    sizeof(got), &n, &last);
		if (rc < 0)
			clock_sleep_ms(20);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(n, 4000);
	assert_memory_equal(got, mark, n);
}

static void
test_flipped_bit(void **state)
{
	struct engine_file_info f;
	char mark[4000], got[4000];
	struct rep_file *rf;
	size_t n;

	(void)state;
	put_flipped(&f, mark);
	OK(rep_file_open(g.v[0].r, str_of(f.id), &rf, &last));
	OK(rep_file_read(rf, 0, got, sizeof(got), &n, &last));
	rep_file_close(&rf);
	assert_int_equal(n, sizeof(mark));
	assert_memory_equal(got, mark, n);
	wait_good(&f, mark);
}

static int
count_bad(void *arg, const char *id)
{
	(void)id;
	(*(int *)arg)++;
	return 0;
}

/* What a scrub finds is repaired although nobody reads it. */
static void
test_scrub(void **state)
{
	struct engine_file_info f;
	char mark[4000];
	int i, bad = 0;

	(void)state;
	put_flipped(&f, mark);
	OK(engine_scrub_now(g.v[0].engine, &last));
	engine_each_bad(g.v[0].engine, count_bad, &bad);
	assert_int_equal(bad, 1);
	for (i = 0; i < 1000 && bad > 0; i++) {
		clock_sleep_ms(20);
		bad = 0;
		engine_each_bad(g.v[0].engine, count_bad, &bad);
	}
	assert_int_equal(bad, 0);
	wait_good(&f, mark);
}

/* --- a large file that is damaged everywhere --- */

/* Turns a bit in @block of the copy at @node; block < 0 removes it. */
static void
damage_large(int node, const struct engine_file_info *f, long block)
{
	char path[600], c;
	int fd;

	snprintf(path, sizeof(path), "%s/data/%s", g.v[node].path,
	    f->id + strlen("group1/M00/"));
	if (block < 0) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, block * ENGINE_BLOCK + 77), 1);
	c = (char)(c ^ 4);
	assert_int_equal(pwrite(fd, &c, 1, block * ENGINE_BLOCK + 77), 1);
	close(fd);
}

static uint64_t
scrub_errors(int node)
{
	struct engine_path_stat st;

	OK(engine_scrub_now(g.v[node].engine, &last));
	engine_path_stat(g.v[node].engine, 0, &st);
	return st.scrub_errors;
}

static bool
is_good_at(int node, const struct engine_file_info *f)
{
	struct err e = ERR_INIT;
	char *p = mem_alloc(f->size);
	size_t n = 0, at = 0;
	int rc = 0;

	while (rc == 0 && at < f->size) {
		rc = engine_read(g.v[node].engine, str_of(f->id), at, p + at,
		    f->size - at, &n, &e);
		at += n;
	}
	if (rc == 0)
		assert_memory_equal(p, body, f->size);
	mem_free(&p);
	return rc == 0;
}

static void
scrub_until_good(const struct engine_file_info *f)
{
	int i;

	for (int node = 0; node < 3; node++) {
		scrub_errors(node);
		for (i = 0; i < 1000 && !is_good_at(node, f); i++)
			clock_sleep_ms(20);
		assert_true(i < 1000);
	}
}

/* No copy is whole, but each block is good somewhere. */
static void
test_damaged_everywhere(void **state)
{
	struct engine_file_info f;

	(void)state;
	put(0, sizeof(body), &f);
	wait_same();
	damage_large(0, &f, -1);
	damage_large(1, &f, 0);
	damage_large(1, &f, 17);
	damage_large(2, &f, 18);
	damage_large(2, &f, 80); /* the last */
	scrub_until_good(&f);
}

/* Good blocks of the copy itself are used too: nobody else has them. */
static void
test_damaged_beside(void **state)
{
	struct engine_file_info f;

	(void)state;
	put(0, sizeof(body), &f);
	wait_same();
	damage_large(0, &f, 3);
	damage_large(1, &f, 4);
	damage_large(2, &f, 4);
	scrub_until_good(&f);
}

/* What nobody has is not said to be repaired, and each scrub finds it again. */
static void
test_damaged_for_good(void **state)
{
	struct engine_file_info f;
	struct rep_status before, after;
	uint64_t first;
	int node;

	(void)state;
	put(0, sizeof(body), &f);
	wait_same();
	rep_status(g.v[0].r, &before);
	first = scrub_errors(0);
	for (node = 0; node < 3; node++)
		damage_large(node, &f, 9);
	assert_int_equal(scrub_errors(0), first + 1);
	clock_sleep_ms(3000); /* repairs are begun meanwhile */
	assert_int_equal(scrub_errors(0), first + 2);
	rep_status(g.v[0].r, &after);
	assert_int_equal(after.repaired, before.repaired);
}

#define NAME "group1/M00/00/00/wKgAAWVT8wCEWVsDAAAAAAAAAAA1234567"

static int
change(bool is_new, bool is_delete, uint64_t base, const char *text,
    struct engine_file_info *ret)
{
	struct err e = ERR_INIT;
	struct rep_change c = { .id = STR_LIT(NAME),
		.class = ENGINE_CLASS_LIST,
		.is_new = is_new,
		.is_delete = is_delete,
		.base = base,
		.body = str_of(text) };
	int i, node, rc = ERR_RETRY;
	bool is_open = false;

	for (i = 0; i < 500; i++) {
		node = real_leader(&g);
		if (node >= 0)
			rc = rep_change(g.v[node].r, &c, ret, &e);
		if (node >= 0 && rc != ERR_BUSY)
			break;
		is_open = is_open || rc == ERR_BUSY;
		clock_sleep_ms(20);
	}
	/* The outcome of the one before was open: it was made after all. */
	return is_delete && is_open && rc == ERR_NOT_FOUND ? 0 : rc;
}

static void
test_change(void **state)
{
	struct engine_file_info a, b;
	struct buf text = BUF_CAP(100);
	int i, leader, rc = ERR_RETRY;

	(void)state;
	assert_int_equal(change(true, false, 0, "one", &a), 0);
	assert_int_equal(change(true, false, 0, "no", &b), ERR_EXISTS);
	assert_int_equal(change(false, false, a.file_version, "two", &b), 0);
	assert_int_equal(change(false, false, a.file_version, "no", &a),
	    ERR_RETRY);
	leader = real_leader(&g);
	real_stop(&g, leader);
	for (i = 0; i < 500 && rc != 0; i++) {
		struct err e = ERR_INIT;

		leader = real_leader(&g);
		buf_reset(&text);
		if (leader >= 0)
			rc = rep_read_newest(g.v[leader].r, STR_LIT(NAME), &a,
			    &text, &e);
		if (rc != 0)
			clock_sleep_ms(20);
	}
	assert_int_equal(rc, 0);
	assert_true(str_eqz(buf_str(&text), "two"));
	assert_int_equal(change(false, true, a.file_version, "", &b), 0);
	assert_int_equal(change(false, false, 0, "no", &b), ERR_NOT_FOUND);
	for (i = 0; i < 3; i++) {
		if (g.v[i].r == NULL)
			real_start(&g, i);
	}
	assert_true(real_is_well(&g, 3, 60000));
	wait_same();
	buf_fini(&text);
}

static void
test_compare(void **state)
{
	uint64_t diff = 1;
	struct engine_record tomb = { .is_tomb = true };
	struct engine_file_info f;
	struct engine_install in = { .r = &tomb };

	(void)state;
	put(0, 100, &f);
	wait_same();
	OK(rep_compare_now(g.v[1].r, &diff, &last));
	assert_int_equal(diff, 0);
	/* A log never tells what is taken out of it: only a comparison finds
	 * a version that went past it. */
	snprintf(tomb.info.id, sizeof(tomb.info.id), "%s", f.id);
	tomb.info.file_version = 2;
	tomb.info.class = ENGINE_CLASS_S3;
	OK(engine_install_many(g.v[0].engine, &in, 1, &last));
	OK(rep_compare_now(g.v[1].r, &diff, &last));
	wait_same();
	assert_int_equal(get(2, &f), ERR_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_get_delete),
		cmocka_unit_test(test_away_and_wiped),
		cmocka_unit_test(test_writes_go_on),
		cmocka_unit_test(test_flipped_bit),
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_damaged_everywhere),
		cmocka_unit_test(test_damaged_beside),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_damaged_for_good),
	};

	const struct CMUnitTest with_large[] = {
		cmocka_unit_test(test_put_get_delete),
		cmocka_unit_test(test_away_and_wiped),
		cmocka_unit_test(test_change),
	};
	int rc = cmocka_run_group_tests(tests, setup, teardown);

	/* What is small between nodes is large to their stores. */
	small_limit = 4096;
	return cmocka_run_group_tests(with_large, setup, teardown) + rc;
}
