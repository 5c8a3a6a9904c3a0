/* gateway/blob/cluster_sets.c - deleting, finding, going through all files.
 *
 * A file of the index itself may be all that a rebuild has to go by, so those
 * are gathered from as many nodes of a group that one of them must hold each
 * acknowledged one; of the others one node's word is enough: what it lacks is
 * looked for another time. */
#include "gateway/blob/cluster_int.h"

#include "lib/mem.h"

#include <stdio.h>

#define DELETE_MS 10000
#define SET_MS 5000
#define TIDY_MS (30 * 60 * 1000)
#define DELETE_BATCH 1000
#define PAGE 1000

/* --- deleting --- */

static int
delete_batch(struct cluster *c, struct str group, const struct str *ids,
    size_t n, struct err *e)
{
	struct sop_delete d = { .index_id = c->index_id, .n = n, .ids = ids };
	struct rpc_request q = { .op = RPC_DELETE };
	struct view_node *order[CLUSTER_TRIES];
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct view *v;
	size_t n_nodes;
	int rc = cluster_check_owner(c, &c->index_id, &d.index_epoch, e);

	if (rc < 0)
		return rc;
	rc = sop_delete_pack(&d, &args);
	if (rc < 0) {
		buf_fini(&args);
		return err_set(e, rc, NULL);
	}
	q.args = buf_str(&args);
	v = view_get(c);
	n_nodes = order_read(c, v, group, order);
	rc = err_set(e, ERR_BUSY, "no node of group " STR_FMT " is known",
	    STR_ARG(group));
	/* A tombstone twice is one: any node will do. */
	for (size_t i = 0; i < n_nodes && rc < 0; i++) {
		rc = cluster_call(c, order[i], &q, DELETE_MS, NULL, e);
		if (rc == ERR_ACCESS_DENIED || atomic_load(&c->is_lost))
			break;
	}
	view_put(v);
	buf_fini(&args);
	return rc == ERR_DISCONNECTED || rc == ERR_RETRY
	           ? err_set(e, ERR_BUSY, "no node deletes")
	           : rc;
}

int
cluster_delete_many(void *impl, const struct str *ids, size_t n, struct err *e)
{
	struct str batch[DELETE_BATCH], group, g;
	bool *done = mem_zalloc(n * sizeof(*done));
	struct cluster *c = impl;
	size_t i, j, m;
	int rc = 0;

	if (done == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < n && rc == 0; i++) {
		if (done[i])
			continue;
		rc = cluster_group_of(ids[i], &group, e);
		for (j = i, m = 0; rc == 0 && j < n && m < DELETE_BATCH; j++) {
			if (done[j] || cluster_group_of(ids[j], &g, NULL) < 0 ||
			    !str_eq(g, group))
				continue;
			batch[m++] = ids[j];
			done[j] = true;
		}
		if (rc == 0)
			rc = delete_batch(c, group, batch, m, e);
	}
	mem_free(&done);
	return rc;
}

/* --- finding --- */

static int
find_at(struct cluster *c, struct view_node *n, struct str args,
    struct blob_info *ret, struct err *e)
{
	struct rpc_request q = { .op = RPC_FIND_WRITE, .args = args };
	struct sop_file f;
	struct rpc_reply r;
	struct unpack u;
	int rc;

	rpc_reply_init(&r);
	rc = cluster_call(c, n, &q, SET_MS, &r, e);
	if (rc == 0) {
		u = unpack_of(buf_str(&r.args));
		rc = sop_file_unpack(&u, &f, e);
	}
	if (rc == 0)
		cluster_to_info(&f, ret);
	rpc_reply_fini(&r);
	return rc;
}

/* What a group knows: any node's word (storage/server/ops.h). */
static int
find_in_group(struct cluster *c, const struct view *v,
    const struct view_group *g, struct str args, struct blob_info *ret,
    struct err *e)
{
	struct view_node *order[CLUSTER_TRIES];
	size_t n = order_read(c, v, str_of(g->name), order);
	int rc = err_set(e, ERR_BUSY, "no node of group %s is known", g->name);

	for (size_t i = 0; i < n; i++) {
		rc = find_at(c, order[i], args, ret, e);
		if (rc == 0 || rc == ERR_NOT_FOUND)
			break;
	}
	return rc;
}

