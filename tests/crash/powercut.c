/* tests/crash/powercut.c - preloaded recorder of everything a server does to
 * its disks: writes, syncs, renames, truncates, and LMDB's too.
 *
 * LD_PRELOAD=powercut.so CREEL_POWERCUT_ROOT=DIR CREEL_POWERCUT_TRACE=FILE
 *
 * Each change below DIR becomes one record appended to FILE. powercut.py makes
 * disk images from it as a power cut may leave them.
 *
 * R1  A write, rename, ... is recorded after the call has returned, the
 *     beginning of a sync before it and its end after it. So "recorded before
 *     the beginning of a sync whose end is recorded" implies "durable", in
 *     whatever threads they ran.
 * R2  The size of FILE only grows, by whole records: a client that reads it
 *     after an answer knows what had happened by then.
 * R3  Changes of names, and opens, are recorded in the order in which they
 *     happened: each is made and recorded under one lock. Else a file could be
 *     recorded before the folder that another thread has made for it. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum op {
	OP_OPEN = 1,   /* flags 1: created, 2: directory, 4: truncated */
	OP_WRITE,      /* a = offset, data; flags 1: O_DSYNC */
	OP_SYNC_BEGIN, /* a = number of the sync; frames */
	OP_SYNC_END,   /* a = number of the sync, b = result */
	OP_RENAME,
	OP_UNLINK,
	OP_MKDIR,
	OP_RMDIR,
	OP_TRUNCATE, /* a = size */
	OP_ALLOCATE, /* a = offset, b = length, flags 1: keep size */
	OP_PUNCH,    /* a = offset, b = length */
	OP_LINK,
};

struct record {
	uint32_t len; /* whole record */
	uint8_t op, flags;
	uint16_t n_frames, path1, path2; /* path lengths */
	uint32_t data;
	uint64_t ino, a, b;
} __attribute__((packed));

