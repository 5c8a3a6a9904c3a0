/* What auth_parse() accepts and refuses: one line a case, with the code that
 * AWS gives (S3.md section 4, items 3 to 6). */
#include "auth_test.h"

#define NOW "20130524T000000Z"
#define SIG "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
#define NAMES "host;x-amz-content-sha256;x-amz-date"
#define HDR(cred, names)                                                       \
	"AWS4-HMAC-SHA256 Credential=" cred ", SignedHeaders=" names           \
	", Signature=" SIG
#define GOOD HDR(CRED, NAMES)

/* One header replaced, added or removed in a good V4 request. */
struct header_case {
	const char *name, *value; /* value NULL: removed */
	int rc;
	const char *now;
};

static const struct header_case header_cases[] = {
	{ "X-Nothing", "1", 0, NULL },
	{ "Authorization", GOOD, 0, NULL },
	{ "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" CRED ",SignedHeaders=" NAMES
	    ",Signature=" SIG,
	    0, NULL },
	{ "Authorization",
	    "AWS4-HMAC-SHA256  Signature=" SIG " ,SignedHeaders=" NAMES
	    " ,Credential=" CRED,
	    0, NULL },
	{ "Authorization", HDR("a/b/20130524/x/s3/aws4_request", NAMES), 0,
	    NULL },
	{ "Authorization",
	    HDR(AK "/20130524/any-region_9/s3/aws4_request", NAMES), 0, NULL },
	/* syntax */
	{ "Authorization", "", ERR_ACCESS_DENIED, NULL },
	{ "Authorization", "x", ERR_INVALID_ARGUMENT, NULL },
	{ "Authorization", "Bearer abc", ERR_INVALID_ARGUMENT, NULL },
	{ "Authorization", "Basic dTpw", ERR_INVALID_ARGUMENT, NULL },
	{ "Authorization", "AWS HAHAHA", ERR_INVALID_ARGUMENT, NULL },
	{ "Authorization", "AWS :sig", ERR_INVALID_ARGUMENT, NULL },
	{ "Authorization", "AWS key:", ERR_INVALID_ARGUMENT, NULL },
	{ "Authorization", "AWS4-HMAC-SHA256", ERR_AUTH_HEADER_MALFORMED,
	    NULL },
	{ "Authorization", "AWS4-HMAC-SHA512 " GOOD, ERR_INVALID_ARGUMENT,
	    NULL },
	{ "Authorization", "AWS4-ECDSA-P256-SHA256 " GOOD, ERR_NOT_IMPLEMENTED,
	    NULL },
	{ "Authorization", "AWS4-HMAC-SHA256 x", ERR_AUTH_HEADER_MALFORMED,
	    NULL },
	{ "Authorization", GOOD ", Extra=1", ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization", GOOD ", Signature=" SIG, ERR_AUTH_HEADER_MALFORMED,
	    NULL },
	{ "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" CRED ", Signature=" SIG,
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" CRED ", SignedHeaders=" NAMES
	    ", Signature=",
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	/* scope */
	{ "Authorization", HDR("/20130524/us-east-1/s3/aws4_request", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization", HDR("20130524/us-east-1/s3/aws4_request", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization", HDR(AK "/20130524/us-east-1/s3", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization", HDR(AK "/20130525/us-east-1/s3/aws4_request", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization",
	    HDR(AK "/2013-05-24/us-east-1/s3/aws4_request", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization", HDR(AK "/20130524//s3/aws4_request", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization",
	    HDR(AK "/20130524/us-east-1/sqs/aws4_request", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	{ "Authorization",
	    HDR(AK "/20130524/us-east-1/s3/aws4_requests", NAMES),
	    ERR_AUTH_HEADER_MALFORMED, NULL },
	/* signed headers */
	{ "Authorization", HDR(CRED, "x-amz-content-sha256;x-amz-date"),
	    ERR_ACCESS_DENIED, NULL },
	{ "Authorization", HDR(CRED, "host;x-amz-date"), ERR_ACCESS_DENIED,
	    NULL },
	{ "Authorization", HDR(CRED, NAMES ";host"), ERR_AUTH_HEADER_MALFORMED,
	    NULL },
	{ "Authorization", HDR(CRED, NAMES ";;"), ERR_AUTH_HEADER_MALFORMED,
	    NULL },
	{ "x-amz-acl", "private", ERR_ACCESS_DENIED, NULL },
	{ "X-AMZ-Copy-Source", "/b/k", ERR_ACCESS_DENIED, NULL },
	{ "x-amz-meta-a", "1", ERR_ACCESS_DENIED, NULL },
	{ "x-amz-security-token", "1", ERR_ACCESS_DENIED, NULL },
	{ "x-amz-cf-id", "abc", 0, NULL },
	{ "x-amzn-trace-id", "abc", 0, NULL },
	/* date and skew */
	{ "X-Amz-Date", NULL, ERR_ACCESS_DENIED, NULL },
	{ "X-Amz-Date", "yesterday", ERR_ACCESS_DENIED, NULL },
	{ "X-Amz-Date", "", ERR_ACCESS_DENIED, NULL },
	{ "X-Amz-Date", "20130524T000000", ERR_ACCESS_DENIED, NULL },
	{ "X-Amz-Date", "19500707T215304Z", ERR_ACCESS_DENIED, NULL },
	{ "X-Amz-Date", "20100707T215304Z", ERR_REQUEST_TIME_TOO_SKEWED, NULL },
	{ "X-Amz-Date", "99990707T215304Z", ERR_REQUEST_TIME_TOO_SKEWED, NULL },
	{ "X-Amz-Date", "Fri, 24 May 2013 00:00:00 GMT", 0, NULL },
	{ "Date", "garbage", 0, NULL },
	{ "X-Nothing", "1", 0, "20130524T001500Z" },
	{ "X-Nothing", "1", ERR_REQUEST_TIME_TOO_SKEWED, "20130524T001501Z" },
	{ "X-Nothing", "1", 0, "20130523T234500Z" },
	{ "X-Nothing", "1", ERR_REQUEST_TIME_TOO_SKEWED, "20130523T234459Z" },
	/* payload */
	{ "X-Amz-Content-Sha256", NULL, ERR_INVALID_REQUEST, NULL },
	{ "X-Amz-Content-Sha256", "", ERR_INVALID_ARGUMENT, NULL },
	{ "X-Amz-Content-Sha256", "e3b0", ERR_INVALID_ARGUMENT, NULL },
	{ "X-Amz-Content-Sha256", "unsigned-payload", ERR_INVALID_ARGUMENT,
	    NULL },
	{ "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD", 0, NULL },
	{ "X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
	    ERR_NOT_IMPLEMENTED, NULL },
	{ "X-Amz-Content-Sha256",
	    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
	    ERR_NOT_IMPLEMENTED, NULL },
};

static struct request
good(void)
{
	return (struct request){ "GET", "/b/k", NULL, NULL, NOW,
		{ { "Host", "h" }, { "Authorization", GOOD },
		    { "X-Amz-Date", NOW },
		    { "X-Amz-Content-Sha256", EMPTY_SHA } } };
}

static void
replace(struct request *r, const char *name, const char *value)
{
	size_t i;

	for (i = 0; r->headers[i][0] != NULL; i++) {
		if (str_ieq(str_of(r->headers[i][0]), str_of(name)))
			break;
	}
	r->headers[i][0] = value == NULL ? "X-Gone" : name;
	r->headers[i][1] = value == NULL ? "" : value;
}

static void
test_header_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(header_cases) / sizeof(*header_cases);
	     i++) {
		const struct header_case *c = &header_cases[i];
		struct request r = good();
		struct outcome o;

		replace(&r, c->name, c->value);
		if (c->now != NULL)
			r.now = c->now;
		if (run_parse(&r, &o) != c->rc) {
			print_message("case %zu, %s: %s -> %s %s\n", i, c->name,
			    c->value, err_name(o.rc), o.e.msg);
			fail();
		}
		done(&o);
	}
}

static void
test_one_claim(void **state)
{
	static const struct {
		const char *query;
		bool header, second;
		int rc;
	} cases[] = {
		{ NULL, false, false, 0 },
		{ "prefix=a", false, false, 0 },
		{ NULL, true, true, ERR_INVALID_ARGUMENT },
		{ "X-Amz-Algorithm=AWS4-HMAC-SHA256", true, false,
		    ERR_INVALID_ARGUMENT },
		{ "X-Amz-Signature=", true, false, ERR_INVALID_ARGUMENT },
		{ "x-amz-credential=a", true, false, ERR_INVALID_ARGUMENT },
		{ "%58-Amz-Signature=a", true, false, ERR_INVALID_ARGUMENT },
		{ "Signature=a", true, false, ERR_INVALID_ARGUMENT },
		{ "AWSAccessKeyId=a", true, false, ERR_INVALID_ARGUMENT },
		{ "Signature=a&X-Amz-Signature=b", false, false,
		    ERR_INVALID_ARGUMENT },
		{ "X-Amz-Signature=a", false, false,
		    ERR_AUTH_QUERY_PARAMETERS },
		{ "Signature=a", false, false, ERR_ACCESS_DENIED },
		{ "AWSAccessKeyId=a", false, false, ERR_ACCESS_DENIED },
		{ "a=%", false, false, ERR_INVALID_URI },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct request r = { "GET", "/b/k", cases[i].query, NULL, NOW,
			{ { "Host", "h" }, { "X-Amz-Date", NOW },
			    { "X-Amz-Content-Sha256", EMPTY_SHA } } };
		struct outcome o;

		if (cases[i].header) {
			r.headers[3][0] = "Authorization";
			r.headers[3][1] = GOOD;
		}
		if (cases[i].second) {
			r.headers[4][0] = "authorization";
			r.headers[4][1] = "AWS a:b";
		}
		if (run_parse(&r, &o) != cases[i].rc) {
			print_message("case %zu -> %s\n", i, err_name(o.rc));
			fail();
		}
		if (o.rc == 0)
			assert_int_equal(o.au.kind, AUTH_ANONYMOUS);
		done(&o);
	}
}

/* A presigned URL with one parameter replaced (NULL: left out). */
static int
query_case(const char *name, const char *value, const char *now,
    const char *header, const char *header_value, struct outcome *o)
{
	static const char *const good_params[][2] = {
		{ "X-Amz-Algorithm", "AWS4-HMAC-SHA256" },
		{ "X-Amz-Credential",
		    AK "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" },
		{ "X-Amz-Date", NOW },
		{ "X-Amz-Expires", "86400" },
		{ "X-Amz-SignedHeaders", "host" },
		{ "X-Amz-Signature", SIG },
	};
	char query[2048] = "";
	struct request r = { "PUT", "/b/k", query, NULL, now,
		{ { "Host", "h" }, { header, header_value } } };
	bool used = false;

	for (size_t i = 0; i < 6; i++) {
		const char *v = good_params[i][1];

		if (name != NULL && strcmp(name, good_params[i][0]) == 0) {
			v = value;
			used = true;
		}
		if (v == NULL)
			continue;
		strcat(query, good_params[i][0]);
		strcat(query, "=");
		strcat(query, v);
		strcat(query, "&");
	}
	if (name != NULL && !used) {
		strcat(query, name);
		strcat(query, "=");
		strcat(query, value);
	}
	run_parse(&r, o);
	done(o);
	return o->rc;
}

static void
test_query_cases(void **state)
{
	static const struct {
		const char *name, *value;
		int rc;
		const char *now, *header, *header_value;
	} cases[] = {
		{ NULL, NULL, 0, NOW, NULL, NULL },
		{ "X-Amz-Algorithm", NULL, ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Credential", NULL, ERR_AUTH_QUERY_PARAMETERS, NOW,
		    NULL, NULL },
		{ "X-Amz-Date", NULL, ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Expires", NULL, ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-SignedHeaders", NULL, ERR_AUTH_QUERY_PARAMETERS, NOW,
		    NULL, NULL },
		{ "X-Amz-Signature", NULL, ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "x-amz-signature", "a", ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Algorithm", "AWS4-HMAC-SHA1",
		    ERR_AUTH_QUERY_PARAMETERS, NOW, NULL, NULL },
		{ "X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256",
		    ERR_NOT_IMPLEMENTED, NOW, NULL, NULL },
		{ "X-Amz-Credential", "a/b", ERR_AUTH_QUERY_PARAMETERS, NOW,
		    NULL, NULL },
		{ "X-Amz-Credential", AK "/20130523/r/s3/aws4_request",
		    ERR_AUTH_QUERY_PARAMETERS, NOW, NULL, NULL },
		{ "X-Amz-Credential", AK "/20130524/r/s4/aws4_request",
		    ERR_AUTH_QUERY_PARAMETERS, NOW, NULL, NULL },
		{ "X-Amz-Date", "now", ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Expires", "0", ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Expires", "-1", ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Expires", "%2B1", ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Expires", "1h", ERR_AUTH_QUERY_PARAMETERS, NOW, NULL,
		    NULL },
		{ "X-Amz-Expires", "604800", 0, NOW, NULL, NULL },
		{ "X-Amz-Expires", "604801", ERR_AUTH_QUERY_PARAMETERS, NOW,
		    NULL, NULL },
		{ "X-Amz-Expires", "99999999999999999999999",
		    ERR_AUTH_QUERY_PARAMETERS, NOW, NULL, NULL },
		{ "X-Amz-Expires", "60", 0, "20130524T000100Z", NULL, NULL },
		{ "X-Amz-Expires", "60", ERR_REQUEST_EXPIRED,
		    "20130524T000101Z", NULL, NULL },
		{ NULL, NULL, 0, "20130523T234500Z", NULL, NULL },
		{ NULL, NULL, ERR_ACCESS_DENIED, "20130523T234459Z", NULL,
		    NULL },
		{ "X-Amz-SignedHeaders", "range", ERR_ACCESS_DENIED, NOW, NULL,
		    NULL },
		{ "X-Amz-SignedHeaders", "host;host", ERR_AUTH_QUERY_PARAMETERS,
		    NOW, NULL, NULL },
		/* headers of the one who uses the URL */
		{ NULL, NULL, ERR_ACCESS_DENIED, NOW, "x-amz-copy-source",
		    "/b/other" },
		{ NULL, NULL, ERR_ACCESS_DENIED, NOW, "x-amz-acl",
		    "public-read" },
		{ NULL, NULL, ERR_ACCESS_DENIED, NOW, "X-Amz-Content-Sha256",
		    "UNSIGNED-PAYLOAD" },
		{ "X-Amz-SignedHeaders", "host%3Bx-amz-acl", 0, NOW,
		    "x-amz-acl", "public-read" },
		{ NULL, NULL, 0, NOW, "x-amz-cf-id", "1" },
		{ NULL, NULL, 0, NOW, "Content-Type", "text/plain" },
		/* payload kinds as a parameter */
		{ "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD", 0, NOW, NULL,
		    NULL },
		{ "X-Amz-Content-Sha256", EMPTY_SHA, 0, NOW, NULL, NULL },
		{ "X-Amz-Content-Sha256", "nonsense", ERR_INVALID_ARGUMENT, NOW,
		    NULL, NULL },
		{ "X-Amz-Security-Token", "t", 0, NOW, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct outcome o;

		if (query_case(cases[i].name, cases[i].value, cases[i].now,
			cases[i].header, cases[i].header_value,
			&o) == cases[i].rc)
			continue;
		print_message("case %zu, %s=%s -> %s %s\n", i, cases[i].name,
		    cases[i].value, err_name(o.rc), o.e.msg);
		fail();
	}
}

static void
test_payload_kinds(void **state)
{
	static const struct {
		const char *value;
		enum auth_payload payload;
		int anonymous_rc;
	} cases[] = {
		{ EMPTY_SHA, AUTH_PAYLOAD_HASH, 0 },
		{ "UNSIGNED-PAYLOAD", AUTH_PAYLOAD_UNSIGNED, 0 },
		{ "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", AUTH_PAYLOAD_STREAM,
		    ERR_INVALID_ARGUMENT },
		{ "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
		    AUTH_PAYLOAD_STREAM_TRAILER, ERR_INVALID_ARGUMENT },
		{ "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		    AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct request r = good();
		struct outcome o;

		replace(&r, "X-Amz-Content-Sha256", cases[i].value);
		assert_int_equal(run_parse(&r, &o), 0);
		assert_int_equal(o.au.payload, cases[i].payload);
		if (o.au.payload == AUTH_PAYLOAD_HASH)
			assert_int_equal(o.au.payload_hash[0], 0xe3);
		done(&o);
		/* A wrong signature is wrong with each of them. */
		assert_int_equal(run_verify(&r, SK, &o),
		    ERR_SIGNATURE_DOES_NOT_MATCH);
		done(&o);
		replace(&r, "Authorization", NULL);
		assert_int_equal(run_parse(&r, &o), cases[i].anonymous_rc);
		done(&o);
		replace(&r, "Authorization", "AWS " AK ":abc");
		assert_int_equal(run_parse(&r, &o), cases[i].anonymous_rc);
		done(&o);
	}
}

static void
test_v2_rules(void **state)
{
	static const struct {
		const char *query, *name, *value;
		int rc;
	} cases[] = {
		{ NULL, "Date", "Fri, 24 May 2013 00:00:00 GMT",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ NULL, "Date", "Fri, 24 May 2013 00:15:00 +0000",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ NULL, "Date", "Fri, 24 May 2013 00:15:01 GMT",
		    ERR_REQUEST_TIME_TOO_SKEWED },
		{ NULL, "x-amz-date", "Tue, 07 Jul 2010 21:53:04 GMT",
		    ERR_REQUEST_TIME_TOO_SKEWED },
		{ NULL, "x-amz-date", "Tue, 07 Jul 9999 21:53:04 GMT",
		    ERR_REQUEST_TIME_TOO_SKEWED },
		{ NULL, "x-amz-date", "Tue, 07 Jul 1950 21:53:04 GMT",
		    ERR_ACCESS_DENIED },
		{ NULL, "x-amz-date", "Bad Date", ERR_ACCESS_DENIED },
		{ NULL, "x-amz-date", "", ERR_ACCESS_DENIED },
		{ NULL, "X-Nothing", "", ERR_ACCESS_DENIED },
		{ "Signature=a&AWSAccessKeyId=b&Expires=1369353600", "X", "",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "Signature=a&AWSAccessKeyId=b&Expires=1369353599", "X", "",
		    ERR_REQUEST_EXPIRED },
		{ "Signature=a&AWSAccessKeyId=b&Expires=never", "X", "",
		    ERR_ACCESS_DENIED },
		{ "Signature=a&AWSAccessKeyId=b&Expires=-5", "X", "",
		    ERR_ACCESS_DENIED },
		{ "Signature=a&AWSAccessKeyId=b", "X", "", ERR_ACCESS_DENIED },
		{ "Signature=a&AWSAccessKeyId=b&AWSAccessKeyId=c&Expires="
		  "1369353600",
		    "X", "", ERR_ACCESS_DENIED },
		{ "Signature=&AWSAccessKeyId=b&Expires=1369353600", "X", "",
		    ERR_ACCESS_DENIED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct request r = { "GET", "/b/k", cases[i].query, NULL, NOW,
			{ { "Host", "h" },
			    { cases[i].name, cases[i].value } } };
		struct outcome o;

		if (cases[i].query == NULL) {
			r.headers[2][0] = "Authorization";
			r.headers[2][1] = "AWS " AK ":sig";
		}
		if (run_verify(&r, SK, &o) != cases[i].rc) {
			print_message("case %zu -> %s\n", i, err_name(o.rc));
			fail();
		}
		done(&o);
	}
}

/* botocore's V2 URLs: x-amz-* and Content-Type as parameters; sub-resources
 * belong to the resource, other parameters do not. */
static void
test_v2_strings(void **state)
{
	struct request r = { "PUT", "/b/k%20%c3",
		"AWSAccessKeyId=" AK "&Signature=x&Expires=1369353600"
		"&uploadId=a%2Fb&partNumber=3&prefix=z&acl&x-amz-acl=private"
		"&content-type=text%2Fplain",
		NULL, NOW, { { "Host", "h" }, { "Content-MD5", "m" } } };
	struct outcome o;

	(void)state;
	assert_int_equal(run_verify(&r, SK, &o), ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_true(str_eqz(o.au.string_to_sign,
	    "PUT\nm\ntext/plain\n1369353600\nx-amz-acl:private\n"
	    "/b/k%20%c3?acl&partNumber=3&uploadId=a/b"));
	done(&o);
	r.headers[2][0] = "X-Amz-Acl";
	r.headers[2][1] = " public-read ";
	r.headers[3][0] = "Content-Type";
	r.headers[3][1] = "a/b";
	r.vhost = "bkt";
	assert_int_equal(run_verify(&r, SK, &o), ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_true(str_eqz(o.au.string_to_sign,
	    "PUT\nm\na/b\n1369353600\nx-amz-acl:public-read\n"
	    "/bkt/b/k%20%c3?acl&partNumber=3&uploadId=a/b"));
	done(&o);
}

static void
test_many_signed_headers(void **state)
{
	struct request r = good();
	struct buf b = BUF_CAP(65536);
	struct outcome o;

	(void)state;
	assert_int_equal(buf_addz(&b, "AWS4-HMAC-SHA256 Credential=" CRED
				      ",SignedHeaders=" NAMES),
	    0);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(buf_addf(&b, ";h%d", i), 0);
	assert_int_equal(buf_addf(&b, ",Signature=" SIG "%c", 0), 0);
	replace(&r, "Authorization", b.p);
	assert_int_equal(run_parse(&r, &o), ERR_AUTH_HEADER_MALFORMED);
	done(&o);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_cases),
		cmocka_unit_test(test_one_claim),
		cmocka_unit_test(test_query_cases),
		cmocka_unit_test(test_payload_kinds),
		cmocka_unit_test(test_v2_rules),
		cmocka_unit_test(test_v2_strings),
		cmocka_unit_test(test_many_signed_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
