/* gateway/s3/copy_source.h - the x-amz-copy-source of CopyObject and
 * UploadPartCopy. */
#ifndef GATEWAY_S3_COPY_SOURCE_H
#define GATEWAY_S3_COPY_SOURCE_H

#include "gateway/s3/checksums.h"
#include "gateway/s3/s3_int.h"

struct copy_source {
	struct str bucket_name, key, version;
	struct bucket bucket;
	struct object o;
	struct object_reader *rd;
};

/* [/]BUCKET/KEY[?versionId=ID], percent-encoded; ERR_INVALID_ARGUMENT for
 * anything else. */
int copy_source_parse(struct str header, struct arena *a, struct str *bucket,
    struct str *key, struct str *version);
/* Parses, authorises reading, checks the owner and the conditions, opens.
 * Close with object_close(&s->rd), after a failure too. */
int s3_source_open(struct s3_req *r, struct copy_source *s, struct err *e);
/* Reads [off, off+len) verified into digests. */
int s3_source_hash(struct s3_req *r, struct copy_source *s, uint64_t off,
    uint64_t len, unsigned mask, struct hash_values *ret, struct err *e);

#endif
