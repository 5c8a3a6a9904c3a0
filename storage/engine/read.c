/* storage/engine/read.c - reading files, every block verified (E2).
 *
 * A reader holds its volume (or the large file's descriptor), no lock: it looks
 * the place up, reads, checks. What it finds is what the file ID names, or an
 * error.
 * Threads: any; one engine_file belongs to one at a time. */
#include "storage/engine/engine_int.h"

#include "lib/bytes.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/mem.h"

#define FILE_MAGIC 0x46494c45u

enum {
	SUMS = 1024,      /* block checksums of a large file read at a time */
	ONE_READ = 32768, /* header and payload in one read up to this */
	RETRIES = 8,
};

struct engine_file {
	uint32_t magic;
	struct path *p;
	struct vol *v; /* small */
	unsigned slot;
	int fd; /* large */
	struct loc loc;
	struct needle n; /* views into hdr */
	uint64_t seed;
	uint8_t *block; /* for parts of blocks; allocated when first needed */
	uint8_t *sums;  /* large: checksums from sums_first on */
	uint32_t sums_first, sums_n;
	size_t hdr_len;
	uint8_t hdr[];
};

static int
not_found(struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "no such file");
}

/* Place of a live file, with its volume held. 1: it moved, look again. */
static int
locate(struct path *p, const struct fkey *key, struct loc *ret,
    struct vol **ret_v, unsigned *ret_slot, struct err *e)
{
	int rc = findex_get(p->fx, key, ret, e);

	if (rc == ERR_NOT_FOUND || (rc == 0 && !loc_is_live(ret)))
		return not_found(e);
	if (rc < 0)
		return rc;
	*ret_v = vol_get(p, ret->vol, ret_slot, &rc, e);
	if (*ret_v == NULL && rc == 0)
		return 1;
	return rc;
}

/* The key is a hash: the name itself has to be the same. */
static int
check_name(const struct needle *n, const struct loc *l, struct str id,
    struct err *e)
{
	if (!str_eq(n->id, id) || n->type != l->type || n->size != l->size ||
	    n->version != l->version)
		return err_set(e, ERR_CORRUPT,
		    "file index: another file is where " STR_FMT " should be",
		    STR_ARG(id));
	return 0;
}

static int
bad(struct path *p, struct str id, int rc, struct err *e)
{
	if (rc == ERR_CORRUPT || rc == ERR_IO)
		engine_bad_file(p->g, p, id, e == NULL ? err_text(rc) : e->msg);
	return rc;
}

/* --- opening --- */

static int
open_once(struct path *p, const struct fkey *key, struct str id,
    struct engine_file **ret, struct err *e)
{
	struct engine_file *f;
	struct loc loc;
	struct vol *v;
	unsigned slot;
	int rc = locate(p, key, &loc, &v, &slot, e);

