/* gateway/index/ilog_frame.c - frames and segment headers of the index log
 * (gateway/index/ilog.h; bytes in docs/FORMAT-INDEX.md). No state. */
#include "gateway/index/ilog.h"

#include "lib/bytes.h"
#include "lib/hash.h"

#define FRAME_MAGIC 0x314d5246 /* "FRM1" */
#define HEADER_FORMAT 1

static const char header_magic[8] = "CREELLOG";

static uint64_t
frame_sum(const char *p, size_t len, const uint8_t salt[16], uint64_t off)
{
	/* Magic and length first, then all behind the checksum. */
	uint64_t seed = hash_xxh3(off, salt, 16);

	seed = hash_xxh3(seed, p, 8);
	return hash_xxh3(seed, p + 16, len - 16);
}

void
ilog_frame_seal(struct buf *frame, const uint8_t salt[16], uint64_t off,
    uint64_t first_seq, uint32_t n_tx)
{
	char *p = frame->p;

	MUST(frame->len >= ILOG_FRAME_HEADER && frame->len <= UINT32_MAX);
	put_le32(p, FRAME_MAGIC);
	put_le32(p + 4, (uint32_t)frame->len);
	put_le64(p + 16, first_seq);
	put_le32(p + 24, n_tx);
	put_le32(p + 28, 0);
	put_le64(p + 8, frame_sum(p, frame->len, salt, off));
}

bool
ilog_frame_parse(struct str in, const uint8_t salt[16], uint64_t off,
    struct ilog_frame *ret)
{
	const char *p = in.p;
	size_t len;

	if (in.len < ILOG_FRAME_HEADER || get_le32(p) != FRAME_MAGIC)
		return false;
	len = get_le32(p + 4);
	if (len < ILOG_FRAME_HEADER || len > in.len || get_le32(p + 24) == 0)
		return false;
	if (get_le64(p + 8) != frame_sum(p, len, salt, off))
		return false;
	ret->first_seq = get_le64(p + 16);
	ret->n_tx = get_le32(p + 24);
	ret->size = (len + 7) & ~(size_t)7;
	ret->payload =
	    (struct str){ p + ILOG_FRAME_HEADER, len - ILOG_FRAME_HEADER };
	return true;
}

void
ilog_header_encode(const struct ilog_header *h, char p[ILOG_HEADER_LEN])
{
	memset(p, 0, ILOG_HEADER_LEN);
	memcpy(p + 8, header_magic, 8);
	put_le32(p + 16, HEADER_FORMAT);
	memcpy(p + 24, h->index_id.b, 16);
	put_le64(p + 40, h->epoch);
	put_le64(p + 48, h->number);
	memcpy(p + 56, h->salt, 16);
	put_le64(p + 72, (uint64_t)h->created_ns);
	put_le64(p + 80, h->after_seq);
	put_le64(p, hash_xxh3(ILOG_HEADER_LEN, p + 8, ILOG_HEADER_LEN - 8));
}

int
ilog_header_decode(const char p[ILOG_HEADER_LEN], struct ilog_header *ret,
    struct err *e)
{
	if (memcmp(p + 8, header_magic, 8) == 0 &&
	    get_le32(p + 16) > HEADER_FORMAT)
		return err_set(e, ERR_VERSION, "index log of format %u",
		    get_le32(p + 16));
	if (memcmp(p + 8, header_magic, 8) != 0 ||
	    get_le64(p) !=
		hash_xxh3(ILOG_HEADER_LEN, p + 8, ILOG_HEADER_LEN - 8))
		return err_set(e, ERR_CORRUPT, "bad header of a log segment");
	memcpy(ret->index_id.b, p + 24, 16);
	ret->epoch = get_le64(p + 40);
	ret->number = get_le64(p + 48);
	memcpy(ret->salt, p + 56, 16);
	ret->created_ns = (int64_t)get_le64(p + 72);
	ret->after_seq = get_le64(p + 80);
	return 0;
}
