/* cli/serve.c - see cli/serve.h.
 *
 * Opens upwards (store, S3, HTTP) and closes downwards. Where opening the store
 * takes its time, HTTP comes first and answers 503 until then. */
#include "cli/serve.h"
#include "cli/cli.h"
#include "cli/creds.h"
#include "cli/daemon.h"
#include "cli/node.h"

#include "gateway/admin/admin.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/rand.h"
#include "lib/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_FILE "metrics.token"
#define FILES_BESIDE_CONNECTIONS 512
#define STOP_GRACE_MS 4000 /* after stop_timeout, for what does not end */

struct serve {
	const struct serve_kind *kind;
	struct conf conf;
	int argc; /* for SIGHUP */
	char **argv;
	struct creds creds;
	bool creds_are_new, creds_from_file;
	char token[65];
	struct buf cors;
	sigset_t signals;
	struct store *store;
	_Atomic(struct s3 *) s3; /* NULL until there is a store */
	struct admin *admin;
	struct http_server *http;
	atomic_bool stopped;
	bool is_ended;    /* by a signal, before it was ready */
	struct lock lock; /* LEAF: why it is not ready */
	char why[256];
};

/* --- before there is a store --- */

bool
serve_wait(struct serve *s, const char *why, int ms)
{
	const struct timespec tick = { ms / 1000, ms % 1000 * 1000000 };
	bool is_news;
	int sig;

	lock_take(&s->lock);
	is_news = strcmp(s->why, why) != 0;
	snprintf(s->why, sizeof(s->why), "%s", why);
	lock_drop(&s->lock);
	if (is_news)
		log_info("waiting: %s", why);
	sig = sigtimedwait(&s->signals, NULL, &tick);
	if (sig == SIGTERM || sig == SIGINT)
		s->is_ended = true;
	return !s->is_ended;
}

static void
early_text(struct http_req *r, int status, struct str body)
{
	http_setz(r, "Content-Type", "text/plain; charset=utf-8");
	http_setz(r, "Cache-Control", "no-store");
	http_reply(r, status, body);
}

static void
early(struct serve *s, struct http_req *r)
{
	static const char refusal[] =
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>"
	    "ServiceUnavailable</Code><Message>The server is starting."
	    "</Message></Error>";
	struct str path = http_info(r)->path;
	char why[sizeof(s->why) + 1];

	if (str_eqz(path, "/-/health/live") ||
	    str_eqz(path, "/minio/health/live")) {
		early_text(r, 200, STR_LIT("ok\n"));
		return;
	}
	http_setz(r, "Retry-After", "1");
	if (s3_is_vital(NULL, path)) {
		lock_take(&s->lock);
		snprintf(why, sizeof(why), "%s\n", s->why);
		lock_drop(&s->lock);
		early_text(r, 503, str_of(why));
		return;
	}
	http_setz(r, "Content-Type", "application/xml");
	http_note(r)->error = "ServiceUnavailable";
	http_reply(r, 503, str_of(refusal));
}

/* --- callbacks of the HTTP layer --- */

static void
on_request(void *arg, struct http_req *r)
{
	struct serve *s = arg;
	struct s3 *s3 = atomic_load_explicit(&s->s3, memory_order_acquire);

	if (s3 != NULL)
		s3_handle(s3, r);
	else
		early(s, r);
}

static void
on_error(void *arg, struct http_req *r, const struct err *why, struct buf *out,
    const char **ret_type)
{
	struct serve *s = arg;
	struct s3 *s3 = atomic_load_explicit(&s->s3, memory_order_acquire);

	if (s3 != NULL) {
		s3_error_body(s3, r, why, out, ret_type);
		return;
	}
	*ret_type = "text/plain; charset=utf-8";
	buf_addf(out, "%s\n",
	    why->msg[0] != '\0' ? why->msg : err_text(why->code));
}

/* --- callbacks of the S3 layer --- */

static bool
on_ready(void *arg, struct buf *why)
{
	struct serve *s = arg;

	return admin_is_ready(s->admin, why);
}

static bool
on_admin(void *arg, struct s3 *s3, struct http_req *r, struct str path)
{
	struct serve *s = arg;

	return admin_handle(s->admin, s3, r, path);
}

