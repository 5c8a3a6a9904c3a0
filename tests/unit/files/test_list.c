/* storage/files/list.c against bytes in memory: random changes, and what a
 * record must not say. */
#include "storage/files/list.h"

#include "lib/hash.h"
#include "lib/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MODEL (48 * 1024)
#define SEGS 4000

static struct {
	char *p;
	size_t len;
} segs[SEGS];
static size_t n_segs;

static char model[MODEL * 2];
static size_t model_len;

static const char *
seg_new(const char *p, size_t len)
{
	static char id[LIST_ID];

	assert_true(n_segs < SEGS);
	segs[n_segs].p = malloc(len);
	memcpy(segs[n_segs].p, p, len);
	segs[n_segs].len = len;
	snprintf(id, sizeof(id), "group1/M00/%zu", n_segs++);
	return id;
}

static void
assert_model(const struct list *l)
{
	char *p = malloc(model_len + 1);
	size_t at = 0;
	uint32_t crc;

	assert_int_equal(l->size, model_len);
	for (size_t i = 0; i < l->n_ext; i++) {
		const struct list_extent *x = &l->ext[i];

		assert_true(x->len > 0 && at + x->len <= model_len);
		if (x->kind == LIST_HOLE)
			memset(p + at, 0, x->len);
		else if (x->kind == LIST_BYTES)
			memcpy(p + at, l->bytes.p + x->off, x->len);
		else
			memcpy(p + at,
			    segs[atoi(l->segs[x->seg].id + 11)].p + x->off,
			    x->len);
		if (x->has_crc)
			assert_int_equal(x->crc32,
			    hash_crc32(0, p + at, x->len)); /* G3 */
		at += x->len;
	}
	assert_int_equal(at, model_len); /* G1 */
	assert_memory_equal(p, model, model_len);
	if (list_crc32(l, &crc))
		assert_int_equal(crc, hash_crc32(0, model, model_len));
	free(p);
}

static void
splice_model(uint64_t off, uint64_t cut, const char *p, size_t len)
{
	memmove(model + off + len, model + off + cut, model_len - off - cut);
	if (p != NULL)
		memcpy(model + off, p, len);
	else
		memset(model + off, 0, len);
	model_len = model_len - cut + len;
}

static void
random_change(struct list *l)
{
	struct list_piece p = { 0 };
	static char data[8192];
	uint64_t off, cut;
	struct err e = ERR_INIT;
	size_t first, n, at = 0;

	off = (uint64_t)rand() % (l->size + 1);
	cut = (uint64_t)rand() % (l->size - off + 1);
	if (cut > 5000 && rand() % 4 != 0)
		cut %= 5000;
	p.len = model_len > MODEL ? 0 : (uint64_t)rand() % sizeof(data);
	rand_bytes(data, sizeof(data));
	p.kind = (uint8_t)(1 + rand() % 3);
	if (p.len == 0)
		p.kind = 0;
	if (p.kind == LIST_BYTES) {
		p.len = 1 + p.len % 300;
		p.bytes = str_mem(data, (size_t)p.len);
	} else if (p.kind == LIST_SEGMENT) {
		p.id = seg_new(data, (size_t)p.len);
		p.crc32 = hash_crc32(0, data, (size_t)p.len);
	}
	assert_int_equal(list_splice(l, off, cut, &p, &e), 0);
	splice_model(off, cut, p.kind == LIST_HOLE ? NULL : data,
	    p.kind == 0 ? 0 : (size_t)p.len);
	assert_model(l);
	if (l->bytes.len > 3000) {
		const char *id = seg_new(l->bytes.p, l->bytes.len);

		assert_int_equal(list_spill(l, id, &e), 0);
		assert_model(l);
	}
	if (list_plan_short(l, 24, &first, &n)) {
		size_t len = 0;

		for (size_t i = 0; i < first; i++)
			at += l->ext[i].len;
		for (size_t i = first; i < first + n; i++)
			len += l->ext[i].len;
		assert_int_equal(list_replace(l, first, n,
				     seg_new(model + at, len),
				     hash_crc32(0, model + at, len), &e),
		    0);
		assert_model(l);
	}
}

static void
test_random(void **state)
{
	struct buf b = BUF_CAP(1024 * 1024);
	struct err e = ERR_INIT;
	struct list l, m;

	(void)state;
	srand(7);
	for (int round = 0; round < 8; round++) {
		list_init(&l);
		model_len = 0;
		for (int i = 0; i < 150; i++) {
			random_change(&l);
			if (i % 5 != 0)
				continue;
			buf_reset(&b);
			assert_int_equal(list_encode(&l, &b, &e), 0);
			assert_int_equal(list_decode(buf_str(&b), &m, &e), 0);
			assert_model(&m);
			list_fini(&l);
			l = m;
		}
		list_fini(&l);
		for (; n_segs > 0; n_segs--)
			free(segs[n_segs - 1].p);
	}
	buf_fini(&b);
}

