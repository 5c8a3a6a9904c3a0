/* storage/server/url.h - pure parts of file URLs: ranges, types.
 * Threads: any. */
#ifndef STORAGE_SERVER_URL_H
#define STORAGE_SERVER_URL_H

#include "lib/str.h"

#define URL_RANGES 16

struct url_range {
	uint64_t off, len; /* len > 0 */
};

/* A Range header on @size bytes (RFC 9110, 14.1.2). The number of ranges that
 * can be satisfied; 0: none can (416); -1: to be ignored (no byte ranges,
 * malformed, too many of them, or more bytes than the file has). */
int url_ranges(struct str header, uint64_t size,
    struct url_range ret[URL_RANGES]);
/* "image/jpeg", by the extension of @name. */
const char *url_type(struct str name);
/* Whether a list of entity tags holds @tag ("..."), or is "*". @weak: W/ before
 * one makes no difference, else such a one never matches. */
bool url_has_tag(struct str list, struct str tag, bool weak);
/* A value of the query, percent-decoded into @room. False when it is not there
 * or not well-formed. */
bool url_param(struct str query, const char *name, char *room, size_t size,
    struct str *ret);

#endif
