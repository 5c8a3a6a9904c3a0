/* storage/engine/format.h - bytes on disk: volume headers, needles, trailers of
 * large files. Pure functions. The byte tables: docs/FORMAT-STORAGE.md.
 *
 * F1  A needle is taken for one only with its magic, this deployment's and
 *     volume's identity, and a header checksum seeded with the volume's secret
 *     salt and the needle's offset: a body that looks like a needle is none.
 * F2  A block's checksum is bound to file ID, file version and block number.
 * F3  Unknown fields are skipped; unknown needle types are kept, not read; a
 *     newer format version is refused. */
#ifndef STORAGE_ENGINE_FORMAT_H
#define STORAGE_ENGINE_FORMAT_H

#include "storage/engine/engine.h"

#define FMT_VERSION 1
#define FMT_VOL_HEADER 4096 /* bytes before the first needle */
#define FMT_ALIGN 8         /* of needles */
#define FMT_HDR_FIXED 184   /* fixed part of a needle's header */
#define FMT_HDR_MAX 4096    /* longest header that is written or taken */
#define FMT_NOTE_MAX 2048
#define FMT_TRAILER 24 /* last bytes of a large file */
#define FMT_TAGS 990   /* volumes that a volume's header remembers */

enum needle_type {
	NEEDLE_PUT = 1,   /* small file: payload follows */
	NEEDLE_LARGE = 2, /* file of its own under data/ */
	NEEDLE_TOMB = 3,  /* deleted */
	NEEDLE_START = 4, /* a new incarnation of the node begins here */
	/* Reserved for files of FastDFS clients and for the cluster: */
	NEEDLE_META = 5,     /* metadata */
	NEEDLE_APPENDER = 6, /* list of segments of an appender */
	NEEDLE_MEMBERS = 7,  /* membership */
};

enum needle_field {     /* {type u16, length u16, bytes} after the file ID */
	FIELD_NOTE = 1, /* owner's note */
	FIELD_TARGET =
	    2, /* u64: volume that held what this tombstone deletes */
	FIELD_PARENT =
	    3, /* u64 incarnation, u64 sequence: where the last ended */
};

enum needle_flag {
	NEEDLE_MOVED = 1, /* copied forward by compaction */
};

struct ident { /* whose disk it is */
	struct id128 deployment, node, path;
};

struct vol_header {
	struct ident ident;
	uint64_t no;
	int64_t created_ns;
	uint8_t salt[16];
	uint64_t incarnation;
	uint64_t prev_no, prev_end; /* where the volume before this one ends */
	uint64_t alloc;
	uint32_t tags[FMT_TAGS]; /* of the volumes before, the last first; 0 is
	                            unknown */
};
/* Tells volumes of one number apart; never 0. */
uint32_t fmt_vol_tag(const uint8_t salt[16]);

struct needle {
	uint8_t type, class;
	uint16_t flags;
	uint32_t hdr_len;     /* to the first byte of the payload */
	uint32_t payload_len; /* behind the header, in the volume */
	uint64_t size;        /* of the content */
	uint64_t version;     /* file version */
	struct id128 index_id, write_id;
	struct id128 src_node; /* source position */
	uint64_t src_inc, src_seq;
	int64_t created_s;
	uint32_t crc32;
	uint64_t
	    durable; /* the volume was durable up to here when it was written */
	struct str id; /* file ID with its group */
	uint32_t sum;  /* decoded: of the header */
	struct str note;
	bool has_target;
	uint64_t target;
	uint64_t parent_inc, parent_seq;
	const uint8_t *blocks; /* n_blocks little-endian checksums */
	uint32_t n_blocks;
};

void fmt_vol_header_encode(const struct vol_header *h,
    uint8_t dst[FMT_VOL_HEADER]);
/* ERR_CORRUPT, ERR_VERSION. */
int fmt_vol_header_decode(const uint8_t src[FMT_VOL_HEADER],
    struct vol_header *ret, struct err *e);

/* Header length of @n (its id, note, target, parent, n_blocks count). */
size_t needle_hdr_len(const struct needle *n);
/* Whole needle in the volume, padding included. */
static inline uint64_t
needle_total(uint64_t hdr_len, uint64_t payload_len)
{
	return (hdr_len + payload_len + FMT_ALIGN - 1) &
	       ~(uint64_t)(FMT_ALIGN - 1);
}
/* Writes needle_hdr_len() bytes. n->blocks may be NULL: *ret_blocks is where
 * they go. What depends on the place is put in by needle_place(). */
void needle_encode(const struct needle *n, const struct ident *ident,
    uint8_t *dst, uint8_t **ret_blocks);
/* Last step before writing: place, checksum. */
void needle_place(uint8_t *hdr, uint64_t vol, uint64_t off, uint64_t durable,
    const uint8_t salt[16]);
void needle_set_source(uint8_t *hdr, const struct id128 *node, uint64_t inc,
    uint64_t seq);
/* Changes what compaction changes. */
void needle_set_flags(uint8_t *hdr, uint16_t flags);
uint16_t needle_flags(const uint8_t *hdr);

/* Cheap test for a place where a needle may begin. */
bool needle_has_magic(const uint8_t *p);
/* Header length that a would-be header claims, 0 if impossible. Needs 16 bytes. */
uint32_t needle_claimed_len(const uint8_t *p);
/* Decodes a whole header of @len = needle_claimed_len() bytes. Views in *ret
 * point into @p. ERR_CORRUPT if it is none, ERR_VERSION if it is newer. */
int needle_decode(const uint8_t *p, size_t len, const struct ident *ident,
    uint64_t vol, uint64_t off, const uint8_t salt[16], struct needle *ret,
    struct err *e);

/* --- blocks --- */

static inline uint32_t
fmt_n_blocks(uint64_t size)
{
	return (uint32_t)((size + ENGINE_BLOCK - 1) / ENGINE_BLOCK);
}
/* Binds block checksums to a file. */
uint64_t fmt_file_seed(struct str id, uint64_t version);
/* @crc32c of the block's bytes -> what is stored. */
uint32_t fmt_block_sum(uint64_t file_seed, uint64_t block, uint32_t crc32c);

/* --- large files: data | block checksums | needle header | trailer --- */

void fmt_trailer_encode(uint64_t size, uint32_t hdr_len, const uint8_t *hdr,
    uint8_t dst[FMT_TRAILER]);
int fmt_trailer_decode(const uint8_t src[FMT_TRAILER], uint64_t *ret_size,
    uint32_t *ret_hdr_len, uint32_t *ret_sum, struct err *e);
/* The header in a large file is placed at volume 0, offset 0, with this salt. */
extern const uint8_t fmt_large_salt[16];

#endif
