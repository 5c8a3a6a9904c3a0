/* gateway/s3/object_copy.c - CopyObject and UploadPartCopy: no data moves; the
 * bytes are only read where a digest of them is asked for that is not there. */
#include "gateway/s3/conditions.h"
#include "gateway/s3/copy_source.h"
#include "gateway/s3/doc.h"
#include "gateway/s3/headers.h"
#include "gateway/s3/multipart.h"
#include "gateway/s3/range.h"

#define COPY_TRIES 4
#define DOC_ROOM 4096

/* --- CopyObject --- */

static int
directive(struct s3_req *r, bool *ret_replace, struct err *e)
{
	struct str v = s3_header(r, "x-amz-metadata-directive");

	*ret_replace = str_eqz(v, "REPLACE");
	if (v.p == NULL || *ret_replace || str_eqz(v, "COPY"))
		return 0;
	s3_extra(r, "ArgumentName", STR_LIT("x-amz-metadata-directive"));
	s3_extra(r, "ArgumentValue", v);
	return err_set(e, ERR_INVALID_ARGUMENT, "Unknown metadata directive.");
}

/* Of UploadPartCopy alone: who asks for a part must not get the whole. */
static int
refuse_range(struct s3_req *r, struct err *e)
{
	struct str v = s3_header(r, "x-amz-copy-source-range");

	if (v.p == NULL)
		return 0;
	s3_extra(r, "ArgumentName", STR_LIT("x-amz-copy-source-range"));
	s3_extra(r, "ArgumentValue", v);
	return err_set(e, ERR_INVALID_ARGUMENT,
	    "The specified header is not valid in this context");
}

static bool
is_same(const struct s3_req *r, const struct copy_source *s)
{
	return s->bucket.incarnation == r->bucket.incarnation &&
	       str_eq(s->key, r->key);
}

/* The source's headers, but for those that S3 never copies. */
static int
copied_headers(struct s3_req *r, const struct copy_source *s, struct object *o,
    struct err *e)
{
	static const char *const own[] = { "x-amz-storage-class",
		"x-amz-website-redirect-location" };
	struct header *asked;
	const struct header *h;
	size_t n_asked, i;
	int rc;

	rc = s3_object_headers(r, &asked, &n_asked, e);
	if (rc < 0)
		return rc;
	o->headers =
	    arena_alloc(r->a, (s->o.n_headers + 2) * sizeof(*o->headers));
	if (o->headers == NULL)
		return s3_no_memory(e);
	for (i = 0; i < s->o.n_headers; i++) {
		h = &s->o.headers[i];
		if (!str_eqz(h->name, own[0]) && !str_eqz(h->name, own[1]))
			o->headers[o->n_headers++] = *h;
	}
	for (i = 0; i < 2; i++) {
		h = header_find(asked, n_asked, own[i]);
		if (h != NULL)
			o->headers[o->n_headers++] = *h;
	}
	return 0;
}

static int
copy_headers(struct s3_req *r, const struct copy_source *s, bool replace,
    struct object *o, struct err *e)
{
	if (replace)
		return s3_object_headers(r, &o->headers, &o->n_headers, e);
	if (is_same(r, s) && !s3_has_header(r, "x-amz-storage-class") &&
	    !s3_has_header(r, "x-amz-website-redirect-location"))
		return err_set(e, ERR_INVALID_REQUEST,
		    "This copy request is illegal because it is trying to copy "
		    "an object to itself without changing the object's "
		    "metadata, storage class, website redirect location or "
		    "encryption attributes.");
	return copied_headers(r, s, o, e);
}

static int
copy_checksum(struct s3_req *r, struct copy_source *s, struct object *o,
    struct err *e)
{
	struct str v = s3_header(r, "x-amz-checksum-algorithm");
	struct hash_values values;
	uint8_t alg;
	int rc;

	o->etag = s->o.etag;
	o->checksum = s->o.checksum;
	o->n_parts = s->o.n_parts;
	if (v.p == NULL)
		return 0;
	alg = checksum_by_name(v);
	if (alg == CHECKSUM_NONE)
		return s3_bad_algorithm(e);
	if (alg == o->checksum.alg && !o->checksum.is_composite)
		return 0;
	rc = s3_source_hash(r, s, 0, s->o.size, HASH_BIT(checksum_hash(alg)),
	    &values, e);
	if (rc == 0)
		checksum_take(alg, &values, &o->checksum);
	return rc;
}

static int
reply_copy(struct s3_req *r, struct doc *d, const struct object *o,
    bool is_part, struct err *e)
{
	doc_time(d, "LastModified", o->mtime_ns);
	doc_etag(d, o->etag);
	doc_checksum(d, &o->checksum, o->n_parts);
	if (!is_part)
		doc_checksum_type(d, &o->checksum);
	return doc_reply(d, r, 200, e);
}

static int
copy_once(struct s3_req *r, bool replace, const struct write_cond *cond,
    struct object *o, struct err *e)
{
	struct copy_source s;
	struct user owner;
	int rc;

