/* Random versions, tombstones, deletes, compaction, restarts, crashes and
 * rebuilds, held against a model: the highest version of every name wins, and
 * who follows the log from any position gets it. */
#include "engine_test.h"

#include "replica_test.h"

#include <errno.h>

enum {
	NAMES = 70,
	READERS = 3,
	SMALL = 20000,
	LARGE = 260 * 1024
};

struct state {
	uint64_t version; /* 0 = unknown */
	bool is_tomb;
	size_t size;
};

struct model {
	struct engine_conf c;
	struct engine *g;
	uint64_t rng;
	unsigned round;
	bool keeps; /* tombstones, for ever */
	bool fails; /* a step now and then */
	bool fired;
	char id[NAMES][ENGINE_FILE_ID_MAX];
	struct state now[NAMES];
	struct reader {
		struct engine_pos pos[2];
		struct state got[NAMES];
	} readers[READERS];
};

static uint64_t
draw(struct model *m, uint64_t n)
{
	m->rng ^= m->rng << 13;
	m->rng ^= m->rng >> 7;
	m->rng ^= m->rng << 17;
	return (m->rng >> 11) % n;
}

static uint64_t
seed_of(size_t name, uint64_t version)
{
	return name * 1000003 + version;
}

static size_t
name_of(const struct model *m, const char *id)
{
	for (size_t i = 0; i < NAMES; i++) {
		if (strcmp(m->id[i], id) == 0)
			return i;
	}
	fail_msg("no name of ours: %s", id);
	return 0;
}

static struct engine_record
record_of(struct model *m, size_t i, uint64_t version, bool is_tomb,
    size_t size)
{
	struct engine_record r =
	    record_make_on(m->g, (unsigned)(i % 2), i, version, size);

	memcpy(r.info.id, m->id[i], sizeof(r.info.id));
	r.is_tomb = is_tomb;
	r.info.write_id.b[2] = (uint8_t)(version >> 8);
	r.info.class = i % 3 == 0 ? ENGINE_CLASS_LIST : ENGINE_CLASS_FASTDFS;
	return r;
}

/* --- what is done --- */

static void check_name(struct model *m, size_t i);

/* Some step of what follows fails. */
static void
arm(struct model *m)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC,
		FAULT_RENAME, FAULT_TRUNCATE, FAULT_FALLOCATE, FAULT_ALLOC,
		FAULT_MKDIR };

	m->fired = false;
	if (m->fails && draw(m, 4) == 0)
		fault_arm(kinds[draw(m, 7)], 1 + draw(m, 12), EIO,
		    draw(m, 4) == 0);
}

static void
disarm(struct model *m)
{
	m->fired = fault_fired();
	fault_disarm();
}

static void
note_result(struct model *m, size_t i, const struct engine_record *r, int rc)
{
	struct state *s = &m->now[i];

	if (rc < 0) {
		assert_true(m->fired); /* it is what it was */
		return;
	}
	if (r->info.file_version <= s->version) {
		/* Its tombstone may be gone. */
		if (rc != 0 || m->keeps || !s->is_tomb)
			assert_int_equal(rc, 1);
		if (rc == 1)
			return;
	}
	assert_int_equal(rc, 0);
	*s = (struct state){ .version = r->info.file_version,
		.is_tomb = r->is_tomb,
		.size = r->info.size };
}

