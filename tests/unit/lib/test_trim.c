/* tests/unit/lib/test_trim.c - when memory is given back; how much of it comes
 * back is tests/crash/test_leftovers.py's, without sanitizers. */
#include "lib/thread.h"
#include "lib/trim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

struct look {
	int cpu_ms; /* used in the second before */
	bool is_due;
};

static void
check(const struct look *looks, size_t n)
{
	int64_t now = 0, cpu = 0;
	struct trim t = { 0 };

	for (size_t i = 0; i < n; i++) {
		now += 1000 * MS;
		cpu += looks[i].cpu_ms * MS;
		if (trim_is_due(&t, now, cpu) != looks[i].is_due)
			fail_msg("look %zu", i);
	}
}

static void
test_after_work(void **state)
{
	static const struct look looks[] = { { 900, false }, { 150, false },
		{ 20, false }, { 1, true }, { 1, false }, { 0, false } };

	(void)state;
	check(looks, sizeof(looks) / sizeof(looks[0]));
}

static void
test_never_at_work(void **state)
{
	static const struct look looks[] = { { 500, false }, { 50, false },
		{ 500, false }, { 50, false }, { 101, false },
		{ 2000, false } };

	(void)state;
	check(looks, sizeof(looks) / sizeof(looks[0]));
}

/* Hardly anything is done: now and then is enough. */
static void
test_little_work(void **state)
{
	static const struct look looks[] = { { 10, false }, { 10, false },
		{ 10, false }, { 10, false }, { 10, true }, { 10, false },
		{ 10, false }, { 10, false }, { 10, false }, { 10, true } };

	(void)state;
	check(looks, sizeof(looks) / sizeof(looks[0]));
}

static atomic_bool is_over;

static void *
work(void *arg)
{
	size_t sum = 0;

	while (!atomic_load(&is_over))
		for (size_t n = 100; n < 300000; n += n / 3) {
			char *volatile p = malloc(n);

			if (p == NULL)
				continue;
			memset(p, 7, n);
			sum += (size_t)p[n - 1];
			free(p);
		}
	*(size_t *)arg = sum;
	return NULL;
}

/* Others go on meanwhile. */
static void
test_beside_work(void **state)
{
	size_t sums[4] = { 0 };
	struct err e = ERR_INIT;
	int64_t before = trim_cpu_ns();
	pthread_t t[4];

	(void)state;
	trim_begin();
	for (int i = 0; i < 4; i++)
		assert_int_equal(thread_start(&t[i], "work", work, &sums[i],
				     &e),
		    0);
	for (int i = 0; i < 20; i++)
		trim_memory(&(struct trim){ 0 });
	atomic_store(&is_over, true);
	for (int i = 0; i < 4; i++)
		thread_join(t[i]);
	for (int i = 0; i < 4; i++)
		assert_int_equal(sums[i] % 7, 0);
	assert_true(trim_cpu_ns() > before);
}

/* What it takes itself is no reason to do it again. */
static void
test_is_no_work(void **state)
{
	int64_t before = trim_cpu_ns();
	struct trim t = { 0 };

	(void)state;
	trim_memory(&t);
	assert_true(t.done_ns > before);
	assert_true(t.done_ns <= trim_cpu_ns());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_after_work),
		cmocka_unit_test(test_never_at_work),
		cmocka_unit_test(test_little_work),
		cmocka_unit_test(test_beside_work),
		cmocka_unit_test(test_is_no_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
