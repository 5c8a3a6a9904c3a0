/* tests/unit/index/test_kv.c - the index's promises one by one (K1 to K5):
 * limits, failures, full disk, full table, a growing map, many threads. */
#include "model.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static char dir[256];
static struct kv_conf conf;

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s", test_dir());
	conf = (struct kv_conf){ .dir = dir,
		.map_size = 64 << 20,
		.table_max = 512 << 10,
		.log_segment = 256 << 10,
		.idle_flush_ms = 100,
		.event = test_event };
	return 0;
}

static int
teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	fault_disarm();
	return fs_remove_tree(dir, &e);
}

struct one {                   /* a transaction of one put or delete */
	struct str key, value; /* value.p == NULL: delete */
	bool big;
	int rc;
};

static int
one_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	struct one *o = arg;
	int rc = o->value.p == NULL ? kv_tx_del(tx, o->key, e)
	                            : kv_tx_put(tx, o->key, o->value, e);

	return rc < 0 ? rc : o->rc;
}

static int
put(struct kv *k, const char *key, struct str value, struct err *e)
{
	struct one o = { .key = str_of(key), .value = value };

	return kv_update(k, one_fn, &o, e);
}

static bool
has(struct kv *k, const char *key, const char *value)
{
	struct err e = ERR_INIT;
	struct kv_view *v;
	struct str got;
	bool r;

	assert_int_equal(kv_view_open(k, &v, &e), 0);
	r = kv_view_get(v, str_of(key), &got, &e) == 0 &&
	    str_eq(got, str_of(value));
	kv_view_close(&v);
	return r;
}

/* What the index does on its own after it was opened is done. */
static void
wait_for_spare(struct kv *k)
{
	struct kv_stat st;

	kv_get_stat(k, &st);
	for (int i = 0; st.log_bytes < 2 * conf.log_segment; i++) {
		assert_true(i < 4000);
		clock_sleep_ms(5);
		kv_get_stat(k, &st);
	}
}

static void
test_limits(void **state)
{
	struct err e = ERR_INIT;
	char *value = calloc(1, KV_VALUE_MAX + 1);
	char key[KV_KEY_MAX + 1];
	struct kv_cursor *c;
	struct kv_view *v;
	struct kv *k, *second;
	struct one o;
	struct str got;

	(void)state;
	conf.log_segment = 4 << 20;
	memset(key, 'k', sizeof(key));
	memset(value, 'v', KV_VALUE_MAX + 1);
	OK(kv_open(&conf, &k, &e));
	assert_int_equal(kv_open(&conf, &second, &e), ERR_BUSY);

	o = (struct one){ .key = str_mem(key, KV_KEY_MAX),
		.value = str_mem(value, KV_VALUE_MAX) };
	OK(kv_update(k, one_fn, &o, &e));
	o.value.len++;
	assert_int_equal(kv_update(k, one_fn, &o, &e), ERR_TOO_BIG);
	o.value.len = 1;
	o.key.len++;
	assert_int_equal(kv_update(k, one_fn, &o, &e), ERR_INVALID);
	o.key.len = 0;
	assert_int_equal(kv_update(k, one_fn, &o, &e), ERR_INVALID);
	o.key.len = 1;
	o.value.len = 0; /* empty values are values */
	OK(kv_update(k, one_fn, &o, &e));

	OK(kv_view_open(k, &v, &e));
	OK(kv_view_get(v, str_mem(key, KV_KEY_MAX), &got, &e));
	assert_int_equal(got.len, KV_VALUE_MAX);
	OK(kv_view_get(v, str_mem(key, 1), &got, &e));
	assert_int_equal(got.len, 0);
	assert_int_equal(kv_view_get(v, str_mem(key, 0), &got, &e),
	    ERR_INVALID);
	assert_int_equal(kv_cursor_open(v, str_mem(key, KV_KEY_MAX + 1),
			     STR_NULL, &c, &e),
	    ERR_INVALID);
	kv_view_close(&v);
	free(value);
	kv_close(&k);
}

/* A transaction with more in it than a segment takes. */
static int
many_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	const unsigned *n = arg;
	char key[8], value[1000] = "x";
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < *n; i++) {
		put_be64(key, i);
		rc = kv_tx_put(tx, str_mem(key, 8), str_mem(value, 1000), e);
	}
	return 0; /* a failed write fails the transaction all the same */
}

