/* lib/log.c - one line per event on stderr. */
#include "lib/log.h"

#include "lib/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_TEXT 2048

static _Atomic int max_level = LOG_INFO;
static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG" };

void
log_set_level(enum log_level level)
{
	max_level = (int)level;
}

/* Escapes what could forge a line or steer a terminal; UTF-8 passes, but for
 * the C1 controls (C2 80 .. C2 9F). @dst holds 4 * @len. */
static size_t
escape(char *dst, const char *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t o = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)src[i];
		bool c1 = c == 0xc2 && i + 1 < len &&
		          (unsigned char)src[i + 1] >= 0x80 &&
		          (unsigned char)src[i + 1] <= 0x9f;

		if (c >= 0x20 && c != 0x7f && !c1) {
			dst[o++] = (char)c;
			continue;
		}
		dst[o++] = '\\';
		dst[o++] = 'x';
		dst[o++] = hex[c >> 4];
		dst[o++] = hex[c & 15];
	}
	return o;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	char text[MAX_TEXT], line[4 * MAX_TEXT + 64];
	int saved = errno, n;
	size_t len, o;
	va_list ap;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	clock_fmt_iso(clock_real_ns(), line);
	o = 24;
	line[o++] = ' ';
	for (const char *p = level_names[level]; *p != '\0'; p++)
		line[o++] = *p;
	line[o++] = ' ';
	o += escape(line + o, text, len);
	line[o++] = '\n';
	if (write(STDERR_FILENO, line, o) < 0) {
		/* Nowhere to say it. */
	}
	errno = saved;
}
