/* tests/unit/replication/sim_store.c - a double of the engine: rep_store_ops over
 * what sim_disk.c holds.
 *
 * A position of the log is an index with the mark of the entry before it, so that
 * one of a log that was put back does not fit. */
#include "tests/unit/replication/sim_disk_int.h"

#include "fdfs/file_id.h"
#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <stdio.h>

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
	is_alive = sim_disk_time(d->s, d->node, true);
	for (i = 0; i < n; i++) {
		if (!is_alive && sim_once_in(d->s, 2))
			continue; /* S1 */
		if (!v[i].r->is_tomb && v[i].body.len > d->small) {
			v[i].rc = ERR_TOO_BIG;
			rc = v[i].rc < rc ? v[i].rc : rc;
			continue;
		}
		v[i].rc = simd_install(d, v[i].r, v[i].body, v[i].flags,
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
	const struct item *it = simd_find_write(d, &o->write_id);
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
	if (d->has_failed)
		return err_set(e, ERR_FAILED, NULL);
	if (d->is_full)
		return err_set(e, ERR_NO_SPACE, NULL);
	u = mem_zalloc(sizeof(*u));
	MUST(u != NULL);
	u->d = d;
	u->o = *o;
	u->o.note.p = simd_note_copy(o->note);
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
	struct sim_upload *u = up;

	return u->bytes.len > u->d->small ? 0 : -1;
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
		rc = simd_install(u->d, r, buf_str(&u->bytes), flags,
		    ret_version, &is_tomb);
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
	it = simd_find(d, id);
	if (it == NULL || it->r.is_tomb)
		return err_set(e, ERR_NOT_FOUND, NULL);
	f = mem_zalloc(sizeof(*f));
	MUST(f != NULL);
	f->d = d;
	simd_set_record(&f->r, &f->note, &it->r);
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

	simd_body_unref(f->body);
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
		version_of(simd_find(d, ids[i]), &ret[i]);
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
	return record_of_item(simd_find(st, id), ret, note, e);
}

static int
st_record_of_key(void *st, const uint8_t key[ENGINE_KEY],
    struct engine_record *ret, struct buf *note, struct err *e)
{
	if (!is_up(st))
		return closed(e);
	return record_of_item(simd_find_key(st, key), ret, note, e);
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
	if (i > 0 && i < d->old_log)
		return err_set(e, ERR_NOT_FOUND, "long gone");
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
	for (i = simd_seek(d, from);
	     i < d->n_items && n < max && rc == 0 &&
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

static bool
st_has_failed(void *st)
{
	struct sim_disk *d = st;

	return d->has_failed;
}

static void
st_forget_before(void *st, int64_t s)
{
	struct sim_disk *d = st;

	if (is_up(d))
		d->forget_s = s;
}

int64_t
sim_disk_forgets(const struct sim_disk *d)
{
	return d->forget_s;
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
	.has_failed = st_has_failed,
	.each_bad = st_each_bad,
	.forget_before = st_forget_before,
	.save = st_save,
	.load = st_load,
};
