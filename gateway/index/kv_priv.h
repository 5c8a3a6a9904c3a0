/* gateway/index/kv_priv.h - inside the index: kv*.c only.
 *
 * How a transaction goes: kv_update() queues it; the committer takes the queue
 * as a batch, runs each function against a view, puts what it writes into the
 * active table (at sequences that no reader looks at yet) and into the batch's
 * frame; one append, one sync; then `seq` rises and the waiters go.
 *
 * How it gets to LMDB: at half of table_max, or when idle, the committer makes
 * a new active table and hands the old one to the flusher, which writes it out
 * in sorted commits, the last one with flushed_seq. Until that table is
 * dropped readers find its records in it, whatever LMDB holds of them already.
 *
 * X1  Tables hold every transaction above the flushed_seq of any reader's
 *     snapshot: (tables, seq, snapshot) are taken under view_lock, and tables
 *     are dropped under it only once LMDB has committed them.
 * X2  Entries above `seq` are seen by the committer's transactions alone; they
 *     are retracted when their batch fails.
 * X3  LMDB's map grows only while no reader is renewed (`is_growing`).
 * Locks: queue_lock before view_lock; neither is held across I/O. tree_lock
 * comes before both and is held across writing to LMDB alone. */
#ifndef GATEWAY_INDEX_KV_PRIV_H
#define GATEWAY_INDEX_KV_PRIV_H

#include "gateway/index/ilog.h"
#include "gateway/index/kv.h"
#include "gateway/index/ops.h"
#include "gateway/index/table.h"
#include "gateway/index/tree.h"
#include "lib/lock.h"

#include <stdatomic.h>

#define KV_MAGIC 0x6b767374
#define KV_VIEW_MAGIC 0x6b767677
#define KV_CURSOR_MAGIC 0x6b766375
#define KV_TX_MAGIC 0x6b767478

struct kv_view {
	unsigned magic;
	struct kv *kv;
	struct kv_view *next; /* in the pool */
	struct tree_reader *reader;
	struct table *tables[2]; /* newest first; NULL: none */
	uint64_t seq;
	unsigned n_cursors;
};

/* One source of a merge: the record it stands on, or none. */
struct source {
	struct table_iter it; /* of a table */
	struct str key, raw;
	bool is_valid;
};

struct kv_cursor {
	unsigned magic;
	struct kv_view *view;
	uint64_t seq;
	struct tree_cursor *tree;
	struct source sources[3]; /* two tables, newest first, and the tree */
	unsigned n_tables;
	int current; /* source of the last record, -1: none */
	struct buf to;
	bool has_to;
};

enum kv_fill {
	KV_FILL_ROOM,
	KV_FILL_FULL, /* writers wait */
	KV_FILL_OVER, /* all do */
};

struct kv {
	unsigned magic;
	struct kv_conf conf;
	char dir[3900], log_dir[4000];
	int lock_fd;
	struct tree *tree;
	struct ilog *log;
	struct id128 id;
	int64_t created_ns;
	struct lock tree_lock; /* held by who writes to the tree */
	struct tree_meta meta; /* meta_lock; changes under tree_lock */
	struct lock meta_lock;

	struct lock queue_lock;
	struct cond work;  /* committer */
	struct cond room;  /* those whom a full table keeps out */
	struct cond flush; /* flusher, and who waits for it */
	struct kv_job *queue, **queue_end;
	unsigned n_queued, last_batch;
	bool queue_waits; /* somebody in it sleeps at the gate */
	bool is_committer_waiting;
	bool is_led; /* a caller runs its own transaction */
	bool is_closing;
	bool is_committer_gone, is_flusher_gone;
	bool want_rotate;    /* ask the committer for a new active table */
	bool is_flush_stuck; /* LMDB has no room: only what frees space */
	int flush_rc;        /* of the last flush */
	struct err flush_err;
	int64_t last_write_ns;
	int64_t space_at_ns; /* the flusher's: when to look for space again */
	_Atomic uint32_t gates[2]; /* futexes: batches done */
	unsigned gate;

	_Atomic bool is_failed;
	_Atomic int fill; /* enum kv_fill */

	struct lock view_lock;
	struct cond views_gone, grown;
	struct table *active, *flushing;
	uint64_t seq;         /* newest durable transaction */
	uint64_t active_base; /* all up to it lies before `active` */
	uint64_t flushed_seq;
	struct kv_view *pool;
	unsigned n_pooled, n_views;
	bool is_growing;

	pthread_t committer, flusher;
	bool has_committer, has_flusher;
	struct buf frame; /* committer */

	uint64_t pins[4]; /* view_lock: log kept above; UINT64_MAX: free */
	struct archive *archive;
};

#define KV_PIN_NONE UINT64_MAX

/* kv.c */
void kv_event(struct kv *k, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Retires log that is flushed, archived and not pinned. */
void kv_retire_log(struct kv *k);
/* Keeps log above the newest transaction until unpinned; the pin or ERR_BUSY. */
int kv_pin(struct kv *k, uint64_t *ret_seq, struct err *e);
void kv_unpin(struct kv *k, int pin);

int kv_set_fresh(struct kv *k, struct err *e);
int kv_set_epoch(struct kv *k, uint64_t epoch, struct err *e);
/* Asks the owner's seam, if there is one. */
int kv_take(struct kv *k, uint64_t epoch, struct err *e);

/* kv_commit.c */
void kv_note_fill(struct kv *k);
void *kv_committer_main(void *arg);
/* Puts replayed transactions into the active table. */
int kv_replay(void *arg, uint64_t first_seq, uint32_t n_tx, struct str payload,
    struct err *e);

/* kv_view.c */
int kv_record_get(struct kv_view *v, uint64_t seq, struct str key,
    struct str *ret, struct err *e);
int kv_cursor_start(struct kv_cursor *c, struct kv_view *v, uint64_t seq,
    struct err *e);
void kv_cursor_finish(struct kv_cursor *c);
int kv_cursor_place(struct kv_cursor *c, struct str key, struct err *e);
int kv_cursor_step(struct kv_cursor *c, struct str *ret_key,
    struct str *ret_raw, struct err *e);
void kv_view_pool_free(struct kv *k);

/* kv_flush.c */
void *kv_flusher_main(void *arg);

/* kv_archive.c */
int archive_start(struct kv *k, struct err *e);
void archive_stop_begin(struct kv *k);
void archive_stop(struct kv *k);
uint64_t archive_seq(struct kv *k); /* all up to it is archived */
void archive_stat(struct kv *k, uint64_t *ret_seq, int64_t *ret_at_s);

#endif
