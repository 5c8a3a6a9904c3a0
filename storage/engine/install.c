/* storage/engine/install.c - versions that have their name already: from other
 * members, or drawn here just now.
 *
 * While a version is installed its name is pending, as in put.c: what is known
 * of it does not change between the decision (I2) and the publication.
 * Threads: any. */
#include "storage/engine/engine_int.h"

#include "fdfs/file_id.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/mem.h"

enum {
	DRAWS = 16,
	BATCH = 512
};

/* --- drawing --- */

static void
draw_record(const struct engine_owner *o, struct engine_record *ret)
{
	*ret = (struct engine_record){ .info = { .file_version = 1,
					   .created_s = clock_real_s(),
					   .class = o->class,
					   .index_id = o->index_id,
					   .write_id = o->write_id },
		.note = o->note };
}

/* E5; 1: @ret is that file. */
static int
drawn_before(struct engine *g, const struct engine_owner *o,
    struct engine_record *ret, struct err *e)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	int rc;

	if (id128_is_zero(&o->write_id))
		return 0;
	rc = put_find_write(g, &o->write_id, buf, &n, e);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	draw_record(o, ret);
	info_of_needle(&n, &ret->info);
	ret->source = (struct engine_source){ .node = n.src_node,
		.incarnation = n.src_inc,
		.seq = n.src_seq };
	return 1;
}

int
engine_draw(struct engine *g, const struct engine_owner *owner, int path_no,
    uint64_t size, uint32_t crc32, const char *ext, unsigned flags,
    struct engine_record *ret, struct err *e)
{
	struct path *p;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = put_check_owner(owner, str_of(ext), e);
	if (rc == 0)
		rc = drawn_before(g, owner, ret, e);
	if (rc == 0)
		rc = put_path(g, owner->class, path_no, size, &p, e);
	if (rc != 0)
		return rc;
	for (int i = 0; i < DRAWS; i++) {
		char id[ENGINE_FILE_ID_MAX + 1];
		struct fkey key;
		struct loc loc;
		unsigned no;
		size_t len = put_draw_name(p, size, crc32, ext, flags, id);

		rc = engine_key(g, str_mem(id, len), &key, &no, e);
		if (rc < 0)
			return rc;
		rc = findex_get(p->fx, &key, &loc, e);
		if (rc == 0)
			continue;
		if (rc != ERR_NOT_FOUND)
			return rc;
		draw_record(owner, ret);
		ret->info.size = size;
		ret->info.crc32 = crc32;
		ret->source = engine_next_source(g);
		memcpy(ret->info.id, id, len + 1);
		return 0;
	}
	return err_set(e, ERR_RETRY, "no free file name in %d draws", DRAWS);
}

/* --- what is asked for --- */

static int
check_record(struct engine *g, const struct engine_record *r, struct inst *x,
    struct err *e)
{
	const char *end = memchr(r->info.id, '\0', sizeof(r->info.id));
	unsigned no;
	int rc;

	if (end == NULL || r->info.file_version == 0)
		return err_set(e, ERR_INVALID, "not a version of a file");
	x->id = str_mem(r->info.id, (size_t)(end - r->info.id));
	rc = engine_key(g, x->id, &x->pend.key, &no, e);
	if (rc < 0)
		return err_set(e, ERR_INVALID, "no name of this group: %.160s",
		    r->info.id);
	if (no >= g->n_paths)
		return err_set(e, ERR_INVALID, "no store path %u", no);
	if (r->note.len > FMT_NOTE_MAX)
		return err_set(e, ERR_INVALID, "owner's note over 2048 bytes");
	x->p = g->paths[no];
	return x->p->is_failed
	           ? err_set(e, ERR_FAILED, "store path %u has failed", no)
	           : 0;
}

static int
check_body(const struct engine *g, const struct engine_install *i,
    struct err *e)
{
	const struct engine_record *r = i->r;

	if (r->is_tomb)
		return i->body.len == 0
		           ? 0
		           : err_set(e, ERR_INVALID, "a tombstone with a body");
	if (i->body.len != r->info.size)
		return err_set(e, ERR_INVALID, "%zu bytes for one of %ju",
		    i->body.len, (uintmax_t)r->info.size);
	if (i->body.len > g->c.small_limit)
		return err_set(e, ERR_TOO_BIG, "not a small file");
	if (hash_crc32(0, i->body.p, i->body.len) != r->info.crc32)
		return err_set(e, ERR_INVALID,
		    "CRC32 of the bytes is not the record's");
	return 0;
}

/* --- what is here --- */

/* A small one is looked at; of a large one the caller has sent all anyway. */
static bool
is_damaged(struct inst *x, int load_rc, const struct needle *n)
{
	unsigned slot;
	struct vol *v;
	int rc;

	if (load_rc < 0)
		return load_rc == ERR_CORRUPT || load_rc == ERR_IO;
	if (x->old.type == LOC_LARGE)
		return true;
	if (x->old.type != LOC_PUT)
		return false;
	v = vol_get(x->p, x->old.vol, &slot, &rc, NULL);
	if (v == NULL)
		return rc == ERR_CORRUPT || rc == ERR_IO;
	rc = vol_check_payload(v, x->old.off, n, NULL);
	vol_put(&v, slot);
	return rc == ERR_CORRUPT || rc == ERR_IO;
}

