/* cluster/rpc_wire.c - see cluster/rpc_wire.h. */
#include "cluster/rpc_wire.h"

#include "lib/bytes.h"

static const struct {
	const char *name;
	unsigned op, who;
} ops[] = {
#define GATE RPC_GATE
#define NODE RPC_NODE
#define PEER RPC_PEER
#define TRACKER RPC_TRACKER
#define ADMIN RPC_ADMIN
#define X(text, number, kinds) { #text, number, kinds },
#include "cluster/op_table.h"
#undef X
#undef GATE
#undef NODE
#undef PEER
#undef TRACKER
#undef ADMIN
};

const char *
rpc_op_name(unsigned op)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		if (ops[i].op == op)
			return ops[i].name;
	}
	return "?";
}

unsigned
rpc_op_who(unsigned op)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		if (ops[i].op == op)
			return ops[i].who;
	}
	return 0;
}

/* --- a call --- */

void
rpc_head_put(uint8_t dst[RPC_HEAD], const struct rpc_head *h)
{
	size_t args = h->args.len + (h->has_end ? RPC_END : 0);

	MUST(h->op <= UINT16_MAX && args <= RPC_ARGS_MAX);
	put_be64(dst, RPC_HEAD - RPC_HEAD_FIXED + args);
	dst[8] = h->version;
	dst[9] = h->flags | (h->has_end ? RPC_HAS_END : 0);
	put_le16(dst + 10, (uint16_t)h->op);
	put_le64(dst + 12, h->id);
	put_le64(dst + 20, h->epoch);
	memcpy(dst + 28, h->cluster.b, sizeof(h->cluster.b));
	put_le32(dst + 44, (uint32_t)args);
}

void
rpc_end_put(uint8_t dst[RPC_END], const struct rpc_head *h)
{
	put_le64(dst, h->end_ms);
}

/* Cuts it off the arguments. */
static void
end_get(struct unpack *u, struct rpc_head *h)
{
	struct unpack end;

	if (h->args.len < RPC_END) {
		u->is_bad = true;
		return;
	}
	h->args.len -= RPC_END;
	end = unpack_of(str_mem(h->args.p + h->args.len, RPC_END));
	h->has_end = true;
	h->end_ms = unpack_u64(&end);
}

int
rpc_head_get(struct str s, struct rpc_head *ret, struct err *e)
{
	struct unpack u = unpack_of(str_skip(s, RPC_HEAD_FIXED));
	unsigned low;

	*ret = (struct rpc_head){ 0 };
	if (s.len < RPC_HEAD)
		u.is_bad = true;
	ret->version = unpack_u8(&u);
	ret->flags = unpack_u8(&u);
	low = unpack_u8(&u);
	ret->op = low | (unsigned)unpack_u8(&u) << 8;
	ret->id = unpack_u64(&u);
	ret->epoch = unpack_u64(&u);
	ret->cluster = unpack_id(&u);
	ret->args = unpack_str(&u, RPC_ARGS_MAX);
	if (ret->version == 0)
		u.is_bad = true;
	if (!u.is_bad && (ret->flags & RPC_HAS_END) != 0)
		end_get(&u, ret);
	return unpack_end(&u, e);
}

int64_t
rpc_until(const struct rpc_head *h, int64_t met_ns)
{
	int64_t met_ms = met_ns / 1000000;

	if (!h->has_end)
		return 0;
	if (h->end_ms > (uint64_t)(INT64_MAX - met_ms))
		return INT64_MAX;
	met_ms += (int64_t)h->end_ms;
	return met_ms > 0 ? met_ms : 1; /* 0 would be whenever */
}

size_t
rpc_answer_put(uint8_t dst[RPC_ANSWER_HEAD], const struct rpc_answer_head *h)
{
	struct str name = str_of(h->code == 0 ? "" : err_name(h->code));
	size_t n = 0;

	MUST(name.len <= RPC_RESULT && h->args <= RPC_ARGS_MAX);
	MUST(h->text.len <= sizeof(((struct err *)0)->msg));
	dst[n++] = RPC_FRAMES;
	put_le32(dst + n, (uint32_t)name.len);
	memcpy(dst + n + 4, name.p, name.len);
	n += 4 + name.len;
	put_le32(dst + n, (uint32_t)h->text.len);
	if (h->text.len > 0)
		memcpy(dst + n + 4, h->text.p, h->text.len);
	n += 4 + h->text.len;
	put_le64(dst + n, h->id);
	put_le64(dst + n + 8, h->epoch);
	put_le32(dst + n + 16, (uint32_t)h->args);
	return n + 20;
}

static int
code_of(struct str name)
{
	if (name.len == 0)
		return 0;
	for (int i = 1; i < (int)ERR_POSITIONS; i++) {
		if (str_eqz(name, err_name(-i)))
			return -i;
	}
	return ERR_IO;
}

