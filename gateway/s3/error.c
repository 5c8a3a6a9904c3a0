/* gateway/s3/error.c - error answers: AWS's XML, with what a client needs to
 * find its mistake, and nothing about the inside. */
#include "gateway/s3/doc.h"

void
s3_extra(struct s3_req *r, const char *name, struct str value)
{
	if (r->n_extra == sizeof(r->extra) / sizeof(r->extra[0]))
		return;
	r->extra[r->n_extra++] = (struct header){ str_of(name), value };
}

void
s3_extra_u64(struct s3_req *r, const char *name, uint64_t v)
{
	s3_extra(r, name, arena_fmt(r->a, "%ju", (uintmax_t)v));
}

void
s3_common_headers(struct s3_req *r)
{
	http_setz(r->http, "Server", "Creel");
	http_setz(r->http, "x-amz-request-id", r->info->id);
	http_setz(r->http, "x-amz-id-2", r->s3->host_id);
	s3_cors_headers(r);
}

/* A failure inside says nothing but that it happened: its text may name paths,
 * and belongs in the log. */
static bool
is_inside(const struct err *e)
{
	return err_http_status(e->code) >= 500 &&
	       e->code != ERR_NOT_IMPLEMENTED;
}

const char *
s3_error_code(const struct err *e)
{
	return err_s3_code(e->code);
}

const char *
s3_error_message(const struct err *e)
{
	if (!is_inside(e))
		return e->msg[0] != '\0' ? e->msg : err_text(e->code);
	if (strcmp(err_s3_code(e->code), "InternalError") == 0)
		return "We encountered an internal error. Please try again.";
	return err_text(e->code);
}

static void
error_doc(struct s3_req *r, const struct err *e, struct doc *d)
{
	size_t i;

	doc_init(d, "Error", NULL);
	doc_textz(d, "Code", s3_error_code(e));
	doc_textz(d, "Message", s3_error_message(e));
	for (i = 0; i < r->n_extra; i++)
		doc_text(d, r->extra[i].name.p, r->extra[i].value);
	doc_text(d, "Resource", r->info->path);
	doc_textz(d, "RequestId", r->info->id);
	doc_textz(d, "HostId", r->s3->host_id);
}

static int
status_of(const struct err *e)
{
	int status = err_http_status(e->code);

	return status >= 300 && status <= 599 ? status : 500;
}

/* A body that is cut, or too long, fails here first; its other bytes are no
 * request. */
static bool
is_of_other_body(int code)
{
	return code == ERR_BAD_DIGEST ||
	       code == ERR_XAMZ_CONTENT_SHA256_MISMATCH;
}

void
s3_reply_error(struct s3_req *r, const struct err *e)
{
	int status = status_of(e);
	struct str body;
	struct doc d;

	if (is_inside(e))
		s3_event(r->s3, status == 503 ? 1 : 0, "request %s: %s: %s",
		    r->info->id, err_name(e->code), e->msg);
	http_note(r->http)->error = s3_error_code(e);
	metric_error(e->code);
	if (e->code == ERR_DISCONNECTED) {
		http_break(r->http);
		return;
	}
	if (is_of_other_body(e->code))
		http_distrust(r->http);
	if (status != 304) {
		http_unset_all(r->http);
		s3_common_headers(r);
	}
	if (r->bucket.name[0] != '\0')
		http_setz(r->http, "x-amz-bucket-region",
		    r->bucket.location[0] != '\0' ? r->bucket.location
						  : r->s3->region);
	if (e->code == ERR_INVALID_RANGE && r->bucket.name[0] != '\0') {
		size_t i;

		for (i = 0; i < r->n_extra; i++)
			if (str_eqz(r->extra[i].name, "ActualObjectSize"))
				http_setf(r->http, "Content-Range",
				    "bytes */" STR_FMT,
				    STR_ARG(r->extra[i].value));
	}
	if (status == 304) {
		http_reply(r->http, status, STR_LIT(""));
		return;
	}
	http_setz(r->http, "Content-Type", "application/xml");
	if (r->method == M_HEAD) {
		http_reply(r->http, status, STR_LIT(""));
		return;
	}
	error_doc(r, e, &d);
	doc_end(&d, &body, NULL);
	http_reply(r->http, status, body);
	doc_fini(&d);
}

void
s3_error_body(void *arg, struct http_req *h, const struct err *why,
    struct buf *out, const char **ret_type)
{
	struct s3 *s = arg;
	struct str body;
	struct s3_req r;
	struct doc d;

	memset(&r, 0, sizeof(r));
	r.s3 = s;
	r.http = h;
	r.info = http_info(h);
	metric_error(why->code);
	error_doc(&r, why, &d);
	doc_end(&d, &body, NULL);
	buf_adds(out, body);
	doc_fini(&d);
	*ret_type = "application/xml";
}
