/* aws-chunked: AWS's examples ("Transferring Payload in Multiple Chunks", with
 * and without trailers), what SDKs send besides, and every way to break it
 * (S3.md section 4, item 7). Each case runs with whole reads, with odd sizes
 * and byte by byte. */
#include "auth_test.h"

#include "auth/chunked.h"
#include "lib/hash.h"

#define NOW "20130524T000000Z"

struct source {
	const char *p;
	size_t len, at, step;
};

static int
source_read(void *arg, void *p, size_t len, size_t *ret_len, struct err *e)
{
	struct source *s = arg;
	size_t n = s->len - s->at;

	(void)e;
	if (n > len)
		n = len;
	if (n > s->step)
		n = s->step;
	memcpy(p, s->p + s->at, n);
	s->at += n;
	*ret_len = n;
	return 0;
}

/* The example's seed and key. */
static struct auth
seed(enum auth_payload payload, const char *signature)
{
	struct auth au = { .kind = AUTH_V4_HEADER, .payload = payload };
	uint8_t k[32];

	au.amz_date = STR_LIT(NOW);
	au.scope = STR_LIT("20130524/us-east-1/s3/aws4_request");
	au.signature = str_of(signature);
	hmac_sha256(STR_LIT("AWS4" SK), STR_LIT("20130524"), k);
	hmac_sha256(str_mem(k, 32), STR_LIT("us-east-1"), k);
	hmac_sha256(str_mem(k, 32), STR_LIT("s3"), k);
	hmac_sha256(str_mem(k, 32), STR_LIT("aws4_request"), au.signing_key);
	return au;
}

static int
decode_once(const struct auth *au, uint64_t decoded, const char *const *names,
    struct str raw, size_t step, size_t len, struct buf *out, char *trailers)
{
	struct source src = { raw.p, raw.len, 0, step };
	struct arena *a = arena_new(1u << 20);
	struct str announced[16];
	struct aws_chunked *c;
	size_t n_names = 0, n;
	struct err e = ERR_INIT;
	char *p = malloc(len);
	int rc;

	while (names != NULL && names[n_names] != NULL) {
		announced[n_names] = str_of(names[n_names]);
		n_names++;
	}
	*trailers = '\0';
	buf_reset(out);
	rc = aws_chunked_new(au, decoded, announced, n_names, source_read, &src,
	    a, &c, &e);
	while (rc == 0) {
		rc = aws_chunked_read(c, p, len, &n, &e);
		if (rc < 0 || n == 0)
			break;
		assert_true(n <= len);
		assert_int_equal(buf_add(out, p, n), 0);
	}
	if (rc < 0) {
		struct err again;

		assert_int_equal(e.code, rc);
		/* C2: it stays failed, and there is no trailer. */
		assert_int_equal(aws_chunked_read(c, p, len, &n, &again), rc);
		aws_chunked_trailers(c, &n);
		assert_int_equal(n, 0);
	} else {
		const struct header *h = aws_chunked_trailers(c, &n);

		/* The end stays the end. */
		size_t more;
		assert_int_equal(aws_chunked_read(c, p, len, &more, &e), 0);
		assert_int_equal(more, 0);
		for (size_t i = 0; i < n; i++)
			sprintf(trailers + strlen(trailers), "%.*s=%.*s;",
			    STR_ARG(h[i].name), STR_ARG(h[i].value));
	}
	free(p);
	arena_free(&a);
	return rc;
}

static int
decode(const struct auth *au, uint64_t decoded, const char *const *names,
    struct str raw, struct buf *out, char *trailers)
{
	static const size_t steps[][2] = { { SIZE_MAX, 262144 }, { 1, 1 },
		{ 7, 4096 }, { 4096, 3 }, { SIZE_MAX, 1 } };
	int first = 0;

	for (size_t i = 0; i < 5; i++) {
		int rc = decode_once(au, decoded, names, raw, steps[i][0],
		    steps[i][1], out, trailers);

		if (i == 0)
			first = rc;
		assert_int_equal(rc, first);
	}
	return first;
}

/* --- AWS's examples --- */

#define SEED "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
#define C1                                                                     \
	"10000;chunk-signature="                                               \
	"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
