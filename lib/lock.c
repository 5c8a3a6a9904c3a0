/* lib/lock.c - ranked mutexes.
 *
 * In debug builds each thread counts what it holds per rank: a lock may be
 * taken only when its rank is above all held ones, so two of the same rank
 * never nest either. Locks may be dropped in any order. */
#include "lib/lock.h"

#include "lib/err.h"
#include "lib/thread.h"

#include <errno.h>
#include <time.h>

#ifdef CREEL_DEBUG_LOCKS
#define MAX_RANK 128
static __thread unsigned char holds[MAX_RANK];
static __thread int top; /* highest rank held, 0 = none */

static void
check_take(const struct lock *l)
{
	MUST(l->rank > 0 && l->rank < MAX_RANK);
	MUST(!lock_is_mine(l));
	MUST(l->rank > top && "lock taken out of rank order");
}

static void
note_taken(struct lock *l)
{
	holds[l->rank]++;
	top = l->rank;
	__atomic_store_n(&l->owner, pthread_self(), __ATOMIC_RELAXED);
	__atomic_store_n(&l->held, true, __ATOMIC_RELEASE);
}

static void
note_dropped(struct lock *l)
{
	MUST(lock_is_mine(l));
	__atomic_store_n(&l->held, false, __ATOMIC_RELAXED);
	holds[l->rank]--;
	while (top > 0 && holds[top] == 0)
		top--;
}
#else
static void
check_take(const struct lock *l)
{
	(void)l;
}

static void
note_taken(struct lock *l)
{
	(void)l;
}

static void
note_dropped(struct lock *l)
{
	(void)l;
}
#endif

void
lock_init(struct lock *l, enum lock_rank rank)
{
	MUST(pthread_mutex_init(&l->m, NULL) == 0);
	l->rank = (int)rank;
	l->held = false;
	l->owner = (pthread_t){ 0 };
}

void
lock_fini(struct lock *l)
{
	MUST(!l->held);
	MUST(pthread_mutex_destroy(&l->m) == 0);
}

void
lock_take(struct lock *l)
{
	check_take(l);
	MUST(pthread_mutex_lock(&l->m) == 0);
	note_taken(l);
}

void
lock_drop(struct lock *l)
{
	note_dropped(l);
	MUST(pthread_mutex_unlock(&l->m) == 0);
}

bool
lock_is_mine(const struct lock *l)
{
#ifdef CREEL_DEBUG_LOCKS
	return __atomic_load_n(&l->held, __ATOMIC_ACQUIRE) &&
	       pthread_equal(__atomic_load_n(&l->owner, __ATOMIC_RELAXED),
		   pthread_self());
#else
	(void)l;
	return true;
#endif
}

void
cond_init(struct cond *c)
{
	pthread_condattr_t a;

	MUST(pthread_condattr_init(&a) == 0);
	MUST(pthread_condattr_setclock(&a, CLOCK_MONOTONIC) == 0);
	MUST(pthread_cond_init(&c->c, &a) == 0);
	MUST(pthread_condattr_destroy(&a) == 0);
}

void
cond_fini(struct cond *c)
{
	MUST(pthread_cond_destroy(&c->c) == 0);
}

/* The lock is given up while waiting, and comes back: a thread that holds a
 * higher rank meanwhile would break the order, so none may be held. */
void
cond_wait(struct cond *c, struct lock *l)
{
	note_dropped(l);
	check_take(l);
	thread_blocks();
	MUST(pthread_cond_wait(&c->c, &l->m) == 0);
	note_taken(l);
}

bool
cond_wait_ms(struct cond *c, struct lock *l, int ms)
{
	struct timespec ts;
	int64_t ns;
	int rc;

	if (ms < 0)
		ms = 0;
	MUST(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
	ns = ts.tv_nsec + (int64_t)ms * 1000000;
	ts.tv_sec += (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	note_dropped(l);
	check_take(l);
	thread_blocks();
	rc = pthread_cond_timedwait(&c->c, &l->m, &ts);
	note_taken(l);
	MUST(rc == 0 || rc == ETIMEDOUT);
	return rc == 0;
}

void
cond_signal(struct cond *c)
{
	MUST(pthread_cond_signal(&c->c) == 0);
}

void
cond_broadcast(struct cond *c)
{
	MUST(pthread_cond_broadcast(&c->c) == 0);
}
