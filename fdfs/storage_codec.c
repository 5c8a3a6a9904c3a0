/* fdfs/storage_codec.c - requests and answers of a storage server.
 * The layouts are those of docs/FASTDFS.md, in one place for each direction:
 * encode_head() and decode_head() list the same fields in the same order. */
#include "fdfs/storage_codec.h"

#include "fdfs/codec_impl.h"

/* The group of the commands that have one. */
static bool
has_group(uint8_t command)
{
	switch (command) {
	case FDFS_DELETE:
	case FDFS_DOWNLOAD:
	case FDFS_SET_META:
	case FDFS_GET_META:
	case FDFS_FILE_INFO:
	case FDFS_CREATE_LINK:
		return true;
	default:
		return false;
	}
}

static bool
has_name(uint8_t command)
{
	return command != FDFS_UPLOAD && command != FDFS_UPLOAD_APPENDER;
}

/* How much content follows the head. */
static uint64_t
content_len(const struct fdfs_storage_req *r)
{
	const struct fdfs_command *c = fdfs_command(r->command);

	return c->shape == FDFS_SHAPE_ALL ? 0 : r->size;
}

/* The rules that hold in both directions. */
static int
check(const struct fdfs_storage_req *r, struct err *e)
{
	if (has_group(r->command) && !fdfs_group_is_valid(r->group))
		return err_set(e, ERR_INVALID, "invalid group");
	if (has_name(r->command) && !fdfs_name_is_valid(r->name))
		return err_set(e, ERR_INVALID, "invalid file name");
	if (!fdfs_ext_is_valid(r->ext))
		return err_set(e, ERR_INVALID, "invalid extension");
	if (r->size > INT64_MAX || r->offset > INT64_MAX ||
	    r->bytes > INT64_MAX || r->size > INT64_MAX - r->offset)
		return err_set(e, ERR_INVALID, "size or offset too large");
	switch (r->command) {
	case FDFS_UPLOAD:
	case FDFS_UPLOAD_APPENDER:
		if (r->path > INT8_MAX && r->path != FDFS_ANY_PATH)
			return err_set(e, ERR_INVALID, "invalid store path");
		return 0;
	case FDFS_UPLOAD_SLAVE:
		if (!fdfs_prefix_is_valid(r->prefix))
			return err_set(e, ERR_INVALID, "invalid prefix");
		return 0;
	case FDFS_SET_META:
		if (r->meta_flag != 'O' && r->meta_flag != 'M')
			return err_set(e, ERR_INVALID, "neither O nor M");
		if (33 + r->name.len + r->meta.len > FDFS_META_PACKET)
			return err_set(e, ERR_INVALID, "too much metadata");
		return 0;
	case FDFS_CREATE_LINK:
		/* Its prefix may be empty: a link need be no slave. */
		if (r->prefix.len > 0 && !fdfs_prefix_is_valid(r->prefix))
			return err_set(e, ERR_INVALID, "invalid prefix");
		if (!fdfs_name_is_valid(r->source) ||
		    r->signature.len > FDFS_LINK_TEXT ||
		    r->name.len + r->source.len + r->signature.len >
			FDFS_LINK_TEXT)
			return err_set(e, ERR_INVALID, "invalid link");
		return 0;
	default:
		return 0;
	}
}

