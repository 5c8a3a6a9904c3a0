/* What a client does with a FastDFS cluster, all commands once or more: runs
 * against our own server loop and against tests/fastdfs/mock.py. */
#ifndef TEST_FDFS_SCENARIO_H
#define TEST_FDFS_SCENARIO_H

#include "fdfs/meta.h"
#include "fdfs/ops.h"

#include "lib/hash.h"

/* A source and a sink of bytes that follow from their position. */
struct pattern {
	uint64_t at, size;
	unsigned seed;
};

static inline char
pattern_byte(unsigned seed, uint64_t at)
{
	return (char)(at * 131 + (at >> 8) + seed);
}

static inline int
pattern_source(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct pattern *s = arg;
	char *dst = p;
	size_t n = s->size - s->at < len ? (size_t)(s->size - s->at) : len;

	(void)e;
	for (size_t i = 0; i < n; i++)
		dst[i] = pattern_byte(s->seed, s->at + i);
	s->at += n;
	*ret = n;
	return 0;
}

static inline int
pattern_sink(void *arg, const void *p, size_t len, struct err *e)
{
	struct pattern *s = arg;

	for (size_t i = 0; i < len; i++) {
		if (((const char *)p)[i] != pattern_byte(s->seed, s->at + i))
			return err_set(e, ERR_CORRUPT, "byte %ju",
			    (uintmax_t)(s->at + i));
	}
	s->at += len;
	return 0;
}

static inline int
buf_sink(void *arg, const void *p, size_t len, struct err *e)
{
	(void)e;
	return buf_add(arg, p, len);
}

struct text_source {
	struct str left;
};

static inline int
text_source(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct text_source *s = arg;
	size_t n = s->left.len < len ? s->left.len : len;

	(void)e;
	if (n > 0)
		memcpy(p, s->left.p, n);
	s->left = str_skip(s->left, n);
	*ret = n;
	return 0;
}

#define OK(call)                                                               \
	do {                                                                   \
		int ok_rc_ = (call);                                           \
		if (ok_rc_ != 0)                                               \
			fail_msg("%s: %s: %s", #call, err_name(ok_rc_),        \
			    e.msg);                                            \
	} while (0)

struct scenario {
	struct fdfs_client *c;
	struct fdfs_addr tracker, storage;
	uint8_t path;
};

static inline struct fdfs_storage_req
req(uint8_t command, const struct fdfs_file *f)
{
	struct fdfs_storage_req r = { .command = command, .meta_flag = 'O' };

	if (f != NULL) {
		r.group = str_of(f->group);
		r.name = str_of(f->name);
	}
	return r;
}

static inline int
send_text(struct scenario *s, struct fdfs_storage_req r, const char *text,
    struct fdfs_file *ret, struct err *e)
{
	struct text_source src = { str_of(text) };

	r.size = src.left.len;
	return fdfs_send(s->c, &s->storage, &r, text_source, &src, ret, e);
}

/* The file's bytes are @want. */
static inline void
check_text(struct scenario *s, const struct fdfs_file *f, const char *want)
{
	struct fdfs_storage_req r = req(FDFS_DOWNLOAD, f);
	struct buf b = BUF_CAP(1 << 20);
	struct err e = ERR_INIT;
	uint64_t len;

	OK(fdfs_download(s->c, &s->storage, &r, buf_sink, &b, &len, &e));
	assert_int_equal(len, b.len);
	assert_true(str_eqz(buf_str(&b), want));
	buf_fini(&b);
}

