/* lib/bytes.h - integers in a fixed byte order, at any alignment; eight bytes
 * as one. */
#ifndef LIB_BYTES_H
#define LIB_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_DEF(bits, order)                                                 \
	static inline uint##bits##_t get_##order##bits(const void *p)          \
	{                                                                      \
		uint##bits##_t v;                                              \
		memcpy(&v, p, sizeof(v));                                      \
		return order##bits##toh(v);                                    \
	}                                                                      \
	static inline void put_##order##bits(void *p, uint##bits##_t v)        \
	{                                                                      \
		v = hto##order##bits(v);                                       \
		memcpy(p, &v, sizeof(v));                                      \
	}

/* get_le16(p), put_le16(p, v), ..., get_be64(p), put_be64(p, v) */
BYTES_DEF(16, le)
BYTES_DEF(32, le)
BYTES_DEF(64, le)
BYTES_DEF(16, be)
BYTES_DEF(32, be)
BYTES_DEF(64, be)

#undef BYTES_DEF

/* For eight bytes at once: 1 in each of them, and the highest bit of each. */
#define WORD_ONES UINT64_C(0x0101010101010101)
#define WORD_HIGH (WORD_ONES << 7)

#endif
