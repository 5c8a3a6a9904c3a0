/* cli/bench_request.c - building and signing requests, about 1 us each.
 * The form is fixed, so the canonical request is written straight down
 * (auth/sigv4.c has the general way; the unit test checks one with the other). */
#include "auth/sigv4.h"
#include "cli/bench.h"
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/rand.h"

#include <stdio.h>

#define EMPTY_HASH                                                             \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MAX_BODIES 64
#define BODY_STEP 64
#define SMALL (1u << 16) /* bodies up to here differ from each other */

/* --- the plan --- */

static int
make_bodies(struct bench_plan *p, struct err *e)
{
	const struct bench_conf *c = p->conf;
	uint64_t size = c->size, total;
	uint8_t d[32];

	if (c->command != NULL && strcmp(c->command, "multipart") == 0) {
		if (size > c->part_size)
			size = c->part_size;
		p->n_parts = size == 0 ? 1 : (c->size + size - 1) / size;
		p->last_size = c->size - (p->n_parts - 1) * size;
	}
	p->body_size = size;
	p->n_bodies = size <= SMALL ? MAX_BODIES : 2;
	total = size + p->n_bodies * BODY_STEP;
	p->pool = mem_alloc(total);
	p->body_hash = mem_alloc(p->n_bodies * sizeof(*p->body_hash));
	if (p->pool == NULL || p->body_hash == NULL)
		return err_set(e, ERR_NO_MEMORY, "for bodies of %ju bytes",
		    (uintmax_t)size);
	for (uint64_t at = 0; at < total; at += 4096)
		rand_bytes(p->pool + at, total - at < 4096 ? total - at : 4096);
	for (size_t i = 0; i < p->n_bodies; i++) {
		hash_sha256(bench_body(p, i), size, d);
		hex_encode(d, 32, p->body_hash[i]);
		p->body_hash[i][64] = '\0';
	}
	hash_sha256(bench_body(p, 0), p->last_size, d);
	hex_encode(d, 32, p->last_hash);
	return 0;
}

int
bench_plan_init(struct bench_plan *p, const struct bench_conf *c, struct err *e)
{
	int rc;

	*p = (struct bench_plan){ .conf = c,
		.base = BUF_CAP(8192),
		.bucket = BUF_CAP(4096) };
	snprintf(p->run_id, sizeof(p->run_id), "%08x",
	    (unsigned)(rand_u64() & 0xffffffff));
	rc = buf_addc(&p->bucket, '/');
	if (rc == 0)
		rc = buf_add_pct(&p->bucket, str_of(c->bucket), false);
	if (rc == 0)
		rc = buf_adds(&p->base, buf_str(&p->bucket));
	if (rc == 0)
		rc = buf_addc(&p->base, '/');
	if (rc == 0)
		rc = buf_add_pct(&p->base, str_of(c->prefix), true);
	if (rc < 0)
		return err_set(e, rc, "bucket and prefix");
	return make_bodies(p, e);
}

void
bench_plan_fini(struct bench_plan *p)
{
	buf_fini(&p->base);
	buf_fini(&p->bucket);
	mem_free(&p->pool);
	mem_free(&p->body_hash);
	mem_free(&p->urls);
}

/* --- the signer --- */

void
bench_signer_init(struct bench_signer *s)
{
	*s = (struct bench_signer){ .second = -1,
		.path = BUF_CAP(16384),
		.query = BUF_CAP(16384),
		.canonical = BUF_CAP(65536) };
}

void
bench_signer_fini(struct bench_signer *s)
{
	buf_fini(&s->path);
	buf_fini(&s->query);
	buf_fini(&s->canonical);
	hmac_wipe(&s->key);
}

static void
set_date(struct bench_signer *s, const struct bench_conf *c, int64_t now_s)
{
	if (s->second == now_s)
		return;
	clock_fmt_basic(now_s, s->date);
	sigv4_key(str_of(c->secret_key), str_mem(s->date, 8), str_of(c->region),
	    STR_LIT("s3"), &s->key, NULL);
	s->second = now_s;
}

static int
add(struct buf *b, const char *z)
{
	return buf_add(b, z, strlen(z));
}

static int
add_key(const struct bench_plan *p, uint64_t key, bool unique, struct buf *b)
{
	char digits[BENCH_KEY_DIGITS];
	int rc = buf_adds(b, buf_str(&p->base));

	if (rc == 0 && unique) {
		rc = buf_add(b, p->run_id, 8);
		if (rc == 0)
			rc = buf_addc(b, '-');
	}
	for (size_t i = sizeof(digits); i-- > 0; key /= 10)
		digits[i] = (char)('0' + key % 10);
	return rc < 0 ? rc : buf_add(b, digits, sizeof(digits));
}

