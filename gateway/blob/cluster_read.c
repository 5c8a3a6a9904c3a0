/* gateway/blob/cluster_read.c - reading from any node of the group.
 *
 * The size stands in the file ID, so that opening asks nobody. A read goes
 * straight into the caller's memory. Who reads on and on has the next pieces
 * fetched meanwhile, AHEAD of them at once: the network's time is then the
 * reader's own no more. */
#include "gateway/blob/cluster_int.h"

#include "fdfs/file_id.h"
#include "lib/clock.h"
#include "lib/mem.h"

#include <stdio.h>

#define PIECE RPC_DATA
#define AHEAD 2
#define HEDGE_NS                                                               \
	90000000 /* so that 100 ms, which is when it is asked, are over */
#define OPEN_MS 500
#define PAUSE_MS 100 /* before all replicas are asked again */

struct cluster_file {
	struct cluster *c;
	char id[BLOB_ID_MAX];
	uint64_t size;
	uint64_t next;  /* where a reader in order goes on */
	uint64_t begun; /* read ahead up to here */
	struct piece *piece[AHEAD];
	uint64_t at[AHEAD]; /* offset of each */
	size_t n;
};

/* One read, and where its bytes go. */
struct job {
	struct cluster *c;
	struct str id, group;
	uint64_t off;
	void *p;
	size_t len, got;
	struct str args; /* packed */
};

static int
ask(struct job *j, struct view_node *n, unsigned op, int timeout_ms,
    const struct rpc_watch *watch, struct err *e)
{
	struct rpc_request q = { .op = op, .args = j->args, .watch = watch };
	struct rpc_reply r;
	struct str sealed;
	int rc;

	rpc_reply_init(&r);
	r.dst = j->p;
	r.cap = j->len;
	rc = cluster_call(j->c, n, &q, timeout_ms, &r, e);
	sealed = buf_str(&r.args);
	if (rc == 0)
		rc = unpack_seal(&sealed, j->p, r.len, e);
	if (rc == 0)
		j->got = r.len;
	if (rc == 0 && atomic_load(&n->n->outrun) != 0)
		atomic_store(&n->n->outrun, 0);
	rpc_reply_fini(&r);
	return rc;
}

static int
read_at(struct job *j, struct view_node *n, int timeout_ms,
    const struct rpc_watch *watch, struct err *e)
{
	int rc = ask(j, n, RPC_READ_STORED, timeout_ms, watch, e);

	/* What that node has stored may be damaged: this makes it look, and get
	 * its copy repaired. Or it is older than this gateway. */
	if (rc == ERR_CORRUPT || rc == ERR_NOT_IMPLEMENTED)
		rc = ask(j, n, RPC_READ, timeout_ms, watch, e);
	return rc;
}

struct hedge { /* C8 */
	const struct job *j;
	const struct node *first;
	int64_t at_ns; /* not before */
	struct piece *piece;
	bool is_tried;
};

/* Asked every 100 ms while the first replica has not answered, and what its
 * failure says of it. */

static bool
is_outrun(void *arg)
{
	struct hedge *h = arg;

	if (!h->is_tried && clock_mono_ns() < h->at_ns)
		return false;
	if (!h->is_tried)
		h->piece = ahead_begin(h->j->c->ahead, h->j->id, h->j->off,
		    h->j->len, h->first);
	h->is_tried = true;
	return h->piece != NULL && ahead_has(h->piece);
}

static int
read_hedged(struct job *j, struct view_node *n, int timeout_ms, struct err *e)
{
	struct hedge h = { .j = j,
		.first = n->n,
		.at_ns = clock_mono_ns() + HEDGE_NS };
	struct rpc_watch w = { .is_over = is_outrun,
		.arg = &h,
		.open_ms = OPEN_MS };
	int rc = read_at(j, n, timeout_ms, &w, e);
	struct str got;

	/* This thread may be the one that a piece which is not begun waits for:
	 * that one is not waited for. */
	if (rc < 0 && h.piece != NULL && ahead_is_begun(h.piece) &&
	    ahead_wait(h.piece, &got, NULL) == 0) {
		if (got.len > 0)
			memcpy(j->p, got.p, got.len);
		j->got = got.len;
		rc = 0;
	}
	ahead_drop(&h.piece);
	return rc;
}

/* Each replica once, but @beside. *ret_missing: how many say that there is no such
 * file. */
