/* gateway/admin/admin.c - routes below /-/, and who may use them. */
#include "gateway/admin/internal.h"

#include "lib/clock.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define API "/-/admin/v1/"

static const struct route {
	const char *method;
	const char *path; /* after API; a trailing '/' takes one more part */
	admin_route_fn fn;
} routes[] = {
	{ "GET", "status", admin_status },
	{ "GET", "users", admin_user_list },
	{ "POST", "users", admin_user_add },
	{ "DELETE", "users/", admin_user_remove },
	{ "GET", "keys", admin_key_list },
	{ "POST", "keys", admin_key_add },
	{ "DELETE", "keys/", admin_key_remove },
	{ "GET", "buckets", admin_bucket_list },
	{ "POST", "scrub", admin_scrub },
	{ "POST", "compact", admin_compact },
	{ "POST", "collect", admin_collect },
	{ "POST", "sweep", admin_sweep },
	{ "POST", "verify", admin_verify },
	{ "POST", "backup", admin_backup },
};

int
admin_new(const struct admin_conf *c, struct admin **ret, struct err *e)
{
	struct admin *a;

	MUST(c->store != NULL && c->version != NULL);
	a = mem_zalloc(sizeof(*a));
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	a->magic = ADMIN_MAGIC;
	a->store = c->store;
	a->version = c->version;
	atomic_store(&a->metrics_public, c->metrics_public);
	if (c->metrics_token != NULL &&
	    (size_t)snprintf(a->token, sizeof(a->token), "%s",
		c->metrics_token) >= sizeof(a->token)) {
		mem_free(&a);
		return err_set(e, ERR_CONFIG,
		    "the metrics token is longer than 128 characters");
	}
	a->started_ns = clock_mono_ns();
	*ret = a;
	return 0;
}

void
admin_free(struct admin **ap)
{
	if (*ap == NULL)
		return;
	OBJ_CHECK(*ap, ADMIN_MAGIC);
	(*ap)->magic = 0;
	mem_free(ap);
}

void
admin_set_server(struct admin *a, struct http_server *s)
{
	OBJ_CHECK(a, ADMIN_MAGIC);
	atomic_store(&a->server, s);
}

void
admin_set_stopping(struct admin *a)
{
	OBJ_CHECK(a, ADMIN_MAGIC);
	atomic_store(&a->stopping, true);
}

void
admin_set_metrics_public(struct admin *a, bool is_public)
{
	OBJ_CHECK(a, ADMIN_MAGIC);
	atomic_store(&a->metrics_public, is_public);
}

int
admin_give(json_t *j, json_t **ret, struct err *e)
{
	if (j == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	*ret = j;
	return 0;
}

const char *
admin_text(const struct admin_call *c, const char *name)
{
	return json_string_value(json_object_get(c->body, name));
}

bool
admin_flag(const struct admin_call *c, const char *name)
{
	return json_is_true(json_object_get(c->body, name));
}

/* --- answers --- */

static void
reply_json(struct http_req *r, int status, json_t *j)
{
	char *text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);

	http_setz(r, "Content-Type", "application/json");
	http_setz(r, "Cache-Control", "no-store");
	if (j != NULL && text == NULL)
		http_reply(r, 503, STR_NULL);
	else
		http_reply(r, status, str_of(text));
	free(text);
}

/* S3's code, or one for what S3 has no name for. */
static const char *
error_code(int code)
{
	if (code == ERR_EXISTS)
		return "AlreadyExists";
	if (code == ERR_NOT_FOUND)
		return "NotFound";
	return err_s3_code(code);
}

static void
reply_error(struct http_req *r, const struct err *e)
{
	const char *message = e->msg[0] != '\0' ? e->msg : err_text(e->code);
	const char *code = error_code(e->code);
	json_t *j;

	j = json_pack("{s:s, s:s, s:s}", "code", code, "message", message,
	    "request_id", http_info(r)->id);
	if (j == NULL) /* not UTF-8 */
		j = json_pack("{s:s, s:s}", "code", code, "message",
		    err_text(e->code));
	http_note(r)->error = code;
	reply_json(r, err_http_status(e->code), j);
	json_decref(j);
}

static void
reply_text(struct http_req *r, int status, struct str text)
{
	http_setz(r, "Content-Type", "text/plain; charset=utf-8");
	http_setz(r, "Cache-Control", "no-store");
	http_reply(r, status, text);
}

/* --- who asks --- */

