/* gateway/index/chunk.c - what the archive keeps (gateway/index/chunk.h). */
#include "gateway/index/chunk.h"

#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define FORMAT 1

static const char magic[8] = "CREELCHK";

void
chunk_header(const struct id128 *index_id, const struct ilog_chunk *c,
    struct str frames, char p[CHUNK_HEADER])
{
	memset(p, 0, CHUNK_HEADER);
	memcpy(p + 8, magic, 8);
	put_le32(p + 16, FORMAT);
	memcpy(p + 24, index_id->b, 16);
	put_le64(p + 40, c->epoch);
	put_le64(p + 48, c->number);
	put_le64(p + 56, c->off);
	put_le64(p + 64, c->first_seq);
	put_le64(p + 72, c->last_seq);
	memcpy(p + 80, c->salt, 16);
	put_le64(p + 96, frames.len);
	put_le64(p, hash_xxh3(CHUNK_HEADER, p + 8, CHUNK_HEADER - 8));
}

int
chunk_parse(struct str blob, struct id128 *ret_index_id, struct ilog_chunk *ret,
    struct str *ret_frames, struct err *e)
{
	const char *p = blob.p;

	if (blob.len < CHUNK_HEADER || memcmp(p + 8, magic, 8) != 0)
		return err_set(e, ERR_CORRUPT, "not a chunk of an index log");
	if (get_le32(p + 16) > FORMAT)
		return err_set(e, ERR_VERSION,
		    "archived index log of format "
		    "%u",
		    get_le32(p + 16));
	if (get_le64(p) != hash_xxh3(CHUNK_HEADER, p + 8, CHUNK_HEADER - 8) ||
	    get_le64(p + 96) != blob.len - CHUNK_HEADER)
		return err_set(e, ERR_CORRUPT, "archived index log is damaged");
	memcpy(ret_index_id->b, p + 24, 16);
	ret->epoch = get_le64(p + 40);
	ret->number = get_le64(p + 48);
	ret->off = get_le64(p + 56);
	ret->first_seq = get_le64(p + 64);
	ret->last_seq = get_le64(p + 72);
	memcpy(ret->salt, p + 80, 16);
	*ret_frames = str_skip(blob, CHUNK_HEADER);
	return 0;
}

int
chunk_replay(const struct ilog_chunk *c, struct str frames, uint64_t after,
    ilog_replay_fn fn, void *arg, struct err *e)
{
	uint64_t seq = c->first_seq, off = c->off;
	struct ilog_frame f;
	int rc;

	while (frames.len > 0) {
		if (!ilog_frame_parse(frames, c->salt, off, &f) ||
		    f.size > frames.len || f.first_seq != seq)
			return err_set(e, ERR_CORRUPT,
			    "archived index log is "
			    "damaged at transaction %ju",
			    (uintmax_t)seq);
		seq = f.first_seq + f.n_tx;
		off += f.size;
		frames = str_skip(frames, f.size);
		if (seq - 1 <= after)
			continue;
		rc = fn(arg, f.first_seq, f.n_tx, f.payload, e);
		if (rc != 0)
			return rc;
	}
	if (seq != c->last_seq + 1)
		return err_set(e, ERR_CORRUPT,
		    "archived index log ends at "
		    "transaction %ju",
		    (uintmax_t)seq - 1);
	return 0;
}

void
archived_fini(struct archived_list *l)
{
	mem_free(&l->p);
	l->n = l->size = 0;
}

int
archived_add(struct archived_list *l, const struct archived *a, struct err *e)
{
	struct archived *p;
	size_t size;

	if (l->n == l->size) {
		size = l->size == 0 ? 16 : l->size * 2;
		p = mem_realloc(l->p, size * sizeof(*p));
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		l->p = p;
		l->size = size;
	}
	l->p[l->n++] = *a;
	return 0;
}

void
archived_remove(struct archived_list *l, size_t i)
{
	memmove(l->p + i, l->p + i + 1, (l->n - i - 1) * sizeof(*l->p));
	l->n--;
}

