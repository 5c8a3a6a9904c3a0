/* The handshake and raw frames: what is no proof gets nothing (R1), what is
 * no frame does no harm. */
#include "rpc_test.h"

#include "lib/fs.h"
#include "lib/hash.h"

#include <sys/stat.h>

static int
handle(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct rpc_test *t = arg;

	(void)q;
	(void)a;
	(void)e;
	pthread_mutex_lock(&t->lock);
	t->last = *from;
	pthread_mutex_unlock(&t->lock);
	atomic_fetch_add(&t->calls, 1);
	return 0;
}

/* --- a client by hand --- */

static int
dial(struct rpc_test *t)
{
	int fd;

	OK(fdfs_net_connect("127.0.0.1", t->addr.port, 2000, &fd, NULL));
	return fd;
}

static void
say(int fd, uint8_t command, uint64_t len, struct str body)
{
	struct fdfs_header h = { len, command, 0 };
	uint8_t raw[FDFS_HEADER];
	struct iovec iov[2] = { { raw, sizeof(raw) },
		{ (char *)(uintptr_t)body.p, body.len } };
	size_t sent;
	bool input;

	fdfs_header_put(raw, &h);
	/* The other side may have closed already. */
	(void)fdfs_net_send(fd, iov, 2, 2000, false, &sent, &input, NULL);
}

/* The status; -1: closed. The body, at most @max, into @dst. */
static int
hear(int fd, uint8_t *dst, size_t max, size_t *ret_len)
{
	uint8_t raw[FDFS_HEADER];
	struct fdfs_header h;
	size_t have = 0, n;

	while (have < sizeof(raw)) {
		if (fdfs_net_recv(fd, raw + have, sizeof(raw) - have, 3000, &n,
			NULL) < 0 ||
		    n == 0)
			return -1;
		have += n;
	}
	OK(fdfs_header_get(raw, &h, NULL));
	assert_int_equal(h.command, FDFS_RESPONSE);
	assert_true(h.len <= max);
	for (have = 0; have < h.len; have += n) {
		OK(fdfs_net_recv(fd, dst + have, (size_t)h.len - have, 3000, &n,
		    NULL));
		assert_true(n > 0);
	}
	if (ret_len != NULL)
		*ret_len = have;
	return h.status;
}

static bool
is_closed(int fd)
{
	size_t n;
	char c;

	return fdfs_net_recv(fd, &c, 1, 3000, &n, NULL) < 0 || n == 0;
}

static void
say_call(int fd, const struct rpc_self *self, unsigned op)
{
	struct rpc_head h = { .version = 1,
		.op = op,
		.id = 5,
		.cluster = self->cluster };
	uint8_t raw[RPC_HEAD];

	rpc_head_put(raw, &h);
	say(fd, RPC_COMMAND, sizeof(raw), str_mem(raw, sizeof(raw)));
}

/* What of a handshake is done otherwise. */
struct odd {
	const char *secret;      /* proved with */
	uint8_t version;         /* claimed on the wire, after proving 1 */
	uint8_t kind;            /* the same */
	bool other_cluster;      /* told */
	bool no_first;           /* second message alone */
	bool is_reflected;       /* the server's own proof as ours */
	const uint8_t *replayed; /* an earlier proof */
	uint8_t cut;             /* bytes left out of the first */
	uint8_t flip;            /* of the proof, 1-based */
};

/* Returns the last status. The proof that was sent goes to @ret_proof. */
static int
shake(int fd, const struct odd *o, uint8_t ret_proof[SECRET_PROOF])
{
	struct rpc_self self =
	    self_of(RPC_GATE, "", o->secret != NULL ? o->secret : SECRET);
	struct rpc_hello h = { .version = 1,
		.kind = RPC_GATE,
		.cluster = self.cluster,
		.nonce = { 9 } };
	uint8_t answer[RPC_HELLO_MAX], second[2 + SECRET_PROOF] = { 1, 2 };
	struct buf all = BUF_CAP(1000), wire = BUF_CAP(1000);
	size_t len = 0;
	int status = 0;

	if (o->other_cluster)
		h.cluster.b[0] ^= 1;
	OK(rpc_hello_pack(&h, &all));
	if (o->version != 0)
		h.version = o->version;
	if (o->kind != 0)
		h.kind = o->kind;
	OK(rpc_hello_pack(&h, &wire));
	if (!o->no_first) {
		wire.len -= o->cut;
		say(fd, RPC_HELLO, wire.len, buf_str(&wire));
		status = hear(fd, answer, sizeof(answer), &len);
	}
	if (status == 0) {
		OK(buf_add(&all, answer, len));
		rpc_hello_prove(&self, o->is_reflected, buf_str(&all),
		    second + 2);
		if (o->is_reflected)
			memcpy(second + 2, answer + len - SECRET_PROOF,
			    SECRET_PROOF);
		if (o->replayed != NULL)
			memcpy(second + 2, o->replayed, SECRET_PROOF);
		if (o->flip > 0)
			second[1 + o->flip] ^= 1;
		memcpy(ret_proof, second + 2, SECRET_PROOF);
		say(fd, RPC_HELLO, sizeof(second),
		    str_mem(second, sizeof(second)));
		status = hear(fd, answer, sizeof(answer), &len);
	}
	buf_fini(&all);
	buf_fini(&wire);
	return status;
}

