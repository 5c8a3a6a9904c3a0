/* storage/replication/pull.c - what the peers' logs hold, installed here (P4).
 *
 * One task a peer. It reads the peer's log behind the cursor of each of that
 * one's store paths, looks up in bulk what is here, fetches the rest, and only
 * then moves the cursor. Near the end of the log it waits a little before it
 * looks: most of what is new is on its way by INSTALL. One peer at a time is
 * fetched from, so that nothing is fetched twice. */
#include "storage/replication/rep_int.h"

#define RECORDS 4096
#define POLL_MS 2000 /* a long poll; shows that the peer is there, too */
#define LAG_MS 250   /* what is so new may still be on its way */

struct batch {
	struct rpc_reply reply; /* the records' notes lie in it */
	uint8_t flags;
	struct engine_pos pos;
	uint64_t left;
	size_t n;
	struct engine_record *rec;
	bool is_end, is_lost;
};

static void
batch_fini(struct batch *b)
{
	reply_fini(&b->reply);
	mem_free(&b->rec);
}

static int
parse_batch(struct rep_peer *p, struct batch *b, uint64_t *seen, struct err *e)
{
	struct unpack u = unpack_of(buf_str(&b->reply.args));
	uint32_t n_paths, n;
	uint64_t age;
	size_t i;

	b->flags = unpack_u8(&u);
	n_paths = unpack_u32(&u);
	wire_unpack_pos(&u, &b->pos);
	b->left = unpack_u64(&u);
	*seen = unpack_u64(&u);
	n = unpack_u32(&u);
	if (u.is_bad || n_paths > REP_PATHS || n > 2 * RECORDS)
		return err_set(e, ERR_INVALID, "bad answer to LOG_READ");
	b->is_end = (b->flags & 1) != 0;
	b->is_lost = (b->flags & 2) != 0;
	b->rec = mem_zalloc((n + 1) * sizeof(*b->rec));
	if (b->rec == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < n; i++)
		wire_unpack_record(&u, &b->rec[i]);
	b->n = n;
	lock_take(&p->r->lock);
	p->n_paths = n_paths;
	lock_drop(&p->r->lock);
	if (!u.is_bad && u.rest.len > 0) { /* older versions tell none */
		age = unpack_u64(&u);
		if (!u.is_bad)
			away_hear(p->r, &p->node, age);
	}
	return unpack_end(&u, e);
}

static int
read_batch(struct rep_peer *p, size_t path, int wait_ms, uint64_t *seen,
    struct batch *b, struct err *e)
{
	struct buf args = BUF_CAP(RPC_ARGS_MAX);
	struct rpc_request q = { .op = RPC_LOG_READ };
	int rc = pack_u32(&args, (uint32_t)path);

	memset(b, 0, sizeof(*b));
	reply_init(&b->reply);
	if (rc == 0)
		rc = wire_pack_pos(&args, &p->pos[path]);
	if (rc == 0)
		rc = pack_u32(&args, RECORDS);
	if (rc == 0)
		rc = pack_u32(&args, (uint32_t)wait_ms);
	if (rc == 0)
		rc = pack_u64(&args, *seen);
	if (rc == 0)
		rc = pack_u64(&args, away_age(p->r));
	q.args = buf_str(&args);
	if (rc == 0)
		rc = peer_call(p, &q, wait_ms + 2 * p->r->c.peer_ms, &b->reply,
		    e);
	if (rc == 0)
		rc = parse_batch(p, b, seen, e);
	buf_fini(&args);
	return rc;
}

/* --- what is missing --- */

