/* cli/daemon.h - what the daemons of a cluster do alike: settings' texts,
 * signals, the event callback of the layers below.
 * Threads: main alone; all others have signals blocked (lib/thread.h). */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include "lib/conf.h"

#include <signal.h>

/* Loads settings, prints --help (@usage before it) or --sample-config. Returns
 * -1 to go on, else the exit status. */
int daemon_conf(struct conf *c, enum conf_daemon d, const char *name,
    const char *usage, int argc, char **argv);
/* Level, umask, file limit (@files beside max_connections), signals blocked. */
void daemon_begin(const struct conf *c, unsigned files, sigset_t *ret);
/* Until SIGTERM or SIGINT; @reload on SIGHUP. A second signal afterwards ends
 * the process at once. */
void daemon_wait(const sigset_t *signals, void (*reload)(void *arg), void *arg);
/* For the event callbacks of libraries: to the log. */
void daemon_event(void *arg, int level, const char *text);

#endif
