/* storage/engine/engine_int.h - what the files of the engine share.
 *
 * Threads: one writer and one flusher per store path, one tidy thread; all
 * others are callers'. Lock order: pending (ENGINE) < queue (PATH) < volumes
 * (VOLUMES) < index table (FILE_INDEX). Counters of volumes and paths belong
 * to VOLUMES. */
#ifndef STORAGE_ENGINE_ENGINE_INT_H
#define STORAGE_ENGINE_ENGINE_INT_H

#include "storage/engine/engine.h"
#include "storage/engine/format.h"
#include "storage/engine/replica.h"

#include "lib/lock.h"
#include "lib/log.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define ENGINE_MAGIC 0x454e4731u
#define PATH_MAGIC 0x50415448u
#define VOL_OBJ_MAGIC 0x564f4c31u
#define FINDEX_MAGIC 0x46494458u

/* --- locations --- */

/* Time from the file ID (so that the index grows at its end), then a hash of
 * the name. Two names with one key count as a collision: drawn again. */
struct fkey {
	uint8_t b[16];
};

enum loc_type {
	LOC_PUT = NEEDLE_PUT,
	LOC_LARGE = NEEDLE_LARGE,
	LOC_TOMB = NEEDLE_TOMB,
	LOC_GONE = 15, /* only in memory: the tombstone itself was dropped */
};

struct loc {
	uint8_t type, class;
	uint16_t hdr_len;
	uint64_t vol, off; /* the needle */
	uint64_t size;     /* of the content; loc_size() */
	uint64_t version;
};

static inline uint64_t
loc_total(const struct loc *l)
{
	return needle_total(l->hdr_len, l->type == LOC_PUT ? l->size : 0);
}

/* Of a tombstone the index keeps when it was made in place of a size. */
static inline uint64_t
loc_size(const struct needle *n)
{
	return n->type == NEEDLE_TOMB ? (uint64_t)n->created_s : n->size;
}

static inline bool
loc_is_live(const struct loc *l)
{
	return l->type == LOC_PUT || l->type == LOC_LARGE;
}

/* --- volumes (vol.c) --- */

struct path;

struct vol_count { /* kept in the index beside the replayed offset */
	uint64_t live_bytes, dead_bytes; /* of whole needles */
	uint64_t live, tombs;            /* needles */
	uint64_t punched;
	bool sealed;
	bool has_gap;     /* damaged: quarantined, never thrown away */
	bool is_drained;  /* needles were copied from it */
	bool has_unknown; /* needles of types unknown here: kept too */
};

struct vol {
	uint32_t magic;
	struct path *p;
	uint64_t no;
	uint8_t salt[16];
	uint64_t prev_no, prev_end;
	int64_t created_s;          /* 0 until it is opened */
	int fd;                     /* -1 until first used; VOLUMES */
	unsigned refs;              /* VOLUMES */
	unsigned readers[2], epoch; /* VOLUMES: for hole punching */
	bool is_removed;            /* VOLUMES: file is unlinked */
	uint64_t end;               /* appended so far; the writer's */
	_Atomic uint64_t durable;
	uint64_t alloc;
	uint64_t replayed;  /* VOLUMES */
	bool is_dirty;      /* VOLUMES: differs from the index's record */
	struct vol_count n; /* VOLUMES */
	int64_t used_ns;    /* VOLUMES: last use of fd */
};

int vol_path(const struct path *p, uint64_t no, char dst[PATH_MAX],
    struct err *e);
/* A new one, durable, put into the path's table. */
int vol_create(struct path *p, uint64_t no, uint64_t alloc, uint64_t prev_no,
    uint64_t prev_end, struct vol **ret, struct err *e);
/* Adds a volume that is known by name only. */
int vol_add(struct path *p, uint64_t no, struct vol **ret, struct err *e);
/* Opens the file and reads its header, if that has not been done. */
int vol_open(struct vol *v, struct err *e);
/* Ref'd, open, *ret_slot registered as reader. NULL: no such volume (*rc == 0)
 * or it cannot be opened. */
struct vol *vol_get(struct path *p, uint64_t no, unsigned *ret_slot, int *rc,
    struct err *e);
