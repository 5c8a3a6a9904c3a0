/* The load generator's parts: quantiles, distributions, command line, answers
 * of servers, and signatures (checked by the code that servers check with). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "auth/auth.h"
#include "cli/bench.h"
#include "lib/clock.h"

static void
test_hist(void **state)
{
	struct bench_hist *h = calloc(1, sizeof(*h)), *sum;
	static const double q[] = { 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1 };

	(void)state;
	assert_int_equal(bench_hist_quantile(h, 0.5), 0);
	for (uint64_t i = 1; i <= 1000000; i++)
		bench_hist_add(h, i * 37);
	for (size_t i = 0; i < 7; i++) {
		double want = q[i] * 37e6,
		       got = (double)bench_hist_quantile(h, q[i]);

		assert_true(got >= want * 0.999 && got <= want * 1.01);
	}
	assert_int_equal(bench_hist_quantile(h, 1), 37000000);
	bench_hist_add(h, UINT64_MAX);
	bench_hist_add(h, 0);
	assert_int_equal(bench_hist_quantile(h, 1), UINT64_MAX);
	sum = calloc(1, sizeof(*sum));
	bench_hist_merge(sum, h);
	bench_hist_merge(sum, h);
	assert_int_equal(sum->count, 2 * h->count);
	assert_int_equal(bench_hist_quantile(sum, 0.5),
	    bench_hist_quantile(h, 0.5));
	free(h);
	free(sum);
}

static void
test_zipf(void **state)
{
	static const double exponents[] = { 0.5, 0.99, 1.0, 1.5 };
	struct bench_rng r = { 42 };

	(void)state;
	for (size_t k = 0; k < 4; k++) {
		uint64_t seen[101] = { 0 };
		struct bench_zipf z;
		double ratio, want = 1;

		bench_zipf_init(&z, 100, exponents[k]);
		for (int i = 0; i < 200000; i++) {
			uint64_t x = bench_zipf_next(&z, &r);

			assert_true(x >= 1 && x <= 100);
			seen[x]++;
		}
		ratio = (double)seen[1] / (double)seen[10];
		for (int i = 0; i < 100; i++) /* 10^s by hundredths */
			want *= 1 + exponents[k] * 0.0232928;
		assert_true(ratio > want * 0.85 && ratio < want * 1.15);
	}
	for (uint64_t n = 1; n < 4; n++) {
		struct bench_zipf z;

		bench_zipf_init(&z, n, 0.99);
		for (int i = 0; i < 100; i++)
			assert_in_range(bench_zipf_next(&z, &r), 1, n);
	}
}

static void
test_values(void **state)
{
	struct bench_conf c;
	struct err e;
	uint64_t n;
	int64_t t;

	(void)state;
	assert_true(bench_size("4096", &n) && n == 4096);
	assert_true(bench_size("4K", &n) && n == 4096);
	assert_true(bench_size("64MiB", &n) && n == 64u << 20);
	assert_true(bench_size("1gB", &n) && n == 1u << 30);
	assert_true(bench_size("0", &n) && n == 0);
	assert_false(bench_size("", &n));
	assert_false(bench_size("-1", &n));
	assert_false(bench_size("1x", &n));
	assert_false(bench_size("1Kx", &n));
	assert_false(bench_size("99999999999G", &n));
	assert_true(bench_time("5s", &t) && t == 5000000000);
	assert_true(bench_time("5", &t) && t == 5000000000);
	assert_true(bench_time("250ms", &t) && t == 250000000);
	assert_true(bench_time("2m", &t) && t == 120000000000);
	assert_false(bench_time("2d", &t));
	assert_false(bench_time("s", &t));
	assert_false(bench_time("9999999999999999h", &t));

	assert_int_equal(bench_endpoint(&c, "http://h:9000/", &e), 0);
	assert_string_equal(c.host, "h");
	assert_string_equal(c.port, "9000");
	assert_string_equal(c.host_header, "h:9000");
	assert_false(c.tls);
	assert_int_equal(bench_endpoint(&c, "https://h:443", &e), 0);
	assert_string_equal(c.host_header, "h");
	assert_true(c.tls);
	assert_int_equal(bench_endpoint(&c, "http://[::1]:90", &e), 0);
	assert_string_equal(c.host, "::1");
	assert_string_equal(c.port, "90");
	assert_string_equal(c.host_header, "[::1]:90");
	assert_int_equal(bench_endpoint(&c, "http://h", &e), 0);
	assert_string_equal(c.port, "80");
	assert_int_equal(bench_endpoint(&c, "h:9000", &e), ERR_CONFIG);
	assert_int_equal(bench_endpoint(&c, "http://", &e), ERR_CONFIG);
	assert_int_equal(bench_endpoint(&c, "http://h/p", &e), ERR_CONFIG);
	assert_int_equal(bench_endpoint(&c, "http://[::1", &e), ERR_CONFIG);
}

