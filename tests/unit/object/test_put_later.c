/* tests/unit/object/test_put_later.c - commits that nobody waits for, over the
 * real engine and index, with faults.
 *
 * Some threads begin puts as fast as they can. Each of them ends exactly once,
 * whatever fails. After that the store is opened again: what was acknowledged
 * is there, whole; what failed is there whole or not at all. */
#include "tests/unit/object/fixture.h"

#include "lib/fs.h"
#include "storage/engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	THREADS = 4,
	EACH = 16,
	N = THREADS * EACH,
	SIZE_MAX_BODY = 6000
};

static char top[64], store_dir[80], index_dir[80];

struct one {
	struct put *p;
	struct put_commit *pc;
	struct arena *a;
	struct object o;
	char key[32], body[SIZE_MAX_BODY];
	size_t len;
	bool is_later;
	_Atomic int n_over;
	int rc;
	struct err e;
};

struct batch {
	struct fixture f;
	unsigned no, next;
	struct write_cond cond;
	struct one x[N];
};

static atomic_uint all_later;

static struct store *
open_store(void)
{
	const char *paths[] = { store_dir };
	struct engine_conf ec = { .paths = paths,
		.n_paths = 1,
		.group = "group1",
		.server_id = 7,
		.small_limit = 64 << 10,
		.volume_size = 256 << 10 };
	struct kv_conf kc = { .dir = index_dir,
		.map_size = 64 << 20,
		.table_max = 1 << 20,
		.log_segment = 2 << 20 };
	struct store_conf c = { .extent_size = 200000 };
	struct engine *g = NULL;
	struct err e = ERR_INIT;
	struct store *s = NULL;

	OK(engine_open(&ec, &g, &e));
	OK(blob_local_new(g, &c.blob, &e));
	OK(kv_open(&kc, &c.kv, &e));
	OK(store_open(&c, &s, &e));
	return s;
}

static int
setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	snprintf(top, sizeof(top), "/tmp/creel-later-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(store_dir, sizeof(store_dir), "%s/s", top);
	snprintf(index_dir, sizeof(index_dir), "%s/i", top);
	OK(fs_mkdir_p(store_dir, &e));
	OK(fs_mkdir_p(index_dir, &e));
	return 0;
}

static int
teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	OK(fs_remove_tree(top, &e));
	return 0;
}

static void
over(void *arg)
{
	struct one *x = arg;

	atomic_fetch_add(&x->n_over, 1);
}

/* Held, or, every third, written in pieces, which storage has before the rest is
 * posted. */
static int
give_body(const struct batch *b, struct one *x)
{
	size_t half = x->len / 2;
	int rc;

	if ((x - b->x) % 3 != 0)
		return put_hold(x->p, x->body, x->len, &x->e);
	rc = put_write(x->p, x->body, half, &x->e);
	if (rc == 0)
		rc = put_write(x->p, x->body + half, x->len - half, &x->e);
	return rc;
}

static void
begin(struct batch *b, struct one *x)
{
	x->rc =
	    put_begin(b->f.s, &b->f.b, str_of(x->key), x->len, &x->p, &x->e);
	if (x->rc == 0)
		x->rc = give_body(b, x);
	if (x->rc == 0)
		x->rc = put_commit_begin(&x->p, &b->f.user, &b->cond, &x->o,
		    x->a, &x->pc, &x->e);
	if (x->rc < 0) {
		put_abort(&x->p);
		return;
	}
	x->is_later =
	    put_commit_waits(x->pc) && put_commit_then(x->pc, over, x);
	if (x->is_later)
		atomic_fetch_add(&all_later, 1);
}

static void *
begin_main(void *arg)
{
	struct batch *b = arg;

	for (;;) {
		unsigned i = __atomic_fetch_add(&b->next, 1, __ATOMIC_RELAXED);

		if (i >= N)
			return NULL;
		begin(b, &b->x[i]);
	}
}

static void
prepare(struct batch *b, struct store *s, unsigned no)
{
	struct fixture f = b->f;

	memset(b, 0, sizeof(*b));
	b->f = f;
	b->f.s = s;
	b->no = no;
	for (unsigned i = 0; i < N; i++) {
		struct one *x = &b->x[i];

		snprintf(x->key, sizeof(x->key), "%u/%u", no, i);
		x->len = (i * 977 + no * 131) % (SIZE_MAX_BODY + 1);
		memset(x->body, (int)('a' + (i + no) % 26), x->len);
		x->a = arena_new(1 << 20);
		assert_non_null(x->a);
		x->o = (struct object){ .etag = md5_text(x->a,
					    str_mem(x->body, x->len)) };
	}
}

/* Returns the worst of their results. */
static int
run(struct batch *b)
{
	pthread_t t[THREADS];
	int worst = 0;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, begin_main, b), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < N; i++) {
		struct one *x = &b->x[i];

		for (int ms = 0; x->is_later && x->n_over == 0; ms++) {
			assert_true(ms < 20000);
			clock_sleep_ms(1);
		}
		if (x->pc != NULL) {
			assert_false(put_commit_waits(x->pc));
			x->rc = put_commit_end(&x->pc, &x->e);
		}
		if (x->rc < 0)
			worst = x->rc;
	}
	return worst;
}