static void
do_batch(struct model *m)
{
	enum {
		MAX = 40
	};
	struct engine_install v[MAX];
	struct engine_record r[MAX];
	struct body b[MAX];
	size_t n = 1 + draw(m, MAX), name[MAX];
	struct err e = ERR_INIT;
	int rc;

	for (size_t k = 0; k < n; k++) {
		size_t i = name[k] = draw(m, NAMES);
		uint64_t version = m->now[i].version + draw(m, 4);
		bool is_tomb = draw(m, 4) == 0;
		size_t size = is_tomb ? 0 : draw(m, SMALL);

		if (version == 0)
			version = 1;
		b[k] = body_make(seed_of(i, version), size);
		r[k] = record_of(m, i, version, is_tomb, size);
		r[k].info.crc32 = b[k].crc32;
		v[k] = (struct engine_install){ .r = &r[k],
			.body = str_mem(b[k].p, is_tomb ? 0 : size) };
	}
	arm(m);
	rc = engine_install_many(m->g, v, n, &e);
	disarm(m);
	if (rc != 0 && !m->fired)
		fail_msg("%s", e.msg);
	for (size_t k = 0; k < n; k++) {
		if (v[k].rc == 1) {
			assert_true(v[k].version >= r[k].info.file_version);
			assert_true(m->now[name[k]].version > 0);
		}
		note_result(m, name[k], &r[k], v[k].rc);
		body_free(&b[k]);
	}
	for (size_t k = 0; k < n; k++)
		check_name(m, name[k]);
}

static void
do_large(struct model *m)
{
	size_t i = draw(m, NAMES), size = LARGE + draw(m, 70000), at = 0;
	uint64_t version = m->now[i].version + draw(m, 3), here = 0;
	struct engine_owner o = { .class = ENGINE_CLASS_FASTDFS };
	struct engine_record r;
	struct engine_upload *u;
	struct err e = ERR_INIT;
	struct body b;
	int rc;

	if (version == 0)
		version = 1;
	b = body_make(seed_of(i, version), size);
	r = record_of(m, i, version, false, size);
	r.info.crc32 = b.crc32;
	arm(m);
	rc = engine_upload_begin_at(m->g, &o, (int)(i % 2),
	    draw(m, 2) == 0 ? size : UINT64_MAX, &u, &e);
	while (rc == 0 && at < size) {
		size_t n = 1 + draw(m, 100000);

		if (n > size - at)
			n = size - at;
		assert_int_equal(engine_upload_path(u), (int)(i % 2));
		rc = engine_upload_write(u, b.p + at, n, &e);
		if (rc < 0)
			engine_upload_abort(&u);
		at += n;
	}
	if (rc == 0) {
		rc = engine_upload_install(&u, &r, 0, &here, &e);
		assert_null(u);
	}
	disarm(m);
	if (rc < 0 && !m->fired)
		fail_msg("%s", e.msg);
	if (rc == 1)
		assert_int_equal(here, m->now[i].version);
	note_result(m, i, &r, rc);
	check_name(m, i);
	body_free(&b);
}

static void
do_delete(struct model *m)
{
	size_t i = draw(m, NAMES);
	struct state *s = &m->now[i];
	struct engine_version v;
	struct err e = ERR_INIT;
	int rc;

	look(m->g, m->id[i], &v);
	if (v.known == ENGINE_UNKNOWN)
		s->version = 0;
	arm(m);
	rc = engine_delete(m->g, str_of(m->id[i]), &e);
	disarm(m);
	if (rc != 0) {
		assert_true(m->fired);
		check_name(m, i);
		return;
	}
	if (s->version == 0)
		s->version = UINT64_C(1) << 62;
	else if (!s->is_tomb)
		s->version++;
	s->is_tomb = true;
	s->size = 0;
}

static void
do_compact(struct model *m)
{
	struct err e = ERR_INIT;
	int rc;

	arm(m);
	rc = engine_compact_now(m->g, &e);
	disarm(m);
	if (rc != 0 && !m->fired)
		fail_msg("%s", e.msg);
}

static void
reopen(struct model *m)
{
	engine_close(&m->g);
	m->g = test_open(&m->c);
}

