/* gateway/s3/health.c - the reserved paths: health, and the hook for the rest
 * below /-/. They tell nothing about data and need no signature. */
#include "gateway/s3/s3_int.h"

static void
text(struct s3_req *r, int status, struct str body)
{
	http_setz(r->http, "Content-Type", "text/plain; charset=utf-8");
	http_setz(r->http, "Cache-Control", "no-store");
	http_reply(r->http, status, body);
}

static void
ready(struct s3_req *r)
{
	struct buf why = BUF_CAP(4096);
	bool ok;

	ok = r->s3->conf.ready == NULL ||
	     r->s3->conf.ready(r->s3->conf.arg, &why);
	if (!ok && why.len == 0)
		buf_addz(&why, "not ready\n");
	text(r, ok ? 200 : 503, ok ? STR_LIT("ok\n") : buf_str(&why));
	buf_fini(&why);
}

static bool
is_live(struct str path)
{
	return str_eqz(path, "/-/health/live") ||
	       str_eqz(path, "/minio/health/live");
}

static bool
is_ready(struct str path)
{
	return str_eqz(path, "/-/health/ready") ||
	       str_eqz(path, "/minio/health/ready") ||
	       str_eqz(path, "/minio/health/cluster") ||
	       str_eqz(path, "/minio/health/cluster/read");
}

bool
s3_is_vital(void *arg, struct str path)
{
	(void)arg;
	return is_live(path) || is_ready(path);
}

static bool
is_under(struct str path, struct str dir)
{
	return str_has_prefix(path, dir) &&
	       (path.len == dir.len || path.p[dir.len] == '/');
}

bool
s3_reserved(struct s3_req *r)
{
	struct str path = r->info->path;
	struct s3 *s = r->s3;

	if (r->is_vhost || (!is_under(path, STR_LIT("/-")) &&
			       !is_under(path, STR_LIT("/minio"))))
		return false;
	http_note(r->http)->op_name = "-";
	http_note(r->http)->op = s3_is_vital(s, path) ? METRIC_OP_Health
	                         : str_eqz(path, "/-/metrics")
	                             ? METRIC_OP_Metrics
	                             : METRIC_OP_Admin;
	http_note(r->http)->bucket = STR_NULL;
	http_note(r->http)->key = STR_NULL;
	if (is_live(path) || is_ready(path)) {
		if (r->method != M_GET && r->method != M_HEAD)
			text(r, 405, STR_LIT("method not allowed\n"));
		else if (is_live(path))
			text(r, 200, STR_LIT("ok\n"));
		else
			ready(r);
		return true;
	}
	if (is_under(path, STR_LIT("/-")) && s->conf.admin != NULL &&
	    s->conf.admin(s->conf.arg, s, r->http, path))
		return true;
	text(r, 404, STR_LIT("not found\n"));
	return true;
}
