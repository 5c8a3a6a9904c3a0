/* tests/unit/index/test_ilog.c - the index log: torn tails, flipped bits,
 * reused segments, gaps, full disks, and every n-th failure (L1 to L5). */
#include "gateway/index/chunk.h"
#include "gateway/index/ilog.h"
#include "model.h"

#include "lib/clock.h"
#include "lib/fault.h"

#include <errno.h>

#define SEGMENT ILOG_SEGMENT_MIN

static char dir[256];
static struct id128 index_id;
static struct buf frame; /* big enough before any allocation fails */

/* What replay has seen: transaction i has the payload of pattern(i). */
struct seen {
	uint64_t first, next;
	unsigned frames;
};

static size_t
payload_len(uint64_t seq)
{
	return 1 + (size_t)(seq * 7919 % 3000);
}

static void
make_frame(struct buf *b, uint64_t seq, size_t len)
{
	static const char zeros[ILOG_FRAME_HEADER];

	buf_reset(b);
	assert_int_equal(buf_add(b, zeros, sizeof(zeros)), 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf_addc(b, (char)(seq * 31 + i)), 0);
}

static int
replay(void *arg, uint64_t first_seq, uint32_t n_tx, struct str payload,
    struct err *e)
{
	struct seen *s = arg;

	(void)e;
	if (s->frames++ == 0)
		s->first = first_seq;
	else
		assert_int_equal(first_seq, s->next);
	assert_int_equal(payload.len, payload_len(first_seq));
	for (size_t i = 0; i < payload.len; i++)
		assert_int_equal(payload.p[i], (char)(first_seq * 31 + i));
	s->next = first_seq + n_tx;
	return 0;
}

static int
open_at(uint64_t epoch, uint64_t flushed, struct seen *s, struct ilog **ret,
    struct err *e)
{
	struct ilog_conf c = { .dir = dir,
		.index_id = index_id,
		.segment = SEGMENT,
		.epoch = epoch,
		.flushed_seq = flushed };

	memset(s, 0, sizeof(*s));
	s->next = flushed + 1;
	return ilog_open(&c, replay, s, ret, e);
}

static int
append(struct ilog *l, uint32_t n_tx, struct err *e)
{
	uint64_t seq = ilog_seq(l) + 1;

	make_frame(&frame, seq, payload_len(seq));
	return ilog_append(l, seq, n_tx, &frame, e);
}

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s", test_dir());
	index_id = id128_new();
	frame = BUF_CAP(1 << 20);
	return buf_reserve(&frame, 8192);
}

static int
teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	fault_disarm();
	buf_fini(&frame);
	return fs_remove_tree(dir, &e);
}

struct newest {
	char name[64];
	unsigned n;
};

static int
note_newest(void *arg, const char *name)
{
	struct newest *n = arg;

	if (!str_has_suffix(str_of(name), STR_LIT(".log")) || name[0] == 'r')
		return 0;
	n->n++;
	if (strcmp(name, n->name) > 0)
		snprintf(n->name, sizeof(n->name), "%s", name);
	return 0;
}

/* The @back-th newest segment file. */
static void
segment_file(unsigned back, char path[400])
{
	struct newest n = { "", 0 };
	struct err e = ERR_INIT;
	unsigned long long number;

	OK(fs_each(dir, note_newest, &n, &e));
	assert_true(n.n > back);
	number = strtoull(n.name, NULL, 16);
	snprintf(path, 400, "%s/%016llx.log", dir, number - back);
}

static void
test_reopen(void **state)
{
	struct err e = ERR_INIT;
	struct ilog *l = NULL;
	struct seen s;
	uint64_t seq = 0;

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		OK(open_at(round, 0, &s, &l, &e));
		assert_int_equal(ilog_epoch(l), round + 1);
		assert_int_equal(ilog_seq(l), seq);
		assert_int_equal(s.next, seq + 1);
		for (unsigned i = 0; i < 60; i++) {
			OK(append(l, 1 + i % 3, &e));
			seq += 1 + i % 3;
			assert_int_equal(ilog_seq(l), seq);
		}
		ilog_close(&l);
	}
	/* Replay begins at the frame that holds what is not flushed. */
	OK(open_at(5, seq - 100, &s, &l, &e));
	assert_true(s.first <= seq - 99 && s.first > seq - 103);
	assert_int_equal(s.next, seq + 1);
	assert_int_equal(ilog_retire(l, seq, &e), 0);
	ilog_close(&l);
	OK(open_at(6, seq, &s, &l, &e));
	assert_int_equal(s.frames, 0);
	assert_int_equal(ilog_seq(l), seq);
	ilog_close(&l);
	/* What is retired is missing for who has not flushed it. */
	assert_int_equal(open_at(7, seq - 100, &s, &l, &e), ERR_CORRUPT);
}

