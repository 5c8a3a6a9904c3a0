/* lib/hash_pair.c - MD5 (RFC 1321), alone and with SHA-256 (FIPS 180-4) in one
 * loop.
 *
 * MD5 is one long chain of dependent additions that leaves most of the core
 * idle; SHA-256 with the SHA extensions fits into the gaps, so both together
 * cost little more than MD5 alone. Each of the sixteen steps below is four
 * rounds of either.
 *
 * MD5 alone has two ways. Where vectors take one cycle for an addition, a rotation or
 * any function of three words, as Intel's do, a round takes four of them, and
 * five in the ordinary registers: a seventh less time. (With Zen 5's, which take
 * two, it would be more.) With SHA-256, which wants the same ports, it is the
 * ordinary registers everywhere.
 *
 * SHA-256 is for x86-64 with SHA-NI, found at run time; elsewhere hash.c uses
 * OpenSSL's. */
#include "lib/hash_impl.h"

#include "lib/bytes.h"
#include "lib/err.h"

/* What is ahead of the loop: the bytes often come from another core, in whose
 * cache they are still, which the processor finds out too late by itself. */
#define FETCH(p) __builtin_prefetch((p) + 1024)

/* Four rounds of MD5 with message words i..l. */
#define MD5_4(f, i, j, k, l, K0, K1, K2, K3, s0, s1, s2, s3)                   \
	do {                                                                   \
		f(a, b, c, d, md5_p + 4 * (i), K0, s0);                        \
		f(d, a, b, c, md5_p + 4 * (j), K1, s1);                        \
		f(c, d, a, b, md5_p + 4 * (k), K2, s2);                        \
		f(b, c, d, a, md5_p + 4 * (l), K3, s3);                        \
	} while (0)

/* One block. */
#define STEPS(F, G, H, I, SHA, NEXT)                                           \
	do {                                                                   \
		SHA(w0, 0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5);       \
		MD5_4(F, 0, 1, 2, 3, 0xd76aa478, 0xe8c7b756, 0x242070db,       \
		    0xc1bdceee, 7, 12, 17, 22);                                \
		SHA(w1, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5);       \
		MD5_4(F, 4, 5, 6, 7, 0xf57c0faf, 0x4787c62a, 0xa8304613,       \
		    0xfd469501, 7, 12, 17, 22);                                \
		SHA(w2, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3);       \
		MD5_4(F, 8, 9, 10, 11, 0x698098d8, 0x8b44f7af, 0xffff5bb1,     \
		    0x895cd7be, 7, 12, 17, 22);                                \
		SHA(w3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174);       \
		MD5_4(F, 12, 13, 14, 15, 0x6b901122, 0xfd987193, 0xa679438e,   \
		    0x49b40821, 7, 12, 17, 22);                                \
		NEXT(w0, w1, w2, w3);                                          \
		SHA(w0, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc);       \
		MD5_4(G, 1, 6, 11, 0, 0xf61e2562, 0xc040b340, 0x265e5a51,      \
		    0xe9b6c7aa, 5, 9, 14, 20);                                 \
		NEXT(w1, w2, w3, w0);                                          \
		SHA(w1, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da);       \
		MD5_4(G, 5, 10, 15, 4, 0xd62f105d, 0x02441453, 0xd8a1e681,     \
		    0xe7d3fbc8, 5, 9, 14, 20);                                 \
		NEXT(w2, w3, w0, w1);                                          \
		SHA(w2, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7);       \
		MD5_4(G, 9, 14, 3, 8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87,      \
		    0x455a14ed, 5, 9, 14, 20);                                 \
		NEXT(w3, w0, w1, w2);                                          \
		SHA(w3, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967);       \
		MD5_4(G, 13, 2, 7, 12, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9,     \
		    0x8d2a4c8a, 5, 9, 14, 20);                                 \
		NEXT(w0, w1, w2, w3);                                          \
		SHA(w0, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13);       \
		MD5_4(H, 5, 8, 11, 14, 0xfffa3942, 0x8771f681, 0x6d9d6122,     \
		    0xfde5380c, 4, 11, 16, 23);                                \
		NEXT(w1, w2, w3, w0);                                          \
		SHA(w1, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85);       \
		MD5_4(H, 1, 4, 7, 10, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60,      \
		    0xbebfbc70, 4, 11, 16, 23);                                \
		NEXT(w2, w3, w0, w1);                                          \
		SHA(w2, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3);       \
		MD5_4(H, 13, 0, 3, 6, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085,      \
		    0x04881d05, 4, 11, 16, 23);                                \
		NEXT(w3, w0, w1, w2);                                          \
		SHA(w3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070);       \
		MD5_4(H, 9, 12, 15, 2, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8,     \
		    0xc4ac5665, 4, 11, 16, 23);                                \
		NEXT(w0, w1, w2, w3);                                          \
		SHA(w0, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5);       \
		MD5_4(I, 0, 7, 14, 5, 0xf4292244, 0x432aff97, 0xab9423a7,      \
		    0xfc93a039, 6, 10, 15, 21);                                \
		NEXT(w1, w2, w3, w0);                                          \
		SHA(w1, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3);       \
		MD5_4(I, 12, 3, 10, 1, 0x655b59c3, 0x8f0ccc92, 0xffeff47d,     \
		    0x85845dd1, 6, 10, 15, 21);                                \
		NEXT(w2, w3, w0, w1);                                          \
		SHA(w2, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208);       \
		MD5_4(I, 8, 15, 6, 13, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314,     \
		    0x4e0811a1, 6, 10, 15, 21);                                \
		NEXT(w3, w0, w1, w2);                                          \
		SHA(w3, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2);       \
		MD5_4(I, 4, 11, 2, 9, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,      \
		    0xeb86d391, 6, 10, 15, 21);                                \
	} while (0)

