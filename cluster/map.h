/* cluster/map.h - what a tracker knows of a cluster, as told and as asked for.
 *
 * A node's own word about itself (ANNOUNCE, NODE_STATUS) and the map that a
 * tracker makes of all of them (MAP), packed with cluster/pack.h; as JSON for
 * `creel admin`. Soft state: nothing here decides about bytes.
 * Pure functions; threads: any. */
#ifndef CLUSTER_MAP_H
#define CLUSTER_MAP_H

#include "cluster/pack.h"
#include "fdfs/tracker_codec.h"

#define CMAP_PATHS 256
#define CMAP_MEMBERS FDFS_MAX_SERVERS
#define CMAP_REASON 160

/* An address in a message: text, u32 port. Of other characters than addresses
 * and hosts' names have it is bad. */
int cmap_addr_pack(const struct fdfs_addr *a, struct buf *b);
void cmap_addr_unpack(struct unpack *u, struct fdfs_addr *ret);

struct cmap_path { /* a store path */
	uint64_t total, avail, files, bytes;
	bool is_failed;
};

struct cmap_member { /* of a group, as the nodes have agreed */
	struct id128 node;
	uint32_t server_id;
	struct fdfs_addr inner, outer; /* outer.ip "" when there is none */
};

struct cmap_node {
	struct id128 node, cluster, group_id;
	uint32_t server_id;
	char group[FDFS_GROUP_LEN + 1];
	struct fdfs_addr inner, outer;
	uint16_t http_port; /* file URLs; 0 = not served */
	char version[16];
	uint8_t state;                 /* enum fdfs_state */
	char reason[CMAP_REASON];      /* not ACTIVE, or no writes; "" */
	uint8_t progress;              /* percent, of what it is waiting for */
	bool can_write;                /* space, paths, copies within reach */
	bool is_leader;                /* orders its group's changes */
	uint64_t lag_bytes, lag_files; /* known to be missing here */
	uint64_t epoch, term;
	int64_t started_s, joined_s;
	uint32_t priority;   /* upload_priority */
	uint32_t min_copies; /* of what is acknowledged; 0: by default */
	uint64_t reserved;
	size_t n_paths;
	struct cmap_path *paths; /* owned */
	size_t n_members;
	struct cmap_member members[CMAP_MEMBERS];
	struct fdfs_stat stat;
	/* Filled by the tracker. */
	int64_t heard_s; /* when, by its clock; 0 = only known as a member */
	bool is_away;    /* not heard for too long */
};
void cmap_node_fini(struct cmap_node *n);
int cmap_node_pack(const struct cmap_node *n, struct buf *b);
/* ERR_INVALID. *ret needs cmap_node_fini() on success. */
int cmap_node_unpack(struct unpack *u, struct cmap_node *ret, struct err *e);

struct cmap {
	uint64_t seq;            /* rises with every change */
	struct cmap_node *nodes; /* sorted by group and server_id; owned */
	size_t n_nodes;
	struct cmap_gate {
		struct id128 gate, index;
		uint64_t index_epoch;
		struct fdfs_addr addr;
		char version[16];
		int64_t heard_s;
	} * gates;
	size_t n_gates;
	struct cmap_tracker {
		struct fdfs_addr addr;
		char version[16];
		int64_t started_s;
		int64_t heard_s; /* 0: not of late */
		bool is_self;
	} * trackers;
	size_t n_trackers;
};
void cmap_fini(struct cmap *m);
int cmap_pack(const struct cmap *m, struct buf *b);
int cmap_unpack(struct str s, struct cmap *ret, struct err *e);
/* JSON text appended to @b; a table for people. */
int cmap_json(const struct cmap *m, struct buf *b, struct err *e);
int cmap_table(const struct cmap *m, struct buf *b, struct err *e);

#endif
