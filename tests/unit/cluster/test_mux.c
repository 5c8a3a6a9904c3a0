/* Many calls on one connection (cluster/mux.h): answers in any order and in
 * pieces, connections that break, hang or talk rubbish, limits, the end; and
 * that a thread that rests sends for all.
 *
 * Between client and server stands a relay that does to answers what the test
 * wants of it. */
#include "rpc_test.h"

#include "cluster/mux.h"

#include "lib/mem.h"
#include "lib/thread.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define SLOW_MS 1500

/* A send of requests that stays in the system call until it is let go, and finds
 * the socket full then. */
enum {
	SENDS_ON,
	SENDS_STAY,
	SENDS_INSIDE,
	SENDS_FULL
};
static _Atomic int sends = SENDS_ON;

ssize_t
send(int fd, const void *p, size_t len, int flags)
{
	int stay = SENDS_STAY;

	if ((flags & MSG_DONTWAIT) == 0 ||
	    !atomic_compare_exchange_strong(&sends, &stay, SENDS_INSIDE))
		return sendto(fd, p, len, flags, NULL, 0);
	while (atomic_load(&sends) == SENDS_INSIDE)
		clock_sleep_ms(1);
	errno = EAGAIN;
	return -1;
}

/* READ_NOW: so many bytes, all alike, as the arguments say; or their error. */
static int
handle(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct rpc_test *t = arg;
	struct unpack u = unpack_of(q->args);
	uint32_t n = unpack_u32(&u);
	uint8_t what = unpack_u8(&u), code = unpack_u8(&u);

	(void)from;
	atomic_fetch_add(&t->calls, 1);
	if (q->op == RPC_NODE_STATUS) {
		clock_sleep_ms(SLOW_MS);
		return 0;
	}
	MUST(unpack_end(&u, e) == 0);
	if (code != 0)
		return err_set(e, -(int)code, "error %d", code);
	MUST(buf_addz(&a->args, "args") == 0);
	MUST(buf_reserve(&a->body, n) == 0);
	memset(a->body.p, what, n);
	a->body.len = n;
	return 0;
}

/* --- the relay --- */

enum mode {
	PASS,
	BACKWARDS, /* eight answers, last first */
	DRIBBLE,   /* in pieces of 1,000 bytes */
	HOLD,      /* no answer at all */
	CUT,       /* two answers, half a third, then closed */
	RUBBISH,   /* something that is no answer */
	FOREIGN,   /* an answer to a request that was never made */
};

struct relay {
	struct fdfs_addr addr, to;
	int listener;
	pthread_t thread;
	_Atomic int mode;
	atomic_bool stop, cut;       /* cut: this connection ends */
	atomic_uint accepted, sends; /* sends: receives from the client */
	char held[1 << 20];
	size_t n_held;
};

