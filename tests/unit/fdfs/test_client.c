/* The client against our own server loop, against the independent mock
 * (tests/fastdfs/mock.py, in another language), and against peers that
 * misbehave. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory.h"
#include "scenario.h"

#include "fdfs/net.h"

#include "lib/fault.h"

static void
test_own(void **state)
{
	struct memory m;

	(void)state;
	for (int form = FDFS_NARROW; form <= FDFS_WIDE; form++) {
		struct fdfs_server_stat stat;

		memory_open(&m, (enum fdfs_form)form, NULL);
		scenario_run(fdfs_server_port(m.tracker));
		fdfs_server_stat(m.storage, &stat);
		assert_true(stat.requests >= 20);
		assert_true(stat.most <= 4);
		assert_int_equal(stat.memory, 0);
		memory_close(&m);
	}
}

/* --- the mock --- */

static uint16_t
free_port(void)
{
	uint16_t port;
	int fd;

	assert_int_equal(fdfs_net_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
	close(fd);
	return port;
}

static pid_t
start_mock(uint16_t tracker, uint16_t storage, bool wide)
{
	const char *dir = getenv("CREEL_FASTDFS_DIR");
	char path[512], t[8], s[8];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/mock.py",
	    dir != NULL ? dir : CREEL_SOURCE_DIR "/tests/fastdfs");
	snprintf(t, sizeof(t), "%u", tracker);
	snprintf(s, sizeof(s), "%u", storage);
	pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	if (freopen("/dev/null", "w", stdout) == NULL)
		_exit(126);
	execl("/usr/bin/python3", "python3", path, "--tport", t, "--sport", s,
	    wide ? "--wide" : NULL, (char *)NULL);
	_exit(127);
}

static bool
wait_for_port(uint16_t port)
{
	for (int i = 0; i < 200; i++) {
		int fd;

		if (fdfs_net_connect("127.0.0.1", port, 1000, &fd, NULL) == 0) {
			close(fd);
			return true;
		}
		clock_sleep_ms(50);
	}
	return false;
}

static void
test_mock(void **state)
{
	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		uint16_t tracker = free_port(), storage = free_port();
		pid_t pid = start_mock(tracker, storage, wide);
		bool up = wait_for_port(tracker) && wait_for_port(storage);

		if (up)
			scenario_run(tracker);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_true(up);
	}
}

/* --- connections --- */

static void
test_stale(void **state)
{
	struct fdfs_server_opts o = { .idle_ms = 50 };
	struct fdfs_client_stat stat;
	struct fdfs_client *c;
	struct fdfs_addr to = { .ip = "127.0.0.1" };
	struct err e = ERR_INIT;
	struct memory m;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	to.port = fdfs_server_port(m.storage);
	OK(fdfs_client_open(NULL, &c, &e));
	OK(fdfs_active_test(c, &to, &e));
	/* The server closes it meanwhile. */
	for (int i = 0; i < 200; i++) {
		struct fdfs_server_stat s;

		fdfs_server_stat(m.storage, &s);
		if (s.connections == 0)
			break;
		clock_sleep_ms(20);
	}
	OK(fdfs_active_test(c, &to, &e));
	fdfs_client_stat(c, &stat);
	assert_int_equal(stat.stale, 1);
	assert_int_equal(stat.connects, 2);
	assert_int_equal(stat.reused, 0);
	fdfs_client_close(&c);
	memory_close(&m);
}

/* Answers the first request of a connection, and resets that one when told. */
struct resetter {
	int listener;
	atomic_bool resets;
};

static void *
run_resetter(void *arg)
{
	struct linger at_once = { 1, 0 };
	struct resetter *r = arg;
	uint8_t raw[FDFS_HEADER];
	struct fdfs_header h = { 0, FDFS_RESPONSE, 0 };
	struct iovec iov = { raw, sizeof(raw) };
	int fd = accept(r->listener, NULL, NULL);
	size_t n;
	bool input;

	MUST(fdfs_net_recv(fd, raw, sizeof(raw), 3000, &n, NULL) == 0);
	fdfs_header_put(raw, &h);
	MUST(fdfs_net_send(fd, &iov, 1, 3000, false, &n, &input, NULL) == 0);
	while (!atomic_load(&r->resets))
		clock_sleep_ms(1);
	MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) ==
	     0);
	close(fd);
	return NULL;
}

