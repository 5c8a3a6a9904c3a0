/* storage/engine/ident.c - creel.json in each store path: whose it is.
 *
 *   { "format": 1, "deployment": UUID, "node": UUID, "group": "group1",
 *     "made": SECONDS,
 *     "path": { "number": 0, "uuid": UUID [, "replaces": UUID] },
 *     "paths": [ { "number": 0, "uuid": UUID }, ... ] }
 *
 * N1  Paths belong together when deployment and node are the same; the list is
 *     the union of theirs (one that was being added may be in its own only).
 * N2  Every path of the list must be given; a blank one is taken as a new one
 *     only when all known ones are there, or, with replace_blank, in place of
 *     one that is not.
 * N3  One that is taken in place of another says so itself, first: lists that
 *     still have the other are out of date. The other itself, should it turn
 *     up again, is refused.
 * Thread: the opener's. */
#include "storage/engine/engine_int.h"

#include "lib/clock.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	FORMAT = 1,
	MAX_JSON = 256 * 1024
};

struct known {
	bool is_set;
	struct id128 uuid;
	struct id128 before; /* what it has replaced; zero = nothing */
};

struct one { /* what is in one given directory */
	char dir[PATH_MAX - 128];
	int lock_fd;
	bool is_blank;
	struct ident ident;
	struct id128 replaces; /* N3; zero = nothing */
	unsigned no;
	char group[32];
};

struct all {
	struct one one[MAX_PATHS];
	size_t n;
	struct known known[MAX_PATHS];
	struct id128 deployment, node;
	int64_t made_s; /* the node's first path; 0: not told by any */
	bool has_ident;
	bool is_stale; /* a list is out of date (N3) */
};

static bool
get_uuid(const json_t *o, const char *name, struct id128 *ret)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL && id128_parse(s, strlen(s), ret);
}

static int
broken(const struct one *o, struct err *e)
{
	return err_set(e, ERR_CONFIG,
	    "%s/creel.json is damaged: put it back from a backup, or copy that "
	    "of another store path and give it this one's `path`",
	    o->dir);
}

static int
note_known(struct all *a, const struct one *o, unsigned no,
    const struct id128 *uuid, struct err *e)
{
	struct known *k = &a->known[no];
	bool is_own = no == o->no && id128_eq(uuid, &o->ident.path);

	if (k->is_set && !id128_is_zero(&k->before) &&
	    id128_eq(&k->before, uuid) && no != o->no) {
		a->is_stale = true;
		return 0;
	}
	if (is_own && !id128_is_zero(&o->replaces)) {
		if (k->is_set && id128_eq(&k->uuid, &o->replaces)) {
			a->is_stale = true;
			k->is_set = false;
		}
		k->before = o->replaces;
	}
	if (k->is_set && !id128_eq(&k->uuid, uuid))
		return err_set(e, ERR_CONFIG,
		    "%s/creel.json knows another store path %u than the others: "
		    "give the paths that belong together",
		    o->dir, no);
	k->is_set = true;
	k->uuid = *uuid;
	return 0;
}

static int
parse_list(struct all *a, const struct one *o, const json_t *list,
    struct err *e)
{
	size_t i;
	json_t *item;

