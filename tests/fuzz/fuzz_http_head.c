/* Header blocks: what civetweb parsed and the guard let through is read again
 * from the bytes by a second, plain parser; both must have seen the same
 * request, or nobody knows where it ends.
 * LINK: creel_http */
#include "http/internal.h"

static struct str
take_line(struct str *in)
{
	ptrdiff_t at = str_find(*in, STR_LIT("\r\n"));
	struct str line;

	MUST(at >= 0);
	line = str_sub(*in, 0, (size_t)at);
	*in = str_skip(*in, (size_t)at + 2);
	/* No bare CR or LF, no NUL. */
	MUST(str_chr(line, '\n') < 0 && str_chr(line, '\r') < 0 &&
	     str_chr(line, '\0') < 0);
	return line;
}

static void
check_line(struct str line, const struct http_info *i)
{
	struct str method = str_split(&line, ' ');
	struct str target = str_split(&line, ' ');

	MUST(str_eq(method, i->method) && str_eq(target, i->target));
	MUST(str_eqz(line, i->is_http10 ? "HTTP/1.0" : "HTTP/1.1"));
	MUST(str_eq(str_split(&target, '?'), i->path));
	MUST((target.p == NULL) == (i->query.p == NULL) &&
	     str_eq(target, i->query));
}

static void
check(struct str in, const struct http_info *i)
{
	int64_t length = -1;
	bool chunked = false;
	unsigned hosts = 0;

	check_line(take_line(&in), i);
	for (size_t k = 0; k < i->n_headers; k++) {
		struct str value = take_line(&in);
		struct str name = str_split(&value, ':');

		MUST(value.p != NULL && name.len > 0);
		MUST(str_chr(name, ' ') < 0 && str_chr(name, '\t') < 0);
		MUST(str_eq(name, i->headers[k].name));
		MUST(str_eq(str_trim(value), i->headers[k].value));
		value = str_trim(value);
		if (str_ieq(name, STR_LIT("content-length"))) {
			uint64_t n = 0;

			MUST(length < 0 && !chunked);
			MUST(str_to_u64(value, INT64_MAX, &n));
			length = (int64_t)n;
		} else if (str_ieq(name, STR_LIT("transfer-encoding"))) {
			MUST(length < 0 && !chunked && !i->is_http10);
			MUST(str_ieq(value, STR_LIT("chunked")));
			chunked = true;
		} else if (str_ieq(name, STR_LIT("host"))) {
			hosts++;
		}
	}
	MUST(take_line(&in).len == 0); /* no header was left out */
	MUST(length == i->content_length && chunked == i->chunked);
	MUST(hosts == 1 || (hosts == 0 && i->is_http10));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_server s = { .c.max_header_bytes = 4096 };
	struct http_req r = { .magic = HTTP_REQ_MAGIC, .s = &s };
	struct err e = ERR_INIT;

	r.conn = unit_parse((const char *)data, size, 8192);
	if (r.conn == NULL)
		return 0;
	unit_raw(r.conn, &r.raw);
	r.arena = arena_new(1 << 20);
	if (http_guard(&r, &e) == 0) {
		MUST(r.raw.head_len <= (int)size);
		check(str_mem(data, (size_t)r.raw.head_len), &r.info);
	}
	arena_free(&r.arena);
	unit_parse_free(r.conn);
	return 0;
}
