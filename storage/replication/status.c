/* storage/replication/status.c - what is kept between starts, the state, and
 * the keeper that looks after both (P4, P5, P8).
 *
 * The file "replication" in the node's own small files: version u8, the engine's
 * ID of its paths 16, last time in touch u64 (seconds since 1970), number u32, for
 * each peer: node 16, number u32 of positions; complete u8, since u64; the group's
 * age u64, that when last in touch u64, was in touch u8, expired u8, number u32 of
 * marks: age u64, wall clock i64 (away.c). Cursors
 * are kept for members only, and dropped when the paths are others.
 *
 * Active is who has caught up with everybody within reach, and with a majority: it
 * serves clients. A witness is one whose word counts that something is not there:
 * with one disk lost and another member away, "caught up with everybody within
 * reach" would forget what just these two had acknowledged. So a node that is
 * new, or was put back to an older state, becomes a witness only once it has
 * caught up with all other members. One that has been it and was just restarted
 * has on its disks what it acknowledged: if somebody stays away, the majority is
 * enough after GRACE_MS, provided that these have shown by their cursors that its
 * log is what they know. */
#include "storage/replication/rep_int.h"

#include <stdio.h>

#define STATE_FILE "replication"
#define STATE_VERSION 1
#define STATE_MAX (4u << 20)
#define TICK_MS 200
#define SAVE_MS 1000
#define TOUCH_MS 60000
#define REPAIR_MS 1000 /* between looks at what a scrub has found, at least */
#define GRACE_MS 15000
#define FIRST_COMPARE_MS 30000

/* --- keeping --- */

static struct rep_peer *
peer_new(struct rep *r, const struct id128 *node)
{
	struct rep_peer *p = mem_zalloc(sizeof(*p));

	if (p != NULL)
		p->pos = mem_zalloc(REP_PATHS * sizeof(*p->pos));
	if (p == NULL || p->pos == NULL) {
		mem_free(&p);
		return NULL;
	}
	p->r = r;
	p->node = *node;
	return p;
}

/* Under the lock. */
static struct rep_peer *
find_peer(struct rep *r, const struct id128 *node)
{
	struct rep_peer *p = r->peers;

	while (p != NULL && !id128_eq(&p->node, node))
		p = p->next;
	return p;
}

struct rep_peer *
peer_get(struct rep *r, const struct id128 *node)
{
	struct rep_peer *p, *fresh;

	lock_take(&r->lock);
	p = find_peer(r, node);
	lock_drop(&r->lock);
	if (p != NULL)
		return p;
	fresh = peer_new(r, node);
	if (fresh == NULL)
		return NULL;
	lock_take(&r->lock);
	p = find_peer(r, node);
	if (p == NULL) {
		fresh->next = r->peers;
		r->peers = fresh;
	}
	lock_drop(&r->lock);
	if (p == NULL)
		return fresh;
	mem_free(&fresh->pos);
	mem_free(&fresh);
	return p;
}

static int
load_cursors(struct rep *r, struct unpack *u, bool are_valid, struct err *e)
{
	uint32_t n = unpack_u32(u), k, j;
	struct engine_pos pos;
	struct rep_peer *p;
	struct id128 node;

	for (; n > 0 && !u->is_bad; n--) {
		node = unpack_id(u);
		k = unpack_u32(u);
		if (k > REP_PATHS)
			u->is_bad = true;
		p = peer_get(r, &node);
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		for (j = 0; j < k && !u->is_bad; j++) {
			wire_unpack_pos(u, &pos);
			if (are_valid)
				p->pos[j] = pos;
		}
		p->n_paths = k;
	}
	r->is_complete = unpack_u8(u) != 0 && are_valid;
	r->complete_since = unpack_u64(u);
	return unpack_end(u, e);
}

int
rep_state_load(struct rep *r, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX);
	struct id128 paths, was;
	struct unpack u;
	int rc = r->so->load(r->st, STATE_FILE, &b, e);

	if (rc == ERR_NOT_FOUND) {
		r->touched_s = r->eo->real_s(r->env);
		buf_fini(&b);
		return 0;
	}
	if (rc == 0) {
		u = unpack_of(buf_str(&b));
		if (unpack_u8(&u) > STATE_VERSION)
			rc = err_set(e, ERR_CONFIG,
			    "the state of replication was written by a newer "
			    "version");
		was = unpack_id(&u);
		r->so->paths_id(r->st, &paths);
		r->touched_s = r->floor_s = (int64_t)unpack_u64(&u);
		if (rc == 0)
			rc = load_cursors(r, &u, id128_eq(&was, &paths), e);
		if (rc == 0)
			rc = away_load(r, &u, e);
	}
	buf_fini(&b);
	return rc;
}

