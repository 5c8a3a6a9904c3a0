/* storage/engine/writer.c - the one writer of a store path: group commit.
 *
 * W1  What is queued while a batch is written and synced is the next batch.
 *     A waiter sleeps on the word of its batch's parity; one wake-up call
 *     wakes them all.
 * W2  Published (visible to readers) only after the sync; a waiter's answer
 *     only after that.
 * W3  After a failed write or sync: the volume is cut back to its durable
 *     offset, sealed, and never written again; the next volume's header says
 *     where it ended, so that no needle behind that counts, even if the cut
 *     itself did not reach the disk. No sync is tried twice.
 * W4  One thread at a time is the writer: the thread for it, or, when that one
 *     is idle and requests come one by one, a caller for its own, which saves
 *     two changes of hands. (Where many come together the time that the thread
 *     takes to wake up is what makes a batch of them.)
 * W5  What a caller gathers wakes nobody until he has all that there is; then he
 *     writes it himself, as W4, with what others have queued: no thread is woken
 *     for it or by it. Not after a write that took LED_SLOW_MS: he serves others.
 * Threads: writer_main(), writer_put(); submit and wait: any. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/futex.h"

#include <errno.h>
#include <stdio.h>

enum {
	ROOM_WAIT_MS = 10000,
	LED_SLOW_MS = 5,
	LED_SLOW_BATCHES = 64,
	PAGE = 4096
};

/* --- callers --- */

static uint64_t
weight(const struct wreq *r)
{
	return needle_total(r->hdr_len, r->payload.len);
}

/* Under qlock. */
static void
wake_writer(struct path *p)
{
	if (p->writer_idle) {
		p->writer_idle = false;
		cond_signal(&p->qcond);
	}
}

/* Under qlock: waits for room in the queue. */
static int
admit(struct path *p, uint64_t w, struct err *e)
{
	uint64_t max = p->g->c.write_queue_max;
	int left = ROOM_WAIT_MS;

	while (p->q_bytes > 0 && p->q_bytes + w > max && !p->stop) {
		bool woken;

		wake_writer(p); /* some of it may be gathered */
		p->room_waiters++;
		woken = cond_wait_ms(&p->room, &p->qlock, 1000);
		p->room_waiters--;
		if (!woken && (left -= 1000) <= 0)
			return err_set(e, ERR_BUSY, "store path %u is busy",
			    p->no);
	}
	if (p->stop)
		return err_set(e, ERR_CLOSED, "store path %u is closed", p->no);
	return 0;
}

/* Under qlock. */
static void
enqueue(struct path *p, struct wreq *r)
{
	*p->q_tail = r;
	p->q_tail = &r->next;
	p->q_bytes += weight(r);
	p->q_n++;
	p->q_waits |= r->stored == NULL;
	r->batch = p->open_batch;
}

int
writer_submit(struct path *p, struct wreq *r, struct err *e)
{
	int rc;

	r->next = NULL;
	r->rc = 0;
	r->e = e;
	lock_take(&p->qlock);
	rc = admit(p, weight(r), e);
	if (rc == 0) {
		enqueue(p, r);
		wake_writer(p);
	}
	lock_drop(&p->qlock);
	return rc;
}

int
writer_wait(struct path *p, struct wreq *r)
{
	_Atomic uint32_t *word = &p->done[r->batch & 1];

	for (;;) {
		uint32_t seen =
		    atomic_load_explicit(word, memory_order_acquire);

		if ((int32_t)(seen - r->batch) >= 0)
			return r->rc;
		futex_wait(word, seen);
	}
}

/* --- volumes --- */

static uint64_t
room_in(const struct path *p, const struct vol *v, const struct wreq *r)
{
	uint64_t keep = r->frees ? 0 : path_tail_reserve(p);

	return v->alloc - v->end > keep ? v->alloc - v->end - keep : 0;
}

static void
seal(struct path *p)
{
	struct vol *v = p->cur;

	if (v == NULL)
		return;
	zero_end(p);
	/* Gives the unused rest back; where it stays, it is of no harm. */
	fs_truncate(v->fd, v->end, NULL);
	lock_take(&p->vlock);
	v->alloc = v->end;
	v->n.sealed = true;
	v->is_dirty = true;
	lock_drop(&p->vlock);
	p->last_no = v->no;
	p->last_end = v->end;
	p->cur = NULL;
}

