/* lib/lmdb_make.c - see lib/lmdb_make.h. */
#include "lib/lmdb_make.h"

#include "lib/fs.h"

#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>

/* 1: there is something in it, 0: not. */
static int
has_bytes(const char *path, struct err *e)
{
	struct err why = ERR_INIT;
	uint64_t size = 0;
	int fd, rc = fs_open(path, O_RDONLY, &fd, &why);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return err_set(e, rc, "%s", why.msg);
	rc = fs_size(fd, &size, e);
	fs_close(&fd);
	return rc < 0 ? rc : size > 0;
}

static int
remove_file(const char *path, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = fs_unlink(path, &why);

	return rc == 0 || rc == ERR_NOT_FOUND ? 0
	                                      : err_set(e, rc, "%s", why.msg);
}

static int
make_env(const char *path, struct err *e)
{
	MDB_env *env;
	int rc = mdb_env_create(&env);

	if (rc == 0) {
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
		if (rc == 0)
			rc = mdb_env_sync(env, 1);
		mdb_env_close(env);
	}
	if (rc > 0)
		return err_set_errno(e, rc, "cannot make %s", path);
	return rc == 0 ? 0
	               : err_set(e, ERR_IO, "cannot make %s: %s", path,
			     mdb_strerror(rc));
}

int
lmdb_make(const char *path, struct err *e)
{
	char new[PATH_MAX], lock[PATH_MAX + 8];
	int rc = has_bytes(path, e);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if ((size_t)snprintf(new, sizeof(new), "%s.new", path) >= sizeof(new))
		return err_set(e, ERR_TOO_BIG, "path too long: %.200s", path);
	snprintf(lock, sizeof(lock), "%s-lock", new);
	rc = remove_file(new, e);
	if (rc == 0)
		rc = remove_file(lock, e);
	if (rc == 0)
		rc = make_env(new, e);
	if (rc == 0)
		rc = remove_file(lock, e);
	if (rc == 0)
		rc = fs_rename(new, path, e);
	return rc == 0 ? fs_sync_parent(path, e) : rc;
}
