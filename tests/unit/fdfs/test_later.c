/* What is answered later, without a thread of its own (fdfs/loop.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "raw.h"

#include "fdfs/server_impl.h"
#include "fdfs/storage_codec.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/thread.h"

#define HELD 256

struct rig {
	struct fdfs_server *s;
	pthread_mutex_t m;
	struct fdfs_conn *held[HELD]; /* FDFS_LATER, oldest first */
	size_t n_held;
	char said[64];         /* the content of the last one */
	atomic_bool waits;     /* FDFS_WAITS */
	atomic_int fails;      /* at once, by the loop */
	atomic_bool is_inline; /* gathered() answers */
	atomic_uint n_later, n_handled, n_deletes, n_gathered;
};

static int
on_handled(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct rig *g = arg;
	char junk[4096];
	size_t n = 1;
	int rc = 0;

	(void)in;
	while (rc == 0 && n > 0)
		rc = fdfs_conn_read(c, junk, sizeof(junk), &n, e);
	atomic_fetch_add(&g->n_handled, 1);
	return rc == 0 ? fdfs_conn_reply(c, STR_LIT("handled"), e) : rc;
}

static int
on_later(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct str content, struct err *e)
{
	struct rig *g = arg;
	bool waits;
	char *copy;
	int fails;

	assert_int_equal(content.len, in->header.len - 15);
	copy = arena_alloc(fdfs_conn_arena(c), content.len + 1);
	assert_non_null(copy);
	memcpy(copy, content.p, content.len);
	pthread_mutex_lock(&g->m);
	waits = g->waits;
	fails = g->fails;
	if (!waits && fails == 0) {
		assert_true(g->n_held < HELD);
		g->held[g->n_held++] = c;
		snprintf(g->said, sizeof(g->said), "%.*s", (int)content.len,
		    content.p);
		atomic_fetch_add(&g->n_later, 1);
	}
	pthread_mutex_unlock(&g->m);
	if (waits)
		return FDFS_WAITS;
	return fails != 0 ? err_set(e, fails, "as wanted") : FDFS_LATER;
}

static struct fdfs_conn *
take_held(struct rig *g)
{
	struct fdfs_conn *c = NULL;

	pthread_mutex_lock(&g->m);
	if (g->n_held > 0) {
		c = g->held[0];
		memmove(g->held, g->held + 1, --g->n_held * sizeof(g->held[0]));
	}
	pthread_mutex_unlock(&g->m);
	return c;
}

static void
on_gathered(void *arg)
{
	struct rig *g = arg;
	struct err e = ERR_INIT;
	struct fdfs_conn *c;

	atomic_fetch_add(&g->n_gathered, 1);
	while (g->is_inline && (c = take_held(g)) != NULL)
		fdfs_conn_resume(c, 0, STR_LIT("later"), &e);
}

static int
on_delete(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct rig *g = arg;

	(void)in;
	atomic_fetch_add(&g->n_deletes, 1);
	return fdfs_conn_reply(c, STR_LIT("deleted"), e);
}

static void
rig_open(struct rig *g, struct fdfs_server_opts o)
{
	struct fdfs_route routes[] = {
		{ fdfs_command(FDFS_UPLOAD), on_handled, on_later },
		{ fdfs_command(FDFS_DELETE), on_delete, NULL },
	};
	struct err e = ERR_INIT;

	memset(g, 0, sizeof(*g));
	pthread_mutex_init(&g->m, NULL);
	o.kind = FDFS_STORAGE;
	o.host = "127.0.0.1";
	o.routes = routes;
	o.n_routes = 2;
	o.arg = g;
	o.gathered = on_gathered;
	assert_int_equal(fdfs_server_open(&o, &g->s, &e), 0);
}

static void
rig_close(struct rig *g)
{
	assert_int_equal(g->n_held, 0);
	fdfs_server_close(&g->s, 5000);
	pthread_mutex_destroy(&g->m);
}

/* Until @x is @want; false when it does not become so. */
static bool
becomes(atomic_uint *x, unsigned want)
{
	for (int i = 0; i < 2000 && atomic_load(x) != want; i++)
		clock_sleep_ms(5);
	return atomic_load(x) == want;
}

