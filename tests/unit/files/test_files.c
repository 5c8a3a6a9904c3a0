/* storage/files over a double of replication: what FastDFS's clients do to
 * files, against a model that is bytes in memory. */
#include "rep_double.h"

#include "storage/files/files.h"
#include "storage/files/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define BIG (300 * 1000)

static struct files *files;

static int
setup_limit(size_t small_limit)
{
	dbl_open();
	world.small_limit = small_limit;
	return dbl_open_files(&files);
}

static int
setup(void **state)
{
	(void)state;
	return setup_limit(1024 * 1024);
}

static int
setup_small(void **state)
{
	(void)state;
	return setup_limit(4096);
}

static int
teardown(void **state)
{
	(void)state;
	dbl_close_files(&files);
	dbl_close();
	return 0;
}

struct given {
	const char *p;
	size_t left, most;
};

static int
give(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct given *g = arg;

	(void)e;
	if (len > g->left)
		len = g->left;
	if (g->most > 0 && len > g->most)
		len = g->most; /* in pieces, as a socket gives */
	memcpy(p, g->p, len);
	g->p += len;
	g->left -= len;
	*ret = len;
	return 0;
}

static struct str
remote(const char *id)
{
	return str_skip(str_of(id), 7);
}

static void
upload(bool is_appender, const char *p, size_t len, char name[128])
{
	struct given g = { p, len, 1000 };
	struct engine_file_info info;
	struct err e = ERR_INIT;

	assert_int_equal(files_upload(files, -1, is_appender, STR_LIT("txt"),
			     len, give, &g, &info, &e),
	    0);
	assert_int_equal(info.crc32, hash_crc32(0, p, len));
	snprintf(name, 128, STR_FMT, STR_ARG(remote(info.id)));
}

static int
append(const char *name, const char *p, size_t len)
{
	struct given g = { p, len, 0 };
	struct err e = ERR_INIT;

	return files_append(files, str_of(name), len, give, &g, &e);
}

static int
modify(const char *name, uint64_t off, const char *p, size_t len)
{
	struct given g = { p, len, 0 };
	struct err e = ERR_INIT;

	return files_modify(files, str_of(name), off, len, give, &g, &e);
}

static void
assert_content(const char *name, const char *want, size_t len)
{
	struct files_reader *r = NULL;
	struct files_info info, again;
	struct err e = ERR_INIT;
	char *p = malloc(len + 1);
	size_t done = 0, n;

	assert_int_equal(files_reader_open(files, str_of(name), &r, &info, &e),
	    0);
	assert_int_equal(info.size, len);
	do {
		assert_int_equal(files_reader_read(r, done, p + done,
				     len + 1 - done, &n, &e),
		    0);
		done += n;
	} while (n > 0);
	assert_int_equal(done, len);
	assert_memory_equal(p, want, len);
	files_reader_close(&r);
	assert_int_equal(files_info(files, str_of(name), true, &again, &e), 0);
	assert_int_equal(again.size, len);
	assert_int_equal(again.crc32, hash_crc32(0, want, len));
	assert_int_equal(again.server_id, 7);
	free(p);
}

static char *
random_bytes(size_t len)
{
	char *p = malloc(len + 1);

	rand_bytes(p, len);
	return p;
}

static void
test_normal(void **state)
{
	static const size_t sizes[] = { 0, 1, 8192, 8193, 256 * 1024,
		256 * 1024 + 1, BIG * 5 };
	struct files_info info;
	struct err e = ERR_INIT;
	char name[128];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = random_bytes(sizes[i]);

		upload(false, p, sizes[i], name);
		assert_content(name, p, sizes[i]);
		assert_int_equal(append(name, "x", 1), ERR_INVALID);
		assert_int_equal(modify(name, 0, "x", 1), ERR_INVALID);
		assert_int_equal(files_truncate(files, str_of(name), 0, &e),
		    ERR_INVALID);
		assert_int_equal(files_delete(files, str_of(name), &e), 0);
		assert_int_equal(files_delete(files, str_of(name), &e),
		    ERR_NOT_FOUND);
		assert_int_equal(files_info(files, str_of(name), true, &info,
				     &e),
		    ERR_NOT_FOUND);
		free(p);
	}
	assert_int_equal(dbl_count(ENGINE_CLASS_FASTDFS), 0);
}

