/* tracker/answer.c - FastDFS's tracker commands, answered from the core.
 *
 * Server IDs are used (the numbers of the setting server_id), so 69 lists them
 * and 75 says so. Trackers here have no leader: to FastDFS's tools the one that
 * they ask is it. There are no trunk files: 94 is not supported. */
#include "tracker/core_int.h"

#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define IDS_MAX 8192 /* bytes of lines in one answer: C clients ask on */

/* The filters of FastDFS's *_STAT commands: bits of the first byte. */
enum {
	TRACKER_BY_ACTIVE = 1,
	TRACKER_BY_LEADER = 2,
	STORAGE_BY_TRUNK = 1,
	STORAGE_BY_STATE = 2,
	VOLUME_BY_DISK = 1,
	VOLUME_BY_TRUNK = 2,
	VOLUME_BY_SPACE = 4,
};

struct question {
	struct tcore *t;
	struct tcore_now now;
	const struct tcore_ask *a;
	const struct fdfs_tracker_req *r;
	struct tgroup *g; /* of a request that names one */
	struct buf *b;
};

static bool
is_one_of(const struct tnode *n, const struct fdfs_addr *a)
{
	return (strcmp(n->n.inner.ip, a->ip) == 0 &&
		   n->n.inner.port == a->port) ||
	       (strcmp(n->n.outer.ip, a->ip) == 0 &&
		   n->n.outer.port == a->port);
}

static bool
has_id(const struct tnode *n, struct str id)
{
	char text[FDFS_ID_LEN + 1];

	tcore_id_text(n->n.server_id, text);
	return str_eqz(id, text) || str_eqz(id, n->n.inner.ip) ||
	       (n->n.outer.ip[0] != '\0' && str_eqz(id, n->n.outer.ip));
}

/* --- lists --- */

static int
list_groups(const struct question *q, struct err *e)
{
	struct fdfs_group r;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < q->t->n_groups; i++) {
		if (q->g != NULL && q->t->groups[i] != q->g)
			continue;
		tcore_group_record(q->t, q->now, q->t->groups[i], &r);
		rc = fdfs_group_encode(&r, q->b, e);
	}
	return rc;
}

static int
list_storages(const struct question *q, struct err *e)
{
	struct fdfs_storage r;
	bool any = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < q->g->n_nodes; i++) {
		const struct tnode *n = q->g->nodes[i];

		if (q->r->id.len > 0 && !has_id(n, q->r->id))
			continue;
		any = true;
		tcore_storage_record(q->t, q->now, q->a, n, &r);
		rc = fdfs_storage_encode(&r, q->a->form, q->b, e);
	}
	if (rc == 0 && !any && q->r->id.len > 0)
		return err_set(e, ERR_NOT_FOUND, "no such storage");
	return rc;
}

/* --- administration: only what is not part of a group (any more) --- */

static int
delete_storage(const struct question *q, struct err *e)
{
	for (size_t i = 0; i < q->g->n_nodes; i++) {
		struct tnode *n = q->g->nodes[i];

		if (!has_id(n, q->r->id))
			continue;
		if (n->is_member || !tcore_is_away(q->t, q->now, n))
			return err_set(e, ERR_BUSY,
			    "storage is in use; `creel admin cluster remove` "
			    "takes it out of its group");
		return tcore_forget(q->t, q->now, q->r->group, n->n.server_id,
		    e);
	}
	return err_set(e, ERR_NOT_FOUND, "no such storage");
}

static int
delete_group(const struct question *q, struct err *e)
{
	if (q->g->n_members > 0 || q->g->n_nodes > 0)
		return err_set(e, ERR_BUSY, "group has storages");
	return tcore_forget(q->t, q->now, q->r->group, 0, e);
}

/* --- views of the cluster --- */

static void
version_text(const char *from, char dst[FDFS_VERSION_LEN + 1])
{
	snprintf(dst, FDFS_VERSION_LEN + 1, "%.*s", FDFS_VERSION_LEN, from);
}

static void
add_tracker(const struct question *q, struct fdfs_node *v, size_t *n,
    const struct fdfs_node *one)
{
	uint8_t by = q->r->filter[0];

	if ((by & TRACKER_BY_ACTIVE) != 0 &&
	    one->is_active != (q->r->filter[1] != 0))
		return;
	if ((by & TRACKER_BY_LEADER) != 0 &&
	    one->is_leader != (q->r->filter[2] != 0))
		return;
	if (*n < FDFS_MAX_TRACKERS)
		v[(*n)++] = *one;
}

