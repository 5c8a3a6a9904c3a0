/* The tracker's core, rule by rule. */
#include "kit.h"

#include "lib/fault.h"

/* --- K2: what is said of a group that cannot serve --- */

static void
test_unknown(void **state)
{
	struct tcore *t = kit_new(0);

	(void)state;
	assert_int_equal(kit_store(t, 0, "nogroup"), ERR_RETRY);
	assert_int_equal(kit_store(t, 5999, ""), ERR_RETRY);
	assert_int_equal(kit_fetch(t, 5999, FDFS_FETCH_ONE, "nogroup"),
	    ERR_RETRY);
	assert_int_equal(kit_store(t, 6000, "nogroup"), ERR_NOT_FOUND);
	assert_int_equal(kit_store(t, 6000, ""), ERR_NOT_FOUND);
	assert_int_equal(kit_fetch(t, 6000, FDFS_FETCH_ONE, "nogroup"),
	    ERR_NOT_FOUND);
	tcore_free(&t);
	assert_null(t);
}

static void
test_away(void **state)
{
	struct tcore *t = kit_new(0);
	struct cmap m;

	(void)state;
	kit_group(t, 10000, 1, 3);
	assert_int_equal(kit_store(t, 13000, "group1") / 1000, 1);
	assert_int_equal(kit_store(t, 13001, "group1"), ERR_RETRY);
	assert_int_equal(kit_store(t, 13001, ""), ERR_RETRY);
	assert_int_equal(kit_fetch(t, 99000, FDFS_FETCH_ONE, "group1"),
	    ERR_RETRY);
	assert_int_equal(kit_fetch(t, 99000, FDFS_FETCH_UPDATE, "group1"),
	    ERR_RETRY);
	tcore_tick(t, at(99000));
	kit_map(t, 99000, "", &m);
	assert_int_equal(m.n_nodes, 3);
	assert_true(m.nodes[0].is_away);
	/* What it said of itself when it was there is not said any more. */
	assert_false(m.nodes[0].can_write || m.nodes[0].is_leader);
	assert_non_null(strstr(m.nodes[0].reason, "not heard since 20"));
	cmap_fini(&m);
	/* One of three can be read from; it says itself that it cannot take
	 * writes. */
	struct cmap_node n = kit_node(1, 1, 2, 3, 3);
	n.can_write = false;
	kit_hear(t, 99000, n);
	assert_int_equal(kit_fetch(t, 99000, FDFS_FETCH_ONE, "group1"), 1002);
	assert_int_equal(kit_store(t, 99000, "group1"), ERR_RETRY);
	tcore_free(&t);
}

/* A node whose connections have ended is away at once. */
static void
test_lost(void **state)
{
	struct tcore *t = kit_new(0);
	struct id128 id = kit_id(1, 2, 0);

	(void)state;
	kit_group(t, 10000, 1, 3);
	tcore_lose_node(t, at(10001), STR_LIT("nogroup"), &id);
	tcore_lose_node(t, at(10001), STR_LIT("group1"), &id);
	for (int i = 0; i < 9; i++) {
		assert_int_not_equal(kit_store(t, 10001, "group1"), 1002);
		assert_int_not_equal(kit_fetch(t, 10001, FDFS_FETCH_ONE,
					 "group1"),
		    1002);
	}
	kit_hear(t, 10002, kit_node(1, 1, 2, 3, 3));
	assert_int_equal(kit_store(t, 10002, "group1"), 1002);
	tcore_free(&t);
}

