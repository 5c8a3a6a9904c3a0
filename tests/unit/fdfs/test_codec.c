/* The codec's limits: lengths, names, fields, forms, lists. */
#include "fdfs/storage_codec.h"
#include "fdfs/tracker_codec.h"

#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NAME "M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt"

static struct fdfs_storage_req
request(uint8_t command)
{
	return (struct fdfs_storage_req){ .command = command,
		.group = STR_LIT("group1"),
		.name = STR_LIT(NAME),
		.meta_flag = 'O' };
}

/* Through head_len() and the decoder, as a server does it. */
static int
decode(struct str wire, struct fdfs_storage_req *ret)
{
	const struct fdfs_command *c;
	struct fdfs_header h;
	struct err e;
	size_t len;
	int rc;

	rc = fdfs_header_get((const uint8_t *)wire.p, &h, &e);
	if (rc < 0)
		return rc;
	wire = str_skip(wire, FDFS_HEADER);
	c = fdfs_command(h.command);
	assert_non_null(c);
	rc = fdfs_head_len(c, h.len, (const uint8_t *)wire.p, &len, &e);
	if (rc < 0)
		return rc;
	assert_true(len <= c->limit);
	assert_true(len <= wire.len);
	return fdfs_storage_req_decode(&h, str_sub(wire, 0, len), ret, &e);
}

static void
test_header(void **state)
{
	static const uint8_t negative[FDFS_HEADER] = { 0x80 };
	uint8_t raw[FDFS_HEADER];
	struct fdfs_header h = { 0x0102030405060708, 11, 3 };
	struct err e;

	(void)state;
	fdfs_header_put(raw, &h);
	assert_memory_equal(raw, "\1\2\3\4\5\6\7\10\13\3", 10);
	memset(&h, 0, sizeof(h));
	assert_int_equal(fdfs_header_get(raw, &h, &e), 0);
	assert_true(
	    h.len == 0x0102030405060708 && h.command == 11 && h.status == 3);
	assert_int_equal(fdfs_header_get(negative, &h, &e), ERR_INVALID);
}

static void
test_commands(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const struct fdfs_command *c = fdfs_command((uint8_t)i);

		if (c == NULL)
			continue;
		n++;
		assert_int_equal(c->number, i);
		assert_true(c->fixed <= c->limit);
		if (c->shape == FDFS_SHAPE_NAMED)
			assert_int_equal(c->limit, c->fixed + FDFS_REMOTE_MAX);
	}
	assert_int_equal(n, 38);
	assert_null(fdfs_command(FDFS_RESPONSE));
}

static void
test_status(void **state)
{
	static const uint8_t both[] = { 2, 5, 11, 12, 13, 16, 17, 22, 28, 95 };
	struct err e;

	(void)state;
	assert_int_equal(fdfs_status_of(0), 0);
	assert_int_equal(fdfs_status_err(0, &e), 0);
	for (size_t i = 0; i < sizeof(both); i++)
		assert_int_equal(fdfs_status_of(fdfs_status_err(both[i], &e)),
		    both[i]);
	assert_int_equal(fdfs_status_err(FDFS_EALREADY, &e), ERR_NOT_FOUND);
	assert_int_equal(e.sys_errno, FDFS_EALREADY);
	assert_int_equal(fdfs_status_err(111, &e), ERR_IO);
	assert_int_equal(fdfs_status_of(ERR_CORRUPT), FDFS_EIO);
	assert_int_equal(fdfs_status_of(ERR_TOO_BIG), FDFS_EINVAL);
	assert_string_equal(fdfs_state_name(7), "ACTIVE");
	assert_string_equal(fdfs_state_name(99), "NONE");
	assert_string_equal(fdfs_state_name(200), "?");
}

