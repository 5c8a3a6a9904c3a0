/* gateway/s3/range.h - the Range header (RFC 9110 section 14). Pure. */
#ifndef GATEWAY_S3_RANGE_H
#define GATEWAY_S3_RANGE_H

#include "lib/str.h"

enum range_result {
	RANGE_NONE,         /* not a range to serve: the whole, 200 */
	RANGE_OK,           /* 206 */
	RANGE_UNSATISFIABLE /* 416 */
};

/* One bytes range. Other units, several ranges and bad syntax are ignored, as
 * S3 does. Out: @off, @len > 0 within @size. */
enum range_result range_parse(struct str header, uint64_t size,
    uint64_t *ret_off, uint64_t *ret_len);
/* x-amz-copy-source-range: "bytes=first-last", both needed. False when it is
 * not that. */
bool range_parse_copy(struct str header, uint64_t *ret_first,
    uint64_t *ret_last);

#endif
