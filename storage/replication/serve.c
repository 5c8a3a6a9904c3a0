/* storage/replication/serve.c - what peers ask of this node's files.
 *
 * LOG_READ  args    store path u32, position 44, records at most u32, wait ms
 *                   u32, seen u64 (0, or as answered before), the group's age
 *                   u64 (away.c)
 *           answer  flags u8 (1 the end is reached, 2 the position does not fit,
 *                   or is too old to say: begin at zero, 4 this node is active),
 *                   number of
 *                   store paths u32, position behind 44, bytes left u64, seen
 *                   u64, number u32, records, the group's age u64
 * LOOKUP    args    term u64 (0: nobody's), number u32, names text
 *           answer  flags u8 (1 this node is a witness), for each: known u8,
 *                   class u8, version u64, size u64
 * FETCH     args    number u32, names text
 *           answer  for each: result text and, if that is empty, record, then
 *                   length of its bytes in the body u64 (none for a tombstone
 *                   and for what is too large: READ that)
 *           body    the contents. What does not fit any more is ERR_TOO_BIG:
 *                   ask again
 * READ      args    name text, version u64 (0 any), offset u64, length u32
 *           answer  record, sealed (cluster/pack.h); body the bytes, short only
 *                   at the end
 * STAT      args    name text; answer: record
 * With a term, LOOKUP is a leader's question: an older term's is refused. */
#include "storage/replication/rep_int.h"

#define RECORDS_LEN (RPC_ARGS_MAX - 2 * WIRE_RECORD_MAX)

/* --- the log --- */

struct log_arg {
	struct buf *out;
	uint32_t n;
};

static int
pack_logged(void *arg, const struct engine_record *rec)
{
	struct log_arg *l = arg;
	int rc = wire_pack_record(l->out, rec);

	if (rc < 0)
		return rc;
	l->n++;
	return l->out->len > RECORDS_LEN - 1024;
}

/* A peer's cursor fits this node's log, or does not: then the peer remembers more
 * of it than there is. It was put back to an older state, and is no witness of
 * what is not there until it has caught up. A cursor that is older than what the
 * log remembers of itself says nothing of that kind: the peer was away. */
static void
note_asked(struct rep *r, const struct rpc_from *from, bool fits, bool is_lost)
{
	struct rep_peer *p;
	bool is_news = false;

	lock_take(&r->lock);
	for (p = r->peers; p != NULL; p = p->next) {
		if (id128_eq(&p->node, &from->id))
			p->has_asked = fits;
	}
	if (is_lost) {
		is_news = !r->was_put_back;
		r->was_put_back = r->is_dirty = true;
		r->is_active = r->is_witness = r->is_complete = false;
		/* Its own cursors may be newer than what it holds: of several
		 * disks one keeps them, and of one not all may be old. */
		for (p = r->peers; is_news && p != NULL; p = p->next) {
			p->must_restart = true;
			p->is_caught_up = false;
		}
	}
	lock_drop(&r->lock);
	if (is_news)
		rep_event(r,
		    "a peer remembers more of this node's log than there is: "
		    "its disks were put back to an older state; it catches up "
		    "first");
}

struct log_query {
	size_t path;
	struct engine_pos pos;
	size_t max;
	int wait_ms;
	uint64_t seen;
	bool is_end, is_lost, is_old;
};

static int
read_log(struct rep *r, struct log_query *q, struct log_arg *l, struct err *e)
{
	struct err le = ERR_INIT;
	int rc;

	rc = r->so->log_read(r->st, q->path, &q->pos, q->max, pack_logged, l,
	    &q->is_end, &le);
	if (rc == ERR_RETRY || rc == ERR_NOT_FOUND) {
		q->is_old = rc == ERR_NOT_FOUND;
		q->is_lost = !q->is_old;
		memset(&q->pos, 0, sizeof(q->pos));
		l->n = 0;
		buf_reset(l->out);
		return 0;
	}
	if (rc < 0)
		*e = le;
	return rc;
}

