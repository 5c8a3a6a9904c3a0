/* tests/unit/fdfs/raw.h - bytes to and from a server, as no client sends them. */
#ifndef TESTS_FDFS_RAW_H
#define TESTS_FDFS_RAW_H

#include "fdfs/net.h"
#include "fdfs/server.h"

static int
dial(struct fdfs_server *s)
{
	struct err e = ERR_INIT;
	int fd;

	assert_int_equal(fdfs_net_connect("127.0.0.1", fdfs_server_port(s),
			     5000, &fd, &e),
	    0);
	return fd;
}

static void
say(int fd, const void *p, size_t len)
{
	struct iovec iov = { (char *)(uintptr_t)p, len };
	struct err e = ERR_INIT;
	size_t sent;
	bool input;

	assert_int_equal(fdfs_net_send(fd, &iov, 1, 5000, false, &sent, &input,
			     &e),
	    0);
}

/* All of @len, each piece within @ms; false: closed, or too late. */
static bool
hear_bytes(int fd, void *p, size_t len, int ms)
{
	struct err e;
	size_t n;

	for (size_t have = 0; have < len; have += n) {
		if (fdfs_net_recv(fd, (char *)p + have, len - have, ms, &n,
			&e) < 0 ||
		    n == 0)
			return false;
	}
	return true;
}

#endif
