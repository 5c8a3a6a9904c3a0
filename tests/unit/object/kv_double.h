/* tests/unit/object/kv_double.h - index/kv.h in memory, as a test double.
 *
 * A sorted array of counted records under one lock; a view is a copy of the
 * array. A transaction function is run twice when kv_double_rerun is set, since
 * kv.h allows that. kv_double_fail makes the n-th commit fail: after it was
 * applied when kv_double_fail_applied, else before (an unknown outcome). */
#ifndef TESTS_OBJECT_KV_DOUBLE_H
#define TESTS_OBJECT_KV_DOUBLE_H

#include "gateway/index/kv.h"

#include "lib/lock.h"
#include "lib/mem.h"

#include <stdatomic.h>

static bool kv_double_rerun, kv_double_fail_applied;
static int kv_double_fail;
/* A posted job runs in kv_double_release() only. */
static bool kv_double_holds_jobs;
static struct kv_job *kv_double_held;
static int kv_double_job_fail; /* what jobs end with; 0: what they come to */
/* Called once, before the next transaction: what another thread did meanwhile. */
static __attribute__((unused)) void (*kv_double_hook)(void *arg);
static __attribute__((unused)) void *kv_double_hook_arg;

struct drec {
	unsigned refs;
	size_t klen, vlen;
	char b[];
};

struct drecs {
	struct drec **r;
	size_t n, size;
};

struct ddata {
	struct lock lock;
	struct drecs recs;
	uint64_t seq;
	struct id128 id;
	bool fresh;
};

struct kv {
	struct ddata *d;
};
struct kv_tx {
	struct ddata *d;
	struct drecs puts; /* vlen SIZE_MAX: delete */
	uint64_t seq;
	bool has_written;
};
struct kv_view {
	struct ddata *d;
	struct drecs recs;
	uint64_t seq;
};
struct kv_cursor {
	struct kv_view *v;
	size_t i;
	struct str to;
	char tob[KV_KEY_MAX];
};

static struct str
dkey(const struct drec *r)
{
	return str_mem(r->b, r->klen);
}

static struct str
dval(const struct drec *r)
{
	return str_mem(r->b + r->klen, r->vlen == SIZE_MAX ? 0 : r->vlen);
}