/* ERR_NOT_FOUND is every group's word. */
int
cluster_find_write(void *impl, const struct id128 *write_id,
    struct blob_info *ret, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct cluster *c = impl;
	struct err e2 = ERR_INIT;
	struct view *v;
	int rc = sop_find_pack(write_id, &args), bad = 0;

	if (rc < 0)
		return err_set(e, rc, NULL);
	v = view_get(c);
	rc = ERR_NOT_FOUND;
	for (size_t i = 0; i < v->n_groups && rc != 0; i++) {
		rc = find_in_group(c, v, &v->groups[i], buf_str(&args), ret,
		    &e2);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			bad = rc;
	}
	if (v->n_nodes == 0)
		bad = err_set(&e2, ERR_BUSY, "no storage node is known yet");
	view_put(v);
	buf_fini(&args);
	if (rc == 0)
		return 0;
	if (bad < 0)
		return err_set(e, ERR_BUSY, "not every group can be asked: %s",
		    e2.msg);
	return err_set(e, ERR_NOT_FOUND, "no such write");
}

/* --- going through all --- */

struct each {
	uint8_t class;
	int (*fn)(void *arg, const struct blob_info *i);
	void *arg;
	bool any;             /* fn was called */
	int stop;             /* what it returned */
	struct sop_word word; /* of the node, over all pages */
};

/* Any bytes: only the node knows what they say. */
struct cursor {
	char p[SOP_CURSOR_MAX];
	size_t len;
};

/* One page; the cursor moves on. */
static int
each_page(struct cluster *c, struct view_node *n, struct each *x,
    struct cursor *at, bool *ret_end, struct err *e)
{
	struct sop_each ask = { .class = x->class,
		.max = PAGE,
		.cursor = str_mem(at->p, at->len) };
	struct rpc_request q = { .op = RPC_EACH };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct sop_page page;
	struct sop_word word = { 0 };
	struct blob_info info;
	struct sop_file f;
	struct rpc_reply r;
	struct unpack u;
	int rc = sop_each_pack(&ask, &args);

	if (rc < 0)
		return err_set(e, rc, NULL);
	rpc_reply_init(&r);
	q.args = buf_str(&args);
	rc = cluster_call(c, n, &q, SET_MS, &r, e);
	u = unpack_of(buf_str(&r.args));
	if (rc == 0)
		rc = sop_page_unpack(&u, &page, e);
	for (uint32_t i = 0; rc == 0 && i < page.n && x->stop == 0; i++) {
		rc = sop_file_unpack(&u, &f, e);
		if (rc == 0 && (x->class == 0 || f.class == x->class)) {
			cluster_to_info(&f, &info);
			x->any = true;
			x->stop = x->fn(x->arg, &info);
		}
	}
	if (rc == 0 && x->stop == 0 && u.rest.len > 0)
		rc = sop_word_unpack(&u, &word, e);
	if (rc == 0) {
		x->word.is_whole = x->word.is_whole && word.is_whole;
		if (word.copies < x->word.copies)
			x->word.copies = word.copies;
		*ret_end = page.is_end || x->stop != 0;
		at->len = page.cursor.len;
		if (at->len > 0)
			memcpy(at->p, page.cursor.p, at->len);
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc;
}

static int
each_of_node(struct cluster *c, struct view_node *n, struct each *x,
    struct err *e)
{
	struct cursor at = { .len = 0 };
	bool end = false;
	int rc = 0;

