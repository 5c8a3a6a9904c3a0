/* cluster/mux_line.c - a connection's thread: connects when it is wanted, takes
 * answers and gives them to who asked, notices what is late. */
#include "cluster/mux_int.h"

#include "fdfs/net.h"

#include "lib/bytes.h"
#include "lib/clock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
	LOOK_MS = 100,  /* how late the end of a late call may be seen */
	CALM_MS = 1000, /* without a call: no more looks */
	TOGETHER = 64   /* answers for which the lock is taken once */
};

/* --- calls end --- */

struct ended {
	struct rpc_ask *a;
	int code;
	struct str args, body;
};

static void
finish(const struct ended *d)
{
	size_t len = d->code == 0 ? d->body.len : 0;
	int code = d->code;

	if (len > d->a->cap) {
		code = ERR_TOO_BIG;
		len = 0;
	}
	if (len > 0)
		memcpy(d->a->dst, d->body.p, len);
	d->a->fn(d->a, code, d->args, len);
}

/* With the lock held: out of the table. */
static struct rpc_ask *
take_call(struct line *l, unsigned i)
{
	struct rpc_ask *a = l->calls[i].a;

	l->calls[i].a = NULL;
	l->free[l->n_free++] = (uint16_t)i;
	l->n_calls--;
	return a;
}

/* M2: the socket is closed, every call ends. */
static void
hang_up(struct line *l, int code)
{
	struct ended d = { .code = code };

	lock_take(&l->lock);
	l->state = LINE_DOWN;
	l->is_wanted = false;
	/* Once it is stuck nobody else is sending; that may be only now. */
	while (l->is_sending && !l->is_stuck)
		cond_wait(&l->change, &l->lock);
	l->is_stuck = l->is_sending = false;
	l->out_len = l->busy_len = l->busy_pos = 0;
	l->n_out = 0;
	l->send_again = false;
	lock_drop(&l->lock);
	close(l->fd);
	l->fd = -1;
	for (unsigned i = 0; i < MUX_CALLS; i++) {
		lock_take(&l->lock);
		d.a = l->calls[i].a == NULL ? NULL : take_call(l, i);
		lock_drop(&l->lock);
		if (d.a != NULL)
			finish(&d);
	}
}

/* --- answers --- */

/* Those that are all there, at most TOGETHER. Returns how many, or ERR_INVALID
 * when what comes next is no answer to any call. */
static int
take_some(struct line *l, size_t *pos, struct ended done[TOGETHER])
{
	struct rpc_answer_head h;
	int n = 0, rc = 0;
	size_t len = 0;

	lock_take(&l->lock);
	while (n < TOGETHER) {
		unsigned i;

		rc = rpc_answer_next(str_mem(l->in + *pos, l->in_len - *pos),
		    MUX_ANSWER_MAX, &h, &done[n].args, &done[n].body, &len);
		if (rc <= 0)
			break;
		i = (unsigned)(h.id & ((1u << MUX_SLOT_BITS) - 1));
		if (i >= MUX_CALLS || l->calls[i].a == NULL ||
		    l->calls[i].id != h.id) {
			rc = ERR_INVALID;
			break;
		}
		done[n].code = h.code;
		done[n++].a = take_call(l, i);
		*pos += len;
	}
	lock_drop(&l->lock);
	return n > 0 ? n : rc;
}

static int
take_answers(struct line *l)
{
	struct ended done[TOGETHER];
	size_t pos = 0;
	int n;

	while ((n = take_some(l, &pos, done)) > 0)
		for (int i = 0; i < n; i++)
			finish(&done[i]);
	l->in_len -= pos;
	if (l->in_len > 0)
		memmove(l->in, l->in + pos, l->in_len);
	return n;
}

