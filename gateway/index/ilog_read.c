/* gateway/index/ilog_read.c - reading durable frames back, for the archive. */
#include "gateway/index/ilog_priv.h"

#include "lib/bytes.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <inttypes.h>

struct source {
	int fd; /* a duplicate: the segment may be retired by another caller */
	uint64_t number, epoch, end;
	uint64_t off; /* where to begin */
	uint8_t salt[16];
};

/* The segment with the first transaction above @after. */
static bool
find(struct ilog *l, uint64_t after, struct source *ret, int *ret_fd)
{
	bool found = false;

	lock_take(&l->lock);
	for (struct segment *s = l->first; s != NULL && !found; s = s->next) {
		if (s->first_seq == 0 || s->last_seq <= after)
			continue;
		ret->number = s->number;
		ret->epoch = s->epoch;
		ret->end = s->end != 0 ? s->end : s->size;
		ret->off = l->hint_number == s->number && l->hint_seq <= after
		               ? l->hint_off
		               : ILOG_SEGMENT_HEADER;
		memcpy(ret->salt, s->salt, sizeof(ret->salt));
		*ret_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
		found = true;
	}
	lock_drop(&l->lock);
	return found;
}

/* Reads the frame at @off into @b, behind what is there. 1, or 0 where there
 * is no valid frame; *ret->payload is not valid then. */
static int
read_frame(const struct source *s, uint64_t off, struct buf *b,
    struct ilog_frame *ret, struct err *e)
{
	char head[ILOG_FRAME_HEADER];
	size_t len, got = 0;
	int rc;

	if (off >= s->end || s->end - off < sizeof(head))
		return 0;
	rc = fs_pread_all(s->fd, head, sizeof(head), off, e);
	if (rc < 0)
		return rc;
	len = ((size_t)get_le32(head + 4) + 7) & ~(size_t)7;
	if (len < sizeof(head) || len > s->end - off)
		return 0;
	rc = buf_reserve(b, len);
	if (rc < 0)
		return err_set(e, rc, "log frame of %zu bytes", len);
	rc = fs_pread(s->fd, b->p + b->len, len, off, &got, e);
	if (rc < 0)
		return rc;
	return ilog_frame_parse((struct str){ b->p + b->len, got }, s->salt,
		   off, ret) &&
	       ret->size == got;
}

int
ilog_read(struct ilog *l, uint64_t after, size_t max,
    struct ilog_chunk *ret_chunk, struct buf *ret, struct err *e)
{
	struct source s = { .fd = -1 };
	size_t start = ret->len;
	uint64_t off;
	struct ilog_frame f;
	bool any = false;
	int rc;

	OBJ_CHECK(l, ILOG_MAGIC);
	if (!find(l, after, &s, &s.fd))
		return 0;
	if (s.fd < 0)
		return err_set(e, ERR_IO, "duplicate a descriptor");
	off = s.off;
	for (;;) {
		rc = read_frame(&s, off, ret, &f, e);
		if (rc <= 0)
			break;
		if (f.first_seq + f.n_tx - 1 <= after) {
			off += f.size;
			continue;
		}
		if (any && ret->len + f.size - start > max)
			break;
		if (!any) {
			*ret_chunk = (struct ilog_chunk){ .epoch = s.epoch,
				.number = s.number,
				.off = off,
				.first_seq = f.first_seq };
			memcpy(ret_chunk->salt, s.salt, sizeof(s.salt));
		}
		any = true;
		ret_chunk->last_seq = f.first_seq + f.n_tx - 1;
		ret->len += f.size;
		off += f.size;
	}
	fs_close(&s.fd);
	if (rc < 0)
		return rc;
	if (!any)
		return err_set(e, ERR_CORRUPT,
		    "log segment %" PRIx64 " lacks transaction %ju", s.number,
		    (uintmax_t)after + 1);
	lock_take(&l->lock);
	l->hint_number = s.number;
	l->hint_off = off;
	l->hint_seq = ret_chunk->last_seq;
	lock_drop(&l->lock);
	return 1;
}
