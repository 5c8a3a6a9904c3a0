/* Comparing and listing sets of files (I4), and many threads at once. */
#include "engine_test.h"

#include "replica_test.h"

#include "lib/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	N = 900
};

static const uint8_t lowest[ENGINE_KEY];
static const uint8_t highest[ENGINE_KEY] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct engine_digest
digest(struct engine *g, const uint8_t *from, const uint8_t *to)
{
	struct engine_digest d;
	struct err e = ERR_INIT;

	if (engine_digest(g, from, to, &d, &e) != 0)
		fail_msg("%s", e.msg);
	return d;
}

static bool
same(struct engine *a, struct engine *b, const uint8_t *from, const uint8_t *to)
{
	struct engine_digest x = digest(a, from, to), y = digest(b, from, to);

	return memcmp(&x, &y, sizeof(x)) == 0;
}

/* Two members, of different numbers of store paths' shares in memory. */
struct pair {
	struct engine_conf c[2];
	const char *paths[2][2];
	struct id128 deployment;
	struct engine *g[2];
};

static void
pair_open(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		p->g[i] = test_open(&p->c[i]);
}

static void
pair_close(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		engine_close(&p->g[i]);
}

static void
pair_init(struct pair *p)
{
	p->deployment = id128_new();
	for (int i = 0; i < 2; i++) {
		p->c[i] = test_conf(4);
		p->paths[i][0] = test_paths[2 * i];
		p->paths[i][1] = test_paths[2 * i + 1];
		p->c[i].paths = p->paths[i];
		p->c[i].n_paths = 2;
		p->c[i].deployment = &p->deployment;
		p->c[i].index_table_max = i == 0 ? 64 : 8192;
		p->c[i].tombstone_keep_s = INT64_C(50) * 365 * 86400;
	}
	pair_open(p);
}

static void
give(struct engine *g, uint64_t seed)
{
	struct engine_record r =
	    record_make_on(g, (unsigned)(seed % 2), seed, 1, 300);
	bool is_tomb = seed % 5 == 0;

	r.info.file_version = 1 + seed % 3;
	if (is_tomb)
		assert_int_equal(put_tomb(g, &r, 1 + seed % 3), 0);
	else
		assert_int_equal(put_version(g, &r, seed, 300), 0);
}

static void
test_digests(void **state UNUSED)
{
	struct engine_record r;
	struct engine_digest d;
	struct pair p;

	pair_init(&p);
	assert_true(same(p.g[0], p.g[1], lowest, highest));
	for (uint64_t i = 0; i < N; i++) {
		give(p.g[0], i);
		/* Any order; what comes first there comes last here. */
		give(p.g[1], (i * 577 + 300) % N);
		if (i % 97 == 3)
			assert_false(same(p.g[0], p.g[1], lowest, highest));
	}
	for (int round = 0; round < 2; round++) {
		assert_true(same(p.g[0], p.g[1], lowest, highest));
		d = digest(p.g[0], lowest, highest);
		assert_int_equal(d.n, N);
		pair_close(&p);
		pair_open(&p);
	}
	/* A place says nothing. */
	for (uint64_t i = 0; i < 200; i++) {
		r = record_make_on(p.g[0], 0, 2 * i, 1, 300);
		put_tomb(p.g[0], &r, 50);
		put_tomb(p.g[1], &r, 50);
	}
	assert_int_equal(engine_compact_now(p.g[0], NULL), 0);
	assert_true(same(p.g[0], p.g[1], lowest, highest));
	/* Each difference does. */
	r = record_make_on(p.g[0], 1, 701, 60, 300);
	assert_int_equal(put_version(p.g[0], &r, 1, 300), 0);
	assert_false(same(p.g[0], p.g[1], lowest, highest));
	r.info.file_version = 61;
	assert_int_equal(put_version(p.g[1], &r, 1, 300), 0);
	assert_false(same(p.g[0], p.g[1], lowest, highest));
	assert_int_equal(put_tomb(p.g[0], &r, 61), 0);
	assert_false(same(p.g[0], p.g[1], lowest, highest));
	assert_int_equal(put_tomb(p.g[0], &r, 62), 0);
	assert_int_equal(put_tomb(p.g[1], &r, 62), 0);
	assert_true(same(p.g[0], p.g[1], lowest, highest));
	pair_close(&p);
}

