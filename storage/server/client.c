/* storage/server/client.c - FastDFS's storage commands.
 *
 * Widths and errors: docs/FASTDFS.md. What the layers below call busy is "try
 * again" (11) here, as with trackers: 16 means something else to FastDFS. */
#include "storage/server/storage_int.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdio.h>

#define CHUNK (256 * 1024)
#define AT_ONCE (64 * 1024) /* read whole, sent with its header */
#define SAY_EACH_S 10       /* failures: lines in a second */

struct call {
	struct storage *s;
	struct fdfs_conn *c;
	const struct fdfs_incoming *in;
	struct fdfs_storage_req r;
};

static int
source(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	return fdfs_conn_read(arg, p, len, ret, e);
}

enum {
	FILE_ANSWER = FDFS_GROUP_LEN + FDFS_REMOTE_MAX
};

static int
reply_file(struct call *k, struct str name, struct err *e)
{
	char room[FILE_ANSWER];
	struct buf b = { room, 0, sizeof(room), sizeof(room) };
	int rc = fdfs_file_answer_encode(str_of(k->s->c.group), name, &b, e);

	return rc == 0 ? fdfs_conn_reply(k->c, buf_str(&b), e) : rc;
}

/* --- new files --- */

static int
upload(struct call *k, struct err *e)
{
	bool is_appender = k->r.command == FDFS_UPLOAD_APPENDER;
	int path = k->r.path == FDFS_ANY_PATH ? -1 : k->r.path;
	struct engine_file_info info;
	int rc;

	if (path >= (int)engine_n_paths(k->s->engine))
		return err_set(e, ERR_INVALID, "no store path %d", path);
	rc = files_upload(k->s->files, path, is_appender, k->r.ext, k->r.size,
	    source, k->c, &info, e);
	storage_count(k->s, COUNT_UPLOAD_BYTES, (int64_t)k->r.size, rc == 0);
	return rc == 0 ? reply_file(k, files_remote(k->s->files, info.id), e)
	               : rc;
}

static int
upload_slave(struct call *k, struct err *e)
{
	char name[FDFS_REMOTE_MAX + 1];
	int rc = files_upload_slave(k->s->files, k->r.name, k->r.prefix,
	    k->r.ext, k->r.size, source, k->c, name, e);

	storage_count(k->s, COUNT_UPLOAD_BYTES, (int64_t)k->r.size, rc == 0);
	return rc == 0 ? reply_file(k, str_of(name), e) : rc;
}

/* --- changes --- */

static int
append(struct call *k, struct err *e)
{
	int rc =
	    files_append(k->s->files, k->r.name, k->r.size, source, k->c, e);

	storage_count(k->s, COUNT_APPEND_BYTES, (int64_t)k->r.size, rc == 0);
	return rc;
}

static int
modify(struct call *k, struct err *e)
{
	int rc = files_modify(k->s->files, k->r.name, k->r.offset, k->r.size,
	    source, k->c, e);

	storage_count(k->s, COUNT_MODIFY_BYTES, (int64_t)k->r.size, rc == 0);
	return rc;
}

static int
truncate_file(struct call *k, struct err *e)
{
	return files_truncate(k->s->files, k->r.name, k->r.size, e);
}

static int
regenerate(struct call *k, struct err *e)
{
	struct engine_file_info info;
	int rc = files_regenerate(k->s->files, k->r.name, &info, e);

	return rc == 0 ? reply_file(k, files_remote(k->s->files, info.id), e)
	               : rc;
}

static int
delete_file(struct call *k, struct err *e)
{
	return files_delete(k->s->files, k->r.name, e);
}

static int
set_meta(struct call *k, struct err *e)
{
	return files_set_meta(k->s->files, k->r.name, k->r.meta_flag, k->r.meta,
	    e);
}

/* Names in FastDFS 6.16 may be linked by its deduplication alone, which is not
 * here: 95. */
static int
create_link(struct call *k, struct err *e)
{
	(void)k;
	return err_set(e, ERR_NOT_IMPLEMENTED, "links");
}

