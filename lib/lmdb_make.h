/* lib/lmdb_make.h - a new LMDB file, whole or not there.
 *
 * LMDB writes the first two pages of a new file without a sync: after a power cut
 * the file may be there with one of them, or half of one, and is MDB_INVALID
 * ever after. Threads: one per path. */
#ifndef LIB_LMDB_MAKE_H
#define LIB_LMDB_MAKE_H

#include "lib/err.h"

/* Makes an empty environment (of MDB_NOSUBDIR) at @path, durably, unless there is
 * a file with something in it. By way of PATH.new, which a power cut may leave
 * behind and the next call replaces. */
int lmdb_make(const char *path, struct err *e);

#endif
