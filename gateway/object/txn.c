/* gateway/object/txn.c - see txn.h. */
#include "gateway/object/txn.h"

int
txn_get(struct txn *t, const struct key *k, bool *ret_found, struct str *ret,
    struct err *e)
{
	struct str v;
	int rc = kv_tx_get(t->tx, key_str(k), &v, e);

	if (rc == ERR_NOT_FOUND) {
		*ret_found = false;
		return 0;
	}
	if (rc < 0)
		return rc;
	*ret = arena_str(t->a, v);
	if (ret->p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	*ret_found = true;
	return 0;
}

int
txn_bucket(struct txn *t, const struct bucket *b, struct err *e)
{
	uint64_t incarnation;
	struct key k;
	struct str v;
	int rc;

	key_bucket(&k, str_of(b->name));
	rc = kv_tx_get(t->tx, key_str(&k), &v, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_NO_SUCH_BUCKET, NULL);
	if (rc < 0)
		return rc;
	rc = rec_bucket_head(v, &incarnation, e);
	if (rc < 0)
		return rc;
	if (incarnation != b->incarnation)
		return err_set(e, ERR_NO_SUCH_BUCKET, NULL);
	return 0;
}

int
txn_counters(struct txn *t, uint64_t incarnation, struct counters *ret,
    struct err *e)
{
	Rec__Counters *c;
	struct key k;
	struct str v;
	int rc;

	*ret = (struct counters){ 0 };
	key_counters(&k, incarnation);
	rc = kv_tx_get(t->tx, key_str(&k), &v, e);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	rc = REC_GET(v, counters, t->a, &c, e);
	if (rc < 0)
		return rc;
	*ret = (struct counters){ true, c->objects, c->bytes, c->uploads };
	return 0;
}

int
txn_put_counters(struct txn *t, uint64_t incarnation, const struct counters *c,
    struct err *e)
{
	Rec__Counters r = REC__COUNTERS__INIT;
	struct key k;
	struct str v;
	int rc;

	r.objects = c->objects;
	r.bytes = c->bytes;
	r.uploads = c->uploads;
	rc = rec_put(t->a, &r.base, &v, e);
	if (rc < 0)
		return rc;
	key_counters(&k, incarnation);
	return txn_put(t, &k, v, e);
}

int
txn_put(struct txn *t, const struct key *k, struct str value, struct err *e)
{
	return kv_tx_put(t->tx, key_str(k), value, e);
}

int
txn_del(struct txn *t, const struct key *k, struct err *e)
{
	return kv_tx_del(t->tx, key_str(k), e);
}

int
txn_garbage(struct txn *t, int64_t due_ns, enum garbage_kind kind,
    struct str payload, struct err *e)
{
	struct key k;
	struct str v;
	int rc = rec_garbage_put(t->a, kind, payload, &v, e);

	if (rc < 0)
		return rc;
	key_garbage(&k, due_ns, kv_tx_seq(t->tx), t->n_garbage++);
	return txn_put(t, &k, v, e);
}

/* --- references --- */

int
refs_add(struct txn *t, struct refs *r, const struct id128 *id, int64_t delta,
    struct err *e)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (id128_eq(&r->r[i].id, id)) {
			r->r[i].delta += delta;
			return 0;
		}
	if (r->n == r->size) {
		size_t size = r->size == 0 ? 4 : r->size * 2;
		struct ref *p = arena_alloc(t->a, size * sizeof(*p));

		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		if (r->n > 0)
			memcpy(p, r->r, r->n * sizeof(*p));
		r->r = p;
		r->size = size;
	}
	r->r[r->n++] = (struct ref){ .id = *id, .delta = delta };
	return 0;
}

int
refs_read(struct txn *t, struct refs *r, struct err *e)
{
	size_t i;

	for (i = 0; i < r->n; i++) {
		struct ref *f = &r->r[i];
		struct key k;
		bool found;
		int rc;

		key_manifest(&k, &f->id);
		rc = txn_get(t, &k, &found, &f->value, e);
		if (rc < 0)
			return rc;
		if (!found && f->delta > 0)
			return err_set(e, ERR_RETRY, "the source went away");
		if (!found) {
			/* Nothing to take off; a damaged index must not make
			 * an object undeletable. The sweep finds the bytes. */
			f->delta = 0;
			continue;
		}
		rc = rec_manifest_head(f->value, &f->refs, e);
		if (rc < 0)
			return rc;
		if ((int64_t)f->refs + f->delta < 0)
			return err_set(e, ERR_CORRUPT, "manifest references");
		if ((int64_t)f->refs + f->delta > INT32_MAX)
			return err_set(e, ERR_TOO_BIG, "manifest references");
	}
	return 0;
}

