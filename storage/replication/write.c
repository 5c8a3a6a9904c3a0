/* storage/replication/write.c - small files and tombstones (P1, P3).
 *
 * INSTALL, from the node that took the write to each of its peers:
 *   args    term u64; number u32; for each: record, and with a term its base u64
 *   body    the contents, one behind the other
 *   answer  for each: result text, version that is here u64, tombstone u8,
 *           another file has that name u8
 * Term 0 is for what is written once (drawn names, their tombstones); a change
 * (change.c) carries the term of its leader, and travels alone. */
#include "storage/replication/rep_int.h"

#include "lib/hash.h"

#define REST_MS 500 /* for members beyond the majority to take a tombstone */
#define TOMB_UNKNOWN (UINT64_C(1) << 62) /* as the engine's */

/* --- outcomes --- */

int
outcome_pack(struct buf *b, const struct outcome *o)
{
	int rc = wire_pack_code(b, o->code);

	if (rc == 0)
		rc = pack_u64(b, o->version);
	if (rc == 0)
		rc = pack_u8(b, o->is_tomb);
	return rc == 0 ? pack_u8(b, o->is_other) : rc;
}

void
outcome_unpack(struct unpack *u, struct outcome *ret)
{
	ret->code = wire_unpack_code(u);
	ret->version = unpack_u64(u);
	ret->is_tomb = unpack_u8(u) != 0;
	ret->is_other = unpack_u8(u) != 0;
}

bool
outcome_is_copy(const struct outcome *o, const struct engine_record *rec)
{
	if (o->code != 0 || o->is_other)
		return false;
	if (rec->is_tomb)
		return o->is_tomb && o->version >= rec->info.file_version;
	return !o->is_tomb && o->version == rec->info.file_version;
}

/* Every item is there, as a copy. fan->arg: the records. */
static bool
all_are_copies(struct fan *f, size_t slot)
{
	const struct engine_record *rec = f->arg;
	struct unpack u = unpack_of(buf_str(&f->slot[slot].args));
	struct outcome o;
	size_t i;

	if (f->slot[slot].rc != 0)
		return false;
	for (i = 0; i < f->n_items; i++) {
		outcome_unpack(&u, &o);
		if (u.is_bad || !outcome_is_copy(&o, &rec[i]))
			return false;
	}
	return true;
}

static struct fan *
install_fan(struct rep *r, const struct rep_group *g,
    const struct engine_record *recs, size_t n, struct str body)
{
	struct fan *f = fan_new(r, RPC_INSTALL, g);
	size_t i;

	if (f == NULL)
		return NULL;
	f->is_batched = true;
	f->recs = mem_alloc(n * sizeof(*recs));
	if (f->recs == NULL) {
		fan_free(&f);
		return NULL;
	}
	memcpy(f->recs, recs, n * sizeof(*recs));
	f->arg = f->recs;
	f->is_good = all_are_copies;
	for (i = 0; i < n; i++) {
		f->recs[i].note = STR_NULL; /* the caller's */
		if (fan_add_item(f, &recs[i], body) < 0) {
			fan_free(&f);
			return NULL;
		}
	}
	return f;
}

/* --- tombstones --- */

static void
tomb_of(struct rep *r, const char *id, uint8_t class, uint64_t version,
    struct engine_record *ret)
{
	*ret = (struct engine_record){ .is_tomb = true };
	memcpy(ret->info.id, id, strlen(id) + 1);
	ret->info.file_version = version;
	ret->info.class = class;
	ret->info.created_s = rep_now_s(r);
	ret->source = r->so->next_source(r->st);
}

static int
install_here(struct rep *r, const struct engine_record *v, size_t n,
    struct err *e)
{
	struct engine_install *in = mem_zalloc(n * sizeof(*in));
	size_t i;
	int rc;

	if (in == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < n; i++)
		in[i].r = &v[i];
	rc = rep_install(r, in, n, e);
	mem_free(&in);
	return rc;
}

/* Tombstones as they are in @v: here, and at @want members in all (0: nobody
 * is waited for). */
