/* cli/tracker.c - `creel tracker [DIR]`: who is there, who has room. */
#include "cli/cli.h"
#include "cli/daemon.h"

#include "tracker/tracker.h"

#include <stdio.h>

#define DEFAULT_DIR "tracker"
#define FILES_BESIDE_CONNECTIONS 256

static struct tracker *tracker;

static const char usage[] =
    "usage: creel tracker [DIR] [OPTION...]\n"
    "\n"
    "Knows which storage nodes and gateways there are, and tells FastDFS's\n"
    "clients where to go. DIR (default ./tracker) keeps the names of groups and\n"
    "their members. SIGHUP reloads settings, SIGTERM stops.\n"
    "\n";

static const char *
dir_of(const struct conf *c)
{
	if (c->args.n > 0)
		return c->args.v[0];
	return c->tracker_dir[0] != '\0' ? c->tracker_dir : DEFAULT_DIR;
}

static void
tune_of(const struct conf *c, struct tracker_tune *ret)
{
	*ret = (struct tracker_tune){
		.o = { .store_lookup = c->store_lookup,
		    .store_server = c->store_server,
		    .store_path = c->store_path,
		    .download_server = c->download_server,
		    .reserved = c->reserved_storage,
		    .away_ms = c->away_after },
		.allow = c->allow_hosts.v,
		.n_allow = c->allow_hosts.n,
	};
	/* one, servers, addresses */
	ret->o.extras = c->fetch_all == 0   ? FDFS_EXTRAS_NONE
	                : c->fetch_all == 1 ? FDFS_EXTRAS_ADDR
	                                    : FDFS_EXTRAS_IP;
	snprintf(ret->o.store_group, sizeof(ret->o.store_group), "%s",
	    c->store_group);
}

static int
start(const struct conf *c, struct err *e)
{
	struct tracker_conf tc = {
		.dir = dir_of(c),
		.addresses = c->tracker_address.v,
		.n_addresses = c->tracker_address.n,
		.wide_addresses = c->tracker_wide_address.v,
		.n_wide_addresses = c->tracker_wide_address.n,
		.trackers = c->trackers.v,
		.n_trackers = c->trackers.n,
		.secret = str_of(c->cluster_secret),
		.cluster_id = c->cluster_id,
		.max_connections = (unsigned)c->max_connections,
		.version = CREEL_VERSION,
		.event = daemon_event,
	};

	tune_of(c, &tc.tune);
	return tracker_open(&tc, &tracker, e);
}

static int
tune(const struct conf *c, struct err *e)
{
	struct tracker_tune u;

	tune_of(c, &u);
	return tracker_retune(tracker, &u, e);
}

static void
say_ready(const struct conf *c)
{
	char at[300];
	bool is_wide;

	(void)c;
	printf(CREEL_VERSION_TEXT " tracker is ready\n");
	for (size_t i = 0; tracker_listens(tracker, i, at, &is_wide); i++)
		printf("  %s %s\n", is_wide ? "wide        " : "address     ",
		    at);
}

static const char *
wrong(const struct conf *c)
{
	return c->args.n > 1 ? "one directory, please" : NULL;
}

static int
end(int drain_ms)
{
	tracker_close(&tracker, drain_ms);
	return EXIT_OK;
}

int
tracker_main(int argc, char **argv)
{
	static const struct daemon_kind kind = {
		.name = "tracker",
		.usage = usage,
		.daemon = CONF_TRACKER,
		.files = FILES_BESIDE_CONNECTIONS,
		.wrong = wrong,
		.open = start,
		.tune = tune,
		.say_ready = say_ready,
		.close = end,
	};

	return daemon_main(&kind, argc, argv);
}
