/* gateway/index/snapshot.c - the snapshot's format (gateway/index/snapshot.h). */
#include "gateway/index/snapshot.h"

#include "gateway/index/kv.h"
#include "gateway/index/ops.h"
#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/mem.h"

#define FORMAT 1
#define HEADER_LEN 80
#define BLOCK_HEADER 32
#define BLOCK_MAGIC 0x314b4c42 /* "BLK1" */
#define BLOCK_LAST 1u
#define BLOCK_FULL (64u << 10)
/* One record more than full, at most. */
#define BLOCK_MAX (BLOCK_FULL + KV_KEY_MAX + RAW_SUM + KV_VALUE_MAX + 64)

static const char magic[8] = "CREELSNP";

struct snapshot_writer {
	snapshot_sink sink;
	void *arg;
	struct buf block; /* with its header */
	struct buf key;   /* the last one */
	uint32_t n;       /* records in the block */
	uint64_t number, records;
	uint64_t seed;
};

struct snapshot_reader {
	snapshot_source source;
	void *arg;
	struct buf block; /* payload */
	struct buf key;
	struct str left;
	uint32_t n; /* records left in the block */
	bool is_last;
	uint64_t number, records;
	uint64_t seed;
};

static uint64_t
block_sum(uint64_t seed, uint64_t number, const char *p, size_t len)
{
	/* All but the checksum; the number, so that none is left out. */
	uint64_t s = hash_xxh3(seed + number, p, 8);

	return hash_xxh3(s, p + 16, len - 16);
}

int
snapshot_writer_new(const struct snapshot_header *h, snapshot_sink sink,
    void *arg, struct snapshot_writer **ret, struct err *e)
{
	char p[HEADER_LEN] = { 0 };
	struct snapshot_writer *w = mem_zalloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	w->sink = sink;
	w->arg = arg;
	w->block = BUF_CAP(BLOCK_MAX + BLOCK_HEADER);
	w->key = BUF_CAP(KV_KEY_MAX);
	memcpy(p + 8, magic, 8);
	put_le32(p + 16, FORMAT);
	memcpy(p + 24, h->index_id.b, 16);
	put_le64(p + 40, h->epoch);
	put_le64(p + 48, h->seq);
	put_le64(p + 56, (uint64_t)h->created_ns);
	put_le64(p + 64, rand_u64()); /* makes the blocks this snapshot's own */
	put_le64(p, hash_xxh3(HEADER_LEN, p + 8, HEADER_LEN - 8));
	w->seed = get_le64(p);
	rc = sink(arg, p, sizeof(p), e);
	if (rc < 0) {
		snapshot_writer_free(&w);
		return rc;
	}
	*ret = w;
	return 0;
}

void
snapshot_writer_free(struct snapshot_writer **wp)
{
	if (*wp == NULL)
		return;
	buf_fini(&(*wp)->block);
	buf_fini(&(*wp)->key);
	mem_free(wp);
}

static int
write_block(struct snapshot_writer *w, uint32_t flags, struct err *e)
{
	char *p = w->block.p;
	int rc;

	put_le32(p, BLOCK_MAGIC);
	put_le32(p + 4, (uint32_t)(w->block.len - BLOCK_HEADER));
	put_le32(p + 16, w->n);
	put_le32(p + 20, flags);
	put_le64(p + 24, w->number);
	put_le64(p + 8, block_sum(w->seed, w->number, p, w->block.len));
	rc = w->sink(w->arg, p, w->block.len, e);
	w->number++;
	w->n = 0;
	buf_reset(&w->block);
	buf_reset(&w->key);
	return rc;
}

static int
begin_block(struct snapshot_writer *w)
{
	static const char zeros[BLOCK_HEADER];

	return w->block.len > 0 ? 0 : buf_add(&w->block, zeros, sizeof(zeros));
}

static int
add_varint(struct buf *b, uint64_t v)
{
	char tmp[10];
	size_t n = 0;

	do {
		tmp[n] = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
		n++;
	} while (v > 0);
	return buf_add(b, tmp, n);
}

int
snapshot_add(struct snapshot_writer *w, struct str key, struct str raw,
    struct err *e)
{
	size_t shared = 0;
	int rc;

	while (shared < w->key.len && shared < key.len &&
	       w->key.p[shared] == key.p[shared])
		shared++;
	if ((rc = begin_block(w)) < 0 ||
	    (rc = add_varint(&w->block, shared)) < 0 ||
	    (rc = add_varint(&w->block, key.len - shared)) < 0 ||
	    (rc = add_varint(&w->block, raw.len)) < 0 ||
	    (rc = buf_adds(&w->block, str_skip(key, shared))) < 0 ||
	    (rc = buf_adds(&w->block, raw)) < 0)
		return err_set(e, rc, "index snapshot");
	w->n++;
	w->records++;
	if (w->block.len >= BLOCK_FULL)
		return write_block(w, 0, e);
	buf_reset(&w->key);
	if (buf_adds(&w->key, key) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return 0;
}

int
snapshot_finish(struct snapshot_writer *w, uint64_t seq_end, struct err *e)
{
	char p[16];
	int rc = 0;

	if (w->block.len > 0)
		rc = write_block(w, 0, e);
	if (rc < 0)
		return rc;
	put_le64(p, w->records);
	put_le64(p + 8, seq_end);
	if (begin_block(w) < 0 || buf_add(&w->block, p, sizeof(p)) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return write_block(w, BLOCK_LAST, e);
}

/* --- reading --- */

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "index snapshot: %s", what);
}

