/* cli/admin_verify.c - `creel admin cluster verify`: are the replicas of each
 * group the same?
 *
 * All members are asked for digests of the same ranges of keys (DIGEST, as
 * storage/replication/compare.c has it); a range that differs is split, down to
 * LEAF entries, which are then listed (RANGE) and compared one by one. Reads
 * indexes only; what is written meanwhile can look like a difference. */
#include "cli/admin_cluster.h"
#include "cli/cli.h"

#include "lib/mem.h"
#include "storage/engine/replica.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WAYS 16
#define LEAF 256
#define LIST_MAX 2048
#define CALL_MS 60000
#define SHOWN_MAX 100 /* differences printed, of a group */

typedef unsigned __int128 keynum;

struct range {
	keynum from, to;
};

struct entry {
	uint8_t key[ENGINE_KEY];
	uint8_t known;
	uint64_t version, size;
	char name[SOP_ID_MAX];
};

struct list {
	struct entry *v;
	size_t n;
};

struct verify {
	struct link *l;
	const char *group;
	const struct cmap_node *node[CMAP_MEMBERS];
	size_t n;
	uint64_t entries, differ;
};

static int
pack_key(struct buf *b, keynum v)
{
	uint8_t key[ENGINE_KEY];

	for (size_t i = ENGINE_KEY; i-- > 0; v >>= 8)
		key[i] = (uint8_t)v;
	return buf_add(b, key, sizeof(key));
}

static keynum
key_number(const uint8_t key[ENGINE_KEY])
{
	keynum v = 0;

	for (size_t i = 0; i < ENGINE_KEY; i++)
		v = v << 8 | key[i];
	return v;
}

static int
call(struct verify *v, size_t node, unsigned op, const struct buf *args,
    struct rpc_reply *r, struct err *e)
{
	struct err why = ERR_INIT;
	int rc =
	    link_call(v->l, v->node[node], op, buf_str(args), CALL_MS, r, &why);

	return rc < 0 ? err_set(e, rc, "%s server %" PRIu32 ": %.150s",
			    v->group, v->node[node]->server_id, why.msg)
	              : 0;
}

/* --- digests --- */

static int
ask_digests(struct verify *v, size_t node, const struct range *g, size_t n,
    struct engine_digest *ret, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_reply r;
	struct unpack u;
	int rc = pack_u32(&args, (uint32_t)n);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = pack_key(&args, g[i].from);
		if (rc == 0)
			rc = pack_key(&args, g[i].to);
	}
	rpc_reply_init(&r);
	if (rc == 0)
		rc = call(v, node, RPC_DIGEST, &args, &r, e);
	if (rc == 0) {
		u = unpack_of(buf_str(&r.args));
		for (size_t i = 0; i < n; i++) {
			ret[i].n = unpack_u64(&u);
			ret[i].sum[0] = unpack_u64(&u);
			ret[i].sum[1] = unpack_u64(&u);
		}
		rc = unpack_end(&u, e);
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc;
}

static size_t
split(const struct range *g, struct range ret[WAYS])
{
	keynum step = (g->to - g->from) / WAYS + 1, from = g->from;
	size_t n = 0;

	for (;;) {
		ret[n].from = from;
		if (n == WAYS - 1 || g->to - from < step) {
			ret[n++].to = g->to;
			return n;
		}
		ret[n++].to = from + step - 1;
		from += step;
	}
}

/* --- lists --- */

static void
unpack_entry(struct unpack *u, struct entry *x)
{
	struct str name;

	for (size_t i = 0; i < ENGINE_KEY; i++)
		x->key[i] = unpack_u8(u);
	x->known = unpack_u8(u);
	unpack_u8(u); /* class */
	x->version = unpack_u64(u);
	x->size = unpack_u64(u);
	name = unpack_str(u, SOP_ID_MAX - 1);
	if (name.len > 0)
		memcpy(x->name, name.p, name.len);
	x->name[name.len] = '\0';
}

static int
ask_list(struct verify *v, size_t node, const struct range *g, struct list *l,
    struct err *e)
{
	struct buf args = BUF_CAP(64);
	struct rpc_reply r;
	struct unpack u;
	uint32_t n = 0;
	int rc = pack_key(&args, g->from);

