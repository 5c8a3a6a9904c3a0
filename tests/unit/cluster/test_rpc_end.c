/* Requests with an end (R4): by way of a wire that holds them back for a while,
 * as a server that is stopped, or a queue, does. */
#include "rpc_test.h"

#include <poll.h>

static atomic_int_least64_t got_until; /* of the last call that was handled */

static int
handle(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct rpc_test *t = arg;
	int rc;

	(void)from;
	(void)e;
	atomic_fetch_add(&t->calls, 1);
	atomic_store(&got_until, q->until_ms);
	rc = buf_adds(&a->args, q->args);
	return rc < 0 ? rc : buf_adds(&a->body, q->body);
}

static int64_t
now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

/* --- the wire --- */

struct wire {
	struct fdfs_addr to, addr;
	int listener;
	atomic_bool holds; /* what goes to the server */
	atomic_uint held;  /* pieces that wait, or have waited */
	atomic_bool is_over;
	pthread_t thread;
};

/* False: that side has closed. */
static bool
pass(struct wire *w, int from, int to, bool may_hold)
{
	struct iovec iov;
	char room[65536];
	size_t n, sent;
	bool input;

	if (fdfs_net_recv(from, room, sizeof(room), 3000, &n, NULL) < 0 ||
	    n == 0)
		return false;
	if (may_hold && atomic_load(&w->holds)) {
		atomic_fetch_add(&w->held, 1);
		while (atomic_load(&w->holds))
			clock_sleep_ms(1);
	}
	iov = (struct iovec){ room, n };
	(void)fdfs_net_send(to, &iov, 1, 3000, false, &sent, &input, NULL);
	return true;
}

/* What the client has sent goes on also when it is gone. */
static void
carry(struct wire *w, int client)
{
	int server;

	OK(fdfs_net_connect(w->to.ip, w->to.port, 3000, &server, NULL));
	for (bool on = true; on && !atomic_load(&w->is_over);) {
		struct pollfd p[2] = { { client, POLLIN, 0 },
			{ server, POLLIN, 0 } };

		(void)poll(p, 2, 20);
		if (p[0].revents != 0)
			on = pass(w, client, server, true);
		else if (p[1].revents != 0)
			on = pass(w, server, client, false);
	}
	close(server);
	close(client);
}

static void *
run_wire(void *arg)
{
	struct wire *w = arg;

	while (!atomic_load(&w->is_over)) {
		struct pollfd p = { w->listener, POLLIN, 0 };

		if (poll(&p, 1, 20) > 0)
			carry(w, accept(w->listener, NULL, NULL));
	}
	return NULL;
}

static void
wire_open(struct wire *w, const struct fdfs_addr *to)
{
	uint16_t port = 0;

	memset(w, 0, sizeof(*w));
	w->to = *to;
	OK(fdfs_net_listen("127.0.0.1", 0, &w->listener, &port, NULL));
	w->addr = (struct fdfs_addr){ .ip = "127.0.0.1", .port = port };
	assert_int_equal(pthread_create(&w->thread, NULL, run_wire, w), 0);
}

static void
wire_close(struct wire *w)
{
	atomic_store(&w->is_over, true);
	pthread_join(w->thread, NULL);
	close(w->listener);
}

/* --- */

struct scene {
	struct rpc_test t;
	struct wire w;
	struct rpc_client *c;
};

static int
call(struct scene *s, int64_t until, int timeout_ms, struct rpc_reply *r)
{
	struct rpc_request q = { .op = RPC_STORE,
		.args = STR_LIT("arguments"),
		.body = STR_LIT("body"),
		.until_ms = until };
	struct err e = ERR_INIT;

	return rpc_call(s->c, &s->w.addr, &q, timeout_ms, r, &e);
}

static int
call_now(struct scene *s, int64_t until)
{
	return call(s, until, 0, NULL);
}

static void
set_scene(struct scene *s, uint8_t server_version)
{
	rpc_test_version = server_version;
	rpc_test_open(&s->t, handle, 0, NULL);
	rpc_test_version = 0;
	wire_open(&s->w, &s->t.addr);
	s->c = client_of(RPC_GATE, "", SECRET);
	OK(call_now(s, 0)); /* there is a connection */
	assert_int_equal(atomic_load(&got_until), 0);
}

static void
strike(struct scene *s)
{
	rpc_client_close(&s->c);
	wire_close(&s->w);
	rpc_test_close(&s->t);
}

/* What comes in time is handled, and says how long it may take: no longer than the
 * asker meant. */
static void
test_in_time(void **state)
{
	struct scene s;
	struct rpc_reply r;
	int64_t until;

	(void)state;
	set_scene(&s, 0);
	for (int i = 0; i < 20; i++) {
		rpc_reply_init(&r);
		until = now_ms() + 60000;
		OK(call(&s, until, 0, &r));
		assert_true(atomic_load(&got_until) <= until);
		assert_true(atomic_load(&got_until) > until - 30000);
		assert_true(str_eqz(buf_str(&r.args), "arguments"));
		assert_true(str_eqz(buf_str(&r.body), "body"));
		rpc_reply_fini(&r);
		clock_sleep_ms(i);
	}
	/* also as the first one on a connection */
	rpc_client_close(&s.c);
	s.c = client_of(RPC_GATE, "", SECRET);
	until = now_ms() + 60000;
	OK(call_now(&s, until));
	assert_true(atomic_load(&got_until) <= until);
	assert_true(atomic_load(&got_until) > until - 30000);
	OK(call_now(&s, INT64_MAX));
	assert_int_equal(atomic_load(&s.t.calls), 23);
	strike(&s);
}

