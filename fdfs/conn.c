/* fdfs/conn.c - the serving half of the server loop: one connection, on a worker or
 * on the loop (fdfs/loop.c), which must not wait.
 *
 * K1  c->content is what the peer has yet to send of this request, whether or
 *     not some of it is in c->in already.
 * K2  Once `answered`, exactly one header was sent or waits in c->header, and
 *     c->answer bytes of its body are owed; the next request is read only
 *     when content and answer are both 0.
 * K3  Answers in c->waiting go out before any other byte, and before the thread
 *     waits for a request or in a handler. On the loop nothing waits there but
 *     what the peer did not take at once: then it becomes a worker's.
 * Threads: one at a time. */
#include "fdfs/server_impl.h"

#include "fdfs/net.h"

#include "lib/clock.h"
#include "lib/mem.h"

#include <errno.h>

#define RATE_AFTER_NS (INT64_C(300) * 1000000000)

/* --- input --- */

static size_t
buffered(const struct fdfs_conn *c)
{
	return c->in_len - c->in_pos;
}

/* Into the read-ahead buffer, which must be empty. *ret false: the end. */
static int
fill(struct fdfs_conn *c, int timeout_ms, bool *ret, struct err *e)
{
	size_t n;
	int rc = fdfs_net_recv(c->fd, c->in, sizeof(c->in), timeout_ms, &n, e);

	if (rc < 0)
		return rc;
	c->in_pos = 0;
	c->in_len = n;
	*ret = n > 0;
	return 0;
}

static size_t
take_buffered(struct fdfs_conn *c, void *p, size_t len)
{
	size_t n = buffered(c) < len ? buffered(c) : len;

	if (n > 0)
		memcpy(p, c->in + c->in_pos, n);
	c->in_pos += n;
	return n;
}

/* Exactly @len bytes before @deadline (clock_mono_ns()). */
static int
read_all(struct fdfs_conn *c, void *p, size_t len, int64_t deadline,
    struct err *e)
{
	size_t have = take_buffered(c, p, len);

	while (have < len) {
		int64_t left = (deadline - clock_mono_ns()) / 1000000;
		bool more;
		int rc;

		if (left <= 0)
			return err_set(e, ERR_DISCONNECTED, "request too slow");
		rc = fill(c, (int)left, &more, e);
		if (rc < 0)
			return rc;
		if (!more)
			return err_set(e, ERR_DISCONNECTED,
			    "the peer closed within a request");
		have += take_buffered(c, (char *)p + have, len - have);
	}
	return 0;
}

/* After @n more bytes since @start: is the peer alive, or just not dead? */
static int
check_rate(struct fdfs_conn *c, int64_t start, size_t n, struct err *e)
{
	c->waited_ns += clock_mono_ns() - start;
	c->moved += n;
	if (c->waited_ns < RATE_AFTER_NS ||
	    c->moved / (uint64_t)(c->waited_ns / 1000000000) >=
		c->s->o.min_rate)
		return 0;
	return err_set(e, ERR_DISCONNECTED, "content too slow");
}

int
fdfs_conn_read(struct fdfs_conn *c, void *p, size_t len, size_t *ret,
    struct err *e)
{
	int64_t start;
	size_t n;
	int rc;

	OBJ_CHECK(c, CONN_MAGIC);
	if (len > c->content)
		len = (size_t)c->content;
	n = take_buffered(c, p, len);
	if (n == 0 && len > 0) {
		start = clock_mono_ns();
		rc = fdfs_net_recv(c->fd, p, len, c->s->o.io_ms, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_DISCONNECTED,
			    "the peer closed within content");
		if (rc == 0)
			rc = check_rate(c, start, n, e);
		if (rc < 0) {
			c->hang_up = true;
			return rc;
		}
	}
	c->content -= n;
	*ret = n;
	return 0;
}

/* --- output --- */

