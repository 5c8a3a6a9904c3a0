/* cli/daemon.c - see cli/daemon.h. */
#include "cli/daemon.h"
#include "cli/cli.h"

#include "lib/log.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

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
	mallopt(M_ARENA_MAX, 8); /* not one per thread */
	/* getaddrinfo() cannot be interrupted: name servers that do not answer
	 * must not hold up a stop. */
	setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
	raise_file_limit((rlim_t)c->max_connections + files);
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
	pthread_sigmask(SIG_BLOCK, ret, NULL);
}

void
daemon_wait(const sigset_t *signals, void (*reload)(void *arg), void *arg)
{
	siginfo_t info = { 0 };
	sigset_t end;
	int sig;

	for (;;) {
		sig = sigwaitinfo(signals, &info);
		if (sig == SIGHUP)
			reload(arg);
		else if (sig == SIGTERM || sig == SIGINT)
			break;
	}
	log_info("%s from process %jd: stopping",
	    sig == SIGTERM ? "SIGTERM" : "SIGINT", (intmax_t)info.si_pid);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &end, NULL);
}
