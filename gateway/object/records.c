/* gateway/object/records.c - see records.h. */
#include "gateway/object/records.h"

#include "lib/bytes.h"

#include <stdio.h>

#define OBJECT_HEAD 26  /* format, flags, size (8), write ID (16) */
#define MANIFEST_HEAD 5 /* format, references (4) */

/* --- protobuf over an arena --- */

static void *
pb_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void
pb_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, NULL);
}

static int
check_format(struct str value, size_t head, const char *what, struct err *e)
{
	if (value.len < head)
		return err_set(e, ERR_CORRUPT, "%s record of %zu bytes", what,
		    value.len);
	if (value.p[0] != REC_FORMAT)
		return err_set(e,
		    (uint8_t)value.p[0] > REC_FORMAT ? ERR_VERSION
						     : ERR_CORRUPT,
		    "%s record of format %u", what, (uint8_t)value.p[0]);
	return 0;
}

static int
unpack(struct str bytes, const ProtobufCMessageDescriptor *d, struct arena *a,
    ProtobufCMessage **ret, struct err *e)
{
	ProtobufCAllocator alloc = { pb_alloc, pb_free, a };
	ProtobufCMessage *m = protobuf_c_message_unpack(d, &alloc, bytes.len,
	    (const uint8_t *)bytes.p);

	if (m == NULL)
		return err_set(e, ERR_CORRUPT, "%s record does not decode",
		    d->short_name);
	*ret = m;
	return 0;
}

/* A value with @head bytes to be filled in front. */
static int
pack(struct arena *a, size_t head, const ProtobufCMessage *m, char **ret_p,
    struct str *ret, struct err *e)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	char *p;

	if (head + len > KV_VALUE_MAX)
		return err_set(e, ERR_TOO_BIG, "%s record",
		    m->descriptor->short_name);
	p = arena_alloc(a, head + len);
	if (p == NULL)
		return no_memory(e);
	protobuf_c_message_pack(m, (uint8_t *)p + head);
	p[0] = REC_FORMAT;
	*ret_p = p;
	*ret = str_mem(p, head + len);
	return 0;
}

int
rec_put(struct arena *a, const ProtobufCMessage *m, struct str *ret,
    struct err *e)
{
	char *p;

	return pack(a, 1, m, &p, ret, e);
}

int
rec_get(struct str value, const ProtobufCMessageDescriptor *d, struct arena *a,
    ProtobufCMessage **ret, struct err *e)
{
	int rc = check_format(value, 1, d->short_name, e);

	return rc < 0 ? rc : unpack(str_skip(value, 1), d, a, ret, e);
}

/* --- small parts --- */

ProtobufCBinaryData
rec_bin(const void *p, size_t len)
{
	ProtobufCBinaryData b = { .len = len };

	memcpy(&b.data, &p, sizeof(p)); /* packing only reads */
	return b;
}

static char *
text(struct arena *a, struct str s) /* NUL-terminated */
{
	struct str t = arena_str(a, s);
	char *p;

	memcpy(&p, &t.p, sizeof(p)); /* the arena's own bytes */
	return p;
}

bool
owner_id_raw(const char *z, uint8_t ret[OWNER_ID_RAW])
{
	struct str s = str_of(z);

	return s.len == 2 * OWNER_ID_RAW && hex_decode(s, ret);
}

void
owner_id_text(ProtobufCBinaryData raw, char ret[65])
{
	ret[0] = '\0';
	if (raw.len == OWNER_ID_RAW)
		hex_encode(raw.data, raw.len, ret);
	ret[raw.len == OWNER_ID_RAW ? 64 : 0] = '\0';
}

int
rec_etag_make(struct arena *a, struct str etag, Rec__ETag **ret, struct err *e)
{
	Rec__ETag *t = arena_alloc(a, sizeof(*t));
	uint8_t *md5 = arena_alloc(a, 16);
	uint64_t parts = 0;
	char again[48];

	if (t == NULL || md5 == NULL)
		return no_memory(e);
	rec__etag__init(t);
	if (etag.len >= 32 && hex_decode(str_sub(etag, 0, 32), md5) &&
	    (etag.len == 32 ||
		(etag.p[32] == '-' &&
		    str_to_u64(str_skip(etag, 33), 10000, &parts)))) {
		/* only if it comes back as the same text */
		hex_encode(md5, 16, again);
		again[32] = '\0';
		if (parts > 0)
			snprintf(again + 32, sizeof(again) - 32, "-%u",
			    (unsigned)parts);
		if (str_eqz(etag, again)) {
			t->md5 = rec_bin(md5, 16);
			t->parts = (uint32_t)parts;
			*ret = t;
			return 0;
		}
	}
	t->text = text(a, etag);
	if (t->text == NULL)
		return no_memory(e);
	*ret = t;
	return 0;
}

