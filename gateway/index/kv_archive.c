/* gateway/index/kv_archive.c - the copy of the index in the storage (P8).
 *
 * Every archive_interval_s what is durable in the log goes to the blobs as
 * chunks; after snapshot_every bytes of them a snapshot follows, and what it
 * supersedes is deleted.
 *
 * A1  A snapshot's superseded predecessors go only once it, and the log from
 *     its sequence to where its records may reach, are durable in the storage.
 * A2  Log is not retired before it is archived, unless so much of it is waiting
 *     that the disk is in danger; then a snapshot closes the gap.
 * A3  An index that finds itself behind its own archive is an older copy: it
 *     counts as fresh again, and goes on in an epoch above all that is there.
 * Threads: the archiver; kv_archive() waits for it. */
#include "gateway/index/chunk.h"
#include "gateway/index/kv_copy.h"
#include "gateway/index/snapshot.h"
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <stdio.h>

#define CHUNK_BYTES ((1u << 20) - 4096) /* with its header a small file */
#define MAX_CHUNKS 4096                 /* between two snapshots */
#define DELETE_AT_ONCE 256
#define WRITE_BYTES (256u << 10)

struct archive {
	struct kv *kv;
	struct blob *blob;
	pthread_t thread;
	bool has_thread;
	_Atomic bool stop;

	struct lock lock; /* LEAF */
	struct cond cond;
	uint64_t asked, done; /* runs */
	int rc;               /* of the last one */
	struct err err;
	uint64_t seq; /* all up to it is archived */
	int64_t at_s;

	/* the archiver's own */
	struct archived_list list;
	bool is_listed, need_snapshot, was_bad;
	uint64_t log_bytes, log_chunks; /* since the newest snapshot */
};

static void
set_seq(struct archive *a, uint64_t seq)
{
	lock_take(&a->lock);
	a->seq = seq;
	lock_drop(&a->lock);
}

static uint64_t
durable_seq(struct kv *k)
{
	uint64_t seq;

	lock_take(&k->view_lock);
	seq = k->seq;
	lock_drop(&k->view_lock);
	return seq;
}

static struct blob_owner
owner_of(struct archive *a, const struct archived *what, char note[128])
{
	return (struct blob_owner){ .class = BLOB_CLASS_INDEX,
		.index_id = *kv_id(a->kv),
		.write_id = id128_new(),
		.note = archived_note(what, note) };
}

static int
note_stored(struct archive *a, struct archived *what,
    const struct blob_info *info, struct err *e)
{
	memcpy(what->id, info->id, sizeof(what->id));
	what->size = info->size;
	what->created_s = info->created_s;
	what->index_id = *kv_id(a->kv);
	return archived_add(&a->list, what, e);
}

/* --- the log --- */

static int
store_chunk(struct archive *a, const struct ilog_chunk *c, struct buf *b,
    struct err *e)
{
	struct archived what = { .epoch = c->epoch,
		.first = c->first_seq,
		.last = c->last_seq };
	struct blob_owner owner;
	struct blob_info info;
	struct blob_put *put;
	char note[128];
	int rc;

	chunk_header(kv_id(a->kv), c, str_skip(buf_str(b), CHUNK_HEADER), b->p);
	owner = owner_of(a, &what, note);
	if (b->len <= CHUNK_BYTES + CHUNK_HEADER) {
		rc = blob_put_whole(a->blob, str_of(""), &owner, buf_str(b),
		    &info, e);
	} else {
		rc = blob_put_begin(a->blob, str_of(""), &owner, b->len, &put,
		    e);
		if (rc < 0)
			return rc;
		rc = blob_put_write(put, b->p, b->len, e);
		if (rc == 0)
			rc = blob_put_commit(&put, &info, e);
		else
			blob_put_abort(&put);
	}
	if (rc == 0)
		rc = note_stored(a, &what, &info, e);
	if (rc == 0) {
		a->log_bytes += b->len;
		a->log_chunks++;
	}
	return rc;
}

