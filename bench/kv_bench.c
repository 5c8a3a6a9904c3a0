/* bench/kv_bench.c - the index alone, against a bare group-synced log.
 *
 * kv_bench DIR [--records N] [--threads N] [--seconds N] [--table-mib N]
 *     [--only RUN]
 * makes an index of N records below DIR (kept for the next run), then runs:
 *   bare    threads append records to a written file; one fdatasync a group
 *   update  threads run transactions of three keys, as a PUT does: read and
 *           write an object's row, write a garbage row, count
 *   get     views, one random key each
 *   scan    pages of 1000 keys
 * One line of JSON each. Machines are noisy: compare within one run. */
#include "gateway/index/kv.h"
#include "gateway/index/ops.h"
#include "gateway/index/tree.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/futex.h"
#include "lib/mem.h"

#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define VALUE_LEN 200
#define BARE_RECORD 512 /* what a transaction of `update` takes in the log */
#define BARE_FILE ((uint64_t)256 << 20)

static uint64_t n_records = 100000;
static unsigned n_threads = 64, seconds = 5;
static struct kv *kv;
static _Atomic bool stop;

struct worker {
	pthread_t thread;
	uint64_t rand, ops, ns_max, failed;
	uint64_t hist[64]; /* by power of two of ns/4 */
};

static void
die(const char *what, const struct err *e)
{
	fprintf(stderr, "kv_bench: %s: %s\n", what, e->msg);
	exit(1);
}

static uint64_t
next_rand(struct worker *w)
{
	w->rand ^= w->rand << 13;
	w->rand ^= w->rand >> 7;
	w->rand ^= w->rand << 17;
	return w->rand;
}

static struct str
object_key(char buf[64], uint64_t i)
{
	/* Table, bucket incarnation, name. */
	int n = snprintf(buf, 64, "oBUCKET01photos/%02u/%012ju.jpg",
	    (unsigned)(i % 100), (uintmax_t)i);

	return str_mem(buf, (size_t)n);
}

/* --- bare --- */

struct bare_request {
	struct bare_request *next;
	unsigned gate;
	_Atomic int done;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct bare_request *queue;
	unsigned gate;
	bool waiting;
	_Atomic uint32_t gates[2];
	int fd;
} bare = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, false,
	{ 0, 0 }, -1 };

static void
bare_append(void)
{
	struct bare_request r = { 0 };
	uint32_t v;

	pthread_mutex_lock(&bare.mutex);
	r.gate = bare.gate;
	r.next = bare.queue;
	bare.queue = &r;
	if (bare.waiting) {
		bare.waiting = false;
		pthread_cond_signal(&bare.cond);
	}
	pthread_mutex_unlock(&bare.mutex);
	while (!r.done) {
		v = bare.gates[r.gate];
		if (r.done)
			break;
		futex_wait(&bare.gates[r.gate], v);
	}
}

static void *
bare_committer(void *arg)
{
	static char buf[BARE_RECORD * 4096];
	struct bare_request *batch, *next;
	struct err e = ERR_INIT;
	uint64_t off = 0;
	unsigned gate;
	size_t n;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&bare.mutex);
		while (bare.queue == NULL) {
			bare.waiting = true;
			pthread_cond_wait(&bare.cond, &bare.mutex);
		}
		bare.waiting = false;
		batch = bare.queue;
		bare.queue = NULL;
		gate = bare.gate;
		bare.gate = 1 - gate;
		pthread_mutex_unlock(&bare.mutex);
		n = 0;
		for (struct bare_request *r = batch; r != NULL; r = r->next) {
			memset(buf + n * BARE_RECORD, (int)n, BARE_RECORD);
			n++;
		}
		if (off + n * BARE_RECORD > BARE_FILE)
			off = 0;
		if (fs_pwrite_all(bare.fd, str_mem(buf, n * BARE_RECORD), off,
			&e) < 0 ||
		    fs_fdatasync(bare.fd, &e) < 0)
			die("bare", &e);
		off += n * BARE_RECORD;
		for (struct bare_request *r = batch; r != NULL; r = next) {
			next = r->next;
			atomic_store(&r->done, 1);
		}
		atomic_fetch_add(&bare.gates[gate], 1);
		futex_wake(&bare.gates[gate], INT_MAX);
	}
	return NULL;
}

static void
bare_open(const char *dir)
{
	struct err e = ERR_INIT;
	char path[4096], *zeros = mem_zalloc(1 << 20);
	pthread_t t;

	if (fs_join(path, sizeof(path), dir, "bare.tmp", &e) < 0 ||
	    fs_open(path, O_RDWR | O_CREAT | O_TRUNC, &bare.fd, &e) < 0)
		die("bare", &e);
	for (uint64_t off = 0; off < BARE_FILE; off += 1 << 20) {
		if (fs_pwrite_all(bare.fd, str_mem(zeros, 1 << 20), off, &e) <
		    0)
			die("bare", &e);
	}
	if (fs_fsync(bare.fd, &e) < 0)
		die("bare", &e);
	fs_unlink(path, &e);
	mem_free(&zeros);
	pthread_create(&t, NULL, bare_committer, NULL);
	pthread_detach(t);
}

