/* cli/bench_report.c - figures: CPU times from /proc, text and JSON. */
#include "cli/bench.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Fields 14 and 15 of /proc/PID/stat; the name in the second may hold blanks,
 * so counting starts behind it. */
static bool
cpu_of(int pid, double *ret_s)
{
	char path[64], line[1024];
	uint64_t ticks = 0, v;
	struct str s;
	const char *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	at = fgets(line, sizeof(line), f);
	fclose(f);
	at = at == NULL ? NULL : strrchr(line, ')');
	if (at == NULL)
		return false;
	s = str_of(at + 1);
	for (int field = 2; field <= 15; field++) {
		struct str word = str_split(&s, ' ');

		if (field < 14)
			continue;
		if (!str_to_u64(word, UINT64_MAX, &v))
			return false;
		ticks += v;
	}
	*ret_s = (double)ticks / (double)sysconf(_SC_CLK_TCK);
	return true;
}

bool
bench_cpu(const int *pids, size_t n, double *ret_s)
{
	*ret_s = 0;
	for (size_t i = 0; i < n; i++) {
		double s;

		if (!cpu_of(pids[i], &s))
			return false;
		*ret_s += s;
	}
	return true;
}

double
bench_own_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* The last place collects what has no place of its own. */
void
bench_error_add(struct bench_errors *b, struct str code, uint64_t n)
{
	size_t i;

	if (n == 0)
		return;
	for (i = 0; i < BENCH_ERRORS - 1; i++) {
		if (b->e[i].n == 0 || str_eqz(code, b->e[i].code))
			break;
	}
	if (i == BENCH_ERRORS - 1)
		code = STR_LIT("other");
	if (b->e[i].n == 0)
		snprintf(b->e[i].code, sizeof(b->e[i].code), STR_FMT,
		    STR_ARG(code));
	b->e[i].n += n;
}

static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999 };
static const char *const quantile_names[] = { "p50", "p90", "p99", "p99_9" };

static double
ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static double
us_per_op(const struct bench_result *r, double cpu_s)
{
	uint64_t n = r->n_ops + r->n_errors;

	return n == 0 ? 0 : cpu_s * 1e6 / (double)n;
}

static json_t *
latency_json(const struct bench_hist *h)
{
	json_t *j = json_object();

	for (size_t i = 0; i < 4; i++)
		json_object_set_new(j, quantile_names[i],
		    json_real(ms(bench_hist_quantile(h, quantiles[i]))));
	json_object_set_new(j, "max", json_real(ms(h->max)));
	json_object_set_new(j, "mean",
	    json_real(h->count == 0 ? 0 : ms(h->sum / h->count)));
	return j;
}

static void
report_json(const struct bench_conf *c, const struct bench_result *r)
{
	struct bench_hist *all = calloc(1, sizeof(*all));
	json_t *j = json_object(), *ops = json_object();
	json_t *errors = json_object();
	char *text;

	if (all == NULL)
		return;
	json_object_set_new(j, "workload",
	    json_string(c->command != NULL ? c->command : "baseline-log"));
	json_object_set_new(j, "size", json_integer((json_int_t)c->size));
	json_object_set_new(j, "concurrency", json_integer(c->concurrency));
	json_object_set_new(j, "seconds", json_real(r->seconds));
	json_object_set_new(j, "ops", json_integer((json_int_t)r->n_ops));
	json_object_set_new(j, "ops_per_s",
	    json_real((double)r->n_ops / r->seconds));
	json_object_set_new(j, "mb_per_s",
	    json_real((double)r->bytes / r->seconds / 1e6));
	for (unsigned op = 0; op < BENCH_OPS; op++) {
		json_t *one;

		if (r->ops[op].count == 0)
			continue;
		bench_hist_merge(all, &r->ops[op]);
		one = json_object();
		json_object_set_new(one, "ops",
		    json_integer((json_int_t)r->ops[op].count));
		json_object_set_new(one, "latency_ms",
		    latency_json(&r->ops[op]));
		json_object_set_new(ops, bench_op_names[op], one);
	}
	json_object_set_new(j, "latency_ms", latency_json(all));
	json_object_set_new(j, "by_operation", ops);
	for (size_t i = 0; i < BENCH_ERRORS && r->errors.e[i].n > 0; i++)
		json_object_set_new(errors, r->errors.e[i].code,
		    json_integer((json_int_t)r->errors.e[i].n));
	json_object_set_new(j, "errors", errors);
	if (r->has_cpu) {
		json_object_set_new(j, "server_cpu_s",
		    json_real(r->server_cpu_s));
		json_object_set_new(j, "server_cpu_us_per_op",
		    json_real(us_per_op(r, r->server_cpu_s)));
	}
	json_object_set_new(j, "client_cpu_us_per_op",
	    json_real(us_per_op(r, r->own_cpu_s)));
	if (r->syncs > 0)
		json_object_set_new(j, "syncs",
		    json_integer((json_int_t)r->syncs));
	text = json_dumps(j, JSON_REAL_PRECISION(6));
	if (text != NULL)
		puts(text);
	free(text);
	json_decref(j);
	free(all);
}

static void
report_op(const char *name, const struct bench_hist *h)
{
	printf("%-10s %10ju ops   p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  "
	       "max %.3f ms\n",
	    name, (uintmax_t)h->count, ms(bench_hist_quantile(h, 0.5)),
	    ms(bench_hist_quantile(h, 0.9)), ms(bench_hist_quantile(h, 0.99)),
	    ms(bench_hist_quantile(h, 0.999)), ms(h->max));
}

void
bench_report(const struct bench_conf *c, const struct bench_result *r)
{
	if (c->json) {
		report_json(c, r);
		return;
	}
	printf("%.1f ops/s, %.1f MB/s, %ju operations in %.2f s, %u "
	       "connections\n",
	    (double)r->n_ops / r->seconds, (double)r->bytes / r->seconds / 1e6,
	    (uintmax_t)r->n_ops, r->seconds, c->concurrency);
	for (unsigned op = 0; op < BENCH_OPS; op++) {
		if (r->ops[op].count > 0)
			report_op(bench_op_names[op], &r->ops[op]);
	}
	for (size_t i = 0; i < BENCH_ERRORS && r->errors.e[i].n > 0; i++)
		printf("error      %10ju %s\n", (uintmax_t)r->errors.e[i].n,
		    r->errors.e[i].code);
	if (r->syncs > 0)
		printf("%ju syncs, %.1f records each\n", (uintmax_t)r->syncs,
		    (double)r->n_ops / (double)r->syncs);
	if (r->has_cpu)
		printf("server CPU %.2f s, %.1f us/op\n", r->server_cpu_s,
		    us_per_op(r, r->server_cpu_s));
	printf("client CPU %.2f s, %.1f us/op\n", r->own_cpu_s,
	    us_per_op(r, r->own_cpu_s));
}