enum {
	FRAMES = 10,
	FDS = 65536
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER; /* R3; outside */
static int trace_fd = -1;
static char root[PATH_MAX];
static size_t root_len;
static uint64_t n_syncs;
static struct {
	uint64_t ino;
	bool is_dir;
	char *path;
} fds[FDS];

static void
die(const char *what)
{
	dprintf(2, "powercut: %s: %s\n", what, strerror(errno));
	_exit(99);
}

__attribute__((constructor)) static void
start(void)
{
	const char *r = getenv("CREEL_POWERCUT_ROOT");
	const char *t = getenv("CREEL_POWERCUT_TRACE");
	void *warm[2];

	if (r == NULL || t == NULL)
		return;
	if (realpath(r, root) == NULL)
		die(r);
	root_len = strlen(root);
	(void)backtrace(warm, 2); /* loads libgcc now, not under our lock */
	trace_fd = (int)syscall(SYS_openat, AT_FDCWD, t,
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace_fd < 0)
		die(t);
}

static void
emit(enum op op, uint8_t flags, uint64_t ino, uint64_t a, uint64_t b,
    const char *path1, const char *path2, const struct iovec *iov, int n_iov,
    uint64_t data, bool want_frames)
{
	void *stack[FRAMES + 2];
	uint64_t frames[FRAMES];
	struct record r = { .op = (uint8_t)op, .flags = flags, .ino = ino };
	struct iovec
	    out[1024]; /* IOV_MAX; a busy writer's batch has hundreds */
	uint64_t left = data;
	ssize_t done;
	int i, n, k = 0;

	if (want_frames) {
		n = backtrace(stack, FRAMES + 2);
		for (i = 2; i < n; i++) {
			Dl_info info;
			uint64_t pc = (uint64_t)stack[i];

			if (dladdr(stack[i], &info) != 0)
				pc -= (uint64_t)info.dli_fbase;
			frames[r.n_frames++] = pc - 1;
		}
	}
	r.a = a;
	r.b = b;
	r.path1 = (uint16_t)(path1 == NULL ? 0 : strlen(path1));
	r.path2 = (uint16_t)(path2 == NULL ? 0 : strlen(path2));
	r.data = (uint32_t)data;
	r.len =
	    (uint32_t)(sizeof(r) + r.n_frames * 8U + r.path1 + r.path2 + data);
	out[k++] = (struct iovec){ &r, sizeof(r) };
	out[k++] = (struct iovec){ frames, r.n_frames * 8U };
	out[k++] = (struct iovec){ (void *)(uintptr_t)path1, r.path1 };
	out[k++] = (struct iovec){ (void *)(uintptr_t)path2, r.path2 };
	for (i = 0; i < n_iov && left > 0; i++) {
		size_t len =
		    iov[i].iov_len < left ? iov[i].iov_len : (size_t)left;

		if (k == (int)(sizeof(out) / sizeof(out[0])))
			die("too many pieces in one writev");
		out[k++] = (struct iovec){ iov[i].iov_base, len };
		left -= len;
	}
	pthread_mutex_lock(&mutex);
	done = syscall(SYS_writev, trace_fd, out, k);
	pthread_mutex_unlock(&mutex);
	if (done != (ssize_t)r.len)
		die("short write to the trace");
}

/* The absolute path below the root, or NULL. */
static char *
below_root(int dir_fd, const char *path, char dst[PATH_MAX])
{
	char dir[PATH_MAX], whole[PATH_MAX * 2], link[64], *slash;
	ssize_t n;

	if (trace_fd < 0 || path == NULL)
		return NULL;
	if (path[0] == '/') {
		snprintf(whole, sizeof(whole), "%s", path);
	} else {
		if (dir_fd == AT_FDCWD)
			snprintf(link, sizeof(link), "/proc/self/cwd");
		else
			snprintf(link, sizeof(link), "/proc/self/fd/%d",
			    dir_fd);
		n = readlink(link, dir, sizeof(dir) - 1);
		if (n < 0)
			return NULL;
		dir[n] = '\0';
		snprintf(whole, sizeof(whole), "%s/%s", dir, path);
	}
	/* The last part may not exist (any more): resolve its folder. */
	slash = strrchr(whole, '/');
	while (slash != NULL && slash > whole && slash[1] == '\0') {
		*slash = '\0';
		slash = strrchr(whole, '/');
	}
	if (slash == NULL)
		return NULL;
	*slash = '\0';
	if (realpath(slash == whole ? "/" : whole, dir) == NULL)
		return NULL;
	snprintf(dst, PATH_MAX, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
	    slash + 1);
	if (strcmp(dst, root) == 0) {
		strcpy(dst, "");
		return dst;
	}
	if (strncmp(dst, root, root_len) != 0 || dst[root_len] != '/')
		return NULL;
	memmove(dst, dst + root_len + 1, strlen(dst + root_len + 1) + 1);
	return dst;
}

static int
open_ours(int dir_fd, const char *path, int flags, mode_t mode, const char *rel)
{
	struct stat st;
	uint8_t f = 0;
	bool was_there = fstatat(dir_fd, path, &st, 0) == 0;
	int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);

	if (fd < 0 || fd >= FDS)
		return fd;
	if (fstat(fd, &st) != 0)
		die("fstat");
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return fd;
	if (!was_there)
		f |= 1;
	if (S_ISDIR(st.st_mode))
		f |= 2;
	if ((flags & O_TRUNC) != 0)
		f |= 4;
	fds[fd].ino = st.st_ino;
	fds[fd].is_dir = S_ISDIR(st.st_mode);
	free(fds[fd].path);
	fds[fd].path = strdup(rel);
	emit(OP_OPEN, f, st.st_ino, 0, 0, rel, NULL, NULL, 0, 0, false);
	return fd;
}

static int
open_any(int dir_fd, const char *path, int flags, mode_t mode)
{
	char rel[PATH_MAX];
	int fd;

	if (below_root(dir_fd, path, rel) == NULL)
		return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
	pthread_mutex_lock(&names);
	fd = open_ours(dir_fd, path, flags, mode, rel);
	pthread_mutex_unlock(&names);
	return fd;
}

#define MODE_OF(flags, last)                                                   \
	mode_t mode = 0;                                                       \
	if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {                        \
		va_list ap;                                                    \
		va_start(ap, last);                                            \
		mode = va_arg(ap, mode_t);                                     \
		va_end(ap);                                                    \
	}