static void
test_big_transactions(void **state)
{
	struct err e = ERR_INIT;
	struct kv *k;
	struct model m = { 0 };
	unsigned n = 400;

	(void)state;
	OK(kv_open(&conf, &k, &e));
	assert_int_equal(kv_update(k, many_fn, &n, &e), ERR_TOO_BIG);
	assert_true(kv_equals(k, &m)); /* nothing of it */
	n = 200;
	OK(kv_update(k, many_fn, &n, &e));
	kv_close(&k);
	OK(kv_open(&conf, &k, &e));
	assert_false(kv_equals(k, &m));
	kv_close(&k);
}

static void
test_log_failure(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC };
	struct err e = ERR_INIT;
	struct kv_stat st;
	struct kv *k;

	(void)state;
	for (int i = 0; i < 2; i++) {
		OK(kv_open(&conf, &k, &e));
		OK(put(k, "a", STR_LIT("1"), &e));
		OK(kv_flush(k, &e));
		wait_for_spare(k);
		fault_arm(kinds[i], 1, EIO, false);
		assert_int_equal(put(k, "a", STR_LIT("2"), &e), ERR_FAILED);
		assert_true(fault_fired());
		fault_disarm();
		/* Reads go on, without what failed; writes do not. */
		assert_true(has(k, "a", "1"));
		assert_int_equal(put(k, "a", STR_LIT("3"), &e), ERR_FAILED);
		kv_get_stat(k, &st);
		assert_true(st.is_failed);
		kv_close(&k);
		OK(kv_open(&conf, &k, &e));
		assert_true(has(k, "a", "1"));
		OK(put(k, "a", STR_LIT("1"), &e));
		kv_close(&k);
	}
}

/* A job, and how it ended. */
struct post {
	struct kv_job j;
	struct one o;
	char key[24];
	struct err e;
	int rc; /* what it is posted with */
	bool more;
	int ended;
	_Atomic int n_ended;
};

static void
post_done(void *arg, int rc)
{
	struct post *p = arg;

	p->ended = rc;
	atomic_fetch_add(&p->n_ended, 1);
}

static int
post_wait(struct post *p)
{
	while (atomic_load(&p->n_ended) == 0)
		clock_sleep_ms(1);
	return p->ended;
}

/* K3 for those who write nothing: they read what is not durable yet. */
static _Atomic int slow_begun, slow_may_go;

static int
slow_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	(void)arg;
	atomic_store(&slow_begun, 1);
	while (!atomic_load(&slow_may_go)) /* others queue up behind it */
		clock_sleep_ms(1);
	return kv_tx_put(tx, STR_LIT("slow"), STR_LIT("x"), e);
}

static int
write_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	(void)arg;
	return kv_tx_put(tx, STR_LIT("w"), STR_LIT("new"), e);
}

static int
read_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	struct str got;

	(void)arg;
	if (kv_tx_get(tx, STR_LIT("w"), &got, e) == 0)
		return err_set(e, ERR_PRECONDITION_FAILED, "it is there");
	return err_set(e, ERR_NOT_FOUND, NULL);
}

static int slow_rc;

static void *
slow_main(void *arg)
{
	struct err e = ERR_INIT;

	slow_rc = kv_update(arg, slow_fn, NULL, &e);
	return NULL;
}

static void
test_answers_wait(void **state)
{
	static const kv_fn fns[] = { write_fn, read_fn };
	struct post p[2] = { 0 };
	struct err e = ERR_INIT;
	pthread_t t;
	struct kv *k;

	(void)state;
	OK(kv_open(&conf, &k, &e));
	wait_for_spare(k);
	atomic_store(&slow_begun, 0);
	atomic_store(&slow_may_go, 0);
	pthread_create(&t, NULL, slow_main, k);
	while (!atomic_load(&slow_begun))
		clock_sleep_ms(1);
	for (int i = 0; i < 2; i++) {
		OK(kv_job_begin(k, &p[i].j, 0, fns[i], NULL, &p[i].e));
		kv_job_post(&p[i].j, 0, false, post_done, &p[i]);
	}
	/* The slow one's sync is let through, that of the two fails. */
	fault_arm(FAULT_SYNC, 2, EIO, false);
	atomic_store(&slow_may_go, 1);
	pthread_join(t, NULL);
	assert_int_equal(slow_rc, 0);
	assert_int_equal(post_wait(&p[0]), ERR_FAILED);
	/* Not "it is there": that would have been of a lost write. */
	assert_int_equal(post_wait(&p[1]), ERR_FAILED);
	fault_disarm();
	assert_true(has(k, "slow", "x"));
	assert_false(has(k, "w", "new"));
	kv_close(&k);
}

