/* fdfs/net.h - sockets with time-outs, for the server loop and the client.
 *
 * All are non-blocking inside and wait in poll(2). A time-out counts from the
 * last byte that moved. Errors: ERR_DISCONNECTED when the peer went away, or
 * nothing moved in time, or a sender could not wait; else ERR_IO. Threads: one
 * per socket. */
#ifndef FDFS_NET_H
#define FDFS_NET_H

#include "fdfs/proto.h"

#include <sys/socket.h>
#include <sys/uio.h>

/* "1.2.3.4", "::1" or a host's name. ERR_DISCONNECTED; nothing was sent. */
int fdfs_net_connect(const char *host, uint16_t port, int timeout_ms,
    int *ret_fd, struct err *e);
/* @host "" is every address, both families where there are both. Port 0
 * draws one. */
int fdfs_net_listen(const char *host, uint16_t port, int *ret_fd,
    uint16_t *ret_port, struct err *e);
void fdfs_net_peer(const struct sockaddr_storage *from, struct fdfs_addr *ret);
/* Options of a connection on both sides. */
void fdfs_net_setup(int fd);

/* All of @iov (which is changed), or until @or_input sees the peer send
 * something: then *ret_input is true and part may be unsent. *ret_sent is
 * written on failure too. @or_input may be false: *ret_input stays false. */
int fdfs_net_send(int fd, struct iovec *iov, int n, int timeout_ms,
    bool or_input, size_t *ret_sent, bool *ret_input, struct err *e);
/* All of @iov, of what more follows at once: the end of it may wait for that. */
int fdfs_net_send_more(int fd, struct iovec *iov, int n, int timeout_ms,
    size_t *ret_sent, struct err *e);
/* @len bytes at @off of the file @from. *ret_sent is written on failure too.
 * ERR_DISCONNECTED is the peer's; any other error the file's, of which
 * *ret_sent bytes went out. */
int fdfs_net_send_file(int fd, int from, uint64_t off, size_t len,
    int timeout_ms, size_t *ret_sent, struct err *e);
/* 1 to @len bytes; 0 is the peer's end. */
int fdfs_net_recv(int fd, void *p, size_t len, int timeout_ms, size_t *ret,
    struct err *e);
/* True when nothing is to be read and the peer has not closed. */
bool fdfs_net_is_quiet(int fd);
/* The same after @ms, or sooner when that is over. */
bool fdfs_net_stays_quiet(int fd, int ms);

#endif
