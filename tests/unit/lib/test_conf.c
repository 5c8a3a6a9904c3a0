/* tests/unit/lib/test_conf.c - settings: sources, text forms, errors, and that
 * conf/NAME.conf is what the table says.
 *
 * CREEL_UPDATE_SAMPLES=1 in the environment rewrites the sample files. */
#include "lib/conf.h"
#include "lib/conf_impl.h"
#include "lib/fault.h"
#include "lib/fs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/creel-conf-XXXXXX";
static char file[64];

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/x.conf", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir, NULL);
}

/* The environment of whoever runs the test must not matter. */
static int
clean_env(void **state)
{
	static const char *const also[] = { "MINIO_REGION", "MINIO_SITE_REGION",
		"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "CREEL_CONFIG",
		"MINIO_DOMAIN", "MINIO_ADDRESS", "CREEL_ROOT_PASSWORD_FILE",
		"CREEL_CLUSTER_SECRET_FILE" };

	(void)state;
	for (size_t i = 0; i < conf_n_defs; i++) {
		char var[CONF_ENV_MAX];

		if (conf_defs[i].group == NULL) {
			conf_env_name(&conf_defs[i], var);
			unsetenv(var);
		}
	}
	for (size_t i = 0; i < sizeof(also) / sizeof(also[0]); i++)
		unsetenv(also[i]);
	return 0;
}

#define ARGS(...)                                                              \
	(int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)),       \
	    (const char *[])                                                   \
	{                                                                      \
		__VA_ARGS__                                                    \
	}

static void
put_file(const char *text)
{
	struct err e;

	assert_int_equal(fs_write_file(file, str_of(text), 0600, &e), 0);
}

static void
test_defaults(void **state)
{
	struct conf c;
	struct err e;

	(void)state;
	assert_int_equal(conf_load(&c, CONF_SERVER, 0, NULL, &e), 0);
	assert_int_equal(c.address.n, 1);
	assert_string_equal(c.address.v[0], ":9000");
	assert_string_equal(c.region, "us-east-1");
	assert_string_equal(c.tls_cert, "");
	assert_true(c.max_body_size == (uint64_t)5 << 40);
	assert_true(c.extent_size == 64u << 20);
	assert_int_equal(c.header_timeout, 20000);
	assert_int_equal(c.max_connections, 1000);
	assert_int_equal(c.log_level, 2);
	assert_int_equal(c.trusted_proxies.n, 0);
	assert_false(c.metrics_public);
	assert_null(c.file);
	assert_int_equal(c.args.n, 0);
	conf_fini(&c);
}

/* Every default must pass its own bounds, for every daemon. */
static void
test_table(void **state)
{
	(void)state;
	for (unsigned d = 1; d <= CONF_TRACKER; d <<= 1) {
		struct conf c;
		struct err e;

		assert_int_equal(conf_load(&c, (enum conf_daemon)d, 0, NULL,
				     &e),
		    0);
		conf_fini(&c);
	}
	for (size_t i = 0; i < conf_n_defs; i++) {
		const struct conf_def *d = &conf_defs[i];

		if (d->group != NULL)
			continue;
		assert_non_null(d->doc);
		assert_true(d->daemons != 0);
		assert_true(d->type != CONF_CHOICE || d->choices != NULL);
		assert_true(d->max == 0 || d->min <= d->max);
		for (size_t k = 0; k < i; k++)
			assert_true(conf_defs[k].group != NULL ||
				    strcmp(conf_defs[k].name, d->name) != 0);
	}
}

static void
test_order(void **state)
{
	struct conf c;
	struct err e;

	(void)state;
	put_file("# comment\n"
		 "region = from-file\n"
		 "domain = a.example, b.example\n"
		 "domain = c.example\n"
		 "scrub_rate = 1M\n"
		 "stop_timeout = 3s\n"
		 "metrics_public = yes\n");
	setenv("CREEL_SCRUB_RATE", "2M", 1);
	setenv("MINIO_REGION", "from-env", 1);
	setenv("CREEL_STOP_TIMEOUT", "", 1); /* empty: not set */
	assert_int_equal(conf_load(&c, CONF_SERVER,
			     ARGS("/d1", "--config", file, "--scrub-rate=3MiB",
				 "/d2", "--address", ":1", "--address=:2",
				 "--no-metrics-public", "--", "--d3"),
			     &e),
	    0);
	assert_true(c.scrub_rate == 3 << 20);
	assert_int_equal(c.source[CONF_S_scrub_rate], CONF_FROM_FLAG);
	assert_string_equal(c.region, "from-env");
	assert_int_equal(c.source[CONF_S_region], CONF_FROM_ENV);
	assert_int_equal(c.stop_timeout, 3000);
	assert_int_equal(c.source[CONF_S_stop_timeout], CONF_FROM_FILE);
	assert_int_equal(c.source[CONF_S_tls_cert], CONF_FROM_DEFAULT);
	assert_int_equal(c.domain.n, 3);
	assert_string_equal(c.domain.v[0], "a.example");
	assert_string_equal(c.domain.v[2], "c.example");
	assert_int_equal(c.address.n, 2);
	assert_string_equal(c.address.v[1], ":2");
	assert_false(c.metrics_public);
	assert_int_equal(c.args.n, 3);
	assert_string_equal(c.args.v[0], "/d1");
	assert_string_equal(c.args.v[2], "--d3");
	conf_fini(&c);

	/* The own name wins over the alias; CREEL_CONFIG names the file. */
	setenv("CREEL_REGION", "own", 1);
	setenv("CREEL_CONFIG", file, 1);
	assert_int_equal(conf_load(&c, CONF_SERVER, 0, NULL, &e), 0);
	assert_string_equal(c.region, "own");
	assert_string_equal(c.file, file);
	assert_true(c.metrics_public);
	conf_fini(&c);
}

