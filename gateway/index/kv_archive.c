/* gateway/index/kv_archive.c - the copy of the index in the storage (to come) */
#include "gateway/index/kv_priv.h"

int
archive_start(struct kv *k, struct err *e)
{
	(void)k;
	(void)e;
	return 0;
}
void
archive_stop(struct kv *k)
{
	(void)k;
}
uint64_t
archive_seq(struct kv *k)
{
	(void)k;
	return UINT64_MAX;
}
void
archive_stat(struct kv *k, uint64_t *ret_seq, int64_t *ret_at_s)
{
	(void)k;
	*ret_seq = 0;
	*ret_at_s = 0;
}
int
kv_archive(struct kv *k, struct err *e)
{
	(void)k;
	return err_set(e, ERR_NOT_IMPLEMENTED, NULL);
}
