/* fdfs/tracker_codec.c - requests of a tracker, and its shorter answers.
 * The records of lists are in fdfs/tracker_records.c. */
#include "fdfs/tracker_codec.h"

#include "fdfs/codec_impl.h"

#include <stdio.h>

/* What a command's body begins with. */
static bool
has_group(uint8_t command)
{
	switch (command) {
	case FDFS_STORE_GROUP_ONE:
	case FDFS_STORE_GROUP_ALL:
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
	case FDFS_LIST_GROUP:
	case FDFS_LIST_STORAGES:
	case FDFS_DELETE_STORAGE:
	case FDFS_SET_TRUNK:
	case FDFS_DELETE_GROUP:
	case FDFS_SERVER_ID:
	case FDFS_SERVER_STATUS:
		return true;
	default:
		return false;
	}
}

/* What follows the group, to the end of the body. */
static struct str *
tail_of(struct fdfs_tracker_req *r)
{
	switch (r->command) {
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
		return &r->name;
	case FDFS_LIST_STORAGES:
	case FDFS_DELETE_STORAGE:
	case FDFS_SET_TRUNK:
		return &r->id;
	case FDFS_SERVER_ID:
	case FDFS_SERVER_STATUS:
		return &r->addr;
	default:
		return NULL;
	}
}

static bool
text_is_visible(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	}
	return true;
}

static int
check(const struct fdfs_tracker_req *r, struct err *e)
{
	if (has_group(r->command) && !fdfs_group_is_valid(r->group))
		return err_set(e, ERR_INVALID, "invalid group");
	switch (r->command) {
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
		if (r->name.len < FDFS_FETCH_MIN ||
		    !fdfs_name_is_valid(r->name))
			return err_set(e, ERR_INVALID, "invalid file name");
		return 0;
	case FDFS_LIST_STORAGES:
	case FDFS_SET_TRUNK:
		if (r->id.len == 0)
			return 0;
		/* fall through */
	case FDFS_DELETE_STORAGE:
		if (!fdfs_storage_id_is_valid(r->id))
			return err_set(e, ERR_INVALID, "invalid storage ID");
		return 0;
	case FDFS_SERVER_ID:
	case FDFS_SERVER_STATUS:
		if (r->addr.len == 0 || r->addr.len > 64 ||
		    !text_is_visible(r->addr))
			return err_set(e, ERR_INVALID, "invalid address");
		return 0;
	case FDFS_GROUP_BY_PORT:
		if (r->addr.len > 64 || !text_is_visible(r->addr) ||
		    r->port > UINT16_MAX)
			return err_set(e, ERR_INVALID, "invalid address");
		return 0;
	default:
		return 0;
	}
}

int
fdfs_tracker_req_encode(const struct fdfs_tracker_req *req, struct buf *b,
    struct err *e)
{
	struct fdfs_tracker_req r = *req;
	const struct fdfs_command *c = fdfs_command(r.command);
	struct str *tail = tail_of(&r);
	size_t at;
	int rc;

	if (c == NULL || !(c->servers & FDFS_TRACKER))
		return err_set(e, ERR_NOT_IMPLEMENTED, "not a tracker command");
	rc = check(&r, e);
	if (rc < 0)
		return rc;
	rc = buf_reserve(b, FDFS_HEADER + c->limit);
	if (rc < 0)
		return err_set(e, rc, "request");
	fdfs_req_begin(b, r.command, 0, &at);
	if (has_group(r.command))
		fdfs_add_field(b, r.group, FDFS_GROUP_LEN);
	if (tail != NULL)
		buf_adds(b, *tail);
	switch (r.command) {
	case FDFS_TRACKER_STAT:
	case FDFS_STORAGE_STAT:
	case FDFS_VOLUME_STAT:
		buf_add(b, r.filter, c->fixed);
		break;
	case FDFS_STORAGE_IDS:
		fdfs_add_u32(b, r.start);
		buf_addc(b, (char)r.allow_empty);
		break;
	case FDFS_GROUP_BY_PORT:
		buf_adds(b, r.addr);
		fdfs_add_u32(b, r.port);
		break;
	default:
		break;
	}
	return fdfs_req_end(b, at, 0);
}

int
fdfs_tracker_req_decode(const struct fdfs_header *h, struct str body,
    struct fdfs_tracker_req *ret, struct err *e)
{
	const struct fdfs_command *c = fdfs_command(h->command);
	struct fdfs_tracker_req r = { .command = h->command };
	struct fdfs_reader in = fdfs_reader(body);
	struct str *tail = tail_of(&r);
	int rc;

