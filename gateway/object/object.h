/* gateway/object/object.h - buckets, objects, uploads and users as transactions
 * over index and blob (DESIGN 3 and 5). Knows nothing of HTTP or XML.
 *
 * O1  A successful commit is durable (K1 and E1) and atomic: before it the old
 *     object, after it the new one, at any crash.
 * O2  Every transaction re-reads the bucket row it was authorised under
 *     (incarnation), so that nothing lands in a recreated bucket.
 * O3  Garbage is terminal: a transaction that adds a reference to a manifest or
 *     blob on the garbage list fails with ERR_RETRY.
 * O4  Blobs are deleted only by the collector (from the garbage list, after the
 *     readers that began before) - nothing else deletes bytes.
 * O5  Versions of a key are ordered by commit sequence. Until versioning is
 *     there a bucket holds one version of a key, the null version.
 * Threads: any; a handle belongs to one thread. Results live in the arena
 * passed in. */
#ifndef GATEWAY_OBJECT_OBJECT_H
#define GATEWAY_OBJECT_OBJECT_H

#include "gateway/blob/blob.h"
#include "gateway/index/kv.h"
#include "lib/arena.h"
#include "lib/err.h"
#include "lib/header.h"

struct store;

struct store_conf {
	struct kv *kv;            /* taken over: store_close() closes them */
	struct blob *blob;        /* the same */
	uint64_t extent_size;     /* 64 MiB */
	int64_t upload_expiry_s;  /* abandoned multipart uploads; 0 = never */
	int64_t trash_s;          /* sweep: time on the garbage list, 7 days */
	int64_t sweep_interval_s; /* of the background thread; 0 = no sweep */
	bool background;          /* start the collector thread */
	const char *region;
	void (*event)(void *arg, int level, const char *text);
	void *event_arg;
};

int store_open(const struct store_conf *c, struct store **ret, struct err *e);
void store_close(struct store **sp);
/* From now on @c's trash_s and sweep_interval_s; the rest is not looked at. */
void store_tune(struct store *s, const struct store_conf *c);
struct kv *store_kv(struct store *s);
struct blob *store_blob(struct store *s);

/* --- users and keys --- */

#define USER_NAME_MAX 64
#define ACCESS_KEY_MAX 128
#define SECRET_KEY_MAX 128

struct user {
	char name[USER_NAME_MAX + 1];
	char id[65];  /* canonical ID: 64 hex digits, random, never reused */
	bool is_root; /* everything allowed */
	bool is_disabled;
	int64_t created_s;
};

struct access_key {
	char id[ACCESS_KEY_MAX + 1];
	char secret[SECRET_KEY_MAX + 1];
	char user[USER_NAME_MAX + 1];
	int64_t created_s;
	bool is_disabled;
};

int user_add(struct store *s, const char *name, struct user *ret,
    struct err *e); /* ERR_ENTITY_EXISTS; ERR_INVALID for a bad name */
/* ERR_NO_SUCH_USER; ERR_BUSY while the user owns buckets. Removes its keys. */
int user_remove(struct store *s, const char *name, struct err *e);
int user_get(struct store *s, const char *name, struct user *ret,
    struct err *e);
int user_list(struct store *s, int (*fn)(void *arg, const struct user *u),
    void *arg, struct err *e);
/* @id, @secret NULL: random ones (20 and 40 characters). */
int key_add(struct store *s, const char *user, const char *id,
    const char *secret, struct access_key *ret, struct err *e);
int key_remove(struct store *s, const char *id, struct err *e);
int key_list(struct store *s, const char *user /* NULL = all */,
    int (*fn)(void *arg, const struct access_key *k, const struct user *u),
    void *arg, struct err *e);
/* Hot path: cached, and correct right after a change. Disabled ones are
 * ERR_NO_SUCH_ACCESS_KEY too. */
int key_find(struct store *s, struct str id, struct access_key *ret_key,
    struct user *ret_user, struct err *e);
/* The root pair comes from the environment at start, not from the index; the
 * root user's canonical ID is kept in the index. */
int root_set(struct store *s, const char *id, const char *secret,
    struct err *e);

/* --- buckets --- */

struct bucket {
	char name[64];
	uint64_t incarnation; /* never reused */
	uint64_t row_seq;     /* commit sequence of the row that was read */
	char owner_id[65];
	char owner_name[USER_NAME_MAX + 1];
	char location[64]; /* LocationConstraint as given; "" = us-east-1 */
	char group[17];    /* where its bytes go; "" = any */
	int64_t created_ns;
};

