/* Calls from end to end: arguments, bodies, results, who may ask what, limits,
 * slow and vanishing peers. */
#include "rpc_test.h"

#include "lib/fault.h"
#include "lib/mem.h"

#define SLOW_MS 1500

static struct rpc_span the_span;

/* What the handler of these tests does is said by the operation. */
static int
handle(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct rpc_test *t = arg;
	int rc;

	atomic_fetch_add(&t->calls, 1);
	pthread_mutex_lock(&t->lock);
	t->last = *from;
	pthread_mutex_unlock(&t->lock);
	a->epoch = q->epoch + 1;
	switch (q->op) {
	case RPC_STORE: /* echo */
		rc = buf_adds(&a->args, q->args);
		return rc < 0 ? rc : buf_adds(&a->body, q->body);
	case RPC_READ: /* as many bytes as were asked for */
	{
		struct unpack u = unpack_of(q->args);
		uint32_t n = unpack_u32(&u);

		MUST(buf_reserve(&a->body, n) == 0);
		memset(a->body.p, 'r', n);
		a->body.len = n;
		return 0;
	}
	case RPC_STAT: /* the error that the arguments name, with arguments */
		MUST(buf_addz(&a->args, "why") == 0);
		MUST(buf_addz(&a->body, "never seen") == 0);
		return err_set(e, -(int)(uint8_t)q->args.p[0], "number %d",
		    q->args.p[0]);
	case RPC_READ_STORED: /* from the test's file */
		MUST(buf_addz(&a->args, "file") == 0);
		MUST(buf_addz(&a->body, "body,") == 0);
		a->span = the_span;
		return q->args.len > 0 ? err_set(e, ERR_BUSY, NULL) : 0;
	case RPC_NODE_STATUS: /* slow */
		clock_sleep_ms(SLOW_MS);
		return 0;
	default:
		return 0;
	}
}

static void
test_echo(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_request q = { .op = RPC_STORE, .epoch = 41 };
	static char big[RPC_BODY_MAX], got[RPC_BODY_MAX];
	static const size_t sizes[] = { 0, 1, 4096, 100000, RPC_BODY_MAX };
	struct err e = ERR_INIT;
	struct rpc_reply r;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	rand_bytes(big, sizeof(big));
	for (size_t i = 0; i < 5; i++) {
		for (int into = 0; into < 2; into++) {
			rpc_reply_init(&r);
			if (into) {
				r.dst = got;
				r.cap = sizes[i];
			}
			q.args = str_mem(big,
			    sizes[i] > RPC_ARGS_MAX ? RPC_ARGS_MAX : sizes[i]);
			q.body = str_mem(big, sizes[i]);
			OK(rpc_call(c, &t.addr, &q, 0, &r, &e));
			assert_true(r.was_sent);
			assert_int_equal(r.epoch, 42);
			assert_true(str_eq(buf_str(&r.args), q.args));
			if (into) {
				assert_int_equal(r.len, sizes[i]);
				assert_memory_equal(got, big, sizes[i]);
			} else {
				assert_true(str_eq(buf_str(&r.body),
				    str_mem(big, sizes[i])));
			}
			rpc_reply_fini(&r);
		}
	}
	/* All of it on one connection. */
	struct fdfs_server_stat stat;
	fdfs_server_stat(t.server, &stat);
	assert_int_equal(stat.accepted, 1);
	assert_int_equal(t.last.kind, RPC_GATE);
	assert_int_equal(t.last.server_id, 7);
	assert_string_equal(t.last.addr.ip, "127.0.0.1");
	rpc_client_close(&c);
	rpc_test_close(&t);
}

struct elsewhere { /* what a span cannot give */
	const char *all;
	size_t from; /* lowest that was asked for */
	unsigned reads, ends;
	int rc;
};

static int
read_elsewhere(void *arg, size_t at, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	struct elsewhere *x = arg;

	if (x->reads++ == 0)
		x->from = at;
	if (x->rc < 0)
		return err_set(e, x->rc, "lost");
	*ret_len = len < 10000 ? len : 10000;
	memcpy(p, x->all + at, *ret_len);
	return 0;
}

static void
end_elsewhere(void *arg)
{
	((struct elsewhere *)arg)->ends++;
}