/* --- operations --- */

static void
op_bare(struct worker *w)
{
	(void)w;
	bare_append();
}

struct put {
	uint64_t i, id;
};

static int
put_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	const struct put *p = arg;
	char key[64], value[VALUE_LEN], garbage[32], counter[16] = "";
	struct str k = object_key(key, p->i), old;
	bool exists;
	int rc;

	rc = kv_tx_get(tx, k, &old, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	exists = rc == 0;
	rc = kv_tx_get(tx, STR_LIT("cBUCKET01"), &old, e);
	if (rc == 0)
		memcpy(counter, old.p, sizeof(counter));
	put_le64(counter, get_le64(counter) + 1);
	memset(value, (int)p->id, sizeof(value));
	rc = kv_tx_put(tx, k, str_mem(value, sizeof(value)), e);
	if (rc == 0 && exists) {
		garbage[0] = 'g';
		put_be64(garbage + 1, kv_tx_seq(tx));
		rc = kv_tx_put(tx, str_mem(garbage, 9), str_mem(value, 60), e);
	}
	if (rc == 0)
		rc = kv_tx_put(tx, STR_LIT("cBUCKET01"),
		    str_mem(counter, sizeof(counter)), e);
	return rc;
}

static void
op_update(struct worker *w)
{
	struct put p = { next_rand(w) % n_records, w->ops };
	struct err e = ERR_INIT;

	if (kv_update(kv, put_fn, &p, &e) < 0) {
		w->failed++;
		if (w->failed == 1)
			fprintf(stderr, "update: %s\n", e.msg);
	}
}

static void
op_get(struct worker *w)
{
	struct err e = ERR_INIT;
	struct kv_view *v;
	char key[64];
	struct str got;

	if (kv_view_open(kv, &v, &e) < 0)
		die("view", &e);
	if (kv_view_get(v, object_key(key, next_rand(w) % n_records), &got,
		&e) < 0)
		w->failed++;
	kv_view_close(&v);
}

static void
op_scan(struct worker *w)
{
	struct err e = ERR_INIT;
	struct kv_cursor *c;
	struct kv_view *v;
	struct str k, value;
	char key[64];

	if (kv_view_open(kv, &v, &e) < 0)
		die("view", &e);
	if (kv_cursor_open(v, object_key(key, next_rand(w) % n_records),
		STR_NULL, &c, &e) < 0)
		die("cursor", &e);
	for (int i = 0; i < 1000 && kv_cursor_next(c, &k, &value, &e) > 0; i++)
		;
	kv_cursor_close(&c);
	kv_view_close(&v);
}

/* --- running --- */

static void (*operation)(struct worker *w);
static const char *only; /* --only NAME */

static void *
work(void *arg)
{
	struct worker *w = arg;
	int64_t t0, t1;

	t0 = clock_mono_ns();
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		operation(w);
		w->ops++;
		t1 = clock_mono_ns();
		w->hist[63 - __builtin_clzll((uint64_t)(t1 - t0) | 1)]++;
		if ((uint64_t)(t1 - t0) > w->ns_max)
			w->ns_max = (uint64_t)(t1 - t0);
		t0 = t1;
	}
	return NULL;
}

static double
cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double
run(const char *name, void (*op)(struct worker *w), unsigned threads)
{
	struct worker *ws;
	uint64_t ops = 0, max = 0, failed = 0, p50 = 0, p99 = 0, seen = 0;
	double s, cpu;
	int64_t t0;

	if (only != NULL && strcmp(only, name) != 0)
		return 1;
	operation = op;
	atomic_store(&stop, false);
	ws = mem_zalloc(threads * sizeof(*ws));
	cpu = cpu_s();
	t0 = clock_mono_ns();
	for (unsigned i = 0; i < threads; i++) {
		ws[i].rand = 88172645463325252ull * (i + 1) ^ (uint64_t)t0;
		pthread_create(&ws[i].thread, NULL, work, &ws[i]);
	}
	sleep(seconds);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ws[i].thread, NULL);
		ops += ws[i].ops;
		failed += ws[i].failed;
		if (ws[i].ns_max > max)
			max = ws[i].ns_max;
	}
	s = (double)(clock_mono_ns() - t0) / 1e9;
	cpu = cpu_s() - cpu;
	for (int b = 0; b < 64; b++) {
		for (unsigned i = 0; i < threads; i++)
			seen += ws[i].hist[b];
		if (p50 == 0 && seen * 2 >= ops)
			p50 = 2ull << b;
		if (p99 == 0 && seen * 100 >= ops * 99)
			p99 = 2ull << b;
	}
	printf("{\"run\":\"%s\",\"threads\":%u,\"per_s\":%.0f,"
	       "\"p50_us_below\":%.1f,\"p99_us_below\":%.1f,"
	       "\"max_us\":%.0f,\"cpu_us\":%.2f,\"failed\":%ju}\n",
	    name, threads, (double)ops / s, (double)p50 / 1e3,
	    (double)p99 / 1e3, (double)max / 1e3, cpu * 1e6 / (double)ops,
	    (uintmax_t)failed);
	fflush(stdout);
	mem_free(&ws);
	return (double)ops / s;
}

