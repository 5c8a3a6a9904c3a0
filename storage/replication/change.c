/* storage/replication/change.c - new versions of a name, made by the leader (P2).
 *
 * Each change first asks a majority (itself included) what the newest version
 * is, in the name of its term: whoever answers takes no change of an older term
 * from then on (members_admit_term(), durable), so what it does not see here can
 * never reach a majority any more. What it does see, and only fewer have, it
 * finishes first: writes it to a majority. Then the new version goes out, with
 * the one it is based on; a peer that has a higher one refuses, and the whole is
 * tried again on that one. One change at a time has a name.
 *
 * INSTALL with a term: see write.c; one record, base u64 behind it. An answer
 * counts only if the peer still knew no newer term after its copy was durable:
 * else a newer leader may have asked it in between.
 *   answer  result text (RETRY: term is old; EXISTS: higher than the base),
 *           version here u64, tombstone u8, 0 */
#include "storage/replication/rep_int.h"

#include "lib/hash.h"

#define TRIES 4

struct newest {
	struct engine_version v;
	struct rep_peer *p; /* holder; NULL: here, or nowhere */
	size_t have;        /* members that have it */
};

/* --- asking --- */

static int
lead(struct rep *r, struct rep_group *g, struct err *e)
{
	int rc = rep_group_get(r, g, e);

	if (rc == 0 && !g->v.is_leader)
		rc = err_set(e, ERR_RETRY, "another member leads");
	return rc;
}

/* This node's own part in its term: it may have voted for another since. */
static int
admit_here(struct rep *r, const struct rep_group *g, struct err *e)
{
	return members_admit_term(r->c.members, &g->v.m[g->v.self].node,
	    g->v.term, e);
}

static bool
version_of_slot(const struct fan_slot *s, struct engine_version *ret)
{
	struct unpack u = unpack_of(buf_str(&s->args));

	if (!s->is_done || s->rc != 0)
		return false;
	unpack_u8(&u);
	wire_unpack_version(&u, ret);
	return !u.is_bad;
}

/* One that has not caught up since its disks were lost or put back may have
 * forgotten what it acknowledged: it is no part of the majority that is asked. */
static bool
from_witness(struct fan *f, size_t slot)
{
	struct unpack u = unpack_of(buf_str(&f->slot[slot].args));

	return f->slot[slot].rc == 0 && (unpack_u8(&u) & 1) != 0;
}

static void
take_newest(struct fan *f, struct newest *ret)
{
	struct engine_version v;
	size_t i;

	for (i = 0; i < f->n; i++) {
		if (!version_of_slot(&f->slot[i], &v))
			continue;
		if (v.known == ENGINE_UNKNOWN) {
			ret->have += ret->v.known == ENGINE_UNKNOWN;
		} else if (ret->v.known == ENGINE_UNKNOWN ||
			   v.version > ret->v.version) {
			ret->v = v;
			ret->p = f->slot[i].p;
			ret->have = 1;
		} else if (v.version == ret->v.version) {
			ret->have++;
		}
	}
}

/* What a majority knows of @id. */
static int
ask_newest(struct rep *r, const struct rep_group *g, struct str id,
    struct newest *ret, struct err *e)
{
	struct fan *f;
	bool ok, is_witness;
	int rc = admit_here(r, g, e);

	memset(ret, 0, sizeof(*ret));
	if (rc < 0)
		return rc;
	f = lookup_start(r, g, g->v.term, id);
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_take(&r->lock);
	is_witness = r->is_witness;
	lock_drop(&r->lock);
	f->is_good = from_witness;
	fan_start(f, g->majority - is_witness, false);
	rc = r->so->lookup_many(r->st, &id, 1, &ret->v, e);
	ret->have = 1;
	ok = fan_wait(f, 2 * (int64_t)r->c.peer_ms);
	lock_take(&r->lock);
	take_newest(f, ret);
	lock_drop(&r->lock);
	fan_free(&f);
	if (rc == 0 && !ok)
		rc = err_set(e, ERR_BUSY,
		    "no majority of members that have caught up answers");
	return rc;
}