static size_t
used_paths(const struct rep_peer *p)
{
	size_t n = p->n_paths;

	return n > REP_PATHS ? REP_PATHS : n;
}

/* Under the lock. */
static int
pack_state(struct rep *r, const struct id128 *paths, struct buf *b)
{
	struct rep_peer *p;
	uint32_t n = 0;
	size_t i;
	int rc = pack_u8(b, STATE_VERSION);

	for (p = r->peers; p != NULL; p = p->next)
		n += p->is_member;
	if (rc == 0)
		rc = pack_id(b, paths);
	if (rc == 0)
		rc = pack_u64(b, (uint64_t)r->touched_s);
	if (rc == 0)
		rc = pack_u32(b, n);
	for (p = r->peers; rc == 0 && p != NULL; p = p->next) {
		if (!p->is_member)
			continue;
		rc = pack_id(b, &p->node);
		if (rc == 0)
			rc = pack_u32(b, (uint32_t)used_paths(p));
		for (i = 0; rc == 0 && i < used_paths(p); i++)
			rc = wire_pack_pos(b, &p->pos[i]);
	}
	if (rc == 0)
		rc = pack_u8(b, r->is_complete);
	if (rc == 0)
		rc = pack_u64(b, r->complete_since);
	return rc == 0 ? away_pack(r, b) : rc;
}

/* Only the keeper, and rep_open(). */
int
rep_state_save(struct rep *r, struct err *e)
{
	struct buf b = BUF_CAP(STATE_MAX);
	struct id128 paths;
	int rc;

	r->so->paths_id(r->st, &paths);
	lock_take(&r->lock);
	rc = pack_state(r, &paths, &b);
	r->is_dirty = false;
	lock_drop(&r->lock);
	if (rc == 0)
		rc = r->so->save(r->st, STATE_FILE, buf_str(&b), e);
	if (rc < 0) {
		lock_take(&r->lock);
		r->is_dirty = true;
		lock_drop(&r->lock);
	}
	buf_fini(&b);
	return rc;
}

/* --- the state --- */

struct tally {                /* of the other members */
	size_t caught, known; /* known: and they know this node's log */
	bool all_reachable_caught;
};

/* Under the lock. */
static void
count_peers(struct rep *r, struct tally *t)
{
	struct rep_peer *p;

	*t = (struct tally){ .all_reachable_caught = true };
	for (p = r->peers; p != NULL; p = p->next) {
		if (!p->is_member)
			continue;
		t->caught += p->is_caught_up;
		t->known += p->is_caught_up && p->has_asked;
		if (!p->is_caught_up &&
		    (peer_is_reachable(p) || !p->is_first_failed))
			t->all_reachable_caught = false;
	}
}

/* Under the lock. Membership has found that this node's disks were put back. */
static void
note_renewal(struct rep *r, uint64_t since)
{
	if (!r->is_complete || r->complete_since == since)
		return;
	r->is_active = r->is_witness = r->is_complete = false;
	r->was_put_back = r->is_dirty = true;
}

void
rep_state_judge(struct rep *r)
{
	struct rep_group g;
	struct tally t;
	struct err e = ERR_INIT;
	int64_t now = r->eo->now_ms(r->env);
	bool is_news, is_witness;

	if (rep_group_get(r, &g, &e) < 0)
		return;
	lock_take(&r->lock);
	note_renewal(r, g.v.since[g.v.self]);
	count_peers(r, &t);
	is_news = !r->is_active && t.all_reachable_caught &&
	          t.caught + 1 >= g.majority;
	if (is_news)
		r->is_active = true;
	is_witness =
	    t.caught + 1 == g.v.n ||
	    (r->is_complete && t.all_reachable_caught &&
		t.known + 1 >= g.majority && now - r->opened_ms >= GRACE_MS);
	if (is_witness && !r->is_witness) {
		r->is_witness = true;
		r->was_put_back = false;
		r->is_dirty = r->is_dirty || !r->is_complete;
		r->is_complete = true;
		r->complete_since = g.v.since[g.v.self];
	}
	lock_drop(&r->lock);
	if (is_news && g.v.n > 1)
		rep_event(r, "has caught up with its group");
}

