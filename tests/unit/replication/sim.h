/* tests/unit/replication/sim.h - a small world on virtual time, drawn from a
 * seed.
 *
 * Tasks are fibers on one thread; one runs at a time, and which one comes next,
 * how long disks and messages take, what is lost and where a crash falls is
 * drawn from the seed: the same seed is the same history. Nodes are numbers
 * from 0 on, each with a disk (struct sim_disk, a double of the engine) that
 * survives its crashes, an environment for the code under test, and an address
 * 10.0.0.(1 + node).
 * S1  What a store call has not returned from when its node crashes is durable
 *     or not, as the seed has it; what it has returned from is.
 * S2  A message that its sender has given up may still arrive.
 * S3  After sim_stop() no call of the node's environment has an effect, and all
 *     answer ERR_CLOSED (or false).
 * Nothing here is for more than one thread. */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include "storage/replication/env.h"

#define SIM_NODES 12     /* storage nodes and whatever else answers calls */
#define SIM_OUTSIDE (-1) /* a task of no node: a client, the director */

struct sim;

struct sim *sim_new(uint64_t seed);
/* All nodes are stopped and all tasks have ended. */
void sim_free(struct sim **sp);
uint64_t sim_seed(const struct sim *s);
uint64_t sim_random(struct sim *s);
/* 0 <= x < n; true once in n. */
uint64_t sim_below(struct sim *s, uint64_t n);
bool sim_once_in(struct sim *s, uint64_t n);
/* What happened, on stderr, when CREEL_SIM_TRACE is set. */
void sim_trace(struct sim *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* What must not happen has: says how to have it again, and aborts, as from a
 * fiber there is no way back to cmocka. */
_Noreturn void sim_fail(const struct sim *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A number that the environment gives. */
uint64_t sim_setting(const char *env, uint64_t otherwise);
/* How many schedules to try: what the environment's @env says, or @few; with
 * CREEL_FULL @many, but @sanitized in a build with AddressSanitizer, where one
 * takes ten times as long. */
uint64_t sim_runs(const char *env, uint64_t few, uint64_t many,
    uint64_t sanitized);
/* A number over all that happened so far: two runs of one seed agree in it. */
uint64_t sim_history(const struct sim *s);

/* --- tasks --- */

void sim_spawn(struct sim *s, int node, void (*fn)(void *arg), void *arg);
/* Runs until no task is left, or time is at @until_ms: false. */
bool sim_run(struct sim *s, int64_t until_ms);
int64_t sim_now(const struct sim *s);
void sim_sleep(struct sim *s, int64_t ms); /* from within a task */

/* --- nodes --- */

/* Takes part from now on: its calls work, and messages go to @fn. */
void sim_start(struct sim *s, int node, rpc_handler *fn, void *arg);
/* kill -9: S1, S3. Returns when no message is being handled there and nobody is
 * inside; the caller closes what it had opened then. From a task outside. */
void sim_stop(struct sim *s, int node);
bool sim_is_up(const struct sim *s, int node);
/* A client that uses a node's objects directly is inside between these; false:
 * the node is not up. */
bool sim_enter(struct sim *s, int node);
void sim_leave(struct sim *s, int node);
/* Its environment, over its disk. */
void sim_env(struct sim *s, int node, struct rep_env *ret);
void sim_addr(int node, struct fdfs_addr *ret);
/* Who it says it is in calls: kind, node ID, server ID, group. */
void sim_self(struct sim *s, int node, const struct rpc_from *self);

/* --- network and clocks --- */

void sim_cut(struct sim *s, int a, int b, bool is_cut);
/* Cuts, losses, slowness, what is held, disks full or failed. */
void sim_heal(struct sim *s);
/* What the disks hold for a small file: 1 MiB, unless told before any is used. */
void sim_set_small(struct sim *s, size_t len);
/* No message or disk takes extraordinarily long. */
void sim_calm(struct sim *s);
/* One message in @one_in is lost, 0 none; most take up to @ms. */
void sim_network(struct sim *s, unsigned one_in, int64_t ms);
void sim_slow(struct sim *s, int node, int64_t ms); /* its disk; 0 = not */
/* One bit of what READ answers from there is another on arrival; so often. */
void sim_garble(struct sim *s, int node, bool is_so);
unsigned sim_garbled(const struct sim *s);
/* Requests of that operation lie before its door, and come in when that is over
 * (0). */
void sim_hold(struct sim *s, int node, unsigned op);
void sim_clock_jump(struct sim *s, int node, int64_t seconds);

/* --- disks --- */

struct sim_disk;
extern const struct rep_store_ops sim_disk_ops;
struct sim_disk *sim_disk(struct sim *s, int node);
/* Of a stopped node: empty, another node ID and path. */
void sim_disk_wipe(struct sim *s, int node);
/* A copy of the disk as it is; and put back, of a stopped node. */
struct sim_disk *sim_disk_copy(struct sim *s, int node);
void sim_disk_put_back(struct sim *s, int node, const struct sim_disk *d);
void sim_disk_free(struct sim_disk **dp);
void sim_disk_node_id(const struct sim_disk *d, struct id128 *ret);
bool sim_disk_is_blank(const struct sim_disk *d);
void sim_disk_full(struct sim_disk *d, bool is_full);
/* Takes nothing any more. */
void sim_disk_fail(struct sim_disk *d, bool has_failed);
/* Reads of one of its live files, a random one of which there is another copy,
 * fail their checksum. */
bool sim_disk_damage(struct sim *s, int node);
/* Takes an entry out of the set; the log is as it was. */
void sim_disk_forget(struct sim_disk *d, struct str id);
/* Positions in the log as it is now are of volumes that it knows nothing of any
 * more. */
void sim_disk_outgrow(struct sim_disk *d);
/* Tombstones of before that may be forgotten there. */
int64_t sim_disk_forgets(const struct sim_disk *d);
/* What is there under a name. */
enum engine_known sim_disk_find(const struct sim_disk *d, struct str id,
    uint64_t *ret_version, struct str *ret_body);
/* All entries, tombstones too, in order of their keys; and whether a and b hold
 * the same (the first difference is put into words). */
size_t sim_disk_count(const struct sim_disk *d);
bool sim_disk_same(const struct sim_disk *a, const struct sim_disk *b,
    char *why, size_t why_len);

#endif
