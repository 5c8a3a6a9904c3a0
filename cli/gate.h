/* cli/gate.h - what `creel gateway` and the tools that stand in for it need of
 * its settings: the cluster behind it as blobs, and who owns the index. */
#ifndef CLI_GATE_H
#define CLI_GATE_H

#include "gateway/blob/cluster.h"
#include "gateway/index/kv.h"
#include "lib/conf.h"
#include "lib/fs.h"

struct gate {
	const struct conf *conf; /* outlives it */
	bool is_fastdfs;
	struct blob *blob, *archive; /* archive: NULL where blob is it */
	struct blob *cluster; /* @blob, while the index is open; never closed */
	struct fdfs_addr trackers[FDFS_MAX_TRACKERS];
	size_t n_trackers;
	char spool[4096], archive_dir[4096];
	/* DIR is another one's copy: another gateway may live on its original. */
	bool is_copied;
	char birthmark[FS_BIRTHMARK];
};

/* Opens the blobs; ERR_CONFIG in one line. Nobody was asked anything yet. */
int gate_open(const struct conf *c, struct gate *ret, struct err *e);
/* What of it is still there (the store closes its blobs itself: then NULL). */
void gate_close(struct gate *g);
/* Can it work now? Else why not. */
bool gate_is_usable(struct gate *g, char why[CMAP_REASON]);
/* Settings of the index: the archive in the cluster, its owner, whether there
 * must be one (@dir as node_kv_conf()). */
int gate_kv_conf(struct gate *g, char dir[4096], struct kv_conf *ret,
    struct err *e);

#endif
