/* storage/replication/member_wire.c - messages between members: what each of
 * them carries, calls, and the same question to many.
 *
 * Arguments and answers of the operations MEMBERS to LEAD begin with:
 *   u8 1; id node; id group (zero: none); u64 term; u64 floor; address inner,
 *   address outer; u64 life, u64 nonce; u8 flags (1: put back, 2: ailing);
 *   u64 life of yours as known here; text membership (empty: left out)
 * then follow, request / answer:
 *   MEMBERS   - / u32 n, n times: id, address inner, address outer; promise
 *   PREPARE   u64 epoch, ballot / u8 promised, promise
 *   ACCEPT    u64 epoch, ballot, membership / u8 accepted, ballot promised
 *   LEARN     - / -
 *   JOIN      u32 server ID, u8 renewed / -
 *   VOTE      u8 pre-vote, u64 term / u8 granted
 *   LEAD      u64 term / -
 * (a ballot is u64 round, id; a promise is ballot the promised one, u8
 * accepted, if so: ballot, membership; a membership is u8 1, id group, u64 epoch, u32 n,
 * n times: id, u32 server ID, u64 since, address inner, address outer; u32 n,
 * n times: id removed; the epoch of a message stands in its frame). Refusals
 * carry the beginning too.
 *   REMOVE    from an administrator, see remove.c: u32 server ID, u8 force / -
 *   FOUND     (to trackers) text group, id node, u32 server ID / -; the result
 *             says it: 0 is leave. */
#include "storage/replication/member_int.h"

#include <stdarg.h>
#include <stdio.h>

enum {
	MFAN_MAX = CMAP_MEMBERS + FDFS_MAX_TRACKERS
};

/* --- the beginning of a message --- */

void
msg_fill(struct members *m, uint64_t other, struct mmsg *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->node = m->c.node;
	ret->inner = m->c.inner;
	ret->outer = m->c.outer;
	lock_take(&m->lock);
	ret->group_id = m->s.now.group_id;
	ret->term = m->s.term;
	ret->floor = m->s.floor;
	ret->life = m->s.life;
	ret->nonce = m->nonce;
	ret->flags = m->is_ailing ? MSG_AILING : 0;
	if (other < m->s.now.epoch)
		ret->mship = m->s.now;
	lock_drop(&m->lock);
}

int
msg_pack(const struct mmsg *h, struct buf *b)
{
	struct buf p = BUF_CAP(MSHIP_PACKED);
	int rc = buf_reserve(b, 512);

	if (rc == 0 && h->mship.epoch != 0)
		rc = mship_pack(&h->mship, &p);
	if (rc < 0)
		goto out;
	pack_u8(b, 1);
	pack_id(b, &h->node);
	pack_id(b, &h->group_id);
	pack_u64(b, h->term);
	pack_u64(b, h->floor);
	cmap_addr_pack(&h->inner, b);
	cmap_addr_pack(&h->outer, b);
	pack_u64(b, h->life);
	pack_u64(b, h->nonce);
	pack_u8(b, h->flags);
	pack_u64(b, h->your_life);
	rc = pack_str(b, buf_str(&p));
out:
	buf_fini(&p);
	return rc;
}

int
msg_unpack(struct unpack *u, struct mmsg *ret, struct err *e)
{
	struct unpack p;

	memset(ret, 0, sizeof(*ret));
	if (unpack_u8(u) != 1)
		u->is_bad = true;
	ret->node = unpack_id(u);
	ret->group_id = unpack_id(u);
	ret->term = unpack_u64(u);
	ret->floor = unpack_u64(u);
	cmap_addr_unpack(u, &ret->inner);
	cmap_addr_unpack(u, &ret->outer);
	ret->life = unpack_u64(u);
	ret->nonce = unpack_u64(u);
	ret->flags = unpack_u8(u);
	ret->your_life = unpack_u64(u);
	p = unpack_of(unpack_str(u, MSHIP_PACKED));
	if (!u->is_bad && p.rest.len > 0) {
		mship_unpack(&p, &ret->mship);
		u->is_bad = p.is_bad || ret->mship.epoch == 0;
	}
	return unpack_end(u, e);
}

/* Another group of this name shows itself. */
static void
note_other(struct members *m, const struct mmsg *h)
{
	lock_take(&m->lock);
	if (m->s.now.epoch != 0 &&
	    !is_same_node(&h->group_id, &m->s.now.group_id))
		m->other = h->mship;
	lock_drop(&m->lock);
}

