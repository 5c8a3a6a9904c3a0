/* lib/conf_impl.h - the table of settings as an array, between conf.c and
 * conf_text.c. */
#ifndef LIB_CONF_IMPL_H
#define LIB_CONF_IMPL_H

#include "lib/conf.h"

struct conf_def {
	const char *name, *def, *doc;
	const char *group;   /* set on a heading, which is nothing else */
	const char *aliases; /* more environment variables, by blanks */
	const char *choices; /* a|b|c */
	enum conf_type type;
	unsigned daemons, attrs;
	uint64_t min, max; /* max 0 = no bound; of sizes, numbers, lengths */
	size_t offset;
	int index; /* enum conf_setting */
};

extern const struct conf_def conf_defs[];
extern const size_t conf_n_defs;

#define CONF_ENV_MAX 64
/* CREEL_NAME */
void conf_env_name(const struct conf_def *d, char dst[CONF_ENV_MAX]);
/* name with dashes */
void conf_flag_name(const struct conf_def *d, char dst[CONF_ENV_MAX]);

#endif
