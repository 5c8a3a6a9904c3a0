/* gateway/object/put.h - bytes on their way in, shared by objects and parts. */
#ifndef GATEWAY_OBJECT_PUT_H
#define GATEWAY_OBJECT_PUT_H

#include "gateway/object/store.h"

/* Bodies up to this are kept in memory and written in one call; bigger ones
 * too where the blobs want it, as long as they are no more than all that. */
#define PUT_BUFFER (128u * 1024)
#define PUT_BUFFERS_ALL (64u << 20)
#define PUT_TRIES 4           /* of such a call, each under a name of its own */
#define PUT_INLINE_EXTENTS 16 /* more become a manifest row of their own */

#define PUT_MAGIC 0x9070b1e0u

struct put_extent {
	char id[BLOB_ID_MAX]; /* "" while it is written */
	struct id128 write_id;
	uint64_t len;
};

struct put {
	unsigned magic;
	struct store *s;
	struct put *prev, *next; /* S2 */
	struct bucket bucket;
	struct key key;        /* name of the object */
	struct id128 write_id; /* of the record and of the first extent */
	uint64_t expected, total;
	char *buf;
	size_t buf_len, buf_size, buf_max;
	size_t reserved; /* of the store's, for buf */
	struct str held; /* all of the body, the caller's; not stored yet */
	struct blob_put *cur; /* into x[n - 1] */
	uint64_t cur_limit;
	struct put_extent *x; /* under s->lock when it changes (S2) */
	size_t n, size;
	bool is_failed;
};

/* S2: draws the only extent's write ID; @note stays as long as *ret. */
int put_only_extent(struct put *p, char *note, size_t size,
    struct blob_owner *ret, struct err *e);
/* Ends the last extent: all bytes are durable on 0. */
int put_finish(struct put *p, struct err *e);
int put_extents(struct put *p, struct arena *a, struct extents *ret,
    struct err *e);
/* Off the list, freed. @give_up: what was written goes on the garbage list. */
void put_end(struct put **pp, bool give_up);

#endif
