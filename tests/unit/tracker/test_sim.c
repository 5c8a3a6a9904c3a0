/* The core under random schedules on virtual time: nodes of several groups that
 * come, go, change their state and their groups' membership; trackers that
 * restart with and without what they had saved; messages that get lost. After
 * each step every tracker is asked, and what it answers is held against a model
 * of what it was told.
 * CREEL_SIM_SEEDS in the environment: how many seeds; CREEL_SIM_SEED: one. */
#include "kit.h"

enum {
	TRACKERS = 3,
	GROUPS = 2,
	NODES = 5, /* of a group; 3 of them members at first */
	AWAY = 3000,
	STEP = 100,
	STEPS = 900
};

struct rng {
	uint64_t s;
};
static uint64_t
next(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s * UINT64_C(0x2545F4914F6CDD1D);
}
static bool
chance(struct rng *r, unsigned per_mille)
{
	return next(r) >> 32 < (uint64_t)per_mille * 4294967;
}
static unsigned
below(struct rng *r, unsigned n)
{
	return (unsigned)((next(r) >> 32) % n);
}

struct sim_node { /* the truth */
	bool is_up;
	uint8_t state;
	bool can_write;
	uint64_t avail;
	uint64_t epoch; /* of the membership that it knows */
	int64_t due;
};

struct sim_group {
	uint64_t epoch;
	bool members[64][NODES]; /* by epoch, from 1 */
	struct sim_node node[NODES];
};

struct told { /* a tracker, by one node */
	bool was;
	int64_t at;
	uint8_t state;
	bool can_write;
	uint64_t avail, epoch;
};

struct sim_tracker {
	struct tcore *t;
	int64_t started;
	bool cut[GROUPS][NODES]; /* a broken link */
	struct told told[GROUPS][NODES];
	uint64_t epoch[GROUPS]; /* newest heard of, saved ones too */
	unsigned founder[GROUPS];
	int64_t founder_until[GROUPS];
	int64_t asked[GROUPS][NODES]; /* to found it, when last; 0: never */
};

struct sim {
	struct rng r;
	uint64_t seed;
	int64_t now;
	struct sim_group g[GROUPS];
	struct sim_tracker k[TRACKERS];
	unsigned long stored, fetched, refused;
};

#define CHECK(s, x)                                                            \
	do {                                                                   \
		if (!(x))                                                      \
			fail_msg("seed %ju, at %jd ms: %s",                    \
			    (uintmax_t)(s)->seed, (intmax_t)(s)->now, #x);     \
	} while (0)

/* --- the world --- */

static unsigned
count(const struct sim_group *g, uint64_t epoch)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NODES; i++)
		n += epoch > 0 && g->members[epoch][i];
	return n;
}

static void
announce(struct sim *s, unsigned gi, unsigned ni, struct sim_tracker *k)
{
	struct sim_group *g = &s->g[gi];
	struct sim_node *n = &g->node[ni];
	struct told *told = &k->told[gi][ni];
	struct cmap_node m = kit_node(gi + 1, 1, ni + 1, 0, n->epoch);

	for (unsigned i = 0; i < NODES && n->epoch > 0; i++) {
		struct cmap_member *v = &m.members[m.n_members];

		if (!g->members[n->epoch][i])
			continue;
		v->node = kit_id(gi + 1, i + 1, 0);
		v->server_id = i + 1;
		kit_addr(&v->inner, "10.0.0.9", 23000);
		snprintf(v->inner.ip, sizeof(v->inner.ip), "10.0.%u.%u", gi + 1,
		    i + 1);
		m.n_members++;
	}
	if (n->epoch == 0)
		memset(&m.group_id, 0, sizeof(m.group_id));
	m.state = n->state;
	m.can_write = n->can_write;
	m.paths[0].avail = n->avail;
	kit_hear(k->t, s->now, m);
	*told = (struct told){ true, s->now, n->state, n->can_write, n->avail,
		n->epoch };
	if (n->epoch > k->epoch[gi]) {
		k->epoch[gi] = n->epoch;
		k->founder_until[gi] = 0;
	}
}

