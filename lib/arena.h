/* lib/arena.h - memory of one request, freed all at once.
 *
 * A chain of blocks with a cap on their sum (P6). With ASan each item is its
 * own malloc, so that overruns are seen. Not thread-safe: one owner. */
#ifndef LIB_ARENA_H
#define LIB_ARENA_H

#include "lib/str.h"

struct arena;

/* @max bytes over the arena's life; NULL without memory. */
struct arena *arena_new(size_t max);
void arena_free(struct arena **ap);
void arena_reset(struct arena *a); /* frees all items, keeps one block */

/* 16-byte aligned, not zeroed; NULL beyond the cap or without memory. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
/* Terminated copy (the NUL is not in the length); p == NULL on failure. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_fmt(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
