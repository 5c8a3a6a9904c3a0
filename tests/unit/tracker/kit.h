/* What the tests of the tracker's core share: nodes made of few numbers, and
 * questions in one line. */
#ifndef TEST_TRACKER_KIT_H
#define TEST_TRACKER_KIT_H

#include "tracker/core.h"

#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static inline struct id128
kit_id(unsigned a, unsigned b, unsigned c)
{
	struct id128 id = { { 1, (uint8_t)a, (uint8_t)b, (uint8_t)c } };

	return id;
}

static inline struct tcore_now
at(int64_t ms)
{
	return (struct tcore_now){ ms, 1700000000 + ms / 1000 };
}

static inline void
kit_addr(struct fdfs_addr *a, const char *ip, unsigned port)
{
	memset(a, 0, sizeof(*a));
	snprintf(a->ip, sizeof(a->ip), "%s", ip);
	a->port = (uint16_t)port;
}

/* Server @sid of "groupG" (ID @gid), members 1 to @members; ACTIVE, one path
 * with 100 GiB, at 10.0.G.SID. */
static inline struct cmap_node
kit_node(unsigned g, unsigned gid, unsigned sid, unsigned members,
    uint64_t epoch)
{
	struct cmap_node n = { .node = kit_id(g, sid, 0),
		.group_id = kit_id(g, gid, 99),
		.server_id = sid,
		.version = "0.1.0",
		.state = FDFS_STATE_ACTIVE,
		.can_write = true,
		.epoch = epoch,
		.started_s = 1700000000,
		.joined_s = 1690000000,
		.priority = 10,
		.min_copies = members > 1 ? 2 : 1,
		.n_paths = 1,
		.n_members = members };
	char ip[32];

	snprintf(n.group, sizeof(n.group), "group%u", g);
	snprintf(ip, sizeof(ip), "10.0.%u.%u", g, sid);
	kit_addr(&n.inner, ip, 23000);
	n.paths = mem_zalloc(sizeof(*n.paths));
	assert_non_null(n.paths);
	n.paths[0] =
	    (struct cmap_path){ .total = 200 * GIB, .avail = 100 * GIB };
	for (unsigned i = 0; i < members; i++) {
		struct cmap_member *m = &n.members[i];

		m->node = kit_id(g, i + 1, 0);
		m->server_id = i + 1;
		snprintf(ip, sizeof(ip), "10.0.%u.%u", g, i + 1);
		kit_addr(&m->inner, ip, 23000);
	}
	return n;
}

static inline void
kit_paths(struct cmap_node *n, size_t count, uint64_t avail)
{
	mem_free(&n->paths);
	n->paths = mem_zalloc(count * sizeof(*n->paths));
	assert_non_null(n->paths);
	n->n_paths = count;
	for (size_t i = 0; i < count; i++)
		n->paths[i] =
		    (struct cmap_path){ .total = 200 * GIB, .avail = avail };
}

static inline struct tcore_opts
kit_opts(void)
{
	return (struct tcore_opts){ .store_lookup = TCORE_LOOKUP_ROUND_ROBIN,
		.store_group = "group1",
		.reserved = GIB,
		.away_ms = 3000 };
}

static inline struct tcore *
kit_new_with(const struct tcore_opts *o, int64_t ms)
{
	struct tcore_conf c = { .o = *o,
		.self = kit_id(200, 1, 1),
		.seq = 1000,
		.version = "0.1.0" };
	struct tcore *t = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(tcore_new(&c, at(ms), &t, &e), 0);
	return t;
}

static inline struct tcore *
kit_new(int64_t ms)
{
	struct tcore_opts o = kit_opts();

	return kit_new_with(&o, ms);
}

static inline void
kit_hear(struct tcore *t, int64_t ms, struct cmap_node n)
{
	struct err e = ERR_INIT;

	if (tcore_hear_node(t, at(ms), &n, &e) != 0)
		fail_msg("%s", e.msg);
	assert_null(n.paths);
}

/* All of @members of "groupG". */
static inline void
kit_group(struct tcore *t, int64_t ms, unsigned g, unsigned members)
{
	for (unsigned i = 1; i <= members; i++)
		kit_hear(t, ms, kit_node(g, 1, i, members, members));
}

static inline struct tcore_ask
kit_ask(const char *peer)
{
	struct tcore_ask a = { .form = FDFS_NARROW };

	kit_addr(&a.peer, peer, 40000);
	kit_addr(&a.local, "10.0.0.250", 22122);
	return a;
}

#define KIT_NAME "M00/00/00/AQAAAGsBLvWAPl1EAAAFeEEZMs8887.txt"

/* The third octet and the last one of who is told: G * 1000 + SID; an error is
 * negative. */
static inline int
kit_code(int rc, const struct fdfs_servers *s)
{
	unsigned v[4];

	if (rc < 0)
		return rc;
	assert_int_equal(sscanf(s->addr[0].ip, "%u.%u.%u.%u", &v[0], &v[1],
			     &v[2], &v[3]),
	    4);
	return (int)(v[2] * 1000 + v[3]);
}

static inline int
kit_store(struct tcore *t, int64_t ms, const char *group)
{
	struct tcore_ask a = kit_ask("10.9.9.9");
	struct err e = ERR_INIT;
	struct fdfs_servers s;

	return kit_code(tcore_store(t, at(ms), &a, str_of(group), false, &s,
			    &e),
	    &s);
}

static inline int
kit_fetch(struct tcore *t, int64_t ms, uint8_t command, const char *group)
{
	struct tcore_ask a = kit_ask("10.9.9.9");
	struct err e = ERR_INIT;
	struct fdfs_servers s;

	return kit_code(tcore_fetch(t, at(ms), &a, command, str_of(group),
			    STR_LIT(KIT_NAME), &s, &e),
	    &s);
}

static inline void
kit_map(struct tcore *t, int64_t ms, const char *group, struct cmap *ret)
{
	struct buf b = BUF_CAP(16 << 20);
	struct err e = ERR_INIT;

	assert_int_equal(tcore_map(t, at(ms), str_of(group), 0, &b, &e), 0);
	if (cmap_unpack(buf_str(&b), ret, &e) != 0)
		fail_msg("%s", e.msg);
	buf_fini(&b);
}

#endif