static void
test_secrets(void **state)
{
	struct conf c;
	struct err e;

	(void)state;
	setenv("MINIO_ROOT_USER", "admin", 1);
	setenv("MINIO_ROOT_PASSWORD", "hunter22", 1);
	assert_int_equal(conf_load(&c, CONF_SERVER, 0, NULL, &e), 0);
	assert_string_equal(c.root_user, "admin");
	assert_string_equal(c.root_password, "hunter22");
	conf_fini(&c);

	put_file("secret-of-8\r\n");
	setenv("CREEL_ROOT_PASSWORD_FILE", file, 1);
	assert_int_equal(conf_load(&c, CONF_SERVER, 0, NULL, &e), 0);
	assert_string_equal(c.root_password, "secret-of-8");
	conf_fini(&c);

	put_file("seven77\n");
	assert_int_equal(conf_load(&c, CONF_SERVER, 0, NULL, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "8 to 128"));
	assert_null(strstr(e.msg, "seven77"));
	setenv("CREEL_ROOT_PASSWORD_FILE", "/nonexistent", 1);
	assert_int_equal(conf_load(&c, CONF_SERVER, 0, NULL, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "/nonexistent"));
	assert_int_equal(conf_load(&c, CONF_SERVER,
			     ARGS("--root-password=hunter22"), &e),
	    ERR_CONFIG);
	assert_null(strstr(e.msg, "us-east"));
}

static void
expect_flags(int argc, const char *const *argv, const char *part)
{
	struct conf c;
	struct err e = ERR_INIT;

	assert_int_equal(conf_load(&c, CONF_SERVER, argc, argv, &e),
	    ERR_CONFIG);
	assert_int_equal(e.code, ERR_CONFIG);
	if (strstr(e.msg, part) == NULL || strchr(e.msg, '\n') != NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, e.msg);
}

static void
expect_file(const char *text, const char *part)
{
	char where[128];

	put_file(text);
	snprintf(where, sizeof(where), "%s%s", file, part);
	expect_flags(ARGS("--config", file), where);
}

/* Units of systemd have nothing but the file. */
static void
test_secret_of_a_file(void **state)
{
	char other[sizeof(file) + 8], text[2 * sizeof(other)];
	struct conf c;
	struct err e = ERR_INIT;
	FILE *f;

	(void)state;
	snprintf(other, sizeof(other), "%s.secret", file);
	f = fopen(other, "w");
	assert_non_null(f);
	fputs("0123456789abcdef\n", f);
	fclose(f);
	snprintf(text, sizeof(text), "cluster_secret_file = %s\n", other);
	put_file(text);
	assert_int_equal(conf_load(&c, CONF_STORAGE, ARGS("--config", file),
			     &e),
	    0);
	assert_string_equal(c.cluster_secret, "0123456789abcdef");
	conf_fini(&c);
	strcat(text, "cluster_secret = 0123456789\n");
	put_file(text);
	assert_int_equal(conf_load(&c, CONF_STORAGE, ARGS("--config", file),
			     &e),
	    ERR_CONFIG);
	assert_non_null(strstr(e.msg, ":2: cluster_secret is set twice"));
	unlink(other);
	put_file("\ncluster_secret_file = /nonexistent\n");
	assert_int_equal(conf_load(&c, CONF_STORAGE, ARGS("--config", file),
			     &e),
	    ERR_CONFIG);
	assert_non_null(strstr(e.msg, "/nonexistent"));
	expect_file("region_file = /etc/hostname\n",
	    ":1: unknown setting region_file");
}

