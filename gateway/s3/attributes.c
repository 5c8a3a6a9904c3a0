/* gateway/s3/attributes.c - GetObjectAttributes. */
#include "gateway/s3/checksums.h"
#include "gateway/s3/doc.h"
#include "gateway/s3/headers.h"

#define PAGE_MAX 1000

enum wanted {
	W_ETAG = 1,
	W_CHECKSUM = 2,
	W_PARTS = 4,
	W_CLASS = 8,
	W_SIZE = 16,
};

static int
want(void *arg, struct str name, struct str value, struct err *e)
{
	static const char *const names[] = { "ETag", "Checksum", "ObjectParts",
		"StorageClass", "ObjectSize" };
	unsigned *w = arg;
	struct str item;
	size_t i;

	(void)name;
	while (value.p != NULL) {
		item = str_trim(str_split(&value, ','));
		for (i = 0; i < 5 && !str_eqz(item, names[i]); i++)
			;
		if (i == 5)
			return err_set(e, ERR_INVALID_ARGUMENT,
			    "Invalid attribute name specified.");
		*w |= 1u << i;
	}
	return 0;
}

static int
number(struct s3_req *r, const char *header, uint32_t max, uint32_t *ret,
    struct err *e)
{
	struct str v = s3_header(r, header);
	uint64_t n;

	if (v.p == NULL)
		return 0;
	if (!str_to_u64(v, INT32_MAX, &n)) {
		s3_extra(r, "ArgumentName", str_of(header));
		s3_extra(r, "ArgumentValue", v);
		return err_set(e, ERR_INVALID_ARGUMENT, NULL);
	}
	*ret = n > max ? max : (uint32_t)n;
	return 0;
}

struct attrs {
	struct s3_req *r;
	unsigned wanted;
	uint32_t max, after;
	struct object o;
	struct object_part *parts;
	size_t n;
};

static void
write_parts(struct attrs *a, struct doc *d)
{
	size_t i, shown = 0, from = 0;
	uint32_t next = 0;

	while (from < a->n && a->parts[from].number <= a->after)
		from++;
	shown = a->n - from < a->max ? a->n - from : a->max;
	if (shown > 0)
		next = a->parts[from + shown - 1].number;
	doc_open(d, "ObjectParts");
	doc_u64(d, "PartsCount", a->n);
	doc_u64(d, "PartNumberMarker", a->after);
	doc_u64(d, "NextPartNumberMarker", next);
	doc_u64(d, "MaxParts", a->max);
	doc_bool(d, "IsTruncated", from + shown < a->n);
	for (i = from; i < from + shown; i++) {
		doc_open(d, "Part");
		doc_u64(d, "PartNumber", a->parts[i].number);
		doc_u64(d, "Size", a->parts[i].size);
		doc_checksum(d, &a->parts[i].checksum, 0);
		doc_close(d, "Part");
	}
	doc_close(d, "ObjectParts");
}

static int
reply(struct attrs *a, struct err *e)
{
	const struct header *class =
	    header_find(a->o.headers, a->o.n_headers, "x-amz-storage-class");
	struct doc d;

	s3_send_mtime(a->r, a->o.mtime_ns);
	doc_init(&d, "GetObjectAttributesResponse", S3_XMLNS);
	if ((a->wanted & W_ETAG) != 0)
		doc_text(&d, "ETag", a->o.etag);
	if ((a->wanted & W_CHECKSUM) != 0 &&
	    a->o.checksum.alg != CHECKSUM_NONE) {
		doc_open(&d, "Checksum");
		doc_checksum(&d, &a->o.checksum, a->o.n_parts);
		doc_checksum_type(&d, &a->o.checksum);
		doc_close(&d, "Checksum");
	}
	if ((a->wanted & W_PARTS) != 0 && a->n > 0)
		write_parts(a, &d);
	if ((a->wanted & W_CLASS) != 0)
		doc_text(&d, "StorageClass",
		    class != NULL ? class->value : STR_LIT("STANDARD"));
	if ((a->wanted & W_SIZE) != 0)
		doc_u64(&d, "ObjectSize", a->o.size);
	return doc_reply(&d, a->r, 200, e);
}

int
s3_get_object_attributes(struct s3_req *r, struct err *e)
{
	struct attrs a = { .r = r, .max = PAGE_MAX };
	struct str version = s3_param(r, "versionId");
	struct object_reader *rd = NULL;
	int rc;

	rc = s3_each_header(r, "x-amz-object-attributes", want, &a.wanted, e);
	if (rc == 0 && a.wanted == 0)
		rc = err_set(e, ERR_INVALID_ARGUMENT,
		    "The x-amz-object-attributes header specifying the "
		    "attributes to be retrieved is either missing or empty");
	if (rc == 0)
		rc = number(r, "x-amz-max-parts", PAGE_MAX, &a.max, e);
	if (rc == 0)
		rc = number(r, "x-amz-part-number-marker", INT32_MAX, &a.after,
		    e);
	if (rc == 0)
		rc = s3_check_version(r, version, e);
	if (rc == 0)
		rc = object_open(r->s3->conf.store, &r->bucket, r->key, version,
		    r->a, &a.o, &rd, e);
	if (rc == ERR_NO_SUCH_KEY)
		s3_extra(r, "Key", r->key);
	if (rc == 0 && (a.wanted & W_PARTS) != 0)
		rc = object_parts(rd, r->a, &a.parts, &a.n, e);
	object_close(&rd);
	return rc < 0 ? rc : reply(&a, e);
}
