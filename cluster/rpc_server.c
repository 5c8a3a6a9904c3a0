/* cluster/rpc_server.c - answering: handshake and dispatch over fdfs/server.h.
 *
 * What is known of a connection's other end lies with the connection, from the
 * first hello on; `is_proved` comes with the second (R1). The routes' commands
 * are the server's own, which is how their handlers find it. Memory of a
 * request is taken from one budget; one that finds none is read past and
 * answered, so that the connection lives on. */
#include "cluster/rpc_wire.h"

#include "lib/clock.h"
#include "lib/mem.h"

#include <stdatomic.h>
#include <stddef.h>

enum {
	SERVER_MAGIC = 0x52706353,
	PEER_MAGIC = 0x52706350,
	PEER_KEEP = 16384, /* of an answer's memory, from call to call */
	SPAN_PIECE = 65536
};

struct rpc_server {
	unsigned magic;
	struct rpc_self self;
	rpc_handler *fn;
	rpc_watcher *watch;
	void *arg;
	size_t max_memory;
	atomic_size_t memory;
	struct fdfs_command call, hello;
};

struct peer { /* of a connection */
	unsigned magic;
	bool is_proved;
	int64_t met_ns; /* R4: before its last answer left */
	const struct rpc_server *s;
	struct rpc_from from;
	/* The first exchange, until the second. */
	uint8_t said[3 * RPC_HELLO_MAX];
	size_t n_said;
	struct rpc_answer answer; /* its memory is used again */
};

static void
peer_free(void *p)
{
	struct peer *peer = p;

	OBJ_CHECK(peer, PEER_MAGIC);
	if (peer->is_proved && peer->s->watch != NULL)
		peer->s->watch(peer->s->arg, &peer->from, false);
	buf_fini(&peer->answer.args);
	buf_fini(&peer->answer.body);
	mem_free(&peer);
}

/* NULL before the first hello. */
static struct peer *
peer_of(const struct fdfs_conn *c)
{
	struct peer *p = fdfs_conn_data(c);

	if (p != NULL)
		OBJ_CHECK(p, PEER_MAGIC);
	return p;
}

/* --- hello --- */

static int
refuse(struct fdfs_conn *c, struct err *e, const char *why)
{
	fdfs_conn_hang_up(c);
	return err_set(e, ERR_ACCESS_DENIED, "%s", why);
}

static bool
is_kind(uint8_t kind)
{
	return kind == RPC_GATE || kind == RPC_NODE || kind == RPC_PEER ||
	       kind == RPC_TRACKER || kind == RPC_ADMIN;
}

/* Who says hello, as this server sees it: a node of its group is a peer. */
static void
fill_from(const struct rpc_server *s, const struct fdfs_conn *c,
    const struct rpc_hello *h, struct rpc_from *ret)
{
	*ret = (struct rpc_from){ .kind = (enum rpc_kind)h->kind,
		.id = h->id,
		.server_id = h->server_id,
		.addr = *fdfs_conn_peer(c) };
	memcpy(ret->group, h->group, sizeof(ret->group));
	if (h->kind == RPC_NODE || h->kind == RPC_PEER)
		ret->kind =
		    h->group[0] != '\0' && strcmp(h->group, s->self.group) == 0
			? RPC_PEER
			: RPC_NODE;
}

static int
hello_first(const struct rpc_server *s, struct fdfs_conn *c, struct str said,
    struct err *e)
{
	struct rpc_hello_answer a = { .version = rpc_version_of(&s->self),
		.kind = (uint8_t)s->self.kind,
		.id = s->self.id };
	struct buf all = BUF_CAP(3 * RPC_HELLO_MAX);
	struct rpc_hello h;
	struct peer *p;
	int rc;

