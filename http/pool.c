/* http/pool.c - see pool.h. The mutex is outside of all ranks: nothing is taken
 * inside, and thread_blocks() may be called with any lock held. */
#include "http/pool.h"

#include "http/internal.h"
#include "lib/clock.h"
#include "lib/futex.h"
#include "lib/mem.h"
#include "lib/thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	WATCH_MS = 2,
	ENOUGH = 8,      /* events in WATCH_MS to judge by */
	WATCH_IDLE = 50, /* looks without need until the watcher sleeps */
	ACTIVE_MAX = 64,
	EVENTS_MAX = 16
};

/* slot->park */
enum {
	PARK_OWNED,
	PARK_EVENT, /* owned, and an event has come */
	PARK_PARKED
};

#define KICK UINT32_MAX /* an event of p->kick, not of a slot */

struct sleeper {
	struct sleeper *next;
	_Atomic uint32_t go;
};

struct pool {
	int fd; /* epoll: each connection that was parked once */
	int narrow, wide;
	_Atomic int n; /* active threads wanted: one of both (watch()) */
	pthread_mutex_t m;
	struct sleeper *top; /* under m */
	_Atomic int active, sleeping;
	_Atomic int polling;     /* of the active: in epoll_wait() */
	_Atomic uint32_t taken;  /* events, and what was ready */
	_Atomic uint32_t waits;  /* of active threads, for something else */
	_Atomic uint32_t wanted; /* futex: the watcher sleeps while 0 */
	_Atomic bool is_stopping;
	pthread_t watcher;

	pthread_mutex_t ready_m;
	struct slot *ready, **ready_end; /* under ready_m: first come first */
	_Atomic unsigned n_ready;
	_Atomic unsigned callers; /* in pool_ready() */
	int kick;               /* eventfd in fd, edge-triggered: never read */
	_Atomic bool is_kicked; /* from the write to its event */
};

/* The pool in which this thread is active. */
static __thread struct pool *mine;

/* Under m: the last sleeper becomes active. */
static struct sleeper *
pop(struct pool *p)
{
	struct sleeper *s = p->top;

	if (s != NULL) {
		p->top = s->next;
		atomic_fetch_sub(&p->sleeping, 1);
		atomic_fetch_add(&p->active, 1);
	}
	return s;
}

static void
wake_one(struct pool *p, int below)
{
	struct sleeper *s = NULL;

	pthread_mutex_lock(&p->m);
	if (atomic_load(&p->active) < below)
		s = pop(p);
	pthread_mutex_unlock(&p->m);
	if (s != NULL) {
		atomic_store(&s->go, 1);
		futex_wake(&s->go, 1);
	}
}

/* Q5. Against next(): one of both sees what the other has set. */
static void
kick(struct pool *p)
{
	static const uint64_t one = 1;

	if (atomic_load(&p->polling) > 0 &&
	    !atomic_exchange(&p->is_kicked, true))
		MUST(write(p->kick, &one, sizeof(one)) == sizeof(one));
}

static void
watch_on(struct pool *p)
{
	if (atomic_load(&p->wanted) == 0 && atomic_exchange(&p->wanted, 1) == 0)
		futex_wake(&p->wanted, 1);
}

static void
add_ready(struct pool *p, struct slot *const *slots, unsigned n)
{
	pthread_mutex_lock(&p->ready_m);
	for (unsigned i = 0; i < n; i++) {
		slots[i]->next_ready = NULL;
		*p->ready_end = slots[i];
		p->ready_end = &slots[i]->next_ready;
	}
	atomic_fetch_add(&p->n_ready, n);
	pthread_mutex_unlock(&p->ready_m);
}

void
pool_ready(struct pool *p, struct slot *slot)
{
	/* The last request of all may have ended, and the pool with it, before
	 * this thread has returned. */
	atomic_fetch_add(&p->callers, 1);
	add_ready(p, &slot, 1);
	kick(p);
	atomic_fetch_sub(&p->callers, 1);
}

