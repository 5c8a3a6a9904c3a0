/* storage/replication/wire.h - records of files in messages between members.
 *
 * A record: id text, tombstone u8, class u8, version u64, size u64, crc32 u32,
 * made u64 (seconds since 1970), index ID 16, write ID 16, source (node 16,
 * incarnation u64, sequence u64), note text. Pure functions; threads: any. */
#ifndef STORAGE_REPLICATION_WIRE_H
#define STORAGE_REPLICATION_WIRE_H

#include "cluster/pack.h"
#include "storage/engine/replica.h"

#define WIRE_NOTE_MAX 2048
/* What a record takes at most. */
#define WIRE_RECORD_MAX (256 + ENGINE_FILE_ID_MAX + WIRE_NOTE_MAX)

int wire_pack_record(struct buf *b, const struct engine_record *r);
/* ret->note is a view of the message. A bad name marks @u bad. */
void wire_unpack_record(struct unpack *u, struct engine_record *ret);

int wire_pack_version(struct buf *b, const struct engine_version *v);
void wire_unpack_version(struct unpack *u, struct engine_version *ret);

int wire_pack_pos(struct buf *b, const struct engine_pos *p);
void wire_unpack_pos(struct unpack *u, struct engine_pos *ret);
/* 16 bytes. */
int wire_pack_key(struct buf *b, const uint8_t key[ENGINE_KEY]);
void wire_unpack_key(struct unpack *u, uint8_t ret[ENGINE_KEY]);

/* A result, by name (cluster/rpc.h R2); unknown names are ERR_FAILED. */
int wire_pack_code(struct buf *b, int code);
int wire_unpack_code(struct unpack *u);

#endif
