/* storage/replication/read.c - reading, from here or from where it is (P6).
 *
 * A file that is here costs what the engine's own calls cost. What is not here,
 * or can't be read, is looked for at all peers: the highest version counts, a
 * tombstone too. "No such file" needs more members to say so than could be
 * without an acknowledged file: members - min_copies. Only witnesses count
 * (status.c). A copy is installed here in the background. */
#include "storage/replication/rep_int.h"

#include "lib/hash.h"

#define GRACE_MS 100 /* for a tombstone, once a copy was found */
#define PIECE (1024 * 1024)

/* --- where it is --- */

static bool
slot_version(const struct fan_slot *s, struct engine_version *ret,
    bool *ret_is_witness)
{
	struct unpack u = unpack_of(buf_str(&s->args));

	if (!s->is_done || s->rc != 0)
		return false;
	*ret_is_witness = (unpack_u8(&u) & 1) != 0;
	wire_unpack_version(&u, ret);
	return !u.is_bad;
}

static bool
is_known_there(struct fan *f, size_t slot)
{
	struct engine_version v;
	bool is_witness;

	return slot_version(&f->slot[slot], &v, &is_witness) &&
	       v.known != ENGINE_UNKNOWN;
}

struct fan *
lookup_start(struct rep *r, const struct rep_group *g, uint64_t term,
    struct str id)
{
	struct fan *f = fan_new(r, RPC_LOOKUP, g);

	if (f == NULL)
		return NULL;
	if (pack_u64(&f->args, term) < 0 || pack_u32(&f->args, 1) < 0 ||
	    pack_str(&f->args, id) < 0)
		fan_free(&f);
	return f;
}

void
avoid_add(struct avoid *a, const struct rep_peer *p)
{
	if (a->n < sizeof(a->p) / sizeof(a->p[0]))
		a->p[a->n++] = p;
}

bool
is_avoided(const struct avoid *a, const struct rep_peer *p)
{
	for (size_t i = 0; a != NULL && i < a->n; i++)
		if (a->p[i] == p)
			return true;
	return false;
}

/* What the answers come to, under the lock. */
static enum find_rc
judge(struct rep *r, struct fan *f, const struct rep_group *g, bool none_here,
    const struct avoid *avoid, struct rep_peer **ret_p,
    struct engine_version *ret)
{
	struct engine_version best = { 0 }, v;
	size_t i, none = none_here;
	unsigned copies = r->c.degraded_writes ? 1 : g->copies;
	int64_t took = INT64_MAX, ms;
	bool is_witness;

	*ret_p = NULL;
	for (i = 0; i < f->n; i++) {
		if (!slot_version(&f->slot[i], &v, &is_witness))
			continue;
		if (v.known == ENGINE_UNKNOWN) {
			none += is_witness;
			continue;
		}
		ms = f->slot[i].took_ms;
		if (is_avoided(avoid, f->slot[i].p))
			ms = INT64_MAX;
		if (best.known != ENGINE_UNKNOWN &&
		    (v.version < best.version ||
			(v.version == best.version && ms >= took)))
			continue;
		best = v;
		took = ms;
		*ret_p = f->slot[i].p;
	}
	*ret = best;
	if (best.known == ENGINE_TOMB)
		return FIND_TOMB;
	if (best.known == ENGINE_LIVE && *ret_p != NULL)
		return FIND_LIVE;
	return none + copies > g->v.n ? FIND_NONE : FIND_OPEN;
}

enum find_rc
find_elsewhere(struct rep *r, struct str id, bool none_here,
    const struct avoid *avoid, struct rep_peer **ret_p,
    struct engine_version *ret)
{
	struct rep_group g;
	struct fan *f;
	struct err e = ERR_INIT;
	enum find_rc rc;

	*ret_p = NULL;
	if (rep_group_get(r, &g, &e) < 0)
		return FIND_OPEN;
	f = lookup_start(r, &g, 0, id);
	if (f == NULL)
		return FIND_OPEN;
	f->is_good = is_known_there;
	fan_start(f, 1, false);
	if (fan_wait(f, 2 * (int64_t)r->c.peer_ms))
		fan_wait_all(f, GRACE_MS);
	lock_take(&r->lock);
	rc = judge(r, f, &g, none_here, avoid, ret_p, ret);
	lock_drop(&r->lock);
	fan_free(&f);
	return rc;
}

