/* gateway/index/ilog_priv.h - inside the index log: ilog*.c only. */
#ifndef GATEWAY_INDEX_ILOG_PRIV_H
#define GATEWAY_INDEX_ILOG_PRIV_H

#include "gateway/index/ilog.h"
#include "lib/lock.h"

#include <stdatomic.h>

#define ILOG_MAGIC 0x696c6f67

struct segment {
	struct segment *next; /* by number */
	uint64_t number, epoch;
	uint8_t salt[16];
	int fd;
	uint64_t after_seq;
	uint64_t size; /* of the file */
	uint64_t end;  /* durable offset; 0: not known (an old one) */
	uint64_t first_seq, last_seq; /* 0: no frames */
};

struct ilog {
	unsigned magic;
	char dir[4000];
	struct id128 index_id;
	uint64_t segment_size;

	struct lock lock;               /* LEAF: what follows */
	struct cond cond;               /* keeper wanted, spare ready */
	struct segment *first, *active; /* active is the last */
	struct segment *spare;
	_Atomic bool is_low; /* as ilog_is_low() says */
	uint64_t epoch;      /* of new segments */
	uint64_t next_number;
	uint64_t seq;
	char recycle[64]; /* name of one segment to reuse; "" = none */
	bool is_failed, is_stopping, is_making;
	struct err make_err; /* why there is no spare */
	pthread_t keeper;
	bool has_keeper;

	uint64_t hint_number, hint_off, hint_seq; /* ilog_read(): last place */
};

/* ilog_segment.c */
int segment_name(char dst[64], uint64_t number);
int segment_path(const struct ilog *l, const char *name, char dst[4096],
    struct err *e);
/* A new one, header synced, under its name. Uses @recycle unless "". */
int segment_make(struct ilog *l, uint64_t number, uint64_t epoch,
    const char *recycle, struct segment **ret, struct err *e);
int segment_load(struct ilog *l, uint64_t number, struct segment **ret,
    struct err *e);
void segment_free(struct segment **sp);
/* The epoch in the header of a file to be reused; 0 when there is none. */
uint64_t segment_epoch(struct ilog *l, const char *name);
/* First frame, whatever its checksum needs: *ret->first_seq == 0 when there is
 * none. */
int segment_peek(struct segment *s, struct err *e);
/* Reads all frames: sets end, first_seq, last_seq; calls @fn for those with
 * transactions above @after. *ret_dirty: bytes other than 0 behind the end.
 * ERR_CORRUPT by L2 and L3. */
int segment_scan(struct segment *s, uint64_t after, ilog_replay_fn fn,
    void *arg, bool *ret_dirty, struct err *e);

/* ilog_open.c */
int ilog_recover(struct ilog *l, const struct ilog_conf *c, ilog_replay_fn fn,
    void *arg, struct err *e);

#endif