static bool
options(struct bench_conf *c, int *status, const char *a, const char *b,
    const char *d, const char *f)
{
	const char *args[] = { "bench", "--access-key", "ak", "--secret-key",
		"sk", a, b, d, f, NULL };
	char *argv[10] = { 0 };
	int argc = 0;
	bool ok;

	for (int i = 0; i < 10 && args[i] != NULL; i++)
		argv[argc++] = strdup(args[i]);
	ok = bench_options(argc, argv, c, status);
	/* The options point into argv: copy what the test looks at. */
	if (ok && c->command != NULL) {
		static char command[32];

		snprintf(command, sizeof(command), "%s", c->command);
		c->command = command;
	}
	for (int i = 0; i < 10; i++)
		free(argv[i]);
	return ok;
}

static void
test_options(void **state)
{
	struct bench_conf c;
	int status;

	(void)state;
	unsetenv("CREEL_ENDPOINT");
	assert_true(options(&c, &status, "put", "--count", "100", NULL));
	assert_string_equal(c.command, "put");
	assert_int_equal(c.count, 100);
	assert_int_equal(c.prefill, 0);
	assert_int_equal(c.distribution, BENCH_SEQUENTIAL);
	assert_true(options(&c, &status, "--size", "1M", "get", NULL));
	assert_int_equal(c.size, 1u << 20);
	assert_int_equal(c.keys, 1000);
	assert_int_equal(c.prefill, 1000);
	assert_int_equal(c.distribution, BENCH_UNIFORM);
	assert_true(options(&c, &status, "mixed", "--mix",
	    "get=50,put=40,delete=10", NULL));
	assert_int_equal(c.mix[BENCH_PUT], 40);
	assert_int_equal(c.mix[BENCH_HEAD], 0);
	assert_true(options(&c, &status, "put", "--pid", "1,22", NULL));
	assert_int_equal(c.n_pids, 2);
	assert_int_equal(c.pids[1], 22);
	assert_true(options(&c, &status, "--digests", NULL, NULL, NULL));
	assert_true(options(&c, &status, "--baseline-log", "/x", NULL, NULL));
	assert_false(options(&c, &status, NULL, NULL, NULL, NULL));
	assert_int_equal(status, 2);
	assert_false(options(&c, &status, "steal", NULL, NULL, NULL));
	assert_false(options(&c, &status, "put", "get", NULL, NULL));
	assert_false(options(&c, &status, "put", "--size", "big", NULL));
	assert_false(options(&c, &status, "put", "--size", "5G", NULL));
	assert_true(options(&c, &status, "multipart", "--size", "5G", NULL));
	assert_false(
	    options(&c, &status, "mixed", "--mix", "get=50,put=40", NULL));
	assert_false(options(&c, &status, "delete", NULL, NULL, NULL));
}

/* --- answers --- */