/* A1. The signature covers the body's hash; the body was checked against it. */
static int
read_request(struct admin_call *c, struct s3 *s3, struct err *e)
{
	struct buf b = BUF_CAP(ADMIN_BODY_MAX);
	struct user user;
	int rc;

	rc = s3_admin_request(s3, c->req, ADMIN_BODY_MAX, &user, &b, e);
	if (rc == 0 && !user.is_root)
		rc = err_set(e, ERR_ACCESS_DENIED,
		    "administration is for the root user");
	if (rc == 0 && b.len > 0) {
		c->body = json_loadb(b.p, b.len, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(c->body))
			rc = err_set(e, ERR_INVALID,
			    "the body is not a JSON object");
	}
	buf_fini(&b);
	return rc;
}

/* --- routes --- */

/* NULL: ERR_NOT_FOUND, or ERR_METHOD_NOT_ALLOWED, in @e. */
static const struct route *
find_route(struct admin_call *c, struct err *e)
{
	const struct http_info *in = http_info(c->req);
	struct str path = str_skip(in->path, sizeof(API) - 1);
	struct str want;
	bool other_method = false, match;
	char *name;
	size_t i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		want = str_of(routes[i].path);
		if (want.p[want.len - 1] == '/')
			match =
			    str_has_prefix(path, want) && path.len > want.len;
		else
			match = str_eq(path, want);
		if (!match)
			continue;
		if (!str_eqz(in->method, routes[i].method)) {
			other_method = true;
			continue;
		}
		c->rest = str_skip(path, want.len);
		name = arena_alloc(http_arena(c->req), c->rest.len + 1);
		if (name == NULL) {
			err_set(e, ERR_NO_MEMORY, NULL);
			return NULL;
		}
		if (!pct_decode(c->rest, false, name, &c->rest.len) ||
		    memchr(name, '\0', c->rest.len) != NULL) {
			err_set(e, ERR_INVALID_URI, NULL);
			return NULL;
		}
		name[c->rest.len] = '\0';
		c->rest.p = name;
		return &routes[i];
	}
	err_set(e, other_method ? ERR_METHOD_NOT_ALLOWED : ERR_NOT_FOUND,
	    other_method ? NULL : "no such administration command");
	return NULL;
}

static void
handle_api(struct admin *a, struct s3 *s3, struct http_req *r)
{
	struct admin_call c = { .admin = a, .req = r };
	const struct route *route = NULL;
	struct err e = ERR_INIT;
	json_t *answer = NULL;
	int rc;

	http_note(r)->op = METRIC_OP_Admin;
	http_note(r)->op_name = "Admin";
	c.query = http_info(r)->query;
	rc = read_request(&c, s3, &e);
	if (rc == 0) {
		route = find_route(&c, &e);
		rc = route == NULL ? e.code : 0;
	}
	if (rc == 0)
		rc = route->fn(&c, &answer, &e);
	if (rc < 0) {
		e.code = rc;
		reply_error(r, &e);
	} else {
		reply_json(r, answer == NULL ? 204 : 200, answer);
	}
	json_decref(answer);
	json_decref(c.body);
}

static void
handle_metrics(struct admin *a, struct http_req *r)
{
	struct buf b = BUF_CAP(ADMIN_ANSWER_MAX);
	struct str given = http_header(r, "authorization");
	struct err e = ERR_INIT;
	bool ok = atomic_load(&a->metrics_public);

	http_note(r)->op = METRIC_OP_Metrics;
	http_note(r)->op_name = "Metrics";
	if (!ok && a->token[0] != '\0' &&
	    str_has_prefix(given, STR_LIT("Bearer ")))
		ok = str_eq_secret(str_trim(str_skip(given, 7)),
		    str_of(a->token));
	if (!ok) {
		http_setz(r, "WWW-Authenticate", "Bearer realm=\"metrics\"");
		reply_text(r, 401,
		    STR_LIT("send the token of the file metrics.token in the "
			    "first data directory as a bearer token\n"));
		return;
	}
	if (admin_metrics_text(a, &b, &e) < 0) {
		reply_text(r, 503, STR_LIT("out of memory\n"));
	} else {
		http_setz(r, "Content-Type",
		    "text/plain; version=0.0.4; charset=utf-8");
		http_reply(r, 200, buf_str(&b));
	}
	buf_fini(&b);
}

bool
admin_handle(struct admin *a, struct s3 *s3, struct http_req *r,
    struct str path)
{
	struct str method = http_info(r)->method;

	OBJ_CHECK(a, ADMIN_MAGIC);
	if (str_has_prefix(path, STR_LIT(API)))
		handle_api(a, s3, r);
	else if (!str_eqz(path, "/-/metrics"))
		return false;
	else if (str_eqz(method, "GET") || str_eqz(method, "HEAD"))
		handle_metrics(a, r);
	else
		reply_text(r, 405, STR_LIT("GET or HEAD\n"));
	return true;
}
