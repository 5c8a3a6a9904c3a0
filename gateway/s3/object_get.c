/* gateway/s3/object_get.c - GetObject and HeadObject.
 *
 * The first piece of the body is read before the answer starts, so that what
 * fails there is a clean error, and a small object leaves in one segment with
 * its headers. What fails later breaks the connection (P2).
 *
 * Where the bytes are at another node, a small object's request waits for them
 * without a thread; what goes wrong with that is done again with one. */
#include "gateway/blob/blob.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/headers.h"
#include "gateway/s3/range.h"

struct get {
	struct s3_req *r;
	struct object o;
	struct object_reader *rd; /* NULL for a plain HEAD */
	uint64_t off, len;
	bool is_partial;
	uint32_t part, n_parts;   /* partNumber reads */
	struct checksum checksum; /* what may be told about these bytes */
};

static int
invalid_range(struct get *g, struct str range, struct err *e)
{
	s3_extra(g->r, "RangeRequested", range);
	s3_extra_u64(g->r, "ActualObjectSize", g->o.size);
	return err_set(e, ERR_INVALID_RANGE, NULL);
}

static int
choose_part(struct get *g, struct err *e)
{
	struct object_part part = { 0 };
	size_t n = 0;
	int rc;

	rc = object_part(g->rd, g->part, g->r->a, &part, &n, e);
	if (rc == 0 && n == 0 && g->part == 1) { /* one PUT: it is part 1 */
		g->is_partial = g->o.size > 0;
		return 0;
	}
	if (rc == 0 && n == 0)
		rc = ERR_INVALID_PART_NUMBER;
	if (rc == ERR_INVALID_PART_NUMBER) {
		s3_extra_u64(g->r, "PartNumberRequested", g->part);
		s3_extra_u64(g->r, "ActualPartCount", n == 0 ? 1 : n);
		return err_set(e, ERR_INVALID_PART_NUMBER, NULL);
	}
	if (rc < 0)
		return rc;
	g->is_partial = true;
	g->off = part.off;
	g->len = part.size;
	g->n_parts = (uint32_t)n;
	g->checksum = part.checksum;
	g->checksum.is_composite = g->o.checksum.is_composite;
	return 0;
}

static int
choose_range(struct get *g, struct err *e)
{
	struct str range = http_header(g->r->http, "range");
	struct str if_range = http_header(g->r->http, "if-range");
	uint64_t off, len;

	g->off = 0;
	g->len = g->o.size;
	g->checksum = g->o.checksum;
	if (g->part > 0)
		return choose_part(g, e);
	if (range.p == NULL)
		return 0;
	if (if_range.p != NULL &&
	    !cond_if_range(if_range, g->o.etag, g->o.mtime_ns / 1000000000))
		return 0;
	switch (range_parse(range, g->o.size, &off, &len)) {
	case RANGE_NONE:
		return 0;
	case RANGE_UNSATISFIABLE:
		return invalid_range(g, range, e);
	case RANGE_OK:
	default:
		g->off = off;
		g->len = len;
		g->is_partial = true;
		/* never the whole object's checksum with a piece of it */
		g->checksum.alg = CHECKSUM_NONE;
		return 0;
	}
}

static int
check_conditions(struct get *g, struct err *e)
{
	struct read_cond c;

	s3_read_cond(g->r, &c);
	switch (cond_read(&c, g->o.etag, g->o.mtime_ns / 1000000000)) {
	case COND_PASS:
		return 0;
	case COND_NOT_MODIFIED:
		s3_send_etag(g->r, g->o.etag);
		s3_send_mtime(g->r, g->o.mtime_ns);
		return err_set(e, ERR_NOT_MODIFIED, NULL);
	case COND_FAILED:
	default:
		s3_extra(g->r, "Condition",
		    c.if_match.p != NULL ? STR_LIT("If-Match")
					 : STR_LIT("If-Unmodified-Since"));
		return err_set(e, ERR_PRECONDITION_FAILED, NULL);
	}
}

static int
send_headers(struct get *g, struct err *e)
{
	struct s3_req *r = g->r;
	struct str mode = s3_header(r, "x-amz-checksum-mode");
	int rc;

	rc = s3_send_headers(r, &g->o, e);
	if (rc < 0)
		return rc;
	if (str_ieq(mode, STR_LIT("ENABLED")))
		s3_send_checksum(r, &g->checksum,
		    g->part > 0 && g->n_parts > 0 ? 0 : g->o.n_parts);
	if (g->n_parts > 0)
		http_setf(r->http, "x-amz-mp-parts-count", "%u", g->n_parts);
	if (g->is_partial && g->len > 0)
		http_setf(r->http, "Content-Range", "bytes %ju-%ju/%ju",
		    (uintmax_t)g->off, (uintmax_t)(g->off + g->len - 1),
		    (uintmax_t)g->o.size);
	return 0;
}

