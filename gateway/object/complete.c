/* gateway/object/complete.c - parts become an object.
 *
 * What takes long (reading up to 10,000 part rows, checking them, combining
 * checksums) is done in a view; the transaction only checks, by the sequence of
 * the last change of parts, that it is still so. The part rows stay where they
 * are: they are the manifest's. */
#include "gateway/object/upload.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/hash.h"

#define ATTEMPTS 5

struct complete {
	const struct bucket *b;
	struct str key;
	struct upload_id id;
	const struct write_cond *cond;
	struct id128 manifest_id;
	/* from the view */
	Rec__Upload *upload;
	struct str parts_seq; /* "" = no part was ever written */
	Rec__Manifest manifest;
	uint32_t *unused;
	size_t n_unused;
	uint64_t size;
	struct str etag;
	struct checksum sum;
	/* encoded */
	struct str record, manifest_value;
	struct object *o;
	bool has_changed;
	uint64_t seq;
};

/* Checksums of the parts, taken together. */
struct summing {
	uint8_t alg;
	bool is_composite, is_known;
	uint8_t crc[8];
	size_t n;
	struct hashes h;
};

static bool
is_crc(uint8_t alg)
{
	return alg == CHECKSUM_CRC32 || alg == CHECKSUM_CRC32C ||
	       alg == CHECKSUM_CRC64NVME;
}

static enum hash_alg
hash_of(uint8_t alg) /* the enums have the same order */
{
	return (enum hash_alg)(alg - CHECKSUM_CRC32);
}

_Static_assert(CHECKSUM_XXHASH128 - CHECKSUM_CRC32 ==
		       HASH_XXHASH128 - HASH_CRC32 &&
		   CHECKSUM_MD5 - CHECKSUM_CRC32 == HASH_MD5,
    "checksum_alg and hash_alg have the same order");

static void
sum_begin(struct summing *m, const Rec__Upload *u, const struct checksum *want)
{
	m->alg = (uint8_t)u->checksum_alg;
	m->is_composite = u->checksum_composite;
	if (m->alg == CHECKSUM_NONE) {
		/* S3.md 2: the server adds CRC64NVME itself */
		m->alg = CHECKSUM_CRC64NVME;
		m->is_composite = false;
		if (want != NULL && is_crc(want->alg))
			m->alg = want->alg;
	}
	m->is_known = m->is_composite || is_crc(m->alg);
	m->n = 0;
	hashes_init(&m->h, HASH_BIT(hash_of(m->alg)));
}

static void
sum_part(struct summing *m, const struct rec_part *p)
{
	if (p->checksum.alg != m->alg) {
		m->is_known = false;
		return;
	}
	if (m->is_composite)
		hashes_update(&m->h, p->checksum.value, p->checksum.len);
	else if (m->n == 0)
		memcpy(m->crc, p->checksum.value, sizeof(m->crc));
	else if (m->is_known)
		m->is_known = hash_combine(hash_of(m->alg), m->crc,
		    p->checksum.value, p->size);
	m->n++;
}

static void
sum_end(struct summing *m, struct checksum *ret)
{
	struct hash_values v;
	struct str s;

	*ret = (struct checksum){ 0 };
	hashes_final(&m->h, &v);
	if (!m->is_known || m->n == 0)
		return;
	ret->alg = m->alg;
	ret->is_composite = m->is_composite;
	ret->len = (uint8_t)hash_size(hash_of(m->alg));
	s = m->is_composite ? hash_value(&v, hash_of(m->alg))
	                    : str_mem(m->crc, ret->len);
	memcpy(ret->value, s.p, ret->len);
}

static int
check_part(const struct complete_part *want, const struct rec_part *p,
    struct err *e)
{
	if (!str_eq(want->etag, p->etag))
		return err_set(e, ERR_INVALID_PART, NULL);
	if (want->checksum.alg == CHECKSUM_NONE)
		return 0;
	if (want->checksum.alg != p->checksum.alg ||
	    want->checksum.len != p->checksum.len ||
	    memcmp(want->checksum.value, p->checksum.value, p->checksum.len) !=
		0)
		return err_set(e, ERR_INVALID_PART, NULL);
	return 0;
}