int
msg_take(struct members *m, const struct mmsg *h, struct err *e)
{
	struct member_addr a = { h->node, h->inner, h->outer };

	lock_take(&m->lock);
	addr_note(m, &a);
	lock_drop(&m->lock);
	if (h->mship.epoch == 0)
		return 0;
	note_other(m, h);
	return member_learn(m, &h->mship, h->floor, e);
}

static struct life *
life_of(struct mstate *s, const struct id128 *node)
{
	size_t at = s->n_lives;

	for (size_t i = 0; i < s->n_lives; i++) {
		if (is_same_node(&s->lives[i].node, node))
			return &s->lives[i];
	}
	/* In the place of one that is no member any more. */
	for (size_t i = 0; at == MEMBER_LIVES && i < s->n_lives; i++) {
		if (mship_find(&s->now, &s->lives[i].node) < 0)
			at = i;
	}
	MUST(at < MEMBER_LIVES);
	if (at == s->n_lives)
		s->n_lives++;
	s->lives[at] = (struct life){ .node = *node };
	return &s->lives[at];
}

/* 0: noted already; 1: a later one is known; -1: is to be noted. */
static int
life_check(struct life *l, uint64_t life, uint64_t nonce)
{
	if (l->count == life && l->nonce == nonce)
		return 0;
	return l->count >= life ? 1 : -1;
}

int
life_note(struct members *m, const struct id128 *node, uint64_t life,
    uint64_t nonce, uint64_t *ret_life, struct err *e)
{
	struct mstate s;
	struct life *l;
	int rc;

	state_get(m, &s);
	if (mship_find(&s.now, node) < 0)
		return 0;
	l = life_of(&s, node);
	rc = life_check(l, life, nonce);
	*ret_life = l->count;
	if (rc >= 0)
		return rc;
	rc = pen_take(m, e);
	if (rc < 0)
		return rc;
	state_get(m, &s);
	l = life_of(&s, node);
	rc = life_check(l, life, nonce);
	*ret_life = l->count;
	if (rc < 0) {
		l->count = life;
		l->nonce = nonce;
		rc = state_commit(m, &s, e);
	}
	pen_drop(m);
	return rc;
}

/* --- events, tasks --- */

void
member_event(struct members *m, int level, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->eo->event(m->env, level, text);
}

void
member_changed(struct members *m)
{
	if (m->c.changed != NULL)
		m->c.changed(m->c.arg);
}

bool
members_are_closing(struct members *m)
{
	bool closing;

	lock_take(&m->lock);
	closing = m->is_closing;
	lock_drop(&m->lock);
	return closing;
}

int
member_task(struct members *m, void (*fn)(void *arg), void *arg)
{
	int rc = 0;

	lock_take(&m->lock);
	if (m->is_closing)
		rc = ERR_CLOSED;
	else
		m->n_tasks++;
	lock_drop(&m->lock);
	if (rc == 0) {
		rc = m->eo->spawn(m->env, fn, arg, NULL);
		if (rc < 0)
			member_task_end(m);
	}
	return rc;
}

void
member_task_end(struct members *m)
{
	lock_take(&m->lock);
	MUST(m->n_tasks > 0);
	m->n_tasks--;
	lock_drop(&m->lock);
}

/* --- one call --- */

void
answer_fini(struct answer *a)
{
	buf_fini(&a->tail);
}

/* The answer's beginning, and what it tells. An answerer that has been put back
 * finds that out by itself; until then its word counts for nothing. */
static int
take_answer(struct members *m, struct rpc_reply *r, struct answer *ret,
    struct err *e)
{
	struct unpack u = unpack_of(buf_str(&r->args));
	uint64_t known;
	struct mmsg h;
	int rc;

	ret->epoch = r->epoch;
	rc = msg_unpack(&u, &h, e);
	if (rc == 0)
		rc = buf_adds(&ret->tail, u.rest);
	if (rc < 0)
		return rc;
	ret->node = h.node;
	ret->term = h.term;
	ret->flags = h.flags;
	lock_take(&m->lock);
	if ((h.flags & MSG_PUT_BACK) != 0 && h.your_life >= m->s.life) {
		m->put_back_life = h.your_life;
		m->is_ready = false;
	}
	lock_drop(&m->lock);
	rc = msg_take(m, &h, e);
	if (rc < 0)
		return rc;
	rc = life_note(m, &h.node, h.life, h.nonce, &known, e);
	if (rc == 1)
		rc = err_set(e, ERR_RETRY, "a node that was put back");
	return rc;
}

