/* gateway/object/upload.h - multipart uploads, for the files of this folder.
 *
 * The ID of an upload is the time of its creation and a random ID, which is
 * also that of the manifest its parts belong to, and the write ID of the object
 * that Complete makes of it. */
#ifndef GATEWAY_OBJECT_UPLOAD_H
#define GATEWAY_OBJECT_UPLOAD_H

#include "gateway/object/store.h"

#define PART_NUMBER_MAX 10000

struct upload_id {
	uint8_t raw[UPLOAD_ID_RAW];
};

bool upload_id_parse(struct str text, struct upload_id *ret);
struct id128 upload_manifest(const struct upload_id *id);

/* The upload is there: ERR_NO_SUCH_UPLOAD. */
int txn_upload(struct txn *t, const struct bucket *b, struct str key,
    const struct upload_id *id, struct err *e);
int upload_read(struct kv_view *v, const struct bucket *b, struct str key,
    const struct upload_id *id, struct arena *a, Rec__Upload **ret,
    struct err *e);
/* Writes: the upload's rows go, its parts are garbage. */
int txn_upload_remove(struct txn *t, uint64_t incarnation, struct str key,
    const struct upload_id *id, bool is_aborted, struct err *e);

/* Aborts it; fine when it is gone. Its bucket is known by incarnation only. */
int upload_expire(struct store *s, uint64_t incarnation, struct str key,
    const struct upload_id *id, struct err *e);

#endif
