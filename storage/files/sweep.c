/* storage/files/sweep.c - segments that no list names any more, metadata without
 * a file, and regenerations that were broken off.
 *
 * Known ones (what a change or a delete let go of) are remembered in memory and
 * go a little later, since readers may still be on them; what is forgotten by a
 * stop is found by the sweep. It trusts nothing that this node alone knows: the
 * list that a segment's owner note names is read as the group has it, and how long
 * it is that nothing names it is this node's own count (suspects.c). The first
 * segment of an appender has no note, since the appender's name was drawn after
 * it was written: for those all lists are read, and only while this node has
 * caught up with every other. */
#include "storage/files/files_int.h"

#include "lib/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 1000
#define DROP_BATCH 256
#define RANGE_PAGE 1000
#define NAMELESS_MAX 100000 /* in one sweep */

/* --- remembered ones --- */

void
files_drop_later(struct files *f, const char *id, int64_t ms)
{
	int64_t due = files_now_ms(f) + ms;
	struct files_drop *more;

	lock_take(&f->lock);
	if (f->n_drops == f->drops_room && f->n_drops < FILES_DROPS) {
		size_t room = f->drops_room == 0 ? 64 : f->drops_room * 2;

		more = mem_realloc(f->drops, room * sizeof(*more));
		if (more != NULL) {
			f->drops = more;
			f->drops_room = room;
		}
	}
	if (f->n_drops < f->drops_room) { /* else it is the sweep's */
		struct files_drop *d = &f->drops[f->n_drops++];

		snprintf(d->id, sizeof(d->id), "%s", id);
		d->due_ms = due;
	}
	lock_drop(&f->lock);
}

void
files_drop_now(struct files *f, const char *id)
{
	struct str s = str_of(id);

	/* What fails is left to the sweep. */
	(void)rep_delete_many(f->rep, &s, 1, NULL);
}

static size_t
take_due(struct files *f, struct files_drop *ret, size_t max)
{
	int64_t now = files_now_ms(f);
	size_t n = 0, kept = 0;

	lock_take(&f->lock);
	for (size_t i = 0; i < f->n_drops; i++) {
		if (f->drops[i].due_ms <= now && n < max)
			ret[n++] = f->drops[i];
		else
			f->drops[kept++] = f->drops[i];
	}
	f->n_drops = kept;
	lock_drop(&f->lock);
	return n;
}

static void
drop_due(struct files *f, struct files_drop *room)
{
	struct str ids[DROP_BATCH];
	size_t n;

	while ((n = take_due(f, room, DROP_BATCH)) > 0) {
		for (size_t i = 0; i < n; i++)
			ids[i] = str_of(room[i].id);
		if (rep_delete_many(f->rep, ids, n, NULL) < 0)
			return;
	}
}

/* --- the sweep --- */

struct sweep {
	struct files *f;
	uint8_t class; /* that is looked for */
	uint8_t keys[RANGE_PAGE][ENGINE_KEY];
	const uint8_t *key; /* of what each() calls for */
	size_t n_keys, seen;
	uint8_t last[ENGINE_KEY];
	/* The list that was read last: neighbours often belong to one. */
	char name[FDFS_REMOTE_MAX + 1];
	struct list list;
	bool is_gone, is_known;
	/* Without a note. */
	struct nameless {
		char id[ENGINE_FILE_ID_MAX]; /* first: by_id() */
		uint8_t key[ENGINE_KEY];
		bool is_named;
	} * nameless;
	size_t n_nameless, nameless_room;
	bool is_partial; /* those without a note were not looked at */
	uint64_t deleted;
};

static int
on_key(void *arg, const uint8_t key[ENGINE_KEY], const struct engine_version *v)
{
	struct sweep *s = arg;

	memcpy(s->last, key, ENGINE_KEY);
	s->seen++;
	if (v->known == ENGINE_LIVE && v->class == s->class)
		memcpy(s->keys[s->n_keys++], key, ENGINE_KEY);
	return 0;
}

/* The next page of keys behind s->last; false at the end. */
static bool
next_page(struct sweep *s, bool *is_first, int *rc, struct err *e)
{
	struct files *f = s->f;
	uint8_t from[ENGINE_KEY], to[ENGINE_KEY];

	memset(to, 0xff, sizeof(to));
	memcpy(from, s->last, sizeof(from));
	if (!*is_first) {
		int i = ENGINE_KEY - 1;

		while (i >= 0 && ++from[i] == 0)
			i--;
		if (i < 0)
			return false;
	}
	*is_first = false;
	s->n_keys = s->seen = 0;
	*rc = f->env.store_ops->range(f->env.store, from, to, RANGE_PAGE,
	    on_key, s, e);
	return *rc == 0 && s->seen > 0;
}

