/* gateway/blob/fastdfs.c - blobs in a cluster of FastDFS, through the commands
 * that its own clients use (blob/cluster.h).
 *
 * D1  A body's size is known before the first byte is sent: streams wait in a
 *     file that has no name, within spool_max for all.
 * D2  What comes back is held against what the name says: the size of each
 *     read, the CRC32 of whatever is read from begin to end.
 * D3  An upload whose outcome is unknown is not repeated: ERR_RETRY, and the
 *     bytes, if they are there, stay: nothing can find them. */
#include "gateway/blob/cluster.h"

#include "fdfs/file_id.h"
#include "fdfs/ops.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/lock.h"
#include "lib/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define TRIES 3
#define WHOLE_MAX (1u << 20)
#define SPOOL_MAX (1u << 30)
#define MAX_GROUPS 64
#define GROUPS_NS (3 * 1000000000ll) /* how long a list of groups is good */
#define SOON_NS 200000000ll

struct fastdfs {
	struct fdfs_client *client;
	struct fdfs_addr trackers[FDFS_MAX_TRACKERS];
	size_t n_trackers;
	_Atomic size_t tracker; /* that answered last */
	char spool_dir[4096];
	uint64_t spool_max;
	_Atomic uint64_t spooled;
	struct lock lock; /* BLOB: what follows, no I/O */
	struct fdfs_group groups[MAX_GROUPS];
	size_t n_groups;
	int64_t groups_ns;
};

struct fastdfs_put {
	struct fastdfs *f;
	char group[BLOB_GROUP_MAX + 1];
	struct blob_owner owner; /* its note is not kept */
	int fd;
	uint64_t size;
	uint32_t crc32;
};

struct fastdfs_file {
	struct fastdfs *f;
	char id[BLOB_ID_MAX];
	struct fdfs_file_id parsed;
	uint64_t size, checked; /* CRC'd up to here */
	uint32_t crc32;
};

static void
fastdfs_close(void *impl)
{
	struct fastdfs *f = impl;

	fdfs_client_close(&f->client);
	lock_fini(&f->lock);
	mem_free(&f);
}

static bool
is_passing(int rc)
{
	return rc == ERR_DISCONNECTED || rc == ERR_BUSY || rc == ERR_RETRY;
}

/* Another tracker than @was from now on. */
static void
next_tracker(struct fastdfs *f, size_t was)
{
	atomic_compare_exchange_strong(&f->tracker, &was,
	    (was + 1) % f->n_trackers);
}

/* --- writing --- */

struct source { /* memory or a file */
	const char *p;
	int fd;
	uint64_t off, size;
};

static int
read_source(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct source *s = arg;
	int rc = 0;

	if (len > s->size - s->off)
		len = (size_t)(s->size - s->off);
	if (s->p != NULL) {
		memcpy(p, s->p + s->off, len);
		*ret = len;
	} else {
		rc = fs_pread(s->fd, p, len, s->off, ret, e);
	}
	if (rc == 0)
		s->off += *ret;
	return rc;
}

/* Is it what was sent? */
static int
check_stored(const struct fdfs_file *file, uint64_t size, uint32_t crc32,
    struct blob_info *ret, struct err *e)
{
	struct fdfs_file_id id;
	int rc;

	rc = snprintf(ret->id, sizeof(ret->id), "%s/%s", file->group,
	    file->name);
	if (rc < 0 || (size_t)rc >= sizeof(ret->id))
		return err_set(e, ERR_TOO_BIG, "a file ID too long");
	rc = fdfs_id_parse(str_of(ret->id), &id, e);
	if (rc < 0)
		return rc;
	if (fdfs_id_size(&id) != size || id.crc32 != crc32)
		return err_set(e, ERR_IO,
		    "FastDFS stored other bytes than it was sent: %s", ret->id);
	ret->size = size;
	ret->created_s = id.time;
	return 0;
}

static int
upload(struct fastdfs *f, struct str group, const struct blob_owner *owner,
    struct source *s, uint32_t crc32, struct blob_info *ret, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_UPLOAD, .size = s->size };
	struct fdfs_servers to;
	struct fdfs_file file;
	int rc = ERR_BUSY;

	for (int i = 0; i < TRIES; i++) {
		size_t t = atomic_load(&f->tracker);

		rc = fdfs_ask_store(f->client, &f->trackers[t], group, false,
		    &to, e);
		if (rc < 0 && group.len > 0 && !is_passing(rc)) {
			group = STR_NULL; /* full, or gone: any other */
			continue;
		}
		if (rc == 0)
			break;
		next_tracker(f, t);
	}
	if (rc < 0)
		return is_passing(rc) ? ERR_BUSY : rc;
	q.path = to.path;
	rc = fdfs_send(f->client, &to.addr[0], &q, read_source, s, &file, e);
	if (is_passing(rc))
		return ERR_RETRY; /* D3 */
	if (rc < 0)
		return rc;
	*ret = (struct blob_info){ .class = owner->class,
		.index_id = owner->index_id,
		.write_id = owner->write_id };
	return check_stored(&file, s->size, crc32, ret, e);
}

