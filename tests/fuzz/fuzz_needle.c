/* tests/fuzz/fuzz_needle.c - needle headers, volume headers and trailers: any
 * bytes, with and without the right checksum.
 * LINK: creel_engine creel_fdfs creel_lib */
#include "storage/engine/format.h"

#include "lib/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

static void
use(const struct needle *n)
{
	struct ident ident = { 0 };
	uint8_t again[FMT_HDR_MAX];
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < n->id.len; i++)
		sum = (uint8_t)(sum + n->id.p[i]);
	for (size_t i = 0; i < n->note.len; i++)
		sum = (uint8_t)(sum + n->note.p[i]);
	for (size_t i = 0; i < 4 * (size_t)n->n_blocks; i++)
		sum = (uint8_t)(sum + n->blocks[i]);
	if (needle_hdr_len(n) <= FMT_HDR_MAX)
		needle_encode(n, &ident, again, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	static const uint8_t salt[16] = "salt";
	struct ident ident = { 0 };
	uint8_t hdr[FMT_HDR_MAX], vol[FMT_VOL_HEADER];
	struct vol_header h;
	struct needle n;
	struct err e = ERR_INIT;
	uint64_t size;
	uint32_t hdr_len, sum;

	if (needle_decode(p, len, &ident, 1, 8, salt, &n, &e) == 0)
		use(&n);
	if (len >= FMT_TRAILER)
		(void)fmt_trailer_decode(p, &size, &hdr_len, &sum, &e);
	memset(vol, 0, sizeof(vol));
	memcpy(vol, p, len < sizeof(vol) ? len : sizeof(vol));
	(void)fmt_vol_header_decode(vol, &h, &e);
	if (len < FMT_HDR_FIXED || len > sizeof(hdr))
		return 0;
	/* Past the checksum: what a bug of ours, or a newer creel, may write. */
	memcpy(hdr, p, len);
	memcpy(hdr, "CNDL\1", 5);
	put_le32(hdr + 8, (uint32_t)len);
	memset(hdr + 40, 0, 32);
	needle_place(hdr, 1, 8, 0, salt);
	if (needle_decode(hdr, len, &ident, 1, 8, salt, &n, &e) == 0)
		use(&n);
	return 0;
}