/* --- writing to a majority --- */

static bool
took_it(struct fan *f, size_t slot)
{
	struct unpack u = unpack_of(buf_str(&f->slot[slot].args));
	struct outcome o;

	if (f->slot[slot].rc != 0)
		return false;
	outcome_unpack(&u, &o);
	return !u.is_bad && outcome_is_copy(&o, f->recs);
}

/* A peer that refused has a higher version. */
static bool
has_higher(struct fan *f, uint64_t base)
{
	struct outcome o;
	struct unpack u;
	size_t i;

	for (i = 0; i < f->n; i++) {
		u = unpack_of(buf_str(&f->slot[i].args));
		if (!f->slot[i].is_done || f->slot[i].rc != 0 ||
		    f->slot[i].is_good)
			continue;
		outcome_unpack(&u, &o);
		if (!u.is_bad && o.version > base)
			return true;
	}
	return false;
}

static struct fan *
change_fan(struct rep *r, const struct rep_group *g,
    const struct engine_record *rec, uint64_t base, struct str body)
{
	struct fan *f = fan_new(r, RPC_INSTALL, g);
	int rc;

	if (f == NULL)
		return NULL;
	f->recs = mem_alloc(sizeof(*rec));
	rc = f->recs == NULL ? ERR_NO_MEMORY : pack_u64(&f->args, g->v.term);
	if (rc == 0)
		rc = pack_u32(&f->args, 1);
	if (rc == 0)
		rc = fan_add_item(f, rec, body);
	if (rc == 0)
		rc = pack_u64(&f->args, base);
	if (rc < 0) {
		fan_free(&f);
		return NULL;
	}
	*f->recs = *rec;
	f->recs->note = STR_NULL;
	f->is_good = took_it;
	return f;
}

/* Durable on a majority, this node included. ERR_RETRY: a higher version than
 * @base is somewhere, or another leader. */
static int
write_majority(struct rep *r, const struct rep_group *g,
    const struct engine_record *rec, uint64_t base, struct str body,
    struct err *e)
{
	struct engine_install in = { .r = rec, .body = body };
	struct fan *f = change_fan(r, g, rec, base, body);
	struct outcome here;
	bool ok, is_higher;
	int rc;

	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	fan_start(f, g->majority - 1, false);
	rc = rep_install(r, &in, 1, e);
	if (rc == 0 && in.rc == 1 &&
	    (in.version != rec->info.file_version ||
		in.is_tomb != rec->is_tomb))
		rc = err_set(e, ERR_RETRY, "a newer version came meanwhile");
	if (rc == 0 && in.rc == 1 && !rec->is_tomb &&
	    is_other_file(r, rec, &here))
		rc = err_set(e, ERR_RETRY, "another file of that version");
	if (rc == 0)
		rc = admit_here(r, g, e);
	ok = fan_wait(f, 2 * (int64_t)r->c.peer_ms);
	lock_take(&r->lock);
	is_higher = has_higher(f, base);
	lock_drop(&r->lock);
	fan_free(&f);
	if (rc == 0 && !ok && is_higher)
		rc = err_set(e, ERR_RETRY, "a newer version is elsewhere");
	else if (rc == 0 && !ok)
		rc = err_set(e, ERR_BUSY, "no majority has taken the change");
	return rc;
}

static int
read_once(struct rep *r, struct str id, struct engine_record *ret,
    struct buf *note, struct buf *body, struct err *e)
{
	void *f;
	size_t n, at = 0;
	int rc = r->so->open(r->st, id, &f, e);

