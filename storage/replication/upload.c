/* storage/replication/upload.c - large files, streamed on while they arrive.
 *
 * What is small when it is committed goes the way of rep_put(). Beyond that the
 * bytes go to this node's disk and, in pieces of CHUNK, to a stream at each peer
 * (serve_stream.c): one call of a stream is under way at a time, on a worker.
 * The pieces are shared; a stream that lags holds at most AHEAD of them, fewer
 * where there are many uploads (ahead_of()): then the writer waits for it, and
 * gives it up when it has taken nothing for peer_ms. One that is known to be
 * large takes its place among UPLOADS when it begins, so that a gateway goes to
 * another node with it. The upload is shared by its owner and its streams' jobs,
 * which end in the background. */
#include "storage/replication/rep_int.h"

#define CHUNK ((size_t)1024 * 1024)
#define AHEAD 4
#define PIECES 320  /* of all uploads, about */
#define UPLOADS 160 /* at once: two pieces each, at least */

struct chunk {
	unsigned refs;
	size_t len;
	char p[];
};

struct stream {
	struct rep_upload *u;
	struct rep_peer *p;
	struct id128 id;
	struct chunk *queue[AHEAD];
	size_t n_queue;
	uint64_t off; /* of the next piece */
	bool is_busy; /* a job of it is queued or under way */
	bool has_begun, is_over, is_good;
	int64_t moved_ms;
};

struct rep_upload {
	struct rep *r;
	unsigned refs;
	struct engine_owner owner;
	char note[WIRE_NOTE_MAX];
	int path_no;
	uint64_t hint, len;
	struct name_lock *lock;
	struct buf head; /* until it is large */
	void *local;
	struct chunk *chunk;  /* being filled */
	struct chunk **early; /* while the path is not known yet */
	size_t n_early;
	bool has_streams, is_counted;
	struct rep_group g;
	struct stream streams[CMAP_MEMBERS];
	/* Under the lock: */
	bool is_committing, is_aborted;
	struct engine_record rec;
	struct bell *moved; /* rung and dropped at the next progress */
};

static void
chunk_unref(struct rep *r, struct chunk *c)
{
	bool is_last;

	if (c == NULL)
		return;
	lock_take(&r->lock);
	is_last = --c->refs == 0;
	lock_drop(&r->lock);
	if (is_last)
		mem_free(&c);
}

static void
upload_unref(struct rep_upload *u)
{
	struct rep *r = u->r;
	size_t i, k;
	bool is_last;

	lock_take(&r->lock);
	is_last = --u->refs == 0;
	lock_drop(&r->lock);
	if (!is_last)
		return;
	for (i = 0; i < u->g.n_peers; i++) {
		for (k = 0; k < u->streams[i].n_queue; k++)
			chunk_unref(r, u->streams[i].queue[k]);
	}
	for (i = 0; i < u->n_early; i++)
		chunk_unref(r, u->early[i]);
	lock_take(&r->lock);
	r->n_uploads -= u->is_counted;
	lock_drop(&r->lock);
	chunk_unref(r, u->chunk);
	bell_unref(r, u->moved);
	mem_free(&u->early);
	buf_fini(&u->head);
	mem_free(&u);
}

/* Tells the writer that something moved. */
static void
ring_moved(struct rep_upload *u)
{
	struct bell *b;

	lock_take(&u->r->lock);
	b = u->moved;
	u->moved = NULL;
	lock_drop(&u->r->lock);
	if (b == NULL)
		return;
	bell_ring(u->r, b);
	bell_unref(u->r, b);
}

/* Waits for progress, at most @ms. Only the owner waits. @idle: under the lock,
 * whether there is anything to wait for. */
static void
wait_moved(struct rep_upload *u, int64_t ms, bool (*idle)(struct rep_upload *u))
{
	struct bell *b = bell_new(u->r);
	bool is_idle;

	if (b == NULL)
		return;
	lock_take(&u->r->lock);
	is_idle = idle(u);
	if (!is_idle) {
		bell_ref(b);
		MUST(u->moved == NULL);
		u->moved = b;
	}
	lock_drop(&u->r->lock);
	if (!is_idle)
		bell_wait(u->r, b, ms);
	lock_take(&u->r->lock);
	if (u->moved == b) {
		u->moved = NULL;
		b->refs--; /* not the last: this task holds one */
	}
	lock_drop(&u->r->lock);
	bell_unref(u->r, b);
}

