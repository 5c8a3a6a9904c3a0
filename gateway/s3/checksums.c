/* gateway/s3/checksums.c - names and texts of checksums (checksums.h). */
#include "gateway/s3/checksums.h"

static const struct {
	const char *name, *header, *element;
	bool full, composite; /* types for multipart uploads */
} algs[] = {
	[CHECKSUM_CRC32] = { "CRC32", "x-amz-checksum-crc32", "ChecksumCRC32",
	    true, true },
	[CHECKSUM_CRC32C] = { "CRC32C", "x-amz-checksum-crc32c",
	    "ChecksumCRC32C", true, true },
	[CHECKSUM_CRC64NVME] = { "CRC64NVME", "x-amz-checksum-crc64nvme",
	    "ChecksumCRC64NVME", true, false },
	[CHECKSUM_SHA1] = { "SHA1", "x-amz-checksum-sha1", "ChecksumSHA1",
	    false, true },
	[CHECKSUM_SHA256] = { "SHA256", "x-amz-checksum-sha256",
	    "ChecksumSHA256", false, true },
	[CHECKSUM_SHA512] = { "SHA512", "x-amz-checksum-sha512",
	    "ChecksumSHA512", false, true },
	[CHECKSUM_MD5] = { "MD5", "x-amz-checksum-md5", "ChecksumMD5", false,
	    true },
	[CHECKSUM_XXHASH64] = { "XXHASH64", "x-amz-checksum-xxhash64",
	    "ChecksumXXHASH64", false, true },
	[CHECKSUM_XXHASH3] = { "XXHASH3", "x-amz-checksum-xxhash3",
	    "ChecksumXXHASH3", false, true },
	[CHECKSUM_XXHASH128] = { "XXHASH128", "x-amz-checksum-xxhash128",
	    "ChecksumXXHASH128", false, true },
};
#define N_ALGS (sizeof(algs) / sizeof(algs[0]))

const char *
checksum_name(uint8_t alg)
{
	MUST(alg != CHECKSUM_NONE && alg < N_ALGS);
	return algs[alg].name;
}

const char *
checksum_header(uint8_t alg)
{
	MUST(alg != CHECKSUM_NONE && alg < N_ALGS);
	return algs[alg].header;
}

const char *
checksum_element(uint8_t alg)
{
	MUST(alg != CHECKSUM_NONE && alg < N_ALGS);
	return algs[alg].element;
}

const char *
checksum_type(const struct checksum *c)
{
	return c->is_composite ? "COMPOSITE" : "FULL_OBJECT";
}

uint8_t
checksum_by_name(struct str name)
{
	uint8_t i;

	for (i = 1; i < N_ALGS; i++)
		if (str_ieq(name, str_of(algs[i].name)))
			return i;
	return CHECKSUM_NONE;
}

uint8_t
checksum_by_header(struct str header)
{
	uint8_t i;

	for (i = 1; i < N_ALGS; i++)
		if (str_ieq(header, str_of(algs[i].header)))
			return i;
	return CHECKSUM_NONE;
}

struct str
checksum_text(const struct checksum *c, uint32_t n_parts,
    char dst[CHECKSUM_TEXT_MAX])
{
	size_t n = base64_encode(c->value, c->len, dst);
	char digits[10];
	size_t i = 0;

	if (!c->is_composite || n_parts == 0)
		return str_mem(dst, n);
	dst[n++] = '-';
	for (; n_parts > 0; n_parts /= 10)
		digits[i++] = (char)('0' + n_parts % 10);
	while (i > 0)
		dst[n++] = digits[--i];
	return str_mem(dst, n);
}

bool
checksum_parse(uint8_t alg, struct str text, bool composite,
    struct checksum *ret, uint32_t *ret_parts)
{
	struct checksum c = { .alg = alg };
	uint64_t parts = 0;
	size_t len;
	ptrdiff_t dash;

	if (alg == CHECKSUM_NONE || alg >= N_ALGS)
		return false;
	dash = composite ? str_chr(text, '-') : -1;
	if (dash >= 0) {
		if (!str_to_u64(str_skip(text, (size_t)dash + 1), UINT32_MAX,
			&parts))
			return false;
		text = str_sub(text, 0, (size_t)dash);
		c.is_composite = true;
	}
	if (!base64_decode(text, c.value, sizeof(c.value), &len) ||
	    len != hash_size(checksum_hash(alg)))
		return false;
	c.len = (uint8_t)len;
	*ret = c;
	if (ret_parts != NULL)
		*ret_parts = (uint32_t)parts;
	return true;
}

void
checksum_take(uint8_t alg, const struct hash_values *v, struct checksum *ret)
{
	struct str value = hash_value(v, checksum_hash(alg));

	*ret = (struct checksum){ .alg = alg, .len = (uint8_t)value.len };
	MUST(value.p != NULL && value.len <= sizeof(ret->value));
	memcpy(ret->value, value.p, value.len);
}

bool
checksum_eq(const struct checksum *a, const struct checksum *b)
{
	return a->alg == b->alg && a->len == b->len &&
	       memcmp(a->value, b->value, a->len) == 0;
}

bool
checksum_allows(uint8_t alg, bool composite)
{
	MUST(alg != CHECKSUM_NONE && alg < N_ALGS);
	return composite ? algs[alg].composite : algs[alg].full;
}

bool
checksum_default_composite(uint8_t alg)
{
	MUST(alg != CHECKSUM_NONE && alg < N_ALGS);
	return algs[alg].composite;
}
