/* auth/sigv2.c - the string that Signature Version 2 signs. */
#include "auth/sigv2.h"

#include "auth/query.h"
#include "auth/sigv4.h"
#include "lib/hash.h"

/* The parameters that belong to the resource: AWS's list as botocore, the one
 * client that still speaks V2 by default, has it (auth.py, QSAOfInterest).
 * In strcmp order. */
static const char *const sub_resources[] = { "accelerate", "acl", "analytics",
	"cors", "defaultObjectAcl", "delete", "inventory", "lifecycle",
	"location", "logging", "metrics", "notification", "object-lock",
	"partNumber", "policy", "replication", "requestPayment",
	"response-cache-control", "response-content-disposition",
	"response-content-encoding", "response-content-language",
	"response-content-type", "response-expires", "restore", "select",
	"select-type", "storageClass", "tagging", "torrent", "uploadId",
	"uploads", "versionId", "versioning", "versions", "website" };

#define N_SUB (sizeof(sub_resources) / sizeof(*sub_resources))

bool
auth_v2_signs(struct str name)
{
	for (size_t i = 0; i < N_SUB; i++) {
		if (str_eqz(name, sub_resources[i]))
			return true;
	}
	return false;
}

/* "1&uploadId=x" as the value of one parameter gives the same text to sign as
 * the two parameters do: whoever was given one must not make the other of it.
 */
static bool
is_ambiguous(struct str value)
{
	(void)str_split(&value, '&');
	while (value.p != NULL) {
		struct str item = str_split(&value, '&');

		if (auth_v2_signs(str_split(&item, '=')))
			return true;
	}
	return false;
}

static bool
has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] < 0x20)
			return true;
	}
	return false;
}

static bool
is_amz(struct str name)
{
	return name.len > 6 && str_ieq(str_sub(name, 0, 6), STR_LIT("x-amz-"));
}

static bool
has_header(const struct auth_input *in, struct str name)
{
	for (size_t i = 0; i < in->n_headers; i++) {
		if (str_ieq(in->headers[i].name, name))
			return true;
	}
	return false;
}

/* Stable, for repeated headers keep their order; there are few. */
static void
sort_by_name(struct header *h, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct header x = h[i];
		size_t k = i;

		for (; k > 0 && str_cmp(h[k - 1].name, x.name) > 0; k--)
			h[k] = h[k - 1];
		h[k] = x;
	}
}

static int
lower(struct str *s, struct arena *a, struct err *e)
{
	char *p = arena_alloc(a, s->len);

	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < s->len; i++) {
		char c = s->p[i];

		p[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	*s = str_mem(p, s->len);
	return 0;
}

/* x-amz-* headers, names in lower case and sorted. */
static int
amz_headers(const struct auth_input *in, const struct header *params,
    size_t n_params, struct arena *a, struct header **ret, size_t *ret_n,
    struct err *e)
{
	struct header *h;
	size_t n = 0;
	int rc = 0;

	h = arena_alloc(a, (in->n_headers + n_params) * sizeof(*h));
	if (h == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < in->n_headers && rc == 0; i++) {
		if (!is_amz(in->headers[i].name))
			continue;
		h[n] = in->headers[i];
		h[n].value = str_trim(h[n].value);
		rc = lower(&h[n++].name, a, e);
	}
	for (size_t i = 0; i < n_params && rc == 0; i++) {
		if (!is_amz(params[i].name))
			continue;
		if (has_header(in, params[i].name))
			continue; /* the header wins */
		h[n] = params[i];
		rc = lower(&h[n++].name, a, e);
	}
	if (rc < 0)
		return rc;
	sort_by_name(h, n);
	*ret = h;
	*ret_n = n;
	return 0;
}

static void
cat_amz(struct cat *c, const struct header *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && str_eq(h[i].name, h[i - 1].name)) {
			c->len--; /* the line feed */
			cat_c(c, ',');
		} else {
			cat_str(c, h[i].name);
			cat_c(c, ':');
		}
		cat_str(c, h[i].value);
		cat_c(c, '\n');
	}
}

