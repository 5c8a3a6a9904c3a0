/* storage/replication/election.c - who orders the changes of a group: Raft's
 * election (Ongaro's thesis, 3.4, 6.4, 9.6) without its log.
 *
 * V1  A vote is durable before it is told; one per term.
 * V2  Nobody votes, in a pre-vote either, who has heard the leader within
 *     election_ms: a node that was cut off disturbs nobody, and a leader whose
 *     heartbeats a majority has confirmed is the only one for election_ms after
 *     they left (its lease). A start counts as having heard one.
 * V3  Votes of an epoch count in that epoch alone.
 * V4  A member one of whose store paths has failed can't order what belongs
 *     there: it stands for election only when the others have had their time, and
 *     a leader gives up when it hears one that is well; no more than once in
 *     YIELD_MS, since the others' troubles are not known here.
 * V5  Who has just said yes to another one's pre-vote leaves it the election; of
 *     two that said yes to each other it is the lower ID's. Else two that stand at
 *     the same time refuse each other's vote, and a third that hangs makes both
 *     wait for it. (It decides nothing: V1 does.) */
#include "storage/replication/member_int.h"

#define YIELD_MS 60000

static int64_t
election_ms(const struct members *m)
{
	return m->c.election_ms;
}

static int64_t
draw_wait(struct members *m)
{
	return election_ms(m) +
	       (int64_t)(m->eo->random(m->env) % (uint64_t)election_ms(m));
}

void
election_forget(struct members *m, int64_t now)
{
	m->elect_ms = now + (m->leads ? 0 : election_ms(m) / 4);
	m->leads = false;
	m->leader = (struct id128){ 0 };
	m->heard_ms = now - election_ms(m);
	m->n_peers = 0;
	for (size_t i = 0; i < m->s.now.n; i++) {
		if (!is_same_node(&m->s.now.v[i].m.node, &m->c.node))
			m->peers[m->n_peers++] =
			    (struct member_peer){ .node =
						      m->s.now.v[i].m.node };
	}
}

/* With the lock: takes part in this epoch. */
static bool
takes_part(const struct members *m)
{
	return m->s.now.epoch != 0 && !m->s.has_accepted &&
	       mship_find(&m->s.now, &m->c.node) >= 0;
}

/* --- answering --- */

/* With the lock. */
static bool
would_vote(struct members *m, const struct id128 *who, uint64_t epoch,
    bool is_pre, uint64_t term, int64_t now)
{
	if (!takes_part(m) || !m->is_ready || epoch != m->s.now.epoch ||
	    mship_find(&m->s.now, who) < 0)
		return false;
	if (m->leads && election_is_leader(m, now))
		return false;
	if (now - m->heard_ms < election_ms(m) &&
	    !is_same_node(&m->leader, who))
		return false; /* V2 */
	if (term > m->s.term)
		return true;
	return !is_pre && term == m->s.term &&
	       (is_nobody(&m->s.voted_for) ||
		   is_same_node(&m->s.voted_for, who));
}

/* V5, with the lock: a pre-vote is granted. */
static void
back(struct members *m, const struct id128 *who, int64_t now, int64_t wait)
{
	m->backed = *who;
	m->backed_ms = now;
	if (m->elect_ms < now + wait / 2)
		m->elect_ms = now + wait / 2;
}

/* V5: after its own pre-vote. */
static bool
is_anothers(struct members *m)
{
	int64_t now = member_now(m);
	bool is;

	lock_take(&m->lock);
	is = now - m->backed_ms < election_ms(m) / 2 &&
	     memcmp(m->backed.b, m->c.node.b, sizeof(m->backed.b)) < 0;
	lock_drop(&m->lock);
	return is;
}

