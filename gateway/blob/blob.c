/* gateway/blob/blob.c - hands each call to the backend behind the seam.
 *
 * Handles carry a magic word, so that a handle used twice or with the wrong
 * backend stops here and not inside one. No state of its own. */
#include "gateway/blob/blob.h"

#include "lib/mem.h"

#define BLOB_MAGIC 0xb10bb10bu
#define PUT_MAGIC 0xb10b9070u
#define FILE_MAGIC 0xb10bf11eu

struct blob {
	unsigned magic;
	const struct blob_ops *ops;
	void *impl;
};

struct blob_put {
	unsigned magic;
	const struct blob_ops *ops;
	void *impl;
};

struct blob_file {
	unsigned magic;
	const struct blob_ops *ops;
	void *impl;
	uint64_t size;
};

struct blob *
blob_new(const struct blob_ops *ops, void *impl)
{
	struct blob *b = mem_zalloc(sizeof(*b));

	if (b == NULL)
		return NULL;
	b->magic = BLOB_MAGIC;
	b->ops = ops;
	b->impl = impl;
	return b;
}

void *
blob_impl(struct blob *b, const struct blob_ops *ops)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops == ops ? b->impl : NULL;
}

void
blob_close(struct blob **bp)
{
	struct blob *b = *bp;

	if (b == NULL)
		return;
	OBJ_CHECK(b, BLOB_MAGIC);
	*bp = NULL;
	b->ops->close(b->impl);
	b->magic = 0;
	mem_free(&b);
}

static int
check_owner(const struct blob_owner *owner, struct err *e)
{
	if (owner->note.len > BLOB_NOTE_MAX)
		return err_set(e, ERR_TOO_BIG, "blob note of %zu bytes",
		    owner->note.len);
	return 0;
}

int
blob_put_begin(struct blob *b, struct str group, const struct blob_owner *owner,
    uint64_t size_hint, struct blob_put **ret, struct err *e)
{
	struct blob_put *u;
	int rc;

	OBJ_CHECK(b, BLOB_MAGIC);
	rc = check_owner(owner, e);
	if (rc < 0)
		return rc;
	u = mem_zalloc(sizeof(*u));
	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	u->magic = PUT_MAGIC;
	u->ops = b->ops;
	rc = b->ops->put_begin(b->impl, group, owner, size_hint, &u->impl, e);
	if (rc < 0) {
		mem_free(&u);
		return rc;
	}
	*ret = u;
	return 0;
}

int
blob_put_write(struct blob_put *u, const void *p, size_t len, struct err *e)
{
	OBJ_CHECK(u, PUT_MAGIC);
	return u->ops->put_write(u->impl, p, len, e);
}

int
blob_put_lend(struct blob_put *u, const void *p, size_t len, struct err *e)
{
	OBJ_CHECK(u, PUT_MAGIC);
	if (u->ops->put_lend == NULL)
		return u->ops->put_write(u->impl, p, len, e);
	return u->ops->put_lend(u->impl, p, len, e);
}

void
blob_put_settle(struct blob_put *u)
{
	OBJ_CHECK(u, PUT_MAGIC);
	if (u->ops->put_settle != NULL)
		u->ops->put_settle(u->impl);
}

int
blob_put_commit(struct blob_put **up, struct blob_info *ret, struct err *e)
{
	struct blob_put *u = *up;
	int rc;

	OBJ_CHECK(u, PUT_MAGIC);
	*up = NULL;
	rc = u->ops->put_commit(u->impl, ret, e);
	u->magic = 0;
	mem_free(&u);
	return rc;
}

void
blob_put_abort(struct blob_put **up)
{
	struct blob_put *u = *up;

	if (u == NULL)
		return;
	OBJ_CHECK(u, PUT_MAGIC);
	*up = NULL;
	u->ops->put_abort(u->impl);
	u->magic = 0;
	mem_free(&u);
}

int
blob_put_whole(struct blob *b, struct str group, const struct blob_owner *owner,
    struct str body, struct blob_info *ret, struct err *e)
{
	int rc;

	OBJ_CHECK(b, BLOB_MAGIC);
	rc = check_owner(owner, e);
	if (rc < 0)
		return rc;
	return b->ops->put_whole(b->impl, group, owner, body, ret, e);
}