/* How large a new volume is made; 0 = no space for one that holds @need. */
static uint64_t
new_size(struct path *p, const struct wreq *r, uint64_t need)
{
	uint64_t floor = r->frees ? 0 : tuned(p->g->c.reserved), avail, size;
	uint64_t least =
	    FMT_VOL_HEADER + FMT_HDR_MAX + need + path_tail_reserve(p);

	atomic_store(&p->space_ns, 0);
	path_space(p);
	avail = atomic_load(&p->avail);
	if (avail < floor || avail - floor < least)
		return 0;
	size = p->g->c.volume_size;
	if (size > (avail - floor) / 4)
		size = (avail - floor) / 4; /* the rest comes back at sealing */
	if (r->frees && avail < tuned(p->g->c.reserved))
		size /= 4; /* go easy on the reserve */
	return size > least ? size : least;
}

static int
roll(struct path *p, const struct wreq *r, uint64_t need, struct err *e)
{
	uint64_t size = new_size(p, r, need);
	uint64_t prev = p->cur == NULL ? p->last_no : p->cur->no;
	uint64_t end = p->cur == NULL ? p->last_end : p->cur->end;
	struct vol *v;
	uint64_t no;
	int rc;

	if (size == 0) {
		p->is_full = true;
		tidy_want(p->g);
		return err_set(e, ERR_NO_SPACE, "store path %u is full", p->no);
	}
	lock_take(&p->vlock);
	no = p->next_vol++; /* used up even if it fails: never given twice */
	lock_drop(&p->vlock);
	rc = vol_create(p, no, size, prev, end, &v, e);
	if (rc == ERR_NO_SPACE) {
		p->is_full = true;
		tidy_want(p->g);
		return rc;
	}
	if (rc < 0)
		return rc;
	seal(p);
	p->cur = v;
	p->is_full = false;
	tidy_want(p->g); /* what is dead in the one before */
	return 0;
}

/* Makes p->cur hold @need bytes for @r. */
static int
make_room(struct path *p, const struct wreq *r, uint64_t need, struct err *e)
{
	int rc;

	if (p->is_failed)
		return err_set(e, ERR_FAILED, "store path %u has failed",
		    p->no);
	if (p->cur != NULL && room_in(p, p->cur, r) >= need)
		return 0;
	rc = roll(p, r, need, e);
	if (rc < 0 && rc != ERR_NO_SPACE && rc != ERR_NO_MEMORY) {
		p->is_failed = true;
		path_event(p, LOG_ERROR,
		    "taken out of service, no new volume: %s",
		    e == NULL ? err_text(rc) : e->msg);
	}
	return rc;
}

/* W3 */
static void
doubt(struct path *p, const struct err *why)
{
	struct vol *v = p->cur;

	path_event(p, why->code == ERR_NO_SPACE ? LOG_WARN : LOG_ERROR,
	    "volume %016jx sealed at %ju: %s", (uintmax_t)v->no,
	    (uintmax_t)v->durable, why->msg);
	v->end = v->durable;
	seal(p);
}

/* --- a batch --- */

/* W2: what follows may begin; each is its caller's again. */
static void
hand_on(struct wreq *group)
{
	struct wreq *last = NULL, *next;

	for (struct wreq *r = group; r != NULL; r = r->next) {
		if (r->stored != NULL)
			last = r;
	}
	for (struct wreq *r = group; last != NULL; r = next) {
		bool is_last = r == last;

		next = r->next;
		if (r->stored != NULL)
			r->stored(r->arg, r->rc, !is_last);
		if (is_last)
			break;
	}
}

static void
fail_group(struct wreq *group, int rc, const struct err *why)
{
	for (struct wreq *r = group; r != NULL; r = r->next) {
		r->rc = rc;
		if (r->e != NULL)
			*r->e = *why;
	}
	hand_on(group);
}

static void
place(struct path *p, struct wreq *r, uint64_t off)
{
	if (!r->keep_source)
		needle_set_source(r->hdr, &p->ident.node, p->g->incarnation,
		    atomic_fetch_add(&p->g->seq, 1) + 1);
	r->loc.vol = p->cur->no;
	r->loc.off = off;
	needle_place(r->hdr, p->cur->no, off, p->cur->durable, p->cur->salt);
}

/* Zero up to the page's end: what lies there was zeroed past the page cache, and
 * half a page would have to be read from disk before it is written. */
static size_t
rest_of_page(const struct vol *v, uint64_t end)
{
	uint64_t rest = -end & (PAGE - 1);

	return end + rest <= v->alloc ? (size_t)rest : 0;
}

static int
write_group(struct path *p, struct wreq *group, uint64_t *ret_end,
    struct err *e)
{
	static const uint8_t zero[PAGE];
	uint64_t off = p->cur->end, start = off;
	size_t rest;
	int n = 0;