	rc = rpc_hello_unpack(said, &h, e);
	if (rc < 0)
		return rc;
	if (h.version < a.version)
		a.version = h.version;
	if (!is_kind(h.kind))
		return err_set(e, ERR_INVALID, "unknown kind");
	if (!id128_eq(&h.cluster, &s->self.cluster))
		return refuse(c, e, "another cluster");
	p = mem_zalloc(sizeof(*p));
	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, "hello");
	p->magic = PEER_MAGIC;
	p->s = s;
	p->answer.args = BUF_CAP(RPC_ARGS_MAX);
	p->answer.body = BUF_CAP(RPC_BODY_MAX);
	fill_from(s, c, &h, &p->from);
	fdfs_conn_set_data(c, p, peer_free);
	rand_bytes(a.nonce, sizeof(a.nonce));
	rc = buf_adds(&all, said);
	if (rc == 0)
		rc = rpc_hello_answer_pack(&a, &all);
	if (rc == 0) {
		rpc_hello_prove(&s->self, true, buf_str(&all), a.proof);
		rc = buf_add(&all, a.proof, sizeof(a.proof));
	}
	if (rc < 0) {
		err_set(e, rc, "hello");
	} else {
		memcpy(p->said, all.p, all.len);
		p->n_said = all.len;
		rc = fdfs_conn_reply(c, str_skip(buf_str(&all), said.len), e);
	}
	buf_fini(&all);
	return rc;
}

static int
hello_second(const struct rpc_server *s, struct fdfs_conn *c, struct str proof,
    struct err *e)
{
	struct peer *p = peer_of(c);
	uint8_t want[SECRET_PROOF];

	if (p == NULL || p->n_said == 0)
		return refuse(c, e, "a proof of nothing");
	rpc_hello_prove(&s->self, false, str_mem(p->said, p->n_said), want);
	p->n_said = 0; /* one try */
	if (!str_eq_secret(str_mem(want, sizeof(want)), proof))
		return refuse(c, e, "another cluster secret");
	p->is_proved = true;
	p->met_ns = clock_mono_ns();
	fdfs_conn_trust(c);
	if (s->watch != NULL)
		s->watch(s->arg, &p->from, true);
	return fdfs_conn_reply(c, STR_NULL, e);
}

static int
on_hello(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	const struct rpc_server *s =
	    (const void *)((const char *)in->command -
			   offsetof(struct rpc_server, hello));
	struct unpack u = unpack_of(in->head);
	uint8_t version, step;

	(void)arg;
	OBJ_CHECK(s, SERVER_MAGIC);
	version = unpack_u8(&u);
	step = unpack_u8(&u);
	if (u.is_bad || version == 0 || step < 1 || step > 2)
		return err_set(e, ERR_INVALID, "hello of version %u", version);
	if (step == 2)
		return hello_second(s, c, u.rest, e);
	if (peer_of(c) != NULL)
		return refuse(c, e, "hello again");
	return hello_first(s, c, in->head, e);
}

/* --- a call --- */

/* All of the request's body that nobody will look at. */
static int
skip_body(struct fdfs_conn *c, struct err *e)
{
	char junk[16384];
	size_t n;
	int rc;

	do {
		rc = fdfs_conn_read(c, junk, sizeof(junk), &n, e);
	} while (rc == 0 && n > 0);
	return rc;
}

static int
read_body(struct fdfs_conn *c, void *p, size_t len, struct err *e)
{
	size_t have = 0, n;
	int rc;

	while (have < len) {
		rc = fdfs_conn_read(c, (char *)p + have, len - have, &n, e);
		if (rc < 0)
			return rc;
		have += n;
	}
	return 0;
}

/* Never waits: answers of many may go out together. */
static bool
is_quick(unsigned op)
{
	return op == RPC_READ_NOW;
}

/* What is left of @s behind its first @at bytes, from elsewhere. Its length was
 * promised, and a broken connection would be held against the whole node: what
 * is nowhere becomes zeros. */
static int
send_read(struct fdfs_conn *c, const struct rpc_span *s, size_t at,
    struct err *e)
{
	char *room = mem_alloc(SPAN_PIECE);
	struct err why = ERR_INIT;
	bool is_lost = false;
	size_t want, n;
	int rc = 0;

