/* storage/replication/env.h - all that replication knows of the world.
 *
 * The same code runs on threads, sockets and disks, and in a simulation where
 * one task at a time runs on virtual time, and messages, crashes and disks are
 * drawn from a seed. Everything that waits, sends, stores or tells the time
 * goes through here.
 * V1  No lock is held over a call of this table: each may switch tasks.
 * V2  A node that was stopped gets ERR_CLOSED from every call, and unwinds.
 * Threads: any. */
#ifndef STORAGE_REPLICATION_ENV_H
#define STORAGE_REPLICATION_ENV_H

#include "cluster/map.h"
#include "cluster/rpc.h"
#include "storage/engine/replica.h"

/* storage/engine, or a double of it. One function each, contracts there;
 * uploads and open files are the backend's own pointers. */
struct rep_store_ops {
	int (*draw)(void *st, const struct engine_owner *o, int path_no,
	    uint64_t size, uint32_t crc32, const char *ext, unsigned flags,
	    struct engine_record *ret, struct err *e);
	struct engine_source (*next_source)(void *st);
	int (*install_many)(void *st, struct engine_install *v, size_t n,
	    struct err *e);
	/* engine_put_gather() and engine_gathered(); may be NULL. */
	int (*put_gather)(void *st, const struct engine_owner *o, int path_no,
	    struct str body, const char *ext, const struct engine_then *then,
	    struct err *e);
	void (*gathered)(void *st);
	int (*upload_begin)(void *st, const struct engine_owner *o, int path_no,
	    uint64_t hint, void **ret, struct err *e);
	int (*upload_write)(void *up, const void *p, size_t len, struct err *e);
	int (*upload_path)(void *up);
	int (*upload_draw)(void *up, const char *ext, unsigned flags,
	    struct engine_record *ret, struct err *e);
	int (*upload_install)(void *up, const struct engine_record *r,
	    unsigned flags, uint64_t *ret_version, struct err *e);
	void (*upload_abort)(void *up);
	int (*open)(void *st, struct str id, void **ret, struct err *e);
	int (*record)(void *f, struct engine_record *ret, struct buf *note,
	    struct err *e);
	int (*read)(void *f, uint64_t off, void *p, size_t len, size_t *ret_len,
	    struct err *e);
	/* engine_file_span(); may be NULL. */
	int (*span)(void *f, uint64_t off, size_t len, struct engine_span *ret,
	    struct err *e);
	void (*close)(void *f);
	int (*lookup_many)(void *st, const struct str *ids, size_t n,
	    struct engine_version *ret, struct err *e);
	int (*record_of)(void *st, struct str id, struct engine_record *ret,
	    struct buf *note, struct err *e);
	int (*record_of_key)(void *st, const uint8_t key[ENGINE_KEY],
	    struct engine_record *ret, struct buf *note, struct err *e);
	size_t (*n_paths)(void *st);
	int (*log_read)(void *st, size_t path_no, struct engine_pos *pos,
	    size_t max, int (*fn)(void *arg, const struct engine_record *r),
	    void *arg, bool *ret_end, struct err *e);
	uint64_t (
	    *log_left)(void *st, size_t path_no, const struct engine_pos *pos);
	bool (*log_wait)(void *st, uint64_t *seen, int ms);
	int (*digest)(void *st, const uint8_t from[ENGINE_KEY],
	    const uint8_t to[ENGINE_KEY], struct engine_digest *ret,
	    struct err *e);
	int (*range)(void *st, const uint8_t from[ENGINE_KEY],
	    const uint8_t to[ENGINE_KEY], size_t max,
	    int (*fn)(void *arg, const uint8_t key[ENGINE_KEY],
		const struct engine_version *v),
	    void *arg, struct err *e);
	void (*paths_id)(void *st, struct id128 *ret);
	bool (*has_failed)(void *st); /* one of its store paths has */
	int (*each_bad)(void *st, int (*fn)(void *arg, const char *id),
	    void *arg);
	void (*forget_before)(void *st, int64_t s);
	/* A small file of this node's own, replaced durably and atomically
	 * (membership, votes, cursors); ERR_NOT_FOUND. */
	int (
	    *save)(void *st, const char *name, struct str bytes, struct err *e);
	int (*load)(void *st, const char *name, struct buf *ret, struct err *e);
};
/* storage/replication/engine_store.c: over the engine; st is a
 * struct rep_engine_store *. */
extern const struct rep_store_ops rep_engine_ops;

struct rep_env_ops {
	/* rpc_call(). */
	int (*call)(void *env, const struct fdfs_addr *to,
	    const struct rpc_request *q, int timeout_ms, struct rpc_reply *r,
	    struct err *e);
	int64_t (*now_ms)(void *env); /* monotonic */
	int64_t (*real_s)(void *env); /* may jump; decides nothing but ages */
	uint64_t (*random)(void *env);
	/* False when the node is being stopped. */
	bool (*sleep)(void *env, int64_t ms);
	/* A task of its own; at most 96 at once from one node. */
	int (
	    *spawn)(void *env, void (*fn)(void *arg), void *arg, struct err *e);
	/* One-shot gates between tasks: wait until signalled or @ms passed
	 * (false; also when stopped). */
	void *(*gate_new)(void *env);
	void (*gate_free)(void *env, void *gate);
	void (*gate_signal)(void *env, void *gate); /* stays signalled */
	bool (*gate_wait)(void *env, void *gate, int64_t ms);
	void (*event)(void *env, int level, const char *text);
};
/* storage/replication/threads.c: threads, clock and an rpc_client. */
extern const struct rep_env_ops rep_thread_ops;

struct rep_env {
	const struct rep_store_ops *store_ops;
	void *store;
	const struct rep_env_ops *ops;
	void *env;
};

#endif
