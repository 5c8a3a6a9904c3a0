/* lib/hash.h - digests and checksums: the only user of OpenSSL's digests,
 * ISA-L's CRCs and xxHash.
 *
 * Values are the bytes that S3 puts on the wire (in base64): CRCs and xxHash
 * big-endian. Nothing here allocates or fails. Threads: any; a struct hashes
 * belongs to one at a time and must not be copied. */
#ifndef LIB_HASH_H
#define LIB_HASH_H

#include "lib/str.h"

enum hash_alg {
	HASH_CRC32,     /* zlib's */
	HASH_CRC32C,    /* iSCSI */
	HASH_CRC64NVME, /* NVM Express, reflected 0x9a6c9329ac4bc9b5 */
	HASH_SHA1,
	HASH_SHA256,
	HASH_SHA512,
	HASH_MD5,
	HASH_XXHASH64,  /* seed 0 */
	HASH_XXHASH3,   /* XXH3_64bits */
	HASH_XXHASH128, /* XXH3_128bits */
	HASH_ALGS
};
#define HASH_BIT(alg) (1u << (unsigned)(alg))
#define HASH_MAX 64 /* bytes of the longest value */

size_t hash_size(enum hash_alg a);

/* --- streaming: any subset at once --- */

struct hashes {
	_Alignas(16) unsigned char state[2176];
};

struct hash_values {
	unsigned mask; /* which are there */
	uint8_t v[HASH_ALGS][HASH_MAX];
};

/* @mask: HASH_BIT()s; 0 is fine. MD5 and SHA-256 together run interleaved. */
void hashes_init(struct hashes *h, unsigned mask);
void hashes_update(struct hashes *h, const void *p, size_t len);
/* Once; init before any further use. */
void hashes_final(struct hashes *h, struct hash_values *ret);
/* View into @v; STR_NULL when it was not asked for. */
struct str hash_value(const struct hash_values *v, enum hash_alg a);

/* --- in one call --- */

/* @seed is the CRC of what came before, 0 at the start. */
uint32_t hash_crc32(uint32_t seed, const void *p, size_t len);
uint32_t hash_crc32c(uint32_t seed, const void *p, size_t len);
uint64_t hash_crc64nvme(uint64_t seed, const void *p, size_t len);
void hash_md5(const void *p, size_t len, uint8_t ret[16]);
void hash_sha1(const void *p, size_t len, uint8_t ret[20]);
void hash_sha256(const void *p, size_t len, uint8_t ret[32]);
/* XXH3_64bits with a seed: for our own formats; little-endian there. */
uint64_t hash_xxh3(uint64_t seed, const void *p, size_t len);
/* Returns hash_size(a). */
size_t hash_one(enum hash_alg a, const void *p, size_t len, void *ret);

/* CRC of A||B from those of A and B. */
uint32_t hash_crc32_combine(uint32_t a, uint32_t b, uint64_t len_b);
uint32_t hash_crc32c_combine(uint32_t a, uint32_t b, uint64_t len_b);
uint64_t hash_crc64nvme_combine(uint64_t a, uint64_t b, uint64_t len_b);
/* The same over wire bytes; false when @alg has no combination. */
bool hash_combine(enum hash_alg alg, void *a_and_ret, const void *b,
    uint64_t len_b);

/* --- HMAC-SHA256 (RFC 2104) --- */

struct hmac_key {
	_Alignas(
	    16) unsigned char state[256]; /* secret: wipe with hmac_wipe() */
};
void hmac_key_init(struct hmac_key *k, struct str key);
void hmac_sign(const struct hmac_key *k, struct str msg, uint8_t ret[32]);
void hmac_wipe(struct hmac_key *k);
void hmac_sha256(struct str key, struct str msg, uint8_t ret[32]);

#endif