	if (!json_is_array(list))
		return broken(o, e);
	json_array_foreach(list, i, item)
	{
		json_int_t no =
		    json_integer_value(json_object_get(item, "number"));
		struct id128 uuid;
		int rc;

		if (no < 0 || no >= MAX_PATHS || !get_uuid(item, "uuid", &uuid))
			return broken(o, e);
		rc = note_known(a, o, (unsigned)no, &uuid, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
parse(struct all *a, struct one *o, const json_t *j, struct err *e)
{
	json_int_t format = json_integer_value(json_object_get(j, "format"));
	const json_t *path = json_object_get(j, "path");
	json_int_t no = json_integer_value(json_object_get(path, "number"));
	const char *group = json_string_value(json_object_get(j, "group"));
	json_int_t made;
	int rc;

	if (format > FORMAT)
		return err_set(e, ERR_CONFIG,
		    "%s was written by a newer creel (format %lld): start that "
		    "one",
		    o->dir, (long long)format);
	if (format != FORMAT || no < 0 || no >= MAX_PATHS || group == NULL ||
	    !get_uuid(j, "deployment", &o->ident.deployment) ||
	    !get_uuid(j, "node", &o->ident.node) ||
	    !get_uuid(path, "uuid", &o->ident.path))
		return broken(o, e);
	o->no = (unsigned)no;
	get_uuid(path, "replaces", &o->replaces);
	snprintf(o->group, sizeof(o->group), "%s", group);
	if (a->has_ident && (!id128_eq(&a->deployment, &o->ident.deployment) ||
				!id128_eq(&a->node, &o->ident.node)))
		return err_set(e, ERR_CONFIG,
		    "%s belongs to another deployment than %s: give the paths "
		    "that belong together",
		    o->dir, a->one[0].dir);
	a->deployment = o->ident.deployment;
	a->node = o->ident.node;
	a->has_ident = true;
	made = json_integer_value(json_object_get(j, "made"));
	if (made > 0 && (a->made_s == 0 || made < a->made_s))
		a->made_s = made;
	rc = parse_list(a, o, json_object_get(j, "paths"), e);
	if (rc == 0)
		rc = note_known(a, o, o->no, &o->ident.path, e);
	return rc;
}

static int
check_blank(struct one *o, struct err *e)
{
	static const char *const ours[] = { "volumes", "findex", "data" };
	char name[PATH_MAX];

	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s/%s", o->dir, ours[i]);
		if (fs_exists(name))
			return err_set(e, ERR_CONFIG,
			    "%s/creel.json is missing though there is %s: "
			    "restore it, or give an empty directory",
			    o->dir, name);
	}
	o->is_blank = true;
	return 0;
}

static int
load_one(struct all *a, struct one *o, struct err *e)
{
	struct buf text = BUF_CAP(MAX_JSON);
	char name[PATH_MAX];
	json_error_t je;
	json_t *j;
	int rc;

	snprintf(name, sizeof(name), "%s/creel.json", o->dir);
	rc = fs_read_file(name, MAX_JSON, &text, e);
	if (rc == ERR_NOT_FOUND)
		rc = check_blank(o, e);
	else if (rc < 0)
		rc = err_set(e, ERR_CONFIG, "cannot read %s as uid %u: %s",
		    name, (unsigned)geteuid(),
		    e == NULL ? err_text(rc) : "see its permissions");
	if (rc == 0 && !o->is_blank) {
		j = json_loadb(text.p, text.len, 0, &je);
		rc = j == NULL ? broken(o, e) : parse(a, o, j, e);
		json_decref(j);
	}
	buf_fini(&text);
	return rc;
}

static int
open_one(struct all *a, struct one *o, const char *dir, struct err *e)
{
	char real[PATH_MAX], name[PATH_MAX];
	struct err why = ERR_INIT;
	int rc = fs_mkdir_p(dir, &why);

	if (rc < 0 || realpath(dir, real) == NULL)
		return err_set(e, ERR_CONFIG,
		    "cannot use %s as store path with uid %u: %.100s", dir,
		    (unsigned)geteuid(),
		    rc < 0 ? why.msg : strerrordesc_np(errno));
	if (strlen(real) >= sizeof(o->dir))
		return err_set(e, ERR_CONFIG, "path too long: %.150s", dir);
	memcpy(o->dir, real, strlen(real) + 1);
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->one[i].dir, o->dir) == 0)
			return err_set(e, ERR_CONFIG, "%s is given twice",
			    o->dir);
	}
	snprintf(name, sizeof(name), "%s/lock", o->dir);
	/* One that was killed may take a moment to be gone. */
	for (int i = 0;
	     (rc = fs_lock(name, &o->lock_fd, &why)) == ERR_BUSY && i < 10; i++)
		clock_sleep_ms(100);
	if (rc == ERR_BUSY)
		return err_set(e, ERR_CONFIG,
		    "%s is in use by another creel process: stop it first",
		    o->dir);
	if (rc < 0)
		return err_set(e, ERR_CONFIG,
		    "cannot use %s as store path with uid %u: %.100s", o->dir,
		    (unsigned)geteuid(), why.msg);
	return 0;
}

