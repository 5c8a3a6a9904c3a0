/* What replaces: newer versions, repairs of damaged copies, and what may be
 * forgotten afterwards. */
#include "engine_test.h"

#include "replica_test.h"

#include "lib/clock.h"

#include <errno.h>

enum {
	BIG = 700 * 1000
};

static int
upload_flags(struct engine *g, struct engine_record *r, uint64_t seed,
    size_t size, unsigned flags, uint64_t *ret_version, struct err *e)
{
	struct engine_owner o = { .class = r->info.class };
	struct engine_upload *u;
	struct body b = body_make(seed, size);
	int rc;

	r->is_tomb = false;
	r->info.size = size;
	r->info.crc32 = b.crc32;
	rc = engine_upload_begin_at(g, &o, 0, size, &u, e);
	if (rc == 0) {
		rc = engine_upload_write(u, b.p, b.len, e);
		if (rc == 0)
			rc =
			    engine_upload_install(&u, r, flags, ret_version, e);
		else
			engine_upload_abort(&u);
	}
	body_free(&b);
	return rc;
}

static int
upload(struct engine *g, struct engine_record *r, uint64_t seed, size_t size)
{
	struct err e = ERR_INIT;

	return upload_flags(g, r, seed, size, 0, NULL, &e);
}

static int
repair(struct engine *g, struct engine_record *r, uint64_t seed, size_t size)
{
	struct body b = body_make(seed, size);
	struct err e = ERR_INIT;
	int rc;

	if (size > 256 * 1024) {
		body_free(&b);
		return upload_flags(g, r, seed, size, ENGINE_REPAIR, NULL, &e);
	}
	r->info.size = size;
	r->info.crc32 = b.crc32;
	rc = install(g, r, &b, ENGINE_REPAIR);
	body_free(&b);
	return rc;
}

/* Changes the last byte of @size bytes made by @seed wherever they are. */
static void
damage(uint64_t seed, size_t size)
{
	struct body b = body_make(seed, size);
	char cmd[700], path[400];
	FILE *l;
	int hits = 0;

	snprintf(cmd, sizeof(cmd),
	    "find %s -name '*.vol' -o -path '*/data/*' "
	    "-type f",
	    test_dir);
	l = popen(cmd, "r");
	assert_non_null(l);
	while (fgets(path, sizeof(path), l) != NULL) {
		static char all[2 << 20];
		size_t n;
		FILE *f;
		char *at;

		path[strcspn(path, "\n")] = '\0';
		f = fopen(path, "r+");
		assert_non_null(f);
		n = fread(all, 1, sizeof(all), f);
		at = n < size ? NULL : memmem(all, n, b.p, size);
		if (at != NULL) {
			fseek(f, at - all + (long)size - 1, SEEK_SET);
			fputc(at[size - 1] ^ 1, f);
			hits++;
		}
		fclose(f);
	}
	pclose(l);
	assert_int_equal(hits, 1);
	body_free(&b);
}

static void
rebuilt(struct engine_conf *c, struct engine **gp)
{
	struct err e = ERR_INIT;

	engine_close(gp);
	if (engine_rebuild(c, &e) != 0)
		fail_msg("%s", e.msg);
	*gp = test_open(c);
}

static int
is_bad(void *arg, const char *id)
{
	return strcmp(arg, id) == 0;
}

static void
test_repair_small(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r = record_make(g, 1, 4, 5000), other;
	struct engine_path_stat st;
	struct err e = ERR_INIT;

	assert_int_equal(put_version(g, &r, 1, 5000), 0);
	/* Nothing is wrong with it. */
	assert_int_equal(repair(g, &r, 1, 5000), 1);
	damage(1, 5000);
	assert_int_equal(test_check(g, r.info.id, 1, 5000, &e), ERR_CORRUPT);
	assert_int_equal(engine_each_bad(g, is_bad, r.info.id), 1);
	assert_int_equal(put_version(g, &r, 1, 5000), 1);
	other = r;
	other.info.file_version = 3;
	assert_int_equal(repair(g, &other, 1, 5000), 1);
	other.info.file_version = 4;
	other.is_tomb = true;
	assert_int_equal(install(g, &other, NULL, ENGINE_REPAIR), 1);
	assert_int_equal(repair(g, &r, 1, 5000), 0);
	assert_int_equal(engine_each_bad(g, is_bad, r.info.id), 0);
	test_reads(g, r.info.id, 1, 5000);
	same_record(g, &r);
	assert_int_equal(repair(g, &r, 1, 5000), 1);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.files, 1);
	assert_int_equal(st.bytes, 5000);
	engine_close(&g);
	g = test_open(&c);
	test_reads(g, r.info.id, 1, 5000);
	rebuilt(&c, &g);
	test_reads(g, r.info.id, 1, 5000);
	/* Unknown: as without the flag. */
	r = record_make(g, 2, 1, 100);
	assert_int_equal(repair(g, &r, 2, 100), 0);
	/* Newer: as without the flag. */
	r.info.file_version = 2;
	assert_int_equal(repair(g, &r, 3, 100), 0);
	test_reads(g, r.info.id, 3, 100);
	engine_close(&g);
}

