/* storage/replication/fetch.c - copies of files from peers, installed here.
 *
 * Small files come many at a time, large ones in pieces; several calls are under
 * way at once. Whatever comes is installed under I2 of the engine: a tombstone
 * or a higher version that is here stays (P3). */
#include "storage/replication/rep_int.h"

#define FLIGHT 4 /* calls at a time from one peer */
#define PIECE (1024 * 1024)
#define OTHERS 3 /* one less than struct avoid holds */

/* --- one large file --- */

static int
check_piece(struct rpc_reply *reply, struct err *e)
{
	struct str args = buf_str(&reply->args);
	int rc = reply->dst != NULL
	             ? unpack_seal(&args, reply->dst, reply->len, e)
	             : unpack_seal(&args, reply->body.p, reply->body.len, e);

	if (rc == 0)
		reply->args.len = args.len;
	return rc;
}

int
read_piece(struct rep_peer *p, struct str id, uint64_t version, uint64_t off,
    uint32_t len, struct rpc_reply *reply, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_READ };
	int rc = pack_str(&args, id);

	if (rc == 0)
		rc = pack_u64(&args, version);
	if (rc == 0)
		rc = pack_u64(&args, off);
	if (rc == 0)
		rc = pack_u32(&args, len);
	q.args = buf_str(&args);
	if (rc == 0)
		rc = peer_call(p, &q, 0, reply, e);
	if (rc == 0)
		rc = check_piece(reply, e);
	buf_fini(&args);
	return rc;
}

struct large {
	struct rep_peer *p;
	struct engine_record rec;
	char note[WIRE_NOTE_MAX];
	void *up; /* NULL: the record is not known */
	uint64_t off;
	struct rep_peer *other[OTHERS]; /* who has it too */
	size_t n_other;
};

/* The first piece has come: the record is known. */
static int
large_begin(struct large *l, const struct engine_record *rec, struct err *e)
{
	struct engine_owner o;
	struct rep *r = l->p->r;

	l->rec = *rec;
	if (l->rec.note.len > 0)
		memcpy(l->note, l->rec.note.p, l->rec.note.len);
	l->rec.note = str_mem(l->note, l->rec.note.len);
	o = (struct engine_owner){ .class = l->rec.info.class,
		.index_id = l->rec.info.index_id,
		.write_id = l->rec.info.write_id,
		.note = l->rec.note };
	return r->so->upload_begin(r->st, &o, rep_path_of(l->rec.info.id),
	    l->rec.info.size, &l->up, e);
}

static int
large_take(struct large *l, const void *p, size_t len, struct err *e)
{
	int rc;

	if (len == 0)
		return err_set(e, ERR_CORRUPT, "file is short");
	rc = l->p->r->so->upload_write(l->up, p, len, e);
	if (rc == 0)
		l->off += len;
	return rc;
}

static int
take_from_peer(struct large *l, struct rep_peer *p, struct str id, uint32_t len,
    struct err *e)
{
	struct rpc_reply reply;
	struct engine_record rec;
	struct unpack u;
	int rc;

	reply_init(&reply);
	rc =
	    read_piece(p, id, l->rec.info.file_version, l->off, len, &reply, e);
	if (rc == 0 && l->up == NULL) {
		u = unpack_of(buf_str(&reply.args));
		wire_unpack_record(&u, &rec);
		rc = unpack_end(&u, e);
		if (rc == 0)
			rc = large_begin(l, &rec, e);
	}
	if (rc == 0)
		rc = large_take(l, reply.body.p, reply.body.len, e);
	reply_fini(&reply);
	return rc;
}

/* A damaged copy has good blocks. */
static int
take_from_here(struct large *l, struct str id, uint32_t len, struct err *e)
{
	struct rep *r = l->p->r;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	struct engine_record rec;
	char *room = mem_alloc(len);
	void *f = NULL;
	size_t n = 0;
	int rc = room == NULL ? err_set(e, ERR_NO_MEMORY, NULL)
	                      : r->so->open(r->st, id, &f, e);

	if (rc == 0)
		rc = r->so->record(f, &rec, &note, e);
	if (rc == 0 && l->up != NULL &&
	    rec.info.file_version != l->rec.info.file_version)
		rc = err_set(e, ERR_CORRUPT, "another version");
	if (rc == 0)
		rc = r->so->read(f, l->off, room, len, &n, e);
	if (rc == 0 && l->up == NULL)
		rc = large_begin(l, &rec, e);
	if (rc == 0)
		rc = large_take(l, room, n, e);
	if (f != NULL)
		r->so->close(f);
	buf_fini(&note);
	mem_free(&room);
	return rc;
}

