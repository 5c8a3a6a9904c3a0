/* lib/text.c - hexadecimal, base64, percent-encoding, UTF-8 (lib/str.h). */
#include "lib/str.h"

#include "lib/bytes.h"

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";
static const char b64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* High bits where a byte of @w, all below 0x80, is @c. */
static uint64_t
bytes_eq(uint64_t w, unsigned char c)
{
	return WORD_HIGH - (w ^ (WORD_ONES * c));
}

bool
str_is_plain(struct str s)
{
	size_t i = 0;

	for (; s.len - i >= 8; i += 8) {
		uint64_t w;

		memcpy(&w, s.p + i, 8);
		if (((w | bytes_eq(w, '%') | bytes_eq(w, '+') |
			 bytes_eq(w, 0)) &
			WORD_HIGH) != 0)
			return false;
	}
	for (; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '%' || c == '+' || c == 0 || c >= 0x80)
			return false;
	}
	return true;
}

void
hex_encode(const void *p, size_t len, char *dst)
{
	const unsigned char *s = p;
	size_t i = 0;

	/* Four bytes at a time: each half of one gets a byte of its own. */
	for (; len - i >= 4; i += 4) {
		uint64_t w = get_be32(s + i);

		w = (w | w << 16) & UINT64_C(0x0000ffff0000ffff);
		w = (w | w << 8) & UINT64_C(0x00ff00ff00ff00ff);
		w = (w | w << 4) & (WORD_ONES * 15);
		w += WORD_ONES * '0' +
		     ((w + WORD_ONES * 6) >> 4 & WORD_ONES) * ('a' - '9' - 1);
		put_be64(dst + 2 * i, w);
	}
	for (; i < len; i++) {
		dst[2 * i] = hex_lower[s[i] >> 4];
		dst[2 * i + 1] = hex_lower[s[i] & 15];
	}
}

bool
hex_decode(struct str s, void *dst)
{
	unsigned char *d = dst;

	if (s.len % 2 != 0)
		return false;
	for (size_t i = 0; i < s.len; i += 2) {
		int hi = hex_value(s.p[i]), lo = hex_value(s.p[i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		d[i / 2] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}

size_t
base64_encode(const void *p, size_t len, char *dst)
{
	const unsigned char *s = p;
	char *d = dst;
	size_t i;

	for (i = 0; i + 3 <= len; i += 3) {
		unsigned v =
		    (unsigned)s[i] << 16 | (unsigned)s[i + 1] << 8 | s[i + 2];

		*d++ = b64[v >> 18];
		*d++ = b64[v >> 12 & 63];
		*d++ = b64[v >> 6 & 63];
		*d++ = b64[v & 63];
	}
	if (len - i == 1) {
		unsigned v = (unsigned)s[i] << 16;

		*d++ = b64[v >> 18];
		*d++ = b64[v >> 12 & 63];
		*d++ = '=';
		*d++ = '=';
	} else if (len - i == 2) {
		unsigned v = (unsigned)s[i] << 16 | (unsigned)s[i + 1] << 8;

		*d++ = b64[v >> 18];
		*d++ = b64[v >> 12 & 63];
		*d++ = b64[v >> 6 & 63];
		*d++ = '=';
	}
	return (size_t)(d - dst);
}

static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

bool
base64_decode(struct str s, void *dst, size_t max, size_t *ret_len)
{
	unsigned char *d = dst;
	size_t pad = 0, len;

	if (s.len % 4 != 0)
		return false;
	if (s.len == 0) {
		*ret_len = 0;
		return true;
	}
	if (s.p[s.len - 1] == '=')
		pad = s.p[s.len - 2] == '=' ? 2 : 1;
	len = s.len / 4 * 3 - pad;
	if (len > max)
		return false;
	for (size_t i = 0, o = 0; i < s.len; i += 4) {
		size_t n = i + 4 == s.len ? 4 - pad : 4;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int x = k < n ? b64_value(s.p[i + k]) : 0;

			if (x < 0)
				return false;
			v = v << 6 | (uint32_t)x;
		}
		/* Strict: the bits that padding cuts off are zero. */
		if ((n == 3 && (v & 0xff) != 0) ||
		    (n == 2 && (v & 0xffff) != 0))
			return false;
		d[o++] = (unsigned char)(v >> 16);
		if (n > 2)
			d[o++] = (unsigned char)(v >> 8);
		if (n > 3)
			d[o++] = (unsigned char)v;
	}
	*ret_len = len;
	return true;
}

bool
pct_decode(struct str s, bool plus, char *dst, size_t *ret_len)
{
	size_t o = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '%') {
			int hi, lo;

			if (s.len - i < 3)
				return false;
			hi = hex_value(s.p[i + 1]);
			lo = hex_value(s.p[i + 2]);
			if (hi < 0 || lo < 0)
				return false;
			c = (char)(hi << 4 | lo);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		dst[o++] = c;
	}
	*ret_len = o;
	return true;
}

static bool
is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
	       c == '~';
}

int
buf_add_pct(struct buf *b, struct str s, bool keep_slash)
{
	size_t before = b->len, from = 0;
	int rc;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char esc[3];

		if (is_unreserved(s.p[i]) || (c == '/' && keep_slash))
			continue;
		esc[0] = '%';
		esc[1] = hex_upper[c >> 4];
		esc[2] = hex_upper[c & 15];
		rc = buf_add(b, s.p + from, i - from);
		if (rc == 0)
			rc = buf_add(b, esc, 3);
		if (rc < 0) {
			b->len = before;
			return rc;
		}
		from = i + 1;
	}
	rc = from == s.len ? 0 : buf_add(b, s.p + from, s.len - from);
	if (rc < 0)
		b->len = before;
	return rc;
}

/* RFC 3629: shortest form, no surrogates, at most U+10FFFF. */
bool
utf8_is_valid(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	while (i < s.len) {
		unsigned char c = p[i], lo = 0x80, hi = 0xbf;
		size_t n;

		if (c < 0x80) {
			i++;
			continue;
		}
		if (c >= 0xc2 && c <= 0xdf) {
			n = 1;
		} else if (c >= 0xe0 && c <= 0xef) {
			n = 2;
			if (c == 0xe0)
				lo = 0xa0;
			if (c == 0xed)
				hi = 0x9f;
		} else if (c >= 0xf0 && c <= 0xf4) {
			n = 3;
			if (c == 0xf0)
				lo = 0x90;
			if (c == 0xf4)
				hi = 0x8f;
		} else {
			return false;
		}
		if (s.len - i <= n || p[i + 1] < lo || p[i + 1] > hi)
			return false;
		for (size_t k = 2; k <= n; k++) {
			if (p[i + k] < 0x80 || p[i + k] > 0xbf)
				return false;
		}
		i += n + 1;
	}
	return true;
}
