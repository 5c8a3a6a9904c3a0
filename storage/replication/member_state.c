/* storage/replication/member_state.c - memberships, the durable state, and the
 * pen that it is written with. */
#include "storage/replication/member_int.h"

#include "lib/bytes.h"
#include "lib/hash.h"

#define STATE_FILE "members"
#define ADDRS_FILE "peers"
#define STATE_VERSION 1
#define STATE_MAX (4 * MSHIP_PACKED)

/* --- memberships --- */

int
mship_pack(const struct mship *p, struct buf *b)
{
	int rc = pack_u8(b, 1);

	if (rc == 0)
		rc = pack_id(b, &p->group_id);
	if (rc == 0)
		rc = pack_u64(b, p->epoch);
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)p->n);
	for (size_t i = 0; i < p->n && rc == 0; i++) {
		rc = pack_id(b, &p->v[i].m.node);
		if (rc == 0)
			rc = pack_u32(b, p->v[i].m.server_id);
		if (rc == 0)
			rc = pack_u64(b, p->v[i].since);
		if (rc == 0)
			rc = cmap_addr_pack(&p->v[i].m.inner, b);
		if (rc == 0)
			rc = cmap_addr_pack(&p->v[i].m.outer, b);
	}
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)p->n_removed);
	for (size_t i = 0; i < p->n_removed && rc == 0; i++)
		rc = pack_id(b, &p->removed[i]);
	return rc;
}

void
mship_unpack(struct unpack *u, struct mship *ret)
{
	uint32_t n;

	memset(ret, 0, sizeof(*ret));
	if (unpack_u8(u) != 1)
		u->is_bad = true;
	ret->group_id = unpack_id(u);
	ret->epoch = unpack_u64(u);
	n = unpack_u32(u);
	if (n > CMAP_MEMBERS)
		u->is_bad = true;
	for (size_t i = 0; i < n && !u->is_bad; i++) {
		ret->v[i].m.node = unpack_id(u);
		ret->v[i].m.server_id = unpack_u32(u);
		ret->v[i].since = unpack_u64(u);
		cmap_addr_unpack(u, &ret->v[i].m.inner);
		cmap_addr_unpack(u, &ret->v[i].m.outer);
		/* In order, each once. */
		if (i > 0 && ret->v[i].m.server_id <= ret->v[i - 1].m.server_id)
			u->is_bad = true;
		ret->n++;
	}
	n = unpack_u32(u);
	if (n > MSHIP_REMOVED)
		u->is_bad = true;
	for (size_t i = 0; i < n && !u->is_bad; i++)
		ret->removed[ret->n_removed++] = unpack_id(u);
}

int
mship_find(const struct mship *p, const struct id128 *node)
{
	for (size_t i = 0; i < p->n; i++) {
		if (is_same_node(&p->v[i].m.node, node))
			return (int)i;
	}
	return -1;
}

int
mship_find_server(const struct mship *p, uint32_t server_id)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].m.server_id == server_id)
			return (int)i;
	}
	return -1;
}

bool
mship_is_removed(const struct mship *p, const struct id128 *node)
{
	for (size_t i = 0; i < p->n_removed; i++) {
		if (is_same_node(&p->removed[i], node))
			return true;
	}
	return false;
}

void
mship_add(struct mship *p, const struct cmap_member *m)
{
	size_t at = 0;

	MUST(p->n < CMAP_MEMBERS);
	while (at < p->n && p->v[at].m.server_id < m->server_id)
		at++;
	memmove(&p->v[at + 1], &p->v[at], (p->n - at) * sizeof(p->v[0]));
	p->v[at] = (struct mship_member){ *m, p->epoch };
	p->n++;
}

void
mship_remove(struct mship *p, size_t at)
{
	MUST(at < p->n);
	if (p->n_removed == MSHIP_REMOVED) {
		p->n_removed--;
		memmove(&p->removed[0], &p->removed[1],
		    p->n_removed * sizeof(p->removed[0]));
	}
	p->removed[p->n_removed++] = p->v[at].m.node;
	p->n--;
	memmove(&p->v[at], &p->v[at + 1], (p->n - at) * sizeof(p->v[0]));
	memset(&p->v[p->n], 0, sizeof(p->v[0]));
}

