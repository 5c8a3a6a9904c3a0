/* tests/unit/lib/test_metrics.c - counting from several threads, and the text
 * form against the exposition format 0.0.4. */
#include "lib/err.h"
#include "lib/metrics.h"
#include "lib/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct buf text = BUF_CAP(1 << 20);

static bool
has(const char *part)
{
	return str_find(buf_str(&text), str_of(part)) >= 0;
}

static void
expect(const char *line)
{
	char whole[300];

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	if (!has(whole))
		fail_msg("no line \"%s\" in:\n" STR_FMT, line,
		    STR_ARG(buf_str(&text)));
}

static void
test_empty(void **state)
{
	(void)state;
	buf_reset(&text);
	assert_int_equal(metrics_text(&text), 0);
	assert_true(str_has_prefix(buf_str(&text),
	    STR_LIT("# HELP creel_requests_total Requests answered.\n"
		    "# TYPE creel_requests_total counter\n")));
	expect("# TYPE creel_request_duration_seconds histogram");
	expect("creel_http_connections 0");
	expect("creel_collected_files_total 0");
	expect("# TYPE process_resident_memory_bytes gauge");
	assert_false(has("operation="));
	assert_true(text.p[text.len - 1] == '\n');
}

static void
test_values(void **state)
{
	(void)state;
	metric_request(METRIC_OP_GetObject, 200, 300000, 0, 4096);
	metric_request(METRIC_OP_GetObject, 200, 250000, 0, 4096);
	metric_request(METRIC_OP_GetObject, 404, 90000000000, 0, 200);
	metric_request(METRIC_OP_PutObject, 200, 1500000000, 7, 0);
	metric_request(METRIC_OP_PutObject, 299, -5, 0, 0);
	metric_request((enum metric_op)9999, 200, 1, 0, 0);
	metric_error(ERR_NO_SPACE);
	metric_error(ERR_NO_SPACE);
	metric_error(17);
	metric_error(-100000);
	metric_add(METRIC_collected_bytes_total, 1000);
	metric_set(METRIC_http_connections, 5);
	metric_set(METRIC_http_connections, -2);
	buf_reset(&text);
	assert_int_equal(metrics_text(&text), 0);
	expect("creel_requests_total{operation=\"GetObject\",code=\"200\"} 2");
	expect("creel_requests_total{operation=\"GetObject\",code=\"404\"} 1");
	expect(
	    "creel_requests_total{operation=\"PutObject\",code=\"other\"} 1");
	expect("creel_requests_total{operation=\"Other\",code=\"200\"} 1");
	expect("creel_sent_bytes_total{operation=\"GetObject\"} 8392");
	expect("creel_received_bytes_total{operation=\"PutObject\"} 7");
	assert_false(has("creel_sent_bytes_total{operation=\"PutObject\"}"));
	expect("creel_errors_total{error=\"NO_SPACE\"} 2");
	expect("creel_errors_total{error=\"IO\"} 2");
	expect("creel_collected_bytes_total 1000");
	expect("creel_http_connections -2");
#define DURATION "creel_request_duration_seconds"
	expect(DURATION "_bucket{operation=\"GetObject\",le=\"0.0001\"} 0");
	expect(DURATION "_bucket{operation=\"GetObject\",le=\"0.00025\"} 1");
	expect(DURATION "_bucket{operation=\"GetObject\",le=\"0.0005\"} 2");
	expect(DURATION "_bucket{operation=\"GetObject\",le=\"60\"} 2");
	expect(DURATION "_bucket{operation=\"GetObject\",le=\"+Inf\"} 3");
	expect(DURATION "_count{operation=\"GetObject\"} 3");
	expect(DURATION "_sum{operation=\"GetObject\"} 90.000550000");
	expect(DURATION "_sum{operation=\"PutObject\"} 1.500000000");
	assert_false(has(DURATION "_count{operation=\"HeadObject\"}"));
	assert_int_equal(metric_read_requests(METRIC_OP_GetObject, 200), 2);
	assert_int_equal(metric_read_gauge(METRIC_http_connections), -2);
}

/* Each line is a comment or NAME[{LABELS}] NUMBER, and no name has two
 * headings. */
static void
test_format(void **state)
{
	const char *path = "/a\"b\\c\nd";
	struct str rest;

	(void)state;
	buf_reset(&text);
	assert_int_equal(metrics_text(&text), 0);
	assert_int_equal(metrics_head(&text, "creel_path_bytes", "gauge",
			     "A \\ and\nmore."),
	    0);
	assert_int_equal(metrics_line(&text, "creel_path_bytes", "path",
			     str_of(path), 12),
	    0);
	expect("creel_path_bytes{path=\"/a\\\"b\\\\c\\nd\"} 12");
	expect("# HELP creel_path_bytes A \\\\ and\\nmore.");
	rest = buf_str(&text);
	while (rest.len > 0) {
		struct str line = str_split(&rest, '\n'), number;
		ptrdiff_t blank = str_rchr(line, ' ');

		if (str_has_prefix(line, STR_LIT("# TYPE "))) {
			struct str again =
			    str_sub(line, 0, (size_t)str_rchr(line, ' ') + 1);

			assert_true(str_find(rest, again) < 0);
			continue;
		}
		if (str_has_prefix(line, STR_LIT("# HELP ")))
			continue;
		assert_true(blank > 0);
		number = str_skip(line, (size_t)blank + 1);
		for (size_t i = 0; i < number.len; i++)
			assert_non_null(strchr("-.0123456789", number.p[i]));
		assert_true(line.p[0] == 'c' || line.p[0] == 'p');
	}
}

static void *
count(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10000; i++) {
		metric_add(METRIC_collected_files_total, 1);
		metric_request(METRIC_OP_ListParts, 200, 1000, 1, 1);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	pthread_t t[12];

	(void)state;
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(thread_start(&t[i], "count", count, NULL,
				     NULL),
		    0);
	for (size_t i = 0; i < 12; i++)
		thread_join(t[i]);
	assert_int_equal(metric_read(METRIC_collected_files_total), 120000);
	assert_int_equal(metric_read_requests(METRIC_OP_ListParts, 200),
	    120000);
}

static void
test_too_big(void **state)
{
	struct buf small = BUF_CAP(300);

	(void)state;
	assert_int_equal(metrics_text(&small), ERR_TOO_BIG);
	buf_fini(&small);
	buf_fini(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_too_big),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
