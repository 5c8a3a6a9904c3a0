/* storage/server/fence_tell.c - peers are told of epochs (W3).
 *
 * A gateway that takes an index cannot always reach every node; a node that it
 * did not reach, but whose peers it did, must not go on writing for another one.
 * Each node tells each peer what it knows: when that has changed, when it has
 * not told this peer yet, and now and then again, since a peer may have lost
 * what it knew. Threads: the keeper's; fence.c's lock guards the epochs. */
#include "storage/server/storage_int.h"

#include "lib/clock.h"

#define TELL_MS 1000
#define AGAIN_MS 30000
#define FAILED_MS 2000 /* a peer that did not answer is left alone so long */
#define MS INT64_C(1000000)

static struct told *
told_of(struct storage *s, const struct id128 *node)
{
	struct told *oldest = &s->told[0];

	for (size_t i = 0; i < CMAP_MEMBERS; i++) {
		struct told *t = &s->told[i];

		if (id128_eq(&t->node, node))
			return t;
		if (t->at_ns < oldest->at_ns)
			oldest = t;
	}
	*oldest = (struct told){ .node = *node };
	return oldest;
}

static int
tell_one(struct storage *s, const struct fdfs_addr *to, const struct fence *f,
    struct err *e)
{
	struct sop_fence m = { f->index_id, f->epoch };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_FENCE };
	int rc = sop_fence_pack(&m, &args);

	q.args = buf_str(&args);
	q.epoch = members_epoch(s->members);
	if (rc == 0)
		rc = s->env.ops->call(s->env.env, to, &q, TELL_MS, NULL, e);
	buf_fini(&args);
	return rc == ERR_ACCESS_DENIED ? 0 : rc; /* it knows a higher one */
}

/* The @i-th of what is known here. */
static bool
fence_at(struct storage *s, size_t i, struct fence *ret)
{
	bool yes;

	lock_take(&s->fence_lock);
	yes = i < s->n_fences;
	if (yes)
		*ret = s->fences[i];
	lock_drop(&s->fence_lock);
	return yes;
}

static void
tell(struct storage *s, const struct cmap_member *m, uint64_t changes)
{
	struct told *t = told_of(s, &m->node);
	int64_t now = clock_mono_ns();
	struct err e = ERR_INIT;
	struct fence f;
	int rc = 0;

	if (now < t->not_before_ns ||
	    (t->changes == changes && now - t->at_ns < AGAIN_MS * MS))
		return;
	for (size_t i = 0; rc == 0 && fence_at(s, i, &f); i++)
		rc = tell_one(s, &m->inner, &f, &e);
	t->at_ns = clock_mono_ns();
	t->not_before_ns = rc == 0 ? 0 : t->at_ns + FAILED_MS * MS;
	t->changes = rc == 0 ? changes : 0;
}

void
fence_tell(struct storage *s)
{
	struct member_view v;
	uint64_t changes;

	lock_take(&s->fence_lock);
	changes = s->fence_changes;
	lock_drop(&s->fence_lock);
	if (changes == 0)
		return;
	members_get(s->members, &v);
	for (size_t i = 0; i < v.n; i++)
		if ((int)i != v.self && v.m[i].inner.ip[0] != '\0')
			tell(s, &v.m[i], changes);
}
