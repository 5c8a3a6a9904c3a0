/* gateway/index/kv.h - an ordered key-value store with transactions.
 *
 * The seam of the index. Today: a group-synced log, an ordered table in memory
 * and LMDB behind (DESIGN 5); later PostgreSQL's protocol. Keys are 1..1280
 * bytes in memcmp order, values up to 1 MiB.
 *
 * K1  kv_update() == 0: the transaction is durable and visible to every view
 *     opened from then on. It is all there or not at all after any crash.
 * K2  Transactions are serializable; each sees all earlier ones.
 * K3  No result that depends on an undurable transaction leaves: kv_update()
 *     returns, success or fn's own error, only once all that fn read is synced.
 * K4  A view is one consistent snapshot, stable while it is open.
 * K5  Each record carries a checksum over key and value; ERR_CORRUPT, never
 *     wrong bytes.
 * Threads: any; a view or cursor belongs to one thread at a time. */
#ifndef GATEWAY_INDEX_KV_H
#define GATEWAY_INDEX_KV_H

#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

#include <pthread.h>

#define KV_KEY_MAX 1280
#define KV_VALUE_MAX (1024 * 1024)

struct kv;
struct kv_tx;
struct kv_view;
struct kv_cursor;
struct blob;

struct kv_conf {
	const char *dir; /* log/ and the LMDB file live below it */
	/* 0 stands for the default of each. */
	uint64_t map_size;  /* LMDB address space; grows by itself when full */
	uint64_t table_max; /* bytes in memory before writers wait */
	uint64_t log_segment; /* bytes of one; a transaction fits into one */
	int64_t
	    idle_flush_ms; /* without writes so long: memory is given back */
	int64_t
	    archive_interval_s; /* how far the archive may lag; 0 = archive off */
	uint64_t
	    snapshot_every; /* archived log bytes after which a snapshot is due */
	bool is_expected;   /* there is data: a lost index is not made anew */
	struct blob
	    *archive; /* snapshots and sealed log go there; NULL = none */
	void (*event)(void *arg, int level, const char *text);
	void *event_arg;
	/* Where another process could own the same index; NULL: nowhere. */
	const struct kv_owner *owner;
	void *owner_arg;
};

/* Who may write: the newest epoch that took the index. */
struct kv_owner {
	/* The highest epoch that took it so far, 0: none. If this index has not
	 * seen that one, it is an older copy: kv_open() fails with
	 * ERR_ACCESS_DENIED and has changed nothing. kv_rebuild() makes one that
	 * begins above it, and that has taken it (take_all). */
	int (*newest)(void *arg, const struct id128 *index_id,
	    uint64_t *ret_epoch, struct err *e);
	/* Called with the epoch that begins, before anything is archived. A
	 * failure is kv_open()'s. */
	int (*take)(void *arg, const struct id128 *index_id, uint64_t epoch,
	    struct err *e);
	/* For kv_rebuild(), whose index is not where the last owner's was: as
	 * take(), but once it returned 0 no older epoch's write is taken
	 * anywhere, reached or not, for longer than moments. */
	int (*take_all)(void *arg, const struct id128 *index_id, uint64_t epoch,
	    struct err *e);
	/* A newer one has it now: no transaction from here on. At once. */
	bool (*is_lost)(void *arg);
};

int kv_open(const struct kv_conf *c, struct kv **ret, struct err *e);
/* Waits for transactions under way, archives, closes cleanly. */
void kv_close(struct kv **kp);
const struct id128 *kv_id(const struct kv *k); /* index UUID */
/* True until the next clean sweep: created, restored or rebuilt index. */
bool kv_is_fresh(struct kv *k);
int kv_clear_fresh(struct kv *k, struct err *e);

/* --- writing --- */

/* Runs on one thread at a time, maybe several times: no I/O, no locks, no
 * effects but through @tx and @arg (which it must fill anew each run). Reads
 * first, writes last. A negative result aborts the transaction alone and is
 * what kv_update() returns. */
typedef int (*kv_fn)(struct kv_tx *tx, void *arg, struct err *e);

/* ERR_BUSY when the table is full and stays full, ERR_FAILED after a log
 * error (restart needed), ERR_NO_SPACE. */
int kv_update(struct kv *k, kv_fn fn, void *arg, struct err *e);

