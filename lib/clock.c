/* lib/clock.c - time and its formats.
 *
 * Dates are computed here (days-from-civil, H. Hinnant) instead of by
 * strftime/gmtime: no locale, no locks. */
#include "lib/clock.h"

#include "lib/err.h"
#include "lib/str.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static _Atomic int64_t offset_ns;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void
read_env(void)
{
	const char *z = getenv("CREEL_TEST_CLOCK_OFFSET");

	if (z != NULL)
		offset_ns += (int64_t)strtol(z, NULL, 10) * 1000000000;
}

static int64_t
now_ns(clockid_t id)
{
	struct timespec ts;

	pthread_once(&once, read_env);
	MUST(clock_gettime(id, &ts) == 0);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec +
	       atomic_load_explicit(&offset_ns, memory_order_relaxed);
}

int64_t
clock_real_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

int64_t
clock_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

void
clock_sleep_ms(int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	if (ms <= 0)
		return;
	while (nanosleep(&ts, &ts) != 0 && errno == EINTR) {
	}
}

void
clock_shift(int64_t ns)
{
	pthread_once(&once, read_env);
	offset_ns += ns;
}

/* --- calendar --- */

struct date {
	int64_t year;
	unsigned month, day, hour, min, sec, wday; /* month and day from 1 */
};

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t
days_of(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned yoe, doy, doe;

	y -= m <= 2;
	era = floor_div(y, 400);
	yoe = (unsigned)(y - era * 400);
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static struct date
date_of(int64_t unix_s)
{
	int64_t days = floor_div(unix_s, 86400);
	unsigned rest = (unsigned)(unix_s - days * 86400);
	int64_t z = days + 719468, era = floor_div(z, 146097);
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	struct date t;

	t.day = doy - (153 * mp + 2) / 5 + 1;
	t.month = mp < 10 ? mp + 3 : mp - 9;
	t.year = (int64_t)yoe + era * 400 + (t.month <= 2);
	t.hour = rest / 3600;
	t.min = rest / 60 % 60;
	t.sec = rest % 60;
	t.wday = (unsigned)(days + 4 - floor_div(days + 4, 7) * 7);
	return t;
}

static bool
seconds_of(const struct date *t, int64_t *ret)
{
	static const unsigned char len[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30,
		31, 30, 31 };
	bool leap =
	    (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;

	if (t->year < 0 || t->year > 9999 || t->month < 1 || t->month > 12 ||
	    t->day < 1 || t->day > len[t->month - 1] ||
	    (t->month == 2 && t->day == 29 && !leap) || t->hour > 23 ||
	    t->min > 59 || t->sec > 60)
		return false;
	*ret = days_of(t->year, t->month, t->day) * 86400 +
	       (int64_t)t->hour * 3600 + (int64_t)t->min * 60 + (int64_t)t->sec;
	return true;
}

/* --- formats --- */

static char *
put_num(char *p, unsigned v, unsigned digits)
{
	for (unsigned i = digits; i-- > 0; v /= 10)
		p[i] = (char)('0' + v % 10);
	return p + digits;
}

/* Formats hold four digits of the year. */
static struct date
date_clamped(int64_t unix_s)
{
	if (unix_s < 0)
		unix_s = 0;
	if (unix_s > 253402300799) /* 9999-12-31T23:59:59Z */
		unix_s = 253402300799;
	return date_of(unix_s);
}

static char *
put(char *p, const char *s, size_t n)
{
	memcpy(p, s, n);
	return p + n;
}

static char *
put_hms(char *p, const struct date *t)
{
	p = put_num(p, t->hour, 2);
	*p++ = ':';
	p = put_num(p, t->min, 2);
	*p++ = ':';
	return put_num(p, t->sec, 2);
}

void
clock_fmt_http(int64_t unix_s, char dst[30])
{
	struct date t = date_clamped(unix_s);
	char *p = dst;

	p = put(p, day_names + (size_t)3 * t.wday, 3);
	p = put(p, ", ", 2);
	p = put_num(p, t.day, 2);
	*p++ = ' ';
	p = put(p, month_names + (size_t)3 * (t.month - 1), 3);
	*p++ = ' ';
	p = put_num(p, (unsigned)t.year, 4);
	*p++ = ' ';
	p = put_hms(p, &t);
	p = put(p, " GMT", 5);
	MUST(p == dst + 30);
}

void
clock_fmt_iso(int64_t unix_ns, char dst[25])
{
	int64_t s = floor_div(unix_ns, 1000000000);
	struct date t = date_clamped(s);
	char *p = dst;

	p = put_num(p, (unsigned)t.year, 4);
	*p++ = '-';
	p = put_num(p, t.month, 2);
	*p++ = '-';
	p = put_num(p, t.day, 2);
	*p++ = 'T';
	p = put_hms(p, &t);
	*p++ = '.';
	p = put_num(p, (unsigned)((unix_ns - s * 1000000000) / 1000000), 3);
	p = put(p, "Z", 2);
	MUST(p == dst + 25);
}

void
clock_fmt_basic(int64_t unix_s, char dst[17])
{
	struct date t = date_clamped(unix_s);
	char *p = dst;

	p = put_num(p, (unsigned)t.year, 4);
	p = put_num(p, t.month, 2);
	p = put_num(p, t.day, 2);
	*p++ = 'T';
	p = put_num(p, t.hour, 2);
	p = put_num(p, t.min, 2);
	p = put_num(p, t.sec, 2);
	p = put(p, "Z", 2);
	MUST(p == dst + 17);
}

/* --- parsing --- */

/* Walks @s by @pattern: a small letter stores a digit or a name, the rest must
 * match.
 *   y year   m month   d day   e day or blank (asctime)   h hour   i minute
 *   s second   n name of a month   w of a weekday (not checked with the date) */
static bool
scan(struct str s, const char *pattern, struct date *t)
{
	size_t i = 0;

	for (const char *q = pattern; *q != '\0'; q++) {
		unsigned digit;

		if (*q == 'n' || *q == 'w') {
			const char *names = *q == 'n' ? month_names : day_names;
			unsigned k, n = *q == 'n' ? 12 : 7;

			if (s.len - i < 3)
				return false;
			for (k = 0; k < n; k++) {
				if (memcmp(s.p + i, names + (size_t)3 * k, 3) ==
				    0)
					break;
			}
			if (k == n)
				return false;
			if (*q == 'n')
				t->month = k + 1;
			i += 3;
			continue;
		}
		if (i >= s.len)
			return false;
		digit = (unsigned)((unsigned char)s.p[i] - '0');
		if (strchr("ymdehis", *q) == NULL) {
			if (s.p[i++] != *q)
				return false;
			continue;
		}
		if (*q == 'e' && s.p[i] == ' ')
			digit = 0;
		if (digit > 9)
			return false;
		i++;
		if (*q == 'y')
			t->year = t->year * 10 + digit;
		else if (*q == 'm')
			t->month = t->month * 10 + digit;
		else if (*q == 'd' || *q == 'e')
			t->day = t->day * 10 + digit;
		else if (*q == 'h')
			t->hour = t->hour * 10 + digit;
		else if (*q == 'i')
			t->min = t->min * 10 + digit;
		else
			t->sec = t->sec * 10 + digit;
	}
	return i == s.len;
}

static int64_t
finish(const struct date *t)
{
	int64_t s;

	return seconds_of(t, &s) ? s : -1;
}

/* RFC 850: a two-digit year that seems over 50 years ahead is in the past. */
static int64_t
parse_rfc850(struct str s)
{
	static const char *const days[] = { "Sunday", "Monday", "Tuesday",
		"Wednesday", "Thursday", "Friday", "Saturday" };
	struct date t = { 0 }, now = date_of(clock_real_s());
	ptrdiff_t comma = str_chr(s, ',');
	bool known = false;

	if (comma < 0)
		return -1;
	for (size_t i = 0; i < 7; i++)
		known = known || str_eqz(str_sub(s, 0, (size_t)comma), days[i]);
	if (!known ||
	    !scan(str_skip(s, (size_t)comma), ", dd-n-yy hh:ii:ss GMT", &t))
		return -1;
	t.year += now.year / 100 * 100;
	if (t.year > now.year + 50)
		t.year -= 100;
	return finish(&t);
}

int64_t
clock_parse_http(const char *p, unsigned long len)
{
	struct str s = str_trim(str_mem(p, len));
	struct date t = { 0 };

	if (scan(s, "w, dd n yyyy hh:ii:ss GMT", &t))
		return finish(&t);
	t = (struct date){ 0 };
	if (scan(s, "w n ed hh:ii:ss yyyy", &t))
		return finish(&t);
	return parse_rfc850(s);
}

int64_t
clock_parse_basic(const char *p, unsigned long len)
{
	static const unsigned char at[] = { 0, 2, 4, 6, 9, 11, 13 };
	unsigned v[sizeof(at)];
	struct date t;

	if (len != 16 || p[8] != 'T' || p[15] != 'Z')
		return -1;
	for (size_t i = 0; i < sizeof(at); i++) {
		unsigned hi = (unsigned)((unsigned char)p[at[i]] - '0');
		unsigned lo = (unsigned)((unsigned char)p[at[i] + 1] - '0');

		if (hi > 9 || lo > 9)
			return -1;
		v[i] = hi * 10 + lo;
	}
	t = (struct date){
		.year = v[0] * 100 + v[1],
		.month = v[2],
		.day = v[3],
		.hour = v[4],
		.min = v[5],
		.sec = v[6],
	};
	return finish(&t);
}

/* YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM) */
int64_t
clock_parse_iso(const char *p, unsigned long len)
{
	struct str s = str_mem(p, len), zone = str_skip(s, 19);
	struct date t = { 0 }, z = { 0 };
	int64_t at, off;

	if (s.len < 20 || !scan(str_sub(s, 0, 19), "yyyy-mm-ddThh:ii:ss", &t))
		return -1;
	if (*zone.p == '.') {
		size_t n = 1;

		while (n < zone.len && zone.p[n] >= '0' && zone.p[n] <= '9')
			n++;
		if (n == 1 || n > 10)
			return -1;
		zone = str_skip(zone, n);
	}
	at = finish(&t);
	if (at < 0 || str_eqz(zone, "Z"))
		return at;
	if (zone.len == 0 || (*zone.p != '+' && *zone.p != '-') ||
	    !scan(str_skip(zone, 1), "hh:ii", &z) || z.hour > 23 || z.min > 59)
		return -1;
	off = (int64_t)z.hour * 3600 + (int64_t)z.min * 60;
	at = *zone.p == '+' ? at - off : at + off;
	return at < 0 ? -1 : at;
}