static int
tracker_stat(const struct question *q, struct err *e)
{
	struct fdfs_node v[FDFS_MAX_TRACKERS];
	struct fdfs_node self = { .is_leader = true,
		.is_active = true,
		.conn_alloc = (int32_t)q->a->limit,
		.conn_current = (int32_t)q->a->connections,
		.conn_max = (int32_t)q->a->most };
	struct tcore *t = q->t;
	size_t n = 0;

	fdfs_addr_text(&q->a->local, self.host);
	version_text(t->c.version, self.version);
	self.started = t->start_s;
	self.last_heartbeat = q->now.real_s;
	add_tracker(q, v, &n, &self);
	for (size_t i = 0; i < t->n_trackers; i++) {
		const struct ttracker *k = &t->trackers[i];
		struct fdfs_node one = { .started = k->t.started_s,
			.last_heartbeat = k->t.heard_s };

		if (k->was_heard && k->t.is_self)
			continue;
		one.is_active = k->was_heard &&
		                q->now.mono_ms - k->heard_ms <= t->c.o.away_ms;
		fdfs_addr_text(&k->t.addr, one.host);
		version_text(k->t.version, one.version);
		add_tracker(q, v, &n, &one);
	}
	return fdfs_tracker_stat_encode(v, n, q->b, e);
}

static bool
is_wanted(const struct question *q, uint8_t state)
{
	const uint8_t *f = q->r->filter;

	if ((f[0] & STORAGE_BY_STATE) == 0)
		return true;
	return f[1] == '=' ? state == f[2] : f[1] == '!' && state != f[2];
}

static int
storage_stat(const struct question *q, struct err *e)
{
	struct tcore *t = q->t;
	struct fdfs_node *v;
	size_t n = 0, max = 0;
	int rc;

	for (size_t i = 0; i < t->n_groups; i++)
		max += t->groups[i]->n_nodes;
	v = mem_zalloc((max + 1) * sizeof(*v));
	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, "answer");
	for (size_t i = 0; i < t->n_groups; i++) {
		for (size_t k = 0; k < t->groups[i]->n_nodes; k++) {
			const struct tnode *s = t->groups[i]->nodes[k];
			struct fdfs_node *d = &v[n];

			d->state = tcore_state(t, q->now, s);
			if (!is_wanted(q, d->state))
				continue;
			tcore_id_text(s->n.server_id, d->id);
			fdfs_addr_text(tcore_told(&s->n, &q->a->peer), d->host);
			d->conn_alloc = s->n.stat.conn_alloc;
			d->conn_current = s->n.stat.conn_current;
			d->conn_max = s->n.stat.conn_max;
			version_text(s->n.version, d->version);
			d->started = s->n.started_s;
			d->last_heartbeat = s->n.heard_s;
			n++;
		}
	}
	rc = fdfs_storage_stat_encode(v, n, true, false, q->b, e);
	mem_free(&v);
	return rc;
}

static int
volume_stat(const struct question *q, struct err *e)
{
	const uint8_t *f = q->r->filter;
	struct tcore *t = q->t;
	struct fdfs_volume *v = mem_zalloc((t->n_groups + 1) * sizeof(*v));
	size_t n = 0;
	int rc;

	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, "answer");
	for (size_t i = 0; i < t->n_groups; i++) {
		struct fdfs_volume *d = &v[n];

		tcore_volume_record(t, q->now, t->groups[i], d);
		if ((f[0] & VOLUME_BY_DISK) != 0 &&
		    d->disk_available != (f[1] != 0))
			continue;
		if ((f[0] & VOLUME_BY_SPACE) != 0 &&
		    d->disk_available != (f[3] != 0))
			continue;
		n++;
	}
	rc = fdfs_volume_stat_encode(v, n, false, q->b, e);
	mem_free(&v);
	return rc;
}

/* --- parameters and identities --- */

