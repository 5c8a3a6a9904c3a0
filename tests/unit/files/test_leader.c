/* storage/files/leader.c over a double of replication: whom a node asks for a
 * change, and what becomes of one that comes twice. */
#include "rep_double.h"

#include "storage/files/files_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define CALLS 32

static struct files *files;

/* What was asked of others, and what they answer: rc[i], 0 once it is over. */
static struct {
	int n, to[CALLS], rc[CALLS];
	bool was_sent[CALLS];
	uint8_t bits[CALLS];
	int64_t until[CALLS];
	/* At the call: what the watcher thinks of a leader that is heard, and of
	 * one that is not. */
	bool is_watched[CALLS], over_heard[CALLS], over_deaf[CALLS];
} calls;

static int
on_call(int to, const struct rpc_request *q, int timeout_ms,
    struct rpc_reply *r, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	bool was_deaf = world.is_deaf;
	int i = calls.n++;

	(void)timeout_ms;
	MUST(i < CALLS && q->op == RPC_FILE_OP && q->watch != NULL);
	unpack_u8(&u);
	unpack_u64(&u);
	calls.to[i] = to;
	calls.bits[i] = unpack_u8(&u);
	calls.until[i] = q->until_ms;
	calls.is_watched[i] = q->watch->is_over != NULL;
	if (calls.is_watched[i]) {
		world.is_deaf = false;
		calls.over_heard[i] = q->watch->is_over(q->watch->arg);
		world.is_deaf = true;
		calls.over_deaf[i] = q->watch->is_over(q->watch->arg);
		world.is_deaf = was_deaf;
	}
	r->was_sent = calls.rc[i] != ERR_DISCONNECTED || calls.was_sent[i];
	if (calls.rc[i] < 0)
		return err_set(e, calls.rc[i], "as told");
	MUST(pack_str(&r->args, STR_NULL) == 0);
	MUST(pack_u64(&r->args, 0) == 0);
	return pack_u32(&r->args, 0);
}

static int
setup(void **state)
{
	(void)state;
	dbl_open();
	world.small_limit = 1024 * 1024;
	world.call = on_call;
	memset(&calls, 0, sizeof(calls));
	return dbl_open_files(&files);
}

static int
teardown(void **state)
{
	(void)state;
	dbl_close_files(&files);
	dbl_close();
	return 0;
}

/* This is node 1 of three, node 2 leads. */
static void
follow(size_t n)
{
	world.n_members = n;
	world.leader = 2;
}

static char name[FDFS_REMOTE_MAX + 1];

static void
make_appender(void)
{
	struct engine_file_info info;
	struct err e = ERR_INIT;

	assert_int_equal(files_upload(files, -1, true, STR_LIT("txt"), 0, NULL,
			     NULL, &info, &e),
	    0);
	snprintf(name, sizeof(name), "%.*s", (int)sizeof(name) - 1,
	    info.id + 7);
}

static int
truncate_to(uint64_t size)
{
	struct err e = ERR_INIT;

	return files_truncate(files, str_of(name), size, &e);
}

/* --- asking --- */

static void
test_leader_is_heard(void **state)
{
	(void)state;
	make_appender();
	follow(3);
	assert_int_equal(truncate_to(1), 0);
	assert_int_equal(calls.n, 1);
	assert_int_equal(calls.to[0], 2);
	assert_int_equal(calls.bits[0], 0);
	/* over as soon as it is not heard */
	assert_true(
	    calls.is_watched[0] && !calls.over_heard[0] && calls.over_deaf[0]);
}

