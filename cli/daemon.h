/* cli/daemon.h - what the daemons do alike: settings' texts, signals, listeners,
 * the event callback of the layers below; and, for those that do no more, the
 * whole of their life (`creel storage`, `creel tracker`; cli/serve.h for those
 * that serve S3).
 * Threads: main alone; all others have signals blocked (lib/thread.h). */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include "http/http.h"
#include "lib/conf.h"

#include <signal.h>

/* Loads settings, prints --help (@usage before it) or --sample-config. Returns
 * -1 to go on, else the exit status. */
int daemon_conf(struct conf *c, enum conf_daemon d, const char *name,
    const char *usage, int argc, char **argv);
/* Level, umask, file limit (@files beside max_connections), signals blocked. */
void daemon_begin(const struct conf *c, unsigned files, sigset_t *ret);
/* Until SIGTERM or SIGINT; @reload on SIGHUP. Gives free memory back meanwhile. */
void daemon_wait(const sigset_t *signals, void (*reload)(void *arg), void *arg);
/* What settings say of listeners; the callbacks are the caller's. */
void daemon_http_conf(const struct conf *c, struct http_conf *ret);

struct daemon_kind {
	const char *name, *usage;
	enum conf_daemon daemon;
	unsigned files; /* beside max_connections */
	/* Arguments that it can't do with, in words; NULL: they are fine. */
	const char *(*wrong)(const struct conf *c);
	int (*open)(const struct conf *c, struct err *e);
	int (*tune)(const struct conf *c, struct err *e); /* SIGHUP */
	void (*say_ready)(const struct conf *c);
	int (*close)(int drain_ms); /* exit status */
};
/* From its arguments to its exit status. A second signal ends it at once. */
int daemon_main(const struct daemon_kind *k, int argc, char **argv);
/* For the event callbacks of libraries: to the log. */
void daemon_event(void *arg, int level, const char *text);

#endif
