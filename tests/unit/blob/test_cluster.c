/* tests/unit/blob/test_cluster.c - blobs on storage nodes (blob/cluster.h), with
 * nodes that die, refuse and forget; test_cluster_slow.c has those that hang. */
#include "tests/unit/blob/cluster_driver.h"

static void
test_round_trip(void **state)
{
	struct blob_info i, found;
	struct buf note = BUF_CAP(4096);
	struct err e = ERR_INIT;
	struct blob_owner o;
	struct blob_file *f;
	struct str id;
	char got[16];

	(void)state;
	begin(three, 3);
	o = owner_of(BLOB_CLASS_S3);
	assert_int_equal(blob_put_whole(blob, STR_LIT("group1"), &o,
			     STR_LIT("some bytes"), &i, &e),
	    0);
	assert_int_equal(i.size, 10);
	assert_true(id128_eq(&i.write_id, &o.write_id));
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	assert_memory_equal(got, "some bytes", 10);
	assert_int_equal(blob_open(blob, str_of(i.id), &f, &e), 0);
	assert_int_equal(blob_size(f), 10);
	assert_int_equal(blob_note(f, &note, &e), 0);
	assert_true(str_eqz(buf_str(&note), "a note"));
	blob_file_close(&f);
	buf_fini(&note);
	assert_int_equal(blob_find_write(blob, &o.write_id, &found, &e), 0);
	assert_string_equal(found.id, i.id);
	id = str_of(i.id);
	assert_int_equal(blob_delete_many(blob, &id, 1, &e), 0);
	assert_int_equal(blob_delete_many(blob, &id, 1, &e), 0);
	assert_int_equal(get(&i, got, sizeof(got)), ERR_NOT_FOUND);
	assert_int_equal(blob_find_write(blob, &o.write_id, &found, &e),
	    ERR_NOT_FOUND);
	assert_int_equal(put("", STR_LIT(""), &i), 0); /* no bytes at all */
	assert_int_equal(i.size, 0);
	end();
}

static void
test_node_down(void **state)
{
	struct blob_info i;
	char got[16];
	int64_t t;

	(void)state;
	begin(three, 3);
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	fake_node_stop(&fake.node[0]);
	fake_node_stop(&fake.node[2]);
	t = now_ms();
	for (int n = 0; n < 30; n++) {
		struct blob_info j;
		int rc = put("group1", STR_LIT("0123456789"), &j);

		/* A connection may have been cut under it. */
		assert_true(rc == 0 || (rc == ERR_RETRY && n < 6));
		assert_int_equal(get(&i, got, sizeof(got)), 0);
	}
	assert_true(now_ms() - t < 2000);
	fake_node_start(&fake.node[0]);
	fake_node_start(&fake.node[2]);
	end();
}

static void
test_bad_copy(void **state)
{
	struct blob_info i;
	char got[16];

	(void)state;
	begin(three, 3);
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	fake.node[0].mood = fake.node[1].mood = FAKE_ROTTEN;
	fake.files->hidden = 4; /* the third has none */
	assert_int_equal(get(&i, got, sizeof(got)), ERR_CORRUPT);
	fake.node[1].mood = FAKE_FINE;
	for (int n = 0; n < 6; n++)
		assert_int_equal(get(&i, got, sizeof(got)), 0);
	fake.files->hidden = 7;
	assert_int_equal(get(&i, got, sizeof(got)), ERR_NOT_FOUND);
	end();
}

/* What is changed on its way is not passed on: from another node, or an error. */
static void
test_garbled(void **state)
{
	struct blob_info i;
	char got[16];
	unsigned before;

	(void)state;
	begin(three, 3);
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	fake.node[0].mood = FAKE_GARBLED;
	before = fake.node[0].reads;
	for (int n = 0; n < 6; n++) {
		assert_int_equal(get(&i, got, sizeof(got)), 0);
		assert_memory_equal(got, "0123456789", 10);
	}
	assert_true(fake.node[0].reads > before);
	fake.node[1].mood = fake.node[2].mood = FAKE_GARBLED;
	assert_int_equal(get(&i, got, sizeof(got)), ERR_CORRUPT);
	end();
}

