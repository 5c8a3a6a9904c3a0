/* gateway/object/list.c - pages of a bucket's keys.
 *
 * One view for a page. A common prefix is passed by 16 steps at most, then by a
 * seek behind it: the cost is the page, not what lies under its prefixes. */
#include "gateway/object/store.h"

#define STEPS 16

struct lister {
	const struct list_spec *spec;
	struct arena *a;
	struct arena *scratch; /* one record decoded: it may be large */
	struct kv_view *v;
	struct kv_cursor *c;
	uint64_t incarnation;
	size_t size; /* of out->entries */
	struct list_page *out;
	char last_owner[65];
	char last_owner_name[USER_NAME_MAX + 1];
};

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, NULL);
}

/* The part of @name up to and with the delimiter after the prefix. */
static struct str
common_prefix(const struct list_spec *spec, struct str name)
{
	struct str rest = str_skip(name, spec->prefix.len);
	ptrdiff_t at;

	if (spec->delimiter.len == 0)
		return STR_NULL;
	at = str_find(rest, spec->delimiter);
	if (at < 0)
		return STR_NULL;
	return str_sub(name, 0,
	    spec->prefix.len + (size_t)at + spec->delimiter.len);
}

static struct list_entry *
add_entry(struct lister *l)
{
	struct list_page *p = l->out;

	if (p->n == l->size) {
		size_t size = l->size == 0 ? 32 : l->size * 2;
		struct list_entry *q = arena_alloc(l->a, size * sizeof(*q));

		if (q == NULL)
			return NULL;
		if (p->n > 0)
			memcpy(q, p->entries, p->n * sizeof(*q));
		p->entries = q;
		l->size = size;
	}
	memset(&p->entries[p->n], 0, sizeof(p->entries[p->n]));
	return &p->entries[p->n++];
}

static int
owner_name(struct lister *l, struct list_entry *en, struct err *e)
{
	uint8_t id[OWNER_ID_RAW];
	struct key k;
	struct str v;
	int rc;

	if (strcmp(l->last_owner, en->o.owner_id) != 0) {
		memcpy(l->last_owner, en->o.owner_id, sizeof(l->last_owner));
		l->last_owner_name[0] = '\0';
		if (owner_id_raw(en->o.owner_id, id)) {
			key_user_id(&k, id);
			rc = kv_view_get(l->v, key_str(&k), &v, e);
			if (rc < 0 && rc != ERR_NOT_FOUND)
				return rc;
			if (rc == 0 && v.len <= USER_NAME_MAX) {
				memcpy(l->last_owner_name, v.p, v.len);
				l->last_owner_name[v.len] = '\0';
			}
		}
	}
	memcpy(en->owner_name, l->last_owner_name, sizeof(en->owner_name));
	return 0;
}

static int
add_object(struct lister *l, struct str name, uint64_t seq,
    const struct rec_object *o, struct err *e)
{
	struct list_entry *en = add_entry(l);
	size_t i;
	int rc;

	if (en == NULL)
		return no_memory(e);
	en->key = arena_str(l->a, name);
	if (en->key.p == NULL)
		return no_memory(e);
	en->o.key = en->key;
	en->o.seq = seq;
	rc = rec_object_fill(o, false, l->a, &en->o, e);
	for (i = 0; rc == 0 && i < en->o.n_headers; i++) {
		struct header *h = &en->o.headers[i];

		h->name = arena_str(l->a, h->name);
		h->value = arena_str(l->a, h->value);
		if (h->name.p == NULL || h->value.p == NULL)
			rc = no_memory(e);
	}
	if (rc == 0 && l->spec->fetch_owner)
		rc = owner_name(l, en, e);
	return rc;
}

/* Behind everything that starts with @prefix: steps first, then a seek.
 * *ret_rc is that of kv_cursor_next() for the record behind. */
static int
skip_prefix(struct lister *l, struct str prefix, struct str *k, struct str *v,
    struct err *e)
{
	struct str name;
	struct key to;
	uint64_t inc, seq;
	int i, rc;

	for (i = 0; i < STEPS; i++) {
		rc = kv_cursor_next(l->c, k, v, e);
		if (rc != 1)
			return rc;
		if (!key_object_parse(*k, &inc, &name, &seq))
			return err_set(e, ERR_CORRUPT, "object key");
		if (!str_has_prefix(name, prefix))
			return 1;
	}
	key_objects(&to, l->incarnation, prefix);
	key_end(&to);
	rc = kv_cursor_seek(l->c, key_str(&to), e);
	return rc < 0 ? rc : kv_cursor_next(l->c, k, v, e);
}

