/* lib/metrics.c - the table of figures and its text form.
 *
 * Each family is a run of cells; a two-label family has one per pair, a
 * histogram BUCKETS + 1 per label (the last one is the sum). The cells exist
 * SHARDS times: a thread adds to one of them, a reader adds them up. */
#include "lib/metrics.h"

#include "lib/err.h"
#include "lib/fs.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define SHARDS 8

static const int64_t bucket_ns[] = { 100000, 250000, 500000, 1000000, 2500000,
	5000000, 10000000, 25000000, 50000000, 100000000, 250000000, 500000000,
	1000000000, 2500000000, 5000000000, 10000000000, 30000000000,
	60000000000 };
#define BUCKETS (sizeof(bucket_ns) / sizeof(bucket_ns[0]) + 1) /* +Inf */
#define HISTOGRAM_CELLS (BUCKETS + 1)

static const char *const op_names[] = {
#define OP(name) #name,
#include "lib/metrics_table.h"
};
static const int codes[] = {
#define CODE(n) n,
#include "lib/metrics_table.h"
};

#define OP_N METRIC_OPS
#define CODE_N (sizeof(codes) / sizeof(codes[0]))
#define ERR_N ERR_POSITIONS

enum { /* AT_name: the first cell of each */
#define COUNTER(name, help) AT_##name,
#define FAMILY(name, l, set, help)                                             \
	AT_##name, AT_END_##name = AT_##name + (int)set##_N - 1,
#define FAMILY2(name, l, set, l2, set2, help)                                  \
	AT_##name, AT_END_##name = AT_##name + (int)set##_N * (int)set2##_N - 1,
#define HISTOGRAM(name, l, set, help)                                          \
	AT_##name,                                                             \
	    AT_END_##name =                                                    \
		AT_##name + (int)set##_N * (int)HISTOGRAM_CELLS - 1,
#include "lib/metrics_table.h"
	CELLS
};

enum label_set {
	SET_NONE,
	SET_OP,
	SET_CODE,
	SET_ERR
};

static const size_t set_sizes[] = { [SET_NONE] = 1,
	[SET_OP] = OP_N,
	[SET_CODE] = CODE_N,
	[SET_ERR] = ERR_N };

