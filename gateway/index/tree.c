/* gateway/index/tree.c - LMDB behind the table (gateway/index/tree.h).
 *
 * MDB_NOTLS: a read transaction belongs to its reader, not to a thread, so
 * that readers are pooled and renewing one costs no system call. Never
 * MDB_NOSYNC (not crash-safe) or MDB_WRITEMAP (slower). */
#include "gateway/index/tree.h"

#include "gateway/index/kv.h"
#include "lib/bytes.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/lmdb_guard.h"
#include "lib/lmdb_make.h"
#include "lib/lmdb_trim.h"
#include "lib/mem.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

#define TREE_MAGIC 0x74726565
#define MAX_READERS 4096
#define MIN_MAP ((uint64_t)1 << 20)

/* The meta record: see docs/FORMAT-INDEX.md. */
#define META_FORMAT 1
#define META_LEN 64

struct tree {
	unsigned magic;
	MDB_env *env;
	struct lmdb_guard *guard;
	MDB_dbi data, meta;
	uint64_t map_size;
	char path[4096];
};

struct tree_writer {
	struct tree *tree;
	MDB_txn *txn;
	MDB_cursor *cursor;
};

struct tree_reader {
	struct tree *tree;
	MDB_txn *txn;
	MDB_cursor *spare; /* kept from one cursor to the next */
	bool is_open;
};

struct tree_cursor {
	struct tree_reader *reader;
	MDB_cursor *cursor;
};

static const MDB_val meta_key = { .mv_size = 4,
	.mv_data = (void *)(uintptr_t) "meta" };

static MDB_val
val(struct str s)
{
	return (MDB_val){ .mv_size = s.len, .mv_data = (void *)(uintptr_t)s.p };
}

static struct str
str_val(const MDB_val *v)
{
	return (struct str){ v->mv_data, v->mv_size };
}

static int
fail(struct err *e, int rc, const char *what)
{
	switch (rc) {
	case MDB_MAP_FULL:
		return TREE_MAP_FULL;
	case MDB_READERS_FULL:
		return err_set(e, ERR_BUSY, "index: too many readers");
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_BAD_TXN: /* one of these before, in the same transaction */
		return err_set(e, ERR_CORRUPT, "index: %s: %s", what,
		    mdb_strerror(rc));
	case MDB_PANIC: /* a meta page's write failed before */
		return err_set(e, ERR_FAILED, "index: %s: %s", what,
		    mdb_strerror(rc));
	case MDB_VERSION_MISMATCH:
		return err_set(e, ERR_VERSION, "index: %s: %s", what,
		    mdb_strerror(rc));
	default:
		if (rc > 0)
			return err_set_errno(e, rc, "index: %s", what);
		return err_set(e, ERR_IO, "index: %s: %s", what,
		    mdb_strerror(rc));
	}
}

static void
meta_encode(const struct tree_meta *m, char *p)
{
	memset(p, 0, META_LEN);
	put_le32(p + 8, META_FORMAT);
	put_le32(p + 12, m->is_fresh ? 1 : 0);
	memcpy(p + 16, m->index_id.b, 16);
	put_le64(p + 32, m->epoch);
	put_le64(p + 40, m->flushed_seq);
	put_le64(p + 48, (uint64_t)m->created_ns);
	put_le64(p, hash_xxh3(META_LEN, p + 8, META_LEN - 8));
}

static int
meta_decode(struct str s, struct tree_meta *m, struct err *e)
{
	const char *p = s.p;

	if (s.len >= 12 && get_le32(p + 8) > META_FORMAT)
		return err_set(e, ERR_VERSION,
		    "the index has format %u, this version knows %d: use a "
		    "newer creel",
		    get_le32(p + 8), META_FORMAT);
	if (s.len != META_LEN ||
	    get_le64(p) != hash_xxh3(META_LEN, p + 8, META_LEN - 8))
		return err_set(e, ERR_CORRUPT,
		    "the index's meta record is bad");
	m->is_fresh = (get_le32(p + 12) & 1) != 0;
	memcpy(m->index_id.b, p + 16, 16);
	m->epoch = get_le64(p + 32);
	m->flushed_seq = get_le64(p + 40);
	m->created_ns = (int64_t)get_le64(p + 48);
	return 0;
}