int
rec_etag_fill(const Rec__ETag *t, struct arena *a, struct str *ret,
    struct err *e)
{
	char *p;
	int n = 0;

	if (t == NULL || t->md5.len != 16) {
		*ret = t == NULL ? STR_LIT("") : arena_str(a, str_of(t->text));
		return ret->p == NULL ? no_memory(e) : 0;
	}
	p = arena_alloc(a, 48);
	if (p == NULL)
		return no_memory(e);
	hex_encode(t->md5.data, 16, p);
	p[32] = '\0';
	if (t->parts > 0)
		n = snprintf(p + 32, 16, "-%u", (unsigned)t->parts);
	*ret = str_mem(p, 32 + (size_t)n);
	return 0;
}

int
rec_checksum_make(struct arena *a, const struct checksum *c,
    Rec__Checksum **ret, struct err *e)
{
	Rec__Checksum *r;

	*ret = NULL;
	if (c->alg == CHECKSUM_NONE)
		return 0;
	r = arena_alloc(a, sizeof(*r));
	if (r == NULL)
		return no_memory(e);
	rec__checksum__init(r);
	r->alg = c->alg;
	r->composite = c->is_composite;
	r->value = rec_bin(c->value, c->len);
	*ret = r;
	return 0;
}

void
rec_checksum_fill(const Rec__Checksum *c, struct checksum *ret)
{
	*ret = (struct checksum){ 0 };
	if (c == NULL || c->value.len > sizeof(ret->value) || c->alg > 255)
		return;
	ret->alg = (uint8_t)c->alg;
	ret->len = (uint8_t)c->value.len;
	ret->is_composite = c->composite;
	if (c->value.len > 0)
		memcpy(ret->value, c->value.data, c->value.len);
}

int
rec_headers_make(struct arena *a, const struct header *h, size_t n,
    Rec__Header ***ret, struct err *e)
{
	Rec__Header **v = arena_alloc(a, n * sizeof(Rec__Header *));
	Rec__Header *r = arena_alloc(a, n * sizeof(Rec__Header));
	size_t i;

	if (v == NULL || r == NULL)
		return no_memory(e);
	for (i = 0; i < n; i++) {
		rec__header__init(&r[i]);
		r[i].name = text(a, h[i].name);
		if (r[i].name == NULL)
			return no_memory(e);
		r[i].value = rec_bin(h[i].value.p, h[i].value.len);
		v[i] = &r[i];
	}
	*ret = v;
	return 0;
}

int
rec_headers_fill(struct arena *a, Rec__Header *const *h, size_t n,
    const char *only, struct header **ret, size_t *ret_n, struct err *e)
{
	struct header *out = NULL;
	size_t i, m = 0;

	for (i = 0; i < n; i++) {
		if (only != NULL && strcmp(h[i]->name, only) != 0)
			continue;
		if (out == NULL) {
			out = arena_alloc(a, (n - i) * sizeof(*out));
			if (out == NULL)
				return no_memory(e);
		}
		out[m].name = str_of(h[i]->name);
		out[m].value = str_mem(h[i]->value.len == 0
					   ? (const void *)""
					   : (const void *)h[i]->value.data,
		    h[i]->value.len);
		m++;
	}
	*ret = out;
	*ret_n = m;
	return 0;
}

/* --- extents --- */