struct bucket_usage {
	uint64_t objects, bytes, uploads;
};

/* S3's naming rules, and the reserved names of DESIGN 9 and S3.md. */
bool bucket_name_is_valid(struct str name);

int bucket_create(struct store *s, const struct user *owner, struct str name,
    struct str location, struct bucket *ret, struct err *e);
int bucket_get(struct store *s, struct str name, struct bucket *ret,
    struct err *e); /* ERR_NO_SUCH_BUCKET. Hot path: cached or cheap */
int bucket_delete(struct store *s, const struct bucket *b, struct err *e);
/* Owned by @owner_id ("" = all), with @prefix, name > @after, in order, at
 * most @max; *ret_more says whether there are more. */
int bucket_list(struct store *s, const char *owner_id, struct str prefix,
    struct str after, size_t max, struct arena *a, struct bucket **ret,
    size_t *ret_n, bool *ret_more, struct err *e);
int bucket_usage(struct store *s, const struct bucket *b,
    struct bucket_usage *ret, struct err *e);

/* --- objects --- */

enum checksum_alg { /* bit numbers fit lib/hash.h's mask by name */
	CHECKSUM_NONE,
	CHECKSUM_CRC32,
	CHECKSUM_CRC32C,
	CHECKSUM_CRC64NVME,
	CHECKSUM_SHA1,
	CHECKSUM_SHA256,
	CHECKSUM_SHA512,
	CHECKSUM_MD5,
	CHECKSUM_XXHASH64,
	CHECKSUM_XXHASH3,
	CHECKSUM_XXHASH128,
};

struct checksum {
	uint8_t alg; /* enum checksum_alg */
	uint8_t len; /* bytes in value */
	bool
	    is_composite; /* multipart, checksum of checksums; shown as "..-N" */
	uint8_t value[64];
};

struct object {
	struct str key;
	uint64_t size;
	struct str etag;    /* without quotes: 32 hex, or 32 hex "-" N */
	int64_t mtime_ns;   /* Last-Modified */
	uint64_t seq;       /* commit sequence */
	struct str version; /* "null" until versioning */
	bool is_delete_marker;
	struct checksum checksum;
	/* Lower-case names: content-type, cache-control, content-disposition,
	 * content-encoding, content-language, expires, x-amz-storage-class (absent
	 * = STANDARD), x-amz-website-redirect-location, x-amz-meta-*. */
	struct header *headers;
	size_t n_headers;
	char owner_id[65];
	uint32_t n_parts; /* 0 = not multipart */
};

/* Conditions of a write, checked in the commit (S3.md 3.17). */
struct write_cond {
	bool if_none_match_any; /* If-None-Match: * -> 412 when it exists */
	struct str if_match; /* ETag without quotes, or "*"; p NULL = not given.
	    absent key -> ERR_NO_SUCH_KEY, other ETag -> ERR_PRECONDITION_FAILED */
};

/* --- put --- */

struct put; /* bytes on their way; becomes an object or a part */

/* @size: bytes to come, or UINT64_MAX. */
int put_begin(struct store *s, const struct bucket *b, struct str key,
    uint64_t size, struct put **ret, struct err *e);
int put_write(struct put *p, const void *data, size_t len, struct err *e);
/* As put_write(), but without a copy if it can be: @data stays as it is until
 * PUT_LENT more of these calls have returned, or put_settle(), or the put has
 * ended. It should lie, and be long, as BLOB_LEND_ALIGN says. */
#define PUT_LENT 7
int put_lend(struct put *p, const void *data, size_t len, struct err *e);
void put_settle(struct put *p);
/* All bytes have come: those that stream become durable now, not at the commit.
 * An abort gives them to the garbage list. */
int put_store(struct put *p, struct err *e);
/* The whole body in one piece, which must stay until the put's end: a small one
 * is stored by put_commit() only, in one go with its record. */
int put_hold(struct put *p, const void *data, size_t len, struct err *e);
/* Bytes go to the garbage list or were never there. NULL in *pp is fine. */
void put_abort(struct put **pp);
/* Fills @o's size, mtime_ns, seq, version. @o->etag, headers, checksum are what
 * to store. Frees @p either way. */
int put_commit(struct put **pp, const struct user *owner,
    const struct write_cond *cond, struct object *o, struct err *e);

