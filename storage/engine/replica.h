/* storage/engine/replica.h - the engine, as a member of a group uses it.
 *
 * engine.h writes files whose names it draws at commit. Here a version of a
 * file, or its tombstone, is installed under the name, version and source that
 * another member (or this one, just now) gave it; the volume log is read from
 * a position on; and sets of files are compared by ranges of their keys.
 *
 * I1  What is installed is durable on return, as E1.
 * I2  The highest version of a name wins; nothing is installed at or below a
 *     known version or tombstone, but for ENGINE_REPAIR, which writes the same
 *     version again where the local copy is damaged.
 * I3  A position of the log is never behind what is durable, and none of a log
 *     that has been replaced or put back to an older state is taken as valid:
 *     ERR_RETRY, begin at zero. One so old that the log knows nothing of its
 *     volume any more, but has gone on since, is no such sign, and not valid
 *     either: ERR_NOT_FOUND, begin at zero.
 * I4  Keys are the same on all members, since all have the cluster's ID as
 *     deployment: digests can be compared.
 * Threads: any. */
#ifndef STORAGE_ENGINE_REPLICA_H
#define STORAGE_ENGINE_REPLICA_H

#include "storage/engine/engine.h"

struct engine_source { /* where a version was made: position in that node */
	struct id128 node;
	uint64_t incarnation, seq;
};

/* One version of a file, or a tombstone. */
struct engine_record {
	struct engine_file_info info; /* of a tombstone: id, version, class,
	                                 created_s, index_id, write_id */
	struct engine_source source;
	bool is_tomb;
	struct str note; /* the owner's; a view of the giver's */
};

/* --- writing --- */

enum {
	ENGINE_APPENDER = 1, /* draw: the name of an appender */
	ENGINE_NEW = 2,    /* install: ERR_EXISTS if the name is known at all */
	ENGINE_REPAIR = 4, /* install: I2 */
};

/* Draws a name for content of @size and @crc32 on store path @path_no (-1: the
 * engine chooses by space), version 1, this node as source. Nothing is written
 * or reserved: install it with ENGINE_NEW, and draw again on ERR_EXISTS.
 * 1: @owner's write ID has made a file before: @ret is that one (E5).
 * ret->note is owner->note. */
int engine_draw(struct engine *g, const struct engine_owner *owner, int path_no,
    uint64_t size, uint32_t crc32, const char *ext, unsigned flags,
    struct engine_record *ret, struct err *e);
/* This node's next source position, for versions that are not drawn. */
struct engine_source engine_next_source(struct engine *g);

struct engine_install {
	const struct engine_record *r;
	struct str body; /* of r->info.size bytes; none for a tombstone */
	unsigned flags;
	int rc; /* 0; 1: not needed (that version or a higher one is here);
	           ERR_EXISTS with ENGINE_NEW; ERR_INVALID (CRC32 or size is not
	           the body's, bad name, no such store path), ... */
	uint64_t version; /* with rc 1 and ERR_EXISTS: the one that is here */
	bool is_tomb;     /* and whether that is a tombstone */
};
/* Small files (up to small_limit) and tombstones, any number, one sync per
 * store path. Returns the worst of the rc's below 0, else 0. */
int engine_install_many(struct engine *g, struct engine_install *v, size_t n,
    struct err *e);

/* Any size, streamed. @path_no as in engine_draw(); the path that was taken is
 * engine_upload_path() (-1 while it is small and may go anywhere). */
int engine_upload_begin_at(struct engine *g, const struct engine_owner *owner,
    int path_no, uint64_t size_hint, struct engine_upload **ret, struct err *e);
int engine_upload_path(const struct engine_upload *u);
/* After all was written: draws for the content (engine_draw()'s contract). */
int engine_upload_draw(struct engine_upload *u, const char *ext, unsigned flags,
    struct engine_record *ret, struct err *e);
/* Installs what was written as @r. 0 or 1 as rc above; frees @u either way. */
int engine_upload_install(struct engine_upload **up,
    const struct engine_record *r, unsigned flags, uint64_t *ret_version,
    struct err *e);

/* --- reading --- */

