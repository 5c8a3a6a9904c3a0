/* storage/files/suspects.c - what the sweep found named by nothing, and for how
 * long by this node's own count.
 *
 * No clock says how old a file is: the time in its name is another node's, and
 * this node's may have been wrong, or may have jumped. So what nothing names is
 * remembered when the sweep first meets it, and goes when it still met it so
 * FILES_ORPHAN_S later.
 * U1  Ages are sums of this process's monotonic time; what was saved at the end
 *     of a sweep goes on counting after a start. Time in which the node was down
 *     does not count.
 * U2  Who was not met in a whole sweep is forgotten: it is gone, or was named.
 * U3  At most SUSPECTS_MAX at a time; the others' turn comes when those are gone.
 * The file "sweep" among the node's small files: version u8, number u32, for each:
 * key 16, age in ms u64.
 * Threads: one sweep at a time. */
#include "storage/files/files_int.h"

#include "cluster/pack.h"
#include "lib/mem.h"

#include <stdlib.h>

#define SUSPECTS_MAX 20000
#define SUSPECTS_FILE "sweep"
#define SUSPECTS_VERSION 1
#define SUSPECTS_BYTES (5 + SUSPECTS_MAX * (ENGINE_KEY + 8))

struct suspect {
	uint8_t key[ENGINE_KEY];
	int64_t age_ms;
	bool is_met; /* in this sweep */
};

struct suspects {
	struct suspect *v; /* the first n_sorted by key; SUSPECTS_MAX of room */
	size_t n, n_sorted;
	int64_t counted_ms; /* ages are of then */
	bool is_loaded, is_saved_empty;
};

static int
by_key(const void *a, const void *b)
{
	return memcmp(((const struct suspect *)a)->key,
	    ((const struct suspect *)b)->key, ENGINE_KEY);
}

static int
load(struct files *f, struct suspects *s, struct err *e)
{
	struct buf b = BUF_CAP(SUSPECTS_BYTES);
	struct unpack u;
	uint32_t n;
	int rc = f->env.store_ops->load(f->env.store, SUSPECTS_FILE, &b, e);

	u = unpack_of(buf_str(&b));
	if (rc == 0 && unpack_u8(&u) == SUSPECTS_VERSION) {
		n = unpack_u32(&u);
		for (; n > 0 && !u.is_bad && s->n < SUSPECTS_MAX; n--) {
			struct suspect *x = &s->v[s->n];
			struct id128 key = unpack_id(&u);

			_Static_assert(sizeof(key.b) == ENGINE_KEY, "key");
			memcpy(x->key, key.b, ENGINE_KEY);
			x->age_ms = (int64_t)unpack_u64(&u);
			x->is_met = false;
			/* Begins anew, rather than to be wrong. */
			if (x->age_ms < 0)
				x->age_ms = 0;
			s->n += !u.is_bad;
		}
	}
	buf_fini(&b);
	s->is_saved_empty = rc == ERR_NOT_FOUND;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int
save(struct files *f, struct suspects *s, struct err *e)
{
	struct buf b = BUF_CAP(SUSPECTS_BYTES);
	struct id128 key;
	int rc = pack_u8(&b, SUSPECTS_VERSION);

	if (rc == 0)
		rc = pack_u32(&b, (uint32_t)s->n);
	for (size_t i = 0; rc == 0 && i < s->n; i++) {
		memcpy(key.b, s->v[i].key, ENGINE_KEY);
		rc = pack_id(&b, &key);
		if (rc == 0)
			rc = pack_u64(&b, (uint64_t)s->v[i].age_ms);
	}
	if (rc == 0)
		rc = f->env.store_ops->save(f->env.store, SUSPECTS_FILE,
		    buf_str(&b), e);
	else
		rc = err_set(e, rc, NULL);
	buf_fini(&b);
	return rc;
}

int
suspects_begin(struct files *f, struct err *e)
{
	struct suspects *s = f->suspects;
	int64_t now = files_now_ms(f);
	int rc;

	if (s == NULL) {
		s = mem_zalloc(sizeof(*s));
		if (s != NULL)
			s->v = mem_alloc(SUSPECTS_MAX * sizeof(*s->v));
		if (s == NULL || s->v == NULL) {
			mem_free(&s);
			return err_set(e, ERR_NO_MEMORY, NULL);
		}
		s->counted_ms = now;
		f->suspects = s;
	}
	if (!s->is_loaded) {
		s->n = s->n_sorted = 0;
		rc = load(f, s, e);
		if (rc < 0)
			return rc;
		s->is_loaded = true;
		s->counted_ms = now;
	}
	for (size_t i = 0; i < s->n; i++) {
		s->v[i].age_ms += now - s->counted_ms;
		s->v[i].is_met = false;
	}
	s->counted_ms = now;
	qsort(s->v, s->n, sizeof(*s->v), by_key);
	s->n_sorted = s->n;
	return 0;
}

bool
suspects_meet(struct files *f, const uint8_t key[ENGINE_KEY])
{
	struct suspects *s = f->suspects;
	struct suspect x = { .is_met = true }, *at;

	memcpy(x.key, key, ENGINE_KEY);
	at = bsearch(&x, s->v, s->n_sorted, sizeof(x), by_key);
	if (at != NULL) {
		at->is_met = true;
		return at->age_ms >= (int64_t)FILES_ORPHAN_S * 1000;
	}
	if (s->n < SUSPECTS_MAX)
		s->v[s->n++] = x;
	return false;
}

int
suspects_end(struct files *f, bool is_whole, struct err *e)
{
	struct suspects *s = f->suspects;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].is_met || !is_whole)
			s->v[n++] = s->v[i];
	s->n = n;
	s->n_sorted = 0;
	if (n == 0 && s->is_saved_empty)
		return 0;
	rc = save(f, s, e);
	s->is_saved_empty = rc == 0 && n == 0;
	return rc;
}

void
suspects_free(struct files *f)
{
	if (f->suspects != NULL)
		mem_free(&f->suspects->v);
	mem_free(&f->suspects);
}
