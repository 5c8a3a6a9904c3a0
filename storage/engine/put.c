/* storage/engine/put.c - writing files: whole small ones, streams, deletes.
 *
 * A file ID holds size and CRC32 and is drawn last. From then until the file is
 * published its key and write ID are pending: nobody else can draw the name, a
 * repeated upload with that write ID waits for the outcome (E5).
 * Threads: any. */
#include "storage/engine/engine_int.h"

#include "fdfs/file_id.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/mem.h"

enum {
	DRAWS = 16
};

/* --- choosing a path --- */

static bool
has_space(struct engine *g, struct path *p, uint64_t size)
{
	uint64_t avail;

	if (p->is_failed)
		return false;
	path_space(p);
	avail = atomic_load(&p->avail);
	/* Small files go into what a volume has allocated already; that runs
	 * dry by itself. Half of the reserve is for the index, always. */
	if (size <= g->c.small_limit)
		return !p->is_full ? avail >= tuned(g->c.reserved) / 2
		                   : avail >= tuned(g->c.reserved) + size;
	return avail >= tuned(g->c.reserved) &&
	       avail - tuned(g->c.reserved) >= size;
}

/* In turn. @is_away: of those that are not lost with the index. */
static struct path *
path_with_space(struct engine *g, uint64_t size, bool is_away)
{
	unsigned first = g->n_paths == 1 ? 0 : atomic_fetch_add(&g->rr, 1);

	for (size_t i = 0; i < g->n_paths; i++) {
		struct path *p = g->paths[(first + i) % g->n_paths];

		if (!(is_away && p->is_near_index) && has_space(g, p, size))
			return p;
	}
	return NULL;
}

static int
choose_path(struct engine *g, uint8_t class, uint64_t size, struct path **ret,
    struct err *e)
{
	struct path *p = NULL;
	bool any = false;

	if (class == ENGINE_CLASS_INDEX)
		p = path_with_space(g, size, true);
	if (p == NULL)
		p = path_with_space(g, size, false);
	if (p != NULL) {
		*ret = p;
		return 0;
	}
	for (size_t i = 0; i < g->n_paths; i++)
		any |= !g->paths[i]->is_failed;
	if (!any)
		return err_set(e, ERR_FAILED, "no store path can be written");
	return err_set(e, ERR_NO_SPACE, NULL);
}

int
put_path(struct engine *g, uint8_t class, int path_no, uint64_t size,
    struct path **ret, struct err *e)
{
	struct path *p;

	if (path_no < 0)
		return choose_path(g, class, size, ret, e);
	if ((size_t)path_no >= g->n_paths)
		return err_set(e, ERR_INVALID, "no store path %d", path_no);
	p = g->paths[path_no];
	if (p->is_failed)
		return err_set(e, ERR_FAILED, "store path %d has failed",
		    path_no);
	if (!has_space(g, p, size))
		return err_set(e, ERR_NO_SPACE, NULL);
	*ret = p;
	return 0;
}

/* --- names --- */

struct draw {
	struct engine *g;
	struct path *p;
	struct pend pend;
	bool is_appender;
	char id[FDFS_ID_MAX + 1];
	size_t id_len;
};

static void
draw_id(struct draw *d, uint64_t size, uint32_t crc32, const char *ext)
{
	uint32_t dir =
	    __atomic_fetch_add(&d->p->dir_count, 1, __ATOMIC_RELAXED) / 256;
	struct fdfs_file_id f = { .path = (uint8_t)d->p->no,
		.dir1 = (uint8_t)(dir >> 8),
		.dir2 = (uint8_t)dir,
		.server = d->g->c.server_id,
		.time = (uint32_t)clock_real_s(),
		.size_field = fdfs_size_field(size, (uint32_t)rand_u64()),
		.crc32 = crc32 };
	char tail[FDFS_TAIL];

	if (d->is_appender)
		f.size_field = fdfs_size_field(0, (uint32_t)rand_u64()) |
		               FDFS_SIZE_APPENDER;
	memcpy(f.group, d->g->group, strlen(d->g->group) + 1);
	fdfs_tail(str_of(ext), rand_u64(), tail);
	f.tail = str_mem(tail, sizeof(tail));
	d->id_len = fdfs_id_format(&f, d->id);
}