static void
send_all(int fd, const void *p, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n =
		    send(fd, (const char *)p + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd w = { .fd = fd, .events = POLLOUT };
			poll(&w, 1, 1000);
			continue;
		}
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

/* Length of the frame at @at, or 0. */
static size_t
frame_at(const struct relay *r, size_t at)
{
	struct fdfs_header h;

	if (r->n_held - at < FDFS_HEADER ||
	    fdfs_header_get((const uint8_t *)r->held + at, &h, NULL) < 0 ||
	    h.len > r->n_held - at - FDFS_HEADER)
		return 0;
	return FDFS_HEADER + (size_t)h.len;
}

/* What came from the server. False: hang up. */
static bool
pass_on(struct relay *r, int client, int mode)
{
	size_t starts[8], lens[8], n = 0, at = 0, len;
	uint8_t junk[FDFS_HEADER + RPC_ANSWER_HEAD] = { 0 };

	switch (mode) {
	case PASS:
		send_all(client, r->held, r->n_held);
		break;
	case DRIBBLE:
		for (at = 0; at < r->n_held; at += 1000) {
			len = r->n_held - at < 1000 ? r->n_held - at : 1000;
			send_all(client, r->held + at, len);
			clock_sleep_ms(1);
		}
		break;
	case HOLD:
		return true;
	case BACKWARDS:
	case CUT:
		while (
		    n < (mode == CUT ? 3 : 8) && (len = frame_at(r, at)) > 0) {
			starts[n] = at;
			lens[n++] = len;
			at += len;
		}
		if (n < (mode == CUT ? 3 : 8))
			return true;
		if (mode == CUT) {
			send_all(client, r->held, starts[2] + lens[2] / 2);
			return false;
		}
		while (n-- > 0)
			send_all(client, r->held + starts[n], lens[n]);
		memmove(r->held, r->held + at, r->n_held - at);
		r->n_held -= at;
		return true;
	case RUBBISH:
		send_all(client, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
		break;
	case FOREIGN:
	default: {
		struct rpc_answer_head h = { .id = 12345 };
		struct fdfs_header fh = { 0, FDFS_RESPONSE, 0 };

		fh.len = rpc_answer_put(junk + FDFS_HEADER, &h);
		fdfs_header_put(junk, &fh);
		send_all(client, junk, FDFS_HEADER + (size_t)fh.len);
		break;
	}
	}
	r->n_held = 0;
	return true;
}

/* The handshake goes through as it is: the first two answers. */
static void
relay_one(struct relay *r, int client)
{
	struct err e = ERR_INIT;
	struct pollfd p[2];
	unsigned answers = 0;
	char buf[65536];
	bool go_on = true;
	ssize_t n;
	int server;

	OK(fdfs_net_connect(r->to.ip, r->to.port, 2000, &server, &e));
	p[0] = (struct pollfd){ .fd = client, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = server, .events = POLLIN };
	r->n_held = 0;
	while (go_on && !atomic_load(&r->stop) &&
	       !atomic_exchange(&r->cut, false)) {
		if (poll(p, 2, 20) <= 0)
			continue;
		if (p[0].revents != 0) {
			n = recv(client, buf, sizeof(buf), MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				break;
			if (n > 0) {
				atomic_fetch_add(&r->sends, 1);
				send_all(server, buf, (size_t)n);
			}
		}
		if (p[1].revents != 0) {
			n = recv(server, r->held + r->n_held,
			    sizeof(r->held) - r->n_held, MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				break;
			if (n > 0) {
				r->n_held += (size_t)n;
				go_on = pass_on(r, client,
				    answers < 2 ? PASS : atomic_load(&r->mode));
				answers++;
			}
		}
	}
	close(server);
	close(client);
}

static void *
relay_run(void *arg)
{
	struct relay *r = arg;

	while (!atomic_load(&r->stop)) {
		struct pollfd p = { .fd = r->listener, .events = POLLIN };
		int fd;

		if (poll(&p, 1, 20) <= 0)
			continue;
		fd = accept(r->listener, NULL, NULL);
		if (fd < 0)
			continue;
		atomic_fetch_add(&r->accepted, 1);
		relay_one(r, fd);
	}
	return NULL;
}

static struct relay *
relay_open(const struct fdfs_addr *to, int mode)
{
	struct relay *r = mem_zalloc(sizeof(*r));
	struct err e = ERR_INIT;

	r->to = *to;
	atomic_store(&r->mode, mode);
	r->addr = (struct fdfs_addr){ .ip = "127.0.0.1" };
	OK(fdfs_net_listen("127.0.0.1", 0, &r->listener, &r->addr.port, &e));
	OK(thread_start(&r->thread, "relay", relay_run, r, &e));
	return r;
}

static void
relay_close(struct relay **rp)
{
	atomic_store(&(*rp)->stop, true);
	thread_join((*rp)->thread);
	close((*rp)->listener);
	mem_free(rp);
}

/* --- asks --- */

struct ask {
	struct rpc_ask ask;
	uint32_t len;
	uint8_t what;
	uint8_t dst[MUX_BODY_MAX];
	atomic_int ended;
	int rc;
	size_t got;
	int order;
};
static atomic_int order;

static void
on_end(struct rpc_ask *a, int rc, struct str args, size_t len)
{
	struct ask *k = (void *)((char *)a - offsetof(struct ask, ask));

	k->rc = rc;
	if (rc == 0)
		assert_true(str_eqz(args, args.len > 0 ? "args" : ""));
	k->got = len;
	k->order = atomic_fetch_add(&order, 1);
	atomic_fetch_add(&k->ended, 1);
}

static int
ask_op(struct rpc_mux *m, const struct fdfs_addr *to, unsigned op,
    struct ask *k, uint32_t len, uint8_t what, uint8_t code)
{
	uint8_t args[6];

	put_le32(args, len);
	args[4] = what;
	args[5] = code;
	memset(k, 0, sizeof(*k));
	k->len = len;
	k->what = what;
	k->ask = (struct rpc_ask){ .dst = k->dst, .cap = len, .fn = on_end };
	return rpc_mux_ask(m, to, op, str_mem(args, sizeof(args)), &k->ask);
}

static int
ask(struct rpc_mux *m, const struct fdfs_addr *to, struct ask *k, uint32_t len,
    uint8_t what)
{
	return ask_op(m, to, RPC_READ_NOW, k, len, what, 0);
}

static void
wait_ended(struct ask *k, size_t n, int ms)
{
	int64_t end = clock_mono_ns() + ms * INT64_C(1000000);

	for (size_t i = 0; i < n; i++)
		while (atomic_load(&k[i].ended) == 0) {
			if (clock_mono_ns() > end)
				fail_msg("ask %zu of %zu never ended", i, n);
			clock_sleep_ms(1);
		}
}

static void
check_good(const struct ask *k)
{
	assert_int_equal(atomic_load(&k->ended), 1);
	assert_int_equal(k->rc, 0);
	assert_int_equal(k->got, k->len);
	for (uint32_t i = 0; i < k->len; i++)
		assert_int_equal(k->dst[i], k->what);
}

/* The first asks find no connection: until one is taken. */
static void
warm_up(struct rpc_mux *m, const struct fdfs_addr *to, struct ask *k)
{
	for (int i = 0; ask(m, to, k, 10, 'w') != 0; i++) {
		assert_true(i < 5000);
		clock_sleep_ms(2);
	}
	wait_ended(k, 1, 10000);
}

static struct rpc_mux *
mux_of(const char *secret, int call_ms)
{
	struct rpc_mux_opts o = { .self = self_of(RPC_GATE, "", secret),
		.connect_ms = 2000,
		.call_ms = call_ms,
		.retry_ms = 50 };
	struct rpc_mux *m;

	OK(rpc_mux_open(&o, &m, NULL));
	return m;
}

#define N 200
static struct ask asks[MUX_CALLS + 1];

static void
test_many(void **state)
{
	static const int modes[] = { PASS, DRIBBLE };
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (size_t k = 0; k < 2; k++) {
		struct relay *r = relay_open(&t.addr, modes[k]);
		struct rpc_mux *m = mux_of(SECRET, 20000);

		warm_up(m, &r->addr, asks);
		for (uint32_t i = 0; i < N; i++)
			OK(ask(m, &r->addr, &asks[i],
			    i % 10 == 0 ? MUX_BODY_MAX - i : i * 5,
			    (uint8_t)i));
		wait_ended(asks, N, 20000);
		for (size_t i = 0; i < N; i++)
			check_good(&asks[i]);
		assert_int_equal(atomic_load(&r->accepted), 1);
		rpc_mux_close(&m);
		relay_close(&r);
	}
	rpc_test_close(&t);
}

static void
test_any_order(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 20000);
	struct relay *r;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	r = relay_open(&t.addr, PASS);
	warm_up(m, &r->addr, asks);
	atomic_store(&r->mode, BACKWARDS);
	for (uint32_t i = 0; i < 8; i++)
		OK(ask(m, &r->addr, &asks[i], 100 + i, (uint8_t)i));
	wait_ended(asks, 8, 10000);
	for (size_t i = 0; i < 8; i++)
		check_good(&asks[i]);
	for (size_t i = 1; i < 8; i++)
		assert_true(asks[i].order < asks[i - 1].order);
	rpc_mux_close(&m);
	relay_close(&r);
	rpc_test_close(&t);
}

static void
test_errors(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 20000);
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	warm_up(m, &t.addr, asks);
	for (int i = 1; i < (int)ERR_POSITIONS; i++) {
		OK(ask_op(m, &t.addr, RPC_READ_NOW, asks, 5, 'x', (uint8_t)i));
		wait_ended(asks, 1, 10000);
		assert_int_equal(asks->rc,
		    -i == ERR_DISCONNECTED ? ERR_BUSY : -i);
		assert_int_equal(asks->got, 0);
	}
	/* More than there is room for, and an operation that is none. */
	OK(ask(m, &t.addr, &asks[0], 100, 'a'));
	wait_ended(asks, 1, 10000);
	check_good(asks);
	{
		uint8_t args[6] = { 100, 0, 0, 0, 'b', 0 };

		memset(asks, 0, sizeof(asks[0]));
		asks->ask = (struct rpc_ask){ .dst = asks->dst,
			.cap = 99,
			.fn = on_end };
		OK(rpc_mux_ask(m, &t.addr, RPC_READ_NOW, str_mem(args, 6),
		    &asks->ask));
		wait_ended(asks, 1, 10000);
		assert_int_equal(asks->rc, ERR_TOO_BIG);
		assert_int_equal(asks->dst[0], 0);
	}
	OK(ask_op(m, &t.addr, 19, asks, 0, 0, 0));
	wait_ended(asks, 1, 10000);
	assert_int_equal(asks->rc, ERR_NOT_IMPLEMENTED);
	/* Not for its kind. */
	OK(ask_op(m, &t.addr, RPC_INSTALL, asks, 0, 0, 0));
	wait_ended(asks, 1, 10000);
	assert_int_equal(asks->rc, ERR_ACCESS_DENIED);
	rpc_mux_close(&m);
	rpc_test_close(&t);
}

/* M2: whatever happens to the connection, each call ends, and the next ones get
 * a new one. */
static void
test_breaks(void **state)
{
	static const struct {
		int mode;
		size_t good;
	} cases[] = { { CUT, 2 }, { RUBBISH, 0 }, { FOREIGN, 0 }, { HOLD, 0 } };
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (size_t c = 0; c < 4; c++) {
		struct rpc_mux *m = mux_of(SECRET, 400);
		struct relay *r = relay_open(&t.addr, PASS);
		size_t good = 0;

		warm_up(m, &r->addr, asks);
		atomic_store(&r->mode, cases[c].mode);
		thread_rests = true; /* all of them in one send */
		for (uint32_t i = 0; i < 12; i++)
			OK(ask(m, &r->addr, &asks[i], 20 + i, (uint8_t)i));
		thread_rest();
		thread_rests = false;
		wait_ended(asks, 12, 10000);
		for (size_t i = 0; i < 12; i++) {
			assert_int_equal(atomic_load(&asks[i].ended), 1);
			if (asks[i].rc == 0) {
				check_good(&asks[i]);
				good++;
			} else {
				assert_int_equal(asks[i].rc, ERR_DISCONNECTED);
			}
		}
		assert_int_equal(good, cases[c].good);
		atomic_store(&r->mode, PASS);
		warm_up(m, &r->addr, asks);
		check_good(asks);
		assert_int_equal(atomic_load(&r->accepted), 2);
		rpc_mux_close(&m);
		relay_close(&r);
	}
	rpc_test_close(&t);
}

/* M2: the connection ends while a request is being sent, which finds the socket
 * full only after that. */
static void *
ask_one(void *arg)
{
	struct relay *r = ((void **)arg)[1];

	OK(ask(((void **)arg)[0], &r->addr, &asks[0], 20, 'x'));
	return NULL;
}

static void
test_full_at_the_end(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 20000);
	pthread_t thread;
	struct relay *r;
	struct rpc_test t;
	void *args[2];

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	r = relay_open(&t.addr, PASS);
	args[0] = m;
	args[1] = r;
	warm_up(m, &r->addr, asks);
	atomic_store(&sends, SENDS_STAY);
	OK(thread_start(&thread, "ask", ask_one, args, NULL));
	while (atomic_load(&sends) != SENDS_INSIDE)
		clock_sleep_ms(1);
	atomic_store(&r->cut, true);
	clock_sleep_ms(200); /* the line's thread sees it meanwhile */
	atomic_store(&sends, SENDS_FULL);
	thread_join(thread);
	wait_ended(asks, 1, 10000);
	assert_int_equal(asks[0].rc, ERR_DISCONNECTED);
	atomic_store(&sends, SENDS_ON);
	warm_up(m, &r->addr, asks);
	check_good(asks);
	rpc_mux_close(&m);
	relay_close(&r);
	rpc_test_close(&t);
}

/* M3 and M1: what is too much is not taken; at the end all that was ends. */
static void
test_limits_and_stop(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 60000);
	struct relay *r;
	struct rpc_test t;
	struct ask more;
	uint32_t n = 0;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	r = relay_open(&t.addr, PASS);
	warm_up(m, &r->addr, asks);
	atomic_store(&r->mode, HOLD);
	while (n < MUX_CALLS + 1 && ask(m, &r->addr, &asks[n], 8, 'h') == 0)
		n++;
	assert_int_equal(n, MUX_CALLS);
	rpc_mux_stop(m);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(atomic_load(&asks[i].ended), 1);
		assert_int_equal(asks[i].rc, ERR_CLOSED);
	}
	assert_int_equal(ask(m, &r->addr, &more, 8, 'h'), ERR_BUSY);
	rpc_mux_close(&m);
	relay_close(&r);
	rpc_test_close(&t);
}

