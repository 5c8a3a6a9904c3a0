/* gateway/s3/body.c - bodies through their checks (body.h). */
#include "gateway/s3/body.h"

#define NONE_MAX (64 * 1024) /* drained for an operation without a body */

/* --- the client's claims --- */

struct claim {
	struct s3_req *r;
	struct checksum c;
	unsigned n;
	bool composite;
};

static int
claim_header(void *arg, struct str name, struct str value, struct err *e)
{
	struct claim *cl = arg;
	uint8_t alg;

	if (str_ieq(name, STR_LIT("x-amz-checksum-mode")) ||
	    str_ieq(name, STR_LIT("x-amz-checksum-algorithm")) ||
	    str_ieq(name, STR_LIT("x-amz-checksum-type")))
		return 0;
	alg = checksum_by_header(name);
	if (alg == CHECKSUM_NONE)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The algorithm type you specified in x-amz-checksum- "
		    "header is invalid.");
	if (cl->n++ > 0)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Expecting a single x-amz-checksum- header. Multiple "
		    "checksum Types are not allowed.");
	if (!checksum_parse(alg, value, cl->composite, &cl->c, NULL))
		return err_set(e, ERR_BAD_DIGEST,
		    "Value for %s header is invalid.", checksum_header(alg));
	return 0;
}

static int
claim_trailer(struct s3_req *r, struct claim *cl, struct err *e)
{
	struct str list = http_header(r->http, "x-amz-trailer"), item;

	if (list.p == NULL)
		return 0;
	if (http_header_count(r->http, "x-amz-trailer") > 1 || cl->n > 0)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Expecting a single x-amz-checksum- header. Multiple "
		    "checksum Types are not allowed.");
	item = str_trim(str_split(&list, ','));
	cl->c = (struct checksum){ .alg = checksum_by_header(item) };
	if (cl->c.alg == CHECKSUM_NONE || list.p != NULL)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The value specified in the x-amz-trailer header is not "
		    "supported");
	if (r->auth.payload != AUTH_PAYLOAD_STREAM_TRAILER &&
	    r->auth.payload != AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER)
		return err_set(e, ERR_INVALID_REQUEST,
		    "x-amz-trailer needs a payload with a trailer.");
	return 0;
}

int
s3_checksum_claim(struct s3_req *r, bool composite, struct checksum *ret_want,
    bool *ret_is_trailer, struct err *e)
{
	struct claim cl = { .r = r, .composite = composite };
	struct str sdk = s3_header(r, "x-amz-sdk-checksum-algorithm");
	uint8_t alg;
	int rc;

	rc = s3_each_header(r, "x-amz-checksum-", claim_header, &cl, e);
	if (rc == 0)
		rc = claim_trailer(r, &cl, e);
	if (rc < 0)
		return rc;
	if (sdk.p != NULL) {
		alg = checksum_by_name(sdk);
		if (alg == CHECKSUM_NONE)
			return err_set(e, ERR_INVALID_REQUEST,
			    "Value for x-amz-sdk-checksum-algorithm header is "
			    "invalid.");
		if (cl.c.alg != CHECKSUM_NONE && cl.c.alg != alg)
			return err_set(e, ERR_INVALID_REQUEST,
			    "Value for x-amz-sdk-checksum-algorithm header is "
			    "invalid.");
	}
	*ret_is_trailer = cl.c.alg != CHECKSUM_NONE && cl.n == 0;
	*ret_want = cl.c;
	return 0;
}

/* An object's body whose header names an algorithm, and no checksum comes: AWS
 * refuses it. SDKs also leave the name alone in presigned URLs: no claim. */
static int
claim_announced(struct s3_body *b, struct err *e)
{
	if (b->want.alg != CHECKSUM_NONE ||
	    http_header(b->r->http, "x-amz-sdk-checksum-algorithm").p == NULL)
		return 0;
	return err_set(e, ERR_INVALID_REQUEST,
	    "x-amz-sdk-checksum-algorithm specified, but no corresponding "
	    "x-amz-checksum-* or x-amz-trailer headers were found.");
}

static int
claim_md5(struct s3_body *b, struct err *e)
{
	struct str v = http_header(b->r->http, "content-md5");
	size_t len;

	if (v.p == NULL)
		return 0;
	if (!base64_decode(v, b->md5, sizeof(b->md5), &len) || len != 16) {
		s3_extra(b->r, "Content-MD5", v);
		return err_set(e, ERR_INVALID_DIGEST,
		    "The Content-MD5 you specified was invalid.");
	}
	b->has_md5 = true;
	return 0;
}

