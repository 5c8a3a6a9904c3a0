/* gateway/object/collect.c - deletes what is due on the garbage list.
 *
 * C1  Only rows that died at or before the sequence of the oldest reader that
 *     has yet to find its object, and that no reader holds: one that takes a
 *     day keeps its own bytes, not all that is deleted meanwhile.
 * C2  Blobs are deleted durably first, then their garbage row goes. A crash in
 *     between deletes them again, which does nothing.
 * C3  A reference that garbage holds (a copied part's) is given back in the
 *     transaction that takes the garbage (or part) row away: exactly once.
 * C4  In the background a row waits until the index's archive holds it, so that
 *     an index rebuilt from there never names bytes that are gone; but not for
 *     long: where the archive cannot be written, deleting has to make room.
 * The thread here also ends abandoned uploads, forgets completed ones after a
 * day, and sweeps every sweep_interval_s. Nothing is locked and no view is open while blobs
 * are deleted; one collector or sweep runs at a time. */
#include "gateway/object/collect.h"

#include "gateway/object/upload.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#define BATCH 256 /* garbage rows of one transaction */
#define BATCH_BYTES (4u << 20)
#define COUNT_MAX 100000 /* rows counted for the statistics */
#define COUNT_EVERY 30   /* passes of a second each */
#define PASS_MS 1000
#define REST_MS 60000 /* the longest, between passes */
#define ARCHIVE_WAIT_NS (20 * (int64_t)1000000000)
#define COMPLETED_KEEP_NS (86400 * (int64_t)1000000000)
#define HOUR_NS (3600 * (int64_t)1000000000)

struct item {
	struct str key;
	struct str value;   /* the row's, checked again in the transaction */
	uint8_t kind;       /* of a garbage row; 0 = a part row */
	struct extents own; /* blobs that go */
	bool has_ref;
	struct id128 ref; /* given back */
};

struct batch {
	struct arena *a;
	struct item item[BATCH];
	size_t n;
};

void
collect_begin(struct store *s)
{
	lock_take(&s->lock);
	while (s->is_collecting)
		cond_wait(&s->collected, &s->lock);
	s->is_collecting = true;
	lock_drop(&s->lock);
}

void
collect_end(struct store *s)
{
	lock_take(&s->lock);
	s->is_collecting = false;
	cond_broadcast(&s->collected);
	lock_drop(&s->lock);
}

static bool
is_stopping(struct store *s)
{
	bool yes;

	lock_take(&s->lock);
	yes = s->stop;
	lock_drop(&s->lock);
	return yes;
}

static bool
is_damaged(int rc)
{
	return rc == ERR_CORRUPT || rc == ERR_VERSION;
}

/* --- what a row names --- */

static int
part_garbage(struct str value, struct arena *a, struct extents *ret,
    bool *ret_has_ref, struct id128 *ret_ref, struct err *e)
{
	struct rec_part p;
	int rc = rec_part_get(value, a, &p, e);

	if (rc < 0)
		return rc;
	*ret_has_ref = p.is_borrowed;
	if (p.is_borrowed) {
		*ret_ref = p.borrowed;
		*ret = (struct extents){ 0 };
	} else {
		*ret = p.x;
	}
	return 0;
}

int
garbage_extents(uint8_t kind, struct str payload, struct arena *a,
    struct extents *ret, bool *ret_has_ref, struct id128 *ret_ref,
    struct err *e)
{
	Rec__Manifest *m;
	struct rec_object o;
	uint32_t refs;
	int rc;

	*ret = (struct extents){ 0 };
	*ret_has_ref = false;
	switch (kind) {
	case GARBAGE_OBJECT:
		rc = rec_object_get(payload, a, &o, e);
		return rc < 0 ? rc : rec_object_extents(&o, a, ret, e);
	case GARBAGE_PART:
		return part_garbage(payload, a, ret, ret_has_ref, ret_ref, e);
	case GARBAGE_MANIFEST:
		if (payload.len <= 16)
			return 0;
		payload = str_skip(payload, 16);
		/* fall through */
	case GARBAGE_EXTENTS:
		rc = rec_manifest_get(payload, a, &refs, &m, e);
		if (rc < 0)
			return rc;
		return rec_extents_fill(a, m->extents, m->n_extents, NULL, ret,
		    e);
	case GARBAGE_BUCKET:
		return 0;
	default:
		return err_set(e, ERR_CORRUPT, "garbage of kind %u", kind);
	}
}

/* --- deleting a batch --- */

