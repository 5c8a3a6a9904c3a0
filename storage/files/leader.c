/* storage/files/leader.c - asking the node that orders changes.
 *
 * Arguments of FILE_OP: kind u8, change ID u64, again u8, name text, offset u64,
 * flag u8, piece: kind u8, length u64, segment text, CRC32 u32. The body is the
 * piece's bytes, or metadata. Answer: name text, size u64, CRC32 u32; the body
 * of GET_META and GET_LIST. */
#include "storage/files/files_int.h"

#include "lib/mem.h"

#define ASK_MS 5000 /* a leader that hangs is soon another one */
#define READ_MS 2500
#define OPEN_MS 30000      /* in all, for a change that was sent */
#define ASK_LONG_MS 600000 /* REGENERATE copies */
#define WAIT_STEP_MS 50

static int
op_pack(const struct files_op *op, struct buf *b)
{
	int rc = pack_u8(b, (uint8_t)op->kind);

	if (rc == 0)
		rc = pack_u64(b, op->change);
	if (rc == 0)
		rc = pack_u8(b, op->is_again);
	if (rc == 0)
		rc = pack_str(b, op->name);
	if (rc == 0)
		rc = pack_u64(b, op->off);
	if (rc == 0)
		rc = pack_u8(b, (uint8_t)op->flag);
	if (rc == 0)
		rc = pack_u8(b, op->piece.kind);
	if (rc == 0)
		rc = pack_u64(b, op->piece.len);
	if (rc == 0)
		rc = pack_str(b, str_of(op->piece.id));
	if (rc == 0)
		rc = pack_u32(b, op->piece.crc32);
	return rc;
}

static int
op_unpack(struct str args, struct str body, char seg[LIST_ID],
    struct files_op *ret, struct err *e)
{
	struct unpack u = unpack_of(args);
	struct files_op op = { .kind = (enum files_op_kind)unpack_u8(&u) };
	struct str id;

	op.change = unpack_u64(&u);
	op.is_again = unpack_u8(&u) != 0;
	op.name = unpack_str(&u, FDFS_REMOTE_MAX);
	op.off = unpack_u64(&u);
	op.flag = (char)unpack_u8(&u);
	op.piece.kind = unpack_u8(&u);
	op.piece.len = unpack_u64(&u);
	id = unpack_str(&u, LIST_ID - 1);
	op.piece.crc32 = unpack_u32(&u);
	if (unpack_end(&u, e) < 0)
		return ERR_INVALID;
	if (id.len > 0)
		memcpy(seg, id.p, id.len);
	seg[id.len] = '\0';
	op.piece.id = seg;
	if (op.piece.kind == LIST_BYTES)
		op.piece.bytes = body;
	else if (op.kind == FILES_SET_META)
		op.meta = body;
	if (op.kind < FILES_CREATE || op.kind > FILES_GET_LIST ||
	    op.piece.kind > LIST_SEGMENT ||
	    (op.piece.kind == LIST_BYTES && body.len != op.piece.len) ||
	    (op.piece.kind == LIST_SEGMENT && id.len == 0))
		return err_set(e, ERR_INVALID, "malformed FILE_OP");
	*ret = op;
	return 0;
}