#define C2                                                                     \
	"400;chunk-signature="                                                 \
	"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
#define C3                                                                     \
	"0;chunk-signature="                                                   \
	"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n"

#define T_SEED                                                                 \
	"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
#define T1                                                                     \
	"10000;chunk-signature="                                               \
	"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
#define T2                                                                     \
	"400;chunk-signature="                                                 \
	"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
#define T3                                                                     \
	"0;chunk-signature="                                                   \
	"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
#define T_SIG                                                                  \
	"x-amz-trailer-signature:"                                             \
	"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
#define CRC "x-amz-checksum-crc32c:sOO8/Q=="

static void
add_data(struct buf *b, char c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_addc(b, c), 0);
}

static void
body(struct buf *b, const char *h1, const char *h2, const char *h3,
    const char *rest)
{
	buf_reset(b);
	buf_addz(b, h1);
	add_data(b, 'a', 65536);
	buf_addz(b, "\r\n");
	buf_addz(b, h2);
	add_data(b, 'a', 1024);
	buf_addz(b, "\r\n");
	buf_addz(b, h3);
	buf_addz(b, rest);
}

static void
test_aws_example(void **state)
{
	struct auth au = seed(AUTH_PAYLOAD_STREAM, SEED);
	struct buf b = BUF_CAP(1u << 20), out = BUF_CAP(1u << 20);
	char t[512];

	(void)state;
	body(&b, C1, C2, C3, "\r\n");
	assert_int_equal(b.len, 66824); /* as the example says */
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t), 0);
	assert_int_equal(out.len, 66560);
	for (size_t i = 0; i < out.len; i++)
		assert_int_equal(out.p[i], 'a');
	/* without the last CRLF */
	body(&b, C1, C2, C3, "");
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t), 0);
	buf_fini(&b);
	buf_fini(&out);
}

static void
test_aws_trailer_example(void **state)
{
	static const char *const names[] = { "x-amz-checksum-crc32c", NULL };
	static const char *const forms[] = {
		/* AWS's page and minio-go; Java; without the last CRLF */
		CRC "\n\r\n" T_SIG "\r\n\r\n",
		CRC "\r\n" T_SIG "\r\n\r\n",
		CRC "\r\n" T_SIG "\r\n",
		CRC "\n" T_SIG,
	};
	struct auth au = seed(AUTH_PAYLOAD_STREAM_TRAILER, T_SEED);
	struct buf b = BUF_CAP(1u << 20), out = BUF_CAP(1u << 20);
	char t[512];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		body(&b, T1, T2, T3, forms[i]);
		assert_int_equal(decode(&au, 66560, names, buf_str(&b), &out,
				     t),
		    0);
		assert_int_equal(out.len, 66560);
		assert_string_equal(t, "x-amz-checksum-crc32c=sOO8/Q==;");
	}
	buf_fini(&b);
	buf_fini(&out);
}

