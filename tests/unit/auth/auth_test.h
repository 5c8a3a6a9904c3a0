/* What the signature tests share: AWS's example keys and a small request. */
#ifndef AUTH_TEST_H
#define AUTH_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "auth/auth.h"
#include "lib/clock.h"

#define AK "AKIAIOSFODNN7EXAMPLE"
#define SK "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EMPTY_SHA                                                              \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define CRED AK "/20130524/us-east-1/s3/aws4_request"

struct request {
	const char *method, *path, *query, *vhost;
	const char *now;            /* ISO basic */
	const char *headers[20][2]; /* until a NULL */
};

struct outcome {
	int rc;
	struct err e;
	struct auth au;
	struct auth_input in;
	struct header headers[20];
	struct arena *a;
};

static inline int
run_parse(const struct request *r, struct outcome *o)
{
	*o = (struct outcome){ .a = arena_new(1u << 20) };
	assert_non_null(o->a);
	for (size_t i = 0; i < 20 && r->headers[i][0] != NULL; i++) {
		o->headers[i].name = str_of(r->headers[i][0]);
		o->headers[i].value = str_of(r->headers[i][1]);
		o->in.n_headers++;
	}
	o->in.headers = o->headers;
	o->in.method = str_of(r->method);
	o->in.path = str_of(r->path);
	o->in.query = str_of(r->query);
	o->in.bucket_vhost = str_of(r->vhost);
	o->in.service = STR_LIT("s3");
	o->in.now_s = clock_parse_basic(r->now, strlen(r->now));
	assert_true(o->in.now_s > 0);
	o->rc = auth_parse(&o->in, o->a, &o->au, &o->e);
	return o->rc;
}

static inline int
run_verify(const struct request *r, const char *secret, struct outcome *o)
{
	if (run_parse(r, o) == 0 && o->au.kind != AUTH_ANONYMOUS)
		o->rc = auth_verify(&o->au, secret, o->a, &o->e);
	return o->rc;
}

static inline void
done(struct outcome *o)
{
	arena_free(&o->a);
}

#endif
