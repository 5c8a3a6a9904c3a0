/* gateway/s3/headers.c - an object's headers (headers.h).
 *
 * User metadata: S3 User Guide, "Working with object metadata": names are case
 * insensitive, at most 2 KiB in all; values that are not ASCII come back in the
 * form of RFC 2047. */
#include "gateway/s3/headers.h"

#include "gateway/s3/checksums.h"
#include "lib/clock.h"

static const char *const system_names[] = { "cache-control",
	"content-disposition", "content-language", "content-type", "expires" };
#define N_SYSTEM (sizeof(system_names) / sizeof(system_names[0]))

struct collect {
	struct s3_req *r;
	struct header *h;
	size_t n, max;
	size_t user, system; /* bytes */
};

/* Valid UTF-8 as it is; else taken as Latin-1. p NULL without memory. */
static struct str
utf8_of(struct str v, struct arena *a)
{
	char *p;
	size_t i, n = 0;

	if (v.len == 0)
		return STR_LIT("");
	if (utf8_is_valid(v))
		return v;
	p = arena_alloc(a, v.len * 2);
	if (p == NULL)
		return STR_NULL;
	for (i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c < 0x80) {
			p[n++] = (char)c;
		} else {
			p[n++] = (char)(0xc0 | (c >> 6));
			p[n++] = (char)(0x80 | (c & 0x3f));
		}
	}
	return str_mem(p, n);
}

static int
put(struct collect *c, struct str name, struct str value, struct err *e)
{
	MUST(c->n < c->max);
	value = utf8_of(value, c->r->a);
	if (value.p == NULL)
		return s3_no_memory(e);
	c->h[c->n++] = (struct header){ name, value };
	if (str_has_prefix(name, STR_LIT("x-amz-meta-")))
		c->user += name.len - strlen("x-amz-meta-") + value.len;
	else
		c->system += value.len;
	return 0;
}

struct str
header_encode(struct str v, struct arena *a)
{
	static const char head[] = "=?UTF-8?B?";
	size_t i, n;
	char *p;

	for (i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			break;
	if (i == v.len)
		return v;
	p = arena_alloc(a, sizeof(head) + 2 + (v.len + 2) / 3 * 4);
	if (p == NULL)
		return STR_NULL;
	memcpy(p, head, sizeof(head) - 1);
	n = sizeof(head) - 1;
	n += base64_encode(v.p, v.len, p + n);
	p[n++] = '?';
	p[n++] = '=';
	return str_mem(p, n);
}

/* Content-Encoding without aws-chunked, wherever it stands; may be empty. */
static int
strip_chunked(struct str v, struct arena *a, struct str *ret)
{
	char *p = arena_alloc(a, 2 * v.len + 1);
	struct str item, whole = v;
	bool has_chunked = false;
	size_t n = 0;

	if (p == NULL)
		return ERR_NO_MEMORY;
	while (v.p != NULL) {
		item = str_trim(str_split(&v, ','));
		if (str_ieq(item, STR_LIT("aws-chunked"))) {
			has_chunked = true;
			continue;
		}
		if (item.len == 0)
			continue;
		if (n > 0) {
			p[n++] = ',';
			p[n++] = ' ';
		}
		memcpy(p + n, item.p, item.len);
		n += item.len;
	}
	*ret = has_chunked ? str_mem(p, n) : whole;
	return 0;
}

/* "" for STANDARD (nothing is stored); false for an unknown class. */
static bool
storage_class_of(struct str v, struct str *ret)
{
	static const char *const classes[] = { "STANDARD", "REDUCED_REDUNDANCY",
		"STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER",
		"DEEP_ARCHIVE", "GLACIER_IR" };
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (str_eqz(v, classes[i])) {
			*ret = i == 0 ? STR_LIT("") : v;
			return true;
		}
	return false;
}

/* All values of a header as one list. */
static int
joined(struct s3_req *r, const char *name, struct str *ret, struct err *e)
{
	struct str all = STR_NULL;
	size_t i;

	for (i = 0; i < r->info->n_headers; i++) {
		const struct header *h = &r->info->headers[i];

		if (!str_ieq(h->name, str_of(name)))
			continue;
		if (all.p == NULL)
			all = h->value;
		else
			all = arena_fmt(r->a, STR_FMT "," STR_FMT, STR_ARG(all),
			    STR_ARG(h->value));
		if (all.p == NULL)
			return s3_no_memory(e);
	}
	*ret = all;
	return 0;
}

static int
collect_system(struct collect *c, struct err *e)
{
	struct s3_req *r = c->r;
	struct str v;
	size_t i;
	int rc;

	for (i = 0; i < N_SYSTEM; i++) {
		v = http_header(r->http, system_names[i]);
		if (v.len == 0)
			continue;
		rc = put(c, str_of(system_names[i]), v, e);
		if (rc < 0)
			return rc;
	}
	rc = joined(r, "content-encoding", &v, e);
	if (rc < 0 || v.p == NULL)
		return rc;
	if (strip_chunked(v, r->a, &v) < 0)
		return s3_no_memory(e);
	return v.len == 0 ? 0 : put(c, STR_LIT("content-encoding"), v, e);
}

static int
collect_amz(struct collect *c, struct err *e)
{
	struct str v = s3_header(c->r, "x-amz-storage-class");
	int rc;

	if (v.p != NULL) {
		if (!storage_class_of(v, &v)) {
			s3_extra(c->r, "StorageClassRequested", v);
			return err_set(e, ERR_INVALID_STORAGE_CLASS, NULL);
		}
		if (v.len > 0) {
			rc = put(c, STR_LIT("x-amz-storage-class"), v, e);
			if (rc < 0)
				return rc;
		}
	}
	v = s3_header(c->r, "x-amz-website-redirect-location");
	if (v.p == NULL)
		return 0;
	if (!str_has_prefix(v, STR_LIT("/")) &&
	    !str_has_prefix(v, STR_LIT("http://")) &&
	    !str_has_prefix(v, STR_LIT("https://")))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The website redirect location must have a prefix of "
		    "'http://' or 'https://' or '/'.");
	return put(c, STR_LIT("x-amz-website-redirect-location"), v, e);
}

