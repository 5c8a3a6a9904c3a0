/* storage/server/url_parse.c - see storage/server/url.h. */
#include "storage/server/url.h"

#include <stddef.h>

/* "a-b", "a-", "-n". 1: a range; 0: past the end; -1: malformed. */
static int
one_range(struct str s, uint64_t size, struct url_range *ret)
{
	uint64_t from, to = UINT64_MAX;
	ptrdiff_t dash = str_chr(s, '-');
	struct str a, b;

	if (dash < 0)
		return -1;
	a = str_sub(s, 0, (size_t)dash);
	b = str_skip(s, (size_t)dash + 1);
	if (b.len > 0 && !str_to_u64(b, INT64_MAX, &to))
		return -1;
	if (a.len == 0) { /* the last @to bytes */
		if (b.len == 0)
			return -1;
		if (to == 0 || size == 0)
			return 0;
		if (to > size)
			to = size;
		*ret = (struct url_range){ size - to, to };
		return 1;
	}
	if (!str_to_u64(a, INT64_MAX, &from) || to < from)
		return -1;
	if (from >= size)
		return 0;
	if (to >= size)
		to = size - 1;
	*ret = (struct url_range){ from, to - from + 1 };
	return 1;
}

int
url_ranges(struct str header, uint64_t size, struct url_range ret[URL_RANGES])
{
	struct str list = str_trim(header), one;
	uint64_t sum = 0;
	int n = 0, parts = 0, k;

	if (!str_has_prefix(list, STR_LIT("bytes=")))
		return -1;
	list = str_skip(list, 6);
	do {
		one = str_trim(str_split(&list, ','));
		if (one.len == 0)
			continue;
		if (++parts > URL_RANGES)
			return -1;
		k = one_range(one, size, &ret[n]);
		if (k < 0)
			return -1;
		if (k > 0)
			sum += ret[n++].len;
	} while (list.p != NULL);
	if (parts == 0 || (n > 1 && sum > size))
		return -1;
	return n;
}

bool
url_has_tag(struct str list, struct str tag, bool weak)
{
	struct str one;

	if (str_eqz(str_trim(list), "*"))
		return true;
	do {
		one = str_trim(str_split(&list, ','));
		if (weak && str_has_prefix(one, STR_LIT("W/")))
			one = str_skip(one, 2);
		if (str_eq(one, tag))
			return true;
	} while (list.p != NULL);
	return false;
}

bool
url_param(struct str query, const char *name, char *room, size_t size,
    struct str *ret)
{
	struct str key;
	ptrdiff_t at;
	size_t len;

	while (query.p != NULL) {
		struct str pair = str_split(&query, '&');

		at = str_chr(pair, '=');
		key = at < 0 ? pair : str_sub(pair, 0, (size_t)at);
		if (!str_eqz(key, name))
			continue;
		pair = at < 0 ? STR_LIT("") : str_skip(pair, (size_t)at + 1);
		if (pair.len > size || !pct_decode(pair, true, room, &len))
			return false;
		*ret = str_mem(room, len);
		return true;
	}
	return false;
}

static const struct {
	const char *ext, *type;
} types[] = {
	{ "7z", "application/x-7z-compressed" },
	{ "aac", "audio/aac" },
	{ "apk", "application/vnd.android.package-archive" },
	{ "avi", "video/x-msvideo" },
	{ "bmp", "image/bmp" },
	{ "bz2", "application/x-bzip2" },
	{ "css", "text/css" },
	{ "csv", "text/csv" },
	{ "doc", "application/msword" },
	{ "docx", "application/vnd.openxmlformats-officedocument."
		  "wordprocessingml.document" },
	{ "flv", "video/x-flv" },
	{ "gif", "image/gif" },
	{ "gz", "application/gzip" },
	{ "htm", "text/html" },
	{ "html", "text/html" },
	{ "ico", "image/x-icon" },
	{ "jpeg", "image/jpeg" },
	{ "jpg", "image/jpeg" },
	{ "js", "text/javascript" },
	{ "json", "application/json" },
	{ "log", "text/plain" },
	{ "m3u8", "application/vnd.apple.mpegurl" },
	{ "m4a", "audio/mp4" },
	{ "mkv", "video/x-matroska" },
	{ "mov", "video/quicktime" },
	{ "mp3", "audio/mpeg" },
	{ "mp4", "video/mp4" },
	{ "ogg", "audio/ogg" },
	{ "pdf", "application/pdf" },
	{ "png", "image/png" },
	{ "ppt", "application/vnd.ms-powerpoint" },
	{ "pptx", "application/vnd.openxmlformats-officedocument."
		  "presentationml.presentation" },
	{ "rar", "application/vnd.rar" },
	{ "svg", "image/svg+xml" },
	{ "swf", "application/x-shockwave-flash" },
	{ "tar", "application/x-tar" },
	{ "tgz", "application/gzip" },
	{ "tif", "image/tiff" },
	{ "tiff", "image/tiff" },
	{ "ts", "video/mp2t" },
	{ "txt", "text/plain" },
	{ "wasm", "application/wasm" },
	{ "wav", "audio/wav" },
	{ "webm", "video/webm" },
	{ "webp", "image/webp" },
	{ "xls", "application/vnd.ms-excel" },
	{ "xlsx", "application/vnd.openxmlformats-officedocument."
		  "spreadsheetml.sheet" },
	{ "xml", "application/xml" },
	{ "zip", "application/zip" },
};

const char *
url_type(struct str name)
{
	ptrdiff_t dot = str_rchr(name, '.');
	struct str ext = dot < 0 ? STR_NULL : str_skip(name, (size_t)dot + 1);

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_ieq(ext, str_of(types[i].ext)))
			return types[i].type;
	return "application/octet-stream";
}