static const struct def {
	const char *name, *help, *label, *label2;
	enum label_set set, set2;
	bool is_histogram;
	size_t at;
} defs[] = {
#define COUNTER(n, h) { .name = "creel_" #n, .help = h, .at = AT_##n },
#define FAMILY(n, l, s, h)                                                     \
	{ .name = "creel_" #n,                                                 \
		.help = h,                                                     \
		.label = #l,                                                   \
		.set = SET_##s,                                                \
		.at = AT_##n },
#define FAMILY2(n, l, s, l2, s2, h)                                            \
	{ .name = "creel_" #n,                                                 \
		.help = h,                                                     \
		.label = #l,                                                   \
		.set = SET_##s,                                                \
		.label2 = #l2,                                                 \
		.set2 = SET_##s2,                                              \
		.at = AT_##n },
#define HISTOGRAM(n, l, s, h)                                                  \
	{ .name = "creel_" #n,                                                 \
		.help = h,                                                     \
		.label = #l,                                                   \
		.set = SET_##s,                                                \
		.is_histogram = true,                                          \
		.at = AT_##n },
#include "lib/metrics_table.h"
};

static const struct {
	const char *name, *help;
} gauge_defs[] = {
#define GAUGE(n, h) { "creel_" #n, h },
#include "lib/metrics_table.h"
};

static const size_t counter_at[] = {
#define COUNTER(name, help) AT_##name,
#include "lib/metrics_table.h"
};

static _Alignas(64) _Atomic uint64_t cells[SHARDS][(CELLS + 7) / 8 * 8];
static _Atomic int64_t gauges[METRIC_GAUGES];

static _Atomic unsigned next_shard;
static __thread unsigned my_shard; /* from 1; 0 = none yet */

static void
add(size_t cell, uint64_t n)
{
	if (my_shard == 0)
		my_shard = next_shard++ % SHARDS + 1;
	atomic_fetch_add_explicit(&cells[my_shard - 1][cell], n,
	    memory_order_relaxed);
}

static uint64_t
total(size_t cell)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SHARDS; i++)
		n +=
		    atomic_load_explicit(&cells[i][cell], memory_order_relaxed);
	return n;
}

void
metric_add(enum metric_counter m, uint64_t n)
{
	MUST((unsigned)m < METRIC_COUNTERS);
	add(counter_at[m], n);
}

void
metric_set(enum metric_gauge m, int64_t v)
{
	MUST((unsigned)m < METRIC_GAUGES);
	atomic_store_explicit(&gauges[m], v, memory_order_relaxed);
}

static size_t
code_slot(int status)
{
	size_t i = 0;

	while (i < CODE_N - 1 && codes[i] != status)
		i++;
	return i;
}

void
metric_request(enum metric_op op, int status, int64_t ns, uint64_t in,
    uint64_t out)
{
	size_t o = (unsigned)op < METRIC_OPS ? (size_t)op : METRIC_OP_Other;
	size_t h = AT_request_duration_seconds + o * HISTOGRAM_CELLS, k = 0;

	if (ns < 0)
		ns = 0;
	while (k < BUCKETS - 1 && ns > bucket_ns[k])
		k++;
	add(AT_requests_total + o * CODE_N + code_slot(status), 1);
	add(h + k, 1);
	add(h + BUCKETS, (uint64_t)ns);
	if (in > 0)
		add(AT_received_bytes_total + o, in);
	if (out > 0)
		add(AT_sent_bytes_total + o, out);
}

void
metric_error(int code)
{
	if (code >= 0 || code <= -(int)ERR_POSITIONS)
		code = ERR_IO;
	add(AT_errors_total + (size_t)-code, 1);
}

uint64_t
metric_read(enum metric_counter m)
{
	MUST((unsigned)m < METRIC_COUNTERS);
	return total(counter_at[m]);
}

int64_t
metric_read_gauge(enum metric_gauge m)
{
	MUST((unsigned)m < METRIC_GAUGES);
	return atomic_load_explicit(&gauges[m], memory_order_relaxed);
}

uint64_t
metric_read_requests(enum metric_op op, int status)
{
	MUST((unsigned)op < METRIC_OPS);
	return total(
	    AT_requests_total + (size_t)op * CODE_N + code_slot(status));
}

/* --- text --- */

static int
add_escaped(struct buf *b, struct str s, bool quotes)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s.len; i++) {
		if (s.p[i] == '\n')
			rc = buf_addz(b, "\\n");
		else if (s.p[i] == '\\')
			rc = buf_addz(b, "\\\\");
		else if (s.p[i] == '"' && quotes)
			rc = buf_addz(b, "\\\"");
		else
			rc = buf_addc(b, s.p[i]);
	}
	return rc;
}

int
metrics_head(struct buf *b, const char *name, const char *type,
    const char *help)
{
	int rc = buf_addf(b, "# HELP %s ", name);

	if (rc == 0)
		rc = add_escaped(b, str_of(help), false);
	return rc == 0 ? buf_addf(b, "\n# TYPE %s %s\n", name, type) : rc;
}

int
metrics_line(struct buf *b, const char *name, const char *label,
    struct str value, uint64_t n)
{
	int rc = buf_addz(b, name);

	if (rc == 0 && label != NULL) {
		rc = buf_addf(b, "{%s=\"", label);
		if (rc == 0)
			rc = add_escaped(b, value, true);
		if (rc == 0)
			rc = buf_addz(b, "\"}");
	}
	return rc == 0 ? buf_addf(b, " %" PRIu64 "\n", n) : rc;
}

static const char *
label_value(enum label_set set, size_t i, char tmp[16])
{
	switch (set) {
	case SET_OP:
		return op_names[i];
	case SET_ERR:
		return err_name(-(int)i);
	case SET_CODE:
		if (codes[i] == 0)
			return "other";
		snprintf(tmp, 16, "%d", codes[i]);
		return tmp;
	default:
		return "";
	}
}

