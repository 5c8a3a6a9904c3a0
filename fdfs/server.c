/* fdfs/server.c - the accepting half of the server loop.
 * A connection is in s->active from accept() until its end. Its socket is closed
 * by whoever serves it after it left s->active, so that nobody shuts a number that
 * has become another's. A worker that ends is in s->done until the accepting
 * thread has joined and freed it. */
#include "fdfs/server_impl.h"

#include "fdfs/net.h"

#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void
wake(struct fdfs_server *s)
{
	uint64_t one = 1;
	ssize_t n;

	do {
		n = write(s->wake, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
}

/* --- called on a connection's thread --- */

bool
fdfs_conn_set_idle(struct fdfs_conn *c, bool idle)
{
	bool go_on;

	lock_take(&c->s->lock);
	c->is_idle = idle;
	c->idle_since = clock_mono_ns();
	go_on = !c->was_shut && !(idle && c->s->stopping);
	lock_drop(&c->s->lock);
	return go_on;
}

void
fdfs_conn_leave(struct fdfs_conn *c)
{
	struct fdfs_server *s = c->s;

	lock_take(&s->lock);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		s->active = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	s->n_active--;
	cond_broadcast(&s->gone);
	lock_drop(&s->lock);
	close(c->fd);
	c->magic = 0;
	mem_free(&c);
}

/* --- workers --- */

static void *
worker_run(void *arg)
{
	struct worker *w = arg;
	struct fdfs_server *s = w->s;
	struct fdfs_conn *c = w->c;

	while (c != NULL) {
		fdfs_conn_run(c);
		lock_take(&s->lock);
		w->c = NULL;
		if (s->loop != NULL && !s->stopping &&
		    s->n_idle < WORKERS_IDLE) {
			w->next = s->idle;
			s->idle = w;
			s->n_idle++;
			while (w->c == NULL && !s->stopping)
				cond_wait(&w->go, &s->lock);
		}
		c = w->c;
		lock_drop(&s->lock);
	}
	lock_take(&s->lock);
	w->next = s->done;
	s->done = w;
	cond_broadcast(&s->gone);
	lock_drop(&s->lock);
	wake(s); /* it joins this thread before it goes */
	return NULL;
}

/* Under the lock. */
static int
worker_new(struct fdfs_conn *c, struct err *e)
{
	struct worker *w = mem_zalloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, "a connection's thread");
	w->s = c->s;
	w->c = c;
	cond_init(&w->go);
	rc = thread_start(&w->thread, "fdfs-conn", worker_run, w, e);
	if (rc < 0) {
		cond_fini(&w->go);
		mem_free(&w);
		return rc;
	}
	c->s->n_started++;
	return 0;
}

int
fdfs_conn_give(struct fdfs_conn *c, struct err *e)
{
	struct fdfs_server *s = c->s;
	struct worker *w;
	int rc = 0;

	lock_take(&s->lock);
	w = s->idle;
	if (w != NULL && !s->stopping) {
		s->idle = w->next;
		s->n_idle--;
		w->c = c;
		cond_signal(&w->go);
	} else {
		rc = worker_new(c, e);
	}
	lock_drop(&s->lock);
	return rc;
}

/* --- the accepting thread --- */

/* Joins and frees those that ended. */
static void
reap(struct fdfs_server *s)
{
	struct worker *w;

	lock_take(&s->lock);
	w = s->done;
	s->done = NULL;
	lock_drop(&s->lock);
	while (w != NULL) {
		struct worker *next = w->next;

		thread_join(w->thread);
		cond_fini(&w->go);
		mem_free(&w);
		s->n_joined++; /* one thread reaps at a time */
		w = next;
	}
}

/* Shuts the connection that was idle longest; it ends by itself. */
static bool
make_room(struct fdfs_server *s)
{
	struct fdfs_conn *c, *oldest = NULL;

	lock_take(&s->lock);
	for (c = s->active; c != NULL; c = c->next) {
		if (c->is_idle && !c->was_shut &&
		    (oldest == NULL || c->idle_since < oldest->idle_since))
			oldest = c;
	}
	if (oldest != NULL) {
		oldest->was_shut = true;
		shutdown(oldest->fd, SHUT_RDWR);
	}
	lock_drop(&s->lock);
	return oldest != NULL;
}

/* The one that was shut needs a moment to leave. */
static bool
is_still_full(struct fdfs_server *s)
{
	bool full;

	lock_take(&s->lock);
	for (int i = 0; i < 25; i++) {
		full = s->n_active >= s->o.max_connections;
		if (!full)
			break;
		cond_wait_ms(&s->gone, &s->lock, 20);
	}
	lock_drop(&s->lock);
	return full;
}

static void
serve(struct fdfs_server *s, int fd, const struct fdfs_addr *peer)
{
	struct fdfs_conn *c;
	struct err e;

	c = mem_zalloc(sizeof(*c));
	if (c == NULL) {
		atomic_fetch_add(&s->refused, 1);
		close(fd);
		return;
	}
	c->magic = CONN_MAGIC;
	c->s = s;
	c->fd = fd;
	c->peer = *peer;
	c->is_idle = true;
	c->idle_since = clock_mono_ns();
	lock_take(&s->lock);
	c->next = s->active;
	if (c->next != NULL)
		c->next->prev = c;
	s->active = c;
	if (++s->n_active > s->most)
		s->most = s->n_active;
	lock_drop(&s->lock);
	if (fdfs_conn_give(c, &e) < 0) {
		atomic_fetch_add(&s->refused, 1);
		fdfs_conn_leave(c);
		return;
	}
	atomic_fetch_add(&s->accepted, 1);
}

static void
take(struct fdfs_server *s)
{
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);
	struct fdfs_addr peer;
	bool full;
	int fd;

	fd = accept4(s->listener, (struct sockaddr *)&from, &len,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* Out of descriptors: an idle connection gives one back. */
		if (errno == EMFILE || errno == ENFILE) {
			make_room(s);
			clock_sleep_ms(10);
		}
		return;
	}
	fdfs_net_peer(&from, &peer);
	lock_take(&s->lock);
	full = s->n_active >= s->o.max_connections;
	lock_drop(&s->lock);
	if ((s->o.allow != NULL && !s->o.allow(s->o.arg, &peer)) ||
	    (full && (!make_room(s) || is_still_full(s)))) {
		atomic_fetch_add(&s->refused, 1);
		close(fd);
		return;
	}
	fdfs_net_setup(fd);
	serve(s, fd, &peer);
}

