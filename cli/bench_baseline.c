/* cli/bench_baseline.c - what the machine gives without a server: a bare log,
 * and digests.
 *
 * The log: `concurrency` threads each append a record and wait until it is
 * durable. Whoever finds no sync under way leads: it writes all records that
 * wait (one pwritev) and syncs once for all of them. The file is preallocated,
 * so that a sync writes no size; at its end it starts over. */
#include "cli/bench.h"
#include "lib/clock.h"
#include "lib/lock.h"
#include "lib/mem.h"
#include "lib/rand.h"
#include "lib/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_SIZE (UINT64_C(1) << 30)
#define RECORD_HEAD 64 /* what a log needs to know of a record */

struct baseline {
	const struct bench_conf *c;
	int fd;
	char *record;
	uint64_t size;
	struct lock lock;
	struct cond cond;
	/* under the lock */
	uint64_t waiting; /* records to be written by the next leader */
	uint64_t batch;   /* number of the batch they are in */
	uint64_t durable; /* batches done */
	bool leading;
	uint64_t at, syncs;
	struct err e;
	int64_t measure_ns, end_ns;
	_Atomic uint64_t tickets;
};

struct writer {
	struct baseline *b;
	pthread_t thread;
	struct bench_hist hist;
};

static int
write_batch(struct baseline *b, uint64_t n, uint64_t at, struct err *e)
{
	struct iovec v[IOV_MAX < 256 ? IOV_MAX : 256];

	while (n > 0) {
		unsigned k = n < 256 ? (unsigned)n : 256;
		uint64_t want = k * b->size;
		ssize_t done;

		for (unsigned i = 0; i < k; i++)
			v[i] = (struct iovec){ b->record, b->size };
		done = pwritev(b->fd, v, (int)k, (off_t)at);
		if (done < 0 || (uint64_t)done != want)
			return err_set_errno(e, done < 0 ? errno : EIO,
			    "pwritev");
		at += want;
		n -= k;
	}
	if (fdatasync(b->fd) < 0)
		return err_set_errno(e, errno, "fdatasync");
	return 0;
}

static void
lead(struct baseline *b)
{
	uint64_t n = b->waiting, at = b->at;
	struct err e = ERR_INIT;
	int rc;

	b->leading = true;
	b->waiting = 0;
	b->batch++;
	if (at + n * b->size > FILE_SIZE)
		at = 0;
	b->at = at + n * b->size;
	lock_drop(&b->lock);
	rc = write_batch(b, n, at, &e);
	lock_take(&b->lock);
	if (rc < 0)
		b->e = e;
	b->durable++;
	b->syncs++;
	b->leading = false;
	cond_broadcast(&b->cond);
}

/* Appends one record; durable when it returns true. */
static bool
append(struct baseline *b)
{
	uint64_t mine;
	bool ok;

	lock_take(&b->lock);
	b->waiting++;
	mine = b->batch;
	while (b->durable <= mine && b->e.code == 0) {
		if (!b->leading)
			lead(b);
		else
			cond_wait(&b->cond, &b->lock);
	}
	ok = b->e.code == 0;
	lock_drop(&b->lock);
	return ok;
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	struct baseline *b = w->b;

	for (;;) {
		int64_t begun = clock_mono_ns(), now;

		if (b->end_ns != 0 && begun >= b->end_ns)
			break;
		if (b->c->count > 0 &&
		    atomic_fetch_add(&b->tickets, 1) >= b->c->count)
			break;
		if (!append(b))
			break;
		now = clock_mono_ns();
		if (begun >= b->measure_ns &&
		    (b->end_ns == 0 || now <= b->end_ns))
			bench_hist_add(&w->hist, (uint64_t)(now - begun));
	}
	return NULL;
}

