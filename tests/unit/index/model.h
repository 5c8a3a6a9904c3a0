/* tests/unit/index/model.h - a plain sorted map, a deterministic stream of
 * transactions over it and over the index, and comparing the two. */
#ifndef TESTS_INDEX_MODEL_H
#define TESTS_INDEX_MODEL_H

#include "gateway/index/kv.h"
#include "lib/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct model_record {
	char *key, *value;
	size_t key_len, value_len;
};

struct model {
	struct model_record *r;
	size_t n, size;
};

struct rng {
	uint64_t s;
};

static inline uint64_t
rng_next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline uint32_t
rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(rng_next(r) % n);
}

static inline size_t
model_find(const struct model *m, struct str key, bool *ret_found)
{
	size_t lo = 0, hi = m->n;

	*ret_found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = str_cmp(str_mem(m->r[mid].key, m->r[mid].key_len), key);

		if (c == 0)
			*ret_found = true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static inline void
model_del(struct model *m, struct str key)
{
	bool found;
	size_t i = model_find(m, key, &found);

	if (!found)
		return;
	free(m->r[i].key);
	free(m->r[i].value);
	memmove(m->r + i, m->r + i + 1, (m->n - i - 1) * sizeof(*m->r));
	m->n--;
}

static inline char *
model_dup(struct str s)
{
	char *p = malloc(s.len + 1);

	assert_non_null(p);
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	return p;
}

static inline void
model_put(struct model *m, struct str key, struct str value)
{
	bool found;
	size_t i = model_find(m, key, &found);

	if (!found) {
		if (m->n == m->size) {
			m->size = m->size == 0 ? 64 : m->size * 2;
			m->r = realloc(m->r, m->size * sizeof(*m->r));
			assert_non_null(m->r);
		}
		memmove(m->r + i + 1, m->r + i, (m->n - i) * sizeof(*m->r));
		m->n++;
		m->r[i].key = model_dup(key);
		m->r[i].key_len = key.len;
	} else {
		free(m->r[i].value);
	}
	m->r[i].value = model_dup(value);
	m->r[i].value_len = value.len;
}

static inline void
model_fini(struct model *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->r[i].key);
		free(m->r[i].value);
	}
	free(m->r);
	memset(m, 0, sizeof(*m));
}

static inline struct model
model_clone(const struct model *m)
{
	struct model c = { 0 };

	for (size_t i = 0; i < m->n; i++)
		model_put(&c, str_mem(m->r[i].key, m->r[i].key_len),
		    str_mem(m->r[i].value, m->r[i].value_len));
	return c;
}

static inline struct str
model_key(const struct model *m, size_t i)
{
	return str_mem(m->r[i].key, m->r[i].key_len);
}

static inline struct str
model_value(const struct model *m, size_t i)
{
	return str_mem(m->r[i].value, m->r[i].value_len);
}

/* --- transactions --- */

#define TX_OPS_MAX 12

struct tx_op {
	char key[64];
	size_t key_len;
	bool is_delete;
	uint64_t value_seed;
	size_t value_len;
};

struct tx_plan {
	struct tx_op ops[TX_OPS_MAX];
	unsigned n;
	bool fails;          /* after its writes */
	struct model *model; /* to check its reads against; may be NULL */
	bool bad;            /* a read was wrong */
	uint64_t seq;
};

static inline void
value_fill(char *p, size_t len, uint64_t seed)
{
	struct rng r = { seed };

	for (size_t i = 0; i < len; i++)
		p[i] = (char)(rng_next(&r) >> 32);
}

/* The @i-th transaction of the stream @seed, over about @universe keys. */
static inline void
tx_make(struct tx_plan *t, uint64_t seed, uint64_t i, uint32_t universe)
{
	struct rng r = { seed * 1000003 + i };

	memset(t, 0, sizeof(*t));
	t->n = rng_below(&r, TX_OPS_MAX);
	t->fails = rng_below(&r, 6) == 0;
	for (unsigned j = 0; j < t->n; j++) {
		struct tx_op *o = &t->ops[j];
		uint32_t key = rng_below(&r, universe);

		/* Prefixes of one another, and bytes of both signs. */
		o->key_len = (size_t)snprintf(o->key, sizeof(o->key),
		    "%c%u%.*s", key % 3 == 0 ? '\xf0' : 'k', key / 2,
		    (int)(key % 2) * 20, "//a-longer-key-------");
		o->is_delete = rng_below(&r, 3) == 0;
		o->value_seed = rng_next(&r);
		o->value_len = rng_below(&r, 50) == 0 ? rng_below(&r, 60000)
		                                      : rng_below(&r, 300);
	}
}

