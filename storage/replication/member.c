/* storage/replication/member.c - membership as others see it: opening, asking,
 * the operations, and the task that looks after it all. */
#include "storage/replication/member_int.h"

#include <stdio.h>

#define GREET_MS 5000 /* between questions to nodes that are not heard */

/* --- the task --- */

/* Leader, and whether it is this node, as one number. */
static int64_t
leader_number(struct members *m, int64_t now)
{
	int64_t n;

	lock_take(&m->lock);
	if (m->leads)
		n = election_is_leader(m, now) ? CMAP_MEMBERS : -1;
	else if (now - m->heard_ms < 2 * m->c.election_ms)
		n = mship_find(&m->s.now, &m->leader);
	else
		n = -1;
	n = n * 1000 + (m->s.has_accepted ? 500 : 0);
	lock_drop(&m->lock);
	return n;
}

/* A node that says nothing for long is asked: addresses, another epoch, another
 * group of this name. */
static void
greet_one(struct members *m)
{
	uint64_t turn = m->eo->random(m->env);
	struct answer ans;
	struct fdfs_addr to;
	uint64_t epoch = 0;
	bool go;

	lock_take(&m->lock);
	go = m->n_addrs > 0;
	if (go)
		to = m->addrs[turn % m->n_addrs].inner;
	epoch = m->s.now.epoch;
	lock_drop(&m->lock);
	if (!go)
		return;
	(void)member_call(m, &to, RPC_MEMBERS, epoch, STR_NULL,
	    m->c.election_ms, &ans, NULL);
	answer_fini(&ans);
}

static void
greet_task(void *arg)
{
	struct members *m = arg;

	while (m->eo->sleep(m->env,
	    GREET_MS / 2 + (int64_t)(m->eo->random(m->env) % GREET_MS))) {
		if (members_are_closing(m))
			break;
		greet_one(m);
	}
	member_task_end(m);
}

static void
step(struct members *m)
{
	bool blank, save;

	lock_take(&m->lock);
	blank = m->s.now.epoch == 0;
	save = m->addrs_changed;
	lock_drop(&m->lock);
	if (blank) {
		join_step(m);
	} else {
		ready_step(m);
		election_step(m);
		give_up_step(m);
	}
	/* Hints: what is lost is learnt again. */
	if (save)
		(void)addrs_save(m, NULL);
}

static void
main_task(void *arg)
{
	struct members *m = arg;
	int64_t number;
	bool news;

	while (m->eo->sleep(m->env, m->c.election_ms / 10)) {
		if (members_are_closing(m))
			break;
		step(m);
		number = leader_number(m, member_now(m));
		lock_take(&m->lock);
		news = number != m->last_leader;
		m->last_leader = number;
		lock_drop(&m->lock);
		if (news)
			member_changed(m);
	}
	member_task_end(m);
}

/* --- opening --- */

/* A start has a number of its own (I5). */
static int
begin_life(struct members *m, struct err *e)
{
	struct mstate s = m->s;
	int rc = pen_take(m, e);

	if (rc < 0)
		return rc;
	s.life++;
	rc = state_commit(m, &s, e);
	pen_drop(m);
	return rc;
}

int
members_open(const struct members_conf *c, struct members **ret, struct err *e)
{
	struct members *m = mem_zalloc(sizeof(*m));
	int rc;

	if (m == NULL)
		return err_set(e, ERR_NO_MEMORY, "membership");
	MUST(c->n_trackers <= FDFS_MAX_TRACKERS && c->server_id != 0);
	m->magic = MEMBERS_MAGIC;
	m->c = *c;
	if (m->c.election_ms == 0)
		m->c.election_ms = 1000;
	m->so = c->env.store_ops;
	m->st = c->env.store;
	m->eo = c->env.ops;
	m->env = c->env.env;
	lock_init(&m->lock, LOCK_RANK_LEAF);
	snprintf(m->waiting, sizeof(m->waiting), "has just started");
	m->nonce = m->eo->random(m->env);
	m->born_ms = m->heard_ms = m->accepted_ms = member_now(m);
	m->backed_ms = m->born_ms - m->c.election_ms;
	m->elect_ms =
	    m->born_ms + m->c.election_ms +
	    (int64_t)(m->eo->random(m->env) % (uint64_t)m->c.election_ms);
	rc = state_load(m, e);
	if (rc == 0)
		rc = addrs_load(m, e);
	if (rc == 0)
		rc = begin_life(m, e);
	if (rc < 0)
		goto out;
	/* Not asked for of a founder; of who joins, see member_learn(). */
	m->is_ready = m->s.now.epoch == 0;
	election_forget(m, m->born_ms - m->c.election_ms);
	m->heard_ms = m->born_ms; /* V2 of election.c */
	m->elect_ms = m->born_ms + m->c.election_ms;
	rc = member_task(m, main_task, m);
	if (rc == 0)
		rc = member_task(m, greet_task, m);
	if (rc < 0) {
		err_set(e, rc, "tasks of membership");
		members_close(&m);
		return rc;
	}
	*ret = m;
	return 0;
out:
	lock_fini(&m->lock);
	mem_free(&m);
	return rc;
}

