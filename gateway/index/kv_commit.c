/* gateway/index/kv_commit.c - transactions: the queue and the committer thread
 * (gateway/index/kv.h, kv_priv.h).
 *
 * Waiters sleep on one of two futexes, in turn: all of a batch wake with one
 * system call, while those of the next one sleep on the other. Of a job nobody
 * waits: what follows it is told instead, and must not hold up the others.
 *
 * One thread at a time runs and syncs: the committer, or, when that one is idle
 * and transactions come one by one, a caller for its own (two changes of hands
 * less; where many come together, the time that the committer takes to wake up
 * is what makes a batch of them). A whole group of jobs is run by the volume's
 * writer that has posted it: what is put meanwhile makes its next group, and two
 * syncs in turn, each of twice as much, are the same wait as two at once (not so
 * for small groups: with 8 connections a quarter less).
 * Running the next batch while another thread syncs was tried: batches become
 * smaller and hands change more often, 12 to 18 us of CPU a transaction instead
 * of 10.5, and no more of them on two cores. */
#include "gateway/index/kv_priv.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/futex.h"
#include "lib/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define BATCH_BYTES (4u << 20) /* a batch takes no more after that */
#define FRAME_KEEP (1u << 20)  /* memory kept for the next frame */
#define BUSY_MS 5000           /* how long a full table keeps writers waiting */
#define LEAD_MANY 16           /* so many jobs are run by who posted them */

struct kv_tx {
	unsigned magic;
	struct kv *kv;
	struct kv_view *view;
	uint64_t seq;
	size_t start; /* in the frame */
	unsigned n_ops;
	int rc; /* a failed write fails the transaction, whatever fn says */
	struct kv_cursor cursor;
	bool has_cursor;
};

/* --- waiting --- */

static void
gate_wait(struct kv *k, struct kv_job *r)
{
	_Atomic uint32_t *word = &k->gates[r->gate];
	uint32_t v;

	while (!atomic_load_explicit(&r->is_done, memory_order_acquire)) {
		v = atomic_load_explicit(word, memory_order_acquire);
		if (atomic_load_explicit(&r->is_done, memory_order_acquire))
			break;
		futex_wait(word, v);
	}
}

static void
gate_open(struct kv *k, unsigned gate)
{
	atomic_fetch_add_explicit(&k->gates[gate], 1, memory_order_release);
	futex_wake(&k->gates[gate], INT_MAX);
}

/* --- the caller's side --- */

static bool
is_full(struct kv *k, unsigned flags)
{
	int fill = atomic_load_explicit(&k->fill, memory_order_relaxed);

	/* What frees space may have to go on for the flush to. */
	return fill == KV_FILL_OVER ||
	       (fill == KV_FILL_FULL && !(flags & KV_FREES));
}

/* How full the tables are; after every change of them. */
void
kv_note_fill(struct kv *k)
{
	int fill = KV_FILL_ROOM;
	size_t bytes;

	lock_take(&k->view_lock);
	bytes = table_bytes(k->active);
	if (k->flushing != NULL && bytes >= k->conf.table_max)
		fill = KV_FILL_OVER;
	else if (k->flushing != NULL && bytes >= k->conf.table_max / 2)
		fill = KV_FILL_FULL;
	atomic_store_explicit(&k->fill, fill, memory_order_relaxed);
	lock_drop(&k->view_lock);
}

/* Under queue_lock: may a transaction join? */
static int
admit(struct kv *k, unsigned flags, struct err *e)
{
	int64_t deadline = 0;

	for (;;) {
		if (k->is_closing)
			return err_set(e, ERR_CLOSED, "the index is closing");
		if (atomic_load(&k->is_failed))
			return err_set(e, ERR_FAILED,
			    "the index has failed: restart");
		if (k->conf.owner != NULL &&
		    k->conf.owner->is_lost(k->conf.owner_arg))
			return err_set(e, ERR_FAILED,
			    "another gateway owns the index now");
		if (!(flags & KV_FREES)) {
			if (k->is_flush_stuck || ilog_is_low(k->log))
				return err_set(e, ERR_NO_SPACE,
				    "no space for the index");
		}
		if (!is_full(k, flags))
			return 0;
		if (deadline == 0)
			deadline = clock_mono_ns() + BUSY_MS * 1000000ll;
		if (clock_mono_ns() >= deadline)
			return err_set(e, ERR_BUSY, "the index cannot keep up");
		cond_wait_ms(&k->room, &k->queue_lock, 100);
	}
}