static int
count_one(void *arg, const char *id UNUSED)
{
	++*(size_t *)arg;
	return 0;
}

static struct engine_digest
digest_of(struct engine *g)
{
	static const uint8_t lowest[ENGINE_KEY];
	uint8_t highest[ENGINE_KEY];
	struct engine_digest d;
	struct err e = ERR_INIT;

	memset(highest, 0xff, sizeof(highest));
	assert_int_equal(engine_digest(g, lowest, highest, &d, &e), 0);
	return d;
}

static int
count_version(void *arg, const uint8_t key[ENGINE_KEY] UNUSED,
    const struct engine_version *v UNUSED)
{
	++*(size_t *)arg;
	return 0;
}

static size_t
listed(struct engine *g)
{
	static const uint8_t lowest[ENGINE_KEY];
	uint8_t highest[ENGINE_KEY];
	struct err e = ERR_INIT;
	size_t n = 0;

	memset(highest, 0xff, sizeof(highest));
	assert_int_equal(engine_range(g, lowest, highest, 1000, count_version,
			     &n, &e),
	    0);
	return n;
}

/* The volume is gone, or cannot be opened; the index knows what was in it. Sets
 * are without it, and what is installed then is a repair, asked for or not. */
static void
volume_lost(const char *how)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r[6], tomb;
	struct engine_digest whole;
	struct engine_path_stat st;
	struct engine_version v;
	struct err e = ERR_INIT;
	char cmd[700];
	size_t size[] = { 0, 1, 500, 70000, 100, BIG };

	for (unsigned i = 0; i < 6; i++) {
		r[i] = record_make(g, i + 1, 1, size[i]);
		assert_int_equal(size[i] == BIG
				     ? upload(g, &r[i], i, size[i])
				     : put_version(g, &r[i], i, size[i]),
		    0);
	}
	tomb = record_make(g, 10, 1, 10);
	assert_int_equal(put_version(g, &tomb, 10, 10), 0);
	assert_int_equal(put_tomb(g, &tomb, 2), 0);
	whole = digest_of(g);
	assert_int_equal(listed(g), 7);
	engine_close(&g);
	snprintf(cmd, sizeof(cmd),
	    "cd %s/disk0/volumes; for f in *.vol; do %s; done", test_dir, how);
	assert_int_equal(system(cmd), 0);
	g = test_open(&c);
	/* Others see that it lacks them, not that it has forgotten the tombstone. */
	assert_int_equal(listed(g), 1);
	assert_int_equal(digest_of(g).n, 1);
	look(g, r[2].info.id, &v);
	assert_int_equal(v.known, ENGINE_LIVE);
	assert_int_equal(test_check(g, r[2].info.id, 2, 500, &e), ERR_CORRUPT);
	assert_int_equal(put_version(g, &tomb, 10, 10), 1);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.quarantined, 1);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(size[i] == BIG
				     ? upload(g, &r[i], i, size[i])
				     : put_version(g, &r[i], i, size[i]),
		    0);
		assert_int_equal(listed(g), 2 + i);
		test_reads(g, r[i].info.id, i, size[i]);
		same_record(g, &r[i]);
	}
	assert_true(
	    digest_of(g).n == whole.n &&
	    memcmp(digest_of(g).sum, whole.sum, sizeof(whole.sum)) == 0);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.files, 6);
	engine_close(&g);
	/* Nothing is missing any more. */
	g = test_open(&c);
	assert_int_equal(listed(g), 7);
	for (unsigned i = 0; i < 6; i++)
		test_reads(g, r[i].info.id, i, size[i]);
	engine_close(&g);
}

