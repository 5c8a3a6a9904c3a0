/* storage/server/streams.c - uploads of gateways that come in pieces.
 *
 * A stream is in the table while it lives; one call at a time has it (is_busy).
 * Ended ones are taken out first and then committed or aborted, so that no call
 * ever meets an upload that is going. */
#include "storage/server/storage_int.h"

#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/mem.h"

struct stream {
	struct stream *next;
	uint64_t id;
	struct id128 gate, index_id;
	uint64_t index_epoch;
	char ext[FDFS_EXT_MAX + 1];
	struct rep_upload *up;
	uint64_t at;
	uint32_t crc32;
	int64_t used_ns;
	bool is_busy;
	bool is_broken; /* a piece may have been taken in part */
	bool is_over;   /* its index is in a newer epoch */
};

static void
stream_free(struct stream **mp)
{
	if ((*mp)->up != NULL)
		rep_upload_abort(&(*mp)->up);
	mem_free(mp);
}

/* Under the lock. */
static struct stream **
find(struct storage *s, const struct rpc_from *from, uint64_t id)
{
	struct stream **mp = &s->streams;

	while (*mp != NULL &&
	       ((*mp)->id != id || !id128_eq(&(*mp)->gate, &from->id)))
		mp = &(*mp)->next;
	return mp;
}

/* The stream, for this call alone; out of the table if @take. */
static int
enter(struct storage *s, const struct rpc_from *from, uint64_t id, bool take,
    struct stream **ret, struct err *e)
{
	struct stream **mp, *m;
	int rc = 0;

	lock_take(&s->stream_lock);
	mp = find(s, from, id);
	m = *mp;
	if (m == NULL) {
		rc = err_set(e, ERR_NOT_FOUND, "no such upload");
	} else if (m->is_busy) {
		rc = err_set(e, ERR_BUSY, "another call has this upload");
	} else if (take) {
		*mp = m->next;
		s->n_streams--;
	} else {
		m->is_busy = true;
	}
	lock_drop(&s->stream_lock);
	if (rc == 0)
		*ret = m;
	return rc;
}

static void
leave(struct storage *s, struct stream *m)
{
	lock_take(&s->stream_lock);
	m->is_busy = false;
	m->used_ns = clock_mono_ns();
	lock_drop(&s->stream_lock);
}