/* MD5 of the parts' MD5s; their ETags are 32 hex digits, else their text. */
static void
etag_part(struct hashes *h, struct str etag)
{
	uint8_t md5[16];

	if (etag.len == 32 && hex_decode(etag, md5))
		hashes_update(h, md5, sizeof(md5));
	else
		hashes_update(h, etag.p, etag.len);
}

struct parts_scan {
	const struct complete_part *parts;
	size_t n, i;
	uint64_t min_part;
	struct summing sum;
	struct hashes md5;
	uint64_t last_size;
};

static int
scan_part(struct complete *c, struct parts_scan *s, uint32_t number,
    const struct rec_part *p, struct err *e)
{
	int rc;

	if (s->i == s->n || s->parts[s->i].number > number) {
		c->unused[c->n_unused++] = number;
		return 0;
	}
	if (s->parts[s->i].number < number)
		return err_set(e, ERR_INVALID_PART, NULL);
	rc = check_part(&s->parts[s->i], p, e);
	if (rc < 0)
		return rc;
	if (s->i > 0 && s->last_size < s->min_part)
		return err_set(e, ERR_ENTITY_TOO_SMALL, NULL);
	c->manifest.numbers[s->i] = number;
	c->manifest.sizes[s->i] = p->size;
	c->size += p->size;
	s->last_size = p->size;
	sum_part(&s->sum, p);
	etag_part(&s->md5, p->etag);
	s->i++;
	return 0;
}

static int
scan_parts(struct complete *c, struct parts_scan *s, struct kv_view *v,
    struct err *e)
{
	struct arena *scratch = arena_new(SCRATCH_MAX);
	struct kv_cursor *cur = NULL;
	struct key from, to;
	struct str k, value;
	int rc;