size_t
put_draw_name(struct path *p, uint64_t size, uint32_t crc32, const char *ext,
    unsigned flags, char dst[ENGINE_FILE_ID_MAX + 1])
{
	struct draw d = { .g = p->g,
		.p = p,
		.is_appender = (flags & ENGINE_APPENDER) != 0 };

	_Static_assert(FDFS_ID_MAX == ENGINE_FILE_ID_MAX, "");
	draw_id(&d, size, crc32, ext);
	memcpy(dst, d.id, d.id_len + 1);
	return d.id_len;
}

int
put_find_write(struct engine *g, const struct id128 *wid, uint8_t *buf,
    struct needle *ret, struct err *e)
{
	for (size_t i = 0; i < g->n_paths; i++) {
		struct fkey key;
		struct loc loc;
		int rc = findex_get_wid(g->paths[i]->fx, wid, &key, e);

		if (rc == ERR_NOT_FOUND)
			continue;
		if (rc == 0)
			rc = engine_load(g->paths[i], &key, &loc, buf, ret, e);
		/* Deleted since, or changed by another write. */
		if (rc == ERR_NOT_FOUND ||
		    (rc == 0 &&
			(!loc_is_live(&loc) || !id128_eq(&ret->write_id, wid))))
			continue;
		return rc;
	}
	return ERR_NOT_FOUND;
}

static int
find_write(struct engine *g, const struct id128 *wid,
    struct engine_file_info *ret, struct err *e)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	int rc = put_find_write(g, wid, buf, &n, e);

	if (rc == 0)
		info_of_needle(&n, ret);
	return rc;
}

/* Takes a new name. 1: @ret is the file that this write ID has made before, if
 * there may be one. */
static int
take_name(struct draw *d, const struct id128 *wid, bool is_new, uint64_t size,
    uint32_t crc32, const char *ext, struct engine_file_info *ret,
    struct err *e)
{
	d->pend.has_wid = !id128_is_zero(wid);
	d->pend.wid = *wid;
	for (int i = 0; i < DRAWS; i++) {
		struct loc loc;
		unsigned no;
		int rc;

		draw_id(d, size, crc32, ext);
		rc = engine_key(d->g, str_mem(d->id, d->id_len), &d->pend.key,
		    &no, e);
		if (rc < 0)
			return rc;
		if (!pend_enter(d->g, &d->pend, false))
			continue;
		rc = d->pend.has_wid && !is_new ? find_write(d->g, wid, ret, e)
		                                : ERR_NOT_FOUND;
		if (rc != ERR_NOT_FOUND) {
			pend_leave(d->g, &d->pend);
			return rc == 0 ? 1 : rc;
		}
		rc = findex_get(d->p->fx, &d->pend.key, &loc, e);
		if (rc == ERR_NOT_FOUND)
			return 0;
		pend_leave(d->g, &d->pend);
		if (rc < 0)
			return rc;
	}
	return err_set(e, ERR_RETRY, "no free file name in %d draws", DRAWS);
}

static void
fill_request(struct wreq *r, const struct draw *d, const struct needle *n,
    uint8_t *hdr)
{
	*r = (struct wreq){ .hdr = hdr,
		.hdr_len = (uint32_t)needle_hdr_len(n),
		.key = d->pend.key,
		.wid = n->write_id,
		.has_key = true,
		.is_new = true };
	r->loc = (struct loc){ .type = n->type,
		.class = n->class,
		.hdr_len = (uint16_t)r->hdr_len,
		.size = n->size,
		.version = n->version };
}

/* --- small files --- */

void
put_sum_blocks(const struct needle *n, struct str body, uint8_t *dst)
{
	uint64_t seed = fmt_file_seed(n->id, n->version);

	for (uint32_t i = 0; i < n->n_blocks; i++) {
		struct str b =
		    str_sub(body, (size_t)i * ENGINE_BLOCK, ENGINE_BLOCK);

		put_le32(dst + 4 * (size_t)i,
		    fmt_block_sum(seed, i, hash_crc32c(0, b.p, b.len)));
	}
}

int
put_check_owner(const struct engine_owner *o, struct str ext, struct err *e)
{
	if (o->note.len > FMT_NOTE_MAX)
		return err_set(e, ERR_TOO_BIG, "owner's note over 2048 bytes");
	if (!fdfs_ext_is_valid(ext))
		return err_set(e, ERR_INVALID, "bad file extension");
	return 0;
}

