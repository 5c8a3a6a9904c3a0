/* fdfs/ops.c - the commands as functions. */
#include "fdfs/ops.h"

#include "fdfs/meta.h"

#include "lib/mem.h"

enum {
	CHUNK = 128 * 1024,
	GROUPS_BODY = FDFS_MAX_GROUPS * FDFS_GROUP_RECORD,
	STORAGES_BODY = 64 * 1024 /* 32 of 517 bytes, with room */
};

static int
set_file(struct str group, struct str name, struct fdfs_file *ret)
{
	memcpy(ret->group, group.p, group.len);
	ret->group[group.len] = '\0';
	memcpy(ret->name, name.p, name.len);
	ret->name[name.len] = '\0';
	return 0;
}

int
fdfs_file_parse(struct str id, struct fdfs_file *ret, struct err *e)
{
	struct str group = str_split(&id, '/');

	if (!fdfs_group_is_valid(group) || id.p == NULL ||
	    !fdfs_name_is_valid(id))
		return err_set(e, ERR_INVALID, "not a file ID");
	return set_file(group, id, ret);
}

/* --- tracker --- */

static int
ask(struct fdfs_client *c, const struct fdfs_addr *tracker,
    const struct fdfs_tracker_req *r, size_t max, struct buf *b, struct err *e)
{
	struct buf head = BUF_CAP(512);
	int rc = fdfs_tracker_req_encode(r, &head, e);

	if (rc == 0)
		rc = fdfs_exchange(c, tracker, buf_str(&head), max, b, e);
	buf_fini(&head);
	return rc;
}

int
fdfs_ask_store(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct str group, bool all, struct fdfs_servers *ret, struct err *e)
{
	struct fdfs_tracker_req r = { .group = group };
	struct buf b = BUF_CAP(4096);
	int rc;

	if (group.len == 0)
		r.command = all ? FDFS_STORE_ALL : FDFS_STORE_ONE;
	else
		r.command = all ? FDFS_STORE_GROUP_ALL : FDFS_STORE_GROUP_ONE;
	rc = ask(c, tracker, &r, b.cap, &b, e);
	if (rc == 0)
		rc = fdfs_store_decode(buf_str(&b), ret, e);
	buf_fini(&b);
	return rc;
}

int
fdfs_ask_fetch(struct fdfs_client *c, const struct fdfs_addr *tracker,
    uint8_t command, struct str group, struct str name,
    struct fdfs_servers *ret, struct err *e)
{
	struct fdfs_tracker_req r = { .command = command,
		.group = group,
		.name = name };
	struct buf b = BUF_CAP(4096);
	int rc;

	MUST(command == FDFS_FETCH_ONE || command == FDFS_FETCH_UPDATE);
	rc = ask(c, tracker, &r, b.cap, &b, e);
	if (rc == 0)
		rc = fdfs_fetch_decode(buf_str(&b), FDFS_EXTRAS_NONE, ret, e);
	buf_fini(&b);
	return rc;
}

int
fdfs_ask_groups(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct fdfs_group *ret, size_t max, size_t *ret_n, struct err *e)
{
	struct fdfs_tracker_req r = { .command = FDFS_LIST_GROUPS };
	struct buf b = BUF_CAP(GROUPS_BODY);
	int rc = ask(c, tracker, &r, b.cap, &b, e);

	if (rc == 0)
		rc = fdfs_groups_decode(buf_str(&b), ret, max, ret_n, e);
	buf_fini(&b);
	return rc;
}

int
fdfs_ask_storages(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct str group, struct str id, struct fdfs_storage *ret, size_t max,
    size_t *ret_n, struct err *e)
{
	struct fdfs_tracker_req r = { .command = FDFS_LIST_STORAGES,
		.group = group,
		.id = id };
	struct buf b = BUF_CAP(STORAGES_BODY);
	int rc = ask(c, tracker, &r, b.cap, &b, e);

	if (rc == 0)
		rc = fdfs_storages_decode(buf_str(&b), ret, max, ret_n, e);
	buf_fini(&b);
	return rc;
}

int
fdfs_ask_parameters(struct fdfs_client *c, const struct fdfs_addr *tracker,
    struct buf *b, struct err *e)
{
	struct fdfs_tracker_req r = { .command = FDFS_PARAMETERS };

	return ask(c, tracker, &r, FDFS_PARAMETERS_MAX, b, e);
}

/* --- storage --- */

/* The cap of the buffer that holds @r's head. */
static size_t
head_cap(const struct fdfs_storage_req *r)
{
	return r->command == FDFS_SET_META ? FDFS_HEADER + FDFS_META_PACKET
	                                   : 1024;
}

static int
ask_storage(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, size_t max, struct buf *b, struct err *e)
{
	struct buf head = BUF_CAP(head_cap(r));
	int rc = fdfs_storage_req_encode(r, &head, e);

	if (rc == 0)
		rc = fdfs_exchange(c, storage, buf_str(&head), max, b, e);
	buf_fini(&head);
	return rc;
}

int
fdfs_do(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, struct err *e)
{
	return ask_storage(c, storage, r, 0, NULL, e);
}

static int
decode_file(struct str body, struct fdfs_file *ret, struct err *e)
{
	struct str group, name;
	int rc = fdfs_file_answer_decode(body, &group, &name, e);

	return rc < 0 ? rc : set_file(group, name, ret);
}

