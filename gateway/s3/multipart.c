/* gateway/s3/multipart.c - CreateMultipartUpload, UploadPart, Complete, Abort.
 *
 * An upload that names no checksum algorithm gets CRC64NVME of the full object
 * (S3 User Guide, "Checking object integrity"): each part stores its own, and
 * a checksum of another kind that a part came with is verified, not kept. */
#include "gateway/s3/multipart.h"

#include "gateway/s3/conditions.h"
#include "gateway/s3/doc.h"
#include "gateway/s3/headers.h"
#include "gateway/xml/xml.h"

#define DOC_ROOM 1024
#define COMPLETE_BODY_MAX (8 * 1024 * 1024)
#define COMPLETE_ARENA_MAX (32 * 1024 * 1024)

int
s3_bad_algorithm(struct err *e)
{
	return err_set(e, ERR_INVALID_REQUEST,
	    "Checksum algorithm provided is unsupported. Please try again "
	    "with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, "
	    "SHA256]");
}

int
s3_find_upload(struct s3_req *r, struct upload *ret, struct err *e)
{
	struct str id = s3_param(r, "uploadId");
	int rc;

	rc =
	    upload_get(r->s3->conf.store, &r->bucket, r->key, id, r->a, ret, e);
	if (rc == ERR_NO_SUCH_UPLOAD)
		s3_extra(r, "UploadId", id);
	return rc;
}

int
s3_part_target(struct s3_req *r, struct upload *ret, uint32_t *ret_number,
    struct err *e)
{
	int rc;

	if (!s3_has_param(r, "uploadId")) {
		s3_extra(r, "ArgumentName", STR_LIT("uploadId"));
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "This operation needs an uploadId.");
	}
	rc = s3_param_part(r, ret_number, e);
	return rc < 0 ? rc : s3_find_upload(r, ret, e);
}

/* --- create --- */

static int
asked_type(struct s3_req *r, uint8_t *ret_alg, bool *ret_composite,
    struct err *e)
{
	struct str alg = s3_header(r, "x-amz-checksum-algorithm");
	struct str type = s3_header(r, "x-amz-checksum-type");

	*ret_alg = CHECKSUM_NONE;
	*ret_composite = false;
	if (alg.p != NULL) {
		*ret_alg = checksum_by_name(alg);
		if (*ret_alg == CHECKSUM_NONE)
			return s3_bad_algorithm(e);
		*ret_composite = checksum_default_composite(*ret_alg);
	}
	if (type.p == NULL)
		return 0;
	if (!str_eqz(type, "COMPOSITE") && !str_eqz(type, "FULL_OBJECT"))
		return err_set(e, ERR_INVALID_REQUEST,
		    "Value for x-amz-checksum-type header is invalid.");
	if (*ret_alg == CHECKSUM_NONE)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The x-amz-checksum-type header can only be used with the "
		    "x-amz-checksum-algorithm header.");
	*ret_composite = str_eqz(type, "COMPOSITE");
	if (!checksum_allows(*ret_alg, *ret_composite))
		return err_set(e, ERR_INVALID_REQUEST,
		    "The " STR_FMT " checksum type cannot be used with the %s "
		    "checksum algorithm.",
		    STR_ARG(type), checksum_name(*ret_alg));
	return 0;
}