static void
test_errors(void **state)
{
	char line[700];

	(void)state;
	expect_flags(ARGS("--nonsense"), "unknown flag --nonsense");
	expect_flags(ARGS("-x"), "unknown flag -x");
	expect_flags(ARGS("--no-region"), "unknown flag");
	expect_flags(ARGS("--max_connections=1"), "unknown flag");
	expect_flags(ARGS("--region"), "needs a value");
	expect_flags(ARGS("--max-connections=x"),
	    "--max-connections: max_connections must be a number");
	expect_flags(ARGS("--max-connections=0"), "must be 1 to 100000");
	expect_flags(ARGS("--max-connections=-1"), "number");
	expect_flags(ARGS("--max-connections=99999999999999999999"), "number");
	expect_flags(ARGS("--extent-size=64X"), "a size such as");
	expect_flags(ARGS("--extent-size=1K"), "1024 to 4194304 KiB");
	expect_flags(ARGS("--extent-size=18446744073709551615T"), "a size");
	expect_flags(ARGS("--stop-timeout=5y"), "a duration");
	expect_flags(ARGS("--stop-timeout=9223372036854775807d"), "a duration");
	expect_flags(ARGS("--metrics-public=maybe"), "yes or no");
	expect_flags(ARGS("--log-level=loud"), "one of error|warn|info|debug");
	expect_flags(ARGS("--config", "/nonexistent/x"), "/nonexistent/x");
	expect_flags(ARGS("--region="), "region must be 1 to 63 characters");
	expect_flags(ARGS("--address=127.0.0.1"),
	    "--address: address must be [HOST]:PORT");
	expect_flags(ARGS("--address=:1,:http"), "must be [HOST]:PORT");
	expect_flags(ARGS("--address=:65536"), "must be [HOST]:PORT");
	expect_flags(ARGS("--address="), "must be [HOST]:PORT");
	expect_flags(ARGS("--address=::1:9000"), "stands in brackets");
	setenv("CREEL_TRASH_DAYS", "soon", 1);
	expect_flags(ARGS("/d"), "CREEL_TRASH_DAYS: trash_days must be");
	unsetenv("CREEL_TRASH_DAYS");

	expect_file("\n\nregon = x\n", ":3: unknown setting regon");
	expect_file("region = a\nregion = b\n", ":2: region is set twice");
	expect_file("region = a\n  trash_days = 3\n", ":2: region is set");
	expect_file("[gateway]\nregion = a\n", ":2: sections");
	expect_file("region = a\nnonsense\n", ":2: expected NAME");
	expect_file("scrub_rate = fast", ":1: scrub_rate must be a size");
	memset(line, 'x', sizeof(line));
	memcpy(line, "region = ", 9);
	line[sizeof(line) - 1] = '\0';
	expect_file(line, ":1: line too long");
	line[100] = '\0';
	expect_file(line, ":1: region must be 1 to 63 characters");
}

static void
test_other_daemon(void **state)
{
	struct conf c;
	struct err e;

	(void)state;
	put_file("region = a\n");
	assert_int_equal(conf_load(&c, CONF_TRACKER, ARGS("--config", file),
			     &e),
	    ERR_CONFIG);
	assert_non_null(strstr(e.msg, "not a setting of this daemon"));
	assert_int_equal(conf_load(&c, CONF_TRACKER, ARGS("--region=a"), &e),
	    ERR_CONFIG);
	assert_int_equal(conf_load(&c, CONF_TRACKER, ARGS("--help"), &e),
	    CONF_HELP);
	assert_int_equal(conf_load(&c, CONF_SERVER,
			     ARGS("/d", "--sample-config"), &e),
	    CONF_SAMPLE);
}

static void
test_no_memory(void **state)
{
	unsigned long n = 0;
	struct conf c;
	struct err e;
	bool fired;
	int rc;

	(void)state;
	put_file("domain = a, b, c\n");
	do {
		fault_arm(FAULT_ANY, ++n, ENOMEM, false);
		rc = conf_load(&c, CONF_SERVER, ARGS("--config", file), &e);
		fired = fault_fired();
		fault_disarm();
		if (rc == 0)
			conf_fini(&c);
		assert_true(fired ? rc < 0 : rc == 0);
	} while (fired && n < 1000);
	assert_false(fired);
}

/* Without the comment signs before the settings the sample loads as it is, and
 * names each setting of its daemon and no other. */