	for (struct wreq *r = group; r != NULL; r = r->next)
		off += weight(r);
	rest = rest_of_page(p->cur, off);
	zero_guard(p, off + rest);
	off = start;

	for (struct wreq *r = group; r != NULL; r = r->next) {
		size_t len = r->hdr_len + r->payload.len;
		size_t pad = (size_t)(weight(r) - len);

		place(p, r, off);
		p->iov[n++] = (struct iovec){ r->hdr, r->hdr_len };
		if (r->payload.len > 0)
			p->iov[n++] =
			    (struct iovec){ (void *)(uintptr_t)r->payload.p,
				    r->payload.len };
		if (pad > 0)
			p->iov[n++] =
			    (struct iovec){ (void *)(uintptr_t)zero, pad };
		off += len + pad;
		if (r->next == NULL && rest > 0)
			p->iov[n++] =
			    (struct iovec){ (void *)(uintptr_t)zero, rest };
		if (n > WRITER_IOVS - 4 || r->next == NULL) {
			int rc =
			    fs_pwritev_all(p->cur->fd, p->iov, n, start, e);

			if (rc < 0)
				return rc;
			start = off;
			n = 0;
		}
	}
	*ret_end = off;
	return fs_fdatasync(p->cur->fd, e);
}

static void
publish(struct path *p, struct wreq *group, uint64_t end)
{
	struct vol *v = p->cur;
	size_t heavy = 0;

	lock_take(&p->vlock);
	findex_lock(p->fx);
	for (struct wreq *r = group; r != NULL; r = r->next) {
		if (!r->has_key) {
			v->n.dead_bytes += weight(r);
			continue;
		}
		heavy = findex_publish(p->fx, &r->key, &r->wid, &r->old_wid,
		    &r->loc, r->is_new);
		path_account(p, v, &r->loc, r->has_old, &r->old);
	}
	v->end = end;
	v->durable = end;
	v->replayed = end;
	v->is_dirty = true;
	if (p->last_inc <= p->g->incarnation) {
		p->last_inc = p->g->incarnation;
		p->last_seq = atomic_load(&p->g->seq);
	}
	findex_unlock(p->fx);
	lock_drop(&p->vlock);
	atomic_store(&p->write_ns, clock_mono_ns());
	if (atomic_load(&p->flusher_rests))
		path_wake_flusher(p);
	log_bump(p->g);
	if (heavy >= p->g->c.index_table_max)
		path_want_flush(p);
}

/* Puts the record of this incarnation before the first needle of it. */
static struct wreq *
start_needle(struct path *p, struct wreq *r, uint8_t *hdr)
{
	struct needle n = { .type = NEEDLE_START,
		.version = 1,
		.src_node = p->ident.node,
		.src_inc = p->g->incarnation,
		.created_s = clock_real_s(),
		.parent_inc = p->g->parent_inc,
		.parent_seq = p->g->parent_seq };

	*r = (struct wreq){ .hdr = hdr,
		.hdr_len = (uint32_t)needle_hdr_len(&n),
		.keep_source = true };
	needle_encode(&n, &p->ident, hdr, NULL);
	return r;
}

/* Cuts from *list what goes into the current volume in one sync. */
static struct wreq *
cut_group(struct path *p, struct wreq **list, uint64_t used, size_t *ret_n)
{
	struct wreq *group = *list, **at = list;
	size_t n = 0;

	while (*at != NULL && used < ENGINE_SYNC_MAX) {
		uint64_t w = weight(*at);

		if (used + w > room_in(p, p->cur, *at))
			break;
		used += w;
		at = &(*at)->next;
		n++;
	}
	*list = *at;
	*at = NULL;
	*ret_n = n;
	return group;
}

static void
run_group(struct path *p, struct wreq *group, size_t n)
{
	uint8_t hdr[FMT_HDR_FIXED + 64];
	struct err e = ERR_INIT;
	struct wreq start;
	struct wreq *all = group;
	uint64_t end;
	size_t mean;
	int rc = findex_reserve(p->fx, n, &e);

	if (rc < 0) {
		fail_group(group, rc, &e);
		path_want_flush(p);
		return;
	}
	if (!p->has_started) {
		start_needle(p, &start, hdr);
		start.next = group;
		all = &start;
	}
	rc = write_group(p, all, &end, &e);
	if (rc < 0) {
		doubt(p, &e);
		findex_unreserve(p->fx, n);
		fail_group(group, rc, &e);
		return;
	}
	p->has_started = true;
	mean = (size_t)((end - p->cur->end) / n);
	publish(p, all, end);
	hand_on(group);
	zero_ahead(p, p->cur, mean);
}

