/* lib/metrics.h - counters, gauges and histograms of this process, and their
 * text form for Prometheus (exposition format 0.0.4).
 *
 * All are declared in lib/metrics_table.h. Counting is one relaxed addition
 * into a part of the table that few threads share. Threads: any. */
#ifndef LIB_METRICS_H
#define LIB_METRICS_H

#include "lib/str.h"

enum metric_op { /* METRIC_OP_GetObject, ... */
#define OP(name) METRIC_OP_##name,
#include "lib/metrics_table.h"
	METRIC_OPS
};

enum metric_counter { /* METRIC_collected_files_total, ... */
#define COUNTER(name, help) METRIC_##name,
#include "lib/metrics_table.h"
	METRIC_COUNTERS
};

enum metric_gauge { /* METRIC_http_connections, ... */
#define GAUGE(name, help) METRIC_##name,
#include "lib/metrics_table.h"
	METRIC_GAUGES
};

void metric_add(enum metric_counter m, uint64_t n);
void metric_set(enum metric_gauge m, int64_t v);

/* A request is over: count, duration, bytes of the bodies. */
void metric_request(enum metric_op op, int status, int64_t ns, uint64_t in,
    uint64_t out);
/* An ERR_* code; a positive or unknown one is counted as IO. */
void metric_error(int code);

/* Sum over all threads; for tests. */
uint64_t metric_read(enum metric_counter m);
int64_t metric_read_gauge(enum metric_gauge m);
uint64_t metric_read_requests(enum metric_op op, int status);

/* Appends everything above, and process_* of this process. Families leave out
 * what was never counted. */
int metrics_text(struct buf *b);

/* For what only its owner can count (space per store path): a heading, then
 * its lines. @label may be NULL; @value is escaped. */
int metrics_head(struct buf *b, const char *name, const char *type,
    const char *help);
int metrics_line(struct buf *b, const char *name, const char *label,
    struct str value, uint64_t n);

#endif
