/* fdfs/proto.c - framing, the table of commands, status codes. */
#include "fdfs/proto.h"

#include "lib/bytes.h"

static const struct fdfs_command commands[] = {
#define X(text, num, server, fix, lim, shp)                                    \
	{ .number = (num),                                                     \
		.servers = FDFS_##server,                                      \
		.shape = FDFS_SHAPE_##shp,                                     \
		.fixed = (fix),                                                \
		.limit = (lim),                                                \
		.name = #text },
#include "fdfs/cmd_table.h"
#undef X
};

const struct fdfs_command *
fdfs_command(uint8_t number)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (commands[i].number == number)
			return &commands[i];
	}
	return NULL;
}

void
fdfs_header_put(uint8_t dst[FDFS_HEADER], const struct fdfs_header *h)
{
	MUST(h->len <= INT64_MAX);
	put_be64(dst, h->len);
	dst[8] = h->command;
	dst[9] = h->status;
}

int
fdfs_header_get(const uint8_t src[FDFS_HEADER], struct fdfs_header *ret,
    struct err *e)
{
	uint64_t len = get_be64(src);

	if (len > INT64_MAX)
		return err_set(e, ERR_INVALID, "negative body length");
	*ret = (struct fdfs_header){ len, src[8], src[9] };
	return 0;
}

int
fdfs_head_len(const struct fdfs_command *c, uint64_t len, const uint8_t *fixed,
    size_t *ret, struct err *e)
{
	uint64_t name;

	if (len < c->fixed || (c->shape == FDFS_SHAPE_ALL && len > c->limit))
		return err_set(e, ERR_INVALID, "%s: body of %ju bytes", c->name,
		    (uintmax_t)len);
	if (c->shape == FDFS_SHAPE_ALL) {
		*ret = (size_t)len;
		return 0;
	}
	if (c->shape == FDFS_SHAPE_CONTENT) {
		*ret = c->fixed;
		return 0;
	}
	name = get_be64(fixed);
	if (name < FDFS_NAME_MIN || name > c->limit - c->fixed ||
	    name > len - c->fixed)
		return err_set(e, ERR_INVALID, "%s: name of %jd bytes", c->name,
		    (intmax_t)name);
	*ret = c->fixed + (size_t)name;
	return 0;
}

/* The first of a status is the code that it stands for. */
static const struct {
	uint8_t status;
	int code;
} statuses[] = {
	{ FDFS_ENOENT, ERR_NOT_FOUND },
	{ FDFS_EIO, ERR_IO },
	{ FDFS_EAGAIN, ERR_RETRY },
	{ FDFS_EAGAIN, ERR_SLOW_DOWN },
	{ FDFS_EAGAIN, ERR_SERVICE_UNAVAILABLE },
	{ FDFS_EAGAIN, ERR_CLOSED },
	{ FDFS_ENOMEM, ERR_NO_MEMORY },
	{ FDFS_EACCES, ERR_ACCESS_DENIED },
	{ FDFS_EBUSY, ERR_BUSY },
	{ FDFS_EEXIST, ERR_EXISTS },
	{ FDFS_EINVAL, ERR_INVALID },
	{ FDFS_EINVAL, ERR_TOO_BIG },
	{ FDFS_EINVAL, ERR_INVALID_ARGUMENT },
	{ FDFS_EINVAL, ERR_END },
	{ FDFS_ENOSPC, ERR_NO_SPACE },
	{ FDFS_EOPNOTSUPP, ERR_NOT_IMPLEMENTED },
	{ FDFS_EALREADY, ERR_NOT_FOUND },
};

uint8_t
fdfs_status_of(int code)
{
	if (code == 0)
		return 0;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
		if (statuses[i].code == code)
			return statuses[i].status;
	}
	return FDFS_EIO;
}

int
fdfs_status_err(uint8_t status, struct err *e)
{
	int code = ERR_IO;

	if (status == 0)
		return 0;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
		if (statuses[i].status == status) {
			code = statuses[i].code;
			break;
		}
	}
	err_set(e, code, "the server answered status %u (%s)", status,
	    err_text(code));
	if (e != NULL)
		e->sys_errno = status;
	return code;
}

const char *
fdfs_state_name(uint8_t state)
{
	static const char *const names[] = { "INIT", "WAIT_SYNC", "SYNCING",
		"IP_CHANGED", "DELETED", "OFFLINE", "ONLINE", "ACTIVE", "?",
		"RECOVERY" };

	if (state == FDFS_STATE_NONE)
		return "NONE";
	return state < sizeof(names) / sizeof(*names) ? names[state] : "?";
}

bool
fdfs_addr_eq(const struct fdfs_addr *a, const struct fdfs_addr *b)
{
	return a->port == b->port && strcmp(a->ip, b->ip) == 0;
}

struct str
fdfs_field(const void *p, size_t width)
{
	const char *s = p;

	return width == 0 ? STR_LIT("") : str_mem(s, strnlen(s, width));
}

int
fdfs_add_field(struct buf *b, struct str s, size_t width)
{
	int rc = buf_reserve(b, width);

	if (s.len > width)
		return ERR_INVALID;
	if (rc < 0)
		return rc;
	if (s.len > 0)
		memcpy(b->p + b->len, s.p, s.len);
	memset(b->p + b->len + s.len, 0, width - s.len);
	b->len += width;
	return 0;
}

int
fdfs_add_u64(struct buf *b, uint64_t v)
{
	uint8_t raw[8];

	put_be64(raw, v);
	return buf_add(b, raw, sizeof(raw));
}

int
fdfs_add_u32(struct buf *b, uint32_t v)
{
	uint8_t raw[4];

	put_be32(raw, v);
	return buf_add(b, raw, sizeof(raw));
}
