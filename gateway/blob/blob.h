/* gateway/blob/blob.h - bytes of objects, behind a seam.
 *
 * All that the gateway knows of storage. blob/local.c is the engine in this
 * process; blob/cluster.h trackers and nodes, of Creel or of FastDFS. Blobs are
 * immutable.
 * Threads: any. */
#ifndef GATEWAY_BLOB_BLOB_H
#define GATEWAY_BLOB_BLOB_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

#define BLOB_ID_MAX 144
#define BLOB_NOTE_MAX 2048
#define BLOB_GROUP_MAX 16

enum blob_class {
	BLOB_CLASS_S3 = 1,
	BLOB_CLASS_INDEX = 3,
};

struct blob_owner {
	uint8_t class;
	struct id128 index_id, write_id;
	bool is_new;     /* nothing was put under @write_id before */
	struct str note; /* <= BLOB_NOTE_MAX: salvage hints */
};

struct blob_info {
	char id[BLOB_ID_MAX]; /* "group1/M00/.." */
	uint64_t size;
	uint8_t class;
	int64_t created_s;
	struct id128 index_id, write_id;
};

struct blob;      /* a backend */
struct blob_put;  /* an upload under way */
struct blob_file; /* an open blob */

struct blob_stat { /* one store path or node */
	char name[256];
	bool is_failed;
	uint64_t total, avail, files, bytes, dead_bytes;
	uint64_t scrub_bytes, scrub_total, scrub_errors, quarantined;
	int64_t scrub_last_s;
};

void blob_close(struct blob **bp);

/* Contracts as the engine_* functions of storage/engine/engine.h. @group: ""
 * lets the backend choose. @ext is the file ID's extension. */
int blob_put_begin(struct blob *b, struct str group,
    const struct blob_owner *owner, uint64_t size_hint, struct blob_put **ret,
    struct err *e);
int blob_put_write(struct blob_put *u, const void *p, size_t len,
    struct err *e);
/* Without a copy, if the backend can; BLOB_LENT and BLOB_LEND_ALIGN as there. */
#define BLOB_LENT 7
#define BLOB_LEND_ALIGN 4096
int blob_put_lend(struct blob_put *u, const void *p, size_t len, struct err *e);
void blob_put_settle(struct blob_put *u);
int blob_put_commit(struct blob_put **up, struct blob_info *ret, struct err *e);
void blob_put_abort(struct blob_put **up);
/* ERR_RETRY: nothing is promised, but it may have been stored: it can be tried
 * again under another write ID, never under this one. */
int blob_put_whole(struct blob *b, struct str group,
    const struct blob_owner *owner, struct str body, struct blob_info *ret,
    struct err *e);
/* Bodies up to this should go through blob_put_whole(), because what fails in
 * one place then goes to another; 0: it does not matter. */
size_t blob_whole_max(struct blob *b);
/* Where a new bucket's bytes are to go: @wish if that is a group's name; "":
 * anywhere. */
void blob_choose_group(struct blob *b, struct str wish,
    char dst[BLOB_GROUP_MAX + 1]);

/* As struct engine_then of storage/engine/engine.h. */
struct blob_then {
	int (*named)(void *arg, const struct blob_info *i, struct err *e);
	void (*stored)(void *arg, int rc, bool more);
	void *arg;
	struct arena *a;
};
int blob_put_then(struct blob *b, struct str group,
    const struct blob_owner *owner, struct str body,
    const struct blob_then *then, struct err *e);

int blob_open(struct blob *b, struct str id, struct blob_file **ret,
    struct err *e);
uint64_t blob_size(const struct blob_file *f);
int blob_read(struct blob_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e);
int blob_note(struct blob_file *f, struct buf *ret, struct err *e);
void blob_file_close(struct blob_file **fp);
int blob_read_once(struct blob *b, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, struct err *e);

/* blob_read_once() that nobody waits for. */
struct blob_later { /* the caller's, until @fn */
	/* Once, on any thread, possibly before blob_read_later() returns; must
	 * not wait. 0: all @len bytes are there; else blob_read_once() is to be
	 * asked, which knows why. */
	void (*fn)(void *arg, int rc);
	void *arg;
	union { /* the backend's */
		void *align;
		char room[128];
	} impl;
};
/* False: it does not begin, because such a read can't be had, or not now. The
 * request may wait on its way until this thread rests (lib/thread.h). @id is
 * not looked at later. */
