/* gateway/index/kv.c - opening, closing and looking after the index
 * (gateway/index/kv.h). */
#include "gateway/index/kv_build.h"
#include "gateway/index/kv_priv.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <stdarg.h>
#include <stdio.h>

#define DEFAULT_MAP ((uint64_t)64 << 30)
#define DEFAULT_TABLE ((uint64_t)32 << 20)
#define DEFAULT_SEGMENT ((uint64_t)16 << 20)
#define DEFAULT_SNAPSHOT ((uint64_t)1 << 30)
#define DEFAULT_IDLE_MS 3000
#define LOG_KEEP_MAX ((uint64_t)1 << 30)
#define MIN_TABLE ((uint64_t)8 << 10)

void
kv_event(struct kv *k, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (k->conf.event == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->conf.event(k->conf.event_arg, level, text);
}

static int
read_conf(struct kv *k, const struct kv_conf *c, struct err *e)
{
	k->conf = *c;
	if (k->conf.map_size == 0)
		k->conf.map_size = DEFAULT_MAP;
	if (k->conf.table_max == 0)
		k->conf.table_max = DEFAULT_TABLE;
	if (k->conf.table_max < MIN_TABLE)
		k->conf.table_max = MIN_TABLE;
	if (k->conf.log_segment == 0)
		k->conf.log_segment = DEFAULT_SEGMENT;
	if (k->conf.snapshot_every == 0)
		k->conf.snapshot_every = DEFAULT_SNAPSHOT;
	if (k->conf.idle_flush_ms == 0)
		k->conf.idle_flush_ms = DEFAULT_IDLE_MS;
	if ((size_t)snprintf(k->dir, sizeof(k->dir), "%s", c->dir) >=
	    sizeof(k->dir))
		return err_set(e, ERR_TOO_BIG, "path too long: %.200s", c->dir);
	k->conf.dir = k->dir;
	return fs_join(k->log_dir, sizeof(k->log_dir), k->dir, "log", e);
}

static int
has_log(void *arg, const char *name)
{
	(void)arg;
	return str_has_suffix(str_of(name), STR_LIT(".log")) ? 1 : 0;
}

static int
open_tree(struct kv *k, struct err *e)
{
	char path[4096];
	int rc;

	rc = fs_join(path, sizeof(path), k->dir, KV_BUILDING, e);
	if (rc == 0 && fs_exists(path))
		rc = err_set(e, ERR_CONFIG,
		    "%.150s is a half-made index: "
		    "rebuild or backup was interrupted, run it again",
		    k->dir);
	if (rc == 0)
		rc = fs_join(path, sizeof(path), k->dir, "index.lmdb", e);
	if (rc < 0)
		return rc;
	rc = tree_open(path, k->conf.map_size, false, &k->meta, &k->tree, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	/* A new index only where there was none. */
	if (fs_exists(k->log_dir)) {
		rc = fs_each(k->log_dir, has_log, NULL, e);
		if (rc < 0)
			return rc;
		if (rc > 0)
			return err_set(e, ERR_CORRUPT,
			    "%.100s has an index "
			    "log but no index",
			    k->dir);
	}
	if (k->conf.is_expected)
		return err_set(e, ERR_CONFIG,
		    "%.100s holds no index, but there is data that belongs to "
		    "one: mount its disk, or `creel admin rebuild index`",
		    k->dir);
	k->meta = (struct tree_meta){ .index_id = id128_new(),
		.created_ns = clock_real_ns(),
		.is_fresh = true };
	return tree_open(path, k->conf.map_size, true, &k->meta, &k->tree, e);
}

/* Changes the meta record: @set on it, then durable. */
static int
change_meta(struct kv *k, void (*set)(struct tree_meta *m, uint64_t v),
    uint64_t v, struct err *e)
{
	struct tree_meta meta;
	struct tree_writer *w;
	int rc;

	lock_take(&k->tree_lock);
	lock_take(&k->meta_lock);
	meta = k->meta;
	lock_drop(&k->meta_lock);
	set(&meta, v);
	rc = tree_write_begin(k->tree, &w, e);
	if (rc == 0)
		rc = tree_write_commit(&w, &meta, e);
	if (rc == 0) {
		lock_take(&k->meta_lock);
		k->meta = meta;
		lock_drop(&k->meta_lock);
	}
	lock_drop(&k->tree_lock);
	return rc == TREE_MAP_FULL ? err_set(e, ERR_BUSY, "index map full")
	                           : rc;
}

static void
set_epoch(struct tree_meta *m, uint64_t v)
{
	m->epoch = v;
}

static void
set_fresh(struct tree_meta *m, uint64_t v)
{
	m->is_fresh = v != 0;
}

static int
check_owner(struct kv *k, struct err *e)
{
	const struct kv_owner *o = k->conf.owner;
	uint64_t newest = 0;
	int rc;

	if (o == NULL)
		return 0;
	rc = o->newest(k->conf.owner_arg, &k->id, &newest, e);
	if (rc < 0 || newest <= k->meta.epoch)
		return rc;
	return err_set(e, ERR_ACCESS_DENIED,
	    "%.100s is an older copy of the index (epoch %ju; the newest is "
	    "%ju): use the newest one, or move this away and `creel admin "
	    "rebuild index`",
	    k->dir, (uintmax_t)k->meta.epoch, (uintmax_t)newest);
}

int
kv_take(struct kv *k, uint64_t epoch, struct err *e)
{
	const struct kv_owner *o = k->conf.owner;

	return o == NULL ? 0 : o->take(k->conf.owner_arg, &k->id, epoch, e);
}

static int
open_log(struct kv *k, struct err *e)
{
	struct ilog_conf c = {
		.dir = k->log_dir,
		.index_id = k->meta.index_id,
		.segment = k->conf.log_segment,
		.epoch = k->meta.epoch,
		.flushed_seq = k->meta.flushed_seq,
	};
	int rc;

	k->id = k->meta.index_id;
	k->created_ns = k->meta.created_ns;
	k->seq = k->flushed_seq = k->active_base = k->meta.flushed_seq;
	rc = check_owner(k, e);
	if (rc == 0)
		rc = ilog_open(&c, kv_replay, k, &k->log, e);
	if (rc != 0)
		return rc;
	/* Only now that the log has the epoch: see ilog_recover(). */
	rc = change_meta(k, set_epoch, ilog_epoch(k->log), e);
	return rc == 0 ? kv_take(k, ilog_epoch(k->log), e) : rc;
}

static int
start(struct kv *k, struct err *e)
{
	int rc = 0;

	/* First, so that no log is retired that is not archived. */
	if (k->conf.archive != NULL)
		rc = archive_start(k, e);
	if (rc == 0)
		rc = thread_start(&k->committer, "kv-commit", kv_committer_main,
		    k, e);
	if (rc < 0)
		return rc;
	k->has_committer = true;
	rc = thread_start(&k->flusher, "kv-flush", kv_flusher_main, k, e);
	if (rc == 0)
		k->has_flusher = true;
	return rc;
}

static void
init(struct kv *k)
{
	k->magic = KV_MAGIC;
	k->lock_fd = -1;
	k->queue_end = &k->queue;
	lock_init(&k->meta_lock, LOCK_RANK_LEAF);
	lock_init(&k->tree_lock, LOCK_RANK_KV_TREE);
	lock_init(&k->queue_lock, LOCK_RANK_KV_QUEUE);
	lock_init(&k->view_lock, LOCK_RANK_KV_VIEW);
	cond_init(&k->work);
	cond_init(&k->room);
	cond_init(&k->flush);
	cond_init(&k->views_gone);
	cond_init(&k->grown);
	for (size_t i = 0; i < sizeof(k->pins) / sizeof(k->pins[0]); i++)
		k->pins[i] = KV_PIN_NONE;
}

/* What can be done about an index that cannot be used. */
static void
advise(int rc, struct err *e)
{
	char msg[sizeof(e->msg)];

	if (rc != ERR_CORRUPT || e == NULL)
		return;
	memcpy(msg, e->msg, sizeof(msg));
	err_set(e, rc,
	    "%.150s; move the index's directory away, then `creel admin "
	    "rebuild index`",
	    msg);
}

int
kv_open(const struct kv_conf *c, struct kv **ret, struct err *e)
{
	struct kv *k = mem_zalloc(sizeof(*k));
	char path[4096];
	int rc;

	if (k == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	init(k);
	rc = read_conf(k, c, e);
	if (rc == 0)
		rc = fs_mkdir_p(k->dir, e);
	if (rc == 0)
		rc = fs_join(path, sizeof(path), k->dir, "lock", e);
	if (rc == 0)
		rc = fs_lock(path, &k->lock_fd, e);
	if (rc == 0) {
		k->active = table_new();
		if (k->active == NULL)
			rc = err_set(e, ERR_NO_MEMORY, NULL);
	}
	if (rc == 0)
		rc = open_tree(k, e);
	if (rc == 0)
		rc = open_log(k, e);
	if (rc == 0) {
		k->frame = BUF_CAP(ilog_max_payload(k->log) * 2 + (1u << 20));
		if (buf_reserve(&k->frame, ILOG_FRAME_HEADER) < 0)
			rc = err_set(e, ERR_NO_MEMORY, NULL);
	}
	if (rc == 0) {
		memset(k->frame.p, 0, ILOG_FRAME_HEADER);
		k->last_write_ns = clock_mono_ns();
		rc = start(k, e);
	}
	if (rc != 0) {
		advise(rc, e);
		kv_close(&k);
		return rc;
	}
	*ret = k;
	return 0;
}

void
kv_close(struct kv **kp)
{
	struct kv *k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	OBJ_CHECK(k, KV_MAGIC);
	archive_stop_begin(k);
	lock_take(&k->queue_lock);
	k->is_closing = true;
	cond_broadcast(&k->work);
	cond_broadcast(&k->room);
	cond_broadcast(&k->flush);
	lock_drop(&k->queue_lock);
	if (k->has_committer)
		thread_join(k->committer);
	if (k->has_flusher)
		thread_join(k->flusher);
	archive_stop(k);
	kv_view_pool_free(k);
	MUST(k->n_views == 0);
	table_unref(&k->active);
	table_unref(&k->flushing);
	ilog_close(&k->log);
	tree_close(&k->tree);
	fs_close(&k->lock_fd);
	buf_fini(&k->frame);
	cond_fini(&k->work);
	cond_fini(&k->room);
	cond_fini(&k->flush);
	cond_fini(&k->views_gone);
	cond_fini(&k->grown);
	lock_fini(&k->view_lock);
	lock_fini(&k->queue_lock);
	lock_fini(&k->meta_lock);
	lock_fini(&k->tree_lock);
	k->magic = 0;
	mem_free(&k);
}

const struct id128 *
kv_id(const struct kv *k)
{
	OBJ_CHECK(k, KV_MAGIC);
	return &k->id;
}

bool
kv_is_fresh(struct kv *k)
{
	bool r;

	OBJ_CHECK(k, KV_MAGIC);
	lock_take(&k->meta_lock);
	r = k->meta.is_fresh;
	lock_drop(&k->meta_lock);
	return r;
}

int
kv_clear_fresh(struct kv *k, struct err *e)
{
	OBJ_CHECK(k, KV_MAGIC);
	return change_meta(k, set_fresh, 0, e);
}

int
kv_set_fresh(struct kv *k, struct err *e)
{
	return change_meta(k, set_fresh, 1, e);
}

int
kv_set_epoch(struct kv *k, uint64_t epoch, struct err *e)
{
	return change_meta(k, set_epoch, epoch, e);
}

int
kv_pin(struct kv *k, uint64_t *ret_seq, struct err *e)
{
	int pin = -1;

	lock_take(&k->view_lock);
	for (int i = 0; i < 4 && pin < 0; i++) {
		if (k->pins[i] == KV_PIN_NONE) {
			k->pins[i] = *ret_seq = k->seq;
			pin = i;
		}
	}
	lock_drop(&k->view_lock);
	return pin >= 0 ? pin : err_set(e, ERR_BUSY, "index: too many copies");
}

void
kv_unpin(struct kv *k, int pin)
{
	lock_take(&k->view_lock);
	k->pins[pin] = KV_PIN_NONE;
	lock_drop(&k->view_lock);
	kv_retire_log(k);
}

void
kv_retire_log(struct kv *k)
{
	struct err e = ERR_INIT;
	uint64_t seq, archived = archive_seq(k);

	lock_take(&k->view_lock);
	seq = k->flushed_seq;
	for (int i = 0; i < 4; i++) {
		if (k->pins[i] < seq)
			seq = k->pins[i];
	}
	lock_drop(&k->view_lock);
	/* A2: rather a new snapshot than a full disk. */
	if (archived < seq && ilog_bytes(k->log) < LOG_KEEP_MAX)
		seq = archived;
	if (ilog_retire(k->log, seq, &e) < 0)
		kv_event(k, 1, "index log: %s", e.msg);
}

void
kv_get_stat(struct kv *k, struct kv_stat *ret)
{
	struct kv_view *v;

	OBJ_CHECK(k, KV_MAGIC);
	memset(ret, 0, sizeof(*ret));
	if (kv_view_open(k, &v, NULL) == 0) {
		ret->records = tree_records(v->reader);
		ret->lmdb_bytes = tree_bytes(v->reader);
		kv_view_close(&v);
	}
	ret->log_bytes = ilog_bytes(k->log);
	lock_take(&k->view_lock);
	ret->table_bytes = table_bytes(k->active);
	if (k->flushing != NULL)
		ret->table_bytes += table_bytes(k->flushing);
	ret->seq = k->seq;
	ret->flushed_seq = k->flushed_seq;
	lock_drop(&k->view_lock);
	archive_stat(k, &ret->archived_seq, &ret->archived_at_s);
	ret->has_archive = k->archive != NULL;
	ret->is_failed = atomic_load(&k->is_failed);
	ret->is_lost =
	    k->conf.owner != NULL && k->conf.owner->is_lost(k->conf.owner_arg);
}
