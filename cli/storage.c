/* cli/storage.c - `creel storage DIR...`: a node of a cluster, which holds
 * files. Settings become storage/server's structures here. */
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/node.h"

#include "storage/server/storage.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define FILES_BESIDE_CONNECTIONS 1024
#define TOMBSTONE_KEEP_S (30 * 24 * 3600)

static struct storage *storage;
static atomic_bool is_expired;

static const char usage[] =
    "usage: creel storage DIR... --group NAME --server-id N [OPTION...]\n"
    "\n"
    "Holds files on the disks DIR... as a node of a group. --trackers names the\n"
    "cluster, CREEL_CLUSTER_SECRET_FILE proves that it belongs to it. A blank node\n"
    "joins its group, or founds it, by itself; one that has lost its disks takes\n"
    "its place again under its number. SIGHUP reloads settings, SIGTERM stops.\n"
    "\n";

static void
tune_of(const struct conf *c, struct storage_tune *ret)
{
	*ret = (struct storage_tune){
		.allow = c->allow_hosts.v,
		.n_allow = c->allow_hosts.n,
		.http_check_token = c->http_check_token,
		.http_token_secret = c->http_token_secret,
		.http_token_ttl_s = c->http_token_ttl / 1000,
		.metrics_public = c->metrics_public,
	};
	node_engine_conf(c, &ret->engine);
}

static int
check(const struct conf *c, struct err *e)
{
	if (!fdfs_group_is_valid(str_of(c->group)))
		return err_set(e, ERR_CONFIG,
		    "group: %s is not 1 to 16 letters and digits", c->group);
	if (c->server_id == 0)
		return err_set(e, ERR_CONFIG,
		    "server_id: give this node a number of its own, from 1 on");
	if (c->trackers.n == 0)
		return err_set(e, ERR_CONFIG,
		    "trackers: name the cluster's trackers, HOST:PORT");
	return node_check_dirs(c, e);
}

/* As if it had been told to stop, which it was. */
static void
on_expired(void *arg)
{
	(void)arg;
	atomic_store(&is_expired, true);
	kill(getpid(), SIGTERM);
}

static int
start(const struct conf *c, struct err *e)
{
	struct http_conf http;
	struct storage_conf sc = {
		.address = c->storage_address,
		.inner = c->inner_address,
		.outer = c->outer_address,
		.trackers = c->trackers.v,
		.n_trackers = c->trackers.n,
		.secret = str_of(c->cluster_secret),
		.cluster_id = c->cluster_id,
		.group = c->group,
		.server_id = (uint32_t)c->server_id,
		.min_copies = (unsigned)c->min_copies,
		.max_connections = (unsigned)c->max_connections,
		.degraded_writes = c->degraded_writes == 1, /* allow */
		.wide_answers = c->wide_answers,
		.tombstone_keep_s = TOMBSTONE_KEEP_S,
		.upload_priority = (uint32_t)c->upload_priority,
		.reserved = c->reserved_space,
		.cors = c->cors_allow_origin.v,
		.n_cors = c->cors_allow_origin.n,
		.version = CREEL_VERSION,
		.event = daemon_event,
		.expired = on_expired,
	};
	int rc = check(c, e);

	if (rc < 0)
		return rc;
	tune_of(c, &sc.tune);
	if (c->http_address[0] != '\0') {
		daemon_http_conf(c, &http);
		http.addresses = &c->http_address;
		http.n_addresses = 1;
		sc.http = &http;
	}
	return storage_open(&sc, &storage, e);
}

static int
tune(const struct conf *c, struct err *e)
{
	struct storage_tune u;
	int rc;

	tune_of(c, &u);
	rc = storage_retune(storage, &u, e);
	if (rc == 0)
		storage_reopen_log(storage);
	return rc;
}

static void
say_ready(const struct conf *c)
{
	char at[300], http[300];

	storage_listens(storage, at, http);
	printf(CREEL_VERSION_TEXT " storage is ready\n"
				  "  address      %s\n"
				  "  group        %s, server %jd\n",
	    at, c->group, (intmax_t)c->server_id);
	if (http[0] != '\0')
		printf("  file URLs    %s://%s\n",
		    c->tls_cert[0] != '\0' ? "https" : "http", http);
}

static const char *
wrong(const struct conf *c)
{
	return c->args.n == 0 ? "name a data directory" : NULL;
}

static int
end(int drain_ms)
{
	storage_close(&storage, drain_ms);
	return atomic_load(&is_expired) ? EXIT_FAILED : EXIT_OK;
}

int
storage_main(int argc, char **argv)
{
	static const struct daemon_kind kind = {
		.name = "storage",
		.usage = usage,
		.daemon = CONF_STORAGE,
		.files = FILES_BESIDE_CONNECTIONS,
		.wrong = wrong,
		.open = start,
		.tune = tune,
		.say_ready = say_ready,
		.close = end,
	};

	return daemon_main(&kind, argc, argv);
}
