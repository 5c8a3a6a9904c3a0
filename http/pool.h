/* http/pool.h - few threads for many connections that wait.
 *
 * civetweb gives each connection a thread. Where that thread would wait for the
 * next request, it parks its connection instead and serves whichever parked one
 * has something to read: a busy thread goes from request to request without
 * sleeping, as an event loop does, while a slow request holds up nobody.
 *
 * Q1  As many threads are inside pool_wait() as connections are parked.
 * Q2  A connection is parked by its owner and taken by one thread; who has it
 *     from pool_wait() owns it.
 * Q3  Some `active` threads take events (two for each processor, more while most
 *     requests sleep); a thread is active until it is about to sleep
 *     (thread_blocks()) or its connection closes, then another one takes its
 *     place. The others sleep, last come first to be woken.
 * Q4  When the active threads sit in something that did not say so, more of
 *     them are made, within 2 * WATCH_MS.
 * Threads: workers; pool_start() and pool_stop() before and after them. */
#ifndef HTTP_POOL_H
#define HTTP_POOL_H

#include "lib/err.h"

struct pool;
struct slot;
struct mg_connection;

int pool_start(struct pool **ret, struct err *e);
void pool_stop(struct pool **pp);

/* Parks @conn, whose slot it is, and waits until it or another parked one can
 * be read, which @conn then is. False: not parked (no memory in the kernel). */
bool pool_wait(struct pool *p, struct mg_connection *conn, struct slot *slot,
    struct slot *slots);
/* This thread's connection closes. */
void pool_leave(void);

#endif
