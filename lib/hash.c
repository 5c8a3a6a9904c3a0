/* lib/hash.c - any subset of the digests over one stream.
 *
 * OpenSSL's low-level functions are used on purpose, although OpenSSL 3 calls
 * them deprecated: their contexts are plain structs, so that nothing is
 * fetched, counted, locked or allocated per object, which with EVP costs as
 * much as hashing 1 KiB. The code below them is the same. */
#define OPENSSL_SUPPRESS_DEPRECATED 1
#include "lib/hash.h"
#include "lib/hash_impl.h"

#include "lib/bytes.h"
#include "lib/err.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#define XXH_INLINE_ALL /* the states' layout is no ABI otherwise */
#include <xxhash.h>

#define PIECE 16384 /* each algorithm in turn, while it is in the L1 cache */

static const uint8_t sizes[HASH_ALGS] = {
	[HASH_CRC32] = 4,
	[HASH_CRC32C] = 4,
	[HASH_CRC64NVME] = 8,
	[HASH_SHA1] = 20,
	[HASH_SHA256] = 32,
	[HASH_SHA512] = 64,
	[HASH_MD5] = 16,
	[HASH_XXHASH64] = 8,
	[HASH_XXHASH3] = 8,
	[HASH_XXHASH128] = 16,
};

size_t
hash_size(enum hash_alg a)
{
	MUST((unsigned)a < HASH_ALGS);
	return sizes[a];
}

struct state {
	unsigned mask;
	bool pair; /* MD5 and SHA-256 in one loop */
	uint64_t len;
	uint32_t crc32, crc32c;
	uint64_t crc64;
	struct hash_pair s; /* MD5's, and SHA-256's too if they are a pair */
	uint8_t rest[64];   /* for these: len % 64 bytes */
	SHA256_CTX sha256;
	SHA_CTX sha1;
	SHA512_CTX sha512;
	XXH64_state_t xxh64;
	/* Want 64-byte alignment, which neither heap nor arena gives. */
	unsigned char xxh3[sizeof(XXH3_state_t) * 2 + 64];
};

_Static_assert(sizeof(struct state) <= sizeof(struct hashes), "hash.h");

static struct state *
state_of(struct hashes *h)
{
	return (struct state *)(void *)h->state;
}

static XXH3_state_t *
xxh3_of(struct state *s, int i)
{
	uintptr_t p = ((uintptr_t)s->xxh3 + 63) & ~(uintptr_t)63;

	return (XXH3_state_t *)p + i;
}

static void
init_state(struct state *s, unsigned mask, bool pair)
{
	MUST(mask < HASH_BIT(HASH_ALGS));
	s->mask = mask;
	s->len = 0;
	s->crc32 = s->crc32c = 0;
	s->crc64 = 0;
	s->pair = pair;
	if (mask & HASH_BIT(HASH_MD5))
		s->s = (struct hash_pair){
			.md5 = { 0x67452301, 0xefcdab89, 0x98badcfe,
			    0x10325476 },
			.sha = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 },
		};
	if (!pair && mask & HASH_BIT(HASH_SHA256))
		SHA256_Init(&s->sha256);
	if (mask & HASH_BIT(HASH_SHA1))
		SHA1_Init(&s->sha1);
	if (mask & HASH_BIT(HASH_SHA512))
		SHA512_Init(&s->sha512);
	if (mask & HASH_BIT(HASH_XXHASH64))
		XXH64_reset(&s->xxh64, 0);
	if (mask & HASH_BIT(HASH_XXHASH3)) {
		XXH3_INITSTATE(xxh3_of(s, 0));
		XXH3_64bits_reset(xxh3_of(s, 0));
	}
	if (mask & HASH_BIT(HASH_XXHASH128)) {
		XXH3_INITSTATE(xxh3_of(s, 1));
		XXH3_128bits_reset(xxh3_of(s, 1));
	}
}

void
hashes_init(struct hashes *h, unsigned mask)
{
	unsigned both = HASH_BIT(HASH_MD5) | HASH_BIT(HASH_SHA256);

	init_state(state_of(h), mask,
	    (mask & both) == both && hash_pair_is_fast());
}