/* Path and query of the request, without a signature. */
static int
target(const struct bench_plan *p, struct bench_signer *s,
    const struct bench_request *r)
{
	const struct bench_conf *c = p->conf;
	int rc;

	buf_reset(&s->path);
	buf_reset(&s->query);
	if (r->op != BENCH_LIST && r->op != BENCH_BUCKET) {
		rc = add_key(p, r->key, r->unique, &s->path);
		return rc < 0 ? rc : buf_adds(&s->query, r->sub);
	}
	rc = buf_adds(&s->path, buf_str(&p->bucket));
	if (rc < 0 || r->op == BENCH_BUCKET)
		return rc;
	if (c->delimiter != NULL) {
		rc = add(&s->query, "delimiter=");
		if (rc == 0)
			rc =
			    buf_add_pct(&s->query, str_of(c->delimiter), false);
		if (rc == 0)
			rc = buf_addc(&s->query, '&');
	}
	if (rc == 0)
		rc = buf_addf(&s->query,
		    "list-type=2&max-keys=%u&prefix=", c->max_keys);
	if (rc == 0)
		rc = buf_add_pct(&s->query, str_of(c->prefix), false);
	if (rc == 0 && r->key != UINT64_MAX) {
		rc = add(&s->query, "&start-after=");
		if (rc == 0)
			rc = buf_add_pct(&s->query, str_of(c->prefix), false);
		if (rc == 0)
			rc = buf_addf(&s->query, "%0*ju", BENCH_KEY_DIGITS,
			    (uintmax_t)r->key);
	}
	return rc;
}

/* Signature of the canonical request in s->canonical, as hex. */
static void
finish(struct bench_signer *s, const struct bench_conf *c, char hex[64])
{
	char text[512], scope[160];
	uint8_t d[32];
	char hash[65];
	int n;

	hash_sha256(s->canonical.p, s->canonical.len, d);
	hex_encode(d, 32, hash);
	hash[64] = '\0';
	snprintf(scope, sizeof(scope), "%.8s/%.100s/s3/aws4_request", s->date,
	    c->region);
	n = snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s",
	    s->date, scope, hash);
	hmac_sign(&s->key, str_mem(text, (size_t)n), d);
	hex_encode(d, 32, hex);
}

/* "METHOD\npath\nquery\n" and the rest in one. */
static int
canonical(struct bench_signer *s, const struct bench_conf *c,
    const char *method, const char *hash)
{
	struct buf *b = &s->canonical;
	int rc;

	buf_reset(b);
	rc = add(b, method);
	if (rc == 0)
		rc = buf_addc(b, '\n');
	if (rc == 0)
		rc = buf_adds(b, buf_str(&s->path));
	if (rc == 0)
		rc = buf_addc(b, '\n');
	if (rc == 0)
		rc = buf_adds(b, buf_str(&s->query));
	if (rc == 0)
		rc = add(b, "\nhost:");
	if (rc == 0)
		rc = add(b, c->host_header);
	if (rc < 0 || hash == NULL)
		return rc < 0 ? rc : add(b, "\n\nhost\nUNSIGNED-PAYLOAD");
	rc = add(b, "\nx-amz-content-sha256:");
	if (rc == 0)
		rc = add(b, hash);
	if (rc == 0)
		rc = add(b, "\nx-amz-date:");
	if (rc == 0)
		rc = buf_add(b, s->date, 16);
	if (rc == 0)
		rc = add(b, "\n\nhost;x-amz-content-sha256;x-amz-date\n");
	return rc < 0 ? rc : add(b, hash);
}