	x->word = (struct sop_word){ true, UINT32_MAX };
	while (rc == 0 && !end)
		rc = each_page(c, n, x, &at, &end, e);
	return rc;
}

static int
group_silent(const struct view_group *g, const char *why, struct err *e)
{
	return err_set(e, ERR_BUSY,
	    "too few nodes of group %s give their files: %.150s", g->name, why);
}

static int
each_of_group(struct cluster *c, const struct view *v,
    const struct view_group *g, struct each *x, struct err *e)
{
	struct view_node *order[CLUSTER_TRIES];
	struct err e2 = ERR_INIT;
	size_t n = order_read(c, v, str_of(g->name), order);

	for (size_t i = 0; i < n; i++) {
		int rc;

		x->any = false;
		rc = each_of_node(c, order[i], x, &e2);
		if (rc == 0)
			return 0;
		if (x->any) /* another one would begin anew */
			break;
	}
	return group_silent(g, e2.msg, e);
}

/* --- the index's own --- */

struct gathered {
	struct blob_info *p;
	size_t n, size;
};

static int
gather(void *arg, const struct blob_info *i)
{
	struct gathered *l = arg;

	if (l->n == l->size) {
		size_t size = l->size == 0 ? 64 : l->size * 2;
		struct blob_info *p = mem_realloc(l->p, size * sizeof(*p));

		if (p == NULL)
			return ERR_NO_MEMORY;
		l->p = p;
		l->size = size;
	}
	l->p[l->n++] = *i;
	return 0;
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(((const struct blob_info *)a)->id,
	    ((const struct blob_info *)b)->id);
}

/* One that lost its disks has caught up with those that were there; what it
 * had acknowledged itself may be on one that is away. */
static bool
counts(const struct cluster *c, const struct view_node *n, struct each *x,
    struct err *e)
{
	if (!c->wants_whole || x->word.is_whole)
		return true;
	err_set(e, ERR_BUSY,
	    "server %u is new, or has lost its disks, and has not caught up "
	    "with all others since",
	    n->c->server_id);
	return false;
}

/* From so many nodes that none is missed. */
static int
gather_group(struct cluster *c, const struct view *v,
    const struct view_group *g, struct gathered *l, struct err *e)
{
	struct each x = { .class = BLOB_CLASS_INDEX, .fn = gather, .arg = l };
	struct view_node *order[CLUSTER_TRIES];
	size_t copies = g->copies, want = sop_quorum(g->members, copies);
	size_t n, got = 0, begin;
	struct err e2 = ERR_INIT;

	n = order_read(c, v, str_of(g->name), order);
	for (size_t i = 0; i < n && x.stop == 0; i++) {
		/* Those that are not well come last, and only if needed. */
		if (got >= want && !node_is_good(order[i], false))
			break;
		begin = l->n;
		if (each_of_node(c, order[i], &x, &e2) < 0) {
			l->n = begin;
			continue;
		}
		got += counts(c, order[i], &x, &e2);
		if (!c->wants_whole || x.word.copies == 0 ||
		    (copies != 0 && x.word.copies >= copies))
			continue;
		copies = x.word.copies;
		want = sop_quorum(g->members, copies);
	}
	if (x.stop < 0)
		return err_set(e, x.stop, NULL);
	return got < want ? group_silent(g, e2.msg, e) : 0;
}

void
blob_cluster_want_whole(struct blob *b)
{
	cluster_of(b)->wants_whole = true;
}

static int
each_index(struct cluster *c, const struct view *v, struct each *x,
    struct err *e)
{
	struct gathered l = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < v->n_groups; i++)
		rc = gather_group(c, v, &v->groups[i], &l, e);
	if (rc == 0 && l.n > 1)
		qsort(l.p, l.n, sizeof(*l.p), by_id);
	for (size_t i = 0; rc == 0 && i < l.n && x->stop == 0; i++)
		if (i == 0 || strcmp(l.p[i].id, l.p[i - 1].id) != 0)
			x->stop = x->fn(x->arg, &l.p[i]);
	mem_free(&l.p);
	return rc;
}

int
cluster_each(void *impl, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e)
{
	struct each x = { .class = class, .fn = fn, .arg = arg };
	struct cluster *c = impl;
	struct view *v = view_get(c);
	int rc = 0;

	if (v->n_groups == 0)
		rc = err_set(e, ERR_BUSY, "no storage node is known yet");
	else if (class == BLOB_CLASS_INDEX)
		rc = each_index(c, v, &x, e);
	else
		for (size_t i = 0; rc == 0 && x.stop == 0 && i < v->n_groups;
		     i++)
			rc = each_of_group(c, v, &v->groups[i], &x, e);
	view_put(v);
	return rc < 0 ? rc : x.stop;
}

/* --- tidying --- */

static int
tidy_all(struct cluster *c, enum sop_tidy what, struct err *e)
{
	struct rpc_request q = { .op = RPC_TIDY };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct view *v = view_get(c);
	int rc = sop_tidy_pack(what, &args), first = 0;
	struct err e2 = ERR_INIT;

	q.args = buf_str(&args);
	for (size_t i = 0; rc == 0 && i < v->n_nodes; i++) {
		int r = cluster_call(c, &v->nodes[i], &q, TIDY_MS, NULL, &e2);

		if (r < 0 && first == 0)
			first = err_set(e, r == ERR_DISCONNECTED ? ERR_BUSY : r,
			    "group %s, node %u: %.150s", v->nodes[i].c->group,
			    v->nodes[i].c->server_id, e2.msg);
	}
	view_put(v);
	buf_fini(&args);
	return rc < 0 ? err_set(e, rc, NULL) : first;
}

int
cluster_scrub_now(void *impl, struct err *e)
{
	return tidy_all(impl, SOP_SCRUB, e);
}

int
cluster_compact_now(void *impl, struct err *e)
{
	return tidy_all(impl, SOP_COMPACT, e);
}
