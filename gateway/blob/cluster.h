/* gateway/blob/cluster.h - blobs on storage nodes.
 *
 * blob_cluster_new(): trackers and storage nodes of Creel, over cluster/rpc.h.
 * C1  A map of the cluster is asked of any tracker every second, and at once
 *     after a failure. What a tracker has forgotten stays in it for a while: a
 *     tracker that has just begun knows less than the gateway.
 * C2  A call that failed, or took too long, marks its node, which is asked last
 *     for a while; the call goes on to another node. A node that hangs costs a
 *     reader read_ms once.
 * C3  Nothing is written before blob_cluster_take(), and every write carries
 *     the index's ID and epoch. A node that knows a newer epoch refuses; then
 *     the index is lost to this gateway (blob_cluster_is_lost()) for good.
 * C4  A write whose outcome is unknown is never repeated elsewhere under its
 *     write ID: the caller gets ERR_RETRY and draws another.
 * C5  Memory: a bounded amount of read-ahead in all; else what callers bring.
 * C6  blob_cluster_take_all() wants, of each group that is known, so many nodes
 *     that any min_copies of them have one that was told; and nodes tell each
 *     other (storage/server/fence.c). So a gateway that reaches only nodes that
 *     were not told has no write acknowledged once these have asked their
 *     peers for copies and heard of it, in the next second or two.
 * C7  A call that may take long (a stream's, above all) is given up some three
 *     seconds after its node has stopped: such a node is asked for a sign of life
 *     every second, and after two in a row without an answer its calls are cut.
 * C8  A read that its replica leaves without an answer, or without more of it,
 *     for 100 ms is put to another one as well, and the first good answer is
 *     taken. Who is outrun three times in a row is read from last for two
 *     seconds.
 *
 * blob_fastdfs_new(): a cluster of FastDFS, with its stock commands only. It
 * keeps no owner, so notes, blob_find_write() and blob_each() are ERR_INVALID;
 * and it acknowledges what is not yet safe (docs/CLUSTER.md).
 * Threads: any; one refreshes the map, one watches (C7), some read ahead. */
#ifndef GATEWAY_BLOB_CLUSTER_H
#define GATEWAY_BLOB_CLUSTER_H

#include "cluster/map.h"
#include "cluster/rpc.h"
#include "gateway/blob/blob.h"

struct blob_cluster_conf {
	struct rpc_self self; /* what it points to outlives the blobs */
	const struct fdfs_addr *trackers;
	size_t n_trackers;
	struct fdfs_addr address; /* of S3, as trackers are told */
	const char *version;
	void (*event)(void *arg, int level, const char *text);
	void *arg;
	/* 0 is the default, in milliseconds. */
	int connect_ms; /* 500 */
	int read_ms;    /* until another replica is asked: 1,000 */
	int slow_ms;    /* the same once all were asked: 8,000 */
	int store_ms;   /* a write without an answer: 3,000 */
	int refresh_ms; /* the map: 1,000 */
};

int blob_cluster_new(const struct blob_cluster_conf *c, struct blob **ret,
    struct err *e);
/* A tracker answers, and in one group at least a majority of the configured
 * nodes is there. Else why not, in one line without its end. */
bool blob_cluster_is_usable(struct blob *b, char why[CMAP_REASON]);

/* struct kv_owner's (gateway/index/kv.h), as told by the nodes: of a majority of
 * each group that has one within reach, one group at least; else ERR_BUSY. */
int blob_cluster_newest(struct blob *b, const struct id128 *index_id,
    uint64_t *ret_epoch, struct err *e);
int blob_cluster_take(struct blob *b, const struct id128 *index_id,
    uint64_t epoch, struct err *e);
/* The same for an owner that may live on where this one cannot see it (C6). Takes
 * nothing where it is known beforehand that too few are within reach. */
int blob_cluster_take_all(struct blob *b, const struct id128 *index_id,
    uint64_t epoch, struct err *e);
bool blob_cluster_is_lost(struct blob *b);
/* From now on the files of an index are gone through only with the word of so many
 * nodes of each group, none of them one that lost its disks and has not caught
 * up with all others since, that every acknowledged one is met; else ERR_BUSY.
 * For who makes an index of them. Before anything is asked. */
void blob_cluster_want_whole(struct blob *b);
/* The process ends: calls are short from here on, and fail after @ms. */
void blob_cluster_hurry(struct blob *b, int ms);
/* Trackers know of another gateway with an index, at @ret, heard lately. */
bool blob_cluster_has_other(struct blob *b, char ret[FDFS_HOST_LEN + 1]);

struct blob_fastdfs_conf {
	const struct fdfs_addr *trackers;
	size_t n_trackers;
	const char *spool_dir; /* bodies of unknown size wait here */
	uint64_t spool_max;    /* all of them together; 0: 1 GiB */
	int connect_ms, io_ms; /* 0: 2,000 and 10,000 */
};
int blob_fastdfs_new(const struct blob_fastdfs_conf *c, struct blob **ret,
    struct err *e);

#endif
