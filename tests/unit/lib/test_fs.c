/* tests/unit/lib/test_fs.c - the seam to the file system, with faults. */
#include "lib/err.h"
#include "lib/fault.h"
#include "lib/fs.h"
#include "lib/rand.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/creel-fs-XXXXXX";
static struct err e;

static const char *
path(const char *name)
{
	static char all[4][256];
	static unsigned i;

	i = (i + 1) % 4;
	assert_int_equal(fs_join(all[i], sizeof(all[i]), dir, name, &e), 0);
	return all[i];
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir, NULL);
}

/* After every test: nothing armed. */
static int
disarm(void **state)
{
	(void)state;
	fault_disarm();
	return 0;
}

static int
new_file(const char *name)
{
	int fd;

	assert_int_equal(fs_open(path(name), O_RDWR | O_CREAT | O_EXCL, &fd,
			     &e),
	    0);
	return fd;
}

static void
test_open(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(fs_open(path("none"), O_RDONLY, &fd, &e),
	    ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "/none: No such file"));
	fd = new_file("open");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	fs_close(&fd);
	assert_int_equal(fd, -1);
	fs_close(&fd);
	assert_int_equal(fs_open(path("open"), O_WRONLY | O_CREAT | O_EXCL, &fd,
			     &e),
	    ERR_EXISTS);
	assert_int_equal(e.code, ERR_EXISTS);
	assert_true(fs_exists(path("open")));
	assert_false(fs_is_dir(path("open")));
	assert_int_equal(fs_unlink(path("open"), &e), 0);
	assert_int_equal(fs_unlink(path("open"), &e), ERR_NOT_FOUND);
}

static void
test_read_write(void **state)
{
	uint8_t want[10000], got[10000];
	struct iovec iov[40];
	size_t at = 0, n;
	int fd = new_file("rw");

	(void)state;
	rand_bytes(want, sizeof(want));
	/* More pieces than one call takes, some of them empty. */
	for (int i = 0; i < 40; i++) {
		size_t len = i == 39      ? sizeof(want) - at
		             : i % 5 == 0 ? 0
		                          : (size_t)i * 10;

		iov[i] = (struct iovec){ want + at, len };
		at += len;
	}
	assert_int_equal(fs_pwritev_all(fd, iov, 40, 3, &e), 0);
	assert_int_equal(fs_pread_all(fd, got, sizeof(got), 3, &e), 0);
	assert_memory_equal(want, got, sizeof(got));
	assert_int_equal(fs_pwrite_all(fd, str_mem("abc", 3), 0, &e), 0);
	assert_int_equal(fs_pread(fd, got, sizeof(got), 10000, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(got, want + sizeof(want) - 3, 3);
	assert_int_equal(fs_pread_all(fd, got, 4, 10000, &e), ERR_END);
	assert_int_equal(fs_pread(fd, got, 1, 1 << 20, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(fs_pwrite_all(fd, STR_NULL, 0, &e), 0);
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("x"), INT64_MAX, &e),
	    ERR_TOO_BIG);
	assert_int_equal(fs_pread(fd, got, 1, UINT64_MAX, &n, &e), ERR_TOO_BIG);
	fs_close(&fd);
	assert_int_equal(fs_open(path("rw"), O_RDONLY, &fd, &e), 0);
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("x"), 0, &e), ERR_IO);
	assert_int_equal(e.sys_errno, EBADF);
	fs_close(&fd);
}

static void
test_torn_write(void **state)
{
	uint64_t size;
	char got[8];
	int fd = new_file("torn");

	(void)state;
	fault_arm(FAULT_WRITE, 2, ENOSPC, false);
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("12345678"), 0, &e), 0);
	assert_false(fault_fired());
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("abcdefgh"), 8, &e),
	    ERR_NO_SPACE);
	assert_true(fault_fired());
	assert_int_equal(fs_size(fd, &size, &e), 0);
	assert_int_equal(size, 12);
	assert_int_equal(fs_pread_all(fd, got, 4, 8, &e), 0);
	assert_memory_equal(got, "abcd", 4);
	assert_int_equal(fs_pwrite_all(fd, STR_LIT("abcdefgh"), 8, &e), 0);
	/* A dead disk stays dead; other kinds go on. */
	fault_arm(FAULT_WRITE, 1, EIO, true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fs_pwrite_all(fd, STR_LIT("x"), 0, &e),
		    ERR_IO);
	assert_int_equal(fs_fdatasync(fd, &e), 0);
	assert_int_equal(fs_pread_all(fd, got, 1, 0, &e), 0);
	fs_close(&fd);
}

