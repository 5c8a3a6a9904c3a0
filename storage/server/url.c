/* storage/server/url.c - file URLs over HTTP: what FastDFS's nginx module does.
 *
 *   GET, HEAD  /group1/M00/05/0A/NAME.ext  (also without the group)
 *              ?token=..&ts=..     when http_check_token is on
 *              ?filename=NAME      Content-Disposition: attachment
 *   GET        /-/health/live, /-/health/ready, /-/metrics
 *
 * Range with one or several ranges, conditional requests, CORS. Files of other
 * classes than FastDFS's do not exist here (files.h F1), nor do those of other
 * groups: another node has them. Errors are plain text.
 * Threads: the server's, one per request. */
#include "storage/server/url.h"
#include "storage/server/storage_int.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define CHUNK (256 * 1024)
#define METRICS_MAX (1024 * 1024)
#define BOUNDARY_LEN 32

struct url {
	struct storage *s;
	struct http_req *r;
	const struct http_info *i;
	struct str name; /* remote */
	struct files_reader *reader;
	struct files_info info;
	char tag[32], modified[30];
	struct url_range range[URL_RANGES];
	int n_ranges; /* -1: all of it */
	char boundary[BOUNDARY_LEN + 1];
};

static void plain(struct http_req *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
plain(struct http_req *r, int status, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n++] = '\n';
	http_setz(r, "Content-Type", "text/plain; charset=utf-8");
	http_reply(r, status, str_mem(text, (size_t)n));
}

static void
refuse(struct url *u, int rc, const struct err *e)
{
	if (rc == ERR_RETRY || rc == ERR_BUSY || rc == ERR_CLOSED) {
		http_setz(u->r, "Retry-After", "1");
		plain(u->r, 503, "try again: %s", e->msg);
	} else if (rc == ERR_NOT_FOUND) {
		plain(u->r, 404, "no such file");
	} else {
		plain(u->r, rc == ERR_INVALID ? 404 : 500, "%s",
		    rc == ERR_INVALID ? "no such file" : err_text(rc));
	}
	metric_error(rc);
}

/* --- CORS --- */

static void
set_cors(struct url *u)
{
	struct str origin = http_header(u->r, "origin");
	const struct storage_conf *c = &u->s->c;

	if (origin.p == NULL)
		return;
	for (size_t i = 0; i < c->n_cors; i++) {
		bool any = strcmp(c->cors[i], "*") == 0;

		if (!any && !str_ieq(origin, str_of(c->cors[i])))
			continue;
		http_set(u->r, "Access-Control-Allow-Origin",
		    any ? STR_LIT("*") : origin);
		if (!any)
			http_setz(u->r, "Vary", "Origin");
		http_setz(u->r, "Access-Control-Expose-Headers",
		    "Content-Length, Content-Range, ETag");
		return;
	}
}

static void
preflight(struct url *u)
{
	set_cors(u);
	http_setz(u->r, "Access-Control-Allow-Methods", "GET, HEAD");
	http_setz(u->r, "Access-Control-Allow-Headers",
	    "Range, If-None-Match, If-Modified-Since, If-Range");
	http_setz(u->r, "Access-Control-Max-Age", "3600");
	http_setz(u->r, "Allow", "GET, HEAD, OPTIONS");
	http_reply(u->r, 204, STR_NULL);
}

/* --- the name --- */

/* Of the path; false when it is none of this group's. */
static bool
find_name(struct url *u)
{
	struct str path = u->i->path, first;
	size_t len;
	char *p;

	if (path.len == 0 || path.p[0] != '/' || path.len > 1024)
		return false;
	p = arena_alloc(http_arena(u->r), path.len);
	if (p == NULL || !pct_decode(path, false, p, &len))
		return false;
	u->name = str_mem(p + 1, len - 1);
	if (!fdfs_name_is_valid(u->name)) {
		first = str_split(&u->name, '/');
		if (!str_eqz(first, u->s->c.group) ||
		    !fdfs_name_is_valid(u->name))
			return false;
	}
	return true;
}

