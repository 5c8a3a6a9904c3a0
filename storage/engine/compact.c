/* storage/engine/compact.c - getting space back.
 *
 * C1  Live needles are copied forward through the writer, with all they say
 *     but their place; the old volume is unlinked once the copies are durable
 *     and the file index is committed. Readers keep it open as long as they
 *     like.
 * C2  A tombstone goes only when no volume of the path can hold an older
 *     version: the volume that held it is gone (durably), and none is left
 *     from which needles were copied.
 * C3  A damaged volume is never thrown away.
 * C4  Holes only in sealed volumes, in payloads of 64 KiB and more, whole
 *     4 KiB blocks, after the tombstone is durable and the readers have left;
 *     headers stay.
 * C5  Tombstones younger than tombstone_keep_s stay, whatever C2 says; in a member
 *     of a group all that engine_forget_before() does not leave to it.
 * Thread: one pass at a time per path. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/mem.h"

enum {
	MOVES = 64,
	MOVE_BYTES = 4 << 20,
	PUNCH_BLOCK = 4096,
	MOSTLY_DEAD = 90, /* percent, holes included */
};

struct move {
	struct wreq r;
	struct pend pend;
	uint8_t *bytes; /* header and payload */
};

struct compaction {
	struct path *p;
	struct vol *v;
	struct move *moves;
	size_t n_moves, bytes;
	bool is_damaged;
	uint64_t end;
};

/* --- moving --- */

static int
finish_moves(struct compaction *c)
{
	int rc = 0;

	for (size_t i = 0; i < c->n_moves; i++) {
		struct move *m = &c->moves[i];
		int one = writer_wait(c->p, &m->r);

		if (one < 0)
			rc = one;
		pend_leave(c->p->g, &m->pend);
		mem_free(&m->bytes);
	}
	c->n_moves = 0;
	c->bytes = 0;
	return rc;
}

static int
read_whole(struct compaction *c, const struct needle *n, uint64_t off,
    uint8_t **ret, struct err *e)
{
	size_t len = (size_t)n->hdr_len + n->payload_len;
	uint8_t *bytes = mem_alloc(len);
	int rc;

	if (bytes == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = fs_pread_all(c->v->fd, bytes, len, off, e);
	if (rc < 0) {
		free(bytes);
		return rc;
	}
	*ret = bytes;
	return 0;
}

/* Its key is pending; leaves that to finish_moves() on success. */
static int
queue_move(struct compaction *c, struct move *m, const struct needle *n,
    const struct loc *l, struct err *e)
{
	int rc = read_whole(c, n, l->off, &m->bytes, e);

	if (rc < 0)
		return rc;
	needle_set_flags(m->bytes,
	    (uint16_t)(needle_flags(m->bytes) | NEEDLE_MOVED));
	m->r = (struct wreq){ .hdr = m->bytes,
		.hdr_len = n->hdr_len,
		.payload = str_mem(m->bytes + n->hdr_len, n->payload_len),
		.key = m->pend.key,
		.wid = n->write_id,
		.loc = *l,
		.has_key = true,
		.has_old = true,
		.old = *l,
		.keep_source = true,
		.frees = true };
	rc = writer_submit(c->p, &m->r, e);
	if (rc < 0) {
		mem_free(&m->bytes);
		return rc;
	}
	c->n_moves++;
	c->bytes += n->hdr_len + n->payload_len;
	return 0;
}

/* --- tombstones --- */

/* C5 */
static bool
is_kept(const struct path *p, int64_t made_s)
{
	int64_t keep = p->g->c.tombstone_keep_s;

	if (keep <= 0)
		return false;
	return made_s > clock_real_s() - keep ||
	       (p->g->is_member && made_s >= atomic_load(&p->g->forget_s));
}

void
engine_forget_before(struct engine *g, int64_t s)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	atomic_store(&g->forget_s, s);
}

/* C2 */
static bool
can_drop(struct compaction *c, const struct needle *n)
{
	struct path *p = c->p;
	bool ok = true;

	if (is_kept(p, n->created_s))
		return false;
	lock_take(&p->vlock);
	if (n->has_target) {
		ok = n->target == c->v->no || vol_find(p, n->target) == NULL;
		for (size_t i = 0; i < p->n_vols && ok; i++)
			ok = p->vols[i] == c->v || !p->vols[i]->n.is_drained;
	} else {
		ok = p->n_vols > 0 && p->vols[0] == c->v;
	}
	lock_drop(&p->vlock);
	return ok;
}