static int
fastdfs_put_whole(void *impl, struct str group, const struct blob_owner *owner,
    struct str body, struct blob_info *ret, struct err *e)
{
	struct source s = { .p = body.p == NULL ? "" : body.p,
		.fd = -1,
		.size = body.len };

	return upload(impl, group, owner, &s, hash_crc32(0, s.p, body.len), ret,
	    e);
}

static void
put_free(struct fastdfs_put *u)
{
	atomic_fetch_sub(&u->f->spooled, u->size);
	fs_close(&u->fd);
	mem_free(&u);
}

static int
fastdfs_put_begin(void *impl, struct str group, const struct blob_owner *owner,
    uint64_t size_hint, void **ret, struct err *e)
{
	struct fastdfs_put *u;
	int rc;

	(void)size_hint;
	if (group.len > BLOB_GROUP_MAX)
		return err_set(e, ERR_INVALID, "group name too long");
	u = mem_zalloc(sizeof(*u));
	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	u->f = impl;
	u->fd = -1;
	if (group.len > 0)
		memcpy(u->group, group.p, group.len);
	u->owner = *owner;
	u->owner.note = STR_NULL;
	rc = fs_open(u->f->spool_dir, O_TMPFILE | O_RDWR, &u->fd, e);
	if (rc < 0) {
		put_free(u);
		return rc;
	}
	*ret = u;
	return 0;
}

static int
fastdfs_put_write(void *put, const void *p, size_t len, struct err *e)
{
	struct fastdfs_put *u = put;
	struct fastdfs *f = u->f;
	int rc;

	if (atomic_fetch_add(&f->spooled, len) + len > f->spool_max) {
		atomic_fetch_sub(&f->spooled, len);
		return err_set(e, ERR_BUSY,
		    "uploads that wait in %.100s have reached their limit",
		    f->spool_dir);
	}
	rc = fs_pwrite_all(u->fd, str_mem(p, len), u->size, e);
	u->size += len;
	u->crc32 = hash_crc32(u->crc32, p, len);
	return rc;
}

static int
fastdfs_put_commit(void *put, struct blob_info *ret, struct err *e)
{
	struct fastdfs_put *u = put;
	struct source s = { .fd = u->fd, .size = u->size };
	int rc =
	    upload(u->f, str_of(u->group), &u->owner, &s, u->crc32, ret, e);

	put_free(u);
	return rc == ERR_RETRY ? ERR_BUSY : rc;
}

static void
fastdfs_put_abort(void *put)
{
	put_free(put);
}

/* --- reading --- */

struct sink {
	char *p;
	size_t len, max;
};

static int
take(void *arg, const void *p, size_t len, struct err *e)
{
	struct sink *s = arg;

	if (len > s->max - s->len)
		return err_set(e, ERR_TOO_BIG, "more bytes than asked for");
	memcpy(s->p + s->len, p, len);
	s->len += len;
	return 0;
}

static int
download(struct fastdfs *f, const char *id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_DOWNLOAD,
		.offset = off,
		.bytes = len };
	struct fdfs_servers at;
	struct fdfs_file file;
	uint64_t got;
	int rc = fdfs_file_parse(str_of(id), &file, e);

	*ret_len = 0;
	if (rc < 0 || len == 0)
		return rc;
	q.group = str_of(file.group);
	q.name = str_of(file.name);
	for (int i = 0; i < TRIES; i++) {
		struct sink s = { p, 0, len };
		size_t t = atomic_load(&f->tracker);

		rc = fdfs_ask_fetch(f->client, &f->trackers[t], FDFS_FETCH_ONE,
		    q.group, q.name, &at, e);
		if (is_passing(rc))
			next_tracker(f, t);
		if (rc == 0)
			rc = fdfs_download(f->client, &at.addr[0], &q, take, &s,
			    &got, e);
		if (rc == 0)
			*ret_len = s.len;
		/* A replica that lags has no such file: perhaps another. */
		if (rc == 0 || (!is_passing(rc) && rc != ERR_NOT_FOUND))
			break;
	}
	return is_passing(rc) ? ERR_BUSY : rc;
}

