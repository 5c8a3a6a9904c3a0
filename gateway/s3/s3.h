/* gateway/s3/s3.h - the S3 REST API: requests in, answers out.
 *
 * One file per family of operations; what they share is in s3_int.h. A request
 * goes through, in this order: target and query parsed once -> reserved paths
 * (health, admin) -> CORS preflight -> route -> signature -> bucket ->
 * authorisation -> expected owner -> refused headers -> the operation. Nothing
 * about the data is told before authorisation, and no byte of a body is read
 * before the signature over the headers was verified.
 *
 * Threads: s3_handle() and the other callbacks on any thread; a struct s3 is
 * constant after s3_new(). */
#ifndef GATEWAY_S3_S3_H
#define GATEWAY_S3_S3_H

#include "gateway/object/object.h"
#include "http/http.h"

struct s3;

struct s3_conf {
	struct store *store;        /* not taken over */
	const char *region;         /* NULL = us-east-1 */
	const char *const *domains; /* virtual-host style below these */
	size_t n_domains;
	const char *host_id;      /* x-amz-id-2; NULL = a constant */
	uint64_t max_object_size; /* one body; 0 = 5 TiB */
	uint64_t min_part_size;   /* all but the last part; 0 = 5 MiB */
	uint64_t max_memory; /* bodies' buffers of all requests; 0 = 256 MiB */
	/* "*", origins separated by blanks or commas, "" = no CORS; NULL = "*" */
	const char *cors_allow_origin;
	/* /-/health/ready: false and a line of text in @why when not. May be
	 * NULL. */
	bool (*ready)(void *arg, struct buf *why);
	/* Everything below /-/ but health. False: not found. Use
	 * s3_admin_request() to authenticate. */
	bool (*admin)(void *arg, struct s3 *s, struct http_req *r,
	    struct str path);
	void (*event)(void *arg, int level, const char *text); /* may be NULL */
	void *arg;
};

/* Strings of @c must outlive the result. */
int s3_new(const struct s3_conf *c, struct s3 **ret, struct err *e);
void s3_free(struct s3 **sp);

/* Callbacks for struct http_conf; arg is the struct s3. */
void s3_handle(void *arg, struct http_req *h);
void s3_error_body(void *arg, struct http_req *h, const struct err *why,
    struct buf *out, const char **ret_type);
bool s3_is_vital(void *arg, struct str path);
void s3_done(void *arg, struct http_req *h); /* counts the request */

/* For the admin callback: signature, then the whole body (at most @max bytes)
 * verified against the signed payload hash; anonymous requests are refused. */
int s3_admin_request(struct s3 *s, struct http_req *h, size_t max,
    struct user *ret_user, struct buf *body, struct err *e);

#endif