static int
tombs_install(struct rep *r, const struct engine_record *v, size_t n,
    size_t want, struct err *e)
{
	struct rep_group g;
	struct fan *f;
	size_t here;
	int rc;
	bool ok;

	rc = rep_group_get(r, &g, e);
	if (rc < 0)
		return rc;
	f = install_fan(r, &g, v, n, STR_NULL);
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	fan_start(f, want > 1 ? want - 1 : 0, want > 0);
	rc = install_here(r, v, n, e);
	here = rc == 0;
	ok = want == 0;
	if (!ok && fan_wait(f, 2 * (int64_t)r->c.peer_ms)) {
		lock_take(&r->lock);
		ok = here + f->n_good >= want;
		lock_drop(&r->lock);
		/* Who is told that it is deleted may ask the rest next. */
		if (ok)
			fan_wait_all(f, REST_MS);
	}
	fan_free(&f);
	if (rc < 0)
		return rc;
	return ok ? 0
	          : err_set(e, ERR_BUSY,
			"too few members within reach for a delete");
}

/* What is known of the names here decides the tombstones' versions. */
static int
tombs_for(struct rep *r, const struct str *ids, size_t n,
    struct engine_record *ret, struct err *e)
{
	struct engine_version *known = mem_zalloc(n * sizeof(*known));
	char id[ENGINE_FILE_ID_MAX];
	uint64_t version;
	size_t i;
	int rc;

	if (known == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = r->so->lookup_many(r->st, ids, n, known, e);
	for (i = 0; rc == 0 && i < n; i++) {
		if (ids[i].len == 0 || ids[i].len >= sizeof(id)) {
			rc = err_set(e, ERR_INVALID, "not a file's name");
			break;
		}
		memcpy(id, ids[i].p, ids[i].len);
		id[ids[i].len] = '\0';
		version = known[i].known == ENGINE_LIVE   ? known[i].version + 1
		          : known[i].known == ENGINE_TOMB ? known[i].version
		                                          : TOMB_UNKNOWN;
		tomb_of(r, id, known[i].class, version, &ret[i]);
	}
	mem_free(&known);
	return rc;
}

int
rep_delete_many(struct rep *r, const struct str *ids, size_t n, struct err *e)
{
	struct engine_record *v;
	struct rep_group g;
	size_t want, at, k;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	rc = rep_group_get(r, &g, e);
	if (rc < 0 || n == 0)
		return rc;
	want = r->c.degraded_writes ? 1 : g.majority;
	v = mem_alloc(REP_BATCH_N * sizeof(*v));
	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (at = 0; rc == 0 && at < n; at += k) {
		k = n - at < REP_BATCH_N ? n - at : REP_BATCH_N;
		rc = tombs_for(r, ids + at, k, v, e);
		if (rc == 0)
			rc = tombs_install(r, v, k, want, e);
	}
	mem_free(&v);
	return rc;
}

/* --- files --- */

static void
say_degraded(struct rep *r, size_t copies)
{
	int64_t now = r->eo->now_ms(r->env);
	bool say;

	lock_take(&r->lock);
	say = r->said_degraded_ms == 0 || now - r->said_degraded_ms > 60000;
	if (say)
		r->said_degraded_ms = now;
	lock_drop(&r->lock);
	if (say)
		rep_event(r, "degraded: writes are taken with %zu copies",
		    copies);
}

int
copies_suffice(struct rep *r, const struct rep_group *g, size_t copies,
    struct err *e)
{
	if (copies >= g->copies)
		return 0;
	if (r->c.degraded_writes && copies > 0) {
		say_degraded(r, copies);
		return 0;
	}
	return err_set(e, ERR_BUSY,
	    "%zu of %u copies that a write needs are within reach", copies,
	    g->copies);
}

void
write_refuse(struct rep *r, const struct engine_record *rec)
{
	struct engine_record tomb;
	struct err e = ERR_INIT;

	tomb_of(r, rec->info.id, rec->info.class, rec->info.file_version + 1,
	    &tomb);
	tombs_install(r, &tomb, 1, 0, &e);
}

/* One attempt under one drawn name. ERR_EXISTS: draw again. */
static int
put_as(struct rep *r, const struct rep_group *g,
    const struct engine_record *rec, struct str body, bool is_here,
    struct err *e)
{
	struct engine_install in = { .r = rec,
		.body = body,
		.flags = ENGINE_NEW };
	struct err he = ERR_INIT;
	struct fan *f = NULL;
	size_t copies = 0;
	int rc = 0;