	*o = (struct object){ .key = r->key };
	rc = s3_source_open(r, &s, e);
	if (rc == 0)
		rc = copy_headers(r, &s, replace, o, e);
	if (rc == 0)
		rc = copy_checksum(r, &s, o, e);
	s3_owner(&r->bucket, &owner);
	if (rc == 0)
		rc = object_copy(s.rd, &r->bucket, r->key, &owner, cond, o, e);
	object_close(&s.rd);
	return rc;
}

int
s3_copy_object(struct s3_req *r, struct err *e)
{
	struct write_cond cond;
	struct object o;
	struct doc d;
	bool replace = false;
	int i, rc;

	rc = refuse_range(r, e);
	if (rc == 0)
		rc = directive(r, &replace, e);
	if (rc == 0)
		rc = s3_write_cond(r, &cond, e);
	if (rc < 0)
		return rc;
	doc_init(&d, "CopyObjectResult", S3_XMLNS);
	rc = doc_room(&d, DOC_ROOM, e);
	if (rc < 0)
		return rc;
	/* Replaced between its opening and the commit: look at it anew. */
	for (i = 0, rc = ERR_RETRY; rc == ERR_RETRY && i < COPY_TRIES; i++)
		rc = copy_once(r, replace, &cond, &o, e);
	if (rc == 0)
		return reply_copy(r, &d, &o, false, e);
	doc_fini(&d);
	return rc;
}

/* --- UploadPartCopy --- */

static int
choose_range(struct s3_req *r, const struct copy_source *s, uint64_t *ret_off,
    uint64_t *ret_len, struct err *e)
{
	struct str v = s3_header(r, "x-amz-copy-source-range");
	uint64_t first, last;

	if (v.p == NULL) {
		*ret_off = 0;
		*ret_len = s->o.size;
		return 0;
	}
	s3_extra(r, "ArgumentName", STR_LIT("x-amz-copy-source-range"));
	s3_extra(r, "ArgumentValue", v);
	if (!range_parse_copy(v, &first, &last))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The x-amz-copy-source-range value must be of the form "
		    "bytes=first-last where first and last are the zero-based "
		    "offsets of the first and last bytes to copy");
	if (last >= s->o.size)
		return err_set(e, ERR_INVALID_RANGE,
		    "Range specified is not valid for source object of size: "
		    "%ju",
		    (uintmax_t)s->o.size);
	r->n_extra -= 2;
	*ret_off = first;
	*ret_len = last - first + 1;
	return 0;
}

/* ETag and checksum of the bytes: from the record where it has them. */
static int
part_digests(struct s3_req *r, struct copy_source *s, uint64_t off,
    uint64_t len, uint8_t alg, struct object_part *p, struct err *e)
{
	bool is_whole = off == 0 && len == s->o.size;
	struct hash_values v;
	unsigned mask = 0;
	int rc;

	if (is_whole && s->o.etag.len == 32)
		p->etag = s->o.etag;
	else
		mask |= HASH_BIT(HASH_MD5);
	if (is_whole && s->o.checksum.alg == alg && !s->o.checksum.is_composite)
		p->checksum = s->o.checksum;
	else
		mask |= HASH_BIT(checksum_hash(alg));
	if (mask == 0)
		return 0;
	rc = s3_source_hash(r, s, off, len, mask, &v, e);
	if (rc < 0)
		return rc;
	if (p->etag.p == NULL)
		p->etag = s3_etag_of(r, &v);
	if (p->etag.p == NULL)
		return s3_no_memory(e);
	if (p->checksum.alg == CHECKSUM_NONE)
		checksum_take(alg, &v, &p->checksum);
	return 0;
}

int
s3_upload_part_copy(struct s3_req *r, struct err *e)
{
	struct object_part part = { 0 };
	struct object o = { 0 };
	struct copy_source s = { .rd = NULL };
	struct upload u;
	struct doc d;
	uint64_t off = 0, len = 0;
	uint8_t alg;
	int rc;

	rc = s3_part_target(r, &u, &part.number, e);
	if (rc < 0)
		return rc;
	alg = u.checksum_alg != CHECKSUM_NONE ? u.checksum_alg
	                                      : CHECKSUM_CRC64NVME;
	rc = s3_source_open(r, &s, e);
	if (rc == 0)
		rc = choose_range(r, &s, &off, &len, e);
	if (rc == 0)
		rc = part_digests(r, &s, off, len, alg, &part, e);
	if (rc == 0)
		rc = part_copy(s.rd, off, len, &r->bucket, r->key, str_of(u.id),
		    part.number, &part, e);
	object_close(&s.rd);
	if (rc < 0)
		return rc;
	o.mtime_ns = part.mtime_ns;
	o.etag = part.etag;
	if (u.checksum_alg != CHECKSUM_NONE)
		o.checksum = part.checksum;
	doc_init(&d, "CopyPartResult", S3_XMLNS);
	return reply_copy(r, &d, &o, true, e);
}
