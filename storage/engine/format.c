/* storage/engine/format.c - bytes on disk. */
#include "storage/engine/format.h"

#include "lib/bytes.h"
#include "lib/hash.h"

#define VOL_MAGIC "CREELVOL"
#define NEEDLE_MAGIC 0x4c444e43u  /* "CNDL" */
#define TRAILER_MAGIC 0x4c475243u /* "CRGL" */

/* Offsets in a needle's header; docs/FORMAT-STORAGE.md. */
enum {
	O_MAGIC = 0,
	O_FORMAT = 4,
	O_TYPE = 5,
	O_FLAGS = 6,
	O_HDR_LEN = 8,
	O_SUM = 12,
	O_PAYLOAD = 16,
	O_BLOCKS = 20,
	O_SIZE = 24,
	O_VERSION = 32,
	O_DEPLOYMENT = 40,
	O_NODE = 56,
	O_VOL = 72,
	O_INDEX_ID = 80,
	O_WRITE_ID = 96,
	O_SRC_NODE = 112,
	O_SRC_INC = 128,
	O_SRC_SEQ = 136,
	O_CREATED = 144,
	O_CRC32 = 152,
	O_CLASS = 156,
	O_ID_LEN = 157,
	O_FIELDS_LEN = 158,
	O_DURABLE = 160,
	O_RESERVED = 168, /* 16 bytes of zero */
};

const uint8_t fmt_large_salt[16] = "creel large file";

/* --- volume header --- */

static void
put_id(uint8_t *dst, const struct id128 *id)
{
	memcpy(dst, id->b, sizeof(id->b));
}

static void
get_id(const uint8_t *src, struct id128 *id)
{
	memcpy(id->b, src, sizeof(id->b));
}

void
fmt_vol_header_encode(const struct vol_header *h, uint8_t dst[FMT_VOL_HEADER])
{
	memset(dst, 0, FMT_VOL_HEADER);
	memcpy(dst, VOL_MAGIC, 8);
	put_le32(dst + 8, FMT_VERSION);
	put_le32(dst + 12, FMT_VOL_HEADER);
	put_id(dst + 16, &h->ident.deployment);
	put_id(dst + 32, &h->ident.node);
	put_id(dst + 48, &h->ident.path);
	put_le64(dst + 64, h->no);
	put_le64(dst + 72, (uint64_t)h->created_ns);
	memcpy(dst + 80, h->salt, 16);
	put_le64(dst + 96, h->incarnation);
	put_le64(dst + 104, h->prev_no);
	put_le64(dst + 112, h->prev_end);
	put_le64(dst + 120, h->alloc);
	put_le32(dst + 128, FMT_TAGS);
	for (size_t i = 0; i < FMT_TAGS; i++)
		put_le32(dst + 132 + 4 * i, h->tags[i]);
	put_le32(dst + FMT_VOL_HEADER - 4,
	    hash_crc32c(0, dst, FMT_VOL_HEADER - 4));
}

int
fmt_vol_header_decode(const uint8_t src[FMT_VOL_HEADER], struct vol_header *ret,
    struct err *e)
{
	if (memcmp(src, VOL_MAGIC, 8) != 0 ||
	    get_le32(src + FMT_VOL_HEADER - 4) !=
		hash_crc32c(0, src, FMT_VOL_HEADER - 4))
		return err_set(e, ERR_CORRUPT, "not a volume header");
	if (get_le32(src + 8) != FMT_VERSION ||
	    get_le32(src + 12) != FMT_VOL_HEADER)
		return err_set(e, ERR_VERSION, "volume of format %u",
		    get_le32(src + 8));
	get_id(src + 16, &ret->ident.deployment);
	get_id(src + 32, &ret->ident.node);
	get_id(src + 48, &ret->ident.path);
	ret->no = get_le64(src + 64);
	ret->created_ns = (int64_t)get_le64(src + 72);
	memcpy(ret->salt, src + 80, 16);
	ret->incarnation = get_le64(src + 96);
	ret->prev_no = get_le64(src + 104);
	ret->prev_end = get_le64(src + 112);
	ret->alloc = get_le64(src + 120);
	memset(ret->tags, 0, sizeof(ret->tags));
	for (size_t i = 0; i < FMT_TAGS && i < get_le32(src + 128); i++)
		ret->tags[i] = get_le32(src + 132 + 4 * i);
	return 0;
}

