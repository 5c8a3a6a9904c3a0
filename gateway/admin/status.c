/* gateway/admin/status.c - how the server is: for people and for Prometheus. */
#include "gateway/admin/internal.h"

#include "lib/clock.h"
#include "lib/metrics.h"

bool
admin_is_ready(struct admin *a, struct buf *why)
{
	struct kv_stat s;

	OBJ_CHECK(a, ADMIN_MAGIC);
	if (atomic_load(&a->stopping)) {
		buf_addz(why, "stopping\n");
		return false;
	}
	kv_get_stat(store_kv(a->store), &s);
	if (s.is_lost) {
		buf_addz(why,
		    "another gateway owns the index now; stop this one\n");
		return false;
	}
	if (s.is_failed) {
		buf_addz(why,
		    "the index stopped after an I/O error; restart\n");
		return false;
	}
	if (!blob_can_write(store_blob(a->store))) {
		buf_addz(why,
		    "no storage takes writes: full, failed or away\n");
		return false;
	}
	return true;
}

static json_t *
paths_json(struct admin *a)
{
	struct blob *b = store_blob(a->store);
	json_t *list = json_array();
	struct blob_stat s;
	size_t i;

	for (i = 0; i < blob_n_stats(b); i++) {
		blob_get_stat(b, i, &s);
		json_array_append_new(list,
		    json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			      "s:I, s:I, s:I}",
			"path", s.name, "failed", (int)s.is_failed, "total",
			(json_int_t)s.total, "available", (json_int_t)s.avail,
			"files", (json_int_t)s.files, "bytes",
			(json_int_t)s.bytes, "dead_bytes",
			(json_int_t)s.dead_bytes, "scrub_bytes",
			(json_int_t)s.scrub_bytes, "scrub_total",
			(json_int_t)s.scrub_total, "scrub_errors",
			(json_int_t)s.scrub_errors, "quarantined",
			(json_int_t)s.quarantined, "scrub_last",
			(json_int_t)s.scrub_last_s));
	}
	return list;
}

static json_t *
index_json(struct admin *a)
{
	struct kv_stat s;

	kv_get_stat(store_kv(a->store), &s);
	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "failed", (int)s.is_failed, "fresh",
	    (int)kv_is_fresh(store_kv(a->store)), "records",
	    (json_int_t)s.records, "lmdb_bytes", (json_int_t)s.lmdb_bytes,
	    "log_bytes", (json_int_t)s.log_bytes, "table_bytes",
	    (json_int_t)s.table_bytes, "sequence", (json_int_t)s.seq, "flushed",
	    (json_int_t)s.flushed_seq, "archived", (json_int_t)s.archived_seq,
	    "archived_at", (json_int_t)s.archived_at_s);
}

/* -1 when they cannot be counted. */
static json_int_t
count_buckets(struct admin *a)
{
	struct str after = STR_LIT("");
	json_int_t count = 0;
	char last[64] = "";
	struct bucket *b;
	bool more = true;
	size_t n = 0;

	while (more) {
		struct arena *arena =
		    arena_new(BUCKET_PAGE * 2 * sizeof(struct bucket));
		int rc = arena == NULL
		             ? ERR_NO_MEMORY
		             : bucket_list(a->store, "", STR_LIT(""), after,
				   BUCKET_PAGE, arena, &b, &n, &more, NULL);

		if (rc == 0 && n > 0) {
			memcpy(last, b[n - 1].name, sizeof(last));
			after = str_of(last);
		}
		arena_free(&arena);
		if (rc < 0)
			return -1;
		count += (json_int_t)n;
		more = more && n > 0;
	}
	return count;
}

static json_t *
objects_json(struct admin *a)
{
	struct store_stat s;

	store_get_stat(a->store, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "buckets",
	    count_buckets(a), "garbage_rows", (json_int_t)s.garbage_rows,
	    "garbage_bytes", (json_int_t)s.garbage_bytes, "collected",
	    (json_int_t)s.collected_blobs, "last_collect",
	    (json_int_t)s.last_collect_s, "last_sweep",
	    (json_int_t)s.last_sweep_s);
}

static void
counts_of(struct admin *a, struct http_counts *ret)
{
	struct http_server *server = atomic_load(&a->server);

	*ret = (struct http_counts){ 0 };
	if (server != NULL)
		http_server_counts(server, ret);
}

/* Where the bytes lie, if that is a cluster; NULL: these store paths. */
static json_t *
cluster_json(struct admin *a)
{
	struct buf text = BUF_CAP(16 * 1024 * 1024);
	json_t *j = NULL;

	if (blob_describe(store_blob(a->store), &text, NULL) == 0)
		j = json_loadb(text.p, text.len, 0, NULL);
	buf_fini(&text);
	return j;
}

