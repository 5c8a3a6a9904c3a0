/* fdfs/client.c - pool of connections and calls on them. */
#include "fdfs/client.h"

#include "fdfs/net.h"

#include "lib/clock.h"
#include "lib/lock.h"
#include "lib/mem.h"

#include <errno.h>
#include <unistd.h>

enum {
	CLIENT_MAGIC = 0x4664666c,
	CALL_MAGIC = 0x4664664b,
	CALL_INPUT = 512 /* read ahead: a small answer comes in one piece */
};

struct idle {
	struct fdfs_addr to;
	int fd, greeted;
	int64_t since;
};

struct fdfs_client {
	unsigned magic;
	struct fdfs_client_opts o;
	struct lock lock;  /* the fields below; no I/O */
	struct idle *idle; /* oldest first */
	unsigned n_idle;
	struct fdfs_call *calls; /* those with a socket */
	bool is_stopped;
	uint64_t connects, reused, stale;
};

struct fdfs_call {
	unsigned magic;
	struct fdfs_client *c;
	struct fdfs_addr to;
	struct fdfs_call *next, *prev; /* under c->lock, while fd >= 0 */
	int fd;                        /* changed under c->lock */
	struct fdfs_link link;
	int io_ms;
	bool (*is_over)(void *arg); /* fdfs_call_watch(); may be NULL */
	void *over_arg;
	bool from_pool; /* and nothing was sent on it yet */
	bool is_bound;  /* fdfs_call_bind() */
	bool was_sent;
	bool broken;      /* L2 */
	bool has_answer;  /* its header was read */
	uint64_t content; /* still to be written */
	uint64_t answer;  /* still to be read */
	struct str head;  /* unsent; points into head_copy */
	size_t in_pos, in_len;
	char in[CALL_INPUT];
	char head_copy[];
};

/* --- the pool --- */

int
fdfs_client_open(const struct fdfs_client_opts *o, struct fdfs_client **ret,
    struct err *e)
{
	struct fdfs_client *c = mem_zalloc(sizeof(*c));

	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "FastDFS client");
	c->magic = CLIENT_MAGIC;
	if (o != NULL)
		c->o = *o;
	if (c->o.connect_ms == 0)
		c->o.connect_ms = 5000;
	if (c->o.io_ms == 0)
		c->o.io_ms = 30000;
	if (c->o.idle_ms == 0)
		c->o.idle_ms = 60000;
	if (c->o.max_idle_each == 0)
		c->o.max_idle_each = 16;
	if (c->o.max_idle == 0)
		c->o.max_idle = 256;
	c->idle = mem_alloc(c->o.max_idle * sizeof(*c->idle));
	if (c->idle == NULL) {
		mem_free(&c);
		return err_set(e, ERR_NO_MEMORY, "FastDFS client");
	}
	lock_init(&c->lock, LOCK_RANK_LEAF);
	*ret = c;
	return 0;
}

