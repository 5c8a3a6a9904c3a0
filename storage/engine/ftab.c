/* storage/engine/ftab.c - the table of newest locations: a hash in memory by
 * key and by write ID. Entries are appended in chunks and never move, so that
 * a frozen table can be read while it is written out. Guarded by the caller's
 * lock. */
#include "storage/engine/engine_int.h"

#include "lib/mem.h"

enum {
	CHUNK = 512,
	FIRST_BUCKETS = 1024
};
#define NONE UINT32_MAX

/* A new file goes where the index grows; anything else dirties pages of its
 * own, which LMDB keeps in memory until the commit (and after). */
enum {
	WEIGHT_ELSEWHERE = 32
};

struct ftab {
	struct fent **chunks;
	size_t n_chunks, cap_chunks;
	size_t n, weight;
	uint32_t *by_key, *by_wid;
	size_t n_buckets; /* a power of two */
};

static int
make_buckets(struct ftab *t, size_t n)
{
	uint32_t *k = mem_alloc(n * sizeof(*k));
	uint32_t *w = mem_alloc(n * sizeof(*w));

	if (k == NULL || w == NULL) {
		free(k);
		free(w);
		return ERR_NO_MEMORY;
	}
	memset(k, 0xff, n * sizeof(*k));
	memset(w, 0xff, n * sizeof(*w));
	free(t->by_key);
	free(t->by_wid);
	t->by_key = k;
	t->by_wid = w;
	t->n_buckets = n;
	return 0;
}

struct ftab *
ftab_new(void)
{
	return mem_zalloc(sizeof(struct ftab));
}

void
ftab_free(struct ftab **tp)
{
	struct ftab *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n_chunks; i++)
		free(t->chunks[i]);
	free(t->chunks);
	free(t->by_key);
	free(t->by_wid);
	free(t);
}

size_t
ftab_len(const struct ftab *t)
{
	return t->n;
}

size_t
ftab_weight(const struct ftab *t)
{
	return t->weight;
}

struct fent *
ftab_at(const struct ftab *t, size_t i)
{
	return &t->chunks[i / CHUNK][i % CHUNK];
}

static size_t
slot_of(const struct ftab *t, const uint8_t *p)
{
	uint64_t h;

	memcpy(&h, p + 8, sizeof(h)); /* random in keys and write IDs alike */
	return (size_t)((h ^ h >> 32) & (t->n_buckets - 1));
}

static void
link_entry(struct ftab *t, size_t i)
{
	struct fent *f = ftab_at(t, i);
	size_t s = slot_of(t, f->key.b);

	f->next_key = t->by_key[s];
	t->by_key[s] = (uint32_t)i;
	s = slot_of(t, f->wid.b);
	f->next_wid = t->by_wid[s];
	t->by_wid[s] = (uint32_t)i;
}

/* More buckets are only faster: without memory the chains grow. */
static void
grow_buckets(struct ftab *t)
{
	if (make_buckets(t, 2 * t->n_buckets) != 0)
		return;
	for (size_t i = 0; i < t->n; i++)
		link_entry(t, i);
}

int
ftab_reserve(struct ftab *t, size_t n, struct err *e)
{
	if (t->n_buckets == 0 && make_buckets(t, FIRST_BUCKETS) != 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (t->n_chunks * CHUNK < t->n + n) {
		if (t->n_chunks == t->cap_chunks) {
			size_t cap =
			    t->cap_chunks == 0 ? 16 : 2 * t->cap_chunks;
			struct fent **more =
			    mem_realloc(t->chunks, cap * sizeof(*more));

			if (more == NULL)
				return err_set(e, ERR_NO_MEMORY, NULL);
			t->chunks = more;
			t->cap_chunks = cap;
		}
		t->chunks[t->n_chunks] = mem_alloc(CHUNK * sizeof(struct fent));
		if (t->chunks[t->n_chunks] == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		t->n_chunks++;
	}
	if (t->n > 2 * t->n_buckets)
		grow_buckets(t);
	return 0;
}

struct fent *
ftab_find(const struct ftab *t, const struct fkey *key)
{
	if (t->n == 0)
		return NULL;
	for (uint32_t i = t->by_key[slot_of(t, key->b)]; i != NONE;) {
		struct fent *f = ftab_at(t, i);

		if (memcmp(f->key.b, key->b, sizeof(key->b)) == 0)
			return f;
		i = f->next_key;
	}
	return NULL;
}

struct fent *
ftab_find_wid(const struct ftab *t, const struct id128 *wid)
{
	if (t->n == 0)
		return NULL;
	for (uint32_t i = t->by_wid[slot_of(t, wid->b)]; i != NONE;) {
		struct fent *f = ftab_at(t, i);

		if (id128_eq(&f->wid, wid))
			return f;
		i = f->next_wid;
	}
	return NULL;
}

/* The entry's write ID becomes another. */
static void
change_wid(struct ftab *t, struct fent *f, const struct id128 *wid)
{
	uint32_t *at = &t->by_wid[slot_of(t, f->wid.b)], i;

	while (ftab_at(t, *at) != f)
		at = &ftab_at(t, *at)->next_wid;
	i = *at;
	*at = f->next_wid;
	f->wid = *wid;
	at = &t->by_wid[slot_of(t, wid->b)];
	f->next_wid = *at;
	*at = i;
}

void
ftab_put(struct ftab *t, const struct fkey *key, const struct id128 *wid,
    const struct id128 *old_wid, const struct loc *loc, bool is_new)
{
	static const struct id128 none;
	struct fent *f = ftab_find(t, key);

	if (old_wid == NULL || id128_eq(old_wid, wid))
		old_wid = &none;
	if (f != NULL) {
		f->loc = *loc;
		f->is_new |= is_new;
		/* Of several, the first is the one that LMDB may have. */
		if (id128_is_zero(&f->old_wid))
			f->old_wid = *old_wid;
		if (!id128_eq(&f->wid, wid))
			change_wid(t, f, wid);
		return;
	}
	MUST(t->n < t->n_chunks * CHUNK && t->n < NONE);
	f = ftab_at(t, t->n);
	*f = (struct fent){ .key = *key,
		.wid = *wid,
		.old_wid = *old_wid,
		.loc = *loc,
		.is_new = is_new };
	t->weight += is_new && loc_is_live(loc) && id128_is_zero(old_wid)
	                 ? 1
	                 : WEIGHT_ELSEWHERE;
	link_entry(t, t->n++);
}