int
admin_status(struct admin_call *c, json_t **ret, struct err *e)
{
	struct admin *a = c->admin;
	struct buf why = BUF_CAP(1024);
	struct http_counts n;
	bool ready = admin_is_ready(a, &why);
	int64_t up = clock_mono_ns() - a->started_ns;
	json_t *j, *cluster;

	counts_of(a, &n);
	while (why.len > 0 && why.p[why.len - 1] == '\n')
		why.len--;
	j = json_pack("{s:s, s:s%, s:I, s:{s:i, s:i, s:i}, s:o, s:o, s:o}",
	    "version", a->version, "state", ready ? "ready" : why.p,
	    ready ? strlen("ready") : why.len, "uptime_s",
	    (json_int_t)(up / 1000000000), "http", "connections",
	    (int)n.connections, "busy", (int)n.busy, "max_connections",
	    (int)n.max_connections, "objects", objects_json(a), "index",
	    index_json(a), "paths", paths_json(a));
	cluster = cluster_json(a);
	if (j != NULL && cluster != NULL)
		json_object_set_new(j, "cluster", cluster);
	buf_fini(&why);
	return admin_give(j, ret, e);
}

/* --- metrics --- */

enum path_metric {
	PATH_TOTAL,
	PATH_AVAILABLE,
	PATH_FAILED,
	PATH_FILES,
	PATH_BYTES,
	PATH_DEAD,
	PATH_SCRUBBED,
	PATH_SCRUB_ERRORS,
	PATH_QUARANTINED,
	PATH_METRICS
};

static const struct {
	const char *name, *type, *help;
} path_metrics[PATH_METRICS] = {
	[PATH_TOTAL] = { "creel_path_size_bytes", "gauge",
	    "Size of the store path's file system." },
	[PATH_AVAILABLE] = { "creel_path_available_bytes", "gauge",
	    "What is free on it." },
	[PATH_FAILED] = { "creel_path_failed", "gauge",
	    "1 when the store path was taken out after an error." },
	[PATH_FILES] = { "creel_path_files", "gauge", "Live files." },
	[PATH_BYTES] = { "creel_path_live_bytes", "gauge",
	    "Bytes of live files." },
	[PATH_DEAD] = { "creel_path_dead_bytes", "gauge",
	    "Bytes in volumes that wait for compaction." },
	[PATH_SCRUBBED] = { "creel_path_scrubbed_bytes", "gauge",
	    "Bytes that the scrub under way has read." },
	[PATH_SCRUB_ERRORS] = { "creel_path_scrub_errors_total", "counter",
	    "Damaged files found; in each scrub again while they are damaged." },
	[PATH_QUARANTINED] = { "creel_path_quarantined", "gauge",
	    "Stretches and files put aside as damaged." },
};

static uint64_t
path_value(const struct blob_stat *s, enum path_metric m)
{
	switch (m) {
	case PATH_TOTAL:
		return s->total;
	case PATH_AVAILABLE:
		return s->avail;
	case PATH_FAILED:
		return s->is_failed;
	case PATH_FILES:
		return s->files;
	case PATH_BYTES:
		return s->bytes;
	case PATH_DEAD:
		return s->dead_bytes;
	case PATH_SCRUBBED:
		return s->scrub_bytes;
	case PATH_SCRUB_ERRORS:
		return s->scrub_errors;
	case PATH_QUARANTINED:
		return s->quarantined;
	case PATH_METRICS:
		break;
	}
	return 0;
}

static int
path_text(struct admin *a, struct buf *b)
{
	struct blob *blob = store_blob(a->store);
	size_t i, n = blob_n_stats(blob);
	struct blob_stat s;
	int rc = 0, m;

	for (m = 0; rc == 0 && m < PATH_METRICS; m++) {
		rc = metrics_head(b, path_metrics[m].name, path_metrics[m].type,
		    path_metrics[m].help);
		for (i = 0; rc == 0 && i < n; i++) {
			blob_get_stat(blob, i, &s);
			rc = metrics_line(b, path_metrics[m].name, "path",
			    str_of(s.name),
			    path_value(&s, (enum path_metric)m));
		}
	}
	return rc;
}

int
admin_metrics_text(struct admin *a, struct buf *ret, struct err *e)
{
	struct store_stat objects;
	struct http_counts n;
	struct kv_stat index;
	int rc;

	counts_of(a, &n);
	store_get_stat(a->store, &objects);
	kv_get_stat(store_kv(a->store), &index);
	metric_set(METRIC_http_connections, n.connections);
	metric_set(METRIC_http_connections_busy, n.busy);
	metric_set(METRIC_http_connections_max, n.max_connections);
	metric_set(METRIC_garbage_rows, (int64_t)objects.garbage_rows);
	metric_set(METRIC_index_bytes,
	    (int64_t)(index.lmdb_bytes + index.log_bytes));
	rc = metrics_text(ret);
	if (rc == 0)
		rc = path_text(a, ret);
	if (rc < 0)
		return err_set(e, rc, NULL);
	return 0;
}