/* A head for one connection goes out on no other. */
static void
test_bound(void **state)
{
	struct str head = STR_LIT("\0\0\0\0\0\0\0\0\x6f\0"); /* ACTIVE_TEST */
	struct resetter r = { .resets = false };
	int64_t begin = clock_mono_ns();
	struct fdfs_addr to = { .ip = "127.0.0.1" };
	struct fdfs_client_stat stat;
	struct fdfs_link link, first;
	struct fdfs_client *c;
	struct fdfs_call *call;
	struct err e = ERR_INIT;
	pthread_t thread;
	uint64_t len;

	(void)state;
	OK(fdfs_net_listen("127.0.0.1", 0, &r.listener, &to.port, &e));
	assert_int_equal(pthread_create(&thread, NULL, run_resetter, &r), 0);
	OK(fdfs_client_open(NULL, &c, &e));
	OK(fdfs_call_open(c, &to, head, &call, &e));
	fdfs_call_link(call, &first);
	assert_true(first.met_ns >= begin && first.greeted == 0);
	fdfs_call_bind(call, head);
	OK(fdfs_call_answer(call, 0, &len, &e));
	fdfs_call_close(&call);
	/* Taken while it lives, dead when it is to be used. */
	OK(fdfs_call_open(c, &to, head, &call, &e));
	fdfs_call_link(call, &link);
	assert_true(link.met_ns > first.met_ns);
	assert_true(link.met_ns <= clock_mono_ns());
	atomic_store(&r.resets, true);
	pthread_join(thread, NULL);
	fdfs_call_bind(call, head);
	assert_int_equal(fdfs_call_answer(call, 0, &len, &e), ERR_DISCONNECTED);
	assert_true(fdfs_call_is_stale(call));
	assert_false(fdfs_call_was_sent(call));
	fdfs_call_close(&call);
	fdfs_client_stat(c, &stat);
	assert_int_equal(stat.connects, 1);
	assert_int_equal(stat.reused, 1);
	assert_int_equal(stat.idle, 0);
	fdfs_client_close(&c);
	close(r.listener);
}

static void
test_pool_limits(void **state)
{
	struct fdfs_client_opts o = { .max_idle_each = 2, .idle_ms = 100 };
	struct fdfs_storage_req r = { .command = FDFS_DELETE,
		.group = STR_LIT("group1"),
		.name = STR_LIT("M00/00/00/none") };
	struct fdfs_addr to = { .ip = "127.0.0.1" };
	struct buf head = BUF_CAP(256);
	struct fdfs_client_stat stat;
	struct fdfs_call *call[4];
	struct err e = ERR_INIT;
	struct fdfs_client *c;
	struct memory m;
	uint64_t len;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	to.port = fdfs_server_port(m.storage);
	OK(fdfs_client_open(&o, &c, &e));
	OK(fdfs_storage_req_encode(&r, &head, &e));
	for (int i = 0; i < 4; i++)
		OK(fdfs_call_open(c, &to, buf_str(&head), &call[i], &e));
	for (int i = 0; i < 4; i++) {
		assert_false(fdfs_call_was_sent(call[i]));
		assert_int_equal(fdfs_call_answer(call[i], 0, &len, &e),
		    ERR_NOT_FOUND);
		assert_true(fdfs_call_was_sent(call[i]));
		fdfs_call_close(&call[i]);
	}
	fdfs_client_stat(c, &stat);
	assert_int_equal(stat.connects, 4);
	assert_int_equal(stat.idle, 2);
	/* They do not rest for ever. */
	clock_sleep_ms(150);
	OK(fdfs_active_test(c, &to, &e));
	fdfs_client_stat(c, &stat);
	assert_int_equal(stat.connects, 5);
	assert_int_equal(stat.idle, 1);
	buf_fini(&head);
	fdfs_client_close(&c);
	memory_close(&m);
}

