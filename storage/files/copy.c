/* storage/files/copy.c - reading lists, and copying parts of them. */
#include "storage/files/files_int.h"

#include "lib/hash.h"
#include "lib/mem.h"

void
files_cursor_close(struct files_cursor *c)
{
	if (c->file != NULL)
		rep_file_close(&c->file);
}

static int
read_segment(struct files_cursor *c, const struct list_extent *x, uint64_t in,
    void *p, size_t len, struct err *e)
{
	size_t done = 0, n = 0;
	int rc = 0;

	if (c->file != NULL && c->seg != x->seg)
		rep_file_close(&c->file);
	if (c->file == NULL) {
		rc = rep_file_open(c->f->rep, str_of(c->l->segs[x->seg].id),
		    &c->file, e);
		c->seg = x->seg;
		/* A list names only what is there (F4). */
		if (rc == ERR_NOT_FOUND)
			rc = err_set(e, ERR_RETRY, "%s is changing",
			    c->l->segs[x->seg].id);
	}
	while (rc == 0 && done < len) {
		rc = rep_file_read(c->file, x->off + in + done,
		    (char *)p + done, len - done, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "%s is too short",
			    c->l->segs[x->seg].id);
		done += n;
	}
	return rc;
}

int
files_cursor_read(struct files_cursor *c, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	const struct list *l = c->l;
	size_t done = 0, i;
	uint64_t in;
	int rc = 0;

	*ret_len = 0;
	if (off >= l->size)
		return 0;
	if (len > l->size - off)
		len = (size_t)(l->size - off);
	for (i = list_find(l, off, &in); rc == 0 && done < len; i++, in = 0) {
		const struct list_extent *x = &l->ext[i];
		size_t n = len - done;

		if (n > x->len - in)
			n = (size_t)(x->len - in);
		if (x->kind == LIST_HOLE)
			memset((char *)p + done, 0, n);
		else if (x->kind == LIST_BYTES)
			memcpy((char *)p + done, l->bytes.p + x->off + in, n);
		else
			rc = read_segment(c, x, in, (char *)p + done, n, e);
		done += n;
	}
	if (rc == 0)
		*ret_len = done;
	return rc;
}

struct range {
	struct files_cursor c;
	uint64_t off, left;
};

static int
range_source(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct range *r = arg;
	int rc;

	if (len > r->left)
		len = (size_t)r->left;
	if (len == 0) {
		*ret = 0;
		return 0;
	}
	rc = files_cursor_read(&r->c, r->off, p, len, ret, e);
	if (rc == 0) {
		r->off += *ret;
		r->left -= *ret;
	}
	return rc;
}

int
files_copy(struct files *f, const struct list *l, uint64_t off, uint64_t len,
    const struct engine_owner *o, int path_no, const char *ext,
    struct engine_file_info *ret, struct err *e)
{
	struct range r = { { .f = f, .l = l }, off, len };
	int rc = files_write(f, o, path_no, len, range_source, &r, ext, ret, e);

	files_cursor_close(&r.c);
	return rc;
}

int
files_copy_as(struct files *f, const struct list *l,
    const struct engine_record *as, const struct engine_owner *o, int path_no,
    struct engine_file_info *ret, struct err *e)
{
	struct range r = { { .f = f, .l = l }, 0, l->size };
	int rc = files_write_as(f, as, o, path_no, range_source, &r, ret, e);

	files_cursor_close(&r.c);
	return rc;
}

static int
extent_crc32(struct files_cursor *c, uint64_t off, uint64_t len, char *chunk,
    uint32_t *ret, struct err *e)
{
	uint32_t sum = 0;
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && len > 0) {
		rc = files_cursor_read(c, off, chunk,
		    len < FILES_CHUNK ? (size_t)len : FILES_CHUNK, &n, e);
		if (rc == 0) {
			sum = hash_crc32(sum, chunk, n);
			off += n;
			len -= n;
		}
	}
	*ret = sum;
	return rc;
}

int
files_list_crc32(struct files *f, const struct list *l, uint32_t *ret,
    struct err *e)
{
	struct files_cursor c = { .f = f, .l = l };
	uint32_t sum = 0, part;
	uint64_t off = 0;
	char *chunk;
	int rc = 0;

	if (list_crc32(l, ret))
		return 0;
	chunk = mem_alloc(FILES_CHUNK);
	if (chunk == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; rc == 0 && i < l->n_ext; i++) {
		const struct list_extent *x = &l->ext[i];

		part = x->crc32;
		if (!x->has_crc)
			rc = extent_crc32(&c, off, x->len, chunk, &part, e);
		sum = hash_crc32_combine(sum, part, x->len);
		off += x->len;
	}
	files_cursor_close(&c);
	mem_free(&chunk);
	if (rc == 0)
		*ret = sum;
	return rc;
}