/* What the socket has. */
static int
receive(struct line *l)
{
	size_t room;
	ssize_t n;
	int rc;

	do {
		room = MUX_IN - l->in_len;
		n = recv(l->fd, l->in + l->in_len, room, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return ERR_DISCONNECTED;
		l->in_len += (size_t)n;
		rc = take_answers(l);
	} while (rc == 0 && (size_t)n == room);
	return rc;
}

/* --- waiting --- */

static int
look_for_late(struct line *l)
{
	int64_t now = clock_mono_ns();
	int rc = 0;

	if (now - l->looked_ns < LOOK_MS * INT64_C(1000000))
		return 0;
	l->looked_ns = now;
	lock_take(&l->lock);
	for (unsigned i = 0; i < MUX_CALLS && l->n_calls > 0; i++)
		if (l->calls[i].a != NULL && l->calls[i].end_ns < now)
			rc = ERR_DISCONNECTED;
	lock_drop(&l->lock);
	return rc;
}

/* How long to wait at most; whether for room in the socket too. ERR_CLOSED. */
static int
before_poll(struct line *l, short *ret_events)
{
	int ms = LOOK_MS, rc = 0;

	lock_take(&l->lock);
	*ret_events = (short)(POLLIN | (l->is_stuck ? POLLOUT : 0));
	if (l->stop)
		rc = ERR_CLOSED;
	if (l->n_calls == 0) {
		l->is_asleep =
		    clock_mono_ns() - l->used_ns > CALM_MS * INT64_C(1000000);
		ms = l->is_asleep ? l->m->o.idle_ms : LOOK_MS;
	}
	lock_drop(&l->lock);
	return rc < 0 ? rc : ms;
}

/* A call within that time, or not. */
static bool
is_idle(struct line *l)
{
	bool yes;

	lock_take(&l->lock);
	yes = l->n_calls == 0 && clock_mono_ns() - l->used_ns >=
	                             l->m->o.idle_ms * INT64_C(1000000);
	lock_drop(&l->lock);
	return yes;
}

/* Somebody's sending met a full socket. */
static void
resume_sending(struct line *l)
{
	lock_take(&l->lock);
	l->is_stuck = false;
	lock_drop(&l->lock);
	line_go_on_sending(l);
}

/* Returns why it ends. */
static int
serve(struct line *l)
{
	struct pollfd p[2] = { { .fd = l->fd },
		{ .fd = l->wake, .events = POLLIN } };
	int rc = 0, ms, n;
	uint64_t junk;

	l->in_len = 0;
	l->looked_ns = clock_mono_ns();
	while (rc == 0) {
		ms = before_poll(l, &p[0].events);
		if (ms < 0)
			return ms;
		n = poll(p, 2, ms);
		if (n < 0)
			continue; /* EINTR */
		if (n == 0 && is_idle(l))
			return ERR_DISCONNECTED;
		if (n > 0 && p[1].revents != 0 &&
		    read(l->wake, &junk, sizeof(junk)) > 0)
			line_send(l); /* it was put off, and is wanted now */
		if (n > 0 && (p[0].revents & POLLOUT) != 0)
			resume_sending(l);
		if (n > 0 && (p[0].revents & ~POLLOUT) != 0)
			rc = receive(l);
		if (rc == 0)
			rc = look_for_late(l);
	}
	return rc;
}

/* --- life --- */

static void
connect_to(struct line *l, const struct fdfs_addr *to)
{
	const struct rpc_mux_opts *o = &l->m->o;
	struct err e;
	int fd, rc;

	rc = fdfs_net_connect(to->ip, to->port, o->connect_ms, &fd, &e);
	if (rc == 0) {
		rc = rpc_greet(&o->self, fd, to, o->connect_ms, &e);
		if (rc < 0)
			close(fd);
		else
			rc = 0;
	}
	lock_take(&l->lock);
	l->is_wanted = false;
	if (rc == 0) {
		l->fd = fd;
		l->state = LINE_UP;
	} else {
		l->state = LINE_DOWN;
		l->retry_ns = clock_mono_ns() + o->retry_ms * INT64_C(1000000);
	}
	lock_drop(&l->lock);
}

/* False: it is to end. */
static bool
wait_until_wanted(struct line *l, struct fdfs_addr *ret)
{
	bool yes;

	lock_take(&l->lock);
	while (!l->is_wanted && !l->stop)
		cond_wait(&l->change, &l->lock);
	yes = !l->stop;
	*ret = l->to;
	if (yes)
		l->state = LINE_CONNECTING;
	lock_drop(&l->lock);
	return yes;
}

void *
line_run(void *arg)
{
	struct line *l = arg;
	struct fdfs_addr to;

	while (wait_until_wanted(l, &to)) {
		connect_to(l, &to);
		if (l->fd >= 0)
			hang_up(l, serve(l) == ERR_CLOSED ? ERR_CLOSED
							  : ERR_DISCONNECTED);
	}
	return NULL;
}
