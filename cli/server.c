/* cli/server.c - `creel server DIR...`: all of one node in one process.
 *
 * Opens upwards (engine, blob, index, objects, S3, HTTP) and closes downwards.
 * Threads: main only waits for signals; all others have them blocked. */
#include "cli/cli.h"
#include "cli/creds.h"
#include "cli/node.h"

#include "gateway/admin/admin.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/log.h"
#include "lib/rand.h"
#include "lib/thread.h"

#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_FILE "metrics.token"
#define FILES_BESIDE_CONNECTIONS 512
#define STOP_GRACE_MS 4000 /* after stop_timeout, for what does not end */

struct server {
	struct conf conf;
	int argc; /* for SIGHUP */
	char **argv;
	struct creds creds;
	bool creds_are_new, creds_from_file;
	char token[65];
	struct buf cors;
	struct node node;
	struct s3 *s3;
	struct admin *admin;
	struct http_server *http;
	atomic_bool stopped;
};

static const char usage[] =
    "usage: creel server DIR... [OPTION...]\n"
    "\n"
    "Serves S3. Each DIR is a store path (one per disk); index and credentials\n"
    "are kept in the first one. SIGHUP reloads certificates and settings,\n"
    "SIGTERM stops when requests under way have ended, a second one at once.\n"
    "\n";

/* --- callbacks of the S3 layer --- */

static bool
on_ready(void *arg, struct buf *why)
{
	struct server *s = arg;

	return admin_is_ready(s->admin, why);
}

static bool
on_admin(void *arg, struct s3 *s3, struct http_req *r, struct str path)
{
	struct server *s = arg;

	return admin_handle(s->admin, s3, r, path);
}

static void
on_event(void *arg, int level, const char *text)
{
	(void)arg;
	log_line((enum log_level)level, "%s", text);
}

/* --- what a first start makes --- */

static int
find_creds(struct server *s, struct err *e)
{
	const char *home = node_home(&s->conf);
	int rc = creds_from_conf(&s->conf, &s->creds, e);

	if (rc != ERR_NOT_FOUND)
		return rc;
	s->creds_from_file = true;
	rc = creds_from_dir(home, &s->creds, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	s->creds_are_new = true;
	return creds_create(home, &s->creds, e);
}

static int
find_token(struct server *s, struct err *e)
{
	struct buf b = BUF_CAP(256);
	char path[NODE_PATH_MAX];
	uint8_t random[20];
	struct str token;
	int rc;

	rc = fs_join(path, sizeof(path), node_home(&s->conf), TOKEN_FILE, e);
	if (rc < 0)
		return rc;
	rc = fs_read_file(path, 256, &b, e);
	if (rc == ERR_NOT_FOUND) {
		rand_bytes(random, sizeof(random));
		hex_encode(random, sizeof(random), s->token);
		s->token[40] = '\n';
		rc = fs_write_file(path, str_mem(s->token, 41), 0600, e);
		s->token[40] = '\0';
	} else if (rc == 0) {
		token = buf_str(&b);
		while (token.len > 0 && token.p[token.len - 1] == '\n')
			token.len--;
		if (token.len == 0 || token.len >= sizeof(s->token))
			rc = err_set(e, ERR_CONFIG,
			    "%s holds no token of 1 to 64 characters", path);
		else
			memcpy(s->token, token.p, token.len);
	}
	buf_fini(&b);
	return rc;
}

/* --- start --- */

/* One descriptor per connection, and the store's own. */
static void
raise_file_limit(const struct conf *c)
{
	rlim_t want = (rlim_t)c->max_connections + FILES_BESIDE_CONNECTIONS;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur < want)
		log_warn("%ju open files are allowed; max_connections %jd "
			 "needs %ju",
		    (uintmax_t)l.rlim_cur, (intmax_t)c->max_connections,
		    (uintmax_t)want);
}

static int
start_s3(struct server *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct admin_conf ac = { .store = s->node.store,
		.version = CREEL_VERSION,
		.metrics_token = s->token,
		.metrics_public = c->metrics_public };
	struct s3_conf sc = { .store = s->node.store,
		.region = c->region,
		.domains = c->domain.v,
		.n_domains = c->domain.n,
		.max_object_size = c->max_body_size,
		.ready = on_ready,
		.admin = on_admin,
		.event = on_event,
		.arg = s };
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < c->cors_allow_origin.n; i++)
		rc = buf_addf(&s->cors, "%s%s", i > 0 ? " " : "",
		    c->cors_allow_origin.v[i]);
	if (rc == 0)
		rc = buf_addc(&s->cors, '\0');
	if (rc < 0)
		return err_set(e, ERR_CONFIG, "cors_allow_origin is too long");
	sc.cors_allow_origin = s->cors.p;
	rc = admin_new(&ac, &s->admin, e);
	if (rc == 0)
		rc = s3_new(&sc, &s->s3, e);
	return rc;
}

