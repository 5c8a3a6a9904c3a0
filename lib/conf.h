/* lib/conf.h - settings: flags over environment over file over default.
 *
 * Each setting stands once in lib/conf_table.h, with its type, default, bounds
 * and documentation; from it come the fields of struct conf, the flags, the
 * environment variables, the sample files in conf/ and --help. The only user
 * of libinih.
 *
 * Text forms: bool yes/no/true/false/on/off/1/0; int decimal; size with K, M, G
 * or T (1024; a B or iB may follow); duration with ms, s, m, h or d, seconds
 * without; list with commas. A source that names a list replaces that of a
 * lower one; repeated in one source it adds up. Threads: a loaded struct conf
 * is read-only. */
#ifndef LIB_CONF_H
#define LIB_CONF_H

#include "lib/err.h"
#include "lib/str.h"

enum conf_daemon { /* a mask in the table */
	CONF_SERVER = 1,
	CONF_GATEWAY = 2,
	CONF_STORAGE = 4,
	CONF_TRACKER = 8,
};

enum conf_type {
	CONF_BOOL,     /* bool */
	CONF_INT,      /* int64_t */
	CONF_SIZE,     /* uint64_t, bytes */
	CONF_DURATION, /* int64_t, milliseconds */
	CONF_STRING, /* const char *, "" when not set; bounds are its length */
	CONF_CHOICE, /* int, position in .choices */
	CONF_LIST,   /* struct conf_list */
};

enum {                   /* attributes */
	CONF_RELOAD = 1, /* SIGHUP applies it; the others need a restart */
	CONF_SECRET = 2, /* no flag; NAME_FILE in the environment, NAME_file in
	       the file; never shown */
	CONF_LISTEN = 4, /* text or list: of the form [HOST]:PORT */
};

struct conf_list {
	const char *const *v;
	size_t n;
};

enum conf_source {
	CONF_FROM_DEFAULT,
	CONF_FROM_FILE,
	CONF_FROM_ENV,
	CONF_FROM_FLAG
};

#define CONF_FIELD_BOOL(name) bool name;
#define CONF_FIELD_INT(name) int64_t name;
#define CONF_FIELD_SIZE(name) uint64_t name;
#define CONF_FIELD_DURATION(name) int64_t name;
#define CONF_FIELD_STRING(name) const char *name;
#define CONF_FIELD_CHOICE(name) int name;
#define CONF_FIELD_LIST(name) struct conf_list name;

enum conf_setting { /* CONF_S_address, ... */
#define GROUP(title)
#define X(type, name, ...) CONF_S_##name,
#include "lib/conf_table.h"
#undef X
	CONF_SETTINGS
};

struct conf {
#define X(type, name, ...) CONF_FIELD_##type(name)
#include "lib/conf_table.h"
#undef X
#undef GROUP
	const char *file;      /* --config, NULL when there is none */
	struct conf_list args; /* what is no flag: store paths, ... */
	enum conf_source source[CONF_SETTINGS];
	struct arena *arena; /* owns all of the above */
};

/* What conf_load() found instead of a wish to run. */
enum {
	CONF_HELP = 1,
	CONF_SAMPLE = 2
};

/* Defaults, then the file of --config or CREEL_CONFIG, then the environment,
 * then flags. @argv without program and subcommand; it must outlive @c.
 * CONF_HELP or CONF_SAMPLE when --help or --sample-config is among them. Errors
 * (ERR_CONFIG) are one line that names the flag, variable or FILE:LINE. On
 * every result but 0, @c needs no conf_fini(). */
int conf_load(struct conf *c, enum conf_daemon d, int argc,
    const char *const *argv, struct err *e);
void conf_fini(struct conf *c);

/* The documented sample file; a list of flags for --help. */
int conf_sample(enum conf_daemon d, struct buf *ret);
int conf_help(enum conf_daemon d, struct buf *ret);

/* Parsers of the text forms, for admin commands too. */
bool conf_parse_size(struct str s, uint64_t *ret);
bool conf_parse_duration(struct str s, int64_t *ret_ms);
bool conf_parse_bool(struct str s, bool *ret);

#endif
