/* gateway/admin/jobs.c - long work on demand: it runs on the request's thread,
 * and the answer is its result. */
#include "gateway/admin/internal.h"

#define BAD_SHOWN 1000 /* names of damaged objects in an answer */

static const char *const job_names[JOBS] = {
	[JOB_SCRUB] = "scrub",
	[JOB_COMPACT] = "compact",
	[JOB_COLLECT] = "collect",
	[JOB_SWEEP] = "sweep",
	[JOB_VERIFY] = "verify",
	[JOB_BACKUP] = "backup",
};

/* A2 */
static int
begin(struct admin_call *c, enum admin_job job, struct err *e)
{
	bool idle = false;

	if (!atomic_compare_exchange_strong(&c->admin->running[job], &idle,
		true))
		return err_set(e, ERR_OPERATION_ABORTED,
		    "%s is running already", job_names[job]);
	return 0;
}

static void
end(struct admin_call *c, enum admin_job job)
{
	atomic_store(&c->admin->running[job], false);
}

struct path_sums {
	uint64_t errors, quarantined, bytes, dead;
	size_t failed;
};

static struct path_sums
sum_paths(struct admin_call *c)
{
	struct blob *b = store_blob(c->admin->store);
	struct path_sums sums = { 0 };
	struct blob_stat s;
	size_t i;

	for (i = 0; i < blob_n_stats(b); i++) {
		blob_get_stat(b, i, &s);
		sums.errors += s.scrub_errors;
		sums.quarantined += s.quarantined;
		sums.bytes += s.bytes;
		sums.dead += s.dead_bytes;
		sums.failed += s.is_failed;
	}
	return sums;
}

int
admin_scrub(struct admin_call *c, json_t **ret, struct err *e)
{
	struct path_sums before, after;
	int rc = begin(c, JOB_SCRUB, e);

	if (rc < 0)
		return rc;
	before = sum_paths(c);
	rc = blob_scrub_now(store_blob(c->admin->store), e);
	after = sum_paths(c);
	end(c, JOB_SCRUB);
	if (rc < 0)
		return rc;
	return admin_give(json_pack("{s:I, s:I, s:I}", "bytes",
			      (json_int_t)after.bytes, "errors",
			      (json_int_t)(after.errors - before.errors),
			      "quarantined", (json_int_t)after.quarantined),
	    ret, e);
}

int
admin_compact(struct admin_call *c, json_t **ret, struct err *e)
{
	struct path_sums before, after;
	int rc = begin(c, JOB_COMPACT, e);

	if (rc < 0)
		return rc;
	before = sum_paths(c);
	rc = blob_compact_now(store_blob(c->admin->store), e);
	after = sum_paths(c);
	end(c, JOB_COMPACT);
	if (rc < 0)
		return rc;
	return admin_give(json_pack("{s:I, s:I}", "dead_bytes_before",
			      (json_int_t)before.dead, "dead_bytes",
			      (json_int_t)after.dead),
	    ret, e);
}

int
admin_collect(struct admin_call *c, json_t **ret, struct err *e)
{
	struct store_stat before, after;
	int rc = begin(c, JOB_COLLECT, e);

	if (rc < 0)
		return rc;
	store_get_stat(c->admin->store, &before);
	rc = store_collect(c->admin->store, e);
	store_get_stat(c->admin->store, &after);
	end(c, JOB_COLLECT);
	if (rc < 0)
		return rc;
	return admin_give(json_pack("{s:I, s:I, s:I}", "collected",
			      (json_int_t)(after.collected_blobs -
					   before.collected_blobs),
			      "garbage_rows", (json_int_t)after.garbage_rows,
			      "garbage_bytes", (json_int_t)after.garbage_bytes),
	    ret, e);
}

int
admin_sweep(struct admin_call *c, json_t **ret, struct err *e)
{
	struct sweep_report s = { 0 };
	int rc = begin(c, JOB_SWEEP, e);

	if (rc < 0)
		return rc;
	rc = store_sweep(c->admin->store, admin_flag(c, "confirm"), &s, e);
	end(c, JOB_SWEEP);
	if (rc < 0)
		return rc;
	return admin_give(json_pack("{s:I, s:I, s:I, s:I, s:b}", "seen",
			      (json_int_t)s.seen, "unknown",
			      (json_int_t)s.unknown, "unknown_bytes",
			      (json_int_t)s.unknown_bytes, "trashed",
			      (json_int_t)s.trashed, "needs_confirm",
			      (int)s.needs_confirm),
	    ret, e);
}

struct bad_list {
	json_t *shown;
	json_int_t count;
};

static void
add_bad(void *arg, struct str bucket, struct str key, const struct err *why)
{
	struct bad_list *l = arg;
	json_t *j;

	l->count++;
	if (json_array_size(l->shown) >= BAD_SHOWN)
		return;
	j = json_pack("{s:s%, s:s%, s:s}", "bucket", bucket.p, bucket.len,
	    "key", key.p, key.len, "error",
	    why->msg[0] != '\0' ? why->msg : err_text(why->code));
	if (j == NULL) /* a key that is not UTF-8 */
		j = json_pack("{s:s%, s:s}", "bucket", bucket.p, bucket.len,
		    "error", err_text(why->code));
	json_array_append_new(l->shown, j);
}

int
admin_verify(struct admin_call *c, json_t **ret, struct err *e)
{
	struct bad_list l = { 0 };
	uint64_t objects = 0;
	int rc = begin(c, JOB_VERIFY, e);

	if (rc < 0)
		return rc;
	l.shown = json_array();
	rc = store_verify(c->admin->store, admin_flag(c, "deep"), add_bad, &l,
	    &objects, e);
	end(c, JOB_VERIFY);
	if (rc < 0) {
		json_decref(l.shown);
		return rc;
	}
	return admin_give(json_pack("{s:I, s:I, s:o}", "objects",
			      (json_int_t)objects, "bad", l.count, "list",
			      l.shown),
	    ret, e);
}

int
admin_backup(struct admin_call *c, json_t **ret, struct err *e)
{
	const char *dir = admin_text(c, "dir");
	struct kv_stat s;
	int rc;

	if (dir == NULL || dir[0] != '/')
		return err_set(e, ERR_INVALID,
		    "`dir` has to be an absolute path on the server's machine");
	rc = begin(c, JOB_BACKUP, e);
	if (rc < 0)
		return rc;
	rc = kv_backup(store_kv(c->admin->store), dir, e);
	kv_get_stat(store_kv(c->admin->store), &s);
	end(c, JOB_BACKUP);
	if (rc < 0)
		return rc;
	return admin_give(json_pack("{s:s, s:I}", "dir", dir, "records",
			      (json_int_t)s.records),
	    ret, e);
}
