/* gateway/index/ops.h - what a transaction did, as bytes, and a record's
 * checksum (docs/FORMAT-INDEX.md).
 *
 * A stored value is `raw` everywhere - log, table, LMDB, snapshot: 8 bytes of
 * checksum over key and value, then the value (K5). A transaction is a header
 * and its puts and deletes, in the order they were made.
 * Threads: any; no state. */
#ifndef GATEWAY_INDEX_OPS_H
#define GATEWAY_INDEX_OPS_H

#include "lib/err.h"
#include "lib/str.h"

#define RAW_SUM 8
#define OPS_TX_HEADER 8
#define OPS_OP_HEADER 8

uint64_t ops_sum(struct str key, struct str value);

/* The value in @raw, its checksum verified: ERR_CORRUPT. */
int ops_unwrap(struct str key, struct str raw, struct str *ret, struct err *e);

/* Begins a transaction at the end of @b; *ret_at is where. */
int ops_begin(struct buf *b, size_t *ret_at, struct err *e);
/* On success *ret_raw is the stored form, valid until @b grows. */
int ops_put(struct buf *b, struct str key, struct str value,
    struct str *ret_raw, struct err *e);
int ops_del(struct buf *b, struct str key, struct err *e);
void ops_end(struct buf *b, size_t at);

/* One operation; raw.p == NULL is a delete. */
struct op {
	struct str key, raw;
};

/* Walks encoded bytes. Initialise with all of them in `in`. */
struct ops_walk {
	struct str in;       /* what is left */
	uint32_t left_in_tx; /* operations */
	struct str tx;       /* what is left of the transaction */
};

/* Next transaction: 1, 0 at the end, ERR_CORRUPT. Skips what is left of the
 * one before. */
int ops_next_tx(struct ops_walk *w, struct err *e);
/* Next operation of it: 1, 0 at the end, ERR_CORRUPT. Checksums are checked
 * by ops_unwrap() only. */
int ops_next(struct ops_walk *w, struct op *ret, struct err *e);

#endif
