/* gateway/s3/hasher.h - digests of one long body on a thread beside its worker.
 *
 * MD5 is what limits a single upload: while this thread digests one buffer, the
 * worker receives and stores the next. There are at most as many of them as the
 * process has processors, and none with a single one: nothing would be gained,
 * and the worker digests by itself.
 *
 * A1  Bytes that were added are not changed before a wait has passed them; the
 *     digests belong to the hasher until hasher_wait() for all.
 * A2  One thread waits: the worker, from hasher_start() to hasher_stop(). While
 *     there is no other hasher it stays away from the processor that this one
 *     is on, which would be held up for as long as a woken worker receives, and
 *     has the others instead. */
#ifndef GATEWAY_S3_HASHER_H
#define GATEWAY_S3_HASHER_H

#include "lib/hash.h"

struct hasher;

/* NULL when there is none to be had: then the caller does it itself. */
struct hasher *hasher_start(struct hashes *h);
void hasher_add(struct hasher *x, const void *p, size_t len);
/* How much was added so far, for hasher_wait(). */
uint64_t hasher_mark(const struct hasher *x);
void hasher_wait(struct hasher *x, uint64_t mark);
/* Returns at once when @mark is passed, else once @later is: who has to sleep
 * sleeps for longer, and is woken less often. */
void hasher_wait_far(struct hasher *x, uint64_t mark, uint64_t later);
/* What was not waited for may be left out. NULL in *xp is fine. */
void hasher_stop(struct hasher **xp);

#endif
