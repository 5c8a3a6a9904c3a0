/* cluster/store_ops.c - see cluster/store_ops.h. */
#include "cluster/store_ops.h"

#include "cluster/rpc.h"
#include "lib/mem.h"

#include <stdio.h>

/* Packing stops at the first failure; the caller asks once. */
#define DO(rc, call) ((rc) = (rc) < 0 ? (rc) : (call))

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "malformed message: %s", what);
}

static bool
copy_text(struct unpack *u, char *dst, size_t size)
{
	struct str s = unpack_str(u, size - 1);

	if (u->is_bad || memchr(s.p == NULL ? "" : s.p, '\0', s.len) != NULL)
		return false;
	if (s.len > 0)
		memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
	return true;
}

/* --- files --- */

int
sop_file_pack(const struct sop_file *f, struct buf *b)
{
	int rc = pack_str(b, str_of(f->id));

	DO(rc, pack_u64(b, f->size));
	DO(rc, pack_u32(b, f->crc32));
	DO(rc, pack_u64(b, f->version));
	DO(rc, pack_u64(b, (uint64_t)f->created_s));
	DO(rc, pack_u8(b, f->class));
	DO(rc, pack_id(b, &f->index_id));
	DO(rc, pack_id(b, &f->write_id));
	return rc;
}

int
sop_file_unpack(struct unpack *u, struct sop_file *ret, struct err *e)
{
	struct sop_file f = { 0 };

	if (!copy_text(u, f.id, sizeof(f.id)))
		return bad(e, "name of a file");
	f.size = unpack_u64(u);
	f.crc32 = unpack_u32(u);
	f.version = unpack_u64(u);
	f.created_s = (int64_t)unpack_u64(u);
	f.class = unpack_u8(u);
	f.index_id = unpack_id(u);
	f.write_id = unpack_id(u);
	if (u->is_bad)
		return bad(e, "a file");
	*ret = f;
	return 0;
}

/* --- storing --- */

int
sop_store_pack(const struct sop_store *s, struct buf *b)
{
	int rc = pack_u8(b, s->class);

	DO(rc, pack_id(b, &s->index_id));
	DO(rc, pack_u64(b, s->index_epoch));
	DO(rc, pack_id(b, &s->write_id));
	DO(rc, pack_str(b, s->note));
	DO(rc, pack_str(b, s->ext));
	DO(rc, pack_u64(b, s->size_hint));
	DO(rc, pack_u8(b, s->has_crc));
	DO(rc, pack_u32(b, s->crc32));
	return rc;
}

int
sop_store_unpack(struct str args, struct sop_store *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_store s = { 0 };

	s.class = unpack_u8(&u);
	s.index_id = unpack_id(&u);
	s.index_epoch = unpack_u64(&u);
	s.write_id = unpack_id(&u);
	s.note = unpack_str(&u, SOP_NOTE_MAX);
	s.ext = unpack_str(&u, FDFS_EXT_MAX);
	s.size_hint = unpack_u64(&u);
	s.has_crc = unpack_u8(&u) != 0;
	s.crc32 = unpack_u32(&u);
	if (u.is_bad)
		return bad(e, "STORE");
	*ret = s;
	return 0;
}

int
sop_stream_pack(const struct sop_stream *s, struct buf *b)
{
	int rc = pack_u64(b, s->stream);

	DO(rc, pack_u64(b, s->offset));
	DO(rc, pack_u8(b, s->has_crc));
	DO(rc, pack_u32(b, s->crc32));
	return rc;
}

int
sop_stream_unpack(struct str args, struct sop_stream *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_stream s = { 0 };

	s.stream = unpack_u64(&u);
	s.offset = unpack_u64(&u);
	s.has_crc = unpack_u8(&u) != 0;
	s.crc32 = unpack_u32(&u);
	if (u.is_bad)
		return bad(e, "a stream");
	*ret = s;
	return 0;
}

/* --- reading --- */

int
sop_read_pack(const struct sop_read *r, struct buf *b)
{
	int rc = pack_str(b, r->id);

	DO(rc, pack_u64(b, r->off));
	DO(rc, pack_u32(b, r->len));
	return rc;
}

int
sop_read_unpack(struct str args, struct sop_read *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_read r = { 0 };

	r.id = unpack_str(&u, SOP_ID_MAX - 1);
	r.off = unpack_u64(&u);
	r.len = unpack_u32(&u);
	if (u.is_bad || r.len > RPC_BODY_MAX)
		return bad(e, "READ");
	*ret = r;
	return 0;
}

int
sop_stat_pack(const struct sop_stat *s, struct buf *b)
{
	int rc = sop_file_pack(&s->file, b);

	DO(rc, pack_str(b, s->note));
	return rc;
}