static void
test_signed_negative(void **state)
{
	struct auth au = seed(AUTH_PAYLOAD_STREAM, SEED);
	struct buf b = BUF_CAP(1u << 20), out = BUF_CAP(1u << 20);
	char t[512];
	static const size_t flips[] = { 100, 65535, 65536 + 300, 50,
		65536 + 85 + 2 + 40, 66800 };

	(void)state;
	for (size_t i = 0; i < sizeof(flips) / sizeof(*flips); i++) {
		body(&b, C1, C2, C3, "\r\n");
		b.p[flips[i]] ^= 1;
		assert_int_equal(decode_once(&au, 66560, NULL, buf_str(&b),
				     5000, 262144, &out, t),
		    ERR_SIGNATURE_DOES_NOT_MATCH);
	}
	/* reordered, dropped, repeated */
	body(&b, C2, C1, C3, "\r\n");
	assert_true(decode(&au, 66560, NULL, buf_str(&b), &out, t) < 0);
	body(&b, C1, "", C3, "\r\n");
	assert_true(decode(&au, 66560, NULL, buf_str(&b), &out, t) < 0);
	body(&b, C1, C2, "", "");
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t),
	    ERR_INCOMPLETE_BODY);
	body(&b, C1, C2, C3 C3, "\r\n");
	assert_true(decode(&au, 66560, NULL, buf_str(&b), &out, t) < 0);
	/* the length off by one, both ways */
	body(&b, C1, C2, C3, "\r\n");
	assert_int_equal(decode(&au, 66561, NULL, buf_str(&b), &out, t),
	    ERR_INCOMPLETE_BODY);
	assert_int_equal(decode(&au, 66559, NULL, buf_str(&b), &out, t),
	    ERR_INVALID_REQUEST);
	/* data after the end, trailers that nobody asked for */
	body(&b, C1, C2, C3, "\r\nx");
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t),
	    ERR_INVALID_REQUEST);
	body(&b, C1, C2, C3, CRC "\r\n\r\n");
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t),
	    ERR_INVALID_REQUEST);
	/* cut anywhere */
	body(&b, C1, C2, C3, "\r\n");
	for (size_t cut = 0; cut < b.len - 2; cut += cut < 100 ? 1 : 997)
		assert_int_equal(decode_once(&au, 66560, NULL,
				     str_mem(b.p, cut), 4096, 4096, &out, t),
		    ERR_INCOMPLETE_BODY);
	/* another seed */
	au = seed(AUTH_PAYLOAD_STREAM, T_SEED);
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	buf_fini(&b);
	buf_fini(&out);
}

static void
test_signed_trailer_negative(void **state)
{
	static const char *const names[] = { "x-amz-checksum-crc32c", NULL };
	static const struct {
		const char *rest;
		int rc;
	} cases[] = {
		{ "\r\n", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ CRC "\r\n\r\n", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ CRC "\r\n", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ CRC "\n\r\n\r\n" T_SIG "\r\n\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "x-amz-checksum-crc32c:sOO8/R==\r\n" T_SIG "\r\n\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ CRC "\r\nx-amz-trailer-signature:00\r\n\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ T_SIG "\r\n" CRC "\r\n\r\n", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ CRC "\r\n" CRC "\r\n" T_SIG "\r\n\r\n",
		    ERR_MALFORMED_TRAILER },
		{ "x-amz-checksum-crc32:sOO8/Q==\r\n" T_SIG "\r\n\r\n",
		    ERR_MALFORMED_TRAILER },
		{ CRC "\r\n" T_SIG "\r\n" T_SIG "\r\n\r\n",
		    ERR_MALFORMED_TRAILER },
		{ CRC "\r\n" T_SIG "\r\na:b\r\n\r\n", ERR_MALFORMED_TRAILER },
		{ CRC "\r\n" T_SIG "\r\n\r\nx", ERR_INVALID_REQUEST },
		{ CRC "\r\n" T_SIG "\r\n\r\n\r\n", ERR_INVALID_REQUEST },
	};
	struct auth au = seed(AUTH_PAYLOAD_STREAM_TRAILER, T_SEED);
	struct buf b = BUF_CAP(1u << 20), out = BUF_CAP(1u << 20);
	char t[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int rc;

		body(&b, T1, T2, T3, cases[i].rest);
		rc = decode_once(&au, 66560, names, buf_str(&b), 999, 8192,
		    &out, t);
		if (rc == cases[i].rc)
			continue;
		print_message("case %zu -> %s\n", i, err_name(rc));
		fail();
	}
	/* nothing announced: then nothing may come */
	body(&b, T1, T2, T3, CRC "\r\n" T_SIG "\r\n\r\n");
	assert_int_equal(decode(&au, 66560, NULL, buf_str(&b), &out, t),
	    ERR_MALFORMED_TRAILER);
	buf_fini(&b);
	buf_fini(&out);
}

