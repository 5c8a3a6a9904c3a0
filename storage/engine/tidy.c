/* storage/engine/tidy.c - the background threads: one compacts and punches
 * holes, one scrubs. Both sleep most of the time and stop within one needle. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/thread.h"

enum {
	PUNCH_MS = 1000,
	PRESSED_MS = 5000
};

bool
tidy_sleep(struct engine *g, int64_t ms)
{
	int64_t until = clock_mono_ns() + ms * 1000000;
	bool go_on;

	lock_take(&g->tlock);
	while (!g->tidy_stop) {
		int64_t left = (until - clock_mono_ns() + 999999) / 1000000;

		if (left <= 0)
			break;
		cond_wait_ms(&g->tcond, &g->tlock,
		    left < 1000 ? (int)left : 1000);
	}
	go_on = !g->tidy_stop;
	lock_drop(&g->tlock);
	return go_on;
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

static void *
compactor_main(void *arg)
{
	struct engine *g = arg;
	int64_t last = clock_mono_ns();

	while (tidy_sleep(g, PUNCH_MS)) {
		int64_t every = tuned(g->c.compact_interval_s) * 1000;
		struct err e = ERR_INIT;

		punch_all(g);
		if (every == 0)
			continue;
		if (clock_mono_ns() - last <
		    (is_pressed(g) && every > PRESSED_MS ? PRESSED_MS : every) *
			1000000)
			continue;
		if (compact_all(g, &e) < 0 && g->c.event != NULL)
			g->c.event(g->c.event_arg, LOG_WARN, e.msg);
		last = clock_mono_ns();
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

	while (tidy_sleep(g, 60 * 1000)) {
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
