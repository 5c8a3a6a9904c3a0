/* lib/fs_path.c - the seam to the file system: names, directories and whole
 * files (lib/fs.h). */
#include "lib/fs.h"

#include "lib/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int
fs_join(char *dst, size_t size, const char *dir, const char *name,
    struct err *e)
{
	int n = snprintf(dst, size, "%s/%s", dir, name);

	if (n < 0 || (size_t)n >= size)
		return err_set(e, ERR_TOO_BIG, "path too long: %.100s/%.100s",
		    dir, name);
	return 0;
}

int
fs_sync_dir(const char *path, struct err *e)
{
	int err = fault_check(FAULT_SYNC), fd, rc;

	if (err != 0)
		return err_set_errno(e, err, "fsync %s", path);
	rc = fs_open(path, O_RDONLY | O_DIRECTORY, &fd, e);
	if (rc < 0)
		return rc;
	if (fsync(fd) != 0)
		rc = err_set_errno(e, errno, "fsync %s", path);
	fs_close(&fd);
	return rc;
}

int
fs_sync_parent(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len;

	if (slash == NULL)
		return fs_sync_dir(".", e);
	len = slash == path ? 1 : (size_t)(slash - path);
	if (len >= sizeof(dir))
		return err_set(e, ERR_TOO_BIG, "path too long: %.200s", path);
	memcpy(dir, path, len);
	dir[len] = '\0';
	return fs_sync_dir(dir, e);
}

int
fs_rename(const char *from, const char *to, struct err *e)
{
	int err = fault_check(FAULT_RENAME);

	if (err == 0 && rename(from, to) != 0)
		err = errno;
	if (err == 0)
		return 0;
	return err_set_errno(e, err, "rename %.90s to %.90s", from, to);
}

int
fs_unlink(const char *path, struct err *e)
{
	int err = fault_check(FAULT_UNLINK);

	if (err == 0 && unlink(path) != 0)
		err = errno;
	return err == 0 ? 0 : err_set_errno(e, err, "unlink %s", path);
}

bool
fs_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

bool
fs_is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
fs_device(const char *path, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set_errno(e, errno, "stat %s", path);
	*ret = st.st_dev;
	return 0;
}

int
fs_mkdir(const char *path, struct err *e)
{
	int err = fault_check(FAULT_MKDIR);

	if (err == 0 && mkdir(path, 0700) != 0)
		err = errno;
	if (err == 0 || (err == EEXIST && fs_is_dir(path)))
		return 0;
	return err_set_errno(e, err, "mkdir %s", path);
}

/* An earlier run may have made it and died before the sync, so an existing one
 * is synced again; but where we may not open its parent it is not ours. */
static int
make_durable(const char *path, struct err *e)
{
	bool is_there = fs_is_dir(path);
	struct err why = ERR_INIT;
	int rc = fs_mkdir(path, e);

	if (rc < 0)
		return rc;
	rc = fs_sync_parent(path, &why);
	if (rc < 0 && is_there &&
	    (why.sys_errno == EACCES || why.sys_errno == EPERM ||
		why.sys_errno == EROFS))
		return 0;
	if (rc < 0 && e != NULL)
		*e = why;
	return rc;
}

int
fs_mkdir_p(const char *path, struct err *e)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int rc;

	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0 || len >= sizeof(part))
		return err_set(e, ERR_INVALID, "bad path: %.200s", path);
	memcpy(part, path, len);
	part[len] = '\0';
	for (size_t i = 1; i < len; i++) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		/* A parent that is there may well forbid mkdir (read-only). */
		rc = fs_is_dir(part) ? 0 : make_durable(part, e);
		if (rc < 0)
			return rc;
		part[i] = '/';
	}
	return make_durable(part, e);
}

int
fs_space(const char *path, struct fs_space *ret, struct err *e)
{
	struct statvfs st;

	if (statvfs(path, &st) != 0)
		return err_set_errno(e, errno, "statvfs %s", path);
	*ret = (struct fs_space){
		.total = (uint64_t)st.f_blocks * st.f_frsize,
		.avail = (uint64_t)st.f_bavail * st.f_frsize,
	};
	return 0;
}

