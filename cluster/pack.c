/* cluster/pack.c - see cluster/pack.h. */
#include "cluster/pack.h"

#include "lib/bytes.h"
#include "lib/hash.h"

int
pack_u8(struct buf *b, uint8_t v)
{
	return buf_add(b, &v, 1);
}

int
pack_u32(struct buf *b, uint32_t v)
{
	uint8_t raw[4];

	put_le32(raw, v);
	return buf_add(b, raw, sizeof(raw));
}

int
pack_u64(struct buf *b, uint64_t v)
{
	uint8_t raw[8];

	put_le64(raw, v);
	return buf_add(b, raw, sizeof(raw));
}

int
pack_id(struct buf *b, const struct id128 *v)
{
	return buf_add(b, v->b, sizeof(v->b));
}

int
pack_str(struct buf *b, struct str s)
{
	int rc;

	if (s.len > UINT32_MAX)
		return ERR_TOO_BIG;
	rc = buf_reserve(b, 4 + s.len);
	if (rc < 0)
		return rc;
	pack_u32(b, (uint32_t)s.len);
	return buf_adds(b, s);
}

/* The next @n bytes, or NULL and bad. */
static const uint8_t *
take(struct unpack *u, size_t n)
{
	const char *p = u->rest.p;

	if (u->is_bad || u->rest.len < n) {
		u->is_bad = true;
		return NULL;
	}
	u->rest = str_skip(u->rest, n);
	return (const uint8_t *)p;
}

uint8_t
unpack_u8(struct unpack *u)
{
	const uint8_t *p = take(u, 1);

	return p == NULL ? 0 : *p;
}

uint32_t
unpack_u32(struct unpack *u)
{
	const uint8_t *p = take(u, 4);

	return p == NULL ? 0 : get_le32(p);
}

uint64_t
unpack_u64(struct unpack *u)
{
	const uint8_t *p = take(u, 8);

	return p == NULL ? 0 : get_le64(p);
}

struct id128
unpack_id(struct unpack *u)
{
	struct id128 id = { { 0 } };
	const uint8_t *p = take(u, sizeof(id.b));

	if (p != NULL)
		memcpy(id.b, p, sizeof(id.b));
	return id;
}

struct str
unpack_str(struct unpack *u, size_t max)
{
	uint32_t len = unpack_u32(u);
	const uint8_t *p;

	if (len > max)
		u->is_bad = true;
	p = take(u, len);
	return p == NULL ? STR_NULL : str_mem(p, len);
}

int
unpack_end(const struct unpack *u, struct err *e)
{
	return u->is_bad ? err_set(e, ERR_INVALID, "message is cut short") : 0;
}

/* --- checksums --- */

static uint32_t
seal_of(struct str args, const void *body, size_t len)
{
	return hash_crc32c(hash_crc32c(0, args.p, args.len), body, len);
}

int
pack_seal(struct buf *args, struct str body)
{
	return pack_u32(args, seal_of(buf_str(args), body.p, body.len));
}

int
pack_seal_sum(struct buf *args, uint32_t crc32c, size_t len)
{
	return pack_u32(args,
	    hash_crc32c_combine(hash_crc32c(0, args->p, args->len), crc32c,
		len));
}

int
unpack_seal(struct str *args, const void *body, size_t len, struct err *e)
{
	struct unpack u;
	struct str head;

	if (args->len >= 4) {
		head = str_sub(*args, 0, args->len - 4);
		u = unpack_of(str_skip(*args, head.len));
		if (unpack_u32(&u) == seal_of(head, body, len)) {
			*args = head;
			return 0;
		}
	}
	return err_set(e, ERR_CORRUPT, "an answer was changed on its way");
}