static struct slot *
take_ready(struct pool *p)
{
	struct slot *slot;
	unsigned left = 0;

	if (atomic_load(&p->n_ready) == 0)
		return NULL;
	pthread_mutex_lock(&p->ready_m);
	slot = p->ready;
	if (slot != NULL) {
		p->ready = slot->next_ready;
		if (p->ready == NULL)
			p->ready_end = &p->ready;
		left = atomic_fetch_sub(&p->n_ready, 1) - 1;
	}
	pthread_mutex_unlock(&p->ready_m);
	if (slot == NULL)
		return NULL;
	atomic_fetch_add_explicit(&p->taken, 1, memory_order_relaxed);
	if (left > 0)
		watch_on(p);
	return slot;
}

/* Q3. Against sleep_until_active(): one of both sees the other's count. */
static void
step_out(void)
{
	struct pool *p = mine;

	mine = NULL;
	thread_on_block = NULL;
	thread_rests = false;
	if (atomic_fetch_sub(&p->active, 1) <= p->n &&
	    atomic_load(&p->sleeping) > 0)
		wake_one(p, p->n);
	if (atomic_load(&p->n_ready) > 0)
		kick(p);
}

static void
on_block(void)
{
	atomic_fetch_add_explicit(&mine->waits, 1, memory_order_relaxed);
	step_out();
	thread_hurry();
}

static void
step_in(struct pool *p)
{
	mine = p;
	thread_on_block = on_block;
	thread_rests = true;
}

void
pool_leave(void)
{
	if (mine != NULL)
		step_out();
	thread_hurry();
}

/* Becomes active, at once if there is need. */
static void
sleep_until_active(struct pool *p)
{
	struct sleeper me = { .next = NULL };
	bool is_in = true;

	pthread_mutex_lock(&p->m);
	if (atomic_load(&p->active) < p->n) {
		atomic_fetch_add(&p->active, 1);
	} else {
		me.next = p->top;
		p->top = &me;
		atomic_fetch_add(&p->sleeping, 1);
		is_in = atomic_load(&p->active) < p->n && pop(p) == &me;
	}
	pthread_mutex_unlock(&p->m);
	while (!is_in && !atomic_load(&me.go))
		futex_wait(&me.go, 0);
	watch_on(p); /* it may be the first: see needs_no_watch() */
	step_in(p);
}

/* --- connections --- */

void
pool_forget(struct slot *slot)
{
	atomic_store(&slot->park, PARK_OWNED);
	slot->is_known = slot->is_quiet = false;
}

bool
pool_has(struct slot *slot)
{
	return atomic_load(&slot->park) == PARK_PARKED;
}

void
pool_was_empty(struct slot *slot)
{
	unit_set_drained(true);
	slot->is_unsure = false;
}

/* False: no memory in the kernel. It looks at what is there: nothing is lost. */
static bool
listen_to(struct pool *p, struct slot *slot, struct slot *slots,
    uint32_t events)
{
	struct epoll_event ev = { .events = events,
		.data = { .u32 = (uint32_t)(slot - slots) } };

	if (epoll_ctl(p->fd, slot->is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		slot->fd, &ev) != 0)
		return false;
	slot->is_known = true;
	return true;
}

void
pool_quiet(struct pool *p, struct slot *slot, struct slot *slots)
{
	if (slot->is_known && !slot->is_quiet && listen_to(p, slot, slots, 0))
		slot->is_quiet = true;
}

/* True: it is parked, and may be another's already. */
static bool
park(struct pool *p, struct slot *slot, struct slot *slots,
    enum unit_wait *ret_else)
{
	int park = PARK_OWNED;

	if (!slot->is_known || slot->is_quiet) {
		if (!listen_to(p, slot, slots,
			EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET)) {
			*ret_else = UNIT_WAITS;
			return false;
		}
		slot->is_quiet = slot->is_unsure = false;
	} else if (!slot->is_drained || slot->is_unsure) {
		*ret_else = UNIT_READS;
		return false;
	}
	if (!atomic_compare_exchange_strong(&slot->park, &park, PARK_PARKED)) {
		/* What the event told of may have been read already, but for
		 * an end. */
		atomic_store(&slot->park, PARK_OWNED);
		slot->is_unsure = true;
		*ret_else = UNIT_READS;
		return false;
	}
	if (mine != NULL && atomic_load(&p->active) > p->n) {
		thread_rest(); /* Q4a */
		step_out();
	}
	return true;
}