/* On the loop: the peer took @sent bytes of @iov, and no more for now. */
static bool
keep_unsent(struct fdfs_conn *c, const struct iovec *iov, int n, size_t sent)
{
	if (c->waiting == NULL)
		c->waiting = mem_alloc(CONN_WAITING);
	if (c->waiting == NULL)
		return false;
	for (int i = 0; i < n; i++) {
		size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;
		size_t len = iov[i].iov_len - skip;

		sent -= skip;
		if (len > CONN_WAITING - c->n_waiting)
			return false;
		if (len > 0)
			memcpy(c->waiting + c->n_waiting,
			    (const char *)iov[i].iov_base + skip, len);
		c->n_waiting += len;
	}
	return true;
}

/* Without waiting; what the peer does not take stays in c->waiting. */
static int
send_on_loop(struct fdfs_conn *c, struct iovec *iov, int n, struct err *e)
{
	struct iovec all[2 + CONN_PIECES];
	struct err why = ERR_INIT;
	size_t sent;
	bool input;
	int rc;

	memcpy(all, iov, (size_t)n * sizeof(*iov));
	rc = fdfs_net_send(c->fd, iov, n, 0, false, &sent, &input, &why);
	if (rc == ERR_DISCONNECTED && why.sys_errno == ETIMEDOUT &&
	    keep_unsent(c, all, n, sent))
		return 0;
	if (rc < 0) {
		c->hang_up = true;
		*e = why;
	}
	return rc;
}

/* What waits, the waiting header, if any, and @v; @more: and more, at once. */
static int
send_pieces(struct fdfs_conn *c, const struct str *v, size_t n_v, bool more,
    struct err *e)
{
	struct iovec iov[2 + CONN_PIECES];
	int64_t start;
	size_t sent;
	bool input;
	int n = 0, rc;

	if (c->n_waiting > 0)
		iov[n++] = (struct iovec){ c->waiting, c->n_waiting };
	c->n_waiting = 0;
	if (c->has_header)
		iov[n++] = (struct iovec){ c->header, FDFS_HEADER };
	for (size_t i = 0; i < n_v; i++) {
		if (v[i].len > 0)
			iov[n++] = (struct iovec){ (char *)(uintptr_t)v[i].p,
				v[i].len };
	}
	c->has_header = false;
	if (c->in_loop)
		return send_on_loop(c, iov, n, e);
	start = clock_mono_ns();
	if (more)
		rc = fdfs_net_send_more(c->fd, iov, n, c->s->o.io_ms, &sent, e);
	else
		rc = fdfs_net_send(c->fd, iov, n, c->s->o.io_ms, false, &sent,
		    &input, e);
	if (rc == 0)
		rc = check_rate(c, start, sent, e);
	if (rc < 0)
		c->hang_up = true;
	return rc;
}

static int
send_out(struct fdfs_conn *c, const void *p, size_t len, struct err *e)
{
	struct str piece = str_mem(p, len);

	return send_pieces(c, &piece, 1, false, e);
}

static void
put_header(struct fdfs_conn *c, uint8_t status, uint64_t len)
{
	struct fdfs_header h = { len, FDFS_RESPONSE, status };

	MUST(!c->answered);
	fdfs_header_put(c->header, &h);
	c->has_header = true;
	c->answered = true;
	c->status = status;
	c->answer = len;
}

int
fdfs_conn_reply(struct fdfs_conn *c, struct str body, struct err *e)
{
	OBJ_CHECK(c, CONN_MAGIC);
	put_header(c, 0, body.len);
	c->answer = 0;
	return send_out(c, body.p, body.len, e);
}

int
fdfs_conn_reply_pieces(struct fdfs_conn *c, const struct str *v, size_t n,
    struct err *e)
{
	uint64_t len = 0;

	OBJ_CHECK(c, CONN_MAGIC);
	MUST(n <= CONN_PIECES);
	for (size_t i = 0; i < n; i++)
		len += v[i].len;
	put_header(c, 0, len);
	c->answer = 0;
	return send_pieces(c, v, n, false, e);
}

/* The whole of the next request. */
static bool
has_next(const struct fdfs_conn *c)
{
	struct fdfs_header h;
	struct err e;

	return c->content == 0 && buffered(c) >= FDFS_HEADER &&
	       fdfs_header_get((const uint8_t *)c->in + c->in_pos, &h, &e) ==
	           0 &&
	       h.len <= buffered(c) - FDFS_HEADER;
}

