/* FastDFS requests and answers. Input: one byte that chooses the decoder,
 * then what a peer sends. What decodes must encode to what decodes to the same.
 * LINK: creel_fdfs */
#include "fdfs/meta.h"
#include "fdfs/storage_codec.h"
#include "fdfs/tracker_codec.h"

#include "lib/mem.h"

/* A request, as a server takes it. */
static void
request(const uint8_t *data, size_t size)
{
	struct fdfs_tracker_req t, t2;
	struct fdfs_storage_req s, s2;
	const struct fdfs_command *c;
	struct buf b = BUF_CAP(1 << 20);
	struct fdfs_header h;
	struct str head;
	struct err e;
	size_t len;
	bool storage;

	if (size < FDFS_HEADER || fdfs_header_get(data, &h, &e) < 0)
		return;
	c = fdfs_command(h.command);
	data += FDFS_HEADER;
	size -= FDFS_HEADER;
	if (c == NULL || size < c->fixed ||
	    fdfs_head_len(c, h.len, data, &len, &e) < 0 || size < len)
		return;
	MUST(len <= c->limit && len <= h.len);
	head = str_mem(data, len);
	storage = c->servers == FDFS_STORAGE;
	if (storage) {
		if (fdfs_storage_req_decode(&h, head, &s, &e) < 0)
			return;
		MUST(s.name.len == 0 || fdfs_name_is_valid(s.name));
		MUST(fdfs_storage_req_encode(&s, &b, &e) == 0);
	} else {
		if (fdfs_tracker_req_decode(&h, head, &t, &e) < 0)
			return;
		MUST(fdfs_tracker_req_encode(&t, &b, &e) == 0);
	}
	/* Padding may differ, the meaning not. */
	MUST(fdfs_header_get((const uint8_t *)b.p, &h, &e) == 0);
	head = str_skip(buf_str(&b), FDFS_HEADER);
	if (storage) {
		MUST(fdfs_storage_req_decode(&h, head, &s2, &e) == 0);
		MUST(s2.size == s.size && s2.offset == s.offset &&
		     s2.bytes == s.bytes && str_eq(s2.name, s.name) &&
		     str_eq(s2.ext, s.ext) && str_eq(s2.group, s.group) &&
		     str_eq(s2.meta, s.meta) && str_eq(s2.prefix, s.prefix));
	} else {
		MUST(fdfs_tracker_req_decode(&h, head, &t2, &e) == 0);
		MUST(str_eq(t2.name, t.name) && str_eq(t2.id, t.id) &&
		     str_eq(t2.group, t.group) && str_eq(t2.addr, t.addr));
	}
	buf_fini(&b);
}

static void
servers(struct str body, enum fdfs_extras extras)
{
	struct buf b = BUF_CAP(1 << 20);
	struct fdfs_servers s, s2;
	struct err e;

	if (fdfs_store_decode(body, &s, &e) == 0) {
		MUST(s.n >= 1 && s.n <= FDFS_MAX_SERVERS);
		if (fdfs_store_encode(&s, FDFS_WIDE, &b, &e) == 0)
			MUST(fdfs_store_decode(buf_str(&b), &s2, &e) == 0 &&
			     s2.n == s.n);
	}
	buf_reset(&b);
	if (fdfs_fetch_decode(body, extras, &s, &e) == 0)
		MUST(s.n >= 1 && s.n <= FDFS_MAX_SERVERS);
	buf_fini(&b);
}

static void
lists(struct str body)
{
	static struct fdfs_storage storages[8];
	static struct fdfs_volume volumes[8];
	static struct fdfs_group groups[8];
	static struct fdfs_node nodes[8];
	struct buf b = BUF_CAP(1 << 20);
	bool x, y;
	size_t n;

	if (fdfs_groups_decode(body, groups, 8, &n, NULL) == 0) {
		for (size_t i = 0; i < n; i++)
			MUST(fdfs_group_encode(&groups[i], &b, NULL) == 0);
	}
	if (fdfs_storages_decode(body, storages, 8, &n, NULL) == 0) {
		for (size_t i = 0; i < n; i++)
			MUST(fdfs_storage_encode(&storages[i], FDFS_WIDE, &b,
				 NULL) == 0);
	}
	if (fdfs_tracker_stat_decode(body, nodes, 8, &n, NULL) == 0)
		MUST(fdfs_tracker_stat_encode(nodes, n, &b, NULL) == 0);
	if (fdfs_storage_stat_decode(body, nodes, 8, &n, &x, &y, NULL) == 0)
		MUST(fdfs_storage_stat_encode(nodes, n, x, y, &b, NULL) == 0);
	if (fdfs_volume_stat_decode(body, volumes, 8, &n, &x, NULL) == 0)
		MUST(fdfs_volume_stat_encode(volumes, n, x, &b, NULL) == 0);
	buf_fini(&b);
}

static void
small(struct str body)
{
	char text[FDFS_HOST_LEN + 1];
	struct buf b = BUF_CAP(1 << 20);
	struct fdfs_tracker_status status;
	struct fdfs_brief brief;
	struct fdfs_info info;
	struct fdfs_addr addr;
	struct str s, t;
	uint32_t n, m;

	fdfs_file_answer_decode(body, &s, &t, NULL);
	if (fdfs_info_decode(body, &info, NULL) == 0)
		MUST(fdfs_info_encode(&info, FDFS_WIDE, &b, NULL) == 0);
	if (fdfs_addr_parse(body, &addr, NULL) == 0)
		MUST(fdfs_addr_text(&addr, text) <= FDFS_HOST_LEN);
	fdfs_tracker_status_decode(body, &status, NULL);
	if (fdfs_brief_decode(body, &brief, NULL) == 0)
		MUST(fdfs_brief_encode(&brief, &b, NULL) == 0);
	fdfs_ids_decode(body, &m, &n, &s, NULL);
	fdfs_id_answer_decode(body, &s, NULL);
	fdfs_param_get(body, "use_storage_id");
	buf_fini(&b);
}

static void
meta(struct str body)
{
	struct buf b = BUF_CAP(1 << 20), again = BUF_CAP(1 << 20);
	struct str old = str_split(&body, '\0');

	if (fdfs_meta_set(old, body, 'M', &b, NULL) == 0) {
		/* Once in order, always the same. */
		MUST(fdfs_meta_set(buf_str(&b), STR_LIT(""), 'M', &again,
			 NULL) == 0);
		MUST(str_eq(buf_str(&b), buf_str(&again)));
	}
	buf_fini(&b);
	buf_fini(&again);
}

static void
names(struct str body)
{
	char dst[FDFS_REMOTE_MAX + 1];
	struct str master = str_split(&body, '\0'),
		   prefix = str_split(&body, '\0');
	enum fdfs_kind kind;
	size_t n;

	if (fdfs_name_kind(master, &kind))
		MUST(fdfs_name_is_valid(master));
	if (fdfs_slave_name(master, prefix, body, dst, &n, NULL) == 0)
		MUST(fdfs_name_is_valid(str_mem(dst, n)));
	fdfs_token_check(master, prefix, body, prefix, 1, 2, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body;

	if (size < 1)
		return 0;
	body = str_mem(data + 1, size - 1);
	switch (data[0] % 8) {
	case 0:
		request(data + 1, size - 1);
		break;
	case 1:
	case 2:
	case 3:
		servers(body, (enum fdfs_extras)(data[0] % 8 - 1));
		break;
	case 4:
		lists(body);
		break;
	case 5:
		small(body);
		break;
	case 6:
		meta(body);
		break;
	default:
		names(body);
		break;
	}
	return 0;
}
