/* tests/unit/replication/sim_disk_int.h - between sim_disk.c, what a disk holds,
 * and sim_store.c, the engine's calls over it. */
#ifndef TEST_SIM_DISK_INT_H
#define TEST_SIM_DISK_INT_H

#include "tests/unit/replication/sim_int.h"

struct body { /* shared by copies of a disk */
	unsigned refs;
	size_t len;
	char p[];
};

struct item {
	uint8_t key[ENGINE_KEY];
	struct engine_record r; /* note: into text */
	char *note;
	struct body *body;
	bool is_bad;
};

struct entry { /* of the log */
	struct engine_record r;
	char *note;
	uint32_t mark;
};

struct text_file {
	char name[64];
	struct buf bytes;
};

struct sim_disk {
	struct sim *s;
	int node;
	struct id128 node_id, path, paths_id;
	uint64_t incarnation, seq, changes;
	bool is_full, has_failed;
	size_t small;       /* beyond it: no install_many() */
	struct item *items; /* by key */
	size_t n_items, cap_items;
	int64_t forget_s; /* as told last */
	struct entry *log;
	size_t n_log, cap_log, old_log; /* below old_log: sim_disk_outgrow() */
	struct text_file *texts;
	size_t n_texts;
};

void simd_body_unref(struct body *b);
char *simd_note_copy(struct str note);
/* Position of @key, or where it would be. */
size_t simd_seek(const struct sim_disk *d, const uint8_t key[ENGINE_KEY]);
struct item *simd_find_key(const struct sim_disk *d,
    const uint8_t key[ENGINE_KEY]);
struct item *simd_find(const struct sim_disk *d, struct str id);
struct item *simd_find_write(const struct sim_disk *d,
    const struct id128 *write_id);
void simd_set_record(struct engine_record *to, char **note,
    const struct engine_record *r);
/* As engine_install.rc. */
int simd_install(struct sim_disk *d, const struct engine_record *r,
    struct str body, unsigned flags, uint64_t *ret_version, bool *ret_tomb);

#endif