static void
test_space(void **state)
{
	struct fs_space sp;
	uint64_t size;
	struct stat st;
	int fd = new_file("space"), rc;

	(void)state;
	assert_int_equal(fs_space(dir, &sp, &e), 0);
	assert_true(sp.total >= sp.avail && sp.total > 0);
	assert_int_equal(fs_space(path("none"), &sp, &e), ERR_NOT_FOUND);
	assert_int_equal(fs_allocate(fd, 0, 1 << 20, &e), 0);
	assert_int_equal(fs_size(fd, &size, &e), 0);
	assert_int_equal(size, 1 << 20);
	rc = fs_punch(fd, 0, 1 << 19, &e);
	assert_true(rc == 0 || rc == ERR_NOT_IMPLEMENTED);
	assert_int_equal(fstat(fd, &st), 0);
	if (rc == 0)
		assert_true(st.st_blocks * 512 < 1 << 20);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(fs_truncate(fd, 5, &e), 0);
	assert_int_equal(fs_size(fd, &size, &e), 0);
	assert_int_equal(size, 5);
	/* Where the file system cannot, the size is as asked all the same. */
	fault_arm(FAULT_FALLOCATE, 1, EOPNOTSUPP, false);
	assert_int_equal(fs_allocate(fd, 10, 10, &e), 0);
	assert_true(fault_fired());
	assert_int_equal(fs_size(fd, &size, &e), 0);
	assert_int_equal(size, 20);
	fault_arm(FAULT_PUNCH, 1, EOPNOTSUPP, false);
	assert_int_equal(fs_punch(fd, 0, 4096, &e), ERR_NOT_IMPLEMENTED);
	fs_close(&fd);
}

static void
test_every_kind(void **state)
{
	static const char *const names[FAULT_KINDS] = { "open", "read", "write",
		"sync", "rename", "unlink", "mkdir", "truncate", "fallocate",
		"punch", "alloc" };
	struct buf b = BUF_CAP(100);
	int fd = new_file("kinds");
	char c;

	(void)state;
	for (int k = 0; k < FAULT_KINDS; k++) {
		int rc = 0, rc2 = ERR_IO, fd2 = -1;

		fault_arm((enum fault_kind)k, 1, EIO, true);
		switch ((enum fault_kind)k) {
		case FAULT_OPEN:
			rc = fs_open(path("kinds"), O_RDONLY, &fd2, &e);
			rc2 = fs_sync_dir(dir, &e);
			break;
		case FAULT_READ:
			rc = fs_pread_all(fd, &c, 1, 0, &e);
			break;
		case FAULT_WRITE:
			rc = fs_pwrite_all(fd, STR_LIT("x"), 0, &e);
			break;
		case FAULT_SYNC:
			rc = fs_fsync(fd, &e);
			rc2 = fs_sync_dir(dir, &e);
			break;
		case FAULT_RENAME:
			rc = fs_rename(path("kinds"), path("k2"), &e);
			break;
		case FAULT_UNLINK:
			rc = fs_unlink(path("kinds"), &e);
			rc2 = fs_remove_tree(path("kinds"), &e);
			break;
		case FAULT_MKDIR:
			rc = fs_mkdir(path("d"), &e);
			break;
		case FAULT_TRUNCATE:
			rc = fs_truncate(fd, 0, &e);
			break;
		case FAULT_FALLOCATE:
			rc = fs_allocate(fd, 0, 1, &e);
			break;
		case FAULT_PUNCH:
			rc = fs_punch(fd, 0, 4096, &e);
			break;
		default:
			rc = buf_addc(&b, 'x') == ERR_NO_MEMORY ? ERR_IO : 0;
			break;
		}
		if (rc != ERR_IO || rc2 != ERR_IO || !fault_fired())
			fail_msg("%s: %d %d", names[k], rc, rc2);
		fault_disarm();
	}
	assert_true(fs_exists(path("kinds")));
	assert_false(fs_exists(path("d")));
	buf_fini(&b);
	fs_close(&fd);
}