int
sop_stat_unpack(struct str args, struct sop_stat *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_stat s = { 0 };
	int rc = sop_file_unpack(&u, &s.file, e);

	if (rc < 0)
		return rc;
	s.note = unpack_str(&u, SOP_NOTE_MAX);
	if (u.is_bad)
		return bad(e, "STAT");
	*ret = s;
	return 0;
}

/* --- deleting and finding --- */

int
sop_delete_pack(const struct sop_delete *d, struct buf *b)
{
	int rc = pack_id(b, &d->index_id);

	DO(rc, pack_u64(b, d->index_epoch));
	DO(rc, pack_u32(b, (uint32_t)d->n));
	for (size_t i = 0; rc == 0 && i < d->n; i++)
		rc = pack_str(b, d->ids[i]);
	return rc;
}

int
sop_delete_unpack(struct str args, struct str *room, size_t max,
    struct sop_delete *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_delete d = { 0 };

	d.index_id = unpack_id(&u);
	d.index_epoch = unpack_u64(&u);
	d.n = unpack_u32(&u);
	if (u.is_bad || d.n > max)
		return bad(e, "DELETE");
	for (size_t i = 0; i < d.n; i++)
		room[i] = unpack_str(&u, SOP_ID_MAX - 1);
	if (u.is_bad)
		return bad(e, "DELETE");
	d.ids = room;
	*ret = d;
	return 0;
}

int
sop_find_pack(const struct id128 *write_id, struct buf *b)
{
	return pack_id(b, write_id);
}

int
sop_find_unpack(struct str args, struct id128 *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct id128 id = unpack_id(&u);

	if (u.is_bad)
		return bad(e, "FIND_WRITE");
	*ret = id;
	return 0;
}

size_t
sop_quorum(size_t members, size_t min_copies)
{
	size_t copies = min_copies;

	if (copies == 0)
		copies = members > 1 ? 2 : 1;
	return copies < members ? members - copies + 1 : 1;
}

int
sop_each_pack(const struct sop_each *q, struct buf *b)
{
	int rc = pack_u8(b, q->class);

	DO(rc, pack_u32(b, q->max));
	DO(rc, pack_str(b, q->cursor));
	return rc;
}

int
sop_each_unpack(struct str args, struct sop_each *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_each q = { 0 };

	q.class = unpack_u8(&u);
	q.max = unpack_u32(&u);
	q.cursor = unpack_str(&u, SOP_CURSOR_MAX);
	if (u.is_bad || q.max == 0 || q.max > SOP_PAGE_MAX)
		return bad(e, "EACH");
	*ret = q;
	return 0;
}

int
sop_page_pack(const struct sop_page *p, struct buf *b)
{
	int rc = pack_str(b, p->cursor);

	DO(rc, pack_u8(b, p->is_end));
	DO(rc, pack_u32(b, p->n));
	return rc;
}

int
sop_page_unpack(struct unpack *u, struct sop_page *ret, struct err *e)
{
	struct sop_page p = { 0 };

	p.cursor = unpack_str(u, SOP_CURSOR_MAX);
	p.is_end = unpack_u8(u) != 0;
	p.n = unpack_u32(u);
	if (u->is_bad || p.n > SOP_PAGE_MAX)
		return bad(e, "a page of files");
	*ret = p;
	return 0;
}

int
sop_word_pack(const struct sop_word *w, struct buf *b)
{
	int rc = pack_u8(b, w->is_whole);

	DO(rc, pack_u32(b, w->copies));
	return rc;
}

int
sop_word_unpack(struct unpack *u, struct sop_word *ret, struct err *e)
{
	struct sop_word w = { 0 };

	w.is_whole = unpack_u8(u) != 0;
	w.copies = unpack_u32(u);
	if (u->is_bad)
		return bad(e, "end of a page of files");
	*ret = w;
	return 0;
}

/* --- looking after --- */

int
sop_fence_pack(const struct sop_fence *f, struct buf *b)
{
	int rc = pack_id(b, &f->index_id);

	DO(rc, pack_u64(b, f->index_epoch));
	return rc;
}

int
sop_fence_unpack(struct str args, struct sop_fence *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_fence f = { 0 };

	f.index_id = unpack_id(&u);
	f.index_epoch = unpack_u64(&u);
	if (u.is_bad)
		return bad(e, "FENCE");
	*ret = f;
	return 0;
}

int
sop_tidy_pack(enum sop_tidy what, struct buf *b)
{
	return pack_u8(b, (uint8_t)what);
}

int
sop_tidy_unpack(struct str args, enum sop_tidy *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	uint8_t what = unpack_u8(&u);

	if (u.is_bad || what < SOP_SCRUB || what > SOP_COMPARE)
		return bad(e, "TIDY");
	*ret = (enum sop_tidy)what;
	return 0;
}

int
sop_found_pack(const struct sop_found *f, struct buf *b)
{
	int rc = pack_u64(b, f->bad);

	DO(rc, pack_u64(b, f->differ));
	return rc;
}

