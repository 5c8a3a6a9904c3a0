/* gateway/object/sweep.c - blobs that no record names go to the trash.
 *
 * W1  Only blobs of class S3 and of this index's UUID are looked at.
 * W2  A blob is unknown when its write ID is neither with an upload in progress
 *     nor named by any object, manifest, part or garbage row of a view that was
 *     opened after both the blobs and the uploads were listed. Whatever was
 *     committed before is in that view; an upload that began later is not in
 *     the list of blobs.
 * W3  Nothing is taken when the index is fresh or more than 1 % would go,
 *     unless confirmed. A fresh index in which nothing is unknown is fresh no
 *     more.
 * W4  Unknown blobs go on the garbage list, due when trash_s has passed: that
 *     is where they can be taken back from.
 * Memory is bounded: blobs are looked at in slices of their write IDs. With
 * several gateways the uploads in progress will be leases in the index. */
#include "gateway/object/collect.h"

#include "gateway/object/put.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/mem.h"

#define SLICE 500000 /* blobs looked at in one go */
#define TRASH_BATCH 200

struct seen {
	struct id128 write_id;
	uint64_t size; /* top bit: known */
};
#define KNOWN ((uint64_t)1 << 63)

struct seen_list {
	struct seen *v;
	size_t n, size;
};

struct sweep {
	struct store *s;
	uint32_t slices, slice;
	uint64_t count;
	struct seen_list list;    /* of the slice */
	struct seen_list unknown; /* of all slices so far */
	struct arena *a;
	struct err *e;
};

static int
append(struct seen_list *l, const struct seen *x, struct err *e)
{
	if (l->n == l->size) {
		size_t size = l->size == 0 ? 256 : l->size * 2;
		struct seen *v = mem_realloc(l->v, size * sizeof(*v));

		if (v == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		l->v = v;
		l->size = size;
	}
	l->v[l->n++] = *x;
	return 0;
}

static int
cmp(const void *a, const void *b)
{
	return memcmp(((const struct seen *)a)->write_id.b,
	    ((const struct seen *)b)->write_id.b, 16);
}

static void
mark(struct sweep *w, const struct id128 *id)
{
	struct seen key = { .write_id = *id };
	struct seen *x;

	if (w->list.n == 0 || get_be32(id->b + 12) % w->slices != w->slice)
		return;
	x = bsearch(&key, w->list.v, w->list.n, sizeof(key), cmp);
	if (x != NULL)
		x->size |= KNOWN;
}

static void
mark_all(struct sweep *w, const struct extents *x)
{
	size_t i;

	for (i = 0; i < x->n; i++)
		mark(w, &x->e[i].write_id);
}

/* --- blobs (W1) --- */

static int
count_blob(void *arg, const struct blob_info *i)
{
	struct sweep *w = arg;

	w->count += id128_eq(&i->index_id, &w->s->index_id) != 0;
	return 0;
}

static int
list_blob(void *arg, const struct blob_info *i)
{
	struct sweep *w = arg;
	struct seen x = { i->write_id, i->size & ~KNOWN };

	if (!id128_eq(&i->index_id, &w->s->index_id) ||
	    get_be32(i->write_id.b + 12) % w->slices != w->slice)
		return 0;
	return append(&w->list, &x, w->e);
}

/* --- records (W2) --- */

static void
mark_puts(struct sweep *w)
{
	const struct put *p;
	size_t i;

	lock_take(&w->s->lock);
	for (p = w->s->puts; p != NULL; p = p->next) {
		mark(w, &p->write_id);
		for (i = 0; i < p->n; i++)
			mark(w, &p->x[i].write_id);
	}
	lock_drop(&w->s->lock);
}

static int
mark_row(struct sweep *w, enum key_table table, struct str value, struct err *e)
{
	struct extents x = { 0 };
	struct rec_object o;
	struct rec_part p;
	Rec__Manifest *m;
	struct str payload;
	struct id128 ref;
	uint32_t refs;
	uint8_t kind;
	bool has_ref;
	int rc;

	switch (table) {
	case KEY_OBJECT:
		rc = rec_object_get(value, w->a, &o, e);
		if (rc == 0)
			rc = rec_object_extents(&o, w->a, &x, e);
		break;
	case KEY_MANIFEST:
		rc = rec_manifest_get(value, w->a, &refs, &m, e);
		if (rc == 0)
			rc = rec_extents_fill(w->a, m->extents, m->n_extents,
			    NULL, &x, e);
		break;
	case KEY_PART:
		rc = rec_part_get(value, w->a, &p, e);
		if (rc == 0)
			x = p.x;
		break;
	default:
		rc = rec_garbage_get(value, &kind, &payload, e);
		if (rc == 0)
			rc = garbage_extents(kind, payload, w->a, &x, &has_ref,
			    &ref, e);
		break;
	}
	if (rc == 0)
		mark_all(w, &x);
	return rc;
}

static int
mark_table(struct sweep *w, struct kv_view *v, enum key_table table,
    struct err *e)
{
	struct kv_cursor *c = NULL;
	struct key from, to;
	struct str k, value;
	int rc;

	key_table(&from, table);
	to = from;
	key_end(&to);
	rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	while (rc == 0 && (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
		arena_reset(w->a);
		/* An unreadable record stops the sweep: it may name any. */
		rc = mark_row(w, table, value, e);
	}
	kv_cursor_close(&c);
	return rc;
}

static int
mark_records(struct sweep *w, struct err *e)
{
	static const enum key_table tables[] = { KEY_OBJECT, KEY_MANIFEST,
		KEY_PART, KEY_GARBAGE };
	struct kv_view *v = NULL;
	size_t i;
	int rc = view_open(w->s, &v, e);

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]) && rc == 0; i++)
		rc = mark_table(w, v, tables[i], e);
	kv_view_close(&v);
	return rc;
}

