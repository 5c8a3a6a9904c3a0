/* gateway/s3/object_put.c - PutObject, and bodies into storage.
 *
 * A body up to S3_WHOLE_MAX is read and verified before storage hears of it;
 * longer ones stream: their bytes may be durable before they are verified, but
 * nothing names them before the body's end was (B1). */
#include "gateway/s3/object_put.h"

#include "gateway/s3/conditions.h"
#include "gateway/s3/headers.h"

enum {
	RING = 16, /* half of it is filled at a time: 2 MiB */
	PARALLEL_MIN = 2 * 1024 * 1024 /* below, a thread costs what it gains */
};

static int
store_read(struct s3_body *b, struct str key, void *buf, struct put **ret,
    struct err *e)
{
	size_t size = (size_t)b->size, n;
	int rc = s3_body_fill(b, buf, size, &n, e);

	if (rc == 0 && n == size) { /* the end, and with it the checks */
		char over;

		rc = s3_body_read(b, &over, 1, &n, e);
		MUST(rc < 0 || n == 0);
	}
	if (rc == 0)
		rc = put_begin(b->r->s3->conf.store, &b->r->bucket, key, size,
		    ret, e);
	if (rc == 0 && size > 0)
		rc = put_hold(*ret, buf, size, e);
	return rc;
}

static int
store_whole(struct s3_body *b, struct str key, struct s3_stored *st,
    struct err *e)
{
	void *small;
	int rc;

	if (b->size <= S3_SMALL) {
		small = arena_alloc(b->r->a, (size_t)b->size);
		return small == NULL ? s3_no_memory(e)
		                     : store_read(b, key, small, &st->put, e);
	}
	rc = s3_mem_get(b->r->s3, (size_t)b->size, &st->buf, e);
	if (rc < 0)
		return rc;
	st->buf_size = (size_t)b->size;
	return store_read(b, key, st->buf, &st->put, e);
}

/* Buffers that are read into in turn, while the digests of the others are made
 * beside (hasher.h); one when there is nobody to make them. */
struct ring {
	void *buf[RING];
	uint64_t mark[RING]; /* of the hasher */
	unsigned n;
};

static int
ring_get(struct s3_body *b, struct ring *g, struct err *e)
{
	struct s3 *s = b->r->s3;
	int rc = s3_mem_get(s, S3_IO_SIZE, &g->buf[0], e);

	if (rc < 0)
		return rc;
	g->n = 1;
	if (b->size >= PARALLEL_MIN)
		s3_body_parallel(b);
	while (b->hasher != NULL && g->n < RING &&
	       s3_mem_get(s, S3_IO_SIZE, &g->buf[g->n], NULL) == 0)
		g->n++;
	return 0;
}

static void
ring_put(struct s3_body *b, struct ring *g)
{
	s3_body_alone(b);
	while (g->n > 0)
		s3_mem_put(b->r->s3, &g->buf[--g->n], S3_IO_SIZE);
}

static int
store_stream(struct s3_body *b, struct str key, struct put **ret, struct err *e)
{
	struct ring g = { 0 };
	struct put *p = NULL;
	bool lend;
	size_t n;
	int rc;

	rc = ring_get(b, &g, e);
	if (rc < 0)
		return rc;
	rc =
	    put_begin(b->r->s3->conf.store, &b->r->bucket, key, b->size, &p, e);
	lend = g.n > PUT_LENT;
	for (unsigned i = 0; rc == 0; i = (i + 1) % g.n) {
		if (b->hasher != NULL)
			hasher_wait_far(b->hasher, g.mark[i],
			    g.mark[(i + (g.n - 1) / 2) % g.n]);
		rc = s3_body_fill(b, g.buf[i], S3_IO_SIZE, &n, e);
		if (b->hasher != NULL)
			g.mark[i] = hasher_mark(b->hasher);
		if (rc == 0 && n > 0)
			rc = lend ? put_lend(p, g.buf[i], n, e)
			          : put_write(p, g.buf[i], n, e);
		if (rc == 0 && n == 0)
			break;
		/* While the last digests are made. */
		if (rc == 0 && b->got == b->size)
			rc = put_store(p, e);
	}
	if (rc < 0)
		put_abort(&p);
	else
		put_settle(p);
	ring_put(b, &g);
	if (rc == 0)
		*ret = p;
	return rc;
}