/* Nobody there, or somebody else: never taken, never a wait. */
static void
test_no_connection(void **state)
{
	struct rpc_mux *m = mux_of(OTHER_SECRET, 1000);
	struct fdfs_addr nobody = { .ip = "127.0.0.1", .port = 1 };
	int64_t begin;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	for (int i = 0; i < 100; i++) {
		begin = clock_mono_ns();
		assert_int_equal(ask(m, &t.addr, asks, 1, 'x'), ERR_BUSY);
		assert_int_equal(ask(m, &nobody, asks, 1, 'x'), ERR_BUSY);
		assert_true(clock_mono_ns() - begin < INT64_C(1000000000));
		clock_sleep_ms(3);
	}
	assert_int_equal(atomic_load(&t.calls), 0);
	rpc_mux_close(&m);
	rpc_test_close(&t);
}

/* What a thread that rests puts off is sent when it rests, when it has to wait,
 * and when there is enough of it; in one send. */
static void
test_put_off(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 20000);
	struct relay *r;
	struct rpc_test t;
	unsigned before;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	r = relay_open(&t.addr, PASS);
	warm_up(m, &r->addr, asks);
	thread_rests = true;
	for (int how = 0; how < 2; how++) {
		before = atomic_load(&t.calls);
		for (uint32_t i = 0; i < 10; i++)
			OK(ask(m, &r->addr, &asks[i], 10, (uint8_t)i));
		clock_sleep_ms(300);
		assert_int_equal(atomic_load(&t.calls), before);
		atomic_store(&r->sends, 0);
		if (how == 0)
			thread_rest();
		else
			thread_hurry();
		wait_ended(asks, 10, 10000);
		for (size_t i = 0; i < 10; i++)
			check_good(&asks[i]);
		assert_int_equal(atomic_load(&r->sends), 1);
	}
	for (uint32_t i = 0; i < 16; i++)
		OK(ask(m, &r->addr, &asks[i], 10, (uint8_t)i));
	wait_ended(asks, 16, 10000);
	thread_rests = false;
	rpc_mux_close(&m);
	relay_close(&r);
	rpc_test_close(&t);
}

