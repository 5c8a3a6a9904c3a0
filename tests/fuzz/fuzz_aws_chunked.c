/* aws-chunked bodies. Input: one byte for the payload kind and the size of
 * reads, one for the decoded length, then the body.
 * LINK: creel_auth */
#include "auth/chunked.h"

struct source {
	struct str left;
	size_t step;
};

static int
source_read(void *arg, void *p, size_t len, size_t *ret_len, struct err *e)
{
	struct source *s = arg;
	size_t n = s->left.len < len ? s->left.len : len;

	(void)e;
	if (n > s->step)
		n = s->step;
	if (n > 0)
		memcpy(p, s->left.p, n);
	s->left = str_skip(s->left, n);
	*ret_len = n;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str names[] = { STR_LIT("x-amz-checksum-crc32") };
	struct auth au = { .amz_date = STR_LIT("20130524T000000Z"),
		.scope = STR_LIT("20130524/us-east-1/s3/aws4_request"),
		.signature = STR_LIT("4f232c4386841ef735655705268965c44a0e4690b"
				     "aa4adea153f7db9fa80a0a9") };
	uint64_t decoded = 0, expected;
	struct aws_chunked *c;
	struct source src;
	struct arena *a;
	struct err e;
	char buf[64];
	size_t n;
	int rc;

	if (size < 2)
		return 0;
	au.payload = data[0] % 3 == 0   ? AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER
	             : data[0] % 3 == 1 ? AUTH_PAYLOAD_STREAM
	                                : AUTH_PAYLOAD_STREAM_TRAILER;
	expected = data[1];
	src.left = str_mem(data + 2, size - 2);
	src.step = 1 + data[0] / 3;
	a = arena_new(1u << 20);
	MUST(a != NULL);
	MUST(aws_chunked_new(&au, expected, names, data[0] & 1, source_read,
		 &src, a, &c, &e) == 0);
	do {
		rc =
		    aws_chunked_read(c, buf, 1 + data[1] % sizeof(buf), &n, &e);
		if (rc == 0)
			decoded += n;
		MUST(decoded <= expected);
	} while (rc == 0 && n > 0);
	if (rc == 0) {
		MUST(decoded == expected && src.left.len == 0);
		aws_chunked_trailers(c, &n);
		MUST(n == (data[0] & 1));
	}
	arena_free(&a);
	return 0;
}
