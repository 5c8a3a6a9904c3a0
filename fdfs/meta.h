/* fdfs/meta.h - metadata of a file: name-value pairs, as on the wire.
 *
 * Records `name 0x02 value` joined by 0x01, no separator at the end, sorted
 * by name (bytes): so they are stored, sent and kept beside the file.
 * Names have 1 to 64 bytes, values at most 256, neither holds a separator;
 * longer ones are refused (ERR_INVALID). A name given twice: the last counts.
 * Reference: FastDFS 6.16.1. Pure functions; threads: any. */
#ifndef FDFS_META_H
#define FDFS_META_H

#include "fdfs/proto.h"

#define FDFS_META_NAME 64
#define FDFS_META_VALUE 256
#define FDFS_META_PAIRS 16384 /* of one file */

struct fdfs_pair {
	struct str name, value;
};

/* Pairs of @wire, sorted, each name once, in memory that the caller frees
 * with mem_free(); views into @wire. @wire "" has none (*ret is NULL). */
int fdfs_meta_parse(struct str wire, struct fdfs_pair **ret, size_t *ret_n,
    struct err *e);
/* The wire form of @n pairs, sorted by the caller or not, appended to @b.
 * Sorts @pairs in place. */
int fdfs_meta_format(struct fdfs_pair *pairs, size_t n, struct buf *b,
    struct err *e);

/* What SET_META makes of the stored @old: with @flag 'O' the new ones alone,
 * with 'M' both, the new before the old of the same name. Appended to @b; ""
 * when nothing is left. More than FDFS_META_PACKET is ERR_TOO_BIG. */
int fdfs_meta_set(struct str old, struct str new, char flag, struct buf *b,
    struct err *e);

#endif
