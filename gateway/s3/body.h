/* gateway/s3/body.h - a request's body through its checks.
 *
 * http_read -> aws-chunked decoder -> digests (what the operation asks for, the
 * signed payload hash, Content-MD5, the client's checksum) -> size.
 *
 * B1  The end is reported (length 0) only after every claim about the body was
 *     verified: nothing may be committed before. */
#ifndef GATEWAY_S3_BODY_H
#define GATEWAY_S3_BODY_H

#include "auth/chunked.h"
#include "gateway/s3/checksums.h"
#include "gateway/s3/hasher.h"
#include "gateway/s3/s3_int.h"

struct s3_body {
	struct s3_req *r;
	struct aws_chunked *chunked; /* NULL: the body as it is */
	struct str announced;        /* the trailer's name */
	uint64_t size; /* decoded bytes to come, UINT64_MAX if not known */
	uint64_t got, max;
	struct hasher *hasher; /* NULL: digests are made while reading */
	struct str to_hash;    /* read, not given to the hasher yet */
	struct hashes hashes;
	struct hashes
	    light; /* with a hasher: what costs less than handing over */
	unsigned mask;
	bool is_ended;
	bool has_md5;
	bool is_trailer; /* want's value comes after the end */
	uint8_t md5[16];
	struct checksum want;      /* the client's; alg CHECKSUM_NONE: none */
	struct hash_values values; /* after the end */
};

enum s3_body_flags {
	BODY_SIZED = 1,  /* 411 without a length */
	BODY_DIGEST = 2, /* Content-MD5 or a checksum must be there */
	BODY_OTHER = 4,  /* x-amz-checksum-* is of something else */
};

/* Reads the headers only. @mask: digests that the caller wants besides. */
int s3_body_open(struct s3_req *r, uint64_t max, unsigned flags, unsigned mask,
    struct s3_body *ret, struct err *e);
/* More digests, before the first read. */
void s3_body_add(struct s3_body *b, unsigned mask);
int s3_body_read(struct s3_body *b, void *p, size_t len, size_t *ret_len,
    struct err *e);
/* Before the first read: digests on a thread of their own, if there is one to be
 * had. Then what s3_body_fill() reads must stay as it is until hasher_wait(), and
 * s3_body_alone() comes before the bytes or @b go. */
void s3_body_parallel(struct s3_body *b);
void s3_body_alone(struct s3_body *b);
/* Reads until @len bytes are there, or all that were announced, or the body has
 * ended, which alone gives 0. */
int s3_body_fill(struct s3_body *b, void *p, size_t len, size_t *ret_len,
    struct err *e);
/* The whole body into @out; ERR_MAX_MESSAGE_LENGTH beyond @max. */
int s3_body_all(struct s3_req *r, size_t max, unsigned flags, struct buf *out,
    struct err *e);
/* An operation without a body: one that is sent nevertheless is read (a bounded
 * amount) and verified. */
int s3_body_none(struct s3_req *r, struct err *e);

/* The client's checksum from headers, trailer announcement and
 * x-amz-sdk-checksum-algorithm; see struct s3_body's want and is_trailer.
 * @composite: "value-N" is fine. */
int s3_checksum_claim(struct s3_req *r, bool composite,
    struct checksum *ret_want, bool *ret_is_trailer, struct err *e);

#endif