/* --- opening --- */

static bool
is_stream(const struct s3_req *r)
{
	return r->auth.payload == AUTH_PAYLOAD_STREAM ||
	       r->auth.payload == AUTH_PAYLOAD_STREAM_TRAILER ||
	       r->auth.payload == AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER;
}

static int
body_size(struct s3_body *b, unsigned flags, struct err *e)
{
	struct s3_req *r = b->r;
	struct str decoded =
	    http_header(r->http, "x-amz-decoded-content-length");

	b->size = UINT64_MAX;
	if (decoded.p != NULL && !str_to_u64(decoded, INT64_MAX, &b->size))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "x-amz-decoded-content-length is not a number.");
	if (is_stream(r)) {
		if (decoded.p == NULL)
			return err_set(e, ERR_MISSING_CONTENT_LENGTH, NULL);
	} else if (r->info->content_length >= 0) {
		b->size = (uint64_t)r->info->content_length;
	} else if (!r->info->chunked) {
		b->size = 0;
		if ((flags & BODY_SIZED) != 0)
			return err_set(e, ERR_MISSING_CONTENT_LENGTH, NULL);
	} /* else Transfer-Encoding: chunked, as long as it takes */
	if (b->size == UINT64_MAX || b->size <= b->max)
		return 0;
	if ((flags & BODY_SIZED) == 0)
		return err_set(e, ERR_MAX_MESSAGE_LENGTH, NULL);
	s3_extra_u64(r, "ProposedSize", b->size);
	s3_extra_u64(r, "MaxSizeAllowed", b->max);
	return err_set(e, ERR_ENTITY_TOO_LARGE, NULL);
}

static int
source(void *arg, void *p, size_t len, size_t *ret_len, struct err *e)
{
	struct s3_body *b = arg;

	return http_read(b->r->http, p, len, ret_len, e);
}

int
s3_body_open(struct s3_req *r, uint64_t max, unsigned flags, unsigned mask,
    struct s3_body *ret, struct err *e)
{
	struct s3_body *b = ret;
	int rc = 0;

	memset(b, 0, offsetof(struct s3_body, hashes));
	b->is_ended = b->has_md5 = b->is_trailer = false;
	b->values.mask = 0;
	b->want.alg = CHECKSUM_NONE;
	b->r = r;
	b->max = max;
	if ((flags & BODY_OTHER) == 0)
		rc = s3_checksum_claim(r, false, &b->want, &b->is_trailer, e);
	if (rc == 0 && (flags & BODY_SIZED) != 0)
		rc = claim_announced(b, e);
	if (rc == 0)
		rc = claim_md5(b, e);
	if (rc == 0 && (flags & BODY_DIGEST) != 0 && !b->has_md5 &&
	    b->want.alg == CHECKSUM_NONE)
		rc = err_set(e, ERR_INVALID_REQUEST,
		    "Missing required header for this request: Content-MD5 "
		    "OR x-amz-checksum-*");
	if (rc == 0)
		rc = body_size(b, flags, e);
	if (rc == 0 && is_stream(r)) {
		if (b->is_trailer)
			b->announced = str_of(checksum_header(b->want.alg));
		rc = aws_chunked_new(&r->auth, b->size, &b->announced,
		    b->is_trailer, source, b, r->a, &b->chunked, e);
	}
	if (rc < 0)
		return rc;
	b->mask = mask;
	if (b->has_md5)
		b->mask |= HASH_BIT(HASH_MD5);
	if (b->want.alg != CHECKSUM_NONE)
		b->mask |= HASH_BIT(checksum_hash(b->want.alg));
	if (r->auth.payload == AUTH_PAYLOAD_HASH)
		b->mask |= HASH_BIT(HASH_SHA256);
	hashes_init(&b->hashes, b->mask);
	return 0;
}

void
s3_body_add(struct s3_body *b, unsigned mask)
{
	MUST(b->got == 0 && !b->is_ended);
	b->mask |= mask;
	hashes_init(&b->hashes, b->mask);
}

/* --- digests --- */

/* What a thread of its own is for. The others are made of bytes that have just
 * come, and still are in the worker's cache. */
#define HEAVY                                                                  \
	(HASH_BIT(HASH_MD5) | HASH_BIT(HASH_SHA1) | HASH_BIT(HASH_SHA256) |    \
	    HASH_BIT(HASH_SHA512))