	if (g->n_peers > 0) {
		f = install_fan(r, g, rec, 1, body);
		if (f == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		fan_start(f, g->copies > 1 ? g->copies - 1 : 0, true);
	}
	if (!is_here)
		rc = rep_install(r, &in, 1, &he);
	copies = rc == 0;
	if (f != NULL && rc != ERR_EXISTS && rc != ERR_CLOSED) {
		if (rc < 0) /* this disk failed: the peers may do alone */
			fan_want(f, g->copies);
		fan_wait(f, 2 * (int64_t)r->c.peer_ms);
		lock_take(&r->lock);
		copies += f->n_good;
		lock_drop(&r->lock);
	}
	fan_free(&f);
	if (rc == ERR_EXISTS || rc == ERR_CLOSED ||
	    (rc < 0 && copies < g->copies))
		*e = he;
	else
		rc = copies_suffice(r, g, copies, e);
	/* What was there before this attempt may have been acknowledged. */
	if (rc < 0 && rc != ERR_EXISTS && rc != ERR_CLOSED && !is_here)
		write_refuse(r, rec);
	return rc;
}

static int
put_drawn(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e)
{
	uint32_t crc = hash_crc32(0, body.p, body.len);
	struct engine_record rec;
	struct rep_group g;
	int rc, tries;

	rc = rep_group_get(r, &g, e);
	if (rc < 0)
		return rc;
	for (tries = 0; tries < 8; tries++) {
		rc = r->so->draw(r->st, owner, path_no, body.len, crc, ext,
		    flags, &rec, e);
		if (rc < 0)
			return rc;
		if (rc == 1 &&
		    (rec.info.size != body.len || rec.info.crc32 != crc))
			return err_set(e, ERR_INVALID,
			    "write ID has made another file");
		if (rc == 1) /* its note is the one that was kept */
			rec.note = owner->note;
		rc = put_as(r, &g, &rec, body, rc == 1, e);
		if (rc != ERR_EXISTS)
			break;
	}
	if (rc == 0)
		*ret = rec.info;
	return rc;
}

int
write_drawn(struct rep *r, const struct engine_record *rec, struct str body,
    struct engine_file_info *ret, struct err *e)
{
	struct rep_group g;
	int rc = rep_group_get(r, &g, e);

	if (rc == 0)
		rc = put_as(r, &g, rec, body, false, e);
	if (rc == 0)
		*ret = rec->info;
	return rc;
}

int
write_lock(struct rep *r, const struct id128 *write_id, struct name_lock **ret,
    struct err *e)
{
	char name[33];

