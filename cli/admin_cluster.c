/* cli/admin_cluster.c - `creel admin cluster ...`: asks trackers and storage
 * nodes, with the cluster secret. */
#include "cli/admin_cluster.h"
#include "cli/admin.h"
#include "cli/cli.h"

#include "lib/clock.h"
#include "lib/conf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ASK_MS 5000
#define TIDY_MS (24 * 3600 * 1000) /* a scrub answers at its end */
#define FORGET_TRIES 50            /* the tracker hears of a removal first */
#define TEXT_MAX (16 << 20)

/* --- the link --- */

void
link_close(struct link *l)
{
	rpc_client_close(&l->client);
	cmap_fini(&l->map);
	if (l->has_conf)
		conf_fini(&l->conf);
	*l = (struct link){ 0 };
}

static int
link_setup(struct link *l, const struct admin_options *o, struct err *e)
{
	const char *argv[] = { "--trackers", o->trackers };
	struct rpc_client_opts c = { .connect_ms = ASK_MS, .io_ms = ASK_MS };
	int rc = conf_load(&l->conf, CONF_TRACKER, o->trackers != NULL ? 2 : 0,
	    argv, e);

	if (rc != 0)
		return rc < 0 ? rc : err_set(e, ERR_CONFIG, "settings");
	l->has_conf = true;
	if (l->conf.trackers.n == 0)
		return err_set(e, ERR_CONFIG,
		    "no trackers: give --trackers or CREEL_TRACKERS");
	c.self = (struct rpc_self){ .kind = RPC_ADMIN,
		.id = id128_new(),
		.secret = str_of(l->conf.cluster_secret) };
	rc = secret_check(c.self.secret, e);
	if (rc == 0)
		rc = secret_cluster_id(c.self.secret, l->conf.cluster_id,
		    &c.self.cluster, e);
	return rc == 0 ? rpc_client_open(&c, &l->client, e) : rc;
}

static int
link_ask_map(struct link *l, const struct fdfs_addr *tracker, struct err *e)
{
	struct rpc_request q = { .op = RPC_MAP };
	struct rpc_reply r;
	int rc;

	rpc_reply_init(&r);
	rc = rpc_call(l->client, tracker, &q, ASK_MS, &r, e);
	if (rc == 0)
		rc = cmap_unpack(buf_str(&r.body), &l->map, e);
	rpc_reply_fini(&r);
	return rc;
}

static int
link_tracker(const struct link *l, size_t i, struct fdfs_addr *ret,
    struct err *e)
{
	const char *text = l->conf.trackers.v[i];

	if (fdfs_addr_parse(str_of(text), ret, e) < 0)
		return err_set(e, ERR_CONFIG, "trackers: %s is not HOST:PORT",
		    text);
	return 0;
}

int
link_open(struct link *l, const struct admin_options *o, struct err *e)
{
	struct fdfs_addr a;
	int rc;

	*l = (struct link){ 0 };
	rc = link_setup(l, o, e);
	for (size_t i = 0; rc == 0 && i < l->conf.trackers.n; i++) {
		rc = link_tracker(l, i, &a, e);
		if (rc < 0)
			break;
		rc = link_ask_map(l, &a, e);
		if (rc == 0)
			return 0;
		fprintf(stderr, "creel: tracker %s: %s\n",
		    l->conf.trackers.v[i], e->msg);
		rc = i + 1 < l->conf.trackers.n
		         ? 0
		         : err_set(e, rc, "no tracker answers");
	}
	link_close(l);
	return rc;
}

int
link_call(struct link *l, const struct cmap_node *n, unsigned op,
    struct str args, int timeout_ms, struct rpc_reply *r, struct err *e)
{
	struct rpc_request q = { .op = op, .args = args };
	int rc = rpc_call(l->client, &n->inner, &q, timeout_ms, r, e);

