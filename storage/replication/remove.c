/* storage/replication/remove.c - a member goes for good, once it is not needed.
 *
 * A change is held by a majority, an upload by min_copies. One step of membership
 * at a time keeps what a majority holds in sight of every later one, but only
 * if what was acknowledged in the epochs before has reached more than those who
 * held it then: two removed in quick succession could take the last two but one
 * along. So before each removal, in the very epoch that it ends,
 * G1  all members that stay have read each other's logs to the end, and that of
 *     the one that goes if it answers, each in a round that began after the
 *     wish came: what any of them held then, all of them hold.
 * G2  When some that stay are away, nobody can know what only they and the one
 *     that goes hold. An administrator who insists has it his way, as long as
 *     those for whom G1 holds (the one that goes included) are a majority: no
 *     change is lost then; of an upload whose two copies are on these two it
 *     may be said that it is not there, until the one that stays is back.
 *
 * STEP      args    -
 *           answer  epoch u64, number u32, for each other member: id, u8 has
 *                   read to the end at all, u64 ms since the last such round
 *                   began */
#include "storage/replication/rep_int.h"

#include <stdio.h>

#define STEP_MS 12000 /* members get so long to take over from each other */
#define POLL_MS 200
#define CHANGE_MS 12000

struct step_peer {
	struct id128 node;
	bool has_read;
	int64_t age_ms;
};

int
rep_serve_step(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	int64_t now = r->eo->now_ms(r->env);
	struct rep_group g;
	int rc = rep_group_get(r, &g, e);

	(void)from;
	(void)q;
	if (rc == 0)
		rc = pack_u64(&a->args, g.v.epoch);
	if (rc == 0)
		rc = pack_u32(&a->args, (uint32_t)g.n_peers);
	for (size_t i = 0; rc == 0 && i < g.n_peers; i++) {
		struct rep_peer *p = g.peer[i];
		struct step_peer s = { .node = p->node };

		lock_take(&r->lock);
		s.has_read = p->has_read;
		s.age_ms = now - p->read_ms;
		lock_drop(&r->lock);
		rc = pack_id(&a->args, &s.node);
		if (rc == 0)
			rc = pack_u8(&a->args, s.has_read);
		if (rc == 0)
			rc = pack_u64(&a->args, (uint64_t)s.age_ms);
	}
	return rc;
}

/* --- who has taken over from whom --- */

struct steps {
	struct rep *r;
	const struct rep_group *g;
	int gone;         /* position */
	int64_t began_ms; /* of this node's clock, as all below */
	bool is_there[CMAP_MEMBERS];
	bool has[CMAP_MEMBERS][CMAP_MEMBERS]; /* [who][from whom] */
};

static int
position(const struct member_view *v, const struct id128 *node)
{
	for (size_t i = 0; i < v->n; i++)
		if (id128_eq(&v->m[i].node, node))
			return (int)i;
	return -1;
}

static void
take_own(struct steps *s)
{
	struct rep *r = s->r;
	int self = s->g->v.self;

	s->is_there[self] = true;
	lock_take(&r->lock);
	for (size_t i = 0; i < s->g->n_peers; i++) {
		const struct rep_peer *p = s->g->peer[i];
		int at = position(&s->g->v, &p->node);

		if (at >= 0)
			s->has[self][at] =
			    p->has_read && p->read_ms >= s->began_ms;
	}
	lock_drop(&r->lock);
}

/* @sent_ms: the answer is no older. */
static void
take_answer(struct steps *s, const struct id128 *who, struct str args,
    int64_t sent_ms)
{
	struct unpack u = unpack_of(args);
	int at = position(&s->g->v, who), from;
	uint64_t epoch = unpack_u64(&u), age;
	struct id128 node;
	uint32_t n = unpack_u32(&u);
	bool has_read;

	if (at < 0 || u.is_bad || epoch != s->g->v.epoch)
		return;
	s->is_there[at] = true;
	for (; n > 0 && !u.is_bad; n--) {
		node = unpack_id(&u);
		has_read = unpack_u8(&u) != 0;
		age = unpack_u64(&u);
		from = position(&s->g->v, &node);
		if (!u.is_bad && from >= 0 && has_read &&
		    age <= (uint64_t)(sent_ms - s->began_ms))
			s->has[at][from] = true;
	}
}

static int
ask(struct steps *s, struct err *e)
{
	struct rep *r = s->r;
	struct fan *f = fan_new(r, RPC_STEP, s->g);
	int64_t sent = r->eo->now_ms(r->env);

	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	memset(s->is_there, 0, sizeof(s->is_there));
	memset(s->has, 0, sizeof(s->has));
	fan_start(f, f->n, false);
	fan_wait_all(f, 2 * (int64_t)r->c.peer_ms);
	take_own(s);
	lock_take(&r->lock);
	for (size_t i = 0; i < f->n; i++)
		if (f->slot[i].is_done && f->slot[i].rc == 0)
			take_answer(s, &f->slot[i].p->node,
			    buf_str(&f->slot[i].args), sent);
	lock_drop(&r->lock);
	fan_free(&f);
	return 0;
}

