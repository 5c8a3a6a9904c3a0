/* cluster/map.c - packing of cluster/map.h. A record inside another message is
 * a text, so that it can grow by itself. */
#include "cluster/map.h"

#include "lib/mem.h"

#include <stdlib.h>

#define NODE_MAX 65536 /* bytes of a packed node */
#define NODE_MIN 400   /* the statistics alone are 348 */
#define GATE_MAX 1024
#define GATE_MIN 48
#define MAP_NODES (FDFS_MAX_GROUPS * FDFS_MAX_SERVERS)
#define MAP_GATES 4096

void
cmap_node_fini(struct cmap_node *n)
{
	mem_free(&n->paths);
	n->n_paths = 0;
}

void
cmap_fini(struct cmap *m)
{
	for (size_t i = 0; i < m->n_nodes; i++)
		cmap_node_fini(&m->nodes[i]);
	mem_free(&m->nodes);
	mem_free(&m->gates);
	mem_free(&m->trackers);
	*m = (struct cmap){ 0 };
}

/* --- fields --- */

int
cmap_addr_pack(const struct fdfs_addr *a, struct buf *b)
{
	int rc = pack_str(b, str_of(a->ip));

	return rc < 0 ? rc : pack_u32(b, a->port);
}

void
cmap_addr_unpack(struct unpack *u, struct fdfs_addr *ret)
{
	struct str ip = unpack_str(u, FDFS_IP_MAX);
	uint32_t port = unpack_u32(u);

	*ret = (struct fdfs_addr){ 0 };
	for (size_t i = 0; i < ip.len; i++) {
		/* Addresses and names of hosts. */
		if (strchr("0123456789.:-_", ip.p[i]) == NULL &&
		    (ip.p[i] < 'A' || ip.p[i] > 'Z') &&
		    (ip.p[i] < 'a' || ip.p[i] > 'z'))
			u->is_bad = true;
		if (ip.p[i] == '\0')
			u->is_bad = true;
	}
	if (port > UINT16_MAX)
		u->is_bad = true;
	if (u->is_bad)
		return;
	if (ip.len > 0)
		memcpy(ret->ip, ip.p, ip.len);
	ret->port = (uint16_t)port;
}

/* For people: what could do harm on a terminal becomes '?'. */
static void
unpack_text(struct unpack *u, char *dst, size_t size)
{
	struct str s = unpack_str(u, size - 1);
	bool utf8 = utf8_is_valid(s);

	memset(dst, 0, size);
	if (u->is_bad)
		return;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		dst[i] = c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8) ? '?'
		                                                       : s.p[i];
	}
}

/* --- a node --- */

static int
pack_paths(const struct cmap_node *n, struct buf *b)
{
	int rc = pack_u32(b, (uint32_t)n->n_paths);

	for (size_t i = 0; i < n->n_paths && rc == 0; i++) {
		const struct cmap_path *p = &n->paths[i];

		rc = buf_reserve(b, 33);
		if (rc < 0)
			break;
		pack_u64(b, p->total);
		pack_u64(b, p->avail);
		pack_u64(b, p->files);
		pack_u64(b, p->bytes);
		pack_u8(b, p->is_failed);
	}
	return rc;
}

static int
pack_members(const struct cmap_node *n, struct buf *b)
{
	int rc = pack_u32(b, (uint32_t)n->n_members);

	for (size_t i = 0; i < n->n_members && rc == 0; i++) {
		const struct cmap_member *m = &n->members[i];

		rc = pack_id(b, &m->node);
		if (rc == 0)
			rc = pack_u32(b, m->server_id);
		if (rc == 0)
			rc = cmap_addr_pack(&m->inner, b);
		if (rc == 0)
			rc = cmap_addr_pack(&m->outer, b);
	}
	return rc;
}

static int
pack_fields(const struct cmap_node *n, struct buf *b)
{
	int rc = buf_reserve(b, 1024); /* all but paths and members */

	if (rc < 0)
		return rc;
	pack_id(b, &n->node);
	pack_id(b, &n->cluster);
	pack_id(b, &n->group_id);
	pack_u32(b, n->server_id);
	pack_str(b, str_of(n->group));
	cmap_addr_pack(&n->inner, b);
	cmap_addr_pack(&n->outer, b);
	pack_u32(b, n->http_port);
	pack_str(b, str_of(n->version));
	pack_u8(b, n->state);
	pack_str(b, str_of(n->reason));
	pack_u8(b, n->progress);
	pack_u8(b, n->can_write);
	pack_u8(b, n->is_leader);
	pack_u64(b, n->lag_bytes);
	pack_u64(b, n->lag_files);
	pack_u64(b, n->epoch);
	pack_u64(b, n->term);
	pack_u64(b, (uint64_t)n->started_s);
	pack_u64(b, (uint64_t)n->joined_s);
	pack_u32(b, n->priority);
	pack_u32(b, n->min_copies);
	pack_u64(b, n->reserved);
	pack_u64(b, (uint64_t)n->heard_s);
	pack_u8(b, n->is_away);
	pack_u32(b, FDFS_STAT_LEN);
	return fdfs_stat_encode(&n->stat, b);
}

