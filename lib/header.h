/* lib/header.h - a header or parameter as name and value views. */
#ifndef LIB_HEADER_H
#define LIB_HEADER_H

#include "lib/str.h"

struct header {
	struct str name, value;
};

/* First header of that name (ASCII case-insensitive), or NULL. */
static inline const struct header *
header_find(const struct header *h, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (str_ieq(h[i].name, str_of(name)))
			return &h[i];
	return NULL;
}

#endif
