/* lib/fs.h - the one seam to the file system.
 *
 * All files are O_CLOEXEC, 64-bit, mode 0600 (directories 0700) unless said
 * otherwise. Functions return 0 or ERR_* with path and errno text in @e. Every
 * one passes lib/fault.h first. A failed sync must never be retried by the
 * caller (the kernel has dropped the dirty pages). */
#ifndef LIB_FS_H
#define LIB_FS_H

#include "lib/err.h"
#include "lib/str.h"

#include <fcntl.h>
#include <sys/types.h>

/* Any open(2) flags; ERR_NOT_FOUND when it is not there, ERR_EXISTS with
 * O_EXCL when it is. */
int fs_open(const char *path, int flags, int *ret_fd, struct err *e);
void fs_close(int *fd); /* -1 is fine; sets -1 */

int fs_pwrite_all(int fd, struct str data, uint64_t off, struct err *e);
struct iovec;
int fs_pwritev_all(int fd, const struct iovec *iov, int n, uint64_t off,
    struct err *e); /* iov is not changed */
/* Reads up to @len; *ret_len is short only at the end of the file. */
int fs_pread(int fd, void *p, size_t len, uint64_t off, size_t *ret_len,
    struct err *e);
/* Exactly @len, else ERR_END. */
int fs_pread_all(int fd, void *p, size_t len, uint64_t off, struct err *e);
/* All of it from the page cache, at once; ERR_RETRY when that can't be, for
 * whatever reason. */
int fs_pread_now(int fd, void *p, size_t len, uint64_t off, struct err *e);
/* This is wanted soon: what is not in the page cache is fetched in requests as
 * large as the disk takes, not in those of the kernel's read-ahead. */
void fs_want(int fd, uint64_t off, size_t len);

/* Up to @len bytes at @off to the socket @to, which must not block, without a
 * copy. *ret 0: it takes none at the moment. ERR_END: the file ends before @off.
 * ERR_DISCONNECTED: nobody is at the socket's other end (SIGPIPE is ignored by
 * who calls). Any other error is the file's. */
int fs_send(int fd, uint64_t off, size_t len, int to, size_t *ret,
    struct err *e);
int fs_fdatasync(int fd, struct err *e);
int fs_fsync(int fd, struct err *e);
int fs_sync_dir(const char *path, struct err *e);
int fs_sync_parent(const char *path, struct err *e); /* of a file's name */
int fs_rename(const char *from, const char *to, struct err *e);
int fs_unlink(const char *path, struct err *e); /* ERR_NOT_FOUND if absent */
int fs_mkdir(const char *path, struct err *e);  /* existing directory is fine */
int fs_mkdir_p(const char *path, struct err *e); /* with parents; durable */
int fs_truncate(int fd, uint64_t size, struct err *e);
/* Grows the file too. A file system that cannot only grows it. */
int fs_allocate(int fd, uint64_t off, uint64_t len, struct err *e);
/* Not there on this file system: ERR_NOT_IMPLEMENTED. */
int fs_punch(int fd, uint64_t off, uint64_t len, struct err *e);
int fs_size(int fd, uint64_t *ret, struct err *e);
bool fs_exists(const char *path);
bool fs_is_dir(const char *path);
/* A number that only files of the same file system share. */
int fs_device(const char *path, uint64_t *ret, struct err *e);
/* dir/name; ERR_TOO_BIG. */
int fs_join(char *dst, size_t size, const char *dir, const char *name,
    struct err *e);

struct fs_space {
	uint64_t total, avail; /* bytes; avail is what this user may use */
};
int fs_space(const char *path, struct fs_space *ret, struct err *e);

/* What a file has and its copies have not: when it was made, or, on a file system
 * that does not know, its inode. It stays with a rename. Two of different kinds
 * (the first letter) can't be compared. */
#define FS_BIRTHMARK 48
int fs_birthmark(const char *path, char dst[FS_BIRTHMARK], struct err *e);

/* Exclusive lock held as long as *ret_fd stays open; ERR_BUSY if taken. */
int fs_lock(const char *path, int *ret_fd, struct err *e);

/* Whole small file; at most @max bytes, else ERR_TOO_BIG. */
int fs_read_file(const char *path, size_t max, struct buf *ret, struct err *e);
/* Durable replacement: temporary file beside it (PATH.tmp, so one writer per
 * path), fsync, rename, fsync of the directory. On failure the old content
 * stands, unless it was the last step that failed: then either may. */
int fs_write_file(const char *path, struct str data, mode_t mode,
    struct err *e);
/* Calls fn for each entry but . and .., in no order; a non-zero result stops
 * and is returned. */
int fs_each(const char *dir, int (*fn)(void *arg, const char *name), void *arg,
    struct err *e);
/* Removes a tree (absent is fine); for tests and for what rebuild discards. */
int fs_remove_tree(const char *path, struct err *e);

#endif
