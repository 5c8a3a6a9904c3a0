/* storage/engine/vol.c - volume files and the table of them.
 *
 * L1  A volume in the table has a file; one that was removed lives on until
 *     its last reader has left (its descriptor keeps the bytes).
 * L2  Descriptors are opened at first use and closed only without readers. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>

static void
vol_name(uint64_t no, char dst[24])
{
	snprintf(dst, 24, "%016" PRIx64 ".vol", no);
}

int
vol_path(const struct path *p, uint64_t no, char dst[PATH_MAX], struct err *e)
{
	char name[24];
	int n;

	vol_name(no, name);
	n = snprintf(dst, PATH_MAX, "%s/volumes/%s", p->dir, name);
	if (n < 0 || n >= PATH_MAX)
		return err_set(e, ERR_TOO_BIG, "path too long: %.200s", p->dir);
	return 0;
}

/* --- the table --- */

static size_t
position(const struct path *p, uint64_t no)
{
	size_t lo = 0, hi = p->n_vols;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->vols[mid]->no < no)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct vol *
vol_find(struct path *p, uint64_t no)
{
	size_t i = position(p, no);

	MUST(lock_is_mine(&p->vlock));
	return i < p->n_vols && p->vols[i]->no == no ? p->vols[i] : NULL;
}

