/* gateway/blob/memory.c - blobs in memory, for tests of the layers above.
 *
 * Keeps blob.h's contracts: a blob is immutable, an open one keeps its bytes
 * after its delete, a deleted one is ERR_NOT_FOUND, a write ID names one blob.
 * The fault points of writing, reading and deleting are those of lib/fault.h
 * (FAULT_WRITE, FAULT_SYNC, FAULT_READ, FAULT_UNLINK), so that a test of the
 * layer above can make the n-th fail. One lock over all; threads: any. */
#include "gateway/blob/blob.h"

#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/lock.h"
#include "lib/mem.h"

#include <stdio.h>

struct item { /* a blob; counted: the tables, open files */
	struct item *next_id, *next_write;
	struct blob_info info;
	char *p;
	char *note;
	size_t note_len;
	unsigned refs;
};

struct memory {
	struct lock lock;
	unsigned handles;
	size_t n, n_slots; /* live items; slots are a power of two */
	struct item **by_id, **by_write;
	uint64_t bytes, counter;
	enum blob_memory_later later;
};

struct memory_put {
	struct memory *m;
	struct blob_owner owner;
	char group[17];
	char *note;
	char *p;
	size_t len, size;
};

struct memory_file {
	struct memory *m;
	struct item *item;
};

static int
check_fault(enum fault_kind kind, const char *what, struct err *e)
{
	int errnum = fault_check(kind);

	return errnum == 0 ? 0 : err_set_errno(e, errnum, "%s", what);
}

static size_t
hash(const void *p, size_t len)
{
	const unsigned char *c = p;
	uint64_t h = 0xcbf29ce484222325u;

	while (len-- > 0)
		h = (h ^ *c++) * 0x100000001b3u;
	return (size_t)(h ^ h >> 29);
}

static void
unref(struct item *it)
{
	if (--it->refs > 0)
		return;
	mem_free(&it->p);
	mem_free(&it->note);
	mem_free(&it);
}

static struct item **
find_id(struct memory *m, struct str id)
{
	struct item **p = &m->by_id[hash(id.p, id.len) & (m->n_slots - 1)];

	while (*p != NULL && !str_eqz(id, (*p)->info.id))
		p = &(*p)->next_id;
	return p;
}

static struct item **
find_write(struct memory *m, const struct id128 *w)
{
	struct item **p =
	    &m->by_write[hash(w->b, sizeof(w->b)) & (m->n_slots - 1)];

	while (*p != NULL && !id128_eq(&(*p)->info.write_id, w))
		p = &(*p)->next_write;
	return p;
}

static void
insert(struct memory *m, struct item *it)
{
	struct item **p = find_id(m, str_of(it->info.id));

	MUST(*p == NULL);
	it->next_id = NULL;
	*p = it;
	p = find_write(m, &it->info.write_id);
	MUST(*p == NULL);
	it->next_write = NULL;
	*p = it;
}

static void
grow(struct memory *m) /* staying small only makes it slower */
{
	size_t i, n = m->n_slots, want = n * 4;
	struct item **ids, **writes, **old = m->by_id;

	ids = mem_zalloc(want * sizeof(struct item *));
	writes = mem_zalloc(want * sizeof(struct item *));
	if (ids == NULL || writes == NULL) {
		mem_free(&ids);
		mem_free(&writes);
		return;
	}
	mem_free(&m->by_write);
	m->by_id = ids;
	m->by_write = writes;
	m->n_slots = want;
	for (i = 0; i < n; i++) {
		struct item *it = old[i];

		while (it != NULL) {
			struct item *next = it->next_id;

			insert(m, it);
			it = next;
		}
	}
	mem_free(&old);
}

static void
memory_close(void *impl)
{
	struct memory *m = impl;
	unsigned left;
	size_t i;

	lock_take(&m->lock);
	left = --m->handles;
	lock_drop(&m->lock);
	if (left > 0)
		return;
	for (i = 0; i < m->n_slots; i++) {
		struct item *it = m->by_id[i];

		while (it != NULL) {
			struct item *next = it->next_id;

			MUST(it->refs == 1); /* no open file outlives it */
			unref(it);
			it = next;
		}
	}
	mem_free(&m->by_id);
	mem_free(&m->by_write);
	lock_fini(&m->lock);
	mem_free(&m);
}

static void
free_put(struct memory_put *u)
{
	mem_free(&u->p);
	mem_free(&u->note);
	mem_free(&u);
}

