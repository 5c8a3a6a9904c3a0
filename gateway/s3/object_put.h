/* gateway/s3/object_put.h - bodies into storage, for objects and parts. */
#ifndef GATEWAY_S3_OBJECT_PUT_H
#define GATEWAY_S3_OBJECT_PUT_H

#include "gateway/s3/body.h"

/* A put, and what it may need until its end. */
struct s3_stored {
	struct put *put;
	void *buf; /* NULL: a small one in the request's arena, or none */
	size_t buf_size;
};
/* All of @b into a new put, verified; s3_stored_end() after a good one. */
int s3_store_body(struct s3_body *b, struct str key, struct s3_stored *ret,
    struct err *e);
/* Aborts the put if it is still there. */
void s3_stored_end(struct s3_req *r, struct s3_stored *st);
/* Hex MD5 in the arena; p NULL without memory. */
struct str s3_etag_of(struct s3_req *r, const struct hash_values *v);

#endif
