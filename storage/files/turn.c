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

int
files_turn_take(struct files *f, struct str name, struct files_turn **ret,
    struct err *e)
{
	struct files_turn *fresh = turn_new(name), *t;
	struct files_waiter w = { 0 }, **at;
	int64_t limit = files_now_ms(f) + TURN_MS;

	if (fresh == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_take(&f->lock);
	t = find(f, name);
	if (t == NULL) {
		fresh->next = f->turns;
		f->turns = fresh;
		lock_drop(&f->lock);
		*ret = fresh;
		return 0;
	}
	cond_init(&w.cond);
	*t->last = &w;
	t->last = &w.next;
	while (!w.granted && !f->stopped && files_now_ms(f) < limit)
		cond_wait_ms(&w.cond, &f->lock, 100);
	if (!w.granted) {
		for (at = &t->first; *at != &w; at = &(*at)->next)
			continue;
		*at = w.next;
		if (t->last == &w.next)
			t->last = at;
	}
	lock_drop(&f->lock);
	cond_fini(&w.cond);
	mem_free(&fresh);
	if (!w.granted)
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
		cond_signal(&w->cond);
		t = NULL;
	} else {
		for (at = &f->turns; *at != t; at = &(*at)->next)
			continue;
		*at = t->next;
	}
	lock_drop(&f->lock);
	mem_free(&t);
}
