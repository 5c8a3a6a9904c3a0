/* gateway/s3/token.c - continuation tokens (token.h). */
#include "gateway/s3/token.h"

#include "lib/bytes.h"
#include "lib/hash.h"

#define VERSION 1
#define EXTRA 5 /* version, CRC32C */
#define TOKEN_MAX 4096

struct str
token_make(struct str position, struct arena *a)
{
	size_t n = position.len + EXTRA, len, i;
	char *raw = arena_alloc(a, n);
	char *text = arena_alloc(a, (n + 2) / 3 * 4 + 1);

	if (raw == NULL || text == NULL)
		return STR_NULL;
	raw[0] = VERSION;
	memcpy(raw + 1, position.p, position.len);
	put_be32(raw + n - 4, hash_crc32c(0, raw, n - 4));
	len = base64_encode(raw, n, text);
	while (len > 0 && text[len - 1] == '=')
		len--;
	for (i = 0; i < len; i++) {
		if (text[i] == '+')
			text[i] = '-';
		else if (text[i] == '/')
			text[i] = '_';
	}
	return str_mem(text, len);
}

static int
bad(struct err *e)
{
	return err_set(e, ERR_INVALID_ARGUMENT,
	    "The continuation token provided is incorrect");
}

int
token_read(struct str token, struct arena *a, struct str *ret_position,
    struct err *e)
{
	size_t i, len, n = token.len;
	char *text, *raw;

	if (n == 0 || n > TOKEN_MAX || n % 4 == 1)
		return bad(e);
	text = arena_alloc(a, n + 3);
	raw = arena_alloc(a, n);
	if (text == NULL || raw == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < n; i++) {
		char c = token.p[i];

		if (c == '+' || c == '/')
			return bad(e);
		text[i] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	while (n % 4 != 0)
		text[n++] = '=';
	if (!base64_decode(str_mem(text, n), raw, token.len, &len) ||
	    len < EXTRA || raw[0] != VERSION ||
	    get_be32(raw + len - 4) != hash_crc32c(0, raw, len - 4))
		return bad(e);
	*ret_position = str_mem(raw + 1, len - EXTRA);
	return 0;
}
