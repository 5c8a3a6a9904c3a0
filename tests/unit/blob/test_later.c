/* tests/unit/blob/test_later.c - small reads that nobody waits for: from which
 * node, what is not taken for an answer, and that each ends once whatever becomes
 * of its node. */
#include "gateway/blob/cluster_int.h"
#include "tests/unit/blob/fake_cluster.h"

static const char *const three[] = { "group1", "group1", "group1" };
static const char *const one[] = { "group1" };

static struct fake fake;
static struct blob *blob;
static struct blob_info file;

#define N 40
static struct read {
	struct blob_later later;
	char dst[16];
	atomic_int ended;
	int rc;
} reads[N];

static void
begin(const char *const *groups, unsigned n)
{
	struct blob_owner o = { .class = BLOB_CLASS_S3,
		.index_id = id128_new(),
		.write_id = id128_new() };
	struct err e = ERR_INIT;

	fake_open(&fake, groups, n);
	blob = fake_gateway(&fake, NULL, NULL);
	assert_int_equal(blob_cluster_take(blob, &o.index_id, 1, &e), 0);
	assert_int_equal(blob_put_whole(blob, STR_LIT("group1"), &o,
			     STR_LIT("0123456789"), &file, &e),
	    0);
	assert_true(blob_may_read_later(blob));
}

static void
end(void)
{
	fake.stop = true;
	blob_close(&blob);
	fake_close(&fake);
}

static void
on_end(void *arg, int rc)
{
	struct read *r = arg;

	r->rc = rc;
	atomic_fetch_add(&r->ended, 1);
}

static bool
read_later(struct read *r, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->later.fn = on_end;
	r->later.arg = r;
	return blob_read_later(blob, str_of(file.id), 0, r->dst, len,
	    &r->later);
}

static void
wait_ended(struct read *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (int k = 0; atomic_load(&r[i].ended) == 0; k++) {
			assert_true(k < 10000);
			clock_sleep_ms(1);
		}
	clock_sleep_ms(5);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(atomic_load(&r[i].ended), 1);
}

/* Connections to @n nodes. */
static void
warm_up(size_t n)
{
	size_t done = 0;

	for (int i = 0; done < n; i++) {
		assert_true(i < 5000);
		if (read_later(reads, 10)) {
			wait_ended(reads, 1);
			assert_int_equal(reads->rc, 0);
		}
		done = 0;
		for (unsigned k = 0; k < fake.n_nodes; k++)
			done += fake.node[k].nows > 0;
		clock_sleep_ms(2);
	}
}

static void
test_read(void **state)
{
	unsigned before[3];
	size_t taken = 0;

	(void)state;
	begin(three, 3);
	warm_up(3);
	for (int k = 0; k < 3; k++)
		before[k] = fake.node[k].nows;
	for (size_t i = 0; i < N; i++) {
		assert_true(read_later(&reads[i], 10));
		taken++;
	}
	wait_ended(reads, taken);
	for (size_t i = 0; i < taken; i++) {
		assert_int_equal(reads[i].rc, 0);
		assert_memory_equal(reads[i].dst, "0123456789", 10);
	}
	for (int k = 0; k < 3; k++) { /* in turn */
		assert_true(fake.node[k].nows - before[k] >= N / 3);
		assert_int_equal(fake.node[k].reads, 0);
	}
	end();
}

static void
test_not_begun(void **state)
{
	static char room[65536];
	struct blob_later l = { .fn = on_end };

	(void)state;
	begin(one, 1);
	/* Until there is a connection. */
	assert_false(read_later(reads, 10));
	warm_up(1);
	assert_false(blob_read_later(blob, STR_LIT("group9/M00/00/00/x"), 0,
	    room, 10, &l));
	assert_false(
	    blob_read_later(blob, STR_LIT("nonsense"), 0, room, 10, &l));
	assert_false(
	    blob_read_later(blob, str_of(file.id), 0, room, 65536, &l));
	blob_cluster_hurry(blob, 10000);
	assert_false(read_later(reads, 10));
	end();
}

