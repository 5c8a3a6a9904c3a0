/* A tracker and a storage in memory behind the server loop: enough of
 * FastDFS to be talked to by any client. For tests; one lock, few files. */
#ifndef TEST_FDFS_MEMORY_H
#define TEST_FDFS_MEMORY_H

#include "fdfs/meta.h"
#include "fdfs/server.h"
#include "fdfs/storage_codec.h"
#include "fdfs/tracker_codec.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>

#define MEMORY_FILES 32
#define MEMORY_SIZE (8u << 20) /* of one file */

struct memory_file {
	char name[FDFS_REMOTE_MAX + 1]; /* "" is free */
	struct buf data, meta;
};

struct memory {
	enum fdfs_form form;
	pthread_mutex_t lock;
	struct memory_file file[MEMORY_FILES];
	struct fdfs_server *tracker, *storage;
	unsigned drawn;
};

static inline struct memory_file *
memory_find(struct memory *m, struct str name)
{
	for (size_t i = 0; i < MEMORY_FILES; i++) {
		if (m->file[i].name[0] != '\0' &&
		    str_eqz(name, m->file[i].name))
			return &m->file[i];
	}
	return NULL;
}

static inline struct memory_file *
memory_new(struct memory *m, const char *name)
{
	for (size_t i = 0; i < MEMORY_FILES; i++) {
		struct memory_file *f = &m->file[i];

		if (f->name[0] != '\0')
			continue;
		snprintf(f->name, sizeof(f->name), "%s", name);
		f->data = BUF_CAP(MEMORY_SIZE);
		f->meta = BUF_CAP(FDFS_META_PACKET);
		return f;
	}
	return NULL;
}

static inline void
memory_free(struct memory_file *f)
{
	f->name[0] = '\0';
	buf_fini(&f->data);
	buf_fini(&f->meta);
}

/* The name of @data; with @like, in its place and with its tail. */
static inline void
memory_name(struct memory *m, const struct buf *data, struct str ext,
    bool appender, struct str like, char dst[FDFS_REMOTE_MAX + 1])
{
	struct fdfs_file_id id = { .group = "group1",
		.server = htonl(INADDR_LOOPBACK),
		.time = (uint32_t)clock_real_s(),
		.crc32 = hash_crc32(0, data->p, data->len) };
	char tail[FDFS_TAIL], text[FDFS_ID_MAX + 1];
	size_t n;

	id.size_field = fdfs_size_field(appender ? 0 : data->len, ++m->drawn) |
	                (appender ? FDFS_SIZE_APPENDER : 0);
	fdfs_tail(ext, m->drawn, tail);
	id.tail = str_mem(tail, sizeof(tail));
	if (like.len > 0)
		id.tail = str_skip(like, like.len - FDFS_TAIL);
	n = fdfs_id_format(&id, text) - strlen("group1/");
	MUST(n <= FDFS_REMOTE_MAX);
	memcpy(dst, text + strlen("group1/"), n + 1);
}

/* --- storage --- */

static inline int
memory_read(struct fdfs_conn *c, uint64_t size, struct buf *b, struct err *e)
{
	size_t n = 1;
	int rc;

	if (size > MEMORY_SIZE)
		return err_set(e, ERR_NO_SPACE, "file too large");
	rc = buf_reserve(b, (size_t)size);
	while (rc == 0 && n > 0) {
		rc = fdfs_conn_read(c, b->p + b->len, (size_t)size - b->len, &n,
		    e);
		if (rc == 0)
			b->len += n;
	}
	return rc;
}

