/* lib/lmdb_unit.c - LMDB's mdb.c, unmodified, and what it lacks
 * (lib/lmdb_trim.h, lib/lmdb_guard.h). Needs its internals, hence one
 * translation unit; a changed upstream breaks the compile, not a hunk. Part of
 * creel_lmdb. */
#include "mdb.c" /* of the pinned archive */

#include "lib/lmdb_guard.h"
#include "lib/lmdb_trim.h"

#include <signal.h>

void
lmdb_trim(MDB_env *env)
{
	MDB_page *p;

	/* As mdb_env_close() does. The list belongs to the writer. */
	while ((p = env->me_dpages) != NULL) {
		env->me_dpages = p->mp_next;
		free(p);
	}
}

/* --- faults --- */

struct lmdb_guard {
	struct lmdb_guard *volatile next;
	MDB_env *env;
	size_t len;
	char text[]; /* with its line end */
};

static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lmdb_guard *volatile guards;
static struct sigaction old_segv, old_bus;

static void
say_and_end(const struct lmdb_guard *g)
{
	size_t done = 0;

	while (done < g->len) {
		ssize_t n = write(2, g->text + done, g->len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	_exit(1);
}

/* In the thread that fell; only what a signal handler may do. The map may have
 * grown since: the environment knows. */
static void
on_fault(int sig, siginfo_t *info, void *context)
{
	const char *at = info->si_addr;

	(void)context;
	for (struct lmdb_guard *g = guards; g != NULL; g = g->next) {
		const char *map = g->env->me_map;

		if (map != NULL && at >= map && at < map + g->env->me_mapsize)
			say_and_end(g);
	}
	/* Not ours: the same fault again, with whoever had it before. */
	sigaction(sig, sig == SIGBUS ? &old_bus : &old_segv, NULL);
}

static void
install(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_fault;
	sa.sa_flags = SA_SIGINFO;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGSEGV, &sa, &old_segv);
	sigaction(SIGBUS, &sa, &old_bus);
}

struct lmdb_guard *
lmdb_guard_begin(MDB_env *env, const char *text)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	size_t len = strlen(text);
	struct lmdb_guard *g = malloc(sizeof(*g) + len + 1);

	if (g == NULL)
		return NULL;
	pthread_once(&once, install);
	g->env = env;
	memcpy(g->text, text, len);
	g->text[len] = '\n';
	g->len = len + 1;
	pthread_mutex_lock(&guard_lock);
	g->next = guards;
	guards = g;
	pthread_mutex_unlock(&guard_lock);
	return g;
}

void
lmdb_guard_end(struct lmdb_guard **gp)
{
	struct lmdb_guard *g = *gp, *p;

	*gp = NULL;
	if (g == NULL)
		return;
	pthread_mutex_lock(&guard_lock);
	if (guards == g) {
		guards = g->next;
	} else {
		for (p = guards; p->next != g; p = p->next)
			;
		p->next = g->next;
	}
	pthread_mutex_unlock(&guard_lock);
	free(g);
}

/* --- a file that is too short --- */

/* Pages from @from on that are free. */
static int
count_free(MDB_env *env, pgno_t from, pgno_t *ret)
{
	MDB_txn *txn;
	MDB_cursor *c;
	MDB_val k, v;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	*ret = 0;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, FREE_DBI, &c);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		const pgno_t *idl = v.mv_data;
		size_t room = v.mv_size / sizeof(*idl);

		if (room == 0 || idl[0] >= room) {
			rc = MDB_CORRUPTED;
			break;
		}
		for (pgno_t i = 1; i <= idl[0]; i++)
			*ret += idl[i] >= from;
	}
	mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int
lmdb_is_cut(MDB_env *env, bool *ret)
{
	pgno_t have, need, unused;
	MDB_envinfo info;
	struct stat st;
	int rc;

	*ret = false;
	if (fstat(env->me_fd, &st) != 0)
		return errno;
	rc = mdb_env_info(env, &info);
	if (rc != 0)
		return rc;
	have = (pgno_t)st.st_size / env->me_psize;
	need = info.me_last_pgno + 1;
	if (have >= need)
		return 0;
	rc = count_free(env, have, &unused);
	*ret = rc == 0 && need - have > unused;
	return rc;
}