static int
take_unknown(struct sweep *w, struct err *e)
{
	struct blob_info info;
	size_t i;
	int rc;

	for (i = 0; i < w->list.n; i++) {
		if ((w->list.v[i].size & KNOWN) != 0)
			continue;
		/* collected meanwhile, perhaps */
		rc = blob_find_write(w->s->blob, &w->list.v[i].write_id, &info,
		    e);
		if (rc == ERR_NOT_FOUND)
			continue;
		if (rc == 0)
			rc = append(&w->unknown, &w->list.v[i], e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
look_at_slice(struct sweep *w, struct err *e)
{
	int rc;

	w->list.n = 0;
	rc = blob_each(w->s->blob, BLOB_CLASS_S3, list_blob, w, e);
	if (rc < 0)
		return rc;
	if (w->list.n > 1)
		qsort(w->list.v, w->list.n, sizeof(struct seen), cmp);
	mark_puts(w); /* after the blobs, before the view */
	rc = mark_records(w, e);
	return rc < 0 ? rc : take_unknown(w, e);
}

/* --- trash (W4) --- */

struct trash {
	struct extents x;
	int64_t due_ns;
};

static int
trash_fn(struct txn *t, void *arg, struct err *e)
{
	const struct trash *c = arg;
	Rec__Manifest m = REC__MANIFEST__INIT;
	struct str v;
	int rc = rec_extents_make(t->a, &c->x, NULL, &m.extents, e);

	m.n_extents = c->x.n;
	if (rc == 0)
		rc = rec_manifest_put(t->a, 1, &m, &v, e);
	return rc < 0 ? rc : txn_garbage(t, c->due_ns, GARBAGE_EXTENTS, v, e);
}

static int
trash(struct sweep *w, uint64_t *ret_trashed, struct err *e)
{
	struct extent x[TRASH_BATCH];
	struct trash c = { .x = { x, 0 }, .due_ns = clock_real_ns() };
	size_t i;

	lock_take(&w->s->lock);
	c.due_ns += w->s->conf.trash_s * 1000000000;
	lock_drop(&w->s->lock);
	for (i = 0; i < w->unknown.n; i++) {
		struct blob_info info;
		int rc = blob_find_write(w->s->blob, &w->unknown.v[i].write_id,
		    &info, e);

		if (c.x.n == 0)
			arena_reset(w->a);
		if (rc == 0) {
			x[c.x.n] = (struct extent){ .id = arena_str(w->a,
							str_of(info.id)),
				.write_id = info.write_id,
				.len = info.size };
			if (x[c.x.n++].id.p == NULL)
				return err_set(e, ERR_NO_MEMORY, NULL);
		} else if (rc != ERR_NOT_FOUND) {
			return rc;
		}
		if (c.x.n == TRASH_BATCH ||
		    (i + 1 == w->unknown.n && c.x.n > 0)) {
			rc = store_update(w->s, trash_fn, &c, NULL, e);
			if (rc < 0)
				return rc;
			*ret_trashed += c.x.n;
			c.x.n = 0;
		}
	}
	return 0;
}

static int
run(struct sweep *w, bool confirm, struct sweep_report *ret, struct err *e)
{
	struct store *s = w->s;
	bool fresh = kv_is_fresh(s->kv);
	size_t i;
	int rc = blob_each(s->blob, BLOB_CLASS_S3, count_blob, w, e);

	if (rc < 0)
		return rc;
	w->slices = (uint32_t)(w->count / SLICE + 1);
	for (w->slice = 0; w->slice < w->slices; w->slice++) {
		rc = look_at_slice(w, e);
		if (rc < 0)
			return rc;
	}
	*ret =
	    (struct sweep_report){ .seen = w->count, .unknown = w->unknown.n };
	for (i = 0; i < w->unknown.n; i++)
		ret->unknown_bytes += w->unknown.v[i].size & ~KNOWN;
	/* W3 */
	ret->needs_confirm = !confirm && w->unknown.n > 0 &&
	                     (fresh || ret->unknown * 100 > ret->seen);
	if (ret->needs_confirm)
		return 0;
	rc = trash(w, &ret->trashed, e);
	if (rc == 0 && fresh)
		rc = kv_clear_fresh(s->kv, e);
	if (rc < 0)
		return rc;
	lock_take(&s->lock);
	s->stat.last_sweep_s = clock_real_s();
	lock_drop(&s->lock);
	return 0;
}

int
store_sweep(struct store *s, bool confirm, struct sweep_report *ret,
    struct err *e)
{
	struct sweep w = { .s = s, .e = e };
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	w.a = arena_new(SCRATCH_MAX);
	if (w.a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	collect_begin(s);
	rc = run(&w, confirm, ret, e);
	collect_end(s);
	arena_free(&w.a);
	mem_free(&w.list.v);
	mem_free(&w.unknown.v);
	return rc;
}
