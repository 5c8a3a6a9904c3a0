/* lib/clock.h - the only source of time, so that tests can move it. */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include <stdint.h>

int64_t clock_real_ns(void); /* since 1970, with the test's offset */
int64_t clock_mono_ns(void); /* never goes back, with the test's offset */
static inline int64_t
clock_real_s(void)
{
	return clock_real_ns() / 1000000000;
}
void clock_sleep_ms(int ms);

/* Tests: added to both clocks. Env CREEL_TEST_CLOCK_OFFSET (seconds) too. */
void clock_shift(int64_t ns);

/* Formats. dst sizes: 30 (HTTP), 25 (ISO 8601 with ms), 17 (ISO basic). */
void clock_fmt_http(int64_t unix_s, char dst[30]); /* RFC 9110 IMF-fixdate */
void clock_fmt_iso(int64_t unix_ns,
    char dst[25]); /* 2026-01-02T03:04:05.678Z */
void clock_fmt_basic(int64_t unix_s, char dst[17]); /* 20260102T030405Z */
/* Parse; -1 (never a valid time here) on bad input. */
int64_t clock_parse_http(const char *p,
    unsigned long len); /* 3 RFC 9110 forms */
int64_t clock_parse_basic(const char *p, unsigned long len); /* 16 chars */
int64_t clock_parse_iso(const char *p,
    unsigned long len); /* seconds; fraction ignored */

#endif
