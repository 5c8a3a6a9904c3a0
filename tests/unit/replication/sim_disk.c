/* tests/unit/replication/sim_disk.c - a double of the engine, in memory.
 *
 * What a call has returned from is durable; there is no other state (S1). A
 * position of the log is an index with the mark of the entry before it, so that
 * one of a log that was put back does not fit. */
#include "tests/unit/replication/sim_int.h"

#include "fdfs/file_id.h"
#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <stdio.h>

#define SMALL (1024 * 1024) /* beyond it: no install_many(), no whole fetch */

struct body { /* shared by copies of a disk */
	unsigned refs;
	size_t len;
	char p[];
};

struct item {
	uint8_t key[ENGINE_KEY];
	struct engine_record r; /* note: into text */
	char *note;
	struct body *body;
	bool is_bad;
};

struct entry { /* of the log */
	struct engine_record r;
	char *note;
	uint32_t mark;
};

struct text_file {
	char name[64];
	struct buf bytes;
};

struct sim_disk {
	struct sim *s;
	int node;
	struct id128 node_id, path, paths_id;
	uint64_t incarnation, seq, changes;
	bool is_full;
	struct item *items; /* by key */
	size_t n_items, cap_items;
	struct entry *log;
	size_t n_log, cap_log;
	struct text_file *texts;
	size_t n_texts;
};

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

static void
body_unref(struct body *b)
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

static char *
note_copy(struct str note)
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
		body_unref(d->items[i].body);
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
		c->items[i].note = note_copy(d->items[i].r.note);
		c->items[i].r.note.p = c->items[i].note;
		if (c->items[i].body != NULL)
			c->items[i].body->refs++;
	}
	for (i = 0; i < d->n_log; i++) {
		c->log[i] = d->log[i];
		c->log[i].note = note_copy(d->log[i].r.note);
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
sim_disk_full(struct sim_disk *d, bool is_full)
{
	d->is_full = is_full;
}

size_t
sim_disk_count(const struct sim_disk *d)
{
	return d->n_items;
}

/* --- looking --- */

/* Position of @key, or where it would be. */
static size_t
seek(const struct sim_disk *d, const uint8_t key[ENGINE_KEY])
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

static struct item *
find_key(const struct sim_disk *d, const uint8_t key[ENGINE_KEY])
{
	size_t i = seek(d, key);

	return i < d->n_items && memcmp(d->items[i].key, key, ENGINE_KEY) == 0
	           ? &d->items[i]
	           : NULL;
}

static struct item *
find(const struct sim_disk *d, struct str id)
{
	uint8_t key[ENGINE_KEY];

	key_of(id, key);
	return find_key(d, key);
}

static struct item *
find_write(const struct sim_disk *d, const struct id128 *write_id)
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
	const struct item *it = find(d, id);

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
		o = i == node ? NULL : find_key(sim_disk(s, i), it->key);
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
	struct item *it = find(d, id);
	size_t i;

	MUST(it != NULL);
	i = (size_t)(it - d->items);
	body_unref(it->body);
	free(it->note);
	d->n_items--;
	memmove(it, it + 1, (d->n_items - i) * sizeof(*it));
}

/* --- writing --- */

static void
set_record(struct engine_record *to, char **note, const struct engine_record *r)
{
	*to = *r;
	*note = note_copy(r->note);
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
	set_record(&en->r, &en->note, r);
	en->mark = (uint32_t)sim_random(d->s);
	d->changes++;
}

static struct item *
item_add(struct sim_disk *d, const uint8_t key[ENGINE_KEY])
{
	size_t i = seek(d, key);

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
static int
install(struct sim_disk *d, const struct engine_record *r, struct str body,
    unsigned flags, uint64_t *ret_version, bool *ret_tomb)
{
	uint8_t key[ENGINE_KEY];
	struct item *it;

	MUST(r->info.id[0] != '\0' && r->info.file_version > 0);
	if (!r->is_tomb &&
	    (body.len != r->info.size ||
		hash_crc32(0, body.p, body.len) != r->info.crc32))
		return ERR_INVALID;
	if (d->is_full && !r->is_tomb)
		return ERR_NO_SPACE;
	key_of(str_of(r->info.id), key);
	it = find_key(d, key);
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
		body_unref(it->body);
		free(it->note);
	} else {
		it = item_add(d, key);
	}
	set_record(&it->r, &it->note, r);
	it->body = r->is_tomb ? NULL : body_new(body.p, body.len);
	it->is_bad = false;
	log_add(d, r);
	return 0;
}

