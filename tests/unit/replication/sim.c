/* tests/unit/replication/sim.c - tasks, time, messages; see sim.h. */
#include "tests/unit/replication/sim_int.h"

#include "lib/log.h"
#include "lib/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK (512 * 1024)
#else
#define STACK (256 * 1024)
#endif

struct task {
	ucontext_t ctx;
	char *stack;
	struct task *next; /* in the list of all, or of the idle ones */
	void (*fn)(void *arg);
	void *arg;
	int node, home; /* whose it is now; who spawned it */
	bool is_waiting, is_done;
	int64_t until;
	struct gate *gate;
	void *fake_stack;
};

struct gate {
	bool is_open;
};

struct node {
	bool is_up, is_stopping, garbles;
	unsigned inside;
	rpc_handler *fn;
	void *arg;
	struct rpc_from self;
	unsigned held; /* operation; 0: none */
	int64_t slow_ms, real_off, mono_off;
	struct sim_disk *disk;
	struct node_env {
		struct sim *s;
		int node;
	} env;
};

struct sim {
	uint64_t seed, rng, history;
	int64_t now;
	struct task *tasks, *idle, *current;
	size_t n_tasks;
	ucontext_t main_ctx;
	const void *main_bottom;
	size_t main_size;
	void *main_fake;
	bool is_tracing, is_calm;
	size_t small;
	unsigned lose_one_in, garbled;
	int64_t net_ms;
	bool cut[SIM_NODES][SIM_NODES];
	struct node nodes[SIM_NODES];
};

/* --- chance --- */

uint64_t
sim_random(struct sim *s)
{
	uint64_t z = (s->rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t
sim_below(struct sim *s, uint64_t n)
{
	MUST(n > 0);
	return sim_random(s) % n;
}

bool
sim_once_in(struct sim *s, uint64_t n)
{
	return n > 0 && sim_below(s, n) == 0;
}

uint64_t
sim_seed(const struct sim *s)
{
	return s->seed;
}

uint64_t
sim_history(const struct sim *s)
{
	return s->history;
}

static void
note(struct sim *s, uint64_t what)
{
	s->history =
	    (s->history ^ what) * UINT64_C(0x100000001b3) ^ (uint64_t)s->now;
}

void
sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->is_tracing)
		return;
	fprintf(stderr, "%8jd ", (intmax_t)s->now);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void
sim_fail(const struct sim *s, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "\nCREEL_SIM_SEED=%ju at %jd ms: ", (uintmax_t)s->seed,
	    (intmax_t)s->now);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

uint64_t
sim_setting(const char *env, uint64_t otherwise)
{
	const char *p = getenv(env);
	uint64_t v;

	return p != NULL && str_to_u64(str_of(p), UINT64_MAX, &v) ? v
	                                                          : otherwise;
}

uint64_t
sim_runs(const char *env, uint64_t few, uint64_t many, uint64_t sanitized)
{
	const char *full = getenv("CREEL_FULL");

#if defined(__SANITIZE_ADDRESS__)
	many = sanitized;
#else
	(void)sanitized;
#endif
	return sim_setting(env, full != NULL && full[0] != '\0' ? many : few);
}

/* --- tasks --- */

static void
to_task(struct sim *s, struct task *t)
{
	s->current = t;
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&s->main_fake, t->stack, STACK);
#endif
	MUST(swapcontext(&s->main_ctx, &t->ctx) == 0);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(s->main_fake, NULL, NULL);
#endif
	s->current = NULL;
}

static void
to_main(struct sim *s, struct task *t)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&t->fake_stack, s->main_bottom,
	    s->main_size);
#endif
	MUST(swapcontext(&t->ctx, &s->main_ctx) == 0);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(t->fake_stack, &s->main_bottom,
	    &s->main_size);
#endif
}

static void
task_main(unsigned hi, unsigned lo)
{
	struct sim *s = (struct sim *)(((uintptr_t)hi << 32) | (uintptr_t)lo);
	struct task *t = s->current;

#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(NULL, &s->main_bottom, &s->main_size);
#endif
	for (;;) { /* a fiber serves one task after another */
		t->fn(t->arg);
		t->is_done = true;
		to_main(s, t);
	}
}