int
ballot_cmp(const struct ballot *a, const struct ballot *b)
{
	if (a->round != b->round)
		return a->round < b->round ? -1 : 1;
	return memcmp(a->node.b, b->node.b, sizeof(a->node.b));
}

int
ballot_pack(const struct ballot *a, struct buf *b)
{
	int rc = pack_u64(b, a->round);

	return rc < 0 ? rc : pack_id(b, &a->node);
}

void
ballot_unpack(struct unpack *u, struct ballot *ret)
{
	ret->round = unpack_u64(u);
	ret->node = unpack_id(u);
}

/* --- the pen --- */

/* Neither the lock nor the queue holds @w any more. */
static void
waiter_free(struct members *m, struct pen_waiter *w)
{
	m->eo->gate_free(m->env, w->gate);
	mem_free(&w);
}

static struct pen_waiter *
waiter_new(struct members *m)
{
	struct pen_waiter *w = mem_zalloc(sizeof(*w));

	if (w == NULL)
		return NULL;
	w->gate = m->eo->gate_new(m->env);
	if (w->gate == NULL)
		mem_free(&w);
	return w;
}

/* With the lock. False: the pen was free. */
static bool
queue_up(struct members *m, struct pen_waiter *w)
{
	struct pen_waiter **pp;

	if (!m->is_busy) {
		m->is_busy = true;
		return false;
	}
	for (pp = &m->first; *pp != NULL; pp = &(*pp)->next)
		;
	*pp = w;
	w->refs = 2;
	return true;
}

/* With the lock: it was given the pen, or waits no longer. */
static void
leave_queue(struct members *m, struct pen_waiter *w)
{
	struct pen_waiter **pp;

	w->refs--;
	for (pp = &m->first; *pp != NULL; pp = &(*pp)->next) {
		if (*pp == w) {
			*pp = w->next;
			w->refs--;
			return;
		}
	}
}

int
pen_take(struct members *m, struct err *e)
{
	struct pen_waiter *w;
	bool is_free, has_it, is_last;

	lock_take(&m->lock);
	is_free = !m->is_busy;
	m->is_busy = true;
	lock_drop(&m->lock);
	if (is_free)
		return 0;
	w = waiter_new(m);
	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, "pen");
	lock_take(&m->lock);
	is_free = !queue_up(m, w);
	lock_drop(&m->lock);
	if (is_free) {
		waiter_free(m, w);
		return 0;
	}
	/* Writing takes what a disk takes: a long wait means that it hangs. */
	(void)m->eo->gate_wait(m->env, w->gate, 60000);
	lock_take(&m->lock);
	has_it = w->has_it;
	leave_queue(m, w);
	is_last = w->refs == 0;
	lock_drop(&m->lock);
	if (is_last)
		waiter_free(m, w);
	return has_it ? 0 : err_set(e, ERR_CLOSED, "this node is stopping");
}

void
pen_drop(struct members *m)
{
	struct pen_waiter *w;
	bool is_last;

	lock_take(&m->lock);
	MUST(m->is_busy);
	w = m->first;
	if (w == NULL) {
		m->is_busy = false;
	} else {
		m->first = w->next;
		w->has_it = true; /* the pen stays busy: it is handed on */
	}
	lock_drop(&m->lock);
	if (w == NULL)
		return;
	m->eo->gate_signal(m->env, w->gate);
	lock_take(&m->lock);
	is_last = --w->refs == 0;
	lock_drop(&m->lock);
	if (is_last)
		waiter_free(m, w);
}

void
state_get(struct members *m, struct mstate *ret)
{
	lock_take(&m->lock);
	*ret = m->s;
	lock_drop(&m->lock);
}

/* --- files: version, length of the rest, the rest, its XXH3 --- */