/* In slices: the store does not know when the node is stopped. */
static bool
wait_log(struct rep *r, struct log_query *q)
{
	int left = q->wait_ms, ms;

	for (; left > 0; left -= ms) {
		ms = left < 250 ? left : 250;
		if (r->so->log_wait(r->st, &q->seen, ms))
			return true;
		if (atomic_load(&r->is_hushed) || !r->eo->sleep(r->env, 0))
			return false;
	}
	return false;
}

static int
answer_log(struct rep *r, const struct log_query *q, const struct log_arg *l,
    struct buf *b)
{
	uint8_t flags;
	int rc;

	lock_take(&r->lock);
	flags =
	    (uint8_t)((q->is_end ? 1 : 0) | (q->is_lost || q->is_old ? 2 : 0) |
		      (r->is_active ? 4 : 0));
	lock_drop(&r->lock);
	rc = pack_u8(b, flags);
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)r->so->n_paths(r->st));
	if (rc == 0)
		rc = wire_pack_pos(b, &q->pos);
	if (rc == 0)
		rc = pack_u64(b, r->so->log_left(r->st, q->path, &q->pos));
	if (rc == 0)
		rc = pack_u64(b, q->seen);
	if (rc == 0)
		rc = pack_u32(b, l->n);
	if (rc == 0)
		rc = buf_adds(b, buf_str(l->out));
	return rc == 0 ? pack_u64(b, away_age(r)) : rc;
}

static int
serve_log_read(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct log_query lq = { .path = unpack_u32(&u) };
	struct buf out = BUF_CAP(RPC_ARGS_MAX);
	struct log_arg l = { .out = &out };
	uint64_t age;
	bool has_age;
	uint32_t wait;
	int rc;

	wire_unpack_pos(&u, &lq.pos);
	lq.max = unpack_u32(&u);
	wait = unpack_u32(&u);
	lq.wait_ms = wait > 5000 ? 5000 : (int)wait;
	lq.seen = unpack_u64(&u);
	has_age = u.rest.len > 0; /* older versions tell none */
	age = has_age ? unpack_u64(&u) : 0;
	if (unpack_end(&u, e) < 0)
		return ERR_INVALID;
	/* Told by one who may learn nothing here: both hear of each other. */
	if (has_age)
		away_hear(r, &from->id, age);
	rc = away_check(r, true, e);
	if (rc < 0)
		return rc;
	if (lq.path >= r->so->n_paths(r->st))
		return err_set(e, ERR_NOT_FOUND, "no store path %zu", lq.path);
	if (lq.seen == 0) /* what is read below is no older than this */
		r->so->log_wait(r->st, &lq.seen, 0);
	rc = read_log(r, &lq, &l, e);
	if (rc == 0 && l.n == 0 && lq.is_end && !lq.is_lost && !lq.is_old &&
	    wait_log(r, &lq))
		rc = read_log(r, &lq, &l, e);
	if (rc == 0)
		note_asked(r, from, !lq.is_lost && !lq.is_old, lq.is_lost);
	if (rc == 0)
		rc = answer_log(r, &lq, &l, &a->args);
	buf_fini(&out);
	return rc;
}

/* --- versions of names --- */