static void
speak(struct sim *s, unsigned gi, unsigned ni)
{
	struct sim_node *n = &s->g[gi].node[ni];

	if (!n->is_up || s->now < n->due)
		return;
	n->due = s->now + 1000;
	for (unsigned i = 0; i < TRACKERS; i++)
		if (!s->k[i].cut[gi][ni] && !chance(&s->r, 50))
			announce(s, gi, ni, &s->k[i]);
}

/* Members hear of a newer epoch from each other after a while. */
static void
change_node(struct sim *s, struct sim_group *g, unsigned ni)
{
	static const uint8_t states[] = { FDFS_STATE_ACTIVE, FDFS_STATE_ACTIVE,
		FDFS_STATE_ACTIVE, FDFS_STATE_RECOVERY, FDFS_STATE_SYNCING };
	struct sim_node *n = &g->node[ni];

	if (chance(&s->r, 5))
		n->is_up = !n->is_up;
	if (!n->is_up && chance(&s->r, 20))
		n->is_up = true;
	if (chance(&s->r, 10))
		n->state = states[below(&s->r, 5)];
	if (chance(&s->r, 10))
		n->can_write = !chance(&s->r, 250);
	if (chance(&s->r, 10))
		n->avail = chance(&s->r, 250) ? GIB / 2 : 50 * GIB;
	if (n->is_up && n->epoch != g->epoch && n->epoch > 0 &&
	    chance(&s->r, 100))
		n->epoch = g->epoch;
}

/* One node more or less, as a majority of the members has agreed. */
static void
change_members(struct sim *s, struct sim_group *g)
{
	unsigned i = below(&s->r, NODES);
	bool had;

	if (g->epoch == 0 || g->epoch + 1 >= 64 || !chance(&s->r, 4))
		return;
	had = g->members[g->epoch][i];
	if (had && count(g, g->epoch) == 1)
		return;
	memcpy(g->members[g->epoch + 1], g->members[g->epoch],
	    sizeof(g->members[0]));
	g->members[++g->epoch][i] = !had;
	/* Whoever took part knows at once. */
	for (unsigned k = 0; k < NODES; k++)
		if (g->members[g->epoch][k] && g->node[k].is_up)
			g->node[k].epoch = g->epoch;
	if (!had)
		g->node[i].epoch = g->epoch;
}

static void
start(struct sim *s, struct sim_tracker *k)
{
	struct tcore_opts o = kit_opts();

	o.away_ms = AWAY;
	k->t = kit_new_with(&o, s->now);
	k->started = s->now;
	memset(k->told, 0, sizeof(k->told));
	memset(k->founder_until, 0, sizeof(k->founder_until));
	memset(k->asked, 0, sizeof(k->asked));
}

static void
restart(struct sim *s, struct sim_tracker *k)
{
	struct buf b = BUF_CAP(1 << 20);
	struct err e = ERR_INIT;
	bool is_lost = chance(&s->r, 200);

	assert_int_equal(tcore_save(k->t, &b), 0);
	tcore_free(&k->t);
	start(s, k);
	if (is_lost)
		memset(k->epoch, 0, sizeof(k->epoch));
	else
		assert_int_equal(tcore_load(k->t, at(s->now), buf_str(&b), &e),
		    0);
	buf_fini(&b);
}

/* --- the checks --- */

static bool
is_there(const struct sim *s, const struct sim_tracker *k, unsigned gi,
    unsigned ni)
{
	const struct told *t = &k->told[gi][ni];

	return t->was && s->now - t->at <= AWAY &&
	       t->state == FDFS_STATE_ACTIVE && t->epoch > 0 &&
	       k->epoch[gi] > 0 && s->g[gi].members[k->epoch[gi]][ni];
}

static bool
may_store(const struct sim *s, const struct sim_tracker *k, unsigned gi,
    unsigned ni)
{
	const struct told *t = &k->told[gi][ni];

	return is_there(s, k, gi, ni) && t->can_write && t->avail >= GIB;
}

/* Of late: who has not asked for longer counts no more. */
static bool
has_asked(const struct sim *s, const struct sim_tracker *k, unsigned gi,
    unsigned ni)
{
	return s->now - k->asked[gi][ni] <= 10000;
}

static bool
is_known(const struct sim *s, const struct sim_tracker *k, unsigned gi)
{
	if (k->epoch[gi] > 0)
		return true;
	for (unsigned i = 0; i < NODES; i++)
		if (k->told[gi][i].was || has_asked(s, k, gi, i))
			return true;
	return false;
}