/* Jobs: posted by others, many at once, some given up. */
static void *
post_main(void *arg)
{
	struct post *p = arg;

	kv_job_post(&p->j, p->rc, p->more, post_done, p);
	return NULL;
}

static void
test_jobs(void **state)
{
	enum {
		N = 48
	};
	struct post *p = calloc(N, sizeof(*p));
	struct err e = ERR_INIT;
	pthread_t t[N];
	struct kv *k;

	(void)state;
	OK(kv_open(&conf, &k, &e));
	for (int i = 0; i < N; i++) {
		snprintf(p[i].key, sizeof(p[i].key), "job%d", i);
		p[i].o.key = str_of(p[i].key);
		p[i].o.value = STR_LIT("v");
		p[i].o.rc = i % 5 == 4 ? ERR_NOT_FOUND : 0;
		p[i].rc = i % 3 == 2 ? ERR_FAILED : 0;
		OK(kv_job_begin(k, &p[i].j, 0, one_fn, &p[i].o, &p[i].e));
	}
	for (int i = 0; i < N; i++) {
		if (i % 8 == 7) /* by its owner */
			kv_job_post(&p[i].j, p[i].rc, p[i].more, post_done,
			    &p[i]);
		else
			pthread_create(&t[i], NULL, post_main, &p[i]);
	}
	for (int i = 0; i < N; i++) {
		int want = p[i].rc < 0 ? p[i].rc : p[i].o.rc;

		assert_int_equal(post_wait(&p[i]), want);
		assert_int_equal(has(k, p[i].key, "v"), want == 0);
		if (i % 8 != 7)
			pthread_join(t[i], NULL);
	}
	kv_close(&k);
	for (int i = 0; i < N; i++)
		assert_int_equal(p[i].n_ended, 1);
	OK(kv_open(&conf, &k, &e));
	for (int i = 0; i < N; i++)
		assert_int_equal(has(k, p[i].key, "v"),
		    p[i].rc == 0 && p[i].o.rc == 0);
	kv_close(&k);
	free(p);
}

/* A group whose last one has failed before it came here: the others go on. */
static void
test_job_group_ends_badly(void **state)
{
	struct post p[2] = { 0 };
	struct err e = ERR_INIT;
	struct kv *k;

	(void)state;
	OK(kv_open(&conf, &k, &e));
	for (int i = 0; i < 2; i++) {
		snprintf(p[i].key, sizeof(p[i].key), "bad%d", i);
		p[i].o.key = str_of(p[i].key);
		p[i].o.value = STR_LIT("v");
		OK(kv_job_begin(k, &p[i].j, 0, one_fn, &p[i].o, &p[i].e));
	}
	kv_job_post(&p[0].j, 0, true, post_done, &p[0]);
	kv_job_post(&p[1].j, ERR_FAILED, false, post_done, &p[1]);
	for (int ms = 0; ms < 5000 && atomic_load(&p[0].n_ended) == 0; ms++)
		clock_sleep_ms(1);
	assert_int_equal(atomic_load(&p[0].n_ended), 1);
	assert_int_equal(post_wait(&p[0]), 0);
	assert_int_equal(post_wait(&p[1]), ERR_FAILED);
	kv_close(&k);
}