/* Records appended in order, straight into the tree. */
static void
preload(const char *dir)
{
	char path[4096], key[64], raw[RAW_SUM + VALUE_LEN];
	struct tree_meta meta;
	struct tree_writer *w;
	struct err e = ERR_INIT;
	struct tree *t;
	struct str k;
	uint64_t i = 0, n;

	if (fs_join(path, sizeof(path), dir, "index.lmdb", &e) < 0 ||
	    tree_open(path, (uint64_t)64 << 30, false, &meta, &t, &e) < 0)
		die("preload", &e);
	memset(raw, 'v', sizeof(raw));
	while (i < n_records) {
		if (tree_write_begin(t, &w, &e) < 0)
			die("preload", &e);
		for (n = 0; n < 100000 && i < n_records; n++, i++) {
			/* In key order: the last two digits come first. */
			uint64_t per = n_records / 100, at = i;

			if (n_records % 100 == 0)
				at = i % per * 100 + i / per;
			k = object_key(key, at);
			put_le64(raw,
			    ops_sum(k, str_mem(raw + RAW_SUM, VALUE_LEN)));
			if (tree_write_put(w, k, str_mem(raw, sizeof(raw)),
				false, &e) != 0)
				die("preload", &e);
		}
		if (tree_write_commit(&w, NULL, &e) != 0)
			die("preload", &e);
	}
	tree_close(&t);
}

static void
rss(const char *when)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "RssAnon:", 8) == 0)
			printf("{\"rss_anon\":\"%s\",\"kib\":%ld}\n", when,
			    strtol(line + 8, NULL, 10));
	}
	if (f != NULL)
		fclose(f);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "records", 1, NULL, 'r' },
		{ "threads", 1, NULL, 't' },
		{ "seconds", 1, NULL, 's' },
		{ "table-mib", 1, NULL, 'm' },
		{ "only", 1, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	struct kv_conf conf = { 0 };
	struct err e = ERR_INIT;
	struct kv_stat st;
	bool is_new;
	double base, rate;
	int64_t t0;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'r')
			n_records = strtoull(optarg, NULL, 10);
		else if (o == 't')
			n_threads = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 's')
			seconds = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 'o')
			only = optarg;
		else if (o == 'm')
			conf.table_max = strtoull(optarg, NULL, 10) << 20;
		else
			return 2;
	}
	if (optind + 1 != argc || n_records == 0 || n_threads == 0) {
		fprintf(stderr,
		    "usage: kv_bench DIR [--records N] "
		    "[--threads N] [--seconds N] [--table-mib N]\n");
		return 2;
	}
	conf.dir = argv[optind];
	conf.map_size = (uint64_t)64 << 30;
	is_new = !fs_exists(conf.dir);
	t0 = clock_mono_ns();
	if (kv_open(&conf, &kv, &e) < 0)
		die("open", &e);
	kv_get_stat(kv, &st);
	printf("{\"open_ms\":%.0f,\"replayed_mib\":%.1f}\n",
	    (double)(clock_mono_ns() - t0) / 1e6,
	    (double)st.table_bytes / (1 << 20));
	fflush(stdout);
	if (is_new) {
		kv_close(&kv);
		preload(conf.dir);
		if (kv_open(&conf, &kv, &e) < 0)
			die("open", &e);
	}
	rss("opened");
	bare_open(conf.dir);
	base = run("bare", op_bare, n_threads);
	rate = run("update", op_update, n_threads);
	printf("{\"update_to_bare\":%.2f}\n", rate / base);
	rss("updated");
	t0 = clock_mono_ns();
	if (kv_flush(kv, &e) < 0)
		die("flush", &e);
	printf("{\"flush_ms\":%.0f}\n", (double)(clock_mono_ns() - t0) / 1e6);
	base = run("bare", op_bare, 1);
	run("update", op_update, 1);
	run("get", op_get, 1);
	run("get", op_get, n_threads);
	run("scan1000", op_scan, 1);
	kv_get_stat(kv, &st);
	printf("{\"records\":%ju,\"lmdb_mib\":%ju,\"log_mib\":%ju}\n",
	    (uintmax_t)st.records, (uintmax_t)(st.lmdb_bytes >> 20),
	    (uintmax_t)(st.log_bytes >> 20));
	clock_sleep_ms(4500);
	rss("idle");
	kv_close(&kv);
	return 0;
}
