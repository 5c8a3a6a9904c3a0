/* storage/engine/engine.c - opening and closing the whole, names that are being
 * changed, choosing a store path. */
#include "storage/engine/engine_int.h"

#include "fdfs/file_id.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- keys --- */

int
engine_key(const struct engine *g, struct str id, struct fkey *ret,
    unsigned *ret_path, struct err *e)
{
	uint8_t in[16 + FDFS_ID_MAX], out[16];
	struct fdfs_file_id f;
	int rc;

	if (id.len >= ENGINE_FILE_ID_MAX)
		return err_set(e, ERR_INVALID, "not a file ID");
	rc = fdfs_id_parse(id, &f, e);
	if (rc < 0)
		return rc;
	if (strcmp(f.group, g->group) != 0)
		return err_set(e, ERR_NOT_FOUND, "file of group %s", f.group);
	memcpy(in, g->ident.deployment.b, 16);
	memcpy(in + 16, id.p, id.len);
	hash_one(HASH_XXHASH128, in, 16 + id.len, out);
	put_be32(ret->b, f.time);
	memcpy(ret->b + 4, out, 12);
	*ret_path = f.path;
	return 0;
}

void
info_of_needle(const struct needle *n, struct engine_file_info *ret)
{
	*ret = (struct engine_file_info){ .size = n->size,
		.crc32 = n->crc32,
		.file_version = n->version,
		.created_s = n->created_s,
		.class = n->class,
		.index_id = n->index_id,
		.write_id = n->write_id };
	MUST(n->id.len < sizeof(ret->id));
	memcpy(ret->id, n->id.p, n->id.len);
}

int
engine_load(struct path *p, const struct fkey *key, struct loc *ret_loc,
    uint8_t *buf, struct needle *ret, struct err *e)
{
	/* A needle may move between lookup and read: look again. */
	for (int i = 0; i < 8; i++) {
		unsigned slot;
		struct vol *v;
		int rc = findex_get(p->fx, key, ret_loc, e);

		if (rc < 0)
			return rc;
		v = vol_get(p, ret_loc->vol, &slot, &rc, e);
		if (rc < 0)
			return rc;
		if (v == NULL)
			continue;
		rc = vol_read_header(v, ret_loc->off, ret_loc->hdr_len, buf,
		    ret, e);
		vol_put(&v, slot);
		return rc;
	}
	return err_set(e, ERR_CORRUPT, "volume %016jx is missing",
	    (uintmax_t)ret_loc->vol);
}

/* --- names that are being changed --- */

static struct pend **
key_bucket(struct engine *g, const struct fkey *k)
{
	return &g->by_key[k->b[15] % PEND_BUCKETS];
}

static struct pend **
wid_bucket(struct engine *g, const struct id128 *w)
{
	return &g->by_wid[w->b[15] % PEND_BUCKETS];
}

static bool
key_pending(struct engine *g, const struct fkey *k)
{
	for (struct pend *p = *key_bucket(g, k); p != NULL; p = p->next_key) {
		if (memcmp(&p->key, k, sizeof(*k)) == 0)
			return true;
	}
	return false;
}

static bool
wid_pending(struct engine *g, const struct id128 *w)
{
	for (struct pend *p = *wid_bucket(g, w); p != NULL; p = p->next_wid) {
		if (id128_eq(&p->wid, w))
			return true;
	}
	return false;
}

static void
pend_add(struct engine *g, struct pend *p)
{
	struct pend **b = key_bucket(g, &p->key);

	p->next_key = *b;
	*b = p;
	if (p->has_wid) {
		b = wid_bucket(g, &p->wid);
		p->next_wid = *b;
		*b = p;
	}
}

bool
pend_try(struct engine *g, struct pend *p)
{
	bool ok;

	lock_take(&g->plock);
	ok = !key_pending(g, &p->key) &&
	     !(p->has_wid && wid_pending(g, &p->wid));
	if (ok)
		pend_add(g, p);
	lock_drop(&g->plock);
	return ok;
}

