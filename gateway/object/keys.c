/* gateway/object/keys.c - see keys.h. */
#include "gateway/object/keys.h"

#include "lib/bytes.h"
#include "lib/err.h"

void
key_table(struct key *k, enum key_table t)
{
	k->len = 1;
	k->b[0] = (char)t;
}

void
key_append(struct key *k, struct str s)
{
	MUST(s.len <= sizeof(k->b) - k->len);
	if (s.len > 0)
		memcpy(k->b + k->len, s.p, s.len);
	k->len += s.len;
}

void
key_append_u64(struct key *k, uint64_t v)
{
	char b[8];

	put_be64(b, v);
	key_append(k, str_mem(b, 8));
}

static void
add_u32(struct key *k, uint32_t v)
{
	char b[4];

	put_be32(b, v);
	key_append(k, str_mem(b, 4));
}

static void
add_c(struct key *k, char c)
{
	key_append(k, str_mem(&c, 1));
}

void
key_end(struct key *k)
{
	while (k->len > 0 && (uint8_t)k->b[k->len - 1] == 0xff)
		k->len--;
	MUST(k->len > 0);
	k->b[k->len - 1] = (char)((uint8_t)k->b[k->len - 1] + 1);
}

void
key_bucket(struct key *k, struct str name)
{
	key_table(k, KEY_BUCKET);
	key_append(k, name);
}

void
key_owned(struct key *k, const uint8_t owner[OWNER_ID_RAW], struct str name)
{
	key_table(k, KEY_OWNED);
	key_append(k, str_mem(owner, OWNER_ID_RAW));
	key_append(k, name);
}

void
key_counters(struct key *k, uint64_t incarnation)
{
	key_table(k, KEY_COUNTERS);
	key_append_u64(k, incarnation);
}

void
key_garbage(struct key *k, int64_t due_ns, uint64_t seq, uint32_t n)
{
	key_table(k, KEY_GARBAGE);
	key_append_u64(k, (uint64_t)due_ns);
	key_append_u64(k, seq);
	add_u32(k, n);
}

void
key_user(struct key *k, struct str name)
{
	key_table(k, KEY_USER);
	key_append(k, name);
}

void
key_user_id(struct key *k, const uint8_t id[OWNER_ID_RAW])
{
	key_table(k, KEY_USER_ID);
	key_append(k, str_mem(id, OWNER_ID_RAW));
}

void
key_access(struct key *k, struct str id)
{
	key_table(k, KEY_ACCESS);
	key_append(k, id);
}

void
key_manifest(struct key *k, const struct id128 *id)
{
	key_table(k, KEY_MANIFEST);
	key_append(k, str_mem(id->b, sizeof(id->b)));
}

void
key_parts(struct key *k, const struct id128 *id)
{
	key_table(k, KEY_PART);
	key_append(k, str_mem(id->b, sizeof(id->b)));
}

void
key_part(struct key *k, const struct id128 *id, uint32_t number)
{
	key_parts(k, id);
	add_u32(k, number);
}

void
key_parts_seq(struct key *k, const struct id128 *id)
{
	key_table(k, KEY_PARTS_SEQ);
	key_append(k, str_mem(id->b, sizeof(id->b)));
}

void
key_objects(struct key *k, uint64_t incarnation, struct str prefix)
{
	key_table(k, KEY_OBJECT);
	key_append_u64(k, incarnation);
	key_append(k, prefix);
}

void
key_name_from(struct key *k, uint64_t incarnation, struct str name)
{
	key_objects(k, incarnation, name);
	add_c(k, 0);
}

void
key_name_to(struct key *k, uint64_t incarnation, struct str name)
{
	key_objects(k, incarnation, name);
	add_c(k, 1);
}

void
key_object(struct key *k, uint64_t incarnation, struct str name, uint64_t seq)
{
	key_name_from(k, incarnation, name);
	key_append_u64(k, ~seq); /* newest first */
}

void
key_uploads(struct key *k, uint64_t incarnation, struct str prefix)
{
	key_table(k, KEY_UPLOAD);
	key_append_u64(k, incarnation);
	key_append(k, prefix);
}

void
key_upload(struct key *k, uint64_t incarnation, struct str name,
    const uint8_t id[UPLOAD_ID_RAW])
{
	key_uploads(k, incarnation, name);
	add_c(k, 0);
	key_append(k, str_mem(id, UPLOAD_ID_RAW));
}

void
key_completed(struct key *k, const uint8_t id[UPLOAD_ID_RAW])
{
	key_table(k, KEY_COMPLETED);
	key_append(k, str_mem(id, UPLOAD_ID_RAW));
}

/* table, incarnation, name, 00, tail */
static bool
parse_named(struct str key, enum key_table t, size_t tail,
    uint64_t *ret_incarnation, struct str *ret_name, const char **ret_tail)
{
	if (key.len < 10 + tail || key.p[0] != (char)t ||
	    key.p[key.len - tail - 1] != 0)
		return false;
	*ret_incarnation = get_be64(key.p + 1);
	*ret_name = str_mem(key.p + 9, key.len - 10 - tail);
	*ret_tail = key.p + key.len - tail;
	return true;
}

bool
key_object_parse(struct str key, uint64_t *ret_incarnation,
    struct str *ret_name, uint64_t *ret_seq)
{
	const char *tail;

	if (!parse_named(key, KEY_OBJECT, 8, ret_incarnation, ret_name, &tail))
		return false;
	*ret_seq = ~get_be64(tail);
	return true;
}

bool
key_upload_parse(struct str key, uint64_t *ret_incarnation,
    struct str *ret_name, uint8_t ret_id[UPLOAD_ID_RAW])
{
	const char *tail;

	if (!parse_named(key, KEY_UPLOAD, UPLOAD_ID_RAW, ret_incarnation,
		ret_name, &tail))
		return false;
	memcpy(ret_id, tail, UPLOAD_ID_RAW);
	return true;
}

bool
key_garbage_parse(struct str key, int64_t *ret_due_ns, uint64_t *ret_seq)
{
	if (key.len != 21 || key.p[0] != KEY_GARBAGE)
		return false;
	*ret_due_ns = (int64_t)get_be64(key.p + 1);
	*ret_seq = get_be64(key.p + 9);
	return true;
}

bool
key_part_parse(struct str key, struct id128 *ret_id, uint32_t *ret_number)
{
	if (key.len != 21 || key.p[0] != KEY_PART)
		return false;
	memcpy(ret_id->b, key.p + 1, 16);
	*ret_number = get_be32(key.p + 17);
	return true;
}