/* An upload that is refused while it goes on, and one whose source ends. */
static void
test_broken_upload(void **state)
{
	struct fdfs_storage_req r = { .command = FDFS_UPLOAD };
	struct scenario s = { .storage = { .ip = "127.0.0.1" } };
	struct pattern p = { .size = 64u << 20 };
	struct fdfs_client_stat stat;
	struct err e = ERR_INIT;
	struct fdfs_file f;
	struct memory m;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	s.storage.port = fdfs_server_port(m.storage);
	OK(fdfs_client_open(NULL, &s.c, &e));
	r.size = p.size;
	assert_int_equal(fdfs_send(s.c, &s.storage, &r, pattern_source, &p, &f,
			     &e),
	    ERR_NO_SPACE);
	assert_true(p.at < p.size);
	p = (struct pattern){ .size = 1000 };
	r.size = 1001;
	assert_int_equal(fdfs_send(s.c, &s.storage, &r, pattern_source, &p, &f,
			     &e),
	    ERR_END);
	fdfs_client_stat(s.c, &stat);
	assert_int_equal(stat.idle, 0);
	/* Half an upload left nothing. */
	for (size_t i = 0; i < MEMORY_FILES; i++)
		assert_int_equal(m.file[i].name[0], '\0');
	fdfs_client_close(&s.c);
	memory_close(&m);
}

/* --- peers that misbehave: accept one connection, send bytes, close --- */

struct peer {
	pthread_t thread;
	int listener;
	struct fdfs_addr addr;
	struct str says;
	bool stays; /* never closes by itself: until peer_end() */
	int end[2];
};

static void *
peer_run(void *arg)
{
	struct peer *p = arg;
	char buf[256];
	int fd;

	do {
		fd = accept(p->listener, NULL, NULL);
		if (fd < 0)
			clock_sleep_ms(5);
	} while (fd < 0);
	MUST(read(fd, buf, sizeof(buf)) > 0);
	if (p->says.len > 0)
		MUST(write(fd, p->says.p, p->says.len) > 0);
	if (p->stays)
		MUST(read(p->end[0], buf, 1) >= 0);
	close(fd);
	return NULL;
}

static void
peer_start(struct peer *p, struct str says, bool stays)
{
	memset(p, 0, sizeof(*p));
	p->says = says;
	p->stays = stays;
	snprintf(p->addr.ip, sizeof(p->addr.ip), "127.0.0.1");
	assert_int_equal(pipe(p->end), 0);
	assert_int_equal(fdfs_net_listen("127.0.0.1", 0, &p->listener,
			     &p->addr.port, NULL),
	    0);
	assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

static void
peer_end(struct peer *p)
{
	close(p->end[1]);
	pthread_join(p->thread, NULL);
	close(p->end[0]);
	close(p->listener);
}

static void
test_bad_answers(void **state)
{
	static const struct {
		struct str says;
		int want;
	} cases[] = {
		{ STR_LIT(""), ERR_DISCONNECTED },
		{ STR_LIT("\0\0\0"), ERR_DISCONNECTED },
		{ STR_LIT("\0\0\0\0\0\0\0\0\x65\0"), ERR_INVALID },
		{ STR_LIT("\x80\0\0\0\0\0\0\0\x64\0"), ERR_INVALID },
		{ STR_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\x64\0"),
		    ERR_INVALID },
		{ STR_LIT("\x7f\xff\xff\xff\xff\xff\xff\xff\x64\0"),
		    ERR_TOO_BIG },
		{ STR_LIT("\0\0\0\0\0\0\0\x29\x64\0"), ERR_DISCONNECTED },
		{ STR_LIT("\0\0\0\0\0\0\0\1\x64\2x"), ERR_INVALID },
		{ STR_LIT("\0\0\0\0\0\0\0\0\x64\0"), ERR_INVALID },
		{ STR_LIT("\0\0\0\0\0\0\0\0\x64\x1c"), ERR_NO_SPACE },
		{ STR_LIT("\0\0\0\0\0\0\0\x28\x64\0group1"), ERR_DISCONNECTED },
		{ STR_LIT("HTTP/1.1 400 Bad Request\r\n"), ERR_INVALID },
	};
	struct fdfs_client_opts o = { .io_ms = 5000 };
	struct fdfs_servers servers;
	struct fdfs_client *c;
	struct err e = ERR_INIT;
	struct peer p;

	(void)state;
	OK(fdfs_client_open(&o, &c, &e));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fdfs_client_stat stat;
		int rc;

		peer_start(&p, cases[i].says, false);
		rc = fdfs_ask_store(c, &p.addr, STR_LIT(""), false, &servers,
		    &e);
		if (rc != cases[i].want)
			fail_msg("%zu: %s: %s", i, err_name(rc), e.msg);
		fdfs_client_stat(c, &stat);
		/* Well-formed frames leave a usable connection. */
		assert_true(stat.idle <= 2);
		peer_end(&p);
	}
	fdfs_client_close(&c);
}

