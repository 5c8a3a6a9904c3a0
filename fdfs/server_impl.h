/* fdfs/server_impl.h - shared by the accepting half (fdfs/server.c) and the
 * serving half (fdfs/conn.c) of the server loop. */
#ifndef FDFS_SERVER_IMPL_H
#define FDFS_SERVER_IMPL_H

#include "fdfs/server.h"

#include "lib/lock.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	CONN_MAGIC = 0x46646643,
	SERVER_MAGIC = 0x46646653,
	CONN_INPUT = 16384, /* read ahead */
	CONN_HEAD = 512,    /* heads up to this need no memory of their own */
	CONN_PIECES = 4,
	CONN_WAITING = 131072, /* answers that go out together */
	CONN_DRAIN = 262144 /* unread content that is read past, not cut off */
};

struct fdfs_server {
	unsigned magic;
	struct fdfs_server_opts o; /* defaults filled in */
	struct fdfs_route route[256];
	int listener, wake; /* socket, eventfd */
	uint16_t port;
	pthread_t thread;
	struct lock lock; /* the fields below; no I/O but shutdown(2) */
	struct cond gone;
	bool stopping;
	struct fdfs_conn *active, *done; /* lists; done: to be joined */
	unsigned n_active, most;
	uint64_t n_joined;
	atomic_bool is_stopping;
	atomic_uint_least64_t accepted, refused, requests, failed;
	atomic_size_t memory;
};

struct fdfs_conn {
	unsigned magic;
	struct fdfs_server *s;
	pthread_t thread;
	int fd;
	struct fdfs_addr peer;
	/* Under s->lock. */
	struct fdfs_conn *next, *prev;
	bool is_idle, was_shut;
	int64_t idle_since; /* clock_mono_ns() */
	/* The connection's thread alone. */
	size_t in_pos, in_len;
	uint64_t content;  /* unread */
	int64_t waited_ns; /* for this request's content and answer */
	uint64_t moved;    /* bytes of them */
	bool answered, hang_up, is_trusted;
	uint8_t status;
	bool has_header; /* unsent, in header[] */
	uint8_t header[FDFS_HEADER];
	uint64_t answer; /* bytes of the body still to come */
	char *waiting;   /* answers not sent yet; NULL: never were any */
	size_t n_waiting;
	void *data; /* the handlers' */
	void (*data_fini)(void *);
	char *big_head; /* reserved in s->memory */
	size_t big_size;
	char head[CONN_HEAD];
	char in[CONN_INPUT];
};

/* The thread of a connection. */
void *fdfs_conn_run(void *arg);
/* On its thread, in server.c: false when it must end. */
bool fdfs_conn_set_idle(struct fdfs_conn *c, bool idle);
void fdfs_conn_leave(struct fdfs_conn *c);

#endif
