/* gateway/s3/unsupported.c - the truth about what is not there.
 *
 * Reading a feature that does not exist answers as AWS does for a bucket that
 * never used it; setting it is 501, and a header that asks for it is refused,
 * never ignored: whoever asks for encryption must not believe to have it. */
#include "gateway/s3/body.h"
#include "gateway/s3/doc.h"

/* --- headers --- */

static int
refuse(struct s3_req *r, struct str name, struct err *e)
{
	s3_extra(r, "Header", name);
	/* AWS's text, and the name: most clients show nothing else. */
	return err_set(e, ERR_NOT_IMPLEMENTED,
	    "A header you provided implies functionality that is not "
	    "implemented: " STR_FMT,
	    STR_ARG(name));
}

static bool
is_one_of(struct str v, const char *const *names)
{
	for (; *names != NULL; names++)
		if (str_eqz(v, *names))
			return true;
	return false;
}

static int
check_acl(struct s3_req *r, struct str name, struct str v, struct err *e)
{
	static const char *const fine[] = { "private", "bucket-owner-read",
		"bucket-owner-full-control", NULL };
	static const char *const known[] = { "public-read", "public-read-write",
		"authenticated-read", "aws-exec-read", "log-delivery-write",
		NULL };

	if (is_one_of(v, fine))
		return 0;
	if (is_one_of(v, known))
		return refuse(r, name, e);
	s3_extra(r, "ArgumentName", STR_LIT("x-amz-acl"));
	s3_extra(r, "ArgumentValue", v);
	return err_set(e, ERR_INVALID_ARGUMENT, NULL);
}

static int
check_ownership(struct s3_req *r, struct str name, struct str v, struct err *e)
{
	static const char *const known[] = { "BucketOwnerPreferred",
		"ObjectWriter", NULL };

	if (str_eqz(v, "BucketOwnerEnforced"))
		return 0;
	if (is_one_of(v, known))
		return refuse(r, name, e);
	return err_set(e, ERR_INVALID_ARGUMENT,
	    "Invalid x-amz-object-ownership header");
}

static bool
starts(struct str name, struct str prefix)
{
	return str_ieq(str_sub(name, 0, prefix.len), prefix);
}

static int
check_store(void *arg, struct str name, struct str v, struct err *e)
{
	struct s3_req *r = arg;

	if (starts(name, STR_LIT("x-amz-server-side-encryption")) ||
	    starts(name, STR_LIT("x-amz-copy-source-server-side-encryption")) ||
	    starts(name, STR_LIT("x-amz-object-lock-")) ||
	    starts(name, STR_LIT("x-amz-grant-")) ||
	    str_ieq(name, STR_LIT("x-amz-tagging")) ||
	    str_ieq(name, STR_LIT("x-amz-write-offset-bytes")) ||
	    str_ieq(name, STR_LIT("x-amz-rename-source")))
		return refuse(r, name, e);
	if (str_ieq(name, STR_LIT("x-amz-tagging-directive")))
		return str_eqz(v, "COPY") ? 0 : refuse(r, name, e);
	if (str_ieq(name, STR_LIT("x-amz-bucket-object-lock-enabled")))
		return str_ieq(v, STR_LIT("false")) ? 0 : refuse(r, name, e);
	if (str_ieq(name, STR_LIT("x-amz-acl")))
		return check_acl(r, name, v, e);
	if (str_ieq(name, STR_LIT("x-amz-object-ownership")))
		return check_ownership(r, name, v, e);
	return 0;
}

static int
check_read(void *arg, struct str name, struct str v, struct err *e)
{
	(void)arg;
	(void)name;
	(void)v;
	return err_set(e, ERR_INVALID_REQUEST,
	    "The encryption parameters are not applicable to this object.");
}

int
s3_check_refused(struct s3_req *r, struct err *e)
{
	if ((r->op->flags & OP_STORES) != 0)
		return s3_each_header(r, "x-amz-", check_store, r, e);
	if ((r->op->flags & OP_READS) != 0)
		return s3_each_header(r, "x-amz-server-side-encryption",
		    check_read, r, e);
	return 0;
}

int
s3_not_implemented(struct s3_req *r, struct err *e)
{
	if (r->subresource != NULL)
		s3_extra(r, "ResourceType", str_of(r->subresource));
	return err_set(e, ERR_NOT_IMPLEMENTED, NULL);
}

/* --- settings of a bucket --- */