static void
test_unsigned_trailer(void **state)
{
	static const char *const one[] = { "x-amz-checksum-crc32", NULL };
	static const char *const two[] = { "X-Amz-Checksum-Crc32",
		"x-amz-checksum-sha1", NULL };
#define HELLO "b\r\nhello world\r\n"
#define CRC32 "x-amz-checksum-crc32:DUoRhQ=="
	static const struct {
		const char *raw;
		uint64_t decoded;
		const char *const *names;
		int rc;
		const char *trailers;
	} cases[] = {
		{ HELLO "0\r\n" CRC32 "\r\n\r\n", 11, one, 0,
		    "x-amz-checksum-crc32=DUoRhQ==;" },
		{ HELLO "0\r\n" CRC32 "\r\n", 11, one, 0,
		    "x-amz-checksum-crc32=DUoRhQ==;" },
		{ HELLO "0\r\n" CRC32, 11, one, 0,
		    "x-amz-checksum-crc32=DUoRhQ==;" },
		{ HELLO "0\r\n" CRC32 "\n\r\n", 11, one, 0,
		    "x-amz-checksum-crc32=DUoRhQ==;" },
		{ HELLO "000\r\nX-Amz-Checksum-CRC32 : \tDUoRhQ== \r\n\r\n", 11,
		    one, 0, "x-amz-checksum-crc32=DUoRhQ==;" },
		{ "6\r\nhello \r\n5\r\nworld\r\n0\r\nx-amz-checksum-sha1:x\r\n"
		  "x-amz-checksum-crc32:y\r\n\r\n",
		    11, two, 0,
		    "x-amz-checksum-sha1=x;x-amz-checksum-crc32=y;" },
		{ "0\r\n" CRC32 "\r\n\r\n", 0, one, 0,
		    "x-amz-checksum-crc32=DUoRhQ==;" },
		{ HELLO "0\r\n\r\n", 11, NULL, 0, "" },
		{ HELLO "0\r\n", 11, NULL, 0, "" },
		/* trailers */
		{ HELLO "0\r\n\r\n", 11, one, ERR_MALFORMED_TRAILER, "" },
		{ HELLO "0\r\n", 11, one, ERR_MALFORMED_TRAILER, "" },
		{ HELLO "0\r\n" CRC32 "\r\n\r\n", 11, two,
		    ERR_MALFORMED_TRAILER, "" },
		{ HELLO "0\r\n" CRC32 "\r\n\r\n", 11, NULL,
		    ERR_MALFORMED_TRAILER, "" },
		{ HELLO "0\r\n" CRC32 "\r\n" CRC32 "\r\n\r\n", 11, one,
		    ERR_MALFORMED_TRAILER, "" },
		{ HELLO "0\r\nx-amz-checksum-crc32\r\n\r\n", 11, one,
		    ERR_MALFORMED_TRAILER, "" },
		{ HELLO "0\r\n:x\r\n\r\n", 11, one, ERR_MALFORMED_TRAILER, "" },
		/* the end */
		{ HELLO "0\r\n" CRC32 "\r\n\r\nGET", 11, one,
		    ERR_INVALID_REQUEST, "" },
		{ HELLO "0\r\n" CRC32 "\r\n\r\n\r\n", 11, one,
		    ERR_INVALID_REQUEST, "" },
		{ HELLO, 11, one, ERR_INCOMPLETE_BODY, "" },
		{ HELLO "0", 11, one, ERR_INCOMPLETE_BODY, "" },
		{ "b\r\nhello", 11, one, ERR_INCOMPLETE_BODY, "" },
		{ "", 11, one, ERR_INCOMPLETE_BODY, "" },
		{ "", 0, one, ERR_INCOMPLETE_BODY, "" },
		/* lengths */
		{ HELLO "0\r\n" CRC32 "\r\n\r\n", 12, one, ERR_INCOMPLETE_BODY,
		    "" },
		{ HELLO "0\r\n" CRC32 "\r\n\r\n", 10, one, ERR_INVALID_REQUEST,
		    "" },
		{ "ffffffffffffffff\r\nhello", 11, one, ERR_INVALID_REQUEST,
		    "" },
		{ "10000000000000000\r\nhello", 11, one, ERR_INVALID_REQUEST,
		    "" },
		/* framing */
		{ "\r\nhello", 11, one, ERR_INVALID_REQUEST, "" },
		{ "+b\r\nhello world\r\n", 11, one, ERR_INVALID_REQUEST, "" },
		{ "-1\r\n", 11, one, ERR_INVALID_REQUEST, "" },
		{ "0xb\r\n", 11, one, ERR_INVALID_REQUEST, "" },
		{ "b \r\nhello world\r\n", 11, one, ERR_INVALID_REQUEST, "" },
		{ "b;a=b\r\nhello world\r\n", 11, one, ERR_INVALID_REQUEST,
		    "" },
		{ "b\nhello world\r\n", 11, one, ERR_INVALID_REQUEST, "" },
		{ "b\r\nhello worldxx0\r\n", 11, one, ERR_INVALID_REQUEST, "" },
		{ "b\r\nhello world\n0\r\n", 11, one, ERR_INVALID_REQUEST, "" },
	};
	struct auth au = seed(AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER, SEED);
	struct buf out = BUF_CAP(1u << 20);
	char t[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int rc = decode(&au, cases[i].decoded, cases[i].names,
		    str_of(cases[i].raw), &out, t);

		if (rc != cases[i].rc || strcmp(t, cases[i].trailers) != 0) {
			print_message("case %zu -> %s, %s\n", i, err_name(rc),
			    t);
			fail();
		}
		if (rc == 0 && cases[i].decoded == 11)
			assert_true(str_eqz(buf_str(&out), "hello world"));
	}
	buf_fini(&out);
}

