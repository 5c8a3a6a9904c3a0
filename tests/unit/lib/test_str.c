/* tests/unit/lib/test_str.c - views, buffers, text forms, arena. */
#include "lib/arena.h"
#include "lib/bytes.h"
#include "lib/err.h"
#include "lib/fault.h"
#include "lib/mem.h"
#include "lib/rand.h"
#include "lib/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define L STR_LIT

static void
test_views(void **state)
{
	struct str s = L("a,b,,c"), part;

	(void)state;
	assert_true(str_eqz(str_split(&s, ','), "a"));
	assert_true(str_eqz(str_split(&s, ','), "b"));
	part = str_split(&s, ',');
	assert_true(part.p != NULL && part.len == 0);
	assert_true(str_eqz(str_split(&s, ','), "c"));
	assert_null(s.p);
	s = L("x,");
	str_split(&s, ',');
	assert_true(s.p != NULL && s.len == 0); /* an empty last item */
	assert_true(str_eq(STR_NULL, L("")));
	assert_true(str_ieq(L("Content-MD5"), L("content-md5")));
	assert_false(str_ieq(L("a"), L("ab")));
	assert_false(str_ieq(L("\xc3\x84"), L("\xc3\xa4"))); /* ASCII only */
	assert_true(str_has_prefix(L("abc"), L("ab")));
	assert_true(str_has_prefix(L("abc"), STR_NULL));
	assert_false(str_has_prefix(L("a"), L("ab")));
	assert_true(str_has_suffix(L("abc"), L("bc")));
	assert_false(str_has_suffix(L("c"), L("bc")));
	assert_true(str_cmp(L("a"), L("ab")) < 0);
	assert_true(str_cmp(L("\xff"), L("a")) > 0); /* bytes, unsigned */
	assert_true(str_cmp(L("a\0b"), L("a\0c")) < 0);
	assert_int_equal(str_cmp(STR_NULL, L("")), 0);
	assert_int_equal(str_chr(L("abcb"), 'b'), 1);
	assert_int_equal(str_rchr(L("abcb"), 'b'), 3);
	assert_int_equal(str_chr(STR_NULL, 'b'), -1);
	assert_int_equal(str_find(L("hello"), L("llo")), 2);
	assert_int_equal(str_find(L("hello"), L("lloo")), -1);
	assert_int_equal(str_find(L("x"), L("")), 0);
	assert_true(str_eqz(str_sub(L("hello"), 1, 3), "ell"));
	assert_true(str_eqz(str_sub(L("hello"), 3, SIZE_MAX), "lo"));
	assert_int_equal(str_sub(L("hello"), 9, 3).len, 0);
	assert_int_equal(str_skip(STR_NULL, 4).len, 0);
	assert_true(str_eqz(str_trim(L(" \t a b \t")), "a b"));
	assert_int_equal(str_trim(L(" \t ")).len, 0);
	assert_true(str_eq_secret(L("abc"), L("abc")));
	assert_false(str_eq_secret(L("abc"), L("abd")));
	assert_false(str_eq_secret(L("abc"), L("abcd")));
	assert_true(str_eq_secret(STR_NULL, L("")));
}

static void
test_numbers(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(str_to_u64(L("0"), 0, &v) && v == 0);
	assert_true(str_to_u64(L("18446744073709551615"), UINT64_MAX, &v) &&
		    v == UINT64_MAX);
	assert_false(str_to_u64(L("18446744073709551616"), UINT64_MAX, &v));
	assert_false(str_to_u64(L("99999999999999999999999"), UINT64_MAX, &v));
	assert_true(str_to_u64(L("00012"), 12, &v) && v == 12);
	v = 7;
	assert_false(str_to_u64(L("13"), 12, &v));
	assert_false(str_to_u64(L(""), 12, &v));
	assert_false(str_to_u64(L("+1"), 12, &v));
	assert_false(str_to_u64(L("-1"), 12, &v));
	assert_false(str_to_u64(L(" 1"), 12, &v));
	assert_false(str_to_u64(L("1 "), 12, &v));
	assert_false(str_to_u64(L("1\0"), 12, &v));
	assert_false(str_to_u64(L("0x1"), 12, &v));
	assert_int_equal(v, 7);
}