/* What is damaged where it lies makes its node look, which gives what is right;
 * so does, each time, one that knows no better. */
static void
test_damaged(void **state)
{
	struct blob_info i;
	char got[16];
	unsigned before;

	(void)state;
	begin(three, 3);
	assert_int_equal(put("group1", STR_LIT("0123456789"), &i), 0);
	for (int n = 0; n < 3; n++)
		fake.node[n].mood = FAKE_DAMAGED;
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	assert_memory_equal(got, "0123456789", 10);
	for (int n = 0; n < 3; n++) {
		assert_int_equal(fake.node[n].reads, 2 * fake.node[n].checked);
		fake.node[n].mood = FAKE_OLDER;
	}
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	assert_memory_equal(got, "0123456789", 10);
	for (int n = 0; n < 3; n++)
		fake.node[n].mood = FAKE_FINE;
	before =
	    fake.node[0].checked + fake.node[1].checked + fake.node[2].checked;
	assert_int_equal(before, 2);
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	assert_int_equal(fake.node[0].checked + fake.node[1].checked +
			     fake.node[2].checked,
	    before);
	end();
}

/* C4: once with each name, and the second name goes elsewhere. */
static void
test_unknown_outcome(void **state)
{
	struct blob_info i;
	unsigned before;
	int rc, retries = 0;

	(void)state;
	begin(three, 3);
	fake.node[0].mood = FAKE_MUTE;
	for (int n = 0; n < 6; n++) {
		before = fake.node[0].stores + fake.node[1].stores +
		         fake.node[2].stores;
		rc = put("group1", STR_LIT("0123456789"), &i);
		assert_true(rc == 0 || rc == ERR_RETRY);
		retries += rc == ERR_RETRY;
		assert_int_equal(fake.node[0].stores + fake.node[1].stores +
				     fake.node[2].stores,
		    before + 1);
	}
	assert_int_equal(retries, 1);
	end();
}

static void
test_spill(void **state)
{
	struct blob_info i;
	int rc, n;

	(void)state;
	begin(two_groups, 4);
	for (n = 0; n < 4; n++) {
		assert_int_equal(put("group1", STR_LIT("x"), &i), 0);
		assert_true(str_has_prefix(str_of(i.id), STR_LIT("group1/")));
	}
	/* As the map says */
	fake.node[0].cannot_write = fake.node[1].cannot_write = true;
	settle();
	for (n = 0; n < 4; n++) {
		assert_int_equal(put("group1", STR_LIT("x"), &i), 0);
		assert_true(str_has_prefix(str_of(i.id), STR_LIT("group2/")));
	}
	/* Before the map says so */
	fake.node[0].cannot_write = fake.node[1].cannot_write = false;
	settle();
	fake.node[0].mood = fake.node[1].mood = FAKE_REFUSES;
	fake.node[0].code = fake.node[1].code = ERR_NO_SPACE;
	for (n = 0; (rc = put("group1", STR_LIT("x"), &i)) == ERR_RETRY; n++)
		assert_true(n < 3); /* as often as put.c tries */
	assert_int_equal(rc, 0);
	assert_true(str_has_prefix(str_of(i.id), STR_LIT("group2/")));
	/* Nowhere */
	fake.node[2].mood = fake.node[3].mood = FAKE_REFUSES;
	fake.node[2].code = fake.node[3].code = ERR_NO_SPACE;
	for (n = 0; (rc = put("group1", STR_LIT("x"), &i)) == ERR_RETRY; n++)
		assert_true(n < 3);
	assert_int_equal(rc, ERR_NO_SPACE);
	end();
}

/* A node's own trouble is not the index's. */
static void
test_failed_node(void **state)
{
	struct err e = ERR_INIT;
	struct blob_info i;
	struct str id;
	int rc, n;

	(void)state;
	begin(three, 3);
	for (n = 0; n < 3; n++) {
		fake.node[n].mood = n < 2 ? FAKE_REFUSES : FAKE_FINE;
		fake.node[n].code = ERR_FAILED;
	}
	for (n = 0; (rc = put("group1", STR_LIT("x"), &i)) == ERR_RETRY; n++)
		assert_true(n < 3);
	assert_int_equal(rc, 0);
	assert_false(blob_cluster_is_lost(blob));
	id = str_of(i.id);
	assert_int_equal(blob_delete_many(blob, &id, 1, &e), 0);
	end();
}