static void *
accept_run(void *arg)
{
	struct fdfs_server *s = arg;
	struct pollfd p[2] = { { .fd = s->listener, .events = POLLIN },
		{ .fd = s->wake, .events = POLLIN } };
	uint64_t n;

	while (!atomic_load(&s->is_stopping)) {
		if (poll(p, 2, -1) < 0)
			continue; /* EINTR */
		if (p[1].revents != 0 && read(s->wake, &n, sizeof(n)) > 0)
			reap(s);
		if (p[0].revents != 0 && !atomic_load(&s->is_stopping))
			take(s);
	}
	return NULL;
}

/* --- life --- */

static void
set_defaults(struct fdfs_server_opts *o)
{
	if (o->host == NULL)
		o->host = "";
	if (o->max_connections == 0)
		o->max_connections = 1000;
	if (o->max_memory == 0)
		o->max_memory = (size_t)64 << 20;
	if (o->idle_ms == 0)
		o->idle_ms = 3600 * 1000;
	if (o->head_ms == 0)
		o->head_ms = 30 * 1000;
	if (o->io_ms == 0)
		o->io_ms = 30 * 1000;
	if (o->min_rate == 0)
		o->min_rate = 1024;
}

static bool
needs_loop(const struct fdfs_server_opts *o)
{
	for (size_t i = 0; i < o->n_routes; i++) {
		if (o->routes[i].later != NULL)
			return true;
	}
	return false;
}

int
fdfs_server_open(const struct fdfs_server_opts *o, struct fdfs_server **ret,
    struct err *e)
{
	struct fdfs_server *s;
	int rc;

