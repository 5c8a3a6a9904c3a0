/* storage/replication/rep.c - opening, closing, tasks, names, the group. */
#include "storage/replication/rep_int.h"

#include "fdfs/file_id.h"
#include "lib/hash.h"
#include "lib/log.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>

/* --- the group --- */

/* Peers are kept in step with the membership by whoever looks at it. */
static void
sync_peers(struct rep *r, struct rep_group *g)
{
	const struct cmap_member *m;
	struct rep_peer *p;
	bool is_old;
	size_t i;

	g->n_peers = 0;
	for (i = 0; i < g->v.n; i++) {
		m = &g->v.m[i];
		if ((int)i == g->v.self)
			continue;
		p = peer_get(r, &m->node);
		if (p != NULL)
			g->peer[g->n_peers++] = p;
	}
	lock_take(&r->lock);
	/* Another task may have seen a newer group since. */
	is_old =
	    id128_eq(&r->group_id, &g->v.group_id) && g->v.epoch < r->epoch;
	if (!is_old) {
		r->group_id = g->v.group_id;
		r->epoch = g->v.epoch;
	}
	for (p = r->peers; !is_old && p != NULL; p = p->next)
		p->is_member = false;
	if (!is_old)
		r->n_members = 0;
	for (i = 0; !is_old && i < g->v.n; i++) {
		m = &g->v.m[i];
		for (p = r->peers; p != NULL; p = p->next) {
			if (!id128_eq(&p->node, &m->node) ||
			    (int)i == g->v.self)
				continue;
			r->n_members += !p->is_member;
			p->is_member = true;
			p->server_id = m->server_id;
			p->addr = m->inner;
		}
	}
	lock_drop(&r->lock);
}

int
rep_group_get(struct rep *r, struct rep_group *ret, struct err *e)
{
	members_get(r->c.members, &ret->v);
	ret->n_peers = 0;
	if (ret->v.self < 0)
		return err_set(e, ERR_BUSY, "%s",
		    ret->v.is_removed           ? "removed from the group"
		    : ret->v.waiting[0] != '\0' ? ret->v.waiting
						: "not a member of a group");
	sync_peers(r, ret);
	ret->majority = (unsigned)members_majority(ret->v.n);
	ret->copies = r->c.min_copies;
	if (ret->copies == 0)
		ret->copies = ret->v.n >= 2 ? 2 : 1;
	return away_check(r, false, e);
}

int
rep_path_of(const char *id)
{
	struct fdfs_file_id f;
	struct err e;

	return fdfs_id_parse(str_of(id), &f, &e) < 0 ? -1 : f.path;
}

/* --- tasks --- */

int
rep_task(struct rep *r, void (*fn)(void *arg), void *arg, struct err *e)
{
	int rc;

	lock_take(&r->lock);
	r->n_tasks++;
	lock_drop(&r->lock);
	rc = r->eo->spawn(r->env, fn, arg, e);
	if (rc < 0)
		rep_task_end(r);
	return rc;
}

void
rep_task_end(struct rep *r)
{
	lock_take(&r->lock);
	MUST(r->n_tasks > 0);
	r->n_tasks--;
	lock_drop(&r->lock);
}

void
rep_hush(struct rep *r)
{
	OBJ_CHECK(r, REP_MAGIC);
	atomic_store(&r->is_hushed, true);
}

int64_t
rep_now_s(struct rep *r)
{
	int64_t now = r->eo->real_s(r->env);

	return now > r->floor_s ? now : r->floor_s;
}

bool
rep_is_closing(struct rep *r)
{
	bool is;

	lock_take(&r->lock);
	is = r->is_closing;
	lock_drop(&r->lock);
	return is;
}

void
rep_event(struct rep *r, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->eo->event(r->env, LOG_INFO, text);
}

/* --- names --- */

static struct name_lock **
name_slot(struct rep *r, struct str name)
{
	struct name_lock **lp = &r->names[hash_xxh3(0, name.p, name.len) % 64];

	while (*lp != NULL && !str_eqz(name, (*lp)->name))
		lp = &(*lp)->next;
	return lp;
}

int
name_take(struct rep *r, struct str name, int64_t ms, struct name_lock **ret,
    struct err *e)
{
	struct name_lock *l = mem_zalloc(sizeof(*l)), *held;
	int64_t until = r->eo->now_ms(r->env) + ms, now;
	struct bell *b;
	bool is_new;

