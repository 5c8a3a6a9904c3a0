/* gateway/s3/checksums.h - S3's names and texts of checksums.
 *
 * Pure functions. Which types an algorithm may have: S3 User Guide, "Checking
 * object integrity", "Full object and composite checksum types". */
#ifndef GATEWAY_S3_CHECKSUMS_H
#define GATEWAY_S3_CHECKSUMS_H

#include "gateway/object/object.h"
#include "lib/hash.h"

#define CHECKSUM_TEXT_MAX 104 /* base64 of 64 bytes, "-10000", NUL */

/* HASH_x of lib/hash.h for CHECKSUM_x. */
static inline enum hash_alg
checksum_hash(uint8_t alg)
{
	MUST(alg != CHECKSUM_NONE && alg <= HASH_ALGS);
	return (enum hash_alg)(alg - 1);
}

const char *checksum_name(uint8_t alg);    /* "CRC32" */
const char *checksum_header(uint8_t alg);  /* "x-amz-checksum-crc32" */
const char *checksum_element(uint8_t alg); /* "ChecksumCRC32" */
const char *checksum_type(const struct checksum *c); /* "FULL_OBJECT" */
/* CHECKSUM_NONE for an unknown name; any case. */
uint8_t checksum_by_name(struct str name);
/* By header name; CHECKSUM_NONE when it is not one. */
uint8_t checksum_by_header(struct str header);

/* Base64, with "-N" for a composite one when @n_parts > 0. */
struct str checksum_text(const struct checksum *c, uint32_t n_parts,
    char dst[CHECKSUM_TEXT_MAX]);
/* Strict base64 of the right length; with @composite a suffix "-N" is allowed
 * and *ret_parts is N or 0. */
bool checksum_parse(uint8_t alg, struct str text, bool composite,
    struct checksum *ret, uint32_t *ret_parts);
void checksum_take(uint8_t alg, const struct hash_values *v,
    struct checksum *ret);
bool checksum_eq(const struct checksum *a, const struct checksum *b);

/* May a multipart upload have this type; and which it has by default. */
bool checksum_allows(uint8_t alg, bool composite);
bool checksum_default_composite(uint8_t alg);

#endif