uint32_t
fmt_vol_tag(const uint8_t salt[16])
{
	uint32_t tag = (uint32_t)hash_xxh3(FMT_VERSION, salt, 16);

	return tag == 0 ? 1 : tag;
}

/* --- needles --- */

static size_t
fields_len(const struct needle *n)
{
	size_t len = 0;

	if (n->note.len > 0)
		len += 4 + n->note.len;
	if (n->has_target)
		len += 4 + 8;
	if (n->type == NEEDLE_START)
		len += 4 + 16;
	return len;
}

size_t
needle_hdr_len(const struct needle *n)
{
	return FMT_HDR_FIXED + n->id.len + fields_len(n) +
	       4 * (size_t)n->n_blocks;
}

static uint8_t *
put_field(uint8_t *at, unsigned type, const void *p, size_t len)
{
	put_le16(at, (uint16_t)type);
	put_le16(at + 2, (uint16_t)len);
	memcpy(at + 4, p, len);
	return at + 4 + len;
}

void
needle_encode(const struct needle *n, const struct ident *ident, uint8_t *dst,
    uint8_t **ret_blocks)
{
	size_t len = needle_hdr_len(n);
	uint8_t *at = dst + FMT_HDR_FIXED;

	MUST(len <= FMT_HDR_MAX && n->id.len <= UINT8_MAX &&
	     n->note.len <= FMT_NOTE_MAX);
	memset(dst, 0, FMT_HDR_FIXED);
	put_le32(dst + O_MAGIC, NEEDLE_MAGIC);
	dst[O_FORMAT] = FMT_VERSION;
	dst[O_TYPE] = n->type;
	put_le16(dst + O_FLAGS, n->flags);
	put_le32(dst + O_HDR_LEN, (uint32_t)len);
	put_le32(dst + O_PAYLOAD, n->payload_len);
	put_le32(dst + O_BLOCKS, n->n_blocks);
	put_le64(dst + O_SIZE, n->size);
	put_le64(dst + O_VERSION, n->version);
	put_id(dst + O_DEPLOYMENT, &ident->deployment);
	put_id(dst + O_NODE, &ident->node);
	put_id(dst + O_INDEX_ID, &n->index_id);
	put_id(dst + O_WRITE_ID, &n->write_id);
	needle_set_source(dst, &n->src_node, n->src_inc, n->src_seq);
	put_le64(dst + O_CREATED, (uint64_t)n->created_s);
	put_le32(dst + O_CRC32, n->crc32);
	dst[O_CLASS] = n->class;
	dst[O_ID_LEN] = (uint8_t)n->id.len;
	put_le16(dst + O_FIELDS_LEN, (uint16_t)fields_len(n));
	if (n->id.len > 0)
		memcpy(at, n->id.p, n->id.len);
	at += n->id.len;
	if (n->note.len > 0)
		at = put_field(at, FIELD_NOTE, n->note.p, n->note.len);
	if (n->has_target) {
		uint8_t v[8];

		put_le64(v, n->target);
		at = put_field(at, FIELD_TARGET, v, sizeof(v));
	}
	if (n->type == NEEDLE_START) {
		uint8_t v[16];

		put_le64(v, n->parent_inc);
		put_le64(v + 8, n->parent_seq);
		at = put_field(at, FIELD_PARENT, v, sizeof(v));
	}
	if (n->blocks != NULL)
		memcpy(at, n->blocks, 4 * (size_t)n->n_blocks);
	if (ret_blocks != NULL)
		*ret_blocks = at;
}

