/* cli/client.h - signed requests to a server: the only user of libcurl but the
 * load generator. Threads: one at a time. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/creds.h"
#include "lib/err.h"
#include "lib/str.h"

struct client {
	const char *endpoint; /* "http://127.0.0.1:9000" */
	const char *ca;       /* file of CA certificates, or NULL */
	bool insecure;        /* take any certificate */
	struct creds creds;
};

#define CLIENT_ANSWER_MAX (64 * 1024 * 1024)

/* @path is encoded already; @query without '?', sorted and encoded, or empty.
 * Appends the body to @ret, which is the caller's also on failure. Any HTTP
 * status is a success here. @sign false: a request without an identity. */
int client_call(const struct client *c, const char *method, const char *path,
    const char *query, struct str body, bool sign, struct buf *ret,
    int *ret_status, struct err *e);

#endif
