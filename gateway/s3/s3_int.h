/* gateway/s3/s3_int.h - what the files of this folder share.
 *
 * R1  A handler returns 0 after it answered, or a negative code with *e set and
 *     without having started an answer; s3_handle() then writes the error. Once
 *     the answer has started, failures end in http_break() and 0. Or it returns
 *     S3_LATER: the request is deferred (http.h), and what goes on with it, with
 *     a copy of the struct s3_req, ends with s3_end(). By then the request may be
 *     answered and gone: whoever sees S3_LATER touches nothing of it.
 * R2  All views in a struct s3_req live in the request's arena or in the HTTP
 *     layer's buffers, as long as the request. */
#ifndef GATEWAY_S3_S3_INT_H
#define GATEWAY_S3_S3_INT_H

#include "auth/auth.h"
#include "gateway/s3/s3.h"
#include "lib/lock.h"
#include "lib/metrics.h"

#include <stdatomic.h>

#define S3_KEY_MAX 1024
#define S3_PARTS_MAX 10000
#define S3_IO_SIZE (256 * 1024)    /* one read of a body */
#define S3_WHOLE_MAX (1024 * 1024) /* bodies up to this use one buffer */
#define S3_DOC_FREE (64 * 1024)    /* smaller documents are not counted */
#define S3_SMALL 8192              /* bodies up to this lie in the arena */
#define S3_IO_POOL 16              /* I/O buffers kept while idle */
#define S3_XMLNS "http://s3.amazonaws.com/doc/2006-03-01/"

struct s3 {
	struct s3_conf conf;
	const char *region, *host_id, *cors;
	struct lock lock; /* the pool */
	void *pool[S3_IO_POOL];
	size_t n_pool;
	atomic_uint_least64_t memory; /* bytes of bodies' buffers in use */
};

enum s3_method {
	M_GET,
	M_HEAD,
	M_PUT,
	M_POST,
	M_DELETE,
	M_OPTIONS,
	M_OTHER,
};

enum s3_level {
	LEVEL_SERVICE,
	LEVEL_BUCKET,
	LEVEL_OBJECT,
};

enum {
	S3_LATER = 1 /* R1 */
};

struct s3_req;
typedef int (*s3_fn)(struct s3_req *r, struct err *e);

enum s3_op_flags {
	OP_NO_BUCKET = 1, /* the bucket need not exist */
	OP_BODY = 2,      /* the handler reads the body itself */
	OP_STORES = 4,    /* writes data or settings: see s3_check_refused() */
	OP_READS = 8,     /* reads an object's bytes or attributes */
	OP_OPEN = 16,     /* tells nothing: the same for whoever asks */
};

struct s3_op {
	const char *name, *action; /* S3's operation, IAM's action */
	s3_fn fn;
	unsigned flags;
	enum metric_op metric;
};

struct s3_req {
	struct s3 *s3;
	struct http_req *http;
	const struct http_info *info;
	struct arena *a;
	enum s3_method method;
	enum s3_level level;
	const struct s3_op *op;
	const char
	    *subresource; /* the query key that chose the route, or NULL */
	bool is_vhost;
	struct str bucket_name, key; /* decoded */
	struct header *params;       /* decoded query */
	size_t n_params;
	bool has_plain_param; /* one that is not named x-amz-... */
	bool is_hoisted;      /* parameters count as headers */
	struct auth_input auth_in;
	struct auth auth;
	struct user user; /* id "" = anonymous */
	struct bucket bucket;
	size_t charged;          /* s3_charge() */
	struct header extra[12]; /* fields of the error document */
	size_t n_extra;
};

/* --- s3.c: memory of bodies, counted against conf.max_memory --- */

/* ERR_SLOW_DOWN beyond the limit. Give back with the same @size. */
int s3_mem_get(struct s3 *s, size_t size, void **ret, struct err *e);
void s3_mem_put(struct s3 *s, void **pp, size_t size);
/* Counts @n bytes, held elsewhere until the request ends, against the limit:
 * documents in and out, which a slow client can keep for long. */