static int
serve_lookup(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	uint64_t term = unpack_u64(&u);
	uint32_t i, n = unpack_u32(&u);
	struct engine_version *v;
	struct str *ids;
	bool is_witness;
	int rc;

	if (u.is_bad || n > RPC_ARGS_MAX / 32)
		return err_set(e, ERR_INVALID, "bad LOOKUP");
	if (term != 0) {
		rc = members_admit_term(r->c.members, &from->id, term, e);
		if (rc < 0)
			return rc;
	}
	/* Before it looks: what is missing may come, and make it one. */
	lock_take(&r->lock);
	is_witness = r->is_witness;
	lock_drop(&r->lock);
	ids = mem_zalloc((n + 1) * sizeof(*ids));
	v = mem_zalloc((n + 1) * sizeof(*v));
	for (i = 0; ids != NULL && i < n; i++)
		ids[i] = unpack_str(&u, ENGINE_FILE_ID_MAX - 1);
	rc = ids == NULL || v == NULL ? err_set(e, ERR_NO_MEMORY, NULL)
	                              : unpack_end(&u, e);
	if (rc == 0)
		rc = r->so->lookup_many(r->st, ids, n, v, e);
	if (rc == 0)
		rc = pack_u8(&a->args, is_witness);
	for (i = 0; rc == 0 && i < n; i++)
		rc = wire_pack_version(&a->args, &v[i]);
	mem_free(&ids);
	mem_free(&v);
	return rc;
}

/* --- contents --- */

static int
read_whole(struct rep *r, void *f, size_t size, struct buf *body, struct err *e)
{
	size_t n, at = 0;
	int rc = buf_reserve(body, size);

	while (rc == 0 && at < size) {
		rc = r->so->read(f, at, body->p + body->len + at, size - at, &n,
		    e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "file is short");
		at += n;
	}
	if (rc == 0)
		body->len += size;
	return rc;
}

/* A live file with its bytes, if they fit. */
static int
fetch_live(struct rep *r, void *f, struct rpc_answer *a, struct err *e)
{
	struct engine_record rec;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	uint64_t len = 0;
	int rc = r->so->record(f, &rec, &note, e);

	if (rc == 0 && rec.info.size <= REP_SMALL) {
		len = rec.info.size;
		if (len > RPC_BODY_MAX - a->body.len)
			rc = err_set(e, ERR_TOO_BIG, "ask again");
		else
			rc = read_whole(r, f, (size_t)len, &a->body, e);
	}
	if (rc == 0)
		rc = wire_pack_code(&a->args, 0);
	if (rc == 0)
		rc = wire_pack_record(&a->args, &rec);
	if (rc == 0)
		rc = pack_u64(&a->args, len);
	buf_fini(&note);
	return rc;
}

static int
fetch_tomb(struct rep *r, struct str id, struct rpc_answer *a, struct err *e)
{
	struct engine_record rec;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	int rc = r->so->record_of(r->st, id, &rec, &note, e);

	if (rc == 0 && !rec.is_tomb) /* it came this very moment */
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 0)
		rc = wire_pack_code(&a->args, 0);
	if (rc == 0)
		rc = wire_pack_record(&a->args, &rec);
	if (rc == 0)
		rc = pack_u64(&a->args, 0);
	buf_fini(&note);
	return rc;
}

static int
fetch_item(struct rep *r, struct str id, struct rpc_answer *a, struct err *e)
{
	size_t args = a->args.len, body = a->body.len;
	void *f;
	int rc;

	if (a->args.len > RECORDS_LEN) {
		rc = ERR_TOO_BIG;
	} else {
		rc = r->so->open(r->st, id, &f, e);
		if (rc == 0) {
			rc = fetch_live(r, f, a, e);
			r->so->close(f);
		} else if (rc == ERR_NOT_FOUND) {
			rc = fetch_tomb(r, id, a, e);
		}
	}
	if (rc == 0 || rc == ERR_CLOSED)
		return rc;
	a->args.len = args;
	a->body.len = body;
	return wire_pack_code(&a->args, rc);
}

static int
serve_fetch(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	uint32_t i, n = unpack_u32(&u);
	struct str id;
	int rc = 0;

	(void)from;
	for (i = 0; rc == 0 && i < n && !u.is_bad; i++) {
		id = unpack_str(&u, ENGINE_FILE_ID_MAX - 1);
		if (!u.is_bad)
			rc = fetch_item(r, id, a, e);
	}
	return rc == 0 ? unpack_end(&u, e) : rc;
}

