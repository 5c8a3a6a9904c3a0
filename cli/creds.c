/* cli/creds.c - see cli/creds.h. */
#include "cli/creds.h"

#include "lib/conf.h"
#include "lib/fs.h"
#include "lib/rand.h"

#include <stdio.h>
#include <string.h>

#define CREDS_FILE_MAX 4096

/* What can stand in a signature's credential field. */
static int
check(const struct creds *c, struct err *e)
{
	size_t i, n = strlen(c->user);

	if (n < 3)
		return err_set(e, ERR_CONFIG,
		    "the root user's name needs 3 characters at least");
	for (i = 0; i < n; i++)
		if (c->user[i] <= ' ' || c->user[i] > '~' ||
		    strchr("/,=:\"'\\", c->user[i]) != NULL)
			return err_set(e, ERR_CONFIG,
			    "the root user's name may hold printable ASCII "
			    "only, without / , = : quotes and blanks");
	if (strlen(c->password) < CREDS_MIN_PASSWORD)
		return err_set(e, ERR_CONFIG,
		    "the root password needs %d characters at least",
		    CREDS_MIN_PASSWORD);
	return 0;
}

int
creds_from_conf(const struct conf *c, struct creds *ret, struct err *e)
{
	struct creds found;
	bool no_user = c->root_user[0] == '\0';
	bool no_password = c->root_password[0] == '\0';
	int rc;

	if (no_user && no_password)
		return err_set(e, ERR_NOT_FOUND,
		    "no CREEL_ROOT_USER and CREEL_ROOT_PASSWORD given");
	if (no_user || no_password)
		return err_set(e, ERR_CONFIG,
		    "CREEL_ROOT_%s is set but CREEL_ROOT_%s is not",
		    no_user ? "PASSWORD" : "USER",
		    no_user ? "USER" : "PASSWORD");
	snprintf(found.user, sizeof(found.user), "%s", c->root_user);
	snprintf(found.password, sizeof(found.password), "%s",
	    c->root_password);
	rc = check(&found, e);
	if (rc == 0)
		*ret = found;
	creds_wipe(&found);
	return rc;
}

int
creds_find(const char *dir, struct creds *ret, struct err *e)
{
	struct conf c;
	int rc = conf_load(&c, CONF_SERVER, 0, NULL, e);

	if (rc < 0)
		return rc;
	rc = creds_from_conf(&c, ret, e);
	conf_fini(&c);
	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = creds_from_dir(dir, ret, e);
	if (rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_CONFIG,
		    "set CREEL_ROOT_USER and CREEL_ROOT_PASSWORD, or name the "
		    "data directory with --dir (no %s/%s)",
		    dir, CREDS_FILE);
	return rc;
}

static void
take(struct str line, const char *name, char *dst, size_t size)
{
	struct str value;

	if (!str_has_prefix(line, str_of(name)))
		return;
	value = str_trim(str_skip(line, strlen(name)));
	if (value.len > 0 && value.p[value.len - 1] == '\r')
		value.len--;
	if (value.len >= size)
		return;
	memcpy(dst, value.p, value.len);
	dst[value.len] = '\0';
}

int
creds_from_dir(const char *dir, struct creds *ret, struct err *e)
{
	char path[4096];
	struct buf b = BUF_CAP(CREDS_FILE_MAX);
	struct creds c = { 0 };
	struct str rest, line;
	int rc;

	rc = fs_join(path, sizeof(path), dir, CREDS_FILE, e);
	if (rc == 0)
		rc = fs_read_file(path, CREDS_FILE_MAX, &b, e);
	if (rc < 0)
		goto out;
	rest = buf_str(&b);
	while (rest.p != NULL) {
		line = str_split(&rest, '\n');
		take(line, "CREEL_ROOT_USER=", c.user, sizeof(c.user));
		take(line, "CREEL_ROOT_PASSWORD=", c.password,
		    sizeof(c.password));
	}
	rc = check(&c, e);
	if (rc < 0) {
		rc = err_set(e, ERR_CONFIG,
		    "%s holds no usable CREEL_ROOT_USER and "
		    "CREEL_ROOT_PASSWORD",
		    path);
		goto out;
	}
	*ret = c;
out:
	explicit_bzero(&c, sizeof(c));
	if (b.p != NULL)
		explicit_bzero(b.p, b.size);
	buf_fini(&b);
	return rc;
}

static void
random_text(char *dst, size_t n, const char *alphabet)
{
	size_t i, k = strlen(alphabet);
	unsigned char r;

	for (i = 0; i < n;) {
		rand_bytes(&r, 1);
		if (r >= 256 / k * k) /* no bias */
			continue;
		dst[i++] = alphabet[r % k];
	}
	dst[n] = '\0';
}

int
creds_create(const char *dir, struct creds *ret, struct err *e)
{
	char path[4096], text[512];
	struct creds c;
	int rc, n;

	random_text(c.user, 20, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
	random_text(c.password, 40,
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
	rc = fs_join(path, sizeof(path), dir, CREDS_FILE, e);
	if (rc < 0)
		return rc;
	n = snprintf(text, sizeof(text),
	    "CREEL_ROOT_USER=%s\nCREEL_ROOT_PASSWORD=%s\n", c.user, c.password);
	rc = fs_write_file(path, str_mem(text, (size_t)n), 0600, e);
	if (rc == 0)
		*ret = c;
	explicit_bzero(text, sizeof(text));
	creds_wipe(&c);
	return rc;
}

void
creds_wipe(struct creds *c)
{
	explicit_bzero(c, sizeof(*c));
}