void vol_put(struct vol **vp, unsigned slot);
/* Without a reference; VOLUMES held. */
struct vol *vol_find(struct path *p, uint64_t no);
/* The row of a volume that is gone goes with the next flush; under vlock. */
void vol_drop_row(struct path *p, uint64_t no);
/* Of an open one. */
int vol_load_header(struct vol *v, struct vol_header *ret, struct err *e);
/* Of a volume, here or gone; 0: not known any more. VOLUMES held. */
uint32_t vol_tag(const struct path *p, uint64_t no);
/* Unlinks the file, durably; frees the volume when the last reader leaves. */
int vol_remove(struct vol *v, struct err *e);
/* Waits until those who read when it was called have left; false when some
 * stay for longer than @ms. One caller at a time. */
bool vol_drain_readers(struct vol *v, int ms);
void vol_free(struct vol *v);
/* Closes files of volumes that were not used for a while. */
void vols_trim(struct path *p, size_t keep);

/* Reads and decodes the needle at @off. @buf: FMT_HDR_MAX bytes. */
int vol_read_header(struct vol *v, uint64_t off, uint32_t hdr_len, uint8_t *buf,
    struct needle *ret, struct err *e);
/* Checks the payload of a NEEDLE_PUT; ERR_CORRUPT. */
int vol_check_payload(struct vol *v, uint64_t off, const struct needle *n,
    struct err *e);

/* Walk (scan.c): calls @fn for each needle from @from on. A place without one
 * is searched for the next one; that gap is told to @gap (NULL: ignored).
 * *ret_end is where the last needle ends; *ret_dirty whether bytes other than
 * zero follow. A result of @fn other than 0 stops and is returned. */
struct scan {
	struct vol *v;
	uint64_t from, limit;
	int (*fn)(void *arg, const struct needle *n, uint64_t off,
	    struct err *e);
	void (*gap)(void *arg, uint64_t from, uint64_t to);
	void *arg;
};
int vol_scan(const struct scan *s, uint64_t *ret_end, bool *ret_dirty,
    struct err *e);
/* Number of the first volume from @from on, 0 = none. */
uint64_t vol_from(struct path *p, uint64_t from);
/* A gap was met, after the start: told and noted, once for each volume. */
void vol_quarantine(struct path *p, struct vol *v, uint64_t from, uint64_t to);

/* --- file index (ftab.c, findex.c) --- */

struct fent {
	struct fkey key;
	struct id128 wid;
	struct id128 old_wid; /* its row in LMDB goes */
	struct loc loc;
	bool is_new; /* its write ID is not in LMDB yet */
	uint32_t next_key, next_wid;
};

struct ftab;
struct ftab *ftab_new(void);
void ftab_free(struct ftab **tp);
int ftab_reserve(struct ftab *t, size_t n, struct err *e);
size_t ftab_len(const struct ftab *t);
size_t ftab_weight(const struct ftab *t); /* work of writing it to LMDB */
struct fent *ftab_at(const struct ftab *t, size_t i);
struct fent *ftab_find(const struct ftab *t, const struct fkey *key);
struct fent *ftab_find_wid(const struct ftab *t, const struct id128 *wid);
/* Room must have been reserved. @old_wid (or NULL): of what it replaces, if that
 * is another. */
void ftab_put(struct ftab *t, const struct fkey *key, const struct id128 *wid,
    const struct id128 *old_wid, const struct loc *loc, bool is_new);

struct vol_rec { /* a volume's row */
	uint64_t no, replayed;
	struct vol_count n;
};

struct path_rec { /* the path's row */
	uint64_t files, bytes, next_vol, inc, seq;
	int64_t scrub_last_s;
};

struct findex;
int findex_open(const char *dir, size_t table_max, struct findex **ret,
    struct err *e);
void findex_close(struct findex **fp);
/* 0 or ERR_NOT_FOUND; tombstones are found. */
int findex_get(struct findex *f, const struct fkey *key, struct loc *ret,
    struct err *e);
/* Key of the live file with that write ID. */
int findex_get_wid(struct findex *f, const struct id128 *wid, struct fkey *ret,
    struct err *e);
/* Room for @n publications; ERR_NO_MEMORY, ERR_NO_SPACE when flushing lags. */
int findex_reserve(struct findex *f, size_t n, struct err *e);
/* Gives room back that will not be used. */
void findex_unreserve(struct findex *f, size_t n);
void findex_lock(struct findex *f);
void findex_unlock(struct findex *f);
/* Locked by the caller; returns the weight of the active table. */
size_t findex_publish(struct findex *f, const struct fkey *key,
    const struct id128 *wid, const struct id128 *old_wid, const struct loc *loc,
    bool is_new);
