/* tests/unit/blob/fake_cluster.h - trackers and storage nodes of a cluster in this
 * process, over real sockets and cluster/rpc.h; files in memory.
 *
 * The nodes of a group share their files, but for what a test hides from one of
 * them; what a node does to the next calls is the test's to say. */
#ifndef TESTS_UNIT_BLOB_FAKE_CLUSTER_H
#define TESTS_UNIT_BLOB_FAKE_CLUSTER_H

#include "cluster/secret.h"
#include "cluster/store_ops.h"
#include "gateway/blob/cluster.h"

#include "fdfs/file_id.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/lock.h"
#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FAKE_NODES 8
#define FAKE_SECRET "0123456789abcdef0123456789abcdef"

enum fake_mood {
	FAKE_FINE,
	FAKE_HANGS,      /* no answer until the mood changes */
	FAKE_HANGS_READ, /* READ alone does */
	FAKE_STALLS,     /* READ_STORED's answer does, after the first bytes */
	FAKE_MUTE,       /* does it, then does not answer either */
	FAKE_REFUSES,    /* with `code` */
	FAKE_ROTTEN,     /* reads are ERR_CORRUPT */
	FAKE_GARBLED,    /* a bit of what is read flips on its way */
	FAKE_DAMAGED,    /* it has flipped where it is stored */
	FAKE_OLDER,      /* knows no READ_STORED */
	FAKE_SLOW,       /* each write takes a second */
};

struct fake_file {
	struct fake_file *next;
	struct sop_file info;
	char *p;
	char *note;
	size_t note_len;
	atomic_uint hidden; /* from these nodes, bits */
};

struct fake_stream {
	struct fake_stream *next;
	uint64_t number;
	struct sop_store s;
	char *p;
	size_t len;
};

struct fake_node {
	struct fake *f;
	unsigned number;
	char group[17];
	struct id128 id;
	struct rpc_server *rpc;
	struct fdfs_server *server;
	_Atomic uint16_t port;
	_Atomic int mood, code;
	atomic_uint calls, reads, checked, nows, stores; /* checked: READ */
	atomic_bool is_cold; /* nothing is at hand for READ_NOW */
	struct id128 fenced_index;
	_Atomic uint64_t fenced;
	atomic_bool is_away, cannot_write, is_unlisted;
	atomic_bool is_refilled; /* lost its disks, not a witness */
	atomic_uint says_copies; /* in EACH; 0: 2 */
	_Atomic uint64_t avail;
};

struct fake {
	char home[FDFS_GROUP_LEN + 1]; /* what the tracker would choose */
	int slow_ms;                   /* how long FAKE_SLOW takes */
	struct lock lock;              /* LEAF */
	struct fake_node node[FAKE_NODES];
	unsigned n_nodes;
	struct fake_file *files;
	struct fake_stream *streams;
	uint64_t next;
	struct rpc_server *rpc;
	struct fdfs_server *tracker;
	struct fdfs_addr tracker_addr;
	_Atomic bool tracker_hangs;
	struct id128 cluster;
	atomic_uint copies, copies_of_first; /* 0: those of the others */
	atomic_uint maps, gates;
	atomic_bool stop;
};

static struct fake_file *
fake_find(struct fake_node *n, struct str id)
{
	struct fake_file *f;

	for (f = n->f->files; f != NULL; f = f->next)
		if (str_eqz(id, f->info.id) &&
		    (f->hidden >> n->number & 1) == 0)
			return f;
	return NULL;
}

static void
fake_name(struct fake_node *n, struct fake_file *f)
{
	struct fdfs_file_id id = { .server = n->number + 1,
		.time = (uint32_t)clock_real_s(),
		.size_field =
		    fdfs_size_field(f->info.size, (uint32_t)n->f->next),
		.crc32 = f->info.crc32 };
	char tail[FDFS_TAIL], text[FDFS_ID_MAX + 1];

	memcpy(id.group, n->group, sizeof(n->group));
	fdfs_tail(STR_NULL, n->f->next++, tail);
	id.tail = str_mem(tail, sizeof(tail));
	fdfs_id_format(&id, text);
	memcpy(f->info.id, text, strlen(text) + 1);
}

/* With the lock held. */
static int
fake_store(struct fake_node *n, const struct sop_store *s, struct str body,
    struct sop_file *ret, struct err *e)
{
	struct fake_file *f;