/* What is replaced: its name is compared, as its key is only a hash; its write
 * ID's row goes. */
static int
look_at_old(struct inst *x, const struct engine_record *r, unsigned flags,
    struct err *e)
{
	bool is_same = r->info.file_version == x->old.version;
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	struct loc loc;
	int rc = engine_load(x->p, &x->pend.key, &loc, buf, &n, e);

	if (rc < 0 && rc != ERR_CORRUPT && rc != ERR_IO)
		return rc;
	if (rc == 0 && !str_eq(n.id, x->id))
		return err_set(e, ERR_EXISTS, "its key is another file's");
	/* Nobody can ask for the repair of what has no name here any more. */
	if (rc == ERR_CORRUPT)
		flags |= ENGINE_REPAIR;
	if (is_same &&
	    (!(flags & ENGINE_REPAIR) || r->is_tomb == loc_is_live(&x->old) ||
		!is_damaged(x, rc, &n)))
		return 1;
	x->is_repair = is_same;
	if (rc == 0 && loc_is_live(&x->old))
		x->r.old_wid = n.write_id;
	return 0;
}

/* I2. 0: install; 1: not needed. The name is pending. */
static int
decide(struct engine *g, struct inst *x, const struct engine_record *r,
    unsigned flags, struct engine_version *ret, struct err *e)
{
	int rc = findex_get(x->p->fx, &x->pend.key, &x->old, e);

	*ret = (struct engine_version){ .known = ENGINE_UNKNOWN };
	if (rc == ERR_NOT_FOUND && x->pend.has_wid) {
		uint8_t buf[FMT_HDR_MAX];
		struct needle n;

		rc = put_find_write(g, &x->pend.wid, buf, &n, e);
		if (rc == 0)
			return err_set(e, ERR_EXISTS,
			    "its write has made another file");
	}
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	*ret = version_of(&x->old);
	if (flags & ENGINE_NEW)
		return err_set(e, ERR_EXISTS, "there is such a file");
	if (r->info.file_version < x->old.version)
		return 1;
	x->r.has_old = true;
	return look_at_old(x, r, flags, e);
}

/* --- writing --- */

void
inst_needle(const struct inst *x, const struct engine_record *r,
    struct needle *ret)
{
	*ret = (struct needle){ .class = r->info.class,
		.type = r->is_tomb ? NEEDLE_TOMB : NEEDLE_PUT,
		.size = r->is_tomb ? 0 : r->info.size,
		.version = r->info.file_version,
		.index_id = r->info.index_id,
		.write_id = r->info.write_id,
		.src_node = r->source.node,
		.src_inc = r->source.incarnation,
		.src_seq = r->source.seq,
		.created_s = r->info.created_s,
		.crc32 = r->is_tomb ? 0 : r->info.crc32,
		.id = x->id,
		.note = r->note,
		.has_target = r->is_tomb && x->r.has_old &&
		              loc_is_live(&x->old) && x->old.version == 1,
		.target = x->old.vol };
	if (!r->is_tomb) {
		ret->payload_len = (uint32_t)r->info.size;
		ret->n_blocks = fmt_n_blocks(r->info.size);
	}
}

/* A position of this node from a time that it does not remember (it was put
 * back): the next incarnation comes after that. */
static void
note_future(struct path *p, const struct engine_source *s)
{
	if (!id128_eq(&s->node, &p->ident.node) ||
	    s->incarnation <= p->g->incarnation)
		return;
	lock_take(&p->vlock);
	if (s->incarnation > p->last_inc) {
		p->last_inc = s->incarnation;
		p->last_seq = s->seq;
		p->is_row_dirty = true;
	}
	lock_drop(&p->vlock);
}

/* C2: two needles of one version, as when compaction has begun. */
static void
note_repair(struct inst *x)
{
	struct vol *v;

	lock_take(&x->p->vlock);
	v = vol_find(x->p, x->old.vol);
	if (v != NULL) {
		v->n.is_drained = true;
		v->is_dirty = true;
	}
	lock_drop(&x->p->vlock);
}

int
inst_submit(struct inst *x, const struct needle *n, uint8_t *hdr,
    struct str payload, struct err *e)
{
	struct engine_source s = { n->src_node, n->src_inc, n->src_seq };
	struct wreq *r = &x->r;
	int rc;

	note_future(x->p, &s);
	if (x->is_repair)
		note_repair(x);
	r->hdr = hdr;
	r->hdr_len = (uint32_t)needle_hdr_len(n);
	r->payload = payload;
	r->key = x->pend.key;
	r->wid = n->write_id;
	r->has_key = true;
	r->old = x->old;
	r->is_new = !r->has_old || !loc_is_live(&x->old) ||
	            !id128_eq(&r->old_wid, &n->write_id);
	r->keep_source = true;
	r->frees = n->type == NEEDLE_TOMB;
	r->loc = (struct loc){ .type = n->type,
		.class = n->class,
		.hdr_len = (uint16_t)r->hdr_len,
		.size = loc_size(n),
		.version = n->version };
	rc = x->is_alone ? writer_put(x->p, r, e) : writer_submit(x->p, r, e);
	x->is_queued = rc == 0;
	return rc;
}

