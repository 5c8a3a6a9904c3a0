/* Slave names, kinds, ranges, tokens, metadata. */
#include "fdfs/meta.h"
#include "fdfs/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PLAIN "M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt"
#define BARE "M00/05/0A/fwAAA2sBLv-ARc6oAAAAAAAAAAA4341743"
#define APPENDER "M00/05/0A/fwAAA2sBLvyEA4LhAAAAAEeO0M8086.log"
#define TRUNK "M00/00/00/oYYBAGsBMkyIH8omAAAFeEEZMs8AAAAAQAAAAAAAAYA414.txt"

static const char *
slave(const char *master, const char *prefix, const char *ext)
{
	static char dst[FDFS_REMOTE_MAX + 1];
	struct err e;
	size_t n;

	if (fdfs_slave_name(str_of(master), str_of(prefix), str_of(ext), dst,
		&n, &e) < 0)
		return NULL;
	assert_int_equal(n, strlen(dst));
	assert_true(fdfs_name_is_valid(str_of(dst)));
	return dst;
}

static void
test_slave(void **state)
{
	(void)state;
	assert_string_equal(slave(PLAIN, "_150x150", "jpg"),
	    "M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887_150x150.jpg");
	assert_string_equal(slave(PLAIN, "-m", "jpg"),
	    "M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887-m.jpg");
	assert_string_equal(slave(PLAIN, "_big", ""),
	    "M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887_big");
	assert_string_equal(slave(BARE, "_big", "tar.gz"), BARE "_big.tar.gz");
	assert_null(slave(PLAIN, "-m", ""));
	assert_null(slave(PLAIN, "_big-m", ""));
	/* Valid masters whose slaves would be ".." and ".". */
	assert_null(slave("M00/05/0A/..i", ".", ""));
	assert_null(slave("M00/05/0A/.i", ".", ""));
	assert_null(slave(PLAIN, "", "jpg"));
	assert_null(slave(PLAIN, "12345678901234567", "jpg"));
	assert_null(slave(PLAIN, "/..", "jpg"));
	assert_null(slave("M00/05/0A/..", "_x", "jpg"));
	/* A slave of a slave of ... ends at 127. */
	{
		char name[FDFS_REMOTE_MAX + 1] = BARE;
		const char *next;
		int i = 0;

		while ((next = slave(name, "_1234567890", "")) != NULL) {
			memcpy(name, next, strlen(next) + 1);
			i++;
		}
		assert_int_equal(i, 7);
	}
}

static void
test_kind(void **state)
{
	enum fdfs_kind k = FDFS_NORMAL;

	(void)state;
	assert_true(fdfs_name_kind(STR_LIT(PLAIN), &k));
	assert_int_equal(k, FDFS_NORMAL);
	assert_true(fdfs_name_kind(STR_LIT(APPENDER), &k));
	assert_int_equal(k, FDFS_APPENDER);
	assert_true(fdfs_name_kind(STR_LIT(TRUNK), &k));
	assert_int_equal(k, FDFS_TRUNK);
	assert_true(fdfs_name_kind(str_of(slave(PLAIN, "_x", "")), &k));
	assert_int_equal(k, FDFS_SLAVE);
	assert_true(fdfs_name_kind(str_of(slave(PLAIN, "_150x150", "")), &k));
	assert_int_equal(k, FDFS_SLAVE);
	assert_true(
	    fdfs_name_kind(str_of(slave(APPENDER, "_150x150", "")), &k));
	assert_int_equal(k, FDFS_APPENDER);
	assert_true(fdfs_name_kind(str_of(slave(TRUNK, "_x", "jpg")), &k));
	assert_int_equal(k, FDFS_SLAVE);
	assert_false(fdfs_name_kind(STR_LIT("M00/05/0A/short.txt"), &k));
}