int
sop_found_unpack(struct str args, struct sop_found *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct sop_found f = { 0 };

	f.bad = unpack_u64(&u);
	f.differ = unpack_u64(&u);
	if (u.is_bad)
		return bad(e, "answer of TIDY");
	*ret = f;
	return 0;
}

/* --- status --- */

void
sop_status_fini(struct sop_status *s)
{
	mem_free(&s->paths);
	s->n_paths = 0;
}

static int
path_pack(const struct sop_path *p, struct buf *b)
{
	const uint64_t v[] = { p->total, p->avail, p->reserved, p->files,
		p->bytes, p->dead_bytes, p->volumes, p->scrub_bytes,
		p->scrub_total, p->scrub_errors, p->scrub_passes,
		p->quarantined, (uint64_t)p->scrub_last_s };
	int rc = pack_str(b, str_of(p->path));

	DO(rc, pack_u8(b, p->is_failed));
	DO(rc, pack_u8(b, p->is_read_only));
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		DO(rc, pack_u64(b, v[i]));
	return rc;
}

static bool
path_unpack(struct unpack *u, struct sop_path *p)
{
	if (!copy_text(u, p->path, sizeof(p->path)))
		return false;
	p->is_failed = unpack_u8(u) != 0;
	p->is_read_only = unpack_u8(u) != 0;
	p->total = unpack_u64(u);
	p->avail = unpack_u64(u);
	p->reserved = unpack_u64(u);
	p->files = unpack_u64(u);
	p->bytes = unpack_u64(u);
	p->dead_bytes = unpack_u64(u);
	p->volumes = unpack_u64(u);
	p->scrub_bytes = unpack_u64(u);
	p->scrub_total = unpack_u64(u);
	p->scrub_errors = unpack_u64(u);
	p->scrub_passes = unpack_u64(u);
	p->quarantined = unpack_u64(u);
	p->scrub_last_s = (int64_t)unpack_u64(u);
	return !u->is_bad;
}

int
sop_status_pack(const struct sop_status *s, struct buf *b)
{
	int rc = pack_u32(b, (uint32_t)s->n_paths);

	for (size_t i = 0; i < s->n_paths; i++)
		DO(rc, path_pack(&s->paths[i], b));
	DO(rc, pack_u32(b, (uint32_t)s->n_peers));
	for (size_t i = 0; i < s->n_peers; i++) {
		DO(rc, pack_u32(b, s->peers[i].server_id));
		DO(rc, pack_u8(b, s->peers[i].is_reachable));
		DO(rc, pack_u8(b, s->peers[i].is_caught_up));
		DO(rc, pack_u64(b, s->peers[i].behind_bytes));
	}
	DO(rc, pack_u64(b, s->pulled_files));
	DO(rc, pack_u64(b, s->pulled_bytes));
	DO(rc, pack_u64(b, s->repaired));
	DO(rc, pack_u64(b, s->compared));
	DO(rc, pack_u64(b, s->found_missing));
	DO(rc, pack_u32(b, s->connections));
	DO(rc, pack_u32(b, s->max_connections));
	DO(rc, pack_u32(b, s->streams));
	return rc;
}

static bool
peers_unpack(struct unpack *u, struct sop_status *s)
{
	s->n_peers = unpack_u32(u);
	if (u->is_bad || s->n_peers > CMAP_MEMBERS)
		return false;
	for (size_t i = 0; i < s->n_peers; i++) {
		s->peers[i].server_id = unpack_u32(u);
		s->peers[i].is_reachable = unpack_u8(u) != 0;
		s->peers[i].is_caught_up = unpack_u8(u) != 0;
		s->peers[i].behind_bytes = unpack_u64(u);
	}
	return !u->is_bad;
}

int
sop_status_unpack(struct unpack *u, struct sop_status *ret, struct err *e)
{
	struct sop_status s = { 0 };
	bool ok = true;

	s.n_paths = unpack_u32(u);
	if (u->is_bad || s.n_paths > CMAP_PATHS)
		return bad(e, "status");
	if (s.n_paths > 0) {
		s.paths = mem_zalloc(s.n_paths * sizeof(*s.paths));
		if (s.paths == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	for (size_t i = 0; ok && i < s.n_paths; i++)
		ok = path_unpack(u, &s.paths[i]);
	ok = ok && peers_unpack(u, &s);
	s.pulled_files = unpack_u64(u);
	s.pulled_bytes = unpack_u64(u);
	s.repaired = unpack_u64(u);
	s.compared = unpack_u64(u);
	s.found_missing = unpack_u64(u);
	s.connections = unpack_u32(u);
	s.max_connections = unpack_u32(u);
	s.streams = unpack_u32(u);
	if (!ok || u->is_bad) {
		sop_status_fini(&s);
		return bad(e, "status");
	}
	*ret = s;
	return 0;
}
