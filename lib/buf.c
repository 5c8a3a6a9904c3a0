/* lib/buf.c - owned bytes with a cap (lib/str.h). */
#include "lib/str.h"

#include "lib/err.h"
#include "lib/mem.h"

#include <stdarg.h>
#include <stdio.h>

void
buf_fini(struct buf *b)
{
	mem_free(&b->p);
	b->len = 0;
	b->size = 0;
}

int
buf_reserve(struct buf *b, size_t more)
{
	size_t need, size;
	char *p;

	if (more <= b->size - b->len)
		return 0;
	if (more > b->cap || b->len > b->cap - more)
		return ERR_TOO_BIG;
	need = b->len + more;
	size = b->size < 64 ? 64 : b->size;
	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	if (size > b->cap)
		size = b->cap;
	p = mem_realloc(b->p, size);
	if (p == NULL)
		return ERR_NO_MEMORY;
	b->p = p;
	b->size = size;
	return 0;
}

int
buf_add(struct buf *b, const void *p, size_t len)
{
	int rc;

	if (len == 0)
		return 0;
	rc = buf_reserve(b, len);
	if (rc < 0)
		return rc;
	memcpy(b->p + b->len, p, len);
	b->len += len;
	return 0;
}

int
buf_adds(struct buf *b, struct str s)
{
	return buf_add(b, s.p, s.len);
}

int
buf_addz(struct buf *b, const char *z)
{
	return buf_add(b, z, strlen(z));
}

int
buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	char small[512], *big = NULL;
	va_list ap;
	int n, rc;

	/* Through a local buffer, not in place: the NUL of vsnprintf needs a
	 * byte that the cap may not have. */
	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return ERR_INVALID;
	if ((size_t)n < sizeof(small))
		return buf_add(b, small, (size_t)n);
	if ((size_t)n > b->cap - b->len)
		return ERR_TOO_BIG;
	big = mem_alloc((size_t)n + 1);
	if (big == NULL)
		return ERR_NO_MEMORY;
	va_start(ap, fmt);
	vsnprintf(big, (size_t)n + 1, fmt, ap);
	va_end(ap);
	rc = buf_add(b, big, (size_t)n);
	mem_free(&big);
	return rc;
}
