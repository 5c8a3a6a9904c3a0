/* storage/files/leader.c - asking the node that orders changes.
 *
 * Arguments of FILE_OP: kind u8, change ID u64, bits u8 (1: again, 2: may be
 * passed on), name text, offset u64, flag u8, piece: kind u8, length u64,
 * segment text, CRC32 u32. The body is the piece's bytes, or metadata. Answer:
 * name text, size u64, CRC32 u32; the body of GET_META and GET_LIST.
 *
 * A leader that is not heard may be gone, or cut off from this node alone: a call
 * to it ends when its heartbeats stop, and another member is asked, which leads
 * by now, or passes it on to whoever it hears lead: once, so that nothing goes
 * round. What was asked twice is done once (F5). */
#include "storage/files/files_int.h"

#include "lib/mem.h"

#define ASK_MS 5000 /* a leader that hangs is soon another one */
#define READ_MS 2500
#define ASK_LONG_MS 600000 /* REGENERATE copies */
#define WAIT_STEP_MS 50
#define CONNECT_MS 1000

enum {
	BIT_AGAIN = 1,
	BIT_PASS_ON = 2
};

static int
op_pack(const struct files_op *op, bool pass_on, struct buf *b)
{
	uint8_t bits = (uint8_t)((op->is_again ? BIT_AGAIN : 0) |
				 (pass_on ? BIT_PASS_ON : 0));
	int rc = pack_u8(b, (uint8_t)op->kind);

	if (rc == 0)
		rc = pack_u64(b, op->change);
	if (rc == 0)
		rc = pack_u8(b, bits);
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
    struct files_op *ret, bool *ret_pass_on, struct err *e)
{
	struct unpack u = unpack_of(args);
	uint8_t bits;
	struct files_op op = { .kind = (enum files_op_kind)unpack_u8(&u) };
	struct str id;

	op.change = unpack_u64(&u);
	bits = unpack_u8(&u);
	op.is_again = (bits & BIT_AGAIN) != 0;
	*ret_pass_on = (bits & BIT_PASS_ON) != 0;
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

static bool
is_read(enum files_op_kind kind)
{
	return kind == FILES_GET_LIST || kind == FILES_GET_META;
}

static int
patience(enum files_op_kind kind)
{
	if (kind == FILES_REGENERATE)
		return ASK_LONG_MS;
	return is_read(kind) ? READ_MS : ASK_MS;
}

struct listener {
	struct files *f;
	struct id128 asked;
};

static bool
is_silent(void *arg)
{
	struct listener *l = arg;

	return !members_hears(l->f->members, &l->asked);
}

static bool
is_heard(void *arg)
{
	struct listener *l = arg;
	struct member_view v;

	members_get(l->f->members, &v);
	return v.is_leader || (members_hears(l->f->members, NULL) &&
				  !members_hears(l->f->members, &l->asked));
}

/* A call to member @at, who is the leader unless it is to @pass_on. Where there is
 * another way it ends when the leader falls silent, or is heard again. */
static int
ask(struct files *f, const struct files_op *op, const struct member_view *v,
    int at, bool pass_on, struct files_result *ret, bool *was_sent,
    struct err *e)
{
	const struct fdfs_addr *to = &v->m[at].inner;
	struct listener l = { f, v->m[at].node };
	struct rpc_watch w = { .arg = &l, .open_ms = CONNECT_MS };
	struct rpc_request q = { .op = RPC_FILE_OP,
		.epoch = v->epoch,
		.until_ms = op->until_ms,
		.body = op->kind == FILES_SET_META ? op->meta : op->piece.bytes,
		.watch = &w };
	struct buf args = BUF_CAP(4096);
	struct rpc_reply reply;
	int rc = op_pack(op, pass_on, &args);