/* A copy of the newest segment's file with frames, cut or changed. */
struct image {
	struct buf b;
	char path[400];
	uint64_t seq;   /* frames 1..seq, one transaction each */
	size_t last_at; /* where the last one begins */
	size_t end;
};

static void
image_make(struct image *im, unsigned n)
{
	struct err e = ERR_INIT;
	struct ilog *l = NULL;
	struct seen s;
	size_t off = ILOG_SEGMENT_HEADER;

	OK(open_at(0, 0, &s, &l, &e));
	for (unsigned i = 1; i <= n; i++) {
		OK(append(l, 1, &e));
		im->last_at = off;
		off += (ILOG_FRAME_HEADER + payload_len(i) + 7) & ~(size_t)7;
	}
	im->end = off;
	im->seq = n;
	assert_true(off < SEGMENT);
	ilog_close(&l);
	snprintf(im->path, sizeof(im->path), "%s/%016x.log", dir, 1);
	im->b = BUF_CAP(1 << 20);
	OK(fs_read_file(im->path, im->b.cap, &im->b, &e));
	assert_int_equal(im->b.len, SEGMENT);
}

/* Opens a directory with only the image in it. */
static int
image_open(const struct image *im, struct str content, struct seen *s)
{
	struct err e = ERR_INIT;
	struct ilog *l = NULL;
	int rc;

	OK(fs_remove_tree(dir, &e));
	OK(fs_mkdir_p(dir, &e));
	OK(fs_write_file(im->path, content, 0600, &e));
	rc = open_at(0, 0, s, &l, &e);
	if (rc == 0) {
		/* It is usable, and what was cut stays so. */
		assert_int_equal(ilog_seq(l), s->next - 1);
		OK(append(l, 1, &e));
		ilog_close(&l);
		OK(open_at(0, 0, s, &l, &e));
		s->next--;
		ilog_close(&l);
	}
	return rc;
}

static void
test_torn_tail(void **state)
{
	struct image im = { 0 };
	struct seen s;
	struct buf b = BUF_CAP(1 << 20);

	(void)state;
	image_make(&im, 9);
	for (size_t at = im.last_at; at < im.end; at += 1 + (at % 97)) {
		/* Cut there. */
		assert_int_equal(0, image_open(&im, str_mem(im.b.p, at), &s));
		assert_int_equal(s.next, im.seq);
		/* Written in part: zeros from there on. */
		buf_reset(&b);
		buf_adds(&b, buf_str(&im.b));
		memset(b.p + at, 0, im.end - at);
		if (memcmp(b.p, im.b.p, b.len) != 0) {
			assert_int_equal(0, image_open(&im, buf_str(&b), &s));
			assert_int_equal(s.next, im.seq);
		}
		/* Its beginning is what is missing. */
		if (at > im.last_at) {
			buf_reset(&b);
			buf_adds(&b, buf_str(&im.b));
			memset(b.p + im.last_at, 0, at - im.last_at);
			assert_int_equal(0, image_open(&im, buf_str(&b), &s));
			assert_int_equal(s.next, im.seq);
		}
	}
	assert_int_equal(0, image_open(&im, buf_str(&im.b), &s));
	assert_int_equal(s.next, im.seq + 1);
	buf_fini(&b);
	buf_fini(&im.b);
}

static void
test_bit_flips(void **state)
{
	struct image im = { 0 };
	struct rng r = { 4711 };
	struct seen s;
	int rc, corrupt = 0, cut = 0;

	(void)state;
	image_make(&im, 12);
	for (unsigned i = 0; i < 400; i++) {
		size_t at =
		    i < 40 ? rng_below(&r, ILOG_HEADER_LEN)
			   : ILOG_SEGMENT_HEADER +
				 rng_below(&r,
				     (uint32_t)(im.end - ILOG_SEGMENT_HEADER));
		char bit = (char)(1 << rng_below(&r, 8));

		im.b.p[at] ^= bit;
		rc = image_open(&im, buf_str(&im.b), &s);
		im.b.p[at] ^= bit;
		if (rc != 0) {
			assert_true(rc == ERR_CORRUPT || rc == ERR_VERSION);
			corrupt++;
		} else if (s.next == im.seq + 1) {
			/* Only padding is not under a checksum. */
			continue;
		} else {
			/* The last one counts as torn, no other. */
			assert_true(at >= im.last_at);
			assert_int_equal(s.next, im.seq);
			cut++;
		}
	}
	assert_true(corrupt > 200 && cut > 0);
	buf_fini(&im.b);
}

