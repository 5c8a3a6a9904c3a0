/* lib/lock.h - mutexes with a rank, and condition variables.
 *
 * A thread takes locks in rising rank only. Debug builds (CREEL_DEBUG_LOCKS)
 * assert rank and owner; release builds are a plain pthread mutex. Ranks are
 * declared here, once, lowest (outermost) first; leave gaps. */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
	LOCK_RANK_TRACKER = 8,   /* tracker: what it knows */
	LOCK_RANK_SERVER = 10,   /* http: connections and listeners */
	LOCK_RANK_OBJECT = 30,   /* object: epochs, collector */
	LOCK_RANK_KV_TREE = 38,  /* index: who writes to LMDB */
	LOCK_RANK_KV_QUEUE = 40, /* index: waiting transactions */
	LOCK_RANK_KV_VIEW = 44,  /* index: tables and snapshot */
	LOCK_RANK_BLOB = 50,     /* blob */
	LOCK_RANK_FENCE = 52,    /* storage/server: epochs of indexes */
	LOCK_RANK_PASS = 56,     /* engine: one scrub or compaction at a time */
	LOCK_RANK_ENGINE = 60,   /* engine: names being changed */
	LOCK_RANK_FLUSH = 62,    /* engine: one flush of a path at a time */
	LOCK_RANK_PATH = 64,     /* engine: one store path's queue */
	LOCK_RANK_VOLUMES = 68,  /* engine: volume table */
	LOCK_RANK_FILE_INDEX = 72, /* engine: file index table */
	LOCK_RANK_MUX = 98,        /* cluster: its table of connections */
	LOCK_RANK_LEAF = 100       /* takes nothing inside */
};

struct lock {
	pthread_mutex_t m;
	int rank;
	bool held;
	pthread_t owner;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_fini(struct lock *l);
void lock_take(struct lock *l);
void lock_drop(struct lock *l);
bool lock_is_mine(const struct lock *l); /* always true in release builds */

struct cond {
	pthread_cond_t c; /* monotonic clock */
};
void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_wait(struct cond *c, struct lock *l);
/* false on time-out; real milliseconds, whatever clock_shift() says. */
bool cond_wait_ms(struct cond *c, struct lock *l, int ms);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

#endif
