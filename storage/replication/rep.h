/* storage/replication/rep.h - the files of a group, on all of its nodes.
 *
 * P1  rep_put() and rep_upload_commit() == 0: bytes, name and log record are
 *     durable on at least min_copies members, each of which would survive
 *     alone. With fewer within reach the answer is ERR_BUSY and the file is
 *     tombstoned everywhere it may have got to (degraded_writes = allow: one
 *     copy is enough, said as an event).
 * P2  A change (rep_change(): a new version of a name, or its end) is made by
 *     the group's leader alone, and is durable on a majority of the configured
 *     members. A version is (term << 32 | counter), so that what a leader of a
 *     newer term has made wins over what an older one left behind unfinished.
 *     A peer refuses a change whose base is older than what it has.
 * P3  Nothing deleted comes back: whatever installs a version here (upload,
 *     log, read-through, repair, comparison) is held against the tombstones.
 * P4  Each member pulls from each other what that one's volume logs hold behind
 *     its cursor, and installs what it lacks. A cursor stands for "all before
 *     this position is here, durably"; it is kept by the puller, beside its own
 *     disks, so that a disk that is put back to an older state takes its cursors
 *     back along. One that does not fit the log any more begins at zero, which
 *     is a full comparison.
 * P5  Until it has caught up with every member within reach once since it was
 *     added, replaced or put back, a node is in RECOVERY or SYNCING and is no
 *     source for sets; it takes copies, and reads through.
 * P6  A read that finds nothing, or a bad block, asks the others before it
 *     says so: a tombstone is an answer; "no such file" needs so many members
 *     to say it that no acknowledged file could be hidden, else ERR_RETRY. What
 *     was found elsewhere is installed here.
 * P7  Sets are compared between peers regularly by digests of ranges.
 * P8  A node away for longer than tombstones are kept is not taken back with
 *     its files: it says so, refuses everything, and refuses to start. How long
 *     it was is the group's own count, no clock's (away.c).
 * Threads: any. */
#ifndef STORAGE_REPLICATION_REP_H
#define STORAGE_REPLICATION_REP_H

#include "storage/replication/member.h"

struct rep;

struct rep_conf {
	struct rep_env env;
	struct members *members;  /* the caller's */
	unsigned min_copies;      /* 0: 2 with two members or more, else 1 */
	bool degraded_writes;     /* allow */
	int64_t tombstone_keep_s; /* 30 days */
	int peer_ms; /* a peer that takes nothing for so long is left to
	                     the log: 0 is 1,000 */
	int64_t compare_interval_s; /* between comparisons of sets; 0: 1 hour */
	/* P8 has come true while it runs: the process is to end. May be NULL;
	 * any task, must not close it. */
	void (*expired)(void *arg);
	void *arg;
};
int rep_open(const struct rep_conf *c, struct rep **ret, struct err *e);
void rep_close(struct rep **rp); /* as members_close() */
/* Before the end: peers that wait for news get their answer now, so that a
 * server's drain does not wait for them. */
void rep_hush(struct rep *r);

/* --- writing immutable files --- */

/* @ext, @flags (ENGINE_APPENDER) and @path_no as engine_draw(). */
int rep_put(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e);
/* The same for one who must not wait: engine_put_gather()'s contract, without the
 * body's limit. 1: it can't be done so (there are peers that are to have it, or too
 * few; it is large): rep_put() is to be called. */
int rep_put_gather(struct rep *r, const struct engine_owner *owner, int path_no,
    struct str body, const char *ext, const struct engine_then *then,
    struct err *e);
void rep_gathered(struct rep *r);
struct rep_upload;
int rep_upload_begin(struct rep *r, const struct engine_owner *owner,
    int path_no, uint64_t size_hint, struct rep_upload **ret, struct err *e);
int rep_upload_write(struct rep_upload *u, const void *p, size_t len,
    struct err *e);
int rep_upload_commit(struct rep_upload **up, const char *ext, unsigned flags,
    struct engine_file_info *ret, struct err *e);
/* Under the name, of the store path of begin, that was drawn for just this
 * content (rep_store_ops.draw). ERR_EXISTS: the name is known, deleted too. */