int
rpc_answer_get(struct str s, struct rpc_answer_head *ret, size_t *ret_len,
    struct err *e)
{
	struct unpack u = unpack_of(s);
	struct str name;
	uint8_t version = unpack_u8(&u);

	name = unpack_str(&u, RPC_RESULT);
	ret->text = unpack_str(&u, sizeof(((struct err *)0)->msg));
	ret->id = unpack_u64(&u);
	ret->epoch = unpack_u64(&u);
	ret->args = unpack_u32(&u);
	if (u.is_bad && s.len < RPC_ANSWER_HEAD)
		return 1;
	if (u.is_bad || version == 0 || ret->args > RPC_ARGS_MAX)
		return err_set(e, ERR_INVALID, "not an answer");
	ret->code = code_of(name);
	*ret_len = s.len - u.rest.len;
	return 0;
}

int
rpc_answer_next(struct str s, size_t max, struct rpc_answer_head *ret,
    struct str *ret_args, struct str *ret_body, size_t *ret_len)
{
	struct fdfs_header fh;
	struct str all;
	size_t at;

	if (s.len < FDFS_HEADER)
		return 0;
	if (fdfs_header_get((const uint8_t *)s.p, &fh, NULL) < 0 ||
	    fh.command != FDFS_RESPONSE || fh.status != 0 || fh.len > max)
		return ERR_INVALID;
	if (fh.len > s.len - FDFS_HEADER)
		return 0;
	all = str_sub(s, FDFS_HEADER, (size_t)fh.len);
	if (rpc_answer_get(all, ret, &at, NULL) != 0 ||
	    ret->args > all.len - at)
		return ERR_INVALID;
	*ret_args = str_sub(all, at, ret->args);
	*ret_body = str_skip(all, at + ret->args);
	*ret_len = FDFS_HEADER + all.len;
	return 1;
}

/* --- hello --- */

int
rpc_hello_pack(const struct rpc_hello *h, struct buf *b)
{
	int rc = buf_reserve(b, RPC_HELLO_MAX);

	if (rc < 0)
		return rc;
	pack_u8(b, h->version);
	pack_u8(b, 1);
	pack_u8(b, h->kind);
	pack_id(b, &h->id);
	pack_id(b, &h->cluster);
	pack_str(b, str_of(h->group));
	pack_u32(b, h->server_id);
	return buf_add(b, h->nonce, sizeof(h->nonce));
}

static void
unpack_raw(struct unpack *u, void *dst, size_t len)
{
	if (u->is_bad || u->rest.len < len) {
		u->is_bad = true;
		return;
	}
	memcpy(dst, u->rest.p, len);
	u->rest = str_skip(u->rest, len);
}

int
rpc_hello_unpack(struct str s, struct rpc_hello *ret, struct err *e)
{
	struct unpack u = unpack_of(s);
	struct str group;

	*ret = (struct rpc_hello){ 0 };
	ret->version = unpack_u8(&u);
	if (unpack_u8(&u) != 1)
		u.is_bad = true;
	ret->kind = unpack_u8(&u);
	ret->id = unpack_id(&u);
	ret->cluster = unpack_id(&u);
	group = unpack_str(&u, FDFS_GROUP_LEN);
	if (!u.is_bad && group.len > 0)
		memcpy(ret->group, group.p, group.len);
	ret->server_id = unpack_u32(&u);
	unpack_raw(&u, ret->nonce, sizeof(ret->nonce));
	if (ret->version == 0 || strlen(ret->group) != group.len)
		u.is_bad = true;
	return unpack_end(&u, e);
}

int
rpc_hello_answer_pack(const struct rpc_hello_answer *a, struct buf *b)
{
	int rc = buf_reserve(b, RPC_HELLO_MAX);

	if (rc < 0)
		return rc;
	pack_u8(b, a->version);
	pack_u8(b, a->kind);
	pack_id(b, &a->id);
	return buf_add(b, a->nonce, sizeof(a->nonce));
}

int
rpc_hello_answer_unpack(struct str s, struct rpc_hello_answer *ret,
    struct err *e)
{
	struct unpack u = unpack_of(s);

	*ret = (struct rpc_hello_answer){ 0 };
	ret->version = unpack_u8(&u);
	ret->kind = unpack_u8(&u);
	ret->id = unpack_id(&u);
	unpack_raw(&u, ret->nonce, sizeof(ret->nonce));
	unpack_raw(&u, ret->proof, sizeof(ret->proof));
	return unpack_end(&u, e);
}

uint8_t
rpc_version_of(const struct rpc_self *self)
{
	return self->version == 0 ? RPC_VERSION : self->version;
}

void
rpc_hello_prove(const struct rpc_self *self, bool by_server, struct str text,
    uint8_t dst[SECRET_PROOF])
{
	secret_proof(self->secret, by_server ? "creel server" : "creel client",
	    text, dst);
}