/* --- ranges --- */

struct listing {
	uint8_t key[2 * N][ENGINE_KEY];
	struct engine_version v[2 * N];
	size_t n, stop;
	int answer;
};

static int
list_one(void *arg, const uint8_t key[ENGINE_KEY],
    const struct engine_version *v)
{
	struct listing *l = arg;

	assert_true(l->n < 2 * N);
	if (l->n > 0)
		assert_true(memcmp(l->key[l->n - 1], key, ENGINE_KEY) < 0);
	memcpy(l->key[l->n], key, ENGINE_KEY);
	l->v[l->n++] = *v;
	return l->n == l->stop ? l->answer : 0;
}

static void
test_ranges(void **state UNUSED)
{
	struct listing *all = calloc(1, sizeof(*all)),
		       *l = calloc(1, sizeof(*l));
	struct buf note = BUF_CAP(4096);
	struct err e = ERR_INIT;
	struct engine_digest d, sum = { 0 };
	struct engine_record r;
	struct pair p;
	size_t tombs = 0;

	pair_init(&p);
	for (uint64_t i = 0; i < N; i++)
		give(p.g[0], i);
	assert_int_equal(engine_range(p.g[0], lowest, highest, 10000, list_one,
			     all, &e),
	    0);
	assert_int_equal(all->n, N);
	for (size_t i = 0; i < N; i++) {
		struct engine_version v;

		buf_reset(&note);
		assert_int_equal(engine_record_of_key(p.g[0], all->key[i], &r,
				     &note, &e),
		    0);
		look(p.g[0], r.info.id, &v);
		assert_int_equal(v.known, all->v[i].known);
		assert_int_equal(v.version, all->v[i].version);
		assert_int_equal(v.size, all->v[i].size);
		assert_int_equal(v.class, all->v[i].class);
		assert_int_equal(r.is_tomb, v.known == ENGINE_TOMB);
		assert_int_equal(r.info.file_version, v.version);
		tombs += r.is_tomb;
	}
	assert_int_equal(tombs, N / 5);
	/* Parts, both ends included; their digests add up. */
	for (size_t at = 0; at < N; at += 100) {
		l->n = 0;
		assert_int_equal(engine_range(p.g[0], all->key[at],
				     all->key[at + 99], 1000, list_one, l, &e),
		    0);
		assert_int_equal(l->n, 100);
		assert_memory_equal(l->key, all->key[at], 100 * ENGINE_KEY);
		d = digest(p.g[0], all->key[at], all->key[at + 99]);
		assert_int_equal(d.n, 100);
		sum.n += d.n;
		sum.sum[0] += d.sum[0];
		sum.sum[1] += d.sum[1];
	}
	d = digest(p.g[0], lowest, highest);
	assert_memory_equal(&d, &sum, sizeof(d));
	d = digest(p.g[0], all->key[5], all->key[4]);
	assert_int_equal(d.n, 0);
	/* Bounded, stopped. */
	l->n = 0;
	assert_int_equal(engine_range(p.g[0], all->key[7], highest, 3, list_one,
			     l, &e),
	    0);
	assert_int_equal(l->n, 3);
	assert_memory_equal(l->key, all->key[7], 3 * ENGINE_KEY);
	l->n = 0;
	l->stop = 2;
	l->answer = 1;
	assert_int_equal(engine_range(p.g[0], lowest, highest, 9, list_one, l,
			     &e),
	    0);
	assert_int_equal(l->n, 2);
	l->n = 0;
	l->answer = ERR_BUSY;
	assert_int_equal(engine_range(p.g[0], lowest, highest, 9, list_one, l,
			     &e),
	    ERR_BUSY);
	assert_int_equal(engine_record_of_key(p.g[0], lowest, &r, &note, &e),
	    ERR_NOT_FOUND);
	pair_close(&p);
	buf_fini(&note);
	free(all);
	free(l);
}

