/* gateway/index/kv_copy.c - copying an index under way; kv_backup(). */
#include "gateway/index/kv_copy.h"

#include "gateway/index/chunk.h"
#include "gateway/index/kv_build.h"
#include "lib/mem.h"

#define VIEW_RECORDS 2048
#define VIEW_BYTES (1u << 20)
#define LOG_READ (1u << 20)

typedef int (
    *record_fn)(void *arg, struct str key, struct str raw, struct err *e);

/* One view's worth of records after *last (from it on, when @is_first).
 * *ret_more: there are more. */
static int
stream_view(struct kv *k, struct buf *last, bool is_first, record_fn fn,
    void *arg, bool *ret_more, uint64_t *ret_seq, struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_view *v;
	struct str key, value;
	size_t n = 0, bytes = 0;
	int rc;

	rc = kv_view_open(k, &v, e);
	if (rc < 0)
		return rc;
	*ret_seq = v->seq;
	rc = kv_cursor_open(v, buf_str(last), STR_NULL, &c, e);
	while (rc == 0 && (rc = kv_cursor_next(c, &key, &value, e)) > 0) {
		rc = 0;
		if (!is_first && n == 0 && str_eq(key, buf_str(last)))
			continue; /* where the view before ended */
		/* The stored form lies before the value. */
		rc = fn(arg, key,
		    (struct str){ value.p - RAW_SUM, value.len + RAW_SUM }, e);
		bytes += key.len + value.len;
		if (rc == 0 && (++n >= VIEW_RECORDS || bytes >= VIEW_BYTES)) {
			buf_reset(last);
			if (buf_adds(last, key) < 0)
				rc = err_set(e, ERR_NO_MEMORY, NULL);
			*ret_more = true;
			break;
		}
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	return rc;
}

int
kv_stream(struct kv *k, record_fn fn, void *arg, const _Atomic bool *stop,
    uint64_t *ret_seq_end, struct err *e)
{
	struct buf last = BUF_CAP(KV_KEY_MAX);
	bool more = true, first = true;
	int rc = 0;

	while (rc == 0 && more) {
		if (stop != NULL && atomic_load(stop)) {
			rc = err_set(e, ERR_CLOSED, "the index is closing");
			break;
		}
		more = false;
		rc = stream_view(k, &last, first, fn, arg, &more, ret_seq_end,
		    e);
		first = false;
	}
	buf_fini(&last);
	return rc;
}

/* Frames from the log with transactions above @after, to @up_to at least. The
 * caller has them pinned. */
static int
stream_log(struct kv *k, uint64_t after, uint64_t up_to, ilog_replay_fn fn,
    void *arg, struct err *e)
{
	struct buf b = BUF_CAP(SIZE_MAX / 2);
	struct ilog_chunk c;
	int rc = 0;

	while (after < up_to) {
		buf_reset(&b);
		rc = ilog_read(k->log, after, LOG_READ, &c, &b, e);
		if (rc == 0)
			rc = err_set(e, ERR_CORRUPT,
			    "the index log ends at "
			    "transaction %ju",
			    (uintmax_t)after);
		if (rc > 0)
			rc = chunk_replay(&c, buf_str(&b), after, fn, arg, e);
		if (rc < 0)
			break;
		after = c.last_seq;
	}
	buf_fini(&b);
	return rc < 0 ? rc : 0;
}

/* --- backup --- */

struct backup {
	struct kv_build *build;
	uint64_t after, last;
};

static int
backup_record(void *arg, struct str key, struct str raw, struct err *e)
{
	struct backup *b = arg;

	return kv_build_add(b->build, key, raw, e);
}

static int
backup_frame(void *arg, uint64_t first_seq, uint32_t n_tx, struct str payload,
    struct err *e)
{
	struct backup *b = arg;

	b->last = first_seq + n_tx - 1;
	return kv_build_apply(b->build, first_seq, payload, b->after,
	    UINT64_MAX, e);
}

int
kv_backup(struct kv *k, const char *to_dir, struct err *e)
{
	struct backup b = { 0 };
	uint64_t seq_end = 0;
	int rc, pin;

	OBJ_CHECK(k, KV_MAGIC);
	pin = kv_pin(k, &b.after, e);
	if (pin < 0)
		return pin;
	b.last = b.after;
	rc = kv_build_begin(to_dir, tree_map_size(k->tree), &b.build, e);
	if (rc == 0)
		rc = kv_stream(k, backup_record, &b, NULL, &seq_end, e);
	if (rc == 0)
		rc = stream_log(k, b.after, seq_end, backup_frame, &b, e);
	if (rc == 0)
		rc = kv_build_finish(b.build, kv_id(k), ilog_epoch(k->log),
		    b.last, k->created_ns, k->conf.log_segment, e);
	kv_build_close(&b.build);
	kv_unpin(k, pin);
	return rc;
}