/* Room for @len more of what waits; NULL: it is better sent now. */
static char *
waiting_room(struct fdfs_conn *c, size_t len)
{
	char *p;

	if (len > CONN_WAITING - c->n_waiting || !has_next(c))
		return NULL;
	if (c->waiting == NULL)
		c->waiting = mem_alloc(CONN_WAITING);
	if (c->waiting == NULL)
		return NULL;
	p = c->waiting + c->n_waiting;
	c->n_waiting += len;
	return p;
}

int
fdfs_conn_reply_along(struct fdfs_conn *c, const struct str *v, size_t n,
    struct err *e)
{
	size_t len = 0;
	char *p;

	OBJ_CHECK(c, CONN_MAGIC);
	MUST(n <= CONN_PIECES);
	for (size_t i = 0; i < n; i++)
		len += v[i].len;
	put_header(c, 0, len);
	c->answer = 0;
	p = len < CONN_WAITING ? waiting_room(c, FDFS_HEADER + len) : NULL;
	if (p == NULL)
		return send_pieces(c, v, n, false, e);
	memcpy(p, c->header, FDFS_HEADER);
	p += FDFS_HEADER;
	for (size_t i = 0; i < n; i++) {
		if (v[i].len > 0)
			memcpy(p, v[i].p, v[i].len);
		p += v[i].len;
	}
	c->has_header = false;
	return 0;
}

int
fdfs_conn_send_waiting(struct fdfs_conn *c, struct err *e)
{
	OBJ_CHECK(c, CONN_MAGIC);
	MUST(!c->has_header);
	return c->n_waiting > 0 ? send_pieces(c, NULL, 0, false, e) : 0;
}

int
fdfs_conn_reply_status(struct fdfs_conn *c, uint8_t status, struct err *e)
{
	OBJ_CHECK(c, CONN_MAGIC);
	MUST(status > 0 && status <= INT8_MAX);
	put_header(c, status, 0);
	return send_out(c, NULL, 0, e);
}

int
fdfs_conn_reply_begin(struct fdfs_conn *c, uint64_t len, struct err *e)
{
	OBJ_CHECK(c, CONN_MAGIC);
	MUST(len <= INT64_MAX);
	put_header(c, 0, len);
	return len == 0 ? send_out(c, NULL, 0, e) : 0;
}

int
fdfs_conn_write(struct fdfs_conn *c, const void *p, size_t len, struct err *e)
{
	OBJ_CHECK(c, CONN_MAGIC);
	MUST(c->answered && len <= c->answer);
	if (len == 0)
		return 0;
	c->answer -= len;
	return send_out(c, p, len, e);
}

int
fdfs_conn_write_file(struct fdfs_conn *c, const struct str *v, size_t n, int fd,
    uint64_t off, size_t len, size_t *ret_sent, struct err *e)
{
	int64_t start;
	int rc;

	OBJ_CHECK(c, CONN_MAGIC);
	MUST(c->answered && !c->in_loop && n <= CONN_PIECES);
	*ret_sent = 0;
	for (size_t i = 0; i < n; i++) {
		MUST(v[i].len <= c->answer);
		c->answer -= v[i].len;
	}
	MUST(len <= c->answer);
	rc = send_pieces(c, v, n, true, e);
	if (rc < 0)
		return rc;
	start = clock_mono_ns();
	rc =
	    fdfs_net_send_file(c->fd, fd, off, len, c->s->o.io_ms, ret_sent, e);
	c->answer -= *ret_sent;
	if (rc == 0)
		rc = check_rate(c, start, *ret_sent, e);
	else if (rc != ERR_DISCONNECTED)
		return err_set(e, ERR_IO, NULL);
	if (rc < 0)
		c->hang_up = true;
	return rc;
}

void
fdfs_conn_hang_up(struct fdfs_conn *c)
{
	OBJ_CHECK(c, CONN_MAGIC);
	c->hang_up = true;
}

