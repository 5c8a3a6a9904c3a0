/* storage/replication/engine_store.c - rep_store_ops over the engine. */
#include "storage/replication/engine_store.h"

#include "lib/fs.h"

#include <limits.h>

enum {
	MAX_SAVED = 1 << 20
};

static struct engine *
engine_of(void *st)
{
	return ((struct rep_engine_store *)st)->g;
}

static int
st_draw(void *st, const struct engine_owner *o, int path_no, uint64_t size,
    uint32_t crc32, const char *ext, unsigned flags, struct engine_record *ret,
    struct err *e)
{
	return engine_draw(engine_of(st), o, path_no, size, crc32, ext, flags,
	    ret, e);
}

static struct engine_source
st_next_source(void *st)
{
	return engine_next_source(engine_of(st));
}

static int
st_install_many(void *st, struct engine_install *v, size_t n, struct err *e)
{
	return engine_install_many(engine_of(st), v, n, e);
}

static int
st_put_gather(void *st, const struct engine_owner *o, int path_no,
    struct str body, const char *ext, const struct engine_then *then,
    struct err *e)
{
	return engine_put_gather(engine_of(st), o, path_no, body, ext, then, e);
}

static void
st_gathered(void *st)
{
	engine_gathered(engine_of(st));
}

static int
st_upload_begin(void *st, const struct engine_owner *o, int path_no,
    uint64_t hint, void **ret, struct err *e)
{
	struct engine_upload *u;
	int rc = engine_upload_begin_at(engine_of(st), o, path_no, hint, &u, e);

	if (rc == 0)
		*ret = u;
	return rc;
}

static int
st_upload_write(void *up, const void *p, size_t len, struct err *e)
{
	return engine_upload_write(up, p, len, e);
}

static int
st_upload_path(void *up)
{
	return engine_upload_path(up);
}

static int
st_upload_draw(void *up, const char *ext, unsigned flags,
    struct engine_record *ret, struct err *e)
{
	return engine_upload_draw(up, ext, flags, ret, e);
}

static int
st_upload_install(void *up, const struct engine_record *r, unsigned flags,
    uint64_t *ret_version, struct err *e)
{
	struct engine_upload *u = up;

	return engine_upload_install(&u, r, flags, ret_version, e);
}

static void
st_upload_abort(void *up)
{
	struct engine_upload *u = up;

	engine_upload_abort(&u);
}

static int
st_open(void *st, struct str id, void **ret, struct err *e)
{
	struct engine_file *f;
	int rc = engine_file_open(engine_of(st), id, &f, e);

	if (rc == 0)
		*ret = f;
	return rc;
}

static int
st_record(void *f, struct engine_record *ret, struct buf *note, struct err *e)
{
	return engine_file_record(f, ret, note, e);
}

static int
st_read(void *f, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	return engine_file_read(f, off, p, len, ret_len, e);
}

static int
st_span(void *f, uint64_t off, size_t len, struct engine_span *ret,
    struct err *e)
{
	return engine_file_span(f, off, len, ret, e);
}

static void
st_close(void *f)
{
	struct engine_file *ef = f;

	engine_file_close(&ef);
}

static int
st_lookup_many(void *st, const struct str *ids, size_t n,
    struct engine_version *ret, struct err *e)
{
	return engine_lookup_many(engine_of(st), ids, n, ret, e);
}

static int
st_record_of(void *st, struct str id, struct engine_record *ret,
    struct buf *note, struct err *e)
{
	return engine_record(engine_of(st), id, ret, note, e);
}

static int
st_record_of_key(void *st, const uint8_t key[ENGINE_KEY],
    struct engine_record *ret, struct buf *note, struct err *e)
{
	return engine_record_of_key(engine_of(st), key, ret, note, e);
}

static size_t
st_n_paths(void *st)
{
	return engine_n_paths(engine_of(st));
}

static int
st_log_read(void *st, size_t path_no, struct engine_pos *pos, size_t max,
    int (*fn)(void *arg, const struct engine_record *r), void *arg,
    bool *ret_end, struct err *e)
{
	return engine_log_read(engine_of(st), path_no, pos, max, fn, arg,
	    ret_end, e);
}

static uint64_t
st_log_left(void *st, size_t path_no, const struct engine_pos *pos)
{
	return engine_log_left(engine_of(st), path_no, pos);
}

static bool
st_log_wait(void *st, uint64_t *seen, int ms)
{
	return engine_log_wait(engine_of(st), seen, ms);
}

static int
st_digest(void *st, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], struct engine_digest *ret, struct err *e)
{
	return engine_digest(engine_of(st), from, to, ret, e);
}

static int
st_range(void *st, const uint8_t from[ENGINE_KEY], const uint8_t to[ENGINE_KEY],
    size_t max,
    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
	const struct engine_version *v),
    void *arg, struct err *e)
{
	return engine_range(engine_of(st), from, to, max, fn, arg, e);
}

static void
st_paths_id(void *st, struct id128 *ret)
{
	engine_paths_id(engine_of(st), ret);
}

/* --- small files of the node's own --- */

static int
saved_path(const struct rep_engine_store *s, const char *name,
    char dst[PATH_MAX], struct err *e)
{
	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
		return err_set(e, ERR_INVALID, "no name of a file: %.60s",
		    name);
	return fs_join(dst, PATH_MAX, s->dir, name, e);
}

static bool
st_has_failed(void *st)
{
	return engine_has_failed(engine_of(st));
}

static void
st_forget_before(void *st, int64_t s)
{
	engine_forget_before(engine_of(st), s);
}

static int
st_each_bad(void *st, int (*fn)(void *arg, const char *id), void *arg)
{
	return engine_each_bad(engine_of(st), fn, arg);
}

static int
st_save(void *st, const char *name, struct str bytes, struct err *e)
{
	const struct rep_engine_store *s = st;
	char path[PATH_MAX];
	int rc = saved_path(s, name, path, e);

	if (rc == 0 && !fs_is_dir(s->dir))
		rc = fs_mkdir_p(s->dir, e);
	return rc == 0 ? fs_write_file(path, bytes, 0600, e) : rc;
}

static int
st_load(void *st, const char *name, struct buf *ret, struct err *e)
{
	char path[PATH_MAX];
	int rc = saved_path(st, name, path, e);

	return rc == 0 ? fs_read_file(path, MAX_SAVED, ret, e) : rc;
}

const struct rep_store_ops rep_engine_ops = {
	.draw = st_draw,
	.next_source = st_next_source,
	.install_many = st_install_many,
	.put_gather = st_put_gather,
	.gathered = st_gathered,
	.upload_begin = st_upload_begin,
	.upload_write = st_upload_write,
	.upload_path = st_upload_path,
	.upload_draw = st_upload_draw,
	.upload_install = st_upload_install,
	.upload_abort = st_upload_abort,
	.open = st_open,
	.record = st_record,
	.read = st_read,
	.span = st_span,
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
	.has_failed = st_has_failed,
	.each_bad = st_each_bad,
	.forget_before = st_forget_before,
	.save = st_save,
	.load = st_load,
};