static void
test_leader_fell_silent(void **state)
{
	(void)state;
	make_appender();
	follow(3);
	calls.rc[0] = ERR_DISCONNECTED;
	calls.was_sent[0] = true;
	assert_int_equal(truncate_to(1), 0);
	assert_int_equal(calls.n, 2);
	assert_int_equal(calls.to[0], 2);
	assert_int_equal(calls.to[1], 3);
	assert_int_equal(calls.bits[1], 1 | 2); /* again; may be passed on */
	/* it was not sent: not again */
	memset(&calls, 0, sizeof(calls));
	calls.rc[0] = ERR_DISCONNECTED;
	assert_int_equal(truncate_to(2), 0);
	assert_int_equal(calls.bits[1], 2);
	/* then the leader once more */
	memset(&calls, 0, sizeof(calls));
	calls.rc[0] = calls.rc[1] = ERR_DISCONNECTED;
	assert_int_equal(truncate_to(3), 0);
	assert_int_equal(calls.n, 3);
	assert_int_equal(calls.to[2], 2);
}

static void
test_leader_is_not_heard(void **state)
{
	(void)state;
	make_appender();
	follow(3);
	world.is_deaf = true;
	assert_int_equal(truncate_to(1), 0);
	assert_int_equal(calls.n, 1);
	assert_int_equal(calls.to[0], 3);
	assert_int_equal(calls.bits[0], 2);
	/* over as soon as the leader is heard again */
	assert_true(
	    calls.is_watched[0] && calls.over_heard[0] && !calls.over_deaf[0]);
	/* of more than one, one that can be reached */
	follow(5);
	world.unreached = 3;
	for (uint64_t i = 0; i < 5; i++) {
		memset(&calls, 0, sizeof(calls));
		calls.rc[0] = ERR_RETRY;
		assert_int_equal(truncate_to(10 + i), 0);
		assert_true(calls.to[0] == 4 || calls.to[0] == 5);
		assert_true(calls.to[1] == 4 || calls.to[1] == 5);
	}
}

/* Of two the other one is the only way. */
static void
test_group_of_two(void **state)
{
	(void)state;
	make_appender();
	follow(2);
	world.is_deaf = true;
	assert_int_equal(truncate_to(1), 0);
	assert_int_equal(calls.to[0], 2);
	assert_int_equal(calls.bits[0], 0);
	assert_false(calls.is_watched[0]);
}

/* What is not done twice is not given up. */
static void
test_regenerate(void **state)
{
	struct engine_file_info info;
	struct err e = ERR_INIT;

	(void)state;
	make_appender();
	follow(3);
	calls.rc[0] = ERR_DISCONNECTED;
	calls.was_sent[0] = true;
	assert_int_equal(files_regenerate(files, str_of(name), &info, &e),
	    ERR_RETRY);
	assert_int_equal(calls.n, 1);
	assert_false(calls.is_watched[0]);
}

/* --- answering --- */

static const struct rpc_from peer = { .kind = RPC_PEER, .group = "group1" };

static int64_t serve_until; /* of the next */

static int
serve(enum files_op_kind kind, uint64_t change, uint8_t bits, const char *of,
    const char *meta, struct err *e)
{
	struct buf args = BUF_CAP(1000);
	struct rpc_answer a = { .args = BUF_CAP(1000), .body = BUF_CAP(1000) };
	struct rpc_request q = { .op = RPC_FILE_OP,
		.body = str_of(meta),
		.until_ms = serve_until };
	int rc;

	MUST(pack_u8(&args, (uint8_t)kind) == 0);
	MUST(pack_u64(&args, change) == 0);
	MUST(pack_u8(&args, bits) == 0);
	MUST(pack_str(&args, str_of(of)) == 0);
	MUST(pack_u64(&args, 0) == 0);
	MUST(pack_u8(&args, 'O') == 0);
	MUST(pack_u8(&args, 0) == 0);
	MUST(pack_u64(&args, 0) == 0);
	MUST(pack_str(&args, STR_NULL) == 0);
	MUST(pack_u32(&args, 0) == 0);
	q.args = buf_str(&args);
	rc = files_serve(files, &peer, &q, &a, e);
	buf_fini(&args);
	buf_fini(&a.args);
	buf_fini(&a.body);
	return rc;
}

