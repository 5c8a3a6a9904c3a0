/* auth/auth.h - who signed this request, and is the signature right?
 *
 * Pure functions: no sockets, no store, no clock of their own. SigV4 in header
 * and query, SigV2 in header and query, payload kinds, and the aws-chunked
 * chain (auth/chunked.h). Sources: AWS "Signature Version 4 signing process",
 * "Authenticating Requests: Using Query Parameters", "Signature Calculations:
 * Transferring Payload in Multiple Chunks", "Signing and authenticating REST
 * requests (Signature V2)". Security rules: S3.md section 4.
 *
 * Use: auth_parse() (syntax, scope, date, rules; finds the access key), then
 * the caller looks up the secret, then auth_verify(). An unknown access key
 * must go through auth_verify() with a dummy secret, so that it takes the same
 * time. Threads: any; all memory is in the arena passed. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/header.h"

#include <stdint.h>

enum auth_kind {
	AUTH_ANONYMOUS,
	AUTH_V4_HEADER,
	AUTH_V4_QUERY,
	AUTH_V2_HEADER,
	AUTH_V2_QUERY,
};

enum auth_payload {
	AUTH_PAYLOAD_NONE, /* not said (presigned, V2, anonymous): as unsigned */
	AUTH_PAYLOAD_HASH,           /* 64 hex digits: verify over the body */
	AUTH_PAYLOAD_UNSIGNED,       /* UNSIGNED-PAYLOAD */
	AUTH_PAYLOAD_STREAM,         /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
	AUTH_PAYLOAD_STREAM_TRAILER, /* ...-PAYLOAD-TRAILER */
	AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER, /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

struct auth_input {
	struct str method;
	struct str path;  /* raw, as on the request line */
	struct str query; /* raw; p == NULL when there is none */
	/* what query_parse() made of it; NULL: auth_parse() does */
	const struct header *params;
	size_t n_params;
	const struct header *headers;
	size_t n_headers;
	struct str
	    bucket_vhost;   /* bucket taken from Host, for SigV2; else empty */
	int64_t now_s;      /* unix time */
	struct str service; /* "s3" */
};

struct auth {
	enum auth_kind kind;
	enum auth_payload payload;
	uint8_t payload_hash[32];                 /* for AUTH_PAYLOAD_HASH */
	struct str access_key;                    /* empty for anonymous */
	struct str region, date, amz_date, scope; /* V4 */
	struct str signed_headers, signature;
	struct str session_token; /* x-amz-security-token, or empty */
	int64_t signed_at_s,
	    expires_at_s; /* the latter for presigned, else 0 */
	/* filled by auth_verify(), for the error document and the chunk chain */
	struct str canonical_request, string_to_sign;
	uint8_t signing_key[32];
	const struct auth_input *in;
	/* the query, decoded (auth/query.h): handlers read this one too */
	const struct header *params;
	size_t n_params;
	/* private to auth/ */
	struct str payload_value; /* what the canonical request ends with */
	struct str v2_date;       /* SigV2: the Expires or Date line */
};

/* Parses and checks everything but the signature. AUTH_ANONYMOUS when nothing
 * claims an identity. Errors: the AWS codes of S3.md section 4 (403
 * RequestTimeTooSkewed, AccessDenied for expiry and unsigned x-amz-* headers,
 * 400 AuthorizationHeaderMalformed, AuthorizationQueryParametersError,
 * InvalidArgument, ...). *ret keeps pointing to @in; after an error it holds
 * what was understood so far (amz_date and signed_at_s for the document of
 * RequestTimeTooSkewed). */
int auth_parse(const struct auth_input *in, struct arena *a, struct auth *ret,
    struct err *e);

/* ERR_SIGNATURE_DOES_NOT_MATCH when @secret did not make it; canonical_request
 * and string_to_sign are then set. @secret NULL: unknown key; does the same
 * work and returns ERR_INVALID_ACCESS_KEY_ID. */
int auth_verify(struct auth *au, const char *secret, struct arena *a,
    struct err *e);

/* Does SigV2 cover this query parameter? What it does not cover can be added to
 * a URL by whoever holds it, so it must select nothing there. */
bool auth_v2_signs(struct str name);

/* A presigned URL (V4 query). @params: extra query parameters, decoded, sorted
 * or not. Appends the URL. @base: "http://host:port", @path raw (already
 * encoded). Only the host header is signed. */
int auth_presign(struct str method, struct str base, struct str path,
    const struct header *params, size_t n_params, struct str access_key,
    struct str secret, struct str region, int64_t now_s, unsigned expires_s,
    struct buf *ret, struct err *e);

/* Signs a request of ours (creel admin, bench): appends to @ret_value the
 * complete Authorization value. Headers must hold host, x-amz-date and
 * x-amz-content-sha256; all of them are signed. */
int auth_sign(struct str method, struct str path, struct str query,
    const struct header *headers, size_t n, struct str access_key,
    struct str secret, struct str region, int64_t now_s, struct buf *ret_value,
    struct err *e);

#endif
