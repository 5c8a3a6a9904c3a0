/* cli/bench_options.c - the command line of `creel bench`. */
#include "cli/bench.h"
#include "cli/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *const bench_op_names[BENCH_OPS] = { "put", "get", "head", "delete",
	"list", "multipart", "bucket" };

static const char help[] =
    "usage: creel bench put|get|head|delete|list|multipart|mixed [OPTION...]\n"
    "       creel bench --baseline-log FILE [OPTION...]\n"
    "       creel bench --digests\n"
    "\n"
    "Loads an S3 server and reports operations per second and latencies.\n"
    "\n"
    "  --endpoint URL       http[s]://HOST[:PORT]; default $CREEL_ENDPOINT or\n"
    "                       http://127.0.0.1:9000\n"
    "  --access-key, --secret-key\n"
    "                       default $CREEL_ROOT_USER and $CREEL_ROOT_PASSWORD,\n"
    "                       or MINIO_ROOT_*, or AWS_ACCESS_KEY_ID and\n"
    "                       AWS_SECRET_ACCESS_KEY\n"
    "  --region R           default us-east-1\n"
    "  --ca FILE, --insecure   which certificate to trust, or any\n"
    "  --bucket B           default creel-bench; made when it is not there\n"
    "  --prefix P           of all keys; default bench/\n"
    "\n"
    "  --size N             bytes of an object (4096, 4K, 64M); default 4K\n"
    "  --part-size N        multipart; default 8M\n"
    "  --concurrency N      connections; default 32\n"
    "  --threads N          default: as many as processors\n"
    "  --duration T         measured time (10s, 500ms, 2m); default 10s\n"
    "  --count N            stop after N operations instead\n"
    "  --warmup T           before the measured time; default 1s, without\n"
    "                       --count only\n"
    "  --keys N             keys PREFIX000000000000 and up; default for get,\n"
    "                       head and mixed 1000. put without --keys: N keys\n"
    "                       from 0 with --count N, else new ones in each run\n"
    "  --distribution D     sequential, uniform or zipf; default sequential for\n"
    "                       put and delete, uniform for the others\n"
    "  --zipf S             exponent; default 0.99\n"
    "  --prefill N          objects to put first, keys 0 to N-1; default for\n"
    "                       get, head and mixed: the keys; delete: what it\n"
    "                       deletes; 0 = they are there\n"
    "  --mix get=70,put=30  percentages of mixed; also head, delete (then 404\n"
    "                       is an answer like another)\n"
    "  --max-keys N, --delimiter D   list; from a key of --keys if given\n"
    "\n"
    "  --signed             sign the body's hash too (default)\n"
    "  --unsigned           header signature, UNSIGNED-PAYLOAD\n"
    "  --presigned          signature in the URL, for GET made ahead\n"
    "  --anonymous          no signature\n"
    "\n"
    "  --pid N[,N...]       report the CPU time of these processes\n"
    "  --json               one line of JSON on standard output\n"
    "  --quiet              no progress line\n"
    "  --baseline-log FILE  no server: append records of --size to a\n"
    "                       preallocated FILE (removed at the end), group-\n"
    "                       committed with fdatasync, --concurrency writers\n"
    "  --digests            no server: what one core does of MD5, and of MD5\n"
    "                       and SHA-256 together\n"
    "\n"
    "Exit status 0; 1 when an operation failed; 2 for a wrong command line.\n";

enum {
	OPT_ENDPOINT = 256,
	OPT_ACCESS,
	OPT_SECRET,
	OPT_REGION,
	OPT_CA,
	OPT_INSECURE,
	OPT_BUCKET,
	OPT_PREFIX,
	OPT_SIZE,
	OPT_PART_SIZE,
	OPT_CONCURRENCY,
	OPT_THREADS,
	OPT_DURATION,
	OPT_COUNT,
	OPT_WARMUP,
	OPT_KEYS,
	OPT_DISTRIBUTION,
	OPT_ZIPF,
	OPT_PREFILL,
	OPT_MIX,
	OPT_MAX_KEYS,
	OPT_DELIMITER,
	OPT_SIGNED,
	OPT_UNSIGNED,
	OPT_PRESIGNED,
	OPT_ANONYMOUS,
	OPT_PID,
	OPT_JSON,
	OPT_QUIET,
	OPT_BASELINE,
	OPT_DIGESTS,
};