bool blob_may_read_later(struct blob *b); /* at all */
bool blob_read_later(struct blob *b, struct str id, uint64_t off, void *p,
    size_t len, struct blob_later *l);

int blob_delete_many(struct blob *b, const struct str *ids, size_t n,
    struct err *e);
int blob_find_write(struct blob *b, const struct id128 *write_id,
    struct blob_info *ret, struct err *e);
int blob_each(struct blob *b, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e);

size_t blob_n_stats(struct blob *b);
void blob_get_stat(struct blob *b, size_t i, struct blob_stat *ret);
bool blob_can_write(struct blob *b);
/* Where the bytes lie, as JSON; ERR_NOT_FOUND: there is no more to tell than
 * blob_get_stat() does. */
int blob_describe(struct blob *b, struct buf *json, struct err *e);
int blob_scrub_now(struct blob *b, struct err *e);
int blob_compact_now(struct blob *b, struct err *e);

/* --- backends --- */

struct blob_ops { /* same order and contracts as above */
	void (*close)(void *impl);
	int (*put_begin)(void *impl, struct str group,
	    const struct blob_owner *owner, uint64_t size_hint, void **ret,
	    struct err *e);
	int (*put_write)(void *put, const void *p, size_t len, struct err *e);
	/* Both may be NULL: then what is lent is written. */
	int (*put_lend)(void *put, const void *p, size_t len, struct err *e);
	void (*put_settle)(void *put);
	int (*put_commit)(void *put, struct blob_info *ret, struct err *e);
	void (*put_abort)(void *put);
	int (*put_whole)(void *impl, struct str group,
	    const struct blob_owner *owner, struct str body,
	    struct blob_info *ret, struct err *e);
	/* May be NULL: then one after the other. */
	int (*put_then)(void *impl, struct str group,
	    const struct blob_owner *owner, struct str body,
	    const struct blob_then *then, struct err *e);
	int (*open)(void *impl, struct str id, void **ret, uint64_t *ret_size,
	    struct err *e);
	int (*read)(void *file, uint64_t off, void *p, size_t len,
	    size_t *ret_len, struct err *e);
	int (*note)(void *file, struct buf *ret, struct err *e);
	void (*file_close)(void *file);
	int (*read_once)(void *impl, struct str id, uint64_t off, void *p,
	    size_t len, size_t *ret_len, struct err *e);
	int (*delete_many)(void *impl, const struct str *ids, size_t n,
	    struct err *e);
	int (*find_write)(void *impl, const struct id128 *write_id,
	    struct blob_info *ret, struct err *e);
	int (*each)(void *impl, uint8_t class,
	    int (*fn)(void *arg, const struct blob_info *i), void *arg,
	    struct err *e);
	size_t (*n_stats)(void *impl);
	void (*get_stat)(void *impl, size_t i, struct blob_stat *ret);
	bool (*can_write)(void *impl);
	int (*scrub_now)(void *impl, struct err *e);
	int (*compact_now)(void *impl, struct err *e);
	/* May be NULL. */
	bool (*read_later)(void *impl, struct str id, uint64_t off, void *p,
	    size_t len, struct blob_later *l);
	size_t (*whole_max)(void *impl);
	void (*choose_group)(void *impl, struct str wish,
	    char dst[BLOB_GROUP_MAX + 1]);
	int (*describe)(void *impl, struct buf *json, struct err *e);
};
/* Takes @impl over; NULL without memory (impl is then still the caller's). */
struct blob *blob_new(const struct blob_ops *ops, void *impl);
/* What blob_new() was given, or NULL when @b is of other @ops. */
void *blob_impl(struct blob *b, const struct blob_ops *ops);

struct engine;
/* blob/local.c: takes @g over (blob_close() closes it). */
int blob_local_new(struct engine *g, struct blob **ret, struct err *e);
/* blob/memory.c: for tests of the layers above; keeps bytes in memory. */
int blob_memory_new(struct blob **ret, struct err *e);
/* What becomes of blob_read_later() there; at first it refuses. */
enum blob_memory_later {
	BLOB_MEMORY_REFUSES,
	BLOB_MEMORY_READS, /* before it returns */
	BLOB_MEMORY_FAILS
};
void blob_memory_later(struct blob *b, enum blob_memory_later what);
/* One more handle on the same bytes; each is closed by itself. A test of a crash
 * keeps one over the other's end. */
int blob_memory_again(struct blob *b, struct blob **ret, struct err *e);

#endif
