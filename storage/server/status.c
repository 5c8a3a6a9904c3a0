/* storage/server/status.c - what this node says of itself: to trackers, to
 * administrators. */
#include "storage/server/storage_int.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <stdio.h>

#define ANNOUNCE_EACH_MS 1000
#define ANNOUNCE_CALL_MS 2000

static const size_t count_at[COUNTS] = {
	[COUNT_UPLOAD] = offsetof(struct fdfs_stat, upload),
	[COUNT_APPEND] = offsetof(struct fdfs_stat, append),
	[COUNT_MODIFY] = offsetof(struct fdfs_stat, modify),
	[COUNT_TRUNCATE] = offsetof(struct fdfs_stat, truncate),
	[COUNT_SET_META] = offsetof(struct fdfs_stat, set_meta),
	[COUNT_DELETE] = offsetof(struct fdfs_stat, delete),
	[COUNT_DOWNLOAD] = offsetof(struct fdfs_stat, download),
	[COUNT_GET_META] = offsetof(struct fdfs_stat, get_meta),
	[COUNT_CREATE_LINK] = offsetof(struct fdfs_stat, create_link),
	[COUNT_DELETE_LINK] = offsetof(struct fdfs_stat, delete_link),
	[COUNT_UPLOAD_BYTES] = offsetof(struct fdfs_stat, upload_bytes),
	[COUNT_APPEND_BYTES] = offsetof(struct fdfs_stat, append_bytes),
	[COUNT_MODIFY_BYTES] = offsetof(struct fdfs_stat, modify_bytes),
	[COUNT_DOWNLOAD_BYTES] = offsetof(struct fdfs_stat, download_bytes),
};

static struct fdfs_count
count_of(uint64_t total, uint64_t success)
{
	return (struct fdfs_count){ (int64_t)total, (int64_t)success };
}

static void
stat_of(struct storage *s, const struct rep_status *rs, struct fdfs_stat *ret)
{
	struct fdfs_server_stat ss;
	struct engine_io_stat io;
	int64_t now = clock_real_s();

	*ret = (struct fdfs_stat){ 0 };
	for (size_t i = 0; i < COUNTS; i++) {
		struct fdfs_count n = { atomic_load(&s->counts.total[i]),
			atomic_load(&s->counts.success[i]) };

		memcpy((char *)ret + count_at[i], &n, sizeof(n));
	}
	if (s->server != NULL) {
		fdfs_server_stat(s->server, &ss);
		ret->conn_alloc = (int32_t)ss.limit;
		ret->conn_current = (int32_t)ss.connections;
		ret->conn_max = (int32_t)ss.most;
	}
	engine_io_stat(s->engine, &io);
	ret->file_open = count_of(io.opens, io.opens_ok);
	ret->file_read = count_of(io.reads, io.reads_ok);
	ret->file_write = count_of(io.writes, io.writes_ok);
	ret->sync_in_bytes = count_of(rs->in_bytes, rs->in_bytes_ok);
	ret->sync_out_bytes = count_of(rs->out_bytes, rs->out_bytes_ok);
	ret->last_sync_update = rs->in_last_s;
	ret->last_source_update = atomic_load(&s->counts.last_change_s);
	ret->last_synced = rs->state == FDFS_STATE_ACTIVE ? now : 0;
	ret->last_heartbeat = now;
}

static int
paths_of(struct storage *s, struct cmap_node *n, struct err *e)
{
	struct engine_path_stat st;

	n->n_paths = engine_n_paths(s->engine);
	if (n->n_paths > CMAP_PATHS)
		n->n_paths = CMAP_PATHS;
	n->paths = mem_zalloc((n->n_paths + 1) * sizeof(*n->paths));
	if (n->paths == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < n->n_paths; i++) {
		engine_path_stat(s->engine, i, &st);
		n->paths[i] = (struct cmap_path){ .total = st.total,
			.avail = st.avail,
			.files = st.files,
			.bytes = st.bytes,
			.is_failed = st.is_failed };
	}
	return 0;
}

int
storage_node_of(struct storage *s, struct cmap_node *ret, struct err *e)
{
	struct cmap_node n = { .node = s->node,
		.cluster = s->cluster,
		.server_id = s->c.server_id,
		.inner = s->inner,
		.outer = s->outer,
		.http_port = s->http_port,
		.started_s = s->started_s,
		.joined_s = engine_made_s(s->engine),
		.priority = s->c.upload_priority,
		/* How many nodes surely hold what was acknowledged. */
		.min_copies = s->c.degraded_writes ? 1 : s->c.min_copies,
		.reserved = s->c.reserved };
	struct member_view v;
	struct rep_status rs;
	int rc = paths_of(s, &n, e);

	if (rc < 0)
		return rc;
	snprintf(n.group, sizeof(n.group), "%s", s->c.group);
	snprintf(n.version, sizeof(n.version), "%s", s->c.version);
	members_get(s->members, &v);
	rep_status(s->rep, &rs);
	if (n.joined_s == 0) /* made by a release that did not note it */
		n.joined_s = s->started_s;
	n.group_id = v.group_id;
	n.epoch = v.epoch;
	n.term = v.term;
	n.is_leader = v.is_leader;
	n.n_members = v.n;
	memcpy(n.members, v.m, v.n * sizeof(n.members[0]));
	n.state = rs.state;
	n.progress = rs.progress;
	snprintf(n.reason, sizeof(n.reason), "%s", rs.reason);
	if (v.self < 0) {
		n.state =
		    v.is_removed ? FDFS_STATE_DELETED : FDFS_STATE_WAIT_SYNC;
		snprintf(n.reason, sizeof(n.reason), "%s",
		    v.is_removed ? "removed from the group" : v.waiting);
	}
	n.can_write =
	    v.self >= 0 && rs.can_write && engine_can_write(s->engine);
	if (v.self >= 0 && !n.can_write && n.reason[0] == '\0')
		snprintf(n.reason, sizeof(n.reason),
		    "takes no writes: no store path has more room than "
		    "reserved_space");
	n.lag_bytes = rs.lag_bytes;
	n.lag_files = rs.lag_files;
	stat_of(s, &rs, &n.stat);
	*ret = n;
	return 0;
}