static int
insert(struct path *p, struct vol *v, struct err *e)
{
	size_t i;

	if (p->n_vols == p->cap_vols) {
		size_t cap = p->cap_vols == 0 ? 16 : 2 * p->cap_vols;
		struct vol **more = mem_realloc(p->vols, cap * sizeof(*more));

		if (more == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		p->vols = more;
		p->cap_vols = cap;
	}
	i = position(p, v->no);
	MUST(i == p->n_vols || p->vols[i]->no != v->no);
	memmove(p->vols + i + 1, p->vols + i,
	    (p->n_vols - i) * sizeof(*p->vols));
	p->vols[i] = v;
	p->n_vols++;
	return 0;
}

static struct vol *
vol_new(struct path *p, uint64_t no, struct err *e)
{
	struct vol *v = mem_zalloc(sizeof(*v));

	if (v == NULL) {
		err_set(e, ERR_NO_MEMORY, NULL);
		return NULL;
	}
	v->magic = VOL_OBJ_MAGIC;
	v->p = p;
	v->no = no;
	v->fd = -1;
	v->refs = 1;
	return v;
}

void
vol_free(struct vol *v)
{
	OBJ_CHECK(v, VOL_OBJ_MAGIC);
	fs_close(&v->fd);
	v->magic = 0;
	free(v);
}

int
vol_add(struct path *p, uint64_t no, struct vol **ret, struct err *e)
{
	struct vol *v = vol_new(p, no, e);
	int rc;

	if (v == NULL)
		return ERR_NO_MEMORY;
	lock_take(&p->vlock);
	rc = insert(p, v, e);
	lock_drop(&p->vlock);
	if (rc < 0) {
		vol_free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

/* --- tags --- */

uint32_t
vol_tag(const struct path *p, uint64_t no)
{
	MUST(lock_is_mine(&p->vlock));
	if (no > p->tags_of || p->tags_of - no > FMT_TAGS)
		return 0;
	return p->tags[p->tags_of - no];
}

/* The newest volume knows most. */
static void
note_tags(struct path *p, const struct vol_header *h)
{
	MUST(lock_is_mine(&p->vlock));
	if (h->no <= p->tags_of)
		return;
	p->tags_of = h->no;
	p->tags[0] = fmt_vol_tag(h->salt);
	memcpy(p->tags + 1, h->tags, sizeof(h->tags));
}

/* --- files --- */

static int
write_new(struct vol *v, const struct vol_header *h, const char *tmp,
    const char *name, struct err *e)
{
	uint8_t raw[FMT_VOL_HEADER];
	int rc = fs_open(tmp, O_RDWR | O_CREAT | O_TRUNC, &v->fd, e);

	if (rc < 0)
		return rc;
	fmt_vol_header_encode(h, raw);
	rc = fs_allocate(v->fd, 0, h->alloc, e);
	if (rc == 0)
		rc = fs_pwrite_all(v->fd, str_mem(raw, sizeof(raw)), 0, e);
	if (rc == 0)
		rc = fs_fsync(v->fd, e);
	if (rc == 0)
		rc = fs_rename(tmp, name, e);
	if (rc == 0)
		rc = fs_sync_parent(name, e);
	return rc;
}

int
vol_create(struct path *p, uint64_t no, uint64_t alloc, uint64_t prev_no,
    uint64_t prev_end, struct vol **ret, struct err *e)
{
	struct vol_header h = {
		.ident = p->ident,
		.no = no,
		.created_ns = clock_real_ns(),
		.incarnation = p->g->incarnation,
		.prev_no = prev_no,
		.prev_end = prev_end,
		.alloc = alloc,
	};
	char name[PATH_MAX], tmp[PATH_MAX + 8];
	struct vol *v;
	int rc = vol_path(p, no, name, e);

	if (rc < 0)
		return rc;
	snprintf(tmp, sizeof(tmp), "%s.new", name);
	rand_bytes(h.salt, sizeof(h.salt));
	lock_take(&p->vlock);
	for (size_t i = 0; i < FMT_TAGS; i++)
		h.tags[i] = vol_tag(p, no - 1 - i);
	lock_drop(&p->vlock);
	v = vol_new(p, no, e);
	if (v == NULL)
		return ERR_NO_MEMORY;
	memcpy(v->salt, h.salt, sizeof(h.salt));
	v->prev_no = prev_no;
	v->prev_end = prev_end;
	v->created_s = h.created_ns / 1000000000;
	v->alloc = alloc;
	v->end = v->replayed = FMT_VOL_HEADER;
	atomic_store(&v->durable, FMT_VOL_HEADER);
	v->is_dirty = true;
	rc = write_new(v, &h, tmp, name, e);
	if (rc == 0) {
		lock_take(&p->vlock);
		rc = insert(p, v, e);
		if (rc == 0)
			note_tags(p, &h);
		lock_drop(&p->vlock);
	}
	if (rc < 0) {
		/* It may have its name already: a volume without needles. */
		fs_unlink(tmp, NULL);
		fs_unlink(name, NULL);
		vol_free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

int
vol_load_header(struct vol *v, struct vol_header *ret, struct err *e)
{
	uint8_t raw[FMT_VOL_HEADER];
	int rc = fs_pread_all(v->fd, raw, sizeof(raw), 0, e);

	return rc < 0 ? rc : fmt_vol_header_decode(raw, ret, e);
}

int
vol_open(struct vol *v, struct err *e)
{
	uint8_t raw[FMT_VOL_HEADER];
	struct vol_header h;
	char name[PATH_MAX];
	uint64_t size = 0;
	int fd = -1, rc;

	lock_take(&v->p->vlock);
	fd = v->fd;
	lock_drop(&v->p->vlock);
	if (fd >= 0)
		return 0;
	rc = vol_path(v->p, v->no, name, e);
	if (rc == 0)
		rc = fs_open(name, O_RDWR, &fd, e);
	if (rc == 0)
		rc = fs_pread_all(fd, raw, sizeof(raw), 0, e);
	if (rc == 0)
		rc = fs_size(fd, &size, e);
	if (rc == 0)
		rc = fmt_vol_header_decode(raw, &h, e);
	if (rc == 0 &&
	    (h.no != v->no ||
		!id128_eq(&h.ident.deployment, &v->p->ident.deployment) ||
		!id128_eq(&h.ident.path, &v->p->ident.path)))
		rc = err_set(e, ERR_CORRUPT, "%s belongs elsewhere", name);
	if (rc == ERR_END)
		rc = err_set(e, ERR_CORRUPT, "%s is cut off", name);
	if (rc < 0) {
		fs_close(&fd);
		return rc;
	}
	lock_take(&v->p->vlock);
	if (v->fd >= 0) {
		fs_close(&fd); /* another thread was first */
	} else {
		memcpy(v->salt, h.salt, sizeof(v->salt));
		v->prev_no = h.prev_no;
		v->prev_end = h.prev_end;
		v->created_s = h.created_ns / 1000000000;
		note_tags(v->p, &h);
		v->alloc = size;
		v->fd = fd;
	}
	lock_drop(&v->p->vlock);
	return 0;
}

/* --- readers --- */

struct vol *
vol_get(struct path *p, uint64_t no, unsigned *ret_slot, int *ret_rc,
    struct err *e)
{
	struct vol *v;
	bool is_open = false;
	int rc = 0;

	lock_take(&p->vlock);
	v = vol_find(p, no);
	if (v != NULL) {
		v->refs++;
		*ret_slot = v->epoch & 1;
		v->readers[*ret_slot]++;
		is_open = v->fd >= 0;
		if (!is_open)
			v->used_ns = clock_mono_ns();
	}
	lock_drop(&p->vlock);
	*ret_rc = 0;
	if (v == NULL)
		return NULL;
	if (!is_open)
		rc = vol_open(v, e);
	if (rc < 0) {
		vol_put(&v, *ret_slot);
		*ret_rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	return v;
}

void
vol_put(struct vol **vp, unsigned slot)
{
	struct vol *v = *vp;
	struct path *p;
	bool is_last;

	*vp = NULL;
	if (v == NULL)
		return;
	OBJ_CHECK(v, VOL_OBJ_MAGIC);
	p = v->p;
	lock_take(&p->vlock);
	MUST(v->refs > 0 && v->readers[slot] > 0);
	if (--v->readers[slot] == 0 && slot != (v->epoch & 1))
		cond_broadcast(&p->vcond);
	is_last = --v->refs == 0;
	lock_drop(&p->vlock);
	if (is_last)
		vol_free(v);
}

static bool
wait_slot(struct vol *v, unsigned slot, int64_t until_ns)
{
	while (v->readers[slot] > 0) {
		int64_t left = until_ns - clock_mono_ns();

		if (left <= 0 || !cond_wait_ms(&v->p->vcond, &v->p->vlock,
				     (int)(left / 1000000) + 1))
			return v->readers[slot] == 0;
	}
	return true;
}

bool
vol_drain_readers(struct vol *v, int ms)
{
	int64_t until = clock_mono_ns() + (int64_t)ms * 1000000;
	bool ok;

	lock_take(&v->p->vlock);
	/* What an earlier call did not see leave. */
	ok = wait_slot(v, (v->epoch + 1) & 1, until);
	if (ok) {
		unsigned old = v->epoch++ & 1;

		ok = wait_slot(v, old, until);
	}
	lock_drop(&v->p->vlock);
	return ok;
}

void
vol_drop_row(struct path *p, uint64_t no)
{
	size_t cap = p->cap_removed == 0 ? 16 : 2 * p->cap_removed;
	uint64_t *more;

	MUST(lock_is_mine(&p->vlock));
	if (p->n_removed == p->cap_removed) {
		more = mem_realloc(p->removed, cap * sizeof(*more));
		if (more == NULL) /* the row stays, harmless */
			return;
		p->removed = more;
		p->cap_removed = cap;
	}
	p->removed[p->n_removed++] = no;
}

int
vol_remove(struct vol *v, struct err *e)
{
	struct path *p = v->p;
	char name[PATH_MAX];
	bool is_last;
	size_t i;
	int rc = vol_path(p, v->no, name, e);

	if (rc == 0)
		rc = fs_unlink(name, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	/* Before a tombstone that belongs to it may be dropped. No sync is
	 * tried twice: what this one left in doubt, a start settles. */
	rc = fs_sync_parent(name, e);
	if (rc < 0) {
		p->is_failed = true;
		path_event(p, LOG_ERROR, "taken out of service: %s",
		    e == NULL ? err_text(rc) : e->msg);
		return rc;
	}
	lock_take(&p->vlock);
	vol_drop_row(p, v->no);
	i = position(p, v->no);
	MUST(i < p->n_vols && p->vols[i] == v);
	memmove(p->vols + i, p->vols + i + 1,
	    (p->n_vols - i - 1) * sizeof(*p->vols));
	p->n_vols--;
	v->is_removed = true;
	is_last = --v->refs == 0;
	lock_drop(&p->vlock);
	if (is_last)
		vol_free(v);
	return 0;
}

/* Only what nobody holds: the table's own reference is left. */
void
vols_trim(struct path *p, size_t keep)
{
	int64_t limit = clock_mono_ns() - INT64_C(10) * 1000000000;
	size_t open = 0;

	lock_take(&p->vlock);
	for (size_t i = 0; i < p->n_vols; i++)
		open += p->vols[i]->fd >= 0;
	for (size_t i = 0; i < p->n_vols && open > keep; i++) {
		struct vol *v = p->vols[i];

		if (v->fd >= 0 && v->refs == 1 && v->n.sealed &&
		    v->used_ns < limit) {
			fs_close(&v->fd);
			open--;
		}
	}
	lock_drop(&p->vlock);
}

/* --- needles in it --- */

int
vol_read_header(struct vol *v, uint64_t off, uint32_t hdr_len, uint8_t *buf,
    struct needle *ret, struct err *e)
{
	int rc;

	if (hdr_len < FMT_HDR_FIXED || hdr_len > FMT_HDR_MAX)
		return err_set(e, ERR_CORRUPT, "impossible header length %u",
		    hdr_len);
	rc = fs_pread_all(v->fd, buf, hdr_len, off, e);
	if (rc == ERR_END)
		return err_set(e, ERR_CORRUPT, "volume %016jx is cut off",
		    (uintmax_t)v->no);
	if (rc < 0)
		return rc;
	return needle_decode(buf, hdr_len, &v->p->ident, v->no, off, v->salt,
	    ret, e);
}

int
vol_check_payload(struct vol *v, uint64_t off, const struct needle *n,
    struct err *e)
{
	uint64_t seed = fmt_file_seed(n->id, n->version);
	uint8_t *block;
	int rc = 0;

	if (n->payload_len == 0)
		return 0;
	block = mem_alloc(ENGINE_BLOCK);
	if (block == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (uint32_t i = 0; i < n->n_blocks && rc == 0; i++) {
		uint64_t at = (uint64_t)i * ENGINE_BLOCK;
		size_t len = n->payload_len - at < ENGINE_BLOCK
		                 ? (size_t)(n->payload_len - at)
		                 : ENGINE_BLOCK;
		uint32_t want;

		rc = fs_pread_all(v->fd, block, len, off + n->hdr_len + at, e);
		if (rc < 0)
			break;
		memcpy(&want, n->blocks + 4 * (size_t)i, 4);
		if (le32toh(want) !=
		    fmt_block_sum(seed, i, hash_crc32c(0, block, len)))
			rc = err_set(e, ERR_CORRUPT, "block %u of %.*s", i,
			    STR_ARG(n->id));
	}
	free(block);
	return rc == ERR_END ? ERR_CORRUPT : rc;
}
