/* The search for a header block's end, held against civetweb's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/civetweb_unit.h"
#include "lib/rand.h"

#include <string.h>

/* What matters to it, often; all else now and then. */
static char
any_byte(void)
{
	static const char some[] = "\r\n\r\n\r\naZ ~:\t\x7f\x1f\x80";
	uint64_t v = rand_u64();

	if (v % 50 == 0)
		return (char)(v >> 32);
	if (v % 4 == 0)
		return some[(v >> 32) % (sizeof(some) - 1)];
	return v % 3 == 0 ? "\r\n"[(v >> 32) % 2] : 'x';
}

static void
test_random(void **state)
{
	char b[64];

	(void)state;
	for (int i = 0; i < 300000; i++) {
		int n = (int)(rand_u64() % sizeof(b));

		for (int k = 0; k < n; k++)
			b[k] = i % 2 == 0 ? any_byte() : 'a';
		for (int k = 0; i % 2 == 1 && k < 4 && n > 0; k++)
			b[rand_u64() % (unsigned)n] = any_byte();
		assert_int_equal(unit_header_len(b, n),
		    unit_header_len_as_theirs(b, n));
	}
}

static void
test_each_byte(void **state)
{
	char b[32];

	(void)state;
	for (int c = 0; c < 256; c++) {
		for (int at = 0; at < 20; at++) {
			memset(b, 'y', sizeof(b));
			memcpy(b + 20, "\r\n\r\n", 4);
			b[at] = (char)c;
			assert_int_equal(unit_header_len(b, 32),
			    unit_header_len_as_theirs(b, 32));
			memcpy(b + 20, "zzzz", 4);
			assert_int_equal(unit_header_len(b, 32),
			    unit_header_len_as_theirs(b, 32));
		}
	}
	assert_int_equal(unit_header_len(b, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_each_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
