/* gateway/object/keys.h - the keys of the index, all of them.
 *
 * One byte names the table, big-endian numbers and names follow, so that memcmp
 * order is the order wanted (docs/FORMAT-RECORDS.md). Object names hold no NUL:
 * the 00 behind them makes `name` sort before `name` + anything. */
#ifndef GATEWAY_OBJECT_KEYS_H
#define GATEWAY_OBJECT_KEYS_H

#include "lib/rand.h"
#include "lib/str.h"

#define OBJECT_KEY_MAX 1024
#define UPLOAD_ID_RAW 24 /* time of creation (8) and a random ID (16) */
#define OWNER_ID_RAW 32
#define KEY_SIZE 1088

enum key_table {
	KEY_BUCKET = 'B',    /* name -> Bucket */
	KEY_OWNED = 'b',     /* owner ID, name -> nothing */
	KEY_COUNTERS = 'C',  /* incarnation -> Counters */
	KEY_GARBAGE = 'G',   /* due time, sequence, number -> garbage */
	KEY_USER_ID = 'i',   /* canonical ID -> user name */
	KEY_ACCESS = 'k',    /* access key ID -> AccessKey */
	KEY_MANIFEST = 'M',  /* manifest ID -> Manifest */
	KEY_PART = 'N',      /* manifest ID, part number -> Part */
	KEY_OBJECT = 'O',    /* incarnation, name, 00, ~sequence -> Object */
	KEY_PARTS_SEQ = 'S', /* manifest ID -> sequence of its last change */
	KEY_UPLOAD = 'U',    /* incarnation, name, 00, upload ID -> Upload */
	KEY_USER = 'u',      /* name -> User */
	KEY_COMPLETED = 'X', /* upload ID -> Completed */
};

struct key {
	size_t len;
	char b[KEY_SIZE];
};

static inline struct str
key_str(const struct key *k)
{
	return (struct str){ k->b, k->len };
}

/* Names longer than fits are a bug: callers check them first. */
void key_table(struct key *k, enum key_table t);
void key_append(struct key *k, struct str s);
void key_append_u64(struct key *k, uint64_t v);
/* The end of the range that starts with @k: the next key that does not. */
void key_end(struct key *k);

void key_bucket(struct key *k, struct str name);
void key_owned(struct key *k, const uint8_t owner[OWNER_ID_RAW],
    struct str name);
void key_counters(struct key *k, uint64_t incarnation);
void key_garbage(struct key *k, int64_t due_ns, uint64_t seq, uint32_t n);
void key_user(struct key *k, struct str name);
void key_user_id(struct key *k, const uint8_t id[OWNER_ID_RAW]);
void key_access(struct key *k, struct str id);
void key_manifest(struct key *k, const struct id128 *id);
void key_parts(struct key *k, const struct id128 *id); /* all parts of it */
void key_part(struct key *k, const struct id128 *id, uint32_t number);
void key_parts_seq(struct key *k, const struct id128 *id);
/* Start of the bucket's objects whose names start with @prefix. */
void key_objects(struct key *k, uint64_t incarnation, struct str prefix);
/* Start and end of the versions of one name. */
void key_name_from(struct key *k, uint64_t incarnation, struct str name);
void key_name_to(struct key *k, uint64_t incarnation, struct str name);
void key_object(struct key *k, uint64_t incarnation, struct str name,
    uint64_t seq);
void key_uploads(struct key *k, uint64_t incarnation, struct str prefix);
void key_upload(struct key *k, uint64_t incarnation, struct str name,
    const uint8_t id[UPLOAD_ID_RAW]);
void key_completed(struct key *k, const uint8_t id[UPLOAD_ID_RAW]);

/* Views into @key; false when it is not such a key. */
bool key_object_parse(struct str key, uint64_t *ret_incarnation,
    struct str *ret_name, uint64_t *ret_seq);
bool key_upload_parse(struct str key, uint64_t *ret_incarnation,
    struct str *ret_name, uint8_t ret_id[UPLOAD_ID_RAW]);
bool key_garbage_parse(struct str key, int64_t *ret_due_ns, uint64_t *ret_seq);
bool key_part_parse(struct str key, struct id128 *ret_id, uint32_t *ret_number);

#endif
