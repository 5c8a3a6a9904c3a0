/* storage/engine/large.c - large files: one file each under data/HH/HH/.
 *
 *   data | block checksums | needle header | trailer
 *
 * G1  The file, and its name's directory, are synced before the log record is
 *     written: a log record means a whole file.
 * G2  While it is written, and until its log record is durable, the file also
 *     has a name in tmp/. After a crash tmp/ alone says what is unfinished.
 * G3  Each version has a name of its own, so that neither a reader nor a crash
 *     can take one for another. The same version is written again by renaming
 *     the whole new file over the damaged one.
 * Threads: one writer per large_writer; the rest any. */
#include "storage/engine/engine_int.h"

#include "fdfs/file_id.h"
#include "lib/bytes.h"
#include "lib/fault.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Start writing back early, so that the sync at the end finds little to do. */
enum {
	WRITEBACK = 4 * 1024 * 1024
};
/* 256 GiB: the checksums of the blocks (16 MiB) are kept in memory. */
#define MAX_SIZE (UINT64_C(256) << 30)

/* From here on a file goes to the disk directly and by way of largeio.c: the
 * page cache would cost more than the checksums. */
#define DIRECT_MIN ((uint64_t)8 << 20)
#define SECTOR ENGINE_LEND_ALIGN
enum {
	TOGETHER = 4 /* pieces: a thread that is woken has something to do */
};

struct large_writer {
	struct path *p;
	int fd, direct;         /* direct: O_DIRECT, or -1 */
	uint64_t accepted;      /* bytes taken, and summed up */
	uint64_t size, started; /* bytes written; given to the disk so far */
	uint32_t crc32;
	uint32_t block; /* CRC32C of the unfinished block */
	uint32_t *blocks;
	size_t n_blocks, cap_blocks;
	/* by way of largeio.c; fd, direct, size and started are then the job's
	 * while it has pieces to do */
	bool is_async;
	uint8_t *bufs[2]; /* NULL until something has to be copied */
	size_t fill;      /* of bufs[0] */
	struct io_job job;
	char tmp[PATH_MAX], name[PATH_MAX]; /* name: "" until it is given */
};

/* '~' is in no file ID. */
#define VERSION_MARK '~'

static int
file_path(const struct path *p, struct str id, uint64_t version,
    char dst[PATH_MAX], struct err *e)
{
	struct fdfs_file_id f;
	char suffix[20] = "";
	ptrdiff_t slash = str_chr(id, '/');
	int n, rc = fdfs_id_parse(id, &f, e);

	if (rc < 0)
		return rc;
	/* group/M00/05/0A/name: what is behind M00. */
	id = str_skip(id, (size_t)slash + 5);
	if (version > 1)
		snprintf(suffix, sizeof(suffix), "%c%016" PRIx64, VERSION_MARK,
		    version);
	n = snprintf(dst, PATH_MAX, "%s/data/" STR_FMT "%s", p->dir,
	    STR_ARG(id), suffix);
	if (n < 0 || n >= PATH_MAX)
		return err_set(e, ERR_TOO_BIG, "path too long: %.200s", p->dir);
	return 0;
}