int
rec_extents_make(struct arena *a, const struct extents *x,
    const struct id128 *own, Rec__Extent ***ret, struct err *e)
{
	Rec__Extent **v = arena_alloc(a, x->n * sizeof(Rec__Extent *));
	Rec__Extent *r = arena_alloc(a, x->n * sizeof(Rec__Extent));
	size_t i;

	if (v == NULL || r == NULL)
		return no_memory(e);
	for (i = 0; i < x->n; i++) {
		rec__extent__init(&r[i]);
		r[i].id = text(a, x->e[i].id);
		if (r[i].id == NULL)
			return no_memory(e);
		if (own == NULL || !id128_eq(own, &x->e[i].write_id))
			r[i].write_id = rec_bin(x->e[i].write_id.b, 16);
		r[i].off = x->e[i].off;
		r[i].len = x->e[i].len;
		v[i] = &r[i];
	}
	*ret = v;
	return 0;
}

int
rec_extents_fill(struct arena *a, Rec__Extent *const *x, size_t n,
    const struct id128 *own, struct extents *ret, struct err *e)
{
	struct extent *v = arena_alloc(a, n * sizeof(*v));
	size_t i;

	if (v == NULL)
		return no_memory(e);
	for (i = 0; i < n; i++) {
		v[i].id = str_of(x[i]->id);
		v[i].off = x[i]->off;
		v[i].len = x[i]->len;
		if (x[i]->write_id.len == 16)
			memcpy(v[i].write_id.b, x[i]->write_id.data, 16);
		else if (x[i]->write_id.len == 0 && own != NULL)
			v[i].write_id = *own;
		else
			return err_set(e, ERR_CORRUPT,
			    "extent without write ID");
		if (v[i].id.len == 0 || v[i].id.len >= BLOB_ID_MAX)
			return err_set(e, ERR_CORRUPT,
			    "extent without blob ID");
	}
	ret->e = v;
	ret->n = n;
	return 0;
}

/* --- objects --- */

int
rec_object_head(struct str value, struct rec_object *ret, struct err *e)
{
	int rc = check_format(value, OBJECT_HEAD, "object", e);

	if (rc < 0)
		return rc;
	ret->flags = (uint8_t)value.p[1];
	ret->size = get_be64(value.p + 2);
	memcpy(ret->write_id.b, value.p + 10, 16);
	ret->pb = NULL;
	return 0;
}

int
rec_object_get(struct str value, struct arena *a, struct rec_object *ret,
    struct err *e)
{
	ProtobufCMessage *m;
	int rc = rec_object_head(value, ret, e);

	if (rc < 0)
		return rc;
	rc = unpack(str_skip(value, OBJECT_HEAD), &rec__object__descriptor, a,
	    &m, e);
	if (rc < 0)
		return rc;
	ret->pb = (Rec__Object *)m;
	return 0;
}

int
rec_object_put(struct arena *a, const struct rec_object *o, struct str *ret,
    struct err *e)
{
	char *p;
	int rc = pack(a, OBJECT_HEAD, &o->pb->base, &p, ret, e);

	if (rc < 0)
		return rc;
	p[1] = (char)o->flags;
	put_be64(p + 2, o->size);
	memcpy(p + 10, o->write_id.b, 16);
	return 0;
}

int
rec_object_make(struct arena *a, const struct object *o,
    const struct id128 *write_id, const struct extents *x,
    const struct id128 *manifest_id, Rec__Object **ret, struct err *e)
{
	Rec__Object *r = arena_alloc(a, sizeof(*r));
	uint8_t *owner = arena_alloc(a, OWNER_ID_RAW);
	int rc;

	if (r == NULL || owner == NULL)
		return no_memory(e);
	rec__object__init(r);
	rc = rec_etag_make(a, o->etag, &r->etag, e);
	if (rc < 0)
		return rc;
	r->mtime_ns = o->mtime_ns;
	r->n_parts = o->n_parts;
	if (owner_id_raw(o->owner_id, owner))
		r->owner_id = rec_bin(owner, OWNER_ID_RAW);
	rc = rec_checksum_make(a, &o->checksum, &r->checksum, e);
	if (rc < 0)
		return rc;
	rc = rec_headers_make(a, o->headers, o->n_headers, &r->headers, e);
	if (rc < 0)
		return rc;
	r->n_headers = o->n_headers;
	if (manifest_id != NULL) {
		r->manifest_id = rec_bin(manifest_id->b, 16);
	} else if (x != NULL && x->n > 0) {
		/* A put's first extent has the record's write ID: left out. */
		rc = rec_extents_make(a, x, write_id, &r->extents, e);
		if (rc < 0)
			return rc;
		r->n_extents = x->n;
	}
	*ret = r;
	return 0;
}

