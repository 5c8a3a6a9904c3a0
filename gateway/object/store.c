/* gateway/object/store.c - opening and closing, readers, transactions. */
#include "gateway/object/store.h"

#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <stdarg.h>
#include <stdio.h>

#define RETRIES 8
#define CACHE_SLOTS 512

void
store_event(struct store *s, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (s->conf.event == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->conf.event(s->conf.event_arg, level, text);
}

int
store_open(const struct store_conf *c, struct store **ret, struct err *e)
{
	struct store *s = mem_zalloc(sizeof(*s));
	int rc = ERR_NO_MEMORY;

	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	s->magic = STORE_MAGIC;
	s->conf = *c;
	s->kv = c->kv;
	s->blob = c->blob;
	s->index_id = *kv_id(c->kv);
	if (s->conf.extent_size == 0)
		s->conf.extent_size = 64u << 20;
	if (s->conf.trash_s == 0)
		s->conf.trash_s = 7 * 86400;
	lock_init(&s->lock, LOCK_RANK_OBJECT);
	lock_init(&s->root_lock, LOCK_RANK_LEAF);
	cond_init(&s->wake);
	cond_init(&s->collected);
	s->readers.prev = s->readers.next = &s->readers;
	s->buckets = cache_new(CACHE_SLOTS, sizeof(struct bucket));
	s->keys = cache_new(CACHE_SLOTS,
	    sizeof(struct access_key) + sizeof(struct user));
	s->job_arena = arena_new(SCRATCH_MAX);
	if (s->buckets == NULL || s->keys == NULL || s->job_arena == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, NULL);
		goto out_fail;
	}
	if (c->background) {
		rc = thread_start(&s->thread, "creel-collect", store_background,
		    s, e);
		if (rc < 0)
			goto out_fail;
		s->has_thread = true;
	}
	*ret = s;
	return 0;
out_fail:
	s->kv = NULL; /* still the caller's */
	s->blob = NULL;
	store_close(&s);
	return rc;
}

void
store_close(struct store **sp)
{
	struct store *s = *sp;

	if (s == NULL)
		return;
	OBJ_CHECK(s, STORE_MAGIC);
	*sp = NULL;
	if (s->has_thread) {
		lock_take(&s->lock);
		s->stop = true;
		cond_broadcast(&s->wake);
		lock_drop(&s->lock);
		thread_join(s->thread);
	}
	MUST(s->readers.next == &s->readers && s->puts == NULL);
	kv_close(&s->kv); /* before the blobs: it archives there */
	blob_close(&s->blob);
	cache_free(&s->buckets);
	cache_free(&s->keys);
	arena_free(&s->job_arena);
	explicit_bzero(&s->root_key, sizeof(s->root_key));
	cond_fini(&s->wake);
	cond_fini(&s->collected);
	lock_fini(&s->root_lock);
	lock_fini(&s->lock);
	s->magic = 0;
	mem_free(&s);
}

struct kv *
store_kv(struct store *s)
{
	OBJ_CHECK(s, STORE_MAGIC);
	return s->kv;
}

struct blob *
store_blob(struct store *s)
{
	OBJ_CHECK(s, STORE_MAGIC);
	return s->blob;
}

void
store_tune(struct store *s, const struct store_conf *c)
{
	OBJ_CHECK(s, STORE_MAGIC);
	lock_take(&s->lock);
	s->conf.trash_s = c->trash_s;
	s->conf.sweep_interval_s = c->sweep_interval_s;
	cond_broadcast(&s->wake);
	lock_drop(&s->lock);
}

void
store_get_stat(struct store *s, struct store_stat *ret)
{
	OBJ_CHECK(s, STORE_MAGIC);
	lock_take(&s->lock);
	*ret = s->stat;
	lock_drop(&s->lock);
}

/* --- readers (S1) --- */

/* Raises the floor: @seq was committed or seen. */
static void
saw(struct store *s, uint64_t seq)
{
	uint64_t old = atomic_load(&s->floor);

	while (old < seq && !atomic_compare_exchange_weak(&s->floor, &old, seq))
		;
}

void
reader_begin(struct store *s, struct reader_link *r)
{
	r->is_known = false;
	lock_take(&s->lock);
	r->seq = atomic_load(&s->floor);
	r->next = &s->readers;
	r->prev = s->readers.prev;
	r->prev->next = r;
	r->next->prev = r;
	lock_drop(&s->lock);
}

void
reader_end(struct store *s, struct reader_link *r)
{
	lock_take(&s->lock);
	r->prev->next = r->next;
	r->next->prev = r->prev;
	lock_drop(&s->lock);
	r->prev = r->next = NULL;
}

uint64_t
readers_oldest(struct store *s, uint64_t view_seq)
{
	uint64_t oldest = view_seq;
	const struct reader_link *r;

	lock_take(&s->lock);
	for (r = s->readers.next; r != &s->readers && r->seq < oldest;
	     r = r->next) {
		if (!r->is_known)
			oldest = r->seq;
	}
	lock_drop(&s->lock);
	return oldest;
}

