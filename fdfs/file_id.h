/* fdfs/file_id.h - FastDFS file IDs, to the bit.
 *
 *   group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt
 *   group '/' 'M' pp '/' hh '/' hh '/' b64(27) [trunk b64(16)] tail
 *
 * The 27 characters are 20 bytes: source server, time, size field, CRC32. The
 * tail is 7 characters (digits, or digits '.' extension) in a name that a
 * server draws, longer in the names of slaves. Reference: FastDFS 6.16.1.
 * Pure functions; threads: any. */
#ifndef FDFS_FILE_ID_H
#define FDFS_FILE_ID_H

#include "lib/err.h"
#include "lib/str.h"

#define FDFS_GROUP_MAX 16   /* characters */
#define FDFS_REMOTE_MAX 127 /* characters of the name behind the group */
#define FDFS_EXT_MAX 6
#define FDFS_TAIL 7
#define FDFS_ID_MAX (FDFS_GROUP_MAX + 1 + FDFS_REMOTE_MAX)

#define FDFS_SIZE_SMALL (UINT64_C(1) << 63)    /* size in the low 32 bits */
#define FDFS_SIZE_TRUNK (UINT64_C(1) << 59)    /* inside a trunk container */
#define FDFS_SIZE_APPENDER (UINT64_C(1) << 58) /* true size unknown */

enum fdfs_kind {
	FDFS_NORMAL,
	FDFS_APPENDER,
	FDFS_TRUNK,
	FDFS_SLAVE
};

struct fdfs_file_id {
	char group[FDFS_GROUP_MAX + 1];
	uint8_t path; /* store path */
	uint8_t dir1, dir2;
	/* As FastDFS reads the four bytes: little-endian. 1..0xFFFFFF is a
	 * server ID, anything else an IPv4 address, first octet lowest. */
	uint32_t server;
	uint32_t time; /* unix seconds */
	uint64_t size_field;
	uint32_t crc32;                             /* zlib's */
	uint32_t trunk_file, trunk_off, trunk_size; /* with FDFS_SIZE_TRUNK */
	struct str tail; /* what follows the base64 part; a view */
};

/* The size field of a plain file; @random: 23 bits of it are used. */
uint64_t fdfs_size_field(uint64_t size, uint32_t random);
/* True size of the content; 0 for an appender, whose size is elsewhere. */
uint64_t fdfs_id_size(const struct fdfs_file_id *id);
enum fdfs_kind fdfs_id_kind(const struct fdfs_file_id *id);

/* A group's name: 1 to 16 of A-Z a-z 0-9. */
bool fdfs_group_is_valid(struct str group);
/* An extension: 0 to 6 of A-Z a-z 0-9 - _ . */
bool fdfs_ext_is_valid(struct str ext);
/* The 7 characters of a drawn name: @random digits, then '.' and @ext. */
void fdfs_tail(struct str ext, uint64_t random, char dst[FDFS_TAIL]);

/* Terminated text into @dst. The caller's fields must be valid. Returns the
 * length without the terminator. */
size_t fdfs_id_format(const struct fdfs_file_id *id, char dst[FDFS_ID_MAX + 1]);
/* Strict; the text that fdfs_id_format() makes of the result is @text again.
 * ret->tail is a view into @text. ERR_INVALID. */
int fdfs_id_parse(struct str text, struct fdfs_file_id *ret, struct err *e);
/* The same for what stands behind the group's slash: ret->group is "". Takes
 * a tail of 1 to 6 characters too: a slave whose prefix and extension are
 * shorter than the master's extension has one. */
int fdfs_remote_parse(struct str name, struct fdfs_file_id *ret, struct err *e);

#endif