	if (rc != 0)
		return rc;
	f = mem_alloc(sizeof(*f) + loc.hdr_len);
	if (f == NULL) {
		vol_put(&v, slot);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	*f = (struct engine_file){ .magic = FILE_MAGIC,
		.p = p,
		.v = v,
		.slot = slot,
		.fd = -1,
		.loc = loc,
		.hdr_len = loc.hdr_len };
	rc = vol_read_header(v, loc.off, loc.hdr_len, f->hdr, &f->n, e);
	if (rc == 0)
		rc = check_name(&f->n, &loc, id, e);
	if (rc == 0 && loc.type == LOC_LARGE) {
		rc = large_open(p, &f->n, &f->fd, e);
		vol_put(&f->v, slot);
	}
	if (rc < 0) {
		engine_file_close(&f);
		return rc;
	}
	f->seed = fmt_file_seed(f->n.id, f->n.version);
	*ret = f;
	return 0;
}

int
engine_file_open(struct engine *g, struct str id, struct engine_file **ret,
    struct err *e)
{
	struct fkey key;
	unsigned no;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = engine_key(g, id, &key, &no, e);
	if (rc == ERR_INVALID || (rc == 0 && no >= g->n_paths))
		return not_found(e);
	if (rc < 0)
		return rc;
	for (int i = 0; i < RETRIES; i++) {
		struct loc loc;

		rc = open_once(g->paths[no], &key, id, ret, e);
		if (rc == 0 || (rc < 0 && rc != ERR_NOT_FOUND))
			break;
		/* Deleted since it was looked up, or moved? */
		if (rc == ERR_NOT_FOUND &&
		    (findex_get(g->paths[no]->fx, &key, &loc, NULL) < 0 ||
			!loc_is_live(&loc)))
			return not_found(e);
		rc = err_set(e, ERR_CORRUPT, "bytes of " STR_FMT " are missing",
		    STR_ARG(id));
	}
	io_count(g, IO_OPEN, rc);
	return bad(g->paths[no], id, rc, e);
}

void
engine_file_close(struct engine_file **fp)
{
	struct engine_file *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	OBJ_CHECK(f, FILE_MAGIC);
	vol_put(&f->v, f->slot);
	fs_close(&f->fd);
	free(f->block);
	free(f->sums);
	f->magic = 0;
	free(f);
}

void
engine_file_info(const struct engine_file *f, struct engine_file_info *ret)
{
	OBJ_CHECK(f, FILE_MAGIC);
	info_of_needle(&f->n, ret);
}

int
engine_file_record(struct engine_file *f, struct engine_record *ret,
    struct buf *note, struct err *e)
{
	OBJ_CHECK(f, FILE_MAGIC);
	return record_of_needle(&f->n, ret, note, e);
}

int
engine_file_note(struct engine_file *f, struct buf *ret, struct err *e)
{
	int rc;

	OBJ_CHECK(f, FILE_MAGIC);
	rc = buf_adds(ret, f->n.note);
	return rc < 0 ? err_set(e, rc, NULL) : 0;
}

/* --- blocks --- */

static int
sum_of_block(struct engine_file *f, uint32_t i, uint32_t *ret, struct err *e)
{
	int rc;

	if (f->loc.type == LOC_PUT) {
		*ret = get_le32(f->n.blocks + 4 * (size_t)i);
		return 0;
	}
	if (f->sums == NULL || i < f->sums_first ||
	    i - f->sums_first >= f->sums_n) {
		uint32_t n = fmt_n_blocks(f->n.size) - i;

		if (n > SUMS)
			n = SUMS;
		if (f->sums == NULL)
			f->sums = mem_alloc(4 * (size_t)SUMS);
		if (f->sums == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		f->sums_n = 0;
		rc = large_read_sums(f->fd, f->n.size, i, n, f->sums, e);
		if (rc < 0)
			return rc;
		f->sums_first = i;
		f->sums_n = n;
	}
	*ret = get_le32(f->sums + 4 * (size_t)(i - f->sums_first));
	return 0;
}

static size_t
block_len(const struct engine_file *f, uint32_t i)
{
	uint64_t left = f->n.size - (uint64_t)i * ENGINE_BLOCK;

	return left < ENGINE_BLOCK ? (size_t)left : ENGINE_BLOCK;
}

/* Reads @n whole blocks from block @i on into @dst and checks them. */
static int
read_blocks(struct engine_file *f, uint32_t i, uint32_t n, uint8_t *dst,
    struct err *e)
{
	uint64_t at = (uint64_t)i * ENGINE_BLOCK;
	size_t len = (size_t)(n - 1) * ENGINE_BLOCK + block_len(f, i + n - 1);
	int rc;

	if (f->loc.type == LOC_PUT)
		rc = fs_pread_all(f->v->fd, dst, len,
		    f->loc.off + f->hdr_len + at, e);
	else
		rc = fs_pread_all(f->fd, dst, len, at, e);
	if (rc == ERR_END)
		rc = err_set(e, ERR_CORRUPT, "file is cut off");
	for (uint32_t k = 0; k < n && rc == 0; k++) {
		size_t one = block_len(f, i + k);
		uint32_t want = 0;

		rc = sum_of_block(f, i + k, &want, e);
		if (rc == 0 &&
		    want != fmt_block_sum(f->seed, i + k,
				hash_crc32c(0, dst + (size_t)k * ENGINE_BLOCK,
				    one)))
			rc = err_set(e, ERR_CORRUPT,
			    "block %u of " STR_FMT " failed its checksum",
			    i + k, STR_ARG(f->n.id));
	}
	return rc;
}

/* Part of one block, by way of a buffer. */
static int
read_part(struct engine_file *f, uint64_t off, uint8_t *dst, size_t len,
    struct err *e)
{
	uint32_t i = (uint32_t)(off / ENGINE_BLOCK);
	int rc;

	if (f->block == NULL)
		f->block =
		    mem_alloc(f->n.size < ENGINE_BLOCK ? (size_t)f->n.size
						       : ENGINE_BLOCK);
	if (f->block == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = read_blocks(f, i, 1, f->block, e);
	if (rc == 0)
		memcpy(dst, f->block + off % ENGINE_BLOCK, len);
	return rc;
}

static int
read_range(struct engine_file *f, uint64_t off, uint8_t *dst, size_t len,
    struct err *e)
{
	while (len > 0) {
		size_t in = (size_t)(off % ENGINE_BLOCK), n;
		uint32_t i = (uint32_t)(off / ENGINE_BLOCK);
		int rc;

		if (in == 0 && len >= block_len(f, i)) {
			uint32_t blocks = (uint32_t)(len / ENGINE_BLOCK);

			/* The short last one is whole too. */
			if (len % ENGINE_BLOCK != 0 && off + len == f->n.size)
				blocks++;
			n = (size_t)(blocks - 1) * ENGINE_BLOCK +
			    block_len(f, i + blocks - 1);
			rc = read_blocks(f, i, blocks, dst, e);
		} else {
			n = block_len(f, i) - in;
			if (n > len)
				n = len;
			rc = read_part(f, off, dst, n, e);
		}
		if (rc < 0)
			return rc;
		off += n;
		dst += n;
		len -= n;
	}
	return 0;
}

/* How much of @len bytes at @off there is in @size. */
static size_t
clip(uint64_t size, uint64_t off, size_t len)
{
	if (off >= size)
		return 0;
	return len > size - off ? (size_t)(size - off) : len;
}

int
engine_file_read(struct engine_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	int rc;

	OBJ_CHECK(f, FILE_MAGIC);
	len = clip(f->n.size, off, len);
	rc = read_range(f, off, p, len, e);
	io_count(f->p->g, IO_READ, rc);
	if (rc < 0)
		return bad(f->p, f->n.id, rc, e);
	*ret_len = len;
	return 0;
}

int
engine_file_span(struct engine_file *f, uint64_t off, size_t len,
    struct engine_span *ret, struct err *e)
{
	uint64_t end = off + len;
	uint32_t i, sum = 0, crc = 0;
	bool is_small = f->loc.type == LOC_PUT;
	int rc = 0;

	OBJ_CHECK(f, FILE_MAGIC);
	if (len == 0 || end < off || end > f->n.size ||
	    off % ENGINE_BLOCK != 0 ||
	    (end % ENGINE_BLOCK != 0 && end != f->n.size))
		return err_set(e, ERR_RETRY, "not whole blocks");
	for (i = (uint32_t)(off / ENGINE_BLOCK);
	     rc == 0 && (uint64_t)i * ENGINE_BLOCK < end; i++) {
		rc = sum_of_block(f, i, &sum, e);
		/* Its own inverse. */
		crc = hash_crc32c_combine(crc, fmt_block_sum(f->seed, i, sum),
		    block_len(f, i));
	}
	io_count(f->p->g, IO_READ, rc);
	if (rc < 0)
		return bad(f->p, f->n.id, rc, e);
	*ret = (struct engine_span){ is_small ? f->v->fd : f->fd,
		is_small ? f->loc.off + f->hdr_len + off : off, crc };
	fs_want(ret->fd, ret->off, len);
	return 0;
}

/* --- small and whole: one lookup, one read --- */

static int
read_small(struct path *p, struct vol *v, const struct loc *l, struct str id,
    uint64_t off, uint8_t *dst, size_t len, bool now, struct err *e)
{
	uint8_t buf[ONE_READ];
	const uint8_t *body = buf + l->hdr_len;
	struct needle n;
	uint64_t seed;
	int rc = now ? fs_pread_now(v->fd, buf, l->hdr_len + (size_t)l->size,
			   l->off, e)
	             : fs_pread_all(v->fd, buf, l->hdr_len + (size_t)l->size,
			   l->off, e);

	if (rc == ERR_END)
		return err_set(e, ERR_CORRUPT, "volume %016jx is cut off",
		    (uintmax_t)v->no);
	if (rc == 0)
		rc = needle_decode(buf, l->hdr_len, &p->ident, v->no, l->off,
		    v->salt, &n, e);
	if (rc == 0)
		rc = check_name(&n, l, id, e);
	if (rc < 0)
		return rc;
	seed = fmt_file_seed(n.id, n.version);
	_Static_assert(ONE_READ <= ENGINE_BLOCK, "one block");
	if (n.n_blocks > 0 &&
	    get_le32(n.blocks) !=
		fmt_block_sum(seed, 0, hash_crc32c(0, body, (size_t)n.size)))
		return err_set(e, ERR_CORRUPT,
		    "block 0 of " STR_FMT " failed its checksum", STR_ARG(id));
	if (len > 0)
		memcpy(dst, body + off, len);
	return 0;
}

int
engine_read(struct engine *g, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	struct engine_file *f;
	struct fkey key;
	unsigned no;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	rc = engine_key(g, id, &key, &no, e);
	if (rc == ERR_INVALID || (rc == 0 && no >= g->n_paths))
		return not_found(e);
	if (rc < 0)
		return rc;
	for (int i = 0; i < RETRIES; i++) {
		struct path *path = g->paths[no];
		struct vol *v;
		struct loc l;
		unsigned slot;

		rc = locate(path, &key, &l, &v, &slot, e);
		if (rc > 0)
			continue;
		if (rc < 0)
			return bad(path, id, rc, e);
		if (l.type != LOC_PUT || l.hdr_len + l.size > ONE_READ) {
			vol_put(&v, slot);
			break;
		}
		len = clip(l.size, off, len);
		rc = read_small(path, v, &l, id, off, p, len, false, e);
		vol_put(&v, slot);
		io_count(g, IO_READ, rc);
		if (rc < 0)
			return bad(path, id, rc, e);
		*ret_len = len;
		return 0;
	}
	rc = engine_file_open(g, id, &f, e);
	if (rc < 0)
		return rc;
	rc = engine_file_read(f, off, p, len, ret_len, e);
	engine_file_close(&f);
	return rc;
}

int
engine_read_now(struct engine *g, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, struct err *e)
{
	struct fkey key;
	struct vol *v;
	struct loc l;
	unsigned no, slot;
	int rc;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (engine_key(g, id, &key, &no, e) < 0 || no >= g->n_paths ||
	    locate(g->paths[no], &key, &l, &v, &slot, e) != 0)
		return err_set(e, ERR_RETRY, "not at hand");
	rc = ERR_RETRY;
	if (l.type == LOC_PUT && l.hdr_len + l.size <= ONE_READ) {
		len = clip(l.size, off, len);
		rc = read_small(g->paths[no], v, &l, id, off, p, len, true, e);
	}
	vol_put(&v, slot);
	if (rc < 0)
		return err_set(e, ERR_RETRY, "not at hand");
	*ret_len = len;
	return 0;
}

/* --- all of them --- */

enum {
	SLICE = 256
};

static int
each_in_path(struct path *p, uint8_t class,
    int (*fn)(void *arg, const struct engine_file_info *f), void *arg,
    struct fent *slice, struct err *e)
{
	struct fkey from = { { 0 } };
	uint8_t hdr[FMT_HDR_MAX];
	size_t n;

	for (;;) {
		int rc = findex_slice(p->fx, &from, slice, SLICE, &n, e);

		if (rc < 0)
			return rc;
		for (size_t i = 0; i < n; i++) {
			struct engine_file_info info;
			struct needle needle;
			struct loc loc;

			if (!loc_is_live(&slice[i].loc) ||
			    (class != 0 && slice[i].loc.class != class))
				continue;
			rc = engine_load(p, &slice[i].key, &loc, hdr, &needle,
			    e);
			if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ||
			    (rc == 0 && !loc_is_live(&loc)))
				continue; /* scrub tells of the damaged */
			if (rc < 0)
				return rc;
			info_of_needle(&needle, &info);
			rc = fn(arg, &info);
			if (rc != 0)
				return rc;
		}
		if (n < SLICE)
			return 0;
	}
}

int
engine_each(struct engine *g, uint8_t class,
    int (*fn)(void *arg, const struct engine_file_info *f), void *arg,
    struct err *e)
{
	struct fent *slice = mem_alloc(SLICE * sizeof(*slice));
	int rc = 0;

	OBJ_CHECK(g, ENGINE_MAGIC);
	if (slice == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < g->n_paths && rc == 0; i++) {
		rc = path_flush(g->paths[i], e);
		if (rc == 0)
			rc =
			    each_in_path(g->paths[i], class, fn, arg, slice, e);
	}
	free(slice);
	return rc;
}
