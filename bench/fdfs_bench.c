/* bench/fdfs_bench.c - load over FastDFS's protocol: uploads, then downloads of
 * what was uploaded, by connections that each wait for their answer. Works with
 * Creel and FastDFS alike: it asks the tracker once where to go.
 *
 *   fdfs_bench TRACKER [-c CONNECTIONS] [-s SIZE] [-t SECONDS]
 */
#include "fdfs/ops.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/rand.h"
#include "lib/thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 256
#define NAMES 200000 /* remembered for each connection */

struct bench {
	struct fdfs_client *client;
	struct fdfs_addr storage;
	uint8_t path;
	unsigned connections;
	size_t size;
	int64_t until_ns;
	bool is_download;
	atomic_ullong done, failed;
};

struct worker {
	struct bench *b;
	pthread_t thread;
	char *body;
	struct fdfs_file *files;
	size_t n;
	int64_t *took; /* microseconds */
	size_t n_took;
};

struct content {
	const char *p;
	size_t left;
};

static int
source(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct content *c = arg;

	(void)e;
	if (len > c->left)
		len = c->left;
	memcpy(p, c->p, len);
	c->p += len;
	c->left -= len;
	*ret = len;
	return 0;
}

struct sum {
	uint64_t len;
	uint32_t crc32;
};

static int
sink(void *arg, const void *p, size_t len, struct err *e)
{
	struct sum *s = arg;

	(void)e;
	s->crc32 = hash_crc32(s->crc32, p, len);
	s->len += len;
	return 0;
}

static int
upload(struct worker *w, struct err *e)
{
	struct fdfs_storage_req r = { .command = FDFS_UPLOAD,
		.path = w->b->path,
		.size = w->b->size,
		.ext = STR_LIT("bin") };
	struct content c = { w->body, w->b->size };
	struct fdfs_file f;
	int rc;

	/* another content each time */
	memcpy(w->body, &w->n,
	    w->b->size < sizeof(w->n) ? w->b->size : sizeof(w->n));
	rc = fdfs_send(w->b->client, &w->b->storage, &r, source, &c, &f, e);
	if (rc == 0 && w->n < NAMES)
		w->files[w->n] = f;
	if (rc == 0)
		w->n++;
	return rc;
}

static int
download(struct worker *w, size_t i, struct err *e)
{
	size_t n = w->n < NAMES ? w->n : NAMES;
	const struct fdfs_file *f = &w->files[(i * 7919) % n];
	struct fdfs_storage_req r = { .command = FDFS_DOWNLOAD,
		.group = str_of(f->group),
		.name = str_of(f->name) };
	struct fdfs_file_id id;
	struct sum s = { 0 };
	uint64_t len;
	int rc;

	rc = fdfs_download(w->b->client, &w->b->storage, &r, sink, &s, &len, e);
	if (rc == 0)
		rc = fdfs_remote_parse(str_of(f->name), &id, e);
	if (rc == 0 && (s.len != w->b->size || s.crc32 != id.crc32))
		rc = err_set(e, ERR_CORRUPT, "%s: other bytes", f->name);
	return rc;
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct bench *b = w->b;
	size_t i = 0;

	w->n_took = 0;
	for (;; i++) {
		int64_t from = clock_mono_ns(), to;
		struct err e = ERR_INIT;
		int rc;

		if (from >= b->until_ns || (b->is_download && w->n == 0))
			break;
		rc = b->is_download ? download(w, i, &e) : upload(w, &e);
		to = clock_mono_ns();
		if (rc < 0) {
			if (atomic_fetch_add(&b->failed, 1) == 0)
				fprintf(stderr, "fdfs_bench: %s\n", e.msg);
			if (rc == ERR_DISCONNECTED)
				break;
			continue;
		}
		atomic_fetch_add(&b->done, 1);
		if (w->n_took < NAMES)
			w->took[w->n_took++] = (to - from) / 1000;
	}
	return NULL;
}

