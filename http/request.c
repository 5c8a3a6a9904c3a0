/* http/request.c - from civetweb's callback to the handler and back.
 *
 * One struct http_req per worker thread, reused: no allocation per request
 * but from its arena, which keeps a block. All functions here run on the
 * worker that has the request. */
#include "http/request.h"

#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/rand.h"

#include <stdio.h>

const struct http_info *
http_info(const struct http_req *r)
{
	return &r->info;
}

struct arena *
http_arena(struct http_req *r)
{
	return r->arena;
}

struct http_note *
http_note(struct http_req *r)
{
	return &r->note;
}

struct str
http_header(const struct http_req *r, const char *name)
{
	const struct header *h =
	    header_find(r->info.headers, r->info.n_headers, name);

	return h == NULL ? STR_NULL : h->value;
}

size_t
http_header_count(const struct http_req *r, const char *name)
{
	struct str s = str_of(name);
	size_t n = 0;

	for (size_t i = 0; i < r->info.n_headers; i++)
		n += str_ieq(r->info.headers[i].name, s);
	return n;
}

struct http_req *
http_req_new(struct http_server *s)
{
	struct http_req *r = mem_zalloc(sizeof(*r));

	if (r == NULL)
		return NULL;
	r->magic = HTTP_REQ_MAGIC;
	r->s = s;
	r->id_next = rand_u64();
	r->head = BUF_CAP(256 << 10);
	r->date_s = -1;
	return r;
}

void
http_req_free(struct http_req **rp)
{
	struct http_req *r = *rp;

	if (r == NULL)
		return;
	arena_free(&r->arena);
	buf_fini(&r->head);
	r->magic = 0;
	mem_free(rp);
}

void
http_req_idle(struct http_req *r)
{
	arena_free(&r->arena);
	buf_fini(&r->head);
}

/* Unique in the process: a bijection of a sequence from a random start
 * (splitmix64, S. Vigna). 16 digits, as AWS's. */
static void
make_id(struct http_req *r)
{
	static const char hex[] = "0123456789ABCDEF";
	uint64_t z = r->id_next += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	for (int i = 0; i < 16; i++, z <<= 4)
		r->info.id[i] = hex[z >> 60];
	r->info.id[16] = '\0';
}

static bool
prepare(struct http_req *r, struct mg_connection *conn, struct slot *slot)
{
	size_t n = strlen(slot->remote);

	if (r->arena == NULL)
		r->arena = arena_new(r->s->c.request_memory);
	if (r->arena == NULL)
		return false;
	r->conn = conn;
	atomic_store_explicit(&r->later, LATER_NO, memory_order_relaxed);
	r->slot = slot;
	r->fd = unit_fd(conn);
	r->ssl = unit_ssl(conn);
	unit_raw(conn, &r->raw);
	memset(&r->info, 0, offsetof(struct http_info, remote));
	memcpy(r->info.remote, slot->remote, n + 1);
	r->info.content_length = -1;
	r->info.is_tls = r->ssl != NULL;
	r->info.start_ns = clock_mono_ns();
	make_id(r);
	r->note = (struct http_note){ .op = -1 };
	r->body_left = 0;
	r->bytes_in = 0;
	r->body_error = 0;
	r->body_done = r->is_distrusted = false;
	r->continued = true;
	r->waited_ns = 0;
	r->paced_bytes = 0;
	buf_reset(&r->head);
	r->status = 0;
	r->length = 0;
	r->written = r->bytes_out = 0;
	r->started = r->head_sent = r->finished = r->is_chunked_out =
	    r->no_body = r->closes = r->broken = false;
	return true;
}

/* X-Forwarded-For of a trusted proxy: from the right, the first address that
 * is not a trusted proxy itself is the client. */
static void
believe_proxy(struct http_req *r)
{
	struct str proto = http_header(r, "X-Forwarded-Proto");
	struct http_server *s = r->s;

	for (size_t i = r->info.n_headers; i-- > 0;) {
		struct str list = r->info.headers[i].value;

		if (!str_ieq(r->info.headers[i].name,
			STR_LIT("X-Forwarded-For")))
			continue;
		while (list.p != NULL) {
			ptrdiff_t comma = str_rchr(list, ',');
			struct ip_addr ip;

			if (!ip_parse(str_skip(list, (size_t)(comma + 1)), &ip))
				goto done;
			ip_text(&ip, r->info.remote);
			if (!ip_net_has(s->trusted, s->n_trusted, &ip))
				goto done;
			list = comma < 0 ? STR_NULL
			                 : str_sub(list, 0, (size_t)comma);
		}
	}
done:
	if (proto.p != NULL)
		r->info.is_tls = str_ieq(proto, STR_LIT("https"));
}

void
http_req_finish(struct http_req *r)
{
	struct err e = ERR_INIT;
	int64_t now_ns;

	if (!r->started && !r->broken) {
		err_set(&e, ERR_CLOSED, "no answer was made");
		http_fail(r, &e);
	}
	if (!r->finished)
		http_finish(r);
	http_body_settle(r);
	now_ns = clock_mono_ns();
	if (r->s->log != NULL)
		access_log_request(r->s->log, r, now_ns);
	if (r->s->c.done != NULL)
		r->s->c.done(r->s->c.arg, r);
	arena_reset(r->arena);
	if (r->head.size > 16384)
		buf_fini(&r->head);
	atomic_fetch_sub(&r->s->busy, 1);
	atomic_store_explicit(&r->slot->since_ns, now_ns, memory_order_relaxed);
	atomic_store(&r->slot->state, SLOT_WAIT);
}

/* True when the connection is ours; false when the server has shut it. */
static bool
enter(struct http_req *r, struct mg_connection *conn, struct slot *slot)
{
	int state = SLOT_WAIT;

	slot->seen = unit_handled(conn) + 1;
	unit_serves(conn);
	if (!atomic_compare_exchange_strong(&slot->state, &state, SLOT_BUSY)) {
		unit_close_after(conn);
		return false;
	}
	if (!prepare(r, conn, slot)) {
		atomic_store(&slot->state, SLOT_WAIT);
		unit_close_after(conn);
		return false;
	}
	return true;
}

struct http_req *
http_req_serve(struct http_req *r, struct mg_connection *conn,
    struct slot *slot)
{
	struct http_server *s = r->s;
	struct http_req *other = NULL;
	struct err e = ERR_INIT;
	unsigned busy;
	int rc;

	if (!enter(r, conn, slot))
		return r;
	busy = atomic_fetch_add(&s->busy, 1) + 1;
	rc = http_guard(r, &e);
	if (rc < 0) {
		http_fail(r, &e);
		http_req_finish(r);
		return r;
	}
	http_body_init(r);
	if (slot->is_trusted)
		believe_proxy(r);
	if (busy > s->max_connections &&
	    !(s->c.is_vital != NULL && s->c.is_vital(s->c.arg, r->info.path))) {
		err_set(&e, ERR_SLOW_DOWN, NULL);
		http_fail(r, &e);
	} else {
		s->c.handle(s->c.arg, r);
		if (atomic_load_explicit(&r->later, memory_order_relaxed) !=
		    LATER_NO)
			other = http_later_leave(r);
		if (other != NULL)
			return other;
	}
	http_req_finish(r);
	return r;
}

void
http_req_refuse(struct http_req *r, struct mg_connection *conn,
    struct slot *slot, const struct err *why)
{
	if (!enter(r, conn, slot))
		return;
	atomic_fetch_add(&r->s->busy, 1);
	unit_request_line(conn, &r->info.method, &r->info.target); /* logged */
	http_fail(r, why);
	http_req_finish(r);
}