/* One on its way to the writer. */
struct small {
	struct draw d;
	struct needle n;
	struct wreq r;
	struct engine_then then;
};

/* Draws its name. 1: @ret is the file that this write ID has made before. */
static int
small_begin(struct small *s, struct engine *g, const struct engine_owner *owner,
    int path_no, struct str body, const char *ext, struct engine_file_info *ret,
    struct err *e)
{
	struct needle *n = &s->n;
	int rc;

	*n = (struct needle){ .type = NEEDLE_PUT,
		.class = owner->class,
		.payload_len = (uint32_t)body.len,
		.size = body.len,
		.version = 1,
		.index_id = owner->index_id,
		.write_id = owner->write_id,
		.crc32 = hash_crc32(0, body.p, body.len),
		.note = owner->note,
		.n_blocks = fmt_n_blocks(body.len) };
	s->d = (struct draw){ .g = g };
	rc = put_path(g, owner->class, path_no, body.len, &s->d.p, e);
	if (rc == 0)
		rc = take_name(&s->d, &owner->write_id, owner->is_new, body.len,
		    n->crc32, ext, ret, e);
	if (rc != 0)
		return rc;
	n->id = str_mem(s->d.id, s->d.id_len);
	n->created_s = clock_real_s();
	info_of_needle(n, ret);
	return 0;
}

static void
small_fill(struct small *s, struct str body, uint8_t *hdr)
{
	uint8_t *blocks;

	needle_encode(&s->n, &s->d.p->ident, hdr, &blocks);
	put_sum_blocks(&s->n, body, blocks);
	fill_request(&s->r, &s->d, &s->n, hdr);
	s->r.payload = body;
}

static int
put_small(struct engine *g, const struct engine_owner *owner, struct str body,
    const char *ext, struct engine_file_info *ret, struct err *e)
{
	uint8_t hdr[FMT_HDR_MAX];
	struct small s;
	int rc = small_begin(&s, g, owner, -1, body, ext, ret, e);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	small_fill(&s, body, hdr);
	rc = writer_put(s.d.p, &s.r, e);
	io_count(g, IO_WRITE, rc);
	pend_leave(g, &s.d.pend);
	return rc;
}

static void
small_stored(void *arg, int rc, bool more)
{
	struct small *s = arg;

	io_count(s->d.g, IO_WRITE, rc);
	pend_leave(s->d.g, &s->d.pend);
	s->then.stored(s->then.arg, rc, more);
}

/* @i is there. */
static int
go_on(const struct engine_then *then, const struct engine_file_info *i,
    struct err *e)
{
	int rc = then->named(then->arg, i, e);

	if (rc == 0)
		then->stored(then->arg, 0, false);
	return rc;
}