static void
test_choose_group(void **state)
{
	char group[BLOB_GROUP_MAX + 1];

	(void)state;
	begin(two_groups, 4);
	fake.node[2].avail = fake.node[3].avail = (uint64_t)5 << 30;
	settle();
	blob_choose_group(blob, STR_LIT("group1"), group);
	assert_string_equal(group, "group1");
	blob_choose_group(blob, STR_LIT("eu-central-1"), group);
	assert_string_equal(group, "group2");
	blob_choose_group(blob, STR_LIT(""), group);
	assert_string_equal(group, "group2");
	/* Trackers have a say, as for uploads; not against a wish. */
	memcpy(fake.home, "group1", 7);
	blob_choose_group(blob, STR_LIT(""), group);
	assert_string_equal(group, "group1");
	blob_choose_group(blob, STR_LIT("group2"), group);
	assert_string_equal(group, "group2");
	memcpy(fake.home, "unheard", 8);
	blob_choose_group(blob, STR_LIT(""), group);
	assert_string_equal(group, "group2");
	fake.home[0] = '\0';
	fake.node[2].cannot_write = fake.node[3].cannot_write = true;
	settle();
	blob_choose_group(blob, STR_LIT(""), group);
	assert_string_equal(group, "group1");
	end();
}

/* C3 */
static void
test_owner(void **state)
{
	struct err e = ERR_INIT;
	struct blob_info i;
	struct blob *other;
	uint64_t epoch = 0;
	struct str id;

	(void)state;
	begin(three, 3);
	assert_int_equal(put("", STR_LIT("mine"), &i), 0);
	other = fake_gateway(&fake, on_event, NULL);
	{
		struct blob_owner o = owner_of(BLOB_CLASS_S3);
		struct blob_info j;

		/* It has taken nothing. */
		assert_int_equal(blob_put_whole(other, STR_LIT(""), &o,
				     STR_LIT("x"), &j, &e),
		    ERR_BUSY);
	}
	assert_int_equal(blob_cluster_newest(other, &index_id, &epoch, &e), 0);
	assert_int_equal(epoch, 1);
	assert_int_equal(blob_cluster_take(other, &index_id, 5, &e), 0);
	/* The first one is told by the next write that reaches a node. */
	assert_int_equal(put("", STR_LIT("too late"), &i), ERR_FAILED);
	assert_true(blob_cluster_is_lost(blob));
	assert_false(blob_can_write(blob));
	assert_int_equal(errors_said, 1);
	id = str_of(i.id);
	assert_int_equal(blob_delete_many(blob, &id, 1, &e), ERR_FAILED);
	/* An older one cannot take it back. */
	assert_int_equal(blob_cluster_take(blob, &index_id, 4, &e),
	    ERR_ACCESS_DENIED);
	blob_close(&other);
	end();
}

/* C6: of each group so many that any two copies meet one; of one alone for the
 * rest of the time. */
static void
test_take_all(void **state)
{
	static const char *const groups[] = { "group1", "group2", "group2",
		"group2" };
	struct err e = ERR_INIT;

	(void)state;
	begin(groups, 4);
	fake_node_stop(&fake.node[3]);
	assert_int_equal(blob_cluster_take_all(blob, &index_id, 2, &e), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fake.node[i].fenced, 2);
	fake_node_stop(&fake.node[2]);
	assert_int_equal(blob_cluster_take_all(blob, &index_id, 3, &e),
	    ERR_BUSY);
	assert_non_null(strstr(e.msg, "group2"));
	assert_int_equal(fake.node[0].fenced, 2); /* nobody was ended */
	assert_int_equal(blob_cluster_take(blob, &index_id, 4, &e), 0);
	fake_node_start(&fake.node[2]);
	fake_node_start(&fake.node[3]);
	fake_node_stop(&fake.node[0]);
	assert_int_equal(blob_cluster_take_all(blob, &index_id, 5, &e),
	    ERR_BUSY);
	assert_non_null(strstr(e.msg, "group1"));
	fake_node_start(&fake.node[0]);
	/* One acknowledges alone: whoever was not told could be that one. */
	fake.copies = 1;
	settle();
	fake_node_stop(&fake.node[1]);
	assert_int_equal(blob_cluster_take_all(blob, &index_id, 6, &e),
	    ERR_BUSY);
	fake_node_start(&fake.node[1]);
	assert_int_equal(blob_cluster_take_all(blob, &index_id, 7, &e), 0);
	end();
}

