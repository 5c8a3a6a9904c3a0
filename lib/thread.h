/* lib/thread.h - starting threads.
 * They have a name (15 characters), a stack of 256 KiB (more with sanitizers),
 * and all signals blocked but those that a thread raises itself by a fault:
 * the others are for main. */
#ifndef LIB_THREAD_H
#define LIB_THREAD_H

#include "lib/err.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *),
    void *arg, struct err *e);
/* The mask for threads that are started elsewhere. */
void thread_signal_mask(sigset_t *ret);
void thread_join(pthread_t t);

/* Where the threads go that this one starts: not NULL while it is kept off a
 * processor itself, which they would be for good. */
extern __thread const cpu_set_t *thread_cpus;

/* What waits long (for a disk, a peer, another thread) says so before, since the
 * thread may be one of few that others rely on. With any lock held. */
extern __thread void (*thread_on_block)(void); /* NULL: nobody does */
static inline void
thread_blocks(void)
{
	if (thread_on_block != NULL)
		thread_on_block();
}

/* --- what is better done for many at once --- */

/* A thread that goes from one piece of work to the next, and calls thread_rest()
 * before it waits for one, can put off what others may add to meanwhile: a send,
 * for one. When it waits within a piece, thread_hurry(), with any lock held. */
struct thread_rest {
	struct thread_rest *next;
	void (*rest)(struct thread_rest *r); /* do it */
	/* Have it done by another thread: takes no lock. */
	void (*hurry)(struct thread_rest *r);
};
void thread_rest_add(struct thread_rest *r);
void thread_rest_remove(struct thread_rest *r); /* its fns run no more */
extern __thread bool thread_rests; /* this one calls thread_rest() */
extern atomic_bool thread_is_put_off;
/* False: do it now. */
static inline bool
thread_put_off(void)
{
	if (!thread_rests)
		return false;
	atomic_store(&thread_is_put_off, true);
	return true;
}
void thread_rest(void);
void thread_hurry(void);

#endif