static void
blocks(struct state *s, const uint8_t *md5_p, const uint8_t *sha_p, size_t n)
{
	if (s->pair)
		hash_pair_blocks(&s->s, md5_p, sha_p, n);
	else
		hash_md5_blocks(s->s.md5, md5_p, n);
}

/* And SHA-256, if they are a pair. */
static void
md5_update(struct state *s, const uint8_t *p, size_t len)
{
	size_t have = (size_t)(s->len % 64), n;

	if (have > 0) {
		n = len < 64 - have ? len : 64 - have;
		memcpy(s->rest + have, p, n);
		if (have + n < 64)
			return;
		blocks(s, s->rest, s->rest, 1);
		p += n;
		len -= n;
	}
	blocks(s, p, p, len / 64);
	memcpy(s->rest, p + len / 64 * 64, len % 64);
}

static void
md5_final(struct state *s, uint8_t md5[16], uint8_t sha[32])
{
	uint8_t a[128] = { 0 }, b[128];
	size_t have = (size_t)(s->len % 64), n = have < 56 ? 1 : 2;

	memcpy(a, s->rest, have);
	a[have] = 0x80;
	memcpy(b, a, sizeof(b));
	put_le64(a + 64 * n - 8, s->len * 8);
	put_be64(b + 64 * n - 8, s->len * 8);
	blocks(s, a, b, n);
	for (size_t i = 0; i < 4; i++)
		put_le32(md5 + 4 * i, s->s.md5[i]);
	for (size_t i = 0; i < 8 && s->pair; i++)
		put_be32(sha + 4 * i, s->s.sha[i]);
}

static void
update_piece(struct state *s, const uint8_t *p, size_t len)
{
	unsigned m = s->mask;

	if (m & HASH_BIT(HASH_MD5))
		md5_update(s, p, len);
	if (!s->pair && m & HASH_BIT(HASH_SHA256))
		SHA256_Update(&s->sha256, p, len);
	if (m & HASH_BIT(HASH_CRC32))
		s->crc32 = hash_crc32(s->crc32, p, len);
	if (m & HASH_BIT(HASH_CRC32C))
		s->crc32c = hash_crc32c(s->crc32c, p, len);
	if (m & HASH_BIT(HASH_CRC64NVME))
		s->crc64 = hash_crc64nvme(s->crc64, p, len);
	if (m & HASH_BIT(HASH_SHA1))
		SHA1_Update(&s->sha1, p, len);
	if (m & HASH_BIT(HASH_SHA512))
		SHA512_Update(&s->sha512, p, len);
	if (m & HASH_BIT(HASH_XXHASH64))
		XXH64_update(&s->xxh64, p, len);
	if (m & HASH_BIT(HASH_XXHASH3))
		XXH3_64bits_update(xxh3_of(s, 0), p, len);
	if (m & HASH_BIT(HASH_XXHASH128))
		XXH3_128bits_update(xxh3_of(s, 1), p, len);
	s->len += len;
}

void
hashes_update(struct hashes *h, const void *p, size_t len)
{
	struct state *s = state_of(h);
	const uint8_t *at = p;

	/* One alone goes through all at once. */
	if ((s->mask & (s->mask - 1)) == 0 && len > 0) {
		update_piece(s, at, len);
		return;
	}
	while (len > 0) {
		size_t n = len < PIECE ? len : PIECE;

		update_piece(s, at, n);
		at += n;
		len -= n;
	}
}

