/* gateway/blob/cluster_ahead.c - reading ahead, and beside: a few threads, started
 * when first needed, and a bounded amount of memory (C5). Who finds no room reads
 * without. */
#include "gateway/blob/cluster_int.h"

#include "lib/mem.h"

#define THREADS 16
#define ROOM (64u << 20)

struct piece {
	struct ahead *a;
	struct piece *next; /* waiting for a thread */
	char id[BLOB_ID_MAX];
	const struct node *beside; /* cluster_read_beside(); or NULL */
	uint64_t off;
	size_t len, got;
	bool is_begun, is_done, is_dropped; /* under the lock */
	int rc;
	struct err err;
	char bytes[];
};

struct ahead {
	struct cluster *c;
	struct lock lock; /* LEAF: all of it */
	struct cond work, done;
	struct piece *first, **last;
	size_t room;
	unsigned n_threads, n_idle;
	bool stop;
	pthread_t threads[THREADS];
};

int
ahead_new(struct cluster *c, struct ahead **ret, struct err *e)
{
	struct ahead *a = mem_zalloc(sizeof(*a));

	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	a->c = c;
	a->last = &a->first;
	a->room = ROOM;
	lock_init(&a->lock, LOCK_RANK_LEAF);
	cond_init(&a->work);
	cond_init(&a->done);
	*ret = a;
	return 0;
}

/* With the lock held. */
static void
piece_free(struct piece *p)
{
	p->a->room += p->len;
	mem_free(&p);
}

static void
run(struct piece *p)
{
	if (p->beside != NULL)
		p->rc = cluster_read_beside(p->a->c, str_of(p->id), p->off,
		    p->bytes, p->len, &p->got, p->beside, &p->err);
	else
		p->rc = cluster_read_once(p->a->c, str_of(p->id), p->off,
		    p->bytes, p->len, &p->got, &p->err);
}

static void *
worker(void *arg)
{
	struct ahead *a = arg;
	struct piece *p;

	lock_take(&a->lock);
	for (;;) {
		while (a->first == NULL && !a->stop) {
			a->n_idle++;
			cond_wait(&a->work, &a->lock);
			a->n_idle--;
		}
		if (a->stop)
			break;
		p = a->first;
		a->first = p->next;
		if (a->first == NULL)
			a->last = &a->first;
		p->is_begun = true;
		if (!p->is_dropped) {
			lock_drop(&a->lock);
			run(p);
			lock_take(&a->lock);
		}
		p->is_done = true;
		if (p->is_dropped)
			piece_free(p);
		else
			cond_broadcast(&a->done);
	}
	lock_drop(&a->lock);
	return NULL;
}

struct piece *
ahead_begin(struct ahead *a, struct str id, uint64_t off, size_t len,
    const struct node *beside)
{
	struct piece *p = mem_alloc(sizeof(*p) + len);
	bool ok;

	if (p == NULL)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->a = a;
	p->beside = beside;
	p->off = off;
	p->len = len;
	memcpy(p->id, id.p, id.len);
	lock_take(&a->lock);
	if (a->n_idle == 0 && a->n_threads < THREADS &&
	    thread_start(&a->threads[a->n_threads], "blob-ahead", worker, a,
		NULL) == 0)
		a->n_threads++;
	ok = a->n_threads > 0 && a->room >= len;
	if (ok) {
		a->room -= len;
		*a->last = p;
		a->last = &p->next;
		cond_signal(&a->work);
	}
	lock_drop(&a->lock);
	if (!ok)
		mem_free(&p);
	return p;
}

bool
ahead_has(struct piece *p)
{
	bool yes;

	lock_take(&p->a->lock);
	yes = p->is_done && p->rc == 0;
	lock_drop(&p->a->lock);
	return yes;
}

bool
ahead_is_begun(struct piece *p)
{
	bool yes;

	lock_take(&p->a->lock);
	yes = p->is_begun;
	lock_drop(&p->a->lock);
	return yes;
}

int
ahead_wait(struct piece *p, struct str *ret, struct err *e)
{
	lock_take(&p->a->lock);
	while (!p->is_done)
		cond_wait(&p->a->done, &p->a->lock);
	lock_drop(&p->a->lock);
	if (p->rc < 0) {
		if (e != NULL)
			*e = p->err;
		return p->rc;
	}
	*ret = str_mem(p->bytes, p->got);
	return 0;
}

void
ahead_drop(struct piece **pp)
{
	struct piece *p = *pp;
	struct ahead *a;

	if (p == NULL)
		return;
	*pp = NULL;
	a = p->a;
	lock_take(&a->lock);
	if (p->is_done)
		piece_free(p);
	else
		p->is_dropped = true; /* its thread frees it */
	lock_drop(&a->lock);
}

void
ahead_free(struct ahead **ap)
{
	struct ahead *a = *ap;
	struct piece *p;

	if (a == NULL)
		return;
	*ap = NULL;
	lock_take(&a->lock);
	a->stop = true;
	cond_broadcast(&a->work);
	lock_drop(&a->lock);
	for (unsigned i = 0; i < a->n_threads; i++)
		thread_join(a->threads[i]);
	while ((p = a->first) != NULL) {
		MUST(p->is_dropped); /* no open file outlives the backend */
		a->first = p->next;
		mem_free(&p);
	}
	cond_fini(&a->work);
	cond_fini(&a->done);
	lock_fini(&a->lock);
	mem_free(&a);
}