enum engine_known {
	ENGINE_UNKNOWN,
	ENGINE_LIVE,
	ENGINE_TOMB
};
struct engine_version {
	enum engine_known known;
	uint8_t class;
	uint64_t version, size;
};
/* From the index alone, no disk but LMDB's. ids that are no names: UNKNOWN. */
int engine_lookup_many(struct engine *g, const struct str *ids, size_t n,
    struct engine_version *ret, struct err *e);
/* The whole record of an open file; the note is appended to @note, of which
 * ret->note becomes a view; @note may be NULL: without it. */
int engine_file_record(struct engine_file *f, struct engine_record *ret,
    struct buf *note, struct err *e);
/* By name, tombstones too; ERR_NOT_FOUND. */
int engine_record(struct engine *g, struct str id, struct engine_record *ret,
    struct buf *note, struct err *e);

/* --- the volume log --- */

struct engine_pos { /* in the log of one store path; all zero: its beginning */
	struct id128 path;
	uint64_t vol, off;
	uint64_t last;  /* where the needle that ends at off begins */
	uint32_t check; /* that needle's checksum */
	uint32_t tag;   /* tells the volume from others of its number */
};
#define ENGINE_POS_LEN 48
void engine_pos_encode(const struct engine_pos *p, uint8_t dst[ENGINE_POS_LEN]);
void engine_pos_decode(const uint8_t src[ENGINE_POS_LEN],
    struct engine_pos *ret);

/* Calls @fn for the durable records of store path @path_no behind *pos, in
 * order, at most @max of them or until @fn answers 1 (that one is taken, then
 * it stops) or below 0 (an error; that one is not taken); moves *pos behind
 * the last one taken. *ret_end: nothing durable was left. Records that are
 * superseded may be given or left out. ERR_RETRY, ERR_NOT_FOUND: I3. Damaged
 * stretches are skipped and reported as events; they are found again by comparing
 * sets. */
int engine_log_read(struct engine *g, size_t path_no, struct engine_pos *pos,
    size_t max, int (*fn)(void *arg, const struct engine_record *r), void *arg,
    bool *ret_end, struct err *e);
/* Bytes of log behind *pos on that path, about; for progress and lag. */
uint64_t engine_log_left(struct engine *g, size_t path_no,
    const struct engine_pos *pos);
/* Waits until something was made durable since *seen (0 at first), at most
 * @ms; updates *seen. False on time-out. Callers that wait cost writers
 * nothing to speak of. */
bool engine_log_wait(struct engine *g, uint64_t *seen, int ms);

/* Tombstones of before @s, and those alone, may be forgotten when the engine's
 * clock says so as well: that one may be wrong. INT64_MIN at first: none. */
void engine_forget_before(struct engine *g, int64_t s);

/* --- comparing sets --- */

#define ENGINE_KEY 16
/* Over all live files and tombstones with from <= key <= to: count, and a sum
 * that does not depend on order. Tombstones that were made 9/10 of
 * tombstone_keep_s ago or longer are left out, as if they were not there: any
 * member may drop them soon. (With tombstone_keep_s 0 all count.) */
struct engine_digest {
	uint64_t n, sum[2];
};
int engine_digest(struct engine *g, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], struct engine_digest *ret, struct err *e);
/* The same, one by one in key order, at most @max; fn != 0 stops (0 is returned
 * all the same, but for what is below 0). */
int engine_range(struct engine *g, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], size_t max,
    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
	const struct engine_version *v),
    void *arg, struct err *e);
/* Name and record of a key; ERR_NOT_FOUND. */
int engine_record_of_key(struct engine *g, const uint8_t key[ENGINE_KEY],
    struct engine_record *ret, struct buf *note, struct err *e);
/* Live files of @class (0 = all) page by page: *cursor 0 at first, moved; at
 * most @max are given; *ret_end at the end. fn > 0 stops behind that one, fn < 0
 * before it and is returned. */
#define ENGINE_CURSOR 20
int engine_page(struct engine *g, uint8_t class, uint8_t cursor[ENGINE_CURSOR],
    size_t max, int (*fn)(void *arg, const struct engine_file_info *f),
    void *arg, bool *ret_end, struct err *e);

/* --- identity --- */

const struct id128 *engine_node_id(const struct engine *g);
uint64_t engine_incarnation(const struct engine *g);
/* Changes when a store path was added or replaced: cursors kept under another
 * value are worth nothing. */
void engine_paths_id(const struct engine *g, struct id128 *ret);

#endif
