/* Messages between gateways and storage nodes: what is packed comes out again,
 * and no prefix of one passes. */
#include "cluster/rpc.h"
#include "cluster/store_ops.h"

#include "lib/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct id128
id_of(uint8_t first)
{
	struct id128 id = { { first, 1, 2, 3 } };

	id.b[15] = first;
	return id;
}

static struct sop_file
a_file(void)
{
	return (struct sop_file){
		.id = "group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		.size = 1400,
		.crc32 = 0x411932cf,
		.version = UINT64_C(7) << 32 | 3,
		.created_s = 1700000000,
		.class = 3,
		.index_id = id_of(9),
		.write_id = id_of(10),
	};
}

static void
assert_file(const struct sop_file *f)
{
	struct sop_file w = a_file();

	assert_string_equal(f->id, w.id);
	assert_int_equal(f->size, w.size);
	assert_int_equal(f->crc32, w.crc32);
	assert_int_equal(f->version, w.version);
	assert_int_equal(f->created_s, w.created_s);
	assert_int_equal(f->class, w.class);
	assert_true(id128_eq(&f->index_id, &w.index_id));
	assert_true(id128_eq(&f->write_id, &w.write_id));
}

/* Every proper prefix of @b is refused. */
#define ASSERT_PREFIXES(b, unpacked)                                           \
	do {                                                                   \
		for (size_t n_ = 0; n_ < (b).len; n_++) {                      \
			struct str args = str_sub(buf_str(&(b)), 0, n_);       \
			assert_int_equal(unpacked, ERR_INVALID);               \
		}                                                              \
	} while (0)

