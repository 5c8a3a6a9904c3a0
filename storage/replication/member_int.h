/* storage/replication/member_int.h - between the files of membership.
 *
 * I1  What is in `s` is durable. It is changed by state_commit() alone, with the
 *     pen held: one change at a time, saved before it is seen by anybody.
 * I2  No lock is held over a call of the environment (V1); the pen is no lock
 *     but a queue.
 * I3  Who has accepted a membership for the next epoch takes no part in this
 *     one - no vote, no heartbeat, no change - until the outcome is known. So a
 *     leader of this epoch finds no majority any more once the next is chosen.
 * I4  The floor that goes along with a membership is at least the highest term
 *     in which anybody was elected in an epoch before: a majority of the members
 *     told their terms when they accepted, after which I3 holds. Votes are given
 *     above it only.
 * I5  A node whose disk was put back to an older state may have forgotten votes
 *     and promises. So after each start, before it votes, promises or accepts,
 *     it asks the others - until all, or a majority and some seconds later -
 *     and goes on behind the terms, promises and acceptances that they know of.
 *     Each start has a number (`life`) too, which the others remember durably:
 *     if one knows a later one, the node asks to be renewed - an epoch in which
 *     it is a member anew, chosen without it; what it forgot concerned epochs
 *     before. (What only an absent node could tell, nobody can know: an old
 *     copy of a disk should come back while the others are there.)
 * Design, after Lamport's "Paxos made simple" (one decree per epoch) and
 * Ongaro's thesis on Raft (elections, pre-vote). */
#ifndef STORAGE_REPLICATION_MEMBER_INT_H
#define STORAGE_REPLICATION_MEMBER_INT_H

#include "storage/replication/member.h"

#include "lib/lock.h"
#include "lib/log.h"
#include "lib/mem.h"

enum {
	MEMBERS_MAGIC = 0x52657042,
	MSHIP_REMOVED = 256, /* of the removed ones the last */
	MEMBER_LIVES = 2 * CMAP_MEMBERS,
	MEMBER_ADDRS = 2 * CMAP_MEMBERS,
	MSHIP_PACKED = 16384
};

/* --- what is durable --- */

struct mship { /* of an epoch */
	struct id128 group_id;
	uint64_t epoch; /* 0: none */
	size_t n, n_removed;
	struct mship_member {
		struct cmap_member m; /* addresses: when it came in */
		uint64_t since; /* epoch in which it came in, anew or again */
	} v[CMAP_MEMBERS];      /* by server ID */
	struct id128 removed[MSHIP_REMOVED];
};

struct ballot {
	uint64_t round; /* 0: none */
	struct id128 node;
};

struct mstate {
	struct mship now;
	uint64_t floor; /* I4 */
	uint64_t term;
	struct id128 voted_for; /* in term; zero: nobody; all ones: too late */
	/* For the epoch after `now`. */
	struct ballot promised, accepted_by;
	bool has_accepted; /* I3 */
	struct mship accepted;
	uint64_t life; /* I5 */
	size_t n_lives;
	struct life {
		struct id128 node;
		uint64_t count, nonce;
	} lives[MEMBER_LIVES];
};

/* --- the rest --- */

struct pen_waiter {
	struct pen_waiter *next;
	void *gate;
	unsigned refs; /* of who waits, and of the queue or who signals */
	bool has_it;
};

struct member_addr {
	struct id128 node;
	struct fdfs_addr inner, outer;
};

struct member_peer { /* another member, as the leader sees it */
	struct id128 node;
	uint64_t epoch;   /* that it knows */
	int64_t acked_ms; /* when a heartbeat left that it has confirmed */
	bool is_calling;
	bool is_ailing; /* said so in its last answer */
};