/* Without any write of its own, too. */
static void
test_owner_notices(void **state)
{
	struct err e = ERR_INIT;
	struct blob *other;

	(void)state;
	begin(three, 3);
	other = fake_gateway(&fake, on_event, NULL);
	assert_int_equal(blob_cluster_take(other, &index_id, 2, &e), 0);
	for (int n = 0; n < 300 && !blob_cluster_is_lost(blob); n++)
		clock_sleep_ms(10);
	assert_true(blob_cluster_is_lost(blob));
	assert_false(blob_cluster_is_lost(other));
	blob_close(&other);
	end();
}

/* A node that was away when the index was taken is told later. */
static void
test_fence_later(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	begin(three, 3);
	fake.node[2].is_away = true;
	fake_node_stop(&fake.node[2]);
	settle();
	assert_int_equal(blob_cluster_take(blob, &index_id, 9, &e), 0);
	assert_int_equal(fake.node[0].fenced, 9);
	assert_int_equal(fake.node[2].fenced, 1);
	fake_node_start(&fake.node[2]);
	fake.node[2].is_away = false;
	for (int n = 0; n < 1000 && fake.node[2].fenced < 9; n++)
		clock_sleep_ms(10);
	assert_int_equal(fake.node[2].fenced, 9);
	end();
}

static void
test_no_majority(void **state)
{
	char why[CMAP_REASON] = "";
	struct err e = ERR_INIT;

	(void)state;
	begin(three, 3);
	fake_node_stop(&fake.node[1]);
	fake_node_stop(&fake.node[2]);
	fake.node[1].is_away = fake.node[2].is_away = true;
	settle();
	assert_int_equal(blob_cluster_take(blob, &index_id, 3, &e), ERR_BUSY);
	assert_false(blob_cluster_is_usable(blob, why));
	assert_true(strlen(why) > 10);
	fake_node_start(&fake.node[1]);
	fake_node_start(&fake.node[2]);
	end();
}

/* C1: trackers that were restarted know nobody. */
static void
test_forgetful_tracker(void **state)
{
	struct blob_info i;
	char got[16];

	(void)state;
	begin(three, 3);
	assert_int_equal(put("", STR_LIT("0123456789"), &i), 0);
	for (unsigned n = 0; n < 3; n++)
		fake.node[n].is_unlisted = true;
	settle();
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	assert_int_equal(put("group1", STR_LIT("y"), &i), 0);
	fdfs_server_close(&fake.tracker, 0);
	clock_sleep_ms(300);
	assert_int_equal(get(&i, got, sizeof(got)), 0);
	fake_listen(fake.rpc, fake.tracker_addr.port, &fake.tracker);
	end();
}

static int
count_one(void *arg, const struct blob_info *i)
{
	(void)i;
	++*(unsigned *)arg;
	return 0;
}

static int
stop_at_two(void *arg, const struct blob_info *i)
{
	(void)i;
	return ++*(unsigned *)arg == 2 ? 7 : 0;
}

