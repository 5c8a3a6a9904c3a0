/* cli/admin_fdfs.c - `creel admin fdfs ...`: what FastDFS's tools do, against
 * Creel or FastDFS. Asks one tracker after the other until one answers; then the
 * storage node that it names. No secret: the commands have none. */
#include "cli/admin.h"
#include "cli/cli.h"

#include "fdfs/meta.h"
#include "fdfs/ops.h"
#include "lib/conf.h"
#include "lib/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS 8

struct run {
	struct admin_options *o;
	int argc; /* words behind the command */
	char **argv;
	struct conf conf;
	struct fdfs_client *client;
	struct fdfs_file file; /* of commands that name one first */
	struct fdfs_servers at;
};

/* --- content --- */

struct content {
	int fd;
	uint64_t size, off;
};

static int
content_open(const char *path, struct content *ret, struct err *e)
{
	*ret = (struct content){ .fd = -1 };
	int rc = fs_open(path, O_RDONLY, &ret->fd, e);

	return rc == 0 ? fs_size(ret->fd, &ret->size, e) : rc;
}

static int
content_read(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct content *c = arg;
	int rc;

	if (len > c->size - c->off)
		len = (size_t)(c->size - c->off);
	rc = fs_pread(c->fd, p, len, c->off, ret, e);
	if (rc == 0)
		c->off += *ret;
	return rc;
}

/* What stands behind the last dot of the file's name, up to 6 characters. */
static struct str
extension(const char *path)
{
	struct str s = str_of(path), ext;
	ptrdiff_t slash = str_rchr(s, '/'), dot;

	if (slash >= 0)
		s = str_skip(s, (size_t)slash + 1);
	dot = str_rchr(s, '.');
	if (dot < 0)
		return STR_NULL;
	ext = str_skip(s, (size_t)dot + 1);
	return ext.len <= FDFS_EXT_MAX && fdfs_ext_is_valid(ext) ? ext
	                                                         : STR_NULL;
}

/* --- whom to ask --- */

typedef int ask_fn(struct run *r, const struct fdfs_addr *tracker,
    struct err *e);

static int
ask_trackers(struct run *r, ask_fn *fn, struct err *e)
{
	int rc = err_set(e, ERR_CONFIG,
	    "no trackers: give --trackers or CREEL_TRACKERS");

	for (size_t i = 0; i < r->conf.trackers.n; i++) {
		struct fdfs_addr a;

		if (fdfs_addr_parse(str_of(r->conf.trackers.v[i]), &a, e) < 0)
			return err_set(e, ERR_CONFIG,
			    "trackers: %s is not HOST:PORT",
			    r->conf.trackers.v[i]);
		rc = fn(r, &a, e);
		if (rc != ERR_DISCONNECTED)
			break;
	}
	return rc;
}

static int
ask_store(struct run *r, const struct fdfs_addr *tracker, struct err *e)
{
	return fdfs_ask_store(r->client, tracker,
	    str_of(r->o->group == NULL ? "" : r->o->group), false, &r->at, e);
}

static int
ask_one(struct run *r, const struct fdfs_addr *tracker, struct err *e)
{
	return fdfs_ask_fetch(r->client, tracker, FDFS_FETCH_ONE,
	    str_of(r->file.group), str_of(r->file.name), &r->at, e);
}

static int
ask_update(struct run *r, const struct fdfs_addr *tracker, struct err *e)
{
	return fdfs_ask_fetch(r->client, tracker, FDFS_FETCH_UPDATE,
	    str_of(r->file.group), str_of(r->file.name), &r->at, e);
}

/* --- commands --- */

static int
send_file(struct run *r, const char *path, struct fdfs_storage_req *q,
    struct fdfs_file *ret, struct err *e)
{
	struct content c;
	int rc = content_open(path, &c, e);

	q->size = c.size;
	if (rc == 0)
		rc = fdfs_send(r->client, &r->at.addr[0], q, content_read, &c,
		    ret, e);
	fs_close(&c.fd);
	return rc;
}

static int
upload_as(struct run *r, uint8_t command, struct err *e)
{
	struct fdfs_storage_req q = { .command = command,
		.ext = extension(r->argv[0]) };
	struct fdfs_file f;
	int rc = ask_trackers(r, ask_store, e);

	q.path = r->at.path;
	if (rc == 0)
		rc = send_file(r, r->argv[0], &q, &f, e);
	if (rc == 0)
		printf("%s/%s\n", f.group, f.name);
	return rc;
}

static int
cmd_upload(struct run *r, struct err *e)
{
	return upload_as(r, FDFS_UPLOAD, e);
}

static int
cmd_upload_appender(struct run *r, struct err *e)
{
	return upload_as(r, FDFS_UPLOAD_APPENDER, e);
}

