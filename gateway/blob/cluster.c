/* gateway/blob/cluster.c - the backend: opening, closing, how it is. */
#include "gateway/blob/cluster_int.h"

#include "lib/mem.h"

#include <stdio.h>

#define GATE_HEARD_S 5

static void
cluster_free(void *impl)
{
	struct cluster *c = impl;

	if (c->rpc != NULL)
		rpc_client_stop(c->rpc);
	if (c->mux != NULL)
		rpc_mux_stop(c->mux);
	ahead_free(&c->ahead);
	cluster_map_stop(c);
	rpc_client_close(&c->rpc);
	rpc_mux_close(&c->mux);
	cond_fini(&c->wake);
	cond_fini(&c->watch);
	lock_fini(&c->lock);
	mem_free(&c);
}

static size_t
cluster_n_stats(void *impl)
{
	struct view *v = view_get(impl);
	size_t n = v->n_nodes;

	view_put(v);
	return n;
}

static void
stat_of(const struct view_node *n, struct blob_stat *ret)
{
	const struct cmap_node *m = n->c;

	snprintf(ret->name, sizeof(ret->name), "%s/%u", m->group,
	    (unsigned)m->server_id);
	ret->is_failed = m->is_away || m->state != FDFS_STATE_ACTIVE;
	for (size_t i = 0; i < m->n_paths; i++) {
		ret->total += m->paths[i].total;
		ret->avail += m->paths[i].avail;
		ret->files += m->paths[i].files;
		ret->bytes += m->paths[i].bytes;
	}
}

static void
cluster_get_stat(void *impl, size_t i, struct blob_stat *ret)
{
	struct view *v = view_get(impl);

	memset(ret, 0, sizeof(*ret));
	if (i < v->n_nodes) /* else it was there a moment ago */
		stat_of(&v->nodes[i], ret);
	view_put(v);
}

static bool
cluster_can_write(void *impl)
{
	struct cluster *c = impl;
	struct view *v;
	bool yes = false;

	if (atomic_load(&c->is_lost))
		return false;
	v = view_get(c);
	for (size_t i = 0; i < v->n_nodes && !yes; i++)
		yes = node_is_good(&v->nodes[i], true);
	view_put(v);
	return yes;
}

static int
cluster_describe(void *impl, struct buf *json, struct err *e)
{
	struct view *v = view_get(impl);
	int rc = cmap_json(&v->map, json, e);

	view_put(v);
	return rc;
}

static const struct blob_ops cluster_ops = {
	.close = cluster_free,
	.put_begin = cluster_put_begin,
	.put_write = cluster_put_write,
	.put_commit = cluster_put_commit,
	.put_abort = cluster_put_abort,
	.put_whole = cluster_put_whole,
	.open = cluster_open,
	.read = cluster_read,
	.note = cluster_note,
	.file_close = cluster_file_close,
	.read_once = cluster_read_once,
	.read_later = cluster_read_later,
	.delete_many = cluster_delete_many,
	.find_write = cluster_find_write,
	.each = cluster_each,
	.n_stats = cluster_n_stats,
	.get_stat = cluster_get_stat,
	.can_write = cluster_can_write,
	.scrub_now = cluster_scrub_now,
	.compact_now = cluster_compact_now,
	.whole_max = cluster_whole_max,
	.choose_group = cluster_choose_group,
	.describe = cluster_describe,
};

struct cluster *
cluster_of(struct blob *b)
{
	struct cluster *c = blob_impl(b, &cluster_ops);

	MUST(c != NULL);
	return c;
}

static void
set_defaults(struct blob_cluster_conf *c)
{
	if (c->connect_ms == 0)
		c->connect_ms = 500;
	if (c->read_ms == 0)
		c->read_ms = 1000;
	if (c->slow_ms == 0)
		c->slow_ms = 8000;
	if (c->store_ms == 0)
		c->store_ms = 3000;
	if (c->refresh_ms == 0)
		c->refresh_ms = 1000;
}