/* Content that ends early leaves nothing. */
static void
test_broken_off(void **state)
{
	struct given g = { "abc", 3, 0 };
	struct engine_file_info info;
	struct err e = ERR_INIT;
	char name[128];

	(void)state;
	assert_int_equal(files_upload(files, -1, false, STR_NULL, 4, give, &g,
			     &info, &e),
	    ERR_DISCONNECTED);
	g = (struct given){ name, 0, 0 };
	assert_int_equal(files_upload(files, -1, true, STR_NULL, BIG, give, &g,
			     &info, &e),
	    ERR_DISCONNECTED);
	upload(true, "", 0, name);
	assert_int_equal(files_append(files, str_of(name), BIG, give, &g, &e),
	    ERR_DISCONNECTED);
	assert_content(name, "", 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_FASTDFS) +
			     dbl_count(ENGINE_CLASS_SEGMENT),
	    0);
}

static void
test_appender(void **state)
{
	static const size_t sizes[] = { 0, 5, 64 * 1024, 64 * 1024 + 1, BIG };
	struct err e = ERR_INIT;
	char name[128];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = calloc(1, sizes[i] + 3 * BIG);
		char *more = random_bytes(BIG);
		size_t n = sizes[i];

		rand_bytes(p, n);
		upload(true, p, n, name);
		assert_content(name, p, n);
		assert_int_equal(append(name, "hello", 5), 0);
		memcpy(p + n, "hello", 5);
		n += 5;
		assert_content(name, p, n);
		assert_int_equal(append(name, more, BIG), 0);
		memcpy(p + n, more, BIG);
		n += BIG;
		assert_content(name, p, n);
		assert_int_equal(append(name, NULL, 0), 0);
		assert_int_equal(modify(name, 2, "HE", 2), 0);
		memcpy(p + 2, "HE", 2);
		assert_content(name, p, n);
		assert_int_equal(modify(name, n + 1, "x", 1), ERR_INVALID);
		assert_int_equal(modify(name, n, "x", 1), 0);
		p[n++] = 'x';
		assert_int_equal(modify(name, n - 10, more, 5000), 0);
		memcpy(p + n - 10, more, 5000);
		n += 4990;
		assert_content(name, p, n);
		assert_int_equal(files_truncate(files, str_of(name), n + 100000,
				     &e),
		    0);
		n += 100000;
		assert_content(name, p, n);
		assert_int_equal(append(name, "end", 3), 0);
		memcpy(p + n, "end", 3);
		n += 3;
		assert_content(name, p, n);
		assert_int_equal(files_truncate(files, str_of(name), 3, &e), 0);
		assert_content(name, p, 3);
		assert_int_equal(files_truncate(files, str_of(name), 0, &e), 0);
		assert_content(name, p, 0);
		assert_int_equal(files_delete(files, str_of(name), &e), 0);
		assert_int_equal(append(name, "x", 1), ERR_NOT_FOUND);
		assert_int_equal(modify(name, 0, "x", 1), ERR_NOT_FOUND);
		free(p);
		free(more);
	}
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 0);
}

/* F3: many small appends, and what they write. */
static void
test_many_appends(void **state)
{
	enum {
		N = 3000,
		LEN = 100
	};
	char *p = random_bytes((size_t)N * LEN);
	struct double_file *f;
	struct buf id = BUF_CAP(200);
	struct err e = ERR_INIT;
	struct list l;
	char name[128];

	(void)state;
	upload(true, "", 0, name);
	world.written = 0;
	for (size_t i = 0; i < N; i++)
		assert_int_equal(append(name, p + i * LEN, LEN), 0);
	assert_content(name, p, (size_t)N * LEN);
	/* the tail, half of 4 KiB each time, and a few dozen extents */
	assert_true(world.written < (uint64_t)N * 8 * 1024);
	buf_addf(&id, "group1/%s", name);
	f = dbl_find(buf_str(&id));
	assert_int_equal(list_decode(str_mem(f->body, (size_t)f->info.size), &l,
			     &e),
	    0);
	assert_true(l.n_ext < 24);
	/* segments merged away are remembered, and go */
	assert_true(dbl_count(ENGINE_CLASS_SEGMENT) > l.n_segs);
	world.shift_s = 3600;
	for (int i = 0; i < 500 && dbl_count(ENGINE_CLASS_SEGMENT) > l.n_segs;
	     i++)
		usleep(10000);
	assert_int_equal(dbl_count(ENGINE_CLASS_SEGMENT), l.n_segs);
	assert_content(name, p, (size_t)N * LEN);
	list_fini(&l);
	buf_fini(&id);
	free(p);
}