static void
status_reason(struct rep *r, const struct rep_group *g, struct rep_status *ret)
{
	uint64_t left = 0, first = 0;
	struct rep_peer *p;
	size_t i;

	for (p = r->peers; p != NULL; p = p->next) {
		if (!p->is_member)
			continue;
		left += p->behind;
		first += p->first_behind;
	}
	ret->progress = 0;
	if (left < first)
		ret->progress = (uint8_t)(100 * (first - left) / first);
	if (r->is_active) {
		ret->state = FDFS_STATE_ACTIVE;
		ret->progress = 100;
		return;
	}
	ret->state = r->was_put_back ? FDFS_STATE_RECOVERY : FDFS_STATE_SYNCING;
	if (peers_within_reach(r) < g->majority) {
		ret->state = FDFS_STATE_WAIT_SYNC;
		snprintf(ret->reason, sizeof(ret->reason),
		    "%zu of %zu members are within reach, a majority is %u",
		    peers_within_reach(r), g->v.n, g->majority);
		return;
	}
	i = (size_t)snprintf(ret->reason, sizeof(ret->reason),
	    "catching up with server");
	for (p = r->peers; p != NULL; p = p->next) {
		if (p->is_member && !p->is_caught_up && peer_is_reachable(p) &&
		    i + 20 < sizeof(ret->reason))
			i += (size_t)snprintf(ret->reason + i,
			    sizeof(ret->reason) - i, " %u", p->server_id);
	}
}

void
rep_status(struct rep *r, struct rep_status *ret)
{
	struct rep_peer *p;
	struct rep_peer_status *s;
	struct rep_group g;
	struct err e = ERR_INIT;

	OBJ_CHECK(r, REP_MAGIC);
	memset(ret, 0, sizeof(*ret));
	if (rep_group_get(r, &g, &e) < 0) {
		/* P8: it serves nobody, as one that is away. */
		ret->state = g.v.is_removed       ? FDFS_STATE_DELETED
		             : r->away.is_expired ? FDFS_STATE_OFFLINE
		                                  : FDFS_STATE_INIT;
		snprintf(ret->reason, sizeof(ret->reason), "%.150s",
		    g.v.waiting[0] != '\0' ? g.v.waiting : e.msg);
		return;
	}
	lock_take(&r->lock);
	status_reason(r, &g, ret);
	ret->copies = r->c.degraded_writes ? 1 : g.copies;
	ret->can_write = peers_within_reach(r) >= ret->copies;
	if (!ret->can_write && ret->reason[0] == '\0')
		snprintf(ret->reason, sizeof(ret->reason),
		    "takes no writes: %zu of %u nodes that hold copies are "
		    "within reach",
		    peers_within_reach(r), ret->copies);
	ret->is_witness = r->is_witness;
	ret->lag_files = r->missing_now;
	for (p = r->peers; p != NULL; p = p->next) {
		if (!p->is_member || ret->n_peers == CMAP_MEMBERS)
			continue;
		s = &ret->peers[ret->n_peers++];
		s->server_id = p->server_id;
		s->is_reachable = peer_is_reachable(p);
		s->is_caught_up = p->is_caught_up;
		s->behind_bytes = p->behind;
		s->heard_ms = p->ok_ms;
		if (p->behind > ret->lag_bytes)
			ret->lag_bytes = p->behind;
	}
	ret->pulled_files = r->pulled_files;
	ret->pulled_bytes = r->pulled_bytes;
	ret->in_bytes = r->in_bytes;
	ret->in_bytes_ok = r->in_bytes_ok;
	ret->out_bytes = r->out_bytes;
	ret->out_bytes_ok = r->out_bytes_ok;
	ret->in_last_s = r->in_last_s;
	ret->repaired = r->repaired;
	ret->compared = r->compared;
	ret->found_missing = r->found_missing;
	lock_drop(&r->lock);
}

/* --- the keeper --- */

