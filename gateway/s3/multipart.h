/* gateway/s3/multipart.h - what the multipart operations share. */
#ifndef GATEWAY_S3_MULTIPART_H
#define GATEWAY_S3_MULTIPART_H

#include "gateway/s3/object_put.h"

/* uploadId and partNumber of UploadPart and UploadPartCopy. */
int s3_part_target(struct s3_req *r, struct upload *ret, uint32_t *ret_number,
    struct err *e);
/* The upload of uploadId; ERR_NO_SUCH_UPLOAD with its field. */
int s3_find_upload(struct s3_req *r, struct upload *ret, struct err *e);
int s3_bad_algorithm(struct err *e); /* returns ERR_INVALID_REQUEST */

#endif
