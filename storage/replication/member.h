/* storage/replication/member.h - who belongs to a group, and who orders its
 * changes.
 *
 * The members of a group keep its membership themselves, durably: group ID (drawn
 * when it was founded), epoch, members (node ID and server ID), removed nodes.
 * M1  An epoch's membership is chosen once: single-decree Paxos among the
 *     members of the epoch before, one node added, removed or replaced at a
 *     time; promises and acceptances are durable before they are told.
 * M2  Majorities and min_copies count configured members, never reachable ones.
 * M3  A removed node stays out: it gets ERR_ACCESS_DENIED ever after.
 * M4  At most one node leads in a term: votes are durable, a majority of the
 *     configured members each. What a leader of an older term asks is refused.
 * M5  A blank node joins a group that any tracker or member knows; it founds
 *     one only with the leave of a majority of the configured trackers, and
 *     gives a group of its own up again while that holds no file and no other
 *     member, when it meets another group of that name.
 * M6  A node with the server ID of a member but another node ID is that member
 *     with its disks lost: it takes its place (a replacement). In a group of
 *     two the other member alone can agree to that.
 * Threads: any; the tasks are spawned through the environment. */
#ifndef STORAGE_REPLICATION_MEMBER_H
#define STORAGE_REPLICATION_MEMBER_H

#include "storage/replication/env.h"

struct members;

struct member_view {
	struct id128 group_id; /* zero: not a member of anything */
	uint64_t epoch, term;
	size_t n;
	struct cmap_member m[CMAP_MEMBERS]; /* by server ID; with addresses as
	                                       last heard */
	uint64_t since[CMAP_MEMBERS]; /* epoch in which it came in, anew or
	                                 again (its disks lost or put back) */
	int self;                     /* position; -1: joining, or removed */
	int leader;                   /* position, -1: not known at present */
	int heard; /* who was last heard as the leader, however long ago; -1 */
	bool
	    is_leader; /* of `term`, and heard by a majority within the lease */
	bool is_removed;
	char waiting[CMAP_REASON]; /* what it waits for while self is -1 */
};

struct members_conf {
	struct rep_env env;
	char group[FDFS_GROUP_LEN + 1];
	uint32_t server_id;
	struct id128 node, cluster;
	struct fdfs_addr inner, outer;
	struct fdfs_addr trackers[FDFS_MAX_TRACKERS];
	size_t n_trackers;
	bool has_files;  /* this node's store paths are not blank */
	int election_ms; /* 0: 1,000; a leader speaks three times as often */
	/* Something changed: membership, leader, an address. Any task. */
	void (*changed)(void *arg);
	void *arg;
};

/* ERR_CONFIG: what was a member comes with another group or server ID. */
int members_open(const struct members_conf *c, struct members **ret,
    struct err *e);
/* The node is stopped first (V2); returns when its tasks are gone. */
void members_close(struct members **mp);
void members_get(struct members *m, struct member_view *ret);
uint64_t members_epoch(struct members *m); /* that alone, at once */
static inline size_t
members_majority(size_t n)
{
	return n / 2 + 1;
}
/* The operations MEMBERS to LEAD of cluster/op_table.h but REMOVE. */
int members_serve(struct members *m, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);
/* For every request between peers: 0, or why @from is not listened to
 * (ERR_ACCESS_DENIED: removed, or of another group; ERR_RETRY: its epoch is
 * old, learn the newer one first). */
int members_check(struct members *m, const struct rpc_from *from,
    uint64_t epoch, struct err *e);
/* A peer's epoch seen in an answer: learns what is newer. */
void members_saw(struct members *m, const struct fdfs_addr *peer,
    uint64_t epoch);
/* Whether @leader (NULL: anybody) leads, as far as is known here, and has been
 * heard lately (a leader speaks three times in that time). Without it another may
 * lead by now, or only this node is cut off from it. */
bool members_hears(struct members *m, const struct id128 *leader);
/* Where the nodes are, from a tracker's map. */
void members_hear(struct members *m, const struct cmap *map);
/* As rep_remove() has found it to be right in @epoch: ERR_RETRY when that is
 * over. Waits for the outcome. */
int members_remove(struct members *m, uint32_t server_id, uint64_t epoch,
    int64_t ms, struct err *e);
/* A change is asked for in the name of @term by @from: ERR_RETRY when that is
 * not the newest term known here (M4); a newer one is taken over, durably. */
int members_admit_term(struct members *m, const struct id128 *from,
    uint64_t term, struct err *e);

#endif
