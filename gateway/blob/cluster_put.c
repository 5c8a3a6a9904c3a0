/* gateway/blob/cluster_put.c - writing, through any node of a group, which takes
 * care of the copies itself (storage/replication/rep.h).
 *
 * A whole file is tried at one node after the other as long as nothing was sent;
 * after that its outcome may be unknown and the caller draws another write ID
 * (C4): the node is passed over then, so that the next attempt goes elsewhere.
 * A stream begins wherever a node takes it, and ends with that node. */
#include "gateway/blob/cluster_int.h"

#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <stdio.h>

#define WHOLE_MAX (1u << 20) /* RPC_BODY_MAX would do; memory decides */
#define PIECE RPC_DATA
#define BEGIN_MS 1000
#define BEGIN_ALL_MS 2500 /* no other node is tried after it */
#define SYNCED_IN_A_SECOND (4u << 20)
#define COMMIT_MAX_MS 120000

struct cluster_put {
	struct cluster *c;
	struct view *v; /* keeps node alive */
	struct view_node *node;
	uint64_t stream, offset;
	uint32_t crc32;
	bool is_broken;
};

static int
pack_store(struct cluster *c, const struct blob_owner *o, struct str body,
    uint64_t hint, struct buf *b, struct err *e)
{
	struct sop_store s = { .class = o->class,
		.index_id = o->index_id,
		.write_id = o->write_id,
		.note = o->note,
		.size_hint = hint,
		.has_crc = body.p != NULL };
	int rc = cluster_check_owner(c, &o->index_id, &s.index_epoch, e);

	if (rc < 0)
		return rc;
	if (body.p != NULL)
		s.crc32 = hash_crc32(0, body.p, body.len);
	rc = sop_store_pack(&s, b);
	return rc < 0 ? err_set(e, rc, NULL) : 0;
}

static int
get_file(const struct rpc_reply *r, uint64_t size, struct blob_info *ret,
    struct err *e)
{
	struct unpack u = unpack_of(buf_str(&r->args));
	struct sop_file f;
	int rc = sop_file_unpack(&u, &f, e);

	if (rc < 0)
		return rc;
	if (f.size != size)
		return err_set(e, ERR_INVALID,
		    "a node has %ju bytes of %ju that it took",
		    (uintmax_t)f.size, (uintmax_t)size);
	cluster_to_info(&f, ret);
	return 0;
}

/* What a caller makes of an error that is none of its own. */
static int
refused(int rc, struct err *e)
{
	char msg[sizeof(e->msg)];

	if (rc == ERR_FAILED || rc == ERR_NO_SPACE || rc == ERR_NO_MEMORY ||
	    rc == ERR_BUSY)
		return rc;
	if (e == NULL)
		return ERR_BUSY;
	memcpy(msg, e->msg, sizeof(msg));
	return err_set(e, ERR_BUSY, "no node takes the write: %.180s",
	    msg[0] != '\0' ? msg : err_text(rc));
}

static int
put_as_stream(struct cluster *c, struct str group,
    const struct blob_owner *owner, struct str body, struct blob_info *ret,
    struct err *e)
{
	void *u;
	int rc = cluster_put_begin(c, group, owner, body.len, &u, e);

	if (rc < 0)
		return rc;
	rc = cluster_put_write(u, body.p, body.len, e);
	if (rc < 0) {
		cluster_put_abort(u);
		return rc;
	}
	return cluster_put_commit(u, ret, e);
}

int
cluster_put_whole(void *impl, struct str group, const struct blob_owner *owner,
    struct str body, struct blob_info *ret, struct err *e)
{
	struct rpc_request q = { .op = RPC_STORE, .body = body };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct view_node *order[CLUSTER_TRIES];
	struct cluster *c = impl;
	struct rpc_reply r;
	bool is_full, sent = false;
	struct view *v;
	size_t i, n;
	int rc;

	if (body.len > RPC_BODY_MAX)
		return put_as_stream(c, group, owner, body, ret, e);
	if (body.p == NULL)
		q.body = body = STR_LIT("");
	v = view_get(c);
	n = order_write(c, v, group, order);
	rc = pack_store(c, owner, body, body.len, &args, e);
	if (rc == 0 && n == 0)
		rc = err_set(e, ERR_BUSY, "no storage node is known yet");
	q.args = buf_str(&args);
	for (i = 0; i < n && (i == 0 ? rc == 0 : rc < 0) && !sent; i++) {
		rpc_reply_init(&r);
		rc = cluster_call(c, order[i], &q, c->conf.store_ms, &r, e);
		if (rc == 0)
			rc = get_file(&r, body.len, ret, e);
		/* What a node answered may be a refusal of what its peers
		 * have already. */
		sent = rc == 0 || r.was_sent;
		rpc_reply_fini(&r);
		if (rc == 0)
			break;
	}
	/* Was that the last one that could have had room? */
	is_full = rc == ERR_NO_SPACE;
	for (i = 0; is_full && i < n; i++)
		is_full = !node_is_good(order[i], true);
	view_put(v);
	buf_fini(&args);
	if (rc < 0 && sent && !is_full && rc != ERR_NO_MEMORY &&
	    !atomic_load(&c->is_lost))
		return ERR_RETRY;
	return rc < 0 ? refused(rc, e) : 0;
}

/* --- streams --- */

