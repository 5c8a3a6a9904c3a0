/* tracker/save.c - the groups and their members, as they outlive a tracker:
 * magic, version, groups; CRC-32 of all that at the end. */
#include "tracker/core_int.h"

#include "lib/hash.h"

#define SAVE_MAGIC 0x4b525443u /* "CTRK" */
#define SAVE_VERSION 1

static int
save_addr(struct buf *b, const struct fdfs_addr *a)
{
	int rc = pack_str(b, str_of(a->ip));

	return rc == 0 ? pack_u32(b, a->port) : rc;
}

static int
save_group(struct buf *b, const struct tgroup *g)
{
	int rc = pack_str(b, str_of(g->name));

	if (rc == 0)
		rc = pack_id(b, &g->id);
	if (rc == 0)
		rc = pack_u64(b, g->epoch);
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)g->n_members);
	for (size_t i = 0; rc == 0 && i < g->n_members; i++) {
		const struct cmap_member *m = &g->members[i];

		rc = pack_id(b, &m->node);
		if (rc == 0)
			rc = pack_u32(b, m->server_id);
		if (rc == 0)
			rc = save_addr(b, &m->inner);
		if (rc == 0)
			rc = save_addr(b, &m->outer);
	}
	return rc;
}

int
tcore_save(const struct tcore *t, struct buf *b)
{
	uint32_t n = 0;
	int rc;

	OBJ_CHECK(t, TCORE_MAGIC);
	for (size_t i = 0; i < t->n_groups; i++)
		n += t->groups[i]->n_members > 0;
	rc = pack_u32(b, SAVE_MAGIC);
	if (rc == 0)
		rc = pack_u8(b, SAVE_VERSION);
	if (rc == 0)
		rc = pack_u32(b, n);
	for (size_t i = 0; rc == 0 && i < t->n_groups; i++)
		if (t->groups[i]->n_members > 0)
			rc = save_group(b, t->groups[i]);
	return rc == 0 ? pack_u32(b, hash_crc32(0, b->p, b->len)) : rc;
}

static struct fdfs_addr
load_addr(struct unpack *u)
{
	struct str ip = unpack_str(u, FDFS_IP_MAX);
	struct fdfs_addr a = { 0 };

	if (ip.len > 0)
		memcpy(a.ip, ip.p, ip.len);
	a.port = (uint16_t)unpack_u32(u);
	return a;
}

static int
load_group(struct tcore *t, struct unpack *u, struct err *e)
{
	struct cmap_member m[CMAP_MEMBERS];
	struct str name = unpack_str(u, FDFS_GROUP_LEN);
	struct id128 id = unpack_id(u);
	uint64_t epoch = unpack_u64(u);
	uint32_t n = unpack_u32(u);
	struct tgroup *g;

	if (u->is_bad || !fdfs_group_is_valid(name) || n == 0 ||
	    n > CMAP_MEMBERS)
		return err_set(e, ERR_CORRUPT, "saved groups: malformed");
	for (uint32_t i = 0; i < n; i++) {
		m[i].node = unpack_id(u);
		m[i].server_id = unpack_u32(u);
		m[i].inner = load_addr(u);
		m[i].outer = load_addr(u);
	}
	if (u->is_bad)
		return err_set(e, ERR_CORRUPT, "saved groups: cut short");
	g = tcore_group_make(t, name);
	if (g == NULL)
		return err_set(e, ERR_NO_MEMORY, "saved groups");
	return tcore_adopt(t, g, &id, epoch, m, n, e);
}

int
tcore_load(struct tcore *t, struct tcore_now now, struct str s, struct err *e)
{
	struct unpack u, tail;
	uint8_t version;
	uint32_t n;
	int rc = 0;

	OBJ_CHECK(t, TCORE_MAGIC);
	(void)now;
	if (s.len < 13)
		return err_set(e, ERR_CORRUPT, "saved groups: cut short");
	u = unpack_of(str_sub(s, 0, s.len - 4));
	tail = unpack_of(str_skip(s, s.len - 4));
	if (unpack_u32(&tail) != hash_crc32(0, s.p, s.len - 4) ||
	    unpack_u32(&u) != SAVE_MAGIC)
		return err_set(e, ERR_CORRUPT, "saved groups: checksum");
	version = unpack_u8(&u);
	if (version > SAVE_VERSION)
		return err_set(e, ERR_VERSION,
		    "saved groups are of version %u, this program knows %d",
		    version, SAVE_VERSION);
	n = unpack_u32(&u);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = load_group(t, &u, e);
	return rc;
}