/* Every storage command, there and back. */
static void
test_round_trip(void **state)
{
	static const uint8_t all[] = { 11, 23, 21, 24, 34, 36, 38, 12, 14, 13,
		15, 22, 20 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++) {
		struct fdfs_storage_req r = request(all[i]), d;
		struct buf b = BUF_CAP(4096), again = BUF_CAP(4096);
		struct fdfs_header h;

		if (all[i] == FDFS_UPLOAD || all[i] == FDFS_UPLOAD_APPENDER)
			r.path = FDFS_ANY_PATH;
		if (all[i] == FDFS_UPLOAD_SLAVE)
			r.prefix = STR_LIT("_150x150");
		if (all[i] != FDFS_DOWNLOAD)
			r.size = 5;
		r.ext = STR_LIT("tar.gz");
		if (all[i] == FDFS_DOWNLOAD || all[i] == FDFS_MODIFY)
			r.offset = 77;
		if (all[i] == FDFS_SET_META)
			r.meta = STR_LIT("a\2b");
		if (all[i] == FDFS_FILE_INFO)
			r.flags = FDFS_INFO_NO_CRC;
		if (all[i] == FDFS_CREATE_LINK) {
			r.source = STR_LIT(NAME);
			r.signature = STR_LIT("0123456789abcdef");
		}
		assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), 0);
		assert_int_equal(decode(buf_str(&b), &d), 0);
		assert_int_equal(d.command, all[i]);
		assert_int_equal(d.flags, r.flags);
		assert_true(d.offset == r.offset);
		assert_int_equal(fdfs_storage_req_encode(&d, &again, &e), 0);
		assert_true(str_eq(buf_str(&b), buf_str(&again)));
		fdfs_header_get((const uint8_t *)b.p, &h, &e);
		/* A byte less or more than said is never taken. */
		if (fdfs_command(all[i])->shape != FDFS_SHAPE_ALL) {
			put_be64(b.p, h.len + 1);
			assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
			put_be64(b.p, h.len - 1);
			assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
		}
		put_be64(b.p, INT64_MAX);
		assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
		put_be64(b.p, 0);
		assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
		buf_fini(&b);
		buf_fini(&again);
	}
}

static void
test_lengths(void **state)
{
	struct fdfs_storage_req r = request(FDFS_APPEND), d;
	static const uint64_t bad[] = { 0, 10, 43, 45, 128, UINT64_MAX,
		(uint64_t)1 << 63, UINT32_MAX };
	struct buf b = BUF_CAP(4096);
	struct err e;

	(void)state;
	/* The name's length lies. */
	r.size = 300;
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), 0);
	buf_addf(&b, "%300s", "");
	assert_int_equal(decode(buf_str(&b), &d), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_be64(b.p + FDFS_HEADER, bad[i]);
		assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	}
	put_be64(b.p + FDFS_HEADER, sizeof(NAME) - 1);
	/* The content's. */
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_be64(b.p + FDFS_HEADER + 8, bad[i]);
		assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	}
	/* Offsets below 0, and sums past 2^63. */
	buf_reset(&b);
	r = request(FDFS_DOWNLOAD);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), 0);
	put_be64(b.p + FDFS_HEADER, UINT64_MAX);
	assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	put_be64(b.p + FDFS_HEADER, 0);
	put_be64(b.p + FDFS_HEADER + 8, (uint64_t)1 << 63);
	assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	r = request(FDFS_MODIFY);
	r.offset = INT64_MAX;
	r.size = 1;
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	buf_fini(&b);
}