static inline void
scenario_tracker(struct scenario *s)
{
	struct fdfs_storage storages[4];
	struct fdfs_servers servers;
	struct fdfs_group groups[4];
	struct buf b = BUF_CAP(4096);
	struct err e = ERR_INIT;
	size_t n;

	OK(fdfs_active_test(s->c, &s->tracker, &e));
	OK(fdfs_ask_store(s->c, &s->tracker, STR_LIT(""), false, &servers, &e));
	assert_string_equal(servers.group, "group1");
	s->storage = servers.addr[0];
	s->path = servers.path;
	OK(fdfs_ask_store(s->c, &s->tracker, STR_LIT("group1"), true, &servers,
	    &e));
	assert_int_equal(servers.n, 1);
	assert_int_equal(fdfs_ask_store(s->c, &s->tracker, STR_LIT("nogroup"),
			     false, &servers, &e),
	    ERR_NOT_FOUND);
	assert_int_equal(e.sys_errno, FDFS_ENOENT);
	OK(fdfs_ask_groups(s->c, &s->tracker, groups, 4, &n, &e));
	assert_int_equal(n, 1);
	assert_string_equal(groups[0].name, "group1");
	assert_int_equal(groups[0].trunk_file, -1);
	OK(fdfs_ask_storages(s->c, &s->tracker, STR_LIT("group1"), STR_LIT(""),
	    storages, 4, &n, &e));
	assert_int_equal(n, 1);
	assert_int_equal(storages[0].state, FDFS_STATE_ACTIVE);
	assert_int_equal(storages[0].port, s->storage.port);
	OK(fdfs_ask_parameters(s->c, &s->tracker, &b, &e));
	assert_true(
	    str_eqz(fdfs_param_get(buf_str(&b), "use_storage_id"), "0"));
	buf_fini(&b);
}

static inline void
scenario_files(struct scenario *s)
{
	struct fdfs_storage_req r = req(FDFS_UPLOAD, NULL);
	struct fdfs_file f, slave, empty;
	struct fdfs_servers servers;
	struct fdfs_info info;
	struct fdfs_file_id id;
	struct err e = ERR_INIT;
	struct pattern p;
	uint64_t len;

	r.path = s->path;
	r.ext = STR_LIT("txt");
	OK(send_text(s, r, "hello fastdfs", &f, &e));
	assert_string_equal(f.group, "group1");
	OK(fdfs_remote_parse(str_of(f.name), &id, &e));
	assert_int_equal(fdfs_id_size(&id), 13);
	assert_true(id.crc32 == hash_crc32(0, "hello fastdfs", 13));
	check_text(s, &f, "hello fastdfs");
	OK(fdfs_ask_fetch(s->c, &s->tracker, FDFS_FETCH_ONE, str_of(f.group),
	    str_of(f.name), &servers, &e));
	assert_int_equal(servers.addr[0].port, s->storage.port);
	OK(fdfs_file_info(s->c, &s->storage, str_of(f.group), str_of(f.name), 0,
	    &info, &e));
	assert_int_equal(info.size, 13);
	assert_true(info.crc32 == id.crc32);
	/* A range; past the end; a slave; twice. */
	r = req(FDFS_DOWNLOAD, &f);
	r.offset = 6;
	r.bytes = 4;
	{
		struct buf b = BUF_CAP(64);

		OK(fdfs_download(s->c, &s->storage, &r, buf_sink, &b, &len,
		    &e));
		assert_true(str_eqz(buf_str(&b), "fast"));
		buf_fini(&b);
	}
	r.offset = 13;
	assert_int_equal(fdfs_download(s->c, &s->storage, &r, buf_sink, NULL,
			     &len, &e),
	    ERR_INVALID);
	r = req(FDFS_UPLOAD_SLAVE, &f);
	r.prefix = STR_LIT("_150x150");
	r.ext = STR_LIT("jpg");
	OK(send_text(s, r, "SLAVE", &slave, &e));
	assert_non_null(strstr(slave.name, "_150x150.jpg"));
	check_text(s, &slave, "SLAVE");
	assert_int_equal(send_text(s, r, "SLAVE", &slave, &e), ERR_EXISTS);
	/* No bytes at all, and many. */
	r = req(FDFS_UPLOAD, NULL);
	r.path = FDFS_ANY_PATH;
	OK(send_text(s, r, "", &empty, &e));
	check_text(s, &empty, "");
	p = (struct pattern){ .size = 3000001, .seed = 5 };
	r.size = p.size;
	OK(fdfs_send(s->c, &s->storage, &r, pattern_source, &p, &empty, &e));
	r = req(FDFS_DOWNLOAD, &empty);
	p.at = 0;
	OK(fdfs_download(s->c, &s->storage, &r, pattern_sink, &p, &len, &e));
	assert_int_equal(len, 3000001);
	r = req(FDFS_DELETE, &f);
	OK(fdfs_do(s->c, &s->storage, &r, &e));
	assert_int_equal(fdfs_do(s->c, &s->storage, &r, &e), ERR_NOT_FOUND);
	check_text(s, &slave, "SLAVE");
	r.group = STR_LIT("wrong");
	assert_int_equal(fdfs_do(s->c, &s->storage, &r, &e), ERR_INVALID);
}

