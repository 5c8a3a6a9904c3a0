/* What the tests of replica.h share: bodies with their CRC32, records as
 * another member would send them. */
#ifndef REPLICA_TEST_H
#define REPLICA_TEST_H

#include "storage/engine/replica.h"

#include "fdfs/file_id.h"
#include "lib/hash.h"

struct body {
	char *p;
	size_t len;
	uint32_t crc32;
};

static UNUSED struct body
body_make(uint64_t seed, size_t len)
{
	struct body b = { malloc(len + 1), len, 0 };

	assert_non_null(b.p);
	test_fill(b.p, seed, 0, len);
	b.crc32 = hash_crc32(0, b.p, len);
	return b;
}

static UNUSED void
body_free(struct body *b)
{
	free(b->p);
	b->p = NULL;
}

/* A record as node 0x22... would have drawn it: the name depends on @seed
 * alone. */
static UNUSED struct engine_record
record_make_on(struct engine *g UNUSED, unsigned path, uint64_t seed,
    uint64_t version, size_t size)
{
	struct engine_record r = { .info = { .size = size,
				       .file_version = version,
				       .created_s = 1700000000,
				       .class = ENGINE_CLASS_S3 } };
	struct fdfs_file_id f = { .group = "group1",
		.path = (uint8_t)path,
		.server = 9,
		.time = (uint32_t)(1700000000 + seed / 7),
		.size_field = fdfs_size_field(size, (uint32_t)seed),
		.crc32 = (uint32_t)(seed * 2654435761u) };
	char id[FDFS_ID_MAX + 1];

	f.tail = STR_LIT("1234567");
	memcpy(r.info.id, id, fdfs_id_format(&f, id) + 1);
	memset(r.source.node.b, 0x22, 16);
	r.source.incarnation = 3;
	r.source.seq = seed;
	memcpy(r.info.write_id.b + 8, &seed, 8);
	r.info.write_id.b[0] = 0x99;
	r.info.write_id.b[1] = (uint8_t)version;
	return r;
}

static UNUSED struct engine_record
record_make(struct engine *g, uint64_t seed, uint64_t version, size_t size)
{
	return record_make_on(g, 0, seed, version, size);
}

static UNUSED int
install(struct engine *g, const struct engine_record *r, const struct body *b,
    unsigned flags)
{
	struct engine_install i = { .r = r, .flags = flags };
	struct err e = ERR_INIT;
	int rc;

	if (b != NULL)
		i.body = str_mem(b->p, b->len);
	rc = engine_install_many(g, &i, 1, &e);
	assert_int_equal(rc, i.rc < 0 ? i.rc : 0);
	return i.rc;
}

/* @r with the body of @seed. */
static UNUSED int
put_version(struct engine *g, struct engine_record *r, uint64_t seed,
    size_t size)
{
	struct body b = body_make(seed, size);
	int rc;

	r->is_tomb = false;
	r->info.size = size;
	r->info.crc32 = b.crc32;
	rc = install(g, r, &b, 0);
	body_free(&b);
	return rc;
}

static UNUSED int
put_tomb(struct engine *g, const struct engine_record *r, uint64_t version)
{
	struct engine_record t = *r;

	t.is_tomb = true;
	t.info.file_version = version;
	return install(g, &t, NULL, 0);
}

static UNUSED void
look(struct engine *g, const char *id, struct engine_version *ret)
{
	struct str s = str_of(id);
	struct err e = ERR_INIT;

	if (engine_lookup_many(g, &s, 1, ret, &e) != 0)
		fail_msg("lookup: %s", e.msg);
}

static UNUSED void
records_equal(const struct engine_record *a, const struct engine_record *b)
{
	assert_string_equal(a->info.id, b->info.id);
	assert_int_equal(a->is_tomb, b->is_tomb);
	assert_int_equal(a->info.file_version, b->info.file_version);
	if (!a->is_tomb) {
		assert_int_equal(a->info.size, b->info.size);
		assert_int_equal(a->info.crc32, b->info.crc32);
	}
	assert_int_equal(a->info.created_s, b->info.created_s);
	assert_int_equal(a->info.class, b->info.class);
	assert_true(id128_eq(&a->info.index_id, &b->info.index_id));
	assert_true(id128_eq(&a->info.write_id, &b->info.write_id));
	assert_true(id128_eq(&a->source.node, &b->source.node));
	assert_int_equal(a->source.incarnation, b->source.incarnation);
	assert_int_equal(a->source.seq, b->source.seq);
	assert_true(str_eq(a->note, b->note));
}

/* By name, and by way of the open file. */
static UNUSED void
same_record(struct engine *g, const struct engine_record *want)
{
	struct buf note = BUF_CAP(4096);
	struct err e = ERR_INIT;
	struct engine_record r;
	struct engine_file *f;

	if (engine_record(g, str_of(want->info.id), &r, &note, &e) != 0)
		fail_msg("record: %s", e.msg);
	records_equal(want, &r);
	if (!want->is_tomb) {
		buf_reset(&note);
		assert_int_equal(engine_file_open(g, str_of(want->info.id), &f,
				     &e),
		    0);
		assert_int_equal(engine_file_record(f, &r, &note, &e), 0);
		records_equal(want, &r);
		engine_file_close(&f);
	}
	buf_fini(&note);
}

#endif
