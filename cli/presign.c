/* cli/presign.c - `creel presign`: prints a presigned URL (SigV4 in the query).
 * Needs no server. */
#include "cli/cli.h"
#include "cli/creds.h"

#include "auth/auth.h"
#include "lib/clock.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: creel presign [OPTION...] [s3://]BUCKET/KEY\n"
    "\n"
    "  --method GET|PUT|HEAD|DELETE   default GET\n"
    "  --expires SECONDS              1 to 604800, default 3600\n"
    "  --param NAME=VALUE             further query parameter, e.g.\n"
    "                                 response-content-type=text/plain\n"
    "  --endpoint URL   default CREEL_ENDPOINT, else http://127.0.0.1:9000\n"
    "  --region REGION  default us-east-1\n"
    "  --dir DIR        where credentials.env is; default CREEL_DIR, else data\n"
    "\n"
    "Signs with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY when both are set,\n"
    "else with the root pair (see `creel admin --help`).\n";

#define MAX_PARAMS 32
#define MAX_EXPIRES 604800

struct presign_options {
	const char *method, *endpoint, *region, *dir;
	uint64_t expires;
	struct header params[MAX_PARAMS];
	size_t n_params;
};

static int
find_creds(const struct presign_options *o, struct creds *ret, struct err *e)
{
	const char *id = getenv("AWS_ACCESS_KEY_ID");
	const char *secret = getenv("AWS_SECRET_ACCESS_KEY");

	if (id != NULL && id[0] != '\0' && secret != NULL &&
	    secret[0] != '\0') {
		if ((size_t)snprintf(ret->user, sizeof(ret->user), "%s", id) >=
			sizeof(ret->user) ||
		    (size_t)snprintf(ret->password, sizeof(ret->password), "%s",
			secret) >= sizeof(ret->password))
			return err_set(e, ERR_CONFIG, "the key is too long");
		return 0;
	}
	return creds_find(o->dir, ret, e);
}

static const char *
method_of(const char *s)
{
	static const char *const methods[] = { "GET", "PUT", "HEAD", "DELETE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (str_ieq(str_of(s), str_of(methods[i])))
			return methods[i];
	}
	return NULL;
}

/* 0, or the exit status plus 1 to stop with. */
static int
parse(int argc, char **argv, struct presign_options *o)
{
	static const struct option longs[] = {
		{ "method", required_argument, NULL, 'm' },
		{ "expires", required_argument, NULL, 'e' },
		{ "param", required_argument, NULL, 'p' },
		{ "endpoint", required_argument, NULL, 'u' },
		{ "region", required_argument, NULL, 'r' },
		{ "dir", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct str rest;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			o->method = method_of(optarg);
			if (o->method == NULL)
				return 1 + cli_usage("presign",
					       "--method is GET, PUT, HEAD or "
					       "DELETE");
			break;
		case 'e':
			if (!str_to_u64(str_of(optarg), MAX_EXPIRES,
				&o->expires) ||
			    o->expires == 0)
				return 1 + cli_usage("presign",
					       "--expires is 1 to %d seconds",
					       MAX_EXPIRES);
			break;
		case 'p':
			if (o->n_params == MAX_PARAMS)
				return 1 + cli_usage("presign",
					       "at most %d --param",
					       MAX_PARAMS);
			rest = str_of(optarg);
			o->params[o->n_params].name = str_split(&rest, '=');
			o->params[o->n_params].value =
			    rest.p == NULL ? STR_LIT("") : rest;
			o->n_params++;
			break;
		case 'u':
			o->endpoint = optarg;
			break;
		case 'r':
			o->region = optarg;
			if (optarg[0] == '\0' || strchr(optarg, '/') != NULL)
				return 1 + cli_usage("presign",
					       "--region is a name such as "
					       "us-east-1");
			break;
		case 'd':
			o->dir = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 1 + EXIT_OK;
		default:
			return 1 + cli_usage("presign",
				       c == ':' ? "%s needs a value"
						: "bad option %s",
				       cli_bad_option(argv, optind));
		}
	}
	if (argc == optind) {
		fputs(help, stderr);
		return 1 + EXIT_USAGE;
	}
	if (argc - optind > 1)
		return 1 + cli_usage("presign", "one BUCKET/KEY at a time");
	return 0;
}

static const char *
env_or(const char *name, const char *other)
{
	const char *s = getenv(name);

	return s != NULL && s[0] != '\0' ? s : other;
}

int
presign_main(int argc, char **argv)
{
	struct presign_options o = { .method = "GET",
		.region = "us-east-1",
		.expires = 3600 };
	struct buf path = BUF_CAP(16 * 1024), url = BUF_CAP(64 * 1024);
	struct creds creds = { 0 };
	struct err e = ERR_INIT;
	struct str target, base;
	int rc;

	o.endpoint = env_or("CREEL_ENDPOINT", "http://127.0.0.1:9000");
	o.dir = env_or("CREEL_DIR", "data");
	rc = parse(argc, argv, &o);
	if (rc != 0)
		return rc - 1;

	target = str_of(argv[optind]);
	if (str_has_prefix(target, STR_LIT("s3://")))
		target = str_skip(target, 5);
	if (target.len == 0 || target.p[0] == '/')
		return cli_usage("presign", "a target begins with its bucket");
	base = str_of(o.endpoint);
	if (base.len > 0 && base.p[base.len - 1] == '/')
		base.len--;
	rc = find_creds(&o, &creds, &e);
	if (rc == 0)
		rc = buf_addc(&path, '/');
	if (rc == 0)
		rc = buf_add_pct(&path, target, true);
	if (rc == 0)
		rc = auth_presign(str_of(o.method), base, buf_str(&path),
		    o.params, o.n_params, str_of(creds.user),
		    str_of(creds.password), str_of(o.region), clock_real_s(),
		    (unsigned)o.expires, &url, &e);
	creds_wipe(&creds);
	if (rc < 0) {
		e.code = rc;
		rc = cli_fail("presign", &e);
	} else {
		printf(STR_FMT "\n", STR_ARG(buf_str(&url)));
	}
	buf_fini(&path);
	buf_fini(&url);
	return rc;
}
