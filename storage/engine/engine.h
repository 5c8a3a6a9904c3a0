/* storage/engine/engine.h - files on the disks of one node (DESIGN 4).
 *
 * A file is written once, named by a file ID in FastDFS's format, read in any
 * range with every 64 KiB block verified, and deleted by a tombstone. Small
 * files are needles in volumes with group commit, large ones files of their
 * own; both are recorded in the volume log, which is the truth: the file index
 * is a view of it. Formats: docs/FORMAT-STORAGE.md.
 *
 * E1  engine_upload_commit() == 0: bytes, name and log record are durable.
 * E2  A read gives the bytes written, or an error, never others.
 * E3  Highest file version wins; a tombstone is a version.
 * E4  After a failed write or sync the volume is cut back to its last durable
 *     offset and sealed; nothing unsynced is ever acknowledged.
 * E5  A given write ID names one file: repeating an upload returns the same.
 * Threads: any, unless said otherwise. */
#ifndef STORAGE_ENGINE_ENGINE_H
#define STORAGE_ENGINE_ENGINE_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

struct engine;

enum engine_class {
	ENGINE_CLASS_S3 = 1,      /* bodies of S3 objects */
	ENGINE_CLASS_FASTDFS = 2, /* files of FastDFS clients */
	ENGINE_CLASS_INDEX = 3,   /* index snapshots and log segments */
	ENGINE_CLASS_LIST = 4,    /* list of segments: appenders, slaves */
	ENGINE_CLASS_SEGMENT = 5, /* immutable piece of one of those */
	ENGINE_CLASS_META = 6,    /* metadata of a file of class 2 or 4 */
};

#define ENGINE_FILE_ID_MAX 144 /* group '/' remote name, NUL included */
#define ENGINE_BLOCK (64 * 1024)

/* What is 0 has a default, unless it says otherwise. */
struct engine_conf {
	const char *const
	    *paths; /* store paths, in order; DESIGN 9: creel.json */
	size_t n_paths;
	const char *group;    /* "group1" */
	uint32_t server_id;   /* 1..16777215, in the file IDs */
	uint64_t small_limit; /* up to this a needle, above a file: 1 MiB */
	uint64_t volume_size; /* preallocated size of a volume */
	uint64_t reserved;    /* bytes kept free on each path */
	uint64_t scrub_rate;  /* bytes/s; 0 = no background scrub */
	int64_t scrub_interval_s;
	uint64_t write_queue_max; /* bytes waiting for one path's writer */
	unsigned
	    compact_percent; /* dead bytes that make a sealed volume mostly dead */
	int64_t compact_interval_s; /* 0 = none in the background */
	size_t index_table_max;     /* locations kept in memory; 0 = 8,192 */
	/* A member of a group: the cluster's ID, which new paths get as deployment
	 * and others must have; NULL: a random one. */
	const struct id128 *deployment;
	/* Compaction drops no younger tombstone, by this node's clock; a member
	 * of a group only what engine_forget_before() leaves to it, too. */
	int64_t tombstone_keep_s;
	bool replace_blank; /* a known path that is blank now is taken anew */
	/* Where the index is, or NULL: files of ENGINE_CLASS_INDEX go to paths on
	 * other disks, else into other directories, while one has room. */
	const char *index_home;
	/* Events for the shell's log (failed path, quarantine, ...); any thread. */
	void (*event)(void *arg, int level, const char *text);
	void *event_arg;
};

/* Opens or creates. Refusals (foreign, missing, doubly used, newer, blank known
 * path) are ERR_CONFIG with one line that says what to do. */
int engine_open(const struct engine_conf *c, struct engine **ret,
    struct err *e);
void engine_close(struct engine **ep);
/* From now on @c's reserved, scrub_rate, scrub_interval_s, compact_percent and
 * compact_interval_s; the rest of @c is not looked at. 0 means 0 here. */
void engine_tune(struct engine *g, const struct engine_conf *c);

/* Who owns a file, kept in its needle (the owner record). */
struct engine_owner {
	uint8_t class;         /* enum engine_class */
	struct id128 index_id; /* UUID of the index that names it */
	struct id128 write_id; /* E5 */
	bool is_new;           /* no put under it came before: none is sought */
	struct str note;       /* opaque, <= 2048 bytes: hints for salvage */
};

struct engine_file_info {
	char id[ENGINE_FILE_ID_MAX];
	uint64_t size;
	uint32_t crc32;        /* of the content, zlib polynomial */
	uint64_t file_version; /* 1 at creation */
	int64_t created_s;
	uint8_t class;
	struct id128 index_id, write_id;
};

/* --- writing --- */

struct engine_upload;

/* @size_hint: final size if known, else UINT64_MAX. ERR_NO_SPACE below reserve. */
int engine_upload_begin(struct engine *g, const struct engine_owner *owner,
    uint64_t size_hint, struct engine_upload **ret, struct err *e);
int engine_upload_write(struct engine_upload *u, const void *p, size_t len,
    struct err *e);
/* Without a copy, where @p and @len are multiples of ENGINE_LEND_ALIGN: the bytes
 * stay as they are until ENGINE_LENT more of these calls have returned, or
 * engine_upload_settle(), or @u has ended. An error may be of bytes before. */
#define ENGINE_LENT 7
#define ENGINE_LEND_ALIGN 4096
int engine_upload_lend(struct engine_upload *u, const void *p, size_t len,
    struct err *e);
/* Failures are kept for the commit. */
void engine_upload_settle(struct engine_upload *u);
/* Durable on 0 (E1). Frees @u either way. @ext: file ID extension, may be "". */
int engine_upload_commit(struct engine_upload **up, const char *ext,
    struct engine_file_info *ret, struct err *e);
void engine_upload_abort(struct engine_upload **up);