static int
drop_tombstone(struct compaction *c, const struct needle *n,
    const struct fkey *key, const struct loc *l, struct err *e)
{
	struct loc gone = { .type = LOC_GONE };
	struct path *p = c->p;
	int rc = findex_reserve(p->fx, 1, e);

	if (rc < 0)
		return rc;
	/* Should a crash have brought its file back. */
	large_unlink_all(p, n->id);
	lock_take(&p->vlock);
	findex_lock(p->fx);
	findex_publish(p->fx, key, &n->write_id, NULL, &gone, false);
	path_account(p, c->v, &gone, true, l);
	findex_unlock(p->fx);
	lock_drop(&p->vlock);
	return 0;
}

/* --- one volume --- */

static bool
is_here(struct compaction *c, const struct fkey *key, uint64_t off,
    struct loc *ret, int *rc, struct err *e)
{
	*rc = findex_get(c->p->fx, key, ret, e);
	if (*rc == ERR_NOT_FOUND) {
		*rc = 0;
		return false;
	}
	return *rc == 0 && ret->vol == c->v->no && ret->off == off;
}

static int
compact_one(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	struct compaction *c = arg;
	struct move *m = &c->moves[c->n_moves];
	struct loc l;
	unsigned no;
	int rc = 0;

	c->end = off + needle_total(n->hdr_len, n->payload_len);
	if (c->p->g->tidy_stop)
		return 1;
	if (n->type == NEEDLE_START)
		return 0; /* parents are in every later one */
	if (engine_key(c->p->g, n->id, &m->pend.key, &no, NULL) < 0 ||
	    !is_here(c, &m->pend.key, off, &l, &rc, e))
		return rc;
	m->pend.has_wid = false;
	pend_enter(c->p->g, &m->pend, true);
	if (!is_here(c, &m->pend.key, off, &l, &rc, e)) {
		pend_leave(c->p->g, &m->pend);
		return rc;
	}
	if (n->type == NEEDLE_TOMB && can_drop(c, n)) {
		rc = drop_tombstone(c, n, &m->pend.key, &l, e);
		pend_leave(c->p->g, &m->pend);
		return rc;
	}
	rc = n->type == NEEDLE_PUT ? vol_check_payload(c->v, off, n, e) : 0;
	if (rc == ERR_CORRUPT) {
		engine_bad_file(c->p->g, c->p, n->id,
		    e == NULL ? err_text(rc) : e->msg);
		c->is_damaged = true;
	}
	if (rc == 0)
		rc = queue_move(c, m, n, &l, e);
	if (rc < 0) {
		pend_leave(c->p->g, &m->pend);
		return rc;
	}
	return c->n_moves == MOVES || c->bytes >= MOVE_BYTES ? finish_moves(c)
	                                                     : 0;
}

static void
compact_gap(void *arg, uint64_t from, uint64_t to)
{
	struct compaction *c = arg;

	(void)from;
	(void)to;
	c->is_damaged = true;
}

static int
copy_forward(struct compaction *c, struct err *e)
{
	struct scan s = { .v = c->v,
		.from = FMT_VOL_HEADER,
		.fn = compact_one,
		.gap = compact_gap,
		.arg = c };
	bool dirty;
	uint64_t end;
	int rc, last;

	s.limit = atomic_load(&c->v->durable);
	c->end = FMT_VOL_HEADER;
	lock_take(&c->p->vlock);
	c->v->n.is_drained = true;
	c->v->is_dirty = true;
	lock_drop(&c->p->vlock);
	rc = s.limit <= s.from ? 0 : vol_scan(&s, &end, &dirty, e);
	last = finish_moves(c);
	if (rc == 0 && last < 0)
		rc = err_set(e, last, "compaction: a copy failed");
	if (rc == 0 && c->end < s.limit)
		c->is_damaged = true;
	if (c->is_damaged) {
		lock_take(&c->p->vlock);
		c->v->n.has_gap = true; /* C3 */
		c->v->is_dirty = true;
		lock_drop(&c->p->vlock);
		path_event(c->p, LOG_ERROR,
		    "volume %016jx is damaged: kept as it is",
		    (uintmax_t)c->v->no);
		return rc == ERR_CORRUPT ? 0 : rc;
	}
	return rc;
}

static int
compact_volume(struct path *p, uint64_t no, struct move *moves, struct err *e)
{
	struct compaction c = { .p = p, .moves = moves };
	unsigned slot;
	int rc;

	c.v = vol_get(p, no, &slot, &rc, e);
	if (c.v == NULL)
		return rc;
	rc = copy_forward(&c, e);
	if (rc == 0 && !c.is_damaged)
		rc = path_flush(p, e); /* C1 */
	if (rc == 0 && !c.is_damaged)
		rc = vol_remove(c.v, e);
	vol_put(&c.v, slot);
	return rc > 0 ? 0 : rc;
}

/* --- choosing --- */

/* Holes are not there any more, neither as dead bytes nor as bytes. But a
 * volume that is little more than holes is still a file, and what lives in it
 * is soon moved. */
