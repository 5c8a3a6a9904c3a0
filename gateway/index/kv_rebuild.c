/* gateway/index/kv_rebuild.c - an index from what the storage keeps of it:
 * kv_rebuild() (gateway/index/kv.h).
 *
 * All is read once before the index is taken from whoever had it: what turns out
 * to be of no use leaves him in peace. What he archived until then is read
 * after it. */
#include "gateway/index/chunk.h"
#include "gateway/index/kv_build.h"
#include "gateway/index/kv_priv.h"
#include "gateway/index/snapshot.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <stdio.h>

#define MAP_MIN ((uint64_t)64 << 30)

struct rebuild {
	const struct kv_conf *conf;
	struct blob *blob;
	struct kv_build *build;
	struct id128 index_id;
	struct archived_list list;
	bool *skip; /* snapshots that are of no use */
	int64_t created_ns;
	uint64_t seq, limit; /* applied; of the chunk at hand */
};

static void
event(const struct rebuild *r, int level, const char *text)
{
	if (r->conf->event != NULL)
		r->conf->event(r->conf->event_arg, level, text);
}

struct blob_source {
	struct blob_file *file;
	uint64_t off;
};

static int
read_blob(void *arg, void *p, size_t len, size_t *ret_len, struct err *e)
{
	struct blob_source *s = arg;
	int rc;

	*ret_len = 0;
	if (s->off >= blob_size(s->file))
		return 0;
	rc = blob_read(s->file, s->off, p, len, ret_len, e);
	if (rc == 0)
		s->off += *ret_len;
	return rc;
}

/* *ret_seq_end: the log has to reach there. */
static int
load_snapshot(struct rebuild *r, const struct archived *a,
    uint64_t *ret_seq_end, struct err *e)
{
	struct snapshot_reader *reader = NULL;
	struct snapshot_header h;
	struct snapshot_end end;
	struct blob_source s = { 0 };
	struct str key, raw;
	int rc;

	rc = blob_open(r->blob, str_of(a->id), &s.file, e);
	if (rc < 0)
		return rc;
	rc = snapshot_reader_new(read_blob, &s, &h, &reader, e);
	if (rc == 0 &&
	    (!id128_eq(&h.index_id, &r->index_id) || h.seq != a->first))
		rc = err_set(e, ERR_CORRUPT, "a snapshot of something else");
	while (rc == 0 && (rc = snapshot_next(reader, &key, &raw, &end, e)) > 0)
		rc = kv_build_add(r->build, key, raw, e);
	if (rc == 0) {
		r->created_ns = h.created_ns;
		r->seq = h.seq;
		*ret_seq_end = end.seq_end;
	}
	snapshot_reader_free(&reader);
	blob_file_close(&s.file);
	return rc;
}

static int
apply_frame(void *arg, uint64_t first_seq, uint32_t n_tx, struct str payload,
    struct err *e)
{
	struct rebuild *r = arg;
	uint64_t last = first_seq + n_tx - 1;
	int rc;

	if (first_seq > r->limit)
		return 0;
	rc = kv_build_apply(r->build, first_seq, payload, r->seq, r->limit, e);
	if (rc == 0)
		r->seq = last < r->limit ? last : r->limit;
	return rc;
}

static int
load_blob(struct rebuild *r, const struct archived *a, struct buf *b,
    struct err *e)
{
	struct blob_file *f;
	size_t len, got = 0;
	int rc;

	rc = blob_open(r->blob, str_of(a->id), &f, e);
	if (rc < 0)
		return rc;
	len = (size_t)blob_size(f);
	buf_reset(b);
	rc = buf_reserve(b, len);
	if (rc < 0)
		rc = err_set(e, rc, "archived index log");
	while (rc == 0 && b->len < len) {
		rc = blob_read(f, b->len, b->p + b->len, len - b->len, &got, e);
		if (rc == 0 && got == 0)
			rc = err_set(e, ERR_CORRUPT, "a blob is cut short");
		b->len += got;
	}
	blob_file_close(&f);
	return rc;
}

static int
apply_chunk(struct rebuild *r, const struct archived *a, struct err *e)
{
	struct buf b = BUF_CAP(SIZE_MAX / 2);
	struct ilog_chunk c;
	struct id128 id;
	struct str frames;
	int rc;

	rc = load_blob(r, a, &b, e);
	if (rc == 0)
		rc = chunk_parse(buf_str(&b), &id, &c, &frames, e);
	if (rc == 0 && (!id128_eq(&id, &r->index_id) || c.epoch != a->epoch ||
			   c.first_seq != a->first || c.last_seq != a->last))
		rc = err_set(e, ERR_CORRUPT, "a part of another index's log");
	if (rc == 0)
		rc = chunk_replay(&c, frames, r->seq, apply_frame, r, e);
	buf_fini(&b);
	return rc;
}

static bool
is_bad_data(int rc)
{
	return rc == ERR_CORRUPT || rc == ERR_NOT_FOUND || rc == ERR_VERSION;
}

/* From one snapshot (NULL: from nothing) as far as the log goes. ERR_CORRUPT
 * when that is not far enough. */
