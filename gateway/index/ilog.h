/* gateway/index/ilog.h - the index log: batches of transactions, synced.
 *
 * Segments DIR/<number, 16 hex digits>.log, written in full beforehand, each
 * with a header (index UUID, epoch, number, salt); behind it frames, one a
 * batch: sequence range, payload, checksum seeded with salt and offset, so that
 * neither the content of a reused segment nor a value that looks like a frame
 * is taken for one. Bytes: docs/FORMAT-INDEX.md.
 *
 * L1  ilog_append() == 0: the frame is synced. A frame is written only once
 *     all earlier ones are synced.
 * L2  Sequences are contiguous from frame to frame and segment to segment.
 * L3  By L1 an invalid frame with a valid one behind it was durable once: the
 *     log is damaged, ERR_CORRUPT. Without one it is a torn tail, and is cut.
 * L4  After a failed write or sync the log is cut back to its last durable
 *     offset and is failed: no append until it is opened anew. Only a write
 *     that fails for space leaves it usable: nothing behind the end counts.
 * L5  The next segment is ready before it is needed, so that a full disk stops
 *     normal transactions (ilog_is_low()) while those that free space go on: in
 *     the last quarter of a segment that is known before a frame is written.
 * Threads: ilog_append() on one; the rest on any. One thread of its own makes
 * segments. */
#ifndef GATEWAY_INDEX_ILOG_H
#define GATEWAY_INDEX_ILOG_H

#include "lib/err.h"
#include "lib/rand.h"
#include "lib/str.h"

struct ilog;

#define ILOG_SEGMENT_HEADER 4096 /* frames begin here */
#define ILOG_FRAME_HEADER 32
#define ILOG_SEGMENT_MIN (64u << 10)

struct ilog_conf {
	const char *dir;
	struct id128 index_id;
	uint64_t segment; /* bytes of one */
	uint64_t epoch;   /* the newest known to have been used; 0: none */
	bool is_new;      /* no log of that epoch is there, and that is right */
	uint64_t flushed_seq; /* what need not be replayed */
};

/* Payload of frames with transactions above flushed_seq (the first one may
 * begin at or below it). Non-zero stops. */
typedef int (*ilog_replay_fn)(void *arg, uint64_t first_seq, uint32_t n_tx,
    struct str payload, struct err *e);

/* Creates an empty log when @c->epoch is 0 and nothing is there. Begins a new
 * segment and epoch. What was replayed is synced by then. */
int ilog_open(const struct ilog_conf *c, ilog_replay_fn fn, void *arg,
    struct ilog **ret, struct err *e);
void ilog_close(struct ilog **lp);

uint64_t ilog_epoch(struct ilog *l);
uint64_t ilog_seq(struct ilog *l); /* newest durable transaction */
size_t ilog_max_payload(const struct ilog *l);

/* @frame: ILOG_FRAME_HEADER bytes to be filled in, then the payload. */
int ilog_append(struct ilog *l, uint64_t first_seq, uint32_t n_tx,
    struct buf *frame, struct err *e);
/* Room left in this segment, and another one ready: else no transaction but
 * those that free space should be let in. */
bool ilog_is_low(struct ilog *l);
/* Payload that surely fits now, without making a segment. */
size_t ilog_room(struct ilog *l);
bool ilog_is_failed(struct ilog *l);
uint64_t ilog_bytes(struct ilog *l); /* on disk */

/* What is appended from now on goes into a new segment of @epoch, which is
 * above the present one. */
int ilog_branch(struct ilog *l, uint64_t epoch, struct err *e);

/* Transactions up to @seq are not needed any more. */
int ilog_retire(struct ilog *l, uint64_t seq, struct err *e);

/* --- reading back what is durable, for the archive --- */

/* A run of whole frames of one segment. */
struct ilog_chunk {
	uint64_t epoch, number; /* of the segment */
	uint64_t off;           /* of the first frame in it */
	uint64_t first_seq, last_seq;
	uint8_t salt[16];
};

/* Frames with transactions above @after, from one segment, as many as fit into
 * @max bytes but one at least, appended to @ret. 1, or 0 when there are none.
 * The caller keeps them from being retired. */
int ilog_read(struct ilog *l, uint64_t after, size_t max,
    struct ilog_chunk *ret_chunk, struct buf *ret, struct err *e);
/* Oldest transaction still in the log (next one when it is empty). */
uint64_t ilog_oldest(struct ilog *l);

/* --- frames (ilog_frame.c) --- */

struct ilog_frame {
	uint64_t first_seq;
	uint32_t n_tx;
	size_t size; /* all of it, with padding */
	struct str payload;
};
void ilog_frame_seal(struct buf *frame, const uint8_t salt[16], uint64_t off,
    uint64_t first_seq, uint32_t n_tx);
/* The frame at the start of @in, which lies at @off in its segment. */
bool ilog_frame_parse(struct str in, const uint8_t salt[16], uint64_t off,
    struct ilog_frame *ret);

struct ilog_header {
	struct id128 index_id;
	uint64_t epoch, number;
	uint8_t salt[16];
	int64_t created_ns;
	uint64_t after_seq; /* durable when it was made: must be found again */
};
#define ILOG_HEADER_LEN 96
void ilog_header_encode(const struct ilog_header *h, char p[ILOG_HEADER_LEN]);
int ilog_header_decode(const char p[ILOG_HEADER_LEN], struct ilog_header *ret,
    struct err *e);

#endif