static void
wait_connections(struct rig *g, unsigned want)
{
	struct fdfs_server_stat stat;

	for (int i = 0; i < 2000; i++) {
		fdfs_server_stat(g->s, &stat);
		if (stat.connections == want)
			return;
		clock_sleep_ms(5);
	}
	fail_msg("%u connections", stat.connections);
}

static struct fdfs_conn *
wait_held(struct rig *g)
{
	struct fdfs_conn *c = NULL;

	for (int i = 0; i < 2000 && (c = take_held(g)) == NULL; i++)
		clock_sleep_ms(5);
	assert_non_null(c);
	return c;
}

static size_t
put_upload(uint8_t *dst, const char *content)
{
	size_t len = strlen(content);

	memset(dst, 0, FDFS_HEADER + 15);
	put_be64(dst, 15 + len);
	dst[8] = FDFS_UPLOAD;
	dst[10] = FDFS_ANY_PATH;
	put_be64(dst + 11, len);
	memcpy(dst + FDFS_HEADER + 15, content, len);
	return FDFS_HEADER + 15 + len;
}

static void
say_upload(int fd, const char *content)
{
	uint8_t raw[512];

	say(fd, raw, put_upload(raw, content));
}

static void
say_delete(int fd)
{
	uint8_t raw[FDFS_HEADER + 60] = { 0 };

	put_be64(raw, 60);
	raw[8] = FDFS_DELETE;
	memset(raw + FDFS_HEADER, 'x', 60);
	say(fd, raw, sizeof(raw));
}

/* The status; with 0 the body is @body. -1: closed. */
static int
hear(int fd, const char *body)
{
	uint8_t raw[FDFS_HEADER];
	char got[64];
	uint64_t len;

	if (!hear_bytes(fd, raw, sizeof(raw), 8000))
		return -1;
	assert_int_equal(raw[8], FDFS_RESPONSE);
	len = get_be64(raw);
	assert_true(len < sizeof(got));
	assert_true(hear_bytes(fd, got, len, 8000));
	if (raw[9] == 0) {
		assert_int_equal(len, strlen(body));
		assert_memory_equal(got, body, len);
	}
	return raw[9];
}

/* One that has come to the loop. */
static int
dial_loop(struct rig *g)
{
	int fd = dial(g->s);

	for (int i = 0; i < CONN_STREAK; i++) {
		say_upload(fd, "to a worker");
		assert_int_equal(hear(fd, "handled"), 0);
	}
	return fd;
}

static void
resume(struct rig *g, int rc)
{
	struct err e = ERR_INIT;

	fdfs_conn_resume(wait_held(g), rc, STR_LIT("later"), &e);
}

static void
test_late_answers(void **state)
{
	struct rig g;
	int fd[4];

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	for (int i = 0; i < 4; i++)
		fd[i] = dial_loop(&g);
	assert_int_equal(g.n_handled, 4 * CONN_STREAK);
	for (unsigned round = 1; round <= 3; round++) {
		for (int i = 0; i < 4; i++)
			say_upload(fd[i], "kept");
		assert_true(becomes(&g.n_later, 4 * round));
		assert_string_equal(g.said, "kept");
		assert_true(fdfs_net_stays_quiet(fd[0], 20));
		for (int i = 0; i < 4; i++)
			resume(&g, 0);
		for (int i = 0; i < 4; i++)
			assert_int_equal(hear(fd[i], "later"), 0);
	}
	assert_int_equal(g.n_handled, 4 * CONN_STREAK);
	assert_true(g.n_gathered > 0 && g.n_gathered <= 12);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	wait_connections(&g, 0);
	rig_close(&g);
}

/* Answered by the loop itself, all in one go. */
static void
test_gathered(void **state)
{
	struct rig g;
	int fd[4];

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	g.is_inline = true;
	for (int i = 0; i < 4; i++)
		fd[i] = dial_loop(&g);
	for (unsigned round = 1; round <= 100; round++) {
		for (int i = 0; i < 4; i++)
			say_upload(fd[i], "x");
		for (int i = 0; i < 4; i++)
			assert_int_equal(hear(fd[i], "later"), 0);
	}
	assert_int_equal(g.n_later, 400);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	wait_connections(&g, 0);
	rig_close(&g);
}