/* 0, or the status that it was refused with. */
static int
check_token(struct url *u, struct err *e)
{
	char room[128], secret[257];
	struct str token = STR_NULL, ts = STR_NULL;
	int64_t ttl;
	bool check;
	int rc;

	lock_take(&u->s->lock);
	check = u->s->check_token;
	ttl = u->s->token_ttl_s;
	snprintf(secret, sizeof(secret), "%s", u->s->token_secret);
	lock_drop(&u->s->lock);
	if (!check)
		return 0;
	(void)url_param(u->i->query, "token", room, 64, &token);
	(void)url_param(u->i->query, "ts", room + 64, 64, &ts);
	rc = fdfs_token_check(u->name, str_of(secret), token, ts,
	    clock_real_s(), ttl, e);
	explicit_bzero(secret, sizeof(secret));
	return rc == 0 ? 0 : rc == ERR_INVALID ? 400 : 403;
}

/* --- conditions --- */

/* 0 to go on, else 304 or 412. */
static int
check_conditions(struct url *u)
{
	struct str match = http_header(u->r, "if-match"),
		   none = http_header(u->r, "if-none-match"),
		   since = http_header(u->r, "if-modified-since"),
		   unchanged = http_header(u->r, "if-unmodified-since");
	int64_t t;

	if (match.p != NULL) {
		if (!url_has_tag(match, str_of(u->tag), false))
			return 412;
	} else if (unchanged.p != NULL) {
		t = clock_parse_http(unchanged.p, unchanged.len);
		if (t >= 0 && u->info.modified_s > t)
			return 412;
	}
	if (none.p != NULL)
		return url_has_tag(none, str_of(u->tag), true) ? 304 : 0;
	if (since.p != NULL) {
		t = clock_parse_http(since.p, since.len);
		if (t >= 0 && u->info.modified_s <= t)
			return 304;
	}
	return 0;
}

/* Which ranges; false when none can be satisfied. */
static bool
find_ranges(struct url *u)
{
	struct str range = http_header(u->r, "range"),
		   cond = http_header(u->r, "if-range");

	u->n_ranges = -1;
	if (range.p == NULL || http_header_count(u->r, "range") > 1)
		return true;
	if (cond.p != NULL && !str_eq(str_trim(cond), str_of(u->tag)) &&
	    clock_parse_http(cond.p, cond.len) != u->info.modified_s)
		return true;
	u->n_ranges = url_ranges(range, u->info.size, u->range);
	return u->n_ranges != 0;
}

/* --- sending --- */