static void
test_dead_peers(void **state)
{
	struct fdfs_client_opts o = { .io_ms = 100, .connect_ms = 500 };
	struct fdfs_addr nobody = { .ip = "127.0.0.1", .port = free_port() };
	struct fdfs_servers servers;
	struct fdfs_client *c;
	struct err e = ERR_INIT;
	struct peer p;

	(void)state;
	OK(fdfs_client_open(&o, &c, &e));
	assert_int_equal(fdfs_active_test(c, &nobody, &e), ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, ECONNREFUSED);
	/* One that says nothing, one that stops within its answer. */
	peer_start(&p, STR_LIT(""), true);
	assert_int_equal(fdfs_active_test(c, &p.addr, &e), ERR_DISCONNECTED);
	assert_int_equal(e.sys_errno, ETIMEDOUT);
	peer_end(&p);
	peer_start(&p, STR_LIT("\0\0\0\0\0\0\0\x28\x64\0group1"), true);
	assert_int_equal(fdfs_ask_store(c, &p.addr, STR_LIT(""), false,
			     &servers, &e),
	    ERR_DISCONNECTED);
	peer_end(&p);
	fdfs_client_close(&c);
}

/* A server never gets more than asked for into the sink. */
static void
test_too_much(void **state)
{
	struct fdfs_storage_req r = { .command = FDFS_DOWNLOAD,
		.group = STR_LIT("group1"),
		.name = STR_LIT("M00/00/00/some"),
		.bytes = 4 };
	struct buf b = BUF_CAP(64);
	struct fdfs_client *c;
	struct err e = ERR_INIT;
	struct peer p;
	uint64_t len;

	(void)state;
	OK(fdfs_client_open(NULL, &c, &e));
	peer_start(&p, STR_LIT("\0\0\0\0\0\0\0\5\x64\0hello"), false);
	assert_int_equal(fdfs_download(c, &p.addr, &r, buf_sink, &b, &len, &e),
	    ERR_TOO_BIG);
	assert_int_equal(b.len, 0);
	peer_end(&p);
	/* And a sink that fails ends it. */
	r.bytes = 0;
	b.cap = 3;
	peer_start(&p, STR_LIT("\0\0\0\0\0\0\0\5\x64\0hello"), false);
	assert_int_equal(fdfs_download(c, &p.addr, &r, buf_sink, &b, &len, &e),
	    ERR_TOO_BIG);
	assert_int_equal(len, 0);
	peer_end(&p);
	fdfs_client_close(&c);
	buf_fini(&b);
}

/* --- a command of our own, behind an introduction --- */

static const struct fdfs_command own = { .number = 120,
	.servers = FDFS_BOTH,
	.shape = FDFS_SHAPE_CONTENT,
	.fixed = 4,
	.limit = 4,
	.name = "OWN" };
static atomic_int forgotten;

static void
forget(void *data)
{
	atomic_fetch_add(&forgotten, 1);
	free(data);
}

static int
own_handler(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	(void)arg;
	if (str_eqz(in->head, "helo")) {
		fdfs_conn_set_data(c, calloc(1, 1), forget);
		return 0;
	}
	if (fdfs_conn_data(c) == NULL)
		return err_set(e, ERR_ACCESS_DENIED, "who is it");
	return fdfs_conn_reply(c, in->head, e);
}