static int
run_writers(struct baseline *b, struct bench_result *ret, struct err *e)
{
	unsigned n = b->c->concurrency, started = 0;
	struct writer *w = mem_zalloc(n * sizeof(*w));
	uint64_t syncs = 0;
	double own;
	int rc = 0;

	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	b->measure_ns = clock_mono_ns();
	if (b->c->count == 0) {
		b->measure_ns += b->c->warmup_ns;
		b->end_ns = b->measure_ns + b->c->duration_ns;
	}
	own = bench_own_cpu();
	for (; started < n && rc == 0; started += rc == 0) {
		w[started].b = b;
		rc = thread_start(&w[started].thread, "log", writer_main,
		    &w[started], e);
	}
	if (rc < 0) {
		lock_take(&b->lock);
		b->e = *e;
		cond_broadcast(&b->cond);
		lock_drop(&b->lock);
	} else if (b->c->count == 0) {
		while (clock_mono_ns() < b->measure_ns)
			clock_sleep_ms(1);
		own = bench_own_cpu();
		lock_take(&b->lock);
		syncs = b->syncs;
		lock_drop(&b->lock);
	}
	for (unsigned i = 0; i < started; i++)
		thread_join(w[i].thread);
	ret->own_cpu_s = bench_own_cpu() - own;
	ret->seconds = (double)((b->end_ns != 0 ? b->end_ns : clock_mono_ns()) -
				b->measure_ns) /
	               1e9;
	for (unsigned i = 0; i < started; i++)
		bench_hist_merge(&ret->ops[BENCH_PUT], &w[i].hist);
	ret->n_ops = ret->ops[BENCH_PUT].count;
	ret->bytes = ret->n_ops * b->c->size;
	ret->syncs = b->syncs - syncs;
	mem_free(&w);
	if (b->e.code != 0) {
		*e = b->e;
		return e->code;
	}
	return 0;
}

int
bench_baseline(const struct bench_conf *c, struct bench_result *ret,
    struct err *e)
{
	struct baseline b = { .c = c, .size = c->size + RECORD_HEAD };
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (b.size * c->concurrency > FILE_SIZE)
		return err_set(e, ERR_CONFIG,
		    "size times concurrency is over 1 GiB");
	b.fd =
	    open(c->baseline_log, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (b.fd < 0)
		return err_set_errno(e, errno, "%s", c->baseline_log);
	lock_init(&b.lock, LOCK_RANK_LEAF);
	cond_init(&b.cond);
	b.record = mem_alloc(b.size);
	rc = b.record == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;
	for (uint64_t at = 0; rc == 0 && at < b.size; at += 4096)
		rand_bytes(b.record + at,
		    b.size - at < 4096 ? b.size - at : 4096);
	if (rc == 0) {
		int err = posix_fallocate(b.fd, 0, (off_t)FILE_SIZE);

		if (err != 0)
			rc = err_set_errno(e, err, "allocating 1 GiB for %s",
			    c->baseline_log);
	}
	if (rc == 0 && fsync(b.fd) < 0)
		rc = err_set_errno(e, errno, "fsync");
	if (rc == 0)
		rc = run_writers(&b, ret, e);
	close(b.fd);
	unlink(c->baseline_log);
	mem_free(&b.record);
	cond_fini(&b.cond);
	lock_fini(&b.lock);
	return rc;
}

/* --- digests --- */

static double
digest_rate(unsigned mask, const char *p, size_t len)
{
	int64_t begun = clock_mono_ns(), now;
	struct hash_values v;
	struct hashes h;
	uint64_t bytes = 0;

	hashes_init(&h, mask);
	do {
		hashes_update(&h, p, len);
		bytes += len;
		now = clock_mono_ns();
	} while (now - begun < 1000000000);
	hashes_final(&h, &v);
	return (double)bytes / ((double)(now - begun) / 1e9) / 1e6;
}

int
bench_digests(const struct bench_conf *c, struct err *e)
{
	unsigned md5 = HASH_BIT(HASH_MD5), sha = HASH_BIT(HASH_SHA256);
	size_t len = 256u << 10;
	char *p = mem_alloc(len);
	double one, two, three;

	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rand_bytes(p, len);
	one = digest_rate(md5, p, len);
	two = digest_rate(sha, p, len);
	three = digest_rate(md5 | sha, p, len);
	mem_free(&p);
	if (c->json)
		printf("{\"md5_mb_per_s\": %.1f, \"sha256_mb_per_s\": %.1f, "
		       "\"md5_sha256_mb_per_s\": %.1f}\n",
		    one, two, three);
	else
		printf("MD5 %.0f MB/s, SHA-256 %.0f MB/s, both %.0f MB/s\n",
		    one, two, three);
	return 0;
}