/* The caller is the owner of what @ev tells of; NULL: somebody else. */
static struct slot *
own(const struct epoll_event *ev, struct slot *slots)
{
	struct slot *slot = &slots[ev->data.u32];
	int park = PARK_PARKED;

	while (!atomic_compare_exchange_weak(&slot->park, &park,
	    park == PARK_PARKED ? PARK_OWNED : PARK_EVENT))
		;
	if (park != PARK_PARKED)
		return NULL;
	/* A read ends at urgent data too, which is more than it takes. */
	slot->is_unsure = (ev->events & ~(uint32_t)EPOLLIN) != 0;
	return slot;
}

/* Events within @ms. */
static unsigned
take_events(struct pool *p, struct slot *slots, struct slot **ret, int max,
    int ms)
{
	struct epoll_event ev[EVENTS_MAX];
	int n = epoll_wait(p->fd, ev, max, ms);
	unsigned got = 0;

	MUST(n >= 0 || errno == EINTR);
	for (int i = 0; i < n; i++) {
		struct slot *slot = NULL;

		if (ev[i].data.u32 == KICK)
			atomic_store(&p->is_kicked, false);
		else
			slot = own(&ev[i], slots);
		if (slot != NULL)
			ret[got++] = slot;
	}
	return got;
}

/* A thread that comes from a wait (a PUT, above all) takes what is there before
 * it goes to sleep, since the next one that waits would have to wake it again. */
static struct slot *
take_one(struct pool *p, struct slot *slots)
{
	struct slot *slot = take_ready(p);

	if (slot != NULL)
		return slot;
	if (take_events(p, slots, &slot, 1, 0) == 0) {
		/* It may have been a kick, which was for an active one. */
		slot = take_ready(p);
		if (atomic_load(&p->n_ready) > 0)
			kick(p);
		return slot;
	}
	atomic_fetch_add_explicit(&p->taken, 1, memory_order_relaxed);
	return slot;
}

/* Likewise, with as much time as it takes: what was put off is done first. */
static unsigned
take_or_rest(struct pool *p, struct slot *slots, struct slot **ret, int max)
{
	unsigned n = 0;

	if (atomic_load(&thread_is_put_off)) {
		n = take_events(p, slots, ret, max, 0);
		if (n == 0)
			thread_rest();
	}
	if (n == 0 && atomic_load(&p->n_ready) == 0)
		n = take_events(p, slots, ret, max, -1);
	return n;
}

/* The next that is ready or can be read, which is the caller's now. */
static struct slot *
next(struct pool *p, struct slot *slots)
{
	struct slot *slot;

	if (mine == NULL && atomic_load(&p->active) >= p->n) {
		slot = take_one(p, slots);
		if (slot != NULL)
			return slot;
	}
	if (mine == NULL)
		sleep_until_active(p);
	while ((slot = take_ready(p)) == NULL) {
		struct slot *got[EVENTS_MAX];
		int polling = atomic_fetch_add(&p->polling, 1);
		unsigned n = 0;

		if (atomic_load(&p->n_ready) == 0)
			n = take_or_rest(p, slots, got,
			    polling == 0 ? EVENTS_MAX : 1);
		polling = atomic_fetch_sub(&p->polling, 1);
		if (polling == 1)
			watch_on(p);
		if (n == 0)
			continue;
		atomic_fetch_add_explicit(&p->taken, 1, memory_order_relaxed);
		if (n > 1) {
			add_ready(p, got + 1, n - 1);
			kick(p);
		} else if (atomic_load(&p->n_ready) > 0) {
			/* It may have taken the kick along, and be held up. */
			watch_on(p);
		}
		return got[0];
	}
	return slot;
}

enum unit_wait
pool_wait(struct pool *p, struct mg_connection *conn, struct slot *slot,
    struct slot *slots)
{
	enum unit_wait what;

	if (slot != NULL) {
		slot->is_drained = unit_is_drained();
		unit_save(conn, slot->parked);
		if (!park(p, slot, slots, &what))
			return what;
	}
	for (;;) {
		struct http_req *r;

		slot = next(p, slots);
		r = slot->later;
		slot->later = NULL;
		what = UNIT_READS;
		if (r == NULL)
			break;
		/* What unit_detach() has saved is what it is now. */
		if (!http_later_run(r)) {
			what = UNIT_CLOSES;
			break;
		}
		if (!park(p, slot, slots, &what))
			break;
	}
	unit_load(conn, slot->parked);
	return what;
}

