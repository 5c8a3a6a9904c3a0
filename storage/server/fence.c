/* storage/server/fence.c - the highest epoch of each index, durably (W1). What is
 * in memory is durable; while a higher one is being written nobody waits but who
 * brings another new one, and who writes under the one that it will end.
 *
 * Kept as "fences": version u8, count u32, then ID 16 and epoch u64 each. */
#include "storage/server/storage_int.h"

#include "lib/mem.h"

#define FENCE_FILE "fences"
#define FENCE_FORMAT 1

int
fence_load(struct storage *s, struct err *e)
{
	struct buf b = BUF_CAP(FENCES_MAX * 24 + 64);
	struct unpack u;
	uint32_t n;
	int rc = s->env.store_ops->load(s->env.store, FENCE_FILE, &b, e);

	s->fences = mem_zalloc(FENCES_MAX * sizeof(*s->fences));
	if (s->fences == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	if (rc < 0) {
		buf_fini(&b);
		return rc == ERR_NOT_FOUND ? 0 : rc;
	}
	u = unpack_of(buf_str(&b));
	if (unpack_u8(&u) > FENCE_FORMAT)
		rc = err_set(e, ERR_VERSION, "%s/" FENCE_FILE, s->dir);
	n = unpack_u32(&u);
	for (uint32_t i = 0; rc == 0 && i < n && i < FENCES_MAX; i++) {
		s->fences[i].index_id = unpack_id(&u);
		s->fences[i].epoch = unpack_u64(&u);
	}
	if (rc == 0 && (u.is_bad || n > FENCES_MAX))
		rc = err_set(e, ERR_CORRUPT, "%s/" FENCE_FILE " is damaged",
		    s->dir);
	if (rc == 0)
		s->n_fences = n;
	s->fence_changes = s->n_fences > 0;
	buf_fini(&b);
	return rc;
}

static struct fence *
find(struct storage *s, const struct id128 *index)
{
	for (size_t i = 0; i < s->n_fences; i++)
		if (id128_eq(&s->fences[i].index_id, index))
			return &s->fences[i];
	return NULL;
}

/* All fences as they are with @x among them. Under the lock. */
static int
pack_with(struct storage *s, const struct fence *x, struct buf *b)
{
	bool is_new = find(s, &x->index_id) == NULL;
	int rc = pack_u8(b, FENCE_FORMAT);

	if (rc == 0)
		rc = pack_u32(b, (uint32_t)(s->n_fences + is_new));
	for (size_t i = 0; rc == 0 && i < s->n_fences + is_new; i++) {
		const struct fence *f = i < s->n_fences ? &s->fences[i] : x;

		if (id128_eq(&f->index_id, &x->index_id))
			f = x;
		rc = pack_id(b, &f->index_id);
		if (rc == 0)
			rc = pack_u64(b, f->epoch);
	}
	return rc;
}

/* A higher epoch than any before. Under the lock, which it leaves while it
 * writes; nobody else writes meanwhile. */
static int
raise_fence(struct storage *s, const struct fence *x, struct err *e)
{
	struct buf b = BUF_CAP(FENCES_MAX * 24 + 64);
	struct fence *f = find(s, &x->index_id);
	int rc;

	if (f == NULL && s->n_fences == FENCES_MAX)
		return err_set(e, ERR_NO_SPACE, "too many indexes");
	rc = pack_with(s, x, &b);
	if (rc < 0) {
		buf_fini(&b);
		return err_set(e, rc, FENCE_FILE);
	}
	s->fence_next = *x;
	s->is_fence_saving = true;
	lock_drop(&s->fence_lock);
	rc = s->env.store_ops->save(s->env.store, FENCE_FILE, buf_str(&b), e);
	buf_fini(&b);
	lock_take(&s->fence_lock);
	s->is_fence_saving = false;
	if (rc == 0 && f == NULL)
		f = &s->fences[s->n_fences++];
	if (rc == 0) {
		*f = *x;
		s->fence_changes++;
	}
	cond_broadcast(&s->fence_cond);
	return rc;
}

/* Who is about to be fenced out waits for the outcome; all others do not. */
static bool
must_wait(const struct storage *s, const struct id128 *index, bool is_higher)
{
	return s->is_fence_saving &&
	       (is_higher || id128_eq(&s->fence_next.index_id, index));
}

int
fence_check(struct storage *s, const struct id128 *index, uint64_t epoch,
    struct err *e)
{
	struct fence x = { *index, epoch };
	uint64_t known;
	struct fence *f;
	int rc = 0;

	lock_take(&s->fence_lock);
	for (;;) {
		f = find(s, index);
		known = f == NULL ? 0 : f->epoch;
		if (epoch < known || !must_wait(s, index, epoch > known))
			break;
		cond_wait(&s->fence_cond, &s->fence_lock);
	}
	if (epoch < known)
		rc = err_set(e, ERR_ACCESS_DENIED,
		    "the index has moved on: epoch %ju writes, %ju is over",
		    (uintmax_t)known, (uintmax_t)epoch);
	else if (epoch > known)
		rc = raise_fence(s, &x, e);
	lock_drop(&s->fence_lock);
	if (rc == 0 && epoch > known)
		streams_end(s, index, epoch);
	return rc;
}

uint64_t
fence_get(struct storage *s, const struct id128 *index)
{
	struct fence *f;
	uint64_t epoch;

	lock_take(&s->fence_lock);
	f = find(s, index);
	epoch = f == NULL ? 0 : f->epoch;
	lock_drop(&s->fence_lock);
	return epoch;
}
