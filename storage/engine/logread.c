/* storage/engine/logread.c - the volume log as others read it.
 *
 * T1  Only what is durable is given, and only what still counts: what was
 *     superseded, or was copied forward, comes later in the log.
 * T2  A volume that is gone had all that counts copied forward, behind any
 *     position in it: reading goes on with the next one that exists, if that
 *     knows it for the same volume, not another of its number. A volume
 *     remembers so many before it (FMT_TAGS); of older ones nobody can tell.
 * T3  A position in a volume is the end of a needle, whose checksum it knows:
 *     seeded with a secret salt, it says that nothing before it is other than
 *     it was.
 * Threads: any. */
#include "storage/engine/engine_int.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fs.h"

/* --- positions --- */

void
engine_pos_encode(const struct engine_pos *p, uint8_t dst[ENGINE_POS_LEN])
{
	memcpy(dst, p->path.b, 16);
	put_le64(dst + 16, p->vol);
	put_le64(dst + 24, p->off);
	put_le64(dst + 32, p->last);
	put_le32(dst + 40, p->check);
	put_le32(dst + 44, p->tag);
}

void
engine_pos_decode(const uint8_t src[ENGINE_POS_LEN], struct engine_pos *ret)
{
	memcpy(ret->path.b, src, 16);
	ret->vol = get_le64(src + 16);
	ret->off = get_le64(src + 24);
	ret->last = get_le64(src + 32);
	ret->check = get_le32(src + 40);
	ret->tag = get_le32(src + 44);
}

struct logread {
	struct path *p;
	struct vol *v;
	struct engine_pos pos;
	size_t max, n;
	int (*fn)(void *arg, const struct engine_record *r);
	void *arg;
	struct buf note;
	bool is_done; /* enough was taken */
};

static int
stale(const struct path *p, struct err *e)
{
	return err_set(e, ERR_RETRY,
	    "not a position in the log of store path %u", p->no);
}

/* T3; 1: its volume is gone (T2). */
static int
check_in_volume(struct path *p, const struct engine_pos *pos, struct err *e)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	unsigned slot;
	struct vol *v;
	int rc;

	v = vol_get(p, pos->vol, &slot, &rc, e);
	if (v == NULL)
		return rc == 0 || rc == ERR_CORRUPT ? 1 : rc;
	rc = 0;
	if (pos->tag != fmt_vol_tag(v->salt) ||
	    pos->off > atomic_load(&v->durable) || pos->off < FMT_VOL_HEADER) {
		rc = ERR_RETRY;
	} else if (pos->off == FMT_VOL_HEADER) {
		rc = pos->last == 0 && pos->check == 0 ? 0 : ERR_RETRY;
	} else if (pos->last < FMT_VOL_HEADER || pos->last > pos->off ||
		   pos->off - pos->last < FMT_HDR_FIXED) {
		rc = ERR_RETRY;
	} else {
		rc = fs_pread_all(v->fd, buf, 16, pos->last, e);
		if (rc == 0)
			rc = vol_read_header(v, pos->last,
			    needle_claimed_len(buf), buf, &n, e);
		if (rc == ERR_CORRUPT || rc == ERR_END || rc == ERR_VERSION ||
		    (rc == 0 && (n.sum != pos->check ||
				    pos->last + needle_total(n.hdr_len,
						    n.payload_len) !=
					pos->off)))
			rc = ERR_RETRY;
	}
	vol_put(&v, slot);
	return rc;
}

/* T2: tag of a volume that is gone, 0 when it is not known any more. @next: the
 * first one behind it that exists. */
static uint32_t
tag_of_gone(struct path *p, uint64_t no, uint64_t next)
{
	struct vol_header h;
	uint32_t tag = 0;
	unsigned slot;
	struct vol *v;
	int rc;

	v = next == 0 ? NULL : vol_get(p, next, &slot, &rc, NULL);
	if (v != NULL) {
		if (rc == 0 && vol_load_header(v, &h, NULL) == 0 &&
		    next - no <= FMT_TAGS)
			tag = h.tags[next - no - 1];
		vol_put(&v, slot);
		if (tag != 0)
			return tag;
	}
	lock_take(&p->vlock);
	tag = vol_tag(p, no);
	lock_drop(&p->vlock);
	return tag;
}

