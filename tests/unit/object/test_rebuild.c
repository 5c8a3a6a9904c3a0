/* tests/unit/object/test_rebuild.c - everything on disk: the object layer over
 * the real engine and index.
 *
 * A crash is a copy of the whole data directory, made while nothing runs. A
 * lost index is a removed directory: what was archived brings it back, with
 * all that was acknowledged before the archive was complete. */
#include "tests/unit/object/fixture.h"

#include "storage/engine/engine.h"
#include "tests/unit/object/driver.h"

struct node {
	char top[64]; /* holds s/ (store path) and i/ (index) */
	char store[80], index[80];
	const char *paths[1];
	struct engine_conf ec;
	struct kv_conf kc;
	struct blob *blob;
	bool background;
};

static void
node_init(struct node *n, const char *top)
{
	struct err e = ERR_INIT;

	memset(n, 0, sizeof(*n));
	snprintf(n->top, sizeof(n->top), "%s", top);
	snprintf(n->store, sizeof(n->store), "%s/s", top);
	snprintf(n->index, sizeof(n->index), "%s/i", top);
	n->paths[0] = n->store;
	n->ec = (struct engine_conf){ .paths = n->paths,
		.n_paths = 1,
		.group = "group1",
		.server_id = 7,
		.small_limit = 64 << 10,
		.volume_size = 2 << 20,
		.compact_percent = 30 };
	n->kc = (struct kv_conf){ .dir = n->index,
		.map_size = 64 << 20,
		.table_max = 1 << 20,
		.log_segment = 2 << 20,
		.archive_interval_s = 3600,
		.snapshot_every = 1 << 20 };
	OK(fs_mkdir_p(n->store, &e));
	OK(fs_mkdir_p(n->index, &e));
}

static void
node_open_blob(struct node *n)
{
	struct engine *g = NULL;
	struct err e = ERR_INIT;

	OK(engine_open(&n->ec, &g, &e));
	OK(blob_local_new(g, &n->blob, &e));
	n->kc.archive = n->blob;
}

static struct store *
node_open(struct node *n)
{
	struct store_conf c = { .extent_size = 200000,
		.background = n->background };
	struct err e = ERR_INIT;
	struct store *s = NULL;

	if (n->blob == NULL)
		node_open_blob(n);
	OK(kv_open(&n->kc, &c.kv, &e));
	c.blob = n->blob;
	OK(store_open(&c, &s, &e));
	n->blob = NULL; /* the store's */
	return s;
}

static void
died(struct node *n, struct driver *d, const char *next)
{
	char cmd[300];

	driver_release(d);
	snprintf(cmd, sizeof(cmd), "cp -r %s %s", n->top, next);
	assert_int_equal(system(cmd), 0);
	store_close(&d->f.s);
	node_init(n, next);
	driver_reopened(d, node_open(n));
}

static void
test_crashes(void **state)
{
	char top[] = "/tmp/creel-object-XXXXXX", dir[64];
	struct driver *d = malloc(sizeof(*d));
	struct err e = ERR_INIT;
	struct node n;
	int i, round;

	(void)state;
	assert_non_null(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/0", top);
	node_init(&n, dir);
	driver_start(d, node_open(&n), 42);
	for (round = 1; round <= 4; round++) {
		for (i = 0; i < 120; i++)
			driver_step(d);
		snprintf(dir, sizeof(dir), "%s/%d", top, round);
		died(&n, d, dir);
	}
	check_all(d);
	driver_empty(d);
	store_close(&d->f.s);
	OK(fs_remove_tree(top, &e));
	free(d);
}

static void
count_bad(void *arg, struct str bucket, struct str key, const struct err *why)
{
	(void)bucket;
	(void)key;
	print_message("bad: %s\n", why->msg);
	++*(int *)arg;
}

static void
test_rebuild(void **state)
{
	char top[] = "/tmp/creel-object-XXXXXX";
	struct driver *d = malloc(sizeof(*d));
	struct err e = ERR_INIT;
	struct sweep_report r;
	struct id128 id;
	struct node n;
	uint64_t objects;
	int i, round, bad = 0;

	(void)state;
	assert_non_null(mkdtemp(top));
	node_init(&n, top);
	driver_start(d, node_open(&n), 4711);
	id = *kv_id(store_kv(d->f.s));
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 100; i++)
			driver_step(d);
		driver_release(d);
		if (round == 1)
			OK(kv_archive(store_kv(d->f.s), &e));
		/* closing archives what is missing */
		store_close(&d->f.s);
		OK(fs_remove_tree(n.index, &e));
		OK(fs_mkdir_p(n.index, &e));
		node_open_blob(&n);
		OK(kv_rebuild(&n.kc, round == 2 ? &id : NULL, &e));
		driver_reopened(d, node_open(&n));
		assert_true(id128_eq(&id, kv_id(store_kv(d->f.s))));
		assert_true(kv_is_fresh(store_kv(d->f.s)));
		OK(store_verify(d->f.s, true, count_bad, &bad, &objects, &e));
		assert_int_equal(bad, 0);
		/* nothing that the rebuilt index does not know */
		OK(store_sweep(d->f.s, false, &r, &e));
		assert_int_equal(r.unknown, 0);
		assert_false(kv_is_fresh(store_kv(d->f.s)));
	}
	driver_empty(d);
	store_close(&d->f.s);
	OK(fs_remove_tree(top, &e));
	free(d);
}

