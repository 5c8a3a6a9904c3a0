/* tests/unit/replication/sim_disk.c - what a double of the engine holds, in
 * memory; its calls are in sim_store.c.
 *
 * What a call has returned from is durable; there is no other state (S1). */
#include "tests/unit/replication/sim_disk_int.h"

#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <stdio.h>

static struct id128
draw_id(struct sim *s)
{
	struct id128 id;

	put_le64(id.b, sim_random(s));
	put_le64(id.b + 8, sim_random(s));
	return id;
}

static void
key_of(struct str id, uint8_t key[ENGINE_KEY])
{
	put_be64(key, hash_xxh3(1, id.p, id.len));
	put_be64(key + 8, hash_xxh3(2, id.p, id.len));
}

void
simd_body_unref(struct body *b)
{
	if (b != NULL && --b->refs == 0)
		free(b);
}

static struct body *
body_new(const void *p, size_t len)
{
	struct body *b = mem_alloc(sizeof(*b) + len + 1);

	MUST(b != NULL);
	b->refs = 1;
	b->len = len;
	if (len > 0)
		memcpy(b->p, p, len);
	return b;
}

char *
simd_note_copy(struct str note)
{
	char *p = mem_alloc(note.len + 1);

	MUST(p != NULL);
	if (note.len > 0)
		memcpy(p, note.p, note.len);
	return p;
}

/* --- making, wiping, copying --- */

struct sim_disk *
sim_disk_new(struct sim *s, int node)
{
	struct sim_disk *d = mem_zalloc(sizeof(*d));

	MUST(d != NULL);
	d->s = s;
	d->node = node;
	d->node_id = draw_id(s);
	d->path = draw_id(s);
	d->paths_id = draw_id(s);
	d->incarnation = 1;
	d->small = sim_small(s);
	return d;
}

void
sim_disk_free(struct sim_disk **dp)
{
	struct sim_disk *d = *dp;
	size_t i;

	if (d == NULL)
		return;
	for (i = 0; i < d->n_items; i++) {
		simd_body_unref(d->items[i].body);
		free(d->items[i].note);
	}
	for (i = 0; i < d->n_log; i++)
		free(d->log[i].note);
	for (i = 0; i < d->n_texts; i++)
		buf_fini(&d->texts[i].bytes);
	free(d->items);
	free(d->log);
	free(d->texts);
	mem_free(dp);
}

void
sim_disk_wipe(struct sim *s, int node)
{
	struct sim_disk *d = sim_disk(s, node);

	sim_disk_set(s, node, sim_disk_new(s, node));
	sim_disk_free(&d);
	sim_trace(s, "disk of %d is wiped", node);
}

static struct sim_disk *
copy_of(const struct sim_disk *d)
{
	struct sim_disk *c = mem_alloc(sizeof(*c));
	size_t i;

	MUST(c != NULL);
	*c = *d;
	c->items = mem_alloc((d->n_items + 1) * sizeof(*c->items));
	c->log = mem_alloc((d->n_log + 1) * sizeof(*c->log));
	c->texts = mem_alloc((d->n_texts + 1) * sizeof(*c->texts));
	MUST(c->items != NULL && c->log != NULL && c->texts != NULL);
	c->cap_items = d->n_items + 1;
	c->cap_log = d->n_log + 1;
	for (i = 0; i < d->n_items; i++) {
		c->items[i] = d->items[i];
		c->items[i].note = simd_note_copy(d->items[i].r.note);
		c->items[i].r.note.p = c->items[i].note;
		if (c->items[i].body != NULL)
			c->items[i].body->refs++;
	}
	for (i = 0; i < d->n_log; i++) {
		c->log[i] = d->log[i];
		c->log[i].note = simd_note_copy(d->log[i].r.note);
		c->log[i].r.note.p = c->log[i].note;
	}
	for (i = 0; i < d->n_texts; i++) {
		c->texts[i] = d->texts[i];
		c->texts[i].bytes = BUF_CAP(d->texts[i].bytes.cap);
		MUST(buf_adds(&c->texts[i].bytes,
			 buf_str(&d->texts[i].bytes)) == 0);
	}
	return c;
}

struct sim_disk *
sim_disk_copy(struct sim *s, int node)
{
	return copy_of(sim_disk(s, node));
}

