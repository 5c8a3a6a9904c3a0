/* cli/creds.h - the root pair: from the settings, from DIR/credentials.env,
 * or made at first start.
 *
 * The environment and the configuration file are lib/conf.h's business. Half a
 * pair, a user that cannot be an access key and a password under 8 characters
 * are ERR_CONFIG. */
#ifndef CLI_CREDS_H
#define CLI_CREDS_H

#include "lib/err.h"

#define CREDS_FILE "credentials.env"
#define CREDS_MIN_PASSWORD 8

struct creds {
	char user[129];
	char password[129];
};

struct conf;
/* ERR_NOT_FOUND when @c has neither half. */
int creds_from_conf(const struct conf *c, struct creds *ret, struct err *e);
/* The same, loading the settings of `creel server` from the environment and
 * the file that CREEL_CONFIG names; without a pair there, from DIR. For the
 * tools that speak to a server. */
int creds_find(const char *dir, struct creds *ret, struct err *e);
/* ERR_NOT_FOUND when DIR has no credentials.env. */
int creds_from_dir(const char *dir, struct creds *ret, struct err *e);
/* Makes a random pair (20 and 40 characters) and keeps it in DIR, mode 0600. */
int creds_create(const char *dir, struct creds *ret, struct err *e);
void creds_wipe(struct creds *c);

#endif