static int
encode_head(const struct fdfs_storage_req *r, struct buf *b)
{
	int bad = 0;

	switch (r->command) {
	case FDFS_UPLOAD:
	case FDFS_UPLOAD_APPENDER:
		bad |= buf_addc(b, (char)r->path);
		bad |= fdfs_add_u64(b, r->size);
		bad |= fdfs_add_field(b, r->ext, FDFS_EXT_MAX);
		return bad;
	case FDFS_UPLOAD_SLAVE:
		bad |= fdfs_add_u64(b, r->name.len);
		bad |= fdfs_add_u64(b, r->size);
		bad |= fdfs_add_field(b, r->prefix, FDFS_PREFIX_MAX);
		bad |= fdfs_add_field(b, r->ext, FDFS_EXT_MAX);
		break;
	case FDFS_MODIFY:
		bad |= fdfs_add_u64(b, r->name.len);
		bad |= fdfs_add_u64(b, r->offset);
		bad |= fdfs_add_u64(b, r->size);
		break;
	case FDFS_APPEND:
	case FDFS_TRUNCATE:
		bad |= fdfs_add_u64(b, r->name.len);
		bad |= fdfs_add_u64(b, r->size);
		break;
	case FDFS_DOWNLOAD:
		bad |= fdfs_add_u64(b, r->offset);
		bad |= fdfs_add_u64(b, r->bytes);
		break;
	case FDFS_SET_META:
		bad |= fdfs_add_u64(b, r->name.len);
		bad |= fdfs_add_u64(b, r->meta.len);
		bad |= buf_addc(b, r->meta_flag);
		break;
	case FDFS_CREATE_LINK:
		bad |= fdfs_add_u64(b, r->name.len);
		bad |= fdfs_add_u64(b, r->source.len);
		bad |= fdfs_add_u64(b, r->signature.len);
		bad |= fdfs_add_field(b, r->group, FDFS_GROUP_LEN);
		bad |= fdfs_add_field(b, r->prefix, FDFS_PREFIX_MAX);
		bad |= fdfs_add_field(b, r->ext, FDFS_EXT_MAX);
		bad |= buf_adds(b, r->name);
		bad |= buf_adds(b, r->source);
		bad |= buf_adds(b, r->signature);
		return bad;
	default:
		break;
	}
	if (has_group(r->command))
		bad |= fdfs_add_field(b, r->group, FDFS_GROUP_LEN);
	bad |= buf_adds(b, r->name);
	bad |= buf_adds(b, r->meta);
	return bad;
}

int
fdfs_storage_req_encode(const struct fdfs_storage_req *r, struct buf *b,
    struct err *e)
{
	const struct fdfs_command *c = fdfs_command(r->command);
	size_t at, old = b->len;
	int rc;

	if (c == NULL || c->servers != FDFS_STORAGE)
		return err_set(e, ERR_NOT_IMPLEMENTED, "not a storage command");
	if (r->command != FDFS_SET_META && r->meta.len > 0)
		return err_set(e, ERR_INVALID, "metadata in %s", c->name);
	rc = check(r, e);
	if (rc < 0)
		return rc;
	rc = buf_reserve(b, FDFS_HEADER + c->fixed + r->name.len + r->meta.len +
				r->source.len + r->signature.len);
	if (rc < 0)
		return err_set(e, rc, "request");
	if (fdfs_req_begin(b, r->command, r->flags, &at) < 0 ||
	    encode_head(r, b) != 0 || fdfs_req_end(b, at, content_len(r)) < 0) {
		b->len = old;
		return err_set(e, ERR_INVALID, "%s: invalid field", c->name);
	}
	return 0;
}

static void
decode_link(struct fdfs_reader *in, struct fdfs_storage_req *r)
{
	uint64_t name = fdfs_take_len(in), source = fdfs_take_len(in),
		 signature = fdfs_take_len(in);

	r->group = fdfs_take_field(in, FDFS_GROUP_LEN);
	r->prefix = fdfs_take_field(in, FDFS_PREFIX_MAX);
	r->ext = fdfs_take_field(in, FDFS_EXT_MAX);
	if (name > FDFS_LINK_TEXT || source > FDFS_LINK_TEXT ||
	    signature > FDFS_LINK_TEXT) {
		in->bad = true;
		return;
	}
	r->name = fdfs_take(in, (size_t)name);
	r->source = fdfs_take(in, (size_t)source);
	r->signature = fdfs_take(in, (size_t)signature);
}

static void
decode_set_meta(struct fdfs_reader *in, struct fdfs_storage_req *r)
{
	uint64_t name = fdfs_take_len(in), meta = fdfs_take_len(in);

	r->meta_flag = (char)fdfs_take_u8(in);
	r->group = fdfs_take_field(in, FDFS_GROUP_LEN);
	if (name > FDFS_REMOTE_MAX || meta > FDFS_META_PACKET) {
		in->bad = true;
		return;
	}
	r->name = fdfs_take(in, (size_t)name);
	r->meta = fdfs_take(in, (size_t)meta);
}