static void
test_reused_segments(void **state)
{
	struct err e = ERR_INIT;
	struct ilog *l = NULL;
	struct seen s;
	uint64_t flushed = 0;

	(void)state;
	OK(open_at(0, 0, &s, &l, &e));
	for (unsigned i = 0; i < 600; i++) {
		OK(append(l, 1, &e));
		if (i % 20 == 19) {
			flushed = ilog_seq(l) - 5;
			OK(ilog_retire(l, flushed, &e));
		}
	}
	/* Three or so, not as many as were filled. */
	assert_true(ilog_bytes(l) <= 5 * SEGMENT);
	ilog_close(&l);
	/* Old content lies behind the newest frames: it is not taken for any. */
	OK(open_at(1, flushed, &s, &l, &e));
	assert_int_equal(s.next, 601);
	OK(append(l, 1, &e));
	ilog_close(&l);
	OK(open_at(2, flushed, &s, &l, &e));
	assert_int_equal(s.next, 602);
	ilog_close(&l);
}

static void
test_gaps(void **state)
{
	struct err e = ERR_INIT;
	char path[400];
	struct id128 mine = index_id;
	struct ilog *l = NULL;
	struct seen s;
	unsigned long long first;

	(void)state;
	OK(open_at(0, 0, &s, &l, &e));
	for (unsigned i = 0; i < 200; i++)
		OK(append(l, 1, &e));
	ilog_close(&l);

	index_id = id128_new();
	assert_int_equal(open_at(0, 0, &s, &l, &e), ERR_CORRUPT);
	index_id = mine;

	/* One in the middle is missing: noticed unless it is flushed. */
	first = 2;
	snprintf(path, sizeof(path), "%s/%016llx.log", dir, first);
	OK(fs_unlink(path, &e));
	assert_int_equal(open_at(1, 0, &s, &l, &e), ERR_CORRUPT);
	OK(open_at(1, 150, &s, &l, &e));
	assert_int_equal(s.next, 201);
	OK(append(l, 1, &e));
	ilog_close(&l);

	/* The newest epoch's segments are missing. */
	segment_file(1, path); /* behind it only an empty one */
	if (fs_exists(path))
		OK(fs_unlink(path, &e));
	segment_file(0, path);
	OK(fs_unlink(path, &e));
	assert_int_equal(open_at(2, 150, &s, &l, &e), ERR_CORRUPT);
}

static void
test_read(void **state)
{
	struct err e = ERR_INIT;
	struct buf b = BUF_CAP(1 << 24);
	struct ilog_chunk c;
	struct ilog *l = NULL;
	struct seen s;
	uint64_t after = 0;

	(void)state;
	OK(open_at(0, 0, &s, &l, &e));
	assert_int_equal(ilog_read(l, 0, 1000, &c, &b, &e), 0);
	assert_int_equal(ilog_oldest(l), 1);
	for (unsigned i = 0; i < 100; i++)
		OK(append(l, 2, &e));
	/* From any place, in any portion. */
	for (size_t max = 1; max < 100000; max = max * 7 + 11) {
		for (after = max % 13; after < 200; after = c.last_seq) {
			memset(&s, 0, sizeof(s));
			buf_reset(&b);
			assert_int_equal(ilog_read(l, after, max, &c, &b, &e),
			    1);
			assert_true(c.first_seq <= after + 1);
			assert_true(c.last_seq > after);
			OK(chunk_replay(&c, buf_str(&b), after, replay, &s,
			    &e));
			assert_int_equal(s.next, c.last_seq + 1);
		}
	}
	assert_int_equal(ilog_read(l, 200, 1000, &c, &b, &e), 0);
	buf_fini(&b);
	ilog_close(&l);
}

static void
wait_low(struct ilog *l, bool low)
{
	for (int i = 0; i < 4000 && ilog_is_low(l) != low; i++)
		clock_sleep_ms(5);
	assert_true(ilog_is_low(l) == low);
}