static void
load_sample(enum conf_daemon d, struct str sample)
{
	struct buf bare = BUF_CAP(1 << 20);
	size_t at = 0;
	struct conf c;
	struct err e;

	for (struct str rest = sample; rest.p != NULL;) {
		struct str line = str_split(&rest, '\n');

		if (line.len > 1 && line.p[0] == '#' && line.p[1] != ' ')
			line = str_skip(line, 1);
		assert_int_equal(buf_adds(&bare, line), 0);
		assert_int_equal(buf_addc(&bare, '\n'), 0);
	}
	assert_int_equal(fs_write_file(file, buf_str(&bare), 0600, &e), 0);
	buf_fini(&bare);
	if (conf_load(&c, d, ARGS("--config", file), &e) != 0)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < conf_n_defs; i++) {
		if (conf_defs[i].group != NULL)
			continue;
		assert_int_equal(c.source[at++], conf_defs[i].daemons & d
						     ? CONF_FROM_FILE
						     : CONF_FROM_DEFAULT);
	}
	assert_int_equal(at, CONF_SETTINGS);
	if (d == CONF_SERVER)
		assert_true(c.max_body_size == (uint64_t)5 << 40);
	conf_fini(&c);
}

static void
check_sample(enum conf_daemon d, const char *path, const char *flag)
{
	struct buf want = BUF_CAP(1 << 20), have = BUF_CAP(1 << 20);
	struct err e;

	assert_int_equal(conf_sample(d, &want), 0);
	if (getenv("CREEL_UPDATE_SAMPLES") != NULL)
		assert_int_equal(fs_write_file(path, buf_str(&want), 0644, &e),
		    0);
	assert_int_equal(fs_read_file(path, 1 << 20, &have, &e), 0);
	if (!str_eq(buf_str(&have), buf_str(&want)))
		fail_msg("%s is out of date: CREEL_UPDATE_SAMPLES=1 %s", path,
		    "lib_test_conf");
	load_sample(d, buf_str(&want));
	buf_reset(&have);
	assert_int_equal(conf_help(d, &have), 0);
	assert_true(str_find(buf_str(&have), str_of(flag)) > 0);
	buf_fini(&want);
	buf_fini(&have);
}

#define CONF_DIR CREEL_SOURCE_DIR "/conf/"

static void
test_sample(void **state)
{
	(void)state;
	check_sample(CONF_SERVER, CONF_DIR "server.conf", "--address");
	check_sample(CONF_TRACKER, CONF_DIR "tracker.conf", "--away-after");
	check_sample(CONF_STORAGE, CONF_DIR "storage.conf", "--min-copies");
	check_sample(CONF_GATEWAY, CONF_DIR "gateway.conf", "--trackers");
}

static void
test_forms(void **state)
{
	uint64_t u;
	int64_t i;
	bool b;

	(void)state;
	assert_true(conf_parse_size(STR_LIT("0"), &u) && u == 0);
	assert_true(conf_parse_size(STR_LIT("10k"), &u) && u == 10240);
	assert_true(
	    conf_parse_size(STR_LIT("3 GiB"), &u) && u == (uint64_t)3 << 30);
	assert_true(conf_parse_size(STR_LIT("7B"), &u) && u == 7);
	assert_true(
	    conf_parse_size(STR_LIT("2TB"), &u) && u == (uint64_t)2 << 40);
	assert_false(conf_parse_size(STR_LIT(""), &u));
	assert_false(conf_parse_size(STR_LIT("K"), &u));
	assert_false(conf_parse_size(STR_LIT("1.5G"), &u));
	assert_false(conf_parse_size(STR_LIT("-1"), &u));
	assert_false(conf_parse_size(STR_LIT("1KK"), &u));
	assert_true(conf_parse_duration(STR_LIT("0"), &i) && i == 0);
	assert_true(conf_parse_duration(STR_LIT("90"), &i) && i == 90000);
	assert_true(conf_parse_duration(STR_LIT("250ms"), &i) && i == 250);
	assert_true(conf_parse_duration(STR_LIT("2m"), &i) && i == 120000);
	assert_true(conf_parse_duration(STR_LIT("1d"), &i) && i == 86400000);
	assert_false(conf_parse_duration(STR_LIT("1w"), &i));
	assert_true(conf_parse_bool(STR_LIT("ON"), &b) && b);
	assert_true(conf_parse_bool(STR_LIT("false"), &b) && !b);
	assert_false(conf_parse_bool(STR_LIT(""), &b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, clean_env),
		cmocka_unit_test_setup(test_table, clean_env),
		cmocka_unit_test_setup(test_order, clean_env),
		cmocka_unit_test_setup(test_secrets, clean_env),
		cmocka_unit_test_setup(test_secret_of_a_file, clean_env),
		cmocka_unit_test_setup(test_errors, clean_env),
		cmocka_unit_test_setup(test_other_daemon, clean_env),
		cmocka_unit_test_setup(test_no_memory, clean_env),
		cmocka_unit_test_setup(test_sample, clean_env),
		cmocka_unit_test_setup(test_forms, clean_env),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