static int
closed(struct err *e)
{
	return err_set(e, ERR_CLOSED, "stopped");
}

static bool
is_up(const struct sim_disk *d)
{
	return !sim_is_stopped(d->s, d->node);
}

static int
st_install_many(void *st, struct engine_install *v, size_t n, struct err *e)
{
	struct sim_disk *d = st;
	bool is_alive;
	size_t i;
	int rc = 0;

	if (!is_up(d))
		return closed(e);
	for (i = 0; i < n; i++)
		MUST(v[i].r->is_tomb || v[i].body.len <= SMALL);
	is_alive = sim_disk_time(d->s, d->node, true);
	for (i = 0; i < n; i++) {
		if (!is_alive && sim_once_in(d->s, 2))
			continue; /* S1 */
		v[i].rc = install(d, v[i].r, v[i].body, v[i].flags,
		    &v[i].version, &v[i].is_tomb);
		if (v[i].rc < rc)
			rc = v[i].rc;
	}
	if (!is_alive)
		return closed(e);
	return rc < 0 ? err_set(e, rc, NULL) : 0;
}

static int
draw(struct sim_disk *d, const struct engine_owner *o, uint64_t size,
    uint32_t crc32, const char *ext, unsigned flags, struct engine_record *ret)
{
	const struct item *it = find_write(d, &o->write_id);
	struct fdfs_file_id id = { .group = "group1" };
	char tail[FDFS_TAIL + 1], text[FDFS_ID_MAX + 1];

	if (it != NULL) {
		*ret = it->r;
		return 1;
	}
	id.server = (uint32_t)d->node + 1;
	id.time = (uint32_t)sim_random(d->s);
	id.dir1 = (uint8_t)sim_random(d->s);
	id.dir2 = (uint8_t)sim_random(d->s);
	id.size_field = fdfs_size_field(size, (uint32_t)sim_random(d->s));
	if (flags & ENGINE_APPENDER)
		id.size_field |= FDFS_SIZE_APPENDER;
	id.crc32 = crc32;
	fdfs_tail(str_of(ext), sim_random(d->s), tail);
	tail[FDFS_TAIL] = '\0';
	id.tail = str_mem(tail, FDFS_TAIL);
	*ret = (struct engine_record){ .info = { .size = size,
					   .crc32 = crc32,
					   .file_version = 1,
					   .created_s = 1700000000 +
		                                        sim_now(d->s) / 1000,
					   .class = o->class,
					   .index_id = o->index_id,
					   .write_id = o->write_id },
		.source = { d->node_id, d->incarnation, ++d->seq },
		.note = o->note };
	MUST(fdfs_id_format(&id, text) < sizeof(ret->info.id));
	memcpy(ret->info.id, text, strlen(text) + 1);
	return 0;
}

static int
st_draw(void *st, const struct engine_owner *o, int path_no, uint64_t size,
    uint32_t crc32, const char *ext, unsigned flags, struct engine_record *ret,
    struct err *e)
{
	(void)path_no;
	if (!is_up(st))
		return closed(e);
	return draw(st, o, size, crc32, ext, flags, ret);
}

static struct engine_source
st_next_source(void *st)
{
	struct sim_disk *d = st;

	return (struct engine_source){ d->node_id, d->incarnation, ++d->seq };
}

/* --- streams --- */

struct sim_upload {
	struct sim_disk *d;
	struct engine_owner o;
	struct buf bytes;
};

