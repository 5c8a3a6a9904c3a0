/* cli/admin_rebuild.c - `creel admin rebuild`: makes views again from what they
 * are views of, on the data directories of a server that does not run. */
#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/node.h"

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
		printf("the index in %s is made again; `creel admin verify` "
		       "checks it, and the sweep waits for --confirm\n",
		    dir);
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

int
admin_rebuild(struct admin_options *o, int argc, char **argv)
{
	const char *args[1002];
	struct err e = ERR_INIT;
	struct conf c;
	size_t n = 0;
	int i, rc;
	bool files = strcmp(argv[0], "files") == 0;

	if (!files && strcmp(argv[0], "index") != 0)
		return cli_usage("admin", "rebuild `index` or `files`?");
	for (i = 1; i < argc; i++)
		args[n++] = argv[i];
	if (o->index_dir != NULL) {
		args[n++] = "--index";
		args[n++] = o->index_dir;
	}
	rc = conf_load(&c, CONF_SERVER, (int)n, args, &e);
	if (rc != 0) {
		e.code = rc;
		return cli_fail("rebuild", &e);
	}
	log_set_level((enum log_level)c.log_level);
	rc = check_store_paths(&c, &e);
	if (rc == 0)
		rc = files ? rebuild_files(&c, &e) : rebuild_index(&c, &e);
	conf_fini(&c);
	if (rc < 0) {
		e.code = rc;
		return cli_fail("rebuild", &e);
	}
	return EXIT_OK;
}
