/* gateway/object/get.c - metadata, and bytes through the manifest.
 *
 * The hot path is one view, one seek, one decoding into the request's arena and
 * one blob_read_once(). No view is open while bytes flow: what the reader needs
 * later of a multipart object's part rows it gets with short views, and being
 * on the list of readers keeps those rows and the blobs from the collector. */
#include "gateway/object/get.h"

#include "lib/mem.h"

#define READER_MAGIC 0x4ead3e40u
#define ONCE_MAX (1u << 20) /* read in one call, without opening */

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, NULL);
}

static int
check_version(struct str version, struct err *e)
{
	if (version.len == 0 || str_eqz(version, "null"))
		return 0;
	return err_set(e, ERR_NO_SUCH_VERSION, NULL);
}

static int
find(struct kv_view *v, const struct bucket *b, struct str key, struct arena *a,
    struct rec_object *ret_rec, struct object *ret, struct err *e)
{
	struct row row;
	int rc = view_newest(v, b->incarnation, key, &row, e);

	if (rc < 0)
		return rc;
	if (!row.is_found)
		return err_set(e, ERR_NO_SUCH_KEY, NULL);
	rc = rec_object_get(row.value, a, ret_rec, e);
	if (rc < 0)
		return rc;
	if ((ret_rec->flags & REC_OBJECT_DELETE_MARKER) != 0)
		return err_set(e, ERR_NO_SUCH_KEY, NULL);
	*ret = (struct object){ .seq = row.seq };
	ret->key = arena_str(a, key);
	if (ret->key.p == NULL)
		return no_memory(e);
	return rec_object_fill(ret_rec, true, a, ret, e);
}

int
object_head(struct store *s, const struct bucket *b, struct str key,
    struct str version, struct arena *a, struct object *ret, struct err *e)
{
	struct rec_object rec;
	struct kv_view *v;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc == 0)
		rc = check_version(version, e);
	if (rc == 0)
		rc = view_open(s, &v, e);
	if (rc < 0)
		return rc;
	rc = find(v, b, key, a, &rec, ret, e);
	kv_view_close(&v);
	return rc;
}

static int
load_parts(struct object_reader *r, const Rec__Manifest *m, struct err *e)
{
	size_t i;

	r->n_parts = m->n_numbers;
	r->numbers = m->numbers;
	r->starts = arena_alloc(r->a, (r->n_parts + 1) * sizeof(*r->starts));
	if (r->starts == NULL)
		return no_memory(e);
	r->starts[0] = 0;
	for (i = 0; i < r->n_parts; i++)
		r->starts[i + 1] = r->starts[i] + m->sizes[i];
	if (r->starts[r->n_parts] != r->size)
		return err_set(e, ERR_CORRUPT, "sizes of parts");
	return 0;
}

static int
load_manifest(struct object_reader *r, struct kv_view *v,
    const struct rec_object *o, struct err *e)
{
	Rec__Manifest *m;
	struct str value;
	uint32_t refs;
	struct key k;
	int rc;

	r->x_end = r->size;
	if ((o->flags & REC_OBJECT_SHARED) == 0)
		return rec_object_extents(o, r->a, &r->x, e);
	r->is_shared = true;
	rc = rec_object_manifest_id(o, &r->manifest_id, e);
	if (rc < 0)
		return rc;
	key_manifest(&k, &r->manifest_id);
	rc = kv_view_get(v, key_str(&k), &value, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_CORRUPT, "manifest row missing");
	if (rc == 0)
		rc = rec_manifest_get(value, r->a, &refs, &m, e);
	if (rc < 0)
		return rc;
	if (m->n_numbers == 0)
		return rec_extents_fill(r->a, m->extents, m->n_extents, NULL,
		    &r->x, e);
	r->x_end = 0; /* none loaded */
	return load_parts(r, m, e);
}

int
object_open(struct store *s, const struct bucket *b, struct str key,
    struct str version, struct arena *a, struct object *ret,
    struct object_reader **ret_r, struct err *e)
{
	struct id128 held = { { 0 } };
	struct object_reader *r;
	struct rec_object rec;
	struct kv_view *v;
	int rc;

	OBJ_CHECK(s, STORE_MAGIC);
	rc = check_object_key(key, e);
	if (rc == 0)
		rc = check_version(version, e);
	if (rc < 0)
		return rc;
	r = arena_zalloc(a, sizeof(*r));
	if (r == NULL)
		return no_memory(e);
	r->magic = READER_MAGIC;
	r->s = s;
	r->a = a;
	reader_begin(s, &r->link); /* S1: before the view */
	rc = view_open(s, &v, e);
	if (rc < 0)
		goto out_reader;
	rc = find(v, b, key, a, &rec, ret, e);
	if (rc == 0) {
		r->incarnation = b->incarnation;
		r->key = ret->key;
		r->seq = ret->seq;
		r->size = ret->size;
		r->write_id = rec.write_id;
		rc = load_manifest(r, v, &rec, e);
	}
	kv_view_close(&v);
	if (rc < 0)
		goto out_reader;
	if (r->n_parts > 0)
		held = r->manifest_id;
	else if (r->x.n > 0)
		held = r->x.e[0].write_id;
	reader_holds(s, &r->link, &held); /* S1 */
	*ret_r = r;
	return 0;
out_reader:
	reader_end(s, &r->link);
	r->magic = 0;
	return rc;
}