static int
by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
run(struct bench *b, struct worker *w, int seconds, const char *name)
{
	int64_t from = clock_mono_ns(), *all;
	struct err e = ERR_INIT;
	size_t n = 0;
	double took;

	b->until_ns = from + seconds * INT64_C(1000000000);
	atomic_store(&b->done, 0);
	atomic_store(&b->failed, 0);
	for (unsigned i = 0; i < b->connections; i++)
		MUST(thread_start(&w[i].thread, "bench", work, &w[i], &e) == 0);
	for (unsigned i = 0; i < b->connections; i++)
		thread_join(w[i].thread);
	took = (double)(clock_mono_ns() - from) / 1e9;
	all = malloc(b->connections * NAMES * sizeof(*all));
	MUST(all != NULL);
	for (unsigned i = 0; i < b->connections; i++) {
		memcpy(all + n, w[i].took, w[i].n_took * sizeof(*all));
		n += w[i].n_took;
	}
	qsort(all, n, sizeof(*all), by_time);
	printf("%s: %zu bytes, %u connections: %.0f/s, %.1f MB/s, "
	       "p50 %jd us, p99 %jd us, %llu failed\n",
	    name, b->size, b->connections, (double)b->done / took,
	    (double)b->done * (double)b->size / took / 1e6,
	    n > 0 ? (intmax_t)all[n / 2] : 0,
	    n > 0 ? (intmax_t)all[n * 99 / 100] : 0,
	    (unsigned long long)b->failed);
	free(all);
}

static int
prepare(struct bench *b, const char *tracker, struct err *e)
{
	struct fdfs_client_opts o = { .max_idle_each = MOST, .max_idle = MOST };
	struct fdfs_servers at;
	struct fdfs_addr a;
	int rc = fdfs_addr_parse(str_of(tracker), &a, e);

	if (rc == 0)
		rc = fdfs_client_open(&o, &b->client, e);
	if (rc == 0)
		rc = fdfs_ask_store(b->client, &a, STR_NULL, false, &at, e);
	if (rc == 0) {
		b->storage = at.addr[0];
		b->path = at.path;
	}
	return rc;
}

int
main(int argc, char **argv)
{
	struct bench b = { .connections = 10, .size = 4096 };
	struct err e = ERR_INIT;
	int c, seconds = 10;
	struct worker *w;

	while ((c = getopt(argc, argv, "c:s:t:")) != -1) {
		if (c == 'c')
			b.connections = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 's')
			b.size = strtoul(optarg, NULL, 10);
		else if (c == 't')
			seconds = (int)strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind + 1 != argc || b.connections == 0 || b.connections > MOST ||
	    b.size > (1 << 30)) {
		fprintf(stderr, "usage: fdfs_bench TRACKER [-c CONNECTIONS] "
				"[-s SIZE] [-t SECONDS]\n");
		return 2;
	}
	if (prepare(&b, argv[optind], &e) < 0) {
		fprintf(stderr, "fdfs_bench: %s\n", e.msg);
		return 1;
	}
	w = calloc(b.connections, sizeof(*w));
	MUST(w != NULL);
	for (unsigned i = 0; i < b.connections; i++) {
		w[i].b = &b;
		w[i].body = malloc(b.size + 8);
		w[i].files = malloc(NAMES * sizeof(*w[i].files));
		w[i].took = malloc(NAMES * sizeof(*w[i].took));
		MUST(w[i].body != NULL && w[i].files != NULL &&
		     w[i].took != NULL);
		rand_bytes(w[i].body, b.size);
	}
	run(&b, w, seconds, "upload");
	b.is_download = true;
	run(&b, w, seconds, "download");
	for (unsigned i = 0; i < b.connections; i++) {
		free(w[i].body);
		free(w[i].files);
		free(w[i].took);
	}
	free(w);
	fdfs_client_close(&b.client);
	return atomic_load(&b.failed) == 0 ? 0 : 1;
}
