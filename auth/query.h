/* auth/query.h - the query string as a list of parameters.
 *
 * Signatures and handlers must read the same thing, so both use this: split at
 * '&', empty pieces dropped, name and value percent-decoded, '+' is a space. */
#ifndef AUTH_QUERY_H
#define AUTH_QUERY_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/header.h"

/* Decoded, in order, duplicates kept. A parameter without '=' has value.p ==
 * NULL, one with nothing after it has a length of 0. Views point into @raw or
 * the arena. ERR_INVALID_URI for a bad escape, ERR_INVALID_REQUEST beyond
 * QUERY_MAX_PARAMS. */
#define QUERY_MAX_PARAMS 1000
int query_parse(struct str raw, struct arena *a, struct header **ret,
    size_t *ret_n, struct err *e);

/* Exact name, first occurrence, or NULL. */
const struct header *query_find(const struct header *q, size_t n,
    const char *name);

#endif