	if (room == NULL)
		return err_set(e, ERR_NO_MEMORY, "answer");
	while (rc == 0 && at < s->len) {
		want = s->len - at < SPAN_PIECE ? s->len - at : SPAN_PIECE;
		n = 0;
		is_lost = is_lost ||
		          s->read(s->arg, at, room, want, &n, &why) < 0 ||
		          n == 0;
		if (is_lost)
			memset(room, 0, n = want);
		rc = fdfs_conn_write(c, room, n, e);
		at += n;
	}
	mem_free(&room);
	return rc;
}

static int
send_with_span(struct fdfs_conn *c, const struct str *v, size_t n,
    const struct rpc_span *s, struct err *e)
{
	size_t len = s->len, sent;
	int rc;

	for (size_t i = 0; i < n; i++)
		len += v[i].len;
	rc = fdfs_conn_reply_begin(c, len, e);
	if (rc == 0)
		rc = fdfs_conn_write_file(c, v, n, s->fd, s->off, s->len, &sent,
		    e);
	return rc == ERR_IO ? send_read(c, s, sent, e) : rc;
}

static int
answer(struct fdfs_conn *c, unsigned op, uint64_t id, int code,
    const struct err *why, const struct rpc_answer *a, struct err *e)
{
	struct rpc_answer_head h = { .code = code,
		.text = code < 0 ? str_of(why->msg) : STR_NULL,
		.id = id,
		.epoch = a->epoch,
		.args = a->args.len };
	uint8_t raw[RPC_ANSWER_HEAD];
	struct str pieces[3];

	/* To the caller this would be its own connection. */
	if (code == ERR_DISCONNECTED)
		h.code = ERR_BUSY;
	pieces[0] = str_mem(raw, rpc_answer_put(raw, &h));
	pieces[1] = buf_str(&a->args);
	pieces[2] = code < 0 ? STR_NULL : buf_str(&a->body);
	if (code == 0 && a->span.len > 0)
		return send_with_span(c, pieces, 3, &a->span, e);
	if (is_quick(op))
		return fdfs_conn_reply_along(c, pieces, 3, e);
	return fdfs_conn_reply_pieces(c, pieces, 3, e);
}

/* Small memory stays with the connection. */
static void
tidy(struct buf *b)
{
	if (b->size > PEER_KEEP)
		buf_fini(b);
	buf_reset(b);
}

/* Why the request is not even looked at; 0. */
static int
check(const struct rpc_server *s, const struct peer *p,
    const struct rpc_head *h, struct err *e)
{
	unsigned who = rpc_op_who(h->op);
	unsigned is = p->from.kind;

	if (h->version > RPC_FRAMES)
		return err_set(e, ERR_VERSION, "request of version %u",
		    h->version);
	if (!id128_eq(&h->cluster, &s->self.cluster))
		return err_set(e, ERR_ACCESS_DENIED, "another cluster");
	if (who == 0)
		return err_set(e, ERR_NOT_IMPLEMENTED, "operation %u", h->op);
	if (is == RPC_PEER)
		is |= RPC_NODE;
	if ((who & is) == 0)
		return err_set(e, ERR_ACCESS_DENIED, "%s is not for its kind",
		    rpc_op_name(h->op));
	return 0;
}

/* Reads the body and runs the handler. A failure of the connection is
 * returned, the handler's result is *ret_code. */
static int
serve(struct rpc_server *s, struct fdfs_conn *c, struct peer *p,
    const struct rpc_head *h, size_t body, int *ret_code, struct err *ret_why,
    struct err *e)
{
	struct rpc_request q = { .op = h->op,
		.epoch = h->epoch,
		.args = h->args,
		.until_ms = rpc_until(h, p->met_ns) };
	char *room = NULL;
	int rc = 0;

