/* lib/mem.h - allocation that tests can make fail (FAULT_ALLOC).
 * Same contracts as malloc(3); mem_free() takes the address and nulls it. */
#ifndef LIB_MEM_H
#define LIB_MEM_H

#include <stddef.h>
#include <stdlib.h>

void *mem_alloc(size_t size);
void *mem_alloc_aligned(size_t align, size_t size); /* a power of two */
void *mem_zalloc(size_t size);
void *mem_realloc(void *p, size_t size);
#define mem_free(pp)                                                           \
	do {                                                                   \
		__typeof__(pp) mem_pp_ = (pp); /* evaluated once */            \
		free(*mem_pp_);                                                \
		*mem_pp_ = NULL;                                               \
	} while (0)

#endif
