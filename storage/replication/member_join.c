/* storage/replication/member_join.c - how a node comes into its group: asks a
 * member, founds it, or is renewed after its disk was put back (I5). */
#include "storage/replication/member_int.h"

#include <stdio.h>

#define FOUND_MS 2000
#define FOUND_LEAVE_MS 20000 /* of the 30 s for which a tracker gives it */
#define TRY_MS 1000
#define JOIN_MS 8000
#define MAX_ASKED 8

static void
set_waiting(struct members *m, const char *text)
{
	bool news;

	lock_take(&m->lock);
	news = strcmp(m->waiting, text) != 0;
	snprintf(m->waiting, sizeof(m->waiting), "%s", text);
	lock_drop(&m->lock);
	if (news) {
		member_event(m, LOG_INFO, "group %s: %s", m->c.group, text);
		member_changed(m);
	}
}

/* --- answering --- */

static void
make_ready(struct members *m)
{
	bool news;

	lock_take(&m->lock);
	news = !m->is_ready;
	m->is_ready = true;
	lock_drop(&m->lock);
	if (news)
		member_changed(m);
}

/* The other one of two has lost its disk: nobody is left who could tell this
 * node what it may have forgotten. */
static void
be_ready_alone(struct members *m, const struct mstate *s)
{
	int64_t now = member_now(m);
	bool go;

	lock_take(&m->lock);
	go = !m->is_ready && m->put_back_life == 0 &&
	     now - m->born_ms > 3 * m->c.election_ms;
	lock_drop(&m->lock);
	if (go && paxos_resume(m, s, NULL) == 0)
		make_ready(m);
}

/* The node that holds the server ID now may be alive: then somebody gave the
 * same one to two. */
static bool
is_alive(struct members *m, const struct mship_member *old)
{
	struct member_addr a;
	struct answer ans;
	bool found;
	int rc;

	lock_take(&m->lock);
	found = addr_of(m, &old->m.node, &a);
	lock_drop(&m->lock);
	if (!found)
		return false;
	rc = member_call(m, &a.inner, RPC_MEMBERS, UINT64_MAX, STR_NULL, 1000,
	    &ans, NULL);
	found = (rc == 0 || ans.tail.len > 0) &&
	        is_same_node(&ans.node, &old->m.node);
	answer_fini(&ans);
	return found;
}

int
join_serve(struct members *m, const struct rpc_from *from, const struct mmsg *h,
    struct unpack *u, struct err *e)
{
	struct change c = { .kind = CHANGE_JOIN,
		.who = { .node = from->id,
		    .inner = h->inner,
		    .outer = h->outer } };
	struct mstate s;
	int at;

	c.who.server_id = unpack_u32(u);
	if (unpack_u8(u) != 0)
		c.kind = CHANGE_RENEW;
	if (u->is_bad || is_nobody(&from->id) || c.who.server_id == 0)
		return err_set(e, ERR_INVALID, "who wants to join?");
	state_get(m, &s);
	if (s.now.epoch == 0)
		return err_set(e, ERR_RETRY, "this node is no member itself");
	if (c.kind == CHANGE_RENEW) {
		at = mship_find(&s.now, &from->id);
		c.since = at < 0 ? 0 : s.now.v[at].since;
		return member_change(m, &c, JOIN_MS - 2000, e);
	}
	at = mship_find_server(&s.now, c.who.server_id);
	if (at >= 0 && !is_same_node(&s.now.v[at].m.node, &from->id) &&
	    !mship_is_removed(&s.now, &from->id) && is_alive(m, &s.now.v[at]))
		return err_set(e, ERR_EXISTS,
		    "another node lives with server ID %u", c.who.server_id);
	if (at >= 0 && s.now.n == 2 &&
	    mship_find(&s.now, &m->c.node) == 1 - at &&
	    mship_find(&s.now, &from->id) < 0 &&
	    !mship_is_removed(&s.now, &from->id))
		be_ready_alone(m, &s);
	return member_change(m, &c, JOIN_MS - 2000, e);
}

/* --- asking members --- */

