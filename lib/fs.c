/* lib/fs.c - the one seam to the file system: descriptors and their bytes.
 *
 * EINTR is retried everywhere but on a sync, whose failure always stands. */
#include "lib/fs.h"

#include "lib/fault.h"
#include "lib/thread.h"

#include <errno.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_IO ((size_t)1 << 30) /* below the kernel's limit of one call */

int
fs_open(const char *path, int flags, int *ret_fd, struct err *e)
{
	int err = fault_check(FAULT_OPEN), fd = -1, rc;

	if (err == 0) {
		do
			fd = open(path, flags | O_CLOEXEC, 0600);
		while (fd < 0 && errno == EINTR);
		err = fd < 0 ? errno : 0;
	}
	if (err != 0) {
		rc = err_set_errno(e, err, "open %s", path);
		if (err == EEXIST) {
			rc = ERR_EXISTS;
			if (e != NULL)
				e->code = rc;
		}
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

void
fs_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int
fs_pwrite_all(int fd, struct str data, uint64_t off, struct err *e)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data.p,
		.iov_len = data.len };

	return fs_pwritev_all(fd, &iov, 1, off, e);
}

enum {
	PART = 256
}; /* iovecs in one call; IOV_MAX is 1,024 */

/* Writes the first @len bytes of what is in @iov. */
static int
write_range(int fd, const struct iovec *iov, int n, size_t len, uint64_t off)
{
	size_t done = 0, skip = 0; /* of iov[at] */
	int at = 0;

	while (done < len) {
		struct iovec part[PART];
		size_t sum = 0, in = skip;
		int k = 0;
		ssize_t w;

		for (int i = at;
		     i < n && k < PART && sum < len - done && sum < MAX_IO;
		     i++) {
			size_t left = iov[i].iov_len - in;

			if (left > len - done - sum)
				left = len - done - sum;
			if (left > MAX_IO - sum)
				left = MAX_IO - sum;
			part[k].iov_base = (char *)iov[i].iov_base + in;
			part[k].iov_len = left;
			sum += left;
			in = 0;
			k++;
		}
		if (k == 1)
			w = pwrite(fd, part[0].iov_base, part[0].iov_len,
			    (off_t)(off + done));
		else
			w = pwritev(fd, part, k, (off_t)(off + done));
		if (w < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}
		if (w == 0)
			return EIO;
		done += (size_t)w;
		/* On to the first byte that is not written yet. */
		skip += (size_t)w;
		while (at < n && skip >= iov[at].iov_len)
			skip -= iov[at++].iov_len;
	}
	return 0;
}

int
fs_pwritev_all(int fd, const struct iovec *iov, int n, uint64_t off,
    struct err *e)
{
	int fault = fault_check(FAULT_WRITE), err;
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		if (__builtin_add_overflow(len, iov[i].iov_len, &len))
			return err_set(e, ERR_TOO_BIG, "write over 2^64");
	}
	if (off > (uint64_t)INT64_MAX || len > (uint64_t)INT64_MAX - off)
		return err_set(e, ERR_TOO_BIG, "write beyond 2^63");
	/* An injected failure is a torn write. */
	err = write_range(fd, iov, n, fault != 0 ? len / 2 : len, off);
	if (fault != 0)
		err = fault;
	if (err != 0)
		return err_set_errno(e, err, "write %zu bytes at %ju", len,
		    (uintmax_t)off);
	return 0;
}

/* Says so before it waits for the disk. */
static ssize_t
read_at(int fd, void *p, size_t len, off_t off)
{
	struct iovec v = { p, len };
	ssize_t n;

	if (thread_on_block == NULL)
		return pread(fd, p, len, off);
	n = preadv2(fd, &v, 1, off, RWF_NOWAIT);
	if (n > 0)
		return n;
	thread_blocks();
	return pread(fd, p, len, off);
}

int
fs_pread(int fd, void *p, size_t len, uint64_t off, size_t *ret_len,
    struct err *e)
{
	int err = fault_check(FAULT_READ);
	size_t done = 0;

	if (off > (uint64_t)INT64_MAX || len > (uint64_t)INT64_MAX - off)
		return err_set(e, ERR_TOO_BIG, "read beyond 2^63");
	while (err == 0 && done < len) {
		size_t want = len - done < MAX_IO ? len - done : MAX_IO;
		ssize_t r =
		    read_at(fd, (char *)p + done, want, (off_t)(off + done));

		if (r == 0)
			break;
		if (r > 0)
			done += (size_t)r;
		else if (errno != EINTR)
			err = errno;
	}
	if (err != 0)
		return err_set_errno(e, err, "read %zu bytes at %ju", len,
		    (uintmax_t)off);
	*ret_len = done;
	return 0;
}

int
fs_pread_all(int fd, void *p, size_t len, uint64_t off, struct err *e)
{
	size_t got = 0;
	int rc = fs_pread(fd, p, len, off, &got, e);

	if (rc < 0)
		return rc;
	if (got < len)
		return err_set(e, ERR_END, "file ends at %ju, wanted %zu bytes",
		    (uintmax_t)(off + got), len - got);
	return 0;
}