/* getcontext() returns twice, as far as the compiler knows: no locals here. */
static void
fiber_init(struct task *t, unsigned hi, unsigned lo)
{
	MUST(getcontext(&t->ctx) == 0);
	t->ctx.uc_stack.ss_sp = t->stack;
	t->ctx.uc_stack.ss_size = STACK;
	makecontext(&t->ctx, (void (*)(void))(void *)task_main, 2, hi, lo);
}

static struct task *
task_new(struct sim *s)
{
	struct task *t = mem_zalloc(sizeof(*t));
	uintptr_t p = (uintptr_t)s;

	MUST(t != NULL);
	t->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(t->stack != MAP_FAILED);
	fiber_init(t, (unsigned)(p >> 32), (unsigned)(p & 0xffffffffu));
	return t;
}

void
sim_spawn(struct sim *s, int node, void (*fn)(void *arg), void *arg)
{
	struct task *t = s->idle;

	if (t != NULL)
		s->idle = t->next;
	else
		t = task_new(s);
	t->fn = fn;
	t->arg = arg;
	t->node = t->home = node;
	t->is_waiting = t->is_done = false;
	t->gate = NULL;
	t->next = s->tasks;
	s->tasks = t;
	s->n_tasks++;
}

static bool
is_runnable(const struct task *t, int64_t now)
{
	return !t->is_waiting || t->until <= now ||
	       (t->gate != NULL && t->gate->is_open);
}

/* The next task, a random one of those that can run; time moves on when none
 * can. NULL: nothing is left before @until. */
static struct task *
pick(struct sim *s, int64_t until)
{
	struct task *t, *best = NULL;
	size_t n = 0;
	int64_t next = INT64_MAX;

	for (t = s->tasks; t != NULL; t = t->next) {
		if (is_runnable(t, s->now)) {
			n++;
			if (sim_below(s, n) == 0)
				best = t;
		} else if (t->until < next) {
			next = t->until;
		}
	}
	if (best != NULL || s->tasks == NULL)
		return best;
	MUST(next != INT64_MAX && "every task waits for ever");
	if (next > until)
		return NULL;
	s->now = next;
	return pick(s, until);
}

static void
retire(struct sim *s, struct task *t)
{
	struct task **pp = &s->tasks;

	while (*pp != t)
		pp = &(*pp)->next;
	*pp = t->next;
	t->next = s->idle;
	s->idle = t;
	s->n_tasks--;
}

bool
sim_run(struct sim *s, int64_t until_ms)
{
	struct task *t;

	while (s->tasks != NULL) {
		t = pick(s, until_ms);
		if (t == NULL)
			return false;
		t->is_waiting = false;
		note(s, (uint64_t)t->node);
		to_task(s, t);
		if (t->is_done)
			retire(s, t);
	}
	return true;
}

int64_t
sim_now(const struct sim *s)
{
	return s->now;
}

/* Waits for @g (NULL: only for time). */
static void
wait_until(struct sim *s, struct gate *g, int64_t until)
{
	struct task *t = s->current;

	MUST(t != NULL);
	t->is_waiting = true;
	t->until = until;
	t->gate = g;
	to_main(s, t);
	t->gate = NULL;
}

/* From within a task: gives others a turn. */
static void
yield(struct sim *s)
{
	wait_until(s, NULL, s->now);
}

void
sim_sleep(struct sim *s, int64_t ms)
{
	wait_until(s, NULL, s->now + (ms < 0 ? 0 : ms));
}

/* --- nodes --- */

static struct node *
node_of(struct sim *s, int node)
{
	MUST(node >= 0 && node < SIM_NODES);
	return &s->nodes[node];
}

void
sim_start(struct sim *s, int node, rpc_handler *fn, void *arg)
{
	struct node *n = node_of(s, node);

	MUST(!n->is_up && n->inside == 0);
	n->is_up = true;
	n->is_stopping = false;
	n->fn = fn;
	n->arg = arg;
	sim_trace(s, "node %d starts", node);
}