struct members {
	unsigned magic;
	struct members_conf c;
	const struct rep_store_ops *so;
	void *st;
	const struct rep_env_ops *eo;
	void *env;
	struct lock lock; /* all below */
	bool is_busy;     /* the pen */
	struct pen_waiter *first;
	struct mstate s;
	uint64_t nonce;         /* of this life */
	bool is_ready;          /* I5 */
	uint64_t put_back_life; /* I5: 0: not so, as far as is known */
	bool is_finishing;      /* a task brings a change to its end */
	bool is_learning;       /* a task asks for a newer membership */
	bool is_closing;
	unsigned n_tasks;
	uint64_t next_round; /* of a ballot, at least */
	int64_t born_ms, accepted_ms;
	size_t n_addrs;
	struct member_addr addrs[MEMBER_ADDRS];
	bool addrs_changed;
	/* election */
	bool leads;          /* in s.term */
	struct id128 leader; /* of s.term; zero: not known */
	int64_t heard_ms;    /* the leader */
	struct id128 heard;  /* which then was this one */
	int64_t elect_ms;    /* when to try oneself */
	int64_t led_ms;      /* when a majority was last with us */
	int64_t beat_ms;     /* next heartbeat */
	struct id128 backed; /* V5 of election.c */
	int64_t backed_ms;
	bool is_ailing;     /* V4 of election.c */
	int64_t yielded_ms; /* when it gave up leading for that; 0: never */
	struct member_peer peers[CMAP_MEMBERS];
	size_t n_peers;
	int64_t last_leader; /* as told last by changed() */
	/* joining */
	int64_t try_ms;
	struct mship other; /* another group of this name; epoch 0: none */
	char waiting[CMAP_REASON];
};

/* --- member_state.c --- */

int mship_pack(const struct mship *p, struct buf *b);
void mship_unpack(struct unpack *u, struct mship *ret);
/* Position; -1. */
int mship_find(const struct mship *p, const struct id128 *node);
int mship_find_server(const struct mship *p, uint32_t server_id);
bool mship_is_removed(const struct mship *p, const struct id128 *node);
void mship_add(struct mship *p, const struct cmap_member *m);
void mship_remove(struct mship *p, size_t at);
/* Below, at, above 0. */
int ballot_cmp(const struct ballot *a, const struct ballot *b);
int ballot_pack(const struct ballot *a, struct buf *b);
void ballot_unpack(struct unpack *u, struct ballot *ret);

/* One writer at a time; ERR_CLOSED. */
int pen_take(struct members *m, struct err *e);
void pen_drop(struct members *m);
/* With the pen: saves, then it is the state. */
int state_commit(struct members *m, const struct mstate *s, struct err *e);
void state_get(struct members *m, struct mstate *ret);
/* What was saved; nothing is blank. */
int state_load(struct members *m, struct err *e);
int addrs_load(struct members *m, struct err *e);
int addrs_save(struct members *m, struct err *e);
/* With the lock. False: not known. */
bool addr_of(const struct members *m, const struct id128 *node,
    struct member_addr *ret);
void addr_note(struct members *m, const struct member_addr *a);

/* --- member_wire.c --- */

enum {
	MSG_PUT_BACK = 1, /* an answer: you have lived later than you know */
	MSG_AILING = 2    /* a store path of the sender has failed */
};
struct mmsg { /* what each request and answer between nodes begins with */
	struct id128 node, group_id;
	uint64_t term, floor;
	struct fdfs_addr inner, outer;
	uint64_t life, nonce;
	uint8_t flags;
	uint64_t your_life; /* an answer: the latest known of the asker */
	struct mship mship; /* epoch 0: left out */
};
/* This node's, now; with its membership if @other is older. */
void msg_fill(struct members *m, uint64_t other, struct mmsg *ret);
int msg_pack(const struct mmsg *h, struct buf *b);
int msg_unpack(struct unpack *u, struct mmsg *ret, struct err *e);
/* What every message tells, asked or answered: addresses, a newer membership.
 * ERR_CLOSED, I/O. */
int msg_take(struct members *m, const struct mmsg *h, struct err *e);
/* I5: remembers @node's life; 1 when a later one is known (*ret_life). */
int life_note(struct members *m, const struct id128 *node, uint64_t life,
    uint64_t nonce, uint64_t *ret_life, struct err *e);

struct answer { /* of one node */
	struct id128 node;
	uint64_t epoch, term;
	uint8_t flags;
	struct buf tail; /* behind what all answers begin with */
};
void answer_fini(struct answer *a);
/* Asks, and takes what the answer tells; @known: its epoch, as far as known. */
int member_call(struct members *m, const struct fdfs_addr *to, unsigned op,
    uint64_t known, struct str tail, int timeout_ms, struct answer *ret,
    struct err *e);