void
members_close(struct members **mp)
{
	struct members *m = *mp;
	bool over;

	if (m == NULL)
		return;
	OBJ_CHECK(m, MEMBERS_MAGIC);
	*mp = NULL;
	for (;;) {
		lock_take(&m->lock);
		m->is_closing = true;
		over = m->n_tasks == 0;
		lock_drop(&m->lock);
		if (over)
			break;
		(void)m->eo->sleep(m->env, 5);
	}
	lock_fini(&m->lock);
	mem_free(&m);
}

/* --- looking --- */

static void
fill_member(const struct members *m, size_t i, struct cmap_member *ret)
{
	struct member_addr a;

	*ret = m->s.now.v[i].m;
	if (is_same_node(&ret->node, &m->c.node)) {
		ret->inner = m->c.inner;
		ret->outer = m->c.outer;
	} else if (addr_of(m, &ret->node, &a)) {
		ret->inner = a.inner;
		ret->outer = a.outer;
	}
}

void
members_get(struct members *m, struct member_view *ret)
{
	int64_t now;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	now = member_now(m);
	memset(ret, 0, sizeof(*ret));
	lock_take(&m->lock);
	ret->group_id = m->s.now.group_id;
	ret->epoch = m->s.now.epoch;
	ret->term = m->s.term;
	ret->n = m->s.now.n;
	for (size_t i = 0; i < ret->n; i++) {
		fill_member(m, i, &ret->m[i]);
		ret->since[i] = m->s.now.v[i].since;
	}
	ret->self = mship_find(&m->s.now, &m->c.node);
	ret->leader = -1;
	ret->heard = mship_find(&m->s.now, &m->heard);
	ret->is_leader = election_is_leader(m, now);
	if (ret->is_leader)
		ret->leader = ret->self;
	else if (!m->leads && !m->s.has_accepted && !is_nobody(&m->leader) &&
		 now - m->heard_ms < 2 * m->c.election_ms)
		ret->leader = mship_find(&m->s.now, &m->leader);
	ret->is_removed =
	    ret->self < 0 && mship_is_removed(&m->s.now, &m->c.node);
	if (ret->self < 0)
		snprintf(ret->waiting, sizeof(ret->waiting), "%s",
		    ret->is_removed ? "was removed from its group"
				    : m->waiting);
	lock_drop(&m->lock);
}

bool
members_hears(struct members *m, const struct id128 *leader)
{
	int64_t now;
	bool yes;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	now = member_now(m);
	lock_take(&m->lock);
	yes = !m->leads && !is_nobody(&m->leader) &&
	      (leader == NULL || is_same_node(&m->leader, leader)) &&
	      now - m->heard_ms < m->c.election_ms;
	lock_drop(&m->lock);
	return yes;
}

uint64_t
members_epoch(struct members *m)
{
	uint64_t epoch;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	lock_take(&m->lock);
	epoch = m->s.now.epoch;
	lock_drop(&m->lock);
	return epoch;
}

int
members_check(struct members *m, const struct rpc_from *from, uint64_t epoch,
    struct err *e)
{
	bool blank, gone, known;
	uint64_t own;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	lock_take(&m->lock);
	own = m->s.now.epoch;
	blank = mship_find(&m->s.now, &m->c.node) < 0;
	gone = mship_is_removed(&m->s.now, &from->id);
	known = mship_find(&m->s.now, &from->id) >= 0;
	lock_drop(&m->lock);
	if (strcmp(from->group, m->c.group) != 0)
		return err_set(e, ERR_ACCESS_DENIED, "a node of group %s",
		    from->group);
	if (gone)
		return err_set(e, ERR_ACCESS_DENIED,
		    "a node that was removed from the group");
	if (blank)
		return err_set(e, ERR_RETRY, "this node is no member");
	if (epoch < own)
		return err_set(e, ERR_RETRY, "epoch %ju is over, this is %ju",
		    (uintmax_t)epoch, (uintmax_t)own);
	if (known)
		return 0;
	if (epoch > own)
		return err_set(e, ERR_RETRY, "epoch %ju is not known here",
		    (uintmax_t)epoch);
	return err_set(e, ERR_ACCESS_DENIED, "a node that is no member");
}