static void
test_buf(void **state)
{
	struct buf b = BUF_CAP(1000);
	char *z;

	(void)state;
	assert_int_equal(buf_addf(&b, "%s-%d", "x", 5), 0);
	assert_int_equal(buf_addc(&b, '!'), 0);
	assert_true(str_eqz(buf_str(&b), "x-5!"));
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_int_equal(buf_addf(&b, "%0*d", 600, 1), 0); /* over its stack */
	assert_int_equal(b.len, 604);
	assert_int_equal(b.p[603], '1');
	assert_int_equal(buf_addf(&b, "%0*d", 397, 1), ERR_TOO_BIG);
	assert_int_equal(buf_addf(&b, "%0*d", 600, 1), ERR_TOO_BIG);
	assert_int_equal(b.len, 604);
	assert_int_equal(buf_addf(&b, "%0*d", 396, 1), 0); /* full to the cap */
	assert_int_equal(b.len, 1000);
	assert_int_equal(buf_addc(&b, 'x'), ERR_TOO_BIG);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_TOO_BIG);
	buf_fini(&b);
	assert_true(b.p == NULL && b.cap == 1000);
	fault_arm(FAULT_ALLOC, 1, ENOMEM, false);
	assert_int_equal(buf_addz(&b, "abc"), ERR_NO_MEMORY);
	assert_int_equal(b.len, 0);
	fault_arm(FAULT_ALLOC, 1, ENOMEM, false);
	assert_null(str_dupz(L("abc")));
	fault_disarm();
	assert_int_equal(buf_addz(&b, "abc"), 0);
	z = str_dupz(buf_str(&b));
	assert_string_equal(z, "abc");
	mem_free(&z);
	assert_null(z);
	buf_fini(&b);
}

/* Each pair of bytes, among eight and behind them. */
static void
test_ieq(void **state)
{
	static const size_t places[] = { 0, 3, 7, 9 };
	char a[11], b[11];

	(void)state;
	for (int x = 0; x < 256; x++) {
		for (int y = 0; y < 256; y++) {
			size_t at = places[(x + y) % 4];
			int lx = x >= 'A' && x <= 'Z' ? x + 32 : x;
			int ly = y >= 'A' && y <= 'Z' ? y + 32 : y;

			memcpy(a, "AbC\x80\xff@[`{zZ", 11);
			memcpy(b, "aBc\x80\xff@[`{Zz", 11);
			a[at] = (char)x;
			b[at] = (char)y;
			assert_int_equal(str_ieq(str_mem(a, 11),
					     str_mem(b, 11)),
			    lx == ly);
		}
	}
	assert_true(str_ieq(STR_NULL, L("")));
}

static void
test_hex(void **state)
{
	char text[520], two[3];
	uint8_t raw[8], all[256];

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(i * 167 + 13);
	for (size_t n = 0; n <= sizeof(all); n += n < 10 ? 1 : 41) {
		memset(text, '-', sizeof(text));
		hex_encode(all, n, text);
		for (size_t i = 0; i < n; i++) {
			snprintf(two, sizeof(two), "%02x", all[i]);
			assert_memory_equal(text + 2 * i, two, 2);
		}
		assert_int_equal(text[2 * n], '-');
	}
	hex_encode("\x00\xff\x1a", 3, text);
	assert_memory_equal(text, "00ff1a", 6);
	assert_true(hex_decode(L("00fF1A"), raw));
	assert_memory_equal(raw, "\x00\xff\x1a", 3);
	assert_false(hex_decode(L("0"), raw));
	assert_false(hex_decode(L("0g"), raw));
	assert_false(hex_decode(L("+1"), raw));
	assert_true(hex_decode(L(""), raw));
}

static void
test_base64(void **state)
{
	static const char *const vectors[][2] = { { "", "" }, { "f", "Zg==" },
		{ "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Zg=", "Zg",
		"Zg===", "Z===", "====", "=",
		"Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-_",
		"Zm9v=", "Zg==\n", "Z=g=", "=Zg=" };
	char text[64];
	uint8_t raw[64];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const char *in = vectors[i][0], *out = vectors[i][1];

		n = base64_encode(in, strlen(in), text);
		assert_true(str_eqz(str_mem(text, n), out));
		assert_true(base64_decode(str_of(out), raw, strlen(in), &n));
		assert_true(str_eqz(str_mem(raw, n), in));
		if (*in != '\0')
			assert_false(base64_decode(str_of(out), raw,
			    strlen(in) - 1, &n));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (base64_decode(str_of(bad[i]), raw, sizeof(raw), &n))
			fail_msg("taken: %s", bad[i]);
	}
	for (int i = 0; i < 200; i++) {
		uint8_t in[40], back[40];
		size_t len = (size_t)i % 41, got;

		rand_bytes(in, sizeof(in));
		n = base64_encode(in, len, text);
		assert_true(base64_decode(str_mem(text, n), back, len, &got));
		assert_int_equal(got, len);
		assert_memory_equal(in, back, len);
	}
}

