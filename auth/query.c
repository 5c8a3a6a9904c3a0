/* auth/query.c - parsing the query string (auth/query.h). */
#include "auth/query.h"

static int
decode(struct str s, struct arena *a, struct str *ret, struct err *e)
{
	size_t len;
	char *p;

	if (str_is_plain(s)) {
		*ret = s;
		return 0;
	}
	p = arena_alloc(a, s.len);
	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (!pct_decode(s, true, p, &len))
		return err_set(e, ERR_INVALID_URI, NULL);
	*ret = str_mem(p, len);
	return 0;
}

static size_t
count(struct str raw)
{
	size_t n = 0;

	for (; raw.p != NULL; n++)
		(void)str_split(&raw, '&');
	return n;
}

int
query_parse(struct str raw, struct arena *a, struct header **ret, size_t *ret_n,
    struct err *e)
{
	struct header *q;
	size_t n = 0, max;

	if (raw.len == 0) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	max = count(raw);
	if (max > QUERY_MAX_PARAMS)
		return err_set(e, ERR_INVALID_REQUEST,
		    "too many query parameters");
	q = arena_alloc(a, max * sizeof(*q));
	if (q == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (raw.len > 0) {
		struct str value = str_split(&raw, '&'), name;
		int rc;

		if (value.len == 0)
			continue;
		name = str_split(&value, '=');
		rc = decode(name, a, &q[n].name, e);
		if (rc == 0)
			rc = decode(value, a, &q[n].value, e);
		if (rc < 0)
			return rc;
		n++;
	}
	*ret = q;
	*ret_n = n;
	return 0;
}

const struct header *
query_find(const struct header *q, size_t n, const char *name)
{
	struct str s = str_of(name);

	for (size_t i = 0; i < n; i++) {
		if (str_eq(q[i].name, s))
			return &q[i];
	}
	return NULL;
}
