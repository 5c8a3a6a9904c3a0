/* tracker/view.c - what is known, for readers: the map, and FastDFS's
 * records. */
#include "tracker/core_int.h"

#include "lib/clock.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define MIB_SHIFT 20
#define SUBDIRS 256 /* as in all names of Creel */

uint8_t
tcore_state(const struct tcore *t, struct tcore_now now, const struct tnode *n)
{
	if (tcore_is_away(t, now, n))
		return FDFS_STATE_OFFLINE;
	/* ACTIVE in a group that is not the one known here (K5). */
	if (!n->is_member && n->n.state == FDFS_STATE_ACTIVE)
		return FDFS_STATE_NONE;
	return n->n.state;
}

void
tcore_id_text(uint32_t server_id, char dst[FDFS_ID_LEN + 1])
{
	snprintf(dst, FDFS_ID_LEN + 1, "%" PRIu32, server_id);
}

/* --- the map --- */

static void
map_node(struct tcore *t, struct tcore_now now, const struct tgroup *g,
    const struct tnode *n, struct cmap_node *ret)
{
	char when[25];

	*ret = n->n; /* its paths are still n's */
	ret->is_away = tcore_is_away(t, now, n);
	if (ret->is_away) { /* that was its word when it was there */
		ret->can_write = ret->is_leader = false;
		clock_fmt_iso(n->n.heard_s * INT64_C(1000000000), when);
		if (n->was_heard)
			snprintf(ret->reason, sizeof(ret->reason),
			    "not heard since %.19sZ", when);
		else
			snprintf(ret->reason, sizeof(ret->reason),
			    "not heard since this tracker started");
	}
	if (n->was_heard && !n->is_member && g->n_members > 0 &&
	    !id128_is_zero(&n->n.group_id) &&
	    !id128_eq(&n->n.group_id, &g->id)) {
		ret->state = FDFS_STATE_NONE;
		ret->can_write = false;
		snprintf(ret->reason, sizeof(ret->reason),
		    "belongs to another group of that name");
	}
}

static int
map_fill(struct tcore *t, struct tcore_now now, struct str group,
    struct cmap *m, struct err *e)
{
	size_t nodes = 0;

	for (size_t i = 0; i < t->n_groups; i++)
		nodes += t->groups[i]->n_nodes;
	m->nodes = mem_zalloc((nodes + 1) * sizeof(*m->nodes));
	m->gates = mem_zalloc((t->n_gates + 1) * sizeof(*m->gates));
	m->trackers = mem_zalloc((t->n_trackers + 1) * sizeof(*m->trackers));
	if (m->nodes == NULL || m->gates == NULL || m->trackers == NULL)
		return err_set(e, ERR_NO_MEMORY, "map");
	for (size_t i = 0; i < t->n_groups; i++) {
		const struct tgroup *g = t->groups[i];

		if (group.len > 0 && !str_eqz(group, g->name))
			continue;
		for (size_t k = 0; k < g->n_nodes; k++)
			map_node(t, now, g, g->nodes[k],
			    &m->nodes[m->n_nodes++]);
	}
	for (size_t i = 0; i < t->n_gates && group.len == 0; i++)
		m->gates[m->n_gates++] = t->gates[i]->g;
	for (size_t i = 0; i < t->n_trackers && group.len == 0; i++) {
		struct cmap_tracker *k = &m->trackers[m->n_trackers++];

		*k = t->trackers[i].t;
		if (t->trackers[i].is_away)
			k->heard_s = 0;
	}
	return 0;
}

int
tcore_map(struct tcore *t, struct tcore_now now, struct str group, uint64_t seq,
    struct buf *b, struct err *e)
{
	struct cmap m = { .seq = t->seq };
	int rc;

	OBJ_CHECK(t, TCORE_MAGIC);
	if (seq != 0 && seq == t->seq)
		return 0;
	rc = map_fill(t, now, group, &m, e);
	if (rc == 0) {
		rc = cmap_pack(&m, b);
		if (rc < 0)
			err_set(e, rc, "map of %zu nodes", m.n_nodes);
	}
	/* What the nodes own stays theirs: no cmap_fini(). */
	mem_free(&m.nodes);
	mem_free(&m.gates);
	mem_free(&m.trackers);
	return rc;
}

/* --- FastDFS's records --- */