static void
test_odd(void **state)
{
	struct rpc_self self = self_of(RPC_GATE, "", SECRET);
	uint8_t proof[SECRET_PROOF], old[SECRET_PROOF], raw[600];
	struct rpc_test t;
	int fd;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	/* As it should be: and then calls are taken. */
	fd = dial(&t);
	assert_int_equal(shake(fd, &(struct odd){ 0 }, old), 0);
	say_call(fd, &self, RPC_STORE);
	assert_int_equal(hear(fd, raw, sizeof(raw), NULL), 0);
	assert_int_equal(atomic_load(&t.calls), 1);
	/* Once more on the same connection is refused. */
	assert_int_equal(shake(fd, &(struct odd){ 0 }, proof), FDFS_EACCES);
	assert_true(is_closed(fd));
	close(fd);

	const struct {
		struct odd odd;
		int status;
	} odds[] = {
		{ { .secret = OTHER_SECRET }, FDFS_EACCES },
		{ { .version = 2 }, FDFS_EACCES }, /* changed under way */
		{ { .version = 200 }, FDFS_EACCES },
		{ { .kind = RPC_PEER }, FDFS_EACCES },
		{ { .other_cluster = true }, FDFS_EACCES },
		{ { .no_first = true }, FDFS_EACCES },
		{ { .is_reflected = true }, FDFS_EACCES },
		{ { .replayed = old }, FDFS_EACCES },
		{ { .flip = 1 }, FDFS_EACCES },
		{ { .flip = SECRET_PROOF }, FDFS_EACCES },
		{ { .cut = 1 }, FDFS_EINVAL },
		{ { .cut = 70 }, FDFS_EINVAL },
		{ { .kind = 3 }, FDFS_EINVAL },
		{ { .kind = 128 }, FDFS_EINVAL },
	};
	for (size_t i = 0; i < sizeof(odds) / sizeof(*odds); i++) {
		fd = dial(&t);
		assert_int_equal(shake(fd, &odds[i].odd, proof),
		    odds[i].status);
		/* And no call after that. */
		say_call(fd, &self, RPC_STORE);
		assert_true(is_closed(fd));
		close(fd);
	}
	assert_int_equal(atomic_load(&t.calls), 1);
	/* Two handshakes never prove the same. */
	fd = dial(&t);
	assert_int_equal(shake(fd, &(struct odd){ 0 }, proof), 0);
	assert_memory_not_equal(proof, old, SECRET_PROOF);
	close(fd);
	rpc_test_close(&t);
}

/* No hello, or half of one: no call. */
static void
test_unproved(void **state)
{
	struct rpc_self self = self_of(RPC_GATE, "", SECRET);
	struct rpc_hello h = { .version = 1,
		.kind = RPC_GATE,
		.cluster = self.cluster };
	struct buf b = BUF_CAP(1000);
	uint8_t raw[600];
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	OK(rpc_hello_pack(&h, &b));
	for (int i = 0; i < 2; i++) {
		int fd = dial(&t);

		if (i == 1) {
			say(fd, RPC_HELLO, b.len, buf_str(&b));
			assert_int_equal(hear(fd, raw, sizeof(raw), NULL), 0);
		}
		say_call(fd, &self, RPC_STORE);
		assert_int_equal(hear(fd, raw, sizeof(raw), NULL), FDFS_EACCES);
		assert_true(is_closed(fd));
		close(fd);
	}
	assert_int_equal(atomic_load(&t.calls), 0);
	buf_fini(&b);
	rpc_test_close(&t);
}

