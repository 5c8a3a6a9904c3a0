/* tests/unit/object/test_threads.c - many threads on the same keys, the real
 * index below: conditions are linearizable, readers always get whole objects,
 * and collector and sweep take nothing that anyone names. */
#include "tests/unit/object/fixture.h"

#include "lib/fs.h"
#include "lib/rand.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS 8

static char top[] = "/tmp/creel-object-XXXXXX";
static struct fixture fx;

static int
setup(void **state)
{
	struct kv_conf kc = { .map_size = 64 << 20, .table_max = 1 << 20 };
	struct store_conf c = { .extent_size = 5000, .background = true };
	struct err e = ERR_INIT;
	struct store *s = NULL;

	(void)state;
	memcpy(top, "/tmp/creel-object-XXXXXX", sizeof(top));
	assert_non_null(mkdtemp(top));
	kc.dir = top;
	OK(kv_open(&kc, &c.kv, &e));
	OK(blob_memory_new(&c.blob, &e));
	OK(store_open(&c, &s, &e));
	fixture_setup(&fx, s);
	return 0;
}

static int
teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	store_close(&fx.s);
	arena_free(&fx.a);
	OK(fs_remove_tree(top, &e));
	return 0;
}

struct worker {
	pthread_t t;
	int id;
	uint64_t rng;
	struct fixture f; /* an arena of its own */
	int wins, bad;
	char why[600];
};

static pthread_barrier_t barrier;
static atomic_int n_won[200];
static atomic_bool stop_now;

static uint64_t
rnd(struct worker *w, uint64_t below)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng % below;
}

static void
run_all(void *(*fn)(void *), struct worker w[THREADS])
{
	int i;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .id = i,
			.rng = (uint64_t)i * 7919 + 17,
			.f = fx };
		w[i].f.a = arena_new(256u << 20);
		pthread_create(&w[i].t, NULL, fn, &w[i]);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(w[i].t, NULL);
		arena_free(&w[i].f.a);
	}
	pthread_barrier_destroy(&barrier);
	for (i = 0; i < THREADS; i++)
		if (w[i].bad > 0)
			fail_msg("thread %d: %d: %s", i, w[i].bad, w[i].why);
}

/* Asserting is for the main thread alone. */
#define EXPECT(w, x, ...)                                                      \
	do {                                                                   \
		if (!(x) && (w)->bad++ == 0)                                   \
			snprintf((w)->why, sizeof((w)->why),                   \
			    "line " EXPECT_STR(__LINE__) ": " #x               \
							 " " __VA_ARGS__);     \
	} while (0)
#define EXPECT_STR(l) EXPECT_STR2(l)
#define EXPECT_STR2(l) #l

/* If-None-Match: * - exactly one of many wins, each time. */
static void *
only_one(void *arg)
{
	struct write_cond none = { .if_none_match_any = true };
	struct worker *w = arg;
	char key[32], body[32];
	int i;

	for (i = 0; i < 60; i++) {
		struct err e = ERR_INIT;
		int rc;

		snprintf(key, sizeof(key), "lock%d", i);
		snprintf(body, sizeof(body), "thread %d", w->id);
		pthread_barrier_wait(&barrier);
		rc = put_cond(&w->f, key, str_of(body), &none, NULL, &e);
		if (rc == 0) {
			w->wins++;
			atomic_fetch_add(&n_won[i], 1);
		}
		EXPECT(w, rc == 0 || rc == ERR_PRECONDITION_FAILED, "%s",
		    e.msg);
	}
	return NULL;
}

static void
test_only_one(void **state)
{
	struct worker w[THREADS];
	int i;

	(void)state;
	run_all(only_one, w);
	for (i = 0; i < 60; i++)
		assert_int_equal(atomic_load(&n_won[i]), 1);
	assert_usage(&fx, 60, 60 * strlen("thread 1"));
}

/* If-Match as compare-and-swap: no increment is lost. */
static void *
increment(void *arg)
{
	struct worker *w = arg;

	while (w->wins < 15 && w->bad == 0) {
		struct write_cond cond = { 0 };
		struct err e = ERR_INIT;
		struct object o;
		struct str was = get_body(&w->f, "counter", &o);
		char next[32], z[32] = "";
		int rc;

		EXPECT(w, was.p != NULL && was.len < sizeof(z), "no counter");
		if (w->bad > 0)
			break;
		memcpy(z, was.p, was.len);
		snprintf(next, sizeof(next), "%d", atoi(z) + 1);
		cond.if_match = o.etag;
		rc = put_cond(&w->f, "counter", str_of(next), &cond, NULL, &e);
		w->wins += rc == 0;
		EXPECT(w, rc == 0 || rc == ERR_PRECONDITION_FAILED, "%s",
		    e.msg);
		arena_reset(w->f.a);
	}
	return NULL;
}