int
large_unlink(struct path *p, struct str id, uint64_t version, struct err *e)
{
	char name[PATH_MAX];
	int rc = file_path(p, id, version, name, e);

	if (rc == 0)
		rc = fs_unlink(name, e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

struct versions {
	const char *name; /* of version 1 */
	size_t dir_len;
};

static int
unlink_version(void *arg, const char *name)
{
	struct versions *v = arg;
	const char *base = v->name + v->dir_len + 1;
	size_t len = strlen(base);
	char full[PATH_MAX];

	if (strncmp(name, base, len) == 0 && name[len] == VERSION_MARK &&
	    snprintf(full, sizeof(full), "%.*s/%s", (int)v->dir_len, v->name,
		name) < (int)sizeof(full))
		fs_unlink(full, NULL);
	return 0;
}

void
large_unlink_all(struct path *p, struct str id)
{
	struct fdfs_file_id f;
	char name[PATH_MAX], dir[PATH_MAX];
	struct versions v = { .name = name };

	if (fdfs_id_parse(id, &f, NULL) < 0 ||
	    (fdfs_id_kind(&f) == FDFS_NORMAL &&
		fdfs_id_size(&f) <= p->g->c.small_limit) ||
	    file_path(p, id, 1, name, NULL) < 0)
		return;
	fs_unlink(name, NULL);
	v.dir_len = (size_t)(strrchr(name, '/') - name);
	snprintf(dir, sizeof(dir), "%.*s", (int)v.dir_len, name);
	fs_each(dir, unlink_version, &v, NULL);
}

/* --- writing --- */

static int
open_tmp(struct large_writer *w, uint64_t size_hint, struct err *e)
{
	int n = snprintf(w->tmp, sizeof(w->tmp), "%s/tmp/%016" PRIx64 ".up",
	    w->p->dir, rand_u64());
	int rc;

	if (n < 0 || (size_t)n >= sizeof(w->tmp))
		return err_set(e, ERR_TOO_BIG, "path too long");
	rc = fs_open(w->tmp, O_RDWR | O_CREAT | O_EXCL, &w->fd, e);
	if (rc < 0) {
		w->tmp[0] = '\0';
		return rc;
	}
	if (size_hint < DIRECT_MIN)
		return 0;
	if (size_hint != UINT64_MAX)
		rc = fs_allocate(w->fd, 0, size_hint, e);
	if (rc < 0)
		return rc;
	w->is_async = true;
	/* Not every file system has it. */
	if (fs_open(w->tmp, O_WRONLY | O_DIRECT, &w->direct, NULL) < 0)
		w->direct = -1;
	return 0;
}

static int run_job(struct io_job *j, const struct iovec *v, int n,
    struct err *e);

int
large_begin(struct path *p, uint64_t size_hint, struct large_writer **ret,
    struct err *e)
{
	struct large_writer *w;
	int rc;

	if (size_hint != UINT64_MAX && size_hint > MAX_SIZE)
		return err_set(e, ERR_TOO_BIG, "file over 256 GiB");
	w = mem_zalloc(sizeof(*w));
	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	w->p = p;
	w->fd = w->direct = -1;
	w->job.fn = run_job;
	rc = open_tmp(w, size_hint, e);
	if (rc < 0) {
		large_end(&w, false);
		return rc;
	}
	*ret = w;
	return 0;
}

uint64_t
large_size(const struct large_writer *w)
{
	return w->accepted;
}

uint32_t
large_crc32(const struct large_writer *w)
{
	MUST(w->size == w->accepted); /* large_drain() */
	return w->crc32;
}

static int
end_block(struct large_writer *w, struct err *e)
{
	if (w->n_blocks == w->cap_blocks) {
		size_t cap = w->cap_blocks == 0 ? 64 : 2 * w->cap_blocks;
		uint32_t *more = mem_realloc(w->blocks, cap * sizeof(*more));

		if (more == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		w->blocks = more;
		w->cap_blocks = cap;
	}
	w->blocks[w->n_blocks++] = w->block;
	w->block = 0;
	return 0;
}

/* Direct as far as it can be. */
static int
write_bytes(struct large_writer *w, struct str data, struct err *e)
{
	size_t whole = data.len - data.len % SECTOR;
	struct err why = ERR_INIT;
	int rc;

	if (w->direct >= 0 && whole > 0) {
		rc = fs_pwrite_all(w->direct, str_sub(data, 0, whole), w->size,
		    &why);
		if (rc == 0)
			return whole == data.len
			           ? 0
			           : fs_pwrite_all(w->fd, str_skip(data, whole),
					 w->size + whole, e);
		if (why.sys_errno != EINVAL) {
			if (e != NULL)
				*e = why;
			return rc;
		}
		fs_close(&w->direct); /* it can't after all */
	}
	rc = fs_pwrite_all(w->fd, data, w->size, e);
	if (rc == 0 && w->size + data.len - w->started >= WRITEBACK) {
		uint64_t end = w->size + data.len;

		/* A hint: whether it works is for the sync to say. */
		sync_file_range(w->fd, (off_t)w->started,
		    (off_t)(end - w->started), SYNC_FILE_RANGE_WRITE);
		w->started = end;
	}
	return rc;
}

static int
write_now(struct large_writer *w, struct str data, struct err *e)
{
	int rc = write_bytes(w, data, e);

	if (rc == 0)
		w->size += data.len;
	return rc;
}

/* 1: it cannot be done at once. */
static int
write_together(struct large_writer *w, const struct iovec *v, int n,
    struct err *e)
{
	struct err why = ERR_INIT;
	uint64_t len = 0;
	int rc;

	if (w->direct < 0 || n == 1)
		return 1;
	for (int i = 0; i < n; i++) {
		if (v[i].iov_len % SECTOR != 0)
			return 1;
		len += v[i].iov_len;
	}
	rc = fs_pwritev_all(w->direct, v, n, w->size, &why);
	if (rc == 0)
		w->size += len;
	else if (why.sys_errno == EINVAL)
		return 1; /* write_bytes() knows what to do */
	if (rc < 0 && e != NULL)
		*e = why;
	return rc;
}

static int
run_job(struct io_job *j, const struct iovec *v, int n, struct err *e)
{
	struct large_writer *w =
	    (struct large_writer *)((char *)j -
				    offsetof(struct large_writer, job));
	int rc = write_together(w, v, n, e);

	if (rc <= 0)
		return rc;
	for (int i = 0; i < n; i++) {
		rc = write_now(w, str_mem(v[i].iov_base, v[i].iov_len), e);
		if (rc < 0)
			break;
	}
	return rc;
}

/* Takes @data's checksums, while whoever brings it has it in the cache. */
static int
accept_bytes(struct large_writer *w, struct str data, struct err *e)
{
	if (data.len > MAX_SIZE - w->accepted)
		return err_set(e, ERR_TOO_BIG, "file over 256 GiB");
	while (data.len > 0) {
		size_t left =
		    ENGINE_BLOCK - (size_t)(w->accepted % ENGINE_BLOCK);
		size_t n = data.len < left ? data.len : left;
		int rc;

		w->crc32 = hash_crc32(w->crc32, data.p, n);
		w->block = hash_crc32c(w->block, data.p, n);
		w->accepted += n;
		data = str_skip(data, n);
		rc = n == left ? end_block(w, e) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
push(struct large_writer *w, struct err *e)
{
	uint8_t *b = w->bufs[0];

	large_io_submit(w->p, &w->job, str_mem(b, w->fill), 1);
	w->bufs[0] = w->bufs[1];
	w->bufs[1] = b;
	w->fill = 0;
	/* The one before it is free then. */
	return large_io_wait(w->p, &w->job, 1, e);
}

/* Buffers to copy into; where there are none, all goes by way of the page cache
 * from here on. */
static int
need_bufs(struct large_writer *w, struct err *e)
{
	int rc;

	if (w->bufs[1] != NULL)
		return 0;
	w->bufs[0] = large_io_buf_get(w->p);
	if (w->bufs[0] != NULL)
		w->bufs[1] = large_io_buf_get(w->p);
	if (w->bufs[1] != NULL)
		return 0;
	large_io_buf_put(w->p, w->bufs[0]);
	w->bufs[0] = NULL;
	rc = large_io_wait(w->p, &w->job, 0, e);
	fs_close(&w->direct);
	w->is_async = false;
	return rc;
}

int
large_write(struct large_writer *w, const void *p, size_t len, struct err *e)
{
	struct str data = str_mem(p, len);
	int rc = accept_bytes(w, data, e);

	if (rc == 0 && w->is_async)
		rc = need_bufs(w, e);
	if (rc < 0)
		return rc;
	if (!w->is_async)
		return write_now(w, data, e);
	while (data.len > 0 && rc == 0) {
		size_t n = LARGE_IO_BUF - w->fill;

		if (n > data.len)
			n = data.len;
		memcpy(w->bufs[0] + w->fill, data.p, n);
		w->fill += n;
		data = str_skip(data, n);
		if (w->fill == LARGE_IO_BUF)
			rc = push(w, e);
	}
	return rc;
}

int
large_lend(struct large_writer *w, const void *p, size_t len, struct err *e)
{
	int rc;

	if (!w->is_async || w->fill > 0 || len % SECTOR != 0 ||
	    (uintptr_t)p % SECTOR != 0) {
		rc = large_write(w, p, len, e);
		/* Those before, as if this one had been lent. */
		large_settle(w);
		return rc;
	}
	rc = accept_bytes(w, str_mem(p, len), e);
	if (rc < 0)
		return rc;
	large_io_submit(w->p, &w->job, str_mem(p, len), TOGETHER);
	return large_io_wait(w->p, &w->job, ENGINE_LENT, e);
}

void
large_settle(struct large_writer *w)
{
	(void)large_io_wait(w->p, &w->job, 0, NULL);
}

int
large_drain(struct large_writer *w, struct err *e)
{
	int rc = 0;

	if (w->fill > 0)
		rc = push(w, e);
	return rc < 0 ? rc : large_io_wait(w->p, &w->job, 0, e);
}

static int
write_end(struct large_writer *w, struct needle *n, struct err *e)
{
	uint64_t seed = fmt_file_seed(n->id, n->version);
	uint8_t hdr[FMT_HDR_MAX], trailer[FMT_TRAILER];
	struct iovec iov[3];
	uint32_t len;
	int rc;

	for (size_t i = 0; i < w->n_blocks; i++)
		put_le32(&w->blocks[i], fmt_block_sum(seed, i, w->blocks[i]));
	len = (uint32_t)needle_hdr_len(n);
	needle_encode(n, &w->p->ident, hdr, NULL);
	needle_place(hdr, 0, 0, 0, fmt_large_salt);
	fmt_trailer_encode(w->size, len, hdr, trailer);
	/* More may have been allocated than came. */
	rc = fs_truncate(w->fd, w->size, e);
	if (rc < 0)
		return rc;
	iov[0] = (struct iovec){ w->blocks, w->n_blocks * 4 };
	iov[1] = (struct iovec){ hdr, len };
	iov[2] = (struct iovec){ trailer, sizeof(trailer) };
	return fs_pwritev_all(w->fd, iov, 3, w->size, e);
}

/* data/HH/HH, durable; remembered once it is known to be there. */
static int
make_dirs(struct path *p, unsigned dir, struct err *e)
{
	_Atomic uint8_t *known = &p->dirs[dir / 8];
	uint8_t bit = (uint8_t)(1u << (dir % 8));
	char outer[PATH_MAX], inner[PATH_MAX + 8], data[PATH_MAX];
	int rc;

	if (atomic_load(known) & bit)
		return 0;
	snprintf(data, sizeof(data), "%s/data", p->dir);
	snprintf(outer, sizeof(outer), "%s/data/%02X", p->dir, dir >> 8);
	snprintf(inner, sizeof(inner), "%s/%02X", outer, dir & 0xff);
	/* The parents are synced even if they exist: whoever made them may not
	 * have come so far. */
	rc = fs_mkdir(outer, e);
	if (rc == 0)
		rc = fs_mkdir(inner, e);
	if (rc == 0)
		rc = fs_sync_dir(outer, e);
	if (rc == 0)
		rc = fs_sync_dir(data, e);
	if (rc == 0)
		atomic_fetch_or(known, bit);
	return rc;
}

/* A second name; where the file system has none, a new name. */
static int
give_name(struct large_writer *w, const char *name, struct err *e)
{
	int err = fault_check(FAULT_RENAME);

	if (err == 0 && link(w->tmp, name) != 0)
		err = errno;
	if (err == EPERM || err == EOPNOTSUPP || err == ENOSYS ||
	    err == EMLINK) {
		if (fs_exists(name))
			return err_set(e, ERR_EXISTS, "%s is there", name);
		return fs_rename(w->tmp, name, e);
	}
	if (err == EEXIST)
		return err_set(e, ERR_EXISTS, "%s is there", name);
	return err == 0 ? 0 : err_set_errno(e, err, "link %s", name);
}

/* G3 */
static int
place_file(struct large_writer *w, const char *name, enum large_how how,
    struct err *e)
{
	int rc;

	if (how == LARGE_REPLACE) {
		rc = fs_rename(w->tmp, name, e);
		if (rc == 0)
			w->tmp[0] = '\0';
		return rc;
	}
	if (how == LARGE_INSTALL && fs_exists(name)) {
		rc = fs_unlink(name, e);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	return give_name(w, name, e);
}

int
large_finish(struct large_writer *w, struct needle *n, enum large_how how,
    struct err *e)
{
	struct fdfs_file_id f;
	char name[PATH_MAX];
	int rc;

	if (w->size % ENGINE_BLOCK != 0) {
		rc = end_block(w, e);
		if (rc < 0)
			return rc;
	}
	MUST(w->size == w->accepted);
	n->type = NEEDLE_LARGE;
	n->size = w->size;
	n->payload_len = 0;
	n->n_blocks = 0; /* they are in the file */
	n->blocks = NULL;
	rc = fdfs_id_parse(n->id, &f, e);
	if (rc == 0)
		rc = file_path(w->p, n->id, n->version, name, e);
	if (rc == 0)
		rc = write_end(w, n, e);
	if (rc == 0)
		rc = fs_fsync(w->fd, e);
	if (rc == 0)
		rc = make_dirs(w->p, (unsigned)f.dir1 << 8 | f.dir2, e);
	if (rc == 0)
		rc = place_file(w, name, how, e);
	if (rc < 0)
		return rc;
	/* One that was replaced is the log's already: it stays. */
	if (how != LARGE_REPLACE)
		snprintf(w->name, sizeof(w->name), "%s", name);
	return fs_sync_parent(name, e);
}

void
large_end(struct large_writer **wp, bool keep)
{
	struct large_writer *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	large_settle(w);
	fs_close(&w->fd);
	fs_close(&w->direct);
	if (!keep && w->name[0] != '\0')
		fs_unlink(w->name, NULL);
	if (w->tmp[0] != '\0')
		fs_unlink(w->tmp, NULL);
	large_io_buf_put(w->p, w->bufs[0]);
	large_io_buf_put(w->p, w->bufs[1]);
	free(w->blocks);
	free(w);
}

/* --- reading --- */

int
large_open(struct path *p, const struct needle *n, int *ret_fd, struct err *e)
{
	char name[PATH_MAX];
	uint64_t size;
	int fd, rc = file_path(p, n->id, n->version, name, e);

	if (rc == 0)
		rc = fs_open(name, O_RDONLY, &fd, e);
	if (rc < 0)
		return rc;
	rc = fs_size(fd, &size, e);
	if (rc == 0 && size < n->size + 4 * (uint64_t)fmt_n_blocks(n->size))
		rc = err_set(e, ERR_CORRUPT, "%s is cut off", name);
	if (rc < 0) {
		fs_close(&fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int
large_read_sums(int fd, uint64_t size, uint32_t first, uint32_t n, uint8_t *dst,
    struct err *e)
{
	int rc =
	    fs_pread_all(fd, dst, 4 * (size_t)n, size + 4 * (uint64_t)first, e);

	return rc == ERR_END ? err_set(e, ERR_CORRUPT, "large file is cut off")
	                     : rc;
}

/* --- after a crash --- */

/* The file ID in a whole large file; ERR_CORRUPT when it is unfinished. */
static int
read_id(struct path *p, int fd, uint8_t *hdr, struct needle *ret, struct err *e)
{
	uint8_t raw[FMT_TRAILER];
	uint64_t len, size;
	uint32_t hdr_len, sum;
	int rc = fs_size(fd, &len, e);

	if (rc < 0)
		return rc;
	if (len < sizeof(raw))
		return ERR_CORRUPT;
	rc = fs_pread_all(fd, raw, sizeof(raw), len - sizeof(raw), e);
	if (rc == 0)
		rc = fmt_trailer_decode(raw, &size, &hdr_len, &sum, e);
	if (rc < 0)
		return rc;
	if (hdr_len > FMT_HDR_MAX || hdr_len < FMT_HDR_FIXED ||
	    len !=
		size + 4 * (uint64_t)fmt_n_blocks(size) + hdr_len + sizeof(raw))
		return ERR_CORRUPT;
	rc = fs_pread_all(fd, hdr, hdr_len, len - sizeof(raw) - hdr_len, e);
	if (rc < 0)
		return rc;
	if (hash_crc32c(0, hdr, hdr_len) != sum)
		return ERR_CORRUPT;
	return needle_decode(hdr, hdr_len, &p->ident, 0, 0, fmt_large_salt, ret,
	    e);
}

/* Whether the log names the file that @n says it is. */
static int
is_logged(struct path *p, const struct needle *n, bool *ret, struct err *e)
{
	struct fkey key;
	struct loc loc;
	unsigned path_no;
	int rc = engine_key(p->g, n->id, &key, &path_no, NULL);

	*ret = false;
	if (rc < 0 || path_no != p->no)
		return 0;
	rc = findex_get(p->fx, &key, &loc, e);
	if (rc == 0)
		*ret = loc.type == LOC_LARGE && loc.version == n->version;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int
recover_file(struct path *p, const char *tmp, struct err *e)
{
	uint8_t hdr[FMT_HDR_MAX];
	char name[PATH_MAX] = "";
	struct needle n;
	struct stat st;
	bool logged = false;
	int fd, rc = fs_open(tmp, O_RDONLY, &fd, e);

	if (rc < 0)
		return rc;
	rc = read_id(p, fd, hdr, &n, e);
	if (rc == 0)
		rc = file_path(p, n.id, n.version, name, e);
	if (rc == 0)
		rc = is_logged(p, &n, &logged, e);
	if (fstat(fd, &st) != 0)
		st.st_nlink = 1;
	fs_close(&fd);
	if (rc < 0 && rc != ERR_CORRUPT && rc != ERR_INVALID &&
	    rc != ERR_VERSION)
		return rc;
	if (logged && !fs_exists(name)) /* cannot be (G1); keep the bytes */
		return fs_rename(tmp, name, e);
	if (!logged && name[0] != '\0' && st.st_nlink > 1) {
		rc = fs_unlink(name, e);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	return fs_unlink(tmp, e);
}

struct recovery {
	struct path *p;
	struct err *e;
};

static int
recover_one(void *arg, const char *name)
{
	struct recovery *r = arg;
	char tmp[PATH_MAX];
	size_t len = strlen(name);

	if (len < 4 || strcmp(name + len - 3, ".up") != 0)
		return 0;
	if (snprintf(tmp, sizeof(tmp), "%s/tmp/%.64s", r->p->dir, name) >=
	    (int)sizeof(tmp))
		return 0;
	return recover_file(r->p, tmp, r->e);
}

int
large_recover(struct path *p, struct err *e)
{
	struct recovery r = { p, e };
	char dir[PATH_MAX];
	int rc = fs_join(dir, sizeof(dir), p->dir, "tmp", e);

	return rc < 0 ? rc : fs_each(dir, recover_one, &r, e);
}
