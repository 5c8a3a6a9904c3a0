/* gateway/s3/headers.h - an object's headers: in from a request, out in an
 * answer. */
#ifndef GATEWAY_S3_HEADERS_H
#define GATEWAY_S3_HEADERS_H

#include "gateway/s3/s3_int.h"

#define S3_USER_META_MAX 2048         /* names without prefix, and values */
#define S3_SYSTEM_META_MAX (8 * 1024) /* content-*, expires, ... */

/* What struct object's headers hold, from the request's headers. Names lower
 * case, in the arena. ERR_METADATA_TOO_LARGE, ERR_INVALID_STORAGE_CLASS. */
int s3_object_headers(struct s3_req *r, struct header **ret, size_t *ret_n,
    struct err *e);
/* ASCII as it is; else one RFC 2047 encoded word. p NULL without memory. */
struct str header_encode(struct str v, struct arena *a);

/* ETag, Last-Modified, Accept-Ranges, Content-Type and the stored ones, with
 * response-* overrides. */
int s3_send_headers(struct s3_req *r, const struct object *o, struct err *e);
void s3_send_etag(struct s3_req *r, struct str etag);
void s3_send_checksum(struct s3_req *r, const struct checksum *c,
    uint32_t n_parts);
/* Last-Modified. */
void s3_send_mtime(struct s3_req *r, int64_t mtime_ns);

#endif