static void
hand_over(struct s3_body *b)
{
	if (b->to_hash.len > 0)
		hasher_add(b->hasher, b->to_hash.p, b->to_hash.len);
	b->to_hash = STR_NULL;
}

static void
digest(struct s3_body *b, const char *p, size_t n)
{
	if (b->hasher == NULL) {
		hashes_update(&b->hashes, p, n);
		return;
	}
	hashes_update(&b->light, p, n);
	if (b->to_hash.len > 0 && b->to_hash.p + b->to_hash.len != p)
		hand_over(b);
	if (b->to_hash.len == 0)
		b->to_hash.p = p;
	b->to_hash.len += n;
}

void
s3_body_parallel(struct s3_body *b)
{
	MUST(b->hasher == NULL && b->got == 0);
	b->hasher = hasher_start(&b->hashes);
	if (b->hasher == NULL)
		return;
	hashes_init(&b->hashes, b->mask & HEAVY);
	hashes_init(&b->light, b->mask & ~HEAVY);
}

void
s3_body_alone(struct s3_body *b)
{
	hasher_stop(&b->hasher);
	b->to_hash = STR_NULL;
}

/* --- the end --- */

static int
verify_hash(struct s3_body *b, struct err *e)
{
	const struct auth *au = &b->r->auth;
	char hex[2][64];

	if (au->payload != AUTH_PAYLOAD_HASH ||
	    memcmp(au->payload_hash, b->values.v[HASH_SHA256], 32) == 0)
		return 0;
	hex_encode(au->payload_hash, 32, hex[0]);
	hex_encode(b->values.v[HASH_SHA256], 32, hex[1]);
	s3_extra(b->r, "ClientComputedContentSHA256",
	    arena_str(b->r->a, str_mem(hex[0], 64)));
	s3_extra(b->r, "S3ComputedContentSHA256",
	    arena_str(b->r->a, str_mem(hex[1], 64)));
	return err_set(e, ERR_XAMZ_CONTENT_SHA256_MISMATCH, NULL);
}

static int
verify_md5(struct s3_body *b, struct err *e)
{
	char text[2][32];
	size_t n;

	if (!b->has_md5 || memcmp(b->md5, b->values.v[HASH_MD5], 16) == 0)
		return 0;
	n = base64_encode(b->md5, 16, text[0]);
	s3_extra(b->r, "ExpectedDigest",
	    arena_str(b->r->a, str_mem(text[0], n)));
	n = base64_encode(b->values.v[HASH_MD5], 16, text[1]);
	s3_extra(b->r, "CalculatedDigest",
	    arena_str(b->r->a, str_mem(text[1], n)));
	return err_set(e, ERR_BAD_DIGEST,
	    "The Content-MD5 you specified did not match what we received.");
}

/* Some SDKs put the checksum of an empty body into the URL of an upload: who
 * meets it has not written it, and cannot guess where it comes from. */
static int
bad_checksum(struct s3_body *b, struct err *e)
{
	bool is_url =
	    b->r->auth.kind == AUTH_V4_QUERY && !b->is_trailer &&
	    http_header(b->r->http, checksum_header(b->want.alg)).p == NULL;

	return err_set(e, ERR_BAD_DIGEST,
	    "The %s you specified did not match the calculated checksum.%s",
	    checksum_name(b->want.alg),
	    is_url ? " It is in the presigned URL, whose maker chose it; AWS "
		     "SDKs leave it out with requestChecksumCalculation "
		     "WHEN_REQUIRED."
		   : "");
}

static int
verify_checksum(struct s3_body *b, struct err *e)
{
	const struct header *trailers, *t;
	struct checksum have;
	size_t n = 0;

	if (b->want.alg == CHECKSUM_NONE)
		return 0;
	if (b->is_trailer) {
		trailers = aws_chunked_trailers(b->chunked, &n);
		t = header_find(trailers, n, checksum_header(b->want.alg));
		if (t == NULL)
			return err_set(e, ERR_INVALID_REQUEST,
			    "The announced trailer %s is missing.",
			    checksum_header(b->want.alg));
		if (!checksum_parse(b->want.alg, str_trim(t->value), false,
			&b->want, NULL))
			return err_set(e, ERR_INVALID_REQUEST,
			    "Value for %s trailing header is invalid.",
			    checksum_header(b->want.alg));
	}
	checksum_take(b->want.alg, &b->values, &have);
	return checksum_eq(&b->want, &have) ? 0 : bad_checksum(b, e);
}