/* F3: changes anywhere; a record stays within what a small file holds. */
static void
test_random_changes(void **state)
{
	enum {
		MOST = 200 * 1000
	};
	static char data[MOST], more[9000];
	size_t len = 0, off, n;
	struct err e = ERR_INIT;
	char name[128];

	(void)state;
	srand(3);
	upload(true, "", 0, name);
	for (int i = 0; i < 600; i++) {
		rand_bytes(more, sizeof(more));
		n = (size_t)rand() % (rand() % 4 == 0 ? sizeof(more) : 200) + 1;
		off = (size_t)rand() % (len + 1);
		switch (rand() % 8) {
		case 0:
			assert_int_equal(files_truncate(files, str_of(name),
					     off, &e),
			    0);
			len = off;
			break;
		case 1:
		case 2:
			if (len + n > MOST)
				continue;
			assert_int_equal(append(name, more, n), 0);
			memcpy(data + len, more, n);
			len += n;
			break;
		case 3:
			if (len + n > MOST)
				continue;
			assert_int_equal(files_truncate(files, str_of(name),
					     len + n, &e),
			    0);
			memset(data + len, 0, n);
			len += n;
			break;
		default:
			if (off + n > MOST)
				continue;
			assert_int_equal(modify(name, off, more, n), 0);
			memcpy(data + off, more, n);
			len = off + n > len ? off + n : len;
			break;
		}
		if (i % 20 == 0)
			assert_content(name, data, len);
	}
	assert_content(name, data, len);
}

static void
test_slaves(void **state)
{
	struct given g = { "small", 5, 0 };
	char master[128], slave[128], again[128], *big = random_bytes(BIG);
	struct files_info info;
	struct err e = ERR_INIT;

	(void)state;
	upload(false, "master", 6, master);
	assert_int_equal(files_upload_slave(files, str_of(master),
			     STR_LIT("_150x150"), STR_LIT("jpg"), 5, give, &g,
			     slave, &e),
	    0);
	assert_non_null(strstr(slave, "_150x150.jpg"));
	assert_content(slave, "small", 5);
	g = (struct given){ "other", 5, 0 };
	assert_int_equal(files_upload_slave(files, str_of(master),
			     STR_LIT("_150x150"), STR_LIT("jpg"), 5, give, &g,
			     again, &e),
	    ERR_EXISTS);
	g = (struct given){ big, BIG, 0 };
	assert_int_equal(files_upload_slave(files, str_of(master),
			     STR_LIT("_b"), STR_LIT("jpg"), BIG, give, &g,
			     again, &e),
	    0);
	assert_content(again, big, BIG);
	assert_int_equal(append(slave, "x", 1), ERR_INVALID);
	/* deleting the master leaves them */
	assert_int_equal(files_delete(files, str_of(master), &e), 0);
	assert_content(slave, "small", 5);
	g = (struct given){ "x", 1, 0 };
	assert_int_equal(files_upload_slave(files, str_of(master),
			     STR_LIT("_c"), STR_LIT("jpg"), 1, give, &g, again,
			     &e),
	    ERR_NOT_FOUND);
	assert_int_equal(files_delete(files, str_of(slave), &e), 0);
	assert_int_equal(files_info(files, str_of(slave), true, &info, &e),
	    ERR_NOT_FOUND);
	free(big);
}

/* A slave that was deleted may come again, without its old metadata. */
static void
test_slave_again(void **state)
{
	struct given g = { "one", 3, 0 };
	struct buf meta = BUF_CAP(1000);
	char master[128], slave[128];
	struct err e = ERR_INIT;

	(void)state;
	upload(false, "master", 6, master);
	for (int i = 0; i < 2; i++) {
		g = (struct given){ i == 0 ? "one" : "two", 3, 0 };
		assert_int_equal(files_upload_slave(files, str_of(master),
				     STR_LIT("_s"), STR_LIT("jpg"), 3, give, &g,
				     slave, &e),
		    0);
		assert_content(slave, i == 0 ? "one" : "two", 3);
		assert_int_equal(files_get_meta(files, str_of(slave), &meta,
				     &e),
		    ERR_NOT_FOUND);
		assert_int_equal(files_set_meta(files, str_of(slave), 'O',
				     STR_LIT("a\002b"), &e),
		    0);
		assert_int_equal(files_delete(files, str_of(slave), &e), 0);
	}
	assert_int_equal(dbl_count(ENGINE_CLASS_META), 0);
	buf_fini(&meta);
}

