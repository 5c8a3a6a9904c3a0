/* tests/unit/lib/test_hash.c - digests against published vectors, against
 * OpenSSL, and every fast path against its portable twin. */
#include "lib/hash.h"
#include "lib/hash_impl.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALL (HASH_BIT(HASH_ALGS) - 1)

static uint64_t seed_state = 0x9e3779b97f4a7c15u;

static uint64_t
next(void)
{
	seed_state ^= seed_state << 13;
	seed_state ^= seed_state >> 7;
	seed_state ^= seed_state << 17;
	return seed_state;
}

static uint8_t *
random_bytes(size_t len)
{
	uint8_t *p = malloc(len + 1);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)next();
	return p;
}

static void
assert_hex(const uint8_t *v, size_t len, const char *hex)
{
	char text[2 * HASH_MAX + 1];

	hex_encode(v, len, text);
	text[2 * len] = '\0';
	assert_string_equal(text, hex);
}

static void
test_vectors(void **state)
{
	static const struct {
		enum hash_alg alg;
		const char *in, *hex;
	} cases[] = {
		{ HASH_CRC32, "", "00000000" },
		{ HASH_CRC32, "123456789", "cbf43926" },
		{ HASH_CRC32C, "", "00000000" },
		{ HASH_CRC32C, "123456789", "e3069283" },
		{ HASH_CRC64NVME, "", "0000000000000000" },
		{ HASH_CRC64NVME, "123456789", "ae8b14860a799888" },
		{ HASH_MD5, "", "d41d8cd98f00b204e9800998ecf8427e" },
		{ HASH_MD5, "message digest",
		    "f96b697d7cb7938d525a2f31aaf161d0" },
		{ HASH_SHA1, "abc",
		    "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ HASH_SHA256, "",
		    "e3b0c44298fc1c149afbf4c8996fb924"
		    "27ae41e4649b934ca495991b7852b855" },
		{ HASH_SHA256, "abc",
		    "ba7816bf8f01cfea414140de5dae2223"
		    "b00361a396177a9cb410ff61f20015ad" },
		{ HASH_SHA512, "abc",
		    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"
		    "0a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
		    "454d4423643ce80e2a9ac94fa54ca49f" },
		{ HASH_XXHASH64, "", "ef46db3751d8e999" },
		{ HASH_XXHASH64, "abc", "44bc2cf5ad770999" },
		{ HASH_XXHASH3, "", "2d06800538d394c2" },
		{ HASH_XXHASH128, "", "99aa06d3014798d86001c324468d497f" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t v[HASH_MAX];
		size_t n =
		    hash_one(cases[i].alg, cases[i].in, strlen(cases[i].in), v);

		assert_int_equal(n, hash_size(cases[i].alg));
		assert_hex(v, n, cases[i].hex);
	}
}

static void
evp(const EVP_MD *md, const void *p, size_t len, uint8_t *ret)
{
	assert_int_equal(EVP_Digest(p, len, ret, NULL, md, NULL), 1);
}

static void
check_openssl(const uint8_t *p, size_t len, const struct hash_values *v)
{
	static const enum hash_alg algs[] = { HASH_MD5, HASH_SHA1, HASH_SHA256,
		HASH_SHA512 };
	const EVP_MD *mds[] = { EVP_md5(), EVP_sha1(), EVP_sha256(),
		EVP_sha512() };
	uint8_t want[HASH_MAX];

	for (size_t i = 0; i < 4; i++) {
		struct str got = hash_value(v, algs[i]);

		if (got.p == NULL)
			continue;
		evp(mds[i], p, len, want);
		assert_memory_equal(got.p, want, got.len);
	}
}

/* All lengths around block borders, in random splits, alone and together. */
static void
test_splits(void **state)
{
	static const unsigned masks[] = { ALL,
		HASH_BIT(HASH_MD5) | HASH_BIT(HASH_SHA256), HASH_BIT(HASH_MD5),
		HASH_BIT(HASH_SHA256), 0 };
	const size_t max = 70000;
	uint8_t *p = random_bytes(max);

	(void)state;
	for (size_t round = 0; round < 600; round++) {
		unsigned mask = masks[round % 5];
		size_t len = round < 300 ? round : (size_t)(next() % max);
		struct hash_values v;
		struct hashes h;

		hashes_init(&h, mask);
		for (size_t at = 0; at < len;) {
			size_t n = (size_t)(next() % (round % 2 ? 200 : 40000));

			if (n > len - at)
				n = len - at;
			hashes_update(&h, p + at, n);
			at += n;
		}
		hashes_final(&h, &v);
		assert_int_equal(v.mask, mask);
		check_openssl(p, len, &v);
		for (unsigned a = 0; a < HASH_ALGS; a++) {
			struct str got = hash_value(&v, (enum hash_alg)a);
			uint8_t want[HASH_MAX];

			if ((mask & HASH_BIT(a)) == 0) {
				assert_null(got.p);
				continue;
			}
			hash_one((enum hash_alg)a, p, len, want);
			assert_int_equal(got.len, hash_size((enum hash_alg)a));
			assert_memory_equal(got.p, want, got.len);
		}
	}
	free(p);
}

/* Bit by bit, from the definition. */
static uint64_t
crc_slow(uint64_t poly, uint64_t all, const uint8_t *p, size_t len)
{
	uint64_t c = all;

	for (size_t i = 0; i < len; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? poly : 0);
	}
	return c ^ all;
}

