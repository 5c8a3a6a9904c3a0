/* tests/unit/object/test_basic.c - users, buckets, put, get, delete, listing. */
#include "tests/unit/object/kv_double.h"

#include "tests/unit/object/fixture.h"

#include "lib/metrics.h"

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store_conf c = { .extent_size = 100000, .trash_s = 7 * 86400 };
	struct err e = ERR_INIT;
	struct store *s = NULL;

	kv_double_rerun = true;
	OK(kv_open(NULL, &c.kv, &e));
	OK(blob_memory_new(&c.blob, &e));
	OK(store_open(&c, &s, &e));
	fixture_setup(f, s);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	arena_free(&f->a);
	free(f);
	fault_disarm();
	return 0;
}

static int
count_user(void *arg, const struct user *u)
{
	(void)u;
	++*(int *)arg;
	return 0;
}

static int
count_key(void *arg, const struct access_key *k, const struct user *u)
{
	assert_string_equal(k->user, u->name);
	++*(int *)arg;
	return 0;
}

static void
test_users(void **state)
{
	struct fixture *f = *state;
	struct access_key k, k2;
	struct err e = ERR_INIT;
	struct user u, bob;
	int n = 0;

	assert_int_equal(user_add(f->s, "alice", NULL, &e), ERR_ENTITY_EXISTS);
	assert_int_equal(user_add(f->s, "a b", NULL, &e), ERR_INVALID);
	assert_int_equal(user_add(f->s, "", NULL, &e), ERR_INVALID);
	OK(user_add(f->s, "bob", &bob, &e));
	assert_int_equal(strlen(bob.id), 64);
	assert_string_not_equal(bob.id, f->user.id);
	OK(user_get(f->s, "bob", &u, &e));
	assert_string_equal(u.id, bob.id);
	assert_int_equal(user_get(f->s, "eve", &u, &e), ERR_NO_SUCH_USER);
	OK(user_list(f->s, count_user, &n, &e));
	assert_int_equal(n, 2);

	OK(key_add(f->s, "bob", NULL, NULL, &k, &e));
	assert_int_equal(strlen(k.id), 20);
	assert_int_equal(strlen(k.secret), 40);
	OK(key_add(f->s, "bob", "BOBKEY", "bobsecret", &k2, &e));
	assert_int_equal(key_add(f->s, "alice", "BOBKEY", "12345678", NULL, &e),
	    ERR_ENTITY_EXISTS);
	assert_int_equal(key_add(f->s, "eve", NULL, NULL, NULL, &e),
	    ERR_NO_SUCH_USER);
	assert_int_equal(key_add(f->s, "bob", "x", NULL, NULL, &e),
	    ERR_INVALID);
	assert_int_equal(key_add(f->s, "bob", "BOB2", "short", NULL, &e),
	    ERR_INVALID);
	n = 0;
	OK(key_list(f->s, "bob", count_key, &n, &e));
	assert_int_equal(n, 2);

	OK(key_find(f->s, STR_LIT("BOBKEY"), &k, &u, &e));
	OK(key_find(f->s, STR_LIT("BOBKEY"), &k, &u, &e)); /* cached */
	assert_string_equal(k.secret, "bobsecret");
	assert_string_equal(u.name, "bob");
	/* gone right after the change, cached or not */
	OK(key_remove(f->s, "BOBKEY", &e));
	assert_int_equal(key_find(f->s, STR_LIT("BOBKEY"), &k, &u, &e),
	    ERR_NO_SUCH_ACCESS_KEY);
	assert_int_equal(key_remove(f->s, "BOBKEY", &e),
	    ERR_NO_SUCH_ACCESS_KEY);
	OK(key_add(f->s, "bob", "BOBKEY", "othersecret", &k2, &e));
	OK(key_find(f->s, STR_LIT("BOBKEY"), &k, &u, &e));
	assert_string_equal(k.secret, "othersecret");
	OK(user_remove(f->s, "bob", &e));
	assert_int_equal(key_find(f->s, STR_LIT("BOBKEY"), &k, &u, &e),
	    ERR_NO_SUCH_ACCESS_KEY);
	n = 0;
	OK(key_list(f->s, NULL, count_key, &n, &e));
	assert_int_equal(n, 0);
	assert_int_equal(user_remove(f->s, "bob", &e), ERR_NO_SUCH_USER);
	assert_int_equal(user_remove(f->s, "alice", &e), ERR_BUSY);
}

