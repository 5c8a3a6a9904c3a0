/* fdfs/file_id.c - FastDFS file IDs. */
#include "fdfs/file_id.h"

#include "lib/bytes.h"

enum {
	B64_MAIN = 27,
	B64_TRUNK = 16,
	REMOTE_HEAD = 10
}; /* "M00/05/0A/" */

static const char alphabet[64] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z');
}

uint64_t
fdfs_size_field(uint64_t size, uint32_t random)
{
	if (size > UINT32_MAX)
		return size;
	return FDFS_SIZE_SMALL | (uint64_t)(random & 0x7fffff) << 32 | size;
}

uint64_t
fdfs_id_size(const struct fdfs_file_id *id)
{
	if (id->size_field & FDFS_SIZE_APPENDER)
		return 0;
	if (id->size_field & (FDFS_SIZE_SMALL | FDFS_SIZE_TRUNK))
		return (uint32_t)id->size_field;
	return id->size_field;
}

enum fdfs_kind
fdfs_id_kind(const struct fdfs_file_id *id)
{
	/* A slave inherits its master's flags: the length decides first. */
	if (id->tail.len > FDFS_TAIL)
		return FDFS_SLAVE;
	if (id->size_field & FDFS_SIZE_TRUNK)
		return FDFS_TRUNK;
	return id->size_field & FDFS_SIZE_APPENDER ? FDFS_APPENDER
	                                           : FDFS_NORMAL;
}

bool
fdfs_group_is_valid(struct str group)
{
	for (size_t i = 0; i < group.len; i++) {
		if (!is_alnum(group.p[i]))
			return false;
	}
	return group.len >= 1 && group.len <= FDFS_GROUP_MAX;
}

static bool
is_name_char(char c)
{
	return is_alnum(c) || c == '-' || c == '_' || c == '.';
}

bool
fdfs_ext_is_valid(struct str ext)
{
	for (size_t i = 0; i < ext.len; i++) {
		if (!is_name_char(ext.p[i]))
			return false;
	}
	return ext.len <= FDFS_EXT_MAX;
}

void
fdfs_tail(struct str ext, uint64_t random, char dst[FDFS_TAIL])
{
	size_t digits = ext.len == 0 ? FDFS_TAIL : FDFS_TAIL - 1 - ext.len;

	MUST(fdfs_ext_is_valid(ext));
	for (size_t i = 0; i < digits; i++) {
		dst[i] = (char)('0' + random % 10);
		random /= 10;
	}
	if (ext.len == 0)
		return;
	dst[digits] = '.';
	memcpy(dst + digits + 1, ext.p, ext.len);
}

/* Unpadded; @len bytes become (len * 8 + 5) / 6 characters. */
static void
b64_encode(const uint8_t *p, size_t len, char *dst)
{
	uint32_t acc = 0;
	unsigned bits = 0;

	for (size_t i = 0; i < len; i++) {
		acc = acc << 8 | p[i];
		for (bits += 8; bits >= 6; bits -= 6)
			*dst++ = alphabet[acc >> (bits - 6) & 63];
	}
	if (bits > 0)
		*dst = alphabet[acc << (6 - bits) & 63];
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
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* False on a foreign character, or when the bits left over are not zero. */
static bool
b64_decode(const char *p, size_t len, uint8_t *dst)
{
	uint32_t acc = 0;
	unsigned bits = 0;

	for (size_t i = 0; i < len; i++) {
		int v = b64_value(p[i]);

		if (v < 0)
			return false;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*dst++ = (uint8_t)(acc >> bits);
		}
	}
	return (acc & ((1u << bits) - 1)) == 0;
}