/* Whom the loop has just answered and expects (L5): silent, gone, within a request,
 * at a worker. It waits for none of them for long, and loses count of none. */
static void
test_due(void **state)
{
	uint8_t raw[512];
	struct rig g;
	int fd[5];

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	g.is_inline = true;
	for (int round = 0; round < 20; round++) {
		size_t n = put_upload(raw, "in two parts");

		for (int i = 0; i < 5; i++)
			fd[i] = dial_loop(&g);
		for (int i = 0; i < 5; i++)
			say_upload(fd[i], "x");
		for (int i = 0; i < 5; i++)
			assert_int_equal(hear(fd[i], "later"), 0);
		say_upload(fd[0], "alone");
		assert_int_equal(hear(fd[0], "later"), 0);
		say(fd[1], raw, 20);
		say_delete(fd[2]);
		close(fd[3]);
		say_upload(fd[0], "beside them");
		assert_int_equal(hear(fd[0], "later"), 0);
		assert_int_equal(hear(fd[2], "deleted"), 0);
		say(fd[1], raw + 20, n - 20);
		assert_int_equal(hear(fd[1], "later"), 0);
		close(fd[0]);
		close(fd[1]);
		close(fd[2]);
		close(fd[4]);
		wait_connections(&g, 0);
	}
	assert_int_equal(g.n_later, 20 * 8);
	rig_close(&g);
}

/* The second is looked at when the first is answered. */
static void
test_pipelined(void **state)
{
	uint8_t raw[1024];
	struct rig g;
	size_t n;
	int fd;

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	fd = dial_loop(&g);
	n = put_upload(raw, "one");
	n += put_upload(raw + n, "two");
	memset(raw + n, 0, FDFS_HEADER);
	raw[n + 8] = FDFS_ACTIVE_TEST;
	say(fd, raw, n + FDFS_HEADER);
	assert_true(becomes(&g.n_later, 1));
	clock_sleep_ms(20);
	assert_int_equal(g.n_later, 1);
	assert_string_equal(g.said, "one");
	resume(&g, 0);
	assert_true(becomes(&g.n_later, 2));
	assert_string_equal(g.said, "two");
	say_delete(fd); /* behind all */
	resume(&g, 0);
	assert_int_equal(hear(fd, "later"), 0);
	assert_int_equal(hear(fd, "later"), 0);
	assert_int_equal(hear(fd, ""), 0);
	assert_int_equal(hear(fd, "deleted"), 0);
	close(fd);
	wait_connections(&g, 0);
	rig_close(&g);
}

/* From the loop to a worker and back, as often as the client likes. */
static void
test_to_and_fro(void **state)
{
	struct rig g;
	int fd;

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	g.is_inline = true;
	fd = dial_loop(&g);
	for (unsigned i = 1; i <= 20; i++) {
		say_upload(fd, "x");
		assert_int_equal(hear(fd, "later"), 0);
		say_delete(fd);
		assert_int_equal(hear(fd, "deleted"), 0);
		for (int k = 0; k < CONN_STREAK; k++) {
			say_upload(fd, "to a worker");
			assert_int_equal(hear(fd, "handled"), 0);
		}
		assert_int_equal(g.n_later, i);
	}
	close(fd);
	wait_connections(&g, 0);
	rig_close(&g);
}

static void
test_failures(void **state)
{
	struct rig g;
	int fd, other;

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	fd = dial_loop(&g);
	say_upload(fd, "x");
	resume(&g, ERR_IO);
	assert_int_equal(hear(fd, NULL), FDFS_EIO);
	say_upload(fd, "x");
	resume(&g, 0);
	assert_int_equal(hear(fd, "later"), 0);
	/* Refused by the loop. */
	g.fails = ERR_NO_SPACE;
	say_upload(fd, "x");
	assert_int_equal(hear(fd, NULL), FDFS_ENOSPC);
	/* A storage closes after 22. */
	g.fails = ERR_INVALID;
	say_upload(fd, "x");
	assert_int_equal(hear(fd, NULL), FDFS_EINVAL);
	assert_int_equal(hear(fd, NULL), -1);
	g.fails = 0;
	other = dial_loop(&g);
	say_upload(other, "x");
	resume(&g, ERR_INVALID);
	assert_int_equal(hear(other, NULL), FDFS_EINVAL);
	assert_int_equal(hear(other, NULL), -1);
	close(fd);
	close(other);
	wait_connections(&g, 0);
	rig_close(&g);
}

