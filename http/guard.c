/* http/guard.c - proof that the header block was read as every strict parser
 * reads it, and that its framing has one meaning (H1).
 *
 * civetweb writes NULs over the ends of words and lines, silently stops at
 * lines that it does not understand, and takes 64 headers. The proof walks the
 * pointers that it left: each word and line begins exactly where the one
 * before it ended. What lies behind the 64th header is parsed here.
 * RFC 9112 sections 2.2, 3, 5 and 6. */
#include "http/internal.h"

#include <civetweb.h>

#define MAX_HEADERS 256

static bool
is_tchar(unsigned char c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr(others, c) != NULL);
}

static bool
is_token(struct str s)
{
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_tchar((unsigned char)s.p[i]))
			return false;
	}
	return true;
}

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_BAD_REQUEST, "malformed request: %s", what);
}

/* The request line; *ret_p is behind it. */
static int
request_line(struct http_req *r, char **ret_p, struct err *e)
{
	const struct mg_request_info *ri = r->raw.ri;
	struct http_info *in = &r->info;
	const char *uri = ri->request_uri, *version = ri->http_version;
	char *p = r->raw.buf;
	size_t n = strlen(p);

	if (ri->request_method != p || uri != p + n + 1)
		return bad(e, "request line");
	in->method = str_mem(p, n);
	p += n + 1;
	n = strlen(p);
	in->path = str_mem(p, n);
	if (ri->query_string != NULL) {
		if (ri->query_string != p + n + 1)
			return bad(e, "request line");
		in->query = str_of(ri->query_string);
		p[n] = '?'; /* where civetweb had cut it */
		n += 1 + in->query.len;
	}
	in->target = str_mem(p, n);
	p += n + 1;
	if (version != p + 5 || strlen(version) != 3 ||
	    (memcmp(version, "1.1", 3) != 0 && memcmp(version, "1.0", 3) != 0))
		return bad(e, "request line");
	in->is_http10 = version[2] == '0';
	p += 8;
	if (p[0] != '\0' || p[1] != '\0')
		return bad(e, "request line");
	*ret_p = p + 2;
	return in->path.p[0] == '/' ? 0 : bad(e, "request target");
}

/* Lines behind those that civetweb parsed: not yet cut, up to @end. */
static int
parse_tail(char **pp, const char *end, struct header *h, size_t *n,
    struct err *e)
{
	char *p = *pp;

	while (p < end) {
		struct str line = str_mem(p, (size_t)(end - p));
		ptrdiff_t eol = str_chr(line, '\r'), colon;

		if (*n == MAX_HEADERS)
			return err_set(e, ERR_HEADERS_TOO_LARGE,
			    "more than %d headers", MAX_HEADERS);
		if (eol < 0 || p[eol + 1] != '\n')
			return bad(e, "header line");
		line.len = (size_t)eol;
		colon = str_chr(line, ':');
		if (colon < 0 || str_chr(line, '\n') >= 0)
			return bad(e, "header line");
		h[*n].name = str_sub(line, 0, (size_t)colon);
		h[*n].value = str_trim(str_skip(line, (size_t)colon + 1));
		if (!is_token(h[*n].name))
			return bad(e, "header name");
		(*n)++;
		p += eol + 2;
	}
	*pp = p;
	return 0;
}

static int
header_lines(struct http_req *r, char *p, struct err *e)
{
	const struct mg_request_info *ri = r->raw.ri;
	char *end = r->raw.buf + r->raw.head_len - 2; /* the last CRLF */
	bool is_long = ri->num_headers == MG_MAX_HEADERS;
	size_t n = (size_t)ri->num_headers;
	struct header *h;

	h = arena_alloc(r->arena,
	    (is_long ? MAX_HEADERS : n) * sizeof(struct header));
	if (h == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < n; i++) {
		const char *value = ri->http_headers[i].value;

		if (ri->http_headers[i].name != p)
			return bad(e, "header line");
		h[i].name = str_of(p);
		p += h[i].name.len + 1;
		while (*p == ' ')
			p++;
		if (value != p || !is_token(h[i].name))
			return bad(e, "header name");
		h[i].value = str_of(value);
		p += h[i].value.len;
		if (p > end || p[0] != '\0' || p[1] != '\0')
			return bad(e, "line end");
		p += 2;
		h[i].value = str_trim(h[i].value);
	}
	if (p < end && is_long) {
		int rc = parse_tail(&p, end, h, &n, e);

		if (rc < 0)
			return rc;
	}
	if (p != end || p[0] != '\r')
		return bad(e, "header line");
	r->info.headers = h;
	r->info.n_headers = n;
	return 0;
}

