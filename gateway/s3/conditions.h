/* gateway/s3/conditions.h - conditional requests (RFC 9110 section 13, and the
 * S3 API reference for writes). Pure but for the readers of headers. */
#ifndef GATEWAY_S3_CONDITIONS_H
#define GATEWAY_S3_CONDITIONS_H

#include "gateway/s3/s3_int.h"

struct read_cond {
	struct str if_match, if_none_match;             /* p NULL = not given */
	int64_t if_modified_since, if_unmodified_since; /* -1 = not given */
};

enum cond_result {
	COND_PASS,
	COND_NOT_MODIFIED,
	COND_FAILED
};

/* @etag without quotes; @mtime_s whole seconds. */
enum cond_result cond_read(const struct read_cond *c, struct str etag,
    int64_t mtime_s);
/* One entity tag without its quotes. */
struct str cond_unquote(struct str tag);
/* If-Range: may the range be served? */
bool cond_if_range(struct str value, struct str etag, int64_t mtime_s);

void s3_read_cond(const struct s3_req *r, struct read_cond *ret);
void s3_source_cond(const struct s3_req *r, struct read_cond *ret);
/* If-Match and If-None-Match of Put, Complete and Copy; other forms are
 * ERR_NOT_IMPLEMENTED. */
int s3_write_cond(struct s3_req *r, struct write_cond *ret, struct err *e);
/* If-Match of Delete. */
int s3_delete_cond(struct s3_req *r, struct str *ret_if_match, struct err *e);

#endif
