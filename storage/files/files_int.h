/* storage/files/files_int.h - what the parts of storage/files share. */
#ifndef STORAGE_FILES_FILES_INT_H
#define STORAGE_FILES_FILES_INT_H

#include "lib/lock.h"
#include "storage/files/files.h"
#include "storage/files/list.h"

#define FILES_MAGIC 0x46494c45
#define FILES_PUT_MAX (256 * 1024) /* written whole; above streamed */
#define FILES_CHUNK (256 * 1024)
#define FILES_DROPS 65536
#define FILES_NAME_PLAIN 44 /* of a name that a server draws */
#define FILES_ID_LEN (ENGINE_FILE_ID_MAX - 1)

struct files_turn { /* a name that is being changed; waiters in order */
	struct files_turn *next;
	char name[FDFS_REMOTE_MAX + 1];
	struct files_waiter *first, **last;
};
struct files_waiter {
	struct files_waiter *next;
	void *gate;
	unsigned refs; /* who waits, and who rings: under the lock */
	bool granted;
};

struct files_drop { /* a segment that is to go */
	char id[ENGINE_FILE_ID_MAX];
	int64_t due_ms;
};

/* The changes that were made here of late, so that one that comes twice is made
 * once: the first asker may have given up a call that arrives all the same, when
 * what was made since must not be undone. By their IDs, which are random. */
#define FILES_DONE 1024
struct files_done {
	uint64_t change[7], at;
};

struct files {
	unsigned magic;
	struct rep *rep;
	struct members *members;
	struct rep_env env;
	char group[FDFS_GROUP_LEN + 1];
	size_t small_limit, list_max;
	int64_t sweep_interval_ms;
	int wait_ms;
	struct lock lock; /* what follows; held over nothing */
	struct files_turn *turns;
	struct files_drop *drops;
	size_t n_drops, drops_room;
	struct suspects *suspects; /* the sweep's */
	struct files_done *done;   /* FILES_DONE of them */
	unsigned tasks;
};

/* --- names (files.c) --- */

/* "group1/" and @name, terminated. ERR_INVALID when it is none. */
int files_id(const struct files *f, struct str name, char ret[FILES_ID_LEN + 1],
    struct err *e);
/* That of the metadata. ERR_INVALID: too long for one. */
int files_meta_id(const struct files *f, struct str name,
    char ret[FILES_ID_LEN + 1], struct err *e);
/* ERR_INVALID unless @name's size field has the appender bit. */
int files_must_be_appender(struct str name, struct err *e);
int64_t files_now_s(const struct files *f);
int64_t files_now_ms(const struct files *f);

/* --- turns (turn.c): one change of a name at a time on this node --- */

int files_turn_take(struct files *f, struct str name, struct files_turn **ret,
    struct err *e);
void files_turn_give(struct files *f, struct files_turn **tp);

/* --- changes (leader.c): what the leader is asked for --- */

enum files_op_kind {
	FILES_CREATE = 1, /* a list: slave or appender */
	FILES_APPEND = 2,
	FILES_MODIFY = 3,
	FILES_TRUNCATE = 4,
	FILES_REGENERATE = 5,
	FILES_DELETE = 6,
	FILES_SET_META = 7,
	FILES_GET_META = 8,
	FILES_GET_LIST = 9,
};
struct files_op {
	enum files_op_kind kind;
	uint64_t change;
	struct str name;
	uint64_t off;            /* MODIFY; TRUNCATE: the new size */
	char flag;               /* SET_META */
	struct list_piece piece; /* CREATE, APPEND, MODIFY */
	struct str meta;         /* SET_META */
	bool is_again;           /* an earlier call's outcome is open */
	int64_t until_ms;        /* F6, by this node's clock; 0: a read */
};
struct files_result {
	struct engine_file_info info; /* REGENERATE */
	struct buf body;              /* GET_META, GET_LIST */
};
/* Whether a change that failed with @rc can't have been made, nor be made later
 * (what it was made of may go at once). */
static inline bool
files_is_final(int rc)
{
	return rc == ERR_INVALID || rc == ERR_NOT_FOUND || rc == ERR_EXISTS ||
	       rc == ERR_TOO_BIG || rc == ERR_ACCESS_DENIED;
}
/* Here, if this node leads, else there; finds out who does for a while. */
int files_ask_leader(struct files *f, struct files_op *op,
    struct files_result *ret, struct err *e);