int
open(const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_any(AT_FDCWD, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int
openat(int dir_fd, const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_any(dir_fd, path, flags, mode);
}

int
openat64(int dir_fd, const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_any(dir_fd, path, flags | O_LARGEFILE, mode);
}

int
__open_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

int
__open64_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

static bool
is_ours(int fd)
{
	return trace_fd >= 0 && fd >= 0 && fd < FDS && fds[fd].ino != 0;
}

int
close(int fd)
{
	if (is_ours(fd))
		fds[fd].ino = 0;
	return (int)syscall(SYS_close, fd);
}

static void
wrote(int fd, const struct iovec *iov, int n, uint64_t off, ssize_t done)
{
	int fl;

	if (done <= 0 || !is_ours(fd))
		return;
	fl = fcntl(fd, F_GETFL);
	emit(OP_WRITE, (fl & O_DSYNC) != 0 ? 1 : 0, fds[fd].ino, off, 0, NULL,
	    NULL, iov, n, (uint64_t)done, (fl & O_DSYNC) != 0);
}

static ssize_t
pwrite_any(int fd, const void *p, size_t len, off_t off)
{
	struct iovec iov = { (void *)(uintptr_t)p, len };
	ssize_t done = syscall(SYS_pwrite64, fd, p, len, off);

	wrote(fd, &iov, 1, (uint64_t)off, done);
	return done;
}

ssize_t
pwrite(int fd, const void *p, size_t len, off_t off)
{
	return pwrite_any(fd, p, len, off);
}

ssize_t
pwrite64(int fd, const void *p, size_t len, off64_t off)
{
	return pwrite_any(fd, p, len, off);
}

static ssize_t
pwritev_any(int fd, const struct iovec *iov, int n, off_t off)
{
	ssize_t done = syscall(SYS_pwritev, fd, iov, n, off, 0);

	wrote(fd, iov, n, (uint64_t)off, done);
	return done;
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return pwritev_any(fd, iov, n, off);
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return pwritev_any(fd, iov, n, off);
}

ssize_t
write(int fd, const void *p, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)p, len };
	ssize_t done = syscall(SYS_write, fd, p, len);

	if (done > 0 && is_ours(fd))
		wrote(fd, &iov, 1, (uint64_t)(lseek(fd, 0, SEEK_CUR) - done),
		    done);
	return done;
}

ssize_t
writev(int fd, const struct iovec *iov, int n)
{
	ssize_t done = syscall(SYS_writev, fd, iov, n);

	if (done > 0 && is_ours(fd))
		wrote(fd, iov, n, (uint64_t)(lseek(fd, 0, SEEK_CUR) - done),
		    done);
	return done;
}

static int
sync_any(long number, int fd)
{
	uint64_t id;
	bool ours = is_ours(fd);
	int rc;

	if (ours) {
		id = __atomic_add_fetch(&n_syncs, 1, __ATOMIC_RELAXED);
		emit(OP_SYNC_BEGIN, fds[fd].is_dir ? 2 : 0, fds[fd].ino, id, 0,
		    fds[fd].path, NULL, NULL, 0, 0, true);
	}
	rc = (int)syscall(number, fd);
	if (ours)
		emit(OP_SYNC_END, 0, fds[fd].ino, id,
		    (uint64_t)(rc == 0 ? 0 : 1), NULL, NULL, NULL, 0, 0, false);
	return rc;
}

