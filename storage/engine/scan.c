/* storage/engine/scan.c - walking the needles of a volume.
 *
 * A place that holds no needle is either the end (nothing valid after it) or a
 * gap; which one is known only after looking at what follows: up to QUIET bytes
 * of nothing but zero, which is more than one sync can leave unfinished
 * (writer.c). Thread: one per call. */
#include "storage/engine/engine_int.h"

#include "lib/bytes.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <errno.h>
#include <unistd.h>

enum {
	WINDOW = 64 * 1024
};
#define QUIET (2 * (uint64_t)ENGINE_SYNC_MAX + 65536)

struct window {
	const struct scan *s;
	uint64_t off;
	size_t len;
	uint8_t hdr[FMT_HDR_MAX]; /* for headers met while searching */
	uint8_t buf[WINDOW];
};

/* @n bytes at @off, or NULL when the volume ends before; *rc is set. */
static const uint8_t *
view(struct window *w, uint64_t off, size_t n, int *rc, struct err *e)
{
	const struct scan *s = w->s;
	size_t want = WINDOW;

	*rc = 0;
	if (off >= s->limit || n > s->limit - off)
		return NULL;
	if (off < w->off || off - w->off > w->len ||
	    n > w->len - (size_t)(off - w->off)) {
		if (want > s->limit - off)
			want = (size_t)(s->limit - off);
		w->off = off;
		w->len = 0;
		*rc = fs_pread(s->v->fd, w->buf, want, off, &w->len, e);
		if (*rc < 0 || w->len < n)
			return NULL;
	}
	return w->buf + (off - w->off);
}

/* 0, ERR_CORRUPT when there is none, or what else went wrong. */
static int
needle_at(struct window *w, uint64_t off, struct needle *ret, struct err *e)
{
	const struct scan *s = w->s;
	const uint8_t *p;
	uint32_t len;
	int rc;

	p = view(w, off, 16, &rc, e);
	if (p == NULL)
		return rc < 0 ? rc : ERR_CORRUPT;
	len = needle_claimed_len(p);
	if (len == 0)
		return ERR_CORRUPT;
	p = view(w, off, len, &rc, e);
	if (p == NULL)
		return rc < 0 ? rc : ERR_CORRUPT;
	rc = needle_decode(p, len, &s->v->p->ident, s->v->no, off, s->v->salt,
	    ret, e);
	if (rc == 0 &&
	    needle_total(ret->hdr_len, ret->payload_len) > s->limit - off)
		rc = ERR_CORRUPT;
	return rc;
}

/* The same while the window must stay where it is. */
static int
needle_aside(struct window *w, uint64_t off, struct err *e)
{
	const struct scan *s = w->s;
	struct needle n;
	size_t got = 0;
	uint32_t len;
	int rc;

	rc = fs_pread(s->v->fd, w->hdr, 16, off, &got, e);
	if (rc < 0)
		return rc;
	len = got < 16 ? 0 : needle_claimed_len(w->hdr);
	if (len == 0 || len > s->limit - off)
		return ERR_CORRUPT;
	rc = fs_pread(s->v->fd, w->hdr, len, off, &got, e);
	if (rc < 0)
		return rc;
	if (got < len)
		return ERR_CORRUPT;
	rc = needle_decode(w->hdr, len, &s->v->p->ident, s->v->no, off,
	    s->v->salt, &n, e);
	if (rc == 0 && needle_total(n.hdr_len, n.payload_len) > s->limit - off)
		rc = ERR_CORRUPT;
	return rc;
}

/* Next place with a needle after @from, 0 = none. */
static int
find_next(struct window *w, uint64_t from, uint64_t *ret, bool *ret_dirty,
    struct err *e)
{
	const struct scan *s = w->s;
	uint64_t at = from, zero_from = from;

	*ret = 0;
	while (at < s->limit && at - zero_from < QUIET) {
		off_t data = lseek(s->v->fd, (off_t)at, SEEK_DATA);
		int rc;

		if (data < 0 && errno == ENXIO)
			return 0; /* a hole to the end */
		if (data > (off_t)at)
			at = (uint64_t)data & ~(uint64_t)(FMT_ALIGN - 1);
		if (at >= s->limit)
			return 0;
		w->off = at;
		w->len = 0;
		rc = fs_pread(s->v->fd, w->buf,
		    s->limit - at < WINDOW ? (size_t)(s->limit - at) : WINDOW,
		    at, &w->len, e);
		if (rc < 0)
			return rc;
		if (w->len == 0)
			return 0;
		for (size_t i = 0; i + FMT_ALIGN <= w->len; i += FMT_ALIGN) {
			if (get_le64(w->buf + i) == 0)
				continue;
			*ret_dirty = true;
			zero_from = at + i;
			if (at + i == from || !needle_has_magic(w->buf + i))
				continue;
			rc = needle_aside(w, at + i, e);
			if (rc == 0) {
				*ret = at + i;
				return 0;
			}
			if (rc != ERR_CORRUPT)
				return rc;
		}
		at += w->len;
	}
	return 0;
}

static int
walk(struct window *w, uint64_t *ret_end, bool *ret_dirty, struct err *e)
{
	const struct scan *s = w->s;
	uint64_t pos = s->from;

	*ret_dirty = false;
	for (;;) {
		struct needle n;
		uint64_t next = 0;
		bool dirty = false;
		int rc = needle_at(w, pos, &n, e);

		if (rc == 0) {
			uint64_t total = needle_total(n.hdr_len, n.payload_len);

			rc = s->fn(s->arg, &n, pos, e);
			if (rc != 0)
				return rc;
			pos += total;
			*ret_end = pos;
			continue;
		}
		if (rc != ERR_CORRUPT)
			return rc;
		rc = find_next(w, pos, &next, &dirty, e);
		if (rc < 0)
			return rc;
		if (next == 0) {
			*ret_end = pos;
			*ret_dirty = dirty;
			return 0;
		}
		if (s->gap != NULL)
			s->gap(s->arg, pos, next);
		pos = next;
	}
}

int
vol_scan(const struct scan *s, uint64_t *ret_end, bool *ret_dirty,
    struct err *e)
{
	struct window *w;
	int rc = vol_open(s->v, e);

	if (rc < 0)
		return rc;
	w = mem_alloc(sizeof(*w));
	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	w->s = s;
	w->off = 0;
	w->len = 0;
	*ret_end = s->from;
	rc = walk(w, ret_end, ret_dirty, e);
	free(w);
	return rc;
}

/* --- who walks from volume to volume --- */

uint64_t
vol_from(struct path *p, uint64_t from)
{
	uint64_t no = 0;

	lock_take(&p->vlock);
	for (size_t i = 0; i < p->n_vols && no == 0; i++) {
		if (p->vols[i]->no >= from)
			no = p->vols[i]->no;
	}
	lock_drop(&p->vlock);
	return no;
}

void
vol_quarantine(struct path *p, struct vol *v, uint64_t from, uint64_t to)
{
	bool is_known;

	lock_take(&p->vlock);
	is_known = v->n.has_gap;
	v->n.has_gap = true;
	p->has_damage = true;
	v->is_dirty |= !is_known;
	lock_drop(&p->vlock);
	if (!is_known)
		path_event(p, LOG_ERROR,
		    "volume %016jx is damaged from %ju to %ju: quarantined",
		    (uintmax_t)v->no, (uintmax_t)from, (uintmax_t)to);
}
