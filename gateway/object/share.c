/* gateway/object/share.c - see share.h.
 *
 * The manifest of an object that was never copied is inline in its record. The
 * first copy makes it a row, named by the record's write ID, with two
 * references; the source's record then names the row. That the source's row is
 * still there, with its sequence, proves that its bytes are not garbage: what
 * puts them on the list takes the row away in the same transaction. */
#include "gateway/object/share.h"

void
share_init(struct share *h, const struct object_reader *src)
{
	*h = (struct share){ .src = src,
		.id = src->is_shared ? src->manifest_id : src->write_id };
}

static int
make_row(struct txn *t, struct share *h, struct rec_object *o, struct err *e)
{
	Rec__Manifest m = REC__MANIFEST__INIT;
	struct extents x;
	int rc = rec_object_extents(o, t->a, &x, e);

	if (rc == 0)
		rc = rec_extents_make(t->a, &x, NULL, &m.extents, e);
	if (rc < 0)
		return rc;
	m.n_extents = x.n;
	rc = rec_manifest_put(t->a, 2, &m, &h->manifest_value, e);
	if (rc < 0)
		return rc;
	o->flags |= REC_OBJECT_SHARED;
	o->pb->n_extents = 0;
	o->pb->manifest_id = rec_bin(h->id.b, 16);
	h->is_inline = true;
	return rec_object_put(t->a, o, &h->src_value, e);
}

int
share_read(struct txn *t, struct share *h, struct refs *refs, struct err *e)
{
	const struct object_reader *r = h->src;
	struct rec_object o;
	struct id128 id;
	struct str v;
	bool found;
	int rc;

	h->is_inline = h->is_gone = false;
	key_object(&h->src_key, r->incarnation, r->key, r->seq);
	rc = txn_get(t, &h->src_key, &found, &v, e);
	if (rc == 0 && found)
		rc = rec_object_get(v, t->a, &o, e);
	if (rc < 0)
		return rc;
	if (!found || !id128_eq(&o.write_id, &r->write_id)) {
		h->is_gone = true;
		return err_set(e, ERR_NOT_FOUND, "the source went away");
	}
	if ((o.flags & REC_OBJECT_SHARED) == 0)
		return o.size == 0 ? 0 : make_row(t, h, &o, e);
	rc = rec_object_manifest_id(&o, &id, e);
	if (rc < 0)
		return rc;
	if (!id128_eq(&id, &h->id))
		return err_set(e, ERR_CORRUPT, "manifest ID of the source");
	return refs_add(t, refs, &id, 1, e);
}

int
share_write(struct txn *t, const struct share *h, struct err *e)
{
	struct key k;
	int rc;

	if (!h->is_inline)
		return 0;
	key_manifest(&k, &h->id);
	rc = txn_put(t, &k, h->manifest_value, e);
	return rc < 0 ? rc : txn_put(t, &h->src_key, h->src_value, e);
}