/* --- writing --- */

static json_t *
uuid_json(const struct id128 *id)
{
	char text[33];

	id128_text(id, text);
	return json_string(text);
}

static int
save_one(const struct all *a, const struct one *o, const char *group,
    struct err *e)
{
	json_t *list = json_array(), *j;
	char name[PATH_MAX], *text;
	int rc;

	for (unsigned i = 0; i < MAX_PATHS; i++) {
		if (a->known[i].is_set)
			json_array_append_new(list,
			    json_pack("{s:i, s:o}", "number", (int)i, "uuid",
				uuid_json(&a->known[i].uuid)));
	}
	j = json_pack("{s:i, s:o, s:o, s:s, s:I, s:{s:i, s:o}, s:o}", "format",
	    FORMAT, "deployment", uuid_json(&a->deployment), "node",
	    uuid_json(&a->node), "group", group, "made", (json_int_t)a->made_s,
	    "path", "number", (int)o->no, "uuid", uuid_json(&o->ident.path),
	    "paths", list);
	if (j != NULL && !id128_is_zero(&o->replaces))
		json_object_set_new(json_object_get(j, "path"), "replaces",
		    uuid_json(&o->replaces));
	text = j == NULL ? NULL : json_dumps(j, JSON_INDENT(2));
	json_decref(j);
	if (text == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	snprintf(name, sizeof(name), "%s/creel.json", o->dir);
	rc = fs_write_file(name, str_of(text), 0600, e);
	free(text);
	return rc;
}

static bool
is_given(const struct all *a, unsigned no)
{
	for (size_t i = 0; i < a->n; i++) {
		if (!a->one[i].is_blank && a->one[i].no == no)
			return true;
	}
	return false;
}

/* The first that is missing, else a new one. */
static unsigned
free_number(const struct all *a)
{
	unsigned no = 0;

	while (no < MAX_PATHS && a->known[no].is_set && is_given(a, no))
		no++;
	return no;
}

/* --- the rules --- */

static int
check_known(const struct all *a, const struct engine_conf *c, struct err *e)
{
	const char *blank = NULL;
	size_t n_blank = 0;

	for (size_t i = 0; i < a->n; i++) {
		if (a->one[i].is_blank) {
			blank = a->one[i].dir;
			n_blank++;
		}
	}
	for (unsigned no = 0; no < MAX_PATHS; no++) {
		if (!a->known[no].is_set || is_given(a, no))
			continue;
		if (c->replace_blank && n_blank > 0) {
			n_blank--;
			continue;
		}
		if (blank != NULL && !c->replace_blank)
			return err_set(e, ERR_CONFIG,
			    "store path %u is missing and %s is blank: is its "
			    "disk mounted? If it is lost, start once with "
			    "--replace-blank",
			    no, blank);
		return err_set(e, ERR_CONFIG,
		    "store path %u of this deployment is missing: give all of "
		    "its directories",
		    no);
	}
	return 0;
}

static int
check_twice(const struct all *a, struct err *e)
{
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < i; k++) {
			const struct one *x = &a->one[i], *y = &a->one[k];

			if (!x->is_blank && !y->is_blank && x->no == y->no)
				return err_set(e, ERR_CONFIG,
				    "%s and %s are both store path %u: one is "
				    "a copy of the other",
				    x->dir, y->dir, x->no);
		}
	}
	return 0;
}

