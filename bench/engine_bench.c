/* bench/engine_bench.c - the storage engine beside a bare log.
 *
 * engine_bench DIR [--size N] [--seconds S] [--threads A,B,..] [--files N]
 *
 * Above 1 MiB instead: MD5 of the bytes alone, and MD5 with a streamed upload
 * (deleted at once). In one run, for each number of threads: "log" appends records of the size of
 * a needle to one preallocated file with a group-committed fdatasync, the least
 * that durability costs; "put" is engine_put(). Then "read" is engine_read() of
 * random files. One JSON object per line. */
#include "storage/engine/engine.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/lock.h"
#include "lib/thread.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
	CHUNK = 256 * 1024,
	MAX_THREADS = 256,
	SAMPLES = 1 << 16
};

struct run {
	void (*op)(struct run *r, unsigned thread, uint64_t n);
	struct engine *g;
	size_t size;
	char *body;
	_Atomic bool stop;
	_Atomic uint64_t ops, failed;
	_Atomic uint32_t n_samples;
	uint32_t *sample_us;
	/* ids of what was put */
	char (*ids)[ENGINE_FILE_ID_MAX];
	size_t max_ids;
	_Atomic size_t n_ids;
	/* the bare log */
	int fd;
	uint64_t off, size_max;
	struct lock lock;
	struct cond more, done;
	struct log_rec {
		struct log_rec *next;
		bool is_done;
	} * queue;
	bool log_stop;
};

struct worker {
	struct run *r;
	unsigned no;
	pthread_t t;
};

static uint64_t
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct run *r = w->r;

	for (uint64_t n = 0; !r->stop; n++) {
		int64_t t = clock_mono_ns();
		uint32_t i;

		r->op(r, w->no, n);
		t = clock_mono_ns() - t;
		atomic_fetch_add(&r->ops, 1);
		i = atomic_fetch_add(&r->n_samples, 1);
		r->sample_us[i % SAMPLES] = (uint32_t)(t / 1000);
	}
	return NULL;
}

