/* storage/engine/findex.c - the file index: newest locations in memory, the
 * rest in LMDB; the engine's only user of LMDB.
 *
 * I1  It is a view: every commit carries, with the entries, how far each volume
 *     has been taken in; what is newer comes back from the volumes.
 * I2  A lookup asks the tables first, then LMDB with a fresh snapshot: an entry
 *     leaves the frozen table only after its commit.
 * I3  Every record has a checksum over key and value.
 * Threads: any; commits one at a time (the path's flush lock). */
#include "storage/engine/engine_int.h"

#include "lib/bytes.h"
#include "lib/fault.h"
#include "lib/fs.h"
#include "lib/hash.h"
#include "lib/lmdb_guard.h"
#include "lib/lmdb_make.h"
#include "lib/lmdb_trim.h"
#include "lib/mem.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>

enum {
	VAL_FILE = 44,
	VAL_VOL = 60,
	VAL_PATH = 52,
	MAX_READERS = 2000
};
#define FINDEX_FORMAT 1

struct reader { /* a read transaction, reset between uses */
	struct reader *next;
	MDB_txn *txn;
};

struct findex {
	uint32_t magic;
	MDB_env *env;
	struct lmdb_guard *guard;
	MDB_dbi files, writes, vols, meta;
	size_t table_max;

	struct lock lock; /* FILE_INDEX: the tables */
	struct ftab *active, *frozen;
	size_t owed; /* publications that have been promised room */

	struct lock rlock; /* LEAF: idle readers */
	struct reader *readers;
};

static const char damaged[] =
    "file index: damaged record; `creel admin rebuild files` makes it again";

static int
fail(struct err *e, int mdb, const char *what)
{
	if (mdb > 0)
		return err_set_errno(e, mdb, "file index: %s", what);
	if (mdb == MDB_MAP_FULL || mdb == MDB_READERS_FULL)
		return err_set(e, ERR_NO_SPACE, "file index: %s: %s", what,
		    mdb_strerror(mdb));
	return err_set(e, ERR_CORRUPT,
	    "file index: %s: %s; `creel admin rebuild files` makes it again",
	    what, mdb_strerror(mdb));
}

/* --- opening --- */

static int
new_env(struct findex *f)
{
	int rc = mdb_env_create(&f->env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(f->env, 8);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(f->env, MAX_READERS + 16);
	return rc;
}

static int
open_env(struct findex *f, const char *dir, struct err *e)
{
	int rc = new_env(f);

	if (rc != 0)
		return fail(e, rc, "create");
	/* Address space only; less where that is limited. */
	for (unsigned shift = sizeof(size_t) > 4 ? 40 : 30; shift >= 28;
	     shift -= 2) {
		rc = mdb_env_set_mapsize(f->env, (size_t)1 << shift);
		if (rc == 0)
			rc = mdb_env_open(f->env, dir,
			    MDB_NOTLS | MDB_NORDAHEAD, 0600);
		if (rc != ENOMEM && rc != EINVAL && rc != EFBIG)
			break;
		mdb_env_close(f->env);
		f->env = NULL;
		rc = new_env(f);
		if (rc != 0)
			return fail(e, rc, "create");
		rc = ENOMEM;
	}
	return rc == 0 ? 0 : fail(e, rc, dir);
}

/* See that the file is whole, and say which it was if it proves not to be. */
static int
guard(struct findex *f, const char *dir, struct err *e)
{
	char text[PATH_MAX + 128];
	bool is_cut;
	int rc;

	snprintf(text, sizeof(text),
	    "creel: the file index %s is cut off or damaged: `creel admin "
	    "rebuild files` makes it again",
	    dir);
	f->guard = lmdb_guard_begin(f->env, text);
	if (f->guard == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = lmdb_is_cut(f->env, &is_cut);
	if (rc != 0)
		return fail(e, rc, dir);
	if (!is_cut)
		return 0;
	return err_set(e, ERR_CORRUPT,
	    "file index: %s is cut off; `creel admin rebuild files` makes it "
	    "again",
	    dir);
}

static int
check_format(struct findex *f, MDB_txn *t, struct err *e)
{
	MDB_val k = { .mv_size = 6, .mv_data = (void *)(uintptr_t) "format" };
	uint8_t raw[4];
	MDB_val v = { .mv_size = sizeof(raw), .mv_data = raw };
	int rc = mdb_get(t, f->meta, &k, &v);

	if (rc == MDB_NOTFOUND) {
		put_le32(raw, FINDEX_FORMAT);
		rc = mdb_put(t, f->meta, &k, &v, 0);
		return rc == 0 ? 0 : fail(e, rc, "format");
	}
	if (rc != 0)
		return fail(e, rc, "format");
	if (v.mv_size != 4 || get_le32(v.mv_data) != FINDEX_FORMAT)
		return err_set(e, ERR_VERSION,
		    "the file index has another format: run `creel admin rebuild files`");
	return 0;
}

static int
open_tables(struct findex *f, struct err *e)
{
	struct {
		const char *name;
		MDB_dbi *dbi;
	} t[] = { { "files", &f->files }, { "writes", &f->writes },
		{ "volumes", &f->vols }, { "meta", &f->meta } };
	MDB_txn *txn;
	int rc = mdb_txn_begin(f->env, NULL, 0, &txn);

	if (rc != 0)
		return fail(e, rc, "begin");
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]) && rc == 0; i++)
		rc = mdb_dbi_open(txn, t[i].name, MDB_CREATE, t[i].dbi);
	if (rc != 0)
		rc = fail(e, rc, "open tables");
	else
		rc = check_format(f, txn, e);
	if (rc < 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	return rc == 0 ? 0 : fail(e, rc, "commit");
}