static void
test_full(void **state)
{
	struct tcore *t = kit_new(0);

	(void)state;
	for (unsigned i = 1; i <= 2; i++) {
		struct cmap_node n = kit_node(1, 1, i, 2, 2);

		n.paths[0].avail = GIB - 1;
		kit_hear(t, 10000, n);
	}
	assert_int_equal(kit_store(t, 10000, "group1"), ERR_NO_SPACE);
	assert_int_equal(kit_store(t, 10000, ""), ERR_NO_SPACE);
	assert_int_equal(kit_fetch(t, 10000, FDFS_FETCH_ONE, "group1") / 1000,
	    1);
	/* Another group has room; then its node goes away. */
	kit_hear(t, 10000, kit_node(2, 1, 1, 1, 1));
	assert_int_equal(kit_store(t, 10000, ""), 2001);
	kit_group(t, 14000, 1, 2);
	for (unsigned i = 1; i <= 2; i++) {
		struct cmap_node n = kit_node(1, 1, i, 2, 2);

		n.paths[0].avail = GIB - 1;
		kit_hear(t, 14000, n);
	}
	assert_int_equal(kit_store(t, 14000, ""), ERR_RETRY);
	tcore_free(&t);
}

/* --- K3: states, members --- */

static void
test_states(void **state)
{
	static const uint8_t others[] = { FDFS_STATE_INIT, FDFS_STATE_WAIT_SYNC,
		FDFS_STATE_SYNCING, FDFS_STATE_DELETED, FDFS_STATE_OFFLINE,
		FDFS_STATE_ONLINE, FDFS_STATE_RECOVERY };
	struct tcore *t = kit_new(0);

	(void)state;
	for (size_t i = 0; i < sizeof(others); i++) {
		struct cmap_node n = kit_node(1, 1, 1, 1, 1);

		n.state = others[i];
		kit_hear(t, 10000, n);
		assert_int_equal(kit_store(t, 10000, "group1"), ERR_RETRY);
		assert_int_equal(kit_fetch(t, 10000, FDFS_FETCH_ONE, "group1"),
		    ERR_RETRY);
	}
	kit_hear(t, 10000, kit_node(1, 1, 1, 1, 1));
	assert_int_equal(kit_store(t, 10000, "group1"), 1001);
	tcore_free(&t);
}

/* A node whose removal the others have agreed on is told to nobody, whatever
 * it says itself; nor is one that is not in yet. */
static void
test_removed(void **state)
{
	struct tcore *t = kit_new(0);

	(void)state;
	kit_group(t, 10000, 1, 3);
	kit_hear(t, 10000, kit_node(1, 1, 1, 2, 4)); /* epoch 4: 1 and 2 */
	for (int i = 0; i < 12; i++) {
		assert_int_not_equal(kit_store(t, 10000, "group1"), 1003);
		kit_hear(t, 10000, kit_node(1, 1, 3, 3, 3));
		assert_int_not_equal(kit_fetch(t, 10000, FDFS_FETCH_ONE,
					 "group1"),
		    1003);
	}
	struct cmap_node n = kit_node(1, 1, 7, 0, 0);
	n.group_id = kit_id(0, 0, 0);
	memset(&n.group_id, 0, sizeof(n.group_id));
	kit_hear(t, 10000, n);
	for (int i = 0; i < 12; i++)
		assert_int_not_equal(kit_store(t, 10000, "group1"), 1007);
	tcore_free(&t);
}

/* K5: two groups of one name. */
static void
test_two_groups(void **state)
{
	struct tcore *a = kit_new(0), *b = kit_new(0);
	struct cmap m;

	(void)state;
	/* The one with more members, in whatever order they are heard. */
	kit_hear(a, 10000, kit_node(1, 5, 9, 1, 1));
	kit_group(a, 10000, 1, 3);
	kit_group(b, 10000, 1, 3);
	kit_hear(b, 10000, kit_node(1, 5, 9, 1, 1));
	for (int i = 0; i < 12; i++) {
		assert_int_not_equal(kit_store(a, 10000, "group1"), 1009);
		assert_int_not_equal(kit_store(b, 10000, "group1"), 1009);
	}
	kit_map(b, 10000, "group1", &m);
	assert_int_equal(m.n_nodes, 4);
	assert_int_equal(m.nodes[3].state, FDFS_STATE_NONE);
	assert_string_equal(m.nodes[3].reason,
	    "belongs to another group of that name");
	cmap_fini(&m);
	tcore_free(&a);
	tcore_free(&b);
}