/* --- reading --- */

static int
get_meta(struct call *k, struct err *e)
{
	struct buf b = BUF_CAP(FDFS_META_PACKET);
	int rc = files_get_meta(k->s->files, k->r.name, &b, e);

	if (rc == 0)
		rc = fdfs_conn_reply(k->c, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

static int
read_full(struct files_reader *r, uint64_t off, char *p, size_t len,
    struct err *e)
{
	size_t done = 0, n = 0;
	int rc = 0;

	while (rc == 0 && done < len) {
		rc = files_reader_read(r, off + done, p + done, len - done, &n,
		    e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "a file is too short");
		done += n;
	}
	return rc;
}

static int
send_range(struct call *k, struct files_reader *r, uint64_t off, uint64_t len,
    struct err *e)
{
	size_t room = len < CHUNK ? (size_t)len : CHUNK;
	char small[8 * 1024], *p = small;
	int rc = 0;

	if (room > sizeof(small)) {
		p = mem_alloc(room);
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	if (len <= AT_ONCE) {
		rc = read_full(r, off, p, (size_t)len, e);
		if (rc == 0)
			rc = fdfs_conn_reply(k->c, str_mem(p, (size_t)len), e);
		len = 0;
	} else { /* the first bytes before the header: a failure has a status */
		rc = read_full(r, off, p, room, e);
		if (rc == 0)
			rc = fdfs_conn_reply_begin(k->c, len, e);
	}
	while (rc == 0 && len > 0) {
		rc = fdfs_conn_write(k->c, p, room, e);
		off += room;
		len -= room;
		room = len < CHUNK ? (size_t)len : CHUNK;
		if (rc == 0 && len > 0)
			rc = read_full(r, off, p, room, e);
	}
	if (p != small)
		mem_free(&p);
	return rc;
}

static int
download(struct call *k, struct err *e)
{
	struct files_reader *r = NULL;
	struct files_info info;
	uint64_t len = 0;
	int rc = files_reader_open(k->s->files, k->r.name, &r, &info, e);

	if (rc < 0)
		return rc;
	rc = fdfs_range(info.size, k->r.offset, k->r.bytes, &len, e);
	if (rc == 0)
		rc = send_range(k, r, k->r.offset, len, e);
	files_reader_close(&r);
	storage_count(k->s, COUNT_DOWNLOAD_BYTES, (int64_t)len, rc == 0);
	return rc;
}

static void
source_ip(struct storage *s, uint32_t server_id, char dst[FDFS_IP_MAX + 1])
{
	size_t width = s->c.wide_answers ? 46 : 16;
	struct member_view v;

	dst[0] = '\0';
	members_get(s->members, &v);
	for (size_t i = 0; i < v.n; i++) {
		const char *ip = v.m[i].inner.ip;

		if (v.m[i].server_id == server_id && strlen(ip) < width)
			memcpy(dst, ip, strlen(ip) + 1);
	}
}

static int
file_info(struct call *k, struct err *e)
{
	struct buf b = BUF_CAP(128);
	struct fdfs_info answer;
	struct files_info info;
	int rc = files_info(k->s->files, k->r.name,
	    !(k->r.flags & FDFS_INFO_NO_CRC), &info, e);

	if (rc < 0)
		return rc;
	answer = (struct fdfs_info){ .size = info.size,
		.time = (uint64_t)info.modified_s,
		.crc32 = info.crc32 };
	source_ip(k->s, info.server_id, answer.ip);
	rc = fdfs_info_encode(&answer,
	    k->s->c.wide_answers ? FDFS_WIDE : FDFS_NARROW, &b, e);
	if (rc == 0)
		rc = fdfs_conn_reply(k->c, buf_str(&b), e);
	buf_fini(&b);
	return rc;
}

/* --- all of them --- */

static const struct {
	uint8_t command;
	int (*fn)(struct call *k, struct err *e);
	int count; /* enum count, -1: none */
	bool is_change;
} commands[] = {
	{ FDFS_UPLOAD, upload, COUNT_UPLOAD, true },
	{ FDFS_UPLOAD_APPENDER, upload, COUNT_UPLOAD, true },
	{ FDFS_UPLOAD_SLAVE, upload_slave, COUNT_UPLOAD, true },
	{ FDFS_APPEND, append, COUNT_APPEND, true },
	{ FDFS_MODIFY, modify, COUNT_MODIFY, true },
	{ FDFS_TRUNCATE, truncate_file, COUNT_TRUNCATE, true },
	{ FDFS_REGENERATE, regenerate, -1, true },
	{ FDFS_DELETE, delete_file, COUNT_DELETE, true },
	{ FDFS_SET_META, set_meta, COUNT_SET_META, true },
	{ FDFS_GET_META, get_meta, COUNT_GET_META, false },
	{ FDFS_DOWNLOAD, download, COUNT_DOWNLOAD, false },
	{ FDFS_FILE_INFO, file_info, -1, false },
	{ FDFS_CREATE_LINK, create_link, COUNT_CREATE_LINK, false },
};

static void
note_change(struct storage *s)
{
	atomic_store_explicit(&s->counts.last_change_s, clock_real_s(),
	    memory_order_relaxed);
}

static int
serve(struct call *k, struct err *e)
{
	size_t i = 0;
	int rc;

	while (commands[i].command != k->in->header.command)
		if (++i == sizeof(commands) / sizeof(commands[0]))
			return err_set(e, ERR_INVALID, "unknown command");
	rc = fdfs_storage_req_decode(&k->in->header, k->in->head, &k->r, e);
	if (rc == 0 && k->r.group.len > 0 &&
	    !str_eqz(k->r.group, k->s->c.group))
		rc = err_set(e, ERR_INVALID, "another group");
	if (rc == 0)
		rc = commands[i].fn(k, e);
	if (commands[i].count >= 0)
		storage_count(k->s, (enum count)commands[i].count, 1, rc == 0);
	if (rc == 0 && commands[i].is_change)
		note_change(k->s);
	return rc;
}

/* --- failures --- */

/* The client's own, which it is told. */
static bool
is_ordinary(int rc)
{
	return rc == ERR_INVALID || rc == ERR_NOT_FOUND || rc == ERR_EXISTS ||
	       rc == ERR_DISCONNECTED || rc == ERR_NOT_IMPLEMENTED ||
	       rc == ERR_TOO_BIG || rc == ERR_CLOSED;
}

/* One line each, but no flood. */
static void
say_failure(struct storage *s, const struct fdfs_command *c,
    const struct fdfs_addr *peer, struct str name, int rc, const struct err *e)
{
	char what[80 + FDFS_REMOTE_MAX];
	int64_t now = clock_real_s();
	bool is_said;

	metric_error(rc);
	lock_take(&s->lock);
	if (s->said_s != now)
		s->said = 0;
	s->said_s = now;
	is_said = s->said++ < SAY_EACH_S;
	lock_drop(&s->lock);
	if (!is_said)
		return;
	snprintf(what, sizeof(what), "%s from %s%s" STR_FMT, c->name, peer->ip,
	    name.len > 0 ? ", " : "", STR_ARG(name));
	storage_say(s, LOG_WARN, what, e);
}

/* FastDFS's commands alone: Creel's prove the secret (cluster/rpc.h). */
int
storage_admit(void *arg, const struct fdfs_addr *peer,
    const struct fdfs_command *c, struct err *e)
{
	struct storage *s = arg;
	bool yes;
	int rc;

	OBJ_CHECK(s, STORAGE_MAGIC);
	if (c != fdfs_command(c->number))
		return 0;
	lock_take(&s->lock);
	yes = fdfs_allow_has(&s->allow, peer);
	lock_drop(&s->lock);
	if (yes)
		return 0;
	rc = err_set(e, ERR_ACCESS_DENIED, "not in allow_hosts");
	say_failure(s, c, peer, STR_NULL, rc, e);
	return rc;
}

/* What the client is told of a failure, which may be news to the log. */
static int
settle(struct storage *s, const struct fdfs_command *c,
    const struct fdfs_addr *peer, struct str name, int rc, const struct err *e)
{
	if (rc < 0 && !is_ordinary(rc))
		say_failure(s, c, peer, name, rc, e);
	return rc == ERR_BUSY || rc == ERR_FAILED ? ERR_RETRY : rc;
}

int
storage_on_fdfs(void *arg, struct fdfs_conn *c, const struct fdfs_incoming *in,
    struct err *e)
{
	struct storage *s = arg;
	struct call k = { .s = s, .c = c, .in = in };
	int rc;

	OBJ_CHECK(s, STORAGE_MAGIC);
	rc = serve(&k, e);
	return settle(s, in->command, fdfs_conn_peer(c), k.r.name, rc, e);
}

/* --- uploads that are answered later --- */

struct later { /* in the connection's arena */
	struct storage *s;
	struct fdfs_conn *c;
	const struct fdfs_command *command;
	uint64_t size;
	char id[ENGINE_FILE_ID_MAX];
	struct err e;
};

static int
count_upload(struct storage *s, const struct fdfs_command *command,
    const struct fdfs_conn *c, uint64_t size, int rc, const struct err *e)
{
	storage_count(s, COUNT_UPLOAD_BYTES, (int64_t)size, rc == 0);
	storage_count(s, COUNT_UPLOAD, 1, rc == 0);
	if (rc == 0)
		note_change(s);
	return settle(s, command, fdfs_conn_peer(c), STR_NULL, rc, e);
}

static int
on_named(void *arg, const struct engine_file_info *i, struct err *e)
{
	struct later *l = arg;

	(void)e;
	memcpy(l->id, i->id, sizeof(l->id));
	return 0;
}

static void
on_stored(void *arg, int rc, bool more)
{
	struct later *l = arg;
	char room[FILE_ANSWER];
	struct buf b = { room, 0, sizeof(room), sizeof(room) };

	(void)more;
	rc = count_upload(l->s, l->command, l->c, l->size, rc, &l->e);
	if (rc == 0)
		rc = fdfs_file_answer_encode(str_of(l->s->c.group),
		    files_remote(l->s->files, l->id), &b, &l->e);
	fdfs_conn_resume(l->c, rc, buf_str(&b), &l->e);
}

/* As upload(). */
static int
put_later(struct later *l, const struct fdfs_storage_req *r, struct str content)
{
	struct engine_then then = { on_named, on_stored, l,
		fdfs_conn_arena(l->c) };
	int path = r->path == FDFS_ANY_PATH ? -1 : r->path;

	if (path >= (int)engine_n_paths(l->s->engine))
		return err_set(&l->e, ERR_INVALID, "no store path %d", path);
	return files_upload_gather(l->s->files, path, r->ext, content, &then,
	    &l->e);
}

int
storage_on_upload(void *arg, struct fdfs_conn *c,
    const struct fdfs_incoming *in, struct str content, struct err *e)
{
	struct arena *a = fdfs_conn_arena(c);
	struct storage *s = arg;
	struct fdfs_storage_req r;
	struct later *l;
	int rc;

	OBJ_CHECK(s, STORAGE_MAGIC);
	l = a == NULL ? NULL : arena_alloc(a, sizeof(*l));
	if (l == NULL)
		return FDFS_WAITS;
	*l = (struct later){ .s = s, .c = c, .command = in->command };
	rc = fdfs_storage_req_decode(&in->header, in->head, &r, &l->e);
	if (rc == 0) {
		MUST(r.size == content.len);
		l->size = r.size;
		rc = put_later(l, &r, content);
	}
	if (rc == 0)
		return FDFS_LATER;
	rc = rc > 0 ? FDFS_WAITS
	            : count_upload(s, in->command, c, l->size, rc, &l->e);
	*e = l->e;
	arena_reset(a);
	return rc;
}

void
storage_gathered(void *arg)
{
	struct storage *s = arg;

	rep_gathered(s->rep);
}