static void
test_volume_missing(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine_path_stat st;
	struct engine *g;

	volume_lost("rm $f");
	g = test_open(&c);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.quarantined, 0);
	engine_close(&g);
}

static void
test_volume_without_header(void **state UNUSED)
{
	volume_lost("dd if=/dev/zero of=$f bs=4096 count=1 conv=notrunc "
		    "status=none");
}

/* All that one scrub finds is known. */
static void
test_many_bad(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r;
	struct err e = ERR_INIT;
	size_t n = 0;

	for (uint32_t i = 1; i <= 100; i++) {
		r = record_make(g, i, 1, 500);
		assert_int_equal(put_version(g, &r, i, 500), 0);
		damage(i, 500);
	}
	assert_int_equal(engine_scrub_now(g, &e), 0);
	assert_int_equal(engine_each_bad(g, count_one, &n), 0);
	assert_int_equal(n, 100);
	engine_close(&g);
}

static void
test_repair_large(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r = record_make(g, 1, 1, BIG);
	struct err e = ERR_INIT;
	struct engine_file *f;
	char cmd[600], *buf = malloc(BIG), *want = malloc(BIG);
	size_t n;

	for (uint64_t version = 1; version < 8; version += 6) {
		r.info.file_version = version;
		assert_int_equal(upload(g, &r, version, BIG), 0);
		test_reads(g, r.info.id, version, BIG);
		assert_int_equal(upload(g, &r, version, BIG), 1);
		assert_int_equal(engine_file_open(g, str_of(r.info.id), &f, &e),
		    0);
		damage(version, BIG);
		assert_int_equal(test_check(g, r.info.id, version, BIG, &e),
		    ERR_CORRUPT);
		assert_int_equal(repair(g, &r, version, BIG), 0);
		test_reads(g, r.info.id, version, BIG);
		/* The old one is still what it was. */
		assert_int_equal(engine_file_read(f, 0, buf, 65536, &n, &e), 0);
		test_fill(want, version, 0, 65536);
		assert_memory_equal(buf, want, 65536);
		assert_int_equal(engine_file_read(f, 0, buf, BIG, &n, &e),
		    ERR_CORRUPT);
		engine_file_close(&f);
		/* Gone altogether. */
		snprintf(cmd, sizeof(cmd), "rm %s/disk0/data/*/*/*", test_dir);
		assert_int_equal(system(cmd), 0);
		assert_true(test_check(g, r.info.id, version, BIG, &e) != 0);
		assert_int_equal(repair(g, &r, version, BIG), 0);
		test_reads(g, r.info.id, version, BIG);
		engine_close(&g);
		g = test_open(&c);
		test_reads(g, r.info.id, version, BIG);
		rebuilt(&c, &g);
		test_reads(g, r.info.id, version, BIG);
	}
	/* Wrong bytes for the record; wrong path. */
	r.info.file_version = 9;
	{
		struct engine_owner o = { .class = 1 };
		struct engine_upload *u;
		struct engine_record bad = r;

		assert_int_equal(engine_upload_begin_at(g, &o, 0, BIG, &u, &e),
		    0);
		test_fill(buf, 3, 0, BIG);
		assert_int_equal(engine_upload_write(u, buf, BIG, &e), 0);
		bad.info.crc32++;
		assert_int_equal(engine_upload_install(&u, &bad, 0, NULL, &e),
		    ERR_INVALID);
		assert_null(u);
	}
	test_reads(g, r.info.id, 7, BIG);
	snprintf(cmd, sizeof(cmd), "test -z \"$(ls %s/disk0/tmp)\"", test_dir);
	assert_int_equal(system(cmd), 0);
	engine_close(&g);
	free(buf);
	free(want);
}

/* Written in the last batch before a power cut, and torn: it was never
 * acknowledged, and has not replaced what was. */
