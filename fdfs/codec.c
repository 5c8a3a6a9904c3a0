/* fdfs/codec.c - what the codecs share (fdfs/codec_impl.h). */
#include "fdfs/codec_impl.h"

struct str
fdfs_take(struct fdfs_reader *r, size_t n)
{
	struct str s;

	if (n > r->left) {
		r->bad = true;
		r->left = 0;
		return STR_LIT("");
	}
	s = str_mem(r->p, n);
	r->p += n;
	r->left -= n;
	return s;
}

struct str
fdfs_take_all(struct fdfs_reader *r)
{
	return fdfs_take(r, r->left);
}

struct str
fdfs_take_field(struct fdfs_reader *r, size_t width)
{
	struct str s = fdfs_take(r, width);

	return fdfs_field(s.p, s.len);
}

uint8_t
fdfs_take_u8(struct fdfs_reader *r)
{
	struct str s = fdfs_take(r, 1);

	return r->bad ? 0 : (uint8_t)s.p[0];
}

uint32_t
fdfs_take_u32(struct fdfs_reader *r)
{
	struct str s = fdfs_take(r, 4);

	return r->bad ? 0 : get_be32(s.p);
}

uint64_t
fdfs_take_u64(struct fdfs_reader *r)
{
	struct str s = fdfs_take(r, 8);

	return r->bad ? 0 : get_be64(s.p);
}

uint64_t
fdfs_take_len(struct fdfs_reader *r)
{
	uint64_t v = fdfs_take_u64(r);

	if (v <= INT64_MAX)
		return v;
	r->bad = true;
	return 0;
}

bool
fdfs_ip_is_valid(struct str ip)
{
	for (size_t i = 0; i < ip.len; i++) {
		char c = ip.p[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'z') &&
		    (c < 'A' || c > 'Z') && c != '.' && c != ':' && c != '%' &&
		    c != '-' && c != '_')
			return false;
	}
	return ip.len <= FDFS_IP_MAX;
}

void
fdfs_take_ip(struct fdfs_reader *r, size_t width, char dst[FDFS_IP_MAX + 1])
{
	struct str s = fdfs_take_field(r, width);

	dst[0] = '\0';
	if (!fdfs_ip_is_valid(s)) {
		r->bad = true;
		return;
	}
	memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
}

uint16_t
fdfs_take_port(struct fdfs_reader *r)
{
	uint64_t v = fdfs_take_u64(r);

	if (v <= UINT16_MAX)
		return (uint16_t)v;
	r->bad = true;
	return 0;
}

int
fdfs_req_begin(struct buf *b, uint8_t command, uint8_t status, size_t *ret_at)
{
	struct fdfs_header h = { 0, command, status };
	int rc = buf_reserve(b, FDFS_HEADER);

	if (rc < 0)
		return rc;
	*ret_at = b->len;
	fdfs_header_put((uint8_t *)b->p + b->len, &h);
	b->len += FDFS_HEADER;
	return 0;
}

int
fdfs_req_end(struct buf *b, size_t at, uint64_t content)
{
	uint64_t head = b->len - at - FDFS_HEADER;

	if (content > (uint64_t)INT64_MAX - head)
		return ERR_INVALID;
	put_be64(b->p + at, head + content);
	return 0;
}