/* RFC 9110 section 5.6.2. */
static bool
is_token(struct str s)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	size_t i;

	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (!((c | 32) >= 'a' && (c | 32) <= 'z') &&
		    !(c >= '0' && c <= '9') &&
		    (c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	return s.len > 0;
}

static int
collect_user(void *arg, struct str name, struct str value, struct err *e)
{
	struct collect *c = arg;
	struct header *have;
	struct str lower;
	size_t i;
	char *p;

	if (name.len == strlen("x-amz-meta-"))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "A metadata header has no name.");
	/* A parameter of a URL can hold what no header's name does; it would
	 * come out as a line of its own in the answers. */
	if (!is_token(name))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The name of a metadata header is not valid.");
	have = (struct header *)(uintptr_t)header_find(c->h, c->n,
	    arena_str(c->r->a, name).p);
	if (have != NULL) { /* sent twice: one list, as HTTP has it */
		value = utf8_of(value, c->r->a);
		value = arena_fmt(c->r->a, STR_FMT "," STR_FMT,
		    STR_ARG(have->value), STR_ARG(value));
		if (value.p == NULL)
			return s3_no_memory(e);
		c->user += value.len - have->value.len;
		have->value = value;
		return 0;
	}
	lower = arena_str(c->r->a, name);
	if (lower.p == NULL)
		return s3_no_memory(e);
	p = (char *)(uintptr_t)lower.p;
	for (i = 0; i < lower.len; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] - 'A' + 'a');
	return put(c, utf8_of(lower, c->r->a), value, e);
}

int
s3_object_headers(struct s3_req *r, struct header **ret, size_t *ret_n,
    struct err *e)
{
	struct collect c = { .r = r };
	int rc;

