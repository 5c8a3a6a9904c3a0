/* gateway/object/copy.c - a copy is one more reference to the manifest. */
#include "gateway/object/share.h"

#include "lib/clock.h"

struct copy {
	const struct object_reader *src;
	const struct bucket *b;
	struct str key;
	const struct write_cond *cond;
	struct id128 write_id;
	struct share share;
	struct str inlined; /* record with the source's own extents, or "" */
	struct str shared;  /* record that names the manifest's row */
	uint64_t seq;
};

/* The destination is the source: its manifest moves to the new record. */
static int
replace_self(struct txn *t, struct copy *c, const struct old *old,
    struct err *e)
{
	bool shared = (old->o.flags & REC_OBJECT_SHARED) != 0;
	struct key k;
	int rc = txn_del(t, &old->key, e);

	if (rc < 0)
		return rc;
	key_object(&k, c->b->incarnation, c->key, c->seq);
	return txn_put(t, &k, shared ? c->shared : c->inlined, e);
}

static int
copy_fn(struct txn *t, void *arg, struct err *e)
{
	struct copy *c = arg;
	uint64_t inc = c->b->incarnation;
	struct refs refs = { 0 };
	struct counters n;
	struct old old;
	struct key k;
	int rc;

	c->share.is_gone = false;
	rc = txn_bucket(t, c->b, e);
	if (rc == 0)
		rc = txn_old(t, inc, c->key, c->cond != NULL, &old, e);
	if (rc < 0)
		return rc;
	if (old.is_found && id128_eq(&old.o.write_id, &c->write_id)) {
		c->seq = old.seq;
		return 0;
	}
	c->seq = kv_tx_seq(t->tx);
	rc = txn_check_cond(t, &old, c->cond, e);
	if (rc < 0)
		return rc;
	if (old.is_found && inc == c->src->incarnation &&
	    old.seq == c->src->seq && str_eq(c->key, c->src->key))
		return replace_self(t, c, &old, e);
	rc = share_read(t, &c->share, &refs, e);
	if (rc == 0)
		rc = txn_old_release(t, &old, &refs, e);
	if (rc == 0)
		rc = refs_read(t, &refs, e);
	if (rc == 0)
		rc = txn_counters(t, inc, &n, e);
	if (rc < 0)
		return rc;
	n.objects += !old.is_found;
	n.bytes += c->src->size - (old.is_found ? old.o.size : 0);

	rc = share_write(t, &c->share, e);
	if (rc == 0)
		rc = txn_old_bury(t, &old, e);
	if (rc == 0)
		rc = refs_write(t, &refs, e);
	key_object(&k, inc, c->key, c->seq);
	if (rc == 0)
		rc = txn_put(t, &k,
		    c->src->size == 0 && !c->src->is_shared ? c->inlined
							    : c->shared,
		    e);
	return rc < 0 ? rc : txn_put_counters(t, inc, &n, e);
}

static int
encode(struct copy *c, struct arena *a, const struct object *o, struct err *e)
{
	const struct object_reader *r = c->src;
	struct rec_object rec = { .size = r->size, .write_id = c->write_id };
	int rc = 0;

	if (!r->is_shared) {
		rc = rec_object_make(a, o, &c->write_id, &r->x, NULL, &rec.pb,
		    e);
		if (rc == 0)
			rc = rec_object_put(a, &rec, &c->inlined, e);
	}
	if (rc == 0)
		rc = rec_object_make(a, o, &c->write_id, NULL, &c->share.id,
		    &rec.pb, e);
	rec.flags = REC_OBJECT_SHARED;
	return rc < 0 ? rc : rec_object_put(a, &rec, &c->shared, e);
}

static bool
settle(struct store *s, struct copy *c)
{
	struct err e = ERR_INIT;
	struct rec_object o;
	struct kv_view *v;
	struct row row;
	bool yes = false;

	if (view_open(s, &v, &e) < 0)
		return false;
	if (view_newest(v, c->b->incarnation, c->key, &row, &e) == 0 &&
	    row.is_found && rec_object_head(row.value, &o, &e) == 0 &&
	    id128_eq(&o.write_id, &c->write_id)) {
		c->seq = row.seq;
		yes = true;
	}
	kv_view_close(&v);
	return yes;
}

int
object_copy(struct object_reader *src, const struct bucket *dst_bucket,
    struct str dst_key, const struct user *owner, const struct write_cond *cond,
    struct object *o, struct err *e)
{
	struct copy c = { .src = src,
		.b = dst_bucket,
		.key = dst_key,
		.cond = cond,
		.write_id = id128_new_ordered() };
	struct store *s = src->s;
	bool unknown = false;
	struct arena *a;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(dst_key, e);
	if (rc < 0)
		return rc;
	a = arena_new(SCRATCH_MAX);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	share_init(&c.share, src);
	memcpy(o->owner_id, owner->id, sizeof(o->owner_id));
	o->mtime_ns = clock_real_ns();
	o->n_parts = (uint32_t)src->n_parts;
	rc = encode(&c, a, o, e);
	if (rc == 0)
		rc = store_update(s, copy_fn, &c, &unknown, e);
	if (unknown && settle(s, &c))
		rc = 0;
	if (rc < 0 && c.share.is_gone)
		rc = err_set(e, ERR_RETRY, "the source changed meanwhile");
	if (rc == 0) {
		o->size = src->size;
		o->seq = c.seq;
		o->version = STR_LIT("null");
		o->is_delete_marker = false;
	}
	arena_free(&a);
	return rc;
}
