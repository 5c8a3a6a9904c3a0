/* Presigned URLs, V4 and V2. Input: the query string.
 * LINK: creel_auth */
#include "tests/fuzz/request.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header headers[] = { { STR_LIT("Host"),
	    STR_LIT("examplebucket.s3.amazonaws.com") } };
	struct auth_input r = { .method = STR_LIT("GET"),
		.path = STR_LIT("/test.txt"),
		.query = str_mem(data, size),
		.headers = headers,
		.n_headers = 1,
		.service = STR_LIT("s3"),
		.now_s = 1369353600 };

	fuzz_request(&r);
	return 0;
}
