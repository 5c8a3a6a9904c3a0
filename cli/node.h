/* cli/node.h - one node put together: engine -> blob -> kv -> store. */
#ifndef CLI_NODE_H
#define CLI_NODE_H

#include "gateway/object/object.h"
#include "lib/conf.h"
#include "storage/engine/engine.h"

#define NODE_PATH_MAX 4096
#define NODE_PLACE_FILE "gateway.place" /* beside it: is this a copy? */
#define NODE_GATEWAY_FILE "gateway.id"  /* in a gateway's directory */

/* Directory of index, credentials and token: --index, else the first DIR. */
const char *node_home(const struct conf *c);

/* Makes missing directories; ERR_CONFIG in one line, with uid and path, for one
 * that this user cannot use. */
int node_check_dirs(const struct conf *c, struct err *e);
/* ERR_CONFIG when another DIR than node_home() holds the index: directories in
 * another order must not look like a node whose index is lost. */
int node_check_index(const struct conf *c, struct err *e);
/* node_check_dirs() for a gateway's only one. */
int node_check_home(const struct conf *c, struct err *e);

void node_engine_conf(const struct conf *c, struct engine_conf *ret);
/* @dir: room for the path of the index. */
int node_kv_conf(const struct conf *c, struct blob *archive,
    char dir[NODE_PATH_MAX], struct kv_conf *ret, struct err *e);
void node_store_conf(const struct conf *c, struct store_conf *ret);

struct node {
	struct store *store;   /* store_close() closes all of it */
	struct engine *engine; /* for node_tune() */
};

int node_open(const struct conf *c, struct node *ret, struct err *e);
/* What SIGHUP may change while it runs. */
void node_tune(struct node *n, const struct conf *c);

#endif
