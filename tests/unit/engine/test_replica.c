/* The engine as a member of a group: installing versions, drawing names,
 * lookups, records. */
#include "engine_test.h"

#include "replica_test.h"

static void
test_draw_and_install(void **state UNUSED)
{
	struct engine_conf c = test_conf(2);
	struct engine *g = test_open(&c);
	struct engine_owner o = test_owner(7);
	struct engine_record r, again;
	struct engine_version v;
	struct err e = ERR_INIT;
	struct body b = body_make(1, 3000);

	o.note = str_of("a note");
	assert_int_equal(engine_draw(g, &o, 1, b.len, b.crc32, "jpg", 0, &r,
			     &e),
	    0);
	assert_memory_equal(r.info.id, "group1/M01/", 11);
	assert_int_equal(r.info.file_version, 1);
	assert_true(id128_eq(&r.source.node, engine_node_id(g)));
	assert_int_equal(r.source.incarnation, engine_incarnation(g));
	look(g, r.info.id, &v);
	assert_int_equal(v.known, ENGINE_UNKNOWN);

	assert_int_equal(install(g, &r, &b, ENGINE_NEW), 0);
	test_reads(g, r.info.id, 1, 3000);
	look(g, r.info.id, &v);
	assert_int_equal(v.known, ENGINE_LIVE);
	assert_int_equal(v.version, 1);
	assert_int_equal(v.size, 3000);
	assert_int_equal(v.class, ENGINE_CLASS_S3);
	/* Known. */
	assert_int_equal(install(g, &r, &b, ENGINE_NEW), ERR_EXISTS);
	assert_int_equal(install(g, &r, &b, 0), 1);
	/* E5 */
	assert_int_equal(engine_draw(g, &o, -1, b.len, b.crc32, "jpg", 0,
			     &again, &e),
	    1);
	assert_string_equal(again.info.id, r.info.id);
	assert_int_equal(again.source.seq, r.source.seq);
	same_record(g, &r);
	engine_close(&g);
	g = test_open(&c);
	same_record(g, &r);
	test_reads(g, r.info.id, 1, 3000);
	engine_close(&g);
	body_free(&b);
}

static void
test_draw_appender(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_owner o = { .class = ENGINE_CLASS_LIST };
	struct engine_record r;
	struct fdfs_file_id id;
	struct err e = ERR_INIT;

	assert_int_equal(engine_draw(g, &o, -1, 77, 5, "log", ENGINE_APPENDER,
			     &r, &e),
	    0);
	assert_int_equal(fdfs_id_parse(str_of(r.info.id), &id, &e), 0);
	assert_int_equal(fdfs_id_kind(&id), FDFS_APPENDER);
	assert_int_equal((uint32_t)id.size_field, 0);
	assert_true(id.size_field & FDFS_SIZE_SMALL);
	assert_int_equal(id.crc32, 5);
	assert_int_equal(engine_draw(g, &o, 1, 1, 1, "", 0, &r, &e),
	    ERR_INVALID);
	engine_close(&g);
}

static void
test_versions(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct err e = ERR_INIT;
	struct engine_path_stat st;
	struct engine_record r;

	r = record_make(g, 5, 1, 1000);
	assert_int_equal(put_version(g, &r, 5, 1000), 0);
	r.info.file_version = 9;
	r.info.write_id.b[3] = 9;
	assert_int_equal(put_version(g, &r, 50, 2000), 0);
	test_reads(g, r.info.id, 50, 2000);
	r.info.file_version = 8;
	assert_int_equal(put_version(g, &r, 51, 100), 1);
	test_reads(g, r.info.id, 50, 2000);
	engine_path_stat(g, 0, &st);
	assert_int_equal(st.files, 1);
	assert_int_equal(st.bytes, 2000);

	assert_int_equal(put_tomb(g, &r, 9), 1);
	test_reads(g, r.info.id, 50, 2000);
	assert_int_equal(put_tomb(g, &r, 10), 0);
	test_gone(g, r.info.id);
	r.info.file_version = 10;
	assert_int_equal(put_version(g, &r, 52, 100), 1);
	r.info.file_version = 11;
	assert_int_equal(put_version(g, &r, 53, 100), 0);
	for (int i = 0; i < 2; i++) {
		test_reads(g, r.info.id, 53, 100);
		engine_path_stat(g, 0, &st);
		assert_int_equal(st.files, 1);
		assert_int_equal(st.bytes, 100);
		assert_int_equal(engine_compact_now(g, &e), 0);
		engine_close(&g);
		g = test_open(&c);
	}
	engine_close(&g);
}

