/* gateway/index/tree.h - what lies behind the table: LMDB, in one file.
 *
 * The only user of LMDB in the index. Records are stored raw (ops.h). A small
 * second database holds the meta record: which index this is, and up to which
 * sequence its transactions have arrived here.
 *
 * R1  A commit is durable (LMDB's default flags: data, then meta page, both
 *     synced), all of it or nothing.
 * R2  A reader sees one snapshot from renew to reset.
 * R3  tree_grow() is called with every reader reset, and none renewed meanwhile.
 * Threads: one writer at a time; a reader on one thread at a time. */
#ifndef GATEWAY_INDEX_TREE_H
#define GATEWAY_INDEX_TREE_H

#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

struct tree;
struct tree_reader;
struct tree_writer;

struct tree_meta {
	struct id128 index_id;
	uint64_t epoch;
	uint64_t flushed_seq; /* all transactions up to it are in the tree */
	int64_t created_ns;
	bool is_fresh;
};

/* @path is the file; the lock file is beside it. Creates it when @create, with
 * the given *meta (its name is durable once the caller syncs the directory); else reads *meta. ERR_NOT_FOUND, ERR_VERSION, ERR_CORRUPT;
 * ERR_CONFIG when this LMDB's keys are too short. @map_size grows to what the
 * file needs. */
int tree_open(const char *path, uint64_t map_size, bool create,
    struct tree_meta *meta, struct tree **ret, struct err *e);
void tree_close(struct tree **tp); /* all readers and writers gone */

/* On a renewed reader. */
uint64_t tree_records(struct tree_reader *r);
uint64_t tree_bytes(struct tree_reader *r); /* of the file */
uint64_t tree_free(struct tree_reader *r);  /* of that, to be used again */
uint64_t tree_map_size(struct tree *t);
/* Twice the map. R3. */
int tree_grow(struct tree *t, struct err *e);
/* Gives back the pages that LMDB keeps for its next write. No writer. */
void tree_trim(struct tree *t);

/* --- writing --- */

int tree_write_begin(struct tree *t, struct tree_writer **ret, struct err *e);
/* 0, TREE_MAP_FULL or an error; after both only abort. Keys that rise are
 * quicker. @append: key above all that are there (a new tree). */
#define TREE_MAP_FULL 1
int tree_write_put(struct tree_writer *w, struct str key, struct str raw,
    bool append, struct err *e);
int tree_write_del(struct tree_writer *w, struct str key, struct err *e);
/* @meta NULL: unchanged. Frees *wp either way; 0, TREE_MAP_FULL or an error:
 * ERR_NO_SPACE leaves the tree as it was and usable. */
int tree_write_commit(struct tree_writer **wp, const struct tree_meta *meta,
    struct err *e);
void tree_write_abort(struct tree_writer **wp);

/* --- reading --- */

/* ERR_BUSY when there are too many. Born reset. */
int tree_reader_new(struct tree *t, struct tree_reader **ret, struct err *e);
void tree_reader_free(struct tree_reader **rp);
int tree_reader_renew(struct tree_reader *r, struct err *e);
void tree_reader_reset(struct tree_reader *r);
/* 1 and the record, 0 when absent. Views are valid until the reset. */
int tree_get(struct tree_reader *r, struct str key, struct str *ret_raw,
    struct err *e);

struct tree_cursor;
/* On a renewed reader; close before its reset. */
int tree_cursor_open(struct tree_reader *r, struct tree_cursor **ret,
    struct err *e);
void tree_cursor_close(struct tree_cursor **cp);
/* First key >= @from; 1 and the record, 0 at the end. */
int tree_cursor_seek(struct tree_cursor *c, struct str from,
    struct str *ret_key, struct str *ret_raw, struct err *e);
int tree_cursor_next(struct tree_cursor *c, struct str *ret_key,
    struct str *ret_raw, struct err *e);

#endif
