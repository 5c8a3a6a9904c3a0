/* lib/str.c - views: comparing, cutting, parsing. */
#include "lib/str.h"

#include "lib/bytes.h"
#include "lib/mem.h"

static unsigned char
lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Eight bytes at once: a letter between A and Z gets 0x20. */
static uint64_t
lower_word(uint64_t w)
{
	uint64_t low = w & ~WORD_HIGH;
	uint64_t from = low + WORD_ONES * (0x80 - 'A');
	uint64_t beyond = low + WORD_ONES * (0x7f - 'Z');

	return w | (from & ~beyond & ~w & WORD_HIGH) >> 2;
}

bool
str_ieq_long(const char *a, const char *b, size_t len)
{
	size_t i = 0;

	for (; len - i >= 8; i += 8) {
		uint64_t x, y;

		memcpy(&x, a + i, 8);
		memcpy(&y, b + i, 8);
		if (x != y && lower_word(x) != lower_word(y))
			return false;
	}
	for (; i < len; i++) {
		if (a[i] != b[i] && lower(a[i]) != lower(b[i]))
			return false;
	}
	return true;
}

bool
str_has_prefix(struct str s, struct str prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

bool
str_has_suffix(struct str s, struct str suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.p + (s.len - suffix.len), suffix.p,
				       suffix.len) == 0);
}

int
str_cmp(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int d = n == 0 ? 0 : memcmp(a.p, b.p, n);

	if (d != 0)
		return d;
	return (a.len > b.len) - (a.len < b.len);
}

ptrdiff_t
str_chr(struct str s, char c)
{
	const char *at = s.len == 0 ? NULL : memchr(s.p, c, s.len);

	return at == NULL ? -1 : at - s.p;
}

ptrdiff_t
str_rchr(struct str s, char c)
{
	const char *at = s.len == 0 ? NULL : memrchr(s.p, c, s.len);

	return at == NULL ? -1 : at - s.p;
}

ptrdiff_t
str_find(struct str s, struct str needle)
{
	const char *at;

	if (needle.len == 0)
		return 0;
	if (s.len < needle.len)
		return -1;
	at = memmem(s.p, s.len, needle.p, needle.len);
	return at == NULL ? -1 : at - s.p;
}

struct str
str_skip(struct str s, size_t n)
{
	if (n >= s.len)
		n = s.len;
	if (n == 0)
		return s;
	return (struct str){ s.p + n, s.len - n };
}

struct str
str_sub(struct str s, size_t from, size_t len)
{
	s = str_skip(s, from);
	if (s.len > len)
		s.len = len;
	return s;
}

struct str
str_trim(struct str s)
{
	while (s.len > 0 && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

struct str
str_split(struct str *s, char sep)
{
	ptrdiff_t at = str_chr(*s, sep);
	struct str head = *s;

	if (at < 0) {
		*s = STR_NULL;
		return head;
	}
	head.len = (size_t)at;
	*s = (struct str){ head.p + at + 1, s->len - (size_t)at - 1 };
	return head;
}

bool
str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned d = (unsigned)((unsigned char)s.p[i] - '0');

		if (d > 9)
			return false;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, d, &v))
			return false;
	}
	if (v > max)
		return false;
	*ret = v;
	return true;
}

bool
str_eq_secret(struct str a, struct str b)
{
	volatile unsigned char diff = 0;

	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		diff = (unsigned char)(diff | ((unsigned char)a.p[i] ^
						  (unsigned char)b.p[i]));
	return diff == 0;
}

char *
str_dupz(struct str s)
{
	char *z = s.len == SIZE_MAX ? NULL : mem_alloc(s.len + 1);

	if (z == NULL)
		return NULL;
	if (s.len > 0)
		memcpy(z, s.p, s.len);
	z[s.len] = '\0';
	return z;
}