static void
test_file(void **state)
{
	struct buf b = BUF_CAP(4096);
	struct sop_file f = a_file(), g;
	struct err e = ERR_INIT;
	struct unpack u;

	(void)state;
	assert_int_equal(sop_file_pack(&f, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(sop_file_unpack(&u, &g, &e), 0);
	assert_file(&g);
	ASSERT_PREFIXES(b, (u = unpack_of(args), sop_file_unpack(&u, &g, &e)));
	/* a NUL in a name */
	b.p[8] = '\0';
	u = unpack_of(buf_str(&b));
	assert_int_equal(sop_file_unpack(&u, &g, &e), ERR_INVALID);
	buf_fini(&b);
}

static void
test_store(void **state)
{
	struct sop_store s = { .class = 1,
		.index_id = id_of(1),
		.index_epoch = 77,
		.write_id = id_of(2),
		.note = STR_LIT("bucket/key"),
		.ext = STR_LIT("jpg"),
		.size_hint = SOP_SIZE_UNKNOWN,
		.has_crc = true,
		.crc32 = 5 };
	static char big[SOP_NOTE_MAX + 1];
	struct buf b = BUF_CAP(8192);
	struct sop_store t;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(sop_store_pack(&s, &b), 0);
	assert_int_equal(sop_store_unpack(buf_str(&b), &t, &e), 0);
	assert_int_equal(t.class, 1);
	assert_int_equal(t.index_epoch, 77);
	assert_true(str_eq(t.note, s.note) && str_eq(t.ext, s.ext));
	assert_true(t.size_hint == SOP_SIZE_UNKNOWN && t.has_crc);
	assert_int_equal(t.crc32, 5);
	assert_true(id128_eq(&t.write_id, &s.write_id));
	ASSERT_PREFIXES(b, sop_store_unpack(args, &t, &e));
	buf_reset(&b);
	s.note = str_mem(big, sizeof(big));
	assert_int_equal(sop_store_pack(&s, &b), 0);
	assert_int_equal(sop_store_unpack(buf_str(&b), &t, &e), ERR_INVALID);
	buf_reset(&b);
	s.note = STR_NULL;
	s.ext = STR_LIT("seven77");
	assert_int_equal(sop_store_pack(&s, &b), 0);
	assert_int_equal(sop_store_unpack(buf_str(&b), &t, &e), ERR_INVALID);
	buf_fini(&b);
}

static void
test_stream(void **state)
{
	struct sop_stream s = { .stream = 1, .offset = 2, .crc32 = 3 }, t;
	struct buf b = BUF_CAP(8192);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(sop_stream_pack(&s, &b), 0);
	assert_int_equal(sop_stream_unpack(buf_str(&b), &t, &e), 0);
	assert_true(t.stream == 1 && t.offset == 2 && t.crc32 == 3);
	assert_false(t.has_crc);
	ASSERT_PREFIXES(b, sop_stream_unpack(args, &t, &e));
	buf_fini(&b);
}

static void
test_read(void **state)
{
	struct sop_read r = { STR_LIT("group1/M00/x"), 9, RPC_BODY_MAX }, t;
	struct sop_stat st = { a_file(), STR_LIT("note") }, su;
	struct buf b = BUF_CAP(8192);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(sop_read_pack(&r, &b), 0);
	assert_int_equal(sop_read_unpack(buf_str(&b), &t, &e), 0);
	assert_true(str_eq(t.id, r.id) && t.off == 9 && t.len == RPC_BODY_MAX);
	ASSERT_PREFIXES(b, sop_read_unpack(args, &t, &e));
	buf_reset(&b);
	r.len++;
	assert_int_equal(sop_read_pack(&r, &b), 0);
	assert_int_equal(sop_read_unpack(buf_str(&b), &t, &e), ERR_INVALID);
	buf_reset(&b);
	assert_int_equal(sop_stat_pack(&st, &b), 0);
	assert_int_equal(sop_stat_unpack(buf_str(&b), &su, &e), 0);
	assert_file(&su.file);
	assert_true(str_eqz(su.note, "note"));
	ASSERT_PREFIXES(b, sop_stat_unpack(args, &su, &e));
	buf_fini(&b);
}

static void
test_delete(void **state)
{
	const struct str ids[] = { STR_LIT("a"), STR_LIT("bc") };
	struct sop_delete d = { id_of(4), 6, 2, ids }, t;
	struct buf b = BUF_CAP(8192);
	struct err e = ERR_INIT;
	struct str room[2];

	(void)state;
	assert_int_equal(sop_delete_pack(&d, &b), 0);
	assert_int_equal(sop_delete_unpack(buf_str(&b), room, 2, &t, &e), 0);
	assert_true(t.n == 2 && t.index_epoch == 6);
	assert_true(str_eqz(t.ids[0], "a") && str_eqz(t.ids[1], "bc"));
	ASSERT_PREFIXES(b, sop_delete_unpack(args, room, 2, &t, &e));
	assert_int_equal(sop_delete_unpack(buf_str(&b), room, 1, &t, &e),
	    ERR_INVALID);
	buf_fini(&b);
}

static void
test_each(void **state)
{
	struct sop_each q = { 1, SOP_PAGE_MAX, STR_LIT("cursor") }, r;
	struct sop_page p = { STR_LIT("next"), true, 1 }, s;
	struct sop_word w = { true, 3 }, got;
	struct buf b = BUF_CAP(8192);
	struct sop_file f = a_file(), g;
	struct err e = ERR_INIT;
	struct unpack u;

	(void)state;
	assert_int_equal(sop_each_pack(&q, &b), 0);
	assert_int_equal(sop_each_unpack(buf_str(&b), &r, &e), 0);
	assert_true(r.class == 1 && r.max == SOP_PAGE_MAX);
	assert_true(str_eq(r.cursor, q.cursor));
	ASSERT_PREFIXES(b, sop_each_unpack(args, &r, &e));
	buf_reset(&b);
	q.max++;
	assert_int_equal(sop_each_pack(&q, &b), 0);
	assert_int_equal(sop_each_unpack(buf_str(&b), &r, &e), ERR_INVALID);
	buf_reset(&b);
	assert_int_equal(sop_page_pack(&p, &b), 0);
	assert_int_equal(sop_file_pack(&f, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(sop_page_unpack(&u, &s, &e), 0);
	assert_true(s.is_end && s.n == 1 && str_eqz(s.cursor, "next"));
	assert_int_equal(sop_file_unpack(&u, &g, &e), 0);
	assert_file(&g);
	buf_reset(&b);
	assert_int_equal(sop_word_pack(&w, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(sop_word_unpack(&u, &got, &e), 0);
	assert_true(got.is_whole && got.copies == 3);
	ASSERT_PREFIXES(b,
	    (u = unpack_of(args), sop_word_unpack(&u, &got, &e)));
	buf_fini(&b);
}

static void
test_others(void **state)
{
	struct sop_fence f = { id_of(3), 12 }, g;
	struct sop_found n = { 1, 2 }, m;
	struct buf b = BUF_CAP(8192);
	struct err e = ERR_INIT;
	enum sop_tidy what;
	struct id128 id = id_of(8), ret;

	(void)state;
	assert_int_equal(sop_fence_pack(&f, &b), 0);
	assert_int_equal(sop_fence_unpack(buf_str(&b), &g, &e), 0);
	assert_true(g.index_epoch == 12 && id128_eq(&g.index_id, &f.index_id));
	ASSERT_PREFIXES(b, sop_fence_unpack(args, &g, &e));
	buf_reset(&b);
	assert_int_equal(sop_found_pack(&n, &b), 0);
	assert_int_equal(sop_found_unpack(buf_str(&b), &m, &e), 0);
	assert_true(m.bad == 1 && m.differ == 2);
	buf_reset(&b);
	assert_int_equal(sop_find_pack(&id, &b), 0);
	assert_int_equal(sop_find_unpack(buf_str(&b), &ret, &e), 0);
	assert_true(id128_eq(&id, &ret));
	ASSERT_PREFIXES(b, sop_find_unpack(args, &ret, &e));
	buf_reset(&b);
	assert_int_equal(sop_tidy_pack(SOP_COMPARE, &b), 0);
	assert_int_equal(sop_tidy_unpack(buf_str(&b), &what, &e), 0);
	assert_int_equal(what, SOP_COMPARE);
	assert_int_equal(sop_tidy_unpack(STR_LIT("\x04"), &what, &e),
	    ERR_INVALID);
	assert_int_equal(sop_tidy_unpack(STR_LIT("\0"), &what, &e),
	    ERR_INVALID);
	buf_fini(&b);
}

static void
test_status(void **state)
{
	struct sop_path paths[2] = {
		{ .path = "/a", .total = 5, .scrub_last_s = -1 },
		{ .path = "/b", .is_failed = true, .quarantined = 2 }
	};
	struct sop_status s = { .n_paths = 2,
		.paths = paths,
		.n_peers = 1,
		.peers = { { 4, true, false, 99 } },
		.pulled_files = 7,
		.streams = 3 },
			  t;
	struct buf b = BUF_CAP(8192);
	struct err e = ERR_INIT;
	struct unpack u;

	(void)state;
	assert_int_equal(sop_status_pack(&s, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(sop_status_unpack(&u, &t, &e), 0);
	assert_int_equal(t.n_paths, 2);
	assert_string_equal(t.paths[0].path, "/a");
	assert_true(t.paths[0].total == 5 && t.paths[0].scrub_last_s == -1);
	assert_true(t.paths[1].is_failed && t.paths[1].quarantined == 2);
	assert_true(t.n_peers == 1 && t.peers[0].server_id == 4);
	assert_true(t.peers[0].is_reachable && !t.peers[0].is_caught_up);
	assert_true(t.peers[0].behind_bytes == 99 && t.pulled_files == 7);
	assert_int_equal(t.streams, 3);
	sop_status_fini(&t);
	ASSERT_PREFIXES(b,
	    (u = unpack_of(args), sop_status_unpack(&u, &t, &e)));
	buf_fini(&b);
}

/* A flipped bit anywhere, a byte too few: it is not taken for what was sent. */
static void
test_seal(void **state)
{
	struct buf args = BUF_CAP(64);
	struct err e = ERR_INIT;
	char body[] = "bytes of a file";
	struct str s;

	(void)state;
	assert_int_equal(pack_u32(&args, 77), 0);
	assert_int_equal(pack_seal(&args, str_of(body)), 0);
	s = buf_str(&args);
	assert_int_equal(unpack_seal(&s, body, strlen(body), &e), 0);
	assert_int_equal(s.len, 4);
	for (size_t bit = 0; bit < 8 * (args.len + strlen(body)); bit++) {
		char *at = bit / 8 < args.len ? args.p + bit / 8
		                              : body + bit / 8 - args.len;

		*at ^= (char)(1 << bit % 8);
		s = buf_str(&args);
		assert_int_equal(unpack_seal(&s, body, strlen(body), &e),
		    ERR_CORRUPT);
		*at ^= (char)(1 << bit % 8);
	}
	s = buf_str(&args);
	assert_int_equal(unpack_seal(&s, body, strlen(body) - 1, &e),
	    ERR_CORRUPT);
	for (size_t n = 0; n < args.len; n++) {
		s = str_sub(buf_str(&args), 0, n);
		assert_int_equal(unpack_seal(&s, body, strlen(body), &e),
		    ERR_CORRUPT);
	}
	buf_reset(&args);
	assert_int_equal(pack_seal(&args, STR_NULL), 0);
	s = buf_str(&args);
	assert_int_equal(unpack_seal(&s, NULL, 0, &e), 0);
	assert_int_equal(s.len, 0);
	for (size_t n = 0; n <= strlen(body); n++) { /* of its sum alone */
		buf_reset(&args);
		assert_int_equal(pack_u32(&args, 78), 0);
		assert_int_equal(pack_seal_sum(&args, hash_crc32c(0, body, n),
				     n),
		    0);
		s = buf_str(&args);
		assert_int_equal(unpack_seal(&s, body, n, &e), 0);
		assert_int_equal(s.len, 4);
	}
	buf_fini(&args);
}

/* Any min_copies members have one of so many among them. */
static void
test_quorum(void **state)
{
	(void)state;
	assert_int_equal(sop_quorum(1, 0), 1); /* one copy, by default */
	assert_int_equal(sop_quorum(2, 0), 1); /* two, from here on */
	assert_int_equal(sop_quorum(3, 0), 2);
	assert_int_equal(sop_quorum(3, 1), 3);
	assert_int_equal(sop_quorum(3, 3), 1);
	assert_int_equal(sop_quorum(5, 3), 3);
	assert_int_equal(sop_quorum(2, 3), 1); /* never none */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_quorum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
