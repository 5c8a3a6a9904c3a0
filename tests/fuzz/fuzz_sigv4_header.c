/* Requests with an Authorization header, V4 and V2.
 * Input: lines; first "METHOD target", then "name:value".
 * LINK: creel_auth */
#include "tests/fuzz/request.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_mem(data, size), line = str_split(&in, '\n');
	struct auth_input r = { .service = STR_LIT("s3"), .now_s = 1369353600 };
	struct header headers[64];

	r.method = str_split(&line, ' ');
	r.path = str_split(&line, '?');
	r.query = line;
	while (in.p != NULL && r.n_headers < 64) {
		struct str value = str_split(&in, '\n');
		struct header *h = &headers[r.n_headers++];

		h->name = str_split(&value, ':');
		h->value = value;
	}
	r.headers = headers;
	fuzz_request(&r);
	return 0;
}