/* For transactions that free space in the end (deletes, aborts, the
 * collector): they go on where a full disk refuses the others with
 * ERR_NO_SPACE, from what the index keeps in reserve. */
#define KV_FREES 1u
int kv_update_flags(struct kv *k, unsigned flags, kv_fn fn, void *arg,
    struct err *e);

/* kv_update_flags() for who does not wait: begun where it may block, posted by
 * what has to come first, and over when done() says so. All fields are the
 * index's. */
struct kv_job {
	struct kv *kv;
	struct kv_job *next;
	kv_fn fn;
	void *arg;
	void (*done)(void *arg, int rc);
	void *done_arg;
	struct err *e;
	unsigned flags, gate;
	pthread_t owner;
	int rc;
	_Atomic uint32_t is_done;
};
/* May it join? As kv_update_flags(). @e stays until done(). */
int kv_job_begin(struct kv *k, struct kv_job *j, unsigned flags, kv_fn fn,
    void *arg, struct err *e);
/* Once after a good begin, on any thread: runs it, or ends it with a negative
 * @rc. @more: others are posted at once, the last of them without; that one may
 * block while it runs all of them, on this thread. @done(arg, rc) is called
 * once, when K1 and K3 hold for @rc, on any thread, maybe before this returns;
 * it must not block, and @j is the caller's again. */
void kv_job_post(struct kv_job *j, int rc, bool more,
    void (*done)(void *arg, int rc), void *done_arg);

/* The sequence this transaction commits as: rises by at least 1 each. */
uint64_t kv_tx_seq(struct kv_tx *tx);
/* *ret stays valid until the next kv_tx_* call. ERR_NOT_FOUND. */
int kv_tx_get(struct kv_tx *tx, struct str key, struct str *ret, struct err *e);
/* First record with key >= @from (and < @to unless empty). ERR_NOT_FOUND. */
int kv_tx_next(struct kv_tx *tx, struct str from, struct str to,
    struct str *ret_key, struct str *ret_value, struct err *e);
int kv_tx_put(struct kv_tx *tx, struct str key, struct str value,
    struct err *e);
int kv_tx_del(struct kv_tx *tx, struct str key, struct err *e); /* absent: 0 */

/* --- reading --- */

/* About a microsecond. Close it before anything slow: while it is open LMDB
 * cannot use old pages again, nor its map grow. ERR_BUSY: thousands are open. */
int kv_view_open(struct kv *k, struct kv_view **ret, struct err *e);
void kv_view_close(struct kv_view **vp);
uint64_t kv_view_seq(const struct kv_view *v); /* newest transaction in it */
/* *ret stays valid until the view closes. ERR_NOT_FOUND. */
int kv_view_get(struct kv_view *v, struct str key, struct str *ret,
    struct err *e);

/* Forward cursor over [from, to); @to empty = to the end of all. */
int kv_cursor_open(struct kv_view *v, struct str from, struct str to,
    struct kv_cursor **ret, struct err *e);
void kv_cursor_close(struct kv_cursor **cp);
/* 1 and the record, 0 at the end, negative on error. Views stay valid until
 * the next call on this cursor. */
int kv_cursor_next(struct kv_cursor *c, struct str *ret_key,
    struct str *ret_value, struct err *e);
/* Next kv_cursor_next() gives the first record >= @key (forward only). */
int kv_cursor_seek(struct kv_cursor *c, struct str key, struct err *e);

/* --- looking after --- */

struct kv_stat {
	uint64_t records; /* in LMDB; table not counted */
	uint64_t lmdb_bytes, log_bytes, table_bytes;
	uint64_t seq, flushed_seq, archived_seq;
	int64_t archived_at_s; /* when the archive was last complete */
	bool has_archive;      /* it is on */
	bool is_failed;
	bool is_lost; /* to another owner */
};
void kv_get_stat(struct kv *k, struct kv_stat *ret);
int kv_flush(struct kv *k, struct err *e);   /* table -> LMDB, now */
int kv_archive(struct kv *k, struct err *e); /* seal and archive, now */
/* Consistent copy of the whole index as a new index directory. */
int kv_backup(struct kv *k, const char *to_dir, struct err *e);
/* Makes c->dir (which must hold no index) from the archive's newest snapshot
 * and the log after it. Only entries of @index_id, or of the newest index found
 * when it is NULL. */
int kv_rebuild(const struct kv_conf *c, const struct id128 *index_id,
    struct err *e);

#endif
