/* fdfs/proto.h - FastDFS's framing, constants and commands.
 *
 * Over TCP: a request, then its response, strictly in turn. Each is a header
 * of 10 bytes (body length, big-endian signed 64 bits; command; status) and a
 * body. Requests carry status 0 (FILE_INFO: flags), responses command 100 and
 * a Linux errno; one with a status other than 0 has no body.
 * P1  The numbers and widths of a command stand in fdfs/cmd_table.h alone.
 * P2  No length read from a peer is used before it was held against a limit.
 * Reference: FastDFS 6.16.1. Pure functions; threads: any. */
#ifndef FDFS_PROTO_H
#define FDFS_PROTO_H

#include "fdfs/file_id.h"

#define FDFS_HEADER 10
#define FDFS_RESPONSE 100 /* the command of every response */

#define FDFS_GROUP_LEN 16 /* a group's field in requests and answers */
#define FDFS_PREFIX_MAX 16
#define FDFS_ID_LEN 16     /* storage ID field; at most 15 in requests */
#define FDFS_IP_MAX 45     /* characters */
#define FDFS_NAME_MIN 11   /* "M00/05/0A/" and a character */
#define FDFS_FETCH_MIN 22  /* the tracker's least name */
#define FDFS_VERSION_LEN 8 /* "6.16.1" */
#define FDFS_MAX_SERVERS 32
#define FDFS_MAX_GROUPS 512
#define FDFS_META_PACKET (256 * 1024) /* SET_META's whole body */
#define FDFS_LINK_TEXT 256            /* CREATE_LINK's three texts */
#define FDFS_PARAMETERS_MAX 1023

enum fdfs_command_number {
#define X(name, number, server, fixed, limit, shape) FDFS_##name = number,
#include "fdfs/cmd_table.h"
#undef X
};

/* The address fields' widths: IPv4 alone (what nearly all clients since 2012
 * read), or IPv6 too. Fields in answers to queries are one byte shorter. */
enum fdfs_form {
	FDFS_NARROW, /* 16/15: answers of 40, 39, 487 */
	FDFS_WIDE    /* 46/45: answers of 70, 69, 517 */
};
static inline size_t
fdfs_ip_width(enum fdfs_form f)
{
	return f == FDFS_WIDE ? 46 : 16;
}

/* --- framing --- */

struct fdfs_header {
	uint64_t len; /* of the body; below 2^63 */
	uint8_t command;
	uint8_t status;
};

void fdfs_header_put(uint8_t dst[FDFS_HEADER], const struct fdfs_header *h);
/* ERR_INVALID for a negative length. */
int fdfs_header_get(const uint8_t src[FDFS_HEADER], struct fdfs_header *ret,
    struct err *e);

/* --- commands --- */

enum fdfs_server_kind {
	FDFS_TRACKER = 1,
	FDFS_STORAGE = 2,
	FDFS_BOTH = 3
};

enum fdfs_shape {
	FDFS_SHAPE_ALL,
	FDFS_SHAPE_CONTENT,
	FDFS_SHAPE_NAMED
};

struct fdfs_command {
	uint8_t number;
	enum fdfs_server_kind servers; /* bits */
	enum fdfs_shape shape;
	uint32_t fixed, limit;
	const char *name;
	/* A head of over 512 bytes is taken after fdfs_conn_trust() only. */
	bool is_trusted;
	/* Answers with fdfs_conn_reply_along(). */
	bool goes_along;
};

/* NULL when there is none. */
const struct fdfs_command *fdfs_command(uint8_t number);

/* How much of a body of @len bytes is the head; the rest is content. @fixed
 * are the first c->fixed bytes of it when its shape is NAMED, else unused.
 * The head is at most c->limit. ERR_INVALID. */
int fdfs_head_len(const struct fdfs_command *c, uint64_t len,
    const uint8_t *fixed, size_t *ret, struct err *e);

/* --- status codes: Linux errnos in 1..127 --- */

enum {
	FDFS_ENOENT = 2,
	FDFS_EIO = 5,
	FDFS_EAGAIN = 11,
	FDFS_ENOMEM = 12,
	FDFS_EACCES = 13,
	FDFS_EBUSY = 16,
	FDFS_EEXIST = 17,
	FDFS_EINVAL = 22,
	FDFS_ENOSPC = 28,
	FDFS_EOPNOTSUPP = 95,
	FDFS_EALREADY = 114
};

/* Of an ERR_* code (0 is 0); what the table does not know is EIO. */
uint8_t fdfs_status_of(int code);
/* The ERR_* code of a peer's status, with the status as e->sys_errno. */
int fdfs_status_err(uint8_t status, struct err *e);
/* Storage states of a tracker (LIST_STORAGES): order matters. */
enum fdfs_state {
	FDFS_STATE_INIT = 0,
	FDFS_STATE_WAIT_SYNC = 1,
	FDFS_STATE_SYNCING = 2,
	FDFS_STATE_IP_CHANGED = 3,
	FDFS_STATE_DELETED = 4,
	FDFS_STATE_OFFLINE = 5,
	FDFS_STATE_ONLINE = 6,
	FDFS_STATE_ACTIVE = 7,
	FDFS_STATE_RECOVERY = 9,
	FDFS_STATE_NONE = 99
};
const char *fdfs_state_name(uint8_t state); /* "ACTIVE"; "?" */

/* --- fields --- */

struct fdfs_addr {
	char ip[FDFS_IP_MAX + 1]; /* text, terminated */
	uint16_t port;
};
bool fdfs_addr_eq(const struct fdfs_addr *a, const struct fdfs_addr *b);

/* What stands before the first NUL, or the whole field. */
struct str fdfs_field(const void *p, size_t width);
/* @s, NUL padded; it must fit. */
int fdfs_add_field(struct buf *b, struct str s, size_t width);
int fdfs_add_u64(struct buf *b, uint64_t v);
int fdfs_add_u32(struct buf *b, uint32_t v);

#endif