static void
test_passed_on(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	make_appender();
	follow(3);
	assert_int_equal(serve(FILES_TRUNCATE, 1, 2 | 1, name, "", &e), 0);
	assert_int_equal(calls.n, 1);
	assert_int_equal(calls.to[0], 2);
	assert_int_equal(calls.bits[0], 1); /* once, and as it came */
	/* as the leader said */
	memset(&calls, 0, sizeof(calls));
	calls.rc[0] = ERR_NOT_FOUND;
	assert_int_equal(serve(FILES_TRUNCATE, 2, 2, name, "", &e),
	    ERR_NOT_FOUND);
	/* RETRY says that nothing was done, BUSY that nobody knows */
	memset(&calls, 0, sizeof(calls));
	calls.rc[0] = calls.rc[1] = ERR_DISCONNECTED;
	calls.was_sent[1] = true;
	assert_int_equal(serve(FILES_TRUNCATE, 3, 2, name, "", &e), ERR_RETRY);
	assert_int_equal(serve(FILES_TRUNCATE, 3, 2, name, "", &e), ERR_BUSY);
	/* to a leader that is heard alone */
	memset(&calls, 0, sizeof(calls));
	world.is_deaf = true;
	assert_int_equal(serve(FILES_TRUNCATE, 4, 2, name, "", &e), ERR_RETRY);
	assert_int_equal(calls.n, 0);
}

static void
assert_meta(const char *of, const char *want)
{
	struct buf b = BUF_CAP(1000);
	struct err e = ERR_INIT;

	assert_int_equal(files_get_meta(files, str_of(of), &b, &e), 0);
	assert_true(str_eqz(buf_str(&b), want));
	buf_fini(&b);
}

/* F5: a call that was given up arrives after what was done later. */
static void
test_comes_late(void **state)
{
	char slave[FDFS_REMOTE_MAX + 1];
	struct files_info info;
	struct err e = ERR_INIT;

	(void)state;
	make_appender();
	assert_int_equal(serve(FILES_SET_META, 1, 1, name, "n\0021", &e), 0);
	assert_int_equal(serve(FILES_SET_META, 2, 0, name, "n\0022", &e), 0);
	assert_int_equal(serve(FILES_SET_META, 1, 0, name, "n\0021", &e), 0);
	assert_meta(name, "n\0022");
	/* a slave that is made, deleted, made again, deleted */
	snprintf(slave, sizeof(slave), "%.*s-s.txt", (int)strlen(name) - 4,
	    name);
	assert_int_equal(serve(FILES_CREATE, 11, 1, slave, "", &e), 0);
	assert_int_equal(serve(FILES_DELETE, 12, 1, slave, "", &e), 0);
	assert_int_equal(serve(FILES_CREATE, 11, 0, slave, "", &e), 0);
	assert_int_equal(files_info(files, str_of(slave), false, &info, &e),
	    ERR_NOT_FOUND);
	assert_int_equal(serve(FILES_CREATE, 13, 0, slave, "", &e), 0);
	assert_int_equal(serve(FILES_DELETE, 12, 0, slave, "", &e), 0);
	assert_int_equal(files_info(files, str_of(slave), false, &info, &e), 0);
	/* and what fails is not done */
	assert_int_equal(serve(FILES_CREATE, 14, 0, slave, "", &e), ERR_EXISTS);
	assert_int_equal(serve(FILES_DELETE, 15, 0, slave, "", &e), 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 1);
	assert_int_equal(serve(FILES_CREATE, 14, 0, slave, "", &e), 0);
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 2);
}

/* --- an end (F6) --- */

