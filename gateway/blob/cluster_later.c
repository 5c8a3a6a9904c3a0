/* gateway/blob/cluster_later.c - small reads that no thread waits for.
 *
 * One replica is asked (READ_NOW) over the connection that all such reads share
 * (cluster/mux.h). Whatever is not an answer with all of the bytes sends the
 * caller to blob_read_once(), which goes from replica to replica. A node that
 * often hasn't got the bytes at hand is tried less often. */
#include "gateway/blob/cluster_int.h"

#include "lib/metrics.h"

#include <stddef.h>

enum {
	HEADER = 4096, /* more than the node reads beside the bytes */
	PASS_BITS = 6  /* at most 2^this reads pass by a node that misses */
};

struct later {
	struct rpc_ask ask;
	struct blob_later *l;
	struct cluster *c;
	struct view *v;
	struct view_node *n;
	size_t len;
};
_Static_assert(sizeof(struct later) <= sizeof(((struct blob_later *)0)->impl),
    "it fits");

static void
count_miss(struct node *n)
{
	uint32_t misses =
	    atomic_fetch_add_explicit(&n->now_misses, 1, memory_order_relaxed);

	if (misses > PASS_BITS)
		misses = PASS_BITS;
	atomic_store_explicit(&n->now_passed, (1u << misses) - 1,
	    memory_order_relaxed);
}

static void
count_hit(struct node *n)
{
	if (atomic_load_explicit(&n->now_misses, memory_order_relaxed) != 0)
		atomic_store_explicit(&n->now_misses, 0, memory_order_relaxed);
}

/* This one goes the other way. */
static bool
passes_by(struct node *n)
{
	uint32_t left =
	    atomic_load_explicit(&n->now_passed, memory_order_relaxed);

	if (left == 0)
		return false;
	/* Two that count one are no harm. */
	atomic_store_explicit(&n->now_passed, left - 1, memory_order_relaxed);
	return true;
}

static void
on_answer(struct rpc_ask *a, int rc, struct str args, size_t len)
{
	struct later *w = (void *)((char *)a - offsetof(struct later, ask));
	struct blob_later *l = w->l;
	struct err e = ERR_INIT;

	if (rc == 0 && len != w->len)
		rc = ERR_CORRUPT;
	if (rc == 0)
		rc = unpack_seal(&args, a->dst, len, &e);
	if (rc == 0) {
		metric_add(METRIC_storage_quick_reads_total, 1);
		count_hit(w->n->n);
	} else if (rc == ERR_DISCONNECTED) {
		/* All calls under way end so: once is enough. */
		err_set(&e, rc, "connection lost, or no answer in time");
		if (!node_is_bad(w->n->n))
			cluster_mark_bad(w->c, w->n, &e);
	} else {
		count_miss(w->n->n);
	}
	if (rc != ERR_DISCONNECTED && rc != ERR_CLOSED)
		cluster_mark_good(w->c, w->n);
	view_put(w->v);
	l->fn(l->arg, rc);
}

/* The replica whose turn it is; NULL: none that is well. */
static struct view_node *
choose(struct cluster *c, const struct view *v, struct str group)
{
	struct view_node *order[CLUSTER_TRIES];

	if (order_read(c, v, group, order) == 0 ||
	    !node_is_good(order[0], false) || passes_by(order[0]->n))
		return NULL;
	return order[0];
}

bool
cluster_read_later(void *impl, struct str id, uint64_t off, void *p, size_t len,
    struct blob_later *l)
{
	struct sop_read read = { .id = id, .off = off, .len = (uint32_t)len };
	struct later *w = (void *)&l->impl;
	struct cluster *c = impl;
	char room[MUX_ARGS_MAX];
	/* Full to its cap from the beginning: it never grows. */
	struct buf args = { room, 0, sizeof(room), sizeof(room) };
	struct str group;

	if (len > SOP_NOW_MAX - HEADER || atomic_load(&c->end_ns) != 0 ||
	    cluster_group_of(id, &group, NULL) < 0 ||
	    sop_read_pack(&read, &args) < 0)
		return false;
	*w = (struct later){
		.ask = { .dst = p, .cap = len, .fn = on_answer },
		.l = l,
		.c = c,
		.v = view_get(c),
		.len = len,
	};
	w->n = choose(c, w->v, group);
	if (w->n != NULL && rpc_mux_ask(c->mux, &w->n->addr, RPC_READ_NOW,
				buf_str(&args), &w->ask) == 0)
		return true;
	view_put(w->v);
	return false;
}
