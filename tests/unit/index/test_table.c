/* tests/unit/index/test_table.c - the ordered table in memory, and the bytes
 * of transactions that go into it. */
#include "gateway/index/ops.h"
#include "gateway/index/table.h"
#include "model.h"

#include "lib/bytes.h"
#include "lib/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static void
key_of(char buf[16], uint32_t i)
{
	/* Not in the order of the numbers. */
	put_be32(buf, i * 2654435761u);
	put_be32(buf + 4, i);
}

static void
test_order_and_versions(void **state)
{
	struct table *t = table_new();
	struct rng r = { 1 };
	struct model at[8] = { 0 }, m = { 0 };
	struct table_iter it;
	struct err e = ERR_INIT;
	struct str raw;
	char key[16], value[16] = "vvvvvvvv";

	(void)state;
	assert_non_null(t);
	assert_true(table_is_empty(t));
	for (uint64_t seq = 1; seq <= 4000; seq++) {
		key_of(key, rng_below(&r, 300));
		put_le64(value + 8, seq);
		if (rng_below(&r, 4) == 0) {
			OK(table_put(t, str_mem(key, 8), STR_NULL, seq, &e));
			model_del(&m, str_mem(key, 8));
		} else {
			OK(table_put(t, str_mem(key, 8), str_mem(value, 16),
			    seq, &e));
			model_put(&m, str_mem(key, 8), str_mem(value, 16));
		}
		if (seq % 500 == 0)
			at[seq / 500 - 1] = model_clone(&m);
	}
	/* Each sequence's state is still to be seen. */
	for (unsigned j = 0; j < 8; j++) {
		size_t i = 0;

		table_seek(&it, t, STR_NULL, (j + 1) * 500);
		for (; it.node != NULL; table_next(&it)) {
			if (it.raw.p == NULL)
				continue;
			assert_true(str_eq(it.key, model_key(&at[j], i)));
			assert_true(str_eq(it.raw, model_value(&at[j], i)));
			assert_true(table_get(t, it.key, (j + 1) * 500, &raw));
			assert_true(str_eq(raw, it.raw));
			i++;
		}
		assert_int_equal(i, at[j].n);
		model_fini(&at[j]);
	}
	assert_false(table_get(t, STR_LIT("absent"), 4000, &raw));
	assert_false(table_get(t, model_key(&m, 0), 0, &raw));
	model_fini(&m);
	table_unref(&t);
}

static void
test_retract(void **state)
{
	struct table *t = table_new();
	struct err e = ERR_INIT;
	struct table_iter it;
	struct str raw;

	(void)state;
	OK(table_put(t, STR_LIT("a"), STR_LIT("old-----"), 1, &e));
	OK(table_put(t, STR_LIT("a"), STR_LIT("new-----"), 2, &e));
	OK(table_put(t, STR_LIT("b"), STR_LIT("new-----"), 2, &e));
	OK(table_put(t, STR_LIT("a"), STR_NULL, 2, &e));
	assert_true(table_get(t, STR_LIT("a"), 2, &raw));
	assert_null(raw.p);
	table_retract(t, STR_LIT("a"), 2);
	table_retract(t, STR_LIT("b"), 2);
	table_retract(t, STR_LIT("c"), 2);
	assert_true(table_get(t, STR_LIT("a"), 9, &raw));
	assert_true(str_eq(raw, STR_LIT("old-----")));
	assert_false(table_get(t, STR_LIT("b"), 9, &raw));
	table_seek(&it, t, STR_NULL, 9);
	assert_true(str_eq(it.key, STR_LIT("a")));
	table_next(&it);
	assert_null(it.node);
	OK(table_put(t, STR_LIT("b"), STR_LIT("again---"), 2, &e));
	assert_true(table_get(t, STR_LIT("b"), 2, &raw));
	table_unref(&t);
}

static void
test_big_and_bounded(void **state)
{
	struct table *t = table_new();
	struct err e = ERR_INIT;
	struct str raw;
	char *big = calloc(1, 1 << 20);
	char key[16];
	unsigned long n;

	(void)state;
	assert_true(table_bytes(t) < 4096);
	for (uint32_t i = 0; i < 20; i++) {
		key_of(key, i);
		memset(big, (int)i, 1 << 20);
		OK(table_put(t, str_mem(key, 8), str_mem(big, 1 << 20), i, &e));
		OK(table_put(t, str_mem(key, 7), STR_LIT("small---"), i, &e));
	}
	assert_true(table_bytes(t) >= 20u << 20);
	assert_true(table_bytes(t) < 21u << 20);
	for (uint32_t i = 0; i < 20; i++) {
		key_of(key, i);
		memset(big, (int)i, 1 << 20);
		assert_true(table_get(t, str_mem(key, 8), 100, &raw));
		assert_true(str_eq(raw, str_mem(big, 1 << 20)));
	}
	/* Without memory nothing changes. */
	for (n = 1; n < 100; n++) {
		int rc;

		key_of(key, 1000 + (uint32_t)n);
		fault_arm(FAULT_ALLOC, n, ENOMEM, false);
		rc = table_put(t, str_mem(key, 8), str_mem(big, 1 << 19), 200,
		    &e);
		fault_disarm();
		if (!fault_fired())
			break;
		assert_int_equal(rc, ERR_NO_MEMORY);
		assert_false(table_get(t, str_mem(key, 8), 200, &raw));
	}
	assert_true(n > 1 && n < 100);
	free(big);
	table_unref(&t);
}