static int
put_small_then(struct engine *g, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, const struct engine_then *then,
    bool gathers, struct err *e)
{
	struct small *s = arena_alloc(then->a, sizeof(*s));
	struct engine_file_info i;
	uint8_t *hdr;
	int rc;

	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = small_begin(s, g, owner, path_no, body, ext, &i, e);
	if (rc != 0)
		return rc < 0 ? rc : go_on(then, &i, e);
	hdr = arena_alloc(then->a, needle_hdr_len(&s->n));
	if (hdr == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	else
		rc = then->named(then->arg, &i, e);
	if (rc < 0) {
		pend_leave(g, &s->d.pend);
		return rc;
	}
	small_fill(s, body, hdr);
	s->then = *then;
	s->r.stored = small_stored;
	s->r.arg = s;
	if (gathers)
		writer_gather(s->d.p, &s->r, e);
	else
		writer_put(s->d.p, &s->r, e);
	return 0;
}

int
engine_put(struct engine *g, const struct engine_owner *owner, struct str body,
    const char *ext, struct engine_file_info *ret, struct err *e)
{
	struct engine_upload *u;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = put_check_owner(owner, str_of(ext), e);
	if (rc < 0)
		return rc;
	if (body.len <= g->c.small_limit)
		return put_small(g, owner, body, ext, ret, e);
	rc = engine_upload_begin(g, owner, body.len, &u, e);
	if (rc < 0)
		return rc;
	rc = engine_upload_write(u, body.p, body.len, e);
	if (rc < 0) {
		engine_upload_abort(&u);
		return rc;
	}
	return engine_upload_commit(&u, ext, ret, e);
}

int
engine_put_then(struct engine *g, const struct engine_owner *owner,
    struct str body, const char *ext, const struct engine_then *then,
    struct err *e)
{
	struct engine_file_info i;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (body.len > g->c.small_limit) {
		rc = engine_put(g, owner, body, ext, &i, e);
		return rc < 0 ? rc : go_on(then, &i, e);
	}
	rc = put_check_owner(owner, str_of(ext), e);
	return rc < 0 ? rc
	              : put_small_then(g, owner, -1, body, ext, then, false, e);
}

int
engine_put_gather(struct engine *g, const struct engine_owner *owner,
    int path_no, struct str body, const char *ext,
    const struct engine_then *then, struct err *e)
{
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (body.len > g->c.small_limit)
		return err_set(e, ERR_TOO_BIG, "not a small file");
	rc = put_check_owner(owner, str_of(ext), e);
	return rc < 0 ? rc
	              : put_small_then(g, owner, path_no, body, ext, then, true,
			    e);
}

/* Where there are several paths he would be at one's disk while the others wait
 * for him. */
void
engine_gathered(struct engine *g)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	for (size_t i = 0; i < g->n_paths; i++)
		writer_gathered(g->paths[i], g->n_paths == 1);
}

/* --- streams --- */

int
engine_upload_begin_at(struct engine *g, const struct engine_owner *owner,
    int path_no, uint64_t size_hint, struct engine_upload **ret, struct err *e)
{
	uint64_t size = size_hint == UINT64_MAX ? 0 : size_hint;
	struct engine_upload *u;
	struct path *p;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = put_check_owner(owner, STR_NULL, e);
	if (rc == 0)
		rc = put_path(g, owner->class, path_no, size, &p, e);
	if (rc < 0)
		return rc;
	u = mem_zalloc(sizeof(*u));
	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	u->magic = UPLOAD_MAGIC;
	u->g = g;
	u->path_no = path_no;
	u->class = owner->class;
	u->index_id = owner->index_id;
	u->write_id = owner->write_id;
	u->note = BUF_CAP(FMT_NOTE_MAX);
	u->body = BUF_CAP(g->c.small_limit);
	rc = buf_adds(&u->note, owner->note);
	if (rc == 0 && size > 0 && size <= g->c.small_limit)
		rc = buf_reserve(&u->body, (size_t)size);
	if (rc < 0)
		err_set(e, rc, NULL);
	if (rc == 0 && size > g->c.small_limit) {
		rc = large_begin(p, size, &u->large, e);
		u->p = p;
	}
	if (rc < 0) {
		engine_upload_abort(&u);
		return rc;
	}
	*ret = u;
	return 0;
}

int
engine_upload_begin(struct engine *g, const struct engine_owner *owner,
    uint64_t size_hint, struct engine_upload **ret, struct err *e)
{
	return engine_upload_begin_at(g, owner, -1, size_hint, ret, e);
}

/* It has outgrown memory. */
static int
become_large(struct engine_upload *u, struct err *e)
{
	int rc = put_path(u->g, u->class, u->path_no, u->g->c.small_limit + 1,
	    &u->p, e);

	if (rc == 0)
		rc = large_begin(u->p, UINT64_MAX, &u->large, e);
	if (rc == 0 && u->body.len > 0)
		rc = large_write(u->large, u->body.p, u->body.len, e);
	buf_fini(&u->body);
	return rc;
}

static int
add_bytes(struct engine_upload *u, const void *p, size_t len, bool lent,
    struct err *e)
{
	struct err why = ERR_INIT;
	int rc = 0;

	OBJ_CHECK(u, UPLOAD_MAGIC);
	if (u->rc < 0) {
		if (e != NULL)
			*e = u->why;
		return u->rc;
	}
	if (u->large == NULL && len > u->g->c.small_limit - u->body.len)
		rc = become_large(u, &why);
	if (rc == 0 && u->large != NULL) {
		rc = lent ? large_lend(u->large, p, len, &why)
		          : large_write(u->large, p, len, &why);
		io_count(u->g, IO_WRITE, rc);
	} else if (rc == 0) {
		rc = buf_add(&u->body, p, len);
		if (rc < 0)
			err_set(&why, rc, NULL);
	}
	if (rc < 0) {
		u->rc = rc;
		u->why = why;
		if (e != NULL)
			*e = why;
	}
	return rc;
}

