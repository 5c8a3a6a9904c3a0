/* storage/engine/replay.c - taking in what the volumes hold and the file index
 * does not have yet: after a crash the last seconds, for a rebuild everything.
 *
 * R1  Order does not matter: the highest version wins, of two copies of one
 *     version the later place (compaction copies forward).
 * R2  A volume that is not the last ends where the next one's header says.
 * R3  Of the last volume only what the last batch may have left torn has its
 *     payload checked: each needle says up to where the volume was durable when
 *     it was written. A bad tail with nothing valid after it is cut, anything
 *     else is quarantined: the volume is sealed and kept.
 * R4  A version whose payload is bad may never have been acknowledged: it counts
 *     only as long as there is no other. (Of most names there is one.)
 * Thread: the opener's, before any other exists. */
#include "storage/engine/engine_int.h"

#include "lib/fs.h"
#include "lib/mem.h"

#include <stdio.h>

struct replay {
	struct path *p;
	struct vol *v;
	uint64_t durable; /* greatest of the needles seen */
	/* of the doubtful needles: */
	uint64_t good_end; /* end of the last good one */
	unsigned bad, bad_at_good;
	uint64_t stop; /* R3: needles from here on do not count */
};

/* --- listing --- */

struct listing {
	struct path *p;
	uint64_t *no;
	size_t n, cap;
	struct err *e;
};

static int
hex64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef";
		const char *d = s[i] == '\0' ? NULL : strchr(digits, s[i]);

		if (d == NULL)
			return -1;
		v = v << 4 | (uint64_t)(d - digits);
	}
	*ret = v;
	return 0;
}

static int
list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	size_t len = strlen(name);
	char full[PATH_MAX];
	uint64_t no;

	if (len < 20 || hex64(name, &no) != 0)
		return 0;
	if (strcmp(name + 16, ".vol.new") == 0) {
		/* A volume that was being made: nothing is in it. */
		if (snprintf(full, sizeof(full), "%s/volumes/%s", l->p->dir,
			name) < (int)sizeof(full))
			fs_unlink(full, NULL);
		return 0;
	}
	if (strcmp(name + 16, ".vol") != 0)
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 64 : 2 * l->cap;
		uint64_t *more = mem_realloc(l->no, cap * sizeof(*more));

		if (more == NULL)
			return err_set(l->e, ERR_NO_MEMORY, NULL);
		l->no = more;
		l->cap = cap;
	}
	l->no[l->n++] = no;
	return 0;
}

static int
load_volumes(struct path *p, struct err *e)
{
	struct listing l = { .p = p, .e = e };
	char dir[PATH_MAX];
	int rc = fs_join(dir, sizeof(dir), p->dir, "volumes", e);

	if (rc == 0)
		rc = fs_each(dir, list_one, &l, e);
	for (size_t i = 0; i < l.n && rc == 0; i++) {
		struct vol_rec r;
		struct vol *v;

		rc = vol_add(p, l.no[i], &v, e);
		if (rc < 0)
			break;
		v->replayed = FMT_VOL_HEADER;
		if (l.no[i] >= p->next_vol)
			p->next_vol = l.no[i] + 1;
		rc = findex_load_vol(p->fx, l.no[i], &r, e);
		if (rc == 0) {
			v->replayed = r.replayed;
			v->n = r.n;
			v->end = r.replayed;
			atomic_store(&v->durable, r.replayed);
		} else if (rc == ERR_NOT_FOUND) {
			rc = 0;
		}
	}
	free(l.no);
	return rc;
}

/* --- one needle --- */

static void
note_source(struct path *p, const struct needle *n)
{
	if (!id128_eq(&n->src_node, &p->ident.node))
		return;
	if (n->src_inc > p->last_inc) {
		p->last_inc = n->src_inc;
		p->last_seq = n->src_seq;
	} else if (n->src_inc == p->last_inc && n->src_seq > p->last_seq) {
		p->last_seq = n->src_seq;
	}
}

/* What the index has; rare: files of one version are not asked for. *ret_wid:
 * its write ID; *ret_bad: a small file whose payload is bad. */