static void
test_bad_fields(void **state)
{
	struct fdfs_storage_req r = request(FDFS_DELETE), d;
	static const char *const names[] = { "", "M00/00/00/", "M00/00/00/..",
		"M00/00/00/.", "M00/00/0a/abc", "M00/00/00/../../etc/passwd",
		"../../../../etc/passwd", "M00/00/00/a/b", "N00/00/00/abc",
		"M00/00/00/a\tb", "M00/0/000/abcdef", "/M00/00/00/abcdef" };
	struct buf b = BUF_CAP(1 << 20), big = BUF_CAP(1 << 20);
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		r.name = str_of(names[i]);
		assert_false(fdfs_name_is_valid(r.name));
		assert_int_equal(fdfs_storage_req_encode(&r, &b, &e),
		    ERR_INVALID);
	}
	r.name = str_mem("M00/00/00/a\0b", 13);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	/* The longest name, and one more. */
	buf_addf(&big, "M00/00/00/%0118d", 0);
	r.name = buf_str(&big);
	assert_int_equal(r.name.len, 128);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r.name.len = 127;
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), 0);
	assert_int_equal(decode(buf_str(&b), &d), 0);
	/* On the wire: path, group. */
	b.p[b.len - 1] = '/';
	assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	b.p[b.len - 1] = '0';
	b.p[FDFS_HEADER] = '/';
	assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	b.p[FDFS_HEADER] = '\0';
	assert_int_equal(decode(buf_str(&b), &d), ERR_INVALID);
	r = request(FDFS_DELETE);
	r.group = STR_LIT("group_1");
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r.group = STR_LIT("12345678901234567");
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r = request(FDFS_UPLOAD);
	r.path = 128; /* negative to FastDFS */
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r.path = 0;
	r.ext = STR_LIT("a/b");
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r = request(FDFS_UPLOAD_SLAVE);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r.prefix = STR_LIT("/../x");
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r = request(FDFS_SET_META);
	r.meta_flag = 'X';
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r = request(FDFS_SET_META);
	buf_reset(&big);
	buf_reserve(&big, FDFS_META_PACKET);
	memset(big.p, 'x', FDFS_META_PACKET);
	r.meta = str_mem(big.p, FDFS_META_PACKET - 33 - r.name.len);
	buf_reset(&b);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), 0);
	assert_int_equal(decode(buf_str(&b), &d), 0);
	r.meta.len++;
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r = request(FDFS_CREATE_LINK);
	r.source = STR_LIT(NAME);
	r.signature = str_mem(big.p, 256 - 2 * (sizeof(NAME) - 1) + 1);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e), ERR_INVALID);
	r = request(FDFS_FETCH_ONE);
	assert_int_equal(fdfs_storage_req_encode(&r, &b, &e),
	    ERR_NOT_IMPLEMENTED);
	buf_fini(&b);
	buf_fini(&big);
}

static void
test_tracker_requests(void **state)
{
	struct fdfs_tracker_req d;
	struct buf b = BUF_CAP(4096), again = BUF_CAP(4096);
	unsigned n = 0;
	struct err e;

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const struct fdfs_command *c = fdfs_command((uint8_t)i);
		struct fdfs_tracker_req r = { .command = (uint8_t)i,
			.group = STR_LIT("group1"),
			.name = STR_LIT(NAME),
			.id = STR_LIT("100001"),
			.addr = STR_LIT("127.0.0.3:23000"),
			.port = 23000,
			.start = 7,
			.allow_empty = true,
			.filter = { 1, 2, 3, 4 } };
		struct fdfs_header h;

		if (c == NULL || !(c->servers & FDFS_TRACKER))
			continue;
		n++;
		buf_reset(&b);
		buf_reset(&again);
		assert_int_equal(fdfs_tracker_req_encode(&r, &b, &e), 0);
		fdfs_header_get((const uint8_t *)b.p, &h, &e);
		assert_int_equal(h.len + FDFS_HEADER, b.len);
		assert_int_equal(fdfs_tracker_req_decode(&h,
				     str_skip(buf_str(&b), FDFS_HEADER), &d,
				     &e),
		    0);
		assert_int_equal(fdfs_tracker_req_encode(&d, &again, &e), 0);
		assert_true(str_eq(buf_str(&b), buf_str(&again)));
		h.len++;
		assert_int_equal(fdfs_tracker_req_decode(&h,
				     str_skip(buf_str(&b), FDFS_HEADER), &d,
				     &e),
		    ERR_INVALID);
	}
	assert_int_equal(n, 25);
	d = (struct fdfs_tracker_req){ .command = FDFS_LIST_STORAGES,
		.group = STR_LIT("group1"),
		.id = STR_LIT("1234567890123456") };
	assert_int_equal(fdfs_tracker_req_encode(&d, &b, &e), ERR_INVALID);
	d.id = STR_LIT("");
	assert_int_equal(fdfs_tracker_req_encode(&d, &b, &e), 0);
	d.group = STR_LIT("");
	assert_int_equal(fdfs_tracker_req_encode(&d, &b, &e), ERR_INVALID);
	buf_fini(&b);
	buf_fini(&again);
}