static int
send_through(struct get *g, int status, void *buf, size_t size, struct err *e)
{
	uint64_t done = 0;
	size_t n;
	int rc = 0;

	while (done < g->len) {
		n = g->len - done < size ? (size_t)(g->len - done) : size;
		rc = object_read(g->rd, g->off + done, buf, n, &n, e);
		if (rc == 0 && n == 0)
			rc = err_set(e, ERR_CORRUPT, "object ends early");
		if (rc < 0)
			break;
		if (done == 0)
			http_start(g->r->http, status, (int64_t)g->len);
		rc = http_write(g->r->http, buf, n, e);
		if (rc < 0)
			break;
		done += n;
	}
	if (rc == 0)
		http_finish(g->r->http);
	if (rc < 0 && done > 0 && rc != ERR_DISCONNECTED)
		s3_event(g->r->s3, 0,
		    "request %s: reading breaks off at %ju: %s", g->r->info->id,
		    (uintmax_t)(g->off + done), e->msg);
	return rc;
}

static int
send_body(struct get *g, int status, struct err *e)
{
	struct s3 *s = g->r->s3;
	size_t size = g->len < S3_IO_SIZE ? (size_t)g->len : S3_IO_SIZE;
	char small[S3_SMALL];
	void *buf = NULL;
	int rc;

	if (g->len <= sizeof(small))
		return send_through(g, status, small, sizeof(small), e);
	rc = s3_mem_get(s, size, &buf, e);
	if (rc < 0)
		return rc;
	rc = send_through(g, status, buf, size, e);
	s3_mem_put(s, &buf, size);
	return rc;
}

/* --- without a thread --- */

struct later {
	struct s3_req r;
	struct get g;
	struct blob_later blob;
	int status, rc;
	void *buf;
};

static int
send_whole(struct later *w, struct err *e)
{
	struct http_req *h = w->r.http;
	int rc;

	http_start(h, w->status, (int64_t)w->g.len);
	rc = http_write(h, w->buf, (size_t)w->g.len, e);
	if (rc == 0)
		http_finish(h);
	return rc;
}

static void
go_on(void *arg, struct http_req *h)
{
	struct later *w = arg;
	struct err e = ERR_INIT;
	int rc;

	(void)h;
	if (w->rc == 0)
		rc = send_whole(w, &e);
	else
		rc = send_body(&w->g, w->status, &e);
	s3_mem_put(w->r.s3, &w->buf, (size_t)w->g.len);
	object_close(&w->g.rd);
	s3_end(&w->r, rc, &e);
}

static void
on_bytes(void *arg, int rc)
{
	struct later *w = arg;

	w->rc = rc;
	http_resume(w->r.http, go_on, w);
}

/* True: the answer comes later, and the rest is in its hands. */
static bool
answer_later(struct get *g, int status)
{
	struct s3_req *r = g->r;
	struct later *w;
	void *buf;

	if (g->off != 0 || g->len != g->o.size || !object_may_read_later(g->rd))
		return false;
	w = arena_alloc(r->a, sizeof(*w));
	if (w == NULL || s3_mem_get(r->s3, (size_t)g->len, &buf, NULL) < 0)
		return false;
	if (!s3_defer(r, &w->r)) {
		s3_mem_put(r->s3, &buf, (size_t)g->len);
		return false;
	}
	w->g = *g;
	w->g.r = &w->r;
	w->status = status;
	w->buf = buf;
	w->blob.fn = on_bytes;
	w->blob.arg = w;
	g->rd = NULL;
	if (!object_read_later(w->g.rd, buf, &w->blob))
		on_bytes(w, ERR_BUSY);
	return true;
}

static int
answer(struct get *g, struct err *e)
{
	int status, rc;

	rc = check_conditions(g, e);
	if (rc == 0)
		rc = choose_range(g, e);
	if (rc == 0)
		rc = send_headers(g, e);
	if (rc < 0)
		return rc;
	status = g->is_partial ? 206 : 200;
	if (g->r->method == M_HEAD || g->len == 0) {
		http_start(g->r->http, status, (int64_t)g->len);
		http_finish(g->r->http);
		return 0;
	}
	if (answer_later(g, status))
		return S3_LATER;
	return send_body(g, status, e);
}

int
s3_get_object(struct s3_req *r, struct err *e)
{
	struct get g = { .r = r };
	struct str version = s3_param(r, "versionId");
	int rc;

	rc = s3_check_version(r, version, e);
	if (rc == 0 && s3_has_param(r, "partNumber")) {
		rc = s3_param_part(r, &g.part, e);
		if (rc == 0 && http_header(r->http, "range").p != NULL)
			rc = err_set(e, ERR_INVALID_REQUEST,
			    "Cannot specify both Range header and partNumber "
			    "query parameter");
	}
	if (rc < 0)
		return rc;
	if (r->method == M_HEAD && g.part == 0)
		rc = object_head(r->s3->conf.store, &r->bucket, r->key, version,
		    r->a, &g.o, e);
	else
		rc = object_open(r->s3->conf.store, &r->bucket, r->key, version,
		    r->a, &g.o, &g.rd, e);
	if (rc < 0) {
		if (rc == ERR_NO_SUCH_KEY)
			s3_extra(r, "Key", r->key);
		return rc;
	}
	rc = answer(&g, e);
	object_close(&g.rd);
	return rc;
}
