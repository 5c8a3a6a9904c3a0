/* gateway/s3/route.c - method, resource and query key -> operation.
 *
 * The first row that fits wins. A subresource of AWS that is not here must
 * still have a row: PUT ?acl must never be taken for PUT of an object. */
#include "gateway/s3/s3_int.h"

enum op_id {
#define OP(id, ...) OP_##id,
#include "gateway/s3/ops.h"
#undef OP
	N_OPS
};

static const struct s3_op ops[] = {
#define OP(id, name_, metric_, action_, fn_, flags_)                           \
	[OP_##id] = { name_, "s3:" action_, s3_##fn_, flags_,                  \
		METRIC_OP_##metric_ },
#include "gateway/s3/ops.h"
#undef OP
};

struct route {
	enum s3_level level;
	enum s3_method method;
	const char *query;  /* must be there; NULL = any */
	const char *query2; /* this too */
	const char *header; /* this too */
	enum op_id op;
};

#define S LEVEL_SERVICE
#define B LEVEL_BUCKET
#define O LEVEL_OBJECT

/* A bucket setting that does not exist: reading tells so, deleting it is done
 * already, setting it is refused. */
#define ABSENT(q)                                                              \
	{ B, M_GET, q, NULL, NULL, OP_GET_ABSENT },                            \
	    { B, M_PUT, q, NULL, NULL, OP_PUT_ABSENT },                        \
	{                                                                      \
		B, M_DELETE, q, NULL, NULL, OP_DELETE_ABSENT                   \
	}
#define ABSENT_LIST(q)                                                         \
	{ B, M_GET, q, NULL, NULL, OP_LIST_ABSENT },                           \
	    { B, M_PUT, q, NULL, NULL, OP_PUT_ABSENT },                        \
	{                                                                      \
		B, M_DELETE, q, NULL, NULL, OP_DELETE_ABSENT                   \
	}
#define NOT_THERE(level, method, q)                                            \
	{                                                                      \
		level, method, q, NULL, NULL, OP_NOT_IMPLEMENTED               \
	}

static const struct route routes[] = {
	/* the hot ones first, where no query key is needed to tell them apart
	 * they stand last in their group */
	{ O, M_GET, "uploadId", NULL, NULL, OP_LIST_PARTS },
	{ O, M_GET, "attributes", NULL, NULL, OP_GET_ATTRIBUTES },
	{ O, M_GET, "acl", NULL, NULL, OP_GET_OBJECT_ACL },
	{ O, M_GET, "tagging", NULL, NULL, OP_GET_OBJECT_ABSENT },
	{ O, M_GET, "retention", NULL, NULL, OP_GET_OBJECT_ABSENT },
	{ O, M_GET, "legal-hold", NULL, NULL, OP_GET_OBJECT_ABSENT },
	NOT_THERE(O, M_GET, "torrent"), NOT_THERE(O, M_GET, "annotation"),
	NOT_THERE(O, M_GET, "annotations"), NOT_THERE(O, M_GET, "lambdaArn"),
	{ O, M_GET, NULL, NULL, NULL, OP_GET_OBJECT },
	{ O, M_HEAD, NULL, NULL, NULL, OP_HEAD_OBJECT },

	{ O, M_PUT, "uploadId", "partNumber", "x-amz-copy-source",
	    OP_UPLOAD_PART_COPY },
	{ O, M_PUT, "uploadId", NULL, NULL, OP_UPLOAD_PART },
	{ O, M_PUT, "partNumber", NULL, NULL, OP_UPLOAD_PART },
	{ O, M_PUT, "acl", NULL, NULL, OP_PUT_OBJECT_ACL },
	NOT_THERE(O, M_PUT, "tagging"), NOT_THERE(O, M_PUT, "retention"),
	NOT_THERE(O, M_PUT, "legal-hold"), NOT_THERE(O, M_PUT, "renameObject"),
	NOT_THERE(O, M_PUT, "annotation"), NOT_THERE(O, M_PUT, "encryption"),
	NOT_THERE(O, M_PUT, "append"),
	{ O, M_PUT, NULL, NULL, "x-amz-copy-source", OP_COPY_OBJECT },
	{ O, M_PUT, NULL, NULL, NULL, OP_PUT_OBJECT },

	{ O, M_POST, "uploads", NULL, NULL, OP_CREATE_UPLOAD },
	{ O, M_POST, "uploadId", NULL, NULL, OP_COMPLETE_UPLOAD },
	NOT_THERE(O, M_POST, "select"), NOT_THERE(O, M_POST, "restore"),

	{ O, M_DELETE, "uploadId", NULL, NULL, OP_ABORT_UPLOAD },
	{ O, M_DELETE, "tagging", NULL, NULL, OP_DELETE_OBJECT_ABSENT },
	NOT_THERE(O, M_DELETE, "annotation"),
	{ O, M_DELETE, NULL, NULL, NULL, OP_DELETE_OBJECT },

	{ B, M_GET, "list-type", NULL, NULL, OP_LIST_OBJECTS_V2 },
	{ B, M_GET, "uploads", NULL, NULL, OP_LIST_UPLOADS },
	{ B, M_GET, "versions", NULL, NULL, OP_LIST_VERSIONS },
	{ B, M_GET, "location", NULL, NULL, OP_GET_LOCATION },
	{ B, M_GET, "acl", NULL, NULL, OP_GET_BUCKET_ACL },
	{ B, M_PUT, "acl", NULL, NULL, OP_PUT_BUCKET_ACL },
	{ B, M_POST, "delete", NULL, NULL, OP_DELETE_OBJECTS },
	ABSENT("versioning"), ABSENT("policy"), ABSENT("policyStatus"),
	ABSENT("cors"), ABSENT("lifecycle"), ABSENT("tagging"),
	ABSENT("website"), ABSENT("encryption"), ABSENT("replication"),
	ABSENT("object-lock"), ABSENT("publicAccessBlock"),
	ABSENT("ownershipControls"), ABSENT("notification"), ABSENT("logging"),
	ABSENT("accelerate"), ABSENT("requestPayment"),
	ABSENT_LIST("inventory"), ABSENT_LIST("analytics"),
	ABSENT_LIST("metrics"), ABSENT_LIST("intelligent-tiering"),
	NOT_THERE(B, M_GET, "session"), NOT_THERE(B, M_GET, "abac"),
	NOT_THERE(B, M_PUT, "abac"), NOT_THERE(B, M_GET, "metadataTable"),
	NOT_THERE(B, M_POST, "metadataTable"),
	NOT_THERE(B, M_DELETE, "metadataTable"),
	NOT_THERE(B, M_GET, "metadataConfiguration"),
	NOT_THERE(B, M_POST, "metadataConfiguration"),
	NOT_THERE(B, M_DELETE, "metadataConfiguration"),
	NOT_THERE(B, M_PUT, "metadataInventoryTable"),
	NOT_THERE(B, M_PUT, "metadataJournalTable"),
	{ B, M_GET, NULL, NULL, NULL, OP_LIST_OBJECTS },
	{ B, M_HEAD, NULL, NULL, NULL, OP_HEAD_BUCKET },
	{ B, M_PUT, NULL, NULL, NULL, OP_CREATE_BUCKET },
	{ B, M_DELETE, NULL, NULL, NULL, OP_DELETE_BUCKET },
	/* of browsers; its signature is in the form, which nobody reads */
	{ B, M_POST, NULL, NULL, NULL, OP_POST_OBJECT },

	{ S, M_GET, NULL, NULL, NULL, OP_LIST_BUCKETS },
	{ S, M_HEAD, NULL, NULL, NULL, OP_LIST_BUCKETS },
	NOT_THERE(S, M_POST, NULL), /* STS, IAM */
};

static bool
fits(const struct s3_req *r, const struct route *t)
{
	if (t->level != r->level || t->method != r->method)
		return false;
	/* No subresource is named x-amz-..., as all of a presigned URL is. */
	if (t->query != NULL &&
	    (!r->has_plain_param || !s3_has_param(r, t->query)))
		return false;
	if (t->query2 != NULL && !s3_has_param(r, t->query2))
		return false;
	return t->header == NULL || s3_has_header(r, t->header);
}

/* A subresource that this method does not know: DELETE ?retention must never
 * be taken for DELETE of the object, PUT ?versions not for a new bucket. */
static bool
has_other_subresource(const struct s3_req *r)
{
	size_t i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct route *t = &routes[i];

		if (t->level == r->level && t->query != NULL &&
		    strcmp(t->query, "partNumber") != 0 &&
		    strcmp(t->query, "list-type") != 0 &&
		    s3_has_param(r, t->query))
			return true;
	}
	return false;
}

int
s3_route(struct s3_req *r, struct err *e)
{
	struct http_note *note = http_note(r->http);
	size_t i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!fits(r, &routes[i]))
			continue;
		if (routes[i].query == NULL && r->has_plain_param &&
		    has_other_subresource(r))
			break;
		r->op = &ops[routes[i].op];
		r->subresource = routes[i].query;
		note->op = (int)r->op->metric;
		note->op_name = r->op->name;
		return 0;
	}
	s3_extra(r, "Method", r->info->method);
	s3_extra(r, "ResourceType",
	    r->level == LEVEL_OBJECT   ? STR_LIT("OBJECT")
	    : r->level == LEVEL_BUCKET ? STR_LIT("BUCKET")
				       : STR_LIT("SERVICE"));
	return err_set(e, ERR_METHOD_NOT_ALLOWED, NULL);
}
