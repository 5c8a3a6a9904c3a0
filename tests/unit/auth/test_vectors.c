/* Signatures against the examples that AWS publishes: "Examples: Signature
 * Calculations" and "Authenticating Requests: Using Query Parameters" (V4),
 * "Signing and authenticating REST requests" (V2), "Transferring Payload in
 * Multiple Chunks" (seed signatures). */
#include "auth_test.h"

#define V4(signed_headers, signature)                                          \
	"AWS4-HMAC-SHA256 Credential=" CRED ",SignedHeaders=" signed_headers   \
	",Signature=" signature
#define HOST "examplebucket.s3.amazonaws.com"
#define NOW "20130524T000000Z"

static const struct request v4[] = {
	{ "GET", "/test.txt", NULL, "examplebucket", NOW,
	    { { "Host", HOST },
		{ "Authorization",
		    V4("host;range;x-amz-content-sha256;x-amz-date",
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039"
			"c6036bdb41") },
		{ "Range", "bytes=0-9" }, { "x-amz-content-sha256", EMPTY_SHA },
		{ "x-amz-date", NOW } } },
	{ "PUT", "/test$file.text", NULL, "examplebucket", NOW,
	    { { "Host", HOST }, { "Date", "Fri, 24 May 2013 00:00:00 GMT" },
		{ "Authorization",
		    V4("date;host;x-amz-content-sha256;x-amz-date;x-amz-"
		       "storage-class",
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971a"
			"f0ece108bd") },
		{ "x-amz-date", NOW },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" },
		{ "x-amz-content-sha256",
		    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803"
		    "f8b072" } } },
	{ "GET", "/", "lifecycle", "examplebucket", NOW,
	    { { "Host", HOST },
		{ "Authorization",
		    V4("host;x-amz-content-sha256;x-amz-date",
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a"
			"0136783543") },
		{ "x-amz-date", NOW },
		{ "x-amz-content-sha256", EMPTY_SHA } } },
	{ "GET", "/", "max-keys=2&prefix=J", "examplebucket", NOW,
	    { { "Host", HOST },
		{ "Authorization",
		    V4("host;x-amz-content-sha256;x-amz-date",
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed571"
			"1ef69dc6f7") },
		{ "x-amz-date", NOW },
		{ "x-amz-content-sha256", EMPTY_SHA } } },
	/* presigned */
	{ "GET", "/test.txt",
	    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
	    "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
	    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
	    "&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109"
	    "b86d86835f995330da4c265957d157751f604d404",
	    "examplebucket", NOW, { { "Host", HOST } } },
	/* the seeds of the chunked examples */
	{ "PUT", "/examplebucket/chunkObject.txt", NULL, NULL, NOW,
	    { { "Host", "s3.amazonaws.com" }, { "x-amz-date", NOW },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" },
		{ "Authorization",
		    V4("content-encoding;content-length;host;x-amz-content-"
		       "sha256;x-amz-date;x-amz-decoded-content-length;x-amz-"
		       "storage-class",
			"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7d"
			"b9fa80a0a9") },
		{ "x-amz-content-sha256",
		    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" },
		{ "Content-Encoding", "aws-chunked" },
		{ "x-amz-decoded-content-length", "66560" },
		{ "Content-Length", "66824" } } },
	{ "PUT", "/examplebucket/chunkObject.txt", NULL, NULL, NOW,
	    { { "Host", "s3.amazonaws.com" }, { "x-amz-date", NOW },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" },
		{ "Authorization",
		    V4("content-encoding;host;x-amz-content-sha256;x-amz-date;"
		       "x-amz-decoded-content-length;x-amz-storage-class;x-amz-"
		       "trailer",
			"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b7"
			"4544bfeb8e") },
		{ "x-amz-content-sha256",
		    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" },
		{ "Content-Encoding", "aws-chunked" },
		{ "x-amz-trailer", "x-amz-checksum-crc32c" },
		{ "x-amz-decoded-content-length", "66560" } } },
};

static const struct request v2[] = {
	{ "GET", "/photos/puppy.jpg", NULL, "awsexamplebucket1",
	    "20070327T193642Z",
	    { { "Host", "awsexamplebucket1.us-west-1.s3.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 19:36:42 +0000" },
		{ "Authorization",
		    "AWS " AK ":qgk2+6Sv9/oM7G3qLEjTH1a1l1g=" } } },
	{ "PUT", "/photos/puppy.jpg", NULL, "awsexamplebucket1",
	    "20070327T211545Z",
	    { { "Content-Type", "image/jpeg" }, { "Content-Length", "94328" },
		{ "Host", "awsexamplebucket1.s3.us-west-1.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 21:15:45 +0000" },
		{ "Authorization",
		    "AWS " AK ":iqRzw+ileNPu1fhspnRs8nOjjIA=" } } },
	{ "GET", "/", "prefix=photos&max-keys=50&marker=puppy",
	    "awsexamplebucket1", "20070327T194241Z",
	    { { "User-Agent", "Mozilla/5.0" },
		{ "Host", "awsexamplebucket1.s3.us-west-1.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 19:42:41 +0000" },
		{ "Authorization",
		    "AWS " AK ":m0WP8eCtspQl5Ahe6L1SozdX9YA=" } } },
	{ "GET", "/", "acl", "awsexamplebucket1", "20070327T194446Z",
	    { { "Host", "awsexamplebucket1.s3.us-west-1.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 19:44:46 +0000" },
		{ "Authorization",
		    "AWS " AK ":82ZHiFIjc+WbcwFKGUVEQspPn+0=" } } },
	{ "GET", "/photos/puppy.jpg", NULL, "johnsmith", "20070327T193642Z",
	    { { "Host", "johnsmith.s3.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 19:36:42 +0000" },
		{ "Authorization",
		    "AWS " AK ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=" } } },
	{ "PUT", "/photos/puppy.jpg", NULL, "johnsmith", "20070327T211545Z",
	    { { "Content-Type", "image/jpeg" }, { "Content-Length", "94328" },
		{ "Host", "johnsmith.s3.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 21:15:45 +0000" },
		{ "Authorization",
		    "AWS " AK ":MyyxeRY7whkBe+bq8fHCL/2kKUg=" } } },
	{ "GET", "/", "prefix=photos&max-keys=50&marker=puppy", "johnsmith",
	    "20070327T194241Z",
	    { { "Host", "johnsmith.s3.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 19:42:41 +0000" },
		{ "Authorization",
		    "AWS " AK ":htDYFYduRNen8P9ZfE/s9SuKy0U=" } } },
	{ "GET", "/", "acl", "johnsmith", "20070327T194446Z",
	    { { "Host", "johnsmith.s3.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 19:44:46 +0000" },
		{ "Authorization",
		    "AWS " AK ":c2WLPFtWHVgbEmeEG93a4cG37dM=" } } },
	{ "DELETE", "/awsexamplebucket1/photos/puppy.jpg", NULL, NULL,
	    "20070327T212027Z",
	    { { "User-Agent", "dotnet" }, { "Host", "s3.amazonaws.com" },
		{ "Date", "Tue, 27 Mar 2007 21:20:26 +0000" },
		{ "Authorization",
		    "AWS " AK ":XbyTlbQdu9Xw5o8P4iMwPktxQd8=" } } },
	{ "PUT", "/db-backup.dat.gz", NULL, "static.johnsmith.net",
	    "20070327T210608Z",
	    { { "User-Agent", "curl/7.15.5" },
		{ "Host", "static.johnsmith.net:8080" },
		{ "Date", "Tue, 27 Mar 2007 21:06:08 +0000" },
		{ "x-amz-acl", "public-read" },
		{ "content-type", "application/x-download" },
		{ "Content-MD5", "4gJE4saaMU4BqNR0kLY+lw==" },
		{ "X-Amz-Meta-ReviewedBy", "joe@johnsmith.net" },
		{ "X-Amz-Meta-ReviewedBy", "jane@johnsmith.net" },
		{ "X-Amz-Meta-FileChecksum", "0x02661779" },
		{ "X-Amz-Meta-ChecksumAlgorithm", "crc32" },
		{ "Content-Disposition", "attachment; filename=database.dat" },
		{ "Content-Encoding", "gzip" }, { "Content-Length", "5913339" },
		{ "Authorization",
		    "AWS " AK ":ilyl83RwaSoYIEdixDQcA4OnAnc=" } } },
	{ "GET", "/", NULL, NULL, "20070328T012959Z",
	    { { "Host", "s3.amazonaws.com" },
		{ "Date", "Wed, 28 Mar 2007 01:29:59 +0000" },
		{ "Authorization",
		    "AWS " AK ":qGdzdERIC03wnaRNKh6OqZehG9s=" } } },
	{ "GET", "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re", NULL, NULL,
	    "20070328T014949Z",
	    { { "Host", "s3.amazonaws.com" },
		{ "Date", "Wed, 28 Mar 2007 01:49:49 +0000" },
		{ "Authorization",
		    "AWS " AK ":DNEZGsoieTZ92F3bUfSPQcbGmlM=" } } },
	/* query: valid until 2007-03-29T03:40:20Z */
	{ "GET", "/photos/puppy.jpg",
	    "AWSAccessKeyId=" AK "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"
	    "&Expires=1175139620",
	    "johnsmith", "20070329T034019Z",
	    { { "Host", "johnsmith.s3.amazonaws.com" } } },
};

static void
check(const struct request *r, const char *wrong_path)
{
	struct request other = *r;
	struct outcome o;

	if (run_verify(r, SK, &o) != 0) {
		print_message("%s %s: %s\n%.*s\n--\n%.*s\n", r->method, r->path,
		    o.e.msg, STR_ARG(o.au.canonical_request),
		    STR_ARG(o.au.string_to_sign));
		fail();
	}
	assert_true(str_eqz(o.au.access_key, AK));
	done(&o);
	assert_int_equal(run_verify(r, SK "x", &o),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_true(o.au.string_to_sign.len > 0);
	done(&o);
	assert_int_equal(run_verify(r, NULL, &o), ERR_INVALID_ACCESS_KEY_ID);
	done(&o);
	assert_int_equal(run_verify(r, "", &o), ERR_INVALID_ACCESS_KEY_ID);
	done(&o);
	other.path = wrong_path;
	assert_int_equal(run_verify(&other, SK, &o),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	done(&o);
	other = *r;
	other.method = "HEAD";
	assert_int_equal(run_verify(&other, SK, &o),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	done(&o);
}

static void
test_v4(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(v4) / sizeof(*v4); i++)
		check(&v4[i], "/other.txt");
}

static void
test_v2(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(v2) / sizeof(*v2); i++)
		check(&v2[i], "/other.jpg");
}

static void
test_canonical_request(void **state)
{
	struct outcome o;

	(void)state;
	assert_int_equal(run_verify(&v4[1], SK, &o), 0);
	assert_true(str_eqz(o.au.canonical_request,
	    "PUT\n/test%24file.text\n\n"
	    "date:Fri, 24 May 2013 00:00:00 GMT\n"
	    "host:examplebucket.s3.amazonaws.com\n"
	    "x-amz-content-sha256:"
	    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n"
	    "x-amz-date:20130524T000000Z\n"
	    "x-amz-storage-class:REDUCED_REDUNDANCY\n\n"
	    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class\n"
	    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803"
	    "f8b072"));
	done(&o);
}

/* The path is decoded once and encoded anew: all of these are one request. */
static void
test_path_variants(void **state)
{
	static const char *const same[] = { "/test$file.text",
		"/test%24file.text", "/test%24file%2Etext",
		"/%74est$file.text" };
	static const char *const other[] = { "/test%2524file.text",
		"//test$file.text", "/./test$file.text", "/test%24file.text/" };
	struct request r = v4[1];
	struct outcome o;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		r.path = same[i];
		assert_int_equal(run_verify(&r, SK, &o), 0);
		done(&o);
		r.path = other[i];
		assert_int_equal(run_verify(&r, SK, &o),
		    ERR_SIGNATURE_DOES_NOT_MATCH);
		done(&o);
	}
	r.path = "/test%2";
	assert_int_equal(run_verify(&r, SK, &o), ERR_INVALID_URI);
	done(&o);
	r.path = "/test%zz";
	assert_int_equal(run_verify(&r, SK, &o), ERR_INVALID_URI);
	done(&o);
}

/* Signs with auth_sign() and verifies, so that both sides agree on what no
 * published example has. */
static int
round_trip(const char *path, const char *signed_query, const char *sent_query,
    const char *extra, const char *sent_extra)
{
	struct header h[4] = { { STR_LIT("host"), STR_LIT("h:9000") },
		{ STR_LIT("x-amz-date"), STR_LIT(NOW) },
		{ STR_LIT("x-amz-content-sha256"),
		    STR_LIT("UNSIGNED-PAYLOAD") },
		{ STR_LIT("X-Amz-Meta-A"), str_of(extra) } };
	struct request r = { "GET", path, sent_query, NULL, NOW,
		{ { "Host", "h:9000" }, { "X-Amz-Date", NOW },
		    { "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD" },
		    { "x-amz-meta-a", sent_extra } } };
	struct buf value = BUF_CAP(4096);
	struct outcome o;
	struct err e;
	int rc;

	assert_int_equal(auth_sign(STR_LIT("GET"), str_of(path),
			     str_of(signed_query), h, 4, STR_LIT(AK),
			     STR_LIT(SK), STR_LIT("eu-north-9"),
			     clock_parse_basic(NOW, 16), &value, &e),
	    0);
	assert_int_equal(buf_addc(&value, '\0'), 0);
	r.headers[4][0] = "authorization";
	r.headers[4][1] = value.p;
	rc = run_verify(&r, SK, &o);
	done(&o);
	buf_fini(&value);
	return rc;
}

static void
test_query_forms(void **state)
{
	static const char *const same[][2] = {
		{ "acl", "acl=" },
		{ "acl=&a=b", "&a=b&&acl&" },
		{ "prefix=a%20b", "prefix=a+b" },
		{ "prefix=a%2Bb", "prefix=%61%2bb" },
		{ "a=2&a=1&a-b=3&a%20b=4", "a%20b=4&a-b=3&a=1&a=2" },
		{ "%C3%A4=1&z=%e4&Z=", "Z&z=%E4&%C3%A4=1" },
		{ "k=a=b", "k=a%3Db" },
		{ "a1=&a2=&a3=&a4=&a5=&a6=&a7=&a8=&a9=&b1=&b2=&b3=&b4=&b5=&b6=&"
		  "b7=&b8=&b9=",
		    "b9&b8&b7&b6&b5&b4&b3&b2&b1&a9&a8&a7&a6&a5&a4&a3&a2&a1" },
	};
	static const char *const differ[][2] = {
		{ "prefix=a+b", "prefix=a%2Bb" },
		{ "prefix=a", "prefix=A" },
		{ "a=1", "a=1&a=1" },
		{ "a=1", "a=1&b" },
		{ "a", NULL },
		{ NULL, "versionId=x" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		assert_int_equal(round_trip("/b/k", same[i][0], same[i][1], "v",
				     "v"),
		    0);
	for (size_t i = 0; i < sizeof(differ) / sizeof(*differ); i++)
		assert_int_equal(round_trip("/b/k", differ[i][0], differ[i][1],
				     "v", "v"),
		    ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_int_equal(round_trip("/b/k", "a", "a=%4", "v", "v"),
	    ERR_INVALID_URI);
}

static void
test_header_forms(void **state)
{
	(void)state;
	assert_int_equal(round_trip("/b/k", NULL, NULL, "a b", "  a   b "), 0);
	assert_int_equal(round_trip("/b/k", NULL, NULL, "", " "), 0);
	assert_int_equal(round_trip("/b/k", NULL, NULL, "ab", "a b"),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_int_equal(round_trip("/b/k+%2B%20", NULL, NULL, "a", "a"), 0);
	assert_int_equal(round_trip("", NULL, NULL, "a", "a"), 0);
}

/* A long secret, and the thread's memory of keys: many users in turn. */
static void
test_many_secrets(void **state)
{
	char secret[200];
	struct header h[3] = { { STR_LIT("host"), STR_LIT("h") },
		{ STR_LIT("x-amz-date"), STR_LIT(NOW) },
		{ STR_LIT("x-amz-content-sha256"), STR_LIT(EMPTY_SHA) } };
	struct outcome o;
	struct err e;

	(void)state;
	for (int i = 0; i < 60; i++) {
		struct buf value = BUF_CAP(4096);
		struct request r = { "GET", "/", NULL, NULL, NOW,
			{ { "Host", "h" }, { "X-Amz-Date", NOW },
			    { "X-Amz-Content-Sha256", EMPTY_SHA } } };

		snprintf(secret, sizeof(secret), "%0*d", 1 + i % 7 * 25,
		    i % 7 + 1);
		assert_int_equal(auth_sign(STR_LIT("GET"), STR_LIT("/"),
				     STR_NULL, h, 3, STR_LIT("k"),
				     str_of(secret), STR_LIT("r"),
				     clock_parse_basic(NOW, 16), &value, &e),
		    0);
		assert_int_equal(buf_addc(&value, '\0'), 0);
		r.headers[3][0] = "Authorization";
		r.headers[3][1] = value.p;
		assert_int_equal(run_verify(&r, secret, &o), 0);
		done(&o);
		secret[0] ^= 1;
		assert_int_equal(run_verify(&r, secret, &o),
		    ERR_SIGNATURE_DOES_NOT_MATCH);
		done(&o);
		buf_fini(&value);
	}
}

static void
test_presign(void **state)
{
	struct buf url = BUF_CAP(4096);
	struct header q[] = { { STR_LIT("versionId"), STR_LIT("a/b c") } };
	struct request r = { "GET", "/test.txt", NULL, NULL, NOW,
		{ { "Host", HOST } } };
	struct outcome o;
	struct err e;

	(void)state;
	assert_int_equal(auth_presign(STR_LIT("GET"),
			     STR_LIT("https://" HOST ":443"),
			     STR_LIT("/test.txt"), NULL, 0, STR_LIT(AK),
			     STR_LIT(SK), STR_LIT("us-east-1"),
			     clock_parse_basic(NOW, 16), 86400, &url, &e),
	    0);
	assert_true(str_eqz(buf_str(&url),
	    "https://" HOST ":443/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
	    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2F"
	    "s3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
	    "&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109"
	    "b86d86835f995330da4c265957d157751f604d404"));
	buf_reset(&url);
	assert_int_equal(auth_presign(STR_LIT("GET"), STR_LIT("http://" HOST),
			     STR_LIT("/test.txt"), q, 1, STR_LIT(AK),
			     STR_LIT(SK), STR_LIT("us-east-1"),
			     clock_parse_basic(NOW, 16), 60, &url, &e),
	    0);
	assert_int_equal(buf_addc(&url, '\0'), 0);
	r.query = strchr(url.p, '?') + 1;
	assert_int_equal(run_verify(&r, SK, &o), 0);
	assert_int_equal(o.au.payload, AUTH_PAYLOAD_NONE);
	assert_int_equal(o.au.n_params, 7);
	done(&o);
	r.now = "20130524T000100Z"; /* the last second */
	assert_int_equal(run_verify(&r, SK, &o), 0);
	done(&o);
	r.now = "20130524T000101Z";
	assert_int_equal(run_verify(&r, SK, &o), ERR_REQUEST_EXPIRED);
	done(&o);
	buf_fini(&url);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v4),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_canonical_request),
		cmocka_unit_test(test_path_variants),
		cmocka_unit_test(test_query_forms),
		cmocka_unit_test(test_header_forms),
		cmocka_unit_test(test_many_secrets),
		cmocka_unit_test(test_presign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