static void
test_pct(void **state)
{
	struct buf b = BUF_CAP(1000);
	char d[32];
	size_t n;

	(void)state;
	assert_true(pct_decode(L("a%2Fb%00+%7e"), false, d, &n));
	assert_int_equal(n, 6);
	assert_memory_equal(d, "a/b\0+~", 6);
	assert_true(pct_decode(L("a+b%2B"), true, d, &n));
	assert_memory_equal(d, "a b+", 4);
	assert_false(pct_decode(L("a%"), false, d, &n));
	assert_false(pct_decode(L("a%2"), false, d, &n));
	assert_false(pct_decode(L("%g0"), false, d, &n));
	assert_false(pct_decode(L("%-1"), false, d, &n));
	assert_true(pct_decode(L("%2525"), false, d, &n)); /* once */
	assert_memory_equal(d, "%25", 3);

	assert_int_equal(buf_add_pct(&b, L("/a b~-._\xc3\xa4+\0="), true), 0);
	assert_true(str_eqz(buf_str(&b), "/a%20b~-._%C3%A4%2B%00%3D"));
	buf_reset(&b);
	assert_int_equal(buf_add_pct(&b, L("/a"), false), 0);
	assert_true(str_eqz(buf_str(&b), "%2Fa"));
	buf_fini(&b);
	b = (struct buf)BUF_CAP(5);
	assert_int_equal(buf_add_pct(&b, L("a b c"), false), ERR_TOO_BIG);
	assert_int_equal(b.len, 0);
	buf_fini(&b);
}

