/* gateway/index/kv_build.h - making an index directory from records and log:
 * backup and rebuild.
 *
 * While it is made the directory holds `building`: kv_open() refuses it then,
 * and kv_build_begin() clears what an interrupted one left behind.
 * Threads: one at a time. */
#ifndef GATEWAY_INDEX_KV_BUILD_H
#define GATEWAY_INDEX_KV_BUILD_H

#include "gateway/index/kv.h"

#define KV_BUILDING "building"

struct kv_build;

/* @dir: absent, or without an index (ERR_EXISTS). */
int kv_build_begin(const char *dir, uint64_t map_size, struct kv_build **ret,
    struct err *e);
/* Without kv_build_finish() it removes what it made. */
void kv_build_close(struct kv_build **bp);
/* Throws away what was added. */
int kv_build_reset(struct kv_build *b, struct err *e);
/* Records in rising order, before any kv_build_apply(). */
int kv_build_add(struct kv_build *b, struct str key, struct str raw,
    struct err *e);
/* A frame's payload: transactions in (after, limit]. */
int kv_build_apply(struct kv_build *b, uint64_t first_seq, struct str payload,
    uint64_t after, uint64_t limit, struct err *e);
/* Transactions up to @seq are in it; it begins in the epoch after @epoch. */
int kv_build_finish(struct kv_build *b, const struct id128 *index_id,
    uint64_t epoch, uint64_t seq, int64_t created_ns, uint64_t log_segment,
    struct err *e);

#endif