static int
call_raw(struct members *m, const struct fdfs_addr *to, unsigned op,
    uint64_t epoch, struct str args, int timeout_ms, struct rpc_reply *r,
    struct err *e)
{
	struct rpc_request q = { .op = op, .epoch = epoch, .args = args };

	return m->eo->call(m->env, to, &q, timeout_ms, r, e);
}

int
member_call(struct members *m, const struct fdfs_addr *to, unsigned op,
    uint64_t known, struct str tail, int timeout_ms, struct answer *ret,
    struct err *e)
{
	struct buf args = BUF_CAP(2 * MSHIP_PACKED);
	struct err ignored = ERR_INIT;
	struct rpc_reply r;
	struct mmsg h;
	uint64_t epoch;
	int rc, rc2;

	memset(ret, 0, sizeof(*ret));
	ret->tail = BUF_CAP(2 * MSHIP_PACKED);
	rpc_reply_init(&r);
	msg_fill(m, known, &h);
	lock_take(&m->lock);
	epoch = m->s.now.epoch;
	lock_drop(&m->lock);
	rc = msg_pack(&h, &args);
	if (rc == 0)
		rc = buf_adds(&args, tail);
	if (rc < 0)
		err_set(e, rc, "message");
	else
		rc = call_raw(m, to, op, epoch, buf_str(&args), timeout_ms, &r,
		    e);
	if (r.args.len > 0) {
		rc2 = take_answer(m, &r, ret, &ignored);
		if (rc == 0 && rc2 < 0) {
			rc = rc2;
			if (e != NULL)
				*e = ignored;
		}
	} else if (rc == 0) {
		rc = err_set(e, ERR_INVALID, "empty answer");
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc;
}

/* --- many calls --- */

struct mfan {
	struct members *m;
	unsigned op, refs; /* refs, and what follows: under m->lock */
	int timeout_ms;
	bool is_raw;
	struct buf tail;
	size_t n, n_done, next;
	struct mfan_bell {
		void *gate;
		unsigned refs;
	} * bell; /* of who waits */
	struct mfan_slot slot[MFAN_MAX];
};

struct mfan *
mfan_new(struct members *m, unsigned op, struct str tail, int timeout_ms)
{
	struct mfan *f = mem_zalloc(sizeof(*f));

	if (f == NULL)
		return NULL;
	f->m = m;
	f->op = op;
	f->refs = 1;
	f->timeout_ms = timeout_ms;
	f->tail = BUF_CAP(2 * MSHIP_PACKED);
	if (buf_adds(&f->tail, tail) < 0)
		mem_free(&f);
	return f;
}

void
mfan_be_raw(struct mfan *f)
{
	f->is_raw = true;
}

void
mfan_add(struct mfan *f, const struct id128 *node, const struct fdfs_addr *to,
    uint64_t known)
{
	if (f->n == MFAN_MAX)
		return;
	f->slot[f->n++] =
	    (struct mfan_slot){ .node = *node, .to = *to, .known = known };
}

/* What a member is known to know; 0. With the lock. */
static uint64_t
known_epoch(const struct members *m, const struct id128 *node)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		if (is_same_node(&m->peers[i].node, node))
			return m->peers[i].epoch;
	}
	return 0;
}

void
mfan_add_members(struct mfan *f, const struct mship *p)
{
	struct members *m = f->m;
	struct member_addr a;

	lock_take(&m->lock);
	for (size_t i = 0; i < p->n; i++) {
		const struct id128 *node = &p->v[i].m.node;

		if (is_same_node(node, &m->c.node))
			continue;
		if (!addr_of(m, node, &a))
			a.inner = p->v[i].m.inner;
		mfan_add(f, node, &a.inner, known_epoch(m, node));
	}
	lock_drop(&m->lock);
}

static void
mfan_free(struct mfan *f)
{
	for (size_t i = 0; i < f->n; i++)
		answer_fini(&f->slot[i].a);
	buf_fini(&f->tail);
	mem_free(&f);
}

static void
bell_drop(struct members *m, struct mfan_bell *b)
{
	bool is_last;

	if (b == NULL)
		return;
	lock_take(&m->lock);
	is_last = --b->refs == 0;
	lock_drop(&m->lock);
	if (!is_last)
		return;
	m->eo->gate_free(m->env, b->gate);
	mem_free(&b);
}