/* Answers wait for others only while those are sure to come at once. */
static void
test_slow_call_behind(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 20000);
	struct rpc_test t;
	int64_t begin;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	warm_up(m, &t.addr, asks);
	thread_rests = true;
	for (uint32_t i = 0; i < 5; i++)
		OK(ask(m, &t.addr, &asks[i], 1000, (uint8_t)i));
	OK(ask_op(m, &t.addr, RPC_NODE_STATUS, &asks[5], 0, 0, 0));
	OK(ask(m, &t.addr, &asks[6], 1000, 6));
	begin = clock_mono_ns();
	thread_rest();
	thread_rests = false;
	wait_ended(asks, 5, SLOW_MS - 300);
	assert_int_equal(atomic_load(&asks[5].ended), 0);
	wait_ended(asks, 7, 10000);
	assert_true(clock_mono_ns() - begin >= SLOW_MS * INT64_C(1000000));
	for (size_t i = 0; i < 5; i++)
		check_good(&asks[i]);
	check_good(&asks[6]);
	rpc_mux_close(&m);
	rpc_test_close(&t);
}

/* A connection that nobody uses is closed, and made again. */
static void
test_idle(void **state)
{
	struct rpc_mux_opts o = { .self = self_of(RPC_GATE, "", SECRET),
		.idle_ms = 1500 };
	struct fdfs_server_stat stat;
	struct rpc_mux *m;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	OK(rpc_mux_open(&o, &m, NULL));
	warm_up(m, &t.addr, asks);
	for (int i = 0;; i++) {
		fdfs_server_stat(t.server, &stat);
		if (stat.connections == 0)
			break;
		assert_true(i < 1000);
		clock_sleep_ms(10);
	}
	warm_up(m, &t.addr, asks);
	check_good(asks);
	fdfs_server_stat(t.server, &stat);
	assert_int_equal(stat.accepted, 2);
	rpc_mux_close(&m);
	rpc_test_close(&t);
}