void
needle_set_source(uint8_t *hdr, const struct id128 *node, uint64_t inc,
    uint64_t seq)
{
	put_id(hdr + O_SRC_NODE, node);
	put_le64(hdr + O_SRC_INC, inc);
	put_le64(hdr + O_SRC_SEQ, seq);
}

void
needle_set_flags(uint8_t *hdr, uint16_t flags)
{
	put_le16(hdr + O_FLAGS, flags);
}

uint16_t
needle_flags(const uint8_t *hdr)
{
	return get_le16(hdr + O_FLAGS);
}

static uint32_t
header_sum(const uint8_t *hdr, size_t len, uint64_t vol, uint64_t off,
    const uint8_t salt[16])
{
	static const uint8_t zero[4];
	uint8_t seed[32];
	uint32_t c;

	memcpy(seed, salt, 16);
	put_le64(seed + 16, vol);
	put_le64(seed + 24, off);
	c = hash_crc32c(0, seed, sizeof(seed));
	c = hash_crc32c(c, hdr, O_SUM);
	c = hash_crc32c(c, zero, sizeof(zero));
	return hash_crc32c(c, hdr + O_SUM + 4, len - O_SUM - 4);
}

void
needle_place(uint8_t *hdr, uint64_t vol, uint64_t off, uint64_t durable,
    const uint8_t salt[16])
{
	put_le64(hdr + O_VOL, vol);
	put_le64(hdr + O_DURABLE, durable);
	put_le32(hdr + O_SUM,
	    header_sum(hdr, get_le32(hdr + O_HDR_LEN), vol, off, salt));
}

bool
needle_has_magic(const uint8_t *p)
{
	return get_le32(p + O_MAGIC) == NEEDLE_MAGIC;
}

uint32_t
needle_claimed_len(const uint8_t *p)
{
	uint32_t len = get_le32(p + O_HDR_LEN);

	if (!needle_has_magic(p) || len < FMT_HDR_FIXED || len > FMT_HDR_MAX)
		return 0;
	return len;
}

static int
decode_fields(const uint8_t *p, size_t len, struct needle *ret)
{
	while (len >= 4) {
		unsigned type = get_le16(p);
		size_t n = get_le16(p + 2);

		if (n > len - 4)
			return ERR_CORRUPT;
		if (type == FIELD_NOTE && n <= FMT_NOTE_MAX) {
			ret->note = str_mem(p + 4, n);
		} else if (type == FIELD_TARGET && n == 8) {
			ret->has_target = true;
			ret->target = get_le64(p + 4);
		} else if (type == FIELD_PARENT && n == 16) {
			ret->parent_inc = get_le64(p + 4);
			ret->parent_seq = get_le64(p + 12);
		}
		p += 4 + n;
		len -= 4 + n;
	}
	return len == 0 ? 0 : ERR_CORRUPT;
}

static int
decode_body(const uint8_t *p, size_t len, struct needle *ret)
{
	size_t fields = get_le16(p + O_FIELDS_LEN), id = p[O_ID_LEN];
	uint64_t blocks = get_le32(p + O_BLOCKS);

	if (FMT_HDR_FIXED + id + fields + 4 * blocks != len ||
	    id >= ENGINE_FILE_ID_MAX)
		return ERR_CORRUPT;
	*ret = (struct needle){
		.type = p[O_TYPE],
		.class = p[O_CLASS],
		.flags = get_le16(p + O_FLAGS),
		.hdr_len = (uint32_t)len,
		.payload_len = get_le32(p + O_PAYLOAD),
		.size = get_le64(p + O_SIZE),
		.version = get_le64(p + O_VERSION),
		.src_inc = get_le64(p + O_SRC_INC),
		.src_seq = get_le64(p + O_SRC_SEQ),
		.created_s = (int64_t)get_le64(p + O_CREATED),
		.crc32 = get_le32(p + O_CRC32),
		.durable = get_le64(p + O_DURABLE),
		.sum = get_le32(p + O_SUM),
		.id = str_mem(p + FMT_HDR_FIXED, id),
		.n_blocks = (uint32_t)blocks,
		.blocks = p + FMT_HDR_FIXED + id + fields,
	};
	get_id(p + O_INDEX_ID, &ret->index_id);
	get_id(p + O_WRITE_ID, &ret->write_id);
	get_id(p + O_SRC_NODE, &ret->src_node);
	if (ret->type == NEEDLE_PUT && (ret->payload_len != ret->size ||
					   blocks != fmt_n_blocks(ret->size)))
		return ERR_CORRUPT;
	return decode_fields(p + FMT_HDR_FIXED + id, fields, ret);
}

