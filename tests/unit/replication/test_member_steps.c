/* One node against two that say what the test wants: each rule of membership
 * and election by itself, across restarts. */
#include "tests/unit/replication/sim.h"

#include "storage/replication/member_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000 /* election_ms */

struct fake { /* node 1 or 2 */
	struct world *w;
	int i;
	struct id128 id;
	unsigned asked[80]; /* by operation */
	/* What it answers. */
	bool is_silent;
	uint64_t term;
	uint8_t flags;
	uint64_t your_life;
	bool says_yes;        /* to VOTE, PREPARE, ACCEPT */
	struct mstate paxos;  /* to PREPARE and MEMBERS */
	struct mship took;    /* what it was asked to accept */
	uint8_t was_renewing; /* JOIN's flag */
	bool renews;          /* and does so */
};

struct world {
	struct sim *s;
	struct members *m; /* node 0 */
	struct id128 id;
	struct fake fake[3]; /* 1 and 2 */
	struct mship mship;
	uint64_t floor;
	void (*run)(struct world *w);
	bool is_done;
};

/* --- the fakes --- */

static void
begin(struct fake *f, struct mmsg *h, bool with_mship)
{
	memset(h, 0, sizeof(*h));
	h->node = f->id;
	h->group_id = f->w->mship.group_id;
	h->term = f->term;
	h->floor = f->w->floor;
	sim_addr(f->i, &h->inner);
	h->life = 1;
	h->nonce = 1;
	h->flags = f->flags;
	h->your_life = f->your_life;
	if (with_mship)
		h->mship = f->w->mship;
}

static int
fake_serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct fake *f = arg;
	struct unpack u = unpack_of(q->args);
	struct ballot b;
	struct mmsg h;

	MUST(q->op < 80);
	f->asked[q->op]++;
	(void)from;
	if (f->is_silent)
		return err_set(e, ERR_DISCONNECTED, "silent");
	MUST(msg_unpack(&u, &h, e) == 0);
	if (q->op == RPC_JOIN) {
		(void)unpack_u32(&u);
		f->was_renewing = unpack_u8(&u);
		if (f->was_renewing && f->renews) {
			f->w->mship.epoch++;
			f->w->mship.v[0].since = f->w->mship.epoch;
			f->w->floor = 20;
		}
	}
	if (q->op == RPC_ACCEPT) {
		(void)unpack_u64(&u);
		ballot_unpack(&u, &b);
		mship_unpack(&u, &f->took);
		MUST(!u.is_bad);
	}
	begin(f, &h, q->epoch < f->w->mship.epoch);
	a->epoch = f->w->mship.epoch;
	MUST(msg_pack(&h, &a->args) == 0);
	if (q->op == RPC_MEMBERS)
		MUST(pack_u32(&a->args, 0) == 0);
	else if (q->op == RPC_VOTE || q->op == RPC_PREPARE ||
		 q->op == RPC_ACCEPT)
		MUST(pack_u8(&a->args, f->says_yes) == 0);
	if (q->op == RPC_MEMBERS || q->op == RPC_PREPARE)
		MUST(paxos_pack(&f->paxos, &a->args) == 0);
	return 0;
}

/* --- node 0 --- */

static int
serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct world *w = arg;

	return w->m == NULL ? err_set(e, ERR_RETRY, "starting")
	                    : members_serve(w->m, from, q, a, e);
}

static int
open_as(struct world *w, const char *group, uint32_t server_id)
{
	struct members_conf c = { .server_id = server_id,
		.election_ms = MS,
		.n_trackers = 1 };
	struct members *m = NULL;
	struct err e = ERR_INIT;
	int rc;

	snprintf(c.group, sizeof(c.group), "%s", group);
	sim_addr(9, &c.trackers[0]); /* nobody there */
	sim_disk_node_id(sim_disk(w->s, 0), &w->id);
	c.node = w->id;
	sim_env(w->s, 0, &c.env);
	sim_addr(0, &c.inner);
	sim_start(w->s, 0, serve, w);
	assert_true(sim_enter(w->s, 0));
	rc = members_open(&c, &m, &e);
	sim_leave(w->s, 0);
	w->m = m;
	return rc;
}

static void
start(struct world *w)
{
	assert_int_equal(open_as(w, "g", 1), 0);
}

