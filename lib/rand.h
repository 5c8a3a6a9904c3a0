/* lib/rand.h - random bytes for identifiers and secrets (getrandom). */
#ifndef LIB_RAND_H
#define LIB_RAND_H

#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *p, size_t len);
uint64_t rand_u64(void);

/* 128 bits: UUIDs, write IDs. All zero means "none". */
struct id128 {
	uint8_t b[16];
};
struct id128 id128_new(void);
/* The same, led by the time (48 bits of milliseconds, 80 random ones): such
 * keys arrive about in order, which trees on disk like. Nothing may be decided
 * by that time. */
struct id128 id128_new_ordered(void);
int id128_is_zero(const struct id128 *id);
int id128_eq(const struct id128 *a, const struct id128 *b);
void id128_text(const struct id128 *id, char dst[33]); /* 32 hex digits */
int id128_parse(const char *s, size_t len, struct id128 *ret); /* 1 = valid */

#endif
