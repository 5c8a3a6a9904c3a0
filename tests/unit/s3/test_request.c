/* tests/unit/s3/test_request.c - targets, routes, headers and conditions. */
#include "gateway/s3/body.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/headers.h"
#include "tests/unit/s3/fake_http.h"

#include <setjmp.h>

#include <cmocka.h>

static const char *const domains[] = { "localhost", "s3.example.com" };
static struct s3 s3 = { .conf = { .domains = domains, .n_domains = 2 },
	.region = "us-east-1",
	.host_id = "test",
	.cors = "*" };
static struct http_req http;
static struct s3_req req;

static int
parse(const char *method, const char *target, const char *headers)
{
	struct err e = ERR_INIT;

	fake_request(&http, method, target, headers, NULL);
	memset(&req, 0, sizeof(req));
	req.s3 = &s3;
	req.http = &http;
	req.info = http_info(&http);
	req.a = http_arena(&http);
	return s3_parse_target(&req, &e);
}

static void
test_targets(void **state)
{
	static const struct {
		const char *target, *host, *bucket, *key;
		int rc;
	} t[] = {
		{ "/", "127.0.0.1:9000", "", "", 0 },
		{ "/b", "127.0.0.1:9000", "b", "", 0 },
		{ "/b/", "127.0.0.1:9000", "b", "", 0 },
		{ "/b/k", "127.0.0.1:9000", "b", "k", 0 },
		{ "/b//k", "127.0.0.1", "b", "/k", 0 },
		{ "/b/a/../c", "127.0.0.1", "b", "a/../c", 0 },
		{ "/b/a%2Fb%20+", "127.0.0.1", "b", "a/b +", 0 },
		{ "/b/%01%7F", "127.0.0.1", "b", "\x01\x7f", 0 },
		{ "/b/\xc3\xa4", "127.0.0.1", "b", "\xc3\xa4", 0 },
		{ "/b/k", "[::1]:9000", "b", "k", 0 },
		{ "/b/k", "localhost", "b", "k", 0 },
		{ "/k", "bkt.localhost:9000", "bkt", "k", 0 },
		{ "/", "BKT.LocalHost", "bkt", "", 0 },
		{ "/-/x", "bkt.localhost", "bkt", "-/x", 0 },
		{ "/b/k", "xlocalhost", "b", "k", 0 },
		{ "/k", "a.b.s3.example.com", "a.b", "k", 0 },
		{ "/b/k", "s3.example.com", "b", "k", 0 },
		{ "/b/%00", "h", NULL, NULL, ERR_INVALID_URI },
		{ "/b/%ff", "h", NULL, NULL, ERR_INVALID_URI },
		{ "/b/%zz", "h", NULL, NULL, ERR_INVALID_URI },
		{ "/b/%4", "h", NULL, NULL, ERR_INVALID_URI },
		{ "/b?prefix=%00", "h", NULL, NULL, ERR_INVALID_URI },
		{ "/b?x=%", "h", NULL, NULL, ERR_INVALID_URI },
		{ "*", "h", NULL, NULL, ERR_INVALID_URI },
		{ "", "h", NULL, NULL, ERR_INVALID_URI },
		{ "//k", "h", NULL, NULL, ERR_INVALID_BUCKET_NAME },
	};
	char host[64];
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(host, sizeof(host), "Host: %s\n", t[i].host);
		rc = parse("GET", t[i].target, host);
		if (rc != t[i].rc ||
		    (rc == 0 && (!str_eqz(req.bucket_name, t[i].bucket) ||
				    !str_eqz(req.key, t[i].key))))
			fail_msg("target %s host %s", t[i].target, t[i].host);
		fake_fini(&http);
	}
}

static void
test_params(void **state)
{
	(void)state;
	assert_int_equal(parse("GET", "/b?a=1&&b=x%20y+z&c&a=2&=v&d=e=f", ""),
	    0);
	assert_true(str_eqz(s3_param(&req, "a"), "1"));
	assert_true(str_eqz(s3_param(&req, "b"), "x y z"));
	assert_true(s3_has_param(&req, "c"));
	assert_true(str_eqz(s3_param(&req, "c"), ""));
	assert_true(str_eqz(s3_param(&req, "d"), "e=f"));
	assert_false(s3_has_param(&req, "e"));
	fake_fini(&http);
}