size_t
blob_whole_max(struct blob *b)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->whole_max == NULL ? 0 : b->ops->whole_max(b->impl);
}

void
blob_choose_group(struct blob *b, struct str wish, char dst[BLOB_GROUP_MAX + 1])
{
	OBJ_CHECK(b, BLOB_MAGIC);
	dst[0] = '\0';
	if (b->ops->choose_group != NULL)
		b->ops->choose_group(b->impl, wish, dst);
}

int
blob_put_then(struct blob *b, struct str group, const struct blob_owner *owner,
    struct str body, const struct blob_then *then, struct err *e)
{
	struct blob_info i;
	int rc;

	OBJ_CHECK(b, BLOB_MAGIC);
	rc = check_owner(owner, e);
	if (rc < 0)
		return rc;
	if (b->ops->put_then != NULL)
		return b->ops->put_then(b->impl, group, owner, body, then, e);
	rc = b->ops->put_whole(b->impl, group, owner, body, &i, e);
	if (rc == 0)
		rc = then->named(then->arg, &i, e);
	if (rc < 0)
		return rc;
	then->stored(then->arg, 0, false);
	return 0;
}

int
blob_open(struct blob *b, struct str id, struct blob_file **ret, struct err *e)
{
	struct blob_file *f;
	int rc;

	OBJ_CHECK(b, BLOB_MAGIC);
	f = mem_zalloc(sizeof(*f));
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	f->magic = FILE_MAGIC;
	f->ops = b->ops;
	rc = b->ops->open(b->impl, id, &f->impl, &f->size, e);
	if (rc < 0) {
		mem_free(&f);
		return rc;
	}
	*ret = f;
	return 0;
}

uint64_t
blob_size(const struct blob_file *f)
{
	OBJ_CHECK(f, FILE_MAGIC);
	return f->size;
}

int
blob_read(struct blob_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	OBJ_CHECK(f, FILE_MAGIC);
	return f->ops->read(f->impl, off, p, len, ret_len, e);
}

int
blob_note(struct blob_file *f, struct buf *ret, struct err *e)
{
	OBJ_CHECK(f, FILE_MAGIC);
	return f->ops->note(f->impl, ret, e);
}

void
blob_file_close(struct blob_file **fp)
{
	struct blob_file *f = *fp;

	if (f == NULL)
		return;
	OBJ_CHECK(f, FILE_MAGIC);
	*fp = NULL;
	f->ops->file_close(f->impl);
	f->magic = 0;
	mem_free(&f);
}

int
blob_read_once(struct blob *b, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->read_once(b->impl, id, off, p, len, ret_len, e);
}

bool
blob_may_read_later(struct blob *b)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->read_later != NULL;
}

bool
blob_read_later(struct blob *b, struct str id, uint64_t off, void *p,
    size_t len, struct blob_later *l)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->read_later != NULL &&
	       b->ops->read_later(b->impl, id, off, p, len, l);
}

int
blob_delete_many(struct blob *b, const struct str *ids, size_t n, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return n == 0 ? 0 : b->ops->delete_many(b->impl, ids, n, e);
}

int
blob_find_write(struct blob *b, const struct id128 *write_id,
    struct blob_info *ret, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->find_write(b->impl, write_id, ret, e);
}

int
blob_each(struct blob *b, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->each(b->impl, class, fn, arg, e);
}

size_t
blob_n_stats(struct blob *b)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->n_stats(b->impl);
}

void
blob_get_stat(struct blob *b, size_t i, struct blob_stat *ret)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	b->ops->get_stat(b->impl, i, ret);
}

bool
blob_can_write(struct blob *b)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->can_write(b->impl);
}

int
blob_describe(struct blob *b, struct buf *json, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	if (b->ops->describe == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL);
	return b->ops->describe(b->impl, json, e);
}

int
blob_scrub_now(struct blob *b, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->scrub_now(b->impl, e);
}

int
blob_compact_now(struct blob *b, struct err *e)
{
	OBJ_CHECK(b, BLOB_MAGIC);
	return b->ops->compact_now(b->impl, e);
}
