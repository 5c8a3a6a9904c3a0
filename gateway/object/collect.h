/* gateway/object/collect.h - shared by the collector, the sweep and verify. */
#ifndef GATEWAY_OBJECT_COLLECT_H
#define GATEWAY_OBJECT_COLLECT_H

#include "gateway/object/store.h"

/* One at a time. */
void collect_begin(struct store *s);
void collect_end(struct store *s);

/* Blobs that a garbage row's payload owns, and the reference it holds. */
int garbage_extents(uint8_t kind, struct str payload, struct arena *a,
    struct extents *ret, bool *ret_has_ref, struct id128 *ret_ref,
    struct err *e);

#endif