static int
st_upload_begin(void *st, const struct engine_owner *o, int path_no,
    uint64_t hint, void **ret, struct err *e)
{
	struct sim_upload *u;
	struct sim_disk *d = st;

	(void)path_no;
	(void)hint;
	if (!is_up(d))
		return closed(e);
	if (d->is_full)
		return err_set(e, ERR_NO_SPACE, NULL);
	u = mem_zalloc(sizeof(*u));
	MUST(u != NULL);
	u->d = d;
	u->o = *o;
	u->o.note.p = note_copy(o->note);
	u->bytes = BUF_CAP(64 << 20);
	*ret = u;
	return 0;
}

static int
st_upload_write(void *up, const void *p, size_t len, struct err *e)
{
	struct sim_upload *u = up;

	if (!sim_disk_time(u->d->s, u->d->node, false))
		return closed(e);
	return buf_add(&u->bytes, p, len);
}

static int
st_upload_path(void *up)
{
	return ((struct sim_upload *)up)->bytes.len > SMALL ? 0 : -1;
}

static int
st_upload_draw(void *up, const char *ext, unsigned flags,
    struct engine_record *ret, struct err *e)
{
	struct sim_upload *u = up;

	if (!is_up(u->d))
		return closed(e);
	return draw(u->d, &u->o, u->bytes.len,
	    hash_crc32(0, u->bytes.p, u->bytes.len), ext, flags, ret);
}

static void
st_upload_abort(void *up)
{
	struct sim_upload *u = up;
	char *note;

	memcpy(&note, &u->o.note.p, sizeof(note));
	free(note);
	buf_fini(&u->bytes);
	free(u);
}

static int
st_upload_install(void *up, const struct engine_record *r, unsigned flags,
    uint64_t *ret_version, struct err *e)
{
	struct sim_upload *u = up;
	bool is_tomb = false, is_alive;
	int rc = ERR_CLOSED;

	is_alive = sim_disk_time(u->d->s, u->d->node, true);
	if (is_alive || sim_once_in(u->d->s, 2))
		rc = install(u->d, r, buf_str(&u->bytes), flags, ret_version,
		    &is_tomb);
	st_upload_abort(u);
	if (!is_alive)
		return closed(e);
	return rc < 0 ? err_set(e, rc, NULL) : rc;
}

/* --- reading --- */

struct sim_file {
	struct sim_disk *d;
	char *note;
	struct engine_record r;
	struct body *body;
	bool is_bad;
};

static int
st_open(void *st, struct str id, void **ret, struct err *e)
{
	struct sim_disk *d = st;
	struct item *it;
	struct sim_file *f;

	if (!is_up(d))
		return closed(e);
	it = find(d, id);
	if (it == NULL || it->r.is_tomb)
		return err_set(e, ERR_NOT_FOUND, NULL);
	f = mem_zalloc(sizeof(*f));
	MUST(f != NULL);
	f->d = d;
	set_record(&f->r, &f->note, &it->r);
	f->body = it->body;
	f->body->refs++;
	f->is_bad = it->is_bad;
	*ret = f;
	return 0;
}

static int
take_note(struct engine_record *ret, struct buf *note, struct str s)
{
	size_t at = note->len;
	int rc = buf_adds(note, s);

	ret->note = str_mem(note->p + at, s.len);
	return rc;
}

static int
st_record(void *file, struct engine_record *ret, struct buf *note,
    struct err *e)
{
	struct sim_file *f = file;

	(void)e;
	*ret = f->r;
	return note == NULL ? 0 : take_note(ret, note, f->r.note);
}

static int
st_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	struct sim_file *f = file;

	if (!sim_disk_time(f->d->s, f->d->node, false))
		return closed(e);
	if (f->is_bad)
		return err_set(e, ERR_CORRUPT, "bad block");
	if (off >= f->body->len)
		len = 0;
	else if (len > f->body->len - off)
		len = f->body->len - off;
	if (len > 0)
		memcpy(p, f->body->p + off, len);
	*ret_len = len;
	return 0;
}