static void
test_root(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct access_key k;
	struct user u, v;

	assert_int_equal(root_set(f->s, "root", "short", &e), ERR_CONFIG);
	OK(root_set(f->s, "ROOTKEY", "rootpassword", &e));
	OK(key_find(f->s, STR_LIT("ROOTKEY"), &k, &u, &e));
	assert_true(u.is_root);
	/* another pair, the same canonical ID; the old one is dead */
	OK(root_set(f->s, "ROOTKEY2", "rootpassword", &e));
	assert_int_equal(key_find(f->s, STR_LIT("ROOTKEY"), &k, &v, &e),
	    ERR_NO_SUCH_ACCESS_KEY);
	OK(key_find(f->s, STR_LIT("ROOTKEY2"), &k, &v, &e));
	assert_string_equal(u.id, v.id);
	assert_int_equal(user_remove(f->s, "root", &e), ERR_INVALID);
	assert_int_equal(user_add(f->s, "root", NULL, &e), ERR_ENTITY_EXISTS);
	assert_int_equal(key_add(f->s, "alice", "ROOTKEY2", NULL, NULL, &e),
	    ERR_ENTITY_EXISTS);
}

static void
test_bucket_names(void **state)
{
	static const char *const good[] = {
		"abc", "a-b", "a.b", "1a2", "a--b", "1.2.3", "999",
		"a23456789012345678901234567890123456789012345678901234567890123"
	};
	static const char *const bad[] = {
		"ab", "", "ABC", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b",
		"a.-b", "a-.b", "192.168.1.1", "xn--abc", "sthree-abc",
		"amzn-s3-demo-abc", "abc-s3alias", "abc--ol-s3", "abc--x-s3",
		"abc.mrap", "minio", "a b", "a/b", "a\tb",
		"a234567890123456789012345678901234567890123456789012345678901234"
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bucket_name_is_valid(str_of(good[i])));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (bucket_name_is_valid(str_of(bad[i])))
			fail_msg("%s is not a name", bad[i]);
}