static void
decode_head(struct fdfs_reader *in, struct fdfs_storage_req *r)
{
	uint64_t name;

	switch (r->command) {
	case FDFS_UPLOAD:
	case FDFS_UPLOAD_APPENDER:
		r->path = fdfs_take_u8(in);
		r->size = fdfs_take_len(in);
		r->ext = fdfs_take_field(in, FDFS_EXT_MAX);
		return;
	case FDFS_CREATE_LINK:
		decode_link(in, r);
		return;
	case FDFS_SET_META:
		decode_set_meta(in, r);
		return;
	case FDFS_UPLOAD_SLAVE:
	case FDFS_APPEND:
	case FDFS_MODIFY:
	case FDFS_TRUNCATE:
		name = fdfs_take_len(in);
		if (r->command == FDFS_MODIFY)
			r->offset = fdfs_take_len(in);
		r->size = fdfs_take_len(in);
		if (r->command == FDFS_UPLOAD_SLAVE) {
			r->prefix = fdfs_take_field(in, FDFS_PREFIX_MAX);
			r->ext = fdfs_take_field(in, FDFS_EXT_MAX);
		}
		r->name = fdfs_take_all(in);
		if (r->name.len != name)
			in->bad = true;
		return;
	case FDFS_DOWNLOAD:
		r->offset = fdfs_take_len(in);
		r->bytes = fdfs_take_len(in);
		break;
	default:
		break;
	}
	if (has_group(r->command))
		r->group = fdfs_take_field(in, FDFS_GROUP_LEN);
	r->name = fdfs_take_all(in);
}

int
fdfs_storage_req_decode(const struct fdfs_header *h, struct str head,
    struct fdfs_storage_req *ret, struct err *e)
{
	const struct fdfs_command *c = fdfs_command(h->command);
	struct fdfs_storage_req r = { .command = h->command };
	struct fdfs_reader in = fdfs_reader(head);
	int rc;

	if (c == NULL || c->servers != FDFS_STORAGE)
		return err_set(e, ERR_NOT_IMPLEMENTED, "not a storage command");
	if (head.len < c->fixed || head.len > c->limit || head.len > h->len)
		return err_set(e, ERR_INVALID, "%s: malformed", c->name);
	if (h->command == FDFS_FILE_INFO)
		r.flags = h->status;
	decode_head(&in, &r);
	if (in.bad || in.left > 0 || content_len(&r) != h->len - head.len)
		return err_set(e, ERR_INVALID, "%s: malformed", c->name);
	rc = check(&r, e);
	if (rc == 0)
		*ret = r;
	return rc;
}

int
fdfs_file_answer_encode(struct str group, struct str name, struct buf *b,
    struct err *e)
{
	int rc;

	if (!fdfs_group_is_valid(group) || !fdfs_name_is_valid(name))
		return err_set(e, ERR_INVALID, "answer: invalid file ID");
	rc = buf_reserve(b, FDFS_GROUP_LEN + name.len);
	if (rc < 0)
		return err_set(e, rc, "answer");
	fdfs_add_field(b, group, FDFS_GROUP_LEN);
	buf_adds(b, name);
	return 0;
}

int
fdfs_file_answer_decode(struct str body, struct str *ret_group,
    struct str *ret_name, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	struct str group = fdfs_take_field(&in, FDFS_GROUP_LEN),
		   name = fdfs_take_all(&in);

	if (in.bad || !fdfs_group_is_valid(group) || !fdfs_name_is_valid(name))
		return err_set(e, ERR_INVALID, "answer: invalid file ID");
	*ret_group = group;
	*ret_name = name;
	return 0;
}

int
fdfs_info_encode(const struct fdfs_info *info, enum fdfs_form form,
    struct buf *b, struct err *e)
{
	struct str ip = str_of(info->ip);
	size_t width = fdfs_ip_width(form);
	int rc;

	/* An address that the narrow form cannot hold is "unknown". */
	if (ip.len > width)
		ip = STR_LIT("");
	rc = buf_reserve(b, 24 + width);
	if (rc < 0)
		return err_set(e, rc, "answer");
	fdfs_add_u64(b, info->size);
	fdfs_add_u64(b, info->time);
	/* The C server widens a signed int; clients expect just that. */
	fdfs_add_u64(b, (uint64_t)(int64_t)(int32_t)info->crc32);
	fdfs_add_field(b, ip, width);
	return 0;
}

int
fdfs_info_decode(struct str body, struct fdfs_info *ret, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	struct fdfs_info info;

	if (body.len != 40 && body.len != 70)
		return err_set(e, ERR_INVALID, "file info of %zu bytes",
		    body.len);
	info.size = fdfs_take_len(&in);
	info.time = fdfs_take_len(&in);
	info.crc32 = (uint32_t)fdfs_take_u64(&in); /* sign-extended or not */
	fdfs_take_ip(&in, body.len - 24, info.ip);
	if (in.bad)
		return err_set(e, ERR_INVALID, "file info: malformed");
	*ret = info;
	return 0;
}