	if (rc == 0)
		rc = pack_key(&args, g->to);
	if (rc == 0)
		rc = pack_u32(&args, LIST_MAX);
	if (rc == 0)
		rc = pack_u8(&args, 1);
	rpc_reply_init(&r);
	if (rc == 0)
		rc = call(v, node, RPC_RANGE, &args, &r, e);
	if (rc == 0) {
		u = unpack_of(buf_str(&r.args));
		unpack_u8(&u); /* more */
		n = unpack_u32(&u);
		if (n > LIST_MAX)
			rc = err_set(e, ERR_INVALID, "answer to RANGE");
	}
	if (rc == 0) {
		l->v = mem_zalloc((n + 1) * sizeof(*l->v));
		if (l->v == NULL)
			rc = err_set(e, ERR_NO_MEMORY, "list");
	}
	for (; rc == 0 && l->n < n; l->n++) {
		unpack_entry(&u, &l->v[l->n]);
		rc = unpack_end(&u, e);
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc;
}

static const char *
known_text(const struct entry *x)
{
	return x == NULL                 ? "missing"
	       : x->known == ENGINE_LIVE ? "there"
	                                 : "deleted";
}

static void
show(struct verify *v, const struct entry *const at[])
{
	const char *name = "?";

	if (v->differ++ >= SHOWN_MAX)
		return;
	for (size_t i = 0; i < v->n; i++)
		if (at[i] != NULL && at[i]->name[0] != '\0')
			name = at[i]->name;
	printf("%s:", name);
	for (size_t i = 0; i < v->n; i++) {
		printf(" %s at %" PRIu32, known_text(at[i]),
		    v->node[i]->server_id);
		if (at[i] != NULL)
			printf(" (version %" PRIx64 ")", at[i]->version);
	}
	putchar('\n');
}

/* Merges sorted lists: each key once. */
static void
compare_lists(struct verify *v, const struct list *l)
{
	const struct entry *at[CMAP_MEMBERS];
	size_t pos[CMAP_MEMBERS] = { 0 };

	for (;;) {
		const uint8_t *least = NULL;
		bool same = true;

		for (size_t i = 0; i < v->n; i++)
			if (pos[i] < l[i].n &&
			    (least == NULL || memcmp(l[i].v[pos[i]].key, least,
						  ENGINE_KEY) < 0))
				least = l[i].v[pos[i]].key;
		if (least == NULL)
			return;
		for (size_t i = 0; i < v->n; i++) {
			at[i] = NULL;
			if (pos[i] < l[i].n &&
			    memcmp(l[i].v[pos[i]].key, least, ENGINE_KEY) == 0)
				at[i] = &l[i].v[pos[i]++];
		}
		for (size_t i = 1; i < v->n; i++)
			same = same && (at[i] != NULL) == (at[0] != NULL) &&
			       (at[i] == NULL ||
				   (at[i]->version == at[0]->version &&
				       at[i]->known == at[0]->known &&
				       at[i]->size == at[0]->size));
		if (!same)
			show(v, at);
	}
}

static int
compare_leaf(struct verify *v, const struct range *g, struct err *e)
{
	struct list l[CMAP_MEMBERS] = { { 0 } };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < v->n; i++)
		rc = ask_list(v, i, g, &l[i], e);
	if (rc == 0)
		compare_lists(v, l);
	for (size_t i = 0; i < v->n; i++)
		mem_free(&l[i].v);
	return rc;
}

/* --- a group --- */

static int
compare_range(struct verify *v, const struct range *all, struct err *e)
{
	struct engine_digest d[CMAP_MEMBERS][WAYS];
	struct range part[WAYS];
	size_t n = split(all, part);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < v->n; i++)
		rc = ask_digests(v, i, part, n, d[i], e);
	for (size_t k = 0; rc == 0 && k < n; k++) {
		uint64_t most = 0;
		bool same = true;

		for (size_t i = 0; i < v->n; i++) {
			same = same &&
			       memcmp(&d[i][k], &d[0][k], sizeof(d[0][0])) == 0;
			if (d[i][k].n > most)
				most = d[i][k].n;
		}
		if (same)
			v->entries += most;
		else if (most > LEAF && part[k].to > part[k].from)
			rc = compare_range(v, &part[k], e);
		else
			rc = compare_leaf(v, &part[k], e);
	}
	return rc;
}

static int
verify_group(struct verify *v, struct err *e)
{
	static const uint8_t first[ENGINE_KEY];
	struct range all = { key_number(first), ~(keynum)0 };
	int rc;

	for (size_t i = 0; i < v->n; i++)
		if (v->node[i]->is_away)
			return err_set(e, ERR_BUSY,
			    "%s server %" PRIu32 ": is not there", v->group,
			    v->node[i]->server_id);
	rc = v->n < 2 ? 0 : compare_range(v, &all, e);
	if (rc < 0)
		return rc;
	if (v->differ > SHOWN_MAX)
		printf("and %ju more\n", (uintmax_t)(v->differ - SHOWN_MAX));
	printf("%s: %zu members, %ju entries are the same, %ju differ\n",
	    v->group, v->n, (uintmax_t)v->entries, (uintmax_t)v->differ);
	return 0;
}

static bool
is_member(const struct cmap_node *n)
{
	for (size_t i = 0; i < n->n_members; i++)
		if (id128_eq(&n->members[i].node, &n->node))
			return true;
	return n->heard_s == 0; /* known by the others' word */
}

int
admin_cluster_verify(struct admin_options *o, int argc, char **argv)
{
	struct err e = ERR_INIT;
	int rc, status = EXIT_OK;
	bool any = false;
	struct link l;

	(void)argc;
	(void)argv;
	rc = link_open(&l, o, &e);
	if (rc < 0)
		return cli_fail("cluster verify", &e);
	for (size_t i = 0; i < l.map.n_nodes;) {
		struct verify v = { .l = &l, .group = l.map.nodes[i].group };

		for (; i < l.map.n_nodes &&
		       strcmp(l.map.nodes[i].group, v.group) == 0;
		     i++)
			if (is_member(&l.map.nodes[i]) && v.n < CMAP_MEMBERS)
				v.node[v.n++] = &l.map.nodes[i];
		if (o->group != NULL && strcmp(o->group, v.group) != 0)
			continue;
		any = true;
		rc = verify_group(&v, &e);
		if (rc < 0)
			fprintf(stderr, "creel: %s\n", e.msg);
		if (rc < 0 || v.differ > 0)
			status = EXIT_FAILED;
	}
	link_close(&l);
	if (any)
		return status;
	err_set(&e, ERR_NOT_FOUND, "no such group");
	return cli_fail("cluster verify", &e);
}
