/* storage/files/apply.c - changes, on the node that orders them.
 *
 * Each reads the newest version, makes the next one and writes it on condition
 * that nothing came between (the group's leader may be another one by now).
 * Segments that were made for a version which then was not written go at once,
 * unless the outcome is open: then the sweep finds out. */
#include "storage/files/files_int.h"

#include "lib/mem.h"

#define TRIES 4

/* F6 */
static bool
is_late(struct files *f, const struct files_op *op)
{
	return op->until_ms != 0 && files_now_ms(f) >= op->until_ms;
}

/* --- the class of a name --- */

/* A name that can come again after a delete. */
static bool
is_slave(struct str name)
{
	enum fdfs_kind kind;

	return !fdfs_name_kind(name, &kind) || kind == FDFS_SLAVE ||
	       name.len != FILES_NAME_PLAIN;
}

static int
look(struct files *f, struct str name, const char *id, uint8_t *ret_class,
    struct err *e)
{
	struct engine_file_info info;
	struct rep_file *file = NULL;
	int rc;

	/* Of what comes again the tombstone that is here may be older. */
	if (is_slave(name)) {
		rc = rep_read_newest(f->rep, str_of(id), &info, NULL, e);
	} else {
		rc = rep_file_open(f->rep, str_of(id), &file, e);
	}
	if (file != NULL) {
		rep_file_info(file, &info);
		rep_file_close(&file);
	}
	if (rc < 0)
		return rc;
	if (info.class != ENGINE_CLASS_FASTDFS &&
	    info.class != ENGINE_CLASS_LIST)
		return err_set(e, ERR_NOT_FOUND, NULL); /* F1 */
	*ret_class = info.class;
	return 0;
}

/* --- lists --- */

int
draft_open(struct files *f, struct str name, struct draft *d, struct err *e)
{
	struct buf body = BUF_CAP(ENGINE_BLOCK * 512);
	struct engine_file_info info;
	int rc;

	*d = (struct draft){ .name = name, .fresh = BUF_CAP(1024 * 1024) };
	list_init(&d->list);
	rc = files_id(f, name, d->id, e);
	if (rc == 0)
		rc = rep_read_newest(f->rep, str_of(d->id), &info, &body, e);
	if (rc == 0 && info.class != ENGINE_CLASS_LIST)
		rc = err_set(e, ERR_NOT_FOUND, NULL); /* F1 */
	if (rc == 0)
		rc = list_decode(buf_str(&body), &d->list, e);
	if (rc == 0) {
		d->version = info.file_version;
		d->n_old = d->list.n_segs;
	}
	buf_fini(&body);
	return rc;
}

static bool
is_named(const struct list *l, size_t seg)
{
	for (size_t i = 0; i < l->n_ext; i++)
		if (l->ext[i].kind == LIST_SEGMENT && l->ext[i].seg == seg)
			return true;
	return false;
}

static bool
is_named_id(const struct list *l, const char *id)
{
	for (size_t i = 0; i < l->n_segs; i++)
		if (strcmp(l->segs[i].id, id) == 0 && is_named(l, i))
			return true;
	return false;
}

void
draft_close(struct files *f, struct draft *d, int rc)
{
	const char *id = d->fresh.p, *end = id + d->fresh.len;
	bool is_final = rc == ERR_RETRY || files_is_final(rc);

	for (; id < end; id += strlen(id) + 1)
		if (rc == 0 ? !is_named_id(&d->list, id) : is_final)
			files_drop_now(f, id);
	for (size_t i = 0; rc == 0 && i < d->n_old; i++)
		if (!is_named(&d->list, i))
			files_drop_later(f, d->list.segs[i].id,
			    FILES_DROP_CHANGED_MS);
	list_fini(&d->list);
	buf_fini(&d->fresh);
}