/* The handler takes it over, and all that follows. */
static void
test_waits(void **state)
{
	struct rig g;
	int fd;

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	g.waits = true;
	fd = dial_loop(&g);
	for (unsigned i = 0; i < 5; i++) {
		say_upload(fd, "x");
		assert_int_equal(hear(fd, "handled"), 0);
		g.waits = false;
	}
	assert_int_equal(g.n_later, 0);
	close(fd);
	wait_connections(&g, 0);
	rig_close(&g);
}

static void
test_peer_gone(void **state)
{
	struct rig g;
	int fd;

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	for (int how = 0; how < 3; how++) {
		struct linger reset = { .l_onoff = 1 };

		fd = dial_loop(&g);
		say_upload(fd, "x");
		assert_true(becomes(&g.n_later, (unsigned)how + 1));
		if (how == 1)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset,
			    sizeof(reset));
		if (how < 2)
			close(fd);
		else
			shutdown(fd, SHUT_WR); /* still reads */
		clock_sleep_ms(20);
		wait_connections(&g, 1); /* its content is in use */
		resume(&g, 0);
		if (how == 2) {
			assert_int_equal(hear(fd, "later"), 0);
			assert_int_equal(hear(fd, NULL), -1);
			close(fd);
		}
		wait_connections(&g, 0);
	}
	/* One that is parked. */
	fd = dial_loop(&g);
	say_upload(fd, "x");
	resume(&g, 0);
	assert_int_equal(hear(fd, "later"), 0);
	close(fd);
	wait_connections(&g, 0);
	rig_close(&g);
}

/* The one worker that there is has got it. */
static bool
becomes_busy(struct rig *g)
{
	bool is_idle = true;

	for (int i = 0; i < 2000 && is_idle; i++) {
		clock_sleep_ms(5);
		lock_take(&g->s->lock);
		is_idle = g->s->idle != NULL;
		lock_drop(&g->s->lock);
	}
	return !is_idle;
}

/* What comes in pieces is the loop's if the last is not long in coming. */
static void
test_parts(void **state)
{
	struct fdfs_server_opts o = { .head_ms = 300, .io_ms = 300 };
	uint8_t raw[512];
	struct rig g;
	size_t n;
	int fd;

	(void)state;
	rig_open(&g, o);
	fd = dial_loop(&g);
	n = put_upload(raw, "in pieces");
	for (size_t i = 0; i < n; i++)
		say(fd, raw + i, 1);
	resume(&g, 0);
	assert_string_equal(g.said, "in pieces");
	assert_int_equal(hear(fd, "later"), 0);
	/* Long: a worker's, with its time-outs. */
	say(fd, raw, n - 1);
	assert_true(becomes_busy(&g));
	say(fd, raw + n - 1, 1);
	assert_int_equal(hear(fd, "handled"), 0);
	for (int i = 1; i < CONN_STREAK; i++) {
		say_upload(fd, "to a worker");
		assert_int_equal(hear(fd, "handled"), 0);
	}
	say_upload(fd, "x");
	resume(&g, 0);
	assert_int_equal(hear(fd, "later"), 0);
	/* Half of one, and no more. */
	say(fd, raw, n / 2);
	hear(fd, NULL);
	assert_int_equal(hear(fd, NULL), -1);
	close(fd);
	wait_connections(&g, 0);
	rig_close(&g);
}

static void
test_idle(void **state)
{
	struct fdfs_server_opts o = { .idle_ms = 200 };
	struct rig g;
	int fd, other;

	(void)state;
	rig_open(&g, o);
	fd = dial_loop(&g);
	say_upload(fd, "x");
	resume(&g, 0);
	assert_int_equal(hear(fd, "later"), 0);
	/* One that waits for its answer is not idle. */
	other = dial_loop(&g);
	say_upload(other, "x");
	assert_true(becomes(&g.n_later, 2));
	assert_int_equal(hear(fd, NULL), -1);
	clock_sleep_ms(300);
	resume(&g, 0);
	assert_int_equal(hear(other, "later"), 0);
	assert_int_equal(hear(other, NULL), -1);
	wait_connections(&g, 0);
	close(fd);
	close(other);
	rig_close(&g);
}

