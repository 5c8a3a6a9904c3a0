/* gateway/object/put.c - bytes into extents, extents into an object.
 *
 * A body that comes in one piece is stored from where it lies; a small one in
 * pieces is buffered and written in one call; a bigger one streams into
 * extents. Their size doubles after every 64 of them, so that 5 TiB are some
 * 700 and the manifest stays small in memory and on disk.
 * Each extent has a write ID of its own, random, drawn before its first byte;
 * the first one's is the object record's. */
#include "gateway/object/put.h"

#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdio.h>

/* A body that is kept whole can be written again elsewhere (one that streams
 * cannot); within bounds for all of them together. */
static bool
reserve(struct store *s, uint64_t size)
{
	uint64_t was = atomic_fetch_add(&s->reserved, size);

	if (was + size <= PUT_BUFFERS_ALL)
		return true;
	atomic_fetch_sub(&s->reserved, size);
	return false;
}

int
put_begin(struct store *s, const struct bucket *b, struct str key,
    uint64_t size, struct put **ret, struct err *e)
{
	struct put *p;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc < 0)
		return rc;
	p = mem_zalloc(sizeof(*p));
	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	p->magic = PUT_MAGIC;
	p->s = s;
	p->bucket = *b;
	key_append(&p->key, key);
	p->expected = size;
	p->write_id = id128_new_ordered();
	p->buf_max = PUT_BUFFER;
	if (size > PUT_BUFFER && size <= blob_whole_max(s->blob) &&
	    reserve(s, size))
		p->buf_max = p->reserved = (size_t)size;
	lock_take(&s->lock);
	p->next = s->puts;
	if (p->next != NULL)
		p->next->prev = p;
	s->puts = p;
	lock_drop(&s->lock);
	*ret = p;
	return 0;
}

static struct str
make_note(const struct put *p, char *dst, size_t size)
{
	Rec__Note n;
	char name[sizeof(p->bucket.name)];

	rec__note__init(&n);
	memcpy(name, p->bucket.name, sizeof(name));
	n.bucket = name;
	n.key = rec_bin(p->key.b, p->key.len);
	n.incarnation = p->bucket.incarnation;
	if (rec__note__get_packed_size(&n) > size)
		return STR_NULL;
	return str_mem(dst, rec__note__pack(&n, (uint8_t *)dst));
}