/* --- what a first start makes --- */

static int
find_creds(struct serve *s, struct err *e)
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
find_token(struct serve *s, struct err *e)
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

static int
start_s3(struct serve *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct admin_conf ac = { .store = s->store,
		.version = CREEL_VERSION,
		.metrics_token = s->token,
		.metrics_public = c->metrics_public };
	struct s3_conf sc = { .store = s->store,
		.region = c->region,
		.domains = c->domain.v,
		.n_domains = c->domain.n,
		.max_object_size = c->max_body_size,
		.ready = on_ready,
		.admin = on_admin,
		.event = daemon_event,
		.arg = s };
	struct s3 *s3 = NULL;
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
		rc = s3_new(&sc, &s3, e);
	if (rc < 0)
		return rc;
	if (s->http != NULL)
		admin_set_server(s->admin, s->http);
	atomic_store_explicit(&s->s3, s3, memory_order_release);
	return 0;
}

static int
start_http(struct serve *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct http_conf hc;
	struct http_counts n;
	int rc;

	daemon_http_conf(c, &hc);
	hc.addresses = c->address.v;
	hc.n_addresses = c->address.n;
	hc.handle = on_request;
	hc.error_body = on_error;
	hc.is_vital = s3_is_vital;
	hc.done = s3_done;
	hc.arg = s;
	rc = http_server_start(&hc, &s->http, e);
	if (rc < 0)
		return rc;
	if (s->admin != NULL)
		admin_set_server(s->admin, s->http);
	http_server_counts(s->http, &n);
	if (n.max_connections < hc.max_connections)
		log_warn("this machine let start threads for %u connections "
			 "only; max_connections is %u",
		    n.max_connections, hc.max_connections);
	return 0;
}

static int
start(struct serve *s, struct err *e)
{
	const struct serve_kind *k = s->kind;
	int rc = k->check(&s->conf, e);

	if (rc == 0)
		rc = find_creds(s, e);
	if (rc == 0)
		rc = find_token(s, e);
	if (rc == 0 && k->is_slow)
		rc = start_http(s, e);
	if (rc == 0)
		rc = k->open(&s->conf, s, &s->store, e);
	if (rc == 0)
		rc = root_set(s->store, s->creds.user, s->creds.password, e);
	if (rc == 0)
		rc = start_s3(s, e);
	if (rc == 0 && !k->is_slow)
		rc = start_http(s, e);
	return rc;
}

/* --- ready --- */

/* How a client on this machine reaches listener @i; false past the last. */
static bool
endpoint(struct serve *s, size_t i, char dst[300])
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

/* "AWS_X=$NAME " with the variable that holds this half of the pair; a pair
 * from elsewhere (a file of secrets, the configuration) the reader fills in. */
static void
say_half(const char *aws, const char *half)
{
	static const char *const prefixes[] = { "CREEL", "MINIO" };
	char name[32];

	for (size_t i = 0; i < 2; i++) {
		const char *v;

		snprintf(name, sizeof(name), "%s_ROOT_%s", prefixes[i], half);
		v = getenv(name);
		if (v != NULL && *v != '\0') {
			printf("%s=$%s ", aws, name);
			return;
		}
	}
	printf("%s=... ", aws);
}

/* ". FILE; " as a shell takes it. */
static void
say_source(const char *home)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_./-";
	bool is_plain = home[strspn(home, plain)] == '\0';

	fputs(is_plain ? ". " : ". '", stdout);
	for (const char *p = home; *p != '\0'; p++) {
		if (*p == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*p);
	}
	printf("/" CREDS_FILE "%s; ", is_plain ? "" : "'");
}

static void
say_ready(struct serve *s)
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
		fputs("  try          ", stdout);
		if (s->creds_from_file) {
			say_source(home);
			fputs("AWS_ACCESS_KEY_ID=$CREEL_ROOT_USER "
			      "AWS_SECRET_ACCESS_KEY=$CREEL_ROOT_PASSWORD ",
			    stdout);
		} else {
			say_half("AWS_ACCESS_KEY_ID", "USER");
			say_half("AWS_SECRET_ACCESS_KEY", "PASSWORD");
		}
		printf("AWS_DEFAULT_REGION=%s aws --endpoint-url %s s3 ls\n",
		    s->conf.region, first);
	}
	fflush(stdout);
	if (s->conf.console_address[0] != '\0')
		log_info("console_address is ignored: there is no console yet");
}

