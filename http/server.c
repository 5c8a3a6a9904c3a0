/* http/server.c - listeners, connections and their limits, start and stop.
 *
 * Workers: max_connections and RESERVE more, of which there are as many as
 * connections ask for (civetweb_unit.c, U6). Requests under way beyond
 * max_connections are answered by the reserve: health checks are served, all
 * else is 503. Connections without a request under way never stand in the way:
 * above three quarters the longest idle one is shut for each new one. So the
 * acceptor never waits for a worker.
 *
 * S1  Every accepted socket has a slot until its close.
 * S2  Connections beyond workers + QUEUE are answered by the acceptor itself.
 * Threads: acceptor (unit_on_accept), workers (other callbacks), ticker (log,
 * stop), callers of the public functions. */
#include "http/pool.h"
#include "http/request.h"

#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define RESERVE 32u
#define QUEUE 256u /* a burst that the workers have yet to look at */
#define STACK_KEEP 2048u
#define MAX_FD (1 << 18)
#define TICK_MS 1000
#define STOP_TICK_MS 20

/* --- slots --- */

static struct slot *
slot_of(struct http_server *s, int fd)
{
	int32_t i = fd >= 0 && fd < s->max_fd ? s->slot_of_fd[fd] : -1;

	return i < 0 ? NULL : &s->slots[i];
}

static struct slot *
slot_new(struct http_server *s, int fd)
{
	MUST(lock_is_mine(&s->lock));
	for (unsigned n = 0; n < s->n_slots; n++) {
		unsigned i = (s->free_hint + n) % s->n_slots;

		if (atomic_load(&s->slots[i].state) == SLOT_FREE) {
			s->free_hint = i + 1;
			s->slots[i].fd = fd;
			s->slots[i].seen = 0;
			pool_forget(&s->slots[i]);
			s->slot_of_fd[fd] = (int32_t)i;
			return &s->slots[i];
		}
	}
	return NULL;
}

static void
slot_free(struct http_server *s, struct slot *slot)
{
	lock_take(&s->lock);
	s->slot_of_fd[slot->fd] = -1;
	slot->fd = -1;
	atomic_store(&slot->state, SLOT_FREE);
	lock_drop(&s->lock);
	atomic_fetch_sub(&s->connections, 1);
}

/* Connections of IPv6 are counted by their /64. */
static bool
is_same_address(const struct ip_addr *a, const struct ip_addr *b)
{
	static const uint8_t zero[8];
	bool is_four = memcmp(a->b, zero, 8) == 0;

	return memcmp(a->b, b->b, is_four ? 16 : 8) == 0;
}

/* Shuts the connection that has waited longest, at least @min_ms, of @ip if
 * given. True if there was one. */
static bool
shut_oldest(struct http_server *s, int64_t min_ms, const struct ip_addr *ip)
{
	MUST(lock_is_mine(&s->lock));
	for (int tries = 0; tries < 4; tries++) {
		int64_t oldest = clock_mono_ns() - min_ms * NS_PER_MS;
		struct slot *found = NULL;
		int state = SLOT_WAIT, pending = 0;

		for (unsigned i = 0; i < s->n_slots; i++) {
			struct slot *k = &s->slots[i];
			int64_t since = atomic_load_explicit(&k->since_ns,
			    memory_order_relaxed);

			if (since <= oldest &&
			    atomic_load(&k->state) == SLOT_WAIT &&
			    (ip == NULL || is_same_address(&k->ip, ip))) {
				oldest = since;
				found = k;
			}
		}
		if (found == NULL)
			return false;
		/* A request that has just come in deserves an answer. */
		if (ioctl(found->fd, FIONREAD, &pending) == 0 && pending > 0) {
			atomic_store(&found->since_ns, clock_mono_ns());
			continue;
		}
		if (atomic_compare_exchange_strong(&found->state, &state,
			SLOT_CLOSING)) {
			shutdown(found->fd, SHUT_RDWR);
			return true;
		}
	}
	return false;
}

/* Nobody waits for a parked connection in particular, so that nobody's time-out
 * ends it but this. */
