/* storage/replication/threads.c - see storage/replication/threads.h.
 * One lock for all gates and sleepers: it is held for a few instructions. */
#include "storage/replication/threads.h"

#include "lib/clock.h"
#include "lib/lock.h"
#include "lib/mem.h"
#include "lib/thread.h"

enum {
	THREADS_MAGIC = 0x52657054,
	GATE_MAGIC = 0x52657047,
	MAX_TASKS = 96
};

struct task {
	struct rep_threads *t;
	struct task *next; /* of t->done */
	pthread_t thread;
	void (*fn)(void *arg);
	void *arg;
};

struct gate {
	unsigned magic;
	struct gate *next, *prev;
	struct cond cond;
	bool is_signalled;
};

struct rep_threads {
	unsigned magic;
	struct rpc_client *client;
	void (*event)(void *arg, int level, const char *text);
	void *arg;
	struct lock lock; /* the fields below */
	struct cond cond; /* sleepers; tasks that end */
	bool is_stopped;
	struct gate *gates;
	struct task *done; /* to be joined */
	unsigned n_tasks;  /* running */
};

/* --- life --- */

int
rep_threads_open(const struct rep_threads_opts *o, struct rep_threads **ret,
    struct err *e)
{
	struct rep_threads *t = mem_zalloc(sizeof(*t));
	int rc;

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, "tasks");
	rc = rpc_client_open(&o->client, &t->client, e);
	if (rc < 0) {
		mem_free(&t);
		return rc;
	}
	t->magic = THREADS_MAGIC;
	t->event = o->event;
	t->arg = o->arg;
	lock_init(&t->lock, LOCK_RANK_LEAF);
	cond_init(&t->cond);
	*ret = t;
	return 0;
}

struct rpc_client *
rep_threads_client(struct rep_threads *t)
{
	OBJ_CHECK(t, THREADS_MAGIC);
	return t->client;
}

void
rep_threads_stop(struct rep_threads *t)
{
	OBJ_CHECK(t, THREADS_MAGIC);
	lock_take(&t->lock);
	t->is_stopped = true;
	cond_broadcast(&t->cond);
	for (struct gate *g = t->gates; g != NULL; g = g->next)
		cond_broadcast(&g->cond);
	lock_drop(&t->lock);
	rpc_client_stop(t->client);
}

/* Joins those that ended. */
static void
reap(struct rep_threads *t)
{
	struct task *task;

	lock_take(&t->lock);
	task = t->done;
	t->done = NULL;
	lock_drop(&t->lock);
	while (task != NULL) {
		struct task *next = task->next;

		thread_join(task->thread);
		mem_free(&task);
		task = next;
	}
}

void
rep_threads_close(struct rep_threads **tp)
{
	struct rep_threads *t = *tp;

	if (t == NULL)
		return;
	rep_threads_stop(t);
	*tp = NULL;
	lock_take(&t->lock);
	while (t->n_tasks > 0)
		cond_wait(&t->cond, &t->lock);
	MUST(t->gates == NULL);
	lock_drop(&t->lock);
	reap(t);
	cond_fini(&t->cond);
	lock_fini(&t->lock);
	rpc_client_close(&t->client);
	mem_free(&t);
}

/* --- the operations --- */

static bool
is_stopped(struct rep_threads *t)
{
	bool stopped;

	lock_take(&t->lock);
	stopped = t->is_stopped;
	lock_drop(&t->lock);
	return stopped;
}

static int
threads_call(void *env, const struct fdfs_addr *to, const struct rpc_request *q,
    int timeout_ms, struct rpc_reply *r, struct err *e)
{
	struct rep_threads *t = env;

	OBJ_CHECK(t, THREADS_MAGIC);
	return rpc_call(t->client, to, q, timeout_ms, r, e);
}

static int64_t
threads_now_ms(void *env)
{
	(void)env;
	return clock_mono_ns() / 1000000;
}

static int64_t
threads_real_s(void *env)
{
	(void)env;
	return clock_real_s();
}

static uint64_t
threads_random(void *env)
{
	(void)env;
	return rand_u64();
}

static bool
threads_sleep(void *env, int64_t ms)
{
	struct rep_threads *t = env;
	int64_t left, end = clock_mono_ns() + ms * 1000000;
	bool stopped;

	OBJ_CHECK(t, THREADS_MAGIC);
	lock_take(&t->lock);
	while (!t->is_stopped) {
		left = (end - clock_mono_ns() + 999999) / 1000000;
		if (left <= 0)
			break;
		cond_wait_ms(&t->cond, &t->lock,
		    left > 60000 ? 60000 : (int)left);
	}
	stopped = t->is_stopped;
	lock_drop(&t->lock);
	if (stopped) /* who waits for tasks to end asks again and again */
		clock_sleep_ms(1);
	return !stopped;
}

