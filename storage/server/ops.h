/* storage/server/ops.h - what gateways and administrators ask a node for.
 *
 * Handlers of the operations STORE to NODE_STATUS (cluster/op_table.h).
 * Arguments and answers: cluster/store_ops.h. All but STORE*, DELETE and FENCE
 * change nothing.
 *
 * STORE         A whole file up to RPC_BODY_MAX, durable as rep.h's P1 says.
 *               Args sop_store, body the content; answer sop_file. The name is
 *               drawn by the node. A write ID that this node knows gives the
 *               file that it made (not one that only another node knows).
 *               ERR_INVALID: class, or CRC32 given and not the body's.
 * STORE_BEGIN   Args sop_store; answer sop_stream. ERR_BUSY: too many streams.
 * STORE_DATA    Args sop_stream, body; answer sop_stream, its offset being what
 *               has been taken by now. A piece that was taken already (a call
 *               repeated) is skipped; one behind a gap is ERR_INVALID.
 * STORE_COMMIT  Args sop_stream; answer sop_file. ERR_INVALID when size or
 *               CRC32 is not that of what was taken. The stream is over either
 *               way, but for ERR_BUSY, ERR_RETRY before anything was done.
 * STORE_ABORT   Args sop_stream. A stream that is not there is fine.
 *               Streams belong to the gateway that began them: for another they
 *               are not there (ERR_NOT_FOUND, as after an end). One that nobody
 *               continues for STREAM_IDLE_MS is aborted: as long as a piece
 *               takes at the least rate that clients are held to (1 KiB/s);
 *               after STREAM_SHORT_MS when others need its place.
 * READ          Args sop_read; answer sop_file, seal, body up to len bytes,
 *               short only at the end of the file. What this node lacks comes from
 *               the others (P6). ERR_NOT_FOUND, ERR_RETRY, ERR_CORRUPT. From a
 *               peer it is replication's own READ: rep_serve().
 * READ_NOW      Args sop_read; answer body and seal, if the file is small, here,
 *               whole, and its bytes are in the page cache; else ERR_RETRY.
 *               Never waits for another node, nor for a disk but where the
 *               file's place itself is not in memory, so that answers of
 *               many can go out together (fdfs_conn_reply_along()).
 * STAT          Args sop_read; answer sop_stat. Likewise.
 * DELETE        Args sop_delete: tombstones, durable on enough nodes; names
 *               that nobody knows too. ERR_ACCESS_DENIED, and nothing done, when
 *               one of them is a FastDFS client's.
 * FIND_WRITE    Args: the write ID; answer sop_file. A peer is told what this
 *               node itself knows, others what its group does: ERR_NOT_FOUND is
 *               the word of so many that any min_copies have one among them;
 *               with fewer ERR_RETRY.
 * EACH          Args sop_each; answer sop_page and its files, of what this node
 *               itself has. ERR_RETRY while it is not ACTIVE (P5).
 * FENCE         Args and answer sop_fence: from now on an older epoch of this
 *               index writes and deletes nothing here; durable before the
 *               answer. ERR_ACCESS_DENIED (with the answer) when a higher one
 *               is known. From peers as well (W3).
 * TIDY          Args: what; answer sop_found, when it is done.
 * NODE_STATUS   Answer: cmap_node, sop_status.
 *
 * W1  STORE, STORE_BEGIN, STORE_COMMIT and DELETE of an epoch that is lower
 *     than the highest one told for that index are ERR_ACCESS_DENIED. A higher
 *     one is taken over, durably, as if by FENCE.
 * W2  Streams are at most STREAMS_MAX, each with one upload's bounded memory.
 * W3  Members of a group tell each other the epochs that they know, within
 *     seconds of reaching each other: no node goes on writing for a gateway
 *     whose index was taken over at its peers.
 * Threads: any; calls on the connection's. */
#ifndef STORAGE_SERVER_OPS_H
#define STORAGE_SERVER_OPS_H

#define STREAMS_MAX 256
#define STREAMS_MANY 160 /* as many large ones as a node takes at once */
#define STREAM_IDLE_MS 1200000
#define STREAM_SHORT_MS 60000

#endif
