/* cluster/secret.h - the secret that the processes of a cluster share.
 *
 * 32 random bytes as 64 hex digits, made by `creel admin secret new FILE`; any
 * text of 16 to 256 characters is taken too. From it come the handshake's keys
 * and, unless the setting cluster_id gives one, the cluster's ID: the first 16
 * bytes of HMAC-SHA256(secret, "creel cluster id"). Threads: any. */
#ifndef CLUSTER_SECRET_H
#define CLUSTER_SECRET_H

#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

/* ERR_CONFIG with one line when it is missing, short or long. */
int secret_check(struct str secret, struct err *e);
/* @setting: the text of cluster_id, "" for the derived one. */
int secret_cluster_id(struct str secret, const char *setting, struct id128 *ret,
    struct err *e);
/* Writes a new one: mode 0600, durable, never over an existing file. */
int secret_new(const char *path, struct err *e);

#define SECRET_NONCE 32
#define SECRET_PROOF 32
/* HMAC over label and @text; the caller packs what is proved. */
void secret_proof(struct str secret, const char *label, struct str text,
    uint8_t dst[SECRET_PROOF]);

#endif