static void
take_light(struct s3_body *b)
{
	struct hash_values v;

	hashes_final(&b->light, &v);
	for (unsigned i = 0; i < HASH_ALGS; i++)
		if ((v.mask & HASH_BIT(i)) != 0)
			memcpy(b->values.v[i], v.v[i], sizeof(v.v[i]));
	b->values.mask |= v.mask;
}

static int
verify(struct s3_body *b, struct err *e)
{
	int rc = 0;

	if (b->size != UINT64_MAX && b->got != b->size)
		return err_set(e, ERR_INCOMPLETE_BODY, NULL);
	if (b->hasher != NULL) {
		hand_over(b);
		hasher_wait(b->hasher, hasher_mark(b->hasher));
	}
	hashes_final(&b->hashes, &b->values);
	if (b->hasher != NULL)
		take_light(b);
	rc = verify_hash(b, e);
	if (rc == 0)
		rc = verify_md5(b, e);
	if (rc == 0)
		rc = verify_checksum(b, e);
	return rc;
}

/* --- reading --- */

int
s3_body_read(struct s3_body *b, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	size_t n = 0;
	int rc;

	if (b->is_ended) {
		*ret_len = 0;
		return 0;
	}
	MUST(len > 0);
	if (b->chunked != NULL)
		rc = aws_chunked_read(b->chunked, p, len, &n, e);
	else
		rc = http_read(b->r->http, p, len, &n, e);
	if (rc < 0)
		return rc;
	if (n == 0) {
		rc = verify(b, e);
		b->is_ended = rc == 0;
		*ret_len = 0;
		return rc;
	}
	b->got += n;
	if (b->got > b->max)
		return err_set(e,
		    b->size == UINT64_MAX ? ERR_MAX_MESSAGE_LENGTH
					  : ERR_ENTITY_TOO_LARGE,
		    NULL);
	if (b->got > b->size)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The body is longer than its announced length.");
	digest(b, p, n);
	*ret_len = n;
	return 0;
}

int
s3_body_fill(struct s3_body *b, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	size_t got = 0, n;
	int rc;

	while (got < len && (got == 0 || b->got != b->size)) {
		rc = s3_body_read(b, (char *)p + got, len - got, &n, e);
		if (rc < 0)
			return rc;
		if (n == 0)
			break;
		got += n;
	}
	if (b->hasher != NULL)
		hand_over(b);
	*ret_len = got;
	return 0;
}

int
s3_body_all(struct s3_req *r, size_t max, unsigned flags, struct buf *out,
    struct err *e)
{
	struct s3_body b;
	size_t n, want, charged = 2 * S3_DOC_FREE;
	int rc;

	rc = s3_body_open(r, max, flags, 0, &b, e);
	if (rc < 0)
		return rc;
	for (;;) {
		want = 16 * 1024;
		if (b.size != UINT64_MAX && b.size - b.got < want)
			want = (size_t)(b.size - b.got) + 1;
		rc = buf_reserve(out, want);
		if (rc < 0)
			return rc == ERR_TOO_BIG
			           ? err_set(e, ERR_MAX_MESSAGE_LENGTH, NULL)
			           : s3_no_memory(e);
		if (out->size * 2 > charged) { /* and what is made of it */
			rc = s3_charge(r, out->size * 2 - charged, e);
			if (rc < 0)
				return rc;
			charged = out->size * 2;
		}
		rc = s3_body_read(&b, out->p + out->len, want, &n, e);
		if (rc < 0 || n == 0)
			return rc;
		out->len += n;
	}
}

int
s3_body_none(struct s3_req *r, struct err *e)
{
	static const uint8_t empty[32] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc,
		0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
		0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95,
		0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };
	struct buf buf = BUF_CAP(NONE_MAX + 1);
	int rc;

	if (r->info->content_length <= 0 && !r->info->chunked) {
		if (r->method == M_GET || r->method == M_HEAD ||
		    r->auth.payload != AUTH_PAYLOAD_HASH ||
		    memcmp(r->auth.payload_hash, empty, 32) == 0)
			return 0;
		return err_set(e, ERR_XAMZ_CONTENT_SHA256_MISMATCH, NULL);
	}
	rc = s3_body_all(r, NONE_MAX, 0, &buf, e);
	buf_fini(&buf);
	return rc;
}
