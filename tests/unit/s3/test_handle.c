/* tests/unit/s3/test_handle.c - whole requests, signed, against a store over
 * doubles; and each of them again with the n-th allocation failing. */
#include "tests/unit/object/kv_double.h"

#include "auth/auth.h"
#include "gateway/s3/checksums.h"
#include "gateway/s3/s3_int.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/hash.h"
#include "tests/unit/s3/fake_http.h"

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>

#define KEY "TESTROOTUSER"
#define SECRET "test-root-password"

static struct s3 *s3;
static struct store *store;
static struct http_req http;
static char upload_id[80], part_etag[40];
static unsigned n_later; /* requests that were deferred */
static unsigned n_later_gets;
static enum blob_memory_later reads_later;

static int
setup(void **state)
{
	struct store_conf c = { .extent_size = 100000 };
	struct s3_conf sc = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kv_open(NULL, &c.kv, &e), 0);
	assert_int_equal(blob_memory_new(&c.blob, &e), 0);
	blob_memory_later(c.blob, reads_later);
	assert_int_equal(store_open(&c, &store, &e), 0);
	assert_int_equal(root_set(store, KEY, SECRET, &e), 0);
	sc.store = store;
	assert_int_equal(s3_new(&sc, &s3, &e), 0);
	return 0;
}

static int
setup_later(void **state)
{
	kv_double_holds_jobs = fake_defers = true;
	n_later = 0;
	return setup(state);
}

static int
setup_reads_later(void **state)
{
	reads_later = BLOB_MEMORY_READS;
	return setup_later(state);
}

static int
setup_later_reads_fail(void **state)
{
	reads_later = BLOB_MEMORY_FAILS;
	return setup_later(state);
}

static int
teardown(void **state)
{
	(void)state;
	assert_true(!fake_defers || n_later > 0);
	assert_true(!fake_defers || n_later_gets > 0);
	kv_double_holds_jobs = fake_defers = false;
	reads_later = BLOB_MEMORY_REFUSES;
	n_later_gets = 0;
	/* All buffers are given back, once, whatever failed. */
	assert_int_equal(s3->memory, 0);
	s3_free(&s3);
	store_close(&store);
	return 0;
}

/* Names sorted, as the canonical form wants them. */
static int
by_name(const void *a, const void *b)
{
	const struct header *x = a, *y = b;

	return str_cmp(x->name, y->name);
}

/* The request's texts live as long as it does. */
static void
keep(void)
{
	struct http_info *i = &http.info;
	size_t n;

	i->target = arena_str(http.arena, i->target);
	i->query = i->target;
	i->path = str_split(&i->query, '?');
	http.body = arena_str(http.arena, http.body);
	for (n = 0; n < i->n_headers; n++) {
		http.headers[n].name =
		    arena_str(http.arena, http.headers[n].name);
		http.headers[n].value =
		    arena_str(http.arena, http.headers[n].value);
	}
	i->host = http_header(&http, "host");
}

/* @headers: "name: value\n" lines, lower case, x-amz-* only. */
static void
prepare(const char *method, const char *target, const char *headers,
    const char *body)
{
	struct header h[FAKE_HEADERS];
	struct buf value = BUF_CAP(4096);
	struct err e = ERR_INIT;
	char all[4096], date[17], hex[65];
	uint8_t hash[32];
	int64_t now =
	    clock_real_s(); /* one date, also over the turn of a second */
	size_t n;

	hash_sha256(body, strlen(body), hash);
	hex_encode(hash, 32, hex);
	hex[64] = '\0';
	clock_fmt_basic(now, date);
	snprintf(all, sizeof(all),
	    "host: h\nx-amz-content-sha256: %s\nx-amz-date: %s\n%s", hex, date,
	    headers);
	fake_request(&http, method, target, all, body);
	keep();
	n = http.info.n_headers;
	memcpy(h, http.headers, n * sizeof(*h));
	qsort(h, n, sizeof(*h), by_name);
	assert_int_equal(auth_sign(http.info.method, http.info.path,
			     http.info.query, h, n, STR_LIT(KEY),
			     STR_LIT(SECRET), STR_LIT("us-east-1"), now, &value,
			     &e),
	    0);
	http.headers[n].name = STR_LIT("Authorization");
	http.headers[n].value = arena_str(http.arena, buf_str(&value));
	http.info.n_headers++;
	buf_fini(&value);
}