int
election_vote(struct members *m, const struct rpc_from *from, uint64_t epoch,
    bool is_pre, uint64_t term, struct buf *answer, struct err *e)
{
	int64_t now = member_now(m), wait = draw_wait(m);
	struct mstate s;
	bool yes;
	int rc;

	lock_take(&m->lock);
	yes = would_vote(m, &from->id, epoch, is_pre, term, now);
	if (yes && is_pre)
		back(m, &from->id, now, wait);
	lock_drop(&m->lock);
	if (!yes || is_pre)
		return pack_u8(answer, yes);
	rc = pen_take(m, e);
	if (rc < 0)
		return rc;
	now = member_now(m);
	lock_take(&m->lock);
	yes = would_vote(m, &from->id, epoch, false, term, now);
	s = m->s;
	lock_drop(&m->lock);
	if (yes) {
		s.term = term;
		s.voted_for = from->id;
		rc = state_commit(m, &s, e);
	}
	if (yes && rc == 0) {
		lock_take(&m->lock);
		m->leads = false;
		m->leader = (struct id128){ 0 };
		m->elect_ms = now + wait;
		lock_drop(&m->lock);
	}
	pen_drop(m);
	return rc < 0 ? rc : pack_u8(answer, yes);
}

int
election_adopt(struct members *m, uint64_t term, const struct id128 *leader,
    struct err *e)
{
	struct mstate s;
	int rc = pen_take(m, e);

	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (term > s.term) {
		s.term = term;
		/* Who leads in it has this one's vote, whatever comes. */
		s.voted_for = leader != NULL ? *leader : (struct id128){ 0 };
		rc = state_commit(m, &s, e);
		if (rc == 0) {
			lock_take(&m->lock);
			m->leads = false;
			m->leader = s.voted_for;
			lock_drop(&m->lock);
		}
	}
	pen_drop(m);
	return rc;
}

int
election_lead(struct members *m, const struct rpc_from *from, uint64_t epoch,
    uint64_t term, struct err *e)
{
	int64_t now, wait = draw_wait(m);
	bool part, old;
	int rc = 0;

	lock_take(&m->lock);
	part = takes_part(m) && epoch == m->s.now.epoch &&
	       mship_find(&m->s.now, &from->id) >= 0;
	old = term > m->s.term;
	lock_drop(&m->lock);
	if (!part)
		return err_set(e, ERR_RETRY, "another epoch");
	if (old)
		rc = election_adopt(m, term, &from->id, e);
	if (rc < 0)
		return rc;
	now = member_now(m);
	lock_take(&m->lock);
	if (term != m->s.term || epoch != m->s.now.epoch || !takes_part(m)) {
		rc = err_set(e, ERR_RETRY, "term %ju is over", (uintmax_t)term);
	} else if (m->leads && !is_same_node(&m->leader, &from->id)) {
		/* M4 was broken elsewhere (votes forgotten on a disk that was
		 * put back): nobody's word decides that, the next term does. */
		rc = err_set(e, ERR_RETRY, "two leaders of term %ju",
		    (uintmax_t)term);
	} else {
		m->leader = m->heard = from->id;
		m->heard_ms = now;
		m->elect_ms = now + wait;
	}
	lock_drop(&m->lock);
	return rc;
}

/* --- leading --- */

/* When a majority had last confirmed: of their times the one that so many are
 * not older than. This node's own is now. */
static int64_t
majority_ms(const struct members *m, int64_t now)
{
	size_t need = members_majority(m->s.now.n) - 1, newer;
	int64_t best = INT64_MIN / 2;

	if (need == 0)
		return now;
	for (size_t i = 0; i < m->n_peers; i++) {
		newer = 0;
		for (size_t k = 0; k < m->n_peers; k++)
			newer += m->peers[k].acked_ms >= m->peers[i].acked_ms;
		if (newer >= need && m->peers[i].acked_ms > best)
			best = m->peers[i].acked_ms;
	}
	return best;
}

bool
election_is_leader(struct members *m, int64_t now)
{
	return m->leads && takes_part(m) &&
	       now - majority_ms(m, now) < election_ms(m);
}

struct beat {
	struct members *m;
	struct id128 node;
	uint64_t epoch, term;
	struct fdfs_addr to;
};

/* With the lock. */
static struct member_peer *
peer_of(struct members *m, const struct id128 *node)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		if (is_same_node(&m->peers[i].node, node))
			return &m->peers[i];
	}
	return NULL;
}

