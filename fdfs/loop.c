/* fdfs/loop.c - connections whose requests are answered later, without a thread of
 * their own.
 *
 * A worker gives a connection here once whole requests with a `later` have come
 * by it one after the other; what is of another kind, or is slow to come, or can't
 * be sent at once, goes back to a worker. So a client that uploads is served by
 * this one thread, which receives what is there from all of them before it has the
 * lot stored (`gathered`), and whoever has stored it sends the answers.
 *
 * L1  A connection in epoll is ended, or given to a worker, by the loop's thread
 *     alone, between two looks at epoll: no event tells of one that is gone.
 * L2  It is parked by its owner (the loop, or who resumes it) and taken by the
 *     loop, both by compare-and-swap of c->park; an event that comes meanwhile is
 *     noted there. It is parked only after a read that found less than it asked
 *     for (nothing, where an end may be behind what it found), since when no event
 *     has come: epoll tells of news alone.
 * L3  Who resumes a connection that can't be parked puts it on the list of those
 *     that are ready, and wakes the loop if it sleeps.
 * L4  A part of a request waits here for PART_MS; then it is a worker's, with the
 *     time-outs that this one has.
 * L5  Who has just been answered mostly sends the next request at once, and a sync
 *     for all of them takes hardly longer than one for most. So what was gathered
 *     is stored when all who are due have come, or a quarter of the time that the
 *     last storing took, MORE_US at most, has passed without any. When nobody
 *     came in that time, the next MORE_SKIP rounds don't wait. Only those are due
 *     whom this thread itself has answered in the last round.
 * Threads: one; fdfs_loop_take() on workers, fdfs_loop_back() on any. */
#include "fdfs/server_impl.h"

#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS = 64,
	TURN = 32,  /* requests of one connection in a row */
	LOOKS = 16, /* looks for more before what was gathered is stored */
	MORE_US = 40,
	MORE_SKIP = 16,
	PART_MS = 1000,
	LOOK_MS = 60000
};

/* c->park */
enum {
	PARK_OWNED,
	PARK_EVENT, /* owned, and an event has come */
	PARK_PARKED
};

struct loop {
	struct fdfs_server *s;
	int fd, kick; /* epoll; eventfd in it, edge-triggered: never read */
	pthread_t thread;
	atomic_bool is_stopping;
	atomic_bool is_sleeping; /* in epoll, or about to look at the list */
	atomic_uint callers;     /* in fdfs_loop_back() */
	struct lock lock;
	struct fdfs_conn *ready, **ready_end; /* under the lock */
	atomic_uint n_ready, n;               /* n: connections here */
	/* The thread's own. */
	bool has_gathered, has_parts;
	unsigned looks;
	int64_t next_look_ns;
	/* L5 */
	uint64_t round;
	unsigned n_due, skip;
	bool has_come;               /* one of them, since it began to wait */
	int64_t more_ns;             /* how long it waits for the next */
	int64_t until, until_in_all; /* clock_mono_ns(); 0: not set */
};

static _Thread_local const struct loop *this_loop; /* on its thread */

static void
kick(struct loop *l)
{
	static const uint64_t one = 1;

	MUST(write(l->kick, &one, sizeof(one)) == sizeof(one));
}

/* L3. Against wait_for_events(): one of both sees what the other has set. */
static void
make_ready(struct loop *l, struct fdfs_conn *c)
{
	c->next_ready = NULL;
	lock_take(&l->lock);
	*l->ready_end = c;
	l->ready_end = &c->next_ready;
	atomic_fetch_add(&l->n_ready, 1);
	lock_drop(&l->lock);
	if (atomic_exchange(&l->is_sleeping, false))
		kick(l);
}

/* L2. Its owner has parked it, or still has it. */
static bool
park(struct fdfs_conn *c)
{
	int was = PARK_OWNED;

	if (!c->is_drained)
		return false;
	if (atomic_compare_exchange_strong(&c->park, &was, PARK_PARKED))
		return true;
	atomic_store(&c->park, PARK_OWNED);
	c->is_drained = false;
	c->is_unsure = true;
	return false;
}

