/* gateway/index/ilog.c - the index log: appending, retiring, and the thread
 * that makes segments ready (gateway/index/ilog.h). */
#include "gateway/index/ilog_priv.h"

#include "lib/fs.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <inttypes.h>
#include <stdio.h>

#define RETRY_MS 500 /* after no segment could be made */
#define PAGE 4096
/* Of a segment: for those that free space, when no next one comes. */
#define KEPT(size) ((size) / 4)

static void note_low(struct ilog *l);

/* One of an older epoch. A file that stays is dropped at the next open. */
static void
drop_spare(struct ilog *l, struct segment **sp)
{
	char name[64], path[4096];

	if (*sp == NULL)
		return;
	segment_name(name, (*sp)->number);
	if (segment_path(l, name, path, NULL) == 0)
		fs_unlink(path, NULL);
	segment_free(sp);
}

static void *
keeper_main(void *arg)
{
	struct ilog *l = arg;
	struct segment *s;
	char recycle[64];
	uint64_t epoch;
	struct err e;
	int rc;

	lock_take(&l->lock);
	while (!l->is_stopping) {
		if (l->spare != NULL || l->is_failed) {
			cond_wait(&l->cond, &l->lock);
			continue;
		}
		if (l->make_err.code != 0 && l->recycle[0] == '\0' &&
		    !l->is_making) {
			cond_wait_ms(&l->cond, &l->lock, RETRY_MS);
			if (l->is_stopping)
				break;
		}
		memcpy(recycle, l->recycle, sizeof(recycle));
		l->recycle[0] = '\0';
		l->is_making = true;
		epoch = l->epoch;
		lock_drop(&l->lock);
		e = ERR_INIT;
		s = NULL;
		rc = segment_make(l, l->next_number, epoch, recycle, &s, &e);
		lock_take(&l->lock);
		l->is_making = false;
		l->make_err = e;
		l->make_err.code = rc;
		if (rc == 0)
			l->next_number++;
		if (rc == 0 && epoch == l->epoch)
			l->spare = s;
		else
			drop_spare(l, &s);
		note_low(l);
		cond_broadcast(&l->cond);
	}
	lock_drop(&l->lock);
	return NULL;
}

int
ilog_open(const struct ilog_conf *c, ilog_replay_fn fn, void *arg,
    struct ilog **ret, struct err *e)
{
	struct ilog *l = mem_zalloc(sizeof(*l));
	int rc;

