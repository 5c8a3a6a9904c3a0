/* tests/unit/index/test_kv_model.c - the whole index against a plain sorted
 * map: random transactions, scans, views held across flushes, clean reopens,
 * deaths by kill -9. */
#include "model.h"

#include "lib/clock.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define UNIVERSE 500

static struct kv_conf
small_conf(const char *dir)
{
	return (struct kv_conf){
		.dir = dir,
		.map_size = 1 << 20, /* it has to grow */
		.table_max = 256 << 10,
		.log_segment = 256 << 10,
		.idle_flush_ms = 50,
		.event = test_event,
	};
}

struct held { /* a view and what it has to show */
	struct kv_view *view;
	struct model model;
};

static void
held_check(struct held *h)
{
	assert_true(view_equals(h->view, &h->model));
	kv_view_close(&h->view);
	model_fini(&h->model);
}

static void
check_scan(struct kv *k, const struct model *m, struct rng *r)
{
	struct err e = ERR_INIT;
	struct tx_plan a, b;
	struct kv_view *v;
	struct kv_cursor *c;
	struct str from, to, key, value, seek;
	size_t i, end, skip;
	bool found;
	int rc;

	do
		tx_make(&a, rng_next(r), 0, UNIVERSE);
	while (a.n == 0);
	do
		tx_make(&b, rng_next(r), 0, UNIVERSE);
	while (b.n == 0);
	from = str_mem(a.ops[0].key, a.ops[0].key_len);
	to = str_mem(b.ops[0].key, b.ops[0].key_len);
	i = model_find(m, from, &found);
	end = model_find(m, to, &found);
	OK(kv_view_open(k, &v, &e));
	OK(kv_cursor_open(v, from, to, &c, &e));
	while ((rc = kv_cursor_next(c, &key, &value, &e)) == 1) {
		assert_true(i < end);
		assert_true(str_eq(key, model_key(m, i)));
		assert_true(str_eq(value, model_value(m, i)));
		i++;
		if (rng_below(r, 4) == 0 && m->n > 0) {
			/* To any key: a backward one is no move. */
			skip = rng_below(r, (uint32_t)m->n);
			seek = model_key(m, skip);
			OK(kv_cursor_seek(c, seek, &e));
			if (skip > i)
				i = skip;
		}
	}
	assert_int_equal(rc, 0);
	assert_true(i >= end);
	assert_int_equal(kv_cursor_next(c, &key, &value, &e), 0);
	kv_cursor_close(&c);
	kv_view_close(&v);
}

static void
run_seed(uint64_t seed, unsigned n_tx)
{
	char dir[256] = "";
	struct kv_conf conf = small_conf(dir);
	struct err e = ERR_INIT;
	struct held held[4] = { 0 };
	struct rng r = { seed };
	struct model m = { 0 };
	struct tx_plan t;
	struct kv *k;
	uint64_t last_seq = 0;
	unsigned reopens = 0;
	int rc;

	snprintf(dir, sizeof(dir), "%s", test_dir());
	conf.map_size =
	    64 << 20; /* views that stay open keep it from growing */
	OK(kv_open(&conf, &k, &e));
	for (unsigned i = 0; i < n_tx; i++) {
		struct held *h = &held[rng_below(&r, 4)];

		tx_make(&t, seed, i, UNIVERSE);
		t.model = &m;
		rc = kv_update(k, tx_run, &t, &e);
		assert_int_equal(rc, t.fails ? ERR_PRECONDITION_FAILED : 0);
		assert_false(t.bad);
		tx_apply(&m, &t);
		if (!t.fails && t.n > 0) {
			assert_true(t.seq > last_seq);
			last_seq = t.seq;
		}
		switch (rng_below(&r, 100)) {
		case 0:
			OK(kv_flush(k, &e));
			break;
		case 1:
		case 2:
		case 3:
			if (h->view != NULL)
				held_check(h);
			OK(kv_view_open(k, &h->view, &e));
			h->model = model_clone(&m);
			break;
		case 4:
		case 5:
			check_scan(k, &m, &r);
			break;
		case 6:
			if (++reopens > 20)
				break;
			for (int j = 0; j < 4; j++) {
				if (held[j].view != NULL)
					held_check(&held[j]);
			}
			kv_close(&k);
			OK(kv_open(&conf, &k, &e));
			assert_true(kv_equals(k, &m));
			break;
		default:
			break;
		}
	}
	assert_true(kv_equals(k, &m));
	for (int j = 0; j < 4; j++) {
		if (held[j].view != NULL)
			held_check(&held[j]);
	}
	OK(kv_flush(k, &e));
	assert_true(kv_equals(k, &m));
	kv_close(&k);
	OK(kv_open(&conf, &k, &e));
	assert_true(kv_equals(k, &m));
	kv_close(&k);
	model_fini(&m);
	OK(fs_remove_tree(dir, &e));
}

static void
test_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++)
		run_seed(seed, 2500);
}

/* --- kill -9 --- */

struct shared {
	_Atomic uint64_t acked; /* transactions whose kv_update() returned */
};

static _Noreturn void
child(const char *dir, uint64_t seed, uint64_t from, struct shared *s)
{
	struct kv_conf conf = small_conf(dir);
	struct err e = ERR_INIT;
	struct tx_plan t;
	struct kv *k;

	if (kv_open(&conf, &k, &e) != 0) {
		fprintf(stderr, "child: %s\n", e.msg);
		_exit(1);
	}
	for (uint64_t i = from;; i++) {
		tx_make(&t, seed, i, UNIVERSE);
		kv_update(k, tx_run, &t, &e);
		s->acked = i + 1;
	}
}

static void
test_kill(void **state)
{
	uint64_t seed = 77, applied = 0;
	char dir[256] = "";
	struct kv_conf conf = small_conf(dir);
	struct err e = ERR_INIT;
	struct rng r = { seed };
	struct model m = { 0 };
	struct shared *s;
	struct tx_plan t;
	struct kv *k;
	int status;
	pid_t pid;

	(void)state;
	snprintf(dir, sizeof(dir), "%s", test_dir());
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s != MAP_FAILED);
	for (int round = 0; round < 12; round++) {
		s->acked = applied;
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child(dir, seed, applied, s);
		clock_sleep_ms(60 + (int)rng_below(&r, 300));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));

		for (; applied < s->acked; applied++) {
			tx_make(&t, seed, applied, UNIVERSE);
			tx_apply(&m, &t);
		}
		OK(kv_open(&conf, &k, &e));
		if (!kv_equals(k, &m)) {
			/* One was under way: all of it may be there. */
			tx_make(&t, seed, applied, UNIVERSE);
			tx_apply(&m, &t);
			applied++;
			assert_true(kv_equals(k, &m));
		}
		kv_close(&k);
	}
	assert_true(applied > 100);
	munmap(s, sizeof(*s));
	model_fini(&m);
	OK(fs_remove_tree(dir, &e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
