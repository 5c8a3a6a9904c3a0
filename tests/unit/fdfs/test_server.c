/* The server loop against raw bytes: framing, limits, time-outs, closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory.h"
#include "raw.h"
#include "scenario.h"

#include "fdfs/server_impl.h"

#define NAME "M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt"

static void
say_header(int fd, uint64_t len, uint8_t command)
{
	uint8_t raw[FDFS_HEADER] = { 0 };

	put_be64(raw, len); /* any: also negative */
	raw[8] = command;
	say(fd, raw, sizeof(raw));
}

/* The status of the answer, its body's length in *ret_len; -1: closed. */
static int
hear(int fd, uint64_t *ret_len)
{
	uint8_t raw[FDFS_HEADER];

	if (!hear_bytes(fd, raw, sizeof(raw), 5000))
		return -1;
	assert_int_equal(raw[8], FDFS_RESPONSE);
	if (ret_len != NULL)
		*ret_len = get_be64(raw);
	return raw[9];
}

static bool
is_closed(int fd)
{
	struct err e;
	size_t n;
	char c;

	return fdfs_net_recv(fd, &c, 1, 5000, &n, &e) < 0 || n == 0;
}

static void
test_common(void **state)
{
	struct fdfs_server *servers[2];
	struct memory m;
	uint64_t len;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	servers[0] = m.tracker;
	servers[1] = m.storage;
	for (int i = 0; i < 2; i++) {
		fd = dial(servers[i]);
		say_header(fd, 0, FDFS_ACTIVE_TEST);
		assert_int_equal(hear(fd, &len), 0);
		assert_int_equal(len, 0);
		/* Unknown: a storage closes, a tracker does not. */
		say_header(fd, 0, 99);
		assert_int_equal(hear(fd, &len), FDFS_EINVAL);
		assert_int_equal(len, 0);
		if (i == 1) {
			assert_true(is_closed(fd));
			close(fd);
			fd = dial(servers[i]);
		}
		/* Of the other server: unknown too. */
		say_header(fd, 0, i == 0 ? FDFS_UPLOAD : FDFS_STORE_ONE);
		assert_int_equal(hear(fd, NULL), FDFS_EINVAL);
		if (i == 1) {
			assert_true(is_closed(fd));
			close(fd);
			fd = dial(servers[i]);
		}
		say_header(fd, 0, FDFS_QUIT);
		assert_true(is_closed(fd));
		close(fd);
	}
	memory_close(&m);
}

