/* gateway/index/kv_view.c - reading: views and cursors (gateway/index/kv.h).
 *
 * A view costs one lock, one renewed LMDB reader and two references; views and
 * their readers are pooled. */
#include "gateway/index/kv_priv.h"

#include "lib/mem.h"

#define POOL_MAX 256

static struct kv_view *
view_new(struct kv *k, struct err *e)
{
	struct kv_view *v = mem_zalloc(sizeof(*v));

	if (v == NULL) {
		err_set(e, ERR_NO_MEMORY, NULL);
		return NULL;
	}
	v->magic = KV_VIEW_MAGIC;
	v->kv = k;
	return v;
}

static void
view_free(struct kv_view *v)
{
	tree_reader_free(&v->reader);
	v->magic = 0;
	mem_free(&v);
}

/* Under view_lock, which it may give up while the map grows. */
static int
view_take(struct kv *k, struct kv_view *v, struct err *e)
{
	int rc = 0;

	/* A reader is born inside too: it begins a transaction (X3). */
	if (v->reader == NULL)
		rc = tree_reader_new(k->tree, &v->reader, e);
	if (rc == 0)
		rc = tree_reader_renew(v->reader, e);
	if (rc < 0)
		return rc;
	table_ref(k->active);
	v->tables[0] = k->active;
	v->tables[1] = NULL;
	if (k->flushing != NULL) {
		table_ref(k->flushing);
		v->tables[1] = k->flushing;
	}
	v->seq = k->seq;
	v->n_cursors = 0;
	k->n_views++;
	return 0;
}

int
kv_view_open(struct kv *k, struct kv_view **ret, struct err *e)
{
	struct kv_view *v;
	int rc;

	OBJ_CHECK(k, KV_MAGIC);
	lock_take(&k->view_lock);
	while (k->is_growing)
		cond_wait(&k->grown, &k->view_lock);
	v = k->pool;
	if (v != NULL) {
		k->pool = v->next;
		k->n_pooled--;
	} else {
		v = view_new(k, e);
		if (v == NULL) {
			lock_drop(&k->view_lock);
			return ERR_NO_MEMORY;
		}
	}
	rc = view_take(k, v, e);
	if (rc < 0)
		view_free(v);
	lock_drop(&k->view_lock);
	if (rc == 0)
		*ret = v;
	return rc;
}

void
kv_view_close(struct kv_view **vp)
{
	struct kv_view *v = *vp;
	struct table *tables[2];
	struct kv *k;

	*vp = NULL;
	if (v == NULL)
		return;
	OBJ_CHECK(v, KV_VIEW_MAGIC);
	MUST(v->n_cursors == 0);
	k = v->kv;
	tree_reader_reset(v->reader);
	memcpy(tables, v->tables, sizeof(tables));
	v->tables[0] = v->tables[1] = NULL;
	lock_take(&k->view_lock);
	k->n_views--;
	if (k->is_growing && k->n_views == 0)
		cond_broadcast(&k->views_gone);
	if (k->n_pooled < POOL_MAX) {
		v->next = k->pool;
		k->pool = v;
		k->n_pooled++;
		v = NULL;
	}
	if (v != NULL)
		view_free(v);
	lock_drop(&k->view_lock);
	table_unref(&tables[0]);
	table_unref(&tables[1]);
}

void
kv_view_pool_free(struct kv *k)
{
	struct kv_view *v;

	while ((v = k->pool) != NULL) {
		k->pool = v->next;
		view_free(v);
	}
	k->n_pooled = 0;
}

uint64_t
kv_view_seq(const struct kv_view *v)
{
	OBJ_CHECK(v, KV_VIEW_MAGIC);
	return v->seq;
}

int
kv_record_get(struct kv_view *v, uint64_t seq, struct str key, struct str *ret,
    struct err *e)
{
	struct str raw;
	int rc;

	if (key.len == 0 || key.len > KV_KEY_MAX)
		return err_set(e, ERR_INVALID, "key of %zu bytes", key.len);
	for (int i = 0; i < 2; i++) {
		if (v->tables[i] == NULL ||
		    !table_get(v->tables[i], key, seq, &raw))
			continue;
		if (raw.p == NULL)
			return err_set(e, ERR_NOT_FOUND, NULL);
		return ops_unwrap(key, raw, ret, e);
	}
	rc = tree_get(v->reader, key, &raw, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, NULL);
	return rc < 0 ? rc : ops_unwrap(key, raw, ret, e);
}

int
kv_view_get(struct kv_view *v, struct str key, struct str *ret, struct err *e)
{
	OBJ_CHECK(v, KV_VIEW_MAGIC);
	return kv_record_get(v, v->seq, key, ret, e);
}

/* --- merging --- */

int
kv_cursor_start(struct kv_cursor *c, struct kv_view *v, uint64_t seq,
    struct err *e)
{
	memset(c, 0, sizeof(*c));
	c->magic = KV_CURSOR_MAGIC;
	c->view = v;
	c->seq = seq;
	c->current = -1;
	c->to = BUF_CAP(KV_KEY_MAX);
	c->n_tables = v->tables[1] != NULL ? 2 : 1;
	return tree_cursor_open(v->reader, &c->tree, e);
}

void
kv_cursor_finish(struct kv_cursor *c)
{
	tree_cursor_close(&c->tree);
	buf_fini(&c->to);
	c->magic = 0;
}