/* --- repair --- */

#define PAUSE_MAX_MS 16000

struct repair {
	struct rep *r;
	unsigned flags;
	char id[ENGINE_FILE_ID_MAX];
};

/* Under the lock: that of @id, or with NULL an empty slot. */
static struct repair **
repair_find(struct rep *r, const char *id)
{
	for (size_t i = 0; i < REP_REPAIRS; i++)
		if (id == NULL ? r->repair[i] == NULL
			       : r->repair[i] != NULL &&
				     strcmp(r->repair[i]->id, id) == 0)
			return &r->repair[i];
	return NULL;
}

/* Under the lock. What nobody can repair now is not tried every second. */
static void
repair_done(struct rep *r, struct repair *x, bool is_done)
{
	int64_t pause = 2 * r->repair_pause_ms;

	r->repaired += is_done;
	if (is_done)
		r->repair_pause_ms = 0;
	else if (x->flags & ENGINE_REPAIR)
		r->repair_pause_ms = pause == 0             ? 2000
		                     : pause < PAUSE_MAX_MS ? pause
		                                            : PAUSE_MAX_MS;
	*repair_find(r, x->id) = NULL;
}

static void
repair_main(void *arg)
{
	struct repair *x = arg;
	struct rep *r = x->r;
	struct engine_version v;
	struct rep_peer *p;
	struct err e = ERR_INIT;
	bool is_done = find_elsewhere(r, str_of(x->id), false, NULL, &p, &v) ==
	                   FIND_LIVE &&
	               fetch_one(p, str_of(x->id), x->flags, &e) == 0;

	if (is_done && x->flags & ENGINE_REPAIR)
		rep_event(r, "%s was damaged here; repaired from server %u",
		    x->id, p->server_id);
	lock_take(&r->lock);
	repair_done(r, x, is_done);
	lock_drop(&r->lock);
	mem_free(&x);
	rep_task_end(r);
}

void
repair_later(struct rep *r, struct str id, unsigned flags)
{
	struct repair *x, **slot = NULL;
	struct err e;

	if (id.len >= sizeof(x->id))
		return;
	x = mem_zalloc(sizeof(*x));
	if (x == NULL)
		return;
	x->r = r;
	x->flags = flags;
	memcpy(x->id, id.p, id.len);
	lock_take(&r->lock);
	/* Few at a time: each is a task. The rest is found again, by the next
	 * read or by comparing. */
	if (!r->is_closing && repair_find(r, x->id) == NULL)
		slot = repair_find(r, NULL);
	if (slot != NULL)
		*slot = x;
	lock_drop(&r->lock);
	if (slot != NULL && rep_task(r, repair_main, x, &e) == 0)
		return;
	lock_take(&r->lock);
	if (slot != NULL)
		*slot = NULL;
	lock_drop(&r->lock);
	mem_free(&x);
}

/* --- an open file --- */

struct rep_file {
	struct rep *r;
	void *local;
	struct rep_peer *p; /* where it is read from otherwise */
	bool has_record, is_whole;
	struct avoid avoid;
	struct engine_record rec;
	struct buf note;
	struct buf body; /* is_whole: all of it */
};

static struct rep_file *
file_new(struct rep *r)
{
	struct rep_file *f = mem_zalloc(sizeof(*f));

	if (f != NULL) {
		f->r = r;
		f->note = BUF_CAP(WIRE_NOTE_MAX);
		f->body = BUF_CAP(RPC_BODY_MAX);
	}
	return f;
}

static int
keep_record(struct rep_file *f, const struct engine_record *rec, struct err *e)
{
	f->rec = *rec;
	buf_reset(&f->note);
	if (buf_adds(&f->note, rec->note) < 0)
		return err_set(e, ERR_NO_MEMORY, NULL);
	f->rec.note = buf_str(&f->note);
	f->has_record = true;
	return 0;
}

/* From @p: a small file whole, of a large one the record. */
static int
open_remote(struct rep_file *f, struct rep_peer *p, struct str id,
    struct err *e)
{
	struct rpc_reply reply;
	struct engine_record rec;
	int rc;