/* Begins a text of yet unknown length; end_text() completes it. */
static int
begin_text(struct buf *b, size_t *ret_at)
{
	*ret_at = b->len;
	return pack_u32(b, 0);
}

static void
end_text(struct buf *b, size_t at)
{
	struct buf len = { b->p + at, 0, 4, 4 };

	pack_u32(&len, (uint32_t)(b->len - at - 4));
}

int
cmap_node_pack(const struct cmap_node *n, struct buf *b)
{
	size_t at;
	int rc;

	MUST(n->n_paths <= CMAP_PATHS && n->n_members <= CMAP_MEMBERS);
	rc = begin_text(b, &at);
	if (rc == 0)
		rc = pack_fields(n, b);
	if (rc == 0)
		rc = pack_paths(n, b);
	if (rc == 0)
		rc = pack_members(n, b);
	if (rc < 0)
		b->len = at;
	else
		end_text(b, at);
	return rc;
}

static void
unpack_fields(struct unpack *u, struct cmap_node *n)
{
	struct str stat;

	n->node = unpack_id(u);
	n->cluster = unpack_id(u);
	n->group_id = unpack_id(u);
	n->server_id = unpack_u32(u);
	unpack_text(u, n->group, sizeof(n->group));
	cmap_addr_unpack(u, &n->inner);
	cmap_addr_unpack(u, &n->outer);
	n->http_port = (uint16_t)unpack_u32(u);
	unpack_text(u, n->version, sizeof(n->version));
	n->state = unpack_u8(u);
	unpack_text(u, n->reason, sizeof(n->reason));
	n->progress = unpack_u8(u);
	n->can_write = unpack_u8(u) != 0;
	n->is_leader = unpack_u8(u) != 0;
	n->lag_bytes = unpack_u64(u);
	n->lag_files = unpack_u64(u);
	n->epoch = unpack_u64(u);
	n->term = unpack_u64(u);
	n->started_s = (int64_t)unpack_u64(u);
	n->joined_s = (int64_t)unpack_u64(u);
	n->priority = unpack_u32(u);
	n->min_copies = unpack_u32(u);
	n->reserved = unpack_u64(u);
	n->heard_s = (int64_t)unpack_u64(u);
	n->is_away = unpack_u8(u) != 0;
	stat = unpack_str(u, FDFS_STAT_LEN);
	if (stat.len == FDFS_STAT_LEN)
		fdfs_stat_decode(stat.p, &n->stat);
	else
		u->is_bad = true;
}

static int
unpack_paths(struct unpack *u, struct cmap_node *n, struct err *e)
{
	uint32_t count = unpack_u32(u);

	if (count > CMAP_PATHS)
		u->is_bad = true;
	if (u->is_bad || count == 0)
		return 0;
	n->paths = mem_zalloc(count * sizeof(*n->paths));
	if (n->paths == NULL)
		return err_set(e, ERR_NO_MEMORY, "map");
	n->n_paths = count;
	for (size_t i = 0; i < count; i++) {
		struct cmap_path *p = &n->paths[i];

		p->total = unpack_u64(u);
		p->avail = unpack_u64(u);
		p->files = unpack_u64(u);
		p->bytes = unpack_u64(u);
		p->is_failed = unpack_u8(u) != 0;
	}
	return 0;
}

static void
unpack_members(struct unpack *u, struct cmap_node *n)
{
	uint32_t count = unpack_u32(u);

	if (count > CMAP_MEMBERS)
		u->is_bad = true;
	for (size_t i = 0; i < count && !u->is_bad; i++) {
		struct cmap_member *m = &n->members[i];

		m->node = unpack_id(u);
		m->server_id = unpack_u32(u);
		cmap_addr_unpack(u, &m->inner);
		cmap_addr_unpack(u, &m->outer);
		n->n_members++;
	}
}

int
cmap_node_unpack(struct unpack *u, struct cmap_node *ret, struct err *e)
{
	struct unpack in = unpack_of(unpack_str(u, NODE_MAX));
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (u->is_bad)
		return unpack_end(u, e);
	unpack_fields(&in, ret);
	rc = unpack_paths(&in, ret, e);
	if (rc == 0)
		unpack_members(&in, ret);
	if (rc == 0)
		rc = unpack_end(&in, e);
	if (rc < 0)
		cmap_node_fini(ret);
	return rc;
}

/* --- the map --- */

static int
pack_gates(const struct cmap *m, struct buf *b)
{
	int rc = pack_u32(b, (uint32_t)m->n_gates);

	for (size_t i = 0; i < m->n_gates && rc == 0; i++) {
		size_t at;

		rc = buf_reserve(b, 256);
		if (rc < 0)
			break;
		begin_text(b, &at);
		pack_id(b, &m->gates[i].gate);
		pack_id(b, &m->gates[i].index);
		pack_u64(b, m->gates[i].index_epoch);
		cmap_addr_pack(&m->gates[i].addr, b);
		pack_str(b, str_of(m->gates[i].version));
		pack_u64(b, (uint64_t)m->gates[i].heard_s);
		end_text(b, at);
	}
	return rc;
}