static inline void
tx_apply(struct model *m, const struct tx_plan *t)
{
	char *value;

	if (t->fails)
		return;
	for (unsigned j = 0; j < t->n; j++) {
		const struct tx_op *o = &t->ops[j];

		if (o->is_delete) {
			model_del(m, str_mem(o->key, o->key_len));
			continue;
		}
		value = malloc(o->value_len + 1);
		assert_non_null(value);
		value_fill(value, o->value_len, o->value_seed);
		model_put(m, str_mem(o->key, o->key_len),
		    str_mem(value, o->value_len));
		free(value);
	}
}

static inline int
tx_read_check(struct kv_tx *tx, struct tx_plan *t, struct str key,
    struct err *e)
{
	struct str got, want_key, k;
	bool found;
	size_t i = model_find(t->model, key, &found);
	int rc = kv_tx_get(tx, key, &got, e);

	if (rc != (found ? 0 : ERR_NOT_FOUND) ||
	    (found && !str_eq(got, model_value(t->model, i))))
		t->bad = true;
	rc = kv_tx_next(tx, key, STR_NULL, &k, &got, e);
	if (i == t->model->n) {
		if (rc != ERR_NOT_FOUND)
			t->bad = true;
		return 0;
	}
	want_key = model_key(t->model, i);
	if (rc != 0 || !str_eq(k, want_key) ||
	    !str_eq(got, model_value(t->model, i)))
		t->bad = true;
	return 0;
}

static inline int
tx_run(struct kv_tx *tx, void *arg, struct err *e)
{
	struct tx_plan *t = arg;
	char *value;
	struct str key, got;
	int rc = 0;

	t->bad = false;
	t->seq = kv_tx_seq(tx);
	for (unsigned j = 0; t->model != NULL && j < t->n; j++)
		tx_read_check(tx, t, str_mem(t->ops[j].key, t->ops[j].key_len),
		    e);
	for (unsigned j = 0; rc == 0 && j < t->n; j++) {
		const struct tx_op *o = &t->ops[j];

		key = str_mem(o->key, o->key_len);
		if (o->is_delete) {
			rc = kv_tx_del(tx, key, e);
			if (rc == 0 &&
			    kv_tx_get(tx, key, &got, e) != ERR_NOT_FOUND)
				t->bad = true; /* its own write */
			continue;
		}
		value = malloc(o->value_len + 1);
		if (value == NULL)
			return ERR_NO_MEMORY;
		value_fill(value, o->value_len, o->value_seed);
		rc = kv_tx_put(tx, key, str_mem(value, o->value_len), e);
		if (rc == 0 && (kv_tx_get(tx, key, &got, e) != 0 ||
				   !str_eq(got, str_mem(value, o->value_len))))
			t->bad = true;
		free(value);
	}
	if (rc == 0 && t->fails)
		return err_set(e, ERR_PRECONDITION_FAILED, NULL);
	return rc;
}

/* --- comparing --- */

/* True when @v holds exactly @m. */
static inline bool
view_equals(struct kv_view *v, const struct model *m)
{
	struct err e = ERR_INIT;
	struct kv_cursor *c;
	struct str key, value;
	size_t i = 0;
	int rc;

	rc = kv_cursor_open(v, STR_NULL, STR_NULL, &c, &e);
	assert_int_equal(rc, 0);
	while ((rc = kv_cursor_next(c, &key, &value, &e)) > 0) {
		if (i >= m->n || !str_eq(key, model_key(m, i)) ||
		    !str_eq(value, model_value(m, i)))
			break;
		i++;
	}
	kv_cursor_close(&c);
	if (rc < 0)
		print_error("cursor: %s\n", e.msg);
	return rc == 0 && i == m->n;
}

static inline bool
kv_equals(struct kv *k, const struct model *m)
{
	struct err e = ERR_INIT;
	struct kv_view *v;
	bool same;

	assert_int_equal(kv_view_open(k, &v, &e), 0);
	same = view_equals(v, m);
	kv_view_close(&v);
	return same;
}

/* --- surroundings --- */

static inline char *
test_dir(void)
{
	static char dir[256];

	snprintf(dir, sizeof(dir), "%s/creel-index-XXXXXX",
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline void
test_event(void *arg, int level, const char *text)
{
	(void)arg;
	if (getenv("VERBOSE") != NULL)
		fprintf(stderr, "event %d: %s\n", level, text);
}

#define OK(call)                                                               \
	do {                                                                   \
		struct err *e_ = &e;                                           \
		*e_ = ERR_INIT;                                                \
		int rc_ = (call);                                              \
		if (rc_ != 0)                                                  \
			print_error("%s:%d: %s: %s\n", __FILE__, __LINE__,     \
			    err_name(rc_), e_->msg);                           \
		assert_int_equal(rc_, 0);                                      \
	} while (0)

#endif