static void
find_others(struct large *l, struct str id)
{
	struct avoid avoid = { { l->p }, 1 };
	struct engine_version v;
	struct rep_peer *other;

	while (l->n_other < OTHERS &&
	       find_elsewhere(l->p->r, id, false, &avoid, &other, &v) ==
		   FIND_LIVE &&
	       !is_avoided(&avoid, other)) {
		l->other[l->n_other++] = other;
		avoid_add(&avoid, other);
	}
}

static bool
is_whole(const struct large *l)
{
	return l->up != NULL && l->off >= l->rec.info.size;
}

/* A piece that l->p can't read, block by block: each copy may be damaged at
 * another place. */
static int
large_mend(struct large *l, struct str id, struct err *e)
{
	uint64_t end = l->off + PIECE;
	struct err why;
	int rc = 0;

	if (l->n_other == 0)
		find_others(l, id);
	while (rc == 0 && l->off < end && !is_whole(l)) {
		rc = take_from_peer(l, l->p, id, ENGINE_BLOCK, e);
		if (rc == 0 || rc == ERR_CLOSED)
			continue;
		for (size_t i = 0; rc < 0 && i < l->n_other; i++)
			if (take_from_peer(l, l->other[i], id, ENGINE_BLOCK,
				&why) == 0)
				rc = 0;
		if (rc < 0 && take_from_here(l, id, ENGINE_BLOCK, &why) == 0)
			rc = 0;
	}
	return rc;
}

static int
large_copy(struct large *l, struct str id, struct err *e)
{
	int rc = 0;

	while (rc == 0 && !is_whole(l)) {
		rc = take_from_peer(l, l->p, id, PIECE, e);
		if (rc == ERR_CORRUPT || rc == ERR_IO)
			rc = large_mend(l, id, e);
	}
	return rc;
}

static int
fetch_large(struct rep_peer *p, struct str id, unsigned flags, struct err *e)
{
	struct large *l = mem_zalloc(sizeof(*l));
	struct rep *r = p->r;
	uint64_t version;
	int rc;

	if (l == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	l->p = p;
	rc = large_copy(l, id, e);
	if (rc == 0) {
		rc = r->so->upload_install(l->up, &l->rec, flags, &version, e);
		l->up = NULL;
	}
	if (l->up != NULL)
		r->so->upload_abort(l->up);
	if (rc >= 0) {
		lock_take(&r->lock);
		r->pulled_files++;
		r->pulled_bytes += l->rec.info.size;
		lock_drop(&r->lock);
	}
	mem_free(&l);
	return rc < 0 ? rc : 0;
}

/* --- small ones --- */

static int
call_fetch(struct rep_peer *p, const struct want *v, size_t n,
    struct rpc_reply *reply, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_FETCH };
	size_t i;
	int rc = pack_u32(&args, (uint32_t)n);

	for (i = 0; rc == 0 && i < n; i++)
		rc = pack_str(&args, str_of(v[i].id));
	q.args = buf_str(&args);
	if (rc == 0)
		rc = peer_call(p, &q, 5 * p->r->c.peer_ms, reply, e);
	buf_fini(&args);
	return rc;
}

struct got {
	int code;
	struct engine_record rec;
	struct str body;
};

/* The next of a FETCH's answers. */
static int
next_got(struct unpack *u, struct str *bodies, struct got *ret, struct err *e)
{
	uint64_t len;

	*ret = (struct got){ .code = wire_unpack_code(u) };
	if (ret->code == 0) {
		wire_unpack_record(u, &ret->rec);
		len = unpack_u64(u);
		if (len > bodies->len)
			return err_set(e, ERR_INVALID, "body is cut short");
		ret->body = str_sub(*bodies, 0, (size_t)len);
		*bodies = str_skip(*bodies, (size_t)len);
	}
	return unpack_end(u, e);
}

static int
install_got(struct rep *r, struct engine_record *rec, struct engine_install *in,
    size_t n, struct err *e)
{
	size_t i, files = 0, bytes = 0;
	struct err ie = ERR_INIT;
	int rc;

	(void)rec;
	if (n == 0)
		return 0;
	rc = rep_install(r, in, n, &ie);
	for (i = 0; i < n; i++) {
		if (in[i].rc == 0) {
			files++;
			bytes += in[i].body.len;
		}
	}
	lock_take(&r->lock);
	r->pulled_files += files;
	r->pulled_bytes += bytes;
	lock_drop(&r->lock);
	/* Bytes that are not what their record says are no reason to stop: the
	 * comparison finds them again. */
	if (rc < 0 && rc != ERR_INVALID)
		return err_set(e, rc, "%s", ie.msg);
	return 0;
}

