/* storage/replication/fan.c - one message to several peers.
 *
 * The fan is shared by the caller and the jobs that carry it; the caller goes on
 * as soon as enough answers have come, the jobs end in the background. */
#include "storage/replication/rep_int.h"

struct fan *
fan_new(struct rep *r, unsigned op, const struct rep_group *g)
{
	struct fan *f =
	    mem_zalloc(sizeof(*f) + g->n_peers * sizeof(f->slot[0]));
	size_t i;

	if (f == NULL)
		return NULL;
	f->r = r;
	f->refs = 1;
	f->op = op;
	f->args = BUF_CAP(RPC_ARGS_MAX);
	f->body = BUF_CAP(RPC_BODY_MAX);
	f->n = g->n_peers;
	for (i = 0; i < f->n; i++) {
		f->slot[i].p = g->peer[i];
		f->slot[i].args = BUF_CAP(RPC_ARGS_MAX);
		f->slot[i].body = BUF_CAP(RPC_BODY_MAX);
	}
	f->decided = bell_new(r);
	f->all = bell_new(r);
	if (f->decided == NULL || f->all == NULL)
		fan_free(&f);
	return f;
}

static void
fan_unref(struct fan *f)
{
	struct rep *r = f->r;
	bool is_last;
	size_t i;

	lock_take(&r->lock);
	is_last = --f->refs == 0;
	lock_drop(&r->lock);
	if (!is_last)
		return;
	for (i = 0; i < f->n; i++) {
		buf_fini(&f->slot[i].args);
		buf_fini(&f->slot[i].body);
	}
	buf_fini(&f->args);
	buf_fini(&f->body);
	mem_free(&f->recs);
	bell_unref(r, f->decided);
	bell_unref(r, f->all);
	mem_free(&f);
}

void
fan_free(struct fan **fp)
{
	if (*fp != NULL)
		fan_unref(*fp);
	*fp = NULL;
}

int
fan_add_item(struct fan *f, const struct engine_record *rec, struct str body)
{
	int rc = wire_pack_record(&f->args, rec);

	if (rc == 0)
		rc = buf_adds(&f->body, body);
	f->n_items++;
	return rc;
}

/* The answer of @slot has come, or will not. */
static void
fan_done(struct fan *f, size_t slot, int rc)
{
	struct rep *r = f->r;
	struct fan_slot *s = &f->slot[slot];
	struct bell *decided = NULL;
	bool is_all;

	lock_take(&r->lock);
	MUST(!s->is_done);
	s->is_done = true;
	s->rc = rc;
	s->is_good = s->p->is_member &&
	             (f->is_good != NULL ? f->is_good(f, slot) : rc == 0);
	f->n_done++;
	f->n_good += s->is_good;
	if (!f->is_decided &&
	    (f->n_good >= f->want || f->n_good + f->n - f->n_done < f->want)) {
		f->is_decided = true;
		decided = f->decided; /* fan_want() may put another there */
		bell_ref(decided);
	}
	is_all = f->n_done == f->n;
	lock_drop(&r->lock);
	if (decided != NULL)
		bell_ring(r, decided);
	bell_unref(r, decided);
	if (is_all)
		bell_ring(r, f->all);
}

/* Takes a job for @slot into its peer's queue; false: the peer is left out. */
static bool
enqueue(struct fan *f, size_t slot, bool skip_down, int64_t now)
{
	struct rep *r = f->r;
	struct rep_peer *p = f->slot[slot].p;
	struct job *j = mem_zalloc(sizeof(*j));
	struct queue *q = f->is_batched ? &p->installs : &p->calls;
	bool ok;

	if (j == NULL)
		return false;
	j->p = p;
	j->fan = f;
	j->slot = slot;
	j->born_ms = now;
	lock_take(&r->lock);
	ok = !r->is_closing && !(skip_down && peer_is_down(p, now)) &&
	     p->queued_bytes < REP_QUEUE_MAX;
	if (ok) {
		f->refs++;
		if (q->tail != NULL)
			q->tail->next = j;
		else
			q->head = j;
		q->tail = j;
		if (f->is_batched)
			p->queued_bytes += f->body.len;
	}
	lock_drop(&r->lock);
	if (!ok)
		mem_free(&j);
	return ok;
}

void
fan_start(struct fan *f, size_t want, bool skip_down)
{
	struct rep *r = f->r;
	int64_t now = r->eo->now_ms(r->env);
	size_t i;

	f->want = want;
	if (f->timeout_ms == 0)
		f->timeout_ms = r->c.peer_ms;
	if (want == 0 || f->n == 0) {
		f->is_decided = true;
		bell_ring(r, f->decided);
	}
	if (f->n == 0)
		bell_ring(r, f->all);
	for (i = 0; i < f->n; i++) {
		if (enqueue(f, i, skip_down, now))
			worker_wake(r);
		else
			fan_done(f, i, ERR_DISCONNECTED);
	}
}