	if (l == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	MUST(name.len < sizeof(l->name));
	memcpy(l->name, name.p, name.len);
	for (;;) {
		lock_take(&r->lock);
		held = *name_slot(r, name);
		if (held == NULL) {
			*name_slot(r, name) = l;
			lock_drop(&r->lock);
			*ret = l;
			return 0;
		}
		b = held->bell;
		if (b != NULL)
			bell_ref(b);
		lock_drop(&r->lock);
		is_new = b == NULL;
		if (is_new)
			b = bell_new(r);
		now = r->eo->now_ms(r->env);
		if (b == NULL || now >= until)
			break;
		if (is_new) {
			/* Hung up at whoever holds it now. */
			lock_take(&r->lock);
			held = *name_slot(r, name);
			if (held != NULL && held->bell == NULL) {
				bell_ref(b);
				held->bell = b;
				held = NULL;
			}
			lock_drop(&r->lock);
		} else {
			held = NULL;
		}
		if (held == NULL)
			bell_wait(r, b, until - now);
		bell_unref(r, b);
		if (rep_is_closing(r)) {
			b = NULL;
			break;
		}
	}
	bell_unref(r, b);
	mem_free(&l);
	return err_set(e, ERR_BUSY, "another change of it is under way");
}

void
name_drop(struct rep *r, struct name_lock **lp)
{
	struct name_lock *l = *lp, **at;
	struct bell *b;

	*lp = NULL;
	if (l == NULL)
		return;
	lock_take(&r->lock);
	at = name_slot(r, str_of(l->name));
	MUST(*at == l);
	*at = l->next;
	b = l->bell;
	lock_drop(&r->lock);
	if (b != NULL) {
		bell_ring(r, b);
		bell_unref(r, b);
	}
	mem_free(&l);
}

/* --- opening and closing --- */

int
rep_open(const struct rep_conf *c, struct rep **ret, struct err *e)
{
	struct rep *r = mem_zalloc(sizeof(*r));
	struct err ignored = ERR_INIT;
	struct rep_group g;
	int rc;

	if (r == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	r->magic = REP_MAGIC;
	r->c = *c;
	if (r->c.peer_ms == 0)
		r->c.peer_ms = 1000;
	if (r->c.tombstone_keep_s == 0)
		r->c.tombstone_keep_s = 30 * 86400;
	if (r->c.compare_interval_s == 0)
		r->c.compare_interval_s = 3600;
	r->so = c->env.store_ops;
	r->st = c->env.store;
	r->eo = c->env.ops;
	r->env = c->env.env;
	lock_init(&r->lock, LOCK_RANK_LEAF);
	r->opened_ms = r->eo->now_ms(r->env);
	rc = rep_state_load(r, e);
	if (rc == 0)
		rc = rep_state_save(r, e);
	if (rc == 0 && rep_group_get(r, &g, &ignored) == 0)
		away_tick(r, &g);
	if (rc == 0)
		rep_state_judge(r);
	if (rc == 0)
		rc = rep_task(r, rep_keeper, r, e);
	if (rc == 0)
		*ret = r;
	else
		rep_close(&r);
	return rc;
}

void
rep_close(struct rep **rp)
{
	struct rep *r = *rp;
	struct err e = ERR_INIT;
	struct rep_peer *p;
	bool done;

	*rp = NULL;
	if (r == NULL)
		return;
	OBJ_CHECK(r, REP_MAGIC);
	lock_take(&r->lock);
	r->is_closing = true;
	lock_drop(&r->lock);
	do {
		queues_drain(r);
		lock_take(&r->lock);
		done = r->n_tasks == 0;
		lock_drop(&r->lock);
		if (!done) {
			r->eo->sleep(r->env, 1);
			sched_yield(); /* a stopped environment won't wait */
		}
	} while (!done);
	queues_drain(r);
	/* No task is left to save it, and the process ends because of it. */
	if (r->away.is_expired && r->is_dirty)
		(void)rep_state_save(r, &e);
	sessions_expire(r, true);
	while ((p = r->peers) != NULL) {
		r->peers = p->next;
		mem_free(&p->pos);
		mem_free(&p);
	}
	lock_fini(&r->lock);
	mem_free(&r);
}