/* --- policies --- */

static void
test_round_robin(void **state)
{
	struct tcore *t = kit_new(0);
	int seen[4] = { 0 }, groups[3] = { 0 };

	(void)state;
	kit_group(t, 10000, 1, 3);
	for (int i = 0; i < 30; i++)
		seen[kit_store(t, 10000, "group1") % 1000]++;
	for (int i = 1; i <= 3; i++)
		assert_int_equal(seen[i], 10);
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < 30; i++)
		seen[kit_fetch(t, 10000, FDFS_FETCH_ONE, "group1") % 1000]++;
	for (int i = 1; i <= 3; i++)
		assert_int_equal(seen[i], 10);
	kit_group(t, 10000, 2, 3);
	for (int i = 0; i < 30; i++)
		groups[kit_store(t, 10000, "") / 1000]++;
	assert_in_range(groups[1], 14, 16);
	assert_in_range(groups[2], 14, 16);
	tcore_free(&t);
}

static void
test_lookup(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t;
	struct cmap_node n;

	(void)state;
	o.store_lookup = TCORE_LOOKUP_GROUP;
	snprintf(o.store_group, sizeof(o.store_group), "group2");
	t = kit_new_with(&o, 0);
	kit_group(t, 10000, 1, 2);
	assert_int_equal(kit_store(t, 10000, ""), ERR_NOT_FOUND);
	kit_group(t, 10000, 2, 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_store(t, 10000, "") / 1000, 2);
	/* The most room; each group counts as its fullest node. */
	o.store_lookup = TCORE_LOOKUP_BALANCE;
	tcore_tune(t, &o);
	n = kit_node(2, 1, 1, 2, 2);
	n.paths[0].avail = 99 * GIB;
	kit_hear(t, 10000, n);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_store(t, 10000, "") / 1000, 1);
	tcore_free(&t);
}

/* A bucket's, by the same rules; one group's also while it takes none. */
static void
test_home(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t = kit_new_with(&o, 0);
	char name[FDFS_GROUP_LEN + 1];
	unsigned seen[3] = { 0 };
	struct err e = ERR_INIT;
	struct cmap_node n;

	(void)state;
	assert_true(tcore_home(t, at(10000), name, &e) < 0);
	kit_group(t, 10000, 1, 2);
	kit_group(t, 10000, 2, 2);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(tcore_home(t, at(10000), name, &e), 0);
		seen[name[5] - '0']++;
		/* Turns are one with those of uploads. */
		assert_int_equal(kit_store(t, 10000, "") / 1000,
		    3 - (name[5] - '0'));
	}
	assert_int_equal(seen[1], 10);
	o.store_lookup = TCORE_LOOKUP_BALANCE;
	tcore_tune(t, &o);
	n = kit_node(1, 1, 1, 2, 2);
	n.paths[0].avail = 50 * GIB;
	kit_hear(t, 10000, n);
	assert_int_equal(tcore_home(t, at(10000), name, &e), 0);
	assert_string_equal(name, "group2");
	o.store_lookup = TCORE_LOOKUP_GROUP;
	tcore_tune(t, &o);
	assert_int_equal(tcore_home(t, at(10000), name, &e), 0);
	assert_string_equal(name, "group1");
	assert_int_equal(tcore_home(t, at(60000), name, &e), 0); /* away */
	assert_string_equal(name, "group1");
	tcore_free(&t);
}

/* A group with all its copies is preferred to one that lacks them. */
static void
test_copies(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t;

	(void)state;
	o.store_lookup = TCORE_LOOKUP_BALANCE;
	t = kit_new_with(&o, 0);
	struct cmap_node n = kit_node(1, 1, 1, 3, 3);
	kit_paths(&n, 4, 100 * GIB); /* alone, and with more room */
	kit_hear(t, 10000, n);
	kit_group(t, 10000, 2, 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_store(t, 10000, "") / 1000, 2);
	/* By itself it is asked all the same: it says that it can write. */
	assert_int_equal(kit_store(t, 10000, "group1"), 1001);
	tcore_free(&t);
}