/* Headers that say where a message ends and whom it is for. */
struct framing {
	struct str length, coding, host, expect;
	unsigned n_length, n_coding, n_host, n_connection, n_expect;
};

static void
collect(const struct http_info *in, struct framing *f)
{
	for (size_t i = 0; i < in->n_headers; i++) {
		struct str name = in->headers[i].name;
		struct str value = in->headers[i].value;

		switch (name.len) {
		case 4:
			if (str_ieq(name, STR_LIT("Host"))) {
				f->host = value;
				f->n_host++;
			}
			break;
		case 6:
			if (str_ieq(name, STR_LIT("Expect"))) {
				f->expect = value;
				f->n_expect++;
			}
			break;
		case 10:
			f->n_connection += str_ieq(name, STR_LIT("Connection"));
			break;
		case 14:
			if (str_ieq(name, STR_LIT("Content-Length"))) {
				f->length = value;
				f->n_length++;
			}
			break;
		case 17:
			if (str_ieq(name, STR_LIT("Transfer-Encoding"))) {
				f->coding = value;
				f->n_coding++;
			}
			break;
		default:
			break;
		}
	}
}

static bool
is_host(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') ||
			strchr("-._~%:[]", c) != NULL))
			return false;
	}
	return s.len > 0;
}

static int
framing(struct http_req *r, struct err *e)
{
	struct http_info *in = &r->info;
	struct framing f = { 0 };
	uint64_t len;

	collect(in, &f);
	if (f.n_host > 1 || (f.n_host == 0 && !in->is_http10) ||
	    (f.n_host == 1 && !is_host(f.host)))
		return bad(e, "Host");
	in->host = f.host;
	in->content_length = -1;
	if (f.n_length > 1 || f.n_coding > 1 ||
	    (f.n_length > 0 && f.n_coding > 0))
		return bad(e, "Content-Length and Transfer-Encoding");
	if (f.n_coding == 1) {
		if (!str_ieq(f.coding, STR_LIT("chunked")) || in->is_http10)
			return bad(e, "Transfer-Encoding");
		in->chunked = true;
	}
	if (f.n_length == 1) {
		if (f.length.len > 19 || !str_to_u64(f.length, INT64_MAX, &len))
			return bad(e, "Content-Length");
		in->content_length = (int64_t)len;
	}
	if (f.n_expect > 0) {
		if (f.n_expect > 1)
			return bad(e, "Expect");
		/* RFC 9110 10.1.1: ignored in HTTP/1.0; what a server does not
		 * know it may ignore, as S3 does. */
		in->expect_continue =
		    !in->is_http10 &&
		    str_ieq(f.expect, STR_LIT("100-continue"));
	}
	/* civetweb looks at the first Connection of the first 64 headers. */
	if (f.n_connection > 1 || in->n_headers > MG_MAX_HEADERS)
		unit_close_after(r->conn);
	unit_set_length(r->conn,
	    in->content_length < 0 ? 0 : in->content_length, in->chunked);
	return 0;
}

int
http_guard(struct http_req *r, struct err *e)
{
	char *p = NULL;
	int rc;

	rc = request_line(r, &p, e);
	if (rc < 0)
		return rc;
	if ((size_t)r->raw.head_len > r->s->c.max_header_bytes)
		return err_set(e, ERR_HEADERS_TOO_LARGE, NULL);
	rc = header_lines(r, p, e);
	if (rc < 0)
		return rc;
	return framing(r, e);
}