static void
assert_meta(const char *name, const char *want)
{
	struct buf b = BUF_CAP(FDFS_META_PACKET);
	struct err e = ERR_INIT;
	int rc = files_get_meta(files, str_of(name), &b, &e);

	if (want == NULL) {
		assert_int_equal(rc, ERR_NOT_FOUND);
	} else {
		assert_int_equal(rc, 0);
		assert_true(str_eqz(buf_str(&b), want));
	}
	buf_fini(&b);
}

static void
test_meta(void **state)
{
	char name[128], appender[128], meta[140];
	struct engine_file_info info;
	struct files_info fi;
	struct err e = ERR_INIT;

	(void)state;
	upload(false, "x", 1, name);
	assert_meta(name, NULL);
	assert_int_equal(files_set_meta(files, str_of(name), 'O',
			     STR_LIT("w\0021\001h\0022"), &e),
	    0);
	assert_meta(name, "h\0022\001w\0021");
	assert_int_equal(files_set_meta(files, str_of(name), 'M',
			     STR_LIT("w\0029"), &e),
	    0);
	assert_meta(name, "h\0022\001w\0029");
	assert_int_equal(files_set_meta(files, str_of(name), 'O', STR_NULL, &e),
	    0);
	assert_meta(name, NULL);
	assert_int_equal(files_set_meta(files, str_of(name), 'X', STR_NULL, &e),
	    ERR_INVALID);
	assert_int_equal(files_set_meta(files, str_of(name), 'M',
			     STR_LIT("a\002b"), &e),
	    0);
	/* F1: not as a file */
	snprintf(meta, sizeof(meta), "%s-m", name);
	assert_int_equal(files_info(files, str_of(meta), true, &fi, &e),
	    ERR_NOT_FOUND);
	assert_int_equal(files_delete(files, str_of(meta), &e), ERR_NOT_FOUND);
	assert_int_equal(files_delete(files, str_of(name), &e), 0);
	assert_meta(name, NULL);
	assert_int_equal(files_set_meta(files, str_of(name), 'M',
			     STR_LIT("a\002b"), &e),
	    ERR_NOT_FOUND);
	assert_int_equal(dbl_count(ENGINE_CLASS_META), 0);
	/* regenerate keeps it */
	upload(true, "content", 7, appender);
	assert_int_equal(append(appender, "+more", 5), 0);
	assert_int_equal(files_set_meta(files, str_of(appender), 'M',
			     STR_LIT("a\002b"), &e),
	    0);
	assert_int_equal(files_regenerate(files, str_of(appender), &info, &e),
	    0);
	assert_int_equal(info.size, 12);
	assert_true(str_has_suffix(str_of(info.id), STR_LIT(".txt")));
	snprintf(name, sizeof(name), STR_FMT, STR_ARG(remote(info.id)));
	assert_content(name, "content+more", 12);
	assert_meta(name, "a\002b");
	assert_meta(appender, NULL);
	assert_int_equal(files_info(files, str_of(appender), true, &fi, &e),
	    ERR_NOT_FOUND);
	assert_int_equal(append(name, "x", 1), ERR_INVALID);
	assert_int_equal(files_regenerate(files, str_of(name), &info, &e),
	    ERR_INVALID);
	assert_int_equal(files_regenerate(files, str_of(appender), &info, &e),
	    ERR_NOT_FOUND);
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_META), 1);
}

