/* gateway/s3/hasher.c - digests on a thread beside the worker (hasher.h). */
#include "gateway/s3/hasher.h"

#include "lib/lock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define HASHER_MAGIC 0x4a511e7au

enum {
	QUEUE = 16
};

struct hasher {
	unsigned magic;
	struct hashes *h;
	struct lock lock;
	struct cond more, less; /* for the thread; for the worker */
	struct str queue[QUEUE];
	uint64_t added, done; /* pieces */
	uint64_t wanted;      /* the worker sleeps until that many are done */
	bool is_idle, is_stopped;
	pthread_t thread;
	_Atomic int cpu; /* where the thread is; -1 before its first piece */
	int shunned;     /* where the worker does not go; -1: anywhere */
	cpu_set_t cpus;  /* where it may go otherwise; none: not known */
};

static atomic_int n_running;

static void *
run(void *arg)
{
	struct hasher *x = arg;

	lock_take(&x->lock);
	for (;;) {
		struct str s;

		while (x->done == x->added && !x->is_stopped) {
			x->is_idle = true;
			cond_wait(&x->more, &x->lock);
			x->is_idle = false;
		}
		if (x->is_stopped)
			break;
		s = x->queue[x->done % QUEUE];
		lock_drop(&x->lock);
		atomic_store(&x->cpu, sched_getcpu());
		hashes_update(x->h, s.p, s.len);
		lock_take(&x->lock);
		x->done++;
		if (x->done == x->wanted)
			cond_signal(&x->less);
	}
	lock_drop(&x->lock);
	return NULL;
}

static void
destroy(struct hasher *x)
{
	cond_fini(&x->more);
	cond_fini(&x->less);
	lock_fini(&x->lock);
	x->magic = 0;
	mem_free(&x);
	atomic_fetch_sub(&n_running, 1);
}

/* The processors of this process: how many, and, where that is known, which.
 * The main thread has what the process has been given by now; who keeps off one
 * of them (A2) remembers all. */
static long
processors(cpu_set_t *ret)
{
	if (thread_cpus != NULL) {
		*ret = *thread_cpus;
		return CPU_COUNT(ret);
	}
	if (sched_getaffinity(getpid(), sizeof(*ret), ret) == 0)
		return CPU_COUNT(ret);
	CPU_ZERO(ret);
	return sysconf(_SC_NPROCESSORS_ONLN);
}

struct hasher *
hasher_start(struct hashes *h)
{
	struct hasher *x;
	cpu_set_t cpus;
	long n = processors(&cpus);

	if (n < 2)
		return NULL;
	if (atomic_fetch_add(&n_running, 1) >= n) {
		atomic_fetch_sub(&n_running, 1);
		return NULL;
	}
	x = mem_zalloc(sizeof(*x));
	if (x == NULL) {
		atomic_fetch_sub(&n_running, 1);
		return NULL;
	}
	x->magic = HASHER_MAGIC;
	x->h = h;
	atomic_store(&x->cpu, -1);
	x->shunned = -1;
	x->cpus = cpus;
	lock_init(&x->lock, LOCK_RANK_LEAF);
	cond_init(&x->more);
	cond_init(&x->less);
	if (thread_start(&x->thread, "s3-hasher", run, x, NULL) < 0) {
		destroy(x);
		return NULL;
	}
	return x;
}

/* --- the worker's processor (A2) --- */

/* All of the process's but @cpu. A hint: where it is refused, all goes on as
 * well. */
static void
shun(struct hasher *x, int cpu)
{
	cpu_set_t cpus = x->cpus;

	if (cpu == x->shunned)
		return;
	x->shunned = cpu;
	if (cpu >= 0 && cpu < CPU_SETSIZE)
		CPU_CLR((unsigned)cpu, &cpus);
	if (CPU_COUNT(&cpus) == 0)
		return;
	sched_setaffinity(0, sizeof(cpus), &cpus);
	thread_cpus = cpu >= 0 ? &x->cpus : NULL;
}

static void
keep_off(struct hasher *x)
{
	shun(x, atomic_load(&n_running) == 1 ? atomic_load(&x->cpu) : -1);
}

static void
wait_done(struct hasher *x, uint64_t mark)
{
	x->wanted = mark;
	while (x->done < mark)
		cond_wait(&x->less, &x->lock);
	x->wanted = 0;
}

void
hasher_add(struct hasher *x, const void *p, size_t len)
{
	OBJ_CHECK(x, HASHER_MAGIC);
	lock_take(&x->lock);
	if (x->added >= QUEUE)
		wait_done(x, x->added - QUEUE + 1);
	x->queue[x->added++ % QUEUE] = str_mem(p, len);
	if (x->is_idle)
		cond_signal(&x->more);
	lock_drop(&x->lock);
}

uint64_t
hasher_mark(const struct hasher *x)
{
	OBJ_CHECK(x, HASHER_MAGIC);
	return x->added;
}

void
hasher_wait_far(struct hasher *x, uint64_t mark, uint64_t later)
{
	OBJ_CHECK(x, HASHER_MAGIC);
	MUST(mark <= later && later <= x->added);
	keep_off(x);
	lock_take(&x->lock);
	if (x->done < mark)
		wait_done(x, later);
	lock_drop(&x->lock);
}

void
hasher_wait(struct hasher *x, uint64_t mark)
{
	hasher_wait_far(x, mark, mark);
}

void
hasher_stop(struct hasher **xp)
{
	struct hasher *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	OBJ_CHECK(x, HASHER_MAGIC);
	shun(x, -1);
	lock_take(&x->lock);
	x->is_stopped = true;
	cond_signal(&x->more);
	lock_drop(&x->lock);
	thread_join(x->thread);
	destroy(x);
}