int
fsync(int fd)
{
	return sync_any(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	return sync_any(SYS_fdatasync, fd);
}

int
msync(void *p, size_t len, int flags)
{
	/* Nothing durable is written through a mapping (LMDB without
	 * MDB_WRITEMAP); a call would mean that this recorder is blind. */
	if (trace_fd >= 0)
		dprintf(2, "powercut: unexpected msync\n");
	return (int)syscall(SYS_msync, p, len, flags);
}

static int
two_paths(enum op op, long number, int from_dir, const char *from, int to_dir,
    const char *to, unsigned flags)
{
	char a[PATH_MAX], b[PATH_MAX];
	bool ours = below_root(from_dir, from, a) != NULL;
	int rc;

	pthread_mutex_lock(&names);
	rc = (int)syscall(number, from_dir, from, to_dir, to, flags);
	if (rc == 0 && ours && below_root(to_dir, to, b) != NULL)
		emit(op, 0, 0, 0, 0, a, b, NULL, 0, 0, false);
	pthread_mutex_unlock(&names);
	return rc;
}

int
rename(const char *from, const char *to)
{
	return two_paths(OP_RENAME, SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to,
	    0);
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return two_paths(OP_RENAME, SYS_renameat2, from_dir, from, to_dir, to,
	    0);
}

int
renameat2(int from_dir, const char *from, int to_dir, const char *to,
    unsigned flags)
{
	return two_paths(OP_RENAME, SYS_renameat2, from_dir, from, to_dir, to,
	    flags);
}

int
link(const char *from, const char *to)
{
	return two_paths(OP_LINK, SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int
one_path(enum op op, int dir_fd, const char *path, long number, long arg)
{
	char a[PATH_MAX];
	bool ours = below_root(dir_fd, path, a) != NULL;
	int rc;

	pthread_mutex_lock(&names);
	rc = (int)syscall(number, dir_fd, path, arg);
	if (rc == 0 && ours)
		emit(op, 0, 0, 0, 0, a, NULL, NULL, 0, 0, false);
	pthread_mutex_unlock(&names);
	return rc;
}

int
unlink(const char *path)
{
	return one_path(OP_UNLINK, AT_FDCWD, path, SYS_unlinkat, 0);
}

int
unlinkat(int dir_fd, const char *path, int flags)
{
	return one_path((flags & AT_REMOVEDIR) != 0 ? OP_RMDIR : OP_UNLINK,
	    dir_fd, path, SYS_unlinkat, flags);
}

int
rmdir(const char *path)
{
	return one_path(OP_RMDIR, AT_FDCWD, path, SYS_unlinkat, AT_REMOVEDIR);
}

int
mkdir(const char *path, mode_t mode)
{
	return one_path(OP_MKDIR, AT_FDCWD, path, SYS_mkdirat, (long)mode);
}

int
mkdirat(int dir_fd, const char *path, mode_t mode)
{
	return one_path(OP_MKDIR, dir_fd, path, SYS_mkdirat, (long)mode);
}

static int
truncate_any(int fd, off_t size)
{
	int rc = (int)syscall(SYS_ftruncate, fd, size);

	if (rc == 0 && is_ours(fd))
		emit(OP_TRUNCATE, 0, fds[fd].ino, (uint64_t)size, 0, NULL, NULL,
		    NULL, 0, 0, false);
	return rc;
}

int
ftruncate(int fd, off_t size)
{
	return truncate_any(fd, size);
}

int
ftruncate64(int fd, off64_t size)
{
	return truncate_any(fd, size);
}

static int
fallocate_any(int fd, int mode, off_t off, off_t len)
{
	int rc = (int)syscall(SYS_fallocate, fd, mode, off, len);

	if (rc != 0 || !is_ours(fd))
		return rc;
	if ((mode & FALLOC_FL_PUNCH_HOLE) != 0 ||
	    (mode & FALLOC_FL_ZERO_RANGE) != 0)
		emit(OP_PUNCH, 0, fds[fd].ino, (uint64_t)off, (uint64_t)len,
		    NULL, NULL, NULL, 0, 0, false);
	if ((mode & FALLOC_FL_PUNCH_HOLE) == 0)
		emit(OP_ALLOCATE, (mode & FALLOC_FL_KEEP_SIZE) != 0 ? 1 : 0,
		    fds[fd].ino, (uint64_t)off, (uint64_t)len, NULL, NULL, NULL,
		    0, 0, false);
	return rc;
}

int
fallocate(int fd, int mode, off_t off, off_t len)
{
	return fallocate_any(fd, mode, off, len);
}

int
fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	return fallocate_any(fd, mode, off, len);
}

int
posix_fallocate(int fd, off_t off, off_t len)
{
	return fallocate_any(fd, 0, off, len) == 0 ? 0 : errno;
}

int
posix_fallocate64(int fd, off64_t off, off64_t len)
{
	return fallocate_any(fd, 0, off, len) == 0 ? 0 : errno;
}
