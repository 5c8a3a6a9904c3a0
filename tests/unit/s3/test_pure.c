/* tests/unit/s3/test_pure.c - ranges, tokens, checksum texts, copy sources. */
#include "gateway/s3/checksums.h"
#include "gateway/s3/range.h"
#include "gateway/s3/token.h"
#include "tests/unit/s3/fake_http.h"

#include <setjmp.h>

#include <cmocka.h>

#include "gateway/s3/copy_source.h"

static void
test_range(void **state)
{
	static const struct {
		const char *header;
		uint64_t size;
		enum range_result want;
		uint64_t off, len;
	} t[] = {
		{ "bytes=0-4", 10, RANGE_OK, 0, 5 },
		{ "bytes=4-", 10, RANGE_OK, 4, 6 },
		{ "bytes=-3", 10, RANGE_OK, 7, 3 },
		{ "bytes=-30", 10, RANGE_OK, 0, 10 },
		{ "bytes=9-9", 10, RANGE_OK, 9, 1 },
		{ "bytes=0-999", 10, RANGE_OK, 0, 10 },
		{ "Bytes=0-0", 10, RANGE_OK, 0, 1 },
		{ " bytes= 1 - 2 ", 10, RANGE_OK, 1, 2 },
		{ "bytes=0-99999999999999999999999", 10, RANGE_OK, 0, 10 },
		{ "bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=10-20", 10, RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=99999999999999999999999-", 10, RANGE_UNSATISFIABLE, 0,
		    0 },
		{ "bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=-5", 0, RANGE_UNSATISFIABLE, 0, 0 },
		{ "bytes=5-4", 10, RANGE_NONE, 0, 0 },
		{ "bytes=0-1,3-4", 10, RANGE_NONE, 0, 0 },
		{ "bytes=", 10, RANGE_NONE, 0, 0 },
		{ "bytes=-", 10, RANGE_NONE, 0, 0 },
		{ "bytes=a-b", 10, RANGE_NONE, 0, 0 },
		{ "bytes=+1-2", 10, RANGE_NONE, 0, 0 },
		{ "bytes=1--2", 10, RANGE_NONE, 0, 0 },
		{ "bytes 0-4", 10, RANGE_NONE, 0, 0 },
		{ "items=0-4", 10, RANGE_NONE, 0, 0 },
		{ "", 10, RANGE_NONE, 0, 0 },
	};
	uint64_t off, len;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		off = len = 0;
		if (range_parse(str_of(t[i].header), t[i].size, &off, &len) !=
			t[i].want ||
		    off != t[i].off || len != t[i].len)
			fail_msg("range '%s'", t[i].header);
	}
	assert_int_equal(range_parse(STR_NULL, 10, &off, &len), RANGE_NONE);
}

static void
test_copy_range(void **state)
{
	static const char *const bad[] = { "0-2", "bytes=0",
		"bytes=hello-world", "bytes=0-bar", "bytes=hello-",
		"bytes=0-2,3-5", "bytes=-2", "bytes=1-", "bytes=2-1", "" };
	uint64_t a, b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(range_parse_copy(str_of(bad[i]), &a, &b));
	assert_true(range_parse_copy(STR_LIT("bytes=3-17"), &a, &b));
	assert_int_equal(a, 3);
	assert_int_equal(b, 17);
}