	if (rc == ERR_NOT_FOUND)
		return r->so->record_of(r->st, id, ret, note, e);
	if (rc < 0)
		return rc;
	rc = r->so->record(f, ret, note, e);
	if (rc == 0 && ret->info.size > REP_SMALL)
		rc = err_set(e, ERR_TOO_BIG, "not a file that is changed");
	if (rc == 0)
		rc = buf_reserve(body, (size_t)ret->info.size);
	while (rc == 0 && at < ret->info.size) {
		rc = r->so->read(f, at, body->p + at,
		    (size_t)ret->info.size - at, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "file is short");
		at += n;
	}
	body->len = at;
	r->so->close(f);
	return rc;
}

/* The record and bytes of @id as they are here; a damaged copy is repaired
 * first. */
static int
read_here(struct rep *r, struct str id, struct engine_record *ret,
    struct buf *note, struct buf *body, struct err *e)
{
	struct engine_version v;
	struct rep_peer *p;
	int rc = read_once(r, id, ret, note, body, e);

	if (rc != ERR_CORRUPT && rc != ERR_IO)
		return rc;
	if (find_elsewhere(r, id, false, NULL, &p, &v) == FIND_LIVE)
		rc = fetch_one(p, id, ENGINE_REPAIR, e);
	if (rc < 0)
		return rc;
	buf_reset(note);
	buf_reset(body);
	return read_once(r, id, ret, note, body, e);
}

/* Immutable files may be large; a change of one (its end) needs no copy here. */
static bool
is_plain(const struct engine_version *v)
{
	return v->known == ENGINE_LIVE && v->version >> 32 == 0 &&
	       v->size > REP_SMALL;
}

/* What fewer than a majority have is brought to one, before anybody builds on
 * it or is told of it. */
static int
finish(struct rep *r, const struct rep_group *g, struct str id,
    struct newest *n, struct err *e)
{
	struct engine_record rec;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX), body = BUF_CAP(REP_SMALL);
	int rc = 0;

	if (n->v.known == ENGINE_UNKNOWN || is_plain(&n->v))
		return 0;
	if (n->p != NULL)
		rc = fetch_one(n->p, id, 0, e);
	if (rc == 0 && n->have < g->majority) {
		rc = read_here(r, id, &rec, &note, &body, e);
		if (rc == 0 && rec.info.file_version != n->v.version)
			rc = err_set(e, ERR_RETRY, "it has changed again");
		if (rc == 0)
			rc = write_majority(r, g, &rec, n->v.version,
			    rec.is_tomb ? STR_NULL : buf_str(&body), e);
	}
	buf_fini(&note);
	buf_fini(&body);
	return rc;
}

static int
newest(struct rep *r, const struct rep_group *g, struct str id,
    struct newest *ret, struct err *e)
{
	int rc = ask_newest(r, g, id, ret, e);

	return rc == 0 ? finish(r, g, id, ret, e) : rc;
}

/* --- a change --- */

/* Whether the change applies to what there is. */
static int
check_base(const struct rep_change *c, const struct engine_version *v,
    struct err *e)
{
	bool is_live = v->known == ENGINE_LIVE;

	if (c->is_new)
		return is_live ? err_set(e, ERR_EXISTS, NULL) : 0;
	if (!is_live)
		return err_set(e, ERR_NOT_FOUND, NULL);
	if (c->base != 0 && c->base != v->version)
		return err_set(e, ERR_RETRY, "another version than the base");
	return 0;
}

static int
check_end(struct rep *r, const struct rep_change *c, struct err *e)
{
	if (c->until_ms != 0 && r->eo->now_ms(r->env) >= c->until_ms)
		return err_set(e, ERR_RETRY, "it comes too late");
	return 0;
}

/* A version is given once: what failed here may be at a peer all the same, one
 * that is not in the majority which is asked next. */
static uint64_t
next_counter(struct rep *r, uint64_t term, uint64_t base)
{
	uint64_t counter = (base & UINT32_MAX) + 1;

	lock_take(&r->lock);
	if (r->spent_term == term && r->spent >= counter)
		counter = r->spent + 1;
	lock_drop(&r->lock);
	return counter;
}

