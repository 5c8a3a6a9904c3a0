/* cluster/rpc_client.c - asking: handshake and calls over fdfs/client.h.
 *
 * A request leaves in one send; its answer comes in one receive if it is
 * small, else its body goes from the socket to where the caller wants it. */
#include "cluster/rpc_wire.h"

#include "fdfs/net.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/mem.h"

#include <errno.h>
#include <stdatomic.h>

enum {
	CLIENT_MAGIC = 0x52706343
};

struct rpc_client {
	unsigned magic;
	struct rpc_self self;
	struct fdfs_client *fdfs;
	atomic_bool is_stopped;
	atomic_uint_least64_t next_id;
};

void
rpc_reply_init(struct rpc_reply *r)
{
	*r = (struct rpc_reply){ .args = BUF_CAP(RPC_ARGS_MAX),
		.body = BUF_CAP(RPC_BODY_MAX) };
}

void
rpc_reply_fini(struct rpc_reply *r)
{
	buf_fini(&r->args);
	buf_fini(&r->body);
}

/* --- the handshake --- */

static int
recv_all(int fd, void *p, size_t len, int timeout_ms, struct err *e)
{
	size_t have = 0, n;
	int rc;

	while (have < len) {
		rc = fdfs_net_recv(fd, (char *)p + have, len - have, timeout_ms,
		    &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_DISCONNECTED,
			    "closed within the handshake");
		if (rc < 0)
			return rc;
		have += n;
	}
	return 0;
}

/* One exchange; @answer has room for RPC_HELLO_MAX bytes. */
static int
exchange(int fd, struct str body, int timeout_ms, uint8_t *answer,
    size_t *ret_len, struct err *e)
{
	struct fdfs_header h = { body.len, RPC_HELLO, 0 };
	uint8_t raw[FDFS_HEADER];
	struct iovec iov[2] = { { raw, sizeof(raw) },
		{ (char *)(uintptr_t)body.p, body.len } };
	size_t sent;
	bool input;
	int rc;

	fdfs_header_put(raw, &h);
	rc = fdfs_net_send(fd, iov, 2, timeout_ms, false, &sent, &input, e);
	if (rc == 0)
		rc = recv_all(fd, raw, sizeof(raw), timeout_ms, e);
	if (rc == 0)
		rc = fdfs_header_get(raw, &h, e);
	if (rc < 0)
		return rc;
	if (h.command != FDFS_RESPONSE || h.len > RPC_HELLO_MAX)
		return err_set(e, ERR_CONFIG,
		    "does not speak Creel's protocol");
	if (h.status == FDFS_EACCES)
		return err_set(e, ERR_CONFIG,
		    "refuses: another cluster, or another secret");
	if (h.status == FDFS_EINVAL)
		return err_set(e, ERR_CONFIG,
		    "does not know Creel's protocol, or not this version");
	if (h.status != 0)
		return fdfs_status_err(h.status, e);
	*ret_len = (size_t)h.len;
	return recv_all(fd, answer, *ret_len, timeout_ms, e);
}

/* The server has proved itself: @all grows by its message and our proof goes
 * into @second. */
static int
check_answer(const struct rpc_self *self, struct str answer, struct buf *all,
    uint8_t proof[SECRET_PROOF], int *ret_version, struct err *e)
{
	struct rpc_hello_answer a;
	uint8_t want[SECRET_PROOF];
	int rc;

	rc = rpc_hello_answer_unpack(answer, &a, e);
	if (rc == 0 && (a.version == 0 || a.version > rpc_version_of(self)))
		rc = err_set(e, ERR_CONFIG, "speaks version %u", a.version);
	if (rc < 0)
		return rc;
	rc = rpc_hello_answer_pack(&a, all);
	if (rc < 0)
		return err_set(e, rc, "handshake");
	rpc_hello_prove(self, true, buf_str(all), want);
	if (!str_eq_secret(str_mem(want, sizeof(want)),
		str_mem(a.proof, sizeof(a.proof))))
		return err_set(e, ERR_CONFIG, "has another cluster secret");
	rc = buf_add(all, a.proof, sizeof(a.proof));
	if (rc < 0)
		return err_set(e, rc, "handshake");
	if (self->kind == RPC_GATE && (a.kind & (RPC_NODE | RPC_PEER)) != 0 &&
	    rpc_version_of(self) >= RPC_SEALED && a.version < RPC_SEALED)
		return err_set(e, ERR_CONFIG,
		    "is older than this gateway (version %u of the protocol): "
		    "upgrade storage nodes before gateways",
		    a.version);
	rpc_hello_prove(self, false, buf_str(all), proof);
	*ret_version = a.version;
	return 0;
}

