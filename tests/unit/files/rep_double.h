/* A double of storage/replication for tests of storage/files: one node that
 * leads a group of its own, all in memory. Included once, by the test itself,
 * so that its functions stand in for the library's. */
#include "cluster/rpc.h"
#include "fdfs/file_id.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/lock.h"
#include "lib/mem.h"
#include "lib/thread.h"
#include "storage/files/files.h"
#include "storage/replication/rep.h"

#include <stdio.h>
#include <unistd.h>

#define DOUBLE_MAX 20000

struct double_file {
	struct engine_file_info info;
	char note[256];
	char *body;
	bool is_tomb;
};

struct rep { /* and members */
	struct lock lock;
	struct double_file *v;
	size_t n;
	uint64_t seq;
	/* What is to fail, and what was done. */
	int fail_change, fail_change_after; /* rc, before or after it is done */
	/* The node stops with the so manieth of what writes, before it is done
	 * or after: that and all that come then are ERR_CLOSED. 0: never. */
	unsigned stop_at, writes;
	bool stop_after;
	void (*before)(void); /* one of these; without the lock */
	bool no_leader;
	unsigned fail_newest; /* so many rep_read_newest() are ERR_BUSY */
	/* With n_members > 0: of that group this is node 1. */
	size_t n_members;
	uint8_t leader, unreached; /* node, 0: none */
	bool is_deaf;              /* the leader is not heard */
	/* Calls to others go here. */
	int (*call)(int to, const struct rpc_request *q, int timeout_ms,
	    struct rpc_reply *r, struct err *e);
	size_t small_limit;
	uint64_t written; /* bytes */
	size_t changes;
	_Atomic bool stopped;
	int64_t shift_s;  /* of both clocks */
	int64_t wrong_s;  /* of the wall clock alone */
	struct buf saved; /* the one small file */
};

static struct rep world;

static struct double_file *
dbl_find(struct str id)
{
	for (size_t i = 0; i < world.n; i++)
		if (str_eqz(id, world.v[i].info.id))
			return &world.v[i];
	return NULL;
}

static int64_t
dbl_now_ms(void *env)
{
	(void)env;
	return clock_mono_ns() / 1000000 + world.shift_s * 1000;
}

static int64_t
dbl_now_s(void)
{
	return clock_real_s() + world.shift_s + world.wrong_s;
}

static void
dbl_open(void)
{
	world = (struct rep){ .v = calloc(DOUBLE_MAX, sizeof(*world.v)),
		.saved = BUF_CAP(1 << 20) };
	MUST(world.v != NULL);
	lock_init(&world.lock, LOCK_RANK_LEAF);
}

static void
dbl_close(void)
{
	for (size_t i = 0; i < world.n; i++)
		free(world.v[i].body);
	free(world.v);
	buf_fini(&world.saved);
	lock_fini(&world.lock);
}

static size_t
dbl_count(uint8_t class)
{
	size_t n = 0;

	for (size_t i = 0; i < world.n; i++)
		n += !world.v[i].is_tomb && world.v[i].info.class == class;
	return n;
}

static void
dbl_store(struct double_file *f, const void *p, size_t len)
{
	free(f->body);
	f->body = malloc(len + 1);
	MUST(f->body != NULL);
	memcpy(f->body, p == NULL ? "" : p, len);
	f->info.size = len;
	world.written += len;
}

static void
dbl_before(void)
{
	if (world.before != NULL)
		world.before();
}

/* Under the lock, before something is written. False: it is not done. */
static bool
dbl_may_write(void)
{
	unsigned n = ++world.writes;

	return world.stop_at == 0 || n < world.stop_at ||
	       (n == world.stop_at && world.stop_after);
}

/* After it: what the caller hears. */
static int
dbl_wrote(int rc, struct err *e)
{
	if (world.stop_at != 0 && world.writes >= world.stop_at)
		return err_set(e, ERR_CLOSED, "stopped");
	return rc;
}

static struct double_file *
dbl_new(struct str id)
{
	struct double_file *f;

	MUST(world.n < DOUBLE_MAX);
	f = &world.v[world.n++];
	memcpy(f->info.id, id.p, id.len);
	f->info.id[id.len] = '\0';
	return f;
}