/* --- one stream, on a worker --- */

enum step {
	STEP_NONE,
	STEP_BEGIN,
	STEP_DATA,
	STEP_COMMIT,
	STEP_ABORT
};

static enum step
next_step(const struct stream *s)
{
	if (s->is_over)
		return STEP_NONE;
	if (s->u->is_aborted)
		return s->has_begun ? STEP_ABORT : STEP_NONE;
	if (!s->has_begun)
		return STEP_BEGIN;
	if (s->n_queue > 0)
		return STEP_DATA;
	return s->u->is_committing ? STEP_COMMIT : STEP_NONE;
}

static int
pack_begin(struct buf *b, const struct stream *s)
{
	const struct rep_upload *u = s->u;
	int rc = pack_id(b, &s->id);

	if (rc == 0)
		rc = pack_u32(b, (uint32_t)u->path_no);
	if (rc == 0)
		rc = pack_u64(b, u->hint);
	if (rc == 0)
		rc = pack_u8(b, u->owner.class);
	if (rc == 0)
		rc = pack_id(b, &u->owner.index_id);
	if (rc == 0)
		rc = pack_id(b, &u->owner.write_id);
	return rc == 0 ? pack_str(b, u->owner.note) : rc;
}

static int
step_call(struct stream *s, enum step step, struct rpc_reply *reply,
    struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_INSTALL_ABORT };
	int rc, ms = 0;

	if (step == STEP_BEGIN) {
		q.op = RPC_INSTALL_BEGIN;
		rc = pack_begin(&args, s);
	} else {
		rc = pack_id(&args, &s->id);
	}
	if (rc == 0 && step == STEP_DATA) {
		q.op = RPC_INSTALL_DATA;
		rc = pack_u64(&args, s->off);
		q.body = str_mem(s->queue[0]->p, s->queue[0]->len);
	}
	if (rc == 0 && step == STEP_COMMIT) {
		q.op = RPC_INSTALL_COMMIT;
		rc = wire_pack_record(&args, &s->u->rec);
		ms = 5 * s->u->r->c.peer_ms; /* it syncs the whole */
	}
	q.args = buf_str(&args);
	if (rc == 0)
		rc = peer_call(s->p, &q, ms, reply, e);
	buf_fini(&args);
	return rc;
}

/* After a step: what is to be noted, under the lock. Returns the piece that was
 * sent. */
static struct chunk *
step_done(struct stream *s, enum step step, int rc, struct rpc_reply *reply)
{
	struct unpack u = unpack_of(buf_str(&reply->args));
	struct chunk *c = NULL;
	struct outcome o;

	s->moved_ms = s->u->r->eo->now_ms(s->u->r->env);
	if (step == STEP_DATA && s->n_queue > 0) {
		c = s->queue[0];
		s->off += c->len;
		s->n_queue--;
		memmove(s->queue, s->queue + 1,
		    s->n_queue * sizeof(s->queue[0]));
	}
	s->has_begun = s->has_begun || (step == STEP_BEGIN && rc == 0);
	if (step == STEP_COMMIT && rc == 0) {
		outcome_unpack(&u, &o);
		s->is_good = !u.is_bad && outcome_is_copy(&o, &s->u->rec);
	}
	s->is_over =
	    s->is_over || rc < 0 || step == STEP_COMMIT || step == STEP_ABORT;
	return c;
}

static void stream_go(struct stream *s);

static void
stream_run(struct job *j)
{
	struct stream *s = j->arg;
	struct rep_upload *u = s->u;
	struct rpc_reply reply;
	struct chunk *c = NULL;
	struct err e = ERR_INIT;
	enum step step;
	int rc;

	mem_free(&j);
	lock_take(&u->r->lock);
	step = next_step(s);
	lock_drop(&u->r->lock);
	if (step != STEP_NONE) {
		reply_init(&reply);
		rc = step_call(s, step, &reply, &e);
		lock_take(&u->r->lock);
		c = step_done(s, step, rc, &reply);
		lock_drop(&u->r->lock);
		reply_fini(&reply);
	}
	chunk_unref(u->r, c);
	lock_take(&u->r->lock);
	s->is_busy = false;
	lock_drop(&u->r->lock);
	ring_moved(u);
	stream_go(s);
	upload_unref(u);
}

