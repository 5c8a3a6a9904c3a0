/* gateway/index/kv_flush.c - from the table to LMDB: the flusher thread
 * (gateway/index/kv_priv.h).
 *
 * A table goes in several commits of sorted records, bounded in what LMDB holds
 * in memory for each; the last one moves flushed_seq. A crash between them is
 * harmless: the log is replayed over what has arrived, and puts and deletes
 * are whole values. A reader meanwhile finds the table's records in the table.
 *
 * A full disk: LMDB writes copies before it frees pages, so it is given the
 * reserve file's space and small commits; until the file is back, which is tried
 * every RETRY_MS, only transactions that free space are let in. */
#include "gateway/index/kv_priv.h"

#include "lib/clock.h"
#include "lib/fs.h"

#include <stdio.h>

#define CHUNK_RECORDS 16384 /* of one commit: up to a page each in memory */
#define CHUNK_BYTES (16u << 20)
#define SMALL_RECORDS 256 /* the same while space is short */
#define RESERVE (16u << 20)
#define RETRY_MS 500
#define GROW_WAIT_MS 100

static int
reserve_path(struct kv *k, char dst[4096], struct err *e)
{
	return fs_join(dst, 4096, k->dir, "reserve", e);
}

/* Makes sure of the reserve file. ERR_NO_SPACE. */
static int
reserve_make(struct kv *k, struct err *e)
{
	char path[4096];
	uint64_t size = 0;
	int fd, rc;

	rc = reserve_path(k, path, e);
	if (rc == 0)
		rc = fs_open(path, O_RDWR | O_CREAT, &fd, e);
	if (rc < 0)
		return rc;
	rc = fs_size(fd, &size, e);
	if (rc == 0 && size < RESERVE)
		rc = fs_allocate(fd, 0, RESERVE, e);
	fs_close(&fd);
	if (rc < 0)
		fs_unlink(path, NULL);
	return rc;
}

static void
reserve_use(struct kv *k)
{
	char path[4096];

	if (reserve_path(k, path, NULL) == 0)
		fs_unlink(path, NULL);
}

/* What LMDB can use again of its own file. */
static uint64_t
free_inside(struct kv *k)
{
	struct kv_view *v;
	uint64_t bytes;

	if (kv_view_open(k, &v, NULL) < 0)
		return 0;
	bytes = tree_free(v->reader);
	kv_view_close(&v);
	return bytes;
}

static void
set_stuck(struct kv *k, bool stuck, const struct err *e)
{
	bool before;

	lock_take(&k->queue_lock);
	before = k->is_flush_stuck;
	k->is_flush_stuck = stuck;
	cond_broadcast(&k->room);
	lock_drop(&k->queue_lock);
	if (before != stuck)
		kv_event(k, stuck ? 1 : 2,
		    stuck
			? "no space for the index, only deletes are accepted: %s"
			: "space for the index again%s",
		    stuck ? e->msg : "");
}

static void
check_space(struct kv *k)
{
	struct err e = ERR_INIT;
	int rc = reserve_make(k, &e);

	k->space_at_ns = clock_mono_ns() + RETRY_MS * INT64_C(1000000);
	if (rc == ERR_NO_SPACE && free_inside(k) >= 2 * RESERVE)
		rc = 0; /* the disk is full, the index is not */
	if (rc == 0 || rc == ERR_NO_SPACE)
		set_stuck(k, rc == ERR_NO_SPACE, &e);
}

/* X3: waits until nobody reads; then twice the map. */
static int
grow(struct kv *k, struct err *e)
{
	bool done = false;
	int64_t until;
	int rc = 0;

	while (!done) {
		until = clock_mono_ns() + GROW_WAIT_MS * 1000000ll;
		lock_take(&k->view_lock);
		k->is_growing = true;
		while (k->n_views > 0 && clock_mono_ns() < until)
			cond_wait_ms(&k->views_gone, &k->view_lock, 10);
		if (k->n_views == 0) {
			rc = tree_grow(k->tree, e);
			done = true;
		}
		/* Else somebody may need a second view to close the first. */
		k->is_growing = false;
		cond_broadcast(&k->grown);
		lock_drop(&k->view_lock);
		if (!done)
			clock_sleep_ms(5);
	}
	return rc;
}