static int
file_save(struct members *m, const char *name, struct str rest, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX + 64);
	int rc = pack_u32(&b, STATE_VERSION);

	if (rc == 0)
		rc = pack_str(&b, rest);
	if (rc == 0)
		rc = pack_u64(&b, hash_xxh3(0, rest.p, rest.len));
	if (rc < 0)
		err_set(e, rc, "%s", name);
	else
		rc = m->so->save(m->st, name, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

/* The rest; appended to @b. */
static int
file_load(struct members *m, const char *name, struct buf *b, struct str *ret,
    struct err *e)
{
	struct unpack u;
	uint32_t version;
	int rc = m->so->load(m->st, name, b, e);

	if (rc < 0)
		return rc;
	u = unpack_of(buf_str(b));
	version = unpack_u32(&u);
	if (!u.is_bad && version != STATE_VERSION)
		return err_set(e, ERR_VERSION, "%s: version %u", name, version);
	*ret = unpack_str(&u, STATE_MAX);
	if (unpack_u64(&u) != hash_xxh3(0, ret->p, ret->len) || u.is_bad)
		return err_set(e, ERR_CORRUPT, "%s: checksum", name);
	return 0;
}

static int
state_pack(const struct members *m, const struct mstate *s, struct buf *b)
{
	int rc = buf_reserve(b, STATE_MAX);

	if (rc < 0)
		return rc;
	pack_id(b, &m->c.node);
	mship_pack(&s->now, b);
	pack_u64(b, s->floor);
	pack_u64(b, s->term);
	pack_id(b, &s->voted_for);
	ballot_pack(&s->promised, b);
	ballot_pack(&s->accepted_by, b);
	pack_u8(b, s->has_accepted);
	if (s->has_accepted)
		mship_pack(&s->accepted, b);
	pack_u64(b, s->life);
	pack_u32(b, (uint32_t)s->n_lives);
	for (size_t i = 0; i < s->n_lives; i++) {
		pack_id(b, &s->lives[i].node);
		pack_u64(b, s->lives[i].count);
		pack_u64(b, s->lives[i].nonce);
	}
	return pack_str(b, str_of(m->c.group));
}

/* These settings stay what they were: the disks belong to that member. */
static int
check_settings(const struct members *m, struct str group, struct err *e)
{
	int at = mship_find(&m->s.now, &m->c.node);

	if (m->s.now.epoch != 0 && group.len > 0 && !str_eqz(group, m->c.group))
		return err_set(e, ERR_CONFIG,
		    "the disks of this node belong to group " STR_FMT
		    ", not to %s",
		    STR_ARG(group), m->c.group);
	if (at >= 0 && m->s.now.v[at].m.server_id != m->c.server_id)
		return err_set(e, ERR_CONFIG,
		    "the disks of this node belong to server %u, not to %u",
		    m->s.now.v[at].m.server_id, m->c.server_id);
	return 0;
}

static void
state_unpack(struct unpack *u, struct id128 *ret_node, struct mstate *s)
{
	uint32_t n;

	*ret_node = unpack_id(u);
	mship_unpack(u, &s->now);
	s->floor = unpack_u64(u);
	s->term = unpack_u64(u);
	s->voted_for = unpack_id(u);
	ballot_unpack(u, &s->promised);
	ballot_unpack(u, &s->accepted_by);
	s->has_accepted = unpack_u8(u) != 0;
	if (s->has_accepted)
		mship_unpack(u, &s->accepted);
	s->life = unpack_u64(u);
	n = unpack_u32(u);
	if (n > MEMBER_LIVES)
		u->is_bad = true;
	for (size_t i = 0; i < n && !u->is_bad; i++) {
		s->lives[i].node = unpack_id(u);
		s->lives[i].count = unpack_u64(u);
		s->lives[i].nonce = unpack_u64(u);
		s->n_lives++;
	}
}

int
state_commit(struct members *m, const struct mstate *s, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX);
	int rc;

	rc = state_pack(m, s, &b);
	if (rc < 0)
		err_set(e, rc, "state of the group");
	else
		rc = file_save(m, STATE_FILE, buf_str(&b), e);
	buf_fini(&b);
	if (rc < 0)
		return rc;
	lock_take(&m->lock);
	MUST(m->is_busy);
	MUST(s->now.epoch == 0 ||
	     (s->term >= m->s.term && s->now.epoch >= m->s.now.epoch));
	m->s = *s;
	lock_drop(&m->lock);
	return 0;
}