static void
test_bytewise(void **state)
{
	static const char req[] = "\0\0\0\0\0\0\0\x3c\x66\0group1\0\0\0\0\0\0\0"
				  "\0\0\0" NAME;
	struct memory m;
	uint64_t len;
	char buf[256];
	struct err e;
	size_t n, have = 0;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	fd = dial(m.tracker);
	for (size_t i = 0; i < sizeof(req) - 1; i++)
		say(fd, req + i, 1);
	assert_int_equal(hear(fd, &len), 0);
	assert_int_equal(len, 39);
	assert_int_equal(fdfs_net_recv(fd, buf, 39, 5000, &n, &e), 0);
	assert_int_equal(n, 39);
	/* Two at once: two answers, in order. */
	memcpy(buf, "\0\0\0\0\0\0\0\0\x6f\0\0\0\0\0\0\0\0\0\x65\0", 20);
	say(fd, buf, 20);
	assert_int_equal(hear(fd, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(hear(fd, &len), 0);
	assert_int_equal(len, 40);
	while (have < 40) {
		assert_int_equal(fdfs_net_recv(fd, buf, 40 - have, 5000, &n,
				     &e),
		    0);
		have += n;
	}
	close(fd);
	memory_close(&m);
}

/* Header and body leave in one segment: one read() gets both. */
static void
test_one_segment(void **state)
{
	struct memory m;
	char buf[256];
	struct err e;
	size_t n;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	fd = dial(m.tracker);
	say_header(fd, 0, FDFS_STORE_ONE);
	assert_int_equal(fdfs_net_recv(fd, buf, sizeof(buf), 5000, &n, &e), 0);
	assert_int_equal(n, 50);
	close(fd);
	/* And a streamed answer's header with its first bytes. */
	fd = dial(m.storage);
	say(fd, "\0\0\0\0\0\0\0\x13\x0b\0\xff\0\0\0\0\0\0\0\4\0\0\0\0\0\0data",
	    29);
	assert_int_equal(fdfs_net_recv(fd, buf, sizeof(buf), 5000, &n, &e), 0);
	assert_int_equal(n, 10 + 60);
	{
		uint8_t req[FDFS_HEADER + 32 + 44] = { 0 };

		put_be64(req, 32 + 44);
		req[8] = FDFS_DOWNLOAD;
		memcpy(req + FDFS_HEADER + 16, buf + 10, 60);
		say(fd, req, sizeof(req));
	}
	assert_int_equal(fdfs_net_recv(fd, buf, sizeof(buf), 5000, &n, &e), 0);
	assert_true(n >= 12);
	close(fd);
	memory_close(&m);
}

static void
test_malformed(void **state)
{
	static const struct {
		uint64_t len;
		uint8_t command;
	} cases[] = {
		{ UINT64_MAX, FDFS_UPLOAD },
		{ (uint64_t)1 << 63, FDFS_DELETE },
		{ INT64_MAX, FDFS_DELETE },
		{ INT64_MAX, FDFS_SET_META },
		{ FDFS_META_PACKET + 1, FDFS_SET_META },
		{ 14, FDFS_UPLOAD },
		{ 15, FDFS_APPEND },
		{ 0, FDFS_DOWNLOAD },
		{ 144, FDFS_DELETE },
		{ INT64_MAX, 200 },
		{ 1, FDFS_ACTIVE_TEST },
		{ INT64_MAX, FDFS_ACTIVE_TEST },
	};
	struct fdfs_server_stat stat;
	struct memory m;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		fd = dial(m.storage);
		say_header(fd, cases[i].len, cases[i].command);
		assert_int_equal(hear(fd, NULL), FDFS_EINVAL);
		shutdown(fd, SHUT_WR);
		assert_true(is_closed(fd));
		close(fd);
	}
	/* A name's length that lies, with all of the content behind it. */
	fd = dial(m.storage);
	say_header(fd, 16 + 100, FDFS_APPEND);
	say(fd, "\0\0\0\0\0\0\0\xff\0\0\0\0\0\0\0\1", 16);
	assert_int_equal(hear(fd, NULL), FDFS_EINVAL);
	shutdown(fd, SHUT_WR);
	assert_true(is_closed(fd)); /* it is counted by then */
	close(fd);
	/* A tracker reads past a small body and goes on ... */
	fd = dial(m.tracker);
	say_header(fd, 1000, FDFS_STORE_ONE);
	{
		char junk[1000] = "";

		say(fd, junk, sizeof(junk));
	}
	assert_int_equal(hear(fd, NULL), FDFS_EINVAL);
	say_header(fd, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(fd, NULL), 0);
	/* ... and closes before a large one. */
	say_header(fd, (uint64_t)1 << 40, FDFS_STORE_ONE);
	assert_int_equal(hear(fd, NULL), FDFS_EINVAL);
	shutdown(fd, SHUT_WR);
	assert_true(is_closed(fd));
	close(fd);
	fdfs_server_stat(m.storage, &stat);
	assert_int_equal(stat.memory, 0);
	assert_int_equal(stat.failed, sizeof(cases) / sizeof(*cases) + 1);
	memory_close(&m);
}

/* Peers that stop within a header, a head, content. */
static void
test_half(void **state)
{
	struct fdfs_server_opts o = { .head_ms = 100, .io_ms = 100 };
	static const char upload[] = "\0\0\0\0\0\0\1\0\x0b\0\xff\0\0\0\0\0\0\0"
				     "\xf1\0\0\0\0\0\0half";
	static const size_t parts[] = { 1, 9, 10, 14, 25, 29 };
	struct memory m;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		int fd = dial(m.storage);

		say(fd, upload, parts[i]);
		close(fd); /* goes away */
		fd = dial(m.storage);
		say(fd, upload, parts[i]);
		/* Stays, and says no more: it is not waited for. An error may
		 * still be said before the end. */
		hear(fd, NULL);
		assert_true(is_closed(fd));
		close(fd);
	}
	for (size_t i = 0; i < MEMORY_FILES; i++)
		assert_int_equal(m.file[i].name[0], '\0');
	memory_close(&m);
}

/* A head that trickles in is cut, however alive the peer is. */
static void
test_slow_head(void **state)
{
	struct fdfs_server_opts o = { .head_ms = 200, .io_ms = 5000 };
	struct memory m;
	bool closed = false;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	fd = dial(m.storage);
	say_header(fd, 16 + 127, FDFS_DELETE);
	for (int i = 0; i < 100 && !closed; i++) {
		closed = send(fd, "x", 1, MSG_NOSIGNAL) < 0 ||
		         !fdfs_net_is_quiet(fd);
		clock_sleep_ms(20);
	}
	assert_true(closed);
	close(fd);
	memory_close(&m);
}

static void
test_full(void **state)
{
	struct fdfs_server_opts o = { .max_connections = 2 };
	struct fdfs_server_stat stat;
	struct memory m;
	int a, b, c, d;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	a = dial(m.storage);
	say_header(a, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(a, NULL), 0);
	b = dial(m.storage);
	say_header(b, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(b, NULL), 0);
	/* A third: the one idle longest goes. */
	c = dial(m.storage);
	say_header(c, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(c, NULL), 0);
	assert_true(is_closed(a));
	say_header(b, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(b, NULL), 0);
	/* Two at work: a fourth is turned away. */
	say(b, "\0\0\0", 3);
	say(c, "\0\0\0", 3);
	for (int i = 0; i < 200; i++) {
		bool busy = true;

		lock_take(&m.storage->lock);
		for (struct fdfs_conn *k = m.storage->active; k != NULL;
		     k = k->next)
			busy = busy && !k->is_idle;
		lock_drop(&m.storage->lock);
		if (busy)
			break;
		clock_sleep_ms(10);
	}
	d = dial(m.storage);
	assert_true(is_closed(d));
	fdfs_server_stat(m.storage, &stat);
	assert_int_equal(stat.most, 2);
	assert_int_equal(stat.refused, 1);
	close(a);
	close(b);
	close(c);
	close(d);
	memory_close(&m);
}