static void
test_hoisted(void **state)
{
	(void)state;
	/* only where the whole query is signed */
	assert_int_equal(parse("PUT", "/b/k?x-amz-copy-source=a/b&Signature=x",
			     ""),
	    0);
	assert_false(s3_has_header(&req, "x-amz-copy-source"));
	fake_fini(&http);
	assert_int_equal(
	    parse("PUT",
		"/b/k?X-Amz-Copy-Source=a/b&X-Amz-Signature=00&range=x", ""),
	    0);
	assert_true(str_eqz(s3_header(&req, "x-amz-copy-source"), "a/b"));
	assert_false(s3_has_header(&req, "range"));
	fake_fini(&http);
	assert_int_equal(parse("PUT",
			     "/b/k?x-amz-acl=private&X-Amz-Signature=00",
			     "x-amz-acl: public-read\n"),
	    0);
	assert_true(str_eqz(s3_header(&req, "x-amz-acl"), "public-read"));
	fake_fini(&http);
}

static void
test_counts(void **state)
{
	struct err e = ERR_INIT;
	uint32_t n = 7;

	(void)state;
	assert_int_equal(parse("GET",
			     "/b?zero=0&big=5000&max=2147483647&over=2147483648"
			     "&neg=-1&junk=x&empty=&sp=%201",
			     ""),
	    0);
	assert_int_equal(s3_param_count(&req, "zero", 1000, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(s3_param_count(&req, "big", 1000, &n, &e), 0);
	assert_int_equal(n, 1000);
	assert_int_equal(s3_param_count(&req, "max", 1000, &n, &e), 0);
	assert_int_equal(s3_param_count(&req, "empty", 1000, &n, &e), 0);
	assert_int_equal(s3_param_count(&req, "absent", 1000, &n, &e), 0);
	assert_int_equal(n, 1000);
	assert_int_equal(s3_param_count(&req, "over", 1000, &n, &e),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(s3_param_count(&req, "neg", 1000, &n, &e),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(s3_param_count(&req, "junk", 1000, &n, &e),
	    ERR_INVALID_ARGUMENT);
	assert_int_equal(s3_param_count(&req, "sp", 1000, &n, &e),
	    ERR_INVALID_ARGUMENT);
	fake_fini(&http);
}

static void
test_routes(void **state)
{
	static const struct {
		const char *method, *target, *headers, *op; /* NULL: 405 */
	} t[] = {
		{ "GET", "/", "", "ListBuckets" },
		{ "GET", "/b", "", "ListObjects" },
		{ "GET", "/b?prefix=acl", "", "ListObjects" },
		{ "GET", "/b?list-type=2", "", "ListObjectsV2" },
		{ "GET", "/b?versions", "", "ListObjectVersions" },
		{ "GET", "/b?uploads", "", "ListMultipartUploads" },
		{ "GET", "/b?location", "", "GetBucketLocation" },
		{ "GET", "/b?acl", "", "GetBucketAcl" },
		{ "GET", "/b?policy", "", "GetBucketConfiguration" },
		{ "PUT", "/b?policy", "", "PutBucketConfiguration" },
		{ "DELETE", "/b?policy", "", "DeleteBucketConfiguration" },
		{ "PUT", "/b?versioning", "", "PutBucketConfiguration" },
		{ "PUT", "/b", "", "CreateBucket" },
		{ "HEAD", "/b", "", "HeadBucket" },
		{ "DELETE", "/b", "", "DeleteBucket" },
		{ "POST", "/b?delete", "", "DeleteObjects" },
		{ "POST", "/b", "", "PostObject" },
		{ "GET", "/b/k", "", "GetObject" },
		{ "GET", "/b/k?partNumber=1", "", "GetObject" },
		{ "GET", "/b/k?x-id=GetObject", "", "GetObject" },
		{ "HEAD", "/b/k", "", "HeadObject" },
		{ "PUT", "/b/k", "", "PutObject" },
		{ "PUT", "/b/k?x-id=PutObject", "", "PutObject" },
		{ "PUT", "/b/k", "x-amz-copy-source: a/b\n", "CopyObject" },
		{ "PUT", "/b/k?acl", "", "PutObjectAcl" },
		{ "PUT", "/b/k?tagging", "", "NotImplemented" },
		{ "PUT", "/b/k?retention", "", "NotImplemented" },
		{ "PUT", "/b/k?legal-hold", "", "NotImplemented" },
		{ "PUT", "/b/k?renameObject", "", "NotImplemented" },
		{ "GET", "/b/k?tagging", "", "GetObjectConfiguration" },
		{ "DELETE", "/b/k?tagging", "", "DeleteObjectTagging" },
		{ "GET", "/b/k?torrent", "", "NotImplemented" },
		{ "GET", "/b/k?attributes", "", "GetObjectAttributes" },
		{ "GET", "/b/k?uploadId=x", "", "ListParts" },
		{ "POST", "/b/k?uploads", "", "CreateMultipartUpload" },
		{ "POST", "/b/k?uploadId=x", "", "CompleteMultipartUpload" },
		{ "DELETE", "/b/k?uploadId=x", "", "AbortMultipartUpload" },
		{ "PUT", "/b/k?partNumber=1&uploadId=x", "", "UploadPart" },
		{ "PUT", "/b/k?partNumber=1", "", "UploadPart" },
		{ "PUT", "/b/k?uploadId=x&partNumber=1",
		    "x-amz-copy-source: a/b\n", "UploadPartCopy" },
		{ "DELETE", "/b/k", "", "DeleteObject" },
		{ "POST", "/b/k", "", NULL },
		{ "PATCH", "/b/k", "", NULL },
		{ "PUT", "/", "", NULL },
		{ "DELETE", "/", "", NULL },
	};
	struct err e = ERR_INIT;
	size_t i;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(parse(t[i].method, t[i].target, t[i].headers),
		    0);
		rc = s3_route(&req, &e);
		if (t[i].op == NULL
			? rc != ERR_METHOD_NOT_ALLOWED
			: rc != 0 || strcmp(req.op->name, t[i].op) != 0)
			fail_msg("%s %s is %s", t[i].method, t[i].target,
			    rc == 0 ? req.op->name : err_name(rc));
		fake_fini(&http);
	}
}

static void
test_read_conditions(void **state)
{
	struct str etag = STR_LIT("abc");
	struct read_cond c;

#define COND(m, n, ms, us)                                                     \
	(c = (struct read_cond){ str_of(m), str_of(n), (ms), (us) },           \
	    cond_read(&c, etag, 1000))
	(void)state;
	assert_int_equal(COND(NULL, NULL, -1, -1), COND_PASS);
	assert_int_equal(COND("\"abc\"", NULL, -1, -1), COND_PASS);
	assert_int_equal(COND("abc", NULL, -1, -1), COND_PASS);
	assert_int_equal(COND("*", NULL, -1, -1), COND_PASS);
	assert_int_equal(COND("\"x\", \"abc\"", NULL, -1, -1), COND_PASS);
	assert_int_equal(COND("\"x\"", NULL, -1, -1), COND_FAILED);
	assert_int_equal(COND("W/\"abc\"", NULL, -1, -1), COND_FAILED);
	assert_int_equal(COND("", NULL, -1, -1), COND_FAILED);
	/* If-Match wins over If-Unmodified-Since */
	assert_int_equal(COND("\"abc\"", NULL, -1, 500), COND_PASS);
	assert_int_equal(COND(NULL, NULL, -1, 500), COND_FAILED);
	assert_int_equal(COND(NULL, NULL, -1, 1000), COND_PASS);
	/* If-None-Match wins over If-Modified-Since */
	assert_int_equal(COND(NULL, "\"abc\"", -1, -1), COND_NOT_MODIFIED);
	assert_int_equal(COND(NULL, "W/\"abc\"", -1, -1), COND_NOT_MODIFIED);
	assert_int_equal(COND(NULL, "*", -1, -1), COND_NOT_MODIFIED);
	assert_int_equal(COND(NULL, "\"x\"", 2000, -1), COND_PASS);
	assert_int_equal(COND(NULL, "\"abc\"", 500, -1), COND_NOT_MODIFIED);
	assert_int_equal(COND(NULL, NULL, 1000, -1), COND_NOT_MODIFIED);
	assert_int_equal(COND(NULL, NULL, 999, -1), COND_PASS);
	/* a failed precondition comes before 304 */
	assert_int_equal(COND("\"x\"", "\"abc\"", -1, -1), COND_FAILED);
	assert_int_equal(COND(NULL, "\"abc\"", -1, 1), COND_FAILED);
#undef COND
	assert_true(cond_if_range(STR_LIT("\"abc\""), etag, 0));
	assert_false(cond_if_range(STR_LIT("W/\"abc\""), etag, 0));
	assert_true(cond_if_range(STR_LIT("Thu, 01 Jan 1970 00:16:40 GMT"),
	    etag, 1000));
	assert_false(cond_if_range(STR_LIT("Thu, 01 Jan 1970 00:16:41 GMT"),
	    etag, 1000));
}

static void
test_write_conditions(void **state)
{
	static const struct {
		const char *headers;
		int rc;
		bool any;
		const char *match;
	} t[] = {
		{ "", 0, false, NULL },
		{ "If-None-Match: *\n", 0, true, NULL },
		{ "If-Match: \"abc\"\n", 0, false, "abc" },
		{ "If-Match: abc\n", 0, false, "abc" },
		{ "If-Match: *\n", 0, false, "*" },
		{ "If-None-Match: \"abc\"\n", ERR_NOT_IMPLEMENTED, false,
		    NULL },
		{ "If-Match: \"a\", \"b\"\n", ERR_NOT_IMPLEMENTED, false,
		    NULL },
		{ "If-Match: a\nIf-Match: b\n", ERR_NOT_IMPLEMENTED, false,
		    NULL },
		{ "If-Match: W/\"a\"\n", ERR_NOT_IMPLEMENTED, false, NULL },
		{ "If-Match:\n", ERR_NOT_IMPLEMENTED, false, NULL },
		{ "If-Match: a\nIf-None-Match: *\n", ERR_NOT_IMPLEMENTED, false,
		    NULL },
		{ "If-Modified-Since: x\n", ERR_NOT_IMPLEMENTED, false, NULL },
		{ "If-Unmodified-Since: x\n", ERR_NOT_IMPLEMENTED, false,
		    NULL },
	};
	struct write_cond c;
	struct err e = ERR_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(parse("PUT", "/b/k", t[i].headers), 0);
		if (s3_write_cond(&req, &c, &e) != t[i].rc)
			fail_msg("%s", t[i].headers);
		if (t[i].rc == 0) {
			assert_int_equal(c.if_none_match_any, t[i].any);
			assert_true(t[i].match == NULL
					? c.if_match.p == NULL
					: str_eqz(c.if_match, t[i].match));
		}
		fake_fini(&http);
	}
}

static void
test_object_headers(void **state)
{
	struct err e = ERR_INIT;
	struct header *h;
	struct str v;
	size_t n;

	(void)state;
	assert_int_equal(parse("PUT", "/b/k",
			     "Content-Type: text/plain\n"
			     "Content-Encoding: gzip, AWS-Chunked\n"
			     "Content-Encoding: br\n"
			     "X-Amz-Meta-Foo: one\n"
			     "x-amz-meta-foo: two\n"
			     "x-amz-meta-latin: \xe9t\xe9\n"
			     "x-amz-meta-utf8: \xc3\xa4\n"
			     "x-amz-meta-empty:\n"
			     "x-amz-storage-class: STANDARD_IA\n"
			     "X-Other: no\n"),
	    0);
	assert_int_equal(s3_object_headers(&req, &h, &n, &e), 0);
	assert_int_equal(n, 7);
	assert_true(
	    str_eqz(header_find(h, n, "content-type")->value, "text/plain"));
	assert_true(
	    str_eqz(header_find(h, n, "content-encoding")->value, "gzip, br"));
	assert_true(
	    str_eqz(header_find(h, n, "x-amz-meta-foo")->value, "one,two"));
	assert_true(str_eqz(header_find(h, n, "x-amz-meta-latin")->value,
	    "\xc3\xa9t\xc3\xa9"));
	v = header_encode(header_find(h, n, "x-amz-meta-utf8")->value, req.a);
	assert_true(str_eqz(v, "=?UTF-8?B?w6Q=?="));
	assert_true(str_eqz(header_find(h, n, "x-amz-meta-empty")->value, ""));
	assert_true(str_eqz(header_find(h, n, "x-amz-storage-class")->value,
	    "STANDARD_IA"));
	fake_fini(&http);

	assert_int_equal(parse("PUT", "/b/k",
			     "Content-Encoding: aws-chunked\n"
			     "x-amz-storage-class: STANDARD\n"),
	    0);
	assert_int_equal(s3_object_headers(&req, &h, &n, &e), 0);
	assert_int_equal(n, 0);
	fake_fini(&http);
	assert_int_equal(parse("PUT", "/b/k", "x-amz-storage-class: FLOPPY\n"),
	    0);
	assert_int_equal(s3_object_headers(&req, &h, &n, &e),
	    ERR_INVALID_STORAGE_CLASS);
	fake_fini(&http);
}

static void
test_metadata_limit(void **state)
{
	struct err e = ERR_INIT;
	char text[4096];
	struct header *h;
	size_t n;
	int extra;

	(void)state;
	for (extra = 0; extra < 2; extra++) {
		memset(text, 'v', sizeof(text));
		memcpy(text, "x-amz-meta-ab: ", 15);
		strcpy(text + 15 + 2046 + extra, "\n"); /* "ab" counts */
		assert_int_equal(parse("PUT", "/b/k", text), 0);
		assert_int_equal(s3_object_headers(&req, &h, &n, &e),
		    extra == 0 ? 0 : ERR_METADATA_TOO_LARGE);
		fake_fini(&http);
	}
}

static void
test_checksum_claim(void **state)
{
	static const struct {
		const char *headers;
		int rc;
		uint8_t alg;
	} t[] = {
		{ "", 0, CHECKSUM_NONE },
		{ "x-amz-checksum-crc32: DUoRhQ==\n", 0, CHECKSUM_CRC32 },
		{ "x-amz-checksum-mode: ENABLED\n", 0, CHECKSUM_NONE },
		{ "x-amz-checksum-crc32: DUoRhQ==\n"
		  "x-amz-sdk-checksum-algorithm: crc32\n",
		    0, CHECKSUM_CRC32 },
		{ "x-amz-sdk-checksum-algorithm: CRC32\n", 0, CHECKSUM_NONE },
		{ "x-amz-checksum-crc32: DUoRhQ==\n"
		  "x-amz-sdk-checksum-algorithm: SHA1\n",
		    ERR_INVALID_REQUEST, 0 },
		{ "x-amz-sdk-checksum-algorithm: CRC16\n", ERR_INVALID_REQUEST,
		    0 },
		{ "x-amz-checksum-crc32: bad\n", ERR_BAD_DIGEST, 0 },
		{ "x-amz-checksum-crc32: DUoRhQ==-1\n", ERR_BAD_DIGEST, 0 },
		{ "x-amz-checksum-crc16: AAA=\n", ERR_INVALID_REQUEST, 0 },
		{ "x-amz-checksum-crc32: DUoRhQ==\n"
		  "x-amz-checksum-crc32c: DUoRhQ==\n",
		    ERR_INVALID_REQUEST, 0 },
		{ "x-amz-trailer: x-amz-checksum-crc32\n", ERR_INVALID_REQUEST,
		    0 }, /* the payload kind has no trailer */
		{ "x-amz-checksum-crc32: DUoRhQ==\n"
		  "x-amz-trailer: x-amz-checksum-crc32\n",
		    ERR_INVALID_REQUEST, 0 },
	};
	struct checksum c;
	struct err e = ERR_INIT;
	bool trailer;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(parse("PUT", "/b/k", t[i].headers), 0);
		if (s3_checksum_claim(&req, false, &c, &trailer, &e) !=
			t[i].rc ||
		    (t[i].rc == 0 && c.alg != t[i].alg))
			fail_msg("%s", t[i].headers);
		fake_fini(&http);
	}
}

static int
body(const char *headers, const char *text, enum auth_payload kind,
    const char *sha256)
{
	struct buf out = BUF_CAP(65536);
	struct err e = ERR_INIT;
	int rc;

	assert_int_equal(parse("POST", "/b?delete", headers), 0);
	http.body = str_of(text);
	http.info.content_length = (int64_t)strlen(text);
	req.auth.payload = kind;
	if (sha256 != NULL)
		assert_true(hex_decode(str_of(sha256), req.auth.payload_hash));
	rc = s3_body_all(&req, 65536, 0, &out, &e);
	if (rc == 0)
		assert_true(str_eqz(buf_str(&out), text));
	buf_fini(&out);
	fake_fini(&http);
	return rc;
}

static void
test_body_checks(void **state)
{
	static const char hash[] = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5"
				   "380ee9088f7ace2efcde9";
	static const char hello[] = "hello world";

	(void)state;
	assert_int_equal(body("", hello, AUTH_PAYLOAD_HASH, hash), 0);
	assert_int_equal(body("", "hello worlD", AUTH_PAYLOAD_HASH, hash),
	    ERR_XAMZ_CONTENT_SHA256_MISMATCH);
	assert_int_equal(body("Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==\n", hello,
			     AUTH_PAYLOAD_UNSIGNED, NULL),
	    0);
	assert_int_equal(body("Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==\n", "x",
			     AUTH_PAYLOAD_UNSIGNED, NULL),
	    ERR_BAD_DIGEST);
	assert_int_equal(body("Content-MD5: YWJyYWNhZGFicmE=\n", hello,
			     AUTH_PAYLOAD_UNSIGNED, NULL),
	    ERR_INVALID_DIGEST);
	assert_int_equal(body("Content-MD5:\n", hello, AUTH_PAYLOAD_UNSIGNED,
			     NULL),
	    ERR_INVALID_DIGEST);
	assert_int_equal(body("x-amz-checksum-crc32: DUoRhQ==\n", hello,
			     AUTH_PAYLOAD_UNSIGNED, NULL),
	    0);
	assert_int_equal(body("x-amz-checksum-crc32: DUoRhQ==\n", "hello",
			     AUTH_PAYLOAD_UNSIGNED, NULL),
	    ERR_BAD_DIGEST);
}

static void
test_errors_hide_the_inside(void **state)
{
	struct err e = ERR_INIT;
	struct str xml;

	(void)state;
	assert_int_equal(parse("GET", "/b/<k>&", ""), 0);
	err_set(&e, ERR_IO, "open /secret/path");
	s3_reply_error(&req, &e);
	xml = buf_str(&http.answer);
	assert_int_equal(http.status, 500);
	assert_true(str_find(xml, STR_LIT("secret")) < 0);
	assert_true(str_find(xml, STR_LIT("<Code>InternalError</Code>")) > 0);
	assert_true(str_find(xml,
			STR_LIT("<Resource>/b/&lt;k&gt;&amp;</Resource>")) > 0);
	assert_true(
	    str_find(xml, STR_LIT("<RequestId>0123456789ABCDEF</RequestId>")) >
	    0);
	assert_true(str_eqz(fake_out(&http, "Server"), "Creel"));
	fake_fini(&http);
}

static void
test_cors(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse("OPTIONS", "/b/k",
			     "Origin: https://a.example\n"
			     "Access-Control-Request-Method: PUT\n"
			     "Access-Control-Request-Headers: x-amz-date, a\n"),
	    0);
	s3_common_headers(&req);
	assert_int_equal(s3_cors_preflight(&req, &e), 0);
	assert_int_equal(http.status, 200);
	assert_true(
	    str_eqz(fake_out(&http, "Access-Control-Allow-Origin"), "*"));
	assert_null(fake_out(&http, "Access-Control-Allow-Credentials").p);
	assert_true(str_eqz(fake_out(&http, "Access-Control-Allow-Headers"),
	    "x-amz-date, a"));
	fake_fini(&http);

	s3.cors = "https://b.example, https://c.example";
	assert_int_equal(parse("OPTIONS", "/b/k",
			     "Origin: https://a.example\n"
			     "Access-Control-Request-Method: PUT\n"),
	    0);
	s3_common_headers(&req);
	assert_int_equal(s3_cors_preflight(&req, &e), ERR_ACCESS_FORBIDDEN);
	assert_null(fake_out(&http, "Access-Control-Allow-Origin").p);
	assert_true(str_eqz(fake_out(&http, "Vary"), "Origin"));
	fake_fini(&http);
	assert_int_equal(parse("GET", "/b/k", "Origin: https://c.example\n"),
	    0);
	s3_common_headers(&req);
	assert_true(str_eqz(fake_out(&http, "Access-Control-Allow-Origin"),
	    "https://c.example"));
	fake_fini(&http);
	s3.cors = "*";
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_hoisted),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_read_conditions),
		cmocka_unit_test(test_write_conditions),
		cmocka_unit_test(test_object_headers),
		cmocka_unit_test(test_metadata_limit),
		cmocka_unit_test(test_checksum_claim),
		cmocka_unit_test(test_body_checks),
		cmocka_unit_test(test_errors_hide_the_inside),
		cmocka_unit_test(test_cors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