void
s3_stored_end(struct s3_req *r, struct s3_stored *st)
{
	put_abort(&st->put);
	s3_mem_put(r->s3, &st->buf, st->buf_size);
}

int
s3_store_body(struct s3_body *b, struct str key, struct s3_stored *ret,
    struct err *e)
{
	struct s3 *s = b->r->s3;
	int rc;

	ret->put = NULL;
	ret->buf = NULL;
	ret->buf_size = 0;
	/* Under pressure all but the small ones go through the small buffer. */
	if (b->size <= S3_WHOLE_MAX &&
	    (b->size <= S3_IO_SIZE ||
		atomic_load(&s->memory) < s->conf.max_memory / 2))
		rc = store_whole(b, key, ret, e);
	else
		rc = store_stream(b, key, &ret->put, e);
	if (rc < 0)
		s3_stored_end(b->r, ret);
	return rc;
}

struct str
s3_etag_of(struct s3_req *r, const struct hash_values *v)
{
	char hex[32];

	hex_encode(v->v[HASH_MD5], 16, hex);
	return arena_str(r->a, str_mem(hex, 32));
}

/* An object on its way; in the arena, since its request may be deferred. */
struct putting {
	struct s3_req r; /* once it is deferred */
	struct write_cond cond;
	struct object o;
	struct s3_stored st;
	struct put_commit *commit;
};

static int
end(struct s3_req *r, struct putting *p, struct err *e)
{
	int rc = put_commit_end(&p->commit, e);

	s3_stored_end(r, &p->st);
	if (rc < 0)
		return rc;
	s3_send_etag(r, p->o.etag);
	s3_send_checksum(r, &p->o.checksum, 0);
	http_reply(r->http, 200, STR_LIT(""));
	return 0;
}

/* On a worker, when nothing is left to wait for. */
static void
go_on(void *arg, struct http_req *h)
{
	struct putting *p = arg;
	struct err e = ERR_INIT;

	MUST(h == p->r.http);
	s3_end(&p->r, end(&p->r, p, &e), &e);
}

/* On a thread that others wait for. */
static void
committed(void *arg)
{
	struct putting *p = arg;

	http_resume(p->r.http, go_on, p);
}

/* While others write, their thread goes on with it: this one is free. */
static bool
defer(struct s3_req *r, struct putting *p)
{
	if (!put_commit_waits(p->commit) || !s3_defer(r, &p->r))
		return false;
	if (!put_commit_then(p->commit, committed, p))
		http_resume(p->r.http, go_on, p);
	return true;
}

static int
store(struct s3_req *r, struct putting *p, struct err *e)
{
	struct s3_body b;
	uint8_t alg;
	int rc = s3_body_open(r, r->s3->conf.max_object_size, BODY_SIZED,
	    HASH_BIT(HASH_MD5), &b, e);

	if (rc < 0)
		return rc;
	alg = b.want.alg;
	if (alg == CHECKSUM_NONE) {
		alg = CHECKSUM_CRC64NVME;
		s3_body_add(&b, HASH_BIT(HASH_CRC64NVME));
	}
	rc = s3_store_body(&b, r->key, &p->st, e);
	if (rc < 0)
		return rc;
	p->o.etag = s3_etag_of(r, &b.values);
	if (p->o.etag.p == NULL) {
		s3_stored_end(r, &p->st);
		return s3_no_memory(e);
	}
	checksum_take(alg, &b.values, &p->o.checksum);
	return 0;
}

int
s3_put_object(struct s3_req *r, struct err *e)
{
	struct putting *p = arena_alloc(r->a, sizeof(*p));
	struct user owner;
	int rc;

	if (p == NULL)
		return s3_no_memory(e);
	p->o = (struct object){ .key = r->key };
	rc = s3_write_cond(r, &p->cond, e);
	if (rc == 0)
		rc = s3_object_headers(r, &p->o.headers, &p->o.n_headers, e);
	if (rc == 0)
		rc = store(r, p, e);
	if (rc < 0)
		return rc;
	s3_owner(&r->bucket, &owner);
	rc = put_commit_begin(&p->st.put, &owner, &p->cond, &p->o, r->a,
	    &p->commit, e);
	if (rc < 0) {
		s3_stored_end(r, &p->st);
		return rc;
	}
	return defer(r, p) ? S3_LATER : end(r, p, e);
}
