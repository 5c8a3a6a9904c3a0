/* gateway/index/table.c - the ordered table in memory (gateway/index/table.h).
 *
 * The skip list is Pugh's (1990), written as one writer and many readers allow:
 * a node is complete before a release store links it, lowest level first. The
 * nodes hang in a hash table as well, in the same manner: most look-ups are of
 * keys that are not there. */
#include "gateway/index/table.h"

#include "lib/fault.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define TABLE_MAGIC 0x7461626c
#define MAX_HEIGHT 12           /* a quarter of the nodes rises: 4^12 keys */
#define FIRST_CHUNK (64u << 10) /* an idle table is small */
#define CHUNK (1u << 20)
#define SLOTS 65536 /* of the hash table: pages untouched cost nothing */

struct version {
	struct version *older;
	uint64_t seq;
	uint32_t len;
	bool is_delete;
	char raw[];
};

struct table_node {
	_Atomic(struct version *) newest; /* NULL: all retracted */
	struct table_node *chain;         /* of the same slot */
	uint32_t hash;
	uint16_t key_len;
	uint8_t height;
	_Atomic(struct table_node *) next[]; /* height of them, then the key */
};

#define SLOTS_BYTES (SLOTS * sizeof(_Atomic(struct table_node *)))

struct chunk {
	struct chunk *next;
	size_t size;
};

struct table {
	unsigned magic;
	_Atomic unsigned refs;
	_Atomic size_t bytes, keys;
	struct chunk *chunks;
	char *free;  /* in the newest chunk */
	size_t left; /* bytes there */
	uint64_t rand;
	_Atomic int height;
	struct table_node *head;
	_Atomic(struct table_node *) *slots;
};

static struct chunk *
chunk_new(size_t size)
{
	struct chunk *c;

	if (fault_check(FAULT_ALLOC) != 0)
		return NULL;
	/* Not malloc: with it a freed table would stay with the process. */
	c = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		return NULL;
	c->size = size;
	return c;
}

static void *
alloc(struct table *t, size_t size)
{
	struct chunk *c;
	size_t want;
	void *p;

	size = (size + 7) & ~(size_t)7;
	if (size > t->left) {
		want = t->chunks == NULL ? FIRST_CHUNK : CHUNK;
		if (size > want / 4) {
			/* On its own; the chunk in use stays so. */
			want = (size + sizeof(*c) + 4095) & ~(size_t)4095;
			c = chunk_new(want);
			if (c == NULL)
				return NULL;
			if (t->chunks == NULL) {
				c->next = NULL;
				t->chunks = c;
			} else {
				c->next = t->chunks->next;
				t->chunks->next = c;
			}
			atomic_fetch_add_explicit(&t->bytes, want,
			    memory_order_relaxed);
			return c + 1;
		}
		c = chunk_new(want);
		if (c == NULL)
			return NULL;
		c->next = t->chunks;
		t->chunks = c;
		t->free = (char *)(c + 1);
		t->left = want - sizeof(*c);
	}
	p = t->free;
	t->free += size;
	t->left -= size;
	atomic_fetch_add_explicit(&t->bytes, size, memory_order_relaxed);
	return p;
}

static size_t
node_size(int height)
{
	return offsetof(struct table_node, next) +
	       (size_t)height * sizeof(_Atomic(struct table_node *));
}

static struct str
node_key(const struct table_node *n)
{
	return (
	    struct str){ (const char *)n + node_size(n->height), n->key_len };
}

static struct table_node *
node_new(struct table *t, struct str key, int height)
{
	struct table_node *n;

	n = alloc(t,
	    sizeof(*n) + (size_t)height * sizeof(n->next[0]) + key.len);
	if (n == NULL)
		return NULL;
	atomic_init(&n->newest, NULL);
	n->key_len = (uint16_t)key.len;
	n->height = (uint8_t)height;
	for (int i = 0; i < height; i++)
		atomic_init(&n->next[i], NULL);
	if (key.len > 0)
		memcpy((char *)n + node_size(height), key.p, key.len);
	return n;
}