	if (rc == ERR_DISCONNECTED && n->outer.ip[0] != '\0' &&
	    (r == NULL || !r->was_sent))
		rc = rpc_call(l->client, &n->outer, &q, timeout_ms, r, e);
	return rc;
}

/* --- status --- */

int
admin_cluster_status(struct admin_options *o, int argc, char **argv)
{
	struct buf b = BUF_CAP(TEXT_MAX);
	struct err e = ERR_INIT;
	struct link l;
	int rc;

	(void)argc;
	(void)argv;
	rc = link_open(&l, o, &e);
	if (rc < 0)
		return cli_fail("cluster status", &e);
	rc = o->json ? cmap_json(&l.map, &b, &e) : cmap_table(&l.map, &b, &e);
	if (rc == 0)
		fwrite(b.p, 1, b.len, stdout);
	buf_fini(&b);
	link_close(&l);
	return rc < 0 ? cli_fail("cluster status", &e) : EXIT_OK;
}

/* --- remove --- */

/* The group of @server_id: --group, or the only one that has it. */
static int
find_group(const struct link *l, const struct admin_options *o,
    uint32_t server_id, const char **ret, struct err *e)
{
	const char *group = o->group;

	for (size_t i = 0; i < l->map.n_nodes; i++) {
		const struct cmap_node *n = &l->map.nodes[i];

		if (n->server_id != server_id ||
		    (o->group != NULL && strcmp(o->group, n->group) != 0))
			continue;
		if (group != NULL && strcmp(group, n->group) != 0)
			return err_set(e, ERR_CONFIG,
			    "server %" PRIu32
			    " is in %s and in %s: give --group",
			    server_id, group, n->group);
		group = n->group;
	}
	if (group == NULL)
		return err_set(e, ERR_NOT_FOUND, "no server %" PRIu32,
		    server_id);
	*ret = group;
	return 0;
}

/* Any other member can begin it. */
static int
remove_at_member(struct link *l, const char *group, uint32_t server_id,
    bool force, struct err *e)
{
	struct buf args = BUF_CAP(64);
	int rc = pack_u32(&args, server_id);
	int last =
	    err_set(e, ERR_BUSY, "no other member of %s is there", group);

	if (rc == 0)
		rc = pack_u8(&args, force);
	for (size_t i = 0; rc == 0 && i < l->map.n_nodes; i++) {
		const struct cmap_node *n = &l->map.nodes[i];

		if (strcmp(n->group, group) != 0 || n->is_away ||
		    n->server_id == server_id || n->n_members == 0)
			continue;
		last =
		    link_call(l, n, RPC_REMOVE, buf_str(&args), 30000, NULL, e);
		/* What is in the way is in the way of all of them. */
		if (last == 0 || last == ERR_NOT_FOUND || last == ERR_BUSY)
			break;
	}
	buf_fini(&args);
	/* Not a member (any more): what the trackers know goes all the same. */
	return rc < 0 ? rc : last == ERR_NOT_FOUND ? 0 : last;
}