static void
stop(struct world *w)
{
	struct members *m = w->m;

	sim_stop(w->s, 0);
	w->m = NULL;
	members_close(&m);
}

static void
restart(struct world *w)
{
	stop(w);
	start(w);
}

/* A message from fake @i; its answer's first byte behind the beginning, or -1,
 * or what was refused as an ERR_* code. */
static int
send(struct world *w, int i, unsigned op, struct str tail)
{
	struct rpc_from from = { .kind = RPC_PEER,
		.id = w->fake[i].id,
		.group = "g",
		.server_id = (uint32_t)i + 1 };
	struct buf args = BUF_CAP(100000);
	struct rpc_request q = { .op = op, .epoch = w->mship.epoch };
	struct rpc_answer a = { .args = BUF_CAP(100000),
		.body = BUF_CAP(100000) };
	struct err e = ERR_INIT;
	struct unpack u;
	struct mmsg h;
	int rc;

	begin(&w->fake[i], &h, true);
	h.flags = 0;
	MUST(msg_pack(&h, &args) == 0 && buf_adds(&args, tail) == 0);
	q.args = buf_str(&args);
	assert_true(sim_enter(w->s, 0));
	rc = members_serve(w->m, &from, &q, &a, &e);
	sim_leave(w->s, 0);
	u = unpack_of(buf_str(&a.args));
	assert_int_equal(msg_unpack(&u, &h, &e), 0);
	if (rc == 0)
		rc = u.rest.len > 0 ? (uint8_t)u.rest.p[0] : -1000;
	buf_fini(&args);
	buf_fini(&a.args);
	return rc;
}

static int
vote(struct world *w, int i, bool pre, uint64_t term)
{
	struct buf tail = BUF_CAP(100);
	int rc;

	MUST(pack_u8(&tail, pre) == 0 && pack_u64(&tail, term) == 0);
	rc = send(w, i, RPC_VOTE, buf_str(&tail));
	buf_fini(&tail);
	return rc;
}

static int
lead(struct world *w, int i, uint64_t term)
{
	struct buf tail = BUF_CAP(100);
	int rc;

	MUST(pack_u64(&tail, term) == 0);
	rc = send(w, i, RPC_LEAD, buf_str(&tail));
	buf_fini(&tail);
	return rc == -1000 ? 0 : rc;
}

static int
decree(struct world *w, int i, uint64_t round, const struct mship *value)
{
	struct buf tail = BUF_CAP(100000);
	struct ballot b = { round, w->fake[i].id };
	int rc;

	MUST(pack_u64(&tail, w->mship.epoch + 1) == 0);
	MUST(ballot_pack(&b, &tail) == 0);
	if (value != NULL)
		MUST(mship_pack(value, &tail) == 0);
	rc = send(w, i, value == NULL ? RPC_PREPARE : RPC_ACCEPT,
	    buf_str(&tail));
	buf_fini(&tail);
	return rc;
}

static struct member_view
view(struct world *w)
{
	struct member_view v;

	members_get(w->m, &v);
	return v;
}

/* Until it votes: after its questions, and what counts as hearing a leader. */
static void
settle(struct world *w)
{
	sim_sleep(w->s, MS + 200);
	/* An answer may have been slow. */
	for (int i = 0; i < 60 && !w->m->is_ready; i++)
		sim_sleep(w->s, 50);
}

/* --- the rules --- */

static void
votes(struct world *w)
{
	/* Just started: it does not know yet what it may have forgotten. */
	restart(w);
	assert_int_equal(vote(w, 1, true, 9), 0);
	settle(w);
	assert_int_equal(vote(w, 1, true, 9), 1);
	assert_int_equal(vote(w, 1, false, 9), 1);
	assert_int_equal(vote(w, 2, false, 9), 0);
	assert_int_equal(vote(w, 1, false, 9), 1); /* the same again */
	assert_int_equal(vote(w, 2, false, 8), 0);
	assert_int_equal(vote(w, 2, true, 9), 0);
	restart(w);
	settle(w);
	assert_int_equal(vote(w, 2, false, 9), 0); /* V1 */
	assert_int_equal(vote(w, 1, false, 9), 1);
	assert_int_equal(vote(w, 2, false, 10), 1);
	/* It heard the leader: not for a while, and not for a pre-vote. */
	assert_int_equal(lead(w, 2, 10), 0);
	assert_int_equal(view(w).leader, 2);
	assert_int_equal(vote(w, 1, true, 11), 0);
	assert_int_equal(vote(w, 1, false, 11), 0);
	assert_int_equal(view(w).term, 10);
	assert_int_equal(lead(w, 1, 9), ERR_RETRY);
	/* A newer leader is followed, and has the vote of that term. */
	assert_int_equal(lead(w, 1, 12), 0);
	sim_sleep(w->s, MS + 1);
	assert_int_equal(vote(w, 2, false, 12), 0);
}

