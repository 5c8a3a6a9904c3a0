/* cli/bench.h - the load generator: what its files share.
 *
 * One process, a few threads; each has an epoll and its share of the
 * connections, and each connection one request under way. Requests are built
 * and signed by us (bench_request.c), answers are parsed just enough to know
 * status, length and error code (bench_conn.c). Latencies go into histograms
 * per thread, merged at the end. Nothing is shared between threads while it
 * runs but a few counters. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "lib/err.h"
#include "lib/hash.h"
#include "lib/str.h"

#include <stdatomic.h>
#include <stdint.h>

/* --- options --- */

enum bench_op {
	BENCH_PUT,
	BENCH_GET,
	BENCH_HEAD,
	BENCH_DELETE,
	BENCH_LIST,
	BENCH_MULTIPART, /* create, parts, complete: one operation */
	BENCH_BUCKET,    /* make the bucket; internal */
	BENCH_OPS
};
extern const char *const bench_op_names[BENCH_OPS];

enum bench_sign {
	BENCH_SIGN_PAYLOAD,  /* header, hash of the body */
	BENCH_SIGN_UNSIGNED, /* header, UNSIGNED-PAYLOAD */
	BENCH_SIGN_URL,      /* presigned; made ahead where keys are few */
	BENCH_SIGN_NONE,
};

enum bench_keys {
	BENCH_SEQUENTIAL,
	BENCH_UNIFORM,
	BENCH_ZIPF
};

#define BENCH_PIDS 32

struct bench_conf {
	const char
	    *command; /* put get head delete list multipart mixed, NULL */
	const char *endpoint, *bucket, *prefix, *delimiter;
	const char *access_key, *secret_key, *region;
	const char *ca;
	bool insecure, json, quiet, digests;
	const char *baseline_log;
	uint64_t size, part_size, count, keys, prefill;
	bool prefill_given;
	unsigned concurrency, threads, max_keys;
	int64_t duration_ns, warmup_ns;
	enum bench_sign sign;
	enum bench_keys distribution;
	double zipf;
	unsigned mix[BENCH_OPS]; /* percent; command "mixed" */
	int pids[BENCH_PIDS];
	size_t n_pids;
	/* from the endpoint */
	bool tls;
	char host[256], port[8];
	char host_header[300];
};

/* Exit status in *ret_status when it returns false (--help, bad usage). */
bool bench_options(int argc, char **argv, struct bench_conf *ret,
    int *ret_status);
/* "http://host:port"; fills tls, host, port, host_header. */
int bench_endpoint(struct bench_conf *c, const char *url, struct err *e);
/* "4096", "4K", "64MiB", "1G" (binary); "5s", "250ms", "2m". */
bool bench_size(const char *z, uint64_t *ret);
bool bench_time(const char *z, int64_t *ret_ns);

/* --- latencies: log-linear, under 1 % wide --- */

#define BENCH_HIST_BUCKETS (58 * 128)
struct bench_hist {
	uint64_t count, sum, max;
	uint64_t n[BENCH_HIST_BUCKETS];
};
void bench_hist_add(struct bench_hist *h, uint64_t ns);
void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from);
/* Upper end of the bucket of the @q quantile (0..1), in ns; 0 when empty. */
uint64_t bench_hist_quantile(const struct bench_hist *h, double q);

/* --- which key comes next --- */

struct bench_rng {
	uint64_t s;
};
uint64_t bench_random(struct bench_rng *r);

/* Zipf over 1..n by rejection-inversion (W. Hörmann, G. Derflinger 1996). */
struct bench_zipf {
	double n, s, h_x1, h_n, cut;
};
void bench_zipf_init(struct bench_zipf *z, uint64_t n, double s);
uint64_t bench_zipf_next(const struct bench_zipf *z, struct bench_rng *r);

/* --- requests --- */

#define BENCH_KEY_DIGITS 12
#define BENCH_URLS_AHEAD 200000 /* keys that get their signature ahead */

/* What all threads read, made once. */
struct bench_plan {
	const struct bench_conf *conf;
	struct buf base;   /* "/bucket/prefix", encoded */
	struct buf bucket; /* "/bucket", encoded */
	char run_id[9];    /* in unique keys */
	/* bodies: windows into one pool of random bytes */
	char *pool;
	size_t n_bodies;
	uint64_t body_size;
	char (*body_hash)[65];
	char last_hash[65]; /* multipart: of the last, shorter part */
	uint64_t n_parts, last_size;
	/* presigned GETs, 64 hex digits for each key, or NULL */
	char (*urls)[64];
	uint64_t n_urls;
	int64_t url_date;
};
/* Body @i of @p->body_size bytes. */
static inline const char *
bench_body(const struct bench_plan *p, size_t i)
{
	return p->pool + i * 64;
}
int bench_plan_init(struct bench_plan *p, const struct bench_conf *c,
    struct err *e);