	if (s->index_epoch < n->fenced &&
	    id128_eq(&s->index_id, &n->fenced_index))
		return err_set(e, ERR_ACCESS_DENIED, "an old epoch");
	for (f = n->f->files; f != NULL; f = f->next)
		if (id128_eq(&f->info.write_id, &s->write_id)) {
			*ret = f->info;
			return 0;
		}
	f = mem_zalloc(sizeof(*f));
	f->p = mem_alloc(body.len + 1);
	memcpy(f->p, body.p == NULL ? "" : body.p, body.len);
	f->note = mem_alloc(s->note.len + 1);
	memcpy(f->note, s->note.p == NULL ? "" : s->note.p, s->note.len);
	f->note_len = s->note.len;
	f->info = (struct sop_file){ .size = body.len,
		.crc32 = hash_crc32(0, f->p, body.len),
		.version = 1,
		.created_s = clock_real_s(),
		.class = s->class,
		.index_id = s->index_id,
		.write_id = s->write_id };
	fake_name(n, f);
	f->next = n->f->files;
	n->f->files = f;
	*ret = f->info;
	return 0;
}

static int
fake_stream_op(struct fake_node *n, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct fake_stream **p, *s;
	struct sop_file file;
	struct sop_stream x;
	int rc = sop_stream_unpack(q->args, &x, e);

	for (p = &n->f->streams; *p != NULL && (*p)->number != x.stream;
	     p = &(*p)->next)
		;
	s = *p;
	if (rc < 0 || s == NULL)
		return err_set(e, ERR_NOT_FOUND, "no stream");
	if (q->op == RPC_STORE_DATA) {
		if (x.offset != s->len)
			return err_set(e, ERR_INVALID, "a gap");
		s->p = mem_realloc(s->p, s->len + q->body.len + 1);
		memcpy(s->p + s->len, q->body.p, q->body.len);
		s->len += q->body.len;
		x.offset = s->len;
		return sop_stream_pack(&x, &a->args);
	}
	*p = s->next;
	if (q->op == RPC_STORE_COMMIT) {
		if (x.offset != s->len ||
		    (x.has_crc && x.crc32 != hash_crc32(0, s->p, s->len)))
			rc = err_set(e, ERR_INVALID, "not what was taken");
		else
			rc = fake_store(n, &s->s, str_mem(s->p, s->len), &file,
			    e);
		if (rc == 0)
			rc = sop_file_pack(&file, &a->args);
	}
	mem_free(&s->p);
	mem_free(&s);
	return rc;
}

static int
fake_begin(struct fake_node *n, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct fake_stream *s = mem_zalloc(sizeof(*s));
	struct sop_stream x = { 0 };
	int rc = sop_store_unpack(q->args, &s->s, e);

	assert_int_equal(rc, 0);
	s->s.note = s->s.ext = STR_NULL; /* views */
	if (s->s.index_epoch < n->fenced &&
	    id128_eq(&s->s.index_id, &n->fenced_index)) {
		mem_free(&s);
		return err_set(e, ERR_ACCESS_DENIED, "an old epoch");
	}
	s->number = x.stream = n->f->next++;
	s->next = n->f->streams;
	n->f->streams = s;
	return sop_stream_pack(&x, &a->args);
}

static int
fake_read(struct fake_node *n, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct sop_stat st = { 0 };
	struct fake_file *f;
	struct sop_read r;
	size_t len;
	int rc = sop_read_unpack(q->args, &r, e);

	if (rc < 0)
		return rc;
	f = fake_find(n, r.id);
	if (f == NULL)
		return err_set(e, ERR_NOT_FOUND, "no such file");
	if (n->mood == FAKE_ROTTEN)
		return err_set(e, ERR_CORRUPT, "a bad block");
	if (q->op == RPC_STAT) {
		st.file = f->info;
		st.note = str_mem(f->note, f->note_len);
		return sop_stat_pack(&st, &a->args);
	}
	len = r.off >= f->info.size ? 0 : (size_t)(f->info.size - r.off);
	if (len > r.len)
		len = r.len;
	if (q->op != RPC_READ_NOW)
		rc = sop_file_pack(&f->info, &a->args);
	if (rc == 0)
		rc = buf_add(&a->body, f->p + r.off, len);
	if (rc == 0)
		rc = pack_seal(&a->args, buf_str(&a->body));
	if ((n->mood == FAKE_GARBLED ||
		(n->mood == FAKE_DAMAGED && q->op == RPC_READ_STORED)) &&
	    len > 0)
		a->body.p[len / 2] ^= 4;
	return rc;
}