void
sim_disk_put_back(struct sim *s, int node, const struct sim_disk *d)
{
	struct sim_disk *old = sim_disk(s, node);

	MUST(d->node == node);
	sim_disk_set(s, node, copy_of(d));
	sim_disk_free(&old);
	sim_trace(s, "disk of %d is put back to an older copy", node);
}

void
sim_disk_node_id(const struct sim_disk *d, struct id128 *ret)
{
	*ret = d->node_id;
}

bool
sim_disk_is_blank(const struct sim_disk *d)
{
	return d->n_items == 0;
}

void
sim_disk_fail(struct sim_disk *d, bool has_failed)
{
	d->has_failed = has_failed;
}

void
sim_disk_full(struct sim_disk *d, bool is_full)
{
	d->is_full = is_full;
}

void
sim_disk_set_small(struct sim_disk *d, size_t len)
{
	d->small = len;
}

size_t
sim_disk_count(const struct sim_disk *d)
{
	return d->n_items;
}

/* --- looking --- */

/* Position of @key, or where it would be. */
size_t
simd_seek(const struct sim_disk *d, const uint8_t key[ENGINE_KEY])
{
	size_t lo = 0, hi = d->n_items, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (memcmp(d->items[mid].key, key, ENGINE_KEY) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct item *
simd_find_key(const struct sim_disk *d, const uint8_t key[ENGINE_KEY])
{
	size_t i = simd_seek(d, key);

	return i < d->n_items && memcmp(d->items[i].key, key, ENGINE_KEY) == 0
	           ? &d->items[i]
	           : NULL;
}

struct item *
simd_find(const struct sim_disk *d, struct str id)
{
	uint8_t key[ENGINE_KEY];

	key_of(id, key);
	return simd_find_key(d, key);
}

struct item *
simd_find_write(const struct sim_disk *d, const struct id128 *write_id)
{
	size_t i;

	for (i = 0; !id128_is_zero(write_id) && i < d->n_items; i++) {
		if (!d->items[i].r.is_tomb &&
		    id128_eq(&d->items[i].r.info.write_id, write_id))
			return &d->items[i];
	}
	return NULL;
}

enum engine_known
sim_disk_find(const struct sim_disk *d, struct str id, uint64_t *ret_version,
    struct str *ret_body)
{
	const struct item *it = simd_find(d, id);

	if (it == NULL)
		return ENGINE_UNKNOWN;
	*ret_version = it->r.info.file_version;
	*ret_body =
	    it->body == NULL ? STR_NULL : str_mem(it->body->p, it->body->len);
	return it->r.is_tomb ? ENGINE_TOMB : ENGINE_LIVE;
}

static bool
item_is_same(const struct item *a, const struct item *b)
{
	return strcmp(a->r.info.id, b->r.info.id) == 0 &&
	       a->r.info.file_version == b->r.info.file_version &&
	       a->r.is_tomb == b->r.is_tomb &&
	       (a->r.is_tomb ||
		   (a->r.info.crc32 == b->r.info.crc32 && !a->is_bad &&
		       !b->is_bad && str_eq(a->r.note, b->r.note) &&
		       a->body->len == b->body->len &&
		       memcmp(a->body->p, b->body->p, a->body->len) == 0));
}

bool
sim_disk_same(const struct sim_disk *a, const struct sim_disk *b, char *why,
    size_t why_len)
{
	size_t i;
	const struct item *x, *y;

	for (i = 0; i < a->n_items && i < b->n_items; i++) {
		x = &a->items[i];
		y = &b->items[i];
		if (item_is_same(x, y))
			continue;
		snprintf(why, why_len,
		    "node %d has %s version %#jx%s%s, node %d has %s version "
		    "%#jx%s%s",
		    a->node, x->r.info.id, (uintmax_t)x->r.info.file_version,
		    x->r.is_tomb ? " (tombstone)" : "",
		    x->is_bad ? " (damaged)" : "", b->node, y->r.info.id,
		    (uintmax_t)y->r.info.file_version,
		    y->r.is_tomb ? " (tombstone)" : "",
		    y->is_bad ? " (damaged)" : "");
		return false;
	}
	if (a->n_items != b->n_items)
		snprintf(why, why_len, "node %d has %zu, node %d has %zu",
		    a->node, a->n_items, b->node, b->n_items);
	return a->n_items == b->n_items;
}

/* Another disk holds that version, readable. */
static bool
has_copy(struct sim *s, int node, const struct item *it)
{
	const struct item *o;
	int i;

	for (i = 0; i < SIM_NODES; i++) {
		o = i == node ? NULL : simd_find_key(sim_disk(s, i), it->key);
		if (o != NULL && !o->is_bad &&
		    o->r.info.file_version == it->r.info.file_version)
			return true;
	}
	return false;
}

bool
sim_disk_damage(struct sim *s, int node)
{
	struct sim_disk *d = sim_disk(s, node);
	struct item *it;

	if (d->n_items == 0)
		return false;
	it = &d->items[sim_below(s, d->n_items)];
	if (it->r.is_tomb || !has_copy(s, node, it))
		return false;
	it->is_bad = true;
	sim_trace(s, "a file of %d is damaged: %s", node, it->r.info.id);
	return true;
}

void
sim_disk_forget(struct sim_disk *d, struct str id)
{
	struct item *it = simd_find(d, id);
	size_t i;

	MUST(it != NULL);
	i = (size_t)(it - d->items);
	simd_body_unref(it->body);
	free(it->note);
	d->n_items--;
	memmove(it, it + 1, (d->n_items - i) * sizeof(*it));
}

void
sim_disk_outgrow(struct sim_disk *d)
{
	d->old_log = d->n_log;
}

/* --- writing --- */

void
simd_set_record(struct engine_record *to, char **note,
    const struct engine_record *r)
{
	*to = *r;
	*note = simd_note_copy(r->note);
	to->note.p = *note;
}

static void
log_add(struct sim_disk *d, const struct engine_record *r)
{
	struct entry *en;

	if (d->n_log == d->cap_log) {
		d->cap_log = 2 * d->cap_log + 16;
		d->log = mem_realloc(d->log, d->cap_log * sizeof(*d->log));
		MUST(d->log != NULL);
	}
	en = &d->log[d->n_log++];
	memset(en, 0, sizeof(*en));
	simd_set_record(&en->r, &en->note, r);
	en->mark = (uint32_t)sim_random(d->s);
	d->changes++;
}

static struct item *
item_add(struct sim_disk *d, const uint8_t key[ENGINE_KEY])
{
	size_t i = simd_seek(d, key);

	if (d->n_items == d->cap_items) {
		d->cap_items = 2 * d->cap_items + 16;
		d->items =
		    mem_realloc(d->items, d->cap_items * sizeof(*d->items));
		MUST(d->items != NULL);
	}
	memmove(&d->items[i + 1], &d->items[i],
	    (d->n_items - i) * sizeof(*d->items));
	d->n_items++;
	memset(&d->items[i], 0, sizeof(d->items[i]));
	memcpy(d->items[i].key, key, ENGINE_KEY);
	return &d->items[i];
}

/* As engine_install.rc. */
int
simd_install(struct sim_disk *d, const struct engine_record *r, struct str body,
    unsigned flags, uint64_t *ret_version, bool *ret_tomb)
{
	uint8_t key[ENGINE_KEY];
	struct item *it;

	MUST(r->info.id[0] != '\0' && r->info.file_version > 0);
	if (!r->is_tomb &&
	    (body.len != r->info.size ||
		hash_crc32(0, body.p, body.len) != r->info.crc32))
		return ERR_INVALID;
	if (d->has_failed)
		return ERR_FAILED;
	if (d->is_full && !r->is_tomb)
		return ERR_NO_SPACE;
	key_of(str_of(r->info.id), key);
	it = simd_find_key(d, key);
	if (it != NULL) {
		*ret_version = it->r.info.file_version;
		*ret_tomb = it->r.is_tomb;
		if (flags & ENGINE_NEW)
			return ERR_EXISTS;
		if (it->r.info.file_version > r->info.file_version)
			return 1;
		if (it->r.info.file_version == r->info.file_version &&
		    (!(flags & ENGINE_REPAIR) || it->r.is_tomb || !it->is_bad))
			return 1;
		simd_body_unref(it->body);
		free(it->note);
	} else {
		it = item_add(d, key);
	}
	simd_set_record(&it->r, &it->note, r);
	it->body = r->is_tomb ? NULL : body_new(body.p, body.len);
	it->is_bad = false;
	log_add(d, r);
	return 0;
}
