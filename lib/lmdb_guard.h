/* lib/lmdb_guard.h - what a cut or damaged LMDB file does to the process.
 *
 * LMDB reads its file through a memory map and has no checksums of its own: a
 * page behind the end of the file is a SIGBUS, a wild offset a SIGSEGV, in
 * whatever thread comes by. Nothing can be saved then (the volumes and the log
 * are durable, P1), but the process can say which file it is and what to do,
 * and end with status 1.
 * Threads: any; the line is written by the thread that fell. */
#ifndef LIB_LMDB_GUARD_H
#define LIB_LMDB_GUARD_H

#include <lmdb.h>
#include <stdbool.h>

struct lmdb_guard;

/* From here on a fault within @env's map writes @text as one line to standard
 * error and ends the process. Takes SIGBUS and SIGSEGV at the first call; all
 * other faults go on to whoever had them before. NULL: no memory. */
struct lmdb_guard *lmdb_guard_begin(MDB_env *env, const char *text);
/* Before the environment is closed. NULL in *gp is fine; it is NULL after. */
void lmdb_guard_end(struct lmdb_guard **gp);

/* The file of @env (opened, guarded) ends before its last page in use. Costs a
 * look at the free list where it is shorter than its highest page, which it may
 * be: LMDB does not write pages that it took and freed again. 0 or LMDB's
 * error. */
int lmdb_is_cut(MDB_env *env, bool *ret);

#endif
