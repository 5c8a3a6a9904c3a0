/* storage/replication/member_change.c - the proposer's side of
 * member_paxos.c: a member that wants a change made. */
#include "storage/replication/member_int.h"

#define ASK_MS 1500

/* --- what a change is --- */

static int
apply_join(const struct change *c, struct mship *ret, struct id128 *ret_lost,
    struct err *e)
{
	int at = mship_find(ret, &c->who.node);

	if (mship_is_removed(ret, &c->who.node))
		return err_set(e, ERR_ACCESS_DENIED,
		    "this node was removed from the group");
	if (at >= 0 && ret->v[at].m.server_id == c->who.server_id)
		return 1;
	if (at >= 0)
		return err_set(e, ERR_INVALID,
		    "this node is a member with server ID %u",
		    ret->v[at].m.server_id);
	at = mship_find_server(ret, c->who.server_id);
	if (at >= 0) { /* M6 */
		*ret_lost = ret->v[at].m.node;
		mship_remove(ret, (size_t)at);
	} else if (ret->n == CMAP_MEMBERS) {
		return err_set(e, ERR_TOO_BIG, "the group has %d members",
		    CMAP_MEMBERS);
	}
	mship_add(ret, &c->who);
	return 0;
}

int
change_apply(const struct mship *now, const struct change *c, struct mship *ret,
    struct id128 *ret_lost, struct err *e)
{
	int at;

	*ret = *now;
	ret->epoch++;
	*ret_lost = (struct id128){ 0 };
	switch (c->kind) {
	case CHANGE_JOIN:
		return apply_join(c, ret, ret_lost, e);
	case CHANGE_RENEW:
		at = mship_find(ret, &c->who.node);
		if (at < 0)
			return err_set(e, ERR_ACCESS_DENIED, "no member");
		if (ret->v[at].since > c->since)
			return 1;
		ret->v[at].since = ret->epoch;
		*ret_lost = c->who.node;
		return 0;
	case CHANGE_REMOVE:
		at = mship_find(ret, &c->who.node);
		if (at < 0)
			return 1;
		if (ret->n == 1)
			return err_set(e, ERR_INVALID,
			    "it is the last member of its group");
		mship_remove(ret, (size_t)at);
		return 0;
	default:
		return 1;
	}
}

/* --- one ballot --- */

struct round {
	struct members *m;
	struct mstate s; /* as it was when it began; s.now chooses */
	struct ballot b;
	struct id128 lost;
	size_t need;
	struct mfan *f;
	/* From the answers so far. */
	bool has_value;
	struct ballot value_by;
	struct mship value;
	uint64_t floor;
	size_t good; /* this node included */
};

/* How many of the members must agree. Where one of two is lost there is only
 * the other: it alone takes part in every choice, so it alone can make one. */
static size_t
how_many(const struct mship *now, const struct id128 *lost)
{
	if (now->n == 2 && mship_find(now, lost) >= 0)
		return 1;
	return members_majority(now->n);
}

/* With the lock: a slot is done. Good are those whose word counts and whose
 * answer begins with 1. */
static bool
is_good(const struct round *r, const struct mfan_slot *s)
{
	return s->is_done && s->rc == 0 && s->a.tail.len > 0 &&
	       s->a.tail.p[0] == 1 && !is_same_node(&s->node, &r->lost) &&
	       s->a.epoch == r->s.now.epoch;
}

static bool
is_enough(void *arg)
{
	const struct round *r = arg;
	size_t n = 1;

	for (size_t i = 0; i < mfan_size(r->f); i++)
		n += is_good(r, mfan_peek(r->f, i));
	return n >= r->need;
}

static int
ask_all(struct round *r, unsigned op, struct str tail, struct err *e)
{
	r->f = mfan_new(r->m, op, tail, ASK_MS);
	if (r->f == NULL)
		return err_set(e, ERR_NO_MEMORY, "change");
	mfan_add_members(r->f, &r->s.now);
	mfan_start(r->f);
	mfan_wait(r->f, is_enough, r, ASK_MS + 100);
	return 0;
}

/* A higher ballot was promised by somebody: ours is to be above it next. */
static void
saw_round(struct members *m, uint64_t round)
{
	lock_take(&m->lock);
	if (round >= m->next_round && round < UINT64_MAX - 1)
		m->next_round = round + 1;
	lock_drop(&m->lock);
}