static struct fdfs_servers
servers(size_t n, const char *ip)
{
	struct fdfs_servers s = { .group = "group1", .n = n, .path = 3 };

	for (size_t i = 0; i < n; i++) {
		snprintf(s.addr[i].ip, sizeof(s.addr[i].ip), "%s%zu", ip, i);
		s.addr[i].port = (uint16_t)(23000 + i);
	}
	return s;
}

static void
check_servers(const struct fdfs_servers *a, const struct fdfs_servers *b,
    bool ports)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_string_equal(a->addr[i].ip, b->addr[i].ip);
		assert_int_equal(b->addr[i].port, a->addr[ports ? i : 0].port);
	}
}

static void
test_servers(void **state)
{
	struct buf b = BUF_CAP(1 << 16);
	struct fdfs_servers s, d;
	struct err e;

	(void)state;
	for (size_t n = 1; n <= FDFS_MAX_SERVERS; n++) {
		for (int f = 0; f < 2; f++) {
			enum fdfs_form form = f ? FDFS_WIDE : FDFS_NARROW;

			s = servers(n, f ? "fe80::1:" : "10.0.0.");
			buf_reset(&b);
			assert_int_equal(fdfs_store_encode(&s, form, &b, &e),
			    0);
			assert_int_equal(b.len, 17 + n * (f ? 53 : 23));
			assert_int_equal(fdfs_store_decode(buf_str(&b), &d, &e),
			    0);
			check_servers(&s, &d, true);
			assert_int_equal(d.path, 3);
			buf_reset(&b);
			assert_int_equal(fdfs_fetch_encode(&s, form,
					     FDFS_EXTRAS_ADDR, &b, &e),
			    0);
			assert_int_equal(fdfs_fetch_decode(buf_str(&b),
					     FDFS_EXTRAS_ADDR, &d, &e),
			    0);
			check_servers(&s, &d, true);
			buf_reset(&b);
			assert_int_equal(fdfs_fetch_encode(&s, form,
					     FDFS_EXTRAS_NONE, &b, &e),
			    0);
			assert_int_equal(b.len, f ? 69 : 39);
			assert_int_equal(fdfs_fetch_decode(buf_str(&b),
					     FDFS_EXTRAS_NONE, &d, &e),
			    0);
			assert_int_equal(d.n, 1);
		}
	}
	s = servers(3, "10.0.0.");
	buf_reset(&b);
	assert_int_equal(fdfs_fetch_encode(&s, FDFS_NARROW, FDFS_EXTRAS_IP, &b,
			     &e),
	    0);
	assert_int_equal(b.len, 39 + 2 * 15);
	assert_int_equal(fdfs_fetch_decode(buf_str(&b), FDFS_EXTRAS_IP, &d, &e),
	    0);
	check_servers(&s, &d, false);
	/* An IPv6 address never goes out cut. */
	s = servers(1, "2001:db8::1234:5678:");
	assert_int_equal(fdfs_store_encode(&s, FDFS_NARROW, &b, &e),
	    ERR_INVALID);
	s.n = 0;
	assert_int_equal(fdfs_store_encode(&s, FDFS_WIDE, &b, &e), ERR_INVALID);
	/* Any other length is refused. */
	for (size_t n = 0; n < 300; n++) {
		char raw[300] = "group1";
		struct str body = str_mem(raw, n);

		memset(raw + 16, '1', sizeof(raw) - 16);
		assert_int_equal(fdfs_store_decode(body, &d, &e), ERR_INVALID);
		assert_int_equal(fdfs_fetch_decode(body, FDFS_EXTRAS_ADDR, &d,
				     &e),
		    ERR_INVALID);
	}
	buf_fini(&b);
}