static void
beat_task(void *arg)
{
	struct beat *b = arg;
	struct members *m = b->m;
	struct buf tail = BUF_CAP(16);
	struct member_peer *p;
	struct answer a;
	int64_t left = member_now(m);
	int rc = pack_u64(&tail, b->term);

	rc = rc < 0 ? rc
	            : member_call(m, &b->to, RPC_LEAD, b->epoch, buf_str(&tail),
			  (int)election_ms(m), &a, NULL);
	if (a.term > b->term)
		(void)election_adopt(m, a.term, NULL, NULL);
	lock_take(&m->lock);
	p = peer_of(m, &b->node);
	if (p != NULL) {
		p->is_calling = false;
		if (a.epoch > p->epoch)
			p->epoch = a.epoch;
		if (rc == 0)
			p->is_ailing = (a.flags & MSG_AILING) != 0;
		if (rc == 0 && m->leads && m->s.term == b->term &&
		    left > p->acked_ms)
			p->acked_ms = left;
	}
	lock_drop(&m->lock);
	answer_fini(&a);
	buf_fini(&tail);
	mem_free(&b);
	member_task_end(m);
}

/* One heartbeat to @p, unless the last is still under way. */
static void
beat_one(struct members *m, size_t i)
{
	struct beat *b = mem_zalloc(sizeof(*b));
	struct member_addr a;
	bool go = false;

	if (b == NULL)
		return;
	lock_take(&m->lock);
	if (m->leads && i < m->n_peers && !m->peers[i].is_calling &&
	    addr_of(m, &m->peers[i].node, &a)) {
		*b = (struct beat){ m, m->peers[i].node, m->peers[i].epoch,
			m->s.term, a.inner };
		go = m->peers[i].is_calling = true;
	}
	lock_drop(&m->lock);
	if (go && member_task(m, beat_task, b) == 0)
		return;
	if (go) {
		lock_take(&m->lock);
		if (peer_of(m, &b->node) != NULL)
			peer_of(m, &b->node)->is_calling = false;
		lock_drop(&m->lock);
	}
	mem_free(&b);
}

static void
beat_all(struct members *m)
{
	for (size_t i = 0; i < CMAP_MEMBERS; i++)
		beat_one(m, i);
}

/* --- campaigning --- */

struct votes {
	struct mfan *f;
	uint64_t epoch;
	size_t need;
};

static bool
has_won(void *arg)
{
	const struct votes *v = arg;
	size_t n = 1;

	for (size_t i = 0; i < mfan_size(v->f); i++) {
		const struct mfan_slot *s = mfan_peek(v->f, i);

		n += s->is_done && s->rc == 0 && s->a.epoch == v->epoch &&
		     s->a.tail.len > 0 && s->a.tail.p[0] == 1;
	}
	return n >= v->need;
}

/* Asks all for @term. 1: a majority says yes. *ret_term: the highest seen. */
static int
ask_votes(struct members *m, const struct mship *p, bool is_pre, uint64_t term,
    uint64_t *ret_term)
{
	struct votes v = { .epoch = p->epoch, .need = members_majority(p->n) };
	struct buf tail = BUF_CAP(16);
	int rc = pack_u8(&tail, is_pre);

	if (rc == 0)
		rc = pack_u64(&tail, term);
	if (rc == 0)
		v.f =
		    mfan_new(m, RPC_VOTE, buf_str(&tail), (int)election_ms(m));
	buf_fini(&tail);
	if (v.f == NULL)
		return ERR_NO_MEMORY;
	mfan_add_members(v.f, p);
	mfan_start(v.f);
	mfan_wait(v.f, has_won, &v, election_ms(m));
	lock_take(&m->lock);
	rc = has_won(&v);
	lock_drop(&m->lock);
	for (size_t i = 0; i < mfan_size(v.f); i++) {
		const struct mfan_slot *s = mfan_slot(v.f, i);

		if (s != NULL && s->a.term > *ret_term)
			*ret_term = s->a.term;
	}
	mfan_drop(&v.f);
	return rc;
}