#define ALONE(...) ((void)0) /* without SHA-256 */

#define ROL(x, n) ((x) << (n) | (x) >> (32 - (n)))

/* b is the newest of the four and what the next round waits for: all else is
 * added up before it, and READY keeps the compiler from regrouping the sum. In
 * the second, the two terms share no bit, so that + does as well as |. */
#define READY(a) __asm__("" : "+r"(a))
#define MD5_F(a, b, c, d, p, k, s)                                             \
	(a += get_le32(p) + (k));                                              \
	READY(a);                                                              \
	(a += (d) ^ ((b) & ((c) ^ (d)))), a = ROL(a, s) + (b)
#define MD5_G(a, b, c, d, p, k, s)                                             \
	(a += get_le32(p) + (k) + ((c) & ~(d)));                               \
	READY(a);                                                              \
	(a += (b) & (d)), a = ROL(a, s) + (b)
#define MD5_H(a, b, c, d, p, k, s)                                             \
	(a += get_le32(p) + (k));                                              \
	READY(a);                                                              \
	a += ((c) ^ (d)) ^ (b), a = ROL(a, s) + (b)
#define MD5_I(a, b, c, d, p, k, s)                                             \
	(a += get_le32(p) + (k));                                              \
	READY(a);                                                              \
	(a += (c) ^ ((b) | ~(d))), a = ROL(a, s) + (b)

void
md5_plain(uint32_t s[4], const uint8_t *md5_p, size_t n)
{
	uint32_t a = s[0], b = s[1], c = s[2], d = s[3];

	for (; n > 0; n--, md5_p += 64) {
		const uint32_t a0 = a, b0 = b, c0 = c, d0 = d;

		FETCH(md5_p);
		STEPS(MD5_F, MD5_G, MD5_H, MD5_I, ALONE, ALONE);
		a += a0;
		b += b0;
		c += c0;
		d += d0;
	}
	s[0] = a;
	s[1] = b;
	s[2] = c;
	s[3] = d;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* The function of b, c and d by its table of eight bits. */
#define VEC(a, b, c, d, p, k, s, table)                                        \
	do {                                                                   \
		__m128i t =                                                    \
		    _mm_add_epi32(_mm_add_epi32(a,                             \
				      _mm_cvtsi32_si128((int)get_le32(p))),    \
			_mm_cvtsi32_si128((int)(k)));                          \
		__asm__("" : "+v"(t)); /* READY */                             \
		t = _mm_add_epi32(t, _mm_ternarylogic_epi32(b, c, d, table));  \
		a = _mm_add_epi32(_mm_rol_epi32(t, s), b);                     \
	} while (0)
#define VEC_F(a, b, c, d, p, k, s) VEC(a, b, c, d, p, k, s, 0xca)
#define VEC_G(a, b, c, d, p, k, s) VEC(a, b, c, d, p, k, s, 0xe4)
#define VEC_H(a, b, c, d, p, k, s) VEC(a, b, c, d, p, k, s, 0x96)
#define VEC_I(a, b, c, d, p, k, s) VEC(a, b, c, d, p, k, s, 0x39)

/* Four words, each the lowest of a register. */
#define VEC_LOAD(s)                                                            \
	__m128i a = _mm_cvtsi32_si128((int)(s)[0]),                            \
		b = _mm_cvtsi32_si128((int)(s)[1]),                            \
		c = _mm_cvtsi32_si128((int)(s)[2]),                            \
		d = _mm_cvtsi32_si128((int)(s)[3])
#define VEC_STORE(s)                                                           \
	((s)[0] = (uint32_t)_mm_cvtsi128_si32(a),                              \
	    (s)[1] = (uint32_t)_mm_cvtsi128_si32(b),                           \
	    (s)[2] = (uint32_t)_mm_cvtsi128_si32(c),                           \
	    (s)[3] = (uint32_t)_mm_cvtsi128_si32(d))
#define VEC_ADD(x, y) x = _mm_add_epi32(x, y)

__attribute__((target("avx512f,avx512vl"))) void
md5_vec(uint32_t s[4], const uint8_t *md5_p, size_t n)
{
	VEC_LOAD(s);

	for (; n > 0; n--, md5_p += 64) {
		const __m128i a0 = a, b0 = b, c0 = c, d0 = d;

		FETCH(md5_p);
		STEPS(VEC_F, VEC_G, VEC_H, VEC_I, ALONE, ALONE);
		VEC_ADD(a, a0);
		VEC_ADD(b, b0);
		VEC_ADD(c, c0);
		VEC_ADD(d, d0);
	}
	VEC_STORE(s);
}

/* --- with SHA-256 --- */

/* Four rounds of SHA-256 with the message words in w. */
#define SHA_4(w, K0, K1, K2, K3)                                               \
	do {                                                                   \
		__m128i t =                                                    \
		    _mm_add_epi32(w, _mm_set_epi32((int)(K3), (int)(K2),       \
					 (int)(K1), (int)(K0)));               \
		cdgh = _mm_sha256rnds2_epu32(cdgh, abef, t);                   \
		abef = _mm_sha256rnds2_epu32(abef, cdgh,                       \
		    _mm_shuffle_epi32(t, 0x0e));                               \
	} while (0)

#define SHA_WORDS(i)                                                           \
	_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(sha_p + 16 * (i))), \
	    _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203))