/* With the lock: the bell, to be rung and dropped without it. */
static struct mfan_bell *
take_bell(struct mfan *f)
{
	struct mfan_bell *b = f->bell;

	f->bell = NULL; /* its reference goes along */
	return b;
}

static void
ring(struct members *m, struct mfan_bell *b)
{
	if (b != NULL)
		m->eo->gate_signal(m->env, b->gate);
	bell_drop(m, b);
}

static void
slot_done(struct mfan *f, struct mfan_slot *s, int rc)
{
	struct members *m = f->m;
	struct mfan_bell *b;
	bool is_last;

	lock_take(&m->lock);
	s->rc = rc;
	s->is_done = true;
	f->n_done++;
	b = take_bell(f);
	is_last = --f->refs == 0;
	lock_drop(&m->lock);
	ring(m, b);
	if (is_last)
		mfan_free(f);
}

static void
mfan_task(void *arg)
{
	struct mfan *f = arg;
	struct members *m = f->m;
	struct mfan_slot *s;
	struct rpc_reply r;
	uint64_t epoch;
	int rc;

	lock_take(&m->lock);
	s = &f->slot[f->next++];
	epoch = m->s.now.epoch;
	lock_drop(&m->lock);
	if (f->is_raw) {
		rpc_reply_init(&r);
		rc = call_raw(m, &s->to, f->op, epoch, buf_str(&f->tail),
		    f->timeout_ms, &r, NULL);
		rpc_reply_fini(&r);
	} else {
		rc = member_call(m, &s->to, f->op, s->known, buf_str(&f->tail),
		    f->timeout_ms, &s->a, NULL);
	}
	slot_done(f, s, rc);
	member_task_end(m);
}

void
mfan_start(struct mfan *f)
{
	struct members *m = f->m;
	struct mfan_slot *s;

	for (size_t i = 0; i < f->n; i++) {
		lock_take(&m->lock);
		f->refs++;
		lock_drop(&m->lock);
		if (member_task(m, mfan_task, f) == 0)
			continue;
		lock_take(&m->lock);
		s = &f->slot[f->next++];
		lock_drop(&m->lock);
		slot_done(f, s, ERR_BUSY);
	}
}

void
mfan_wait(struct mfan *f, bool (*enough)(void *arg), void *arg, int64_t ms)
{
	struct members *m = f->m;
	int64_t end = member_now(m) + ms, left;
	struct mfan_bell *b, *old;
	bool is_over;

	for (;;) {
		left = end - member_now(m);
		b = mem_zalloc(sizeof(*b));
		if (b == NULL)
			return;
		b->gate = m->eo->gate_new(m->env);
		if (b->gate == NULL) {
			mem_free(&b);
			return;
		}
		b->refs = 2;
		lock_take(&m->lock);
		is_over = left <= 0 || m->is_closing || f->n_done == f->n ||
		          (enough != NULL && enough(arg));
		old = take_bell(f);
		if (!is_over)
			f->bell = b;
		else
			b->refs--;
		lock_drop(&m->lock);
		bell_drop(m, old);
		if (!is_over && !m->eo->gate_wait(m->env, b->gate, left) &&
		    member_now(m) < end)
			is_over = true; /* stopped */
		bell_drop(m, b);
		if (is_over)
			break;
	}
	lock_take(&m->lock);
	old = take_bell(f);
	lock_drop(&m->lock);
	bell_drop(m, old);
}

const struct mfan_slot *
mfan_slot(struct mfan *f, size_t i)
{
	bool is_done;

	MUST(i < f->n);
	lock_take(&f->m->lock);
	is_done = f->slot[i].is_done;
	lock_drop(&f->m->lock);
	return is_done ? &f->slot[i] : NULL;
}

const struct mfan_slot *
mfan_peek(const struct mfan *f, size_t i)
{
	MUST(i < f->n);
	return &f->slot[i];
}

size_t
mfan_size(const struct mfan *f)
{
	return f->n;
}

void
mfan_drop(struct mfan **fp)
{
	struct mfan *f = *fp;
	bool is_last;

	if (f == NULL)
		return;
	*fp = NULL;
	lock_take(&f->m->lock);
	is_last = --f->refs == 0;
	lock_drop(&f->m->lock);
	if (is_last)
		mfan_free(f);
}
