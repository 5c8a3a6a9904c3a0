/* tests/http/echo_server.c - http/ with the handler of echo.h, for run.py and
 * for measurements. Prints its addresses, serves until SIGTERM or SIGINT.
 *   echo_server [KEY=VALUE ...]   address cert key max per_address header_ms
 *                                 keepalive_ms idle_ms rate stop_ms log trust */
#include "tests/http/echo.h"

#include <signal.h>

static const char *
value_of(int argc, char **argv, const char *key, const char *fallback)
{
	size_t n = strlen(key);

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], key, n) == 0 && argv[i][n] == '=')
			return argv[i] + n + 1;
	}
	return fallback;
}

static int
number_of(int argc, char **argv, const char *key, int fallback)
{
	const char *v = value_of(argc, argv, key, NULL);

	return v == NULL ? fallback : (int)strtol(v, NULL, 10);
}

int
main(int argc, char **argv)
{
	const char *address = value_of(argc, argv, "address", "127.0.0.1:0");
	const char *trust = value_of(argc, argv, "trust", NULL);
	struct http_conf c = {
		.addresses = &address,
		.n_addresses = 1,
		.tls_cert = value_of(argc, argv, "cert", NULL),
		.tls_key = value_of(argc, argv, "key", NULL),
		.max_connections = (unsigned)number_of(argc, argv, "max", 1000),
		.max_connections_per_address =
		    (unsigned)number_of(argc, argv, "per_address", 0),
		.header_timeout_ms = number_of(argc, argv, "header_ms", 20000),
		.keepalive_timeout_ms =
		    number_of(argc, argv, "keepalive_ms", 60000),
		.body_idle_timeout_ms = number_of(argc, argv, "idle_ms", 60000),
		.min_body_rate = (uint64_t)number_of(argc, argv, "rate", 1024),
		.stop_timeout_ms = number_of(argc, argv, "stop_ms", 8000),
		.trusted_proxies = &trust,
		.n_trusted_proxies = trust != NULL,
		.access_log = value_of(argc, argv, "log", NULL),
		.handle = echo_handle,
		.error_body = echo_error,
		.is_vital = echo_is_vital,
	};
	struct http_server *s;
	struct err e = ERR_INIT;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (http_server_start(&c, &s, &e) < 0) {
		fprintf(stderr, "echo_server: %s\n", e.msg);
		return 1;
	}
	for (size_t i = 0; http_server_address(s, i) != NULL; i++)
		printf("%s\n", http_server_address(s, i));
	fflush(stdout);
	while (sigwait(&set, &sig) == 0 && sig == SIGHUP) {
		http_server_reopen_log(s);
		if (http_server_reload_tls(s, &e) < 0)
			fprintf(stderr, "echo_server: %s\n", e.msg);
	}
	http_server_stop(&s);
	return 0;
}
