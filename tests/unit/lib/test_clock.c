/* tests/unit/lib/test_clock.c - times and their formats, against the C
 * library's. */
#include "lib/clock.h"
#include "lib/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static int64_t
http(const char *z)
{
	return clock_parse_http(z, strlen(z));
}

static int64_t
iso(const char *z)
{
	return clock_parse_iso(z, strlen(z));
}

static int64_t
basic(const char *z)
{
	return clock_parse_basic(z, strlen(z));
}

static void
test_against_libc(void **state)
{
	static const int64_t edges[] = { 0, 1, 59, 86399, 86400, 951782399,
		951782400, 951868800, 1077926399, 1709164800, 4107542399,
		253402300799 };

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		size_t n = sizeof(edges) / sizeof(edges[0]);
		int64_t s =
		    i < n ? edges[i] : (int64_t)(rand_u64() % 253402300800u);
		time_t t = (time_t)s;
		char got[40], want[40];
		struct tm tm;

		assert_non_null(gmtime_r(&t, &tm));
		strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		clock_fmt_http(s, got);
		assert_string_equal(got, want);
		assert_int_equal(http(got), s);
		strftime(want, sizeof(want), "%Y%m%dT%H%M%SZ", &tm);
		clock_fmt_basic(s, got);
		assert_string_equal(got, want);
		assert_int_equal(basic(got), s);
		if (s > 9000000000) /* the next one counts nanoseconds */
			continue;
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.678Z", &tm);
		clock_fmt_iso(s * 1000000000 + 678999999, got);
		assert_string_equal(got, want);
		assert_int_equal(iso(got), s);
		strftime(want, sizeof(want), "%a %b %e %H:%M:%S %Y", &tm);
		assert_int_equal(http(want), s);
	}
}

static void
test_forms(void **state)
{
	char got[40];

	(void)state;
	assert_int_equal(http("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
	assert_int_equal(http("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
	assert_int_equal(http("Sun Nov  6 08:49:37 1994"), 784111777);
	assert_int_equal(http(" Sun, 06 Nov 1994 08:49:37 GMT "), 784111777);
	assert_int_equal(iso("1994-11-06T08:49:37Z"), 784111777);
	assert_int_equal(iso("1994-11-06T08:49:37.123456789Z"), 784111777);
	assert_int_equal(iso("1994-11-06T10:49:37+02:00"), 784111777);
	assert_int_equal(iso("1994-11-06T03:19:37-05:30"), 784111777);
	assert_int_equal(basic("19941106T084937Z"), 784111777);
	clock_fmt_iso(-1, got);
	assert_string_equal(got, "1970-01-01T00:00:00.999Z"); /* clamped */
	clock_fmt_http(INT64_MAX, got);
	assert_string_equal(got, "Fri, 31 Dec 9999 23:59:59 GMT");
}

static void
test_bad(void **state)
{
	static const char *const bad[] = { "", "x", "Sun, 06 Nov 1994 08:49:37",
		"Sun, 31 Feb 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 Nov 1994 08:49:37 GMTx",
		"Xun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 29 Feb 1900 08:49:37 GMT",
		"Sunda, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37",
		"1994-11-06T08:49:37.Z", "1994-11-06T08:49:37.1",
		"1994-11-06 08:49:37Z", "1994-11-06T08:49:37+02",
		"1994-11-06T08:49:37+24:00", "1994-11-06T08:49:37+00:60",
		"1994-13-06T08:49:37Z", "1994-11-06T08:49:37.1234567890Z",
		"19941106T084937", "19941106T084937Zx", "19941306T084937Z",
		"19940229T084937Z", "1994110 T084937Z", "-9941106T084937Z" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (http(bad[i]) != -1 || iso(bad[i]) != -1 ||
		    basic(bad[i]) != -1)
			fail_msg("taken: %s", bad[i]);
	}
}

static void
test_shift(void **state)
{
	int64_t real = clock_real_ns(), mono = clock_mono_ns();
	int64_t hour = (int64_t)3600 * 1000000000;

	(void)state;
	assert_true(real / 1000000000 - (int64_t)time(NULL) <= 1);
	clock_shift(hour);
	assert_true(clock_real_ns() - real >= hour);
	assert_true(clock_mono_ns() - mono >= hour);
	assert_true(clock_real_s() >= real / 1000000000 + 3600);
	clock_shift(-hour);
	assert_true(clock_mono_ns() - mono < hour);
	mono = clock_mono_ns();
	clock_sleep_ms(3);
	clock_sleep_ms(0);
	clock_sleep_ms(-4);
	assert_true(clock_mono_ns() - mono >= 3000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_libc),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_shift),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