static int
parameters(const struct question *q, struct err *e)
{
	char reserved[32];
	const struct {
		const char *key, *value;
	} all[] = {
		{ "use_storage_id", "1" },
		{ "id_type_in_filename", "id" },
		{ "trust_storage_server_id", "1" },
		{ "response_ip_addr_size",
		    q->a->form == FDFS_WIDE ? "46" : "16" },
		{ "storage_ip_changed_auto_adjust", "1" },
		{ "storage_sync_file_max_delay", "86400" },
		{ "store_path",
		    q->t->c.o.store_path == TCORE_PATH_BALANCE ? "2" : "0" },
		{ "reserved_storage_space", reserved },
		{ "use_trunk_file", "0" },
		{ "slot_min_size", "256" },
		{ "slot_max_size", "1048576" },
		{ "trunk_alloc_alignment_size", "256" },
		{ "trunk_file_size", "67108864" },
		{ "trunk_create_file_advance", "0" },
		{ "trunk_create_file_time_base", "02:00" },
		{ "trunk_create_file_interval", "86400" },
		{ "trunk_create_file_space_threshold", "21474836480" },
		{ "trunk_init_check_occupying", "0" },
		{ "trunk_init_reload_from_binlog", "0" },
		{ "trunk_free_space_merge", "1" },
		{ "delete_unused_trunk_files", "0" },
		{ "trunk_compress_binlog_min_interval", "86400" },
		{ "trunk_compress_binlog_interval", "86400" },
		{ "trunk_compress_binlog_time_base", "03:00" },
		{ "trunk_binlog_max_backups", "7" },
		{ "store_slave_file_use_link", "0" },
	};
	int rc = 0;

	snprintf(reserved, sizeof(reserved), "%" PRIu64 "M",
	    q->t->c.o.reserved >> 20);
	for (size_t i = 0; rc == 0 && i < sizeof(all) / sizeof(all[0]); i++)
		rc = fdfs_param_add(q->b, all[i].key, all[i].value, e);
	return rc;
}

static int
add_id_line(const struct question *q, const struct tgroup *g,
    const struct tnode *n, struct buf *lines)
{
	char host[FDFS_HOST_LEN + 1];

	fdfs_addr_text(tcore_told(&n->n, &q->a->peer), host);
	return buf_addf(lines, "%" PRIu32 " %s %s\n", n->n.server_id, g->name,
	    host);
}

/* "id group ip:port" of each, from number @start on. */
static int
storage_ids(const struct question *q, struct err *e)
{
	struct buf lines = BUF_CAP(IDS_MAX);
	struct tcore *t = q->t;
	uint32_t total = 0, n = 0;
	int rc = 0;

	for (size_t i = 0; i < t->n_groups; i++) {
		for (size_t k = 0; k < t->groups[i]->n_nodes; k++) {
			const struct tnode *s = t->groups[i]->nodes[k];

			if (!s->is_member)
				continue;
			if (total++ < q->r->start || rc != 0)
				continue;
			rc = add_id_line(q, t->groups[i], s, &lines);
			n += rc == 0;
		}
	}
	if (rc == ERR_TOO_BIG)
		rc = 0; /* the client asks for the rest */
	if (rc == 0 && q->r->start > total)
		rc = err_set(e, ERR_INVALID, "start of IDs past their end");
	if (rc == 0)
		rc = fdfs_ids_encode(total, n, buf_str(&lines), q->b, e);
	buf_fini(&lines);
	return rc;
}

static const struct tnode *
node_at(const struct tgroup *g, const struct fdfs_addr *a)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		if (is_one_of(g->nodes[i], a))
			return g->nodes[i];
	return NULL;
}

static int
server_id(const struct question *q, bool with_state, struct err *e)
{
	struct fdfs_brief brief = { 0 };
	const struct tnode *n;
	struct fdfs_addr a;
	int rc = fdfs_addr_parse(q->r->addr, &a, e);

	if (rc < 0)
		return rc;
	n = node_at(q->g, &a);
	if (n == NULL)
		return err_set(e, ERR_NOT_FOUND, "no such storage");
	tcore_id_text(n->n.server_id, brief.id);
	if (!with_state)
		return fdfs_id_answer_encode(str_of(brief.id), false, q->b, e);
	brief.state = tcore_state(q->t, q->now, n);
	brief.port = a.port;
	memcpy(brief.ip, a.ip, sizeof(brief.ip));
	return fdfs_brief_encode(&brief, q->b, e);
}

