/* fdfs/tracker_codec.h - requests and answers of a tracker.
 *
 * Texts of a decoded request are views into what was decoded; records copy
 * theirs. A request is encoded with its header, an answer without. Decoders of
 * lists take the room that the caller has: more is ERR_TOO_BIG.
 * Reference: FastDFS 6.16.1, docs/FASTDFS.md. Threads: any. */
#ifndef FDFS_TRACKER_CODEC_H
#define FDFS_TRACKER_CODEC_H

#include "fdfs/name.h"

/* One for all commands: each uses some of it, the rest is 0. */
struct fdfs_tracker_req {
	uint8_t command;
	struct str group;  /* those that begin with one */
	struct str name;   /* FETCH_* */
	struct str id;     /* LIST_STORAGES, SET_TRUNK: or ""; DELETE_STORAGE */
	struct str addr;   /* SERVER_ID, SERVER_STATUS: "ip:port";
	                   * GROUP_BY_PORT: an IP or "" */
	uint32_t port;     /* GROUP_BY_PORT */
	uint32_t start;    /* STORAGE_IDS */
	bool allow_empty;  /* STORAGE_IDS */
	uint8_t filter[4]; /* *_STAT: 3 or 4 bytes as they are */
};

int fdfs_tracker_req_encode(const struct fdfs_tracker_req *r, struct buf *b,
    struct err *e);
/* @body: all of it. ERR_INVALID; ERR_NOT_IMPLEMENTED for a command that is no
 * tracker's. */
int fdfs_tracker_req_decode(const struct fdfs_header *h, struct str body,
    struct fdfs_tracker_req *ret, struct err *e);

/* --- STORE_*, FETCH_*: servers of a group --- */

struct fdfs_servers {
	char group[FDFS_GROUP_LEN + 1];
	uint8_t path; /* STORE_*: goes into the upload as it is */
	size_t n;     /* 1 or more */
	struct fdfs_addr addr[FDFS_MAX_SERVERS];
};

int fdfs_store_encode(const struct fdfs_servers *s, enum fdfs_form form,
    struct buf *b, struct err *e);
int fdfs_store_decode(struct str body, struct fdfs_servers *ret, struct err *e);

/* How FETCH_ALL tells the servers after the first. Only ONE is read by every
 * client: Java 1.39 knows the old form only, C from 6.16 the new one only. */
enum fdfs_extras {
	FDFS_EXTRAS_NONE, /* the first server alone */
	FDFS_EXTRAS_ADDR, /* IP and port: since 6.16.0 */
	FDFS_EXTRAS_IP    /* IP alone, all have the first one's port: before */
};

int fdfs_fetch_encode(const struct fdfs_servers *s, enum fdfs_form form,
    enum fdfs_extras extras, struct buf *b, struct err *e);
/* Lengths alone tell the form: @extras says which to expect of a list. */
int fdfs_fetch_decode(struct str body, enum fdfs_extras extras,
    struct fdfs_servers *ret, struct err *e);

/* --- LIST_GROUP, LIST_GROUPS --- */

#define FDFS_GROUP_RECORD 113

struct fdfs_group {
	char name[FDFS_GROUP_LEN + 1];
	/* MiB, then counts; in the order of the record. */
	int64_t total_mb, free_mb, reserved_mb, trunk_free_mb;
	int64_t storages, storage_port, readable, writable, write_server,
	    store_paths, subdirs;
	int64_t trunk_file; /* -1: none */
};

int fdfs_group_encode(const struct fdfs_group *g, struct buf *b, struct err *e);
int fdfs_groups_decode(struct str body, struct fdfs_group *ret, size_t max,
    size_t *ret_n, struct err *e);

/* --- LIST_STORAGES --- */

#define FDFS_STAT_LEN 348

struct fdfs_count {
	int64_t total, success;
};

/* The statistics block, in its order. */
struct fdfs_stat {
	int32_t conn_alloc, conn_current, conn_max;
	struct fdfs_count upload, append, modify, truncate, set_meta, delete,
	    download, get_meta, create_link, delete_link; /* calls */
	struct fdfs_count upload_bytes, append_bytes, modify_bytes,
	    download_bytes, sync_in_bytes, sync_out_bytes;
	struct fdfs_count file_open, file_read, file_write;
	int64_t last_source_update, last_sync_update, last_synced,
	    last_heartbeat; /* unix seconds */
};

int fdfs_stat_encode(const struct fdfs_stat *s, struct buf *b);
/* FDFS_STAT_LEN bytes. */
void fdfs_stat_decode(const void *p, struct fdfs_stat *ret);

struct fdfs_storage {
	uint8_t state;   /* enum fdfs_state */
	uint8_t rw_mode; /* 0 none, 2 write, 4 read, 6 both */
	char id[FDFS_ID_LEN + 1];
	char ip[FDFS_IP_MAX + 1];
	char source[FDFS_ID_LEN + 1]; /* ID of whom it syncs from */
	char version[FDFS_VERSION_LEN + 1];
	int64_t joined, started; /* unix seconds */
	int64_t total_mb, free_mb, reserved_mb;
	int64_t priority, store_paths, subdirs, write_path, port;
	struct fdfs_stat stat;
	bool is_trunk;
};