static int
by_value(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
measure(struct run *r, const char *name, unsigned threads, double seconds)
{
	struct worker w[MAX_THREADS];
	uint64_t cpu = cpu_us();
	int64_t t = clock_mono_ns();
	double s;
	uint32_t n;

	r->stop = false;
	r->ops = r->failed = 0;
	r->n_samples = 0;
	for (unsigned i = 0; i < threads; i++) {
		w[i] = (struct worker){ .r = r, .no = i };
		if (thread_start(&w[i].t, "bench", worker_main, &w[i], NULL))
			exit(1);
	}
	clock_sleep_ms((int)(seconds * 1000));
	r->stop = true;
	for (unsigned i = 0; i < threads; i++)
		thread_join(w[i].t);
	s = (double)(clock_mono_ns() - t) / 1e9;
	cpu = cpu_us() - cpu;
	n = r->n_samples < SAMPLES ? r->n_samples : SAMPLES;
	qsort(r->sample_us, n, sizeof(uint32_t), by_value);
	printf("{\"what\": \"%s\", \"threads\": %u, \"size\": %zu, "
	       "\"ops_s\": %.0f, \"cpu_us_op\": %.2f, \"p50_us\": %u, "
	       "\"p99_us\": %u, \"failed\": %ju}\n",
	    name, threads, r->size, (double)r->ops / s,
	    r->ops == 0 ? 0 : (double)cpu / (double)r->ops,
	    n == 0 ? 0 : r->sample_us[n / 2],
	    n == 0 ? 0 : r->sample_us[n / 100 * 99], (uintmax_t)r->failed);
	fflush(stdout);
}

/* --- the bare log --- */

static void *
log_main(void *arg)
{
	struct run *r = arg;

	lock_take(&r->lock);
	while (!r->log_stop) {
		struct log_rec *list = r->queue;

		r->queue = NULL;
		if (list == NULL) {
			cond_wait(&r->more, &r->lock);
			continue;
		}
		lock_drop(&r->lock);
		for (struct log_rec *l = list; l != NULL; l = l->next) {
			if (r->off + r->size > r->size_max)
				r->off = 0;
			if (fs_pwrite_all(r->fd, str_mem(r->body, r->size),
				r->off, NULL) < 0)
				exit(1);
			r->off += r->size;
		}
		if (fs_fdatasync(r->fd, NULL) < 0)
			exit(1);
		lock_take(&r->lock);
		for (struct log_rec *l = list; l != NULL; l = l->next)
			l->is_done = true;
		cond_broadcast(&r->done);
	}
	lock_drop(&r->lock);
	return NULL;
}

static void
log_op(struct run *r, unsigned thread, uint64_t n)
{
	struct log_rec rec = { 0 };

	(void)thread;
	(void)n;
	lock_take(&r->lock);
	rec.next = r->queue;
	r->queue = &rec;
	cond_signal(&r->more);
	while (!rec.is_done)
		cond_wait(&r->done, &r->lock);
	lock_drop(&r->lock);
}

static void
run_log(struct run *r, const char *dir, unsigned threads, double seconds)
{
	char name[4096];
	size_t size = r->size;
	pthread_t t;

	r->size += 250; /* a needle's header */
	snprintf(name, sizeof(name), "%s/bare.log", dir);
	if (fs_open(name, O_RDWR | O_CREAT, &r->fd, NULL) < 0)
		exit(1);
	r->off = 0;
	r->size_max = (uint64_t)1 << 30;
	if (fs_allocate(r->fd, 0, r->size_max, NULL) < 0 ||
	    fs_fsync(r->fd, NULL) < 0)
		exit(1);
	r->log_stop = false;
	r->queue = NULL;
	if (thread_start(&t, "log", log_main, r, NULL) < 0)
		exit(1);
	r->op = log_op;
	measure(r, "log", threads, seconds);
	lock_take(&r->lock);
	r->log_stop = true;
	cond_signal(&r->more);
	lock_drop(&r->lock);
	thread_join(t);
	fs_close(&r->fd);
	unlink(name);
	r->size = size;
}

/* --- the engine --- */

static void
put_op(struct run *r, unsigned thread, uint64_t n)
{
	static _Atomic uint64_t serial;
	struct engine_owner o = { .class = ENGINE_CLASS_S3 };
	struct engine_file_info i;
	struct err e = ERR_INIT;
	uint64_t s = atomic_fetch_add(&serial, 1);
	size_t at;

	(void)thread;
	(void)n;
	/* As the gateway makes them: time first. */
	for (int k = 0; k < 8; k++)
		o.write_id.b[k] = (uint8_t)(s >> (56 - 8 * k));
	rand_bytes(o.write_id.b + 8, 8);
	if (engine_put(r->g, &o, str_mem(r->body, r->size), "", &i, &e) < 0) {
		if (atomic_fetch_add(&r->failed, 1) == 0)
			fprintf(stderr, "put: %s\n", e.msg);
		return;
	}
	at = atomic_fetch_add(&r->n_ids, 1);
	if (at < r->max_ids)
		memcpy(r->ids[at], i.id, sizeof(i.id));
}

static void
md5_op(struct run *r, unsigned thread, uint64_t n)
{
	struct hash_values v;
	struct hashes h;

	(void)thread;
	(void)n;
	hashes_init(&h, HASH_BIT(HASH_MD5));
	for (size_t at = 0; at < r->size; at += CHUNK)
		hashes_update(&h, r->body + at,
		    r->size - at < CHUNK ? r->size - at : CHUNK);
	hashes_final(&h, &v);
}

/* A stream as the gateway makes it: MD5, then on to the engine. */
static void
stream_op(struct run *r, unsigned thread, uint64_t n)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3,
		.write_id = id128_new_ordered() };
	struct engine_file_info i;
	struct engine_upload *u;
	struct err e = ERR_INIT;
	struct hash_values v;
	struct hashes h;
	int rc = engine_upload_begin(r->g, &o, r->size, &u, &e);

	(void)thread;
	(void)n;
	hashes_init(&h, HASH_BIT(HASH_MD5));
	for (size_t at = 0; at < r->size && rc == 0; at += CHUNK) {
		size_t len = r->size - at < CHUNK ? r->size - at : CHUNK;

		hashes_update(&h, r->body + at, len);
		rc = engine_upload_write(u, r->body + at, len, &e);
	}
	hashes_final(&h, &v);
	if (rc == 0)
		rc = engine_upload_commit(&u, "", &i, &e);
	if (rc == 0)
		rc = engine_delete(r->g, str_of(i.id), &e);
	if (rc < 0 && atomic_fetch_add(&r->failed, 1) == 0)
		fprintf(stderr, "stream: %s\n", e.msg);
}