static void
test_records(void **state)
{
	struct fdfs_storage s = { .state = 7,
		.rw_mode = 6,
		.id = "1234567890123456",
		.ip = "2001:db8:1234:5678:9abc:def0:1234:5678",
		.source = "100002",
		.version = "12345678",
		.joined = 1,
		.port = 23000,
		.stat = { .conn_max = -1,
		    .upload = { 5, 4 },
		    .last_heartbeat = 9 },
		.is_trunk = true },
			    d[2];
	struct buf b = BUF_CAP(1 << 16);
	struct err e;
	size_t n;

	(void)state;
	assert_int_equal(fdfs_storage_encode(&s, FDFS_NARROW, &b, &e),
	    ERR_INVALID);
	assert_int_equal(b.len, 0);
	assert_int_equal(fdfs_storage_encode(&s, FDFS_WIDE, &b, &e), 0);
	assert_int_equal(b.len, 517);
	assert_int_equal(fdfs_storages_decode(buf_str(&b), d, 2, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(d[0].id, s.id);
	assert_string_equal(d[0].ip, s.ip);
	assert_string_equal(d[0].version, s.version);
	assert_int_equal(d[0].port, 23000);
	assert_int_equal(d[0].stat.conn_max, -1);
	assert_int_equal(d[0].stat.upload.success, 4);
	assert_int_equal(d[0].stat.last_heartbeat, 9);
	assert_true(d[0].is_trunk);
	assert_int_equal(fdfs_storages_decode(buf_str(&b), d, 0, &n, &e),
	    ERR_TOO_BIG);
	b.len--;
	assert_int_equal(fdfs_storages_decode(buf_str(&b), d, 2, &n, &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_groups_decode(buf_str(&b), NULL, 0, &n, &e),
	    ERR_INVALID);
	/* A count that is not what follows. */
	assert_int_equal(fdfs_tracker_stat_decode(STR_LIT("\2"), NULL, 0, &n,
			     &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_tracker_stat_decode(STR_LIT(""), NULL, 0, &n, &e),
	    ERR_INVALID);
	buf_fini(&b);
}

static void
test_answers(void **state)
{
	struct fdfs_info in = { .size = 5,
		.time = 6,
		.crc32 = 0xf35c0db9,
		.ip = "1.2.3.4" },
			 out;
	struct buf b = BUF_CAP(4096);
	struct str group, name;
	struct fdfs_addr a;
	struct err e;
	char text[FDFS_HOST_LEN + 1];

	(void)state;
	assert_int_equal(fdfs_info_encode(&in, FDFS_NARROW, &b, &e), 0);
	assert_int_equal(b.len, 40);
	assert_memory_equal(b.p + 16, "\xff\xff\xff\xff\xf3\x5c\x0d\xb9", 8);
	assert_int_equal(fdfs_info_decode(buf_str(&b), &out, &e), 0);
	assert_true(out.crc32 == in.crc32);
	/* Not sign-extended is understood too. */
	memset(b.p + 16, 0, 4);
	assert_int_equal(fdfs_info_decode(buf_str(&b), &out, &e), 0);
	assert_true(out.crc32 == in.crc32);
	b.len--;
	assert_int_equal(fdfs_info_decode(buf_str(&b), &out, &e), ERR_INVALID);
	assert_int_equal(fdfs_file_answer_decode(STR_LIT("group1"), &group,
			     &name, &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_addr_parse(STR_LIT("[2001:db8::1]:22122"), &a,
			     &e),
	    0);
	assert_string_equal(a.ip, "2001:db8::1");
	assert_int_equal(fdfs_addr_text(&a, text), 19);
	assert_string_equal(text, "[2001:db8::1]:22122");
	assert_int_equal(fdfs_addr_parse(STR_LIT("1.2.3.4"), &a, &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_addr_parse(STR_LIT("1.2.3.4:0"), &a, &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_addr_parse(STR_LIT("1.2.3.4:65536"), &a, &e),
	    ERR_INVALID);
	assert_int_equal(fdfs_addr_parse(STR_LIT(":1"), &a, &e), ERR_INVALID);
	buf_reset(&b);
	assert_int_equal(fdfs_param_add(&b, "a", "1", &e), 0);
	assert_int_equal(fdfs_param_add(&b, "ab", "x=y", &e), 0);
	assert_int_equal(fdfs_param_add(&b, "c", "1\nd=2", &e), ERR_INVALID);
	assert_true(str_eqz(fdfs_param_get(buf_str(&b), "ab"), "x=y"));
	assert_null(fdfs_param_get(buf_str(&b), "b").p);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_bad_fields),
		cmocka_unit_test(test_tracker_requests),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