int
needle_decode(const uint8_t *p, size_t len, const struct ident *ident,
    uint64_t vol, uint64_t off, const uint8_t salt[16], struct needle *ret,
    struct err *e)
{
	struct needle n;

	if (len < FMT_HDR_FIXED || needle_claimed_len(p) != len ||
	    memcmp(p + O_DEPLOYMENT, ident->deployment.b, 16) != 0 ||
	    memcmp(p + O_NODE, ident->node.b, 16) != 0 ||
	    get_le64(p + O_VOL) != vol ||
	    get_le32(p + O_SUM) != header_sum(p, len, vol, off, salt))
		return err_set(e, ERR_CORRUPT,
		    "no needle in volume %016jx at %ju", (uintmax_t)vol,
		    (uintmax_t)off);
	if (p[O_FORMAT] != FMT_VERSION)
		return err_set(e, ERR_VERSION, "needle of format %u",
		    p[O_FORMAT]);
	if (decode_body(p, len, &n) != 0)
		return err_set(e, ERR_CORRUPT,
		    "broken needle in volume %016jx at %ju", (uintmax_t)vol,
		    (uintmax_t)off);
	*ret = n;
	return 0;
}

/* --- blocks --- */

/* Finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t
mix64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t
fmt_file_seed(struct str id, uint64_t version)
{
	uint8_t in[8 + ENGINE_FILE_ID_MAX], out[8];

	MUST(id.len <= ENGINE_FILE_ID_MAX);
	put_le64(in, version);
	memcpy(in + 8, id.p, id.len);
	hash_one(HASH_XXHASH3, in, 8 + id.len, out);
	return get_be64(out);
}

/* The seed is added to the checksum instead of starting it, since the file ID
 * holds the CRC32 of the whole content and is known last. */
uint32_t
fmt_block_sum(uint64_t file_seed, uint64_t block, uint32_t crc32c)
{
	return crc32c ^
	       (uint32_t)mix64(file_seed + (block + 1) * 0x9e3779b97f4a7c15u);
}

/* --- large files --- */

void
fmt_trailer_encode(uint64_t size, uint32_t hdr_len, const uint8_t *hdr,
    uint8_t dst[FMT_TRAILER])
{
	put_le32(dst, TRAILER_MAGIC);
	put_le32(dst + 4, hdr_len);
	put_le64(dst + 8, size);
	put_le32(dst + 16, hash_crc32c(0, hdr, hdr_len));
	put_le32(dst + 20, hash_crc32c(0, dst, 20));
}

int
fmt_trailer_decode(const uint8_t src[FMT_TRAILER], uint64_t *ret_size,
    uint32_t *ret_hdr_len, uint32_t *ret_sum, struct err *e)
{
	if (get_le32(src) != TRAILER_MAGIC ||
	    get_le32(src + 20) != hash_crc32c(0, src, 20))
		return err_set(e, ERR_CORRUPT, "not a trailer of a large file");
	*ret_hdr_len = get_le32(src + 4);
	*ret_size = get_le64(src + 8);
	*ret_sum = get_le32(src + 16);
	return 0;
}