/* Which of the records are news here: into @tombs and @files. */
static int
sort_out(struct rep *r, const struct batch *b, struct engine_install *tombs,
    size_t *n_tombs, struct want *files, size_t *n_files, struct err *e)
{
	struct str *ids = mem_alloc((b->n + 1) * sizeof(*ids));
	struct engine_version *v = mem_zalloc((b->n + 1) * sizeof(*v));
	const struct engine_record *rec;
	size_t i;
	int rc = ids == NULL || v == NULL ? err_set(e, ERR_NO_MEMORY, NULL) : 0;

	*n_tombs = *n_files = 0;
	for (i = 0; rc == 0 && i < b->n; i++)
		ids[i] = str_of(b->rec[i].info.id);
	if (rc == 0)
		rc = r->so->lookup_many(r->st, ids, b->n, v, e);
	for (i = 0; rc == 0 && i < b->n; i++) {
		rec = &b->rec[i];
		if (v[i].known != ENGINE_UNKNOWN &&
		    v[i].version >= rec->info.file_version)
			continue;
		if (rec->is_tomb) {
			tombs[(*n_tombs)++] =
			    (struct engine_install){ .r = rec };
			continue;
		}
		memcpy(files[*n_files].id, rec->info.id, sizeof(files->id));
		files[*n_files].version = rec->info.file_version;
		files[(*n_files)++].size = rec->info.size;
	}
	mem_free(&ids);
	mem_free(&v);
	return rc;
}

/* Waits for the turn to fetch. False: the node is being stopped. */
static bool
fetch_turn(struct rep *r)
{
	bool is_mine;

	for (;;) {
		lock_take(&r->lock);
		is_mine = !r->is_fetching;
		r->is_fetching = true;
		lock_drop(&r->lock);
		if (is_mine)
			return true;
		if (!r->eo->sleep(r->env, 20))
			return false;
	}
}

static void
fetch_turn_over(struct rep *r)
{
	lock_take(&r->lock);
	r->is_fetching = false;
	lock_drop(&r->lock);
}