/* --- what a transaction's function may do --- */

uint64_t
kv_tx_seq(struct kv_tx *tx)
{
	OBJ_CHECK(tx, KV_TX_MAGIC);
	return tx->seq;
}

int
kv_tx_get(struct kv_tx *tx, struct str key, struct str *ret, struct err *e)
{
	OBJ_CHECK(tx, KV_TX_MAGIC);
	return kv_record_get(tx->view, tx->seq, key, ret, e);
}

int
kv_tx_next(struct kv_tx *tx, struct str from, struct str to,
    struct str *ret_key, struct str *ret_value, struct err *e)
{
	struct str key, raw;
	int rc;

	OBJ_CHECK(tx, KV_TX_MAGIC);
	if (from.len > KV_KEY_MAX)
		return err_set(e, ERR_INVALID, "key of %zu bytes", from.len);
	if (!tx->has_cursor) {
		rc = kv_cursor_start(&tx->cursor, tx->view, tx->seq, e);
		if (rc < 0)
			return rc;
		tx->has_cursor = true;
	}
	rc = kv_cursor_place(&tx->cursor, from, e);
	if (rc == 0)
		rc = kv_cursor_step(&tx->cursor, &key, &raw, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || (to.len > 0 && str_cmp(key, to) >= 0))
		return err_set(e, ERR_NOT_FOUND, NULL);
	rc = ops_unwrap(key, raw, ret_value, e);
	if (rc == 0)
		*ret_key = key;
	return rc;
}

static int
note(struct kv_tx *tx, int rc)
{
	if (rc < 0 && tx->rc == 0)
		tx->rc = rc;
	return rc;
}

static int
check_write(struct kv_tx *tx, struct str key, size_t more, struct err *e)
{
	struct kv *k = tx->kv;
	size_t len = k->frame.len + OPS_OP_HEADER + key.len + more;

	if (key.len == 0 || key.len > KV_KEY_MAX)
		return err_set(e, ERR_INVALID, "key of %zu bytes", key.len);
	if (len - tx->start > ilog_max_payload(k->log))
		return err_set(e, ERR_TOO_BIG, "transaction over %zu bytes",
		    ilog_max_payload(k->log));
	return 0;
}

int
kv_tx_put(struct kv_tx *tx, struct str key, struct str value, struct err *e)
{
	struct kv *k = tx->kv;
	struct str raw;
	int rc;

	OBJ_CHECK(tx, KV_TX_MAGIC);
	rc = check_write(tx, key, RAW_SUM + value.len, e);
	if (rc == 0 && value.len > KV_VALUE_MAX)
		rc = err_set(e, ERR_TOO_BIG, "value of %zu bytes", value.len);
	if (rc == 0)
		rc = ops_put(&k->frame, key, value, &raw, e);
	if (rc == 0) {
		tx->n_ops++;
		rc = table_put(tx->view->tables[0], key, raw, tx->seq, e);
	}
	return note(tx, rc);
}

int
kv_tx_del(struct kv_tx *tx, struct str key, struct err *e)
{
	struct kv *k = tx->kv;
	int rc;

	OBJ_CHECK(tx, KV_TX_MAGIC);
	rc = check_write(tx, key, 0, e);
	if (rc == 0)
		rc = ops_del(&k->frame, key, e);
	if (rc == 0) {
		tx->n_ops++;
		rc = table_put(tx->view->tables[0], key, STR_NULL, tx->seq, e);
	}
	return note(tx, rc);
}

/* --- the committer --- */

/* X2: what lies in the frame from @start on, at @seq and above. */
static void
retract(struct kv *k, struct table *t, size_t start, uint64_t seq)
{
	const char *p = k->frame.p;
	size_t off = start;
	struct str key;

	/* The last header may be unfinished: operations are walked plainly. */
	while (off < k->frame.len) {
		key = (struct str){ p + off + OPS_OP_HEADER,
			get_le16(p + off + 2) };
		table_retract(t, key, seq);
		off += OPS_OP_HEADER + key.len + get_le32(p + off + 4);
	}
}