/* ERR_INVALID for an address that the form cannot hold. */
int fdfs_storage_encode(const struct fdfs_storage *s, enum fdfs_form form,
    struct buf *b, struct err *e);
int fdfs_storages_decode(struct str body, struct fdfs_storage *ret, size_t max,
    size_t *ret_n, struct err *e);

/* --- views of the cluster --- */

#define FDFS_HOST_LEN 52 /* "ip:port", IPv6 in brackets */

/* TRACKER_STAT, STORAGE_STAT */
struct fdfs_node {
	char id[FDFS_ID_LEN + 1]; /* storage */
	char host[FDFS_HOST_LEN + 1];
	bool is_leader, is_active; /* tracker */
	bool is_trunk;             /* storage */
	uint8_t state;             /* storage */
	int32_t conn_alloc, conn_current, conn_max;
	char version[FDFS_VERSION_LEN + 1];
	int64_t started, last_heartbeat;
};
#define FDFS_MAX_TRACKERS 16 /* the count is one byte, this the servers' own */

int fdfs_tracker_stat_encode(const struct fdfs_node *nodes, size_t n,
    struct buf *b, struct err *e);
int fdfs_tracker_stat_decode(struct str body, struct fdfs_node *ret, size_t max,
    size_t *ret_n, struct err *e);
int fdfs_storage_stat_encode(const struct fdfs_node *nodes, size_t n,
    bool use_id, bool use_trunk, struct buf *b, struct err *e);
int fdfs_storage_stat_decode(struct str body, struct fdfs_node *ret, size_t max,
    size_t *ret_n, bool *ret_use_id, bool *ret_use_trunk, struct err *e);

struct fdfs_volume {
	char group[FDFS_GROUP_LEN + 1];
	int64_t total_mb, free_mb, reserved_mb, available_mb, trunk_free_mb;
	bool disk_available, trunk_available;
};
int fdfs_volume_stat_encode(const struct fdfs_volume *v, size_t n,
    bool use_trunk, struct buf *b, struct err *e);
int fdfs_volume_stat_decode(struct str body, struct fdfs_volume *ret,
    size_t max, size_t *ret_n, bool *ret_use_trunk, struct err *e);

/* LEADER: "ip:port", no terminator. */
int fdfs_leader_encode(const struct fdfs_addr *a, struct buf *b, struct err *e);
int fdfs_leader_decode(struct str body, struct fdfs_addr *ret, struct err *e);
/* "1.2.3.4:80", "[::1]:80"; a host name is kept as it is. ERR_INVALID. */
int fdfs_addr_parse(struct str text, struct fdfs_addr *ret, struct err *e);
/* Returns the length; dst is terminated. */
size_t fdfs_addr_text(const struct fdfs_addr *a, char dst[FDFS_HOST_LEN + 1]);

/* --- parameters and identities --- */

/* STATUS */
struct fdfs_tracker_status {
	bool is_leader;
	int64_t running, restart_interval; /* seconds */
};
int fdfs_tracker_status_encode(const struct fdfs_tracker_status *s,
    struct buf *b, struct err *e);
int fdfs_tracker_status_decode(struct str body, struct fdfs_tracker_status *ret,
    struct err *e);

/* SERVER_STATUS: 67 bytes in every form. */
struct fdfs_brief {
	uint8_t state;
	uint16_t port;
	char id[FDFS_ID_LEN + 1];
	char ip[FDFS_IP_MAX + 1];
};
int fdfs_brief_encode(const struct fdfs_brief *s, struct buf *b, struct err *e);
int fdfs_brief_decode(struct str body, struct fdfs_brief *ret, struct err *e);

/* STORAGE_IDS: counts, then lines "id group ip[:port][ rw=...]\n". */
int fdfs_ids_encode(uint32_t total, uint32_t n, struct str lines, struct buf *b,
    struct err *e);
int fdfs_ids_decode(struct str body, uint32_t *ret_total, uint32_t *ret_n,
    struct str *ret_lines, struct err *e);

/* GROUP_BY_PORT */
int fdfs_group_answer_encode(struct str group, struct buf *b, struct err *e);
/* SERVER_ID (no terminator), SET_TRUNK (@nul: one). */
int fdfs_id_answer_encode(struct str id, bool nul, struct buf *b,
    struct err *e);
int fdfs_id_answer_decode(struct str body, struct str *ret, struct err *e);

/* PARAMETERS: "key=value\n" each; under 1024 bytes in all, since that is the
 * buffer of C clients. */
int fdfs_param_add(struct buf *b, const char *key, const char *value,
    struct err *e);
/* STR_NULL when @key is not there. */
struct str fdfs_param_get(struct str body, const char *key);

#endif
