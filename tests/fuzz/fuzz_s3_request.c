/* Whole requests behind the signature: every handler over a store of doubles.
 * Input: "METHOD TARGET\nname: value\n...\n\nBODY". Whoever asks is root here;
 * an x-amz-content-sha256 of the unsigned streaming kind makes the body
 * aws-chunked. Each request gets one whole answer, and an error is an error.
 * LINK: creel_s3 */
#include "tests/unit/object/kv_double.h"

#include "auth/auth.h"
#include "gateway/s3/s3.h"
#include "tests/unit/s3/fake_http.h"

#define KEY "FUZZROOT"
#define RUNS 200 /* then a new store */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct s3 *s3;
static struct store *store;
static unsigned runs;

/* In place of auth/: the signature is right. */
int
auth_parse(const struct auth_input *in, struct arena *a, struct auth *ret,
    struct err *e)
{
	const struct header *h =
	    header_find(in->headers, in->n_headers, "x-amz-content-sha256");

	(void)a;
	(void)e;
	memset(ret, 0, sizeof(*ret));
	ret->kind = AUTH_V4_HEADER;
	ret->payload =
	    h != NULL && str_eqz(h->value, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
		? AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER
		: AUTH_PAYLOAD_UNSIGNED;
	ret->access_key = STR_LIT(KEY);
	ret->in = in;
	return 0;
}

int
auth_verify(struct auth *au, const char *secret, struct arena *a, struct err *e)
{
	(void)au;
	(void)a;
	(void)e;
	MUST(secret != NULL);
	return 0;
}

bool
auth_v2_signs(struct str name)
{
	(void)name;
	return true;
}

static void
run(const char *method, const char *target, const char *headers,
    const char *body, size_t body_len)
{
	static struct http_req r;

	fake_request(&r, method, target, headers, NULL);
	r.body = str_mem(body, body_len);
	r.info.content_length = body_len > 0 ? (int64_t)body_len : -1;
	s3_handle(s3, &r);
	MUST(r.status >= 200 && r.status <= 599);
	MUST(r.status < 500 || r.status == 501 || r.status == 503);
	if (r.status >= 400 && !str_eqz(r.info.method, "HEAD"))
		MUST(r.answer.len == 0 || r.answer.p[0] == '<' ||
		     r.note.op_name[0] == '-');
	s3_done(NULL, &r);
	fake_fini(&r);
}

static void
again(void)
{
	struct store_conf c = { .extent_size = 100 };
	struct s3_conf sc = { .min_part_size = 1 };
	struct err e = ERR_INIT;

	s3_free(&s3);
	store_close(&store);
	MUST(kv_open(NULL, &c.kv, &e) == 0);
	MUST(blob_memory_new(&c.blob, &e) == 0);
	MUST(store_open(&c, &store, &e) == 0);
	MUST(root_set(store, KEY, "fuzz-root-secret", &e) == 0);
	sc.store = store;
	MUST(s3_new(&sc, &s3, &e) == 0);
	run("PUT", "/bkt", "", "", 0);
	run("PUT", "/bkt/k", "x-amz-meta-m: v\n", "some bytes", 10);
	run("PUT", "/bkt/dir/k", "", "", 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_mem(data, size), line, method;
	ptrdiff_t end = str_find(in, STR_LIT("\n\n"));
	char *m, *t, *h;

	if (end < 0 || memchr(data, 0, (size_t)end) != NULL)
		return 0;
	if (runs++ % RUNS == 0)
		again();
	h = str_dupz(str_sub(in, 0, (size_t)end + 1));
	in = str_skip(in, (size_t)end + 2);
	line = str_of(h);
	line = str_split(&line, '\n');
	method = str_split(&line, ' ');
	m = str_dupz(method);
	t = str_dupz(line);
	MUST(h != NULL && m != NULL && t != NULL);
	/* http/ gives no more headers, and none without a name */
	line = str_of(strchr(h, '\n') + 1);
	for (size_t n = 0; line.len > 0; n++) {
		struct str one = str_split(&line, '\n');

		if (n + 2 > FAKE_HEADERS || str_chr(one, ':') <= 0)
			goto out;
	}
	if (t[0] == '/')
		run(m, t, strchr(h, '\n') + 1, in.p, in.len);
out:
	free(m);
	free(t);
	free(h);
	return 0;
}