static void
dbl_draw(uint64_t size, uint32_t crc32, const char *ext, unsigned flags,
    char ret[ENGINE_FILE_ID_MAX])
{
	char tail[FDFS_TAIL], text[FDFS_ID_MAX + 1];
	struct fdfs_file_id id = { .group = "group1",
		.server = 7,
		.time = (uint32_t)dbl_now_s(),
		.crc32 = crc32,
		.size_field = fdfs_size_field(size, (uint32_t)rand_u64()),
		.tail = { tail, FDFS_TAIL } };

	if (flags & ENGINE_APPENDER)
		id.size_field = fdfs_size_field(0, (uint32_t)rand_u64()) |
		                FDFS_SIZE_APPENDER;
	fdfs_tail(str_of(ext), rand_u64(), tail);
	MUST(fdfs_id_format(&id, text) < ENGINE_FILE_ID_MAX);
	memcpy(ret, text, strlen(text) + 1);
}

/* It can't: the caller goes another way. */
int
rep_put_gather(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, const struct engine_then *then,
    struct err *e)
{
	(void)r;
	(void)owner;
	(void)path_no;
	(void)body;
	(void)ext;
	(void)then;
	(void)e;
	return 1;
}

/* --- rep.h --- */

/* Under the lock. */
static int
dbl_put(const char *id, const struct engine_owner *owner, struct str body,
    struct engine_file_info *ret, struct err *e)
{
	struct double_file *f;

	if (!dbl_may_write())
		return dbl_wrote(0, e);
	if (dbl_find(str_of(id)) != NULL)
		return err_set(e, ERR_EXISTS, NULL);
	f = dbl_new(str_of(id));
	f->info.crc32 = hash_crc32(0, body.p, body.len);
	f->info.file_version = 1;
	f->info.created_s = dbl_now_s();
	f->info.class = owner->class;
	snprintf(f->note, sizeof(f->note), STR_FMT, STR_ARG(owner->note));
	dbl_store(f, body.p, body.len);
	*ret = f->info;
	return dbl_wrote(0, e);
}

int
rep_put(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e)
{
	char id[ENGINE_FILE_ID_MAX];
	int rc;

	(void)r;
	(void)path_no;
	dbl_before();
	lock_take(&world.lock);
	dbl_draw(body.len, hash_crc32(0, body.p, body.len), ext, flags, id);
	rc = dbl_put(id, owner, body, ret, e);
	lock_drop(&world.lock);
	return rc;
}

struct rep_upload {
	struct engine_owner owner;
	char note[256];
	struct buf b;
};

int
rep_upload_begin(struct rep *r, const struct engine_owner *owner, int path_no,
    uint64_t size_hint, struct rep_upload **ret, struct err *e)
{
	struct rep_upload *u = calloc(1, sizeof(*u));

	(void)r;
	(void)path_no;
	(void)size_hint;
	(void)e;
	MUST(u != NULL);
	u->owner = *owner;
	snprintf(u->note, sizeof(u->note), STR_FMT, STR_ARG(owner->note));
	u->owner.note = str_of(u->note);
	u->b = BUF_CAP(1024 * 1024 * 1024);
	*ret = u;
	return 0;
}

int
rep_upload_write(struct rep_upload *u, const void *p, size_t len, struct err *e)
{
	(void)e;
	return buf_add(&u->b, p, len);
}

void
rep_upload_abort(struct rep_upload **up)
{
	buf_fini(&(*up)->b);
	free(*up);
	*up = NULL;
}

int
rep_upload_commit(struct rep_upload **up, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e)
{
	int rc = rep_put(&world, &(*up)->owner, -1, buf_str(&(*up)->b), ext,
	    flags, ret, e);

	rep_upload_abort(up);
	return rc;
}

int
rep_upload_commit_as(struct rep_upload **up, const struct engine_record *as,
    struct engine_file_info *ret, struct err *e)
{
	struct str body = buf_str(&(*up)->b);
	int rc;

	MUST(as->info.size == body.len &&
	     as->info.crc32 == hash_crc32(0, body.p, body.len));
	dbl_before();
	lock_take(&world.lock);
	rc = dbl_put(as->info.id, &(*up)->owner, body, ret, e);
	lock_drop(&world.lock);
	rep_upload_abort(up);
	return rc;
}

static int
dbl_change(const struct rep_change *c, struct engine_file_info *ret,
    struct err *e)
{
	struct double_file *f = dbl_find(c->id);
	bool is_live = f != NULL && !f->is_tomb;