/* With its answer, also of one that is made later. */
static void
handle(void)
{
	s3_handle(s3, &http);
	if (!http.is_deferred)
		return;
	n_later++;
	assert_int_equal(http.status, 0);
	if (str_eqz(http.info.method, "GET")) {
		n_later_gets++;
	} else {
		assert_null(http.resume);
		assert_true(kv_double_release());
		assert_int_equal(http.status, 0); /* not on that thread */
	}
	assert_non_null(http.resume);
	http.resume(http.resume_arg, &http);
}

/* Status; the answer stays in @http until the next call. */
static int
request(const char *method, const char *target, const char *headers,
    const char *body)
{
	fake_fini(&http);
	prepare(method, target, headers, body);
	handle();
	return http.status;
}

static bool
answer_has(const char *text)
{
	return str_find(buf_str(&http.answer), str_of(text)) >= 0;
}

static void
must(int want, const char *method, const char *target, const char *headers,
    const char *body)
{
	int got = request(method, target, headers, body);

	if (got != want)
		fail_msg("%s %s: %d, not %d: " STR_FMT, method, target, got,
		    want, STR_ARG(buf_str(&http.answer)));
}

static void
between(const char *from, const char *to, char *dst, size_t size)
{
	struct str s = buf_str(&http.answer);
	ptrdiff_t a = str_find(s, str_of(from)), b;

	assert_true(a >= 0);
	s = str_skip(s, (size_t)a + strlen(from));
	b = str_find(s, str_of(to));
	assert_true(b >= 0 && (size_t)b < size);
	memcpy(dst, s.p, (size_t)b);
	dst[b] = '\0';
}

static void
start_upload(void)
{
	char target[200];
	struct str etag;

	must(200, "POST", "/bkt/k?uploads", "", "");
	between("<UploadId>", "</UploadId>", upload_id, sizeof(upload_id));
	snprintf(target, sizeof(target), "/bkt/k?partNumber=1&uploadId=%s",
	    upload_id);
	must(200, "PUT", target, "", "new");
	etag = fake_out(&http, "ETag");
	assert_int_equal(etag.len, 34);
	memcpy(part_etag, etag.p, 34);
	part_etag[34] = '\0';
}

static void
test_a_life(void **state)
{
	(void)state;
	must(200, "PUT", "/bkt", "", "");
	must(404, "GET", "/bkt/k", "", "");
	must(200, "PUT", "/bkt/k", "x-amz-meta-m: v\n", "hello");
	must(200, "GET", "/bkt/k", "", "");
	assert_true(str_eqz(buf_str(&http.answer), "hello"));
	assert_true(str_eqz(fake_out(&http, "x-amz-meta-m"), "v"));
	must(200, "GET", "/bkt?list-type=2", "", "");
	assert_true(answer_has("<Key>k</Key>"));
	must(200, "PUT", "/bkt/c", "x-amz-copy-source: /bkt/k\n", "");
	must(200, "GET", "/bkt/c", "", "");
	assert_true(str_eqz(buf_str(&http.answer), "hello"));
	must(204, "DELETE", "/bkt/c", "", "");
	must(204, "DELETE", "/bkt/k", "", "");
	must(204, "DELETE", "/bkt", "", "");
	fake_fini(&http);
}

/* A signature over something else. */
static void
test_tampered(void **state)
{
	(void)state;
	must(200, "PUT", "/bkt", "", "");
	fake_fini(&http);
	prepare("PUT", "/bkt/k", "", "hello");
	http.info.path = STR_LIT("/bkt/other");
	s3_handle(s3, &http);
	assert_int_equal(http.status, 403);
	assert_true(answer_has("<Code>SignatureDoesNotMatch</Code>"));
	fake_fini(&http);
	prepare("PUT", "/bkt/k", "", "hello");
	http.body = STR_LIT("hellO");
	s3_handle(s3, &http);
	assert_int_equal(http.status, 400);
	assert_true(answer_has("<Code>XAmzContentSHA256Mismatch</Code>"));
	must(200, "GET", "/bkt?list-type=2", "", "");
	assert_false(answer_has("<Key>"));
	must(204, "DELETE", "/bkt", "", "");
	fake_fini(&http);
}

