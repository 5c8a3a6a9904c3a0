/* gateway/object/share.h - one more reference to a source's manifest. */
#ifndef GATEWAY_OBJECT_SHARE_H
#define GATEWAY_OBJECT_SHARE_H

#include "gateway/object/get.h"

struct share {
	const struct object_reader *src;
	struct id128 id; /* of the manifest, shared from now on */
	/* outcome of share_read() */
	bool is_gone;
	bool is_inline; /* the source's manifest becomes a row */
	struct key src_key;
	struct str src_value, manifest_value;
};

void share_init(struct share *h, const struct object_reader *src);
/* O3: adds a reference to @refs, or prepares the row. Sets is_gone and fails
 * with ERR_NOT_FOUND when the source is not what was opened any more. */
int share_read(struct txn *t, struct share *h, struct refs *refs,
    struct err *e);
int share_write(struct txn *t, const struct share *h, struct err *e);

#endif
