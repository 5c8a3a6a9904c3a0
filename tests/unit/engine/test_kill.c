/* kill -9 in the middle of everything, again and again, on one set of files:
 * threads put and delete while volumes roll, compaction and scrub run. What was
 * acknowledged before the kill is there after it, deleted stays deleted, what
 * was under way either happened or not, and there is nothing else. */
#include "engine_test.h"

#include "lib/clock.h"
#include "lib/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum {
	SLOTS = 30000,
	THREADS = 5,
	ROUNDS = 16
};

enum {
	FREE,
	PUTTING,
	PUT,
	DELETING,
	DELETED
};

struct slot {
	_Atomic int state;
	uint32_t size;
	char id[ENGINE_FILE_ID_MAX];
};

struct shared { /* survives the child */
	_Atomic unsigned next;
	_Atomic unsigned failures;
	struct slot s[SLOTS];
};

struct job {
	struct shared *m;
	struct engine *g;
	uint64_t dice;
	pthread_t t;
};

static uint64_t
roll(uint64_t *dice)
{
	*dice = *dice * 6364136223846793005u + 1442695040888963407u;
	return *dice >> 33;
}

static void
delete_some(struct job *j, unsigned below)
{
	struct slot *s = &j->m->s[roll(&j->dice) % below];
	int want = PUT;

	if (!atomic_compare_exchange_strong(&s->state, &want, DELETING))
		return;
	if (engine_delete(j->g, str_of(s->id), NULL) == 0)
		s->state = DELETED;
	else
		j->m->failures++;
}

static void *
worker(void *arg)
{
	struct job *j = arg;

	for (;;) {
		unsigned k = atomic_fetch_add(&j->m->next, 1);
		struct engine_file_info i;
		struct slot *s;

		if (k >= SLOTS)
			return NULL;
		s = &j->m->s[k];
		s->size = (uint32_t)(roll(&j->dice) % 9000);
		if (k % 40 == 0)
			s->size += 80000;
		s->state = PUTTING;
		if (test_try_put(j->g, k, s->size, &i, NULL) != 0) {
			j->m->failures++;
			return NULL;
		}
		memcpy(s->id, i.id, sizeof(s->id));
		s->state = PUT;
		if (roll(&j->dice) % 4 != 0)
			delete_some(j, k + 1);
	}
}

static void *
tidier(void *arg)
{
	struct job *j = arg;

	for (;;) {
		if (engine_compact_now(j->g, NULL) != 0)
			j->m->failures++;
		clock_sleep_ms(5);
	}
	return NULL;
}

static struct engine_conf
conf(void)
{
	struct engine_conf c = test_conf(2);

	c.small_limit = 64 * 1024;
	c.volume_size = 256 * 1024;
	c.index_table_max = 150;
	c.compact_percent = 25;
	return c;
}

static _Noreturn void
child(struct shared *m, unsigned round)
{
	struct engine_conf c = conf();
	struct job j[THREADS + 1];
	struct engine *g;

	if (engine_open(&c, &g, NULL) != 0) {
		m->failures++;
		_exit(1);
	}
	for (unsigned i = 0; i <= THREADS; i++) {
		j[i] = (struct job){ .m = m, .g = g, .dice = round * 100 + i };
		thread_start(&j[i].t, "test", i < THREADS ? worker : tidier,
		    &j[i], NULL);
	}
	for (;;)
		pause();
}

struct census {
	struct shared *m;
	unsigned n;
};

static int
count_one(void *arg, const struct engine_file_info *f)
{
	struct census *s = arg;
	uint64_t k;

	memcpy(&k, f->write_id.b + 8, 8);
	assert_true(k < SLOTS);
	if (s->m->s[k].state != PUT)
		fail_msg("file %u is there in state %d", (unsigned)k,
		    s->m->s[k].state);
	assert_string_equal(f->id, s->m->s[k].id);
	s->n++;
	return 0;
}

static void
settle(struct engine *g, struct shared *m, unsigned k)
{
	struct id128 w = test_owner(k).write_id;
	struct slot *s = &m->s[k];
	struct engine_file_info i;
	struct err e = ERR_INIT;
	int rc;

	switch (s->state) {
	case PUTTING:
		rc = engine_find_write(g, &w, &i, &e);
		if (rc == 0)
			memcpy(s->id, i.id, sizeof(s->id));
		else
			assert_int_equal(rc, ERR_NOT_FOUND);
		s->state = rc == 0 ? PUT : FREE;
		break;
	case DELETING:
		rc = test_check(g, s->id, k, s->size, &e);
		if (rc != 0)
			assert_int_equal(rc, ERR_NOT_FOUND);
		s->state = rc == 0 ? PUT : DELETED;
		break;
	default:
		break;
	}
	if (s->state == PUT)
		test_reads(g, s->id, k, s->size);
	else if (s->state == DELETED)
		test_gone(g, s->id);
}

static void
verify(struct shared *m)
{
	struct engine_conf c = conf();
	struct engine *g = test_open(&c);
	struct census n = { .m = m };
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	unsigned live = 0, end = m->next < SLOTS ? m->next : SLOTS;
	uint64_t files = 0;

	for (unsigned k = 0; k < end; k++) {
		settle(g, m, k);
		live += m->s[k].state == PUT;
	}
	assert_int_equal(engine_each(g, 0, count_one, &n, &e), 0);
	assert_int_equal(n.n, live);
	for (size_t i = 0; i < 2; i++) {
		engine_path_stat(g, i, &st);
		files += st.files;
		assert_int_equal(st.quarantined, 0);
		assert_int_equal(st.scrub_errors, 0);
	}
	assert_int_equal(files, live);
	engine_close(&g);
}

static void
test_kill_loop(void **state)
{
	struct shared *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct engine_conf c = conf();
	struct err e = ERR_INIT;
	uint64_t dice = 7;

	(void)state;
	assert_true(m != MAP_FAILED);
	for (unsigned round = 0; round < ROUNDS; round++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			child(m, round);
		clock_sleep_ms(30 + (int)(roll(&dice) % 150));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(m->failures, 0);
		if (round % 4 == 3 && engine_rebuild(&c, &e) != 0)
			fail_msg("rebuild: %s", e.msg);
		verify(m);
	}
	assert_true(m->next > 100);
	munmap(m, sizeof(*m));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)
	const struct CMUnitTest tests[] = { T(test_kill_loop) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
