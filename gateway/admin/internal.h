/* gateway/admin/internal.h - what the files of gateway/admin share. */
#ifndef GATEWAY_ADMIN_INTERNAL_H
#define GATEWAY_ADMIN_INTERNAL_H

#include "gateway/admin/admin.h"

#include <jansson.h>
#include <stdatomic.h>

#define ADMIN_MAGIC 0xad3170ffu
#define ADMIN_BODY_MAX (64 * 1024)
#define BUCKET_PAGE 1000 /* read at once */
#define ADMIN_ANSWER_MAX (64 * 1024 * 1024)

enum admin_job {
	JOB_SCRUB,
	JOB_COMPACT,
	JOB_COLLECT,
	JOB_SWEEP,
	JOB_VERIFY,
	JOB_BACKUP,
	JOBS
};

struct admin {
	unsigned magic;
	struct store *store;
	_Atomic(struct http_server *) server;
	const char *version;
	char token[129];
	int64_t started_ns;
	atomic_bool stopping, metrics_public;
	atomic_bool running[JOBS]; /* A2 */
};

/* One request of the API. */
struct admin_call {
	struct admin *admin;
	struct http_req *req;
	struct str rest;  /* decoded path after the route, e.g. a user's name */
	struct str query; /* raw */
	json_t *body;     /* object, or NULL */
};

/* 0 and *ret (may stay NULL: an empty answer), or an error. */
typedef int (
    *admin_route_fn)(struct admin_call *c, json_t **ret, struct err *e);

/* entities.c */
int admin_user_list(struct admin_call *c, json_t **ret, struct err *e);
int admin_user_add(struct admin_call *c, json_t **ret, struct err *e);
int admin_user_remove(struct admin_call *c, json_t **ret, struct err *e);
int admin_key_list(struct admin_call *c, json_t **ret, struct err *e);
int admin_key_add(struct admin_call *c, json_t **ret, struct err *e);
int admin_key_remove(struct admin_call *c, json_t **ret, struct err *e);
int admin_bucket_list(struct admin_call *c, json_t **ret, struct err *e);

/* jobs.c */
int admin_scrub(struct admin_call *c, json_t **ret, struct err *e);
int admin_compact(struct admin_call *c, json_t **ret, struct err *e);
int admin_collect(struct admin_call *c, json_t **ret, struct err *e);
int admin_sweep(struct admin_call *c, json_t **ret, struct err *e);
int admin_verify(struct admin_call *c, json_t **ret, struct err *e);
int admin_backup(struct admin_call *c, json_t **ret, struct err *e);

/* status.c */
int admin_status(struct admin_call *c, json_t **ret, struct err *e);
/* Refreshes the gauges, then appends all metrics as Prometheus text. */
int admin_metrics_text(struct admin *a, struct buf *ret, struct err *e);

/* json_pack() result or ERR_NO_MEMORY. */
int admin_give(json_t *j, json_t **ret, struct err *e);
/* Member of the body as text, or NULL. */
const char *admin_text(const struct admin_call *c, const char *name);
bool admin_flag(const struct admin_call *c, const char *name);

#endif