static void
test_torn_version(void **state UNUSED)
{
	for (int large = 0; large < 2; large++) {
		struct engine_conf c = test_conf(1);
		struct engine *g = test_open(&c);
		struct engine_record r[2] = { record_make(g, 1, 1, 3000),
			record_make(g, 2, 1, 3000) };
		struct body b[2] = { body_make(7, 4000), body_make(8, 4000) };
		struct engine_install v[2];
		struct engine_version known;
		struct err e = ERR_INIT;
		size_t old = large ? BIG : 3000;
		char cmd[1000];

		if (large)
			assert_int_equal(upload(g, &r[0], 1, old), 0);
		else
			assert_int_equal(put_version(g, &r[0], 1, old), 0);
		r[0].info.file_version = 2;
		for (int i = 0; i < 2; i++) {
			r[i].info.size = 4000;
			r[i].info.crc32 = b[i].crc32;
			v[i] = (struct engine_install){ .r = &r[i],
				.body = str_mem(b[i].p, b[i].len) };
		}
		/* The older one's file could not be unlinked yet. */
		fault_arm(FAULT_UNLINK, 1, EIO, true);
		assert_int_equal(engine_install_many(g, v, 2, &e), 0);
		fault_disarm();
		snprintf(cmd, sizeof(cmd),
		    "cp -a --sparse=always %s/disk0 %s/copy", test_dir,
		    test_dir);
		assert_int_equal(system(cmd), 0);
		engine_close(&g);
		snprintf(cmd, sizeof(cmd),
		    "rm -r %s/disk0; mv %s/copy %s/disk0", test_dir, test_dir,
		    test_dir);
		assert_int_equal(system(cmd), 0);
		damage(7, 4000);
		g = test_open(&c);
		look(g, r[0].info.id, &known);
		assert_int_equal(known.version, 1);
		test_reads(g, r[0].info.id, 1, old);
		test_reads(g, r[1].info.id, 8, 4000);
		rebuilt(&c, &g);
		look(g, r[0].info.id, &known);
		assert_int_equal(known.version, 1);
		test_reads(g, r[0].info.id, 1, old);
		/* It can come again from elsewhere. */
		assert_int_equal(engine_install_many(g, v, 2, &e), 0);
		assert_int_equal(v[0].rc, 0);
		assert_int_equal(v[1].rc, 1);
		test_reads(g, r[0].info.id, 7, 4000);
		rebuilt(&c, &g);
		test_reads(g, r[0].info.id, 7, 4000);
		engine_close(&g);
		body_free(&b[0]);
		body_free(&b[1]);
		test_remove_dir();
		test_make_dir();
	}
}

/* The same when the older version is taken in after it. */
static void
test_torn_version_before(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r = record_make(g, 1, 1, 3000), f[20];
	struct engine_version known;
	struct engine_file_info info;
	struct id128 wid = r.info.write_id;
	struct err e = ERR_INIT;
	char cmd[1000];

	assert_int_equal(put_version(g, &r, 1, 3000), 0);
	for (uint64_t i = 0; i < 20; i++) {
		f[i] = record_make(g, 100 + i, 1, 60000);
		assert_int_equal(put_version(g, &f[i], i, 60000), 0);
	}
	r.info.file_version = 2;
	r.info.write_id.b[5] = 1;
	assert_int_equal(put_version(g, &r, 7, 4000), 0);
	f[0].info.file_version = 5;
	assert_int_equal(put_version(g, &f[0], 100, 60000), 0);
	/* The volume of version 1 is away, and comes back later. */
	engine_close(&g);
	snprintf(cmd, sizeof(cmd), "mv %s/disk0/volumes/%016x.vol %s/v1",
	    test_dir, 1, test_dir);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s/disk0/findex", test_dir);
	assert_int_equal(system(cmd), 0);
	damage(7, 4000);
	g = test_open(&c);
	look(g, r.info.id, &known);
	assert_int_equal(known.version, 2);
	engine_close(&g);
	snprintf(cmd, sizeof(cmd), "mv %s/v1 %s/disk0/volumes/%016x.vol",
	    test_dir, test_dir, 1);
	assert_int_equal(system(cmd), 0);
	g = test_open(&c);
	look(g, r.info.id, &known);
	assert_int_equal(known.version, 1);
	test_reads(g, r.info.id, 1, 3000);
	assert_int_equal(engine_find_write(g, &wid, &info, &e), 0);
	assert_int_equal(engine_find_write(g, &r.info.write_id, &info, &e),
	    ERR_NOT_FOUND);
	engine_close(&g);
}

