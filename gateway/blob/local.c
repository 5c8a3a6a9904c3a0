/* gateway/blob/local.c - the storage engine in this process, as a blob backend.
 *
 * Translates the seam's records into the engine's, which are alike on purpose.
 * One node is one group: the group that is asked for is not looked at.
 * Threads: any. */
#include "gateway/blob/blob.h"

#include "storage/engine/engine.h"

#include <stdio.h>

_Static_assert(BLOB_ID_MAX == ENGINE_FILE_ID_MAX, "IDs fit");
_Static_assert(BLOB_LENT == ENGINE_LENT, "lent for as long");
_Static_assert(BLOB_LEND_ALIGN == ENGINE_LEND_ALIGN, "aligned alike");
_Static_assert((int)BLOB_CLASS_S3 == (int)ENGINE_CLASS_S3, "same classes");
_Static_assert((int)BLOB_CLASS_INDEX == (int)ENGINE_CLASS_INDEX, "the same");

static struct engine_owner
to_owner(const struct blob_owner *o)
{
	return (struct engine_owner){ .class = o->class,
		.index_id = o->index_id,
		.write_id = o->write_id,
		.is_new = o->is_new,
		.note = o->note };
}

static void
from_info(const struct engine_file_info *i, struct blob_info *ret)
{
	memcpy(ret->id, i->id, sizeof(ret->id));
	ret->size = i->size;
	ret->class = i->class;
	ret->created_s = i->created_s;
	ret->index_id = i->index_id;
	ret->write_id = i->write_id;
}

static void
local_close(void *impl)
{
	struct engine *g = impl;

	engine_close(&g);
}

static int
local_put_begin(void *impl, struct str group, const struct blob_owner *owner,
    uint64_t size_hint, void **ret, struct err *e)
{
	struct engine_owner o = to_owner(owner);
	struct engine_upload *u;
	int rc;

	(void)group;
	rc = engine_upload_begin(impl, &o, size_hint, &u, e);
	if (rc < 0)
		return rc;
	*ret = u;
	return 0;
}

static int
local_put_write(void *put, const void *p, size_t len, struct err *e)
{
	return engine_upload_write(put, p, len, e);
}

static int
local_put_lend(void *put, const void *p, size_t len, struct err *e)
{
	return engine_upload_lend(put, p, len, e);
}

static void
local_put_settle(void *put)
{
	engine_upload_settle(put);
}

static int
local_put_commit(void *put, struct blob_info *ret, struct err *e)
{
	struct engine_upload *u = put;
	struct engine_file_info i;
	int rc = engine_upload_commit(&u, "", &i, e);

	if (rc < 0)
		return rc;
	from_info(&i, ret);
	return 0;
}

static void
local_put_abort(void *put)
{
	struct engine_upload *u = put;

	engine_upload_abort(&u);
}

static int
local_put_whole(void *impl, struct str group, const struct blob_owner *owner,
    struct str body, struct blob_info *ret, struct err *e)
{
	struct engine_owner o = to_owner(owner);
	struct engine_file_info i;
	int rc;

	(void)group;
	rc = engine_put(impl, &o, body, "", &i, e);
	if (rc < 0)
		return rc;
	from_info(&i, ret);
	return 0;
}

static int
then_named(void *arg, const struct engine_file_info *f, struct err *e)
{
	const struct blob_then *t = arg;
	struct blob_info i;

	from_info(f, &i);
	return t->named(t->arg, &i, e);
}

static void
then_stored(void *arg, int rc, bool more)
{
	const struct blob_then *t = arg;

	t->stored(t->arg, rc, more);
}

static int
local_put_then(void *impl, struct str group, const struct blob_owner *owner,
    struct str body, const struct blob_then *then, struct err *e)
{
	struct blob_then *copy = arena_alloc(then->a, sizeof(*copy));
	struct engine_then t = { then_named, then_stored, copy, then->a };
	struct engine_owner o = to_owner(owner);

