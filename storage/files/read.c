/* storage/files/read.c - reading what FastDFS's clients name. */
#include "storage/files/files_int.h"

#include "lib/mem.h"

struct files_reader {
	struct files *f;
	struct rep_file *file; /* a normal file; else a list */
	struct list list;
	struct files_cursor cursor;
};

/* The list as the leader has it (F2). */
static int
list_of_leader(struct files *f, struct str name, struct list *ret,
    struct err *e)
{
	struct files_op op = { .kind = FILES_GET_LIST, .name = name };
	struct files_result r = { .body = BUF_CAP(RPC_BODY_MAX) };
	int rc = files_ask_leader(f, &op, &r, e);

	if (rc == 0)
		rc = list_decode(buf_str(&r.body), ret, e);
	buf_fini(&r.body);
	return rc;
}

static int
read_whole(struct rep_file *file, uint64_t size, struct buf *b, struct err *e)
{
	size_t done = 0, n = 1;
	int rc = buf_reserve(b, (size_t)size);

	if (rc < 0)
		return err_set(e, rc, NULL);
	while (rc == 0 && done < size && n > 0) {
		rc = rep_file_read(file, done, b->p + b->len,
		    (size_t)size - done, &n, e);
		if (rc == 0) {
			done += n;
			b->len += n;
		}
	}
	return rc;
}

static int
list_of_file(struct rep_file *file, uint64_t size, struct list *ret,
    struct err *e)
{
	struct buf b = BUF_CAP(RPC_BODY_MAX);
	int rc = read_whole(file, size, &b, e);

	if (rc == 0)
		rc = list_decode(buf_str(&b), ret, e);
	buf_fini(&b);
	return rc;
}

/* The whole of a small file of this class. */
static int
read_class(struct files *f, const char *id, uint8_t class, struct buf *b,
    struct err *e)
{
	struct engine_file_info info;
	struct rep_file *file = NULL;
	int rc = rep_file_open(f->rep, str_of(id), &file, e);

	if (rc < 0)
		return rc;
	rep_file_info(file, &info);
	if (info.class != class)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	else
		rc = read_whole(file, info.size, b, e);
	rep_file_close(&file);
	return rc;
}

static int
exists(struct files *f, const char *id, struct err *e)
{
	struct engine_file_info info;
	struct rep_file *file = NULL;
	int rc = rep_file_open(f->rep, str_of(id), &file, e);

	if (rc < 0)
		return rc;
	rep_file_info(file, &info);
	rep_file_close(&file);
	if (info.class != ENGINE_CLASS_FASTDFS &&
	    info.class != ENGINE_CLASS_LIST)
		rc = err_set(e, ERR_NOT_FOUND, NULL); /* F1 */
	return rc;
}

int
files_read_here(struct files *f, const struct files_op *op,
    struct files_result *ret, struct err *e)
{
	char id[FILES_ID_LEN + 1], meta[FILES_ID_LEN + 1];
	int rc = files_id(f, op->name, id, e);

	if (rc == 0 && op->kind == FILES_GET_LIST)
		return read_class(f, id, ENGINE_CLASS_LIST, &ret->body, e);
	if (rc == 0)
		rc = exists(f, id, e);
	if (rc == 0 && files_meta_id(f, op->name, meta, NULL) < 0)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 0)
		rc = read_class(f, meta, ENGINE_CLASS_META, &ret->body, e);
	return rc;
}

static int
open_here(struct files *f, const char *id, struct files_reader *r,
    struct files_info *info, struct err *e)
{
	struct engine_file_info i;
	int rc = rep_file_open(f->rep, str_of(id), &r->file, e);

	if (rc < 0)
		return rc;
	rep_file_info(r->file, &i);
	info->size = i.size;
	info->modified_s = i.created_s;
	info->crc32 = i.crc32;
	info->tag = i.size << 32 ^ i.crc32;
	if (i.class == ENGINE_CLASS_FASTDFS)
		return 0;
	/* A slave is written once: any version of it will do. */
	if (i.class == ENGINE_CLASS_LIST)
		rc = list_of_file(r->file, i.size, &r->list, e);
	else
		rc = err_set(e, ERR_NOT_FOUND, NULL); /* F1 */
	rep_file_close(&r->file);
	return rc;
}

int
files_reader_open(struct files *f, struct str name, struct files_reader **ret,
    struct files_info *ret_info, struct err *e)
{
	struct files_info info = { 0 };
	char id[FILES_ID_LEN + 1];
	struct fdfs_file_id parsed;
	struct files_reader *r;
	int rc = files_id(f, name, id, e);

	OBJ_CHECK(f, FILES_MAGIC);
	if (rc < 0)
		return rc;
	r = mem_zalloc(sizeof(*r));
	if (r == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	r->f = f;
	list_init(&r->list);
	if (files_must_be_appender(name, NULL) == 0)
		rc = list_of_leader(f, name, &r->list, e);
	else
		rc = open_here(f, id, r, &info, e);
	if (rc < 0) {
		files_reader_close(&r);
		return rc;
	}
	r->cursor = (struct files_cursor){ .f = f, .l = &r->list };
	if (r->file == NULL) {
		info.size = r->list.size;
		info.modified_s = r->list.modified_s;
		if (!list_crc32(&r->list, &info.crc32))
			info.crc32 = 0;
		info.tag = r->list.n_recent > 0 ? r->list.recent[0].id : 0;
	}
	if (fdfs_remote_parse(name, &parsed, NULL) == 0)
		info.server_id = parsed.server;
	*ret = r;
	*ret_info = info;
	return 0;
}

int
files_reader_read(struct files_reader *r, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	if (r->file != NULL)
		return rep_file_read(r->file, off, p, len, ret_len, e);
	return files_cursor_read(&r->cursor, off, p, len, ret_len, e);
}

void
files_reader_close(struct files_reader **rp)
{
	struct files_reader *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	files_cursor_close(&r->cursor);
	if (r->file != NULL)
		rep_file_close(&r->file);
	list_fini(&r->list);
	mem_free(&r);
}

int
files_info(struct files *f, struct str name, bool want_crc,
    struct files_info *ret, struct err *e)
{
	struct files_reader *r = NULL;
	struct files_info info;
	int rc = files_reader_open(f, name, &r, &info, e);

	if (rc < 0)
		return rc;
	if (r->file == NULL && want_crc)
		rc = files_list_crc32(f, &r->list, &info.crc32, e);
	files_reader_close(&r);
	if (rc == 0)
		*ret = info;
	return rc;
}
