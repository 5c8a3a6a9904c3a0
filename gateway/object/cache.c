/* gateway/object/cache.c - see cache.h. Direct-mapped; a lock per 64 slots or
 * less, held for one copy of a record. */
#include "gateway/object/cache.h"

#include "lib/err.h"
#include "lib/lock.h"
#include "lib/mem.h"

#include <stdatomic.h>

#define LOCKS 16

struct slot {
	uint64_t generation; /* 0 = empty */
	size_t name_len;
	char name[CACHE_NAME_MAX];
	char record[];
};

struct cache {
	_Atomic uint64_t generation;
	size_t slots, record, slot_size;
	struct lock locks[LOCKS];
	char *mem;
};

struct cache *
cache_new(size_t slots, size_t record)
{
	struct cache *c = mem_zalloc(sizeof(*c));
	int i;

	if (c == NULL)
		return NULL;
	c->generation = 1;
	c->slots = slots;
	c->record = record;
	c->slot_size = (sizeof(struct slot) + record + 15) / 16 * 16;
	c->mem = mem_zalloc(slots * c->slot_size);
	if (c->mem == NULL) {
		mem_free(&c);
		return NULL;
	}
	for (i = 0; i < LOCKS; i++)
		lock_init(&c->locks[i], LOCK_RANK_LEAF);
	return c;
}

void
cache_free(struct cache **cp)
{
	struct cache *c = *cp;
	int i;

	if (c == NULL)
		return;
	*cp = NULL;
	/* Secrets may be in there. */
	explicit_bzero(c->mem, c->slots * c->slot_size);
	for (i = 0; i < LOCKS; i++)
		lock_fini(&c->locks[i]);
	mem_free(&c->mem);
	mem_free(&c);
}

uint64_t
cache_generation(struct cache *c)
{
	return atomic_load(&c->generation);
}

void
cache_bump(struct cache *c)
{
	atomic_fetch_add(&c->generation, 1);
}

static struct slot *
find(struct cache *c, struct str name, struct lock **ret)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.p[i]) * 0x100000001b3u;
	i = (size_t)(h ^ h >> 32) & (c->slots - 1);
	*ret = &c->locks[i % LOCKS];
	return (struct slot *)(void *)(c->mem + i * c->slot_size);
}

bool
cache_get(struct cache *c, struct str name, void *ret)
{
	struct lock *l;
	struct slot *s;
	bool hit;

	if (name.len > CACHE_NAME_MAX)
		return false;
	s = find(c, name, &l);
	lock_take(l);
	hit = s->generation == atomic_load(&c->generation) &&
	      str_eq(str_mem(s->name, s->name_len), name);
	if (hit)
		memcpy(ret, s->record, c->record);
	lock_drop(l);
	return hit;
}

void
cache_put(struct cache *c, struct str name, const void *record,
    uint64_t generation)
{
	struct lock *l;
	struct slot *s;

	if (name.len > CACHE_NAME_MAX)
		return;
	s = find(c, name, &l);
	lock_take(l);
	s->generation = generation;
	s->name_len = name.len;
	memcpy(s->name, name.p, name.len);
	memcpy(s->record, record, c->record);
	lock_drop(l);
}