static void
terms(struct world *w)
{
	settle(w);
	assert_int_equal(members_admit_term(w->m, &w->fake[1].id, 9, NULL), 0);
	assert_int_equal(members_admit_term(w->m, &w->fake[1].id, 9, NULL), 0);
	assert_int_equal(members_admit_term(w->m, &w->fake[2].id, 9, NULL),
	    ERR_RETRY);
	assert_int_equal(members_admit_term(w->m, &w->fake[1].id, 8, NULL),
	    ERR_RETRY);
	restart(w);
	assert_int_equal(members_admit_term(w->m, &w->fake[1].id, 8, NULL),
	    ERR_RETRY);
	assert_int_equal(members_admit_term(w->m, &w->fake[1].id, 9, NULL), 0);
}

/* I3, I4 and the acceptor's promises. */
static void
epochs(struct world *w)
{
	struct mship next = w->mship, other;

	settle(w);
	next.epoch++;
	mship_remove(&next, 2);
	other = next;
	other.v[1].since = 77;
	assert_int_equal(decree(w, 1, 5, NULL), 1);
	assert_int_equal(decree(w, 2, 4, NULL), 0);
	assert_int_equal(decree(w, 2, 4, &other), 0);
	restart(w);
	settle(w);
	assert_int_equal(decree(w, 2, 4, &other), 0); /* promised, durably */
	assert_int_equal(vote(w, 1, true, 9),
	    1); /* a promise hinders nothing */
	assert_int_equal(decree(w, 1, 5, &next), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vote(w, 1, true, 9), 0);
		assert_int_equal(vote(w, 1, false, 9), 0);
		assert_int_equal(lead(w, 1, 9), ERR_RETRY);
		assert_int_equal(members_admit_term(w->m, &w->fake[1].id, 9,
				     NULL),
		    ERR_RETRY);
		assert_false(view(w).is_leader);
		restart(w);
		settle(w);
	}
	/* It was chosen: another epoch, terms above its floor. */
	w->mship = next;
	w->floor = 20;
	assert_int_equal(send(w, 1, RPC_LEARN, STR_NULL), -1000);
	assert_int_equal(view(w).epoch, next.epoch);
	assert_int_equal(view(w).term, 20);
	assert_int_equal(vote(w, 1, false, 20), 0);
	assert_int_equal(vote(w, 1, false, 21), 1);
	/* Who was removed has no say, ever. */
	assert_int_equal(vote(w, 2, false, 30), ERR_ACCESS_DENIED);
	restart(w);
	assert_int_equal(vote(w, 2, false, 30), ERR_ACCESS_DENIED);
	assert_int_equal(send(w, 2, RPC_JOIN, str_mem("\2\0\0\0", 5)),
	    ERR_ACCESS_DENIED);
}

/* An accepted value that somebody has seen is proposed, not one's own. */
static void
finishing(struct world *w)
{
	struct mship other = w->mship;
	struct err e;

	settle(w);
	other.epoch++;
	other.v[0].since = 88;
	w->fake[1].paxos.has_accepted = true;
	w->fake[1].paxos.accepted_by = (struct ballot){ 1, w->fake[1].id };
	w->fake[1].paxos.promised = w->fake[1].paxos.accepted_by;
	w->fake[1].paxos.accepted = other;
	w->fake[1].says_yes = true;
	w->fake[2].is_silent = true;
	assert_true(sim_enter(w->s, 0));
	/* The fakes stay in their epoch, so this one cannot be had. */
	assert_int_not_equal(members_remove(w->m, 3, 0, 15000, &e), 0);
	sim_leave(w->s, 0);
	assert_int_equal(w->fake[1].took.v[0].since, 88);
	assert_int_equal(view(w).since[0], 88);
	assert_int_equal(view(w).n, 3);
}