	if (rc < 0) {
		buf_fini(&args);
		return err_set(e, rc, NULL);
	}
	if (v->n > 2 && op->kind != FILES_REGENERATE) { /* not asked twice */
		if (!pass_on)
			w.is_over = is_silent;
		else if (!members_hears(f->members, NULL))
			w.is_over = is_heard;
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
 * twice. A leader whose disk has failed is soon another one, if there is one. */
static bool
may_ask_again(const struct files_op *op, int rc, bool was_sent, size_t n)
{
	if (rc == ERR_RETRY)
		return true;
	if (rc == ERR_FAILED || (rc == ERR_IO && patience(op->kind) == ASK_MS))
		return n > 2 && op->kind != FILES_REGENERATE;
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

	if (v->n != 2 || v->self < 0 || !is_read(op->kind))
		return false;
	rep_status(f->rep, &st);
	return st.state == FDFS_STATE_ACTIVE;
}

/* An answer that is sought. */
struct quest {
	struct files *f;
	struct files_op *op;
	struct files_result *ret;
	unsigned turn;
	struct id128 shun; /* did not answer just now; zero: none */
	/* The last try: who was asked (zero: nobody). */
	struct id128 asked;
	bool was_sent;
	size_t n_members;
};

/* Whom to ask: the leader while it is heard, else another member, in turn; not who
 * fell silent. -1: nobody. */
static int
next_hop(const struct quest *q, const struct member_view *v)
{
	int known = v->leader != v->self ? v->leader : -1, other = -1, at;

	if (v->self < 0 ||
	    (known >= 0 && !id128_eq(&v->m[known].node, &q->shun) &&
		members_hears(q->f->members, &v->m[known].node)))
		return known;
	for (size_t i = 0; i < v->n; i++) {
		at = (int)((q->turn + i) % v->n);
		if (at == v->self || at == known || at == v->heard ||
		    id128_eq(&v->m[at].node, &q->shun))
			continue;
		if (rep_reaches(q->f->rep, &v->m[at].node))
			return at;
		other = other < 0 ? at : other;
	}
	return other >= 0 ? other : known;
}

static int
try_once(struct quest *q, struct err *e)
{
	struct files *f = q->f;
	struct member_view v;
	int at;

	members_get(f->members, &v);
	q->n_members = v.n;
	q->was_sent = true;
	q->asked = (struct id128){ 0 };
	buf_reset(&q->ret->body);
	if (can_read_here(f, q->op, &v))
		return files_read_here(f, q->op, q->ret, e);
	if (v.is_leader)
		return files_apply(f, q->op, q->ret, e);
	at = next_hop(q, &v);
	if (at >= 0) {
		q->asked = v.m[at].node;
		return ask(f, q->op, &v, at, at != v.leader, q->ret,
		    &q->was_sent, e);
	}
	q->was_sent = false;
	return err_set(e, ERR_RETRY,
	    "no node orders the group's changes at present");
}

/* Who did not answer is not the next to be asked; the first time that is at
 * once. */
static bool
shun(struct quest *q, int rc)
{
	bool is_first = id128_is_zero(&q->shun) && !id128_is_zero(&q->asked);

	q->turn++;
	q->shun = (struct id128){ 0 };
	if (rc != ERR_DISCONNECTED || !is_first)
		return false;
	q->shun = q->asked;
	return true;
}

int
files_ask_leader(struct files *f, struct files_op *op, struct files_result *ret,
    struct err *e)
{
	int64_t start = files_now_ms(f), limit = start + f->wait_ms, asked,
		end = start +
	              (f->wait_ms > FILES_OPEN_MS ? f->wait_ms : FILES_OPEN_MS);
	struct quest q = { .f = f, .op = op, .ret = ret };
	int step = WAIT_STEP_MS, rc;

	op->until_ms = is_read(op->kind) ? 0 : end;
	for (;;) {
		asked = files_now_ms(f);
		rc = try_once(&q, e);
		if (rc == 0 || !may_ask_again(op, rc, q.was_sent, q.n_members))
			break;
		if (q.was_sent && rc != ERR_RETRY)
			op->is_again = true;
		/* It may only be slow: who hears that the outcome is open does
		 * it again, and then it is done twice. */
		if (q.was_sent && patience(op->kind) == ASK_MS &&
		    files_now_ms(f) - asked >= ASK_MS)
			limit = end;
		if (files_now_ms(f) >= limit)
			break;
		if (shun(&q, rc))
			continue;
		if (!f->env.ops->sleep(f->env.env, step))
			break;
		step = step < 400 ? step * 2 : step;
	}
	if (rc == ERR_DISCONNECTED)
		rc = err_set(e, ERR_RETRY,
		    "the node that orders changes did not answer");
	return rc;
}

/* For a node that does not hear the leader. ERR_RETRY: nothing was done. */
static int
pass_on(struct files *f, const struct files_op *op, struct files_result *ret,
    struct err *e)
{
	struct member_view v;
	bool was_sent;
	int rc;

	members_get(f->members, &v);
	if (v.is_leader)
		return files_apply(f, op, ret, e);
	if (v.leader < 0 || v.leader == v.self ||
	    !members_hears(f->members, &v.m[v.leader].node))
		return err_set(e, ERR_RETRY, "hears no leader either");
	rc = ask(f, op, &v, v.leader, false, ret, &was_sent, e);
	if (rc == ERR_DISCONNECTED)
		rc = err_set(e, was_sent ? ERR_BUSY : ERR_RETRY,
		    "the leader does not answer");
	return rc;
}

int
files_serve(struct files *f, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct files_result r = { .body = BUF_CAP(RPC_BODY_MAX) };
	bool may_pass = false;
	struct files_op op;
	char seg[LIST_ID];
	int rc;

	OBJ_CHECK(f, FILES_MAGIC);
	rc = members_check(f->members, from, q->epoch, e);
	if (rc == 0)
		rc = op_unpack(q->args, q->body, seg, &op, &may_pass, e);
	op.until_ms = q->until_ms;
	if (rc == 0)
		rc = may_pass ? pass_on(f, &op, &r, e)
		              : files_apply(f, &op, &r, e);
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
