/* storage/engine/tidy.c - the background threads: one compacts and punches
 * holes, one scrubs. Both sleep most of the time and stop within one needle. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/thread.h"

enum {
	PUNCH_MS = 1000,
	PRESSED_MS = 5000,
	SCRUB_MS = 60000,
	REST_MS = 60000 /* the longest, between looks */
};

/* Until @ms have passed; with @rests, or until something is wanted. */
static bool
nap(struct engine *g, int64_t ms, bool rests)
{
	int64_t until = clock_mono_ns() + ms * 1000000;
	bool go_on;

	lock_take(&g->tlock);
	while (!g->tidy_stop && !(rests && atomic_load(&g->tidy_wanted))) {
		int64_t left = (until - clock_mono_ns() + 999999) / 1000000;

		if (left <= 0)
			break;
		cond_wait_ms(&g->tcond, &g->tlock,
		    left < REST_MS ? (int)left : REST_MS);
	}
	go_on = !g->tidy_stop;
	lock_drop(&g->tlock);
	return go_on;
}

bool
tidy_sleep(struct engine *g, int64_t ms)
{
	return nap(g, ms, false);
}

void
tidy_want(struct engine *g)
{
	if (atomic_load(&g->tidy_wanted))
		return;
	lock_take(&g->tlock);
	atomic_store(&g->tidy_wanted, true);
	cond_broadcast(&g->tcond);
	lock_drop(&g->tlock);
}

/* --- compaction --- */

static int
compact_all(struct engine *g, struct err *e)
{
	int rc = 0;

	lock_take(&g->compact_lock);
	for (size_t i = 0; i < g->n_paths && !g->tidy_stop; i++) {
		struct path *p = g->paths[i];
		struct err why = ERR_INIT;
		unsigned percent = tuned(g->c.compact_percent);
		int one;

		if (p->is_failed)
			continue;
		path_space(p);
		/* Little space: what is less dead is worth it too. */
		if (p->is_full ||
		    atomic_load(&p->avail) < 2 * tuned(g->c.reserved))
			percent = percent < 10 ? percent : 10;
		one = compact_pass(p, percent, &why);
		if (one < 0 && rc == 0) {
			rc = one;
			if (e != NULL)
				*e = why;
		}
	}
	lock_drop(&g->compact_lock);
	return rc;
}

static void
punch_all(struct engine *g)
{
	lock_take(&g->compact_lock);
	for (size_t i = 0; i < g->n_paths; i++)
		punch_pass(g->paths[i]);
	lock_drop(&g->compact_lock);
}

int
engine_compact_now(struct engine *g, struct err *e)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	/* Twice: what went first may let tombstones go. */
	for (int i = 0; i < 2; i++) {
		int rc = compact_all(g, e);

		if (rc < 0)
			return rc;
	}
	punch_all(g);
	return 0;
}

/* A full path with dead bytes does not wait for its turn. */
static bool
is_pressed(struct engine *g)
{
	for (size_t i = 0; i < g->n_paths; i++) {
		struct path *p = g->paths[i];

		if (p->is_full && !p->is_failed)
			return true;
	}
	return false;
}

/* How long until it is due: 0 is now. */
static int64_t
compact_left_ms(struct engine *g, int64_t last_ns)
{
	int64_t every = tuned(g->c.compact_interval_s) * 1000, left;

	if (every == 0)
		return INT64_MAX;
	if (every > PRESSED_MS && is_pressed(g))
		every = PRESSED_MS;
	left = every - (clock_mono_ns() - last_ns) / 1000000;
	return left > 0 ? left : 0;
}

static void *
compactor_main(void *arg)
{
	struct engine *g = arg;
	int64_t last = clock_mono_ns(), left;

	/* What is wanted comes in many pieces: a look each second is enough. */
	while (tidy_sleep(g, PUNCH_MS)) {
		struct err e = ERR_INIT;

		atomic_store(&g->tidy_wanted, false);
		punch_all(g);
		left = compact_left_ms(g, last);
		if (left == 0) {
			if (compact_all(g, &e) < 0 && g->c.event != NULL)
				g->c.event(g->c.event_arg, LOG_WARN, e.msg);
			last = clock_mono_ns();
			left = compact_left_ms(g, last);
		}
		if (left > PUNCH_MS)
			nap(g, left < REST_MS ? left - PUNCH_MS : REST_MS,
			    true);
	}
	return NULL;
}

/* --- scrub --- */

static int
scrub_all(struct engine *g, uint64_t rate, bool forced, struct err *e)
{
	int rc = 0;

	lock_take(&g->scrub_lock);
	for (size_t i = 0; i < g->n_paths && rc == 0 && !g->tidy_stop; i++) {
		struct path *p = g->paths[i];

		if (forced || clock_real_s() - p->scrub_last_s >=
				  tuned(g->c.scrub_interval_s))
			rc = scrub_pass(p, rate, e);
	}
	lock_drop(&g->scrub_lock);
	return rc;
}

int
engine_scrub_now(struct engine *g, struct err *e)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
	return scrub_all(g, 0, true, e);
}

static void *
scrubber_main(void *arg)
{
	struct engine *g = arg;

	while (tidy_sleep(g, SCRUB_MS)) {
		uint64_t rate = tuned(g->c.scrub_rate);
		struct err e = ERR_INIT;

		if (rate == 0)
			continue;
		if (scrub_all(g, rate, false, &e) < 0 && g->c.event != NULL)
			g->c.event(g->c.event_arg, LOG_WARN, e.msg);
	}
	return NULL;
}

void
engine_tune(struct engine *g, const struct engine_conf *c)
{
	OBJ_CHECK(g, ENGINE_MAGIC);
#define TUNE(field) __atomic_store_n(&g->c.field, c->field, __ATOMIC_RELAXED)
	TUNE(reserved);
	TUNE(scrub_rate);
	TUNE(scrub_interval_s);
	TUNE(compact_percent);
	TUNE(compact_interval_s);
#undef TUNE
	tidy_want(g);
}

int
tidy_start(struct engine *g, struct err *e)
{
	int rc =
	    thread_start(&g->compactor, "store-compact", compactor_main, g, e);

	if (rc < 0)
		return rc;
	g->has_compactor = true;
	rc = thread_start(&g->scrubber, "store-scrub", scrubber_main, g, e);
	g->has_scrubber = rc == 0;
	return rc;
}

void
tidy_stop(struct engine *g)
{
	lock_take(&g->tlock);
	g->tidy_stop = true;
	cond_broadcast(&g->tcond);
	lock_drop(&g->tlock);
	if (g->has_compactor)
		thread_join(g->compactor);
	if (g->has_scrubber)
		thread_join(g->scrubber);
	g->has_compactor = g->has_scrubber = false;
}