static void *
run_task(void *arg)
{
	struct task *task = arg;
	struct rep_threads *t = task->t;

	task->fn(task->arg);
	lock_take(&t->lock);
	task->thread = pthread_self();
	task->next = t->done;
	t->done = task;
	t->n_tasks--;
	cond_broadcast(&t->cond);
	lock_drop(&t->lock);
	return NULL;
}

static int
threads_spawn(void *env, void (*fn)(void *arg), void *arg, struct err *e)
{
	struct rep_threads *t = env;
	struct task *task;
	pthread_t thread; /* run_task() notes its own, in time */
	bool stopped, full;
	int rc;

	OBJ_CHECK(t, THREADS_MAGIC);
	reap(t);
	task = mem_zalloc(sizeof(*task));
	if (task == NULL)
		return err_set(e, ERR_NO_MEMORY, "task");
	task->t = t;
	task->fn = fn;
	task->arg = arg;
	lock_take(&t->lock);
	stopped = t->is_stopped;
	full = t->n_tasks >= MAX_TASKS;
	if (!stopped && !full)
		t->n_tasks++;
	lock_drop(&t->lock);
	if (stopped || full) {
		mem_free(&task);
		return stopped ? err_set(e, ERR_CLOSED, "this node is stopping")
		               : err_set(e, ERR_BUSY, "%d tasks already",
				     MAX_TASKS);
	}
	rc = thread_start(&thread, "rep-task", run_task, task, e);
	if (rc < 0) {
		lock_take(&t->lock);
		t->n_tasks--;
		lock_drop(&t->lock);
		mem_free(&task);
	}
	return rc;
}

static void *
threads_gate_new(void *env)
{
	struct rep_threads *t = env;
	struct gate *g = mem_zalloc(sizeof(*g));

	OBJ_CHECK(t, THREADS_MAGIC);
	if (g == NULL)
		return NULL;
	g->magic = GATE_MAGIC;
	cond_init(&g->cond);
	lock_take(&t->lock);
	g->next = t->gates;
	if (g->next != NULL)
		g->next->prev = g;
	t->gates = g;
	lock_drop(&t->lock);
	return g;
}

static void
threads_gate_free(void *env, void *gate)
{
	struct rep_threads *t = env;
	struct gate *g = gate;

	if (g == NULL)
		return;
	OBJ_CHECK(g, GATE_MAGIC);
	lock_take(&t->lock);
	if (g->prev != NULL)
		g->prev->next = g->next;
	else
		t->gates = g->next;
	if (g->next != NULL)
		g->next->prev = g->prev;
	lock_drop(&t->lock);
	cond_fini(&g->cond);
	mem_free(&g);
}

static void
threads_gate_signal(void *env, void *gate)
{
	struct rep_threads *t = env;
	struct gate *g = gate;

	OBJ_CHECK(g, GATE_MAGIC);
	lock_take(&t->lock);
	g->is_signalled = true;
	cond_broadcast(&g->cond);
	lock_drop(&t->lock);
}

static bool
threads_gate_wait(void *env, void *gate, int64_t ms)
{
	struct rep_threads *t = env;
	struct gate *g = gate;
	int64_t left, end = clock_mono_ns() + ms * 1000000;
	bool signalled;

	OBJ_CHECK(g, GATE_MAGIC);
	lock_take(&t->lock);
	while (!g->is_signalled && !t->is_stopped) {
		left = (end - clock_mono_ns() + 999999) / 1000000;
		if (left <= 0)
			break;
		cond_wait_ms(&g->cond, &t->lock,
		    left > 60000 ? 60000 : (int)left);
	}
	signalled = g->is_signalled;
	lock_drop(&t->lock);
	return signalled;
}

static void
threads_event(void *env, int level, const char *text)
{
	struct rep_threads *t = env;

	OBJ_CHECK(t, THREADS_MAGIC);
	if (t->event != NULL && !is_stopped(t))
		t->event(t->arg, level, text);
}

const struct rep_env_ops rep_thread_ops = {
	.call = threads_call,
	.now_ms = threads_now_ms,
	.real_s = threads_real_s,
	.random = threads_random,
	.sleep = threads_sleep,
	.spawn = threads_spawn,
	.gate_new = threads_gate_new,
	.gate_free = threads_gate_free,
	.gate_signal = threads_gate_signal,
	.gate_wait = threads_gate_wait,
	.event = threads_event,
};