static void
put_free(struct cluster_put *u)
{
	view_put(u->v);
	mem_free(&u);
}

static int
begin_at(struct cluster_put *u, struct view_node *n,
    const struct rpc_request *q, struct err *e)
{
	struct sop_stream s;
	struct rpc_reply r;
	int rc;

	rpc_reply_init(&r);
	/* Nothing is written yet. */
	rc = cluster_call(u->c, n, q,
	    u->c->conf.store_ms < BEGIN_MS ? u->c->conf.store_ms : BEGIN_MS, &r,
	    e);
	if (rc == 0)
		rc = sop_stream_unpack(buf_str(&r.args), &s, e);
	rpc_reply_fini(&r);
	if (rc < 0)
		return rc;
	u->node = n;
	u->stream = s.stream;
	return 0;
}

int
cluster_put_begin(void *impl, struct str group, const struct blob_owner *owner,
    uint64_t size_hint, void **ret, struct err *e)
{
	struct rpc_request q = { .op = RPC_STORE_BEGIN };
	struct cluster_put *u = mem_zalloc(sizeof(*u));
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct view_node *order[CLUSTER_TRIES];
	struct cluster *c = impl;
	int64_t end_ns;
	size_t i, n;
	int rc;

	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	u->c = c;
	u->v = view_get(c);
	n = order_write(c, u->v, group, order);
	rc = pack_store(c, owner, STR_NULL, size_hint, &args, e);
	if (rc == 0 && n == 0)
		rc = err_set(e, ERR_BUSY, "no storage node is known yet");
	q.args = buf_str(&args);
	end_ns = clock_mono_ns() + BEGIN_ALL_MS * INT64_C(1000000);
	for (i = 0; i < n && (i == 0 ? rc == 0 : rc < 0); i++) {
		rc = begin_at(u, order[i], &q, e);
		if (rc == 0 || atomic_load(&c->is_lost) ||
		    clock_mono_ns() > end_ns)
			break;
	}
	buf_fini(&args);
	if (rc < 0) {
		put_free(u);
		return refused(rc, e);
	}
	*ret = u;
	return 0;
}

/* A commit syncs all of it: slow disks get a second for each 4 MiB. */
static int
patience_of(const struct cluster_put *u, enum rpc_op op)
{
	const struct blob_cluster_conf *c = &u->c->conf;
	uint64_t more = u->offset / SYNCED_IN_A_SECOND * 1000;

	if (op == RPC_STORE_DATA)
		return c->slow_ms;
	if (op != RPC_STORE_COMMIT)
		return c->store_ms;
	return c->slow_ms + (int)(more < COMMIT_MAX_MS ? more : COMMIT_MAX_MS);
}

static int
stream_call(struct cluster_put *u, enum rpc_op op, struct str body,
    struct rpc_reply *r, struct err *e)
{
	struct sop_stream s = { .stream = u->stream, .offset = u->offset };
	struct rpc_request q = { .op = op, .body = body };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	int rc;

	if (op == RPC_STORE_COMMIT) {
		s.has_crc = true;
		s.crc32 = u->crc32;
	}
	rc = sop_stream_pack(&s, &args);
	if (rc < 0)
		return err_set(e, rc, NULL);
	q.args = buf_str(&args);
	rc = cluster_call(u->c, u->node, &q, patience_of(u, op), r, e);
	buf_fini(&args);
	return rc;
}

int
cluster_put_write(void *put, const void *p, size_t len, struct err *e)
{
	struct cluster_put *u = put;
	const char *from = p;
	struct rpc_reply r;
	int rc = 0;

	if (u->is_broken)
		return err_set(e, ERR_BUSY, "this upload has broken off");
	while (len > 0 && rc == 0) {
		size_t n = len < PIECE ? len : PIECE;

		rpc_reply_init(&r);
		rc = stream_call(u, RPC_STORE_DATA, str_mem(from, n), &r, e);
		rpc_reply_fini(&r);
		u->crc32 = hash_crc32(u->crc32, from, n);
		u->offset += n;
		from += n;
		len -= n;
	}
	u->is_broken = rc < 0;
	return rc < 0 ? refused(rc, e) : 0;
}

int
cluster_put_commit(void *put, struct blob_info *ret, struct err *e)
{
	struct cluster_put *u = put;
	struct rpc_reply r;
	uint64_t epoch;
	int rc = 0;

	if (u->is_broken)
		rc = err_set(e, ERR_BUSY, "this upload has broken off");
	if (rc == 0)
		rc = cluster_check_owner(u->c, &u->c->index_id, &epoch, e);
	if (rc == 0) {
		rpc_reply_init(&r);
		rc = stream_call(u, RPC_STORE_COMMIT, STR_NULL, &r, e);
		if (rc == 0)
			rc = get_file(&r, u->offset, ret, e);
		rpc_reply_fini(&r);
	}
	put_free(u);
	return rc < 0 ? refused(rc, e) : 0;
}

void
cluster_put_abort(void *put)
{
	struct cluster_put *u = put;
	struct err e = ERR_INIT;

	/* One that cannot be told ends it by itself after a while. */
	if (!node_is_bad(u->node->n))
		(void)stream_call(u, RPC_STORE_ABORT, STR_NULL, NULL, &e);
	put_free(u);
}

size_t
cluster_whole_max(void *impl)
{
	(void)impl;
	return WHOLE_MAX;
}
