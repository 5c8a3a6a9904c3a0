/* gateway/index/chunk.h - what the archive keeps in the storage: snapshots
 * (snapshot.h) and chunks, runs of whole frames of the log. Each is a blob of
 * owner class INDEX whose note says which part of the history it holds.
 * Bytes: docs/FORMAT-INDEX.md. Threads: any; no state. */
#ifndef GATEWAY_INDEX_CHUNK_H
#define GATEWAY_INDEX_CHUNK_H

#include "gateway/blob/blob.h"
#include "gateway/index/ilog.h"

#define CHUNK_HEADER 128

/* Into p[CHUNK_HEADER]; @frames follow it in the blob. */
void chunk_header(const struct id128 *index_id, const struct ilog_chunk *c,
    struct str frames, char p[CHUNK_HEADER]);
/* Whole blob -> its frames. ERR_CORRUPT, ERR_VERSION. */
int chunk_parse(struct str blob, struct id128 *ret_index_id,
    struct ilog_chunk *ret, struct str *ret_frames, struct err *e);
/* Calls @fn for each frame with transactions above @after. ERR_CORRUPT unless
 * they are all valid and contiguous. */
int chunk_replay(const struct ilog_chunk *c, struct str frames, uint64_t after,
    ilog_replay_fn fn, void *arg, struct err *e);

/* --- the list of what is archived --- */

struct archived {
	bool is_snapshot;
	uint64_t epoch;
	uint64_t first, last; /* transactions; a snapshot's: both its seq */
	uint64_t size;
	int64_t created_s;
	struct id128 index_id;
	char id[BLOB_ID_MAX];
};

struct archived_list {
	struct archived *p;
	size_t n, size;
};

void archived_fini(struct archived_list *l);
int archived_add(struct archived_list *l, const struct archived *a,
    struct err *e);
void archived_remove(struct archived_list *l, size_t i);
/* Text for a blob's note, and back. */
struct str archived_note(const struct archived *a, char buf[128]);
bool archived_parse(struct str note, struct archived *ret);
/* All that @b holds of @index_id (all indexes when NULL). Those with a note
 * that this version does not know are left out. */
int archived_load(struct blob *b, const struct id128 *index_id,
    struct archived_list *ret, struct err *e);

/* The chunk to apply after transaction @seq: one that holds seq + 1, of the
 * newest epoch that wrote it, and of @min_epoch (the snapshot's) at least;
 * *ret_limit: up to which it counts, since a later epoch began there (an index
 * that was rebuilt or restored went another way). NULL: none. */
const struct archived *archived_next(const struct archived_list *l,
    uint64_t min_epoch, uint64_t seq, uint64_t *ret_limit);
/* The newest snapshot but those in @skip (n flags), NULL: none. */
const struct archived *archived_snapshot(const struct archived_list *l,
    const bool *skip);

#endif
