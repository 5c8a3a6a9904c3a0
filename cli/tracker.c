/* cli/tracker.c - `creel tracker [DIR]`: who is there, who has room. */
#include "cli/cli.h"
#include "cli/daemon.h"

#include "lib/log.h"
#include "tracker/tracker.h"

#include <stdio.h>

#define DEFAULT_DIR "tracker"
#define FILES_BESIDE_CONNECTIONS 256

struct state {
	struct conf conf;
	int argc; /* for SIGHUP */
	char **argv;
	struct tracker *tracker;
};

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

static void
reload(void *arg)
{
	struct state *s = arg;
	struct err e = ERR_INIT;
	struct tracker_tune u;
	struct conf c;
	int rc;

	rc = conf_load(&c, CONF_TRACKER, s->argc, (const char *const *)s->argv,
	    &e);
	if (rc != 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
		return;
	}
	tune_of(&c, &u);
	rc = tracker_retune(s->tracker, &u, &e);
	if (rc < 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
	} else {
		log_set_level((enum log_level)c.log_level);
		log_info("SIGHUP: reloaded");
	}
	conf_fini(&c);
}

static int
start(struct state *s, struct err *e)
{
	const struct conf *c = &s->conf;
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
	return tracker_open(&tc, &s->tracker, e);
}

static void
say_ready(struct state *s)
{
	char at[300];
	bool is_wide;

	printf(CREEL_VERSION_TEXT " tracker is ready\n");
	for (size_t i = 0; tracker_listens(s->tracker, i, at, &is_wide); i++)
		printf("  %s %s\n", is_wide ? "wide        " : "address     ",
		    at);
	fflush(stdout);
	if (s->conf.allow_hosts.n == 0)
		log_info("allow_hosts is empty: commands of FastDFS's clients "
			 "are refused");
}

int
tracker_main(int argc, char **argv)
{
	static struct state s;
	struct err e = ERR_INIT;
	sigset_t signals;
	int rc;

	s.argc = argc - 1;
	s.argv = argv + 1;
	rc = daemon_conf(&s.conf, CONF_TRACKER, "tracker", usage, s.argc,
	    s.argv);
	if (rc >= 0)
		return rc;
	if (s.conf.args.n > 1) {
		conf_fini(&s.conf);
		return cli_usage("tracker", "one directory, please");
	}
	daemon_begin(&s.conf, FILES_BESIDE_CONNECTIONS, &signals);
	rc = start(&s, &e);
	if (rc < 0) {
		e.code = rc;
		conf_fini(&s.conf);
		return cli_fail("tracker", &e);
	}
	say_ready(&s);
	daemon_wait(&signals, reload, &s);
	tracker_close(&s.tracker, (int)s.conf.stop_timeout);
	conf_fini(&s.conf);
	log_info("stopped");
	return EXIT_OK;
}
