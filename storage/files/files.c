/* storage/files/files.c - see storage/files/files.h: opening, names, uploads. */
#include "storage/files/files_int.h"

#include "lib/hash.h"
#include "lib/mem.h"

#include <stdio.h>

#define SWEEP_INTERVAL_MS (6 * 3600 * INT64_C(1000))
#define DRAWS 10 /* until a name is free */

int
files_open(const struct files_conf *c, struct files **ret, struct err *e)
{
	struct files *f = mem_zalloc(sizeof(*f));
	int rc;

	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	f->magic = FILES_MAGIC;
	f->rep = c->rep;
	f->members = c->members;
	f->env = c->env;
	snprintf(f->group, sizeof(f->group), "%s", c->group);
	f->small_limit = c->small_limit;
	f->list_max = c->small_limit / LIST_ENTRY / 2;
	if (f->list_max > FILES_SEGMENTS)
		f->list_max = FILES_SEGMENTS;
	f->sweep_interval_ms = c->sweep_interval_s > 0
	                           ? c->sweep_interval_s * 1000
	                           : SWEEP_INTERVAL_MS;
	f->wait_ms = c->wait_ms > 0 ? c->wait_ms : FILES_WAIT_MS;
	f->done = mem_zalloc(FILES_DONE * sizeof(*f->done));
	if (f->done == NULL) {
		mem_free(&f);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	lock_init(&f->lock, LOCK_RANK_LEAF);
	rc = files_tasks_start(f, e);
	if (rc < 0) {
		files_close(&f);
		return rc;
	}
	*ret = f;
	return 0;
}

void
files_close(struct files **fp)
{
	struct files *f = *fp;
	bool is_over = false;

	if (f == NULL)
		return;
	*fp = NULL;
	OBJ_CHECK(f, FILES_MAGIC);
	while (!is_over) {
		lock_take(&f->lock);
		is_over = f->tasks == 0;
		lock_drop(&f->lock);
		if (!is_over)
			(void)f->env.ops->sleep(f->env.env, 5);
	}
	MUST(f->turns == NULL);
	lock_fini(&f->lock);
	mem_free(&f->drops);
	suspects_free(f);
	mem_free(&f->done);
	f->magic = 0;
	mem_free(&f);
}

/* --- names --- */

static int
make_id(const struct files *f, struct str name, const char *suffix,
    char ret[FILES_ID_LEN + 1], struct err *e)
{
	if (name.len > FDFS_REMOTE_MAX ||
	    strlen(f->group) + 1 + name.len + strlen(suffix) > FILES_ID_LEN)
		return err_set(e, ERR_INVALID, "a name that is too long");
	snprintf(ret, FILES_ID_LEN + 1, "%s/" STR_FMT "%s", f->group,
	    STR_ARG(name), suffix);
	return 0;
}

struct str
files_remote(const struct files *f, const char *id)
{
	return str_skip(str_of(id), strlen(f->group) + 1);
}

int
files_id(const struct files *f, struct str name, char ret[FILES_ID_LEN + 1],
    struct err *e)
{
	enum fdfs_kind kind;

	if (!fdfs_name_is_valid(name) || !fdfs_name_kind(name, &kind))
		return err_set(e, ERR_NOT_FOUND, "no name of a file");
	return make_id(f, name, "", ret, e);
}

int
files_meta_id(const struct files *f, struct str name,
    char ret[FILES_ID_LEN + 1], struct err *e)
{
	if (name.len + 2 > FDFS_REMOTE_MAX)
		return err_set(e, ERR_INVALID,
		    "a name that is too long to have metadata");
	return make_id(f, name, "-m", ret, e);
}

int
files_must_be_appender(struct str name, struct err *e)
{
	enum fdfs_kind kind;

	if (!fdfs_name_is_valid(name) || !fdfs_name_kind(name, &kind) ||
	    kind != FDFS_APPENDER)
		return err_set(e, ERR_INVALID, "not an appender");
	return 0;
}

int64_t
files_now_s(const struct files *f)
{
	return f->env.ops->real_s(f->env.env);
}

int64_t
files_now_ms(const struct files *f)
{
	return f->env.ops->now_ms(f->env.env);
}

/* --- normal files --- */

static int
read_all(files_source *fn, void *arg, char *p, size_t len, struct err *e)
{
	size_t at = 0, n = 0;
	int rc = 0;

	while (rc == 0 && at < len) {
		rc = fn(arg, p + at, len - at, &n, e);
		if (rc == 0 && n == 0)
			rc =
			    err_set(e, ERR_DISCONNECTED, "content ended early");
		at += n;
	}
	return rc;
}

/* To @u, all @left bytes. */
static int
stream(struct rep_upload *u, uint64_t left, files_source *fn, void *arg,
    struct err *e)
{
	char *p = mem_alloc(FILES_CHUNK);
	int rc = 0;

	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (rc == 0 && left > 0) {
		size_t len = left < FILES_CHUNK ? (size_t)left : FILES_CHUNK;

		rc = read_all(fn, arg, p, len, e);
		if (rc == 0)
			rc = rep_upload_write(u, p, len, e);
		left -= len;
	}
	mem_free(&p);
	return rc;
}

static int
write_stream(struct files *f, const struct engine_owner *o, int path_no,
    uint64_t size, files_source *fn, void *arg, const char *ext,
    struct engine_file_info *ret, struct err *e)
{
	struct rep_upload *u = NULL;
	int rc = rep_upload_begin(f->rep, o, path_no, size, &u, e);

	if (rc < 0)
		return rc;
	rc = stream(u, size, fn, arg, e);
	if (rc == 0)
		return rep_upload_commit(&u, ext, 0, ret, e);
	rep_upload_abort(&u);
	return rc;
}

int
files_write_as(struct files *f, const struct engine_record *as,
    const struct engine_owner *o, int path_no, files_source *fn, void *arg,
    struct engine_file_info *ret, struct err *e)
{
	struct rep_upload *u = NULL;
	int rc = rep_upload_begin(f->rep, o, path_no, as->info.size, &u, e);

	if (rc < 0)
		return rc;
	rc = stream(u, as->info.size, fn, arg, e);
	if (rc == 0)
		return rep_upload_commit_as(&u, as, ret, e);
	rep_upload_abort(&u);
	return rc;
}

int
files_write(struct files *f, const struct engine_owner *o, int path_no,
    uint64_t size, files_source *fn, void *arg, const char *ext,
    struct engine_file_info *ret, struct err *e)
{
	char small[8 * 1024], *p = small;
	int rc;

	if (size > FILES_PUT_MAX || size > f->small_limit)
		return write_stream(f, o, path_no, size, fn, arg, ext, ret, e);
	if (size > sizeof(small)) {
		p = mem_alloc((size_t)size);
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	rc = read_all(fn, arg, p, (size_t)size, e);
	if (rc == 0)
		rc = rep_put(f->rep, o, path_no, str_mem(p, (size_t)size), ext,
		    0, ret, e);
	if (p != small)
		mem_free(&p);
	return rc;
}

/* --- new lists --- */

/* Content that is to become a piece of a list: in memory, or a segment. */
struct content {
	struct list_piece piece;
	struct engine_file_info seg; /* id "" without one */
	char *p;
};

static int
take_content(struct files *f, struct str list, uint64_t size,
    uint64_t inline_max, int path_no, files_source *fn, void *arg,
    struct content *ret, struct err *e)
{
	struct engine_owner o = { .class = ENGINE_CLASS_SEGMENT, .note = list };
	int rc;

	*ret = (struct content){ .piece = { .kind = size > 0 ? LIST_BYTES : 0,
				     .len = size } };
	if (inline_max > f->small_limit / 2)
		inline_max = f->small_limit / 2;
	if (size > inline_max) {
		rc = files_write(f, &o, path_no, size, fn, arg, "", &ret->seg,
		    e);
		ret->piece.kind = LIST_SEGMENT;
		ret->piece.id = ret->seg.id;
		ret->piece.crc32 = ret->seg.crc32;
		return rc;
	}
	if (size == 0)
		return 0;
	ret->p = mem_alloc((size_t)size);
	if (ret->p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = read_all(fn, arg, ret->p, (size_t)size, e);
	if (rc < 0) {
		mem_free(&ret->p);
		return rc;
	}
	ret->piece.bytes = str_mem(ret->p, (size_t)size);
	ret->piece.crc32 = hash_crc32(0, ret->p, (size_t)size);
	return 0;
}

/* @rc: what became of the change it was for. What may be in use after all is
 * left to F4's sweep. */
static void
content_fini(struct files *f, struct content *c, const struct files_op *op,
    int rc)
{
	if (files_is_final(rc) && !op->is_again && c->seg.id[0] != '\0')
		files_drop_now(f, c->seg.id);
	mem_free(&c->p);
}

static int
create(struct files *f, struct str name, const struct content *c,
    struct files_op *op, struct err *e)
{
	struct files_result r = { .body = BUF_CAP(0) };

	*op = (struct files_op){ .kind = FILES_CREATE,
		.change = f->env.ops->random(f->env.env),
		.name = name,
		.piece = c->piece };
	return files_ask_leader(f, op, &r, e);
}

static int
upload_appender(struct files *f, int path_no, struct str ext, uint64_t size,
    files_source *fn, void *arg, struct engine_file_info *ret, struct err *e)
{
	struct engine_owner o = { .class = ENGINE_CLASS_LIST };
	char ext_text[FDFS_EXT_MAX + 1] = "";
	struct files_op op = { 0 };
	struct engine_record r;
	struct content c;
	struct str name;
	int rc;

	memcpy(ext_text, ext.p == NULL ? "" : ext.p, ext.len);
	rc = take_content(f, STR_NULL, size, LIST_CREATE_INLINE, path_no, fn,
	    arg, &c, e);
	if (rc < 0)
		return rc;
	rc = ERR_EXISTS;
	for (int i = 0; rc == ERR_EXISTS && i < DRAWS; i++) {
		rc = f->env.store_ops->draw(f->env.store, &o, path_no, size,
		    c.piece.crc32, ext_text, ENGINE_APPENDER, &r, e);
		if (rc < 0)
			break;
		name = files_remote(f, r.info.id);
		rc = create(f, name, &c, &op, e);
	}
	content_fini(f, &c, &op, rc);
	if (rc < 0)
		return rc;
	*ret = r.info;
	ret->size = size;
	return 0;
}

int
files_upload(struct files *f, int path_no, bool is_appender, struct str ext,
    uint64_t size, files_source *fn, void *arg, struct engine_file_info *ret,
    struct err *e)
{
	struct engine_owner o = { .class = ENGINE_CLASS_FASTDFS };
	char ext_text[FDFS_EXT_MAX + 1] = "";

	OBJ_CHECK(f, FILES_MAGIC);
	if (!fdfs_ext_is_valid(ext))
		return err_set(e, ERR_INVALID, "bad extension");
	if (is_appender)
		return upload_appender(f, path_no, ext, size, fn, arg, ret, e);
	memcpy(ext_text, ext.p == NULL ? "" : ext.p, ext.len);
	return files_write(f, &o, path_no, size, fn, arg, ext_text, ret, e);
}

int
files_upload_gather(struct files *f, int path_no, struct str ext,
    struct str body, const struct engine_then *then, struct err *e)
{
	struct engine_owner o = { .class = ENGINE_CLASS_FASTDFS };
	char ext_text[FDFS_EXT_MAX + 1] = "";

	OBJ_CHECK(f, FILES_MAGIC);
	if (!fdfs_ext_is_valid(ext))
		return err_set(e, ERR_INVALID, "bad extension");
	if (body.len > f->small_limit)
		return 1;
	memcpy(ext_text, ext.p == NULL ? "" : ext.p, ext.len);
	return rep_put_gather(f->rep, &o, path_no, body, ext_text, then, e);
}

/* As the leader has it; here it may be gone, or back, already. */
static int
check_free(struct files *f, struct str name, struct err *e)
{
	struct files_op op = { .kind = FILES_GET_LIST, .name = name };
	struct files_result r = { .body = BUF_CAP(RPC_BODY_MAX) };
	int rc = files_ask_leader(f, &op, &r, e);

	buf_fini(&r.body);
	if (rc == 0)
		return err_set(e, ERR_EXISTS, "a slave of this name is there");
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int
files_upload_slave(struct files *f, struct str master, struct str prefix,
    struct str ext, uint64_t size, files_source *fn, void *arg,
    char ret_name[FDFS_REMOTE_MAX + 1], struct err *e)
{
	struct engine_version v = { 0 };
	char name[FDFS_REMOTE_MAX + 1], id[FILES_ID_LEN + 1];
	struct files_info info;
	struct files_op op;
	struct content c;
	struct str s;
	size_t len;
	int rc;

	OBJ_CHECK(f, FILES_MAGIC);
	rc = fdfs_slave_name(master, prefix, ext, name, &len, e);
	if (rc == 0)
		rc = make_id(f, str_mem(name, len), "", id, e);
	if (rc == 0)
		rc = files_info(f, master, false, &info, e);
	if (rc < 0)
		return rc;
	/* Before all of the content was taken in vain; the leader decides. */
	s = str_of(id);
	rc = f->env.store_ops->lookup_many(f->env.store, &s, 1, &v, e);
	if (rc == 0 && v.known == ENGINE_LIVE)
		rc = check_free(f, str_mem(name, len), e);
	if (rc == 0)
		rc = take_content(f, str_mem(name, len), size,
		    LIST_CREATE_INLINE, -1, fn, arg, &c, e);
	if (rc < 0)
		return rc;
	rc = create(f, str_mem(name, len), &c, &op, e);
	content_fini(f, &c, &op, rc);
	if (rc == 0)
		memcpy(ret_name, name, len + 1);
	return rc;
}

/* --- changes --- */

static int
change(struct files *f, enum files_op_kind kind, struct str name, uint64_t off,
    uint64_t size, files_source *fn, void *arg, struct err *e)
{
	struct files_op op = { .kind = kind,
		.change = f->env.ops->random(f->env.env),
		.name = name,
		.off = off };
	struct files_result r = { .body = BUF_CAP(0) };
	struct content c = { 0 };
	int rc;

	OBJ_CHECK(f, FILES_MAGIC);
	rc = files_must_be_appender(name, e);
	if (rc == 0 && size > 0)
		rc = take_content(f, name, size, LIST_INLINE, -1, fn, arg, &c,
		    e);
	if (rc < 0)
		return rc;
	op.piece = c.piece;
	rc = files_ask_leader(f, &op, &r, e);
	content_fini(f, &c, &op, rc);
	return rc;
}

int
files_append(struct files *f, struct str name, uint64_t size, files_source *fn,
    void *arg, struct err *e)
{
	return change(f, FILES_APPEND, name, 0, size, fn, arg, e);
}

int
files_modify(struct files *f, struct str name, uint64_t off, uint64_t size,
    files_source *fn, void *arg, struct err *e)
{
	return change(f, FILES_MODIFY, name, off, size, fn, arg, e);
}

int
files_truncate(struct files *f, struct str name, uint64_t size, struct err *e)
{
	return change(f, FILES_TRUNCATE, name, size, 0, NULL, NULL, e);
}

int
files_regenerate(struct files *f, struct str name, struct engine_file_info *ret,
    struct err *e)
{
	struct files_op op = { .kind = FILES_REGENERATE,
		.change = f->env.ops->random(f->env.env),
		.name = name };
	struct files_result r = { .body = BUF_CAP(0) };
	int rc = files_must_be_appender(name, e);

	OBJ_CHECK(f, FILES_MAGIC);
	if (rc == 0)
		rc = files_ask_leader(f, &op, &r, e);
	if (rc == 0)
		*ret = r.info;
	return rc;
}

int
files_delete(struct files *f, struct str name, struct err *e)
{
	struct files_op op = { .kind = FILES_DELETE,
		.change = f->env.ops->random(f->env.env),
		.name = name };
	struct files_result r = { .body = BUF_CAP(0) };

	OBJ_CHECK(f, FILES_MAGIC);
	return files_ask_leader(f, &op, &r, e);
}

int
files_set_meta(struct files *f, struct str name, char flag, struct str meta,
    struct err *e)
{
	struct files_op op = { .kind = FILES_SET_META,
		.change = f->env.ops->random(f->env.env),
		.name = name,
		.flag = flag,
		.meta = meta };
	struct files_result r = { .body = BUF_CAP(0) };

	OBJ_CHECK(f, FILES_MAGIC);
	if (flag != 'O' && flag != 'M')
		return err_set(e, ERR_INVALID, "flag of metadata");
	return files_ask_leader(f, &op, &r, e);
}

int
files_get_meta(struct files *f, struct str name, struct buf *ret, struct err *e)
{
	struct files_op op = { .kind = FILES_GET_META, .name = name };
	struct files_result r = { .body = BUF_CAP(FDFS_META_PACKET) };
	int rc;

	OBJ_CHECK(f, FILES_MAGIC);
	rc = files_ask_leader(f, &op, &r, e);
	if (rc == 0 && buf_adds(ret, buf_str(&r.body)) < 0)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	buf_fini(&r.body);
	return rc;
}