static bool
nobody(void *arg, const struct fdfs_addr *peer)
{
	(void)arg;
	assert_string_equal(peer->ip, "127.0.0.1");
	return false;
}

static void
test_allow(void **state)
{
	struct fdfs_server_opts o = { .allow = nobody };
	struct memory m;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	fd = dial(m.storage);
	assert_true(is_closed(fd));
	close(fd);
	memory_close(&m);
}

static int
not_this(void *arg, const struct fdfs_addr *peer, const struct fdfs_command *c,
    struct err *e)
{
	(void)arg;
	assert_string_equal(peer->ip, "127.0.0.1");
	return c->number == FDFS_SET_META
	           ? err_set(e, ERR_ACCESS_DENIED, "not for you")
	           : 0;
}

/* Nothing behind the header is waited for, let alone kept. */
static void
test_admit(void **state)
{
	struct fdfs_server_opts o = { .admit = not_this };
	struct fdfs_server_stat stat;
	uint64_t len = 1;
	struct memory m;
	int fd;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	fd = dial(m.storage);
	say_header(fd, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(fd, &len), 0);
	say_header(fd, 60000, FDFS_SET_META);
	assert_int_equal(hear(fd, &len), FDFS_EACCES);
	assert_int_equal(len, 0);
	assert_true(is_closed(fd));
	fdfs_server_stat(m.storage, &stat);
	assert_int_equal(stat.memory, 0);
	close(fd);
	memory_close(&m);
}

/* The memory of heads becomes @want; it is given back behind an answer. */
static void
wait_for_memory(struct fdfs_server *s, size_t want)
{
	struct fdfs_server_stat stat;

	for (int i = 0; i < 500; i++) {
		fdfs_server_stat(s, &stat);
		if (stat.memory == want)
			return;
		clock_sleep_ms(10);
	}
	fail_msg("%zu bytes held", stat.memory);
}

static void
test_memory(void **state)
{
	struct fdfs_server_opts o = { .max_memory = 100000 };
	static const char name[] = "group1\0\0\0\0\0\0\0\0\0\0" NAME;
	struct memory m;
	char *big;
	int a, b;

	(void)state;
	memory_open(&m, FDFS_NARROW, &o);
	big = calloc(1, 200000);
	assert_non_null(big);
	memcpy(big + 17, name, sizeof(name) - 1);
	put_be64(big, 44);
	big[16] = 'O';
	/* Within: only the file is missing. */
	a = dial(m.storage);
	put_be64(big + 8, 60000 - 33 - 44);
	memset(big + 33 + 44, 'x', 60000);
	say_header(a, 60000, FDFS_SET_META);
	say(a, big, 60000);
	assert_int_equal(hear(a, NULL), FDFS_ENOENT);
	wait_for_memory(m.storage, 0);
	/* One that holds 60,000, and stops: the next must wait. */
	say_header(a, 60000, FDFS_SET_META);
	say(a, big, 59999);
	wait_for_memory(m.storage, 60000);
	b = dial(m.storage);
	say_header(b, 60000, FDFS_SET_META);
	say(b, big, 60000);
	assert_int_equal(hear(b, NULL), FDFS_EAGAIN);
	say(a, big, 1);
	assert_int_equal(hear(a, NULL), FDFS_ENOENT);
	wait_for_memory(m.storage, 0);
	/* Given back; b is in step, its body was read past. */
	say_header(b, 60000, FDFS_SET_META);
	say(b, big, 60000);
	assert_int_equal(hear(b, NULL), FDFS_ENOENT);
	close(a);
	close(b);
	free(big);
	memory_close(&m);
}

/* Closing waits for requests under way, not for idle ones, and not for ever. */
static void
test_close(void **state)
{
	struct fdfs_server *s;
	struct memory m;
	int64_t start;
	int idle, busy;

	(void)state;
	memory_open(&m, FDFS_NARROW, NULL);
	idle = dial(m.storage);
	say_header(idle, 0, FDFS_ACTIVE_TEST);
	assert_int_equal(hear(idle, NULL), 0);
	busy = dial(m.storage);
	say_header(busy, 1000, FDFS_UPLOAD);
	s = m.storage;
	m.storage = NULL;
	start = clock_mono_ns();
	fdfs_server_close(&s, 100);
	assert_null(s);
	assert_true(clock_mono_ns() - start < INT64_C(10000000000));
	assert_true(is_closed(idle));
	hear(busy, NULL);
	assert_true(is_closed(busy));
	close(idle);
	close(busy);
	memory_close(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common),
		cmocka_unit_test(test_bytewise),
		cmocka_unit_test(test_one_segment),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_half),
		cmocka_unit_test(test_slow_head),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_allow),
		cmocka_unit_test(test_admit),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
