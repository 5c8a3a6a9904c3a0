/* tests/unit/s3/test_hasher.c - digests beside the worker are the same. */
#include "gateway/s3/hasher.h"
#include "lib/thread.h"
#include "tests/unit/s3/fake_http.h"

#include <sched.h>
#include <setjmp.h>

#include <cmocka.h>

#define MASK                                                                   \
	(HASH_BIT(HASH_MD5) | HASH_BIT(HASH_SHA256) | HASH_BIT(HASH_CRC32C))

enum {
	PIECES = 100,
	SIZE = 10007
};

static unsigned char data[3][SIZE];

static void
fill(unsigned char *p, unsigned seed)
{
	for (size_t i = 0; i < SIZE; i++)
		p[i] = (unsigned char)(i * 31 + seed * 7 + (i >> 8));
}

/* Three buffers in turn, refilled as soon as they were waited for (A1). */
static void
test_same(void **state)
{
	struct hash_values a, b;
	struct hashes alone, beside;
	struct hasher *x;
	uint64_t mark[3] = { 0 };

	(void)state;
	hashes_init(&alone, MASK);
	hashes_init(&beside, MASK);
	x = hasher_start(&beside);
	if (x == NULL)
		skip(); /* one processor */
	for (unsigned i = 0; i < PIECES; i++) {
		size_t n = i % 5 == 0 ? 1 : SIZE;

		hasher_wait(x, mark[i % 3]);
		fill(data[i % 3], i);
		hashes_update(&alone, data[i % 3], n);
		hasher_add(x, data[i % 3], n);
		mark[i % 3] = hasher_mark(x);
	}
	hasher_wait(x, hasher_mark(x));
	hasher_stop(&x);
	assert_null(x);
	hashes_final(&alone, &a);
	hashes_final(&beside, &b);
	assert_int_equal(a.mask, b.mask);
	assert_memory_equal(a.v[HASH_MD5], b.v[HASH_MD5], 16);
	assert_memory_equal(a.v[HASH_SHA256], b.v[HASH_SHA256], 32);
	assert_memory_equal(a.v[HASH_CRC32C], b.v[HASH_CRC32C], 4);
}

/* More than its queue without a wait between; broken off with work left. */
static void
test_stop(void **state)
{
	struct hashes h;
	struct hasher *x;

	(void)state;
	hashes_init(&h, MASK);
	x = hasher_start(&h);
	for (unsigned i = 0; x != NULL && i < PIECES; i++)
		hasher_add(x, data[i % 3], SIZE);
	hasher_stop(&x);
	hasher_stop(&x);
}

/* Who has to wait for the oldest of eight waits for half of them. */
static void
test_far(void **state)
{
	struct hash_values a, b;
	struct hashes alone, beside;
	struct hasher *x;
	uint64_t mark[8] = { 0 };
	static unsigned char ring[8][SIZE];

	(void)state;
	hashes_init(&alone, MASK);
	hashes_init(&beside, MASK);
	x = hasher_start(&beside);
	if (x == NULL)
		skip(); /* one processor */
	for (unsigned i = 0; i < PIECES; i++) {
		hasher_wait_far(x, mark[i % 8], mark[(i + 3) % 8]);
		fill(ring[i % 8], i);
		hashes_update(&alone, ring[i % 8], SIZE);
		hasher_add(x, ring[i % 8], SIZE);
		mark[i % 8] = hasher_mark(x);
	}
	hasher_wait(x, hasher_mark(x));
	hasher_wait_far(x, 0, hasher_mark(x));
	hasher_stop(&x);
	hashes_final(&alone, &a);
	hashes_final(&beside, &b);
	assert_memory_equal(a.v[HASH_MD5], b.v[HASH_MD5], 16);
	assert_memory_equal(a.v[HASH_SHA256], b.v[HASH_SHA256], 32);
}