static void
source_from_table(struct source *s)
{
	s->is_valid = s->it.node != NULL;
	s->key = s->it.key;
	s->raw = s->it.raw;
}

static int
source_from_tree(struct source *s, int rc)
{
	s->is_valid = rc > 0;
	return rc < 0 ? rc : 0;
}

static struct source *
tree_source(struct kv_cursor *c)
{
	return &c->sources[2];
}

/* All sources to the first key >= @key. */
int
kv_cursor_place(struct kv_cursor *c, struct str key, struct err *e)
{
	struct source *s;

	for (unsigned i = 0; i < c->n_tables; i++) {
		s = &c->sources[i];
		table_seek(&s->it, c->view->tables[i], key, c->seq);
		source_from_table(s);
	}
	s = tree_source(c);
	c->current = -1;
	return source_from_tree(s,
	    tree_cursor_seek(c->tree, key, &s->key, &s->raw, e));
}

static int
advance(struct kv_cursor *c, struct source *s, struct err *e)
{
	if (s != tree_source(c)) {
		table_next(&s->it);
		source_from_table(s);
		return 0;
	}
	return source_from_tree(s,
	    tree_cursor_next(c->tree, &s->key, &s->raw, e));
}

/* The next key with its newest raw value, deletes too: 1; 0 at the end. */
static int
step(struct kv_cursor *c, struct str *ret_key, struct str *ret_raw,
    struct err *e)
{
	struct source *best = NULL, *s;
	int rc, order;

	if (c->current >= 0) {
		rc = advance(c, &c->sources[c->current], e);
		if (rc < 0)
			return rc;
		c->current = -1;
	}
	for (unsigned i = 0; i < 3; i++) {
		s = &c->sources[i];
		if (!s->is_valid)
			continue;
		order = best == NULL ? -1 : str_cmp(s->key, best->key);
		if (order < 0) {
			best = s;
		} else if (order == 0) {
			/* An older version of the same key: passed over. */
			rc = advance(c, s, e);
			if (rc < 0)
				return rc;
		}
	}
	if (best == NULL)
		return 0;
	c->current = (int)(best - c->sources);
	*ret_key = best->key;
	*ret_raw = best->raw;
	return 1;
}

int
kv_cursor_step(struct kv_cursor *c, struct str *ret_key, struct str *ret_raw,
    struct err *e)
{
	int rc;

	do
		rc = step(c, ret_key, ret_raw, e);
	while (rc > 0 && ret_raw->p == NULL);
	return rc;
}

/* --- cursors --- */

int
kv_cursor_open(struct kv_view *v, struct str from, struct str to,
    struct kv_cursor **ret, struct err *e)
{
	struct kv_cursor *c;
	int rc;

	OBJ_CHECK(v, KV_VIEW_MAGIC);
	if (from.len > KV_KEY_MAX || to.len > KV_KEY_MAX)
		return err_set(e, ERR_INVALID, "key over %d bytes", KV_KEY_MAX);
	c = mem_alloc(sizeof(*c));
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = kv_cursor_start(c, v, v->seq, e);
	if (rc < 0) {
		mem_free(&c);
		return rc;
	}
	v->n_cursors++;
	c->has_to = to.len > 0;
	if (c->has_to && buf_adds(&c->to, to) < 0)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	if (rc == 0)
		rc = kv_cursor_place(c, from, e);
	if (rc < 0) {
		kv_cursor_close(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

void
kv_cursor_close(struct kv_cursor **cp)
{
	struct kv_cursor *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	OBJ_CHECK(c, KV_CURSOR_MAGIC);
	c->view->n_cursors--;
	kv_cursor_finish(c);
	mem_free(&c);
}

int
kv_cursor_next(struct kv_cursor *c, struct str *ret_key, struct str *ret_value,
    struct err *e)
{
	struct str key, raw;
	int rc;

	OBJ_CHECK(c, KV_CURSOR_MAGIC);
	rc = kv_cursor_step(c, &key, &raw, e);
	if (rc <= 0)
		return rc;
	if (c->has_to && str_cmp(key, buf_str(&c->to)) >= 0) {
		/* Stays at the end, whatever is called next. */
		for (int i = 0; i < 3; i++)
			c->sources[i].is_valid = false;
		c->current = -1;
		return 0;
	}
	rc = ops_unwrap(key, raw, ret_value, e);
	if (rc < 0)
		return rc;
	*ret_key = key;
	return 1;
}

int
kv_cursor_seek(struct kv_cursor *c, struct str key, struct err *e)
{
	struct source *s;
	int rc = 0;

	OBJ_CHECK(c, KV_CURSOR_MAGIC);
	if (key.len > KV_KEY_MAX)
		return err_set(e, ERR_INVALID, "key of %zu bytes", key.len);
	if (c->current >= 0) {
		/* The last record counts as passed. */
		s = &c->sources[c->current];
		c->current = -1;
		if (str_cmp(key, s->key) <= 0)
			return advance(c, s, e);
	}
	for (int i = 0; rc == 0 && i < 3; i++) {
		s = &c->sources[i];
		if (!s->is_valid || str_cmp(s->key, key) >= 0)
			continue;
		if (s != tree_source(c)) {
			table_seek(&s->it, c->view->tables[i], key, c->seq);
			source_from_table(s);
		} else {
			rc = source_from_tree(s, tree_cursor_seek(c->tree, key,
						     &s->key, &s->raw, e));
		}
	}
	return rc;
}