static int
read_part(struct rep *r, void *f, uint64_t version, uint64_t off, uint32_t len,
    struct rpc_answer *a, struct err *e)
{
	struct engine_record rec;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	size_t n = 0;
	int rc = r->so->record(f, &rec, &note, e);

	if (rc == 0 && version != 0 && rec.info.file_version != version)
		rc = err_set(e, ERR_NOT_FOUND, "another version");
	if (rc == 0)
		rc = buf_reserve(&a->body, len);
	if (rc == 0)
		rc = r->so->read(f, off, a->body.p, len, &n, e);
	if (rc == 0) {
		a->body.len = n;
		rc = wire_pack_record(&a->args, &rec);
	}
	if (rc == 0)
		rc = pack_seal(&a->args, buf_str(&a->body));
	buf_fini(&note);
	return rc;
}

static int
serve_read(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct str id = unpack_str(&u, ENGINE_FILE_ID_MAX - 1);
	uint64_t version = unpack_u64(&u), off = unpack_u64(&u);
	uint32_t len = unpack_u32(&u);
	void *f;
	int rc;

	(void)from;
	if (u.is_bad || len > RPC_BODY_MAX)
		return err_set(e, ERR_INVALID, "bad READ");
	rc = r->so->open(r->st, id, &f, e);
	if (rc < 0)
		return rc;
	rc = read_part(r, f, version, off, len, a, e);
	r->so->close(f);
	return rc;
}

static int
serve_stat(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct str id = unpack_str(&u, ENGINE_FILE_ID_MAX - 1);
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	struct engine_record rec;
	int rc = unpack_end(&u, e);

	(void)from;
	if (rc == 0)
		rc = r->so->record_of(r->st, id, &rec, &note, e);
	if (rc == 0)
		rc = wire_pack_record(&a->args, &rec);
	buf_fini(&note);
	return rc;
}

/* --- by operation --- */

int
rep_serve(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	static const struct {
		unsigned op;
		serve_fn *fn;
		enum {
			ANY,
			SINK,
			SOURCE
		} what; /* away_check() */
	} ops[] = {
		{ RPC_INSTALL, rep_serve_install, SINK },
		{ RPC_INSTALL_BEGIN, rep_serve_begin, SINK },
		{ RPC_INSTALL_DATA, rep_serve_data, SINK },
		{ RPC_INSTALL_COMMIT, rep_serve_commit, SINK },
		{ RPC_INSTALL_ABORT, rep_serve_abort, SINK },
		{ RPC_LOG_READ, serve_log_read, ANY }, /* hears first */
		{ RPC_FETCH, serve_fetch, SOURCE },
		{ RPC_READ, serve_read, SOURCE },
		{ RPC_STAT, serve_stat, SOURCE },
		{ RPC_LOOKUP, serve_lookup, SOURCE },
		{ RPC_DIGEST, rep_serve_digest, SOURCE },
		{ RPC_RANGE, rep_serve_range, SOURCE },
		{ RPC_STEP, rep_serve_step, SOURCE },
		{ RPC_REMOVE, rep_serve_remove, SINK },
	};
	size_t i;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	lock_take(&r->lock);
	a->epoch = r->epoch;
	lock_drop(&r->lock);
	if (from->kind != RPC_ADMIN) {
		rc = members_check(r->c.members, from, q->epoch, e);
		if (rc < 0)
			return rc;
	}
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (ops[i].op != q->op)
			continue;
		rc = 0;
		if (from->kind != RPC_ADMIN && ops[i].what != ANY)
			rc = away_check(r, ops[i].what == SOURCE, e);
		if (rc == 0)
			rc = ops[i].fn(r, from, q, a, e);
		if (from->kind != RPC_ADMIN)
			rep_note_bytes(r, q->op, q->body.len, a->body.len, rc);
		return rc;
	}
	return err_set(e, ERR_INVALID, "no operation of replication");
}
