/* auth/parse.c - what a request claims, and every rule but the signature.
 *
 * A1  A request makes at most one claim of identity: one Authorization header,
 *     or V4 parameters, or V2 parameters; else it is refused.
 * A2  With V4 the host and all x-amz-* headers are signed (but x-amz-cf-id,
 *     which CloudFront adds on the way); with V2 they always are. */
#include "auth/auth.h"

#include "auth/query.h"
#include "auth/sigv4.h"
#include "lib/clock.h"

#define SKEW_S (15 * 60)
#define MAX_EXPIRES_S 604800
#define MAX_SIGNED_HEADERS 128

#define NEED_DATE                                                              \
	"AWS authentication requires a valid Date or x-amz-date header"
#define ONE_MECHANISM                                                          \
	"Only one auth mechanism allowed; only the X-Amz-Algorithm query "     \
	"parameter, Signature query string parameter or the Authorization "    \
	"header should be specified"

struct parse {
	const struct auth_input *in;
	struct auth *au;
	struct err *e;
};

/* --- lookups --- */

/* The first of that name in any case, and how many there are. */
static const struct header *
find(const struct header *h, size_t n_headers, const char *name, size_t *ret_n)
{
	const struct header *first = NULL;
	struct str s = str_of(name);
	size_t n = 0;

	for (size_t i = 0; i < n_headers; i++) {
		if (!str_ieq(h[i].name, s))
			continue;
		if (first == NULL)
			first = &h[i];
		n++;
	}
	if (ret_n != NULL)
		*ret_n = n;
	return first;
}

static const struct header *
find_header(const struct auth_input *in, const char *name, size_t *ret_n)
{
	return find(in->headers, in->n_headers, name, ret_n);
}

/* V4 parameters in any case: a lower-case x-amz-signature is a claim too. */
static const struct header *
find_param(const struct auth *au, const char *name, size_t *ret_n)
{
	return find(au->params, au->n_params, name, ret_n);
}

/* A V4 claim that is not well-formed, with the code of where it stands. */
static int
malformed(struct parse *p, const char *what)
{
	if (p->au->kind == AUTH_V4_QUERY)
		return err_set(p->e, ERR_AUTH_QUERY_PARAMETERS, "%s", what);
	return err_set(p->e, ERR_AUTH_HEADER_MALFORMED,
	    "The authorization header is malformed; %s", what);
}

/* --- payload --- */

static int
parse_payload(struct parse *p, struct str v)
{
	static const struct {
		const char *value;
		enum auth_payload payload;
	} known[] = {
		{ "UNSIGNED-PAYLOAD", AUTH_PAYLOAD_UNSIGNED },
		{ "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", AUTH_PAYLOAD_STREAM },
		{ "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
		    AUTH_PAYLOAD_STREAM_TRAILER },
		{ "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		    AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER },
	};
	struct auth *au = p->au;

	au->payload_value = v;
	if (v.len == 64 && hex_decode(v, au->payload_hash)) {
		au->payload = AUTH_PAYLOAD_HASH;
		return 0;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!str_eqz(v, known[i].value))
			continue;
		au->payload = known[i].payload;
		if ((au->payload == AUTH_PAYLOAD_STREAM ||
			au->payload == AUTH_PAYLOAD_STREAM_TRAILER) &&
		    au->kind != AUTH_V4_HEADER && au->kind != AUTH_V4_QUERY)
			break; /* nothing to chain the chunks to */
		return 0;
	}
	if (str_has_prefix(v, STR_LIT("STREAMING-AWS4-ECDSA-P256-SHA256-")))
		return err_set(p->e, ERR_NOT_IMPLEMENTED,
		    "SigV4A (ECDSA) signatures are not implemented");
	return err_set(p->e, ERR_INVALID_ARGUMENT,
	    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
	    "STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
	    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
	    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 "
	    "value.");
}

