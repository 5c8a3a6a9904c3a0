/* cluster/rpc_wire.h - frames of cluster/rpc.h, for both of its sides.
 * Layout: docs/CLUSTER.md. Pure functions; threads: any. */
#ifndef CLUSTER_RPC_WIRE_H
#define CLUSTER_RPC_WIRE_H

#include "cluster/rpc.h"
#include "cluster/secret.h"

/* --- a call --- */

#define RPC_HEAD 48      /* of a request, with the length of its arguments */
#define RPC_HEAD_FIXED 8 /* of it, the length in front */
#define RPC_RESULT 64    /* an error's name */
#define RPC_ANSWER_HEAD 512

struct rpc_head {
	uint8_t version, flags;
	unsigned op;
	uint64_t id, epoch;
	struct id128 cluster;
	struct str args; /* a view */
	bool has_end;    /* R4 */
	uint64_t end_ms; /* after they last met */
};
#define RPC_HAS_END 1 /* in flags: the last RPC_END bytes of the arguments */
#define RPC_END 8u
/* All but the arguments' bytes and the end's. */
void rpc_head_put(uint8_t dst[RPC_HEAD], const struct rpc_head *h);
void rpc_end_put(uint8_t dst[RPC_END], const struct rpc_head *h);
/* @s: a whole head, the length in front included. */
int rpc_head_get(struct str s, struct rpc_head *ret, struct err *e);

/* The receiver's until_ms: 0 without an end. @met_ns: of a moment before the other
 * side had its last answer. */
int64_t rpc_until(const struct rpc_head *h, int64_t met_ns);

struct rpc_answer_head {
	int code; /* 0 or ERR_* */
	struct str text;
	uint64_t id, epoch;
	size_t args; /* bytes of them, which follow the head */
};
/* Returns the length. */
size_t rpc_answer_put(uint8_t dst[RPC_ANSWER_HEAD],
    const struct rpc_answer_head *h);
/* @s: the beginning of an answer's body. 1: not all of the head is in it;
 * ERR_INVALID. *ret_len: where the arguments begin. A result whose name is not
 * known here is ERR_IO. */
int rpc_answer_get(struct str s, struct rpc_answer_head *ret, size_t *ret_len,
    struct err *e);

/* The answer at the beginning of a stream of them. 1: it is all there, *ret_len
 * bytes; 0: not yet; ERR_INVALID: none, or with more than @max bytes. A status
 * other than 0 is ERR_INVALID too: it does not say whom it is for. */
int rpc_answer_next(struct str s, size_t max, struct rpc_answer_head *ret,
    struct str *ret_args, struct str *ret_body, size_t *ret_len);

/* Who may ask for @op, bits of enum rpc_kind; 0: no such operation. */
unsigned rpc_op_who(unsigned op);

/* --- hello --- */

#define RPC_HELLO_MAX 128 /* of any of its messages */

struct rpc_hello { /* request 1 */
	uint8_t version, kind;
	struct id128 id, cluster;
	char group[FDFS_GROUP_LEN + 1];
	uint32_t server_id;
	uint8_t nonce[SECRET_NONCE];
};
struct rpc_hello_answer { /* answer 1 */
	uint8_t version, kind;
	struct id128 id;
	uint8_t nonce[SECRET_NONCE];
	uint8_t proof[SECRET_PROOF];
};
/* Each 0 or ERR_NO_MEMORY; ERR_INVALID. */
int rpc_hello_pack(const struct rpc_hello *h, struct buf *b);
int rpc_hello_unpack(struct str s, struct rpc_hello *ret, struct err *e);
/* Without the proof, which is over what stands before it. */
int rpc_hello_answer_pack(const struct rpc_hello_answer *a, struct buf *b);
int rpc_hello_answer_unpack(struct str s, struct rpc_hello_answer *ret,
    struct err *e);
/* @text: all messages before the proof, one behind the other. */
void rpc_hello_prove(const struct rpc_self *self, bool by_server,
    struct str text, uint8_t dst[SECRET_PROOF]);

/* What @self speaks, at most. */
uint8_t rpc_version_of(const struct rpc_self *self);
/* The client's side of both exchanges, on a new connection (rpc_client.c).
 * Returns the version that both speak from now on. */
int rpc_greet(const struct rpc_self *self, int fd, const struct fdfs_addr *to,
    int timeout_ms, struct err *e);

#endif