static void
test_servers(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t;

	(void)state;
	o.store_server = TCORE_SERVER_FIRST;
	t = kit_new_with(&o, 0);
	kit_group(t, 10000, 1, 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_store(t, 10000, ""), 1001);
	o.store_server = TCORE_SERVER_PRIORITY;
	tcore_tune(t, &o);
	struct cmap_node n = kit_node(1, 1, 3, 3, 3);
	n.priority = 5;
	kit_hear(t, 10000, n);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_store(t, 10000, ""), 1003);
	tcore_free(&t);
}

static uint8_t
path_of(struct tcore *t, int64_t ms)
{
	struct tcore_ask a = kit_ask("10.9.9.9");
	struct fdfs_servers s;
	struct err e = ERR_INIT;

	assert_int_equal(tcore_store(t, at(ms), &a, STR_LIT("group1"), false,
			     &s, &e),
	    0);
	return s.path;
}

static void
test_paths(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t = kit_new_with(&o, 0);
	struct cmap_node n = kit_node(1, 1, 1, 1, 1);
	int seen[4] = { 0 };

	(void)state;
	kit_paths(&n, 4, 100 * GIB);
	n.paths[1].is_failed = true;
	n.paths[2].avail = GIB / 2; /* below the node's own reserve */
	n.reserved = GIB;
	n.paths[3].avail = 101 * GIB;
	kit_hear(t, 10000, n);
	for (int i = 0; i < 10; i++)
		seen[path_of(t, 10000)]++;
	assert_int_equal(seen[0], 5);
	assert_int_equal(seen[1], 0);
	assert_int_equal(seen[2], 0);
	assert_int_equal(seen[3], 5);
	o.store_path = TCORE_PATH_BALANCE;
	tcore_tune(t, &o);
	for (int i = 0; i < 4; i++)
		assert_int_equal(path_of(t, 10000), 3);
	tcore_free(&t);
}

/* STORE_ALL tells the nodes on which that path takes uploads. */
static void
test_store_all(void **state)
{
	struct tcore *t = kit_new(0);
	struct tcore_ask a = kit_ask("10.9.9.9");
	struct fdfs_servers s;
	struct err e = ERR_INIT;
	struct cmap_node n;

	(void)state;
	kit_group(t, 10000, 1, 3);
	assert_int_equal(tcore_store(t, at(10000), &a, STR_LIT(""), true, &s,
			     &e),
	    0);
	assert_int_equal(s.n, 3);
	n = kit_node(1, 1, 1, 3, 3);
	kit_paths(&n, 2, 100 * GIB);
	n.paths[0].is_failed = true;
	kit_hear(t, 10000, n);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(tcore_store(t, at(10000), &a,
				     STR_LIT("group1"), true, &s, &e),
		    0);
		assert_int_equal(s.n, s.path == 1 ? 1 : 2);
	}
	tcore_free(&t);
}

/* The name's source is server 1. */
static void
test_source(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t = kit_new_with(&o, 0);

	(void)state;
	kit_group(t, 10000, 1, 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_fetch(t, 10000, FDFS_FETCH_UPDATE,
				     "group1"),
		    1001);
	o.download_server = TCORE_DOWNLOAD_SOURCE;
	tcore_tune(t, &o);
	for (int i = 0; i < 4; i++)
		assert_int_equal(kit_fetch(t, 10000, FDFS_FETCH_ONE, "group1"),
		    1001);
	/* One that cannot write is passed over, while there are others. */
	struct cmap_node n = kit_node(1, 1, 1, 3, 3);
	n.can_write = false;
	kit_hear(t, 10000, n);
	for (int i = 0; i < 4; i++)
		assert_in_range(kit_fetch(t, 10000, FDFS_FETCH_UPDATE,
				    "group1"),
		    1002, 1003);
	/* Without it any active node does. */
	kit_hear(t, 14000, kit_node(1, 1, 2, 3, 3));
	assert_int_equal(kit_fetch(t, 14000, FDFS_FETCH_UPDATE, "group1"),
	    1002);
	tcore_free(&t);
}

