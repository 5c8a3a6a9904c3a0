/* gateway/object/upload.c - creating, finding, aborting, listing uploads. */
#include "gateway/object/upload.h"

#include "lib/bytes.h"
#include "lib/clock.h"

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, NULL);
}

bool
upload_id_parse(struct str text, struct upload_id *ret)
{
	return text.len == 2 * sizeof(ret->raw) && hex_decode(text, ret->raw);
}

static void
id_text(const struct upload_id *id, char ret[65])
{
	hex_encode(id->raw, sizeof(id->raw), ret);
	ret[2 * sizeof(id->raw)] = '\0';
}

struct id128
upload_manifest(const struct upload_id *id)
{
	struct id128 m;

	memcpy(m.b, id->raw + 8, sizeof(m.b));
	return m;
}

/* --- create --- */

struct create {
	const struct bucket *b;
	struct key key;
	struct str record;
};

static int
create_fn(struct txn *t, void *arg, struct err *e)
{
	const struct create *c = arg;
	struct counters n;
	int rc = txn_bucket(t, c->b, e);

	if (rc == 0)
		rc = txn_counters(t, c->b->incarnation, &n, e);
	if (rc < 0)
		return rc;
	n.uploads++;
	rc = txn_put(t, &c->key, c->record, e);
	return rc < 0 ? rc : txn_put_counters(t, c->b->incarnation, &n, e);
}

int
upload_create(struct store *s, const struct bucket *b, struct str key,
    const struct user *owner, const struct header *headers, size_t n_headers,
    uint8_t checksum_alg, bool is_composite, struct upload *ret, struct err *e)
{
	Rec__Upload r = REC__UPLOAD__INIT;
	struct create c = { .b = b };
	uint8_t owner_id[OWNER_ID_RAW];
	struct upload_id id;
	struct arena *a;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc < 0)
		return rc;
	a = arena_new(SCRATCH_MAX);
	if (a == NULL)
		return no_memory(e);
	r.created_ns = clock_real_ns();
	put_be64(id.raw, (uint64_t)r.created_ns);
	rand_bytes(id.raw + 8, 16);
	if (owner_id_raw(owner->id, owner_id))
		r.owner_id = rec_bin(owner_id, sizeof(owner_id));
	r.checksum_alg = checksum_alg;
	r.checksum_composite = is_composite;
	rc = rec_headers_make(a, headers, n_headers, &r.headers, e);
	r.n_headers = n_headers;
	if (rc == 0)
		rc = rec_put(a, &r.base, &c.record, e);
	key_upload(&c.key, b->incarnation, key, id.raw);
	if (rc == 0)
		rc = store_update(s, create_fn, &c, NULL, e);
	if (rc == 0) {
		*ret = (struct upload){ .key = key,
			.created_ns = r.created_ns,
			.headers = NULL,
			.checksum_alg = checksum_alg,
			.checksum_is_composite = is_composite };
		id_text(&id, ret->id);
		memcpy(ret->owner_id, owner->id, sizeof(ret->owner_id));
		memcpy(ret->owner_name, owner->name, sizeof(ret->owner_name));
	}
	arena_free(&a);
	return rc;
}

/* --- find --- */

int
txn_upload(struct txn *t, const struct bucket *b, struct str key,
    const struct upload_id *id, struct err *e)
{
	struct key k;
	struct str v;
	int rc;

	key_upload(&k, b->incarnation, key, id->raw);
	rc = kv_tx_get(t->tx, key_str(&k), &v, e);
	return rc == ERR_NOT_FOUND ? err_set(e, ERR_NO_SUCH_UPLOAD, NULL) : rc;
}

int
upload_read(struct kv_view *v, const struct bucket *b, struct str key,
    const struct upload_id *id, struct arena *a, Rec__Upload **ret,
    struct err *e)
{
	struct str value;
	struct key k;
	int rc;