static bool
is_victim(const struct path *p, size_t i, unsigned percent)
{
	const struct vol *v = p->vols[i];
	uint64_t size = atomic_load(&v->durable), dead = v->n.dead_bytes;
	uint64_t holes = v->n.punched;

	if (!v->n.sealed || v->n.has_gap || v->n.has_unknown)
		return false;
	/* The oldest can do without tombstones (if it was not opened, they may
	 * be too young); one that was begun is ended. */
	if (v->n.live == 0 &&
	    (v->n.tombs == 0 ||
		(i == 0 && v->created_s != 0 && !is_kept(p, v->created_s))))
		return true;
	if (v->n.is_drained)
		return true;
	size = size > FMT_VOL_HEADER ? size - FMT_VOL_HEADER : 0;
	if (percent < 100 && dead > 0 && dead * 100 >= MOSTLY_DEAD * size)
		return true;
	dead = dead > holes ? dead - holes : 0;
	size = size > holes ? size - holes : 0;
	return dead > 0 && dead * 100 >= percent * size;
}

/* So that its age is known. */
static void
open_oldest(struct path *p)
{
	uint64_t no;
	unsigned slot;
	struct vol *v;
	int rc;

	lock_take(&p->vlock);
	no = p->n_vols == 0 ? 0 : p->vols[0]->no;
	lock_drop(&p->vlock);
	v = no == 0 ? NULL : vol_get(p, no, &slot, &rc, NULL);
	if (v != NULL)
		vol_put(&v, slot);
}

int
compact_pass(struct path *p, unsigned percent, struct err *e)
{
	struct move *moves = mem_zalloc(MOVES * sizeof(*moves));
	uint64_t at = 0;
	int rc = 0;

	if (moves == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	open_oldest(p);
	while (rc == 0 && !p->g->tidy_stop) {
		uint64_t no = 0;

		lock_take(&p->vlock);
		for (size_t i = 0; i < p->n_vols && no == 0; i++) {
			if (p->vols[i]->no > at && is_victim(p, i, percent))
				no = p->vols[i]->no;
		}
		lock_drop(&p->vlock);
		if (no == 0)
			break;
		at = no;
		rc = compact_volume(p, no, moves, e);
	}
	free(moves);
	return rc;
}

/* --- holes --- */

static void
keep_punch(struct path *p, const struct loc *l)
{
	lock_take(&p->punchlock);
	if (p->punches == NULL)
		p->punches = mem_alloc(MAX_PUNCHES * sizeof(*p->punches));
	/* Too many: compaction finds them. */
	if (p->punches != NULL && p->n_punches < MAX_PUNCHES)
		p->punches[p->n_punches++] = *l;
	lock_drop(&p->punchlock);
}

void
punch_later(struct path *p, const struct loc *l)
{
	if (l->type != LOC_PUT || l->size < ENGINE_BLOCK)
		return;
	keep_punch(p, l);
	tidy_want(p->g);
}

/* 1: not yet: its volume is still written to, until the writer takes another, or
 * read from. */
static int
punch_one(struct path *p, const struct loc *l)
{
	uint64_t from = l->off + l->hdr_len, to = from + l->size;
	bool ready;
	unsigned slot;
	struct vol *v;
	int rc;

	from = (from + PUNCH_BLOCK - 1) & ~(uint64_t)(PUNCH_BLOCK - 1);
	to &= ~(uint64_t)(PUNCH_BLOCK - 1);
	lock_take(&p->vlock);
	v = vol_find(p, l->vol);
	/* Nor the last one: a rebuild checks the payloads at its end. */
	ready = v != NULL && v->n.sealed && !v->n.has_gap &&
	        p->vols[p->n_vols - 1] != v;
	rc = v == NULL || v->n.has_gap ? 0 : 1;
	lock_drop(&p->vlock);
	if (!ready || to <= from)
		return to <= from ? 0 : rc;
	if (!vol_drain_readers(v, 20)) {
		tidy_want(p->g);
		return 1;
	}
	v = vol_get(p, l->vol, &slot, &rc, NULL);
	if (v == NULL)
		return 0;
	rc = fs_punch(v->fd, from, to - from, NULL);
	if (rc == 0) {
		lock_take(&p->vlock);
		v->n.punched += to - from;
		v->is_dirty = true;
		lock_drop(&p->vlock);
	}
	vol_put(&v, slot);
	return 0;
}

void
punch_pass(struct path *p)
{
	struct loc *list;
	size_t n, kept = 0;

	lock_take(&p->punchlock);
	list = p->punches;
	n = p->n_punches;
	p->punches = NULL;
	p->n_punches = 0;
	lock_drop(&p->punchlock);
	for (size_t i = 0; i < n; i++) {
		if (punch_one(p, &list[i]) == 1)
			list[kept++] = list[i];
	}
	for (size_t i = 0; i < kept; i++)
		keep_punch(p, &list[i]);
	free(list);
}
