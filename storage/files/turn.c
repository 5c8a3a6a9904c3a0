/* storage/files/turn.c - one change of a name at a time.
 *
 * Versions alone would keep changes apart, but then many appends to one file
 * would do each other's work again and again. Waiters are served in order. */
#include "storage/files/files_int.h"

#include "lib/mem.h"

#define TURN_MS 30000

static struct files_turn *
find(struct files *f, struct str name)
{
	struct files_turn *t = f->turns;

	while (t != NULL && !str_eqz(name, t->name))
		t = t->next;
	return t;
}

static struct files_turn *
turn_new(struct str name)
{
	struct files_turn *t = mem_zalloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	memcpy(t->name, name.p, name.len);
	t->last = &t->first;
	return t;
}

static struct files_waiter *
waiter_new(struct files *f)
{
	struct files_waiter *w = mem_zalloc(sizeof(*w));

	if (w == NULL)
		return NULL;
	w->refs = 1;
	w->gate = f->env.ops->gate_new(f->env.env);
	if (w->gate == NULL)
		mem_free(&w);
	return w;
}

static void
waiter_unref(struct files *f, struct files_waiter *w)
{
	bool is_last;

	lock_take(&f->lock);
	is_last = --w->refs == 0;
	lock_drop(&f->lock);
	if (!is_last)
		return;
	f->env.ops->gate_free(f->env.env, w->gate);
	mem_free(&w);
}

/* True: it is ours, the turn being @fresh; else @w, if there is one, stands in the
 * line of *ret. */
static bool
take_or_queue(struct files *f, struct files_turn *fresh, struct files_waiter *w,
    struct files_turn **ret)
{
	struct files_turn *t;

	lock_take(&f->lock);
	t = find(f, str_of(fresh->name));
	if (t == NULL) {
		fresh->next = f->turns;
		f->turns = fresh;
	} else if (w != NULL) {
		*t->last = w;
		t->last = &w->next;
	}
	lock_drop(&f->lock);
	*ret = t == NULL ? fresh : t;
	return t == NULL;
}

/* False: it does not come. */
static bool
wait_in_line(struct files *f, struct files_turn *t, struct files_waiter *w)
{
	struct files_waiter **at;
	bool granted;

	(void)f->env.ops->gate_wait(f->env.env, w->gate, TURN_MS);
	lock_take(&f->lock);
	granted = w->granted;
	if (!granted) {
		for (at = &t->first; *at != w; at = &(*at)->next)
			continue;
		*at = w->next;
		if (t->last == &w->next)
			t->last = at;
	}
	lock_drop(&f->lock);
	return granted;
}

int
files_turn_take(struct files *f, struct str name, struct files_turn **ret,
    struct err *e)
{
	struct files_turn *fresh = turn_new(name), *t;
	struct files_waiter *w;
	bool is_ours;

	if (fresh == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (take_or_queue(f, fresh, NULL, ret))
		return 0;
	w = waiter_new(f);
	if (w == NULL) {
		mem_free(&fresh);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	is_ours = take_or_queue(f, fresh, w, &t);
	if (!is_ours) {
		mem_free(&fresh);
		is_ours = wait_in_line(f, t, w);
	}
	waiter_unref(f, w);
	if (!is_ours)
		return err_set(e, ERR_RETRY, "too many changes of one file");
	*ret = t;
	return 0;
}

void
files_turn_give(struct files *f, struct files_turn **tp)
{
	struct files_turn *t = *tp, **at;
	struct files_waiter *w;

	*tp = NULL;
	lock_take(&f->lock);
	w = t->first;
	if (w != NULL) {
		t->first = w->next;
		if (t->last == &w->next)
			t->last = &t->first;
		w->granted = true;
		w->refs++;
		t = NULL;
	} else {
		for (at = &f->turns; *at != t; at = &(*at)->next)
			continue;
		*at = t->next;
	}
	lock_drop(&f->lock);
	if (w != NULL) {
		f->env.ops->gate_signal(f->env.env, w->gate);
		waiter_unref(f, w);
	}
	mem_free(&t);
}