static void
st_close(void *file)
{
	struct sim_file *f = file;

	body_unref(f->body);
	free(f->note);
	free(f);
}

static void
version_of(const struct item *it, struct engine_version *ret)
{
	*ret = (struct engine_version){ 0 };
	if (it == NULL)
		return;
	*ret = (struct engine_version){
		.known = it->r.is_tomb ? ENGINE_TOMB : ENGINE_LIVE,
		.class = it->r.info.class,
		.version = it->r.info.file_version,
		.size = it->r.info.size,
	};
}

static int
st_lookup_many(void *st, const struct str *ids, size_t n,
    struct engine_version *ret, struct err *e)
{
	struct sim_disk *d = st;
	size_t i;

	if (!is_up(d))
		return closed(e);
	for (i = 0; i < n; i++)
		version_of(find(d, ids[i]), &ret[i]);
	return 0;
}

static int
record_of_item(const struct item *it, struct engine_record *ret,
    struct buf *note, struct err *e)
{
	if (it == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL);
	*ret = it->r;
	return take_note(ret, note, it->r.note);
}

static int
st_record_of(void *st, struct str id, struct engine_record *ret,
    struct buf *note, struct err *e)
{
	if (!is_up(st))
		return closed(e);
	return record_of_item(find(st, id), ret, note, e);
}

static int
st_record_of_key(void *st, const uint8_t key[ENGINE_KEY],
    struct engine_record *ret, struct buf *note, struct err *e)
{
	if (!is_up(st))
		return closed(e);
	return record_of_item(find_key(st, key), ret, note, e);
}

/* --- the log --- */

static size_t
st_n_paths(void *st)
{
	(void)st;
	return 1;
}

static int
st_log_read(void *st, size_t path_no, struct engine_pos *pos, size_t max,
    int (*fn)(void *arg, const struct engine_record *r), void *arg,
    bool *ret_end, struct err *e)
{
	struct sim_disk *d = st;
	size_t n = 0, i = (size_t)pos->off;
	int rc = 0;

	MUST(path_no == 0);
	if (!is_up(d))
		return closed(e);
	if (i > 0 && (!id128_eq(&pos->path, &d->path) || i > d->n_log ||
			 d->log[i - 1].mark != pos->check))
		return err_set(e, ERR_RETRY, "another log");
	for (; i < d->n_log && n < max && rc == 0; i++, n++) {
		rc = fn(arg, &d->log[i].r);
		if (rc < 0)
			return rc;
	}
	if (i > 0)
		*pos = (struct engine_pos){ .path = d->path,
			.off = i,
			.last = i - 1,
			.check = d->log[i - 1].mark };
	*ret_end = i == d->n_log;
	return 0;
}

static uint64_t
st_log_left(void *st, size_t path_no, const struct engine_pos *pos)
{
	struct sim_disk *d = st;

	(void)path_no;
	return pos->off > d->n_log ? 0 : (d->n_log - pos->off) * 1000;
}

static bool
st_log_wait(void *st, uint64_t *seen, int ms)
{
	struct sim_disk *d = st;
	int64_t until = sim_now(d->s) + ms;

	while (is_up(d) && d->changes == *seen && sim_now(d->s) < until)
		sim_sleep(d->s, 20);
	if (d->changes == *seen)
		return false;
	*seen = d->changes;
	return true;
}

/* --- comparing --- */

static int
st_range(void *st, const uint8_t from[ENGINE_KEY], const uint8_t to[ENGINE_KEY],
    size_t max,
    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
	const struct engine_version *v),
    void *arg, struct err *e)
{
	struct sim_disk *d = st;
	struct engine_version v;
	size_t i, n = 0;
	int rc = 0;

	if (!is_up(d))
		return closed(e);
	for (i = seek(d, from); i < d->n_items && n < max && rc == 0 &&
				memcmp(d->items[i].key, to, ENGINE_KEY) <= 0;
	     i++, n++) {
		version_of(&d->items[i], &v);
		rc = fn(arg, d->items[i].key, &v);
	}
	return rc;
}

