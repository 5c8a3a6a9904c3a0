/* gateway/s3/range.c - the Range header (range.h). */
#include "gateway/s3/range.h"

/* Digits beyond 64 bits are a huge number, not bad syntax. */
static bool
number(struct str s, uint64_t *ret)
{
	size_t i;

	if (s.len == 0)
		return false;
	for (i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	if (!str_to_u64(s, UINT64_MAX, ret))
		*ret = UINT64_MAX;
	return true;
}

static bool
split(struct str h, struct str *ret_first, struct str *ret_last)
{
	ptrdiff_t dash;

	h = str_trim(h);
	if (!str_ieq(str_sub(h, 0, 6), STR_LIT("bytes=")))
		return false;
	h = str_trim(str_skip(h, 6));
	dash = str_chr(h, '-');
	if (dash < 0 || str_chr(h, ',') >= 0)
		return false;
	*ret_first = str_trim(str_sub(h, 0, (size_t)dash));
	*ret_last = str_trim(str_skip(h, (size_t)dash + 1));
	return true;
}

enum range_result
range_parse(struct str header, uint64_t size, uint64_t *ret_off,
    uint64_t *ret_len)
{
	struct str first, last;
	uint64_t a, b = UINT64_MAX;

	if (header.p == NULL || !split(header, &first, &last))
		return RANGE_NONE;
	if (first.len == 0) { /* the last b bytes */
		if (!number(last, &b))
			return RANGE_NONE;
		if (b == 0 || size == 0)
			return RANGE_UNSATISFIABLE;
		*ret_len = b < size ? b : size;
		*ret_off = size - *ret_len;
		return RANGE_OK;
	}
	if (!number(first, &a) || (last.len > 0 && !number(last, &b)) || b < a)
		return RANGE_NONE;
	if (a >= size)
		return RANGE_UNSATISFIABLE;
	*ret_off = a;
	*ret_len = (b < size - 1 ? b : size - 1) - a + 1;
	return RANGE_OK;
}

bool
range_parse_copy(struct str header, uint64_t *ret_first, uint64_t *ret_last)
{
	struct str first, last;

	return split(header, &first, &last) && number(first, ret_first) &&
	       number(last, ret_last) && *ret_first <= *ret_last;
}
