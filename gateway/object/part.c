/* gateway/object/part.c - parts: uploaded, copied, listed.
 *
 * An uploaded part owns its extents. A copied one borrows those of the source's
 * manifest and holds one reference to it until it dies itself. Each change of
 * an upload's parts writes its sequence to a small row, by which Complete sees
 * that what it looked at is still so. */
#include "gateway/object/put.h"
#include "gateway/object/share.h"
#include "gateway/object/upload.h"

#include "lib/bytes.h"
#include "lib/clock.h"

struct part_write {
	const struct bucket *b;
	struct str key;
	struct upload_id id;
	uint32_t number;
	struct str record;
	struct share *share; /* NULL: uploaded */
};

static int
part_fn(struct txn *t, void *arg, struct err *e)
{
	struct part_write *c = arg;
	struct id128 m = upload_manifest(&c->id);
	struct refs refs = { 0 };
	struct key k, seq_key;
	struct str old;
	uint8_t seq[8];
	bool found;
	int rc;

	rc = txn_bucket(t, c->b, e);
	if (rc == 0)
		rc = txn_upload(t, c->b, c->key, &c->id, e);
	key_part(&k, &m, c->number);
	if (rc == 0)
		rc = txn_get(t, &k, &found, &old, e);
	if (rc == 0 && c->share != NULL)
		rc = share_read(t, c->share, &refs, e);
	if (rc == 0)
		rc = refs_read(t, &refs, e);
	if (rc < 0)
		return rc;
	if (c->share != NULL)
		rc = share_write(t, c->share, e);
	if (rc == 0)
		rc = refs_write(t, &refs, e);
	if (rc == 0 && found)
		rc = txn_garbage(t, t->now_ns, GARBAGE_PART, old, e);
	if (rc == 0)
		rc = txn_put(t, &k, c->record, e);
	if (rc < 0)
		return rc;
	key_parts_seq(&seq_key, &m);
	put_be64(seq, kv_tx_seq(t->tx));
	return txn_put(t, &seq_key, str_mem(seq, sizeof(seq)), e);
}

static int
check(struct part_write *c, struct str id, struct err *e)
{
	if (c->number < 1 || c->number > PART_NUMBER_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, "
		    "inclusive");
	if (!upload_id_parse(id, &c->id))
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	return 0;
}

/* Was it committed after all? */
static bool
settle(struct put *p, const struct part_write *c)
{
	struct arena *a = arena_new(SCRATCH_MAX);
	struct id128 m = upload_manifest(&c->id);
	struct kv_view *v = NULL;
	struct err e = ERR_INIT;
	struct rec_part r;
	struct str value;
	bool yes = false;
	struct key k;

	key_part(&k, &m, c->number);
	if (a != NULL && view_open(p->s, &v, &e) == 0) {
		yes = kv_view_get(v, key_str(&k), &value, &e) == 0 &&
		      str_eq(value, c->record);
		if (yes)
			yes = rec_part_get(value, a, &r, &e) == 0 &&
			      r.x.n > 0 &&
			      id128_eq(&r.x.e[0].write_id, &p->write_id);
		kv_view_close(&v);
	}
	arena_free(&a);
	return yes;
}

int
part_commit(struct put **pp, struct str upload_id, uint32_t number,
    struct object_part *part, struct err *e)
{
	struct put *p = *pp;
	struct part_write c = { .b = &p->bucket,
		.key = key_str(&p->key),
		.number = number };
	struct rec_part r = { .size = p->total,
		.etag = part->etag,
		.checksum = part->checksum };
	struct arena *a = NULL;
	bool unknown = false;
	int rc;

	rc = check(&c, upload_id, e);
	if (rc == 0)
		rc = put_finish(p, e);
	if (rc < 0)
		goto out;
	a = arena_new(SCRATCH_MAX);
	if (a == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, NULL);
		goto out;
	}
	r.mtime_ns = clock_real_ns();
	rc = put_extents(p, a, &r.x, e);
	if (rc == 0)
		rc = rec_part_put(a, &r, &c.record, e);
	if (rc == 0)
		rc = store_update(p->s, part_fn, &c, &unknown, e);
	if (unknown && settle(p, &c))
		rc = 0;
	if (rc == 0) {
		part->number = number;
		part->size = p->total;
		part->mtime_ns = r.mtime_ns;
	}