/* put_commit() in parts, for whom has better to do than to wait. @cond, @o, @a,
 * the held body and what they view stay until put_commit_end(). */
struct put_commit;
int put_commit_begin(struct put **pp, const struct user *owner,
    const struct write_cond *cond, struct object *o, struct arena *a,
    struct put_commit **ret, struct err *e);
/* Would put_commit_end() wait for others? */
bool put_commit_waits(const struct put_commit *pc);
/* True: @fn is called when it no longer would, once, on any thread, and must
 * not block. False: it does not wait, or no longer. */
bool put_commit_then(struct put_commit *pc, void (*fn)(void *arg), void *arg);
/* Waits. Frees it and the put either way. */
int put_commit_end(struct put_commit **pcp, struct err *e);

/* --- get --- */

struct object_reader;

/* Metadata only. @version: "" or "null" = newest. @part: 0 = whole. ERR_NO_SUCH_KEY,
 * ERR_NO_SUCH_VERSION. */
int object_head(struct store *s, const struct bucket *b, struct str key,
    struct str version, struct arena *a, struct object *ret, struct err *e);
/* The same, and the manifest, protected from the collector until closed. */
int object_open(struct store *s, const struct bucket *b, struct str key,
    struct str version, struct arena *a, struct object *ret,
    struct object_reader **ret_r, struct err *e);
/* Up to @len bytes at @off of the object's body, verified; short only at the
 * end. May read ahead. */
int object_read(struct object_reader *r, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e);
void object_close(struct object_reader **rp);
/* The whole body of a small object without a thread that waits for it, see
 * blob_read_later() in gateway/blob/blob.h; until then @r stays open and is not
 * used. Both false: only object_read() does it. */
#define OBJECT_LATER_MAX 28672
struct blob_later;
bool object_may_read_later(struct object_reader *r);
bool object_read_later(struct object_reader *r, void *p, struct blob_later *l);

struct object_part {
	uint32_t number; /* as uploaded, 1..10000 */
	uint64_t off, size;
	struct str etag;
	int64_t mtime_ns;
	struct checksum checksum;
};
/* One part by its number, and how many there are: 0 when it is no multipart
 * object. ERR_INVALID_PART_NUMBER when it has no such part. */
int object_part(struct object_reader *r, uint32_t number, struct arena *a,
    struct object_part *ret, size_t *ret_n, struct err *e);
/* All parts of a multipart object, in order; n 0 when it is not one. */
int object_parts(struct object_reader *r, struct arena *a,
    struct object_part **ret, size_t *ret_n, struct err *e);

/* --- copy, delete --- */

/* A read condition to be checked on the copy source inside the commit's view
 * is the caller's: it has the reader open. @o as for put_commit: what to store
 * (etag and checksum from the source unless changed). No data moves: the
 * manifest gets one more reference. Source = destination is allowed (metadata
 * change). ERR_RETRY: the source was replaced or deleted since it was opened, so
 * that its bytes may be garbage (O3): open it again and repeat. */
int object_copy(struct object_reader *src, const struct bucket *dst_bucket,
    struct str dst_key, const struct user *owner, const struct write_cond *cond,
    struct object *o, struct err *e);

/* Absent key: 0 (S3 deletes are idempotent), unless @if_match is given. */
int object_delete(struct store *s, const struct bucket *b, struct str key,
    struct str version, struct str if_match, struct err *e);
struct delete_item {
	struct str key, version, if_match; /* p NULL = not given */
	struct err err;                    /* result: code 0 = deleted */
};
/* One transaction (or a few), results per item. */
int object_delete_many(struct store *s, const struct bucket *b,
    struct delete_item *items, size_t n, struct err *e);

/* --- listing --- */

struct list_spec {
	struct str prefix,
	    delimiter; /* delimiter may be several bytes, or empty */
	struct str
	    after;    /* keys > after; a common prefix that is <= after is not
	    repeated (markers that are common prefixes) */
	uint32_t max; /* keys plus common prefixes, <= 1000 */
	bool fetch_owner;
};
struct list_entry {
	bool is_prefix;
	struct str key;  /* or the common prefix */
	struct object o; /* of a key: size, etag, mtime, checksum alg, owner;
	    headers only x-amz-storage-class */
	char owner_name[USER_NAME_MAX + 1];
};
struct list_page {
	struct list_entry *entries; /* in byte order */
	size_t n;
	bool is_truncated;
	struct str next; /* continue with after = next */
};
int object_list(struct store *s, const struct bucket *b,
    const struct list_spec *spec, struct arena *a, struct list_page *ret,
    struct err *e);

