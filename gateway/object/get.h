/* gateway/object/get.h - an open object, for the files of this folder. */
#ifndef GATEWAY_OBJECT_GET_H
#define GATEWAY_OBJECT_GET_H

#include "gateway/object/store.h"

struct object_reader {
	unsigned magic;
	struct store *s;
	struct reader_link link;
	struct arena *a; /* the caller's; this struct lives there too */
	uint64_t incarnation;
	struct str key;
	uint64_t seq, size;
	struct id128 write_id;
	bool is_shared;
	struct id128 manifest_id; /* when shared */
	/* Parts of a multipart object: numbers, and where each begins. */
	size_t n_parts;
	uint32_t *numbers;
	uint64_t *starts; /* n_parts + 1 */
	/* The extents around the position: of the whole, or of one part. */
	struct extents x;
	uint64_t x_start, x_end;
	struct arena *part_arena; /* the part's extents live there */
	/* Extent at hand. */
	size_t i;
	uint64_t i_start;
	struct blob_file *file; /* of x.e[i] */
};

/* Extents of [off, off + len), cut to it; views live in @a. */
int reader_extents(struct object_reader *r, uint64_t off, uint64_t len,
    struct arena *a, struct extents *ret, struct err *e);

#endif
