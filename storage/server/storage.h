/* storage/server/storage.h - a storage node as a server: engine, membership,
 * replication and files behind sockets.
 *
 * On one port it answers FastDFS's storage commands (for the hosts of
 * allow_hosts alone: others get status 13, and are closed) and Creel's own
 * processes, who come with the cluster secret from anywhere (cluster/rpc.h;
 * storage/server/ops.h). File URLs are on a port of their own
 * (storage/server/url.c). It announces itself to every tracker, each second and
 * when something changes.
 * Threads: those of the servers, one per tracker, one that looks after streams,
 * and the tasks of the layers below. */
#ifndef STORAGE_SERVER_STORAGE_H
#define STORAGE_SERVER_STORAGE_H

#include "fdfs/tracker_codec.h"
#include "http/http.h"
#include "storage/engine/engine.h"

struct storage;

struct storage_tune { /* what may change while it runs */
	const char *const *allow;
	size_t n_allow;
	bool http_check_token;
	const char *http_token_secret;
	int64_t http_token_ttl_s;
	bool metrics_public;
	struct engine_conf engine; /* engine_tune()'s part */
};

struct storage_conf {
	struct storage_tune tune;
	const char *address;         /* [HOST]:PORT */
	const char *inner, *outer;   /* HOST or HOST:PORT; "" */
	const char *const *trackers; /* HOST:PORT of all of them */
	size_t n_trackers;
	struct str secret;
	const char *cluster_id; /* the setting */
	const char *group;
	uint32_t server_id;
	unsigned min_copies, max_connections;
	bool degraded_writes;
	bool wide_answers; /* FILE_INFO in the form with IPv6 addresses */
	int64_t tombstone_keep_s;
	uint32_t upload_priority;
	uint64_t reserved;
	const struct http_conf *http; /* NULL: no file URLs. The handlers are
	                                 this layer's */
	const char *const *cors;      /* origins; "*" */
	size_t n_cors;
	const char *version;
	void (*event)(void *arg, int level, const char *text);
	/* It may not go on (P8), as was told; the process is to end. */
	void (*expired)(void *arg);
	void *arg;
};

/* ERR_CONFIG in one line. What @c points to must outlive it, but for tune. */
int storage_open(const struct storage_conf *c, struct storage **ret,
    struct err *e);
/* Requests under way get @drain_ms. NULL in *sp is fine. */
void storage_close(struct storage **sp, int drain_ms);
/* A wrong one changes nothing. */
int storage_retune(struct storage *s, const struct storage_tune *u,
    struct err *e);
void storage_reopen_log(struct storage *s);
/* Where it listens: "host:port" of the storage port, and of the file URLs ("" if
 * none). */
void storage_listens(struct storage *s, char dst[300], char http[300]);

#endif
