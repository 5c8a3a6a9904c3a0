/* lib/conf.c - loading settings. */
#include "lib/conf.h"
#include "lib/conf_impl.h"

#include "lib/arena.h"
#include "lib/fs.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_MEMORY ((size_t)1 << 20)
#define MAX_FILE ((size_t)256 << 10)

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
#define HOUR ((uint64_t)3600000)
#define DAY ((uint64_t)86400000)
#define SRV CONF_SERVER
#define GW CONF_GATEWAY
#define STO CONF_STORAGE
#define TRK CONF_TRACKER

const struct conf_def conf_defs[] = {
#define GROUP(title) { .group = title },
#define X(t, n, d, who, ...)                                                   \
	{ .name = #n,                                                          \
		.type = CONF_##t,                                              \
		.def = d,                                                      \
		.daemons = who,                                                \
		.offset = offsetof(struct conf, n),                            \
		.index = CONF_S_##n,                                           \
		__VA_ARGS__ },
#include "lib/conf_table.h"
#undef X
#undef GROUP
};
const size_t conf_n_defs = sizeof(conf_defs) / sizeof(conf_defs[0]);

static void
spell(const char *name, char dst[CONF_ENV_MAX], const char *prefix, bool env)
{
	size_t o = strlen(prefix);

	MUST(o + strlen(name) < CONF_ENV_MAX);
	memcpy(dst, prefix, o);
	for (const char *p = name; *p != '\0'; p++) {
		if (env)
			dst[o++] =
			    (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
		else
			dst[o++] = *p == '_' ? '-' : *p;
	}
	dst[o] = '\0';
}

void
conf_env_name(const struct conf_def *d, char dst[CONF_ENV_MAX])
{
	spell(d->name, dst, "CREEL_", true);
}

void
conf_flag_name(const struct conf_def *d, char dst[CONF_ENV_MAX])
{
	spell(d->name, dst, "", false);
}

/* --- text forms --- */

/* Digits, then a unit. */
static bool
split_number(struct str s, uint64_t *ret, struct str *ret_unit)
{
	size_t n = 0;

	while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	*ret_unit = str_trim(str_skip(s, n));
	return str_to_u64(str_sub(s, 0, n), UINT64_MAX, ret);
}

bool
conf_parse_size(struct str s, uint64_t *ret)
{
	static const char units[] = "KMGT";
	uint64_t v;
	struct str u;

	if (!split_number(s, &v, &u))
		return false;
	if (u.len > 0 && !str_ieq(u, STR_LIT("B"))) {
		const char *at = strchr(units, u.p[0] & ~0x20);
		struct str rest = str_skip(u, 1);
		uint64_t f;

		if (at == NULL || *at == '\0' ||
		    (rest.len > 0 && !str_ieq(rest, STR_LIT("B")) &&
			!str_ieq(rest, STR_LIT("iB"))))
			return false;
		f = (uint64_t)1 << 10 * (at - units + 1);
		if (__builtin_mul_overflow(v, f, &v))
			return false;
	}
	*ret = v;
	return true;
}

bool
conf_parse_duration(struct str s, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 } };
	uint64_t v;
	struct str u;

	if (!split_number(s, &v, &u) || v > INT64_MAX)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (str_ieq(u, str_of(units[i].name)))
			return !__builtin_mul_overflow((int64_t)v, units[i].ms,
			    ret_ms);
	}
	return false;
}

bool
conf_parse_bool(struct str s, bool *ret)
{
	static const char *const words[] = { "no", "yes", "false", "true",
		"off", "on", "0", "1" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (str_ieq(s, str_of(words[i]))) {
			*ret = i % 2 != 0;
			return true;
		}
	}
	return false;
}