/* T2: its volume is gone. */
static int
check_gone(struct path *p, const struct engine_pos *pos, struct err *e)
{
	uint64_t next = vol_from(p, pos->vol + 1);
	uint32_t tag = tag_of_gone(p, pos->vol, next);

	if (tag == 0 && next != 0)
		return err_set(e, ERR_NOT_FOUND,
		    "volume %016jx of store path %u is long gone",
		    (uintmax_t)pos->vol, p->no);
	return pos->tag != 0 && pos->tag == tag ? 0 : ERR_RETRY;
}

/* I3 */
static int
check_pos(struct path *p, const struct engine_pos *pos, struct err *e)
{
	int rc;

	if (!id128_eq(&pos->path, &p->ident.path) || pos->vol == 0)
		return stale(p, e);
	rc = check_in_volume(p, pos, e);
	if (rc == 1)
		rc = check_gone(p, pos, e);
	return rc == ERR_RETRY ? stale(p, e) : rc;
}

static void
begin_volume(struct logread *l, uint64_t no)
{
	l->pos = (struct engine_pos){ .path = l->p->ident.path,
		.vol = no,
		.off = FMT_VOL_HEADER };
}

/* --- reading --- */

/* T1 */
static bool
counts(struct logread *l, const struct needle *n, uint64_t off)
{
	struct fkey key;
	struct loc loc;
	unsigned no;

	if (n->type != NEEDLE_PUT && n->type != NEEDLE_LARGE &&
	    n->type != NEEDLE_TOMB)
		return false;
	return engine_key(l->p->g, n->id, &key, &no, NULL) == 0 &&
	       no == l->p->no && findex_get(l->p->fx, &key, &loc, NULL) == 0 &&
	       loc.vol == l->v->no && loc.off == off;
}

static int
give(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	struct logread *l = arg;
	int rc = 0;

	if (l->is_done)
		return 1;
	if (counts(l, n, off)) {
		struct engine_record r;

		if (l->n == l->max) {
			l->is_done = true;
			return 1;
		}
		buf_reset(&l->note);
		rc = record_of_needle(n, &r, &l->note, e);
		if (rc == 0)
			rc = l->fn(l->arg, &r);
		if (rc < 0)
			return rc;
		l->n++;
		l->is_done = rc > 0;
	}
	l->pos.last = off;
	l->pos.check = n->sum;
	l->pos.off = off + needle_total(n->hdr_len, n->payload_len);
	return l->is_done ? 1 : 0;
}

static void
give_gap(void *arg, uint64_t from, uint64_t to)
{
	struct logread *l = arg;

	vol_quarantine(l->p, l->v, from, to);
}

/* What is left of the volume at the position. 1: it is gone, or its header is,
 * which was told at the start. */
static int
read_volume(struct logread *l, bool is_last, struct err *e)
{
	struct scan s = { .from = l->pos.off,
		.fn = give,
		.gap = give_gap,
		.arg = l };
	uint64_t end;
	unsigned slot;
	bool dirty;
	int rc;

	l->v = vol_get(l->p, l->pos.vol, &slot, &rc, e);
	if (l->v == NULL)
		return rc == 0 || rc == ERR_CORRUPT ? 1 : rc;
	s.v = l->v;
	l->pos.tag = fmt_vol_tag(l->v->salt);
	s.limit = atomic_load(&l->v->durable);
	rc = s.from >= s.limit ? 0 : vol_scan(&s, &end, &dirty, e);
	if (rc == 0 && s.from < s.limit && l->pos.off < s.limit && !is_last)
		give_gap(l, l->pos.off, s.limit);
	if (rc == ERR_IO && !is_last) {
		give_gap(l, l->pos.off, s.limit);
		rc = 0;
	}
	vol_put(&l->v, slot);
	return rc;
}