struct str
archived_note(const struct archived *a, char buf[128])
{
	int n = snprintf(buf, 128, "index/1 %s %ju %ju %ju",
	    a->is_snapshot ? "snapshot" : "log", (uintmax_t)a->epoch,
	    (uintmax_t)a->first, (uintmax_t)a->last);

	return str_mem(buf, (size_t)n);
}

bool
archived_parse(struct str note, struct archived *ret)
{
	struct str word = str_split(&note, ' ');
	uint64_t v[3];

	if (!str_eq(word, STR_LIT("index/1")))
		return false;
	word = str_split(&note, ' ');
	ret->is_snapshot = str_eq(word, STR_LIT("snapshot"));
	if (!ret->is_snapshot && !str_eq(word, STR_LIT("log")))
		return false;
	for (int i = 0; i < 3; i++) {
		if (!str_to_u64(str_split(&note, ' '), UINT64_MAX, &v[i]))
			return false;
	}
	ret->epoch = v[0];
	ret->first = v[1];
	ret->last = v[2];
	return note.p == NULL && ret->first <= ret->last;
}

struct loading {
	struct archived_list *list;
	const struct id128 *index_id;
	struct err *e;
};

static int
load_one(void *arg, const struct blob_info *i)
{
	struct loading *l = arg;
	struct archived a = { .size = i->size,
		.created_s = i->created_s,
		.index_id = i->index_id };

	if (l->index_id != NULL && !id128_eq(l->index_id, &i->index_id))
		return 0;
	memcpy(a.id, i->id, sizeof(a.id));
	return archived_add(l->list, &a, l->e);
}

int
archived_load(struct blob *b, const struct id128 *index_id,
    struct archived_list *ret, struct err *e)
{
	struct archived_list list = { 0 };
	struct loading l = { &list, index_id, e };
	struct buf note = BUF_CAP(4096);
	struct blob_file *f;
	int rc;

	rc = blob_each(b, BLOB_CLASS_INDEX, load_one, &l, e);
	/* Notes afterwards: no call into the blobs from within one. */
	for (size_t i = 0; rc == 0 && i < list.n;) {
		rc = blob_open(b, str_of(list.p[i].id), &f, e);
		if (rc == 0) {
			buf_reset(&note);
			rc = blob_note(f, &note, e);
			blob_file_close(&f);
		}
		if (rc == ERR_NOT_FOUND ||
		    (rc == 0 && !archived_parse(buf_str(&note), &list.p[i]))) {
			archived_remove(&list, i);
			rc = 0;
			continue;
		}
		i++;
	}
	buf_fini(&note);
	if (rc < 0) {
		archived_fini(&list);
		return rc;
	}
	*ret = list;
	return 0;
}

const struct archived *
archived_next(const struct archived_list *l, uint64_t min_epoch, uint64_t seq,
    uint64_t *ret_limit)
{
	const struct archived *best = NULL, *a;
	uint64_t limit;

	for (size_t i = 0; i < l->n; i++) {
		a = &l->p[i];
		if (a->is_snapshot || a->epoch < min_epoch ||
		    a->first > seq + 1 || a->last <= seq)
			continue;
		if (best == NULL || a->epoch > best->epoch ||
		    (a->epoch == best->epoch && a->last > best->last))
			best = a;
	}
	if (best == NULL)
		return NULL;
	limit = best->last;
	for (size_t i = 0; i < l->n; i++) {
		a = &l->p[i];
		if (!a->is_snapshot && a->epoch > best->epoch &&
		    a->first - 1 < limit)
			limit = a->first - 1;
	}
	if (limit <= seq)
		return NULL; /* the later epoch's own beginning is missing */
	*ret_limit = limit;
	return best;
}

const struct archived *
archived_snapshot(const struct archived_list *l, const bool *skip)
{
	const struct archived *best = NULL, *a;

	for (size_t i = 0; i < l->n; i++) {
		a = &l->p[i];
		if (!a->is_snapshot || (skip != NULL && skip[i]))
			continue;
		if (best == NULL || a->epoch > best->epoch ||
		    (a->epoch == best->epoch && a->first > best->first))
			best = a;
	}
	return best;
}