/* Queues the next step, if there is one and none is under way. */
static void
stream_go(struct stream *s)
{
	struct rep_upload *u = s->u;
	struct err e = ERR_INIT;
	bool go;

	lock_take(&u->r->lock);
	go = !s->is_busy && next_step(s) != STEP_NONE;
	if (go) {
		s->is_busy = true;
		u->refs++;
	}
	lock_drop(&u->r->lock);
	if (!go || peer_job(s->p, stream_run, s, &e) == 0)
		return;
	lock_take(&u->r->lock);
	s->is_busy = false;
	s->is_over = true;
	u->refs--; /* not the last: the caller holds one */
	lock_drop(&u->r->lock);
}

/* --- the writer --- */

static int
take_place(struct rep_upload *u, struct err *e)
{
	struct rep *r = u->r;

	if (u->is_counted)
		return 0;
	lock_take(&r->lock);
	u->is_counted = r->n_uploads < UPLOADS;
	r->n_uploads += u->is_counted;
	lock_drop(&r->lock);
	return u->is_counted
	           ? 0
	           : err_set(e, ERR_BUSY, "too many large uploads at once");
}

int
rep_upload_begin(struct rep *r, const struct engine_owner *owner, int path_no,
    uint64_t size_hint, struct rep_upload **ret, struct err *e)
{
	struct rep_upload *u;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	if (owner->note.len > WIRE_NOTE_MAX)
		return err_set(e, ERR_TOO_BIG, "owner's note");
	u = mem_zalloc(sizeof(*u));
	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	u->r = r;
	u->refs = 1;
	u->owner = *owner;
	if (owner->note.len > 0)
		memcpy(u->note, owner->note.p, owner->note.len);
	u->owner.note = str_mem(u->note, owner->note.len);
	u->path_no = path_no;
	u->hint = size_hint;
	u->head = BUF_CAP(REP_SMALL);
	rc = size_hint > REP_SMALL && size_hint != UINT64_MAX ? take_place(u, e)
	                                                      : 0;
	if (rc == 0)
		rc = write_lock(r, &owner->write_id, &u->lock, e);
	if (rc == 0)
		rc = rep_group_get(r, &u->g, e);
	if (rc == 0)
		*ret = u;
	else
		rep_upload_abort(&u);
	return rc;
}

/* Under the lock: pieces that a stream may lag behind. One is being filled. */
static size_t
ahead_of(const struct rep *r)
{
	size_t each = PIECES / (r->n_uploads > 0 ? r->n_uploads : 1);

	return each > AHEAD ? AHEAD : each > 2 ? each - 1 : 1;
}

static bool
is_full(const struct stream *s)
{
	return !s->is_over && s->n_queue >= ahead_of(s->u->r);
}

static bool
none_is_full(struct rep_upload *u)
{
	size_t i;

	for (i = 0; i < u->g.n_peers; i++) {
		if (is_full(&u->streams[i]))
			return false;
	}
	return true;
}

/* Gives up who has taken nothing for peer_ms. */
static void
drop_slow(struct rep_upload *u)
{
	struct rep *r = u->r;
	int64_t now = r->eo->now_ms(r->env);
	size_t i;

	lock_take(&r->lock);
	for (i = 0; i < u->g.n_peers; i++) {
		if (is_full(&u->streams[i]) &&
		    now - u->streams[i].moved_ms >= r->c.peer_ms)
			u->streams[i].is_over = true;
	}
	lock_drop(&r->lock);
}

/* To all streams that are left; takes the caller's reference. */
static void
feed(struct rep_upload *u, struct chunk *c)
{
	struct rep *r = u->r;
	struct stream *s;
	int64_t now;
	size_t i;

	lock_take(&r->lock);
	while (!none_is_full(u) && !r->is_closing) {
		lock_drop(&r->lock);
		wait_moved(u, r->c.peer_ms, none_is_full);
		drop_slow(u);
		lock_take(&r->lock);
	}
	lock_drop(&r->lock);
	now = r->eo->now_ms(r->env);
	lock_take(&r->lock);
	for (i = 0; i < u->g.n_peers; i++) {
		s = &u->streams[i];
		if (!s->is_over && s->n_queue < AHEAD) {
			if (s->n_queue == 0) /* it had nothing to take */
				s->moved_ms = now;
			s->queue[s->n_queue++] = c;
			c->refs++;
		}
	}
	lock_drop(&r->lock);
	for (i = 0; i < u->g.n_peers; i++)
		stream_go(&u->streams[i]);
	chunk_unref(r, c);
}