static void
test_token(void **state)
{
	struct arena *a = arena_new(1024 * 1024);
	struct str t, back;
	char key[1024];
	size_t n, i;
	uint64_t x = 1;

	(void)state;
	for (n = 0; n <= sizeof(key); n += n < 40 ? 1 : 41) {
		for (i = 0; i < n; i++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			key[i] = (char)(x >> 56);
		}
		t = token_make(str_mem(key, n), a);
		assert_non_null(t.p);
		for (i = 0; i < t.len; i++)
			assert_true((t.p[i] >= '0' && t.p[i] <= '9') ||
				    (t.p[i] >= 'a' && t.p[i] <= 'z') ||
				    (t.p[i] >= 'A' && t.p[i] <= 'Z') ||
				    t.p[i] == '-' || t.p[i] == '_');
		assert_int_equal(token_read(t, a, &back, NULL), 0);
		assert_int_equal(back.len, n);
		if (n > 0)
			assert_memory_equal(back.p, key, n);
		/* one changed character, one more, one less */
		for (i = 0; i < t.len; i += 1 + t.len / 7) {
			char *bad = arena_alloc(a, t.len);

			memcpy(bad, t.p, t.len);
			bad[i] = bad[i] == 'A' ? 'B' : 'A';
			assert_int_equal(token_read(str_mem(bad, t.len), a,
					     &back, NULL),
			    ERR_INVALID_ARGUMENT);
		}
		assert_int_equal(token_read(str_sub(t, 0, t.len - 1), a, &back,
				     NULL),
		    ERR_INVALID_ARGUMENT);
		arena_reset(a);
	}
	assert_int_equal(token_read(STR_LIT(""), a, &back, NULL),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(token_read(STR_LIT("garbage"), a, &back, NULL),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(token_read(STR_LIT("../../etc/passwd"), a, &back,
			     NULL),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(token_read(STR_LIT("AQ=="), a, &back, NULL),
	    ERR_INVALID_ARGUMENT);
	arena_free(&a);
}

static void
test_checksum_text(void **state)
{
	struct checksum c;
	char text[CHECKSUM_TEXT_MAX];
	uint32_t parts = 9;

	(void)state;
	assert_int_equal(checksum_by_name(STR_LIT("crc32")), CHECKSUM_CRC32);
	assert_int_equal(checksum_by_name(STR_LIT("CRC64NVME")),
	    CHECKSUM_CRC64NVME);
	assert_int_equal(checksum_by_name(STR_LIT("CRC16")), CHECKSUM_NONE);
	assert_int_equal(checksum_by_header(STR_LIT("X-Amz-Checksum-Sha256")),
	    CHECKSUM_SHA256);
	assert_true(checksum_parse(CHECKSUM_CRC32, STR_LIT("DUoRhQ=="), false,
	    &c, NULL));
	assert_int_equal(c.len, 4);
	assert_true(str_eqz(checksum_text(&c, 3, text), "DUoRhQ=="));
	assert_false(checksum_parse(CHECKSUM_CRC32, STR_LIT("DUoRhQ==-3"),
	    false, &c, NULL));
	assert_true(checksum_parse(CHECKSUM_CRC32, STR_LIT("DUoRhQ==-10000"),
	    true, &c, &parts));
	assert_true(c.is_composite);
	assert_int_equal(parts, 10000);
	assert_true(str_eqz(checksum_text(&c, 10000, text), "DUoRhQ==-10000"));
	assert_false(checksum_parse(CHECKSUM_CRC32, STR_LIT("DUoRhQ==-x"), true,
	    &c, NULL));
	/* wrong lengths and bad base64 */
	assert_false(checksum_parse(CHECKSUM_SHA1, STR_LIT("DUoRhQ=="), false,
	    &c, NULL));
	assert_false(
	    checksum_parse(CHECKSUM_CRC32, STR_LIT("bad"), false, &c, NULL));
	assert_false(
	    checksum_parse(CHECKSUM_CRC32, STR_LIT(""), false, &c, NULL));
	assert_false(checksum_parse(CHECKSUM_NONE, STR_LIT("DUoRhQ=="), false,
	    &c, NULL));
}

static void
test_checksum_types(void **state)
{
	(void)state;
	assert_true(checksum_allows(CHECKSUM_CRC32, true));
	assert_true(checksum_allows(CHECKSUM_CRC32, false));
	assert_true(checksum_allows(CHECKSUM_CRC64NVME, false));
	assert_false(checksum_allows(CHECKSUM_CRC64NVME, true));
	assert_false(checksum_allows(CHECKSUM_SHA256, false));
	assert_true(checksum_default_composite(CHECKSUM_CRC32C));
	assert_false(checksum_default_composite(CHECKSUM_CRC64NVME));
}

static void
test_copy_source(void **state)
{
	static const struct {
		const char *in, *bucket, *key, *version;
	} good[] = {
		{ "b/k", "b", "k", NULL },
		{ "/b/k", "b", "k", NULL },
		{ "b/a/b/c", "b", "a/b/c", NULL },
		{ "b%2Fk", "b", "k", NULL },
		{ "/b/a%20b+c", "b", "a b+c", NULL },
		{ "b/%2e%2e%2fx", "b", "../x", NULL },
		{ "b//k", "b", "/k", NULL },
		{ "b/%252e", "b", "%2e", NULL },
		{ "b/%3FversionId", "b", "?versionId", NULL },
		{ "b/k?versionId=null", "b", "k", "null" },
		{ "b/k?versionId=a%2Fb", "b", "k", "a/b" },
	};
	static const char *const bad[] = { "", "/", "b", "/b", "b/", "/b/",
		"//k", "b/%00", "b/%zz", "b/%ff",
		"b/k?versionId=", "?versionId=x", "%2F", "b/k?versionId=%00" };
	struct arena *a = arena_new(65536);
	struct str b, k, v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (copy_source_parse(str_of(good[i].in), a, &b, &k, &v) < 0 ||
		    !str_eqz(b, good[i].bucket) || !str_eqz(k, good[i].key) ||
		    (v.p == NULL) != (good[i].version == NULL) ||
		    (v.p != NULL && !str_eqz(v, good[i].version)))
			fail_msg("source '%s'", good[i].in);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (copy_source_parse(str_of(bad[i]), a, &b, &k, &v) == 0)
			fail_msg("bad source '%s'", bad[i]);
	assert_int_equal(copy_source_parse(STR_NULL, a, &b, &k, &v),
	    ERR_INVALID_ARGUMENT);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_copy_range),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_checksum_text),
		cmocka_unit_test(test_checksum_types),
		cmocka_unit_test(test_copy_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