static void
no_majority(struct world *w)
{
	struct err e = ERR_INIT;

	settle(w);
	w->fake[1].is_silent = w->fake[2].is_silent = true;
	assert_true(sim_enter(w->s, 0));
	assert_int_equal(members_remove(w->m, 3, 0, 15000, &e), ERR_BUSY);
	assert_int_equal(members_remove(w->m, 9, 0, 15000, &e), ERR_NOT_FOUND);
	sim_leave(w->s, 0);
	assert_int_equal(view(w).epoch, w->mship.epoch);
	assert_false(view(w).is_leader);
}

/* M6: one with a member's server ID is that member with its disks lost, unless
 * the member answers. */
static void
replacing(struct world *w)
{
	struct fake *new = &w->fake[0];
	const struct str join = str_mem("\3\0\0\0", 5);

	settle(w);
	new->id = (struct id128){ { 0xaa } };
	w->fake[1].says_yes = true;
	assert_int_equal(send(w, 0, RPC_JOIN, join), ERR_EXISTS);
	assert_int_equal(view(w).epoch, w->mship.epoch);
	w->fake[2].is_silent = true;
	assert_int_equal(send(w, 0, RPC_JOIN, join), -1000);
	assert_int_equal(view(w).epoch, w->mship.epoch + 1);
	assert_int_equal(view(w).n, 3);
	assert_true(id128_eq(&view(w).m[2].node, &new->id));
	assert_int_equal(view(w).since[2], w->mship.epoch + 1);
	/* The old one is out. */
	w->mship = w->fake[1].took;
	assert_int_equal(vote(w, 2, true, 99), ERR_ACCESS_DENIED);
	assert_int_equal(send(w, 2, RPC_JOIN, join), ERR_ACCESS_DENIED);
	/* A member that comes under another server ID is refused. */
	assert_int_equal(send(w, 0, RPC_JOIN, str_mem("\7\0\0\0", 5)),
	    ERR_INVALID);
}

/* Its disks belong to a member of a group. */
static void
settings(struct world *w)
{
	stop(w);
	assert_int_equal(open_as(w, "h", 1), ERR_CONFIG);
	sim_stop(w->s, 0);
	assert_int_equal(open_as(w, "g", 2), ERR_CONFIG);
	sim_stop(w->s, 0);
	start(w);
	assert_int_equal(view(w).self, 0);
}

/* Leads by votes, for as long as a majority confirms. */
static void
leading(struct world *w)
{
	uint64_t term;

	w->fake[1].says_yes = true;
	w->fake[2].is_silent = true;
	for (int i = 0; i < 100 && !view(w).is_leader; i++)
		sim_sleep(w->s, 100);
	assert_true(view(w).is_leader);
	term = view(w).term;
	sim_sleep(w->s, 10 * MS);
	assert_true(view(w).is_leader);
	assert_int_equal(view(w).term, term);
	w->fake[1].is_silent = true;
	sim_sleep(w->s, MS + 400);
	assert_false(view(w).is_leader);
	/* Alone it raises no term. */
	sim_sleep(w->s, 20 * MS);
	assert_int_equal(view(w).term, term);
	w->fake[1].is_silent = false;
	sim_sleep(w->s, 5 * MS);
	assert_true(view(w).is_leader);
	assert_true(view(w).term > term);
	/* Somebody knows a newer term: it steps down, and is above it later. */
	w->fake[1].term = 100;
	w->fake[1].says_yes = false;
	sim_sleep(w->s, MS);
	assert_false(view(w).is_leader);
	w->fake[1].says_yes = true;
	sim_sleep(w->s, 5 * MS);
	assert_true(view(w).is_leader && view(w).term > 100);
}