int
storage_status_of(struct storage *s, struct sop_status *ret, struct err *e)
{
	struct sop_status m = { .n_paths = engine_n_paths(s->engine) };
	struct engine_path_stat st;
	struct fdfs_server_stat ss;
	struct rep_status rs;

	if (m.n_paths > CMAP_PATHS)
		m.n_paths = CMAP_PATHS;
	m.paths = mem_zalloc((m.n_paths + 1) * sizeof(*m.paths));
	if (m.paths == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < m.n_paths; i++) {
		struct sop_path *p = &m.paths[i];

		engine_path_stat(s->engine, i, &st);
		*p = (struct sop_path){ .is_failed = st.is_failed,
			.is_read_only = st.is_read_only,
			.total = st.total,
			.avail = st.avail,
			.reserved = st.reserved,
			.files = st.files,
			.bytes = st.bytes,
			.dead_bytes = st.dead_bytes,
			.volumes = st.volumes,
			.scrub_bytes = st.scrub_bytes,
			.scrub_total = st.scrub_total,
			.scrub_errors = st.scrub_errors,
			.scrub_passes = st.scrub_passes,
			.quarantined = st.quarantined,
			.scrub_last_s = st.scrub_last_s };
		snprintf(p->path, sizeof(p->path), "%.255s", st.path);
	}
	rep_status(s->rep, &rs);
	m.n_peers = rs.n_peers;
	for (size_t i = 0; i < rs.n_peers; i++)
		m.peers[i] = (struct sop_peer){ rs.peers[i].server_id,
			rs.peers[i].is_reachable, rs.peers[i].is_caught_up,
			rs.peers[i].behind_bytes };
	m.pulled_files = rs.pulled_files;
	m.pulled_bytes = rs.pulled_bytes;
	m.repaired = rs.repaired;
	m.compared = rs.compared;
	m.found_missing = rs.found_missing;
	fdfs_server_stat(s->server, &ss);
	m.connections = ss.connections;
	m.max_connections = ss.limit;
	lock_take(&s->stream_lock);
	m.streams = s->n_streams;
	lock_drop(&s->stream_lock);
	*ret = m;
	return 0;
}

/* --- announcing --- */

static int
announce(struct announcer *a, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_ANNOUNCE };
	struct storage *s = a->s;
	struct rpc_reply r;
	struct cmap_node n;
	struct cmap map;
	int rc = storage_node_of(s, &n, e);

	if (rc < 0)
		return rc;
	rc = cmap_node_pack(&n, &args);
	q.epoch = n.epoch;
	cmap_node_fini(&n);
	if (rc < 0) {
		buf_fini(&args);
		return err_set(e, rc, "announcement");
	}
	q.args = buf_str(&args);
	rpc_reply_init(&r);
	rc = rpc_call(rep_threads_client(s->threads), &a->addr, &q,
	    ANNOUNCE_CALL_MS, &r, e);
	if (rc == 0 && r.body.len > 0)
		rc = cmap_unpack(buf_str(&r.body), &map, e);
	if (rc == 0 && r.body.len > 0) {
		members_hear(s->members, &map);
		cmap_fini(&map);
	}
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc;
}

/* Until the next time, or something changed. */
static bool
rest(struct announcer *a)
{
	int64_t until = clock_mono_ns() / 1000000 + ANNOUNCE_EACH_MS;
	struct storage *s = a->s;
	int64_t left = ANNOUNCE_EACH_MS;
	bool stopping;

	lock_take(&s->lock);
	while (!s->stopping && left > 0 && s->changes == a->told) {
		cond_wait_ms(&s->wake, &s->lock, (int)left);
		left = until - clock_mono_ns() / 1000000;
	}
	a->told = s->changes;
	stopping = s->stopping;
	lock_drop(&s->lock);
	return !stopping;
}

static void *
announcer_run(void *arg)
{
	struct announcer *a = arg;
	char what[FDFS_HOST_LEN + 16];

	snprintf(what, sizeof(what), "tracker %s", a->name);
	do {
		struct err e = ERR_INIT;
		int rc = announce(a, &e);

		if (rc < 0 && !a->is_silent && rc != ERR_CLOSED)
			storage_say(a->s, LOG_WARN, what, &e);
		a->is_silent = rc < 0;
	} while (rest(a));
	return NULL;
}

int
announce_start(struct storage *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n_announcers; i++) {
		struct announcer *a = &s->announcers[i];

		rc = thread_start(&a->thread, "announce", announcer_run, a, e);
		a->is_started = rc == 0;
	}
	return rc;
}

void
announce_join(struct storage *s)
{
	for (size_t i = 0; i < s->n_announcers; i++)
		if (s->announcers[i].is_started)
			thread_join(s->announcers[i].thread);
}