	reply_init(&reply);
	rc = fetch_small(p, id, &rec, &reply, e);
	if (rc == 0 && rec.is_tomb)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 0 && rec.info.size <= REP_SMALL &&
	    (reply.body.len != rec.info.size ||
		hash_crc32(0, reply.body.p, reply.body.len) != rec.info.crc32))
		rc = err_set(e, ERR_CORRUPT, "what server %u gives of %s",
		    p->server_id, rec.info.id);
	if (rc == 0)
		rc = keep_record(f, &rec, e);
	if (rc == 0) {
		f->p = p;
		f->is_whole = rec.info.size <= REP_SMALL;
		buf_fini(&f->body);
		if (f->is_whole) {
			f->body = reply.body;
			reply.body = BUF_CAP(0);
		}
	}
	reply_fini(&reply);
	return rc;
}

/* A tombstone here, or no word of it (*ret_none: and that counts, since this
 * node was a witness before it looked). 1: it has come just now. */
static int
look_here(struct rep *r, struct str id, bool *ret_none, struct err *e)
{
	struct engine_version here = { 0 };
	bool is_witness;
	int rc;

	lock_take(&r->lock);
	is_witness = r->is_witness;
	lock_drop(&r->lock);
	rc = r->so->lookup_many(r->st, &id, 1, &here, e);
	if (rc < 0)
		return rc;
	*ret_none = is_witness && here.known == ENGINE_UNKNOWN;
	if (here.known == ENGINE_TOMB)
		return err_set(e, ERR_NOT_FOUND, NULL);
	return here.known == ENGINE_LIVE;
}

/* One attempt. 1: try again; 2: the others say that it is not there. */
static int
try_elsewhere(struct rep_file *f, struct str id, bool none_here,
    uint64_t version, struct err *e)
{
	struct engine_version v;
	struct rep_peer *p;
	int rc;

	switch (find_elsewhere(f->r, id, none_here, &f->avoid, &p, &v)) {
	case FIND_LIVE:
		rc = open_remote(f, p, id, e);
		if (rc < 0)
			avoid_add(&f->avoid, p);
		if (rc == 0 && version != 0 &&
		    f->rec.info.file_version != version)
			return err_set(e, ERR_RETRY,
			    "it was changed while it was read");
		return rc < 0 && rc != ERR_CLOSED ? 1 : rc;
	case FIND_TOMB:
		return err_set(e, ERR_NOT_FOUND, NULL);
	case FIND_NONE:
		return 2;
	case FIND_OPEN:
		break;
	}
	return err_set(e, ERR_RETRY,
	    "too few members answer to say that a file is not there");
}

/* This node is all of its group. */
static bool
is_alone(struct rep *r)
{
	struct rep_group g;

	return rep_group_get(r, &g, NULL) == 0 && g.v.n == 1;
}

/* Not readable here. @version: of what was begun to be read, 0 any. */
static int
go_elsewhere(struct rep_file *f, struct str id, uint64_t version, struct err *e)
{
	int tries, rc = is_alone(f->r) ? 2 : 1;

	for (tries = 0; rc == 1 && tries < 3; tries++)
		rc = try_elsewhere(f, id, false, version, e);
	if (rc == 2) /* it is lost, which is not the same */
		return err_set(e, ERR_CORRUPT,
		    "it is damaged, and no other member has it");
	return rc == 1 ? err_set(e, ERR_RETRY, "no member gives it") : rc;
}

/* Not here. */
static int
open_elsewhere(struct rep_file *f, struct str id, struct err *e)
{
	struct rep *r = f->r;
	bool none_here;
	int tries, rc = 1;

	for (tries = 0; rc == 1 && tries < 3; tries++) {
		rc = look_here(r, id, &none_here, e);
		if (rc == 1)
			return r->so->open(r->st, id, &f->local, e);
		if (rc == 0)
			rc = try_elsewhere(f, id, none_here, 0, e);
	}
	if (rc == 2)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	if (rc == 1)
		rc = err_set(e, ERR_RETRY, "no member gives it");
	if (rc == 0)
		repair_later(r, id, 0);
	return rc;
}