static int
look_at(struct path *p, const struct loc *cur, struct id128 *ret_wid,
    bool *ret_bad, struct err *e)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	unsigned slot;
	struct vol *v;
	int rc;

	*ret_wid = (struct id128){ { 0 } };
	*ret_bad = false;
	if (!loc_is_live(cur))
		return 0;
	v = vol_get(p, cur->vol, &slot, &rc, e);
	if (v == NULL)
		return rc == ERR_CORRUPT ? 0 : rc;
	rc = vol_read_header(v, cur->off, cur->hdr_len, buf, &n, e);
	if (rc == 0) {
		*ret_wid = n.write_id;
		rc = vol_check_payload(v, cur->off, &n, e);
	}
	*ret_bad = rc == ERR_CORRUPT && cur->type == LOC_PUT;
	vol_put(&v, slot);
	return rc == ERR_CORRUPT ? 0 : rc;
}

/* R1, R4: whether @n, at @loc, counts instead of @cur. */
static int
is_newer(struct replay *r, const struct needle *n, const struct loc *loc,
    bool is_bad, const struct loc *cur, struct id128 *ret_wid, bool *ret,
    struct err *e)
{
	bool cur_is_bad;
	int rc = 0;

	*ret = false;
	if (loc->version == cur->version) {
		*ret = !is_bad &&
		       (loc->vol > cur->vol ||
			   (loc->vol == cur->vol && loc->off > cur->off));
		return 0;
	}
	if (is_bad)
		return 0;
	if (loc->version > cur->version && loc->type == LOC_PUT)
		rc = vol_check_payload(r->v, loc->off, n, e);
	else if (loc->version < cur->version && cur->type != LOC_PUT)
		return 0;
	if (rc < 0)
		return rc == ERR_CORRUPT ? 0 : rc;
	rc = look_at(r->p, cur, ret_wid, &cur_is_bad, e);
	*ret = rc == 0 && (loc->version > cur->version || cur_is_bad);
	return rc;
}

static void
take_in(struct replay *r, const struct needle *n, const struct loc *loc,
    const struct fkey *key, bool is_bad, bool has, const struct loc *cur,
    const struct id128 *old_wid)
{
	static const struct id128 none;
	bool is_same = has && cur->version == loc->version;
	struct path *p = r->p;
	struct vol *old = has ? vol_find(p, cur->vol) : NULL;

	if (is_same && cur->type == loc->type && old != NULL)
		old->n.is_drained = true;
	findex_publish(p->fx, key, is_bad ? &none : &n->write_id, old_wid, loc,
	    !has || !loc_is_live(cur) || !is_same);
	path_account(p, r->v, loc, has, cur);
}

static int
apply_file(struct replay *r, const struct needle *n, uint64_t off,
    const struct fkey *key, bool is_bad, struct err *e)
{
	struct path *p = r->p;
	struct id128 old_wid = { { 0 } };
	struct loc loc = { .type = n->type,
		.class = n->class,
		.hdr_len = (uint16_t)n->hdr_len,
		.vol = r->v->no,
		.off = off,
		.size = loc_size(n),
		.version = n->version };
	struct loc cur = { 0 };
	bool has, takes = true;
	int rc = findex_get(p->fx, key, &cur, e);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	has = rc == 0;
	if (has && cur.vol == loc.vol && cur.off == loc.off)
		return 0;
	rc = has ? is_newer(r, n, &loc, is_bad, &cur, &old_wid, &takes, e) : 0;
	if (rc == 0 && takes)
		rc = findex_reserve(p->fx, 1, e);
	if (rc < 0)
		return rc;
	lock_take(&p->vlock);
	findex_lock(p->fx);
	if (takes) {
		take_in(r, n, &loc, key, is_bad, has, &cur, &old_wid);
	} else {
		r->v->n.dead_bytes += loc_total(&loc);
		r->v->n.is_drained |=
		    cur.version == loc.version && cur.type == loc.type;
	}
	findex_unlock(p->fx);
	lock_drop(&p->vlock);
	if (takes && has && cur.type == LOC_LARGE && loc.version > cur.version)
		large_unlink(p, n->id, cur.version, NULL);
	return 0;
}

static int
apply(struct replay *r, const struct needle *n, uint64_t off, bool is_bad,
    struct err *e)
{
	uint64_t total = needle_total(n->hdr_len, n->payload_len);
	struct path *p = r->p;
	struct fkey key;
	unsigned path_no;
	int rc = 0;