static int
histogram_text(struct buf *b, const struct def *d)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < set_sizes[d->set]; i++) {
		uint64_t counts[BUCKETS], sum = 0, ns;
		char tmp[16];
		const char *v = label_value(d->set, i, tmp);
		size_t at = d->at + i * HISTOGRAM_CELLS;

		for (size_t k = 0; k < BUCKETS; k++) {
			sum += total(at + k);
			counts[k] = sum;
		}
		ns = total(at + BUCKETS);
		if (sum == 0)
			continue;
		for (size_t k = 0; rc == 0 && k < BUCKETS - 1; k++)
			rc = buf_addf(b,
			    "%s_bucket{%s=\"%s\",le=\"%g\"} %" PRIu64 "\n",
			    d->name, d->label, v, (double)bucket_ns[k] / 1e9,
			    counts[k]);
		if (rc == 0)
			rc = buf_addf(b,
			    "%s_bucket{%s=\"%s\",le=\"+Inf\"} %" PRIu64 "\n"
			    "%s_sum{%s=\"%s\"} %" PRIu64 ".%09u\n"
			    "%s_count{%s=\"%s\"} %" PRIu64 "\n",
			    d->name, d->label, v, sum, d->name, d->label, v,
			    ns / 1000000000, (unsigned)(ns % 1000000000),
			    d->name, d->label, v, sum);
	}
	return rc;
}

static int
family_text(struct buf *b, const struct def *d)
{
	size_t n = set_sizes[d->set], n2 = set_sizes[d->set2];
	char tmp[16], tmp2[16];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n * n2; i++) {
		uint64_t v = total(d->at + i);

		if (d->label == NULL) {
			rc = metrics_line(b, d->name, NULL, STR_NULL, v);
			continue;
		}
		if (v == 0)
			continue;
		rc = buf_addf(b, "%s{%s=\"%s\"", d->name, d->label,
		    label_value(d->set, i / n2, tmp));
		if (rc == 0 && d->label2 != NULL)
			rc = buf_addf(b, ",%s=\"%s\"", d->label2,
			    label_value(d->set2, i % n2, tmp2));
		if (rc == 0)
			rc = buf_addf(b, "} %" PRIu64 "\n", v);
	}
	return rc;
}

/* What Prometheus' own client libraries tell about their process. */
static int
process_text(struct buf *b)
{
	struct buf text = BUF_CAP(4096);
	uint64_t pages = 0;
	struct rusage u;
	struct str s;
	int rc;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	rc = metrics_head(b, "process_cpu_seconds_total", "counter",
	    "User and system time.");
	if (rc == 0)
		rc = buf_addf(b, "process_cpu_seconds_total %.6f\n",
		    (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) /
			    1e6);
	if (rc == 0 &&
	    fs_read_file("/proc/self/statm", 4096, &text, NULL) == 0) {
		s = buf_str(&text);
		str_split(&s, ' ');
		if (str_to_u64(str_split(&s, ' '), UINT64_MAX >> 20, &pages)) {
			rc = metrics_head(b, "process_resident_memory_bytes",
			    "gauge", "Memory in use.");
			if (rc == 0)
				rc = metrics_line(b,
				    "process_resident_memory_bytes", NULL,
				    STR_NULL,
				    pages * (uint64_t)sysconf(_SC_PAGESIZE));
		}
	}
	buf_fini(&text);
	return rc;
}

int
metrics_text(struct buf *b)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(defs) / sizeof(defs[0]); i++) {
		const struct def *d = &defs[i];

		rc = metrics_head(b, d->name,
		    d->is_histogram ? "histogram" : "counter", d->help);
		if (rc == 0)
			rc = d->is_histogram ? histogram_text(b, d)
			                     : family_text(b, d);
	}
	for (size_t i = 0; rc == 0 && i < METRIC_GAUGES; i++) {
		rc = metrics_head(b, gauge_defs[i].name, "gauge",
		    gauge_defs[i].help);
		if (rc == 0)
			rc = buf_addf(b, "%s %" PRId64 "\n", gauge_defs[i].name,
			    metric_read_gauge((enum metric_gauge)i));
	}
	return rc == 0 ? process_text(b) : rc;
}