static int
start_http(struct server *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct http_conf hc = {
		.addresses = c->address.v,
		.n_addresses = c->address.n,
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
		.handle = s3_handle,
		.error_body = s3_error_body,
		.is_vital = s3_is_vital,
		.done = s3_done,
		.arg = s->s3,
	};
	struct http_counts n;
	int rc;

	if (strcmp(c->access_log, "off") == 0 || c->access_log[0] == '\0')
		hc.access_log = NULL;
	rc = http_server_start(&hc, &s->http, e);
	if (rc < 0)
		return rc;
	admin_set_server(s->admin, s->http);
	http_server_counts(s->http, &n);
	if (n.max_connections < hc.max_connections)
		log_warn("this machine let start threads for %u connections "
			 "only; max_connections is %u",
		    n.max_connections, hc.max_connections);
	return 0;
}

static int
start(struct server *s, struct err *e)
{
	int rc = node_check_dirs(&s->conf, e);

	if (rc == 0)
		rc = find_creds(s, e);
	if (rc == 0)
		rc = find_token(s, e);
	if (rc == 0)
		rc = node_open(&s->conf, &s->node, e);
	if (rc == 0)
		rc = root_set(s->node.store, s->creds.user, s->creds.password,
		    e);
	if (rc == 0)
		rc = start_s3(s, e);
	if (rc == 0)
		rc = start_http(s, e);
	return rc;
}

/* --- ready --- */

/* How a client on this machine reaches listener @i; false past the last. */
static bool
endpoint(struct server *s, size_t i, char dst[300])
{
	const char *scheme = s->conf.tls_cert[0] != '\0' ? "https" : "http";
	const char *address = http_server_address(s->http, i);
	struct str a = str_of(address);
	ptrdiff_t colon = str_rchr(a, ':');

	if (address == NULL || colon < 0)
		return false;
	if (str_has_prefix(a, STR_LIT("0.0.0.0:")) ||
	    str_has_prefix(a, STR_LIT("[::]:")) || colon == 0)
		snprintf(dst, 300, "%s://127.0.0.1%s", scheme, address + colon);
	else
		snprintf(dst, 300, "%s://%s", scheme, address);
	return true;
}

static void
say_ready(struct server *s)
{
	const char *home = node_home(&s->conf);
	bool is_terminal = isatty(STDOUT_FILENO) == 1;
	char url[300], first[300] = "";
	size_t i;

	printf(CREEL_VERSION_TEXT " is ready\n");
	for (i = 0; endpoint(s, i, url); i++) {
		printf("  endpoint     %s\n", url);
		if (i == 0)
			memcpy(first, url, sizeof(first));
	}
	if (s->creds_from_file && is_terminal) {
		printf("  access key   %s\n  secret key   %s\n", s->creds.user,
		    s->creds.password);
		printf("  try          AWS_ACCESS_KEY_ID=%s "
		       "AWS_SECRET_ACCESS_KEY=%s AWS_DEFAULT_REGION=%s aws "
		       "--endpoint-url %s s3 ls\n",
		    s->creds.user, s->creds.password, s->conf.region, first);
	} else {
		if (s->creds_from_file)
			printf("  credentials  %s/%s%s\n", home, CREDS_FILE,
			    s->creds_are_new ? " (made now)" : "");
		printf("  try          %s%s%s%sAWS_ACCESS_KEY_ID="
		       "$CREEL_ROOT_USER AWS_SECRET_ACCESS_KEY="
		       "$CREEL_ROOT_PASSWORD AWS_DEFAULT_REGION=%s aws "
		       "--endpoint-url %s s3 ls\n",
		    s->creds_from_file ? ". " : "",
		    s->creds_from_file ? home : "",
		    s->creds_from_file ? "/" : "",
		    s->creds_from_file ? CREDS_FILE "; " : "", s->conf.region,
		    first);
	}
	fflush(stdout);
	if (s->conf.console_address[0] != '\0')
		log_info("console_address is ignored: there is no console yet");
}

/* --- signals --- */

/* SIGHUP: certificates, logs, and the settings that take effect at run time. A
 * wrong file changes nothing. */