/* What an acceptor has accepted. */
static void
take_promise(struct round *r, struct str tail, bool is_counted)
{
	struct unpack u = unpack_of(tail);
	struct ballot promised, by;
	struct mship value;

	(void)unpack_u8(&u);
	ballot_unpack(&u, &promised);
	if (u.is_bad)
		return;
	saw_round(r->m, promised.round);
	if (!is_counted || unpack_u8(&u) == 0)
		return;
	ballot_unpack(&u, &by);
	mship_unpack(&u, &value);
	if (u.is_bad || (r->has_value && ballot_cmp(&by, &r->value_by) <= 0))
		return;
	r->has_value = true;
	r->value_by = by;
	r->value = value;
}

/* 0: this many have promised. */
static int
phase_one(struct round *r, struct err *e)
{
	struct buf own = BUF_CAP(2 * MSHIP_PACKED), tail = BUF_CAP(64);
	int rc;

	rc = paxos_prepare(r->m, r->s.now.epoch + 1, &r->b, &own, e);
	if (rc == 0 && own.p[0] != 1) {
		take_promise(r, buf_str(&own), false);
		rc = err_set(e, ERR_RETRY, "another change is under way");
	}
	if (rc == 0)
		rc = pack_u64(&tail, r->s.now.epoch + 1);
	if (rc == 0)
		rc = ballot_pack(&r->b, &tail);
	if (rc == 0)
		rc = ask_all(r, RPC_PREPARE, buf_str(&tail), e);
	if (rc == 0)
		take_promise(r, buf_str(&own), true);
	for (size_t i = 0; rc == 0 && i < mfan_size(r->f); i++) {
		const struct mfan_slot *s = mfan_slot(r->f, i);

		if (s == NULL)
			continue;
		if (is_good(r, s))
			r->good++;
		take_promise(r, buf_str(&s->a.tail), is_good(r, s));
	}
	mfan_drop(&r->f);
	buf_fini(&own);
	buf_fini(&tail);
	if (rc == 0 && r->good < r->need)
		rc = err_set(e, ERR_BUSY, "%zu of %zu members answer, of %zu",
		    r->good, r->need, r->s.now.n);
	return rc;
}

/* 0: r->value is chosen, and no earlier leader's term is above r->floor. */
static int
phase_two(struct round *r, struct err *e)
{
	struct buf own = BUF_CAP(64), tail = BUF_CAP(MSHIP_PACKED);
	struct mstate s;
	int rc;

	r->good = 1;
	rc = paxos_accept(r->m, r->s.now.epoch + 1, &r->b, &r->value, &own, e);
	if (rc == 0 && own.p[0] != 1)
		rc = err_set(e, ERR_RETRY, "another change is under way");
	state_get(r->m, &s); /* after it: I3 */
	r->floor = s.term;
	if (rc == 0)
		rc = pack_u64(&tail, r->s.now.epoch + 1);
	if (rc == 0)
		rc = ballot_pack(&r->b, &tail);
	if (rc == 0)
		rc = mship_pack(&r->value, &tail);
	if (rc == 0)
		rc = ask_all(r, RPC_ACCEPT, buf_str(&tail), e);
	for (size_t i = 0; rc == 0 && i < mfan_size(r->f); i++) {
		const struct mfan_slot *a = mfan_slot(r->f, i);

		if (a == NULL || !is_good(r, a))
			continue;
		r->good++;
		if (a->a.term > r->floor)
			r->floor = a->a.term;
	}
	mfan_drop(&r->f);
	buf_fini(&own);
	buf_fini(&tail);
	if (rc == 0 && r->good < r->need)
		rc = err_set(e, ERR_BUSY, "%zu of %zu members answer, of %zu",
		    r->good, r->need, r->s.now.n);
	return rc;
}

/* To the members of before and of now; nobody waits for it. */
static void
spread(struct round *r)
{
	struct mfan *f = mfan_new(r->m, RPC_LEARN, STR_NULL, ASK_MS);
	struct mship all = r->s.now;

	if (f == NULL)
		return;
	for (size_t i = 0; i < r->value.n; i++) {
		if (mship_find(&all, &r->value.v[i].m.node) < 0 &&
		    all.n < CMAP_MEMBERS)
			all.v[all.n++] = r->value.v[i];
	}
	mfan_add_members(f, &all);
	mfan_start(f);
	mfan_drop(&f);
}

