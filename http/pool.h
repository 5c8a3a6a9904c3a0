/* http/pool.h - few threads for many connections that wait.
 *
 * civetweb gives each connection a thread. Where that thread would wait for the
 * next request, it parks its connection instead and serves whichever parked one
 * has something to read: a busy thread goes from request to request without
 * sleeping, as an event loop does, while a slow request holds up nobody. A deferred
 * request (http_defer()) gives its thread to the others in the same way, and comes
 * back by a list of what is ready, which is looked at before epoll.
 *
 * Q1  As many threads are inside pool_wait() as connections are parked or have
 *     a deferred request.
 * Q2  A connection is parked by its owner and taken by one thread; who has it
 *     from pool_wait() owns it. With a deferred request it is nobody's until
 *     pool_ready(), then of the thread that takes it from the list. Parking and
 *     taking are compare-and-swaps of slot->park.
 * Q3  Some `active` threads take events (two for each processor, more while most
 *     requests sleep); a thread is active until it is about to sleep
 *     (thread_blocks()) or its connection closes, then another one takes its
 *     place. The others sleep, last come first to be woken.
 * Q4a An active thread does what was put off (lib/thread.h) before it sleeps.
 * Q4  When the active threads sit in something that did not say so, more of
 *     them are made, within 2 * WATCH_MS.
 * Q5  While something is ready, a thread that waits in epoll has been woken, or
 *     some active one is on its way to the list. One is woken for many; when that
 *     one is held up, the next (Q3, Q4). What one epoll_wait() told of, beyond
 *     the first, is ready too; as much is taken only when no other thread waits.
 * Q6  A connection is told to epoll once, edge-triggered: an event tells of new
 *     bytes or an end. So its owner parks it only after a read that found less
 *     than it asked for, since when no event has come, and whose event told of
 *     no end; else it reads on. An event may be late, or of a connection that
 *     had the slot before: what is taken may have nothing to read, and its owner
 *     parks it again (unit_recv()).
 * Threads: workers; pool_start() and pool_stop() before and after them. */
#ifndef HTTP_POOL_H
#define HTTP_POOL_H

#include "http/civetweb_unit.h"
#include "lib/err.h"

struct pool;
struct slot;
struct mg_connection;

int pool_start(struct pool **ret, struct err *e);
void pool_stop(struct pool **pp);

/* Parks @conn, whose slot it is (NULL: it has gone with its deferred request), and
 * waits until it or another parked one can be read, or has to be closed, which
 * @conn then is. UNIT_WAITS: not parked (no memory in the kernel). */
enum unit_wait pool_wait(struct pool *p, struct mg_connection *conn,
    struct slot *slot, struct slot *slots);
/* The deferred request slot->later can be gone on with. On any thread. */
void pool_ready(struct pool *p, struct slot *slot);
/* This thread's connection closes. */
void pool_leave(void);

/* A slot's new connection. */
void pool_forget(struct slot *slot);
bool pool_has(struct slot *slot); /* it is parked, at this moment */
/* Its owner, told to read, found nothing. */
void pool_was_empty(struct slot *slot);
/* Its owner waits for more of a request: no events of it until it is parked. */
void pool_quiet(struct pool *p, struct slot *slot, struct slot *slots);

#endif