int
engine_upload_write(struct engine_upload *u, const void *p, size_t len,
    struct err *e)
{
	return add_bytes(u, p, len, false, e);
}

int
engine_upload_lend(struct engine_upload *u, const void *p, size_t len,
    struct err *e)
{
	return add_bytes(u, p, len, true, e);
}

void
engine_upload_settle(struct engine_upload *u)
{
	OBJ_CHECK(u, UPLOAD_MAGIC);
	if (u->large != NULL)
		large_settle(u->large);
}

static int
commit_large(struct engine_upload *u, const char *ext,
    struct engine_file_info *ret, struct err *e)
{
	struct needle n = { .type = NEEDLE_LARGE,
		.class = u->class,
		.size = large_size(u->large),
		.version = 1,
		.index_id = u->index_id,
		.write_id = u->write_id,
		.note = buf_str(&u->note) };
	struct draw d = { .g = u->g, .p = u->p };
	uint8_t hdr[FMT_HDR_MAX];
	struct wreq r;
	int rc = large_drain(u->large, e);

	if (rc == 0) {
		n.crc32 = large_crc32(u->large);
		rc = take_name(&d, &u->write_id, false, n.size, n.crc32, ext,
		    ret, e);
	}
	if (rc != 0) {
		large_end(&u->large, false);
		return rc < 0 ? rc : 0;
	}
	n.id = str_mem(d.id, d.id_len);
	n.created_s = clock_real_s();
	rc = large_finish(u->large, &n, LARGE_NEW, e);
	if (rc == 0) {
		needle_encode(&n, &u->p->ident, hdr, NULL);
		fill_request(&r, &d, &n, hdr);
		rc = writer_put(u->p, &r, e);
	}
	large_end(&u->large, rc == 0);
	pend_leave(u->g, &d.pend);
	if (rc == 0)
		info_of_needle(&n, ret);
	return rc;
}

int
engine_upload_commit(struct engine_upload **up, const char *ext,
    struct engine_file_info *ret, struct err *e)
{
	struct engine_upload *u = *up;
	int rc;

	OBJ_CHECK(u, UPLOAD_MAGIC);
	rc = u->rc;
	if (rc < 0 && e != NULL)
		*e = u->why;
	if (rc == 0 && !fdfs_ext_is_valid(str_of(ext)))
		rc = err_set(e, ERR_INVALID, "bad file extension");
	if (rc == 0 && u->large != NULL) {
		rc = commit_large(u, ext, ret, e);
	} else if (rc == 0) {
		struct engine_owner o = { .class = u->class,
			.index_id = u->index_id,
			.write_id = u->write_id,
			.note = buf_str(&u->note) };

		rc = put_small(u->g, &o, buf_str(&u->body), ext, ret, e);
	}
	engine_upload_abort(up);
	return rc;
}

void
engine_upload_abort(struct engine_upload **up)
{
	struct engine_upload *u = *up;

	*up = NULL;
	if (u == NULL)
		return;
	OBJ_CHECK(u, UPLOAD_MAGIC);
	large_end(&u->large, false);
	buf_fini(&u->note);
	buf_fini(&u->body);
	u->magic = 0;
	free(u);
}

/* --- deleting --- */

struct deletion {
	struct path *p;
	struct pend pend;
	struct wreq r;
	bool is_queued, was_large;
	uint8_t hdr[FMT_HDR_FIXED + ENGINE_FILE_ID_MAX + 32];
};

/* Version of a tombstone for a file that is not known: above all that a
 * replica may still bring, since names are never used twice. */
#define TOMB_UNKNOWN (UINT64_C(1) << 62)