/* Old tombstones are as if they were not there, here and at who has dropped
 * them; keys of an index that knows no age of theirs too. */
static void
test_old_tombstones(void **state UNUSED)
{
	struct engine_record r;
	struct engine_version v;
	struct listing *l = calloc(1, sizeof(*l));
	struct err e = ERR_INIT;
	struct pair p;

	pair_init(&p);
	pair_close(&p);
	p.c[0].tombstone_keep_s = p.c[1].tombstone_keep_s = 1000;
	pair_open(&p);
	for (uint64_t i = 0; i < 20; i++) {
		r = record_make_on(p.g[0], 0, i, 1, 300);
		r.info.created_s = clock_real_s() - (i % 2 == 0 ? 800 : 950);
		assert_int_equal(put_tomb(p.g[0], &r, 2), 0);
		if (i % 2 == 0)
			assert_int_equal(put_tomb(p.g[1], &r, 2), 0);
	}
	for (int round = 0; round < 2; round++) {
		assert_true(same(p.g[0], p.g[1], lowest, highest));
		assert_int_equal(digest(p.g[0], lowest, highest).n, 10);
		l->n = 0;
		assert_int_equal(engine_range(p.g[0], lowest, highest, 99,
				     list_one, l, &e),
		    0);
		assert_int_equal(l->n, 10);
		pair_close(&p);
		pair_open(&p);
	}
	/* They are there all the same. */
	look(p.g[0], r.info.id, &v);
	assert_int_equal(v.known, ENGINE_TOMB);
	pair_close(&p);
	free(l);
}

/* --- pages --- */

struct paging {
	char id[2 * N][ENGINE_FILE_ID_MAX];
	size_t n, stop;
	int answer;
};

static int
page_one(void *arg, const struct engine_file_info *f)
{
	struct paging *g = arg;

	assert_true(g->n < 2 * N);
	for (size_t i = 0; i < g->n; i++)
		assert_string_not_equal(g->id[i], f->id);
	if (g->answer < 0 && g->n == g->stop)
		return g->answer;
	memcpy(g->id[g->n++], f->id, sizeof(f->id));
	return g->answer > 0 && g->n == g->stop ? g->answer : 0;
}

static void
test_pages(void **state UNUSED)
{
	struct engine_conf c = test_conf(3);
	struct engine *g = test_open(&c);
	struct paging *pg = calloc(1, sizeof(*pg));
	struct err e = ERR_INIT;
	size_t want = 0, calls = 0;
	bool end = false;

	for (uint64_t i = 0; i < N; i++) {
		struct engine_record r =
		    record_make_on(g, (unsigned)(i % 3), i, 1, 50);

		r.info.class =
		    i % 4 == 0 ? ENGINE_CLASS_LIST : ENGINE_CLASS_SEGMENT;
		if (i % 7 == 0) {
			assert_int_equal(put_tomb(g, &r, 1), 0);
		} else {
			assert_int_equal(put_version(g, &r, i, 50), 0);
			want += i % 4 == 0;
		}
	}
	for (int round = 0; round < 2; round++) {
		uint8_t cursor[ENGINE_CURSOR] = { 0 };

		pg->n = calls = 0;
		for (end = false; !end; calls++) {
			size_t before = pg->n;

			assert_int_equal(engine_page(g, ENGINE_CLASS_LIST,
					     cursor, 17, page_one, pg, &end,
					     &e),
			    0);
			assert_true(pg->n - before == 17 || end);
		}
		assert_int_equal(pg->n, want);
		assert_in_range(calls, want / 17, want / 17 + 2);
		engine_close(&g);
		g = test_open(&c);
	}
	/* Stopped behind one, and before one. */
	{
		uint8_t cursor[ENGINE_CURSOR] = { 0 };

		pg->n = 0;
		pg->stop = 5;
		pg->answer = 1;
		assert_int_equal(engine_page(g, 0, cursor, 17, page_one, pg,
				     &end, &e),
		    0);
		assert_false(end);
		assert_int_equal(pg->n, 5);
		pg->stop = 8;
		pg->answer = ERR_BUSY;
		assert_int_equal(engine_page(g, 0, cursor, 17, page_one, pg,
				     &end, &e),
		    ERR_BUSY);
		assert_int_equal(pg->n, 8);
		pg->answer = 0;
		while (!end)
			assert_int_equal(engine_page(g, 0, cursor, 100,
					     page_one, pg, &end, &e),
			    0);
		assert_int_equal(pg->n, N - (N + 6) / 7);
	}
	engine_close(&g);
	free(pg);
}

