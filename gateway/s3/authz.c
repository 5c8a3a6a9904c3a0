/* gateway/s3/authz.c - who is asking, and may they?
 *
 * A1  The signature is verified before the bucket is looked up, and the
 *     permission is decided before anything about the data is told.
 * A2  An unknown access key costs the same work as a wrong secret. */
#include "gateway/s3/s3_int.h"
#include "lib/clock.h"

#define MAX_SKEW_MS 900000

static void
explain(struct s3_req *r, int code)
{
	const struct auth *au = &r->auth;
	char now[25];

	switch (code) {
	case ERR_SIGNATURE_DOES_NOT_MATCH:
		s3_extra(r, "AWSAccessKeyId", au->access_key);
		s3_extra(r, "StringToSign", au->string_to_sign);
		s3_extra(r, "SignatureProvided", au->signature);
		if (au->canonical_request.len > 0)
			s3_extra(r, "CanonicalRequest", au->canonical_request);
		break;
	case ERR_INVALID_ACCESS_KEY_ID:
		s3_extra(r, "AWSAccessKeyId", au->access_key);
		break;
	case ERR_REQUEST_TIME_TOO_SKEWED:
	case ERR_REQUEST_EXPIRED:
		clock_fmt_iso(r->auth_in.now_s * 1000000000, now);
		if (code == ERR_REQUEST_TIME_TOO_SKEWED) {
			s3_extra(r, "RequestTime", au->amz_date);
			s3_extra_u64(r, "MaxAllowedSkewMilliseconds",
			    MAX_SKEW_MS);
		}
		s3_extra(r, "ServerTime", arena_str(r->a, str_of(now)));
		break;
	default:
		break;
	}
}

int
s3_authenticate(struct s3_req *r, struct err *e)
{
	struct access_key key;
	struct err ignored;
	int rc;

	rc = auth_parse(&r->auth_in, r->a, &r->auth, e);
	if (rc < 0) {
		explain(r, rc);
		return rc;
	}
	if (r->auth.kind == AUTH_ANONYMOUS)
		return 0;
	http_note(r->http)->user = r->auth.access_key;
	rc = key_find(r->s3->conf.store, r->auth.access_key, &key, &r->user, e);
	if (rc < 0 && rc != ERR_NO_SUCH_ACCESS_KEY)
		return rc;
	if (rc == 0) {
		rc = auth_verify(&r->auth, key.secret, r->a, e);
	} else {
		rc = auth_verify(&r->auth, NULL, r->a, &ignored);
		rc = err_set(e, ERR_INVALID_ACCESS_KEY_ID, NULL);
	}
	explicit_bzero(key.secret, sizeof(key.secret));
	if (rc < 0) {
		memset(&r->user, 0, sizeof(r->user));
		explain(r, rc);
		return rc;
	}
	if (r->auth.kind == AUTH_V2_QUERY && r->subresource != NULL &&
	    strcmp(r->subresource, "list-type") != 0 &&
	    !auth_v2_signs(str_of(r->subresource)))
		return err_set(e, ERR_ACCESS_DENIED,
		    "Signature Version 2 does not cover the parameter %s",
		    r->subresource);
	if (r->auth.session_token.len > 0) /* nobody gives these out yet */
		return err_set(e, ERR_INVALID_TOKEN, NULL);
	return 0;
}

int
s3_authorise(struct s3_req *r, const char *action, const struct bucket *b,
    struct str key, struct err *e)
{
	/* For policies and ACLs, which will decide by action and resource. */
	(void)action;
	(void)key;
	if (r->user.id[0] == '\0')
		return err_set(e, ERR_ACCESS_DENIED, NULL);
	if (r->user.is_root || b == NULL ||
	    strcmp(b->owner_id, r->user.id) == 0)
		return 0;
	return err_set(e, ERR_ACCESS_DENIED, NULL);
}

int
s3_check_owner(struct s3_req *r, const char *header, const struct bucket *b,
    struct err *e)
{
	struct str want = s3_header(r, header);

	if (want.p == NULL || str_eqz(want, b->owner_id))
		return 0;
	return err_set(e, ERR_ACCESS_DENIED, NULL);
}

int
s3_enter_bucket(struct s3_req *r, struct err *e)
{
	int rc;

	if (r->user.id[0] == '\0') /* A1: not even whether it exists */
		return err_set(e, ERR_ACCESS_DENIED, NULL);
	if (!bucket_name_is_valid(r->bucket_name)) {
		s3_extra(r, "BucketName", r->bucket_name);
		return err_set(e, ERR_INVALID_BUCKET_NAME, NULL);
	}
	rc = bucket_get(r->s3->conf.store, r->bucket_name, &r->bucket, e);
	if (rc < 0) {
		if (rc == ERR_NO_SUCH_BUCKET)
			s3_extra(r, "BucketName", r->bucket_name);
		return rc;
	}
	rc = s3_authorise(r, r->op->action, &r->bucket, r->key, e);
	if (rc == 0)
		rc = s3_check_owner(r, "x-amz-expected-bucket-owner",
		    &r->bucket, e);
	if (rc == 0 && r->key.len > S3_KEY_MAX) {
		s3_extra_u64(r, "Size", r->key.len);
		s3_extra_u64(r, "MaxSizeAllowed", S3_KEY_MAX);
		return err_set(e, ERR_KEY_TOO_LONG, NULL);
	}
	return rc;
}

void
s3_owner(const struct bucket *b, struct user *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->id, b->owner_id, sizeof(ret->id));
	memcpy(ret->name, b->owner_name, sizeof(ret->name));
}