static void
test_each(void **state)
{
	struct err e = ERR_INIT;
	struct blob_owner o;
	struct blob_info i;
	unsigned n = 0;

	(void)state;
	begin(two_groups, 4);
	for (unsigned j = 0; j < 5; j++) {
		assert_int_equal(put("group1", STR_LIT("x"), &i), 0);
		assert_int_equal(put("group2", STR_LIT("x"), &i), 0);
	}
	o = owner_of(BLOB_CLASS_INDEX);
	assert_int_equal(blob_put_whole(blob, STR_LIT("group2"), &o,
			     STR_LIT("log"), &i, &e),
	    0);
	assert_int_equal(blob_each(blob, BLOB_CLASS_S3, count_one, &n, &e), 0);
	assert_int_equal(n, 10);
	n = 0;
	assert_int_equal(blob_each(blob, 0, count_one, &n, &e), 0);
	assert_int_equal(n, 11);
	n = 0;
	assert_int_equal(blob_each(blob, BLOB_CLASS_S3, stop_at_two, &n, &e),
	    7);
	assert_int_equal(n, 2);
	/* The index's own are found wherever one acknowledged copy is. */
	for (unsigned lags = 2; lags < 4; lags++) {
		fake.files->hidden = 1u << lags;
		n = 0;
		assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one,
				     &n, &e),
		    0);
		assert_int_equal(n, 1);
	}
	/* One of two is enough where two hold each, which is the default. */
	fake.node[3].mood = FAKE_REFUSES;
	fake.node[3].code = ERR_RETRY;
	for (fake.copies = 0; fake.copies < 3; fake.copies += 2) {
		settle();
		assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one,
				     &n, &e),
		    0);
	}
	fake.copies = 1;
	settle();
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    ERR_BUSY);
	/* The node that takes the fewest counts, whatever others say. */
	fake.copies_of_first = 2;
	settle();
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    ERR_BUSY);
	fake.copies_of_first = 0;
	/* A silent group is no empty one. */
	fake.node[2].mood = fake.node[3].mood = FAKE_REFUSES;
	fake.node[2].code = fake.node[3].code = ERR_RETRY;
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    ERR_BUSY);
	assert_int_equal(blob_each(blob, BLOB_CLASS_S3, count_one, &n, &e),
	    ERR_BUSY);
	assert_int_equal(blob_find_write(blob, &index_id, &i, &e), ERR_BUSY);
	/* One node of it speaks for a group. */
	fake.node[2].mood = FAKE_FINE;
	assert_int_equal(blob_find_write(blob, &index_id, &i, &e),
	    ERR_NOT_FOUND);
	end();
}

/* --- streams --- */

#define BIG (5 * 1024 * 1024 + 12345)

static char *
make_big(void)
{
	char *p = mem_alloc(BIG);

	assert_non_null(p);
	for (size_t i = 0; i < BIG; i++)
		p[i] = (char)(i * 2654435761u >> 13);
	return p;
}

static int
put_big(const char *p, struct blob_info *ret, unsigned stop_at)
{
	struct blob_owner o = owner_of(BLOB_CLASS_S3);
	struct err e = ERR_INIT;
	struct blob_put *u;
	int rc = blob_put_begin(blob, STR_LIT("group1"), &o, BIG, &u, &e);

	for (size_t at = 0; rc == 0 && at < BIG;) {
		size_t n = BIG - at < 256 * 1024 ? BIG - at : 256 * 1024;

		if (stop_at-- == 0)
			for (unsigned i = 0; i < fake.n_nodes; i++)
				fake.node[i].mood = FAKE_HANGS;
		rc = blob_put_write(u, p + at, n, &e);
		at += n;
		if (rc < 0)
			blob_put_abort(&u);
	}
	return rc < 0 ? rc : blob_put_commit(&u, ret, &e);
}

static void
test_stream(void **state)
{
	struct err e = ERR_INIT;
	char *p = make_big(), *q = mem_alloc(BIG);
	struct blob_info i;
	struct blob_file *f;
	size_t n, at;

	(void)state;
	begin(three, 3);
	assert_int_equal(put_big(p, &i, 1000), 0);
	assert_int_equal(i.size, BIG);
	assert_null(fake.streams);
	/* In order: ahead. */
	assert_int_equal(blob_open(blob, str_of(i.id), &f, &e), 0);
	for (at = 0; at < BIG; at += n) {
		assert_int_equal(blob_read(f, at, q + at,
				     BIG - at < 100000 ? BIG - at : 100000, &n,
				     &e),
		    0);
		assert_true(n > 0);
	}
	assert_memory_equal(p, q, BIG);
	assert_int_equal(blob_read(f, BIG, q, 10, &n, &e), 0);
	assert_int_equal(n, 0);
	/* Here and there */
	for (unsigned j = 0; j < 50; j++) {
		at = j * 7919003u % BIG;
		assert_int_equal(blob_read(f, at, q, 3000, &n, &e), 0);
		assert_memory_equal(p + at, q, n);
	}
	/* Left in the middle: what is under way goes too. */
	assert_int_equal(blob_read(f, 0, q, 100, &n, &e), 0);
	assert_int_equal(blob_read(f, 100, q, 100, &n, &e), 0);
	blob_file_close(&f);
	assert_int_equal(blob_read_once(blob, str_of(i.id), 0, q, BIG, &n, &e),
	    0);
	assert_int_equal(n, BIG);
	assert_memory_equal(p, q, BIG);
	/* A body in one piece that no call takes */
	assert_int_equal(put("group1", str_mem(p, BIG), &i), 0);
	assert_int_equal(i.size, BIG);
	mem_free(&p);
	mem_free(&q);
	end();
}