static int
read_round(struct job *j, int timeout_ms, const struct node *beside,
    bool *ret_all_missing, struct err *e)
{
	struct view_node *order[CLUSTER_TRIES];
	struct view *v = view_get(j->c);
	size_t i, missing = 0, n = order_read(j->c, v, j->group, order);
	int rc = err_set(e, ERR_BUSY, "no node of group " STR_FMT " is known",
	    STR_ARG(j->group));

	for (i = 0; i < n; i++) {
		if (order[i]->n == beside)
			continue;
		rc = i == 0 && n > 1 && beside == NULL
		         ? read_hedged(j, order[i], timeout_ms, e)
		         : read_at(j, order[i], timeout_ms, NULL, e);
		if (rc == 0 || rc == ERR_NO_MEMORY || rc == ERR_INVALID)
			break;
		missing += rc == ERR_NOT_FOUND;
	}
	*ret_all_missing = n > 0 && missing == n;
	view_put(v);
	return rc;
}

static int
job_begin(struct job *j, struct cluster *c, struct str id, uint64_t off,
    void *p, size_t len, struct buf *args, struct err *e)
{
	struct sop_read read = { .id = id, .off = off, .len = (uint32_t)len };
	int rc;

	*j = (struct job){ .c = c, .id = id, .off = off, .p = p, .len = len };
	rc = cluster_group_of(id, &j->group, e);
	if (rc < 0)
		return rc;
	rc = sop_read_pack(&read, args);
	j->args = buf_str(args);
	return rc < 0 ? err_set(e, rc, NULL) : 0;
}

int
cluster_read_beside(struct cluster *c, struct str id, uint64_t off, void *p,
    size_t len, size_t *ret_len, const struct node *n, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	bool missing;
	struct job j;
	int rc = job_begin(&j, c, id, off, p, len, &args, e);

	if (rc == 0)
		rc = read_round(&j, c->conf.read_ms, n, &missing, e);
	buf_fini(&args);
	if (rc == 0)
		*ret_len = j.got;
	return rc;
}

/* READ with fail-over (C2). */
static int
read_any(struct cluster *c, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	char msg[sizeof(((struct err *)0)->msg)];
	struct err e2 = ERR_INIT;
	bool missing = false;
	struct job j;
	int rc = job_begin(&j, c, id, off, p, len, &args, e);

	if (rc < 0) {
		buf_fini(&args);
		return rc;
	}
	rc = read_round(&j, c->conf.read_ms, NULL, &missing, &e2);
	if (rc < 0 && !missing && rc != ERR_NO_MEMORY && rc != ERR_INVALID) {
		/* Now with patience: slow is not gone. */
		clock_sleep_ms(PAUSE_MS);
		rc = read_round(&j, c->conf.slow_ms, NULL, &missing, &e2);
	}
	buf_fini(&args);
	if (rc == 0) {
		*ret_len = j.got;
		return 0;
	}
	memcpy(msg, e2.msg, sizeof(msg));
	if (rc != ERR_CORRUPT && rc != ERR_NO_MEMORY && !missing)
		rc = ERR_BUSY;
	return err_set(e, rc, "blob " STR_FMT ": %.150s", STR_ARG(id),
	    msg[0] != '\0' ? msg : err_text(rc));
}

/* In pieces that one call takes. */
static int
read_all(struct cluster *c, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		size_t want = len - done < PIECE ? len - done : PIECE, got;
		int rc = read_any(c, id, off + done, (char *)p + done, want,
		    &got, e);

		if (rc < 0)
			return rc;
		done += got;
		if (got < want)
			break;
	}
	*ret_len = done;
	return 0;
}

int
cluster_read_once(void *impl, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	return read_all(impl, id, off, p, len, ret_len, e);
}

/* --- files --- */

int
cluster_open(void *impl, struct str id, void **ret, uint64_t *ret_size,
    struct err *e)
{
	struct cluster_file *f;
	struct fdfs_file_id parsed;
	int rc =
	    id.len < BLOB_ID_MAX ? fdfs_id_parse(id, &parsed, e) : ERR_INVALID;

	if (rc < 0)
		return err_set(e, ERR_CORRUPT, "not a file ID");
	f = mem_zalloc(sizeof(*f));
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	f->c = impl;
	memcpy(f->id, id.p, id.len);
	f->size = *ret_size = fdfs_id_size(&parsed);
	*ret = f;
	return 0;
}

