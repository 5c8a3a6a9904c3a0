/* cli/admin_node.c - `creel admin health --node HOST:PORT`: whether a tracker
 * or a storage node answers. FastDFS's ACTIVE_TEST, which anybody may send. */
#include "cli/admin.h"

#include "cli/cli.h"
#include "fdfs/ops.h"

int
admin_health_node(const char *address)
{
	static const struct fdfs_client_opts opts = {
		.connect_ms = 2000,
		.io_ms = 2000,
	};
	struct err e = ERR_INIT;
	struct fdfs_client *c = NULL;
	struct fdfs_addr to;
	int rc;

	rc = fdfs_addr_parse(str_of(address), &to, &e);
	if (rc < 0)
		return cli_usage("admin", "--node: %s", e.msg);
	rc = fdfs_client_open(&opts, &c, &e);
	if (rc == 0)
		rc = fdfs_active_test(c, &to, &e);
	fdfs_client_close(&c);
	return rc < 0 ? cli_fail("health", &e) : EXIT_OK;
}
