/* lib/thread.h - starting threads.
 * They have a name (15 characters), a stack of 256 KiB (more with sanitizers),
 * and all signals blocked but those that a thread raises itself by a fault:
 * the others are for main. */
#ifndef LIB_THREAD_H
#define LIB_THREAD_H

#include "lib/err.h"

#include <pthread.h>
#include <signal.h>

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *),
    void *arg, struct err *e);
/* The mask for threads that are started elsewhere. */
void thread_signal_mask(sigset_t *ret);
void thread_join(pthread_t t);

/* What waits long (for a disk, a peer, another thread) says so before, since the
 * thread may be one of few that others rely on. With any lock held. */
extern __thread void (*thread_on_block)(void); /* NULL: nobody does */
static inline void
thread_blocks(void)
{
	if (thread_on_block != NULL)
		thread_on_block();
}

#endif
