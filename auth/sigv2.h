/* auth/sigv2.h - Signature Version 2. Internal to auth/.
 * Source: AWS "Signing and authenticating REST requests". Threads: any. */
#ifndef AUTH_SIGV2_H
#define AUTH_SIGV2_H

#include "auth/auth.h"

/* @date: the line of that name: Expires, the Date header, or empty when
 * x-amz-date is there. Parameters of a V2 URL count as x-amz-* headers, since
 * botocore puts them there. */
int sigv2_string_to_sign(const struct auth_input *in,
    const struct header *params, size_t n_params, bool is_query,
    struct str date, struct arena *a, struct str *ret, struct err *e);

/* base64(HMAC-SHA1(@secret, @text)) */
int sigv2_sign(struct str secret, struct str text, struct arena *a,
    char ret[29], struct err *e);

#endif