/* Archives to @up_to at least. */
static int
push_log(struct archive *a, uint64_t up_to, struct err *e)
{
	static const char zeros[CHUNK_HEADER];
	struct buf b = BUF_CAP(SIZE_MAX / 2);
	struct ilog_chunk c;
	int rc = 0;

	while (a->seq < up_to) {
		buf_reset(&b);
		if (buf_add(&b, zeros, sizeof(zeros)) < 0) {
			rc = err_set(e, ERR_NO_MEMORY, NULL);
			break;
		}
		rc = ilog_read(a->kv->log, a->seq, CHUNK_BYTES, &c, &b, e);
		if (rc == 0)
			rc =
			    err_set(e, ERR_CORRUPT, "the index log ends early");
		if (rc > 0 && c.first_seq > a->seq + 1) {
			a->need_snapshot = true; /* A2 */
			rc = 0;
			break;
		}
		if (rc > 0)
			rc = store_chunk(a, &c, &b, e);
		if (rc < 0)
			break;
		set_seq(a, c.last_seq);
	}
	buf_fini(&b);
	return rc < 0 ? rc : 0;
}

/* --- snapshots --- */

struct upload {
	struct archive *archive;
	int64_t pushed_ns;
	struct blob_put *put;
	struct snapshot_writer *writer;
	struct buf b;
};

/* The log goes on being archived meanwhile: a snapshot may take minutes. */
static int
push_meanwhile(struct upload *u, struct err *e)
{
	struct archive *a = u->archive;
	int64_t now = clock_mono_ns();

	if (a->need_snapshot ||
	    now - u->pushed_ns < a->kv->conf.archive_interval_s * 1000000000ll)
		return 0;
	u->pushed_ns = now;
	return push_log(a, durable_seq(a->kv), e);
}

static int
flush_upload(struct upload *u, struct err *e)
{
	int rc =
	    u->b.len == 0 ? 0 : blob_put_write(u->put, u->b.p, u->b.len, e);

	buf_reset(&u->b);
	return rc;
}