static void
test_signed_framing(void **state)
{
#define H64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	static const struct {
		const char *raw;
		int rc;
	} cases[] = {
		{ "3\r\nabc\r\n", ERR_INVALID_REQUEST },
		{ "3;x=y\r\nabc\r\n", ERR_INVALID_REQUEST },
		{ "3;chunk-signature=\r\nabc\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "3;chunk-signature=" H64 "0\r\nabc\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "3;chunk-signature=" H64 ";a=b\r\nabc\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "3; chunk-signature=" H64 "\r\nabc\r\n",
		    ERR_INVALID_REQUEST },
		{ "3;chunk-signature=" H64 "\r\nabc\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "0;chunk-signature=" H64 "\r\n\r\n",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
	};
	struct auth au = seed(AUTH_PAYLOAD_STREAM, SEED);
	struct buf out = BUF_CAP(1u << 20);
	char t[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(decode(&au, 3, NULL, str_of(cases[i].raw),
				     &out, t),
		    cases[i].rc);
	buf_fini(&out);
}

/* Bounded: long lines, many trailers, long sections. */
static void
test_limits(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", NULL };
	struct auth au = seed(AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER, SEED);
	struct buf b = BUF_CAP(1u << 20), out = BUF_CAP(1u << 20);
	struct str many[17];
	struct aws_chunked *c;
	struct arena *a = arena_new(1u << 20);
	char t[20000];
	struct err e;

	(void)state;
	add_data(&b, '0', 5000);
	assert_int_equal(decode(&au, 1, NULL, buf_str(&b), &out, t),
	    ERR_INVALID_REQUEST);
	buf_reset(&b);
	buf_addz(&b, "0\r\n");
	add_data(&b, 'a', 5000);
	assert_int_equal(decode(&au, 0, names, buf_str(&b), &out, t),
	    ERR_INVALID_REQUEST);
	buf_reset(&b);
	buf_addz(&b, "0\r\n");
	for (int i = 0; i < 5; i++) {
		buf_addc(&b, names[i][0]);
		buf_addc(&b, ':');
		add_data(&b, 'x', 4000);
		buf_addz(&b, "\r\n");
	}
	assert_int_equal(decode(&au, 0, names, buf_str(&b), &out, t),
	    ERR_MALFORMED_TRAILER);
	for (int i = 0; i < 17; i++)
		many[i] = arena_fmt(a, "x-%d", i);
	assert_int_equal(aws_chunked_new(&au, 0, many, 17, NULL, NULL, a, &c,
			     &e),
	    ERR_INVALID_REQUEST);
	many[1] = many[0];
	assert_int_equal(aws_chunked_new(&au, 0, many, 2, NULL, NULL, a, &c,
			     &e),
	    ERR_INVALID_REQUEST);
	arena_free(&a);
	buf_fini(&b);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aws_example),
		cmocka_unit_test(test_aws_trailer_example),
		cmocka_unit_test(test_signed_negative),
		cmocka_unit_test(test_signed_trailer_negative),
		cmocka_unit_test(test_unsigned_trailer),
		cmocka_unit_test(test_signed_framing),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