static void
test_compare_and_swap(void **state)
{
	struct worker w[THREADS];
	char want[32];

	(void)state;
	put_z(&fx, "counter", "0");
	run_all(increment, w);
	snprintf(want, sizeof(want), "%d", THREADS * 15);
	assert_body(&fx, "counter", want);
}

/* --- everything at once --- */

#define KEYS 4

static const char *const keys[KEYS] = { "k0", "k1", "k2", "k3" };

static void
do_put(struct worker *w, const char *key)
{
	size_t i, len = rnd(w, 3) == 0 ? rnd(w, 30000) : rnd(w, 100);
	char *p = arena_alloc(w->f.a, len + 1);
	struct err e = ERR_INIT;
	int rc;

	for (i = 0; i < len; i++)
		p[i] = (char)rnd(w, 256);
	rc = put_cond(&w->f, key, str_mem(p, len), NULL, NULL, &e);
	EXPECT(w, rc == 0, "%s", e.msg);
}

/* The ETag is that of the bytes, whoever overwrites or deletes meanwhile. */
static void
do_get(struct worker *w, const char *key)
{
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct object o;
	size_t n, off;
	char *p;
	int rc;

	rc = object_open(w->f.s, &w->f.b, str_of(key), STR_NULL, w->f.a, &o, &r,
	    &e);
	EXPECT(w, rc == 0 || rc == ERR_NO_SUCH_KEY, "%s", e.msg);
	if (rc < 0)
		return;
	p = arena_alloc(w->f.a, o.size + 1);
	for (off = 0; off < o.size; off += n) {
		rc = object_read(r, off, p + off, 4000, &n, &e);
		EXPECT(w, rc == 0 && n > 0, "%s", e.msg);
		if (rc < 0 || n == 0)
			break;
		if (rnd(w, 8) == 0)
			clock_sleep_ms(2);
	}
	if (rc == 0 && o.etag.len == 32) /* else it is multipart */
		EXPECT(w, str_eq(o.etag, md5_text(w->f.a, str_mem(p, o.size))),
		    "torn");
	object_close(&r);
}

static void
do_copy(struct worker *w, const char *from, const char *to)
{
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct object o;
	int rc;

	rc = object_open(w->f.s, &w->f.b, str_of(from), STR_NULL, w->f.a, &o,
	    &r, &e);
	if (rc < 0)
		return;
	if (rnd(w, 3) == 0)
		clock_sleep_ms(1);
	rc = object_copy(r, &w->f.b, str_of(to), &w->f.user, NULL, &o, &e);
	EXPECT(w, rc == 0 || rc == ERR_RETRY, "%s", e.msg);
	object_close(&r);
}

static void
do_multipart(struct worker *w, const char *from, const char *to)
{
	struct object_part part = { .etag = STR_LIT(
					"00112233445566778899aabbccddeeff") };
	struct complete_part done = { .number = 1, .etag = part.etag };
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct upload u;
	struct object o;
	int rc;

	/* one part, copied: the bytes are those of the source */
	rc = object_open(w->f.s, &w->f.b, str_of(from), STR_NULL, w->f.a, &o,
	    &r, &e);
	if (rc < 0)
		return;
	rc = upload_create(w->f.s, &w->f.b, str_of(to), &w->f.user, NULL, 0,
	    CHECKSUM_NONE, false, &u, &e);
	EXPECT(w, rc == 0, "%s", e.msg);
	rc = part_copy(r, 0, o.size, &w->f.b, str_of(to), str_of(u.id), 1,
	    &part, &e);
	object_close(&r);
	EXPECT(w, rc == 0 || rc == ERR_RETRY, "%s", e.msg);
	if (rc == 0 && rnd(w, 2) == 0) {
		rc = upload_complete(w->f.s, &w->f.b, str_of(to), str_of(u.id),
		    &done, 1, 0, NULL, UINT64_MAX, NULL, w->f.a, &o, &e);
		EXPECT(w, rc == 0, "%s", e.msg);
		return;
	}
	rc = upload_abort(w->f.s, &w->f.b, str_of(to), str_of(u.id), &e);
	EXPECT(w, rc == 0, "%s", e.msg);
}