bool
pend_enter(struct engine *g, struct pend *p, bool wait_key)
{
	bool ok = true;

	lock_take(&g->plock);
	for (;;) {
		bool wid = p->has_wid && wid_pending(g, &p->wid);
		bool key = key_pending(g, &p->key);

		if (!wid && !key)
			break;
		if (!wid && !wait_key) {
			ok = false;
			break;
		}
		g->pend_waiters++;
		cond_wait(&g->pcond, &g->plock);
		g->pend_waiters--;
	}
	if (ok)
		pend_add(g, p);
	lock_drop(&g->plock);
	return ok;
}

void
pend_leave(struct engine *g, struct pend *p)
{
	struct pend **at;

	lock_take(&g->plock);
	for (at = key_bucket(g, &p->key); *at != p; at = &(*at)->next_key)
		MUST(*at != NULL);
	*at = p->next_key;
	if (p->has_wid) {
		for (at = wid_bucket(g, &p->wid); *at != p;
		     at = &(*at)->next_wid)
			MUST(*at != NULL);
		*at = p->next_wid;
	}
	if (g->pend_waiters > 0)
		cond_broadcast(&g->pcond);
	lock_drop(&g->plock);
}

/* --- damaged files --- */

bool
engine_bad_file(struct engine *g, struct path *p, struct str id,
    const char *what)
{
	bool is_new = true;

	lock_take(&g->badlock);
	for (unsigned i = 0; i < BAD_IDS && i < g->n_bad && is_new; i++)
		is_new = !str_eqz(id, g->bad[i]);
	if (is_new && id.len < ENGINE_FILE_ID_MAX) {
		char *dst = g->bad[g->n_bad++ % BAD_IDS];

		memcpy(dst, id.p, id.len);
		dst[id.len] = '\0';
	}
	lock_drop(&g->badlock);
	if (!is_new)
		return false;
	p->scrub_errors++;
	path_event(p, LOG_ERROR, "damaged file " STR_FMT ": %s", STR_ARG(id),
	    what);
	return true;
}

void
engine_good_file(struct engine *g, struct str id)
{
	lock_take(&g->badlock);
	for (unsigned i = 0; i < BAD_IDS && i < g->n_bad; i++) {
		if (str_eqz(id, g->bad[i]))
			g->bad[i][0] = '\0';
	}
	lock_drop(&g->badlock);
}

int
engine_each_bad(struct engine *g, int (*fn)(void *arg, const char *id),
    void *arg)
{
	for (unsigned i = 0; i < BAD_IDS; i++) {
		char id[ENGINE_FILE_ID_MAX] = "";
		bool is_end;
		int rc = 0;

		lock_take(&g->badlock);
		is_end = i >= g->n_bad;
		if (!is_end)
			memcpy(id, g->bad[(g->n_bad - 1 - i) % BAD_IDS],
			    sizeof(id));
		lock_drop(&g->badlock);
		if (id[0] != '\0')
			rc = fn(arg, id);
		if (rc != 0 || is_end)
			return rc;
	}
	return 0;
}

/* --- opening --- */

static int
take_conf(struct engine *g, const struct engine_conf *c, struct err *e)
{
	struct engine_conf *d = &g->c;

	*d = *c;
	g->is_member = c->deployment != NULL;
	atomic_store(&g->forget_s, INT64_MIN);
	d->paths = NULL; /* the caller's memory, as */
	d->deployment = NULL;
	d->index_home = NULL;
	if (c->group == NULL || !fdfs_group_is_valid(str_of(c->group)))
		return err_set(e, ERR_CONFIG,
		    "a group is 1 to 16 of A-Z a-z 0-9");
	if (c->server_id < 1 || c->server_id > 0xffffff)
		return err_set(e, ERR_CONFIG, "a server ID is 1 to 16777215");
	snprintf(g->group, sizeof(g->group), "%s", c->group);
	d->group = g->group;
	if (d->small_limit == 0)
		d->small_limit = 1 << 20;
	if (d->volume_size == 0)
		d->volume_size = (uint64_t)1 << 30;
	if (d->write_queue_max == 0)
		d->write_queue_max = 64 << 20;
	if (d->compact_percent == 0)
		d->compact_percent = 50;
	if (d->index_table_max == 0)
		d->index_table_max = 8192;
	if (d->small_limit > 8 << 20)
		return err_set(e, ERR_CONFIG, "small files are 8 MiB at most");
	if (d->volume_size < 2 * d->small_limit + 64 * 1024 ||
	    d->volume_size > (uint64_t)1 << 40)
		return err_set(e, ERR_CONFIG,
		    "a volume holds at least two small files, at most 1 TiB");
	return 0;
}