static void
run_list(struct path *p, struct wreq *list)
{
	while (list != NULL) {
		uint64_t extra = p->has_started ? 0 : FMT_HDR_FIXED + 64;
		struct err e = ERR_INIT;
		struct wreq *group;
		size_t n;
		int rc = make_room(p, list, weight(list) + extra, &e);

		if (rc < 0) {
			/* Others may still go: deletes into the reserve. */
			struct wreq *r = list;

			list = r->next;
			r->next = NULL;
			fail_group(r, rc, &e);
			continue;
		}
		group = cut_group(p, &list, extra, &n);
		run_group(p, group, n);
	}
}

/* W4, under qlock: @r is written by its caller. What follows is for later, when
 * others may write again. */
static int
lead(struct path *p, struct wreq *r)
{
	void (*stored)(void *, int, bool) = r->stored;

	r->stored = NULL;
	p->writer_idle = false;
	p->is_led = true;
	lock_drop(&p->qlock);
	run_list(p, r);
	lock_take(&p->qlock);
	p->is_led = false;
	if (p->q_head != NULL || p->stop)
		cond_signal(&p->qcond);
	else
		p->writer_idle = true;
	r->stored = stored;
	return r->rc;
}

int
writer_put(struct path *p, struct wreq *r, struct err *e)
{
	bool waits = r->stored == NULL, is_queued = false;
	int rc;

	r->next = NULL;
	r->rc = 0;
	r->e = e;
	lock_take(&p->qlock);
	rc = admit(p, weight(r), e);
	if (rc == 0 && p->writer_idle && p->last_batch <= 1) {
		rc = lead(p, r);
	} else if (rc == 0) {
		enqueue(p, r);
		wake_writer(p);
		is_queued = true;
	}
	lock_drop(&p->qlock);
	if (waits)
		return is_queued ? writer_wait(p, r) : rc;
	if (!is_queued) {
		r->rc = rc;
		hand_on(r);
	}
	return 0;
}

void
writer_gather(struct path *p, struct wreq *r, struct err *e)
{
	int rc;

	MUST(r->stored != NULL);
	r->next = NULL;
	r->rc = 0;
	r->e = e;
	lock_take(&p->qlock);
	rc = admit(p, weight(r), e);
	if (rc == 0)
		enqueue(p, r);
	lock_drop(&p->qlock);
	if (rc < 0) {
		r->rc = rc;
		hand_on(r);
	}
}

/* Under qlock, which it leaves: the next batch, whoever is the writer now. */
static void
run_batch(struct path *p)
{
	struct wreq *list = p->q_head;
	uint32_t batch = p->open_batch++;
	bool waits = p->q_waits;

	p->last_batch = p->q_n;
	p->q_n = 0;
	p->q_waits = false;
	p->q_head = NULL;
	p->q_tail = &p->q_head;
	p->q_bytes = 0;
	if (p->slow > 0)
		p->slow--;
	if (p->room_waiters > 0)
		cond_broadcast(&p->room);
	lock_drop(&p->qlock);
	run_list(p, list);
	atomic_store_explicit(&p->done[batch & 1], batch, memory_order_release);
	if (waits)
		futex_wake(&p->done[batch & 1], INT_MAX);
	lock_take(&p->qlock);
}

void
writer_gathered(struct path *p, bool may_lead)
{
	int64_t start;

	lock_take(&p->qlock);
	if (p->q_head != NULL && p->writer_idle && (!may_lead || p->slow > 0)) {
		wake_writer(p);
	} else if (p->q_head != NULL && p->writer_idle) { /* W5 */
		p->writer_idle = false;
		p->is_led = true;
		start = clock_mono_ns();
		run_batch(p);
		if (clock_mono_ns() - start > LED_SLOW_MS * INT64_C(1000000))
			p->slow = LED_SLOW_BATCHES;
		p->is_led = false;
		if (p->q_head != NULL || p->stop)
			cond_signal(&p->qcond);
		else
			p->writer_idle = true;
	}
	lock_drop(&p->qlock);
}

void *
writer_main(void *arg)
{
	struct path *p = arg;

	lock_take(&p->qlock);
	for (;;) {
		while (p->is_led || (p->q_head == NULL && !p->stop)) {
			p->writer_idle = !p->is_led;
			cond_wait(&p->qcond, &p->qlock);
			p->writer_idle = false;
		}
		if (p->q_head == NULL)
			break;
		run_batch(p);
	}
	lock_drop(&p->qlock);
	return NULL;
}
