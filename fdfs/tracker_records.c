/* fdfs/tracker_records.c - the fixed records in a tracker's lists.
 * The 8-byte fields of a record stand in one table of offsets, in the order of
 * the wire, that serves both directions. */
#include "fdfs/tracker_codec.h"

#include "fdfs/codec_impl.h"

#include <stddef.h>

#define LEN(a) (sizeof(a) / sizeof(*(a)))

static void
put_fields(struct buf *b, const void *record, const uint16_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int64_t v;

		memcpy(&v, (const char *)record + at[i], sizeof(v));
		fdfs_add_u64(b, (uint64_t)v);
	}
}

static void
take_fields(struct fdfs_reader *in, void *record, const uint16_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int64_t v = (int64_t)fdfs_take_u64(in);

		memcpy((char *)record + at[i], &v, sizeof(v));
	}
}

/* A text field of @width into an array of @width + 1. */
static void
take_text(struct fdfs_reader *in, size_t width, char *dst)
{
	struct str s = fdfs_take_field(in, width);

	memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
}

/* How many records of @size there are, within @max. */
static int
count(struct str body, size_t size, size_t max, size_t *ret, struct err *e)
{
	if (body.len % size != 0)
		return err_set(e, ERR_INVALID, "list of %zu bytes", body.len);
	if (body.len / size > max)
		return err_set(e, ERR_TOO_BIG, "list of %zu records",
		    body.len / size);
	*ret = body.len / size;
	return 0;
}

/* --- groups --- */

#define F(x) offsetof(struct fdfs_group, x)
static const uint16_t group_fields[] = { F(total_mb), F(free_mb),
	F(reserved_mb), F(trunk_free_mb), F(storages), F(storage_port),
	F(readable), F(writable), F(write_server), F(store_paths), F(subdirs),
	F(trunk_file) };
#undef F

int
fdfs_group_encode(const struct fdfs_group *g, struct buf *b, struct err *e)
{
	int rc = buf_reserve(b, FDFS_GROUP_RECORD);

	if (rc < 0)
		return err_set(e, rc, "answer");
	fdfs_add_field(b, str_of(g->name), FDFS_GROUP_LEN + 1);
	put_fields(b, g, group_fields, LEN(group_fields));
	return 0;
}

int
fdfs_groups_decode(struct str body, struct fdfs_group *ret, size_t max,
    size_t *ret_n, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	size_t n = 0;
	int rc = count(body, FDFS_GROUP_RECORD, max, &n, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		struct str name = fdfs_take_field(&in, FDFS_GROUP_LEN + 1);

		if (!fdfs_group_is_valid(name))
			return err_set(e, ERR_INVALID, "list: invalid group");
		memcpy(ret[i].name, name.p, name.len);
		ret[i].name[name.len] = '\0';
		take_fields(&in, &ret[i], group_fields, LEN(group_fields));
	}
	*ret_n = n;
	return 0;
}

/* --- statistics --- */

#define F(x) offsetof(struct fdfs_stat, x)
#define C(x) F(x.total), F(x.success)
static const uint16_t stat_fields[] = { C(upload), C(append), C(modify),
	C(truncate), C(set_meta), C(delete), C(download), C(get_meta),
	C(create_link), C(delete_link), C(upload_bytes), C(append_bytes),
	C(modify_bytes), C(download_bytes), C(sync_in_bytes), C(sync_out_bytes),
	C(file_open), C(file_read), C(file_write), F(last_source_update),
	F(last_sync_update), F(last_synced), F(last_heartbeat) };
#undef C
#undef F
_Static_assert(3 * 4 + LEN(stat_fields) * 8 == FDFS_STAT_LEN, "42 fields");

int
fdfs_stat_encode(const struct fdfs_stat *s, struct buf *b)
{
	int rc = buf_reserve(b, FDFS_STAT_LEN);

	if (rc < 0)
		return rc;
	fdfs_add_u32(b, (uint32_t)s->conn_alloc);
	fdfs_add_u32(b, (uint32_t)s->conn_current);
	fdfs_add_u32(b, (uint32_t)s->conn_max);
	put_fields(b, s, stat_fields, LEN(stat_fields));
	return 0;
}

