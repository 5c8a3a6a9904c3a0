/* gateway/s3/token.h - continuation tokens of listings.
 *
 * Opaque and URL-safe: base64url of a version byte, the position and a CRC32C
 * over both, so that garbage is told from a token. Not a secret: it holds no
 * more than the client has seen. */
#ifndef GATEWAY_S3_TOKEN_H
#define GATEWAY_S3_TOKEN_H

#include "lib/arena.h"
#include "lib/err.h"

/* p NULL without memory. */
struct str token_make(struct str position, struct arena *a);
/* ERR_INVALID_ARGUMENT for what token_make() did not make. */
int token_read(struct str token, struct arena *a, struct str *ret_position,
    struct err *e);

#endif