static const struct option options[] = {
	{ "endpoint", 1, NULL, OPT_ENDPOINT },
	{ "access-key", 1, NULL, OPT_ACCESS },
	{ "secret-key", 1, NULL, OPT_SECRET },
	{ "region", 1, NULL, OPT_REGION },
	{ "ca", 1, NULL, OPT_CA },
	{ "insecure", 0, NULL, OPT_INSECURE },
	{ "bucket", 1, NULL, OPT_BUCKET },
	{ "prefix", 1, NULL, OPT_PREFIX },
	{ "size", 1, NULL, OPT_SIZE },
	{ "part-size", 1, NULL, OPT_PART_SIZE },
	{ "concurrency", 1, NULL, OPT_CONCURRENCY },
	{ "threads", 1, NULL, OPT_THREADS },
	{ "duration", 1, NULL, OPT_DURATION },
	{ "count", 1, NULL, OPT_COUNT },
	{ "warmup", 1, NULL, OPT_WARMUP },
	{ "keys", 1, NULL, OPT_KEYS },
	{ "distribution", 1, NULL, OPT_DISTRIBUTION },
	{ "zipf", 1, NULL, OPT_ZIPF },
	{ "prefill", 1, NULL, OPT_PREFILL },
	{ "mix", 1, NULL, OPT_MIX },
	{ "max-keys", 1, NULL, OPT_MAX_KEYS },
	{ "delimiter", 1, NULL, OPT_DELIMITER },
	{ "signed", 0, NULL, OPT_SIGNED },
	{ "unsigned", 0, NULL, OPT_UNSIGNED },
	{ "presigned", 0, NULL, OPT_PRESIGNED },
	{ "anonymous", 0, NULL, OPT_ANONYMOUS },
	{ "pid", 1, NULL, OPT_PID },
	{ "json", 0, NULL, OPT_JSON },
	{ "quiet", 0, NULL, OPT_QUIET },
	{ "baseline-log", 1, NULL, OPT_BASELINE },
	{ "digests", 0, NULL, OPT_DIGESTS },
	{ "help", 0, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void __attribute__((format(printf, 1, 2))) usage(const char *fmt, ...)
{
	va_list ap;

	fputs("creel: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" (see `creel bench --help`)\n", stderr);
}

/* --- values --- */

/* Digits, then a unit. */
static bool
number_and_unit(const char *z, uint64_t *ret, struct str *ret_unit)
{
	size_t n = strspn(z, "0123456789");

	*ret_unit = str_of(z + n);
	return str_to_u64(str_mem(z, n), UINT64_MAX, ret);
}

bool
bench_size(const char *z, uint64_t *ret)
{
	static const char units[] = "KMGT";
	struct str unit;
	const char *at;
	uint64_t n;

	if (!number_and_unit(z, &n, &unit))
		return false;
	if (unit.len > 0 && (at = strchr(units, *unit.p & ~0x20)) != NULL &&
	    *at != '\0') {
		unsigned shift = 10 * (unsigned)(at - units + 1);

		if (n > UINT64_MAX >> shift)
			return false;
		n <<= shift;
		unit = str_skip(unit, 1);
		if (str_has_prefix(unit, STR_LIT("i")))
			unit = str_skip(unit, 1);
	}
	if (unit.len > 0 && !str_eqz(unit, "B"))
		return false;
	*ret = n;
	return true;
}

bool
bench_time(const char *z, int64_t *ret_ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = { { "", 1000000000 }, { "s", 1000000000 },
		{ "ms", 1000000 }, { "us", 1000 }, { "m", 60000000000 },
		{ "h", 3600000000000 } };
	struct str unit;
	uint64_t n;

	if (!number_and_unit(z, &n, &unit))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (!str_eqz(unit, units[i].unit))
			continue;
		if (n > (uint64_t)INT64_MAX / units[i].ns / 2)
			return false;
		*ret_ns = (int64_t)(n * units[i].ns);
		return true;
	}
	return false;
}

int
bench_endpoint(struct bench_conf *c, const char *url, struct err *e)
{
	struct str s = str_of(url), host, port = STR_NULL;

	c->tls = str_has_prefix(s, STR_LIT("https://"));
	if (!c->tls && !str_has_prefix(s, STR_LIT("http://")))
		return err_set(e, ERR_CONFIG,
		    "an endpoint is http://HOST[:PORT] or https://..., not %s",
		    url);
	s = str_skip(s, c->tls ? 8 : 7);
	while (s.len > 0 && s.p[s.len - 1] == '/')
		s.len--;
	host = s;
	if (s.len > 0 && *s.p == '[') { /* [::1]:9000 */
		ptrdiff_t end = str_chr(s, ']');

		if (end < 0)
			return err_set(e, ERR_CONFIG, "%s: no ]", url);
		host = str_sub(s, 1, (size_t)end - 1);
		port = str_skip(s, (size_t)end + 1);
	} else if (str_chr(s, ':') >= 0) {
		host = str_sub(s, 0, (size_t)str_chr(s, ':'));
		port = str_skip(s, host.len);
	}
	if (port.len > 0 && *port.p == ':')
		port = str_skip(port, 1);
	else if (port.len > 0)
		return err_set(e, ERR_CONFIG, "%s: no port", url);
	if (port.len == 0)
		port = c->tls ? STR_LIT("443") : STR_LIT("80");
	if (host.len == 0 || host.len >= sizeof(c->host) ||
	    port.len >= sizeof(c->port) || str_chr(s, '/') >= 0)
		return err_set(e, ERR_CONFIG, "%s is not an endpoint", url);
	snprintf(c->host, sizeof(c->host), STR_FMT, STR_ARG(host));
	snprintf(c->port, sizeof(c->port), STR_FMT, STR_ARG(port));
	snprintf(c->host_header, sizeof(c->host_header), STR_FMT, STR_ARG(s));
	/* Clients leave the scheme's own port out. */
	if (str_has_suffix(s, c->tls ? STR_LIT(":443") : STR_LIT(":80")) &&
	    strcmp(c->port, c->tls ? "443" : "80") == 0)
		c->host_header[s.len - strlen(c->port) - 1] = '\0';
	return 0;
}

static bool
parse_mix(struct bench_conf *c, const char *z)
{
	struct str s = str_of(z);
	unsigned total = 0;

	memset(c->mix, 0, sizeof(c->mix));
	while (s.p != NULL) {
		struct str value = str_split(&s, ','), name;
		uint64_t n;
		int op;

		name = str_split(&value, '=');
		for (op = BENCH_PUT; op <= BENCH_DELETE; op++) {
			if (str_eqz(name, bench_op_names[op]))
				break;
		}
		if (op > BENCH_DELETE || !str_to_u64(value, 100, &n))
			return false;
		c->mix[op] += (unsigned)n;
		total += (unsigned)n;
	}
	return total == 100;
}

static bool
parse_pids(struct bench_conf *c, const char *z)
{
	struct str s = str_of(z);

	c->n_pids = 0;
	while (s.p != NULL) {
		uint64_t n;

		if (c->n_pids == BENCH_PIDS ||
		    !str_to_u64(str_split(&s, ','), INT32_MAX, &n))
			return false;
		c->pids[c->n_pids++] = (int)n;
	}
	return true;
}

static bool
parse_unsigned(const char *z, unsigned max, unsigned *ret)
{
	uint64_t n;

	if (!str_to_u64(str_of(z), max, &n) || n == 0)
		return false;
	*ret = (unsigned)n;
	return true;
}

static bool
parse_distribution(struct bench_conf *c, const char *z, bool *ret_given)
{
	*ret_given = true;
	if (strcmp(z, "sequential") == 0)
		c->distribution = BENCH_SEQUENTIAL;
	else if (strcmp(z, "uniform") == 0)
		c->distribution = BENCH_UNIFORM;
	else if (strcmp(z, "zipf") == 0)
		c->distribution = BENCH_ZIPF;
	else
		return false;
	return true;
}

static bool
parse_zipf(struct bench_conf *c, const char *z)
{
	char *end;

	c->zipf = strtod(z, &end);
	return *end == '\0' && c->zipf > 0 && c->zipf < 10;
}

/* --- the whole --- */

struct given {
	const char *endpoint;
	bool distribution, duration, warmup;
};

static bool
take_text(struct bench_conf *c, struct given *g, int opt, const char *z)
{
	switch (opt) {
	case OPT_ENDPOINT:
		g->endpoint = z;
		return true;
	case OPT_ACCESS:
		c->access_key = z;
		return true;
	case OPT_SECRET:
		c->secret_key = z;
		return true;
	case OPT_REGION:
		c->region = z;
		return strlen(z) <= 100;
	case OPT_CA:
		c->ca = z;
		return true;
	case OPT_BUCKET:
		c->bucket = z;
		return *z != '\0';
	case OPT_PREFIX:
		c->prefix = z;
		return strlen(z) <= 900;
	case OPT_DELIMITER:
		c->delimiter = z;
		return strlen(z) <= 100;
	case OPT_BASELINE:
		c->baseline_log = z;
		return true;
	default:
		return false;
	}
}

static bool
take_flag(struct bench_conf *c, int opt)
{
	switch (opt) {
	case OPT_INSECURE:
		c->insecure = true;
		return true;
	case OPT_SIGNED:
		c->sign = BENCH_SIGN_PAYLOAD;
		return true;
	case OPT_UNSIGNED:
		c->sign = BENCH_SIGN_UNSIGNED;
		return true;
	case OPT_PRESIGNED:
		c->sign = BENCH_SIGN_URL;
		return true;
	case OPT_ANONYMOUS:
		c->sign = BENCH_SIGN_NONE;
		return true;
	case OPT_JSON:
		c->json = true;
		return true;
	case OPT_QUIET:
		c->quiet = true;
		return true;
	case OPT_DIGESTS:
		c->digests = true;
		return true;
	default:
		return false;
	}
}

static bool
take_value(struct bench_conf *c, struct given *g, int opt, const char *z)
{
	switch (opt) {
	case OPT_SIZE:
		return bench_size(z, &c->size) && c->size <= UINT64_C(1) << 40;
	case OPT_PART_SIZE:
		return bench_size(z, &c->part_size) && c->part_size > 0;
	case OPT_CONCURRENCY:
		return parse_unsigned(z, 100000, &c->concurrency);
	case OPT_THREADS:
		return parse_unsigned(z, 1024, &c->threads);
	case OPT_DURATION:
		g->duration = true;
		return bench_time(z, &c->duration_ns) && c->duration_ns > 0;
	case OPT_COUNT:
		return str_to_u64(str_of(z), INT64_MAX, &c->count) &&
		       c->count > 0;
	case OPT_WARMUP:
		g->warmup = true;
		return bench_time(z, &c->warmup_ns);
	case OPT_KEYS:
		return str_to_u64(str_of(z), 999999999999, &c->keys) &&
		       c->keys > 0;
	case OPT_DISTRIBUTION:
		return parse_distribution(c, z, &g->distribution);
	case OPT_ZIPF:
		return parse_zipf(c, z);
	case OPT_PREFILL:
		c->prefill_given = true;
		return str_to_u64(str_of(z), 999999999999, &c->prefill);
	case OPT_MIX:
		return parse_mix(c, z);
	case OPT_MAX_KEYS:
		return parse_unsigned(z, 1000000, &c->max_keys);
	case OPT_PID:
		return parse_pids(c, z);
	default:
		return take_text(c, g, opt, z);
	}
}

static const char *
env_or(const char *a, const char *b, const char *c, const char *otherwise)
{
	const char *names[] = { a, b, c };

	for (size_t i = 0; i < 3; i++) {
		const char *v = names[i] == NULL ? NULL : getenv(names[i]);

		if (v != NULL && *v != '\0')
			return v;
	}
	return otherwise;
}

static void
defaults(struct bench_conf *c)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	*c = (struct bench_conf){ .bucket = "creel-bench",
		.prefix = "bench/",
		.region = "us-east-1",
		.size = 4096,
		.part_size = 8u << 20,
		.concurrency = 32,
		.threads = cpus > 0 ? (unsigned)cpus : 1,
		.duration_ns = 10000000000,
		.warmup_ns = 1000000000,
		.max_keys = 1000,
		.zipf = 0.99 };
	c->mix[BENCH_GET] = 70;
	c->mix[BENCH_PUT] = 30;
	c->access_key = env_or("CREEL_ROOT_USER", "MINIO_ROOT_USER",
	    "AWS_ACCESS_KEY_ID", "");
	c->secret_key = env_or("CREEL_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD",
	    "AWS_SECRET_ACCESS_KEY", "");
}

/* What depends on the command. */
static bool
settle(struct bench_conf *c, const struct given *g)
{
	bool mixed = strcmp(c->command, "mixed") == 0;
	bool reads = mixed || strcmp(c->command, "get") == 0 ||
	             strcmp(c->command, "head") == 0;
	bool deletes = strcmp(c->command, "delete") == 0;
	bool known = mixed;

	for (int op = 0; op < BENCH_BUCKET; op++)
		known = known || strcmp(c->command, bench_op_names[op]) == 0;
	if (!known) {
		usage("no workload `%s`", c->command);
		return false;
	}
	if (reads && c->keys == 0)
		c->keys = c->prefill > 0 ? c->prefill : 1000;
	if (!g->distribution)
		c->distribution = reads || strcmp(c->command, "list") == 0
		                      ? BENCH_UNIFORM
		                      : BENCH_SEQUENTIAL;
	if (!c->prefill_given && reads)
		c->prefill = c->keys;
	if (!c->prefill_given && deletes)
		c->prefill = c->count;
	if (deletes && c->count == 0) {
		if (c->prefill == 0 && c->keys == 0) {
			usage("delete needs --count or --keys");
			return false;
		}
		c->count = c->keys > 0 ? c->keys : c->prefill;
		if (!c->prefill_given)
			c->prefill = c->count;
	}
	if (c->sign != BENCH_SIGN_NONE && *c->access_key == '\0') {
		usage("no keys: --access-key and --secret-key, or the "
		      "environment");
		return false;
	}
	if (strcmp(c->command, "multipart") == 0) {
		if (c->size / c->part_size > 9999) {
			usage("more than 10,000 parts");
			return false;
		}
	} else if (c->size > UINT64_C(4) << 30) {
		usage("a body of over 4 GiB stays in memory: use multipart");
		return false;
	}
	return true;
}

bool
bench_options(int argc, char **argv, struct bench_conf *ret, int *ret_status)
{
	struct given g = {
		.endpoint = env_or("CREEL_ENDPOINT", NULL, NULL,
		    "http://127.0.0.1:9000"),
	};
	struct bench_conf *c = ret;
	struct err e;
	int opt, index = 0;

	defaults(c);
	*ret_status = EXIT_USAGE;
	optind = 0; /* tests call this several times */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":h", options, &index)) != -1) {
		if (opt == 'h') {
			fputs(help, stdout);
			*ret_status = EXIT_OK;
			return false;
		}
		if (opt == '?' || opt == ':') {
			usage(opt == ':' ? "%s needs a value" : "bad option %s",
			    cli_bad_option(argv, optind));
			return false;
		}
		if (take_flag(c, opt) || take_value(c, &g, opt, optarg))
			continue;
		usage("--%s cannot be `%s`", options[index].name, optarg);
		return false;
	}
	if (g.duration && c->count > 0) {
		usage("--count or --duration, not both");
		return false;
	}
	if (c->baseline_log != NULL || c->digests)
		return true;
	if (optind + 1 != argc) {
		usage(optind == argc ? "which workload?"
				     : "one workload at a time");
		return false;
	}
	c->command = argv[optind];
	if (bench_endpoint(c, g.endpoint, &e) < 0) {
		usage("%s", e.msg);
		return false;
	}
	return settle(c, &g);
}