/* A large head is not even waited for, and takes no memory. */
static void
test_unproved_memory(void **state)
{
	uint8_t fixed[8];
	struct rpc_test t;
	int fd;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	fd = dial(&t);
	put_be64(fixed, RPC_HEAD - 8 + RPC_ARGS_MAX);
	say(fd, RPC_COMMAND, RPC_HEAD + RPC_ARGS_MAX,
	    str_mem(fixed, sizeof(fixed)));
	assert_int_equal(hear(fd, NULL, 0, NULL), FDFS_EACCES);
	assert_true(is_closed(fd));
	close(fd);
	rpc_test_close(&t);
}

/* The same through the client: what its caller is told. */
static void
test_client_told(void **state)
{
	struct rpc_client *good = client_of(RPC_GATE, "", SECRET);
	struct rpc_client *bad = client_of(RPC_GATE, "", OTHER_SECRET);
	struct rpc_client_opts o = { .self = self_of(RPC_GATE, "", SECRET) };
	struct rpc_request q = { .op = RPC_STORE };
	struct rpc_client *other;
	struct err e = ERR_INIT;
	struct rpc_reply r;
	struct rpc_test t;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	rpc_reply_init(&r);
	assert_int_equal(rpc_call(bad, &t.addr, &q, 0, &r, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "secret"));
	assert_false(r.was_sent);
	o.self.cluster.b[3] ^= 1;
	OK(rpc_client_open(&o, &other, &e));
	assert_int_equal(rpc_call(other, &t.addr, &q, 0, &r, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "cluster"));
	OK(rpc_call(good, &t.addr, &q, 0, &r, &e));
	assert_int_equal(atomic_load(&t.calls), 1);
	rpc_reply_fini(&r);
	rpc_client_close(&good);
	rpc_client_close(&bad);
	rpc_client_close(&other);
	rpc_test_close(&t);
}

/* A server that has not the secret, but answers as if: refused by clients. */
static int
fake_hello(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct rpc_hello_answer a = { .version = *(uint8_t *)arg,
		.kind = RPC_NODE };
	struct rpc_self self = self_of(RPC_NODE, "", OTHER_SECRET);
	struct buf b = BUF_CAP(1000);
	size_t head = in->head.len;
	int rc;

	OK(buf_adds(&b, in->head));
	OK(rpc_hello_answer_pack(&a, &b));
	if (a.version > RPC_VERSION) /* as one would who has it */
		self = self_of(RPC_NODE, "", SECRET);
	rpc_hello_prove(&self, true, buf_str(&b), a.proof);
	OK(buf_add(&b, a.proof, sizeof(a.proof)));
	rc = fdfs_conn_reply(c, str_skip(buf_str(&b), head), e);
	buf_fini(&b);
	return rc;
}

static void
test_fake_server(void **state)
{
	static const struct fdfs_command hello = { .number = RPC_HELLO,
		.servers = FDFS_BOTH,
		.shape = FDFS_SHAPE_ALL,
		.limit = 1000,
		.name = "HELLO" };
	struct fdfs_route route = { .command = &hello, .fn = fake_hello };
	struct fdfs_server_opts o = { .kind = FDFS_STORAGE,
		.host = "127.0.0.1" };
	struct rpc_client *c = client_of(RPC_GATE, "", SECRET);
	struct rpc_request q = { .op = RPC_STORE };
	struct fdfs_addr to = { .ip = "127.0.0.1" };
	struct fdfs_server *s;
	struct err e = ERR_INIT;
	uint8_t version;

	(void)state;
	o.arg = &version;
	for (int i = 0; i < 4; i++) {
		version = (uint8_t)(i < 2 ? i : RPC_VERSION + 1);
		o.routes = &route;
		o.n_routes = i < 3; /* 3: stock FastDFS, which knows nothing */
		OK(fdfs_server_open(&o, &s, &e));
		to.port = fdfs_server_port(s);
		assert_int_equal(rpc_call(c, &to, &q, 0, NULL, &e), ERR_CONFIG);
		assert_non_null(strstr(e.msg, i == 0   ? "version"
					      : i == 1 ? "secret"
					      : i == 2 ? "version"
						       : "protocol"));
		fdfs_server_close(&s, 0);
	}
	rpc_client_close(&c);
}

/* --- frames --- */

static int
proved(struct rpc_test *t)
{
	uint8_t proof[SECRET_PROOF];
	int fd = dial(t);

	assert_int_equal(shake(fd, &(struct odd){ 0 }, proof), 0);
	return fd;
}

