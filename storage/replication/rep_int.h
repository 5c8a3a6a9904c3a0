/* storage/replication/rep_int.h - between the files of replication.
 *
 * N1  struct rep's lock guards what stands below it in struct rep, the peers,
 *     fans, uploads and sessions; it is a leaf and no call of the environment
 *     is made under it.
 * N2  Tasks: at most REP_WORKERS workers, which make the calls that are queued
 *     at the peers; one that pulls from each peer; the keeper; one comparing.
 *     All of them unwind when the environment answers ERR_CLOSED.
 * N3  What crosses tasks is reference counted; the counts change under the
 *     lock. */
#ifndef STORAGE_REPLICATION_REP_INT_H
#define STORAGE_REPLICATION_REP_INT_H

#include "storage/replication/rep.h"
#include "storage/replication/wire.h"

#include "lib/lock.h"
#include "lib/mem.h"

#include <stdatomic.h>

#define REP_MAGIC 0x72657031u
#define REP_SMALL (1024 * 1024)     /* beyond it a body is streamed */
#define REP_BATCH (2 * 1024 * 1024) /* bytes of bodies in one call, about */
#define REP_BATCH_N 512             /* and records */
#define REP_WORKERS 40
#define REP_PEER_INSTALLS 2 /* calls under way to one peer */
#define REP_PEER_CALLS 8    /* at most: peer_calls() */
#define REP_PEER_CALLS_MIN 2
#define REP_QUEUE_MAX (32u << 20) /* bytes that wait for one peer */
#define REP_PATHS CMAP_PATHS

/* --- bells: a gate that may be rung by whoever still holds it --- */

struct bell {
	unsigned refs;
	void *gate;
};

#define REP_REPAIRS 4

/* --- peers --- */

struct job {
	struct job *next;
	struct rep_peer *p;
	struct fan *fan; /* of an INSTALL or a plain call; NULL: run() */
	size_t slot;
	void (*run)(struct job *j); /* frees it */
	void *arg;
	int64_t born_ms;
};

struct queue {
	struct job *head, *tail;
};

struct rep_peer {
	struct rep *r;
	struct rep_peer *next;
	struct id128 node;
	uint32_t server_id;
	struct fdfs_addr addr;
	bool is_member;
	int64_t ok_ms, fail_ms; /* 0: never */
	struct queue installs, calls;
	size_t queued_bytes;
	unsigned n_installs, n_calls; /* under way */
	/* What is pulled from it. */
	bool is_pulling, is_caught_up, is_first_failed;
	bool must_restart; /* its cursors are worth nothing any more */
	bool has_asked;    /* it reads this node's log, and its cursor fits */
	bool has_read;     /* its log to the end, all paths of it, */
	int64_t read_ms;   /* in a round that began then */
	bool has_told_age; /* away.c */
	size_t n_paths;
	struct engine_pos *pos; /* REP_PATHS of them */
	uint64_t behind, first_behind;
};

struct name_lock {
	struct name_lock *next;
	struct bell *bell; /* rung when it is free; NULL: nobody waits */
	char name[ENGINE_FILE_ID_MAX];
};

struct session;

#define AWAY_MARKS 40
struct away {                       /* away.c */
	int64_t age_ms, touched_ms; /* of the group: now; when last in touch */
	bool has_touched;
	_Atomic bool is_expired, is_known; /* known: W3 */
	bool has_majority;                 /* at the last away_tick() */
	int64_t tick_ms;  /* age_ms is counted up to then; 0: not begun */
	int64_t alone_ms; /* without a majority since; 0: with one */
	size_t n_members; /* 0: not known yet */
	struct {          /* W4; oldest first */
		int64_t age_ms, wall_s;
	} mark[AWAY_MARKS];
	size_t n_marks;
};

struct rep {
	unsigned magic;
	struct rep_conf c;
	const struct rep_store_ops *so;
	void *st;
	const struct rep_env_ops *eo;
	void *env;

	struct lock lock;
	bool is_closing;
	_Atomic bool is_hushed; /* rep_hush() */
	unsigned n_tasks, n_workers;
	struct worker *idle;
	struct rep_peer *peers,
	    *turn;        /* turn: whose queue is looked at first */
	size_t n_members; /* among peers */
	struct name_lock *names[64];
	struct session *sessions;
	size_t n_sessions;
	struct id128 group_id;
	uint64_t epoch;
	bool is_active;          /* P5 */
	bool is_witness;         /* what is not here counts: status.c */
	bool is_complete;        /* was a witness once; kept */
	uint64_t complete_since; /* member_view.since then */
	bool was_put_back, is_fetching, is_comparing;
	unsigned n_uploads; /* large ones, streaming */
	int64_t opened_ms;
	int64_t floor_s; /* it was this late before this start */
	bool is_dirty;   /* cursors to save */
	int64_t touched_s, saved_ms, said_degraded_ms;
	struct repair *repair[REP_REPAIRS]; /* under way or waiting; NULL */
	int64_t repair_pause_ms; /* longer while what is tried fails; 0 */
	struct away away;
	uint64_t pulled_files, pulled_bytes, repaired, compared, found_missing;
	_Atomic uint64_t in_bytes, in_bytes_ok, out_bytes, out_bytes_ok;
	_Atomic int64_t in_last_s;
	size_t missing_now;
	/* change.c: the highest counter of a change in this term that failed
	 * after it was sent: somebody may have it. */
	uint64_t spent_term, spent;
};

