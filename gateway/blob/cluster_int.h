/* gateway/blob/cluster_int.h - what the files of blob/cluster*.c share. */
#ifndef GATEWAY_BLOB_CLUSTER_INT_H
#define GATEWAY_BLOB_CLUSTER_INT_H

#include "cluster/mux.h"
#include "cluster/store_ops.h"
#include "gateway/blob/cluster.h"

#include "lib/lock.h"
#include "lib/thread.h"

#include <stdatomic.h>

#define CLUSTER_MAX_NODES 1024
#define CLUSTER_MAX_GROUPS 256
#define CLUSTER_TRIES 32 /* nodes that one call is tried at */

struct node { /* remembered as long as the backend lives */
	struct node *next;
	struct id128 id;
	/* C2: until then it is asked last; by writers only. */
	_Atomic int64_t bad_until_ns, unwilling_until_ns;
	_Atomic uint32_t failures; /* in a row */
	_Atomic uint64_t fenced;   /* epoch that it was told of (C3) */
	_Atomic uint32_t n_long;   /* C7: calls that may take long, under way */
	/* C8: reads in a row that another answered; until then, read last. */
	_Atomic uint32_t outrun;
	_Atomic int64_t slow_until_ns;
	_Atomic uint32_t now_misses, now_passed;
	int64_t listed_ns; /* by a tracker; the refresher's */
};

struct view_node {
	struct node *n;
	const struct cmap_node *c;
	struct fdfs_addr addr;
};

struct view_group {
	char name[FDFS_GROUP_LEN + 1];
	size_t first, n;        /* in nodes */
	size_t members, copies; /* configured; min_copies */
	uint64_t avail;         /* of the node with the least */
	bool can_write;
};

struct view { /* a map, constant; counted */
	_Atomic unsigned refs;
	struct cmap map;
	bool is_given; /* a tracker gave one at all */
	size_t n_nodes, n_groups;
	struct view_node *nodes; /* by group */
	struct view_group *groups;
};

struct ahead; /* cluster_ahead.c: reads under way */

struct cluster {
	struct blob_cluster_conf conf;
	struct fdfs_addr trackers[FDFS_MAX_TRACKERS];
	struct rpc_client *rpc;
	struct rpc_mux *mux;
	struct lock lock; /* BLOB: what follows, no I/O */
	struct cond wake, watch;
	bool stop, is_kicked;
	bool wants_whole; /* blob_cluster_want_whole() */
	struct view *view;
	struct node *nodes;
	struct id128 index_id;  /* with epoch */
	_Atomic uint64_t epoch; /* taken; 0: none (C3) */
	atomic_bool is_lost;
	_Atomic int64_t end_ns; /* blob_cluster_hurry(); 0: no end in sight */
	_Atomic uint32_t turn;  /* spreads calls over nodes */
	struct ahead *ahead;
	_Atomic int64_t tracker_bad_ns[FDFS_MAX_TRACKERS];
	pthread_t thread, watcher;
	bool has_thread, has_watcher;

	/* the refresher's */
	size_t tracker; /* that answered last */
	bool was_bad;
	uint32_t round;
};