static void
settle_incarnation(struct engine *g)
{
	for (size_t i = 0; i < g->n_paths; i++) {
		struct path *p = g->paths[i];

		if (p->last_inc > g->parent_inc) {
			g->parent_inc = p->last_inc;
			g->parent_seq = p->last_seq;
		} else if (p->last_inc == g->parent_inc &&
			   p->last_seq > g->parent_seq) {
			g->parent_seq = p->last_seq;
		}
	}
	g->incarnation = g->parent_inc + 1;
	/* Members know of positions that this node has lost, or never wrote
	 * itself: none is given twice. */
	if (g->is_member &&
	    (uint64_t)clock_real_ns() / 1000000 > g->incarnation)
		g->incarnation = (uint64_t)clock_real_ns() / 1000000;
}

static int
open_paths(struct engine *g, struct opened_path *o, size_t n, struct err *e)
{
	int rc = 0;

	g->ident = o[0].ident;
	g->ident.path = (struct id128){ { 0 } };
	g->made_s = o[0].made_s;
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = path_open(g, (unsigned)i, o[i].dir, o[i].lock_fd,
		    &o[i].ident, &g->paths[i], e);
		o[i].lock_fd = -1;
		if (rc == 0)
			g->n_paths++;
	}
	for (size_t i = 0; i < n; i++)
		fs_close(&o[i].lock_fd);
	for (size_t i = 0; i < g->n_paths && rc == 0; i++)
		rc = path_replay(g->paths[i], e);
	if (rc < 0)
		return rc;
	settle_incarnation(g);
	for (size_t i = 0; i < g->n_paths && rc == 0; i++)
		rc = path_start_threads(g->paths[i], e);
	return rc == 0 ? tidy_start(g, e) : rc;
}

/* By disk; where all are on one, as far as directories go. */
static int
mark_near_index(struct engine *g, const char *home, struct err *e)
{
	uint64_t index, device;
	char real[PATH_MAX];
	size_t n = 0;
	int rc = fs_device(home, &index, e);

	for (size_t i = 0; rc == 0 && i < g->n_paths; i++) {
		rc = fs_device(g->paths[i]->dir, &device, e);
		g->paths[i]->is_near_index = rc == 0 && device == index;
		n += g->paths[i]->is_near_index;
	}
	if (rc < 0 || n < g->n_paths || realpath(home, real) == NULL)
		return rc;
	for (size_t i = 0; i < g->n_paths; i++)
		g->paths[i]->is_near_index =
		    strcmp(real, g->paths[i]->dir) == 0;
	return 0;
}

