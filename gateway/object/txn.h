/* gateway/object/txn.h - what the object layer's transactions are made of.
 *
 * A transaction function reads first, with the functions of the first group,
 * and writes last, with those of the second (kv.h). What it reads is copied
 * into the scratch arena of the run.
 * Threads: the index's committer, alone. */
#ifndef GATEWAY_OBJECT_TXN_H
#define GATEWAY_OBJECT_TXN_H

#include "gateway/object/records.h"

struct txn {
	struct kv_tx *tx;
	struct arena *a; /* scratch; lives until store_update() returns */
	int64_t now_ns;  /* when the operation began */
	uint32_t n_garbage;
};

typedef int (*txn_fn)(struct txn *t, void *arg, struct err *e);

struct counters {
	bool is_found;
	uint64_t objects, bytes, uploads;
};

/* --- reading --- */

/* *ret_found false and 0 when it is not there. Copied into the arena. */
int txn_get(struct txn *t, const struct key *k, bool *ret_found,
    struct str *ret, struct err *e);
/* O2: the row of @b is there in this incarnation, else ERR_NO_SUCH_BUCKET. */
int txn_bucket(struct txn *t, const struct bucket *b, struct err *e);
int txn_counters(struct txn *t, uint64_t incarnation, struct counters *ret,
    struct err *e);

/* Changes of references to manifest rows: collected while reading, one entry
 * for each manifest, then read, then written. */
struct ref {
	struct id128 id;
	int64_t delta;
	uint32_t refs;
	struct str value;
};
struct refs {
	struct ref *r;
	size_t n, size;
};
int refs_add(struct txn *t, struct refs *r, const struct id128 *id,
    int64_t delta, struct err *e);
/* O3: a manifest to be added to that is not there is ERR_RETRY. */
int refs_read(struct txn *t, struct refs *r, struct err *e);

/* The newest version of a name, and what removing it means. */
struct old {
	bool is_found;
	struct key key;
	uint64_t seq;
	struct str value;
	struct rec_object o; /* head; pb decoded when shared or asked for */
};
int txn_old(struct txn *t, uint64_t incarnation, struct str name, bool decode,
    struct old *ret, struct err *e);
/* Takes its reference off, if it has one. Before refs_read(). */
int txn_old_release(struct txn *t, const struct old *o, struct refs *r,
    struct err *e);
/* S3.md 3.17, against the newest version. */
int txn_check_cond(struct txn *t, const struct old *o,
    const struct write_cond *c, struct err *e);
int txn_check_if_match(struct txn *t, const struct old *o, struct str if_match,
    struct err *e);

/* --- writing --- */

int txn_put(struct txn *t, const struct key *k, struct str value,
    struct err *e);
int txn_del(struct txn *t, const struct key *k, struct err *e);
int txn_put_counters(struct txn *t, uint64_t incarnation,
    const struct counters *c, struct err *e);
int txn_garbage(struct txn *t, int64_t due_ns, enum garbage_kind kind,
    struct str payload, struct err *e);
int refs_write(struct txn *t, struct refs *r, struct err *e);
/* Its row goes; its bytes, when it alone named them, go on the list. */
int txn_old_bury(struct txn *t, const struct old *o, struct err *e);

#endif
