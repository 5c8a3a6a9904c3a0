/* gateway/index/kv_build.c - making an index directory
 * (gateway/index/kv_build.h). */
#include "gateway/index/kv_build.h"

#include "gateway/index/ilog.h"
#include "gateway/index/ops.h"
#include "gateway/index/tree.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <stdio.h>

#define COMMIT_OPS 16384
#define COMMIT_BYTES (16u << 20)

struct kv_build {
	char dir[3800];
	char log_dir[4000];
	char tree_path[4000];
	char lock_path[4000]; /* LMDB's */
	char marker[4000];
	uint64_t map_size;
	struct tree *tree;
	struct tree_writer *writer;
	size_t n, bytes; /* in the writer */
	bool is_done;
};

static int
has_log(void *arg, const char *name)
{
	(void)arg;
	return str_has_suffix(str_of(name), STR_LIT(".log")) ? 1 : 0;
}

static int
check_empty(struct kv_build *b, struct err *e)
{
	int rc = 0;

	if (fs_exists(b->log_dir))
		rc = fs_each(b->log_dir, has_log, NULL, e);
	if (rc < 0)
		return rc;
	if (rc > 0 || fs_exists(b->tree_path))
		return err_set(e, ERR_EXISTS,
		    "%.150s holds an index: move it "
		    "away first",
		    b->dir);
	return 0;
}

static int
remove_all(struct kv_build *b, struct err *e)
{
	int rc = fs_unlink(b->tree_path, e), rc2;

	if (rc == ERR_NOT_FOUND)
		rc = 0;
	rc2 = fs_unlink(b->lock_path, e);
	if (rc == 0 && rc2 != ERR_NOT_FOUND)
		rc = rc2;
	rc2 = fs_remove_tree(b->log_dir, e);
	return rc < 0 ? rc : rc2;
}

static int
open_tree(struct kv_build *b, struct err *e)
{
	struct tree_meta none = { 0 };

	return tree_open(b->tree_path, b->map_size, true, &none, &b->tree, e);
}

int
kv_build_begin(const char *dir, uint64_t map_size, struct kv_build **ret,
    struct err *e)
{
	struct kv_build *b = mem_zalloc(sizeof(*b));
	int rc;

	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	b->map_size = map_size;
	b->is_done = true; /* nothing to remove yet */
	if ((size_t)snprintf(b->dir, sizeof(b->dir), "%s", dir) >=
	    sizeof(b->dir)) {
		rc = err_set(e, ERR_TOO_BIG, "path too long: %.200s", dir);
		goto out_close;
	}
	if ((rc = fs_mkdir_p(dir, e)) < 0 ||
	    (rc = fs_join(b->log_dir, sizeof(b->log_dir), dir, "log", e)) < 0 ||
	    (rc = fs_join(b->tree_path, sizeof(b->tree_path), dir, "index.lmdb",
		 e)) < 0 ||
	    (rc = fs_join(b->lock_path, sizeof(b->lock_path), dir,
		 "index.lmdb-lock", e)) < 0 ||
	    (rc = fs_join(b->marker, sizeof(b->marker), dir, KV_BUILDING, e)) <
		0)
		goto out_close;
	if (!fs_exists(b->marker)) {
		rc = check_empty(b, e);
		if (rc == 0)
			rc = fs_write_file(b->marker, STR_LIT("see docs\n"),
			    0600, e);
		if (rc < 0)
			goto out_close;
	}
	b->is_done = false;
	rc = remove_all(b, e);
	if (rc == 0)
		rc = open_tree(b, e);
	if (rc < 0)
		goto out_close;
	*ret = b;
	return 0;
out_close:
	kv_build_close(&b);
	return rc;
}

void
kv_build_close(struct kv_build **bp)
{
	struct kv_build *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	tree_write_abort(&b->writer);
	tree_close(&b->tree);
	if (!b->is_done && remove_all(b, NULL) == 0)
		fs_unlink(b->marker, NULL);
	mem_free(&b);
}

int
kv_build_reset(struct kv_build *b, struct err *e)
{
	int rc;

	tree_write_abort(&b->writer);
	tree_close(&b->tree);
	b->n = b->bytes = 0;
	rc = remove_all(b, e);
	return rc < 0 ? rc : open_tree(b, e);
}

static int
commit(struct kv_build *b, const struct tree_meta *meta, struct err *e)
{
	b->n = b->bytes = 0;
	return tree_write_commit(&b->writer, meta, e);
}

/* One put or delete. A full map drops what is not committed yet, so that it
 * cannot be gone on with: the map is big enough from the start. */
static int
write_one(struct kv_build *b, struct str key, struct str raw, bool append,
    struct err *e)
{
	int rc = 0;

	if (b->writer == NULL)
		rc = tree_write_begin(b->tree, &b->writer, e);
	if (rc == 0)
		rc = raw.p == NULL
		         ? tree_write_del(b->writer, key, e)
		         : tree_write_put(b->writer, key, raw, append, e);
	if (rc == 0) {
		b->n++;
		b->bytes += key.len + raw.len;
		if (b->n >= COMMIT_OPS || b->bytes >= COMMIT_BYTES)
			rc = commit(b, NULL, e);
	}
	if (rc == TREE_MAP_FULL)
		rc = err_set(e, ERR_NO_SPACE,
		    "the index's map is full: give it a larger map size");
	return rc;
}

int
kv_build_add(struct kv_build *b, struct str key, struct str raw, struct err *e)
{
	struct str value;
	int rc = ops_unwrap(key, raw, &value, e);

	return rc < 0 ? rc : write_one(b, key, raw, true, e);
}

int
kv_build_apply(struct kv_build *b, uint64_t first_seq, struct str payload,
    uint64_t after, uint64_t limit, struct err *e)
{
	struct ops_walk w = { .in = payload };
	uint64_t seq = first_seq;
	struct op op;
	int rc;

	for (; (rc = ops_next_tx(&w, e)) > 0; seq++) {
		if (seq <= after || seq > limit)
			continue;
		while ((rc = ops_next(&w, &op, e)) > 0) {
			rc = write_one(b, op.key, op.raw, false, e);
			if (rc < 0)
				return rc;
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}

int
kv_build_finish(struct kv_build *b, const struct id128 *index_id,
    uint64_t epoch, uint64_t seq, int64_t created_ns, uint64_t log_segment,
    struct err *e)
{
	struct ilog_conf lc = {
		.dir = b->log_dir,
		.index_id = *index_id,
		.segment = log_segment,
		.epoch = epoch,
		.is_new = true,
		.flushed_seq = seq,
	};
	struct tree_meta meta = {
		.index_id = *index_id,
		.flushed_seq = seq,
		.created_ns = created_ns,
		.is_fresh = true,
	};
	struct ilog *log;
	int rc;

	rc = ilog_open(&lc, NULL, NULL, &log, e);
	if (rc < 0)
		return rc;
	meta.epoch = ilog_epoch(log);
	ilog_close(&log);
	if (b->writer == NULL)
		rc = tree_write_begin(b->tree, &b->writer, e);
	if (rc == 0)
		rc = commit(b, &meta, e);
	if (rc != 0)
		return rc > 0 ? err_set(e, ERR_NO_SPACE, "index map full") : rc;
	tree_close(&b->tree);
	rc = fs_sync_dir(b->dir, e);
	if (rc == 0)
		rc = fs_unlink(b->marker, e); /* from here on it is one */
	if (rc == 0)
		rc = fs_sync_dir(b->dir, e);
	if (rc == 0)
		b->is_done = true;
	return rc;
}
