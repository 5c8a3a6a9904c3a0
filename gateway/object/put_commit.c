/* gateway/object/put_commit.c - an object out of a put: its record, and the
 * transaction that makes it visible.
 *
 * A held body goes through without anybody waiting: the engine's writer hands
 * it on to the index's committer, that one says when it is over. With nothing
 * else under way both write on the caller's thread, and it is over at once. Of
 * any other body the bytes are waited for, the transaction is not.
 *
 * C1  `state` says who may touch a commit under way: its caller until it is
 *     posted and from DONE on, in between whoever carries it on. Whoever sets
 *     DONE does not touch it any more, but to call what follows. */
#include "gateway/object/put.h"

#include "lib/clock.h"
#include "lib/futex.h"

#define COMMIT_MAGIC 0xc0331700u

enum { /* of a commit */
	RUNS,
	AWAITED, /* a thread sleeps for it */
	FOLLOWED,
	DONE
};

struct commit {
	struct put *p;
	const struct write_cond *cond;
	struct str record;
	struct str manifest; /* its row's value; p NULL: inline */
	uint64_t seq;
};

static int
commit_fn(struct txn *t, void *arg, struct err *e)
{
	struct commit *c = arg;
	const struct put *p = c->p;
	uint64_t inc = p->bucket.incarnation;
	struct str name = key_str(&p->key);
	struct counters n;
	struct refs refs = { 0 };
	struct old old;
	struct key k;
	int rc;

	rc = txn_bucket(t, &p->bucket, e);
	if (rc == 0)
		rc = txn_old(t, inc, name, c->cond != NULL, &old, e);
	if (rc < 0)
		return rc;
	if (old.is_found && id128_eq(&old.o.write_id, &p->write_id)) {
		c->seq = old.seq; /* a repetition after all: done */
		return 0;
	}
	rc = txn_check_cond(t, &old, c->cond, e);
	if (rc == 0)
		rc = txn_old_release(t, &old, &refs, e);
	if (rc == 0)
		rc = refs_read(t, &refs, e);
	if (rc == 0)
		rc = txn_counters(t, inc, &n, e);
	if (rc < 0)
		return rc;
	n.objects += !old.is_found;
	n.bytes += p->total - (old.is_found ? old.o.size : 0);
	c->seq = kv_tx_seq(t->tx);

	rc = txn_old_bury(t, &old, e);
	if (rc == 0)
		rc = refs_write(t, &refs, e);
	if (rc == 0 && c->manifest.p != NULL) {
		key_manifest(&k, &p->write_id);
		rc = txn_put(t, &k, c->manifest, e);
	}
	key_object(&k, inc, name, c->seq);
	if (rc == 0)
		rc = txn_put(t, &k, c->record, e);
	return rc < 0 ? rc : txn_put_counters(t, inc, &n, e);
}

/* Was it committed after all? Only its record tells. */
static bool
settle(struct put *p, uint64_t *ret_seq)
{
	struct err e = ERR_INIT;
	struct rec_object o;
	struct kv_view *v;
	struct row row;
	bool yes = false;

	if (view_open(p->s, &v, &e) < 0)
		return false;
	if (view_newest(v, p->bucket.incarnation, key_str(&p->key), &row, &e) ==
		0 &&
	    row.is_found && rec_object_head(row.value, &o, &e) == 0 &&
	    id128_eq(&o.write_id, &p->write_id)) {
		*ret_seq = row.seq;
		yes = true;
	}
	kv_view_close(&v);
	return yes;
}

static int
encode(struct put *p, struct arena *a, const struct object *o, struct commit *c,
    struct err *e)
{
	struct rec_object r = { .size = p->total, .write_id = p->write_id };
	Rec__Manifest m = REC__MANIFEST__INIT;
	struct extents x;
	bool inlined;
	int rc = put_extents(p, a, &x, e);

	if (rc < 0)
		return rc;
	inlined = x.n <= PUT_INLINE_EXTENTS;
	if (!inlined) {
		r.flags |= REC_OBJECT_SHARED;
		rc = rec_extents_make(a, &x, NULL, &m.extents, e);
		if (rc < 0)
			return rc;
		m.n_extents = x.n;
		rc = rec_manifest_put(a, 1, &m, &c->manifest, e);
		if (rc < 0)
			return rc;
	}
	rc = rec_object_make(a, o, &p->write_id, &x,
	    inlined ? NULL : &p->write_id, &r.pb, e);
	return rc < 0 ? rc : rec_object_put(a, &r, &c->record, e);
}

/* --- on its way --- */

struct put_commit {
	unsigned magic;
	struct commit c;
	struct arena *a;
	struct object *o;
	struct store_job job;
	bool is_alone, has_job, is_stored;
	struct err e;
	int rc;
	_Atomic uint32_t state; /* C1 */
	void (*fn)(void *arg);
	void *arg;
};

static void
is_over(void *arg, int rc)
{
	struct put_commit *pc = arg;
	uint32_t was;

	pc->rc = rc;
	was = atomic_exchange(&pc->state, DONE);
	if (was == FOLLOWED)
		pc->fn(pc->arg);
	else if (was == AWAITED)
		futex_wake(&pc->state, 1);
}