void
object_close(struct object_reader **rp)
{
	struct object_reader *r = *rp;

	if (r == NULL)
		return;
	OBJ_CHECK(r, READER_MAGIC);
	*rp = NULL;
	blob_file_close(&r->file);
	reader_end(r->s, &r->link);
	arena_free(&r->part_arena);
	r->magic = 0;
}

/* --- finding the extent --- */

/* A short view of one part's row. */
static int
reader_part(struct object_reader *r, size_t i, struct arena *a,
    struct rec_part *ret, struct err *e)
{
	struct kv_view *v;
	struct str value;
	struct key k;
	int rc = view_open(r->s, &v, e);

	if (rc < 0)
		return rc;
	key_part(&k, &r->manifest_id, r->numbers[i]);
	rc = kv_view_get(v, key_str(&k), &value, e);
	if (rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_CORRUPT, "part row missing");
	if (rc == 0)
		rc = rec_part_get(value, a, ret, e);
	kv_view_close(&v);
	if (rc == 0 && ret->size != r->starts[i + 1] - r->starts[i])
		rc = err_set(e, ERR_CORRUPT, "size of a part");
	return rc;
}

static size_t
part_at(const struct object_reader *r, uint64_t off)
{
	size_t low = 0, high = r->n_parts;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (r->starts[mid] <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The extents that hold @off (below the size). */
static int
load_span(struct object_reader *r, uint64_t off, struct err *e)
{
	struct rec_part p;
	size_t i;
	int rc;

	if (off >= r->x_start && off < r->x_end)
		return 0;
	MUST(r->n_parts > 0);
	blob_file_close(&r->file);
	r->x_start = r->x_end = 0;
	r->x.n = 0;
	if (r->part_arena == NULL)
		r->part_arena = arena_new(SCRATCH_MAX);
	if (r->part_arena == NULL)
		return no_memory(e);
	arena_reset(r->part_arena);
	i = part_at(r, off);
	rc = reader_part(r, i, r->part_arena, &p, e);
	if (rc < 0)
		return rc;
	r->x = p.x;
	r->x_start = r->starts[i];
	r->x_end = r->starts[i + 1];
	r->i = 0;
	r->i_start = r->x_start;
	return 0;
}

static int
locate(struct object_reader *r, uint64_t off, struct err *e)
{
	size_t before;
	int rc = load_span(r, off, e);

	if (rc < 0)
		return rc;
	before = r->i;
	if (off < r->i_start) {
		r->i = 0;
		r->i_start = r->x_start;
	}
	while (r->i < r->x.n && off - r->i_start >= r->x.e[r->i].len)
		r->i_start += r->x.e[r->i++].len;
	if (r->i != before)
		blob_file_close(&r->file);
	if (r->i == r->x.n)
		return err_set(e, ERR_CORRUPT, "manifest ends before its size");
	return 0;
}

static int
missing(struct object_reader *r, int rc, struct err *e)
{
	/* Never a 404: the record says that they are there. */
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_CORRUPT, "bytes missing: blob " STR_FMT,
		    STR_ARG(r->x.e[r->i].id));
	return rc;
}

int
object_read(struct object_reader *r, uint64_t off, void *p, size_t len,
    size_t *ret_len, struct err *e)
{
	size_t done = 0;

	OBJ_CHECK(r, READER_MAGIC);
	if (off >= r->size)
		len = 0;
	else if (len > r->size - off)
		len = (size_t)(r->size - off);
	while (done < len) {
		const struct extent *x;
		uint64_t at;
		size_t n = len - done, got = 0;
		int rc = locate(r, off + done, e);

		if (rc < 0)
			return rc;
		x = &r->x.e[r->i];
		at = off + done - r->i_start;
		if (n > x->len - at)
			n = (size_t)(x->len - at);
		/* All of it now: no handle is worth keeping. */
		if (r->file == NULL && n <= ONCE_MAX && at + n == x->len) {
			rc = blob_read_once(r->s->blob, x->id, x->off + at,
			    (char *)p + done, n, &got, e);
		} else {
			if (r->file == NULL)
				rc = blob_open(r->s->blob, x->id, &r->file, e);
			if (rc == 0)
				rc = blob_read(r->file, x->off + at,
				    (char *)p + done, n, &got, e);
		}
		if (rc < 0)
			return missing(r, rc, e);
		if (got != n)
			return err_set(e, ERR_CORRUPT,
			    "blob " STR_FMT " is too short", STR_ARG(x->id));
		done += n;
	}
	*ret_len = done;
	return 0;
}

/* The one extent of it, or NULL: not whole in one, or not now. */
static const struct extent *
only_extent(struct object_reader *r)
{
	return r->n_parts == 0 && r->x.n == 1 && r->x.e[0].len == r->size
	           ? &r->x.e[0]
	           : NULL;
}

bool
object_may_read_later(struct object_reader *r)
{
	OBJ_CHECK(r, READER_MAGIC);
	return r->size <= OBJECT_LATER_MAX && only_extent(r) != NULL &&
	       blob_may_read_later(r->s->blob);
}

bool
object_read_later(struct object_reader *r, void *p, struct blob_later *l)
{
	const struct extent *x = only_extent(r);

	OBJ_CHECK(r, READER_MAGIC);
	return x != NULL &&
	       blob_read_later(r->s->blob, x->id, x->off, p, (size_t)x->len, l);
}

int
reader_extents(struct object_reader *r, uint64_t off, uint64_t len,
    struct arena *a, struct extents *ret, struct err *e)
{
	size_t n = 0, size = 0;
	struct extent *out = NULL;

	while (len > 0) {
		struct extent x;
		uint64_t at;
		int rc = locate(r, off, e);

		if (rc < 0)
			return rc;
		x = r->x.e[r->i];
		at = off - r->i_start;
		x.off += at;
		x.len -= at;
		if (x.len > len)
			x.len = len;
		x.id = arena_str(a, x.id); /* part_arena is reset */
		if (n == size) {
			size_t bigger = size == 0 ? 4 : size * 2;
			struct extent *q = arena_alloc(a, bigger * sizeof(*q));

			if (q == NULL)
				return no_memory(e);
			if (n > 0)
				memcpy(q, out, n * sizeof(*q));
			out = q;
			size = bigger;
		}
		if (x.id.p == NULL)
			return no_memory(e);
		out[n++] = x;
		off += x.len;
		len -= x.len;
	}
	*ret = (struct extents){ out, n };
	return 0;
}

static struct object_part
make_part(const struct object_reader *r, size_t i, const struct rec_part *p)
{
	return (struct object_part){ .number = r->numbers[i],
		.off = r->starts[i],
		.size = p->size,
		.etag = p->etag,
		.mtime_ns = p->mtime_ns,
		.checksum = p->checksum };
}

int
object_part(struct object_reader *r, uint32_t number, struct arena *a,
    struct object_part *ret, size_t *ret_n, struct err *e)
{
	struct rec_part p;
	size_t i;
	int rc;

	OBJ_CHECK(r, READER_MAGIC);
	*ret_n = r->n_parts;
	if (r->n_parts == 0)
		return 0;
	for (i = 0; i < r->n_parts && r->numbers[i] != number; i++)
		;
	if (i == r->n_parts)
		return err_set(e, ERR_INVALID_PART_NUMBER, NULL);
	rc = reader_part(r, i, a, &p, e);
	if (rc == 0)
		*ret = make_part(r, i, &p);
	return rc;
}

/* In one view; what a row decodes to is large against what is asked for. */
static int
read_parts(struct object_reader *r, struct kv_view *v, struct arena *scratch,
    struct arena *a, struct object_part *out, struct err *e)
{
	struct rec_part p;
	struct str value;
	struct key k;
	size_t i;
	int rc = 0;

	for (i = 0; i < r->n_parts && rc == 0; i++) {
		arena_reset(scratch);
		key_part(&k, &r->manifest_id, r->numbers[i]);
		rc = kv_view_get(v, key_str(&k), &value, e);
		if (rc == ERR_NOT_FOUND)
			rc = err_set(e, ERR_CORRUPT, "part row missing");
		if (rc == 0)
			rc = rec_part_get(value, scratch, &p, e);
		if (rc < 0)
			break;
		out[i] = make_part(r, i, &p);
		out[i].etag = arena_str(a, p.etag);
		if (out[i].etag.p == NULL)
			rc = no_memory(e);
	}
	return rc;
}

int
object_parts(struct object_reader *r, struct arena *a, struct object_part **ret,
    size_t *ret_n, struct err *e)
{
	struct arena *scratch = NULL;
	struct object_part *out;
	struct kv_view *v = NULL;
	int rc = 0;

	OBJ_CHECK(r, READER_MAGIC);
	out = arena_zalloc(a, r->n_parts * sizeof(*out));
	if (out == NULL)
		return no_memory(e);
	if (r->n_parts > 0) {
		scratch = arena_new(SCRATCH_MAX);
		if (scratch == NULL)
			return no_memory(e);
		rc = view_open(r->s, &v, e);
		if (rc == 0)
			rc = read_parts(r, v, scratch, a, out, e);
		kv_view_close(&v);
		arena_free(&scratch);
	}
	if (rc < 0)
		return rc;
	*ret = out;
	*ret_n = r->n_parts;
	return 0;
}
