/* tests/fuzz/fuzz_file_id.c - FastDFS file IDs: any bytes.
 * LINK: creel_fdfs creel_lib
 * What is taken is given back byte for byte. */
#include "fdfs/file_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct str text = str_mem(p, len);
	char again[FDFS_ID_MAX + 1];
	struct fdfs_file_id id;
	struct err e = ERR_INIT;

	if (fdfs_id_parse(text, &id, &e) != 0)
		return 0;
	MUST(fdfs_id_format(&id, again) == len);
	MUST(str_eqz(text, again));
	(void)fdfs_id_size(&id);
	(void)fdfs_id_kind(&id);
	return 0;
}
