/* auth/chunked.h - the aws-chunked body: frames, chunk signatures, trailers.
 *
 * Pulls raw bytes from a source, gives decoded bytes. For the signed kinds each
 * chunk's bytes are given out only as far as the caller can still take them
 * back: data of a chunk whose signature is not verified yet may be read, but
 * the end (length 0) is never reported before the whole chain, the declared
 * decoded length and the trailers are verified. So nothing may be committed
 * before aws_chunked_read() has returned 0 bytes.
 * Source: AWS "Signature Calculations for the Authorization Header:
 * Transferring Payload in Multiple Chunks", and the trailer form. */
#ifndef AUTH_CHUNKED_H
#define AUTH_CHUNKED_H

#include "auth/auth.h"

struct aws_chunked;

typedef int (*aws_chunked_source)(void *arg, void *p, size_t len,
    size_t *ret_len, struct err *e);

/* @announced: names from x-amz-trailer (lower case), may be 0 of them; the array
 * is copied, the names stay the caller's. */
int aws_chunked_new(const struct auth *au, uint64_t decoded_length,
    const struct str *announced, size_t n_announced, aws_chunked_source src,
    void *src_arg, struct arena *a, struct aws_chunked **ret, struct err *e);

/* Up to @len decoded bytes; *ret_len 0 = verified end. ERR_INCOMPLETE_BODY,
 * ERR_SIGNATURE_DOES_NOT_MATCH, ERR_INVALID_REQUEST (bad framing),
 * ERR_MALFORMED_XML never. */
int aws_chunked_read(struct aws_chunked *c, void *p, size_t len,
    size_t *ret_len, struct err *e);

/* Trailers after the end: lower-case names. */
const struct header *aws_chunked_trailers(const struct aws_chunked *c,
    size_t *ret_n);

#endif