int
blob_cluster_new(const struct blob_cluster_conf *conf, struct blob **ret,
    struct err *e)
{
	struct rpc_client_opts o = { .self = conf->self,
		.max_idle_each = 256,
		.max_idle = 1024 };
	struct rpc_mux_opts mo = { .self = conf->self };
	struct cluster *c;
	int rc;

	if (conf->n_trackers == 0 || conf->n_trackers > FDFS_MAX_TRACKERS)
		return err_set(e, ERR_CONFIG, "trackers: name 1 to %d",
		    FDFS_MAX_TRACKERS);
	c = mem_zalloc(sizeof(*c));
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	c->conf = *conf;
	set_defaults(&c->conf);
	memcpy(c->trackers, conf->trackers,
	    conf->n_trackers * sizeof(c->trackers[0]));
	lock_init(&c->lock, LOCK_RANK_BLOB);
	cond_init(&c->wake);
	cond_init(&c->watch);
	o.connect_ms = c->conf.connect_ms;
	o.io_ms = c->conf.slow_ms;
	mo.connect_ms = c->conf.connect_ms;
	/* Asked again, of two replicas (C8), where that is not enough. */
	mo.call_ms = c->conf.read_ms / 2;
	rc = rpc_client_open(&o, &c->rpc, e);
	if (rc == 0)
		rc = rpc_mux_open(&mo, &c->mux, e);
	if (rc == 0)
		rc = ahead_new(c, &c->ahead, e);
	if (rc == 0)
		rc = cluster_map_start(c, e);
	if (rc == 0) {
		*ret = blob_new(&cluster_ops, c);
		if (*ret != NULL)
			return 0;
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	}
	cluster_free(c);
	return rc;
}

bool
blob_cluster_has_other(struct blob *b, char ret[FDFS_HOST_LEN + 1])
{
	struct cluster *c = cluster_of(b);
	struct view *v = view_get(c);
	int64_t newest = 0;
	bool yes = false;

	for (size_t i = 0; i < v->map.n_gates; i++) /* by the tracker's clock */
		if (v->map.gates[i].heard_s > newest)
			newest = v->map.gates[i].heard_s;
	for (size_t i = 0; i < v->map.n_gates && !yes; i++) {
		const struct cmap_gate *g = &v->map.gates[i];

		yes = !id128_eq(&g->gate, &c->conf.self.id) &&
		      !id128_is_zero(&g->index) &&
		      newest - g->heard_s <= GATE_HEARD_S;
		if (yes)
			fdfs_addr_text(&g->addr, ret);
	}
	view_put(v);
	return yes;
}

/* Why no node is of use, from what the map says. */
static void
explain(const struct view *v, char why[CMAP_REASON])
{
	if (!v->is_given)
		snprintf(why, CMAP_REASON,
		    "no tracker gives a map of the cluster");
	else if (v->n_nodes == 0)
		snprintf(why, CMAP_REASON, "no storage node is known");
	else
		snprintf(why, CMAP_REASON,
		    "no group has a majority of its nodes within reach (%zu "
		    "nodes known, the first is %s%s)",
		    v->n_nodes, fdfs_state_name(v->nodes[0].c->state),
		    v->nodes[0].c->is_away ? ", not heard of lately" : "");
}

bool
blob_cluster_is_usable(struct blob *b, char why[CMAP_REASON])
{
	struct view *v = view_get(cluster_of(b));
	bool yes = false;

	for (size_t g = 0; g < v->n_groups && !yes; g++) {
		const struct view_group *vg = &v->groups[g];
		size_t n = 0;

		for (size_t i = vg->first; i < vg->first + vg->n; i++)
			n += node_is_good(&v->nodes[i], false);
		yes = n > vg->members / 2;
	}
	if (!yes)
		explain(v, why);
	view_put(v);
	return yes;
}