/* S2: the next extent's write ID is known before its blob is begun. */
static int
add_extent(struct put *p, struct err *e)
{
	struct store *s = p->s;
	struct put_extent *x = NULL, *old = NULL;
	size_t size = p->size;
	struct id128 id = p->n == 0 ? p->write_id : id128_new_ordered();

	if (p->n == p->size) {
		size = size == 0 ? 1 : size * 4;
		x = mem_zalloc(size * sizeof(*x));
		if (x == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		if (p->n > 0)
			memcpy(x, p->x, p->n * sizeof(*x));
	}
	lock_take(&s->lock);
	if (x != NULL) {
		old = p->x;
		p->x = x;
		p->size = size;
	}
	p->x[p->n] = (struct put_extent){ .write_id = id };
	p->n++;
	lock_drop(&s->lock);
	mem_free(&old);
	return 0;
}

static struct blob_owner
owner_of(struct put *p, char *note, size_t size)
{
	return (struct blob_owner){ .class = BLOB_CLASS_S3,
		.index_id = p->s->index_id,
		.write_id = p->x[p->n - 1].write_id,
		.note = make_note(p, note, size) };
}

static uint64_t
extent_limit(const struct put *p)
{
	size_t doublings = p->n / 64;

	return p->s->conf.extent_size << (doublings > 16 ? 16 : doublings);
}

static int
begin_extent(struct put *p, struct err *e)
{
	char note[BLOB_NOTE_MAX];
	struct blob_owner owner;
	uint64_t hint = UINT64_MAX;
	int rc;

	p->cur_limit = extent_limit(p);
	rc = add_extent(p, e);
	if (rc < 0)
		return rc;
	owner = owner_of(p, note, sizeof(note));
	if (p->expected != UINT64_MAX) {
		hint = p->expected - p->total;
		if (hint > p->cur_limit)
			hint = p->cur_limit;
	}
	return blob_put_begin(p->s->blob, str_of(p->bucket.group), &owner, hint,
	    &p->cur, e);
}

int
put_only_extent(struct put *p, char *note, size_t size, struct blob_owner *ret,
    struct err *e)
{
	int rc = add_extent(p, e);

	if (rc < 0)
		return rc;
	*ret = owner_of(p, note, size);
	ret->is_new = true;
	return 0;
}

static int
end_extent(struct put *p, struct err *e)
{
	struct put_extent *x = &p->x[p->n - 1];
	struct blob_info info;
	int rc = blob_put_commit(&p->cur, &info, e);

	if (rc < 0)
		return rc;
	MUST(info.size == x->len);
	memcpy(x->id, info.id, sizeof(x->id));
	return 0;
}

static int
stream(struct put *p, const char *data, size_t len, bool lent, struct err *e)
{
	int rc;

	while (len > 0) {
		struct put_extent *x;
		size_t n = len;

		if (p->cur != NULL && p->x[p->n - 1].len == p->cur_limit) {
			rc = end_extent(p, e);
			if (rc < 0)
				return rc;
		}
		if (p->cur == NULL) {
			rc = begin_extent(p, e);
			if (rc < 0)
				return rc;
		}
		x = &p->x[p->n - 1];
		if (n > p->cur_limit - x->len)
			n = (size_t)(p->cur_limit - x->len);
		rc = lent ? blob_put_lend(p->cur, data, n, e)
		          : blob_put_write(p->cur, data, n, e);
		if (rc < 0)
			return rc;
		x->len += n;
		p->total += n;
		data += n;
		len -= n;
	}
	return 0;
}

/* Up to the limit; at once when the size is known. */
static int
grow_buffer(struct put *p, size_t need, struct err *e)
{
	size_t size = p->buf_size == 0 ? 4096 : p->buf_size;
	char *b;

	if (p->expected <= p->buf_max)
		size = (size_t)p->expected;
	while (size < need)
		size *= 2;
	b = mem_realloc(p->buf, size);
	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	p->buf = b;
	p->buf_size = size;
	return 0;
}

static int
flush_buffer(struct put *p, struct err *e)
{
	size_t n = p->buf_len;
	int rc;

	p->buf_len = 0;
	p->total -= n; /* stream() counts them again */
	rc = stream(p, p->buf, n, false, e);
	mem_free(&p->buf);
	p->buf_size = 0;
	return rc;
}

/* What became of the only extent's bytes is not known: from here on it has
 * another name, and whatever lies under the old one is the sweep's (P4). */
static void
rename_write(struct put *p)
{
	struct id128 id = id128_new_ordered();

	metric_add(METRIC_writes_repeated_total, 1);
	lock_take(&p->s->lock); /* S2 */
	p->write_id = p->x[0].write_id = id;
	lock_drop(&p->s->lock);
}

/* All of it, as the only extent. */
static int
store_whole(struct put *p, struct str body, struct err *e)
{
	char note[BLOB_NOTE_MAX];
	struct blob_owner owner;
	struct blob_info info;
	int tries = 0, rc = add_extent(p, e);

	if (rc < 0)
		return rc;
	for (;;) {
		owner = owner_of(p, note, sizeof(note));
		rc = blob_put_whole(p->s->blob, str_of(p->bucket.group), &owner,
		    body, &info, e);
		if (rc != ERR_RETRY || ++tries == PUT_TRIES)
			break;
		rename_write(p);
	}
	if (rc < 0)
		return rc;
	p->x[0].len = body.len;
	memcpy(p->x[0].id, info.id, sizeof(p->x[0].id));
	return 0;
}

static int
write_bytes(struct put *p, const void *data, size_t len, bool lent,
    struct err *e)
{
	int rc;

	if (p->n > 0)
		return stream(p, data, len, lent, e);
	if (p->total == 0 && len == p->expected && len <= extent_limit(p)) {
		rc = store_whole(p, str_mem(data, len), e);
		if (rc == 0)
			p->total = len;
		return rc;
	}
	if (p->expected > p->buf_max && p->expected != UINT64_MAX)
		return stream(p, data, len, lent, e);
	if (len > p->buf_max - p->buf_len) {
		rc = flush_buffer(p, e);
		return rc < 0 ? rc : stream(p, data, len, lent, e);
	}
	if (len > p->buf_size - p->buf_len) {
		rc = grow_buffer(p, p->buf_len + len, e);
		if (rc < 0)
			return rc;
	}
	memcpy(p->buf + p->buf_len, data, len);
	p->buf_len += len;
	p->total += len;
	return 0;
}

static int
add_bytes(struct put *p, const void *data, size_t len, bool lent, struct err *e)
{
	int rc;

	OBJ_CHECK(p, PUT_MAGIC);
	if (p->is_failed)
		return err_set(e, ERR_FAILED, "this upload has failed");
	if (len == 0)
		return 0;
	if (p->expected != UINT64_MAX && len > p->expected - p->total)
		rc = err_set(e, ERR_INVALID, "more bytes than announced");
	else
		rc = write_bytes(p, data, len, lent, e);
	if (rc < 0)
		p->is_failed = true;
	return rc;
}

int
put_write(struct put *p, const void *data, size_t len, struct err *e)
{
	return add_bytes(p, data, len, false, e);
}

int
put_lend(struct put *p, const void *data, size_t len, struct err *e)
{
	return add_bytes(p, data, len, true, e);
}

void
put_settle(struct put *p)
{
	OBJ_CHECK(p, PUT_MAGIC);
	if (p->cur != NULL)
		blob_put_settle(p->cur);
}

int
put_hold(struct put *p, const void *data, size_t len, struct err *e)
{
	OBJ_CHECK(p, PUT_MAGIC);
	if (len == 0 || p->is_failed || p->total > 0 || len != p->expected ||
	    len > extent_limit(p))
		return put_write(p, data, len, e);
	p->held = str_mem(data, len);
	p->total = len;
	return 0;
}

int
put_finish(struct put *p, struct err *e)
{
	int rc;

	OBJ_CHECK(p, PUT_MAGIC);
	if (p->is_failed)
		return err_set(e, ERR_FAILED, "this upload has failed");
	if (p->expected != UINT64_MAX && p->total != p->expected)
		return err_set(e, ERR_INCOMPLETE_BODY, NULL);
	if (p->cur != NULL)
		return end_extent(p, e);
	if (p->held.p != NULL)
		return store_whole(p, p->held, e);
	if (p->buf_len == 0)
		return 0;
	rc = store_whole(p, str_mem(p->buf, p->buf_len), e);
	if (rc < 0)
		return rc;
	p->buf_len = 0;
	return 0;
}

int
put_store(struct put *p, struct err *e)
{
	int rc = p->n > 0 ? put_finish(p, e) : 0;

	if (rc < 0)
		p->is_failed = true;
	return rc;
}

int
put_extents(struct put *p, struct arena *a, struct extents *ret, struct err *e)
{
	struct extent *x = arena_alloc(a, p->n * sizeof(*x));
	size_t i, n = 0;

	if (x == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < p->n; i++)
		if (p->x[i].id[0] != '\0')
			x[n++] = (struct extent){ .id = str_of(p->x[i].id),
				.write_id = p->x[i].write_id,
				.len = p->x[i].len };
	*ret = (struct extents){ x, n };
	return 0;
}

static int
give_up_fn(struct txn *t, void *arg, struct err *e)
{
	Rec__Manifest m = REC__MANIFEST__INIT;
	const struct extents *x = arg;
	struct str v;
	int rc = rec_extents_make(t->a, x, NULL, &m.extents, e);

	if (rc < 0)
		return rc;
	m.n_extents = x->n;
	rc = rec_manifest_put(t->a, 1, &m, &v, e);
	if (rc < 0)
		return rc;
	return txn_garbage(t, t->now_ns, GARBAGE_EXTENTS, v, e);
}

/* On the garbage list, due now; for what was never committed. Failing is no
 * harm: the sweep finds it. */
static void
give_up_extents(struct store *s, const struct extents *x)
{
	struct extents copy = *x;
	struct err e = ERR_INIT;

	if (x->n > 0)
		(void)store_update_freeing(s, give_up_fn, &copy, &e);
}

void
put_end(struct put **pp, bool give_up)
{
	struct put *p = *pp;
	struct extents x = { 0 };
	struct err e = ERR_INIT;
	struct arena *a;
	struct store *s;

	if (p == NULL)
		return;
	OBJ_CHECK(p, PUT_MAGIC);
	*pp = NULL;
	s = p->s;
	blob_put_abort(&p->cur);
	if (give_up && p->n > 0) {
		a = arena_new(SCRATCH_MAX);
		if (a != NULL && put_extents(p, a, &x, &e) == 0)
			give_up_extents(s, &x);
		arena_free(&a);
	}
	lock_take(&s->lock);
	if (p->prev != NULL)
		p->prev->next = p->next;
	else
		s->puts = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	lock_drop(&s->lock);
	atomic_fetch_sub(&s->reserved, p->reserved);
	p->magic = 0;
	mem_free(&p->buf);
	mem_free(&p->x);
	mem_free(&p);
}

void
put_abort(struct put **pp)
{
	put_end(pp, true);
}
