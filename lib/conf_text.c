/* lib/conf_text.c - the sample files and --help, from the table. */
#include "lib/conf_impl.h"

#define WIDTH 78

static const char *const type_names[] = {
	[CONF_BOOL] = "yes or no",
	[CONF_INT] = "number",
	[CONF_SIZE] = "size",
	[CONF_DURATION] = "duration",
	[CONF_STRING] = "text",
	[CONF_CHOICE] = "choice",
	[CONF_LIST] = "list",
};

static const char *
daemon_name(enum conf_daemon d)
{
	switch (d) {
	case CONF_SERVER:
		return "server";
	case CONF_GATEWAY:
		return "gateway";
	case CONF_STORAGE:
		return "storage";
	case CONF_TRACKER:
		return "tracker";
	}
	return "?";
}

/* Adds the words of @text, each line starting with @lead. */
static int
add_wrapped(struct buf *b, const char *lead, const char *text)
{
	struct str rest = str_of(text);
	size_t column = 0;
	int rc = 0;

	while (rc == 0 && rest.p != NULL) {
		struct str word = str_split(&rest, ' ');

		if (column > 0 && column + 1 + word.len > WIDTH) {
			rc = buf_addc(b, '\n');
			column = 0;
		}
		if (rc == 0 && column == 0) {
			rc = buf_addz(b, lead);
			column = strlen(lead);
		} else if (rc == 0) {
			rc = buf_addc(b, ' ');
			column++;
		}
		if (rc == 0)
			rc = buf_adds(b, word);
		column += word.len;
	}
	return rc == 0 ? buf_addc(b, '\n') : rc;
}

/* "size, 4K to 16M; CREEL_X, MINIO_X; --x" */
static int
add_facts(struct buf *b, const struct conf_def *d)
{
	char env[CONF_ENV_MAX], flag[CONF_ENV_MAX];
	struct str more = str_of(d->aliases);
	int rc;

	conf_env_name(d, env);
	conf_flag_name(d, flag);
	rc = buf_addf(b, "# (%s%s%s; %s", type_names[d->type],
	    d->choices == NULL ? "" : ": ",
	    d->choices == NULL ? "" : d->choices, env);
	while (rc == 0 && more.p != NULL) {
		struct str alias = str_split(&more, ' ');

		rc = buf_addf(b, ", " STR_FMT, STR_ARG(alias));
	}
	if (rc == 0 && (d->attrs & CONF_SECRET) == 0)
		rc = buf_addf(b, "; --%s", flag);
	if (rc == 0 && d->attrs & CONF_RELOAD)
		rc = buf_addz(b, "; SIGHUP");
	return rc == 0 ? buf_addz(b, ")\n") : rc;
}

/* A heading is shown when a setting of this daemon follows it. */
static bool
has_any(size_t group, enum conf_daemon daemon)
{
	for (size_t i = group + 1; i < conf_n_defs; i++) {
		if (conf_defs[i].group != NULL)
			return false;
		if (conf_defs[i].daemons & daemon)
			return true;
	}
	return false;
}

int
conf_sample(enum conf_daemon daemon, struct buf *ret)
{
	int rc = buf_addf(ret,
	    "# Settings of `creel %s`, with their defaults. Made by\n"
	    "# `creel %s --sample-config`.\n"
	    "#\n"
	    "# Flags win over the environment, which wins over this file.\n"
	    "# Sizes take K, M, G, T (1024); durations ms, s, m, h, d; lists are\n"
	    "# separated by commas, or the line is repeated. The settings marked\n"
	    "# SIGHUP are read again on that signal; the others need a restart.\n",
	    daemon_name(daemon), daemon_name(daemon));

	for (size_t i = 0; rc == 0 && i < conf_n_defs; i++) {
		const struct conf_def *d = &conf_defs[i];

		if (d->group != NULL) {
			if (has_any(i, daemon))
				rc =
				    buf_addf(ret, "\n# --- %s ---\n", d->group);
			continue;
		}
		if ((d->daemons & daemon) == 0)
			continue;
		rc = buf_addc(ret, '\n');
		if (rc == 0)
			rc = add_wrapped(ret, "# ", d->doc);
		if (rc == 0)
			rc = add_facts(ret, d);
		if (rc == 0)
			rc = buf_addf(ret, "#%s =%s%s\n", d->name,
			    *d->def == '\0' ? "" : " ", d->def);
	}
	return rc;
}

int
conf_help(enum conf_daemon daemon, struct buf *ret)
{
	int rc = buf_addz(ret, "  --config FILE\n"
			       "      Read settings from FILE (CREEL_CONFIG).\n"
			       "  --sample-config\n"
			       "      Print a documented sample of it.\n");

	for (size_t i = 0; rc == 0 && i < conf_n_defs; i++) {
		const struct conf_def *d = &conf_defs[i];
		char flag[CONF_ENV_MAX];

		if (d->group != NULL) {
			if (has_any(i, daemon))
				rc = buf_addf(ret, "\n%s:\n", d->group);
			continue;
		}
		if ((d->daemons & daemon) == 0)
			continue;
		if (d->attrs & CONF_SECRET) {
			conf_env_name(d, flag);
			rc = buf_addf(ret, "  %s (environment)\n", flag);
		} else {
			conf_flag_name(d, flag);
			rc = buf_addf(ret, "  --%s %s%s%s%s\n", flag,
			    d->type == CONF_CHOICE ? d->choices
						   : type_names[d->type],
			    *d->def == '\0' ? "" : " (default ", d->def,
			    *d->def == '\0' ? "" : ")");
		}
		if (rc == 0)
			rc = add_wrapped(ret, "      ", d->doc);
	}
	return rc;
}