	if (scratch == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	key_parts(&from, &c->manifest_id);
	to = from;
	key_end(&to);
	rc = kv_cursor_open(v, key_str(&from), key_str(&to), &cur, e);
	while (rc == 0 && (rc = kv_cursor_next(cur, &k, &value, e)) == 1) {
		struct rec_part p;
		struct id128 of;
		uint32_t number;

		arena_reset(scratch);
		if (!key_part_parse(k, &of, &number))
			rc = err_set(e, ERR_CORRUPT, "part key");
		else
			rc = rec_part_get(value, scratch, &p, e);
		if (rc == 0)
			rc = scan_part(c, s, number, &p, e);
	}
	kv_cursor_close(&cur);
	arena_free(&scratch);
	if (rc == 0 && s->i < s->n)
		rc = err_set(e, ERR_INVALID_PART, NULL);
	return rc;
}

static int
examine(struct complete *c, struct parts_scan *s, const struct checksum *want,
    uint64_t want_size, struct arena *a, struct err *e)
{
	struct hash_values hv;
	char hex[33];

	sum_end(&s->sum, &c->sum);
	hashes_final(&s->md5, &hv);
	hex_encode(hash_value(&hv, HASH_MD5).p, 16, hex);
	c->etag = arena_fmt(a, "%.32s-%zu", hex, s->n);
	if (c->etag.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (want_size != UINT64_MAX && want_size != c->size)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The provided 'x-amz-mp-object-size' header does not "
		    "match what was computed.");
	if (want != NULL && want->alg != CHECKSUM_NONE &&
	    (want->alg != c->sum.alg || want->len != c->sum.len ||
		memcmp(want->value, c->sum.value, want->len) != 0))
		return err_set(e, ERR_BAD_DIGEST, NULL);
	return 0;
}

static int
allocate(struct complete *c, size_t n, struct arena *a, struct err *e)
{
	rec__manifest__init(&c->manifest);
	c->manifest.numbers = arena_alloc(a, n * sizeof(uint32_t));
	c->manifest.sizes = arena_alloc(a, n * sizeof(uint64_t));
	c->manifest.n_numbers = c->manifest.n_sizes = n;
	c->unused = arena_alloc(a, PART_NUMBER_MAX * sizeof(uint32_t));
	c->n_unused = 0;
	c->size = 0;
	if (c->manifest.numbers == NULL || c->manifest.sizes == NULL ||
	    c->unused == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return 0;
}

static int
encode(struct complete *c, struct arena *a, struct err *e)
{
	struct rec_object r = { .flags = REC_OBJECT_SHARED,
		.size = c->size,
		.write_id = c->manifest_id };
	struct object *o = c->o;
	int rc;

	*o = (struct object){ .key = arena_str(a, c->key),
		.size = c->size,
		.etag = c->etag,
		.mtime_ns = clock_real_ns(),
		.version = STR_LIT("null"),
		.checksum = c->sum,
		.n_parts = (uint32_t)c->manifest.n_numbers };
	owner_id_text(c->upload->owner_id, o->owner_id);
	rc = rec_headers_fill(a, c->upload->headers, c->upload->n_headers, NULL,
	    &o->headers, &o->n_headers, e);
	if (rc == 0)
		rc = rec_object_make(a, o, &c->manifest_id, NULL,
		    &c->manifest_id, &r.pb, e);
	if (rc == 0)
		rc = rec_object_put(a, &r, &c->record, e);
	if (rc == 0)
		rc =
		    rec_manifest_put(a, 1, &c->manifest, &c->manifest_value, e);
	return rc;
}

/* --- the transaction --- */

static int
put_marker(struct txn *t, const struct complete *c, struct err *e)
{
	Rec__Completed r;
	char bucket[sizeof(c->b->name)];
	uint8_t owner[OWNER_ID_RAW];
	struct key k;
	struct str v;
	int rc;

	rec__completed__init(&r);
	memcpy(bucket, c->b->name, sizeof(bucket));
	r.bucket = bucket;
	r.key = rec_bin(c->key.p, c->key.len);
	r.completed_ns = c->o->mtime_ns;
	r.incarnation = c->b->incarnation;
	r.seq = c->seq;
	r.size = c->size;
	r.mtime_ns = c->o->mtime_ns;
	r.n_parts = c->o->n_parts;
	if (owner_id_raw(c->o->owner_id, owner))
		r.owner_id = rec_bin(owner, sizeof(owner));
	rc = rec_etag_make(t->a, c->etag, &r.etag, e);
	if (rc == 0)
		rc = rec_checksum_make(t->a, &c->sum, &r.checksum, e);
	if (rc == 0)
		rc = rec_put(t->a, &r.base, &v, e);
	key_completed(&k, c->id.raw);
	return rc < 0 ? rc : txn_put(t, &k, v, e);
}

static int
read_unused(struct txn *t, const struct complete *c, struct str **ret,
    struct err *e)
{
	struct str *v = arena_alloc(t->a, c->n_unused * sizeof(*v));
	size_t i;

	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < c->n_unused; i++) {
		struct key k;
		bool found;
		int rc;

		key_part(&k, &c->manifest_id, c->unused[i]);
		rc = txn_get(t, &k, &found, &v[i], e);
		if (rc < 0)
			return rc;
		if (!found)
			v[i] = STR_NULL;
	}
	*ret = v;
	return 0;
}

static int
bury_unused(struct txn *t, const struct complete *c, const struct str *v,
    struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < c->n_unused && rc == 0; i++) {
		struct key k;

		if (v[i].p == NULL)
			continue;
		key_part(&k, &c->manifest_id, c->unused[i]);
		rc = txn_del(t, &k, e);
		if (rc == 0)
			rc = txn_garbage(t, t->now_ns, GARBAGE_PART, v[i], e);
	}
	return rc;
}