/* Of one call's answers: what is here now, what is large, what must be asked
 * for again (*ret_done: so many were answered), what is elsewhere only. */
struct sorted {
	struct want *large, *bad;
	size_t n_large, n_bad;
};

static int
take_answers(struct rep *r, const struct want *v, size_t n, unsigned flags,
    struct rpc_reply *reply, struct sorted *s, size_t *ret_done, struct err *e)
{
	struct unpack u = unpack_of(buf_str(&reply->args));
	struct str bodies = buf_str(&reply->body);
	struct engine_record *rec = mem_alloc(n * sizeof(*rec));
	struct engine_install *in = mem_zalloc(n * sizeof(*in));
	struct got g;
	size_t i, k = 0;
	int rc =
	    rec == NULL || in == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;

	for (i = 0; rc == 0 && i < n; i++) {
		rc = next_got(&u, &bodies, &g, e);
		if (rc < 0)
			break;
		if (g.code == ERR_TOO_BIG) /* no more in this call */
			break;
		if (g.code == 0 && !g.rec.is_tomb &&
		    g.rec.info.size > REP_SMALL) {
			s->large[s->n_large++] = v[i];
		} else if (g.code == 0) {
			rec[k] = g.rec;
			in[k] = (struct engine_install){ .r = &rec[k],
				.body = g.body,
				.flags = g.rec.is_tomb ? 0 : flags };
			k++;
		} else if (g.code != ERR_NOT_FOUND) {
			s->bad[s->n_bad++] = v[i];
		}
	}
	if (rc == 0)
		rc = install_got(r, rec, in, k, e);
	*ret_done = i;
	mem_free(&rec);
	mem_free(&in);
	return rc;
}

static int fetch_group(struct rep_peer *p, const struct want *v, size_t n,
    unsigned flags, bool is_last, struct err *e);

/* What @p could not read: from whoever can. */
static int
fetch_elsewhere(struct rep_peer *p, const struct want *w, unsigned flags)
{
	struct rep *r = p->r;
	struct avoid avoid = { { p }, 1 };
	struct engine_version v;
	struct rep_peer *other;
	struct err e;
	int tries, rc = ERR_CORRUPT;

	for (tries = 0; tries < 3 && rc == ERR_CORRUPT; tries++) {
		e = ERR_INIT;
		if (find_elsewhere(r, str_of(w->id), false, &avoid, &other,
			&v) != FIND_LIVE ||
		    is_avoided(&avoid, other))
			break;
		rc = fetch_group(other, w, 1, flags, true, &e);
		avoid_add(&avoid, other);
	}
	return rc;
}

/* @is_last: what @p can't read is ERR_CORRUPT, not sought elsewhere. Else not
 * getting it anywhere is an error of a repair alone: other files are found again
 * by comparing. */
static int
fetch_group(struct rep_peer *p, const struct want *v, size_t n, unsigned flags,
    bool is_last, struct err *e)
{
	struct sorted s = { .large = mem_alloc(n * sizeof(*v)),
		.bad = mem_alloc(n * sizeof(*v)) };
	struct rpc_reply reply;
	size_t at = 0, done, i, n_lost = 0;
	int rc = s.large == NULL || s.bad == NULL
	             ? err_set(e, ERR_NO_MEMORY, NULL)
	             : 0;

	while (rc == 0 && at < n) {
		reply_init(&reply);
		done = 0;
		rc = call_fetch(p, v + at, n - at, &reply, e);
		if (rc == 0)
			rc = take_answers(p->r, v + at, n - at, flags, &reply,
			    &s, &done, e);
		reply_fini(&reply);
		if (rc == 0 && done == 0)
			rc = err_set(e, ERR_INVALID, "FETCH gave nothing");
		at += done;
	}
	for (i = 0; rc == 0 && i < s.n_large; i++) {
		rc = fetch_large(p, str_of(s.large[i].id), flags, e);
		if (rc == ERR_NOT_FOUND) /* deleted meanwhile */
			rc = 0;
		if (rc == ERR_CORRUPT || rc == ERR_IO) {
			s.bad[s.n_bad++] = s.large[i];
			rc = 0;
		}
	}
	if (rc == 0 && is_last && s.n_bad > 0)
		rc = err_set(e, ERR_CORRUPT, "server %u can't read it",
		    p->server_id);
	for (i = 0; rc == 0 && i < s.n_bad; i++)
		n_lost += fetch_elsewhere(p, &s.bad[i], flags) < 0;
	if (rc == 0 && n_lost > 0 && (flags & ENGINE_REPAIR))
		rc = err_set(e, ERR_CORRUPT, "no member gives all of it");
	mem_free(&s.large);
	mem_free(&s.bad);
	return rc;
}

