/* cli/gateway.c - `creel gateway [DIR]`: S3 before a cluster.
 *
 * HTTP comes first and says 503 until the cluster is usable and the index is
 * open. */
#include "cli/cli.h"
#include "cli/gate.h"
#include "cli/node.h"
#include "cli/serve.h"

#include "lib/log.h"

#include <stdio.h>

#define LOOK_MS 200
#define AGAIN_MS 2000
#define ENDING_MS 4000

static struct store *store; /* for SIGHUP */
static struct gate gate;

static bool
is_passing(int rc)
{
	return rc == ERR_BUSY || rc == ERR_RETRY || rc == ERR_DISCONNECTED;
}

static int
wait_for_cluster(struct gate *g, struct serve *s, struct err *e)
{
	char why[CMAP_REASON] = "";

	while (!gate_is_usable(g, why))
		if (!serve_wait(s, why, LOOK_MS))
			return err_set(e, ERR_CLOSED, "stopped");
	return 0;
}

static int
open_index(struct gate *g, struct serve *s, struct kv **ret, struct err *e)
{
	char dir[NODE_PATH_MAX], text[300];
	struct kv_conf kc;
	int rc;

	for (;;) {
		rc = wait_for_cluster(g, s, e);
		if (rc < 0)
			return rc;
		rc = gate_kv_conf(g, dir, &kc, e);
		if (rc == 0)
			rc = kv_open(&kc, ret, e);
		if (!is_passing(rc))
			return rc;
		snprintf(text, sizeof(text), "%.200s", e->msg);
		if (!serve_wait(s, text, AGAIN_MS))
			return err_set(e, ERR_CLOSED, "stopped");
	}
}

static int
gateway_open(const struct conf *c, struct serve *s, struct store **ret,
    struct err *e)
{
	struct store_conf sc;
	struct kv *kv = NULL;
	struct gate *g = &gate;
	int rc = gate_open(c, g, e);

	if (rc < 0)
		return rc;
	if (g->is_fastdfs)
		log_warn("backend = fastdfs: FastDFS acknowledges before its "
			 "disks have it, and keeps neither checksums nor this "
			 "index: acknowledged objects can be lost or damaged "
			 "there, bytes without an owner are not found, and the "
			 "index can be rebuilt from %s only",
		    g->archive_dir);
	rc = open_index(g, s, &kv, e);
	if (rc == 0) {
		node_store_conf(c, &sc);
		if (g->is_fastdfs)
			sc.sweep_interval_s = 0;
		sc.kv = kv;
		sc.blob = g->blob;
		rc = store_open(&sc, ret, e);
	}
	if (rc < 0) {
		kv_close(&kv);
		gate_close(g);
		return rc;
	}
	g->blob = NULL; /* the store's */
	store = *ret;
	return 0;
}

/* The last seconds of the index are archived, if that goes at once: they are in
 * DIR as well. */
static void
gateway_ending(void)
{
	if (!gate.is_fastdfs)
		blob_cluster_hurry(store_blob(store), ENDING_MS);
}

static void
gateway_close(void)
{
	gate_close(&gate);
}

static int
gateway_check(const struct conf *c, struct err *e)
{
	if (c->args.n > 1)
		return err_set(e, ERR_CONFIG,
		    "a gateway has one directory, for index and credentials");
	return node_check_home(c, e);
}

static void
gateway_tune(const struct conf *c)
{
	struct store_conf sc;

	node_store_conf(c, &sc);
	if (c->backend == 1)
		sc.sweep_interval_s = 0;
	store_tune(store, &sc);
}

int
gateway_main(int argc, char **argv)
{
	static const struct serve_kind kind = {
		.command = "gateway",
		.usage =
		    "usage: creel gateway DIR [OPTION...]\n"
		    "\n"
		    "Serves S3 from a cluster: --trackers names it, "
		    "CREEL_CLUSTER_SECRET_FILE proves\n"
		    "that it belongs to it. DIR keeps index and credentials; "
		    "one gateway on an index.\n"
		    "SIGHUP reloads certificates and settings, SIGTERM stops "
		    "when requests under way\n"
		    "have ended, a second one at once.\n"
		    "\n",
		.daemon = CONF_GATEWAY,
		.is_slow = true,
		.check = gateway_check,
		.open = gateway_open,
		.tune = gateway_tune,
		.ending = gateway_ending,
		.close = gateway_close,
	};

	return serve_main(&kind, argc, argv);
}