/* --- every step failing --- */

static int
give_one(void *arg, const struct engine_record *r)
{
	struct paging *pg = arg;

	memcpy(pg->id[pg->n++], r->info.id, sizeof(r->info.id));
	return 0;
}

/* One call of everything that reads; the first error. */
static int
read_all(struct engine *g, struct paging *pg, struct engine_pos *pos,
    bool *ret_end)
{
	static const struct engine_owner o = { .class = ENGINE_CLASS_LIST };
	struct listing *l = calloc(1, sizeof(*l));
	uint8_t cursor[ENGINE_CURSOR] = { 0 };
	struct buf note = BUF_CAP(4096);
	struct engine_record r;
	struct engine_digest d;
	struct err e = ERR_INIT;
	bool end;
	int rc = engine_log_read(g, 0, pos, 7, give_one, pg, ret_end, &e);

	if (rc == 0)
		rc = engine_digest(g, lowest, highest, &d, &e);
	if (rc == 0) {
		assert_int_equal(d.n, 100);
		rc = engine_range(g, lowest, highest, 500, list_one, l, &e);
	}
	if (rc == 0) {
		assert_int_equal(l->n, 100);
		rc = engine_record_of_key(g, l->key[50], &r, &note, &e);
	}
	if (rc == 0)
		rc = engine_page(g, 0, cursor, 5, page_one,
		    &(struct paging){ .n = 0 }, &end, &e);
	if (rc == 0)
		rc = engine_draw(g, &o, -1, 5, 5, "", 0, &r, &e);
	if (rc < 0)
		assert_int_equal(rc, e.code);
	buf_fini(&note);
	free(l);
	return rc;
}

static void
test_reader_faults(void **state UNUSED)
{
	static const enum fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ,
		FAULT_OPEN };
	struct engine_conf c = test_conf(1);
	struct paging *pg = calloc(1, sizeof(*pg));

	for (size_t k = 0; k < 3; k++) {
		struct engine *g = test_open(&c);
		struct engine_pos pos = { 0 };
		unsigned long n = 1;
		bool end = false;

		for (uint64_t i = 0; i < 100; i++) {
			struct engine_record r = record_make(g, i, 1, 20000);

			assert_true(put_version(g, &r, i, 20000) >= 0);
		}
		engine_close(&g); /* so that volumes are opened anew */
		g = test_open(&c);
		pg->n = 0;
		while (!end) {
			bool fired;
			int rc;

			fault_arm(kinds[k], n, k == 0 ? ENOMEM : EIO, false);
			rc = read_all(g, pg, &pos, &end);
			fired = fault_fired();
			fault_disarm();
			/* A volume that cannot be read is skipped. */
			if (rc < 0 && !fired)
				fail_msg("kind %zu, %lu: %d", k, n, rc);
			n = fired ? n + 1 : 1;
		}
		/* Each once, whatever failed in between. */
		assert_true(pg->n <= 100);
		if (kinds[k] == FAULT_ALLOC)
			assert_int_equal(pg->n, 100);
		engine_close(&g);
	}
	free(pg);
}

/* --- all at once --- */

enum {
	THREADS = 4,
	NAMES = 60,
	ROUNDS = 60
};

struct crowd {
	struct engine *g;
	_Atomic bool stop;
	_Atomic uint64_t highest[NAMES]; /* version << 1 | tombstone */
	_Atomic unsigned next;
};