	if (l == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	l->magic = ILOG_MAGIC;
	lock_init(&l->lock, LOCK_RANK_LEAF);
	cond_init(&l->cond);
	l->index_id = c->index_id;
	l->segment_size =
	    c->segment < ILOG_SEGMENT_MIN ? ILOG_SEGMENT_MIN : c->segment;
	l->next_number = 1;
	if ((size_t)snprintf(l->dir, sizeof(l->dir), "%s", c->dir) >=
	    sizeof(l->dir)) {
		rc = err_set(e, ERR_TOO_BIG, "path too long: %.200s", c->dir);
		goto out_close;
	}
	rc = fs_mkdir_p(l->dir, e);
	if (rc == 0)
		rc = ilog_recover(l, c, fn, arg, e);
	if (rc == 0)
		rc = thread_start(&l->keeper, "kv-log", keeper_main, l, e);
	if (rc != 0)
		goto out_close;
	l->has_keeper = true;
	*ret = l;
	return 0;
out_close:
	ilog_close(&l);
	return rc;
}

void
ilog_close(struct ilog **lp)
{
	struct ilog *l = *lp;
	struct segment *s;

	*lp = NULL;
	if (l == NULL)
		return;
	OBJ_CHECK(l, ILOG_MAGIC);
	if (l->has_keeper) {
		lock_take(&l->lock);
		l->is_stopping = true;
		cond_broadcast(&l->cond);
		lock_drop(&l->lock);
		thread_join(l->keeper);
	}
	while ((s = l->first) != NULL) {
		l->first = s->next;
		segment_free(&s);
	}
	segment_free(&l->spare);
	cond_fini(&l->cond);
	lock_fini(&l->lock);
	l->magic = 0;
	mem_free(&l);
}

uint64_t
ilog_epoch(struct ilog *l)
{
	uint64_t epoch;

	lock_take(&l->lock);
	epoch = l->epoch;
	lock_drop(&l->lock);
	return epoch;
}

int
ilog_branch(struct ilog *l, uint64_t epoch, struct err *e)
{
	struct segment *spare;

	OBJ_CHECK(l, ILOG_MAGIC);
	lock_take(&l->lock);
	if (epoch <= l->epoch) {
		lock_drop(&l->lock);
		return err_set(e, ERR_INVALID, "epoch %ju after %ju",
		    (uintmax_t)epoch, (uintmax_t)l->epoch);
	}
	l->epoch = epoch;
	spare = l->spare;
	l->spare = NULL;
	note_low(l);
	lock_drop(&l->lock);
	drop_spare(l, &spare);
	lock_take(&l->lock);
	cond_broadcast(&l->cond);
	lock_drop(&l->lock);
	return 0;
}

uint64_t
ilog_seq(struct ilog *l)
{
	uint64_t seq;

	lock_take(&l->lock);
	seq = l->seq;
	lock_drop(&l->lock);
	return seq;
}

size_t
ilog_max_payload(const struct ilog *l)
{
	return (size_t)l->segment_size - ILOG_SEGMENT_HEADER -
	       ILOG_FRAME_HEADER - 8;
}

bool
ilog_is_failed(struct ilog *l)
{
	bool r;

	lock_take(&l->lock);
	r = l->is_failed;
	lock_drop(&l->lock);
	return r;
}

bool
ilog_is_low(struct ilog *l)
{
	return atomic_load_explicit(&l->is_low, memory_order_relaxed);
}

/* Under the lock, after each change of what it depends on. */
static void
note_low(struct ilog *l)
{
	atomic_store_explicit(&l->is_low,
	    l->spare == NULL && l->make_err.code != 0, memory_order_relaxed);
}

size_t
ilog_room(struct ilog *l)
{
	uint64_t left;

	lock_take(&l->lock);
	left = l->active->size - l->active->end;
	if (l->spare != NULL || l->make_err.code == 0)
		left = l->segment_size - ILOG_SEGMENT_HEADER;
	lock_drop(&l->lock);
	return left < ILOG_FRAME_HEADER + 8
	           ? 0
	           : (size_t)left - ILOG_FRAME_HEADER - 8;
}

uint64_t
ilog_bytes(struct ilog *l)
{
	uint64_t sum = 0;

	lock_take(&l->lock);
	for (struct segment *s = l->first; s != NULL; s = s->next)
		sum += s->size;
	if (l->spare != NULL)
		sum += l->spare->size;
	if (l->recycle[0] != '\0')
		sum += l->segment_size;
	lock_drop(&l->lock);
	return sum;
}

/* The next segment becomes the active one. */
static int
switch_segment(struct ilog *l, struct err *e)
{
	int rc = 0;

	lock_take(&l->lock);
	while (l->spare == NULL && (l->is_making || l->make_err.code == 0) &&
	       !l->is_failed) {
		cond_broadcast(&l->cond);
		cond_wait(&l->cond, &l->lock);
	}
	if (l->spare != NULL) {
		l->active->next = l->spare;
		l->active = l->spare;
		l->spare = NULL;
		note_low(l);
		cond_broadcast(&l->cond);
	} else if (l->make_err.code == ERR_NO_SPACE) {
		rc = err_set(e, ERR_NO_SPACE, "index log: %s", l->make_err.msg);
	} else {
		rc = err_set(e, ERR_FAILED, "index log: %s", l->make_err.msg);
		l->is_failed = true;
	}
	lock_drop(&l->lock);
	return rc;
}

/* L5: that there will be no next segment is known while there is room in this one,
 * however late its maker gets to run. */
static void
await_verdict(struct ilog *l)
{
	lock_take(&l->lock);
	while (l->spare == NULL && l->make_err.code == 0 && !l->is_failed) {
		cond_broadcast(&l->cond);
		cond_wait(&l->cond, &l->lock);
	}
	lock_drop(&l->lock);
}

/* L4 */
static int
set_failed(struct ilog *l, struct segment *s, struct err *e)
{
	char why[sizeof(e->msg)] = "";

	lock_take(&l->lock);
	l->is_failed = true;
	lock_drop(&l->lock);
	/* Nobody was told of it: best that it is not found again either. What
	 * comes of this changes nothing, the log is failed. */
	fs_truncate(s->fd, s->end, NULL);
	if (e != NULL)
		snprintf(why, sizeof(why), "%s", e->msg);
	return err_set(e, ERR_FAILED, "index log: %.200s", why);
}

int
ilog_append(struct ilog *l, uint64_t first_seq, uint32_t n_tx,
    struct buf *frame, struct err *e)
{
	struct segment *s;
	size_t size, whole;
	int rc;