/* I5: told that it has lived later, it takes no part until it is renewed. */
static void
put_back(struct world *w)
{
	settle(w);
	assert_int_equal(vote(w, 1, true, 9), 1);
	w->fake[1].flags = w->fake[2].flags = MSG_PUT_BACK;
	w->fake[1].your_life = w->fake[2].your_life = 50;
	restart(w);
	settle(w);
	assert_int_equal(vote(w, 1, true, 9), 0);
	assert_int_equal(decree(w, 1, 5, NULL), 0);
	sim_sleep(w->s, 3 * MS);
	assert_int_equal(vote(w, 1, true, 9), 0);
	assert_int_equal(w->fake[1].was_renewing | w->fake[2].was_renewing, 1);
	/* It is renewed: the next epoch. */
	w->fake[1].flags = w->fake[2].flags = 0;
	w->fake[1].renews = true;
	sim_sleep(w->s, 10 * MS);
	assert_true(w->mship.epoch > 3);
	assert_int_equal(view(w).since[0], w->mship.epoch);
	assert_int_equal(vote(w, 1, true, 20), 0);
	assert_int_equal(vote(w, 1, true, 21), 1);
}

/* I5: what others know of its acceptances, and of terms, it goes on behind. */
static void
forgotten(struct world *w)
{
	struct mship next = w->mship;

	settle(w);
	next.epoch++;
	w->fake[2].term = 33;
	w->fake[2].paxos.promised = (struct ballot){ 9, w->fake[2].id };
	restart(w);
	settle(w);
	assert_int_equal(vote(w, 1, false, 33), 0);
	assert_int_equal(decree(w, 1, 8, NULL), 0);
	assert_int_equal(vote(w, 1, false, 34), 1);
	/* One is silent: the other's word is enough after some time. */
	w->fake[1].is_silent = true;
	restart(w);
	sim_sleep(w->s, MS + 200);
	assert_int_equal(vote(w, 2, true, 40), 0);
	sim_sleep(w->s, 4 * MS);
	assert_int_equal(vote(w, 2, true, 40), 1);
	/* Both: nothing is. */
	w->fake[2].is_silent = true;
	restart(w);
	sim_sleep(w->s, 20 * MS);
	assert_int_equal(vote(w, 2, true, 40), 0);
}

/* --- */

static void
director(void *arg)
{
	struct world *w = arg;

	for (int i = 1; i < 3; i++) {
		sim_disk_node_id(sim_disk(w->s, i), &w->fake[i].id);
		sim_start(w->s, i, fake_serve, &w->fake[i]);
	}
	start(w);
	w->mship.group_id.b[0] = 7;
	w->mship.epoch = 3;
	for (int i = 0; i < 3; i++) {
		struct cmap_member c = { .server_id = (uint32_t)i + 1 };

		c.node = i == 0 ? w->id : w->fake[i].id;
		sim_addr(i, &c.inner);
		mship_add(&w->mship, &c);
	}
	w->floor = 5;
	/* It is told what it belongs to. */
	assert_int_equal(send(w, 1, RPC_LEARN, STR_NULL), -1000);
	assert_int_equal(view(w).self, 0);
	assert_int_equal(view(w).term, 5);
	/* A blank disk may be an old copy too. */
	assert_int_equal(vote(w, 1, true, 9), 0);
	settle(w);
	assert_int_equal(vote(w, 1, true, 9), 1);
	/* As a node that was a member when it started. */
	restart(w);
	w->run(w);
	stop(w);
	sim_stop(w->s, 1);
	sim_stop(w->s, 2);
	w->is_done = true;
}

static void
run(void (*fn)(struct world *w))
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct world *w = mem_zalloc(sizeof(*w));

		assert_non_null(w);
		w->s = sim_new(seed);
		w->run = fn;
		for (int i = 0; i < 3; i++) {
			w->fake[i].w = w;
			w->fake[i].i = i;
		}
		sim_network(w->s, 0, 2);
		sim_spawn(w->s, SIM_OUTSIDE, director, w);
		assert_true(sim_run(w->s, 10000000));
		assert_true(w->is_done);
		sim_free(&w->s);
		mem_free(&w);
	}
}

#define STEP(name)                                                             \
	static void test_##name(void **state)                                  \
	{                                                                      \
		(void)state;                                                   \
		run(name);                                                     \
	}
STEP(votes)
STEP(terms)
STEP(epochs)
STEP(finishing)
STEP(no_majority)
STEP(replacing)
STEP(settings)
STEP(leading)
STEP(put_back)
STEP(forgotten)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_votes),
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_finishing),
		cmocka_unit_test(test_no_majority),
		cmocka_unit_test(test_replacing),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_leading),
		cmocka_unit_test(test_put_back),
		cmocka_unit_test(test_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
