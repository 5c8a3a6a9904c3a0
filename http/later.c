/* http/later.c - requests that are answered later.
 *
 * A deferred request takes its struct http_req and its request buffer along,
 * which its headers lie in; the worker goes on with spare ones, and civetweb's
 * connection there is none until the pool gives it another (civetweb_unit.h).
 * What follows the answer needs no civetweb: it is the request's end as ever
 * (request.c), then the connection is parked, or closed by whoever ran it.
 *
 * D1  r->later is where handler and http_resume() meet: the second of them makes
 *     the request ready, or goes on with it right there.
 * D2  http_defer() has all that the rest needs: nothing after it can fail.
 * D3  Spare ones that were not needed between two looks of the ticker are freed;
 *     others stay, so that no deferred request costs a mapping. */
#include "http/pool.h"
#include "http/request.h"

/* --- spare requests --- */

static void
spare_free(struct http_req *r)
{
	unit_buffer_free(r->buf, r->buf_size);
	http_req_free(&r);
}

static struct http_req *
pop(struct spares *k)
{
	struct http_req *r = k->first;

	if (r != NULL) {
		k->first = r->next;
		r->next = NULL;
		k->n--;
	}
	if (k->n < k->low)
		k->low = k->n;
	return r;
}

static struct http_req *
spare_take(struct http_server *s, size_t size)
{
	struct http_req *r;

	pthread_mutex_lock(&s->spares.m);
	r = pop(&s->spares);
	pthread_mutex_unlock(&s->spares.m);
	if (r != NULL)
		return r;
	r = http_req_new(s);
	if (r == NULL)
		return NULL;
	r->buf = unit_buffer_new(size);
	r->buf_size = size;
	if (r->buf == NULL)
		http_req_free(&r);
	return r;
}

static void
spare_give(struct http_req *r)
{
	struct spares *k = &r->s->spares;

	MUST(r->buf != NULL);
	pthread_mutex_lock(&k->m);
	r->next = k->first;
	k->first = r;
	k->n++;
	pthread_mutex_unlock(&k->m);
}

void
http_spares_init(struct spares *k)
{
	pthread_mutex_init(&k->m, NULL);
}

bool
http_spares_trim(struct spares *k)
{
	struct http_req *list = NULL;
	unsigned n;

	pthread_mutex_lock(&k->m);
	for (n = k->low; n > 0; n--) {
		struct http_req *r = pop(k);

		r->next = list;
		list = r;
	}
	n = k->low = k->n;
	pthread_mutex_unlock(&k->m);
	while (list != NULL) {
		struct http_req *r = list;

		list = r->next;
		spare_free(r);
	}
	return n > 0;
}

void
http_spares_fini(struct spares *k)
{
	while (k->n > 0)
		spare_free(pop(k));
	pthread_mutex_destroy(&k->m);
}

/* --- the request --- */

void
http_close_after(struct http_req *r)
{
	r->keeps_alive = false;
	if (r->conn != NULL)
		unit_close_after(r->conn);
}

bool
http_keeps_alive(const struct http_req *r)
{
	return r->conn != NULL ? unit_keeps_alive(r->conn) : r->keeps_alive;
}

/* Nothing of a next request lies in the buffer, which goes away with this one. */
static bool
has_buffer_alone(const struct http_req *r)
{
	if (r->info.chunked)
		return r->scratch == r->scratch_end;
	return r->taken == (size_t)(r->raw.data_len - r->raw.head_len);
}

bool
http_defer(struct http_req *r)
{
	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	MUST(r->later == LATER_NO);
	if (r->ssl != NULL || r->started || r->broken ||
	    !http_body_is_done(r) || !has_buffer_alone(r))
		return false;
	r->next = spare_take(r->s, (size_t)r->raw.buf_size);
	if (r->next == NULL)
		return false;
	atomic_store(&r->later, LATER_DEFERRED);
	return true;
}

static void
make_ready(struct http_req *r)
{
	r->slot->later = r;
	pool_ready(r->s->pool, r->slot);
}

void
http_resume(struct http_req *r, void (*fn)(void *arg, struct http_req *r),
    void *arg)
{
	int before;

	OBJ_CHECK(r, HTTP_REQ_MAGIC);
	r->resume = fn;
	r->resume_arg = arg;
	before = atomic_exchange(&r->later, LATER_RESUMED);
	MUST(before == LATER_DEFERRED || before == LATER_LEFT);
	if (before == LATER_LEFT)
		make_ready(r); /* else D1: the handler's worker goes on */
}

struct http_req *
http_later_leave(struct http_req *r)
{
	struct http_req *other = r->next;

	r->next = NULL;
	if (atomic_load(&r->later) == LATER_RESUMED) {
		spare_give(other);
		r->resume(r->resume_arg, r);
		return NULL;
	}
	r->keeps_alive = unit_keeps_alive(r->conn);
	r->buf = r->raw.buf;
	r->buf_size = (size_t)r->raw.buf_size;
	r->slot->is_drained = unit_is_drained();
	unit_detach(r->conn, r->slot->parked, other->buf);
	other->buf = NULL;
	r->conn = NULL;
	if (atomic_exchange(&r->later, LATER_LEFT) == LATER_RESUMED)
		make_ready(r);
	return other;
}

bool
http_later_run(struct http_req *r)
{
	bool keeps;

	r->resume(r->resume_arg, r);
	http_req_finish(r);
	keeps = r->keeps_alive;
	spare_give(r);
	return keeps;
}