static void
take_stat(struct fdfs_reader *in, struct fdfs_stat *s)
{
	s->conn_alloc = (int32_t)fdfs_take_u32(in);
	s->conn_current = (int32_t)fdfs_take_u32(in);
	s->conn_max = (int32_t)fdfs_take_u32(in);
	take_fields(in, s, stat_fields, LEN(stat_fields));
}

void
fdfs_stat_decode(const void *p, struct fdfs_stat *ret)
{
	struct fdfs_reader in = fdfs_reader(str_mem(p, FDFS_STAT_LEN));

	take_stat(&in, ret);
}

/* --- storages --- */

enum {
	STORAGE_NARROW = 487,
	STORAGE_WIDE = 517
};

#define F(x) offsetof(struct fdfs_storage, x)
static const uint16_t storage_fields[] = { F(joined), F(started), F(total_mb),
	F(free_mb), F(reserved_mb), F(priority), F(store_paths), F(subdirs),
	F(write_path), F(port) };
#undef F

int
fdfs_storage_encode(const struct fdfs_storage *s, enum fdfs_form form,
    struct buf *b, struct err *e)
{
	int rc =
	    buf_reserve(b, form == FDFS_WIDE ? STORAGE_WIDE : STORAGE_NARROW);

	if (rc < 0)
		return err_set(e, rc, "answer");
	/* Readers of a record expect a NUL within its address. */
	if (strlen(s->ip) >= fdfs_ip_width(form))
		return err_set(e, ERR_INVALID, "answer: %s needs the wide form",
		    s->ip);
	buf_addc(b, (char)s->state);
	buf_addc(b, (char)s->rw_mode);
	fdfs_add_field(b, str_of(s->id), FDFS_ID_LEN);
	fdfs_add_field(b, str_of(s->ip), fdfs_ip_width(form));
	fdfs_add_field(b, str_of(s->source), FDFS_ID_LEN);
	fdfs_add_field(b, str_of(s->version), FDFS_VERSION_LEN);
	put_fields(b, s, storage_fields, LEN(storage_fields));
	fdfs_stat_encode(&s->stat, b);
	buf_addc(b, (char)s->is_trunk);
	return 0;
}

static void
take_storage(struct fdfs_reader *in, size_t width, struct fdfs_storage *s)
{
	s->state = fdfs_take_u8(in);
	s->rw_mode = fdfs_take_u8(in);
	take_text(in, FDFS_ID_LEN, s->id);
	fdfs_take_ip(in, width, s->ip);
	take_text(in, FDFS_ID_LEN, s->source);
	take_text(in, FDFS_VERSION_LEN, s->version);
	take_fields(in, s, storage_fields, LEN(storage_fields));
	take_stat(in, &s->stat);
	s->is_trunk = fdfs_take_u8(in) != 0;
}