static void
test_refusals(void **state UNUSED)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct engine_record r = record_make(g, 1, 1, 100), bad = r;
	struct engine_version v;
	struct body b = body_make(1, 100), big = body_make(2, 300 * 1024);

	r.info.crc32 = b.crc32;
	bad = r;
	bad.info.crc32++;
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	bad = r;
	bad.info.size++;
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	bad = r;
	bad.info.file_version = 0;
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	bad = r;
	memcpy(bad.info.id, "group2", 6);
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	bad = r;
	bad.info.id[9] = '7';
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	bad = r;
	memset(bad.info.id, 'x', sizeof(bad.info.id));
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	bad = r;
	bad.info.size = big.len;
	bad.info.crc32 = big.crc32;
	assert_int_equal(install(g, &bad, &big, 0), ERR_TOO_BIG);
	bad = r;
	bad.is_tomb = true;
	assert_int_equal(install(g, &bad, &b, 0), ERR_INVALID);
	look(g, r.info.id, &v);
	assert_int_equal(v.known, ENGINE_UNKNOWN);
	look(g, "nonsense", &v);
	assert_int_equal(v.known, ENGINE_UNKNOWN);
	assert_int_equal(install(g, &r, &b, 0), 0);
	engine_close(&g);
	body_free(&b);
	body_free(&big);
}

/* Names twice in a batch, and a mix of outcomes. */
static void
test_batch(void **state UNUSED)
{
	enum {
		N = 1500
	};
	static struct engine_record r[N];
	static struct engine_install v[N];
	static struct body b[N];
	struct engine_conf c = test_conf(3);
	struct engine *g = test_open(&c);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < N; i++) {
		size_t seed = i % 2 == 1 && i % 10 == 1 ? i - 1 : i;

		r[i] = record_make_on(g, (unsigned)(seed % 3), seed, 1,
		    50 + seed % 100);
		b[i] = body_make(i, 50 + seed % 100);
		r[i].info.crc32 = b[i].crc32;
		if (seed != i) { /* version 2 of the one before */
			memcpy(r[i].info.id, r[i - 1].info.id,
			    sizeof(r[i].info.id));
			r[i].info.file_version = 2;
		}
		v[i] = (struct engine_install){ .r = &r[i],
			.body = str_mem(b[i].p, b[i].len) };
	}
	r[700].info.crc32++;
	assert_int_equal(engine_install_many(g, v, N, &e), ERR_INVALID);
	for (size_t i = 0; i < N; i++) {
		if (v[i].rc != (i == 700 ? ERR_INVALID : 0))
			fail_msg("%zu: %d", i, v[i].rc);
		if (i % 10 != 0 && i != 700)
			test_reads(g, r[i].info.id, i, b[i].len);
	}
	r[700].info.crc32--;
	assert_int_equal(engine_install_many(g, v, N, &e), 0);
	/* 700 is version 1 of what 701 has made version 2. */
	for (size_t i = 0; i < N; i++)
		assert_int_equal(v[i].rc, 1);
	engine_close(&g);
	for (size_t i = 0; i < N; i++)
		body_free(&b[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_draw_and_install,
		    test_setup, test_teardown),
		cmocka_unit_test_setup_teardown(test_draw_appender, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_versions, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_refusals, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_batch, test_setup,
		    test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
