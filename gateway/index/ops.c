/* gateway/index/ops.c - transactions as bytes (gateway/index/ops.h). */
#include "gateway/index/ops.h"

#include "gateway/index/kv.h"
#include "lib/bytes.h"
#include "lib/hash.h"

enum {
	OP_PUT = 1,
	OP_DEL = 2,
};

uint64_t
ops_sum(struct str key, struct str value)
{
	return hash_xxh3(hash_xxh3(0, key.p, key.len), value.p, value.len);
}

int
ops_unwrap(struct str key, struct str raw, struct str *ret, struct err *e)
{
	struct str value;

	if (raw.len < RAW_SUM)
		return err_set(e, ERR_CORRUPT, "index record of %zu bytes",
		    raw.len);
	value = (struct str){ raw.p + RAW_SUM, raw.len - RAW_SUM };
	if (get_le64(raw.p) != ops_sum(key, value))
		return err_set(e, ERR_CORRUPT,
		    "index record of %zu+%zu bytes has a bad checksum", key.len,
		    value.len);
	*ret = value;
	return 0;
}

/* Room for @more bytes at the end, not yet counted. */
static int
reserve(struct buf *b, size_t more, char **ret, struct err *e)
{
	int rc = buf_reserve(b, more);

	if (rc < 0)
		return err_set(e, rc, "transaction of more than %zu bytes",
		    b->cap);
	*ret = b->p + b->len;
	return 0;
}

int
ops_begin(struct buf *b, size_t *ret_at, struct err *e)
{
	char *p = NULL;
	int rc = reserve(b, OPS_TX_HEADER, &p, e);

	if (rc < 0)
		return rc;
	memset(p, 0, OPS_TX_HEADER);
	*ret_at = b->len;
	b->len += OPS_TX_HEADER;
	return 0;
}

static char *
add_header(char *p, int kind, struct str key, size_t raw_len)
{
	p[0] = (char)kind;
	p[1] = 0;
	put_le16(p + 2, (uint16_t)key.len);
	put_le32(p + 4, (uint32_t)raw_len);
	memcpy(p + OPS_OP_HEADER, key.p, key.len);
	return p + OPS_OP_HEADER + key.len;
}

int
ops_put(struct buf *b, struct str key, struct str value, struct str *ret_raw,
    struct err *e)
{
	size_t raw_len = RAW_SUM + value.len;
	char *p = NULL;
	int rc;

	MUST(key.len > 0 && key.len <= KV_KEY_MAX);
	MUST(value.len <= KV_VALUE_MAX);
	rc = reserve(b, OPS_OP_HEADER + key.len + raw_len, &p, e);
	if (rc < 0)
		return rc;
	p = add_header(p, OP_PUT, key, raw_len);
	put_le64(p, ops_sum(key, value));
	if (value.len > 0)
		memcpy(p + RAW_SUM, value.p, value.len);
	b->len += OPS_OP_HEADER + key.len + raw_len;
	*ret_raw = (struct str){ p, raw_len };
	return 0;
}

int
ops_del(struct buf *b, struct str key, struct err *e)
{
	char *p = NULL;
	int rc;

	MUST(key.len > 0 && key.len <= KV_KEY_MAX);
	rc = reserve(b, OPS_OP_HEADER + key.len, &p, e);
	if (rc < 0)
		return rc;
	add_header(p, OP_DEL, key, 0);
	b->len += OPS_OP_HEADER + key.len;
	return 0;
}

void
ops_end(struct buf *b, size_t at)
{
	size_t len = b->len - at, n = 0;
	size_t off = at + OPS_TX_HEADER;

	while (off < b->len) {
		off += OPS_OP_HEADER + get_le16(b->p + off + 2) +
		       get_le32(b->p + off + 4);
		n++;
	}
	MUST(off == b->len && len <= UINT32_MAX && n <= UINT32_MAX);
	put_le32(b->p + at, (uint32_t)len);
	put_le32(b->p + at + 4, (uint32_t)n);
}

int
ops_next_tx(struct ops_walk *w, struct err *e)
{
	size_t len;

	if (w->in.len == 0)
		return 0;
	if (w->in.len < OPS_TX_HEADER)
		return err_set(e, ERR_CORRUPT, "transaction header cut short");
	len = get_le32(w->in.p);
	if (len < OPS_TX_HEADER || len > w->in.len)
		return err_set(e, ERR_CORRUPT, "transaction of %zu bytes", len);
	w->left_in_tx = get_le32(w->in.p + 4);
	w->tx = str_sub(w->in, OPS_TX_HEADER, len - OPS_TX_HEADER);
	w->in = str_skip(w->in, len);
	return 1;
}

int
ops_next(struct ops_walk *w, struct op *ret, struct err *e)
{
	size_t key_len, raw_len;
	const char *p = w->tx.p;
	int kind;

	if (w->left_in_tx == 0) {
		if (w->tx.len > 0)
			return err_set(e, ERR_CORRUPT,
			    "%zu bytes after the last operation", w->tx.len);
		return 0;
	}
	if (w->tx.len < OPS_OP_HEADER)
		return err_set(e, ERR_CORRUPT, "operation cut short");
	kind = p[0];
	key_len = get_le16(p + 2);
	raw_len = get_le32(p + 4);
	if ((kind != OP_PUT && kind != OP_DEL) || key_len == 0 ||
	    key_len > KV_KEY_MAX || raw_len > RAW_SUM + KV_VALUE_MAX ||
	    (kind == OP_PUT ? raw_len < RAW_SUM : raw_len != 0) ||
	    OPS_OP_HEADER + key_len + raw_len > w->tx.len)
		return err_set(e, ERR_CORRUPT,
		    "operation of kind %d, %zu+%zu "
		    "bytes",
		    kind, key_len, raw_len);
	p += OPS_OP_HEADER;
	ret->key = (struct str){ p, key_len };
	ret->raw =
	    kind == OP_PUT ? (struct str){ p + key_len, raw_len } : STR_NULL;
	w->tx = str_skip(w->tx, OPS_OP_HEADER + key_len + raw_len);
	w->left_in_tx--;
	return 1;
}
