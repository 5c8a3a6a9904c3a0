/* fdfs/allow.h - which hosts may use commands of FastDFS, which has no keys.
 *
 * Addresses, networks (10.0.0.0/8) and "*" for everybody; an empty list is
 * nobody. Threads: one that changes it, else any; a list that is replaced on
 * SIGHUP is guarded by its owner. */
#ifndef FDFS_ALLOW_H
#define FDFS_ALLOW_H

#include "fdfs/proto.h"

#include "lib/ip.h"

#define FDFS_ALLOW_MAX 1024 /* entries */

struct fdfs_allow {
	bool everybody;
	size_t n;
	struct ip_net *nets; /* owned */
};

/* ERR_CONFIG names the entry that is neither. */
int fdfs_allow_init(struct fdfs_allow *a, const char *const *v, size_t n,
    struct err *e);
void fdfs_allow_fini(struct fdfs_allow *a);
/* @peer.ip is a numeric address; anything else is nobody. */
bool fdfs_allow_has(const struct fdfs_allow *a, const struct fdfs_addr *peer);

#endif
