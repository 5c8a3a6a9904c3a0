/* cli/admin_cluster.h - how `creel admin cluster` reaches a cluster: settings
 * from flags and environment, the map of the first tracker that answers. */
#ifndef CLI_ADMIN_CLUSTER_H
#define CLI_ADMIN_CLUSTER_H

#include "cli/admin.h"
#include "cluster/rpc.h"
#include "cluster/secret.h"
#include "cluster/store_ops.h"
#include "lib/conf.h"

struct link {
	bool has_conf;
	struct conf conf;
	struct rpc_client *client;
	struct cmap map;
};
/* Says on stderr which trackers do not answer; fails when none does. */
int link_open(struct link *l, const struct admin_options *o, struct err *e);
void link_close(struct link *l);
/* At its inner address, or else its outer one. */
int link_call(struct link *l, const struct cmap_node *n, unsigned op,
    struct str args, int timeout_ms, struct rpc_reply *r, struct err *e);

#endif
