/* The prober that recorded the vectors (tests/fastdfs/probe.py) against our
 * server loop: to each request the length, the status and whether the server
 * closed must be what FastDFS 6.16.1 did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory.h"

#define VECTORS CREEL_SOURCE_DIR "/tests/unit/fdfs/vectors/vectors-6.16.1.txt"

struct outcome {
	char label[100];
	unsigned long len, status;
	bool closed;
};

/* The outcomes in @f, at most @max. */
static size_t
load(FILE *f, struct outcome *o, size_t max)
{
	char line[4096], *at;
	size_t n = 0;

	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "== ", 3) == 0) {
			at = strstr(line, " cmd=");
			assert_non_null(at);
			assert_true(n < max);
			memset(&o[n], 0, sizeof(*o));
			*at = '\0';
			snprintf(o[n].label, sizeof(o->label), "%.99s",
			    line + 3);
			n++;
		} else if (strncmp(line, "   resp len=", 12) == 0) {
			assert_true(n > 0);
			o[n - 1].len = strtoul(line + 12, NULL, 10);
			at = strstr(line, "status=");
			assert_non_null(at);
			o[n - 1].status = strtoul(at + 7, NULL, 10);
		} else if (strstr(line, "server closed") != NULL) {
			assert_true(n > 0);
			o[n - 1].closed = strstr(line, "True") != NULL;
		}
	}
	return n;
}

/* Where we mean to differ. */
static void
adjust(struct outcome *want)
{
	/* A file without bytes can be read here. */
	if (strcmp(want->label, "download empty file") == 0) {
		want->status = 0;
		want->closed = false;
	}
}

static FILE *
probe(struct memory *m, const char *wait, int *ret_status)
{
	const char *dir = getenv("CREEL_FASTDFS_DIR");
	char path[512], port[8];
	FILE *out = tmpfile();
	pid_t pid;

	assert_non_null(out);
	snprintf(path, sizeof(path), "%s/probe.py",
	    dir != NULL ? dir : CREEL_SOURCE_DIR "/tests/fastdfs");
	snprintf(port, sizeof(port), "%u", fdfs_server_port(m->tracker));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("PROBE_WAIT", wait, 1);
		if (dup2(fileno(out), STDOUT_FILENO) < 0)
			_exit(126);
		execl("/usr/bin/python3", "python3", path, "127.0.0.1", port,
		    (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, ret_status, 0), pid);
	rewind(out);
	return out;
}

/* The first difference into @why; "" when there is none. */
static void
compare(const char *wait, struct outcome *want, size_t n, char *why,
    size_t size)
{
	static struct outcome got[80];
	struct memory m;
	size_t have;
	int status;
	FILE *f;

	memory_open(&m, FDFS_NARROW, NULL);
	f = probe(&m, wait, &status);
	have = load(f, got, 80);
	fclose(f);
	memory_close(&m);
	why[0] = '\0';
	for (size_t i = 0; i < n && i < have && why[0] == '\0'; i++) {
		assert_string_equal(got[i].label, want[i].label);
		/* The parameters are fewer. */
		if (strcmp(want[i].label, "parameter_req") == 0)
			want[i].len = got[i].len;
		if (got[i].len != want[i].len ||
		    got[i].status != want[i].status ||
		    got[i].closed != want[i].closed)
			snprintf(why, size,
			    "%.99s: length %lu status %lu closed %d, not "
			    "%lu %lu %d",
			    got[i].label, got[i].len, got[i].status,
			    got[i].closed, want[i].len, want[i].status,
			    want[i].closed);
	}
	assert_int_equal(have, n);
	assert_int_equal(status, 0);
}

static void
test_probe(void **state)
{
	static struct outcome want[80];
	char why[400];
	size_t n;
	FILE *f;

	(void)state;
	f = fopen(VECTORS, "r");
	assert_non_null(f);
	n = load(f, want, 80);
	fclose(f);
	assert_int_equal(n, 66);
	for (size_t i = 0; i < n; i++)
		adjust(&want[i]);
	/* A busy machine closes late: then once more, with patience. */
	compare("0.1", want, n, why, sizeof(why));
	if (why[0] != '\0')
		compare("0.5", want, n, why, sizeof(why));
	if (why[0] != '\0')
		fail_msg("%s", why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_probe) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
