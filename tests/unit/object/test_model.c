/* tests/unit/object/test_model.c - random operations on the object layer over
 * the real index, with crashes: the index's directory is copied while nothing
 * runs (all that was acknowledged must be in its log) and opened again. */
#include "tests/unit/object/fixture.h"

#include "tests/unit/object/driver.h"

static struct store *
open_store(const char *dir, struct blob *blob)
{
	struct kv_conf kc = { .dir = dir,
		.map_size = 64 << 20,
		.table_max = 1 << 20,
		.log_segment = 4 << 20 };
	struct store_conf c = { .extent_size = 30000, .blob = blob };
	struct err e = ERR_INIT;
	struct store *s = NULL;

	OK(kv_open(&kc, &c.kv, &e));
	OK(store_open(&c, &s, &e));
	return s;
}

static void
copy_tree(const char *from, const char *to)
{
	char cmd[600];

	/* Not the segment that is being prepared: its name changes meanwhile. */
	snprintf(cmd, sizeof(cmd),
	    "mkdir %s && tar -C %s --exclude=*.tmp -c . | tar -C %s -x", to,
	    from, to);
	assert_int_equal(system(cmd), 0);
}

static void
run(uint64_t seed, unsigned steps)
{
	char top[] = "/tmp/creel-object-XXXXXX", dir[64], next[64];
	struct blob *blob = NULL, *again = NULL;
	struct driver *d = malloc(sizeof(*d));
	struct err e = ERR_INIT;
	unsigned i, n = 0;

	assert_non_null(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/0", top);
	OK(fs_mkdir(dir, &e));
	OK(blob_memory_new(&blob, &e));
	OK(blob_memory_again(blob, &again, &e));
	driver_start(d, open_store(dir, again), seed);
	for (i = 0; i < steps; i++) {
		driver_step(d);
		if (rnd(d, steps / 8) == 0) {
			driver_release(d);
			OK(blob_memory_again(blob, &again, &e));
			if (rnd(d, 3) > 0) {
				/* died here */
				snprintf(next, sizeof(next), "%s/%u", top, ++n);
				copy_tree(dir, next);
				store_close(&d->f.s);
				memcpy(dir, next, sizeof(dir));
			} else {
				store_close(&d->f.s);
			}
			driver_reopened(d, open_store(dir, again));
		}
	}
	check_all(d);
	driver_empty(d);
	store_close(&d->f.s);
	blob_close(&blob);
	OK(fs_remove_tree(top, &e));
	free(d);
}

static void
test_model(void **state)
{
	const char *env = getenv("CREEL_TEST_SEED");
	uint64_t seed;

	(void)state;
	if (env != NULL) {
		run(strtoull(env, NULL, 10), 4000);
		return;
	}
	for (seed = 1; seed <= 4; seed++) {
		print_message("seed %d\n", (int)seed);
		run(seed, 700);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
