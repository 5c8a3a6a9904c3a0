/* fdfs/net.c - sockets with time-outs (fdfs/net.h). */
#include "fdfs/net.h"

#include "lib/fs.h"
#include "lib/thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

void
fdfs_net_setup(int fd)
{
	int on = 1;

	/* Best effort: a connection without them still works. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

#define SOON_MS 2 /* what comes within is not called waiting (lib/thread.h) */

/* 1 when @events came, 0 on time-out, -1 with errno. */
static int
wait_for(int fd, short events, int timeout_ms, short *ret)
{
	struct pollfd p = { .fd = fd, .events = events };
	bool says = thread_on_block != NULL && timeout_ms > SOON_MS;
	int n;

	do {
		n = poll(&p, 1, says ? SOON_MS : timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n == 0 && says) {
		thread_blocks();
		do {
			n = poll(&p, 1, timeout_ms - SOON_MS);
		} while (n < 0 && errno == EINTR);
	}
	*ret = p.revents;
	return n;
}

static int
connect_one(const struct addrinfo *ai, int timeout_ms, int *ret_fd)
{
	socklen_t len = sizeof(int);
	int fd, rc, failed = 0;
	short got;

	fd = socket(ai->ai_family,
	    ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd < 0)
		return errno;
	rc = connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 ? errno : 0;
	if (rc == EINPROGRESS || rc == EINTR) {
		rc = wait_for(fd, POLLOUT, timeout_ms, &got);
		if (rc > 0)
			rc = getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed,
				 &len) < 0
			         ? errno
			         : failed;
		else
			rc = rc == 0 ? ETIMEDOUT : errno;
	}
	if (rc != 0) {
		close(fd);
		return rc;
	}
	fdfs_net_setup(fd);
	*ret_fd = fd;
	return 0;
}

static int
look_up(const char *host, uint16_t port, int flags, struct addrinfo **ret,
    struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV };
	char text[8];
	int rc;

	snprintf(text, sizeof(text), "%u", port);
	rc = getaddrinfo(host[0] == '\0' ? NULL : host, text, &hints, ret);
	if (rc != 0)
		return err_set(e, ERR_DISCONNECTED, "%s: %s", host,
		    gai_strerror(rc));
	return 0;
}

int
fdfs_net_connect(const char *host, uint16_t port, int timeout_ms, int *ret_fd,
    struct err *e)
{
	struct addrinfo *list, *ai;
	int rc;

	rc = look_up(host, port, 0, &list, e);
	if (rc < 0)
		return rc;
	rc = EADDRNOTAVAIL;
	for (ai = list; ai != NULL; ai = ai->ai_next) {
		rc = connect_one(ai, timeout_ms, ret_fd);
		if (rc == 0)
			break;
	}
	freeaddrinfo(list);
	if (rc == 0)
		return 0;
	err_set_errno(e, rc, "connect to %s port %u", host, port);
	if (e != NULL)
		e->code = ERR_DISCONNECTED;
	return ERR_DISCONNECTED;
}