/* As kill -9: the files as they are go on elsewhere. */
static void
crash(struct model *m)
{
	char cmd[1400];

	snprintf(cmd, sizeof(cmd),
	    "cd %s && mkdir copy && cp -a --sparse=always disk0 disk1 copy/",
	    test_dir);
	assert_int_equal(system(cmd), 0);
	engine_close(&m->g);
	snprintf(cmd, sizeof(cmd),
	    "cd %s && rm -rf disk0 disk1 && mv copy/* . && rmdir copy",
	    test_dir);
	assert_int_equal(system(cmd), 0);
	m->g = test_open(&m->c);
}

static void
rebuild(struct model *m)
{
	struct err e = ERR_INIT;

	engine_close(&m->g);
	if (engine_rebuild(&m->c, &e) != 0)
		fail_msg("rebuild: %s", e.msg);
	m->g = test_open(&m->c);
}

/* --- readers --- */

struct taking {
	struct model *m;
	struct reader *r;
};

static int
take(void *arg, const struct engine_record *rec)
{
	struct taking *t = arg;
	size_t i = name_of(t->m, rec->info.id);
	struct state *s = &t->r->got[i];

	/* Without its tombstone a name can begin again. */
	if (rec->info.file_version > s->version || !t->m->keeps)
		*s = (struct state){ .version = rec->info.file_version,
			.is_tomb = rec->is_tomb,
			.size = rec->info.size };
	return 0;
}

static bool
read_some(struct model *m, struct reader *r, size_t max)
{
	struct taking t = { m, r };
	struct err e = ERR_INIT;
	bool all = true;

	for (size_t p = 0; p < 2; p++) {
		bool end = false;

		if (engine_log_read(m->g, p, &r->pos[p], max, take, &t, &end,
			&e) != 0)
			fail_msg("round %u: %s", m->round, e.msg);
		all &= end;
	}
	return all;
}

/* --- what must hold --- */

struct tally {
	struct model *m;
	size_t files;
	uint64_t bytes;
};

static int
tally_one(void *arg, const struct engine_file_info *f)
{
	struct tally *t = arg;
	size_t i = name_of(t->m, f->id);

	assert_false(t->m->now[i].is_tomb);
	assert_int_equal(f->file_version, t->m->now[i].version);
	t->files++;
	t->bytes += f->size;
	return 0;
}

static void
check_name(struct model *m, size_t i)
{
	const struct state *s = &m->now[i];
	struct engine_file_info info;
	struct engine_version v;
	struct engine_record r;
	struct err e = ERR_INIT;

	look(m->g, m->id[i], &v);
	if (s->version == 0) {
		assert_int_equal(v.known, ENGINE_UNKNOWN);
		return;
	}
	if (!m->keeps && s->is_tomb && v.known == ENGINE_UNKNOWN) {
		test_gone(m->g, m->id[i]);
		return;
	}
	if (v.known != (s->is_tomb ? ENGINE_TOMB : ENGINE_LIVE) ||
	    v.version != s->version)
		fail_msg("round %u, name %zu: %d %ju, not %d %ju", m->round, i,
		    (int)v.known, (uintmax_t)v.version, (int)s->is_tomb,
		    (uintmax_t)s->version);
	if (s->is_tomb) {
		test_gone(m->g, m->id[i]);
		return;
	}
	assert_int_equal(v.size, s->size);
	r = record_of(m, i, s->version, false, s->size);
	if (engine_find_write(m->g, &r.info.write_id, &info, &e) != 0)
		fail_msg("round %u, name %zu: write ID: %s", m->round, i,
		    e.msg);
	assert_string_equal(info.id, m->id[i]);
	test_reads(m->g, m->id[i], seed_of(i, s->version), s->size);
}

static void
check_all(struct model *m)
{
	struct tally t = { .m = m };
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	uint64_t files = 0, bytes = 0;
	size_t live = 0;

	for (size_t i = 0; i < NAMES; i++) {
		check_name(m, i);
		live += m->now[i].version > 0 && !m->now[i].is_tomb;
	}
	assert_int_equal(engine_each(m->g, 0, tally_one, &t, &e), 0);
	assert_int_equal(t.files, live);
	for (size_t p = 0; p < 2; p++) {
		engine_path_stat(m->g, p, &st);
		files += st.files;
		bytes += st.bytes;
		assert_int_equal(st.quarantined, 0);
		assert_int_equal(st.scrub_errors, 0);
	}
	assert_int_equal(files, t.files);
	assert_int_equal(bytes, t.bytes);
}