int
rec_object_fill(const struct rec_object *o, bool full, struct arena *a,
    struct object *ret, struct err *e)
{
	const Rec__Object *r = o->pb;
	int rc;

	ret->size = o->size;
	ret->mtime_ns = r->mtime_ns;
	ret->version = STR_LIT("null");
	ret->is_delete_marker = (o->flags & REC_OBJECT_DELETE_MARKER) != 0;
	ret->n_parts = r->n_parts;
	owner_id_text(r->owner_id, ret->owner_id);
	rec_checksum_fill(r->checksum, &ret->checksum);
	rc = rec_etag_fill(r->etag, a, &ret->etag, e);
	if (rc < 0)
		return rc;
	return rec_headers_fill(a, r->headers, r->n_headers,
	    full ? NULL : "x-amz-storage-class", &ret->headers, &ret->n_headers,
	    e);
}

int
rec_object_extents(const struct rec_object *o, struct arena *a,
    struct extents *ret, struct err *e)
{
	return rec_extents_fill(a, o->pb->extents, o->pb->n_extents,
	    &o->write_id, ret, e);
}

int
rec_object_manifest_id(const struct rec_object *o, struct id128 *ret,
    struct err *e)
{
	if (o->pb->manifest_id.len != 16)
		return err_set(e, ERR_CORRUPT, "object without manifest ID");
	memcpy(ret->b, o->pb->manifest_id.data, 16);
	return 0;
}

/* --- manifests and parts --- */

int
rec_manifest_head(struct str value, uint32_t *ret_refs, struct err *e)
{
	int rc = check_format(value, MANIFEST_HEAD, "manifest", e);

	if (rc < 0)
		return rc;
	*ret_refs = get_be32(value.p + 1);
	if (*ret_refs == 0)
		*ret_refs = 1;
	return 0;
}

int
rec_manifest_get(struct str value, struct arena *a, uint32_t *ret_refs,
    Rec__Manifest **ret, struct err *e)
{
	ProtobufCMessage *m;
	int rc = rec_manifest_head(value, ret_refs, e);

	if (rc < 0)
		return rc;
	rc = unpack(str_skip(value, MANIFEST_HEAD), &rec__manifest__descriptor,
	    a, &m, e);
	if (rc < 0)
		return rc;
	*ret = (Rec__Manifest *)m;
	if ((*ret)->n_numbers != (*ret)->n_sizes)
		return err_set(e, ERR_CORRUPT, "manifest's numbers and sizes");
	return 0;
}

int
rec_manifest_put(struct arena *a, uint32_t refs, const Rec__Manifest *m,
    struct str *ret, struct err *e)
{
	char *p;
	int rc = pack(a, MANIFEST_HEAD, &m->base, &p, ret, e);

	if (rc < 0)
		return rc;
	put_be32(p + 1, refs == 1 ? 0 : refs);
	return 0;
}

int
rec_manifest_with_refs(struct arena *a, struct str value, uint32_t refs,
    struct str *ret, struct err *e)
{
	char *p = arena_alloc(a, value.len);

	if (p == NULL)
		return no_memory(e);
	memcpy(p, value.p, value.len);
	put_be32(p + 1, refs == 1 ? 0 : refs);
	*ret = str_mem(p, value.len);
	return 0;
}

int
rec_part_get(struct str value, struct arena *a, struct rec_part *ret,
    struct err *e)
{
	Rec__Part *r;
	int rc = REC_GET(value, part, a, &r, e);

	if (rc < 0)
		return rc;
	ret->size = r->size;
	ret->mtime_ns = r->mtime_ns;
	rec_checksum_fill(r->checksum, &ret->checksum);
	ret->is_borrowed = r->borrowed.len > 0;
	if (ret->is_borrowed && r->borrowed.len != 16)
		return err_set(e, ERR_CORRUPT, "part's borrowed manifest");
	if (ret->is_borrowed)
		memcpy(ret->borrowed.b, r->borrowed.data, 16);
	rc = rec_etag_fill(r->etag, a, &ret->etag, e);
	if (rc < 0)
		return rc;
	return rec_extents_fill(a, r->extents, r->n_extents, NULL, &ret->x, e);
}