static size_t
dlower(const struct drecs *rs, struct str key)
{
	size_t lo = 0, hi = rs->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (str_cmp(dkey(rs->r[mid]), key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void
dunref(struct drec *r)
{
	if (--r->refs == 0)
		free(r);
}

static bool
dat(const struct drecs *rs, size_t i, struct str key)
{
	return i < rs->n && str_eq(dkey(rs->r[i]), key);
}

/* Takes @rec over; NULL removes. */
static void
dset(struct drecs *rs, struct str key, struct drec *rec)
{
	size_t i = dlower(rs, key);

	if (dat(rs, i, key)) {
		struct drec *old = rs->r[i];

		if (rec != NULL) {
			rs->r[i] = rec;
		} else {
			memmove(&rs->r[i], &rs->r[i + 1],
			    (rs->n - i - 1) * sizeof(rs->r[0]));
			rs->n--;
		}
		dunref(old);
		return;
	}
	if (rec == NULL)
		return;
	if (rs->n == rs->size) {
		rs->size = rs->size == 0 ? 64 : rs->size * 2;
		rs->r = realloc(rs->r, rs->size * sizeof(rs->r[0]));
		MUST(rs->r != NULL);
	}
	memmove(&rs->r[i + 1], &rs->r[i], (rs->n - i) * sizeof(rs->r[0]));
	rs->r[i] = rec;
	rs->n++;
}

static struct drec *
drec_new(struct str key, struct str value, bool is_delete)
{
	struct drec *r = malloc(sizeof(*r) + key.len + value.len);

	MUST(r != NULL);
	r->refs = 1;
	r->klen = key.len;
	r->vlen = is_delete ? SIZE_MAX : value.len;
	memcpy(r->b, key.p, key.len);
	if (value.len > 0)
		memcpy(r->b + key.len, value.p, value.len);
	return r;
}

static void
dclear(struct drecs *rs)
{
	size_t i;

	for (i = 0; i < rs->n; i++)
		dunref(rs->r[i]);
	free(rs->r);
	*rs = (struct drecs){ 0 };
}

int
kv_open(const struct kv_conf *c, struct kv **ret, struct err *e)
{
	struct kv *k = calloc(1, sizeof(*k));

	(void)c;
	(void)e;
	k->d = calloc(1, sizeof(*k->d));
	lock_init(&k->d->lock, LOCK_RANK_KV_QUEUE);
	k->d->id = id128_new();
	k->d->fresh = true;
	*ret = k;
	return 0;
}

void
kv_close(struct kv **kp)
{
	struct kv *k = *kp;

	if (k == NULL)
		return;
	*kp = NULL;
	dclear(&k->d->recs);
	lock_fini(&k->d->lock);
	free(k->d);
	free(k);
}

const struct id128 *
kv_id(const struct kv *k)
{
	return &k->d->id;
}

bool
kv_is_fresh(struct kv *k)
{
	return k->d->fresh;
}

int
kv_clear_fresh(struct kv *k, struct err *e)
{
	(void)e;
	k->d->fresh = false;
	return 0;
}

static int
drun(struct kv_tx *tx, kv_fn fn, void *arg, struct err *e)
{
	dclear(&tx->puts);
	tx->has_written = false;
	return fn(tx, arg, e);
}

int
kv_update(struct kv *k, kv_fn fn, void *arg, struct err *e)
{
	struct ddata *d = k->d;
	struct kv_tx tx = { .d = d };
	void (*hook)(void *) = kv_double_hook;
	size_t i;
	int rc;

	kv_double_hook = NULL;
	if (hook != NULL)
		hook(kv_double_hook_arg);
	lock_take(&d->lock);
	tx.seq = d->seq + 2;
	if (kv_double_rerun)
		(void)drun(&tx, fn, arg, e);
	tx.seq = d->seq + 3;
	rc = drun(&tx, fn, arg, e);
	if (rc == 0 && kv_double_fail > 0 && --kv_double_fail == 0) {
		rc = err_set(e, ERR_FAILED, "the double's failure");
		if (!kv_double_fail_applied)
			dclear(&tx.puts);
	}
	if (rc == 0 || tx.puts.n > 0) {
		if (rc == 0 || rc == ERR_FAILED) {
			d->seq = tx.seq;
			for (i = 0; i < tx.puts.n; i++) {
				struct drec *r = tx.puts.r[i];

				if (r->vlen != SIZE_MAX)
					r->refs++;
				dset(&d->recs, dkey(r),
				    r->vlen == SIZE_MAX ? NULL : r);
			}
		}
	}
	dclear(&tx.puts);
	lock_drop(&d->lock);
	return rc;
}

int
kv_update_flags(struct kv *k, unsigned flags, kv_fn fn, void *arg,
    struct err *e)
{
	(void)flags;
	return kv_update(k, fn, arg, e);
}

int
kv_job_begin(struct kv *k, struct kv_job *j, unsigned flags, kv_fn fn,
    void *arg, struct err *e)
{
	*j = (struct kv_job){ .kv = k,
		.fn = fn,
		.arg = arg,
		.e = e,
		.flags = flags };
	return 0;
}

static void
drun_job(struct kv_job *j, int rc)
{
	if (rc == 0 && kv_double_job_fail != 0)
		rc = err_set(j->e, kv_double_job_fail, "the double's refusal");
	if (rc == 0)
		rc = kv_update(j->kv, j->fn, j->arg, j->e);
	j->done(j->done_arg, rc);
}

void
kv_job_post(struct kv_job *j, int rc, bool more,
    void (*done)(void *arg, int rc), void *done_arg)
{
	(void)more;
	j->done = done;
	j->done_arg = done_arg;
	if (!kv_double_holds_jobs) {
		drun_job(j, rc);
		return;
	}
	MUST(kv_double_held == NULL);
	j->rc = rc;
	kv_double_held = j;
}

/* The held one; false: there is none. */
static __attribute__((unused)) bool
kv_double_release(void)
{
	struct kv_job *j = kv_double_held;

	kv_double_held = NULL;
	if (j != NULL)
		drun_job(j, j->rc);
	return j != NULL;
}

uint64_t
kv_tx_seq(struct kv_tx *tx)
{
	return tx->seq;
}

int
kv_tx_get(struct kv_tx *tx, struct str key, struct str *ret, struct err *e)
{
	size_t i;

	MUST(!tx->has_written); /* reads first, writes last */
	i = dlower(&tx->d->recs, key);
	if (!dat(&tx->d->recs, i, key))
		return err_set(e, ERR_NOT_FOUND, NULL);
	*ret = dval(tx->d->recs.r[i]);
	return 0;
}

int
kv_tx_next(struct kv_tx *tx, struct str from, struct str to,
    struct str *ret_key, struct str *ret_value, struct err *e)
{
	const struct drecs *rs = &tx->d->recs;
	size_t i;

	MUST(!tx->has_written);
	i = dlower(rs, from);
	if (i == rs->n || (to.len > 0 && str_cmp(dkey(rs->r[i]), to) >= 0))
		return err_set(e, ERR_NOT_FOUND, NULL);
	*ret_key = dkey(rs->r[i]);
	*ret_value = dval(rs->r[i]);
	return 0;
}

int
kv_tx_put(struct kv_tx *tx, struct str key, struct str value, struct err *e)
{
	(void)e;
	MUST(key.len > 0 && key.len <= KV_KEY_MAX);
	MUST(value.len <= KV_VALUE_MAX);
	tx->has_written = true;
	dset(&tx->puts, key, drec_new(key, value, false));
	return 0;
}

int
kv_tx_del(struct kv_tx *tx, struct str key, struct err *e)
{
	(void)e;
	tx->has_written = true;
	dset(&tx->puts, key, drec_new(key, STR_NULL, true));
	return 0;
}

int
kv_view_open(struct kv *k, struct kv_view **ret, struct err *e)
{
	struct kv_view *v = calloc(1, sizeof(*v));
	size_t i;

	(void)e;
	lock_take(&k->d->lock);
	v->d = k->d;
	v->seq = k->d->seq;
	v->recs.n = v->recs.size = k->d->recs.n;
	v->recs.r = malloc((v->recs.n + 1) * sizeof(v->recs.r[0]));
	for (i = 0; i < v->recs.n; i++) {
		v->recs.r[i] = k->d->recs.r[i];
		v->recs.r[i]->refs++;
	}
	lock_drop(&k->d->lock);
	*ret = v;
	return 0;
}

void
kv_view_close(struct kv_view **vp)
{
	struct kv_view *v = *vp;

	if (v == NULL)
		return;
	*vp = NULL;
	lock_take(&v->d->lock);
	dclear(&v->recs);
	lock_drop(&v->d->lock);
	free(v);
}

uint64_t
kv_view_seq(const struct kv_view *v)
{
	return v->seq;
}

int
kv_view_get(struct kv_view *v, struct str key, struct str *ret, struct err *e)
{
	size_t i = dlower(&v->recs, key);

	if (!dat(&v->recs, i, key))
		return err_set(e, ERR_NOT_FOUND, NULL);
	*ret = dval(v->recs.r[i]);
	return 0;
}

int
kv_cursor_open(struct kv_view *v, struct str from, struct str to,
    struct kv_cursor **ret, struct err *e)
{
	struct kv_cursor *c = calloc(1, sizeof(*c));

	(void)e;
	c->v = v;
	c->i = dlower(&v->recs, from);
	if (to.len > 0)
		memcpy(c->tob, to.p, to.len);
	c->to = str_mem(c->tob, to.len);
	*ret = c;
	return 0;
}

void
kv_cursor_close(struct kv_cursor **cp)
{
	mem_free(cp);
}

int
kv_cursor_next(struct kv_cursor *c, struct str *ret_key, struct str *ret_value,
    struct err *e)
{
	const struct drecs *rs = &c->v->recs;

	(void)e;
	if (c->i >= rs->n ||
	    (c->to.len > 0 && str_cmp(dkey(rs->r[c->i]), c->to) >= 0))
		return 0;
	*ret_key = dkey(rs->r[c->i]);
	*ret_value = dval(rs->r[c->i]);
	c->i++;
	return 1;
}

int
kv_cursor_seek(struct kv_cursor *c, struct str key, struct err *e)
{
	size_t i = dlower(&c->v->recs, key);

	(void)e;
	if (i > c->i)
		c->i = i;
	return 0;
}

void
kv_get_stat(struct kv *k, struct kv_stat *ret)
{
	*ret = (struct kv_stat){ .records = k->d->recs.n, .seq = k->d->seq };
}

int
kv_flush(struct kv *k, struct err *e)
{
	(void)k;
	(void)e;
	return 0;
}

int
kv_archive(struct kv *k, struct err *e)
{
	(void)k;
	(void)e;
	return 0;
}

int
kv_backup(struct kv *k, const char *to_dir, struct err *e)
{
	(void)k;
	(void)to_dir;
	return err_set(e, ERR_NOT_IMPLEMENTED, NULL);
}

int
kv_rebuild(const struct kv_conf *c, const struct id128 *index_id, struct err *e)
{
	(void)c;
	(void)index_id;
	return err_set(e, ERR_NOT_IMPLEMENTED, NULL);
}

#endif