	if (c == NULL || !(c->servers & FDFS_TRACKER))
		return err_set(e, ERR_NOT_IMPLEMENTED, "not a tracker command");
	if (body.len < c->fixed || body.len > c->limit || body.len != h->len)
		return err_set(e, ERR_INVALID, "%s: malformed", c->name);
	if (has_group(r.command))
		r.group = fdfs_take_field(&in, FDFS_GROUP_LEN);
	if (tail != NULL)
		*tail = fdfs_take_all(&in);
	switch (r.command) {
	case FDFS_TRACKER_STAT:
	case FDFS_STORAGE_STAT:
	case FDFS_VOLUME_STAT:
		memcpy(r.filter, fdfs_take(&in, c->fixed).p, c->fixed);
		break;
	case FDFS_STORAGE_IDS:
		r.start = fdfs_take_u32(&in);
		r.allow_empty = fdfs_take_u8(&in) != 0;
		break;
	case FDFS_GROUP_BY_PORT:
		r.addr = fdfs_take(&in, in.left - 4);
		r.port = fdfs_take_u32(&in);
		break;
	default:
		break;
	}
	/* A padded ID: some clients send the whole field. */
	r.id = fdfs_field(r.id.p == NULL ? "" : r.id.p, r.id.len);
	if (in.bad || in.left > 0)
		return err_set(e, ERR_INVALID, "%s: malformed", c->name);
	rc = check(&r, e);
	if (rc == 0)
		*ret = r;
	return rc;
}

/* --- servers of a group --- */

static int
servers_check(const struct fdfs_servers *s, enum fdfs_form form, struct err *e)
{
	if (s->n < 1 || s->n > FDFS_MAX_SERVERS ||
	    !fdfs_group_is_valid(str_of(s->group)))
		return err_set(e, ERR_INVALID, "answer: no group or servers");
	for (size_t i = 0; i < s->n; i++) {
		if (strlen(s->addr[i].ip) > fdfs_ip_width(form) - 1)
			return err_set(e, ERR_INVALID,
			    "answer: %s needs the wide form", s->addr[i].ip);
	}
	return 0;
}

static void
put_addr(struct buf *b, const struct fdfs_addr *a, enum fdfs_form form,
    bool port)
{
	fdfs_add_field(b, str_of(a->ip), fdfs_ip_width(form) - 1);
	if (port)
		fdfs_add_u64(b, a->port);
}

/* @width: of the field. */
static void
take_addr(struct fdfs_reader *in, size_t width, struct fdfs_addr *ret)
{
	fdfs_take_ip(in, width, ret->ip);
	ret->port = fdfs_take_port(in);
	if (ret->ip[0] == '\0' || ret->port == 0)
		in->bad = true;
}

int
fdfs_store_encode(const struct fdfs_servers *s, enum fdfs_form form,
    struct buf *b, struct err *e)
{
	int rc = servers_check(s, form, e);

	if (rc < 0)
		return rc;
	rc = buf_reserve(b,
	    FDFS_GROUP_LEN + s->n * (fdfs_ip_width(form) + 7) + 1);
	if (rc < 0)
		return err_set(e, rc, "answer");
	fdfs_add_field(b, str_of(s->group), FDFS_GROUP_LEN);
	for (size_t i = 0; i < s->n; i++)
		put_addr(b, &s->addr[i], form, true);
	buf_addc(b, (char)s->path);
	return 0;
}

static int
take_group(struct fdfs_reader *in, struct fdfs_servers *s, struct err *e)
{
	struct str group = fdfs_take_field(in, FDFS_GROUP_LEN);

	if (in->bad || !fdfs_group_is_valid(group))
		return err_set(e, ERR_INVALID, "answer: invalid group");
	memcpy(s->group, group.p, group.len);
	s->group[group.len] = '\0';
	return 0;
}

int
fdfs_store_decode(struct str body, struct fdfs_servers *ret, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	struct fdfs_servers s = { 0 };
	size_t list, width;

	if (take_group(&in, &s, e) < 0)
		return ERR_INVALID;
	if (in.left < 1)
		return err_set(e, ERR_INVALID, "answer: too short");
	/* A list that both records divide has more than FDFS_MAX_SERVERS of
	 * the narrow ones. */
	list = in.left - 1;
	if (list % 23 == 0 && list / 23 <= FDFS_MAX_SERVERS)
		width = 15;
	else if (list % 53 == 0 && list / 53 <= FDFS_MAX_SERVERS)
		width = 45;
	else
		list = width = 0;
	if (list == 0)
		return err_set(e, ERR_INVALID, "answer of %zu bytes", body.len);
	s.n = list / (width + 8);
	for (size_t i = 0; i < s.n; i++)
		take_addr(&in, width, &s.addr[i]);
	s.path = fdfs_take_u8(&in);
	if (in.bad || in.left > 0)
		return err_set(e, ERR_INVALID, "answer: malformed address");
	*ret = s;
	return 0;
}