static void
check_readers(struct model *m)
{
	for (size_t k = 0; k < READERS; k++) {
		struct reader *r = &m->readers[k];

		while (!read_some(m, r, 10))
			;
		for (size_t i = 0; i < NAMES; i++) {
			const struct state *a = &m->now[i], *b = &r->got[i];

			if (a->is_tomb && !m->keeps)
				continue;
			if (a->version != b->version ||
			    a->is_tomb != b->is_tomb)
				fail_msg("reader %zu, name %zu: %ju not %ju", k,
				    i, (uintmax_t)b->version,
				    (uintmax_t)a->version);
		}
	}
}

static void
count_large(size_t *ret)
{
	char cmd[600];
	FILE *f;

	snprintf(cmd, sizeof(cmd),
	    "find %s/disk0/data %s/disk1/data -type f | wc -l", test_dir,
	    test_dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", ret), 1);
	pclose(f);
}

/* A path that was taken out of service comes back with the next start. */
static void
mend(struct model *m)
{
	struct engine_path_stat st;

	for (size_t p = 0; p < 2; p++) {
		engine_path_stat(m->g, p, &st);
		if (st.is_failed) {
			assert_true(m->fails);
			reopen(m);
		}
	}
}

static void
run(uint64_t seed, unsigned rounds, bool keeps, bool fails)
{
	struct model *m = calloc(1, sizeof(*m));
	struct err e = ERR_INIT;
	size_t large = 0, files;

	assert_non_null(m);
	m->rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	m->c = test_conf(2);
	m->c.volume_size = 640 * 1024;
	m->c.index_table_max = 64;
	m->keeps = keeps;
	m->fails = fails;
	m->c.tombstone_keep_s = keeps ? INT64_C(20) * 365 * 86400 : 0;
	m->g = test_open(&m->c);
	for (size_t i = 0; i < NAMES; i++) {
		struct engine_record r = record_make_on(m->g, (unsigned)(i % 2),
		    i, 1, i % 5 == 0 ? LARGE : i);

		memcpy(m->id[i], r.info.id, sizeof(m->id[i]));
	}
	for (m->round = 0; m->round < rounds; m->round++) {
		mend(m);
		uint64_t what = draw(m, 100);

		if (what < 45)
			do_batch(m);
		else if (what < 60)
			do_large(m);
		else if (what < 75)
			do_delete(m);
		else if (what < 82)
			do_compact(m);
		else if (what < 88)
			read_some(m, &m->readers[draw(m, READERS)],
			    1 + draw(m, 30));
		else if (what < 92)
			reopen(m);
		else if (what < 95)
			crash(m);
		else if (what < 98)
			rebuild(m);
		else
			check_all(m);
	}
	reopen(m);
	check_all(m);
	check_readers(m);
	assert_int_equal(engine_scrub_now(m->g, &e), 0);
	check_all(m);
	/* No version of a large file is left over. */
	for (size_t i = 0; i < NAMES; i++)
		large += !m->now[i].is_tomb && m->now[i].size >= LARGE;
	count_large(&files);
	assert_int_equal(files, large);
	engine_close(&m->g);
	free(m);
}

static void
test_model(void **state UNUSED)
{
	const char *s = getenv("MODEL_SEEDS");
	unsigned seeds = s == NULL ? 4 : (unsigned)atoi(s);

	for (unsigned i = 1; i <= seeds; i++) {
		run(i, 250, i % 2 == 0, i % 4 >= 2);
		test_remove_dir();
		test_make_dir();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_model, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
