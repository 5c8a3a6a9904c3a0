/* bench/replica_bench.c - replication between real nodes, all in this process.
 *
 * replica_bench DIR [--files N] [--large-mib N] [--threads N]
 * makes three nodes below DIR (emptied), and measures, with a line of JSON each:
 *   put          4 KiB uploads through one node, two copies durable
 *   put_large    64 MiB uploads, streamed on
 *   new_small    a blank third node takes the small files over, while reads and
 *                writes go on at the first
 *   new_large    the same for the large ones
 * All copies are on one disk here, and all nodes on these processors. */
#include "lib/clock.h"
#include "lib/mem.h"
#include "tests/unit/replication/real.h"

#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum {
	SMALL = 4096,
	LARGE = 64 << 20,
	MAX_THREADS = 256
};

static struct real_group g;
static char *bytes; /* LARGE of them */
static atomic_int left, failed, served;
static atomic_bool stop;
static size_t len;
static struct engine_file_info one; /* for reads */

static void *
put_all(void *arg)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3 };
	struct engine_file_info info;
	struct err e;

	(void)arg;
	while (atomic_fetch_sub(&left, 1) > 0) {
		o.write_id = id128_new();
		if (rep_put(g.v[0].r, &o, -1, str_mem(bytes, len), "bin", 0,
			&info, &e) < 0)
			atomic_fetch_add(&failed, 1);
		else if (len == SMALL)
			one = info;
	}
	return NULL;
}

/* Some load at the first node, as long as it is wanted. */
static void *
serve_some(void *arg)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3 };
	struct engine_file_info info;
	struct rep_file *f;
	char p[SMALL];
	struct err e;
	size_t n;

	(void)arg;
	while (!stop) {
		o.write_id = id128_new();
		if (rep_put(g.v[0].r, &o, -1, str_mem(bytes, SMALL), "bin", 0,
			&info, &e) == 0)
			atomic_fetch_add(&served, 1);
		if (rep_file_open(g.v[0].r, str_of(one.id), &f, &e) == 0) {
			rep_file_read(f, 0, p, sizeof(p), &n, &e);
			rep_file_close(&f);
		}
		clock_sleep_ms(5);
	}
	return NULL;
}

static double
seconds_since(int64_t ns)
{
	return (double)(clock_mono_ns() - ns) / 1e9;
}

/* Machines are noisy; this is less so. */
static double
cpu_s(void)
{
	struct rusage u;

	MUST(getrusage(RUSAGE_SELF, &u) == 0);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
run_put(const char *name, int n, size_t size, unsigned threads)
{
	pthread_t t[MAX_THREADS];
	int64_t start = clock_mono_ns();
	double s, cpu = cpu_s();
	unsigned i;

	len = size;
	left = n;
	failed = 0;
	for (i = 0; i < threads; i++)
		MUST(pthread_create(&t[i], NULL, put_all, NULL) == 0);
	for (i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	s = seconds_since(start);
	printf("{\"run\": \"%s\", \"files\": %d, \"failed\": %d, \"threads\": "
	       "%u, \"seconds\": %.2f, \"cpu_s\": %.2f, \"files_per_s\": %.0f, "
	       "\"MB_per_s\": %.0f}\n",
	    name, n, (int)failed, threads, s, cpu_s() - cpu, n / s,
	    (double)n * (double)size / 1e6 / s);
	fflush(stdout);
}

/* Node 2 is started and takes over @n files of @size. */
static void
run_new(const char *name, int n, size_t size)
{
	struct rep_status st = { 0 };
	bool has_begun = false;
	double s, cpu = cpu_s();
	int64_t start;
	pthread_t t;

	stop = false;
	served = 0;
	MUST(pthread_create(&t, NULL, serve_some, NULL) == 0);
	start = clock_mono_ns();
	real_start(&g, 2);
	while (st.pulled_bytes < (uint64_t)n * size &&
	       seconds_since(start) < 300) {
		real_is_well(&g, 3, 10);
		rep_status(g.v[2].r, &st);
		if (st.state == FDFS_STATE_SYNCING && !has_begun) {
			has_begun = true; /* it is a member: now it fetches */
			start = clock_mono_ns();
			cpu = cpu_s();
		}
	}
	s = seconds_since(start);
	stop = true;
	pthread_join(t, NULL);
	printf("{\"run\": \"%s\", \"files\": %ju, \"seconds\": %.2f, "
	       "\"cpu_s\": %.2f, \"files_per_s\": %.0f, \"MB_per_s\": "
	       "%.0f, \"served_meanwhile\": %d}\n",
	    name, (uintmax_t)st.pulled_files, s, cpu_s() - cpu,
	    (double)st.pulled_files / s, (double)st.pulled_bytes / 1e6 / s,
	    (int)served);
	fflush(stdout);
	MUST(real_is_well(&g, 3, 60000));
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "files", required_argument, NULL, 'f' },
		{ "large-mib", required_argument, NULL, 'l' },
		{ "threads", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned threads = 32;
	int c, files = 50000, large = 1024, i;
	size_t k;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'f')
			files = (int)strtol(optarg, NULL, 10);
		else if (c == 'l')
			large = (int)strtol(optarg, NULL, 10);
		else if (c == 't')
			threads = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 1;
	}
	if (optind != argc - 1 || threads == 0 || threads > MAX_THREADS) {
		fprintf(stderr, "replica_bench DIR [--files N] [--large-mib N] "
				"[--threads N]\n");
		return 1;
	}
	bytes = mem_alloc(LARGE);
	MUST(bytes != NULL);
	for (k = 0; k < LARGE; k++)
		bytes[k] = (char)(k * 131 + k / 4099);
	mkdir(argv[optind], 0700);
	real_open(&g, argv[optind], 3);
	for (i = 0; i < 3; i++)
		real_wipe(&g, i);
	for (i = 0; i < 2; i++)
		real_start(&g, i);
	MUST(real_is_well(&g, 2, 20000));
	run_put("put", files, SMALL, threads);
	run_new("new_small", files, SMALL);
	real_stop(&g, 2);
	run_put("put_large", large / 64, LARGE, 4);
	run_new("new_large", large / 64, LARGE);
	real_close(&g);
	for (i = 0; i < 3; i++)
		real_wipe(&g, i);
	mem_free(&bytes);
	return 0;
}