static int
cmd_upload_slave(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_UPLOAD_SLAVE,
		.name = str_of(r->file.name),
		.prefix = str_of(r->argv[1]),
		.ext = extension(r->argv[2]) };
	struct fdfs_file f;
	int rc = ask_trackers(r, ask_update, e);

	if (rc == 0)
		rc = send_file(r, r->argv[2], &q, &f, e);
	if (rc == 0)
		printf("%s/%s\n", f.group, f.name);
	return rc;
}

static int
to_stream(void *arg, const void *p, size_t len, struct err *e)
{
	if (fwrite(p, 1, len, arg) != len)
		return err_set_errno(e, errno, "writing");
	return 0;
}

static int
cmd_download(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_DOWNLOAD,
		.group = str_of(r->file.group),
		.name = str_of(r->file.name) };
	const char *path = r->argc > 1 ? r->argv[1] : "-";
	FILE *f = stdout;
	uint64_t len;
	int rc = ask_trackers(r, ask_one, e);

	if (rc == 0 && strcmp(path, "-") != 0) {
		f = fopen(path, "wbe");
		if (f == NULL)
			return err_set_errno(e, errno, "%s", path);
	}
	if (rc == 0)
		rc = fdfs_download(r->client, &r->at.addr[0], &q, to_stream, f,
		    &len, e);
	if (f != stdout && fclose(f) != 0 && rc == 0)
		rc = err_set_errno(e, errno, "%s", path);
	if (rc < 0 && f != stdout)
		(void)unlink(path);
	return rc;
}

static int
cmd_info(struct run *r, struct err *e)
{
	struct fdfs_info i;
	int rc = ask_trackers(r, ask_one, e);

	if (rc == 0)
		rc = fdfs_file_info(r->client, &r->at.addr[0],
		    str_of(r->file.group), str_of(r->file.name), 0, &i, e);
	if (rc < 0)
		return rc;
	if (r->o->json)
		printf("{\"size\":%ju,\"time\":%ju,\"crc32\":\"%08x\","
		       "\"source\":\"%s\"}\n",
		    (uintmax_t)i.size, (uintmax_t)i.time, i.crc32, i.ip);
	else
		printf("size    %ju\ntime    %ju\ncrc32   %08x\nsource  %s\n",
		    (uintmax_t)i.size, (uintmax_t)i.time, i.crc32, i.ip);
	return 0;
}

static int
change(struct run *r, struct fdfs_storage_req *q, struct err *e)
{
	int rc = ask_trackers(r, ask_update, e);

	q->group = str_of(r->file.group);
	q->name = str_of(r->file.name);
	return rc == 0 ? fdfs_do(r->client, &r->at.addr[0], q, e) : rc;
}

static int
cmd_delete(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_DELETE };

	return change(r, &q, e);
}

static int
number(const char *text, uint64_t *ret, struct err *e)
{
	if (!str_to_u64(str_of(text), INT64_MAX, ret))
		return err_set(e, ERR_INVALID, "%s is no number of bytes",
		    text);
	return 0;
}

static int
cmd_append(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_APPEND,
		.name = str_of(r->file.name) };
	int rc = ask_trackers(r, ask_update, e);

	return rc == 0 ? send_file(r, r->argv[1], &q, NULL, e) : rc;
}

static int
cmd_modify(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_MODIFY,
		.name = str_of(r->file.name) };
	int rc = number(r->argv[1], &q.offset, e);

	if (rc == 0)
		rc = ask_trackers(r, ask_update, e);
	return rc == 0 ? send_file(r, r->argv[2], &q, NULL, e) : rc;
}

static int
cmd_truncate(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_TRUNCATE,
		.name = str_of(r->file.name) };
	int rc = number(r->argv[1], &q.size, e);

	if (rc == 0)
		rc = ask_trackers(r, ask_update, e);
	return rc == 0 ? fdfs_do(r->client, &r->at.addr[0], &q, e) : rc;
}

static int
cmd_regenerate(struct run *r, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_REGENERATE,
		.name = str_of(r->file.name) };
	struct fdfs_file f;
	int rc = ask_trackers(r, ask_update, e);

	if (rc == 0)
		rc = fdfs_do_file(r->client, &r->at.addr[0], &q, &f, e);
	if (rc == 0)
		printf("%s/%s\n", f.group, f.name);
	return rc;
}

