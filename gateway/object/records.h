/* gateway/object/records.h - values of the index: fixed fields and protobuf.
 *
 * Encoding and decoding of records.proto with an arena as allocator: decoded
 * messages live in it, and nothing points into the value that was decoded.
 * Layout of each value: docs/FORMAT-RECORDS.md.
 * R1  A decoder takes any bytes: ERR_CORRUPT, never a crash.
 * R2  A format byte above ours is ERR_VERSION. */
#ifndef GATEWAY_OBJECT_RECORDS_H
#define GATEWAY_OBJECT_RECORDS_H

#include "gateway/object/keys.h"
#include "gateway/object/object.h"

#include <records.pb-c.h>

#define REC_FORMAT 1

struct extent {
	struct str id; /* blob */
	struct id128 write_id;
	uint64_t off, len;
};

struct extents {
	struct extent *e;
	size_t n;
};

/* --- objects --- */

enum rec_object_flag {
	REC_OBJECT_SHARED = 1, /* manifest_id, not extents */
	REC_OBJECT_DELETE_MARKER = 2,
};

struct rec_object {
	uint8_t flags;
	uint64_t size;
	struct id128 write_id;
	Rec__Object *pb; /* NULL when only the head was decoded */
};

int rec_object_head(struct str value, struct rec_object *ret, struct err *e);
int rec_object_get(struct str value, struct arena *a, struct rec_object *ret,
    struct err *e);
int rec_object_put(struct arena *a, const struct rec_object *o, struct str *ret,
    struct err *e);
/* Message of @o, written as @write_id: @x or @manifest_id (NULL = inline). */
int rec_object_make(struct arena *a, const struct object *o,
    const struct id128 *write_id, const struct extents *x,
    const struct id128 *manifest_id, Rec__Object **ret, struct err *e);
/* All of @ret but key and seq. @full: with all headers, else the storage class
 * only. Headers are views into @o's message, the rest lies in @a. */
int rec_object_fill(const struct rec_object *o, bool full, struct arena *a,
    struct object *ret, struct err *e);
/* Inline extents; write IDs that were left out are filled in. */
int rec_object_extents(const struct rec_object *o, struct arena *a,
    struct extents *ret, struct err *e);
int rec_object_manifest_id(const struct rec_object *o, struct id128 *ret,
    struct err *e);

/* --- manifests and parts --- */

/* Value: format, references (4), message. */
int rec_manifest_head(struct str value, uint32_t *ret_refs, struct err *e);
int rec_manifest_get(struct str value, struct arena *a, uint32_t *ret_refs,
    Rec__Manifest **ret, struct err *e);
int rec_manifest_put(struct arena *a, uint32_t refs, const Rec__Manifest *m,
    struct str *ret, struct err *e);
/* The same value with other references. */
int rec_manifest_with_refs(struct arena *a, struct str value, uint32_t refs,
    struct str *ret, struct err *e);

struct rec_part {
	uint64_t size;
	struct str etag;
	int64_t mtime_ns;
	struct checksum checksum;
	struct extents x;
	bool is_borrowed;
	struct id128 borrowed; /* the extents are this manifest's */
};
int rec_part_get(struct str value, struct arena *a, struct rec_part *ret,
    struct err *e);
int rec_part_put(struct arena *a, const struct rec_part *p, struct str *ret,
    struct err *e);

int rec_extents_make(struct arena *a, const struct extents *x,
    const struct id128 *own, Rec__Extent ***ret, struct err *e);
int rec_extents_fill(struct arena *a, Rec__Extent *const *x, size_t n,
    const struct id128 *own, struct extents *ret, struct err *e);

/* --- garbage --- */

enum garbage_kind {
	GARBAGE_OBJECT = 1,   /* payload: value of the object that died */
	GARBAGE_PART = 2,     /* value of the part */
	GARBAGE_MANIFEST = 3, /* ID (16), then its value; none after an abort */
	GARBAGE_EXTENTS = 4,  /* value of a manifest: failed puts, sweep */
	GARBAGE_BUCKET = 5,   /* incarnation (8): its uploads */
};
int rec_garbage_put(struct arena *a, enum garbage_kind kind, struct str payload,
    struct str *ret, struct err *e);
int rec_garbage_get(struct str value, uint8_t *ret_kind,
    struct str *ret_payload, struct err *e);

/* --- the others: format byte and message --- */

int rec_put(struct arena *a, const ProtobufCMessage *m, struct str *ret,
    struct err *e);
int rec_get(struct str value, const ProtobufCMessageDescriptor *d,
    struct arena *a, ProtobufCMessage **ret, struct err *e);
#define REC_GET(value, name, a, ret, e)                                        \
	rec_get((value), &rec__##name##__descriptor, (a),                      \
	    (ProtobufCMessage **)(ret), (e))

/* Buckets: format, incarnation (8), row's sequence (8), message. The head alone
 * tells the incarnation. */
#define REC_BUCKET_HEAD 17
int rec_bucket_put(struct arena *a, const struct bucket *b, struct str *ret,
    struct err *e);
int rec_bucket_head(struct str value, uint64_t *ret_incarnation, struct err *e);
int rec_bucket_get(struct str value, struct str name, struct arena *a,
    struct bucket *ret, struct err *e);

/* Text of a canonical ID and its 32 bytes. */
bool owner_id_raw(const char *text, uint8_t ret[OWNER_ID_RAW]);
void owner_id_text(ProtobufCBinaryData raw, char ret[65]);

ProtobufCBinaryData rec_bin(const void *p, size_t len);
int rec_etag_make(struct arena *a, struct str etag, Rec__ETag **ret,
    struct err *e);
int rec_etag_fill(const Rec__ETag *t, struct arena *a, struct str *ret,
    struct err *e);
int rec_checksum_make(struct arena *a, const struct checksum *c,
    Rec__Checksum **ret, struct err *e);
void rec_checksum_fill(const Rec__Checksum *c, struct checksum *ret);
int rec_headers_make(struct arena *a, const struct header *h, size_t n,
    Rec__Header ***ret, struct err *e);
int rec_headers_fill(struct arena *a, Rec__Header *const *h, size_t n,
    const char *only, struct header **ret, size_t *ret_n, struct err *e);

#endif