static int
add_digest(void *arg, const uint8_t key[ENGINE_KEY],
    const struct engine_version *v)
{
	struct engine_digest *g = arg;
	uint8_t raw[ENGINE_KEY + 9];

	memcpy(raw, key, ENGINE_KEY);
	put_le64(raw + ENGINE_KEY, v->version);
	raw[ENGINE_KEY + 8] = v->known == ENGINE_TOMB;
	g->n++;
	g->sum[0] += hash_xxh3(3, raw, sizeof(raw));
	g->sum[1] += hash_xxh3(4, raw, sizeof(raw));
	return 0;
}

static int
st_digest(void *st, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], struct engine_digest *ret, struct err *e)
{
	*ret = (struct engine_digest){ 0 };
	return st_range(st, from, to, SIZE_MAX, add_digest, ret, e);
}

static void
st_paths_id(void *st, struct id128 *ret)
{
	*ret = ((struct sim_disk *)st)->paths_id;
}

/* As if a scrub were always just done. */
static int
st_each_bad(void *st, int (*fn)(void *arg, const char *id), void *arg)
{
	struct sim_disk *d = st;
	char id[ENGINE_FILE_ID_MAX];
	size_t i;
	int rc = 0;

	for (i = 0; is_up(d) && i < d->n_items && rc == 0; i++) {
		if (!d->items[i].is_bad)
			continue;
		memcpy(id, d->items[i].r.info.id, sizeof(id));
		rc = fn(arg, id);
	}
	return rc;
}

/* --- small files --- */

static struct text_file *
text_find(struct sim_disk *d, const char *name)
{
	size_t i;

	for (i = 0; i < d->n_texts; i++) {
		if (strcmp(d->texts[i].name, name) == 0)
			return &d->texts[i];
	}
	return NULL;
}

static int
st_save(void *st, const char *name, struct str bytes, struct err *e)
{
	struct sim_disk *d = st;
	struct text_file *t;
	bool is_alive;

	MUST(strlen(name) < sizeof(t->name));
	if (!is_up(d))
		return closed(e);
	is_alive = sim_disk_time(d->s, d->node, true);
	if (!is_alive && sim_once_in(d->s, 2))
		return closed(e);
	t = text_find(d, name);
	if (t == NULL) {
		d->texts =
		    mem_realloc(d->texts, (d->n_texts + 1) * sizeof(*d->texts));
		MUST(d->texts != NULL);
		t = &d->texts[d->n_texts++];
		snprintf(t->name, sizeof(t->name), "%s", name);
		t->bytes = BUF_CAP(1 << 20);
	}
	buf_reset(&t->bytes);
	MUST(buf_adds(&t->bytes, bytes) == 0);
	return is_alive ? 0 : closed(e);
}

static int
st_load(void *st, const char *name, struct buf *ret, struct err *e)
{
	struct sim_disk *d = st;
	struct text_file *t = text_find(d, name);

	if (!is_up(d))
		return closed(e);
	if (t == NULL)
		return err_set(e, ERR_NOT_FOUND, "%s", name);
	return buf_adds(ret, buf_str(&t->bytes));
}

const struct rep_store_ops sim_disk_ops = {
	.draw = st_draw,
	.next_source = st_next_source,
	.install_many = st_install_many,
	.upload_begin = st_upload_begin,
	.upload_write = st_upload_write,
	.upload_path = st_upload_path,
	.upload_draw = st_upload_draw,
	.upload_install = st_upload_install,
	.upload_abort = st_upload_abort,
	.open = st_open,
	.record = st_record,
	.read = st_read,
	.close = st_close,
	.lookup_many = st_lookup_many,
	.record_of = st_record_of,
	.record_of_key = st_record_of_key,
	.n_paths = st_n_paths,
	.log_read = st_log_read,
	.log_left = st_log_left,
	.log_wait = st_log_wait,
	.digest = st_digest,
	.range = st_range,
	.paths_id = st_paths_id,
	.each_bad = st_each_bad,
	.save = st_save,
	.load = st_load,
};
