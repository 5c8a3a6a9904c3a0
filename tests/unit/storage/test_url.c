/* Pure parts of file URLs. */
#include "storage/server/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
check(const char *header, uint64_t size, int want, uint64_t off, uint64_t len)
{
	struct url_range r[URL_RANGES];
	int n = url_ranges(str_of(header), size, r);

	assert_int_equal(n, want);
	if (n == 1) {
		assert_int_equal(r[0].off, off);
		assert_int_equal(r[0].len, len);
	}
}

static void
test_ranges(void **state)
{
	struct url_range r[URL_RANGES];

	(void)state;
	check("bytes=0-0", 1, 1, 0, 1);
	check("bytes=0-0", 0, 0, 0, 0);
	check("bytes=0-", 10, 1, 0, 10);
	check("bytes=9-", 10, 1, 9, 1);
	check("bytes=10-", 10, 0, 0, 0);
	check("bytes=3-100", 10, 1, 3, 7);
	check("bytes=-3", 10, 1, 7, 3);
	check("bytes=-100", 10, 1, 0, 10);
	check("bytes=-0", 10, 0, 0, 0);
	check("bytes= 1-2 ", 10, 1, 1, 2);
	check(" bytes=1-2", 10, 1, 1, 2);
	check("bytes=,1-2,", 10, 1, 1, 2);
	check("bytes=20-,1-2", 10, 1, 1, 2);
	check("bytes=20-,30-", 10, 0, 0, 0);
	check("bytes=9223372036854775807-", 10, 0, 0, 0);
	check("bytes=0-9223372036854775807", 10, 1, 0, 10);
	/* ignored: malformed, other units, too much */
	check("bytes=2-1", 10, -1, 0, 0);
	check("bytes=", 10, -1, 0, 0);
	check("bytes=,", 10, -1, 0, 0);
	check("bytes=-", 10, -1, 0, 0);
	check("bytes=1", 10, -1, 0, 0);
	check("bytes=+1-2", 10, -1, 0, 0);
	check("bytes=1-2x", 10, -1, 0, 0);
	check("bytes=9223372036854775808-", 10, -1, 0, 0);
	check("bytes=99999999999999999999-", 10, -1, 0, 0);
	check("items=1-2", 10, -1, 0, 0);
	check("", 10, -1, 0, 0);
	check("bytes=0-,0-", 10, -1, 0, 0);
	assert_int_equal(url_ranges(STR_LIT("bytes=0-0,2-3,-1"), 10, r), 3);
	assert_int_equal(r[2].off, 9);
	assert_int_equal(
	    url_ranges(STR_LIT("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,"
			       "9-9,10-10,11-11,12-12,13-13,14-14,15-15"),
		100, r),
	    16);
	assert_int_equal(
	    url_ranges(STR_LIT("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,"
			       "9-9,10-10,11-11,12-12,13-13,14-14,15-15,16-16"),
		100, r),
	    -1);
}

static void
test_tags(void **state)
{
	struct str tag = STR_LIT("\"abc\"");

	(void)state;
	assert_true(url_has_tag(STR_LIT("\"abc\""), tag, false));
	assert_true(url_has_tag(STR_LIT(" * "), tag, false));
	assert_true(url_has_tag(STR_LIT("\"x\", \"abc\""), tag, false));
	assert_true(url_has_tag(STR_LIT("W/\"abc\""), tag, true));
	assert_false(url_has_tag(STR_LIT("W/\"abc\""), tag, false));
	assert_false(url_has_tag(STR_LIT("abc"), tag, true));
	assert_false(url_has_tag(STR_LIT(""), tag, true));
}

static void
test_params(void **state)
{
	struct str q = STR_LIT("a=1&bb=x%20y+z&empty=&bare&bad=%zz&a=2"), v;
	char room[16];

	(void)state;
	assert_true(url_param(q, "a", room, sizeof(room), &v));
	assert_true(str_eqz(v, "1"));
	assert_true(url_param(q, "bb", room, sizeof(room), &v));
	assert_true(str_eqz(v, "x y z"));
	assert_true(url_param(q, "empty", room, sizeof(room), &v));
	assert_int_equal(v.len, 0);
	assert_true(url_param(q, "bare", room, sizeof(room), &v));
	assert_int_equal(v.len, 0);
	assert_false(url_param(q, "bad", room, sizeof(room), &v));
	assert_false(url_param(q, "b", room, sizeof(room), &v));
	assert_false(url_param(q, "bb", room, 3, &v));
	assert_false(url_param(STR_NULL, "a", room, sizeof(room), &v));
}

static void
test_types(void **state)
{
	(void)state;
	assert_string_equal(url_type(STR_LIT("M00/00/00/x.JPG")), "image/jpeg");
	assert_string_equal(url_type(STR_LIT("a.b.tar")), "application/x-tar");
	assert_string_equal(url_type(STR_LIT("x.")),
	    "application/octet-stream");
	assert_string_equal(url_type(STR_LIT("x")), "application/octet-stream");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
