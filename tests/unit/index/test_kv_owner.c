/* tests/unit/index/test_kv_owner.c - an index that another process could own
 * (struct kv_owner). */
#include "gateway/blob/blob.h"
#include "model.h"

static struct {
	uint64_t newest, taken[8];
	unsigned n;
	bool lost, refuses;
	struct id128 id;
	void (*before_all)(void); /* whoever had it until take_all() */
} world;

static int
newest(void *arg, const struct id128 *id, uint64_t *ret, struct err *e)
{
	(void)arg;
	(void)e;
	world.id = *id;
	*ret = world.newest;
	return 0;
}

static int
take(void *arg, const struct id128 *id, uint64_t epoch, struct err *e)
{
	(void)arg;
	assert_true(id128_eq(id, &world.id));
	if (world.refuses)
		return err_set(e, ERR_BUSY, "nobody is there");
	assert_true(epoch > world.newest);
	world.newest = world.taken[world.n++ % 8] = epoch;
	return 0;
}

static int
take_all(void *arg, const struct id128 *id, uint64_t epoch, struct err *e)
{
	if (world.before_all != NULL)
		world.before_all();
	return take(arg, id, epoch, e);
}

static bool
is_lost(void *arg)
{
	(void)arg;
	return world.lost;
}

static const struct kv_owner owner = { newest, take, take_all, is_lost };

static int
put_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	return kv_tx_put(tx, STR_LIT("key"), str_of(arg), e);
}

static struct kv_conf
conf_of(const char *dir, struct blob *archive)
{
	memset(&world, 0, sizeof(world));
	return (struct kv_conf){ .dir = dir,
		.map_size = 64 << 20,
		.log_segment = 256 << 10,
		.archive_interval_s = 3600,
		.archive = archive,
		.event = test_event,
		.owner = &owner };
}

/* What put_fn() has put. */
static void
check_value(struct kv *k, const char *want)
{
	struct err e = ERR_INIT;
	struct kv_view *v;
	struct str got;

	OK(kv_view_open(k, &v, &e));
	OK(kv_view_get(v, STR_LIT("key"), &got, &e));
	assert_true(str_eqz(got, want));
	kv_view_close(&v);
}

static void
test_take(void **state)
{
	char *dir = test_dir(), value[] = "value";
	struct kv_conf c = conf_of(dir, NULL);
	struct err e = ERR_INIT;
	struct kv *k = NULL;

	(void)state;
	OK(kv_open(&c, &k, &e));
	assert_int_equal(world.n, 1);
	OK(kv_update(k, put_fn, value, &e));
	kv_close(&k);
	OK(kv_open(&c, &k, &e));
	assert_int_equal(world.n, 2);
	assert_true(world.taken[1] > world.taken[0]);
	OK(kv_update(k, put_fn, value, &e));
	/* Lost: not one more. */
	world.lost = true;
	assert_int_equal(kv_update(k, put_fn, value, &e), ERR_FAILED);
	assert_int_equal(kv_update_flags(k, KV_FREES, put_fn, value, &e),
	    ERR_FAILED);
	kv_close(&k);
	OK(fs_remove_tree(dir, &e));
}

/* Somebody went on with it: this one is an older copy, however often it is
 * tried. */
static void
test_older_copy(void **state)
{
	char *dir = test_dir(), value[] = "value";
	struct kv_conf c = conf_of(dir, NULL);
	struct err e = ERR_INIT;
	struct kv *k = NULL;

	(void)state;
	OK(kv_open(&c, &k, &e));
	OK(kv_update(k, put_fn, value, &e));
	kv_close(&k);
	world.newest += 3;
	for (int i = 0; i < 6; i++) {
		assert_int_equal(kv_open(&c, &k, &e), ERR_ACCESS_DENIED);
		assert_non_null(strstr(e.msg, "older copy"));
	}
	assert_int_equal(world.n, 1);
	world.newest -= 3;
	OK(kv_open(&c, &k, &e));
	kv_close(&k);
	/* Not taken: not opened. */
	world.refuses = true;
	assert_int_equal(kv_open(&c, &k, &e), ERR_BUSY);
	world.refuses = false;
	OK(kv_open(&c, &k, &e));
	kv_close(&k);
	OK(fs_remove_tree(dir, &e));
}

/* A rebuilt index begins above whoever had it last, archived or not. */
static void
test_rebuild(void **state)
{
	char *dir = test_dir(), value[] = "value";
	char a[400], b[400];
	struct kv_conf c;
	struct err e = ERR_INIT;
	struct kv *k = NULL;
	struct blob *blob;

	(void)state;
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	OK(blob_memory_new(&blob, &e));
	c = conf_of(a, blob);
	OK(kv_open(&c, &k, &e));
	OK(kv_update(k, put_fn, value, &e));
	kv_close(&k);
	world.newest = 40; /* restarted often, without a write */
	c.dir = b;
	OK(kv_rebuild(&c, NULL, &e));
	OK(kv_open(&c, &k, &e));
	assert_true(world.newest > 40);
	check_value(k, "value");
	kv_close(&k);
	/* The first one comes back from the dead. */
	c.dir = a;
	assert_int_equal(kv_open(&c, &k, &e), ERR_ACCESS_DENIED);
	blob_close(&blob);
	OK(fs_remove_tree(dir, &e));
}

static struct kv *old;

static void
go_on(void)
{
	struct err e = ERR_INIT;
	char last[] = "the last";

	OK(kv_update(old, put_fn, last, &e));
	OK(kv_archive(old, &e));
	world.lost = true;
}

/* One whose owner still lives ends him before it is made, and has all that he
 * archived until then; one that cannot be made leaves him in peace. */
static void
test_rebuild_beside_the_owner(void **state)
{
	char *dir = test_dir(), value[] = "value";
	char a[400], b[400];
	struct kv_conf c;
	struct err e = ERR_INIT;
	struct kv *k = NULL;
	struct blob *blob;
	uint64_t newest_before;

	(void)state;
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	OK(blob_memory_new(&blob, &e));
	c = conf_of(a, blob);
	OK(kv_open(&c, &old, &e));
	OK(kv_update(old, put_fn, value, &e));
	c.dir = b;
	/* Nothing is archived yet. */
	newest_before = world.newest;
	assert_int_equal(kv_rebuild(&c, NULL, &e), ERR_NOT_FOUND);
	assert_int_equal(world.newest, newest_before);
	OK(kv_archive(old, &e));
	world.refuses = true;
	assert_int_equal(kv_rebuild(&c, NULL, &e), ERR_BUSY);
	assert_int_equal(world.newest, newest_before);
	world.refuses = false;
	OK(kv_update(old, put_fn, value, &e));
	world.before_all = go_on;
	OK(kv_rebuild(&c, NULL, &e));
	assert_true(world.newest > newest_before);
	assert_int_equal(kv_update(old, put_fn, value, &e), ERR_FAILED);
	world.lost = false; /* of the new one's */
	OK(kv_open(&c, &k, &e));
	check_value(k, "the last");
	kv_close(&k);
	world.lost = true;
	kv_close(&old);
	blob_close(&blob);
	OK(fs_remove_tree(dir, &e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_older_copy),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_rebuild_beside_the_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