static void
test_buckets(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct bucket b, *list;
	struct user bob;
	bool more;
	size_t n;

	OK(user_add(f->s, "bob", &bob, &e));
	assert_int_equal(bucket_create(f->s, &f->user, STR_LIT("bucket"),
			     STR_NULL, &b, &e),
	    ERR_BUCKET_ALREADY_OWNED_BY_YOU);
	assert_int_equal(bucket_create(f->s, &bob, STR_LIT("bucket"), STR_NULL,
			     &b, &e),
	    ERR_BUCKET_ALREADY_EXISTS);
	assert_int_equal(bucket_create(f->s, &bob, STR_LIT("B"), STR_NULL, &b,
			     &e),
	    ERR_INVALID_BUCKET_NAME);
	OK(bucket_create(f->s, &bob, STR_LIT("bobs"), STR_LIT("eu-west-1"), &b,
	    &e));
	OK(bucket_get(f->s, STR_LIT("bobs"), &b, &e));
	OK(bucket_get(f->s, STR_LIT("bobs"), &b, &e));
	assert_string_equal(b.location, "eu-west-1");
	assert_string_equal(b.owner_name, "bob");
	assert_string_equal(b.owner_id, bob.id);
	OK(bucket_create(f->s, &f->user, STR_LIT("bucket2"), STR_NULL, NULL,
	    &e));

	OK(bucket_list(f->s, "", STR_NULL, STR_NULL, 10, f->a, &list, &n, &more,
	    &e));
	assert_int_equal(n, 3);
	assert_false(more);
	assert_string_equal(list[0].name, "bobs");
	OK(bucket_list(f->s, f->user.id, STR_NULL, STR_NULL, 1, f->a, &list, &n,
	    &more, &e));
	assert_int_equal(n, 1);
	assert_true(more);
	assert_string_equal(list[0].name, "bucket");
	OK(bucket_list(f->s, f->user.id, STR_NULL, STR_LIT("bucket"), 1, f->a,
	    &list, &n, &more, &e));
	assert_int_equal(n, 1);
	assert_false(more);
	assert_string_equal(list[0].name, "bucket2");
	OK(bucket_list(f->s, f->user.id, STR_LIT("x"), STR_NULL, 9, f->a, &list,
	    &n, &more, &e));
	assert_int_equal(n, 0);
	OK(bucket_list(f->s, f->user.id, STR_LIT("bucket"), STR_LIT("a"), 9,
	    f->a, &list, &n, &more, &e));
	assert_int_equal(n, 2);
	OK(bucket_list(f->s, "", STR_LIT("bo"), STR_LIT("zzz"), 9, f->a, &list,
	    &n, &more, &e));
	assert_int_equal(n, 0);

	/* recreated: another incarnation; what was begun in the old fails */
	put_z(f, "k", "old");
	assert_int_equal(bucket_delete(f->s, &f->b, &e), ERR_BUCKET_NOT_EMPTY);
	OK(object_delete(f->s, &f->b, STR_LIT("k"), STR_NULL, STR_NULL, &e));
	OK(bucket_delete(f->s, &f->b, &e));
	assert_int_equal(bucket_get(f->s, STR_LIT("bucket"), &b, &e),
	    ERR_NO_SUCH_BUCKET);
	OK(bucket_create(f->s, &f->user, STR_LIT("bucket"), STR_NULL, &b, &e));
	assert_int_not_equal(b.incarnation, f->b.incarnation);
	assert_int_equal(put_cond(f, "k", STR_LIT("x"), NULL, NULL, &e),
	    ERR_NO_SUCH_BUCKET);
	assert_int_equal(object_delete(f->s, &f->b, STR_LIT("k"), STR_NULL,
			     STR_NULL, &e),
	    ERR_NO_SUCH_BUCKET);
	assert_int_equal(bucket_delete(f->s, &f->b, &e), ERR_NO_SUCH_BUCKET);
	f->b = b;
	assert_null(get_body(f, "k", NULL).p);
}