static void
check_group(struct sim *s, struct sim_tracker *k, unsigned gi)
{
	unsigned readers = 0, writers = 0, roomless = 0, ni;
	char name[8];
	int rc;

	snprintf(name, sizeof(name), "group%u", gi + 1);
	for (unsigned i = 0; i < NODES; i++) {
		readers += is_there(s, k, gi, i);
		roomless += is_there(s, k, gi, i) && k->told[gi][i].avail < GIB;
		writers += may_store(s, k, gi, i);
	}
	rc = kit_store(k->t, s->now, name);
	if (rc > 0) {
		CHECK(s, rc / 1000 == (int)gi + 1);
		ni = (unsigned)rc % 1000 - 1;
		CHECK(s, ni < NODES && may_store(s, k, gi, ni));
		s->stored++;
	} else if (rc == ERR_NO_SPACE) {
		CHECK(s, readers > 0 && roomless == readers);
	} else {
		CHECK(s, rc == ERR_RETRY || rc == ERR_NOT_FOUND);
		s->refused++;
	}
	CHECK(s, (writers > 0) == (rc > 0));
	if (rc == ERR_NOT_FOUND) {
		CHECK(s, !is_known(s, k, gi));
		CHECK(s, s->now - k->started >= 2 * AWAY);
	}
	rc = kit_fetch(k->t, s->now,
	    chance(&s->r, 500) ? FDFS_FETCH_ONE : FDFS_FETCH_UPDATE, name);
	CHECK(s, (readers > 0) == (rc > 0));
	if (rc > 0) {
		ni = (unsigned)rc % 1000 - 1;
		CHECK(s, ni < NODES && is_there(s, k, gi, ni));
		s->fetched++;
	} else {
		CHECK(s, rc == ERR_RETRY ||
			     (rc == ERR_NOT_FOUND && !is_known(s, k, gi)));
	}
}

static bool
is_not_first(const struct sim *s, const struct sim_tracker *k, unsigned gi,
    unsigned ni)
{
	for (unsigned i = 0; i < ni; i++) {
		if (has_asked(s, k, gi, i))
			return true;
		if (k->told[gi][i].was && k->told[gi][i].epoch == 0 &&
		    s->now - k->told[gi][i].at <= AWAY)
			return true;
	}
	return false;
}

/* Leave to found: never to two at once, never where members are known. */
static void
found(struct sim *s, unsigned gi)
{
	unsigned ni = below(&s->r, NODES), yes = 0;
	struct sim_group *g = &s->g[gi];
	char name[8];

	if (g->node[ni].epoch > 0 || !g->node[ni].is_up)
		return;
	snprintf(name, sizeof(name), "group%u", gi + 1);
	for (unsigned i = 0; i < TRACKERS; i++) {
		struct id128 id = kit_id(gi + 1, ni + 1, 0);
		struct sim_tracker *k = &s->k[i];
		struct err e = ERR_INIT;
		int rc;

		if (k->cut[gi][ni])
			continue;
		rc = tcore_found(k->t, at(s->now), str_of(name), &id, ni + 1,
		    &e);
		k->asked[gi][ni] = s->now;
		if (rc == 0) {
			CHECK(s, k->epoch[gi] == 0);
			CHECK(s, s->now >= k->founder_until[gi] ||
				     k->founder[gi] == ni);
			CHECK(s, s->now - k->started >= AWAY);
			k->founder[gi] = ni;
			k->founder_until[gi] = s->now + TCORE_FOUND_MS;
			yes++;
		} else if (rc == ERR_EXISTS) {
			CHECK(s, k->epoch[gi] > 0);
		} else if (rc == ERR_BUSY) {
			CHECK(s, (s->now < k->founder_until[gi] &&
				     k->founder[gi] != ni) ||
				     is_not_first(s, k, gi, ni));
		} else {
			CHECK(s, rc == ERR_RETRY);
		}
	}
	/* Only one node at a time can get a majority: so it may found. */
	if (yes > TRACKERS / 2 && g->epoch == 0) {
		g->epoch = 1;
		g->members[1][ni] = true;
		g->node[ni].epoch = 1;
	}
}