/* F1: for every function. */
static void
test_other_classes(void **state)
{
	static const uint8_t classes[] = { ENGINE_CLASS_S3, ENGINE_CLASS_INDEX,
		ENGINE_CLASS_SEGMENT, ENGINE_CLASS_META };
	struct engine_file_info info;
	struct files_reader *r = NULL;
	struct files_info fi;
	struct err e = ERR_INIT;
	char ret[128];

	(void)state;
	for (size_t i = 0; i < sizeof(classes); i++) {
		struct engine_owner o = { .class = classes[i] };
		struct given g = { "x", 1, 0 };
		struct buf b = BUF_CAP(100);
		struct str name;

		for (unsigned a = 0; a <= ENGINE_APPENDER; a++) {
			assert_int_equal(rep_put(&world, &o, -1, STR_LIT("s3"),
					     "txt", a, &info, &e),
			    0);
			name = remote(info.id);
			assert_int_equal(files_reader_open(files, name, &r, &fi,
					     &e),
			    ERR_NOT_FOUND);
			assert_int_equal(files_info(files, name, true, &fi, &e),
			    ERR_NOT_FOUND);
			assert_int_equal(files_get_meta(files, name, &b, &e),
			    ERR_NOT_FOUND);
			assert_int_equal(files_set_meta(files, name, 'M',
					     STR_LIT("a\002b"), &e),
			    ERR_NOT_FOUND);
			assert_int_equal(files_upload_slave(files, name,
					     STR_LIT("_x"), STR_LIT("jpg"), 1,
					     give, &g, ret, &e),
			    ERR_NOT_FOUND);
			assert_int_equal(files_delete(files, name, &e),
			    ERR_NOT_FOUND);
		}
		/* the last one has an appender's name */
		assert_int_equal(files_append(files, name, 1, give, &g, &e),
		    ERR_NOT_FOUND);
		g = (struct given){ "x", 1, 0 };
		assert_int_equal(files_modify(files, name, 0, 1, give, &g, &e),
		    ERR_NOT_FOUND);
		assert_int_equal(files_truncate(files, name, 0, &e),
		    ERR_NOT_FOUND);
		assert_int_equal(files_regenerate(files, name, &info, &e),
		    ERR_NOT_FOUND);
		assert_int_equal(dbl_count(classes[i]), 2);
	}
}

/* F5: an outcome that is open is asked for again, and done once. */
static void
test_once(void **state)
{
	struct given g = { "slave", 5, 0 };
	char name[128], slave[128];
	struct err e = ERR_INIT;
	struct files_info fi;

	(void)state;
	world.fail_change_after = ERR_BUSY;
	upload(true, "a", 1, name);
	world.fail_change_after = ERR_BUSY;
	assert_int_equal(append(name, "b", 1), 0);
	assert_content(name, "ab", 2);
	world.fail_change = ERR_RETRY;
	assert_int_equal(append(name, "c", 1), 0);
	assert_content(name, "abc", 3);
	world.fail_change_after = ERR_BUSY;
	assert_int_equal(files_upload_slave(files, str_of(name), STR_LIT("_s"),
			     STR_LIT("jpg"), 5, give, &g, slave, &e),
	    0);
	assert_content(slave, "slave", 5);
	world.fail_change_after = ERR_BUSY;
	assert_int_equal(files_delete(files, str_of(slave), &e), 0);
	assert_int_equal(files_info(files, str_of(slave), true, &fi, &e),
	    ERR_NOT_FOUND);
	/* without a leader: soon enough, and the right error */
	world.no_leader = true;
	assert_int_equal(append(name, "d", 1), ERR_RETRY);
	assert_int_equal(files_info(files, str_of(name), true, &fi, &e),
	    ERR_RETRY);
	world.no_leader = false;
	assert_content(name, "abc", 3);
}