/* Puts the signing parameters in front: 'X' sorts before what we send. */
static int
url_query(struct bench_signer *s, const struct bench_conf *c)
{
	char old[2048];
	size_t n = s->query.len;
	int rc;

	if (n >= sizeof(old))
		return ERR_TOO_BIG;
	if (n > 0)
		memcpy(old, s->query.p, n);
	buf_reset(&s->query);
	rc = add(&s->query,
	    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=");
	if (rc == 0)
		rc = buf_add_pct(&s->query, str_of(c->access_key), false);
	if (rc == 0)
		rc = buf_addf(&s->query, "%%2F%.8s%%2F", s->date);
	if (rc == 0)
		rc = buf_add_pct(&s->query, str_of(c->region), false);
	if (rc == 0)
		rc = buf_addf(&s->query,
		    "%%2Fs3%%2Faws4_request&X-Amz-Date=%s"
		    "&X-Amz-Expires=604800&X-Amz-SignedHeaders=host",
		    s->date);
	if (rc == 0 && n > 0) {
		rc = buf_addc(&s->query, '&');
		if (rc == 0)
			rc = buf_add(&s->query, old, n);
	}
	return rc;
}

static int
signed_url(const struct bench_plan *p, struct bench_signer *s,
    const struct bench_request *r, int64_t now_s, char hex[64])
{
	bool ahead = r->op == BENCH_GET && !r->unique && r->key < p->n_urls;
	int rc;

	set_date(s, p->conf, ahead ? p->url_date : now_s);
	rc = url_query(s, p->conf);
	if (rc == 0 && ahead) {
		memcpy(hex, p->urls[r->key], 64);
		return 0;
	}
	if (rc == 0)
		rc = canonical(s, p->conf, r->method, NULL);
	if (rc == 0)
		finish(s, p->conf, hex);
	return rc;
}

int
bench_plan_urls(struct bench_plan *p, uint64_t n, int64_t now_s, struct err *e)
{
	struct bench_request r = { .method = "GET", .op = BENCH_GET };
	struct bench_signer s;
	int rc = 0;

	if (n > BENCH_URLS_AHEAD)
		n = BENCH_URLS_AHEAD;
	p->urls = mem_alloc(n * sizeof(*p->urls));
	if (p->urls == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	p->url_date = now_s;
	bench_signer_init(&s);
	for (; r.key < n && rc == 0; r.key++) {
		rc = target(p, &s, &r);
		if (rc == 0)
			rc = signed_url(p, &s, &r, now_s, p->urls[r.key]);
	}
	bench_signer_fini(&s);
	if (rc < 0)
		return err_set(e, rc, "signing URLs");
	p->n_urls = n;
	return 0;
}

/* --- the head --- */

static int
request_line(struct bench_signer *s, const struct bench_request *r,
    const char *signature, struct buf *out)
{
	int rc = add(out, r->method);

	if (rc == 0)
		rc = buf_addc(out, ' ');
	if (rc == 0)
		rc = buf_adds(out, buf_str(&s->path));
	if (rc == 0 && s->query.len > 0) {
		rc = buf_addc(out, '?');
		if (rc == 0)
			rc = buf_adds(out, buf_str(&s->query));
	}
	if (rc == 0 && signature != NULL) {
		rc = add(out, "&X-Amz-Signature=");
		if (rc == 0)
			rc = buf_add(out, signature, 64);
	}
	return rc < 0 ? rc : add(out, " HTTP/1.1\r\nHost: ");
}

static int
auth_headers(struct bench_signer *s, const struct bench_conf *c,
    const char *hash, const char hex[64], struct buf *out)
{
	int rc = add(out, "\r\nx-amz-content-sha256: ");

	if (rc == 0)
		rc = add(out, hash);
	if (rc == 0)
		rc = add(out, "\r\nx-amz-date: ");
	if (rc == 0)
		rc = buf_add(out, s->date, 16);
	if (rc == 0)
		rc =
		    add(out, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=");
	if (rc == 0)
		rc = add(out, c->access_key);
	if (rc == 0)
		rc = buf_addc(out, '/');
	if (rc == 0)
		rc = buf_add(out, s->date, 8);
	if (rc == 0)
		rc = buf_addc(out, '/');
	if (rc == 0)
		rc = add(out, c->region);
	if (rc == 0)
		rc = add(out,
		    "/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;"
		    "x-amz-date, Signature=");
	return rc < 0 ? rc : buf_add(out, hex, 64);
}

int
bench_request_head(const struct bench_plan *p, struct bench_signer *s,
    const struct bench_request *r, int64_t now_s, struct buf *out,
    struct err *e)
{
	const struct bench_conf *c = p->conf;
	const char *hash = r->body_hash != NULL ? r->body_hash : EMPTY_HASH;
	bool in_url = c->sign == BENCH_SIGN_URL;
	bool in_header = !in_url && c->sign != BENCH_SIGN_NONE;
	char hex[64];
	int rc;

	buf_reset(out);
	if (c->sign == BENCH_SIGN_UNSIGNED && r->has_body)
		hash = "UNSIGNED-PAYLOAD";
	rc = target(p, s, r);
	if (rc == 0 && in_url)
		rc = signed_url(p, s, r, now_s, hex);
	if (rc == 0 && in_header) {
		set_date(s, c, now_s);
		rc = canonical(s, c, r->method, hash);
		if (rc == 0)
			finish(s, c, hex);
	}
	if (rc == 0)
		rc = request_line(s, r, in_url ? hex : NULL, out);
	if (rc == 0)
		rc = add(out, c->host_header);
	if (rc == 0 && in_header)
		rc = auth_headers(s, c, hash, hex, out);
	if (rc == 0 && r->has_body)
		rc = buf_addf(out, "\r\nContent-Length: %ju",
		    (uintmax_t)r->body_len);
	if (rc == 0)
		rc = add(out, "\r\n\r\n");
	return rc < 0 ? err_set(e, rc, "building a request") : 0;
}
