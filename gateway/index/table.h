/* gateway/index/table.h - the ordered table in memory.
 *
 * A skip list of keys, each with its versions, newest first. One thread
 * writes while any number read without locks: a reader that looks at sequence
 * S sees, for each key, the newest version of at most S.
 *
 * T1  Nothing that was reachable is freed or changed before the table is.
 * T2  The versions of a key fall in sequence from the newest on.
 * T3  Memory comes from the system in chunks and all of it goes back with the
 *     last reference.
 * Threads: table_put() and table_retract() on one thread at a time; the rest
 * on any that holds a reference. */
#ifndef GATEWAY_INDEX_TABLE_H
#define GATEWAY_INDEX_TABLE_H

#include "lib/err.h"
#include "lib/str.h"

struct table;
struct table_node;

struct table *table_new(void); /* one reference; NULL without memory */
void table_ref(struct table *t);
void table_unref(struct table **tp);

size_t table_bytes(const struct table *t); /* what it takes up */
size_t table_keys(const struct table *t);
static inline bool
table_is_empty(const struct table *t)
{
	return table_keys(t) == 0;
}

/* @raw.p == NULL: deleted. @seq must not be below any earlier one (but for
 * retracted ones). Copies both. */
int table_put(struct table *t, struct str key, struct str raw, uint64_t seq,
    struct err *e);
/* Versions of @key from @seq on are gone for readers that begin later; none
 * may exist that looks at @seq or above. */
void table_retract(struct table *t, struct str key, uint64_t seq);

/* True: there is a version; *ret_raw.p is NULL when it is a delete. */
bool table_get(const struct table *t, struct str key, uint64_t seq,
    struct str *ret_raw);

/* A position on a visible version; at the end when node is NULL. */
struct table_iter {
	const struct table_node *node;
	uint64_t seq;
	struct str key, raw;
};

/* The first key >= @from. */
void table_seek(struct table_iter *it, const struct table *t, struct str from,
    uint64_t seq);
void table_next(struct table_iter *it); /* not at the end */

#endif
