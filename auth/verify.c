/* auth/verify.c - does the signature match? */
#include "auth/auth.h"
#include "auth/sigv2.h"
#include "auth/sigv4.h"

/* What an unknown access key is checked with, so that it costs the same. */
#define DUMMY_SECRET "wrong/wrong/wrong/wrong/wrong/wrong/wron"

static int
verify_v4(struct auth *au, struct str secret, struct arena *a, bool *ret_match,
    struct err *e)
{
	struct sigv4 v = {
		.method = au->in->method,
		.path = au->in->path,
		.payload = au->payload_value,
		.signed_headers = au->signed_headers,
		.params = au->params,
		.n_params = au->n_params,
		.is_query = au->kind == AUTH_V4_QUERY,
		.headers = au->in->headers,
		.n_headers = au->in->n_headers,
	};
	struct hmac_key key;
	uint8_t mac[32];
	char hex[64];
	int rc;

	rc = sigv4_canonical(&v, a, &au->canonical_request, e);
	if (rc == 0)
		rc = sigv4_string_to_sign(au->amz_date, au->scope,
		    au->canonical_request, a, &au->string_to_sign, e);
	if (rc < 0)
		return rc;
	sigv4_key(secret, au->date, au->region, au->in->service, &key,
	    au->signing_key);
	hmac_sign(&key, au->string_to_sign, mac);
	hmac_wipe(&key);
	hex_encode(mac, sizeof(mac), hex);
	*ret_match = str_eq_secret(str_mem(hex, sizeof(hex)), au->signature);
	return 0;
}

static int
match_v2(struct auth *au, const struct auth_input *in, struct str secret,
    struct arena *a, bool *ret_match, struct err *e)
{
	char sig[29];
	int rc;

	rc = sigv2_string_to_sign(in, au->params, au->n_params,
	    au->kind == AUTH_V2_QUERY, au->v2_date, a, &au->string_to_sign, e);
	if (rc == 0)
		rc = sigv2_sign(secret, au->string_to_sign, a, sig, e);
	if (rc < 0)
		return rc;
	*ret_match = str_eq_secret(str_mem(sig, 28), au->signature);
	return 0;
}

/* "/bucket" with nothing after it: the same resource as "/bucket/", and what
 * botocore signs for it, since AWS wants it so. Others sign what they send. */
static bool
is_bucket_path(const struct auth_input *in)
{
	return in->bucket_vhost.len == 0 && in->path.len > 1 &&
	       in->path.p[0] == '/' &&
	       str_chr(str_skip(in->path, 1), '/') < 0 &&
	       str_chr(in->path, '%') < 0;
}

static int
verify_v2(struct auth *au, struct str secret, struct arena *a, bool *ret_match,
    struct err *e)
{
	struct auth_input slash = *au->in;
	int rc = match_v2(au, au->in, secret, a, ret_match, e);

	if (rc < 0 || *ret_match || !is_bucket_path(au->in))
		return rc;
	slash.path = arena_fmt(a, STR_FMT "/", STR_ARG(au->in->path));
	if (slash.path.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return match_v2(au, &slash, secret, a, ret_match, e);
}

int
auth_verify(struct auth *au, const char *secret, struct arena *a, struct err *e)
{
	/* An empty secret is no secret: nobody proves anything with it. */
	bool known = secret != NULL && *secret != '\0', match = false;
	struct str s = str_of(known ? secret : DUMMY_SECRET);
	int rc;

	MUST(au->kind != AUTH_ANONYMOUS);
	if (au->kind == AUTH_V4_HEADER || au->kind == AUTH_V4_QUERY)
		rc = verify_v4(au, s, a, &match, e);
	else
		rc = verify_v2(au, s, a, &match, e);
	if (rc == 0 && known && match)
		return 0;
	explicit_bzero(au->signing_key, sizeof(au->signing_key));
	if (rc < 0)
		return rc;
	if (!known) {
		au->canonical_request = STR_NULL;
		au->string_to_sign = STR_NULL;
		return err_set(e, ERR_INVALID_ACCESS_KEY_ID, NULL);
	}
	return err_set(e, ERR_SIGNATURE_DOES_NOT_MATCH, NULL);
}