static void
forget_clocks(struct cmap *m)
{
	m->seq = 0;
	for (size_t i = 0; i < m->n_nodes; i++) {
		m->nodes[i].heard_s = 0;
		m->nodes[i].stat.last_heartbeat = 0;
	}
}

/* K6: once all have heard the same, they show the same. */
static void
check_views(struct sim *s)
{
	struct buf view[2] = { BUF_CAP(1 << 20), BUF_CAP(1 << 20) };
	struct cmap m;

	s->now += 70000; /* who has left for good is forgotten */
	for (unsigned i = 0; i < TRACKERS; i++) {
		struct buf *b = &view[i > 0];

		tcore_tick(s->k[i].t, at(s->now));
		for (unsigned g = 0; g < GROUPS; g++) {
			for (unsigned n = 0; n < NODES; n++) {
				if (s->g[g].node[n].epoch > 0)
					s->g[g].node[n].epoch = s->g[g].epoch;
				announce(s, g, n, &s->k[i]);
			}
		}
		tcore_tick(s->k[i].t, at(s->now));
		kit_map(s->k[i].t, s->now, "", &m);
		forget_clocks(&m);
		buf_reset(b);
		assert_int_equal(cmap_pack(&m, b), 0);
		CHECK(s, m.n_nodes == GROUPS * NODES);
		cmap_fini(&m);
		if (i > 0)
			CHECK(s, str_eq(buf_str(&view[0]), buf_str(&view[1])));
	}
	buf_fini(&view[0]);
	buf_fini(&view[1]);
}

/* --- a run --- */

static void
setup(struct sim *s, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->r.s = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	s->now = 1000000;
	for (unsigned g = 0; g < GROUPS; g++) {
		bool is_founded = chance(&s->r, 700);

		s->g[g].epoch = is_founded;
		for (unsigned n = 0; n < NODES; n++) {
			s->g[g].node[n] = (struct sim_node){ .is_up = true,
				.state = FDFS_STATE_ACTIVE,
				.can_write = true,
				.avail = 50 * GIB,
				.epoch = is_founded && n < 3,
				.due = s->now + below(&s->r, 1000) };
			s->g[g].members[1][n] = is_founded && n < 3;
		}
	}
	for (unsigned i = 0; i < TRACKERS; i++)
		start(s, &s->k[i]);
}

static void
step(struct sim *s)
{
	s->now += STEP;
	for (unsigned g = 0; g < GROUPS; g++) {
		change_members(s, &s->g[g]);
		for (unsigned n = 0; n < NODES; n++) {
			change_node(s, &s->g[g], n);
			speak(s, g, n);
		}
		if (chance(&s->r, 300))
			found(s, g);
	}
	for (unsigned i = 0; i < TRACKERS; i++) {
		struct sim_tracker *k = &s->k[i];

		if (chance(&s->r, 5))
			restart(s, k);
		if (chance(&s->r, 20))
			k->cut[below(&s->r, GROUPS)][below(&s->r, NODES)] =
			    chance(&s->r, 500);
		if (chance(&s->r, 400))
			tcore_tick(k->t, at(s->now));
		for (unsigned g = 0; g < GROUPS; g++)
			check_group(s, k, g);
	}
}

static void
test_schedules(void **state)
{
	const char *one = getenv("CREEL_SIM_SEED");
	const char *many = getenv("CREEL_SIM_SEEDS");
	const char *full = getenv("CREEL_FULL");
	uint64_t first = 1, last = full != NULL && full[0] != '\0' ? 2000 : 40;
	unsigned long stored = 0, fetched = 0, refused = 0;

	(void)state;
	if (many != NULL)
		last = strtoull(many, NULL, 10);
	if (one != NULL)
		first = last = strtoull(one, NULL, 10);
	for (uint64_t seed = first; seed <= last; seed++) {
		static struct sim s;

		setup(&s, seed);
		for (int i = 0; i < STEPS; i++)
			step(&s);
		check_views(&s);
		for (unsigned i = 0; i < TRACKERS; i++)
			tcore_free(&s.k[i].t);
		stored += s.stored;
		fetched += s.fetched;
		refused += s.refused;
	}
	/* The schedules are neither all well nor all broken. */
	print_message("%lu uploads sent, %lu downloads, %lu refused\n", stored,
	    fetched, refused);
	assert_true(stored > refused && refused > stored / 100);
	assert_true(fetched > stored);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