	*ret = NULL;
	if (id128_is_zero(write_id))
		return 0;
	id128_text(write_id, name);
	return name_take(r, str_of(name), 10 * (int64_t)r->c.peer_ms, ret, e);
}

int
rep_put(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e)
{
	struct rep_upload *u;
	struct name_lock *l;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	if (body.len > REP_SMALL) {
		rc = rep_upload_begin(r, owner, path_no, body.len, &u, e);
		if (rc < 0)
			return rc;
		rc = rep_upload_write(u, body.p, body.len, e);
		if (rc == 0)
			return rep_upload_commit(&u, ext, flags, ret, e);
		rep_upload_abort(&u);
		return rc;
	}
	rc = write_lock(r, &owner->write_id, &l, e);
	if (rc < 0)
		return rc;
	rc = put_drawn(r, owner, path_no, body, ext, flags, ret, e);
	name_drop(r, &l);
	return rc;
}

/* There is nobody else whose copy a write could wait for, or who could draw the
 * same name. */
int
rep_put_gather(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, const struct engine_then *then,
    struct err *e)
{
	struct rep_group g;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	if (r->so->put_gather == NULL || body.len > REP_SMALL)
		return 1;
	rc = rep_group_get(r, &g, e);
	if (rc < 0)
		return rc;
	if (g.v.n != 1 || g.copies > 1)
		return 1;
	rc = r->so->put_gather(r->st, owner, path_no, body, ext, then, e);
	return rc == ERR_TOO_BIG ? 1 : rc;
}

void
rep_gathered(struct rep *r)
{
	OBJ_CHECK(r, REP_MAGIC);
	if (r->so->gathered != NULL)
		r->so->gathered(r->st);
}

/* --- for a peer --- */

/* What lies here under the name: @o->version and is_tomb are set from it. True:
 * another file than @rec. */
bool
is_other_file(struct rep *r, const struct engine_record *rec, struct outcome *o)
{
	struct engine_record here;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX);
	struct err e;
	int rc =
	    r->so->record_of(r->st, str_of(rec->info.id), &here, &note, &e);

	buf_fini(&note);
	if (rc < 0)
		return true;
	o->version = here.info.file_version;
	o->is_tomb = here.is_tomb;
	return !here.is_tomb && !rec->is_tomb &&
	       here.info.file_version == rec->info.file_version &&
	       (here.info.size != rec->info.size ||
		   here.info.crc32 != rec->info.crc32 ||
		   !id128_eq(&here.info.write_id, &rec->info.write_id));
}

static int
unpack_items(const struct rpc_request *q, struct unpack *u, uint32_t n,
    struct engine_record *rec, struct engine_install *in, struct err *e)
{
	struct str rest = q->body;
	uint32_t i;

	for (i = 0; i < n; i++) {
		wire_unpack_record(u, &rec[i]);
		in[i].r = &rec[i];
		if (u->is_bad || rec[i].is_tomb)
			continue;
		if (rec[i].info.size > rest.len)
			return err_set(e, ERR_INVALID, "body is cut short");
		in[i].body = str_sub(rest, 0, (size_t)rec[i].info.size);
		rest = str_skip(rest, (size_t)rec[i].info.size);
	}
	return unpack_end(u, e);
}

static int
install_items(struct rep *r, const struct engine_record *rec,
    struct engine_install *in, uint32_t n, struct buf *answer, struct err *e)
{
	struct outcome o;
	uint32_t i;
	int rc;

	rc = rep_install(r, in, n, e);
	if (rc == ERR_CLOSED)
		return rc;
	for (i = 0, rc = 0; rc == 0 && i < n; i++) {
		o = (struct outcome){ .code = in[i].rc < 0 ? in[i].rc : 0,
			.version = rec[i].info.file_version,
			.is_tomb = rec[i].is_tomb };
		if (in[i].rc == 1) {
			o.version = in[i].version;
			o.is_tomb = in[i].is_tomb;
			o.is_other =
			    !rec[i].is_tomb && is_other_file(r, &rec[i], &o);
		}
		rc = outcome_pack(answer, &o);
	}
	return rc;
}

int
rep_serve_install(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	uint64_t term = unpack_u64(&u);
	uint32_t n = unpack_u32(&u);
	struct engine_record *rec;
	struct engine_install *in;
	int rc;

	if (u.is_bad || n == 0 || n > 2 * REP_BATCH_N)
		return err_set(e, ERR_INVALID, "bad INSTALL");
	if (term != 0)
		return rep_serve_change(r, from, q, a, e);
	rec = mem_zalloc(n * sizeof(*rec));
	in = mem_zalloc(n * sizeof(*in));
	rc = rec == NULL || in == NULL ? err_set(e, ERR_NO_MEMORY, NULL)
	                               : unpack_items(q, &u, n, rec, in, e);
	if (rc == 0)
		rc = install_items(r, rec, in, n, &a->args, e);
	mem_free(&in);
	mem_free(&rec);
	return rc;
}