static int
note_fresh(struct draft *d, const char *id, struct err *e)
{
	if (buf_add(&d->fresh, id, strlen(id) + 1) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return 0;
}

static int
merge(struct files *f, struct draft *d, size_t first, size_t n, struct err *e)
{
	struct engine_owner o = { .class = ENGINE_CLASS_SEGMENT,
		.note = d->name };
	struct engine_file_info seg;
	uint64_t off = 0, len = 0;
	int rc;

	for (size_t i = 0; i < first; i++)
		off += d->list.ext[i].len;
	for (size_t i = first; i < first + n; i++)
		len += d->list.ext[i].len;
	rc = files_copy(f, &d->list, off, len, &o, -1, "", &seg, e);
	if (rc == 0)
		rc = note_fresh(d, seg.id, e);
	if (rc == 0)
		rc = list_replace(&d->list, first, n, seg.id, seg.crc32, e);
	return rc;
}

/* What changes have left in the list itself becomes a segment. */
static int
spill(struct files *f, struct draft *d, struct err *e)
{
	struct engine_owner o = { .class = ENGINE_CLASS_SEGMENT,
		.note = d->name };
	struct engine_file_info seg;
	int rc =
	    rep_put(f->rep, &o, -1, buf_str(&d->list.bytes), "", 0, &seg, e);

	if (rc == 0)
		rc = note_fresh(d, seg.id, e);
	if (rc == 0)
		rc = list_spill(&d->list, seg.id, e);
	return rc;
}

/* F3 */
static int
tidy(struct files *f, struct draft *d, struct err *e)
{
	size_t first, n;
	int rc = 0;

	if (d->list.bytes.len > LIST_INLINE ||
	    d->list.bytes.len > f->small_limit / 4)
		rc = spill(f, d, e);
	while (rc == 0 && list_plan(&d->list, &first, &n))
		rc = merge(f, d, first, n, e);
	while (rc == 0 && list_plan_short(&d->list, f->list_max, &first, &n))
		rc = merge(f, d, first, n, e);
	return rc;
}

int
draft_write(struct files *f, struct draft *d, bool is_new, struct err *e)
{
	struct buf body = BUF_CAP(f->small_limit);
	struct rep_change c = { .id = str_of(d->id),
		.class = ENGINE_CLASS_LIST,
		.note = str_of(d->list.successor), /* for the sweep */
		.is_new = is_new,
		.base = d->version,
		.until_ms = d->until_ms };
	struct engine_file_info info;
	int rc;

	if (d->list.n_recent > f->small_limit / 64)
		d->list.n_recent = f->small_limit / 64;
	rc = list_encode(&d->list, &body, e);
	c.body = buf_str(&body);
	if (rc == 0)
		rc = rep_change(f->rep, &c, &info, e);
	if (rc == 0)
		d->version = info.file_version;
	buf_fini(&body);
	return rc;
}

/* --- creating --- */

static int
create(struct files *f, const struct files_op *op, struct err *e)
{
	struct draft d = { .name = op->name,
		.fresh = BUF_CAP(1),
		.until_ms = op->until_ms };
	struct draft old;
	int rc;

	list_init(&d.list);
	rc = files_id(f, op->name, d.id, e);
	if (rc == 0)
		rc = list_splice(&d.list, 0, 0, &op->piece, e);
	if (rc == 0) {
		d.list.created_s = files_now_s(f);
		list_note_change(&d.list, op->change, d.list.created_s);
		rc = draft_write(f, &d, true, e);
	}
	if (rc == ERR_EXISTS && op->is_again) { /* F5 */
		if (draft_open(f, op->name, &old, e) == 0 &&
		    list_has_change(&old.list, op->change))
			rc = 0;
		else
			rc = err_set(e, ERR_EXISTS, NULL);
		draft_close(f, &old, ERR_BUSY);
	}
	list_fini(&d.list);
	return rc;
}

/* --- append, modify, truncate --- */

static int
splice(struct files *f, const struct files_op *op, struct list *l,
    struct err *e)
{
	struct list_piece hole = { .kind = LIST_HOLE };
	uint64_t cut;

	(void)f;
	switch (op->kind) {
	case FILES_APPEND:
		return list_splice(l, l->size, 0, &op->piece, e);
	case FILES_MODIFY:
		if (op->off > l->size)
			return err_set(e, ERR_INVALID,
			    "modify: offset past the end");
		cut = l->size - op->off;
		if (cut > op->piece.len)
			cut = op->piece.len;
		return list_splice(l, op->off, cut, &op->piece, e);
	default:
		MUST(op->kind == FILES_TRUNCATE);
		if (op->off <= l->size) {
			hole.kind = 0;
			return list_splice(l, op->off, l->size - op->off, &hole,
			    e);
		}
		hole.len = op->off - l->size;
		return list_splice(l, l->size, 0, &hole, e);
	}
}

static int
change_once(struct files *f, const struct files_op *op, struct err *e)
{
	uint64_t size;
	struct draft d;
	int rc = draft_open(f, op->name, &d, e);

	if (rc < 0 || list_has_change(&d.list, op->change)) { /* F5 */
		draft_close(f, &d, ERR_BUSY);
		return rc;
	}
	size = d.list.size;
	d.until_ms = op->until_ms;
	rc = files_settle(f, &d, e);
	if (rc == 0)
		rc = splice(f, op, &d.list, e);
	if (rc == 0 && op->piece.len == 0 && d.list.size == size) {
		draft_close(f, &d, ERR_BUSY);
		return 0; /* nothing to do */
	}
	if (rc == 0)
		rc = tidy(f, &d, e);
	if (rc == 0) {
		list_note_change(&d.list, op->change, files_now_s(f));
		rc = draft_write(f, &d, false, e);
	}
	draft_close(f, &d, rc);
	return rc;
}

static int
change(struct files *f, const struct files_op *op, struct err *e)
{
	int rc = files_must_be_appender(op->name, e);

	if (rc < 0)
		return rc;
	rc = ERR_RETRY;
	for (int i = 0; rc == ERR_RETRY && i < TRIES && !is_late(f, op); i++)
		rc = change_once(f, op, e);
	return rc;
}

/* --- metadata --- */

/* "" and version 0 without any. */
static int
read_meta(struct files *f, const char *id, struct buf *ret, uint64_t *version,
    struct err *e)
{
	struct engine_file_info info;
	int rc = rep_read_newest(f->rep, str_of(id), &info, ret, e);

	*version = 0;
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0 && info.class != ENGINE_CLASS_META)
		rc = err_set(e, ERR_CORRUPT, "%s is no metadata", id);
	if (rc == 0)
		*version = info.file_version;
	return rc;
}

