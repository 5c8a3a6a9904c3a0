/* kill -9 while versions of the same names are installed, small and large, and
 * tombstones, and compaction runs: of each name the last acknowledged version
 * is there, or the one that was under way; who follows the log gets it; no file
 * of a version that went is left over. */
#include "engine_test.h"

#include "replica_test.h"

#include "lib/clock.h"
#include "lib/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum {
	NAMES = 160,
	THREADS = 4,
	ROUNDS = 16,
	BIG = 70 * 1024
};

struct shared { /* survives the child; version << 1 | tombstone */
	_Atomic uint64_t acked[NAMES], tried[NAMES];
	_Atomic unsigned failures, done;
};

struct job {
	struct shared *m;
	struct engine *g;
	unsigned no;
	uint64_t dice;
	pthread_t t;
};

static uint64_t
roll(uint64_t *dice)
{
	*dice = *dice * 6364136223846793005u + 1442695040888963407u;
	return *dice >> 33;
}

static size_t
size_of(uint64_t name, uint64_t version)
{
	return version % 5 == 0 ? BIG + name : 100 + name * version % 5000;
}

static uint64_t
seed_of(uint64_t name, uint64_t version)
{
	return name * 100003 + version;
}

static struct engine_record
record_of(uint64_t name, uint64_t v)
{
	struct engine_record r =
	    record_make_on(NULL, (unsigned)(name % 2), name, v >> 1, 33);

	r.is_tomb = v & 1;
	r.info.size = r.is_tomb ? 0 : size_of(name, v >> 1);
	return r;
}

static int
install_one(struct job *j, uint64_t name, uint64_t v)
{
	struct engine_owner o = { .class = ENGINE_CLASS_FASTDFS };
	struct engine_record r = record_of(name, v);
	struct engine_install i = { .r = &r };
	struct engine_upload *u;
	struct body b = body_make(seed_of(name, v >> 1), r.info.size);
	int rc;

	r.info.crc32 = b.crc32;
	i.body = str_mem(b.p, b.len);
	if (b.len < BIG) {
		rc = engine_install_many(j->g, &i, 1, NULL);
		rc = rc == 0 ? i.rc : rc;
	} else {
		rc = engine_upload_begin_at(j->g, &o, (int)(name % 2), b.len,
		    &u, NULL);
		if (rc == 0)
			rc = engine_upload_write(u, b.p, b.len, NULL);
		if (rc == 0)
			rc = engine_upload_install(&u, &r, 0, NULL, NULL);
	}
	body_free(&b);
	return rc;
}

static void *
worker(void *arg)
{
	struct job *j = arg;

	for (;;) {
		uint64_t name =
		    roll(&j->dice) % (NAMES / THREADS) * THREADS + j->no;
		uint64_t v = ((j->m->acked[name] >> 1) + 1 + roll(&j->dice) % 3)
		             << 1;

		v |= roll(&j->dice) % 5 == 0;
		j->m->tried[name] = v;
		if (install_one(j, name, v) != 0) {
			j->m->failures++;
			return NULL;
		}
		j->m->acked[name] = v;
		j->m->done++;
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
	c.index_table_max = 50;
	c.compact_percent = 25;
	c.tombstone_keep_s = INT64_C(50) * 365 * 86400;
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
		j[i] = (struct job){ .m = m,
			.g = g,
			.no = i,
			.dice = round * 100 + i };
		thread_start(&j[i].t, "test", i < THREADS ? worker : tidier,
		    &j[i], NULL);
	}
	for (;;)
		pause();
}

/* --- afterwards --- */

struct follower {
	struct engine_pos pos[2];
	uint64_t got[NAMES];
	char id[NAMES][ENGINE_FILE_ID_MAX];
};

static int
take(void *arg, const struct engine_record *r)
{
	struct follower *f = arg;

	for (size_t i = 0; i < NAMES; i++) {
		if (strcmp(f->id[i], r->info.id) != 0)
			continue;
		if (r->info.file_version > f->got[i] >> 1)
			f->got[i] = r->info.file_version << 1 | r->is_tomb;
		return 0;
	}
	fail_msg("no name of ours: %s", r->info.id);
	return -1;
}

static size_t
check_name(struct engine *g, struct shared *m, uint64_t i)
{
	struct engine_record r = record_of(i, 2);
	struct engine_version v;
	uint64_t now;

	look(g, r.info.id, &v);
	now = v.version << 1 | (v.known == ENGINE_TOMB);
	if (now != m->acked[i] && now != m->tried[i])
		fail_msg("name %ju: %ju, acknowledged %ju, tried %ju",
		    (uintmax_t)i, (uintmax_t)now, (uintmax_t)m->acked[i],
		    (uintmax_t)m->tried[i]);
	m->acked[i] = m->tried[i] = now;
	if (v.known == ENGINE_UNKNOWN)
		return 0;
	if (v.known == ENGINE_TOMB) {
		test_gone(g, r.info.id);
		return 0;
	}
	test_reads(g, r.info.id, seed_of(i, v.version), size_of(i, v.version));
	return size_of(i, v.version) >= BIG;
}

static void
verify(struct shared *m, struct follower *f)
{
	struct engine_conf c = conf();
	struct engine *g = test_open(&c);
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	size_t large = 0, files;
	char cmd[600];
	FILE *p;

	for (uint64_t i = 0; i < NAMES; i++)
		large += check_name(g, m, i);
	for (size_t i = 0; i < 2; i++) {
		bool end = false;

		while (!end) {
			if (engine_log_read(g, i, &f->pos[i], 37, take, f, &end,
				&e) != 0)
				fail_msg("%s", e.msg);
		}
		engine_path_stat(g, i, &st);
		assert_int_equal(st.quarantined, 0);
		assert_int_equal(st.scrub_errors, 0);
	}
	for (size_t i = 0; i < NAMES; i++)
		assert_int_equal(f->got[i], m->acked[i]);
	engine_close(&g);
	snprintf(cmd, sizeof(cmd),
	    "find %s/disk0/data %s/disk1/data %s/disk0/tmp %s/disk1/tmp "
	    "-type f | wc -l",
	    test_dir, test_dir, test_dir, test_dir);
	p = popen(cmd, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%zu", &files), 1);
	pclose(p);
	/* One that was just being unlinked, if the index knew that already. */
	assert_in_range(files, large, large + 2);
}

static void
test_kill_loop(void **state UNUSED)
{
	struct shared *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct follower *f = calloc(1, sizeof(*f));
	struct engine_conf c = conf();
	struct err e = ERR_INIT;
	uint64_t dice = 7;

	assert_true(m != MAP_FAILED);
	assert_non_null(f);
	for (uint64_t i = 0; i < NAMES; i++) {
		struct engine_record r = record_of(i, 2);

		memcpy(f->id[i], r.info.id, sizeof(f->id[i]));
	}
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
		verify(m, f);
	}
	assert_true(m->done > 100);
	munmap(m, sizeof(*m));
	free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kill_loop, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
