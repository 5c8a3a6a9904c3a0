/* cluster/op_table.h - every operation between Creel's processes, once:
 * X(NAME, number, who may ask). Included several times; no include guard on
 * purpose. PEER: storage nodes of the same group; GATE: gateways; NODE: storage
 * nodes of any group; ADMIN: `creel admin`; a tracker asks as TRACKER.
 * Arguments and answers stand beside each in docs/CLUSTER.md. */
/* clang-format off */

/* to a storage node, from a gateway */
X(STORE, 1, GATE)            /* a whole file up to RPC_BODY_MAX */
X(STORE_BEGIN, 2, GATE)
X(STORE_DATA, 3, GATE)
X(STORE_COMMIT, 4, GATE)
X(STORE_ABORT, 5, GATE)
X(READ, 6, GATE | PEER | ADMIN)
X(STAT, 7, GATE | PEER | ADMIN)
X(DELETE, 8, GATE)           /* many, durable on enough nodes */
X(FIND_WRITE, 9, GATE | PEER)
X(EACH, 10, GATE)            /* a page of live files of a class */
X(FENCE, 11, GATE | PEER)    /* from now on only this index epoch writes */
X(TIDY, 12, GATE | ADMIN)    /* scrub or compact now */
X(NODE_STATUS, 13, GATE | ADMIN | TRACKER)
X(READ_NOW, 14, GATE)        /* of a small file, if that takes no waiting */
X(READ_STORED, 15, GATE)     /* bytes as they are stored, for who checks them */

/* to a storage node, from another of its group */
X(INSTALL, 20, PEER)         /* versions of small files, and tombstones */
X(INSTALL_BEGIN, 21, PEER)
X(INSTALL_DATA, 22, PEER)
X(INSTALL_COMMIT, 23, PEER)
X(INSTALL_ABORT, 24, PEER)
X(LOG_READ, 25, PEER)        /* what its volume log holds behind a position */
X(FETCH, 26, PEER)           /* small files whole, large ones by READ */
X(LOOKUP, 27, PEER | ADMIN)  /* versions of names */
X(DIGEST, 28, PEER | ADMIN)  /* of a range of file keys */
X(RANGE, 29, PEER | ADMIN)   /* keys and versions in a range */
X(FILE_OP, 30, PEER)         /* a change, for the node that orders changes */
X(STEP, 31, PEER)            /* whose log it has read to the end, and when */

/* membership of a group */
X(MEMBERS, 40, PEER | NODE | ADMIN) /* as this node knows them */
X(PREPARE, 41, PEER)
X(ACCEPT, 42, PEER)
X(LEARN, 43, PEER)
X(JOIN, 44, NODE | PEER)     /* a blank node asks to be added */
X(REMOVE, 45, ADMIN | PEER)
X(VOTE, 46, PEER)            /* for the node that orders changes */
X(LEAD, 47, PEER)            /* it says that it still is there */

/* to a tracker */
X(ANNOUNCE, 60, NODE | PEER) /* a node's state; answer: its group's */
X(MAP, 61, GATE | NODE | PEER | ADMIN | TRACKER) /* all groups and nodes */
X(GATE_ANNOUNCE, 62, GATE)
X(TRACKER_ANNOUNCE, 63, TRACKER)
X(FOUND, 64, NODE)           /* may this blank node found its group? */
X(FORGET, 65, ADMIN)         /* a node or group that will not come back */
X(HOME, 66, GATE)            /* a group for what is to stay together */
/* clang-format on */
