/* lib/lmdb_trim.h - giving back what LMDB keeps.
 *
 * LMDB keeps the memory of every page that a write transaction has dirtied for
 * the next one, until the environment is closed: after a commit of 16,000
 * random records that is 64 MiB of an idle process. */
#ifndef LIB_LMDB_TRIM_H
#define LIB_LMDB_TRIM_H

#include <lmdb.h>

/* No write transaction may be open, and none begun meanwhile. */
void lmdb_trim(MDB_env *env);

#endif