int
state_load(struct members *m, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX + 64);
	struct id128 node;
	struct str rest, group = STR_NULL;
	struct unpack u;
	int rc;

	memset(&m->s, 0, sizeof(m->s));
	rc = file_load(m, STATE_FILE, &b, &rest, e);
	if (rc == 0) {
		u = unpack_of(rest);
		state_unpack(&u, &node, &m->s);
		if (u.rest.len > 0)
			group = unpack_str(&u, FDFS_GROUP_LEN);
		rc = unpack_end(&u, e);
		/* Of another disk: that one's votes are not this node's. */
		if (rc == 0 && !is_same_node(&node, &m->c.node))
			memset(&m->s, 0, sizeof(m->s));
		if (rc == 0)
			rc = check_settings(m, group, e);
	} else if (rc == ERR_NOT_FOUND) {
		rc = 0;
	}
	buf_fini(&b);
	return rc;
}

/* --- addresses --- */

bool
addr_of(const struct members *m, const struct id128 *node,
    struct member_addr *ret)
{
	int at;

	for (size_t i = 0; i < m->n_addrs; i++) {
		if (is_same_node(&m->addrs[i].node, node)) {
			*ret = m->addrs[i];
			return true;
		}
	}
	at = mship_find(&m->s.now, node);
	if (at < 0 || m->s.now.v[at].m.inner.ip[0] == '\0')
		return false;
	*ret = (struct member_addr){ *node, m->s.now.v[at].m.inner,
		m->s.now.v[at].m.outer };
	return true;
}

/* Where another may go: one of no member, else none (-1). */
static int
addr_room(struct members *m)
{
	if (m->n_addrs < MEMBER_ADDRS)
		return (int)m->n_addrs++;
	for (size_t i = 0; i < m->n_addrs; i++) {
		if (mship_find(&m->s.now, &m->addrs[i].node) < 0)
			return (int)i;
	}
	return -1;
}

void
addr_note(struct members *m, const struct member_addr *a)
{
	int at = -1;

	if (is_nobody(&a->node) || is_same_node(&a->node, &m->c.node) ||
	    a->inner.ip[0] == '\0' || a->inner.port == 0)
		return;
	for (size_t i = 0; i < m->n_addrs && at < 0; i++) {
		if (is_same_node(&m->addrs[i].node, &a->node))
			at = (int)i;
	}
	if (at >= 0 && fdfs_addr_eq(&m->addrs[at].inner, &a->inner) &&
	    fdfs_addr_eq(&m->addrs[at].outer, &a->outer))
		return;
	if (at < 0)
		at = addr_room(m);
	if (at < 0)
		return;
	m->addrs[at] = *a;
	m->addrs_changed = true;
}

int
addrs_save(struct members *m, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX);
	int rc;

	lock_take(&m->lock);
	m->addrs_changed = false;
	rc = pack_u32(&b, (uint32_t)m->n_addrs);
	for (size_t i = 0; i < m->n_addrs && rc == 0; i++) {
		rc = pack_id(&b, &m->addrs[i].node);
		if (rc == 0)
			rc = cmap_addr_pack(&m->addrs[i].inner, &b);
		if (rc == 0)
			rc = cmap_addr_pack(&m->addrs[i].outer, &b);
	}
	lock_drop(&m->lock);
	if (rc == 0)
		rc = file_save(m, ADDRS_FILE, buf_str(&b), e);
	else
		err_set(e, rc, "addresses of peers");
	buf_fini(&b);
	return rc;
}

/* Hints: a spoilt file is none. */
int
addrs_load(struct members *m, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX + 64);
	struct member_addr a;
	struct unpack u;
	struct str rest;
	uint32_t n;
	int rc;

	rc = file_load(m, ADDRS_FILE, &b, &rest, e);
	if (rc == 0) {
		u = unpack_of(rest);
		n = unpack_u32(&u);
		for (size_t i = 0; i < n && !u.is_bad; i++) {
			a.node = unpack_id(&u);
			cmap_addr_unpack(&u, &a.inner);
			cmap_addr_unpack(&u, &a.outer);
			if (!u.is_bad)
				addr_note(m, &a);
		}
		m->addrs_changed = false;
	}
	buf_fini(&b);
	return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT || rc == ERR_VERSION
	           ? 0
	           : rc;
}