static int
install_batch(struct rep_peer *p, const struct batch *b, struct err *e)
{
	struct rep *r = p->r;
	struct engine_install *tombs = mem_zalloc((b->n + 1) * sizeof(*tombs));
	struct want *files = mem_zalloc((b->n + 1) * sizeof(*files));
	size_t n_tombs, n_files;
	int rc;

	if (tombs == NULL || files == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	else
		rc = sort_out(r, b, tombs, &n_tombs, files, &n_files, e);
	if (rc == 0 && n_tombs > 0)
		rc = rep_install(r, tombs, n_tombs, e);
	if (rc == ERR_INVALID) /* a name that can't be here at all */
		rc = 0;
	if (rc == 0 && n_files > 0) {
		if (!fetch_turn(r)) {
			rc = err_set(e, ERR_CLOSED, "stopped");
		} else {
			/* It may have come meanwhile, from another. */
			rc =
			    sort_out(r, b, tombs, &n_tombs, files, &n_files, e);
			lock_take(&r->lock);
			r->missing_now = n_files;
			lock_drop(&r->lock);
			if (rc == 0)
				rc = fetch_all(p, files, n_files, e);
			lock_take(&r->lock);
			r->missing_now = 0;
			lock_drop(&r->lock);
			fetch_turn_over(r);
		}
	}
	mem_free(&tombs);
	mem_free(&files);
	return rc;
}

/* --- rounds --- */

/* One batch of one path. *ret_end: nothing was left behind it. */
static int
pull_path(struct rep_peer *p, size_t path, int wait_ms, uint64_t *seen,
    bool *ret_end, uint64_t *ret_left, struct err *e)
{
	struct rep *r = p->r;
	struct batch b;
	int rc = read_batch(p, path, wait_ms, seen, &b, e);

	if (rc == 0 && b.is_end && b.n > 0 && !r->eo->sleep(r->env, LAG_MS))
		rc = err_set(e, ERR_CLOSED, "stopped");
	if (rc == 0 && b.n > 0)
		rc = install_batch(p, &b, e);
	if (rc == 0) {
		lock_take(&r->lock);
		r->is_dirty = r->is_dirty ||
		              memcmp(&p->pos[path], &b.pos, sizeof(b.pos)) != 0;
		p->pos[path] = b.pos;
		lock_drop(&r->lock);
		*ret_end = b.is_end && !b.is_lost;
		*ret_left = b.left;
		if (b.is_lost)
			rep_event(r,
			    "the log of server %u does not go on from where "
			    "this node was in it: comparing with all of it",
			    p->server_id);
	}
	batch_fini(&b);
	return rc;
}

/* All paths once; waits for news when there was nothing on any. */
static int
pull_round(struct rep_peer *p, struct err *e)
{
	struct rep *r = p->r;
	uint64_t seen = 0, at = 0, left, sum = 0;
	bool is_end, all_ended = true;
	size_t path = 0, n = 1;
	int64_t began = r->eo->now_ms(r->env);
	int rc = 0;

	lock_take(&r->lock);
	if (p->must_restart) {
		memset(p->pos, 0, REP_PATHS * sizeof(*p->pos));
		p->must_restart = p->is_caught_up = p->has_read = false;
		r->is_dirty = true;
	}
	lock_drop(&r->lock);
	for (; rc == 0 && path < n; path++) {
		rc = pull_path(p, path, 0, path == 0 ? &seen : &at, &is_end,
		    &left, e);
		if (rc < 0)
			return rc;
		at = seen;
		sum += left;
		all_ended = all_ended && is_end;
		lock_take(&r->lock);
		n = p->n_paths;
		lock_drop(&r->lock);
	}
	lock_take(&r->lock);
	p->behind = sum;
	if (sum > p->first_behind)
		p->first_behind = sum;
	if (all_ended) {
		p->is_caught_up = p->has_read = true;
		p->read_ms = began;
	}
	lock_drop(&r->lock);
	rep_state_judge(r);
	if (all_ended)
		rc = pull_path(p, 0, POLL_MS, &seen, &is_end, &left, e);
	return rc;
}

static bool
is_over(struct rep_peer *p)
{
	struct rep *r = p->r;
	bool over;

	lock_take(&r->lock);
	over = r->is_closing || !p->is_member || r->away.is_expired;
	if (over) {
		p->is_pulling = false;
		p->is_caught_up = p->has_read = false;
	}
	lock_drop(&r->lock);
	return over;
}

/* Once a minute: it is tried every second. */
static void
say_stuck(struct rep_peer *p, const struct err *why, int64_t *said_ms)
{
	int64_t now = p->r->eo->now_ms(p->r->env);

	if (*said_ms != 0 && now - *said_ms < 60000)
		return;
	*said_ms = now;
	rep_event(p->r, "can't take over from server %u: %s", p->server_id,
	    why->msg);
}

static void
pull_main(void *arg)
{
	struct rep_peer *p = arg;
	struct rep *r = p->r;
	struct err e;
	int64_t pause = 100, said_ms = 0;
	int rc;

	while (!is_over(p)) {
		e = ERR_INIT;
		rc = pull_round(p, &e);
		if (rc == 0) {
			pause = 100;
			continue;
		}
		if (rc != ERR_DISCONNECTED && rc != ERR_CLOSED &&
		    rc != ERR_RETRY && pause >= 1000)
			say_stuck(p, &e, &said_ms);
		if (!r->eo->sleep(r->env, pause)) {
			lock_take(&r->lock);
			p->is_pulling = false;
			lock_drop(&r->lock);
			break;
		}
		pause = pause < 1000 ? 2 * pause : 1000;
	}
	rep_task_end(r);
}

void
pull_start(struct rep *r, struct rep_peer *p)
{
	struct err e;
	bool start;

	lock_take(&r->lock);
	start = p->is_member && !p->is_pulling && !r->is_closing;
	if (start)
		p->is_pulling = true;
	lock_drop(&r->lock);
	if (!start || rep_task(r, pull_main, p, &e) == 0)
		return;
	lock_take(&r->lock);
	p->is_pulling = false;
	lock_drop(&r->lock);
}