static void
retract_batch(struct kv *k, struct table *t, uint64_t seq)
{
	struct ops_walk w = { .in = str_skip(buf_str(&k->frame),
				  ILOG_FRAME_HEADER) };
	struct op op;

	while (ops_next_tx(&w, NULL) > 0) {
		while (ops_next(&w, &op, NULL) > 0)
			table_retract(t, op.key, seq);
	}
}

enum outcome {
	DONE,  /* without writes */
	WROTE, /* the transaction is in the frame */
	LATER, /* no room behind the others: runs again in the next batch */
};

static enum outcome
run(struct kv *k, struct kv_job *r, struct kv_view *v, uint64_t seq,
    bool is_first)
{
	struct kv_tx tx = { .magic = KV_TX_MAGIC,
		.kv = k,
		.view = v,
		.seq = seq };
	size_t ops, payload;
	int rc;

	rc = r->rc = ops_begin(&k->frame, &tx.start, r->e);
	if (rc < 0)
		return DONE;
	ops = k->frame.len;
	rc = r->fn(&tx, r->arg, r->e);
	if (tx.has_cursor)
		kv_cursor_finish(&tx.cursor);
	tx.magic = 0;
	if (rc >= 0 && tx.rc < 0)
		rc = err_set(r->e, tx.rc, "a write of the transaction failed");
	payload = k->frame.len - ILOG_FRAME_HEADER;
	if (rc >= 0 && tx.n_ops > 0 && payload > ilog_room(k->log)) {
		if (!is_first) {
			retract(k, v->tables[0], ops, seq);
			k->frame.len = tx.start;
			return LATER;
		}
		rc = err_set(r->e, ERR_NO_SPACE, "no space in the index log");
	}
	r->rc = rc;
	if (rc < 0)
		retract(k, v->tables[0], ops, seq);
	if (rc < 0 || tx.n_ops == 0) {
		k->frame.len = tx.start;
		return DONE;
	}
	ops_end(&k->frame, tx.start);
	return WROTE;
}

/* Publishes up to @seq. */
static void
publish(struct kv *k, uint64_t seq)
{
	lock_take(&k->view_lock);
	k->seq = seq;
	lock_drop(&k->view_lock);
}

static void
finish(struct kv_job *r, int rc)
{
	if (r->done != NULL) {
		r->done(r->done_arg, rc);
		return;
	}
	r->rc = rc;
	atomic_store_explicit(&r->is_done, 1, memory_order_release);
}

/* All of @batch fails with @code: what it read may not be durable (K3). */
static void
fail_batch(struct kv *k, struct kv_job *batch, int code, const struct err *e)
{
	struct kv_job *next;

	if (code == ERR_FAILED && !atomic_exchange(&k->is_failed, true))
		kv_event(k, 0,
		    "index failed, writes are refused until it is "
		    "opened again: %s",
		    e->msg);
	for (struct kv_job *r = batch; r != NULL; r = next) {
		next = r->next;
		if (r->e != NULL)
			*r->e = *e;
		finish(r, code);
	}
}

/* Runs as much of @batch as one frame takes; returns the rest. */
static struct kv_job *
run_batch(struct kv *k, struct kv_job *batch)
{
	struct kv_job *r, *rest, *next, **end = &batch;
	struct err e = ERR_INIT;
	struct kv_view *v;
	uint64_t first = k->seq + 1, seq = first;
	enum outcome o;
	int rc;

	k->frame.len = ILOG_FRAME_HEADER;
	rc = kv_view_open(k, &v, &e);
	if (rc < 0 || atomic_load(&k->is_failed)) {
		if (rc == 0) {
			kv_view_close(&v);
			rc = err_set(&e, ERR_FAILED, "the index has failed");
		}
		fail_batch(k, batch, rc, &e);
		return NULL;
	}
	for (r = batch; r != NULL; r = r->next) {
		if (k->frame.len > BATCH_BYTES)
			break;
		o = run(k, r, v, seq, seq == first);
		if (o == LATER)
			break;
		if (o == WROTE)
			seq++;
		end = &r->next;
	}
	rest = *end;
	*end = NULL;
	rc = 0;
	if (seq > first)
		rc = ilog_append(k->log, first, (uint32_t)(seq - first),
		    &k->frame, &e);
	if (rc < 0) {
		retract_batch(k, v->tables[0], first);
		kv_view_close(&v);
		fail_batch(k, batch, rc, &e);
		return rest;
	}
	kv_view_close(&v);
	if (seq > first)
		publish(k, seq - 1);
	for (r = batch; r != NULL; r = next) {
		next = r->next; /* r is its owner's again once done */
		finish(r, r->rc);
	}
	return rest;
}