void
fdfs_conn_trust(struct fdfs_conn *c)
{
	OBJ_CHECK(c, CONN_MAGIC);
	c->is_trusted = true;
}

const struct fdfs_addr *
fdfs_conn_peer(const struct fdfs_conn *c)
{
	OBJ_CHECK(c, CONN_MAGIC);
	return &c->peer;
}

void
fdfs_conn_local(const struct fdfs_conn *c, struct fdfs_addr *ret)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	OBJ_CHECK(c, CONN_MAGIC);
	*ret = (struct fdfs_addr){ 0 };
	if (getsockname(c->fd, (struct sockaddr *)&ss, &len) == 0)
		fdfs_net_peer(&ss, ret);
}

void
fdfs_conn_server_stat(const struct fdfs_conn *c, struct fdfs_server_stat *ret)
{
	OBJ_CHECK(c, CONN_MAGIC);
	fdfs_server_stat(c->s, ret);
}

void *
fdfs_conn_data(const struct fdfs_conn *c)
{
	OBJ_CHECK(c, CONN_MAGIC);
	return c->data;
}

void
fdfs_conn_set_data(struct fdfs_conn *c, void *data, void (*fini)(void *))
{
	OBJ_CHECK(c, CONN_MAGIC);
	if (c->data != NULL && c->data_fini != NULL)
		c->data_fini(c->data);
	c->data = data;
	c->data_fini = fini;
}

/* --- a request --- */

static void
free_head(struct fdfs_conn *c)
{
	if (c->big_head == NULL)
		return;
	atomic_fetch_sub(&c->s->memory, c->big_size);
	mem_free(&c->big_head);
	c->big_size = 0;
}

/* Where a head of @len goes; NULL when memory is used up. */
static char *
head_room(struct fdfs_conn *c, size_t len)
{
	if (len <= CONN_HEAD)
		return c->head;
	if (atomic_fetch_add(&c->s->memory, len) + len <= c->s->o.max_memory)
		c->big_head = mem_alloc(len);
	if (c->big_head == NULL) {
		atomic_fetch_sub(&c->s->memory, len);
		return NULL;
	}
	c->big_size = len;
	return c->big_head;
}

/* Reads the head; c->content is then what follows it. */
static int
read_head(struct fdfs_conn *c, const struct fdfs_command *cmd, int64_t deadline,
    struct fdfs_incoming *in, struct err *e)
{
	size_t fixed = 0, len;
	char *head;
	int rc;

	if (cmd->shape == FDFS_SHAPE_NAMED) {
		if (c->content < cmd->fixed)
			return err_set(e, ERR_INVALID, "%s: too short",
			    cmd->name);
		MUST(cmd->fixed <= CONN_HEAD);
		fixed = cmd->fixed;
		rc = read_all(c, c->head, fixed, deadline, e);
		if (rc < 0)
			return rc;
		c->content -= fixed;
	}
	rc = fdfs_head_len(cmd, in->header.len, (const uint8_t *)c->head, &len,
	    e);
	if (rc < 0)
		return rc;
	if (cmd->is_trusted && !c->is_trusted && len > CONN_HEAD) {
		c->hang_up = true;
		return err_set(e, ERR_ACCESS_DENIED, "%s: not yet", cmd->name);
	}
	head = head_room(c, len);
	if (head == NULL)
		return err_set(e, ERR_RETRY, "out of memory for requests");
	if (head != c->head)
		memcpy(head, c->head, fixed);
	rc = read_all(c, head + fixed, len - fixed, deadline, e);
	if (rc < 0)
		return rc;
	c->content -= len - fixed;
	in->head = str_mem(head, len);
	in->content = c->content;
	in->command = cmd;
	return 0;
}

/* All of the content is here. */
static int
run_later(struct fdfs_conn *c, const struct fdfs_incoming *in, struct err *e)
{
	const struct fdfs_route *r = &c->s->route[in->header.command];
	struct str content = str_mem(c->in + c->in_pos, (size_t)c->content);

	MUST(content.len <= buffered(c));
	c->in_pos += content.len;
	c->content = 0;
	return r->later(c->s->o.arg, c, in, content, e);
}