static int
try(struct rebuild *r, const struct archived *snapshot, struct err *e)
{
	uint64_t seq_end = 0, epoch = 0, max = 0;
	const struct archived *a;
	char text[400];
	int rc = 0;

	r->seq = 0;
	if (snapshot != NULL) {
		epoch = snapshot->epoch;
		rc = load_snapshot(r, snapshot, &seq_end, e);
	}
	while (rc == 0 &&
	       (a = archived_next(&r->list, epoch, r->seq, &r->limit)) != NULL)
		rc = apply_chunk(r, a, e);
	if (rc < 0 && (!is_bad_data(rc) || r->seq < seq_end || r->seq == 0))
		return rc;
	if (r->seq < seq_end || (snapshot == NULL && r->seq == 0))
		return err_set(e, ERR_CORRUPT,
		    "the archived log does not "
		    "reach transaction %ju",
		    (uintmax_t)seq_end);
	for (size_t i = 0; i < r->list.n; i++) {
		if (r->list.p[i].epoch >= epoch && r->list.p[i].last > max)
			max = r->list.p[i].last;
	}
	if (rc < 0 || max > r->seq) {
		snprintf(text, sizeof(text),
		    "rebuilt up to transaction %ju; "
		    "what follows, up to %ju, cannot be read: %.200s",
		    (uintmax_t)r->seq, (uintmax_t)max,
		    rc < 0 ? e->msg : "a part is missing");
		event(r, 1, text);
	}
	return 0;
}

static int
choose(struct rebuild *r, const struct id128 *index_id, struct err *e)
{
	struct archived_list *l = &r->list;
	int64_t newest = INT64_MIN;
	int rc = archived_load(r->blob, index_id, l, e);

	if (rc < 0)
		return rc;
	if (l->n == 0)
		return err_set(e, ERR_NOT_FOUND,
		    "the storage holds no copy of an index");
	for (size_t i = 0; i < l->n; i++) {
		if (l->p[i].created_s > newest) {
			newest = l->p[i].created_s;
			r->index_id = l->p[i].index_id;
		}
	}
	for (size_t i = l->n; i-- > 0;) {
		if (!id128_eq(&l->p[i].index_id, &r->index_id))
			archived_remove(l, i);
	}
	r->skip = mem_zalloc(l->n * sizeof(*r->skip));
	return r->skip == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;
}

/* From the newest snapshot that is of use. */
static int
read_all(struct rebuild *r, struct err *e)
{
	const struct archived *snapshot;
	char text[400];
	int rc;

	for (;;) {
		snapshot = archived_snapshot(&r->list, r->skip);
		rc = try(r, snapshot, e);
		if (rc == 0 || snapshot == NULL || !is_bad_data(rc))
			return rc;
		snprintf(text, sizeof(text),
		    "the snapshot at transaction %ju is of no use: %.250s",
		    (uintmax_t)snapshot->first, e->msg);
		event(r, 1, text);
		r->skip[snapshot - r->list.p] = true;
		rc = kv_build_reset(r->build, e);
		if (rc < 0)
			return rc;
	}
}

static bool
is_same(const struct archived_list *a, const struct archived_list *b)
{
	bool yes = a->n == b->n;

	for (size_t i = 0; yes && i < a->n; i++)
		yes = strcmp(a->p[i].id, b->p[i].id) == 0;
	return yes;
}

/* What was archived since the first reading is in it as well, then. */
static int
take(struct rebuild *r, uint64_t epoch, struct err *e)
{
	const struct kv_owner *o = r->conf->owner;
	struct archived_list before = r->list;
	int rc = o->take_all(r->conf->owner_arg, &r->index_id, epoch, e);

	if (rc < 0)
		return rc;
	r->list = (struct archived_list){ 0 };
	mem_free(&r->skip);
	rc = choose(r, &r->index_id, e);
	if (rc == 0 && !is_same(&before, &r->list)) {
		rc = kv_build_reset(r->build, e);
		if (rc == 0)
			rc = read_all(r, e);
	}
	archived_fini(&before);
	return rc;
}

static int
rebuild(struct rebuild *r, struct err *e)
{
	const struct kv_owner *o = r->conf->owner;
	uint64_t epoch = 0;
	int rc = read_all(r, e);

	if (rc == 0 && o != NULL)
		rc = o->newest(r->conf->owner_arg, &r->index_id, &epoch, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < r->list.n; i++) {
		if (r->list.p[i].epoch > epoch)
			epoch = r->list.p[i].epoch;
	}
	if (o != NULL) {
		rc = take(r, ++epoch, e);
		if (rc < 0)
			return rc;
	}
	return kv_build_finish(r->build, &r->index_id, epoch, r->seq,
	    r->created_ns, r->conf->log_segment, e);
}

int
kv_rebuild(const struct kv_conf *c, const struct id128 *index_id, struct err *e)
{
	struct rebuild r = { .conf = c, .blob = c->archive };
	char path[4096];
	int rc, lock_fd = -1;

	if (c->archive == NULL)
		return err_set(e, ERR_INVALID, "no archive to rebuild from");
	if ((rc = fs_mkdir_p(c->dir, e)) < 0 ||
	    (rc = fs_join(path, sizeof(path), c->dir, "lock", e)) < 0 ||
	    (rc = fs_lock(path, &lock_fd, e)) < 0)
		return rc;
	rc = kv_build_begin(c->dir,
	    c->map_size > MAP_MIN ? c->map_size : MAP_MIN, &r.build, e);
	if (rc == 0)
		rc = choose(&r, index_id, e);
	if (rc == 0)
		rc = rebuild(&r, e);
	kv_build_close(&r.build);
	archived_fini(&r.list);
	mem_free(&r.skip);
	fs_close(&lock_fd);
	return rc;
}
