/* gateway/index/ilog_segment.c - one segment file of the index log. */
#include "gateway/index/ilog_priv.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#define NEW_NAME "new.tmp"
#define ZEROS ((size_t)1 << 20)

int
segment_name(char dst[64], uint64_t number)
{
	return snprintf(dst, 64, "%016" PRIx64 ".log", number);
}

int
segment_path(const struct ilog *l, const char *name, char dst[4096],
    struct err *e)
{
	return fs_join(dst, 4096, l->dir, name, e);
}

void
segment_free(struct segment **sp)
{
	if (*sp != NULL)
		fs_close(&(*sp)->fd);
	mem_free(sp);
}

static struct segment *
segment_new(uint64_t number, struct err *e)
{
	struct segment *s = mem_zalloc(sizeof(*s));

	if (s == NULL) {
		err_set(e, ERR_NO_MEMORY, NULL);
		return NULL;
	}
	s->number = number;
	s->fd = -1;
	return s;
}

/* Written in full, so that a later sync has no metadata to write. */
static int
fill(int fd, uint64_t size, struct err *e)
{
	char *zeros = mem_zalloc(ZEROS);
	int rc;

	if (zeros == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = fs_allocate(fd, 0, size, e);
	for (uint64_t off = 0; rc == 0 && off < size; off += ZEROS) {
		size_t n = size - off < ZEROS ? (size_t)(size - off) : ZEROS;

		rc = fs_pwrite_all(fd, (struct str){ zeros, n }, off, e);
	}
	mem_free(&zeros);
	return rc;
}

static int
write_header(struct ilog *l, struct segment *s, struct err *e)
{
	char p[ILOG_HEADER_LEN];
	struct ilog_header h = {
		.index_id = l->index_id,
		.epoch = s->epoch,
		.number = s->number,
		.created_ns = clock_real_ns(),
		.after_seq = ilog_seq(l),
	};
	int rc;

	memcpy(h.salt, s->salt, sizeof(h.salt));
	ilog_header_encode(&h, p);
	rc = fs_pwrite_all(s->fd, (struct str){ p, sizeof(p) }, 0, e);
	return rc < 0 ? rc : fs_fdatasync(s->fd, e);
}

/* Opens the file to be made a segment, at its full size. */
static int
open_raw(struct ilog *l, struct segment *s, const char *path, bool is_new,
    struct err *e)
{
	int rc;

	if (!is_new) {
		/* Its old name must not come back with the new content. */
		rc = fs_sync_dir(l->dir, e);
		if (rc == 0)
			rc = fs_open(path, O_RDWR, &s->fd, e);
		if (rc == 0)
			rc = fs_size(s->fd, &s->size, e);
		return rc;
	}
	rc = fs_unlink(path, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	rc = fs_open(path, O_RDWR | O_CREAT | O_EXCL, &s->fd, e);
	if (rc < 0)
		return rc;
	s->size = l->segment_size;
	return fill(s->fd, s->size, e);
}

int
segment_make(struct ilog *l, uint64_t number, uint64_t epoch,
    const char *recycle, struct segment **ret, struct err *e)
{
	bool is_new = recycle[0] == '\0';
	char name[64], from[4096], to[4096];
	struct segment *s;
	int rc;

	s = segment_new(number, e);
	if (s == NULL)
		return ERR_NO_MEMORY;
	s->epoch = epoch;
	rand_bytes(s->salt, sizeof(s->salt));
	s->end = ILOG_SEGMENT_HEADER;
	segment_name(name, number);
	if ((rc = segment_path(l, is_new ? NEW_NAME : recycle, from, e)) < 0 ||
	    (rc = segment_path(l, name, to, e)) < 0)
		goto out_free;
	rc = open_raw(l, s, from, is_new, e);
	if (rc == 0)
		rc = write_header(l, s, e);
	if (rc == 0)
		rc = fs_rename(from, to, e);
	if (rc == 0)
		rc = fs_sync_dir(l->dir, e);
	if (rc < 0) {
		/* Space is what is short: leave none taken. */
		if (is_new)
			fs_unlink(from, NULL);
		goto out_free;
	}
	*ret = s;
	return 0;
out_free:
	segment_free(&s);
	return rc;
}

int
segment_load(struct ilog *l, uint64_t number, struct segment **ret,
    struct err *e)
{
	char name[64], path[4096], p[ILOG_HEADER_LEN];
	struct ilog_header h;
	struct segment *s;
	int rc;

	s = segment_new(number, e);
	if (s == NULL)
		return ERR_NO_MEMORY;
	segment_name(name, number);
	if ((rc = segment_path(l, name, path, e)) < 0 ||
	    (rc = fs_open(path, O_RDWR, &s->fd, e)) < 0 ||
	    (rc = fs_size(s->fd, &s->size, e)) < 0 ||
	    (rc = fs_pread_all(s->fd, p, sizeof(p), 0, e)) < 0 ||
	    (rc = ilog_header_decode(p, &h, e)) < 0) {
		if (rc == ERR_END)
			rc = err_set(e, ERR_CORRUPT, "%s is cut short", path);
		else if (rc == ERR_CORRUPT)
			rc = err_set(e, rc, "%s has a bad header", path);
		goto out_free;
	}
	if (h.number != number) {
		rc = err_set(e, ERR_CORRUPT, "%s is segment %" PRIx64, path,
		    h.number);
		goto out_free;
	}
	if (!id128_eq(&h.index_id, &l->index_id)) {
		rc = err_set(e, ERR_CORRUPT, "%s belongs to another index",
		    path);
		goto out_free;
	}
	s->epoch = h.epoch;
	s->after_seq = h.after_seq;
	memcpy(s->salt, h.salt, sizeof(s->salt));
	*ret = s;
	return 0;
out_free:
	segment_free(&s);
	return rc;
}

uint64_t
segment_epoch(struct ilog *l, const char *name)
{
	char path[4096], p[ILOG_HEADER_LEN];
	struct ilog_header h = { 0 };
	int fd;

	if (segment_path(l, name, path, NULL) < 0 ||
	    fs_open(path, O_RDONLY, &fd, NULL) < 0)
		return 0;
	if (fs_pread_all(fd, p, sizeof(p), 0, NULL) < 0 ||
	    ilog_header_decode(p, &h, NULL) < 0 ||
	    !id128_eq(&h.index_id, &l->index_id))
		h.epoch = 0;
	fs_close(&fd);
	return h.epoch;
}

int
segment_peek(struct segment *s, struct err *e)
{
	char head[ILOG_FRAME_HEADER];
	struct ilog_frame f;
	size_t len = 0, got = 0;
	char *p;
	int rc;

	s->first_seq = 0;
	rc = fs_pread(s->fd, head, sizeof(head), ILOG_SEGMENT_HEADER, &got, e);
	if (rc < 0 || got < sizeof(head))
		return rc;
	len = get_le32(head + 4);
	if (len < sizeof(head) || len > s->size)
		return 0;
	p = mem_alloc(len);
	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = fs_pread(s->fd, p, len, ILOG_SEGMENT_HEADER, &got, e);
	if (rc == 0 && ilog_frame_parse((struct str){ p, got }, s->salt,
			   ILOG_SEGMENT_HEADER, &f))
		s->first_seq = f.first_seq;
	mem_free(&p);
	return rc;
}

/* L3: a valid frame behind an invalid one at @off. */
static bool
valid_follows(const struct segment *s, const char *p, size_t off, size_t size,
    size_t *ret_at, bool *ret_dirty)
{
	struct ilog_frame f;

	*ret_dirty = false;
	for (size_t o = off; o < size; o += 8) {
		if (size - o >= 8 && get_le64(p + o) == 0)
			continue;
		*ret_dirty = true;
		if (ilog_frame_parse((struct str){ p + o, size - o }, s->salt,
			o, &f)) {
			*ret_at = o;
			return true;
		}
	}
	return false;
}

static int
scan(struct segment *s, const char *p, size_t size, uint64_t after,
    ilog_replay_fn fn, void *arg, bool *ret_dirty, struct err *e)
{
	size_t off = ILOG_SEGMENT_HEADER, at = 0;
	struct ilog_frame f;
	int rc;

	s->first_seq = s->last_seq = 0;
	while (
	    off < size && ilog_frame_parse((struct str){ p + off, size - off },
			      s->salt, off, &f)) {
		if (s->first_seq == 0)
			s->first_seq = f.first_seq;
		else if (f.first_seq != s->last_seq + 1)
			return err_set(e, ERR_CORRUPT,
			    "log segment %" PRIx64
			    ": transaction %ju follows %ju",
			    s->number, (uintmax_t)f.first_seq,
			    (uintmax_t)s->last_seq);
		s->last_seq = f.first_seq + f.n_tx - 1;
		if (s->last_seq > after && fn != NULL) {
			rc = fn(arg, f.first_seq, f.n_tx, f.payload, e);
			if (rc != 0)
				return rc;
		}
		off += f.size;
	}
	if (off > size)
		off = size;
	if (valid_follows(s, p, off, size, &at, ret_dirty))
		return err_set(e, ERR_CORRUPT,
		    "log segment %" PRIx64
		    " is damaged at %zu: valid records follow at %zu",
		    s->number, off, at);
	s->end = off;
	return 0;
}

int
segment_scan(struct segment *s, uint64_t after, ilog_replay_fn fn, void *arg,
    bool *ret_dirty, struct err *e)
{
	size_t got = 0;
	char *p;
	int rc;

	if (s->size == 0 || s->size > SIZE_MAX / 2)
		return err_set(e, ERR_CORRUPT, "log segment of a bad size");
	/* Not malloc: with it the process would keep a segment's size. */
	p = fault_check(FAULT_ALLOC) != 0
	        ? MAP_FAILED
	        : mmap(NULL, s->size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = fs_pread(s->fd, p, s->size, 0, &got, e);
	if (rc == 0)
		rc = scan(s, p, got, after, fn, arg, ret_dirty, e);
	munmap(p, s->size);
	return rc;
}