int
rec_part_put(struct arena *a, const struct rec_part *p, struct str *ret,
    struct err *e)
{
	Rec__Part r = REC__PART__INIT;
	int rc;

	r.size = p->size;
	r.mtime_ns = p->mtime_ns;
	rc = rec_etag_make(a, p->etag, &r.etag, e);
	if (rc < 0)
		return rc;
	rc = rec_checksum_make(a, &p->checksum, &r.checksum, e);
	if (rc < 0)
		return rc;
	rc = rec_extents_make(a, &p->x, NULL, &r.extents, e);
	if (rc < 0)
		return rc;
	r.n_extents = p->x.n;
	if (p->is_borrowed)
		r.borrowed = rec_bin(p->borrowed.b, 16);
	return rec_put(a, &r.base, ret, e);
}

/* --- garbage --- */

int
rec_garbage_put(struct arena *a, enum garbage_kind kind, struct str payload,
    struct str *ret, struct err *e)
{
	char *p;

	if (payload.len + 2 > KV_VALUE_MAX)
		return err_set(e, ERR_TOO_BIG, "garbage record");
	p = arena_alloc(a, payload.len + 2);
	if (p == NULL)
		return no_memory(e);
	p[0] = REC_FORMAT;
	p[1] = (char)kind;
	if (payload.len > 0)
		memcpy(p + 2, payload.p, payload.len);
	*ret = str_mem(p, payload.len + 2);
	return 0;
}

int
rec_garbage_get(struct str value, uint8_t *ret_kind, struct str *ret_payload,
    struct err *e)
{
	int rc = check_format(value, 2, "garbage", e);

	if (rc < 0)
		return rc;
	*ret_kind = (uint8_t)value.p[1];
	*ret_payload = str_skip(value, 2);
	return 0;
}

/* --- buckets --- */

int
rec_bucket_put(struct arena *a, const struct bucket *b, struct str *ret,
    struct err *e)
{
	Rec__Bucket r;
	uint8_t owner[OWNER_ID_RAW];
	char *p;
	int rc;

	rec__bucket__init(&r);
	if (owner_id_raw(b->owner_id, owner))
		r.owner_id = rec_bin(owner, sizeof(owner));
	r.owner_name = text(a, str_of(b->owner_name));
	r.location = text(a, str_of(b->location));
	r.group = text(a, str_of(b->group));
	if (r.owner_name == NULL || r.location == NULL || r.group == NULL)
		return no_memory(e);
	r.created_ns = b->created_ns;
	rc = pack(a, REC_BUCKET_HEAD, &r.base, &p, ret, e);
	if (rc < 0)
		return rc;
	put_be64(p + 1, b->incarnation);
	put_be64(p + 9, b->row_seq);
	return 0;
}

int
rec_bucket_head(struct str value, uint64_t *ret_incarnation, struct err *e)
{
	int rc = check_format(value, REC_BUCKET_HEAD, "bucket", e);

	if (rc < 0)
		return rc;
	*ret_incarnation = get_be64(value.p + 1);
	return 0;
}

static bool
copy_text(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size)
		return false;
	memcpy(dst, src, len + 1);
	return true;
}

int
rec_bucket_get(struct str value, struct str name, struct arena *a,
    struct bucket *ret, struct err *e)
{
	ProtobufCMessage *m;
	const Rec__Bucket *r;
	int rc = rec_bucket_head(value, &ret->incarnation, e);

	if (rc < 0)
		return rc;
	ret->row_seq = get_be64(value.p + 9);
	rc = unpack(str_skip(value, REC_BUCKET_HEAD), &rec__bucket__descriptor,
	    a, &m, e);
	if (rc < 0)
		return rc;
	r = (const Rec__Bucket *)m;
	if (name.len >= sizeof(ret->name) ||
	    !copy_text(ret->owner_name, sizeof(ret->owner_name),
		r->owner_name) ||
	    !copy_text(ret->location, sizeof(ret->location), r->location) ||
	    !copy_text(ret->group, sizeof(ret->group), r->group))
		return err_set(e, ERR_CORRUPT, "bucket record's texts");
	memcpy(ret->name, name.p, name.len);
	ret->name[name.len] = '\0';
	owner_id_text(r->owner_id, ret->owner_id);
	ret->created_ns = r->created_ns;
	return 0;
}