int
rep_file_open(struct rep *r, struct str id, struct rep_file **ret,
    struct err *e)
{
	struct rep_file *f = file_new(r);
	int rc;

	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = away_check(r, false, e);
	if (rc == 0)
		rc = r->so->open(r->st, id, &f->local, e);
	if (rc == ERR_NOT_FOUND) {
		rc = open_elsewhere(f, id, e);
	} else if (rc == ERR_CORRUPT || rc == ERR_IO) {
		rc = go_elsewhere(f, id, 0, e);
		if (rc == 0)
			repair_later(r, id, ENGINE_REPAIR);
	}
	if (rc == 0)
		*ret = f;
	else
		rep_file_close(&f);
	return rc;
}

static int
need_record(struct rep_file *f, struct err *e)
{
	if (f->has_record)
		return 0;
	buf_reset(&f->note);
	f->has_record = f->r->so->record(f->local, &f->rec, &f->note, e) == 0;
	return f->has_record ? 0 : e->code;
}

void
rep_file_info(const struct rep_file *f, struct engine_file_info *ret)
{
	struct engine_record rec;
	struct err e = ERR_INIT;

	if (f->has_record)
		*ret = f->rec.info;
	else if (f->r->so->record(f->local, &rec, NULL, &e) == 0)
		*ret = rec.info;
}

struct str
rep_file_note(struct rep_file *f)
{
	struct err e = ERR_INIT;

	return need_record(f, &e) == 0 ? buf_str(&f->note) : STR_NULL;
}

/* The copy here can't be read: on with another's. */
static int
leave_local(struct rep_file *f, struct err *e)
{
	char id[ENGINE_FILE_ID_MAX];
	int rc = need_record(f, e);

	if (rc < 0)
		return rc;
	memcpy(id, f->rec.info.id, sizeof(id));
	repair_later(f->r, str_of(id), ENGINE_REPAIR);
	rc = go_elsewhere(f, str_of(id), f->rec.info.file_version, e);
	if (rc < 0)
		return rc;
	f->r->so->close(f->local);
	f->local = NULL;
	return 0;
}

static int
read_whole_body(const struct rep_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len)
{
	if (off >= f->body.len)
		len = 0;
	else if (len > f->body.len - off)
		len = f->body.len - (size_t)off;
	if (len > 0)
		memcpy(p, f->body.p + off, len);
	*ret_len = len;
	return 0;
}

static int
read_from_peer(struct rep_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	struct rpc_reply reply;
	size_t n, done = 0;
	int rc = 0;

	while (rc == 0 && done < len && off + done < f->rec.info.size) {
		reply_init(&reply);
		n = len - done < PIECE ? len - done : PIECE;
		reply.dst = (char *)p + done;
		reply.cap = n;
		rc = read_piece(f->p, str_of(f->rec.info.id),
		    f->rec.info.file_version, off + done, (uint32_t)n, &reply,
		    e);
		if (rc == 0 && reply.len == 0)
			rc = err_set(e, ERR_CORRUPT, "file is short");
		if (rc == 0)
			done += reply.len;
		reply_fini(&reply);
	}
	if (rc == 0)
		*ret_len = done;
	return rc;
}

int
rep_file_read(struct rep_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	char id[ENGINE_FILE_ID_MAX];
	int rc, tries;

	if (f->local != NULL) {
		rc = f->r->so->read(f->local, off, p, len, ret_len, e);
		if (rc != ERR_CORRUPT && rc != ERR_IO)
			return rc;
		rc = leave_local(f, e);
		if (rc < 0)
			return rc;
	}
	for (tries = 0;; tries++) {
		if (f->is_whole)
			return read_whole_body(f, off, p, len, ret_len);
		rc = read_from_peer(f, off, p, len, ret_len, e);
		if (rc == 0 || rc == ERR_CLOSED || tries == 2)
			return rc;
		avoid_add(&f->avoid, f->p);
		memcpy(id, f->rec.info.id, sizeof(id));
		rc = go_elsewhere(f, str_of(id), f->rec.info.file_version, e);
		if (rc < 0)
			return rc;
	}
}

int
rep_file_span(struct rep_file *f, uint64_t off, size_t len,
    struct engine_span *ret, struct err *e)
{
	if (f->local == NULL || f->r->so->span == NULL)
		return err_set(e, ERR_RETRY, "not here");
	return f->r->so->span(f->local, off, len, ret, e);
}

void
rep_file_close(struct rep_file **fp)
{
	struct rep_file *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	if (f->local != NULL)
		f->r->so->close(f->local);
	buf_fini(&f->note);
	buf_fini(&f->body);
	mem_free(&f);
}