int
fdfs_do_file(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, struct fdfs_file *ret, struct err *e)
{
	struct buf b = BUF_CAP(256);
	int rc = ask_storage(c, storage, r, b.cap, &b, e);

	if (rc == 0)
		rc = decode_file(buf_str(&b), ret, e);
	buf_fini(&b);
	return rc;
}

int
fdfs_get_meta(struct fdfs_client *c, const struct fdfs_addr *storage,
    struct str group, struct str name, struct buf *b, struct err *e)
{
	struct fdfs_storage_req r = { .command = FDFS_GET_META,
		.group = group,
		.name = name };

	return ask_storage(c, storage, &r, FDFS_META_PACKET, b, e);
}

int
fdfs_file_info(struct fdfs_client *c, const struct fdfs_addr *storage,
    struct str group, struct str name, uint8_t flags, struct fdfs_info *ret,
    struct err *e)
{
	struct fdfs_storage_req r = { .command = FDFS_FILE_INFO,
		.flags = flags,
		.group = group,
		.name = name };
	struct buf b = BUF_CAP(256);
	int rc = ask_storage(c, storage, &r, b.cap, &b, e);

	if (rc == 0)
		rc = fdfs_info_decode(buf_str(&b), ret, e);
	buf_fini(&b);
	return rc;
}

int
fdfs_active_test(struct fdfs_client *c, const struct fdfs_addr *to,
    struct err *e)
{
	static const struct fdfs_header h = { 0, FDFS_ACTIVE_TEST, 0 };
	uint8_t raw[FDFS_HEADER];

	fdfs_header_put(raw, &h);
	return fdfs_exchange(c, to, str_mem(raw, sizeof(raw)), 0, NULL, e);
}

/* All of the content from @source. */
static int
pump(struct fdfs_call *call, uint64_t size, fdfs_source *source, void *arg,
    struct err *e)
{
	char *chunk;
	size_t n;
	int rc = 0;

	if (size == 0)
		return 0;
	chunk = mem_alloc(size < CHUNK ? (size_t)size : CHUNK);
	if (chunk == NULL)
		return err_set(e, ERR_NO_MEMORY, "upload");
	while (size > 0) {
		rc = source(arg, chunk, size < CHUNK ? (size_t)size : CHUNK, &n,
		    e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_END, "less content than announced");
		if (rc == 0)
			rc = fdfs_call_write(call, chunk, n, e);
		if (rc < 0)
			break;
		size -= n;
	}
	mem_free(&chunk);
	return rc;
}

int
fdfs_send(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, fdfs_source *source, void *arg,
    struct fdfs_file *ret, struct err *e)
{
	const struct fdfs_command *cmd = fdfs_command(r->command);
	struct buf head = BUF_CAP(1024);
	struct fdfs_call *call = NULL;
	char body[256];
	size_t have = 0, n;
	uint64_t len;
	int rc;

	MUST(cmd != NULL && cmd->shape != FDFS_SHAPE_ALL);
	rc = fdfs_storage_req_encode(r, &head, e);
	if (rc == 0)
		rc = fdfs_call_open(c, storage, buf_str(&head), &call, e);
	buf_fini(&head);
	if (rc == 0)
		rc = pump(call, r->size, source, arg, e);
	if (rc == 0)
		rc = fdfs_call_answer(call, ret == NULL ? 0 : sizeof(body),
		    &len, e);
	while (rc == 0 && have < len) {
		rc = fdfs_call_read(call, body + have, sizeof(body) - have, &n,
		    e);
		if (rc == 0)
			have += n;
	}
	fdfs_call_close(&call);
	if (rc == 0 && ret != NULL)
		rc = decode_file(str_mem(body, have), ret, e);
	return rc;
}

/* All of the answer into @sink. */
static int
pour(struct fdfs_call *call, uint64_t len, fdfs_sink *sink, void *arg,
    uint64_t *ret_len, struct err *e)
{
	char *chunk = mem_alloc(CHUNK);
	size_t n;
	int rc = 0;

	if (chunk == NULL)
		return err_set(e, ERR_NO_MEMORY, "download");
	while (rc == 0 && *ret_len < len) {
		rc = fdfs_call_read(call, chunk, CHUNK, &n, e);
		if (rc == 0)
			rc = sink(arg, chunk, n, e);
		if (rc == 0)
			*ret_len += n;
	}
	mem_free(&chunk);
	return rc;
}

int
fdfs_download(struct fdfs_client *c, const struct fdfs_addr *storage,
    const struct fdfs_storage_req *r, fdfs_sink *sink, void *arg,
    uint64_t *ret_len, struct err *e)
{
	struct buf head = BUF_CAP(1024);
	struct fdfs_call *call = NULL;
	uint64_t len;
	int rc;

	MUST(r->command == FDFS_DOWNLOAD);
	*ret_len = 0;
	rc = fdfs_storage_req_encode(r, &head, e);
	if (rc == 0)
		rc = fdfs_call_open(c, storage, buf_str(&head), &call, e);
	buf_fini(&head);
	/* No server may send more than was asked for. */
	if (rc == 0)
		rc = fdfs_call_answer(call,
		    r->bytes == FDFS_TO_THE_END ? INT64_MAX : r->bytes, &len,
		    e);
	if (rc == 0 && len > 0)
		rc = pour(call, len, sink, arg, ret_len, e);
	fdfs_call_close(&call);
	return rc;
}
