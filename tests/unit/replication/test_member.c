/* Membership and election in the simulation: groups that are founded, joined,
 * shrunk; nodes that crash, lose their disks, get an old copy of them; networks
 * that lose, delay and cut. Checked over all histories:
 *   M1  one membership per group and epoch
 *   M3  who was removed never is a member again
 *   M4  one leader per term; once a term's leader got a majority to admit a
 *       change, none of an older term gets one
 *   M5  in the end there is one group
 * and that all come together, with a leader, once faults stop.
 * CREEL_SIM_SEEDS: how many histories; CREEL_SIM_SEED: that one alone. */
#include "tests/unit/replication/sim.h"

#include "storage/replication/member.h"

#include "lib/hash.h"
#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	NODES = 5, /* storage nodes 0 to 4 */
	TRACKER = 9,
	TRACKERS = 3, /* 9 to 11, or fewer */
	FACTS = 4096,
	ELECTION_MS = 1000
};

struct world;

struct node {
	struct world *w;
	int i;
	struct members *m;
	bool is_removed; /* by its administrator: stays stopped */
	uint32_t server_id;
};

struct tracker {
	struct world *w;
	struct cmap_node known[NODES + 1];
	size_t n_known;
	struct id128 founder;
	int64_t founder_until;
};

struct fact { /* what was seen, once: key -> value */
	uint64_t key[2], value;
};

struct world {
	struct sim *s;
	struct node node[NODES];
	struct tracker tracker[TRACKERS];
	size_t n, n_trackers;
	struct fact memberships[FACTS], leaders[FACTS];
	size_t n_memberships, n_leaders;
	struct id128 gone[64]; /* removed or replaced */
	size_t n_gone;
	uint64_t best_term; /* of changes that a majority admitted */
	unsigned admitted, wiped, put_back, removed;
	bool is_over, is_calm, has_failed;
};

/* A task has no way to fail a test; the director says it. */
static void
wrong(struct world *w, const char *what)
{
	if (!w->has_failed)
		fprintf(stderr, "seed %ju at %jd: %s\n",
		    (uintmax_t)sim_seed(w->s), (intmax_t)sim_now(w->s), what);
	w->has_failed = true;
}

static void
check_fact(struct world *w, struct fact *v, size_t *n, struct fact f,
    const char *what)
{
	for (size_t i = 0; i < *n; i++) {
		if (v[i].key[0] != f.key[0] || v[i].key[1] != f.key[1])
			continue;
		if (v[i].value != f.value)
			wrong(w, what);
		return;
	}
	MUST(*n < FACTS);
	v[(*n)++] = f;
}

/* What a node thinks, against all that any has thought. */
static void
observe(struct node *n)
{
	struct world *w = n->w;
	struct member_view v;
	struct id128 ids[CMAP_MEMBERS * 2];
	uint64_t group;

	members_get(n->m, &v);
	if (v.epoch == 0)
		return;
	group = hash_xxh3(0, v.group_id.b, sizeof(v.group_id.b));
	memset(ids, 0, sizeof(ids));
	for (size_t i = 0; i < v.n; i++) {
		ids[2 * i] = v.m[i].node;
		ids[2 * i + 1].b[0] = (uint8_t)v.m[i].server_id;
		ids[2 * i + 1].b[1] = (uint8_t)v.since[i];
	}
	check_fact(w, w->memberships, &w->n_memberships,
	    (struct fact){ { group, v.epoch }, hash_xxh3(1, ids, sizeof(ids)) },
	    "two memberships of one epoch (M1)");
	if (v.is_leader)
		check_fact(w, w->leaders, &w->n_leaders,
		    (struct fact){ { group, v.term },
			hash_xxh3(2, v.m[v.self].node.b, 16) },
		    "two leaders of one term (M4)");
}

static void
on_changed(void *arg)
{
	struct node *n = arg;

	if (n->m != NULL)
		observe(n);
}

/* --- nodes --- */

static int
serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct node *n = arg;
	struct unpack u = unpack_of(q->args);
	int rc;

	if (n->m == NULL)
		return err_set(e, ERR_RETRY, "starting");
	if (q->op >= RPC_MEMBERS && q->op <= RPC_LEAD)
		return members_serve(n->m, from, q, a, e);
	MUST(q->op == RPC_FILE_OP); /* a change, by a leader */
	rc = members_check(n->m, from, q->epoch, e);
	if (rc == 0)
		rc = members_admit_term(n->m, &from->id, unpack_u64(&u), e);
	return rc;
}