/* V1, for itself. 1: it may go on. */
static int
vote_for_self(struct members *m, const struct mship *p, uint64_t term)
{
	struct mstate s;
	int rc = pen_take(m, NULL);

	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (s.now.epoch == p->epoch && !s.has_accepted && term > s.term) {
		s.term = term;
		s.voted_for = m->c.node;
		rc = state_commit(m, &s, NULL);
		rc = rc < 0 ? rc : 1;
	}
	if (rc == 1) {
		lock_take(&m->lock);
		m->leads = false;
		m->leader = (struct id128){ 0 };
		lock_drop(&m->lock);
	}
	pen_drop(m);
	return rc;
}

static void
campaign(struct members *m)
{
	struct mship *p = mem_zalloc(sizeof(*p));
	uint64_t term, seen;
	bool won = false;
	int64_t now;

	if (p == NULL)
		return;
	lock_take(&m->lock);
	*p = m->s.now;
	term = seen = m->s.term;
	lock_drop(&m->lock);
	term++;
	if (ask_votes(m, p, true, term, &seen) == 1 && !is_anothers(m) &&
	    vote_for_self(m, p, term) == 1 &&
	    ask_votes(m, p, false, term, &seen) == 1) {
		now = member_now(m);
		lock_take(&m->lock);
		won = m->s.now.epoch == p->epoch && m->s.term == term &&
		      is_same_node(&m->s.voted_for, &m->c.node) &&
		      takes_part(m);
		if (won) {
			m->leads = true;
			m->leader = m->c.node;
			m->beat_ms = m->led_ms = now;
			for (size_t i = 0; i < m->n_peers; i++)
				m->peers[i].acked_ms = INT64_MIN / 2;
		}
		lock_drop(&m->lock);
	}
	if (won)
		member_event(m, LOG_INFO,
		    "group %s: this node orders changes, term %ju", m->c.group,
		    (uintmax_t)term);
	else if (seen > term)
		(void)election_adopt(m, seen, NULL, NULL);
	mem_free(&p);
}

/* --- from time to time --- */

/* V4, with the lock. */
static bool
should_yield(struct members *m, int64_t now)
{
	if (!m->is_ailing || !election_is_leader(m, now) ||
	    (m->yielded_ms != 0 && now - m->yielded_ms < YIELD_MS))
		return false;
	for (size_t i = 0; i < m->n_peers; i++) {
		if (!m->peers[i].is_ailing &&
		    now - m->peers[i].acked_ms < election_ms(m))
			return m->s.now.n > 2; /* of two both are needed */
	}
	return false;
}

/* When it may stand for election. */
static int64_t
stand_ms(const struct members *m)
{
	return m->elect_ms + (m->is_ailing ? 2 * election_ms(m) : 0);
}

void
election_step(struct members *m)
{
	int64_t now = member_now(m), wait = draw_wait(m);
	bool beat, run, finish, yield, ailing = m->so->has_failed(m->st);

	lock_take(&m->lock);
	m->is_ailing = ailing;
	yield = should_yield(m, now);
	if (yield) {
		m->leads = false;
		m->leader = (struct id128){ 0 };
		m->yielded_ms = now;
		m->elect_ms = now + wait;
	}
	if (m->leads && election_is_leader(m, now))
		m->led_ms = now;
	if (m->leads &&
	    (!takes_part(m) || now - m->led_ms > 2 * election_ms(m)))
		m->leads = false;
	beat = m->leads && now >= m->beat_ms;
	if (beat)
		m->beat_ms = now + election_ms(m) / 3;
	run = !m->leads && takes_part(m) && m->is_ready &&
	      (now >= stand_ms(m) || m->s.now.n == 1);
	finish = m->s.has_accepted && m->is_ready &&
	         now - m->accepted_ms > election_ms(m) / 2;
	if (finish) /* once more only after a while */
		m->accepted_ms = now;
	lock_drop(&m->lock);
	if (yield)
		member_event(m, LOG_WARN,
		    "group %s: a store path has failed; another node is to "
		    "order changes",
		    m->c.group);
	if (finish)
		member_finish_later(m);
	if (run) {
		campaign(m);
		now = member_now(m);
		lock_take(&m->lock);
		beat = m->leads;
		if (m->elect_ms <= now)
			m->elect_ms = now + wait / 2;
		lock_drop(&m->lock);
	}
	if (beat)
		beat_all(m);
}