static int
read_all(struct logread *l, bool *ret_end, struct err *e)
{
	struct engine_pos good = l->pos;

	for (;;) {
		/* Before the volume is looked at: when there is a next one,
		 * nothing is appended to this one any more. */
		uint64_t next = vol_from(l->p, l->pos.vol + 1);
		int rc = read_volume(l, next == 0, e);

		/* In one that was not even opened there is no position. */
		if (rc < 0 && l->pos.tag == 0)
			l->pos = good;
		if (rc < 0)
			return rc;
		if (l->is_done)
			return 0;
		if (rc == 0)
			good = l->pos;
		if (next == 0)
			break;
		begin_volume(l, next);
	}
	l->pos = good;
	*ret_end = true;
	return 0;
}

int
engine_log_read(struct engine *g, size_t path_no, struct engine_pos *pos,
    size_t max, int (*fn)(void *arg, const struct engine_record *r), void *arg,
    bool *ret_end, struct err *e)
{
	static const struct engine_pos zero;
	struct logread l = { .fn = fn,
		.arg = arg,
		.max = max,
		.pos = *pos,
		.note = BUF_CAP(FMT_NOTE_MAX) };
	bool end = false;
	uint64_t first;
	int rc = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (path_no >= g->n_paths)
		return err_set(e, ERR_INVALID, "no store path %zu", path_no);
	l.p = g->paths[path_no];
	if (memcmp(pos, &zero, sizeof(zero)) != 0) {
		rc = check_pos(l.p, pos, e);
	} else {
		first = vol_from(l.p, 1);
		if (first == 0) {
			*ret_end = true; /* nothing was written yet */
			return 0;
		}
		begin_volume(&l, first);
	}
	if (rc == 0)
		rc = read_all(&l, &end, e);
	buf_fini(&l.note);
	/* What was taken was taken, whatever came after. */
	if (l.pos.tag != 0)
		*pos = l.pos;
	if (rc < 0)
		return rc;
	*ret_end = end;
	return 0;
}

uint64_t
engine_log_left(struct engine *g, size_t path_no, const struct engine_pos *pos)
{
	struct path *p;
	uint64_t left = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (path_no >= g->n_paths)
		return 0;
	p = g->paths[path_no];
	lock_take(&p->vlock);
	for (size_t i = 0; i < p->n_vols; i++) {
		struct vol *v = p->vols[i];
		uint64_t end = atomic_load(&v->durable), from = FMT_VOL_HEADER;

		if (v->no < pos->vol)
			continue;
		if (v->no == pos->vol && pos->off > from)
			from = pos->off;
		left += end > from ? end - from : 0;
	}
	lock_drop(&p->vlock);
	return left;
}

/* --- waiting --- */

/* A waiter says that it is there before it looks at the counter, the writer
 * counts before it looks for waiters: one of them sees the other. */
void
log_bump(struct engine *g)
{
	atomic_fetch_add(&g->log_seq, 1);
	if (atomic_load(&g->log_waiters) == 0)
		return;
	lock_take(&g->log_lock);
	cond_broadcast(&g->log_cond);
	lock_drop(&g->log_lock);
}

bool
engine_log_wait(struct engine *g, uint64_t *seen, int ms)
{
	int64_t until = clock_mono_ns() + (int64_t)ms * 1000000;
	uint64_t now;

	OBJ_CHECK(g, ENGINE_MAGIC);
	atomic_fetch_add(&g->log_waiters, 1);
	lock_take(&g->log_lock);
	for (;;) {
		int64_t left = until - clock_mono_ns();

		now = atomic_load(&g->log_seq);
		if (now != *seen || left <= 0)
			break;
		cond_wait_ms(&g->log_cond, &g->log_lock,
		    (int)((left + 999999) / 1000000));
	}
	lock_drop(&g->log_lock);
	atomic_fetch_sub(&g->log_waiters, 1);
	if (now == *seen)
		return false;
	*seen = now;
	return true;
}
