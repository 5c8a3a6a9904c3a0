/* gateway/index/ilog_open.c - finding out what the index log holds. */
#include "gateway/index/ilog_priv.h"

#include "lib/bytes.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>

struct listing {
	struct ilog *log;
	uint64_t *numbers;
	size_t n, size;
	struct err *e;
};

static bool
parse_name(const char *name, uint64_t *ret)
{
	char again[64];

	uint8_t number[8];

	if (strlen(name) < 16 || !hex_decode(str_mem(name, 16), number))
		return false;
	*ret = get_be64(number);
	segment_name(again, *ret);
	return strcmp(name, again) == 0;
}

static int
note_file(void *arg, const char *name)
{
	struct listing *l = arg;
	uint64_t number, *p;
	char path[4096];

	if (str_has_prefix(str_of(name), STR_LIT("recycle-"))) {
		if (l->log->recycle[0] == '\0' && strlen(name) < 64) {
			memcpy(l->log->recycle, name, strlen(name) + 1);
			return 0;
		}
	} else if (parse_name(name, &number)) {
		if (l->n == l->size) {
			l->size = l->size == 0 ? 16 : l->size * 2;
			p = mem_realloc(l->numbers, l->size * sizeof(*p));
			if (p == NULL)
				return err_set(l->e, ERR_NO_MEMORY, NULL);
			l->numbers = p;
		}
		l->numbers[l->n++] = number;
		return 0;
	} else if (!str_has_suffix(str_of(name), STR_LIT(".tmp"))) {
		return 0; /* not ours */
	}
	if (segment_path(l->log, name, path, l->e) == 0)
		fs_unlink(path, NULL);
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int
load_all(struct ilog *l, struct err *e)
{
	struct listing ls = { .log = l, .e = e };
	struct segment **end = &l->first;
	int rc = fs_each(l->dir, note_file, &ls, e);

	if (ls.n > 0)
		qsort(ls.numbers, ls.n, sizeof(*ls.numbers), by_number);
	for (size_t i = 0; rc == 0 && i < ls.n; i++) {
		rc = segment_load(l, ls.numbers[i], end, e);
		if (rc == 0)
			rc = segment_peek(*end, e);
		if (rc == 0) {
			l->next_number = (*end)->number + 1;
			end = &(*end)->next;
		}
	}
	mem_free(&ls.numbers);
	return rc;
}

/* L2 */
static int
check_contiguous(const struct ilog *l, const struct ilog_conf *c,
    const struct segment *s, bool has_before, struct err *e)
{
	uint64_t before = has_before ? l->seq : c->flushed_seq;

	if (s->first_seq == 0 || s->first_seq == before + 1 ||
	    (!has_before && s->first_seq <= before))
		return 0;
	return err_set(e, ERR_CORRUPT,
	    "the index log has a gap: transaction "
	    "%ju follows %ju",
	    (uintmax_t)s->first_seq, (uintmax_t)before);
}

/* Scans from where replay begins; L2 and L3. *ret_last: the last segment with
 * frames, *ret_dirty: it has a torn tail. */
static int
scan_all(struct ilog *l, const struct ilog_conf *c, ilog_replay_fn fn,
    void *arg, struct segment **ret_last, bool *ret_dirty, struct err *e)
{
	struct segment *start = l->first, *last = NULL;
	bool dirty;
	int rc;

	for (struct segment *s = l->first; s != NULL; s = s->next) {
		if (s->first_seq != 0 && s->first_seq <= c->flushed_seq + 1)
			start = s;
	}
	for (struct segment *s = l->first; s != start; s = s->next) {
		if (s->first_seq == 0)
			continue;
		if (last != NULL)
			last->last_seq = s->first_seq - 1;
		last = s;
	}
	if (last != NULL && start != NULL)
		last->last_seq = start->first_seq - 1;
	last = NULL;
	for (struct segment *s = start; s != NULL; s = s->next) {
		rc = check_contiguous(l, c, s, last != NULL, e);
		if (rc == 0)
			rc =
			    segment_scan(s, c->flushed_seq, fn, arg, &dirty, e);
		if (rc != 0)
			return rc;
		if (s->first_seq == 0)
			continue;
		l->seq = s->last_seq;
		last = s;
		*ret_dirty = dirty;
	}
	*ret_last = last;
	return 0;
}

/* What was replayed may only be in the page cache; it is shown to readers, so
 * it has to be durable first. The torn tail goes. */
static int
settle_tail(struct segment *s, bool dirty, struct err *e)
{
	int rc;

	if (!dirty)
		return fs_fdatasync(s->fd, e);
	rc = fs_truncate(s->fd, s->end, e);
	if (rc < 0)
		return rc;
	s->size = s->end;
	return fs_fsync(s->fd, e);
}

/* One of the segments without frames is to be reused. Its header still says
 * that its epoch was there. */
static int
recycle_empty(struct ilog *l, struct err *e)
{
	char name[64], path[4096], to[4096], recycled[80];
	struct segment **sp = &l->first, *s;
	int rc;

	while (*sp != NULL &&
	       ((*sp)->first_seq != 0 || (*sp)->size != l->segment_size))
		sp = &(*sp)->next;
	s = *sp;
	if (s == NULL || l->recycle[0] != '\0')
		return 0;
	segment_name(name, s->number);
	snprintf(recycled, sizeof(recycled), "recycle-%s", name);
	if ((rc = segment_path(l, name, path, e)) < 0 ||
	    (rc = segment_path(l, recycled, to, e)) < 0 ||
	    (rc = fs_rename(path, to, e)) < 0)
		return rc;
	memcpy(l->recycle, recycled, sizeof(l->recycle));
	*sp = s->next;
	segment_free(&s);
	return 0;
}

/* The others go, once there is one of the new epoch. */
static int
drop_empty(struct ilog *l, struct err *e)
{
	struct segment **sp = &l->first, *s;
	char name[64], path[4096];
	int rc;

	while ((s = *sp) != NULL) {
		if (s->first_seq != 0 || s == l->active) {
			sp = &s->next;
			continue;
		}
		segment_name(name, s->number);
		rc = segment_path(l, name, path, e);
		if (rc == 0)
			rc = fs_unlink(path, e);
		if (rc < 0)
			return rc;
		*sp = s->next;
		segment_free(&s);
	}
	return 0;
}

static uint64_t
newest_epoch(struct ilog *l)
{
	uint64_t epoch = 0;

	if (l->recycle[0] != '\0')
		epoch = segment_epoch(l, l->recycle);
	for (struct segment *s = l->first; s != NULL; s = s->next) {
		if (s->epoch > epoch)
			epoch = s->epoch;
	}
	return epoch;
}

static int
check_end(struct ilog *l, struct err *e)
{
	for (struct segment *s = l->first; s != NULL; s = s->next) {
		if (s->after_seq > l->seq)
			return err_set(e, ERR_CORRUPT,
			    "the index log ends at "
			    "transaction %ju, but there was %ju",
			    (uintmax_t)l->seq, (uintmax_t)s->after_seq);
	}
	return 0;
}

int
ilog_recover(struct ilog *l, const struct ilog_conf *c, ilog_replay_fn fn,
    void *arg, struct err *e)
{
	struct segment *last = NULL, **end;
	uint64_t epoch = 0;
	bool dirty = false;
	int rc;

	rc = load_all(l, e);
	if (rc < 0)
		return rc;
	epoch = newest_epoch(l);
	if (c->is_new && epoch < c->epoch)
		epoch = c->epoch;
	if (epoch < c->epoch)
		return err_set(e, ERR_CORRUPT,
		    "the newest part of the index "
		    "log is missing from %.120s",
		    l->dir);
	l->epoch = epoch + 1;
	rc = scan_all(l, c, fn, arg, &last, &dirty, e);
	if (rc != 0)
		return rc;
	if (l->seq < c->flushed_seq)
		l->seq = c->flushed_seq;
	rc = check_end(l, e);
	if (rc == 0 && last != NULL)
		rc = settle_tail(last, dirty, e);
	if (rc == 0)
		rc = recycle_empty(l, e);
	if (rc < 0)
		return rc;
	for (end = &l->first; *end != NULL; end = &(*end)->next)
		;
	rc = segment_make(l, l->next_number, l->epoch, l->recycle, end, e);
	if (rc < 0)
		return rc;
	l->recycle[0] = '\0';
	l->active = *end;
	l->next_number++;
	return drop_empty(l, e);
}
