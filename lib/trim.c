/* lib/trim.c - see lib/trim.h.
 *
 * The end of an arena is given back by free(3) alone, of a block of 64 KiB or
 * more, on condition that the end is longer than M_TRIM_THRESHOLD. A thread gets
 * its arena from malloc, so threads are needed that each free one such block: as
 * many at the same time as there are arenas, twice, since arenas without threads
 * are given out first and the others in turn. */
#include "lib/trim.h"

#include "lib/futex.h"
#include "lib/thread.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	ARENAS = 8,
	/* Bodies kept whole, pieces of streams, and some more: below it memory
	 * is used again, above each block is a mapping. */
	MAP_FROM = (1 << 20) + (64 << 10),
	KEEP = 2 * MAP_FROM, /* at the end of an arena, under load */
	PAD = 128 << 10,
	KEEP_IDLE = 64 << 10,
	BLOCK = 96 << 10, /* more than 64 KiB */
	BUSY_PART = 10,   /* a tenth of a processor is work */
	WORTH_NS = 50000000
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_ITS_OWN 1 /* malloc */
#else
#define HAS_ITS_OWN 0
#endif

void
trim_no_caches(char **argv)
{
	static const char name[] = "GLIBC_TUNABLES";
	char path[PATH_MAX];
	ssize_t n;

	/* With privileges of its own the loader takes the variable away. Where
	 * it has no base it was called by name, and is itself what would begin
	 * anew. */
	if (HAS_ITS_OWN || getenv(name) != NULL || getauxval(AT_SECURE) != 0 ||
	    getauxval(AT_BASE) == 0)
		return;
	/* By its name, which it then goes by in lists of processes. */
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0 || setenv(name, "glibc.malloc.tcache_count=0", 1) != 0)
		return;
	path[n] = '\0';
	execv(path, argv);
}

void
trim_begin(void)
{
	mallopt(M_ARENA_MAX, ARENAS); /* not one per thread */
	/* One of these turns off that malloc moves them by itself, up to 32 MiB
	 * kept by each arena. */
	mallopt(M_MMAP_THRESHOLD, MAP_FROM);
	mallopt(M_TRIM_THRESHOLD, KEEP);
	mallopt(M_TOP_PAD, PAD);
}

int64_t
trim_cpu_ns(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000000) +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * INT64_C(1000);
}

bool
trim_is_due(struct trim *t, int64_t now_ns, int64_t cpu_ns)
{
	bool is_quiet = cpu_ns - t->cpu_ns < (now_ns - t->now_ns) / BUSY_PART;
	bool is_due =
	    is_quiet && t->was_quiet && cpu_ns - t->done_ns >= WORTH_NS;

	t->now_ns = now_ns;
	t->cpu_ns = cpu_ns;
	t->was_quiet = is_quiet;
	if (is_due)
		t->done_ns = cpu_ns;
	return is_due;
}

int64_t
trim_rest_ns(const struct trim *t)
{
	int64_t left = WORTH_NS - (t->cpu_ns - t->done_ns);

	return t->was_quiet && left > 0 ? left : 0;
}

void
trim_wakes(struct trim *t)
{
	t->was_quiet = false;
}

static void *
free_one(void *arg)
{
	_Atomic uint32_t *is_over = arg;
	void *volatile p = malloc(BLOCK); /* else no call is left of it */

	free(p);
	while (atomic_load(is_over) == 0)
		futex_wait(is_over, 0);
	return NULL;
}

static void
trim_ends(void)
{
	_Atomic uint32_t is_over = 0;
	pthread_t t[2 * ARENAS];
	struct err e = ERR_INIT;
	int n = 0;

	while (n < 2 * ARENAS &&
	       thread_start(&t[n], "trim", free_one, &is_over, &e) == 0)
		n++;
	atomic_store(&is_over, 1);
	futex_wake(&is_over, n);
	while (n > 0)
		thread_join(t[--n]);
}

void
trim_memory(struct trim *t)
{
	malloc_trim(0);
	mallopt(M_TRIM_THRESHOLD, KEEP_IDLE);
	mallopt(M_TOP_PAD, 0);
	trim_ends();
	mallopt(M_TOP_PAD, PAD);
	mallopt(M_TRIM_THRESHOLD, KEEP);
	t->done_ns = trim_cpu_ns();
}
