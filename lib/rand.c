/* lib/rand.c - getrandom(2) behind a small per-thread pool.
 *
 * An identifier costs 16 bytes; a system call for each would be most of its
 * price. The pool is dropped in a forked child. Bytes handed out are wiped. */
#include "lib/rand.h"

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

static _Atomic unsigned fork_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static __thread struct {
	unsigned char b[256];
	size_t left;
	unsigned fork_count;
} pool;

static void
forked(void)
{
	fork_count++;
}

static void
setup(void)
{
	MUST(pthread_atfork(NULL, NULL, forked) == 0);
}

/* Without random bytes nothing here may go on: identifiers would repeat. */
static void
fill(unsigned char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0) {
			MUST(errno == EINTR);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

void
rand_bytes(void *p, size_t len)
{
	unsigned char *at;

	if (len > 64) {
		fill(p, len);
		return;
	}
	pthread_once(&once, setup);
	if (pool.left < len || pool.fork_count != fork_count) {
		fill(pool.b, sizeof(pool.b));
		pool.left = sizeof(pool.b);
		pool.fork_count = fork_count;
	}
	pool.left -= len;
	at = pool.b + pool.left;
	memcpy(p, at, len);
	explicit_bzero(at, len);
}

uint64_t
rand_u64(void)
{
	uint64_t v;

	rand_bytes(&v, sizeof(v));
	return v;
}

struct id128
id128_new(void)
{
	struct id128 id;

	do
		rand_bytes(id.b, sizeof(id.b));
	while (id128_is_zero(&id));
	return id;
}

struct id128
id128_new_ordered(void)
{
	uint64_t ms = (uint64_t)(clock_real_ns() / 1000000);
	struct id128 id = id128_new();

	for (int i = 0; i < 6; i++)
		id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
	return id;
}

int
id128_is_zero(const struct id128 *id)
{
	static const struct id128 zero;

	return memcmp(id->b, zero.b, sizeof(zero.b)) == 0;
}

int
id128_eq(const struct id128 *a, const struct id128 *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void
id128_text(const struct id128 *id, char dst[33])
{
	hex_encode(id->b, sizeof(id->b), dst);
	dst[32] = '\0';
}

int
id128_parse(const char *s, size_t len, struct id128 *ret)
{
	struct id128 id;

	if (len != 32 || !hex_decode(str_mem(s, len), id.b))
		return 0;
	*ret = id;
	return 1;
}