struct table *
table_new(void)
{
	struct table *t = mem_zalloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	t->magic = TABLE_MAGIC;
	atomic_init(&t->refs, 1);
	atomic_init(&t->height, 1);
	t->rand = 0x9e3779b97f4a7c15;
	t->slots = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->slots == MAP_FAILED) {
		mem_free(&t);
		return NULL;
	}
	t->head = node_new(t, STR_NULL, MAX_HEIGHT);
	if (t->head == NULL) {
		munmap(t->slots, SLOTS_BYTES);
		mem_free(&t);
	}
	return t;
}

void
table_ref(struct table *t)
{
	OBJ_CHECK(t, TABLE_MAGIC);
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void
table_unref(struct table **tp)
{
	struct table *t = *tp;
	struct chunk *c, *next;

	*tp = NULL;
	if (t == NULL)
		return;
	OBJ_CHECK(t, TABLE_MAGIC);
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (c = t->chunks; c != NULL; c = next) {
		next = c->next;
		munmap(c, c->size);
	}
	munmap(t->slots, SLOTS_BYTES);
	t->magic = 0;
	mem_free(&t);
}

size_t
table_bytes(const struct table *t)
{
	return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

size_t
table_keys(const struct table *t)
{
	return atomic_load_explicit(&t->keys, memory_order_relaxed);
}

static struct table_node *
next_of(const struct table_node *n, int level)
{
	/* C11's atomic_load wants no const before C17's TC; the cast is so. */
	return atomic_load_explicit((_Atomic(struct table_node *)
					    *)(uintptr_t)&n->next[level],
	    memory_order_acquire);
}

/* First node with a key >= @key; what points to it at each level, too. */
static struct table_node *
find(const struct table *t, struct str key, struct table_node **prev)
{
	struct table_node *n = t->head, *next, *beyond = NULL;
	int level = atomic_load_explicit(&t->height, memory_order_relaxed) - 1;

	if (prev != NULL) {
		for (int i = level + 1; i < MAX_HEIGHT; i++)
			prev[i] = t->head;
	}
	for (;;) {
		next = next_of(n, level);
		/* What was >= the key one level up needs no second look. */
		if (next != NULL && next != beyond &&
		    str_cmp(node_key(next), key) < 0) {
			n = next;
			continue;
		}
		if (prev != NULL)
			prev[level] = n;
		if (level == 0)
			return next;
		beyond = next;
		level--;
	}
}

/* The node of exactly this key, NULL: none. */
static struct table_node *
look_up(const struct table *t, struct str key, uint32_t hash)
{
	struct table_node *n =
	    atomic_load_explicit(&t->slots[hash % SLOTS], memory_order_acquire);

	while (n != NULL && (n->hash != hash || !str_eq(node_key(n), key)))
		n = n->chain;
	return n;
}

static uint32_t
hash_of(struct str key)
{
	return (uint32_t)hash_xxh3(0, key.p, key.len);
}

static int
random_height(struct table *t)
{
	int height = 1;
	uint64_t r;

	t->rand ^= t->rand << 13; /* xorshift64, Marsaglia (2003) */
	t->rand ^= t->rand >> 7;
	t->rand ^= t->rand << 17;
	for (r = t->rand; (r & 3) == 0 && height < MAX_HEIGHT; r >>= 2)
		height++;
	return height;
}

int
table_put(struct table *t, struct str key, struct str raw, uint64_t seq,
    struct err *e)
{
	struct table_node *prev[MAX_HEIGHT], *n;
	struct version *v, *older;
	uint32_t hash = hash_of(key);
	int height;

	OBJ_CHECK(t, TABLE_MAGIC);
	MUST(key.len > 0 && key.len <= UINT16_MAX && raw.len <= UINT32_MAX);
	v = alloc(t, sizeof(*v) + raw.len);
	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, "index table");
	v->seq = seq;
	v->len = (uint32_t)raw.len;
	v->is_delete = raw.p == NULL;
	if (raw.len > 0)
		memcpy(v->raw, raw.p, raw.len);

	n = look_up(t, key, hash);
	if (n != NULL) {
		older = atomic_load_explicit(&n->newest, memory_order_relaxed);
		MUST(older == NULL || older->seq <= seq); /* T2 */
		v->older = older;
		atomic_store_explicit(&n->newest, v, memory_order_release);
		return 0;
	}
	height = random_height(t);
	n = node_new(t, key, height);
	if (n == NULL)
		return err_set(e, ERR_NO_MEMORY, "index table");
	v->older = NULL;
	atomic_store_explicit(&n->newest, v, memory_order_relaxed);
	n->hash = hash;
	n->chain =
	    atomic_load_explicit(&t->slots[hash % SLOTS], memory_order_relaxed);
	find(t, key, prev);
	for (int i = 0; i < height; i++) {
		atomic_store_explicit(&n->next[i],
		    atomic_load_explicit(&prev[i]->next[i],
			memory_order_relaxed),
		    memory_order_relaxed);
		atomic_store_explicit(&prev[i]->next[i], n,
		    memory_order_release);
	}
	atomic_store_explicit(&t->slots[hash % SLOTS], n, memory_order_release);
	if (height > atomic_load_explicit(&t->height, memory_order_relaxed))
		atomic_store_explicit(&t->height, height, memory_order_relaxed);
	atomic_fetch_add_explicit(&t->keys, 1, memory_order_relaxed);
	return 0;
}

void
table_retract(struct table *t, struct str key, uint64_t seq)
{
	struct table_node *n;
	struct version *v;

	OBJ_CHECK(t, TABLE_MAGIC);
	n = look_up(t, key, hash_of(key));
	if (n == NULL)
		return;
	v = atomic_load_explicit(&n->newest, memory_order_relaxed);
	while (v != NULL && v->seq >= seq)
		v = v->older;
	atomic_store_explicit(&n->newest, v, memory_order_release);
}

static const struct version *
visible(const struct table_node *n, uint64_t seq)
{
	const struct version *v =
	    atomic_load_explicit((_Atomic(struct version *) *)(uintptr_t)&n
				     ->newest,
		memory_order_acquire);

	while (v != NULL && v->seq > seq)
		v = v->older;
	return v;
}

static struct str
version_raw(const struct version *v)
{
	return v->is_delete ? STR_NULL : (struct str){ v->raw, v->len };
}

bool
table_get(const struct table *t, struct str key, uint64_t seq,
    struct str *ret_raw)
{
	const struct table_node *n;
	const struct version *v;

	OBJ_CHECK(t, TABLE_MAGIC);
	if (table_is_empty(t))
		return false;
	n = look_up(t, key, hash_of(key));
	if (n == NULL)
		return false;
	v = visible(n, seq);
	if (v == NULL)
		return false;
	*ret_raw = version_raw(v);
	return true;
}

/* Stands on @n or the first after it that has a visible version. */
static void
settle(struct table_iter *it, const struct table_node *n)
{
	const struct version *v = NULL;

	while (n != NULL && (v = visible(n, it->seq)) == NULL)
		n = next_of(n, 0);
	it->node = n;
	if (n != NULL) {
		it->key = node_key(n);
		it->raw = version_raw(v);
	}
}

void
table_seek(struct table_iter *it, const struct table *t, struct str from,
    uint64_t seq)
{
	OBJ_CHECK(t, TABLE_MAGIC);
	it->seq = seq;
	settle(it, find(t, from, NULL));
}

void
table_next(struct table_iter *it)
{
	MUST(it->node != NULL);
	settle(it, next_of(it->node, 0));
}