/* More are wanted after the gate was opened for fewer: a new one. */
void
fan_want(struct fan *f, size_t want)
{
	struct rep *r = f->r;
	struct bell *b = bell_new(r), *old = NULL;

	if (b == NULL)
		return;
	lock_take(&r->lock);
	f->want = want;
	if (f->is_decided && f->n_good < want &&
	    f->n_good + f->n - f->n_done >= want) {
		f->is_decided = false;
		old = f->decided;
		f->decided = b;
		b = NULL;
	}
	lock_drop(&r->lock);
	bell_unref(r, old);
	bell_unref(r, b);
}

bool
fan_wait(struct fan *f, int64_t ms)
{
	bool ok;

	bell_wait(f->r, f->decided, ms);
	lock_take(&f->r->lock);
	ok = f->n_good >= f->want;
	lock_drop(&f->r->lock);
	return ok;
}

void
fan_wait_all(struct fan *f, int64_t ms)
{
	bell_wait(f->r, f->all, ms);
}

/* A plain call. */
void
fan_run(struct job *j)
{
	struct fan *f = j->fan;
	struct fan_slot *s = &f->slot[j->slot];
	struct rep *r = f->r;
	struct rpc_request q = { .op = f->op,
		.args = buf_str(&f->args),
		.body = buf_str(&f->body) };
	struct rpc_reply reply;
	struct err e = ERR_INIT;
	int64_t start = r->eo->now_ms(r->env);
	int rc;

	reply_init(&reply);
	/* Nobody waits for so long: a peer that takes nothing must not have
	 * them pile up. */
	if (start - j->born_ms > 2 * (int64_t)r->c.peer_ms)
		rc = ERR_DISCONNECTED;
	else
		rc = peer_call(j->p, &q, f->timeout_ms, &reply, &e);
	s->args = reply.args; /* nobody else looks at it before it is done */
	s->body = reply.body;
	s->took_ms = r->eo->now_ms(r->env) - start;
	fan_done(f, j->slot, rc);
	fan_unref(f);
	mem_free(&j);
}

/* --- many INSTALLs in one call --- */

/* One answer for each item in turn; each job takes its own. */
static void
share_out(struct job *jobs, int rc, struct rpc_reply *reply)
{
	struct unpack u = unpack_of(buf_str(&reply->args));
	struct outcome o;
	struct job *j, *next;
	struct fan *f;
	size_t i;
	int job_rc;

	for (j = jobs; j != NULL; j = next) {
		next = j->next;
		f = j->fan;
		job_rc = rc;
		for (i = 0; rc == 0 && i < f->n_items; i++) {
			outcome_unpack(&u, &o);
			if (outcome_pack(&f->slot[j->slot].args, &o) < 0)
				job_rc = ERR_NO_MEMORY;
		}
		if (u.is_bad)
			job_rc = ERR_INVALID;
		fan_done(f, j->slot, job_rc);
		fan_unref(f);
		mem_free(&j);
	}
}

/* Drops those that have waited for too long: they are left to the log. */
static struct job *
drop_stale(struct rep *r, struct job *jobs)
{
	int64_t now = r->eo->now_ms(r->env);
	struct job *j, **pp = &jobs;

	while ((j = *pp) != NULL) {
		if (now - j->born_ms < r->c.peer_ms) {
			pp = &j->next;
			continue;
		}
		*pp = j->next;
		fan_done(j->fan, j->slot, ERR_DISCONNECTED);
		fan_unref(j->fan);
		mem_free(&j);
	}
	return jobs;
}

/* INSTALL's message: term u64 = 0, number u32, records; the bodies. */
static int
join(struct job *jobs, struct buf *args, struct buf *body)
{
	struct job *j;
	size_t n = 0;
	int rc;

	for (j = jobs; j != NULL; j = j->next)
		n += j->fan->n_items;
	rc = pack_u64(args, 0);
	if (rc == 0)
		rc = pack_u32(args, (uint32_t)n);
	for (j = jobs; rc == 0 && j != NULL; j = j->next) {
		rc = buf_adds(args, buf_str(&j->fan->args));
		/* A single body travels from where it lies. */
		if (rc == 0 && jobs->next != NULL)
			rc = buf_adds(body, buf_str(&j->fan->body));
	}
	return rc;
}

void
fan_run_batch(struct rep_peer *p, struct job *jobs)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX), body = BUF_CAP(RPC_BODY_MAX);
	struct rpc_reply reply;
	struct rpc_request q = { .op = RPC_INSTALL };
	struct err e = ERR_INIT;
	int rc;

	jobs = drop_stale(p->r, jobs);
	if (jobs == NULL)
		return;
	reply_init(&reply);
	rc = join(jobs, &args, &body);
	if (rc == 0) {
		q.args = buf_str(&args);
		q.body = jobs->next != NULL ? buf_str(&body)
		                            : buf_str(&jobs->fan->body);
		rc = peer_call(p, &q, 0, &reply, &e);
	}
	share_out(jobs, rc, &reply);
	reply_fini(&reply);
	buf_fini(&args);
	buf_fini(&body);
}
