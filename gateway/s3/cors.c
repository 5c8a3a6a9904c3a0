/* gateway/s3/cors.c - browsers: CORS by the server's setting (Fetch standard).
 *
 * Credentials are never allowed, so `*` is safe: requests are authorised by
 * their signature alone. An echoed origin comes with Vary. Rules of a bucket
 * will be asked before the setting. */
#include "gateway/s3/s3_int.h"

#define EXPOSE                                                                  \
	"ETag, Content-Length, Content-Type, Content-Range, "                   \
	"Content-Disposition, Content-Encoding, Accept-Ranges, Last-Modified, " \
	"x-amz-request-id, x-amz-id-2, x-amz-version-id, "                      \
	"x-amz-delete-marker, x-amz-storage-class, x-amz-bucket-region, "       \
	"x-amz-mp-parts-count, x-amz-checksum-type, x-amz-checksum-crc32, "     \
	"x-amz-checksum-crc32c, x-amz-checksum-crc64nvme, "                     \
	"x-amz-checksum-sha1, x-amz-checksum-sha256, *"

/* The value for Access-Control-Allow-Origin, or STR_NULL. */
static struct str
allowed(const struct s3 *s, struct str origin)
{
	struct str list = str_of(s->cors), item;
	size_t n;

	while (list.len > 0) {
		for (n = 0; n < list.len; n++)
			if (list.p[n] == ' ' || list.p[n] == ',')
				break;
		item = str_sub(list, 0, n);
		list = str_skip(list, n + 1);
		if (str_eqz(item, "*"))
			return STR_LIT("*");
		if (item.len > 0 && str_ieq(item, origin))
			return origin;
	}
	return STR_NULL;
}

void
s3_cors_headers(struct s3_req *r)
{
	struct str origin = http_header(r->http, "origin"), allow;

	/* Without Origin too: a cache must not give that answer to a browser. */
	if (*r->s3->cors != '\0' && strcmp(r->s3->cors, "*") != 0)
		http_setz(r->http, "Vary", "Origin");
	if (origin.p == NULL)
		return;
	allow = allowed(r->s3, origin);
	if (allow.p == NULL)
		return;
	http_set(r->http, "Access-Control-Allow-Origin", allow);
	http_setz(r->http, "Access-Control-Expose-Headers", EXPOSE);
}

static bool
is_token_list(struct str v)
{
	size_t i;
	unsigned char c;

	for (i = 0; i < v.len; i++) {
		c = (unsigned char)v.p[i];
		if ((c | 32) >= 'a' && (c | 32) <= 'z')
			continue;
		if (c >= '0' && c <= '9')
			continue;
		if (c == 0 || strchr("-_.!#$%&'*+^`|~, ", c) == NULL)
			return false;
	}
	return true;
}

int
s3_cors_preflight(struct s3_req *r, struct err *e)
{
	static const char *const methods[] = { "GET", "HEAD", "PUT", "POST",
		"DELETE" };
	struct str origin = http_header(r->http, "origin");
	struct str method =
	    http_header(r->http, "access-control-request-method");
	struct str headers =
	    http_header(r->http, "access-control-request-headers");
	size_t i, n = sizeof(methods) / sizeof(methods[0]);

	if (origin.len == 0)
		return err_set(e, ERR_BAD_REQUEST,
		    "Insufficient information. Origin request header needed.");
	for (i = 0; i < n && !str_eqz(method, methods[i]); i++)
		;
	if (i == n)
		return err_set(e, ERR_BAD_REQUEST,
		    "Invalid Access-Control-Request-Method");
	if (allowed(r->s3, origin).p == NULL || !is_token_list(headers))
		return err_set(e, ERR_ACCESS_FORBIDDEN,
		    "CORSResponse: This CORS request is not allowed.");
	http_setz(r->http, "Access-Control-Allow-Methods",
	    "GET, HEAD, PUT, POST, DELETE");
	if (headers.len > 0)
		http_set(r->http, "Access-Control-Allow-Headers", headers);
	http_setz(r->http, "Access-Control-Max-Age", "3600");
	http_reply(r->http, 200, STR_LIT(""));
	return 0;
}