/* The group of the storage at that port of the asking host, or of another. */
static int
group_by_port(const struct question *q, struct err *e)
{
	struct fdfs_addr a = q->a->peer;

	if (q->r->addr.len > FDFS_IP_MAX)
		return err_set(e, ERR_INVALID, "address");
	if (q->r->addr.len > 0) {
		memcpy(a.ip, q->r->addr.p, q->r->addr.len);
		a.ip[q->r->addr.len] = '\0';
	}
	a.port = (uint16_t)q->r->port;
	for (size_t i = 0; i < q->t->n_groups; i++)
		if (node_at(q->t->groups[i], &a) != NULL)
			return fdfs_group_answer_encode(str_of(q->t->groups[i]
								   ->name),
			    q->b, e);
	return tcore_no_group(q->t, q->now, STR_LIT("with that storage"), e);
}

static int
status(const struct question *q, struct err *e)
{
	struct fdfs_tracker_status s = { .is_leader = true,
		.running = (q->now.mono_ms - q->t->start_ms) / 1000 };

	return fdfs_tracker_status_encode(&s, q->b, e);
}

/* --- dispatch --- */

static int
where(const struct question *q, struct err *e)
{
	const struct fdfs_tracker_req *r = q->r;
	bool all =
	    r->command == FDFS_STORE_ALL || r->command == FDFS_STORE_GROUP_ALL;
	struct fdfs_servers s;
	int rc;

	switch (r->command) {
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
		rc = tcore_fetch(q->t, q->now, q->a, r->command, r->group,
		    r->name, &s, e);
		return rc < 0 ? rc
		              : fdfs_fetch_encode(&s, q->a->form,
				    q->t->c.o.extras, q->b, e);
	default:
		rc = tcore_store(q->t, q->now, q->a, r->group, all, &s, e);
		return rc < 0 ? rc : fdfs_store_encode(&s, q->a->form, q->b, e);
	}
}

static int
view(const struct question *q, struct err *e)
{
	switch (q->r->command) {
	case FDFS_LEADER:
		return fdfs_leader_encode(&q->a->local, q->b, e);
	case FDFS_TRACKER_STAT:
		return tracker_stat(q, e);
	case FDFS_STORAGE_STAT:
		return storage_stat(q, e);
	case FDFS_VOLUME_STAT:
		return volume_stat(q, e);
	case FDFS_STATUS:
		return status(q, e);
	case FDFS_STORAGE_IDS:
		return storage_ids(q, e);
	case FDFS_PARAMETERS:
		return parameters(q, e);
	case FDFS_GROUP_BY_PORT:
		return group_by_port(q, e);
	case FDFS_LIST_GROUPS:
		return list_groups(q, e);
	default:
		return err_set(e, ERR_NOT_IMPLEMENTED, "command %u",
		    q->r->command);
	}
}

static int
of_group(const struct question *q, struct err *e)
{
	switch (q->r->command) {
	case FDFS_LIST_GROUP:
		return list_groups(q, e);
	case FDFS_LIST_STORAGES:
		return list_storages(q, e);
	case FDFS_DELETE_STORAGE:
		return delete_storage(q, e);
	case FDFS_DELETE_GROUP:
		return delete_group(q, e);
	case FDFS_SET_TRUNK:
		return err_set(e, ERR_NOT_IMPLEMENTED, "no trunk files here");
	case FDFS_SERVER_ID:
	case FDFS_SERVER_STATUS:
		return server_id(q, q->r->command == FDFS_SERVER_STATUS, e);
	default:
		MUST(false);
	}
}

int
tcore_answer(struct tcore *t, struct tcore_now now, const struct tcore_ask *a,
    const struct fdfs_header *h, struct str body, struct buf *b, struct err *e)
{
	struct fdfs_tracker_req r;
	struct question q = { t, now, a, &r, NULL, b };
	int rc = fdfs_tracker_req_decode(h, body, &r, e);

	OBJ_CHECK(t, TCORE_MAGIC);
	if (rc < 0)
		return rc;
	switch (r.command) {
	case FDFS_STORE_ONE:
	case FDFS_STORE_GROUP_ONE:
	case FDFS_STORE_ALL:
	case FDFS_STORE_GROUP_ALL:
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
		return where(&q, e);
	case FDFS_LIST_GROUP:
	case FDFS_LIST_STORAGES:
	case FDFS_DELETE_STORAGE:
	case FDFS_DELETE_GROUP:
	case FDFS_SET_TRUNK:
	case FDFS_SERVER_ID:
	case FDFS_SERVER_STATUS:
		q.g = tcore_group(t, r.group);
		if (q.g == NULL)
			return tcore_no_group(t, now, r.group, e);
		return of_group(&q, e);
	default:
		return view(&q, e);
	}
}
