/* cluster/pack.h - integers, identifiers and texts in messages between Creel's
 * own processes.
 *
 * Integers are little-endian; a text is its length (4 bytes) and its bytes. A
 * reader that meets too little marks itself bad and gives zeros from then on:
 * a decoder reads all fields and asks once at the end. Fields are only ever
 * added at the end of a message, so that an older reader skips them and a newer
 * one finds zeros. Pure functions; threads: any. */
#ifndef CLUSTER_PACK_H
#define CLUSTER_PACK_H

#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

/* Each 0, or what buf_add() answers. */
int pack_u8(struct buf *b, uint8_t v);
int pack_u32(struct buf *b, uint32_t v);
int pack_u64(struct buf *b, uint64_t v);
int pack_id(struct buf *b, const struct id128 *v);
int pack_str(struct buf *b, struct str s);

struct unpack {
	struct str rest;
	bool is_bad;
};
static inline struct unpack
unpack_of(struct str s)
{
	return (struct unpack){ s, false };
}
uint8_t unpack_u8(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
struct id128 unpack_id(struct unpack *u);
/* A view; longer than @max marks it bad. */
struct str unpack_str(struct unpack *u, size_t max);
/* 0, or ERR_INVALID when anything was missing. What is left over is not looked
 * at. */
int unpack_end(const struct unpack *u, struct err *e);

/* An answer whose body are a file's bytes ends with a checksum of both: TCP's 16
 * bits let one of so many changed packets through, and a network card may change
 * what it has checked. The last field of the arguments, CRC32C (4 bytes) over
 * what stands before it and over the body. */
int pack_seal(struct buf *args, struct str body);
/* The same where only the body's CRC32C is known. */
int pack_seal_sum(struct buf *args, uint32_t crc32c, size_t len);
/* Takes it off *args. ERR_CORRUPT: not what was sent, nothing of it counts. */
int unpack_seal(struct str *args, const void *body, size_t len, struct err *e);

#endif
