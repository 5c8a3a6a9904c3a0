/* gateway/s3/ops.h - every operation, once: OP(id, S3's name, metric
 * (lib/metrics_table.h), IAM action without "s3:", handler, flags). Included
 * with different OP; no include guard on purpose. */
/* clang-format off */
OP(LIST_BUCKETS, "ListBuckets", ListBuckets, "ListAllMyBuckets",
    list_buckets, OP_NO_BUCKET)
OP(CREATE_BUCKET, "CreateBucket", CreateBucket, "CreateBucket", create_bucket,
    OP_NO_BUCKET | OP_BODY | OP_STORES)
OP(HEAD_BUCKET, "HeadBucket", HeadBucket, "ListBucket", head_bucket, 0)
OP(DELETE_BUCKET, "DeleteBucket", DeleteBucket, "DeleteBucket", delete_bucket, 0)
OP(GET_LOCATION, "GetBucketLocation", GetBucketLocation, "GetBucketLocation",
    get_bucket_location, 0)
OP(LIST_OBJECTS, "ListObjects", ListObjects, "ListBucket", list_objects, 0)
OP(LIST_OBJECTS_V2, "ListObjectsV2", ListObjectsV2, "ListBucket", list_objects_v2, 0)
OP(LIST_VERSIONS, "ListObjectVersions", ListObjectVersions, "ListBucketVersions",
    list_object_versions, 0)
OP(PUT_OBJECT, "PutObject", PutObject, "PutObject", put_object, OP_BODY | OP_STORES)
OP(GET_OBJECT, "GetObject", GetObject, "GetObject", get_object, OP_READS)
OP(HEAD_OBJECT, "HeadObject", HeadObject, "GetObject", get_object, OP_READS)
OP(DELETE_OBJECT, "DeleteObject", DeleteObject, "DeleteObject", delete_object, 0)
OP(DELETE_OBJECTS, "DeleteObjects", DeleteObjects, "DeleteObject", delete_objects, OP_BODY)
OP(COPY_OBJECT, "CopyObject", CopyObject, "PutObject", copy_object, OP_STORES)
OP(GET_ATTRIBUTES, "GetObjectAttributes", GetObjectAttributes, "GetObjectAttributes",
    get_object_attributes, OP_READS)
OP(CREATE_UPLOAD, "CreateMultipartUpload", CreateMultipartUpload, "PutObject", create_upload,
    OP_STORES)
OP(UPLOAD_PART, "UploadPart", UploadPart, "PutObject", upload_part, OP_BODY | OP_STORES)
OP(UPLOAD_PART_COPY, "UploadPartCopy", UploadPartCopy, "PutObject", upload_part_copy,
    OP_STORES)
OP(COMPLETE_UPLOAD, "CompleteMultipartUpload", CompleteMultipartUpload, "PutObject", complete_upload,
    OP_BODY | OP_STORES)
OP(ABORT_UPLOAD, "AbortMultipartUpload", AbortMultipartUpload, "AbortMultipartUpload", abort_upload,
    0)
OP(LIST_PARTS, "ListParts", ListParts, "ListMultipartUploadParts", list_parts, 0)
OP(LIST_UPLOADS, "ListMultipartUploads", ListMultipartUploads, "ListBucketMultipartUploads",
    list_uploads, 0)
OP(GET_BUCKET_ACL, "GetBucketAcl", GetBucketAcl, "GetBucketAcl", get_acl, 0)
OP(PUT_BUCKET_ACL, "PutBucketAcl", PutBucketConfig, "PutBucketAcl", put_acl,
    OP_BODY | OP_STORES)
OP(GET_OBJECT_ACL, "GetObjectAcl", GetObjectAcl, "GetObjectAcl", get_acl, 0)
OP(PUT_OBJECT_ACL, "PutObjectAcl", PutObjectConfig, "PutObjectAcl", put_acl,
    OP_BODY | OP_STORES)
OP(GET_ABSENT, "GetBucketConfiguration", GetBucketConfig, "GetBucketConfiguration", absent, 0)
OP(LIST_ABSENT, "ListBucketConfigurations", GetBucketConfig, "GetBucketConfiguration",
    absent_list, 0)
OP(PUT_ABSENT, "PutBucketConfiguration", PutBucketConfig, "PutBucketConfiguration",
    not_implemented, OP_BODY)
OP(DELETE_ABSENT, "DeleteBucketConfiguration", DeleteBucketConfig, "PutBucketConfiguration",
    absent_delete, 0)
OP(GET_OBJECT_ABSENT, "GetObjectConfiguration", GetObjectConfig, "GetObjectTagging",
    absent_object, 0)
OP(DELETE_OBJECT_ABSENT, "DeleteObjectTagging", DeleteObjectConfig, "DeleteObjectTagging",
    absent_object, 0)
OP(POST_OBJECT, "PostObject", PostObject, "PutObject", not_implemented,
    OP_BODY | OP_NO_BUCKET | OP_OPEN)
OP(NOT_IMPLEMENTED, "NotImplemented", Other, "NotImplemented", not_implemented,
    OP_BODY | OP_NO_BUCKET)
/* clang-format on */