static void
test_stream_breaks(void **state)
{
	char *p = make_big();
	struct blob_info i;

	(void)state;
	begin(three, 3);
	assert_int_equal(put_big(p, &i, 7), ERR_BUSY);
	assert_null(fake.files);
	for (unsigned n = 0; n < 3; n++)
		fake.node[n].mood = FAKE_FINE;
	end();
	/* A slow disk is no dead node. */
	begin(three, 3);
	{
		struct blob_owner o = owner_of(BLOB_CLASS_S3);
		struct err e = ERR_INIT;
		struct blob_put *u;

		assert_int_equal(blob_put_begin(blob, STR_LIT(""), &o, BIG, &u,
				     &e),
		    0);
		for (unsigned n = 0; n < 3; n++)
			fake.node[n].mood = FAKE_SLOW;
		assert_int_equal(blob_put_write(u, p, 1000, &e), 0);
		assert_int_equal(blob_put_commit(&u, &i, &e), 0);
	}
	mem_free(&p);
	end();
}

/* A reader ahead of a node that dies goes on at another one. */
static void
test_node_dies_under_reader(void **state)
{
	struct err e = ERR_INIT;
	char *p = make_big(), *q = mem_alloc(BIG);
	struct blob_info i;
	struct blob_file *f;
	size_t n, at;

	(void)state;
	begin(three, 3);
	assert_int_equal(put_big(p, &i, 1000), 0);
	assert_int_equal(blob_open(blob, str_of(i.id), &f, &e), 0);
	for (at = 0; at < BIG; at += n) {
		if (at > BIG / 3)
			fake_node_stop(&fake.node[0]);
		if (at > BIG / 2)
			fake.node[1].mood = FAKE_HANGS;
		assert_int_equal(blob_read(f, at, q + at,
				     BIG - at < 300000 ? BIG - at : 300000, &n,
				     &e),
		    0);
	}
	assert_memory_equal(p, q, BIG);
	blob_file_close(&f);
	fake_node_start(&fake.node[0]);
	mem_free(&p);
	mem_free(&q);
	end();
}

/* C5 */
static void
test_ahead_is_bounded(void **state)
{
	struct piece *v[80] = { NULL };
	struct blob_info i;
	unsigned n = 0;
	struct str s;

	(void)state;
	begin(three, 3);
	assert_int_equal(put("", STR_LIT("0123456789"), &i), 0);
	for (unsigned j = 0; j < 80; j++) {
		v[j] = ahead_begin(cluster_of(blob)->ahead, str_of(i.id), 0,
		    RPC_DATA, NULL);
		n += v[j] != NULL;
	}
	assert_int_equal(n, 64);
	for (unsigned j = 0; j < 80; j++) {
		if (v[j] != NULL && j % 2 == 0) {
			assert_int_equal(ahead_wait(v[j], &s, NULL), 0);
			assert_true(str_eqz(s, "0123456789"));
		}
		ahead_drop(&v[j]);
	}
	/* All of it comes back. */
	for (unsigned t = 0; t < 200 && n != 128; t++) {
		clock_sleep_ms(10);
		n = 64;
		for (unsigned j = 0; j < 64; j++) {
			v[j] = ahead_begin(cluster_of(blob)->ahead,
			    str_of(i.id), 0, RPC_DATA, NULL);
			n += v[j] != NULL;
		}
		for (unsigned j = 0; j < 64; j++)
			ahead_drop(&v[j]);
	}
	assert_int_equal(n, 128);
	end();
}