static void
save_if_due(struct rep *r, int64_t now)
{
	struct err e = ERR_INIT;
	bool due;

	lock_take(&r->lock);
	due = (r->is_dirty &&
		  (now - r->saved_ms >= SAVE_MS || r->away.is_expired)) ||
	      now - r->saved_ms >= TOUCH_MS;
	if (due)
		r->saved_ms = now;
	lock_drop(&r->lock);
	if (due && rep_state_save(r, &e) < 0 && e.code != ERR_CLOSED)
		rep_event(r, "can't keep the state of replication: %s", e.msg);
}

/* How late it is, at least (rep_now_s()). */
static void
touch(struct rep *r)
{
	int64_t now_s = r->eo->real_s(r->env);

	lock_take(&r->lock);
	r->touched_s = now_s;
	lock_drop(&r->lock);
}

static void
compare_main(void *arg)
{
	struct rep *r = arg;
	struct rep_group g;
	struct err e = ERR_INIT;
	uint64_t diff;
	size_t i;
	int rc = rep_group_get(r, &g, &e);

	for (i = 0; rc == 0 && i < g.n_peers; i++) {
		if (compare_with(g.peer[i], &diff, &e) == ERR_CLOSED)
			break;
	}
	lock_take(&r->lock);
	r->is_comparing = false;
	lock_drop(&r->lock);
	rep_task_end(r);
}

/* Those from @from on, below @to. */
struct bad {
	struct rep *r;
	size_t at, from, to;
};

static int
repair_it(void *arg, const char *id)
{
	struct bad *b = arg;

	if (b->at >= b->from && b->at < b->to)
		repair_later(b->r, str_of(id), ENGINE_REPAIR);
	b->at++;
	return 0;
}

/* From anywhere on: few are repaired at a time, and the first may be those that
 * nobody can repair. */
static void
repair_bad(struct rep *r)
{
	struct bad b = { .r = r };
	size_t begin = 0;

	r->so->each_bad(r->st, repair_it, &b);
	if (b.at == 0)
		return;
	if (b.at > 1)
		begin = r->eo->random(r->env) % b.at;
	b = (struct bad){ r, 0, begin, SIZE_MAX };
	r->so->each_bad(r->st, repair_it, &b);
	b = (struct bad){ r, 0, 0, begin };
	r->so->each_bad(r->st, repair_it, &b);
}

static void
compare_if_due(struct rep *r, int64_t now, int64_t *next)
{
	struct err e;
	bool start;

	if (now < *next)
		return;
	lock_take(&r->lock);
	start = r->is_active && !r->is_comparing && !r->is_closing;
	if (start)
		r->is_comparing = true;
	lock_drop(&r->lock);
	if (!start)
		return;
	*next = now + r->c.compare_interval_s * 1000;
	if (rep_task(r, compare_main, r, &e) == 0)
		return;
	lock_take(&r->lock);
	r->is_comparing = false;
	lock_drop(&r->lock);
}

void
rep_keeper(void *arg)
{
	struct rep *r = arg;
	struct rep_group g;
	struct err e;
	int64_t now, compare_at, expire_at = 0, repair_at = 0;
	size_t i;

	now = r->eo->now_ms(r->env);
	/* Soon after a start, which may have found damage; not all members at
	 * once. */
	compare_at = now + FIRST_COMPARE_MS +
	             (int64_t)(r->eo->random(r->env) % FIRST_COMPARE_MS);
	while (!rep_is_closing(r)) {
		now = r->eo->now_ms(r->env);
		if (rep_group_get(r, &g, &e) == 0) {
			for (i = 0; i < g.n_peers; i++)
				pull_start(r, g.peer[i]);
			rep_state_judge(r);
			touch(r);
			away_tick(r, &g);
			compare_if_due(r, now, &compare_at);
		}
		save_if_due(r, now);
		if (now >= repair_at) {
			repair_bad(r);
			lock_take(&r->lock);
			repair_at = now + REPAIR_MS + r->repair_pause_ms;
			lock_drop(&r->lock);
		}
		if (now >= expire_at) {
			sessions_expire(r, false);
			expire_at = now + 5000;
		}
		if (!r->eo->sleep(r->env, TICK_MS))
			break;
	}
	rep_task_end(r);
}