/* As many as there are processors, and again once they have gone. */
static void
test_limit(void **state)
{
	struct hasher *all[1024];
	struct hashes h[1];
	size_t first = 0;

	(void)state;
	hashes_init(h, MASK);
	for (int round = 0; round < 2; round++) {
		size_t n = 0;

		while (n < 1024 && (all[n] = hasher_start(h)) != NULL)
			n++;
		assert_true(n < 1024);
		if (round == 0)
			first = n;
		assert_int_equal(n, first);
		while (n > 0)
			hasher_stop(&all[--n]);
	}
}

static int
n_cpus(void)
{
	cpu_set_t cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	return CPU_COUNT(&cpus);
}

static bool
may_choose_cpus(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
	       CPU_COUNT(&cpus) > 1 &&
	       sched_setaffinity(0, sizeof(cpus), &cpus) == 0;
}

/* A2: off one processor with one hasher, on all with two, and afterwards. */
static void
test_keeps_off(void **state)
{
	struct hasher *one, *two;
	struct hashes h[2];
	int all = n_cpus();

	(void)state;
	if (!may_choose_cpus())
		skip();
	hashes_init(&h[0], MASK);
	hashes_init(&h[1], MASK);
	one = hasher_start(&h[0]);
	if (one == NULL)
		skip(); /* one processor */
	assert_int_equal(n_cpus(), all);
	hasher_add(one, data[0], SIZE);
	hasher_wait(one, hasher_mark(one));
	hasher_wait(one, hasher_mark(one)); /* it has told where it is */
	assert_int_equal(n_cpus(), all - 1);
	two = hasher_start(&h[1]);
	assert_non_null(two);
	hasher_wait(one, hasher_mark(one));
	assert_int_equal(n_cpus(), all);
	hasher_stop(&two);
	hasher_wait(one, hasher_mark(one));
	assert_int_equal(n_cpus(), all - 1);
	hasher_stop(&one);
	assert_int_equal(n_cpus(), all);
}

/* A process that was given one processor of many has no use for a thread. */
static void
test_one_of_many(void **state)
{
	cpu_set_t all, one;
	struct hasher *x;
	struct hashes h;
	int cpu = 0;

	(void)state;
	if (!may_choose_cpus())
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET((unsigned)cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET((unsigned)cpu, &one);
	hashes_init(&h, MASK);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	x = hasher_start(&h);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_null(x);
	x = hasher_start(&h);
	assert_non_null(x);
	hasher_stop(&x);
}

static void *
nothing(void *arg)
{
	pthread_barrier_wait(arg);
	return NULL;
}

/* On how many processors is a thread that this one starts? */
static int
n_cpus_of_new(void)
{
	pthread_barrier_t seen;
	struct err e = ERR_INIT;
	cpu_set_t cpus;
	pthread_t t;

	assert_int_equal(pthread_barrier_init(&seen, NULL, 2), 0);
	assert_int_equal(thread_start(&t, "new", nothing, &seen, &e), 0);
	assert_int_equal(pthread_getaffinity_np(t, sizeof(cpus), &cpus), 0);
	pthread_barrier_wait(&seen);
	thread_join(t);
	pthread_barrier_destroy(&seen);
	return CPU_COUNT(&cpus);
}

/* A line to a storage, say, which outlives the request. */
static void
test_others_do_not(void **state)
{
	struct hasher *x;
	struct hashes h;
	int all = n_cpus();

	(void)state;
	if (!may_choose_cpus())
		skip();
	hashes_init(&h, MASK);
	x = hasher_start(&h);
	if (x == NULL)
		skip(); /* one processor */
	hasher_add(x, data[0], SIZE);
	hasher_wait(x, hasher_mark(x));
	hasher_wait(x, hasher_mark(x)); /* it has told where it is */
	assert_int_equal(n_cpus(), all - 1);
	assert_int_equal(n_cpus_of_new(), all);
	hasher_stop(&x);
	assert_int_equal(n_cpus_of_new(), all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_far),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_keeps_off),
		cmocka_unit_test(test_one_of_many),
		cmocka_unit_test(test_others_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