static int
fastdfs_open(void *impl, struct str id, void **ret, uint64_t *ret_size,
    struct err *e)
{
	struct fastdfs_file *f;

	if (id.len >= BLOB_ID_MAX)
		return err_set(e, ERR_CORRUPT, "not a file ID");
	f = mem_zalloc(sizeof(*f));
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	f->f = impl;
	memcpy(f->id, id.p, id.len);
	if (fdfs_id_parse(str_of(f->id), &f->parsed, e) < 0) {
		mem_free(&f);
		return err_set(e, ERR_CORRUPT, "not a file ID");
	}
	f->size = *ret_size = fdfs_id_size(&f->parsed);
	*ret = f;
	return 0;
}

static int
fastdfs_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	struct fastdfs_file *f = file;
	int rc;

	if (off > f->size)
		off = f->size;
	if (len > f->size - off)
		len = (size_t)(f->size - off);
	rc = download(f->f, f->id, off, p, len, ret_len, e);
	if (rc < 0)
		return rc;
	if (*ret_len != len)
		return err_set(e, ERR_CORRUPT,
		    "%s is shorter than its name "
		    "says",
		    f->id);
	if (off != f->checked || len == 0)
		return 0;
	f->crc32 = hash_crc32(f->crc32, p, len);
	f->checked += len;
	if (f->checked == f->size && f->crc32 != f->parsed.crc32)
		return err_set(e, ERR_CORRUPT,
		    "%s is not what its name says (CRC32)", f->id);
	return 0;
}

static void
fastdfs_file_close(void *file)
{
	struct fastdfs_file *f = file;

	mem_free(&f);
}

static int
fastdfs_read_once(void *impl, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	uint64_t size;
	void *f;
	int rc = fastdfs_open(impl, id, &f, &size, e);

	if (rc < 0)
		return rc;
	rc = fastdfs_read(f, off, p, len, ret_len, e);
	fastdfs_file_close(f);
	return rc;
}

/* --- the rest --- */

static int
delete_one(struct fastdfs *f, struct str id, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_DELETE };
	struct fdfs_servers at;
	struct fdfs_file file;
	int rc = fdfs_file_parse(id, &file, e);

	if (rc < 0)
		return rc;
	q.group = str_of(file.group);
	q.name = str_of(file.name);
	for (int i = 0; i < TRIES; i++) {
		size_t t = atomic_load(&f->tracker);

		rc = fdfs_ask_fetch(f->client, &f->trackers[t],
		    FDFS_FETCH_UPDATE, q.group, q.name, &at, e);
		if (is_passing(rc))
			next_tracker(f, t);
		if (rc == 0)
			rc = fdfs_do(f->client, &at.addr[0], &q, e);
		if (!is_passing(rc))
			break;
	}
	if (rc == ERR_NOT_FOUND)
		return 0;
	return is_passing(rc) ? ERR_BUSY : rc;
}

static int
fastdfs_delete_many(void *impl, const struct str *ids, size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = delete_one(impl, ids[i], e);
	return rc;
}

static int
cannot(struct err *e)
{
	return err_set(e, ERR_INVALID,
	    "FastDFS does not know whose its files are");
}

static int
fastdfs_note(void *file, struct buf *ret, struct err *e)
{
	(void)file;
	(void)ret;
	return cannot(e);
}

static int
fastdfs_find_write(void *impl, const struct id128 *write_id,
    struct blob_info *ret, struct err *e)
{
	(void)impl;
	(void)write_id;
	(void)ret;
	return cannot(e);
}

static int
fastdfs_each(void *impl, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e)
{
	(void)impl;
	(void)class;
	(void)fn;
	(void)arg;
	return cannot(e);
}

/* --- groups --- */

static void
refresh_groups(struct fastdfs *f)
{
	struct fdfs_group *g = mem_alloc(MAX_GROUPS * sizeof(*g));
	size_t t = atomic_load(&f->tracker), n = 0;
	int64_t now = clock_mono_ns();
	bool is_due;
	int rc;

	lock_take(&f->lock);
	is_due =
	    g != NULL && (f->groups_ns == 0 || now - f->groups_ns > GROUPS_NS);
	if (is_due)
		f->groups_ns = now; /* one asks */
	lock_drop(&f->lock);
	if (is_due) {
		rc = fdfs_ask_groups(f->client, &f->trackers[t], g, MAX_GROUPS,
		    &n, NULL);
		lock_take(&f->lock);
		if (rc == 0)
			memcpy(f->groups, g, n * sizeof(*g));
		else
			f->groups_ns = now - GROUPS_NS + SOON_NS;
		f->n_groups = rc == 0 ? n : 0;
		lock_drop(&f->lock);
		if (rc < 0)
			next_tracker(f, t);
	}
	mem_free(&g);
}