static int
held_named(void *arg, const struct blob_info *i, struct err *e)
{
	struct put_commit *pc = arg;
	struct put *p = pc->c.p;
	int rc;

	p->x[0].len = p->held.len;
	memcpy(p->x[0].id, i->id, sizeof(p->x[0].id));
	rc = encode(p, pc->a, pc->o, &pc->c, e);
	if (rc == 0)
		rc = store_job_begin(p->s, &pc->job, commit_fn, &pc->c, e);
	pc->has_job = rc == 0;
	return rc;
}

static void
held_stored(void *arg, int rc, bool more)
{
	struct put_commit *pc = arg;

	pc->is_stored = rc == 0;
	store_job_post(&pc->job, rc, more, is_over, pc);
}

/* Negative: it is over before it began. */
static int
post_held(struct put_commit *pc, struct err *e)
{
	struct put *p = pc->c.p;
	struct blob_then then = { held_named, held_stored, pc, pc->a };
	char note[BLOB_NOTE_MAX];
	struct blob_owner owner;
	int rc = put_only_extent(p, note, sizeof(note), &owner, e);

	if (rc == 0)
		rc = blob_put_then(p->s->blob, str_of(p->bucket.group), &owner,
		    p->held, &then, e);
	return rc;
}

/* What may have to be written again elsewhere, and what was streamed, is there
 * before its transaction begins. */
static int
post_stored(struct put_commit *pc, struct err *e)
{
	struct put *p = pc->c.p;
	int rc = put_finish(p, e);

	if (rc == 0)
		rc = encode(p, pc->a, pc->o, &pc->c, e);
	if (rc == 0)
		rc = store_job_begin(p->s, &pc->job, commit_fn, &pc->c, e);
	if (rc < 0)
		return rc;
	pc->has_job = true;
	held_stored(pc, 0, false);
	return 0;
}

static int
settle_job(struct put_commit *pc, bool *ret_unknown)
{
	if (!pc->has_job || !pc->is_stored) {
		if (pc->is_alone && pc->c.p->n > 0) /* no such blob */
			pc->c.p->x[0].id[0] = '\0';
		return pc->rc;
	}
	return store_job_end(&pc->job, pc->rc, ret_unknown);
}

/* Nobody looks after it until it is over. */
static bool
goes_alone(const struct put *p)
{
	return p->held.p != NULL && !p->is_failed &&
	       blob_whole_max(p->s->blob) == 0;
}

int
put_commit_begin(struct put **pp, const struct user *owner,
    const struct write_cond *cond, struct object *o, struct arena *a,
    struct put_commit **ret, struct err *e)
{
	struct put *p = *pp;
	struct put_commit *pc;
	int rc;

	OBJ_CHECK(p, PUT_MAGIC);
	pc = arena_zalloc(a, sizeof(*pc));
	if (pc == NULL) {
		put_abort(pp);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	*pp = NULL;
	pc->magic = COMMIT_MAGIC;
	pc->c.p = p;
	pc->c.cond = cond;
	pc->a = a;
	pc->o = o;
	memcpy(o->owner_id, owner->id, sizeof(o->owner_id));
	o->mtime_ns = clock_real_ns();
	o->n_parts = 0;
	*ret = pc;
	pc->is_alone = goes_alone(p);
	rc = pc->is_alone ? post_held(pc, &pc->e) : post_stored(pc, &pc->e);
	if (rc < 0)
		is_over(pc, rc);
	return 0;
}

bool
put_commit_waits(const struct put_commit *pc)
{
	OBJ_CHECK(pc, COMMIT_MAGIC);
	return atomic_load(&pc->state) != DONE;
}

bool
put_commit_then(struct put_commit *pc, void (*fn)(void *arg), void *arg)
{
	uint32_t was = RUNS;

	OBJ_CHECK(pc, COMMIT_MAGIC);
	pc->fn = fn;
	pc->arg = arg;
	return atomic_compare_exchange_strong(&pc->state, &was, FOLLOWED);
}

static void
await(struct put_commit *pc)
{
	uint32_t was = RUNS;

	if (!atomic_compare_exchange_strong(&pc->state, &was, AWAITED))
		return;
	while (atomic_load(&pc->state) != DONE)
		futex_wait(&pc->state, AWAITED);
}

int
put_commit_end(struct put_commit **pcp, struct err *e)
{
	struct put_commit *pc = *pcp;
	struct put *p = pc->c.p;
	struct object *o = pc->o;
	bool unknown = false;
	int rc;

	OBJ_CHECK(pc, COMMIT_MAGIC);
	await(pc);
	rc = settle_job(pc, &unknown);
	if (unknown && settle(p, &pc->c.seq))
		rc = 0;
	if (rc == 0) {
		o->size = p->total;
		o->seq = pc->c.seq;
		o->version = STR_LIT("null");
		o->is_delete_marker = false;
	} else if (e != NULL) {
		*e = pc->e;
	}
	/* An unknown outcome leaves the bytes: the sweep looks later. */
	put_end(&p, rc < 0 && !unknown);
	pc->magic = 0;
	*pcp = NULL;
	return rc;
}

int
put_commit(struct put **pp, const struct user *owner,
    const struct write_cond *cond, struct object *o, struct err *e)
{
	struct arena *a = arena_new(SCRATCH_MAX);
	struct put_commit *pc;
	int rc;

	if (a == NULL) {
		put_abort(pp);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	rc = put_commit_begin(pp, owner, cond, o, a, &pc, e);
	if (rc == 0)
		rc = put_commit_end(&pc, e);
	arena_free(&a);
	return rc;
}