/* The header, else (in a signed URL) the parameter of that name. */
static int
payload(struct parse *p)
{
	const struct header *h, *q = NULL;
	size_t n, n_query = 0;

	h = find_header(p->in, "x-amz-content-sha256", &n);
	if (p->au->kind == AUTH_V4_QUERY)
		q = find_param(p->au, "x-amz-content-sha256", &n_query);
	if (n > 1 || n_query > 1 ||
	    (h != NULL && q != NULL && !str_eq(h->value, q->value)))
		return err_set(p->e, ERR_INVALID_ARGUMENT,
		    "x-amz-content-sha256 must be given once");
	if (h == NULL)
		h = q;
	if (h != NULL)
		return parse_payload(p, str_trim(h->value));
	p->au->payload = AUTH_PAYLOAD_NONE;
	p->au->payload_value = STR_LIT("UNSIGNED-PAYLOAD");
	if (p->au->kind == AUTH_V4_HEADER)
		return err_set(p->e, ERR_INVALID_REQUEST,
		    "Missing required header for this request: "
		    "x-amz-content-sha256");
	return 0;
}

/* --- dates --- */

static int
check_skew(struct parse *p)
{
	int64_t d = p->in->now_s - p->au->signed_at_s;

	if (d > SKEW_S || d < -SKEW_S)
		return err_set(p->e, ERR_REQUEST_TIME_TOO_SKEWED, NULL);
	return 0;
}

/* RFC 9110's forms, with +0000 or UTC for GMT too (RFC 822, in old clients). */
static int64_t
parse_http_date(struct str s)
{
	char z[40];

	s = str_trim(s);
	if (s.len >= 5 && s.len < sizeof(z)) {
		size_t cut = 0;

		if (str_has_suffix(s, STR_LIT("+0000")))
			cut = 5;
		else if (str_has_suffix(s, STR_LIT("UTC")))
			cut = 3;
		if (cut > 0) {
			memcpy(z, s.p, s.len - cut);
			memcpy(z + s.len - cut, "GMT", 3);
			return clock_parse_http(z, s.len - cut + 3);
		}
	}
	return clock_parse_http(s.p, s.len);
}

static int64_t
parse_any_date(struct str s)
{
	int64_t t;

	s = str_trim(s);
	t = clock_parse_basic(s.p, s.len);
	return t >= 0 ? t : parse_http_date(s);
}

/* x-amz-date, else Date; once each. STR_NULL: neither. */
static int
date_header(struct parse *p, struct str *ret, bool *ret_is_amz)
{
	const struct header *h;
	size_t n;

	h = find_header(p->in, "x-amz-date", &n);
	*ret_is_amz = h != NULL;
	if (h == NULL)
		h = find_header(p->in, "date", &n);
	if (h == NULL || n > 1)
		return err_set(p->e, ERR_ACCESS_DENIED, NEED_DATE);
	*ret = str_trim(h->value);
	return 0;
}

/* --- Signature Version 4 --- */

/* "AKID/20130524/us-east-1/s3/aws4_request"; an access key may hold '/'. */
static int
parse_credential(struct parse *p, struct str v)
{
	struct str part[4], all = v;
	struct auth *au = p->au;

	for (int i = 3; i >= 0; i--) {
		ptrdiff_t at = str_rchr(v, '/');

		if (at < 0)
			return malformed(p,
			    "the Credential is mal-formed; expecting "
			    "\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/"
			    "aws4_request\".");
		part[i] = str_skip(v, (size_t)at + 1);
		v.len = (size_t)at;
	}
	if (v.len == 0)
		return malformed(p,
		    "a non-empty Access Key (AKID) must be provided in the "
		    "credential.");
	au->access_key = v;
	au->date = part[0];
	au->region = part[1];
	au->scope = str_skip(all, v.len + 1);
	if (au->date.len != 8)
		return malformed(p, "the credential's date is not YYYYMMDD.");
	if (au->region.len == 0)
		return malformed(p, "the credential's region is empty.");
	if (!str_eq(part[2], p->in->service))
		return malformed(p,
		    "incorrect service. This endpoint belongs to \"s3\".");
	if (!str_eq(part[3], STR_LIT("aws4_request")))
		return malformed(p, "incorrect terminal. This endpoint uses "
				    "\"aws4_request\".");
	return 0;
}