static int
shake_hands(const struct rpc_self *self, int fd, int timeout_ms, struct err *e)
{
	struct rpc_hello h = { .version = rpc_version_of(self),
		.kind = (uint8_t)self->kind,
		.id = self->id,
		.cluster = self->cluster,
		.server_id = self->server_id };
	uint8_t answer[RPC_HELLO_MAX], second[2 + SECRET_PROOF];
	struct buf all = BUF_CAP(4 * RPC_HELLO_MAX);
	int rc, version = 0;
	size_t len;

	memcpy(h.group, self->group, sizeof(h.group));
	rand_bytes(h.nonce, sizeof(h.nonce));
	rc = rpc_hello_pack(&h, &all);
	if (rc < 0)
		err_set(e, rc, "handshake");
	if (rc == 0)
		rc = exchange(fd, buf_str(&all), timeout_ms, answer, &len, e);
	if (rc == 0)
		rc = check_answer(self, str_mem(answer, len), &all, second + 2,
		    &version, e);
	if (rc == 0) {
		second[0] = h.version;
		second[1] = 2;
		rc = exchange(fd, str_mem(second, sizeof(second)), timeout_ms,
		    answer, &len, e);
	}
	buf_fini(&all);
	return rc == 0 ? version : rc;
}

/* What went wrong, and with whom. */
static int
name_peer(const struct fdfs_addr *to, int code, struct err *e)
{
	struct err why;

	if (e == NULL)
		return code;
	why = *e;
	err_set(e, code, "%s port %u: %s", to->ip, to->port, why.msg);
	e->sys_errno = why.sys_errno;
	return code;
}

int
rpc_greet(const struct rpc_self *self, int fd, const struct fdfs_addr *to,
    int timeout_ms, struct err *e)
{
	struct err why = ERR_INIT;
	int rc;

	rc = shake_hands(self, fd, timeout_ms, &why);
	if (rc >= 0)
		return rc;
	if (e != NULL)
		*e = why;
	return name_peer(to, rc == ERR_INVALID ? ERR_CONFIG : rc, e);
}

static int
greet(void *arg, int fd, const struct fdfs_addr *to, int timeout_ms,
    struct err *e)
{
	const struct rpc_client *c = arg;

	return rpc_greet(&c->self, fd, to, timeout_ms, e);
}

/* --- life --- */

