/* lib/str.h - views and owned bytes.
 *
 * `struct str` is a view (pointer and length, not terminated, may hold NUL),
 * passed by value. `struct buf` owns heap bytes, grows by doubling and has a
 * cap given at birth: beyond it buf_* answer ERR_TOO_BIG. */
#ifndef LIB_STR_H
#define LIB_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t len;
};

#define STR_NULL ((struct str){ NULL, 0 })
#define STR_LIT(s) ((struct str){ "" s, sizeof(s) - 1 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).p

static inline struct str
str_of(const char *z)
{
	return (struct str){ z, z == NULL ? 0 : strlen(z) };
}

static inline struct str
str_mem(const void *p, size_t len)
{
	return (struct str){ p, len };
}

static inline bool
str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool
str_eqz(struct str a, const char *z)
{
	return str_eq(a, str_of(z));
}

bool str_ieq_long(const char *a, const char *b, size_t len);
/* ASCII case-insensitive. */
static inline bool
str_ieq(struct str a, struct str b)
{
	return a.len == b.len &&
	       (a.len == 0 || (((a.p[0] ^ b.p[0]) & ~0x20) == 0 &&
				  str_ieq_long(a.p, b.p, a.len)));
}
bool str_has_prefix(struct str s, struct str prefix);
bool str_has_suffix(struct str s, struct str suffix);
int str_cmp(struct str a, struct str b); /* bytes, then length */

/* Position of @c, or -1. */
ptrdiff_t str_chr(struct str s, char c);
ptrdiff_t str_rchr(struct str s, char c); /* the last one */
ptrdiff_t str_find(struct str s, struct str needle);
struct str str_sub(struct str s, size_t from, size_t len); /* clamps */
struct str str_skip(struct str s, size_t n);               /* clamps */
struct str str_trim(struct str s); /* blanks and tabs on both ends */

/* Cuts *s at the first @sep: returns what is before it, leaves what is after
 * it in *s. Without @sep it returns all and leaves *s as STR_NULL. */
struct str str_split(struct str *s, char sep);

/* Decimal digits only, no sign, no blanks, at least one digit; false on
 * overflow of @max too. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *ret);

/* Constant time for equal lengths. */
bool str_eq_secret(struct str a, struct str b);

/* Terminated heap copy, NULL without memory; the caller frees. */
char *str_dupz(struct str s);

struct buf {
	char *p;
	size_t len, size, cap;
};

#define BUF_CAP(max) ((struct buf){ NULL, 0, 0, (max) })

void buf_fini(struct buf *b); /* frees; the cap stays, b is empty and usable */
static inline void
buf_reset(struct buf *b)
{
	b->len = 0;
}
static inline struct str
buf_str(const struct buf *b)
{
	return (struct str){ b->p, b->len };
}
/* 0, ERR_TOO_BIG or ERR_NO_MEMORY; on failure b is unchanged. */
int buf_reserve(struct buf *b, size_t more);
int buf_add(struct buf *b, const void *p, size_t len);
int buf_adds(struct buf *b, struct str s);
int buf_addz(struct buf *b, const char *z);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Text forms. Destination sizes are the caller's proof. */
int hex_value(char c);                                 /* of a digit; -1 */
void hex_encode(const void *p, size_t len, char *dst); /* 2*len, lower case */
bool hex_decode(struct str s, void *dst);              /* s.len/2 bytes */
size_t base64_encode(const void *p, size_t len, char *dst); /* returns chars */
/* Strict RFC 4648 with padding; false on anything else or over @max bytes. */
bool base64_decode(struct str s, void *dst, size_t max, size_t *ret_len);

/* Percent-decoding with length; false on a bad escape. dst holds s.len. '+' is
 * left alone unless @plus. */
bool pct_decode(struct str s, bool plus, char *dst, size_t *ret_len);
/* AWS UriEncode: unreserved A-Za-z0-9-._~ stay; '/' stays when @keep_slash. */
int buf_add_pct(struct buf *b, struct str s, bool keep_slash);

bool utf8_is_valid(struct str s);
/* No '%', no '+', all ASCII and no NUL: decodes to itself, in any way. */
bool str_is_plain(struct str s);

#endif