/* Names once each; host and all x-amz-* among them (A2). */
static int
check_signed_headers(struct parse *p)
{
	struct str names[MAX_SIGNED_HEADERS], list = p->au->signed_headers;
	bool has_host = false;
	size_t n = 0;

	while (n < MAX_SIGNED_HEADERS && sigv4_next_name(&list, &names[n])) {
		for (size_t i = 0; i < n; i++) {
			if (str_ieq(names[i], names[n]))
				return malformed(p,
				    "SignedHeaders names a header twice.");
		}
		has_host |= str_eq(names[n], STR_LIT("host"));
		n++;
	}
	if (list.p != NULL)
		return malformed(p, "SignedHeaders is too long.");
	if (!has_host)
		return err_set(p->e, ERR_ACCESS_DENIED,
		    "There were headers present in the request which were "
		    "not signed: host");
	for (size_t i = 0; i < p->in->n_headers; i++) {
		struct str name = p->in->headers[i].name;
		bool is_signed = false;

		if (!str_ieq(str_sub(name, 0, 6), STR_LIT("x-amz-")) ||
		    str_ieq(name, STR_LIT("x-amz-cf-id")))
			continue;
		for (size_t k = 0; k < n && !is_signed; k++)
			is_signed = str_ieq(names[k], name);
		if (!is_signed)
			return err_set(p->e, ERR_ACCESS_DENIED,
			    "There were headers present in the request which "
			    "were not signed: %.*s",
			    (int)(name.len < 100 ? name.len : 100), name.p);
	}
	return 0;
}

static int
session_token(struct parse *p, bool with_params)
{
	const struct header *h, *q = NULL;
	size_t n, n_query = 0;

	h = find_header(p->in, "x-amz-security-token", &n);
	if (with_params)
		q = find_param(p->au, "x-amz-security-token", &n_query);
	if (n + n_query > 1 &&
	    !(n == 1 && n_query == 1 && str_eq(h->value, q->value)))
		return err_set(p->e, ERR_INVALID_TOKEN,
		    "x-amz-security-token must be given once");
	if (h == NULL)
		h = q;
	if (h != NULL)
		p->au->session_token = str_trim(h->value);
	return 0;
}

static int
v4_scope_date(struct parse *p, char basic[17])
{
	if (memcmp(p->au->date.p, basic, 8) != 0)
		return malformed(p,
		    "Invalid credential date. This date is not the same as "
		    "X-Amz-Date.");
	return 0;
}

/* Fields of the Authorization header behind the algorithm. */
static int
v4_fields(struct parse *p, struct str v)
{
	struct str cred = STR_NULL, names = STR_NULL, sig = STR_NULL;
	struct {
		const char *name;
		struct str *value;
	} fields[] = { { "Credential", &cred }, { "SignedHeaders", &names },
		{ "Signature", &sig } };

	while (v.p != NULL) {
		struct str value = str_trim(str_split(&v, ',')), name;
		size_t i;

		if (value.len == 0)
			continue;
		name = str_split(&value, '=');
		for (i = 0; i < 3 && !str_eqz(name, fields[i].name); i++)
			;
		if (i == 3 || fields[i].value->p != NULL || value.len == 0)
			return malformed(p,
			    "it must hold Credential, SignedHeaders and "
			    "Signature once each, and nothing else.");
		*fields[i].value = value;
	}
	if (cred.p == NULL || names.p == NULL || sig.p == NULL)
		return malformed(p,
		    "the authorization header requires three components: "
		    "Credential, SignedHeaders, and Signature.");
	p->au->signed_headers = names;
	p->au->signature = sig;
	return parse_credential(p, cred);
}

static int
parse_v4_header(struct parse *p, struct str v, struct arena *a)
{
	struct auth *au = p->au;
	char basic[17];
	struct str date;
	bool is_amz;
	int rc;

	au->kind = AUTH_V4_HEADER;
	rc = v4_fields(p, v);
	if (rc == 0)
		rc = date_header(p, &date, &is_amz);
	if (rc < 0)
		return rc;
	au->signed_at_s = parse_any_date(date);
	if (au->signed_at_s < 0)
		return err_set(p->e, ERR_ACCESS_DENIED, NEED_DATE);
	clock_fmt_basic(au->signed_at_s, basic);
	au->amz_date = arena_str(a, str_mem(basic, 16));
	if (au->amz_date.p == NULL)
		return err_set(p->e, ERR_NO_MEMORY, NULL);
	rc = check_skew(p);
	if (rc == 0)
		rc = v4_scope_date(p, basic);
	if (rc == 0)
		rc = check_signed_headers(p);
	if (rc == 0)
		rc = session_token(p, false);
	return rc;
}

