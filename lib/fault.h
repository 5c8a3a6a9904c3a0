/* lib/fault.h - fault points: fail the n-th write, sync, open, ...
 *
 * Every call of lib/fs.h, and every allocation of lib/mem.h, asks here first.
 * A test arms one kind (or any) with n; the n-th call from then on fails with
 * the given errno, and, with `stick`, all later ones of that kind too (a dead
 * disk). A test loops n = 1, 2, 3, ... until fault_fired() stays false.
 * Disarmed it costs one relaxed load. Threads: any. */
#ifndef LIB_FAULT_H
#define LIB_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>

enum fault_kind {
	FAULT_OPEN,
	FAULT_READ,
	FAULT_WRITE,
	FAULT_SYNC,
	FAULT_RENAME,
	FAULT_UNLINK,
	FAULT_MKDIR,
	FAULT_TRUNCATE,
	FAULT_FALLOCATE,
	FAULT_PUNCH,
	FAULT_ALLOC,
	FAULT_KINDS,
	FAULT_ANY = FAULT_KINDS /* fault_arm() only: counts every kind */
};

void fault_arm(enum fault_kind kind, unsigned long n, int sys_errno,
    bool stick);
void fault_disarm(void);
bool fault_fired(void); /* since the last fault_arm() */

/* 0, or the errno with which this call must fail. A short write is asked for
 * by fs_pwrite_all() itself: half of the bytes go out before it fails. */
extern _Atomic int fault_armed;
int fault_check_slow(enum fault_kind kind);
static inline int
fault_check(enum fault_kind kind)
{
	return atomic_load_explicit(&fault_armed, memory_order_relaxed) == 0
	           ? 0
	           : fault_check_slow(kind);
}

#endif
