/* cluster/map_text.c - a map as JSON and as a table. */
#include "cluster/map.h"

#include "lib/clock.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>

static json_t *
json_addr(const struct fdfs_addr *a)
{
	char text[FDFS_HOST_LEN + 1];

	if (a->ip[0] == '\0')
		return json_null();
	fdfs_addr_text(a, text);
	return json_string(text);
}

static json_t *
json_id(const struct id128 *id)
{
	char text[33];

	if (id128_is_zero(id))
		return json_null();
	id128_text(id, text);
	return json_string(text);
}

static json_t *
json_u64(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *
json_paths(const struct cmap_node *n)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n->n_paths; i++) {
		const struct cmap_path *p = &n->paths[i];

		json_array_append_new(all,
		    json_pack("{s:o, s:o, s:o, s:o, s:b}", "total",
			json_u64(p->total), "available", json_u64(p->avail),
			"files", json_u64(p->files), "bytes",
			json_u64(p->bytes), "failed", (int)p->is_failed));
	}
	return all;
}

static json_t *
json_members(const struct cmap_node *n)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n->n_members; i++)
		json_array_append_new(all,
		    json_pack("{s:I, s:o, s:o}", "server_id",
			(json_int_t)n->members[i].server_id, "node",
			json_id(&n->members[i].node), "address",
			json_addr(&n->members[i].inner)));
	return all;
}

static const char *
state_name(const struct cmap_node *n)
{
	if (n->heard_s == 0)
		return "UNHEARD";
	return n->is_away ? "OFFLINE" : fdfs_state_name(n->state);
}

static json_t *
json_node(const struct cmap_node *n)
{
	json_t *j = json_pack("{s:I, s:o, s:o, s:o, s:s, s:s, s:s, s:i, s:b}",
	    "server_id", (json_int_t)n->server_id, "node", json_id(&n->node),
	    "address", json_addr(&n->inner), "outer_address",
	    json_addr(&n->outer), "version", n->version, "state", state_name(n),
	    "reason", n->reason, "progress", (int)n->progress, "can_write",
	    (int)n->can_write);

	if (j == NULL)
		return NULL;
	json_object_set_new(j, "leader", json_boolean(n->is_leader));
	json_object_set_new(j, "lag_bytes", json_u64(n->lag_bytes));
	json_object_set_new(j, "lag_files", json_u64(n->lag_files));
	json_object_set_new(j, "group_id", json_id(&n->group_id));
	json_object_set_new(j, "epoch", json_u64(n->epoch));
	json_object_set_new(j, "term", json_u64(n->term));
	json_object_set_new(j, "http_port", json_integer(n->http_port));
	json_object_set_new(j, "started", json_integer(n->started_s));
	json_object_set_new(j, "joined", json_integer(n->joined_s));
	json_object_set_new(j, "heard", json_integer(n->heard_s));
	json_object_set_new(j, "priority", json_integer(n->priority));
	json_object_set_new(j, "min_copies", json_integer(n->min_copies));
	json_object_set_new(j, "reserved", json_u64(n->reserved));
	json_object_set_new(j, "paths", json_paths(n));
	json_object_set_new(j, "members", json_members(n));
	return j;
}

static json_t *
json_groups(const struct cmap *m)
{
	json_t *all = json_array(), *nodes = NULL;

	for (size_t i = 0; i < m->n_nodes; i++) {
		const struct cmap_node *n = &m->nodes[i];

		if (i == 0 || strcmp(n->group, n[-1].group) != 0) {
			nodes = json_array();
			json_array_append_new(all,
			    json_pack("{s:s, s:o}", "group", n->group, "nodes",
				nodes));
		}
		json_array_append_new(nodes, json_node(n));
	}
	return all;
}

static json_t *
json_gates(const struct cmap *m)
{
	json_t *all = json_array();

	for (size_t i = 0; i < m->n_gates; i++) {
		const struct cmap_gate *g = &m->gates[i];

		json_array_append_new(all,
		    json_pack("{s:o, s:o, s:o, s:o, s:s, s:I}", "gateway",
			json_id(&g->gate), "address", json_addr(&g->addr),
			"index", json_id(&g->index), "index_epoch",
			json_u64(g->index_epoch), "version", g->version,
			"heard", (json_int_t)g->heard_s));
	}
	return all;
}

static json_t *
json_trackers(const struct cmap *m)
{
	json_t *all = json_array();

	for (size_t i = 0; i < m->n_trackers; i++) {
		const struct cmap_tracker *t = &m->trackers[i];

		json_array_append_new(all,
		    json_pack("{s:o, s:s, s:I, s:I, s:b}", "address",
			json_addr(&t->addr), "version", t->version, "started",
			(json_int_t)t->started_s, "heard",
			(json_int_t)t->heard_s, "self", (int)t->is_self));
	}
	return all;
}

