/* cli/gate.c - see cli/gate.h. */
#include "cli/gate.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/node.h"

#include "cluster/secret.h"
#include "lib/fs.h"
#include "storage/engine/engine.h"

#include <stdio.h>

static int
read_trackers(struct gate *g, struct err *e)
{
	const struct conf_list *l = &g->conf->trackers;
	int rc = 0;

	if (l->n == 0)
		return err_set(e, ERR_CONFIG,
		    "name the trackers: --trackers HOST:PORT,... or "
		    "CREEL_TRACKERS");
	if (l->n > FDFS_MAX_TRACKERS)
		return err_set(e, ERR_CONFIG, "trackers: at most %d",
		    FDFS_MAX_TRACKERS);
	for (size_t i = 0; rc == 0 && i < l->n; i++)
		if (fdfs_addr_parse(str_of(l->v[i]),
			&g->trackers[g->n_trackers++], NULL) < 0)
			rc = err_set(e, ERR_CONFIG,
			    "trackers: %.100s is not HOST:PORT", l->v[i]);
	return rc;
}

/* What trackers tell of this gateway: where S3 is. */
static void
own_address(const struct conf *c, struct fdfs_addr *ret)
{
	struct str a = c->address.n > 0 ? str_of(c->address.v[0]) : STR_NULL;
	ptrdiff_t colon = str_rchr(a, ':');
	uint64_t port = 0;

	memset(ret, 0, sizeof(*ret));
	if (colon >= 0)
		(void)str_to_u64(str_skip(a, (size_t)colon + 1), 65535, &port);
	/* HOST or HOST:PORT; without one trackers see where it comes from. */
	if (c->inner_address[0] != '\0' &&
	    fdfs_addr_parse(str_of(c->inner_address), ret, NULL) < 0 &&
	    strlen(c->inner_address) <= FDFS_IP_MAX)
		memcpy(ret->ip, c->inner_address, strlen(c->inner_address) + 1);
	ret->port = (uint16_t)port;
}

static int
place_path(const struct gate *g, char dst[NODE_PATH_MAX], struct err *e)
{
	return fs_join(dst, NODE_PATH_MAX, node_home(g->conf), NODE_PLACE_FILE,
	    e);
}

static int
note_place(const struct gate *g, struct err *e)
{
	char path[NODE_PATH_MAX], text[FS_BIRTHMARK + 1];
	int rc = place_path(g, path, e);

	snprintf(text, sizeof(text), "%s\n", g->birthmark);
	return rc < 0 ? rc : fs_write_file(path, str_of(text), 0600, e);
}

/* Is DIR still the one in which a gateway last took the index? @mark: a file in
 * it that is never written again. */
static int
check_place(struct gate *g, const char *mark, struct err *e)
{
	char path[NODE_PATH_MAX];
	struct buf b = BUF_CAP(256);
	int rc = fs_birthmark(mark, g->birthmark, e);

	if (rc == 0)
		rc = place_path(g, path, e);
	if (rc < 0)
		return rc;
	rc = fs_read_file(path, 256, &b, e);
	if (rc == 0 && b.len > 0 && b.p[b.len - 1] == '\n')
		b.len--;
	if (rc == ERR_NOT_FOUND ||
	    (rc == 0 && (b.len == 0 || b.p[0] != g->birthmark[0])))
		rc = note_place(g, e); /* new, or it cannot be told */
	else if (rc == 0)
		g->is_copied = !str_eqz(buf_str(&b), g->birthmark);
	buf_fini(&b);
	return rc;
}

/* DIR belongs to the cluster that it was first used with: an index names files of
 * that one. */
static int
check_mark(struct gate *g, const char *mark, struct err *e)
{
	char path[NODE_PATH_MAX], text[64];
	struct buf b = BUF_CAP(256);
	int rc =
	    fs_join(path, sizeof(path), node_home(g->conf), "creel.json", e);

	if (rc == 0 && fs_exists(path))
		rc = err_set(e, ERR_CONFIG,
		    "%.150s is a store path of `creel server`: give the "
		    "gateway a directory of its own",
		    node_home(g->conf));
	if (rc == 0)
		rc = fs_join(path, sizeof(path), node_home(g->conf),
		    NODE_GATEWAY_FILE, e);
	if (rc == 0)
		rc = fs_mkdir_p(node_home(g->conf), e);
	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), "%s\n", mark);
	rc = fs_read_file(path, 256, &b, e);
	if (rc == ERR_NOT_FOUND)
		rc = fs_write_file(path, str_of(text), 0600, e);
	else if (rc == 0 && !str_eqz(buf_str(&b), text))
		rc = err_set(e, ERR_CONFIG,
		    "%.150s belongs to the gateway of another cluster (%s)",
		    node_home(g->conf), path);
	buf_fini(&b);
	return rc < 0 ? rc : check_place(g, path, e);
}

static int
open_cluster(struct gate *g, struct err *e)
{
	const struct conf *c = g->conf;
	struct blob_cluster_conf bc = { .trackers = g->trackers,
		.n_trackers = g->n_trackers,
		.version = CREEL_VERSION,
		.event = daemon_event };
	struct str secret = str_of(c->cluster_secret);
	char mark[8 + 33];
	int rc;

	if (secret.len == 0)
		return err_set(e, ERR_CONFIG,
		    "the cluster's secret is missing: set CREEL_CLUSTER_SECRET "
		    "or CREEL_CLUSTER_SECRET_FILE (`creel admin secret new "
		    "FILE` makes one)");
	rc = secret_check(secret, e);
	if (rc == 0)
		rc = secret_cluster_id(secret, c->cluster_id, &bc.self.cluster,
		    e);
	if (rc < 0)
		return rc;
	memcpy(mark, "cluster ", 8);
	id128_text(&bc.self.cluster, mark + 8);
	rc = check_mark(g, mark, e);
	if (rc < 0)
		return rc;
	bc.self.kind = RPC_GATE;
	bc.self.id = id128_new();
	bc.self.secret = secret;
	own_address(c, &bc.address);
	rc = blob_cluster_new(&bc, &g->blob, e);
	g->cluster = rc < 0 ? NULL : g->blob;
	return rc;
}