	if (c->body.len > world.small_limit)
		return err_set(e, ERR_TOO_BIG, NULL);
	if (c->is_new && is_live)
		return err_set(e, ERR_EXISTS, NULL);
	if (!c->is_new && !is_live)
		return err_set(e, ERR_NOT_FOUND, NULL);
	if (c->base != 0 && (!is_live || f->info.file_version != c->base))
		return err_set(e, ERR_RETRY, "another version");
	if (f == NULL)
		f = dbl_new(c->id);
	f->info.file_version = ++world.seq + (UINT64_C(1) << 32);
	f->info.class = c->class;
	f->info.created_s = dbl_now_s();
	f->is_tomb = c->is_delete;
	snprintf(f->note, sizeof(f->note), STR_FMT, STR_ARG(c->note));
	dbl_store(f, c->body.p, c->body.len);
	world.changes++;
	*ret = f->info;
	return 0;
}

int
rep_change(struct rep *r, const struct rep_change *c,
    struct engine_file_info *ret, struct err *e)
{
	int rc;

	(void)r;
	dbl_before();
	lock_take(&world.lock);
	rc = world.fail_change;
	world.fail_change = 0;
	if (rc == 0 && c->until_ms != 0 && dbl_now_ms(NULL) >= c->until_ms)
		rc = err_set(e, ERR_RETRY, "late");
	if (rc == 0 && dbl_may_write())
		rc = dbl_change(c, ret, e);
	rc = dbl_wrote(rc, e);
	if (rc == 0 && world.fail_change_after < 0) {
		rc = world.fail_change_after;
		world.fail_change_after = 0;
	}
	lock_drop(&world.lock);
	return rc;
}

int
rep_read_newest(struct rep *r, struct str id, struct engine_file_info *ret,
    struct buf *body, struct err *e)
{
	struct double_file *f;
	int rc = 0;

	(void)r;
	lock_take(&world.lock);
	f = dbl_find(id);
	if (world.fail_newest > 0) {
		world.fail_newest--;
		rc = err_set(e, ERR_BUSY, "no majority");
	}
	if (rc == 0 && (f == NULL || f->is_tomb))
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 0) {
		*ret = f->info;
		if (body != NULL)
			rc = buf_add(body, f->body, (size_t)f->info.size);
	}
	lock_drop(&world.lock);
	return rc;
}

int
rep_delete_many(struct rep *r, const struct str *ids, size_t n, struct err *e)
{
	bool may;
	int rc;

	(void)r;
	dbl_before();
	lock_take(&world.lock);
	may = dbl_may_write();
	for (size_t i = 0; may && i < n; i++) {
		struct double_file *f = dbl_find(ids[i]);

		if (f == NULL)
			f = dbl_new(ids[i]);
		f->is_tomb = true;
	}
	rc = dbl_wrote(0, e);
	lock_drop(&world.lock);
	return rc;
}

struct rep_file {
	struct double_file f;
};

int
rep_file_open(struct rep *r, struct str id, struct rep_file **ret,
    struct err *e)
{
	struct double_file *f;
	struct rep_file *o = NULL;

	(void)r;
	lock_take(&world.lock);
	f = dbl_find(id);
	if (f != NULL && !f->is_tomb) {
		o = calloc(1, sizeof(*o));
		MUST(o != NULL);
		o->f = *f;
		o->f.body = NULL;
		o->f.body = malloc((size_t)f->info.size + 1);
		memcpy(o->f.body, f->body, (size_t)f->info.size);
	}
	lock_drop(&world.lock);
	if (o == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL);
	*ret = o;
	return 0;
}

void
rep_file_info(const struct rep_file *f, struct engine_file_info *ret)
{
	*ret = f->f.info;
}

struct str
rep_file_note(struct rep_file *f)
{
	return str_of(f->f.note);
}

int
rep_file_read(struct rep_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	(void)e;
	*ret_len = 0;
	if (off >= f->f.info.size)
		return 0;
	if (len > f->f.info.size - off)
		len = (size_t)(f->f.info.size - off);
	memcpy(p, f->f.body + off, len);
	*ret_len = len;
	return 0;
}

void
rep_file_close(struct rep_file **fp)
{
	free((*fp)->f.body);
	free(*fp);
	*fp = NULL;
}

void
rep_status(struct rep *r, struct rep_status *ret)
{
	(void)r;
	*ret = (struct rep_status){ .state = FDFS_STATE_ACTIVE };
}