int
fdfs_fetch_encode(const struct fdfs_servers *s, enum fdfs_form form,
    enum fdfs_extras extras, struct buf *b, struct err *e)
{
	int rc = servers_check(s, form, e);

	if (rc < 0)
		return rc;
	rc = buf_reserve(b, FDFS_GROUP_LEN + s->n * (fdfs_ip_width(form) + 7));
	if (rc < 0)
		return err_set(e, rc, "answer");
	fdfs_add_field(b, str_of(s->group), FDFS_GROUP_LEN);
	put_addr(b, &s->addr[0], form, true);
	if (extras == FDFS_EXTRAS_NONE)
		return 0;
	for (size_t i = 1; i < s->n; i++)
		put_addr(b, &s->addr[i], form, extras == FDFS_EXTRAS_ADDR);
	return 0;
}

/* The field's width in a list of @len bytes, 0 when there is none. */
static size_t
fetch_width(size_t len, enum fdfs_extras extras)
{
	static const size_t widths[] = { 15, 45 };

	for (size_t i = 0; i < 2; i++) {
		size_t w = widths[i];
		size_t more = extras == FDFS_EXTRAS_IP ? w : w + 8;

		if (len < w + 8 || (len - w - 8) % more != 0)
			continue;
		/* A list that both forms divide is too long for one. */
		if ((len - w - 8) / more <
		    (extras == FDFS_EXTRAS_NONE ? 1 : FDFS_MAX_SERVERS))
			return w;
	}
	return 0;
}

int
fdfs_fetch_decode(struct str body, enum fdfs_extras extras,
    struct fdfs_servers *ret, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	struct fdfs_servers s = { 0 };
	size_t width;

	if (take_group(&in, &s, e) < 0)
		return ERR_INVALID;
	width = fetch_width(in.left, extras);
	if (width == 0)
		return err_set(e, ERR_INVALID, "answer of %zu bytes", body.len);
	take_addr(&in, width, &s.addr[s.n++]);
	while (in.left > 0 && s.n < FDFS_MAX_SERVERS) {
		if (extras == FDFS_EXTRAS_IP) {
			fdfs_take_ip(&in, width, s.addr[s.n].ip);
			s.addr[s.n].port = s.addr[0].port;
		} else {
			take_addr(&in, width, &s.addr[s.n]);
		}
		s.n++;
	}
	if (in.left > 0)
		return err_set(e, ERR_TOO_BIG, "answer: too many servers");
	if (in.bad)
		return err_set(e, ERR_INVALID, "answer: malformed address");
	*ret = s;
	return 0;
}

/* --- addresses as text --- */

int
fdfs_addr_parse(struct str text, struct fdfs_addr *ret, struct err *e)
{
	ptrdiff_t colon = str_rchr(text, ':');
	struct fdfs_addr a = { 0 };
	struct str ip;
	uint64_t port;

	if (colon < 1 ||
	    !str_to_u64(str_skip(text, (size_t)colon + 1), UINT16_MAX, &port) ||
	    port == 0)
		return err_set(e, ERR_INVALID, "not an address: %.*s",
		    (int)(text.len < 80 ? text.len : 80), text.p);
	ip = str_sub(text, 0, (size_t)colon);
	if (ip.len > 2 && ip.p[0] == '[' && ip.p[ip.len - 1] == ']')
		ip = str_sub(ip, 1, ip.len - 2);
	if (!fdfs_ip_is_valid(ip))
		return err_set(e, ERR_INVALID, "not an address: %.*s",
		    (int)(text.len < 80 ? text.len : 80), text.p);
	memcpy(a.ip, ip.p, ip.len);
	a.port = (uint16_t)port;
	*ret = a;
	return 0;
}

size_t
fdfs_addr_text(const struct fdfs_addr *a, char dst[FDFS_HOST_LEN + 1])
{
	bool v6 = strchr(a->ip, ':') != NULL;
	int n = snprintf(dst, FDFS_HOST_LEN + 1, v6 ? "[%s]:%u" : "%s:%u",
	    a->ip, a->port);

	/* 45 + 2 + 1 + 5 = 53 is cut; no such address exists: an IPv4 in IPv6
	 * has no zone. */
	return n > FDFS_HOST_LEN ? FDFS_HOST_LEN : (size_t)n;
}