static int
complete_fn(struct txn *t, void *arg, struct err *e)
{
	struct complete *c = arg;
	uint64_t inc = c->b->incarnation;
	struct refs refs = { 0 };
	struct counters n;
	struct str seq, *unused;
	struct old old;
	struct key k;
	bool found;
	int rc;

	c->has_changed = false;
	rc = txn_bucket(t, c->b, e);
	if (rc == 0)
		rc = txn_upload(t, c->b, c->key, &c->id, e);
	if (rc == ERR_NO_SUCH_UPLOAD)
		c->has_changed = true; /* completed meanwhile, or aborted */
	if (rc < 0)
		return rc;
	key_parts_seq(&k, &c->manifest_id);
	rc = txn_get(t, &k, &found, &seq, e);
	if (rc < 0)
		return rc;
	if (!str_eq(found ? seq : STR_NULL, c->parts_seq)) {
		c->has_changed = true;
		return err_set(e, ERR_NOT_FOUND, "a part changed meanwhile");
	}
	rc = txn_old(t, inc, c->key, c->cond != NULL, &old, e);
	if (rc == 0)
		rc = txn_check_cond(t, &old, c->cond, e);
	if (rc == 0)
		rc = txn_old_release(t, &old, &refs, e);
	if (rc == 0)
		rc = refs_read(t, &refs, e);
	if (rc == 0)
		rc = read_unused(t, c, &unused, e);
	if (rc == 0)
		rc = txn_counters(t, inc, &n, e);
	if (rc < 0)
		return rc;
	c->seq = kv_tx_seq(t->tx);
	n.objects += !old.is_found;
	n.bytes += c->size - (old.is_found ? old.o.size : 0);
	n.uploads -= n.uploads > 0;

	rc = txn_old_bury(t, &old, e);
	if (rc == 0)
		rc = refs_write(t, &refs, e);
	if (rc == 0)
		rc = bury_unused(t, c, unused, e);
	if (rc == 0)
		rc = txn_upload_remove(t, inc, c->key, &c->id, false, e);
	key_manifest(&k, &c->manifest_id);
	if (rc == 0)
		rc = txn_put(t, &k, c->manifest_value, e);
	key_object(&k, inc, c->key, c->seq);
	if (rc == 0)
		rc = txn_put(t, &k, c->record, e);
	if (rc == 0)
		rc = put_marker(t, c, e);
	return rc < 0 ? rc : txn_put_counters(t, inc, &n, e);
}

/* --- repeated --- */

/* The ETag that Complete with these parts gives. */
static struct str
etag_of(const struct complete_part *parts, size_t n, struct arena *a)
{
	struct hash_values hv;
	struct hashes h;
	char hex[33];
	size_t i;

	hashes_init(&h, HASH_BIT(HASH_MD5));
	for (i = 0; i < n; i++)
		etag_part(&h, parts[i].etag);
	hashes_final(&h, &hv);
	hex_encode(hash_value(&hv, HASH_MD5).p, 16, hex);
	return arena_fmt(a, "%.32s-%zu", hex, n);
}