static int
each(struct sweep *s, uint8_t class,
    int (*fn)(struct sweep *s, const struct engine_record *r, struct err *e),
    struct err *e)
{
	struct buf note = BUF_CAP(64 * 1024);
	struct engine_record r;
	bool is_first = true;
	int rc = 0;

	memset(s->last, 0, sizeof(s->last));
	s->class = class;
	while (rc == 0 && next_page(s, &is_first, &rc, e)) {
		for (size_t i = 0; rc == 0 && i < s->n_keys; i++) {
			buf_reset(&note);
			s->key = s->keys[i];
			rc = s->f->env.store_ops->record_of_key(s->f->env.store,
			    s->keys[i], &r, &note, e);
			if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
				rc = 0; /* gone meanwhile; the scrub's */
			else if (rc == 0 && !r.is_tomb && r.info.class == class)
				rc = fn(s, &r, e);
		}
		if (rc == 0 && !s->f->env.ops->sleep(s->f->env.env, 0))
			rc = err_set(e, ERR_CLOSED, NULL);
	}
	buf_fini(&note);
	return rc;
}

static int
add_nameless(struct sweep *s, const char *id, struct err *e)
{
	size_t room = s->nameless_room == 0 ? 64 : s->nameless_room * 2;
	void *more;

	if (s->n_nameless == NAMELESS_MAX)
		return 0; /* the next sweep's */
	if (s->n_nameless == s->nameless_room) {
		more = mem_realloc(s->nameless, room * sizeof(*s->nameless));
		if (more == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		s->nameless = more;
		s->nameless_room = room;
	}
	s->nameless[s->n_nameless] = (struct nameless){ 0 };
	memcpy(s->nameless[s->n_nameless].key, s->key, ENGINE_KEY);
	snprintf(s->nameless[s->n_nameless++].id, ENGINE_FILE_ID_MAX, "%s", id);
	return 0;
}

static int
read_list(struct sweep *s, struct str name, struct err *e)
{
	struct buf body = BUF_CAP(RPC_BODY_MAX);
	struct engine_file_info info;
	char id[FILES_ID_LEN + 1];
	int rc;

	if (s->is_known && str_eqz(name, s->name))
		return 0;
	list_fini(&s->list);
	s->is_known = s->is_gone = false;
	rc = files_id(s->f, name, id, e);
	if (rc == 0)
		rc = rep_read_newest(s->f->rep, str_of(id), &info, &body, e);
	if (rc == ERR_NOT_FOUND) {
		s->is_gone = true;
		rc = 0;
	} else if (rc == 0) {
		rc = list_decode(buf_str(&body), &s->list, e);
	}
	buf_fini(&body);
	if (rc == 0) {
		memcpy(s->name, name.p, name.len);
		s->name[name.len] = '\0';
		s->is_known = true;
	}
	return rc;
}

static int
on_segment(struct sweep *s, const struct engine_record *r, struct err *e)
{
	struct str id = str_of(r->info.id);
	int rc;

	if (r->note.len == 0 || r->note.len > FDFS_REMOTE_MAX)
		return add_nameless(s, r->info.id, e);
	rc = read_list(s, r->note, e);
	if (rc < 0)
		return rc;
	if (!s->is_gone && list_names(&s->list, id))
		return 0;
	if (!suspects_meet(s->f, s->key))
		return 0;
	rc = rep_delete_many(s->f->rep, &id, 1, e);
	if (rc == 0)
		s->deleted++;
	return rc;
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* What a list names is no orphan. */
static int
on_list(struct sweep *s, const struct engine_record *r, struct err *e)
{
	struct str name = files_remote(s->f, r->info.id);
	int rc = read_list(s, name, e);

	for (size_t i = 0; rc == 0 && !s->is_gone && i < s->list.n_segs; i++) {
		struct nameless *at = bsearch(s->list.segs[i].id, s->nameless,
		    s->n_nameless, sizeof(*s->nameless), by_id);

		if (at != NULL)
			at->is_named = true;
	}
	return rc;
}

static bool
has_caught_up(struct files *f)
{
	struct rep_status st;

	rep_status(f->rep, &st);
	for (size_t i = 0; i < st.n_peers; i++)
		if (!st.peers[i].is_reachable || !st.peers[i].is_caught_up)
			return false;
	return st.state == FDFS_STATE_ACTIVE;
}

static int
sweep_nameless(struct sweep *s, struct err *e)
{
	int rc;

	if (s->n_nameless == 0)
		return 0;
	s->is_partial = true;
	if (!has_caught_up(s->f))
		return 0;
	qsort(s->nameless, s->n_nameless, sizeof(*s->nameless), by_id);
	rc = each(s, ENGINE_CLASS_LIST, on_list, e);
	if (rc < 0 || !has_caught_up(s->f))
		return rc;
	s->is_partial = false;
	for (size_t i = 0; rc == 0 && i < s->n_nameless; i++) {
		struct str id = str_of(s->nameless[i].id);

		if (s->nameless[i].is_named ||
		    !suspects_meet(s->f, s->nameless[i].key))
			continue;
		rc = rep_delete_many(s->f->rep, &id, 1, e);
		if (rc == 0)
			s->deleted++;
	}
	return rc;
}

/* A regeneration that was broken off; its note is the name that was to be. */
static int
on_renamed(struct sweep *s, const struct engine_record *r, struct err *e)
{
	struct str name = files_remote(s->f, r->info.id);
	int rc;

	if (r->note.len == 0)
		return 0;
	rc = files_settle_name(s->f, name, e);
	if (rc == 0)
		s->deleted++;
	return rc == ERR_NOT_FOUND || rc == ERR_RETRY ? 0 : rc;
}

/* Metadata whose file is gone: a delete was broken off. */
static int
on_meta(struct sweep *s, const struct engine_record *r, struct err *e)
{
	struct rep_change c = { .class = ENGINE_CLASS_META,
		.is_delete = true,
		.id = str_of(r->info.id),
		.base = r->info.file_version };
	struct engine_file_info info;
	struct rep_file *file = NULL;
	struct str of = c.id;
	int rc;

	if (!str_has_suffix(c.id, STR_LIT("-m")))
		return 0;
	of.len -= 2;
	rc = rep_file_open(s->f->rep, of, &file, e);
	if (rc == 0)
		rep_file_close(&file);
	if (rc != ERR_NOT_FOUND)
		return rc == ERR_RETRY ? 0 : rc;
	if (!suspects_meet(s->f, s->key))
		return 0;
	rc = rep_change(s->f->rep, &c, &info, e);
	if (rc == 0)
		s->deleted++;
	return rc == ERR_NOT_FOUND || rc == ERR_RETRY ? 0 : rc;
}

int
files_sweep(struct files *f, uint64_t *ret_n, struct err *e)
{
	struct sweep *s = mem_zalloc(sizeof(*s));
	struct err e2 = ERR_INIT;
	bool has_begun;
	int rc;

	OBJ_CHECK(f, FILES_MAGIC);
	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	s->f = f;
	list_init(&s->list);
	rc = suspects_begin(f, e);
	has_begun = rc == 0;
	if (rc == 0)
		rc = each(s, ENGINE_CLASS_SEGMENT, on_segment, e);
	if (rc == 0)
		rc = sweep_nameless(s, e);
	if (rc == 0)
		rc = each(s, ENGINE_CLASS_META, on_meta, e);
	if (rc == 0)
		rc = each(s, ENGINE_CLASS_LIST, on_renamed, e);
	/* What is not kept begins anew after a start. */
	if (has_begun && suspects_end(f, rc == 0 && !s->is_partial, &e2) < 0 &&
	    rc == 0)
		rc = err_set(e, e2.code, "%s", e2.msg);
	if (rc == 0)
		*ret_n = s->deleted;
	list_fini(&s->list);
	mem_free(&s->nameless);
	mem_free(&s);
	return rc;
}

/* --- the task --- */

static void
sweep_if_leader(struct files *f)
{
	struct err e = ERR_INIT;
	struct member_view v;
	char line[400] = "";
	uint64_t n = 0;
	int rc;

	members_get(f->members, &v);
	if (!v.is_leader)
		return;
	rc = files_sweep(f, &n, &e);
	if (rc < 0 && rc != ERR_CLOSED && rc != ERR_RETRY)
		snprintf(line, sizeof(line), "sweep of segments: %s", e.msg);
	else if (n > 0)
		snprintf(line, sizeof(line),
		    "sweep: %ju segments and metadata without a file deleted",
		    (uintmax_t)n);
	if (line[0] != '\0')
		f->env.ops->event(f->env.env, rc < 0 ? 1 : 2, line);
}

static void
task(void *arg)
{
	struct files *f = arg;
	struct files_drop *room = mem_alloc(DROP_BATCH * sizeof(*room));
	int64_t next = files_now_ms(f) + f->sweep_interval_ms;

	while (room != NULL && f->env.ops->sleep(f->env.env, TICK_MS)) {
		drop_due(f, room);
		if (files_now_ms(f) < next)
			continue;
		next = files_now_ms(f) + f->sweep_interval_ms;
		sweep_if_leader(f);
	}
	mem_free(&room);
	lock_take(&f->lock);
	f->tasks--;
	lock_drop(&f->lock);
}

int
files_tasks_start(struct files *f, struct err *e)
{
	int rc;

	f->tasks = 1;
	rc = f->env.ops->spawn(f->env.env, task, f, e);
	if (rc < 0)
		f->tasks = 0;
	return rc;
}