static void
test_frames(void **state)
{
	struct rpc_self self = self_of(RPC_GATE, "", SECRET);
	uint8_t raw[RPC_HEAD + 16], answer[600];
	struct rpc_head h = { .version = 1,
		.op = RPC_STORE,
		.id = 77,
		.cluster = self.cluster,
		.args = str_mem(raw, 16) };
	struct rpc_answer_head a;
	struct rpc_test t;
	size_t len, at;
	int fd, status;

	(void)state;
	rpc_test_open(&t, handle, 0, NULL);
	memset(raw, 0, sizeof(raw));
	rpc_head_put(raw, &h);
	/* Whole, then each shorter head: an error, and closed. */
	for (size_t cut = 0; cut < sizeof(raw); cut++) {
		uint8_t bad[sizeof(raw)];

		memcpy(bad, raw, sizeof(raw));
		len = sizeof(raw) - cut;
		if (len >= 8)
			put_be64(bad, len - 8);
		fd = proved(&t);
		say(fd, RPC_COMMAND, len, str_mem(bad, len));
		status = hear(fd, answer, sizeof(answer), &len);
		assert_int_equal(status, cut == 0 ? 0 : FDFS_EINVAL);
		if (cut == 0) {
			assert_int_equal(rpc_answer_get(str_mem(answer, len),
					     &a, &at, NULL),
			    0);
			assert_int_equal(a.code, 0);
			assert_int_equal(a.id, 77);
		} else {
			assert_true(is_closed(fd));
		}
		close(fd);
	}
	assert_int_equal(atomic_load(&t.calls), 1);

	/* Lengths that are none. */
	static const struct {
		uint64_t frame, head;
		uint32_t args;
	} lens[] = {
		{ 48, UINT64_MAX, 0 },
		{ 48, INT64_MAX, 0 },
		{ 48, 41, 0 },
		{ 48, 0, 0 },
		{ INT64_MAX, (uint64_t)RPC_ARGS_MAX + 41, 0 },
		{ 48, 40, 1 },
		{ 48, 40, UINT32_MAX },
		{ 48 + 4, 40, 4 }, /* arguments in the body */
		{ 48 + RPC_BODY_MAX + 1, 40, 0 },
		{ INT64_MAX, 40, 0 },
	};
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		uint8_t bad[RPC_HEAD];

		memcpy(bad, raw, sizeof(bad));
		put_be64(bad, lens[i].head);
		put_le32(bad + 44, lens[i].args);
		fd = proved(&t);
		say(fd, RPC_COMMAND, lens[i].frame, str_mem(bad, sizeof(bad)));
		assert_int_equal(hear(fd, answer, sizeof(answer), NULL),
		    FDFS_EINVAL);
		assert_true(is_closed(fd));
		close(fd);
	}
	/* Another cluster's request, a version to come: refused by name. */
	for (int i = 0; i < 2; i++) {
		uint8_t bad[RPC_HEAD + 16];

		memcpy(bad, raw, sizeof(bad));
		bad[i == 0 ? 30 : 8] ^= 6;
		fd = proved(&t);
		say(fd, RPC_COMMAND, sizeof(bad), str_mem(bad, sizeof(bad)));
		assert_int_equal(hear(fd, answer, sizeof(answer), &len), 0);
		assert_int_equal(rpc_answer_get(str_mem(answer, len), &a, &at,
				     NULL),
		    0);
		assert_int_equal(a.code,
		    i == 0 ? ERR_ACCESS_DENIED : ERR_VERSION);
		close(fd);
	}
	assert_int_equal(atomic_load(&t.calls), 1);
	rpc_test_close(&t);
}

/* Peers that stop within a request are let go. */
static void
test_slow(void **state)
{
	struct fdfs_server_opts o = { .head_ms = 500, .io_ms = 500 };
	struct rpc_self self = self_of(RPC_GATE, "", SECRET);
	uint8_t raw[RPC_HEAD], answer[600];
	struct rpc_head h = { .version = 1,
		.op = RPC_STORE,
		.cluster = self.cluster };
	struct fdfs_server_stat stat;
	struct rpc_test t;
	int fd;

	(void)state;
	rpc_test_open(&t, handle, 0, &o);
	rpc_head_put(raw, &h);
	for (int i = 0; i < 2; i++) {
		fd = proved(&t);
		if (i == 0) /* half a head */
			say(fd, RPC_COMMAND, sizeof(raw), str_mem(raw, 20));
		else /* half a body */
			say(fd, RPC_COMMAND, sizeof(raw) + 10,
			    str_mem(raw, sizeof(raw)));
		(void)hear(fd, answer, sizeof(answer), NULL);
		assert_true(is_closed(fd));
		close(fd);
	}
	for (int i = 0; i < 100; i++) {
		fdfs_server_stat(t.server, &stat);
		if (stat.connections == 0)
			break;
		clock_sleep_ms(20);
	}
	assert_int_equal(stat.connections, 0);
	assert_int_equal(atomic_load(&t.calls), 0);
	rpc_test_close(&t);
}

