/* lib/hash_crc.c - cyclic redundancy checks.
 *
 * CRC32 and CRC32C are ISA-L's. CRC64NVME (NVM Express NVM command set 1.0,
 * 5.2.1.3.4) is ours: folding with carry-less multiplication after Gopal et
 * al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ" (Intel,
 * 2009), with a portable twin by tables of eight bytes.
 *
 * All three are reflected: bit 0 is the highest power of x, and begin and end
 * inverted. */
#include "lib/hash.h"
#include "lib/hash_impl.h"

#include "lib/bytes.h"

#include <isa-l/crc.h>

#define POLY32 0xedb88320u
#define POLY32C 0x82f63b78u
#define POLY64 0x9a6c9329ac4bc9b5u

#define MAX_PIECE ((size_t)1 << 30) /* ISA-L takes an int */

/* ISA-L, and crc64nvme_wide(), leave the upper halves of the vector registers in
 * use, which makes all code that knows only the lower ones wait at each turn:
 * OpenSSL's SHA-256 is eight times slower then (Sapphire Rapids), until somebody
 * cleans them. */
#if defined(__x86_64__)
static bool has_avx;

static void
clean_vectors(void)
{
	if (has_avx)
		__asm__ volatile("vzeroupper");
}
#else
static void
clean_vectors(void)
{
}
#endif

uint32_t
hash_crc32(uint32_t seed, const void *p, size_t len)
{
	if (len == 0)
		return seed;
	seed = crc32_gzip_refl(seed, p, len);
	clean_vectors();
	return seed;
}

uint32_t
hash_crc32c(uint32_t seed, const void *p, size_t len)
{
	unsigned char *at = (unsigned char *)(uintptr_t)p; /* not written to */

	seed = ~seed;
	while (len > 0) {
		size_t n = len < MAX_PIECE ? len : MAX_PIECE;

		seed = crc32_iscsi(at, (int)n, seed);
		at += n;
		len -= n;
	}
	clean_vectors();
	return ~seed;
}

/* --- CRC64NVME --- */

static uint64_t table[8][256];

__attribute__((constructor)) static void
make_table(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t c = i;

		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? POLY64 : 0);
		table[0][i] = c;
	}
	for (unsigned i = 0; i < 256; i++) {
		for (int k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^
			              table[0][table[k - 1][i] & 255];
	}
}

static uint64_t
table_raw(uint64_t c, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		c ^= get_le64(p);
		c = table[7][c & 255] ^ table[6][c >> 8 & 255] ^
		    table[5][c >> 16 & 255] ^ table[4][c >> 24 & 255] ^
		    table[3][c >> 32 & 255] ^ table[2][c >> 40 & 255] ^
		    table[1][c >> 48 & 255] ^ table[0][c >> 56];
	}
	for (; len > 0; p++, len--)
		c = c >> 8 ^ table[0][(c ^ *p) & 255];
	return c;
}

uint64_t
crc64nvme_table(uint64_t seed, const void *p, size_t len)
{
	return ~table_raw(~seed, p, len);
}

#if defined(__x86_64__)
#include <immintrin.h>

/* x^n mod P, reflected. The product of two reflected words comes out one bit
 * short of 128, hence the powers less one: a word that moves on by D bits is
 * multiplied by x^(D-1), the one before it in the register by x^(D+63). The
 * unit test compares with the definition. */
#define X1023 0x5f852fb61e8d92dcu
#define X1087 0xa1ca681e733f9c40u
#define X2047 0xa043808c0f782663u
#define X2111 0x37ccd3e14069cabcu
#define X511 0x62242240ace5045au
#define X575 0x0c32cdb31e18a84au
#define X127 0x21e9761e252621acu
#define X191 0xeadc41fd2ba3d420u

#define CLMUL_TARGET __attribute__((target("pclmul,sse4.1")))

CLMUL_TARGET static inline __m128i
fold(__m128i acc, __m128i k, __m128i next)
{
	__m128i lo = _mm_clmulepi64_si128(acc, k, 0x00);
	__m128i hi = _mm_clmulepi64_si128(acc, k, 0x11);

	return _mm_xor_si128(_mm_xor_si128(lo, hi), next);
}

CLMUL_TARGET uint64_t
crc64nvme_clmul(uint64_t seed, const void *p, size_t len)
{
	const uint8_t *s = p;
	uint8_t last[16];
	__m128i a[8], k;

	if (len < 128)
		return crc64nvme_table(seed, p, len);
	for (int i = 0; i < 8; i++)
		a[i] = _mm_loadu_si128((const __m128i *)(s + 16 * i));
	a[0] = _mm_xor_si128(a[0], _mm_cvtsi64_si128((long long)~seed));
	s += 128;
	len -= 128;
	k = _mm_set_epi64x((long long)X1023, (long long)X1087);
	for (; len >= 128; s += 128, len -= 128) {
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			a[i] = fold(a[i], k,
			    _mm_loadu_si128((const __m128i *)(s + 16 * i)));
	}
	k = _mm_set_epi64x((long long)X127, (long long)X191);
	for (int i = 1; i < 8; i++)
		a[0] = fold(a[0], k, a[i]);
	for (; len >= 16; s += 16, len -= 16)
		a[0] = fold(a[0], k, _mm_loadu_si128((const __m128i *)s));
	_mm_storeu_si128((__m128i *)last, a[0]);
	return ~table_raw(table_raw(0, last, sizeof(last)), s, len);
}

#define WIDE_TARGET __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.1")))

WIDE_TARGET static inline __m512i
fold_wide(__m512i acc, __m512i k, __m512i next)
{
	__m512i lo = _mm512_clmulepi64_epi128(acc, k, 0x00);
	__m512i hi = _mm512_clmulepi64_epi128(acc, k, 0x11);

	return _mm512_ternarylogic_epi64(lo, hi, next, 0x96); /* xor of all */
}