static void
shut_expired(struct http_server *s)
{
	int64_t oldest =
	    clock_mono_ns() - s->c.keepalive_timeout_ms * NS_PER_MS;

	lock_take(&s->lock);
	for (unsigned i = 0; i < s->n_slots; i++) {
		struct slot *k = &s->slots[i];
		int state = SLOT_WAIT, pending = 0;

		if (pool_has(k) &&
		    atomic_load_explicit(&k->since_ns, memory_order_relaxed) <
			oldest &&
		    (ioctl(k->fd, FIONREAD, &pending) != 0 || pending == 0) &&
		    atomic_compare_exchange_strong(&k->state, &state,
			SLOT_CLOSING))
			shutdown(k->fd, SHUT_RDWR);
	}
	lock_drop(&s->lock);
}

static void
shut_all(struct http_server *s, bool busy_too)
{
	lock_take(&s->lock);
	for (unsigned i = 0; i < s->n_slots; i++) {
		struct slot *k = &s->slots[i];
		int state = SLOT_WAIT, pending = 0;

		/* A request that is on its way to a worker is under way. */
		if (!busy_too && atomic_load(&k->state) == SLOT_WAIT &&
		    ioctl(k->fd, FIONREAD, &pending) == 0 && pending > 0)
			continue;
		if (atomic_compare_exchange_strong(&k->state, &state,
			SLOT_CLOSING) ||
		    state == SLOT_CLOSING || (busy_too && state == SLOT_BUSY))
			shutdown(k->fd, SHUT_RDWR);
	}
	lock_drop(&s->lock);
}

/* --- the acceptor --- */