static int
greet(void *arg, int fd, const struct fdfs_addr *to, int timeout_ms,
    struct err *e)
{
	struct iovec iov = { (char *)(uintptr_t) "\0\0\0\0\0\0\0\4\x78\0helo",
		14 };
	uint8_t raw[FDFS_HEADER];
	size_t n;
	bool input;

	(void)to;
	assert_true(timeout_ms > 0);
	(*(int *)arg)++;
	MUST(fdfs_net_send(fd, &iov, 1, 5000, false, &n, &input, e) == 0);
	MUST(fdfs_net_recv(fd, raw, sizeof(raw), 5000, &n, e) == 0);
	assert_int_equal(n, sizeof(raw));
	return fdfs_status_err(raw[9], e);
}

static void
test_greeting(void **state)
{
	static const struct fdfs_route route = { .command = &own,
		.fn = own_handler };
	struct fdfs_server_opts so = { .kind = FDFS_STORAGE,
		.host = "127.0.0.1",
		.routes = &route,
		.n_routes = 1 };
	struct str question = STR_LIT("\0\0\0\0\0\0\0\4\x78\0what");
	int greeted = 0;
	struct fdfs_client_opts co = { .greet = greet, .arg = &greeted };
	struct fdfs_addr to = { .ip = "127.0.0.1" };
	struct buf b = BUF_CAP(64);
	struct fdfs_server *s;
	struct fdfs_client *c;
	struct err e = ERR_INIT;

	(void)state;
	OK(fdfs_server_open(&so, &s, &e));
	to.port = fdfs_server_port(s);
	OK(fdfs_client_open(NULL, &c, &e));
	assert_int_equal(fdfs_exchange(c, &to, question, 64, &b, &e),
	    ERR_ACCESS_DENIED);
	fdfs_client_close(&c);
	OK(fdfs_client_open(&co, &c, &e));
	OK(fdfs_exchange(c, &to, question, 64, &b, &e));
	OK(fdfs_exchange(c, &to, question, 64, &b, &e));
	assert_true(str_eqz(buf_str(&b), "whatwhat"));
	assert_int_equal(greeted, 1);
	fdfs_client_close(&c);
	fdfs_server_close(&s, 1000);
	assert_int_equal(atomic_load(&forgotten), 1);
	buf_fini(&b);
}

/* Each allocation of both sides fails once: an error, no crash, no leak. */
static void
test_no_memory(void **state)
{
	struct fdfs_storage_req r = req(FDFS_UPLOAD, NULL);
	struct scenario s = { .storage = { .ip = "127.0.0.1" } };
	struct err e = ERR_INIT;
	struct memory m;
	bool fired = true;
	unsigned n;

	(void)state;
	r.path = FDFS_ANY_PATH;
	memory_open(&m, FDFS_NARROW, NULL);
	s.storage.port = fdfs_server_port(m.storage);
	for (n = 1; fired && n < 100; n++) {
		struct buf b = BUF_CAP(64);
		struct fdfs_file f;
		uint64_t len;
		int rc;

		fault_arm(FAULT_ALLOC, n, 12, false);
		rc = fdfs_client_open(NULL, &s.c, &e);
		if (rc == 0)
			rc = send_text(&s, r, "some", &f, &e);
		if (rc == 0) {
			struct fdfs_storage_req d = req(FDFS_DOWNLOAD, &f);

			rc = fdfs_download(s.c, &s.storage, &d, buf_sink, &b,
			    &len, &e);
		}
		if (rc == 0) {
			struct fdfs_storage_req d = req(FDFS_DELETE, &f);

			rc = fdfs_do(s.c, &s.storage, &d, &e);
		}
		fault_disarm();
		fired = fault_fired();
		/* What fired may have hit the end of the last round. */
		assert_true(fired || rc == 0);
		fdfs_client_close(&s.c);
		buf_fini(&b);
		/* The server may still be at it. */
		pthread_mutex_lock(&m.lock);
		for (size_t i = 0; i < MEMORY_FILES; i++)
			memory_free(&m.file[i]);
		pthread_mutex_unlock(&m.lock);
	}
	assert_true(n >= 12 && n < 100);
	memory_close(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_mock),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_pool_limits),
		cmocka_unit_test(test_broken_upload),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_dead_peers),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