/* Puts and deletes from *it on, up to @max. */
static int
fill(struct tree_writer *w, struct table_iter *it, size_t max, struct err *e)
{
	size_t bytes = 0;
	int rc = 0;

	for (size_t n = 0;
	     rc == 0 && it->node != NULL && n < max && bytes < CHUNK_BYTES;
	     n++) {
		rc = it->raw.p == NULL
		         ? tree_write_del(w, it->key, e)
		         : tree_write_put(w, it->key, it->raw, false, e);
		bytes += it->key.len + it->raw.len;
		table_next(it);
	}
	return rc;
}

/* One commit's worth from *it on; *it is moved only if it succeeds.
 * *ret_done: that was the last one. */
static int
flush_chunk(struct kv *k, struct table_iter *it, size_t max, uint64_t up_to,
    bool *ret_done, struct err *e)
{
	struct table_iter i = *it;
	struct tree_writer *w;
	struct tree_meta meta;
	int rc;

	lock_take(&k->tree_lock);
	rc = tree_write_begin(k->tree, &w, e);
	if (rc != 0)
		goto out_drop;
	rc = fill(w, &i, max, e);
	if (rc != 0) {
		tree_write_abort(&w);
		goto out_drop;
	}
	lock_take(&k->meta_lock);
	meta = k->meta;
	lock_drop(&k->meta_lock);
	meta.flushed_seq = up_to;
	rc = tree_write_commit(&w, i.node == NULL ? &meta : NULL, e);
	if (rc != 0)
		goto out_drop;
	*it = i;
	*ret_done = i.node == NULL;
	if (*ret_done) {
		lock_take(&k->meta_lock);
		k->meta.flushed_seq = up_to;
		lock_drop(&k->meta_lock);
	}
out_drop:
	lock_drop(&k->tree_lock);
	return rc;
}

/* LMDB says EIO for a write that the file system cut short. */
static bool
is_no_space(struct kv *k, int rc)
{
	struct fs_space s;

	return rc == ERR_NO_SPACE ||
	       (rc == ERR_IO && fs_space(k->dir, &s, NULL) == 0 &&
		   s.avail < (1u << 20));
}

static int
flush_table(struct kv *k, struct table *t, uint64_t up_to, struct err *e)
{
	struct table_iter it;
	bool stuck = false, done = false;
	int rc = 0;

	table_seek(&it, t, STR_NULL, up_to);
	while (rc == 0 && !done) {
		rc = flush_chunk(k, &it, stuck ? SMALL_RECORDS : CHUNK_RECORDS,
		    up_to, &done, e);
		if (rc == TREE_MAP_FULL) {
			rc = grow(k, e);
			continue;
		}
		if (rc < 0 && is_no_space(k, rc)) {
			set_stuck(k, true, e);
			reserve_use(k);
			if (stuck) {
				lock_take(&k->queue_lock);
				k->flush_rc = ERR_NO_SPACE;
				k->flush_err = *e;
				cond_broadcast(&k->flush);
				if (!k->is_closing)
					cond_wait_ms(&k->flush, &k->queue_lock,
					    RETRY_MS);
				if (k->is_closing) {
					lock_drop(&k->queue_lock);
					return ERR_NO_SPACE;
				}
				lock_drop(&k->queue_lock);
			}
			stuck = true;
			rc = 0;
		}
	}
	return rc;
}

/* X1: the table is dropped, LMDB has it. */
static void
drop_flushed(struct kv *k, uint64_t up_to)
{
	struct table *t;
	bool more, idle;

	lock_take(&k->view_lock);
	t = k->flushing;
	k->flushing = NULL;
	k->flushed_seq = up_to;
	more = table_bytes(k->active) >= k->conf.table_max / 2;
	idle = table_is_empty(k->active);
	lock_drop(&k->view_lock);
	kv_note_fill(k);
	table_unref(&t);
	if (idle) {
		lock_take(&k->tree_lock);
		tree_trim(k->tree);
		lock_drop(&k->tree_lock);
	}
	lock_take(&k->queue_lock);
	k->flush_rc = 0;
	if (more)
		k->want_rotate = true;
	cond_broadcast(&k->room);
	cond_broadcast(&k->flush);
	cond_signal(&k->work);
	lock_drop(&k->queue_lock);
}