static int
run_handler(struct fdfs_conn *c, struct fdfs_incoming *in, int64_t deadline,
    struct err *e)
{
	const struct fdfs_route *r = &c->s->route[in->header.command];
	int rc;

	if (in->header.command == FDFS_ACTIVE_TEST)
		return c->content == 0 ? 0 : ERR_INVALID;
	if (r->fn == NULL)
		return err_set(e, ERR_INVALID, "unknown command");
	if (c->s->o.admit != NULL) {
		rc = c->s->o.admit(c->s->o.arg, &c->peer, r->command, e);
		if (rc < 0) {
			c->hang_up = true;
			return rc;
		}
	}
	if (!r->command->goes_along) {
		rc = fdfs_conn_send_waiting(c, e); /* K3 */
		if (rc < 0)
			return rc;
	}
	rc = read_head(c, r->command, deadline, in, e);
	if (rc < 0)
		return rc;
	return c->in_loop ? run_later(c, in, e) : r->fn(c->s->o.arg, c, in, e);
}

/* Reads past up to @max bytes that nobody wants. */
static bool
drain(struct fdfs_conn *c, uint64_t max)
{
	char junk[4096];
	struct err e;
	size_t n;

	if (c->content > max)
		return false;
	while (c->content > 0) {
		if (fdfs_conn_read(c, junk, sizeof(junk), &n, &e) < 0)
			return false;
	}
	return true;
}

/* Answers what the handler left, brings the stream to the next request.
 * False: close. */
static bool
finish(struct fdfs_conn *c, int rc, struct err *e)
{
	atomic_fetch_add(&c->s->requests, 1);
	if (rc == ERR_DISCONNECTED && !c->answered)
		c->hang_up = true; /* the peer, or one behind it */
	if (c->answered && (rc < 0 || c->answer > 0 || c->has_header))
		c->hang_up = true;
	else if (!c->answered && rc == 0)
		fdfs_conn_reply(c, STR_NULL, e);
	else if (!c->answered)
		fdfs_conn_reply_status(c, fdfs_status_of(rc), e);
	if (c->status != 0)
		atomic_fetch_add(&c->s->failed, 1);
	if (c->status == FDFS_EINVAL && c->s->o.kind == FDFS_STORAGE)
		c->hang_up = true; /* as FastDFS's storage does */
	return !c->hang_up && drain(c, CONN_DRAIN);
}

static bool
fits_loop(const struct fdfs_conn *c, const struct fdfs_header *h)
{
	return c->s->route[h->command].later != NULL && !c->stays &&
	       h->len <= CONN_INPUT - FDFS_HEADER;
}

enum conn_has
fdfs_conn_has(const struct fdfs_conn *c)
{
	struct fdfs_header h;
	struct err e;

	if (buffered(c) == 0)
		return HAS_NOTHING;
	if (buffered(c) < FDFS_HEADER)
		return HAS_PART;
	if (fdfs_header_get((const uint8_t *)c->in + c->in_pos, &h, &e) < 0)
		return HAS_OTHER;
	if (h.command == FDFS_QUIT ||
	    (h.command == FDFS_ACTIVE_TEST && h.len == 0))
		return HAS_WHOLE;
	if (!fits_loop(c, &h))
		return HAS_OTHER;
	return h.len <= buffered(c) - FDFS_HEADER ? HAS_WHOLE : HAS_PART;
}