/* Where uploads to it end: its own reserve on each path, or the tracker's. */
static uint64_t
reserve_of(const struct tcore *t, const struct cmap_node *n)
{
	uint64_t own = n->reserved * n->n_paths;

	return own > t->c.o.reserved ? own : t->c.o.reserved;
}

/* The least of its nodes that are there: each holds all files. */
static void
group_space(struct tcore *t, struct tcore_now now, const struct tgroup *g,
    struct fdfs_group *r)
{
	bool any = false;

	r->reserved_mb = (int64_t)(t->c.o.reserved >> MIB_SHIFT);
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct cmap_node *n = &g->nodes[i]->n;
		int64_t total = (int64_t)(tcore_total(n) >> MIB_SHIFT);
		int64_t avail = (int64_t)(tcore_avail(n) >> MIB_SHIFT);
		int64_t reserved = (int64_t)(reserve_of(t, n) >> MIB_SHIFT);

		if (!tcore_is_active(t, now, g->nodes[i]))
			continue;
		if (!any || total < r->total_mb)
			r->total_mb = total;
		if (!any || avail < r->free_mb)
			r->free_mb = avail;
		if (reserved > r->reserved_mb)
			r->reserved_mb = reserved;
		any = true;
	}
}

void
tcore_group_record(struct tcore *t, struct tcore_now now,
    const struct tgroup *g, struct fdfs_group *ret)
{
	uint64_t last = 0;

	*ret = (struct fdfs_group){ .subdirs = SUBDIRS,
		.trunk_file = -1,
		.storages = (int64_t)g->n_nodes };
	memcpy(ret->name, g->name, sizeof(ret->name));
	group_space(t, now, g, ret);
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct tnode *n = g->nodes[i];

		if (ret->storage_port == 0)
			ret->storage_port = n->n.inner.port;
		if (n->stored > last) {
			last = n->stored;
			ret->write_server = (int64_t)i;
		}
		if (!tcore_is_active(t, now, n))
			continue;
		ret->readable++;
		ret->writable += n->n.can_write && tcore_has_room(t, &n->n);
		if (ret->store_paths == 0 ||
		    (int64_t)n->n.n_paths < ret->store_paths)
			ret->store_paths = (int64_t)n->n.n_paths;
	}
}

void
tcore_storage_record(struct tcore *t, struct tcore_now now,
    const struct tcore_ask *a, const struct tnode *n, struct fdfs_storage *ret)
{
	const struct fdfs_addr *told = tcore_told(&n->n, &a->peer);
	bool is_active = tcore_is_active(t, now, n);

	*ret = (struct fdfs_storage){
		.state = tcore_state(t, now, n),
		.rw_mode = (uint8_t)((is_active ? 4 : 0) |
				     (is_active && n->n.can_write ? 2 : 0)),
		.joined = n->n.joined_s,
		.started = n->n.started_s,
		.total_mb = (int64_t)(tcore_total(&n->n) >> MIB_SHIFT),
		.free_mb = (int64_t)(tcore_avail(&n->n) >> MIB_SHIFT),
		.reserved_mb = (int64_t)(reserve_of(t, &n->n) >> MIB_SHIFT),
		.priority = n->n.priority,
		.store_paths = (int64_t)n->n.n_paths,
		.subdirs = SUBDIRS,
		.write_path = n->path,
		.port = told->port,
		.stat = n->n.stat,
	};
	tcore_id_text(n->n.server_id, ret->id);
	/* A list is not refused for one address that the form cannot hold. */
	if (tcore_fits(told, a->form))
		memcpy(ret->ip, told->ip, sizeof(ret->ip));
	snprintf(ret->version, sizeof(ret->version), "%.*s", FDFS_VERSION_LEN,
	    n->n.version);
}

void
tcore_volume_record(struct tcore *t, struct tcore_now now,
    const struct tgroup *g, struct fdfs_volume *ret)
{
	struct fdfs_group r = { 0 };

	group_space(t, now, g, &r);
	*ret = (struct fdfs_volume){ .total_mb = r.total_mb,
		.free_mb = r.free_mb,
		.reserved_mb = r.reserved_mb };
	memcpy(ret->group, g->name, sizeof(ret->group));
	if (r.free_mb > r.reserved_mb)
		ret->available_mb = r.free_mb - r.reserved_mb;
	ret->disk_available = ret->available_mb > 0;
}