void
sim_stop(struct sim *s, int node)
{
	struct node *n = node_of(s, node);
	struct task *t;

	MUST(n->is_up);
	n->is_up = false;
	n->is_stopping = true;
	sim_trace(s, "node %d stops", node);
	for (t = s->tasks; t != NULL; t = t->next) {
		if (t->node == node && t->is_waiting)
			t->until = s->now;
	}
	while (n->inside > 0)
		yield(s);
}

bool
sim_is_up(const struct sim *s, int node)
{
	return s->nodes[node].is_up;
}

/* The task acts for the node until it leaves: a stop wakes it too. */
bool
sim_enter(struct sim *s, int node)
{
	struct node *n = node_of(s, node);

	if (!n->is_up)
		return false;
	n->inside++;
	s->current->node = node;
	return true;
}

void
sim_leave(struct sim *s, int node)
{
	struct node *n = node_of(s, node);

	MUST(n->inside > 0);
	n->inside--;
	s->current->node = s->current->home;
}

void
sim_self(struct sim *s, int node, const struct rpc_from *self)
{
	struct node *n = node_of(s, node);

	n->self = *self;
	sim_addr(node, &n->self.addr);
}

void
sim_addr(int node, struct fdfs_addr *ret)
{
	*ret = (struct fdfs_addr){ .port = 23000 };
	snprintf(ret->ip, sizeof(ret->ip), "10.0.0.%d", node + 1);
}

bool
sim_is_stopped(const struct sim *s, int node)
{
	return !s->nodes[node].is_up;
}

/* What a disk takes for one call; false: the node was stopped meanwhile. */
bool
sim_disk_time(struct sim *s, int node, bool is_write)
{
	struct node *n = node_of(s, node);
	int64_t ms = (int64_t)sim_below(s, is_write ? 6 : 2);

	if (!n->is_up)
		return false;
	if (is_write && !s->is_calm && sim_once_in(s, 200))
		ms += 200;
	sim_sleep(s, ms + n->slow_ms);
	return n->is_up;
}

/* --- network and clocks --- */

void
sim_cut(struct sim *s, int a, int b, bool is_cut)
{
	s->cut[a][b] = s->cut[b][a] = is_cut;
	sim_trace(s, "%d and %d are %s", a, b, is_cut ? "cut" : "joined");
}

void
sim_network(struct sim *s, unsigned one_in, int64_t ms)
{
	s->lose_one_in = one_in;
	s->net_ms = ms;
}

void
sim_set_small(struct sim *s, size_t len)
{
	int i;

	s->small = len;
	for (i = 0; i < SIM_NODES; i++)
		sim_disk_set_small(s->nodes[i].disk, len);
}

size_t
sim_small(const struct sim *s)
{
	return s->small;
}

void
sim_calm(struct sim *s)
{
	s->is_calm = true;
}

void
sim_slow(struct sim *s, int node, int64_t ms)
{
	node_of(s, node)->slow_ms = ms;
}

void
sim_heal(struct sim *s)
{
	size_t i;

	memset(s->cut, 0, sizeof(s->cut));
	sim_network(s, 0, 3);
	for (i = 0; i < SIM_NODES; i++) {
		s->nodes[i].slow_ms = 0;
		s->nodes[i].held = 0;
		sim_disk_full(s->nodes[i].disk, false);
		sim_disk_fail(s->nodes[i].disk, false);
	}
}

void
sim_clock_jump(struct sim *s, int node, int64_t seconds)
{
	node_of(s, node)->real_off += seconds;
	sim_trace(s, "clock of %d jumps by %jd s", node, (intmax_t)seconds);
}

void
sim_garble(struct sim *s, int node, bool is_so)
{
	node_of(s, node)->garbles = is_so;
}

void
sim_hold(struct sim *s, int node, unsigned op)
{
	node_of(s, node)->held = op;
}

