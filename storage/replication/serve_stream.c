/* storage/replication/serve_stream.c - large files that a peer streams here.
 *
 * INSTALL_BEGIN   args stream ID 16, store path u32, size hint u64, class u8,
 *                 index ID 16, write ID 16, note text
 * INSTALL_DATA    args stream ID 16, offset u64; body the bytes
 * INSTALL_COMMIT  args stream ID 16, record; answer as one of INSTALL's
 * INSTALL_ABORT   args stream ID 16
 * A stream belongs to the node that began it; one that is left for SESSION_MS is
 * dropped, which is as long as a piece takes at the least rate that clients are
 * held to; after SESSION_SHORT_MS when others need its place. One call of a
 * stream is served at a time. */
#include "storage/replication/rep_int.h"

#define SESSION_MS 1200000
#define SESSION_SHORT_MS 60000
#define SESSIONS 320 /* those of two peers (UPLOADS) */

struct session {
	struct session *next;
	struct id128 id, from;
	void *up;
	uint64_t off;
	int64_t used_ms;
	bool is_busy;
};

static void
session_free(struct rep *r, struct session *s)
{
	if (s->up != NULL)
		r->so->upload_abort(s->up);
	mem_free(&s);
}

/* Takes it for one call; the caller gives it back or takes it out. */
static int
session_take(struct rep *r, const struct rpc_from *from, struct unpack *u,
    struct session **ret, struct err *e)
{
	struct id128 id = unpack_id(u);
	struct session *s;
	bool is_busy = false;

	if (u->is_bad)
		return unpack_end(u, e);
	lock_take(&r->lock);
	for (s = r->sessions; s != NULL; s = s->next) {
		if (id128_eq(&s->id, &id) && id128_eq(&s->from, &from->id))
			break;
	}
	if (s != NULL && s->is_busy) {
		is_busy = true;
		s = NULL;
	}
	if (s != NULL)
		s->is_busy = true;
	lock_drop(&r->lock);
	if (s == NULL)
		return is_busy ? err_set(e, ERR_BUSY, "stream is in use")
		               : err_set(e, ERR_NOT_FOUND, "no such stream");
	*ret = s;
	return 0;
}

static void
session_give(struct rep *r, struct session *s)
{
	int64_t now = r->eo->now_ms(r->env);

	lock_take(&r->lock);
	s->is_busy = false;
	s->used_ms = now;
	lock_drop(&r->lock);
}

static void
session_out(struct rep *r, struct session *s)
{
	struct session **sp;

	lock_take(&r->lock);
	for (sp = &r->sessions; *sp != s; sp = &(*sp)->next)
		;
	*sp = s->next;
	r->n_sessions--;
	lock_drop(&r->lock);
	session_free(r, s);
}

static void
expire(struct rep *r, bool all, int64_t idle_ms)
{
	int64_t now = r->eo->now_ms(r->env);
	struct session **sp, *s, *gone = NULL;

	lock_take(&r->lock);
	for (sp = &r->sessions; (s = *sp) != NULL;) {
		if (!all && (s->is_busy || now - s->used_ms < idle_ms)) {
			sp = &s->next;
			continue;
		}
		*sp = s->next;
		r->n_sessions--;
		s->next = gone;
		gone = s;
	}
	lock_drop(&r->lock);
	while ((s = gone) != NULL) {
		gone = s->next;
		session_free(r, s);
	}
}

void
sessions_expire(struct rep *r, bool all)
{
	expire(r, all, SESSION_MS);
}

static bool
session_add(struct rep *r, struct session *s)
{
	bool is_full;

	lock_take(&r->lock);
	is_full = r->n_sessions >= SESSIONS || r->is_closing;
	if (!is_full) {
		s->next = r->sessions;
		r->sessions = s;
		r->n_sessions++;
	}
	lock_drop(&r->lock);
	return !is_full;
}

int
rep_serve_begin(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct engine_owner o = { 0 };
	struct session *s = mem_zalloc(sizeof(*s));
	uint64_t hint;
	int path_no, rc;

	(void)a;
	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	s->id = unpack_id(&u);
	s->from = from->id;
	path_no = (int)unpack_u32(&u);
	hint = unpack_u64(&u);
	o.class = unpack_u8(&u);
	o.index_id = unpack_id(&u);
	o.write_id = unpack_id(&u);
	o.note = unpack_str(&u, WIRE_NOTE_MAX);
	rc = unpack_end(&u, e);
	if (rc == 0)
		rc = r->so->upload_begin(r->st, &o, path_no, hint, &s->up, e);
	if (rc < 0) {
		mem_free(&s);
		return rc;
	}
	s->used_ms = r->eo->now_ms(r->env);
	if (session_add(r, s))
		return 0;
	expire(r, false, SESSION_SHORT_MS);
	if (session_add(r, s))
		return 0;
	session_free(r, s);
	return err_set(e, ERR_BUSY, "too many streams");
}

int
rep_serve_data(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct session *s;
	uint64_t off;
	int rc;

	(void)a;
	rc = session_take(r, from, &u, &s, e);
	if (rc < 0)
		return rc;
	off = unpack_u64(&u);
	if (u.is_bad || off != s->off)
		rc = err_set(e, ERR_INVALID, "stream is at %ju, not at %ju",
		    (uintmax_t)s->off, (uintmax_t)off);
	if (rc == 0)
		rc = r->so->upload_write(s->up, q->body.p, q->body.len, e);
	s->off += q->body.len;
	if (rc == 0)
		session_give(r, s);
	else
		session_out(r, s);
	return rc;
}

int
rep_serve_commit(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct engine_record rec;
	struct outcome o = { 0 };
	struct session *s;
	int rc;

	rc = session_take(r, from, &u, &s, e);
	if (rc < 0)
		return rc;
	wire_unpack_record(&u, &rec);
	rc = unpack_end(&u, e);
	if (rc == 0 && (rec.is_tomb || rec.info.size != s->off))
		rc = err_set(e, ERR_INVALID, "%ju bytes came, not %ju",
		    (uintmax_t)s->off, (uintmax_t)rec.info.size);
	if (rc == 0) {
		o.version = rec.info.file_version;
		rc = r->so->upload_install(s->up, &rec, 0, &o.version, e);
		s->up = NULL;
		o.is_other = rc == 1 && is_other_file(r, &rec, &o);
	}
	session_out(r, s);
	return rc < 0 ? rc : outcome_pack(&a->args, &o);
}

int
rep_serve_abort(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	struct session *s;
	int rc = session_take(r, from, &u, &s, e);

	(void)a;
	if (rc == 0)
		session_out(r, s);
	return rc;
}
