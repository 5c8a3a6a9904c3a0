/* Exchanges recorded from FastDFS 6.16.1, byte for byte in both directions:
 * what decodes must encode to the recorded bytes again. */
#include "fdfs/meta.h"
#include "fdfs/storage_codec.h"
#include "fdfs/tracker_codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define VECTORS CREEL_SOURCE_DIR "/tests/unit/fdfs/vectors/"

struct vector {
	char label[100];
	unsigned command;
	uint8_t req[1024], body[2048];
	size_t req_have, req_len; /* recorded, and how many there were */
	size_t body_have, body_len;
	unsigned status;
};

static unsigned requests, answers;

/* Requests that are malformed, not merely refused. */
static bool
is_malformed(const struct vector *v)
{
	static const char *const labels[] = { "upload bad ext",
		"fetch_storage_ids old 4 byte", "query_fetch short filename" };

	for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
		if (strcmp(v->label, labels[i]) == 0)
			return true;
	}
	return false;
}

static void
check_request(const struct vector *v)
{
	struct buf b = BUF_CAP(1 << 20);
	const struct fdfs_command *c;
	struct fdfs_header h;
	struct err e = ERR_INIT;
	struct str head;
	size_t len;
	int rc;

	assert_int_equal(fdfs_header_get(v->req, &h, &e), 0);
	assert_int_equal(h.command, v->command);
	assert_int_equal(h.len + FDFS_HEADER, v->req_len);
	c = fdfs_command(h.command);
	if (c == NULL) {
		assert_int_equal(v->status, FDFS_EINVAL);
		return;
	}
	rc = fdfs_head_len(c, h.len, v->req + FDFS_HEADER, &len, &e);
	if (rc == 0) {
		if (FDFS_HEADER + len > v->req_have)
			return; /* cut in the record */
		head = str_mem(v->req + FDFS_HEADER, len);
		if (c->servers == FDFS_STORAGE) {
			struct fdfs_storage_req r;

			rc = fdfs_storage_req_decode(&h, head, &r, &e);
			if (rc == 0)
				assert_int_equal(fdfs_storage_req_encode(&r, &b,
						     &e),
				    0);
		} else {
			struct fdfs_tracker_req r;

			rc = fdfs_tracker_req_decode(&h, head, &r, &e);
			if (rc == 0)
				assert_int_equal(fdfs_tracker_req_encode(&r, &b,
						     &e),
				    0);
		}
	}
	if (is_malformed(v)) {
		assert_int_equal(fdfs_status_of(rc), v->status);
		assert_int_equal(v->status, FDFS_EINVAL);
		return;
	}
	if (rc != 0)
		fail_msg("%s: %s", v->label, e.msg);
	assert_int_equal(b.len, FDFS_HEADER + len);
	assert_memory_equal(b.p, v->req, b.len);
	requests++;
	buf_fini(&b);
}

/* True when @b must be the recorded bytes. */
static bool
encode_list(const struct vector *v, enum fdfs_form form, struct buf *b,
    struct err *e)
{
	struct str body = str_mem(v->body, v->body_len);
	struct fdfs_storage storages[4];
	struct fdfs_group groups[4];
	struct fdfs_volume volumes[4];
	struct fdfs_node nodes[8];
	bool ids, trunk;
	size_t n;