/* Hands the active table to the flusher, if there is none in its hands. */
static void
rotate(struct kv *k, bool wanted)
{
	struct table *fresh = NULL;
	bool due;

	lock_take(&k->view_lock);
	due = k->flushing == NULL && !table_is_empty(k->active) &&
	      (wanted || table_bytes(k->active) >= k->conf.table_max / 2);
	lock_drop(&k->view_lock);
	if (!due)
		return;
	fresh = table_new();
	if (fresh == NULL)
		return; /* it is asked for again after the next batch */
	lock_take(&k->view_lock);
	k->flushing = k->active;
	k->active = fresh;
	k->active_base = k->seq;
	lock_drop(&k->view_lock);
	lock_take(&k->queue_lock);
	cond_broadcast(&k->flush);
	lock_drop(&k->queue_lock);
}

static void
after_batch(struct kv *k, bool wanted)
{
	bool wake;

	if (k->frame.size > FRAME_KEEP) {
		buf_fini(&k->frame);
		if (buf_reserve(&k->frame, ILOG_FRAME_HEADER) < 0)
			return;
	}
	rotate(k, wanted);
	kv_note_fill(k);
	lock_take(&k->queue_lock);
	wake = k->last_write_ns == 0;
	k->last_write_ns = clock_mono_ns();
	if (wake)
		cond_broadcast(&k->flush);
	lock_drop(&k->queue_lock);
}

/* Under queue_lock. */
struct taken {
	struct kv_job *batch;
	unsigned gate;
	bool waits; /* somebody sleeps there */
};

static struct taken
take_queue(struct kv *k)
{
	struct taken t = { k->queue, k->gate, k->queue_waits };

	if (t.batch != NULL)
		k->last_batch = k->n_queued;
	k->n_queued = 0;
	k->queue_waits = false;
	k->queue = NULL;
	k->queue_end = &k->queue;
	k->gate = 1 - t.gate;
	return t;
}

static void
run_taken(struct kv *k, const struct taken *t)
{
	struct kv_job *batch = t->batch;

	while (batch != NULL) {
		batch = run_batch(k, batch);
		if (t->waits)
			gate_open(k, t->gate);
		after_batch(k, false);
	}
}

/* Under queue_lock, the committer is idle: the caller commits. */
static void
lead(struct kv *k, const struct taken *t)
{
	k->is_committer_waiting = false;
	k->is_led = true;
	lock_drop(&k->queue_lock);
	run_taken(k, t);
	lock_take(&k->queue_lock);
	k->is_led = false;
	if (k->queue != NULL || k->want_rotate || k->is_closing)
		cond_signal(&k->work);
	else
		k->is_committer_waiting = true;
}

static void
enqueue(struct kv *k, struct kv_job *r)
{
	r->gate = k->gate;
	*k->queue_end = r;
	k->queue_end = &r->next;
	k->n_queued++;
	k->queue_waits |= r->done == NULL;
}

static void
wake_committer(struct kv *k)
{
	if (k->is_committer_waiting) {
		k->is_committer_waiting = false;
		cond_signal(&k->work);
	}
}

static bool
may_lead(const struct kv *k)
{
	return k->is_committer_waiting && !k->want_rotate && !k->is_closing;
}

/* Under queue_lock: what jobs are queued are run, by the caller when that is
 * better (see above). */
static void
go(struct kv *k, bool is_owner)
{
	struct taken t;

	if (may_lead(k) &&
	    (k->n_queued >= LEAD_MANY || (is_owner && k->last_batch <= 1))) {
		t = take_queue(k);
		lead(k, &t);
	} else {
		wake_committer(k);
	}
}