int
fs_pread_now(int fd, void *p, size_t len, uint64_t off, struct err *e)
{
	struct iovec v = { p, len };

	if (off > (uint64_t)INT64_MAX || fault_check(FAULT_READ) != 0 ||
	    preadv2(fd, &v, 1, (off_t)off, RWF_NOWAIT) != (ssize_t)len)
		return err_set(e, ERR_RETRY, "not at hand");
	return 0;
}

void
fs_want(int fd, uint64_t off, size_t len)
{
	char last;

	/* The advice costs ten times what this question does. */
	if (len > 0 && fs_pread_now(fd, &last, 1, off + len - 1, NULL) < 0)
		(void)posix_fadvise(fd, (off_t)off, (off_t)len,
		    POSIX_FADV_WILLNEED);
}

int
fs_send(int fd, uint64_t off, size_t len, int to, size_t *ret, struct err *e)
{
	off_t at = (off_t)off;
	int err = fault_check(FAULT_READ);
	ssize_t n = 0;

	*ret = 0;
	if (off > (uint64_t)INT64_MAX)
		return err_set(e, ERR_TOO_BIG, "read beyond 2^63");
	if (err == 0) {
		n = sendfile(to, fd, &at, len < MAX_IO ? len : MAX_IO);
		if (n == 0)
			return err_set(e, ERR_END, "file ends before %ju",
			    (uintmax_t)off);
		if (n < 0)
			err = errno;
	}
	if (err == EAGAIN || err == EINTR)
		return 0;
	if (err == EPIPE || err == ECONNRESET || err == ETIMEDOUT) {
		err_set_errno(e, err, "send");
		if (e != NULL)
			e->code = ERR_DISCONNECTED;
		return ERR_DISCONNECTED;
	}
	if (err != 0)
		return err_set_errno(e, err, "send %zu bytes at %ju", len,
		    (uintmax_t)off);
	*ret = (size_t)n;
	return 0;
}

int
fs_fdatasync(int fd, struct err *e)
{
	int err = fault_check(FAULT_SYNC);

	thread_blocks();
	if (err == 0 && fdatasync(fd) != 0)
		err = errno;
	return err == 0 ? 0 : err_set_errno(e, err, "fdatasync");
}

int
fs_fsync(int fd, struct err *e)
{
	int err = fault_check(FAULT_SYNC);

	thread_blocks();
	if (err == 0 && fsync(fd) != 0)
		err = errno;
	return err == 0 ? 0 : err_set_errno(e, err, "fsync");
}

int
fs_truncate(int fd, uint64_t size, struct err *e)
{
	int err = fault_check(FAULT_TRUNCATE);

	if (size > (uint64_t)INT64_MAX)
		return err_set(e, ERR_TOO_BIG, "truncate beyond 2^63");
	while (err == 0 && ftruncate(fd, (off_t)size) != 0) {
		if (errno != EINTR)
			err = errno;
	}
	if (err == 0)
		return 0;
	return err_set_errno(e, err, "truncate to %ju", (uintmax_t)size);
}

int
fs_allocate(int fd, uint64_t off, uint64_t len, struct err *e)
{
	int err = fault_check(FAULT_FALLOCATE);
	uint64_t size;

	if (off > (uint64_t)INT64_MAX || len > (uint64_t)INT64_MAX - off)
		return err_set(e, ERR_TOO_BIG, "allocation beyond 2^63");
	if (len == 0)
		return 0;
	while (err == 0 && fallocate(fd, 0, (off_t)off, (off_t)len) != 0) {
		if (errno != EINTR)
			err = errno;
	}
	if (err == EOPNOTSUPP) {
		/* Space is then taken at each write; the size is as asked. */
		int rc = fs_size(fd, &size, e);

		if (rc < 0)
			return rc;
		return size >= off + len ? 0 : fs_truncate(fd, off + len, e);
	}
	if (err == 0)
		return 0;
	return err_set_errno(e, err, "allocate %ju bytes", (uintmax_t)len);
}

int
fs_punch(int fd, uint64_t off, uint64_t len, struct err *e)
{
	int err = fault_check(FAULT_PUNCH);

	if (off > (uint64_t)INT64_MAX || len > (uint64_t)INT64_MAX - off)
		return err_set(e, ERR_TOO_BIG, "hole beyond 2^63");
	if (len == 0)
		return 0;
	while (err == 0 &&
	       fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		   (off_t)off, (off_t)len) != 0) {
		if (errno != EINTR)
			err = errno;
	}
	if (err == EOPNOTSUPP || err == ENOSYS)
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "this file system cannot punch holes");
	if (err == 0)
		return 0;
	return err_set_errno(e, err, "punch %ju bytes", (uintmax_t)len);
}

int
fs_size(int fd, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_set_errno(e, errno, "fstat");
	*ret = (uint64_t)st.st_size;
	return 0;
}

int
fs_lock(const char *path, int *ret_fd, struct err *e)
{
	int fd, rc, err = 0;

	rc = fs_open(path, O_RDWR | O_CREAT, &fd, e);
	if (rc < 0)
		return rc;
	while (err == 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EINTR)
			err = errno;
	}
	if (err == 0) {
		*ret_fd = fd;
		return 0;
	}
	fs_close(&fd);
	if (err == EWOULDBLOCK)
		return err_set(e, ERR_BUSY, "%s is locked by another process",
		    path);
	return err_set_errno(e, err, "lock %s", path);
}