static void
test_object_details(void **state)
{
	struct fixture *f = *state;
	struct header h[] = { { STR_LIT("content-type"), STR_LIT("text/x") },
		{ STR_LIT("x-amz-meta-a"), STR_LIT("") } };
	struct checksum sum = { CHECKSUM_CRC32, 4, false, { 1, 2, 3, 4 } };
	struct object o = { .etag = STR_LIT("odd"),
		.headers = h,
		.n_headers = 2,
		.checksum = sum };
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct put *p = NULL;
	struct object got;
	char bytes[8];
	size_t n;

	OK(put_begin(f->s, &f->b, STR_LIT("k"), UINT64_MAX, &p, &e));
	OK(put_write(p, "abc", 3, &e));
	OK(put_write(p, "def", 3, &e));
	OK(put_commit(&p, &f->user, NULL, &o, &e));
	assert_null(p);
	assert_int_equal(o.size, 6);
	assert_true(o.seq > 0);
	OK(object_head(f->s, &f->b, STR_LIT("k"), STR_LIT("null"), f->a, &got,
	    &e));
	assert_int_equal(got.size, 6);
	assert_int_equal(got.seq, o.seq);
	assert_int_equal(got.mtime_ns, o.mtime_ns);
	assert_true(str_eqz(got.etag, "odd"));
	assert_true(str_eqz(got.key, "k"));
	assert_string_equal(got.owner_id, f->user.id);
	assert_int_equal(got.n_headers, 2);
	assert_true(str_eqz(got.headers[0].name, "content-type"));
	assert_true(str_eqz(got.headers[0].value, "text/x"));
	assert_int_equal(got.headers[1].value.len, 0);
	assert_int_equal(got.checksum.alg, CHECKSUM_CRC32);
	assert_int_equal(got.checksum.len, 4);
	assert_memory_equal(got.checksum.value, sum.value, 4);
	assert_int_equal(object_head(f->s, &f->b, STR_LIT("k"), STR_LIT("v1"),
			     f->a, &got, &e),
	    ERR_NO_SUCH_VERSION);
	assert_int_equal(object_head(f->s, &f->b, STR_LIT("k2"), STR_NULL, f->a,
			     &got, &e),
	    ERR_NO_SUCH_KEY);
	OK(object_open(f->s, &f->b, STR_LIT("k"), STR_NULL, f->a, &got, &r,
	    &e));
	OK(object_read(r, 2, bytes, 3, &n, &e));
	assert_int_equal(n, 3);
	assert_memory_equal(bytes, "cde", 3);
	OK(object_read(r, 4, bytes, 8, &n, &e));
	assert_int_equal(n, 2);
	OK(object_read(r, 6, bytes, 8, &n, &e));
	assert_int_equal(n, 0);
	object_close(&r);

	assert_int_equal(put_begin(f->s, &f->b, STR_LIT(""), 1, &p, &e),
	    ERR_INVALID_OBJECT_NAME);
	assert_int_equal(put_begin(f->s, &f->b, STR_LIT("a\0b"), 1, &p, &e),
	    ERR_INVALID_OBJECT_NAME);
	assert_int_equal(put_begin(f->s, &f->b,
			     str_mem(memset(arena_alloc(f->a, 1025), 'x', 1025),
				 1025),
			     1, &p, &e),
	    ERR_KEY_TOO_LONG);
	/* too many and too few bytes */
	OK(put_begin(f->s, &f->b, STR_LIT("k"), 2, &p, &e));
	assert_int_equal(put_write(p, "abc", 3, &e), ERR_INVALID);
	assert_int_equal(put_commit(&p, &f->user, NULL, &o, &e), ERR_FAILED);
	OK(put_begin(f->s, &f->b, STR_LIT("k"), 4, &p, &e));
	OK(put_write(p, "abc", 3, &e));
	assert_int_equal(put_commit(&p, &f->user, NULL, &o, &e),
	    ERR_INCOMPLETE_BODY);
	assert_body(f, "k", "abcdef");
	assert_usage(f, 1, 6);
}

static struct str
pattern(struct fixture *f, size_t len, unsigned seed)
{
	char *p = arena_alloc(f->a, len + 1);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (char)((i * 2654435761u + seed) >> 13);
	return str_mem(p, len);
}

static void
test_extents(void **state)
{
	struct fixture *f = *state;
	struct str body = pattern(f, 2500000, 7);
	struct object_reader *r = NULL;
	struct err e = ERR_INIT;
	struct object o = { .etag = STR_LIT("x") };
	struct put *p = NULL;
	char *got = arena_alloc(f->a, body.len);
	size_t i, n, step;
	int known;

	/* 25 extents of 100,000 bytes: a manifest row of its own */
	for (known = 0; known < 2; known++) {
		OK(put_begin(f->s, &f->b, STR_LIT("big"),
		    known ? body.len : UINT64_MAX, &p, &e));
		for (i = 0; i < body.len; i += n) {
			n = body.len - i < 77777 ? body.len - i : 77777;
			OK(put_write(p, body.p + i, n, &e));
		}
		OK(put_commit(&p, &f->user, NULL, &o, &e));
		assert_int_equal(blobs(f->s).files, 25 * (known + 1));
		for (step = 1000; step < 2000000; step = step * 7 + 1) {
			OK(object_open(f->s, &f->b, STR_LIT("big"), STR_NULL,
			    f->a, &o, &r, &e));
			memset(got, 0, body.len);
			for (i = 0; i < body.len; i += n) {
				OK(object_read(r, i, got + i, step, &n, &e));
				assert_true(n == step || i + n == body.len);
			}
			assert_memory_equal(got, body.p, body.len);
			OK(object_read(r, 100000, got, 10, &n, &e)); /* back */
			assert_memory_equal(got, body.p + 100000, 10);
			object_close(&r);
		}
	}
	assert_usage(f, 1, body.len);
	/* a few extents: inline */
	put_str(f, "mid", str_sub(body, 0, 350000));
	assert_int_equal(get_body(f, "mid", NULL).len, 350000);
	put_z(f, "empty", "");
	assert_int_equal(get_body(f, "empty", NULL).len, 0);
	assert_usage(f, 3, body.len + 350000);
}