	c.max = N_SYSTEM + 3 + r->info->n_headers + r->n_params;
	c.h = arena_alloc(r->a, c.max * sizeof(*c.h));
	if (c.h == NULL)
		return s3_no_memory(e);
	rc = collect_system(&c, e);
	if (rc == 0)
		rc = collect_amz(&c, e);
	if (rc == 0)
		rc = s3_each_header(r, "x-amz-meta-", collect_user, &c, e);
	if (rc < 0)
		return rc;
	if (c.user > S3_USER_META_MAX || c.system > S3_SYSTEM_META_MAX) {
		s3_extra_u64(r, "Size",
		    c.user > S3_USER_META_MAX ? c.user : c.system);
		s3_extra_u64(r, "MaxSizeAllowed",
		    c.user > S3_USER_META_MAX ? S3_USER_META_MAX
					      : S3_SYSTEM_META_MAX);
		return err_set(e, ERR_METADATA_TOO_LARGE, NULL);
	}
	*ret = c.h;
	*ret_n = c.n;
	return 0;
}

/* --- out --- */

void
s3_send_etag(struct s3_req *r, struct str etag)
{
	char text[80];

	if (etag.len + 2 > sizeof(text)) {
		http_setf(r->http, "ETag", "\"" STR_FMT "\"", STR_ARG(etag));
		return;
	}
	text[0] = '"';
	memcpy(text + 1, etag.p, etag.len);
	text[etag.len + 1] = '"';
	http_set(r->http, "ETag", str_mem(text, etag.len + 2));
}

void
s3_send_mtime(struct s3_req *r, int64_t mtime_ns)
{
	char t[30];

	clock_fmt_http(mtime_ns / 1000000000, t);
	http_setz(r->http, "Last-Modified", t);
}

void
s3_send_checksum(struct s3_req *r, const struct checksum *c, uint32_t n_parts)
{
	char text[CHECKSUM_TEXT_MAX];

	if (c->alg == CHECKSUM_NONE)
		return;
	http_set(r->http, checksum_header(c->alg),
	    checksum_text(c, n_parts, text));
	http_setz(r->http, "x-amz-checksum-type", checksum_type(c));
}

/* response-content-type=... replaces the stored value. */
static struct str
override_of(struct s3_req *r, struct str name)
{
	static const char *const names[][2] = {
		{ "content-type", "response-content-type" },
		{ "content-language", "response-content-language" },
		{ "expires", "response-expires" },
		{ "cache-control", "response-cache-control" },
		{ "content-disposition", "response-content-disposition" },
		{ "content-encoding", "response-content-encoding" },
	};
	size_t i;

	if (!r->has_plain_param)
		return STR_NULL;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name.p == NULL ? s3_has_param(r, names[i][1])
				   : str_eqz(name, names[i][0]))
			return s3_param(r, names[i][1]);
	return STR_NULL;
}

static int
send_overrides(struct s3_req *r, const struct object *o, struct err *e)
{
	static const char *const names[] = { "content-type", "content-language",
		"expires", "cache-control", "content-disposition",
		"content-encoding" };
	struct str v;
	size_t i;

	(void)o;
	if (r->auth.kind == AUTH_ANONYMOUS &&
	    override_of(r, STR_NULL).p != NULL)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Request specific response headers cannot be used for "
		    "anonymous GET requests.");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		v = override_of(r, str_of(names[i]));
		if (v.len > 0)
			http_set(r->http, names[i], v);
	}
	return 0;
}

int
s3_send_headers(struct s3_req *r, const struct object *o, struct err *e)
{
	bool has_type = override_of(r, STR_LIT("content-type")).len > 0;
	const struct header *h;
	struct str v;
	size_t i;

	s3_send_etag(r, o->etag);
	s3_send_mtime(r, o->mtime_ns);
	http_setz(r->http, "Accept-Ranges", "bytes");
	for (i = 0; i < o->n_headers; i++) {
		h = &o->headers[i];
		if (override_of(r, h->name).len > 0)
			continue;
		has_type |= str_eqz(h->name, "content-type");
		v = h->value;
		if (str_has_prefix(h->name, STR_LIT("x-amz-meta-"))) {
			v = header_encode(v, r->a);
			if (v.p == NULL)
				return s3_no_memory(e);
		}
		http_set(r->http, arena_str(r->a, h->name).p, v);
	}
	if (!has_type)
		http_setz(r->http, "Content-Type", "binary/octet-stream");
	return r->has_plain_param ? send_overrides(r, o, e) : 0;
}
