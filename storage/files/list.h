/* storage/files/list.h - a list: what an appender or a slave consists of.
 *
 * Extents in order, each a range of an immutable segment, bytes kept in the list
 * itself, or a hole (zeros). Format: docs/FORMAT-STORAGE.md.
 * G1  The extents' lengths add up to the size; no extent is empty.
 * G2  Neighbours that lie behind each other in the same place are one extent.
 * G3  A known CRC32 is that of exactly the extent's bytes.
 * G4  Appending keeps a list short: of neighbours at the end that are of about
 *     one size, four become one, so that there are at most LIST_TIER of each
 *     size, and each byte is copied once per size.
 * G5  With a successor it is being regenerated under that name, or was, and the
 *     outcome is the list's own: while it lives, the successor counts for nothing.
 * Pure functions; threads: any. */
#ifndef STORAGE_FILES_LIST_H
#define STORAGE_FILES_LIST_H

#include "lib/err.h"
#include "lib/str.h"

#define LIST_ID 144                    /* a segment's name, NUL included */
#define LIST_RECENT 256                /* changes remembered, at most, */
#define LIST_RECENT_S 120              /* and so long */
#define LIST_CREATE_INLINE (64 * 1024) /* content of a new list kept in it */
#define LIST_INLINE (4 * 1024)         /* what changes may leave in it */
#define LIST_TIER 4
#define LIST_MERGE_MAX (UINT64_C(64) * 1024 * 1024) /* or 1/256 of the size */
#define LIST_ENTRY                                                             \
	180 /* at most one extent with its segment takes in the record */

enum list_kind {
	LIST_BYTES = 1,
	LIST_SEGMENT = 2,
	LIST_HOLE = 3,
};

struct list_extent {
	uint8_t kind;
	bool has_crc;
	uint32_t crc32;
	uint64_t len;
	uint64_t off; /* in the segment, or in the list's bytes */
	uint32_t seg;
};

struct list_seg {
	char id[LIST_ID]; /* with the group */
	uint64_t size;
};

struct list {
	uint64_t size;
	int64_t created_s, modified_s;
	struct list_change { /* the last ones, newest first */
		uint64_t id;
		int64_t at_s;
	} recent[LIST_RECENT];
	size_t n_recent;
	char successor[LIST_ID]; /* with the group; "": none (G5) */
	struct list_seg *segs;
	size_t n_segs, segs_room;
	struct list_extent *ext;
	size_t n_ext, ext_room;
	struct buf bytes;
};

/* What a change puts in. */
struct list_piece {
	uint8_t kind; /* 0: nothing */
	uint64_t len;
	struct str bytes; /* LIST_BYTES */
	const char *id;   /* LIST_SEGMENT: all of it */
	uint32_t crc32;   /* LIST_SEGMENT */
};

void list_init(struct list *l);
void list_fini(struct list *l);
/* ERR_CORRUPT for what list_encode() does not make. *ret needs list_fini()
 * on success. */
int list_decode(struct str record, struct list *ret, struct err *e);
/* Segments and bytes that no extent names are left out. */
int list_encode(const struct list *l, struct buf *b, struct err *e);

/* @cut bytes at @off become @p. off <= size, cut <= size - off. On failure the
 * list is good for list_fini() alone. */
int list_splice(struct list *l, uint64_t off, uint64_t cut,
    const struct list_piece *p, struct err *e);
/* @n extents from @first become one segment of the same bytes. */
int list_replace(struct list *l, size_t first, size_t n, const char *id,
    uint32_t crc32, struct err *e);
/* The list's bytes have become the segment @id (of the same size). */
int list_spill(struct list *l, const char *id, struct err *e);

void list_note_change(struct list *l, uint64_t change, int64_t now_s);
bool list_has_change(const struct list *l, uint64_t change);

/* G4: what is to be merged now. False: nothing. */
bool list_plan(const struct list *l, size_t *ret_first, size_t *ret_n);
/* The same where a list has more than @max extents: neighbours anywhere, the
 * smallest first; the last run of the list that helps. */
bool list_plan_short(const struct list *l, size_t max, size_t *ret_first,
    size_t *ret_n);

/* Of the whole; false when the CRC of an extent is not known. */
bool list_crc32(const struct list *l, uint32_t *ret);
uint32_t list_zero_crc32(uint64_t len);
/* The extent that holds @off (< size), and where in it that is. */
size_t list_find(const struct list *l, uint64_t off, uint64_t *ret_in);
bool list_names(const struct list *l, struct str id);

#endif