static int
feed(const char *raw, size_t step, bool is_head, struct bench_conn *c,
    bool *done)
{
	struct err e = ERR_INIT;
	size_t len = strlen(raw);
	int rc = 0;

	bench_conn_init(c);
	bench_conn_begin(c, is_head, false);
	*done = false;
	for (size_t at = 0; at < len && rc == 0; at += step)
		rc = bench_conn_feed(c, raw + at,
		    len - at < step ? len - at : step, done, &e);
	return rc;
}

static void
test_answers(void **state)
{
	static const struct {
		const char *raw;
		bool is_head, done;
		int rc, status;
		uint64_t received;
		bool close;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false,
		    true, 0, 200, 5, false },
		{ "HTTP/1.1 200 OK\r\ncontent-length:0\r\nConnection: close\r\n"
		  "\r\n",
		    false, true, 0, 200, 0, true },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, true, 0,
		    200, 0, false },
		{ "HTTP/1.1 204 No Content\r\n\r\n", false, true, 0, 204, 0,
		    false },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
		  "Content-Length: 2\r\n\r\nab",
		    false, true, 0, 200, 2, false },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
		    false, true, 0, 200, 15, false },
		{ "HTTP/1.0 200 OK\r\n\r\nabc", false, false, 0, 200, 3, true },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false,
		    false, 0, 200, 4, false },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n"
		  "<Code>NoSuchKey</Code>",
		    false, true, 0, 404, 22, false },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", false,
		    false, ERR_CORRUPT, 200, 1, false },
		{ "SSH-2.0-OpenSSH\r\n\r\n", false, false, ERR_CORRUPT, 0, 0,
		    false },
		{ "HTTP/1.1 abc\r\n\r\n", false, false, ERR_CORRUPT, 0, 0,
		    false },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, false,
		    ERR_CORRUPT, 200, 0, false },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
		    false, false, ERR_CORRUPT, 200, 0, false },
	};
	static const size_t steps[] = { 100000, 1, 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t k = 0; k < 3; k++) {
			struct bench_conn c;
			bool done;
			int rc = feed(cases[i].raw, steps[k], cases[i].is_head,
			    &c, &done);

			if (rc != cases[i].rc)
				print_message("case %zu: %d\n", i, rc);
			assert_int_equal(rc, cases[i].rc);
			if (rc == 0) {
				assert_int_equal(done, cases[i].done);
				assert_int_equal(c.status, cases[i].status);
				assert_int_equal(c.received, cases[i].received);
				assert_int_equal(c.close, cases[i].close);
			}
			if (rc == 0 && c.status == 404)
				assert_true(str_eqz(bench_conn_xml(&c, "Code"),
				    "NoSuchKey"));
			bench_conn_fini(&c);
		}
	}
}

/* --- signatures --- */

static int
check_request(const struct bench_conf *c, struct bench_plan *p,
    struct bench_signer *s, const struct bench_request *r)
{
	struct arena *a = arena_new(1u << 20);
	struct header h[16];
	struct auth_input in = { .headers = h,
		.service = STR_LIT("s3"),
		.now_s = 1369353600 };
	struct buf out = BUF_CAP(65536);
	struct str rest, line;
	struct auth au;
	struct err e;
	int rc;

	assert_int_equal(bench_request_head(p, s, r, 1369353600, &out, &e), 0);
	assert_true(str_has_suffix(buf_str(&out), STR_LIT("\r\n\r\n")));
	rest = buf_str(&out);
	line = str_split(&rest, '\n');
	in.method = str_split(&line, ' ');
	line = str_split(&line, ' ');
	in.path = str_split(&line, '?');
	in.query = line;
	while (rest.p != NULL) {
		struct str value = str_split(&rest, '\n');

		if (value.len <= 1)
			continue;
		value.len--;
		h[in.n_headers].name = str_split(&value, ':');
		h[in.n_headers++].value = str_trim(value);
	}
	rc = auth_parse(&in, a, &au, &e);
	if (rc == 0 && au.kind != AUTH_ANONYMOUS)
		rc = auth_verify(&au, c->secret_key, a, &e);
	if (rc < 0)
		print_message(STR_FMT "\n%s\n" STR_FMT "\n",
		    STR_ARG(buf_str(&out)), e.msg,
		    STR_ARG(au.canonical_request));
	if (rc == 0)
		rc = (int)au.kind;
	buf_fini(&out);
	arena_free(&a);
	return rc;
}