	/* Bounded (I1): what was taken in so far is committed. */
	if (findex_weight(p->fx) >= p->g->c.index_table_max)
		rc = path_flush(p, e);
	if (rc < 0)
		return rc;
	note_source(p, n);
	if ((n->type == NEEDLE_PUT || n->type == NEEDLE_LARGE ||
		n->type == NEEDLE_TOMB) &&
	    engine_key(p->g, n->id, &key, &path_no, NULL) == 0 &&
	    path_no == p->no) {
		rc = apply_file(r, n, off, &key, is_bad, e);
	} else {
		r->v->n.dead_bytes += total;
		if (n->type != NEEDLE_START)
			r->v->n.has_unknown = true;
	}
	if (rc < 0)
		return rc;
	r->v->replayed = off + total;
	r->v->end = off + total;
	r->v->is_dirty = true;
	return 0;
}

static int
apply_one(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	return apply(arg, n, off, false, e);
}

static void
quarantine(struct replay *r, uint64_t from, uint64_t to)
{
	r->v->n.has_gap = true;
	r->v->is_dirty = true;
	path_event(r->p, LOG_ERROR,
	    "volume %016jx is damaged from %ju to %ju: quarantined",
	    (uintmax_t)r->v->no, (uintmax_t)from, (uintmax_t)to);
}

static void
apply_gap(void *arg, uint64_t from, uint64_t to)
{
	quarantine(arg, from, to);
}

/* --- volumes before the last --- */

static int
replay_sealed(struct path *p, struct vol *v, uint64_t limit, struct err *e)
{
	struct replay r = { .p = p, .v = v };
	struct scan s = { .v = v,
		.from = v->replayed,
		.limit = limit,
		.fn = apply_one,
		.gap = apply_gap,
		.arg = &r };
	bool dirty;
	uint64_t end;
	int rc;

	if (v->replayed < limit) {
		rc = vol_scan(&s, &end, &dirty, e);
		if (rc < 0)
			return rc;
		if (end < limit)
			quarantine(&r, end, limit);
	}
	v->n.sealed = true;
	v->is_dirty = true;
	v->end = v->replayed = limit;
	atomic_store(&v->durable, limit);
	if (v->alloc > limit) /* what the crash kept from being given back */
		fs_truncate(v->fd, limit, NULL);
	return 0;
}

/* --- the last volume --- */

static int
look(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	struct replay *r = arg;

	(void)off;
	(void)e;
	if (n->durable > r->durable && n->durable <= off)
		r->durable = n->durable;
	return 0;
}

/* First pass over what may be torn: which is the last good one? */
static int
check_one(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	struct replay *r = arg;
	int rc = 0;

	if (off >= r->durable)
		rc = vol_check_payload(r->v, off, n, e);
	if (rc == ERR_CORRUPT) {
		r->bad++;
		return 0;
	}
	if (rc < 0)
		return rc;
	r->good_end = off + needle_total(n->hdr_len, n->payload_len);
	r->bad_at_good = r->bad;
	return 0;
}

static int
apply_checked(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	struct replay *r = arg;
	bool is_bad = false;
	int rc;

	if (off >= r->stop)
		return 0;
	if (off >= r->durable && r->bad_at_good > 0) {
		rc = vol_check_payload(r->v, off, n, e);
		if (rc < 0 && rc != ERR_CORRUPT)
			return rc;
		is_bad = rc == ERR_CORRUPT;
		if (is_bad)
			quarantine(r, off,
			    off + needle_total(n->hdr_len, n->payload_len));
	}
	return apply(r, n, off, is_bad, e);
}

/* The tail must read as zero before anything is appended: old needles behind
 * a shorter new one would look like a gap. */
static int
cut_tail(struct vol *v, uint64_t at, struct err *e)
{
	uint64_t alloc = v->alloc;
	int rc = fs_truncate(v->fd, at, e);

	if (rc == 0)
		rc = fs_allocate(v->fd, at, alloc - at, e);
	if (rc == 0)
		rc = fs_fdatasync(v->fd, e);
	return rc;
}

