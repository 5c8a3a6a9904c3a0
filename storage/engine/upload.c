/* storage/engine/upload.c - streams whose name comes from elsewhere: the other
 * half of put.c's uploads. Threads: one per upload. */
#include "storage/engine/engine_int.h"

#include "lib/hash.h"

int
engine_upload_path(const struct engine_upload *u)
{
	OBJ_CHECK(u, UPLOAD_MAGIC);
	return u->p != NULL ? (int)u->p->no : u->path_no;
}

static int
first_failure(const struct engine_upload *u, struct err *e)
{
	if (u->rc < 0 && e != NULL)
		*e = u->why;
	return u->rc;
}

/* Size and CRC32 of what was written. */
static int
sum_up(struct engine_upload *u, uint64_t *ret_size, uint32_t *ret_crc32,
    struct err *e)
{
	int rc = first_failure(u, e);

	if (rc < 0)
		return rc;
	if (u->large == NULL) {
		*ret_size = u->body.len;
		*ret_crc32 = hash_crc32(0, u->body.p, u->body.len);
		return 0;
	}
	rc = large_drain(u->large, e);
	if (rc < 0)
		return rc;
	*ret_size = large_size(u->large);
	*ret_crc32 = large_crc32(u->large);
	return 0;
}

int
engine_upload_draw(struct engine_upload *u, const char *ext, unsigned flags,
    struct engine_record *ret, struct err *e)
{
	struct engine_owner o;
	uint64_t size;
	uint32_t crc32;
	int rc;

	OBJ_CHECK(u, UPLOAD_MAGIC);
	rc = sum_up(u, &size, &crc32, e);
	if (rc < 0)
		return rc;
	o = (struct engine_owner){ .class = u->class,
		.index_id = u->index_id,
		.write_id = u->write_id,
		.note = buf_str(&u->note) };
	return engine_draw(u->g, &o, engine_upload_path(u), size, crc32, ext,
	    flags, ret, e);
}

/* The name is pending. */
static int
write_large(struct engine_upload *u, struct inst *x,
    const struct engine_record *r, struct err *e)
{
	enum large_how how = x->is_repair && x->old.type == LOC_LARGE
	                         ? LARGE_REPLACE
	                         : LARGE_INSTALL;
	uint8_t hdr[FMT_HDR_MAX];
	struct needle n;
	int rc;

	inst_needle(x, r, &n);
	x->is_alone = true;
	rc = large_finish(u->large, &n, how, e);
	if (rc < 0)
		return rc;
	needle_encode(&n, &u->p->ident, hdr, NULL);
	rc = inst_submit(x, &n, hdr, STR_NULL, &x->err);
	if (rc == 0)
		rc = inst_wait(x);
	if (rc < 0 && e != NULL)
		*e = x->err;
	return rc;
}

static int
install_large(struct engine_upload *u, const struct engine_record *r,
    unsigned flags, struct engine_version *here, struct err *e)
{
	uint64_t size;
	uint32_t crc32;
	struct inst x;
	int rc = sum_up(u, &size, &crc32, e);

	if (rc < 0)
		return rc;
	if (r->is_tomb || size != r->info.size || crc32 != r->info.crc32)
		return err_set(e, ERR_INVALID,
		    "size and CRC32 of the bytes are not the record's");
	rc = inst_begin(u->g, &x, r, flags, true, here, e);
	if (rc != 0)
		return rc;
	if (x.p == u->p)
		rc = write_large(u, &x, r, e);
	else
		rc = err_set(e, ERR_INVALID, "its name is of store path %u",
		    x.p->no);
	/* While the name is pending: a part of a file goes with it. */
	large_end(&u->large, rc == 0);
	pend_leave(u->g, &x.pend);
	return rc;
}

static int
install_small(struct engine_upload *u, const struct engine_record *r,
    unsigned flags, struct engine_version *here, struct err *e)
{
	struct engine_install i = { .r = r,
		.body = buf_str(&u->body),
		.flags = flags };
	int rc = engine_install_many(u->g, &i, 1, e);

	here->version = i.version;
	return rc < 0 ? rc : i.rc;
}

int
engine_upload_install(struct engine_upload **up, const struct engine_record *r,
    unsigned flags, uint64_t *ret_version, struct err *e)
{
	struct engine_version here = { .known = ENGINE_UNKNOWN };
	struct engine_upload *u = *up;
	int rc;

	OBJ_CHECK(u, UPLOAD_MAGIC);
	rc = first_failure(u, e);
	if (rc == 0 && u->large == NULL)
		rc = install_small(u, r, flags, &here, e);
	else if (rc == 0)
		rc = install_large(u, r, flags, &here, e);
	if (ret_version != NULL && (rc == 1 || rc == ERR_EXISTS))
		*ret_version = here.version;
	engine_upload_abort(up);
	return rc;
}