	(void)group;
	if (copy == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	*copy = *then;
	return engine_put_then(impl, &o, body, "", &t, e);
}

static int
local_open(void *impl, struct str id, void **ret, uint64_t *ret_size,
    struct err *e)
{
	struct engine_file_info i;
	struct engine_file *f;
	int rc = engine_file_open(impl, id, &f, e);

	if (rc < 0)
		return rc;
	engine_file_info(f, &i);
	*ret_size = i.size;
	*ret = f;
	return 0;
}

static int
local_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	return engine_file_read(file, off, p, len, ret_len, e);
}

static int
local_note(void *file, struct buf *ret, struct err *e)
{
	return engine_file_note(file, ret, e);
}

static void
local_file_close(void *file)
{
	struct engine_file *f = file;

	engine_file_close(&f);
}

static int
local_read_once(void *impl, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	return engine_read(impl, id, off, p, len, ret_len, e);
}

static int
local_delete_many(void *impl, const struct str *ids, size_t n, struct err *e)
{
	return engine_delete_many(impl, ids, n, e);
}

static int
local_find_write(void *impl, const struct id128 *write_id,
    struct blob_info *ret, struct err *e)
{
	struct engine_file_info i;
	int rc = engine_find_write(impl, write_id, &i, e);

	if (rc < 0)
		return rc;
	from_info(&i, ret);
	return 0;
}

struct each {
	int (*fn)(void *arg, const struct blob_info *i);
	void *arg;
};

static int
each_one(void *arg, const struct engine_file_info *f)
{
	const struct each *c = arg;
	struct blob_info i;

	from_info(f, &i);
	return c->fn(c->arg, &i);
}

static int
local_each(void *impl, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e)
{
	struct each c = { fn, arg };

	return engine_each(impl, class, each_one, &c, e);
}

static size_t
local_n_stats(void *impl)
{
	return engine_n_paths(impl);
}

static void
local_get_stat(void *impl, size_t i, struct blob_stat *ret)
{
	struct engine_path_stat s;

	engine_path_stat(impl, i, &s);
	*ret = (struct blob_stat){ .is_failed = s.is_failed,
		.total = s.total,
		.avail = s.avail,
		.files = s.files,
		.bytes = s.bytes,
		.dead_bytes = s.dead_bytes,
		.scrub_bytes = s.scrub_bytes,
		.scrub_total = s.scrub_total,
		.scrub_errors = s.scrub_errors,
		.quarantined = s.quarantined,
		.scrub_last_s = s.scrub_last_s };
	snprintf(ret->name, sizeof(ret->name), "%s", s.path);
}

static bool
local_can_write(void *impl)
{
	return engine_can_write(impl);
}

static int
local_scrub_now(void *impl, struct err *e)
{
	return engine_scrub_now(impl, e);
}

static int
local_compact_now(void *impl, struct err *e)
{
	return engine_compact_now(impl, e);
}

static const struct blob_ops local_ops = {
	.close = local_close,
	.put_begin = local_put_begin,
	.put_write = local_put_write,
	.put_lend = local_put_lend,
	.put_settle = local_put_settle,
	.put_commit = local_put_commit,
	.put_abort = local_put_abort,
	.put_whole = local_put_whole,
	.put_then = local_put_then,
	.open = local_open,
	.read = local_read,
	.note = local_note,
	.file_close = local_file_close,
	.read_once = local_read_once,
	.delete_many = local_delete_many,
	.find_write = local_find_write,
	.each = local_each,
	.n_stats = local_n_stats,
	.get_stat = local_get_stat,
	.can_write = local_can_write,
	.scrub_now = local_scrub_now,
	.compact_now = local_compact_now,
};

int
blob_local_new(struct engine *g, struct blob **ret, struct err *e)
{
	struct blob *b = blob_new(&local_ops, g);

	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	*ret = b;
	return 0;
}
