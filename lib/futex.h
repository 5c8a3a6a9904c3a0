/* lib/futex.h - sleeping on a word, and waking who sleeps there, within this
 * process (futex(2)). Who wakes looks again: it may have been for nothing. */
#ifndef LIB_FUTEX_H
#define LIB_FUTEX_H

#include "lib/thread.h"

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* While it is @seen. */
static inline void
futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	thread_blocks();
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

/* At most @n of them. @word may be gone by now. */
static inline void
futex_wake(_Atomic uint32_t *word, int n)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

#endif