int
kv_update_flags(struct kv *k, unsigned flags, kv_fn fn, void *arg,
    struct err *e)
{
	struct kv_job r = { .fn = fn, .arg = arg, .e = e, .flags = flags };
	bool is_queued = false;
	int rc;

	OBJ_CHECK(k, KV_MAGIC);
	lock_take(&k->queue_lock);
	rc = admit(k, flags, e);
	if (rc == 0 && may_lead(k) && k->last_batch <= 1) {
		lead(k, &(struct taken){ .batch = &r });
	} else if (rc == 0) {
		enqueue(k, &r);
		wake_committer(k);
		is_queued = true;
	}
	lock_drop(&k->queue_lock);
	if (is_queued)
		gate_wait(k, &r);
	return rc < 0 ? rc : r.rc;
}

int
kv_job_begin(struct kv *k, struct kv_job *j, unsigned flags, kv_fn fn,
    void *arg, struct err *e)
{
	int rc;

	OBJ_CHECK(k, KV_MAGIC);
	*j = (struct kv_job){ .kv = k,
		.fn = fn,
		.arg = arg,
		.e = e,
		.flags = flags,
		.owner = pthread_self() };
	lock_take(&k->queue_lock);
	rc = admit(k, flags, e);
	lock_drop(&k->queue_lock);
	return rc;
}

void
kv_job_post(struct kv_job *j, int rc, bool more,
    void (*done)(void *arg, int rc), void *done_arg)
{
	bool is_owner = pthread_equal(j->owner, pthread_self());
	struct kv *k = j->kv;

	j->done = done;
	j->done_arg = done_arg;
	lock_take(&k->queue_lock);
	if (rc == 0 && k->is_closing)
		rc = err_set(j->e, ERR_CLOSED, "the index is closing");
	if (rc == 0)
		enqueue(k, j);
	/* Also where the last one is none: those before it wait for this. */
	if (!more && k->queue != NULL)
		go(k, is_owner);
	lock_drop(&k->queue_lock);
	if (rc < 0)
		finish(j, rc);
}

int
kv_update(struct kv *k, kv_fn fn, void *arg, struct err *e)
{
	return kv_update_flags(k, 0, fn, arg, e);
}

void *
kv_committer_main(void *arg)
{
	struct kv *k = arg;
	struct taken t;
	bool rotate_now;

	for (;;) {
		lock_take(&k->queue_lock);
		while (k->is_led || (k->queue == NULL && !k->want_rotate &&
					!k->is_closing)) {
			k->is_committer_waiting = !k->is_led;
			cond_wait(&k->work, &k->queue_lock);
		}
		k->is_committer_waiting = false;
		t = take_queue(k);
		rotate_now = k->want_rotate;
		k->want_rotate = false;
		if (t.batch == NULL && k->is_closing && !rotate_now) {
			k->is_committer_gone = true;
			cond_broadcast(&k->flush);
			lock_drop(&k->queue_lock);
			break;
		}
		lock_drop(&k->queue_lock);
		run_taken(k, &t);
		if (rotate_now) {
			rotate(k, true);
			lock_take(&k->queue_lock);
			k->last_write_ns = clock_mono_ns();
			cond_broadcast(&k->flush);
			lock_drop(&k->queue_lock);
		}
	}
	return NULL;
}

/* --- replay --- */

int
kv_replay(void *arg, uint64_t first_seq, uint32_t n_tx, struct str payload,
    struct err *e)
{
	struct kv *k = arg;
	struct ops_walk w = { .in = payload };
	uint64_t seq = first_seq;
	struct op op;
	int rc;

	while ((rc = ops_next_tx(&w, e)) > 0) {
		while (
		    seq > k->flushed_seq && (rc = ops_next(&w, &op, e)) > 0) {
			rc = table_put(k->active, op.key, op.raw, seq, e);
			if (rc < 0)
				break;
		}
		if (rc < 0)
			return rc;
		seq++;
	}
	if (rc < 0)
		return rc;
	if (seq != first_seq + n_tx)
		return err_set(e, ERR_CORRUPT,
		    "log frame at transaction %ju: "
		    "%ju of %u",
		    (uintmax_t)first_seq, (uintmax_t)(seq - first_seq), n_tx);
	if (seq - 1 > k->seq)
		k->seq = seq - 1;
	return 0;
}
