/* gateway/s3/copy_source.c - sources of copies (copy_source.h). */
#include "gateway/s3/copy_source.h"

#include "gateway/s3/conditions.h"

#define HASH_COPY_MAX ((uint64_t)5 << 30)

static int
decode(struct str raw, struct arena *a, struct str *ret)
{
	char *p = arena_alloc(a, raw.len + 1);
	size_t len;

	if (p == NULL)
		return ERR_NO_MEMORY;
	if (!pct_decode(raw, false, p, &len) || memchr(p, 0, len) != NULL ||
	    !utf8_is_valid(str_mem(p, len)))
		return ERR_INVALID_ARGUMENT;
	*ret = str_mem(p, len);
	return 0;
}

int
copy_source_parse(struct str header, struct arena *a, struct str *bucket,
    struct str *key, struct str *version)
{
	static const struct str mark = { "?versionId=", 11 };
	struct str path = header, v = STR_NULL;
	ptrdiff_t at = str_find(header, mark);
	int rc;

	if (at >= 0) {
		path = str_sub(header, 0, (size_t)at);
		v = str_skip(header, (size_t)at + mark.len);
		if (v.len == 0)
			return ERR_INVALID_ARGUMENT;
		rc = decode(v, a, &v);
		if (rc < 0)
			return rc;
	}
	rc = decode(path, a, &path);
	if (rc < 0)
		return rc;
	if (path.len > 0 && path.p[0] == '/')
		path = str_skip(path, 1);
	*bucket = str_split(&path, '/');
	if (bucket->len == 0 || path.len == 0)
		return ERR_INVALID_ARGUMENT;
	*key = path;
	*version = v;
	return 0;
}

static int
find_bucket(struct s3_req *r, struct copy_source *s, struct err *e)
{
	int rc;

	if (!bucket_name_is_valid(s->bucket_name)) {
		s3_extra(r, "BucketName", s->bucket_name);
		return err_set(e, ERR_INVALID_BUCKET_NAME, NULL);
	}
	rc = bucket_get(r->s3->conf.store, s->bucket_name, &s->bucket, e);
	if (rc == ERR_NO_SUCH_BUCKET)
		s3_extra(r, "BucketName", s->bucket_name);
	if (rc == 0)
		rc = s3_authorise(r, "s3:GetObject", &s->bucket, s->key, e);
	if (rc == 0)
		rc = s3_check_owner(r, "x-amz-source-expected-bucket-owner",
		    &s->bucket, e);
	return rc;
}

static int
check(struct s3_req *r, struct copy_source *s, struct err *e)
{
	struct read_cond c;

	s3_source_cond(r, &c);
	if (cond_read(&c, s->o.etag, s->o.mtime_ns / 1000000000) == COND_PASS)
		return 0;
	return err_set(e, ERR_PRECONDITION_FAILED, NULL);
}

int
s3_source_open(struct s3_req *r, struct copy_source *s, struct err *e)
{
	struct str header = s3_header(r, "x-amz-copy-source");
	int rc;

	memset(s, 0, sizeof(*s));
	rc = copy_source_parse(header, r->a, &s->bucket_name, &s->key,
	    &s->version);
	if (rc == ERR_NO_MEMORY)
		return s3_no_memory(e);
	if (rc < 0 || http_header_count(r->http, "x-amz-copy-source") > 1) {
		s3_extra(r, "ArgumentName", STR_LIT("x-amz-copy-source"));
		s3_extra(r, "ArgumentValue", header);
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Copy Source must mention the source bucket and key: "
		    "/sourcebucket/sourcekey");
	}
	rc = find_bucket(r, s, e);
	if (rc == 0 && s->key.len > S3_KEY_MAX)
		rc = err_set(e, ERR_KEY_TOO_LONG, NULL);
	if (rc == 0)
		rc = s3_check_version(r, s->version, e);
	if (rc == 0)
		rc = object_open(r->s3->conf.store, &s->bucket, s->key,
		    s->version, r->a, &s->o, &s->rd, e);
	if (rc == ERR_NO_SUCH_KEY)
		s3_extra(r, "Key", s->key);
	if (rc == 0)
		rc = check(r, s, e);
	return rc;
}

int
s3_source_hash(struct s3_req *r, struct copy_source *s, uint64_t off,
    uint64_t len, unsigned mask, struct hash_values *ret, struct err *e)
{
	struct hashes h;
	void *buf = NULL;
	size_t n;
	int rc;

	/* AWS's limit of a copy: here none but where the bytes must be read,
	 * which takes longer than clients wait. */
	if (len > HASH_COPY_MAX)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The specified copy source is larger than the maximum "
		    "allowable size for a copy source: 5368709120");
	rc = s3_mem_get(r->s3, S3_IO_SIZE, &buf, e);
	if (rc < 0)
		return rc;
	hashes_init(&h, mask);
	while (len > 0) {
		n = len < S3_IO_SIZE ? (size_t)len : S3_IO_SIZE;
		rc = object_read(s->rd, off, buf, n, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "copy source ends early");
		if (rc < 0)
			break;
		hashes_update(&h, buf, n);
		off += n;
		len -= n;
	}
	hashes_final(&h, ret);
	s3_mem_put(r->s3, &buf, S3_IO_SIZE);
	return rc;
}