int
rpc_client_open(const struct rpc_client_opts *o, struct rpc_client **ret,
    struct err *e)
{
	struct rpc_client *c = mem_zalloc(sizeof(*c));
	struct fdfs_client_opts fo = { .connect_ms = o->connect_ms,
		.io_ms = o->io_ms,
		.idle_ms = o->idle_ms,
		.max_idle_each = o->max_idle_each,
		.max_idle = o->max_idle,
		.greet = greet };
	int rc;

	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "client");
	c->magic = CLIENT_MAGIC;
	c->self = o->self;
	atomic_init(&c->next_id, rand_u64());
	fo.arg = c;
	rc = fdfs_client_open(&fo, &c->fdfs, e);
	if (rc < 0) {
		mem_free(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

void
rpc_client_stop(struct rpc_client *c)
{
	OBJ_CHECK(c, CLIENT_MAGIC);
	atomic_store(&c->is_stopped, true);
	fdfs_client_stop(c->fdfs);
}

void
rpc_client_cut(struct rpc_client *c, const struct fdfs_addr *to)
{
	OBJ_CHECK(c, CLIENT_MAGIC);
	fdfs_client_cut(c->fdfs, to);
}

void
rpc_client_close(struct rpc_client **cp)
{
	struct rpc_client *c = *cp;

	if (c == NULL)
		return;
	OBJ_CHECK(c, CLIENT_MAGIC);
	*cp = NULL;
	fdfs_client_close(&c->fdfs);
	mem_free(&c);
}

/* --- a call --- */

static int
read_all(struct fdfs_call *call, void *p, size_t len, struct err *e)
{
	size_t have = 0, n;
	int rc;

	while (have < len) {
		rc = fdfs_call_read(call, (char *)p + have, len - have, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_INVALID, "answer is cut short");
		if (rc < 0)
			return rc;
		have += n;
	}
	return 0;
}

static int
read_buf(struct fdfs_call *call, struct buf *b, size_t len, struct err *e)
{
	int rc;

	if (len == 0)
		return 0;
	rc = buf_reserve(b, len);
	if (rc < 0)
		return err_set(e, rc, "answer of %zu bytes", len);
	rc = read_all(call, b->p + b->len, len, e);
	if (rc == 0)
		b->len += len;
	return rc;
}

/* The answer's head, read piece by piece into @raw: as much as came with the
 * first bytes, more only as far as the head itself goes. */
static int
read_head(struct fdfs_call *call, uint64_t total, uint8_t raw[RPC_ANSWER_HEAD],
    struct rpc_answer_head *ret, size_t *ret_have, size_t *ret_len,
    struct err *e)
{
	size_t have = 0, n;
	int rc;

	do {
		if (have == total || have == RPC_ANSWER_HEAD)
			return err_set(e, ERR_INVALID, "answer is cut short");
		rc = fdfs_call_read(call, raw + have, RPC_ANSWER_HEAD - have,
		    &n, e);
		if (rc < 0)
			return rc;
		have += n;
		rc = rpc_answer_get(str_mem(raw, have), ret, ret_len, e);
	} while (rc == 1);
	*ret_have = have;
	return rc;
}

/* What came along with the head is copied, the rest received in place. */
struct answer {
	struct fdfs_call *call;
	const uint8_t *have; /* bytes of it not used yet */
	size_t n_have;
};

static size_t
take_have(struct answer *a, void *p, size_t len)
{
	size_t n = a->n_have < len ? a->n_have : len;

	if (n > 0)
		memcpy(p, a->have, n);
	a->have += n;
	a->n_have -= n;
	return n;
}

static int
take_into(struct answer *a, void *p, size_t len, struct err *e)
{
	size_t n = take_have(a, p, len);

	return read_all(a->call, (char *)p + n, len - n, e);
}

static int
take_buf(struct answer *a, struct buf *b, size_t len, struct err *e)
{
	size_t n;
	int rc;

	if (len == 0)
		return 0;
	rc = buf_reserve(b, len);
	if (rc < 0)
		return err_set(e, rc, "answer of %zu bytes", len);
	n = take_have(a, b->p + b->len, len);
	b->len += n;
	return read_buf(a->call, b, len - n, e);
}

static int
take_answer(struct answer *a, const struct rpc_answer_head *h, uint64_t total,
    size_t head_len, struct rpc_reply *r, struct err *e)
{
	uint64_t body;
	int rc;

	if (h->args > total - head_len)
		return err_set(e, ERR_INVALID, "answer is cut short");
	body = total - head_len - h->args;
	r->epoch = h->epoch;
	rc = take_buf(a, &r->args, h->args, e);
	if (rc < 0)
		return rc;
	if (body > (r->dst == NULL ? RPC_BODY_MAX : r->cap))
		return err_set(e, ERR_TOO_BIG, "answer of %ju bytes",
		    (uintmax_t)body);
	if (r->dst == NULL)
		return take_buf(a, &r->body, (size_t)body, e);
	rc = take_into(a, r->dst, (size_t)body, e);
	if (rc == 0)
		r->len = (size_t)body;
	return rc;
}

/* After the request: the answer. *ret_code is the handler's result; a
 * returned failure is the call's own. */
static int
hear(struct fdfs_call *call, uint64_t id, struct rpc_reply *r, int *ret_code,
    struct err *ret_why, struct err *e)
{
	uint8_t raw[RPC_ANSWER_HEAD];
	struct rpc_answer_head h;
	struct answer a = { .call = call };
	size_t have, len;
	uint64_t total;
	int rc;

	rc = fdfs_call_answer(call,
	    RPC_ANSWER_HEAD + RPC_ARGS_MAX + RPC_BODY_MAX, &total, e);
	if (rc == 0)
		rc = read_head(call, total, raw, &h, &have, &len, e);
	if (rc < 0)
		return rc;
	if (h.id != id)
		return err_set(e, ERR_INVALID, "answer to another request");
	*ret_code = h.code;
	if (h.code < 0)
		err_set(ret_why, h.code, STR_FMT, STR_ARG(h.text));
	a.have = raw + len;
	a.n_have = have - len;
	return take_answer(&a, &h, total, len, r, e);
}

/* Codes of a call that failed as a call. */
static int
own_code(int rc, const struct err *why)
{
	if (why->sys_errno == FDFS_EAGAIN || why->sys_errno == FDFS_ENOMEM)
		return ERR_BUSY; /* a status: no room for the request */
	if (rc == ERR_NO_MEMORY || rc == ERR_TOO_BIG || rc == ERR_CONFIG ||
	    rc == ERR_RETRY)
		return rc;
	return ERR_DISCONNECTED;
}

static int
fail(struct rpc_client *c, const struct fdfs_addr *to, int rc, struct err *why,
    struct err *e)
{
	int code = own_code(rc, why);

	if (atomic_load(&c->is_stopped))
		return err_set(e, ERR_CLOSED, "this node is stopping");
	if (rc != ERR_CONFIG && rc != ERR_DISCONNECTED)
		name_peer(to, code, why);
	why->code = code;
	if (e != NULL)
		*e = *why;
	return code;
}

/* The request's beginning. */
static void
begin(const struct rpc_head *h, const struct rpc_request *q,
    uint8_t dst[FDFS_HEADER + RPC_HEAD])
{
	struct fdfs_header fh = { RPC_HEAD + (h->has_end ? RPC_END : 0) +
				      q->args.len + q->body.len,
		RPC_COMMAND, 0 };

	fdfs_header_put(dst, &fh);
	rpc_head_put(dst + FDFS_HEADER, h);
}

/* R4, where the other side knows of it. */
static int
set_end(struct fdfs_call *call, const struct rpc_request *q, struct rpc_head *h,
    struct err *e)
{
	uint8_t raw[FDFS_HEADER + RPC_HEAD];
	struct fdfs_link link;

	if (q->until_ms <= clock_mono_ns() / 1000000)
		return err_set(e, ERR_RETRY, "too late for %s",
		    rpc_op_name(q->op));
	fdfs_call_link(call, &link);
	if (link.greeted < RPC_ENDS)
		return 0;
	h->has_end = true;
	h->end_ms = (uint64_t)(q->until_ms - (link.met_ns + 999999) / 1000000);
	begin(h, q, raw);
	fdfs_call_bind(call, str_mem(raw, sizeof(raw)));
	return 0;
}

static int
ask(struct rpc_client *c, const struct fdfs_addr *to,
    const struct rpc_request *q, int timeout_ms, uint64_t id,
    struct fdfs_call **ret, struct err *e)
{
	struct rpc_head h = { .version = RPC_FRAMES,
		.op = q->op,
		.id = id,
		.epoch = q->epoch,
		.cluster = c->self.cluster,
		.args = q->args };
	struct str pieces[3] = { q->args, STR_NULL, q->body };
	const struct rpc_watch *w = q->watch;
	uint8_t raw[FDFS_HEADER + RPC_HEAD], end[RPC_END];
	int rc;

	begin(&h, q, raw);
	rc = fdfs_call_open_within(c->fdfs, to, str_mem(raw, sizeof(raw)),
	    w != NULL && w->open_ms > 0 ? w->open_ms : timeout_ms, ret, e);
	if (rc == 0 && q->until_ms != 0)
		rc = set_end(*ret, q, &h, e);
	if (h.has_end) {
		rpc_end_put(end, &h);
		pieces[1] = str_mem(end, sizeof(end));
	}
	if (rc == 0)
		rc = fdfs_call_write_pieces(*ret, pieces, 3, e);
	if (rc == 0 && w != NULL)
		fdfs_call_watch(*ret, timeout_ms, w->is_over, w->arg);
	return rc;
}

int
rpc_call(struct rpc_client *c, const struct fdfs_addr *to,
    const struct rpc_request *q, int timeout_ms, struct rpc_reply *r,
    struct err *e)
{
	struct fdfs_call *call = NULL;
	struct rpc_reply own;
	struct err why = ERR_INIT, result = ERR_INIT;
	int rc, code = 0;
	uint64_t id;

	OBJ_CHECK(c, CLIENT_MAGIC);
	if (q->args.len > RPC_ARGS_MAX - (q->until_ms == 0 ? 0 : RPC_END) ||
	    q->body.len > RPC_BODY_MAX)
		return err_set(e, ERR_TOO_BIG, "%s: too much for one request",
		    rpc_op_name(q->op));
	if (r == NULL) {
		rpc_reply_init(&own);
		r = &own;
	}
	r->was_sent = false;
	r->len = 0;
	id = atomic_fetch_add(&c->next_id, 1);
	for (;;) {
		rc = ask(c, to, q, timeout_ms, id, &call, &why);
		if (rc == 0)
			rc = hear(call, id, r, &code, &result, &why);
		if (rc == 0 || call == NULL || !fdfs_call_is_stale(call))
			break;
		fdfs_call_close(&call); /* the next of the pool, or a new one */
	}
	if (call != NULL)
		r->was_sent = fdfs_call_was_sent(call);
	fdfs_call_close(&call);
	if (r == &own)
		rpc_reply_fini(&own);
	if (rc < 0)
		return fail(c, to, rc, &why, e);
	if (code < 0 && e != NULL)
		*e = result;
	return code;
}
