/* cli/bench_hist.c - latencies, and the choice of keys. */
#include "cli/bench.h"

#include <math.h>

/* 128 buckets for each power of two: values below 128 have one each. */
static unsigned
bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < 128)
		return (unsigned)v;
	shift = 63u - (unsigned)__builtin_clzll(v) - 7u;
	return shift * 128 + (unsigned)(v >> shift);
}

static uint64_t
bucket_end(unsigned b)
{
	unsigned shift = b < 256 ? 0 : b / 128 - 1;

	return (((uint64_t)b - shift * 128 + 1) << shift) - 1;
}

void
bench_hist_add(struct bench_hist *h, uint64_t ns)
{
	unsigned b = bucket_of(ns);

	h->n[b < BENCH_HIST_BUCKETS ? b : BENCH_HIST_BUCKETS - 1]++;
	h->count++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
}

void
bench_hist_merge(struct bench_hist *to, const struct bench_hist *from)
{
	to->count += from->count;
	to->sum += from->sum;
	if (from->max > to->max)
		to->max = from->max;
	for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++)
		to->n[i] += from->n[i];
}

uint64_t
bench_hist_quantile(const struct bench_hist *h, double q)
{
	uint64_t want, seen = 0;

	if (h->count == 0)
		return 0;
	want = (uint64_t)ceil(q * (double)h->count);
	if (want == 0)
		want = 1;
	for (unsigned i = 0; i < BENCH_HIST_BUCKETS; i++) {
		seen += h->n[i];
		if (seen >= want) {
			uint64_t end = bucket_end(i);

			return end < h->max ? end : h->max;
		}
	}
	return h->max;
}

/* splitmix64 (S. Vigna) */
uint64_t
bench_random(struct bench_rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* [0, 1) */
static double
random_unit(struct bench_rng *r)
{
	return (double)(bench_random(r) >> 11) * 0x1.0p-53;
}

/* Integral of x^-s, and its inverse; s near 1 is a logarithm. */
static double
zipf_h(double x, double s)
{
	return fabs(s - 1) < 1e-9 ? log(x) : (pow(x, 1 - s) - 1) / (1 - s);
}

static double
zipf_h_inverse(double y, double s)
{
	return fabs(s - 1) < 1e-9 ? exp(y) : pow(1 + y * (1 - s), 1 / (1 - s));
}

void
bench_zipf_init(struct bench_zipf *z, uint64_t n, double s)
{
	z->n = (double)n;
	z->s = s;
	z->h_x1 = zipf_h(1.5, s) - 1;
	z->h_n = zipf_h(z->n + 0.5, s);
	z->cut = 2 - zipf_h_inverse(zipf_h(2.5, s) - pow(2, -s), s);
}

uint64_t
bench_zipf_next(const struct bench_zipf *z, struct bench_rng *r)
{
	for (;;) {
		double u = z->h_n + random_unit(r) * (z->h_x1 - z->h_n);
		double x = zipf_h_inverse(u, z->s), k = floor(x + 0.5);

		if (k < 1)
			k = 1;
		else if (k > z->n)
			k = z->n;
		if (k - x <= z->cut ||
		    u >= zipf_h(k + 0.5, z->s) - pow(k, -z->s))
			return (uint64_t)k;
	}
}
