/* lib/trim.h - free memory goes back to the kernel once a process gets idle.
 *
 * glibc keeps what was freed: malloc_trim(3) gives back whole pages between what
 * is in use, but of an arena that is not the main one never its end, which is as
 * large as the busiest moment has made it.
 * T1  While work goes on nothing is trimmed: only memory that a burst has left
 *     behind is given back, and only once.
 * Threads: the first two before others; the rest on one thread. */
#ifndef LIB_TRIM_H
#define LIB_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#define TRIM_LOOK_MS 1000 /* how often to ask trim_is_due() */

struct trim {
	int64_t now_ns, cpu_ns; /* at the last look */
	int64_t done_ns;        /* CPU time at the last trimming */
	bool was_quiet;
};

/* First of all in a process: malloc keeps nothing for each thread, which would be
 * 7 KiB of each of a thousand workers, over TLS 20, and is not got at otherwise.
 * Only the loader can be told: the process begins anew, once. Without effect when
 * GLIBC_TUNABLES is set, or where that can't be done. (valgrind loses the process
 * by it: set the variable, or give it --trace-children=yes.) */
void trim_no_caches(char **argv);
/* Settings of malloc, with few arenas. */
void trim_begin(void);
/* CPU time of this process. */
int64_t trim_cpu_ns(void);
/* Two looks in a row saw it idle, and it has worked since it was trimmed. */
bool trim_is_due(struct trim *t, int64_t now_ns, int64_t cpu_ns);
/* After a look that did not say so: it will not be before so much CPU time has been
 * used. 0: it may be at the next look. */
int64_t trim_rest_ns(const struct trim *t);
/* That much has been used: the looks before count no more. */
void trim_wakes(struct trim *t);
/* A few milliseconds, more where much is in pieces: it is no work itself. */
void trim_memory(struct trim *t);

#endif