static void
reload(struct server *s)
{
	struct err e = ERR_INIT;
	struct conf c;

	if (conf_load(&c, CONF_SERVER, s->argc, (const char *const *)s->argv,
		&e) != 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
		return;
	}
	log_set_level((enum log_level)c.log_level);
	admin_set_metrics_public(s->admin, c.metrics_public);
	node_tune(&s->node, &c);
	conf_fini(&c);
	http_server_reopen_log(s->http);
	if (s->conf.tls_cert[0] != '\0' &&
	    http_server_reload_tls(s->http, &e) < 0)
		log_error("SIGHUP: the old certificate stays: %s", e.msg);
	else
		log_info("SIGHUP: reloaded");
}

static void *
stop_http(void *arg)
{
	struct server *s = arg;

	http_server_drain(s->http);
	atomic_store(&s->stopped, true);
	return NULL;
}

/* Waits for the requests under way; a second signal cuts them. False if some
 * would not end. */
static bool
stop(struct server *s, const sigset_t *signals)
{
	const struct timespec tick = { .tv_nsec = 50 * 1000 * 1000 };
	struct err e = ERR_INIT;
	int64_t limit =
	    clock_mono_ns() + (s->conf.stop_timeout + STOP_GRACE_MS) * 1000000;
	pthread_t t;

	admin_set_stopping(s->admin);
	admin_set_server(s->admin, NULL);
	if (thread_start(&t, "stop", stop_http, s, &e) < 0) {
		http_server_drain(s->http);
		return true;
	}
	while (!atomic_load(&s->stopped)) {
		int sig = sigtimedwait(signals, NULL, &tick);

		if ((sig == SIGTERM || sig == SIGINT) &&
		    !atomic_load(&s->stopped)) {
			log_info("second signal: cutting what is under way");
			http_server_cut(s->http);
		}
		if (clock_mono_ns() > limit)
			return false;
	}
	thread_join(t);
	return true;
}

static bool
wait_and_stop(struct server *s, const sigset_t *signals)
{
	siginfo_t info = { 0 };
	int sig;

	for (;;) {
		sig = sigwaitinfo(signals, &info);
		if (sig == SIGHUP)
			reload(s);
		else if (sig == SIGTERM || sig == SIGINT)
			break;
	}
	log_info("%s from process %jd: stopping",
	    sig == SIGTERM ? "SIGTERM" : "SIGINT", (intmax_t)info.si_pid);
	return stop(s, signals);
}

static void
server_fini(struct server *s)
{
	if (s->http != NULL)
		http_server_stop(&s->http);
	s3_free(&s->s3);
	admin_free(&s->admin);
	store_close(&s->node.store);
	buf_fini(&s->cors);
	creds_wipe(&s->creds);
	conf_fini(&s->conf);
}

static int
print_text(int (*text)(enum conf_daemon d, struct buf *ret), const char *head)
{
	struct buf b = BUF_CAP(1024 * 1024);
	int rc = text(CONF_SERVER, &b);

	if (rc == 0)
		printf("%s" STR_FMT, head, STR_ARG(buf_str(&b)));
	buf_fini(&b);
	return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

int
server_main(int argc, char **argv)
{
	static struct server s = { .cors = BUF_CAP(64 * 1024) };
	struct err e = ERR_INIT;
	sigset_t signals;
	int rc;

	s.argc = argc - 1;
	s.argv = argv + 1;
	rc = conf_load(&s.conf, CONF_SERVER, s.argc,
	    (const char *const *)s.argv, &e);
	if (rc == CONF_HELP)
		return print_text(conf_help, usage);
	if (rc == CONF_SAMPLE)
		return print_text(conf_sample, "");
	if (rc < 0)
		return cli_usage("server", "%s", e.msg);
	if (s.conf.args.n == 0) {
		conf_fini(&s.conf);
		return cli_usage("server", "name a data directory");
	}
	log_set_level((enum log_level)s.conf.log_level);
	umask(077);
	mallopt(M_ARENA_MAX, 8); /* P7: not one per thread */
	raise_file_limit(&s.conf);

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	rc = start(&s, &e);
	if (rc < 0) {
		e.code = rc;
		rc = cli_fail("server", &e);
		server_fini(&s);
		return rc;
	}
	say_ready(&s);
	if (!wait_and_stop(&s, &signals)) {
		/* What is acknowledged is durable (P1): nothing to save. */
		log_warn("some requests did not end; leaving without them");
		_exit(EXIT_OK);
	}
	server_fini(&s);
	log_info("stopped");
	return EXIT_OK;
}
