/* cli/serve.h - a process that serves S3: what `creel server` and `creel gateway`
 * have in common.
 *
 * Settings, credentials, token, the S3 and HTTP layers, the ready line, signals
 * and the end; what is behind it, each brings along.
 * Threads: main waits for signals; all others have them blocked. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "gateway/object/object.h"
#include "lib/conf.h"

struct serve; /* the process, while it starts */

struct serve_kind {
	const char *command, *usage;
	enum conf_daemon daemon;
	/* The store is opened after HTTP, which says 503 until then. */
	bool is_slow;
	int (*check)(const struct conf *c, struct err *e);
	/* May wait, with serve_wait(). The store is closed by serve. */
	int (*open)(const struct conf *c, struct serve *s, struct store **ret,
	    struct err *e);
	void (*tune)(const struct conf *c); /* SIGHUP */
	/* Before the store is closed, and after; may be NULL. */
	void (*ending)(void);
	void (*close)(void);
};

int serve_main(const struct serve_kind *k, int argc, char **argv);

/* Says why it is not ready, on the log (once each) and for health checks, and
 * waits @ms. False when the process is to end. */
bool serve_wait(struct serve *s, const char *why, int ms);

#endif