static int
answer(const struct stream *m, struct rpc_answer *a, struct err *e)
{
	struct sop_stream r = { .stream = m->id, .offset = m->at };
	int rc = sop_stream_pack(&r, &a->args);

	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

static bool
is_crowded(struct storage *s)
{
	bool yes;

	lock_take(&s->stream_lock);
	yes = s->n_streams >= STREAMS_MANY;
	lock_drop(&s->stream_lock);
	return yes;
}

static bool
reserve(struct storage *s)
{
	bool ok;

	lock_take(&s->stream_lock);
	ok = s->n_streams < STREAMS_MAX;
	if (ok)
		s->n_streams++;
	lock_drop(&s->stream_lock);
	return ok;
}

static void
unreserve(struct storage *s)
{
	lock_take(&s->stream_lock);
	s->n_streams--;
	lock_drop(&s->stream_lock);
}

static void
expire(struct storage *s, bool all, int64_t idle_ms)
{
	int64_t limit = clock_mono_ns() - idle_ms * 1000000;
	struct stream **mp, *old = NULL, *m;

	lock_take(&s->stream_lock);
	for (mp = &s->streams; *mp != NULL;) {
		m = *mp;
		if (m->is_busy || (!all && !m->is_over && m->used_ns > limit)) {
			mp = &m->next;
			continue;
		}
		*mp = m->next;
		s->n_streams--;
		m->next = old;
		old = m;
	}
	lock_drop(&s->stream_lock);
	while (old != NULL) {
		m = old;
		old = m->next;
		stream_free(&m);
	}
}

/* A gateway that was killed begins a new epoch: what it had under way would
 * take others' places. One that a call has goes with the keeper's next look. */
void
streams_end(struct storage *s, const struct id128 *index, uint64_t epoch)
{
	lock_take(&s->stream_lock);
	for (struct stream *m = s->streams; m != NULL; m = m->next)
		if (id128_eq(&m->index_id, index) && m->index_epoch < epoch)
			m->is_over = true;
	lock_drop(&s->stream_lock);
	expire(s, false, STREAM_IDLE_MS);
}

void
streams_expire(struct storage *s, bool all)
{
	expire(s, all, STREAM_IDLE_MS);
}

int
stream_begin(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct engine_owner o;
	struct sop_store b;
	struct stream *m;
	int rc = sop_store_unpack(q->args, &b, e);

	if (rc < 0)
		return rc;
	if (b.class != ENGINE_CLASS_S3 && b.class != ENGINE_CLASS_INDEX)
		return err_set(e, ERR_INVALID, "class %u", b.class);
	if (!fdfs_ext_is_valid(b.ext))
		return err_set(e, ERR_INVALID, "extension");
	rc = fence_check(s, &b.index_id, b.index_epoch, e);
	if (rc < 0)
		return rc;
	m = mem_zalloc(sizeof(*m));
	if (m == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (is_crowded(s))
		expire(s, false, STREAM_SHORT_MS);
	if (!reserve(s)) {
		mem_free(&m);
		return err_set(e, ERR_BUSY, "too many uploads under way");
	}
	o = (struct engine_owner){ .class = b.class,
		.index_id = b.index_id,
		.write_id = b.write_id,
		.note = b.note };
	rc = rep_upload_begin(s->rep, &o, -1, b.size_hint, &m->up, e);
	if (rc < 0) {
		unreserve(s);
		mem_free(&m);
		return rc;
	}
	m->id = rand_u64();
	m->gate = from->id;
	m->index_id = b.index_id;
	m->index_epoch = b.index_epoch;
	if (b.ext.len > 0)
		memcpy(m->ext, b.ext.p, b.ext.len);
	m->used_ns = clock_mono_ns();
	rc = answer(m, a, e);
	lock_take(&s->stream_lock);
	m->next = s->streams;
	s->streams = m;
	lock_drop(&s->stream_lock);
	return rc;
}

/* What of @body, which stands at @off, is new. */
static int
fresh_part(const struct stream *m, uint64_t off, struct str *body,
    struct err *e)
{
	if (off > m->at)
		return err_set(e, ERR_INVALID,
		    "a gap in an upload: %ju came, %ju are there",
		    (uintmax_t)off, (uintmax_t)m->at);
	*body = str_skip(*body,
	    m->at - off < body->len ? (size_t)(m->at - off) : body->len);
	return 0;
}

int
stream_data(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct str body = q->body;
	struct stream *m = NULL;
	struct sop_stream d;
	int rc = sop_stream_unpack(q->args, &d, e);

	if (rc == 0)
		rc = enter(s, from, d.stream, false, &m, e);
	if (rc < 0)
		return rc;
	if (m->is_broken)
		rc = err_set(e, ERR_FAILED, "this upload has broken off");
	if (rc == 0)
		rc = fresh_part(m, d.offset, &body, e);
	if (rc == 0 && body.len > 0) {
		rc = rep_upload_write(m->up, body.p, body.len, e);
		m->is_broken = rc < 0;
		if (rc == 0) {
			m->crc32 = hash_crc32(m->crc32, body.p, body.len);
			m->at += body.len;
		}
	}
	if (rc == 0)
		rc = answer(m, a, e);
	leave(s, m);
	return rc;
}

int
stream_commit(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct engine_file_info info;
	struct stream *m = NULL;
	struct sop_stream d;
	int rc = sop_stream_unpack(q->args, &d, e);

	if (rc == 0)
		rc = enter(s, from, d.stream, true, &m, e);
	if (rc < 0)
		return rc;
	if (m->is_broken || d.offset != m->at ||
	    (d.has_crc && d.crc32 != m->crc32))
		rc =
		    err_set(e, ERR_INVALID, "the content is not what was sent");
	if (rc == 0)
		rc = fence_check(s, &m->index_id, m->index_epoch, e);
	if (rc == 0)
		rc = rep_upload_commit(&m->up, m->ext, 0, &info, e);
	stream_free(&m);
	return rc == 0 ? storage_answer_file(&info, a, e) : rc;
}

int
stream_abort(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct err *e)
{
	struct stream *m = NULL;
	struct sop_stream d;
	int rc = sop_stream_unpack(q->args, &d, e);

	if (rc == 0)
		rc = enter(s, from, d.stream, true, &m, e);
	if (rc == 0)
		stream_free(&m);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}
