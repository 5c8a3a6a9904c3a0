/* storage/engine/path.c - one store path: opening, space, counters, and the
 * flush of its file index.
 *
 * S1  A flush commits the table together with the counters and replayed
 *     offsets that it was frozen with, however often the commit is tried.
 * Threads: the flusher is one per path; the rest any. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>

enum {
	IDLE_FLUSH_MS = 3000,
	LOOK_MS = 1000,
	REST_MS = 60000, /* the longest, between looks */
	SPACE_MS = 250
};

void
path_event(struct path *p, int level, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	int n;

	if (p->g->c.event == NULL)
		return;
	n = snprintf(text, sizeof(text), "store path %u (%.100s): ", p->no,
	    p->dir);
	if (n < 0 || (size_t)n >= sizeof(text))
		return;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	p->g->c.event(p->g->c.event_arg, level, text);
}

uint64_t
path_tail_reserve(const struct path *p)
{
	uint64_t n = p->g->c.volume_size / 16;

	return n < 256 * 1024 ? n : 256 * 1024;
}

void
path_space(struct path *p)
{
	int64_t now = clock_mono_ns(), last = atomic_load(&p->space_ns);
	struct fs_space s;

	if (last != 0 && now - last < (int64_t)SPACE_MS * 1000000)
		return;
	atomic_store(&p->space_ns, now == 0 ? 1 : now);
	if (fs_space(p->dir, &s, NULL) != 0)
		return;
	atomic_store(&p->avail, s.avail);
	atomic_store(&p->total, s.total);
}

/* --- counters --- */

static void
count_out(struct path *p, const struct loc *old)
{
	struct vol *v = vol_find(p, old->vol);
	uint64_t total = loc_total(old);

	if (v == NULL)
		return;
	if (loc_is_live(old)) {
		v->n.live -= v->n.live > 0;
		v->n.live_bytes -=
		    total < v->n.live_bytes ? total : v->n.live_bytes;
	} else if (old->type == LOC_TOMB) {
		v->n.tombs -= v->n.tombs > 0;
	}
	v->n.dead_bytes += total;
	v->is_dirty = true;
}

void
path_account(struct path *p, struct vol *v, const struct loc *loc, bool has_old,
    const struct loc *old)
{
	bool was_live = has_old && loc_is_live(old);

	MUST(lock_is_mine(&p->vlock));
	if (has_old)
		count_out(p, old);
	if (loc_is_live(loc)) {
		v->n.live++;
		v->n.live_bytes += loc_total(loc);
		p->files++;
		p->bytes += loc->size;
	} else if (loc->type == LOC_TOMB) {
		v->n.tombs++;
	}
	if (was_live) {
		p->files -= p->files > 0;
		p->bytes -= old->size < p->bytes ? old->size : p->bytes;
	}
	if (v != NULL)
		v->is_dirty = true;
}

/* --- flush --- */

static void
drop_snap(struct path *p)
{
	mem_free(&p->snap.vols);
	mem_free(&p->snap.removed);
	p->snap.n_vols = p->snap.n_removed = 0;
	p->snap.is_set = false;
}