/* What is there now, and the tombstone for it. 1: it is deleted already. */
static int
tombstone(struct deletion *d, struct needle *n, struct err *e)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle old;
	struct loc loc = { 0 };
	int rc = engine_load(d->p, &d->pend.key, &loc, buf, &old, e);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0 && rc != ERR_CORRUPT)
		return rc;
	if (loc.type == 0)
		return 0; /* the index's record is damaged: as if unknown */
	if (!loc_is_live(&loc))
		return 1;
	if (rc == 0) { /* a damaged one can be deleted too */
		n->class = old.class;
		n->index_id = old.index_id;
		n->write_id = old.write_id;
	}
	n->version = loc.version + 1;
	/* Of later versions, earlier ones may lie anywhere. */
	n->has_target = loc.version == 1;
	n->target = loc.vol;
	d->r.has_old = true;
	d->r.old = loc;
	d->was_large = loc.type == LOC_LARGE;
	return 0;
}

static int
queue_delete(struct deletion *d, struct str id, struct err *e)
{
	struct needle n = { .type = NEEDLE_TOMB,
		.version = TOMB_UNKNOWN,
		.id = id,
		.created_s = clock_real_s() };
	int rc = tombstone(d, &n, e);

	if (rc == 0) {
		needle_encode(&n, &d->p->ident, d->hdr, NULL);
		d->r.hdr = d->hdr;
		d->r.hdr_len = (uint32_t)needle_hdr_len(&n);
		d->r.key = d->pend.key;
		d->r.wid = n.write_id;
		d->r.has_key = true;
		d->r.frees = true;
		d->r.loc = (struct loc){ .type = LOC_TOMB,
			.class = n.class,
			.hdr_len = (uint16_t)d->r.hdr_len,
			.size = loc_size(&n),
			.version = n.version };
		rc = writer_submit(d->p, &d->r, e);
		d->is_queued = rc == 0;
	}
	if (!d->is_queued)
		pend_leave(d->p->g, &d->pend);
	return rc < 0 ? rc : 0;
}

/* 1: somebody else is changing it, and @wait is false. */
static int
begin_delete(struct engine *g, struct str id, bool wait, struct deletion *d,
    struct err *e)
{
	unsigned no;
	int rc;

	memset(d, 0, offsetof(struct deletion, hdr));
	rc = engine_key(g, id, &d->pend.key, &no, e);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (no >= g->n_paths)
		return 0; /* no path that could ever hold it */
	d->p = g->paths[no];
	if (!pend_enter(g, &d->pend, wait))
		return 1;
	return queue_delete(d, id, e);
}

static int
end_delete(struct deletion *d, struct str id)
{
	int rc;

	if (!d->is_queued)
		return 0;
	rc = writer_wait(d->p, &d->r);
	/* Readers that have it open keep its bytes. */
	if (rc == 0 && d->was_large)
		large_unlink(d->p, id, d->r.old.version, NULL);
	else if (rc == 0 && d->r.has_old)
		punch_later(d->p, &d->r.old);
	pend_leave(d->p->g, &d->pend);
	return rc;
}

int
engine_delete(struct engine *g, struct str id, struct err *e)
{
	struct deletion d;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = begin_delete(g, id, true, &d, e);
	return rc < 0 ? rc : end_delete(&d, id);
}

enum {
	DELETE_BATCH = 64
};

int
engine_delete_many(struct engine *g, const struct str *ids, size_t n,
    struct err *e)
{
	struct deletion *d;
	size_t cap = n < DELETE_BATCH ? n : DELETE_BATCH;
	int rc = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (n == 0)
		return 0;
	d = mem_alloc(cap * sizeof(*d));
	if (d == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (n > 0 && rc == 0) {
		size_t k = 0;

		/* Waits for others only while it holds no name itself. */
		for (; k < cap && k < n && rc == 0; k++) {
			rc = begin_delete(g, ids[k], k == 0, &d[k], e);
			if (rc != 0)
				break;
		}
		for (size_t i = 0; i < k; i++) {
			int one = end_delete(&d[i], ids[i]);

			if (one < 0 && rc >= 0)
				rc = one;
		}
		if (rc > 0)
			rc = 0;
		ids += k;
		n -= k;
	}
	free(d);
	return rc;
}

int
engine_find_write(struct engine *g, const struct id128 *write_id,
    struct engine_file_info *ret, struct err *e)
{
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = find_write(g, write_id, ret, e);
	return rc == ERR_NOT_FOUND ? err_set(e, rc, "no file of that write ID")
	                           : rc;
}
