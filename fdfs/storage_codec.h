/* fdfs/storage_codec.h - requests and answers of a storage server.
 *
 * Texts of a decoded request or answer are views into what was decoded. A
 * request is encoded with its header, ready to be sent; an answer without,
 * since its header belongs to the server loop.
 * C1  What decodes, encodes again to a request that decodes to the same.
 * C2  A decoder accepts no name that fdfs_name_is_valid() refuses, no group
 *     or extension outside of its characters, no length below 0.
 * Reference: FastDFS 6.16.1, docs/FASTDFS.md. Threads: any. */
#ifndef FDFS_STORAGE_CODEC_H
#define FDFS_STORAGE_CODEC_H

#include "fdfs/name.h"

#define FDFS_ANY_PATH 0xff /* UPLOAD: the storage chooses */
/* FILE_INFO's flags, in the request's status byte. */
#define FDFS_INFO_NO_CRC 1 /* need not be calculated */
#define FDFS_INFO_SILENT 2 /* do not log that it is missing */

/* One for all commands: each uses some of it, the rest is 0. */
struct fdfs_storage_req {
	uint8_t command;
	uint8_t flags;     /* FILE_INFO */
	uint8_t path;      /* UPLOAD, UPLOAD_APPENDER: 0..127 or ANY_PATH */
	char meta_flag;    /* SET_META: 'O' overwrites, 'M' merges */
	struct str group;  /* DELETE DOWNLOAD *_META FILE_INFO CREATE_LINK */
	struct str name;   /* the master's in UPLOAD_SLAVE and CREATE_LINK */
	struct str prefix; /* UPLOAD_SLAVE, CREATE_LINK */
	struct str ext;    /* UPLOAD*, CREATE_LINK */
	uint64_t size;     /* of the content; TRUNCATE: the new size */
	uint64_t offset;   /* DOWNLOAD, MODIFY */
	uint64_t bytes;    /* DOWNLOAD: 0 is "to the end" */
	struct str meta;   /* SET_META, as on the wire */
	struct str source, signature; /* CREATE_LINK */
};

/* Header and head; the @r->size bytes of content follow. ERR_INVALID for what
 * the protocol cannot carry, ERR_TOO_BIG, ERR_NO_MEMORY. */
int fdfs_storage_req_encode(const struct fdfs_storage_req *r, struct buf *b,
    struct err *e);
/* @head is what fdfs_head_len() calls so of the body of @h. ERR_INVALID;
 * ERR_NOT_IMPLEMENTED for a command that is no storage's. */
int fdfs_storage_req_decode(const struct fdfs_header *h, struct str head,
    struct fdfs_storage_req *ret, struct err *e);

/* UPLOAD*, REGENERATE, CREATE_LINK: the new file. */
int fdfs_file_answer_encode(struct str group, struct str name, struct buf *b,
    struct err *e);
int fdfs_file_answer_decode(struct str body, struct str *ret_group,
    struct str *ret_name, struct err *e);

/* FILE_INFO */
struct fdfs_info {
	uint64_t size;
	uint64_t time; /* unix seconds */
	uint32_t crc32;
	char ip[FDFS_IP_MAX + 1]; /* source server; "" when unknown */
};
int fdfs_info_encode(const struct fdfs_info *info, enum fdfs_form form,
    struct buf *b, struct err *e);
int fdfs_info_decode(struct str body, struct fdfs_info *ret, struct err *e);

#endif