/* The end of an answer from a file: all of it; cut off, the rest from elsewhere;
 * from nowhere, which makes it zeros and leaves the connection alive; and nothing
 * of it with an error. */
static void
test_span(void **state)
{
	enum {
		SIZE = 3000000,
		CUT = 1234567
	};
	char name[] = "/tmp/creel-span-XXXXXX", *all = malloc(SIZE);
	struct elsewhere x = { .all = all };
	struct rpc_request q = { .op = RPC_READ_STORED };
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct err e = ERR_INIT;
	struct rpc_reply r;
	struct rpc_test t;
	int fd = mkstemp(name);

	(void)state;
	unlink(name);
	for (size_t i = 0; i < SIZE; i++)
		all[i] = (char)(i * 11 + i / 254);
	assert_int_equal(write(fd, all, SIZE), SIZE);
	rpc_test_open(&t, handle, 0, NULL);
	the_span = (struct rpc_span){ fd, 100, SIZE - 100, read_elsewhere,
		end_elsewhere, &x };
	x.all += 100;
	for (int turn = 0; turn < 2; turn++) {
		if (turn == 1)
			assert_int_equal(ftruncate(fd, CUT), 0);
		rpc_reply_init(&r);
		OK(rpc_call(c, &t.addr, &q, 0, &r, &e));
		assert_true(str_eqz(buf_str(&r.args), "file"));
		assert_int_equal(r.body.len, 5 + SIZE - 100);
		assert_memory_equal(r.body.p, "body,", 5);
		assert_memory_equal(r.body.p + 5, all + 100, SIZE - 100);
		assert_true((x.reads > 0) == (turn == 1));
		rpc_reply_fini(&r);
	}
	assert_int_equal(x.from, CUT - 100);
	x.rc = ERR_CORRUPT;
	rpc_reply_init(&r);
	OK(rpc_call(c, &t.addr, &q, 0, &r, &e));
	assert_int_equal(r.body.len, 5 + SIZE - 100);
	assert_memory_equal(r.body.p + 5, all + 100, CUT - 100);
	for (size_t i = CUT; i < SIZE; i++)
		if (r.body.p[5 + i - 100] != 0)
			fail();
	rpc_reply_fini(&r);
	q.args = STR_LIT("fails");
	rpc_reply_init(&r);
	assert_int_equal(rpc_call(c, &t.addr, &q, 0, &r, &e), ERR_BUSY);
	assert_int_equal(r.body.len, 0);
	rpc_reply_fini(&r);
	rpc_client_close(&c);
	rpc_test_close(&t); /* joins: each was ended */
	assert_int_equal(x.ends, 4);
	the_span = (struct rpc_span){ .len = 0 };
	close(fd);
	free(all);
}

