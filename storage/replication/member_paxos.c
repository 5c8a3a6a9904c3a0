/* storage/replication/member_paxos.c - single-decree Paxos, one decree per
 * epoch: the acceptor's side, and what becomes of a chosen membership. The
 * acceptors of epoch n + 1 are the members of epoch n. */
#include "storage/replication/member_int.h"

static const struct id128 too_late = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static bool
is_acceptor(const struct members *m, const struct mstate *s, uint64_t epoch)
{
	return s->now.epoch != 0 && epoch == s->now.epoch + 1 && m->is_ready &&
	       mship_find(&s->now, &m->c.node) >= 0;
}

int
paxos_pack(const struct mstate *s, struct buf *b)
{
	int rc = ballot_pack(&s->promised, b);

	if (rc == 0)
		rc = pack_u8(b, s->has_accepted);
	if (rc == 0 && s->has_accepted)
		rc = ballot_pack(&s->accepted_by, b);
	if (rc == 0 && s->has_accepted)
		rc = mship_pack(&s->accepted, b);
	return rc;
}

static int
pack_promise(const struct mstate *s, bool ok, struct buf *b)
{
	int rc = pack_u8(b, ok);

	return rc < 0 ? rc : paxos_pack(s, b);
}

void
paxos_unpack(struct unpack *u, struct mstate *ret)
{
	ballot_unpack(u, &ret->promised);
	ret->has_accepted = unpack_u8(u) != 0;
	if (!ret->has_accepted)
		return;
	ballot_unpack(u, &ret->accepted_by);
	mship_unpack(u, &ret->accepted);
}

void
paxos_merge(struct mstate *s, const struct mstate *other)
{
	if (ballot_cmp(&other->promised, &s->promised) > 0)
		s->promised = other->promised;
	if (!other->has_accepted ||
	    (s->has_accepted &&
		ballot_cmp(&other->accepted_by, &s->accepted_by) <= 0))
		return;
	s->has_accepted = true;
	s->accepted_by = other->accepted_by;
	s->accepted = other->accepted;
}

int
paxos_resume(struct members *m, const struct mstate *seen, struct err *e)
{
	struct mstate s;
	int rc = pen_take(m, e);

	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (s.now.epoch != seen->now.epoch) {
		rc = 1;
	} else {
		if (seen->term > s.term)
			s.term = seen->term;
		if (s.term != m->s.term || is_nobody(&s.voted_for))
			s.voted_for = too_late;
		paxos_merge(&s, seen);
		rc = state_commit(m, &s, e);
	}
	pen_drop(m);
	return rc;
}

int
paxos_prepare(struct members *m, uint64_t epoch, const struct ballot *b,
    struct buf *answer, struct err *e)
{
	struct mstate s;
	bool ok = false;
	int rc = pen_take(m, e);

	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (is_acceptor(m, &s, epoch) && ballot_cmp(b, &s.promised) >= 0) {
		s.promised = *b;
		rc = state_commit(m, &s, e);
		ok = rc == 0;
	}
	if (rc == 0)
		rc = pack_promise(&s, ok, answer);
	pen_drop(m);
	return rc;
}

int
paxos_accept(struct members *m, uint64_t epoch, const struct ballot *b,
    const struct mship *value, struct buf *answer, struct err *e)
{
	struct mstate s;
	bool ok = false;
	int64_t now;
	int rc = pen_take(m, e);

	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (is_acceptor(m, &s, epoch) && ballot_cmp(b, &s.promised) >= 0 &&
	    value->epoch == epoch &&
	    is_same_node(&value->group_id, &s.now.group_id)) {
		s.promised = *b;
		s.accepted_by = *b;
		s.has_accepted = true;
		s.accepted = *value;
		rc = state_commit(m, &s, e);
		ok = rc == 0;
	}
	if (ok) {
		now = member_now(m);
		lock_take(&m->lock);
		m->accepted_ms = now;
		lock_drop(&m->lock);
	}
	if (rc == 0)
		rc = pack_u8(answer, ok);
	if (rc == 0)
		rc = ballot_pack(&s.promised, answer);
	pen_drop(m);
	return rc;
}

/* Whether @p is something that this node takes over. */
static bool
is_news(const struct members *m, const struct mstate *s, const struct mship *p)
{
	if (p->epoch <= s->now.epoch)
		return false;
	if (s->now.epoch == 0) /* a blank one: that it belongs to */
		return mship_find(p, &m->c.node) >= 0;
	return is_same_node(&p->group_id, &s->now.group_id);
}

static void
tell_learnt(struct members *m, const struct mship *p)
{
	char id[33];

	id128_text(&p->group_id, id);
	if (mship_find(p, &m->c.node) >= 0)
		member_event(m, LOG_INFO,
		    "group %s (%s): epoch %ju, %zu members", m->c.group, id,
		    (uintmax_t)p->epoch, p->n);
	else
		member_event(m, LOG_WARN,
		    "group %s (%s): this node is no member any more",
		    m->c.group, id);
}

int
member_learn(struct members *m, const struct mship *p, uint64_t floor,
    struct err *e)
{
	struct mstate s;
	bool was_blank;
	int64_t now;
	int rc;

	state_get(m, &s);
	if (!is_news(m, &s, p))
		return 0;
	rc = pen_take(m, e);
	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (!is_news(m, &s, p)) {
		pen_drop(m);
		return 0;
	}
	was_blank = s.now.epoch == 0;
	s.now = *p;
	s.floor = floor;
	s.promised = s.accepted_by = (struct ballot){ 0 };
	s.has_accepted = false;
	memset(&s.accepted, 0, sizeof(s.accepted));
	if (floor > s.term || (floor == s.term && floor > 0)) {
		s.term = floor;
		s.voted_for = too_late; /* I4 */
	}
	rc = state_commit(m, &s, e);
	now = member_now(m);
	if (rc == 0) {
		lock_take(&m->lock);
		election_forget(m, now);
		/* It may have been a member before its disk was put back to
		 * when it was none. */
		if (was_blank) {
			m->is_ready = false;
			m->try_ms = now;
		}
		lock_drop(&m->lock);
	}
	pen_drop(m);
	if (rc < 0)
		return rc;
	tell_learnt(m, p);
	member_changed(m);
	return 0;
}
