/* cli/main.c - the executable: finds the subcommand. */
#include "cli/cli.h"

#include "lib/trim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: creel COMMAND [ARGUMENT...]\n"
    "\n"
    "  server DIR...   serve S3 from these directories, all in one process\n"
    "  admin ...       users, keys, status, scrub, backup, rebuild, ...\n"
    "  presign ...     print a presigned URL\n"
    "  bench ...       load generator for any S3 endpoint\n"
    "  version         print the version\n"
    "\n"
    "  tracker [DIR]   knows the nodes of a cluster, and sends clients there\n"
    "  storage DIR...  a node of a cluster: holds files, serves FastDFS's clients\n"
    "  gateway DIR     serves S3 from a cluster\n"
    "\n"
    "`creel COMMAND --help` says more.\n";

static int
version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	puts(CREEL_VERSION_TEXT);
	return EXIT_OK;
}

static int
help_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(help, stdout);
	return EXIT_OK;
}

#ifndef CREEL_HAVE_BENCH
int
bench_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs("creel: this build has no load generator\n", stderr);
	return EXIT_FAILED;
}
#endif

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	bool is_daemon;
} commands[] = {
	{ "server", server_main, true },
	{ "gateway", gateway_main, true },
	{ "storage", storage_main, true },
	{ "tracker", tracker_main, true },
	{ "admin", admin_main, false },
	{ "presign", presign_main, false },
	{ "bench", bench_main, false },
	{ "version", version_main, false },
	{ "--version", version_main, false },
	{ "-V", version_main, false },
	{ "help", help_main, false },
	{ "--help", help_main, false },
	{ "-h", help_main, false },
};

int
cli_fail(const char *what, const struct err *e)
{
	fprintf(stderr, "creel: %s: %s\n", what,
	    e->msg[0] != '\0' ? e->msg : err_text(e->code));
	return EXIT_FAILED;
}

int
cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fputs("creel: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (see `creel %s --help`)\n", command);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (commands[i].is_daemon)
			trim_no_caches(argv);
		return commands[i].main(argc - 1, argv + 1);
	}
	fprintf(stderr, "creel: no command `%s` (see `creel --help`)\n",
	    argv[1]);
	return EXIT_USAGE;
}