static void
note_spent(struct rep *r, uint64_t version)
{
	uint64_t term = version >> 32, counter = version & UINT32_MAX;

	lock_take(&r->lock);
	if (r->spent_term != term || r->spent < counter)
		r->spent = counter;
	r->spent_term = term;
	lock_drop(&r->lock);
}

static int
make_record(struct rep *r, const struct rep_change *c, uint64_t term,
    uint64_t base, struct engine_record *ret, struct err *e)
{
	uint64_t counter = next_counter(r, term, base);

	if (base >> 32 > term || counter > UINT32_MAX)
		return err_set(e, ERR_RETRY,
		    "version %#jx can't be followed in term %ju",
		    (uintmax_t)base, (uintmax_t)term);
	*ret = (struct engine_record){ .is_tomb = c->is_delete,
		.note = c->is_delete ? STR_NULL : c->note };
	memcpy(ret->info.id, c->id.p, c->id.len);
	ret->info.file_version = term << 32 | counter;
	ret->info.class = c->class;
	ret->info.write_id = c->write_id;
	ret->info.created_s = rep_now_s(r);
	if (!c->is_delete) {
		ret->info.size = c->body.len;
		ret->info.crc32 = hash_crc32(0, c->body.p, c->body.len);
	}
	ret->source = r->so->next_source(r->st);
	return 0;
}

/* ERR_RETRY from here: the caller may try again, on what is the newest then. */
static int
change_once(struct rep *r, const struct rep_change *c,
    struct engine_file_info *ret, bool *ret_again, struct err *e)
{
	struct engine_record rec;
	struct newest n;
	struct rep_group g;
	int rc;

	*ret_again = false;
	rc = lead(r, &g, e);
	if (rc < 0)
		return rc;
	rc = newest(r, &g, c->id, &n, e);
	if (rc < 0) {
		*ret_again = rc == ERR_RETRY;
		return rc;
	}
	/* The last moment at which nobody has heard of it. */
	rc = check_end(r, c, e);
	if (rc == 0)
		rc = check_base(c, &n.v, e);
	if (rc == 0)
		rc = make_record(r, c, g.v.term, n.v.version, &rec, e);
	if (rc < 0)
		return rc;
	rc = write_majority(r, &g, &rec, n.v.version,
	    c->is_delete ? STR_NULL : c->body, e);
	if (rc < 0)
		note_spent(r, rec.info.file_version);
	/* It has been sent: whether it counts in the end is open. */
	if (rc == ERR_RETRY || rc == ERR_DISCONNECTED)
		rc = err_set(e, ERR_BUSY, "the outcome is open");
	if (rc == 0)
		*ret = rec.info;
	return rc;
}

static int
pause_a_little(struct rep *r, struct err *e)
{
	if (!r->eo->sleep(r->env, 20 + (int64_t)(r->eo->random(r->env) % 50)))
		return err_set(e, ERR_CLOSED, "stopped");
	return 0;
}

int
rep_change(struct rep *r, const struct rep_change *c,
    struct engine_file_info *ret, struct err *e)
{
	struct name_lock *l;
	bool again = true;
	int rc, tries;

	OBJ_CHECK(r, REP_MAGIC);
	if (c->id.len == 0 || c->id.len >= ENGINE_FILE_ID_MAX ||
	    c->note.len > WIRE_NOTE_MAX || c->body.len > REP_SMALL)
		return err_set(e, ERR_INVALID, "bad change");
	rc = name_take(r, c->id, 5 * (int64_t)r->c.peer_ms, &l, e);
	if (rc < 0)
		return rc;
	rc = ERR_RETRY;
	for (tries = 0; tries < TRIES && again && rc == ERR_RETRY; tries++) {
		rc = tries == 0 ? 0 : pause_a_little(r, e);
		if (rc == 0)
			rc = change_once(r, c, ret, &again, e);
	}
	name_drop(r, &l);
	return rc;
}

