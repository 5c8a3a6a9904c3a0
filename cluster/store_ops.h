/* cluster/store_ops.h - what a storage node is asked for by gateways and by
 * administrators: arguments and answers of the operations STORE to NODE_STATUS
 * (cluster/op_table.h), as structures and packed (cluster/pack.h).
 *
 * Each operation has a struct for its arguments and, if it answers anything, one
 * for its answer; sop_NAME_pack() appends to a buffer, sop_NAME_unpack() reads
 * what stands there. Bytes of files travel as bodies. What each operation does
 * and which errors it gives: storage/server/ops.h.
 * O1  Texts of an unpacked structure are views into what was unpacked.
 * O2  No text or count beyond its maximum passes: ERR_INVALID.
 * Pure functions; threads: any. */
#ifndef CLUSTER_STORE_OPS_H
#define CLUSTER_STORE_OPS_H

#include "cluster/map.h"

#define SOP_ID_MAX 144    /* a file's name with its group, NUL included */
#define SOP_NOTE_MAX 2048 /* an owner's note */
#define SOP_CURSOR_MAX 64 /* of EACH */
#define SOP_IDS_MAX 4096  /* of DELETE */
#define SOP_PAGE_MAX 4096 /* of EACH: files in one answer */
#define SOP_SIZE_UNKNOWN UINT64_MAX
#define SOP_NOW_MAX 32768 /* of READ_NOW */

/* A file, as answers have it (storage/engine's engine_file_info). */
struct sop_file {
	char id[SOP_ID_MAX];
	uint64_t size;
	uint32_t crc32; /* of the content, zlib's */
	uint64_t version;
	int64_t created_s;
	uint8_t class;
	struct id128 index_id, write_id;
};
int sop_file_pack(const struct sop_file *f, struct buf *b);
int sop_file_unpack(struct unpack *u, struct sop_file *ret, struct err *e);

/* STORE: the body is the whole content. STORE_BEGIN: none. Answers: STORE's is
 * a sop_file, STORE_BEGIN's a sop_stream. */
struct sop_store {
	uint8_t class;         /* S3 or index */
	struct id128 index_id; /* whose file it is */
	uint64_t index_epoch;  /* in whose name: fenced */
	struct id128 write_id; /* repeating one gives the same file */
	struct str note;
	struct str ext;     /* of the name, "" mostly */
	uint64_t size_hint; /* STORE_BEGIN; SOP_SIZE_UNKNOWN */
	bool has_crc; /* STORE: @crc32 is the body's, and is held against it */
	uint32_t crc32;
};
int sop_store_pack(const struct sop_store *s, struct buf *b);
int sop_store_unpack(struct str args, struct sop_store *ret, struct err *e);

/* Arguments of STORE_DATA (the body is what stands at @offset), STORE_COMMIT
 * (@offset is the whole size) and STORE_ABORT (neither). Answers: of
 * STORE_BEGIN and STORE_DATA the stream again, @offset being how much is there;
 * of STORE_COMMIT a sop_file. */
struct sop_stream {
	uint64_t stream;
	uint64_t offset;
	bool has_crc; /* STORE_COMMIT: @crc32 is that of the whole content */
	uint32_t crc32;
};
int sop_stream_pack(const struct sop_stream *s, struct buf *b);
int sop_stream_unpack(struct str args, struct sop_stream *ret, struct err *e);

/* READ. Answer: a sop_file, and the bytes as body, sealed (cluster/pack.h). Also
 * STAT (@off, @len 0); answer: a sop_stat. */
struct sop_read {
	struct str id;
	uint64_t off;
	uint32_t len; /* at most RPC_BODY_MAX */
};
int sop_read_pack(const struct sop_read *r, struct buf *b);
int sop_read_unpack(struct str args, struct sop_read *ret, struct err *e);

/* READ_NOW, of a small file: a sop_read. Answer: the bytes as body, the seal; or
 * ERR_RETRY, which says nothing about the file: READ is to be asked. */

struct sop_stat {
	struct sop_file file;
	struct str note;
};
int sop_stat_pack(const struct sop_stat *s, struct buf *b);
int sop_stat_unpack(struct str args, struct sop_stat *ret, struct err *e);