static int
answer_unpack(struct rpc_reply *reply, struct files_result *ret, struct err *e)
{
	struct unpack u = unpack_of(buf_str(&reply->args));
	struct str id = unpack_str(&u, ENGINE_FILE_ID_MAX - 1);

	if (id.len > 0)
		memcpy(ret->info.id, id.p, id.len);
	ret->info.id[id.len] = '\0';
	ret->info.size = unpack_u64(&u);
	ret->info.crc32 = unpack_u32(&u);
	if (unpack_end(&u, e) < 0)
		return err_set(e, ERR_CORRUPT, "malformed answer of FILE_OP");
	if (reply->body.len > 0 &&
	    buf_adds(&ret->body, buf_str(&reply->body)) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	return 0;
}

static int
patience(enum files_op_kind kind)
{
	if (kind == FILES_REGENERATE)
		return ASK_LONG_MS;
	return kind == FILES_GET_LIST || kind == FILES_GET_META ? READ_MS
	                                                        : ASK_MS;
}

static int
ask(struct files *f, const struct files_op *op, const struct fdfs_addr *to,
    uint64_t epoch, struct files_result *ret, bool *was_sent, struct err *e)
{
	struct rpc_request q = { .op = RPC_FILE_OP,
		.epoch = epoch,
		.body =
		    op->kind == FILES_SET_META ? op->meta : op->piece.bytes };
	struct buf args = BUF_CAP(4096);
	struct rpc_reply reply;
	int rc = op_pack(op, &args);

	if (rc < 0) {
		buf_fini(&args);
		return err_set(e, rc, NULL);
	}
	q.args = buf_str(&args);
	rpc_reply_init(&reply);
	rc =
	    f->env.ops->call(f->env.env, to, &q, patience(op->kind), &reply, e);
	*was_sent = reply.was_sent;
	members_saw(f->members, to, reply.epoch);
	if (rc == 0)
		rc = answer_unpack(&reply, ret, e);
	rpc_reply_fini(&reply);
	buf_fini(&args);
	return rc;
}

/* What may be asked again: nothing was done, or F5 keeps it from being done
 * twice. */
static bool
may_ask_again(const struct files_op *op, int rc, bool was_sent)
{
	if (rc == ERR_RETRY)
		return true;
	if (rc != ERR_DISCONNECTED && rc != ERR_BUSY)
		return false;
	return op->kind != FILES_REGENERATE ||
	       (rc == ERR_DISCONNECTED && !was_sent);
}

/* In a group of two every acknowledged change is on both nodes, so that each can
 * answer alone, also when the other is away; unless its disks were lost or put
 * back. */
static bool
can_read_here(struct files *f, const struct files_op *op,
    const struct member_view *v)
{
	struct rep_status st;

	if (v->n != 2 || v->self < 0 ||
	    (op->kind != FILES_GET_LIST && op->kind != FILES_GET_META))
		return false;
	rep_status(f->rep, &st);
	return st.state == FDFS_STATE_ACTIVE;
}

int
files_ask_leader(struct files *f, struct files_op *op, struct files_result *ret,
    struct err *e)
{
	int64_t start = files_now_ms(f), limit = start + f->wait_ms, asked;
	int step = WAIT_STEP_MS;
	struct member_view v;
	bool was_sent;
	int rc;

	for (;;) {
		members_get(f->members, &v);
		was_sent = true;
		asked = files_now_ms(f);
		buf_reset(&ret->body);
		if (can_read_here(f, op, &v)) {
			rc = files_read_here(f, op, ret, e);
		} else if (v.is_leader) {
			rc = files_apply(f, op, ret, e);
		} else if (v.leader >= 0 && v.leader != v.self) {
			rc = ask(f, op, &v.m[v.leader].inner, v.epoch, ret,
			    &was_sent, e);
		} else {
			was_sent = false;
			rc = err_set(e, ERR_RETRY,
			    "no node orders the group's changes at present");
		}
		if (rc == 0 || !may_ask_again(op, rc, was_sent))
			break;
		if (was_sent && rc != ERR_RETRY)
			op->is_again = true;
		/* It may only be slow: who hears that the outcome is open does
		 * it again, and then it is done twice. */
		if (was_sent && patience(op->kind) == ASK_MS &&
		    files_now_ms(f) - asked >= ASK_MS)
			limit = start +
			        (f->wait_ms > OPEN_MS ? f->wait_ms : OPEN_MS);
		if (files_now_ms(f) >= limit ||
		    !f->env.ops->sleep(f->env.env, step))
			break;
		step = step < 400 ? step * 2 : step;
	}
	if (rc == ERR_DISCONNECTED)
		rc = err_set(e, ERR_RETRY,
		    "the node that orders changes did not answer");
	return rc;
}

int
files_serve(struct files *f, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct files_result r = { .body = BUF_CAP(RPC_BODY_MAX) };
	struct files_op op;
	char seg[LIST_ID];
	int rc;

	OBJ_CHECK(f, FILES_MAGIC);
	rc = members_check(f->members, from, q->epoch, e);
	if (rc == 0)
		rc = op_unpack(q->args, q->body, seg, &op, e);
	if (rc == 0)
		rc = files_apply(f, &op, &r, e);
	if (rc == 0)
		rc = pack_str(&a->args, str_of(r.info.id));
	if (rc == 0)
		rc = pack_u64(&a->args, r.info.size);
	if (rc == 0)
		rc = pack_u32(&a->args, r.info.crc32);
	if (rc == 0)
		rc = buf_adds(&a->body, buf_str(&r.body));
	buf_fini(&r.body);
	return rc;
}