static void *
everything(void *arg)
{
	struct worker *w = arg;
	int i;

	if (w->id == 0) { /* collector and sweep, over and over */
		while (!atomic_load(&stop_now)) {
			struct sweep_report r;
			struct err e = ERR_INIT;

			EXPECT(w, store_collect(w->f.s, &e) == 0, "%s", e.msg);
			EXPECT(w, store_sweep(w->f.s, true, &r, &e) == 0, "%s",
			    e.msg);
			EXPECT(w, r.unknown == 0, "%d unknown", (int)r.unknown);
		}
		return NULL;
	}
	for (i = 0; i < 150; i++) {
		const char *a = keys[rnd(w, KEYS)], *b = keys[rnd(w, KEYS)];
		struct err e = ERR_INIT;

		switch (rnd(w, 8)) {
		case 0:
		case 1:
			do_put(w, a);
			break;
		case 2:
		case 3:
			do_copy(w, a, b);
			break;
		case 4:
			EXPECT(w,
			    object_delete(w->f.s, &w->f.b, str_of(a), STR_NULL,
				STR_NULL, &e) == 0,
			    "%s", e.msg);
			break;
		case 5:
			do_multipart(w, a, b);
			break;
		default:
			do_get(w, a);
		}
		arena_reset(w->f.a);
	}
	if (w->id == 1) {
		clock_sleep_ms(50);
		atomic_store(&stop_now, true);
	}
	return NULL;
}

static void
test_everything(void **state)
{
	struct worker w[THREADS];
	struct err e = ERR_INIT;
	uint64_t objects = 0, bytes = 0;
	struct kv_stat st;
	int i;

	(void)state;
	atomic_store(&stop_now, false);
	run_all(everything, w);
	for (i = 0; i < KEYS; i++) {
		struct str body = get_body(&fx, keys[i], NULL);

		objects += body.p != NULL;
		bytes += body.len;
	}
	assert_usage(&fx, objects, bytes);
	for (i = 0; i < KEYS; i++)
		OK(object_delete(fx.s, &fx.b, str_of(keys[i]), STR_NULL,
		    STR_NULL, &e));
	for (i = 0; i < 20 && blobs(fx.s).files > 0; i++)
		OK(store_collect(fx.s, &e));
	assert_int_equal(blobs(fx.s).files, 0);
	assert_usage(&fx, 0, 0);
	OK(bucket_delete(fx.s, &fx.b, &e));
	OK(user_remove(fx.s, "alice", &e));
	clock_shift((int64_t)2 * 86400 * 1000000000);
	OK(store_expire(fx.s, &e)); /* completed uploads are forgotten */
	clock_shift((int64_t)-2 * 86400 * 1000000000);
	OK(kv_flush(store_kv(fx.s), &e));
	kv_get_stat(store_kv(fx.s), &st);
	assert_int_equal(st.records, 0);
}

/* Users and keys change while they are looked up: never a stale answer after
 * the change has returned. */
static void *
keys_change(void *arg)
{
	struct worker *w = arg;
	struct access_key k, got;
	struct err e = ERR_INIT;
	struct user u;
	char name[16], id[24];
	int i;

	snprintf(name, sizeof(name), "user%d", w->id);
	snprintf(id, sizeof(id), "KEY%d", w->id);
	EXPECT(w, user_add(w->f.s, name, NULL, &e) == 0, "%s", e.msg);
	for (i = 0; i < 30; i++) {
		EXPECT(w, key_add(w->f.s, name, id, NULL, &k, &e) == 0, "%s",
		    e.msg);
		EXPECT(w, key_find(w->f.s, str_of(id), &got, &u, &e) == 0, "%s",
		    e.msg);
		EXPECT(w, strcmp(got.secret, k.secret) == 0, "old secret");
		EXPECT(w, key_remove(w->f.s, id, &e) == 0, "%s", e.msg);
		EXPECT(w,
		    key_find(w->f.s, str_of(id), &got, &u, &e) ==
			ERR_NO_SUCH_ACCESS_KEY,
		    "still there");
	}
	return NULL;
}

static void
test_keys_change(void **state)
{
	struct worker w[THREADS];

	(void)state;
	run_all(keys_change, w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_only_one),
		T(test_compare_and_swap),
		T(test_everything),
		T(test_keys_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