static int
put_meta(struct tree *t, MDB_txn *txn, const struct tree_meta *m)
{
	char buf[META_LEN];
	MDB_val k = meta_key, v = { .mv_size = META_LEN, .mv_data = buf };

	meta_encode(m, buf);
	return mdb_put(txn, t->meta, &k, &v, 0);
}

static int
open_dbs(struct tree *t, bool create, struct tree_meta *meta, struct err *e)
{
	MDB_txn *txn;
	MDB_val k = meta_key, v;
	unsigned flags = create ? MDB_CREATE : 0;
	int rc, err = 0;

	rc = mdb_txn_begin(t->env, NULL, create ? 0 : MDB_RDONLY, &txn);
	if (rc != 0)
		return fail(e, rc, "begin");
	rc = mdb_dbi_open(txn, "data", flags, &t->data);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "meta", flags, &t->meta);
	if (rc == 0)
		rc = create ? put_meta(t, txn, meta)
		            : mdb_get(txn, t->meta, &k, &v);
	if (rc == MDB_NOTFOUND)
		err = err_set(e, ERR_NOT_FOUND, "%s holds no index", t->path);
	else if (rc != 0)
		err = fail(e, rc, "open");
	else if (!create)
		err = meta_decode(str_val(&v), meta, e);
	if (err != 0) {
		mdb_txn_abort(txn);
		return err;
	}
	rc = mdb_txn_commit(txn);
	return rc == 0 ? 0 : fail(e, rc, "commit");
}

/* Before anything but the meta pages is read: see that the rest is there, and
 * say which file it was if it is not. */
static int
guard(struct tree *t, struct err *e)
{
	char text[4096 + 128];
	bool is_cut;
	int rc;

	snprintf(text, sizeof(text),
	    "creel: the index %s is cut off or damaged: move it away, then "
	    "`creel admin rebuild index`",
	    t->path);
	t->guard = lmdb_guard_begin(t->env, text);
	if (t->guard == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = lmdb_is_cut(t->env, &is_cut);
	if (rc != 0)
		return fail(e, rc, t->path);
	return is_cut ? err_set(e, ERR_CORRUPT, "index: %s is cut off", t->path)
	              : 0;
}

int
tree_open(const char *path, uint64_t map_size, bool create,
    struct tree_meta *meta, struct tree **ret, struct err *e)
{
	struct tree *t;
	MDB_envinfo info;
	int rc;

	if (!create && !fs_exists(path))
		return err_set(e, ERR_NOT_FOUND, "no index at %s", path);
	rc = lmdb_make(path, e);
	if (rc < 0)
		return rc;
	t = mem_zalloc(sizeof(*t));
	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	t->magic = TREE_MAGIC;
	snprintf(t->path, sizeof(t->path), "%s", path);
	if (map_size < MIN_MAP)
		map_size = MIN_MAP;
	rc = mdb_env_create(&t->env);
	if (rc != 0) {
		mem_free(&t);
		return fail(e, rc, "create");
	}
	if ((rc = mdb_env_set_maxdbs(t->env, 4)) != 0 ||
	    (rc = mdb_env_set_maxreaders(t->env, MAX_READERS)) != 0 ||
	    (rc = mdb_env_set_mapsize(t->env, map_size)) != 0 ||
	    (rc = mdb_env_open(t->env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600)) !=
		0 ||
	    (rc = mdb_env_info(t->env, &info)) != 0) {
		rc = fail(e, rc, path);
		goto out_close;
	}
	/* With MDB_MAXKEYSIZE=0 it is known only once the page size is. */
	if (mdb_env_get_maxkeysize(t->env) < KV_KEY_MAX) {
		rc = err_set(e, ERR_CONFIG,
		    "this LMDB takes keys of %d bytes only, %d are needed: "
		    "build it with MDB_MAXKEYSIZE=0",
		    mdb_env_get_maxkeysize(t->env), KV_KEY_MAX);
		goto out_close;
	}
	t->map_size = info.me_mapsize;
	rc = guard(t, e);
	if (rc == 0)
		rc = open_dbs(t, create, meta, e);
	if (rc == TREE_MAP_FULL)
		rc = err_set(e, ERR_NO_SPACE, "index: map of %ju bytes",
		    (uintmax_t)t->map_size);
	if (rc < 0)
		goto out_close;
	*ret = t;
	return 0;
out_close:
	lmdb_guard_end(&t->guard);
	mdb_env_close(t->env);
	mem_free(&t);
	return rc;
}

void
tree_close(struct tree **tp)
{
	struct tree *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	OBJ_CHECK(t, TREE_MAGIC);
	lmdb_guard_end(&t->guard);
	mdb_env_close(t->env);
	t->magic = 0;
	mem_free(&t);
}

uint64_t
tree_records(struct tree_reader *r)
{
	MDB_stat st;

	MUST(r->is_open);
	return mdb_stat(r->txn, r->tree->data, &st) == 0 ? st.ms_entries : 0;
}

uint64_t
tree_bytes(struct tree_reader *r)
{
	MDB_envinfo info;
	MDB_stat st;

	MUST(r->is_open);
	if (mdb_env_info(r->tree->env, &info) != 0 ||
	    mdb_env_stat(r->tree->env, &st) != 0)
		return 0;
	return (uint64_t)(info.me_last_pgno + 1) * st.ms_psize;
}

uint64_t
tree_free(struct tree_reader *r)
{
	MDB_val k, v;
	MDB_cursor *c;
	MDB_stat st;
	uint64_t pages = 0;
	size_t n;

	MUST(r->is_open);
	/* Database 0 is LMDB's list of free pages: each record a count and
	 * that many page numbers. */
	if (mdb_env_stat(r->tree->env, &st) != 0 ||
	    mdb_cursor_open(r->txn, 0, &c) != 0)
		return 0;
	while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0 &&
	       v.mv_size >= sizeof(n)) {
		memcpy(&n, v.mv_data, sizeof(n));
		pages += n;
	}
	mdb_cursor_close(c);
	return pages * st.ms_psize;
}