static void
cat_resource(struct cat *c, const struct auth_input *in,
    const struct header *params, size_t n_params)
{
	char sep = '?';

	if (in->bucket_vhost.len > 0) {
		cat_c(c, '/');
		cat_str(c, in->bucket_vhost);
	}
	if (in->path.len == 0)
		cat_c(c, '/');
	cat_str(c, in->path);
	for (size_t s = 0; s < N_SUB; s++) {
		for (size_t i = 0; i < n_params; i++) {
			if (!str_eqz(params[i].name, sub_resources[s]))
				continue;
			cat_c(c, sep);
			sep = '&';
			cat_str(c, params[i].name);
			if (params[i].value.p == NULL)
				continue;
			cat_c(c, '=');
			cat_str(c, params[i].value);
		}
	}
}

/* A V2 URL of botocore carries these two as parameters. */
static struct str
plain_header(const struct auth_input *in, const char *name,
    const struct header *params, size_t n_params)
{
	const struct header *h = header_find(in->headers, in->n_headers, name);

	if (h == NULL)
		h = header_find(params, n_params, name);
	return h == NULL ? STR_NULL : str_trim(h->value);
}

/* Decoded parameters may hold what separates the lines and items of the text:
 * refused, for then it has more than one reading. */
static int
check_params(const struct header *params, size_t n, bool is_query,
    struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct header *p = &params[i];
		bool is_line =
		    is_query && (is_amz(p->name) ||
				    str_ieq(p->name, STR_LIT("content-md5")) ||
				    str_ieq(p->name, STR_LIT("content-type")));

		if ((is_line &&
			(has_control(p->name) || has_control(p->value))) ||
		    (auth_v2_signs(p->name) && is_ambiguous(p->value)))
			return err_set(e, ERR_ACCESS_DENIED,
			    "A query parameter cannot be signed with "
			    "Signature Version 2");
	}
	return 0;
}

int
sigv2_string_to_sign(const struct auth_input *in, const struct header *params,
    size_t n_params, bool is_query, struct str date, struct arena *a,
    struct str *ret, struct err *e)
{
	size_t n_url = is_query ? n_params : 0, n;
	struct str md5 = plain_header(in, "content-md5", params, n_url);
	struct str type = plain_header(in, "content-type", params, n_url);
	struct header *h;
	struct cat c;
	int rc;

	rc = check_params(params, n_params, is_query, e);
	if (rc == 0)
		rc = amz_headers(in, params, n_url, a, &h, &n, e);
	if (rc < 0)
		return rc;
	c = (struct cat){ .size = in->method.len + md5.len + type.len +
		                  date.len + in->bucket_vhost.len +
		                  in->path.len + 16 };
	for (size_t i = 0; i < n; i++)
		c.size += h[i].name.len + h[i].value.len + 2;
	for (size_t i = 0; i < n_params; i++)
		c.size += params[i].name.len + params[i].value.len + 2;
	c.p = arena_alloc(a, c.size);
	if (c.p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	cat_str(&c, in->method);
	cat_c(&c, '\n');
	cat_str(&c, md5);
	cat_c(&c, '\n');
	cat_str(&c, type);
	cat_c(&c, '\n');
	cat_str(&c, date);
	cat_c(&c, '\n');
	cat_amz(&c, h, n);
	cat_resource(&c, in, params, n_params);
	MUST(!c.full);
	*ret = str_mem(c.p, c.len);
	return 0;
}

int
sigv2_sign(struct str secret, struct str text, struct arena *a, char ret[29],
    struct err *e)
{
	uint8_t pad[64] = { 0 }, outer[84], d[20];
	char *p = arena_alloc(a, sizeof(pad) + text.len);

	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	if (secret.len > sizeof(pad))
		hash_sha1(secret.p, secret.len, pad);
	else if (secret.len > 0)
		memcpy(pad, secret.p, secret.len);
	for (size_t i = 0; i < sizeof(pad); i++) {
		p[i] = (char)(pad[i] ^ 0x36);
		outer[i] = pad[i] ^ 0x5c;
	}
	memcpy(p + sizeof(pad), text.p, text.len);
	hash_sha1(p, sizeof(pad) + text.len, outer + sizeof(pad));
	hash_sha1(outer, sizeof(outer), d);
	base64_encode(d, sizeof(d), ret);
	ret[28] = '\0';
	explicit_bzero(p, sizeof(pad));
	explicit_bzero(pad, sizeof(pad));
	explicit_bzero(outer, sizeof(outer));
	return 0;
}