int
rep_read_newest(struct rep *r, struct str id, struct engine_file_info *ret,
    struct buf *body, struct err *e)
{
	struct engine_record rec;
	struct buf note = BUF_CAP(WIRE_NOTE_MAX), bytes = BUF_CAP(REP_SMALL);
	struct name_lock *l;
	struct newest n;
	struct rep_group g;
	int rc;

	OBJ_CHECK(r, REP_MAGIC);
	rc = lead(r, &g, e);
	if (rc < 0)
		return rc;
	rc = name_take(r, id, 5 * (int64_t)r->c.peer_ms, &l, e);
	if (rc < 0)
		return rc;
	rc = newest(r, &g, id, &n, e);
	if (rc == 0 && n.v.known != ENGINE_LIVE)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 0 && is_plain(&n.v)) {
		rc = r->so->record_of(r->st, id, &rec, &note, e);
		if (rc == ERR_NOT_FOUND && n.p != NULL) {
			rc = fetch_one(n.p, id, 0, e);
			if (rc == 0)
				rc =
				    r->so->record_of(r->st, id, &rec, &note, e);
		}
		if (rc == 0 && body != NULL)
			rc = err_set(e, ERR_TOO_BIG, "not a file of versions");
	} else if (rc == 0) {
		rc = read_here(r, id, &rec, &note, &bytes, e);
	}
	if (rc == 0 && rec.info.file_version != n.v.version)
		rc = err_set(e, ERR_RETRY, "it has changed again");
	if (rc == 0 && body != NULL)
		rc = buf_adds(body, buf_str(&bytes));
	if (rc == 0)
		*ret = rec.info;
	name_drop(r, &l);
	buf_fini(&note);
	buf_fini(&bytes);
	return rc;
}

/* --- for the leader --- */

/* Refused when something higher than the base is here. */
static int
install_on_base(struct rep *r, const struct engine_record *rec, uint64_t base,
    struct str body, struct outcome *o, struct err *e)
{
	struct engine_install in = { .r = rec, .body = body };
	struct engine_version v = { 0 };
	struct str id = str_of(rec->info.id);
	int rc = r->so->lookup_many(r->st, &id, 1, &v, e);

	if (rc < 0)
		return rc;
	if (v.known != ENGINE_UNKNOWN && v.version > base &&
	    v.version != rec->info.file_version) {
		*o = (struct outcome){ ERR_EXISTS, v.version,
			v.known == ENGINE_TOMB, false };
		return 0;
	}
	rc = rep_install(r, &in, 1, e);
	if (rc == ERR_CLOSED)
		return rc;
	*o = (struct outcome){ rc < 0 ? rc : 0, rec->info.file_version,
		rec->is_tomb, false };
	if (rc == 0 && in.rc == 1) {
		o->version = in.version;
		o->is_tomb = in.is_tomb;
		o->is_other = !rec->is_tomb && is_other_file(r, rec, o);
	}
	return 0;
}

int
rep_serve_change(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e)
{
	struct unpack u = unpack_of(q->args);
	uint64_t term = unpack_u64(&u), base;
	uint32_t n = unpack_u32(&u);
	struct engine_record rec;
	struct name_lock *l;
	struct outcome o;
	int rc;

	wire_unpack_record(&u, &rec);
	base = unpack_u64(&u);
	rc = unpack_end(&u, e);
	if (rc == 0 && n != 1)
		rc = err_set(e, ERR_INVALID, "one change at a time");
	if (rc == 0)
		rc = members_admit_term(r->c.members, &from->id, term, e);
	/* Base and copy are one step: two leaders' changes must not both find
	 * the same base here. */
	if (rc == 0)
		rc = name_take(r, str_of(rec.info.id), r->c.peer_ms, &l, e);
	if (rc < 0)
		return rc;
	rc = install_on_base(r, &rec, base, q->body, &o, e);
	name_drop(r, &l);
	if (rc == 0)
		rc = members_admit_term(r->c.members, &from->id, term, e);
	return rc < 0 ? rc : outcome_pack(&a->args, &o);
}
