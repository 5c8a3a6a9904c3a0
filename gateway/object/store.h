/* gateway/object/store.h - what the files of this folder share.
 *
 * S1  A reader is on the list of readers before its view is opened, with a
 *     sequence not above the view's; the list is in rising order of it. Once
 *     it has found its object it holds that one's bytes alone.
 * S2  A write ID is on the list of puts before its blob is begun, and until
 *     the transaction that names it (or gives it up) is through. */
#ifndef GATEWAY_OBJECT_STORE_H
#define GATEWAY_OBJECT_STORE_H

#include "gateway/object/cache.h"
#include "gateway/object/records.h"
#include "gateway/object/txn.h"

#include "lib/lock.h"

#include <pthread.h>
#include <stdatomic.h>

#define STORE_MAGIC 0x5703e000u

#define SCRATCH_MAX (64u << 20) /* arena of one operation inside */

struct reader_link { /* S1 */
	struct reader_link *prev, *next;
	uint64_t seq;
	bool is_known;
	struct id128 held; /* see reader_holds() */
};

struct store {
	unsigned magic;
	struct store_conf conf;
	struct kv *kv;
	struct blob *blob;
	struct id128 index_id;

	struct cache *buckets; /* struct bucket by name */
	struct cache *keys;    /* struct cached_key by access key ID */
	struct lock root_lock; /* LEAF; the root pair */
	struct access_key root_key;
	struct user root_user;

	struct lock lock; /* OBJECT: what follows */
	struct cond wake; /* of the background thread */
	_Atomic uint64_t n_writes;
	_Atomic bool collector_rests;
	bool stop;
	struct reader_link readers; /* ring, oldest first */
	struct put *puts;           /* S2 */
	struct store_stat stat;
	bool is_collecting; /* one collector or sweep at a time */
	struct cond collected;

	struct arena *job_arena;   /* of the job that runs: one at a time */
	_Atomic uint64_t reserved; /* put.c: bytes of buffers */
	_Atomic uint64_t floor;    /* S1: no view opened from now on is older */
	pthread_t thread;
	bool has_thread;
};

void store_event(struct store *s, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void reader_begin(struct store *s, struct reader_link *r);
void reader_end(struct store *s, struct reader_link *r);
/* It has found what it reads: @held is the write ID of the first extent, which
 * stays with the bytes whatever becomes of the record; the manifest's ID of an
 * object in parts; zero when there are no bytes. */
void reader_holds(struct store *s, struct reader_link *r,
    const struct id128 *held);
/* What died at or before this sequence, only a reader that holds it can name. */
uint64_t readers_oldest(struct store *s, uint64_t view_seq);
/* Asked after readers_oldest(): does one hold what died at @died? */
bool readers_hold(struct store *s, uint64_t died, const struct id128 *held);

int view_open(struct store *s, struct kv_view **ret, struct err *e);

/* Runs @fn as a transaction, again while it answers ERR_RETRY (a few times).
 * *ret_unknown (may be NULL): it failed, but it may have been committed. */
int store_update(struct store *s, txn_fn fn, void *arg, bool *ret_unknown,
    struct err *e);
/* The same for who does not wait, see struct kv_job. What comes of it, and the
 * next attempts if there must be any, are settled in the last step, with what
 * @done was told. Nothing that @fn makes in the scratch arena lasts. */
struct store_job {
	struct store *s;
	txn_fn fn;
	void *arg;
	struct err *e;
	struct txn t;
	uint64_t seq;
	unsigned runs;
	int rc;
	struct kv_job job;
};
int store_job_begin(struct store *s, struct store_job *j, txn_fn fn, void *arg,
    struct err *e);
void store_job_post(struct store_job *j, int rc, bool more,
    void (*done)(void *arg, int rc), void *done_arg);
int store_job_end(struct store_job *j, int rc, bool *ret_unknown);

/* The same for what frees space in the end: goes on where the disk is full. */
int store_update_freeing(struct store *s, txn_fn fn, void *arg, struct err *e);

/* Newest version of a name in a view; value copied into @a. */
struct row {
	bool is_found;
	uint64_t seq;
	struct str value;
};
int view_newest(struct kv_view *v, uint64_t incarnation, struct str name,
    struct row *ret, struct err *e);

/* ERR_KEY_TOO_LONG, ERR_INVALID_OBJECT_NAME. */
int check_object_key(struct str key, struct err *e);

void *store_background(void *store); /* collect.c */
/* likewise: a transaction was made */
void store_collect_later(struct store *s);

#endif
