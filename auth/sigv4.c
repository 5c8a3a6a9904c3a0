/* auth/sigv4.c - canonical request, string to sign, signing key. */
#include "auth/sigv4.h"

#include "auth/query.h"

#include <stdlib.h>

void
cat_mem(struct cat *c, const void *p, size_t len)
{
	if (len > c->size - c->len) {
		c->full = true;
		return;
	}
	if (len > 0)
		memcpy(c->p + c->len, p, len);
	c->len += len;
}

/* 1 = stays as it is in a URI, 2 = '/'. */
static const uint8_t uri_class[256] = {
	['-'] = 1,
	['.'] = 1,
	['/'] = 2,
	['0' ... '9'] = 1,
	['A' ... 'Z'] = 1,
	['_'] = 1,
	['a' ... 'z'] = 1,
	['~'] = 1,
};

static void
cat_pct(struct cat *c, struct str s, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t from = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char x = (unsigned char)s.p[i];
		char esc[3] = { '%', hex[x >> 4], hex[x & 15] };

		if (uri_class[x] == 1 || (uri_class[x] == 2 && keep_slash))
			continue;
		cat_mem(c, s.p + from, i - from);
		cat_mem(c, esc, sizeof(esc));
		from = i + 1;
	}
	if (from < s.len)
		cat_mem(c, s.p + from, s.len - from);
}

bool
sigv4_next_name(struct str *list, struct str *ret)
{
	if (list->p == NULL)
		return false;
	*ret = str_split(list, ';');
	return true;
}

/* --- query --- */

/* Encoded forms, for the order is theirs. */
static int
compare_encoded(const void *x, const void *y)
{
	const struct header *a = x, *b = y;
	int d = str_cmp(a->name, b->name);

	return d != 0 ? d : str_cmp(a->value, b->value);
}

static bool
is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (uri_class[(unsigned char)s.p[i]] != 1)
			return false;
	}
	return true;
}