/* A whole group from one thread; its sync fails in the second round. */
static void
test_job_group(void **state)
{
	enum {
		N = 40
	};
	struct post *p = calloc(N, sizeof(*p));
	struct err e = ERR_INIT;
	struct kv *k;

	(void)state;
	OK(kv_open(&conf, &k, &e));
	for (int round = 0; round < 3; round++) {
		static const int want[] = { 0, ERR_FAILED, ERR_FAILED };
		int begun = 0;

		memset(p, 0, N * sizeof(*p));
		for (int i = 0; i < N; i++) {
			int rc;

			snprintf(p[i].key, sizeof(p[i].key), "g%d-%d", round,
			    i);
			p[i].o.key = str_of(p[i].key);
			p[i].o.value = STR_LIT("v");
			rc = kv_job_begin(k, &p[i].j, 0, one_fn, &p[i].o,
			    &p[i].e);
			assert_int_equal(rc, round == 2 ? ERR_FAILED : 0);
			begun += rc == 0;
		}
		clock_sleep_ms(30); /* the committer is idle */
		if (round == 1)
			fault_arm(FAULT_SYNC, 1, EIO, false);
		for (int i = 0; i < begun; i++)
			kv_job_post(&p[i].j, 0, i < begun - 1, post_done,
			    &p[i]);
		for (int i = 0; i < begun; i++) {
			assert_int_equal(post_wait(&p[i]), want[round]);
			assert_int_equal(has(k, p[i].key, "v"), round == 0);
		}
		fault_disarm();
		for (int i = 0; i < begun; i++)
			assert_int_equal(p[i].n_ended, 1);
	}
	kv_close(&k);
	free(p);
}

/* A disk that is full: puts are refused, deletes go on, and so do puts once
 * there is room. */
static void
test_full_disk(void **state)
{
	struct err e = ERR_INIT;
	char key[16] = "", value[500] = "v";
	struct one o = { .key = str_mem(key, 8) };
	struct kv *k;
	uint64_t n = 0, i;
	int rc;

	(void)state;
	OK(kv_open(&conf, &k, &e));
	wait_for_spare(k);
	fault_arm(FAULT_FALLOCATE, 1, ENOSPC, true);
	for (;; n++) {
		put_be64(key, n);
		o.value = str_mem(value, sizeof(value));
		rc = kv_update(k, one_fn, &o, &e);
		if (rc != 0)
			break;
		assert_true(n < 100000);
	}
	assert_int_equal(rc, ERR_NO_SPACE);
	for (i = 0; i < 100 && i < n; i++) {
		put_be64(key, i);
		o.value = STR_NULL;
		assert_int_equal(kv_update_flags(k, KV_FREES, one_fn, &o, &e),
		    0);
	}
	fault_disarm();
	for (i = 0; i < 1000; i++) {
		o.value = str_mem(value, sizeof(value));
		rc = kv_update(k, one_fn, &o, &e);
		if (rc == 0)
			break;
		assert_int_equal(rc, ERR_NO_SPACE);
		clock_sleep_ms(10);
	}
	assert_int_equal(rc, 0);
	kv_close(&k);
}

/* Room is found again while deletes go on, not only once they end: no pause is
 * as long as what the index would wait for. */
static void
test_room_while_deleting(void **state)
{
	struct err e = ERR_INIT;
	struct one o = { .key = STR_LIT("gone"), .value = STR_NULL };
	char reserve[300];
	struct kv *k;
	int rc;

	(void)state;
	conf.idle_flush_ms = 600 * 1000;
	OK(kv_open(&conf, &k, &e));
	OK(put(k, "a", STR_LIT("1"), &e));
	OK(kv_flush(k, &e));
	wait_for_spare(k);
	/* What a flush may need to use up is gone, and not to be had again. */
	snprintf(reserve, sizeof(reserve), "%s/reserve", dir);
	OK(put(k, "b", STR_LIT("2"), &e));
	fault_arm(FAULT_FALLOCATE, 1, ENOSPC, true);
	OK(fs_unlink(reserve, &e));
	OK(kv_flush(k, &e));
	for (int i = 0; (rc = put(k, "c", STR_LIT("3"), &e)) == 0; i++) {
		assert_true(i < 2000);
		clock_sleep_ms(5);
	}
	assert_int_equal(rc, ERR_NO_SPACE);
	OK(kv_update_flags(k, KV_FREES, one_fn, &o, &e));
	fault_disarm();
	for (int i = 0; (rc = put(k, "d", STR_LIT("4"), &e)) != 0; i++) {
		assert_int_equal(rc, ERR_NO_SPACE);
		assert_true(i < 2000);
		OK(kv_update_flags(k, KV_FREES, one_fn, &o, &e));
		clock_sleep_ms(5);
	}
	kv_close(&k);
}

