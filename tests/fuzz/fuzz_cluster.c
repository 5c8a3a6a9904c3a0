/* Frames between Creel's processes, maps and nodes. Input: one byte that chooses
 * the decoder, then what a peer sends. What decodes must encode to what decodes
 * to the same.
 * LINK: creel_cluster */
#include "cluster/map.h"
#include "cluster/rpc_wire.h"

#include "lib/bytes.h"
#include "lib/mem.h"

static void
head(struct str s)
{
	struct rpc_head h, h2;
	uint8_t raw[RPC_HEAD], end[RPC_END];
	struct buf b = BUF_CAP(1 << 21);

	if (rpc_head_get(s, &h, NULL) < 0)
		return;
	rpc_head_put(raw, &h);
	MUST(buf_add(&b, raw, sizeof(raw)) == 0);
	MUST(buf_adds(&b, h.args) == 0);
	rpc_end_put(end, &h);
	MUST(!h.has_end || buf_add(&b, end, sizeof(end)) == 0);
	MUST(rpc_head_get(buf_str(&b), &h2, NULL) == 0);
	MUST(h2.has_end == h.has_end && h2.end_ms == h.end_ms);
	(void)rpc_until(&h, 5000000000);
	MUST(h2.op == h.op && h2.id == h.id && h2.epoch == h.epoch &&
	     str_eq(h2.args, h.args));
	(void)rpc_op_name(h.op);
	(void)rpc_op_who(h.op);
	buf_fini(&b);
}

static void
answer(struct str s)
{
	struct rpc_answer_head h, h2;
	uint8_t raw[RPC_ANSWER_HEAD];
	size_t at, at2, n;

	if (rpc_answer_get(s, &h, &at, NULL) != 0)
		return;
	MUST(at <= s.len);
	n = rpc_answer_put(raw, &h);
	MUST(rpc_answer_get(str_mem(raw, n), &h2, &at2, NULL) == 0);
	MUST(at2 == n && h2.code == h.code && h2.id == h.id &&
	     h2.args == h.args && str_eq(h2.text, h.text));
}

/* Answers one behind the other, as a connection of many calls has them: however
 * few bytes are there, they are the same ones. */
static void
stream(struct str s)
{
	struct rpc_answer_head h, h2;
	struct str args, body, args2, body2;
	size_t len, len2;

	while (rpc_answer_next(s, 1000, &h, &args, &body, &len) == 1) {
		MUST(len <= s.len && len >= FDFS_HEADER);
		MUST(args.len + body.len <= len - FDFS_HEADER);
		MUST(body.len == 0 || body.p + body.len == s.p + len);
		MUST(rpc_answer_next(str_sub(s, 0, len), 1000, &h2, &args2,
			 &body2, &len2) == 1);
		MUST(len2 == len && h2.id == h.id && h2.code == h.code &&
		     str_eq(args, args2) && str_eq(body, body2));
		for (size_t n = 0; n < len; n += 1 + len / 16)
			MUST(rpc_answer_next(str_sub(s, 0, n), 1000, &h2,
				 &args2, &body2, &len2) == 0);
		s = str_skip(s, len);
	}
}

static void
hello(struct str s)
{
	struct buf b = BUF_CAP(1000);
	struct rpc_hello_answer a;
	struct rpc_hello h, h2;

	if (rpc_hello_unpack(s, &h, NULL) == 0) {
		MUST(rpc_hello_pack(&h, &b) == 0);
		MUST(rpc_hello_unpack(buf_str(&b), &h2, NULL) == 0);
		MUST(memcmp(&h, &h2, sizeof(h)) == 0);
	}
	if (rpc_hello_answer_unpack(s, &a, NULL) == 0) {
		buf_reset(&b);
		MUST(rpc_hello_answer_pack(&a, &b) == 0);
		MUST(str_has_prefix(s, buf_str(&b)));
	}
	buf_fini(&b);
}

static void
node(struct str s)
{
	struct buf b = BUF_CAP(1 << 20), again = BUF_CAP(1 << 20);
	struct unpack u = unpack_of(s);
	struct cmap_node n, n2;

	if (cmap_node_unpack(&u, &n, NULL) == 0) {
		MUST(cmap_node_pack(&n, &b) == 0);
		u = unpack_of(buf_str(&b));
		MUST(cmap_node_unpack(&u, &n2, NULL) == 0);
		MUST(cmap_node_pack(&n2, &again) == 0);
		MUST(str_eq(buf_str(&b), buf_str(&again)));
		cmap_node_fini(&n);
		cmap_node_fini(&n2);
	}
	buf_fini(&b);
	buf_fini(&again);
}

static void
map(struct str s)
{
	struct buf b = BUF_CAP(8 << 20);
	struct cmap m, m2;

	if (cmap_unpack(s, &m, NULL) == 0) {
		MUST(cmap_pack(&m, &b) == 0);
		MUST(cmap_unpack(buf_str(&b), &m2, NULL) == 0);
		MUST(m2.n_nodes == m.n_nodes && m2.n_gates == m.n_gates);
		buf_reset(&b);
		MUST(cmap_json(&m, &b, NULL) == 0);
		MUST(cmap_table(&m2, &b, NULL) == 0);
		cmap_fini(&m);
		cmap_fini(&m2);
	}
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body;

	if (size < 1)
		return 0;
	body = str_mem(data + 1, size - 1);
	switch (data[0] % 6) {
	case 0:
		head(body);
		break;
	case 1:
		answer(body);
		break;
	case 2:
		hello(body);
		break;
	case 3:
		node(body);
		break;
	case 5:
		stream(body);
		break;
	default:
		map(body);
		break;
	}
	return 0;
}
