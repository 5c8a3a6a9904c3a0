/* storage/replication/peers.c - bells, calls to peers, and the workers that
 * make those that were queued.
 *
 * A worker takes the next thing to do from the peers in turn: several INSTALLs
 * that wait for one peer become one call, which is what makes throughput that
 * of group commit. A peer has at most REP_PEER_INSTALLS and peer_calls() under
 * way: its share of the workers, so that those that hang, be it all of them, hold
 * none that another one is entitled to (in groups of more than eleven: as long
 * as ten hang at most). */
#include "storage/replication/rep_int.h"

#define IDLE_MS 10000
#define DOWN_MS 300 /* a peer that failed is not written to for so long */

struct worker {
	struct worker *next;
	struct bell *bell;
};

/* --- bells --- */

struct bell *
bell_new(struct rep *r)
{
	struct bell *b = mem_zalloc(sizeof(*b));

	if (b == NULL)
		return NULL;
	b->refs = 1;
	b->gate = r->eo->gate_new(r->env);
	if (b->gate == NULL)
		mem_free(&b);
	return b;
}

void
bell_ref(struct bell *b)
{
	b->refs++;
}

void
bell_unref(struct rep *r, struct bell *b)
{
	bool is_last;

	if (b == NULL)
		return;
	lock_take(&r->lock);
	is_last = --b->refs == 0;
	lock_drop(&r->lock);
	if (!is_last)
		return;
	r->eo->gate_free(r->env, b->gate);
	mem_free(&b);
}

void
bell_ring(struct rep *r, struct bell *b)
{
	r->eo->gate_signal(r->env, b->gate);
}

bool
bell_wait(struct rep *r, struct bell *b, int64_t ms)
{
	return r->eo->gate_wait(r->env, b->gate, ms);
}

/* --- calls --- */

void
reply_init(struct rpc_reply *r)
{
	*r = (struct rpc_reply){ .args = BUF_CAP(RPC_ARGS_MAX),
		.body = BUF_CAP(RPC_BODY_MAX) };
}

void
reply_fini(struct rpc_reply *r)
{
	buf_fini(&r->args);
	buf_fini(&r->body);
}

bool
peer_is_down(const struct rep_peer *p, int64_t now)
{
	return p->fail_ms > p->ok_ms && now - p->fail_ms < DOWN_MS;
}

bool
peer_is_reachable(const struct rep_peer *p)
{
	return p->ok_ms > p->fail_ms;
}

size_t
peers_within_reach(const struct rep *r)
{
	struct rep_peer *p;
	size_t n = 1;

	for (p = r->peers; p != NULL; p = p->next)
		n += p->is_member && peer_is_reachable(p);
	return n;
}

bool
rep_reaches(struct rep *r, const struct id128 *node)
{
	struct rep_peer *p;
	bool yes = true;

	OBJ_CHECK(r, REP_MAGIC);
	lock_take(&r->lock);
	for (p = r->peers; p != NULL; p = p->next) {
		if (id128_eq(&p->node, node))
			yes = p->fail_ms <= p->ok_ms;
	}
	lock_drop(&r->lock);
	return yes;
}

/* An answer of any kind shows that it is there. */
static void
note_call(struct rep_peer *p, int rc)
{
	struct rep *r = p->r;
	int64_t now = r->eo->now_ms(r->env);

	lock_take(&r->lock);
	if (rc == ERR_DISCONNECTED || rc == ERR_CONFIG) {
		p->fail_ms = now;
		p->is_first_failed = true;
	} else if (rc != ERR_CLOSED) {
		p->ok_ms = now > p->fail_ms ? now : p->fail_ms + 1;
	}
	lock_drop(&r->lock);
}

static void
note(_Atomic uint64_t *total, _Atomic uint64_t *success, size_t len, int rc)
{
	if (len == 0)
		return;
	atomic_fetch_add_explicit(total, len, memory_order_relaxed);
	if (rc == 0)
		atomic_fetch_add_explicit(success, len, memory_order_relaxed);
}