/* Some nodes whose addresses are known, in any order. */
static size_t
whom_to_ask(struct members *m, struct member_addr ret[MAX_ASKED])
{
	uint64_t turn = m->eo->random(m->env);
	size_t n = 0;

	lock_take(&m->lock);
	for (size_t i = 0; i < m->n_addrs && n < MAX_ASKED; i++)
		ret[n++] = m->addrs[(turn + i) % m->n_addrs];
	lock_drop(&m->lock);
	return n;
}

static int
ask_to_join(struct members *m, const struct member_addr *a, bool renew,
    struct err *e)
{
	struct buf tail = BUF_CAP(16);
	struct answer ans;
	int rc = pack_u32(&tail, m->c.server_id);

	if (rc == 0)
		rc = pack_u8(&tail, renew);
	rc = rc < 0 ? rc
	            : member_call(m, &a->inner, RPC_JOIN, 0, buf_str(&tail),
			  JOIN_MS, &ans, e);
	answer_fini(&ans);
	buf_fini(&tail);
	return rc;
}

static bool
is_member(struct members *m)
{
	bool yes;

	lock_take(&m->lock);
	yes = mship_find(&m->s.now, &m->c.node) >= 0;
	lock_drop(&m->lock);
	return yes;
}

/* True: it is one now, or knows why not. */
static bool
try_members(struct members *m)
{
	struct member_addr a[MAX_ASKED];
	char text[CMAP_REASON];
	struct err e = ERR_INIT;
	size_t n = whom_to_ask(m, a);
	bool told = false;
	int rc;

	for (size_t i = 0; i < n && !members_are_closing(m); i++) {
		rc = ask_to_join(m, &a[i], false, &e);
		if (is_member(m))
			return true;
		if (rc == 0 || rc == ERR_DISCONNECTED || rc == ERR_CLOSED ||
		    rc == ERR_RETRY)
			continue; /* gone, or blank itself */
		snprintf(text, sizeof(text), "joining: %.140s", e.msg);
		set_waiting(m, text);
		told = true;
	}
	return told;
}

/* --- founding --- */

/* 0: it is founded. */
static int
found(struct members *m, struct err *e)
{
	struct mstate s;
	struct cmap_member self = { .node = m->c.node,
		.server_id = m->c.server_id,
		.inner = m->c.inner,
		.outer = m->c.outer };
	uint64_t a = m->eo->random(m->env), b = m->eo->random(m->env);
	int64_t now;
	int rc = pen_take(m, e);

	if (rc < 0)
		return rc;
	state_get(m, &s);
	if (s.now.epoch != 0) {
		pen_drop(m);
		return 0;
	}
	s.now = (struct mship){ .epoch = 1 };
	memcpy(s.now.group_id.b, &a, sizeof(a));
	memcpy(s.now.group_id.b + sizeof(a), &b, sizeof(b));
	mship_add(&s.now, &self);
	rc = state_commit(m, &s, e);
	now = member_now(m);
	lock_take(&m->lock);
	if (rc == 0)
		election_forget(m, now);
	lock_drop(&m->lock);
	pen_drop(m);
	return rc;
}

/* What tracker @i says; ERR_DISCONNECTED when it says nothing. */
static int
ask_tracker(struct members *m, struct str args, size_t i)
{
	const struct id128 nobody = { { 0 } };
	const struct mfan_slot *s;
	struct mfan *f = mfan_new(m, RPC_FOUND, args, FOUND_MS);
	int rc;

	if (f == NULL)
		return ERR_NO_MEMORY;
	mfan_be_raw(f);
	mfan_add(f, &nobody, &m->c.trackers[i], 0);
	mfan_start(f);
	mfan_wait(f, NULL, NULL, FOUND_MS + 100);
	s = mfan_slot(f, 0);
	rc = s == NULL ? ERR_DISCONNECTED : s->rc;
	mfan_drop(&f);
	return rc;
}

/* 1: leave was given. One after the other, in the order of the setting, which
 * is the same at all nodes, and no further than to one that gave its leave to
 * another node or listens first: were all asked at once, two nodes could hold
 * the leave of half of them each, and renew it for ever. */
