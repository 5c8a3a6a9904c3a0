/* cli/cli.h - the executable's subcommands, and what they share.
 *
 * Each takes its own argv (argv[0] is the subcommand's name) and returns the
 * process's exit status. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "lib/err.h"

#define CREEL_VERSION_TEXT "creel " CREEL_VERSION

enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* it was tried and did not work */
	EXIT_USAGE = 2,  /* the command line is wrong */
};

int server_main(int argc, char **argv);
int tracker_main(int argc, char **argv);
int gateway_main(int argc, char **argv);
int storage_main(int argc, char **argv);
int admin_main(int argc, char **argv);
int presign_main(int argc, char **argv);
int bench_main(int argc, char **argv); /* cli/bench*.c */

/* "creel: WHAT: detail" on stderr; returns EXIT_FAILED. */
int cli_fail(const char *what, const struct err *e);
/* "creel: text" on stderr and a hint at --help; returns EXIT_USAGE. */
int cli_usage(const char *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The argument that getopt_long() has just refused, with opterr 0. */
static inline const char *
cli_bad_option(char **argv, int optind_now)
{
	const char *last = argv[optind_now - 1];

	/* it stays on "-xy" until it has seen the y */
	return last[0] == '-' || argv[optind_now] == NULL ? last
	                                                  : argv[optind_now];
}

#endif