/* --- learning --- */

struct lesson {
	struct members *m;
	struct fdfs_addr to;
};

static void
learn_task(void *arg)
{
	struct lesson *l = arg;
	struct members *m = l->m;
	struct answer ans;
	uint64_t epoch;

	lock_take(&m->lock);
	epoch = m->s.now.epoch;
	lock_drop(&m->lock);
	(void)member_call(m, &l->to, RPC_MEMBERS, epoch, STR_NULL,
	    m->c.election_ms, &ans, NULL);
	answer_fini(&ans);
	lock_take(&m->lock);
	m->is_learning = false;
	lock_drop(&m->lock);
	mem_free(&l);
	member_task_end(m);
}

void
members_saw(struct members *m, const struct fdfs_addr *peer, uint64_t epoch)
{
	struct lesson *l;
	bool go;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	lock_take(&m->lock);
	go = epoch > m->s.now.epoch && !m->is_learning;
	if (go)
		m->is_learning = true;
	lock_drop(&m->lock);
	if (!go)
		return;
	l = mem_zalloc(sizeof(*l));
	if (l != NULL) {
		*l = (struct lesson){ m, *peer };
		if (member_task(m, learn_task, l) == 0)
			return;
	}
	mem_free(&l);
	lock_take(&m->lock);
	m->is_learning = false;
	lock_drop(&m->lock);
}

void
members_hear(struct members *m, const struct cmap *map)
{
	OBJ_CHECK(m, MEMBERS_MAGIC);
	for (size_t i = 0; i < map->n_nodes; i++) {
		const struct cmap_node *n = &map->nodes[i];
		struct member_addr a = { n->node, n->inner, n->outer };

		if (strcmp(n->group, m->c.group) != 0 || n->heard_s == 0)
			continue;
		lock_take(&m->lock);
		if (!n->is_away || mship_find(&m->s.now, &n->node) < 0)
			addr_note(m, &a);
		lock_drop(&m->lock);
	}
}

int
members_admit_term(struct members *m, const struct id128 *from, uint64_t term,
    struct err *e)
{
	bool part, old, other;
	int rc;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	for (;;) {
		lock_take(&m->lock);
		part = !m->s.has_accepted &&
		       mship_find(&m->s.now, &m->c.node) >= 0 &&
		       mship_find(&m->s.now, from) >= 0;
		old = term < m->s.term;
		/* A leader of this term that is another one. */
		other = term == m->s.term && !is_nobody(&m->leader) &&
		        !is_same_node(&m->leader, from);
		if (term == m->s.term && part && !other)
			m->leader = *from;
		other |= term == m->s.term && m->leads &&
		         !is_same_node(from, &m->c.node);
		rc = term > m->s.term;
		lock_drop(&m->lock);
		if (!part)
			return err_set(e, ERR_RETRY, "the group is changing");
		if (old || other)
			return err_set(e, ERR_RETRY, "term %ju is over",
			    (uintmax_t)term);
		if (rc == 0)
			return 0;
		rc = election_adopt(m, term, from, e);
		if (rc < 0)
			return rc;
	}
}

/* --- answering --- */

/* What MEMBERS answers. */
static int
pack_known(struct members *m, struct buf *b)
{
	int rc;

	lock_take(&m->lock);
	rc = pack_u32(b, (uint32_t)m->n_addrs);
	for (size_t i = 0; i < m->n_addrs && rc == 0; i++) {
		rc = pack_id(b, &m->addrs[i].node);
		if (rc == 0)
			rc = cmap_addr_pack(&m->addrs[i].inner, b);
		if (rc == 0)
			rc = cmap_addr_pack(&m->addrs[i].outer, b);
	}
	if (rc == 0)
		rc = paxos_pack(&m->s, b);
	lock_drop(&m->lock);
	return rc;
}

static int
serve_decree(struct members *m, unsigned op, struct unpack *u, struct buf *tail,
    struct err *e)
{
	struct mship value;
	struct ballot b;
	uint64_t epoch = unpack_u64(u);

	ballot_unpack(u, &b);
	if (op == RPC_PREPARE)
		return u->is_bad ? unpack_end(u, e)
		                 : paxos_prepare(m, epoch, &b, tail, e);
	mship_unpack(u, &value);
	return u->is_bad ? unpack_end(u, e)
	                 : paxos_accept(m, epoch, &b, &value, tail, e);
}