/* DELETE. No answer. */
struct sop_delete {
	struct id128 index_id;
	uint64_t index_epoch;
	size_t n;
	const struct str *ids; /* packing: the caller's; unpacking: the @room */
};
int sop_delete_pack(const struct sop_delete *d, struct buf *b);
/* At most @max names into @room, which ret->ids becomes. */
int sop_delete_unpack(struct str args, struct str *room, size_t max,
    struct sop_delete *ret, struct err *e);

/* FIND_WRITE: the write ID; the answer is a sop_file. */
int sop_find_pack(const struct id128 *write_id, struct buf *b);
int sop_find_unpack(struct str args, struct id128 *ret, struct err *e);

/* What so many of a group's @members say is nowhere was never acknowledged by
 * @min_copies of them (0: by default, storage/replication/rep.h): all but
 * min_copies - 1, and one at least. */
size_t sop_quorum(size_t members, size_t min_copies);

/* EACH: files of a class (0: any), page by page. */
struct sop_each {
	uint8_t class;
	uint32_t max;      /* files in the answer, at most SOP_PAGE_MAX */
	struct str cursor; /* "" at first, then the last answer's */
};
int sop_each_pack(const struct sop_each *q, struct buf *b);
int sop_each_unpack(struct str args, struct sop_each *ret, struct err *e);

/* Its answer is a head and @n files, each sop_file_unpack()ed from *u. */
struct sop_page {
	struct str cursor;
	bool is_end;
	uint32_t n;
};
int sop_page_pack(const struct sop_page *p, struct buf *b);
int sop_page_unpack(struct unpack *u, struct sop_page *ret, struct err *e);
/* What stands behind the files: how far the node's word goes. */
struct sop_word {
	bool is_whole;   /* it has all that it ever acknowledged, and what its
	                    group did before it came (again) */
	uint32_t copies; /* its group's writes wait for */
};
int sop_word_pack(const struct sop_word *w, struct buf *b);
int sop_word_unpack(struct unpack *u, struct sop_word *ret, struct err *e);

/* FENCE: arguments, and (with an error too) the answer: the highest epoch that
 * this node has been told of. */
struct sop_fence {
	struct id128 index_id;
	uint64_t index_epoch;
};
int sop_fence_pack(const struct sop_fence *f, struct buf *b);
int sop_fence_unpack(struct str args, struct sop_fence *ret, struct err *e);

/* TIDY: what is to be done, and what it found. */
enum sop_tidy {
	SOP_SCRUB = 1,   /* all bytes read and verified */
	SOP_COMPACT = 2, /* mostly dead volumes rewritten */
	SOP_COMPARE = 3, /* with every other node of the group, and repaired */
};
int sop_tidy_pack(enum sop_tidy what, struct buf *b);
int sop_tidy_unpack(struct str args, enum sop_tidy *ret, struct err *e);
struct sop_found {
	uint64_t bad;    /* SCRUB: damaged files and needles that it met */
	uint64_t differ; /* COMPARE: entries that differed */
};
int sop_found_pack(const struct sop_found *f, struct buf *b);
int sop_found_unpack(struct str args, struct sop_found *ret, struct err *e);

/* NODE_STATUS has no arguments; the answer is a cmap_node (cluster/map.h), and
 * behind it what follows. */
struct sop_path {
	char path[256];
	bool is_failed, is_read_only;
	uint64_t total, avail, reserved, files, bytes, dead_bytes, volumes;
	uint64_t scrub_bytes, scrub_total, scrub_errors, scrub_passes;
	uint64_t quarantined;
	int64_t scrub_last_s;
};
struct sop_peer {
	uint32_t server_id;
	bool is_reachable, is_caught_up;
	uint64_t behind_bytes;
};
struct sop_status {
	size_t n_paths;
	struct sop_path *paths; /* owned */
	size_t n_peers;
	struct sop_peer peers[CMAP_MEMBERS];
	uint64_t pulled_files, pulled_bytes, repaired, compared, found_missing;
	uint32_t connections, max_connections, streams;
};
void sop_status_fini(struct sop_status *s);
int sop_status_pack(const struct sop_status *s, struct buf *b);
/* *ret needs sop_status_fini() on success. */
int sop_status_unpack(struct unpack *u, struct sop_status *ret, struct err *e);

#endif
