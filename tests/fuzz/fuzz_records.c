/* tests/fuzz/fuzz_records.c - decoding of index values and keys: any bytes.
 * LINK: creel_object creel_index creel_blob creel_lib
 * The first byte chooses the decoder. What decodes is encoded again. */
#include "gateway/object/collect.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);

static void
other_messages(struct str v, struct arena *a, struct err *e)
{
	const ProtobufCMessageDescriptor *const d[] = {
		&rec__upload__descriptor, &rec__completed__descriptor,
		&rec__counters__descriptor, &rec__user__descriptor,
		&rec__access_key__descriptor
	};
	ProtobufCMessage *m;
	struct str again;
	size_t i;

	for (i = 0; i < sizeof(d) / sizeof(d[0]); i++)
		if (rec_get(v, d[i], a, &m, e) == 0)
			MUST(rec_put(a, m, &again, e) == 0);
}

static void
keys(struct str v)
{
	uint8_t id[UPLOAD_ID_RAW];
	struct id128 of;
	struct str name;
	uint64_t n, seq;
	uint32_t number;
	struct key k;
	int64_t due;

	if (key_object_parse(v, &n, &name, &seq) &&
	    name.len <= OBJECT_KEY_MAX) {
		key_object(&k, n, name, seq);
		MUST(str_eq(key_str(&k), v));
	}
	if (key_upload_parse(v, &n, &name, id) && name.len <= OBJECT_KEY_MAX) {
		key_upload(&k, n, name, id);
		MUST(str_eq(key_str(&k), v));
	}
	(void)key_garbage_parse(v, &due, &seq);
	if (key_part_parse(v, &of, &number)) {
		key_part(&k, &of, number);
		MUST(str_eq(key_str(&k), v));
	}
}

static void
object(struct str v, struct arena *a, struct err *e)
{
	struct rec_object r;
	struct extents x;
	struct object o;
	struct str again;
	struct id128 id;

	if (rec_object_get(v, a, &r, e) < 0)
		return;
	MUST(rec_object_put(a, &r, &again, e) == 0);
	(void)rec_object_fill(&r, true, a, &o, e);
	(void)rec_object_extents(&r, a, &x, e);
	(void)rec_object_manifest_id(&r, &id, e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct arena *a = arena_new(8u << 20);
	struct err e = ERR_INIT;
	struct str v, again, payload;
	struct extents x;
	struct rec_part part;
	struct bucket b;
	Rec__Manifest *m;
	struct id128 id;
	uint32_t refs;
	uint8_t kind;
	bool has_ref;

	if (a == NULL || len == 0) {
		arena_free(&a);
		return 0;
	}
	v = str_mem(p + 1, len - 1);
	switch (p[0] % 7) {
	case 0:
		object(v, a, &e);
		break;
	case 1:
		if (rec_manifest_get(v, a, &refs, &m, &e) == 0)
			(void)rec_extents_fill(a, m->extents, m->n_extents,
			    NULL, &x, &e);
		break;
	case 2:
		if (rec_part_get(v, a, &part, &e) == 0)
			MUST(rec_part_put(a, &part, &again, &e) == 0);
		break;
	case 3:
		if (rec_garbage_get(v, &kind, &payload, &e) == 0)
			(void)garbage_extents(kind, payload, a, &x, &has_ref,
			    &id, &e);
		break;
	case 4:
		if (rec_bucket_get(v, STR_LIT("bucket"), a, &b, &e) == 0)
			MUST(rec_bucket_put(a, &b, &again, &e) == 0);
		break;
	case 5:
		other_messages(v, a, &e);
		break;
	default:
		keys(v);
	}
	arena_free(&a);
	return 0;
}