/* Nothing flushes: the table fills, writers wait, then they are told so. */
static void
test_full_table(void **state)
{
	struct err e = ERR_INIT;
	char key[16] = "", *value = calloc(1, 8000);
	struct one o = { .key = str_mem(key, 8) };
	struct kv_view *v;
	struct kv_stat st;
	struct kv *k;
	uint64_t n;
	int rc = 0;

	(void)state;
	/* A view that stays open keeps the map from growing, and so LMDB from
	 * taking anything up. */
	conf.map_size = 1 << 20;
	conf.log_segment = 4 << 20;
	OK(kv_open(&conf, &k, &e));
	OK(kv_view_open(k, &v, &e));
	for (n = 0; n < 2000 && rc == 0; n++) {
		put_be64(key, n);
		o.value = str_mem(value, 8000);
		rc = kv_update(k, one_fn, &o, &e);
	}
	assert_int_equal(rc, ERR_BUSY);
	kv_get_stat(k, &st);
	assert_true(st.table_bytes <= conf.table_max + 65536);
	kv_view_close(&v);
	OK(kv_update(k, one_fn, &o, &e)); /* it grows, and goes on */
	OK(kv_flush(k, &e));
	kv_get_stat(k, &st);
	assert_true(st.records > 50);
	assert_true(st.table_bytes < 16384); /* and memory is given back */
	kv_close(&k);
	free(value);
}

/* --- many threads --- */

#define ACCOUNTS 64
#define EACH 1000

static struct kv *bank;
static _Atomic bool stop;
static _Atomic int bad;
static _Atomic uint64_t transfers, conflicts;

struct transfer {
	unsigned from, to;
	uint64_t amount;
};

static struct str
account(char buf[16], unsigned i)
{
	int n = snprintf(buf, 16, "acct%02u", i);

	return str_mem(buf, (size_t)n);
}

static int
transfer_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	const struct transfer *t = arg;
	char a[16], b[16], value[8];
	struct str got;
	uint64_t x, y;
	int rc;

	if ((rc = kv_tx_get(tx, account(a, t->from), &got, e)) < 0)
		return rc;
	x = get_le64(got.p);
	if ((rc = kv_tx_get(tx, account(b, t->to), &got, e)) < 0)
		return rc;
	y = get_le64(got.p);
	put_le64(value, y + t->amount);
	rc = kv_tx_put(tx, account(b, t->to), str_mem(value, 8), e);
	if (rc == 0 && x < t->amount) /* after a write, on purpose */
		return err_set(e, ERR_PRECONDITION_FAILED, NULL);
	put_le64(value, x - t->amount);
	if (rc == 0)
		rc = kv_tx_put(tx, account(a, t->from), str_mem(value, 8), e);
	return rc;
}

static void *
teller(void *arg)
{
	struct rng r = { (uint64_t)(uintptr_t)arg };
	struct err e = ERR_INIT;
	struct transfer t;
	int rc;

	while (!atomic_load(&stop)) {
		t.from = rng_below(&r, ACCOUNTS);
		t.to = (t.from + 1 + rng_below(&r, ACCOUNTS - 1)) % ACCOUNTS;
		t.amount = rng_below(&r, 900);
		rc = kv_update(bank, transfer_fn, &t, &e);
		if (rc == 0)
			atomic_fetch_add(&transfers, 1);
		else if (rc == ERR_PRECONDITION_FAILED)
			atomic_fetch_add(&conflicts, 1);
		else
			atomic_store(&bad, 1);
	}
	return NULL;
}

static void *
auditor(void *arg)
{
	struct err e = ERR_INIT;
	struct kv_cursor *c;
	struct kv_view *v;
	struct str key, value;
	uint64_t sum, last = 0;
	char buf[16];

	while (!atomic_load(&stop)) {
		if (kv_view_open(bank, &v, &e) < 0) {
			atomic_store(&bad, 2);
			break;
		}
		if (kv_view_seq(v) < last)
			atomic_store(&bad, 3);
		last = kv_view_seq(v);
		sum = 0;
		if (arg == NULL) {
			if (kv_cursor_open(v, STR_LIT("acct"), STR_LIT("accu"),
				&c, &e) < 0)
				atomic_store(&bad, 4);
			while (kv_cursor_next(c, &key, &value, &e) > 0)
				sum += get_le64(value.p);
			kv_cursor_close(&c);
		} else {
			for (unsigned i = 0; i < ACCOUNTS; i++) {
				if (kv_view_get(v, account(buf, i), &value,
					&e) < 0)
					atomic_store(&bad, 5);
				sum += get_le64(value.p);
			}
		}
		if (sum != ACCOUNTS * EACH)
			atomic_store(&bad, 6);
		kv_view_close(&v);
	}
	return NULL;
}