static bool
parse_choice(const char *choices, struct str s, int *ret)
{
	struct str all = str_of(choices);

	for (int i = 0; all.p != NULL; i++) {
		if (str_ieq(str_split(&all, '|'), s)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* --- one value --- */

static int
bad(const struct conf_def *d, const char *where, struct err *e)
{
	static const char *const want[] = {
		[CONF_BOOL] = "yes or no",
		[CONF_INT] = "a number",
		[CONF_SIZE] = "a size such as 64M",
		[CONF_DURATION] = "a duration such as 90s or 7d",
		[CONF_STRING] = "text",
		[CONF_CHOICE] = "one of",
		[CONF_LIST] = "a list",
	};

	return err_set(e, ERR_CONFIG, "%s: %s must be %s%s%s", where, d->name,
	    want[d->type], d->choices == NULL ? "" : " ",
	    d->choices == NULL ? "" : d->choices);
}

static int
check_bounds(const struct conf_def *d, uint64_t v, const char *where,
    struct err *e)
{
	const char *what = d->type == CONF_STRING ? " characters" : "";
	uint64_t unit = 1;

	if (v >= d->min && (d->max == 0 || v <= d->max))
		return 0;
	if (d->type == CONF_DURATION) {
		what = " ms";
	} else if (d->type == CONF_SIZE && d->min % KIB == 0) {
		unit = KIB;
		what = " KiB";
	}
	return err_set(e, ERR_CONFIG, "%s: %s must be %ju to %ju%s", where,
	    d->name, (uintmax_t)(d->min / unit), (uintmax_t)(d->max / unit),
	    what);
}

static int
no_memory(const char *where, struct err *e)
{
	return err_set(e, ERR_CONFIG, "%s: settings take over 1 MiB", where);
}

static int
append(struct conf *c, struct conf_list *l, struct str s, const char *where,
    struct err *e)
{
	const char **v = arena_alloc(c->arena, (l->n + 1) * sizeof(*v));
	struct str copy = arena_str(c->arena, s);

	if (v == NULL || copy.p == NULL)
		return no_memory(where, e);
	if (l->n > 0)
		memcpy(v, l->v, l->n * sizeof(*v));
	v[l->n] = copy.p;
	*l = (struct conf_list){ v, l->n + 1 };
	return 0;
}

static int
set_list(struct conf *c, struct conf_list *l, struct str s, const char *where,
    struct err *e)
{
	while (s.p != NULL) {
		struct str item = str_trim(str_split(&s, ','));
		int rc = item.len == 0 ? 0 : append(c, l, item, where, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The form alone, so that a slip of the pen is told before anything is made;
 * whether the machine has that address shows when it listens. */
static int
check_listen(const struct conf_def *d, struct str s, const char *where,
    struct err *e)
{
	ptrdiff_t colon = str_rchr(s, ':');
	struct str host = str_sub(s, 0, colon < 0 ? 0 : (size_t)colon);
	bool is_bracketed =
	    host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']';
	uint64_t port;

	if (colon < 0 ||
	    !str_to_u64(str_skip(s, (size_t)colon + 1), UINT16_MAX, &port))
		return err_set(e, ERR_CONFIG, "%s: %s must be [HOST]:PORT",
		    where, d->name);
	if (!is_bracketed && str_chr(host, ':') >= 0)
		return err_set(e, ERR_CONFIG,
		    "%s: %s: an IPv6 host stands in brackets, [::1]:PORT",
		    where, d->name);
	return 0;
}

static int
check_listens(const struct conf_def *d, const struct conf_list *l,
    const char *where, struct err *e)
{
	int rc = 0;

	if (l->n == 0 && *d->def != '\0')
		rc = check_listen(d, STR_LIT(""), where, e);
	for (size_t i = 0; rc == 0 && i < l->n; i++)
		rc = check_listen(d, str_of(l->v[i]), where, e);
	return rc;
}

/* @where: "--flag", "CREEL_X" or "file:12". */
static int
set(struct conf *c, const struct conf_def *d, struct str s,
    enum conf_source source, const char *where, struct err *e)
{
	void *at = (char *)c + d->offset;
	uint64_t u;
	int64_t i;
	struct str copy;
	int rc;

	s = str_trim(s);
	if (memchr(s.p == NULL ? "" : s.p, '\0', s.len) != NULL)
		return err_set(e, ERR_CONFIG, "%s: %s holds a NUL", where,
		    d->name);
	switch (d->type) {
	case CONF_BOOL:
		if (!conf_parse_bool(s, at))
			return bad(d, where, e);
		break;
	case CONF_INT:
		if (!str_to_u64(s, INT64_MAX, &u))
			return bad(d, where, e);
		rc = check_bounds(d, u, where, e);
		if (rc < 0)
			return rc;
		*(int64_t *)at = (int64_t)u;
		break;
	case CONF_SIZE:
		if (!conf_parse_size(s, &u))
			return bad(d, where, e);
		rc = check_bounds(d, u, where, e);
		if (rc < 0)
			return rc;
		*(uint64_t *)at = u;
		break;
	case CONF_DURATION:
		if (!conf_parse_duration(s, &i))
			return bad(d, where, e);
		rc = check_bounds(d, (uint64_t)i, where, e);
		if (rc < 0)
			return rc;
		*(int64_t *)at = i;
		break;
	case CONF_STRING:
		rc = 0;
		if (s.len > 0 || *d->def != '\0')
			rc = check_bounds(d, s.len, where, e);
		if (rc == 0 && d->attrs & CONF_LISTEN &&
		    (s.len > 0 || *d->def != '\0'))
			rc = check_listen(d, s, where, e);
		if (rc < 0)
			return rc;
		copy = arena_str(c->arena, s);
		if (copy.p == NULL)
			return no_memory(where, e);
		*(const char **)at = copy.p;
		break;
	case CONF_CHOICE:
		if (!parse_choice(d->choices, s, at))
			return bad(d, where, e);
		break;
	case CONF_LIST:
		if (source != c->source[d->index])
			*(struct conf_list *)at = (struct conf_list){ 0 };
		rc = set_list(c, at, s, where, e);
		if (rc == 0 && d->attrs & CONF_LISTEN)
			rc = check_listens(d, at, where, e);
		if (rc < 0)
			return rc;
		break;
	}
	c->source[d->index] = source;
	return 0;
}

/* --- sources --- */

static const struct conf_def *
find(struct str name, bool is_flag)
{
	for (size_t i = 0; i < conf_n_defs; i++) {
		const struct conf_def *d = &conf_defs[i];
		char flag[CONF_ENV_MAX];

		if (d->group != NULL)
			continue;
		if (is_flag) {
			conf_flag_name(d, flag);
			if (str_eqz(name, flag))
				return d;
		} else if (str_eqz(name, d->name)) {
			return d;
		}
	}
	return NULL;
}

/* What @path holds, but for the end of its line. */
static int
set_from_file(struct conf *c, const struct conf_def *d, const char *path,
    enum conf_source source, const char *where, struct err *e)
{
	struct buf text = BUF_CAP(4096);
	struct str s;
	int rc = fs_read_file(path, 4096, &text, e);

	if (rc == 0) {
		s = buf_str(&text);
		while (s.len > 0 &&
		       (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
			s.len--;
		rc = set(c, d, s, source, where, e);
	} else {
		rc = ERR_CONFIG;
		if (e != NULL)
			e->code = rc;
	}
	if (text.p != NULL)
		explicit_bzero(text.p, text.size);
	buf_fini(&text);
	return rc;
}

struct file_reader {
	struct conf *c;
	enum conf_daemon daemon;
	struct err *e;
	struct str left; /* of the file's text */
	unsigned line;
	int rc;
};

/* As fgets(3) over the text. libinih does not tell the line, and cuts long
 * ones in two: hence here. */
static char *
read_line(char *dst, int size, void *arg)
{
	struct file_reader *r = arg;
	struct str line;

	if (r->rc < 0 || r->left.p == NULL || r->left.len == 0)
		return NULL;
	r->line++;
	line = str_split(&r->left, '\n');
	if (line.len + 2 > (size_t)size ||
	    memchr(line.p, 0, line.len) != NULL) {
		r->rc = err_set(r->e, ERR_CONFIG, "%s:%u: %s", r->c->file,
		    r->line,
		    line.len + 2 > (size_t)size
			? "line too long (repeat the setting for a long list)"
			: "holds a NUL");
		return NULL;
	}
	memcpy(dst, line.p, line.len);
	dst[line.len] = '\n';
	dst[line.len + 1] = '\0';
	return dst;
}

/* NAME, or of a secret NAME_file. */
static const struct conf_def *
find_in_file(struct str name, bool *ret_is_path)
{
	struct str end = STR_LIT("_file");
	const struct conf_def *d = find(name, false);

	*ret_is_path = false;
	if (d != NULL || !str_has_suffix(name, end))
		return d;
	d = find(str_sub(name, 0, name.len - end.len), false);
	*ret_is_path = d != NULL && (d->attrs & CONF_SECRET);
	return *ret_is_path ? d : NULL;
}

static int
on_pair(void *arg, const char *section, const char *name, const char *value)
{
	struct file_reader *r = arg;
	bool is_path;
	const struct conf_def *d = find_in_file(str_of(name), &is_path);
	char where[160];

	if (r->rc < 0)
		return 0;
	snprintf(where, sizeof(where), "%s:%u", r->c->file, r->line);
	if (*section != '\0')
		r->rc = err_set(r->e, ERR_CONFIG,
		    "%s: sections ([%.40s]) are not used here", where, section);
	else if (d == NULL)
		r->rc = err_set(r->e, ERR_CONFIG, "%s: unknown setting %.60s",
		    where, name);
	else if ((d->daemons & r->daemon) == 0)
		r->rc = err_set(r->e, ERR_CONFIG,
		    "%s: %s is not a setting of this daemon", where, name);
	else if (r->c->source[d->index] == CONF_FROM_FILE &&
		 d->type != CONF_LIST)
		r->rc = err_set(r->e, ERR_CONFIG,
		    "%s: %s is set twice, or the line is indented", where,
		    name);
	else if (is_path)
		r->rc =
		    set_from_file(r->c, d, value, CONF_FROM_FILE, where, r->e);
	else
		r->rc =
		    set(r->c, d, str_of(value), CONF_FROM_FILE, where, r->e);
	return r->rc == 0;
}

static int
load_file(struct conf *c, enum conf_daemon daemon, struct err *e)
{
	struct file_reader r = { .c = c, .daemon = daemon, .e = e };
	struct buf text = BUF_CAP(MAX_FILE);
	int rc = fs_read_file(c->file, MAX_FILE, &text, e), line;

	if (rc < 0) {
		buf_fini(&text);
		if (e != NULL)
			e->code = ERR_CONFIG;
		return ERR_CONFIG;
	}
	r.left = buf_str(&text);
	line = ini_parse_stream(read_line, &r, on_pair, &r);
	if (r.rc == 0 && line != 0)
		r.rc = err_set(e, ERR_CONFIG, "%s:%d: expected NAME = VALUE",
		    c->file, line);
	buf_fini(&text);
	return r.rc;
}

static int
load_secret_file(struct conf *c, const struct conf_def *d, const char *var,
    struct err *e)
{
	char name[CONF_ENV_MAX + 8];
	const char *path;

	snprintf(name, sizeof(name), "%s_FILE", var);
	path = getenv(name);
	if (path == NULL || *path == '\0')
		return 0;
	return set_from_file(c, d, path, CONF_FROM_ENV, name, e);
}

/* CREEL_NAME before its aliases; a variable that is empty counts as not set,
 * since compose files pass them on that way. */
static int
load_env(struct conf *c, enum conf_daemon daemon, struct err *e)
{
	for (size_t i = 0; i < conf_n_defs; i++) {
		const struct conf_def *d = &conf_defs[i];
		char var[CONF_ENV_MAX];
		struct str more = str_of(d->aliases);

		if (d->group != NULL || (d->daemons & daemon) == 0)
			continue;
		conf_env_name(d, var);
		while (c->source[d->index] != CONF_FROM_ENV) {
			const char *value = getenv(var);
			struct str alias;
			int rc = 0;

			if (value != NULL && *value != '\0')
				rc = set(c, d, str_of(value), CONF_FROM_ENV,
				    var, e);
			else if (d->attrs & CONF_SECRET)
				rc = load_secret_file(c, d, var, e);
			if (rc < 0)
				return rc;
			if (more.p == NULL)
				break;
			alias = str_split(&more, ' ');
			MUST(alias.len < sizeof(var));
			memcpy(var, alias.p, alias.len);
			var[alias.len] = '\0';
		}
	}
	return 0;
}

static int
unknown_flag(const char *arg, struct err *e)
{
	return err_set(e, ERR_CONFIG, "unknown flag %.60s (--help lists all)",
	    arg);
}

static bool
is_bool_word(const char *s)
{
	bool b;

	return (*s < '0' || *s > '9') && conf_parse_bool(str_of(s), &b);
}

/* One argument that starts with "--"; *i moves on over its value. @c is NULL on
 * the first pass, which looks for --config alone. */
static int
take_flag(struct conf *c, enum conf_daemon daemon, int argc,
    const char *const *argv, int *i, const char **ret_file, struct err *e)
{
	const char *arg = argv[*i];
	struct str value = str_of(arg + 2), name = str_split(&value, '=');
	const struct conf_def *d = find(name, true);
	char where[CONF_ENV_MAX + 8];
	bool is_config = str_eqz(name, "config"), no = false;

	if (d == NULL && str_has_prefix(name, STR_LIT("no-"))) {
		d = find(str_skip(name, 3), true);
		no = d != NULL && d->type == CONF_BOOL && value.p == NULL;
		d = no ? d : NULL;
	}
	if (!is_config && (d == NULL || (d->daemons & daemon) == 0))
		return unknown_flag(arg, e);
	if (!is_config && d->attrs & CONF_SECRET)
		return err_set(e, ERR_CONFIG,
		    "--%.40s would show to every user of the machine: set it "
		    "in the environment",
		    arg + 2);
	if (!is_config && d->type == CONF_BOOL && value.p == NULL) {
		value = no ? STR_LIT("no") : STR_LIT("yes");
		/* `--flag yes` is no directory of that name */
		if (!no && *i + 1 < argc && is_bool_word(argv[*i + 1]))
			value = str_of(argv[++*i]);
	} else if (value.p == NULL) {
		if (*i + 1 >= argc)
			return err_set(e, ERR_CONFIG, "%.60s needs a value",
			    arg);
		value = str_of(argv[++*i]);
	}
	if (is_config) {
		*ret_file = value.p; /* the tail of an argument: terminated */
		return 0;
	}
	if (c == NULL)
		return 0;
	snprintf(where, sizeof(where), "--" STR_FMT,
	    (int)(name.len < CONF_ENV_MAX ? name.len : CONF_ENV_MAX), name.p);
	return set(c, d, value, CONF_FROM_FLAG, where, e);
}

static int
load_args(struct conf *c, enum conf_daemon daemon, int argc,
    const char *const *argv, const char **ret_file, struct err *e)
{
	bool only_args = false;
	int rc = 0;

	for (int i = 0; rc == 0 && i < argc; i++) {
		if (!only_args && strcmp(argv[i], "--") == 0) {
			only_args = true;
			continue;
		}
		if (!only_args && (strcmp(argv[i], "--help") == 0 ||
				      strcmp(argv[i], "-h") == 0))
			return CONF_HELP;
		if (!only_args && strcmp(argv[i], "--sample-config") == 0)
			return CONF_SAMPLE;
		if (!only_args && strncmp(argv[i], "--", 2) == 0)
			rc = take_flag(c, daemon, argc, argv, &i, ret_file, e);
		else if (!only_args && argv[i][0] == '-' && argv[i][1] != '\0')
			rc = unknown_flag(argv[i], e);
		else if (c != NULL)
			rc = append(c, &c->args, str_of(argv[i]), argv[i], e);
	}
	return rc;
}

int
conf_load(struct conf *c, enum conf_daemon daemon, int argc,
    const char *const *argv, struct err *e)
{
	const char *file = getenv("CREEL_CONFIG");
	int rc;

	*c = (struct conf){ 0 };
	rc = load_args(NULL, daemon, argc, argv, &file, e);
	if (rc != 0)
		return rc;
	c->arena = arena_new(MAX_MEMORY);
	if (c->arena == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; rc == 0 && i < conf_n_defs; i++) {
		const struct conf_def *d = &conf_defs[i];

		if (d->group == NULL)
			rc = set(c, d, str_of(d->def), CONF_FROM_DEFAULT,
			    "default", e);
	}
	c->file = file != NULL && *file != '\0' ? file : NULL;
	if (rc == 0 && c->file != NULL)
		rc = load_file(c, daemon, e);
	if (rc == 0)
		rc = load_env(c, daemon, e);
	if (rc == 0)
		rc = load_args(c, daemon, argc, argv, &file, e);
	if (rc != 0)
		conf_fini(c);
	return rc;
}

void
conf_fini(struct conf *c)
{
	if (c->root_password != NULL)
		explicit_bzero((void *)(uintptr_t)c->root_password,
		    strlen(c->root_password));
	arena_free(&c->arena);
	*c = (struct conf){ 0 };
}
