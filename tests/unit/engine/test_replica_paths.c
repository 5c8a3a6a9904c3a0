/* Store paths of a member: the cluster's ID as deployment, a lost disk that is
 * replaced by a blank one. */
#include "engine_test.h"

#include "replica_test.h"

#include <errno.h>

static int
try_open(struct engine_conf *c, struct err *e)
{
	struct engine *g;
	int rc = engine_open(c, &g, e);

	if (rc == 0)
		engine_close(&g);
	return rc;
}

static void
refused(struct engine_conf *c, const char *why)
{
	struct err e = ERR_INIT;

	assert_int_equal(try_open(c, &e), ERR_CONFIG);
	if (strstr(e.msg, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.msg, why);
	assert_null(strchr(e.msg, '\n'));
}

static void
lose(size_t path)
{
	struct err e = ERR_INIT;

	assert_int_equal(fs_remove_tree(test_paths[path], &e), 0);
}

static void
test_deployment(void **state UNUSED)
{
	struct engine_conf c = test_conf(2);
	struct id128 one = id128_new(), two = id128_new();
	struct engine *g;

	c.deployment = &one;
	c.n_paths = 1;
	g = test_open(&c);
	assert_true(id128_eq(engine_deployment_id(g), &one));
	engine_close(&g);
	c.deployment = &two;
	refused(&c, "empty directory");
	/* A path that is added too. */
	c.deployment = &one;
	c.n_paths = 2;
	g = test_open(&c);
	assert_true(id128_eq(engine_deployment_id(g), &one));
	engine_close(&g);
	/* Without it any is taken. */
	c.deployment = NULL;
	g = test_open(&c);
	assert_true(id128_eq(engine_deployment_id(g), &one));
	engine_close(&g);
}

static void
test_replaced(void **state UNUSED)
{
	struct engine_conf c = test_conf(3);
	struct engine_record r[3];
	struct engine *g = test_open(&c);
	struct id128 ids[3], node = *engine_node_id(g);
	struct engine_pos pos = { 0 };
	struct engine_version v;
	bool end;
	struct err e = ERR_INIT;
	char cmd[1000];

	engine_paths_id(g, &ids[0]);
	for (unsigned i = 0; i < 3; i++) {
		r[i] = record_make_on(g, i, i, 1, 100);
		assert_int_equal(put_version(g, &r[i], i, 100), 0);
	}
	engine_close(&g);
	g = test_open(&c);
	engine_paths_id(g, &ids[1]);
	assert_true(id128_eq(&ids[0], &ids[1]));
	engine_close(&g);

	snprintf(cmd, sizeof(cmd), "cp -a %s %s/kept", test_paths[1], test_dir);
	assert_int_equal(system(cmd), 0);
	lose(1);
	refused(&c, "mounted");
	c.replace_blank = true;
	g = test_open(&c);
	engine_paths_id(g, &ids[1]);
	assert_false(id128_eq(&ids[0], &ids[1]));
	assert_true(id128_eq(engine_node_id(g), &node));
	look(g, r[0].info.id, &v);
	assert_int_equal(v.known, ENGINE_LIVE);
	look(g, r[1].info.id, &v);
	assert_int_equal(v.known, ENGINE_UNKNOWN);
	/* Its log is another. */
	assert_int_equal(put_version(g, &r[1], 1, 100), 0);
	assert_int_equal(engine_log_read(g, 1, &pos, 0, NULL, NULL, &end, &e),
	    0);
	test_reads(g, r[1].info.id, 1, 100);
	engine_close(&g);
	c.replace_blank = false;
	g = test_open(&c);
	engine_paths_id(g, &ids[2]);
	assert_true(id128_eq(&ids[2], &ids[1]));
	test_reads(g, r[1].info.id, 1, 100);
	engine_close(&g);

	/* The old disk turns up again: not as that path any more. */
	lose(1);
	snprintf(cmd, sizeof(cmd), "mv %s/kept %s", test_dir, test_paths[1]);
	assert_int_equal(system(cmd), 0);
	refused(&c, "another store path 1");
	c.replace_blank = true;
	refused(&c, "another store path 1");
	/* One of three is not given at all. */
	lose(1);
	c.n_paths = 2;
	c.paths = &test_path_list[1];
	lose(2);
	c.paths = test_path_list;
	refused(&c, "missing");
	/* Two at once, in the order of the directories. */
	c.n_paths = 3;
	g = test_open(&c);
	for (unsigned i = 0; i < 3; i++) {
		int rc = put_version(g, &r[i], i, 100);

		assert_int_equal(rc, i == 0 ? 1 : 0);
	}
	engine_close(&g);
	c.replace_blank = false;
	g = test_open(&c);
	for (unsigned i = 0; i < 3; i++)
		test_reads(g, r[i].info.id, i, 100);
	engine_close(&g);
}

/* Broken off at every step: with or without the setting it goes on. */
static void
test_replacing_faults(void **state UNUSED)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC,
		FAULT_RENAME, FAULT_OPEN, FAULT_ALLOC };

	for (size_t k = 0; k < 5; k++) {
		for (unsigned long n = 1;; n++) {
			struct engine_conf c = test_conf(3);
			struct engine_record r;
			struct engine *g = test_open(&c);
			struct err e = ERR_INIT;
			bool fired;
			int rc;

			r = record_make_on(g, 2, 5, 1, 100);
			assert_int_equal(put_version(g, &r, 5, 100), 0);
			engine_close(&g);
			lose(1);
			c.replace_blank = true;
			fault_arm(kinds[k], n, EIO, true);
			rc = try_open(&c, &e);
			fired = fault_fired();
			fault_disarm();
			if (rc != 0)
				assert_true(fired);
			e = ERR_INIT;
			if (try_open(&c, &e) != 0)
				fail_msg("kind %d, %lu: %s", (int)kinds[k], n,
				    e.msg);
			c.replace_blank = false;
			g = test_open(&c);
			test_reads(g, r.info.id, 5, 100);
			assert_int_equal(put_tomb(g, &r, 2), 0);
			engine_close(&g);
			for (size_t i = 0; i < 3; i++)
				lose(i);
			if (!fired)
				break;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deployment, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_replaced, test_setup,
		    test_teardown),
		cmocka_unit_test_setup_teardown(test_replacing_faults,
		    test_setup, test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
