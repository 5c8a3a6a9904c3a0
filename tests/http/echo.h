/* tests/http/echo.h - a handler that shows what http/ made of a request.
 *
 *   GET  /...            what was parsed, as lines of text
 *   PUT  /...            reads the body, answers its length and CRC
 *   PUT  /deny           403 without reading
 *   PUT  /lazy           200 without reading
 *   GET  /bytes/N        N bytes, length announced
 *   GET  /chunked/N      N bytes, chunked
 *   GET  /break/N        half of N bytes, then http_break()
 *   GET  /short/N        half of N bytes, then http_finish()
 *   GET  /sleep/MS       answers after that
 *   GET  /none           no answer at all
 *   GET  /split          a header with CRLF in its value
 *   GET  /-/health/live  vital */
#ifndef TESTS_ECHO_H
#define TESTS_ECHO_H

#include "http/http.h"
#include "lib/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define ECHO_CHUNK ((size_t)256 << 10)

static inline void
echo_text(struct http_req *r, int status, const char *text)
{
	http_setz(r, "Content-Type", "text/plain");
	http_reply(r, status, str_of(text));
}

static inline void
echo_info(struct http_req *r)
{
	const struct http_info *in = http_info(r);
	struct buf b = BUF_CAP(1 << 20);

	buf_addf(&b, "method=" STR_FMT "\ntarget=" STR_FMT "\npath=" STR_FMT,
	    STR_ARG(in->method), STR_ARG(in->target), STR_ARG(in->path));
	if (in->query.p != NULL)
		buf_addf(&b, "\nquery=" STR_FMT, STR_ARG(in->query));
	buf_addf(&b,
	    "\nhost=" STR_FMT "\nremote=%s\ntls=%d\nhttp10=%d\nheaders=%zu\n",
	    STR_ARG(in->host), in->remote, in->is_tls, in->is_http10,
	    in->n_headers);
	for (size_t i = 0; i < in->n_headers; i++)
		buf_addf(&b, "h " STR_FMT "=[" STR_FMT "]\n",
		    STR_ARG(in->headers[i].name),
		    STR_ARG(in->headers[i].value));
	http_setz(r, "Content-Type", "text/plain");
	http_reply(r, 200, buf_str(&b));
	buf_fini(&b);
}

static inline void
echo_body(struct http_req *r)
{
	char *p = malloc(ECHO_CHUNK);
	struct err e = ERR_INIT;
	uint64_t total = 0;
	uint32_t sum = 0;
	char text[128];
	size_t n = 1;
	int rc = 0;

	while (rc == 0 && n > 0) {
		rc = http_read(r, p, ECHO_CHUNK, &n, &e);
		if (rc < 0)
			break;
		total += n;
		for (size_t i = 0; i < n; i++)
			sum = sum * 31 + (unsigned char)p[i];
	}
	free(p);
	if (rc < 0) {
		snprintf(text, sizeof(text), "error=%s\n", err_name(rc));
		http_note(r)->error = err_s3_code(rc);
		echo_text(r, err_http_status(rc), text);
		return;
	}
	snprintf(text, sizeof(text), "length=%ju\nsum=%08x\n", (uintmax_t)total,
	    sum);
	echo_text(r, 200, text);
}

static inline void
echo_stream(struct http_req *r, uint64_t total, uint64_t until, bool chunked)
{
	static char block[ECHO_CHUNK];
	uint64_t at = 0;

	http_setz(r, "Content-Type", "application/octet-stream");
	http_start(r, 200, chunked ? -1 : (int64_t)total);
	while (at < until) {
		size_t n = sizeof(block);

		if (n > until - at)
			n = (size_t)(until - at);
		if (http_write(r, block, n, NULL) < 0)
			return;
		at += n;
	}
}

static inline void
echo_handle(void *arg, struct http_req *r)
{
	const struct http_info *in = http_info(r);
	struct str path = in->path, last;
	uint64_t n = 0;

	(void)arg;
	http_note(r)->op_name = "Echo";
	last = str_skip(path, (size_t)(str_rchr(path, '/') + 1));
	if (!str_to_u64(last, UINT64_MAX, &n))
		n = 0;
	if (str_eqz(path, "/deny")) {
		http_note(r)->error = "AccessDenied";
		echo_text(r, 403, "denied\n");
	} else if (str_eqz(path, "/lazy")) {
		echo_text(r, 200, "lazy\n");
	} else if (in->content_length > 0 || in->chunked) {
		echo_body(r);
	} else if (str_has_prefix(path, STR_LIT("/bytes/"))) {
		echo_stream(r, n, n, false);
	} else if (str_has_prefix(path, STR_LIT("/chunked/"))) {
		echo_stream(r, n, n, true);
	} else if (str_has_prefix(path, STR_LIT("/break/"))) {
		echo_stream(r, n, n / 2, false);
		http_break(r);
	} else if (str_has_prefix(path, STR_LIT("/short/"))) {
		echo_stream(r, n, n / 2, false);
		http_finish(r);
	} else if (str_has_prefix(path, STR_LIT("/sleep/"))) {
		clock_sleep_ms((int)n);
		echo_text(r, 200, "slept\n");
	} else if (str_eqz(path, "/split")) {
		http_setz(r, "X-Split", "a\r\nX-Injected: b");
		echo_text(r, 200, "split\n");
	} else if (str_eqz(path, "/-/health/live")) {
		echo_text(r, 200, "alive\n");
	} else if (!str_eqz(path, "/none")) {
		echo_info(r);
	}
}

static inline void
echo_error(void *arg, struct http_req *r, const struct err *why,
    struct buf *out, const char **ret_type)
{
	(void)arg;
	buf_addf(out,
	    "<Error><Code>%s</Code><Message>%s</Message>"
	    "<RequestId>%s</RequestId></Error>",
	    err_s3_code(why->code), why->msg, http_info(r)->id);
	*ret_type = "application/xml";
}

static inline bool
echo_is_vital(void *arg, struct str path)
{
	(void)arg;
	return str_has_prefix(path, STR_LIT("/-/health/"));
}

#endif
