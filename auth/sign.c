/* auth/sign.c - signing what we send: URLs and requests. */
#include "auth/auth.h"
#include "auth/query.h"
#include "auth/sigv4.h"
#include "lib/clock.h"

#define SIGN_MEMORY (1u << 20)

/* Signature of @v under the scope of @date and @region, as hex. */
static int
sign(const struct sigv4 *v, struct str amz_date, struct str scope,
    struct str secret, struct str region, struct arena *a, char ret[65],
    struct err *e)
{
	struct str canonical, text;
	struct hmac_key key;
	uint8_t mac[32];
	int rc;

	rc = sigv4_canonical(v, a, &canonical, e);
	if (rc == 0)
		rc = sigv4_string_to_sign(amz_date, scope, canonical, a, &text,
		    e);
	if (rc < 0)
		return rc;
	sigv4_key(secret, str_sub(amz_date, 0, 8), region, STR_LIT("s3"), &key,
	    NULL);
	hmac_sign(&key, text, mac);
	hmac_wipe(&key);
	hex_encode(mac, sizeof(mac), ret);
	ret[64] = '\0';
	return 0;
}

/* What clients put into Host: without the scheme's own port. */
static struct str
host_of(struct str base)
{
	bool tls = str_has_prefix(base, STR_LIT("https://"));
	struct str port = tls ? STR_LIT(":443") : STR_LIT(":80");
	ptrdiff_t at = str_find(base, STR_LIT("://"));

	if (at >= 0)
		base = str_skip(base, (size_t)at + 3);
	while (base.len > 0 && base.p[base.len - 1] == '/')
		base.len--;
	if (str_has_suffix(base, port))
		base.len -= port.len;
	return base;
}

static int
add_query(struct buf *b, const struct header *q, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = buf_addc(b, i == 0 ? '?' : '&');
		if (rc == 0)
			rc = buf_add_pct(b, q[i].name, false);
		if (rc == 0)
			rc = buf_addc(b, '=');
		if (rc == 0)
			rc = buf_add_pct(b, q[i].value, false);
	}
	return rc;
}

int
auth_presign(struct str method, struct str base, struct str path,
    const struct header *params, size_t n_params, struct str access_key,
    struct str secret, struct str region, int64_t now_s, unsigned expires_s,
    struct buf *ret, struct err *e)
{
	struct header host = { STR_LIT("host"), host_of(base) }, *q;
	struct arena *a = arena_new(SIGN_MEMORY);
	struct str scope, cred, expires;
	size_t before = ret->len, n = n_params;
	char date[17], sig[65];
	struct sigv4 v;
	int rc;

	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	clock_fmt_basic(now_s, date);
	scope = arena_fmt(a, "%.8s/" STR_FMT "/s3/aws4_request", date,
	    STR_ARG(region));
	cred = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(access_key),
	    STR_ARG(scope));
	expires = arena_fmt(a, "%u", expires_s);
	q = arena_alloc(a, (n_params + 6) * sizeof(*q));
	if (scope.p == NULL || cred.p == NULL || expires.p == NULL ||
	    q == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, NULL);
		goto out;
	}
	if (n_params > 0)
		memcpy(q, params, n_params * sizeof(*q));
	q[n++] = (struct header){ STR_LIT("X-Amz-Algorithm"),
		STR_LIT("AWS4-HMAC-SHA256") };
	q[n++] = (struct header){ STR_LIT("X-Amz-Credential"), cred };
	q[n++] = (struct header){ STR_LIT("X-Amz-Date"), str_of(date) };
	q[n++] = (struct header){ STR_LIT("X-Amz-Expires"), expires };
	q[n++] =
	    (struct header){ STR_LIT("X-Amz-SignedHeaders"), STR_LIT("host") };
	v = (struct sigv4){
		.method = method,
		.path = path,
		.payload = STR_LIT("UNSIGNED-PAYLOAD"),
		.signed_headers = STR_LIT("host"),
		.params = q,
		.n_params = n,
		.is_query = true,
		.headers = &host,
		.n_headers = 1,
	};
	rc = sign(&v, str_of(date), scope, secret, region, a, sig, e);
	if (rc < 0)
		goto out;
	q[n++] = (struct header){ STR_LIT("X-Amz-Signature"), str_of(sig) };
	while (base.len > 0 && base.p[base.len - 1] == '/')
		base.len--;
	rc = buf_adds(ret, base);
	if (rc == 0)
		rc = path.len == 0 ? buf_addc(ret, '/') : buf_adds(ret, path);
	if (rc == 0)
		rc = add_query(ret, q, n);
	if (rc < 0) {
		ret->len = before;
		err_set(e, rc, NULL);
	}
out:
	arena_free(&a);
	return rc;
}

/* Names in lower case, sorted, each once, joined with ';'. */
static int
signed_names(const struct header *h, size_t n, struct arena *a, struct str *ret,
    struct err *e)
{
	struct str *names = arena_alloc(a, n * sizeof(*names));
	struct cat c = { 0 };
	size_t k = 0;

	if (names == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < n; i++) {
		char *p = arena_alloc(a, h[i].name.len);
		struct str name;
		size_t at;

		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		for (size_t j = 0; j < h[i].name.len; j++) {
			char x = h[i].name.p[j];

			p[j] = (char)(x >= 'A' && x <= 'Z' ? x + 32 : x);
		}
		name = str_mem(p, h[i].name.len);
		for (at = 0; at < k && str_cmp(names[at], name) < 0; at++)
			;
		if (at < k && str_eq(names[at], name))
			continue;
		memmove(names + at + 1, names + at, (k - at) * sizeof(*names));
		names[at] = name;
		k++;
		c.size += name.len + 1;
	}
	c.p = arena_alloc(a, c.size);
	if (c.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < k; i++) {
		if (i > 0)
			cat_c(&c, ';');
		cat_str(&c, names[i]);
	}
	*ret = str_mem(c.p, c.len);
	return 0;
}

int
auth_sign(struct str method, struct str path, struct str query,
    const struct header *headers, size_t n, struct str access_key,
    struct str secret, struct str region, int64_t now_s, struct buf *ret_value,
    struct err *e)
{
	const struct header *payload =
	    header_find(headers, n, "x-amz-content-sha256");
	struct arena *a = arena_new(SIGN_MEMORY);
	struct sigv4 v = { .method = method,
		.path = path,
		.headers = headers,
		.n_headers = n };
	struct header *params;
	char date[17], sig[65];
	struct str scope;
	int rc;

	MUST(payload != NULL && header_find(headers, n, "host") != NULL &&
	     header_find(headers, n, "x-amz-date") != NULL);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	v.payload = payload->value;
	clock_fmt_basic(now_s, date);
	scope = arena_fmt(a, "%.8s/" STR_FMT "/s3/aws4_request", date,
	    STR_ARG(region));
	rc = scope.p == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;
	if (rc == 0)
		rc = query_parse(query, a, &params, &v.n_params, e);
	if (rc == 0)
		rc = signed_names(headers, n, a, &v.signed_headers, e);
	if (rc < 0)
		goto out;
	v.params = params;
	rc = sign(&v, str_of(date), scope, secret, region, a, sig, e);
	if (rc < 0)
		goto out;
	rc = buf_addf(ret_value,
	    "AWS4-HMAC-SHA256 Credential=" STR_FMT "/" STR_FMT
	    ",SignedHeaders=" STR_FMT ",Signature=%s",
	    STR_ARG(access_key), STR_ARG(scope), STR_ARG(v.signed_headers),
	    sig);
	if (rc < 0)
		err_set(e, rc, NULL);
out:
	arena_free(&a);
	return rc;
}
