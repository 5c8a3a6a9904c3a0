/* cli/daemon.c - see cli/daemon.h. */
#include "cli/daemon.h"
#include "cli/cli.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/trim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

void
daemon_event(void *arg, int level, const char *text)
{
	(void)arg;
	log_line((enum log_level)level, "%s", text);
}

static int
print_text(int (*text)(enum conf_daemon d, struct buf *ret), enum conf_daemon d,
    const char *head)
{
	struct buf b = BUF_CAP(1024 * 1024);
	int rc = text(d, &b);

	if (rc == 0)
		printf("%s" STR_FMT, head, STR_ARG(buf_str(&b)));
	buf_fini(&b);
	return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

int
daemon_conf(struct conf *c, enum conf_daemon d, const char *name,
    const char *usage, int argc, char **argv)
{
	struct err e = ERR_INIT;
	int rc = conf_load(c, d, argc, (const char *const *)argv, &e);

	if (rc == CONF_HELP)
		return print_text(conf_help, d, usage);
	if (rc == CONF_SAMPLE)
		return print_text(conf_sample, d, "");
	return rc < 0 ? cli_usage(name, "%s", e.msg) : -1;
}

static void
raise_file_limit(rlim_t want)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur < want)
		log_warn("%ju open files are allowed; max_connections needs "
			 "%ju",
		    (uintmax_t)l.rlim_cur, (uintmax_t)want);
}

void
daemon_begin(const struct conf *c, unsigned files, sigset_t *ret)
{
	log_set_level((enum log_level)c->log_level);
	umask(077);
	trim_begin();
	/* getaddrinfo() cannot be interrupted: name servers that do not answer
	 * must not hold up a stop. */
	setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
	raise_file_limit((rlim_t)c->max_connections + files);
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
	sigaddset(ret, SIGALRM); /* daemon_wait() */
	pthread_sigmask(SIG_BLOCK, ret, NULL);
}

/* A signal, within a second; or, when this process has nothing to trim, as soon as
 * it has worked that much: asked by a clock of its CPU time, which costs an idle
 * one nothing. */
static int
wait_or_look(const sigset_t *signals, siginfo_t *info, const struct trim *trim,
    const timer_t *worked)
{
	static const struct timespec look = { TRIM_LOOK_MS / 1000, 0 };
	struct itimerspec it = { .it_value.tv_nsec = trim_rest_ns(trim) };

	if (worked == NULL || it.it_value.tv_nsec == 0 ||
	    timer_settime(*worked, 0, &it, NULL) != 0)
		return sigtimedwait(signals, info, &look);
	return sigwaitinfo(signals, info);
}

void
daemon_wait(const sigset_t *signals, void (*reload)(void *arg), void *arg)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGALRM };
	struct trim trim = { 0 };
	siginfo_t info = { 0 };
	timer_t worked;
	bool has_timer =
	    timer_create(CLOCK_PROCESS_CPUTIME_ID, &ev, &worked) == 0;
	int sig;

	for (;;) {
		sig = wait_or_look(signals, &info, &trim,
		    has_timer ? &worked : NULL);
		if (sig == SIGALRM)
			trim_wakes(&trim); /* it has begun to work */
		if (trim_is_due(&trim, clock_mono_ns(), trim_cpu_ns()))
			trim_memory(&trim);
		if (sig == SIGHUP)
			reload(arg);
		else if (sig == SIGTERM || sig == SIGINT)
			break;
	}
	if (has_timer)
		timer_delete(worked);
	log_info("%s from process %jd: stopping",
	    sig == SIGTERM ? "SIGTERM" : "SIGINT", (intmax_t)info.si_pid);
}

void
daemon_http_conf(const struct conf *c, struct http_conf *ret)
{
	*ret = (struct http_conf){
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

/* --- a whole life --- */

struct life {
	const struct daemon_kind *k;
	int argc; /* for SIGHUP */
	char **argv;
};

static void
reload(void *arg)
{
	struct life *l = arg;
	struct err e = ERR_INIT;
	struct conf c;

	if (conf_load(&c, l->k->daemon, l->argc, (const char *const *)l->argv,
		&e) != 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
		return;
	}
	if (l->k->tune(&c, &e) < 0) {
		log_error("SIGHUP: settings are unchanged: %s", e.msg);
	} else {
		log_set_level((enum log_level)c.log_level);
		log_info("SIGHUP: reloaded");
	}
	conf_fini(&c);
}

static void
end_at_once(void)
{
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &end, NULL);
}

static int
live(struct life *l, struct conf *c)
{
	const struct daemon_kind *k = l->k;
	struct err e = ERR_INIT;
	sigset_t signals;
	int rc;

	daemon_begin(c, k->files, &signals);
	rc = k->open(c, &e);
	if (rc < 0) {
		e.code = rc;
		return cli_fail(k->name, &e);
	}
	k->say_ready(c);
	fflush(stdout);
	if (c->allow_hosts.n == 0)
		log_info("allow_hosts is empty: commands of FastDFS's clients "
			 "are refused");
	daemon_wait(&signals, reload, l);
	end_at_once();
	rc = k->close((int)c->stop_timeout);
	log_info("stopped");
	return rc;
}

int
daemon_main(const struct daemon_kind *k, int argc, char **argv)
{
	static struct conf c; /* what is open may point into it */
	struct life l = { k, argc - 1, argv + 1 };
	const char *wrong;
	int rc = daemon_conf(&c, k->daemon, k->name, k->usage, l.argc, l.argv);

	if (rc >= 0)
		return rc;
	wrong = k->wrong(&c);
	rc = wrong == NULL ? live(&l, &c) : cli_usage(k->name, "%s", wrong);
	conf_fini(&c);
	return rc;
}