/* One request. */
static enum conn_next
serve_one(struct fdfs_conn *c)
{
	int64_t deadline = clock_mono_ns() + (int64_t)c->s->o.head_ms * 1000000;
	struct fdfs_incoming in = { 0 };
	uint8_t raw[FDFS_HEADER];
	struct err e = ERR_INIT;
	size_t from = c->in_pos;
	bool go_on;
	int rc;

	c->answered = c->has_header = c->hang_up = false;
	c->answer = 0;
	c->status = 0;
	c->waited_ns = 0;
	c->moved = 0;
	if (read_all(c, raw, sizeof(raw), deadline, &e) < 0)
		return NEXT_END;
	rc = fdfs_header_get(raw, &in.header, &e);
	if (rc < 0) {
		c->content =
		    INT64_MAX; /* where the next one is, nobody knows */
		finish(c, rc, &e);
		return NEXT_END;
	}
	c->content = in.header.len;
	if (in.header.command == FDFS_QUIT)
		return NEXT_END;
	c->streak = fits_loop(c, &in.header) ? c->streak + 1 : 0;
	rc = run_handler(c, &in, deadline, &e);
	if (rc == FDFS_LATER)
		return NEXT_LATER;
	if (rc == FDFS_WAITS) {
		free_head(c);
		c->in_pos = from;
		c->stays = true;
		return NEXT_WAITS;
	}
	go_on = finish(c, rc, &e);
	free_head(c);
	if (!go_on)
		return NEXT_END;
	return c->in_loop && c->n_waiting > 0 ? NEXT_WAITS : NEXT_GO_ON;
}

enum conn_next
fdfs_conn_serve_now(struct fdfs_conn *c)
{
	MUST(c->in_loop && c->n_waiting == 0);
	return serve_one(c);
}

struct arena *
fdfs_conn_arena(struct fdfs_conn *c)
{
	OBJ_CHECK(c, CONN_MAGIC);
	if (c->arena == NULL)
		c->arena = arena_new(CONN_ARENA);
	return c->arena;
}

void
fdfs_conn_resume(struct fdfs_conn *c, int rc, struct str body, struct err *e)
{
	bool go_on;

	OBJ_CHECK(c, CONN_MAGIC);
	MUST(c->in_loop && rc <= 0);
	if (rc == 0)
		rc = fdfs_conn_reply(c, body, e);
	go_on = finish(c, rc, e);
	free_head(c);
	if (c->arena != NULL) /* @body and @e may lie there */
		arena_reset(c->arena);
	fdfs_loop_back(c, go_on);
}

/* The peer may still be sending: were the socket closed with unread bytes,
 * the answer could be lost on its way. Reads on for a while. */
static void
linger(struct fdfs_conn *c)
{
	int64_t end = clock_mono_ns() + INT64_C(2000000000);
	uint64_t left = 1 << 20;
	char junk[4096];
	struct err e;
	size_t n;

	shutdown(c->fd, SHUT_WR);
	while (left > 0 && clock_mono_ns() < end) {
		if (fdfs_net_recv(c->fd, junk, sizeof(junk), 500, &n, &e) < 0 ||
		    n == 0)
			return;
		left -= n < left ? n : left;
	}
}

void
fdfs_conn_end(struct fdfs_conn *c)
{
	fdfs_conn_set_data(c, NULL, NULL);
	mem_free(&c->waiting);
	arena_free(&c->arena);
	fdfs_conn_leave(c);
}

/* It has sent something, which looks like one more of those. */
static bool
goes_to_loop(struct fdfs_conn *c)
{
	return c->s->loop != NULL && c->streak >= CONN_STREAK &&
	       c->n_waiting == 0 && fdfs_conn_has(c) != HAS_OTHER;
}

void
fdfs_conn_run(struct fdfs_conn *c)
{
	bool more, was_idle;
	struct err e;

	OBJ_CHECK(c, CONN_MAGIC);
	if (!c->is_ending && fdfs_conn_send_waiting(c, &e) < 0)
		c->is_ending = true; /* the loop has left it */
	while (!c->is_ending) {
		was_idle = buffered(c) == 0;
		if (was_idle) {
			MUST(c->n_waiting == 0); /* K3 */
			if (!fdfs_conn_set_idle(c, true) ||
			    fill(c, c->s->o.idle_ms, &more, &e) < 0 || !more)
				break;
		}
		if (was_idle && !fdfs_conn_set_idle(c, false))
			break;
		if (goes_to_loop(c) && fdfs_loop_take(c))
			return;
		c->is_ending = serve_one(c) == NEXT_END;
	}
	if (c->is_ending) {
		fdfs_conn_send_waiting(c, &e);
		if (c->answered && (c->content > 0 || buffered(c) > 0))
			linger(c);
	}
	fdfs_conn_end(c);
}