static void
test_crc_twins(void **state)
{
	const size_t max = 5000;
	uint8_t *p = random_bytes(max);

	(void)state;
	for (size_t len = 0; len < max; len += len < 700 ? 1 : 97) {
		size_t off = (size_t)(next() % (max - len + 1)), cut;
		const uint8_t *s = p + off;
		uint64_t want =
		    crc_slow(0x9a6c9329ac4bc9b5u, UINT64_MAX, s, len);

		cut = (size_t)(next() % (len + 1));
		assert_true(crc64nvme_table(0, s, len) == want);
		assert_true(hash_crc64nvme(hash_crc64nvme(0, s, cut), s + cut,
				len - cut) == want);
		if (crc64nvme_has_clmul()) {
			assert_true(crc64nvme_clmul(0, s, len) == want);
			assert_true(crc64nvme_clmul(crc64nvme_table(0, s, cut),
					s + cut, len - cut) == want);
		}
		if (crc64nvme_has_wide()) {
			assert_true(crc64nvme_wide(0, s, len) == want);
			assert_true(crc64nvme_wide(crc64nvme_table(0, s, cut),
					s + cut, len - cut) == want);
		}
		assert_true(
		    hash_crc32(hash_crc32(0, s, cut), s + cut, len - cut) ==
		    (uint32_t)crc_slow(0xedb88320u, UINT32_MAX, s, len));
		assert_true(
		    hash_crc32c(hash_crc32c(0, s, cut), s + cut, len - cut) ==
		    (uint32_t)crc_slow(0x82f63b78u, UINT32_MAX, s, len));
	}
	free(p);
}

/* Each of the ways to make MD5's blocks, one by one and all at once. */
static void
test_md5_twins(void **state)
{
	static const uint32_t first[4] = { 0x67452301, 0xefcdab89, 0x98badcfe,
		0x10325476 };
	enum {
		MAX = 40
	};
	uint8_t *p = random_bytes(64 * MAX + 64);

	(void)state;
	for (size_t n = 0; n <= MAX; n++) {
		const uint8_t *s = p + next() % 64;
		uint32_t one[4], all[4], vec[4];
		struct hash_pair pair;

		memcpy(one, first, sizeof(first));
		memcpy(all, first, sizeof(first));
		memcpy(vec, first, sizeof(first));
		memcpy(pair.md5, first, sizeof(first));
		memset(pair.sha, 0, sizeof(pair.sha));
		for (size_t i = 0; i < n; i++)
			md5_plain(one, s + 64 * i, 1);
		md5_plain(all, s, n);
		assert_memory_equal(one, all, sizeof(first));
		hash_md5_blocks(all, s, 0);
		assert_memory_equal(one, all, sizeof(first));
		if (md5_has_vec()) {
			md5_vec(vec, s, n);
			assert_memory_equal(one, vec, sizeof(first));
		}
		if (hash_pair_is_fast()) {
			hash_pair_blocks(&pair, s, s, n);
			assert_memory_equal(one, pair.md5, sizeof(first));
		}
	}
	free(p);
}

#if defined(__x86_64__)
#include <cpuid.h>

/* Which upper halves of the vector registers are in use: of the 256-bit ones
 * (bit 2), of the 512-bit ones (bit 6). */
static uint32_t
vectors_in_use(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(1));
	return lo & (1u << 2 | 1u << 6);
}

/* Does this processor tell? */
static bool
tells_vectors(void)
{
	unsigned a = 0, b, c, d;
	bool is_told;

	if (!__builtin_cpu_supports("avx") ||
	    !__get_cpuid_count(13, 1, &a, &b, &c, &d) || (a & 1u << 2) == 0)
		return false;
	__asm__ volatile("vpcmpeqd %%xmm15, %%xmm15, %%xmm15\n\t"
			 "vinsertf128 $1, %%xmm15, %%ymm15, %%ymm15"
			 :
			 :
			 : "xmm15");
	is_told = vectors_in_use() != 0;
	__asm__ volatile("vzeroupper");
	return is_told && vectors_in_use() == 0;
}

