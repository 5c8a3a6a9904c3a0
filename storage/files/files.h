/* storage/files/files.h - what FastDFS's clients call a file, on a group.
 *
 * A normal file is one immutable file of class FASTDFS. An appender or a slave
 * is a list (class LIST, under the client's name; storage/files/list.h): a small
 * versioned file that names immutable segments (class SEGMENT) with offset and
 * length; a change writes new segments first, as an upload, and then a new
 * version of the list through the group's leader (FILE_OP), so that nothing is
 * modified in place. Small pieces are kept in the list itself. Metadata is a small
 * versioned file of class META, named after its file with `-m` behind.
 * F1  Files of other classes (S3, INDEX, SEGMENT, META) do not exist for any
 *     function here: ERR_NOT_FOUND.
 * F2  A change of an appender or of metadata is there for every reader of any
 *     node once it was acknowledged: both are read by way of the leader, but
 *     in a group of two, where either node has them. A delete is there on
 *     every node within reach.
 * F3  A list's length stays within FILES_SEGMENTS, and within what a small file
 *     holds: neighbours are merged. n appends write O(n log n) bytes.
 * F4  A segment that no list names goes after FILES_ORPHAN_S, by the leader's own
 *     count from when its sweep first met it so (suspects.c); one that a list
 *     names never does.
 * F5  A change is made once, however often it has to be tried: each carries an
 *     ID, a list remembers those of the last two minutes (256 at most), and the
 *     leader those that it made of late: one that arrives late, too.
 * F6  A change is not made later than FILES_OPEN_MS after the node that was asked
 *     for it began to seek the leader, however it lay on its way there (R4 of
 *     cluster/rpc.h): what a node that has died since had passed on is made by
 *     then, or never. What is begun by then is brought to its end.
 * Errors are those that fdfs_status_of() maps as FASTDFS.md says; ERR_RETRY where
 * nothing is known for sure, or no leader was found in FILES_WAIT_MS.
 * Threads: any. */
#ifndef STORAGE_FILES_FILES_H
#define STORAGE_FILES_FILES_H

#include "fdfs/meta.h"
#include "fdfs/storage_codec.h"
#include "storage/replication/rep.h"

#define FILES_SEGMENTS 4096
#define FILES_ORPHAN_S (24 * 3600)
#define FILES_WAIT_MS 8000
#define FILES_OPEN_MS 30000
#define FILES_DROP_MS 60000          /* segments of a deleted file */
#define FILES_DROP_CHANGED_MS 900000 /* segments that a list named before */

struct files;
struct files_conf {
	struct rep *rep;
	struct members *members;
	struct rep_env env;
	const char *group;
	size_t small_limit;       /* the engine's */
	int64_t sweep_interval_s; /* for F4; 0: 6 hours */
	int wait_ms;              /* 0: FILES_WAIT_MS */
};
int files_open(const struct files_conf *c, struct files **ret, struct err *e);
/* The node is stopped first; returns when its tasks are gone. */
void files_close(struct files **fp);

/* @fn gives the content: *ret 0 at its end. */
typedef int files_source(void *arg, void *p, size_t len, size_t *ret,
    struct err *e);

/* All names are remote names (without the group). That of a file ID, a view: */
struct str files_remote(const struct files *f, const char *id);
int files_upload(struct files *f, int path_no, bool is_appender, struct str ext,
    uint64_t size, files_source *fn, void *arg, struct engine_file_info *ret,
    struct err *e);
/* A normal file whose content is here: rep_put_gather()'s contract. */
int files_upload_gather(struct files *f, int path_no, struct str ext,
    struct str body, const struct engine_then *then, struct err *e);
int files_upload_slave(struct files *f, struct str master, struct str prefix,
    struct str ext, uint64_t size, files_source *fn, void *arg,
    char ret_name[FDFS_REMOTE_MAX + 1], struct err *e);
int files_append(struct files *f, struct str name, uint64_t size,
    files_source *fn, void *arg, struct err *e);
int files_modify(struct files *f, struct str name, uint64_t off, uint64_t size,
    files_source *fn, void *arg, struct err *e);
int files_truncate(struct files *f, struct str name, uint64_t size,
    struct err *e);
/* A normal file of another name; the metadata goes along. It is all or nothing
 * (regenerate.c), as each change. */
int files_regenerate(struct files *f, struct str name,
    struct engine_file_info *ret, struct err *e);
int files_delete(struct files *f, struct str name, struct err *e);
int files_set_meta(struct files *f, struct str name, char flag, struct str meta,
    struct err *e);
/* Appended to @ret; ERR_NOT_FOUND without any. */
int files_get_meta(struct files *f, struct str name, struct buf *ret,
    struct err *e);

struct files_info {
	uint64_t size;
	int64_t modified_s;
	uint32_t crc32;
	uint32_t server_id; /* the source, from the name */
	uint64_t tag;       /* another one with every change of the content */
};
/* @want_crc: else that of a list may be 0. */
int files_info(struct files *f, struct str name, bool want_crc,
    struct files_info *ret, struct err *e);

struct files_reader;
int files_reader_open(struct files *f, struct str name,
    struct files_reader **ret, struct files_info *ret_info, struct err *e);
int files_reader_read(struct files_reader *r, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e);
void files_reader_close(struct files_reader **rp);

/* FILE_OP, on the leader, for another node. */
int files_serve(struct files *f, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);

/* One sweep for F4 now, where this node leads; *ret_n: segments deleted. */
int files_sweep(struct files *f, uint64_t *ret_n, struct err *e);

#endif
