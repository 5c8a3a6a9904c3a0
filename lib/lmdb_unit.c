/* lib/lmdb_unit.c - LMDB's mdb.c, unmodified, and the one thing that it lacks
 * (lib/lmdb_trim.h). Needs its internals, hence one translation unit; a changed
 * upstream breaks the compile, not a hunk. Part of creel_lmdb. */
#include "mdb.c" /* of the pinned archive */

#include "lib/lmdb_trim.h"

void
lmdb_trim(MDB_env *env)
{
	MDB_page *p;

	/* As mdb_env_close() does. The list belongs to the writer. */
	while ((p = env->me_dpages) != NULL) {
		env->me_dpages = p->mp_next;
		free(p);
	}
}