/* Else all that follows is several times slower. */
static void
test_vectors_are_clean(void **state)
{
	uint8_t *p, md5[16];

	(void)state;
	if (!tells_vectors())
		skip();
	p = random_bytes(4096);
	for (size_t n = 0; n <= 4096; n += n < 300 ? 1 : 211) {
		hash_crc32c(0, p, n);
		assert_int_equal(vectors_in_use(), 0);
		hash_crc32(0, p, n);
		assert_int_equal(vectors_in_use(), 0);
		hash_crc64nvme(0, p, n);
		assert_int_equal(vectors_in_use(), 0);
		hash_md5(p, n, md5);
		assert_int_equal(vectors_in_use(), 0);
	}
	free(p);
}
#else
static void
test_vectors_are_clean(void **state)
{
	(void)state;
	skip(); /* nothing like it there */
}
#endif

static void
test_crc_combine(void **state)
{
	const size_t max = 100000;
	uint8_t *p = random_bytes(max);

	(void)state;
	for (int round = 0; round < 60; round++) {
		size_t len = (size_t)(next() % max), cut, rest;

		cut = round == 0 ? 0 : round == 1 ? len : next() % (len + 1);
		rest = len - cut;
		assert_true(hash_crc32(0, p, len) ==
			    hash_crc32_combine(hash_crc32(0, p, cut),
				hash_crc32(0, p + cut, rest), rest));
		assert_true(hash_crc32c(0, p, len) ==
			    hash_crc32c_combine(hash_crc32c(0, p, cut),
				hash_crc32c(0, p + cut, rest), rest));
		assert_true(hash_crc64nvme(0, p, len) ==
			    hash_crc64nvme_combine(hash_crc64nvme(0, p, cut),
				hash_crc64nvme(0, p + cut, rest), rest));
		for (unsigned a = 0; a < HASH_ALGS; a++) {
			uint8_t x[HASH_MAX], y[HASH_MAX], w[HASH_MAX];
			bool can;

			hash_one((enum hash_alg)a, p, cut, x);
			hash_one((enum hash_alg)a, p + cut, rest, y);
			can = hash_combine((enum hash_alg)a, x, y, rest);
			assert_int_equal(can, a <= HASH_CRC64NVME);
			if (!can)
				continue;
			hash_one((enum hash_alg)a, p, len, w);
			assert_memory_equal(x, w, hash_size((enum hash_alg)a));
		}
	}
	/* Zeros: a length that no test would feed, 5 TiB in one step against
	 * the same in 5 * 2^20 steps of 1 MiB by doubling. */
	{
		uint64_t one = hash_crc64nvme(0, "x", 1), z, step;
		uint8_t *zero = calloc(1, 1 << 20);

		assert_non_null(zero);
		z = hash_crc64nvme(0, zero, 1 << 20);
		step = (uint64_t)1 << 20;
		for (int i = 0; i < 20; i++, step *= 2)
			z = hash_crc64nvme_combine(z, z, step);
		for (int i = 0; i < 3; i++)
			one = hash_crc64nvme_combine(one, z, step);
		assert_true(
		    one == hash_crc64nvme_combine(hash_crc64nvme(0, "x", 1),
			       hash_crc64nvme_combine(hash_crc64nvme_combine(z,
							  z, step),
				   z, step),
			       3 * step));
		free(zero);
	}
	free(p);
}

static void
test_hmac(void **state)
{
	uint8_t got[32], want[EVP_MAX_MD_SIZE], *p = random_bytes(400);
	unsigned n;

	(void)state;
	/* RFC 4231, test case 2. */
	hmac_sha256(STR_LIT("Jefe"), STR_LIT("what do ya want for nothing?"),
	    got);
	assert_hex(got, 32,
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	for (size_t k = 0; k < 140; k++) {
		struct str key = str_mem(p, k);
		struct str msg = str_mem(p + 140, (size_t)(next() % 260));
		struct hmac_key pre;

		assert_non_null(HMAC(EVP_sha256(), key.p, (int)key.len,
		    (const uint8_t *)msg.p, msg.len, want, &n));
		hmac_sha256(key, msg, got);
		assert_memory_equal(got, want, 32);
		hmac_key_init(&pre, key);
		for (int i = 0; i < 2; i++) {
			memset(got, 0, sizeof(got));
			hmac_sign(&pre, msg, got);
			assert_memory_equal(got, want, 32);
		}
		hmac_wipe(&pre);
	}
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_md5_twins),
		cmocka_unit_test(test_crc_twins),
		cmocka_unit_test(test_vectors_are_clean),
		cmocka_unit_test(test_crc_combine),
		cmocka_unit_test(test_hmac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