void member_event(struct members *m, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void member_changed(struct members *m);

/* A task that members_close() waits for. */
int member_task(struct members *m, void (*fn)(void *arg), void *arg);
void member_task_end(struct members *m);
bool members_are_closing(struct members *m);

/* The same question to many at once. */
struct mfan_slot {
	struct id128 node; /* zero: a tracker */
	struct fdfs_addr to;
	uint64_t known;
	bool is_done;
	int rc;
	struct answer a;
};
struct mfan;
struct mfan *mfan_new(struct members *m, unsigned op, struct str tail,
    int timeout_ms);
void mfan_add(struct mfan *f, const struct id128 *node,
    const struct fdfs_addr *to, uint64_t known);
/* All other members of @p; with their addresses as last heard. */
void mfan_add_members(struct mfan *f, const struct mship *p);
/* FOUND: arguments as they are, no message around them. */
void mfan_be_raw(struct mfan *f);
void mfan_start(struct mfan *f);
/* Until @enough (called with the lock) or all answered or @ms. */
void mfan_wait(struct mfan *f, bool (*enough)(void *arg), void *arg,
    int64_t ms);
/* The answers so far: valid until mfan_drop(), which leaves the rest to
 * itself. NULL: that one has not answered. */
const struct mfan_slot *mfan_slot(struct mfan *f, size_t i);
/* The same for @enough; is_done says whether there is an answer. */
const struct mfan_slot *mfan_peek(const struct mfan *f, size_t i);
size_t mfan_size(const struct mfan *f);
void mfan_drop(struct mfan **fp);

/* --- member_paxos.c --- */

int paxos_prepare(struct members *m, uint64_t epoch, const struct ballot *b,
    struct buf *answer, struct err *e);
int paxos_accept(struct members *m, uint64_t epoch, const struct ballot *b,
    const struct mship *value, struct buf *answer, struct err *e);
/* What an acceptor has promised and accepted; the higher one of each. */
int paxos_pack(const struct mstate *s, struct buf *b);
void paxos_unpack(struct unpack *u, struct mstate *ret);
void paxos_merge(struct mstate *s, const struct mstate *other);
/* I5: goes on behind what the others have @seen: promises, and no vote in a term
 * in which one may have been forgotten. 1: the epoch is over. */
int paxos_resume(struct members *m, const struct mstate *seen, struct err *e);
/* A membership that was chosen. */
int member_learn(struct members *m, const struct mship *p, uint64_t floor,
    struct err *e);

/* --- member_change.c --- */

enum change_kind {
	CHANGE_NONE, /* finish what somebody has begun */
	CHANGE_JOIN,
	CHANGE_RENEW,
	CHANGE_REMOVE
};
struct change {
	enum change_kind kind;
	struct cmap_member who; /* REMOVE: node and server ID alone */
	uint64_t since;         /* RENEW: what it was */
	uint64_t epoch;         /* in this one only; 0: any */
};
/* 1: it is so already; 0: *ret is the next membership, *ret_lost the node that
 * is replaced or renewed (zero: none). */
int change_apply(const struct mship *now, const struct change *c,
    struct mship *ret, struct id128 *ret_lost, struct err *e);
/* Until it is so. ERR_BUSY: no majority within @ms; ERR_RETRY: c->epoch is
 * over. */
int member_change(struct members *m, const struct change *c, int64_t ms,
    struct err *e);
/* In a task of its own. */
void member_finish_later(struct members *m);

/* --- election.c --- */

int election_vote(struct members *m, const struct rpc_from *from,
    uint64_t epoch, bool is_pre, uint64_t term, struct buf *answer,
    struct err *e);
int election_lead(struct members *m, const struct rpc_from *from,
    uint64_t epoch, uint64_t term, struct err *e);
/* A term was seen that is higher than ours. */
int election_adopt(struct members *m, uint64_t term, const struct id128 *leader,
    struct err *e);
void election_step(struct members *m);
/* With the lock. */
bool election_is_leader(struct members *m, int64_t now);
/* After a new membership; with the lock. */
void election_forget(struct members *m, int64_t now);

/* --- member_join.c --- */

void join_step(struct members *m);    /* of a node without a group */
void ready_step(struct members *m);   /* I5 */
void give_up_step(struct members *m); /* M5 */
int join_serve(struct members *m, const struct rpc_from *from,
    const struct mmsg *h, struct unpack *u, struct err *e);

static inline int64_t
member_now(const struct members *m)
{
	return m->eo->now_ms(m->env);
}

static inline bool
is_nobody(const struct id128 *id)
{
	return id128_is_zero(id) != 0;
}

static inline bool
is_same_node(const struct id128 *a, const struct id128 *b)
{
	return id128_eq(a, b) != 0;
}

#endif