static void
test_full(void **state)
{
	struct fdfs_server_opts o = { .max_connections = 2 };
	struct rig g;
	int a, b, c, d;

	(void)state;
	rig_open(&g, o);
	a = dial_loop(&g);
	say_upload(a, "x");
	resume(&g, 0);
	assert_int_equal(hear(a, "later"), 0);
	b = dial_loop(&g);
	say_upload(b, "x");
	assert_true(becomes(&g.n_later, 2));
	/* The parked one makes room, the one that waits does not. */
	c = dial_loop(&g);
	assert_int_equal(hear(a, NULL), -1);
	say_upload(c, "x");
	assert_true(becomes(&g.n_later, 3));
	d = dial(g.s);
	assert_int_equal(hear(d, NULL), -1);
	resume(&g, 0);
	resume(&g, 0);
	assert_int_equal(hear(b, "later"), 0);
	assert_int_equal(hear(c, "later"), 0);
	close(a);
	close(b);
	close(c);
	close(d);
	wait_connections(&g, 0);
	rig_close(&g);
}

/* A peer that takes no answers holds up nobody, and gets them all. */
static void
test_slow_reader(void **state)
{
	enum {
		ANSWER = 100000,
		ANSWERS = 120
	};
	char *big = calloc(1, ANSWER), *got = calloc(1, ANSWER);
	struct err e = ERR_INIT;
	uint8_t raw[64 * ANSWERS];
	int fd, quick, sent = 0;
	struct rig g;
	size_t n = 0;

	(void)state;
	assert_non_null(big);
	assert_non_null(got);
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	fd = dial_loop(&g);
	quick = dial_loop(&g);
	for (int i = 0; i < ANSWERS; i++)
		n += put_upload(raw + n, "x");
	say(fd, raw, n);
	/* Until it is a worker's that waits. */
	for (int quiet = 0; sent < ANSWERS && quiet < 40;) {
		struct fdfs_conn *c = take_held(&g);

		quiet = c == NULL ? quiet + 1 : 0;
		if (c == NULL) {
			clock_sleep_ms(5);
			continue;
		}
		big[0] = (char)sent++;
		fdfs_conn_resume(c, 0, str_mem(big, ANSWER), &e);
	}
	assert_true(sent > 0 && sent < ANSWERS);
	say_upload(quick, "x");
	resume(&g, 0);
	assert_int_equal(hear(quick, "later"), 0);
	for (int i = 0; i < sent; i++) {
		assert_true(hear_bytes(fd, got, FDFS_HEADER, 8000));
		assert_int_equal(get_be64((uint8_t *)got), ANSWER);
		assert_true(hear_bytes(fd, got, ANSWER, 8000));
		assert_int_equal(got[0], (char)i);
	}
	for (int i = sent; i < ANSWERS; i++) {
		struct fdfs_conn *c = NULL;

		/* A worker answers the first few of them. */
		while (fdfs_net_is_quiet(fd) && (c = take_held(&g)) == NULL)
			clock_sleep_ms(1);
		if (c != NULL)
			fdfs_conn_resume(c, 0, STR_LIT("later"), &e);
		assert_int_equal(hear(fd, c != NULL ? "later" : "handled"), 0);
	}
	close(fd);
	close(quick);
	wait_connections(&g, 0);
	rig_close(&g);
	free(big);
	free(got);
}

struct closer {
	struct rig *g;
	int drain_ms;
	atomic_uint is_closed;
};

static void *
close_run(void *arg)
{
	struct closer *k = arg;

	fdfs_server_stop(k->g->s, k->drain_ms);
	atomic_store(&k->is_closed, 1);
	return NULL;
}

