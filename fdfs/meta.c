/* fdfs/meta.c - metadata of a file. */
#include "fdfs/meta.h"

#include "lib/mem.h"

#include <stdlib.h>

enum {
	RECORD_SEP = 1,
	VALUE_SEP = 2
};

static bool
pair_is_valid(const struct fdfs_pair *p)
{
	return p->name.len >= 1 && p->name.len <= FDFS_META_NAME &&
	       p->value.len <= FDFS_META_VALUE &&
	       str_chr(p->name, RECORD_SEP) < 0 &&
	       str_chr(p->name, VALUE_SEP) < 0 &&
	       str_chr(p->value, RECORD_SEP) < 0 &&
	       str_chr(p->value, VALUE_SEP) < 0;
}

static int
by_name(const void *a, const void *b)
{
	const struct fdfs_pair *x = a, *y = b;
	int c = str_cmp(x->name, y->name);

	/* qsort() is not stable; the views of one packet have an order. */
	if (c == 0 && x->name.p != y->name.p)
		c = (uintptr_t)x->name.p < (uintptr_t)y->name.p ? -1 : 1;
	return c;
}

/* Of equal names the last one stays. */
static size_t
drop_doubles(struct fdfs_pair *p, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && str_eq(p[i].name, p[i + 1].name))
			continue;
		p[kept++] = p[i];
	}
	return kept;
}

static int
parse_into(struct str wire, struct fdfs_pair *pairs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct str record = str_split(&wire, RECORD_SEP);
		ptrdiff_t at = str_chr(record, VALUE_SEP);

		if (at < 0)
			return err_set(e, ERR_INVALID, "metadata: no value");
		pairs[i].name = str_sub(record, 0, (size_t)at);
		pairs[i].value = str_skip(record, (size_t)at + 1);
		if (!pair_is_valid(&pairs[i]))
			return err_set(e, ERR_INVALID,
			    "metadata: name or value of a wrong length");
	}
	return 0;
}

int
fdfs_meta_parse(struct str wire, struct fdfs_pair **ret, size_t *ret_n,
    struct err *e)
{
	struct fdfs_pair *pairs;
	size_t n = 1;
	int rc;

	if (wire.len > FDFS_META_PACKET)
		return err_set(e, ERR_INVALID, "metadata: too much");
	if (wire.len == 0) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	for (size_t i = 0; i < wire.len; i++)
		n += wire.p[i] == RECORD_SEP;
	if (n > FDFS_META_PAIRS)
		return err_set(e, ERR_INVALID, "metadata: too many pairs");
	pairs = mem_alloc(n * sizeof(*pairs));
	if (pairs == NULL)
		return err_set(e, ERR_NO_MEMORY, "metadata");
	rc = parse_into(wire, pairs, n, e);
	if (rc < 0) {
		mem_free(&pairs);
		return rc;
	}
	qsort(pairs, n, sizeof(*pairs), by_name);
	*ret_n = drop_doubles(pairs, n);
	*ret = pairs;
	return 0;
}

/* @pairs in order. */
static int
format_sorted(const struct fdfs_pair *pairs, size_t n, struct buf *b,
    struct err *e)
{
	size_t total = 0;
	int rc;

	if (n > FDFS_META_PAIRS)
		return err_set(e, ERR_TOO_BIG, "metadata: too many pairs");
	for (size_t i = 0; i < n; i++) {
		if (!pair_is_valid(&pairs[i]))
			return err_set(e, ERR_INVALID,
			    "metadata: invalid name or value");
		total += pairs[i].name.len + pairs[i].value.len + 2;
	}
	if (total > FDFS_META_PACKET)
		return err_set(e, ERR_TOO_BIG, "metadata: too much");
	rc = buf_reserve(b, total);
	if (rc < 0)
		return err_set(e, rc, "metadata");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(b, RECORD_SEP);
		buf_adds(b, pairs[i].name);
		buf_addc(b, VALUE_SEP);
		buf_adds(b, pairs[i].value);
	}
	return 0;
}

int
fdfs_meta_format(struct fdfs_pair *pairs, size_t n, struct buf *b,
    struct err *e)
{
	if (n > 1)
		qsort(pairs, n, sizeof(*pairs), by_name);
	for (size_t i = 1; i < n; i++) {
		if (str_eq(pairs[i - 1].name, pairs[i].name))
			return err_set(e, ERR_INVALID,
			    "metadata: a name given twice");
	}
	return format_sorted(pairs, n, b, e);
}

/* Both are sorted: one walk over each. */
static size_t
merge(const struct fdfs_pair *old, size_t n_old, const struct fdfs_pair *new,
    size_t n_new, struct fdfs_pair *dst)
{
	size_t i = 0, k = 0, n = 0;

	while (i < n_old || k < n_new) {
		int c = i == n_old   ? 1
		        : k == n_new ? -1
		                     : str_cmp(old[i].name, new[k].name);

		if (c < 0) {
			dst[n++] = old[i++];
			continue;
		}
		i += c == 0;
		dst[n++] = new[k++];
	}
	return n;
}

int
fdfs_meta_set(struct str old, struct str new, char flag, struct buf *b,
    struct err *e)
{
	struct fdfs_pair *a = NULL, *p = NULL, *both = NULL;
	size_t n_a = 0, n_p = 0, n;
	int rc;

	if (flag != 'O' && flag != 'M')
		return err_set(e, ERR_INVALID, "metadata: neither O nor M");
	rc = fdfs_meta_parse(new, &p, &n_p, e);
	if (rc < 0)
		return rc;
	if (flag == 'O') {
		rc = format_sorted(p, n_p, b, e);
		goto out;
	}
	rc = fdfs_meta_parse(old, &a, &n_a, e);
	if (rc < 0)
		goto out;
	both = mem_alloc((n_a + n_p + 1) * sizeof(*both));
	if (both == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, "metadata");
		goto out;
	}
	n = merge(a, n_a, p, n_p, both);
	rc = format_sorted(both, n, b, e);
out:
	mem_free(&both);
	mem_free(&a);
	mem_free(&p);
	return rc;
}