int
fdfs_storages_decode(struct str body, struct fdfs_storage *ret, size_t max,
    size_t *ret_n, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	bool narrow = body.len % STORAGE_NARROW == 0;
	size_t n = 0;
	int rc =
	    count(body, narrow ? STORAGE_NARROW : STORAGE_WIDE, max, &n, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		take_storage(&in,
		    fdfs_ip_width(narrow ? FDFS_NARROW : FDFS_WIDE), &ret[i]);
	if (in.bad)
		return err_set(e, ERR_INVALID, "list: malformed address");
	*ret_n = n;
	return 0;
}

/* --- views of the cluster --- */

enum {
	TRACKER_NODE = 90,
	STORAGE_NODE = 106,
	VOLUME_RECORD = 59
};

static void
put_node_tail(struct buf *b, const struct fdfs_node *n)
{
	fdfs_add_u32(b, (uint32_t)n->conn_alloc);
	fdfs_add_u32(b, (uint32_t)n->conn_current);
	fdfs_add_u32(b, (uint32_t)n->conn_max);
	fdfs_add_field(b, str_of(n->version), FDFS_VERSION_LEN);
	fdfs_add_u64(b, (uint64_t)n->started);
	fdfs_add_u64(b, (uint64_t)n->last_heartbeat);
}

static void
take_node_tail(struct fdfs_reader *in, struct fdfs_node *n)
{
	n->conn_alloc = (int32_t)fdfs_take_u32(in);
	n->conn_current = (int32_t)fdfs_take_u32(in);
	n->conn_max = (int32_t)fdfs_take_u32(in);
	take_text(in, FDFS_VERSION_LEN, n->version);
	n->started = (int64_t)fdfs_take_u64(in);
	n->last_heartbeat = (int64_t)fdfs_take_u64(in);
}

int
fdfs_tracker_stat_encode(const struct fdfs_node *nodes, size_t n, struct buf *b,
    struct err *e)
{
	int rc = buf_reserve(b, 1 + n * TRACKER_NODE);

	if (n > UINT8_MAX)
		return err_set(e, ERR_TOO_BIG, "answer: too many trackers");
	if (rc < 0)
		return err_set(e, rc, "answer");
	buf_addc(b, (char)n);
	for (size_t i = 0; i < n; i++) {
		fdfs_add_field(b, str_of(nodes[i].host), FDFS_HOST_LEN);
		buf_addc(b, (char)nodes[i].is_leader);
		buf_addc(b, (char)nodes[i].is_active);
		put_node_tail(b, &nodes[i]);
	}
	return 0;
}

int
fdfs_tracker_stat_decode(struct str body, struct fdfs_node *ret, size_t max,
    size_t *ret_n, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	uint8_t said = fdfs_take_u8(&in);
	size_t n = 0;
	int rc = count(str_skip(body, 1), TRACKER_NODE, max, &n, e);

	if (rc < 0)
		return rc;
	if (in.bad || n != said)
		return err_set(e, ERR_INVALID, "list: wrong count");
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct fdfs_node){ 0 };
		take_text(&in, FDFS_HOST_LEN, ret[i].host);
		ret[i].is_leader = fdfs_take_u8(&in) != 0;
		ret[i].is_active = fdfs_take_u8(&in) != 0;
		take_node_tail(&in, &ret[i]);
	}
	*ret_n = n;
	return 0;
}

int
fdfs_storage_stat_encode(const struct fdfs_node *nodes, size_t n, bool use_id,
    bool use_trunk, struct buf *b, struct err *e)
{
	int rc;

	if (n > (size_t)FDFS_MAX_GROUPS * FDFS_MAX_SERVERS)
		return err_set(e, ERR_TOO_BIG, "answer: too many storages");
	rc = buf_reserve(b, 6 + n * STORAGE_NODE);
	if (rc < 0)
		return err_set(e, rc, "answer");
	buf_addc(b, (char)use_id);
	buf_addc(b, (char)use_trunk);
	fdfs_add_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		fdfs_add_field(b, str_of(nodes[i].id), FDFS_ID_LEN);
		fdfs_add_field(b, str_of(nodes[i].host), FDFS_HOST_LEN);
		buf_addc(b, (char)nodes[i].is_trunk);
		buf_addc(b, (char)nodes[i].state);
		put_node_tail(b, &nodes[i]);
	}
	return 0;
}

int
fdfs_storage_stat_decode(struct str body, struct fdfs_node *ret, size_t max,
    size_t *ret_n, bool *ret_use_id, bool *ret_use_trunk, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	bool use_id = fdfs_take_u8(&in) != 0,
	     use_trunk = fdfs_take_u8(&in) != 0;
	uint32_t said = fdfs_take_u32(&in);
	size_t n = 0;
	int rc = count(str_skip(body, 6), STORAGE_NODE, max, &n, e);

	if (rc < 0)
		return rc;
	if (in.bad || n != said)
		return err_set(e, ERR_INVALID, "list: wrong count");
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct fdfs_node){ 0 };
		take_text(&in, FDFS_ID_LEN, ret[i].id);
		take_text(&in, FDFS_HOST_LEN, ret[i].host);
		ret[i].is_trunk = fdfs_take_u8(&in) != 0;
		ret[i].state = fdfs_take_u8(&in);
		take_node_tail(&in, &ret[i]);
	}
	*ret_n = n;
	*ret_use_id = use_id;
	*ret_use_trunk = use_trunk;
	return 0;
}