static int
forget_at(struct link *l, const struct fdfs_addr *tracker, const char *group,
    uint32_t server_id, struct err *e)
{
	struct rpc_request q = { .op = RPC_FORGET };
	struct buf args = BUF_CAP(64);
	int rc = pack_str(&args, str_of(group));

	if (rc == 0)
		rc = pack_u32(&args, server_id);
	q.args = buf_str(&args);
	if (rc == 0)
		rc = ERR_BUSY;
	for (int i = 0; rc == ERR_BUSY && i < FORGET_TRIES; i++) {
		if (i > 0)
			clock_sleep_ms(100);
		rc = rpc_call(l->client, tracker, &q, ASK_MS, NULL, e);
	}
	buf_fini(&args);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int
forget(struct link *l, const char *group, uint32_t server_id)
{
	int status = EXIT_OK;

	for (size_t i = 0; i < l->conf.trackers.n; i++) {
		struct err e = ERR_INIT;
		struct fdfs_addr a;
		int rc = link_tracker(l, i, &a, &e);

		if (rc == 0)
			rc = forget_at(l, &a, group, server_id, &e);
		if (rc < 0) {
			fprintf(stderr, "creel: tracker %s: %s\n",
			    l->conf.trackers.v[i], e.msg);
			status = EXIT_FAILED;
		}
	}
	return status;
}

int
admin_cluster_remove(struct admin_options *o, int argc, char **argv)
{
	struct err e = ERR_INIT;
	const char *group = NULL;
	uint64_t id;
	struct link l;
	int rc;

	(void)argc;
	if (!str_to_u64(str_of(argv[0]), 0xFFFFFF, &id) || id == 0)
		return cli_usage("admin", "`%s` is no server ID", argv[0]);
	rc = link_open(&l, o, &e);
	if (rc < 0)
		return cli_fail("cluster remove", &e);
	rc = find_group(&l, o, (uint32_t)id, &group, &e);
	if (rc == 0)
		rc = remove_at_member(&l, group, (uint32_t)id, o->force, &e);
	if (rc == 0) {
		printf("server %ju is no member of %s any more\n",
		    (uintmax_t)id, group);
		rc = forget(&l, group, (uint32_t)id);
	} else {
		rc = cli_fail("cluster remove", &e);
	}
	link_close(&l);
	return rc;
}

int
admin_cluster_forget(struct admin_options *o, int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct link l;
	int rc;

	(void)argc;
	rc = link_open(&l, o, &e);
	if (rc < 0)
		return cli_fail("cluster forget", &e);
	rc = forget(&l, argv[0], 0);
	link_close(&l);
	return rc;
}

/* --- scrub and compact --- */

static int
tidy_one(struct link *l, const struct cmap_node *n, enum sop_tidy what)
{
	struct buf args = BUF_CAP(64);
	struct err e = ERR_INIT;
	struct sop_found found;
	struct rpc_reply r;
	int rc = sop_tidy_pack(what, &args);

	rpc_reply_init(&r);
	if (rc == 0)
		rc = link_call(l, n, RPC_TIDY, buf_str(&args), TIDY_MS, &r, &e);
	if (rc == 0)
		rc = sop_found_unpack(buf_str(&r.args), &found, &e);
	if (rc < 0)
		fprintf(stderr, "creel: %s server %" PRIu32 ": %s\n", n->group,
		    n->server_id, e.msg);
	else if (what == SOP_SCRUB)
		printf("%s server %" PRIu32 ": %ju damaged\n", n->group,
		    n->server_id, (uintmax_t)found.bad);
	else
		printf("%s server %" PRIu32 ": done\n", n->group, n->server_id);
	fflush(stdout);
	rpc_reply_fini(&r);
	buf_fini(&args);
	return rc < 0 || (what == SOP_SCRUB && found.bad > 0) ? EXIT_FAILED
	                                                      : EXIT_OK;
}

static int
tidy(struct admin_options *o, enum sop_tidy what)
{
	struct err e = ERR_INIT;
	int rc, status = EXIT_OK;
	bool any = false;
	struct link l;

	rc = link_open(&l, o, &e);
	if (rc < 0)
		return cli_fail("cluster", &e);
	for (size_t i = 0; i < l.map.n_nodes; i++) {
		const struct cmap_node *n = &l.map.nodes[i];

		if (o->group != NULL && strcmp(o->group, n->group) != 0)
			continue;
		any = true;
		if (tidy_one(&l, n, what) != EXIT_OK)
			status = EXIT_FAILED;
	}
	link_close(&l);
	if (!any) {
		err_set(&e, ERR_NOT_FOUND, "no storage nodes");
		return cli_fail("cluster", &e);
	}
	return status;
}

int
admin_cluster_scrub(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return tidy(o, SOP_SCRUB);
}

int
admin_cluster_compact(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return tidy(o, SOP_COMPACT);
}