int
fs_birthmark(const char *path, char dst[FS_BIRTHMARK], struct err *e)
{
	struct statx st;

	if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st) != 0)
		return err_set_errno(e, errno, "statx %s", path);
	if ((st.stx_mask & STATX_BTIME) != 0 && st.stx_btime.tv_sec != 0)
		snprintf(dst, FS_BIRTHMARK, "born %jd.%09u",
		    (intmax_t)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
	else
		snprintf(dst, FS_BIRTHMARK, "inode %ju", (uintmax_t)st.stx_ino);
	return 0;
}

int
fs_read_file(const char *path, size_t max, struct buf *ret, struct err *e)
{
	size_t at = 0, got;
	int fd, rc;

	rc = fs_open(path, O_RDONLY, &fd, e);
	if (rc < 0)
		return rc;
	buf_reset(ret);
	/* Not by its size: files of /proc say 0, others may grow meanwhile. */
	do {
		char part[8192];

		rc = fs_pread(fd, part, sizeof(part), at, &got, e);
		if (rc < 0)
			break;
		at += got;
		rc = at > max ? ERR_TOO_BIG : buf_add(ret, part, got);
		if (rc < 0)
			err_set(e, rc, "%s: %s", path,
			    rc == ERR_TOO_BIG ? "file too large"
					      : err_text(rc));
		if (got < sizeof(part))
			break;
	} while (rc == 0);
	fs_close(&fd);
	if (rc < 0)
		buf_reset(ret);
	return rc;
}

int
fs_write_file(const char *path, struct str data, mode_t mode, struct err *e)
{
	char tmp[PATH_MAX];
	int n = snprintf(tmp, sizeof(tmp), "%s.tmp", path), fd = -1, rc;

	if (n < 0 || (size_t)n >= sizeof(tmp))
		return err_set(e, ERR_TOO_BIG, "path too long: %.200s", path);
	/* What a crash left under this name may have another mode. */
	if (unlink(tmp) != 0 && errno != ENOENT)
		return err_set_errno(e, errno, "unlink %s", tmp);
	rc = fs_open(tmp, O_WRONLY | O_CREAT | O_EXCL, &fd, e);
	if (rc < 0)
		return rc;
	if (fchmod(fd, mode) != 0)
		rc = err_set_errno(e, errno, "chmod %s", tmp);
	if (rc == 0)
		rc = fs_pwrite_all(fd, data, 0, e);
	if (rc == 0)
		rc = fs_fsync(fd, e);
	fs_close(&fd);
	if (rc == 0)
		rc = fs_rename(tmp, path, e);
	if (rc < 0) {
		unlink(tmp);
		return rc;
	}
	return fs_sync_parent(path, e);
}

int
fs_each(const char *dir, int (*fn)(void *arg, const char *name), void *arg,
    struct err *e)
{
	int err = fault_check(FAULT_OPEN), rc = 0;
	struct dirent *d;
	DIR *h = NULL;

	if (err == 0) {
		h = opendir(dir);
		err = h == NULL ? errno : 0;
	}
	if (err != 0)
		return err_set_errno(e, err, "open %s", dir);
	while (rc == 0) {
		errno = fault_check(FAULT_READ);
		d = errno == 0 ? readdir(h) : NULL;
		if (d == NULL) {
			if (errno != 0)
				rc = err_set_errno(e, errno, "read %s", dir);
			break;
		}
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			rc = fn(arg, d->d_name);
	}
	closedir(h);
	return rc;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int err = fault_check(FAULT_UNLINK);

	(void)st;
	(void)type;
	(void)ftw;
	if (err == 0 && remove(path) != 0)
		err = errno;
	return err;
}

int
fs_remove_tree(const char *path, struct err *e)
{
	int rc, tries = 0;

	/* A folder that changes while it is read may show only part of itself. */
	do {
		rc = nftw(path, remove_one, 16,
		    FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		if (rc < 0)
			rc = errno;
	} while (rc == ENOTEMPTY && tries++ < 16);
	if (rc == 0 || rc == ENOENT)
		return 0;
	return err_set_errno(e, rc, "remove %s", path);
}