uint64_t
tree_map_size(struct tree *t)
{
	return t->map_size;
}

int
tree_grow(struct tree *t, struct err *e)
{
	uint64_t size = t->map_size * 2;
	void *probe;
	int rc;

	/* LMDB drops the old map first: see that there is room for the new. */
	probe = mmap(NULL, size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (probe == MAP_FAILED)
		return err_set_errno(e, errno, "index: map of %ju bytes",
		    (uintmax_t)size);
	munmap(probe, size);
	rc = mdb_env_set_mapsize(t->env, size);
	if (rc != 0)
		return fail(e, rc, "grow the map");
	t->map_size = size;
	return 0;
}

void
tree_trim(struct tree *t)
{
	lmdb_trim(t->env);
	malloc_trim(0);
}

int
tree_write_begin(struct tree *t, struct tree_writer **ret, struct err *e)
{
	struct tree_writer *w;
	int rc;

	OBJ_CHECK(t, TREE_MAGIC);
	w = mem_zalloc(sizeof(*w));
	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	w->tree = t;
	rc = mdb_txn_begin(t->env, NULL, 0, &w->txn);
	if (rc == 0) {
		rc = mdb_cursor_open(w->txn, t->data, &w->cursor);
		if (rc == 0) {
			*ret = w;
			return 0;
		}
		mdb_txn_abort(w->txn);
	}
	mem_free(&w);
	return fail(e, rc, "begin");
}

int
tree_write_put(struct tree_writer *w, struct str key, struct str raw,
    bool append, struct err *e)
{
	MDB_val k = val(key), v = val(raw);
	int rc = mdb_cursor_put(w->cursor, &k, &v, append ? MDB_APPEND : 0);

	return rc == 0 ? 0 : fail(e, rc, "put");
}

int
tree_write_del(struct tree_writer *w, struct str key, struct err *e)
{
	MDB_val k = val(key), v;
	int rc = mdb_cursor_get(w->cursor, &k, &v, MDB_SET);

	if (rc == 0)
		rc = mdb_cursor_del(w->cursor, 0);
	else if (rc == MDB_NOTFOUND)
		rc = 0;
	return rc == 0 ? 0 : fail(e, rc, "delete");
}

int
tree_write_commit(struct tree_writer **wp, const struct tree_meta *meta,
    struct err *e)
{
	struct tree_writer *w = *wp;
	int rc = 0;

	*wp = NULL;
	mdb_cursor_close(w->cursor);
	if (meta != NULL)
		rc = put_meta(w->tree, w->txn, meta);
	if (rc == 0)
		rc = mdb_txn_commit(w->txn); /* frees it on failure too */
	else
		mdb_txn_abort(w->txn);
	mem_free(&w);
	return rc == 0 ? 0 : fail(e, rc, "commit");
}

void
tree_write_abort(struct tree_writer **wp)
{
	struct tree_writer *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	mdb_cursor_close(w->cursor);
	mdb_txn_abort(w->txn);
	mem_free(&w);
}

int
tree_reader_new(struct tree *t, struct tree_reader **ret, struct err *e)
{
	struct tree_reader *r;
	int rc;

	OBJ_CHECK(t, TREE_MAGIC);
	r = mem_zalloc(sizeof(*r));
	if (r == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	r->tree = t;
	rc = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &r->txn);
	if (rc != 0) {
		mem_free(&r);
		return fail(e, rc, "begin to read");
	}
	mdb_txn_reset(r->txn);
	*ret = r;
	return 0;
}

void
tree_reader_free(struct tree_reader **rp)
{
	struct tree_reader *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	if (r->spare != NULL)
		mdb_cursor_close(r->spare);
	mdb_txn_abort(r->txn);
	mem_free(&r);
}

int
tree_reader_renew(struct tree_reader *r, struct err *e)
{
	int rc;

	MUST(!r->is_open);
	rc = mdb_txn_renew(r->txn);
	if (rc != 0)
		return fail(e, rc, "renew");
	r->is_open = true;
	return 0;
}

void
tree_reader_reset(struct tree_reader *r)
{
	MUST(r->is_open);
	mdb_txn_reset(r->txn);
	r->is_open = false;
}

int
tree_get(struct tree_reader *r, struct str key, struct str *ret_raw,
    struct err *e)
{
	MDB_val k = val(key), v;
	int rc;

	MUST(r->is_open);
	rc = mdb_get(r->txn, r->tree->data, &k, &v);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return fail(e, rc, "get");
	*ret_raw = str_val(&v);
	return 1;
}

int
tree_cursor_open(struct tree_reader *r, struct tree_cursor **ret, struct err *e)
{
	struct tree_cursor *c;
	int rc;

	MUST(r->is_open);
	c = mem_zalloc(sizeof(*c));
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	c->reader = r;
	if (r->spare != NULL) {
		c->cursor = r->spare;
		r->spare = NULL;
		rc = mdb_cursor_renew(r->txn, c->cursor);
	} else {
		rc = mdb_cursor_open(r->txn, r->tree->data, &c->cursor);
	}
	if (rc != 0) {
		if (c->cursor != NULL)
			mdb_cursor_close(c->cursor);
		mem_free(&c);
		return fail(e, rc, "open a cursor");
	}
	*ret = c;
	return 0;
}

void
tree_cursor_close(struct tree_cursor **cp)
{
	struct tree_cursor *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	if (c->reader->spare == NULL)
		c->reader->spare = c->cursor;
	else
		mdb_cursor_close(c->cursor);
	mem_free(&c);
}

static int
cursor_get(struct tree_cursor *c, MDB_val *k, MDB_cursor_op op,
    struct str *ret_key, struct str *ret_raw, struct err *e)
{
	MDB_val v;
	int rc = mdb_cursor_get(c->cursor, k, &v, op);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return fail(e, rc, "scan");
	*ret_key = str_val(k);
	*ret_raw = str_val(&v);
	return 1;
}

int
tree_cursor_seek(struct tree_cursor *c, struct str from, struct str *ret_key,
    struct str *ret_raw, struct err *e)
{
	MDB_val k = val(from);

	/* LMDB refuses empty keys. */
	return cursor_get(c, &k, from.len == 0 ? MDB_FIRST : MDB_SET_RANGE,
	    ret_key, ret_raw, e);
}

int
tree_cursor_next(struct tree_cursor *c, struct str *ret_key,
    struct str *ret_raw, struct err *e)
{
	MDB_val k;

	return cursor_get(c, &k, MDB_NEXT, ret_key, ret_raw, e);
}
