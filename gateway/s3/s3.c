/* gateway/s3/s3.c - life cycle, dispatch and the memory of bodies (s3.h). */
#include "gateway/s3/body.h"
#include "gateway/s3/s3_int.h"
#include "lib/clock.h"
#include "lib/mem.h"

#include <stdarg.h>
#include <stdio.h>

int
s3_new(const struct s3_conf *c, struct s3 **ret, struct err *e)
{
	struct s3 *s;

	MUST(c->store != NULL);
	s = mem_zalloc(sizeof(*s));
	if (s == NULL)
		return s3_no_memory(e);
	s->conf = *c;
	s->region =
	    c->region != NULL && *c->region != '\0' ? c->region : "us-east-1";
	s->host_id = c->host_id != NULL ? c->host_id : "Creel";
	s->cors = c->cors_allow_origin != NULL ? c->cors_allow_origin : "*";
	if (s->conf.max_object_size == 0)
		s->conf.max_object_size = (uint64_t)5 << 40;
	if (s->conf.min_part_size == 0)
		s->conf.min_part_size = (uint64_t)5 << 20;
	if (s->conf.max_memory == 0)
		s->conf.max_memory = (uint64_t)256 << 20;
	lock_init(&s->lock, LOCK_RANK_LEAF);
	*ret = s;
	return 0;
}

void
s3_free(struct s3 **sp)
{
	struct s3 *s = *sp;

	if (s == NULL)
		return;
	while (s->n_pool > 0)
		mem_free(&s->pool[--s->n_pool]);
	lock_fini(&s->lock);
	mem_free(sp);
}

void
s3_event(struct s3 *s, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (s->conf.event == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->conf.event(s->conf.arg, level, text);
}

int
s3_mem_get(struct s3 *s, size_t size, void **ret, struct err *e)
{
	uint64_t used = atomic_fetch_add(&s->memory, size);
	void *p = NULL;

	if (used + size > s->conf.max_memory) {
		atomic_fetch_sub(&s->memory, size);
		return err_set(e, ERR_SLOW_DOWN, NULL);
	}
	if (size == S3_IO_SIZE) {
		lock_take(&s->lock);
		if (s->n_pool > 0)
			p = s->pool[--s->n_pool];
		lock_drop(&s->lock);
	}
	if (p == NULL && size == S3_IO_SIZE)
		p = mem_alloc_aligned(BLOB_LEND_ALIGN, size);
	else if (p == NULL)
		p = mem_alloc(size);
	if (p == NULL) {
		atomic_fetch_sub(&s->memory, size);
		return s3_no_memory(e);
	}
	*ret = p;
	return 0;
}

void
s3_mem_put(struct s3 *s, void **pp, size_t size)
{
	if (*pp == NULL)
		return;
	atomic_fetch_sub(&s->memory, size);
	if (size == S3_IO_SIZE) {
		lock_take(&s->lock);
		if (s->n_pool < S3_IO_POOL) {
			s->pool[s->n_pool++] = *pp;
			*pp = NULL;
		}
		lock_drop(&s->lock);
	}
	mem_free(pp);
}

int
s3_charge(struct s3_req *r, size_t n, struct err *e)
{
	uint64_t used = atomic_fetch_add(&r->s3->memory, n);

	r->charged += n;
	if (used + n > r->s3->conf.max_memory)
		return err_set(e, ERR_SLOW_DOWN, NULL);
	return 0;
}

static void
uncharge(struct s3_req *r)
{
	if (r->charged > 0)
		atomic_fetch_sub(&r->s3->memory, r->charged);
	r->charged = 0;
}

static void
init_req(struct s3 *s, struct http_req *h, struct s3_req *r)
{
	memset(r, 0, sizeof(*r));
	r->s3 = s;
	r->http = h;
	r->info = http_info(h);
	r->a = http_arena(h);
}

static void
fill_note(struct s3_req *r)
{
	struct http_note *n = http_note(r->http);

	n->bucket = r->bucket_name;
	n->key = r->key;
	n->op = METRIC_OP_Other;
	n->op_name = "-";
	n->user = STR_LIT("-");
}

static int
run(struct s3_req *r, struct err *e)
{
	int rc;

	if (r->method == M_OPTIONS) {
		http_note(r->http)->op = METRIC_OP_Options;
		http_note(r->http)->op_name = "Options";
		return s3_cors_preflight(r, e);
	}
	rc = s3_route(r, e);
	if (rc == 0)
		rc = s3_authenticate(r, e);
	if (rc == 0 && (r->op->flags & OP_NO_BUCKET) == 0)
		rc = s3_enter_bucket(r, e);
	else if (rc == 0 && (r->op->flags & OP_OPEN) == 0)
		rc = s3_authorise(r, r->op->action, NULL, STR_NULL, e);
	if (rc == 0)
		rc = s3_check_refused(r, e);
	if (rc == 0 && (r->op->flags & OP_BODY) == 0)
		rc = s3_body_none(r, e);
	if (rc == 0)
		rc = r->op->fn(r, e);
	return rc;
}

bool
s3_defer(struct s3_req *r, struct s3_req *ret)
{
	if (!http_defer(r->http))
		return false;
	*ret = *r;
	r->charged = 0; /* the copy's now */
	return true;
}

void
s3_end(struct s3_req *r, int rc, const struct err *e)
{
	uncharge(r);
	if (rc == 0)
		return;
	if (http_is_started(r->http))
		http_break(r->http); /* R1 broken; never a second answer */
	else
		s3_reply_error(r, e);
}

void
s3_handle(void *arg, struct http_req *h)
{
	struct s3_req r;
	struct err e = ERR_INIT;
	int rc;

	init_req(arg, h, &r);
	s3_common_headers(&r);
	rc = s3_parse_target(&r, &e);
	fill_note(&r);
	if (rc == 0 && s3_reserved(&r))
		return;
	if (rc == 0)
		rc = run(&r, &e);
	if (rc != S3_LATER)
		s3_end(&r, rc, &e);
}

void
s3_done(void *arg, struct http_req *h)
{
	const struct http_note *n = http_note(h);
	bool known = n->op_name != NULL && n->op >= 0 && n->op < METRIC_OPS;

	(void)arg;
	metric_request(known ? (enum metric_op)n->op : METRIC_OP_Other,
	    http_status(h), clock_mono_ns() - http_info(h)->start_ns,
	    http_bytes_in(h), http_bytes_out(h));
}

int
s3_admin_request(struct s3 *s, struct http_req *h, size_t max,
    struct user *ret_user, struct buf *body, struct err *e)
{
	struct s3_req r;
	int rc;

	init_req(s, h, &r);
	rc = s3_parse_target(&r, e);
	if (rc == 0)
		rc = s3_authenticate(&r, e);
	if (rc == 0 && r.user.id[0] == '\0')
		rc = err_set(e, ERR_ACCESS_DENIED, NULL);
	/* Neither a URL that was handed out nor a body that nobody signed. */
	if (rc == 0 && (r.auth.kind != AUTH_V4_HEADER ||
			   r.auth.payload != AUTH_PAYLOAD_HASH))
		rc = err_set(e, ERR_ACCESS_DENIED,
		    "sign with SigV4 in the header, and the body's SHA-256");
	if (rc == 0)
		rc = s3_body_all(&r, max, 0, body, e);
	uncharge(&r);
	if (rc == 0)
		*ret_user = r.user;
	return rc;
}
