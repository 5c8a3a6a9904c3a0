/* tests/unit/replication/sim_int.h - between sim.c and sim_disk.c. */
#ifndef TEST_SIM_INT_H
#define TEST_SIM_INT_H

#include "tests/unit/replication/sim.h"

bool sim_is_stopped(const struct sim *s, int node);
bool sim_disk_time(struct sim *s, int node, bool is_write);
struct sim_disk *sim_disk_new(struct sim *s, int node);
void sim_disk_set(struct sim *s, int node, struct sim_disk *d);
size_t sim_small(const struct sim *s);
void sim_disk_set_small(struct sim_disk *d, size_t len);

#endif