static const struct absent {
	const char *name; /* query key */
	int error;        /* or 0: */
	const char *root, *inside;
} absents[] = {
	{ "versioning", 0, "VersioningConfiguration", NULL },
	{ "logging", 0, "BucketLoggingStatus", NULL },
	{ "notification", 0, "NotificationConfiguration", NULL },
	{ "accelerate", 0, "AccelerateConfiguration", NULL },
	{ "requestPayment", 0, "RequestPaymentConfiguration",
	    "<Payer>BucketOwner</Payer>" },
	{ "policy", ERR_NO_SUCH_BUCKET_POLICY, NULL, NULL },
	{ "policyStatus", ERR_NO_SUCH_BUCKET_POLICY, NULL, NULL },
	{ "cors", ERR_NO_SUCH_CORS, NULL, NULL },
	{ "lifecycle", ERR_NO_SUCH_LIFECYCLE, NULL, NULL },
	{ "tagging", ERR_NO_SUCH_TAG_SET, NULL, NULL },
	{ "website", ERR_NO_SUCH_WEBSITE, NULL, NULL },
	{ "encryption", ERR_NO_SUCH_SSE, NULL, NULL },
	{ "replication", ERR_NO_SUCH_REPLICATION, NULL, NULL },
	{ "object-lock", ERR_NO_SUCH_OBJECT_LOCK, NULL, NULL },
	{ "publicAccessBlock", ERR_NO_SUCH_PUBLIC_ACCESS_BLOCK, NULL, NULL },
	{ "ownershipControls", ERR_NO_SUCH_OWNERSHIP, NULL, NULL },
	{ "inventory", ERR_NO_SUCH_CONFIGURATION,
	    "ListInventoryConfigurationsResult",
	    "<IsTruncated>false</IsTruncated>" },
	{ "analytics", ERR_NO_SUCH_CONFIGURATION,
	    "ListBucketAnalyticsConfigurationResult",
	    "<IsTruncated>false</IsTruncated>" },
	{ "metrics", ERR_NO_SUCH_CONFIGURATION,
	    "ListMetricsConfigurationsResult",
	    "<IsTruncated>false</IsTruncated>" },
	{ "intelligent-tiering", ERR_NO_SUCH_CONFIGURATION,
	    "ListBucketIntelligentTieringConfigurationsOutput",
	    "<IsTruncated>false</IsTruncated>" },
};

static const struct absent *
absent_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(absents) / sizeof(absents[0]); i++)
		if (strcmp(absents[i].name, name) == 0)
			return &absents[i];
	return NULL;
}

static int
empty_doc(struct s3_req *r, const struct absent *a, struct err *e)
{
	struct doc d;

	doc_init(&d, a->root, S3_XMLNS);
	if (a->inside != NULL && d.w.rc == 0)
		d.w.rc = buf_addz(&d.b, a->inside);
	return doc_reply(&d, r, 200, e);
}

int
s3_absent(struct s3_req *r, struct err *e)
{
	const struct absent *a = absent_of(r->subresource);

	MUST(a != NULL);
	if (a->error == 0)
		return empty_doc(r, a, e);
	s3_extra(r, "BucketName", r->bucket_name);
	return err_set(e, a->error, NULL);
}

/* Configurations with an ID: none of that ID, and an empty list of all. */
int
s3_absent_list(struct s3_req *r, struct err *e)
{
	const struct absent *a = absent_of(r->subresource);

	MUST(a != NULL);
	if (!s3_has_param(r, "id"))
		return empty_doc(r, a, e);
	return err_set(e, a->error, NULL);
}

int
s3_absent_delete(struct s3_req *r, struct err *e)
{
	(void)e;
	http_reply(r->http, 204, STR_LIT(""));
	return 0;
}

/* --- settings of an object --- */

static int
must_exist(struct s3_req *r, struct object *ret, struct err *e)
{
	struct str version = s3_param(r, "versionId");
	int rc;

	rc = s3_check_version(r, version, e);
	if (rc == 0)
		rc = object_head(r->s3->conf.store, &r->bucket, r->key, version,
		    r->a, ret, e);
	if (rc == ERR_NO_SUCH_KEY)
		s3_extra(r, "Key", r->key);
	return rc;
}

int
s3_absent_object(struct s3_req *r, struct err *e)
{
	struct object o;
	struct doc d;
	int rc;

	rc = must_exist(r, &o, e);
	if (rc < 0)
		return rc;
	if (r->method == M_DELETE)
		return s3_absent_delete(r, e);
	if (strcmp(r->subresource, "tagging") != 0)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Bucket is missing Object Lock Configuration");
	doc_init(&d, "Tagging", S3_XMLNS);
	doc_open(&d, "TagSet");
	doc_close(&d, "TagSet");
	return doc_reply(&d, r, 200, e);
}

/* --- ACLs: the owner has everything, nobody else has anything --- */

int
s3_get_acl(struct s3_req *r, struct err *e)
{
	struct object o;
	struct doc d;
	int rc;

	if (r->level == LEVEL_OBJECT) {
		rc = must_exist(r, &o, e);
		if (rc < 0)
			return rc;
	}
	doc_init(&d, "AccessControlPolicy", S3_XMLNS);
	doc_owner(&d, "Owner", r->bucket.owner_id, r->bucket.owner_name);
	doc_open(&d, "AccessControlList");
	doc_open(&d, "Grant");
	/* the writer has no attributes, and only this one has any */
	doc_open(&d, "Grantee xmlns:xsi=\"http://www.w3.org/2001/"
		     "XMLSchema-instance\" xsi:type=\"CanonicalUser\"");
	doc_textz(&d, "ID", r->bucket.owner_id);
	doc_textz(&d, "DisplayName", r->bucket.owner_name);
	doc_close(&d, "Grantee");
	doc_textz(&d, "Permission", "FULL_CONTROL");
	doc_close(&d, "Grant");
	doc_close(&d, "AccessControlList");
	return doc_reply(&d, r, 200, e);
}

/* A canned ACL that says what is so anyway was let through by
 * s3_check_refused(); anything else cannot be had. */
int
s3_put_acl(struct s3_req *r, struct err *e)
{
	struct object o;
	int rc = 0;

	if (r->level == LEVEL_OBJECT)
		rc = must_exist(r, &o, e);
	if (rc < 0)
		return rc;
	if (!s3_has_header(r, "x-amz-acl") || r->info->content_length > 0 ||
	    r->info->chunked)
		return s3_not_implemented(r, e);
	rc = s3_body_none(r, e);
	if (rc == 0)
		http_reply(r->http, 200, STR_LIT(""));
	return rc;
}