static int
sink(void *arg, const void *p, size_t len, struct err *e)
{
	struct upload *u = arg;
	int rc;

	if (buf_add(&u->b, p, len) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (u->b.len < WRITE_BYTES)
		return 0;
	rc = push_meanwhile(u, e);
	return rc < 0 ? rc : flush_upload(u, e);
}

static int
add_record(void *arg, struct str key, struct str raw, struct err *e)
{
	struct upload *u = arg;

	return snapshot_add(u->writer, key, raw, e);
}

static int
store_snapshot(struct archive *a, uint64_t seq, struct archived *ret_what,
    uint64_t *ret_seq_end, struct err *e)
{
	struct kv *k = a->kv;
	struct archived what = { .is_snapshot = true,
		.epoch = ilog_epoch(k->log),
		.first = seq,
		.last = seq };
	struct snapshot_header h = { .index_id = *kv_id(k),
		.epoch = what.epoch,
		.seq = seq,
		.created_ns = k->created_ns };
	struct upload u = { .archive = a,
		.pushed_ns = clock_mono_ns(),
		.b = BUF_CAP(4u << 20) };
	struct blob_owner owner;
	struct blob_info info;
	char note[128];
	int rc;

	owner = owner_of(a, &what, note);
	rc = blob_put_begin(a->blob, str_of(""), &owner, UINT64_MAX, &u.put, e);
	if (rc < 0)
		return rc;
	rc = snapshot_writer_new(&h, sink, &u, &u.writer, e);
	if (rc == 0)
		rc = kv_stream(k, add_record, &u, &a->stop, ret_seq_end, e);
	if (rc == 0)
		rc = snapshot_finish(u.writer, *ret_seq_end, e);
	if (rc == 0)
		rc = flush_upload(&u, e);
	if (rc == 0)
		rc = blob_put_commit(&u.put, &info, e);
	else
		blob_put_abort(&u.put);
	snapshot_writer_free(&u.writer);
	buf_fini(&u.b);
	if (rc == 0)
		rc = note_stored(a, &what, &info, e);
	if (rc == 0)
		*ret_what = what;
	return rc;
}

/* A1 */
static int
delete_superseded(struct archive *a, const struct archived *by, struct err *e)
{
	struct str ids[DELETE_AT_ONCE];
	size_t at[DELETE_AT_ONCE], n;
	const struct archived *p;
	int rc;

	do {
		n = 0;
		for (size_t i = 0; i < a->list.n && n < DELETE_AT_ONCE; i++) {
			p = &a->list.p[i];
			if (strcmp(p->id, by->id) == 0 ||
			    (!p->is_snapshot && p->epoch >= by->epoch &&
				p->last > by->first))
				continue;
			at[n] = i;
			ids[n++] = str_of(p->id);
		}
		if (n == 0)
			break;
		rc = blob_delete_many(a->blob, ids, n, e);
		if (rc < 0)
			return rc;
		for (size_t i = n; i-- > 0;)
			archived_remove(&a->list, at[i]);
	} while (n == DELETE_AT_ONCE);
	return 0;
}

static int
make_snapshot(struct archive *a, struct err *e)
{
	struct kv *k = a->kv;
	struct archived what;
	uint64_t seq, seq_end = 0, bytes = a->log_bytes, n = a->log_chunks;
	int rc, pin = kv_pin(k, &seq, e);

	if (pin < 0)
		return pin;
	rc = store_snapshot(a, seq, &what, &seq_end, e);
	if (rc == 0) {
		if (a->need_snapshot || a->seq < seq)
			set_seq(a, seq); /* the log goes on from it */
		a->need_snapshot = false;
		a->log_bytes -= bytes;
		a->log_chunks -= n;
		rc = push_log(a, seq_end, e);
	}
	kv_unpin(k, pin);
	if (rc == 0 && !a->need_snapshot)
		rc = delete_superseded(a, &what, e);
	return rc;
}

/* --- what is there already --- */

static int
no_op(struct kv_tx *tx, void *arg, struct err *e)
{
	(void)tx;
	(void)arg;
	(void)e;
	return 0;
}

/* A3 */
static int
branch_off(struct archive *a, uint64_t max_epoch, struct err *e)
{
	struct kv *k = a->kv;
	int rc;

	kv_event(k, 1,
	    "this index is older than what is archived of it: it "
	    "goes on as a restored one");
	rc = kv_set_fresh(k, e);
	if (rc == 0)
		rc = ilog_branch(k->log, max_epoch + 1, e);
	/* Behind this one nothing is appended in the old epoch. */
	if (rc == 0)
		rc = kv_update_flags(k, KV_FREES, no_op, NULL, e);
	if (rc == 0)
		rc = kv_set_epoch(k, max_epoch + 1, e);
	if (rc == 0)
		rc = kv_take(k, max_epoch + 1, e);
	a->need_snapshot = rc == 0;
	return rc;
}

static int
list_archive(struct archive *a, struct err *e)
{
	struct kv *k = a->kv;
	const struct archived *p;
	uint64_t seq = 0, epoch = 0, limit, max_epoch = 0, max_seq = 0;
	int rc;

	archived_fini(&a->list);
	rc = archived_load(a->blob, kv_id(k), &a->list, e);
	if (rc < 0)
		return rc;
	p = archived_snapshot(&a->list, NULL);
	if (p != NULL) {
		seq = p->first;
		epoch = p->epoch;
	}
	a->log_bytes = a->log_chunks = 0;
	for (size_t i = 0; i < a->list.n; i++) {
		p = &a->list.p[i];
		if (p->epoch > max_epoch)
			max_epoch = p->epoch;
		if (p->last > max_seq)
			max_seq = p->last;
		if (!p->is_snapshot && p->last > seq) {
			a->log_bytes += p->size;
			a->log_chunks++;
		}
	}
	while (archived_next(&a->list, epoch, seq, &limit) != NULL)
		seq = limit;
	if (max_epoch >= ilog_epoch(k->log) || max_seq > durable_seq(k)) {
		rc = branch_off(a,
		    max_epoch > ilog_epoch(k->log) ? max_epoch
						   : ilog_epoch(k->log),
		    e);
		if (rc < 0)
			return rc;
		seq = 0;
	}
	if (ilog_oldest(k->log) > seq + 1)
		a->need_snapshot = true;
	set_seq(a, seq);
	a->is_listed = true;
	return 0;
}

/* --- the thread --- */

static int
run(struct archive *a, bool may_snapshot, struct err *e)
{
	uint64_t up_to;
	int rc = 0;

	if (!a->is_listed)
		rc = list_archive(a, e);
	up_to = durable_seq(a->kv);
	if (rc == 0 && !a->need_snapshot)
		rc = push_log(a, up_to, e);
	if (rc == 0 && may_snapshot &&
	    (a->need_snapshot || a->log_bytes >= a->kv->conf.snapshot_every ||
		a->log_chunks >= MAX_CHUNKS))
		rc = make_snapshot(a, e);
	if (rc == 0 && !a->need_snapshot) {
		lock_take(&a->lock);
		a->at_s = clock_real_s();
		lock_drop(&a->lock);
	}
	kv_retire_log(a->kv);
	return rc;
}

static void
report(struct archive *a, int rc, const struct err *e)
{
	bool bad = rc < 0 && rc != ERR_CLOSED;

	if (bad && !a->was_bad)
		kv_event(a->kv, 1, "the index is not archived: %s", e->msg);
	else if (!bad && a->was_bad)
		kv_event(a->kv, 2, "the index is archived again");
	a->was_bad = bad;
}

static void *
archiver_main(void *arg)
{
	struct archive *a = arg;
	int64_t interval = a->kv->conf.archive_interval_s * 1000;
	uint64_t asked;
	struct err e;
	int rc;

	if (interval > INT32_MAX)
		interval = INT32_MAX;
	lock_take(&a->lock);
	for (;;) {
		if (!atomic_load(&a->stop) && a->asked == a->done)
			cond_wait_ms(&a->cond, &a->lock, (int)interval);
		if (atomic_load(&a->stop))
			break;
		asked = a->asked;
		lock_drop(&a->lock);
		e = ERR_INIT;
		rc = run(a, true, &e);
		report(a, rc, &e);
		lock_take(&a->lock);
		a->rc = rc;
		a->err = e;
		a->done = asked;
		cond_broadcast(&a->cond);
	}
	lock_drop(&a->lock);
	return NULL;
}

int
archive_start(struct kv *k, struct err *e)
{
	struct archive *a;
	int rc;

	if (k->conf.archive_interval_s <= 0)
		return 0;
	a = mem_zalloc(sizeof(*a));
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	a->kv = k;
	a->blob = k->conf.archive;
	lock_init(&a->lock, LOCK_RANK_LEAF);
	cond_init(&a->cond);
	lock_take(&k->view_lock);
	k->archive = a;
	lock_drop(&k->view_lock);
	rc = thread_start(&a->thread, "kv-archive", archiver_main, a, e);
	a->has_thread = rc == 0;
	return rc;
}

/* Before the committer stops. */
void
archive_stop_begin(struct kv *k)
{
	struct archive *a = k->archive;

	if (a == NULL || !a->has_thread)
		return;
	lock_take(&a->lock);
	atomic_store(&a->stop, true);
	cond_broadcast(&a->cond);
	lock_drop(&a->lock);
	thread_join(a->thread);
	a->has_thread = false;
}

/* After it, all transactions being in the log. */
void
archive_stop(struct kv *k)
{
	struct archive *a = k->archive;
	struct err e = ERR_INIT;

	if (a == NULL)
		return;
	if (k->has_flusher) /* else it never got to work */
		report(a, run(a, false, &e), &e);
	k->archive = NULL;
	archived_fini(&a->list);
	cond_fini(&a->cond);
	lock_fini(&a->lock);
	mem_free(&a);
}

uint64_t
archive_seq(struct kv *k)
{
	struct archive *a;
	uint64_t seq;

	lock_take(&k->view_lock);
	a = k->archive;
	lock_drop(&k->view_lock);
	if (a == NULL)
		return UINT64_MAX;
	lock_take(&a->lock);
	seq = a->seq;
	lock_drop(&a->lock);
	return seq;
}

void
archive_stat(struct kv *k, uint64_t *ret_seq, int64_t *ret_at_s)
{
	struct archive *a = k->archive;

	*ret_seq = 0;
	*ret_at_s = 0;
	if (a == NULL)
		return;
	lock_take(&a->lock);
	*ret_seq = a->seq;
	*ret_at_s = a->at_s;
	lock_drop(&a->lock);
}

int
kv_archive(struct kv *k, struct err *e)
{
	struct archive *a;
	uint64_t mine;
	int rc;

	OBJ_CHECK(k, KV_MAGIC);
	a = k->archive;
	if (a == NULL)
		return err_set(e, ERR_INVALID, "this index has no archive");
	lock_take(&a->lock);
	mine = ++a->asked;
	cond_broadcast(&a->cond);
	while (a->done < mine && !atomic_load(&a->stop))
		cond_wait(&a->cond, &a->lock);
	rc = a->done >= mine ? a->rc : ERR_CLOSED;
	if (rc < 0 && e != NULL)
		*e = a->err;
	lock_drop(&a->lock);
	return rc;
}