	OBJ_CHECK(l, ILOG_MAGIC);
	MUST(n_tx > 0 && first_seq == l->seq + 1); /* L2 */
	MUST(frame->len <= ilog_max_payload(l) + ILOG_FRAME_HEADER);
	if (l->is_failed)
		return err_set(e, ERR_FAILED, "the index log has failed");
	size = (frame->len + 7) & ~(size_t)7;
	rc = buf_reserve(frame, 8 + PAGE);
	if (rc < 0)
		return err_set(e, rc, NULL);
	s = l->active;
	if (size > s->size - s->end || s->epoch != ilog_epoch(l)) {
		rc = switch_segment(l, e);
		if (rc < 0)
			return rc;
		s = l->active;
	}
	if (s->end + size > s->size - KEPT(s->size))
		await_verdict(l);
	ilog_frame_seal(frame, s->salt, s->end, first_seq, n_tx);
	/* Zero up to the page's end: half of one that is not in memory any more
	 * would have to be read from disk before it is written. */
	whole = size + (-(s->end + size) & (PAGE - 1));
	if (whole > s->size - s->end)
		whole = size;
	memset(frame->p + frame->len, 0, whole - frame->len);
	rc = fs_pwrite_all(s->fd, (struct str){ frame->p, whole }, s->end, e);
	if (rc == ERR_NO_SPACE)
		return rc;
	if (rc == 0)
		rc = fs_fdatasync(s->fd, e);
	if (rc < 0)
		return set_failed(l, s, e);
	lock_take(&l->lock);
	s->end += size;
	if (s->first_seq == 0)
		s->first_seq = first_seq;
	s->last_seq = l->seq = first_seq + n_tx - 1;
	lock_drop(&l->lock);
	return 0;
}

/* Takes the first segment off the list if it is not needed. */
static struct segment *
take_retired(struct ilog *l, uint64_t seq)
{
	struct segment *s = NULL;

	lock_take(&l->lock);
	if (l->first != l->active && l->first->last_seq <= seq) {
		s = l->first;
		l->first = s->next;
	}
	lock_drop(&l->lock);
	return s;
}

int
ilog_retire(struct ilog *l, uint64_t seq, struct err *e)
{
	char name[64], recycled[80], path[4096], to[4096];
	struct segment *s;
	bool reuse;
	int rc = 0, err;

	OBJ_CHECK(l, ILOG_MAGIC);
	while ((s = take_retired(l, seq)) != NULL) {
		lock_take(&l->lock);
		reuse = l->recycle[0] == '\0' && s->size == l->segment_size;
		lock_drop(&l->lock);
		segment_name(name, s->number);
		snprintf(recycled, sizeof(recycled), "recycle-%s", name);
		err = segment_path(l, name, path, e);
		if (err == 0 && reuse) {
			err = segment_path(l, recycled, to, e);
			if (err == 0)
				err = fs_rename(path, to, e);
			if (err == 0) {
				lock_take(&l->lock);
				memcpy(l->recycle, recycled,
				    sizeof(l->recycle));
				cond_broadcast(&l->cond);
				lock_drop(&l->lock);
			}
		} else if (err == 0) {
			err = fs_unlink(path, e);
		}
		/* A file left over is found and dropped at the next open. */
		if (err < 0)
			rc = err;
		segment_free(&s);
	}
	return rc;
}

uint64_t
ilog_oldest(struct ilog *l)
{
	struct segment *s;
	uint64_t seq;

	lock_take(&l->lock);
	for (s = l->first; s != NULL && s->first_seq == 0; s = s->next)
		;
	seq = s != NULL ? s->first_seq : l->seq + 1;
	lock_drop(&l->lock);
	return seq;
}
