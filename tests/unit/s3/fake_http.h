/* tests/unit/s3/fake_http.h - http/http.h without sockets: a request from
 * literals, the answer kept. Include it once, in the test. */
#ifndef TESTS_UNIT_S3_FAKE_HTTP_H
#define TESTS_UNIT_S3_FAKE_HTTP_H

#include "http/http.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_HEADERS 64

struct http_req {
	struct http_info info;
	struct arena *arena;
	struct http_note note;
	struct header headers[FAKE_HEADERS];
	struct header out[FAKE_HEADERS];
	size_t n_out;
	struct str body; /* of the request, what is left */
	int status;
	struct buf answer;
	bool is_deferred;
	void (*resume)(void *arg, struct http_req *r);
	void *resume_arg;
};

static bool fake_defers;

bool
http_defer(struct http_req *r)
{
	MUST(!r->is_deferred && r->status == 0);
	r->is_deferred = fake_defers;
	return fake_defers;
}

void
http_resume(struct http_req *r, void (*fn)(void *arg, struct http_req *r),
    void *arg)
{
	MUST(r->is_deferred && r->resume == NULL);
	r->resume = fn;
	r->resume_arg = arg;
}

/* @headers: "Name: value\n" lines. */
static inline void
fake_request(struct http_req *r, const char *method, const char *target,
    const char *headers, const char *body)
{
	struct str all = str_of(headers), line;

	memset(r, 0, sizeof(*r));
	r->arena = arena_new(8 * 1024 * 1024);
	MUST(r->arena != NULL);
	r->answer = BUF_CAP(1024 * 1024);
	r->body = str_of(body);
	r->info.method = str_of(method);
	r->info.target = str_of(target);
	r->info.query = r->info.target;
	r->info.path = str_split(&r->info.query, '?');
	r->info.headers = r->headers;
	r->info.content_length = body == NULL ? -1 : (int64_t)strlen(body);
	while (all.len > 0) {
		line = str_split(&all, '\n');
		MUST(r->info.n_headers < FAKE_HEADERS);
		r->headers[r->info.n_headers].name = str_split(&line, ':');
		r->headers[r->info.n_headers++].value = str_trim(line);
	}
	strcpy(r->info.id, "0123456789ABCDEF");
	r->info.host = http_header(r, "host");
}

static inline void
fake_fini(struct http_req *r)
{
	arena_free(&r->arena);
	buf_fini(&r->answer);
}

static inline struct str
fake_out(const struct http_req *r, const char *name)
{
	const struct header *h = header_find(r->out, r->n_out, name);

	return h != NULL ? h->value : STR_NULL;
}

const struct http_info *
http_info(const struct http_req *r)
{
	return &r->info;
}

struct arena *
http_arena(struct http_req *r)
{
	return r->arena;
}

struct str
http_header(const struct http_req *r, const char *name)
{
	const struct header *h =
	    header_find(r->info.headers, r->info.n_headers, name);

	return h != NULL ? h->value : STR_NULL;
}

size_t
http_header_count(const struct http_req *r, const char *name)
{
	size_t i, n = 0;

	for (i = 0; i < r->info.n_headers; i++)
		n += str_ieq(r->info.headers[i].name, str_of(name));
	return n;
}

struct http_note *
http_note(struct http_req *r)
{
	return &r->note;
}

int
http_read(struct http_req *r, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	(void)e;
	if (len > r->body.len)
		len = r->body.len;
	if (len > 7) /* in odd pieces */
		len = 7;
	if (len > 0)
		memcpy(p, r->body.p, len);
	r->body = str_skip(r->body, len);
	*ret_len = len;
	return 0;
}

int
http_set(struct http_req *r, const char *name, struct str value)
{
	MUST(r->n_out < FAKE_HEADERS);
	r->out[r->n_out].name = arena_str(r->arena, str_of(name));
	r->out[r->n_out++].value = arena_str(r->arena, value);
	return 0;
}

int
http_setz(struct http_req *r, const char *name, const char *value)
{
	return http_set(r, name, str_of(value));
}

int
http_setf(struct http_req *r, const char *name, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return http_setz(r, name, text);
}

void
http_unset_all(struct http_req *r)
{
	r->n_out = 0;
}

int
http_reply(struct http_req *r, int status, struct str body)
{
	MUST(r->status == 0);
	r->status = status;
	return buf_adds(&r->answer, body);
}

int
http_start(struct http_req *r, int status, int64_t length)
{
	(void)length;
	r->status = status;
	return 0;
}

int
http_write(struct http_req *r, const void *p, size_t len, struct err *e)
{
	(void)e;
	return buf_add(&r->answer, p, len);
}

int
http_finish(struct http_req *r)
{
	(void)r;
	return 0;
}

void
http_break(struct http_req *r)
{
	(void)r;
}

void
http_distrust(struct http_req *r)
{
	(void)r;
}

bool
http_is_started(const struct http_req *r)
{
	return r->status != 0;
}

int
http_status(const struct http_req *r)
{
	return r->status;
}

uint64_t
http_bytes_in(const struct http_req *r)
{
	(void)r;
	return 0;
}

uint64_t
http_bytes_out(const struct http_req *r)
{
	return r->answer.len;
}

#endif
