/* lib/hash_impl.h - between the files of lib/hash*.c, and for their tests. */
#ifndef LIB_HASH_IMPL_H
#define LIB_HASH_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* MD5 of @n blocks of 64 bytes. */
void hash_md5_blocks(uint32_t s[4], const uint8_t *p, size_t n);

/* MD5 and SHA-256 of two streams of @n blocks, in one loop. */
struct hash_pair {
	uint32_t md5[4];
	uint32_t sha[8];
};
bool hash_pair_is_fast(void); /* this CPU has it; else never call it */
void hash_pair_blocks(struct hash_pair *s, const uint8_t *md5_p,
    const uint8_t *sha_p, size_t n);

/* The twins behind hash_md5_blocks(); the second only if the CPU has it. */
void md5_plain(uint32_t s[4], const uint8_t *p, size_t n);
bool md5_has_vec(void);
void md5_vec(uint32_t s[4], const uint8_t *p, size_t n);

/* The twins behind hash_crc64nvme(); the fast ones only if the CPU has them. */
uint64_t crc64nvme_table(uint64_t seed, const void *p, size_t len);
bool crc64nvme_has_clmul(void);
uint64_t crc64nvme_clmul(uint64_t seed, const void *p, size_t len);
bool crc64nvme_has_wide(void);
uint64_t crc64nvme_wide(uint64_t seed, const void *p, size_t len);

#endif