int
refs_write(struct txn *t, struct refs *r, struct err *e)
{
	size_t i;

	for (i = 0; i < r->n; i++) {
		const struct ref *f = &r->r[i];
		uint32_t refs = (uint32_t)((int64_t)f->refs + f->delta);
		struct key k;
		struct str v;
		char *p;
		int rc;

		if (f->delta == 0)
			continue;
		key_manifest(&k, &f->id);
		if (refs > 0) {
			rc =
			    rec_manifest_with_refs(t->a, f->value, refs, &v, e);
			if (rc == 0)
				rc = txn_put(t, &k, v, e);
			if (rc < 0)
				return rc;
			continue;
		}
		p = arena_alloc(t->a, 16 + f->value.len);
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		memcpy(p, f->id.b, 16);
		memcpy(p + 16, f->value.p, f->value.len);
		rc = txn_garbage(t, t->now_ns, GARBAGE_MANIFEST,
		    str_mem(p, 16 + f->value.len), e);
		if (rc == 0)
			rc = txn_del(t, &k, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- the object that is there --- */

int
txn_old(struct txn *t, uint64_t incarnation, struct str name, bool decode,
    struct old *ret, struct err *e)
{
	struct key from, to;
	struct str k, v, n;
	uint64_t inc;
	int rc;

	ret->is_found = false;
	key_name_from(&from, incarnation, name);
	key_name_to(&to, incarnation, name);
	rc = kv_tx_next(t->tx, key_str(&from), key_str(&to), &k, &v, e);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	if (!key_object_parse(k, &inc, &n, &ret->seq))
		return err_set(e, ERR_CORRUPT, "object key");
	ret->key.len = k.len;
	memcpy(ret->key.b, k.p, k.len);
	ret->value = arena_str(t->a, v);
	if (ret->value.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = rec_object_head(ret->value, &ret->o, e);
	if (rc < 0)
		return rc;
	if (decode || (ret->o.flags & REC_OBJECT_SHARED) != 0)
		rc = rec_object_get(ret->value, t->a, &ret->o, e);
	ret->is_found = rc == 0;
	return rc;
}

int
txn_old_release(struct txn *t, const struct old *o, struct refs *r,
    struct err *e)
{
	struct id128 id;
	int rc;

	if (!o->is_found || (o->o.flags & REC_OBJECT_SHARED) == 0)
		return 0;
	rc = rec_object_manifest_id(&o->o, &id, e);
	return rc < 0 ? rc : refs_add(t, r, &id, -1, e);
}

int
txn_old_bury(struct txn *t, const struct old *o, struct err *e)
{
	int rc;

	if (!o->is_found)
		return 0;
	rc = txn_del(t, &o->key, e);
	/* Shared: refs_write() does it. Without bytes there is nothing to do. */
	if (rc == 0 && (o->o.flags & REC_OBJECT_SHARED) == 0 && o->o.size > 0)
		rc = txn_garbage(t, t->now_ns, GARBAGE_OBJECT, o->value, e);
	return rc;
}

int
txn_check_if_match(struct txn *t, const struct old *o, struct str if_match,
    struct err *e)
{
	struct str etag;
	int rc;

	if (if_match.p == NULL)
		return 0;
	if (!o->is_found || (o->o.flags & REC_OBJECT_DELETE_MARKER) != 0)
		return err_set(e, ERR_NO_SUCH_KEY, NULL);
	if (str_eqz(if_match, "*"))
		return 0;
	MUST(o->o.pb != NULL);
	rc = rec_etag_fill(o->o.pb->etag, t->a, &etag, e);
	if (rc < 0)
		return rc;
	if (!str_eq(etag, if_match))
		return err_set(e, ERR_PRECONDITION_FAILED, NULL);
	return 0;
}

int
txn_check_cond(struct txn *t, const struct old *o, const struct write_cond *c,
    struct err *e)
{
	if (c == NULL)
		return 0;
	if (c->if_none_match_any && o->is_found &&
	    (o->o.flags & REC_OBJECT_DELETE_MARKER) == 0)
		return err_set(e, ERR_PRECONDITION_FAILED, NULL);
	return txn_check_if_match(t, o, c->if_match, e);
}