/* --- signals --- */

/* SIGHUP: certificates, logs, and the settings that take effect at run time. A
 * wrong file changes nothing. */
static void
reload(void *arg)
{
	struct serve *s = arg;
	struct err e = ERR_INIT;
	struct conf c;

	if (conf_load(&c, s->kind->daemon, s->argc,
		(const char *const *)s->argv, &e) != 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
		return;
	}
	log_set_level((enum log_level)c.log_level);
	admin_set_metrics_public(s->admin, c.metrics_public);
	s->kind->tune(&c);
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
	struct serve *s = arg;

	http_server_drain(s->http);
	atomic_store(&s->stopped, true);
	return NULL;
}

/* Waits for the requests under way; a second signal cuts them. False if some
 * would not end. */
static bool
stop(struct serve *s)
{
	const struct timespec tick = { .tv_nsec = 50 * 1000 * 1000 };
	struct err e = ERR_INIT;
	int64_t limit =
	    clock_mono_ns() + (s->conf.stop_timeout + STOP_GRACE_MS) * 1000000;
	pthread_t t;

	if (s->admin != NULL) {
		admin_set_stopping(s->admin);
		admin_set_server(s->admin, NULL);
	}
	if (thread_start(&t, "stop", stop_http, s, &e) < 0) {
		http_server_drain(s->http);
		return true;
	}
	while (!atomic_load(&s->stopped)) {
		int sig = sigtimedwait(&s->signals, NULL, &tick);

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

static void
serve_fini(struct serve *s)
{
	struct s3 *s3;

	if (s->http != NULL)
		http_server_stop(&s->http);
	s3 = atomic_exchange(&s->s3, NULL);
	s3_free(&s3);
	admin_free(&s->admin);
	if (s->store != NULL && s->kind->ending != NULL)
		s->kind->ending();
	store_close(&s->store);
	if (s->kind->close != NULL)
		s->kind->close();
	buf_fini(&s->cors);
	creds_wipe(&s->creds);
	conf_fini(&s->conf);
	lock_fini(&s->lock);
}

int
serve_main(const struct serve_kind *k, int argc, char **argv)
{
	static struct serve s = { .cors = BUF_CAP(64 * 1024),
		.why = "starting" };
	struct err e = ERR_INIT;
	int rc;

	s.kind = k;
	s.argc = argc - 1;
	s.argv = argv + 1;
	rc = daemon_conf(&s.conf, k->daemon, k->command, k->usage, s.argc,
	    s.argv);
	if (rc >= 0)
		return rc;
	if (s.conf.args.n == 0 &&
	    (k->daemon == CONF_SERVER || s.conf.index[0] == '\0')) {
		conf_fini(&s.conf);
		return cli_usage(k->command, "name a data directory");
	}
	/* Half a pair: said before anything is made. */
	rc = creds_from_conf(&s.conf, &s.creds, &e);
	if (rc < 0 && rc != ERR_NOT_FOUND) {
		conf_fini(&s.conf);
		return cli_usage(k->command, "%s", e.msg);
	}
	lock_init(&s.lock, LOCK_RANK_LEAF);
	daemon_begin(&s.conf, FILES_BESIDE_CONNECTIONS, &s.signals);
	rc = start(&s, &e);
	if (rc < 0) {
		e.code = rc;
		rc = s.is_ended ? EXIT_OK : cli_fail(k->command, &e);
		serve_fini(&s);
		return rc;
	}
	say_ready(&s);
	daemon_wait(&s.signals, reload, &s);
	if (!stop(&s)) {
		/* What is acknowledged is durable (P1): nothing to save. */
		log_warn("some requests did not end; leaving without them");
		_exit(EXIT_OK);
	}
	serve_fini(&s);
	log_info("stopped");
	return EXIT_OK;
}