static int
listen_one(const struct addrinfo *ai, int *ret_fd)
{
	int on = 1, off = 0, rc, fd;

	fd = socket(ai->ai_family,
	    ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd < 0)
		return errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off,
		    sizeof(off));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 1024) < 0) {
		rc = errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

static uint16_t
port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return 0;
	if (a.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	return ntohs(((struct sockaddr_in *)&a)->sin_port);
}

int
fdfs_net_listen(const char *host, uint16_t port, int *ret_fd,
    uint16_t *ret_port, struct err *e)
{
	struct addrinfo *list, *ai;
	int rc, fd = -1;

	rc = look_up(host, port, AI_PASSIVE, &list, e);
	if (rc < 0)
		return rc;
	rc = EADDRNOTAVAIL;
	/* IPv6 first: it takes IPv4 too, unless the host has none. */
	for (int pass = 0; pass < 2 && fd < 0; pass++) {
		for (ai = list; ai != NULL && fd < 0; ai = ai->ai_next) {
			if ((ai->ai_family == AF_INET6) == (pass == 0))
				rc = listen_one(ai, &fd);
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		return err_set_errno(e, rc, "listen on %s port %u", host, port);
	*ret_fd = fd;
	*ret_port = port_of(fd);
	return 0;
}

void
fdfs_net_peer(const struct sockaddr_storage *from, struct fdfs_addr *ret)
{
	const struct sockaddr_in6 *v6 = (const void *)from;
	const struct sockaddr_in *v4 = (const void *)from;

	*ret = (struct fdfs_addr){ 0 };
	if (from->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, ret->ip, sizeof(ret->ip));
		ret->port = ntohs(v4->sin_port);
	} else if (from->ss_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
			inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ret->ip,
			    sizeof(ret->ip));
		else
			inet_ntop(AF_INET6, &v6->sin6_addr, ret->ip,
			    sizeof(ret->ip));
		ret->port = ntohs(v6->sin6_port);
	}
}

static int
gone(struct err *e, int sys_errno, const char *what)
{
	err_set_errno(e, sys_errno, "%s", what);
	if (e != NULL)
		e->code = ERR_DISCONNECTED;
	return ERR_DISCONNECTED;
}

static void
advance(struct iovec **iov, int *n, size_t done)
{
	while (*n > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

/* Until @fd can be written to; *ret_input: or, with @or_input, be read. */
static int
wait_to_send(int fd, int timeout_ms, bool or_input, bool *ret_input,
    struct err *e)
{
	short want = (short)(POLLOUT | (or_input ? POLLIN : 0)), got;
	int rc = wait_for(fd, want, timeout_ms, &got);

	if (rc < 0)
		return gone(e, errno, "poll");
	if (rc == 0)
		return gone(e, ETIMEDOUT, "send");
	*ret_input = or_input && (got & POLLIN);
	return 0;
}

static int
send_all(int fd, struct iovec *iov, int n, int timeout_ms, int flags,
    bool or_input, size_t *ret_sent, bool *ret_input, struct err *e)
{
	int rc = 0;

	*ret_sent = 0;
	*ret_input = false;
	advance(&iov, &n, 0);
	while (rc == 0 && n > 0 && !*ret_input) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t done =
		    sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT | flags);

		if (done >= 0) {
			*ret_sent += (size_t)done;
			advance(&iov, &n, (size_t)done);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return gone(e, errno, "send");
		rc = wait_to_send(fd, timeout_ms, or_input, ret_input, e);
	}
	return rc;
}

int
fdfs_net_send(int fd, struct iovec *iov, int n, int timeout_ms, bool or_input,
    size_t *ret_sent, bool *ret_input, struct err *e)
{
	return send_all(fd, iov, n, timeout_ms, 0, or_input, ret_sent,
	    ret_input, e);
}

int
fdfs_net_send_more(int fd, struct iovec *iov, int n, int timeout_ms,
    size_t *ret_sent, struct err *e)
{
	bool input;

	return send_all(fd, iov, n, timeout_ms, MSG_MORE, false, ret_sent,
	    &input, e);
}

int
fdfs_net_send_file(int fd, int from, uint64_t off, size_t len, int timeout_ms,
    size_t *ret_sent, struct err *e)
{
	bool input;
	size_t n;
	int rc = 0;

	*ret_sent = 0;
	while (rc == 0 && *ret_sent < len) {
		rc = fs_send(from, off + *ret_sent, len - *ret_sent, fd, &n, e);
		*ret_sent += n;
		if (rc == 0 && n == 0)
			rc = wait_to_send(fd, timeout_ms, false, &input, e);
	}
	return rc;
}

int
fdfs_net_recv(int fd, void *p, size_t len, int timeout_ms, size_t *ret,
    struct err *e)
{
	short got;
	int rc;

	for (;;) {
		ssize_t n = recv(fd, p, len, MSG_DONTWAIT);

		if (n >= 0) {
			*ret = (size_t)n;
			return 0;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return gone(e, errno, "receive");
		rc = wait_for(fd, POLLIN, timeout_ms, &got);
		if (rc < 0)
			return err_set_errno(e, errno, "poll");
		if (rc == 0)
			return gone(e, ETIMEDOUT, "receive");
	}
}

bool
fdfs_net_stays_quiet(int fd, int ms)
{
	short got;

	return wait_for(fd, POLLIN | POLLRDHUP, ms, &got) == 0;
}

bool
fdfs_net_is_quiet(int fd)
{
	return fdfs_net_stays_quiet(fd, 0);
}