static void
hex_byte(uint8_t v, char *dst)
{
	static const char digits[16] = "0123456789ABCDEF";

	dst[0] = digits[v >> 4];
	dst[1] = digits[v & 15];
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
hex_parse(const char *p, uint8_t *ret)
{
	int hi = hex_digit(p[0]), lo = hex_digit(p[1]);

	if (hi < 0 || lo < 0)
		return false;
	*ret = (uint8_t)(hi << 4 | lo);
	return true;
}

size_t
fdfs_id_format(const struct fdfs_file_id *id, char dst[FDFS_ID_MAX + 1])
{
	size_t n = strlen(id->group);
	uint8_t raw[20];
	char *at = dst;

	MUST(fdfs_group_is_valid(str_mem(id->group, n)));
	memcpy(at, id->group, n);
	at += n;
	memcpy(at, "/M00/00/00/", 11);
	hex_byte(id->path, at + 2);
	hex_byte(id->dir1, at + 5);
	hex_byte(id->dir2, at + 8);
	at += 11;
	put_le32(raw, id->server);
	put_be32(raw + 4, id->time);
	put_be64(raw + 8, id->size_field);
	put_be32(raw + 16, id->crc32);
	b64_encode(raw, sizeof(raw), at);
	at += B64_MAIN;
	if (id->size_field & FDFS_SIZE_TRUNK) {
		put_be32(raw, id->trunk_file);
		put_be32(raw + 4, id->trunk_off);
		put_be32(raw + 8, id->trunk_size);
		b64_encode(raw, 12, at);
		at += B64_TRUNK;
	}
	MUST(id->tail.len >= FDFS_TAIL &&
	     (size_t)(at - dst) - n - 1 + id->tail.len <= FDFS_REMOTE_MAX);
	memcpy(at, id->tail.p, id->tail.len);
	at += id->tail.len;
	*at = '\0';
	return (size_t)(at - dst);
}

static bool
parse_remote(struct str s, size_t tail, struct fdfs_file_id *ret)
{
	uint8_t raw[20];

	if (s.len < REMOTE_HEAD + B64_MAIN + tail || s.len > FDFS_REMOTE_MAX)
		return false;
	if (s.p[0] != 'M' || s.p[3] != '/' || s.p[6] != '/' || s.p[9] != '/' ||
	    !hex_parse(s.p + 1, &ret->path) ||
	    !hex_parse(s.p + 4, &ret->dir1) || !hex_parse(s.p + 7, &ret->dir2))
		return false;
	s = str_skip(s, REMOTE_HEAD);
	if (!b64_decode(s.p, B64_MAIN, raw))
		return false;
	ret->server = get_le32(raw);
	ret->time = get_be32(raw + 4);
	ret->size_field = get_be64(raw + 8);
	ret->crc32 = get_be32(raw + 16);
	s = str_skip(s, B64_MAIN);
	if (ret->size_field & FDFS_SIZE_TRUNK) {
		if (s.len < B64_TRUNK + tail ||
		    !b64_decode(s.p, B64_TRUNK, raw))
			return false;
		ret->trunk_file = get_be32(raw);
		ret->trunk_off = get_be32(raw + 4);
		ret->trunk_size = get_be32(raw + 8);
		s = str_skip(s, B64_TRUNK);
	}
	for (size_t i = 0; i < s.len; i++) {
		if (!is_name_char(s.p[i]))
			return false;
	}
	ret->tail = s;
	return true;
}

int
fdfs_id_parse(struct str text, struct fdfs_file_id *ret, struct err *e)
{
	struct fdfs_file_id id = { 0 };
	ptrdiff_t slash = str_chr(str_sub(text, 0, FDFS_GROUP_MAX + 1), '/');

	if (slash < 1 || !fdfs_group_is_valid(str_sub(text, 0, (size_t)slash)))
		return err_set(e, ERR_INVALID, "file ID without a group");
	memcpy(id.group, text.p, (size_t)slash);
	if (!parse_remote(str_skip(text, (size_t)slash + 1), FDFS_TAIL, &id))
		return err_set(e, ERR_INVALID, "not a file ID: %.*s",
		    (int)(text.len < 160 ? text.len : 160), text.p);
	*ret = id;
	return 0;
}

int
fdfs_remote_parse(struct str name, struct fdfs_file_id *ret, struct err *e)
{
	struct fdfs_file_id id = { 0 };

	if (!parse_remote(name, 1, &id))
		return err_set(e, ERR_INVALID, "not a file name: %.*s",
		    (int)(name.len < 160 ? name.len : 160), name.p);
	*ret = id;
	return 0;
}