static inline void
scenario_appender(struct scenario *s)
{
	struct fdfs_storage_req r = req(FDFS_UPLOAD_APPENDER, NULL);
	struct fdfs_file f, normal;
	struct err e = ERR_INIT;
	enum fdfs_kind kind;

	r.path = s->path;
	r.ext = STR_LIT("log");
	OK(send_text(s, r, "AAAAAAAAAA", &f, &e));
	assert_true(fdfs_name_kind(str_of(f.name), &kind));
	assert_int_equal(kind, FDFS_APPENDER);
	OK(send_text(s, req(FDFS_APPEND, &f), "BBBBB", NULL, &e));
	r = req(FDFS_MODIFY, &f);
	r.offset = 2;
	OK(send_text(s, r, "CCC", NULL, &e));
	check_text(s, &f, "AACCCAAAAABBBBB");
	r.offset = 999;
	assert_int_equal(send_text(s, r, "CCC", NULL, &e), ERR_INVALID);
	r = req(FDFS_TRUNCATE, &f);
	r.size = 7;
	OK(fdfs_do(s->c, &s->storage, &r, &e));
	check_text(s, &f, "AACCCAA");
	r = req(FDFS_REGENERATE, &f);
	OK(fdfs_do_file(s->c, &s->storage, &r, &normal, &e));
	assert_true(fdfs_name_kind(str_of(normal.name), &kind));
	assert_int_equal(kind, FDFS_NORMAL);
	check_text(s, &normal, "AACCCAA");
	assert_int_equal(send_text(s, req(FDFS_APPEND, &normal), "X", NULL, &e),
	    ERR_INVALID);
}

static inline void
scenario_meta(struct scenario *s)
{
	struct fdfs_storage_req r = req(FDFS_UPLOAD, NULL);
	struct buf b = BUF_CAP(4096);
	struct err e = ERR_INIT;
	struct fdfs_file f;

	r.path = FDFS_ANY_PATH;
	OK(send_text(s, r, "x", &f, &e));
	assert_int_equal(fdfs_get_meta(s->c, &s->storage, str_of(f.group),
			     str_of(f.name), &b, &e),
	    ERR_NOT_FOUND);
	r = req(FDFS_SET_META, &f);
	r.meta = STR_LIT("width\002100\001author\2bob");
	OK(fdfs_do(s->c, &s->storage, &r, &e));
	r.meta_flag = 'M';
	r.meta = STR_LIT("height\002200\001width\002999");
	OK(fdfs_do(s->c, &s->storage, &r, &e));
	OK(fdfs_get_meta(s->c, &s->storage, str_of(f.group), str_of(f.name), &b,
	    &e));
	assert_true(
	    str_eqz(buf_str(&b), "author\2bob\1height\002200\1width\002999"));
	r.meta_flag = 'O';
	r.meta = STR_LIT("");
	OK(fdfs_do(s->c, &s->storage, &r, &e));
	assert_int_equal(fdfs_get_meta(s->c, &s->storage, str_of(f.group),
			     str_of(f.name), &b, &e),
	    ERR_NOT_FOUND);
	buf_fini(&b);
}

static inline void
scenario_run(uint16_t tracker_port)
{
	struct scenario s = { .tracker = { .ip = "127.0.0.1",
				  .port = tracker_port } };
	struct fdfs_client_stat stat;
	struct err e = ERR_INIT;

	OK(fdfs_client_open(NULL, &s.c, &e));
	scenario_tracker(&s);
	scenario_files(&s);
	scenario_appender(&s);
	scenario_meta(&s);
	fdfs_client_stat(s.c, &stat);
	/* One connection each, and one more after each status 22. */
	assert_true(stat.connects <= 8);
	assert_true(stat.reused >= 25);
	assert_int_equal(stat.stale, 0);
	fdfs_client_close(&s.c);
}

#endif