static int
check_deployment(const struct all *a, const struct id128 *want, struct err *e)
{
	char has[33], wants[33];

	if (id128_eq(&a->deployment, want))
		return 0;
	id128_text(&a->deployment, has);
	id128_text(want, wants);
	return err_set(e, ERR_CONFIG,
	    "%s holds files of deployment %s, not of cluster %s: is it another "
	    "cluster's secret? (a new node wants an empty directory)",
	    a->one[0].dir, has, wants);
}

static int
take_blank(struct all *a, struct one *o, const struct engine_conf *c,
    struct err *e)
{
	struct known *k = &a->known[o->no];

	o->ident = (struct ident){ a->deployment, a->node, id128_new() };
	if (k->is_set) {
		char text[PATH_MAX + 80];

		o->replaces = k->uuid;
		snprintf(text, sizeof(text),
		    "store path %u (%.100s) is blank: taken anew", o->no,
		    o->dir);
		if (c->event != NULL)
			c->event(c->event_arg, LOG_WARN, text);
	}
	*k = (struct known){ true, o->ident.path, o->replaces };
	o->is_blank = false;
	/* One at a time: what is in a list is there, or was. */
	return save_one(a, o, c->group, e);
}

static int
settle(struct all *a, const struct engine_conf *c, struct err *e)
{
	const char *group = c->group;
	struct one *last = NULL;
	int rc = 0;

	if (!a->has_ident) {
		a->deployment =
		    c->deployment == NULL ? id128_new() : *c->deployment;
		a->node = id128_new();
		a->made_s = clock_real_s();
	} else if (c->deployment != NULL) {
		rc = check_deployment(a, c->deployment, e);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < a->n; i++) {
		struct one *o = &a->one[i];

		if (!o->is_blank) {
			if (strcmp(o->group, group) != 0)
				return err_set(e, ERR_CONFIG,
				    "%s belongs to group %s, not %s: set that "
				    "group",
				    o->dir, o->group, group);
			continue;
		}
		o->no = free_number(a);
		if (o->no == MAX_PATHS)
			return err_set(e, ERR_CONFIG, "too many store paths");
		rc = take_blank(a, o, c, e);
		if (rc < 0)
			return rc;
		last = o;
	}
	for (size_t i = 0; i < a->n && rc == 0 && (last != NULL || a->is_stale);
	     i++) {
		if (&a->one[i] != last)
			rc = save_one(a, &a->one[i], group, e);
	}
	return rc;
}

int
ident_open(const struct engine_conf *c, struct opened_path *ret, struct err *e)
{
	struct all *a;
	int rc = 0;

	if (c->n_paths == 0 || c->n_paths > MAX_PATHS)
		return err_set(e, ERR_CONFIG, "1 to %d store paths, not %zu",
		    MAX_PATHS, c->n_paths);
	a = mem_zalloc(sizeof(*a));
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < MAX_PATHS; i++)
		a->one[i].lock_fd = -1;
	for (; a->n < c->n_paths && rc == 0; a->n++)
		rc = open_one(a, &a->one[a->n], c->paths[a->n], e);
	for (size_t i = 0; i < a->n && rc == 0; i++)
		rc = load_one(a, &a->one[i], e);
	if (rc == 0)
		rc = check_twice(a, e);
	if (rc == 0)
		rc = check_known(a, c, e);
	if (rc == 0)
		rc = settle(a, c, e);
	for (size_t i = 0; i < a->n && rc == 0; i++) {
		if (a->one[i].no >= a->n)
			rc = broken(&a->one[i], e);
	}
	for (size_t i = 0; i < a->n; i++) {
		struct one *o = &a->one[i];

		if (rc < 0) {
			fs_close(&o->lock_fd);
			continue;
		}
		memcpy(ret[o->no].dir, o->dir, sizeof(o->dir));
		ret[o->no].lock_fd = o->lock_fd;
		ret[o->no].ident = o->ident;
		ret[o->no].made_s = a->made_s;
	}
	free(a);
	return rc;
}
