/* storage/replication/engine_store.h - the engine behind rep_store_ops (env.h).
 * Threads: any. */
#ifndef STORAGE_REPLICATION_ENGINE_STORE_H
#define STORAGE_REPLICATION_ENGINE_STORE_H

#include "storage/replication/env.h"

struct rep_engine_store {
	struct engine *g; /* the caller's */
	const char *dir;  /* for save() and load(): cluster/ in the first store
	                     path; made when it is first needed */
};

#endif