static int
cmd_meta(struct run *r, struct err *e)
{
	struct buf b = BUF_CAP(FDFS_META_PACKET);
	struct fdfs_pair *pairs = NULL;
	size_t n = 0;
	int rc = ask_trackers(r, ask_update, e);

	if (rc == 0)
		rc = fdfs_get_meta(r->client, &r->at.addr[0],
		    str_of(r->file.group), str_of(r->file.name), &b, e);
	if (rc == 0)
		rc = fdfs_meta_parse(buf_str(&b), &pairs, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		printf(STR_FMT "=" STR_FMT "\n", STR_ARG(pairs[i].name),
		    STR_ARG(pairs[i].value));
	free(pairs);
	buf_fini(&b);
	return rc;
}

/* NAME=VALUE... */
static int
set_meta(struct run *r, char flag, struct err *e)
{
	struct fdfs_storage_req q = { .command = FDFS_SET_META,
		.meta_flag = flag };
	struct buf b = BUF_CAP(FDFS_META_PACKET);
	struct fdfs_pair pairs[WORDS];
	size_t n = 0;
	int rc;

	for (int i = 1; i < r->argc; i++) {
		struct str s = str_of(r->argv[i]);
		ptrdiff_t eq = str_chr(s, '=');

		if (eq < 1)
			return err_set(e, ERR_INVALID, "%s is not NAME=VALUE",
			    r->argv[i]);
		pairs[n++] = (struct fdfs_pair){ str_sub(s, 0, (size_t)eq),
			str_skip(s, (size_t)eq + 1) };
	}
	rc = fdfs_meta_format(pairs, n, &b, e);
	q.meta = buf_str(&b);
	if (rc == 0)
		rc = change(r, &q, e);
	buf_fini(&b);
	return rc;
}

static int
cmd_meta_merge(struct run *r, struct err *e)
{
	return set_meta(r, 'M', e);
}

static int
cmd_meta_replace(struct run *r, struct err *e)
{
	return set_meta(r, 'O', e);
}

static const struct {
	const char *name, *words;
	int min, max; /* words behind it */
	bool has_file;
	int (*fn)(struct run *r, struct err *e);
} commands[] = {
	{ "upload", "FILE", 1, 1, false, cmd_upload },
	{ "upload-appender", "FILE", 1, 1, false, cmd_upload_appender },
	{ "upload-slave", "ID PREFIX FILE", 3, 3, true, cmd_upload_slave },
	{ "download", "ID [FILE]", 1, 2, true, cmd_download },
	{ "info", "ID", 1, 1, true, cmd_info },
	{ "delete", "ID", 1, 1, true, cmd_delete },
	{ "append", "ID FILE", 2, 2, true, cmd_append },
	{ "modify", "ID OFFSET FILE", 3, 3, true, cmd_modify },
	{ "truncate", "ID SIZE", 2, 2, true, cmd_truncate },
	{ "regenerate", "ID", 1, 1, true, cmd_regenerate },
	{ "meta", "ID", 1, 1, true, cmd_meta },
	{ "meta-merge", "ID NAME=VALUE...", 2, WORDS, true, cmd_meta_merge },
	{ "meta-replace", "ID [NAME=VALUE...]", 1, WORDS, true,
	    cmd_meta_replace },
};

static int
prepare(struct run *r, struct err *e)
{
	const char *argv[] = { "--trackers", r->o->trackers };
	int rc = conf_load(&r->conf, CONF_TRACKER,
	    r->o->trackers != NULL ? 2 : 0, argv, e);

	if (rc != 0)
		return rc < 0 ? rc : err_set(e, ERR_CONFIG, "settings");
	return fdfs_client_open(NULL, &r->client, e);
}

static int
usage(void)
{
	const size_t n = sizeof(commands) / sizeof(commands[0]);

	fprintf(stderr, "creel: `creel admin fdfs` takes one of\n");
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "  %s %s\n", commands[i].name,
		    commands[i].words);
	return EXIT_USAGE;
}

int
admin_fdfs(struct admin_options *o, int argc, char **argv)
{
	struct run r = { .o = o, .argc = argc - 1, .argv = argv + 1 };
	struct err e = ERR_INIT;
	size_t i = 0;
	int rc = 0;

	while (strcmp(argv[0], commands[i].name) != 0)
		if (++i == sizeof(commands) / sizeof(commands[0]))
			return usage();
	if (r.argc < commands[i].min || r.argc > commands[i].max)
		return cli_usage("admin", "fdfs %s takes %s", argv[0],
		    commands[i].words);
	if (commands[i].has_file)
		rc = fdfs_file_parse(str_of(r.argv[0]), &r.file, &e);
	if (rc == 0)
		rc = prepare(&r, &e);
	if (rc == 0) {
		rc = commands[i].fn(&r, &e);
		fdfs_client_close(&r.client);
		conf_fini(&r.conf);
	}
	e.code = rc;
	return rc < 0 ? cli_fail(argv[0], &e) : EXIT_OK;
}