static size_t
n_blobs(struct store *s)
{
	struct err e = ERR_INIT;
	size_t n = 0;

	OK(blob_each(store_blob(s), BLOB_CLASS_S3, count_s3, &n, &e));
	return n;
}

static void
wait_for_blobs(struct store *s, size_t want)
{
	int i;

	for (i = 0; i < 200 && n_blobs(s) != want; i++)
		clock_sleep_ms(100);
	assert_int_equal(n_blobs(s), want);
}

/* The machine is lost with the newest end of the log: the index that the
 * archive gives back is some seconds old, and still every object in it has its
 * bytes, although they were deleted since. */
static void
test_archive_lags(void **state)
{
	char top[] = "/tmp/creel-object-XXXXXX", cmd[300], next[64];
	const char *keys[] = { "kept", "replaced", "deleted" };
	struct fixture f = { 0 };
	struct err e = ERR_INIT;
	uint64_t objects = 0;
	struct node n;
	int i, bad = 0;

	(void)state;
	assert_non_null(mkdtemp(top));
	snprintf(next, sizeof(next), "%s/0", top);
	node_init(&n, next);
	n.background = true;
	fixture_setup(&f, node_open(&n));
	for (i = 0; i < 3; i++)
		put_z(&f, keys[i], keys[i]);
	OK(kv_archive(store_kv(f.s), &e));
	put_z(&f, "replaced", "newer");
	OK(object_delete(f.s, &f.b, STR_LIT("deleted"), STR_NULL, STR_NULL,
	    &e));
	clock_sleep_ms(2500); /* the collector came by */
	snprintf(next, sizeof(next), "%s/1", top);
	snprintf(cmd, sizeof(cmd), "cp -r %s/0 %s", top, next);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(n_blobs(f.s), 4);
	/* once the archive knows, they go */
	OK(kv_archive(store_kv(f.s), &e));
	wait_for_blobs(f.s, 2);
	/* and where it cannot be written, a little later */
	OK(object_delete(f.s, &f.b, STR_LIT("kept"), STR_NULL, STR_NULL, &e));
	clock_shift((int64_t)25 * 1000000000);
	wait_for_blobs(f.s, 1);
	clock_shift((int64_t)-25 * 1000000000);
	store_close(&f.s);

	node_init(&n, next);
	OK(fs_remove_tree(n.index, &e));
	OK(fs_mkdir_p(n.index, &e));
	node_open_blob(&n);
	OK(kv_rebuild(&n.kc, NULL, &e));
	f.s = node_open(&n);
	OK(store_verify(f.s, true, count_bad, &bad, &objects, &e));
	assert_int_equal(bad, 0);
	assert_int_equal(objects, 3);
	for (i = 0; i < 3; i++)
		assert_body(&f, keys[i], keys[i]);
	store_close(&f.s);
	arena_free(&f.a);
	OK(fs_remove_tree(top, &e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_archive_lags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