out:
	arena_free(&a);
	put_end(pp, rc < 0 && !unknown);
	return rc;
}

int
part_copy(struct object_reader *src, uint64_t off, uint64_t len,
    const struct bucket *dst_bucket, struct str dst_key, struct str upload_id,
    uint32_t number, struct object_part *part, struct err *e)
{
	struct share share;
	struct part_write c = { .b = dst_bucket,
		.key = dst_key,
		.number = number };
	struct rec_part r = { .size = len,
		.etag = part->etag,
		.checksum = part->checksum };
	struct arena *a = NULL;
	int rc;

	OBJ_CHECK(src->s, STORE_MAGIC);
	rc = check(&c, upload_id, e);
	if (rc == 0)
		rc = check_object_key(dst_key, e);
	if (rc < 0)
		return rc;
	if (off > src->size || len > src->size - off)
		return err_set(e, ERR_INVALID_RANGE, NULL);
	a = arena_new(SCRATCH_MAX);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	r.mtime_ns = clock_real_ns();
	if (len > 0) {
		share_init(&share, src);
		c.share = &share;
		r.is_borrowed = true;
		r.borrowed = share.id;
		rc = reader_extents(src, off, len, a, &r.x, e);
	}
	if (rc == 0)
		rc = rec_part_put(a, &r, &c.record, e);
	if (rc == 0)
		rc = store_update(src->s, part_fn, &c, NULL, e);
	if (rc < 0 && c.share != NULL && share.is_gone)
		rc = err_set(e, ERR_RETRY, "the source changed meanwhile");
	if (rc == 0) {
		part->number = number;
		part->size = len;
		part->mtime_ns = r.mtime_ns;
	}
	arena_free(&a);
	return rc;
}

int
part_list(struct store *s, const struct bucket *b, struct str key,
    struct str id, uint32_t after, uint32_t max, struct arena *a,
    struct object_part **ret, size_t *ret_n, bool *ret_more, struct err *e)
{
	struct object_part *out = NULL;
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct arena *scratch;
	struct key from, to;
	struct upload_id raw;
	size_t n = 0, size = 0;
	bool more = false;
	Rec__Upload *u;
	struct id128 m;
	struct str k, value;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc < 0)
		return rc;
	if (!upload_id_parse(id, &raw))
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	m = upload_manifest(&raw);
	scratch = arena_new(SCRATCH_MAX);
	if (scratch == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = view_open(s, &v, e);
	if (rc == 0)
		rc = upload_read(v, b, key, &raw, a, &u, e);
	key_part(&from, &m, after < PART_NUMBER_MAX ? after + 1 : UINT32_MAX);
	key_parts(&to, &m);
	key_end(&to);
	if (rc == 0)
		rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	while (rc == 0 && (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
		struct rec_part r;
		struct id128 of;
		uint32_t number;

		rc = 0;
		arena_reset(scratch);
		if (n == max) {
			more = true;
			break;
		}
		if (n == size) {
			size_t bigger = size == 0 ? 16 : size * 2;
			struct object_part *q =
			    arena_alloc(a, bigger * sizeof(*q));

			if (q == NULL) {
				rc = err_set(e, ERR_NO_MEMORY, NULL);
				break;
			}
			if (n > 0)
				memcpy(q, out, n * sizeof(*q));
			out = q;
			size = bigger;
		}
		if (!key_part_parse(k, &of, &number))
			rc = err_set(e, ERR_CORRUPT, "part key");
		else
			rc = rec_part_get(value, scratch, &r, e);
		if (rc == 0) {
			r.etag = arena_str(a, r.etag);
			if (r.etag.p == NULL)
				rc = err_set(e, ERR_NO_MEMORY, NULL);
		}
		if (rc == 0)
			out[n++] = (struct object_part){ .number = number,
				.size = r.size,
				.etag = r.etag,
				.mtime_ns = r.mtime_ns,
				.checksum = r.checksum };
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	arena_free(&scratch);
	if (rc < 0)
		return rc;
	*ret = out;
	*ret_n = n;
	*ret_more = more;
	return 0;
}