/* The path is known: a stream at each peer, fed with what there is. */
static void
streams_start(struct rep_upload *u, int path_no)
{
	struct rep *r = u->r;
	int64_t now = r->eo->now_ms(r->env);
	struct stream *s;
	uint64_t id[2];
	size_t i;

	u->has_streams = true;
	u->path_no = path_no;
	for (i = 0; i < u->g.n_peers; i++) {
		s = &u->streams[i];
		s->u = u;
		s->p = u->g.peer[i];
		id[0] = r->eo->random(r->env);
		id[1] = r->eo->random(r->env);
		memcpy(s->id.b, id, sizeof(s->id.b));
		s->moved_ms = now;
		lock_take(&r->lock);
		s->is_over = peer_is_down(s->p, now);
		lock_drop(&r->lock);
	}
	for (i = 0; i < u->n_early; i++)
		feed(u, u->early[i]);
	u->n_early = 0;
}

/* The piece is full, or the last. */
static int
chunk_push(struct rep_upload *u, struct err *e)
{
	struct chunk *c = u->chunk, **more;
	int path_no;

	u->chunk = NULL;
	if (c == NULL)
		return 0;
	path_no = u->has_streams ? 0 : u->r->so->upload_path(u->local);
	if (!u->has_streams && path_no >= 0)
		streams_start(u, path_no);
	if (u->has_streams) {
		feed(u, c);
		return 0;
	}
	more = mem_realloc(u->early, (u->n_early + 1) * sizeof(*more));
	if (more == NULL) {
		chunk_unref(u->r, c);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	u->early = more;
	u->early[u->n_early++] = c;
	return 0;
}

/* Bytes that go to the disk here and into pieces. */
static int
write_large(struct rep_upload *u, struct str s, struct err *e)
{
	size_t n;
	int rc = u->r->so->upload_write(u->local, s.p, s.len, e);

	u->len += s.len;
	while (rc == 0 && s.len > 0 && u->g.n_peers > 0) {
		if (u->chunk == NULL) {
			u->chunk = mem_alloc(sizeof(*u->chunk) + CHUNK);
			if (u->chunk == NULL)
				return err_set(e, ERR_NO_MEMORY, NULL);
			u->chunk->refs = 1;
			u->chunk->len = 0;
		}
		n = CHUNK - u->chunk->len;
		if (n > s.len)
			n = s.len;
		memcpy(u->chunk->p + u->chunk->len, s.p, n);
		u->chunk->len += n;
		s = str_skip(s, n);
		if (u->chunk->len == CHUNK)
			rc = chunk_push(u, e);
	}
	return rc;
}

/* It is large: to the disk here, and on from there. */
static int
begin_large(struct rep_upload *u, struct err *e)
{
	struct rep *r = u->r;
	uint64_t hint = u->hint > REP_SMALL ? u->hint : UINT64_MAX;
	struct str head = buf_str(&u->head);
	int rc = take_place(u, e);

	if (rc < 0)
		return rc;
	rc = r->so->upload_begin(r->st, &u->owner, u->path_no, hint, &u->local,
	    e);
	if (rc == 0 && head.len > 0)
		rc = write_large(u, head, e);
	if (rc == 0)
		buf_fini(&u->head);
	return rc;
}

int
rep_upload_write(struct rep_upload *u, const void *p, size_t len, struct err *e)
{
	int rc;

	if (u->local == NULL && len <= REP_SMALL - u->head.len)
		return len == 0 ? 0 : buf_add(&u->head, p, len);
	if (u->local == NULL) {
		rc = begin_large(u, e);
		if (rc < 0)
			return rc;
	}
	return write_large(u, str_mem(p, len), e);
}

/* --- the end --- */

static size_t
count(struct rep_upload *u, bool (*is)(const struct stream *s))
{
	size_t i, n = 0;

	for (i = 0; u->has_streams && i < u->g.n_peers; i++)
		n += is(&u->streams[i]);
	return n;
}

static bool
is_good(const struct stream *s)
{
	return s->is_good && s->p->is_member;
}

static bool
is_open(const struct stream *s)
{
	return !s->is_over;
}

/* Enough copies beside the one here, or no more to be had. */
static bool
is_decided(struct rep_upload *u)
{
	size_t good = count(u, is_good);

	return good + 1 >= u->g.copies ||
	       good + count(u, is_open) + 1 < u->g.copies ||
	       count(u, is_open) == 0;
}

static size_t
wait_streams(struct rep_upload *u)
{
	struct rep *r = u->r;
	int64_t until = r->eo->now_ms(r->env) + 10 * (int64_t)r->c.peer_ms;
	int64_t left;
	size_t good;
	bool done;

	for (;;) {
		left = until - r->eo->now_ms(r->env);
		lock_take(&r->lock);
		done = is_decided(u);
		good = count(u, is_good);
		lock_drop(&r->lock);
		if (done || left <= 0 || rep_is_closing(r))
			return good;
		wait_moved(u, left < 200 ? left : 200, is_decided);
	}
}

static void
streams_commit(struct rep_upload *u, const struct engine_record *rec)
{
	size_t i;

	lock_take(&u->r->lock);
	u->rec = *rec;
	u->is_committing = true;
	lock_drop(&u->r->lock);
	for (i = 0; u->has_streams && i < u->g.n_peers; i++)
		stream_go(&u->streams[i]);
}

static int
commit_large(struct rep_upload *u, const char *ext, unsigned flags,
    const struct engine_record *as, struct engine_file_info *ret, struct err *e)
{
	struct rep *r = u->r;
	struct engine_record rec;
	struct rep_group now;
	uint64_t version;
	bool is_here;
	int rc;

	/* It may have taken hours: the group is another one by now, in which
	 * this node or a peer has no say, or more copies are wanted. */
	rc = rep_group_get(r, &now, e);
	if (rc == 0) {
		u->g.copies = now.copies;
		rc = chunk_push(u, e);
	}
	if (rc == 0 && as != NULL)
		rec = *as;
	else if (rc == 0)
		rc = r->so->upload_draw(u->local, ext, flags, &rec, e);
	if (rc < 0)
		return rc;
	is_here = rc == 1;
	rec.note = u->owner.note;
	if (!u->has_streams && u->g.n_peers > 0)
		streams_start(u, rep_path_of(rec.info.id));
	streams_commit(u, &rec);
	if (is_here) {
		r->so->upload_abort(u->local);
		rc = rec.info.size == u->len
		         ? 0
		         : err_set(e, ERR_INVALID,
			       "write ID has made another file");
	} else {
		rc = r->so->upload_install(u->local, &rec, ENGINE_NEW, &version,
		    e);
		if (rc == 1) /* cannot be with ENGINE_NEW */
			rc = 0;
	}
	u->local = NULL;
	if (rc == 0)
		rc = copies_suffice(r, &u->g, 1 + wait_streams(u), e);
	if (rc == 0)
		*ret = rec.info;
	else if (!is_here && rc != ERR_EXISTS && rc != ERR_CLOSED)
		write_refuse(r, &rec);
	return rc;
}

int
rep_upload_commit(struct rep_upload **up, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e)
{
	struct rep_upload *u = *up;
	struct name_lock *l;
	int rc;

	if (u->local == NULL) {
		l = u->lock; /* rep_put() takes it itself */
		u->lock = NULL;
		name_drop(u->r, &l);
		rc = rep_put(u->r, &u->owner, u->path_no, buf_str(&u->head),
		    ext, flags, ret, e);
	} else {
		rc = commit_large(u, ext, flags, NULL, ret, e);
	}
	rep_upload_abort(up);
	return rc;
}

int
rep_upload_commit_as(struct rep_upload **up, const struct engine_record *as,
    struct engine_file_info *ret, struct err *e)
{
	struct rep_upload *u = *up;
	int rc;

	MUST(id128_is_zero(&u->owner.write_id));
	if (u->local == NULL)
		rc = write_drawn(u->r, as, buf_str(&u->head), ret, e);
	else
		rc = commit_large(u, NULL, 0, as, ret, e);
	rep_upload_abort(up);
	return rc;
}

/* Frees what is left; streams that were not committed are told so. */
void
rep_upload_abort(struct rep_upload **up)
{
	struct rep_upload *u = *up;
	size_t i;

	*up = NULL;
	if (u == NULL)
		return;
	lock_take(&u->r->lock);
	u->is_aborted = !u->is_committing;
	lock_drop(&u->r->lock);
	if (u->local != NULL)
		u->r->so->upload_abort(u->local);
	for (i = 0; u->has_streams && u->is_aborted && i < u->g.n_peers; i++)
		stream_go(&u->streams[i]);
	name_drop(u->r, &u->lock);
	upload_unref(u);
}