static int
replay_last(struct path *p, struct vol *v, struct err *e)
{
	uint64_t from = v->replayed, end;
	struct replay r = { .p = p, .v = v, .durable = from, .good_end = from };
	struct scan s = { .v = v, .from = from, .arg = &r };
	bool dirty, ignored;
	int rc;

	s.limit = v->alloc;
	s.fn = look;
	rc = vol_scan(&s, &end, &dirty, e);
	if (rc == 0 && r.durable < end) {
		s.from = r.good_end = r.durable;
		s.limit = end;
		s.fn = check_one;
		rc = vol_scan(&s, &end, &ignored, e);
	}
	if (rc < 0)
		return rc;
	/* Nothing valid from here on, and nothing durable. */
	r.stop = r.good_end > r.durable ? r.good_end : r.durable;
	dirty |= end > r.stop;
	s.fn = apply_checked;
	s.from = from;
	s.limit = r.stop;
	s.gap = apply_gap;
	if (r.stop > from) {
		rc = vol_scan(&s, &end, &ignored, e);
		if (rc < 0)
			return rc;
		if (end < r.stop)
			quarantine(&r, end, r.stop);
	}
	v->end = v->replayed = r.stop;
	v->is_dirty = true;
	atomic_store(&v->durable, r.stop);
	if (dirty && !v->n.has_gap) {
		path_event(p, LOG_WARN,
		    "volume %016jx: unfinished writes after %ju were cut",
		    (uintmax_t)v->no, (uintmax_t)r.stop);
		rc = cut_tail(v, r.stop, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void
adopt_last(struct path *p, struct vol *v)
{
	p->last_no = v->no;
	p->last_end = v->end;
	if (v->n.sealed || v->n.has_gap || v->alloc <= v->end) {
		if (!v->n.sealed) {
			v->n.sealed = true;
			v->is_dirty = true;
		}
		return;
	}
	p->cur = v;
}

/* A volume whose header is gone cannot be read: its files are reported by the
 * reads, the rest goes on. */
static int
open_or_quarantine(struct replay *r, struct err *e)
{
	int rc = vol_open(r->v, e);

	if (rc != ERR_CORRUPT)
		return rc;
	quarantine(r, 0, FMT_VOL_HEADER);
	r->v->n.sealed = true;
	return ERR_CORRUPT;
}

static int
replay_volume(struct path *p, size_t i, struct err *e)
{
	struct vol *v = p->vols[i];
	struct replay r = { .p = p, .v = v };
	bool is_last = i + 1 == p->n_vols;
	uint64_t limit;
	int rc;

	if (v->n.sealed) {
		if (is_last)
			adopt_last(p, v);
		return 0;
	}
	rc = open_or_quarantine(&r, e);
	if (rc == ERR_CORRUPT) {
		if (is_last)
			adopt_last(p, v);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (is_last) {
		rc = replay_last(p, v, e);
		if (rc == 0)
			adopt_last(p, v);
		return rc;
	}
	limit = v->alloc;
	rc = vol_open(p->vols[i + 1], e);
	if (rc < 0 && rc != ERR_CORRUPT)
		return rc;
	if (rc == 0 && p->vols[i + 1]->prev_no == v->no &&
	    p->vols[i + 1]->prev_end >= FMT_VOL_HEADER &&
	    p->vols[i + 1]->prev_end < limit)
		limit = p->vols[i + 1]->prev_end; /* R2 */
	return replay_sealed(p, v, limit, e);
}

int
path_replay(struct path *p, struct err *e)
{
	struct path_rec rec;
	int rc = findex_load_path(p->fx, &rec, e);

	if (rc < 0)
		return rc;
	p->files = rec.files;
	p->bytes = rec.bytes;
	p->last_inc = rec.inc;
	p->last_seq = rec.seq;
	p->scrub_last_s = rec.scrub_last_s;
	if (rec.next_vol > p->next_vol)
		p->next_vol = rec.next_vol;
	rc = load_volumes(p, e);
	for (size_t i = 0; i < p->n_vols && rc == 0; i++)
		rc = replay_volume(p, i, e);
	/* It knows the volumes before it (vol_tag()). One that is damaged was
	 * told of. */
	if (rc == 0 && p->n_vols > 0) {
		rc = vol_open(p->vols[p->n_vols - 1], e);
		rc = rc == ERR_CORRUPT ? 0 : rc;
	}
	if (rc == 0)
		rc = path_find_lost(p, e);
	if (rc == 0)
		rc = large_recover(p, e);
	return rc;
}