/* The group as it is now. */
struct rep_group {
	struct member_view v;
	struct rep_peer *peer[CMAP_MEMBERS]; /* the other members */
	size_t n_peers;
	unsigned copies; /* min_copies */
	unsigned majority;
};

/* rep.c */
/* ERR_BUSY while this node is no member. */
int rep_group_get(struct rep *r, struct rep_group *ret, struct err *e);
int rep_task(struct rep *r, void (*fn)(void *arg), void *arg, struct err *e);
void rep_task_end(struct rep *r);
bool rep_is_closing(struct rep *r);
/* Real time for what is written. A clock that starts in the past (no battery,
 * no network yet) must not make tombstones that are as good as over. */
int64_t rep_now_s(struct rep *r);
/* The store path in a file's name; -1. */
int rep_path_of(const char *id);
void rep_event(struct rep *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* One at a time has a name; waits up to @ms. ERR_BUSY. */
int name_take(struct rep *r, struct str name, int64_t ms,
    struct name_lock **ret, struct err *e);
void name_drop(struct rep *r, struct name_lock **lp);

/* peers.c */
struct bell *bell_new(struct rep *r);
void bell_ref(struct bell *b); /* under the lock, as all counts */
void bell_unref(struct rep *r, struct bell *b);
void bell_ring(struct rep *r, struct bell *b);
bool bell_wait(struct rep *r, struct bell *b, int64_t ms);
bool peer_is_down(const struct rep_peer *p, int64_t now);
bool peer_is_reachable(const struct rep_peer *p);
/* Members, this one included; under the lock. */
size_t peers_within_reach(const struct rep *r);
/* One call, on the caller's task. */
int peer_call(struct rep_peer *p, struct rpc_request *q, int timeout_ms,
    struct rpc_reply *ret, struct err *e);
/* Of a call between members: bytes of files that came and went with it. */
void rep_note_bytes(struct rep *r, unsigned op, size_t in, size_t out, int rc);
/* @run on a worker, as one of REP_PEER_CALLS; it frees its job. */
int peer_job(struct rep_peer *p, void (*run)(struct job *j), void *arg,
    struct err *e);
void reply_init(struct rpc_reply *r);
void reply_fini(struct rpc_reply *r);
void worker_wake(struct rep *r);
/* Closing: what no worker will do any more ends here. */
void queues_drain(struct rep *r);

/* fan.c */
/* One message to several peers, and what they answer. */
struct fan {
	struct rep *r;
	unsigned refs;
	unsigned op;
	bool is_batched; /* an INSTALL of term 0: items, many of one call */
	struct buf args; /* the message, or its items */
	struct buf body;
	size_t n_items, n, n_done, n_good, want;
	/* Under the lock: whether an answer counts; NULL: rc == 0. */
	bool (*is_good)(struct fan *f, size_t slot);
	void *arg;
	struct engine_record *recs; /* owned; what the items were */
	int timeout_ms;
	struct bell *decided, *all;
	bool is_decided;
	struct fan_slot {
		struct rep_peer *p;
		bool is_done, is_good;
		int rc;
		struct buf args, body;
		int64_t took_ms;
	} slot[];
};
struct fan *fan_new(struct rep *r, unsigned op, const struct rep_group *g);
void fan_free(struct fan **fp); /* the caller's reference */
/* @args and @body are filled by now. Peers that failed a moment ago are not
 * asked when @skip_down. Decided: @want good answers, or no more can come. */
void fan_start(struct fan *f, size_t want, bool skip_down);
/* Another number than was thought, before fan_wait(). */
void fan_want(struct fan *f, size_t want);
/* True when @want were good. */
bool fan_wait(struct fan *f, int64_t ms);
void fan_wait_all(struct fan *f, int64_t ms);
void fan_run(struct job *j); /* on a worker */
void fan_run_batch(struct rep_peer *p, struct job *jobs);
/* For an INSTALL of term 0. */
int fan_add_item(struct fan *f, const struct engine_record *rec,
    struct str body);

/* install.c */
/* As the store's install_many(); bodies up to REP_SMALL, whatever the store holds
 * for small. */
int rep_install(struct rep *r, struct engine_install *v, size_t n,
    struct err *e);

/* write.c */
/* Is an INSTALL's outcome a copy of @rec? */
struct outcome {
	int code;
	uint64_t version;
	bool is_tomb, is_other; /* is_other: another file of that name */
};
bool outcome_is_copy(const struct outcome *o, const struct engine_record *rec);
bool is_other_file(struct rep *r, const struct engine_record *rec,
    struct outcome *o);
int outcome_pack(struct buf *b, const struct outcome *o);
void outcome_unpack(struct unpack *u, struct outcome *ret);

int copies_suffice(struct rep *r, const struct rep_group *g, size_t copies,
    struct err *e);
/* Tombstones what was not acknowledged, everywhere it may have got to. */
void write_refuse(struct rep *r, const struct engine_record *rec);
/* A small file under a name that was drawn for it. */
int write_drawn(struct rep *r, const struct engine_record *rec, struct str body,
    struct engine_file_info *ret, struct err *e);
/* One write at a time has a write ID. */
int write_lock(struct rep *r, const struct id128 *write_id,
    struct name_lock **ret, struct err *e);

/* pull.c */
void pull_start(struct rep *r, struct rep_peer *p);
/* fetch.c */
struct want { /* a file that is missing here */
	char id[ENGINE_FILE_ID_MAX];
	uint64_t version, size;
};
/* All of @v from @p, in parallel; what @p has no more is left out, what it can
 * not read is sought elsewhere. */
int fetch_all(struct rep_peer *p, struct want *v, size_t n, struct err *e);
/* One file whole, installed here. @flags: ENGINE_REPAIR or 0. */
int fetch_one(struct rep_peer *p, struct str id, unsigned flags, struct err *e);
/* READ. */
int read_piece(struct rep_peer *p, struct str id, uint64_t version,
    uint64_t off, uint32_t len, struct rpc_reply *reply, struct err *e);
/* Small: the answer's body. */
int fetch_small(struct rep_peer *p, struct str id, struct engine_record *ret,
    struct rpc_reply *reply, struct err *e);

/* read.c */
enum find_rc {
	FIND_LIVE,
	FIND_TOMB,
	FIND_NONE, /* so many say so that it does not exist */
	FIND_OPEN  /* too few answered */
};
/* Asks the peers about @id; @none_here: this node's own word that it knows nothing
 * of it counts. *ret_p: the best holder of the highest version; one of @avoid (may
 * be NULL) only if nobody else has it. */
struct avoid { /* peers that could not give it */
	const struct rep_peer *p[4];
	size_t n;
};
void avoid_add(struct avoid *a, const struct rep_peer *p);
bool is_avoided(const struct avoid *a, const struct rep_peer *p);
enum find_rc find_elsewhere(struct rep *r, struct str id, bool none_here,
    const struct avoid *avoid, struct rep_peer **ret_p,
    struct engine_version *ret);
struct fan *lookup_start(struct rep *r, const struct rep_group *g,
    uint64_t term, struct str id);
/* Fetches in the background; nothing happens when too many are under way. */
void repair_later(struct rep *r, struct str id, unsigned flags);

/* One operation each, for the table of serve.c. */
typedef int serve_fn(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);
serve_fn rep_serve_install, rep_serve_change, rep_serve_begin, rep_serve_data,
    rep_serve_commit, rep_serve_abort, rep_serve_digest, rep_serve_range,
    rep_serve_step, rep_serve_remove;
/* Sessions that were left; all of them when closing. */
void sessions_expire(struct rep *r, bool all);

/* compare.c */
/* What differs, and still does a second later, is fetched and counted. */
int compare_with(struct rep_peer *p, uint64_t *ret_diff, struct err *e);

/* away.c */
/* @node has told the age of the group. */
void away_hear(struct rep *r, const struct id128 *node, uint64_t age_ms);
uint64_t away_age(struct rep *r);
void away_tick(struct rep *r, const struct rep_group *g);
/* ERR_BUSY: expired. ERR_RETRY: @is_source, and W3. */
int away_check(struct rep *r, bool is_source, struct err *e);
int away_pack(const struct rep *r, struct buf *b); /* under the lock */
/* ERR_CONFIG: expired. */
int away_load(struct rep *r, struct unpack *u, struct err *e);

/* status.c */
int rep_state_load(struct rep *r, struct err *e);
int rep_state_save(struct rep *r, struct err *e);
void rep_state_judge(struct rep *r);
/* The peer of that node, made when it is new; NULL without memory. */
struct rep_peer *peer_get(struct rep *r, const struct id128 *node);
void rep_keeper(void *arg);

#endif
