/* gateway/s3/list.c - ListObjects, ListObjectsV2, ListObjectVersions. */
#include "gateway/s3/checksums.h"
#include "gateway/s3/doc.h"
#include "gateway/s3/token.h"

#define KEYS_MAX 1000

struct listing {
	struct s3_req *r;
	struct list_spec spec;
	struct list_page page;
	struct doc d;
	bool owner; /* tell it */
};

static int
common_params(struct listing *l, bool *ret_url, struct err *e)
{
	struct s3_req *r = l->r;
	int rc;

	rc = s3_param_count(r, "max-keys", KEYS_MAX, &l->spec.max, e);
	if (rc == 0)
		rc = s3_param_encoding(r, ret_url, e);
	l->spec.prefix = s3_param(r, "prefix");
	l->spec.delimiter = s3_param(r, "delimiter");
	return rc;
}

static int
run(struct listing *l, struct err *e)
{
	if (l->spec.max == 0) {
		memset(&l->page, 0, sizeof(l->page));
		return 0;
	}
	return object_list(l->r->s3->conf.store, &l->r->bucket, &l->spec,
	    l->r->a, &l->page, e);
}

static void
head(struct listing *l)
{
	doc_text(&l->d, "Name", l->r->bucket_name);
	doc_name(&l->d, "Prefix", l->spec.prefix);
	if (l->spec.delimiter.len > 0)
		doc_name(&l->d, "Delimiter", l->spec.delimiter);
	doc_u64(&l->d, "MaxKeys", l->spec.max);
	if (l->d.url)
		doc_textz(&l->d, "EncodingType", "url");
	doc_bool(&l->d, "IsTruncated", l->page.is_truncated);
}

static struct str
storage_class(const struct object *o)
{
	const struct header *h =
	    header_find(o->headers, o->n_headers, "x-amz-storage-class");

	return h != NULL ? h->value : STR_LIT("STANDARD");
}

static void
entry(struct listing *l, const struct list_entry *t, const char *element,
    bool versions)
{
	struct doc *d = &l->d;

	doc_open(d, element);
	doc_name(d, "Key", t->key);
	if (versions) {
		doc_textz(d, "VersionId", "null");
		doc_textz(d, "IsLatest", "true");
	}
	doc_time(d, "LastModified", t->o.mtime_ns);
	doc_etag(d, t->o.etag);
	if (t->o.checksum.alg != CHECKSUM_NONE) {
		doc_textz(d, "ChecksumAlgorithm",
		    checksum_name(t->o.checksum.alg));
		doc_checksum_type(d, &t->o.checksum);
	}
	doc_u64(d, "Size", t->o.size);
	if (l->owner)
		doc_owner(d, "Owner", t->o.owner_id, t->owner_name);
	doc_text(d, "StorageClass", storage_class(&t->o));
	doc_close(d, element);
}

static void
entries(struct listing *l, const char *element, bool versions)
{
	size_t i;

	for (i = 0; i < l->page.n; i++)
		if (!l->page.entries[i].is_prefix)
			entry(l, &l->page.entries[i], element, versions);
	for (i = 0; i < l->page.n; i++) {
		if (!l->page.entries[i].is_prefix)
			continue;
		doc_open(&l->d, "CommonPrefixes");
		doc_name(&l->d, "Prefix", l->page.entries[i].key);
		doc_close(&l->d, "CommonPrefixes");
	}
}

/* The page, and the answer as far as it is the same for all of them. */
static int
begin(struct listing *l, const char *root, bool url, struct err *e)
{
	int rc = run(l, e);

	if (rc < 0)
		return rc;
	doc_init(&l->d, root, S3_XMLNS);
	l->d.url = url;
	head(l);
	return 0;
}

/* What pages the other version: ignored, it would make the client begin anew
 * without end. AWS refuses it, empty or not. */
static int
refuse_param(struct s3_req *r, const char *name, const char *why, struct err *e)
{
	if (!s3_has_param(r, name))
		return 0;
	s3_extra(r, "ArgumentName", str_of(name));
	return err_set(e, ERR_INVALID_ARGUMENT, "%s", why);
}

