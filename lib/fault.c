/* lib/fault.c - fault points. */
#include "lib/fault.h"

#include "lib/err.h"

#include <pthread.h>

_Atomic int fault_armed;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static enum fault_kind armed_kind;
static unsigned long left; /* calls until it fires; 0 = has fired */
static int armed_errno;
static bool armed_stick;
static bool fired;

void
fault_arm(enum fault_kind kind, unsigned long n, int sys_errno, bool stick)
{
	MUST(n > 0 && sys_errno != 0 && (unsigned)kind <= FAULT_ANY);
	pthread_mutex_lock(&mutex);
	armed_kind = kind;
	left = n;
	armed_errno = sys_errno;
	armed_stick = stick;
	fired = false;
	fault_armed = 1;
	pthread_mutex_unlock(&mutex);
}

void
fault_disarm(void)
{
	pthread_mutex_lock(&mutex);
	fault_armed = 0;
	pthread_mutex_unlock(&mutex);
}

bool
fault_fired(void)
{
	bool r;

	pthread_mutex_lock(&mutex);
	r = fired;
	pthread_mutex_unlock(&mutex);
	return r;
}

int
fault_check_slow(enum fault_kind kind)
{
	int rc = 0;

	pthread_mutex_lock(&mutex);
	if (fault_armed != 0 &&
	    (armed_kind == FAULT_ANY || armed_kind == kind)) {
		if (left > 1) {
			left--;
		} else if (left == 1) {
			left = 0;
			fired = true;
			rc = armed_errno;
		} else if (armed_stick) {
			rc = armed_errno;
		}
	}
	pthread_mutex_unlock(&mutex);
	return rc;
}