unsigned
sim_garbled(const struct sim *s)
{
	return s->garbled;
}

/* --- messages --- */

struct msg {
	struct sim *s;
	unsigned refs;
	int from, to;
	struct rpc_from self;
	unsigned op;
	uint64_t epoch;
	int64_t until; /* of the world's time; 0: none */
	struct buf args, body;
	struct gate done;
	bool was_sent;
	int rc;
	struct err e;
	struct rpc_answer a;
};

static void
msg_unref(struct msg *m)
{
	if (--m->refs > 0)
		return;
	buf_fini(&m->args);
	buf_fini(&m->body);
	buf_fini(&m->a.args);
	buf_fini(&m->a.body);
	mem_free(&m);
}

/* True: it did not get there. */
static bool
travel(struct msg *m)
{
	struct sim *s = m->s;
	int64_t ms = (int64_t)sim_below(s, (uint64_t)s->net_ms + 1);

	if (!s->is_calm && sim_once_in(s, 300))
		ms += (int64_t)sim_below(s, 3000);
	sim_sleep(s, ms);
	if (m->from >= 0 && s->cut[m->from][m->to])
		return true;
	return sim_once_in(s, s->lose_one_in);
}

static const char *
op_name(unsigned op)
{
	static const struct {
		unsigned op;
		const char *name;
	} names[] = {
#define X(n, number, who) { number, #n },
#include "cluster/op_table.h"
#undef X
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].op == op)
			return names[i].name;
	}
	return "?";
}

/* The handler runs on the carrier's fiber, as a task of the other node. */
static void
handle(struct msg *m)
{
	struct sim *s = m->s;
	struct rpc_request q = { .op = m->op,
		.epoch = m->epoch,
		.until_ms =
		    m->until == 0 ? 0 : m->until + s->nodes[m->to].mono_off,
		.args = buf_str(&m->args),
		.body = buf_str(&m->body) };

	m->was_sent = true;
	m->a.args = BUF_CAP(RPC_ARGS_MAX);
	m->a.body = BUF_CAP(RPC_BODY_MAX);
	if (m->until != 0 && s->now >= m->until) /* R4 of cluster/rpc.h */
		m->rc = err_set(&m->e, ERR_RETRY, "it came too late");
	else
		m->rc = s->nodes[m->to].fn(s->nodes[m->to].arg, &m->self, &q,
		    &m->a, &m->e);
	sim_trace(s, "  %d -> %d %s: %s %s", m->from, m->to, op_name(m->op),
	    m->rc == 0 ? "ok" : err_name(m->rc), m->rc == 0 ? "" : m->e.msg);
	note(s, (uint64_t)m->op << 8 | (uint64_t)-m->rc);
	if (s->nodes[m->to].garbles && m->op == RPC_READ && m->a.body.len > 0) {
		m->a.body.p[m->a.body.len / 3] ^= 0x10;
		s->garbled++;
	}
}

static void
carry(void *arg)
{
	struct msg *m = arg;
	struct sim *s = m->s;
	bool is_lost = travel(m);

	while (s->nodes[m->to].held == m->op)
		sim_sleep(s, 10);
	if (!is_lost && sim_enter(s, m->to)) {
		handle(m);
		is_lost = !s->nodes[m->to].is_up; /* killed while it handled */
		sim_leave(s, m->to);
		is_lost = is_lost || travel(m);
	} else {
		is_lost = true;
		/* A closed port answers at once, a cut wire does not. */
		if (m->from < 0 || !s->cut[m->from][m->to])
			m->done.is_open = true;
	}
	if (is_lost)
		m->rc = err_set(&m->e, ERR_DISCONNECTED, "node %d", m->to);
	else
		m->done.is_open = true;
	msg_unref(m);
}

static int
node_at(const struct fdfs_addr *a)
{
	struct fdfs_addr b;
	int i;

	for (i = 0; i < SIM_NODES; i++) {
		sim_addr(i, &b);
		if (strcmp(a->ip, b.ip) == 0)
			return i;
	}
	return -1;
}