static void
test_conditions(void **state)
{
	struct fixture *f = *state;
	struct write_cond none = { .if_none_match_any = true };
	struct write_cond any = { .if_match = STR_LIT("*") };
	struct write_cond match = { .if_match =
					md5_text(f->a, STR_LIT("one")) };
	struct err e = ERR_INIT;

	assert_int_equal(put_cond(f, "k", STR_LIT("x"), &any, NULL, &e),
	    ERR_NO_SUCH_KEY);
	assert_int_equal(put_cond(f, "k", STR_LIT("x"), &match, NULL, &e),
	    ERR_NO_SUCH_KEY);
	OK(put_cond(f, "k", STR_LIT("one"), &none, NULL, &e));
	assert_int_equal(put_cond(f, "k", STR_LIT("two"), &none, NULL, &e),
	    ERR_PRECONDITION_FAILED);
	assert_body(f, "k", "one");
	OK(put_cond(f, "k", STR_LIT("two"), &match, NULL, &e));
	assert_int_equal(put_cond(f, "k", STR_LIT("three"), &match, NULL, &e),
	    ERR_PRECONDITION_FAILED);
	OK(put_cond(f, "k", STR_LIT("four"), &any, NULL, &e));
	assert_body(f, "k", "four");
	assert_int_equal(object_delete(f->s, &f->b, STR_LIT("k"), STR_NULL,
			     match.if_match, &e),
	    ERR_PRECONDITION_FAILED);
	assert_int_equal(object_delete(f->s, &f->b, STR_LIT("absent"), STR_NULL,
			     match.if_match, &e),
	    ERR_NO_SUCH_KEY);
	OK(object_delete(f->s, &f->b, STR_LIT("absent"), STR_NULL, STR_NULL,
	    &e));
	OK(object_delete(f->s, &f->b, STR_LIT("k"), STR_NULL,
	    md5_text(f->a, STR_LIT("four")), &e));
	assert_usage(f, 0, 0);
}

static void
test_delete_many(void **state)
{
	struct fixture *f = *state;
	struct delete_item it[700] = { 0 };
	struct err e = ERR_INIT;
	char name[32];
	size_t i;

	for (i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "k%03zu", i);
		put_z(f, name, "12345");
		it[i].key = arena_str(f->a, str_of(name));
	}
	for (; i < 700; i++)
		it[i].key = it[i - 100].key; /* twice */
	it[3].if_match = STR_LIT("no");
	it[4].if_match = md5_text(f->a, STR_LIT("12345"));
	it[5].version = STR_LIT("zzz");
	it[6].key = STR_LIT("absent");
	it[650].if_match = STR_LIT("*");
	OK(object_delete_many(f->s, &f->b, it, 700, &e));
	for (i = 0; i < 700; i++)
		if (i != 3 && i != 5 && i != 650)
			assert_int_equal(it[i].err.code, 0);
	assert_int_equal(it[3].err.code, ERR_PRECONDITION_FAILED);
	assert_int_equal(it[5].err.code, ERR_NO_SUCH_VERSION);
	assert_int_equal(it[650].err.code, ERR_NO_SUCH_KEY);
	assert_usage(f, 3, 15);
	assert_body(f, "k003", "12345");
	assert_body(f, "k006", "12345");
}

