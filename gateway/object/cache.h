/* gateway/object/cache.h - small records found again without the index.
 *
 * A table of fixed size from name to a record of fixed size, each entry stamped
 * with a generation. Whoever changes such records calls cache_bump() after the
 * commit; a reader takes the generation before it opens its view, so that what
 * it puts here can never outlive a change that its view did not see. With
 * several gateways the bump has to come from the index (not there yet). */
#ifndef GATEWAY_OBJECT_CACHE_H
#define GATEWAY_OBJECT_CACHE_H

#include "lib/str.h"

struct cache;

#define CACHE_NAME_MAX 128

struct cache *cache_new(size_t slots /* power of two */, size_t record);
void cache_free(struct cache **cp);
uint64_t cache_generation(struct cache *c);
void cache_bump(struct cache *c);
bool cache_get(struct cache *c, struct str name, void *ret);
void cache_put(struct cache *c, struct str name, const void *record,
    uint64_t generation);

#endif
