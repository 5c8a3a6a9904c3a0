/* cli/node.c - see cli/node.h. Settings become the layers' own structures here
 * and nowhere else. */
#include "cli/node.h"
#include "cli/daemon.h"

#include "lib/fs.h"
#include "lib/log.h"

#include <stdio.h>
#include <unistd.h>

#define NODE_GROUP "group1"
#define NODE_SERVER_ID 1 /* one node; the cluster gives each its own */
#define DAY_S (24 * 3600)

const char *
node_home(const struct conf *c)
{
	return c->index[0] != '\0' ? c->index : c->args.v[0];
}

static int
check_dir(const char *dir, struct err *e)
{
	char minio[NODE_PATH_MAX];
	int rc;

	if (fs_exists(dir) && !fs_is_dir(dir))
		return err_set(e, ERR_CONFIG, "%s is not a directory", dir);
	rc = fs_mkdir_p(dir, e);
	if (rc < 0)
		return err_set(e, ERR_CONFIG,
		    "%s cannot be created by user id %ju: %m", dir,
		    (uintmax_t)geteuid());
	if (access(dir, R_OK | W_OK | X_OK) != 0)
		return err_set(e, ERR_CONFIG,
		    "user id %ju may not write to %s (chown it, or run as its "
		    "owner)",
		    (uintmax_t)geteuid(), dir);
	rc = fs_join(minio, sizeof(minio), dir, ".minio.sys", e);
	if (rc == 0 && fs_exists(minio))
		rc = err_set(e, ERR_CONFIG,
		    "%s holds MinIO's data, which cannot be taken over: give "
		    "an empty directory and copy it with a client",
		    dir);
	return rc;
}

static int
refuse_gateway(const char *dir, struct err *e)
{
	char path[NODE_PATH_MAX];
	int rc = fs_join(path, sizeof(path), dir, NODE_GATEWAY_FILE, e);

	if (rc == 0 && fs_exists(path))
		rc = err_set(e, ERR_CONFIG,
		    "%s is the directory of a gateway (%s)", dir, path);
	return rc;
}

int
node_check_dirs(const struct conf *c, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < c->args.n; i++) {
		rc = check_dir(c->args.v[i], e);
		if (rc == 0)
			rc = refuse_gateway(c->args.v[i], e);
	}
	if (rc == 0)
		rc = check_dir(node_home(c), e);
	return rc == 0 ? refuse_gateway(node_home(c), e) : rc;
}

static int
index_of(const char *dir, char path[NODE_PATH_MAX], bool *ret_is_there,
    struct err *e)
{
	int rc = fs_join(path, NODE_PATH_MAX, dir, "index/index.lmdb", e);

	*ret_is_there = rc == 0 && fs_exists(path);
	return rc;
}

int
node_check_index(const struct conf *c, struct err *e)
{
	char path[NODE_PATH_MAX];
	bool is_there = false;
	size_t i;
	int rc = index_of(node_home(c), path, &is_there, e);

	for (i = 0; rc == 0 && !is_there && i < c->args.n; i++) {
		rc = index_of(c->args.v[i], path, &is_there, e);
		if (rc == 0 && is_there)
			rc = err_set(e, ERR_CONFIG,
			    "the index is in %s/index: name %s first, or give "
			    "--index %s",
			    c->args.v[i], c->args.v[i], c->args.v[i]);
	}
	return rc;
}

int
node_check_home(const struct conf *c, struct err *e)
{
	return check_dir(node_home(c), e);
}

void
node_engine_conf(const struct conf *c, struct engine_conf *ret)
{
	*ret = (struct engine_conf){
		.paths = c->args.v,
		.n_paths = c->args.n,
		.group = NODE_GROUP,
		.server_id = NODE_SERVER_ID,
		.small_limit = c->small_file_limit,
		.volume_size = c->volume_size,
		.reserved = c->reserved_space,
		.scrub_rate = c->scrub_rate,
		.scrub_interval_s = c->scrub_interval / 1000,
		.write_queue_max = c->write_queue_max,
		.compact_percent = (unsigned)c->compact_percent,
		.compact_interval_s = (c->compact_interval + 999) / 1000,
		.replace_blank = c->replace_blank,
		.event = daemon_event,
	};
}

int
node_kv_conf(const struct conf *c, struct blob *archive,
    char dir[NODE_PATH_MAX], struct kv_conf *ret, struct err *e)
{
	int rc = fs_join(dir, NODE_PATH_MAX, node_home(c), "index", e);

	if (rc < 0)
		return rc;
	*ret = (struct kv_conf){
		.dir = dir,
		.map_size = c->index_map_size,
		.table_max = c->index_table_max,
		.log_segment = c->index_log_segment,
		.archive_interval_s = (c->index_archive_interval + 999) / 1000,
		.snapshot_every = c->index_snapshot_every,
		.archive = archive,
		.event = daemon_event,
	};
	return 0;
}

void
node_store_conf(const struct conf *c, struct store_conf *ret)
{
	*ret = (struct store_conf){
		.extent_size = c->extent_size,
		.upload_expiry_s = c->upload_expiry / 1000,
		.trash_s = c->trash_days * DAY_S,
		.sweep_interval_s = (c->sweep_interval + 999) / 1000,
		.background = true,
		.region = c->region,
		.event = daemon_event,
	};
}

void
node_tune(struct node *n, const struct conf *c)
{
	struct store_conf sc;
	struct engine_conf ec;

	node_engine_conf(c, &ec);
	engine_tune(n->engine, &ec);
	node_store_conf(c, &sc);
	store_tune(n->store, &sc);
}

int
node_open(const struct conf *c, struct node *ret, struct err *e)
{
	struct store_conf sc;
	struct engine *engine = NULL;
	char dir[NODE_PATH_MAX];
	struct blob *blob = NULL;
	struct engine_conf ec;
	struct kv *kv = NULL;
	struct kv_conf kc;
	int rc;

	node_engine_conf(c, &ec);
	ec.index_home = node_home(c);
	rc = engine_open(&ec, &engine, e);
	if (rc < 0)
		return rc;
	rc = blob_local_new(engine, &blob, e);
	if (rc < 0) {
		engine_close(&engine);
		return rc;
	}
	rc = node_kv_conf(c, blob, dir, &kc, e);
	if (rc == 0) {
		kc.is_expected = engine_has_files(engine);
		rc = kv_open(&kc, &kv, e);
	}
	if (rc < 0)
		goto out_blob;
	node_store_conf(c, &sc);
	sc.kv = kv;
	sc.blob = blob;
	rc = store_open(&sc, &ret->store, e);
	if (rc == 0) {
		ret->engine = engine;
		return 0;
	}
	kv_close(&kv);
out_blob:
	blob_close(&blob);
	return rc;
}