static int
pack_trackers(const struct cmap *m, struct buf *b)
{
	int rc = pack_u32(b, (uint32_t)m->n_trackers);

	for (size_t i = 0; i < m->n_trackers && rc == 0; i++) {
		size_t at;

		rc = buf_reserve(b, 256);
		if (rc < 0)
			break;
		begin_text(b, &at);
		cmap_addr_pack(&m->trackers[i].addr, b);
		pack_str(b, str_of(m->trackers[i].version));
		pack_u64(b, (uint64_t)m->trackers[i].started_s);
		pack_u64(b, (uint64_t)m->trackers[i].heard_s);
		pack_u8(b, m->trackers[i].is_self);
		end_text(b, at);
	}
	return rc;
}

int
cmap_pack(const struct cmap *m, struct buf *b)
{
	size_t begin = b->len;
	int rc;

	rc = pack_u64(b, m->seq);
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)m->n_nodes);
	for (size_t i = 0; i < m->n_nodes && rc == 0; i++)
		rc = cmap_node_pack(&m->nodes[i], b);
	if (rc == 0)
		rc = pack_gates(m, b);
	if (rc == 0)
		rc = pack_trackers(m, b);
	if (rc < 0)
		b->len = begin;
	return rc;
}

/* How many of at least @min bytes follow; an array for them. */
static int
unpack_count(struct unpack *u, size_t min, size_t max, size_t size, void **ret,
    size_t *ret_n, struct err *e)
{
	uint32_t n = unpack_u32(u);

	if (n > max || n > u->rest.len / min)
		u->is_bad = true;
	*ret_n = 0;
	*ret = NULL;
	if (u->is_bad)
		return unpack_end(u, e);
	if (n > 0) {
		*ret = mem_zalloc(n * size);
		if (*ret == NULL)
			return err_set(e, ERR_NO_MEMORY, "map");
	}
	*ret_n = n;
	return 0;
}

static int
unpack_nodes(struct unpack *u, struct cmap *m, struct err *e)
{
	void *room;
	size_t n;
	int rc;

	rc = unpack_count(u, NODE_MIN, MAP_NODES, sizeof(*m->nodes), &room, &n,
	    e);
	m->nodes = room;
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = cmap_node_unpack(u, &m->nodes[i], e);
		if (rc == 0)
			m->n_nodes++;
	}
	return rc;
}

static int
unpack_gates(struct unpack *u, struct cmap *m, struct err *e)
{
	void *room;
	int rc;

	rc = unpack_count(u, GATE_MIN, MAP_GATES, sizeof(*m->gates), &room,
	    &m->n_gates, e);
	m->gates = room;
	for (size_t i = 0; i < m->n_gates && rc == 0; i++) {
		struct cmap_gate *g = &m->gates[i];
		struct unpack in = unpack_of(unpack_str(u, GATE_MAX));

		g->gate = unpack_id(&in);
		g->index = unpack_id(&in);
		g->index_epoch = unpack_u64(&in);
		cmap_addr_unpack(&in, &g->addr);
		unpack_text(&in, g->version, sizeof(g->version));
		g->heard_s = (int64_t)unpack_u64(&in);
		rc = unpack_end(&in, e);
	}
	return rc;
}

static int
unpack_trackers(struct unpack *u, struct cmap *m, struct err *e)
{
	void *room;
	int rc;

	rc = unpack_count(u, 24, FDFS_MAX_TRACKERS, sizeof(*m->trackers), &room,
	    &m->n_trackers, e);
	m->trackers = room;
	for (size_t i = 0; i < m->n_trackers && rc == 0; i++) {
		struct cmap_tracker *t = &m->trackers[i];
		struct unpack in = unpack_of(unpack_str(u, GATE_MAX));

		cmap_addr_unpack(&in, &t->addr);
		unpack_text(&in, t->version, sizeof(t->version));
		t->started_s = (int64_t)unpack_u64(&in);
		t->heard_s = (int64_t)unpack_u64(&in);
		t->is_self = unpack_u8(&in) != 0;
		rc = unpack_end(&in, e);
	}
	return rc;
}

int
cmap_unpack(struct str s, struct cmap *ret, struct err *e)
{
	struct unpack u = unpack_of(s);
	struct cmap m = { 0 };
	int rc;

	m.seq = unpack_u64(&u);
	rc = unpack_nodes(&u, &m, e);
	if (rc == 0)
		rc = unpack_gates(&u, &m, e);
	if (rc == 0)
		rc = unpack_trackers(&u, &m, e);
	if (rc == 0)
		rc = unpack_end(&u, e);
	if (rc < 0) {
		cmap_fini(&m);
		return rc;
	}
	*ret = m;
	return 0;
}
