/* lib/log.h - the daemons' log: one line per event on stderr.
 * Library layers never log: they return errors. Lines are
 * `2026-01-02T03:04:05.678Z LEVEL text`, control characters escaped, written
 * with one write(2). No secrets. Threads: any. */
#ifndef LIB_LOG_H
#define LIB_LOG_H

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG
};

void log_set_level(enum log_level level); /* default LOG_INFO */
void log_line(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)

#endif
