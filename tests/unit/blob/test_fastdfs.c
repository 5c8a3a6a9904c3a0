/* tests/unit/blob/test_fastdfs.c - blobs in a cluster of FastDFS (D1 to D3 of
 * gateway/blob/fastdfs.c), which is in this process and in memory. */
#include "gateway/blob/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fs.h"
#include "lib/rand.h"
#include "tests/unit/fdfs/memory.h"

#define BIG (3 * 1024 * 1024 + 77)

static struct memory world;
static char dir[64];
static struct blob *blob;

static struct blob *
open_blobs(uint64_t spool_max)
{
	struct fdfs_addr at = { .ip = "127.0.0.1" };
	struct blob_fastdfs_conf c = { .trackers = &at,
		.n_trackers = 1,
		.spool_dir = dir,
		.spool_max = spool_max,
		.connect_ms = 500,
		.io_ms = 2000 };
	struct err e = ERR_INIT;
	struct blob *b = NULL;

	at.port = fdfs_server_port(world.tracker);
	assert_int_equal(blob_fastdfs_new(&c, &b, &e), 0);
	return b;
}

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/creel-fastdfs-XXXXXX");
	assert_non_null(mkdtemp(dir));
	memory_open(&world, FDFS_NARROW, NULL);
	blob = open_blobs(BIG * 2);
	return 0;
}

static int
teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	blob_close(&blob);
	memory_close(&world);
	return fs_remove_tree(dir, &e);
}

static struct blob_owner
owner(void)
{
	return (struct blob_owner){ .class = BLOB_CLASS_S3,
		.index_id = id128_new(),
		.write_id = id128_new() };
}

static int
put(struct str body, struct blob_info *ret)
{
	struct blob_owner o = owner();
	struct err e = ERR_INIT;

	return blob_put_whole(blob, STR_LIT(""), &o, body, ret, &e);
}

static struct memory_file *
stored(const struct blob_info *i)
{
	return memory_find(&world, str_of(i->id + strlen("group1/")));
}