	*ret_code = check(s, p, h, ret_why);
	if (*ret_code == 0 && body > 0) {
		if (atomic_fetch_add(&s->memory, body) + body <= s->max_memory)
			room = mem_alloc(body);
		if (room == NULL) {
			atomic_fetch_sub(&s->memory, body);
			*ret_code = err_set(ret_why, ERR_BUSY,
			    "no memory for a request's body");
		}
	}
	if (*ret_code < 0)
		return skip_body(c, e);
	if (body > 0)
		rc = read_body(c, room, body, e);
	if (rc == 0 && q.until_ms != 0 &&
	    clock_mono_ns() / 1000000 >= q.until_ms) {
		*ret_code = err_set(ret_why, ERR_RETRY, "it came too late");
	} else if (rc == 0) {
		q.body = str_mem(room, body);
		*ret_code = s->fn(s->arg, &p->from, &q, &p->answer, ret_why);
	}
	if (body > 0) {
		atomic_fetch_sub(&s->memory, body);
		mem_free(&room);
	}
	return rc;
}

static int
on_call(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct rpc_server *s = (void *)((char *)(uintptr_t)in->command -
					offsetof(struct rpc_server, call));
	struct peer *p = peer_of(c);
	struct err why = ERR_INIT;
	struct rpc_head h;
	int rc, code;

	(void)arg;
	OBJ_CHECK(s, SERVER_MAGIC);
	if (p == NULL || !p->is_proved)
		return refuse(c, e, "no hello");
	rc = rpc_head_get(in->head, &h, e);
	if (rc < 0)
		return rc;
	if (in->content > RPC_BODY_MAX)
		return err_set(e, ERR_TOO_BIG, "body of %ju bytes",
		    (uintmax_t)in->content);
	p->answer.epoch = 0;
	p->answer.span = (struct rpc_span){ .len = 0 };
	if (!is_quick(h.op) && (rc = fdfs_conn_send_waiting(c, e)) < 0)
		return rc;
	rc = serve(s, c, p, &h, (size_t)in->content, &code, &why, e);
	p->met_ns = clock_mono_ns();
	if (rc == 0)
		rc = answer(c, h.op, h.id, code, &why, &p->answer, e);
	if (p->answer.span.end != NULL)
		p->answer.span.end(p->answer.span.arg);
	tidy(&p->answer.args);
	tidy(&p->answer.body);
	return rc;
}

/* --- life --- */

int
rpc_server_new(const struct rpc_self *self, rpc_handler *fn, void *arg,
    size_t max_memory, struct rpc_server **ret, struct err *e)
{
	struct rpc_server *s = mem_zalloc(sizeof(*s));

	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, "server");
	s->magic = SERVER_MAGIC;
	s->self = *self;
	s->fn = fn;
	s->arg = arg;
	s->max_memory = max_memory != 0 ? max_memory : (size_t)256 << 20;
	s->call = (struct fdfs_command){ .number = RPC_COMMAND,
		.servers = FDFS_BOTH,
		.shape = FDFS_SHAPE_NAMED,
		.fixed = RPC_HEAD_FIXED,
		.limit = RPC_HEAD + RPC_ARGS_MAX,
		.is_trusted = true,
		.goes_along = true,
		.name = "CALL" };
	s->hello = (struct fdfs_command){ .number = RPC_HELLO,
		.servers = FDFS_BOTH,
		.shape = FDFS_SHAPE_ALL,
		.fixed = 2,
		.limit = RPC_HELLO_MAX,
		.name = "HELLO" };
	*ret = s;
	return 0;
}

void
rpc_server_watch(struct rpc_server *s, rpc_watcher *fn)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	s->watch = fn;
}

void
rpc_server_free(struct rpc_server **sp)
{
	struct rpc_server *s = *sp;

	if (s == NULL)
		return;
	OBJ_CHECK(s, SERVER_MAGIC);
	*sp = NULL;
	MUST(atomic_load(&s->memory) == 0);
	s->magic = 0;
	mem_free(&s);
}

void
rpc_server_routes(struct rpc_server *s, struct fdfs_route ret[RPC_ROUTES])
{
	OBJ_CHECK(s, SERVER_MAGIC);
	ret[0] = (struct fdfs_route){ .command = &s->call, .fn = on_call };
	ret[1] = (struct fdfs_route){ .command = &s->hello, .fn = on_hello };
}
