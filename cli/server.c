/* cli/server.c - `creel server DIR...`: all of one node in one process. */
#include "cli/cli.h"
#include "cli/node.h"
#include "cli/serve.h"

static struct node node;

static int
server_check(const struct conf *c, struct err *e)
{
	int rc = node_check_dirs(c, e);

	return rc == 0 ? node_check_index(c, e) : rc;
}

static int
server_open(const struct conf *c, struct serve *s, struct store **ret,
    struct err *e)
{
	int rc = node_open(c, &node, e);

	(void)s;
	if (rc == 0)
		*ret = node.store;
	return rc;
}

static void
server_tune(const struct conf *c)
{
	node_tune(&node, c);
}

int
server_main(int argc, char **argv)
{
	static const struct serve_kind kind = {
		.command = "server",
		.usage =
		    "usage: creel server DIR... [OPTION...]\n"
		    "\n"
		    "Serves S3. Each DIR is a store path (one per disk); index "
		    "and credentials\n"
		    "are kept in the first one. SIGHUP reloads certificates "
		    "and settings,\n"
		    "SIGTERM stops when requests under way have ended, a second "
		    "one at once.\n"
		    "\n",
		.daemon = CONF_SERVER,
		.check = server_check,
		.open = server_open,
		.tune = server_tune,
	};

	return serve_main(&kind, argc, argv);
}