static void
test_round_trip(void **state)
{
	struct blob_owner o = owner();
	struct err e = ERR_INIT;
	struct blob_info i;
	char got[64];
	struct str id;
	size_t n;

	(void)state;
	assert_int_equal(blob_put_whole(blob, STR_LIT("group1"), &o,
			     STR_LIT("0123456789"), &i, &e),
	    0);
	assert_int_equal(i.size, 10);
	assert_true(id128_eq(&i.write_id, &o.write_id));
	id = str_of(i.id);
	assert_int_equal(blob_read_once(blob, id, 0, got, 64, &n, &e), 0);
	assert_int_equal(n, 10);
	assert_memory_equal(got, "0123456789", 10);
	assert_int_equal(blob_read_once(blob, id, 3, got, 4, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_memory_equal(got, "3456", 4);
	assert_int_equal(blob_delete_many(blob, &id, 1, &e), 0);
	assert_int_equal(blob_delete_many(blob, &id, 1, &e), 0);
	assert_int_equal(blob_read_once(blob, id, 0, got, 64, &n, &e),
	    ERR_NOT_FOUND);
	/* Any group where there is none of that name. */
	assert_int_equal(blob_put_whole(blob, STR_LIT("group9"), &o,
			     STR_LIT("x"), &i, &e),
	    0);
}

static void
test_stream(void **state)
{
	char *p = malloc(BIG), *q = malloc(BIG);
	struct blob_owner o = owner();
	struct err e = ERR_INIT;
	struct blob_info i;
	struct blob_file *f;
	struct blob_put *u, *other;
	size_t at, n;

	(void)state;
	rand_bytes(p, BIG);
	assert_int_equal(blob_put_begin(blob, STR_LIT(""), &o, UINT64_MAX, &u,
			     &e),
	    0);
	assert_int_equal(blob_put_write(u, p, 1000000, &e), 0);
	assert_int_equal(blob_put_write(u, p + 1000000, BIG - 1000000, &e), 0);
	/* D1 */
	assert_int_equal(blob_put_begin(blob, STR_LIT(""), &o, BIG, &other, &e),
	    0);
	assert_int_equal(blob_put_write(other, p, BIG, &e), 0);
	assert_int_equal(blob_put_write(other, p, 1000, &e), ERR_BUSY);
	blob_put_abort(&other);
	assert_int_equal(blob_put_commit(&u, &i, &e), 0);
	assert_int_equal(i.size, BIG);
	assert_int_equal(blob_open(blob, str_of(i.id), &f, &e), 0);
	assert_int_equal(blob_size(f), BIG);
	for (at = 0; at < BIG; at += n)
		assert_int_equal(blob_read(f, at, q + at,
				     BIG - at < 300000 ? BIG - at : 300000, &n,
				     &e),
		    0);
	assert_memory_equal(p, q, BIG);
	assert_int_equal(blob_read(f, BIG, q, 1, &n, &e), 0);
	assert_int_equal(n, 0);
	blob_file_close(&f);
	/* All of the room is there again. */
	assert_int_equal(blob_put_begin(blob, STR_LIT(""), &o, BIG, &u, &e), 0);
	assert_int_equal(blob_put_write(u, p, BIG, &e), 0);
	assert_int_equal(blob_put_write(u, p, BIG, &e), 0);
	blob_put_abort(&u);
	free(p);
	free(q);
}

/* D2: other bytes than the name says are none. */
static void
test_damage(void **state)
{
	struct err e = ERR_INIT;
	struct blob_info i;
	struct blob_file *f;
	char got[64];
	size_t n;

	(void)state;
	assert_int_equal(put(STR_LIT("0123456789"), &i), 0);
	stored(&i)->data.p[7] ^= 1;
	assert_int_equal(blob_read_once(blob, str_of(i.id), 0, got, 64, &n, &e),
	    ERR_CORRUPT);
	assert_int_equal(blob_open(blob, str_of(i.id), &f, &e), 0);
	assert_int_equal(blob_read(f, 0, got, 5, &n, &e), 0);
	assert_int_equal(blob_read(f, 5, got, 5, &n, &e), ERR_CORRUPT);
	blob_file_close(&f);
	stored(&i)->data.p[7] ^= 1;
	stored(&i)->data.len = 8;
	assert_true(blob_read_once(blob, str_of(i.id), 0, got, 64, &n, &e) < 0);
}

static int
none(void *arg, const struct blob_info *i)
{
	(void)arg;
	(void)i;
	return 1;
}

/* What stock commands cannot do is refused, not pretended. */
static void
test_cannot(void **state)
{
	struct id128 id = id128_new();
	struct err e = ERR_INIT;
	struct blob_info i;
	char group[BLOB_GROUP_MAX + 1];

	(void)state;
	assert_int_equal(blob_find_write(blob, &id, &i, &e), ERR_INVALID);
	assert_int_equal(blob_each(blob, 0, none, NULL, &e), ERR_INVALID);
	assert_int_equal(blob_scrub_now(blob, &e), ERR_INVALID);
	assert_true(blob_can_write(blob));
	assert_int_equal(blob_n_stats(blob), 1);
	blob_choose_group(blob, STR_LIT("group1"), group);
	assert_string_equal(group, "group1");
	blob_choose_group(blob, STR_LIT("us-west-2"), group);
	assert_string_equal(group, "");
}

static void
test_gone(void **state)
{
	struct err e = ERR_INIT;
	struct blob_info i, j;
	char got[64];
	size_t n;

	(void)state;
	assert_int_equal(put(STR_LIT("0123456789"), &i), 0);
	fdfs_server_close(&world.tracker, 0);
	assert_int_equal(put(STR_LIT("x"), &j), ERR_BUSY);
	assert_int_equal(blob_read_once(blob, str_of(i.id), 0, got, 64, &n, &e),
	    ERR_BUSY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
