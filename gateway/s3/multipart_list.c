/* gateway/s3/multipart_list.c - ListParts and ListMultipartUploads. */
#include "gateway/s3/doc.h"
#include "gateway/s3/multipart.h"

#define PAGE_MAX 1000

static struct str
storage_class(const struct header *h, size_t n)
{
	h = header_find(h, n, "x-amz-storage-class");
	return h != NULL ? h->value : STR_LIT("STANDARD");
}

static void
upload_checksum(struct doc *d, const struct upload *u)
{
	if (u->checksum_alg == CHECKSUM_NONE)
		return;
	doc_textz(d, "ChecksumAlgorithm", checksum_name(u->checksum_alg));
	doc_textz(d, "ChecksumType",
	    u->checksum_is_composite ? "COMPOSITE" : "FULL_OBJECT");
}

/* --- ListParts --- */

static void
write_part(struct doc *d, const struct upload *u, const struct object_part *p)
{
	doc_open(d, "Part");
	doc_u64(d, "PartNumber", p->number);
	doc_time(d, "LastModified", p->mtime_ns);
	doc_etag(d, p->etag);
	doc_u64(d, "Size", p->size);
	if (u->checksum_alg != CHECKSUM_NONE)
		doc_checksum(d, &p->checksum, 0);
	doc_close(d, "Part");
}

int
s3_list_parts(struct s3_req *r, struct err *e)
{
	struct object_part *parts = NULL;
	uint32_t max, after;
	bool url, more = false;
	struct upload u;
	struct doc d;
	size_t n = 0, i;
	int rc;

	rc = s3_param_count(r, "max-parts", PAGE_MAX, &max, e);
	if (rc == 0)
		rc = s3_param_count(r, "part-number-marker", INT32_MAX, &after,
		    e);
	if (s3_param(r, "part-number-marker").len == 0)
		after = 0;
	if (rc == 0)
		rc = s3_param_encoding(r, &url, e);
	if (rc == 0)
		rc = s3_find_upload(r, &u, e);
	if (rc == 0 && max > 0)
		rc = part_list(r->s3->conf.store, &r->bucket, r->key,
		    s3_param(r, "uploadId"), after, max, r->a, &parts, &n,
		    &more, e);
	if (rc < 0)
		return rc;
	doc_init(&d, "ListPartsResult", S3_XMLNS);
	d.url = url;
	doc_text(&d, "Bucket", r->bucket_name);
	doc_name(&d, "Key", r->key);
	if (url)
		doc_textz(&d, "EncodingType", "url");
	doc_textz(&d, "UploadId", u.id);
	doc_owner(&d, "Initiator", u.owner_id, u.owner_name);
	doc_owner(&d, "Owner", u.owner_id, u.owner_name);
	doc_text(&d, "StorageClass", storage_class(u.headers, u.n_headers));
	doc_u64(&d, "PartNumberMarker", after);
	if (n > 0)
		doc_u64(&d, "NextPartNumberMarker", parts[n - 1].number);
	doc_u64(&d, "MaxParts", max);
	doc_bool(&d, "IsTruncated", more);
	upload_checksum(&d, &u);
	for (i = 0; i < n; i++)
		write_part(&d, &u, &parts[i]);
	return doc_reply(&d, r, 200, e);
}

/* --- ListMultipartUploads --- */

static void
write_upload(struct doc *d, const struct upload *u)
{
	doc_open(d, "Upload");
	doc_name(d, "Key", u->key);
	doc_textz(d, "UploadId", u->id);
	doc_owner(d, "Initiator", u->owner_id, u->owner_name);
	doc_owner(d, "Owner", u->owner_id, u->owner_name);
	doc_text(d, "StorageClass", storage_class(u->headers, u->n_headers));
	doc_time(d, "Initiated", u->created_ns);
	upload_checksum(d, u);
	doc_close(d, "Upload");
}

struct uploads {
	struct str prefix, delimiter, key_marker, id_marker;
	uint32_t max;
	struct upload_entry *u;
	size_t n;
	bool more;
};

static void
write_uploads(struct doc *d, const struct uploads *l)
{
	const struct upload_entry *last = l->n > 0 ? &l->u[l->n - 1] : NULL;
	size_t i;

	doc_name(d, "KeyMarker", l->key_marker);
	doc_text(d, "UploadIdMarker", l->id_marker);
	if (l->more && last != NULL) {
		doc_name(d, "NextKeyMarker", last->u.key);
		if (!last->is_prefix)
			doc_textz(d, "NextUploadIdMarker", last->u.id);
	}
	doc_name(d, "Prefix", l->prefix);
	if (l->delimiter.len > 0)
		doc_name(d, "Delimiter", l->delimiter);
	doc_u64(d, "MaxUploads", l->max);
	if (d->url)
		doc_textz(d, "EncodingType", "url");
	doc_bool(d, "IsTruncated", l->more);
	for (i = 0; i < l->n; i++)
		if (!l->u[i].is_prefix)
			write_upload(d, &l->u[i].u);
	for (i = 0; i < l->n; i++) {
		if (!l->u[i].is_prefix)
			continue;
		doc_open(d, "CommonPrefixes");
		doc_name(d, "Prefix", l->u[i].u.key);
		doc_close(d, "CommonPrefixes");
	}
}

int
s3_list_uploads(struct s3_req *r, struct err *e)
{
	struct uploads l = { 0 };
	bool url;
	struct doc d;
	int rc;

	l.prefix = s3_param(r, "prefix");
	l.delimiter = s3_param(r, "delimiter");
	l.key_marker = s3_param(r, "key-marker");
	l.id_marker = s3_param(r, "upload-id-marker");
	if (l.key_marker.len == 0)
		l.id_marker = STR_NULL; /* means nothing without a key */
	rc = s3_param_count(r, "max-uploads", PAGE_MAX, &l.max, e);
	if (rc == 0)
		rc = s3_param_encoding(r, &url, e);
	if (rc == 0 && l.max > 0) {
		rc = upload_list(r->s3->conf.store, &r->bucket, l.prefix,
		    l.delimiter, l.key_marker, l.id_marker, l.max, r->a, &l.u,
		    &l.n, &l.more, e);
		if (rc == ERR_INVALID_ARGUMENT) {
			bool is_key = l.key_marker.len > S3_KEY_MAX;

			s3_extra(r, "ArgumentName",
			    is_key ? STR_LIT("key-marker")
				   : STR_LIT("upload-id-marker"));
			s3_extra(r, "ArgumentValue",
			    is_key ? l.key_marker : l.id_marker);
		}
	}
	if (rc < 0)
		return rc;
	doc_init(&d, "ListMultipartUploadsResult", S3_XMLNS);
	d.url = url;
	doc_text(&d, "Bucket", r->bucket_name);
	write_uploads(&d, &l);
	return doc_reply(&d, r, 200, e);
}