/* Whole small file in one call, without a copy of the body: @parts are written
 * as they are and must stay until it returns. */
int engine_put(struct engine *g, const struct engine_owner *owner,
    struct str body, const char *ext, struct engine_file_info *ret,
    struct err *e);

/* A put that nobody waits for: what follows it. */
struct engine_then {
	/* The caller's thread, before it is written: what it will be. Negative:
	 * nothing is written, and that is the result. */
	int (
	    *named)(void *arg, const struct engine_file_info *i, struct err *e);
	/* Once after a good named(): durable and visible (0), or failed with
	 * @rc. On any thread, maybe before the call returns. @more: it is
	 * called for others at once, and must not block; else it may, but what
	 * is put meanwhile waits. */
	void (*stored)(void *arg, int rc, bool more);
	void *arg;
	struct arena *a; /* the caller's: what it takes stays until stored() */
};
/* 0: stored() was called or will be; until then @body and @e stay. Negative:
 * it never is. With nothing else to write it is written by the caller. */
int engine_put_then(struct engine *g, const struct engine_owner *owner,
    struct str body, const char *ext, const struct engine_then *then,
    struct err *e);
/* The same of a small file (else ERR_TOO_BIG), on store path @path_no (-1: where
 * there is space), by one who takes many from a queue: it may wait until he calls
 * engine_gathered(), which he does before he waits for more of them. */
int engine_put_gather(struct engine *g, const struct engine_owner *owner,
    int path_no, struct str body, const char *ext,
    const struct engine_then *then, struct err *e);
/* What was gathered is written, by the caller where that takes least, and
 * stored() called for it before this returns; else by the writer's thread. */
void engine_gathered(struct engine *g);

/* --- reading --- */

struct engine_file; /* an open file: keeps its bytes while open */

/* ERR_NOT_FOUND: unknown or deleted. */
int engine_file_open(struct engine *g, struct str id, struct engine_file **ret,
    struct err *e);
void engine_file_close(struct engine_file **fp);
void engine_file_info(const struct engine_file *f,
    struct engine_file_info *ret);
/* Up to @len bytes from @off, verified (E2). Short only at the end.
 * ERR_CORRUPT for a bad block: it is reported to the scrub's list too. */
int engine_file_read(struct engine_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e);
/* Where @len bytes from @off lie, and what their CRC32C is if they are what was
 * stored: for who reads them there and checks that (E2). Valid as long as @f.
 * ERR_RETRY: they are not whole blocks; engine_file_read() gives them. */
struct engine_span {
	int fd;
	uint64_t off;
	uint32_t crc32c;
};
int engine_file_span(struct engine_file *f, uint64_t off, size_t len,
    struct engine_span *ret, struct err *e);
/* The owner's note; appended to @ret. */
int engine_file_note(struct engine_file *f, struct buf *ret, struct err *e);
/* Open, read the whole range, close, in one call: for small objects. */
int engine_read(struct engine *g, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, struct err *e);
/* The same of a small file whose bytes are in the page cache. ERR_RETRY when
 * they are not, when it is not small, and when it is not there or damaged: this
 * says nothing but that engine_read() is to be asked. */
int engine_read_now(struct engine *g, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, struct err *e);

/* --- deleting and finding --- */

/* Durable tombstone. Deleting what is unknown or deleted is 0 and stores the
 * tombstone all the same. */
int engine_delete(struct engine *g, struct str id, struct err *e);
/* Many at once, one sync per path. Stops at the first error. */
int engine_delete_many(struct engine *g, const struct str *ids, size_t n,
    struct err *e);
/* The file that @write_id made. ERR_NOT_FOUND. */
int engine_find_write(struct engine *g, const struct id128 *write_id,
    struct engine_file_info *ret, struct err *e);
/* Every live file of @class (0 = all), in no order; each call of @fn is made
 * without locks. Files created meanwhile may be missed. fn != 0 stops. */
int engine_each(struct engine *g, uint8_t class,
    int (*fn)(void *arg, const struct engine_file_info *f), void *arg,
    struct err *e);

/* --- looking after --- */

struct engine_path_stat {
	const char *path;
	bool is_failed, is_read_only;
	uint64_t total, avail, reserved;
	uint64_t files, bytes; /* live */
	uint64_t dead_bytes, volumes;
	uint64_t scrub_bytes, scrub_total, scrub_errors, scrub_passes;
	uint64_t quarantined; /* damaged volumes, kept as they are, or lost */
	int64_t scrub_last_s;
};
/* Calls since it was opened, and those that succeeded. */
struct engine_io_stat {
	uint64_t opens, opens_ok, reads, reads_ok, writes, writes_ok;
};
void engine_io_stat(struct engine *g, struct engine_io_stat *ret);
/* When the first of its store paths was made, seconds since 1970. */
int64_t engine_made_s(const struct engine *g);
size_t engine_n_paths(const struct engine *g);
void engine_path_stat(struct engine *g, size_t i, struct engine_path_stat *ret);
bool engine_can_write(struct engine *g);
bool engine_has_files(struct engine *g);
/* A store path was taken out of service since the start. */
bool engine_has_failed(const struct engine *g);
/* One full scrub now, on the caller's thread; counts in the stats. */
int engine_scrub_now(struct engine *g, struct err *e);
int engine_compact_now(struct engine *g, struct err *e);
/* Damaged files seen by reads and scrubs, newest first; fn != 0 stops. */
int engine_each_bad(struct engine *g, int (*fn)(void *arg, const char *id),
    void *arg);
/* Throws the file index away and makes it again from volumes and files;
 * the engine must not be open. */
int engine_rebuild(const struct engine_conf *c, struct err *e);
const struct id128 *engine_deployment_id(const struct engine *g);

#endif
