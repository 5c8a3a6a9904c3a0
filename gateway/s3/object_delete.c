/* gateway/s3/object_delete.c - DeleteObject and DeleteObjects. */
#include "gateway/s3/body.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/doc.h"

#define DELETE_MAX 1000
#define DELETE_BODY_MAX (8 * 1024 * 1024) /* 1,000 keys of 1 KiB, escaped */
#define DELETE_ARENA_MAX (4 * 1024 * 1024)

int
s3_delete_object(struct s3_req *r, struct err *e)
{
	struct str version = s3_param(r, "versionId"), if_match;
	int rc;

	rc = s3_check_version(r, version, e);
	if (rc == 0)
		rc = s3_delete_cond(r, &if_match, e);
	if (rc == 0)
		rc = object_delete(r->s3->conf.store, &r->bucket, r->key,
		    version, if_match, e);
	if (rc < 0) {
		if (rc == ERR_NO_SUCH_KEY)
			s3_extra(r, "Key", r->key);
		return rc;
	}
	if (version.p != NULL)
		http_setz(r->http, "x-amz-version-id", "null");
	http_reply(r->http, 204, STR_LIT(""));
	return 0;
}

/* --- DeleteObjects --- */

struct deletes {
	struct s3_req *r;
	struct delete_item items[DELETE_MAX]; /* results, in the order asked */
	struct delete_item todo[DELETE_MAX];
	uint16_t todo_of[DELETE_MAX];
	size_t n, n_todo;
	bool quiet;
};

static void
check_item(struct s3_req *r, const struct xml_node *n, struct delete_item *it)
{
	struct err *e = &it->err;

	if (it->key.len > S3_KEY_MAX)
		err_set(e, ERR_KEY_TOO_LONG, NULL);
	else if (it->version.len > 0 && !str_eqz(it->version, "null"))
		err_set(e, ERR_NO_SUCH_VERSION, NULL);
	else if (xml_child(n, "LastModifiedTime") != NULL ||
		 xml_child(n, "Size") != NULL)
		err_set(e, ERR_NOT_IMPLEMENTED,
		    "Conditions on time and size are not implemented.");
	else
		s3_authorise(r, "s3:DeleteObject", &r->bucket, it->key, e);
}

/* Text of an element that may be there once: whoever reads the second of two
 * would delete something else. */
static int
text_once(const struct xml_node *n, const char *name, struct str *ret,
    struct err *e)
{
	const struct xml_node *child;
	int rc = xml_child_once(n, name, &child, e);

	*ret = rc == 0 && child != NULL ? child->text : STR_NULL;
	return rc;
}

static int
read_item(const struct xml_node *n, struct delete_item *it, struct err *e)
{
	int rc = text_once(n, "Key", &it->key, e);

	if (rc == 0)
		rc = text_once(n, "VersionId", &it->version, e);
	if (rc == 0)
		rc = text_once(n, "ETag", &it->if_match, e);
	if (rc == 0 && it->key.len == 0)
		rc = err_set(e, ERR_MALFORMED_XML, NULL);
	return rc;
}

static int
read_items(struct deletes *d, const struct xml_node *root, struct err *e)
{
	const struct xml_node *n;
	struct delete_item *it;
	struct str quiet;
	int rc;

	rc = text_once(root, "Quiet", &quiet, e);
	if (rc < 0)
		return rc;
	d->quiet = str_ieq(str_trim(quiet), STR_LIT("true"));
	for (n = root->first; n != NULL; n = n->next) {
		if (!xml_is(n, "Object"))
			continue;
		if (d->n == DELETE_MAX)
			return err_set(e, ERR_MALFORMED_XML, NULL);
		it = &d->items[d->n];
		rc = read_item(n, it, e);
		if (rc < 0)
			return rc;
		if (it->version.len == 0)
			it->version = STR_NULL;
		if (it->if_match.p != NULL)
			it->if_match = cond_unquote(it->if_match);
		check_item(d->r, n, it);
		if (it->err.code == 0) {
			d->todo_of[d->n_todo] = (uint16_t)d->n;
			d->todo[d->n_todo++] = *it;
		}
		d->n++;
	}
	return d->n == 0 ? err_set(e, ERR_MALFORMED_XML, NULL) : 0;
}

static int
reply_deletes(struct deletes *d, struct err *e)
{
	const struct delete_item *it;
	struct doc doc;
	size_t i;

	doc_init(&doc, "DeleteResult", S3_XMLNS);
	for (i = 0; i < d->n; i++) {
		it = &d->items[i];
		if (it->err.code == 0 && d->quiet)
			continue;
		doc_open(&doc, it->err.code == 0 ? "Deleted" : "Error");
		doc_text(&doc, "Key", it->key);
		if (it->version.p != NULL)
			doc_text(&doc, "VersionId", it->version);
		if (it->err.code != 0) {
			doc_textz(&doc, "Code", s3_error_code(&it->err));
			doc_textz(&doc, "Message", s3_error_message(&it->err));
		}
		doc_close(&doc, it->err.code == 0 ? "Deleted" : "Error");
	}
	return doc_reply(&doc, d->r, 200, e);
}

static int
delete_all(struct deletes *d, struct str body, struct err *e)
{
	static const struct xml_limits limits = { DELETE_BODY_MAX, 0,
		DELETE_MAX * 8 };
	struct arena *a = arena_new(DELETE_ARENA_MAX);
	struct xml_node *root;
	size_t i;
	int rc;

	if (a == NULL)
		return s3_no_memory(e);
	rc = xml_parse(body, "Delete", &limits, a, &root, e);
	if (rc == 0)
		rc = read_items(d, root, e);
	if (rc == 0 && d->n_todo > 0)
		rc = object_delete_many(d->r->s3->conf.store, &d->r->bucket,
		    d->todo, d->n_todo, e);
	if (rc == 0) {
		for (i = 0; i < d->n_todo; i++)
			d->items[d->todo_of[i]].err = d->todo[i].err;
		rc = reply_deletes(d, e);
	}
	arena_free(&a);
	return rc;
}

int
s3_delete_objects(struct s3_req *r, struct err *e)
{
	struct buf body = BUF_CAP(DELETE_BODY_MAX + 1);
	struct deletes *d;
	int rc;

	rc = s3_body_all(r, DELETE_BODY_MAX, BODY_DIGEST, &body, e);
	if (rc == 0 && body.len == 0)
		rc = err_set(e, ERR_MALFORMED_XML, NULL);
	if (rc == 0) {
		d = arena_zalloc(r->a, sizeof(*d));
		if (d == NULL) {
			rc = s3_no_memory(e);
		} else {
			d->r = r;
			rc = delete_all(d, buf_str(&body), e);
		}
	}
	buf_fini(&body);
	return rc;
}