static void
read_op(struct run *r, unsigned thread, uint64_t n)
{
	static __thread char *buf;
	size_t ids = r->n_ids < r->max_ids ? r->n_ids : r->max_ids, got;
	uint64_t x = (n + 1) * UINT64_C(0x9e3779b97f4a7c15) + thread * 77777;
	struct err e = ERR_INIT;

	if (buf == NULL)
		buf = malloc(r->size);
	x ^= x >> 31;
	if (engine_read(r->g, str_of(r->ids[x % ids]), 0, buf, r->size, &got,
		&e) < 0 ||
	    got != r->size) {
		if (atomic_fetch_add(&r->failed, 1) == 0)
			fprintf(stderr, "read: %s\n", e.msg);
	}
}

static void
print_rss(const char *when)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "RssAnon:", 8) == 0)
			printf("{\"what\": \"RssAnon\", \"when\": \"%s\", "
			       "\"kb\": %ld}\n",
			    when, strtol(line + 8, NULL, 10));
	}
	if (f != NULL)
		fclose(f);
}

static void
event(void *arg, int level, const char *text)
{
	(void)arg;
	fprintf(stderr, "[%d] %s\n", level, text);
}

int
main(int argc, char **argv)
{
	struct run r = { .size = 4096, .fd = -1, .max_ids = 4000000 };
	const char *dir = argc > 1 ? argv[1] : NULL, *threads = "1,64";
	const char *paths[1];
	struct engine_conf c = { .paths = paths,
		.n_paths = 1,
		.group = "group1",
		.server_id = 1,
		.event = event };
	struct err e = ERR_INIT;
	double seconds = 3;
	size_t files = 0;
	int64_t t;

	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--size") == 0)
			r.size = (size_t)strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtod(argv[i + 1], NULL);
		else if (strcmp(argv[i], "--threads") == 0)
			threads = argv[i + 1];
		else if (strcmp(argv[i], "--files") == 0)
			files = (size_t)strtoull(argv[i + 1], NULL, 10);
	}
	if (dir == NULL) {
		fprintf(stderr, "usage: engine_bench DIR [--size N] "
				"[--seconds S] [--threads A,B] [--files N]\n");
		return 2;
	}
	lock_init(&r.lock, LOCK_RANK_LEAF);
	cond_init(&r.more);
	cond_init(&r.done);
	r.body = malloc(r.size + 4096);
	r.sample_us = malloc(SAMPLES * sizeof(uint32_t));
	r.ids = malloc(r.max_ids * sizeof(r.ids[0]));
	rand_bytes(r.body, r.size + 4096);
	paths[0] = dir;
	t = clock_mono_ns();
	if (engine_open(&c, &r.g, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	printf("{\"what\": \"open\", \"ms\": %.1f}\n",
	    (double)(clock_mono_ns() - t) / 1e6);
	print_rss("open");
	if (files > 0) {
		size_t want = files;

		r.op = put_op;
		while (r.n_ids < want)
			measure(&r, "fill", 64, 10);
	}
	for (const char *at = threads; *at != '\0';) {
		unsigned n = (unsigned)strtoul(at, NULL, 10);

		if (n == 0 || n > MAX_THREADS)
			break;
		if (r.size > 1 << 20) {
			r.op = md5_op;
			measure(&r, "md5", n, seconds);
			r.op = stream_op;
			measure(&r, "stream", n, seconds);
			goto next;
		}
		run_log(&r, dir, n, seconds);
		r.op = put_op;
		measure(&r, "put", n, seconds);
		r.op = read_op;
		measure(&r, "read", n < 4 ? n : 2, seconds);
	next:
		at = strchr(at, ',');
		if (at == NULL)
			break;
		at++;
	}
	free(r.ids);
	r.ids = NULL;
	malloc_trim(0);
	clock_sleep_ms(6000);
	print_rss("idle");
	engine_close(&r.g);
	t = clock_mono_ns();
	if (engine_open(&c, &r.g, &e) < 0)
		return 1;
	printf("{\"what\": \"reopen\", \"ms\": %.1f}\n",
	    (double)(clock_mono_ns() - t) / 1e6);
	engine_close(&r.g);
	return 0;
}
