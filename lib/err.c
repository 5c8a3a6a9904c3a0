/* lib/err.c - the table of errors as arrays. */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name, *s3, *text;
	int status;
} table[] = {
	{ "OK", NULL, "success", 200 },
#define X(n, st, s, t) { .name = #n, .s3 = s, .text = t, .status = st },
#include "lib/err_table.h"
#undef X
};

static unsigned
slot(int code)
{
	if (code > 0 || code <= -(int)ERR_POSITIONS)
		return ERR_POS_IO; /* never seen; answered as a plain 500 */
	return (unsigned)-code;
}

const char *
err_name(int code)
{
	return table[slot(code)].name;
}

const char *
err_text(int code)
{
	return table[slot(code)].text;
}

int
err_http_status(int code)
{
	return table[slot(code)].status;
}

const char *
err_s3_code(int code)
{
	const char *s3 = table[slot(code)].s3;

	return s3 == NULL ? "InternalError" : s3;
}

int
err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	MUST(code < 0);
	if (e == NULL)
		return code;
	e->code = code;
	e->sys_errno = 0;
	if (fmt == NULL) {
		snprintf(e->msg, sizeof(e->msg), "%s", err_text(code));
		return code;
	}
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	return code;
}

static int
map_errno(int sys_errno)
{
	switch (sys_errno) {
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case ENOMEM:
		return ERR_NO_MEMORY;
	case ENOENT:
		return ERR_NOT_FOUND;
	default:
		return ERR_IO;
	}
}

int
err_set_errno(struct err *e, int sys_errno, const char *fmt, ...)
{
	int code = map_errno(sys_errno), n;
	char text[64];
	va_list ap;

	if (e == NULL)
		return code;
	e->code = code;
	e->sys_errno = sys_errno;
	/* Room is kept for the reason: a long path must not push it out. */
	n = snprintf(text, sizeof(text), ": %s",
	    strerrordesc_np(sys_errno) == NULL ? "unknown error"
					       : strerrordesc_np(sys_errno));
	if (n < 0 || (size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg) - (size_t)n, fmt, ap);
	va_end(ap);
	memcpy(e->msg + strlen(e->msg), text, (size_t)n + 1);
	return code;
}

void
must_failed(const char *expr, const char *file, int line, const char *func)
{
	char msg[512];
	int n = snprintf(msg, sizeof(msg),
	    "BUG: MUST(%s) failed in %s (%s:%d)\n", expr, func, file, line);

	if (n > 0) {
		if ((size_t)n >= sizeof(msg))
			n = (int)sizeof(msg) - 1;
		if (write(STDERR_FILENO, msg, (size_t)n) < 0)
			abort();
	}
	abort();
}
