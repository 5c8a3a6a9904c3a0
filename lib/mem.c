/* lib/mem.c - allocation through the fault points. */
#include "lib/mem.h"

#include "lib/fault.h"

#include <errno.h>

void *
mem_alloc(size_t size)
{
	int err = fault_check(FAULT_ALLOC);

	if (err != 0) {
		errno = err;
		return NULL;
	}
	return malloc(size == 0 ? 1 : size);
}

void *
mem_alloc_aligned(size_t align, size_t size)
{
	int err = fault_check(FAULT_ALLOC);
	void *p = NULL;

	if (err == 0)
		err = posix_memalign(&p, align, size == 0 ? 1 : size);
	if (err != 0) {
		errno = err;
		return NULL;
	}
	return p;
}

void *
mem_zalloc(size_t size)
{
	int err = fault_check(FAULT_ALLOC);

	if (err != 0) {
		errno = err;
		return NULL;
	}
	return calloc(1, size == 0 ? 1 : size);
}

void *
mem_realloc(void *p, size_t size)
{
	int err = fault_check(FAULT_ALLOC);

	if (err != 0) {
		errno = err;
		return NULL;
	}
	return realloc(p, size == 0 ? 1 : size);
}