static int
memory_put_begin(void *impl, struct str group, const struct blob_owner *owner,
    uint64_t size_hint, void **ret, struct err *e)
{
	struct memory_put *u;

	(void)size_hint;
	if (group.len >= sizeof(u->group))
		return err_set(e, ERR_INVALID, "group name too long");
	u = mem_zalloc(sizeof(*u));
	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	u->m = impl;
	u->owner = *owner;
	u->note = mem_alloc(owner->note.len + 1);
	if (u->note == NULL) {
		free_put(u);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	if (owner->note.len > 0)
		memcpy(u->note, owner->note.p, owner->note.len);
	u->owner.note.p = u->note;
	if (group.len > 0)
		memcpy(u->group, group.p, group.len);
	*ret = u;
	return 0;
}

static int
memory_put_write(void *put, const void *p, size_t len, struct err *e)
{
	struct memory_put *u = put;
	int rc = check_fault(FAULT_WRITE, "write a blob", e);

	if (rc < 0)
		return rc;
	if (len > u->size - u->len) {
		size_t size = u->size < 4096 ? 4096 : u->size;
		char *q;

		while (size - u->len < len)
			size *= 2;
		q = mem_realloc(u->p, size);
		if (q == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
		u->p = q;
		u->size = size;
	}
	if (len > 0)
		memcpy(u->p + u->len, p, len);
	u->len += len;
	return 0;
}

static struct item *
make_item(struct memory_put *u) /* takes its bytes over */
{
	struct item *it = mem_zalloc(sizeof(*it));
	struct memory *m = u->m;

	if (it == NULL)
		return NULL;
	it->refs = 1;
	it->p = u->p;
	it->note = u->note;
	it->note_len = u->owner.note.len;
	u->p = NULL;
	u->note = NULL;
	it->info.size = u->len;
	it->info.class = u->owner.class;
	it->info.created_s = clock_real_s();
	it->info.index_id = u->owner.index_id;
	it->info.write_id = u->owner.write_id;
	snprintf(it->info.id, sizeof(it->info.id), "%s/M00/00/00/%027llu",
	    u->group[0] == '\0' ? "group1" : u->group,
	    (unsigned long long)++m->counter);
	return it;
}

static int
memory_put_commit(void *put, struct blob_info *ret, struct err *e)
{
	struct memory_put *u = put;
	struct memory *m = u->m;
	struct item *it;
	int rc = check_fault(FAULT_SYNC, "sync a blob", e);

	if (rc < 0) {
		free_put(u);
		return rc;
	}
	lock_take(&m->lock);
	it = *find_write(m, &u->owner.write_id);
	if (it == NULL) {
		it = make_item(u);
		if (it != NULL) {
			if (++m->n > m->n_slots)
				grow(m);
			m->bytes += it->info.size;
			insert(m, it);
		}
	}
	if (it != NULL)
		*ret = it->info;
	else
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	lock_drop(&m->lock);
	free_put(u);
	return rc;
}

static void
memory_put_abort(void *put)
{
	free_put(put);
}

static int
memory_put_whole(void *impl, struct str group, const struct blob_owner *owner,
    struct str body, struct blob_info *ret, struct err *e)
{
	void *put;
	int rc = memory_put_begin(impl, group, owner, body.len, &put, e);

	if (rc < 0)
		return rc;
	rc = memory_put_write(put, body.p, body.len, e);
	if (rc < 0) {
		memory_put_abort(put);
		return rc;
	}
	return memory_put_commit(put, ret, e);
}

static int
memory_open(void *impl, struct str id, void **ret, uint64_t *ret_size,
    struct err *e)
{
	struct memory *m = impl;
	struct memory_file *f;
	struct item *it;
	int rc = check_fault(FAULT_OPEN, "open a blob", e);

	if (rc < 0)
		return rc;
	f = mem_zalloc(sizeof(*f));
	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_take(&m->lock);
	it = *find_id(m, id);
	if (it != NULL)
		it->refs++;
	lock_drop(&m->lock);
	if (it == NULL) {
		mem_free(&f);
		return err_set(e, ERR_NOT_FOUND, "no blob " STR_FMT,
		    STR_ARG(id));
	}
	f->m = m;
	f->item = it;
	*ret = f;
	*ret_size = it->info.size;
	return 0;
}

static int
memory_read(void *file, uint64_t off, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	const struct item *it = ((struct memory_file *)file)->item;
	int rc = check_fault(FAULT_READ, "read a blob", e);

	if (rc < 0)
		return rc;
	if (off > it->info.size)
		off = it->info.size;
	if (len > it->info.size - off)
		len = (size_t)(it->info.size - off);
	if (len > 0)
		memcpy(p, it->p + off, len);
	*ret_len = len;
	return 0;
}

static int
memory_note(void *file, struct buf *ret, struct err *e)
{
	const struct item *it = ((struct memory_file *)file)->item;
	int rc = buf_add(ret, it->note, it->note_len);

	return rc < 0 ? err_set(e, rc, NULL) : 0;
}

static void
memory_file_close(void *file)
{
	struct memory_file *f = file;

	lock_take(&f->m->lock);
	unref(f->item);
	lock_drop(&f->m->lock);
	mem_free(&f);
}

static int
memory_read_once(void *impl, struct str id, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	uint64_t size;
	void *f;
	int rc = memory_open(impl, id, &f, &size, e);

	if (rc < 0)
		return rc;
	rc = memory_read(f, off, p, len, ret_len, e);
	memory_file_close(f);
	return rc;
}

static bool
memory_read_later(void *impl, struct str id, uint64_t off, void *p, size_t len,
    struct blob_later *l)
{
	struct memory *m = impl;
	struct err e = ERR_INIT;
	size_t got = 0;
	int rc = ERR_DISCONNECTED;

	if (m->later == BLOB_MEMORY_REFUSES)
		return false;
	if (m->later == BLOB_MEMORY_READS)
		rc = memory_read_once(impl, id, off, p, len, &got, &e);
	else
		memset(p, 'x', len); /* never to be seen */
	l->fn(l->arg, rc);
	return true;
}

static int
memory_delete_many(void *impl, const struct str *ids, size_t n, struct err *e)
{
	struct memory *m = impl;
	size_t i;
	int rc;

	for (i = 0; i < n; i++) {
		struct item *it, **p;

		rc = check_fault(FAULT_UNLINK, "delete a blob", e);
		if (rc < 0)
			return rc;
		lock_take(&m->lock);
		p = find_id(m, ids[i]);
		it = *p;
		if (it != NULL) {
			*p = it->next_id;
			p = find_write(m, &it->info.write_id);
			MUST(*p == it);
			*p = it->next_write;
			m->n--;
			m->bytes -= it->info.size;
			unref(it);
		}
		lock_drop(&m->lock);
	}
	return 0;
}

static int
memory_find_write(void *impl, const struct id128 *write_id,
    struct blob_info *ret, struct err *e)
{
	struct memory *m = impl;
	const struct item *it;

	lock_take(&m->lock);
	it = *find_write(m, write_id);
	if (it != NULL)
		*ret = it->info;
	lock_drop(&m->lock);
	return it != NULL ? 0 : err_set(e, ERR_NOT_FOUND, "no such write");
}

static int
memory_each(void *impl, uint8_t class,
    int (*fn)(void *arg, const struct blob_info *i), void *arg, struct err *e)
{
	struct memory *m = impl;
	struct blob_info *all;
	size_t i, n = 0;
	int rc = 0;

	lock_take(&m->lock);
	all = mem_alloc((m->n + 1) * sizeof(*all));
	for (i = 0; all != NULL && i < m->n_slots; i++) {
		const struct item *it;

		for (it = m->by_id[i]; it != NULL; it = it->next_id)
			if (class == 0 || it->info.class == class)
				all[n++] = it->info;
	}
	lock_drop(&m->lock);
	if (all == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (i = 0; i < n && rc == 0; i++)
		rc = fn(arg, &all[i]);
	mem_free(&all);
	return rc;
}

static size_t
memory_n_stats(void *impl)
{
	(void)impl;
	return 1;
}

static void
memory_get_stat(void *impl, size_t i, struct blob_stat *ret)
{
	struct memory *m = impl;

	MUST(i == 0);
	*ret = (struct blob_stat){ .name = "memory" };
	lock_take(&m->lock);
	ret->files = m->n;
	ret->bytes = m->bytes;
	lock_drop(&m->lock);
}

static bool
memory_can_write(void *impl)
{
	(void)impl;
	return true;
}

static int
memory_nothing_to_do(void *impl, struct err *e)
{
	(void)impl;
	(void)e;
	return 0;
}

static const struct blob_ops memory_ops = {
	.close = memory_close,
	.put_begin = memory_put_begin,
	.put_write = memory_put_write,
	.put_commit = memory_put_commit,
	.put_abort = memory_put_abort,
	.put_whole = memory_put_whole,
	.open = memory_open,
	.read = memory_read,
	.note = memory_note,
	.file_close = memory_file_close,
	.read_once = memory_read_once,
	.read_later = memory_read_later,
	.delete_many = memory_delete_many,
	.find_write = memory_find_write,
	.each = memory_each,
	.n_stats = memory_n_stats,
	.get_stat = memory_get_stat,
	.can_write = memory_can_write,
	.scrub_now = memory_nothing_to_do,
	.compact_now = memory_nothing_to_do,
};

void
blob_memory_later(struct blob *b, enum blob_memory_later what)
{
	struct memory *m = blob_impl(b, &memory_ops);

	MUST(m != NULL);
	m->later = what;
}

int
blob_memory_new(struct blob **ret, struct err *e)
{
	struct memory *m = mem_zalloc(sizeof(*m));
	struct blob *b;

	if (m == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_init(&m->lock, LOCK_RANK_BLOB);
	m->handles = 1;
	m->n_slots = 64;
	m->by_id = mem_zalloc(m->n_slots * sizeof(struct item *));
	m->by_write = mem_zalloc(m->n_slots * sizeof(struct item *));
	b = m->by_id == NULL || m->by_write == NULL ? NULL
	                                            : blob_new(&memory_ops, m);
	if (b == NULL) {
		if (m->by_id == NULL || m->by_write == NULL)
			m->n_slots = 0;
		memory_close(m);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	*ret = b;
	return 0;
}

int
blob_memory_again(struct blob *b, struct blob **ret, struct err *e)
{
	struct memory *m = blob_impl(b, &memory_ops);
	struct blob *again;

	MUST(m != NULL);
	again = blob_new(&memory_ops, m);
	if (again == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_take(&m->lock);
	m->handles++;
	lock_drop(&m->lock);
	*ret = again;
	return 0;
}
