/* storage/engine/compare.c - sets of files, compared and listed by ranges of
 * their keys (I4).
 *
 * What is in memory of the range is taken first, then the rest is read slice by
 * slice: an entry leaves memory only after it has reached LMDB, so none is
 * missed. No transaction stays open while somebody else's function runs.
 * A live entry whose needle can't be read at all (its volume is lost, or damaged
 * there) is no copy: sets are without it, and so the other members bring it back
 * under the name that only they still know. What can be read is the scrub's.
 * Threads: any. */
#include "storage/engine/engine_int.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/mem.h"

enum {
	SLICE = 256
};

struct walk { /* one path's entries of a range, in key order */
	struct path *p;
	struct fkey to;
	struct fitem *mem; /* from the tables */
	size_t n_mem, at_mem;
	struct fent *slice; /* from LMDB */
	size_t n, at;
	struct fkey from; /* the next slice begins behind it */
	bool is_last;     /* slice */
	struct fitem cur;
	bool has_cur;
};

/* The key before; zero stays (and begins with the first). */
static struct fkey
key_before(struct fkey k)
{
	static const struct fkey zero;

	if (memcmp(&k, &zero, sizeof(k)) == 0)
		return k;
	for (size_t i = sizeof(k.b); i-- > 0;) {
		if (k.b[i]-- != 0)
			break;
	}
	return k;
}