int
engine_open(const struct engine_conf *c, struct engine **ret, struct err *e)
{
	struct opened_path *o;
	struct engine *g = mem_zalloc(sizeof(*g));
	int rc;

	if (g == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	g->magic = ENGINE_MAGIC;
	lock_init(&g->plock, LOCK_RANK_ENGINE);
	lock_init(&g->tlock, LOCK_RANK_LEAF);
	lock_init(&g->badlock, LOCK_RANK_LEAF);
	lock_init(&g->log_lock, LOCK_RANK_LEAF);
	cond_init(&g->log_cond);
	atomic_store(&g->log_seq, 1);
	lock_init(&g->compact_lock, LOCK_RANK_PASS);
	lock_init(&g->scrub_lock, LOCK_RANK_PASS);
	cond_init(&g->pcond);
	cond_init(&g->tcond);
	rc = take_conf(g, c, e);
	o = mem_zalloc((c->n_paths + 1) * sizeof(*o));
	if (rc == 0 && o == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	if (rc == 0)
		rc = ident_open(c, o, e);
	if (rc == 0)
		rc = open_paths(g, o, c->n_paths, e);
	if (rc == 0 && c->index_home != NULL)
		rc = mark_near_index(g, c->index_home, e);
	free(o);
	if (rc < 0) {
		engine_close(&g);
		return rc;
	}
	*ret = g;
	return 0;
}

void
engine_close(struct engine **ep)
{
	struct engine *g = *ep;

	*ep = NULL;
	if (g == NULL)
		return;
	OBJ_CHECK(g, ENGINE_MAGIC);
	tidy_stop(g);
	for (size_t i = 0; i < MAX_PATHS; i++)
		path_close(&g->paths[i]);
	lock_fini(&g->plock);
	lock_fini(&g->tlock);
	lock_fini(&g->badlock);
	lock_fini(&g->log_lock);
	cond_fini(&g->log_cond);
	lock_fini(&g->compact_lock);
	lock_fini(&g->scrub_lock);
	cond_fini(&g->pcond);
	cond_fini(&g->tcond);
	g->magic = 0;
	free(g);
}

int
engine_rebuild(const struct engine_conf *c, struct err *e)
{
	struct opened_path *o = mem_zalloc((c->n_paths + 1) * sizeof(*o));
	struct engine *g;
	char name[PATH_MAX];
	int rc;

	if (o == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = ident_open(c, o, e);
	for (size_t i = 0; i < c->n_paths && rc == 0; i++) {
		rc = fs_join(name, sizeof(name), o[i].dir, "findex", e);
		if (rc == 0)
			rc = fs_remove_tree(name, e);
		fs_close(&o[i].lock_fd);
	}
	free(o);
	if (rc == 0)
		rc = engine_open(c, &g, e);
	if (rc == 0)
		engine_close(&g);
	return rc;
}

/* --- facts --- */

size_t
engine_n_paths(const struct engine *g)
{
	return g->n_paths;
}

bool
engine_has_files(struct engine *g)
{
	struct engine_path_stat st;
	bool any = false;

	for (size_t i = 0; i < g->n_paths && !any; i++) {
		engine_path_stat(g, i, &st);
		any = st.files > 0;
	}
	return any;
}

const struct id128 *
engine_deployment_id(const struct engine *g)
{
	return &g->ident.deployment;
}

int64_t
engine_made_s(const struct engine *g)
{
	return g->made_s;
}

void
engine_io_stat(struct engine *g, struct engine_io_stat *ret)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	*ret = (struct engine_io_stat){ .opens = g->io[IO_OPEN],
		.opens_ok = g->io_ok[IO_OPEN],
		.reads = g->io[IO_READ],
		.reads_ok = g->io_ok[IO_READ],
		.writes = g->io[IO_WRITE],
		.writes_ok = g->io_ok[IO_WRITE] };
}

void
engine_path_stat(struct engine *g, size_t i, struct engine_path_stat *ret)
{
	struct path *p;

	OBJ_CHECK(g, ENGINE_MAGIC);
	MUST(i < g->n_paths);
	p = g->paths[i];
	path_space(p);
	*ret = (struct engine_path_stat){ .path = p->dir,
		.is_failed = p->is_failed,
		.is_read_only = p->is_failed || p->is_full,
		.total = p->total,
		.avail = p->avail,
		.reserved = tuned(g->c.reserved),
		.scrub_bytes = p->scrub_bytes,
		.scrub_total = p->scrub_total,
		.scrub_errors = p->scrub_errors,
		.scrub_passes = p->scrub_passes,
		.scrub_last_s = p->scrub_last_s };
	lock_take(&p->vlock);
	ret->files = p->files;
	ret->bytes = p->bytes;
	ret->volumes = p->n_vols;
	ret->quarantined = p->n_lost;
	for (size_t k = 0; k < p->n_vols; k++) {
		ret->dead_bytes += p->vols[k]->n.dead_bytes;
		ret->quarantined += p->vols[k]->n.has_gap;
	}
	lock_drop(&p->vlock);
}

bool
engine_has_failed(const struct engine *g)
{
	bool any = false;

	OBJ_CHECK(g, ENGINE_MAGIC);
	for (size_t i = 0; i < g->n_paths; i++)
		any |= g->paths[i]->is_failed;
	return any;
}

bool
engine_can_write(struct engine *g)
{
	for (size_t i = 0; i < g->n_paths; i++) {
		struct path *p = g->paths[i];

		path_space(p);
		if (!p->is_failed &&
		    atomic_load(&p->avail) > tuned(g->c.reserved))
			return true;
	}
	return false;
}