int
fdfs_leader_encode(const struct fdfs_addr *a, struct buf *b, struct err *e)
{
	char text[FDFS_HOST_LEN + 1];
	size_t n = fdfs_addr_text(a, text);
	int rc = buf_add(b, text, n);

	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

int
fdfs_leader_decode(struct str body, struct fdfs_addr *ret, struct err *e)
{
	return fdfs_addr_parse(body, ret, e);
}

/* --- parameters and identities --- */

int
fdfs_tracker_status_encode(const struct fdfs_tracker_status *s, struct buf *b,
    struct err *e)
{
	int rc = buf_reserve(b, 17);

	if (rc < 0)
		return err_set(e, rc, "answer");
	buf_addc(b, (char)s->is_leader);
	fdfs_add_u64(b, (uint64_t)s->running);
	fdfs_add_u64(b, (uint64_t)s->restart_interval);
	return 0;
}

int
fdfs_tracker_status_decode(struct str body, struct fdfs_tracker_status *ret,
    struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);

	if (body.len != 17)
		return err_set(e, ERR_INVALID, "status of %zu bytes", body.len);
	ret->is_leader = fdfs_take_u8(&in) != 0;
	ret->running = (int64_t)fdfs_take_u64(&in);
	ret->restart_interval = (int64_t)fdfs_take_u64(&in);
	return 0;
}

int
fdfs_ids_encode(uint32_t total, uint32_t n, struct str lines, struct buf *b,
    struct err *e)
{
	int rc = buf_reserve(b, 8 + lines.len);

	if (rc < 0)
		return err_set(e, rc, "answer");
	fdfs_add_u32(b, total);
	fdfs_add_u32(b, n);
	buf_adds(b, lines);
	return 0;
}

int
fdfs_ids_decode(struct str body, uint32_t *ret_total, uint32_t *ret_n,
    struct str *ret_lines, struct err *e)
{
	struct fdfs_reader in = fdfs_reader(body);
	uint32_t total = fdfs_take_u32(&in), n = fdfs_take_u32(&in);

	if (in.bad || n > total)
		return err_set(e, ERR_INVALID, "storage IDs: malformed");
	*ret_total = total;
	*ret_n = n;
	*ret_lines = fdfs_take_all(&in);
	return 0;
}

int
fdfs_group_answer_encode(struct str group, struct buf *b, struct err *e)
{
	int rc;

	if (!fdfs_group_is_valid(group))
		return err_set(e, ERR_INVALID, "answer: invalid group");
	rc = fdfs_add_field(b, group, FDFS_GROUP_LEN);
	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

int
fdfs_id_answer_encode(struct str id, bool nul, struct buf *b, struct err *e)
{
	int rc;

	if (!fdfs_storage_id_is_valid(id))
		return err_set(e, ERR_INVALID, "answer: invalid storage ID");
	rc = fdfs_add_field(b, id, id.len + nul);
	return rc < 0 ? err_set(e, rc, "answer") : 0;
}

int
fdfs_id_answer_decode(struct str body, struct str *ret, struct err *e)
{
	struct str id;

	if (body.len == 0 || body.len > FDFS_ID_LEN)
		return err_set(e, ERR_INVALID, "answer: invalid storage ID");
	id = fdfs_field(body.p, body.len);
	if (!fdfs_storage_id_is_valid(id))
		return err_set(e, ERR_INVALID, "answer: invalid storage ID");
	*ret = id;
	return 0;
}

int
fdfs_param_add(struct buf *b, const char *key, const char *value, struct err *e)
{
	size_t old = b->len;
	int rc;

	if (strpbrk(key, "=\r\n") != NULL || strpbrk(value, "\r\n") != NULL)
		return err_set(e, ERR_INVALID, "parameter %s", key);
	rc = buf_addf(b, "%s=%s\n", key, value);
	if (rc == 0 && b->len > FDFS_PARAMETERS_MAX) {
		b->len = old;
		rc = ERR_TOO_BIG;
	}
	return rc < 0 ? err_set(e, rc, "parameters") : 0;
}

struct str
fdfs_param_get(struct str body, const char *key)
{
	while (body.p != NULL && body.len > 0) {
		struct str line = str_split(&body, '\n');
		struct str name = str_split(&line, '=');

		if (line.p != NULL && str_eqz(str_trim(name), key))
			return str_trim(line);
	}
	return STR_NULL;
}