bool
rep_reaches(struct rep *r, const struct id128 *node)
{
	return r->unreached == 0 || node->b[0] != r->unreached;
}

/* --- member.h --- */

bool
members_hears(struct members *m, const struct id128 *leader)
{
	(void)m;
	return !world.is_deaf && world.leader != 0 &&
	       (leader == NULL || leader->b[0] == world.leader);
}

void
members_get(struct members *m, struct member_view *ret)
{
	(void)m;
	*ret = (struct member_view){ .n = 1, .self = 0, .term = 1, .epoch = 1 };
	ret->is_leader = !world.no_leader;
	ret->leader = world.no_leader ? -1 : 0;
	if (world.n_members == 0)
		return;
	ret->n = world.n_members;
	for (size_t i = 0; i < ret->n; i++) {
		ret->m[i].node.b[0] = (uint8_t)(i + 1);
		ret->m[i].inner.port = (uint16_t)(i + 1);
	}
	ret->heard = ret->leader = world.leader - 1;
	ret->is_leader = ret->leader == ret->self;
}

int
members_check(struct members *m, const struct rpc_from *from, uint64_t epoch,
    struct err *e)
{
	(void)m;
	(void)from;
	(void)epoch;
	(void)e;
	return 0;
}

void
members_saw(struct members *m, const struct fdfs_addr *peer, uint64_t epoch)
{
	(void)m;
	(void)peer;
	(void)epoch;
}

/* --- env.h --- */

static int
dbl_op_draw(void *st, const struct engine_owner *o, int path_no, uint64_t size,
    uint32_t crc32, const char *ext, unsigned flags, struct engine_record *ret,
    struct err *e)
{
	(void)st;
	(void)path_no;
	(void)e;
	*ret = (struct engine_record){ 0 };
	dbl_draw(size, crc32, ext, flags, ret->info.id);
	ret->info.class = o->class;
	ret->info.crc32 = crc32;
	ret->info.size = size;
	return 0;
}

static int
dbl_op_lookup(void *st, const struct str *ids, size_t n,
    struct engine_version *ret, struct err *e)
{
	(void)st;
	(void)e;
	lock_take(&world.lock);
	for (size_t i = 0; i < n; i++) {
		struct double_file *f = dbl_find(ids[i]);

		ret[i] = (struct engine_version){ 0 };
		if (f != NULL) {
			ret[i].known = f->is_tomb ? ENGINE_TOMB : ENGINE_LIVE;
			ret[i].class = f->info.class;
		}
	}
	lock_drop(&world.lock);
	return 0;
}

/* Keys are positions, big-endian behind 8 zeros. */
static int
dbl_op_range(void *st, const uint8_t from[ENGINE_KEY],
    const uint8_t to[ENGINE_KEY], size_t max,
    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
	const struct engine_version *v),
    void *arg, struct err *e)
{
	uint8_t key[ENGINE_KEY] = { 0 };
	size_t i = ((size_t)from[14] << 8) | from[15], given = 0;

	(void)st;
	(void)to;
	(void)e;
	for (; i < world.n && given < max; i++, given++) {
		struct engine_version v = { .known = world.v[i].is_tomb
			                                 ? ENGINE_TOMB
			                                 : ENGINE_LIVE,
			.class = world.v[i].info.class };

		key[14] = (uint8_t)(i >> 8);
		key[15] = (uint8_t)i;
		if (fn(arg, key, &v) != 0)
			break;
	}
	return 0;
}

static int
dbl_op_record(void *st, const uint8_t key[ENGINE_KEY],
    struct engine_record *ret, struct buf *note, struct err *e)
{
	struct double_file *f = &world.v[((size_t)key[14] << 8) | key[15]];

	(void)st;
	(void)e;
	*ret = (struct engine_record){ .info = f->info, .is_tomb = f->is_tomb };
	MUST(buf_addz(note, f->note) == 0);
	ret->note = buf_str(note);
	return 0;
}

static int
dbl_op_save(void *st, const char *name, struct str bytes, struct err *e)
{
	(void)st;
	(void)e;
	MUST(strcmp(name, "sweep") == 0);
	world.saved.len = 0;
	MUST(buf_adds(&world.saved, bytes) == 0);
	return 0;
}

static int
dbl_op_load(void *st, const char *name, struct buf *ret, struct err *e)
{
	(void)st;
	MUST(strcmp(name, "sweep") == 0);
	if (world.saved.len == 0)
		return err_set(e, ERR_NOT_FOUND, NULL);
	MUST(buf_adds(ret, buf_str(&world.saved)) == 0);
	return 0;
}