/* 1: taken, 0: nothing to do. Both locks held. */
static int
take_snap(struct path *p, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_vols; i++)
		n += p->vols[i]->is_dirty;
	if (n == 0 && p->n_removed == 0 && !p->is_row_dirty)
		return 0;
	p->snap.vols = mem_alloc((n + 1) * sizeof(*p->snap.vols));
	if (p->snap.vols == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (!findex_freeze(p->fx)) {
		mem_free(&p->snap.vols);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	for (size_t i = 0; i < p->n_vols; i++) {
		struct vol *v = p->vols[i];

		if (!v->is_dirty)
			continue;
		p->snap.vols[p->snap.n_vols++] = (struct vol_rec){ .no = v->no,
			.replayed = v->replayed,
			.n = v->n };
		v->is_dirty = false;
	}
	p->snap.removed = p->removed;
	p->snap.n_removed = p->n_removed;
	p->removed = NULL;
	p->n_removed = p->cap_removed = 0;
	p->snap.path = (struct path_rec){ .files = p->files,
		.bytes = p->bytes,
		.next_vol = p->next_vol,
		.inc = p->last_inc,
		.seq = p->last_seq,
		.scrub_last_s = p->scrub_last_s };
	p->is_row_dirty = false;
	p->snap.is_set = true;
	return 1;
}

static int
flush_locked(struct path *p, struct err *e)
{
	for (;;) {
		bool was_set = p->snap.is_set;
		int rc;

		if (!was_set) {
			lock_take(&p->vlock);
			findex_lock(p->fx);
			rc = take_snap(p, e);
			findex_unlock(p->fx);
			lock_drop(&p->vlock);
			if (rc <= 0)
				return rc;
		}
		rc = findex_commit(p->fx, p->snap.vols, p->snap.n_vols,
		    p->snap.removed, p->snap.n_removed, &p->snap.path, e);
		if (rc < 0)
			return rc;
		drop_snap(p);
		if (!was_set)
			return 0;
		/* That was an earlier one: now for what came since. */
	}
}

int
path_flush(struct path *p, struct err *e)
{
	int rc;

	lock_take(&p->flush);
	rc = flush_locked(p, e);
	lock_drop(&p->flush);
	return rc;
}

void
path_want_flush(struct path *p)
{
	lock_take(&p->flock);
	if (!p->flush_wanted) {
		p->flush_wanted = true;
		cond_signal(&p->fcond);
	}
	lock_drop(&p->flock);
}

static bool
is_idle(struct path *p)
{
	return clock_mono_ns() - atomic_load(&p->write_ns) >
	       (int64_t)IDLE_FLUSH_MS * 1000000;
}

void
path_wake_flusher(struct path *p)
{
	lock_take(&p->flock);
	if (atomic_exchange(&p->flusher_rests, false))
		cond_signal(&p->fcond);
	lock_drop(&p->flock);
}

/* Before the next look. What was written at @write_ns has been flushed, with
 * @rests: then not before there is more. */
static void
flusher_wait(struct path *p, bool rests, bool has_failed, int64_t write_ns)
{
	MUST(lock_is_mine(&p->flock));
	if (rests) {
		atomic_store(&p->flusher_rests, true);
		if (atomic_load(&p->write_ns) == write_ns && !p->flush_wanted &&
		    !p->flush_stop)
			cond_wait_ms(&p->fcond, &p->flock, REST_MS);
		atomic_store(&p->flusher_rests, false);
	}
	/* After a failure not at once again. */
	if ((!p->flush_wanted || has_failed) && !p->flush_stop)
		cond_wait_ms(&p->fcond, &p->flock, LOOK_MS);
}

static void *
flusher_main(void *arg)
{
	struct path *p = arg;
	bool was_idle = true, has_failed = false, stop = false, rests = false;
	int64_t write_ns = 0;

	while (!stop) {
		struct err e = ERR_INIT;
		bool wanted, idle;
		int rc = 0;

		lock_take(&p->flock);
		flusher_wait(p, rests, has_failed, write_ns);
		wanted = p->flush_wanted;
		stop = p->flush_stop;
		p->flush_wanted = false;
		lock_drop(&p->flock);
		write_ns = atomic_load(&p->write_ns);
		idle = is_idle(p);
		if (wanted || stop || has_failed || idle)
			rc = path_flush(p, &e);
		if (rc < 0 && !has_failed)
			path_event(p, LOG_ERROR, "file index: %s", e.msg);
		has_failed = rc < 0;
		vols_trim(p, idle ? 64 : 512);
		if (idle && !was_idle) {
			large_io_trim(p);
			lock_take(&p->flush);
			findex_trim(p->fx);
			lock_drop(&p->flush);
			malloc_trim(0);
		}
		rests = idle && was_idle && !has_failed;
		was_idle = idle;
	}
	return NULL;
}

/* --- opening --- */

static int
make_dirs(struct path *p, struct err *e)
{
	static const char *const names[] = { "volumes", "data", "tmp" };
	char name[PATH_MAX];
	bool made = false;
	int rc = 0;

	for (size_t i = 0; i < 3 && rc == 0; i++) {
		rc = fs_join(name, sizeof(name), p->dir, names[i], e);
		if (rc == 0 && !fs_is_dir(name)) {
			rc = fs_mkdir(name, e);
			made = true;
		}
	}
	if (rc == 0 && made)
		rc = fs_sync_dir(p->dir, e);
	return rc;
}

static void
init_locks(struct path *p)
{
	lock_init(&p->qlock, LOCK_RANK_PATH);
	lock_init(&p->vlock, LOCK_RANK_VOLUMES);
	lock_init(&p->flush, LOCK_RANK_FLUSH);
	lock_init(&p->flock, LOCK_RANK_LEAF);
	lock_init(&p->punchlock, LOCK_RANK_LEAF);
	cond_init(&p->qcond);
	cond_init(&p->room);
	cond_init(&p->vcond);
	cond_init(&p->fcond);
}

int
path_open(struct engine *g, unsigned no, const char *dir, int lock_fd,
    const struct ident *ident, struct path **ret, struct err *e)
{
	struct path *p = mem_zalloc(sizeof(*p));
	char name[PATH_MAX];
	int rc;

	if (p == NULL) {
		fs_close(&lock_fd);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	p->magic = PATH_MAGIC;
	p->g = g;
	p->no = no;
	p->lock_fd = lock_fd;
	p->ident = *ident;
	p->q_tail = &p->q_head;
	p->open_batch = 1;
	p->next_vol = 1;
	p->dir_count = (uint32_t)rand_u64();
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	init_locks(p);
	rc = make_dirs(p, e);
	if (rc == 0)
		rc = fs_join(name, sizeof(name), p->dir, "findex", e);
	if (rc == 0)
		rc = findex_open(name, g->c.index_table_max, &p->fx, e);
	if (rc < 0) {
		path_close(&p);
		return rc;
	}
	path_space(p);
	*ret = p;
	return 0;
}

int
path_start_threads(struct path *p, struct err *e)
{
	int rc = zero_start(p, e);

	if (rc < 0)
		return rc;
	rc = thread_start(&p->writer, "store-write", writer_main, p, e);

	if (rc < 0)
		return rc;
	p->has_writer = true;
	rc = thread_start(&p->flusher, "store-index", flusher_main, p, e);
	if (rc < 0)
		return rc;
	p->has_flusher = true;
	return large_io_start(p, e);
}

static void
stop_threads(struct path *p)
{
	if (p->has_writer) {
		lock_take(&p->qlock);
		p->stop = true;
		cond_broadcast(&p->qcond);
		lock_drop(&p->qlock);
		thread_join(p->writer);
		p->has_writer = false;
	}
	if (p->has_flusher) {
		lock_take(&p->flock);
		p->flush_stop = true;
		cond_broadcast(&p->fcond);
		lock_drop(&p->flock);
		thread_join(p->flusher); /* it flushes last */
		p->has_flusher = false;
	}
}

void
path_close(struct path **pp)
{
	struct path *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	OBJ_CHECK(p, PATH_MAGIC);
	stop_threads(p);
	zero_stop(p);
	large_io_stop(p);
	for (size_t i = 0; i < p->n_vols; i++) {
		MUST(p->vols[i]->refs == 1);
		vol_free(p->vols[i]);
	}
	free(p->vols);
	free(p->removed);
	drop_snap(p);
	findex_close(&p->fx);
	lock_fini(&p->qlock);
	lock_fini(&p->vlock);
	lock_fini(&p->flush);
	lock_fini(&p->flock);
	lock_fini(&p->punchlock);
	free(p->punches);
	cond_fini(&p->qcond);
	cond_fini(&p->room);
	cond_fini(&p->vcond);
	cond_fini(&p->fcond);
	fs_close(&p->lock_fd);
	p->magic = 0;
	free(p);
}
