/* gateway/s3/object_put.h - bodies into storage, for objects and parts. */
#ifndef GATEWAY_S3_OBJECT_PUT_H
#define GATEWAY_S3_OBJECT_PUT_H

#include "gateway/s3/body.h"

/* All of @b into a new put, verified. */
int s3_store_body(struct s3_body *b, struct str key, struct put **ret,
    struct err *e);
/* Hex MD5 in the arena; p NULL without memory. */
struct str s3_etag_of(struct s3_req *r, const struct hash_values *v);

#endif
