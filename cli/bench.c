/* cli/bench.c - `creel bench`: makes the bucket, fills it, runs, reports. */
#include "cli/bench.h"
#include "cli/cli.h"
#include "lib/clock.h"
#include "lib/mem.h"

#include <stdio.h>

static enum bench_op
op_of(const char *command)
{
	int op;

	for (op = 0; op < BENCH_BUCKET; op++) {
		if (strcmp(command, bench_op_names[op]) == 0)
			break;
	}
	return (enum bench_op)op;
}

static struct bench_run
plain_run(const struct bench_plan *p, enum bench_op op, uint64_t count)
{
	struct bench_run r = { .plan = p,
		.count = count,
		.concurrency = p->conf->concurrency,
		.threads = p->conf->threads,
		.quiet = p->conf->quiet };

	r.mix[op] = 100;
	return r;
}

static int
prepare(struct bench_plan *p, struct bench_result *res, struct err *e)
{
	struct bench_run r = plain_run(p, BENCH_BUCKET, 1);
	int rc;

	r.concurrency = 1;
	rc = bench_run(&r, res, e);
	if (rc < 0 || p->conf->prefill == 0)
		return rc;
	r = plain_run(p, BENCH_PUT, p->conf->prefill);
	rc = bench_run(&r, res, e);
	if (rc == 0 && res->n_errors > 0)
		rc = err_set(e, ERR_IO, "%ju of %ju objects could not be put",
		    (uintmax_t)res->n_errors, (uintmax_t)p->conf->prefill);
	return rc;
}

static int
load(struct bench_plan *p, struct bench_result *res, struct err *e)
{
	const struct bench_conf *c = p->conf;
	enum bench_op op = op_of(c->command);
	bool mixed = op == BENCH_BUCKET, puts = op == BENCH_PUT;
	struct bench_run r = plain_run(p, op, c->count);
	int rc;

	/* An anonymous load has nobody to make a bucket. */
	if (c->sign != BENCH_SIGN_NONE || c->prefill > 0) {
		rc = prepare(p, res, e);
		if (rc < 0)
			return rc;
	}
	if (mixed)
		memcpy(r.mix, c->mix, sizeof(r.mix));
	r.duration_ns = c->duration_ns;
	r.warmup_ns = c->warmup_ns;
	r.distribution = c->distribution;
	r.keys = c->keys;
	r.unique =
	    (puts || op == BENCH_MULTIPART) && c->count == 0 && c->keys == 0;
	if (c->sign == BENCH_SIGN_URL && c->keys > 0) {
		rc = bench_plan_urls(p, c->keys, clock_real_s(), e);
		if (rc < 0)
			return rc;
	}
	return bench_run(&r, res, e);
}

static int
failed(const struct err *e)
{
	fprintf(stderr, "creel: bench: %s\n",
	    e->msg[0] != '\0' ? e->msg : err_text(e->code));
	return EXIT_FAILED;
}

int
bench_main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct bench_result *res;
	struct bench_conf c;
	struct bench_plan p;
	int rc, status;

	if (!bench_options(argc, argv, &c, &status))
		return status;
	if (c.digests)
		return bench_digests(&c, &e) < 0 ? failed(&e) : EXIT_OK;
	res = mem_alloc(sizeof(*res));
	if (res == NULL)
		return EXIT_FAILED;
	if (c.baseline_log != NULL) {
		rc = bench_baseline(&c, res, &e);
	} else {
		rc = bench_plan_init(&p, &c, &e);
		if (rc == 0)
			rc = load(&p, res, &e);
		bench_plan_fini(&p);
	}
	if (rc == 0)
		bench_report(&c, res);
	status = rc < 0              ? failed(&e)
	         : res->n_errors > 0 ? EXIT_FAILED
	         : res->n_ops == 0   ? EXIT_FAILED
	                             : EXIT_OK;
	mem_free(&res);
	return status;
}