static int
ask_trackers(struct members *m, size_t *ret_yes, size_t *ret_exists)
{
	struct buf args = BUF_CAP(64);
	int rc = pack_str(&args, str_of(m->c.group));

	if (rc == 0)
		rc = pack_id(&args, &m->c.node);
	if (rc == 0)
		rc = pack_u32(&args, m->c.server_id);
	*ret_yes = *ret_exists = 0;
	for (size_t i = 0; rc == 0 && i < m->c.n_trackers; i++) {
		int said = ask_tracker(m, buf_str(&args), i);

		*ret_yes += said == 0;
		*ret_exists += said == ERR_EXISTS;
		if (said == ERR_BUSY || said == ERR_RETRY)
			break;
		if (said == ERR_NO_MEMORY)
			rc = said;
	}
	buf_fini(&args);
	return rc < 0 ? rc : *ret_yes >= members_majority(m->c.n_trackers);
}

static void
try_founding(struct members *m)
{
	int64_t begin = member_now(m);
	char text[CMAP_REASON];
	struct err e = ERR_INIT;
	size_t yes = 0, exists = 0;

	if (m->c.n_trackers == 0) {
		set_waiting(m, "no trackers are configured, and no member is "
			       "known");
		return;
	}
	if (ask_trackers(m, &yes, &exists) != 1) {
		if (exists > 0)
			snprintf(text, sizeof(text),
			    "the group exists; none of its members can be "
			    "reached");
		else
			snprintf(text, sizeof(text),
			    "%zu of %zu trackers give leave to found the "
			    "group, %zu are needed",
			    yes, m->c.n_trackers,
			    members_majority(m->c.n_trackers));
		set_waiting(m, text);
		return;
	}
	if (member_now(m) - begin > FOUND_LEAVE_MS)
		return;
	if (found(m, &e) < 0) {
		set_waiting(m, e.msg);
		return;
	}
	member_event(m, LOG_INFO, "group %s: founded", m->c.group);
	member_changed(m);
}

void
join_step(struct members *m)
{
	int64_t now = member_now(m),
		next = now + TRY_MS + (int64_t)(m->eo->random(m->env) % TRY_MS);
	bool go;

	lock_take(&m->lock);
	go = now >= m->try_ms;
	if (go)
		m->try_ms = next;
	lock_drop(&m->lock);
	if (go && !try_members(m))
		try_founding(m);
}

/* --- after a start: I5 --- */

/* Asks to be renewed, and lives on behind the life that it had forgotten. */
static void
renew(struct members *m, uint64_t forgotten)
{
	struct member_addr a[MAX_ASKED];
	struct mstate s;
	uint64_t since;
	size_t n;
	int at, rc;

	rc = pen_take(m, NULL);
	if (rc < 0)
		return;
	state_get(m, &s);
	at = mship_find(&s.now, &m->c.node);
	since = at < 0 ? 0 : s.now.v[at].since;
	if (s.life <= forgotten) {
		s.life = forgotten + 1;
		rc = state_commit(m, &s, NULL);
	}
	pen_drop(m);
	if (rc < 0)
		return;
	member_event(m, LOG_WARN,
	    "group %s: the disk of this node was put back to an older state",
	    m->c.group);
	n = whom_to_ask(m, a);
	for (size_t i = 0; i < n && !members_are_closing(m); i++) {
		if (ask_to_join(m, &a[i], true, NULL) < 0)
			continue;
		state_get(m, &s);
		at = mship_find(&s.now, &m->c.node);
		if (at >= 0 && s.now.v[at].since > since) {
			lock_take(&m->lock);
			m->put_back_life = 0;
			lock_drop(&m->lock);
			make_ready(m);
			return;
		}
	}
}