static void
test_many_threads(void **state)
{
	struct err e = ERR_INIT;
	pthread_t t[10];
	char buf[16], value[8];
	char copy[300];

	(void)state;
	conf.map_size = 1 << 20;
	conf.table_max = 256 << 10;
	OK(kv_open(&conf, &bank, &e));
	put_le64(value, EACH);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		account(buf, i);
		OK(put(bank, buf, str_mem(value, 8), &e));
	}
	atomic_store(&stop, false);
	for (unsigned i = 0; i < 10; i++)
		pthread_create(&t[i], NULL, i < 7 ? teller : auditor,
		    i < 7 ? (void *)(uintptr_t)(i + 1)
			  : (i == 7 ? NULL : (void *)1));
	for (int i = 0; i < 4; i++) {
		clock_sleep_ms(300);
		OK(kv_flush(bank, &e));
		if (i == 2) {
			snprintf(copy, sizeof(copy), "%s/copy", dir);
			OK(kv_backup(bank, copy, &e));
		}
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 10; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(bad, 0);
	assert_true(transfers > 100 && conflicts > 0);
	kv_close(&bank);
	/* The backup is one consistent state too. */
	conf.dir = copy;
	OK(kv_open(&conf, &bank, &e));
	atomic_store(&stop, false);
	pthread_create(&t[0], NULL, auditor, NULL);
	clock_sleep_ms(20);
	atomic_store(&stop, true);
	pthread_join(t[0], NULL);
	assert_int_equal(bad, 0);
	kv_close(&bank);
}

/* --- every n-th failure --- */

static void
test_faults(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC,
		FAULT_OPEN, FAULT_RENAME, FAULT_UNLINK, FAULT_FALLOCATE,
		FAULT_TRUNCATE, FAULT_READ, FAULT_ALLOC };
	struct err e = ERR_INIT;
	struct model m = { 0 };
	struct model with = { 0 };
	struct tx_plan t;
	struct kv *k;
	uint64_t i = 0;
	unsigned clean;
	int rc;

	(void)state;
	for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		clean = 0;
		for (unsigned long n = 1; n < 200 && clean < 2;
		     n += 1 + n / 8) {
			bool unsure = false;

			k = NULL;
			fault_arm(kinds[kind], n, EIO, n % 3 == 0);
			rc = kv_open(&conf, &k, &e);
			for (int j = 0; rc == 0 && j < 12; j++) {
				tx_make(&t, 99, i, 200);
				rc = kv_update(k, tx_run, &t, &e);
				if (rc == 0 || rc == ERR_PRECONDITION_FAILED) {
					tx_apply(&m, &t);
					i++;
					rc = 0;
				} else {
					unsure = true;
				}
				if (j == 7)
					kv_flush(k, &e);
			}
			fault_disarm();
			clean += !fault_fired();
			kv_close(&k);

			OK(kv_open(&conf, &k, &e));
			if (!kv_equals(k, &m)) {
				/* The one that failed may be there whole. */
				assert_true(unsure);
				with = model_clone(&m);
				tx_apply(&with, &t);
				assert_true(kv_equals(k, &with));
				model_fini(&m);
				m = with;
				i++;
			}
			kv_close(&k);
		}
	}
	model_fini(&m);
}

/* Data without an index: its disk is not mounted, or it is lost. */
static void
test_expected(void **state)
{
	struct err e = ERR_INIT;
	struct kv *k = NULL;

	(void)state;
	conf.is_expected = true;
	assert_int_equal(kv_open(&conf, &k, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "creel admin rebuild index"));
	assert_null(k);
	conf.is_expected = false;
	OK(kv_open(&conf, &k, &e));
	kv_close(&k);
	conf.is_expected = true;
	OK(kv_open(&conf, &k, &e));
	kv_close(&k);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_limits),
		TEST(test_expected),
		TEST(test_big_transactions),
		TEST(test_log_failure),
		TEST(test_answers_wait),
		TEST(test_jobs),
		TEST(test_job_group),
		TEST(test_job_group_ends_badly),
		TEST(test_full_disk),
		TEST(test_room_while_deleting),
		TEST(test_full_table),
		TEST(test_many_threads),
		TEST(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