/* w0 becomes the four words after w0..w3. */
#define SHA_NEXT(w0, w1, w2, w3)                                               \
	(w0 = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), \
				       _mm_alignr_epi8(w3, w2, 4)),            \
	     w3))

/* The instructions want the words as (a b e f) and (c d g h). */
#define SHA_LOAD(s)                                                            \
	do {                                                                   \
		__m128i lo = _mm_loadu_si128((const __m128i *)&(s)[0]);        \
		__m128i hi = _mm_loadu_si128((const __m128i *)&(s)[4]);        \
		lo = _mm_shuffle_epi32(lo, 0xb1);                              \
		hi = _mm_shuffle_epi32(hi, 0x1b);                              \
		abef = _mm_alignr_epi8(lo, hi, 8);                             \
		cdgh = _mm_blend_epi16(hi, lo, 0xf0);                          \
	} while (0)
#define SHA_STORE(s)                                                           \
	do {                                                                   \
		__m128i lo = _mm_shuffle_epi32(abef, 0x1b);                    \
		__m128i hi = _mm_shuffle_epi32(cdgh, 0xb1);                    \
		_mm_storeu_si128((__m128i *)&(s)[0],                           \
		    _mm_blend_epi16(lo, hi, 0xf0));                            \
		_mm_storeu_si128((__m128i *)&(s)[4],                           \
		    _mm_alignr_epi8(hi, lo, 8));                               \
	} while (0)

__attribute__((target("sha,sse4.1,ssse3"))) void
hash_pair_blocks(struct hash_pair *s, const uint8_t *md5_p,
    const uint8_t *sha_p, size_t n)
{
	uint32_t a = s->md5[0], b = s->md5[1], c = s->md5[2], d = s->md5[3];
	__m128i abef, cdgh;

	SHA_LOAD(s->sha);
	for (; n > 0; n--, md5_p += 64, sha_p += 64) {
		const uint32_t a0 = a, b0 = b, c0 = c, d0 = d;
		const __m128i abef0 = abef, cdgh0 = cdgh;
		__m128i w0 = SHA_WORDS(0), w1 = SHA_WORDS(1), w2 = SHA_WORDS(2),
			w3 = SHA_WORDS(3);

		FETCH(md5_p);
		STEPS(MD5_F, MD5_G, MD5_H, MD5_I, SHA_4, SHA_NEXT);
		a += a0;
		b += b0;
		c += c0;
		d += d0;
		abef = _mm_add_epi32(abef, abef0);
		cdgh = _mm_add_epi32(cdgh, cdgh0);
	}
	s->md5[0] = a;
	s->md5[1] = b;
	s->md5[2] = c;
	s->md5[3] = d;
	SHA_STORE(s->sha);
}

/* --- what this CPU has --- */

static bool has_sha, has_vec;

/* Once: the instruction traps in a virtual machine and costs microseconds. */
__attribute__((constructor)) static void
look(void)
{
	unsigned a, b, c, d;

	__builtin_cpu_init();
	has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
	          (b & bit_SHA) != 0 && __builtin_cpu_supports("sse4.1") &&
	          __builtin_cpu_supports("ssse3");
	has_vec = __builtin_cpu_is("intel") &&
	          __builtin_cpu_supports("avx512f") &&
	          __builtin_cpu_supports("avx512vl");
}
#else
static const bool has_sha, has_vec;

void
md5_vec(uint32_t s[4], const uint8_t *p, size_t n)
{
	md5_plain(s, p, n);
}

void
hash_pair_blocks(struct hash_pair *s, const uint8_t *md5_p,
    const uint8_t *sha_p, size_t n)
{
	(void)s;
	(void)md5_p;
	(void)sha_p;
	MUST(n == 0);
}
#endif

bool
md5_has_vec(void)
{
	return has_vec;
}

bool
hash_pair_is_fast(void)
{
	return has_sha;
}

void
hash_md5_blocks(uint32_t s[4], const uint8_t *p, size_t n)
{
	if (has_vec)
		md5_vec(s, p, n);
	else
		md5_plain(s, p, n);
}