/* On the leader (apply.c). ERR_RETRY where this node is not. */
int files_apply(struct files *f, const struct files_op *op,
    struct files_result *ret, struct err *e);

/* GET_META, GET_LIST of what this node itself has (read.c). */
int files_read_here(struct files *f, const struct files_op *op,
    struct files_result *ret, struct err *e);

/* --- versions of lists, on the leader (apply.c) --- */

/* A list under change. */
struct draft {
	char id[FILES_ID_LEN + 1];
	struct str name; /* what segments note as their list */
	struct list list;
	uint64_t version; /* that it was read at, or written as */
	size_t n_old;     /* segments that were named then */
	struct buf fresh; /* names of those made since, each with its NUL */
	int64_t until_ms; /* F6, for the next version; 0: whenever */
};
/* As the group has it. draft_close() also after a failure. */
int draft_open(struct files *f, struct str name, struct draft *d,
    struct err *e);
/* On condition that it still is the version it was read at. */
int draft_write(struct files *f, struct draft *d, bool is_new, struct err *e);
int draft_delete(struct files *f, struct draft *d, struct err *e);
/* @rc: of writing the version; ERR_BUSY leaves all segments as they are. */
void draft_close(struct files *f, struct draft *d, int rc);

/* The metadata of @from, if there is any, for @to too. */
int files_copy_meta(struct files *f, struct str from, struct str to,
    struct err *e);
/* 0 also without any. */
int files_delete_meta(struct files *f, struct str name, struct err *e);

/* --- another name (regenerate.c) --- */

int files_regenerate_here(struct files *f, const struct files_op *op,
    struct engine_file_info *ret, struct err *e);
/* A regeneration of @d that was broken off is undone; the next version that is
 * written says so. Before any other change of it. */
int files_settle(struct files *f, struct draft *d, struct err *e);
/* The same, where there is no other change. ERR_NOT_FOUND. */
int files_settle_name(struct files *f, struct str name, struct err *e);

/* --- copies and segments (copy.c) --- */

/* Reads of lists: one open segment at a time. */
struct files_cursor {
	struct files *f;
	const struct list *l;
	struct rep_file *file;
	uint32_t seg;
};
int files_cursor_read(struct files_cursor *c, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e);
void files_cursor_close(struct files_cursor *c);
/* @size bytes of @fn become a file. */
int files_write(struct files *f, const struct engine_owner *o, int path_no,
    uint64_t size, files_source *fn, void *arg, const char *ext,
    struct engine_file_info *ret, struct err *e);
/* Likewise under the name of store path @path_no that was drawn for it. */
int files_write_as(struct files *f, const struct engine_record *as,
    const struct engine_owner *o, int path_no, files_source *fn, void *arg,
    struct engine_file_info *ret, struct err *e);
/* All of @l likewise. */
int files_copy_as(struct files *f, const struct list *l,
    const struct engine_record *as, const struct engine_owner *o, int path_no,
    struct engine_file_info *ret, struct err *e);
/* @len bytes of @l from @off become a file. */
int files_copy(struct files *f, const struct list *l, uint64_t off,
    uint64_t len, const struct engine_owner *o, int path_no, const char *ext,
    struct engine_file_info *ret, struct err *e);
/* CRC32 of the whole list, read where it is not known. */
int files_list_crc32(struct files *f, const struct list *l, uint32_t *ret,
    struct err *e);

/* --- what is to go (sweep.c) --- */

void files_drop_later(struct files *f, const char *id, int64_t ms);
void files_drop_now(struct files *f, const char *id);
int files_tasks_start(struct files *f, struct err *e);

/* --- what nothing names, and for how long (suspects.c) --- */

int suspects_begin(struct files *f, struct err *e);
/* It is one, as the sweep has found; true: for FILES_ORPHAN_S at least. */
bool suspects_meet(struct files *f, const uint8_t key[ENGINE_KEY]);
/* @is_whole: the sweep has seen all there is. */
int suspects_end(struct files *f, bool is_whole, struct err *e);
void suspects_free(struct files *f);

#endif