struct torture {
	const char *method, *target, *headers, *body;
	int ok;            /* the status when nothing fails */
	bool is_upload;    /* completes start_upload()'s */
	const char *after; /* what /bkt/k is then; NULL = gone */
};

static void
before(const struct torture *t)
{
	char target[200];

	if (upload_id[0] != '\0') {
		snprintf(target, sizeof(target), "/bkt/k?uploadId=%s",
		    upload_id);
		request("DELETE", target, "", "");
	}
	upload_id[0] = '\0';
	must(200, "PUT", "/bkt/k", "", "old");
	must(200, "PUT", "/bkt/s", "", "new");
	if (t->is_upload)
		start_upload();
}

static void
check_after(const struct torture *t, int status, unsigned n)
{
	const char *want = status == t->ok ? t->after : "old";
	int got;

	if (status != t->ok && status != 503 && status != 500)
		fail_msg("%s %s, allocation %u: status %d " STR_FMT, t->method,
		    t->target, n, status, STR_ARG(buf_str(&http.answer)));
	got = request("GET", "/bkt/k", "", "");
	if (want == NULL ? got != 404
			 : got != 200 || !str_eqz(buf_str(&http.answer), want))
		fail_msg("%s %s, allocation %u: %d, then %d " STR_FMT,
		    t->method, t->target, n, status, got,
		    STR_ARG(buf_str(&http.answer)));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void
torture(const struct torture *t)
{
	char target[200], body[400];
	bool fired = true;
	unsigned n;
	int status;

	for (n = 1; fired && n < 2000; n++) {
		before(t);
		snprintf(target, sizeof(target), t->target, upload_id);
		snprintf(body, sizeof(body), t->body, part_etag);
		fake_fini(&http);
		prepare(t->method, target, t->headers, body);
		fault_arm(FAULT_ALLOC, n, ENOMEM, false);
		handle();
		fired = fault_fired();
		fault_disarm();
		status = http.status;
		assert_true(status != 0);
		check_after(t, status, n);
	}
	if (fired)
		fail_msg("%s %s: still failing", t->method, t->target);
	assert_true(n > 1); /* some were there to fail; the arena is one of them
	                       without sanitizers */
	if (status != t->ok)
		fail_msg("%s %s: %d", t->method, t->target, status);
}
#pragma GCC diagnostic pop

static void
test_allocations_fail(void **state)
{
	static const struct torture all[] = {
		{ "PUT", "/bkt/k", "x-amz-meta-a: b\n", "new", 200, false,
		    "new" },
		{ "GET", "/bkt/k", "x-amz-checksum-mode: ENABLED\n", "", 200,
		    false, "old" },
		{ "HEAD", "/bkt/k", "", "", 200, false, "old" },
		{ "DELETE", "/bkt/k", "", "", 204, false, NULL },
		{ "PUT", "/bkt/k", "x-amz-copy-source: bkt/s\n", "", 200, false,
		    "new" },
		{ "GET", "/bkt?list-type=2&prefix=k&encoding-type=url", "", "",
		    200, false, "old" },
		{ "GET", "/bkt?versions", "", "", 200, false, "old" },
		{ "GET", "/", "", "", 200, false, "old" },
		{ "GET", "/bkt/k?attributes",
		    "x-amz-object-attributes: ETag,Checksum\n", "", 200, false,
		    "old" },
		{ "PUT", "/bkt/k?partNumber=2&uploadId=%s", "", "part", 200,
		    true, "old" },
		{ "PUT", "/bkt/k?partNumber=2&uploadId=%s",
		    "x-amz-copy-source: bkt/s\n", "", 200, true, "old" },
		{ "GET", "/bkt/k?uploadId=%s", "", "", 200, true, "old" },
		{ "POST", "/bkt/k?uploadId=%s", "",
		    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
		    "<ETag>%s</ETag></Part></CompleteMultipartUpload>",
		    200, true, "new" },
		{ "DELETE", "/bkt/k?uploadId=%s", "", "", 204, true, "old" },
		{ "GET", "/bkt?uploads", "", "", 200, true, "old" },
		{ "POST", "/bkt/k?uploads", "", "", 200, false, "old" },
	};
	size_t i;

	(void)state;
	must(200, "PUT", "/bkt", "", "");
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		torture(&all[i]);
	fake_fini(&http);
}

/* What becomes of it is known when it is gone on with. */
static void
test_later_fails(void **state)
{
	static const struct {
		const char *headers, *code;
		int fail, status;
	} all[] = {
		{ "if-none-match: *\n", "PreconditionFailed", 0, 412 },
		{ "", "InsufficientStorage", ERR_NO_SPACE, 507 },
		{ "", "SlowDown", ERR_BUSY, 503 },
		{ "", "ServiceUnavailable", ERR_FAILED, 503 },
		{ "", "InternalError", ERR_CLOSED, 500 },
		{ "", "NoSuchBucket", ERR_NO_SUCH_BUCKET, 404 },
	};
	char code[60];

	(void)state;
	must(200, "PUT", "/bkt", "", "");
	must(200, "PUT", "/bkt/k", "", "old");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		kv_double_job_fail = all[i].fail;
		must(all[i].status, "PUT", "/bkt/k", all[i].headers, "new");
		kv_double_job_fail = 0;
		assert_true(http.is_deferred);
		snprintf(code, sizeof(code), "<Code>%s</Code>", all[i].code);
		assert_true(answer_has(code));
		must(200, "GET", "/bkt/k", "", "");
		assert_true(str_eqz(buf_str(&http.answer), "old"));
	}
	/* Its record tells whether it was committed after all. */
	kv_double_fail = 1;
	kv_double_fail_applied = false;
	must(503, "PUT", "/bkt/k", "", "new");
	kv_double_fail = 1;
	kv_double_fail_applied = true;
	must(200, "PUT", "/bkt/k", "", "new");
	kv_double_fail_applied = false;
	must(200, "GET", "/bkt/k", "", "");
	assert_true(str_eqz(buf_str(&http.answer), "new"));
	fake_fini(&http);
}