static void
flush_one(struct kv *k, struct table *t, uint64_t up_to)
{
	struct err e = ERR_INIT;
	int rc = flush_table(k, t, up_to, &e);

	if (rc < 0) {
		if (rc != ERR_NO_SPACE && !atomic_exchange(&k->is_failed, true))
			kv_event(k, 0,
			    "index failed, writes are refused "
			    "until it is opened again: flush: %s",
			    e.msg);
		lock_take(&k->queue_lock);
		k->flush_rc = rc;
		k->flush_err = e;
		k->is_flusher_gone = true;
		cond_broadcast(&k->room);
		cond_broadcast(&k->flush);
		lock_drop(&k->queue_lock);
		return;
	}
	drop_flushed(k, up_to);
	kv_retire_log(k);
	check_space(k);
}

/* The committer is gone: nobody else changes the tables. */
static void
rotate_last(struct kv *k)
{
	struct table *fresh = table_new();

	lock_take(&k->view_lock);
	if (fresh != NULL) {
		k->flushing = k->active;
		k->active = fresh;
		k->active_base = k->seq;
	}
	lock_drop(&k->view_lock);
}

/* Under queue_lock. *ret_t: what to flush; NULL: see whether there is space; false:
 * the end. */
static bool
wait_for_work(struct kv *k, struct table **ret_t, uint64_t *ret_up_to)
{
	bool empty;
	int64_t left;
	int most;

	for (;;) {
		lock_take(&k->view_lock);
		*ret_t = k->flushing;
		*ret_up_to = k->active_base;
		empty = table_is_empty(k->active);
		lock_drop(&k->view_lock);
		if (k->is_flusher_gone)
			return false;
		if (*ret_t != NULL)
			return true;
		if (k->is_committer_gone) {
			if (empty || atomic_load(&k->is_failed))
				return false;
			rotate_last(k);
			continue;
		}
		/* Not only once nothing is written any more: deletes are. */
		if (k->is_flush_stuck && clock_mono_ns() >= k->space_at_ns)
			return true;
		if (empty || k->want_rotate || k->is_closing) {
			if (empty)
				k->last_write_ns = 0;
			if (k->is_flush_stuck)
				cond_wait_ms(&k->flush, &k->queue_lock,
				    RETRY_MS);
			else
				cond_wait(&k->flush, &k->queue_lock);
			continue;
		}
		left = k->conf.idle_flush_ms -
		       (clock_mono_ns() - k->last_write_ns) / 1000000;
		if (left <= 0) {
			k->want_rotate = true;
			cond_signal(&k->work);
			continue;
		}
		most = k->is_flush_stuck ? RETRY_MS : 1000;
		cond_wait_ms(&k->flush, &k->queue_lock,
		    left > most ? most : (int)left);
	}
}

void *
kv_flusher_main(void *arg)
{
	struct kv *k = arg;
	struct table *t;
	uint64_t up_to;
	bool more;

	check_space(k);
	for (;;) {
		lock_take(&k->queue_lock);
		more = wait_for_work(k, &t, &up_to);
		lock_drop(&k->queue_lock);
		if (!more)
			break;
		if (t != NULL)
			flush_one(k, t, up_to);
		else
			check_space(k);
	}
	lock_take(&k->queue_lock);
	k->is_flusher_gone = true;
	cond_broadcast(&k->flush);
	cond_broadcast(&k->room);
	lock_drop(&k->queue_lock);
	return NULL;
}

int
kv_flush(struct kv *k, struct err *e)
{
	uint64_t target, flushed;
	bool pending;
	int rc = 0;

	OBJ_CHECK(k, KV_MAGIC);
	lock_take(&k->queue_lock);
	lock_take(&k->view_lock);
	target = k->seq;
	lock_drop(&k->view_lock);
	k->flush_rc = 0;
	for (;;) {
		lock_take(&k->view_lock);
		flushed = k->flushed_seq;
		pending = k->flushing != NULL;
		lock_drop(&k->view_lock);
		if (flushed >= target)
			break;
		if (k->flush_rc < 0) {
			rc = err_set(e, k->flush_rc, "%s", k->flush_err.msg);
			break;
		}
		if (k->is_flusher_gone) {
			rc = err_set(e, ERR_FAILED, "the index has failed");
			break;
		}
		if (!pending) {
			k->want_rotate = true;
			cond_signal(&k->work);
		}
		cond_wait(&k->flush, &k->queue_lock);
	}
	lock_drop(&k->queue_lock);
	return rc;
}