void
rep_note_bytes(struct rep *r, unsigned op, size_t in, size_t out, int rc)
{
	if (op != RPC_INSTALL && op != RPC_INSTALL_DATA && op != RPC_FETCH &&
	    op != RPC_READ)
		return;
	note(&r->in_bytes, &r->in_bytes_ok, in, rc);
	note(&r->out_bytes, &r->out_bytes_ok, out, rc);
	if (in > 0 && rc == 0)
		atomic_store_explicit(&r->in_last_s, rep_now_s(r),
		    memory_order_relaxed);
}

int
peer_call(struct rep_peer *p, struct rpc_request *q, int timeout_ms,
    struct rpc_reply *ret, struct err *e)
{
	struct rep *r = p->r;
	struct fdfs_addr to;
	int rc;

	lock_take(&r->lock);
	to = p->addr;
	q->epoch = r->epoch;
	lock_drop(&r->lock);
	rc = r->eo->call(r->env, &to, q,
	    timeout_ms == 0 ? r->c.peer_ms : timeout_ms, ret, e);
	note_call(p, rc);
	rep_note_bytes(r, q->op, ret->body.len, q->body.len, rc);
	if (rc != ERR_DISCONNECTED && rc != ERR_CLOSED && ret->epoch > q->epoch)
		members_saw(r->c.members, &to, ret->epoch);
	return rc;
}

/* --- workers --- */

static struct job *
queue_pop(struct queue *q)
{
	struct job *j = q->head;

	if (j != NULL) {
		q->head = j->next;
		if (q->head == NULL)
			q->tail = NULL;
		j->next = NULL;
	}
	return j;
}

static void
queue_push(struct queue *q, struct job *j)
{
	j->next = NULL;
	if (q->tail != NULL)
		q->tail->next = j;
	else
		q->head = j;
	q->tail = j;
}

/* As many INSTALLs as fit one call. */
static struct job *
take_installs(struct rep_peer *p)
{
	struct queue batch = { 0 };
	size_t bytes = 0, n = 0, args = 0;
	struct fan *f;

	while (p->installs.head != NULL) {
		f = p->installs.head->fan;
		if (batch.head != NULL &&
		    (bytes + f->body.len > REP_BATCH ||
			n + f->n_items > REP_BATCH_N ||
			args + f->args.len > RPC_ARGS_MAX / 2))
			break;
		bytes += f->body.len;
		args += f->args.len;
		n += f->n_items;
		queue_push(&batch, queue_pop(&p->installs));
	}
	p->queued_bytes -= bytes;
	return batch.head;
}

/* Under the lock: what of a peer's share of the workers INSTALLs leave. */
static unsigned
peer_calls(const struct rep *r)
{
	size_t share =
	    r->n_members == 0 ? REP_WORKERS : REP_WORKERS / r->n_members;

	if (share >= REP_PEER_CALLS + REP_PEER_INSTALLS)
		return REP_PEER_CALLS;
	return share > REP_PEER_CALLS_MIN + REP_PEER_INSTALLS
	           ? (unsigned)share - REP_PEER_INSTALLS
	           : REP_PEER_CALLS_MIN;
}

/* The next thing to do, under the lock. *ret_p: a batch of INSTALLs to it. */
static struct job *
take_job(struct rep *r, struct rep_peer **ret_p)
{
	struct rep_peer *p, *first = r->turn != NULL ? r->turn : r->peers;
	struct job *j;

	*ret_p = NULL;
	for (p = first; p != NULL;) {
		r->turn = p->next != NULL ? p->next : r->peers;
		if (p->installs.head != NULL &&
		    p->n_installs < REP_PEER_INSTALLS) {
			p->n_installs++;
			*ret_p = p;
			return take_installs(p);
		}
		if (p->calls.head != NULL && p->n_calls < peer_calls(r)) {
			p->n_calls++;
			j = queue_pop(&p->calls);
			return j;
		}
		p = r->turn;
		if (p == first)
			break;
	}
	return NULL;
}

