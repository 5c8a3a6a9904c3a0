/* tests/fuzz/fuzz_index.c - the index's formats: any bytes in the log, in the
 * archive's blobs and in their notes. What parses stays within its bounds.
 * LINK: creel_index creel_blob creel_lib
 * The first byte chooses the decoder. */
#include "gateway/index/chunk.h"
#include "gateway/index/ops.h"
#include "gateway/index/snapshot.h"
#include "lib/bytes.h"
#include "lib/hash.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

static void
touch(struct str s)
{
	volatile char c = 0;

	for (size_t i = 0; i < s.len; i++)
		c ^= s.p[i];
	(void)c;
}

static void
ops(struct str in)
{
	struct ops_walk w = { .in = in };
	struct err e = ERR_INIT;
	struct str value;
	struct op op;

	while (ops_next_tx(&w, &e) > 0) {
		while (ops_next(&w, &op, &e) > 0) {
			touch(op.key);
			touch(op.raw);
			if (op.raw.p != NULL)
				(void)ops_unwrap(op.key, op.raw, &value, &e);
		}
	}
}

static int
frame(void *arg, uint64_t first_seq, uint32_t n_tx, struct str payload,
    struct err *e)
{
	(void)arg;
	(void)first_seq;
	(void)e;
	MUST(n_tx > 0);
	ops(payload);
	return 0;
}

/* Checksums are made right, so that what lies behind them is reached. */
static void
chunk(struct str in)
{
	struct err e = ERR_INIT;
	struct ilog_chunk c;
	struct ilog_frame f;
	struct id128 id;
	struct str frames;
	size_t n;
	char *p;

	if (in.len < CHUNK_HEADER + ILOG_FRAME_HEADER)
		return;
	p = malloc(in.len);
	if (p == NULL)
		return;
	memcpy(p, in.p, in.len);
	memcpy(p + 8, "CREELCHK\1\0\0\0", 12);
	put_le64(p + 96, in.len - CHUNK_HEADER);
	put_le64(p, hash_xxh3(CHUNK_HEADER, p + 8, CHUNK_HEADER - 8));
	n = in.len - CHUNK_HEADER;
	if (chunk_parse(str_mem(p, in.len), &id, &c, &frames, &e) == 0) {
		struct buf b = { p + CHUNK_HEADER, n, n, n };

		(void)chunk_replay(&c, frames, 0, frame, NULL, &e);
		ilog_frame_seal(&b, c.salt, c.off, c.first_seq, 1);
		if (ilog_frame_parse(frames, c.salt, c.off, &f))
			touch(f.payload);
		c.last_seq = c.first_seq;
		(void)chunk_replay(&c, frames, 0, frame, NULL, &e);
	}
	free(p);
}

struct input {
	struct str left;
};

static int
source(void *arg, void *p, size_t len, size_t *ret_len, struct err *e)
{
	struct input *in = arg;

	(void)e;
	if (len > in->left.len)
		len = in->left.len;
	memcpy(p, in->left.p, len);
	in->left = str_skip(in->left, len);
	*ret_len = len;
	return 0;
}

static void
snapshot(struct str in)
{
	struct snapshot_reader *r;
	struct snapshot_header h;
	struct snapshot_end end;
	struct err e = ERR_INIT;
	struct str key, raw;
	struct input i;
	uint64_t seed, s;
	char *p;

	if (in.len < 80 + 32)
		return;
	p = malloc(in.len);
	if (p == NULL)
		return;
	memcpy(p, in.p, in.len);
	memcpy(p + 8, "CREELSNP\1\0\0\0", 12);
	seed = hash_xxh3(80, p + 8, 72);
	put_le64(p, seed);
	put_le32(p + 80, 0x314b4c42);
	put_le32(p + 84, (uint32_t)(in.len - 112));
	put_le64(p + 104, 0);
	s = hash_xxh3(seed, p + 80, 8);
	put_le64(p + 88, hash_xxh3(s, p + 96, in.len - 96));
	i.left = str_mem(p, in.len);
	if (snapshot_reader_new(source, &i, &h, &r, &e) == 0) {
		while (snapshot_next(r, &key, &raw, &end, &e) > 0) {
			MUST(key.len > 0);
			touch(key);
			touch(raw);
		}
		snapshot_reader_free(&r);
	}
	free(p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct archived a = { 0 };
	struct err e = ERR_INIT;
	struct ilog_header h;
	struct str in;
	char note[128];

	if (len == 0)
		return 0;
	in = str_mem(p + 1, len - 1);
	switch (p[0] % 5) {
	case 0:
		ops(in);
		break;
	case 1:
		chunk(in);
		break;
	case 2:
		snapshot(in);
		break;
	case 3:
		if (archived_parse(in, &a)) {
			struct archived b = { 0 };

			MUST(archived_parse(archived_note(&a, note), &b));
			MUST(b.first == a.first && b.epoch == a.epoch);
		}
		break;
	default:
		if (in.len >= ILOG_HEADER_LEN)
			(void)ilog_header_decode(in.p, &h, &e);
		break;
	}
	return 0;
}