static int
write_meta(struct files *f, const char *id, struct str meta, uint64_t version,
    int64_t until_ms, struct err *e)
{
	struct rep_change c = { .id = str_of(id),
		.class = ENGINE_CLASS_META,
		.body = meta,
		.base = version,
		.is_new = version == 0,
		.is_delete = meta.len == 0,
		.until_ms = until_ms };
	struct engine_file_info info;

	if (meta.len == 0 && version == 0)
		return 0;
	if (c.is_delete)
		c.is_new = false;
	else if (meta.len > f->small_limit)
		return err_set(e, ERR_TOO_BIG, "metadata");
	return rep_change(f->rep, &c, &info, e);
}

static int
set_meta_once(struct files *f, const char *id, const struct files_op *op,
    struct err *e)
{
	struct buf old = BUF_CAP(FDFS_META_PACKET * 2),
		   new = BUF_CAP(FDFS_META_PACKET);
	uint64_t version;
	int rc = read_meta(f, id, &old, &version, e);

	if (rc == 0)
		rc = fdfs_meta_set(buf_str(&old), op->meta, op->flag, &new, e);
	if (rc == 0 && (version == 0 || !str_eq(buf_str(&old), buf_str(&new))))
		rc = write_meta(f, id, buf_str(&new), version, op->until_ms, e);
	if (rc == ERR_EXISTS || rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_RETRY, NULL); /* something came between */
	buf_fini(&old);
	buf_fini(&new);
	return rc;
}