static void
start(struct node *n)
{
	struct members_conf c = { .group = "g",
		.server_id = n->server_id,
		.n_trackers = n->w->n_trackers,
		.election_ms = ELECTION_MS,
		.changed = on_changed,
		.arg = n };
	struct rpc_from self = { .kind = RPC_PEER,
		.group = "g",
		.server_id = n->server_id };
	struct members *m = NULL;
	struct err e = ERR_INIT;
	int rc = 0;

	sim_disk_node_id(sim_disk(n->w->s, n->i), &self.id);
	sim_self(n->w->s, n->i, &self);
	sim_start(n->w->s, n->i, serve, n);
	c.node = self.id;
	sim_env(n->w->s, n->i, &c.env);
	sim_addr(n->i, &c.inner);
	for (size_t i = 0; i < n->w->n_trackers; i++)
		sim_addr(TRACKER + (int)i, &c.trackers[i]);
	if (sim_enter(n->w->s, n->i)) {
		rc = members_open(&c, &m, &e);
		sim_leave(n->w->s, n->i);
	}
	if (rc < 0)
		wrong(n->w, e.msg);
	n->m = m;
}

static void
stop(struct node *n)
{
	struct members *m = n->m;

	if (!sim_is_up(n->w->s, n->i))
		return;
	sim_stop(n->w->s, n->i);
	n->m = NULL;
	members_close(&m);
}

/* --- trackers --- */

static int
tracker_serve(void *arg, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct tracker *t = arg;
	struct unpack u = unpack_of(q->args);
	struct cmap map = { .seq = 1 };
	struct cmap_node n;
	int rc;

	if (q->op == RPC_FOUND) {
		for (size_t i = 0; i < t->n_known; i++) {
			if (t->known[i].n_members > 0)
				return err_set(e, ERR_EXISTS, "it is there");
		}
		if (sim_now(t->w->s) < t->founder_until &&
		    !id128_eq(&t->founder, &from->id))
			return err_set(e, ERR_BUSY, "another may");
		t->founder = from->id;
		t->founder_until = sim_now(t->w->s) + 30000;
		return 0;
	}
	MUST(q->op == RPC_ANNOUNCE);
	rc = cmap_node_unpack(&u, &n, e);
	if (rc < 0)
		return rc;
	n.heard_s = 1;
	for (size_t i = 0; i <= t->n_known && i <= NODES; i++) {
		if (i == t->n_known || t->known[i].server_id == n.server_id) {
			t->n_known += i == t->n_known;
			t->known[i] = n;
			break;
		}
	}
	map.nodes = t->known;
	map.n_nodes = t->n_known;
	return cmap_pack(&map, &a->body);
}