/* Where to begin: behind @after, and behind the common prefix that it is or
 * lies in. */
static void
first_key(struct lister *l, struct key *from)
{
	const struct list_spec *spec = l->spec;
	struct str after = spec->after, cp;
	struct key k;

	key_objects(from, l->incarnation, spec->prefix);
	if (after.len == 0)
		return;
	cp = str_has_prefix(after, spec->prefix) ? common_prefix(spec, after)
	                                         : STR_NULL;
	if (cp.len > 0 && cp.len == after.len) {
		/* the marker is a common prefix that was listed already */
		key_objects(&k, l->incarnation, cp);
		key_end(&k);
	} else {
		key_name_to(&k, l->incarnation, after);
	}
	if (str_cmp(key_str(&k), key_str(from)) > 0)
		*from = k;
}

static int
list_page(struct lister *l, struct err *e)
{
	const struct list_spec *spec = l->spec;
	struct str k, v, name, cp, last = STR_NULL;
	struct rec_object o;
	uint64_t inc, seq;
	int rc;

	rc = kv_cursor_next(l->c, &k, &v, e);
	while (rc == 1) {
		if (!key_object_parse(k, &inc, &name, &seq))
			return err_set(e, ERR_CORRUPT, "object key");
		if (last.p != NULL && str_eq(name, last)) {
			rc = kv_cursor_next(l->c, &k, &v, e);
			continue; /* an older version of it */
		}
		rc = rec_object_head(v, &o, e);
		if (rc < 0)
			return rc;
		cp = common_prefix(spec, name);
		if ((o.flags & REC_OBJECT_DELETE_MARKER) != 0 && cp.len == 0) {
			last = arena_str(l->a, name);
			if (last.p == NULL)
				return no_memory(e);
			rc = kv_cursor_next(l->c, &k, &v, e);
			continue;
		}
		if (l->out->n == spec->max) {
			l->out->is_truncated = true;
			return 0;
		}
		if (cp.len > 0) {
			struct list_entry *en = add_entry(l);

			if (en == NULL)
				return no_memory(e);
			en->is_prefix = true;
			en->key = arena_str(l->a, cp);
			if (en->key.p == NULL)
				return no_memory(e);
			rc = skip_prefix(l, en->key, &k, &v, e);
			continue;
		}
		arena_reset(l->scratch);
		rc = rec_object_get(v, l->scratch, &o, e);
		if (rc == 0)
			rc = add_object(l, name, seq, &o, e);
		if (rc < 0)
			return rc;
		last = l->out->entries[l->out->n - 1].key;
		rc = kv_cursor_next(l->c, &k, &v, e);
	}
	return rc;
}

int
object_list(struct store *s, const struct bucket *b,
    const struct list_spec *spec, struct arena *a, struct list_page *ret,
    struct err *e)
{
	struct lister l = { .spec = spec,
		.a = a,
		.incarnation = b->incarnation,
		.out = ret };
	struct key from, to;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	*ret = (struct list_page){ 0 };
	/* Nothing can be there; longer ones would not fit a key either. */
	if (spec->max == 0 || spec->prefix.len > OBJECT_KEY_MAX)
		return 0;
	if (spec->after.len > OBJECT_KEY_MAX ||
	    (spec->prefix.len > 0 &&
		memchr(spec->prefix.p, 0, spec->prefix.len) != NULL))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "the marker is too long, or the prefix holds a NUL");
	first_key(&l, &from);
	key_objects(&to, b->incarnation, spec->prefix);
	key_end(&to);
	if (str_cmp(key_str(&from), key_str(&to)) >= 0)
		return 0;
	l.scratch = arena_new(SCRATCH_MAX);
	if (l.scratch == NULL)
		return no_memory(e);
	rc = view_open(s, &l.v, e);
	if (rc < 0)
		goto out;
	rc = kv_cursor_open(l.v, key_str(&from), key_str(&to), &l.c, e);
	if (rc == 0)
		rc = list_page(&l, e);
	kv_cursor_close(&l.c);
	kv_view_close(&l.v);
out:
	arena_free(&l.scratch);
	if (rc == 0 && ret->is_truncated && ret->n > 0)
		ret->next = ret->entries[ret->n - 1].key;
	return rc;
}