void cluster_event(struct cluster *c, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct cluster *cluster_of(struct blob *b);

/* --- cluster_map.c --- */

int cluster_map_start(struct cluster *c, struct err *e);
void cluster_map_stop(struct cluster *c);
struct view *view_get(struct cluster *c);
void view_put(struct view *v);
/* The map is asked for again at once. */
void cluster_kick(struct cluster *c);

/* Nodes in the order in which to try them. */
size_t order_read(struct cluster *c, const struct view *v, struct str group,
    struct view_node *ret[CLUSTER_TRIES]);
/* Those of @group first, then of the others (room decides); what does not
 * take writes, as far as is known, comes last. */
size_t order_write(struct cluster *c, const struct view *v, struct str group,
    struct view_node *ret[CLUSTER_TRIES]);
bool node_is_good(const struct view_node *n, bool to_write);
bool node_is_bad(const struct node *n);

/* --- cluster_call.c --- */

/* One call, and what it says of the node (C2). A refusal as of an old epoch is
 * looked into (C3): ERR_FAILED when the index is lost. */
int cluster_call(struct cluster *c, struct view_node *n,
    const struct rpc_request *q, int timeout_ms, struct rpc_reply *r,
    struct err *e);
/* FENCE: *ret is the highest epoch that it knows, on success and with
 * ERR_ACCESS_DENIED. */
int cluster_fence(struct cluster *c, struct view_node *n,
    const struct id128 *index_id, uint64_t epoch, uint64_t *ret, struct err *e);
/* It answers something that takes no time (C7). */
bool cluster_lives(struct cluster *c, struct view_node *n);
void cluster_lose(struct cluster *c, uint64_t newest);
/* 0: the index is taken (C3). */
int cluster_check_owner(struct cluster *c, const struct id128 *index_id,
    uint64_t *ret_epoch, struct err *e);
void cluster_to_info(const struct sop_file *f, struct blob_info *ret);
/* Group of a file ID. ERR_INVALID. */
int cluster_group_of(struct str id, struct str *ret, struct err *e);

/* --- cluster_put.c --- */

int cluster_put_begin(void *impl, struct str group,
    const struct blob_owner *owner, uint64_t size_hint, void **ret,
    struct err *e);
int cluster_put_write(void *put, const void *p, size_t len, struct err *e);
int cluster_put_commit(void *put, struct blob_info *ret, struct err *e);
void cluster_put_abort(void *put);
int cluster_put_whole(void *impl, struct str group,
    const struct blob_owner *owner, struct str body, struct blob_info *ret,
    struct err *e);
size_t cluster_whole_max(void *impl);
void cluster_choose_group(void *impl, struct str wish,
    char dst[BLOB_GROUP_MAX + 1]);

/* What a call that failed as a call says of its node (C2). */
void cluster_mark_bad(struct cluster *c, struct view_node *n,
    const struct err *e);
/* And one that did not. */
void cluster_mark_good(struct cluster *c, struct view_node *n);

/* --- cluster_later.c --- */

bool cluster_read_later(void *impl, struct str id, uint64_t off, void *p,
    size_t len, struct blob_later *l);

/* --- cluster_read.c --- */

int cluster_open(void *impl, struct str id, void **ret, uint64_t *ret_size,
    struct err *e);
int cluster_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e);
int cluster_note(void *file, struct buf *ret, struct err *e);
void cluster_file_close(void *file);
/* From any but @n, each once; not more than a call of ahead_begin() takes. */
int cluster_read_beside(struct cluster *c, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, const struct node *n, struct err *e);
int cluster_read_once(void *impl, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, struct err *e);

/* --- cluster_ahead.c: reading ahead, on a few threads --- */

struct piece;
int ahead_new(struct cluster *c, struct ahead **ret, struct err *e);
void ahead_free(struct ahead **ap);
/* Begins to read; NULL when there is no room for it. @id is copied. @beside:
 * cluster_read_beside() that node; NULL: cluster_read_once(). */
struct piece *ahead_begin(struct ahead *a, struct str id, uint64_t off,
    size_t len, const struct node *beside);
bool ahead_has(struct piece *p); /* all is well, and here */
/* A thread is on it: it ends. Who waits on one of these threads looks first. */
bool ahead_is_begun(struct piece *p);
/* Waits for it. The bytes stay until it is dropped. */
int ahead_wait(struct piece *p, struct str *ret, struct err *e);
void ahead_drop(struct piece **pp);

/* --- cluster_sets.c --- */

int cluster_delete_many(void *impl, const struct str *ids, size_t n,
    struct err *e);
int cluster_find_write(void *impl, const struct id128 *write_id,
    struct blob_info *ret, struct err *e);
int cluster_each(void *impl, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e);
int cluster_scrub_now(void *impl, struct err *e);
int cluster_compact_now(void *impl, struct err *e);

#endif