static void
test_fetch_all(void **state)
{
	struct tcore_opts o = kit_opts();
	struct tcore *t = kit_new_with(&o, 0);
	struct tcore_ask a = kit_ask("10.9.9.9");
	struct fdfs_servers s;
	struct err e = ERR_INIT;

	(void)state;
	kit_group(t, 10000, 1, 3);
	assert_int_equal(tcore_fetch(t, at(10000), &a, FDFS_FETCH_ALL,
			     STR_LIT("group1"), STR_LIT(KIT_NAME), &s, &e),
	    0);
	assert_int_equal(s.n, 1);
	o.extras = FDFS_EXTRAS_ADDR;
	tcore_tune(t, &o);
	assert_int_equal(tcore_fetch(t, at(10000), &a, FDFS_FETCH_ALL,
			     STR_LIT("group1"), STR_LIT(KIT_NAME), &s, &e),
	    0);
	assert_int_equal(s.n, 3);
	assert_int_equal(tcore_fetch(t, at(10000), &a, FDFS_FETCH_ONE,
			     STR_LIT("group1"), STR_LIT(KIT_NAME), &s, &e),
	    0);
	assert_int_equal(s.n, 1);
	tcore_free(&t);
}

/* --- addresses --- */

static void
told(const char *inner, const char *outer, const char *peer, const char *want)
{
	struct tcore *t = kit_new(0);
	struct tcore_ask a = kit_ask(peer);
	struct cmap_node n = kit_node(1, 1, 1, 1, 1);
	struct fdfs_servers s;
	struct err e = ERR_INIT;

	kit_addr(&n.inner, inner, 23000);
	kit_addr(&n.outer, outer, 23001);
	kit_hear(t, 10000, n);
	assert_int_equal(tcore_store(t, at(10000), &a, STR_LIT(""), false, &s,
			     &e),
	    0);
	assert_string_equal(s.addr[0].ip, want);
	assert_int_equal(s.addr[0].port,
	    strcmp(want, inner) == 0 ? 23000 : 23001);
	tcore_free(&t);
}

static void
test_two_addresses(void **state)
{
	struct tcore *t = kit_new(0);
	struct tcore_ask a = kit_ask("2001:db8::9");
	struct fdfs_servers s;
	struct err e = ERR_INIT;
	struct cmap_node n;

	(void)state;
	told("10.1.1.1", "8.8.4.4", "10.9.9.9", "10.1.1.1");
	told("10.1.1.1", "8.8.4.4", "9.9.9.9", "8.8.4.4");
	told("10.1.1.1", "8.8.4.4", "127.0.0.1", "10.1.1.1");
	/* Both private, as in containers: the nearer network. */
	told("172.18.0.3", "192.168.1.2", "192.168.1.9", "192.168.1.2");
	told("172.18.0.3", "192.168.1.2", "172.18.0.7", "172.18.0.3");
	told("172.18.0.3", "", "9.9.9.9", "172.18.0.3");
	/* An address that the form cannot hold is not told in it. */
	n = kit_node(1, 1, 1, 1, 1);
	kit_addr(&n.inner, "2001:db8:1111:2222:3333:4444:5555:6666", 23000);
	kit_hear(t, 10000, n);
	assert_int_equal(tcore_store(t, at(10000), &a, STR_LIT(""), false, &s,
			     &e),
	    ERR_RETRY);
	assert_int_equal(tcore_store(t, at(10000), &a, STR_LIT("group1"), false,
			     &s, &e),
	    ERR_NOT_IMPLEMENTED);
	a.form = FDFS_WIDE;
	assert_int_equal(tcore_store(t, at(10000), &a, STR_LIT("group1"), false,
			     &s, &e),
	    0);
	tcore_free(&t);
}

