/* Store paths: whose they are, several of them, one that fails. */
#include "engine_test.h"

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
}

static void
opens(struct engine_conf *c)
{
	struct err e = ERR_INIT;

	if (try_open(c, &e) != 0)
		fail_msg("%s", e.msg);
}

static void
shell(const char *fmt, ...)
{
	char cmd[1000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

static void
test_refusals(void **state)
{
	struct engine_conf c = test_conf(4), other = test_conf(1);
	const char *swapped[2], *three[3];
	struct engine *g;

	(void)state;
	c.n_paths = 2;
	opens(&c);
	opens(&c);
	/* In another order: the numbers are theirs. */
	swapped[0] = test_paths[1];
	swapped[1] = test_paths[0];
	c.paths = swapped;
	opens(&c);
	c.paths = test_path_list;
	/* one is missing */
	c.n_paths = 1;
	refused(&c, "missing");
	c.n_paths = 2;
	/* the same twice */
	swapped[1] = test_paths[1];
	c.paths = swapped;
	refused(&c, "twice");
	/* a foreign one */
	other.paths = &test_path_list[2];
	opens(&other);
	swapped[0] = test_paths[0];
	swapped[1] = test_paths[2];
	refused(&c, "another deployment");
	/* a known one blank: not mounted */
	swapped[1] = test_paths[3];
	refused(&c, "mounted");
	/* a third, new one is taken, and then belongs to them */
	three[0] = test_paths[3];
	three[1] = test_paths[0];
	three[2] = test_paths[1];
	c.paths = three;
	c.n_paths = 3;
	opens(&c);
	c.paths = &three[1];
	c.n_paths = 2;
	refused(&c, "missing");
	c.paths = three;
	c.n_paths = 3;
	opens(&c);
	/* a copy of one */
	shell("rm -rf %s && cp -a %s %s", test_paths[3], test_paths[0],
	    test_paths[3]);
	refused(&c, "copy");
	/* in use */
	c.paths = &test_path_list[2];
	c.n_paths = 1;
	g = test_open(&c);
	refused(&c, "in use");
	engine_close(&g);
	/* another group */
	c.group = "group2";
	refused(&c, "group1");
	c.group = "group1";
	/* newer */
	shell("sed -i 's/\"format\": 1/\"format\": 2/' %s/creel.json",
	    test_paths[2]);
	refused(&c, "newer");
	shell("echo '{' > %s/creel.json", test_paths[2]);
	refused(&c, "damaged");
	/* data without an identity */
	shell("rm %s/creel.json", test_paths[2]);
	refused(&c, "missing");
	/* nonsense */
	c.server_id = 0;
	refused(&c, "server ID");
	c.server_id = 7;
	c.group = "a b";
	refused(&c, "group");
	c.group = "group1";
	c.volume_size = 300000;
	refused(&c, "volume");
}

static void
test_spread_and_failure(void **state)
{
	struct engine_conf c = test_conf(3);
	struct engine_path_stat st;
	struct engine *g = test_open(&c);
	char ids[3][ENGINE_FILE_ID_MAX] = { "", "", "" };
	uint64_t seeds[3] = { 0 };
	struct err e = ERR_INIT;
	unsigned failed = 0;

	(void)state;
	for (uint64_t k = 0; k < 60; k++) {
		struct engine_file_info i = test_put(g, k, 20000);
		const char *m = strstr(i.id, "/M0");

		assert_non_null(m);
		assert_true(m[3] >= '0' && m[3] <= '2');
		memcpy(ids[m[3] - '0'], i.id, sizeof(i.id));
		seeds[m[3] - '0'] = k;
	}
	for (size_t p = 0; p < 3; p++) {
		engine_path_stat(g, p, &st);
		assert_true(st.files > 10);
	}
	/* The disk of path 1 takes no new volume any more. */
	shell("mv %s/volumes %s/away && touch %s/volumes", test_paths[1],
	    test_paths[1], test_paths[1]);
	for (uint64_t k = 100; k < 300; k++) {
		struct engine_file_info i;

		failed += test_try_put(g, k, 60000, &i, &e) != 0;
	}
	/* Only who was in that batch saw it. */
	assert_true(failed <= 1);
	engine_path_stat(g, 1, &st);
	assert_true(st.is_failed);
	assert_true(engine_can_write(g));
	/* It is still read from. */
	for (size_t p = 0; p < 3; p++)
		test_reads(g, ids[p], seeds[p], 20000);
	assert_int_equal(engine_delete(g, str_of(ids[1]), &e), ERR_FAILED);
	test_delete(g, ids[0]);
	engine_close(&g);
	shell("rm %s/volumes && mv %s/away %s/volumes", test_paths[1],
	    test_paths[1], test_paths[1]);
	g = test_open(&c);
	engine_path_stat(g, 1, &st);
	assert_false(st.is_failed);
	test_reads(g, ids[1], seeds[1], 20000);
	test_delete(g, ids[1]);
	engine_close(&g);
}

static unsigned
path_of(struct engine *g, uint8_t class, uint64_t seed, size_t size)
{
	struct engine_owner o = test_owner(seed);
	char *body = malloc(size);
	struct engine_upload *u = NULL;
	struct engine_file_info i;
	struct err e = ERR_INIT;
	const char *m;

	assert_non_null(body);
	test_fill(body, seed, 0, size);
	o.class = class;
	if (seed % 2 == 0) {
		assert_int_equal(engine_put(g, &o, str_mem(body, size), "", &i,
				     &e),
		    0);
	} else {
		assert_int_equal(engine_upload_begin(g, &o, UINT64_MAX, &u, &e),
		    0);
		assert_int_equal(engine_upload_write(u, body, size, &e), 0);
		assert_int_equal(engine_upload_commit(&u, "", &i, &e), 0);
	}
	free(body);
	m = strstr(i.id, "/M0");
	assert_non_null(m);
	return (unsigned)(m[3] - '0');
}

/* What the index comes back from does not go where the index is, small or
 * large, unless there is nowhere else. */
static void
test_away_from_the_index(void **state)
{
	static const size_t sizes[] = { 1000, 200000 };
	struct engine_conf c = test_conf(3);
	unsigned seen[2][3] = { { 0 } };
	struct engine_path_stat st;
	struct err e = ERR_INIT;
	struct engine *g;

	(void)state;
	c.small_limit = 65536;
	c.index_home = test_paths[1];
	g = test_open(&c);
	for (uint64_t k = 0; k < 60; k++) {
		seen[0][path_of(g, ENGINE_CLASS_INDEX, k, sizes[k % 4 / 2])]++;
		seen[1]
		    [path_of(g, ENGINE_CLASS_S3, 100 + k, sizes[k % 4 / 2])]++;
	}
	assert_int_equal(seen[0][1], 0);
	assert_int_equal(seen[0][0] + seen[0][2], 60);
	assert_true(seen[1][1] > 0); /* others take no notice */
	/* The others fail. */
	for (unsigned p = 0; p < 3; p += 2)
		shell("mv %s/volumes %s/away && touch %s/volumes",
		    test_paths[p], test_paths[p], test_paths[p]);
	for (uint64_t k = 200; k < 500; k++) {
		struct engine_file_info i;

		(void)test_try_put(g, k, 60000, &i, &e);
	}
	for (unsigned p = 0; p < 3; p += 2) {
		engine_path_stat(g, p, &st);
		assert_true(st.is_failed);
	}
	assert_int_equal(path_of(g, ENGINE_CLASS_INDEX, 500, 1000), 1);
	engine_close(&g);
}

/* The deployment stays; a rebuilt index keeps names. */
static void
test_deployment(void **state)
{
	struct engine_conf c = test_conf(1);
	struct engine *g = test_open(&c);
	struct id128 d = *engine_deployment_id(g);
	struct engine_file_info i = test_put(g, 1, 10);
	struct err e = ERR_INIT;

	(void)state;
	assert_false(id128_is_zero(&d));
	engine_close(&g);
	shell("rm -r %s/findex", test_paths[0]);
	g = test_open(&c);
	assert_true(id128_eq(&d, engine_deployment_id(g)));
	test_reads(g, i.id, 1, 10);
	engine_close(&g);
	/* A damaged file index says what to do. */
	shell("dd if=/dev/urandom of=%s/findex/data.mdb bs=4096 count=2 "
	      "conv=notrunc 2>/dev/null",
	    test_paths[0]);
	assert_true(try_open(&c, &e) != 0);
	assert_non_null(strstr(e.msg, "rebuild"));
	assert_int_equal(engine_rebuild(&c, &e), 0);
	g = test_open(&c);
	test_reads(g, i.id, 1, 10);
	engine_close(&g);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)
	const struct CMUnitTest tests[] = { T(test_refusals),
		T(test_spread_and_failure), T(test_away_from_the_index),
		T(test_deployment) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