/* Says goodbye, if it can be said at once. */
static void
hang_up(int fd)
{
	static const struct fdfs_header quit = { 0, FDFS_QUIT, 0 };
	uint8_t raw[FDFS_HEADER];

	fdfs_header_put(raw, &quit);
	(void)send(fd, raw, sizeof(raw), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

void
fdfs_client_close(struct fdfs_client **cp)
{
	struct fdfs_client *c = *cp;

	if (c == NULL)
		return;
	OBJ_CHECK(c, CLIENT_MAGIC);
	*cp = NULL;
	for (unsigned i = 0; i < c->n_idle; i++)
		hang_up(c->idle[i].fd);
	lock_fini(&c->lock);
	mem_free(&c->idle);
	mem_free(&c);
}

void
fdfs_client_stat(struct fdfs_client *c, struct fdfs_client_stat *ret)
{
	OBJ_CHECK(c, CLIENT_MAGIC);
	lock_take(&c->lock);
	*ret = (struct fdfs_client_stat){ .connects = c->connects,
		.reused = c->reused,
		.stale = c->stale,
		.idle = c->n_idle };
	lock_drop(&c->lock);
}

/* With the lock held. Returns its socket. */
static int
remove_idle(struct fdfs_client *c, unsigned i)
{
	int fd = c->idle[i].fd;

	c->n_idle--;
	memmove(&c->idle[i], &c->idle[i + 1],
	    (c->n_idle - i) * sizeof(*c->idle));
	return fd;
}

/* With the lock held: @fd is the call's from now on. */
static void
link_call(struct fdfs_call *call, int fd)
{
	struct fdfs_client *c = call->c;

	call->fd = fd;
	call->prev = NULL;
	call->next = c->calls;
	if (c->calls != NULL)
		c->calls->prev = call;
	c->calls = call;
}

/* With the lock held: and no longer. */
static int
unlink_call(struct fdfs_call *call)
{
	int fd = call->fd;

	if (call->prev != NULL)
		call->prev->next = call->next;
	else
		call->c->calls = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	call->fd = -1;
	return fd;
}

/* A socket is closed by its call, after nobody else can see it. */
static void
drop_socket(struct fdfs_call *call)
{
	int fd;

	lock_take(&call->c->lock);
	fd = unlink_call(call);
	lock_drop(&call->c->lock);
	close(fd);
}

void
fdfs_client_stop(struct fdfs_client *c)
{
	OBJ_CHECK(c, CLIENT_MAGIC);
	lock_take(&c->lock);
	c->is_stopped = true;
	for (struct fdfs_call *call = c->calls; call != NULL; call = call->next)
		shutdown(call->fd, SHUT_RDWR);
	lock_drop(&c->lock);
}

void
fdfs_client_cut(struct fdfs_client *c, const struct fdfs_addr *to)
{
	OBJ_CHECK(c, CLIENT_MAGIC);
	lock_take(&c->lock);
	for (struct fdfs_call *call = c->calls; call != NULL; call = call->next)
		if (fdfs_addr_eq(&call->to, to))
			shutdown(call->fd, SHUT_RDWR);
	lock_drop(&c->lock);
}

static int
check_stopped(struct fdfs_client *c, struct err *e)
{
	bool is_stopped;

	lock_take(&c->lock);
	is_stopped = c->is_stopped;
	lock_drop(&c->lock);
	return is_stopped ? err_set(e, ERR_CLOSED, "the client was stopped")
	                  : 0;
}

/* The one used last; false when there is none. */
static bool
take_idle(struct fdfs_call *call)
{
	struct fdfs_client *c = call->c;
	bool found = false;

	lock_take(&c->lock);
	for (unsigned i = c->n_idle; i > 0 && !found; i--) {
		if (fdfs_addr_eq(&c->idle[i - 1].to, &call->to)) {
			call->link = (struct fdfs_link){ c->idle[i - 1].greeted,
				c->idle[i - 1].since };
			link_call(call, remove_idle(c, i - 1));
			found = true;
		}
	}
	lock_drop(&c->lock);
	return found;
}

/* The oldest, if it has rested for too long; -1. */
static int
take_expired(struct fdfs_client *c)
{
	int64_t old = clock_mono_ns() - (int64_t)c->o.idle_ms * 1000000;
	int fd = -1;

	lock_take(&c->lock);
	if (c->n_idle > 0 && c->idle[0].since < old)
		fd = remove_idle(c, 0);
	lock_drop(&c->lock);
	return fd;
}

static void
drop_expired(struct fdfs_client *c)
{
	int fd;

	while ((fd = take_expired(c)) >= 0)
		hang_up(fd);
}

/* Into the pool; the oldest of its address, or of all, makes room. */
static void
put_idle(struct fdfs_call *call)
{
	struct fdfs_client *c = call->c;
	const struct fdfs_addr *to = &call->to;
	unsigned same = 0, first = 0;
	int fd, old = -1;

	drop_expired(c);
	lock_take(&c->lock);
	for (unsigned i = c->n_idle; i > 0; i--) {
		if (fdfs_addr_eq(&c->idle[i - 1].to, to)) {
			same++;
			first = i - 1;
		}
	}
	if (same >= c->o.max_idle_each)
		old = remove_idle(c, first);
	else if (c->n_idle >= c->o.max_idle)
		old = remove_idle(c, 0);
	fd = unlink_call(call);
	c->idle[c->n_idle++] = (struct idle){ .to = *to,
		.fd = fd,
		.greeted = call->link.greeted,
		.since = clock_mono_ns() };
	lock_drop(&c->lock);
	if (old >= 0)
		hang_up(old);
}

static void
count(struct fdfs_client *c, uint64_t *counter)
{
	lock_take(&c->lock);
	(*counter)++;
	lock_drop(&c->lock);
}

/* --- calls --- */

static int
least(int a, int b)
{
	return a < b ? a : b;
}

static int
connect_new(struct fdfs_call *call, struct err *e)
{
	struct fdfs_client *c = call->c;
	int rc, fd;

	call->from_pool = false;
	rc = fdfs_net_connect(call->to.ip, call->to.port,
	    least(c->o.connect_ms, call->io_ms), &fd, e);
	if (rc < 0)
		return rc;
	lock_take(&c->lock);
	c->connects++;
	link_call(call, fd);
	lock_drop(&c->lock);
	rc = check_stopped(c, e);
	if (rc == 0 && c->o.greet != NULL)
		rc = c->o.greet(c->o.arg, fd, &call->to,
		    least(c->o.io_ms, call->io_ms), e);
	if (rc < 0) {
		drop_socket(call);
		return rc;
	}
	call->link = (struct fdfs_link){ rc, clock_mono_ns() };
	return 0;
}

/* From the pool while one there lives, else a new one. */
static int
get_connection(struct fdfs_call *call, struct err *e)
{
	struct fdfs_client *c = call->c;
	int rc = check_stopped(c, e);

	if (rc < 0)
		return rc;
	drop_expired(c);
	while (take_idle(call)) {
		if (fdfs_net_is_quiet(call->fd)) {
			call->from_pool = true;
			count(c, &c->reused);
			return 0;
		}
		drop_socket(call);
		count(c, &c->stale);
	}
	return connect_new(call, e);
}

/* Until something comes, as far as somebody watches. */
static int
wait_watched(struct fdfs_call *call, struct err *e)
{
	int left = call->io_ms;

	if (call->is_over == NULL)
		return 0;
	while (fdfs_net_stays_quiet(call->fd, least(left, FDFS_WATCH_MS))) {
		left -= FDFS_WATCH_MS;
		if (left <= 0 || call->is_over(call->over_arg))
			return err_set(e, ERR_DISCONNECTED,
			    "%s port %u does not answer", call->to.ip,
			    call->to.port);
	}
	return 0;
}

/* The answer's header. */
static int
read_header(struct fdfs_call *call, struct fdfs_header *ret, struct err *e)
{
	size_t n;
	int rc;

	call->in_pos = call->in_len = 0;
	rc = wait_watched(call, e);
	if (rc < 0)
		return rc;
	while (call->in_len < FDFS_HEADER) {
		rc = fdfs_net_recv(call->fd, call->in + call->in_len,
		    sizeof(call->in) - call->in_len, call->io_ms, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_DISCONNECTED,
			    "%s port %u closed without an answer", call->to.ip,
			    call->to.port);
		if (rc < 0)
			return rc;
		call->in_len += n;
	}
	call->in_pos = FDFS_HEADER;
	rc = fdfs_header_get((const uint8_t *)call->in, ret, e);
	if (rc == 0 && (ret->command != FDFS_RESPONSE ||
			   (ret->status != 0 && ret->len != 0)))
		rc = err_set(e, ERR_INVALID, "%s port %u: not an answer",
		    call->to.ip, call->to.port);
	return rc;
}

/* The server has answered or gone while we were sending. */
static int
early_answer(struct fdfs_call *call, struct err *e)
{
	struct fdfs_header h;
	int rc;

	call->broken = true;
	rc = read_header(call, &h, e);
	if (rc < 0)
		return rc;
	if (h.status != 0)
		return fdfs_status_err(h.status, e);
	return err_set(e, ERR_INVALID, "answer before the end of the request");
}

/* A connection of the pool turned out dead before it took a byte (L1). */
static int
replace_stale(struct fdfs_call *call, struct err *e)
{
	drop_socket(call);
	count(call->c, &call->c->stale);
	return connect_new(call, e);
}

/* The unsent head and @v. */
static int
send_out(struct fdfs_call *call, const struct str *v, size_t n, struct err *e)
{
	struct err why = ERR_INIT, early = ERR_INIT;
	bool input;
	size_t sent;
	int rc;

	for (;;) {
		struct iovec iov[1 + FDFS_PIECES] = {
			{ (char *)(uintptr_t)call->head.p, call->head.len },
		};

		for (size_t i = 0; i < n; i++)
			iov[1 + i] = (struct iovec){ (char *)(uintptr_t)v[i].p,
				v[i].len };
		rc = fdfs_net_send(call->fd, iov, 1 + (int)n, call->io_ms, true,
		    &sent, &input, &why);
		call->was_sent |= sent > 0;
		if (rc == 0 && !input)
			break;
		if (!call->from_pool || call->was_sent)
			goto stopped;
		if (call->is_bound) {
			call->broken = true;
			return err_set(e, ERR_DISCONNECTED,
			    "%s port %u has closed", call->to.ip,
			    call->to.port);
		}
		rc = replace_stale(call, e);
		if (rc < 0) {
			call->broken = true;
			return rc;
		}
	}
	call->from_pool = false;
	call->head = STR_NULL;
	return 0;
stopped:
	/* Why the server takes no more may stand in its answer. */
	call->broken = true;
	if (rc == 0)
		return early_answer(call, e);
	if (why.sys_errno != ETIMEDOUT &&
	    early_answer(call, &early) != ERR_DISCONNECTED)
		why = early;
	if (e != NULL)
		*e = why;
	return why.code;
}

int
fdfs_call_open(struct fdfs_client *c, const struct fdfs_addr *to,
    struct str head, struct fdfs_call **ret, struct err *e)
{
	return fdfs_call_open_within(c, to, head, 0, ret, e);
}

int
fdfs_call_open_within(struct fdfs_client *c, const struct fdfs_addr *to,
    struct str head, int timeout_ms, struct fdfs_call **ret, struct err *e)
{
	struct fdfs_header h;
	struct fdfs_call *call;
	int rc;

	OBJ_CHECK(c, CLIENT_MAGIC);
	MUST(head.len >= FDFS_HEADER);
	rc = fdfs_header_get((const uint8_t *)head.p, &h, e);
	if (rc < 0)
		return rc;
	MUST(h.len >= head.len - FDFS_HEADER);
	call = mem_alloc(sizeof(*call) + head.len);
	if (call == NULL)
		return err_set(e, ERR_NO_MEMORY, "call");
	call->magic = CALL_MAGIC;
	call->c = c;
	call->to = *to;
	call->fd = -1;
	call->io_ms = timeout_ms > 0 ? timeout_ms : c->o.io_ms;
	call->is_over = NULL;
	call->over_arg = NULL;
	call->from_pool = call->was_sent = call->is_bound = false;
	call->broken = call->has_answer = false;
	call->content = h.len - (head.len - FDFS_HEADER);
	call->answer = 0;
	call->in_pos = call->in_len = 0;
	memcpy(call->head_copy, head.p, head.len);
	call->head = str_mem(call->head_copy, head.len);
	rc = get_connection(call, e);
	if (rc < 0) {
		call->broken = true;
		fdfs_call_close(&call);
		return rc;
	}
	*ret = call;
	return 0;
}

void
fdfs_call_link(const struct fdfs_call *call, struct fdfs_link *ret)
{
	OBJ_CHECK(call, CALL_MAGIC);
	*ret = call->link;
}

void
fdfs_call_bind(struct fdfs_call *call, struct str head)
{
	struct fdfs_header h;

	OBJ_CHECK(call, CALL_MAGIC);
	MUST(head.len == call->head.len && !call->was_sent);
	MUST(fdfs_header_get((const uint8_t *)head.p, &h, NULL) == 0);
	MUST(h.len >= head.len - FDFS_HEADER);
	memcpy(call->head_copy, head.p, head.len);
	call->content = h.len - (head.len - FDFS_HEADER);
	call->is_bound = true;
}

bool
fdfs_call_is_stale(const struct fdfs_call *call)
{
	OBJ_CHECK(call, CALL_MAGIC);
	return call->is_bound && call->from_pool && !call->was_sent;
}

int
fdfs_call_write(struct fdfs_call *call, const void *p, size_t len,
    struct err *e)
{
	struct str piece = str_mem(p, len);

	return fdfs_call_write_pieces(call, &piece, 1, e);
}

int
fdfs_call_write_pieces(struct fdfs_call *call, const struct str *v, size_t n,
    struct err *e)
{
	size_t len = 0;
	int rc;

	OBJ_CHECK(call, CALL_MAGIC);
	MUST(n <= FDFS_PIECES);
	for (size_t i = 0; i < n; i++)
		len += v[i].len;
	if (call->broken)
		return err_set(e, ERR_CLOSED, "call on a broken connection");
	if (len > call->content)
		return err_set(e, ERR_INVALID, "more content than announced");
	if (len == 0)
		return 0;
	rc = send_out(call, v, n, e);
	if (rc < 0)
		call->broken = true;
	else
		call->content -= len;
	return rc;
}

void
fdfs_call_watch(struct fdfs_call *call, int io_ms, bool (*is_over)(void *arg),
    void *arg)
{
	OBJ_CHECK(call, CALL_MAGIC);
	call->io_ms = io_ms > 0 ? io_ms : call->c->o.io_ms;
	call->is_over = is_over;
	call->over_arg = arg;
}

int
fdfs_call_answer(struct fdfs_call *call, uint64_t max, uint64_t *ret_len,
    struct err *e)
{
	struct fdfs_header h;
	int rc;

	OBJ_CHECK(call, CALL_MAGIC);
	if (call->broken)
		return err_set(e, ERR_CLOSED, "call on a broken connection");
	if (call->content > 0) {
		call->broken = true;
		return err_set(e, ERR_INVALID, "less content than announced");
	}
	if (call->head.len > 0) { /* no content took it along */
		rc = send_out(call, NULL, 0, e);
		if (rc < 0)
			return rc;
	}
	rc = read_header(call, &h, e);
	if (rc == 0 && h.len > max)
		rc = err_set(e, ERR_TOO_BIG, "answer of %ju bytes",
		    (uintmax_t)h.len);
	if (rc < 0) {
		call->broken = true;
		return rc;
	}
	call->has_answer = true;
	call->answer = h.len;
	*ret_len = h.len;
	/* A storage closes after this one: no use in keeping it. */
	if (h.status == FDFS_EINVAL)
		call->broken = true;
	return fdfs_status_err(h.status, e);
}

/* More of the answer, as far as nobody who watches gives it up. */
static int
receive(struct fdfs_call *call, void *p, size_t len, size_t *ret, struct err *e)
{
	struct err why = ERR_INIT;
	int rc, left = call->io_ms;

	do {
		rc = fdfs_net_recv(call->fd, p, len,
		    call->is_over == NULL ? left : least(left, FDFS_WATCH_MS),
		    ret, &why);
		left -= FDFS_WATCH_MS;
	} while (rc == ERR_DISCONNECTED && why.sys_errno == ETIMEDOUT &&
		 call->is_over != NULL && left > 0 &&
		 !call->is_over(call->over_arg));
	if (rc < 0 && e != NULL)
		*e = why;
	return rc;
}

int
fdfs_call_read(struct fdfs_call *call, void *p, size_t len, size_t *ret,
    struct err *e)
{
	size_t n = 0;
	int rc;

	OBJ_CHECK(call, CALL_MAGIC);
	if (call->broken || !call->has_answer)
		return err_set(e, ERR_CLOSED, "call without an answer");
	if (len > call->answer)
		len = (size_t)call->answer;
	if (len > 0) {
		n = call->in_len - call->in_pos;
		if (n > 0) {
			n = n < len ? n : len;
			memcpy(p, call->in + call->in_pos, n);
			call->in_pos += n;
			goto out;
		}
		rc = receive(call, p, len, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_DISCONNECTED,
			    "%s port %u closed within its answer", call->to.ip,
			    call->to.port);
		if (rc < 0) {
			call->broken = true;
			return rc;
		}
	}
out:
	call->answer -= n;
	*ret = n;
	return 0;
}

bool
fdfs_call_was_sent(const struct fdfs_call *call)
{
	OBJ_CHECK(call, CALL_MAGIC);
	return call->was_sent;
}

void
fdfs_call_close(struct fdfs_call **cp)
{
	struct fdfs_call *call = *cp;

	if (call == NULL)
		return;
	OBJ_CHECK(call, CALL_MAGIC);
	*cp = NULL;
	if (call->fd >= 0) {
		/* Nothing may follow an answer unasked. */
		if (!call->broken && call->has_answer && call->answer == 0 &&
		    call->in_pos == call->in_len)
			put_idle(call);
		else
			drop_socket(call);
	}
	mem_free(&call);
}

int
fdfs_exchange(struct fdfs_client *c, const struct fdfs_addr *to,
    struct str head, size_t max, struct buf *b, struct err *e)
{
	struct fdfs_call *call = NULL;
	uint64_t len;
	size_t n = 0;
	int rc;

	MUST(b != NULL || max == 0);
	rc = fdfs_call_open(c, to, head, &call, e);
	if (rc == 0)
		rc = fdfs_call_answer(call, max, &len, e);
	if (rc == 0 && len > 0) {
		rc = buf_reserve(b, (size_t)len);
		if (rc < 0)
			err_set(e, rc, "answer of %ju bytes", (uintmax_t)len);
	}
	while (rc == 0 && call->answer > 0) {
		rc = fdfs_call_read(call, b->p + b->len, (size_t)call->answer,
		    &n, e);
		if (rc == 0)
			b->len += n;
	}
	fdfs_call_close(&call);
	return rc;
}
