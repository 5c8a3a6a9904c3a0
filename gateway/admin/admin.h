/* gateway/admin/admin.h - what is not S3: metrics and the
 * administration API, under the reserved path `/-/`.
 *
 * GET /-/metrics       bearer token, or metrics_public
 * /-/admin/v1/...      JSON; signed like an S3 request with the root user's key
 *                      and the body's SHA-256. docs/OPERATIONS.md.
 * The health checks are answered by gateway/s3, with admin_is_ready().
 *
 * A1  Nothing below /-/admin/ is told or done before the signature of the root
 *     user was checked.
 * A2  One long job (scrub, compact, sweep, collect, verify, backup) of a kind
 *     runs at a time; another one is refused with 409.
 * Threads: admin_handle() on any; the rest before or after all of those. */
#ifndef GATEWAY_ADMIN_ADMIN_H
#define GATEWAY_ADMIN_ADMIN_H

#include "gateway/s3/s3.h"

struct admin;

struct admin_conf {
	struct store *store; /* the caller's; outlives this */
	const char *version;
	const char *metrics_token; /* copied; "" = no token opens /-/metrics */
	bool metrics_public;
};

int admin_new(const struct admin_conf *c, struct admin **ret, struct err *e);
void admin_free(struct admin **ap);
/* For connection counts; NULL before the server stops. */
void admin_set_server(struct admin *a, struct http_server *s);
/* From then on /-/health/ready answers 503. Any thread. */
void admin_set_stopping(struct admin *a);

/* SIGHUP may change it. Any thread. */
void admin_set_metrics_public(struct admin *a, bool is_public);
/* Why the server is not ready, for /-/health/ready; true when it is. */
bool admin_is_ready(struct admin *a, struct buf *why);
/* Answers what is below /-/ but health; false when there is no such page.
 * For struct s3_conf's admin callback. */
bool admin_handle(struct admin *a, struct s3 *s3, struct http_req *r,
    struct str path);

#endif