	switch (v->command) {
	case FDFS_LIST_GROUP:
	case FDFS_LIST_GROUPS:
		assert_int_equal(fdfs_groups_decode(body, groups, 4, &n, e), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(fdfs_group_encode(&groups[i], b, e),
			    0);
		assert_string_equal(groups[0].name, "group1");
		assert_int_equal(groups[0].storage_port, 23000);
		return true;
	case FDFS_LIST_STORAGES:
		assert_int_equal(fdfs_storages_decode(body, storages, 4, &n, e),
		    0);
		assert_true(n >= 1);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(fdfs_storage_encode(&storages[i], form,
					     b, e),
			    0);
		assert_int_equal(storages[0].state, FDFS_STATE_ACTIVE);
		assert_string_equal(storages[0].version, "6.16.1");
		assert_string_equal(storages[0].ip, "127.0.0.3");
		return true;
	case FDFS_TRACKER_STAT:
		assert_int_equal(fdfs_tracker_stat_decode(body, nodes, 8, &n,
				     e),
		    0);
		assert_int_equal(fdfs_tracker_stat_encode(nodes, n, b, e), 0);
		assert_string_equal(nodes[0].host, "127.0.0.2:22122");
		assert_true(nodes[0].is_leader);
		break;
	case FDFS_STORAGE_STAT:
		assert_int_equal(fdfs_storage_stat_decode(body, nodes, 8, &n,
				     &ids, &trunk, e),
		    0);
		assert_int_equal(fdfs_storage_stat_encode(nodes, n, ids, trunk,
				     b, e),
		    0);
		assert_int_equal(nodes[0].state, FDFS_STATE_ACTIVE);
		break;
	case FDFS_VOLUME_STAT:
		assert_int_equal(fdfs_volume_stat_decode(body, volumes, 4, &n,
				     &trunk, e),
		    0);
		assert_int_equal(fdfs_volume_stat_encode(volumes, n, trunk, b,
				     e),
		    0);
		break;
	default:
		fail_msg("%s: unknown", v->label);
	}
	/* The real server leaves old bytes behind a NUL here; ours are 0. */
	assert_int_equal(b->len, v->body_len);
	for (size_t i = 0; i < b->len; i++)
		assert_true(b->p[i] == (char)v->body[i] || b->p[i] == 0);
	return false;
}

static void
check_answer(const struct vector *v, enum fdfs_form form)
{
	struct str body = str_mem(v->body, v->body_len), group, text;
	struct fdfs_tracker_status status;
	struct fdfs_servers servers;
	struct buf b = BUF_CAP(1 << 20);
	struct fdfs_brief brief;
	struct fdfs_pair *pairs;
	struct fdfs_info info;
	struct fdfs_addr addr;
	struct err e = ERR_INIT;
	uint32_t total, n;
	size_t count;
	bool exact = true;

	switch (v->command) {
	case FDFS_UPLOAD:
	case FDFS_UPLOAD_APPENDER:
	case FDFS_UPLOAD_SLAVE:
	case FDFS_REGENERATE:
		assert_int_equal(fdfs_file_answer_decode(body, &group, &text,
				     &e),
		    0);
		assert_int_equal(fdfs_file_answer_encode(group, text, &b, &e),
		    0);
		break;
	case FDFS_FILE_INFO:
		assert_int_equal(fdfs_info_decode(body, &info, &e), 0);
		assert_int_equal(fdfs_info_encode(&info, form, &b, &e), 0);
		break;
	case FDFS_GET_META:
		assert_int_equal(fdfs_meta_parse(body, &pairs, &count, &e), 0);
		assert_int_equal(fdfs_meta_format(pairs, count, &b, &e), 0);
		free(pairs);
		break;
	case FDFS_STORE_ONE:
	case FDFS_STORE_GROUP_ONE:
	case FDFS_STORE_ALL:
	case FDFS_STORE_GROUP_ALL:
		assert_int_equal(fdfs_store_decode(body, &servers, &e), 0);
		assert_int_equal(fdfs_store_encode(&servers, form, &b, &e), 0);
		assert_string_equal(servers.addr[0].ip, "127.0.0.3");
		assert_int_equal(servers.addr[0].port, 23000);
		break;
	case FDFS_FETCH_ONE:
	case FDFS_FETCH_UPDATE:
	case FDFS_FETCH_ALL:
		assert_int_equal(fdfs_fetch_decode(body, FDFS_EXTRAS_ADDR,
				     &servers, &e),
		    0);
		assert_int_equal(fdfs_fetch_encode(&servers, form,
				     FDFS_EXTRAS_ADDR, &b, &e),
		    0);
		break;
	case FDFS_LEADER:
		assert_int_equal(fdfs_leader_decode(body, &addr, &e), 0);
		assert_int_equal(fdfs_leader_encode(&addr, &b, &e), 0);
		break;
	case FDFS_STATUS:
		assert_int_equal(fdfs_tracker_status_decode(body, &status, &e),
		    0);
		assert_int_equal(fdfs_tracker_status_encode(&status, &b, &e),
		    0);
		break;
	case FDFS_SERVER_STATUS:
		assert_int_equal(fdfs_brief_decode(body, &brief, &e), 0);
		assert_int_equal(fdfs_brief_encode(&brief, &b, &e), 0);
		break;
	case FDFS_SERVER_ID:
		assert_int_equal(fdfs_id_answer_decode(body, &text, &e), 0);
		assert_int_equal(fdfs_id_answer_encode(text, false, &b, &e), 0);
		break;
	case FDFS_STORAGE_IDS:
		assert_int_equal(fdfs_ids_decode(body, &total, &n, &text, &e),
		    0);
		assert_int_equal(fdfs_ids_encode(total, n, text, &b, &e), 0);
		break;
	case FDFS_PARAMETERS:
		text = fdfs_param_get(body, "use_storage_id");
		assert_true(str_eqz(text, form == FDFS_WIDE ? "1" : "0"));
		text = fdfs_param_get(body, "response_ip_addr_size");
		assert_true(str_eqz(text, form == FDFS_WIDE ? "46" : "16"));
		return;
	case FDFS_DOWNLOAD: /* bytes */
		return;
	default:
		if (v->body_len == 0)
			return;
		exact = encode_list(v, form, &b, &e);
	}
	assert_int_equal(b.len, v->body_len);
	if (exact)
		assert_memory_equal(b.p, v->body, v->body_have);
	answers++;
	buf_fini(&b);
}

/* Hexadecimal at @text into @dst; "..." says that the record was cut. */
static size_t
get_hex(const char *text, uint8_t *dst, size_t max)
{
	size_t n = strspn(text, "0123456789abcdef");

	assert_true(n % 2 == 0 && n / 2 <= max);
	assert_true(hex_decode(str_mem(text, n), dst));
	return n / 2;
}

/* @at is behind "cmd=". */
static void
start(struct vector *v, char *line, char *at)
{
	size_t n = (size_t)(at - line) - strlen("==  cmd=");

	memset(v, 0, sizeof(*v));
	assert_true(n < sizeof(v->label));
	memcpy(v->label, line + 3, n);
	v->command = (unsigned)strtoul(at, NULL, 10);
}

static void
run(const char *path, enum fdfs_form form, unsigned want)
{
	char line[4096], *at, *dots;
	struct vector v = { 0 };
	unsigned n = 0;
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "== ", 3) == 0) {
			at = strstr(line, " cmd=");
			assert_non_null(at);
			start(&v, line, at + 5);
		} else if (strncmp(line, "   req  ", 8) == 0) {
			v.req_have = get_hex(line + 8, v.req, sizeof(v.req));
			dots = strstr(line, "...(");
			v.req_len = dots == NULL ? v.req_have
			                         : strtoul(dots + 4, NULL, 10);
		} else if (strncmp(line, "   resp len=", 12) == 0) {
			v.body_len = strtoul(line + 12, NULL, 10);
			v.status =
			    (unsigned)strtoul(strstr(line, "status=") + 7, NULL,
				10);
			v.body_have = get_hex(strstr(line, "body=") + 5, v.body,
			    sizeof(v.body));
			assert_true(v.body_have <= v.body_len &&
				    v.body_len <= sizeof(v.body));
			assert_true(v.body_have == v.body_len ||
				    strstr(line, "...") != NULL);
			check_request(&v);
			if (v.status == 0)
				check_answer(&v, form);
			else
				assert_int_equal(v.body_len, 0);
			n++;
		}
	}
	fclose(f);
	assert_int_equal(n, want);
}

static void
test_narrow(void **state)
{
	(void)state;
	run(VECTORS "vectors-6.16.1.txt", FDFS_NARROW, 66);
}

static void
test_wide(void **state)
{
	(void)state;
	run(VECTORS "vectors-6.16.1-trunk-id-ipv6.txt", FDFS_WIDE, 66);
}

static void
test_count(void **state)
{
	(void)state;
	/* What was really compared: a reader that skips would show here. */
	assert_int_equal(requests, 120);
	assert_int_equal(answers, 63);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