/* C2: an earlier version than the last may lie in any volume. */
static void
test_tombstone_of_versions(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r = record_make(g, 1, 1, 5000), f[60];
	struct engine_path_stat st;
	struct err e = ERR_INIT;

	/* Volume 1 stays: nearly all of it lives. */
	assert_int_equal(put_version(g, &r, 1, 5000), 0);
	for (uint64_t i = 0; i < 20; i++) {
		f[i] = record_make(g, 100 + i, 1, 60000);
		assert_int_equal(put_version(g, &f[i], i, 60000), 0);
	}
	/* The next ones go. */
	r.info.file_version = 2;
	assert_int_equal(put_version(g, &r, 2, 5000), 0);
	for (uint64_t i = 20; i < 40; i++) {
		f[i] = record_make(g, 100 + i, 1, 60000);
		assert_int_equal(put_version(g, &f[i], i, 60000), 0);
	}
	assert_int_equal(put_tomb(g, &r, 3), 0);
	for (uint64_t i = 40; i < 60; i++) {
		f[i] = record_make(g, 100 + i, 1, 60000);
		assert_int_equal(put_version(g, &f[i], i, 60000), 0);
	}
	for (uint64_t i = 20; i < 60; i++)
		assert_int_equal(put_tomb(g, &f[i], 2), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(engine_compact_now(g, &e), 0);
	engine_path_stat(g, 0, &st);
	assert_true(st.volumes < 4);
	rebuilt(&c, &g);
	test_gone(g, r.info.id);
	test_reads(g, f[3].info.id, 3, 60000);
	engine_close(&g);
}

/* C5 */
static void
test_tombstone_keep(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g;
	struct engine_record r, f[20];
	struct engine_version v;
	struct err e = ERR_INIT;
	struct engine_path_stat a, b;
	char cmd[600];

	c.tombstone_keep_s = 1000;
	g = test_open(&c);
	r = record_make(g, 1, 1, 5000);
	assert_int_equal(put_version(g, &r, 1, 5000), 0);
	r.info.created_s = clock_real_s();
	assert_int_equal(put_tomb(g, &r, 2), 0);
	for (uint64_t i = 0; i < 20; i++) {
		f[i] = record_make(g, 100 + i, 1, 60000);
		assert_int_equal(put_version(g, &f[i], i, 60000), 0);
		assert_int_equal(put_tomb(g, &f[i], 2), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(engine_compact_now(g, &e), 0);
	/* Old ones went with what they have deleted. */
	look(g, f[0].info.id, &v);
	assert_int_equal(v.known, ENGINE_UNKNOWN);
	look(g, r.info.id, &v);
	assert_int_equal(v.known, ENGINE_TOMB);
	assert_int_equal(v.version, 2);
	/* A volume of nothing else is not written again and again. */
	engine_close(&g);
	g = test_open(&c);
	for (int i = 0; i < 3; i++)
		assert_int_equal(engine_compact_now(g, &e), 0);
	engine_path_stat(g, 0, &a);
	snprintf(cmd, sizeof(cmd), "ls %s/disk0/volumes | tail -1 > %s/a",
	    test_dir, test_dir);
	assert_int_equal(system(cmd), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(engine_compact_now(g, &e), 0);
	engine_path_stat(g, 0, &b);
	assert_int_equal(a.volumes, b.volumes);
	snprintf(cmd, sizeof(cmd), "ls %s/disk0/volumes | tail -1 | cmp - %s/a",
	    test_dir, test_dir);
	assert_int_equal(system(cmd), 0);
	clock_shift(INT64_C(1200) * 1000000000);
	/* It lies in the volume that is written. */
	for (uint64_t i = 0; i < 20; i++) {
		f[i] = record_make(g, 200 + i, 1, 60000);
		assert_int_equal(put_version(g, &f[i], i, 60000), 0);
		assert_int_equal(put_tomb(g, &f[i], 2), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(engine_compact_now(g, &e), 0);
	clock_shift(INT64_C(-1200) * 1000000000);
	look(g, r.info.id, &v);
	assert_int_equal(v.known, ENGINE_UNKNOWN);
	engine_close(&g);
}

/* E5 */
static void
test_write_ids(void **state UNUSED)
{
	struct engine_conf c = test_conf(2);
	struct engine *g = test_open(&c);
	struct engine_record r = record_make(g, 1, 1, 500), first, second;
	struct engine_owner o = test_owner(77);
	struct engine_file_info i;
	struct id128 old = r.info.write_id;
	struct body b = body_make(5, 100);
	struct err e = ERR_INIT;

	assert_int_equal(put_version(g, &r, 1, 500), 0);
	assert_int_equal(engine_find_write(g, &old, &i, &e), 0);
	assert_string_equal(i.id, r.info.id);
	r.info.file_version = 2;
	r.info.write_id.b[4] = 0x33;
	assert_int_equal(put_version(g, &r, 2, 400), 0);
	for (int k = 0; k < 3; k++) {
		assert_int_equal(engine_find_write(g, &old, &i, &e),
		    ERR_NOT_FOUND);
		assert_int_equal(engine_find_write(g, &r.info.write_id, &i, &e),
		    0);
		assert_string_equal(i.id, r.info.id);
		assert_int_equal(i.file_version, 2);
		if (k == 0) {
			engine_close(&g);
			g = test_open(&c);
		} else {
			rebuilt(&c, &g);
		}
	}
	assert_int_equal(put_tomb(g, &r, 3), 0);
	for (int k = 0; k < 2; k++) {
		assert_int_equal(engine_find_write(g, &r.info.write_id, &i, &e),
		    ERR_NOT_FOUND);
		engine_close(&g);
		g = test_open(&c);
	}
	/* Two uploads of one write, both drawn before either is there. */
	assert_int_equal(engine_draw(g, &o, 0, b.len, b.crc32, "", 0, &first,
			     &e),
	    0);
	assert_int_equal(engine_draw(g, &o, 1, b.len, b.crc32, "", 0, &second,
			     &e),
	    0);
	assert_int_equal(install(g, &first, &b, ENGINE_NEW), 0);
	assert_int_equal(install(g, &second, &b, ENGINE_NEW), ERR_EXISTS);
	test_gone(g, second.info.id);
	assert_int_equal(engine_draw(g, &o, 1, b.len, b.crc32, "", 0, &second,
			     &e),
	    1);
	assert_string_equal(second.info.id, first.info.id);
	/* engine_put() knows it too. */
	assert_int_equal(engine_put(g, &o, str_mem(b.p, b.len), "", &i, &e), 0);
	assert_string_equal(i.id, first.info.id);
	engine_close(&g);
	body_free(&b);
}

/* --- every step failing --- */

static int n_large(void);

/* The crash comes between the newer version and the end of the older one. */
static void
test_old_large_after_crash(void **state UNUSED)
{
	for (int is_tomb = 0; is_tomb < 2; is_tomb++) {
		struct engine_conf c = test_conf(1);
		struct engine *g = test_open(&c);
		struct engine_record r = record_make(g, 1, 3, BIG);
		char cmd[1000];

		assert_int_equal(upload(g, &r, 3, BIG), 0);
		r.info.file_version = 4;
		fault_arm(FAULT_UNLINK, 1, EIO, true);
		if (is_tomb)
			assert_int_equal(put_tomb(g, &r, 4), 0);
		else
			assert_int_equal(put_version(g, &r, 4, 5000), 0);
		fault_disarm();
		assert_int_equal(n_large(), 1);
		snprintf(cmd, sizeof(cmd),
		    "cp -a --sparse=always %s/disk0 %s/copy", test_dir,
		    test_dir);
		assert_int_equal(system(cmd), 0);
		engine_close(&g);
		snprintf(cmd, sizeof(cmd),
		    "rm -r %s/disk0; mv %s/copy %s/disk0", test_dir, test_dir,
		    test_dir);
		assert_int_equal(system(cmd), 0);
		g = test_open(&c);
		if (is_tomb)
			test_gone(g, r.info.id);
		else
			test_reads(g, r.info.id, 4, 5000);
		assert_int_equal(n_large(), 0);
		engine_close(&g);
		test_remove_dir();
		test_make_dir();
	}
}

static int
n_large(void)
{
	char cmd[600];
	int n;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "find %s/disk0/data -type f | wc -l",
	    test_dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	pclose(f);
	return n;
}

struct step {
	const char *what;
	size_t old_size, size; /* 0: a tombstone */
	uint64_t version;
	bool is_repair;
};

static int
do_step(struct engine *g, const struct step *s, struct engine_record *r)
{
	r->info.file_version = s->version;
	if (s->size == 0)
		return put_tomb(g, r, s->version);
	if (s->is_repair)
		return repair(g, r, s->version, s->size);
	if (s->size > 256 * 1024)
		return upload(g, r, s->version, s->size);
	return put_version(g, r, s->version, s->size);
}

/* After step @s (or not, when it failed) and a restart. */
static void
check_step(struct engine *g, const struct step *s, struct engine_record *r,
    bool must_be_new, unsigned long n)
{
	struct engine_version v;
	struct err e = ERR_INIT;
	int rc;

	look(g, r->info.id, &v);
	assert_int_not_equal(v.known, ENGINE_UNKNOWN);
	if (must_be_new && v.version != s->version)
		fail_msg("%s, %lu: version %ju", s->what, n,
		    (uintmax_t)v.version);
	if (v.known == ENGINE_TOMB) {
		assert_int_equal(s->size, 0);
		return;
	}
	if (s->is_repair) {
		struct engine_file *f;

		/* What was good of it is never lost. */
		rc = engine_file_open(g, str_of(r->info.id), &f, &e);
		if (rc != 0)
			fail_msg("%s, %lu: %s", s->what, n, e.msg);
		engine_file_close(&f);
		rc = test_check(g, r->info.id, s->version, s->size, &e);
		if (rc != 0 && (must_be_new || rc != ERR_CORRUPT))
			fail_msg("%s, %lu: %s", s->what, n, e.msg);
	} else if (v.version == s->version) {
		test_reads(g, r->info.id, s->version, s->size);
	} else {
		test_reads(g, r->info.id, v.version, s->old_size);
	}
}

static void
fail_steps(const struct step *s, enum fault_kind kind, bool stick)
{
	for (unsigned long n = 1;; n++) {
		struct engine_conf c = test_conf(1);
		struct engine *g;
		struct engine_record r, other;
		struct engine_version v;
		bool fired;
		int rc;

		/* No steps of the background's own. */
		g = test_open(&c);
		r = record_make(g, 1, 1, s->old_size);
		r.info.file_version = s->is_repair ? s->version : 1;
		rc = s->old_size > 256 * 1024
		         ? upload(g, &r, r.info.file_version, s->old_size)
		         : put_version(g, &r, r.info.file_version, s->old_size);
		assert_int_equal(rc, 0);
		if (s->is_repair)
			damage(s->version, s->size);
		fault_arm(kind, n, EIO, stick);
		rc = do_step(g, s, &r);
		fired = fault_fired();
		fault_disarm();
		if (rc != 0)
			assert_true(fired);
		check_step(g, s, &r, rc == 0, n);
		engine_close(&g);
		g = test_open(&c);
		check_step(g, s, &r, rc == 0, n);
		/* Nothing is left of what did not come about. */
		look(g, r.info.id, &v);
		if (rc != 0 && v.version != s->version)
			assert_int_equal(n_large(), s->old_size > 256 * 1024);
		/* And it can be done again. */
		rc = do_step(g, s, &r);
		if (rc != 0 && rc != 1)
			fail_msg("%s, %lu: then %d", s->what, n, rc);
		check_step(g, s, &r, true, n);
		/* One that could not be unlinked goes with the tombstone. */
		if (kind != FAULT_UNLINK && kind != FAULT_ANY)
			assert_int_equal(n_large(), s->size > 256 * 1024);
		else
			assert_in_range(n_large(), s->size > 256 * 1024, 2);
		other = record_make(g, 9, 1, 100);
		assert_int_equal(put_version(g, &other, 9, 100), 0);
		engine_close(&g);
		test_remove_dir();
		test_make_dir();
		if (!fired)
			return;
		assert_true(n < 500);
	}
}

static void
test_faults(void **state UNUSED)
{
	static const struct step steps[] = {
		{ "small over small", 3000, 4000, 5, false },
		{ "large over large", BIG, BIG + 1, 5, false },
		{ "large over small", 3000, BIG, 5, false },
		{ "small over large", BIG, 3000, 5, false },
		{ "tombstone over large", BIG, 0, 5, false },
		{ "repair of small", 5000, 5000, 5, true },
		{ "repair of large", BIG, BIG, 5, true },
		{ "repair of first large", BIG, BIG, 1, true },
	};
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC,
		FAULT_OPEN, FAULT_RENAME, FAULT_UNLINK, FAULT_MKDIR,
		FAULT_TRUNCATE, FAULT_FALLOCATE, FAULT_ALLOC, FAULT_ANY };

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			fail_steps(&steps[i], kinds[k], false);
			fail_steps(&steps[i], kinds[k], true);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_repair_small, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_volume_missing, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_volume_without_header,
		    test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_many_bad, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_repair_large, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_torn_version, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_torn_version_before,
		    test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_tombstone_of_versions,
		    test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_tombstone_keep, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_write_ids, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_old_large_after_crash,
		    test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_faults, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
