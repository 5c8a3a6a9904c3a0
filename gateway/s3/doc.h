/* gateway/s3/doc.h - an XML answer under construction: gateway/xml's writer,
 * its buffer, and the elements that many answers share. A failure sticks and
 * shows at doc_reply(). Threads: one owner. */
#ifndef GATEWAY_S3_DOC_H
#define GATEWAY_S3_DOC_H

#include "gateway/s3/s3_int.h"
#include "gateway/xml/xml.h"

struct doc {
	struct buf b;
	struct xml_writer w;
	bool url; /* encoding-type=url: doc_name() percent-encodes */
	const char *root;
};

/* @xmlns NULL: none. The root element is left open; @root stays referenced.
 * Must not be moved. */
void doc_init(struct doc *d, const char *root, const char *xmlns);
/* Room for @more bytes: for an answer that must not fail once the change that
 * it tells of is made. Frees the document when it fails. */
int doc_room(struct doc *d, size_t more, struct err *e);
void doc_fini(struct doc *d);
void doc_open(struct doc *d, const char *name);
void doc_close(struct doc *d, const char *name);
void doc_text(struct doc *d, const char *name, struct str v);
void doc_textz(struct doc *d, const char *name, const char *v);
/* A key, prefix, delimiter or marker: percent-encoded if d->url. */
void doc_name(struct doc *d, const char *name, struct str v);
void doc_u64(struct doc *d, const char *name, uint64_t v);
void doc_bool(struct doc *d, const char *name, bool v);
void doc_time(struct doc *d, const char *name, int64_t unix_ns);
void doc_etag(struct doc *d, struct str etag); /* in quotes */
void doc_owner(struct doc *d, const char *element, const char *id,
    const char *display_name);
/* ChecksumCRC32 and so on; nothing for CHECKSUM_NONE. @n_parts > 0 for
 * composite ones: "value-N". */
void doc_checksum(struct doc *d, const struct checksum *c, uint32_t n_parts);
void doc_checksum_type(struct doc *d, const struct checksum *c);
/* Closes the root; the whole document, valid until doc_fini(). */
int doc_end(struct doc *d, struct str *ret, struct err *e);
/* Ends, answers with it, frees. */
int doc_reply(struct doc *d, struct s3_req *r, int status, struct err *e);

#endif