static int
encode(struct str *s, struct arena *a, struct err *e)
{
	struct cat c = { .size = s->len * 3 };

	if (is_plain(*s))
		return 0;
	c.p = arena_alloc(a, c.size);
	if (c.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	cat_pct(&c, *s, false);
	*s = str_mem(c.p, c.len);
	return 0;
}

static int
encode_params(const struct sigv4 *v, struct arena *a, struct header **ret,
    size_t *ret_n, size_t *ret_size, struct err *e)
{
	struct header *q;
	size_t n = 0;

	*ret_size = 0;
	*ret_n = 0;
	*ret = NULL;
	if (v->n_params == 0)
		return 0;
	q = arena_alloc(a, v->n_params * sizeof(*q));
	if (q == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < v->n_params; i++) {
		int rc;

		if (v->is_query &&
		    str_ieq(v->params[i].name, STR_LIT("X-Amz-Signature")))
			continue;
		q[n] = v->params[i];
		rc = encode(&q[n].name, a, e);
		if (rc == 0)
			rc = encode(&q[n].value, a, e);
		if (rc < 0)
			return rc;
		*ret_size += q[n].name.len + q[n].value.len + 2;
		n++;
	}
	/* A handful is the rule; qsort() would cost more than that. */
	if (n > 16) {
		qsort(q, n, sizeof(*q), compare_encoded);
	} else {
		for (size_t i = 1; i < n; i++) {
			struct header h = q[i];
			size_t k = i;

			for (; k > 0 && compare_encoded(&q[k - 1], &h) > 0; k--)
				q[k] = q[k - 1];
			q[k] = h;
		}
	}
	*ret = q;
	*ret_n = n;
	return 0;
}

/* --- headers --- */

/* Blanks at the ends go, several inside become one. */
static void
cat_value(struct cat *c, struct str v)
{
	v = str_trim(v);
	for (;;) {
		ptrdiff_t at = str_find(v, STR_LIT("  "));

		if (at < 0)
			break;
		cat_mem(c, v.p, (size_t)at + 1);
		v = str_skip(v, (size_t)at + 1);
		while (v.len > 0 && *v.p == ' ')
			v = str_skip(v, 1);
	}
	cat_str(c, v);
}

static void
cat_header(struct cat *c, const struct sigv4 *v, struct str name)
{
	bool first = true;

	cat_str(c, name);
	cat_c(c, ':');
	for (size_t i = 0; i < v->n_headers; i++) {
		if (!str_ieq(v->headers[i].name, name))
			continue;
		if (!first)
			cat_c(c, ',');
		first = false;
		cat_value(c, v->headers[i].value);
	}
	/* Proxies consume this one (nginx answers it by itself). */
	if (first && str_eq(name, STR_LIT("expect")))
		cat_str(c, STR_LIT("100-continue"));
	cat_c(c, '\n');
}

/* --- the whole --- */

/* AWS signs the path as it is decoded once and encoded anew, so that clients
 * which escape more or less than it does are understood. */
static int
cat_path(struct cat *c, struct str path, struct arena *a, struct err *e)
{
	if (path.len == 0) {
		cat_c(c, '/');
		return 0;
	}
	if (str_chr(path, '%') >= 0) {
		char *d = arena_alloc(a, path.len);
		size_t len;

		if (d == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		if (!pct_decode(path, false, d, &len))
			return err_set(e, ERR_INVALID_URI, NULL);
		path = str_mem(d, len);
	}
	cat_pct(c, path, true);
	return 0;
}

int
sigv4_canonical(const struct sigv4 *v, struct arena *a, struct str *ret,
    struct err *e)
{
	struct str list = v->signed_headers, name;
	size_t n = 0, query_size;
	struct header *q = NULL;
	struct cat c = { 0 };
	int rc;

	rc = encode_params(v, a, &q, &n, &query_size, e);
	if (rc < 0)
		return rc;
	/* Each header is signed once (auth_parse() refuses repeated names). */
	c.size = v->method.len + 3 * v->path.len + query_size +
	         3 * v->signed_headers.len + v->payload.len + 32;
	for (size_t i = 0; i < v->n_headers; i++)
		c.size += v->headers[i].value.len + 1;
	c.p = arena_alloc(a, c.size);
	if (c.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);

	cat_str(&c, v->method);
	cat_c(&c, '\n');
	rc = cat_path(&c, v->path, a, e);
	if (rc < 0)
		return rc;
	cat_c(&c, '\n');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			cat_c(&c, '&');
		cat_str(&c, q[i].name);
		cat_c(&c, '=');
		cat_str(&c, q[i].value);
	}
	cat_c(&c, '\n');
	while (sigv4_next_name(&list, &name))
		cat_header(&c, v, name);
	cat_c(&c, '\n');
	cat_str(&c, v->signed_headers);
	cat_c(&c, '\n');
	cat_str(&c, v->payload);
	MUST(!c.full);
	*ret = str_mem(c.p, c.len);
	return 0;
}

int
sigv4_string_to_sign(struct str amz_date, struct str scope,
    struct str canonical, struct arena *a, struct str *ret, struct err *e)
{
	struct cat c = { .size = 17 + amz_date.len + 1 + scope.len + 1 + 64 };
	uint8_t hash[32];

	c.p = arena_alloc(a, c.size);
	if (c.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	cat_str(&c, STR_LIT("AWS4-HMAC-SHA256\n"));
	cat_str(&c, amz_date);
	cat_c(&c, '\n');
	cat_str(&c, scope);
	cat_c(&c, '\n');
	hash_sha256(canonical.p, canonical.len, hash);
	hex_encode(hash, sizeof(hash), c.p + c.len);
	*ret = str_mem(c.p, c.len + 64);
	return 0;
}

/* --- the key --- */

/* Deriving takes four HMACs, and a client's requests of a day share the key.
 * Each thread remembers its last few: no lock, no shared cache line. Secrets
 * are in memory anyway (the cache of users). */
#define MEMO_SLOTS 4
#define MEMO_SECRET 64
#define MEMO_REGION 32
#define MEMO_SERVICE 16

struct memo {
	uint8_t secret_len, region_len, service_len;
	bool is_set;
	char secret[MEMO_SECRET], date[8], region[MEMO_REGION];
	char service[MEMO_SERVICE];
	uint8_t raw[32];
	struct hmac_key key;
};

static _Thread_local struct memo memos[MEMO_SLOTS];
static _Thread_local unsigned memo_next;

static bool
memo_fits(struct str secret, struct str date, struct str region,
    struct str service)
{
	return secret.len > 0 && secret.len <= MEMO_SECRET && date.len == 8 &&
	       region.len > 0 && region.len <= MEMO_REGION && service.len > 0 &&
	       service.len <= MEMO_SERVICE;
}

static bool
memo_matches(const struct memo *m, struct str secret, struct str date,
    struct str region, struct str service)
{
	return m->is_set && memcmp(m->date, date.p, 8) == 0 &&
	       str_eq(str_mem(m->region, m->region_len), region) &&
	       str_eq(str_mem(m->service, m->service_len), service) &&
	       str_eq_secret(str_mem(m->secret, m->secret_len), secret);
}

static void
memo_set(struct memo *m, struct str secret, struct str date, struct str region,
    struct str service, const uint8_t raw[32])
{
	m->secret_len = (uint8_t)secret.len;
	memcpy(m->secret, secret.p, secret.len);
	memcpy(m->date, date.p, 8);
	m->region_len = (uint8_t)region.len;
	memcpy(m->region, region.p, region.len);
	m->service_len = (uint8_t)service.len;
	memcpy(m->service, service.p, service.len);
	memcpy(m->raw, raw, 32);
	hmac_key_init(&m->key, str_mem(raw, 32));
	m->is_set = true;
}

static void
derive(struct str secret, struct str date, struct str region,
    struct str service, uint8_t ret[32])
{
	struct hash_values v;
	struct hashes h;
	uint8_t k[64];
	size_t len = secret.len + 4;

	/* RFC 2104: a key beyond the block is replaced by its hash. */
	if (len <= sizeof(k)) {
		memcpy(k, "AWS4", 4);
		if (secret.len > 0)
			memcpy(k + 4, secret.p, secret.len);
	} else {
		hashes_init(&h, HASH_BIT(HASH_SHA256));
		hashes_update(&h, "AWS4", 4);
		hashes_update(&h, secret.p, secret.len);
		hashes_final(&h, &v);
		len = 32;
		memcpy(k, v.v[HASH_SHA256], len);
		explicit_bzero(&v, sizeof(v));
	}
	hmac_sha256(str_mem(k, len), date, k);
	hmac_sha256(str_mem(k, 32), region, k);
	hmac_sha256(str_mem(k, 32), service, k);
	hmac_sha256(str_mem(k, 32), STR_LIT("aws4_request"), ret);
	explicit_bzero(k, sizeof(k));
}

void
sigv4_key(struct str secret, struct str date, struct str region,
    struct str service, struct hmac_key *ret, uint8_t *ret_raw)
{
	bool fits = memo_fits(secret, date, region, service);
	struct memo *m = NULL;
	uint8_t raw[32];

	for (unsigned i = 0; fits && i < MEMO_SLOTS; i++) {
		if (memo_matches(&memos[i], secret, date, region, service))
			m = &memos[i];
	}
	if (m == NULL && fits) {
		m = &memos[memo_next++ % MEMO_SLOTS];
		derive(secret, date, region, service, raw);
		memo_set(m, secret, date, region, service, raw);
		explicit_bzero(raw, sizeof(raw));
	}
	if (m != NULL) {
		if (ret != NULL)
			*ret = m->key;
		if (ret_raw != NULL)
			memcpy(ret_raw, m->raw, 32);
		return;
	}
	derive(secret, date, region, service, raw);
	if (ret != NULL)
		hmac_key_init(ret, str_mem(raw, 32));
	if (ret_raw != NULL)
		memcpy(ret_raw, raw, 32);
	explicit_bzero(raw, sizeof(raw));
}
