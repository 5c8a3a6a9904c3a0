/* storage/files/files.h - what FastDFS's clients call a file, on a group.
 *
 * A normal file is one immutable file of class FASTDFS. An appender or a slave
 * is a list (class LIST, under the client's name): a small versioned file that
 * names immutable segments (class SEGMENT) with offset and length; a change
 * writes new segments first, as an upload, and then a new version of the list
 * through the group's leader (FILE_OP), so that nothing is modified in place.
 * Metadata is a small versioned file of class META, named after its file with
 * `-m` behind.
 * F1  Files of other classes (S3, INDEX, SEGMENT, META) do not exist for any
 *     function here: ERR_NOT_FOUND.
 * F2  A change is there for every reader of any node once it was acknowledged.
 * F3  A list's length stays within FILES_SEGMENTS: small neighbours are merged.
 * F4  A segment that no list names goes after a day; one that a list names
 *     never does.
 * Errors are those that fdfs_status_of() maps as FASTDFS.md says. Threads: any. */
#ifndef STORAGE_FILES_FILES_H
#define STORAGE_FILES_FILES_H

#include "fdfs/meta.h"
#include "fdfs/storage_codec.h"
#include "storage/replication/rep.h"

#define FILES_SEGMENTS 4096

struct files;
int files_open(struct rep *r, struct members *m, const struct rep_env *env,
    struct files **ret, struct err *e);
void files_close(struct files **fp);

/* @fn gives the content: *ret 0 at its end. */
typedef int files_source(void *arg, void *p, size_t len, size_t *ret,
    struct err *e);

/* All names are remote names (without the group). */
int files_upload(struct files *f, int path_no, bool is_appender, struct str ext,
    uint64_t size, files_source *fn, void *arg, struct engine_file_info *ret,
    struct err *e);
int files_upload_slave(struct files *f, struct str master, struct str prefix,
    struct str ext, uint64_t size, files_source *fn, void *arg,
    char ret_name[FDFS_REMOTE_MAX + 1], struct err *e);
int files_append(struct files *f, struct str name, uint64_t size,
    files_source *fn, void *arg, struct err *e);
int files_modify(struct files *f, struct str name, uint64_t off, uint64_t size,
    files_source *fn, void *arg, struct err *e);
int files_truncate(struct files *f, struct str name, uint64_t size,
    struct err *e);
/* Keeps the metadata. */
int files_regenerate(struct files *f, struct str name,
    struct engine_file_info *ret, struct err *e);
int files_delete(struct files *f, struct str name, struct err *e);
int files_set_meta(struct files *f, struct str name, char flag, struct str meta,
    struct err *e);
int files_get_meta(struct files *f, struct str name, struct buf *ret,
    struct err *e);

struct files_info {
	uint64_t size;
	int64_t modified_s;
	uint32_t crc32;
	uint32_t server_id; /* the source, from the name */
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

#endif