/* One ballot for @want (NULL: whatever was begun). 1: nothing was begun. */
static int
run_round(struct members *m, const struct mstate *s, const struct mship *want,
    const struct id128 *lost, struct err *e)
{
	struct round *r = mem_zalloc(sizeof(*r));
	int rc;

	if (r == NULL)
		return err_set(e, ERR_NO_MEMORY, "change");
	r->m = m;
	r->s = *s;
	r->lost = *lost;
	r->need = how_many(&s->now, lost);
	r->good = 1;
	lock_take(&m->lock);
	if (m->next_round <= s->promised.round)
		m->next_round = s->promised.round + 1;
	r->b = (struct ballot){ m->next_round++, m->c.node };
	lock_drop(&m->lock);
	rc = phase_one(r, e);
	if (rc == 0 && !r->has_value) {
		if (want != NULL)
			r->value = *want;
		else
			rc = 1;
	}
	if (rc == 0)
		rc = phase_two(r, e);
	if (rc == 0)
		rc = member_learn(m, &r->value, r->floor, e);
	if (rc == 0)
		spread(r);
	mem_free(&r);
	return rc;
}

/* --- until it is so --- */

static int
may_coordinate(struct members *m, const struct mstate *s, struct err *e)
{
	bool ready;

	lock_take(&m->lock);
	ready = m->is_ready;
	lock_drop(&m->lock);
	if (mship_find(&s->now, &m->c.node) < 0)
		return err_set(e, ERR_RETRY, "this node is no member");
	return ready ? 0 : err_set(e, ERR_RETRY, "this node has just started");
}

int
member_change(struct members *m, const struct change *c, int64_t ms,
    struct err *e)
{
	int64_t end = member_now(m) + ms;
	struct id128 lost;
	struct mship *want = mem_zalloc(sizeof(*want));
	struct mstate s;
	int rc;

	if (want == NULL)
		return err_set(e, ERR_NO_MEMORY, "change");
	for (;;) {
		state_get(m, &s);
		rc = change_apply(&s.now, c, want, &lost, e);
		if (rc == 1 && c->kind != CHANGE_NONE) {
			rc = 0;
			break;
		}
		if (rc >= 0 && c->epoch != 0 && c->epoch != s.now.epoch) {
			rc = err_set(e, ERR_RETRY, "the group has changed");
			break;
		}
		if (rc >= 0)
			rc = may_coordinate(m, &s, e);
		if (rc < 0)
			break;
		rc = run_round(m, &s, c->kind == CHANGE_NONE ? NULL : want,
		    &lost, e);
		if (rc >= 0 && c->kind == CHANGE_NONE) {
			rc = 0;
			break;
		}
		if (rc < 0 && rc != ERR_RETRY && rc != ERR_BUSY)
			break;
		if (member_now(m) >= end) {
			if (rc == 0)
				rc = err_set(e, ERR_BUSY, "other changes");
			break;
		}
		/* Two that propose at once must fall out of step. */
		if (rc < 0 &&
		    !m->eo->sleep(m->env,
			20 + (int64_t)(m->eo->random(m->env) % 400))) {
			rc = err_set(e, ERR_CLOSED, "this node is stopping");
			break;
		}
	}
	mem_free(&want);
	return rc;
}

static void
finish_task(void *arg)
{
	struct members *m = arg;
	const struct change c = { .kind = CHANGE_NONE };
	struct err e = ERR_INIT;

	(void)member_change(m, &c, 0, &e);
	lock_take(&m->lock);
	m->is_finishing = false;
	lock_drop(&m->lock);
	member_task_end(m);
}

void
member_finish_later(struct members *m)
{
	bool go;

	lock_take(&m->lock);
	go = !m->is_finishing;
	m->is_finishing = true;
	lock_drop(&m->lock);
	if (!go || member_task(m, finish_task, m) == 0)
		return;
	lock_take(&m->lock);
	m->is_finishing = false;
	lock_drop(&m->lock);
}

int
members_remove(struct members *m, uint32_t server_id, uint64_t epoch,
    int64_t ms, struct err *e)
{
	struct change c = { .kind = CHANGE_REMOVE, .epoch = epoch };
	struct mstate s;
	int at;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	state_get(m, &s);
	at = mship_find_server(&s.now, server_id);
	if (at < 0)
		return err_set(e, ERR_NOT_FOUND,
		    "the group has no member with server ID %u", server_id);
	c.who = s.now.v[at].m;
	return member_change(m, &c, ms, e);
}
