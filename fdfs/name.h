/* fdfs/name.h - rules on remote file names, and the token of file URLs.
 *
 * A remote name is a file ID without its group: M00/05/0A/fwAAA2sB....txt.
 * N1  A name that passes fdfs_name_is_valid() is two levels of hexadecimal
 *     directories and one plain component: it can never leave its store path.
 * Reference: FastDFS 6.16.1. Pure functions; threads: any. */
#ifndef FDFS_NAME_H
#define FDFS_NAME_H

#include "fdfs/proto.h"

/* "Mpp/hh/hh/" in upper-case hexadecimal, then 1 or more of A-Z a-z 0-9 - _ .
 * (not "." or ".."), 127 bytes at most. Not yet a well-formed file ID. */
bool fdfs_name_is_valid(struct str name);
/* 1 to 16 of A-Z a-z 0-9 - _ . */
bool fdfs_prefix_is_valid(struct str prefix);
/* 1 to 15 visible ASCII characters. */
bool fdfs_storage_id_is_valid(struct str id);

/* The kind as FastDFS's clients and servers see it: the flags of the size
 * field before the length. A slave of an appender is an appender to them,
 * which fdfs_id_kind() calls a slave. A name of under 44 is a slave's too,
 * though clients refuse it themselves; one of 44 may be, and looks normal.
 * False when @name is no file name. */
bool fdfs_name_kind(struct str name, enum fdfs_kind *ret);

/* The slave's name: master up to the dot in its last 7 characters (all of it
 * without one), @prefix, and '.' @ext if there is one. A prefix that ends in
 * "-m" without extension is refused: that is a metadata file's name.
 * ERR_INVALID. */
int fdfs_slave_name(struct str master, struct str prefix, struct str ext,
    char dst[FDFS_REMOTE_MAX + 1], size_t *ret_len, struct err *e);

/* What a download of (@offset, @bytes) gives of a file of @size: bytes 0 is
 * "to the end", an end past the file is cut. ERR_INVALID for an offset at or
 * past the end, but for 0 of an empty file. */
int fdfs_range(uint64_t size, uint64_t offset, uint64_t bytes,
    uint64_t *ret_len, struct err *e);

/* Tokens of file URLs: lower-case hexadecimal MD5 of remote name (no group,
 * no leading slash), secret and the time in decimal. */
#define FDFS_TOKEN_LEN 32
void fdfs_token(struct str name, struct str secret, int64_t ts,
    char dst[FDFS_TOKEN_LEN + 1]);
/* @token and @ts as they stand in the query. ERR_INVALID when one is missing
 * or @ts no number; ERR_ACCESS_DENIED when the token is wrong or older than
 * @ttl seconds. A time in the future is accepted and 0 never expires: who
 * holds the secret decides. */
int fdfs_token_check(struct str name, struct str secret, struct str token,
    struct str ts, int64_t now, int64_t ttl, struct err *e);

#endif