void bench_plan_fini(struct bench_plan *p);
/* Signs the GETs of the first @n keys (at most BENCH_URLS_AHEAD) ahead. */
int bench_plan_urls(struct bench_plan *p, uint64_t n, int64_t now_s,
    struct err *e);

struct bench_signer {
	int64_t second; /* the date below */
	char date[17];
	struct hmac_key key;
	struct buf path, query, canonical;
};
void bench_signer_init(struct bench_signer *s);
void bench_signer_fini(struct bench_signer *s);

struct bench_request {
	const char *method;
	enum bench_op op;
	uint64_t key;
	struct str sub;        /* "partNumber=1&uploadId=x", sorted, encoded */
	const char *body_hash; /* hex, NULL: of an empty body */
	uint64_t body_len;
	bool has_body;
	bool unique; /* a key that no other run has */
};
/* Writes the request's head to @out (which is emptied first). */
int bench_request_head(const struct bench_plan *p, struct bench_signer *s,
    const struct bench_request *r, int64_t now_s, struct buf *out,
    struct err *e);

/* --- one connection --- */

struct bench_tls; /* an SSL_CTX */
int bench_tls_new(const struct bench_conf *c, struct bench_tls **ret,
    struct err *e);
void bench_tls_free(struct bench_tls **tp);

struct addrinfo;
#define BENCH_HEAD_MAX 16384
#define BENCH_KEEP_MAX 4096

enum bench_want {
	BENCH_WANT_READ,
	BENCH_WANT_WRITE,
	BENCH_DONE
};

struct bench_conn {
	int fd;
	void *ssl;
	bool connected, usable; /* the answer left it open */
	/* out */
	struct buf head;
	const char *body;
	uint64_t body_len, sent;
	/* in */
	int phase;
	char in[BENCH_HEAD_MAX];
	size_t in_len;
	int status;
	bool is_head; /* HEAD: no body follows */
	bool chunked, close;
	uint64_t left; /* of the body or chunk */
	uint64_t received;
	char etag[80];
	char keep[BENCH_KEEP_MAX]; /* the body's beginning */
	size_t keep_len;
	bool keep_body; /* wanted; error bodies are kept anyway */
};
void bench_conn_init(struct bench_conn *c);
void bench_conn_fini(struct bench_conn *c);
/* Starts connecting, without waiting. */
int bench_conn_open(struct bench_conn *c, const struct addrinfo *ai,
    const struct bench_conf *conf, struct bench_tls *tls, struct err *e);
void bench_conn_close(struct bench_conn *c);
/* Readies it for the answer to what stands in head and body. */
void bench_conn_begin(struct bench_conn *c, bool is_head, bool keep_body);
/* Goes on as far as it can without waiting. ERR_DISCONNECTED, ERR_CORRUPT (not
 * HTTP), ERR_IO. */
int bench_conn_step(struct bench_conn *c, char *scratch, size_t size,
    enum bench_want *ret, struct err *e);
/* Takes bytes of an answer; *ret_done when it is complete. For bench_conn.c
 * and its test. */
int bench_conn_feed(struct bench_conn *c, const char *p, size_t len,
    bool *ret_done, struct err *e);
/* Text between <name> and </name> in what was kept. */
struct str bench_conn_xml(const struct bench_conn *c, const char *name);

/* --- a run --- */

#define BENCH_ERRORS 24
struct bench_errors {
	struct {
		char code[48];
		uint64_t n;
	} e[BENCH_ERRORS];
};
void bench_error_add(struct bench_errors *b, struct str code, uint64_t n);

struct bench_result {
	struct bench_hist ops[BENCH_OPS];
	struct bench_errors errors;
	uint64_t n_ops, n_errors, bytes; /* bytes of bodies, both ways */
	double seconds, server_cpu_s, own_cpu_s;
	bool has_cpu;
	uint64_t syncs; /* baseline */
};

struct bench_run {
	const struct bench_plan *plan;
	const char *command;
	unsigned mix[BENCH_OPS];
	uint64_t count; /* 0: by time */
	int64_t duration_ns, warmup_ns;
	unsigned concurrency, threads;
	enum bench_keys distribution;
	uint64_t keys;
	bool unique, quiet;
};
/* Fails when nothing could be reached at all. *ret is large: heap. */
int bench_run(const struct bench_run *r, struct bench_result *ret,
    struct err *e);

int bench_baseline(const struct bench_conf *c, struct bench_result *ret,
    struct err *e);
int bench_digests(const struct bench_conf *c, struct err *e);
void bench_report(const struct bench_conf *c, const struct bench_result *r);
/* utime + stime of the processes; false when one is gone. */
bool bench_cpu(const int *pids, size_t n, double *ret_s);
double bench_own_cpu(void);

int bench_main(int argc, char **argv);

#endif
