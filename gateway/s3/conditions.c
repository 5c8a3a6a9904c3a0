/* gateway/s3/conditions.c - conditional requests (conditions.h). */
#include "gateway/s3/conditions.h"

#include "lib/clock.h"

struct str
cond_unquote(struct str t)
{
	t = str_trim(t);
	if (t.len >= 2 && t.p[0] == '"' && t.p[t.len - 1] == '"')
		return str_sub(t, 1, t.len - 2);
	return t;
}

/* Is @etag in a list of entity tags, or the list "*"? Tags may lack their
 * quotes. @weak: W/ tags match too. */
static bool
etag_in(struct str list, struct str etag, bool weak)
{
	struct str item;
	bool is_weak;

	if (str_eqz(str_trim(list), "*"))
		return true;
	while (list.p != NULL) { /* an S3 ETag holds no comma */
		item = str_trim(str_split(&list, ','));
		is_weak = str_has_prefix(item, STR_LIT("W/"));
		if (is_weak)
			item = str_skip(item, 2);
		if ((weak || !is_weak) && str_eq(cond_unquote(item), etag))
			return true;
	}
	return false;
}

enum cond_result
cond_read(const struct read_cond *c, struct str etag, int64_t mtime_s)
{
	if (c->if_match.p != NULL) {
		if (!etag_in(c->if_match, etag, false))
			return COND_FAILED;
	} else if (c->if_unmodified_since >= 0 &&
		   mtime_s > c->if_unmodified_since) {
		return COND_FAILED;
	}
	if (c->if_none_match.p != NULL) {
		if (etag_in(c->if_none_match, etag, true))
			return COND_NOT_MODIFIED;
	} else if (c->if_modified_since >= 0 &&
		   mtime_s <= c->if_modified_since) {
		return COND_NOT_MODIFIED;
	}
	return COND_PASS;
}

bool
cond_if_range(struct str value, struct str etag, int64_t mtime_s)
{
	int64_t t;

	value = str_trim(value);
	if (value.len > 0 && value.p[0] == '"')
		return str_eq(cond_unquote(value), etag);
	if (str_has_prefix(value, STR_LIT("W/")))
		return false;
	t = clock_parse_http(value.p, value.len);
	return t >= 0 ? t == mtime_s : str_eq(value, etag);
}

static int64_t
date(struct str v)
{
	int64_t t;

	if (v.p == NULL)
		return -1;
	t = clock_parse_http(v.p, v.len);
	if (t < 0) /* some SDKs send ISO 8601 */
		t = clock_parse_iso(v.p, v.len);
	return t < 0 ? -1 : t;
}

void
s3_read_cond(const struct s3_req *r, struct read_cond *ret)
{
	ret->if_match = http_header(r->http, "if-match");
	ret->if_none_match = http_header(r->http, "if-none-match");
	ret->if_modified_since =
	    date(http_header(r->http, "if-modified-since"));
	ret->if_unmodified_since =
	    date(http_header(r->http, "if-unmodified-since"));
}

void
s3_source_cond(const struct s3_req *r, struct read_cond *ret)
{
	ret->if_match = s3_header(r, "x-amz-copy-source-if-match");
	ret->if_none_match = s3_header(r, "x-amz-copy-source-if-none-match");
	ret->if_modified_since =
	    date(s3_header(r, "x-amz-copy-source-if-modified-since"));
	ret->if_unmodified_since =
	    date(s3_header(r, "x-amz-copy-source-if-unmodified-since"));
}

static int
refuse(struct s3_req *r, const char *header, struct err *e)
{
	s3_extra(r, "Header", str_of(header));
	return err_set(e, ERR_NOT_IMPLEMENTED,
	    "A header you provided implies functionality that is not "
	    "implemented: %s",
	    header);
}

static int
one_etag(struct s3_req *r, struct str v, struct str *ret, struct err *e)
{
	struct str t = cond_unquote(v);

	if (http_header_count(r->http, "if-match") > 1 || t.len == 0 ||
	    str_chr(t, ',') >= 0 || str_has_prefix(t, STR_LIT("W/")))
		return refuse(r, "If-Match", e);
	*ret = t;
	return 0;
}

static int
no_dates(struct s3_req *r, struct err *e)
{
	if (http_header(r->http, "if-modified-since").p != NULL)
		return refuse(r, "If-Modified-Since", e);
	if (http_header(r->http, "if-unmodified-since").p != NULL)
		return refuse(r, "If-Unmodified-Since", e);
	return 0;
}

int
s3_write_cond(struct s3_req *r, struct write_cond *ret, struct err *e)
{
	struct str match = http_header(r->http, "if-match");
	struct str none = http_header(r->http, "if-none-match");
	struct write_cond c = { false, STR_NULL };
	int rc;

	rc = no_dates(r, e);
	if (rc < 0)
		return rc;
	if (none.p != NULL) {
		if (!str_eqz(str_trim(none), "*") || match.p != NULL ||
		    http_header_count(r->http, "if-none-match") > 1)
			return refuse(r, "If-None-Match", e);
		c.if_none_match_any = true;
	}
	if (match.p != NULL) {
		rc = one_etag(r, match, &c.if_match, e);
		if (rc < 0)
			return rc;
	}
	*ret = c;
	return 0;
}

int
s3_delete_cond(struct s3_req *r, struct str *ret_if_match, struct err *e)
{
	struct str match = http_header(r->http, "if-match");
	int rc;

	rc = no_dates(r, e);
	if (rc < 0)
		return rc;
	if (http_header(r->http, "if-none-match").p != NULL)
		return refuse(r, "If-None-Match", e);
	/* conditions of directory buckets */
	if (s3_has_header(r, "x-amz-if-match-last-modified-time"))
		return refuse(r, "x-amz-if-match-last-modified-time", e);
	if (s3_has_header(r, "x-amz-if-match-size"))
		return refuse(r, "x-amz-if-match-size", e);
	*ret_if_match = STR_NULL;
	return match.p == NULL ? 0 : one_etag(r, match, ret_if_match, e);
}
