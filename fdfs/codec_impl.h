/* fdfs/codec_impl.h - what the codecs share. */
#ifndef FDFS_CODEC_IMPL_H
#define FDFS_CODEC_IMPL_H

#include "fdfs/proto.h"

#include "lib/bytes.h"

/* A cursor over bytes whose length was checked once; a read past the end is
 * remembered in `bad` and gives zeros. */
struct fdfs_reader {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static inline struct fdfs_reader
fdfs_reader(struct str s)
{
	return (struct fdfs_reader){ (const uint8_t *)s.p, s.len, false };
}

/* The next @n bytes. */
struct str fdfs_take(struct fdfs_reader *r, size_t n);
struct str fdfs_take_all(struct fdfs_reader *r);
/* A NUL padded field of @width. */
struct str fdfs_take_field(struct fdfs_reader *r, size_t width);
uint8_t fdfs_take_u8(struct fdfs_reader *r);
uint32_t fdfs_take_u32(struct fdfs_reader *r);
/* Any 64 bits. */
uint64_t fdfs_take_u64(struct fdfs_reader *r);
/* A length or an offset: negative is bad. */
uint64_t fdfs_take_len(struct fdfs_reader *r);
/* An address field of @width into @dst; bad when it does not fit or holds
 * other characters than addresses do. */
void fdfs_take_ip(struct fdfs_reader *r, size_t width,
    char dst[FDFS_IP_MAX + 1]);
/* 8 bytes, at most 65535. */
uint16_t fdfs_take_port(struct fdfs_reader *r);
bool fdfs_ip_is_valid(struct str ip);

/* The header of a request whose body is what will follow it in @b and
 * @content bytes more; fdfs_req_end() completes it. */
int fdfs_req_begin(struct buf *b, uint8_t command, uint8_t status,
    size_t *ret_at);
int fdfs_req_end(struct buf *b, size_t at, uint64_t content);

#endif
