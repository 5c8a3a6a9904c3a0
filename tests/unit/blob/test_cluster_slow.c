/* tests/unit/blob/test_cluster_slow.c - nodes that hang and nodes that are slow
 * (blob/cluster.h's C2, C7 and C8). */
#include "tests/unit/blob/cluster_driver.h"

/* C2: the first pays, the others do not. */
static void
test_node_hangs(void **state)
{
	struct blob_info i;
	int64_t t, longest = 0, all = now_ms();
	char got[16];

	(void)state;
	begin(three, 3);
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	fake.node[1].mood = FAKE_HANGS;
	for (int n = 0; n < 60; n++) {
		t = now_ms();
		assert_int_equal(get(&i, got, sizeof(got)), 0);
		if (now_ms() - t > longest)
			longest = now_ms() - t;
	}
	assert_true(longest >= 90); /* it did hang, for one */
	assert_true(longest < 1000);
	assert_true(now_ms() - all < 3000);
	end();
}

/* C8: another replica answers long before the first is given up; one that is
 * outrun time and again is not asked first any more. */
static void
test_hedged(void **state)
{
	struct blob_info i;
	int64_t t, all;
	unsigned slow = 0;
	char got[16];

	(void)state;
	fake_read_ms = 5000;
	begin(three, 3);
	fake_read_ms = 300;
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	fake.node[1].mood = FAKE_HANGS_READ;
	all = now_ms();
	for (int n = 0; n < 60; n++) {
		t = now_ms();
		memset(got, 0, sizeof(got));
		assert_int_equal(get(&i, got, sizeof(got)), 0);
		assert_memory_equal(got, "0123456789", 10);
		assert_true(now_ms() - t < 2000);
		slow += now_ms() - t >= 90;
	}
	assert_in_range(slow, 1, 30);
	assert_true(now_ms() - all < 4000);
	/* With nobody else it is waited for. */
	fake.node[0].mood = fake.node[2].mood = FAKE_HANGS_READ;
	fake.node[1].mood = FAKE_FINE;
	for (int n = 0; n < 6; n++)
		assert_int_equal(get(&i, got, sizeof(got)), 0);
	end();
}

/* C8 counts within an answer too: its first bytes promise nothing. */
static void
test_hedged_within(void **state)
{
	struct blob_info i;
	char got[16];
	int64_t t;

	(void)state;
	fake_read_ms = 5000;
	begin(three, 3);
	fake_read_ms = 300;
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	fake.node[1].mood = FAKE_STALLS;
	for (int n = 0; n < 20; n++) {
		t = now_ms();
		memset(got, 0, sizeof(got));
		assert_int_equal(get(&i, got, sizeof(got)), 0);
		assert_memory_equal(got, "0123456789", 10);
		assert_true(now_ms() - t < 2000);
	}
	assert_true(fake.node[1].reads > 0);
	end();
}

/* A bucket is made without trackers that answer, soon: each is asked once, and
 * not many of them. */
static void
test_trackers_hang(void **state)
{
	char group[BLOB_GROUP_MAX + 1];
	int64_t t;

	(void)state;
	fake_trackers = 5;
	begin(three, 3);
	fake_trackers = 1;
	fake.tracker_hangs = true;
	for (int n = 0; n < 2; n++) {
		t = now_ms();
		blob_choose_group(blob, STR_LIT(""), group);
		assert_string_equal(group, "group1");
		assert_in_range(now_ms() - t, 0, 2500);
	}
	fake.tracker_hangs = false;
	end();
}

/* C7: what waits for one that is gone is given up, however patient it is; what
 * waits for one that is slow is not. */
static void
test_watched(void **state)
{
	struct blob_owner o = { 0 };
	struct err e = ERR_INIT;
	struct blob_put *u;
	int64_t t;

	(void)state;
	fake_slow_ms = 20000;
	begin(three, 1);
	fake_slow_ms = 1500;
	o = owner_of(BLOB_CLASS_S3);
	assert_int_equal(blob_put_begin(blob, STR_LIT("group1"), &o, 100, &u,
			     &e),
	    0);
	fake.node[0].mood = FAKE_SLOW; /* but there are signs of life */
	fake.slow_ms = 4000;
	assert_int_equal(blob_put_write(u, "0123456789", 10, &e), 0);
	fake.node[0].mood = FAKE_HANGS;
	t = now_ms();
	assert_int_equal(blob_put_write(u, "0123456789", 10, &e), ERR_BUSY);
	assert_true(now_ms() - t < 4000);
	blob_put_abort(&u);
	end();
}

/* All are slow: patience, not an error. */
static void *
relent(void *arg)
{
	(void)arg;
	clock_sleep_ms(1300);
	for (unsigned i = 0; i < fake.n_nodes; i++)
		fake.node[i].mood = FAKE_FINE;
	return NULL;
}

static void
test_all_slow(void **state)
{
	struct err e = ERR_INIT;
	struct blob_info i;
	pthread_t t;
	char got[16];

	(void)state;
	begin(three, 3);
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	for (unsigned n = 0; n < 3; n++)
		fake.node[n].mood = FAKE_HANGS;
	assert_int_equal(thread_start(&t, "relent", relent, NULL, &e), 0);
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	thread_join(t);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_hangs),
		cmocka_unit_test(test_hedged),
		cmocka_unit_test(test_hedged_within),
		cmocka_unit_test(test_trackers_hang),
		cmocka_unit_test(test_watched),
		cmocka_unit_test(test_all_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
