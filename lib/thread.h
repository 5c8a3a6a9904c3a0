/* lib/thread.h - starting threads.
 * They have a name (15 characters), a stack of 256 KiB (more with sanitizers),
 * and all signals blocked: those are for main. */
#ifndef LIB_THREAD_H
#define LIB_THREAD_H

#include "lib/err.h"

#include <pthread.h>

int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *),
    void *arg, struct err *e);
void thread_join(pthread_t t);

#endif