#define F(x) offsetof(struct fdfs_volume, x)
static const uint16_t volume_fields[] = { F(total_mb), F(free_mb),
	F(reserved_mb), F(available_mb), F(trunk_free_mb) };
#undef F

int
fdfs_volume_stat_encode(const struct fdfs_volume *v, size_t n, bool use_trunk,
    struct buf *b, struct err *e)
{
	int rc;

	if (n > FDFS_MAX_GROUPS)
		return err_set(e, ERR_TOO_BIG, "answer: too many groups");
	rc = buf_reserve(b, 5 + n * VOLUME_RECORD);
	if (rc < 0)
		return err_set(e, rc, "answer");
	buf_addc(b, (char)use_trunk);
	fdfs_add_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		fdfs_add_field(b, str_of(v[i].group), FDFS_GROUP_LEN + 1);
		put_fields(b, &v[i], volume_fields, LEN(volume_fields));
		buf_addc(b, (char)v[i].disk_available);
		buf_addc(b, (char)v[i].trunk_available);
	}
	return 0;
}

int
fdfs_volume_stat_decode(struct str body, struct fdfs_volume *ret, size_t max,
    size_t *ret_n, bool *ret_use_trunk, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	bool use_trunk = fdfs_take_u8(&in) != 0;
	uint32_t said = fdfs_take_u32(&in);
	size_t n = 0;
	int rc = count(str_skip(body, 5), VOLUME_RECORD, max, &n, e);

	if (rc < 0)
		return rc;
	if (in.bad || n != said)
		return err_set(e, ERR_INVALID, "list: wrong count");
	for (size_t i = 0; i < n; i++) {
		struct str group = fdfs_take_field(&in, FDFS_GROUP_LEN + 1);

		if (!fdfs_group_is_valid(group))
			return err_set(e, ERR_INVALID, "list: invalid group");
		ret[i] = (struct fdfs_volume){ 0 };
		memcpy(ret[i].group, group.p, group.len);
		take_fields(&in, &ret[i], volume_fields, LEN(volume_fields));
		ret[i].disk_available = fdfs_take_u8(&in) != 0;
		ret[i].trunk_available = fdfs_take_u8(&in) != 0;
	}
	*ret_n = n;
	*ret_use_trunk = use_trunk;
	return 0;
}

/* --- SERVER_STATUS --- */

enum {
	BRIEF_LEN = 67
};

int
fdfs_brief_encode(const struct fdfs_brief *s, struct buf *b, struct err *e)
{
	int rc = buf_reserve(b, BRIEF_LEN);

	if (rc < 0)
		return err_set(e, rc, "answer");
	buf_addc(b, (char)s->state);
	fdfs_add_u32(b, s->port);
	fdfs_add_field(b, str_of(s->id), FDFS_ID_LEN);
	fdfs_add_field(b, str_of(s->ip), fdfs_ip_width(FDFS_WIDE));
	return 0;
}

int
fdfs_brief_decode(struct str body, struct fdfs_brief *ret, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	struct fdfs_brief s;
	uint32_t port;

	if (body.len != BRIEF_LEN)
		return err_set(e, ERR_INVALID, "status of %zu bytes", body.len);
	s.state = fdfs_take_u8(&in);
	port = fdfs_take_u32(&in);
	take_text(&in, FDFS_ID_LEN, s.id);
	fdfs_take_ip(&in, fdfs_ip_width(FDFS_WIDE), s.ip);
	if (in.bad || port > UINT16_MAX)
		return err_set(e, ERR_INVALID, "status: malformed");
	s.port = (uint16_t)port;
	*ret = s;
	return 0;
}
