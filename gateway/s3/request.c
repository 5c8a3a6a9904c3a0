/* gateway/s3/request.c - bucket, key and parameters of a request, decoded once
 * and with their length. */
#include "gateway/s3/s3_int.h"

#include "auth/query.h"
#include "lib/clock.h"

int
s3_no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, NULL);
}

static enum s3_method
method_of(struct str m)
{
	static const char *const names[] = {
		[M_GET] = "GET",
		[M_HEAD] = "HEAD",
		[M_PUT] = "PUT",
		[M_POST] = "POST",
		[M_DELETE] = "DELETE",
		[M_OPTIONS] = "OPTIONS",
	};
	unsigned i;

	for (i = 0; i < M_OTHER; i++)
		if (str_eqz(m, names[i]))
			return (enum s3_method)i;
	return M_OTHER;
}

/* The whole of it as an XML-safe, decoded text, or ERR_INVALID_URI. */
static int
decode(struct s3_req *r, struct str raw, struct str *ret, struct err *e)
{
	char *dst;
	size_t len;

	if (raw.len == 0) {
		*ret = STR_LIT("");
		return 0;
	}
	dst = arena_alloc(r->a, raw.len + 1);
	if (dst == NULL)
		return s3_no_memory(e);
	if (str_is_plain(raw)) {
		memcpy(dst, raw.p, raw.len);
		len = raw.len;
	} else if (!pct_decode(raw, false, dst, &len) ||
		   memchr(dst, 0, len) != NULL ||
		   !utf8_is_valid(str_mem(dst, len))) {
		return err_set(e, ERR_INVALID_URI, NULL);
	}
	dst[len] = '\0';
	*ret = str_mem(dst, len);
	return 0;
}

/* Query parameters may stand for headers where they are signed: all in V4, the
 * x-amz-* ones in V2 too (botocore puts them there). Before authentication the
 * route asks too, so this goes by the parameters, not by r->auth. */
static bool
is_hoisted(const struct s3_req *r)
{
	/* As auth/ does: V4's names in any case, V2's only in theirs. */
	return header_find(r->params, r->n_params, "X-Amz-Signature") != NULL ||
	       (s3_has_param(r, "AWSAccessKeyId") &&
		   s3_has_param(r, "Signature"));
}

/* A terminated copy at *p; false: no text that XML can hold. */
static bool
keep_text(struct str s, struct str *ret, char **p)
{
	if (s.len == 0) {
		*ret = STR_LIT("");
		return true;
	}
	if (!str_is_plain(s) &&
	    (memchr(s.p, 0, s.len) != NULL || !utf8_is_valid(s)))
		return false;
	memcpy(*p, s.p, s.len);
	(*p)[s.len] = '\0';
	*ret = str_mem(*p, s.len);
	*p += s.len + 1;
	return true;
}

static int
parse_query(struct s3_req *r, struct err *e)
{
	struct str q = r->info->query;
	struct header *params;
	size_t n;
	char *p;
	int rc;

	if (q.len == 0)
		return 0;
	rc = query_parse(q, r->a, &params, &n, e);
	if (rc < 0 || n == 0)
		return rc;
	r->auth_in.params = params; /* signed is what is read here */
	r->auth_in.n_params = n;
	r->params = arena_alloc(r->a, n * sizeof(*r->params));
	p = arena_alloc(r->a, q.len + 2 * n);
	if (r->params == NULL || p == NULL)
		return s3_no_memory(e);
	for (size_t i = 0; i < n; i++) {
		struct header *h = &r->params[i];

		if (!keep_text(params[i].name, &h->name, &p) ||
		    !keep_text(params[i].value, &h->value, &p))
			return err_set(e, ERR_INVALID_URI, NULL);
		r->has_plain_param |=
		    !str_ieq(str_sub(h->name, 0, 6), STR_LIT("x-amz-"));
	}
	r->n_params = n;
	r->is_hoisted = is_hoisted(r);
	return 0;
}

/* Bucket named by a virtual host, lower case, in the arena; empty if none. */
static struct str
vhost_bucket(const struct s3 *s, struct str host, struct arena *a)
{
	struct str domain, ret;
	ptrdiff_t colon = str_rchr(host, ':');
	size_t i, j;
	char *p;

	if (host.len == 0 || host.p[0] == '[')
		return STR_LIT("");
	if (colon >= 0)
		host = str_sub(host, 0, (size_t)colon);
	for (i = 0; i < s->conf.n_domains; i++) {
		domain = str_of(s->conf.domains[i]);
		if (host.len < domain.len + 2 ||
		    !str_ieq(str_skip(host, host.len - domain.len), domain) ||
		    host.p[host.len - domain.len - 1] != '.')
			continue;
		ret = arena_str(a, str_sub(host, 0, host.len - domain.len - 1));
		if (ret.p == NULL)
			return STR_NULL;
		p = (char *)(uintptr_t)ret.p;
		for (j = 0; j < ret.len; j++)
			if (p[j] >= 'A' && p[j] <= 'Z')
				p[j] = (char)(p[j] - 'A' + 'a');
		return ret;
	}
	return STR_LIT("");
}