/* A node tells the trackers about itself, and hears of the others. */
static void
announce(struct node *n, int tracker)
{
	struct rep_env env;
	struct cmap_node self = { .server_id = n->server_id, .group = "g" };
	struct buf args = BUF_CAP(100000);
	struct member_view v;
	struct rpc_reply r;
	struct fdfs_addr to;
	struct cmap map;

	members_get(n->m, &v);
	sim_disk_node_id(sim_disk(n->w->s, n->i), &self.node);
	sim_addr(n->i, &self.inner);
	self.group_id = v.group_id;
	self.n_members = v.self < 0 ? 0 : v.n;
	memcpy(self.members, v.m, sizeof(v.m));
	sim_env(n->w->s, n->i, &env);
	sim_addr(TRACKER + tracker, &to);
	rpc_reply_init(&r);
	MUST(cmap_node_pack(&self, &args) == 0);
	if (env.ops->call(env.env, &to,
		&(struct rpc_request){ .op = RPC_ANNOUNCE,
		    .args = buf_str(&args) },
		500, &r, NULL) == 0) {
		MUST(cmap_unpack(buf_str(&r.body), &map, NULL) == 0);
		members_hear(n->m, &map);
		cmap_fini(&map);
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
}

static void
announcer(void *arg)
{
	struct node *n = arg;
	struct world *w = n->w;

	while (!w->is_over) {
		sim_sleep(w->s, 300 + (int64_t)sim_below(w->s, 1000));
		for (size_t t = 0; t < w->n_trackers; t++) {
			if (w->is_over || n->m == NULL ||
			    !sim_enter(w->s, n->i))
				continue;
			announce(n, (int)t);
			sim_leave(w->s, n->i);
		}
	}
}

/* --- changes, as a leader makes them --- */

struct ask {
	struct rep_env env;
	struct fdfs_addr to;
	uint64_t term, epoch;
};

static bool
ask_admission(const struct ask *a)
{
	struct buf args = BUF_CAP(16);
	int rc;

	MUST(pack_u64(&args, a->term) == 0);
	rc = a->env.ops->call(a->env.env, &a->to,
	    &(struct rpc_request){ .op = RPC_FILE_OP,
		.epoch = a->epoch,
		.args = buf_str(&args) },
	    400, NULL, NULL);
	buf_fini(&args);
	return rc == 0;
}

static void
make_change(struct node *n)
{
	struct world *w = n->w;
	struct member_view v;
	struct ask a;
	uint64_t best = w->best_term; /* admitted before this one begins */
	size_t yes = 0;

	members_get(n->m, &v);
	/* Whoever once led may believe it still. */
	if (v.self < 0 || (!v.is_leader && !sim_once_in(w->s, 50)))
		return;
	a = (struct ask){ .term = v.term, .epoch = v.epoch };
	sim_env(w->s, n->i, &a.env);
	if (!v.is_leader)
		return;
	if (sim_once_in(w->s, 4)) /* it dawdles: may be deposed meanwhile */
		a.env.ops->sleep(a.env.env,
		    (int64_t)sim_below(w->s, 5 * ELECTION_MS));
	best = w->best_term;
	for (size_t i = 0; i < v.n; i++) {
		a.to = v.m[i].inner;
		if ((int)i == v.self)
			yes += n->m != NULL &&
			       members_admit_term(n->m, &v.m[i].node, v.term,
				   NULL) == 0;
		else
			yes += ask_admission(&a);
	}
	if (yes < members_majority(v.n))
		return;
	w->admitted++;
	if (v.term < best)
		wrong(w, "a change of an older term was admitted (M4)");
	if (v.term > w->best_term)
		w->best_term = v.term;
}

static void
changer(void *arg)
{
	struct node *n = arg;
	struct world *w = n->w;

	while (!w->is_over) {
		sim_sleep(w->s, 50 + (int64_t)sim_below(w->s, 300));
		if (n->m == NULL || !sim_enter(w->s, n->i))
			continue;
		if (n->m != NULL) {
			observe(n);
			make_change(n);
		}
		sim_leave(w->s, n->i);
	}
}

/* --- the director --- */

static bool
view_of(struct node *n, struct member_view *v)
{
	if (n->m == NULL || !sim_is_up(n->w->s, n->i))
		return false;
	members_get(n->m, v);
	return true;
}

/* All that should be are members of one group, and know who leads. */
static bool
is_whole(struct world *w, char *why, size_t len)
{
	struct member_view first = { 0 }, v;
	bool has_first = false;
	size_t want = 0, leaders = 0;

	for (size_t i = 0; i < w->n; i++)
		want += !w->node[i].is_removed;
	for (size_t i = 0; i < w->n; i++) {
		if (w->node[i].is_removed)
			continue;
		if (!view_of(&w->node[i], &v)) {
			snprintf(why, len, "node %zu is down", i);
			return false;
		}
		if (!has_first)
			first = v;
		has_first = true;
		leaders += v.is_leader;
		if (v.self < 0 || v.n != want || v.epoch != first.epoch ||
		    !id128_eq(&v.group_id, &first.group_id) || v.leader < 0 ||
		    v.leader != first.leader) {
			snprintf(why, len,
			    "node %zu: self %d of %zu, epoch %ju (%ju), leader "
			    "%d (%d), term %ju: %s",
			    i, v.self, v.n, (uintmax_t)v.epoch,
			    (uintmax_t)first.epoch, v.leader, first.leader,
			    (uintmax_t)v.term, v.waiting);
			return false;
		}
	}
	snprintf(why, len, "%zu leaders", leaders);
	return leaders == 1;
}

static bool
wait_whole(struct world *w, int64_t ms)
{
	char why[300] = "";

	for (int64_t end = sim_now(w->s) + ms; sim_now(w->s) < end;
	     sim_sleep(w->s, 50)) {
		if (is_whole(w, why, sizeof(why)))
			return true;
	}
	fprintf(stderr, "%s\n", why);
	return false;
}

static void
calm(struct world *w)
{
	sim_heal(w->s);
	for (size_t i = 0; i < w->n; i++) {
		if (!w->node[i].is_removed && !sim_is_up(w->s, (int)i))
			start(&w->node[i]);
	}
	for (int i = 0; i < (int)w->n_trackers; i++) {
		if (!sim_is_up(w->s, TRACKER + i))
			sim_start(w->s, TRACKER + i, tracker_serve,
			    &w->tracker[i]);
	}
}

static void
storm(struct world *w)
{
	struct sim *s = w->s;

	sim_network(s, sim_once_in(s, 2) ? 0 : 3 + (unsigned)sim_below(s, 40),
	    1 + (int64_t)sim_below(s, 120));
	for (int n = 3 + (int)sim_below(s, 12); n > 0; n--) {
		struct node *x = &w->node[sim_below(s, w->n)];
		int t = TRACKER + (int)sim_below(s, w->n_trackers);
		int other = (int)sim_below(s, w->n);

		switch (sim_below(s, 9)) {
		case 0:
		case 1:
			stop(x);
			break;
		case 2:
		case 3:
			if (!x->is_removed && !sim_is_up(s, x->i))
				start(x);
			break;
		case 4:
			if (other != x->i)
				sim_cut(s, x->i, other, true);
			break;
		case 5:
			if (other != x->i)
				sim_cut(s, x->i, other, false);
			break;
		case 6:
			sim_clock_jump(s, x->i,
			    (int64_t)sim_below(s, 7200) - 3600);
			break;
		case 7:
			sim_slow(s, x->i, (int64_t)sim_below(s, 700));
			break;
		default:
			if (sim_is_up(s, t))
				sim_stop(s, t);
			else
				sim_start(s, t, tracker_serve,
				    &w->tracker[t - TRACKER]);
			break;
		}
		sim_sleep(s, (int64_t)sim_below(s, 3000));
	}
}

/* A disk is lost; its node is started again on an empty one. */
static void
wipe(struct world *w)
{
	struct node *x = &w->node[sim_below(w->s, w->n)];

	if (x->is_removed)
		return;
	stop(x);
	sim_disk_node_id(sim_disk(w->s, x->i), &w->gone[w->n_gone++]);
	sim_disk_wipe(w->s, x->i);
	w->wiped++;
	sim_sleep(w->s, (int64_t)sim_below(w->s, 3000));
	start(x);
}

/* A disk is put back to what it was some time ago. The others are there: of an
 * old copy that only an absent node could tell, nobody can know. */
static void
put_back(struct world *w, struct sim_disk *old, int i)
{
	stop(&w->node[i]);
	sim_disk_put_back(w->s, i, old);
	w->put_back++;
	start(&w->node[i]);
}

static void
remove_one(struct world *w)
{
	struct node *x = &w->node[sim_below(w->s, w->n)];
	struct node *by = &w->node[sim_below(w->s, w->n)];
	struct id128 id;
	int rc;

	if (x->is_removed || by->is_removed || x == by || w->removed >= 2 ||
	    w->n - w->removed < 3 || by->m == NULL || !sim_enter(w->s, by->i))
		return;
	sim_disk_node_id(sim_disk(w->s, x->i), &id);
	rc = members_remove(by->m, x->server_id, 0, 15000, NULL);
	sim_leave(w->s, by->i);
	/* Without an answer it may be so or not: an administrator asks again,
	 * somewhere, in better weather. */
	for (int i = 0; rc != 0 && rc != ERR_NOT_FOUND; i++) {
		calm(w);
		sim_sleep(w->s, 1000);
		by = &w->node[sim_below(w->s, w->n)];
		if (by == x || by->m == NULL || !sim_enter(w->s, by->i))
			continue;
		rc = members_remove(by->m, x->server_id, 0, 15000, NULL);
		sim_leave(w->s, by->i);
		if (i > 100)
			wrong(w, "a node cannot be removed");
	}
	w->removed++;
	x->is_removed = true;
	w->gone[w->n_gone++] = id;
}

/* M3 */
static void
check_gone(struct world *w)
{
	struct member_view v;

	for (size_t i = 0; i < w->n; i++) {
		/* One that was removed itself may not have heard. */
		if (w->node[i].is_removed || !view_of(&w->node[i], &v))
			continue;
		for (size_t k = 0; k < v.n; k++) {
			for (size_t g = 0; g < w->n_gone; g++) {
				if (id128_eq(&v.m[k].node, &w->gone[g]))
					wrong(w, "a removed node is back (M3)");
			}
		}
	}
}

static void
check_removed_told(struct world *w)
{
	struct member_view v;

	for (size_t i = 0; i < w->n; i++) {
		struct node *x = &w->node[i];

		if (!x->is_removed)
			continue;
		if (!sim_is_up(w->s, x->i))
			start(x);
		sim_sleep(w->s, 20000);
		if (!view_of(x, &v) || !v.is_removed || v.self >= 0)
			wrong(w, "a removed node was not told (M3)");
	}
}

static void
director(void *arg)
{
	struct world *w = arg;
	struct sim_disk *old = NULL;
	int rounds = 1 + (int)sim_below(w->s, 4), of = 0;
	bool at_once = sim_once_in(w->s, 2);

	for (int i = 0; i < (int)w->n_trackers; i++)
		sim_start(w->s, TRACKER + i, tracker_serve, &w->tracker[i]);
	for (size_t i = 0; i < w->n; i++) {
		start(&w->node[i]);
		if (!at_once)
			sim_sleep(w->s, (int64_t)sim_below(w->s, 1500));
	}
	if (sim_once_in(w->s, 2)) /* half of them form in bad weather */
		storm(w);
	calm(w);
	if (!wait_whole(w, 120000))
		wrong(w, "no group was formed");
	for (int i = 0; i < rounds && !w->has_failed; i++) {
		if (sim_once_in(w->s, 2) && old == NULL) {
			of = (int)sim_below(w->s, w->n);
			old = sim_disk_copy(w->s, of);
		}
		storm(w);
		if (sim_once_in(w->s, 3))
			remove_one(w);
		calm(w);
		if (!wait_whole(w, 60000))
			wrong(w, "they do not come together");
		check_gone(w);
		if (sim_once_in(w->s, 2) && w->n - w->removed > 1 &&
		    !w->has_failed) {
			wipe(w);
			if (sim_once_in(w->s, 2))
				sim_network(w->s, 10, 60);
		} else if (old != NULL && w->n - w->removed > 1 &&
			   !w->node[of].is_removed && w->wiped == 0) {
			put_back(w, old, of);
		} else {
			continue;
		}
		if (!wait_whole(w, 120000))
			wrong(w, "a lost disk's node does not come back");
		/* What it had forgotten is known by then. */
		sim_heal(w->s);
		sim_sleep(w->s, 20000);
		if (!wait_whole(w, 60000))
			wrong(w, "they do not stay together");
		check_gone(w);
	}
	check_removed_told(w);
	check_gone(w);
	w->is_over = true;
	for (size_t i = 0; i < w->n; i++)
		stop(&w->node[i]);
	for (int i = 0; i < (int)w->n_trackers; i++) {
		if (sim_is_up(w->s, TRACKER + i))
			sim_stop(w->s, TRACKER + i);
	}
	sim_disk_free(&old);
}

static void
history(uint64_t seed, struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->s = sim_new(seed);
	w->n = 1 + (size_t)sim_below(w->s, NODES);
	w->n_trackers = 1 + (size_t)sim_below(w->s, TRACKERS);
	for (size_t i = 0; i < w->n; i++) {
		w->node[i] = (struct node){ .w = w,
			.i = (int)i,
			.server_id = (uint32_t)i + 1 };
		sim_spawn(w->s, SIM_OUTSIDE, announcer, &w->node[i]);
		sim_spawn(w->s, SIM_OUTSIDE, changer, &w->node[i]);
	}
	for (int i = 0; i < TRACKERS; i++)
		w->tracker[i].w = w;
	sim_network(w->s, 0, 3);
	sim_spawn(w->s, SIM_OUTSIDE, director, w);
	assert_true(sim_run(w->s, 100000000));
	sim_free(&w->s);
}

static void
test_histories(void **state)
{
	const char *one = getenv("CREEL_SIM_SEED");
	struct world *w = mem_zalloc(sizeof(*w));
	uint64_t from = 1, n = sim_runs("CREEL_SIM_SEEDS", 60, 10000, 500);
	uint64_t admitted = 0, wiped = 0, put = 0, removed = 0, epochs = 0;

	(void)state;
	assert_non_null(w);
	if (one != NULL) {
		from = strtoull(one, NULL, 10);
		n = 1;
	}
	for (uint64_t seed = from; seed < from + n; seed++) {
		history(seed, w);
		assert_false(w->has_failed);
		admitted += w->admitted;
		wiped += w->wiped;
		put += w->put_back;
		removed += w->removed;
		epochs += w->n_memberships;
	}
	print_message("%ju histories: %ju memberships, %ju changes admitted, "
		      "%ju disks lost, %ju put back, %ju nodes removed\n",
	    (uintmax_t)n, (uintmax_t)epochs, (uintmax_t)admitted,
	    (uintmax_t)wiped, (uintmax_t)put, (uintmax_t)removed);
	mem_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