/* False: of another epoch, or no answer. */
static bool
take_known(struct mstate *seen, const struct answer *a)
{
	struct unpack u = unpack_of(buf_str(&a->tail));
	struct fdfs_addr addr;
	struct mstate *other;
	uint32_t n = unpack_u32(&u);
	bool ok;

	for (uint32_t i = 0; i < n && !u.is_bad; i++) {
		(void)unpack_id(&u);
		cmap_addr_unpack(&u, &addr);
		cmap_addr_unpack(&u, &addr);
	}
	other = mem_zalloc(sizeof(*other));
	if (other == NULL)
		return false;
	paxos_unpack(&u, other);
	ok = !u.is_bad && a->epoch == seen->now.epoch;
	if (ok)
		paxos_merge(seen, other);
	if (ok && a->term > seen->term)
		seen->term = a->term;
	mem_free(&other);
	return ok;
}

void
ready_step(struct members *m)
{
	int64_t now = member_now(m);
	struct mstate s, seen;
	struct mfan *f;
	uint64_t forgotten;
	size_t heard = 1;
	bool go;

	state_get(m, &s);
	seen = s;
	lock_take(&m->lock);
	forgotten = m->put_back_life;
	go = (!m->is_ready || forgotten != 0) && now >= m->try_ms;
	if (go)
		m->try_ms = now + m->c.election_ms / 2;
	lock_drop(&m->lock);
	if (!go || mship_find(&s.now, &m->c.node) < 0)
		return;
	if (forgotten != 0) {
		renew(m, forgotten);
		return;
	}
	f = mfan_new(m, RPC_MEMBERS, STR_NULL, m->c.election_ms);
	if (f == NULL)
		return;
	mfan_add_members(f, &s.now);
	mfan_start(f);
	mfan_wait(f, NULL, NULL, m->c.election_ms);
	for (size_t i = 0; i < mfan_size(f); i++) {
		const struct mfan_slot *a = mfan_slot(f, i);

		if (a != NULL && a->rc == 0 && take_known(&seen, &a->a))
			heard++;
	}
	mfan_drop(&f);
	lock_take(&m->lock);
	forgotten = m->put_back_life;
	go = forgotten == 0 &&
	     (heard == s.now.n || (heard >= members_majority(s.now.n) &&
				      now - m->born_ms > 3 * m->c.election_ms));
	lock_drop(&m->lock);
	if (forgotten != 0)
		renew(m, forgotten);
	else if (go && paxos_resume(m, &seen, NULL) == 0)
		make_ready(m);
}

/* --- M5: two that founded the same --- */

static bool
has_files(struct members *m)
{
	static const uint8_t from[ENGINE_KEY];
	struct engine_digest d;
	uint8_t to[ENGINE_KEY];

	memset(to, 0xff, sizeof(to));
	/* What cannot be read may hold something. */
	return m->so->digest(m->st, from, to, &d, NULL) < 0 || d.n > 0;
}

void
give_up_step(struct members *m)
{
	struct mship other;
	struct mstate s;
	bool go;
	int rc;

	lock_take(&m->lock);
	other = m->other;
	m->other.epoch = 0;
	go = other.epoch != 0 && m->s.now.n == 1 &&
	     mship_find(&m->s.now, &m->c.node) >= 0 &&
	     !is_same_node(&other.group_id, &m->s.now.group_id) &&
	     (other.n > 1 || memcmp(other.group_id.b, m->s.now.group_id.b,
				 sizeof(other.group_id.b)) < 0);
	lock_drop(&m->lock);
	if (!go || m->c.has_files || has_files(m))
		return;
	rc = pen_take(m, NULL);
	if (rc < 0)
		return;
	state_get(m, &s);
	if (s.now.n == 1 && !s.has_accepted) {
		struct mstate blank = { .life = s.life };

		rc = state_commit(m, &blank, NULL);
		go = rc == 0;
	} else {
		go = false;
	}
	pen_drop(m);
	if (!go)
		return;
	lock_take(&m->lock);
	m->leads = false;
	m->leader = (struct id128){ 0 };
	m->n_peers = 0;
	lock_drop(&m->lock);
	member_event(m, LOG_WARN,
	    "group %s: gives up the one it had founded, for another of that "
	    "name",
	    m->c.group);
	member_changed(m);
}