/* FastDFS could not tell its files of the index from others: its archive is kept
 * beside it, on whatever disk is mounted there. */
static int
open_archive(struct gate *g, struct err *e)
{
	struct engine_conf ec;
	struct engine *engine;
	const char *path = g->archive_dir;
	int rc = fs_join(g->archive_dir, sizeof(g->archive_dir),
	    node_home(g->conf), "archive", e);

	if (rc == 0)
		rc = fs_mkdir_p(g->archive_dir, e);
	if (rc < 0)
		return rc;
	ec = (struct engine_conf){ .paths = &path,
		.n_paths = 1,
		.group = "archive",
		.server_id = 1,
		.small_limit = 1u << 20,
		.volume_size = 16u << 20,
		.compact_percent = 50,
		.compact_interval_s = 60,
		.event = daemon_event };
	rc = engine_open(&ec, &engine, e);
	if (rc < 0)
		return rc;
	rc = blob_local_new(engine, &g->archive, e);
	if (rc < 0)
		engine_close(&engine);
	return rc;
}

static int
open_fastdfs(struct gate *g, struct err *e)
{
	struct blob_fastdfs_conf fc = { .trackers = g->trackers,
		.n_trackers = g->n_trackers,
		.spool_dir = g->spool };
	int rc =
	    fs_join(g->spool, sizeof(g->spool), node_home(g->conf), "spool", e);

	if (rc == 0)
		rc = check_mark(g, "fastdfs", e);
	if (rc == 0)
		rc = open_archive(g, e);
	return rc < 0 ? rc : blob_fastdfs_new(&fc, &g->blob, e);
}

void
gate_close(struct gate *g)
{
	blob_close(&g->blob);
	blob_close(&g->archive);
}

int
gate_open(const struct conf *c, struct gate *ret, struct err *e)
{
	int rc;

	*ret = (struct gate){ .conf = c, .is_fastdfs = c->backend == 1 };
	rc = read_trackers(ret, e);
	if (rc == 0)
		rc = ret->is_fastdfs ? open_fastdfs(ret, e)
		                     : open_cluster(ret, e);
	if (rc < 0)
		gate_close(ret);
	return rc;
}

bool
gate_is_usable(struct gate *g, char why[CMAP_REASON])
{
	if (!g->is_fastdfs)
		return blob_cluster_is_usable(g->blob, why);
	if (blob_can_write(g->blob))
		return true;
	snprintf(why, CMAP_REASON,
	    "no tracker of FastDFS names a storage to write to");
	return false;
}

/* --- the index --- */

static int
owner_newest(void *arg, const struct id128 *index_id, uint64_t *ret_epoch,
    struct err *e)
{
	struct gate *g = arg;

	return blob_cluster_newest(g->cluster, index_id, ret_epoch, e);
}

static int
owner_take(void *arg, const struct id128 *index_id, uint64_t epoch,
    struct err *e)
{
	struct gate *g = arg;
	struct err e2 = ERR_INIT;
	int rc;

	if (!g->is_copied)
		return blob_cluster_take(g->cluster, index_id, epoch, e);
	rc = blob_cluster_take_all(g->cluster, index_id, epoch, &e2);
	if (rc < 0)
		return err_set(e, rc,
		    "%.100s is a copy of a gateway's directory, whose "
		    "original may be in use: %s",
		    node_home(g->conf), e2.msg);
	g->is_copied = false;
	return note_place(g, e);
}

static int
owner_take_all(void *arg, const struct id128 *index_id, uint64_t epoch,
    struct err *e)
{
	struct gate *g = arg;

	return blob_cluster_take_all(g->cluster, index_id, epoch, e);
}

static bool
owner_is_lost(void *arg)
{
	const struct gate *g = arg;

	return blob_cluster_is_lost(g->cluster);
}

static const struct kv_owner owner = { owner_newest, owner_take, owner_take_all,
	owner_is_lost };

static int
found_one(void *arg, const struct blob_info *i)
{
	(void)arg;
	(void)i;
	return 1;
}

int
gate_kv_conf(struct gate *g, char dir[4096], struct kv_conf *ret, struct err *e)
{
	char file[4096 + 16], at[FDFS_HOST_LEN + 1];
	struct blob *archive = g->is_fastdfs ? g->archive : g->blob;
	int rc = node_kv_conf(g->conf, archive, dir, ret, e);

	if (rc < 0)
		return rc;
	if (!g->is_fastdfs) {
		ret->owner = &owner;
		ret->owner_arg = g;
	}
	rc = fs_join(file, sizeof(file), dir, "index.lmdb", e);
	if (rc < 0 || fs_exists(file))
		return rc;
	/* Where an index is archived another one is not begun. */
	rc = blob_each(archive, BLOB_CLASS_INDEX, found_one, NULL, e);
	if (rc < 0)
		return rc;
	ret->is_expected = rc > 0;
	if (rc > 0 || g->is_fastdfs)
		return 0;
	/* Nor where one is that is not archived yet. */
	if (blob_cluster_has_other(g->blob, at))
		return err_set(e, ERR_CONFIG,
		    "the gateway at %s serves this cluster, and %.100s holds "
		    "no index: there is one gateway to a cluster",
		    at, dir);
	return 0;
}