/* Long enough for a thread of its own: each digest is made there or here, but is
 * made, and is looked at. */
static void
test_long_body(void **state)
{
	static const size_t size = (3 << 20) + 5;
	static char body[(3 << 20) + 6];
	char header[200], md5[40], text[100];
	uint8_t value[HASH_MAX];

	(void)state;
	for (size_t i = 0; i < size; i++)
		body[i] = (char)('a' + (i * 7 + (i >> 9)) % 26);
	must(200, "PUT", "/bkt", "", "");
	hash_md5(body, size, value);
	md5[0] = md5[33] = '"';
	hex_encode(value, 16, md5 + 1);
	for (uint8_t alg = CHECKSUM_NONE + 1; alg <= HASH_ALGS; alg++) {
		enum hash_alg a = checksum_hash(alg);
		size_t n;

		hash_one(a, body, size, value);
		n = base64_encode(value, hash_size(a), text);
		text[n] = '\0';
		snprintf(header, sizeof(header), "%s: %s\n",
		    checksum_header(alg), text);
		must(200, "PUT", "/bkt/long", header, body);
		assert_true(str_eq(fake_out(&http, "ETag"), str_mem(md5, 34)));
		text[0] = text[0] == 'A' ? 'B' : 'A';
		snprintf(header, sizeof(header), "%s: %s\n",
		    checksum_header(alg), text);
		must(400, "PUT", "/bkt/bad", header, body);
		assert_true(answer_has("BadDigest"));
		must(404, "HEAD", "/bkt/bad", "", "");
	}
	fake_fini(&http);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tampered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_body, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_allocations_fail, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_a_life, setup_later,
		    teardown),
		cmocka_unit_test_setup_teardown(test_allocations_fail,
		    setup_later, teardown),
		cmocka_unit_test_setup_teardown(test_later_fails, setup_later,
		    teardown),
		cmocka_unit_test_setup_teardown(test_a_life, setup_reads_later,
		    teardown),
		cmocka_unit_test_setup_teardown(test_allocations_fail,
		    setup_reads_later, teardown),
		cmocka_unit_test_setup_teardown(test_a_life,
		    setup_later_reads_fail, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
