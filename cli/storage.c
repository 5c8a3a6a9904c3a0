/* cli/storage.c - `creel storage DIR...`: a node of a cluster, which holds
 * files. Settings become storage/server's structures here. */
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/node.h"

#include "lib/log.h"
#include "storage/server/storage.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define FILES_BESIDE_CONNECTIONS 1024
#define TOMBSTONE_KEEP_S (30 * 24 * 3600)

struct state {
	struct conf conf;
	int argc; /* for SIGHUP */
	char **argv;
	struct storage *storage;
	atomic_bool is_expired;
};

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
	ret->engine.replace_blank = c->replace_blank;
}

static void
http_of(const struct conf *c, struct http_conf *ret)
{
	*ret = (struct http_conf){
		.addresses = &c->http_address,
		.n_addresses = 1,
		.tls_cert = c->tls_cert[0] != '\0' ? c->tls_cert : NULL,
		.tls_key = c->tls_key[0] != '\0' ? c->tls_key : NULL,
		.max_connections = (unsigned)c->max_connections,
		.max_connections_per_address =
		    (unsigned)c->max_connections_per_address,
		.header_timeout_ms = (int)c->header_timeout,
		.keepalive_timeout_ms = (int)c->keepalive_timeout,
		.body_idle_timeout_ms = (int)c->body_idle_timeout,
		.min_body_rate = c->min_body_rate,
		.stop_timeout_ms = (int)c->stop_timeout,
		.max_header_bytes = c->max_header_size,
		.request_memory = c->request_memory,
		.trusted_proxies = c->trusted_proxies.v,
		.n_trusted_proxies = c->trusted_proxies.n,
		.access_log = c->access_log,
	};
	if (strcmp(c->access_log, "off") == 0 || c->access_log[0] == '\0')
		ret->access_log = NULL;
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
	struct state *s = arg;

	atomic_store(&s->is_expired, true);
	kill(getpid(), SIGTERM);
}

static int
start(struct state *s, struct err *e)
{
	const struct conf *c = &s->conf;
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
		.arg = s,
	};
	int rc = check(c, e);

	if (rc < 0)
		return rc;
	tune_of(c, &sc.tune);
	if (c->http_address[0] != '\0') {
		http_of(c, &http);
		sc.http = &http;
	}
	return storage_open(&sc, &s->storage, e);
}

static void
reload(void *arg)
{
	struct state *s = arg;
	struct err e = ERR_INIT;
	struct storage_tune u;
	struct conf c;

	if (conf_load(&c, CONF_STORAGE, s->argc, (const char *const *)s->argv,
		&e) != 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
		return;
	}
	tune_of(&c, &u);
	if (storage_retune(s->storage, &u, &e) < 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
	} else {
		log_set_level((enum log_level)c.log_level);
		storage_reopen_log(s->storage);
		log_info("SIGHUP: reloaded");
	}
	conf_fini(&c);
}

static void
say_ready(struct state *s)
{
	char at[300], http[300];

	storage_listens(s->storage, at, http);
	printf(CREEL_VERSION_TEXT " storage is ready\n"
				  "  address      %s\n"
				  "  group        %s, server %jd\n",
	    at, s->conf.group, (intmax_t)s->conf.server_id);
	if (http[0] != '\0')
		printf("  file URLs    %s://%s\n",
		    s->conf.tls_cert[0] != '\0' ? "https" : "http", http);
	fflush(stdout);
	if (s->conf.allow_hosts.n == 0)
		log_info("allow_hosts is empty: commands of FastDFS's clients "
			 "are refused");
}

int
storage_main(int argc, char **argv)
{
	static struct state s;
	struct err e = ERR_INIT;
	sigset_t signals;
	int rc;

	s.argc = argc - 1;
	s.argv = argv + 1;
	rc = daemon_conf(&s.conf, CONF_STORAGE, "storage", usage, s.argc,
	    s.argv);
	if (rc >= 0)
		return rc;
	if (s.conf.args.n == 0) {
		conf_fini(&s.conf);
		return cli_usage("storage", "name a data directory");
	}
	daemon_begin(&s.conf, FILES_BESIDE_CONNECTIONS, &signals);
	rc = start(&s, &e);
	if (rc < 0) {
		e.code = rc;
		rc = cli_fail("storage", &e);
		conf_fini(&s.conf);
		return rc;
	}
	say_ready(&s);
	daemon_wait(&signals, reload, &s);
	storage_close(&s.storage, (int)s.conf.stop_timeout);
	conf_fini(&s.conf);
	log_info("stopped");
	return atomic_load(&s.is_expired) ? EXIT_FAILED : EXIT_OK;
}