	MUST(o->kind == FDFS_TRACKER || o->kind == FDFS_STORAGE);
	s = mem_zalloc(sizeof(*s));
	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, "FastDFS server");
	s->magic = SERVER_MAGIC;
	s->o = *o;
	set_defaults(&s->o);
	s->o.routes = NULL; /* the caller's; copied below */
	for (size_t i = 0; i < o->n_routes; i++)
		s->route[o->routes[i].command->number] = o->routes[i];
	lock_init(&s->lock, LOCK_RANK_LEAF);
	cond_init(&s->gone);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake < 0) {
		rc = err_set_errno(e, errno, "eventfd");
		goto out_free;
	}
	rc = fdfs_net_listen(s->o.host, o->port, &s->listener, &s->port, e);
	if (rc < 0)
		goto out_wake;
	rc = needs_loop(o) ? fdfs_loop_start(s, e) : 0;
	if (rc < 0)
		goto out_listener;
	rc = thread_start(&s->thread, "fdfs-accept", accept_run, s, e);
	if (rc < 0)
		goto out_loop;
	*ret = s;
	return 0;
out_loop:
	fdfs_loop_stop(s);
out_listener:
	close(s->listener);
out_wake:
	close(s->wake);
out_free:
	cond_fini(&s->gone);
	lock_fini(&s->lock);
	mem_free(&s);
	return rc;
}

uint16_t
fdfs_server_port(const struct fdfs_server *s)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	return s->port;
}

/* With the lock held: shuts those that are idle, or all. */
static void
shut_down(struct fdfs_server *s, bool all)
{
	for (struct fdfs_conn *c = s->active; c != NULL; c = c->next) {
		if (!c->was_shut && (all || c->is_idle)) {
			c->was_shut = true;
			shutdown(c->fd, SHUT_RDWR);
		}
	}
}

void
fdfs_server_stop(struct fdfs_server *s, int drain_ms)
{
	int64_t end = clock_mono_ns() + (int64_t)drain_ms * 1000000;
	bool was_stopped;

	OBJ_CHECK(s, SERVER_MAGIC);
	lock_take(&s->lock);
	was_stopped = s->stopping;
	s->stopping = true;
	for (; s->idle != NULL; s->idle = s->idle->next)
		cond_signal(&s->idle->go);
	lock_drop(&s->lock);
	if (was_stopped)
		return;
	atomic_store(&s->is_stopping, true);
	wake(s);
	thread_join(s->thread);
	close(s->listener);
	lock_take(&s->lock);
	shut_down(s, false);
	while (s->n_active > 0 && clock_mono_ns() < end)
		cond_wait_ms(&s->gone, &s->lock, 20);
	shut_down(s, true);
	while (s->n_active > 0)
		cond_wait_ms(&s->gone, &s->lock, 100);
	lock_drop(&s->lock);
	/* Those that served the last connections, or gave them to the loop, may
	 * not be in s->done yet. */
	for (;;) {
		reap(s);
		lock_take(&s->lock);
		if (s->n_joined == s->n_started) {
			lock_drop(&s->lock);
			break;
		}
		if (s->done == NULL)
			cond_wait_ms(&s->gone, &s->lock, 100);
		lock_drop(&s->lock);
	}
	fdfs_loop_stop(s);
}

void
fdfs_server_close(struct fdfs_server **sp, int drain_ms)
{
	struct fdfs_server *s = *sp;

	if (s == NULL)
		return;
	fdfs_server_stop(s, drain_ms);
	*sp = NULL;
	close(s->wake);
	cond_fini(&s->gone);
	lock_fini(&s->lock);
	mem_free(&s);
}

void
fdfs_server_stat(struct fdfs_server *s, struct fdfs_server_stat *ret)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	*ret = (struct fdfs_server_stat){
		.limit = s->o.max_connections,
		.accepted = atomic_load(&s->accepted),
		.refused = atomic_load(&s->refused),
		.requests = atomic_load(&s->requests),
		.failed = atomic_load(&s->failed),
		.memory = atomic_load(&s->memory),
	};
	lock_take(&s->lock);
	ret->connections = s->n_active;
	ret->most = s->most;
	lock_drop(&s->lock);
}