int
findex_open(const char *dir, size_t table_max, struct findex **ret,
    struct err *e)
{
	struct findex *f;
	char file[PATH_MAX];
	int rc = fs_mkdir(dir, e);

	if (rc == 0)
		rc = fs_join(file, sizeof(file), dir, "data.mdb", e);
	if (rc == 0)
		rc = lmdb_make(file, e);
	if (rc < 0)
		return rc;
	f = mem_zalloc(sizeof(*f));
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	f->magic = FINDEX_MAGIC;
	f->table_max = table_max;
	lock_init(&f->lock, LOCK_RANK_FILE_INDEX);
	lock_init(&f->rlock, LOCK_RANK_LEAF);
	f->active = ftab_new();
	if (f->active == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	if (rc == 0)
		rc = open_env(f, dir, e);
	if (rc == 0)
		rc = guard(f, dir, e);
	if (rc == 0)
		rc = open_tables(f, e);
	if (rc < 0) {
		findex_close(&f);
		return rc;
	}
	*ret = f;
	return 0;
}

void
findex_close(struct findex **fp)
{
	struct findex *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	OBJ_CHECK(f, FINDEX_MAGIC);
	while (f->readers != NULL) {
		struct reader *r = f->readers;

		f->readers = r->next;
		mdb_txn_abort(r->txn);
		free(r);
	}
	lmdb_guard_end(&f->guard);
	if (f->env != NULL)
		mdb_env_close(f->env);
	ftab_free(&f->active);
	ftab_free(&f->frozen);
	lock_fini(&f->lock);
	lock_fini(&f->rlock);
	f->magic = 0;
	free(f);
}

/* --- records --- */

static uint32_t
sum_of(const void *key, size_t key_len, const uint8_t *val, size_t len)
{
	return hash_crc32c(hash_crc32c(0, key, key_len), val, len);
}

static void
encode_file(const struct fkey *key, const struct loc *l, uint8_t v[VAL_FILE])
{
	v[0] = l->type;
	v[1] = l->class;
	put_le16(v + 2, l->hdr_len);
	put_le32(v + 4, 0);
	put_le64(v + 8, l->vol);
	put_le64(v + 16, l->off);
	put_le64(v + 24, l->size);
	put_le64(v + 32, l->version);
	put_le32(v + 40, sum_of(key->b, sizeof(key->b), v, 40));
}

static int
decode_file(const struct fkey *key, const MDB_val *m, struct loc *l,
    struct err *e)
{
	const uint8_t *v = m->mv_data;