int
fetch_one(struct rep_peer *p, struct str id, unsigned flags, struct err *e)
{
	struct want w = { .version = 0 };

	if (id.len == 0 || id.len >= sizeof(w.id))
		return err_set(e, ERR_INVALID, "not a file's name");
	memcpy(w.id, id.p, id.len);
	return fetch_group(p, &w, 1, flags, false, e);
}

int
fetch_small(struct rep_peer *p, struct str id, struct engine_record *ret,
    struct rpc_reply *reply, struct err *e)
{
	struct want w = { .version = 0 };
	struct unpack u;
	struct str bodies;
	struct got g;
	int rc;

	if (id.len == 0 || id.len >= sizeof(w.id))
		return err_set(e, ERR_INVALID, "not a file's name");
	memcpy(w.id, id.p, id.len);
	rc = call_fetch(p, &w, 1, reply, e);
	if (rc < 0)
		return rc;
	u = unpack_of(buf_str(&reply->args));
	bodies = buf_str(&reply->body);
	rc = next_got(&u, &bodies, &g, e);
	if (rc == 0 && g.code < 0)
		rc = err_set(e, g.code, "at a peer");
	if (rc == 0)
		*ret = g.rec;
	return rc;
}

/* --- many, in parallel --- */

struct flight {
	struct rep_peer *p;
	unsigned refs;
	struct bell *bell; /* rung when one has landed */
	size_t n;          /* under way */
	int rc;
	struct err e;
};

struct part {
	struct flight *f;
	const struct want *v;
	size_t n;
};

static void
part_run(struct job *j)
{
	struct part *part = j->arg;
	struct flight *f = part->f;
	struct rep *r = f->p->r;
	struct bell *b;
	struct err e = ERR_INIT;
	int rc = fetch_group(f->p, part->v, part->n, 0, false, &e);

	mem_free(&part);
	mem_free(&j);
	lock_take(&r->lock);
	f->n--;
	if (rc < 0 && f->rc == 0) {
		f->rc = rc;
		f->e = e;
	}
	b = f->bell;
	f->bell = NULL;
	lock_drop(&r->lock);
	/* @f is its owner's from here on: it waits until n is 0. */
	if (b != NULL) {
		bell_ring(r, b);
		bell_unref(r, b);
	}
}

/* Until at most @max are under way. The parts refer to the caller's memory, so
 * it stays until they have landed, stopped or not. */
static void
flight_wait(struct flight *f, size_t max)
{
	struct rep *r = f->p->r;
	struct bell *b;
	bool wait;

	for (;;) {
		b = bell_new(r);
		lock_take(&r->lock);
		wait = f->n > max;
		if (wait && b != NULL) {
			bell_ref(b);
			MUST(f->bell == NULL);
			f->bell = b;
		}
		lock_drop(&r->lock);
		if (wait && b != NULL && !bell_wait(r, b, 1000))
			r->eo->sleep(r->env, 1);
		lock_take(&r->lock);
		if (b != NULL && f->bell == b) {
			f->bell = NULL;
			b->refs--;
		}
		lock_drop(&r->lock);
		bell_unref(r, b);
		if (!wait)
			return;
	}
}

/* How many of @v make one call. */
static size_t
part_len(const struct want *v, size_t n)
{
	size_t i;
	uint64_t bytes = 0;

	for (i = 0; i < n && i < REP_BATCH_N; i++) {
		bytes += v[i].size;
		if (i > 0 && bytes > REP_BATCH)
			break;
	}
	return i;
}

int
fetch_all(struct rep_peer *p, struct want *v, size_t n, struct err *e)
{
	struct flight f = { .p = p };
	struct part *part;
	size_t at = 0, k;
	struct rep *r = p->r;
	int rc = 0;

	while (at < n && rc == 0) {
		k = part_len(v + at, n - at);
		part = mem_alloc(sizeof(*part));
		if (part == NULL) {
			rc = err_set(e, ERR_NO_MEMORY, NULL);
			break;
		}
		*part = (struct part){ &f, v + at, k };
		at += k;
		lock_take(&r->lock);
		f.n++;
		lock_drop(&r->lock);
		rc = peer_job(p, part_run, part, e);
		if (rc < 0) {
			mem_free(&part);
			lock_take(&r->lock);
			f.n--;
			lock_drop(&r->lock);
		}
		flight_wait(&f, FLIGHT - 1);
		lock_take(&r->lock);
		if (rc == 0 && f.rc < 0) {
			rc = f.rc;
			*e = f.e;
		}
		lock_drop(&r->lock);
	}
	flight_wait(&f, 0);
	if (rc == 0 && f.rc < 0) {
		rc = f.rc;
		*e = f.e;
	}
	return rc;
}