	key_upload(&k, b->incarnation, key, id->raw);
	rc = kv_view_get(v, key_str(&k), &value, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	return rc < 0 ? rc : REC_GET(value, upload, a, ret, e);
}

static int
fill(struct kv_view *v, struct str key, const struct upload_id *id,
    const Rec__Upload *r, struct arena *a, struct upload *ret, struct err *e)
{
	struct str name;
	struct key k;
	int rc;

	*ret = (struct upload){ .created_ns = r->created_ns,
		.checksum_alg = (uint8_t)r->checksum_alg,
		.checksum_is_composite = r->checksum_composite };
	id_text(id, ret->id);
	ret->key = arena_str(a, key);
	if (ret->key.p == NULL)
		return no_memory(e);
	owner_id_text(r->owner_id, ret->owner_id);
	if (r->owner_id.len == OWNER_ID_RAW) {
		key_user_id(&k, r->owner_id.data);
		rc = kv_view_get(v, key_str(&k), &name, e);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == 0 && name.len <= USER_NAME_MAX)
			memcpy(ret->owner_name, name.p, name.len);
	}
	return rec_headers_fill(a, r->headers, r->n_headers, NULL,
	    &ret->headers, &ret->n_headers, e);
}

int
upload_get(struct store *s, const struct bucket *b, struct str key,
    struct str id, struct arena *a, struct upload *ret, struct err *e)
{
	struct upload_id raw;
	struct kv_view *v;
	Rec__Upload *r;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc < 0)
		return rc;
	if (!upload_id_parse(id, &raw))
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	rc = view_open(s, &v, e);
	if (rc < 0)
		return rc;
	rc = upload_read(v, b, key, &raw, a, &r, e);
	if (rc == 0)
		rc = fill(v, key, &raw, r, a, ret, e);
	kv_view_close(&v);
	return rc;
}

/* --- abort --- */

int
txn_upload_remove(struct txn *t, uint64_t incarnation, struct str key,
    const struct upload_id *id, bool is_aborted, struct err *e)
{
	struct id128 m = upload_manifest(id);
	struct key k;
	int rc;

	key_upload(&k, incarnation, key, id->raw);
	rc = txn_del(t, &k, e);
	key_parts_seq(&k, &m);
	if (rc == 0)
		rc = txn_del(t, &k, e);
	if (rc == 0 && is_aborted)
		rc = txn_garbage(t, t->now_ns, GARBAGE_MANIFEST,
		    str_mem(m.b, sizeof(m.b)), e);
	return rc;
}

struct abort {
	const struct bucket *b;
	struct str key;
	struct upload_id id;
};

static int
abort_fn(struct txn *t, void *arg, struct err *e)
{
	const struct abort *c = arg;
	struct counters n;
	int rc = txn_bucket(t, c->b, e);

	if (rc == 0)
		rc = txn_upload(t, c->b, c->key, &c->id, e);
	if (rc == 0)
		rc = txn_counters(t, c->b->incarnation, &n, e);
	if (rc < 0)
		return rc;
	n.uploads -= n.uploads > 0;
	rc = txn_upload_remove(t, c->b->incarnation, c->key, &c->id, true, e);
	return rc < 0 ? rc : txn_put_counters(t, c->b->incarnation, &n, e);
}

int
upload_abort(struct store *s, const struct bucket *b, struct str key,
    struct str id, struct err *e)
{
	struct abort c = { .b = b, .key = key };
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc < 0)
		return rc;
	if (!upload_id_parse(id, &c.id))
		return err_set(e, ERR_NO_SUCH_UPLOAD, NULL);
	return store_update_freeing(s, abort_fn, &c, e);
}

static int
expire_fn(struct txn *t, void *arg, struct err *e)
{
	const struct abort *c = arg;
	uint64_t inc = c->b->incarnation;
	struct counters n;
	int rc = txn_upload(t, c->b, c->key, &c->id, e);

	if (rc == ERR_NO_SUCH_UPLOAD)
		return 0;
	if (rc == 0)
		rc = txn_counters(t, inc, &n, e);
	if (rc < 0)
		return rc;
	n.uploads -= n.uploads > 0;
	rc = txn_upload_remove(t, inc, c->key, &c->id, true, e);
	/* A deleted bucket's counters must not come back. */
	return rc < 0 || !n.is_found ? rc : txn_put_counters(t, inc, &n, e);
}

int
upload_expire(struct store *s, uint64_t incarnation, struct str key,
    const struct upload_id *id, struct err *e)
{
	struct bucket b = { .incarnation = incarnation };
	struct abort c = { .b = &b, .key = key, .id = *id };

	return store_update_freeing(s, expire_fn, &c, e);
}

/* --- listing --- */

struct upload_lister {
	struct str prefix, delimiter;
	uint32_t max;
	struct arena *a;
	struct kv_view *v;
	struct kv_cursor *c;
	uint64_t incarnation;
	struct upload_entry *out;
	size_t n, size;
	bool more;
};

