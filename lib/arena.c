/* lib/arena.c - memory of one request.
 *
 * A1  used <= max, over everything handed out since birth or the last reset
 *     (each item counted with its rounding to 16).
 * A2  Blocks form a list, newest first; only the newest has free room. */
#include "lib/arena.h"

#include "lib/err.h"
#include "lib/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define ARENA_MAGIC 0xa2e4a000u
#define FIRST_BLOCK 4096u
#define LARGEST_BLOCK 65536u

#if defined(__SANITIZE_ADDRESS__)
#define PER_ITEM 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PER_ITEM 1
#endif
#endif
#ifndef PER_ITEM
#define PER_ITEM 0
#endif

struct block {
	_Alignas(16) struct block *next;
	size_t size, used; /* of the bytes behind this header */
};

struct arena {
	unsigned magic;
	size_t max, used;
	struct block *blocks;
};

struct arena *
arena_new(size_t max)
{
	struct arena *a = mem_zalloc(sizeof(*a));

	if (a == NULL)
		return NULL;
	a->magic = ARENA_MAGIC;
	a->max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2;
	return a;
}

static void
free_blocks(struct block *b)
{
	while (b != NULL) {
		struct block *next = b->next;

		free(b);
		b = next;
	}
}

void
arena_free(struct arena **ap)
{
	struct arena *a = *ap;

	if (a == NULL)
		return;
	OBJ_CHECK(a, ARENA_MAGIC);
	*ap = NULL;
	free_blocks(a->blocks);
	a->magic = 0;
	free(a);
}

void
arena_reset(struct arena *a)
{
	OBJ_CHECK(a, ARENA_MAGIC);
	a->used = 0;
	/* The newest is the largest of the ordinary ones: keep it, unless one
	 * big item made it and would pin its memory to an idle connection. */
	if (PER_ITEM ||
	    (a->blocks != NULL && a->blocks->size > LARGEST_BLOCK)) {
		free_blocks(a->blocks);
		a->blocks = NULL;
	} else if (a->blocks != NULL) {
		free_blocks(a->blocks->next);
		a->blocks->next = NULL;
		a->blocks->used = 0;
	}
}

static struct block *
add_block(struct arena *a, size_t need)
{
	size_t size = need;
	struct block *b;

	if (!PER_ITEM) {
		size = a->blocks == NULL ? FIRST_BLOCK : a->blocks->size * 2;
		if (size > LARGEST_BLOCK)
			size = LARGEST_BLOCK;
		size -= a->blocks == NULL ? sizeof(*b) : 0;
		if (size < need)
			size = need;
	}
	b = mem_alloc(sizeof(*b) + size);
	if (b == NULL)
		return NULL;
	b->size = size;
	b->used = 0;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	struct block *b;
	size_t need;
	char *p;

	OBJ_CHECK(a, ARENA_MAGIC);
	if (size > a->max)
		return NULL;
	need = size == 0 ? 16 : (size + 15) / 16 * 16;
	if (need > a->max - a->used)
		return NULL;
	b = a->blocks;
	/* With ASan an item ends where its block ends: no rounding there. */
	if (PER_ITEM || b == NULL || b->size - b->used < need)
		b = add_block(a, PER_ITEM && size > 0 ? size : need);
	if (b == NULL)
		return NULL;
	p = (char *)(b + 1) + b->used;
	b->used += PER_ITEM ? b->size : need;
	a->used += need;
	return p;
}

void *
arena_zalloc(struct arena *a, size_t size)
{
	void *p = arena_alloc(a, size);

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

struct str
arena_str(struct arena *a, struct str s)
{
	char *p = s.len == SIZE_MAX ? NULL : arena_alloc(a, s.len + 1);

	if (p == NULL)
		return STR_NULL;
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return str_mem(p, s.len);
}

struct str
arena_fmt(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return STR_NULL;
	p = arena_alloc(a, (size_t)n + 1);
	if (p == NULL)
		return STR_NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return str_mem(p, (size_t)n);
}