static void
test_foreign_names(void **state)
{
	struct err e = ERR_INIT;
	struct blob_file *f;
	char got[4];
	size_t n;

	(void)state;
	begin(three, 3);
	assert_int_equal(blob_open(blob, STR_LIT("no file"), &f, &e),
	    ERR_CORRUPT);
	assert_true(blob_read_once(blob, STR_LIT("/x"), 0, got, 4, &n, &e) < 0);
	assert_true(
	    blob_read_once(blob,
		STR_LIT("group9/M00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887"
			".txt"),
		0, got, 4, &n, &e) < 0);
	end();
}

/* Who makes an index of its files: with the one away that has the last of them,
 * one that was refilled is no witness of there being no more. */
static void
test_each_whole(void **state)
{
	struct blob_owner o;
	struct err e = ERR_INIT;
	struct blob_info i;
	unsigned n = 0;

	(void)state;
	begin(three, 3);
	o = owner_of(BLOB_CLASS_INDEX);
	assert_int_equal(blob_put_whole(blob, STR_LIT("group1"), &o,
			     STR_LIT("log"), &i, &e),
	    0);
	fake.files->hidden =
	    1 | 2; /* acknowledged by 0, which lost it, and 2 */
	fake.node[0].is_refilled = true;
	fake.node[2].mood = FAKE_REFUSES;
	fake.node[2].code = ERR_RETRY;
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    0);
	assert_int_equal(n, 0); /* missed: good enough for other purposes */
	blob_cluster_want_whole(blob);
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    ERR_BUSY);
	assert_int_equal(n, 0);
	fake.node[2].mood = FAKE_FINE;
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    0);
	assert_int_equal(n, 1);
	/* Two that are whole will do, unless one copy may be all there is. */
	fake.node[0].mood = FAKE_REFUSES;
	fake.node[0].code = ERR_RETRY;
	fake.node[0].is_refilled = false;
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    0);
	assert_int_equal(n, 2);
	fake.node[1].says_copies = 1;
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    ERR_BUSY);
	fake.node[0].mood = FAKE_FINE;
	assert_int_equal(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e),
	    0);
	end();
}

/* Ending does not wait for nodes that hang. */
static void
test_hurry(void **state)
{
	struct blob_owner o;
	struct err e = ERR_INIT;
	struct blob_info i;
	unsigned n = 0;
	int64_t t;

	(void)state;
	begin(three, 3);
	for (unsigned j = 0; j < 3; j++)
		fake.node[j].mood = FAKE_HANGS;
	t = now_ms();
	blob_cluster_hurry(blob, 1500);
	assert_true(blob_each(blob, BLOB_CLASS_INDEX, count_one, &n, &e) < 0);
	o = owner_of(BLOB_CLASS_INDEX);
	for (unsigned j = 0; j < 4; j++)
		assert_true(blob_put_whole(blob, STR_LIT(""), &o, STR_LIT("x"),
				&i, &e) < 0);
	assert_true(now_ms() - t < 2500);
	end();
}

static void
test_announces(void **state)
{
	(void)state;
	begin(three, 3);
	for (int n = 0; n < 300 && fake.gates < 2; n++)
		clock_sleep_ms(10);
	assert_true(fake.gates >= 2);
	assert_int_equal(blob_n_stats(blob), 3);
	assert_true(blob_can_write(blob));
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_node_down),
		cmocka_unit_test(test_bad_copy),
		cmocka_unit_test(test_garbled),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_unknown_outcome),
		cmocka_unit_test(test_spill),
		cmocka_unit_test(test_failed_node),
		cmocka_unit_test(test_choose_group),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_take_all),
		cmocka_unit_test(test_owner_notices),
		cmocka_unit_test(test_fence_later),
		cmocka_unit_test(test_no_majority),
		cmocka_unit_test(test_forgetful_tracker),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_each_whole),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_stream_breaks),
		cmocka_unit_test(test_node_dies_under_reader),
		cmocka_unit_test(test_ahead_is_bounded),
		cmocka_unit_test(test_foreign_names),
		cmocka_unit_test(test_announces),
		cmocka_unit_test(test_hurry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
