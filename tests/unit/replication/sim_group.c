/* tests/unit/replication/sim_group.c - see sim_group.h. */
#include "tests/unit/replication/sim_group.h"

#include "lib/mem.h"

#include <stdio.h>

static int
serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct sim_member *v = arg;

	if (q->op >= RPC_MEMBERS && q->op <= RPC_LEAD)
		return v->m == NULL ? err_set(e, ERR_BUSY, "starting")
		                    : members_serve(v->m, from, q, a, e);
	if (q->op == RPC_FILE_OP && v->g->file_op != NULL)
		return v->g->file_op(v, from, q, a, e);
	return v->r == NULL ? err_set(e, ERR_BUSY, "starting")
	                    : rep_serve(v->r, from, q, a, e);
}

/* --- the tracker --- */

static int
tracker(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct sim_group *g = arg;

	(void)a;
	if (q->op != RPC_FOUND)
		return err_set(e, ERR_INVALID, "not of this tracker");
	if (!id128_is_zero(&g->founder) && !id128_eq(&g->founder, &from->id))
		return err_set(e, ERR_EXISTS, "it is there");
	g->founder = from->id;
	return 0;
}

/* What a tracker's map would say. */
static size_t
map_of(struct sim_group *g, struct cmap_node v[SIM_NODES])
{
	struct member_view mv;
	size_t n = 0;
	int i;

	memset(v, 0, SIM_NODES * sizeof(*v));
	for (i = 0; i < g->n; i++) {
		if (g->v[i].m == NULL || !sim_is_up(g->s, i))
			continue;
		members_get(g->v[i].m, &mv);
		memcpy(v[n].group, "group1", 6);
		sim_disk_node_id(sim_disk(g->s, i), &v[n].node);
		sim_addr(i, &v[n].inner);
		v[n].server_id = (uint32_t)i + 1;
		v[n].group_id = mv.group_id;
		v[n].n_members = mv.self < 0 ? 0 : mv.n;
		memcpy(v[n].members, mv.m, sizeof(mv.m));
		v[n++].heard_s = 1;
	}
	return n;
}

static void
announcer(void *arg)
{
	struct sim_group *g = arg;
	struct cmap_node *v = mem_alloc(SIM_NODES * sizeof(*v));
	struct cmap map = { .seq = 1, .nodes = v };
	int i;

	MUST(v != NULL);
	while (!g->is_over) {
		sim_sleep(g->s, 200 + (int64_t)sim_below(g->s, 600));
		for (i = 0; i < g->n; i++) {
			map.n_nodes = map_of(g, v);
			if (!sim_enter(g->s, i))
				continue;
			if (g->v[i].m != NULL)
				members_hear(g->v[i].m, &map);
			sim_leave(g->s, i);
		}
	}
	mem_free(&v);
}

/* --- nodes --- */

void
sim_group_init(struct sim_group *g, struct sim *s, int n)
{
	int i;

	memset(g, 0, sizeof(*g));
	g->s = s;
	g->n = n;
	for (i = 0; i < n; i++) {
		g->v[i].g = g;
		g->v[i].node = i;
	}
}

static void
conf_of(struct sim_group *g, int node, struct members_conf *ret)
{
	struct sim_disk *d = sim_disk(g->s, node);

	memset(ret, 0, sizeof(*ret));
	sim_env(g->s, node, &ret->env);
	memcpy(ret->group, "group1", 6);
	ret->server_id = (uint32_t)node + 1;
	sim_disk_node_id(d, &ret->node);
	memset(ret->cluster.b, 0x11, sizeof(ret->cluster.b));
	sim_addr(node, &ret->inner);
	sim_addr(SIM_NODES - 1, &ret->trackers[0]);
	ret->n_trackers = 1;
	ret->has_files = !sim_disk_is_blank(d);
}

int
sim_group_start(struct sim_group *g, int node, struct err *e)
{
	struct sim_member *v = &g->v[node];
	struct members_conf mc;
	struct rep_conf rc = g->conf;
	struct rpc_from self = { .kind = RPC_PEER,
		.group = "group1",
		.server_id = (uint32_t)node + 1 };
	struct members *m = NULL;
	int code;

	if (!g->has_begun) {
		g->has_begun = true;
		sim_start(g->s, SIM_NODES - 1, tracker, g);
		sim_spawn(g->s, SIM_OUTSIDE, announcer, g);
	}
	conf_of(g, node, &mc);
	self.id = mc.node;
	sim_self(g->s, node, &self);
	sim_start(g->s, node, serve, v);
	code = members_open(&mc, &m, e);
	v->m = m;
	rc.env = mc.env;
	rc.members = v->m;
	if (code == 0)
		code = rep_open(&rc, &v->r, e);
	if (code == 0 && g->opened != NULL)
		g->opened(v);
	v->is_open = code == 0;
	if (code < 0) {
		sim_trace(g->s, "node %d can't start: %s", node, e->msg);
		sim_group_stop(g, node);
	}
	return code;
}

void
sim_group_bring_up(struct sim_group *g, int node)
{
	struct err e = ERR_INIT;

	if (!sim_is_up(g->s, node) && sim_group_start(g, node, &e) < 0)
		sim_fail(g->s, "node %d can't start: %s", node, e.msg);
}

void
sim_group_stop(struct sim_group *g, int node)
{
	struct sim_member *v = &g->v[node];
	struct members *m;
	struct rep *r;

	sim_stop(g->s, node);
	v->is_open = false;
	if (v->more != NULL)
		g->closing(v);
	r = v->r;
	v->r = NULL;
	rep_close(&r);
	m = v->m;
	v->m = NULL;
	members_close(&m);
}

void
sim_group_stop_all(struct sim_group *g)
{
	int i;

	for (i = 0; i < g->n; i++) {
		if (sim_is_up(g->s, i))
			sim_group_stop(g, i);
	}
	g->is_over = true;
	sim_stop(g->s, SIM_NODES - 1);
}

struct rep *
sim_group_enter(struct sim_group *g, int node)
{
	if (!g->v[node].is_open || !sim_enter(g->s, node))
		return NULL;
	return g->v[node].r;
}

bool
sim_group_is_well(struct sim_group *g)
{
	struct rep_status st;
	struct member_view v;
	int i;

	for (i = 0; i < g->n; i++) {
		if (!g->v[i].is_open || !sim_is_up(g->s, i))
			return false;
		members_get(g->v[i].m, &v);
		rep_status(g->v[i].r, &st);
		if (v.n != (size_t)g->n || st.state != FDFS_STATE_ACTIVE)
			return false;
	}
	return sim_group_leader(g) >= 0;
}

bool
sim_group_reunite(struct sim_group *g)
{
	int64_t until = sim_now(g->s) + 60000;

	sim_heal(g->s);
	for (int i = 0; i < g->n; i++)
		sim_group_bring_up(g, i);
	while (!sim_group_is_well(g)) {
		if (sim_now(g->s) >= until)
			return false;
		sim_sleep(g->s, 200);
	}
	return true;
}

int
sim_group_leader(struct sim_group *g)
{
	struct member_view v;
	int i;

	for (i = 0; i < g->n; i++) {
		if (!g->v[i].is_open || !sim_is_up(g->s, i))
			continue;
		members_get(g->v[i].m, &v);
		if (v.is_leader)
			return i;
	}
	return -1;
}