static int
fake_stall(void *arg, size_t at, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	struct fake_node *n = arg;

	while (at > 0 && n->mood == FAKE_STALLS && !n->f->stop)
		clock_sleep_ms(5);
	memset(p, '?', len);
	*ret_len = 1;
	return at > 1 ? err_set(e, ERR_IO, "it stalled") : 0;
}

static int
fake_read_stored(struct fake_node *n, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	int rc = fake_read(n, q, a, e);

	if (rc == 0 && n->mood == FAKE_STALLS && a->body.len > 3) {
		a->body.len -= 3;
		a->span = (struct rpc_span){ .fd = -1,
			.len = 3,
			.read = fake_stall,
			.arg = n };
	}
	return rc;
}

static int
fake_delete(struct fake_node *n, const struct rpc_request *q, struct err *e)
{
	struct str room[SOP_IDS_MAX];
	struct fake_file **p, *f;
	struct sop_delete d;
	int rc = sop_delete_unpack(q->args, room, SOP_IDS_MAX, &d, e);

	if (rc < 0)
		return rc;
	if (d.index_epoch < n->fenced &&
	    id128_eq(&d.index_id, &n->fenced_index))
		return err_set(e, ERR_ACCESS_DENIED, "an old epoch");
	for (size_t i = 0; i < d.n; i++) {
		for (p = &n->f->files; (f = *p) != NULL; p = &f->next)
			if (str_eqz(d.ids[i], f->info.id))
				break;
		if (f == NULL)
			continue;
		*p = f->next;
		mem_free(&f->p);
		mem_free(&f->note);
		mem_free(&f);
	}
	return 0;
}

/* Pages of two, by position. */
static int
fake_each(struct fake_node *n, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	const struct fake_file *f, *two[2];
	struct sop_page page = { 0 };
	struct sop_word word;
	struct sop_each x;
	uint64_t at = 0, i = 0;
	uint8_t cursor[8]; /* a real node's begins with zeros, too */
	int rc = sop_each_unpack(q->args, &x, e);

	if (rc < 0)
		return rc;
	if (x.cursor.len > 0) {
		assert_int_equal(x.cursor.len, sizeof(cursor));
		at = get_be64(x.cursor.p);
	}
	page.is_end = true;
	for (f = n->f->files; f != NULL; f = f->next) {
		if (!str_has_prefix(str_of(f->info.id), str_of(n->group)) ||
		    (f->hidden >> n->number & 1) != 0 ||
		    (x.class != 0 && x.class != f->info.class) || i++ < at)
			continue;
		if (page.n == 2) {
			page.is_end = false;
			break;
		}
		two[page.n++] = f;
	}
	put_be64(cursor, at + page.n);
	page.cursor = str_mem(cursor, sizeof(cursor));
	rc = sop_page_pack(&page, &a->args);
	for (uint32_t j = 0; rc == 0 && j < page.n; j++)
		rc = sop_file_pack(&two[j]->info, &a->args);
	word.is_whole = !n->is_refilled;
	word.copies = n->says_copies == 0 ? 2 : n->says_copies;
	return rc < 0 ? rc : sop_word_pack(&word, &a->args);
}

static int
fake_do(struct fake_node *n, const struct rpc_request *q, struct rpc_answer *a,
    struct err *e)
{
	struct sop_fence fence;
	struct fake_file *f;
	struct sop_file file;
	struct sop_store s;
	struct id128 id;
	int rc;