static uint64_t
mix(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void
raise_to(_Atomic uint64_t *at, uint64_t v)
{
	uint64_t seen = atomic_load(at);

	while (
	    seen >> 1 < v >> 1 && !atomic_compare_exchange_weak(at, &seen, v))
		;
}

static void *
install_main(void *arg)
{
	struct crowd *c = arg;
	uint64_t x = 77 + atomic_fetch_add(&c->next, 1);

	for (int round = 0; round < ROUNDS; round++) {
		struct engine_record r[16];
		struct engine_install v[16];
		struct body b[16];
		struct err e = ERR_INIT;

		for (int k = 0; k < 16; k++) {
			uint64_t name = mix(&x) % NAMES, version;

			/* Of one version there is one content. */
			version = 1 + mix(&x) % 50 + (uint64_t)round;
			r[k] = record_make(c->g, name, version, 200);
			r[k].is_tomb = version % 4 == 0;
			b[k] = body_make(name * 1000 + version, 200);
			r[k].info.crc32 = b[k].crc32;
			v[k] = (struct engine_install){ .r = &r[k],
				.body =
				    str_mem(b[k].p, r[k].is_tomb ? 0 : 200) };
			raise_to(&c->highest[name],
			    version << 1 | r[k].is_tomb);
		}
		assert_int_equal(engine_install_many(c->g, v, 16, &e), 0);
		for (int k = 0; k < 16; k++)
			body_free(&b[k]);
	}
	return NULL;
}

static int
count_one(void *arg, const struct engine_record *r)
{
	(void)r;
	++*(size_t *)arg;
	return 0;
}

static void *
read_main(void *arg)
{
	struct crowd *c = arg;
	struct engine_pos pos = { 0 };
	uint64_t seen = 0;
	size_t n = 0;

	while (!c->stop) {
		struct engine_digest d;
		struct err e = ERR_INIT;
		bool end;

		engine_log_wait(c->g, &seen, 20);
		if (engine_log_read(c->g, 0, &pos, 50, count_one, &n, &end,
			&e) != 0)
			fail_msg("%s", e.msg);
		assert_int_equal(engine_digest(c->g, lowest, highest, &d, &e),
		    0);
		assert_true(d.n <= NAMES);
		engine_log_left(c->g, 0, &pos);
	}
	return NULL;
}

static void *
tidy_main(void *arg)
{
	struct crowd *c = arg;

	while (!c->stop) {
		struct err e = ERR_INIT;

		assert_int_equal(engine_compact_now(c->g, &e), 0);
		clock_sleep_ms(3);
	}
	return NULL;
}

static void
test_crowd(void **state UNUSED)
{
	struct engine_conf conf = test_conf(1);
	struct crowd c = { 0 };
	pthread_t t[THREADS + 3];

	conf.volume_size = 640 * 1024;
	conf.tombstone_keep_s = INT64_C(50) * 365 * 86400;
	conf.index_table_max = 32;
	c.g = test_open(&conf);
	for (int i = 0; i < THREADS + 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL,
				     i < THREADS       ? install_main
				     : i < THREADS + 2 ? read_main
						       : tidy_main,
				     &c),
		    0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	c.stop = true;
	for (int i = THREADS; i < THREADS + 3; i++)
		pthread_join(t[i], NULL);
	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < NAMES; i++) {
			struct engine_record r = record_make(c.g, i, 1, 200);
			uint64_t h = c.highest[i];
			struct engine_version v;

			look(c.g, r.info.id, &v);
			if (h == 0) {
				assert_int_equal(v.known, ENGINE_UNKNOWN);
				continue;
			}
			assert_int_equal(v.version, h >> 1);
			assert_int_equal(v.known,
			    h & 1 ? ENGINE_TOMB : ENGINE_LIVE);
			if (!(h & 1))
				test_reads(c.g, r.info.id, i * 1000 + (h >> 1),
				    200);
		}
		engine_close(&c.g);
		c.g = test_open(&conf);
	}
	engine_close(&c.g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_digests, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_ranges, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_old_tombstones, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_pages, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_reader_faults, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_crowd, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