/* --- K4 --- */

static int
found(struct tcore *t, int64_t ms, unsigned sid)
{
	struct id128 id = kit_id(1, sid, 0);
	struct err e = ERR_INIT;

	return tcore_found(t, at(ms), STR_LIT("group1"), &id, sid, &e);
}

static void
test_found(void **state)
{
	struct tcore *t = kit_new(0);

	(void)state;
	assert_int_equal(found(t, 2000, 1), ERR_RETRY); /* listens */
	assert_int_equal(found(t, 2999, 1), ERR_RETRY);
	assert_int_equal(found(t, 3499, 1), ERR_RETRY); /* gathers */
	assert_int_equal(found(t, 3500, 1), 0);
	assert_int_equal(found(t, 3501, 2), ERR_BUSY);
	assert_int_equal(found(t, 20000, 1), 0); /* again, and longer */
	tcore_tick(t, at(33500));
	assert_int_equal(found(t, 33500, 2), ERR_BUSY);
	tcore_tick(t, at(50001));
	assert_int_equal(found(t, 50001, 2), ERR_RETRY);
	assert_int_equal(found(t, 51501, 2), 0);
	kit_hear(t, 51501, kit_node(1, 1, 2, 1, 1));
	assert_int_equal(found(t, 51502, 2), ERR_EXISTS);
	/* Not after all of it has gone away either. */
	tcore_tick(t, at(900000));
	assert_int_equal(found(t, 900000, 3), ERR_EXISTS);
	tcore_free(&t);
}

/* Two trackers that were asked in another order come to give leave to the same
 * node, at the latest when what one gave before has run out. */
static void
test_found_by_turns(void **state)
{
	struct tcore *a = kit_new(0), *b = kit_new(0);
	int64_t ms = 10000;

	(void)state;
	found(a, ms, 2);
	found(b, ms, 1);
	assert_int_equal(found(a, ms + 1600, 2), 0);
	for (; ms < 60000; ms += 1000) {
		tcore_tick(a, at(ms));
		tcore_tick(b, at(ms));
		bool here = found(a, ms, 1) == 0, there = found(b, ms, 1) == 0;

		/* They hold one each, until ... */
		if (here && there)
			break;
		found(a, ms, 2);
		assert_int_not_equal(found(b, ms, 2), 0);
	}
	assert_in_range(ms, 41600, 43000);
	tcore_free(&a);
	tcore_free(&b);
	/* Who announces itself as blank counts as well. */
	a = kit_new(0);
	struct cmap_node n = kit_node(1, 1, 1, 0, 0);
	memset(&n.group_id, 0, sizeof(n.group_id));
	kit_hear(a, 10000, n);
	found(a, 10000, 2);
	assert_int_equal(found(a, 12000, 2), ERR_BUSY);
	assert_int_equal(found(a, 14000, 2), 0); /* that one has gone */
	tcore_free(&a);
}

/* --- forgetting, saving --- */

static void
test_forget(void **state)
{
	struct tcore *t = kit_new(0);
	struct str g = STR_LIT("group1");
	struct err e = ERR_INIT;
	struct cmap m;

	(void)state;
	kit_group(t, 10000, 1, 3);
	assert_int_equal(tcore_forget(t, at(10000), g, 2, &e), ERR_BUSY);
	assert_int_equal(tcore_forget(t, at(10000), g, 9, &e), ERR_NOT_FOUND);
	assert_int_equal(tcore_forget(t, at(10000), g, 0, &e), ERR_BUSY);
	assert_int_equal(tcore_forget(t, at(10000), STR_LIT("g"), 0, &e),
	    ERR_NOT_FOUND);
	kit_hear(t, 10000, kit_node(1, 1, 1, 2, 4)); /* 3 was removed */
	assert_int_equal(tcore_forget(t, at(10000), g, 3, &e), 0);
	kit_map(t, 10000, "group1", &m);
	assert_int_equal(m.n_nodes, 2);
	cmap_fini(&m);
	assert_int_equal(tcore_forget(t, at(20000), g, 0, &e), 0);
	assert_int_equal(kit_store(t, 20000, "group1"), ERR_NOT_FOUND);
	found(t, 20000, 3);
	assert_int_equal(found(t, 22000, 3), 0);
	tcore_free(&t);
}

