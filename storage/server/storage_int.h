/* storage/server/storage_int.h - shared by the parts of storage/server. */
#ifndef STORAGE_SERVER_STORAGE_INT_H
#define STORAGE_SERVER_STORAGE_INT_H

#include "cluster/store_ops.h"
#include "fdfs/allow.h"
#include "lib/lock.h"
#include "storage/engine/replica.h"
#include "storage/files/files.h"
#include "storage/replication/engine_store.h"
#include "storage/replication/threads.h"
#include "storage/server/ops.h"
#include "storage/server/storage.h"

#include <limits.h>
#include <stdatomic.h>

#define STORAGE_MAGIC 0x53746f72
#define STORAGE_HOST_MAX 256
#define FENCES_MAX 1024 /* indexes that were ever fenced */

/* The statistics block's pairs, in its order (struct fdfs_stat). */
enum count {
	COUNT_UPLOAD,
	COUNT_APPEND,
	COUNT_MODIFY,
	COUNT_TRUNCATE,
	COUNT_SET_META,
	COUNT_DELETE,
	COUNT_DOWNLOAD,
	COUNT_GET_META,
	COUNT_CREATE_LINK,
	COUNT_DELETE_LINK,
	COUNT_UPLOAD_BYTES,
	COUNT_APPEND_BYTES,
	COUNT_MODIFY_BYTES,
	COUNT_DOWNLOAD_BYTES,
	COUNTS
};
struct counts {
	atomic_int_least64_t total[COUNTS], success[COUNTS];
	atomic_int_least64_t last_change_s;
};

struct announcer { /* to one tracker */
	struct storage *s;
	struct fdfs_addr addr;
	char name[FDFS_HOST_LEN + 1];
	pthread_t thread;
	bool is_started, is_silent; /* the last call failed */
	uint64_t told;              /* changes told */
};

struct fence {
	struct id128 index_id;
	uint64_t epoch;
};

struct told { /* fence_tell.c: what a peer was told; the keeper's */
	struct id128 node;
	uint64_t changes; /* up to this one */
	int64_t at_ns, not_before_ns;
};

struct stream; /* streams.c */

struct storage {
	unsigned magic;
	struct storage_conf c;
	struct id128 node, cluster;
	char *secret;
	char dir[PATH_MAX]; /* for what the node keeps */
	int64_t started_s;
	struct fdfs_addr inner, outer;
	char host[STORAGE_HOST_MAX];
	uint16_t port, http_port;
	char http_address[80];
	struct engine *engine;
	struct rep_engine_store store;
	struct rep_threads *threads;
	struct rep_env env;
	struct members *members;
	struct rep *rep;
	struct files *files;
	struct rpc_server *rpc;
	struct fdfs_server *server;
	struct http_server *http;
	struct counts counts;

	struct lock lock; /* what may change; no I/O */
	struct cond wake;
	bool stopping;
	uint64_t changes; /* announced at once */
	struct fdfs_allow allow;
	bool check_token, metrics_public;
	char *token_secret;
	int64_t token_ttl_s;
	int64_t said_s; /* in this second so many failures were said */
	unsigned said;

	struct lock stream_lock;
	struct stream *streams;
	unsigned n_streams;

	struct lock fence_lock; /* what is durable, and who writes it */
	struct cond fence_cond;
	bool is_fence_saving;
	struct fence fence_next; /* what is being written */
	struct fence *fences;
	size_t n_fences;
	uint64_t fence_changes; /* 0: there are none */
	struct told told[CMAP_MEMBERS];

	struct announcer announcers[FDFS_MAX_TRACKERS];
	size_t n_announcers;
	pthread_t keeper;
	bool has_keeper;
};

void storage_say(struct storage *s, int level, const char *what,
    const struct err *e);
static inline void
storage_count(struct storage *s, enum count c, int64_t total, bool ok)
{
	atomic_fetch_add_explicit(&s->counts.total[c], total,
	    memory_order_relaxed);
	if (ok)
		atomic_fetch_add_explicit(&s->counts.success[c], total,
		    memory_order_relaxed);
}

/* client.c: FastDFS's commands */
fdfs_handler storage_on_fdfs;
fdfs_later storage_on_upload; /* UPLOAD, without a thread that waits */
void storage_gathered(void *arg);
int storage_admit(void *arg, const struct fdfs_addr *peer,
    const struct fdfs_command *c, struct err *e);

/* ops.c: Creel's */
rpc_handler storage_on_rpc;
void storage_file_of(const struct engine_file_info *i, struct sop_file *ret);
int storage_answer_file(const struct engine_file_info *i, struct rpc_answer *a,
    struct err *e);

/* streams.c */
int stream_begin(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);
int stream_data(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);
int stream_commit(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);
int stream_abort(struct storage *s, const struct rpc_from *from,
    const struct rpc_request *q, struct err *e);
/* Those that nobody continues; all of them at the end. */
void streams_expire(struct storage *s, bool all);
/* Those of this index that began before @epoch. */
void streams_end(struct storage *s, const struct id128 *index, uint64_t epoch);

/* fence.c */
int fence_load(struct storage *s, struct err *e);
/* W1: 0 when @epoch may write in the name of @index. */
int fence_check(struct storage *s, const struct id128 *index, uint64_t epoch,
    struct err *e);
uint64_t fence_get(struct storage *s, const struct id128 *index);

/* fence_tell.c: peers, if there is something that they were not told. */
void fence_tell(struct storage *s);

/* find.c: the answer of a peer that knows it. ERR_NOT_FOUND is the group's word,
 * ERR_RETRY: too few could be asked. */
int find_at_peers(struct storage *s, struct str args, struct rpc_answer *a,
    struct err *e);

/* status.c */
int storage_node_of(struct storage *s, struct cmap_node *ret, struct err *e);
int storage_status_of(struct storage *s, struct sop_status *ret, struct err *e);
int announce_start(struct storage *s, struct err *e);
void announce_join(struct storage *s);

/* url.c */
int url_start(struct storage *s, struct err *e);

#endif