/* F4 */
static void
test_sweep(void **state)
{
	struct engine_owner o = { .class = ENGINE_CLASS_SEGMENT };
	char *big = random_bytes(BIG), name[128], other[128], id[144];
	struct engine_file_info info;
	struct err e = ERR_INIT;
	uint64_t n = 0;
	struct str meta;

	(void)state;
	upload(true, big, BIG, name); /* its first segment has no note */
	assert_int_equal(append(name, big, BIG), 0);
	upload(true, big, BIG, other);
	assert_int_equal(dbl_count(ENGINE_CLASS_SEGMENT), 3);
	/* orphans: without a note, of a list that is there, of one that is not */
	assert_int_equal(rep_put(&world, &o, -1, STR_LIT("1"), "", 0, &info,
			     &e),
	    0);
	o.note = str_of(name);
	assert_int_equal(rep_put(&world, &o, -1, STR_LIT("2"), "", 0, &info,
			     &e),
	    0);
	o.note = STR_LIT("M00/00/00/nothing");
	assert_int_equal(rep_put(&world, &o, -1, STR_LIT("3"), "", 0, &info,
			     &e),
	    0);
	o.note = str_of(other);
	assert_int_equal(rep_put(&world, &o, -1, STR_LIT("4"), "", 0, &info,
			     &e),
	    0);
	/* A wall clock a year ahead, or behind, makes none of them old. */
	world.wrong_s = 365 * 86400;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 0);
	world.wrong_s = -2 * world.wrong_s;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 0);
	world.wrong_s = 0;
	assert_int_equal(rep_put(&world, &o, -1, STR_LIT("young"), "", 0, &info,
			     &e),
	    0);
	world.shift_s += FILES_ORPHAN_S / 2;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 0); /* too young */
	/* The time that has gone by is known after a start; what passes while the
	 * node is down does not count. */
	dbl_close_files(&files);
	world.shift_s += FILES_ORPHAN_S * 10;
	assert_int_equal(dbl_open_files(&files), 0);
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 0);
	world.shift_s += FILES_ORPHAN_S / 2 + 10;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_int_equal(dbl_count(ENGINE_CLASS_SEGMENT), 4);
	world.shift_s += FILES_ORPHAN_S / 2 + 10;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 1); /* the young one */
	assert_int_equal(dbl_count(ENGINE_CLASS_SEGMENT), 3);
	assert_int_equal(files_set_meta(files, str_of(name), 'O',
			     STR_LIT("a\002b"), &e),
	    0);
	assert_int_equal(files_set_meta(files, str_of(other), 'O',
			     STR_LIT("a\002b"), &e),
	    0);
	/* as if a delete had been broken off */
	snprintf(id, sizeof(id), "group1/%s", other);
	meta = str_of(id);
	assert_int_equal(rep_delete_many(&world, &meta, 1, &e), 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_META), 2);
	assert_int_equal(files_sweep(files, &n, &e), 0);
	assert_int_equal(n, 0);
	world.shift_s += FILES_ORPHAN_S + 10;
	assert_int_equal(files_sweep(files, &n, &e), 0);
	for (int i = 0; i < 500 && dbl_count(ENGINE_CLASS_SEGMENT) > 2; i++)
		usleep(10000);
	assert_int_equal(dbl_count(ENGINE_CLASS_SEGMENT), 2);
	assert_int_equal(dbl_count(ENGINE_CLASS_META), 1);
	assert_int_equal(files_delete(files, str_of(name), &e), 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_META), 0);
	free(big);
}

struct worker {
	pthread_t t;
	const char *name;
	char c;
};

static void *
worker_run(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < 100; i++)
		MUST(append(w->name, &w->c, 1) == 0);
	return NULL;
}

static void
test_threads(void **state)
{
	struct worker w[4];
	struct err e = ERR_INIT;
	struct files_reader *r = NULL;
	struct files_info info;
	int count[4] = { 0 };
	char name[128], p[400];
	size_t n;

	(void)state;
	upload(true, "", 0, name);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){ .name = name, .c = (char)('a' + i) };
		assert_int_equal(thread_start(&w[i].t, "append", worker_run,
				     &w[i], &e),
		    0);
	}
	for (int i = 0; i < 4; i++)
		thread_join(w[i].t);
	assert_int_equal(files_reader_open(files, str_of(name), &r, &info, &e),
	    0);
	assert_int_equal(info.size, 400);
	assert_int_equal(files_reader_read(r, 0, p, 400, &n, &e), 0);
	assert_int_equal(n, 400);
	for (int i = 0; i < 400; i++)
		count[p[i] - 'a']++;
	for (int i = 0; i < 4; i++)
		assert_int_equal(count[i], 100);
	files_reader_close(&r);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_normal),
		T(test_broken_off),
		T(test_appender),
		T(test_many_appends),
		T(test_random_changes),
#define SMALL(fn) cmocka_unit_test_setup_teardown(fn, setup_small, teardown)
		SMALL(test_random_changes),
		SMALL(test_appender),
		SMALL(test_slaves),
		T(test_slaves),
		T(test_slave_again),
		T(test_meta),
		T(test_other_classes),
		T(test_once),
		T(test_sweep),
		T(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