int
s3_list_objects(struct s3_req *r, struct err *e)
{
	struct listing l = { .r = r, .owner = true };
	bool url = false;
	int rc;

	l.spec.after = s3_param(r, "marker");
	l.spec.fetch_owner = true;
	rc = refuse_param(r, "continuation-token",
	    "continuation-token only supported in REST.GET.BUCKET with "
	    "list-type=2",
	    e);
	if (rc == 0)
		rc = refuse_param(r, "start-after",
		    "startAfter only supported in REST.GET.BUCKET with "
		    "list-type=2",
		    e);
	if (rc == 0)
		rc = common_params(&l, &url, e);
	if (rc == 0)
		rc = begin(&l, "ListBucketResult", url, e);
	if (rc < 0)
		return rc;
	doc_name(&l.d, "Marker", l.spec.after);
	/* without a delimiter the last key says the same */
	if (l.page.is_truncated && l.spec.delimiter.len > 0)
		doc_name(&l.d, "NextMarker", l.page.next);
	entries(&l, "Contents", false);
	return doc_reply(&l.d, r, 200, e);
}

static int
v2_start(struct listing *l, struct str token, struct err *e)
{
	int rc;

	if (token.len == 0) {
		l->spec.after = s3_param(l->r, "start-after");
		return 0;
	}
	rc = token_read(token, l->r->a, &l->spec.after, e);
	if (rc == ERR_INVALID_ARGUMENT)
		s3_extra(l->r, "ArgumentName", STR_LIT("continuation-token"));
	return rc;
}

int
s3_list_objects_v2(struct s3_req *r, struct err *e)
{
	struct listing l = { .r = r };
	struct str token = s3_param(r, "continuation-token");
	struct str start_after = s3_param(r, "start-after");
	bool url = false;
	int rc;

	if (!str_eqz(s3_param(r, "list-type"), "2"))
		return s3_list_objects(r, e); /* 1, 3 and "" too, as on AWS */
	l.owner = str_ieq(s3_param(r, "fetch-owner"), STR_LIT("true"));
	l.spec.fetch_owner = l.owner;
	rc = refuse_param(r, "marker",
	    "Marker unsupported with REST.GET.BUCKET in list-type=2", e);
	if (rc == 0)
		rc = common_params(&l, &url, e);
	if (rc == 0)
		rc = v2_start(&l, token, e);
	if (rc == 0)
		rc = begin(&l, "ListBucketResult", url, e);
	if (rc < 0)
		return rc;
	doc_u64(&l.d, "KeyCount", l.page.n);
	if (token.p != NULL)
		doc_text(&l.d, "ContinuationToken", token);
	if (l.page.is_truncated)
		doc_text(&l.d, "NextContinuationToken",
		    token_make(l.page.next, r->a));
	if (start_after.p != NULL)
		doc_name(&l.d, "StartAfter", start_after);
	entries(&l, "Contents", false);
	return doc_reply(&l.d, r, 200, e);
}

/* Until there is versioning each key has one version, "null". */
int
s3_list_object_versions(struct s3_req *r, struct err *e)
{
	struct listing l = { .r = r, .owner = true };
	struct str id_marker = s3_param(r, "version-id-marker");
	const struct list_entry *last;
	bool url = false;
	int rc;

	l.spec.after = s3_param(r, "key-marker");
	l.spec.fetch_owner = true;
	if (id_marker.len > 0 && l.spec.after.len == 0)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "A version-id marker cannot be specified without a key "
		    "marker.");
	rc = common_params(&l, &url, e);
	if (rc == 0)
		rc = begin(&l, "ListVersionsResult", url, e);
	if (rc < 0)
		return rc;
	doc_name(&l.d, "KeyMarker", l.spec.after);
	doc_text(&l.d, "VersionIdMarker", id_marker);
	if (l.page.is_truncated) {
		last = &l.page.entries[l.page.n - 1];
		doc_name(&l.d, "NextKeyMarker", l.page.next);
		if (!last->is_prefix)
			doc_textz(&l.d, "NextVersionIdMarker", "null");
	}
	entries(&l, "Version", true);
	return doc_reply(&l.d, r, 200, e);
}