static void
test_utf8(void **state)
{
	static const struct str good[] = { STR_LIT(""), STR_LIT("a\0b"),
		STR_LIT("\xc2\x80"), STR_LIT("\xdf\xbf"),
		STR_LIT("\xe0\xa0\x80"), STR_LIT("\xed\x9f\xbf"),
		STR_LIT("\xee\x80\x80"), STR_LIT("\xef\xbf\xbf"),
		STR_LIT("\xf0\x90\x80\x80"), STR_LIT("\xf4\x8f\xbf\xbf") };
	static const struct str wrong[] = { STR_LIT("\x80"),
		STR_LIT("\xc0\x80"), STR_LIT("\xc1\xbf"), STR_LIT("\xc2"),
		STR_LIT("\xc2\x41"), STR_LIT("\xe0\x9f\xbf"),
		STR_LIT("\xe2\x82"), STR_LIT("\xed\xa0\x80"),
		STR_LIT("\xf0\x8f\xbf\xbf"), STR_LIT("\xf0\x9f\x98"),
		STR_LIT("\xf4\x90\x80\x80"), STR_LIT("\xf5\x80\x80\x80"),
		STR_LIT("\xff"), STR_LIT("a\xe2\x82(") };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_is_valid(good[i]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(utf8_is_valid(wrong[i]));
}

static void
test_bytes(void **state)
{
	uint8_t b[9];

	(void)state;
	put_be32(b + 1, 0x01020304);
	assert_memory_equal(b + 1, "\1\2\3\4", 4);
	assert_int_equal(get_le32(b + 1), 0x04030201);
	put_le64(b + 1, 0x0102030405060708);
	assert_memory_equal(b + 1, "\10\7\6\5\4\3\2\1", 8);
	assert_true(get_be64(b + 1) == 0x0807060504030201);
	put_be16(b, 0xabcd);
	assert_int_equal(get_le16(b), 0xcdab);
}

static void
test_arena(void **state)
{
	struct arena *a = arena_new(100000);
	size_t sum = 0;
	struct str s;
	char *p;

	(void)state;
	assert_non_null(a);
	for (int round = 0; round < 3; round++) {
		for (sum = 0;;) {
			size_t n = (size_t)(rand_u64() % 3000);

			p = arena_alloc(a, n);
			if (p == NULL)
				break;
			assert_int_equal((uintptr_t)p % 16, 0);
			memset(p, (int)round, n);
			sum += n;
		}
		assert_true(sum <= 100000 && sum > 100000 - 6000);
		assert_null(arena_alloc(a, 100001));
		assert_null(arena_alloc(a, SIZE_MAX));
		arena_reset(a);
	}
	s = arena_str(a, L("a\0b"));
	assert_true(str_eq(s, L("a\0b")));
	assert_int_equal(s.p[3], '\0');
	s = arena_str(a, STR_NULL);
	assert_true(s.p != NULL && s.len == 0 && *s.p == '\0');
	s = arena_fmt(a, "%0*d", 9000, 5);
	assert_int_equal(s.len, 9000);
	assert_int_equal(s.p[8999], '5');
	assert_int_equal(s.p[9000], '\0');
	p = arena_zalloc(a, 5000);
	for (int i = 0; i < 5000; i++)
		assert_int_equal(p[i], 0);
	p = arena_alloc(a, 0);
	assert_non_null(p);
	assert_null(arena_fmt(a, "%0*d", 100000, 5).p);
	assert_null(arena_str(a, str_mem(p, SIZE_MAX)).p);
	arena_reset(a);
	assert_non_null(arena_alloc(a, 100000 / 16 * 16)); /* all of it again */
	arena_free(&a);
	assert_null(a);
	arena_free(&a);
	fault_arm(FAULT_ALLOC, 1, ENOMEM, true);
	assert_null(arena_new(100));
	fault_disarm();
	a = arena_new(SIZE_MAX);
	fault_arm(FAULT_ALLOC, 1, ENOMEM, true);
	assert_null(arena_alloc(a, 10));
	fault_disarm();
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_non_null(arena_alloc(a, 10));
	arena_free(&a);
}

static void
test_rand(void **state)
{
	struct id128 a = id128_new(), b = id128_new(), c, zero = { 0 };
	char text[33];

	(void)state;
	assert_false(id128_eq(&a, &b));
	assert_false(id128_is_zero(&a));
	assert_true(id128_is_zero(&zero));
	id128_text(&a, text);
	assert_int_equal(strlen(text), 32);
	assert_true(id128_parse(text, 32, &c));
	assert_true(id128_eq(&a, &c));
	assert_false(id128_parse(text, 31, &c));
	text[3] = 'x';
	assert_false(id128_parse(text, 32, &b));
	/* No repeats among many, over the refills of the pool. */
	for (int i = 0; i < 1000; i++) {
		uint8_t big[200];
		uint64_t x = rand_u64(), y = rand_u64();

		assert_true(x != y);
		rand_bytes(big, sizeof(big));
		assert_memory_not_equal(big, big + 100, 100);
	}
}

static void
test_err(void **state)
{
	struct err e = ERR_INIT;
	char longer[400];

	(void)state;
	assert_int_equal(err_set(&e, ERR_NO_SPACE, "disk %d", 3), ERR_NO_SPACE);
	assert_string_equal(e.msg, "disk 3");
	assert_int_equal(err_set(NULL, ERR_IO, NULL), ERR_IO);
	err_set(&e, ERR_NO_SUCH_KEY, NULL);
	assert_string_equal(e.msg, "The specified key does not exist.");
	assert_int_equal(err_http_status(ERR_NO_SUCH_KEY), 404);
	assert_string_equal(err_s3_code(ERR_NO_SUCH_KEY), "NoSuchKey");
	assert_string_equal(err_s3_code(ERR_IO), "InternalError");
	assert_string_equal(err_name(ERR_NO_SPACE), "NO_SPACE");
	assert_string_equal(err_name(0), "OK");
	assert_int_equal(err_http_status(-100000), 500);
	assert_int_equal(err_http_status(5), 500);
	assert_int_equal(err_set_errno(&e, ENOSPC, "write %s", "x"),
	    ERR_NO_SPACE);
	assert_string_equal(e.msg, "write x: No space left on device");
	assert_int_equal(e.sys_errno, ENOSPC);
	assert_int_equal(err_set_errno(&e, EDQUOT, "x"), ERR_NO_SPACE);
	assert_int_equal(err_set_errno(&e, ENOMEM, "x"), ERR_NO_MEMORY);
	assert_int_equal(err_set_errno(&e, ENOENT, "x"), ERR_NOT_FOUND);
	assert_int_equal(err_set_errno(&e, EROFS, "x"), ERR_IO);
	/* A long path does not push the reason out. */
	memset(longer, 'p', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	err_set_errno(&e, EIO, "%s", longer);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_non_null(strstr(e.msg, ": Input/output error"));
	err_set_errno(&e, 12345, "x");
	assert_non_null(strstr(e.msg, "unknown"));
}

static void
test_plain(void **state)
{
	char b[40];

	(void)state;
	assert_true(str_is_plain(STR_LIT("")));
	for (size_t n = 1; n < sizeof(b); n++) {
		for (size_t at = 0; at < n; at++) {
			for (int c = 0; c < 256; c++) {
				bool want =
				    c != 0 && c != '%' && c != '+' && c < 128;

				memset(b, 'a' + (int)(n % 20), n);
				b[at] = (char)c;
				assert_int_equal(str_is_plain(str_mem(b, n)),
				    want);
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_ieq),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_pct),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_rand),
		cmocka_unit_test(test_err),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
