/* bench/fill_bench.c - millions of objects into a stopped server's directory.
 *
 * usage: fill_bench DIR BUCKET PREFIX COUNT [THREADS]
 *
 * The node is opened as `creel server DIR` does it, and each object is put by
 * the calls under PutObject: a file of one byte in a volume, a row in the index
 * with its extent, ETag and checksum, counters, group commits and syncs of both.
 * What is left out is HTTP, the signature, and the client: many more threads
 * wait for one sync, and the processors have little else to do. Keys are PREFIX
 * and ten digits, in a scattered order, as clients would bring them.
 * Prints the rate. */
#include "cli/cli.h"
#include "cli/node.h"

#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/thread.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP UINT64_C(7368787) /* a prime: the order of the keys */

struct fill {
	struct store *s;
	struct bucket b;
	struct user owner;
	const char *prefix;
	uint64_t n;
	_Atomic uint64_t next;
	_Atomic bool is_failed;
};

static int
put_one(struct fill *f, uint64_t i, struct err *e)
{
	char key[256], etag[33] = "", body = (char)('a' + i % 26);
	struct object o = { .checksum = { .alg = CHECKSUM_CRC64NVME,
				.len = 8 } };
	struct put *p = NULL;
	uint8_t md5[16];
	int rc;

	snprintf(key, sizeof(key), "%s%010ju", f->prefix, (uintmax_t)i);
	hash_md5(&body, 1, md5);
	hex_encode(md5, sizeof(md5), etag);
	o.key = str_of(key);
	o.etag = str_mem(etag, 32);
	memcpy(o.checksum.value, md5, 8); /* nobody reads it back */
	rc = put_begin(f->s, &f->b, o.key, 1, &p, e);
	if (rc == 0)
		rc = put_hold(p, &body, 1, e);
	if (rc == 0)
		return put_commit(&p, &f->owner, NULL, &o, e);
	put_abort(&p);
	return rc;
}

static void *
fill_main(void *arg)
{
	struct fill *f = arg;
	struct err e = ERR_INIT;
	uint64_t i;

	while ((i = atomic_fetch_add(&f->next, 1)) < f->n &&
	       !atomic_load(&f->is_failed)) {
		/* A bijection of [0, n) where STEP does not divide n. */
		uint64_t k = f->n % STEP == 0
		                 ? i
		                 : (uint64_t)((__uint128_t)i * STEP % f->n);
		int rc = put_one(f, k, &e);

		if (rc == ERR_BUSY) {
			while (rc == ERR_BUSY) {
				clock_sleep_ms(50);
				rc = put_one(f, k, &e);
			}
		}
		if (rc < 0 && !atomic_exchange(&f->is_failed, true))
			fprintf(stderr, "fill_bench: %s: %s\n", err_text(rc),
			    e.msg);
	}
	return NULL;
}

static int
run(struct fill *f, unsigned n_threads, struct err *e)
{
	pthread_t *t = calloc(n_threads, sizeof(*t));
	int64_t begun = clock_mono_ns();
	unsigned n = 0;
	double s;
	int rc = 0;

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (n < n_threads && rc == 0) {
		rc = thread_start(&t[n], "fill", fill_main, f, e);
		if (rc == 0)
			n++;
	}
	if (n > 0)
		rc = 0; /* as many as there are */
	for (unsigned i = 0; i < n; i++)
		thread_join(t[i]);
	free(t);
	s = (double)(clock_mono_ns() - begun) / 1e9;
	printf("%ju objects in %.1f s, %.0f per second\n", (uintmax_t)f->n, s,
	    (double)f->n / s);
	return rc < 0                       ? rc
	       : atomic_load(&f->is_failed) ? err_set(e, ERR_FAILED, "a put")
	                                    : 0;
}

/* What cli/ asks of its main program. */
int
cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 2;
}

int
cli_fail(const char *what, const struct err *e)
{
	fprintf(stderr, "fill_bench: %s: %s\n", what, e->msg);
	return 1;
}

int
main(int argc, char **argv)
{
	struct fill f = { 0 };
	struct node node = { 0 };
	struct err e = ERR_INIT;
	struct conf c;
	unsigned threads = 256;
	int rc;

	if (argc < 5 || argc > 6) {
		fputs("usage: fill_bench DIR BUCKET PREFIX COUNT [THREADS]\n",
		    stderr);
		return 2;
	}
	f.prefix = argv[3];
	f.n = strtoull(argv[4], NULL, 10);
	if (argc == 6)
		threads = (unsigned)strtoul(argv[5], NULL, 10);
	rc = conf_load(&c, CONF_SERVER, 1, (const char *const *)argv + 1, &e);
	if (rc == 0) {
		rc = node_open(&c, &node, &e);
		if (rc == 0) {
			f.s = node.store;
			rc = bucket_get(f.s, str_of(argv[2]), &f.b, &e);
			memcpy(f.owner.id, f.b.owner_id, sizeof(f.owner.id));
			if (rc == 0)
				rc = run(&f, threads, &e);
			store_close(&node.store);
		}
		conf_fini(&c);
	}
	if (rc != 0) {
		fprintf(stderr, "fill_bench: %s\n",
		    e.msg[0] != '\0' ? e.msg : err_text(rc));
		return 1;
	}
	return 0;
}
