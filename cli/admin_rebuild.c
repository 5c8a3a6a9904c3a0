/* cli/admin_rebuild.c - `creel admin rebuild`: makes views again from what they
 * are views of, on the data directories of a server that does not run. */
#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/gate.h"
#include "cli/node.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* File index of each store path, from its volumes and files. */
static int
rebuild_files(const struct conf *c, struct err *e)
{
	struct engine_conf ec;

	node_engine_conf(c, &ec);
	return engine_rebuild(&ec, e);
}

static void
say_rebuilt(const char *dir)
{
	printf("the index in %s is made again; `creel admin verify` checks it, "
	       "and the sweep waits for --confirm\n",
	    dir);
}

#define CLUSTER_WAIT_MS 30000
#define OTHER_WAIT_MS 10000 /* one that has ended is still heard of so long */

/* A rebuilt index ends the one that it is made from. */
static int
check_nobody_serves(struct gate *g, struct err *e)
{
	char at[FDFS_HOST_LEN + 1];

	for (int ms = 0; blob_cluster_has_other(g->blob, at); ms += 100) {
		if (ms >= OTHER_WAIT_MS)
			return err_set(e, ERR_BUSY,
			    "the gateway at %s serves this cluster's index; "
			    "stop it, and its last seconds will be there too",
			    at);
		clock_sleep_ms(100);
	}
	return 0;
}

/* The index of a gateway, from its archive in the cluster. */
static int
rebuild_gateway(const struct conf *c, bool force, struct err *e)
{
	char dir[NODE_PATH_MAX], why[CMAP_REASON] = "";
	struct kv_conf kc;
	struct gate g;
	int rc = node_check_home(c, e);

	if (rc == 0)
		rc = gate_open(c, &g, e);
	if (rc < 0)
		return rc;
	if (!g.is_fastdfs && !force)
		blob_cluster_want_whole(g.blob);
	/* FastDFS has no part in it. */
	for (int ms = 0; rc == 0 && !g.is_fastdfs && !gate_is_usable(&g, why);
	     ms += 100) {
		if (ms >= CLUSTER_WAIT_MS)
			rc = err_set(e, ERR_BUSY, "%s", why);
		clock_sleep_ms(100);
	}
	if (rc == 0 && !g.is_fastdfs)
		rc = check_nobody_serves(&g, e);
	if (rc == 0)
		rc = gate_kv_conf(&g, dir, &kc, e);
	if (rc == 0)
		rc = kv_rebuild(&kc, NULL, e);
	if (rc == 0)
		say_rebuilt(dir);
	gate_close(&g);
	return rc;
}

/* The index, from its archive in the store paths. */
static int
rebuild_index(const struct conf *c, struct err *e)
{
	struct engine *engine = NULL;
	char dir[NODE_PATH_MAX];
	struct blob *blob = NULL;
	struct engine_conf ec;
	struct kv_conf kc;
	int rc;

	node_engine_conf(c, &ec);
	ec.scrub_rate = 0;
	rc = engine_open(&ec, &engine, e);
	if (rc < 0)
		return rc;
	rc = blob_local_new(engine, &blob, e);
	if (rc < 0) {
		engine_close(&engine);
		return rc;
	}
	rc = node_kv_conf(c, blob, dir, &kc, e);
	if (rc == 0)
		rc = kv_rebuild(&kc, NULL, e);
	if (rc == 0)
		say_rebuilt(dir);
	blob_close(&blob);
	return rc;
}

/* Opening one that is none would make a new one. */
static int
check_store_paths(const struct conf *c, struct err *e)
{
	char path[NODE_PATH_MAX];
	size_t i;
	int rc;

	for (i = 0; i < c->args.n; i++) {
		rc = fs_join(path, sizeof(path), c->args.v[i], "creel.json", e);
		if (rc < 0)
			return rc;
		if (!fs_exists(path))
			return err_set(e, ERR_CONFIG,
			    "%s is no store path: it holds no creel.json",
			    c->args.v[i]);
	}
	return 0;
}

/* Settings of a gateway: trackers are named, and no store path. */
static bool
is_gateway(const char *const *args, size_t n)
{
	char path[NODE_PATH_MAX];
	struct err e = ERR_INIT;
	struct conf c;
	bool yes;

	if (conf_load(&c, CONF_GATEWAY, (int)n, args, &e) != 0)
		return false;
	yes = c.trackers.n > 0 && (c.args.n > 0 || c.index[0] != '\0');
	if (yes && c.args.n > 0 &&
	    fs_join(path, sizeof(path), c.args.v[0], "creel.json", &e) == 0)
		yes = !fs_exists(path);
	conf_fini(&c);
	return yes;
}

static size_t
add_flag(const char **args, size_t n, const char *flag, const char *value)
{
	if (value != NULL) {
		args[n++] = flag;
		args[n++] = value;
	}
	return n;
}

int
admin_rebuild(struct admin_options *o, int argc, char **argv)
{
	const char *args[1010];
	struct err e = ERR_INIT;
	struct conf c;
	size_t n = 0;
	int i, rc;
	bool gateway, files = strcmp(argv[0], "files") == 0;

	if (!files && strcmp(argv[0], "index") != 0)
		return cli_usage("admin", "rebuild `index` or `files`?");
	for (i = 1; i < argc; i++)
		args[n++] = argv[i];
	n = add_flag(args, n, "--index", o->index_dir);
	n = add_flag(args, n, "--config", o->config);
	n = add_flag(args, n, "--trackers", o->trackers);
	n = add_flag(args, n, "--backend", o->backend);
	gateway = !files && is_gateway(args, n);
	rc = conf_load(&c, gateway ? CONF_GATEWAY : CONF_SERVER, (int)n, args,
	    &e);
	if (rc != 0) {
		e.code = rc;
		return cli_fail("rebuild", &e);
	}
	log_set_level((enum log_level)c.log_level);
	if (!gateway && c.args.n == 0) {
		conf_fini(&c);
		return cli_usage("admin", "rebuild: name the directory");
	}
	rc = gateway ? rebuild_gateway(&c, o->force, &e)
	             : check_store_paths(&c, &e);
	if (rc == 0 && !gateway)
		rc = files ? rebuild_files(&c, &e) : rebuild_index(&c, &e);
	conf_fini(&c);
	if (rc < 0) {
		e.code = rc;
		return cli_fail("rebuild", &e);
	}
	return EXIT_OK;
}
