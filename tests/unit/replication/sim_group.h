/* tests/unit/replication/sim_group.h - the nodes of one group in a simulation:
 * membership and replication over the world of sim.h. */
#ifndef TEST_SIM_GROUP_H
#define TEST_SIM_GROUP_H

#include "storage/replication/rep.h"
#include "tests/unit/replication/sim.h"

struct sim_group {
	struct sim *s;
	int n;
	struct rep_conf conf; /* env and members are filled in */
	bool has_begun, is_over;
	struct id128 founder; /* whom the tracker gave leave */
	struct sim_member {
		struct sim_group *g;
		int node;
		struct members *m;
		struct rep *r;
		void *more; /* of who uses the hooks */
		bool is_open;
	} v[SIM_NODES];
	/* What stands on top of replication; each may be NULL. @arg of file_op is
	 * the struct sim_member. */
	void (*opened)(struct sim_member *v);
	void (*closing)(struct sim_member *v);
	rpc_handler *file_op;
};

/* Nodes 0 to n - 1 with server IDs 1 to n, not started; the last node of the
 * world is a tracker, that is always well. */
void sim_group_init(struct sim_group *g, struct sim *s, int n);
/* From a task outside. Messages are answered from the beginning, the rest when
 * it is open. An error is that of rep_open(). */
int sim_group_start(struct sim_group *g, int node, struct err *e);
/* The same, unless it is up; sim_fail(). */
void sim_group_bring_up(struct sim_group *g, int node);
void sim_group_stop(struct sim_group *g, int node);
/* All, for good. */
void sim_group_stop_all(struct sim_group *g);
/* All are up, members of one group, with a leader, and ACTIVE. */
bool sim_group_is_well(struct sim_group *g);
/* The faults end, all are started; false: not well within a minute. */
bool sim_group_reunite(struct sim_group *g);
/* -1: none. */
int sim_group_leader(struct sim_group *g);
/* For a client: the node's rep, between this and sim_leave(); NULL: down. */
struct rep *sim_group_enter(struct sim_group *g, int node);

#endif
