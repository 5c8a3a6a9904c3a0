/* storage/replication/away.c - how long this node was away from its group (P8).
 *
 * A tombstone is kept for so long; who missed it for longer may bring back what
 * was deleted. No wall clock is asked how long that was: they are wrong after a
 * battery has died, and jump. The group has an age instead, in ms:
 * W1  A member's count of it goes on with its monotonic clock while it reaches a
 *     majority, and is never below what another member says (LOG_READ carries it
 *     both ways). So it goes on as long as any majority is together, about as time
 *     does, and stands still while there is none: nothing can be deleted then.
 *     A start loses what was not saved, at most a minute.
 * W2  Beside it a member keeps what the age was when it last reached a majority
 *     itself, knowing the group's age. Who hears of an age that is more than
 *     tombstones are kept beyond that has expired: it refuses everything, says
 *     so, and so it does after a start. Groups of two have no such case: a
 *     delete needs both.
 * W3  After a start, and when it has had no majority for that long by its own
 *     clock, it is no source for anybody until so many members have told the age
 *     that a majority is known: at the first sight of each other nobody takes
 *     back what is gone.
 * W4  Tombstones bear a wall clock's time. What that clock showed here at which age
 *     is remembered, 32 times while they are kept: each mark says what it was when
 *     the group was younger by that much, and forgotten is only what was made
 *     before the earliest of these. A clock that is ahead today, or was for a
 *     while, makes none of them old.
 * (A virtual machine that was frozen for that long knows nothing of it until it
 * hears an age, within a second or two of being thawed.) */
#include "storage/replication/rep_int.h"

#define TICK_MAX_MS 2000 /* what is more was no running */
#define MARKS_EACH 32

/* Under the lock. */
static size_t
told(struct rep *r)
{
	struct rep_peer *p;
	size_t n = 1;

	for (p = r->peers; p != NULL; p = p->next)
		n += p->is_member && p->has_told_age;
	return n;
}

static int64_t
keep_ms(const struct rep *r)
{
	return r->c.tombstone_keep_s * 1000;
}

/* Under the lock. True: it has expired just now. */
static bool
judge(struct rep *r)
{
	struct away *a = &r->away;
	bool is_exempt = a->n_members > 0 && a->n_members <= 2;

	if (a->is_expired)
		return false;
	if (!is_exempt && a->has_touched &&
	    a->age_ms - a->touched_ms > keep_ms(r)) {
		a->is_expired = r->is_dirty = true;
		return true;
	}
	if (a->n_members > 0 && (is_exempt || !a->has_touched ||
				    told(r) >= members_majority(a->n_members)))
		a->is_known = true;
	return false;
}

static int
refusal(struct rep *r, int code, struct err *e)
{
	int64_t away, keep = r->c.tombstone_keep_s;

	lock_take(&r->lock);
	away = (r->away.age_ms - r->away.touched_ms) / 1000;
	lock_drop(&r->lock);
	return err_set(e, code,
	    "this node was out of touch with its group for %jd days, longer "
	    "than deleted files are remembered (%jd): empty its store paths "
	    "and start it with the same server_id",
	    (intmax_t)(away / 86400), (intmax_t)(keep / 86400));
}

static void
say_expired(struct rep *r)
{
	struct err e = ERR_INIT;

	(void)refusal(r, ERR_CONFIG, &e);
	rep_event(r, "%s", e.msg);
	if (r->c.expired != NULL)
		r->c.expired(r->c.arg);
}

/* Under the lock. W1: up to now, so that what is heard is not counted twice. */
static void
go_on(struct rep *r)
{
	struct away *a = &r->away;
	int64_t now = r->eo->now_ms(r->env);
	int64_t ms = a->tick_ms == 0 ? 0 : now - a->tick_ms;

	a->tick_ms = now;
	if (a->has_majority)
		a->age_ms += ms < TICK_MAX_MS ? ms : TICK_MAX_MS;
}

void
away_hear(struct rep *r, const struct id128 *node, uint64_t age_ms)
{
	struct away *a = &r->away;
	struct rep_peer *p;
	bool is_news;

	lock_take(&r->lock);
	for (p = r->peers; p != NULL; p = p->next)
		if (id128_eq(&p->node, node))
			p->has_told_age = true;
	go_on(r);
	if (age_ms < INT64_MAX / 2 && (int64_t)age_ms > a->age_ms)
		a->age_ms = (int64_t)age_ms;
	is_news = judge(r);
	lock_drop(&r->lock);
	if (is_news)
		say_expired(r);
}

uint64_t
away_age(struct rep *r)
{
	uint64_t age;

	lock_take(&r->lock);
	age = (uint64_t)r->away.age_ms;
	lock_drop(&r->lock);
	return age;
}

/* W3 */
static void
forget_told(struct rep *r)
{
	struct rep_peer *p;

	r->away.is_known = false;
	for (p = r->peers; p != NULL; p = p->next)
		p->has_told_age = false;
}