	if (m->mv_size != VAL_FILE ||
	    get_le32(v + 40) != sum_of(key->b, sizeof(key->b), v, 40))
		return err_set(e, ERR_CORRUPT, "%s", damaged);
	*l = (struct loc){
		.type = v[0],
		.class = v[1],
		.hdr_len = get_le16(v + 2),
		.vol = get_le64(v + 8),
		.off = get_le64(v + 16),
		.size = get_le64(v + 24),
		.version = get_le64(v + 32),
	};
	return 0;
}

static void
encode_vol(const struct vol_rec *r, const uint8_t key[8], uint8_t v[VAL_VOL])
{
	put_le64(v, r->replayed);
	put_le64(v + 8, r->n.live_bytes);
	put_le64(v + 16, r->n.dead_bytes);
	put_le64(v + 24, r->n.live);
	put_le64(v + 32, r->n.tombs);
	put_le64(v + 40, r->n.punched);
	put_le64(v + 48, (r->n.sealed ? 1u : 0) | (r->n.has_gap ? 2u : 0) |
			     (r->n.is_drained ? 4u : 0) |
			     (r->n.has_unknown ? 8u : 0));
	put_le32(v + 56, sum_of(key, 8, v, 56));
}

static int
decode_vol(const uint8_t key[8], const MDB_val *m, struct vol_rec *r,
    struct err *e)
{
	const uint8_t *v = m->mv_data;
	uint64_t flags;

