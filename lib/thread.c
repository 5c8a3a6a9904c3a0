/* lib/thread.c - starting threads. */
#include "lib/thread.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||           \
    !defined(NDEBUG)
#define STACK_SIZE ((size_t)2 << 20)
#else
#define STACK_SIZE ((size_t)256 << 10)
#endif

__thread void (*thread_on_block)(void);
__thread const cpu_set_t *thread_cpus;

void
thread_signal_mask(sigset_t *ret)
{
	/* Blocked, a fault ends the process without its handler (the index's
	 * guard, the sanitizers). */
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

	sigfillset(ret);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(ret, own[i]);
}

int
thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg,
    struct err *e)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t t;
	int err;

	err = pthread_attr_init(&attr);
	if (err != 0)
		return err_set_errno(e, err, "thread %s", name);
	MUST(pthread_attr_setstacksize(&attr, STACK_SIZE) == 0);
	thread_signal_mask(&all);
	MUST(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	err = pthread_create(&t, &attr, fn, arg);
	MUST(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	pthread_attr_destroy(&attr);
	if (err != 0)
		return err_set_errno(e, err, "start thread %s", name);
	pthread_setname_np(t, name);
	if (thread_cpus != NULL)
		pthread_setaffinity_np(t, sizeof(*thread_cpus), thread_cpus);
	*ret = t;
	return 0;
}

void
thread_join(pthread_t t)
{
	MUST(pthread_join(t, NULL) == 0);
}

/* --- what is better done for many at once --- */

__thread bool thread_rests;
atomic_bool thread_is_put_off;

/* Outside of all ranks: nothing is taken inside but what the functions take. */
static pthread_rwlock_t rest_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct thread_rest *rest_list;

void
thread_rest_add(struct thread_rest *r)
{
	pthread_rwlock_wrlock(&rest_lock);
	r->next = rest_list;
	rest_list = r;
	pthread_rwlock_unlock(&rest_lock);
}

void
thread_rest_remove(struct thread_rest *r)
{
	struct thread_rest **rp = &rest_list;

	pthread_rwlock_wrlock(&rest_lock);
	while (*rp != r)
		rp = &(*rp)->next;
	*rp = r->next;
	pthread_rwlock_unlock(&rest_lock);
}

void
thread_rest(void)
{
	if (!atomic_exchange(&thread_is_put_off, false))
		return;
	pthread_rwlock_rdlock(&rest_lock);
	for (struct thread_rest *r = rest_list; r != NULL; r = r->next)
		r->rest(r);
	pthread_rwlock_unlock(&rest_lock);
}

void
thread_hurry(void)
{
	if (!atomic_exchange(&thread_is_put_off, false))
		return;
	pthread_rwlock_rdlock(&rest_lock);
	for (struct thread_rest *r = rest_list; r != NULL; r = r->next)
		r->hurry(r);
	pthread_rwlock_unlock(&rest_lock);
}