/* Asked from many threads while the connection goes and comes. */
struct storm {
	struct rpc_mux *m;
	const struct fdfs_addr *to;
	unsigned good;
	pthread_t thread;
};

static void *
storm_run(void *arg)
{
	struct storm *s = arg;
	struct ask *k = mem_zalloc(8 * sizeof(*k));

	for (int round = 0; round < 150; round++) {
		bool taken[8];

		for (uint32_t i = 0; i < 8; i++)
			taken[i] =
			    ask(s->m, s->to, &k[i], 100, (uint8_t)i) == 0;
		for (size_t i = 0; i < 8; i++) {
			if (!taken[i])
				continue;
			wait_ended(&k[i], 1, 20000);
			if (k[i].rc == 0)
				check_good(&k[i]);
			s->good += k[i].rc == 0;
		}
		clock_sleep_ms(1);
	}
	mem_free(&k);
	return NULL;
}

static void
test_storm(void **state)
{
	struct rpc_mux *m = mux_of(SECRET, 20000);
	struct storm s[4] = { 0 };
	struct relay *r;
	struct rpc_test t;
	unsigned good = 0;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	r = relay_open(&t.addr, PASS);
	warm_up(m, &r->addr, asks);
	for (size_t i = 0; i < 4; i++) {
		s[i].m = m;
		s[i].to = &r->addr;
		OK(thread_start(&s[i].thread, "storm", storm_run, &s[i], NULL));
	}
	for (int i = 0; i < 5; i++) {
		clock_sleep_ms(30);
		atomic_store(&r->mode, CUT);
		clock_sleep_ms(10);
		atomic_store(&r->mode, PASS);
	}
	for (size_t i = 0; i < 4; i++) {
		thread_join(s[i].thread);
		good += s[i].good;
	}
	assert_true(good > 0);
	assert_true(atomic_load(&r->accepted) > 1);
	rpc_mux_close(&m);
	relay_close(&r);
	rpc_test_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_breaks),
		cmocka_unit_test(test_full_at_the_end),
		cmocka_unit_test(test_limits_and_stop),
		cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_put_off),
		cmocka_unit_test(test_slow_call_behind),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