/* Whatever the answer before was: both count from there. */
static void
test_after_a_refusal(void **state)
{
	struct rpc_request q = { .op = 9999, .body = STR_LIT("body") };
	struct err e = ERR_INIT;
	struct scene s;
	int64_t begin, until;

	(void)state;
	set_scene(&s, 0);
	clock_sleep_ms(500);
	begin = now_ms();
	assert_int_equal(rpc_call(s.c, &s.w.addr, &q, 0, NULL, &e),
	    ERR_NOT_IMPLEMENTED);
	until = now_ms() + 60000;
	OK(call_now(&s, until));
	assert_true(atomic_load(&got_until) >= until - (now_ms() - begin) - 2);
	strike(&s);
}

static void *
release(void *arg)
{
	struct wire *w = arg;

	clock_sleep_ms(500);
	atomic_store(&w->holds, false);
	return NULL;
}

/* It is read later than it may be done: the asker hears so, and the next one is
 * none the worse for it. */
static void
test_too_late(void **state)
{
	struct scene s;
	pthread_t thread;

	(void)state;
	set_scene(&s, 0);
	atomic_store(&s.w.holds, true);
	assert_int_equal(pthread_create(&thread, NULL, release, &s.w), 0);
	assert_int_equal(call_now(&s, now_ms() + 200), ERR_RETRY);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&s.w.held), 1);
	assert_int_equal(atomic_load(&s.t.calls), 1);
	OK(call_now(&s, now_ms() + 60000));
	assert_int_equal(atomic_load(&s.t.calls), 2);
	strike(&s);
}

/* The asker has gone meanwhile. */
static void
give_up(struct scene *s, int64_t ms, unsigned want)
{
	atomic_store(&s->w.holds, true);
	assert_int_equal(call(s, now_ms() + ms, 100, NULL), ERR_DISCONNECTED);
	for (int i = 0; i < 300 && atomic_load(&s->w.held) == 0; i++)
		clock_sleep_ms(10);
	assert_int_equal(atomic_load(&s->w.held), 1);
	clock_sleep_ms(300);
	atomic_store(&s->w.holds, false);
	for (int i = 0; i < 300 && atomic_load(&s->t.calls) < 2; i++)
		clock_sleep_ms(want == 2 ? 10 : 1);
	assert_int_equal(atomic_load(&s->t.calls), want);
	strike(s);
}

static void
test_given_up(void **state)
{
	struct scene s;

	(void)state;
	set_scene(&s, 0);
	give_up(&s, 60000, 2); /* it does arrive */
	set_scene(&s, 0);
	give_up(&s, 300, 1);
}

/* A server of a version before takes the request as it always was. */
static void
test_older_server(void **state)
{
	struct rpc_reply r;
	struct scene s;

	(void)state;
	set_scene(&s, RPC_ENDS - 1);
	rpc_reply_init(&r);
	OK(call(&s, now_ms() + 60000, 0, &r));
	assert_int_equal(atomic_load(&got_until), 0);
	assert_true(str_eqz(buf_str(&r.args), "arguments"));
	rpc_reply_fini(&r);
	strike(&s);
}

static void
test_over_before_it_is_sent(void **state)
{
	struct rpc_reply r;
	struct scene s;

	(void)state;
	set_scene(&s, 0);
	rpc_reply_init(&r);
	assert_int_equal(call(&s, now_ms(), 0, &r), ERR_RETRY);
	assert_false(r.was_sent);
	rpc_reply_fini(&r);
	assert_int_equal(atomic_load(&s.t.calls), 1);
	OK(call_now(&s, 0));
	strike(&s);
}

/* --- on the wire --- */

static void
test_frames(void **state)
{
	struct rpc_head h = { .version = 1,
		.op = RPC_FILE_OP,
		.args = STR_LIT("abc"),
		.has_end = true,
		.end_ms = 77 };
	uint8_t raw[RPC_HEAD + 3 + RPC_END];
	struct rpc_head back;

	(void)state;
	rpc_head_put(raw, &h);
	memcpy(raw + RPC_HEAD, "abc", 3);
	rpc_end_put(raw + RPC_HEAD + 3, &h);
	OK(rpc_head_get(str_mem(raw, sizeof(raw)), &back, NULL));
	assert_true(back.has_end && str_eqz(back.args, "abc"));
	assert_int_equal(back.end_ms, 77);
	assert_int_equal(rpc_until(&back, 5000999999), 5077);
	back.end_ms = UINT64_MAX;
	assert_true(rpc_until(&back, 5000000000) == INT64_MAX);
	back.has_end = false;
	assert_int_equal(rpc_until(&back, 5000000000), 0);
	/* it says that it has one, and has no room for it */
	h.has_end = false;
	h.flags = RPC_HAS_END;
	rpc_head_put(raw, &h);
	assert_int_equal(rpc_head_get(str_mem(raw, RPC_HEAD + 3), &back, NULL),
	    ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_time),
		cmocka_unit_test(test_after_a_refusal),
		cmocka_unit_test(test_too_late),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_older_server),
		cmocka_unit_test(test_over_before_it_is_sent),
		cmocka_unit_test(test_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
