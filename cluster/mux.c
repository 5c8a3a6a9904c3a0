/* cluster/mux.c - asking: the table of connections, requests put together.
 *
 * A request is written behind those that wait already. Who sends takes all that
 * is there; what comes meanwhile is sent by the same one if its owner has said
 * so. On a thread that says when it rests (lib/thread.h) a request waits for that
 * moment, or for enough others. */
#include "cluster/mux_int.h"

#include "lib/clock.h"
#include "lib/mem.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MUX_MAGIC = 0x5270634d
};

static void
line_kick(struct line *l)
{
	uint64_t one = 1;
	ssize_t n;

	do {
		n = write(l->wake, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
}

/* --- sending --- */

/* With the lock held, sending: what was gathered is what is being sent. */
static void
swap_out(struct line *l)
{
	uint8_t *p = l->busy;

	l->busy = l->out;
	l->busy_len = l->out_len;
	l->busy_pos = 0;
	l->out = p;
	l->out_len = 0;
	l->n_out = 0;
	l->send_again = false;
}

/* What is being sent is gone, or the connection is. False: no more. */
static bool
sent_all(struct line *l, bool ok)
{
	bool more;

	lock_take(&l->lock);
	more = ok && l->send_again && l->out_len > 0;
	if (more) {
		swap_out(l);
	} else {
		l->busy_len = l->busy_pos = 0;
		l->is_sending = l->send_again = false;
		cond_broadcast(&l->change);
	}
	lock_drop(&l->lock);
	return more;
}

void
line_go_on_sending(struct line *l)
{
	int fd = l->fd; /* L1 */
	bool more = true;
	ssize_t n;

	while (more) {
		n = send(fd, l->busy + l->busy_pos, l->busy_len - l->busy_pos,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			l->busy_pos += (size_t)n;
			if (l->busy_pos == l->busy_len)
				more = sent_all(l, true);
		} else if (errno == EAGAIN) {
			lock_take(&l->lock);
			l->is_stuck = true;
			cond_broadcast(&l->change);
			lock_drop(&l->lock);
			line_kick(l);
			return;
		} else if (errno != EINTR) {
			shutdown(fd, SHUT_RDWR); /* the thread sees it */
			more = sent_all(l, false);
		}
	}
}

void
line_send(struct line *l)
{
	bool mine = false;

	lock_take(&l->lock);
	if (l->state == LINE_UP && l->out_len > 0) {
		if (l->is_sending) {
			l->send_again = true;
		} else {
			l->is_sending = mine = true;
			swap_out(l);
		}
	}
	lock_drop(&l->lock);
	if (mine)
		line_go_on_sending(l);
}

static void
on_rest(struct thread_rest *r)
{
	struct rpc_mux *m =
	    (void *)((char *)r - offsetof(struct rpc_mux, rest));
	unsigned n = atomic_load(&m->n_lines);

	for (unsigned i = 0; i < n; i++)
		line_send(m->lines[i]);
}

static void
on_hurry(struct thread_rest *r)
{
	struct rpc_mux *m =
	    (void *)((char *)r - offsetof(struct rpc_mux, rest));
	unsigned n = atomic_load(&m->n_lines);

	for (unsigned i = 0; i < n; i++)
		line_kick(m->lines[i]);
}

/* --- the table --- */

static void
line_free(struct line **lp)
{
	struct line *l = *lp;

	if (l->wake >= 0)
		close(l->wake);
	cond_fini(&l->change);
	lock_fini(&l->lock);
	mem_free(&l->in);
	mem_free(&l->out);
	mem_free(&l->busy);
	mem_free(lp);
}

static struct line *
line_new(struct rpc_mux *m, const struct fdfs_addr *to)
{
	struct line *l = mem_zalloc(sizeof(*l));
	struct err e;

	if (l == NULL)
		return NULL;
	l->m = m;
	l->to = *to;
	l->fd = -1;
	l->used_ns = clock_mono_ns();
	lock_init(&l->lock, LOCK_RANK_LEAF);
	cond_init(&l->change);
	for (unsigned i = 0; i < MUX_CALLS; i++)
		l->free[l->n_free++] = (uint16_t)i;
	l->out = mem_alloc(MUX_OUT);
	l->busy = mem_alloc(MUX_OUT);
	l->in = mem_alloc(MUX_IN);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->out == NULL || l->busy == NULL || l->in == NULL || l->wake < 0 ||
	    thread_start(&l->thread, "rpc-mux", line_run, l, &e) < 0)
		line_free(&l);
	return l;
}

/* A line whose address nobody asks any more gets this one. */
static struct line *
reuse(struct rpc_mux *m, const struct fdfs_addr *to)
{
	int64_t old = clock_mono_ns() - (int64_t)m->o.idle_ms * 1000000;
	struct line *found = NULL;

	for (unsigned i = 0; i < m->n_lines && found == NULL; i++) {
		struct line *l = m->lines[i];

		lock_take(&l->lock);
		if (l->state == LINE_DOWN && !l->is_wanted &&
		    l->used_ns < old) {
			l->to = *to;
			l->used_ns = clock_mono_ns();
			l->retry_ns = 0;
			found = l;
		}
		lock_drop(&l->lock);
	}
	return found;
}

/* NULL: there is none, and no room for one. A line's address changes under both
 * locks, m->lock first. */
static struct line *
find(struct rpc_mux *m, const struct fdfs_addr *to)
{
	struct line *l = NULL;

	lock_take(&m->lock);
	for (unsigned i = 0; i < m->n_lines && l == NULL; i++)
		if (fdfs_addr_eq(&m->lines[i]->to, to))
			l = m->lines[i];
	if (l == NULL && !m->is_stopped) {
		l = reuse(m, to);
		if (l == NULL && m->n_lines < MUX_LINES &&
		    (l = line_new(m, to)) != NULL) {
			m->lines[m->n_lines] = l;
			atomic_fetch_add(&m->n_lines, 1);
		}
	}
	lock_drop(&m->lock);
	return l;
}

/* --- asking --- */

static void
put_request(struct line *l, unsigned op, uint64_t id, struct str args)
{
	struct rpc_head h = { .version = RPC_FRAMES,
		.op = op,
		.id = id,
		.cluster = l->m->o.self.cluster,
		.args = args };
	struct fdfs_header fh = { RPC_HEAD + args.len, RPC_COMMAND, 0 };
	uint8_t *p = l->out + l->out_len;

	fdfs_header_put(p, &fh);
	rpc_head_put(p + FDFS_HEADER, &h);
	memcpy(p + FDFS_HEADER + RPC_HEAD, args.p, args.len);
	l->out_len += FDFS_HEADER + RPC_HEAD + args.len;
	l->n_out++;
}

/* With the lock held. */
static bool
take_ask(struct line *l, unsigned op, struct str args, struct rpc_ask *a)
{
	uint64_t n;
	unsigned i;

	l->used_ns = clock_mono_ns();
	if (l->state != LINE_UP && !l->stop && l->used_ns >= l->retry_ns &&
	    !l->is_wanted) {
		l->is_wanted = true;
		cond_broadcast(&l->change);
	}
	if (l->state != LINE_UP || l->stop || l->n_free == 0 ||
	    MUX_OUT - l->out_len < MUX_REQUEST_MAX)
		return false;
	i = l->free[--l->n_free];
	n = atomic_fetch_add_explicit(&l->m->next_id, 1, memory_order_relaxed);
	l->calls[i] = (struct call){ .a = a,
		.id = n << MUX_SLOT_BITS | i,
		.end_ns = l->used_ns + (int64_t)l->m->o.call_ms * 1000000 };
	l->n_calls++;
	put_request(l, op, l->calls[i].id, args);
	return true;
}

int
rpc_mux_ask(struct rpc_mux *m, const struct fdfs_addr *to, unsigned op,
    struct str args, struct rpc_ask *a)
{
	bool taken = false, wake = false, many = false;
	struct line *l;

	OBJ_CHECK(m, MUX_MAGIC);
	MUST(args.len <= MUX_ARGS_MAX && a->cap <= MUX_BODY_MAX);
	l = find(m, to);
	if (l == NULL)
		return ERR_BUSY;
	lock_take(&l->lock);
	if (fdfs_addr_eq(&l->to, to)) /* it may have become another's since */
		taken = take_ask(l, op, args, a);
	if (taken) {
		wake = l->is_asleep;
		l->is_asleep = false;
		many = l->n_out >= MUX_TOGETHER;
	}
	lock_drop(&l->lock);
	if (!taken)
		return ERR_BUSY;
	if (wake)
		line_kick(l);
	if (many || !thread_put_off())
		line_send(l);
	return 0;
}

/* --- life --- */

static void
set_default(int *ms, int def)
{
	if (*ms == 0)
		*ms = def;
}

int
rpc_mux_open(const struct rpc_mux_opts *o, struct rpc_mux **ret, struct err *e)
{
	struct rpc_mux *m = mem_zalloc(sizeof(*m));

	if (m == NULL)
		return err_set(e, ERR_NO_MEMORY, "connections");
	m->magic = MUX_MAGIC;
	m->o = *o;
	set_default(&m->o.connect_ms, 500);
	set_default(&m->o.call_ms, 1000);
	set_default(&m->o.idle_ms, 60000);
	set_default(&m->o.retry_ms, 1000);
	atomic_init(&m->next_id, rand_u64());
	lock_init(&m->lock, LOCK_RANK_MUX);
	m->rest.rest = on_rest;
	m->rest.hurry = on_hurry;
	thread_rest_add(&m->rest);
	*ret = m;
	return 0;
}

void
rpc_mux_stop(struct rpc_mux *m)
{
	unsigned n;

	OBJ_CHECK(m, MUX_MAGIC);
	lock_take(&m->lock);
	m->is_stopped = true;
	n = m->n_lines;
	lock_drop(&m->lock);
	for (unsigned i = 0; i < n; i++) {
		struct line *l = m->lines[i];

		lock_take(&l->lock);
		l->stop = true;
		cond_broadcast(&l->change);
		lock_drop(&l->lock);
		line_kick(l);
	}
	for (unsigned i = 0; i < n && !m->is_joined; i++)
		thread_join(m->lines[i]->thread);
	m->is_joined = true;
}

void
rpc_mux_close(struct rpc_mux **mp)
{
	struct rpc_mux *m = *mp;

	if (m == NULL)
		return;
	*mp = NULL;
	rpc_mux_stop(m);
	thread_rest_remove(&m->rest);
	for (unsigned i = 0; i < m->n_lines; i++)
		line_free(&m->lines[i]);
	lock_fini(&m->lock);
	m->magic = 0;
	mem_free(&m);
}