/* ERR_NO_SUCH_UPLOAD, or what was answered then. */
static int
find_completed(struct complete *c, struct kv_view *v,
    const struct complete_part *parts, size_t n, struct arena *a, struct err *e)
{
	struct object *o = c->o;
	Rec__Completed *r;
	struct str value;
	struct key k;
	int rc;

	key_completed(&k, c->id.raw);
	rc = kv_view_get(v, key_str(&k), &value, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	if (rc == 0)
		rc = REC_GET(value, completed, a, &r, e);
	if (rc < 0)
		return rc;
	if (r->incarnation != c->b->incarnation ||
	    !str_eq(c->key, str_mem(r->key.data, r->key.len)))
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	*o = (struct object){ .key = arena_str(a, c->key),
		.size = r->size,
		.mtime_ns = r->mtime_ns,
		.seq = r->seq,
		.version = STR_LIT("null"),
		.n_parts = r->n_parts };
	owner_id_text(r->owner_id, o->owner_id);
	rec_checksum_fill(r->checksum, &o->checksum);
	rc = rec_etag_fill(r->etag, a, &o->etag, e);
	if (rc < 0)
		return rc;
	if (!str_eq(o->etag, etag_of(parts, n, a)))
		return err_set(e, ERR_INVALID_PART, NULL);
	return 0;
}

/* 1: was completed before. */
static int
look(struct complete *c, struct store *s, struct parts_scan *scan,
    const struct checksum *want, struct arena *a, struct err *e)
{
	struct kv_view *v;
	struct str seq;
	struct key k;
	int rc = view_open(s, &v, e);

	if (rc < 0)
		return rc;
	rc = upload_read(v, c->b, c->key, &c->id, a, &c->upload, e);
	if (rc == ERR_NO_SUCH_UPLOAD) {
		rc = find_completed(c, v, scan->parts, scan->n, a, e);
		kv_view_close(&v);
		return rc < 0 ? rc : 1;
	}
	c->parts_seq = STR_NULL;
	key_parts_seq(&k, &c->manifest_id);
	if (rc == 0)
		rc = kv_view_get(v, key_str(&k), &seq, e);
	if (rc == 0)
		c->parts_seq = arena_str(a, seq);
	if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0) {
		scan->i = 0;
		sum_begin(&scan->sum, c->upload, want);
		hashes_init(&scan->md5, HASH_BIT(HASH_MD5));
		rc = scan_parts(c, scan, v, e);
	}
	kv_view_close(&v);
	return rc;
}

static int
check_order(const struct complete_part *parts, size_t n, struct err *e)
{
	size_t i;

	if (n == 0 || n > PART_NUMBER_MAX)
		return err_set(e, ERR_MALFORMED_XML, NULL);
	for (i = 0; i < n; i++) {
		if (parts[i].number < 1 || parts[i].number > PART_NUMBER_MAX)
			return err_set(e, ERR_INVALID_PART, NULL);
		if (i > 0 && parts[i].number <= parts[i - 1].number)
			return err_set(e, ERR_INVALID_PART_ORDER, NULL);
	}
	return 0;
}

int
upload_complete(struct store *s, const struct bucket *b, struct str key,
    struct str id, const struct complete_part *parts, size_t n,
    uint64_t min_part, const struct checksum *want, uint64_t want_size,
    const struct write_cond *cond, struct arena *a, struct object *ret,
    struct err *e)
{
	struct complete c = { .b = b, .key = key, .cond = cond, .o = ret };
	struct parts_scan scan = { .parts = parts,
		.n = n,
		.min_part = min_part };
	bool unknown;
	int i, rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc < 0)
		return rc;
	if (!upload_id_parse(id, &c.id))
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	rc = check_order(parts, n, e);
	if (rc < 0)
		return rc;
	c.manifest_id = upload_manifest(&c.id);
	for (i = 0; i < ATTEMPTS; i++) {
		rc = allocate(&c, n, a, e);
		if (rc == 0)
			rc = look(&c, s, &scan, want, a, e);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		rc = examine(&c, &scan, want, want_size, a, e);
		if (rc == 0)
			rc = encode(&c, a, e);
		if (rc < 0)
			return rc;
		rc = store_update(s, complete_fn, &c, &unknown, e);
		if (rc == 0) {
			ret->seq = c.seq;
			return 0;
		}
		/* An unknown outcome is settled by looking again. */
		if (!unknown && !c.has_changed)
			return rc;
		if (unknown) {
			int was = rc;

			rc = look(&c, s, &scan, want, a, e);
			return rc == 1 ? 0 : err_set(e, was, NULL);
		}
	}
	return err_set(e, ERR_RETRY, "parts keep changing");
}