static int
send_range(struct url *u, uint64_t off, uint64_t len, struct err *e)
{
	size_t room = len < CHUNK ? (size_t)len : CHUNK, n = 0;
	char *p = room > 0 ? mem_alloc(room) : NULL;
	int rc = 0;

	if (room > 0 && p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	while (rc == 0 && len > 0) {
		rc = files_reader_read(u->reader, off, p,
		    len < room ? (size_t)len : room, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "a file is too short");
		if (rc == 0)
			rc = http_write(u->r, p, n, e);
		off += n;
		len -= n;
	}
	mem_free(&p);
	return rc;
}

/* The head of one part, and its length if @dst is NULL. */
static int
part_head(const struct url *u, const struct url_range *x, char *dst, size_t max)
{
	return snprintf(dst, max,
	    "\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %ju-%ju/%ju"
	    "\r\n\r\n",
	    u->boundary, url_type(u->name), (uintmax_t)x->off,
	    (uintmax_t)(x->off + x->len - 1), (uintmax_t)u->info.size);
}

static int
send_parts(struct url *u, struct err *e)
{
	uint64_t len = sizeof("\r\n----\r\n") - 1 + BOUNDARY_LEN;
	char head[400];
	int rc = 0, n;

	for (int i = 0; i < u->n_ranges; i++)
		len += (uint64_t)part_head(u, &u->range[i], NULL, 0) +
		       u->range[i].len;
	http_setf(u->r, "Content-Type", "multipart/byteranges; boundary=%s",
	    u->boundary);
	http_start(u->r, 206, (int64_t)len);
	if (str_eqz(u->i->method, "HEAD"))
		return 0;
	for (int i = 0; rc == 0 && i < u->n_ranges; i++) {
		n = part_head(u, &u->range[i], head, sizeof(head));
		rc = http_write(u->r, head, (size_t)n, e);
		if (rc == 0)
			rc = send_range(u, u->range[i].off, u->range[i].len, e);
	}
	n = snprintf(head, sizeof(head), "\r\n--%s--\r\n", u->boundary);
	return rc == 0 ? http_write(u->r, head, (size_t)n, e) : rc;
}

static int
send_file(struct url *u, struct err *e)
{
	uint64_t off = 0, len = u->info.size;

	if (u->n_ranges > 1)
		return send_parts(u, e);
	http_setz(u->r, "Content-Type", url_type(u->name));
	if (u->n_ranges == 1) {
		off = u->range[0].off;
		len = u->range[0].len;
		http_setf(u->r, "Content-Range", "bytes %ju-%ju/%ju",
		    (uintmax_t)off, (uintmax_t)(off + len - 1),
		    (uintmax_t)u->info.size);
	}
	http_start(u->r, u->n_ranges == 1 ? 206 : 200, (int64_t)len);
	if (str_eqz(u->i->method, "HEAD"))
		return 0;
	return send_range(u, off, len, e);
}

static void
set_filename(struct url *u)
{
	struct buf b = BUF_CAP(4096);
	struct str name;
	char room[256];

	if (!url_param(u->i->query, "filename", room, sizeof(room), &name) ||
	    name.len == 0)
		return;
	/* RFC 6266: in any character set, and nothing else can be said. */
	if (buf_addz(&b, "attachment; filename*=UTF-8''") == 0 &&
	    buf_add_pct(&b, name, false) == 0)
		http_set(u->r, "Content-Disposition", buf_str(&b));
	buf_fini(&b);
}

static void
set_headers(struct url *u)
{
	snprintf(u->tag, sizeof(u->tag), "\"%016" PRIx64 "\"", u->info.tag);
	clock_fmt_http(u->info.modified_s, u->modified);
	http_setz(u->r, "ETag", u->tag);
	http_setz(u->r, "Last-Modified", u->modified);
	http_setz(u->r, "Accept-Ranges", "bytes");
	http_setz(u->r, "X-Content-Type-Options", "nosniff");
}

static void
serve_open(struct url *u)
{
	struct id128 random = id128_new();
	struct err e = ERR_INIT;
	int status, rc;

	set_headers(u);
	status = check_conditions(u);
	if (status != 0) {
		http_reply(u->r, status, STR_NULL);
		return;
	}
	if (!find_ranges(u)) {
		http_setf(u->r, "Content-Range", "bytes */%ju",
		    (uintmax_t)u->info.size);
		plain(u->r, 416, "no such range: the file has %ju bytes",
		    (uintmax_t)u->info.size);
		return;
	}
	id128_text(&random, u->boundary);
	set_filename(u);
	rc = send_file(u, &e);
	if (rc == 0) {
		http_finish(u->r);
		return;
	}
	if (rc != ERR_DISCONNECTED) {
		storage_say(u->s, LOG_ERROR, "file URL", &e);
		metric_error(rc);
	}
	http_break(u->r);
}

static void
serve_file(struct url *u)
{
	struct err e = ERR_INIT;
	int status, rc;

	set_cors(u);
	if (!find_name(u)) {
		plain(u->r, 404, "no such file");
		return;
	}
	status = check_token(u, &e);
	if (status != 0) {
		plain(u->r, status, "%s", e.msg);
		return;
	}
	rc = files_reader_open(u->s->files, u->name, &u->reader, &u->info, &e);
	storage_count(u->s, COUNT_DOWNLOAD, 1, rc == 0);
	if (rc < 0) {
		refuse(u, rc, &e);
		return;
	}
	serve_open(u);
	storage_count(u->s, COUNT_DOWNLOAD_BYTES, (int64_t)http_bytes_out(u->r),
	    true);
	files_reader_close(&u->reader);
}

/* --- beside files --- */

static int
command_metrics(struct storage *s, struct buf *b)
{
	static const char *const names[COUNTS] = {
		[COUNT_UPLOAD] = "upload",
		[COUNT_APPEND] = "append",
		[COUNT_MODIFY] = "modify",
		[COUNT_TRUNCATE] = "truncate",
		[COUNT_SET_META] = "set_metadata",
		[COUNT_DELETE] = "delete",
		[COUNT_DOWNLOAD] = "download",
		[COUNT_GET_META] = "get_metadata",
	};
	int rc = metrics_head(b, "creel_fastdfs_calls_total", "counter",
	    "Commands of FastDFS's clients, and file URLs.");

	for (size_t i = 0; rc == 0 && i < COUNTS; i++)
		if (names[i] != NULL)
			rc = metrics_line(b, "creel_fastdfs_calls_total",
			    "command", str_of(names[i]),
			    (uint64_t)atomic_load(&s->counts.total[i]));
	if (rc == 0)
		rc = metrics_head(b, "creel_fastdfs_failed_total", "counter",
		    "Those of them that were answered with an error.");
	for (size_t i = 0; rc == 0 && i < COUNTS; i++)
		if (names[i] != NULL)
			rc = metrics_line(b, "creel_fastdfs_failed_total",
			    "command", str_of(names[i]),
			    (uint64_t)(atomic_load(&s->counts.total[i]) -
				       atomic_load(&s->counts.success[i])));
	return rc;
}

static void
metrics(struct url *u)
{
	struct buf b = BUF_CAP(METRICS_MAX);
	struct engine_path_stat st;
	bool is_public;
	int rc;

	lock_take(&u->s->lock);
	is_public = u->s->metrics_public;
	lock_drop(&u->s->lock);
	if (!is_public) {
		plain(u->r, 403, "metrics_public is off");
		return;
	}
	rc = metrics_text(&b);
	if (rc == 0)
		rc = metrics_head(&b, "creel_path_available_bytes", "gauge",
		    "Free space of a store path.");
	for (size_t i = 0; rc == 0 && i < engine_n_paths(u->s->engine); i++) {
		engine_path_stat(u->s->engine, i, &st);
		rc = metrics_line(&b, "creel_path_available_bytes", "path",
		    str_of(st.path), st.avail);
	}
	if (rc == 0)
		rc = metrics_head(&b, "creel_path_files", "gauge",
		    "Live files of a store path.");
	for (size_t i = 0; rc == 0 && i < engine_n_paths(u->s->engine); i++) {
		engine_path_stat(u->s->engine, i, &st);
		rc = metrics_line(&b, "creel_path_files", "path",
		    str_of(st.path), st.files);
	}
	if (rc == 0)
		rc = command_metrics(u->s, &b);
	http_setz(u->r, "Content-Type", "text/plain; version=0.0.4");
	http_reply(u->r, rc == 0 ? 200 : 500, buf_str(&b));
	buf_fini(&b);
}

static void
ready(struct url *u)
{
	struct err e = ERR_INIT;
	struct cmap_node n;
	bool ok;

	if (storage_node_of(u->s, &n, &e) < 0) {
		plain(u->r, 503, "%s", e.msg);
		return;
	}
	ok = n.state == FDFS_STATE_ACTIVE;
	plain(u->r, ok ? 200 : 503, "%s%s%s", fdfs_state_name(n.state),
	    n.reason[0] != '\0' ? ": " : "", n.reason);
	cmap_node_fini(&n);
}

static void
handle(void *arg, struct http_req *r)
{
	struct url u = { .s = arg, .r = r, .i = http_info(r) };
	struct http_note *note = http_note(r);

	note->op = METRIC_OP_Other;
	note->op_name = "FileUrl";
	if (str_eqz(u.i->method, "OPTIONS")) {
		preflight(&u);
	} else if (!str_eqz(u.i->method, "GET") &&
		   !str_eqz(u.i->method, "HEAD")) {
		http_setz(r, "Allow", "GET, HEAD, OPTIONS");
		plain(r, 405, "GET and HEAD are what there is");
	} else if (str_eqz(u.i->path, "/-/health/live")) {
		plain(r, 200, "alive");
	} else if (str_eqz(u.i->path, "/-/health/ready")) {
		ready(&u);
	} else if (str_eqz(u.i->path, "/-/metrics")) {
		metrics(&u);
	} else {
		serve_file(&u);
	}
}

static void
error_body(void *arg, struct http_req *r, const struct err *why,
    struct buf *out, const char **ret_type)
{
	(void)arg;
	(void)r;
	*ret_type = "text/plain; charset=utf-8";
	(void)buf_addf(out, "%s\n",
	    why->msg[0] != '\0' ? why->msg : err_text(why->code));
}

static bool
is_vital(void *arg, struct str path)
{
	(void)arg;
	return str_has_prefix(path, STR_LIT("/-/health/"));
}

int
url_start(struct storage *s, struct err *e)
{
	struct http_conf c = *s->c.http;
	const char *address, *colon;
	uint64_t port = 0;
	int rc;

	c.handle = handle;
	c.error_body = error_body;
	c.is_vital = is_vital;
	c.done = NULL;
	c.arg = s;
	rc = http_server_start(&c, &s->http, e);
	if (rc < 0)
		return rc;
	address = http_server_address(s->http, 0);
	snprintf(s->http_address, sizeof(s->http_address), "%s",
	    address == NULL ? "" : address);
	colon = strrchr(s->http_address, ':');
	if (colon != NULL)
		(void)str_to_u64(str_of(colon + 1), UINT16_MAX, &port);
	s->http_port = (uint16_t)port;
	return 0;
}