/* False: nothing came for a while, or the node is being stopped. */
static bool
idle(struct rep *r, struct worker *w)
{
	struct worker **pp;
	bool is_listed = false;

	w->bell = bell_new(r);
	if (w->bell == NULL)
		return false;
	lock_take(&r->lock);
	w->next = r->idle;
	r->idle = w;
	lock_drop(&r->lock);
	bell_wait(r, w->bell, IDLE_MS);
	lock_take(&r->lock);
	for (pp = &r->idle; *pp != NULL; pp = &(*pp)->next) {
		if (*pp == w) {
			*pp = w->next;
			is_listed = true;
			break;
		}
	}
	lock_drop(&r->lock);
	bell_unref(r, w->bell);
	return !is_listed;
}

static void
do_job(struct rep *r, struct job *j, struct rep_peer *batch)
{
	struct rep_peer *p = j->p;

	if (batch != NULL)
		fan_run_batch(batch, j);
	else if (j->fan != NULL)
		fan_run(j);
	else
		j->run(j);
	lock_take(&r->lock);
	if (batch != NULL)
		p->n_installs--;
	else
		p->n_calls--;
	lock_drop(&r->lock);
}

static void
worker_main(void *arg)
{
	struct rep *r = arg;
	struct worker w = { 0 };
	struct rep_peer *batch;
	struct job *j;

	for (;;) {
		lock_take(&r->lock);
		j = take_job(r, &batch);
		if (j == NULL && r->is_closing) {
			r->n_workers--;
			lock_drop(&r->lock);
			break;
		}
		lock_drop(&r->lock);
		if (j != NULL) {
			do_job(r, j, batch);
			continue;
		}
		if (idle(r, &w))
			continue;
		/* What was queued since then finds no idle worker: look once
		 * more, under the lock that counts this one as gone. */
		lock_take(&r->lock);
		j = take_job(r, &batch);
		if (j == NULL)
			r->n_workers--;
		lock_drop(&r->lock);
		if (j == NULL)
			break;
		do_job(r, j, batch);
	}
	rep_task_end(r);
}

/* Something was queued: wakes one, or starts one. */
void
worker_wake(struct rep *r)
{
	struct bell *b = NULL;
	struct err e;
	bool more = false;

	lock_take(&r->lock);
	if (r->idle != NULL) {
		b = r->idle->bell;
		bell_ref(b);
		r->idle = r->idle->next;
	} else if (r->n_workers < REP_WORKERS) {
		r->n_workers++;
		more = true;
	}
	lock_drop(&r->lock);
	if (b != NULL) {
		bell_ring(r, b);
		bell_unref(r, b);
	} else if (more && rep_task(r, worker_main, r, &e) < 0) {
		lock_take(&r->lock);
		r->n_workers--;
		lock_drop(&r->lock);
	}
}

void
queues_drain(struct rep *r)
{
	struct rep_peer *batch;
	struct job *j;

	for (;;) {
		lock_take(&r->lock);
		j = take_job(r, &batch);
		lock_drop(&r->lock);
		if (j == NULL)
			return;
		do_job(r, j, batch);
	}
}

int
peer_job(struct rep_peer *p, void (*run)(struct job *j), void *arg,
    struct err *e)
{
	struct rep *r = p->r;
	struct job *j = mem_zalloc(sizeof(*j));
	bool is_closing;

	if (j == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	j->p = p;
	j->run = run;
	j->arg = arg;
	lock_take(&r->lock);
	is_closing = r->is_closing;
	if (!is_closing)
		queue_push(&p->calls, j);
	lock_drop(&r->lock);
	if (is_closing) {
		mem_free(&j);
		return err_set(e, ERR_CLOSED, "stopped");
	}
	worker_wake(r);
	return 0;
}