static int
delete_blobs(struct store *s, struct batch *b, struct err *e)
{
	uint64_t bytes = 0;
	struct str *ids;
	size_t i, j, n = 0;
	int rc;

	for (i = 0; i < b->n; i++)
		n += b->item[i].own.n;
	ids = arena_alloc(b->a, n * sizeof(*ids));
	if (ids == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	n = 0;
	for (i = 0; i < b->n; i++) {
		for (j = 0; j < b->item[i].own.n; j++) {
			ids[n++] = b->item[i].own.e[j].id;
			bytes += b->item[i].own.e[j].len;
		}
	}
	rc = blob_delete_many(s->blob, ids, n, e);
	if (rc < 0)
		return rc;
	metric_add(METRIC_collected_files_total, n);
	metric_add(METRIC_collected_bytes_total, bytes);
	lock_take(&s->lock);
	s->stat.collected_blobs += n;
	lock_drop(&s->lock);
	return 0;
}

static int
remove_fn(struct txn *t, void *arg, struct err *e)
{
	struct batch *b = arg;
	bool *there = arena_zalloc(t->a, b->n * sizeof(*there));
	struct refs refs = { 0 };
	struct str v;
	size_t i;
	int rc = 0;

	if (there == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < b->n && rc == 0; i++) {
		rc = kv_tx_get(t->tx, b->item[i].key, &v, e);
		if (rc == ERR_NOT_FOUND) {
			rc = 0; /* C3: done before, its reference too */
			continue;
		}
		there[i] = rc == 0;
		if (rc == 0 && b->item[i].has_ref)
			rc = refs_add(t, &refs, &b->item[i].ref, -1, e);
	}
	if (rc == 0)
		rc = refs_read(t, &refs, e);
	for (i = 0; i < b->n && rc == 0; i++)
		if (there[i])
			rc = kv_tx_del(t->tx, b->item[i].key, e);
	return rc < 0 ? rc : refs_write(t, &refs, e);
}

static int
finish_batch(struct store *s, struct batch *b, struct err *e)
{
	int rc = 0;

	if (b->n > 0) {
		rc = delete_blobs(s, b, e); /* C2 */
		if (rc == 0)
			rc = store_update_freeing(s, remove_fn, b, e);
	}
	b->n = 0;
	return rc;
}

/* --- manifests of parts, uploads of deleted buckets --- */

static int
read_parts(struct store *s, const struct id128 *id, struct batch *b,
    struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct key from, to;
	struct str k, value;
	int rc = view_open(s, &v, e);

	if (rc < 0)
		return rc;
	key_parts(&from, id);
	to = from;
	key_end(&to);
	b->n = 0;
	rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	while (rc == 0 && b->n < BATCH &&
	       (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
		struct item *it = &b->item[b->n];

		*it = (struct item){ .key = arena_str(b->a, k) };
		if (it->key.p == NULL)
			rc = err_set(e, ERR_NO_MEMORY, NULL);
		else
			rc = part_garbage(value, b->a, &it->own, &it->has_ref,
			    &it->ref, e);
		b->n += rc == 0;
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	return rc < 0 ? rc : 0;
}

static int
collect_parts(struct store *s, const struct id128 *id, struct err *e)
{
	struct batch *b;
	size_t n;
	int rc;

	b = mem_alloc(sizeof(*b));
	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	b->a = arena_new(SCRATCH_MAX);
	rc = b->a == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;
	do {
		if (rc == 0)
			arena_reset(b->a);
		n = 0;
		if (rc == 0)
			rc = read_parts(s, id, b, e);
		if (rc == 0) {
			n = b->n;
			rc = finish_batch(s, b, e);
		}
	} while (rc == 0 && n > 0);
	arena_free(&b->a);
	mem_free(&b);
	return rc;
}

struct orphan {
	uint64_t incarnation;
	struct key name;
	struct upload_id id;
};

static int
orphan_fn(struct txn *t, void *arg, struct err *e)
{
	const struct orphan *o = arg;
	struct key k;
	struct str v;
	int rc;

	key_upload(&k, o->incarnation, key_str(&o->name), o->id.raw);
	rc = kv_tx_get(t->tx, key_str(&k), &v, e);
	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc
	              : txn_upload_remove(t, o->incarnation, key_str(&o->name),
			    &o->id, true, e);
}

/* Uploads of a bucket that is gone. */
static int
collect_bucket(struct store *s, uint64_t incarnation, struct err *e)
{
	int rc;

	for (;;) {
		struct kv_cursor *c = NULL;
		struct kv_view *v = NULL;
		struct orphan o = { .incarnation = incarnation };
		struct key from, to;
		struct str k, value, name;
		uint64_t inc;

		rc = view_open(s, &v, e);
		if (rc < 0)
			return rc;
		key_uploads(&from, incarnation, STR_NULL);
		to = from;
		key_end(&to);
		rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
		if (rc == 0)
			rc = kv_cursor_next(c, &k, &value, e);
		if (rc == 1) {
			if (key_upload_parse(k, &inc, &name, o.id.raw))
				key_append(&o.name, name);
			else
				rc = err_set(e, ERR_CORRUPT, "upload key");
		}
		kv_cursor_close(&c);
		kv_view_close(&v);
		if (rc != 1)
			return rc;
		rc = store_update_freeing(s, orphan_fn, &o, e);
		if (rc < 0)
			return rc;
	}
}

/* --- the list --- */

/* C1 */
static bool
is_held(struct store *s, const struct item *it, struct str payload,
    uint64_t died)
{
	struct id128 held;

	if (it->own.n > 0)
		held = it->own.e[0].write_id;
	else if (it->kind == GARBAGE_MANIFEST && payload.len >= sizeof(held.b))
		memcpy(held.b, payload.p, sizeof(held.b));
	else
		return false;
	return readers_hold(s, died, &held);
}

/* Due rows from @from on, into the batch; @from moves behind the last one seen.
 * 1: there may be more. */
static int
read_list(struct store *s, struct key *from, struct batch *b, int64_t now_ns,
    uint64_t archived, uint64_t *kept, struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct str k, value, payload;
	size_t bytes = 0;
	uint64_t oldest, seq;
	struct key to;
	int64_t due;
	int rc = view_open(s, &v, e);

	if (rc < 0)
		return rc;
	oldest = readers_oldest(s, kv_view_seq(v)); /* C1 */
	key_table(&to, KEY_GARBAGE);
	key_append_u64(&to, (uint64_t)now_ns + 1);
	b->n = 0;
	rc = kv_cursor_open(v, key_str(from), key_str(&to), &c, e);
	while (rc == 0 && b->n < BATCH && bytes < BATCH_BYTES &&
	       (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
		struct item *it = &b->item[b->n];

		rc = 0;
		from->len = 0;
		key_append(from, k);
		key_append(from, str_mem("", 1));
		if (!key_garbage_parse(k, &due, &seq)) {
			rc = err_set(e, ERR_CORRUPT, "garbage key");
			break;
		}
		if (seq > oldest ||
		    (seq > archived && now_ns - due < ARCHIVE_WAIT_NS)) {
			++*kept;
			continue;
		}
		*it = (struct item){ .key = arena_str(b->a, k),
			.value = arena_str(b->a, value) };
		if (it->key.p == NULL || it->value.p == NULL) {
			rc = err_set(e, ERR_NO_MEMORY, NULL);
			break;
		}
		bytes += value.len;
		rc = rec_garbage_get(it->value, &it->kind, &payload, e);
		if (rc == 0)
			rc = garbage_extents(it->kind, payload, b->a, &it->own,
			    &it->has_ref, &it->ref, e);
		if (is_damaged(rc)) {
			++*kept; /* left for a look; must not stop the rest */
			rc = 0;
			continue;
		}
		if (rc == 0 && is_held(s, it, payload, seq)) {
			++*kept;
			continue;
		}
		b->n += rc == 0;
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	if (rc < 0)
		return rc;
	return b->n == BATCH || bytes >= BATCH_BYTES ? 1 : 0;
}

static int
collect_batch(struct store *s, struct batch *b, struct err *e)
{
	size_t i, n = 0;
	int rc = 0;

	for (i = 0; i < b->n; i++) {
		const struct item *it = &b->item[i];
		struct str payload = str_skip(it->value, 2);
		struct id128 id;

		if (it->kind == GARBAGE_MANIFEST && payload.len >= 16) {
			memcpy(id.b, payload.p, 16);
			rc = collect_parts(s, &id, e);
		} else if (it->kind == GARBAGE_BUCKET && payload.len == 8) {
			rc = collect_bucket(s, get_be64(payload.p), e);
		}
		if (rc < 0 && !is_damaged(rc))
			return rc;
		if (rc == 0)
			b->item[n++] = *it;
		rc = 0;
	}
	b->n = n;
	return finish_batch(s, b, e);
}

static int
count_list(struct store *s, int64_t now_ns, struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct arena *a = arena_new(SCRATCH_MAX);
	uint64_t rows = 0, bytes = 0;
	struct key from, to;
	struct str k, value, payload;
	struct extents x;
	struct id128 ref;
	uint8_t kind;
	bool has_ref;
	size_t i;
	int rc;

	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	key_table(&from, KEY_GARBAGE);
	to = from;
	key_end(&to);
	rc = view_open(s, &v, e);
	if (rc == 0)
		rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	while (rc == 0 && rows < COUNT_MAX &&
	       (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
		arena_reset(a);
		rows++;
		rc = rec_garbage_get(value, &kind, &payload, e);
		if (rc == 0)
			rc = garbage_extents(kind, payload, a, &x, &has_ref,
			    &ref, e);
		if (is_damaged(rc)) {
			x.n = 0;
			rc = 0;
		}
		for (i = 0; rc == 0 && i < x.n; i++)
			bytes += x.e[i].len;
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	arena_free(&a);
	if (rc < 0)
		return rc;
	lock_take(&s->lock);
	s->stat.garbage_rows = rows;
	s->stat.garbage_bytes = bytes;
	s->stat.last_collect_s = now_ns / 1000000000;
	lock_drop(&s->lock);
	return 0;
}

static int
collect(struct store *s, uint64_t archived, bool count, struct err *e)
{
	int64_t now_ns = clock_real_ns();
	uint64_t kept = 0;
	struct batch *b;
	struct key from;
	int rc = 1;

	b = mem_alloc(sizeof(*b));
	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	b->a = arena_new(SCRATCH_MAX);
	if (b->a == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	collect_begin(s);
	key_table(&from, KEY_GARBAGE);
	while (rc == 1 && !is_stopping(s)) {
		int more;

		arena_reset(b->a);
		more = read_list(s, &from, b, now_ns, archived, &kept, e);
		rc = more < 0 ? more : collect_batch(s, b, e);
		if (rc == 0)
			rc = more;
	}
	if (rc >= 0 && count)
		rc = count_list(s, now_ns, e);
	collect_end(s);
	arena_free(&b->a);
	mem_free(&b);
	return rc;
}

int
store_collect(struct store *s, struct err *e)
{
	struct store_stat st = { .garbage_rows = UINT64_MAX };
	uint64_t before;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	/* An upload's row makes rows of its parts: again while it gets less. */
	do {
		before = st.garbage_rows;
		rc = collect(s, UINT64_MAX, true, e);
		store_get_stat(s, &st);
	} while (rc >= 0 && st.garbage_rows > 0 && st.garbage_rows < before);
	return rc;
}

/* --- in the background --- */

/* A transaction was made: the list may have become longer. */
void
store_collect_later(struct store *s)
{
	atomic_fetch_add(&s->n_writes, 1);
	if (!atomic_load(&s->collector_rests))
		return;
	lock_take(&s->lock);
	cond_broadcast(&s->wake);
	lock_drop(&s->lock);
}

/* Under s->lock, until the next pass. When the list was seen to be empty (@rests)
 * after @n_writes transactions, not before there was another, or something else is
 * due at @until_ns. */
static void
wait_for_pass(struct store *s, bool rests, uint64_t n_writes, int64_t until_ns)
{
	int64_t left = (until_ns - clock_mono_ns()) / 1000000;

	if (rests && left > PASS_MS) {
		atomic_store(&s->collector_rests, true);
		if (atomic_load(&s->n_writes) == n_writes && !s->stop)
			cond_wait_ms(&s->wake, &s->lock,
			    left < REST_MS ? (int)left : REST_MS);
		atomic_store(&s->collector_rests, false);
	}
	if (!s->stop)
		cond_wait_ms(&s->wake, &s->lock, PASS_MS);
}

/* One view for each upload that goes: there are few. */
static int
expire_uploads(struct store *s, int64_t before_ns, struct err *e)
{
	struct key from, to;
	int rc;

	key_table(&from, KEY_UPLOAD);
	to = from;
	key_end(&to);
	for (;;) {
		struct kv_cursor *c = NULL;
		struct kv_view *v = NULL;
		struct upload_id id;
		struct bucket b = { 0 };
		struct str k, value, name;
		struct key copy = { 0 };

		rc = view_open(s, &v, e);
		if (rc < 0)
			return rc;
		rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
		while (
		    rc == 0 && (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
			rc = 0;
			from.len = 0;
			key_append(&from, k);
			key_append(&from, str_mem("", 1));
			if (key_upload_parse(k, &b.incarnation, &name,
				id.raw) &&
			    (int64_t)get_be64(id.raw) < before_ns) {
				key_append(&copy, name);
				break;
			}
		}
		kv_cursor_close(&c);
		kv_view_close(&v);
		if (rc < 0 || copy.len == 0)
			return rc;
		rc = upload_expire(s, b.incarnation, key_str(&copy), &id, e);
		if (rc < 0)
			return rc;
	}
}

struct forget {
	struct str keys[BATCH];
	size_t n;
};

static int
forget_fn(struct txn *t, void *arg, struct err *e)
{
	const struct forget *f = arg;
	size_t i;
	int rc = 0;

	for (i = 0; i < f->n && rc == 0; i++)
		rc = kv_tx_del(t->tx, f->keys[i], e);
	return rc;
}

static int
forget_completed(struct store *s, int64_t before_ns, struct err *e)
{
	struct arena *a = arena_new(SCRATCH_MAX);
	struct kv_cursor *c = NULL;
	struct kv_view *v = NULL;
	struct forget f = { .n = 0 };
	struct key from, to;
	struct str k, value;
	Rec__Completed *r;
	int rc;

	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	key_table(&from, KEY_COMPLETED);
	to = from;
	key_end(&to);
	rc = view_open(s, &v, e);
	if (rc == 0)
		rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	while (rc == 0 && f.n < BATCH &&
	       (rc = kv_cursor_next(c, &k, &value, e)) == 1) {
		rc = REC_GET(value, completed, a, &r, e);
		if (rc == 0 && r->completed_ns < before_ns) {
			f.keys[f.n] = arena_str(a, k);
			if (f.keys[f.n++].p == NULL)
				rc = err_set(e, ERR_NO_MEMORY, NULL);
		}
	}
	kv_cursor_close(&c);
	kv_view_close(&v);
	if (rc >= 0 && f.n > 0)
		rc = store_update_freeing(s, forget_fn, &f, e);
	if (rc == 0 && f.n == BATCH)
		rc = 1; /* more at the next call */
	arena_free(&a);
	return rc;
}

int
store_expire(struct store *s, struct err *e)
{
	int64_t now_ns = clock_real_ns();
	int rc = 0;

	OBJ_CHECK(s, STORE_MAGIC);
	if (s->conf.upload_expiry_s > 0)
		rc = expire_uploads(s,
		    now_ns - s->conf.upload_expiry_s * 1000000000, e);
	while (rc >= 0 &&
	       (rc = forget_completed(s, now_ns - COMPLETED_KEEP_NS, e)) == 1)
		;
	return rc;
}

/* C4 */
static uint64_t
archived_seq(struct store *s)
{
	struct kv_stat st;

	kv_get_stat(s->kv, &st);
	return st.has_archive ? st.archived_seq : UINT64_MAX;
}

static void
report(struct store *s, const char *what, int rc, const struct err *e,
    int *last)
{
	if (rc < 0 && rc != *last)
		store_event(s, 1, "%s: %s: %s", what, err_name(rc), e->msg);
	*last = rc < 0 ? rc : 0;
}

void *
store_background(void *arg)
{
	struct store *s = arg;
	int64_t hourly = clock_mono_ns() + HOUR_NS / 6;
	int64_t swept = clock_mono_ns();
	unsigned round = 0;
	bool rests = false;
	int last_collect = 0, last_expire = 0, last_sweep = 0;

	lock_take(&s->lock);
	while (!s->stop) {
		struct err e = ERR_INIT;
		int64_t every = s->conf.sweep_interval_s, now;
		uint64_t n_writes = atomic_load(&s->n_writes);
		bool counts = rests || round++ % COUNT_EVERY == 0;

		lock_drop(&s->lock);
		report(s, "collecting garbage",
		    collect(s, archived_seq(s), counts, &e), &e, &last_collect);
		now = clock_mono_ns();
		if (now >= hourly) {
			hourly = now + HOUR_NS;
			report(s, "expiring uploads", store_expire(s, &e), &e,
			    &last_expire);
		}
		if (every > 0 && now - swept >= every * 1000000000) {
			struct sweep_report r;
			int rc = store_sweep(s, false, &r, &e);

			swept = now;
			report(s, "sweep", rc, &e, &last_sweep);
			if (rc == 0 && r.needs_confirm)
				store_event(s, 1,
				    "sweep: %ju of %ju files "
				    "(%ju bytes) are named by no record; an "
				    "administrator must confirm",
				    (uintmax_t)r.unknown, (uintmax_t)r.seen,
				    (uintmax_t)r.unknown_bytes);
		}
		lock_take(&s->lock);
		rests =
		    counts && last_collect == 0 && s->stat.garbage_rows == 0;
		every = s->conf.sweep_interval_s;
		if (every > 0 && swept + every * 1000000000 < hourly)
			wait_for_pass(s, rests, n_writes,
			    swept + every * 1000000000);
		else
			wait_for_pass(s, rests, n_writes, hourly);
	}
	lock_drop(&s->lock);
	return NULL;
}