/* --- the secret --- */

static void
test_secret(void **state)
{
	char dir[] = "/tmp/creel-secret-XXXXXX", path[64];
	struct buf b = BUF_CAP(1000), again = BUF_CAP(1000);
	struct err e = ERR_INIT;
	struct id128 id, other;
	struct stat st;
	char hex[33];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/secret", dir);
	OK(secret_new(path, &e));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	OK(fs_read_file(path, 100, &b, &e));
	assert_int_equal(b.len, 65);
	OK(secret_check(str_sub(buf_str(&b), 0, 64), &e));
	/* Never over an existing file. */
	assert_int_equal(secret_new(path, &e), ERR_EXISTS);
	OK(fs_read_file(path, 100, &again, &e));
	assert_true(str_eq(buf_str(&b), buf_str(&again)));
	OK(fs_remove_tree(dir, &e));
	assert_int_equal(secret_new(path, &e), ERR_NOT_FOUND);

	assert_int_equal(secret_check(STR_NULL, &e), ERR_CONFIG);
	assert_int_equal(secret_check(STR_LIT("0123456789abcde"), &e),
	    ERR_CONFIG);
	OK(secret_check(STR_LIT("0123456789abcdef"), &e));
	buf_reset(&b);
	for (int i = 0; i < 257; i++)
		OK(buf_addc(&b, 'x'));
	assert_int_equal(secret_check(buf_str(&b), &e), ERR_CONFIG);
	b.len--;
	OK(secret_check(buf_str(&b), &e));

	/* printf 'creel cluster id' | openssl dgst -sha256 \
	 *     -hmac 0123456789abcdef */
	OK(secret_cluster_id(STR_LIT(SECRET), "", &id, &e));
	id128_text(&id, hex);
	assert_string_equal(hex, "7f335fc65a43f402ddfc682cc921eba6");
	OK(secret_cluster_id(STR_LIT(SECRET), hex, &other, &e));
	assert_true(id128_eq(&id, &other));
	OK(secret_cluster_id(STR_LIT(OTHER_SECRET), "", &other, &e));
	assert_false(id128_eq(&id, &other));
	assert_int_equal(secret_cluster_id(STR_LIT(SECRET), "12", &other, &e),
	    ERR_CONFIG);
	buf_fini(&b);
	buf_fini(&again);
}

/* Two versions meet: they speak the older one. A gateway wants what an older node
 * does not do, and says what to upgrade. */
static void
test_versions(void **state)
{
	static const struct {
		uint8_t server, client;
		enum rpc_kind kind;
		bool is_refused;
	} meet[] = {
		{ 0, 0, RPC_GATE, false },
		{ 0, 1, RPC_GATE, false },
		{ 1, 1, RPC_GATE, false },
		{ 1, 0, RPC_GATE, true },
		{ 1, 0, RPC_NODE, false },
		{ 0, 1, RPC_NODE, false },
	};
	struct rpc_request q = { .op = RPC_STORE };

	(void)state;
	for (size_t i = 0; i < sizeof(meet) / sizeof(meet[0]); i++) {
		struct rpc_client_opts o = { .self = self_of(meet[i].kind,
						 "group1", SECRET),
			.connect_ms = 2000,
			.io_ms = 3000 };
		struct err e = ERR_INIT;
		struct rpc_client *c;
		struct rpc_test t;

		if (meet[i].kind == RPC_NODE)
			q.op = RPC_INSTALL;
		o.self.version = meet[i].client;
		rpc_test_version = meet[i].server;
		rpc_test_open(&t, handle, 0, NULL);
		OK(rpc_client_open(&o, &c, NULL));
		assert_int_equal(rpc_call(c, &t.addr, &q, 2000, NULL, &e),
		    meet[i].is_refused ? ERR_CONFIG : 0);
		if (meet[i].is_refused)
			assert_non_null(strstr(e.msg, "upgrade storage nodes"));
		rpc_client_close(&c);
		rpc_test_close(&t);
	}
	rpc_test_version = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_odd),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_unproved),
		cmocka_unit_test(test_unproved_memory),
		cmocka_unit_test(test_client_told),
		cmocka_unit_test(test_fake_server),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