static void
check(struct batch *b)
{
	for (unsigned i = 0; i < N; i++) {
		struct one *x = &b->x[i];
		struct str got = get_body(&b->f, x->key, NULL);

		assert_int_equal(x->n_over, x->is_later);
		if (got.p == NULL && x->rc == 0)
			fail_msg("%s was acknowledged and is gone", x->key);
		if (got.p != NULL && !str_eq(got, str_mem(x->body, x->len)))
			fail_msg("%s has wrong bytes", x->key);
		arena_free(&x->a);
	}
	arena_reset(b->f.a);
}

static void
count_bad(void *arg, struct str bucket, struct str key, const struct err *why)
{
	(void)bucket;
	(void)key;
	print_message("bad: %s\n", why->msg);
	++*(int *)arg;
}

static void
close_and_check(struct batch *b)
{
	struct err e = ERR_INIT;
	uint64_t objects;
	int bad = 0;

	store_close(&b->f.s);
	b->f.s = open_store();
	check(b);
	OK(store_verify(b->f.s, true, count_bad, &bad, &objects, &e));
	assert_int_equal(bad, 0);
}

static struct batch *
start(void)
{
	struct batch *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	fixture_setup(&b->f, open_store());
	return b;
}

static void
finish(struct batch **bp)
{
	store_close(&(*bp)->f.s);
	arena_free(&(*bp)->f.a);
	free(*bp);
	*bp = NULL;
}

static void
test_all_end(void **state)
{
	struct batch *b = start();

	(void)state;
	atomic_store(&all_later, 0);
	for (unsigned no = 0; no < 20; no++) {
		prepare(b, b->f.s, no);
		assert_int_equal(run(b), 0);
		check(b);
	}
	/* The same keys once more, none of which may be there. */
	prepare(b, b->f.s, 19);
	b->cond.if_none_match_any = true;
	assert_int_equal(run(b), ERR_PRECONDITION_FAILED);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(b->x[i].rc, ERR_PRECONDITION_FAILED);
		b->x[i].rc = 0; /* as it was */
	}
	close_and_check(b);
	assert_true(atomic_load(&all_later) > 0);
	finish(&b);
}

static void
walk(struct batch *b, enum fault_kind kind, int code, unsigned long step,
    bool stick)
{
	unsigned long n;
	unsigned failed = 0;

	for (n = 1; n <= 10 * step; n += step) {
		prepare(b, b->f.s, b->no + 1);
		fault_arm(kind, n, code, stick);
		failed += run(b) < 0;
		fault_disarm();
		close_and_check(b);
	}
	assert_true(failed > 0);
}

static void
test_faults(void **state)
{
	struct batch *b = start();

	(void)state;
	atomic_store(&all_later, 0);
	b->no = 100;
	walk(b, FAULT_SYNC, EIO, 1, false);
	walk(b, FAULT_WRITE, EIO, 1, false);
	walk(b, FAULT_WRITE, ENOSPC, 1, true);
	walk(b, FAULT_ALLOC, ENOMEM, 13, false);
	assert_true(atomic_load(&all_later) > 0);
	finish(&b);
}

static int
count_log(void *arg, const char *name)
{
	*(int *)arg += str_has_suffix(str_of(name), STR_LIT(".log"));
	return 0;
}

/* The index has what it keeps ready from its first moments on: without, it is the
 * one that refuses, and looks for room only from time to time. */
static void
wait_index_ready(void)
{
	char log[100], reserve[100];
	struct err e = ERR_INIT;
	int n = 0;

	snprintf(log, sizeof(log), "%s/log", index_dir);
	snprintf(reserve, sizeof(reserve), "%s/reserve", index_dir);
	for (int ms = 0; n < 2; ms += 5) {
		struct stat st;

		assert_true(ms < 20000);
		clock_sleep_ms(5);
		n = 0;
		OK(fs_each(log, count_log, &n, &e));
		if (stat(reserve, &st) != 0 || st.st_size == 0)
			n = 0;
	}
}

/* Full: refused as such, and none is lost; then there is room again. */
static void
test_full(void **state)
{
	struct batch *b = start();
	int rc = 0;

	(void)state;
	wait_index_ready();
	fault_arm(FAULT_FALLOCATE, 1, ENOSPC, true);
	for (unsigned no = 200; rc == 0; no++) {
		assert_true(no < 220);
		prepare(b, b->f.s, no);
		rc = run(b);
		check(b);
	}
	fault_disarm();
	assert_int_equal(rc, ERR_NO_SPACE);
	for (unsigned i = 0; i < N; i++)
		assert_true(b->x[i].rc == 0 || b->x[i].rc == ERR_NO_SPACE);
	prepare(b, b->f.s, 300);
	assert_int_equal(run(b), 0);
	close_and_check(b);
	finish(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
