/* tracker/core_int.h - shared by the core's halves: what it hears (core.c,
 * save.c) and what it tells (choose.c, view.c, answer.c). */
#ifndef TRACKER_CORE_INT_H
#define TRACKER_CORE_INT_H

#include "tracker/core.h"

#include "lib/ip.h"

enum {
	TCORE_MAGIC = 0x5472436f,
	NODES_PER_GROUP = 2 * CMAP_MEMBERS, /* members, and others around */
	GATES_MAX = 1024,
	ASKERS_MAX = 8,
	ASKER_KEEP_MS = 10000,
	STRANGER_KEEP_MS = 60000, /* no member, and away */
	GATE_KEEP_MS = 3600000,
};

struct tnode {
	struct cmap_node n;
	int64_t heard_ms;
	bool was_heard;   /* since this tracker's start */
	bool is_away;     /* as of the last look */
	bool is_member;   /* of its group, as known here */
	uint64_t stored;  /* turn in which it was last chosen to upload to */
	uint64_t fetched; /* to download from */
	unsigned path;    /* last chosen */
};

struct tgroup {
	char name[FDFS_GROUP_LEN + 1];
	struct id128 id;
	uint64_t epoch;
	size_t n_members; /* 0: nothing founded, as far as is known */
	struct cmap_member members[CMAP_MEMBERS];
	size_t n_nodes;
	struct tnode *nodes[NODES_PER_GROUP]; /* by server ID, node */
	uint64_t stored;                      /* turn */
	struct id128 founder;
	int64_t founder_until_ms; /* 0: none */
	struct tasker {
		struct id128 node;
		uint32_t server_id;
		int64_t asked_ms;
	} askers[ASKERS_MAX]; /* to found it, of late */
	size_t n_askers;
	int64_t wanted_ms; /* since when somebody wants to found it */
};

struct tgate {
	struct cmap_gate g;
	int64_t heard_ms;
};

struct ttracker {
	struct cmap_tracker t;
	int64_t heard_ms;
	bool was_heard, is_away;
};

struct tcore {
	unsigned magic;
	struct tcore_conf c;
	int64_t start_ms, start_s;
	uint64_t seq, changes, turn;
	size_t n_groups;
	struct tgroup *groups[FDFS_MAX_GROUPS]; /* by name */
	size_t n_gates;
	struct tgate *gates[GATES_MAX];
	size_t n_trackers;
	struct ttracker trackers[FDFS_MAX_TRACKERS];
};

/* core.c */
struct tgroup *tcore_group(struct tcore *t, struct str name);
/* NULL without memory or room. */
struct tgroup *tcore_group_make(struct tcore *t, struct str name);
/* Takes the membership over; nodes never heard are made from it. */
int tcore_adopt(struct tcore *t, struct tgroup *g, const struct id128 *id,
    uint64_t epoch, const struct cmap_member *v, size_t n, struct err *e);
bool tcore_is_away(const struct tcore *t, struct tcore_now now,
    const struct tnode *n);
/* Heard of late, ACTIVE, and a member (K3). */
bool tcore_is_active(const struct tcore *t, struct tcore_now now,
    const struct tnode *n);
int tcore_no_group(const struct tcore *t, struct tcore_now now,
    struct str group, struct err *e);

/* choose.c */
uint64_t tcore_avail(const struct cmap_node *n);
uint64_t tcore_total(const struct cmap_node *n);
bool tcore_has_room(const struct tcore *t, const struct cmap_node *n);
/* The one of its two addresses that @peer can use. */
const struct fdfs_addr *tcore_told(const struct cmap_node *n,
    const struct fdfs_addr *peer);
bool tcore_fits(const struct fdfs_addr *a, enum fdfs_form form);

/* view.c: FastDFS's records */
uint8_t tcore_state(const struct tcore *t, struct tcore_now now,
    const struct tnode *n);
void tcore_group_record(struct tcore *t, struct tcore_now now,
    const struct tgroup *g, struct fdfs_group *ret);
void tcore_storage_record(struct tcore *t, struct tcore_now now,
    const struct tcore_ask *a, const struct tnode *n, struct fdfs_storage *ret);
void tcore_volume_record(struct tcore *t, struct tcore_now now,
    const struct tgroup *g, struct fdfs_volume *ret);
void tcore_id_text(uint32_t server_id, char dst[FDFS_ID_LEN + 1]);

#endif