static void
forget_ahead(struct cluster_file *f)
{
	while (f->n > 0)
		ahead_drop(&f->piece[--f->n]);
	f->begun = 0;
}

void
cluster_file_close(void *file)
{
	struct cluster_file *f = file;

	forget_ahead(f);
	mem_free(&f);
}

/* From @next on, as far as there is room. */
static void
begin_ahead(struct cluster_file *f)
{
	while (f->n < AHEAD && f->begun < f->size) {
		size_t len = f->size - f->begun < PIECE
		                 ? (size_t)(f->size - f->begun)
		                 : PIECE;
		struct piece *p = ahead_begin(f->c->ahead, str_of(f->id),
		    f->begun, len, NULL);

		if (p == NULL)
			break;
		f->piece[f->n] = p;
		f->at[f->n++] = f->begun;
		f->begun += len;
	}
}

static void
drop_first(struct cluster_file *f)
{
	ahead_drop(&f->piece[0]);
	f->n--;
	memmove(f->piece, f->piece + 1, f->n * sizeof(f->piece[0]));
	memmove(f->at, f->at + 1, f->n * sizeof(f->at[0]));
}

/* What the first piece has of it; *ret_len 0: it has none. */
static int
take_ahead(struct cluster_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	struct str got;
	size_t skip;
	int rc;

	*ret_len = 0;
	if (f->n == 0 || off < f->at[0])
		return 0;
	rc = ahead_wait(f->piece[0], &got, e);
	if (rc < 0) {
		forget_ahead(f);
		return rc;
	}
	skip = (size_t)(off - f->at[0]);
	if (skip >= got.len) { /* shorter than its name says, or passed by */
		forget_ahead(f);
		return 0;
	}
	*ret_len = got.len - skip < len ? got.len - skip : len;
	memcpy(p, got.p + skip, *ret_len);
	if (skip + *ret_len == got.len)
		drop_first(f);
	return 0;
}

int
cluster_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	struct cluster_file *f = file;
	size_t done = 0, got;
	int rc = 0;

	if (off > f->size)
		off = f->size;
	if (len > f->size - off)
		len = (size_t)(f->size - off);
	if (off != f->next)
		forget_ahead(f);
	/* Worth it from the second read on, and for more than one piece. */
	if (off == f->next && off > 0 && f->size - off > PIECE && f->n == 0) {
		f->begun = off;
		begin_ahead(f);
	}
	while (done < len && f->n > 0) {
		rc = take_ahead(f, off + done, (char *)p + done, len - done,
		    &got, e);
		if (rc < 0)
			return rc;
		if (got == 0)
			break;
		done += got;
		begin_ahead(f);
	}
	if (done < len) {
		forget_ahead(f);
		rc = read_all(f->c, str_of(f->id), off + done, (char *)p + done,
		    len - done, &got, e);
		if (rc < 0)
			return rc;
		done += got;
	}
	f->next = off + done;
	*ret_len = done;
	return 0;
}

int
cluster_note(void *file, struct buf *ret, struct err *e)
{
	struct cluster_file *f = file;
	struct cluster *c = f->c;
	struct sop_read read = { .id = str_of(f->id) };
	struct rpc_request q = { .op = RPC_STAT };
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct view_node *order[CLUSTER_TRIES];
	struct view *v = view_get(c);
	struct str group = STR_NULL;
	struct sop_stat s;
	struct rpc_reply r;
	size_t n;
	int rc = cluster_group_of(read.id, &group, e);

	n = order_read(c, v, group, order);
	if (rc == 0 && (rc = sop_read_pack(&read, &args)) < 0)
		err_set(e, rc, NULL);
	if (rc == 0 && n == 0)
		rc = err_set(e, ERR_BUSY, "no node of group " STR_FMT,
		    STR_ARG(group));
	q.args = buf_str(&args);
	for (size_t i = 0; i < n && (i == 0 ? rc == 0 : rc < 0); i++) {
		rpc_reply_init(&r);
		rc = cluster_call(c, order[i], &q, c->conf.slow_ms, &r, e);
		if (rc == 0)
			rc = sop_stat_unpack(buf_str(&r.args), &s, e);
		if (rc == 0 && (rc = buf_adds(ret, s.note)) < 0)
			err_set(e, rc, NULL);
		rpc_reply_fini(&r);
		if (rc == 0)
			break;
	}
	view_put(v);
	buf_fini(&args);
	return rc == ERR_DISCONNECTED ? ERR_BUSY : rc;
}