	switch (q->op) {
	case RPC_STORE:
		n->stores++;
		rc = sop_store_unpack(q->args, &s, e);
		if (rc == 0 && s.has_crc &&
		    s.crc32 != hash_crc32(0, q->body.p, q->body.len))
			return err_set(e, ERR_INVALID, "CRC32");
		if (rc == 0)
			rc = fake_store(n, &s, q->body, &file, e);
		return rc < 0 ? rc : sop_file_pack(&file, &a->args);
	case RPC_STORE_BEGIN:
		return fake_begin(n, q, a, e);
	case RPC_STORE_DATA:
	case RPC_STORE_COMMIT:
	case RPC_STORE_ABORT:
		return fake_stream_op(n, q, a, e);
	case RPC_READ_STORED:
		if (n->mood == FAKE_OLDER)
			break;
		n->reads++;
		return fake_read_stored(n, q, a, e);
	case RPC_READ:
		n->reads++;
		n->checked++;
		return fake_read(n, q, a, e);
	case RPC_READ_NOW:
		n->nows++;
		return n->is_cold || fake_read(n, q, a, e) < 0
		           ? err_set(e, ERR_RETRY, "not at hand")
		           : 0;
	case RPC_STAT:
		return fake_read(n, q, a, e);
	case RPC_DELETE:
		return fake_delete(n, q, e);
	case RPC_FIND_WRITE:
		rc = sop_find_unpack(q->args, &id, e);
		for (f = n->f->files; rc == 0 && f != NULL; f = f->next)
			if (id128_eq(&f->info.write_id, &id) &&
			    (f->hidden >> n->number & 1) == 0)
				return sop_file_pack(&f->info, &a->args);
		return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "no such write");
	case RPC_EACH:
		return fake_each(n, q, a, e);
	case RPC_FENCE:
		rc = sop_fence_unpack(q->args, &fence, e);
		if (rc < 0)
			return rc;
		if (fence.index_epoch > n->fenced) {
			n->fenced = fence.index_epoch;
			n->fenced_index = fence.index_id;
		}
		rc = fence.index_epoch < n->fenced ? ERR_ACCESS_DENIED : 0;
		fence.index_epoch = n->fenced;
		sop_fence_pack(&fence, &a->args);
		return rc == 0 ? 0 : err_set(e, rc, "an old epoch");
	default:
		break;
	}
	return err_set(e, ERR_NOT_IMPLEMENTED, "operation %u", q->op);
}

static int
fake_serve(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct fake_node *n = arg;
	int rc = 0;

	(void)from;
	n->calls++;
	while ((n->mood == FAKE_HANGS ||
		   (n->mood == FAKE_HANGS_READ &&
		       (q->op == RPC_READ || q->op == RPC_READ_STORED))) &&
	       !n->f->stop)
		clock_sleep_ms(5);
	if (n->mood == FAKE_REFUSES && q->op != RPC_FENCE)
		return err_set(e, n->code, "refused");
	if (n->mood == FAKE_SLOW && q->op <= RPC_STORE_COMMIT)
		clock_sleep_ms(n->f->slow_ms);
	lock_take(&n->f->lock);
	rc = fake_do(n, q, a, e);
	lock_drop(&n->f->lock);
	while (n->mood == FAKE_MUTE && !n->f->stop)
		clock_sleep_ms(5);
	return rc;
}

/* --- the tracker --- */

static void
fake_describe(struct fake *f, const struct fake_node *n, struct cmap_node *ret,
    struct cmap_path *path)
{
	*ret = (struct cmap_node){ .node = n->id,
		.cluster = f->cluster,
		.server_id = n->number + 1,
		.state = FDFS_STATE_ACTIVE,
		.can_write = !n->cannot_write,
		.min_copies = n->number % 2 == 0 && f->copies_of_first != 0
		                  ? f->copies_of_first
		                  : f->copies,
		.is_away = n->is_away,
		.n_paths = 1,
		.paths = path,
		.heard_s = clock_real_s() };
	memcpy(ret->group, n->group, sizeof(n->group));
	memcpy(ret->inner.ip, "127.0.0.1", 10);
	ret->inner.port = n->port;
	*path = (struct cmap_path){ .total = n->avail * 2, .avail = n->avail };
	for (unsigned i = 0; i < f->n_nodes; i++)
		if (strcmp(f->node[i].group, n->group) == 0)
			ret->members[ret->n_members++] =
			    (struct cmap_member){ .node = f->node[i].id,
				    .server_id = i + 1 };
}

static int
fake_track(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct cmap_node nodes[FAKE_NODES];
	struct cmap_path paths[FAKE_NODES];
	struct fake *f = arg;
	struct cmap m = { .nodes = nodes };
	int rc;

	(void)from;
	while (f->tracker_hangs && !f->stop)
		clock_sleep_ms(10);
	if (q->op == RPC_GATE_ANNOUNCE) {
		f->gates++;
		return 0;
	}
	if (q->op == RPC_HOME && f->home[0] != '\0')
		return pack_str(&a->args, str_of(f->home));
	if (q->op != RPC_MAP)
		return err_set(e, ERR_NOT_IMPLEMENTED, NULL);
	f->maps++;
	lock_take(&f->lock);
	for (unsigned i = 0; i < f->n_nodes; i++) {
		if (f->node[i].is_unlisted)
			continue;
		fake_describe(f, &f->node[i], &nodes[m.n_nodes],
		    &paths[m.n_nodes]);
		m.n_nodes++;
	}
	lock_drop(&f->lock);
	rc = cmap_pack(&m, &a->args);
	return rc;
}