void
reader_holds(struct store *s, struct reader_link *r, const struct id128 *held)
{
	lock_take(&s->lock);
	r->held = *held;
	r->is_known = true;
	lock_drop(&s->lock);
}

bool
readers_hold(struct store *s, uint64_t died, const struct id128 *held)
{
	const struct reader_link *r;
	bool yes = false;

	lock_take(&s->lock);
	for (r = s->readers.next; r != &s->readers && r->seq < died && !yes;
	     r = r->next)
		yes = r->is_known && id128_eq(&r->held, held);
	lock_drop(&s->lock);
	return yes;
}

int
view_open(struct store *s, struct kv_view **ret, struct err *e)
{
	int rc = kv_view_open(s->kv, ret, e);

	if (rc == 0)
		saw(s, kv_view_seq(*ret));
	return rc;
}

int
view_newest(struct kv_view *v, uint64_t incarnation, struct str name,
    struct row *ret, struct err *e)
{
	struct kv_cursor *c;
	struct key from, to;
	struct str k, n;
	uint64_t inc;
	int rc;

	key_name_from(&from, incarnation, name);
	key_name_to(&to, incarnation, name);
	rc = kv_cursor_open(v, key_str(&from), key_str(&to), &c, e);
	if (rc < 0)
		return rc;
	rc = kv_cursor_next(c, &k, &ret->value, e);
	ret->is_found = rc == 1;
	if (rc == 1 && !key_object_parse(k, &inc, &n, &ret->seq))
		rc = err_set(e, ERR_CORRUPT, "object key");
	kv_cursor_close(&c);
	return rc < 0 ? rc : 0;
}

/* --- transactions --- */

static int
run_fn(struct kv_tx *tx, void *arg, struct err *e)
{
	struct store_job *r = arg;

	arena_reset(r->t.a);
	r->t.tx = tx;
	r->t.n_garbage = 0;
	r->runs++;
	r->seq = kv_tx_seq(tx);
	r->rc = r->fn(&r->t, r->arg, e);
	return r->rc;
}

/* Of an attempt that came to @rc. */
static void
settle(struct store_job *r, int rc, bool *ret_unknown)
{
	/* S1: one that wrote nothing leaves its sequence to the next. */
	store_collect_later(r->s);
	if (rc == 0)
		saw(r->s, r->seq - 1);
	else if (ret_unknown != NULL)
		*ret_unknown = r->runs > 0 && r->rc == 0;
}

static int
update(struct store *s, unsigned flags, txn_fn fn, void *arg, bool *ret_unknown,
    struct err *e)
{
	struct store_job r = { .s = s, .fn = fn, .arg = arg };
	int i, rc = 0;

	r.t.a = arena_new(SCRATCH_MAX);
	if (ret_unknown != NULL)
		*ret_unknown = false;
	if (r.t.a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < RETRIES; i++) {
		r.t.now_ns = clock_real_ns();
		r.runs = 0;
		r.rc = 0;
		rc = kv_update_flags(s->kv, flags, run_fn, &r, e);
		if (rc != ERR_RETRY)
			break;
	}
	settle(&r, rc, ret_unknown);
	arena_free(&r.t.a);
	return rc;
}

int
store_job_begin(struct store *s, struct store_job *j, txn_fn fn, void *arg,
    struct err *e)
{
	*j = (struct store_job){ .s = s, .fn = fn, .arg = arg, .e = e };
	j->t.a = s->job_arena;
	j->t.now_ns = clock_real_ns();
	return kv_job_begin(s->kv, &j->job, 0, run_fn, j, e);
}

void
store_job_post(struct store_job *j, int rc, bool more,
    void (*done)(void *arg, int rc), void *done_arg)
{
	kv_job_post(&j->job, rc, more, done, done_arg);
}

int
store_job_end(struct store_job *j, int rc, bool *ret_unknown)
{
	*ret_unknown = false;
	if (rc == ERR_RETRY)
		return update(j->s, 0, j->fn, j->arg, ret_unknown, j->e);
	settle(j, rc, ret_unknown);
	return rc;
}

int
store_update(struct store *s, txn_fn fn, void *arg, bool *ret_unknown,
    struct err *e)
{
	return update(s, 0, fn, arg, ret_unknown, e);
}

int
store_update_freeing(struct store *s, txn_fn fn, void *arg, struct err *e)
{
	return update(s, KV_FREES, fn, arg, NULL, e);
}

/* --- checks --- */

int
check_object_key(struct str key, struct err *e)
{
	if (key.len == 0)
		return err_set(e, ERR_INVALID_OBJECT_NAME, "empty key");
	if (key.len > OBJECT_KEY_MAX)
		return err_set(e, ERR_KEY_TOO_LONG, NULL);
	if (memchr(key.p, 0, key.len) != NULL)
		return err_set(e, ERR_INVALID_OBJECT_NAME, "NUL in the key");
	return 0;
}
