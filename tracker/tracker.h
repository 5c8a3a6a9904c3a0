/* tracker/tracker.h - a tracker as a server: sockets, clock, threads and a file
 * around tracker/core.h.
 *
 * FastDFS's commands are for the hosts of allow_hosts alone; Creel's own
 * processes come with the cluster secret (cluster/rpc.h), from anywhere.
 * W1  What the core wants kept is in DIR/groups, replaced durably within half a
 *     second of the change. A file that cannot be read is set aside: nodes tell
 *     all of it again.
 * Arguments and answers of its operations (packed, cluster/pack.h):
 *   ANNOUNCE          args: a cmap_node; answer body: the map of its group
 *   MAP               args: u64 sequence known (0 or nothing: none), text group
 *                     ("" or nothing: all); body: the map, or nothing when it
 *                     is that one still
 *   GATE_ANNOUNCE     args: id index, u64 index epoch, text IP ("": the one it
 *                     comes from), u32 port, text version; no answer
 *   TRACKER_ANNOUNCE  args: none; answer args: id, text version, u64 started
 *   FOUND             args: none; for the group and node of the handshake:
 *                     tcore_found()
 *   FORGET            args: text group, u32 server ID (0: all): tcore_forget()
 * Threads: those of the servers, one that ticks, one per other tracker. */
#ifndef TRACKER_TRACKER_H
#define TRACKER_TRACKER_H

#include "fdfs/allow.h"
#include "tracker/core.h"

struct tracker;

struct tracker_tune { /* what may change while it runs */
	struct tcore_opts o;
	const char *const *allow;
	size_t n_allow;
};

struct tracker_conf {
	struct tracker_tune tune;
	const char *dir;
	const char *const *addresses; /* [HOST]:PORT */
	size_t n_addresses;
	const char *const *wide_addresses;
	size_t n_wide_addresses;
	const char *const *trackers; /* HOST:PORT of all of them */
	size_t n_trackers;
	struct str secret;
	const char *cluster_id; /* the setting */
	unsigned max_connections;
	const char *version;
	void (*event)(void *arg, int level, const char *text);
	void *arg;
};

/* ERR_CONFIG in one line. What @c points to is not needed afterwards. */
int tracker_open(const struct tracker_conf *c, struct tracker **ret,
    struct err *e);
/* NULL in *tp is fine. */
void tracker_close(struct tracker **tp, int drain_ms);
/* A wrong one changes nothing. */
int tracker_retune(struct tracker *t, const struct tracker_tune *u,
    struct err *e);
/* Where listener @i listens, in @dst; false past the last. */
bool tracker_listens(struct tracker *t, size_t i, char dst[300],
    bool *ret_is_wide);

#endif