/* --- one writer, many readers --- */

static struct table *shared;
static _Atomic uint64_t published;
static _Atomic int bad;

/* At sequence s every key holds s, but those that are deleted at s. */
static void *
reader(void *arg)
{
	struct table_iter it;
	uint64_t seq, last = 0;

	(void)arg;
	while ((seq = atomic_load(&published)) < 400) {
		size_t n = 0;
		struct str before = STR_NULL;

		table_seek(&it, shared, STR_NULL, seq);
		for (; it.node != NULL; table_next(&it)) {
			if (before.p != NULL && str_cmp(before, it.key) >= 0)
				atomic_store(&bad, 1);
			before = it.key;
			if (it.raw.p == NULL)
				continue;
			n++;
			if (get_le64(it.raw.p) != seq)
				atomic_store(&bad, 2);
		}
		if (seq > 0 && n != 50)
			atomic_store(&bad, 3);
		if (seq < last)
			atomic_store(&bad, 4);
		last = seq;
	}
	return NULL;
}

static void
test_concurrent(void **state)
{
	pthread_t threads[3];
	struct err e = ERR_INIT;
	char key[16], value[8];

	(void)state;
	shared = table_new();
	assert_non_null(shared);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, reader, NULL);
	for (uint64_t seq = 1; seq <= 400; seq++) {
		/* 50 keys that were new 10 rounds ago move on. */
		for (uint32_t i = 0; i < 50; i++) {
			if (seq > 1 && i < 5) {
				key_of(key, (uint32_t)(seq - 1) * 5 + i + 100);
				OK(table_put(shared, str_mem(key, 8), STR_NULL,
				    seq, &e));
			}
			key_of(key, i < 5 ? (uint32_t)seq * 5 + i + 100 : i);
			put_le64(value, seq);
			OK(table_put(shared, str_mem(key, 8), str_mem(value, 8),
			    seq, &e));
		}
		atomic_store(&published, seq);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bad, 0);
	table_unref(&shared);
}

/* --- the bytes of transactions --- */

static void
test_ops(void **state)
{
	struct buf b = BUF_CAP(1 << 16);
	struct err e = ERR_INIT;
	struct ops_walk w;
	struct str raw, value;
	struct op op;
	struct rng r = { 3 };
	size_t at;

	(void)state;
	for (int i = 0; i < 5; i++) {
		OK(ops_begin(&b, &at, &e));
		for (int j = 0; j < i; j++) {
			OK(ops_put(&b, STR_LIT("key"), STR_LIT("value"), &raw,
			    &e));
			OK(ops_unwrap(STR_LIT("key"), raw, &value, &e));
			assert_true(str_eq(value, STR_LIT("value")));
			assert_int_equal(ops_unwrap(STR_LIT("kex"), raw, &value,
					     &e),
			    ERR_CORRUPT);
			OK(ops_del(&b, STR_LIT("other"), &e));
		}
		ops_end(&b, at);
	}
	w = (struct ops_walk){ .in = buf_str(&b) };
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ops_next_tx(&w, &e), 1);
		for (int j = 0; j < i; j++) {
			assert_int_equal(ops_next(&w, &op, &e), 1);
			assert_true(str_eq(op.key, STR_LIT("key")));
			assert_non_null(op.raw.p);
			assert_int_equal(ops_next(&w, &op, &e), 1);
			assert_true(str_eq(op.key, STR_LIT("other")));
			assert_null(op.raw.p);
		}
		assert_int_equal(ops_next(&w, &op, &e), 0);
	}
	assert_int_equal(ops_next_tx(&w, &e), 0);

	/* Any bytes at all: an end or an error, never a bad read. */
	for (int i = 0; i < 3000; i++) {
		size_t pos = rng_below(&r, (uint32_t)b.len);
		char *copy = model_dup(buf_str(&b));
		size_t len = rng_below(&r, 3) == 0 ? pos : b.len;
		char *exact = malloc(len + 1);
		int rc;

		copy[pos] = (char)rng_next(&r);
		memcpy(exact, copy, len);
		w = (struct ops_walk){ .in = str_mem(exact, len) };
		while ((rc = ops_next_tx(&w, &e)) > 0) {
			while ((rc = ops_next(&w, &op, &e)) > 0)
				ops_unwrap(op.key, op.raw, &value, &e);
			if (rc < 0)
				break;
		}
		assert_true(rc == 0 || rc == ERR_CORRUPT);
		free(exact);
		free(copy);
	}
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_versions),
		cmocka_unit_test(test_retract),
		cmocka_unit_test(test_big_and_bounded),
		cmocka_unit_test(test_concurrent),
		cmocka_unit_test(test_ops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