/* What waits is answered while it drains, and cut after; closing waits for it. */
static void
test_stop(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		struct closer k = { .drain_ms = late ? 10 : 20000 };
		struct err e = ERR_INIT;
		int fd, idle, other;
		struct rig g;
		pthread_t t;

		rig_open(&g, (struct fdfs_server_opts){ 0 });
		k.g = &g;
		fd = dial_loop(&g);
		idle = dial_loop(&g);
		say_upload(idle, "x");
		resume(&g, 0);
		assert_int_equal(hear(idle, "later"), 0);
		say_upload(fd, "x");
		assert_true(becomes(&g.n_later, 2));
		other = dial(g.s); /* a worker's */
		assert_int_equal(thread_start(&t, "closer", close_run, &k, &e),
		    0);
		assert_int_equal(hear(idle, NULL), -1);
		assert_int_equal(hear(other, NULL), -1);
		clock_sleep_ms(late ? 100 : 20);
		assert_int_equal(k.is_closed, 0);
		fdfs_conn_resume(take_held(&g), 0, STR_LIT("later"), &e);
		if (!late)
			assert_int_equal(hear(fd, "later"), 0);
		assert_int_equal(hear(fd, "later"), -1);
		thread_join(t);
		assert_int_equal(k.is_closed, 1);
		wait_connections(&g, 0); /* can be asked still */
		close(fd);
		close(idle);
		close(other);
		rig_close(&g);
	}
}

/* The loop ends the last connection of all while the worker that has given it away
 * may not be back from that yet. */
static void
test_stop_at_once(void **state)
{
	static const uint8_t quit[FDFS_HEADER] = { [8] = FDFS_QUIT };

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct rig g;
		int fd;

		rig_open(&g, (struct fdfs_server_opts){ 0 });
		fd = dial_loop(&g);
		say(fd, quit, sizeof(quit));
		shutdown(fd, SHUT_WR);
		assert_int_equal(hear(fd, NULL), -1);
		rig_close(&g);
		close(fd);
	}
}

/* --- all at once --- */

struct storm {
	struct rig *g;
	unsigned seed;
	bool is_answering;
	pthread_t thread;
	atomic_bool *is_over;
};

static void *
storm_run(void *arg)
{
	struct storm *w = arg;
	struct err e = ERR_INIT;
	struct fdfs_conn *c;
	unsigned x = w->seed;
	char buf[64];
	int fd;

	while (w->is_answering && !atomic_load(w->is_over)) {
		c = take_held(w->g);
		if (c != NULL)
			fdfs_conn_resume(c, 0, STR_LIT("later"), &e);
	}
	fd = w->is_answering ? -1 : dial(w->g->s);
	for (int i = 0; !w->is_answering && i < 400; i++) {
		x = x * 1103515245 + 12345;
		if (x >> 16 & 1 || (x >> 17 & 3) != 0) {
			uint8_t raw[512];
			size_t n = put_upload(raw, "storm");
			size_t cut = (x >> 20 & 15) == 0 ? n / 2 : n;

			say(fd, raw, cut);
			if (cut < n)
				say(fd, raw + cut, n - cut);
			assert_true(hear_bytes(fd, buf, FDFS_HEADER, 8000));
			assert_true(buf[7] == 5 || buf[7] == 7);
			assert_true(hear_bytes(fd, buf, (size_t)buf[7], 8000));
		} else {
			say_delete(fd);
			assert_int_equal(hear(fd, "deleted"), 0);
		}
		if ((x >> 24 & 31) == 0) {
			if (x >> 30 & 1)
				say_upload(fd, "nobody waits");
			close(fd);
			fd = dial(w->g->s);
		}
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void
test_storm(void **state)
{
	atomic_bool is_over = false;
	struct err e = ERR_INIT;
	struct storm w[8];
	struct rig g;

	(void)state;
	rig_open(&g, (struct fdfs_server_opts){ 0 });
	for (unsigned i = 0; i < 8; i++) {
		w[i] = (struct storm){ .g = &g,
			.seed = i * 7919 + 1,
			.is_answering = i < 2,
			.is_over = &is_over };
		assert_int_equal(thread_start(&w[i].thread, "storm", storm_run,
				     &w[i], &e),
		    0);
	}
	for (unsigned i = 2; i < 8; i++)
		thread_join(w[i].thread);
	wait_connections(&g, 0);
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 2; i++)
		thread_join(w[i].thread);
	assert_true(g.n_later > 0 && g.n_handled > 0 && g.n_deletes > 0);
	rig_close(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late_answers),
		cmocka_unit_test(test_gathered),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_to_and_fro),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_stop_at_once),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
