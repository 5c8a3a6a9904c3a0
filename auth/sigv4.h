/* auth/sigv4.h - the parts of Signature Version 4 that both sides need.
 * Internal to auth/. Source: AWS "Create a signed AWS API request" and
 * "Signature Calculations for the Authorization Header" (S3). Threads: any. */
#ifndef AUTH_SIGV4_H
#define AUTH_SIGV4_H

#include "auth/auth.h"
#include "lib/hash.h"

/* A fixed piece of memory that is filled from the left. What does not fit sets
 * `full`, so that a chain of calls needs one check. */
struct cat {
	char *p;
	size_t len, size;
	bool full;
};
void cat_mem(struct cat *c, const void *p, size_t len);
static inline void
cat_str(struct cat *c, struct str s)
{
	cat_mem(c, s.p, s.len);
}
static inline void
cat_c(struct cat *c, char x)
{
	if (c->len < c->size)
		c->p[c->len++] = x;
	else
		c->full = true;
}

/* What is signed. Signed headers are named by @signed_headers ("host;range");
 * one that the request lacks counts as empty. */
struct sigv4 {
	struct str method, path, payload, signed_headers;
	const struct header *params; /* decoded */
	size_t n_params;
	bool is_query; /* leave the parameter X-Amz-Signature out */
	const struct header *headers;
	size_t n_headers;
};

/* The canonical request, in the arena. ERR_INVALID_URI for a bad escape in the
 * path. */
int sigv4_canonical(const struct sigv4 *v, struct arena *a, struct str *ret,
    struct err *e);

/* "AWS4-HMAC-SHA256\n<date>\n<scope>\n<hash of @canonical>". */
int sigv4_string_to_sign(struct str amz_date, struct str scope,
    struct str canonical, struct arena *a, struct str *ret, struct err *e);

/* The signing key with its padding absorbed, and raw in @ret_raw (may be NULL).
 * The last few per thread are remembered. */
void sigv4_key(struct str secret, struct str date, struct str region,
    struct str service, struct hmac_key *ret, uint8_t *ret_raw);

/* Cuts the next name off a ';' list; false at its end. */
bool sigv4_next_name(struct str *list, struct str *ret);

#endif