int
s3_create_upload(struct s3_req *r, struct err *e)
{
	struct header *headers;
	struct upload u;
	struct user owner;
	struct doc d;
	size_t n;
	uint8_t alg;
	bool composite;
	int rc;

	rc = asked_type(r, &alg, &composite, e);
	if (rc == 0)
		rc = s3_object_headers(r, &headers, &n, e);
	if (rc < 0)
		return rc;
	s3_owner(&r->bucket, &owner);
	rc = upload_create(r->s3->conf.store, &r->bucket, r->key, &owner,
	    headers, n, alg, composite, &u, e);
	if (rc < 0)
		return rc;
	if (alg != CHECKSUM_NONE) {
		http_setz(r->http, "x-amz-checksum-algorithm",
		    checksum_name(alg));
		http_setz(r->http, "x-amz-checksum-type",
		    composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	doc_init(&d, "InitiateMultipartUploadResult", S3_XMLNS);
	doc_text(&d, "Bucket", r->bucket_name);
	doc_text(&d, "Key", r->key);
	doc_textz(&d, "UploadId", u.id);
	return doc_reply(&d, r, 200, e);
}

/* --- parts --- */

static int
mismatch(uint8_t expected, uint8_t actual, struct err *e)
{
	return err_set(e, ERR_INVALID_REQUEST,
	    "Checksum Type mismatch occurred, expected checksum Type: %s, "
	    "actual checksum Type: %s",
	    checksum_name(expected), checksum_name(actual));
}

static void
reply_part(struct s3_req *r, const struct object_part *part,
    const struct s3_body *b)
{
	struct checksum c = part->checksum;
	char text[CHECKSUM_TEXT_MAX];

	if (b->want.alg != CHECKSUM_NONE && b->want.alg != c.alg)
		checksum_take(b->want.alg, &b->values, &c);
	s3_send_etag(r, part->etag);
	http_set(r->http, checksum_header(c.alg), checksum_text(&c, 0, text));
	http_reply(r->http, 200, STR_LIT(""));
}

int
s3_upload_part(struct s3_req *r, struct err *e)
{
	struct object_part part = { 0 };
	struct s3_stored st;
	struct upload u;
	struct s3_body b;
	uint8_t alg;
	int rc;

	rc = s3_part_target(r, &u, &part.number, e);
	if (rc == 0)
		rc = s3_body_open(r, r->s3->conf.max_object_size, BODY_SIZED,
		    HASH_BIT(HASH_MD5), &b, e);
	if (rc < 0)
		return rc;
	alg = u.checksum_alg;
	if (alg != CHECKSUM_NONE && b.want.alg != CHECKSUM_NONE &&
	    b.want.alg != alg)
		return mismatch(alg, b.want.alg, e);
	if (alg == CHECKSUM_NONE)
		alg = CHECKSUM_CRC64NVME;
	s3_body_add(&b, HASH_BIT(checksum_hash(alg)));
	rc = s3_store_body(&b, r->key, &st, e);
	if (rc < 0)
		return rc;
	part.etag = s3_etag_of(r, &b.values);
	checksum_take(alg, &b.values, &part.checksum);
	rc = part.etag.p == NULL ? s3_no_memory(e)
	                         : part_commit(&st.put, s3_param(r, "uploadId"),
				       part.number, &part, e);
	s3_stored_end(r, &st);
	if (rc < 0) {
		if (rc == ERR_NO_SUCH_UPLOAD)
			s3_extra(r, "UploadId", s3_param(r, "uploadId"));
		return rc;
	}
	reply_part(r, &part, &b);
	return 0;
}

int
s3_abort_upload(struct s3_req *r, struct err *e)
{
	struct str id = s3_param(r, "uploadId");
	int rc;

	rc = upload_abort(r->s3->conf.store, &r->bucket, r->key, id, e);
	if (rc < 0) {
		s3_extra(r, "UploadId", id);
		return rc;
	}
	http_reply(r->http, 204, STR_LIT(""));
	return 0;
}

/* --- complete --- */

struct complete {
	struct s3_req *r;
	struct upload u; /* id "": gone, perhaps completed before */
	struct complete_part *parts;
	size_t n;
	struct checksum want;
	uint64_t size;
	struct write_cond cond;
	struct object o;
};

static int
invalid_part(struct complete *c, uint32_t number, struct str etag,
    struct err *e)
{
	s3_extra(c->r, "UploadId", s3_param(c->r, "uploadId"));
	s3_extra_u64(c->r, "PartNumber", number);
	s3_extra(c->r, "ETag",
	    arena_str(c->r->a, etag)); /* outlives the tree */
	return err_set(e, ERR_INVALID_PART, NULL);
}

static uint8_t
stored_alg(const struct complete *c)
{
	return c->u.checksum_alg != CHECKSUM_NONE ? c->u.checksum_alg
	                                          : CHECKSUM_CRC64NVME;
}

/* The checksum element of one <Part>, as far as it can be compared. */
static int
part_checksum(struct complete *c, const struct xml_node *n,
    struct complete_part *p, struct err *e)
{
	const struct xml_node *v;
	uint8_t alg;

	for (alg = 1; alg <= CHECKSUM_XXHASH128; alg++) {
		v = xml_child(n, checksum_element(alg));
		if (v == NULL)
			continue;
		if (c->u.id[0] != '\0' && alg != stored_alg(c)) {
			if (c->u.checksum_alg != CHECKSUM_NONE)
				return invalid_part(c, p->number, p->etag, e);
			continue; /* verified when the part came */
		}
		if (!checksum_parse(alg, str_trim(v->text), false, &p->checksum,
			NULL))
			return invalid_part(c, p->number, p->etag, e);
	}
	/* A checksum left out is the part's own: it was verified on its way in. */
	return 0;
}

static int
read_part(struct complete *c, const struct xml_node *n, struct err *e)
{
	struct complete_part *p = &c->parts[c->n];
	const struct xml_node *number, *etag;
	uint64_t v;
	int rc;

	memset(p, 0, sizeof(*p));
	rc = xml_child_once(n, "PartNumber", &number, e);
	if (rc == 0)
		rc = xml_child_once(n, "ETag", &etag, e);
	if (rc < 0)
		return rc;
	if (number == NULL || etag == NULL ||
	    !str_to_u64(str_trim(number->text), INT32_MAX, &v))
		return err_set(e, ERR_MALFORMED_XML, NULL);
	if (v == 0 || v > S3_PARTS_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, "
		    "inclusive");
	p->number = (uint32_t)v;
	p->etag = cond_unquote(etag->text);
	c->n++;
	return part_checksum(c, n, p, e);
}

static int
read_parts(struct complete *c, const struct xml_node *root, struct err *e)
{
	const struct xml_node *n;
	size_t max;
	int rc;

	max = xml_count(root, "Part");
	if (max == 0 || max > S3_PARTS_MAX)
		return err_set(e, ERR_MALFORMED_XML, NULL);
	c->parts = arena_alloc(c->r->a, max * sizeof(*c->parts));
	if (c->parts == NULL)
		return s3_no_memory(e);
	for (n = root->first; n != NULL; n = n->next) {
		if (!xml_is(n, "Part"))
			continue;
		rc = read_part(c, n, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* x-amz-checksum-*, -type and x-amz-mp-object-size: claims about the object. */
static int
read_claims(struct complete *c, struct err *e)
{
	struct str type = s3_header(c->r, "x-amz-checksum-type");
	struct str size = s3_header(c->r, "x-amz-mp-object-size");
	bool trailer, composite = c->u.checksum_is_composite;
	int rc;

	rc = s3_checksum_claim(c->r, true, &c->want, &trailer, e);
	if (rc == 0 && trailer)
		rc = err_set(e, ERR_INVALID_REQUEST,
		    "A trailer cannot carry the object's checksum.");
	if (rc < 0)
		return rc;
	c->size = UINT64_MAX;
	if (size.p != NULL && !str_to_u64(size, INT64_MAX, &c->size))
		return err_set(e, ERR_INVALID_REQUEST,
		    "Value for x-amz-mp-object-size header is invalid.");
	if (c->u.id[0] == '\0')
		return 0;
	if (type.p != NULL &&
	    !str_eqz(type, composite ? "COMPOSITE" : "FULL_OBJECT"))
		return err_set(e, ERR_INVALID_REQUEST,
		    "The upload was created using the %s checksum mode. The "
		    "complete request must use the same checksum mode.",
		    composite ? "COMPOSITE" : "FULL_OBJECT");
	if (c->want.alg == CHECKSUM_NONE)
		return 0;
	if (c->want.alg != stored_alg(c))
		return mismatch(stored_alg(c), c->want.alg, e);
	if (c->want.is_composite && !composite)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Value for %s header is invalid.",
		    checksum_header(c->want.alg));
	c->want.is_composite = composite;
	return 0;
}

static int
complete(struct complete *c, struct str body, struct err *e)
{
	struct s3_req *r = c->r;
	static const struct xml_limits limits = { COMPLETE_BODY_MAX, 0,
		S3_PARTS_MAX * 8 };
	struct arena *a = arena_new(COMPLETE_ARENA_MAX);
	struct xml_node *root;
	int rc;

	if (a == NULL)
		return s3_no_memory(e);
	rc = xml_parse(body, "CompleteMultipartUpload", &limits, a, &root, e);
	if (rc == 0)
		rc = read_parts(c, root, e);
	if (rc == 0)
		rc = upload_complete(r->s3->conf.store, &r->bucket, r->key,
		    s3_param(r, "uploadId"), c->parts, c->n,
		    r->s3->conf.min_part_size,
		    c->want.alg != CHECKSUM_NONE ? &c->want : NULL, c->size,
		    &c->cond, r->a, &c->o, e);
	if (rc == ERR_NO_SUCH_UPLOAD)
		s3_extra(r, "UploadId", s3_param(r, "uploadId"));
	arena_free(&a);
	return rc;
}

/* The part of the answer that is known before the commit, and room for the
 * rest: what is committed must not be answered with an error. */
static int
begin_answer(struct complete *c, struct doc *d, struct err *e)
{
	struct s3_req *r = c->r;
	struct buf path = BUF_CAP(8192);
	int rc;

	rc = buf_addf(&path, "%s://" STR_FMT "/",
	    r->info->is_tls ? "https" : "http", STR_ARG(r->info->host));
	if (rc == 0 && !r->is_vhost)
		rc = buf_addf(&path, STR_FMT "/", STR_ARG(r->bucket_name));
	if (rc == 0)
		rc = buf_add_pct(&path, r->key, true);
	doc_init(d, "CompleteMultipartUploadResult", S3_XMLNS);
	if (rc == 0)
		doc_text(d, "Location", buf_str(&path));
	buf_fini(&path);
	doc_text(d, "Bucket", r->bucket_name);
	doc_text(d, "Key", r->key);
	return doc_room(d, DOC_ROOM, e);
}

static int
end_answer(struct complete *c, struct doc *d, struct err *e)
{
	doc_etag(d, c->o.etag);
	doc_checksum(d, &c->o.checksum, c->o.n_parts);
	doc_checksum_type(d, &c->o.checksum);
	return doc_reply(d, c->r, 200, e);
}

static int
run_complete(struct complete *c, struct buf *body, struct err *e)
{
	struct s3_req *r = c->r;
	struct doc d;
	int rc;

	rc = upload_get(r->s3->conf.store, &r->bucket, r->key,
	    s3_param(r, "uploadId"), r->a, &c->u, e);
	if (rc == ERR_NO_SUCH_UPLOAD) {
		/* a repeated Complete finds its object */
		memset(&c->u, 0, sizeof(c->u));
		rc = 0;
	}
	if (rc == 0)
		rc = s3_write_cond(r, &c->cond, e);
	if (rc == 0)
		rc = read_claims(c, e);
	if (rc == 0)
		rc = s3_body_all(r, COMPLETE_BODY_MAX, BODY_OTHER, body, e);
	if (rc == 0)
		rc = begin_answer(c, &d, e);
	if (rc < 0)
		return rc;
	rc = complete(c, buf_str(body), e);
	if (rc == 0)
		return end_answer(c, &d, e);
	doc_fini(&d);
	return rc;
}

int
s3_complete_upload(struct s3_req *r, struct err *e)
{
	struct buf body = BUF_CAP(COMPLETE_BODY_MAX + 1);
	struct complete c = { .r = r };
	int rc = run_complete(&c, &body, e);

	buf_fini(&body);
	return rc;
}