static int
v4_expiry(struct parse *p, struct str v)
{
	struct auth *au = p->au;
	uint64_t s;

	if (v.len > 1 && *v.p == '-' &&
	    str_to_u64(str_skip(v, 1), UINT64_MAX, &s))
		return malformed(p, "X-Amz-Expires must be non-negative");
	if (!str_to_u64(v, UINT64_MAX, &s))
		return malformed(p, "X-Amz-Expires should be a number");
	if (s == 0 || s > MAX_EXPIRES_S)
		return malformed(p,
		    "X-Amz-Expires must be at least one second and at most a "
		    "week (in seconds); that is, the given X-Amz-Expires must "
		    "be less than 604800 seconds");
	au->expires_at_s = au->signed_at_s + (int64_t)s;
	if (au->signed_at_s - p->in->now_s > SKEW_S)
		return err_set(p->e, ERR_ACCESS_DENIED,
		    "Request is not valid yet");
	if (p->in->now_s > au->expires_at_s)
		return err_set(p->e, ERR_REQUEST_EXPIRED, NULL);
	return 0;
}

static int
parse_v4_query(struct parse *p)
{
	static const char *const names[] = { "X-Amz-Algorithm",
		"X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date",
		"X-Amz-SignedHeaders", "X-Amz-Expires" };
	struct str v[6];
	struct auth *au = p->au;
	char basic[17];
	int rc;

	au->kind = AUTH_V4_QUERY;
	for (size_t i = 0; i < 6; i++) {
		const struct header *h;
		size_t n;

		h = find_param(au, names[i], &n);
		if (n != 1 || h->value.len == 0)
			return malformed(p,
			    "Query-string authentication version 4 requires "
			    "the X-Amz-Algorithm, X-Amz-Credential, "
			    "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, "
			    "and X-Amz-Expires parameters, once each.");
		v[i] = h->value;
	}
	if (str_eq(v[0], STR_LIT("AWS4-ECDSA-P256-SHA256")))
		return err_set(p->e, ERR_NOT_IMPLEMENTED,
		    "SigV4A (ECDSA) signatures are not implemented");
	if (!str_eq(v[0], STR_LIT("AWS4-HMAC-SHA256")))
		return malformed(p,
		    "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"");
	rc = parse_credential(p, v[1]);
	if (rc < 0)
		return rc;
	au->signature = v[2];
	au->amz_date = v[3];
	au->signed_headers = v[4];
	au->signed_at_s = clock_parse_basic(v[3].p, v[3].len);
	if (au->signed_at_s < 0)
		return malformed(p,
		    "X-Amz-Date must be in the ISO8601 Long Format "
		    "\"yyyyMMdd'T'HHmmss'Z'\"");
	clock_fmt_basic(au->signed_at_s, basic);
	rc = v4_scope_date(p, basic);
	if (rc == 0)
		rc = v4_expiry(p, v[5]);
	if (rc == 0)
		rc = check_signed_headers(p);
	if (rc == 0)
		rc = session_token(p, true);
	return rc;
}

/* --- Signature Version 2 --- */

static int
parse_v2_header(struct parse *p, struct str v)
{
	struct auth *au = p->au;
	ptrdiff_t at;
	struct str date;
	bool is_amz;
	int rc;

	au->kind = AUTH_V2_HEADER;
	v = str_trim(v);
	at = str_rchr(v, ':');
	if (at <= 0 || (size_t)at + 1 == v.len || str_chr(v, ' ') >= 0)
		return err_set(p->e, ERR_INVALID_ARGUMENT,
		    "AWS authorization header is invalid. Expected "
		    "AwsAccessKeyId:signature");
	au->access_key = str_sub(v, 0, (size_t)at);
	au->signature = str_skip(v, (size_t)at + 1);
	rc = date_header(p, &date, &is_amz);
	if (rc < 0)
		return rc;
	au->signed_at_s = parse_any_date(date);
	if (au->signed_at_s < 0)
		return err_set(p->e, ERR_ACCESS_DENIED, NEED_DATE);
	au->amz_date = date;
	au->v2_date = is_amz ? STR_NULL : date;
	rc = check_skew(p);
	return rc < 0 ? rc : session_token(p, false);
}

static int
parse_v2_query(struct parse *p)
{
	static const char *const names[] = { "AWSAccessKeyId", "Signature",
		"Expires" };
	struct auth *au = p->au;
	struct str v[3];
	uint64_t s;

	au->kind = AUTH_V2_QUERY;
	for (size_t i = 0; i < 3; i++) {
		size_t n = 0;

		for (size_t k = 0; k < au->n_params; k++) {
			if (!str_eqz(au->params[k].name, names[i]))
				continue;
			v[i] = au->params[k].value;
			n++;
		}
		if (n != 1 || v[i].len == 0)
			return err_set(p->e, ERR_ACCESS_DENIED,
			    "Query-string authentication requires the "
			    "Signature, Expires and AWSAccessKeyId "
			    "parameters");
	}
	if (!str_to_u64(v[2], INT64_MAX, &s))
		return err_set(p->e, ERR_ACCESS_DENIED,
		    "Invalid date (should be seconds since epoch)");
	au->access_key = v[0];
	au->signature = v[1];
	au->v2_date = v[2];
	au->expires_at_s = (int64_t)s;
	if (p->in->now_s > au->expires_at_s)
		return err_set(p->e, ERR_REQUEST_EXPIRED, NULL);
	return session_token(p, true);
}

/* --- the whole --- */

static int
parse_header(struct parse *p, struct str v, struct arena *a)
{
	if (str_has_prefix(v, STR_LIT("AWS4-HMAC-SHA256 ")) ||
	    str_has_prefix(v, STR_LIT("AWS4-HMAC-SHA256\t")) ||
	    str_eq(v, STR_LIT("AWS4-HMAC-SHA256")))
		return parse_v4_header(p, str_skip(v, 16), a);
	if (str_has_prefix(v, STR_LIT("AWS4-ECDSA-P256-SHA256")))
		return err_set(p->e, ERR_NOT_IMPLEMENTED,
		    "SigV4A (ECDSA) signatures are not implemented");
	if (str_has_prefix(v, STR_LIT("AWS ")))
		return parse_v2_header(p, str_skip(v, 4));
	return err_set(p->e, ERR_INVALID_ARGUMENT,
	    "Unsupported Authorization Type");
}

static bool
claims_v4(const struct auth *au)
{
	return find_param(au, "X-Amz-Algorithm", NULL) != NULL ||
	       find_param(au, "X-Amz-Signature", NULL) != NULL ||
	       find_param(au, "X-Amz-Credential", NULL) != NULL;
}

int
auth_parse(const struct auth_input *in, struct arena *a, struct auth *ret,
    struct err *e)
{
	struct parse p = { .in = in, .au = ret, .e = e };
	const struct header *h;
	struct header *params;
	bool v2 = false, v4 = false;
	struct str value = STR_NULL;
	size_t n;
	int rc = 0;

	*ret = (struct auth){ .kind = AUTH_ANONYMOUS, .in = in };
	ret->params = in->params;
	ret->n_params = in->n_params;
	if (in->params == NULL) {
		rc = query_parse(in->query, a, &params, &ret->n_params, e);
		if (rc < 0)
			return rc;
		ret->params = params;
	}
	h = find_header(in, "authorization", &n);
	if (h != NULL)
		value = str_trim(h->value);
	if (ret->n_params > 0) {
		v4 = claims_v4(ret);
		v2 = query_find(ret->params, ret->n_params, "Signature") !=
		         NULL ||
		     query_find(ret->params, ret->n_params, "AWSAccessKeyId") !=
		         NULL;
	}
	if (n > 1 || (n > 0 && (v2 || v4)) || (v2 && v4))
		return err_set(e, ERR_INVALID_ARGUMENT, ONE_MECHANISM);
	if (v4)
		rc = parse_v4_query(&p);
	else if (v2)
		rc = parse_v2_query(&p);
	else if (h != NULL && value.len == 0)
		rc = err_set(e, ERR_ACCESS_DENIED, NULL);
	else if (h != NULL)
		rc = parse_header(&p, value, a);
	return rc < 0 ? rc : payload(&p);
}