static void
test_range(void **state)
{
	struct err e;
	uint64_t n;

	(void)state;
	assert_int_equal(fdfs_range(10, 0, 0, &n, &e), 0);
	assert_int_equal(n, 10);
	assert_int_equal(fdfs_range(10, 6, 7, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_int_equal(fdfs_range(10, 6, 2, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(fdfs_range(10, 10, 0, &n, &e), ERR_INVALID);
	assert_int_equal(fdfs_range(10, UINT64_MAX, 1, &n, &e), ERR_INVALID);
	assert_int_equal(fdfs_range(0, 0, 0, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(fdfs_range(0, 1, 0, &n, &e), ERR_INVALID);
}

static void
test_token(void **state)
{
	struct str name = STR_LIT(PLAIN), secret = STR_LIT("FastDFS1234567890");
	char token[FDFS_TOKEN_LEN + 1] = "";
	struct str t = str_mem(token, FDFS_TOKEN_LEN);
	struct err e;

	(void)state;
	fdfs_token(name, secret, 1700000000, token);
	/* printf %s NAME SECRET TS | md5sum */
	assert_string_equal(token, "f613745241b7663cff6b8f559a1b0734");
	assert_int_equal(fdfs_token_check(name, secret, t,
			     STR_LIT("1700000000"), 1700000900, 900, &e),
	    0);
	assert_int_equal(fdfs_token_check(name, secret, t,
			     STR_LIT("1700000000"), 1700000901, 900, &e),
	    ERR_ACCESS_DENIED);
	/* The future is accepted. */
	assert_int_equal(fdfs_token_check(name, secret, t,
			     STR_LIT("1700000000"), 1600000000, 900, &e),
	    0);
	assert_int_equal(fdfs_token_check(name, secret, t,
			     STR_LIT("1700000001"), 1700000000, 900, &e),
	    ERR_ACCESS_DENIED);
	assert_int_equal(fdfs_token_check(name, STR_LIT("other"), t,
			     STR_LIT("1700000000"), 1700000000, 900, &e),
	    ERR_ACCESS_DENIED);
	assert_int_equal(fdfs_token_check(name, secret, STR_LIT(""),
			     STR_LIT("1700000000"), 1700000000, 900, &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_token_check(name, secret, t, STR_LIT("x"), 0, 900,
			     &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_token_check(name, secret, t, STR_LIT("-1"), 0,
			     900, &e),
	    ERR_INVALID);
	fdfs_token(name, secret, 0, token);
	assert_int_equal(fdfs_token_check(name, secret, t, STR_LIT("0"),
			     1700000000, 900, &e),
	    0);
}

static struct str
set(const char *old, const char *new, char flag, struct buf *b)
{
	struct err e;

	buf_reset(b);
	assert_int_equal(fdfs_meta_set(str_of(old), str_of(new), flag, b, &e),
	    0);
	return buf_str(b);
}

static void
test_meta(void **state)
{
	struct buf b = BUF_CAP(1 << 20);

	(void)state;
	assert_true(str_eqz(set("", "width\002100\001author\2bob", 'O', &b),
	    "author\2bob\1width\002100"));
	assert_true(str_eqz(set("author\2bob\1width\002100",
				"height\002200\1width\002999", 'M', &b),
	    "author\2bob\1height\002200\1width\002999"));
	assert_true(str_eqz(set("a\2b", "", 'O', &b), ""));
	assert_true(str_eqz(set("a\2b", "", 'M', &b), "a\2b"));
	assert_true(str_eqz(set("a\2b", "c\2", 'O', &b), "c\2"));
	/* The last of equals counts; bytes order, "B" before "a". */
	assert_true(str_eqz(set("", "a\0021\1B\0022\1a\0023\1a\0024", 'O', &b),
	    "B\0022\1a\0024"));
	buf_fini(&b);
}

static void
test_meta_bad(void **state)
{
	static const char *const bad[] = { "a", "a\2b\1", "\1a\2b", "\2b",
		"a\2b\2c", "a\2b\1\1c\2d" };
	struct buf b = BUF_CAP(1 << 20), big = BUF_CAP(1 << 20);
	struct fdfs_pair *pairs;
	struct err e;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(fdfs_meta_parse(str_of(bad[i]), &pairs, &n,
				     &e),
		    ERR_INVALID);
	assert_int_equal(fdfs_meta_set(STR_LIT(""), STR_LIT("a\2b"), 'x', &b,
			     &e),
	    ERR_INVALID);
	/* 64 and 256 are the longest. */
	buf_addf(&big, "%064d\002%0256d", 0, 0);
	assert_int_equal(fdfs_meta_parse(buf_str(&big), &pairs, &n, &e), 0);
	assert_int_equal(n, 1);
	free(pairs);
	buf_addc(&big, '0');
	assert_int_equal(fdfs_meta_parse(buf_str(&big), &pairs, &n, &e),
	    ERR_INVALID);
	buf_reset(&big);
	buf_addf(&big, "%065d\2", 0);
	assert_int_equal(fdfs_meta_parse(buf_str(&big), &pairs, &n, &e),
	    ERR_INVALID);
	/* Merging does not grow without end. */
	buf_reset(&big);
	for (int i = 0; i < 900; i++)
		buf_addf(&big, "%sold%04d\2%0250d", i ? "\1" : "", i, 0);
	assert_int_equal(fdfs_meta_set(buf_str(&big), STR_LIT("a\2b"), 'M', &b,
			     &e),
	    0);
	{
		struct buf more = BUF_CAP(1 << 20);

		for (int i = 0; i < 900; i++)
			buf_addf(&more, "%snew%04d\2%0250d", i ? "\1" : "", i,
			    0);
		assert_int_equal(fdfs_meta_set(buf_str(&big), buf_str(&more),
				     'M', &b, &e),
		    ERR_TOO_BIG);
		buf_fini(&more);
	}
	buf_reset(&big);
	for (int i = 0; i < FDFS_META_PAIRS + 1; i++)
		buf_addf(&big, "%s%d\2", i ? "\1" : "", i);
	assert_int_equal(fdfs_meta_parse(buf_str(&big), &pairs, &n, &e),
	    ERR_INVALID);
	buf_fini(&b);
	buf_fini(&big);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slave),
		cmocka_unit_test(test_kind),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_meta),
		cmocka_unit_test(test_meta_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