/* --- multipart --- */

struct upload {
	char id[65]; /* URL-safe text */
	struct str key;
	int64_t created_ns;
	char owner_id[65]; /* initiator and owner */
	char owner_name[USER_NAME_MAX + 1];
	struct header *headers;
	size_t n_headers;
	uint8_t checksum_alg; /* CHECKSUM_NONE: not asked for */
	bool checksum_is_composite;
};

int upload_create(struct store *s, const struct bucket *b, struct str key,
    const struct user *owner, const struct header *headers, size_t n_headers,
    uint8_t checksum_alg, bool is_composite, struct upload *ret, struct err *e);
int upload_get(struct store *s, const struct bucket *b, struct str key,
    struct str id, struct arena *a, struct upload *ret,
    struct err *e); /* ERR_NO_SUCH_UPLOAD */
/* A put begun with put_begin() becomes part @number, replacing an older one. */
int part_commit(struct put **pp, struct str upload_id, uint32_t number,
    struct object_part *part /* in: etag, checksum; out: size, mtime */,
    struct err *e);
/* UploadPartCopy: bytes [off, off+len) of @src as a part; no data moves. The
 * caller gives etag and checksum (it has read the bytes if it needs them). */
int part_copy(struct object_reader *src, uint64_t off, uint64_t len,
    const struct bucket *dst_bucket, struct str dst_key, struct str upload_id,
    uint32_t number, struct object_part *part, struct err *e);
int part_list(struct store *s, const struct bucket *b, struct str key,
    struct str id, uint32_t after, uint32_t max, struct arena *a,
    struct object_part **ret, size_t *ret_n, bool *ret_more, struct err *e);
struct complete_part {
	uint32_t number;
	struct str etag;          /* without quotes */
	struct checksum checksum; /* alg CHECKSUM_NONE: not given */
};
/* Parts strictly ascending (else ERR_INVALID_PART_ORDER), each there with that
 * ETag and checksum (ERR_INVALID_PART), all but the last >= @min_part
 * (ERR_ENTITY_TOO_SMALL). @want: whole-object checksum given by the client, or
 * NULL (ERR_BAD_DIGEST). @want_size: UINT64_MAX or x-amz-mp-object-size.
 * Idempotent: repeating a completed upload's Complete returns the same object.
 * Fills @ret (etag "md5-N", checksum combined or composite, size, mtime). */
int upload_complete(struct store *s, const struct bucket *b, struct str key,
    struct str id, const struct complete_part *parts, size_t n,
    uint64_t min_part, const struct checksum *want, uint64_t want_size,
    const struct write_cond *cond, struct arena *a, struct object *ret,
    struct err *e);
int upload_abort(struct store *s, const struct bucket *b, struct str key,
    struct str id, struct err *e);
struct upload_entry {
	bool is_prefix;
	struct upload u; /* or u.key = the common prefix */
};
/* In order of key, then of creation. After (key_marker, id_marker). */
int upload_list(struct store *s, const struct bucket *b, struct str prefix,
    struct str delimiter, struct str key_marker, struct str id_marker,
    uint32_t max, struct arena *a, struct upload_entry **ret, size_t *ret_n,
    bool *ret_more, struct err *e);

/* --- looking after --- */

struct store_stat {
	uint64_t garbage_rows, garbage_bytes, collected_blobs;
	int64_t last_collect_s, last_sweep_s;
};
void store_get_stat(struct store *s, struct store_stat *ret);
/* Deletes what is due on the garbage list, on the caller's thread. */
int store_collect(struct store *s, struct err *e);
/* Aborts uploads older than upload_expiry_s and forgets what was completed over a
 * day ago; the background thread does it hourly. */
int store_expire(struct store *s, struct err *e);
struct sweep_report {
	uint64_t seen, unknown, unknown_bytes, trashed;
	bool needs_confirm; /* fresh index, or more than 1 % unknown */
};
/* Finds blobs that no record names (DESIGN 3) and puts them on the list. */
int store_sweep(struct store *s, bool confirm, struct sweep_report *ret,
    struct err *e);
/* Checks every object's manifest against blob (and reads the bytes if @deep). */
int store_verify(struct store *s, bool deep,
    void (*bad)(void *arg, struct str bucket, struct str key,
	const struct err *why),
    void *arg, uint64_t *ret_objects, struct err *e);

#endif