int rep_upload_commit_as(struct rep_upload **up, const struct engine_record *as,
    struct engine_file_info *ret, struct err *e);
void rep_upload_abort(struct rep_upload **up);

/* --- changing, on the leader --- */

/* ERR_RETRY where this node does not lead: the caller sends FILE_OP to the
 * node that does. */
struct rep_change {
	struct str id;
	uint8_t class;
	struct id128 write_id;
	struct str note;
	bool is_delete;
	bool is_new;      /* ERR_EXISTS if there is a live one */
	uint64_t base;    /* it must be this version; 0: whatever there is (with
	                  is_new: nothing) */
	struct str body;  /* at most small_limit */
	int64_t until_ms; /* it is not begun later, by env's clock: ERR_RETRY;
	                     0: whenever */
};
/* ERR_NOT_FOUND: nothing there to change; ERR_RETRY: another version than the
 * base; ERR_BUSY: no majority (the outcome is open). */
int rep_change(struct rep *r, const struct rep_change *c,
    struct engine_file_info *ret, struct err *e);
/* The newest version that a majority stands for: what a change is based on.
 * The body goes into @body if it is not NULL. ERR_NOT_FOUND. Leader only. */
int rep_read_newest(struct rep *r, struct str id, struct engine_file_info *ret,
    struct buf *body, struct err *e);

/* Tombstones for immutable files, durable on a majority of the configured
 * members (one, with degraded_writes); unknown names too. Any node. */
int rep_delete_many(struct rep *r, const struct str *ids, size_t n,
    struct err *e);

/* --- reading (P6) --- */

struct rep_file;
int rep_file_open(struct rep *r, struct str id, struct rep_file **ret,
    struct err *e);
void rep_file_info(const struct rep_file *f, struct engine_file_info *ret);
/* Valid as long as @f. */
struct str rep_file_note(struct rep_file *f);
int rep_file_read(struct rep_file *f, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e);
/* engine_file_span(), of a file that is here; else ERR_RETRY too. Of what can't
 * be read there rep_file_read() gives another member's. */
int rep_file_span(struct rep_file *f, uint64_t off, size_t len,
    struct engine_span *ret, struct err *e);
void rep_file_close(struct rep_file **fp);

/* --- looking after --- */

/* Operations INSTALL to STEP of cluster/op_table.h, REMOVE, and READ, STAT for
 * peers; members_check() was asked by it first. */
int rep_serve(struct rep *r, const struct rpc_from *from,
    const struct rpc_request *q, struct rpc_answer *a, struct err *e);

struct rep_status {
	uint8_t state; /* enum fdfs_state */
	char reason[CMAP_REASON];
	uint8_t progress;
	bool can_write;  /* min_copies members can be reached */
	bool is_witness; /* what is not here was not acknowledged by it, nor by
	                    the group before it came, again */
	unsigned copies; /* that writes wait for, at least */
	uint64_t lag_bytes, lag_files;
	struct rep_peer_status { /* one per other member */
		uint32_t server_id;
		bool is_reachable, is_caught_up;
		uint64_t behind_bytes; /* of its log, not yet here */
		int64_t heard_ms;      /* env's clock */
	} peers[CMAP_MEMBERS];
	size_t n_peers;
	uint64_t pulled_files, pulled_bytes, repaired, compared, found_missing;
	/* Bytes of files that went between this node and others of the group
	 * since it was opened, and those of calls that succeeded. */
	uint64_t in_bytes, in_bytes_ok, out_bytes, out_bytes_ok;
	int64_t in_last_s; /* when the last ones came; 0: never */
};
void rep_status(struct rep *r, struct rep_status *ret);
/* The last call to that member was answered, or none was made. */
bool rep_reaches(struct rep *r, const struct id128 *node);
/* Compares with every peer now and fetches what is missing; *ret_diff: entries
 * that differed. For `creel admin verify`. */
int rep_compare_now(struct rep *r, uint64_t *ret_diff, struct err *e);
/* An administrator's wish, that a member goes for good; waits until the others
 * hold what they must (remove.c), and for the outcome. ERR_BUSY says what is in
 * the way; @force: with a majority that does. ERR_NOT_FOUND. */
int rep_remove(struct rep *r, uint32_t server_id, bool force, struct err *e);

#endif
