/* fdfs/ops.h - the commands as functions, over fdfs/client.h.
 *
 * Errors are those of the call and of the server's status (e->sys_errno has
 * it). Nothing here chooses another server or tries again: that is policy, and
 * the caller's. Threads: any. */
#ifndef FDFS_OPS_H
#define FDFS_OPS_H

#include "fdfs/client.h"
#include "fdfs/storage_codec.h"
#include "fdfs/tracker_codec.h"

#define FDFS_TO_THE_END 0

/* A file as a server names it, terminated. */
struct fdfs_file {
	char group[FDFS_GROUP_LEN + 1];
	char name[FDFS_REMOTE_MAX + 1];
};
/* "group1/M00/..." cut at the first slash. ERR_INVALID. */
int fdfs_file_parse(struct str id, struct fdfs_file *ret, struct err *e);

/* --- tracker --- */

/* Where to upload; @group "" for any, @all for every server. */
int fdfs_ask_store(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct str group, bool all, struct fdfs_servers *ret, struct err *e);
/* @command: FDFS_FETCH_ONE to read, FDFS_FETCH_UPDATE to change. */
int fdfs_ask_fetch(struct fdfs_client *c, const struct fdfs_addr *tracker,
    uint8_t command, struct str group, struct str name,
    struct fdfs_servers *ret, struct err *e);
/* Up to @max records into @ret. */
int fdfs_ask_groups(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct fdfs_group *ret, size_t max, size_t *ret_n, struct err *e);
int fdfs_ask_storages(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct str group, struct str id, struct fdfs_storage *ret, size_t max,
    size_t *ret_n, struct err *e);
/* Appended to @b. */
int fdfs_ask_parameters(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct buf *b, struct err *e);

/* --- storage --- */

/* *ret 0 is the end. */
typedef int fdfs_source(void *arg, void *p, size_t len, size_t *ret,
    struct err *e);
typedef int fdfs_sink(void *arg, const void *p, size_t len, struct err *e);

/* Any request with content (UPLOAD*, APPEND, MODIFY): sends @r->size bytes of
 * @source; one that ends before is ERR_END. @ret, for UPLOAD*, is the new
 * file, else NULL. */
int fdfs_send(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, fdfs_source *source, void *arg,
    struct fdfs_file *ret, struct err *e);
/* @r: FDFS_DOWNLOAD. What was read goes to @sink; *ret_len, which may be read
 * after a failure too, is how much. */
int fdfs_download(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, fdfs_sink *sink, void *arg,
    uint64_t *ret_len, struct err *e);
/* DELETE, TRUNCATE, SET_META: nothing comes back. */
int fdfs_do(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, struct err *e);
/* REGENERATE, CREATE_LINK: a new file. */
int fdfs_do_file(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, struct fdfs_file *ret, struct err *e);
/* The wire form (fdfs/meta.h) appended to @b; ERR_NOT_FOUND with none. */
int fdfs_get_meta(struct fdfs_client *c, const struct fdfs_addr *storage,
    struct str group, struct str name, struct buf *b, struct err *e);
int fdfs_file_info(struct fdfs_client *c, const struct fdfs_addr *storage,
    struct str group, struct str name, uint8_t flags, struct fdfs_info *ret,
    struct err *e);
/* Of either server. */
int fdfs_active_test(struct fdfs_client *c, const struct fdfs_addr *to,
    struct err *e);

#endif