int
inst_wait(struct inst *x)
{
	const struct loc *old = &x->old, *now = &x->r.loc;
	int rc = x->is_alone ? x->r.rc : writer_wait(x->p, &x->r);

	if (rc < 0 || !x->r.has_old)
		return rc;
	engine_good_file(x->p->g, x->id);
	/* Readers that have it open keep its bytes. */
	if (old->type == LOC_PUT)
		punch_later(x->p, old);
	else if (old->type == LOC_LARGE &&
		 (now->type != LOC_LARGE || now->version != old->version))
		large_unlink(x->p, x->id, old->version, NULL);
	return 0;
}

int
inst_begin(struct engine *g, struct inst *x, const struct engine_record *r,
    unsigned flags, bool wait, struct engine_version *ret, struct err *e)
{
	int rc;

	memset(x, 0, sizeof(*x));
	rc = check_record(g, r, x, e);
	if (rc < 0)
		return rc;
	/* Two uploads of one write at once: both were drawn here. */
	x->pend.has_wid = (flags & ENGINE_NEW) && !r->is_tomb &&
	                  !id128_is_zero(&r->info.write_id) &&
	                  id128_eq(&r->source.node, &g->ident.node);
	x->pend.wid = r->info.write_id;
	if (!pend_try(g, &x->pend)) {
		if (!wait)
			return INST_TAKEN;
		pend_enter(g, &x->pend, true);
	}
	rc = decide(g, x, r, flags, ret, e);
	if (rc != 0)
		pend_leave(g, &x->pend);
	return rc;
}

/* --- small ones --- */

static int
queue_small(struct inst *x, const struct engine_install *i, struct err *e)
{
	struct needle n;
	uint8_t *blocks;
	int rc = 0;

	inst_needle(x, i->r, &n);
	if (!i->r->is_tomb)
		rc = put_path(x->p->g, i->r->info.class, (int)x->p->no,
		    i->r->info.size, &x->p, e);
	if (rc < 0)
		return rc;
	x->hdr = mem_alloc(needle_hdr_len(&n));
	if (x->hdr == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	needle_encode(&n, &x->p->ident, x->hdr, &blocks);
	put_sum_blocks(&n, i->body, blocks);
	return inst_submit(x, &n, x->hdr, i->body, e);
}

/* INST_TAKEN, or it is begun: i->rc says whether it is of any use. */
static int
begin_small(struct engine *g, struct inst *x, struct engine_install *i,
    bool wait, bool is_alone)
{
	struct engine_version here = { .known = ENGINE_UNKNOWN };
	struct err e = ERR_INIT;
	int rc = check_body(g, i, &e);

	if (rc == 0) {
		rc = inst_begin(g, x, i->r, i->flags, wait, &here, &e);
		if (rc == INST_TAKEN)
			return rc;
		if (rc == 0) {
			x->is_alone = is_alone;
			rc = queue_small(x, i, &x->err);
			if (rc < 0) {
				e = x->err;
				mem_free(&x->hdr);
				pend_leave(g, &x->pend);
			}
		}
	} else {
		memset(x, 0, offsetof(struct inst, err));
	}
	i->rc = rc;
	i->version = rc == 0 ? 0 : here.version;
	i->is_tomb = rc != 0 && here.known == ENGINE_TOMB;
	if (rc != 0)
		x->err = e;
	return 0;
}

static void
end_small(struct engine *g, struct inst *x, struct engine_install *i)
{
	if (!x->is_queued)
		return;
	i->rc = inst_wait(x);
	io_count(g, IO_WRITE, i->rc);
	mem_free(&x->hdr);
	pend_leave(g, &x->pend);
}

int
engine_install_many(struct engine *g, struct engine_install *v, size_t n,
    struct err *e)
{
	size_t cap = n < BATCH ? n : BATCH;
	struct inst *x;
	int worst = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (n == 0)
		return 0;
	x = mem_alloc(cap * sizeof(*x));
	for (size_t i = 0; i < n && x == NULL; i++)
		v[i].rc = ERR_NO_MEMORY;
	if (x == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (n > 0) {
		size_t k = 0;

		/* Waits for others only while it holds no name itself. */
		while (
		    k < cap && k < n &&
		    begin_small(g, &x[k], &v[k], k == 0, n == 1) != INST_TAKEN)
			k++;
		for (size_t i = 0; i < k; i++) {
			end_small(g, &x[i], &v[i]);
			/* A name that is taken is the least of it. */
			if (v[i].rc >= 0 || (worst < 0 && worst != ERR_EXISTS))
				continue;
			worst = v[i].rc;
			if (e != NULL)
				*e = x[i].err;
		}
		v += k;
		n -= k;
	}
	free(x);
	return worst;
}