void
hashes_final(struct hashes *h, struct hash_values *ret)
{
	struct state *s = state_of(h);
	unsigned m = s->mask;

	ret->mask = m;
	if (m & HASH_BIT(HASH_MD5))
		md5_final(s, ret->v[HASH_MD5], ret->v[HASH_SHA256]);
	if (!s->pair && m & HASH_BIT(HASH_SHA256))
		SHA256_Final(ret->v[HASH_SHA256], &s->sha256);
	if (m & HASH_BIT(HASH_CRC32))
		put_be32(ret->v[HASH_CRC32], s->crc32);
	if (m & HASH_BIT(HASH_CRC32C))
		put_be32(ret->v[HASH_CRC32C], s->crc32c);
	if (m & HASH_BIT(HASH_CRC64NVME))
		put_be64(ret->v[HASH_CRC64NVME], s->crc64);
	if (m & HASH_BIT(HASH_SHA1))
		SHA1_Final(ret->v[HASH_SHA1], &s->sha1);
	if (m & HASH_BIT(HASH_SHA512))
		SHA512_Final(ret->v[HASH_SHA512], &s->sha512);
	if (m & HASH_BIT(HASH_XXHASH64))
		put_be64(ret->v[HASH_XXHASH64], XXH64_digest(&s->xxh64));
	if (m & HASH_BIT(HASH_XXHASH3))
		put_be64(ret->v[HASH_XXHASH3],
		    XXH3_64bits_digest(xxh3_of(s, 0)));
	if (m & HASH_BIT(HASH_XXHASH128)) {
		XXH128_hash_t x = XXH3_128bits_digest(xxh3_of(s, 1));

		put_be64(ret->v[HASH_XXHASH128], x.high64);
		put_be64(ret->v[HASH_XXHASH128] + 8, x.low64);
	}
	s->mask = 0;
	s->pair = false;
}

struct str
hash_value(const struct hash_values *v, enum hash_alg a)
{
	if ((unsigned)a >= HASH_ALGS || (v->mask & HASH_BIT(a)) == 0)
		return STR_NULL;
	return str_mem(v->v[a], sizes[a]);
}

/* --- in one call --- */

void
hash_md5(const void *p, size_t len, uint8_t ret[16])
{
	hash_one(HASH_MD5, p, len, ret);
}

void
hash_sha1(const void *p, size_t len, uint8_t ret[20])
{
	SHA_CTX c;

	SHA1_Init(&c);
	SHA1_Update(&c, p, len);
	SHA1_Final(ret, &c);
}

void
hash_sha256(const void *p, size_t len, uint8_t ret[32])
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, p, len);
	SHA256_Final(ret, &c);
}

uint64_t
hash_xxh3(uint64_t seed, const void *p, size_t len)
{
	return XXH3_64bits_withSeed(p, len, seed);
}

size_t
hash_one(enum hash_alg a, const void *p, size_t len, void *ret)
{
	struct hash_values v;
	struct hashes h;

	MUST((unsigned)a < HASH_ALGS);
	hashes_init(&h, HASH_BIT(a));
	hashes_update(&h, p, len);
	hashes_final(&h, &v);
	memcpy(ret, v.v[a], sizes[a]);
	return sizes[a];
}

/* --- HMAC --- */

struct hmac_state {
	SHA256_CTX inner, outer; /* each after its block of padded key */
};

_Static_assert(sizeof(struct hmac_state) <= sizeof(struct hmac_key), "hash.h");

void
hmac_key_init(struct hmac_key *k, struct str key)
{
	struct hmac_state *s = (struct hmac_state *)(void *)k->state;
	uint8_t pad[64] = { 0 };

	if (key.len > sizeof(pad))
		hash_sha256(key.p, key.len, pad);
	else if (key.len > 0)
		memcpy(pad, key.p, key.len);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	SHA256_Init(&s->inner);
	SHA256_Update(&s->inner, pad, sizeof(pad));
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&s->outer);
	SHA256_Update(&s->outer, pad, sizeof(pad));
	OPENSSL_cleanse(pad, sizeof(pad));
}

void
hmac_sign(const struct hmac_key *k, struct str msg, uint8_t ret[32])
{
	const struct hmac_state *s =
	    (const struct hmac_state *)(const void *)k->state;
	SHA256_CTX c = s->inner;
	uint8_t in[32];

	SHA256_Update(&c, msg.p, msg.len);
	SHA256_Final(in, &c);
	c = s->outer;
	SHA256_Update(&c, in, sizeof(in));
	SHA256_Final(ret, &c); /* wipes c */
}

void
hmac_wipe(struct hmac_key *k)
{
	OPENSSL_cleanse(k, sizeof(*k));
}

void
hmac_sha256(struct str key, struct str msg, uint8_t ret[32])
{
	struct hmac_key k;

	hmac_key_init(&k, key);
	hmac_sign(&k, msg, ret);
	hmac_wipe(&k);
}