/* Who lacks something of those that count (G1). -1: nobody. */
static int
laggard(const struct steps *s, const bool counts[CMAP_MEMBERS], int *ret_from)
{
	for (size_t i = 0; i < s->g->v.n; i++)
		for (size_t k = 0; k < s->g->v.n; k++)
			if (counts[i] && counts[k] && i != k &&
			    (int)i != s->gone && !s->has[i][k]) {
				*ret_from = (int)k;
				return (int)i;
			}
	return -1;
}

static uint32_t
server(const struct steps *s, int at)
{
	return s->g->v.m[at].server_id;
}

/* 0: it may go. */
static int
judge_all(const struct steps *s, struct err *e)
{
	int from, at;

	for (size_t i = 0; i < s->g->v.n; i++)
		if (!s->is_there[i] && (int)i != s->gone)
			return err_set(e, ERR_BUSY,
			    "server %u, which stays, is away: what it holds "
			    "together with server %u alone would read as not "
			    "there; --force removes it all the same",
			    server(s, (int)i), server(s, s->gone));
	at = laggard(s, s->is_there, &from);
	if (at < 0)
		return 0;
	return err_set(e, ERR_BUSY,
	    "server %u has not taken over yet what server %u holds: try again "
	    "later, or --force",
	    server(s, at), server(s, from));
}

/* G2 */
static int
judge_forced(const struct steps *s, struct err *e)
{
	bool counts[CMAP_MEMBERS];
	size_t n = 0;
	int from, at;

	memcpy(counts, s->is_there, sizeof(counts));
	while ((at = laggard(s, counts, &from)) >= 0)
		counts[at] = false;
	for (size_t i = 0; i < s->g->v.n; i++)
		n += counts[i];
	if (n >= s->g->majority)
		return 0;
	return err_set(e, ERR_BUSY,
	    "%zu of %zu members have taken over what the others hold, a "
	    "majority is %u",
	    n, s->g->v.n, s->g->majority);
}

/* Waits until the member may go. ERR_RETRY: the epoch is over. */
static int
wait_steps(struct steps *s, bool force, int64_t until, struct err *e)
{
	struct rep *r = s->r;
	int rc;

	for (;;) {
		rc = ask(s, e);
		if (rc == 0)
			rc = judge_all(s, e);
		if (rc != ERR_BUSY)
			return rc;
		if (members_epoch(r->c.members) != s->g->v.epoch)
			return err_set(e, ERR_RETRY, "the group has changed");
		if (r->eo->now_ms(r->env) >= until)
			return force ? judge_forced(s, e) : rc;
		if (!r->eo->sleep(r->env, POLL_MS))
			return err_set(e, ERR_CLOSED, "stopped");
	}
}

static int
remove_once(struct rep *r, uint32_t server_id, bool force, int64_t until,
    struct err *e)
{
	struct steps *s = mem_zalloc(sizeof(*s));
	struct rep_group g;
	int rc = s == NULL ? err_set(e, ERR_NO_MEMORY, NULL)
	                   : rep_group_get(r, &g, e);

	if (rc < 0)
		goto out;
	s->r = r;
	s->g = &g;
	s->gone = -1;
	s->began_ms = r->eo->now_ms(r->env);
	for (size_t i = 0; i < g.v.n; i++)
		if (g.v.m[i].server_id == server_id)
			s->gone = (int)i;
	if (s->gone < 0)
		rc = err_set(e, ERR_NOT_FOUND,
		    "the group has no member with server ID %u", server_id);
	if (rc == 0)
		rc = wait_steps(s, force, until, e);
	if (rc == 0)
		rc = members_remove(r->c.members, server_id, g.v.epoch,
		    CHANGE_MS, e);
out:
	mem_free(&s);
	return rc;
}

int
rep_remove(struct rep *r, uint32_t server_id, bool force, struct err *e)
{
	int64_t until;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	until = r->eo->now_ms(r->env) + STEP_MS;
	do
		rc = remove_once(r, server_id, force, until, e);
	while (rc == ERR_RETRY && r->eo->now_ms(r->env) < until &&
	       r->eo->sleep(r->env, POLL_MS));
	return rc;
}

int
rep_serve_remove(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	uint32_t server_id = unpack_u32(&u);
	bool force = u.rest.len > 0 && unpack_u8(&u) != 0;
	int rc = unpack_end(&u, e);

	(void)from;
	(void)a;
	return rc < 0 ? rc : rep_remove(r, server_id, force, e);
}