static int
set_meta(struct files *f, const struct files_op *op, struct err *e)
{
	char id[FILES_ID_LEN + 1], meta[FILES_ID_LEN + 1];
	uint8_t class;
	int rc = files_id(f, op->name, id, e);

	if (rc == 0)
		rc = look(f, op->name, id, &class, e);
	if (rc == 0)
		rc = files_meta_id(f, op->name, meta, e);
	if (rc < 0)
		return rc;
	rc = ERR_RETRY;
	for (int i = 0; rc == ERR_RETRY && i < TRIES && !is_late(f, op); i++)
		rc = set_meta_once(f, meta, op, e);
	return rc;
}

static int
get_meta(struct files *f, const struct files_op *op, struct buf *ret,
    struct err *e)
{
	char id[FILES_ID_LEN + 1], meta[FILES_ID_LEN + 1];
	uint64_t version;
	uint8_t class;
	int rc = files_id(f, op->name, id, e);

	if (rc == 0)
		rc = look(f, op->name, id, &class, e);
	if (rc == 0 && files_meta_id(f, op->name, meta, NULL) < 0)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 0)
		rc = read_meta(f, meta, ret, &version, e);
	if (rc == 0 && version == 0)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	return rc;
}

static int
delete_meta(struct files *f, struct str name, int64_t until_ms, struct err *e)
{
	char id[FILES_ID_LEN + 1];
	struct rep_change c = { .class = ENGINE_CLASS_META,
		.is_delete = true,
		.until_ms = until_ms };
	struct engine_file_info info;
	int rc;

	if (files_meta_id(f, name, id, NULL) < 0)
		return 0; /* it cannot have any */
	c.id = str_of(id);
	rc = rep_change(f->rep, &c, &info, e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int
files_delete_meta(struct files *f, struct str name, struct err *e)
{
	return delete_meta(f, name, 0, e);
}

int
files_copy_meta(struct files *f, struct str from, struct str to, struct err *e)
{
	char a[FILES_ID_LEN + 1], b[FILES_ID_LEN + 1];
	struct buf meta = BUF_CAP(FDFS_META_PACKET * 2);
	uint64_t version;
	int rc;

	if (files_meta_id(f, from, a, NULL) < 0)
		return 0;
	rc = files_meta_id(f, to, b, e);
	if (rc == 0)
		rc = read_meta(f, a, &meta, &version, e);
	if (rc == 0)
		rc = write_meta(f, b, buf_str(&meta), 0, 0, e);
	buf_fini(&meta);
	return rc;
}

/* --- delete --- */

int
draft_delete(struct files *f, struct draft *d, struct err *e)
{
	struct rep_change c = { .id = str_of(d->id),
		.class = ENGINE_CLASS_LIST,
		.base = d->version,
		.is_delete = true,
		.until_ms = d->until_ms };
	struct engine_file_info info;
	int rc = rep_change(f->rep, &c, &info, e);

	for (size_t i = 0; rc == 0 && i < d->list.n_segs; i++)
		files_drop_later(f, d->list.segs[i].id, FILES_DROP_MS);
	return rc;
}

/* The file first: what is left of a delete that stops in between is metadata
 * that nobody sees, and the sweep takes. But the name of a slave may come again,
 * and must not find it. */
static int
delete_both(struct files *f, const struct files_op *op, const char *id,
    struct draft *d, struct err *e)
{
	struct str s = str_of(id), name = op->name;
	bool again = is_slave(name);
	int rc = 0;

	if (again)
		rc = delete_meta(f, name, op->until_ms, e);
	if (rc == 0 && d != NULL) /* F6: of two steps the first decides */
		d->until_ms = again ? 0 : op->until_ms;
	if (rc == 0)
		rc = d != NULL ? draft_delete(f, d, e)
		               : rep_delete_many(f->rep, &s, 1, e);
	if (rc == 0 && !again)
		(void)files_delete_meta(f, name, NULL);
	return rc;
}

static int
delete_once(struct files *f, const struct files_op *op, struct err *e)
{
	char id[FILES_ID_LEN + 1];
	struct draft d;
	uint8_t class;
	int rc = files_id(f, op->name, id, e);

	if (rc == 0)
		rc = look(f, op->name, id, &class, e);
	if (rc < 0)
		return rc;
	if (class != ENGINE_CLASS_LIST)
		return delete_both(f, op, id, NULL, e);
	rc = draft_open(f, op->name, &d, e);
	d.until_ms = op->until_ms;
	if (rc == 0)
		rc = files_settle(f, &d, e);
	if (rc == 0)
		rc = delete_both(f, op, id, &d, e);
	draft_close(f, &d, ERR_BUSY);
	return rc;
}

static int
delete_file(struct files *f, const struct files_op *op, struct err *e)
{
	int rc = ERR_RETRY;

	for (int i = 0; rc == ERR_RETRY && i < TRIES && !is_late(f, op); i++)
		rc = delete_once(f, op, e);
	if (rc == ERR_NOT_FOUND && op->is_again)
		rc = 0; /* F5: it was this one that deleted it */
	return rc;
}

/* --- lists, for readers --- */

static int
get_list(struct files *f, const struct files_op *op, struct buf *ret,
    struct err *e)
{
	struct engine_file_info info;
	char id[FILES_ID_LEN + 1];
	int rc = files_id(f, op->name, id, e);

	if (rc == 0)
		rc = rep_read_newest(f->rep, str_of(id), &info, ret, e);
	if (rc == 0 && info.class != ENGINE_CLASS_LIST)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	return rc;
}

/* --- once (F5) --- */

static bool
is_done(struct files *f, uint64_t change)
{
	const struct files_done *d = &f->done[change % FILES_DONE];
	bool is = false;

	lock_take(&f->lock);
	for (size_t i = 0; i < 7; i++)
		is |= change != 0 && d->change[i] == change;
	lock_drop(&f->lock);
	return is;
}

static void
note_done(struct files *f, uint64_t change)
{
	struct files_done *d = &f->done[change % FILES_DONE];

	lock_take(&f->lock);
	d->change[d->at++ % 7] = change;
	lock_drop(&f->lock);
}

/* With the name's turn. */
static int
apply(struct files *f, const struct files_op *op, struct files_result *ret,
    struct err *e)
{
	int rc;

	if (is_done(f, op->change))
		return 0;
	if (is_late(f, op))
		return err_set(e, ERR_RETRY, "it comes too late");
	if (op->kind == FILES_REGENERATE) /* never asked for again */
		return files_regenerate_here(f, op, &ret->info, e);
	switch (op->kind) {
	case FILES_CREATE:
		rc = create(f, op, e);
		break;
	case FILES_SET_META:
		rc = set_meta(f, op, e);
		break;
	case FILES_DELETE:
		rc = delete_file(f, op, e);
		break;
	default:
		rc = change(f, op, e);
		break;
	}
	if (rc == 0)
		note_done(f, op->change);
	return rc;
}

int
files_apply(struct files *f, const struct files_op *op,
    struct files_result *ret, struct err *e)
{
	struct files_turn *t = NULL;
	int rc;

	if (op->kind == FILES_GET_LIST)
		return get_list(f, op, &ret->body, e);
	if (op->kind == FILES_GET_META)
		return get_meta(f, op, &ret->body, e);
	rc = files_turn_take(f, op->name, &t, e);
	if (rc < 0)
		return rc;
	rc = apply(f, op, ret, e);
	files_turn_give(f, &t);
	return rc;
}
