/* Many threads put, read and delete while volumes roll, the index is flushed,
 * compaction and scrub run. Each thread checks its own files. */
#include "engine_test.h"

#include "lib/thread.h"

#include <stdatomic.h>

enum {
	THREADS = 8,
	ROUNDS = 60,
	OWN = 12
};

struct shared {
	struct engine *g;
	_Atomic unsigned left;
	_Atomic unsigned failures;
	char common[ENGINE_FILE_ID_MAX];
};

struct job {
	struct shared *s;
	unsigned no;
	pthread_t t;
	struct {
		char id[ENGINE_FILE_ID_MAX];
		uint64_t seed;
		size_t size;
	} own[OWN];
};

static void
complain(struct shared *s, const char *what, int rc, const struct err *e)
{
	if (atomic_fetch_add(&s->failures, 1) < 5)
		fprintf(stderr, "%s: %d %s\n", what, rc, e->msg);
}

static void *
worker(void *arg)
{
	static const size_t sizes[] = { 100, 5000, 70000, 0, 262144, 300000,
		20000 };
	struct job *j = arg;
	struct err e = ERR_INIT;

	for (unsigned r = 0; r < ROUNDS; r++) {
		unsigned k = r % OWN;
		uint64_t seed = 1 + j->no * 1000 + r;
		struct engine_file_info i;
		int rc;

		if (j->own[k].id[0] != '\0') {
			rc = test_check(j->s->g, j->own[k].id, j->own[k].seed,
			    j->own[k].size, &e);
			if (rc != 0)
				complain(j->s, "read", rc, &e);
			rc = engine_delete(j->s->g, str_of(j->own[k].id), &e);
			if (rc != 0)
				complain(j->s, "delete", rc, &e);
			rc = test_check(j->s->g, j->own[k].id, j->own[k].seed,
			    j->own[k].size, &e);
			if (rc != ERR_NOT_FOUND)
				complain(j->s, "read of deleted", rc, &e);
		}
		j->own[k].seed = seed;
		j->own[k].size = sizes[(r + j->no) % 7];
		rc = test_try_put(j->s->g, seed, j->own[k].size, &i, &e);
		if (rc != 0) {
			complain(j->s, "put", rc, &e);
			j->own[k].id[0] = '\0';
			continue;
		}
		memcpy(j->own[k].id, i.id, sizeof(i.id));
		/* All at once with one write ID: one file (E5). */
		rc = test_try_put(j->s->g, 900000 + r / 4, 3000, &i, &e);
		if (rc != 0)
			complain(j->s, "common put", rc, &e);
		rc = test_check(j->s->g, i.id, 900000 + r / 4, 3000, &e);
		if (rc != 0)
			complain(j->s, "common read", rc, &e);
	}
	atomic_fetch_sub(&j->s->left, 1);
	return NULL;
}

struct census {
	unsigned n, common;
};

static int
count_one(void *arg, const struct engine_file_info *f)
{
	struct census *c = arg;
	uint64_t seed;

	memcpy(&seed, f->write_id.b + 8, 8);
	c->n++;
	c->common += seed >= 900000;
	return 0;
}

static void
test_all_at_once(void **state)
{
	struct engine_conf c = test_conf(2);
	struct shared s = { .left = THREADS };
	struct job *jobs = calloc(THREADS, sizeof(*jobs));
	struct census n = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(jobs);
	c.index_table_max = 100;
	s.g = test_open(&c);
	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i].s = &s;
		jobs[i].no = i;
		assert_int_equal(thread_start(&jobs[i].t, "test", worker,
				     &jobs[i], &e),
		    0);
	}
	while (s.left > 0) {
		int rc = engine_compact_now(s.g, &e);

		if (rc != 0)
			complain(&s, "compact", rc, &e);
		rc = engine_scrub_now(s.g, &e);
		if (rc != 0)
			complain(&s, "scrub", rc, &e);
		n = (struct census){ 0 };
		rc = engine_each(s.g, 0, count_one, &n, &e);
		if (rc != 0)
			complain(&s, "each", rc, &e);
	}
	for (unsigned i = 0; i < THREADS; i++)
		thread_join(jobs[i].t);
	assert_int_equal(s.failures, 0);
	for (int round = 0; round < 3; round++) {
		struct engine_path_stat st;

		n = (struct census){ 0 };
		assert_int_equal(engine_each(s.g, 0, count_one, &n, &e), 0);
		assert_int_equal(n.common, ROUNDS / 4);
		assert_int_equal(n.n, THREADS * OWN + ROUNDS / 4);
		for (unsigned i = 0; i < THREADS; i++) {
			for (unsigned k = 0; k < OWN; k++)
				test_reads(s.g, jobs[i].own[k].id,
				    jobs[i].own[k].seed, jobs[i].own[k].size);
		}
		for (size_t p = 0; p < 2; p++) {
			engine_path_stat(s.g, p, &st);
			assert_int_equal(st.scrub_errors, 0);
			assert_int_equal(st.quarantined, 0);
		}
		engine_close(&s.g);
		if (round == 1)
			assert_int_equal(engine_rebuild(&c, &e), 0);
		s.g = test_open(&c);
	}
	engine_close(&s.g);
	free(jobs);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)
	const struct CMUnitTest tests[] = { T(test_all_at_once) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
