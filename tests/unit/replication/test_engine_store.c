/* The engine as the replication's store: every call of the table, once. */
#include "storage/replication/engine_store.h"

#include "lib/fault.h"
#include "lib/fs.h"
#include "lib/hash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char dir[200], disk[220], saved[240];
static struct engine *g;
static struct rep_engine_store st;
static const struct rep_store_ops *const o = &rep_engine_ops;

static int
set_up(void **state)
{
	const char *paths[1] = { disk };
	struct engine_conf c = { .paths = paths,
		.n_paths = 1,
		.group = "group1",
		.server_id = 3,
		.small_limit = 64 * 1024,
		.volume_size = 1 << 20 };
	struct err e = ERR_INIT;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/creel-store-XXXXXX",
	    getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
	assert_non_null(mkdtemp(dir));
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	snprintf(saved, sizeof(saved), "%s/cluster", disk);
	assert_int_equal(engine_open(&c, &g, &e), 0);
	st = (struct rep_engine_store){ .g = g, .dir = saved };
	return 0;
}

static int
tear_down(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	engine_close(&g);
	return fs_remove_tree(dir, &e);
}

static int
count(void *arg, const struct engine_record *r)
{
	assert_false(r->is_tomb);
	++*(int *)arg;
	return 0;
}

static int
count_keys(void *arg, const uint8_t key[ENGINE_KEY],
    const struct engine_version *v)
{
	struct engine_record r;
	struct buf note = BUF_CAP(4096);
	struct err e = ERR_INIT;

	assert_int_equal(v->known, ENGINE_LIVE);
	assert_int_equal(o->record_of_key(&st, key, &r, &note, &e), 0);
	buf_fini(&note);
	++*(int *)arg;
	return 0;
}

static void
check_file(const struct engine_record *r, const char *body, size_t len)
{
	struct buf note = BUF_CAP(4096);
	struct engine_version v;
	struct engine_record got;
	struct str id = str_of(r->info.id);
	struct err e = ERR_INIT;
	char *read = malloc(len);
	size_t n;
	void *f;

	assert_int_equal(o->open(&st, id, &f, &e), 0);
	assert_int_equal(o->read(f, 0, read, len, &n, &e), 0);
	assert_int_equal(n, len);
	assert_memory_equal(read, body, len);
	assert_int_equal(o->record(f, &got, &note, &e), 0);
	assert_string_equal(got.info.id, r->info.id);
	assert_true(str_eq(got.note, r->note));
	o->close(f);
	buf_reset(&note);
	assert_int_equal(o->record_of(&st, id, &got, &note, &e), 0);
	assert_int_equal(got.source.seq, r->source.seq);
	assert_int_equal(o->lookup_many(&st, &id, 1, &v, &e), 0);
	assert_int_equal(v.known, ENGINE_LIVE);
	assert_int_equal(v.size, len);
	buf_fini(&note);
	free(read);
}

static void
test_files(void **state)
{
	static char body[200000];
	struct engine_owner owner = { .class = ENGINE_CLASS_FASTDFS,
		.note = STR_LIT("note") };
	static const uint8_t lo[ENGINE_KEY];
	uint8_t hi[ENGINE_KEY];
	struct engine_record small, large;
	struct engine_install in = { .r = &small, .flags = ENGINE_NEW };
	struct engine_digest d;
	struct engine_pos pos = { 0 };
	struct id128 a, b;
	struct err e = ERR_INIT;
	uint64_t seen = 0, version = 0;
	void *u;
	int n = 0;
	bool end;

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 31 >> 3);
	assert_int_equal(o->n_paths(&st), 1);
	assert_int_equal(o->draw(&st, &owner, 0, 1000,
			     hash_crc32(0, body, 1000), "a", 0, &small, &e),
	    0);
	in.body = str_mem(body, 1000);
	assert_int_equal(o->install_many(&st, &in, 1, &e), 0);
	check_file(&small, body, 1000);
	assert_true(o->next_source(&st).seq > small.source.seq);

	assert_int_equal(o->upload_begin(&st, &owner, -1, UINT64_MAX, &u, &e),
	    0);
	assert_int_equal(o->upload_path(u), -1);
	assert_int_equal(o->upload_write(u, body, sizeof(body), &e), 0);
	assert_int_equal(o->upload_path(u), 0);
	assert_int_equal(o->upload_draw(u, "b", 0, &large, &e), 0);
	assert_int_equal(o->upload_install(u, &large, ENGINE_NEW, &version, &e),
	    0);
	large.note = owner.note;
	check_file(&large, body, sizeof(body));
	assert_int_equal(o->upload_begin(&st, &owner, 0, 10, &u, &e), 0);
	o->upload_abort(u);

	memset(hi, 0xff, sizeof(hi));
	assert_int_equal(o->digest(&st, lo, hi, &d, &e), 0);
	assert_int_equal(d.n, 2);
	assert_int_equal(o->range(&st, lo, hi, 9, count_keys, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_true(o->log_left(&st, 0, &pos) > 1000);
	assert_true(o->log_wait(&st, &seen, 0));
	n = 0;
	assert_int_equal(o->log_read(&st, 0, &pos, 9, count, &n, &end, &e), 0);
	assert_true(end);
	assert_int_equal(n, 2);
	o->paths_id(&st, &a);
	engine_paths_id(g, &b);
	assert_true(id128_eq(&a, &b));
}

static void
test_saved(void **state)
{
	struct buf b = BUF_CAP(1000);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(o->load(&st, "cursors", &b, &e), ERR_NOT_FOUND);
	assert_int_equal(o->save(&st, "cursors", STR_LIT("one"), &e), 0);
	assert_int_equal(o->load(&st, "cursors", &b, &e), 0);
	assert_true(str_eqz(buf_str(&b), "one"));
	/* The old one stays where a new one fails. */
	for (unsigned long n = 1; n < 3; n++) {
		fault_arm(FAULT_WRITE, 1, EIO, true);
		assert_true(o->save(&st, "cursors", STR_LIT("two"), &e) < 0);
		fault_disarm();
		buf_reset(&b);
		assert_int_equal(o->load(&st, "cursors", &b, &e), 0);
		assert_true(str_eqz(buf_str(&b), "one"));
	}
	assert_int_equal(o->save(&st, "cursors", STR_LIT(""), &e), 0);
	buf_reset(&b);
	assert_int_equal(o->load(&st, "cursors", &b, &e), 0);
	assert_int_equal(b.len, 0);
	assert_int_equal(o->save(&st, "../x", STR_LIT(""), &e), ERR_INVALID);
	assert_int_equal(o->save(&st, "", STR_LIT(""), &e), ERR_INVALID);
	assert_int_equal(o->load(&st, "..", &b, &e), ERR_INVALID);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_saved, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
