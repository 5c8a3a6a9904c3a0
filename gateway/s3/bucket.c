/* gateway/s3/bucket.c - ListBuckets, Create, Head and Delete bucket,
 * GetBucketLocation. */
#include "gateway/s3/body.h"
#include "gateway/s3/doc.h"
#include "gateway/s3/token.h"

#define CONFIG_MAX (64 * 1024)
#define PAGE 1000
#define BUCKETS_MAX 10000

static const char *
region_of(const struct s3 *s, const struct bucket *b)
{
	return b->location[0] != '\0' ? b->location : s->region;
}

/* --- ListBuckets --- */

struct buckets {
	struct s3_req *r;
	struct str prefix, after, region;
	uint32_t max, n;
	bool more;
	struct doc d;
	char last[64];
};

static int
add_page(struct buckets *l, struct arena *a, struct err *e)
{
	struct s3_req *r = l->r;
	struct bucket *b = NULL;
	size_t n = 0, i, want = l->max - l->n < PAGE ? l->max - l->n : PAGE;
	int rc;

	rc = bucket_list(r->s3->conf.store, r->user.is_root ? "" : r->user.id,
	    l->prefix, l->after, want, a, &b, &n, &l->more, e);
	if (rc < 0)
		return rc;
	for (i = 0; i < n; i++) {
		const char *region = region_of(r->s3, &b[i]);

		memcpy(l->last, b[i].name, sizeof(l->last));
		if (l->region.len > 0 && !str_eqz(l->region, region))
			continue;
		doc_open(&l->d, "Bucket");
		doc_textz(&l->d, "Name", b[i].name);
		doc_time(&l->d, "CreationDate", b[i].created_ns);
		doc_textz(&l->d, "BucketRegion", region);
		doc_close(&l->d, "Bucket");
		l->n++;
	}
	l->after = str_of(l->last);
	if (n == 0)
		l->more = false;
	return 0;
}

static int
buckets_params(struct buckets *l, struct err *e)
{
	struct s3_req *r = l->r;
	struct str v = s3_param(r, "max-buckets");
	uint64_t n = BUCKETS_MAX;

	if (v.p != NULL && (!str_to_u64(v, BUCKETS_MAX, &n) || n == 0)) {
		s3_extra(r, "ArgumentName", STR_LIT("max-buckets"));
		s3_extra(r, "ArgumentValue", v);
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Argument max-buckets must be an integer between 1 and "
		    "10000");
	}
	l->max = (uint32_t)n;
	l->prefix = s3_param(r, "prefix");
	l->region = s3_param(r, "bucket-region");
	v = s3_param(r, "continuation-token");
	return v.len > 0 ? token_read(v, r->a, &l->after, e) : 0;
}

int
s3_list_buckets(struct s3_req *r, struct err *e)
{
	struct buckets l = { .r = r };
	struct arena *a;
	int rc;

	rc = buckets_params(&l, e);
	if (rc < 0)
		return rc;
	a = arena_new(4 * 1024 * 1024);
	if (a == NULL)
		return s3_no_memory(e);
	doc_init(&l.d, "ListAllMyBucketsResult", S3_XMLNS);
	doc_owner(&l.d, "Owner", r->user.id, r->user.name);
	doc_open(&l.d, "Buckets");
	do {
		rc = add_page(&l, a, e);
		arena_reset(a);
	} while (rc == 0 && l.more && l.n < l.max);
	arena_free(&a);
	doc_close(&l.d, "Buckets");
	if (rc < 0) {
		doc_fini(&l.d);
		return rc;
	}
	if (l.more)
		doc_text(&l.d, "ContinuationToken",
		    token_make(str_of(l.last), r->a));
	if (l.prefix.p != NULL)
		doc_text(&l.d, "Prefix", l.prefix);
	return doc_reply(&l.d, r, 200, e);
}

/* --- CreateBucket --- */

static int
read_location(struct s3_req *r, struct str *ret, struct err *e)
{
	static const struct xml_limits limits = { CONFIG_MAX, 0, 1000 };
	struct buf body = BUF_CAP(CONFIG_MAX + 1);
	struct xml_node *root;
	const struct xml_node *n;
	int rc;

	*ret = STR_LIT("");
	rc = s3_body_all(r, CONFIG_MAX, 0, &body, e);
	if (rc < 0 || body.len == 0)
		goto out;
	rc = xml_parse(buf_str(&body), "CreateBucketConfiguration", &limits,
	    r->a, &root, e);
	if (rc == 0)
		rc = xml_child_once(root, "LocationConstraint", &n, e);
	if (rc == 0 && n != NULL) {
		*ret = n->text;
		if (n->first != NULL)
			rc = err_set(e, ERR_MALFORMED_XML, NULL);
		else if (ret->len >= sizeof(r->bucket.location))
			rc = err_set(e, ERR_ILLEGAL_LOCATION_CONSTRAINT, NULL);
	}
	if (rc == 0 && xml_child(root, "Tags") != NULL)
		rc = err_set(e, ERR_NOT_IMPLEMENTED,
		    "Bucket tags are not implemented.");
out:
	buf_fini(&body);
	return rc;
}

int
s3_create_bucket(struct s3_req *r, struct err *e)
{
	struct str location;
	int rc;

	if (!bucket_name_is_valid(r->bucket_name)) {
		s3_extra(r, "BucketName", r->bucket_name);
		return err_set(e, ERR_INVALID_BUCKET_NAME, NULL);
	}
	rc = read_location(r, &location, e);
	if (rc < 0)
		return rc;
	rc = bucket_create(r->s3->conf.store, &r->user, r->bucket_name,
	    location, &r->bucket, e);
	/* AWS's oldest region lets the owner create again; others answer 409 */
	if (rc == ERR_BUCKET_ALREADY_OWNED_BY_YOU &&
	    strcmp(r->s3->region, "us-east-1") == 0)
		rc = 0;
	if (rc < 0) {
		s3_extra(r, "BucketName", r->bucket_name);
		return rc;
	}
	http_setf(r->http, "Location", "/" STR_FMT, STR_ARG(r->bucket_name));
	http_reply(r->http, 200, STR_LIT(""));
	return 0;
}

int
s3_head_bucket(struct s3_req *r, struct err *e)
{
	(void)e;
	http_setz(r->http, "x-amz-bucket-region", region_of(r->s3, &r->bucket));
	http_setz(r->http, "x-amz-access-point-alias", "false");
	http_setz(r->http, "Content-Type", "application/xml");
	http_reply(r->http, 200, STR_LIT(""));
	return 0;
}

int
s3_delete_bucket(struct s3_req *r, struct err *e)
{
	int rc;

	rc = bucket_delete(r->s3->conf.store, &r->bucket, e);
	if (rc < 0) {
		s3_extra(r, "BucketName", r->bucket_name);
		return rc;
	}
	http_reply(r->http, 204, STR_LIT(""));
	return 0;
}

int
s3_get_bucket_location(struct s3_req *r, struct err *e)
{
	const char *region = region_of(r->s3, &r->bucket);
	struct doc d;

	doc_init(&d, "LocationConstraint", S3_XMLNS);
	if (strcmp(region, "us-east-1") != 0 && d.w.rc == 0)
		d.w.rc = xml_escape(&d.b, str_of(region));
	return doc_reply(&d, r, 200, e);
}