/* Every prefix, and every flipped byte, is refused or decodes to a list that
 * holds its invariants. */
static void
test_bad_records(void **state)
{
	struct list_piece bytes = { LIST_BYTES, 5, STR_LIT("bytes"), NULL, 0 };
	struct list_piece seg = { .kind = LIST_SEGMENT,
		.len = 100,
		.id = "group1/M00/0",
		.crc32 = 1 };
	struct list_piece hole = { .kind = LIST_HOLE, .len = 7 };
	struct buf b = BUF_CAP(1024 * 1024);
	struct err e = ERR_INIT;
	struct list l, m;

	(void)state;
	list_init(&l);
	assert_int_equal(list_splice(&l, 0, 0, &bytes, &e), 0);
	assert_int_equal(list_splice(&l, 5, 0, &seg, &e), 0);
	assert_int_equal(list_splice(&l, 105, 0, &hole, &e), 0);
	list_note_change(&l, 77, 99);
	memcpy(l.successor, "group1/x", 9);
	assert_int_equal(list_encode(&l, &b, &e), 0);
	assert_int_equal(list_decode(buf_str(&b), &m, &e), 0);
	assert_true(list_has_change(&m, 77));
	assert_false(list_has_change(&m, 78));
	assert_int_equal(m.modified_s, 99);
	assert_string_equal(m.successor, "group1/x");
	list_fini(&m);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(list_decode(str_sub(buf_str(&b), 0, i), &m,
				     &e),
		    ERR_CORRUPT);
	for (size_t i = 0; i < b.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			uint64_t sum = 0;

			b.p[i] = (char)(b.p[i] ^ (1 << bit));
			if (list_decode(buf_str(&b), &m, &e) == 0) {
				for (size_t k = 0; k < m.n_ext; k++)
					sum += m.ext[k].len;
				assert_true(sum == m.size);
				assert_true(m.recent[0].at_s >= 0);
				list_note_change(&m, 1, 1);
				list_fini(&m);
			}
			b.p[i] = (char)(b.p[i] ^ (1 << bit));
		}
	}
	b.p[0] = 3;
	assert_int_equal(list_decode(buf_str(&b), &m, &e), ERR_VERSION);
	list_fini(&l);
	buf_fini(&b);
}

static void
test_recent(void **state)
{
	struct list l;

	(void)state;
	list_init(&l);
	for (uint64_t i = 1; i <= 1000; i++) {
		list_note_change(&l, i, 5000);
		assert_true(list_has_change(&l, i));
		assert_true(i < LIST_RECENT ||
			    list_has_change(&l, i - LIST_RECENT + 1));
	}
	assert_int_equal(l.n_recent, LIST_RECENT);
	assert_false(list_has_change(&l, 1000 - LIST_RECENT));
	list_note_change(&l, 2000, 5000 + LIST_RECENT_S);
	assert_int_equal(l.n_recent, LIST_RECENT);
	list_note_change(&l, 2001, 5001 + LIST_RECENT_S);
	assert_int_equal(l.n_recent, 2);
	assert_true(list_has_change(&l, 2000));
	list_note_change(&l, 2002, 10); /* the clock was put back */
	assert_int_equal(l.n_recent, 3);
	list_fini(&l);
}

static void
test_zero_crc(void **state)
{
	static const char zeros[70000];

	(void)state;
	for (size_t n = 0; n < sizeof(zeros); n += 1 + n / 3)
		assert_int_equal(list_zero_crc32(n), hash_crc32(0, zeros, n));
}

/* G4 */
static void
test_tiers(void **state)
{
	struct list_piece p = { .kind = LIST_SEGMENT,
		.len = 4096,
		.id = "group1/M00/x" };
	struct err e = ERR_INIT;
	size_t first, n, most = 0;
	uint64_t copied = 0;
	struct list l;

	(void)state;
	list_init(&l);
	for (int i = 0; i < 20000; i++) {
		assert_int_equal(list_splice(&l, l.size, 0, &p, &e), 0);
		while (list_plan(&l, &first, &n)) {
			for (size_t k = first; k < first + n; k++)
				copied += l.ext[k].len;
			assert_int_equal(first + n, l.n_ext);
			assert_int_equal(list_replace(&l, first, n,
					     "group1/M00/y", 0, &e),
			    0);
		}
		if (l.n_ext > most)
			most = l.n_ext;
	}
	assert_true(most <= 32);
	assert_true(copied < l.size * 9); /* log4 of 20000 is 7.1 */
	list_fini(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_bad_records),
		cmocka_unit_test(test_recent),
		cmocka_unit_test(test_zero_crc),
		cmocka_unit_test(test_tiers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