static int
read_all(struct snapshot_reader *r, char *p, size_t len, struct err *e)
{
	size_t done = 0, n = 0;
	int rc;

	while (done < len) {
		rc = r->source(r->arg, p + done, len - done, &n, e);
		if (rc < 0)
			return rc;
		if (n == 0)
			return bad(e, "cut short");
		done += n;
	}
	return 0;
}

int
snapshot_reader_new(snapshot_source source, void *arg,
    struct snapshot_header *ret_header, struct snapshot_reader **ret,
    struct err *e)
{
	char p[HEADER_LEN];
	struct snapshot_reader *r = mem_zalloc(sizeof(*r));
	int rc;

	if (r == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	r->source = source;
	r->arg = arg;
	r->block = BUF_CAP(BLOCK_MAX);
	r->key = BUF_CAP(KV_KEY_MAX);
	rc = read_all(r, p, sizeof(p), e);
	if (rc == 0 && memcmp(p + 8, magic, 8) == 0 &&
	    get_le32(p + 16) > FORMAT)
		rc = err_set(e, ERR_VERSION, "index snapshot of format %u",
		    get_le32(p + 16));
	else if (rc == 0 && (memcmp(p + 8, magic, 8) != 0 ||
				get_le64(p) != hash_xxh3(HEADER_LEN, p + 8,
						   HEADER_LEN - 8)))
		rc = bad(e, "bad header");
	if (rc < 0) {
		snapshot_reader_free(&r);
		return rc;
	}
	r->seed = get_le64(p);
	memcpy(ret_header->index_id.b, p + 24, 16);
	ret_header->epoch = get_le64(p + 40);
	ret_header->seq = get_le64(p + 48);
	ret_header->created_ns = (int64_t)get_le64(p + 56);
	*ret = r;
	return 0;
}

void
snapshot_reader_free(struct snapshot_reader **rp)
{
	if (*rp == NULL)
		return;
	buf_fini(&(*rp)->block);
	buf_fini(&(*rp)->key);
	mem_free(rp);
}

static int
read_block(struct snapshot_reader *r, struct err *e)
{
	char head[BLOCK_HEADER];
	size_t len;
	int rc;

	rc = read_all(r, head, sizeof(head), e);
	if (rc < 0)
		return rc;
	len = get_le32(head + 4);
	if (get_le32(head) != BLOCK_MAGIC || len > BLOCK_MAX - BLOCK_HEADER)
		return bad(e, "bad block header");
	buf_reset(&r->block);
	rc = buf_reserve(&r->block, BLOCK_HEADER + len);
	if (rc < 0)
		return err_set(e, rc, NULL);
	memcpy(r->block.p, head, sizeof(head));
	rc = read_all(r, r->block.p + BLOCK_HEADER, len, e);
	if (rc < 0)
		return rc;
	r->block.len = BLOCK_HEADER + len;
	if (get_le64(head + 24) != r->number ||
	    get_le64(head + 8) !=
		block_sum(r->seed, r->number, r->block.p, r->block.len))
		return bad(e, "a block has a bad checksum");
	r->number++;
	r->n = get_le32(head + 16);
	r->is_last = (get_le32(head + 20) & BLOCK_LAST) != 0;
	r->left = str_skip(buf_str(&r->block), BLOCK_HEADER);
	buf_reset(&r->key);
	return 0;
}

static bool
take_varint(struct str *s, size_t max, size_t *ret)
{
	uint64_t v = 0;
	unsigned shift = 0;
	unsigned char c;

	do {
		if (s->len == 0 || shift > 56)
			return false;
		c = (unsigned char)s->p[0];
		*s = str_skip(*s, 1);
		v |= (uint64_t)(c & 0x7f) << shift;
		shift += 7;
	} while (c & 0x80);
	*ret = (size_t)v;
	return v <= max;
}

int
snapshot_next(struct snapshot_reader *r, struct str *ret_key,
    struct str *ret_raw, struct snapshot_end *ret_end, struct err *e)
{
	size_t shared, rest, raw_len;
	int rc;

	while (r->n == 0) {
		if (r->left.len > 0)
			return bad(e, "bytes behind the last record");
		rc = read_block(r, e);
		if (rc < 0)
			return rc;
		if (!r->is_last)
			continue;
		if (r->n != 0 || r->left.len < 16)
			return bad(e, "bad last block");
		ret_end->records = get_le64(r->left.p);
		ret_end->seq_end = get_le64(r->left.p + 8);
		if (ret_end->records != r->records)
			return bad(e, "records are missing");
		return 0;
	}
	if (!take_varint(&r->left, r->key.len, &shared) ||
	    !take_varint(&r->left, KV_KEY_MAX - shared, &rest) ||
	    !take_varint(&r->left, RAW_SUM + KV_VALUE_MAX, &raw_len) ||
	    rest + raw_len > r->left.len || raw_len < RAW_SUM ||
	    shared + rest == 0)
		return bad(e, "bad record");
	r->key.len = shared;
	if (buf_adds(&r->key, str_sub(r->left, 0, rest)) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	*ret_key = buf_str(&r->key);
	*ret_raw = str_sub(r->left, rest, raw_len);
	r->left = str_skip(r->left, rest + raw_len);
	r->n--;
	r->records++;
	return 1;
}