bool
fdfs_loop_take(struct fdfs_conn *c)
{
	struct loop *l = c->s->loop;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET,
		.data = { .ptr = c } };

	c->in_loop = true;
	c->is_drained = false;
	c->is_unsure = true;
	atomic_store(&c->park, PARK_OWNED);
	if (epoll_ctl(l->fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
		c->in_loop = false; /* no memory in the kernel */
		return false;
	}
	atomic_fetch_add(&l->n, 1);
	make_ready(l, c);
	return true;
}

void
fdfs_loop_back(struct fdfs_conn *c, bool go_on)
{
	struct loop *l = c->s->loop;
	bool is_here = go_on && c->in_pos == c->in_len && c->n_waiting == 0;

	/* The last connection of all may end, and the loop with it, before this
	 * thread has returned. */
	atomic_fetch_add(&l->callers, 1);
	if (is_here)
		go_on = fdfs_conn_set_idle(c, true);
	if (is_here && go_on && this_loop == l) {
		c->due = l->round;
		l->n_due++;
	}
	if (!is_here || !go_on || !park(c)) {
		if (is_here && go_on)
			go_on = fdfs_conn_set_idle(c, false);
		c->is_ending = !go_on;
		make_ready(l, c);
	}
	atomic_fetch_sub(&l->callers, 1);
}

/* --- the loop's thread --- */

static void
not_due(struct loop *l, struct fdfs_conn *c)
{
	if (c->due != 0 && c->due == l->round) {
		MUST(l->n_due > 0);
		l->n_due--;
		l->has_come = true;
		l->until = 0;
	}
	c->due = 0;
}

static void
leave(struct loop *l, struct fdfs_conn *c)
{
	not_due(l, c);
	MUST(epoll_ctl(l->fd, EPOLL_CTL_DEL, c->fd, NULL) == 0);
	atomic_fetch_sub(&l->n, 1);
	c->part_ns = 0;
	c->in_loop = false;
}

static void
to_worker(struct loop *l, struct fdfs_conn *c)
{
	struct err e;

	leave(l, c);
	c->streak = 0;
	if (fdfs_conn_give(c, &e) < 0)
		fdfs_conn_end(c);
}

/* Where the peer may be sending still, or has not taken the answer, somebody waits
 * for it. */
static void
end(struct loop *l, struct fdfs_conn *c)
{
	if (c->answered && (c->in_pos < c->in_len || c->n_waiting > 0)) {
		c->is_ending = true;
		to_worker(l, c);
		return;
	}
	leave(l, c);
	fdfs_conn_end(c);
}