static void
fake_listen(struct rpc_server *rpc, uint16_t port, struct fdfs_server **ret)
{
	struct fdfs_route routes[RPC_ROUTES];
	struct fdfs_server_opts o = { .kind = FDFS_STORAGE,
		.host = "127.0.0.1",
		.port = port,
		.routes = routes,
		.n_routes = RPC_ROUTES };
	struct err e = ERR_INIT;

	rpc_server_routes(rpc, routes);
	assert_int_equal(fdfs_server_open(&o, ret, &e), 0);
}

static void
fake_node_start(struct fake_node *n)
{
	fake_listen(n->rpc, n->port, &n->server);
	n->port = fdfs_server_port(n->server);
}

/* Its connections are cut and nobody listens any more. */
static inline void
fake_node_stop(struct fake_node *n)
{
	fdfs_server_close(&n->server, 0);
}

static void
fake_open(struct fake *f, const char *const *groups, unsigned n)
{
	struct rpc_self self = { .kind = RPC_NODE,
		.secret = STR_LIT(FAKE_SECRET) };
	struct err e = ERR_INIT;

	memset(f, 0, sizeof(*f));
	lock_init(&f->lock, LOCK_RANK_LEAF);
	f->next = 1;
	f->copies = 2;
	f->slow_ms = 1000;
	assert_int_equal(secret_cluster_id(self.secret, "", &f->cluster, &e),
	    0);
	self.cluster = f->cluster;
	f->n_nodes = n;
	for (unsigned i = 0; i < n; i++) {
		struct fake_node *p = &f->node[i];

		p->f = f;
		p->number = i;
		p->id = self.id = id128_new();
		p->avail = 1u << 30;
		snprintf(p->group, sizeof(p->group), "%s", groups[i]);
		memcpy(self.group, p->group, sizeof(p->group));
		self.server_id = i + 1;
		assert_int_equal(rpc_server_new(&self, fake_serve, p, 0,
				     &p->rpc, &e),
		    0);
		fake_node_start(p);
	}
	self.kind = RPC_TRACKER;
	self.group[0] = '\0';
	assert_int_equal(rpc_server_new(&self, fake_track, f, 0, &f->rpc, &e),
	    0);
	fake_listen(f->rpc, 0, &f->tracker);
	memcpy(f->tracker_addr.ip, "127.0.0.1", 10);
	f->tracker_addr.port = fdfs_server_port(f->tracker);
}

static void
fake_close(struct fake *f)
{
	struct fake_stream *s;
	struct fake_file *p;

	f->stop = true;
	fdfs_server_close(&f->tracker, 0);
	rpc_server_free(&f->rpc);
	for (unsigned i = 0; i < f->n_nodes; i++) {
		fdfs_server_close(&f->node[i].server, 0);
		rpc_server_free(&f->node[i].rpc);
	}
	while ((p = f->files) != NULL) {
		f->files = p->next;
		mem_free(&p->p);
		mem_free(&p->note);
		mem_free(&p);
	}
	while ((s = f->streams) != NULL) {
		f->streams = s->next;
		mem_free(&s->p);
		mem_free(&s);
	}
	lock_fini(&f->lock);
}

static int fake_slow_ms = 1500, fake_read_ms = 300;
static unsigned fake_trackers = 1; /* all of them the same one */

/* A gateway's blobs on it; times are short. */
static struct blob *
fake_gateway(struct fake *f, void (*event)(void *arg, int level, const char *t),
    void *arg)
{
	struct fdfs_addr trackers[8];
	struct blob_cluster_conf c = { .trackers = trackers,
		.n_trackers = fake_trackers,
		.version = "test",
		.event = event,
		.arg = arg,
		.connect_ms = 300,
		.read_ms = fake_read_ms,
		.slow_ms = fake_slow_ms,
		.store_ms = 500,
		.refresh_ms = 100 };
	char why[CMAP_REASON] = "";
	struct err e = ERR_INIT;
	struct blob *b = NULL;

	for (unsigned i = 0; i < fake_trackers; i++)
		trackers[i] = f->tracker_addr;
	c.self.kind = RPC_GATE;
	c.self.id = id128_new();
	c.self.cluster = f->cluster;
	c.self.secret = STR_LIT(FAKE_SECRET);
	assert_int_equal(blob_cluster_new(&c, &b, &e), 0);
	for (int i = 0; i < 500 && !blob_cluster_is_usable(b, why); i++)
		clock_sleep_ms(10);
	return b;
}

#endif