size_t findex_weight(struct findex *f); /* of what is not yet in LMDB */
/* Takes the table out (FILE_INDEX and VOLUMES held by the caller). False when
 * a frozen one still waits for its commit. */
bool findex_freeze(struct findex *f);
/* Writes the frozen table and the rows; on success the table is dropped. */
int findex_commit(struct findex *f, const struct vol_rec *vols, size_t n_vols,
    const uint64_t *removed, size_t n_removed, const struct path_rec *path,
    struct err *e);
/* Gives back what commits have left behind; none is under way. */
void findex_trim(struct findex *f);
struct fitem { /* what a key has */
	struct fkey key;
	struct loc loc;
};
/* What is in memory of a range, both ends included, in key order, gone ones
 * too; *ret (NULL: nothing) is the caller's to free. Whatever is not in it is
 * found by findex_slice() afterwards. */
int findex_tables(struct findex *f, const struct fkey *from,
    const struct fkey *to, struct fitem **ret, size_t *ret_n, struct err *e);
int findex_load_path(struct findex *f, struct path_rec *ret, struct err *e);
/* Row of one volume; ERR_NOT_FOUND. */
int findex_load_vol(struct findex *f, uint64_t no, struct vol_rec *ret,
    struct err *e);
/* The first row of a volume numbered @from or higher; ERR_NOT_FOUND. */
int findex_next_vol(struct findex *f, uint64_t from, struct vol_rec *ret,
    struct err *e);
/* Up to @max committed entries after *from (zero: from the start). */
int findex_slice(struct findex *f, struct fkey *from, struct fent *ret,
    size_t max, size_t *ret_n, struct err *e);

/* --- store paths (path.c, writer.c, replay.c) --- */

struct wreq { /* one needle for the writer; the caller's until it is written */
	struct wreq *next;
	uint8_t *hdr; /* encoded; the writer places it */
	uint32_t hdr_len;
	struct str payload;
	struct fkey key;
	struct id128 wid;
	struct loc loc; /* vol, off: the writer's */
	bool has_key;   /* publish it */
	bool has_old;
	struct loc old; /* what it replaces */
	bool is_new;    /* a file that was not there, or by another write */
	struct id128 old_wid; /* of what it replaces */
	bool keep_source;
	bool frees; /* may use the reserve */
	uint32_t batch;
	int rc;
	struct err *e;
	/* NULL: somebody waits. Else called once, W2; then @r may be gone. */
	void (*stored)(void *arg, int rc, bool more);
	void *arg;
};

enum {
	WRITER_IOVS = 768
};
/* At most this much, and one needle, is written in one sync. */
#define ENGINE_SYNC_MAX (8u << 20)

struct path {
	uint32_t magic;
	struct engine *g;
	unsigned no; /* M.. in the file IDs */
	char dir[PATH_MAX - 128];
	bool is_near_index; /* would be lost with it */
	struct ident ident;
	int lock_fd;
	struct findex *fx;

	struct lock qlock; /* PATH: the queue */
	struct cond qcond, room;
	struct wreq *q_head, **q_tail;
	uint64_t q_bytes;
	unsigned q_n, last_batch; /* requests */
	bool q_waits;             /* somebody for one of them */
	unsigned room_waiters;
	bool writer_idle, is_led, stop;
	unsigned slow; /* batches that callers do not write: W5 */
	uint32_t open_batch;
	_Atomic uint32_t done[2];
	pthread_t writer, flusher;
	bool has_writer, has_flusher;

	/* writer's */
	struct vol *cur;
	struct iovec iov[WRITER_IOVS];
	bool has_started; /* NEEDLE_START is written */
	uint64_t next_vol;
	uint64_t last_no, last_end; /* where the volume before the next ends */

	_Atomic bool is_failed, is_full;
	_Atomic uint64_t avail, total;
	_Atomic int64_t space_ns;

	struct lock vlock; /* VOLUMES */
	struct cond vcond; /* readers left */
	struct vol **vols; /* by number */
	size_t n_vols, cap_vols;
	uint64_t files, bytes; /* live */
	bool is_row_dirty;     /* the path's row differs from the index's */
	uint64_t *removed;     /* volumes whose rows must go */
	size_t n_removed, cap_removed;
	size_t n_lost; /* volumes that the index has and the disk not */
	_Atomic bool has_damage;     /* some of those, or volumes with gaps */
	uint64_t last_inc, last_seq; /* greatest source position replayed */
	uint64_t tags_of; /* tags[i]: of volume tags_of - i; VOLUMES */
	uint32_t tags[FMT_TAGS + 1];