/* What was collected is counted, extent by extent. */
static void
test_collected(void **state)
{
	struct fixture *f = *state;
	char *big = arena_zalloc(f->a, 250000);
	uint64_t files, bytes;
	struct err e = ERR_INIT;

	put_str(f, "big", str_mem(big, 250000)); /* three extents */
	put_z(f, "small", "12345");
	put_z(f, "stays", "1234567");
	files = metric_read(METRIC_collected_files_total);
	bytes = metric_read(METRIC_collected_bytes_total);
	OK(object_delete(f->s, &f->b, STR_LIT("big"), STR_NULL, STR_NULL, &e));
	put_z(f, "small", "another");
	OK(store_collect(f->s, &e));
	assert_int_equal(metric_read(METRIC_collected_files_total) - files, 4);
	assert_int_equal(metric_read(METRIC_collected_bytes_total) - bytes,
	    250005);
	OK(store_collect(f->s, &e));
	assert_int_equal(metric_read(METRIC_collected_files_total) - files, 4);
}

static void
check_list(struct fixture *f, struct list_spec spec, const char *want)
{
	struct err e = ERR_INIT;
	struct list_page page;
	char got[512] = "";
	size_t i;

	OK(object_list(f->s, &f->b, &spec, f->a, &page, &e));
	for (i = 0; i < page.n; i++) {
		snprintf(got + strlen(got), sizeof(got) - strlen(got),
		    "%s%.*s%s", i > 0 ? " " : "", (int)page.entries[i].key.len,
		    page.entries[i].key.p,
		    page.entries[i].is_prefix ? "*" : "");
		if (spec.fetch_owner && !page.entries[i].is_prefix)
			assert_string_equal(page.entries[i].owner_name,
			    "alice");
	}
	if (page.is_truncated) {
		strcat(got, " >");
		assert_true(str_eq(page.next, page.entries[page.n - 1].key));
	}
	assert_string_equal(got, want);
}

static void
test_list(void **state)
{
	static const char *const names[] = { "a", "a/1", "a/2", "a0", "b/c/1",
		"b/c/2", "b/d", "c", "d//", "\xff", "\xff\xff" };
	struct fixture *f = *state;
	struct list_spec s = { .max = 1000, .fetch_owner = true };
	char name[32];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put_z(f, names[i], "x");
	check_list(f, s, "a a/1 a/2 a0 b/c/1 b/c/2 b/d c d// \xff \xff\xff");
	s.delimiter = STR_LIT("/");
	check_list(f, s, "a a/* a0 b/* c d/* \xff \xff\xff");
	s.max = 2;
	check_list(f, s, "a a/* >");
	s.after = STR_LIT("a/");
	check_list(f, s, "a0 b/* >");
	s.after = STR_LIT("a/1");
	s.max = 1000;
	check_list(f, s, "a/* a0 b/* c d/* \xff \xff\xff");
	s.after = STR_LIT("b/");
	check_list(f, s, "c d/* \xff \xff\xff");
	s.after = STR_NULL;
	s.prefix = STR_LIT("b/");
	check_list(f, s, "b/c/* b/d");
	s.prefix = STR_LIT("\xff");
	check_list(f, s, "\xff \xff\xff");
	s.prefix = STR_LIT("d/");
	check_list(f, s, "d//*");
	s.delimiter = STR_LIT("/c");
	s.prefix = STR_NULL;
	check_list(f, s, "a a/1 a/2 a0 b/c* b/d c d// \xff \xff\xff");
	s.prefix = STR_LIT("zz");
	check_list(f, s, "");
	s.prefix = STR_NULL;
	s.max = 0;
	check_list(f, s, "");

	/* more below a prefix than steps are made before the seek */
	for (i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "m/%02zu", i);
		put_z(f, name, "x");
	}
	put_z(f, "n", "x");
	s = (struct list_spec){ .max = 3,
		.delimiter = STR_LIT("/"),
		.after = STR_LIT("d/") };
	check_list(f, s, "m/* n \xff >");
	s.max = 2;
	check_list(f, s, "m/* n >");
	s.max = 1;
	check_list(f, s, "m/* >");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_users),
		T(test_root),
		cmocka_unit_test(test_bucket_names),
		T(test_buckets),
		T(test_object_details),
		T(test_extents),
		T(test_conditions),
		T(test_delete_many),
		T(test_collected),
		T(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