static void
test_signatures(void **state)
{
	static const enum auth_kind kinds[] = { AUTH_V4_HEADER, AUTH_V4_HEADER,
		AUTH_V4_QUERY, AUTH_ANONYMOUS };
	struct bench_conf c = { .command = "put",
		.bucket = "a-b",
		.prefix = "p q/\xc3\xa4+",
		.delimiter = "/",
		.access_key = "AK/x+",
		.secret_key = "secret",
		.region = "eu-x",
		.size = 100,
		.max_keys = 10,
		.host_header = "h:9000" };
	struct bench_request reqs[] = {
		{ .method = "PUT",
		    .op = BENCH_PUT,
		    .key = 7,
		    .body_len = 100,
		    .has_body = true },
		{ .method = "GET", .op = BENCH_GET, .key = 8 },
		{ .method = "GET", .op = BENCH_GET, .key = 8 },
		{ .method = "DELETE",
		    .op = BENCH_DELETE,
		    .key = 9,
		    .unique = true },
		{ .method = "GET", .op = BENCH_LIST, .key = 3 },
		{ .method = "GET", .op = BENCH_LIST, .key = UINT64_MAX },
		{ .method = "PUT", .op = BENCH_BUCKET, .has_body = true },
		{ .method = "PUT",
		    .op = BENCH_MULTIPART,
		    .key = 1,
		    .sub = STR_LIT("partNumber=3&uploadId=a%2Fb"),
		    .has_body = true,
		    .body_len = 100 },
		{ .method = "POST",
		    .op = BENCH_MULTIPART,
		    .key = 1,
		    .sub = STR_LIT("uploads="),
		    .has_body = true },
	};

	(void)state;
	for (int sign = 0; sign < 4; sign++) {
		struct bench_signer s;
		struct bench_plan p;
		struct err e;

		c.sign = (enum bench_sign)sign;
		assert_int_equal(bench_plan_init(&p, &c, &e), 0);
		bench_signer_init(&s);
		reqs[0].body_hash = p.body_hash[1];
		if (sign == BENCH_SIGN_URL)
			assert_int_equal(bench_plan_urls(&p, 10,
					     1369353600 - 3600, &e),
			    0);
		for (size_t i = 0; i < sizeof(reqs) / sizeof(*reqs); i++)
			assert_int_equal(check_request(&c, &p, &s, &reqs[i]),
			    kinds[sign]);
		bench_signer_fini(&s);
		bench_plan_fini(&p);
	}
}

static void
test_errors(void **state)
{
	struct bench_errors b = { 0 };
	char code[16];

	(void)state;
	bench_error_add(&b, STR_LIT("SlowDown"), 2);
	bench_error_add(&b, STR_LIT("SlowDown"), 3);
	bench_error_add(&b, STR_LIT("Nothing"), 0);
	assert_string_equal(b.e[0].code, "SlowDown");
	assert_int_equal(b.e[0].n, 5);
	assert_int_equal(b.e[1].n, 0);
	for (int i = 0; i < 100; i++) {
		snprintf(code, sizeof(code), "E%d", i);
		bench_error_add(&b, str_of(code), 1);
	}
	assert_string_equal(b.e[BENCH_ERRORS - 1].code, "other");
	assert_int_equal(b.e[BENCH_ERRORS - 1].n, 100 - (BENCH_ERRORS - 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hist),
		cmocka_unit_test(test_zipf),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
