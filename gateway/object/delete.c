/* gateway/object/delete.c - deleting objects, one or many.
 *
 * Many are done in transactions of 250 names: the function that runs on the
 * committer's thread stays short, and each item has its own result. */
#include "gateway/object/store.h"

#include "lib/mem.h"

#define BATCH 250

struct delete_batch {
	const struct bucket *b;
	struct delete_item *items;
	size_t n;
};

/* Result of one item; only what stops all is negative. */
static int
examine(struct txn *t, const struct bucket *b, struct delete_item *it,
    struct old *old, struct refs *refs, struct err *e)
{
	int rc;

	old->is_found = false;
	it->err = ERR_INIT;
	if (check_object_key(it->key, &it->err) < 0)
		return 0;
	if (it->version.len > 0 && !str_eqz(it->version, "null")) {
		err_set(&it->err, ERR_NO_SUCH_VERSION, NULL);
		return 0;
	}
	rc =
	    txn_old(t, b->incarnation, it->key, it->if_match.p != NULL, old, e);
	if (rc < 0)
		return rc;
	if (txn_check_if_match(t, old, it->if_match, &it->err) < 0) {
		old->is_found = false;
		return 0;
	}
	return txn_old_release(t, old, refs, e);
}

static bool
is_repeated(const struct delete_item *items, size_t i)
{
	size_t j;

	for (j = 0; j < i; j++)
		if (items[j].err.code == 0 &&
		    str_eq(items[j].key, items[i].key))
			return true;
	return false;
}

static int
delete_fn(struct txn *t, void *arg, struct err *e)
{
	const struct delete_batch *c = arg;
	struct refs refs = { 0 };
	struct counters n;
	struct old *old;
	bool any = false;
	size_t i;
	int rc;

	old = arena_alloc(t->a, c->n * sizeof(*old));
	if (old == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	rc = txn_bucket(t, c->b, e);
	if (rc == 0)
		rc = txn_counters(t, c->b->incarnation, &n, e);
	for (i = 0; i < c->n && rc == 0; i++) {
		if (is_repeated(c->items, i)) {
			/* gone by the item before it */
			old[i].is_found = false;
			c->items[i].err = ERR_INIT;
			(void)txn_check_if_match(t, &old[i],
			    c->items[i].if_match, &c->items[i].err);
			continue;
		}
		rc = examine(t, c->b, &c->items[i], &old[i], &refs, e);
		if (rc < 0 || !old[i].is_found)
			continue;
		any = true;
		n.objects--;
		n.bytes -= old[i].o.size;
	}
	if (rc == 0)
		rc = refs_read(t, &refs, e);
	if (rc < 0 || !any)
		return rc;
	for (i = 0; i < c->n && rc == 0; i++)
		rc = txn_old_bury(t, &old[i], e);
	if (rc == 0)
		rc = refs_write(t, &refs, e);
	return rc < 0 ? rc : txn_put_counters(t, c->b->incarnation, &n, e);
}

int
object_delete_many(struct store *s, const struct bucket *b,
    struct delete_item *items, size_t n, struct err *e)
{
	size_t i;

	OBJ_CHECK(s, STORE_MAGIC);
	for (i = 0; i < n; i += BATCH) {
		struct delete_batch c = { b, items + i,
			n - i < BATCH ? n - i : BATCH };
		int rc = store_update_freeing(s, delete_fn, &c, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int
object_delete(struct store *s, const struct bucket *b, struct str key,
    struct str version, struct str if_match, struct err *e)
{
	struct delete_item it = { .key = key,
		.version = version,
		.if_match = if_match };
	int rc = object_delete_many(s, b, &it, 1, e);

	if (rc == 0 && it.err.code != 0) {
		rc = it.err.code;
		if (e != NULL)
			*e = it.err;
	}
	return rc;
}