static int
take_answer(struct msg *m, struct rpc_reply *r, struct err *e)
{
	if (r != NULL) {
		r->was_sent = m->was_sent;
		r->epoch = m->a.epoch;
		r->len = 0;
	}
	if (m->rc != ERR_DISCONNECTED && r != NULL) {
		MUST(buf_adds(&r->args, buf_str(&m->a.args)) == 0);
		r->len = m->a.body.len;
		if (r->dst == NULL)
			MUST(buf_adds(&r->body, buf_str(&m->a.body)) == 0);
		else if (m->a.body.len > r->cap)
			return err_set(e, ERR_TOO_BIG, "answer's body");
		else if (m->a.body.len > 0)
			memcpy(r->dst, m->a.body.p, m->a.body.len);
	}
	return m->rc == 0 ? 0 : err_set(e, m->rc, "%s", m->e.msg);
}

/* Until @limit; who watches is asked whether it is over. */
static void
wait_answer(const struct node_env *ne, struct msg *m, const struct rpc_watch *w,
    int64_t limit)
{
	struct sim *s = ne->s;

	while (w != NULL && w->is_over != NULL && s->now + 100 < limit) {
		wait_until(s, &m->done, s->now + 100);
		if (m->done.is_open || !s->nodes[ne->node].is_up ||
		    w->is_over(w->arg))
			return;
	}
	wait_until(s, &m->done, limit);
}

static int
env_call(void *env, const struct fdfs_addr *to, const struct rpc_request *q,
    int timeout_ms, struct rpc_reply *r, struct err *e)
{
	struct node_env *ne = env;
	struct sim *s = ne->s;
	struct msg *m;
	int dst = node_at(to), rc;

	if (r != NULL)
		r->was_sent = false;
	if (!s->nodes[ne->node].is_up)
		return err_set(e, ERR_CLOSED, "stopped");
	if (dst < 0)
		return err_set(e, ERR_DISCONNECTED, "no such host");
	MUST(q->args.len <= RPC_ARGS_MAX);
	MUST(q->body.len <= RPC_BODY_MAX);
	m = mem_zalloc(sizeof(*m));
	MUST(m != NULL);
	*m = (struct msg){ .s = s,
		.refs = 2,
		.from = ne->node,
		.to = dst,
		.self = s->nodes[ne->node].self,
		.op = q->op,
		.epoch = q->epoch,
		.until = q->until_ms == 0
		             ? 0
		             : q->until_ms - s->nodes[ne->node].mono_off,
		.args = BUF_CAP(RPC_ARGS_MAX),
		.body = BUF_CAP(RPC_BODY_MAX) };
	MUST(buf_adds(&m->args, q->args) == 0);
	MUST(buf_adds(&m->body, q->body) == 0);
	sim_spawn(s, SIM_OUTSIDE, carry, m);
	wait_answer(ne, m, q->watch,
	    s->now + (timeout_ms == 0 ? 5000 : timeout_ms));
	if (!s->nodes[ne->node].is_up) {
		rc = err_set(e, ERR_CLOSED, "stopped");
	} else if (!m->done.is_open) {
		rc = err_set(e, ERR_DISCONNECTED, "node %d: time-out", dst);
		if (r != NULL)
			r->was_sent = true; /* S2 */
	} else {
		rc = take_answer(m, r, e);
	}
	msg_unref(m);
	return rc;
}

/* --- the rest of the environment --- */

static int64_t
env_now_ms(void *env)
{
	struct node_env *ne = env;

	return ne->s->now + ne->s->nodes[ne->node].mono_off;
}

static int64_t
env_real_s(void *env)
{
	struct node_env *ne = env;

	return 1700000000 + ne->s->now / 1000 + ne->s->nodes[ne->node].real_off;
}

static uint64_t
env_random(void *env)
{
	return sim_random(((struct node_env *)env)->s);
}

static bool
env_sleep(void *env, int64_t ms)
{
	struct node_env *ne = env;

	if (!ne->s->nodes[ne->node].is_up)
		ms = 0;
	sim_sleep(ne->s, ms);
	return ne->s->nodes[ne->node].is_up;
}

