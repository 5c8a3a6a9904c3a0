/* gateway/index/snapshot.h - all records of an index as one stream of bytes.
 *
 * Header, then blocks of records in key order (keys without what they share
 * with the one before), each with a checksum; the last block says how many
 * records there were and up to which transaction the stream may reach. The
 * records are read while transactions go on, so that the stream is consistent
 * only together with the log from `seq` (header) to at least `seq_end`.
 * Bytes: docs/FORMAT-INDEX.md. Threads: one at a time. */
#ifndef GATEWAY_INDEX_SNAPSHOT_H
#define GATEWAY_INDEX_SNAPSHOT_H

#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

struct snapshot_header {
	struct id128 index_id;
	uint64_t epoch, seq;
	int64_t created_ns;
};

struct snapshot_end {
	uint64_t records, seq_end;
};

/* --- writing --- */

typedef int (
    *snapshot_sink)(void *arg, const void *p, size_t len, struct err *e);

struct snapshot_writer;
int snapshot_writer_new(const struct snapshot_header *h, snapshot_sink sink,
    void *arg, struct snapshot_writer **ret, struct err *e);
void snapshot_writer_free(struct snapshot_writer **wp);
/* Keys must rise. */
int snapshot_add(struct snapshot_writer *w, struct str key, struct str raw,
    struct err *e);
int snapshot_finish(struct snapshot_writer *w, uint64_t seq_end, struct err *e);

/* --- reading --- */

/* Up to @len bytes on, in order; *ret_len 0 at the end only. */
typedef int (*snapshot_source)(void *arg, void *p, size_t len, size_t *ret_len,
    struct err *e);

struct snapshot_reader;
/* ERR_CORRUPT, ERR_VERSION. */
int snapshot_reader_new(snapshot_source source, void *arg,
    struct snapshot_header *ret_header, struct snapshot_reader **ret,
    struct err *e);
void snapshot_reader_free(struct snapshot_reader **rp);
/* 1 and the record (valid until the next call), 0 at the end with *ret_end
 * filled, ERR_CORRUPT. */
int snapshot_next(struct snapshot_reader *r, struct str *ret_key,
    struct str *ret_raw, struct snapshot_end *ret_end, struct err *e);

#endif