int
cmap_json(const struct cmap *m, struct buf *b, struct err *e)
{
	json_t *j = json_pack("{s:o, s:o, s:o, s:o}", "seq", json_u64(m->seq),
	    "trackers", json_trackers(m), "groups", json_groups(m), "gateways",
	    json_gates(m));
	char *text = j == NULL
	                 ? NULL
	                 : json_dumps(j, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	int rc = ERR_NO_MEMORY;

	json_decref(j);
	if (text != NULL) {
		rc = buf_addz(b, text);
		if (rc == 0)
			rc = buf_addc(b, '\n');
	}
	free(text);
	return rc < 0 ? err_set(e, rc, "map as JSON") : 0;
}

/* --- the table --- */

/* "12.3G"; the unit is a power of 1024. */
static const char *
size_text(uint64_t v, char dst[16])
{
	static const char units[] = "BKMGTPE";
	unsigned u = 0;
	uint64_t whole = v, rest = 0;

	while (whole >= 1024) {
		rest = whole % 1024;
		whole /= 1024;
		u++;
	}
	if (u == 0 || whole >= 100)
		snprintf(dst, 16, "%ju%c", (uintmax_t)whole, units[u]);
	else
		snprintf(dst, 16, "%ju.%ju%c", (uintmax_t)whole,
		    (uintmax_t)(rest * 10 / 1024), units[u]);
	return dst;
}

static const char *
time_text(int64_t s, char dst[25])
{
	if (s <= 0 || s > INT64_C(9000000000)) { /* in ns it must fit */
		snprintf(dst, 25, "-");
		return dst;
	}
	clock_fmt_iso(s * 1000000000, dst);
	memcpy(dst + 19, "Z", 2); /* whole seconds */
	return dst;
}

static int
table_trackers(const struct cmap *m, struct buf *b)
{
	char addr[FDFS_HOST_LEN + 1], at[25];
	int rc = buf_addf(b, "%-9s %-22s %-10s %s\n", "TRACKER", "ADDRESS",
	    "VERSION", "STARTED");

	for (size_t i = 0; i < m->n_trackers && rc == 0; i++) {
		const struct cmap_tracker *t = &m->trackers[i];

		fdfs_addr_text(&t->addr, addr);
		rc = buf_addf(b, "%-9s %-22s %-10s %s\n",
		    t->is_self        ? "asked"
		    : t->heard_s == 0 ? "unheard"
				      : "heard",
		    addr, t->version[0] == '\0' ? "-" : t->version,
		    time_text(t->started_s, at));
	}
	return rc;
}

static int
table_group(const struct cmap_node *n, struct buf *b)
{
	char id[33];

	id128_text(&n->group_id, id);
	return buf_addf(b,
	    "\nGROUP %s (%s)\n%-6s %-22s %-10s %4s %-6s %-7s %15s %10s %8s  "
	    "%s\n",
	    n->group, id128_is_zero(&n->group_id) ? "not founded" : id, "ID",
	    "ADDRESS", "STATE", "%", "WRITES", "ORDERS", "FREE/TOTAL", "FILES",
	    "LAG", "REASON");
}

static int
table_node(const struct cmap_node *n, struct buf *b)
{
	char addr[FDFS_HOST_LEN + 1], avail[16], total[16], lag[16], space[40];
	struct cmap_path sum = { 0 };
	size_t failed = 0;
	int rc;

	for (size_t i = 0; i < n->n_paths; i++) {
		sum.total += n->paths[i].total;
		sum.avail += n->paths[i].avail;
		sum.files += n->paths[i].files;
		failed += n->paths[i].is_failed;
	}
	fdfs_addr_text(&n->inner, addr);
	snprintf(space, sizeof(space), "%s/%s", size_text(sum.avail, avail),
	    size_text(sum.total, total));
	rc = buf_addf(b, "%-6u %-22s %-10s %4u %-6s %-7s %15s %10ju %8s  %s",
	    n->server_id, n->inner.ip[0] == '\0' ? "-" : addr, state_name(n),
	    n->progress, n->can_write ? "yes" : "no",
	    n->is_leader ? "leader" : "", space, (uintmax_t)sum.files,
	    size_text(n->lag_bytes, lag), n->reason);
	if (rc == 0 && failed > 0)
		rc = buf_addf(b, "%s%zu of %zu store paths failed",
		    n->reason[0] == '\0' ? "" : "; ", failed, n->n_paths);
	return rc == 0 ? buf_addc(b, '\n') : rc;
}

static int
table_gates(const struct cmap *m, struct buf *b)
{
	char addr[FDFS_HOST_LEN + 1], id[33], at[25];
	int rc = 0;

	if (m->n_gates > 0)
		rc = buf_addf(b, "\n%-32s %-22s %-10s %s\n", "GATEWAY",
		    "ADDRESS", "VERSION", "HEARD");
	for (size_t i = 0; i < m->n_gates && rc == 0; i++) {
		const struct cmap_gate *g = &m->gates[i];

		id128_text(&g->gate, id);
		fdfs_addr_text(&g->addr, addr);
		rc = buf_addf(b, "%-32s %-22s %-10s %s\n", id, addr, g->version,
		    time_text(g->heard_s, at));
	}
	return rc;
}

int
cmap_table(const struct cmap *m, struct buf *b, struct err *e)
{
	int rc = table_trackers(m, b);

	for (size_t i = 0; i < m->n_nodes && rc == 0; i++) {
		const struct cmap_node *n = &m->nodes[i];

		if (i == 0 || strcmp(n->group, n[-1].group) != 0)
			rc = table_group(n, b);
		if (rc == 0)
			rc = table_node(n, b);
	}
	if (rc == 0)
		rc = table_gates(m, b);
	return rc < 0 ? err_set(e, rc, "map as a table") : 0;
}