/* What is asked for bears one, the same however often it is asked. */
static void
test_end_is_told(void **state)
{
	struct buf b = BUF_CAP(1000);
	struct err e = ERR_INIT;
	int64_t begin;

	(void)state;
	make_appender();
	follow(3);
	for (int i = 0; i < 3; i++)
		calls.rc[i] = ERR_RETRY;
	begin = dbl_now_ms(NULL);
	assert_int_equal(truncate_to(1), 0);
	assert_int_equal(calls.n, 4);
	assert_true(calls.until[0] >= begin + FILES_OPEN_MS);
	assert_true(calls.until[0] <= dbl_now_ms(NULL) + FILES_OPEN_MS);
	for (int i = 1; i < 4; i++)
		assert_int_equal(calls.until[i], calls.until[0]);
	/* a read needs none */
	memset(&calls, 0, sizeof(calls));
	(void)files_get_meta(files, str_of(name), &b, &e);
	assert_int_equal(calls.n, 1);
	assert_int_equal(calls.until[0], 0);
	buf_fini(&b);
	/* who passes one on does not make it longer */
	memset(&calls, 0, sizeof(calls));
	serve_until = begin + 12345;
	assert_int_equal(serve(FILES_TRUNCATE, 1, 2, name, "", &e), 0);
	assert_int_equal(calls.n, 1);
	assert_int_equal(calls.until[0], begin + 12345);
	serve_until = 0;
}

static void
a_minute_passes(void)
{
	world.before = NULL;
	world.shift_s += 60;
}

static void
nothing_passes(void)
{
}

static unsigned skip;

static void
a_minute_passes_later(void)
{
	if (skip-- == 0)
		a_minute_passes();
}

/* The node stops before it does it, and wakes a minute later. */
static int
serve_asleep(enum files_op_kind kind, uint64_t change, const char *of,
    const char *meta)
{
	struct err e = ERR_INIT;
	int rc;

	serve_until = dbl_now_ms(NULL) + 30000;
	rc = serve(kind, change, 0, of, meta, &e);
	serve_until = 0;
	world.before = nothing_passes;
	return rc;
}

static void
test_end_is_kept(void **state)
{
	char slave[FDFS_REMOTE_MAX + 1];
	struct files_info info;
	struct err e = ERR_INIT;

	(void)state;
	make_appender();
	snprintf(slave, sizeof(slave), "%.*s-s.txt", (int)strlen(name) - 4,
	    name);
	assert_int_equal(serve_asleep(FILES_SET_META, 1, name, "n\0021"), 0);
	world.before = a_minute_passes;
	assert_int_equal(serve_asleep(FILES_SET_META, 2, name, "n\0022"),
	    ERR_RETRY);
	assert_meta(name, "n\0021");
	world.before = a_minute_passes;
	assert_int_equal(serve_asleep(FILES_CREATE, 3, slave, ""), ERR_RETRY);
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 1);
	world.before = a_minute_passes;
	assert_int_equal(serve_asleep(FILES_DELETE, 5, name, ""), ERR_RETRY);
	world.before = a_minute_passes;
	assert_int_equal(serve_asleep(FILES_REGENERATE, 0, name, ""),
	    ERR_RETRY);
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 1);
	assert_int_equal(serve_asleep(FILES_REGENERATE, 0, name, ""), 0);
	/* before it has begun with anything */
	serve_until = dbl_now_ms(NULL);
	assert_int_equal(serve(FILES_CREATE, 6, 0, slave, "", &e), ERR_RETRY);
	assert_int_equal(dbl_count(ENGINE_CLASS_LIST), 0);
	serve_until = 0;
	assert_int_equal(serve(FILES_CREATE, 6, 0, slave, "", &e), 0);
	/* A slave goes in two steps, metadata first: whole or not at all. */
	assert_int_equal(serve(FILES_SET_META, 7, 0, slave, "n\0021", &e), 0);
	world.before = a_minute_passes;
	assert_int_equal(serve_asleep(FILES_DELETE, 8, slave, ""), ERR_RETRY);
	assert_meta(slave, "n\0021");
	skip = 1;
	world.before = a_minute_passes_later;
	assert_int_equal(serve_asleep(FILES_DELETE, 8, slave, ""), 0);
	assert_int_equal(files_info(files, str_of(slave), false, &info, &e),
	    ERR_NOT_FOUND);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_leader_is_heard),
		T(test_leader_fell_silent),
		T(test_leader_is_not_heard),
		T(test_group_of_two),
		T(test_regenerate),
		T(test_passed_on),
		T(test_comes_late),
		T(test_end_is_told),
		T(test_end_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