/* Room behind what is there, and what comes. False: the end. */
static bool
receive(struct fdfs_conn *c)
{
	size_t have = c->in_len - c->in_pos, room;
	ssize_t n;

	if (c->in_pos > 0 && have > 0)
		memmove(c->in, c->in + c->in_pos, have);
	c->in_pos = 0;
	c->in_len = have;
	room = sizeof(c->in) - have;
	do {
		n = recv(c->fd, c->in + have, room, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		return false;
	if (n > 0) {
		c->in_len += (size_t)n;
		not_due(c->s->loop, c);
	}
	c->is_drained = n < 0 || ((size_t)n < room && !c->is_unsure);
	return true;
}

/* Nothing more to do with it for now: true when it is parked. */
static bool
rest(struct loop *l, struct fdfs_conn *c, enum conn_has has)
{
	if (!c->is_drained)
		return false;
	if (has == HAS_PART && c->part_ns == 0)
		c->part_ns = clock_mono_ns();
	if (has == HAS_PART && !l->has_parts) {
		l->has_parts = true;
		l->next_look_ns = 0;
	}
	if (has == HAS_NOTHING && !fdfs_conn_set_idle(c, true)) {
		end(l, c);
		return true;
	}
	if (park(c))
		return true;
	if (has == HAS_NOTHING && !fdfs_conn_set_idle(c, false)) {
		end(l, c);
		return true;
	}
	return false;
}

/* Serves what is there, until it has given it away. */
static void
serve(struct loop *l, struct fdfs_conn *c)
{
	enum conn_next next = NEXT_GO_ON;

	for (int i = 0; i < TURN && next == NEXT_GO_ON; i++) {
		enum conn_has has = fdfs_conn_has(c);

		if (has == HAS_WHOLE) {
			c->part_ns = 0;
			next = fdfs_conn_serve_now(c);
			continue;
		}
		if (has == HAS_OTHER)
			next = NEXT_WAITS;
		else if (rest(l, c, has))
			return;
		else if (!c->is_drained && !receive(c))
			next = NEXT_END;
	}
	if (next == NEXT_GO_ON)
		make_ready(l, c);
	else if (next == NEXT_LATER)
		l->has_gathered = true;
	else if (next == NEXT_WAITS)
		to_worker(l, c);
	else
		end(l, c);
}

static void
serve_ready(struct loop *l)
{
	struct fdfs_conn *c, *next;

	if (atomic_load(&l->n_ready) == 0)
		return;
	lock_take(&l->lock);
	c = l->ready;
	l->ready = NULL;
	l->ready_end = &l->ready;
	atomic_store(&l->n_ready, 0);
	lock_drop(&l->lock);
	for (; c != NULL; c = next) {
		next = c->next_ready;
		if (c->is_ending)
			end(l, c);
		else if (c->n_waiting > 0)
			to_worker(l, c);
		else
			serve(l, c);
	}
}

static void
on_event(struct loop *l, const struct epoll_event *ev)
{
	struct fdfs_conn *c = ev->data.ptr;
	int was = PARK_PARKED;

	while (!atomic_compare_exchange_weak(&c->park, &was,
	    was == PARK_PARKED ? PARK_OWNED : PARK_EVENT))
		;
	if (was != PARK_PARKED)
		return;
	c->is_drained = false;
	c->is_unsure = (ev->events & ~(uint32_t)EPOLLIN) != 0;
	if (c->part_ns == 0 && !fdfs_conn_set_idle(c, false))
		end(l, c);
	else if (!receive(c))
		end(l, c);
	else
		serve(l, c);
}

/* How long until look() has something to do; -1: no connection is here. */
static int
wait_ms(struct loop *l)
{
	int64_t left;

	if (atomic_load(&l->n) == 0)
		return -1;
	left = (l->next_look_ns - clock_mono_ns()) / 1000000 + 1;
	return left < 0 ? 0 : (int)left;
}

static unsigned
wait_for_events(struct loop *l, struct epoll_event *ev)
{
	int n, ms = l->has_gathered ? 0 : wait_ms(l);

	atomic_store(&l->is_sleeping, true);
	if (atomic_load(&l->n_ready) > 0)
		ms = 0;
	n = epoll_wait(l->fd, ev, EVENTS, ms);
	MUST(n >= 0 || errno == EINTR);
	atomic_store(&l->is_sleeping, false);
	return n > 0 ? (unsigned)n : 0;
}

/* Under the server's lock: closes what was idle for too long, takes out what has
 * been a part for too long (L4). */
static struct fdfs_conn *
look_at_all(struct loop *l, int64_t now)
{
	int64_t idle_ns = (int64_t)l->s->o.idle_ms * 1000000;
	struct fdfs_conn *slow = NULL;

	l->has_parts = false;
	for (struct fdfs_conn *c = l->s->active; c != NULL; c = c->next) {
		int was = PARK_PARKED;

		if (c->is_idle && !c->was_shut &&
		    now - c->idle_since >= idle_ns) {
			c->was_shut = true;
			shutdown(c->fd, SHUT_RDWR);
		}
		if (c->part_ns == 0)
			continue;
		l->has_parts = true;
		if (now - c->part_ns < PART_MS * INT64_C(1000000) ||
		    !atomic_compare_exchange_strong(&c->park, &was, PARK_OWNED))
			continue;
		c->next_ready = slow;
		slow = c;
	}
	return slow;
}

static void
look(struct loop *l)
{
	int64_t now = clock_mono_ns(), ms = l->s->o.idle_ms / 4;
	struct fdfs_conn *slow, *next;

	if (now < l->next_look_ns)
		return;
	lock_take(&l->s->lock);
	slow = look_at_all(l, now);
	lock_drop(&l->s->lock);
	for (; slow != NULL; slow = next) {
		next = slow->next_ready;
		to_worker(l, slow);
	}
	if (ms > LOOK_MS)
		ms = LOOK_MS;
	if (l->has_parts && ms > PART_MS / 2)
		ms = PART_MS / 2;
	l->next_look_ns = now + (ms < 10 ? 10 : ms) * 1000000;
}

/* L5. There was nothing just now. A thread of this processor that is to send the
 * next may have to run first. */
static bool
waits_for_more(struct loop *l)
{
	int64_t now;

	if (l->n_due == 0 || l->skip > 0)
		return false;
	now = clock_mono_ns();
	if (l->until_in_all == 0) {
		l->until_in_all = now + 2 * l->more_ns;
		l->until = 0;
		l->has_come = false;
	}
	if (l->until == 0)
		l->until = now + l->more_ns;
	if (now < l->until && now < l->until_in_all) {
		sched_yield();
		return true;
	}
	if (!l->has_come)
		l->skip = MORE_SKIP + 1;
	return false;
}

static void
store(struct loop *l)
{
	int64_t start = clock_mono_ns();

	l->has_gathered = false;
	l->looks = 0;
	l->until_in_all = 0;
	l->n_due = 0;
	l->round++;
	if (l->skip > 0)
		l->skip--;
	if (l->s->o.gathered != NULL)
		l->s->o.gathered(l->s->o.arg);
	l->more_ns = (clock_mono_ns() - start) / 4;
	if (l->more_ns > MORE_US * 1000)
		l->more_ns = MORE_US * 1000;
}

static void *
loop_run(void *arg)
{
	struct loop *l = arg;
	struct epoll_event ev[EVENTS];
	unsigned n;

	this_loop = l;
	while (!atomic_load(&l->is_stopping)) {
		serve_ready(l);
		n = wait_for_events(l, ev);
		for (unsigned i = 0; i < n; i++) {
			if (ev[i].data.ptr != NULL)
				on_event(l, &ev[i]);
		}
		if (l->has_gathered && n > 0 && ++l->looks >= LOOKS)
			store(l);
		else if (l->has_gathered && n == 0 && !waits_for_more(l))
			store(l);
		if (!l->has_gathered)
			look(l);
	}
	return NULL;
}

/* --- life --- */

int
fdfs_loop_start(struct fdfs_server *s, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct loop *l = mem_zalloc(sizeof(*l));
	int rc;

	if (l == NULL)
		return err_set(e, ERR_NO_MEMORY, "FastDFS server");
	l->s = s;
	l->ready_end = &l->ready;
	lock_init(&l->lock, LOCK_RANK_LEAF);
	l->fd = epoll_create1(EPOLL_CLOEXEC);
	l->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = l->fd < 0 || l->kick < 0 ||
	             epoll_ctl(l->fd, EPOLL_CTL_ADD, l->kick, &ev) != 0
	         ? err_set_errno(e, errno, "epoll")
	         : 0;
	s->loop = l;
	if (rc == 0)
		rc = thread_start(&l->thread, "fdfs-loop", loop_run, l, e);
	if (rc < 0) {
		if (l->fd >= 0)
			close(l->fd);
		if (l->kick >= 0)
			close(l->kick);
		lock_fini(&l->lock);
		mem_free(&s->loop);
	}
	return rc;
}

void
fdfs_loop_stop(struct fdfs_server *s)
{
	struct loop *l = s->loop;

	if (l == NULL)
		return;
	atomic_store(&l->is_stopping, true);
	kick(l);
	thread_join(l->thread);
	while (atomic_load(&l->callers) > 0)
		sched_yield();
	MUST(l->n == 0 && l->ready == NULL);
	close(l->fd);
	close(l->kick);
	lock_fini(&l->lock);
	mem_free(&s->loop);
}
