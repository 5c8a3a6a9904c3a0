/* fdfs/server_impl.h - shared by the accepting half (fdfs/server.c), the serving
 * half (fdfs/conn.c) and the loop for what is answered later (fdfs/loop.c). */
#ifndef FDFS_SERVER_IMPL_H
#define FDFS_SERVER_IMPL_H

#include "fdfs/server.h"

#include "lib/arena.h"
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
	CONN_DRAIN = 262144, /* unread content that is read past, not cut off */
	CONN_ARENA = 65536,
	CONN_STREAK = 2, /* whole requests for the loop, until it gets them */
	WORKERS_IDLE = 16
};

struct loop; /* loop.c */

struct worker { /* a thread that serves one connection at a time */
	struct worker *next;
	struct fdfs_server *s;
	pthread_t thread;
	struct cond go;
	struct fdfs_conn *c; /* under s->lock; NULL: idle */
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
	struct fdfs_conn *active;
	struct worker *idle, *done; /* done: to be joined */
	unsigned n_idle, n_active, most;
	uint64_t n_started, n_joined; /* workers */
	atomic_bool is_stopping;
	atomic_uint_least64_t accepted, refused, requests, failed;
	atomic_size_t memory;
	struct loop *loop; /* NULL: no route has a `later` */
};

struct fdfs_conn {
	unsigned magic;
	struct fdfs_server *s;
	int fd;
	struct fdfs_addr peer;
	/* Under s->lock. */
	struct fdfs_conn *next, *prev;
	bool is_idle, was_shut;
	int64_t idle_since; /* clock_mono_ns() */
	/* loop.c's */
	struct fdfs_conn *next_ready;
	atomic_int park;
	bool is_drained; /* nothing to be read that no event will tell of */
	bool is_unsure;  /* the last event was of more than bytes, or unseen */
	bool is_ending;
	uint64_t due;    /* L5: the round it was answered in; 0: not due */
	int64_t part_ns; /* a part of a request is here since; 0: none */
	/* The one's that serves it: a worker, the loop, or who resumes. */
	bool in_loop;
	bool stays; /* with workers */
	unsigned streak;
	struct arena *arena;
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

/* conn.c: serves it on this thread, until its end or until it is the loop's. */
void fdfs_conn_run(struct fdfs_conn *c);
enum conn_has { /* in c->in */
	HAS_NOTHING,
	HAS_PART,  /* of what may be for the loop */
	HAS_WHOLE, /* for the loop */
	HAS_OTHER
};
enum conn_has fdfs_conn_has(const struct fdfs_conn *c);
/* HAS_WHOLE, on the loop. */
enum conn_next {
	NEXT_GO_ON,
	NEXT_LATER, /* it is no more the caller's */
	NEXT_WAITS, /* a worker is to serve it, or to send its answer */
	NEXT_END
};
enum conn_next fdfs_conn_serve_now(struct fdfs_conn *c);
/* Frees what it holds, and the connection. */
void fdfs_conn_end(struct fdfs_conn *c);

/* server.c: false when it must end. */
bool fdfs_conn_set_idle(struct fdfs_conn *c, bool idle);
/* Has a worker serve it; negative: nobody does. */
int fdfs_conn_give(struct fdfs_conn *c, struct err *e);
void fdfs_conn_leave(struct fdfs_conn *c);

/* loop.c */
int fdfs_loop_start(struct fdfs_server *s, struct err *e);
/* No connection is left, and no worker. */
void fdfs_loop_stop(struct fdfs_server *s);
/* A worker's connection, with a request that was not looked at. False: it stays
 * with the worker. */
bool fdfs_loop_take(struct fdfs_conn *c);
/* What was FDFS_LATER is answered. */
void fdfs_loop_back(struct fdfs_conn *c, bool go_on);

#endif