/* Not all of it, changed on its way, damaged, not there: no bytes. */
static void
test_bad_answers(void **state)
{
	(void)state;
	begin(one, 1);
	warm_up(1);
	assert_true(read_later(reads, 12));
	wait_ended(reads, 1);
	assert_int_equal(reads->rc, ERR_CORRUPT);
	for (int i = 0; i < 2000 && !read_later(reads, 10); i++)
		;
	wait_ended(reads, 1);
	assert_int_equal(reads->rc, 0);
	fake.node[0].mood = FAKE_GARBLED;
	assert_true(read_later(reads, 10));
	wait_ended(reads, 1);
	assert_int_equal(reads->rc, ERR_CORRUPT);
	fake.node[0].mood = FAKE_ROTTEN;
	for (int i = 0; i < 2000 && !read_later(reads, 10); i++)
		;
	wait_ended(reads, 1);
	assert_int_equal(reads->rc, ERR_RETRY);
	end();
}

/* What is seldom at hand is seldom asked for, until it is again. */
static void
test_cold_node(void **state)
{
	unsigned asked = 0;

	(void)state;
	begin(one, 1);
	warm_up(1);
	fake.node[0].is_cold = true;
	for (int i = 0; i < 1000; i++)
		if (read_later(reads, 10)) {
			wait_ended(reads, 1);
			assert_int_equal(reads->rc, ERR_RETRY);
			asked++;
		}
	assert_in_range(asked, 10, 30);
	fake.node[0].is_cold = false;
	for (int i = 0; i < 100; i++)
		if (read_later(reads, 10))
			wait_ended(reads, 1);
	assert_int_equal(reads->rc, 0);
	for (int i = 0; i < 10; i++) {
		assert_true(read_later(reads, 10));
		wait_ended(reads, 1);
		assert_int_equal(reads->rc, 0);
	}
	end();
}

/* C2: whatever was under way ends, the node is asked last for a while, and its
 * bytes come from the others. */
static void
leave_in_flight(int mood)
{
	struct err e = ERR_INIT;
	size_t taken = 0, failed = 0;
	unsigned before;
	int64_t t;
	char got[16];
	size_t n;

	begin(three, 3);
	warm_up(3);
	fake.node[1].mood = FAKE_HANGS;
	t = clock_mono_ns();
	for (size_t i = 0; i < N; i++) {
		assert_true(read_later(&reads[i], 10));
		taken++;
	}
	if (mood != FAKE_HANGS) {
		clock_sleep_ms(50);
		fake.node[1].mood = FAKE_FINE;
		fake_node_stop(&fake.node[1]);
	}
	wait_ended(reads, taken);
	assert_true(clock_mono_ns() - t < INT64_C(5000000000));
	for (size_t i = 0; i < taken; i++) {
		if (reads[i].rc == 0)
			assert_memory_equal(reads[i].dst, "0123456789", 10);
		failed += reads[i].rc != 0;
		if (mood == FAKE_HANGS && reads[i].rc != 0)
			assert_int_equal(reads[i].rc, ERR_DISCONNECTED);
	}
	if (mood == FAKE_HANGS)
		assert_true(failed >= N / 3);
	/* Not from there any more, either way. */
	before = fake.node[1].calls;
	for (size_t i = 0; mood == FAKE_HANGS && i < 20; i++) {
		assert_int_equal(blob_read_once(blob, str_of(file.id), 0, got,
				     10, &n, &e),
		    0);
		assert_true(read_later(reads, 10));
		wait_ended(reads, 1);
		assert_int_equal(reads->rc, 0);
	}
	assert_int_equal(fake.node[1].calls, before);
	end();
}

static void
test_node_hangs(void **state)
{
	(void)state;
	leave_in_flight(FAKE_HANGS);
}

static void
test_node_dies(void **state)
{
	(void)state;
	leave_in_flight(FAKE_FINE);
}

/* The gateway ends with reads under way. */
static void
test_close(void **state)
{
	size_t taken = 0;

	(void)state;
	begin(one, 1);
	warm_up(1);
	fake.node[0].mood = FAKE_HANGS;
	for (size_t i = 0; i < N; i++)
		taken += read_later(&reads[i], 10);
	assert_int_equal(taken, N);
	blob_close(&blob);
	for (size_t i = 0; i < taken; i++) {
		assert_int_equal(atomic_load(&reads[i].ended), 1);
		assert_int_equal(reads[i].rc, ERR_CLOSED);
	}
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_not_begun),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_cold_node),
		cmocka_unit_test(test_node_hangs),
		cmocka_unit_test(test_node_dies),
		cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