static size_t
fastdfs_n_stats(void *impl)
{
	struct fastdfs *f = impl;
	size_t n;

	refresh_groups(f);
	lock_take(&f->lock);
	n = f->n_groups;
	lock_drop(&f->lock);
	return n;
}

static void
fastdfs_get_stat(void *impl, size_t i, struct blob_stat *ret)
{
	struct fastdfs *f = impl;

	memset(ret, 0, sizeof(*ret));
	lock_take(&f->lock);
	if (i < f->n_groups) {
		const struct fdfs_group *g = &f->groups[i];

		snprintf(ret->name, sizeof(ret->name), "%s", g->name);
		ret->total = (uint64_t)g->total_mb << 20;
		ret->avail = (uint64_t)g->free_mb << 20;
		ret->is_failed = g->writable <= 0;
	}
	lock_drop(&f->lock);
}

static bool
fastdfs_can_write(void *impl)
{
	struct fastdfs *f = impl;
	bool yes = false;

	refresh_groups(f);
	lock_take(&f->lock);
	for (size_t i = 0; i < f->n_groups; i++)
		yes |= f->groups[i].writable > 0 &&
		       f->groups[i].free_mb > f->groups[i].reserved_mb;
	lock_drop(&f->lock);
	return yes;
}

static void
fastdfs_choose_group(void *impl, struct str wish, char dst[BLOB_GROUP_MAX + 1])
{
	struct fastdfs *f = impl;

	refresh_groups(f);
	lock_take(&f->lock);
	for (size_t i = 0; i < f->n_groups; i++)
		if (str_eqz(wish, f->groups[i].name))
			memcpy(dst, f->groups[i].name, BLOB_GROUP_MAX + 1);
	lock_drop(&f->lock);
}

static int
fastdfs_nothing_to_do(void *impl, struct err *e)
{
	(void)impl;
	return err_set(e, ERR_INVALID, "FastDFS looks after its disks itself");
}

static size_t
fastdfs_whole_max(void *impl)
{
	(void)impl;
	return WHOLE_MAX;
}

static const struct blob_ops fastdfs_ops = {
	.close = fastdfs_close,
	.put_begin = fastdfs_put_begin,
	.put_write = fastdfs_put_write,
	.put_commit = fastdfs_put_commit,
	.put_abort = fastdfs_put_abort,
	.put_whole = fastdfs_put_whole,
	.open = fastdfs_open,
	.read = fastdfs_read,
	.note = fastdfs_note,
	.file_close = fastdfs_file_close,
	.read_once = fastdfs_read_once,
	.delete_many = fastdfs_delete_many,
	.find_write = fastdfs_find_write,
	.each = fastdfs_each,
	.n_stats = fastdfs_n_stats,
	.get_stat = fastdfs_get_stat,
	.can_write = fastdfs_can_write,
	.scrub_now = fastdfs_nothing_to_do,
	.compact_now = fastdfs_nothing_to_do,
	.whole_max = fastdfs_whole_max,
	.choose_group = fastdfs_choose_group,
};

int
blob_fastdfs_new(const struct blob_fastdfs_conf *conf, struct blob **ret,
    struct err *e)
{
	struct fdfs_client_opts o = { .connect_ms = conf->connect_ms,
		.io_ms = conf->io_ms };
	struct fastdfs *f;
	int rc;

	if (conf->n_trackers == 0 || conf->n_trackers > FDFS_MAX_TRACKERS)
		return err_set(e, ERR_CONFIG, "trackers: name 1 to %d",
		    FDFS_MAX_TRACKERS);
	if (o.connect_ms == 0)
		o.connect_ms = 2000;
	if (o.io_ms == 0)
		o.io_ms = 10000;
	rc = fs_mkdir_p(conf->spool_dir, e);
	if (rc < 0)
		return rc;
	f = mem_zalloc(sizeof(*f));
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_init(&f->lock, LOCK_RANK_BLOB);
	f->n_trackers = conf->n_trackers;
	memcpy(f->trackers, conf->trackers,
	    f->n_trackers * sizeof(f->trackers[0]));
	snprintf(f->spool_dir, sizeof(f->spool_dir), "%s", conf->spool_dir);
	f->spool_max = conf->spool_max == 0 ? SPOOL_MAX : conf->spool_max;
	rc = fdfs_client_open(&o, &f->client, e);
	if (rc == 0) {
		*ret = blob_new(&fastdfs_ops, f);
		if (*ret != NULL)
			return 0;
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	}
	fastdfs_close(f);
	return rc;
}
