/* gateway/blob/cluster_call.c - one call to one node, and who owns the index.
 *
 * A failed call marks its node for 2 s, then longer, up to 30 s, until one
 * succeeds. A node that refuses a write for lack of room or of copies is
 * passed over by writers for a moment only. */
#include "gateway/blob/cluster_int.h"

#include "lib/clock.h"
#include "lib/metrics.h"

#include <stdarg.h>
#include <stdio.h>

#define MS 1000000ll
#define BAD_MS 2000
#define BAD_MAX_MS 30000
#define BUSY_MS 500
#define FULL_MS 10000
#define FENCE_MS 1000
#define LIVES_MS 800
#define HURRY_MS 1000
#define OUTRUN_MAX 3
#define LONG_MS 1500 /* calls that may take so long are watched (C7) */

_Static_assert(BLOB_ID_MAX == SOP_ID_MAX, "IDs fit");
_Static_assert(BLOB_NOTE_MAX == SOP_NOTE_MAX, "notes fit");

void
cluster_event(struct cluster *c, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (c->conf.event == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->conf.event(c->conf.arg, level, text);
}

void
cluster_mark_bad(struct cluster *c, struct view_node *n, const struct err *e)
{
	uint32_t times = atomic_fetch_add(&n->n->failures, 1);
	int64_t ms = BAD_MAX_MS;

	metric_add(METRIC_storage_failures_total, 1);
	if (times < 4)
		ms = BAD_MS << times;
	if (times == 0)
		cluster_event(c, 1,
		    "node %u of %s does not answer, others are asked first: %s",
		    n->c->server_id, n->c->group, e->msg);
	atomic_store(&n->n->bad_until_ns, clock_mono_ns() + ms * MS);
	cluster_kick(c);
}

static void
mark_unwilling(struct view_node *n, int64_t ms)
{
	metric_add(METRIC_storage_refusals_total, 1);
	atomic_store(&n->n->unwilling_until_ns, clock_mono_ns() + ms * MS);
}

void
cluster_mark_good(struct cluster *c, struct view_node *n)
{
	if (atomic_load_explicit(&n->n->failures, memory_order_relaxed) == 0)
		return;
	atomic_store(&n->n->bad_until_ns, 0);
	if (atomic_exchange(&n->n->failures, 0) > 0)
		cluster_event(c, 2, "node %u of %s answers again",
		    n->c->server_id, n->c->group);
}

/* Refused: is it for the epoch, or for what was asked? */
static int
look_into(struct cluster *c, struct view_node *n, int rc, struct err *e)
{
	uint64_t epoch = atomic_load(&c->epoch), newest = 0;
	struct err e2 = ERR_INIT;

	if (epoch == 0)
		return rc;
	if (cluster_fence(c, n, &c->index_id, epoch, &newest, &e2) !=
		ERR_ACCESS_DENIED ||
	    newest <= epoch)
		return rc;
	cluster_lose(c, newest);
	return err_set(e, ERR_FAILED, "another gateway owns the index now");
}

void
blob_cluster_hurry(struct blob *b, int ms)
{
	atomic_store(&cluster_of(b)->end_ns, clock_mono_ns() + ms * MS);
}

/* What is left of @ms; 0: nothing. */
static int
shorten(struct cluster *c, int ms)
{
	int64_t left, end = atomic_load(&c->end_ns);

	if (end == 0)
		return ms;
	left = (end - clock_mono_ns()) / MS;
	if (left > HURRY_MS)
		left = HURRY_MS;
	return left <= 0 ? 0 : left < ms ? (int)left : ms;
}

/* C8: given up, because another replica was first. */
static bool
is_outrun(const struct rpc_request *q)
{
	return q->watch != NULL && q->watch->is_over != NULL &&
	       q->watch->is_over(q->watch->arg);
}

/* From the third time in a row on, each time. */
static void
count_outrun(struct view_node *n)
{
	if (atomic_fetch_add(&n->n->outrun, 1) + 1 < OUTRUN_MAX)
		return;
	atomic_store(&n->n->outrun, OUTRUN_MAX - 1);
	atomic_store(&n->n->slow_until_ns, clock_mono_ns() + BAD_MS * MS);
}

int
cluster_call(struct cluster *c, struct view_node *n,
    const struct rpc_request *q, int timeout_ms, struct rpc_reply *r,
    struct err *e)
{
	struct err mine = ERR_INIT;
	int rc;

	if (e == NULL)
		e = &mine;
	timeout_ms = shorten(c, timeout_ms);
	if (timeout_ms == 0) {
		if (r != NULL)
			r->was_sent = false;
		return err_set(e, ERR_CLOSED, "this gateway is ending");
	}
	if (timeout_ms >= LONG_MS)
		atomic_fetch_add(&n->n->n_long, 1);
	rc = rpc_call(c->rpc, &n->addr, q, timeout_ms, r, e);
	if (timeout_ms >= LONG_MS)
		atomic_fetch_sub(&n->n->n_long, 1);
	switch (rc) {
	case ERR_DISCONNECTED:
	case ERR_CONFIG: /* of another cluster */
		if (is_outrun(q))
			count_outrun(n);
		else
			cluster_mark_bad(c, n, e);
		break;
	case ERR_ACCESS_DENIED:
		if (q->op != RPC_FENCE)
			return look_into(c, n, rc, e);
		break;
	case ERR_BUSY:
	case ERR_RETRY:
		mark_unwilling(n, BUSY_MS);
		break;
	case ERR_NO_SPACE:
	case ERR_FAILED:
		mark_unwilling(n, FULL_MS);
		break;
	default:
		cluster_mark_good(c, n);
		break;
	}
	return rc;
}

static int
fence_within(struct cluster *c, struct view_node *n,
    const struct id128 *index_id, uint64_t epoch, int timeout_ms, uint64_t *ret,
    struct err *e)
{
	struct sop_fence f = { *index_id, epoch };
	struct rpc_request q = { .op = RPC_FENCE };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct err e2 = ERR_INIT;
	struct rpc_reply r;
	int rc = sop_fence_pack(&f, &args);

	if (rc < 0)
		return err_set(e, rc, NULL);
	rpc_reply_init(&r);
	q.args = buf_str(&args);
	rc = cluster_call(c, n, &q, timeout_ms, &r, e);
	if (rc == 0 || rc == ERR_ACCESS_DENIED) {
		if (sop_fence_unpack(buf_str(&r.args), &f, &e2) == 0)
			*ret = f.index_epoch;
		else if (rc == 0)
			rc = err_set(e, ERR_INVALID, "%s", e2.msg);
		else
			*ret = 0; /* refused for something else */
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc;
}

int
cluster_fence(struct cluster *c, struct view_node *n,
    const struct id128 *index_id, uint64_t epoch, uint64_t *ret, struct err *e)
{
	return fence_within(c, n, index_id, epoch, FENCE_MS, ret, e);
}

bool
cluster_lives(struct cluster *c, struct view_node *n)
{
	uint64_t newest;
	struct err e = ERR_INIT;

	return fence_within(c, n, &c->index_id, 0, LIVES_MS, &newest, &e) !=
	       ERR_DISCONNECTED;
}

void
cluster_lose(struct cluster *c, uint64_t newest)
{
	if (atomic_exchange(&c->is_lost, true))
		return;
	cluster_event(c, 0,
	    "another gateway has taken the index over (epoch %ju, this one's "
	    "is %ju): no writes from here on; stop this gateway, only one may "
	    "run on an index",
	    (uintmax_t)newest, (uintmax_t)atomic_load(&c->epoch));
}

int
cluster_check_owner(struct cluster *c, const struct id128 *index_id,
    uint64_t *ret_epoch, struct err *e)
{
	uint64_t epoch = atomic_load(&c->epoch);

	if (atomic_load(&c->is_lost))
		return err_set(e, ERR_FAILED,
		    "another gateway owns the index now");
	if (epoch == 0 || !id128_eq(index_id, &c->index_id))
		return err_set(e, ERR_BUSY,
		    "the index is not yet known to the cluster");
	*ret_epoch = epoch;
	return 0;
}

void
cluster_to_info(const struct sop_file *f, struct blob_info *ret)
{
	*ret = (struct blob_info){ .size = f->size,
		.class = f->class,
		.created_s = f->created_s,
		.index_id = f->index_id,
		.write_id = f->write_id };
	memcpy(ret->id, f->id, sizeof(ret->id));
}

int
cluster_group_of(struct str id, struct str *ret, struct err *e)
{
	ptrdiff_t slash = str_chr(id, '/');

	if (slash < 1 || slash > FDFS_GROUP_LEN)
		return err_set(e, ERR_INVALID, "not a file ID: " STR_FMT,
		    STR_ARG(str_sub(id, 0, BLOB_ID_MAX)));
	*ret = str_sub(id, 0, (size_t)slash);
	return 0;
}

/* --- the owner of the index (C3) --- */

/* FENCE at the nodes of @vg within reach; *ret_n took it. ERR_ACCESS_DENIED: a
 * newer epoch than @epoch is known there. */
static int
fence_group(struct cluster *c, struct view *v, const struct view_group *vg,
    const struct id128 *index_id, uint64_t epoch, uint64_t *newest,
    size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	for (size_t i = vg->first; i < vg->first + vg->n; i++) {
		struct view_node *node = &v->nodes[i];
		uint64_t known = 0;
		int rc;

		if (node->c->is_away && node_is_bad(node->n))
			continue;
		rc = cluster_fence(c, node, index_id, epoch, &known, e);
		if (known > *newest)
			*newest = known;
		if (rc == 0 && epoch > 0)
			atomic_store(&node->n->fenced, epoch);
		*ret_n += rc == 0 || (rc == ERR_ACCESS_DENIED && known > 0);
		if (rc == ERR_ACCESS_DENIED && epoch > 0 && known > epoch)
			return rc;
	}
	return 0;
}

/* FENCE at all nodes within reach; @epoch 0 only asks. Of one group a majority
 * has to answer, of @each group as many as sop_quorum() says. */
static int
fence_all(struct cluster *c, const struct id128 *index_id, uint64_t epoch,
    bool each, uint64_t *ret_newest, struct err *e)
{
	const struct view_group *missing = NULL;
	struct view *v = view_get(c);
	struct err e2 = ERR_INIT;
	size_t groups = 0, n;
	int rc = 0;

	*ret_newest = 0;
	for (size_t g = 0; g < v->n_groups && rc == 0; g++) {
		const struct view_group *vg = &v->groups[g];

		rc =
		    fence_group(c, v, vg, index_id, epoch, ret_newest, &n, &e2);
		groups += n > vg->members / 2;
		if (n < sop_quorum(vg->members, vg->copies))
			missing = vg;
	}
	if (rc < 0)
		err_set(e, rc, "%s", e2.msg);
	else if (each && missing != NULL)
		rc = err_set(e, ERR_BUSY,
		    "too few nodes of group %s are within reach to end what "
		    "another gateway may write through it%s%.100s",
		    missing->name, e2.msg[0] != '\0' ? ": " : "", e2.msg);
	else if (groups == 0)
		rc = err_set(e, ERR_BUSY,
		    "no group has a majority of its nodes within reach");
	view_put(v);
	return rc;
}

int
blob_cluster_newest(struct blob *b, const struct id128 *index_id,
    uint64_t *ret_epoch, struct err *e)
{
	return fence_all(cluster_of(b), index_id, 0, false, ret_epoch, e);
}

static int
take(struct cluster *c, const struct id128 *index_id, uint64_t epoch, bool each,
    struct err *e)
{
	uint64_t newest;
	int rc = 0;

	/* Nobody is ended in vain where a group is out of reach. */
	if (each)
		rc = fence_all(c, index_id, 0, true, &newest, e);
	if (rc == 0)
		rc = fence_all(c, index_id, epoch, each, &newest, e);
	if (rc == ERR_ACCESS_DENIED)
		return err_set(e, rc,
		    "another gateway has taken the index over meanwhile "
		    "(epoch %ju)",
		    (uintmax_t)newest);
	if (rc < 0)
		return rc;
	lock_take(&c->lock);
	if (!id128_eq(&c->index_id, index_id)) /* read without it, later */
		c->index_id = *index_id;
	lock_drop(&c->lock);
	atomic_store(&c->epoch, epoch);
	return 0;
}

int
blob_cluster_take(struct blob *b, const struct id128 *index_id, uint64_t epoch,
    struct err *e)
{
	return take(cluster_of(b), index_id, epoch, false, e);
}

int
blob_cluster_take_all(struct blob *b, const struct id128 *index_id,
    uint64_t epoch, struct err *e)
{
	return take(cluster_of(b), index_id, epoch, true, e);
}

bool
blob_cluster_is_lost(struct blob *b)
{
	return atomic_load(&cluster_of(b)->is_lost);
}