static int
serve_op(struct members *m, const struct rpc_from *from,
    const struct rpc_request *q, const struct mmsg *h, struct unpack *u,
    struct buf *tail, struct err *e)
{
	bool is_pre;

	switch (q->op) {
	case RPC_MEMBERS:
		return pack_known(m, tail);
	case RPC_PREPARE:
	case RPC_ACCEPT:
		return serve_decree(m, q->op, u, tail, e);
	case RPC_LEARN:
		return 0; /* the beginning has it */
	case RPC_JOIN:
		return join_serve(m, from, h, u, e);
	case RPC_VOTE:
		is_pre = unpack_u8(u) != 0;
		return election_vote(m, from, q->epoch, is_pre, unpack_u64(u),
		    tail, e);
	case RPC_LEAD:
		return election_lead(m, from, q->epoch, unpack_u64(u), e);
	default:
		return err_set(e, ERR_NOT_IMPLEMENTED, "%s",
		    rpc_op_name(q->op));
	}
}

/* Who is told about this group, but has no say in it. */
static int
may_say(struct members *m, const struct rpc_from *from,
    const struct rpc_request *q, const struct mmsg *h, struct err *e)
{
	bool gone, other, member, blank;

	lock_take(&m->lock);
	blank = m->s.now.epoch == 0;
	gone = mship_is_removed(&m->s.now, &from->id);
	member = mship_find(&m->s.now, &from->id) >= 0;
	other = !blank && !is_nobody(&h->group_id) &&
	        !is_same_node(&h->group_id, &m->s.now.group_id);
	lock_drop(&m->lock);
	if (strcmp(from->group, m->c.group) != 0)
		return err_set(e, ERR_ACCESS_DENIED, "a node of group %s",
		    from->group);
	if (gone)
		return err_set(e, ERR_ACCESS_DENIED,
		    "a node that was removed from the group");
	if (q->op == RPC_MEMBERS || q->op == RPC_LEARN || q->op == RPC_JOIN)
		return 0;
	if (other)
		return err_set(e, ERR_ACCESS_DENIED,
		    "another group of that name");
	if (!member)
		return err_set(e, ERR_RETRY, "no member, as far as this knows");
	return 0;
}

/* From another node. */
static int
serve_node(struct members *m, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct buf tail = BUF_CAP(2 * MSHIP_PACKED);
	struct unpack u = unpack_of(q->args);
	uint64_t life = 0;
	struct mmsg h;
	uint8_t flags = 0;
	int rc, back;

	rc = msg_unpack(&u, &h, e);
	if (rc == 0 && !is_same_node(&h.node, &from->id))
		rc = err_set(e, ERR_INVALID, "speaks for another node");
	if (rc < 0)
		return rc;
	rc = strcmp(from->group, m->c.group) != 0 ? 0 : msg_take(m, &h, e);
	if (rc == 0)
		rc = may_say(m, from, q, &h, e);
	if (rc == 0) {
		back = life_note(m, &from->id, h.life, h.nonce, &life, e);
		if (back < 0)
			rc = back;
		if (back == 1)
			flags = MSG_PUT_BACK;
		/* It asks for a renewal with a life it had not; but takes no
		 * part before. */
		if (back == 1 && q->op != RPC_MEMBERS && q->op != RPC_LEARN &&
		    q->op != RPC_JOIN)
			rc = err_set(e, ERR_RETRY, "a node that was put back");
	}
	if (rc == 0)
		rc = serve_op(m, from, q, &h, &u, &tail, e);
	msg_fill(m, q->epoch, &h);
	h.flags |= flags;
	h.your_life = life;
	lock_take(&m->lock);
	a->epoch = m->s.now.epoch;
	lock_drop(&m->lock);
	if (msg_pack(&h, &a->args) == 0)
		(void)buf_adds(&a->args, buf_str(&tail));
	else
		rc = err_set(e, ERR_NO_MEMORY, "answer");
	buf_fini(&tail);
	return rc;
}

int
members_serve(struct members *m, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct mmsg h;

	OBJ_CHECK(m, MEMBERS_MAGIC);
	if (from->kind == RPC_NODE || from->kind == RPC_PEER)
		return serve_node(m, from, q, a, e);
	if (q->op != RPC_MEMBERS)
		return err_set(e, ERR_ACCESS_DENIED, "not for its kind");
	msg_fill(m, 0, &h);
	if (msg_pack(&h, &a->args) < 0)
		return err_set(e, ERR_NO_MEMORY, "answer");
	return pack_known(m, &a->args);
}