static int
env_spawn(void *env, void (*fn)(void *arg), void *arg, struct err *e)
{
	struct node_env *ne = env;
	struct task *t;
	unsigned n = 0;

	if (!ne->s->nodes[ne->node].is_up)
		return err_set(e, ERR_CLOSED, "stopped");
	for (t = ne->s->tasks; t != NULL; t = t->next)
		n += t->home == ne->node;
	MUST(n < 64 && "at most 64 tasks from one node");
	sim_spawn(ne->s, ne->node, fn, arg);
	return 0;
}

static void *
env_gate_new(void *env)
{
	struct gate *g = mem_zalloc(sizeof(*g));

	(void)env;
	MUST(g != NULL);
	return g;
}

static void
env_gate_free(void *env, void *gate)
{
	struct node_env *ne = env;
	struct task *t;

	for (t = ne->s->tasks; t != NULL; t = t->next)
		MUST(t->gate != gate && "freed while somebody waits");
	free(gate);
}

static void
env_gate_signal(void *env, void *gate)
{
	(void)env;
	((struct gate *)gate)->is_open = true;
}

static bool
env_gate_wait(void *env, void *gate, int64_t ms)
{
	struct node_env *ne = env;
	struct sim *s = ne->s;
	struct gate *g = gate;

	if (!s->nodes[ne->node].is_up) {
		yield(s);
		return false;
	}
	if (!g->is_open)
		wait_until(s, g, s->now + (ms < 0 ? 0 : ms));
	return g->is_open && s->nodes[ne->node].is_up;
}

static void
env_event(void *env, int level, const char *text)
{
	struct node_env *ne = env;

	(void)level;
	sim_trace(ne->s, "node %d: %s", ne->node, text);
}

static const struct rep_env_ops env_ops = {
	.call = env_call,
	.now_ms = env_now_ms,
	.real_s = env_real_s,
	.random = env_random,
	.sleep = env_sleep,
	.spawn = env_spawn,
	.gate_new = env_gate_new,
	.gate_free = env_gate_free,
	.gate_signal = env_gate_signal,
	.gate_wait = env_gate_wait,
	.event = env_event,
};

void
sim_env(struct sim *s, int node, struct rep_env *ret)
{
	struct node *n = node_of(s, node);

	*ret = (struct rep_env){ .store_ops = &sim_disk_ops,
		.store = n->disk,
		.ops = &env_ops,
		.env = &n->env };
}

struct sim_disk *
sim_disk(struct sim *s, int node)
{
	return node_of(s, node)->disk;
}

void
sim_disk_set(struct sim *s, int node, struct sim_disk *d)
{
	MUST(!s->nodes[node].is_up);
	s->nodes[node].disk = d;
}

/* --- the world --- */

struct sim *
sim_new(uint64_t seed)
{
	struct sim *s = mem_zalloc(sizeof(*s));
	int i;

	MUST(s != NULL);
	s->seed = s->rng = seed;
	s->is_tracing = getenv("CREEL_SIM_TRACE") != NULL;
	s->net_ms = 3;
	s->small = 1024 * 1024;
	for (i = 0; i < SIM_NODES; i++) {
		s->nodes[i].env = (struct node_env){ s, i };
		s->nodes[i].mono_off = (int64_t)sim_below(s, 1000000);
		s->nodes[i].disk = sim_disk_new(s, i);
	}
	return s;
}

void
sim_free(struct sim **sp)
{
	struct sim *s = *sp;
	struct task *t;
	int i;

	MUST(s->tasks == NULL);
	while ((t = s->idle) != NULL) {
		s->idle = t->next;
#if defined(__SANITIZE_ADDRESS__)
		__asan_unpoison_memory_region(t->stack, STACK);
#endif
		munmap(t->stack, STACK);
		mem_free(&t);
	}
	for (i = 0; i < SIM_NODES; i++)
		sim_disk_free(&s->nodes[i].disk);
	mem_free(sp);
}