static int
key_cmp(const struct fkey *a, const struct fkey *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

static int
walk_begin(struct walk *w, struct path *p, const struct fkey *from,
    const struct fkey *to, struct err *e)
{
	*w = (struct walk){ .p = p, .to = *to, .from = key_before(*from) };
	w->slice = mem_alloc(SLICE * sizeof(*w->slice));
	if (w->slice == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return findex_tables(p->fx, from, to, &w->mem, &w->n_mem, e);
}

static void
walk_end(struct walk *w)
{
	mem_free(&w->mem);
	mem_free(&w->slice);
}

/* The next entry of LMDB, NULL at the end. */
static int
next_slice(struct walk *w, struct fent **ret, struct err *e)
{
	int rc;

	*ret = NULL;
	if (w->at == w->n && !w->is_last) {
		w->at = 0;
		rc =
		    findex_slice(w->p->fx, &w->from, w->slice, SLICE, &w->n, e);
		if (rc < 0) {
			w->n = 0;
			return rc;
		}
		w->is_last = w->n < SLICE;
	}
	if (w->at == w->n)
		return 0;
	if (key_cmp(&w->slice[w->at].key, &w->to) > 0) {
		w->is_last = true;
		w->n = w->at;
		return 0;
	}
	*ret = &w->slice[w->at];
	return 0;
}

/* What is in memory is newer. */
static int
walk_next(struct walk *w, struct err *e)
{
	for (;;) {
		struct fitem *m =
		    w->at_mem < w->n_mem ? &w->mem[w->at_mem] : NULL;
		struct fent *s;
		int c, rc = next_slice(w, &s, e);

		if (rc < 0)
			return rc;
		w->has_cur = m != NULL || s != NULL;
		if (!w->has_cur)
			return 0;
		c = m == NULL ? 1 : s == NULL ? -1 : key_cmp(&m->key, &s->key);
		w->cur = c <= 0 ? *m : (struct fitem){ s->key, s->loc };
		w->at_mem += c <= 0;
		w->at += c >= 0;
		if (w->cur.loc.type != LOC_GONE)
			return 0;
	}
}

/* Whether a tombstone is young enough for all members to have it. */
static bool
tomb_counts(const struct engine *g, const struct loc *l, int64_t now_s)
{
	int64_t keep = g->c.tombstone_keep_s;

	return keep == 0 ||
	       (int64_t)l->size > now_s - keep / 10 * 9 - keep % 10;
}

/* --- what is lost --- */

static bool
is_doubtful(struct path *p, uint64_t no)
{
	struct vol *v;
	bool yes;

	lock_take(&p->vlock);
	v = vol_find(p, no);
	yes = v == NULL || v->n.has_gap;
	lock_drop(&p->vlock);
	return yes;
}

static bool
is_lost(struct path *p, const struct fitem *it)
{
	uint8_t buf[FMT_HDR_MAX];
	struct needle n;
	struct loc l;

	return p->has_damage && loc_is_live(&it->loc) &&
	       is_doubtful(p, it->loc.vol) &&
	       engine_load(p, &it->key, &l, buf, &n, NULL) == ERR_CORRUPT;
}

static bool
counts(struct path *p, const struct fitem *it, int64_t now_s)
{
	return loc_is_live(&it->loc) ? !is_lost(p, it)
	                             : tomb_counts(p->g, &it->loc, now_s);
}

static int
count_files(struct path *p, uint64_t vol, uint64_t *ret, struct err *e)
{
	struct fkey first = { { 0 } }, last;
	struct walk w;
	int rc;

	memset(last.b, 0xff, sizeof(last.b));
	*ret = 0;
	rc = walk_begin(&w, p, &first, &last, e);
	while (rc == 0) {
		rc = walk_next(&w, e);
		if (rc < 0 || !w.has_cur)
			break;
		*ret += loc_is_live(&w.cur.loc) && w.cur.loc.vol == vol;
	}
	walk_end(&w);
	return rc;
}

int
path_find_lost(struct path *p, struct err *e)
{
	struct vol_rec row;
	uint64_t no = 0, files = 0;
	bool is_there;
	int rc;

	lock_take(&p->vlock);
	for (size_t i = 0; i < p->n_vols; i++)
		p->has_damage |= p->vols[i]->n.has_gap;
	lock_drop(&p->vlock);
	while ((rc = findex_next_vol(p->fx, no, &row, e)) == 0) {
		no = row.no + 1;
		lock_take(&p->vlock);
		is_there = vol_find(p, row.no) != NULL;
		lock_drop(&p->vlock);
		if (is_there)
			continue;
		rc = row.n.live == 0 ? 0 : count_files(p, row.no, &files, e);
		if (rc < 0)
			return rc;
		if (row.n.live == 0 || files == 0) {
			lock_take(&p->vlock);
			vol_drop_row(p, row.no);
			lock_drop(&p->vlock);
			continue;
		}
		p->n_lost++;
		p->has_damage = true;
		path_event(p, LOG_ERROR,
		    "volume %016jx is missing, and %ju files with it",
		    (uintmax_t)row.no, (uintmax_t)files);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* --- digests --- */

static void
add_item(struct engine_digest *d, const struct fitem *it)
{
	uint8_t in[sizeof(it->key.b) + 9];
	uint64_t h[2];

	memcpy(in, it->key.b, sizeof(it->key.b));
	put_le64(in + sizeof(it->key.b), it->loc.version);
	in[sizeof(in) - 1] = loc_is_live(&it->loc);
	hash_one(HASH_XXHASH128, in, sizeof(in), h);
	d->n++;
	d->sum[0] += be64toh(h[0]);
	d->sum[1] += be64toh(h[1]);
}

int
engine_digest(struct engine *g, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], struct engine_digest *ret, struct err *e)
{
	struct engine_digest d = { 0 };
	int64_t now = clock_real_s();
	struct fkey a, b;
	int rc = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	memcpy(a.b, from, sizeof(a.b));
	memcpy(b.b, to, sizeof(b.b));
	for (size_t i = 0; i < g->n_paths && rc == 0; i++) {
		struct walk w;

		rc = walk_begin(&w, g->paths[i], &a, &b, e);
		while (rc == 0) {
			rc = walk_next(&w, e);
			if (rc < 0 || !w.has_cur)
				break;
			if (counts(w.p, &w.cur, now))
				add_item(&d, &w.cur);
		}
		walk_end(&w);
	}
	if (rc == 0)
		*ret = d;
	return rc;
}

/* --- ranges --- */

static struct walk *
least(struct walk *w, size_t n)
{
	struct walk *ret = NULL;

	for (size_t i = 0; i < n; i++) {
		if (w[i].has_cur &&
		    (ret == NULL || key_cmp(&w[i].cur.key, &ret->cur.key) < 0))
			ret = &w[i];
	}
	return ret;
}

static int
merge(struct engine *g, struct walk *w, size_t max,
    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
	const struct engine_version *v),
    void *arg, struct err *e)
{
	int64_t now = clock_real_s();
	struct walk *at;

	while (max > 0 && (at = least(w, g->n_paths)) != NULL) {
		int rc = 0;

		if (counts(at->p, &at->cur, now)) {
			struct engine_version v = version_of(&at->cur.loc);

			rc = fn(arg, at->cur.key.b, &v);
			max--;
		}
		if (rc != 0)
			return rc < 0 ? rc : 0;
		rc = walk_next(at, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
engine_range(struct engine *g, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], size_t max,
    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
	const struct engine_version *v),
    void *arg, struct err *e)
{
	struct walk *w;
	struct fkey a, b;
	size_t n = 0;
	int rc = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	memcpy(a.b, from, sizeof(a.b));
	memcpy(b.b, to, sizeof(b.b));
	w = mem_zalloc(g->n_paths * sizeof(*w));
	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (; n < g->n_paths && rc == 0; n++) {
		rc = walk_begin(&w[n], g->paths[n], &a, &b, e);
		if (rc == 0)
			rc = walk_next(&w[n], e);
	}
	if (rc == 0)
		rc = merge(g, w, max, fn, arg, e);
	for (size_t i = 0; i < n; i++)
		walk_end(&w[i]);
	free(w);
	return rc;
}

/* --- pages --- */

struct page {
	uint8_t class;
	size_t left;
	int (*fn)(void *arg, const struct engine_file_info *f);
	void *arg;
	bool is_done;
};

/* 0: given, or nothing to give. */
static int
give_item(struct page *pg, struct path *p, const struct fkey *key,
    struct err *e)
{
	struct engine_file_info info;
	uint8_t hdr[FMT_HDR_MAX];
	struct needle n;
	struct loc loc;
	int rc = engine_load(p, key, &loc, hdr, &n, e);

	if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ||
	    (rc == 0 && !loc_is_live(&loc)))
		return 0; /* scrub tells of the damaged */
	if (rc < 0)
		return rc;
	info_of_needle(&n, &info);
	rc = pg->fn(pg->arg, &info);
	if (rc < 0)
		return rc;
	pg->is_done = --pg->left == 0 || rc > 0;
	return 0;
}

static int
page_path(struct page *pg, struct path *p, struct fkey *at, struct err *e)
{
	struct fkey last = { { 0 } };
	struct walk w;
	int rc;

	memset(last.b, 0xff, sizeof(last.b));
	rc = walk_begin(&w, p, at, &last, e);
	while (rc == 0 && !pg->is_done) {
		rc = walk_next(&w, e);
		if (rc < 0 || !w.has_cur)
			break;
		if (key_cmp(&w.cur.key, at) <= 0)
			continue; /* that was the last of the page before */
		if (loc_is_live(&w.cur.loc) &&
		    (pg->class == 0 || w.cur.loc.class == pg->class))
			rc = give_item(pg, p, &w.cur.key, e);
		if (rc == 0)
			*at = w.cur.key;
	}
	walk_end(&w);
	return rc;
}

int
engine_page(struct engine *g, uint8_t class, uint8_t cursor[ENGINE_CURSOR],
    size_t max, int (*fn)(void *arg, const struct engine_file_info *f),
    void *arg, bool *ret_end, struct err *e)
{
	struct page pg = { .class = class, .left = max, .fn = fn, .arg = arg };
	uint32_t no = get_be32(cursor);
	struct fkey at;
	int rc = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	pg.is_done = max == 0;
	memcpy(at.b, cursor + 4, sizeof(at.b));
	while (no < g->n_paths && rc == 0 && !pg.is_done) {
		rc = page_path(&pg, g->paths[no], &at, e);
		if (rc == 0 && !pg.is_done) {
			no++;
			at = (struct fkey){ { 0 } };
		}
	}
	put_be32(cursor, no);
	memcpy(cursor + 4, at.b, sizeof(at.b));
	if (rc == 0)
		*ret_end = no >= g->n_paths;
	return rc;
}
