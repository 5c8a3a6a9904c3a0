/* gateway/s3/doc.c - XML answers (doc.h). */
#include "gateway/s3/doc.h"

#include "gateway/s3/checksums.h"

#define DOC_MAX (32 * 1024 * 1024) /* 1,000 keys of 1 KiB, each byte escaped */

void
doc_init(struct doc *d, const char *root, const char *xmlns)
{
	*d = (struct doc){ .b = BUF_CAP(DOC_MAX), .root = root };
	xml_begin(&d->w, &d->b, root, xmlns);
}

int
doc_room(struct doc *d, size_t more, struct err *e)
{
	int rc = d->w.rc;

	if (rc == 0)
		rc = buf_reserve(&d->b, more);
	if (rc == 0)
		return 0;
	doc_fini(d);
	return err_set(e, rc, "building the answer");
}

void
doc_fini(struct doc *d)
{
	buf_fini(&d->b);
}

void
doc_open(struct doc *d, const char *name)
{
	xml_open(&d->w, name);
}

void
doc_close(struct doc *d, const char *name)
{
	xml_close(&d->w, name);
}

void
doc_text(struct doc *d, const char *name, struct str v)
{
	xml_text(&d->w, name, v);
}

void
doc_textz(struct doc *d, const char *name, const char *v)
{
	xml_textz(&d->w, name, v);
}

void
doc_name(struct doc *d, const char *name, struct str v)
{
	if (d->url)
		xml_text_url(&d->w, name, v);
	else
		xml_text(&d->w, name, v);
}

void
doc_u64(struct doc *d, const char *name, uint64_t v)
{
	xml_uint(&d->w, name, v);
}

void
doc_bool(struct doc *d, const char *name, bool v)
{
	xml_truth(&d->w, name, v);
}

void
doc_time(struct doc *d, const char *name, int64_t unix_ns)
{
	/* Last-Modified of HEAD has whole seconds; clients compare the two. */
	xml_time(&d->w, name, unix_ns / 1000000000 * 1000000000);
}

void
doc_etag(struct doc *d, struct str etag)
{
	char quoted[128];

	MUST(etag.len <= sizeof(quoted) - 2);
	quoted[0] = '"';
	memcpy(quoted + 1, etag.p, etag.len);
	quoted[etag.len + 1] = '"';
	xml_text(&d->w, "ETag", str_mem(quoted, etag.len + 2));
}

void
doc_owner(struct doc *d, const char *element, const char *id,
    const char *display_name)
{
	doc_open(d, element);
	doc_textz(d, "ID", id);
	doc_textz(d, "DisplayName", display_name);
	doc_close(d, element);
}

void
doc_checksum(struct doc *d, const struct checksum *c, uint32_t n_parts)
{
	char text[CHECKSUM_TEXT_MAX];

	if (c->alg == CHECKSUM_NONE)
		return;
	doc_text(d, checksum_element(c->alg), checksum_text(c, n_parts, text));
}

void
doc_checksum_type(struct doc *d, const struct checksum *c)
{
	if (c->alg != CHECKSUM_NONE)
		doc_textz(d, "ChecksumType", checksum_type(c));
}

int
doc_end(struct doc *d, struct str *ret, struct err *e)
{
	int rc = xml_end(&d->w, d->root, e);

	*ret = rc < 0 ? STR_LIT("") : buf_str(&d->b);
	return rc;
}

int
doc_reply(struct doc *d, struct s3_req *r, int status, struct err *e)
{
	struct str body;
	int rc = doc_end(d, &body, e);

	if (rc == 0 && body.len > S3_DOC_FREE) /* and what it was made of */
		rc = s3_charge(r, body.len * 2, e);
	if (rc == 0) {
		http_setz(r->http, "Content-Type", "application/xml");
		http_reply(r->http, status, body);
	}
	doc_fini(d);
	return rc;
}