static void
test_save(void **state)
{
	struct tcore *t = kit_new(0), *u = kit_new(100000);
	struct buf b = BUF_CAP(1 << 20);
	struct err e = ERR_INIT;
	struct cmap m;
	uint64_t changes;

	(void)state;
	kit_group(t, 10000, 1, 3);
	kit_group(t, 10000, 2, 1);
	changes = tcore_changes(t);
	kit_group(t, 11000, 1, 3);
	kit_store(t, 11000, "");
	assert_true(tcore_changes(t) == changes);
	struct cmap_node n = kit_node(1, 1, 2, 3, 3);
	kit_addr(&n.inner, "10.0.1.77", 23000); /* it has moved */
	kit_hear(t, 11000, n);
	assert_true(tcore_changes(t) != changes);
	assert_int_equal(tcore_save(t, &b), 0);
	assert_int_equal(tcore_load(u, at(100000), buf_str(&b), &e), 0);
	/* Known from the first moment, and never "no such group". */
	assert_int_equal(kit_store(u, 200000, "group1"), ERR_RETRY);
	assert_int_equal(kit_store(u, 200000, ""), ERR_RETRY);
	assert_int_equal(found(u, 200000, 9), ERR_EXISTS);
	kit_map(u, 200000, "", &m);
	assert_int_equal(m.n_nodes, 4);
	assert_int_equal(m.nodes[1].heard_s, 0);
	assert_string_equal(m.nodes[1].inner.ip, "10.0.1.77");
	cmap_fini(&m);
	for (size_t i = 0; i < b.len; i++) {
		struct tcore *v = kit_new(0);

		b.p[i] ^= 1;
		assert_int_equal(tcore_load(v, at(0), buf_str(&b), &e),
		    ERR_CORRUPT);
		b.p[i] ^= 1;
		assert_int_equal(tcore_load(v, at(0), str_mem(b.p, i), &e),
		    ERR_CORRUPT);
		tcore_free(&v);
	}
	buf_fini(&b);
	tcore_free(&t);
	tcore_free(&u);
}

/* --- the map --- */

static void
test_seq(void **state)
{
	struct tcore *t = kit_new(0);
	struct buf b = BUF_CAP(1 << 20);
	struct err e = ERR_INIT;
	struct cmap m;

	(void)state;
	kit_group(t, 10000, 1, 2);
	kit_map(t, 10000, "", &m);
	/* The same again is no news; a state, and silence, are. */
	kit_group(t, 11000, 1, 2);
	tcore_tick(t, at(11000));
	assert_int_equal(tcore_map(t, at(11000), STR_LIT(""), m.seq, &b, &e),
	    0);
	assert_int_equal(b.len, 0);
	struct cmap_node n = kit_node(1, 1, 2, 2, 2);
	n.state = FDFS_STATE_RECOVERY;
	snprintf(n.reason, sizeof(n.reason), "its disk is new");
	n.progress = 40;
	kit_hear(t, 11000, n);
	assert_int_equal(tcore_map(t, at(11000), STR_LIT(""), m.seq, &b, &e),
	    0);
	assert_true(b.len > 0);
	buf_reset(&b);
	cmap_fini(&m);
	kit_map(t, 11000, "", &m);
	assert_string_equal(m.nodes[1].reason, "its disk is new");
	assert_int_equal(m.nodes[1].progress, 40);
	tcore_tick(t, at(20000));
	assert_int_equal(tcore_map(t, at(20000), STR_LIT(""), m.seq, &b, &e),
	    0);
	assert_true(b.len > 0);
	cmap_fini(&m);
	buf_fini(&b);
	tcore_free(&t);
}