static struct str
common_prefix(const struct upload_lister *l, struct str name)
{
	ptrdiff_t at = -1;

	if (l->delimiter.len > 0)
		at = str_find(str_skip(name, l->prefix.len), l->delimiter);
	return at < 0 ? STR_NULL
	              : str_sub(name, 0,
			    l->prefix.len + (size_t)at + l->delimiter.len);
}

static int
add(struct upload_lister *l, struct upload_entry **ret, struct err *e)
{
	if (l->n == l->size) {
		size_t size = l->size == 0 ? 16 : l->size * 2;
		struct upload_entry *q = arena_alloc(l->a, size * sizeof(*q));

		if (q == NULL)
			return no_memory(e);
		if (l->n > 0)
			memcpy(q, l->out, l->n * sizeof(*q));
		l->out = q;
		l->size = size;
	}
	*ret = &l->out[l->n++];
	memset(*ret, 0, sizeof(**ret));
	return 0;
}

static int
list_page(struct upload_lister *l, struct err *e)
{
	struct str k, v, name, cp;
	struct upload_entry *en;
	struct upload_id id;
	Rec__Upload *r;
	struct key to;
	uint64_t inc;
	int rc;

	while ((rc = kv_cursor_next(l->c, &k, &v, e)) == 1) {
		if (!key_upload_parse(k, &inc, &name, id.raw))
			return err_set(e, ERR_CORRUPT, "upload key");
		if (l->n == l->max) {
			l->more = true;
			return 0;
		}
		rc = add(l, &en, e);
		if (rc < 0)
			return rc;
		cp = common_prefix(l, name);
		if (cp.len > 0) {
			en->is_prefix = true;
			en->u.key = arena_str(l->a, cp);
			if (en->u.key.p == NULL)
				return no_memory(e);
			key_uploads(&to, l->incarnation, cp);
			key_end(&to);
			rc = kv_cursor_seek(l->c, key_str(&to), e);
		} else {
			rc = REC_GET(v, upload, l->a, &r, e);
			if (rc == 0)
				rc = fill(l->v, name, &id, r, l->a, &en->u, e);
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}

int
upload_list(struct store *s, const struct bucket *b, struct str prefix,
    struct str delimiter, struct str key_marker, struct str id_marker,
    uint32_t max, struct arena *a, struct upload_entry **ret, size_t *ret_n,
    bool *ret_more, struct err *e)
{
	struct upload_lister l = { .prefix = prefix,
		.delimiter = delimiter,
		.max = max,
		.a = a,
		.incarnation = b->incarnation };
	struct key from, to, at;
	struct upload_id id;
	struct str cp;
	int rc = 0;

	OBJ_CHECK(s, STORE_MAGIC);
	*ret = NULL;
	*ret_n = 0;
	*ret_more = false;
	if (max == 0 || prefix.len > OBJECT_KEY_MAX)
		return 0;
	if (key_marker.len > OBJECT_KEY_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "the key marker is too long");
	key_uploads(&from, b->incarnation, prefix);
	to = from;
	key_end(&to);
	if (key_marker.len > 0) {
		cp = str_has_prefix(key_marker, prefix)
		         ? common_prefix(&l, key_marker)
		         : STR_NULL;
		if (id_marker.len > 0) {
			if (!upload_id_parse(id_marker, &id))
				return err_set(e, ERR_INVALID_ARGUMENT,
				    "Invalid uploadId marker");
			key_upload(&at, b->incarnation, key_marker, id.raw);
			key_append(&at, str_mem("", 1));
		} else if (cp.len > 0 && cp.len == key_marker.len) {
			key_uploads(&at, b->incarnation, cp);
			key_end(&at);
		} else {
			key_uploads(&at, b->incarnation, key_marker);
			key_append(&at, STR_LIT("\1"));
		}
		if (str_cmp(key_str(&at), key_str(&from)) > 0)
			from = at;
	}
	if (str_cmp(key_str(&from), key_str(&to)) >= 0)
		return 0;
	rc = view_open(s, &l.v, e);
	if (rc < 0)
		return rc;
	rc = kv_cursor_open(l.v, key_str(&from), key_str(&to), &l.c, e);
	if (rc == 0)
		rc = list_page(&l, e);
	kv_cursor_close(&l.c);
	kv_view_close(&l.v);
	if (rc < 0)
		return rc;
	*ret = l.out;
	*ret_n = l.n;
	*ret_more = l.more;
	return 0;
}