int
s3_parse_target(struct s3_req *r, struct err *e)
{
	const struct http_info *i = r->info;
	struct str path = i->path, bucket;
	int rc;

	r->method = method_of(i->method);
	r->auth_in = (struct auth_input){
		.method = i->method,
		.path = i->path,
		.query = i->query,
		.headers = i->headers,
		.n_headers = i->n_headers,
		.now_s = clock_real_s(),
		.service = STR_LIT("s3"),
	};
	if (path.len == 0 || path.p[0] != '/')
		return err_set(e, ERR_INVALID_URI, NULL);
	bucket = vhost_bucket(r->s3, i->host, r->a);
	if (bucket.p == NULL)
		return s3_no_memory(e);
	path = str_skip(path, 1);
	if (bucket.len > 0) {
		r->is_vhost = true;
		r->auth_in.bucket_vhost = bucket;
		r->bucket_name = bucket;
	} else {
		bucket = str_split(&path, '/');
		if (bucket.len == 0 && path.p != NULL)
			return err_set(e, ERR_INVALID_BUCKET_NAME, NULL);
		rc = decode(r, bucket, &r->bucket_name, e);
		if (rc < 0)
			return rc;
	}
	rc = decode(r, path, &r->key, e);
	if (rc == 0)
		rc = parse_query(r, e);
	if (rc < 0)
		return rc;
	if (r->key.len > 0)
		r->level = LEVEL_OBJECT;
	else if (r->bucket_name.len > 0)
		r->level = LEVEL_BUCKET;
	else
		r->level = LEVEL_SERVICE;
	return 0;
}

struct str
s3_param(const struct s3_req *r, const char *name)
{
	struct str want = str_of(name);
	size_t i;

	for (i = 0; i < r->n_params; i++)
		if (str_eq(r->params[i].name, want))
			return r->params[i].value;
	return STR_NULL;
}

bool
s3_has_param(const struct s3_req *r, const char *name)
{
	return s3_param(r, name).p != NULL;
}

struct str
s3_header(const struct s3_req *r, const char *name)
{
	struct str v = http_header(r->http, name);
	const struct header *h;

	if (v.p != NULL || r->n_params == 0 ||
	    strncmp(name, "x-amz-", 6) != 0 || !r->is_hoisted)
		return v;
	h = header_find(r->params, r->n_params, name);
	return h != NULL ? h->value : STR_NULL;
}

bool
s3_has_header(const struct s3_req *r, const char *name)
{
	return s3_header(r, name).p != NULL;
}

static bool
has_named(const struct s3_req *r, struct str name)
{
	size_t i;

	for (i = 0; i < r->info->n_headers; i++)
		if (str_ieq(r->info->headers[i].name, name))
			return true;
	return false;
}

/* @other: where a header of that name counts and the parameter does not. */
static int
each(const struct header *h, size_t n, const struct s3_req *other,
    struct str prefix,
    int (*fn)(void *arg, struct str name, struct str value, struct err *e),
    void *arg, struct err *e)
{
	size_t i;
	int rc;

	for (i = 0; i < n; i++) {
		if (!str_ieq(str_sub(h[i].name, 0, prefix.len), prefix) ||
		    (other != NULL && has_named(other, h[i].name)))
			continue;
		rc = fn(arg, h[i].name, h[i].value, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
s3_each_header(const struct s3_req *r, const char *prefix,
    int (*fn)(void *arg, struct str name, struct str value, struct err *e),
    void *arg, struct err *e)
{
	struct str p = str_of(prefix);
	int rc;

	rc = each(r->info->headers, r->info->n_headers, NULL, p, fn, arg, e);
	if (rc == 0 && r->n_params > 0 && r->is_hoisted)
		rc = each(r->params, r->n_params, r, p, fn, arg, e);
	return rc;
}

int
s3_param_count(struct s3_req *r, const char *name, uint32_t max, uint32_t *ret,
    struct err *e)
{
	struct str v = s3_param(r, name);
	uint64_t n = max;

	if (v.len > 0 && !str_to_u64(v, INT32_MAX, &n)) {
		s3_extra(r, "ArgumentName", str_of(name));
		s3_extra(r, "ArgumentValue", v);
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Argument %s must be an integer between 0 and 2147483647",
		    name);
	}
	*ret = n > max ? max : (uint32_t)n;
	return 0;
}

int
s3_param_encoding(struct s3_req *r, bool *ret_url, struct err *e)
{
	struct str v = s3_param(r, "encoding-type");

	if (v.len > 0 && !str_ieq(v, STR_LIT("url"))) {
		s3_extra(r, "ArgumentName", STR_LIT("encoding-type"));
		s3_extra(r, "ArgumentValue", v);
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Invalid Encoding Method specified in Request");
	}
	*ret_url = v.len > 0;
	return 0;
}

int
s3_check_version(struct s3_req *r, struct str version, struct err *e)
{
	if (version.p == NULL || str_eqz(version, "null"))
		return 0;
	s3_extra(r, "VersionId", version);
	if (version.len == 32) /* the form of AWS's and of ours to come */
		return err_set(e, ERR_NO_SUCH_VERSION, NULL);
	s3_extra(r, "ArgumentName", STR_LIT("versionId"));
	s3_extra(r, "ArgumentValue", version);
	return err_set(e, ERR_INVALID_ARGUMENT, "Invalid version id specified");
}

int
s3_param_part(struct s3_req *r, uint32_t *ret, struct err *e)
{
	struct str v = s3_param(r, "partNumber");
	uint64_t n;

	if (!str_to_u64(v, S3_PARTS_MAX, &n) || n == 0) {
		s3_extra(r, "ArgumentName", STR_LIT("partNumber"));
		s3_extra(r, "ArgumentValue", v);
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, "
		    "inclusive");
	}
	*ret = (uint32_t)n;
	return 0;
}