static void
test_bad(void **state)
{
	struct tcore *t = kit_new(0);
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct cmap_node n = kit_node(1, 1, 1, 1, 1);

		if (i == 0)
			snprintf(n.group, sizeof(n.group), "a/b");
		else if (i == 1)
			n.server_id = 0;
		else if (i == 2)
			n.server_id = 1 << 24;
		else if (i == 3)
			n.inner.ip[0] = '\0';
		else if (i == 4)
			n.inner.port = 0;
		else
			memset(&n.node, 0, sizeof(n.node));
		assert_int_equal(tcore_hear_node(t, at(0), &n, &e),
		    ERR_INVALID);
	}
	/* Strangers do not push members out, nor fill memory. */
	kit_group(t, 10000, 1, 3);
	for (unsigned i = 0; i < 200; i++) {
		struct cmap_node n = kit_node(1, 1, i % 250 + 4, 0, 0);
		int rc;

		n.node = kit_id(1, i, 7);
		rc = tcore_hear_node(t, at(10000), &n, &e);
		assert_true(rc == 0 || rc == ERR_TOO_BIG);
	}
	for (int i = 0; i < 9; i++)
		assert_true(kit_store(t, 10000, "group1") <= 1003);
	tcore_tick(t, at(90000));
	kit_group(t, 90000, 1, 3);
	assert_true(kit_store(t, 90000, "group1") > 0);
	tcore_free(&t);
}

static void
test_gates(void **state)
{
	struct cmap_gate g = { .gate = kit_id(3, 2, 1), .version = "0.1.0" };
	struct tcore *t = kit_new(0);
	struct err e = ERR_INIT;
	struct cmap m;

	(void)state;
	kit_addr(&g.addr, "10.0.0.5", 9000);
	assert_int_equal(tcore_hear_gate(t, at(10000), &g, &e), 0);
	assert_int_equal(tcore_hear_gate(t, at(11000), &g, &e), 0);
	kit_map(t, 11000, "", &m);
	assert_int_equal(m.n_gates, 1);
	assert_int_equal(m.gates[0].heard_s, at(11000).real_s);
	cmap_fini(&m);
	tcore_tick(t, at(11000 + 3600001));
	kit_map(t, 11000, "", &m);
	assert_int_equal(m.n_gates, 0);
	cmap_fini(&m);
	tcore_free(&t);
}

/* Each allocation fails once: an error then, no crash, leak or half a group. */
static void
test_no_memory(void **state)
{
	struct tcore *t = kit_new(0);
	struct buf b = BUF_CAP(16 << 20);
	struct err e = ERR_INIT;
	bool fired = true;
	int rc = 0;

	(void)state;
	for (unsigned long n = 1; fired || rc < 0; n++) {
		struct cmap_node k = kit_node(1, 1, 1, 3, n);

		assert_true(n < 1000);
		if (fired)
			fault_arm(FAULT_ALLOC, n, 12, false);
		rc = tcore_hear_node(t, at(10000), &k, &e);
		buf_reset(&b);
		if (rc == 0)
			rc = tcore_map(t, at(10000), STR_LIT(""), 0, &b, &e);
		fired = fault_fired();
		fault_disarm();
		assert_true(rc == 0 || fired);
		tcore_tick(t, at(10000));
		buf_fini(&b);
	}
	assert_int_equal(kit_store(t, 10000, "group1"), 1001);
	buf_fini(&b);
	tcore_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_removed),
		cmocka_unit_test(test_two_groups),
		cmocka_unit_test(test_round_robin),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_home),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_store_all),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_fetch_all),
		cmocka_unit_test(test_two_addresses),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_found_by_turns),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_save),
		cmocka_unit_test(test_seq),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_gates),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