static int
count(void *arg, const char *name)
{
	int *n = arg;

	assert_string_not_equal(name, ".");
	return ++*n == 3 ? 7 : 0;
}

static void
test_dirs(void **state)
{
	char name[300];
	int n = 0;

	(void)state;
	assert_int_equal(fs_mkdir_p(path("a/b/c"), &e), 0);
	assert_int_equal(fs_mkdir_p(path("a/b/c"), &e), 0);
	assert_int_equal(fs_mkdir(path("a"), &e), 0);
	assert_true(fs_is_dir(path("a/b/c")));
	assert_int_equal(fs_write_file(path("a/f"), STR_LIT("x"), 0644, &e), 0);
	assert_true(fs_mkdir(path("a/f"), &e) < 0); /* a file is in the way */
	assert_true(fs_mkdir_p(path("a/f/g"), &e) < 0);
	assert_int_equal(fs_mkdir_p("", &e), ERR_INVALID);
	assert_int_equal(fs_each(path("a"), count, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(fs_each(path("a"), count, &n, &e), 7);
	assert_int_equal(fs_each(path("none"), count, &n, &e), ERR_NOT_FOUND);
	assert_int_equal(symlink("/etc", path("a/link")), 0);
	assert_int_equal(fs_remove_tree(path("a"), &e), 0);
	assert_false(fs_exists(path("a")));
	assert_true(fs_exists("/etc/passwd")); /* links are not followed */
	assert_int_equal(fs_remove_tree(path("a"), &e), 0);
	assert_int_equal(fs_sync_parent(path("x"), &e), 0);
	assert_int_equal(fs_sync_parent("/x", &e), 0);
	assert_int_equal(fs_sync_parent("x", &e), 0);
	assert_int_equal(fs_sync_parent(path("none/x"), &e), ERR_NOT_FOUND);
	assert_int_equal(fs_join(name, 10, dir, "x", &e), ERR_TOO_BIG);
}

static void
test_lock(void **state)
{
	int fd, second;

	(void)state;
	assert_int_equal(fs_lock(path("lock"), &fd, &e), 0);
	assert_int_equal(fs_lock(path("lock"), &second, &e), ERR_BUSY);
	assert_non_null(strstr(e.msg, "locked by another process"));
	fs_close(&fd);
	assert_int_equal(fs_lock(path("lock"), &fd, &e), 0);
	fs_close(&fd);
}

static void
test_read_file(void **state)
{
	struct buf b = BUF_CAP(30000);
	char text[20000];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(fs_write_file(path("read"), str_mem(text, 20000), 0640,
			     &e),
	    0);
	assert_int_equal(fs_read_file(path("read"), 20000, &b, &e), 0);
	assert_int_equal(b.len, 20000);
	assert_int_equal(fs_read_file(path("read"), 19999, &b, &e),
	    ERR_TOO_BIG);
	assert_int_equal(b.len, 0);
	assert_int_equal(fs_read_file(path("none"), 10, &b, &e), ERR_NOT_FOUND);
	assert_int_equal(fs_read_file("/proc/self/stat", 8000, &b, &e), 0);
	assert_true(b.len > 0);
	assert_true(fs_read_file(dir, 100, &b, &e) < 0);
	assert_int_equal(fs_write_file(path("read"), STR_NULL, 0640, &e), 0);
	assert_int_equal(fs_read_file(path("read"), 0, &b, &e), 0);
	assert_int_equal(b.len, 0);
	buf_fini(&b);
	b = (struct buf)BUF_CAP(10);
	assert_int_equal(fs_read_file("/proc/self/stat", 8000, &b, &e),
	    ERR_TOO_BIG);
	buf_fini(&b);
}

/* Fails each call in turn, then all from it on: the file is the old or the new
 * one, whole, and nothing stays beside it unless unlink itself was dead. */
static void
test_write_file_atomic(void **state)
{
	const struct str old = STR_LIT("the old content"),
			 new = STR_LIT("new, and of another length");
	struct buf b = BUF_CAP(1000);
	unsigned long n = 0;
	struct stat st;
	bool fired;

	(void)state;
	do {
		int rc;

		n++;
		assert_int_equal(fs_write_file(path("whole"), old, 0600, &e),
		    0);
		fault_arm(FAULT_ANY, n, n % 2 ? EIO : ENOSPC, true);
		rc = fs_write_file(path("whole"), new, 0640, &e);
		fired = fault_fired();
		fault_disarm();
		assert_int_equal(rc == 0, !fired);
		assert_int_equal(fs_read_file(path("whole"), 1000, &b, &e), 0);
		if (!str_eq(buf_str(&b), rc == 0 ? new : old))
			/* after the rename: the directory's sync and open */
			assert_true(str_eq(buf_str(&b), new) && n >= 5);
		assert_false(fs_exists(path("whole.tmp")));
	} while (fired && n < 100);
	assert_int_equal(n,
	    6 + 1); /* open write sync rename sync open, clean */
	assert_int_equal(stat(path("whole"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	/* What a crash left behind is no obstacle. */
	assert_int_equal(fs_write_file(path("whole.tmp"), old, 0400, &e), 0);
	assert_int_equal(fs_write_file(path("whole"), old, 0600, &e), 0);
	assert_false(fs_exists(path("whole.tmp")));
	buf_fini(&b);
}

/* It goes with the file, and not with its bytes. */
static void
test_birthmark(void **state)
{
	char first[FS_BIRTHMARK], moved[FS_BIRTHMARK], other[FS_BIRTHMARK];
	int fd;

	(void)state;
	fd = new_file("mark");
	fs_close(&fd);
	assert_int_equal(fs_birthmark(path("mark"), first, &e), 0);
	usleep(20000);
	assert_int_equal(fs_rename(path("mark"), path("moved"), &e), 0);
	assert_int_equal(fs_birthmark(path("moved"), moved, &e), 0);
	assert_string_equal(first, moved);
	fd = new_file("mark");
	fs_close(&fd);
	assert_int_equal(fs_birthmark(path("mark"), other, &e), 0);
	assert_string_not_equal(first, other);
	assert_int_equal(fs_birthmark(path("nothing"), other, &e),
	    ERR_NOT_FOUND);
}

/* How many of the first @n pages of @fd are in the page cache. */
static size_t
at_hand(int fd, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), here = 0;
	void *p = mmap(NULL, n * page, PROT_READ, MAP_SHARED, fd, 0);
	unsigned char in[16];

	assert_true(p != MAP_FAILED && n <= sizeof(in));
	assert_int_equal(mincore(p, n * page, in), 0);
	munmap(p, n * page);
	for (size_t i = 0; i < n; i++)
		here += in[i] & 1;
	return here;
}

/* All of it is fetched, not only what is looked at. */
static void
test_want(void **state)
{
	static char content[1 << 20];
	int fd = new_file("want");

	(void)state;
	memset(content, 'w', sizeof(content));
	assert_int_equal(fs_pwrite_all(fd, str_mem(content, sizeof(content)), 0,
			     &e),
	    0);
	assert_int_equal(fs_fsync(fd, &e), 0);
	fs_want(fd, 0, 0);
	fs_want(fd, 0, sizeof(content)); /* it is there */
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	if (at_hand(fd, 16) == 0) { /* not on tmpfs */
		fs_want(fd, 0, sizeof(content));
		for (int i = 0; i < 1000 && at_hand(fd, 16) < 16; i++)
			usleep(10000);
		assert_int_equal(at_hand(fd, 16), 16);
	}
	fs_want(fd, UINT64_MAX - 5, 5);
	fs_want(-1, 0, 5);
	fs_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_open, disarm),
		cmocka_unit_test_teardown(test_read_write, disarm),
		cmocka_unit_test_teardown(test_torn_write, disarm),
		cmocka_unit_test_teardown(test_space, disarm),
		cmocka_unit_test_teardown(test_every_kind, disarm),
		cmocka_unit_test_teardown(test_dirs, disarm),
		cmocka_unit_test_teardown(test_lock, disarm),
		cmocka_unit_test_teardown(test_read_file, disarm),
		cmocka_unit_test_teardown(test_write_file_atomic, disarm),
		cmocka_unit_test_teardown(test_birthmark, disarm),
		cmocka_unit_test_teardown(test_want, disarm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
