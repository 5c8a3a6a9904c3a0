/* http/access_log.c - one line per request, buffered, in order.
 *
 * Two buffers: lines go into the current one by reserving room with a
 * compare-and-swap and copying; whoever finds it full, and the server's ticker
 * each second, swaps them and writes the other one out.
 *
 * L1  state = bytes reserved | CLOSED. Nothing is reserved in a closed buffer,
 *     so once `done` has caught up with it the bytes are stable.
 * L2  Only the holder of `writing` swaps, writes and reopens.
 * A line that can't be written (full disk) is lost; requests do not fail.
 * Threads: any. */
#include "http/internal.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)256 << 10)
#define CLOSED ((size_t)1 << 62)
#define WORD_MAX 256
#define TARGET_MAX 2048
#define AGENT_MAX 256

struct half {
	_Atomic size_t state, done;
	char *p;
};

struct access_log {
	char *path;
	int fd;
	_Atomic bool must_reopen;
	struct lock writing; /* LOCK_RANK_LEAF */
	struct half half[2];
	_Atomic(struct half *) now;
};

static int
open_file(struct access_log *l, struct err *e)
{
	int rc, fd;

	if (strcmp(l->path, "-") == 0) {
		l->fd = STDOUT_FILENO;
		return 0;
	}
	rc = fs_open(l->path, O_WRONLY | O_CREAT | O_APPEND, &fd, e);
	if (rc < 0)
		return rc;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = fd;
	return 0;
}

int
access_log_open(const char *path, struct access_log **ret, struct err *e)
{
	struct access_log *l = mem_zalloc(sizeof(*l));
	int rc;

	if (l == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	l->fd = -1;
	lock_init(&l->writing, LOCK_RANK_LEAF);
	l->path = str_dupz(str_of(path));
	for (int i = 0; i < 2; i++)
		l->half[i].p = mem_alloc(BUFFER_SIZE);
	l->half[1].state = CLOSED;
	l->now = &l->half[0];
	if (l->path == NULL || l->half[0].p == NULL || l->half[1].p == NULL)
		rc = err_set(e, ERR_NO_MEMORY, NULL);
	else
		rc = open_file(l, e);
	if (rc < 0) {
		access_log_close(&l);
		return rc;
	}
	*ret = l;
	return 0;
}

void
access_log_close(struct access_log **lp)
{
	struct access_log *l = *lp;

	if (l == NULL)
		return;
	if (l->fd >= 0) {
		access_log_flush(l);
		if (l->fd != STDOUT_FILENO)
			close(l->fd);
	}
	for (int i = 0; i < 2; i++)
		mem_free(&l->half[i].p);
	mem_free(&l->path);
	lock_fini(&l->writing);
	mem_free(lp);
}

void
access_log_reopen(struct access_log *l)
{
	atomic_store(&l->must_reopen, true);
}

static void
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k <= 0)
			return;
		p += k;
		n -= (size_t)k;
	}
}

/* Swaps the buffers and writes the old one. With @full, only if that one is
 * still the current. */
static void
flush(struct access_log *l, const struct half *full)
{
	struct half *old, *other;
	size_t len;

	lock_take(&l->writing);
	old = atomic_load(&l->now);
	if (full != NULL && old != full) {
		lock_drop(&l->writing);
		return; /* someone else did it */
	}
	other = old == &l->half[0] ? &l->half[1] : &l->half[0];
	atomic_store(&other->done, 0);
	atomic_store(&other->state, 0);
	atomic_store(&l->now, other);
	len = atomic_fetch_or(&old->state, CLOSED) & ~CLOSED;
	while (atomic_load_explicit(&old->done, memory_order_acquire) != len)
		sched_yield(); /* a copy of a few hundred bytes is under way */
	write_all(l->fd, old->p, len);
	if (atomic_exchange(&l->must_reopen, false))
		(void)open_file(l, NULL); /* else the old file goes on */
	lock_drop(&l->writing);
}

void
access_log_flush(struct access_log *l)
{
	const struct half *h = atomic_load(&l->now);

	if (atomic_load(&h->state) != 0 || atomic_load(&l->must_reopen))
		flush(l, NULL);
}

static void
log_add(struct access_log *l, const char *p, size_t len)
{
	if (len > BUFFER_SIZE)
		return;
	for (;;) {
		struct half *h = atomic_load(&l->now);
		size_t at = atomic_load(&h->state);

		while ((at & CLOSED) == 0 && at + len <= BUFFER_SIZE) {
			if (atomic_compare_exchange_weak(&h->state, &at,
				at + len)) {
				memcpy(h->p + at, p, len);
				atomic_fetch_add_explicit(&h->done, len,
				    memory_order_release);
				return;
			}
		}
		if ((at & CLOSED) == 0)
			flush(l, h);
	}
}

/* --- the line --- */

struct line {
	char *p, *end;
};

static void
add_c(struct line *o, char c)
{
	if (o->p < o->end)
		*o->p++ = c;
}

static void
add_mem(struct line *o, const char *p, size_t n)
{
	if (n > (size_t)(o->end - o->p))
		n = (size_t)(o->end - o->p);
	memcpy(o->p, p, n);
	o->p += n;
}

static void
add_u64(struct line *o, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	add_mem(o, digits + n, sizeof(digits) - n);
}

static const bool is_text[256] = {
	['!'] = true,
	['#' ... '['] = true,
	[']' ... '~'] = true,
};