/* The same with four products at a time, for Ice Lake and Zen 4 onwards. */
WIDE_TARGET uint64_t
crc64nvme_wide(uint64_t seed, const void *p, size_t len)
{
	const uint8_t *s = p;
	uint8_t last[64];
	__m512i a[4], k;

	if (len < 256)
		return crc64nvme_clmul(seed, p, len);
	for (int i = 0; i < 4; i++)
		a[i] = _mm512_loadu_si512(s + 64 * i);
	a[0] = _mm512_xor_si512(a[0],
	    _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)~seed)));
	s += 256;
	len -= 256;
	k = _mm512_broadcast_i32x4(
	    _mm_set_epi64x((long long)X2047, (long long)X2111));
	for (; len >= 256; s += 256, len -= 256) {
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			a[i] =
			    fold_wide(a[i], k, _mm512_loadu_si512(s + 64 * i));
	}
	k = _mm512_broadcast_i32x4(
	    _mm_set_epi64x((long long)X511, (long long)X575));
	for (int i = 1; i < 4; i++)
		a[0] = fold_wide(a[0], k, a[i]);
	for (; len >= 64; s += 64, len -= 64)
		a[0] = fold_wide(a[0], k, _mm512_loadu_si512(s));
	_mm512_storeu_si512(last, a[0]);
	return ~table_raw(table_raw(0, last, sizeof(last)), s, len);
}

static bool has_clmul, has_wide;

__attribute__((constructor)) static void
look(void)
{
	__builtin_cpu_init();
	has_avx = __builtin_cpu_supports("avx");
	has_clmul = __builtin_cpu_supports("pclmul") &&
	            __builtin_cpu_supports("sse4.1");
	has_wide = has_clmul && __builtin_cpu_supports("avx512f") &&
	           __builtin_cpu_supports("vpclmulqdq");
}
#else
static const bool has_clmul, has_wide;

uint64_t
crc64nvme_clmul(uint64_t seed, const void *p, size_t len)
{
	return crc64nvme_table(seed, p, len);
}

uint64_t
crc64nvme_wide(uint64_t seed, const void *p, size_t len)
{
	return crc64nvme_table(seed, p, len);
}
#endif

bool
crc64nvme_has_clmul(void)
{
	return has_clmul;
}

bool
crc64nvme_has_wide(void)
{
	return has_wide;
}

uint64_t
hash_crc64nvme(uint64_t seed, const void *p, size_t len)
{
	if (len >= 256 && has_wide) {
		seed = crc64nvme_wide(seed, p, len);
		clean_vectors();
		return seed;
	}
	if (len >= 128 && has_clmul)
		return crc64nvme_clmul(seed, p, len);
	return crc64nvme_table(seed, p, len);
}

/* --- combination ---
 *
 * crc(A||B) = crc(A) * x^(8 |B|) + crc(B): the inversions at both ends cancel
 * out. @one is x^0, the top bit of the width. */

static uint64_t
mul_mod(uint64_t a, uint64_t b, uint64_t poly, uint64_t one)
{
	uint64_t r = 0;

	for (uint64_t m = one; m != 0; m >>= 1) {
		if (a & m)
			r ^= b;
		b = b >> 1 ^ (b & 1 ? poly : 0);
	}
	return r;
}

struct field {
	uint64_t poly, one;
	uint64_t sq[64]; /* x^8, and each the square of the one before it */
};
static struct field field32 = { .poly = POLY32, .one = (uint64_t)1 << 31 };
static struct field field32c = { .poly = POLY32C, .one = (uint64_t)1 << 31 };
static struct field field64 = { .poly = POLY64, .one = (uint64_t)1 << 63 };

static void
make_squares(struct field *f)
{
	f->sq[0] = f->one >> 8;
	for (unsigned i = 1; i < 64; i++)
		f->sq[i] = mul_mod(f->sq[i - 1], f->sq[i - 1], f->poly, f->one);
}

__attribute__((constructor)) static void
make_fields(void)
{
	make_squares(&field32);
	make_squares(&field32c);
	make_squares(&field64);
}

static uint64_t
combine(uint64_t a, uint64_t b, uint64_t len_b, const struct field *f)
{
	for (unsigned i = 0; len_b != 0; len_b >>= 1, i++) {
		if (len_b & 1)
			a = mul_mod(a, f->sq[i], f->poly, f->one);
	}
	return a ^ b;
}

uint32_t
hash_crc32_combine(uint32_t a, uint32_t b, uint64_t len_b)
{
	return (uint32_t)combine(a, b, len_b, &field32);
}

uint32_t
hash_crc32c_combine(uint32_t a, uint32_t b, uint64_t len_b)
{
	return (uint32_t)combine(a, b, len_b, &field32c);
}

uint64_t
hash_crc64nvme_combine(uint64_t a, uint64_t b, uint64_t len_b)
{
	return combine(a, b, len_b, &field64);
}

bool
hash_combine(enum hash_alg alg, void *a_and_ret, const void *b, uint64_t len_b)
{
	switch (alg) {
	case HASH_CRC32:
		put_be32(a_and_ret, hash_crc32_combine(get_be32(a_and_ret),
					get_be32(b), len_b));
		return true;
	case HASH_CRC32C:
		put_be32(a_and_ret, hash_crc32c_combine(get_be32(a_and_ret),
					get_be32(b), len_b));
		return true;
	case HASH_CRC64NVME:
		put_be64(a_and_ret, hash_crc64nvme_combine(get_be64(a_and_ret),
					get_be64(b), len_b));
		return true;
	default:
		return false;
	}
}
