/* storage/replication/wire.c - see storage/replication/wire.h. */
#include "storage/replication/wire.h"

int
wire_pack_record(struct buf *b, const struct engine_record *r)
{
	int rc = buf_reserve(b, WIRE_RECORD_MAX);

	/* Nothing below can fail: there is room. */
	if (rc < 0)
		return rc;
	MUST(r->note.len <= WIRE_NOTE_MAX);
	pack_str(b, str_of(r->info.id));
	pack_u8(b, r->is_tomb);
	pack_u8(b, r->info.class);
	pack_u64(b, r->info.file_version);
	pack_u64(b, r->info.size);
	pack_u32(b, r->info.crc32);
	pack_u64(b, (uint64_t)r->info.created_s);
	pack_id(b, &r->info.index_id);
	pack_id(b, &r->info.write_id);
	pack_id(b, &r->source.node);
	pack_u64(b, r->source.incarnation);
	pack_u64(b, r->source.seq);
	return pack_str(b, r->note);
}

void
wire_unpack_record(struct unpack *u, struct engine_record *ret)
{
	struct str id = unpack_str(u, ENGINE_FILE_ID_MAX - 1);

	memset(ret, 0, sizeof(*ret));
	if (id.len == 0 || str_chr(id, '\0') >= 0)
		u->is_bad = true;
	else
		memcpy(ret->info.id, id.p, id.len);
	ret->is_tomb = unpack_u8(u) != 0;
	ret->info.class = unpack_u8(u);
	ret->info.file_version = unpack_u64(u);
	ret->info.size = unpack_u64(u);
	ret->info.crc32 = unpack_u32(u);
	ret->info.created_s = (int64_t)unpack_u64(u);
	ret->info.index_id = unpack_id(u);
	ret->info.write_id = unpack_id(u);
	ret->source.node = unpack_id(u);
	ret->source.incarnation = unpack_u64(u);
	ret->source.seq = unpack_u64(u);
	ret->note = unpack_str(u, WIRE_NOTE_MAX);
	if (ret->info.file_version == 0)
		u->is_bad = true;
}

int
wire_pack_version(struct buf *b, const struct engine_version *v)
{
	int rc = buf_reserve(b, 18);

	if (rc < 0)
		return rc;
	pack_u8(b, (uint8_t)v->known);
	pack_u8(b, v->class);
	pack_u64(b, v->version);
	return pack_u64(b, v->size);
}

void
wire_unpack_version(struct unpack *u, struct engine_version *ret)
{
	uint8_t known = unpack_u8(u);

	if (known > ENGINE_TOMB)
		u->is_bad = true;
	*ret = (struct engine_version){ .known = (enum engine_known)known };
	ret->class = unpack_u8(u);
	ret->version = unpack_u64(u);
	ret->size = unpack_u64(u);
}

int
wire_pack_pos(struct buf *b, const struct engine_pos *p)
{
	uint8_t raw[ENGINE_POS_LEN];

	engine_pos_encode(p, raw);
	return buf_add(b, raw, sizeof(raw));
}

/* @n bytes as they are. */
static const void *
take(struct unpack *u, size_t n)
{
	const char *p = u->rest.p;

	if (u->is_bad || u->rest.len < n) {
		u->is_bad = true;
		return NULL;
	}
	u->rest = str_skip(u->rest, n);
	return p;
}

void
wire_unpack_pos(struct unpack *u, struct engine_pos *ret)
{
	const uint8_t *p = take(u, ENGINE_POS_LEN);

	memset(ret, 0, sizeof(*ret));
	if (p != NULL)
		engine_pos_decode(p, ret);
}

int
wire_pack_key(struct buf *b, const uint8_t key[ENGINE_KEY])
{
	return buf_add(b, key, ENGINE_KEY);
}

void
wire_unpack_key(struct unpack *u, uint8_t ret[ENGINE_KEY])
{
	const void *p = take(u, ENGINE_KEY);

	if (p != NULL)
		memcpy(ret, p, ENGINE_KEY);
	else
		memset(ret, 0, ENGINE_KEY);
}

int
wire_pack_code(struct buf *b, int code)
{
	return pack_str(b, code == 0 ? STR_NULL : str_of(err_name(code)));
}

int
wire_unpack_code(struct unpack *u)
{
	struct str name = unpack_str(u, 64);
	int code;

	if (name.len == 0)
		return u->is_bad ? ERR_INVALID : 0;
	for (code = -1; code > -(int)ERR_POSITIONS; code--) {
		if (str_eqz(name, err_name(code)))
			return code;
	}
	return ERR_FAILED;
}
