/* storage/engine/tidy.c - the background thread: scrub, compaction. */
#include "storage/engine/engine_int.h"

#include "lib/thread.h"

int
tidy_start(struct engine *g, struct err *e)
{
	(void)g;
	(void)e;
	return 0;
}

void
tidy_stop(struct engine *g)
{
	(void)g;
}

int
engine_scrub_now(struct engine *g, struct err *e)
{
	(void)g;
	return err_set(e, ERR_NOT_IMPLEMENTED, "scrub");
}

int
engine_compact_now(struct engine *g, struct err *e)
{
	(void)g;
	return err_set(e, ERR_NOT_IMPLEMENTED, "compaction");
}