static void
test_full_disk(void **state)
{
	struct err e = ERR_INIT;
	struct ilog *l = NULL;
	struct seen s;
	uint64_t seq;
	int rc;

	(void)state;
	OK(open_at(0, 0, &s, &l, &e));
	OK(append(l, 1, &e));
	fault_arm(FAULT_FALLOCATE, 1, ENOSPC, true);
	/* One is ready or will be; what follows that is not. */
	for (int i = 0; i < 500 && !ilog_is_low(l); i++) {
		rc = append(l, 1, &e);
		assert_int_equal(rc, 0);
	}
	assert_true(ilog_is_low(l));
	assert_true(ilog_room(l) > SEGMENT / 4 - 8192);
	while ((rc = append(l, 1, &e)) == 0)
		;
	assert_int_equal(rc, ERR_NO_SPACE);
	assert_true(ilog_room(l) < 4096);
	assert_false(ilog_is_failed(l));
	seq = ilog_seq(l);
	assert_int_equal(append(l, 1, &e), ERR_NO_SPACE);
	/* A write that finds no space is clean too. */
	fault_disarm();
	wait_low(l, false);
	OK(append(l, 1, &e));
	fault_arm(FAULT_WRITE, 1, ENOSPC, false);
	rc = append(l, 1, &e);
	fault_disarm();
	/* Or it was the next segment that met the fault. */
	assert_true(rc == ERR_NO_SPACE || rc == 0);
	seq += rc == 0 ? 2 : 1;
	OK(append(l, 1, &e));
	seq++;
	assert_int_equal(ilog_seq(l), seq);
	ilog_close(&l);
	OK(open_at(1, 0, &s, &l, &e));
	assert_int_equal(s.next, seq + 1);
	ilog_close(&l);
}

/* Retiring frees a segment: the log goes on without new space. */
static void
test_full_disk_retire(void **state)
{
	struct err e = ERR_INIT;
	struct ilog *l = NULL;
	struct seen s;

	(void)state;
	OK(open_at(0, 0, &s, &l, &e));
	for (unsigned i = 0; i < 120; i++)
		OK(append(l, 1, &e));
	fault_arm(FAULT_FALLOCATE, 1, ENOSPC, true);
	for (unsigned i = 0; i < 500; i++) {
		if (append(l, 1, &e) == 0)
			continue;
		OK(ilog_retire(l, ilog_seq(l), &e));
		wait_low(l, false);
		OK(append(l, 1, &e));
	}
	fault_disarm();
	ilog_close(&l);
}

/* L1 and L4: whatever fails, what was acknowledged is there afterwards, and
 * at most the one that was under way more. */
static void
test_faults(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC,
		FAULT_OPEN, FAULT_RENAME, FAULT_UNLINK, FAULT_TRUNCATE,
		FAULT_FALLOCATE, FAULT_READ, FAULT_ALLOC };
	struct err e = ERR_INIT;
	uint64_t acked = 0, epoch = 0, flushed = 0;
	struct ilog *l = NULL;
	struct seen s;
	unsigned clean;
	int rc;

	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		clean = 0;
		for (unsigned long n = 1; n < 90 && clean < 2; n++) {
			fault_arm(kinds[k], n, EIO, n % 2 == 0);
			rc = open_at(epoch, flushed, &s, &l, &e);
			for (int i = 0; rc == 0 && i < 14; i++) {
				rc = append(l, 1, &e);
				if (rc == 0)
					acked = ilog_seq(l);
				if (i == 7)
					ilog_retire(l, flushed, NULL);
			}
			if (rc == ERR_FAILED) {
				assert_true(ilog_is_failed(l));
				assert_int_equal(append(l, 1, &e), ERR_FAILED);
				assert_int_equal(ilog_seq(l), acked);
			}
			clean += !fault_fired();
			fault_disarm();
			if (l != NULL)
				ilog_close(&l);

			OK(open_at(epoch, flushed, &s, &l, &e));
			assert_true(ilog_seq(l) >= acked);
			assert_true(ilog_seq(l) <= acked + 1);
			assert_true(s.next == ilog_seq(l) + 1);
			acked = ilog_seq(l);
			epoch = ilog_epoch(l);
			flushed = acked - acked % 5;
			ilog_retire(l, flushed, NULL);
			ilog_close(&l);
		}
	}
	assert_true(acked > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_tail, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_bit_flips, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_reused_segments, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_gaps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_full_disk_retire, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