static inline int
memory_answer_file(struct fdfs_conn *c, const char *name, struct err *e)
{
	struct buf b = BUF_CAP(256);
	int rc =
	    fdfs_file_answer_encode(STR_LIT("group1"), str_of(name), &b, e);

	if (rc == 0)
		rc = fdfs_conn_reply(c, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

static inline int
memory_upload(struct memory *m, struct fdfs_conn *c,
    const struct fdfs_storage_req *r, struct buf *data, struct err *e)
{
	char name[FDFS_REMOTE_MAX + 1];
	struct memory_file *f;
	size_t n;
	int rc;

	if (r->command == FDFS_UPLOAD_SLAVE) {
		if (memory_find(m, r->name) == NULL)
			return ERR_NOT_FOUND;
		rc = fdfs_slave_name(r->name, r->prefix, r->ext, name, &n, e);
		if (rc < 0)
			return rc;
		if (memory_find(m, str_mem(name, n)) != NULL)
			return ERR_EXISTS;
	} else {
		if (r->path != FDFS_ANY_PATH && r->path != 0)
			return err_set(e, ERR_INVALID, "store path");
		memory_name(m, data, r->ext, r->command == FDFS_UPLOAD_APPENDER,
		    STR_NULL, name);
	}
	f = memory_new(m, name);
	if (f == NULL)
		return ERR_NO_SPACE;
	rc = buf_adds(&f->data, buf_str(data));
	if (rc < 0) {
		memory_free(f);
		return rc;
	}
	return memory_answer_file(c, name, e);
}

static inline int
memory_change(struct memory_file *f, const struct fdfs_storage_req *r,
    const struct buf *data, struct err *e)
{
	enum fdfs_kind kind;
	size_t end;

	if (!fdfs_name_kind(str_of(f->name), &kind) || kind != FDFS_APPENDER)
		return err_set(e, ERR_INVALID, "not an appender");
	if (r->command == FDFS_APPEND)
		return buf_adds(&f->data, buf_str(data));
	if (r->command == FDFS_TRUNCATE) {
		end = (size_t)r->size;
	} else {
		if (r->offset > f->data.len)
			return err_set(e, ERR_INVALID, "offset");
		end = (size_t)(r->offset + data->len);
		if (end < f->data.len)
			end = f->data.len;
	}
	if (end > f->data.len) {
		if (buf_reserve(&f->data, end - f->data.len) < 0)
			return ERR_NO_SPACE;
		memset(f->data.p + f->data.len, 0, end - f->data.len);
	}
	f->data.len = end;
	if (r->command == FDFS_MODIFY && data->len > 0)
		memcpy(f->data.p + r->offset, data->p, data->len);
	return 0;
}

static inline int
memory_info(struct memory *m, struct fdfs_conn *c, const struct memory_file *f,
    struct err *e)
{
	struct fdfs_info info = { .size = f->data.len,
		.time = (uint64_t)clock_real_s(),
		.crc32 = hash_crc32(0, f->data.p, f->data.len),
		.ip = "127.0.0.1" };
	struct buf b = BUF_CAP(256);
	int rc = fdfs_info_encode(&info, m->form, &b, e);

	if (rc == 0)
		rc = fdfs_conn_reply(c, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

static inline int
memory_file_op(struct memory *m, struct fdfs_conn *c,
    const struct fdfs_storage_req *r, const struct buf *data, struct err *e)
{
	struct memory_file *f = memory_find(m, r->name);
	char name[FDFS_REMOTE_MAX + 1];
	struct buf meta = BUF_CAP(FDFS_META_PACKET);
	uint64_t len;
	int rc;

	if (f == NULL)
		return ERR_NOT_FOUND;
	switch (r->command) {
	case FDFS_DELETE:
		memory_free(f);
		return 0;
	case FDFS_DOWNLOAD:
		rc = fdfs_range(f->data.len, r->offset, r->bytes, &len, e);
		if (rc == 0)
			rc = fdfs_conn_reply_begin(c, len, e);
		/* In two, to see that the header goes with the first. */
		if (rc == 0)
			rc = fdfs_conn_write(c, f->data.p + r->offset,
			    (size_t)(len / 2), e);
		if (rc == 0)
			rc = fdfs_conn_write(c, f->data.p + r->offset + len / 2,
			    (size_t)(len - len / 2), e);
		return rc;
	case FDFS_SET_META:
		rc = fdfs_meta_set(buf_str(&f->meta), r->meta, r->meta_flag,
		    &meta, e);
		if (rc < 0) {
			buf_fini(&meta);
			return rc;
		}
		buf_fini(&f->meta);
		f->meta = meta;
		return 0;
	case FDFS_GET_META:
		return f->meta.len == 0
		           ? ERR_NOT_FOUND
		           : fdfs_conn_reply(c, buf_str(&f->meta), e);
	case FDFS_FILE_INFO:
		return memory_info(m, c, f, e);
	case FDFS_REGENERATE:
		memory_name(m, &f->data, STR_NULL, false, r->name, name);
		snprintf(f->name, sizeof(f->name), "%s", name);
		return memory_answer_file(c, name, e);
	default:
		return memory_change(f, r, data, e);
	}
}

static inline int
memory_storage(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct buf data = BUF_CAP(MEMORY_SIZE);
	struct fdfs_storage_req r;
	struct memory *m = arg;
	int rc;

	rc = fdfs_storage_req_decode(&in->header, in->head, &r, e);
	if (rc == 0 && r.group.len > 0 && !str_eqz(r.group, "group1"))
		rc = err_set(e, ERR_INVALID, "wrong group");
	if (rc == 0 && in->content > 0)
		rc = memory_read(c, in->content, &data, e);
	if (rc == 0) {
		pthread_mutex_lock(&m->lock);
		if (r.command == FDFS_UPLOAD ||
		    r.command == FDFS_UPLOAD_APPENDER ||
		    r.command == FDFS_UPLOAD_SLAVE)
			rc = memory_upload(m, c, &r, &data, e);
		else
			rc = memory_file_op(m, c, &r, &data, e);
		pthread_mutex_unlock(&m->lock);
	}
	buf_fini(&data);
	return rc;
}

/* --- tracker --- */

static inline void
memory_lists(struct memory *m, uint8_t command, struct buf *b, struct err *e)
{
	struct fdfs_group g = { .name = "group1",
		.total_mb = 1000,
		.free_mb = 900,
		.storages = 1,
		.storage_port = fdfs_server_port(m->storage),
		.readable = 1,
		.writable = 1,
		.store_paths = 1,
		.subdirs = 256,
		.trunk_file = -1 };
	struct fdfs_storage s = { .state = FDFS_STATE_ACTIVE,
		.rw_mode = 6,
		.id = "127.0.0.1",
		.ip = "127.0.0.1",
		.version = "6.16.1",
		.total_mb = 1000,
		.free_mb = 900,
		.store_paths = 1,
		.subdirs = 256,
		.port = fdfs_server_port(m->storage) };

	if (command == FDFS_LIST_STORAGES)
		fdfs_storage_encode(&s, m->form, b, e);
	else
		fdfs_group_encode(&g, b, e);
}

/* The views and identities: one tracker, one storage, no server IDs. */
static inline int
memory_views(struct memory *m, const struct fdfs_tracker_req *r, struct buf *b,
    struct err *e)
{
	struct fdfs_addr tracker = { .ip = "127.0.0.1",
		.port = fdfs_server_port(m->tracker) };
	struct fdfs_addr storage = { .ip = "127.0.0.1",
		.port = fdfs_server_port(m->storage) };
	struct fdfs_node node = { .id = "127.0.0.1",
		.is_leader = true,
		.is_active = true,
		.state = FDFS_STATE_ACTIVE,
		.version = "6.16.1" };
	struct fdfs_volume volume = { .group = "group1",
		.total_mb = 1000,
		.disk_available = true };
	struct fdfs_brief brief = { .state = FDFS_STATE_ACTIVE,
		.port = storage.port,
		.id = "127.0.0.1",
		.ip = "127.0.0.1" };
	struct fdfs_tracker_status status = { .is_leader = true };

	switch (r->command) {
	case FDFS_LEADER:
		return fdfs_leader_encode(&tracker, b, e);
	case FDFS_TRACKER_STAT:
		fdfs_addr_text(&tracker, node.host);
		return fdfs_tracker_stat_encode(&node, 1, b, e);
	case FDFS_STORAGE_STAT:
		fdfs_addr_text(&storage, node.host);
		return fdfs_storage_stat_encode(&node, 1, false, false, b, e);
	case FDFS_VOLUME_STAT:
		return fdfs_volume_stat_encode(&volume, 1, false, b, e);
	case FDFS_STATUS:
		return fdfs_tracker_status_encode(&status, b, e);
	case FDFS_SERVER_ID:
		return fdfs_id_answer_encode(STR_LIT("127.0.0.1"), false, b, e);
	case FDFS_SERVER_STATUS:
		return fdfs_brief_encode(&brief, b, e);
	case FDFS_STORAGE_IDS:
		return r->allow_empty ? fdfs_ids_encode(0, 0, STR_LIT(""), b, e)
		                      : ERR_NOT_IMPLEMENTED;
	default:
		return ERR_NOT_IMPLEMENTED;
	}
}

static inline int
memory_tracker(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct fdfs_servers s = { .group = "group1", .n = 1 };
	struct buf b = BUF_CAP(4096);
	struct fdfs_tracker_req r;
	struct memory *m = arg;
	int rc;

	rc = fdfs_tracker_req_decode(&in->header, in->head, &r, e);
	if (rc < 0)
		return rc;
	if (r.group.len > 0 && !str_eqz(r.group, "group1"))
		return ERR_NOT_FOUND;
	s.addr[0] = (struct fdfs_addr){ .ip = "127.0.0.1",
		.port = fdfs_server_port(m->storage) };
	if (r.command == FDFS_LIST_STORAGES && r.id.len > 0 &&
	    !str_eqz(r.id, "127.0.0.1"))
		return ERR_NOT_FOUND;
	switch (r.command) {
	case FDFS_STORE_ONE:
	case FDFS_STORE_GROUP_ONE:
	case FDFS_STORE_ALL:
	case FDFS_STORE_GROUP_ALL:
		rc = fdfs_store_encode(&s, m->form, &b, e);
		break;
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
		rc = fdfs_fetch_encode(&s, m->form, FDFS_EXTRAS_NONE, &b, e);
		break;
	case FDFS_LIST_GROUP:
	case FDFS_LIST_GROUPS:
	case FDFS_LIST_STORAGES:
		memory_lists(m, r.command, &b, e);
		break;
	case FDFS_PARAMETERS:
		rc = fdfs_param_add(&b, "use_storage_id", "0", e);
		break;
	case FDFS_DELETE_GROUP:
	case FDFS_DELETE_STORAGE:
		return fdfs_conn_reply_status(c, FDFS_EBUSY, e);
	default:
		rc = memory_views(m, &r, &b, e);
		break;
	}
	if (rc == 0)
		rc = fdfs_conn_reply(c, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

/* --- life --- */

/* @o: limits alone; may be NULL. */
static inline void
memory_open(struct memory *m, enum fdfs_form form,
    const struct fdfs_server_opts *o)
{
	struct fdfs_server_opts opts = { 0 };
	struct fdfs_route routes[64];
	struct err e = ERR_INIT;
	int rc;

	memset(m, 0, sizeof(*m));
	m->form = form;
	pthread_mutex_init(&m->lock, NULL);
	if (o != NULL)
		opts = *o;
	opts.host = "127.0.0.1";
	opts.routes = routes;
	opts.arg = m;
	for (int kind = FDFS_TRACKER; kind <= FDFS_STORAGE; kind++) {
		opts.kind = (enum fdfs_server_kind)kind;
		opts.n_routes = 0;
		for (unsigned i = 0; i < 256; i++) {
			const struct fdfs_command *c = fdfs_command((uint8_t)i);

			if (c != NULL && c->servers == opts.kind)
				routes[opts.n_routes++] =
				    (struct fdfs_route){ .command = c,
					    .fn = kind == FDFS_TRACKER
					              ? memory_tracker
					              : memory_storage };
		}
		rc = fdfs_server_open(&opts,
		    kind == FDFS_TRACKER ? &m->tracker : &m->storage, &e);
		MUST(rc == 0);
	}
}

static inline void
memory_close(struct memory *m)
{
	fdfs_server_close(&m->tracker, 1000);
	fdfs_server_close(&m->storage, 1000);
	for (size_t i = 0; i < MEMORY_FILES; i++)
		memory_free(&m->file[i]);
	pthread_mutex_destroy(&m->lock);
}

#endif