/* Where requests do not sleep, few active threads are best: each goes on with
 * what is there, and nobody has to be woken. Where most of them do, as PUTs, a
 * thread that is woken by its event costs less than one that takes the place of
 * another first. */
static void
choose_n(struct pool *p, uint32_t taken, uint32_t waits)
{
	if (taken >= ENOUGH)
		atomic_store(&p->n, waits > taken / 2 ? p->wide : p->narrow);
}

/* A thread waits for what comes, or there is none whom anything could hold up: no
 * connection, or none but with threads that wait for a client. Nor does anybody
 * stop it, whose wake-up was before the watcher meant to sleep. */
static bool
needs_no_watch(struct pool *p)
{
	return (atomic_load(&p->polling) > 0 || atomic_load(&p->active) == 0) &&
	       atomic_load(&p->n_ready) == 0 && !atomic_load(&p->is_stopping);
}

/* Q4 */
static void *
watch(void *arg)
{
	struct pool *p = arg;
	uint32_t seen = 0, seen_waits = 0;
	int idle = 0;

	while (!atomic_load(&p->is_stopping)) {
		uint32_t now = atomic_load(&p->taken);
		uint32_t waits = atomic_load(&p->waits);

		choose_n(p, now - seen, waits - seen_waits);
		seen_waits = waits;

		if (now == seen && atomic_load(&p->n_ready) > 0)
			kick(p); /* who was woken for them is held up */
		if (atomic_load(&p->polling) > 0 ||
		    atomic_load(&p->active) == 0) {
			if (++idle > WATCH_IDLE) {
				idle = 0;
				atomic_store(&p->wanted, 0);
				if (needs_no_watch(p))
					futex_wait(&p->wanted, 0);
				atomic_store(&p->wanted, 1);
			}
		} else {
			idle = 0;
			if (now == seen && atomic_load(&p->sleeping) > 0)
				wake_one(p, ACTIVE_MAX);
		}
		seen = now;
		clock_sleep_ms(WATCH_MS);
	}
	return NULL;
}

static int
open_fds(struct pool *p, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET,
		.data = { .u32 = KICK } };

	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0)
		return err_set_errno(e, errno, "epoll_create");
	p->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->kick < 0)
		return err_set_errno(e, errno, "eventfd");
	if (epoll_ctl(p->fd, EPOLL_CTL_ADD, p->kick, &ev) != 0)
		return err_set_errno(e, errno, "epoll_ctl");
	return 0;
}

static void
free_pool(struct pool *p)
{
	if (p->fd >= 0)
		close(p->fd);
	if (p->kick >= 0)
		close(p->kick);
	pthread_mutex_destroy(&p->ready_m);
	pthread_mutex_destroy(&p->m);
	mem_free(&p);
}

int
pool_start(struct pool **ret, struct err *e)
{
	struct pool *p = mem_zalloc(sizeof(*p));
	cpu_set_t cpus;
	int rc;

	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	p->fd = p->kick = -1;
	/* Two for each processor: of 2, 4, 8 and 16 on two processors, 4 had
	 * the fewest context switches, and the least CPU for a request. */
	p->narrow = 4;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
	    2 * CPU_COUNT(&cpus) > p->narrow)
		p->narrow = 2 * CPU_COUNT(&cpus);
	if (p->narrow > ACTIVE_MAX / 2)
		p->narrow = ACTIVE_MAX / 2;
	p->wide = 4 * p->narrow < ACTIVE_MAX ? 4 * p->narrow : ACTIVE_MAX;
	atomic_store(&p->n, p->narrow);
	pthread_mutex_init(&p->m, NULL);
	atomic_store(&p->wanted, 1);
	pthread_mutex_init(&p->ready_m, NULL);
	p->ready_end = &p->ready;
	rc = open_fds(p, e);
	if (rc == 0)
		rc = thread_start(&p->watcher, "http-watch", watch, p, e);
	if (rc < 0) {
		free_pool(p);
		return rc;
	}
	*ret = p;
	return 0;
}

void
pool_stop(struct pool **pp)
{
	struct pool *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	atomic_store(&p->is_stopping, true);
	atomic_store(&p->wanted, 1);
	futex_wake(&p->wanted, 1);
	thread_join(p->watcher);
	MUST(p->top == NULL && p->ready == NULL); /* Q1 */
	while (atomic_load(&p->callers) > 0)
		sched_yield();
	free_pool(p);
}
