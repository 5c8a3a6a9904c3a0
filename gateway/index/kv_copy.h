/* gateway/index/kv_copy.h - all records of an index under way, and the log
 * that makes them consistent (kv_copy.c). */
#ifndef GATEWAY_INDEX_KV_COPY_H
#define GATEWAY_INDEX_KV_COPY_H

#include "gateway/index/kv_priv.h"

/* Every record, in key order, read in short views, so that no LMDB snapshot
 * stays open: each is as of some transaction between the sequence before and
 * *ret_seq_end. ERR_CLOSED when *stop becomes true. */
int kv_stream(struct kv *k,
    int (*fn)(void *arg, struct str key, struct str raw, struct err *e),
    void *arg, const _Atomic bool *stop, uint64_t *ret_seq_end, struct err *e);

#endif