int s3_charge(struct s3_req *r, size_t n, struct err *e);
/* R1: http_defer(), and on true *ret is the copy that goes on with it. */
bool s3_defer(struct s3_req *r, struct s3_req *ret);
/* R1: what a handler came to. */
void s3_end(struct s3_req *r, int rc, const struct err *e);
void s3_event(struct s3 *s, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- request.c --- */

int s3_parse_target(struct s3_req *r, struct err *e);
/* First value of a query parameter, or STR_NULL. */
struct str s3_param(const struct s3_req *r, const char *name);
bool s3_has_param(const struct s3_req *r, const char *name);
/* A request header; for a presigned V4 URL also an x-amz-* query parameter
 * (all of the query is signed there), which the JS SDK makes of headers. */
struct str s3_header(const struct s3_req *r, const char *name);
bool s3_has_header(const struct s3_req *r, const char *name);
/* Calls @fn for each header (and hoisted parameter) with that prefix, names as
 * sent. Stops at a negative result. */
int s3_each_header(const struct s3_req *r, const char *prefix,
    int (*fn)(void *arg, struct str name, struct str value, struct err *e),
    void *arg, struct err *e);
int s3_no_memory(struct err *e);
/* max-keys and the like: default when absent or empty, ERR_INVALID_ARGUMENT
 * unless 0..INT32_MAX; capped at @max. */
int s3_param_count(struct s3_req *r, const char *name, uint32_t max,
    uint32_t *ret, struct err *e);
/* encoding-type: *ret_url; ERR_INVALID_ARGUMENT for another than url. */
int s3_param_encoding(struct s3_req *r, bool *ret_url, struct err *e);
/* versionId: absent or "null" is fine, others do not exist. */
int s3_check_version(struct s3_req *r, struct str version, struct err *e);
/* partNumber: 1..10000. */
int s3_param_part(struct s3_req *r, uint32_t *ret, struct err *e);

/* --- route.c --- */

/* Sets r->op and r->subresource; ERR_METHOD_NOT_ALLOWED or
 * ERR_NOT_IMPLEMENTED. */
int s3_route(struct s3_req *r, struct err *e);

/* --- authz.c --- */

int s3_authenticate(struct s3_req *r, struct err *e);
/* May the caller do @action on @b (NULL: on the service), object @key? The one
 * place where policies and ACLs will be asked. */
int s3_authorise(struct s3_req *r, const char *action, const struct bucket *b,
    struct str key, struct err *e);
/* Looks up r->bucket, authorises r->op, checks x-amz-expected-bucket-owner. */
int s3_enter_bucket(struct s3_req *r, struct err *e);
int s3_check_owner(struct s3_req *r, const char *header, const struct bucket *b,
    struct err *e);
/* Whom what is written belongs to: the bucket's owner (BucketOwnerEnforced). */
void s3_owner(const struct bucket *b, struct user *ret);

/* --- error.c --- */

/* A field for the error document. */
void s3_extra(struct s3_req *r, const char *name, struct str value);
void s3_extra_u64(struct s3_req *r, const char *name, uint64_t v);
/* Headers of every answer. */
void s3_common_headers(struct s3_req *r);
void s3_reply_error(struct s3_req *r, const struct err *e);
/* Code and message that a client may see. */
const char *s3_error_code(const struct err *e);
const char *s3_error_message(const struct err *e);

/* --- the operations --- */

int s3_list_buckets(struct s3_req *r, struct err *e);
int s3_create_bucket(struct s3_req *r, struct err *e);
int s3_head_bucket(struct s3_req *r, struct err *e);
int s3_delete_bucket(struct s3_req *r, struct err *e);
int s3_get_bucket_location(struct s3_req *r, struct err *e);
int s3_list_objects(struct s3_req *r, struct err *e);
int s3_list_objects_v2(struct s3_req *r, struct err *e);
int s3_list_object_versions(struct s3_req *r, struct err *e);
int s3_put_object(struct s3_req *r, struct err *e);
int s3_get_object(struct s3_req *r, struct err *e);
int s3_delete_object(struct s3_req *r, struct err *e);
int s3_delete_objects(struct s3_req *r, struct err *e);
int s3_copy_object(struct s3_req *r, struct err *e);
int s3_get_object_attributes(struct s3_req *r, struct err *e);
int s3_create_upload(struct s3_req *r, struct err *e);
int s3_upload_part(struct s3_req *r, struct err *e);
int s3_upload_part_copy(struct s3_req *r, struct err *e);
int s3_complete_upload(struct s3_req *r, struct err *e);
int s3_abort_upload(struct s3_req *r, struct err *e);
int s3_list_parts(struct s3_req *r, struct err *e);
int s3_list_uploads(struct s3_req *r, struct err *e);
int s3_absent(struct s3_req *r, struct err *e);
int s3_absent_list(struct s3_req *r, struct err *e);
int s3_absent_delete(struct s3_req *r, struct err *e);
int s3_absent_object(struct s3_req *r, struct err *e);
int s3_get_acl(struct s3_req *r, struct err *e);
int s3_put_acl(struct s3_req *r, struct err *e);
int s3_not_implemented(struct s3_req *r, struct err *e);

/* unsupported.c: headers that ask for what is not there (OP_STORES, OP_READS):
 * refused, never ignored. */
int s3_check_refused(struct s3_req *r, struct err *e);

/* health.c: true when the reserved path was answered. */
bool s3_reserved(struct s3_req *r);

/* cors.c */
void s3_cors_headers(struct s3_req *r);
int s3_cors_preflight(struct s3_req *r, struct err *e);

#endif