	struct lock flush; /* FLUSH: one at a time */
	struct {           /* rows that go with the frozen table */
		bool is_set;
		struct vol_rec *vols;
		uint64_t *removed;
		size_t n_vols, n_removed;
		struct path_rec path;
	} snap;
	struct lock flock; /* LEAF: the flusher's orders */
	struct cond fcond;
	bool flush_wanted, flush_stop;
	_Atomic int64_t write_ns; /* last publication */
	_Atomic bool flusher_rests;

	struct lock punchlock; /* LEAF */
	struct loc *punches; /* dead payloads whose blocks may be given back */
	size_t n_punches;

	_Atomic uint64_t scrub_bytes, scrub_total, scrub_errors, scrub_passes;
	_Atomic int64_t scrub_last_s;

	struct zeroer *zeroer;
	struct large_io *io;
	uint32_t dir_count;              /* large files: fan-out */
	_Atomic uint8_t dirs[65536 / 8]; /* directories known to be there */
};

int path_open(struct engine *g, unsigned no, const char *dir, int lock_fd,
    const struct ident *ident, struct path **ret, struct err *e);
void path_close(struct path **pp);
int path_replay(struct path *p, struct err *e);
int path_flush(struct path *p, struct err *e);
int path_start_threads(struct path *p, struct err *e);
void path_space(struct path *p);
void path_want_flush(struct path *p);
void path_wake_flusher(struct path *p); /* something was written */
/* Bytes kept at the end of a volume for what frees space. */
uint64_t path_tail_reserve(const struct path *p);
void path_event(struct path *p, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Queues; then waits. ERR_BUSY when the queue stays full. */
int writer_submit(struct path *p, struct wreq *r, struct err *e);
int writer_wait(struct path *p, struct wreq *r);
/* Both; with r->stored it need not be written when this returns (0). */
int writer_put(struct path *p, struct wreq *r, struct err *e);
/* With r->stored: nobody is woken for it before writer_gathered(). */
void writer_gather(struct path *p, struct wreq *r, struct err *e);
void writer_gathered(struct path *p, bool may_lead);
void *writer_main(void *arg);
/* Applies one needle's effect on counters; VOLUMES held. */
void path_account(struct path *p, struct vol *v, const struct loc *loc,
    bool has_old, const struct loc *old);

/* --- large files (large.c) --- */

struct large_writer;
int large_begin(struct path *p, uint64_t size_hint, struct large_writer **ret,
    struct err *e);
int large_write(struct large_writer *w, const void *p, size_t len,
    struct err *e);
/* As engine_upload_lend(); large_settle() as engine_upload_settle(). */
int large_lend(struct large_writer *w, const void *p, size_t len,
    struct err *e);
void large_settle(struct large_writer *w);
/* Before large_crc32() and large_finish(): all is written. */
int large_drain(struct large_writer *w, struct err *e);
uint64_t large_size(const struct large_writer *w);
uint32_t large_crc32(const struct large_writer *w);
enum large_how {
	LARGE_NEW,     /* the name was drawn: nothing can be there */
	LARGE_INSTALL, /* what is there is no file that the log names */
	LARGE_REPLACE, /* the same version, damaged: replaced at once */
};
/* Makes the file durable under its name. @n: id, owner, ...; n_blocks is set
 * here. The temporary name stays until large_end(). */
int large_finish(struct large_writer *w, struct needle *n, enum large_how how,
    struct err *e);
/* @keep: the log record is durable. Else all names go. Frees. */
void large_end(struct large_writer **wp, bool keep);
int large_unlink(struct path *p, struct str id, uint64_t version,
    struct err *e);
/* Of all versions. */
void large_unlink_all(struct path *p, struct str id);
/* Opens the data file of @n. */
int large_open(struct path *p, const struct needle *n, int *ret_fd,
    struct err *e);
int large_read_sums(int fd, uint64_t size, uint32_t first, uint32_t n,
    uint8_t *dst, struct err *e);
/* Settles what a crash left in tmp/. */
int large_recover(struct path *p, struct err *e);

/* --- zero.c --- */

int zero_start(struct path *p, struct err *e);
void zero_stop(struct path *p);
/* The writer is about to write up to @end. */
void zero_guard(struct path *p, uint64_t end);
/* It has written needles of about @needle bytes. */
void zero_ahead(struct path *p, struct vol *v, size_t needle);
/* It is done with the volume. */
void zero_end(struct path *p);

/* --- largeio.c --- */

#define LARGE_IO_BUF (512 * 1024)

struct io_job {
	struct io_job *next;
	/* What was submitted, one or more pieces in order; not after it has
	 * failed. */
	int (
	    *fn)(struct io_job *j, const struct iovec *v, int n, struct err *e);
	struct iovec v[ENGINE_LENT];
	unsigned n; /* pieces that are not done */
	bool is_queued;
	int rc; /* the first failure */
	struct err why;
};
struct large_io;
int large_io_start(struct path *p, struct err *e);
void large_io_stop(struct path *p);
/* One more piece, which stays until it was waited for. Waits for a place. They
 * begin to be done when there are @together of them, or are waited for. */
void large_io_submit(struct path *p, struct io_job *j, struct str data,
    unsigned together);
/* Until no more than the last @left pieces are to be done; whether any has
 * failed so far. */
int large_io_wait(struct path *p, struct io_job *j, unsigned left,
    struct err *e);
/* LARGE_IO_BUF bytes, aligned for O_DIRECT; NULL when all are lent. */
void *large_io_buf_get(struct path *p);
void large_io_buf_put(struct path *p, void *b);
void large_io_trim(struct path *p); /* frees the idle ones */

/* --- the whole --- */

struct pend { /* a name or a write ID that is being changed */
	struct fkey key;
	struct id128 wid;
	bool has_wid;
	struct pend *next_key, *next_wid;
};

enum {
	PEND_BUCKETS = 256,
	MAX_PATHS = 256,
	BAD_IDS = 1024 /* a scrub finds them faster than they are repaired */
};
enum {
	MAX_PUNCHES = 4096
};

/* Settings that engine_tune() may change while others read them. */
#define tuned(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

enum io {
	IO_OPEN,
	IO_READ,
	IO_WRITE,
	IO_KINDS
};

struct engine {
	uint32_t magic;
	struct engine_conf c;
	char group[20];
	struct ident ident; /* path is zero */
	int64_t made_s;
	_Atomic uint64_t io[IO_KINDS], io_ok[IO_KINDS];
	struct path *paths[MAX_PATHS];
	size_t n_paths;
	bool is_member;
	_Atomic int64_t forget_s; /* engine_forget_before() */
	uint64_t incarnation;
	uint64_t parent_inc, parent_seq;
	_Atomic uint64_t seq;
	_Atomic uint64_t log_seq; /* batches made durable */
	_Atomic unsigned log_waiters;
	struct lock log_lock; /* LEAF */
	struct cond log_cond;
	_Atomic unsigned rr;

	struct lock plock; /* ENGINE: pending */
	struct cond pcond;
	unsigned pend_waiters;
	struct pend *by_key[PEND_BUCKETS], *by_wid[PEND_BUCKETS];

	struct lock tlock; /* LEAF: wakes the background threads */
	struct cond tcond;
	_Atomic bool tidy_wanted; /* the compactor does not rest */
	_Atomic bool tidy_stop;
	bool has_compactor, has_scrubber;
	pthread_t compactor, scrubber;
	struct lock compact_lock, scrub_lock; /* PASS: one pass at a time */

	struct lock badlock;
	char bad[BAD_IDS][ENGINE_FILE_ID_MAX]; /* ring of damaged files */
	unsigned n_bad;
};

static inline void
io_count(struct engine *g, enum io kind, int rc)
{
	atomic_fetch_add_explicit(&g->io[kind], 1, memory_order_relaxed);
	if (rc >= 0)
		atomic_fetch_add_explicit(&g->io_ok[kind], 1,
		    memory_order_relaxed);
}

/* False when @wait_key is false and the name is taken. */
bool pend_enter(struct engine *g, struct pend *p, bool wait_key);
/* Never waits, for a write ID neither: for those who hold names. */
bool pend_try(struct engine *g, struct pend *p);
void pend_leave(struct engine *g, struct pend *p);

/* Key and path of a file ID; ERR_INVALID. */
int engine_key(const struct engine *g, struct str id, struct fkey *ret,
    unsigned *ret_path, struct err *e);
/* False: it is known as damaged already; nothing is told then. */
bool engine_bad_file(struct engine *g, struct path *p, struct str id,
    const char *what);
/* After replay: volumes of which the index has files and the disk nothing. */
int path_find_lost(struct path *p, struct err *e);
/* It was written anew: damage is news again. */
void engine_good_file(struct engine *g, struct str id);
void info_of_needle(const struct needle *n, struct engine_file_info *ret);
/* Header of a live file by key; @buf FMT_HDR_MAX. */
int engine_load(struct path *p, const struct fkey *key, struct loc *ret_loc,
    uint8_t *buf, struct needle *ret, struct err *e);

#define UPLOAD_MAGIC 0x55504c44u

struct engine_upload {
	uint32_t magic;
	struct engine *g;
	uint8_t class;
	struct id128 index_id, write_id;
	struct buf note;
	struct buf body; /* while it is small */
	struct large_writer *large;
	struct path *p; /* of the large one */
	int path_no;    /* wanted, or -1 */
	int rc;         /* first failure: later calls give it again */
	struct err why;
};

/* put.c, for install.c. @path_no -1: by space. */
int put_path(struct engine *g, uint8_t class, int path_no, uint64_t size,
    struct path **ret, struct err *e);
int put_check_owner(const struct engine_owner *o, struct str ext,
    struct err *e);
/* A fresh name, terminated; returns its length. */
size_t put_draw_name(struct path *p, uint64_t size, uint32_t crc32,
    const char *ext, unsigned flags, char dst[ENGINE_FILE_ID_MAX + 1]);
/* Header of the file that @wid has made; ERR_NOT_FOUND. */
int put_find_write(struct engine *g, const struct id128 *wid, uint8_t *buf,
    struct needle *ret, struct err *e);
void put_sum_blocks(const struct needle *n, struct str body, uint8_t *dst);

/* install.c: a version under way; its name is pending from inst_begin() to the
 * caller's pend_leave(). */
struct inst {
	struct path *p;
	struct pend pend;
	struct str id; /* view of the record's */
	struct loc old;
	bool is_repair; /* of the version that is here */
	bool is_queued; /* or written, when it is alone */
	bool is_alone;
	struct wreq r;
	uint8_t *hdr;
	struct err err;
};
enum {
	INST_TAKEN = 2 /* somebody else is at it, and @wait is false */
};
/* 0: to be written; 1: not needed; then, and when < 0, nothing is pending.
 * @ret: what is here. */
int inst_begin(struct engine *g, struct inst *x, const struct engine_record *r,
    unsigned flags, bool wait, struct engine_version *ret, struct err *e);
void inst_needle(const struct inst *x, const struct engine_record *r,
    struct needle *ret);
/* @hdr: encoded; it and @e stay until inst_wait(). x->is_alone: nothing else is
 * submitted before that. */
int inst_submit(struct inst *x, const struct needle *n, uint8_t *hdr,
    struct str payload, struct err *e);
int inst_wait(struct inst *x);

static inline struct engine_version
version_of(const struct loc *l)
{
	bool live = loc_is_live(l);

	return (
	    struct engine_version){ .known = live ? ENGINE_LIVE : ENGINE_TOMB,
		.class = l->class,
		.version = l->version,
		.size = live ? l->size : 0 };
}
/* record.c: the note is appended to @note. */
int record_of_needle(const struct needle *n, struct engine_record *ret,
    struct buf *note, struct err *e);

/* logread.c: a batch is durable. */
void log_bump(struct engine *g);

/* tidy.c: the background threads. */
int tidy_start(struct engine *g, struct err *e);
void tidy_stop(struct engine *g);
/* Sleeps; false when the engine is being closed. */
bool tidy_sleep(struct engine *g, int64_t ms);
/* compact.c: @percent dead makes a victim. */
int compact_pass(struct path *p, unsigned percent, struct err *e);
void punch_later(struct path *p, const struct loc *l);
/* Holds no LEAF: the compactor looks within a second. */
void tidy_want(struct engine *g);
/* compact_lock is held: no volume goes away meanwhile. */
void punch_pass(struct path *p);
/* scrub.c: @rate bytes/s, 0 = at full speed. */
int scrub_pass(struct path *p, uint64_t rate, struct err *e);

/* ident.c: creel.json of all paths. Fills g->paths' arguments. */
struct opened_path {
	char dir[PATH_MAX - 128];
	int lock_fd;
	struct ident ident;
	int64_t made_s; /* the deployment's node: its first path */
};
/* Opens, creates, checks and locks; @ret has c->n_paths entries, by number. */
int ident_open(const struct engine_conf *c, struct opened_path *ret,
    struct err *e);

#endif