/* Every error of the table arrives as itself, with its text. */
static void
test_errors(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_reply r;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (int i = 1; i < (int)ERR_POSITIONS; i++) {
		char which = (char)i, text[32];
		struct rpc_request q = { .op = RPC_STAT,
			.args = str_mem(&which, 1) };
		struct err e = ERR_INIT;

		rpc_reply_init(&r);
		assert_int_equal(rpc_call(c, &t.addr, &q, 0, &r, &e),
		    -i == ERR_DISCONNECTED ? ERR_BUSY : -i);
		snprintf(text, sizeof(text), "number %d", i);
		assert_string_equal(e.msg, text);
		assert_true(str_eqz(buf_str(&r.args), "why"));
		assert_int_equal(r.body.len, 0);
		rpc_reply_fini(&r);
	}
	assert_true(ERR_POSITIONS < 127);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* R1, for every operation and kind. */
static void
test_kinds(void **state)
{
	static const struct {
		enum rpc_kind kind;
		const char *group;
		unsigned is;
	} who[] = { { RPC_GATE, "", RPC_GATE }, { RPC_ADMIN, "", RPC_ADMIN },
		{ RPC_TRACKER, "", RPC_TRACKER },
		{ RPC_NODE, "group1", RPC_NODE | RPC_PEER },
		{ RPC_PEER, "group1", RPC_NODE | RPC_PEER },
		{ RPC_NODE, "group2", RPC_NODE },
		{ RPC_PEER, "group2", RPC_NODE }, /* it only says so */
		{ RPC_GATE, "group1", RPC_GATE } };
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (size_t i = 0; i < sizeof(who) / sizeof(*who); i++) {
		struct rpc_client *c =
		    client_of(who[i].kind, who[i].group, SECRET);

		for (unsigned op = 0; op < 80; op++) {
			char one[4] = { 1 };
			struct rpc_request q = { .op = op,
				.args = str_mem(one, 4),
				.body = STR_LIT("body") };
			bool may = (rpc_op_who(op) & who[i].is) != 0;
			unsigned before = atomic_load(&t.calls);
			int rc;

			if (op == RPC_NODE_STATUS)
				continue; /* slow */
			rc = rpc_call(c, &t.addr, &q, 0, NULL, NULL);
			if (rpc_op_who(op) == 0)
				assert_int_equal(rc, ERR_NOT_IMPLEMENTED);
			else if (!may)
				assert_int_equal(rc, ERR_ACCESS_DENIED);
			else
				assert_int_not_equal(rc, ERR_ACCESS_DENIED);
			assert_int_equal(atomic_load(&t.calls) - before, may);
		}
		rpc_client_close(&c);
	}
	assert_string_equal(rpc_op_name(RPC_LOG_READ), "LOG_READ");
	assert_string_equal(rpc_op_name(19), "?");
	rpc_test_close(&t);
}

static void
test_too_big(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	static char big[RPC_BODY_MAX + 1];
	struct rpc_request q = { .op = RPC_STORE };
	uint8_t n[4];
	struct rpc_reply r;
	struct rpc_test t;
	char small[100];

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	q.args = str_mem(big, RPC_ARGS_MAX + 1);
	assert_int_equal(rpc_call(c, &t.addr, &q, 0, NULL, NULL), ERR_TOO_BIG);
	q.args = STR_NULL;
	q.body = str_mem(big, RPC_BODY_MAX + 1);
	assert_int_equal(rpc_call(c, &t.addr, &q, 0, NULL, NULL), ERR_TOO_BIG);
	assert_int_equal(atomic_load(&t.calls), 0);
	/* An answer for which there is no room. */
	for (uint32_t len = 99; len < 10000; len += len < 102 ? 1 : 2000) {
		q = (struct rpc_request){ .op = RPC_READ,
			.args = str_mem(n, 4) };
		put_le32(n, len);
		rpc_reply_init(&r);
		r.dst = small;
		r.cap = sizeof(small);
		assert_int_equal(rpc_call(c, &t.addr, &q, 0, &r, NULL),
		    len <= 100 ? 0 : ERR_TOO_BIG);
		if (len <= 100)
			assert_int_equal(r.len, len);
		rpc_reply_fini(&r);
	}
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* The budget for bodies: refused by name, and the connection lives on. */
static void
test_budget(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	static char body[RPC_DATA];
	struct rpc_request q = { .op = RPC_STORE,
		.body = str_mem(body, sizeof(body)) };
	struct fdfs_server_stat stat;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, sizeof(body) - 1, NULL);
	for (int i = 0; i < 3; i++) {
		q.body.len = sizeof(body);
		assert_int_equal(rpc_call(c, &t.addr, &q, 0, NULL, NULL),
		    ERR_BUSY);
		assert_int_equal(atomic_load(&t.calls), (unsigned)i);
		q.body.len--;
		OK(rpc_call(c, &t.addr, &q, 0, NULL, NULL));
	}
	fdfs_server_stat(t.server, &stat);
	assert_int_equal(stat.accepted, 1);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* --- time --- */

static void
test_timeouts(void **state)
{
	struct rpc_client_opts o = { .self = self_of(RPC_GATE, "", SECRET),
		.io_ms = 600 };
	struct rpc_request q = { .op = RPC_NODE_STATUS };
	struct fdfs_addr deaf = { .ip = "127.0.0.1" };
	struct err e = ERR_INIT;
	struct rpc_client *c;
	struct rpc_reply r;
	struct rpc_test t;
	int64_t begin;
	int fd;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	OK(rpc_client_open(&o, &c, &e));
	rpc_reply_init(&r);
	begin = clock_mono_ns();
	assert_int_equal(rpc_call(c, &t.addr, &q, 0, &r, &e), ERR_DISCONNECTED);
	assert_true(r.was_sent);
	assert_true(clock_mono_ns() - begin < SLOW_MS * INT64_C(1000000));
	/* Longer than the client's own: the call waits. */
	OK(rpc_call(c, &t.addr, &q, 20000, &r, &e));
	/* Shorter. */
	assert_int_equal(rpc_call(c, &t.addr, &q, 20, &r, &e),
	    ERR_DISCONNECTED);
	/* One that takes connections and says nothing: nothing was asked. */
	OK(fdfs_net_listen("127.0.0.1", 0, &fd, &deaf.port, &e));
	begin = clock_mono_ns();
	assert_int_equal(rpc_call(c, &deaf, &q, 50, &r, &e), ERR_DISCONNECTED);
	assert_false(r.was_sent);
	assert_true(clock_mono_ns() - begin < 550000000);
	close(fd);
	assert_int_equal(rpc_call(c, &deaf, &q, 50, &r, &e), ERR_DISCONNECTED);
	assert_false(r.was_sent);
	rpc_reply_fini(&r);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* Connections that the server closed while they rested: nobody notices. */
struct watch {
	int asked, enough;
};

static bool
has_enough(void *arg)
{
	struct watch *w = arg;

	return ++w->asked >= w->enough;
}

/* A call that is watched: ends when the watcher says so; else as ever. */
static void
test_watch(void **state)
{
	struct rpc_client *c = client_of(RPC_ADMIN, "", SECRET);
	struct watch w = { .enough = 3 };
	struct rpc_watch rw = { has_enough, &w, 500 };
	struct rpc_request q = { .op = RPC_NODE_STATUS, .watch = &rw };
	struct fdfs_addr deaf = { .ip = "127.0.0.1" };
	int64_t start = clock_mono_ns();
	struct err e = ERR_INIT;
	struct rpc_reply r;
	struct rpc_test t;
	int fd;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	rpc_reply_init(&r);
	assert_int_equal(rpc_call(c, &t.addr, &q, 5000, &r, &e),
	    ERR_DISCONNECTED);
	assert_true(r.was_sent);
	assert_int_equal(w.asked, 3);
	assert_true(clock_mono_ns() - start < SLOW_MS * INT64_C(1000000));
	/* never enough: the answer, or the time-out, which is the call's */
	w.enough = INT32_MAX;
	OK(rpc_call(c, &t.addr, &q, 5000, &r, &e));
	assert_int_equal(rpc_call(c, &t.addr, &q, 300, &r, &e),
	    ERR_DISCONNECTED);
	/* an answer of a connection that was not given up */
	q.op = RPC_STORE;
	assert_int_equal(rpc_call(c, &t.addr, &q, 5000, &r, &e),
	    ERR_ACCESS_DENIED);
	/* where only the kernel takes connections: soon over */
	OK(fdfs_net_listen("127.0.0.1", 0, &fd, &deaf.port, &e));
	start = clock_mono_ns();
	assert_int_equal(rpc_call(c, &deaf, &q, 9000, &r, &e),
	    ERR_DISCONNECTED);
	assert_false(r.was_sent);
	close(fd);
	assert_true(clock_mono_ns() - start < INT64_C(4000000000));
	rpc_reply_fini(&r);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

static void
test_idle_closed(void **state)
{
	struct fdfs_server_opts o = { .idle_ms = 500 };
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_request q = { .op = RPC_STORE, .body = STR_LIT("x") };
	struct fdfs_server_stat stat;
	struct err e = ERR_INIT;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, &o);
	for (int i = 0; i < 4; i++) {
		OK(rpc_call(c, &t.addr, &q, 0, NULL, &e));
		do {
			clock_sleep_ms(10);
			fdfs_server_stat(t.server, &stat);
		} while (stat.connections > 0);
	}
	fdfs_server_stat(t.server, &stat);
	assert_int_equal(stat.accepted, 4);
	assert_int_equal(atomic_load(&t.calls), 4);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* The server restarts on the same port: the pool's connections are dead. */
static void
test_restart(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_request q = { .op = RPC_STORE, .body = STR_LIT("x") };
	struct fdfs_server_opts o = { 0 };
	struct err e = ERR_INIT;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (int i = 0; i < 3; i++) {
		OK(rpc_call(c, &t.addr, &q, 0, NULL, &e));
		o.port = t.addr.port;
		rpc_test_close(&t);
		assert_int_equal(rpc_call(c, &t.addr, &q, 0, NULL, &e),
		    ERR_DISCONNECTED);
		rpc_test_open(&t, handle, 0, &o);
	}
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* R3: the server goes away within a call; it was asked once. */
static void *
close_it(void *arg)
{
	struct rpc_test *t = arg;

	while (atomic_load(&t->calls) == 0)
		clock_sleep_ms(1);
	fdfs_server_close(&t->server, 0);
	return NULL;
}

static void
test_not_again(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_request q = { .op = RPC_NODE_STATUS };
	struct err e = ERR_INIT;
	struct rpc_reply r;
	struct rpc_test t;
	pthread_t thread;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	rpc_reply_init(&r);
	assert_int_equal(pthread_create(&thread, NULL, close_it, &t), 0);
	assert_int_equal(rpc_call(c, &t.addr, &q, 0, &r, &e), ERR_DISCONNECTED);
	assert_true(r.was_sent);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&t.calls), 1);
	rpc_reply_fini(&r);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* --- many at once, and stopping --- */

struct load {
	struct rpc_client *c;
	struct rpc_test *t;
	int n, rc;
};

static void *
run_load(void *arg)
{
	struct load *l = arg;
	uint8_t raw[64];

	for (int i = 0; i < l->n && l->rc == 0; i++) {
		struct rpc_request q = { .op = RPC_STORE,
			.args = str_mem(raw, 8),
			.body = str_mem(raw, sizeof(raw)) };
		struct rpc_reply r;

		rand_bytes(raw, sizeof(raw));
		rpc_reply_init(&r);
		l->rc = rpc_call(l->c, &l->t->addr, &q, 0, &r, NULL);
		if (l->rc == 0 && (!str_eq(buf_str(&r.body), q.body) ||
				      !str_eq(buf_str(&r.args), q.args)))
			l->rc = ERR_CORRUPT;
		rpc_reply_fini(&r);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct load l[8];
	pthread_t thread[8];
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (int i = 0; i < 8; i++) {
		l[i] = (struct load){ c, &t, 300, 0 };
		assert_int_equal(pthread_create(&thread[i], NULL, run_load,
				     &l[i]),
		    0);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(l[i].rc, 0);
	}
	assert_int_equal(atomic_load(&t.calls), 2400);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

static void *
run_slow(void *arg)
{
	struct load *l = arg;
	struct rpc_request q = { .op = RPC_NODE_STATUS };

	l->rc = rpc_call(l->c, &l->t->addr, &q, 60000, NULL, NULL);
	return NULL;
}

static void
test_stop(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_request q = { .op = RPC_STORE };
	struct load l = { .c = c };
	struct rpc_test t;
	pthread_t thread;
	int64_t begin;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	l.t = &t;
	assert_int_equal(pthread_create(&thread, NULL, run_slow, &l), 0);
	while (atomic_load(&t.calls) == 0)
		clock_sleep_ms(1);
	begin = clock_mono_ns();
	rpc_client_stop(c);
	pthread_join(thread, NULL);
	assert_true(clock_mono_ns() - begin < 1000000000);
	assert_int_equal(l.rc, ERR_CLOSED);
	assert_int_equal(rpc_call(c, &t.addr, &q, 0, NULL, NULL), ERR_CLOSED);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

/* No memory, at any place: an error, and the next call is fine. */
static void
test_no_memory(void **state)
{
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	static char body[5000];
	struct rpc_request q = { .op = RPC_STORE,
		.args = str_mem(body, 100),
		.body = str_mem(body, sizeof(body)) };
	struct rpc_reply r;
	struct rpc_test t;
	int rc;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	OK(rpc_call(c, &t.addr, &q, 0, NULL, NULL));
	for (unsigned n = 1; n < 50; n++) {
		rpc_reply_init(&r);
		fault_arm(FAULT_ALLOC, n, 12, false);
		rc = rpc_call(c, &t.addr, &q, 0, &r, NULL);
		fault_disarm();
		rpc_reply_fini(&r);
		if (!fault_fired())
			break;
		assert_true(rc == 0 || rc == ERR_NO_MEMORY || rc == ERR_BUSY ||
			    rc == ERR_DISCONNECTED);
		OK(rpc_call(c, &t.addr, &q, 0, NULL, NULL));
	}
	assert_int_equal(rc, 0);
	rpc_client_close(&c);
	rpc_test_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_span),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_idle_closed),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_not_again),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