/* Beyond all limits: no thread, no reading, no waiting. */
static void
turn_away(struct http_server *s, int fd)
{
	static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
				     "Content-Length: 0\r\n"
				     "Retry-After: 1\r\n"
				     "Connection: close\r\n\r\n";
	char trash[4096];

	if (s->tls == NULL)
		(void)send(fd, answer, sizeof(answer) - 1,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(fd, SHUT_WR);
	(void)recv(fd, trash, sizeof(trash), MSG_DONTWAIT);
	close(fd);
}

static bool
is_over_address_cap(struct http_server *s, const struct ip_addr *ip)
{
	unsigned n = 0;

	MUST(lock_is_mine(&s->lock));
	if (s->c.max_connections_per_address == 0)
		return false;
	for (unsigned i = 0; i < s->n_slots; i++) {
		int state = atomic_load(&s->slots[i].state);

		n += (state == SLOT_WAIT || state == SLOT_BUSY) &&
		     is_same_address(&s->slots[i].ip, ip);
	}
	return n >= s->c.max_connections_per_address;
}

/* The longer the queue for a worker, the less an idle connection is worth. */
static void
make_room(struct http_server *s, unsigned open)
{
	if (open > s->max_connections + RESERVE / 2)
		shut_oldest(s, 0, NULL);
	else if (open > s->max_connections)
		shut_oldest(s, 50, NULL);
	else if (open > s->max_connections / 4 * 3)
		shut_oldest(s, 1000, NULL);
}

static bool
register_socket(struct http_server *s, int fd, const struct sockaddr *sa)
{
	struct slot *slot = NULL;
	struct ip_addr ip;
	bool is_trusted;
	unsigned open;

	ip_of(sa, &ip);
	is_trusted = ip_net_has(s->trusted, s->n_trusted, &ip);
	open = atomic_fetch_add(&s->connections, 1) + 1;
	lock_take(&s->lock);
	if (s->ticker_rests)
		cond_broadcast(&s->wake);
	make_room(s, open);
	if (open <= s->n_slots && fd < s->max_fd &&
	    (is_trusted || !is_over_address_cap(s, &ip) ||
		shut_oldest(s, 0, &ip)))
		slot = slot_new(s, fd);
	if (slot != NULL) {
		slot->ip = ip;
		slot->is_trusted = is_trusted;
		ip_text(&ip, slot->remote);
		atomic_store(&slot->since_ns, clock_mono_ns());
		atomic_store(&slot->state, SLOT_WAIT);
	}
	lock_drop(&s->lock);
	if (slot == NULL)
		atomic_fetch_sub(&s->connections, 1);
	return slot != NULL;
}

int
unit_on_accept(void *arg, int listener, struct sockaddr *sa, socklen_t *len)
{
	struct http_server *s = arg;
	int fd;

	OBJ_CHECK(s, HTTP_SERVER_MAGIC);
	fd = accept4(listener, sa, len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* Out of files, or the listener was shut down: do not spin. */
		if (errno == EMFILE || errno == ENFILE) {
			lock_take(&s->lock);
			shut_oldest(s, 0, NULL);
			lock_drop(&s->lock);
		}
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			clock_sleep_ms(5);
		return -1;
	}
	if (atomic_load(&s->draining)) {
		close(fd);
		return -1;
	}
	if (!register_socket(s, fd, sa)) {
		turn_away(s, fd);
		return -1;
	}
	return fd;
}

/* --- civetweb's callbacks --- */

/* Made at a worker's first request: most of them may never see one. */
static __thread struct http_req *worker_req;

static struct http_req *
req_of(const struct mg_connection *conn)
{
	struct http_server *s = mg_get_user_data(mg_get_context(conn));

	if (worker_req == NULL)
		worker_req = http_req_new(s);
	return worker_req;
}

static void *
on_thread_start(const struct mg_context *ctx, int type)
{
	if (type == 0)
		unit_set_acceptor(ctx);
	return NULL;
}

static void
on_thread_end(const struct mg_context *ctx, int type, void *thread_arg)
{
	(void)ctx;
	(void)thread_arg;
	if (type == 1)
		http_req_free(&worker_req);
	else if (type == 0)
		unit_set_acceptor(
		    NULL); /* it may be another's (unit_abandon()) */
}

static int
on_request(struct mg_connection *conn)
{
	struct http_req *r = req_of(conn);
	struct slot *slot;

	if (r == NULL) {
		unit_close_after(conn);
		return 503;
	}
	slot = slot_of(r->s, unit_fd(conn));
	MUST(slot != NULL); /* S1 */
	worker_req = http_req_serve(r, conn, slot);
	return 200; /* nobody asks */
}

/* Requests that civetweb refuses. */
static int
on_error(struct mg_connection *conn, int status, const char *text)
{
	struct http_req *r = req_of(conn);
	struct err e = ERR_INIT;
	struct slot *slot;
	int64_t waited, limit;

	unit_close_after(conn);
	if (r == NULL)
		return 0;
	slot = slot_of(r->s, unit_fd(conn));
	MUST(slot != NULL);
	waited = (clock_mono_ns() - slot->since_ns) / NS_PER_MS;
	limit = unit_handled(conn) == 0 ? r->s->c.header_timeout_ms
	                                : r->s->c.keepalive_timeout_ms;
	if (status == 413 || unit_is_full(conn))
		err_set(&e, ERR_HEADERS_TOO_LARGE, NULL);
	else if (!unit_has_head(conn) && waited >= limit)
		err_set(&e, ERR_REQUEST_TIMEOUT, NULL);
	else
		err_set(&e, ERR_BAD_REQUEST, "malformed request: %s", text);
	http_req_refuse(r, conn, slot, &e);
	return 0;
}

/* What a request has used of this worker's stack, below all that is in use now:
 * else a thousand idle threads would keep the depth of their busiest day. */
static void
drop_stack(void)
{
	static __thread uintptr_t low;
	pthread_attr_t attr;
	uintptr_t top;
	size_t size;
	void *p;

	if (low == 0) {
		if (pthread_getattr_np(pthread_self(), &attr) != 0)
			return;
		if (pthread_attr_getstack(&attr, &p, &size) == 0)
			low = (uintptr_t)p;
		pthread_attr_destroy(&attr);
	}
	top = ((uintptr_t)__builtin_frame_address(0) - STACK_KEEP) &
	      ~(uintptr_t)4095;
	if (low != 0 && top > low)
		madvise((void *)low, top - low, MADV_DONTNEED);
}

static void
on_close(const struct mg_connection *c)
{
	/* The callback's const is for the curious; the connection is ours. */
	struct mg_connection *conn = (struct mg_connection *)(uintptr_t)c;
	struct http_server *s = mg_get_user_data(mg_get_context(conn));
	struct err e = ERR_INIT;
	struct http_req *r;
	struct slot *slot;

	/* Its request was deferred while civetweb was told to stop: it takes
	 * the place of another one, as ever (pool.h, Q1). */
	if (unit_fd(conn) < 0)
		pool_wait(s->pool, conn, NULL, s->slots);
	slot = slot_of(s, unit_fd(conn));
	unit_serves_none();
	pool_leave();
	if (slot == NULL)
		return;
	/* civetweb closes without a word after `GET http://...` and `*`. */
	if (unit_is_open(conn) && unit_has_head(conn) &&
	    unit_handled(conn) > slot->seen && (r = req_of(conn)) != NULL) {
		err_set(&e, ERR_BAD_REQUEST,
		    "malformed request: request target");
		http_req_refuse(r, conn, slot, &e);
	}
	if (worker_req != NULL) {
		http_req_idle(worker_req);
		unit_drop_buffer(conn);
		drop_stack();
	}
	slot_free(s, slot);
}

/* And is closed, TLS too. */
static void
on_closed(const struct mg_connection *conn)
{
	struct http_server *s = mg_get_user_data(mg_get_context(conn));

	if (s->tls != NULL) {
		tls_thread_rests();
		drop_stack();
	}
}

enum unit_wait
unit_on_wait(struct mg_connection *conn, bool is_empty)
{
	struct http_server *s = mg_get_user_data(mg_get_context(conn));
	struct slot *slot = slot_of(s, unit_fd(conn));

	if (slot == NULL && unit_fd(conn) >= 0)
		return UNIT_WAITS;
	if (is_empty)
		pool_was_empty(slot);
	return pool_wait(s->pool, conn, slot, s->slots);
}

static int
on_ssl_ctx(void **ctx, void *arg)
{
	struct http_server *s = arg;

	*ctx = tls_ctx(s->tls);
	return 1; /* ours: civetweb neither sets it up nor frees it */
}

static int
on_message(const struct mg_connection *conn, const char *text)
{
	struct http_server *s = mg_get_user_data(mg_get_context(conn));

	if (s != NULL && !atomic_load(&s->is_up) && s->start_message[0] == '\0')
		snprintf(s->start_message, sizeof(s->start_message), "%s",
		    text);
	return 1;
}

/* --- running servers --- */

/* Those that http_server_cut() may still touch. */
static struct {
	pthread_mutex_t m; /* outside of all ranks: nothing is called inside
	                      but the server's own lock */
	struct http_server *first;
} running = { .m = PTHREAD_MUTEX_INITIALIZER };

static void
running_add(struct http_server *s)
{
	pthread_mutex_lock(&running.m);
	s->next = running.first;
	running.first = s;
	pthread_mutex_unlock(&running.m);
}

static void
running_remove(struct http_server *s)
{
	struct http_server **pp = &running.first;

	pthread_mutex_lock(&running.m);
	while (*pp != NULL && *pp != s)
		pp = &(*pp)->next;
	if (*pp != NULL)
		*pp = s->next;
	pthread_mutex_unlock(&running.m);
}

/* --- start --- */

static void
set_defaults(struct http_conf *c)
{
	if (c->max_connections == 0)
		c->max_connections = 1000;
	if (c->header_timeout_ms == 0)
		c->header_timeout_ms = 20000;
	if (c->keepalive_timeout_ms == 0)
		c->keepalive_timeout_ms = 60000;
	if (c->body_idle_timeout_ms == 0)
		c->body_idle_timeout_ms = 60000;
	if (c->max_header_bytes < 4096)
		c->max_header_bytes = 65536;
	if (c->request_memory == 0)
		c->request_memory = (size_t)8 << 20;
}

static int
make_tables(struct http_server *s, const struct http_conf *c, struct err *e)
{
	struct rlimit lim = { .rlim_cur = MAX_FD };

	getrlimit(RLIMIT_NOFILE, &lim);
	s->max_fd = lim.rlim_cur < MAX_FD ? (int)lim.rlim_cur : MAX_FD;
	s->n_slots = s->max_connections + RESERVE + QUEUE;
	s->slots = mem_zalloc(s->n_slots * sizeof(s->slots[0]));
	s->slot_of_fd = mem_alloc((size_t)s->max_fd * sizeof(int32_t));
	if (c->n_trusted_proxies > 0)
		s->trusted =
		    mem_zalloc(c->n_trusted_proxies * sizeof(s->trusted[0]));
	if (s->slots == NULL || s->slot_of_fd == NULL ||
	    (c->n_trusted_proxies > 0 && s->trusted == NULL))
		return err_set(e, ERR_NO_MEMORY, NULL);
	memset(s->slot_of_fd, 0xff, (size_t)s->max_fd * sizeof(int32_t));
	for (size_t i = 0; i < c->n_trusted_proxies; i++) {
		if (!ip_net_parse(str_of(c->trusted_proxies[i]),
			&s->trusted[i]))
			return err_set(e, ERR_CONFIG,
			    "trusted_proxies: %s is not an address or network",
			    c->trusted_proxies[i]);
		s->n_trusted++;
	}
	return 0;
}

static int
note_addresses(struct http_server *s, struct err *e)
{
	size_t n = unit_n_listeners(s->ctx);
	struct sockaddr_storage sa;

	s->addresses = mem_zalloc(n * sizeof(s->addresses[0]));
	if (s->addresses == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < n; i++) {
		unit_listener(s->ctx, i, &sa);
		http_address_text((struct sockaddr *)&sa, s->addresses[i]);
	}
	s->n_addresses = n;
	return 0;
}

struct unit_workers *
unit_workers_of(void *user_data)
{
	struct http_server *s = user_data;

	return &s->workers;
}

void
unit_on_most_workers(void *user_data, unsigned most)
{
	struct http_server *s = user_data;

	if (most >= s->c.max_connections + RESERVE)
		s->max_connections = s->c.max_connections;
	else
		s->max_connections =
		    most > 2 * RESERVE ? most - RESERVE : most / 2 + 1;
	/* There is one more than workers, and fewer of these are to stay. */
	lock_take(&s->lock);
	for (unsigned n = atomic_load(&s->connections); n > most; n--)
		make_room(s, n);
	lock_drop(&s->lock);
}

/* Why civetweb did not start; its text on an address holds its own spelling of
 * it ("cannot bind to IPv6 +9000: 98 (Address already in use)"). */
static int
start_error(const struct http_server *s, const char *text, struct err *e)
{
	const char *m = s->start_message[0] != '\0' ? s->start_message : text;
	struct str why = str_of(m);
	ptrdiff_t open = str_rchr(why, '(');

	if (strncmp(m, "cannot bind to ", 15) != 0 || open < 0)
		return err_set(e, ERR_CONFIG, "%s", m);
	why = str_skip(why, (size_t)open + 1);
	if (why.len > 0)
		why.len--;
	return err_set(e, ERR_CONFIG, "cannot listen on %s%s: " STR_FMT,
	    s->c.addresses[0], s->c.n_addresses > 1 ? ", ..." : "",
	    STR_ARG(why));
}

static int
start_civetweb(struct http_server *s, const char *ports, struct err *e)
{
	struct mg_callbacks cb = {
		.begin_request = on_request,
		.log_message = on_message,
		.http_error = on_error,
		.connection_close = on_close,
		.connection_closed = on_closed,
		.init_thread = on_thread_start,
		.exit_thread = on_thread_end,
	};
	char threads[16], header_ms[16], keep_ms[16], size[24];
	const char *options[] = { "listening_ports", ports, "num_threads",
		threads, "request_timeout_ms", header_ms,
		"keep_alive_timeout_ms", keep_ms, "max_request_size", size,
		"enable_keep_alive", "yes", "tcp_nodelay", "1",
		"listen_backlog", "4096", "connection_queue", "256",
		"decode_url", "no", "access_control_allow_methods", "", NULL };
	struct mg_error_data error = { 0 };
	char text[128] = "";
	struct mg_init_data init = {
		.callbacks = &cb,
		.user_data = s,
		.configuration_options = options,
	};
	sigset_t all, before;

	if (s->tls != NULL)
		cb.external_ssl_ctx = on_ssl_ctx;
	error.text = text;
	error.text_buffer_size = sizeof(text);
	snprintf(threads, sizeof(threads), "%u", s->max_connections + RESERVE);
	snprintf(header_ms, sizeof(header_ms), "%d", s->c.header_timeout_ms);
	snprintf(keep_ms, sizeof(keep_ms), "%d", s->c.keepalive_timeout_ms);
	/* Room behind the header for chunk framing (body.c). */
	snprintf(size, sizeof(size), "%zu", s->c.max_header_bytes + 16384);
	if (!unit_init())
		return err_set(e, ERR_NO_MEMORY, "civetweb");
	thread_signal_mask(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->ctx = mg_start2(&init, &error);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (s->ctx == NULL)
		return start_error(s, text, e);
	atomic_store(&s->is_up, true);
	if (!unit_has_acceptor(s->ctx)) {
		unit_abandon(s->ctx);
		s->ctx = NULL;
		return err_set(e, ERR_CONFIG,
		    "the machine lets no more threads start");
	}
	return 0;
}

static void *
tick(void *arg)
{
	struct http_server *s = arg;
	int tick_ms = s->c.keepalive_timeout_ms / 4;
	bool cut = false, rests = false;

	tick_ms = tick_ms < STOP_TICK_MS ? STOP_TICK_MS
	          : tick_ms > TICK_MS    ? TICK_MS
	                                 : tick_ms;
	lock_take(&s->lock);
	while (!s->is_stopped) {
		bool is_stopping = s->is_stopping;

		/* A connection is counted before it takes the lock. */
		s->ticker_rests = rests && !is_stopping && !s->must_tick &&
		                  atomic_load(&s->connections) == 0;
		if (s->ticker_rests)
			cond_wait(&s->wake, &s->lock);
		else
			cond_wait_ms(&s->wake, &s->lock,
			    is_stopping ? STOP_TICK_MS : tick_ms);
		s->ticker_rests = s->must_tick = false;
		lock_drop(&s->lock);
		/* What the last one had to be logged is, before it goes. */
		rests = atomic_load(&s->connections) == 0;
		shut_expired(s);
		rests = !http_spares_trim(&s->spares) && rests;
		if (s->log != NULL)
			access_log_flush(s->log);
		if (is_stopping) {
			cut = cut || atomic_load(&s->cutting) ||
			      clock_mono_ns() >= s->stop_at_ns;
			shut_all(s, cut);
		}
		lock_take(&s->lock);
	}
	lock_drop(&s->lock);
	return NULL;
}

static void
free_server(struct http_server **sp)
{
	struct http_server *s = *sp;

	running_remove(s);
	if (s->has_ticker) {
		lock_take(&s->lock);
		s->is_stopped = true;
		cond_broadcast(&s->wake);
		lock_drop(&s->lock);
		thread_join(s->ticker);
	}
	pool_stop(&s->pool);
	http_spares_fini(&s->spares);
	access_log_close(&s->log);
	tls_free(&s->tls);
	mem_free(&s->slots);
	mem_free(&s->slot_of_fd);
	mem_free(&s->trusted);
	mem_free(&s->addresses);
	cond_fini(&s->wake);
	lock_fini(&s->lock);
	s->magic = 0;
	mem_free(sp);
}

static int
start(struct http_server *s, const struct http_conf *c, struct err *e)
{
	struct buf ports = BUF_CAP(4096);
	int rc = make_tables(s, c, e);

	if (rc == 0 && c->tls_cert != NULL)
		rc = tls_new(c->tls_cert, c->tls_key, &s->tls, e);
	if (rc == 0 && c->access_log != NULL)
		rc = access_log_open(c->access_log, &s->log, e);
	if (rc == 0 && c->n_addresses == 0)
		rc = err_set(e, ERR_CONFIG, "no address to listen on");
	for (size_t i = 0; rc == 0 && i < c->n_addresses; i++)
		rc = http_address_add(&ports, c->addresses[i], s->tls != NULL,
		    e);
	if (rc == 0)
		rc = buf_addc(&ports, '\0');
	if (rc == 0)
		rc = pool_start(&s->pool, e);
	if (rc == 0)
		rc = thread_start(&s->ticker, "http-tick", tick, s, e);
	if (rc == 0) {
		s->has_ticker = true;
		rc = start_civetweb(s, ports.p, e);
	}
	buf_fini(&ports);
	return rc == 0 ? note_addresses(s, e) : rc;
}

int
http_server_start(const struct http_conf *c, struct http_server **ret,
    struct err *e)
{
	struct http_server *s;
	int rc;

	MUST(c->handle != NULL);
	s = mem_zalloc(sizeof(*s));
	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	s->magic = HTTP_SERVER_MAGIC;
	s->c = *c;
	set_defaults(&s->c);
	s->max_connections = s->c.max_connections;
	lock_init(&s->lock, LOCK_RANK_SERVER);
	http_spares_init(&s->spares);
	cond_init(&s->wake);
	running_add(s);
	rc = start(s, c, e);
	if (rc < 0) {
		if (s->ctx != NULL)
			http_server_stop(&s);
		else
			free_server(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* --- a running server --- */

const char *
http_server_address(struct http_server *s, size_t i)
{
	OBJ_CHECK(s, HTTP_SERVER_MAGIC);
	return i < s->n_addresses ? s->addresses[i] : NULL;
}

int
http_server_reload_tls(struct http_server *s, struct err *e)
{
	OBJ_CHECK(s, HTTP_SERVER_MAGIC);
	return s->tls == NULL ? 0 : tls_reload(s->tls, e);
}

void
http_server_reopen_log(struct http_server *s)
{
	OBJ_CHECK(s, HTTP_SERVER_MAGIC);
	if (s->log == NULL)
		return;
	access_log_reopen(s->log);
	lock_take(&s->lock);
	s->must_tick = true;
	cond_broadcast(&s->wake);
	lock_drop(&s->lock);
}

void
http_server_counts(struct http_server *s, struct http_counts *ret)
{
	OBJ_CHECK(s, HTTP_SERVER_MAGIC);
	ret->connections = atomic_load(&s->connections);
	ret->busy = atomic_load(&s->busy);
	ret->max_connections = s->max_connections;
}

void
http_server_cut(struct http_server *s)
{
	struct http_server *k;

	pthread_mutex_lock(&running.m);
	for (k = running.first; k != NULL && k != s; k = k->next)
		;
	if (k != NULL) {
		OBJ_CHECK(k, HTTP_SERVER_MAGIC);
		atomic_store(&k->cutting, true);
		lock_take(&k->lock);
		cond_broadcast(&k->wake);
		lock_drop(&k->lock);
	}
	pthread_mutex_unlock(&running.m);
}

void
http_server_drain(struct http_server *s)
{
	OBJ_CHECK(s, HTTP_SERVER_MAGIC);
	if (s->drained)
		return;
	/* From here answers say `Connection: close`. mg_stop() ends the
	 * acceptor and waits for the workers; requests under way do not notice
	 * it, since their bodies do not go through civetweb. The ticker shuts
	 * idle connections now, and all when the time is over. */
	atomic_store(&s->draining, true);
	unit_wake_listeners(s->ctx);
	lock_take(&s->lock);
	s->is_stopping = true;
	s->stop_at_ns = clock_mono_ns() + s->c.stop_timeout_ms * NS_PER_MS;
	cond_broadcast(&s->wake);
	lock_drop(&s->lock);
	mg_stop(s->ctx);
	/* Sockets that no worker had taken. */
	for (unsigned i = 0; i < s->n_slots; i++) {
		if (atomic_load(&s->slots[i].state) != SLOT_FREE)
			close(s->slots[i].fd);
	}
	s->drained = true;
}

void
http_server_stop(struct http_server **sp)
{
	if (*sp == NULL)
		return;
	http_server_drain(*sp);
	free_server(sp);
}
