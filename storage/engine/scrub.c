/* storage/engine/scrub.c - reading everything again: every live needle's
 * payload, every large file, at a bounded rate. Damage is reported, never
 * "repaired" by forgetting. Threads: one pass at a time. */
#include "storage/engine/engine_int.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/mem.h"

struct scrub {
	struct path *p;
	struct vol *v;
	uint64_t rate;
	int64_t start_ns;
	uint64_t done; /* bytes read */
	uint64_t last; /* offset up to which the volume was counted */
	uint8_t *block;
};

/* False when the engine is being closed. */
static bool
pace(struct scrub *s, uint64_t bytes)
{
	int64_t due, now;

	s->done += bytes;
	atomic_fetch_add(&s->p->scrub_bytes, bytes);
	if (s->p->g->tidy_stop)
		return false;
	if (s->rate == 0)
		return true;
	due = (int64_t)((double)s->done / (double)s->rate * 1e9);
	now = clock_mono_ns() - s->start_ns;
	if (due - now < 10 * 1000000)
		return true;
	return tidy_sleep(s->p->g, (due - now) / 1000000);
}

static int
check_large(struct scrub *s, const struct needle *n, struct err *e)
{
	uint64_t seed = fmt_file_seed(n->id, n->version);
	uint32_t blocks = fmt_n_blocks(n->size);
	int fd, rc = large_open(s->p, n, &fd, e);

	if (rc < 0)
		return rc == ERR_NOT_FOUND
		           ? err_set(e, ERR_CORRUPT, "its file is missing")
		           : rc;
	for (uint32_t i = 0; i < blocks && rc == 0; i++) {
		uint64_t at = (uint64_t)i * ENGINE_BLOCK;
		size_t len = n->size - at < ENGINE_BLOCK
		                 ? (size_t)(n->size - at)
		                 : ENGINE_BLOCK;
		uint8_t sum[4];

		rc = fs_pread_all(fd, s->block, len, at, e);
		if (rc == 0)
			rc = large_read_sums(fd, n->size, i, 1, sum, e);
		if (rc == 0 &&
		    get_le32(sum) !=
			fmt_block_sum(seed, i, hash_crc32c(0, s->block, len)))
			rc = err_set(e, ERR_CORRUPT,
			    "block %u failed its checksum", i);
		if (!pace(s, len))
			break;
	}
	fs_close(&fd);
	return rc == ERR_END ? ERR_CORRUPT : rc;
}

static bool
is_current(struct scrub *s, const struct fkey *key, uint64_t off)
{
	struct loc l;

	return findex_get(s->p->fx, key, &l, NULL) == 0 && loc_is_live(&l) &&
	       l.vol == s->v->no && l.off == off;
}

static int
scrub_one(void *arg, const struct needle *n, uint64_t off, struct err *e)
{
	uint64_t total = needle_total(n->hdr_len, n->payload_len);
	struct scrub *s = arg;
	struct err why = ERR_INIT;
	struct fkey key;
	unsigned no;
	int rc = 0;

	s->last = off + total;
	/* Dead ones may have holes in them. */
	if ((n->type == NEEDLE_PUT || n->type == NEEDLE_LARGE) &&
	    engine_key(s->p->g, n->id, &key, &no, NULL) == 0 &&
	    is_current(s, &key, off)) {
		rc = n->type == NEEDLE_PUT
		         ? vol_check_payload(s->v, off, n, &why)
		         : check_large(s, n, &why);
		/* Deleted or moved meanwhile? */
		if ((rc == ERR_CORRUPT || rc == ERR_IO) &&
		    is_current(s, &key, off) &&
		    !engine_bad_file(s->p->g, s->p, n->id, why.msg))
			s->p->scrub_errors++; /* still: it counts in each pass */
		if (rc == ERR_CORRUPT || rc == ERR_IO)
			rc = 0;
	}
	if (rc < 0) {
		if (e != NULL)
			*e = why;
		return rc;
	}
	return pace(s, total) ? 0 : 1;
}

static void
scrub_gap(void *arg, uint64_t from, uint64_t to)
{
	struct scrub *s = arg;

	vol_quarantine(s->p, s->v, from, to);
}

static int
scrub_volume(struct scrub *s, uint64_t no, struct err *e)
{
	struct scan scan = { .from = FMT_VOL_HEADER,
		.fn = scrub_one,
		.gap = scrub_gap,
		.arg = s };
	bool dirty;
	uint64_t end;
	unsigned slot;
	int rc;

	s->v = vol_get(s->p, no, &slot, &rc, e);
	if (s->v == NULL) {
		if (rc == ERR_CORRUPT || rc == ERR_IO)
			rc = 0; /* told when it was opened */
		return rc;
	}
	scan.v = s->v;
	scan.limit = atomic_load(&s->v->durable);
	s->last = FMT_VOL_HEADER;
	rc =
	    scan.limit <= FMT_VOL_HEADER ? 0 : vol_scan(&scan, &end, &dirty, e);
	if (rc == 0 && s->last < scan.limit && scan.limit > FMT_VOL_HEADER)
		scrub_gap(s, s->last, scan.limit);
	vol_put(&s->v, slot);
	return rc;
}

int
scrub_pass(struct path *p, uint64_t rate, struct err *e)
{
	struct scrub s = { .p = p, .rate = rate, .start_ns = clock_mono_ns() };
	uint64_t total = 0, small = 0, no = 0;
	int rc = 0;

	lock_take(&p->vlock);
	for (size_t i = 0; i < p->n_vols; i++) {
		uint64_t d = atomic_load(&p->vols[i]->durable);

		total += d > FMT_VOL_HEADER ? d - FMT_VOL_HEADER : 0;
		small += p->vols[i]->n.live_bytes;
	}
	if (p->bytes > small)
		total += p->bytes - small; /* large files, about */
	lock_drop(&p->vlock);
	p->scrub_total = total;
	p->scrub_bytes = 0;
	s.block = mem_alloc(ENGINE_BLOCK);
	if (s.block == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (rc == 0 && (no = vol_from(p, no + 1)) != 0)
		rc = scrub_volume(&s, no, e);
	free(s.block);
	if (rc > 0)
		return 0; /* stopped */
	if (rc < 0)
		return rc;
	p->scrub_passes++;
	p->scrub_last_s = clock_real_s();
	lock_take(&p->vlock);
	p->is_row_dirty = true;
	lock_drop(&p->vlock);
	return 0;
}