/* All eight are ASCII text; false for some that are, and always for a blank. */
static bool
is_text_word(const char *p)
{
	uint64_t w;

	memcpy(&w, p, 8);
	/* A high bit is left where a byte is not below 0x80, is below 0x21, or
	 * is one of the three. */
	return ((w | (w - WORD_ONES * 0x21) |
		    ((w ^ WORD_ONES * '"') - WORD_ONES) |
		    ((w ^ WORD_ONES * '\\') - WORD_ONES) |
		    ((w ^ WORD_ONES * 0x7f) - WORD_ONES)) &
		   WORD_HIGH) == 0;
}

/* Quotes, backslashes, blanks and what is not ASCII text as \xNN: a client
 * must not be able to write lines or fields of its own. */
static void
add_escaped(struct line *o, struct str s, size_t max, bool blanks)
{
	static const char hex[] = "0123456789abcdef";
	bool cut = s.len > max;
	size_t from = 0;

	if (cut)
		s.len = max;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c;

		while (s.len - i >= 8 && is_text_word(s.p + i))
			i += 8;
		if (i == s.len)
			break;
		c = (unsigned char)s.p[i];
		if (is_text[c] || (c == ' ' && blanks))
			continue;
		add_mem(o, s.p + from, i - from);
		from = i + 1;
		add_mem(o, "\\x", 2);
		add_c(o, hex[c >> 4]);
		add_c(o, hex[c & 15]);
	}
	if (from < s.len)
		add_mem(o, s.p + from, s.len - from);
	if (cut)
		add_mem(o, "...", 3);
}

static void
add_word(struct line *o, struct str s)
{
	if (s.len == 0)
		add_c(o, '-');
	else
		add_escaped(o, s, WORD_MAX, false);
	add_c(o, ' ');
}

/* Compares a query name, which may be percent-encoded, with @z, which is in
 * lower case. */
static bool
is_named(struct str name, const char *z)
{
	size_t i = 0, n = strlen(z);

	if (name.len <= n) /* an escape makes it longer */
		return str_ieq(name, str_mem(z, n));
	for (; *z != '\0'; z++) {
		unsigned char c;

		if (i >= name.len)
			return false;
		c = (unsigned char)name.p[i++];
		if (c == '%' && i + 2 <= name.len) {
			unsigned char b;

			if (hex_decode(str_sub(name, i, 2), &b)) {
				c = b;
				i += 2;
			}
		}
		if (c >= 'A' && c <= 'Z')
			c = (unsigned char)(c - 'A' + 'a');
		if (c != (unsigned char)*z)
			return false;
	}
	return i == name.len;
}

static bool
is_secret(struct str name)
{
	static const char *const names[] = { "x-amz-signature", "signature",
		"x-amz-security-token",
		"x-amz-server-side-encryption-customer-key",
		"x-amz-copy-source-server-side-encryption-customer-key" };
	bool is_plain = str_chr(name, '%') < 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (is_plain ? str_ieq(name, str_of(names[i]))
			     : is_named(name, names[i]))
			return true;
	}
	return false;
}

/* The raw target without what would let a reader of the log send it again. */
static void
add_target(struct line *o, struct str target)
{
	ptrdiff_t mark = str_chr(target, '?');
	size_t left = TARGET_MAX;
	struct str query;

	if (mark < 0) {
		add_escaped(o, target.len > 0 ? target : STR_LIT("-"), left,
		    false);
		return;
	}
	add_escaped(o, str_sub(target, 0, (size_t)mark), left, false);
	left -= (size_t)mark < left ? (size_t)mark : left;
	query = str_skip(target, (size_t)mark + 1);
	add_c(o, '?');
	while (query.p != NULL && left > 0) {
		struct str part = str_split(&query, '&');
		struct str rest = part, name = str_split(&rest, '=');

		if (rest.p != NULL && is_secret(name)) {
			add_escaped(o, name, left, false);
			add_mem(o, "=REDACTED", 9);
		} else {
			add_escaped(o, part, left, false);
		}
		left -= part.len < left ? part.len : left;
		if (query.p != NULL)
			add_c(o, '&');
	}
}

void
access_log_request(struct access_log *l, struct http_req *r, int64_t now_ns)
{
	const struct http_info *in = &r->info;
	const struct http_note *note = &r->note;
	int64_t us = (now_ns - in->start_ns) / 1000;
	struct str agent = http_header(r, "User-Agent");
	size_t target = in->target.len;
	struct line o;
	char when[25];

	/* Made in the header buffer of the answer, which has gone out; room
	 * for all fields escaped and at their longest. */
	if (target > TARGET_MAX)
		target = TARGET_MAX;
	buf_reset(&r->head);
	if (buf_reserve(&r->head,
		512 + 4 * (target + AGENT_MAX + 2 * WORD_MAX)) < 0)
		return;
	o.p = r->head.p;
	o.end = r->head.p + r->head.size - 1;
	clock_fmt_iso(clock_real_ns(), when);
	add_mem(&o, when, 24);
	add_c(&o, ' ');
	add_word(&o, str_of(in->remote));
	add_word(&o, str_of(in->id));
	add_word(&o, in->method);
	add_c(&o, '"');
	add_target(&o, in->target);
	add_mem(&o, "\" ", 2);
	add_u64(&o, (uint64_t)r->status);
	add_c(&o, ' ');
	add_word(&o, str_of(note->error));
	add_u64(&o, r->bytes_in);
	add_c(&o, ' ');
	add_u64(&o, r->bytes_out);
	add_c(&o, ' ');
	add_u64(&o, us < 0 ? 0 : (uint64_t)us);
	add_c(&o, ' ');
	add_word(&o, str_of(note->op_name));
	add_word(&o, note->user);
	add_c(&o, '"');
	add_escaped(&o, agent.len > 0 ? agent : STR_LIT("-"), AGENT_MAX, true);
	add_c(&o, '"');
	*o.p++ = '\n'; /* room was kept */
	log_add(l, r->head.p, (size_t)(o.p - r->head.p));
}
