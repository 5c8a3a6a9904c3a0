/* tracker/core.h - what a tracker knows, and what it answers: a function of the
 * events it was given, and nothing else. Time comes with each event.
 *
 * K1  No I/O, clock, thread or random number in here.
 * K2  "No such group" (ERR_NOT_FOUND) is said only of a group that neither a
 *     node nor the saved state has told of, and not before this tracker has
 *     listened for twice away_ms. What exists and cannot serve now is
 *     ERR_RETRY; what has no room left is ERR_NO_SPACE.
 * K3  Nobody is sent to a node that is away, not ACTIVE, or no member of its
 *     group; nor to write to one that cannot take writes or has no room.
 * K4  Leave to found a group is given to one node at a time, for FOUND_MS, and
 *     never while members of a group of that name are known. Of several that
 *     want it it is the one with the lowest server ID (then node ID), so that
 *     trackers do not each choose another; who lost its turn is not given more
 *     time.
 * K5  Of two memberships of a group the higher epoch counts. Of two groups of
 *     one name it is the one with more members, the higher epoch, the lower
 *     ID, in this order; the other's nodes are told to nobody.
 * K6  Trackers that have heard the same tell the same of groups and nodes.
 * Threads: the owner's lock; no function waits. */
#ifndef TRACKER_CORE_H
#define TRACKER_CORE_H

#include "cluster/map.h"

#define TCORE_FOUND_MS 30000
#define TCORE_GATHER_MS 1500 /* from the first node that wants to, to leave */

struct tcore;

struct tcore_now {
	int64_t mono_ms; /* ages */
	int64_t real_s;  /* shown, decides nothing */
};

enum { /* in the order of the settings' choices */
	TCORE_LOOKUP_ROUND_ROBIN,
	TCORE_LOOKUP_GROUP,
	TCORE_LOOKUP_BALANCE
};
enum {
	TCORE_SERVER_ROUND_ROBIN,
	TCORE_SERVER_FIRST,
	TCORE_SERVER_PRIORITY
};
enum {
	TCORE_PATH_ROUND_ROBIN,
	TCORE_PATH_BALANCE
};
enum {
	TCORE_DOWNLOAD_ROUND_ROBIN,
	TCORE_DOWNLOAD_SOURCE
};

struct tcore_opts {
	int store_lookup, store_server, store_path, download_server;
	char store_group[FDFS_GROUP_LEN + 1];
	uint64_t reserved; /* a node with less room gets no uploads */
	int64_t away_ms;
	enum fdfs_extras extras; /* of FETCH_ALL */
};

struct tcore_conf {
	struct tcore_opts o;
	struct id128 self;
	uint64_t seq; /* the map's first; drawn, so that no other's is taken
	                 for this one's */
	char version[16];
	/* What an operator may want to read; may be NULL. */
	void (*event)(void *arg, int level, const char *text);
	void *arg;
};

int tcore_new(const struct tcore_conf *c, struct tcore_now now,
    struct tcore **ret, struct err *e);
void tcore_free(struct tcore **tp);
void tcore_tune(struct tcore *t, const struct tcore_opts *o);

/* --- events --- */

/* A node's word about itself; takes over what @n owns, on failure too.
 * ERR_INVALID, ERR_TOO_BIG (more groups or nodes than there may be). */
int tcore_hear_node(struct tcore *t, struct tcore_now now, struct cmap_node *n,
    struct err *e);
/* All of that node's connections are closed: it has died, as far as can be seen.
 * It is away until it is heard again. */
void tcore_lose_node(struct tcore *t, struct tcore_now now, struct str group,
    const struct id128 *node);
int tcore_hear_gate(struct tcore *t, struct tcore_now now,
    const struct cmap_gate *g, struct err *e);
/* The trackers of the settings; then what number @i of them answered. */
void tcore_set_trackers(struct tcore *t, const struct fdfs_addr *v, size_t n);
void tcore_hear_tracker(struct tcore *t, struct tcore_now now, size_t i,
    const struct id128 *id, struct str version, int64_t started_s);
/* Time passes; to be called once a second or more often. */
void tcore_tick(struct tcore *t, struct tcore_now now);

/* May @node, with @server_id, found @group? 0; ERR_EXISTS: it is there already;
 * ERR_BUSY: it is another node's turn; ERR_RETRY: this tracker has not listened
 * for away_ms yet, or waits whether others want to. */
int tcore_found(struct tcore *t, struct tcore_now now, struct str group,
    const struct id128 *node, uint32_t server_id, struct err *e);
/* @server_id 0 is the whole group. ERR_BUSY while a member of it is heard, or
 * that node is one; ERR_NOT_FOUND. */
int tcore_forget(struct tcore *t, struct tcore_now now, struct str group,
    uint32_t server_id, struct err *e);

/* --- what must outlive the process --- */

/* Rises whenever tcore_save() would write something else. */
uint64_t tcore_changes(const struct tcore *t);
int tcore_save(const struct tcore *t, struct buf *b);
/* Before all events. ERR_CORRUPT, ERR_VERSION. */
int tcore_load(struct tcore *t, struct tcore_now now, struct str s,
    struct err *e);

/* --- questions --- */

struct tcore_ask {
	struct fdfs_addr peer;  /* who asks */
	struct fdfs_addr local; /* the address it has used */
	enum fdfs_form form;
	/* Of the port it came to: now, most at once, most there may be. */
	unsigned connections, most, limit;
};

/* @group "" is any. @all: every node that may be uploaded to. */
int tcore_store(struct tcore *t, struct tcore_now now,
    const struct tcore_ask *a, struct str group, bool all,
    struct fdfs_servers *ret, struct err *e);
/* A group for a bucket, as store_lookup has it for an upload; that of
 * store_group also when it takes none at present. */
int tcore_home(struct tcore *t, struct tcore_now now,
    char ret[FDFS_GROUP_LEN + 1], struct err *e);
/* @command: FDFS_FETCH_ONE, _UPDATE, _ALL. Creel's nodes pass a change on to
 * the one that orders them: any is right for it, the source is preferred. */
int tcore_fetch(struct tcore *t, struct tcore_now now,
    const struct tcore_ask *a, uint8_t command, struct str group,
    struct str name, struct fdfs_servers *ret, struct err *e);
/* The map of @group, or of all (""), packed (cluster/map.h). Nothing is added
 * if the map still is the one that has @seq; 0 is none. */
int tcore_map(struct tcore *t, struct tcore_now now, struct str group,
    uint64_t seq, struct buf *b, struct err *e);
/* Any command of a FastDFS client: the body of the answer; a status other than 0
 * is its code (fdfs_status_of()). */
int tcore_answer(struct tcore *t, struct tcore_now now,
    const struct tcore_ask *a, const struct fdfs_header *h, struct str body,
    struct buf *b, struct err *e);

#endif