static const struct rep_store_ops dbl_store_ops = {
	.draw = dbl_op_draw,
	.lookup_many = dbl_op_lookup,
	.range = dbl_op_range,
	.record_of_key = dbl_op_record,
	.save = dbl_op_save,
	.load = dbl_op_load,
};

static int
dbl_call(void *env, const struct fdfs_addr *to, const struct rpc_request *q,
    int timeout_ms, struct rpc_reply *r, struct err *e)
{
	(void)env;
	if (world.call != NULL)
		return world.call(to->port, q, timeout_ms, r, e);
	return err_set(e, ERR_DISCONNECTED, NULL);
}

static int64_t
dbl_real_s(void *env)
{
	(void)env;
	return dbl_now_s();
}

static bool
dbl_sleep(void *env, int64_t ms)
{
	(void)env;
	if (!world.stopped && ms > 0)
		usleep((useconds_t)(ms > 20 ? 20 : ms) * 1000);
	return !world.stopped;
}

struct dbl_task {
	void (*fn)(void *arg);
	void *arg;
};

static void *
dbl_run(void *arg)
{
	struct dbl_task t = *(struct dbl_task *)arg;

	free(arg);
	t.fn(t.arg);
	return NULL;
}

static pthread_t dbl_thread;

static int
dbl_spawn(void *env, void (*fn)(void *arg), void *arg, struct err *e)
{
	struct dbl_task *t = calloc(1, sizeof(*t));

	(void)env;
	MUST(t != NULL);
	*t = (struct dbl_task){ fn, arg };
	return thread_start(&dbl_thread, "task", dbl_run, t, e);
}

static uint64_t
dbl_random(void *env)
{
	(void)env;
	return rand_u64();
}

struct dbl_gate {
	struct lock lock;
	struct cond cond;
	bool is_open;
};

static void *
dbl_gate_new(void *env)
{
	struct dbl_gate *g = calloc(1, sizeof(*g));

	(void)env;
	MUST(g != NULL);
	lock_init(&g->lock, LOCK_RANK_LEAF);
	cond_init(&g->cond);
	return g;
}

static void
dbl_gate_free(void *env, void *gate)
{
	struct dbl_gate *g = gate;

	(void)env;
	cond_fini(&g->cond);
	lock_fini(&g->lock);
	free(g);
}

static void
dbl_gate_signal(void *env, void *gate)
{
	struct dbl_gate *g = gate;

	(void)env;
	lock_take(&g->lock);
	g->is_open = true;
	cond_broadcast(&g->cond);
	lock_drop(&g->lock);
}

static bool
dbl_gate_wait(void *env, void *gate, int64_t ms)
{
	struct dbl_gate *g = gate;
	int64_t end = dbl_now_ms(env) + ms;
	bool is_open;

	lock_take(&g->lock);
	while (!g->is_open && !world.stopped && dbl_now_ms(env) < end)
		cond_wait_ms(&g->cond, &g->lock, 20);
	is_open = g->is_open;
	lock_drop(&g->lock);
	return is_open;
}

static void
dbl_event(void *env, int level, const char *text)
{
	(void)env;
	(void)level;
	(void)text;
}

static const struct rep_env_ops dbl_env_ops = {
	.call = dbl_call,
	.now_ms = dbl_now_ms,
	.real_s = dbl_real_s,
	.random = dbl_random,
	.sleep = dbl_sleep,
	.spawn = dbl_spawn,
	.gate_new = dbl_gate_new,
	.gate_free = dbl_gate_free,
	.gate_signal = dbl_gate_signal,
	.gate_wait = dbl_gate_wait,
	.event = dbl_event,
};

/* --- files on it --- */

static int
dbl_open_files(struct files **ret)
{
	struct files_conf c = { .rep = &world,
		.members = (struct members *)&world,
		.env = { &dbl_store_ops, NULL, &dbl_env_ops, NULL },
		.group = "group1",
		.small_limit = world.small_limit,
		.wait_ms = 300 };
	struct err e = ERR_INIT;

	world.stopped = false;
	return files_open(&c, ret, &e);
}

static void
dbl_close_files(struct files **fp)
{
	world.stopped = true;
	files_close(fp);
	thread_join(dbl_thread);
}