/* W4; under the lock. The marks go on, and what may be forgotten is returned. */
static int64_t
mark(struct rep *r, int64_t wall_s)
{
	struct away *a = &r->away;
	int64_t before = INT64_MIN, old = a->age_ms - keep_ms(r);
	size_t i, first = 0;

	if (a->n_marks == 0 || a->age_ms - a->mark[a->n_marks - 1].age_ms >=
				   keep_ms(r) / MARKS_EACH) {
		if (a->n_marks == AWAY_MARKS)
			memmove(a->mark, a->mark + 1,
			    --a->n_marks * sizeof(a->mark[0]));
		a->mark[a->n_marks].age_ms = a->age_ms;
		a->mark[a->n_marks++].wall_s = wall_s;
		r->is_dirty = true;
	}
	/* The last one that is old enough comes first. */
	for (i = 0; i < a->n_marks && a->mark[i].age_ms <= old; i++)
		first = i;
	memmove(a->mark, a->mark + first,
	    (a->n_marks - first) * sizeof(a->mark[0]));
	a->n_marks -= first;
	if (a->mark[0].age_ms > old)
		return before;
	before = wall_s - r->c.tombstone_keep_s;
	for (i = 0; i < a->n_marks; i++) {
		int64_t s = a->mark[i].wall_s;

		if (a->mark[i].age_ms > old)
			s -= (a->mark[i].age_ms - old) / 1000;
		if (s < before)
			before = s;
	}
	/* Other members' clocks, which it was made by, may be a little behind. */
	return before - r->c.tombstone_keep_s / MARKS_EACH;
}

void
away_tick(struct rep *r, const struct rep_group *g)
{
	struct away *a = &r->away;
	int64_t now = r->eo->now_ms(r->env), wall = r->eo->real_s(r->env);
	int64_t before;
	bool is_news;

	lock_take(&r->lock);
	a->n_members = g->v.n;
	a->has_majority = peers_within_reach(r) >= g->majority;
	go_on(r);
	if (a->has_majority) {
		a->alone_ms = 0;
	} else if (a->alone_ms == 0) {
		a->alone_ms = now;
	} else if (now - a->alone_ms > keep_ms(r) && a->is_known) {
		forget_told(r);
		a->alone_ms = now;
	}
	is_news = judge(r);
	if (!a->is_expired && a->is_known && (a->has_majority || g->v.n <= 2)) {
		a->touched_ms = a->age_ms;
		a->has_touched = true;
	}
	before = mark(r, wall);
	lock_drop(&r->lock);
	r->so->forget_before(r->st, before);
	if (is_news)
		say_expired(r);
}

int
away_check(struct rep *r, bool is_source, struct err *e)
{
	if (atomic_load_explicit(&r->away.is_expired, memory_order_acquire))
		return refusal(r, ERR_BUSY, e);
	if (is_source &&
	    !atomic_load_explicit(&r->away.is_known, memory_order_acquire))
		return err_set(e, ERR_RETRY,
		    "this node does not know yet how long it was away");
	return 0;
}

/* Under the lock. */
int
away_pack(const struct rep *r, struct buf *b)
{
	const struct away *a = &r->away;
	int rc = pack_u64(b, (uint64_t)a->age_ms);

	if (rc == 0)
		rc = pack_u64(b, (uint64_t)a->touched_ms);
	if (rc == 0)
		rc = pack_u8(b, a->has_touched);
	if (rc == 0)
		rc = pack_u8(b, a->is_expired);
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)a->n_marks);
	for (size_t i = 0; rc == 0 && i < a->n_marks; i++) {
		rc = pack_u64(b, (uint64_t)a->mark[i].age_ms);
		if (rc == 0)
			rc = pack_u64(b, (uint64_t)a->mark[i].wall_s);
	}
	return rc;
}

int
away_load(struct rep *r, struct unpack *u, struct err *e)
{
	struct away *a = &r->away;
	uint32_t n, i;

	if (u->rest.len == 0) { /* from before there was an age */
		a->has_touched = true;
		return 0;
	}
	a->age_ms = (int64_t)unpack_u64(u);
	a->touched_ms = (int64_t)unpack_u64(u);
	a->has_touched = unpack_u8(u) != 0;
	a->is_expired = unpack_u8(u) != 0;
	n = u->rest.len == 0 ? 0 : unpack_u32(u);
	for (i = 0; i < n && i < AWAY_MARKS; i++) {
		a->mark[i].age_ms = (int64_t)unpack_u64(u);
		a->mark[i].wall_s = (int64_t)unpack_u64(u);
	}
	a->n_marks = i;
	if (u->is_bad || a->age_ms < 0 || a->touched_ms < 0)
		return err_set(e, ERR_CORRUPT, "state of replication");
	return a->is_expired ? refusal(r, ERR_CONFIG, e) : 0;
}