	if (m->mv_size != VAL_VOL || get_le32(v + 56) != sum_of(key, 8, v, 56))
		return err_set(e, ERR_CORRUPT, "%s", damaged);
	flags = get_le64(v + 48);
	*r = (struct vol_rec){
		.no = get_be64(key),
		.replayed = get_le64(v),
		.n = { .live_bytes = get_le64(v + 8),
		    .dead_bytes = get_le64(v + 16),
		    .live = get_le64(v + 24),
		    .tombs = get_le64(v + 32),
		    .punched = get_le64(v + 40),
		    .sealed = flags & 1,
		    .has_gap = flags & 2,
		    .is_drained = flags & 4,
		    .has_unknown = flags & 8 },
	};
	return 0;
}

static const char path_key[4] = "path";

static void
encode_path(const struct path_rec *r, uint8_t v[VAL_PATH])
{
	put_le64(v, r->files);
	put_le64(v + 8, r->bytes);
	put_le64(v + 16, r->next_vol);
	put_le64(v + 24, r->inc);
	put_le64(v + 32, r->seq);
	put_le64(v + 40, (uint64_t)r->scrub_last_s);
	put_le32(v + 48, sum_of(path_key, 4, v, 48));
}

/* --- reading --- */

static int
reader_get(struct findex *f, struct reader **ret, struct err *e)
{
	struct reader *r;
	int rc;

	lock_take(&f->rlock);
	r = f->readers;
	if (r != NULL)
		f->readers = r->next;
	lock_drop(&f->rlock);
	if (r != NULL) {
		rc = mdb_txn_renew(r->txn);
		if (rc == 0) {
			*ret = r;
			return 0;
		}
		mdb_txn_abort(r->txn);
		free(r);
		return fail(e, rc, "renew");
	}
	r = mem_alloc(sizeof(*r));
	if (r == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = mdb_txn_begin(f->env, NULL, MDB_RDONLY, &r->txn);
	if (rc != 0) {
		free(r);
		return fail(e, rc, "begin");
	}
	*ret = r;
	return 0;
}

static void
reader_put(struct findex *f, struct reader *r)
{
	mdb_txn_reset(r->txn);
	lock_take(&f->rlock);
	r->next = f->readers;
	f->readers = r;
	lock_drop(&f->rlock);
}

static MDB_val
val(const void *p, size_t len)
{
	return (MDB_val){ .mv_size = len, .mv_data = (void *)(uintptr_t)p };
}

static bool
table_get(struct findex *f, const struct fkey *key, struct loc *ret)
{
	struct fent *t;

	lock_take(&f->lock);
	t = ftab_find(f->active, key);
	if (t == NULL && f->frozen != NULL)
		t = ftab_find(f->frozen, key);
	if (t != NULL)
		*ret = t->loc;
	lock_drop(&f->lock);
	return t != NULL;
}

int
findex_get(struct findex *f, const struct fkey *key, struct loc *ret,
    struct err *e)
{
	MDB_val k = val(key->b, sizeof(key->b)), v;
	struct reader *r;
	struct loc l;
	int rc;

	OBJ_CHECK(f, FINDEX_MAGIC);
	if (table_get(f, key, &l)) {
		if (l.type == LOC_GONE)
			return err_set(e, ERR_NOT_FOUND, NULL);
		*ret = l;
		return 0;
	}
	rc = reader_get(f, &r, e);
	if (rc < 0)
		return rc;
	rc = mdb_get(r->txn, f->files, &k, &v);
	if (rc == 0)
		rc = decode_file(key, &v, ret, e);
	else if (rc == MDB_NOTFOUND)
		rc = ERR_NOT_FOUND; /* the common case: no text */
	else
		rc = fail(e, rc, "read");
	reader_put(f, r);
	return rc;
}

int
findex_get_wid(struct findex *f, const struct id128 *wid, struct fkey *ret,
    struct err *e)
{
	MDB_val k = val(wid->b, sizeof(wid->b)), v;
	struct reader *r;
	struct fent *t;
	struct loc l;
	int rc;

	if (id128_is_zero(wid))
		return ERR_NOT_FOUND;
	lock_take(&f->lock);
	t = ftab_find_wid(f->active, wid);
	if (t == NULL && f->frozen != NULL)
		t = ftab_find_wid(f->frozen, wid);
	if (t != NULL) {
		*ret = t->key;
		l = t->loc;
	}
	lock_drop(&f->lock);
	if (t != NULL)
		return loc_is_live(&l) ? 0 : ERR_NOT_FOUND;
	rc = reader_get(f, &r, e);
	if (rc < 0)
		return rc;
	rc = mdb_get(r->txn, f->writes, &k, &v);
	if (rc == MDB_NOTFOUND)
		rc = ERR_NOT_FOUND;
	else if (rc != 0)
		rc = fail(e, rc, "read");
	else if (v.mv_size != 20 || get_le32((uint8_t *)v.mv_data + 16) !=
					sum_of(wid->b, 16, v.mv_data, 16))
		rc = err_set(e, ERR_CORRUPT, "%s", damaged);
	else
		memcpy(ret->b, v.mv_data, sizeof(ret->b));
	reader_put(f, r);
	if (rc == 0)
		rc = findex_get(f, ret, &l, e);
	if (rc == 0 && !loc_is_live(&l))
		rc = ERR_NOT_FOUND;
	return rc;
}

int
findex_slice(struct findex *f, struct fkey *from, struct fent *ret, size_t max,
    size_t *ret_n, struct err *e)
{
	MDB_val k = val(from->b, sizeof(from->b)), v;
	struct reader *r;
	MDB_cursor *c;
	size_t n = 0;
	int rc = reader_get(f, &r, e);

	if (rc < 0)
		return rc;
	rc = mdb_cursor_open(r->txn, f->files, &c);
	if (rc != 0) {
		reader_put(f, r);
		return fail(e, rc, "cursor");
	}
	rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
	while (rc == 0 && n < max) {
		struct fent *t = &ret[n];

		if (k.mv_size != sizeof(t->key.b)) {
			rc = MDB_CORRUPTED;
			break;
		}
		memcpy(t->key.b, k.mv_data, sizeof(t->key.b));
		if (memcmp(&t->key, from, sizeof(*from)) != 0) {
			if (decode_file(&t->key, &v, &t->loc, e) < 0)
				t->loc.type = LOC_GONE;
			n++;
		}
		rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(c);
	reader_put(f, r);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return fail(e, rc, "scan");
	if (n > 0)
		*from = ret[n - 1].key;
	*ret_n = n;
	return 0;
}

int
findex_load_path(struct findex *f, struct path_rec *ret, struct err *e)
{
	MDB_val k = val(path_key, sizeof(path_key)), v;
	const uint8_t *p;
	struct reader *r;
	int rc = reader_get(f, &r, e);

	if (rc < 0)
		return rc;
	*ret = (struct path_rec){ 0 };
	rc = mdb_get(r->txn, f->meta, &k, &v);
	p = v.mv_data;
	if (rc == MDB_NOTFOUND) {
		rc = 0;
	} else if (rc != 0) {
		rc = fail(e, rc, "read");
	} else if (v.mv_size != VAL_PATH ||
		   get_le32(p + 48) != sum_of(path_key, 4, p, 48)) {
		rc = err_set(e, ERR_CORRUPT, "%s", damaged);
	} else {
		*ret = (struct path_rec){ .files = get_le64(p),
			.bytes = get_le64(p + 8),
			.next_vol = get_le64(p + 16),
			.inc = get_le64(p + 24),
			.seq = get_le64(p + 32),
			.scrub_last_s = (int64_t)get_le64(p + 40) };
	}
	reader_put(f, r);
	return rc;
}

int
findex_load_vol(struct findex *f, uint64_t no, struct vol_rec *ret,
    struct err *e)
{
	uint8_t key[8] = { 0 };
	MDB_val k = val(key, sizeof(key)), v;
	struct reader *r;
	int rc = reader_get(f, &r, e);

	if (rc < 0)
		return rc;
	put_be64(key, no);
	rc = mdb_get(r->txn, f->vols, &k, &v);
	if (rc == 0)
		rc = decode_vol(key, &v, ret, e);
	else
		rc = rc == MDB_NOTFOUND ? ERR_NOT_FOUND : fail(e, rc, "read");
	reader_put(f, r);
	return rc;
}

int
findex_next_vol(struct findex *f, uint64_t from, struct vol_rec *ret,
    struct err *e)
{
	uint8_t key[8] = { 0 };
	MDB_val k = val(key, sizeof(key)), v;
	struct reader *r;
	MDB_cursor *c;
	int rc = reader_get(f, &r, e);

	if (rc < 0)
		return rc;
	put_be64(key, from);
	rc = mdb_cursor_open(r->txn, f->vols, &c);
	if (rc == 0) {
		rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
		if (rc == 0 && k.mv_size == sizeof(key))
			rc = decode_vol(k.mv_data, &v, ret, e);
		else
			rc = rc == MDB_NOTFOUND ? ERR_NOT_FOUND
			                        : fail(e, rc, "scan");
		mdb_cursor_close(c);
	} else {
		rc = fail(e, rc, "cursor");
	}
	reader_put(f, r);
	return rc;
}

/* --- publishing --- */

void
findex_lock(struct findex *f)
{
	lock_take(&f->lock);
}

void
findex_unlock(struct findex *f)
{
	lock_drop(&f->lock);
}

int
findex_reserve(struct findex *f, size_t n, struct err *e)
{
	int rc;

	lock_take(&f->lock);
	if (ftab_len(f->active) + f->owed + n > 8 * f->table_max + 4096)
		rc = err_set(e, ERR_NO_SPACE,
		    "the file index cannot be written");
	else
		rc = ftab_reserve(f->active, f->owed + n, e);
	if (rc == 0)
		f->owed += n;
	lock_drop(&f->lock);
	return rc;
}

void
findex_unreserve(struct findex *f, size_t n)
{
	lock_take(&f->lock);
	MUST(f->owed >= n);
	f->owed -= n;
	lock_drop(&f->lock);
}

size_t
findex_publish(struct findex *f, const struct fkey *key,
    const struct id128 *wid, const struct id128 *old_wid, const struct loc *loc,
    bool is_new)
{
	MUST(lock_is_mine(&f->lock) && f->owed > 0);
	f->owed--;
	ftab_put(f->active, key, wid, old_wid, loc, is_new);
	return ftab_weight(f->active);
}

size_t
findex_weight(struct findex *f)
{
	size_t n;

	lock_take(&f->lock);
	n = ftab_weight(f->active);
	if (f->frozen != NULL)
		n += ftab_weight(f->frozen);
	lock_drop(&f->lock);
	return n;
}

/* --- in memory, a range --- */

static size_t
pick(const struct ftab *t, const struct fkey *from, const struct fkey *to,
    struct fitem *dst)
{
	size_t n = 0;

	for (size_t i = 0; i < ftab_len(t); i++) {
		const struct fent *f = ftab_at(t, i);

		if (memcmp(&f->key, from, sizeof(*from)) < 0 ||
		    memcmp(&f->key, to, sizeof(*to)) > 0)
			continue;
		if (dst != NULL)
			dst[n] = (struct fitem){ f->key, f->loc };
		n++;
	}
	return n;
}

static int
by_item_key(const void *a, const void *b)
{
	const struct fitem *x = a, *y = b;

	return memcmp(x->key.b, y->key.b, sizeof(x->key.b));
}

/* Of one key the newer one, which is in the active table. */
static size_t
merge_items(struct fitem *v, size_t n_active, size_t n)
{
	size_t kept = 0, a = 0, b = n_active;
	struct fitem *all = v + n;

	qsort(v, n_active, sizeof(*v), by_item_key);
	qsort(v + n_active, n - n_active, sizeof(*v), by_item_key);
	while (a < n_active || b < n) {
		int c = a == n_active ? 1
		        : b == n      ? -1
		                      : by_item_key(&v[a], &v[b]);

		all[kept++] = c <= 0 ? v[a] : v[b];
		a += c <= 0;
		b += c >= 0;
	}
	memmove(v, all, kept * sizeof(*v));
	return kept;
}

int
findex_tables(struct findex *f, const struct fkey *from, const struct fkey *to,
    struct fitem **ret, size_t *ret_n, struct err *e)
{
	struct fitem *v = NULL;
	size_t n_active, n, room = 0;

	for (;;) {
		lock_take(&f->lock);
		n_active = pick(f->active, from, to, NULL);
		n = n_active;
		if (f->frozen != NULL)
			n += pick(f->frozen, from, to, NULL);
		if (n <= room)
			break;
		lock_drop(&f->lock);
		free(v);
		room = n + 64; /* more may come meanwhile */
		v = mem_alloc(2 * room * sizeof(*v));
		if (v == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	if (n > 0)
		pick(f->active, from, to, v);
	if (n > n_active)
		pick(f->frozen, from, to, v + n_active);
	lock_drop(&f->lock);
	*ret_n = n == 0 ? 0 : merge_items(v, n_active, n);
	*ret = v;
	return 0;
}

bool
findex_freeze(struct findex *f)
{
	struct ftab *fresh;

	MUST(lock_is_mine(&f->lock));
	if (f->frozen != NULL)
		return false;
	fresh = ftab_new();
	if (fresh == NULL || ftab_reserve(fresh, f->owed, NULL) < 0) {
		ftab_free(&fresh);
		return false;
	}
	f->frozen = f->active;
	f->active = fresh;
	return true;
}

/* --- committing --- */

struct batch {
	MDB_txn *txn;
	struct findex *f;
	struct fkey last_key; /* greatest in the table */
	struct id128 last_wid;
	bool has_key, has_wid;
};

static int
last_of(MDB_txn *t, MDB_dbi dbi, uint8_t dst[16], bool *ret_has)
{
	MDB_cursor *c;
	MDB_val k, v;
	int rc = mdb_cursor_open(t, dbi, &c);

	*ret_has = false;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_get(c, &k, &v, MDB_LAST);
	if (rc == 0 && k.mv_size == 16) {
		memcpy(dst, k.mv_data, 16);
		*ret_has = true;
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* At the end of the table, pages are filled up instead of halved. */
static unsigned
append_flag(uint8_t last[16], bool *has, const uint8_t key[16])
{
	if (*has && memcmp(key, last, 16) <= 0)
		return 0;
	memcpy(last, key, 16);
	*has = true;
	return MDB_APPEND;
}

/* The row of @wid, if it is this entry's. */
static int
drop_wid(struct batch *b, const struct fent *t, const struct id128 *wid)
{
	MDB_val k = val(wid->b, sizeof(wid->b)), v;
	int rc;

	if (id128_is_zero(wid))
		return 0;
	rc = mdb_get(b->txn, b->f->writes, &k, &v);
	if (rc == 0 && v.mv_size == 20 && memcmp(v.mv_data, t->key.b, 16) == 0)
		rc = mdb_del(b->txn, b->f->writes, &k, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
commit_wid(struct batch *b, const struct fent *t)
{
	MDB_val k = val(t->wid.b, sizeof(t->wid.b)), v;
	uint8_t raw[20];

	if (id128_is_zero(&t->wid) || !t->is_new)
		return 0;
	memcpy(raw, t->key.b, 16);
	put_le32(raw + 16, sum_of(t->wid.b, 16, raw, 16));
	v = val(raw, sizeof(raw));
	return mdb_put(b->txn, b->f->writes, &k, &v,
	    append_flag(b->last_wid.b, &b->has_wid, t->wid.b));
}

static int
commit_key(struct batch *b, const struct fent *t)
{
	MDB_val k = val(t->key.b, sizeof(t->key.b)), v;
	uint8_t raw[VAL_FILE];
	int rc;

	if (t->loc.type == LOC_GONE) {
		rc = mdb_del(b->txn, b->f->files, &k, NULL);
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	encode_file(&t->key, &t->loc, raw);
	v = val(raw, sizeof(raw));
	return mdb_put(b->txn, b->f->files, &k, &v,
	    append_flag(b->last_key.b, &b->has_key, t->key.b));
}

static int
by_key(const void *a, const void *b)
{
	const struct fent *const *x = a, *const *y = b;

	return memcmp((*x)->key.b, (*y)->key.b, sizeof((*x)->key.b));
}

static int
by_wid(const void *a, const void *b)
{
	const struct fent *const *x = a, *const *y = b;

	return memcmp((*x)->wid.b, (*y)->wid.b, sizeof((*x)->wid.b));
}

static int
commit_entries(struct batch *b, struct err *e)
{
	struct ftab *t = b->f->frozen;
	size_t n = ftab_len(t);
	struct fent **order = mem_alloc((n + 1) * sizeof(*order));
	int rc = 0;

	if (order == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < n; i++)
		order[i] = ftab_at(t, i);
	qsort(order, n, sizeof(*order), by_key);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = commit_key(b, order[i]);
	/* Live ones last: a deleted file's write ID may have been used again. */
	qsort(order, n, sizeof(*order), by_wid);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = drop_wid(b, order[i], &order[i]->old_wid);
		if (rc == 0 && !loc_is_live(&order[i]->loc))
			rc = drop_wid(b, order[i], &order[i]->wid);
	}
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (loc_is_live(&order[i]->loc))
			rc = commit_wid(b, order[i]);
	}
	free(order);
	return rc == 0 ? 0 : fail(e, rc, "write");
}

static int
commit_rows(struct batch *b, const struct vol_rec *vols, size_t n_vols,
    const uint64_t *removed, size_t n_removed, const struct path_rec *path)
{
	uint8_t key[8] = { 0 }, raw[VAL_VOL];
	MDB_val k, v;
	int rc = 0;

	for (size_t i = 0; i < n_vols && rc == 0; i++) {
		put_be64(key, vols[i].no);
		encode_vol(&vols[i], key, raw);
		k = val(key, sizeof(key));
		v = val(raw, VAL_VOL);
		rc = mdb_put(b->txn, b->f->vols, &k, &v, 0);
	}
	for (size_t i = 0; i < n_removed && rc == 0; i++) {
		put_be64(key, removed[i]);
		k = val(key, sizeof(key));
		rc = mdb_del(b->txn, b->f->vols, &k, NULL);
		if (rc == MDB_NOTFOUND)
			rc = 0;
	}
	if (rc == 0) {
		encode_path(path, raw);
		k = val(path_key, sizeof(path_key));
		v = val(raw, VAL_PATH);
		rc = mdb_put(b->txn, b->f->meta, &k, &v, 0);
	}
	return rc;
}

int
findex_commit(struct findex *f, const struct vol_rec *vols, size_t n_vols,
    const uint64_t *removed, size_t n_removed, const struct path_rec *path,
    struct err *e)
{
	struct batch b = { .f = f };
	struct ftab *done;
	int rc, fault;

	MUST(f->frozen != NULL);
	rc = mdb_txn_begin(f->env, NULL, 0, &b.txn);
	if (rc != 0)
		return fail(e, rc, "begin");
	rc = last_of(b.txn, f->files, b.last_key.b, &b.has_key);
	if (rc == 0)
		rc = last_of(b.txn, f->writes, b.last_wid.b, &b.has_wid);
	rc = rc != 0 ? fail(e, rc, "read") : commit_entries(&b, e);
	if (rc == 0) {
		rc = commit_rows(&b, vols, n_vols, removed, n_removed, path);
		if (rc != 0)
			rc = fail(e, rc, "write");
	}
	/* LMDB does its own system calls: faults are put in here. */
	fault = fault_check(FAULT_WRITE);
	if (rc == 0 && fault == 0)
		fault = fault_check(FAULT_SYNC);
	if (rc == 0 && fault != 0)
		rc = err_set_errno(e, fault, "file index: commit");
	if (rc < 0) {
		mdb_txn_abort(b.txn);
		return rc;
	}
	rc = mdb_txn_commit(b.txn);
	if (rc != 0)
		return fail(e, rc, "commit");
	lock_take(&f->lock);
	done = f->frozen;
	f->frozen = NULL;
	lock_drop(&f->lock);
	ftab_free(&done);
	return 0;
}

void
findex_trim(struct findex *f)
{
	lmdb_trim(f->env);
}
