/* storage/server/find.c - FIND_WRITE: by the write ID, in the whole group.
 *
 * What this node does not know its peers are asked for, one after the other:
 * whoever asks for it (a gateway's sweep) has time. A peer asks for what this one
 * knows itself. */
#include "storage/server/storage_int.h"

#define ASK_MS 2000

static int
ask_peer(struct storage *s, const struct cmap_member *m, struct str args,
    struct rpc_answer *a, struct err *e)
{
	struct rpc_request q = { .op = RPC_FIND_WRITE,
		.args = args,
		.epoch = members_epoch(s->members) };
	struct rpc_reply r;
	int rc;

	rpc_reply_init(&r);
	rc = s->env.ops->call(s->env.env, &m->inner, &q, ASK_MS, &r, e);
	if (rc == 0)
		rc = buf_adds(&a->args, buf_str(&r.args));
	rpc_reply_fini(&r);
	return rc;
}

int
find_at_peers(struct storage *s, struct str args, struct rpc_answer *a,
    struct err *e)
{
	struct err e2 = ERR_INIT;
	struct member_view v;
	size_t lack = 1; /* this node */
	int rc;

	members_get(s->members, &v);
	if (v.self < 0)
		return err_set(e, ERR_RETRY, "not a member of a group");
	for (size_t i = 0; i < v.n; i++) {
		if ((int)i == v.self || v.m[i].inner.ip[0] == '\0')
			continue;
		rc = ask_peer(s, &v.m[i], args, a, &e2);
		if (rc == 0)
			return 0;
		lack += rc == ERR_NOT_FOUND;
	}
	if (lack >= sop_quorum(v.n, s->c.degraded_writes ? 1 : s->c.min_copies))
		return err_set(e, ERR_NOT_FOUND, "no such write");
	return err_set(e, ERR_RETRY, "too few members can be asked: %.200s",
	    e2.msg);
}
