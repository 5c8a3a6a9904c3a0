/* storage/files/list.c - see storage/files/list.h. */
#include "storage/files/list.h"

#include "cluster/pack.h"
#include "lib/hash.h"
#include "lib/mem.h"

#define LIST_FORMAT 1
#define LIST_FORMAT_SUCCESSOR 2 /* with one behind it all */
#define LIST_EXTENTS_MAX 65536
#define TIER0 (16 * 1024) /* below it all sizes count as one */

void
list_init(struct list *l)
{
	*l = (struct list){ .bytes = BUF_CAP(16 * 1024 * 1024) };
}

void
list_fini(struct list *l)
{
	mem_free(&l->segs);
	mem_free(&l->ext);
	buf_fini(&l->bytes);
	list_init(l);
}

/* --- CRC32 --- */

uint32_t
list_zero_crc32(uint64_t len)
{
	uint32_t sum = 0, power = hash_crc32(0, "", 1);
	uint64_t done = 0, bit;

	for (bit = 1; bit <= len && bit != 0; bit <<= 1) {
		if (len & bit) {
			sum = done == 0 ? power
			                : hash_crc32_combine(sum, power, bit);
			done += bit;
		}
		power = hash_crc32_combine(power, power, bit);
	}
	return sum;
}

bool
list_crc32(const struct list *l, uint32_t *ret)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < l->n_ext; i++) {
		if (!l->ext[i].has_crc)
			return false;
		sum = hash_crc32_combine(sum, l->ext[i].crc32, l->ext[i].len);
	}
	*ret = sum;
	return true;
}

/* --- building --- */

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, NULL);
}

/* G2: whether @x continues @last. */
static bool
is_next(const struct list_extent *last, const struct list_extent *x)
{
	if (last->kind != x->kind)
		return false;
	if (x->kind == LIST_HOLE)
		return true;
	return last->off + last->len == x->off &&
	       (x->kind == LIST_BYTES || last->seg == x->seg);
}

static int
push(struct list *l, const struct list_extent *x, struct err *e)
{
	struct list_extent *last = l->n_ext > 0 ? &l->ext[l->n_ext - 1] : NULL;
	struct list_extent *more;
	size_t room;

	if (x->len == 0)
		return 0;
	if (last != NULL && is_next(last, x)) {
		last->has_crc = last->has_crc && x->has_crc;
		if (last->has_crc)
			last->crc32 =
			    hash_crc32_combine(last->crc32, x->crc32, x->len);
		last->len += x->len;
		return 0;
	}
	if (l->n_ext == l->ext_room) {
		room = l->ext_room == 0 ? 8 : l->ext_room * 2;
		more = mem_realloc(l->ext, room * sizeof(*more));
		if (more == NULL)
			return no_memory(e);
		l->ext = more;
		l->ext_room = room;
	}
	l->ext[l->n_ext++] = *x;
	return 0;
}

/* Bytes from @from to @to of extent @x of @l, as an extent. */
static struct list_extent
slice(const struct list *l, const struct list_extent *x, uint64_t from,
    uint64_t to)
{
	struct list_extent s = *x;

	if (from == 0 && to == x->len)
		return s;
	s.len = to - from;
	s.has_crc = false;
	if (x->kind != LIST_HOLE)
		s.off += from;
	if (s.len == 0)
		return s;
	if (x->kind == LIST_HOLE) {
		s.crc32 = list_zero_crc32(s.len);
		s.has_crc = true;
	} else if (x->kind == LIST_BYTES) {
		s.crc32 = hash_crc32(0, l->bytes.p + s.off, (size_t)s.len);
		s.has_crc = true;
	}
	return s;
}

/* The part of @old from @from to @to onto @l, which shares its bytes. */
static int
push_range(struct list *l, const struct list_extent *old, size_t n,
    uint64_t from, uint64_t to, struct err *e)
{
	uint64_t at = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; at += old[i].len, i++) {
		uint64_t a = from > at ? from - at : 0;
		uint64_t b = to > at ? to - at : 0;
		struct list_extent s;

		if (b > old[i].len)
			b = old[i].len;
		if (a >= b)
			continue;
		s = slice(l, &old[i], a, b);
		rc = push(l, &s, e);
	}
	return rc;
}

static int
add_seg(struct list *l, const char *id, uint64_t size, uint32_t *ret,
    struct err *e)
{
	struct list_seg *more;
	size_t len = strlen(id), room;

	MUST(len < LIST_ID);
	if (l->n_segs == l->segs_room) {
		room = l->segs_room == 0 ? 8 : l->segs_room * 2;
		more = mem_realloc(l->segs, room * sizeof(*more));
		if (more == NULL)
			return no_memory(e);
		l->segs = more;
		l->segs_room = room;
	}
	l->segs[l->n_segs].size = size;
	memcpy(l->segs[l->n_segs].id, id, len + 1);
	*ret = (uint32_t)l->n_segs++;
	return 0;
}

static int
piece_extent(struct list *l, const struct list_piece *p,
    struct list_extent *ret, struct err *e)
{
	*ret = (struct list_extent){ .kind = p->kind,
		.len = p->len,
		.has_crc = true,
		.crc32 = p->crc32 };
	switch (p->kind) {
	case LIST_HOLE:
		ret->crc32 = list_zero_crc32(p->len);
		return 0;
	case LIST_SEGMENT:
		return add_seg(l, p->id, p->len, &ret->seg, e);
	default:
		MUST(p->kind == LIST_BYTES && p->bytes.len == p->len);
		ret->crc32 = hash_crc32(0, p->bytes.p, p->bytes.len);
		ret->off = l->bytes.len;
		if (buf_adds(&l->bytes, p->bytes) < 0)
			return err_set(e, ERR_TOO_BIG, "list of segments");
		return 0;
	}
}

int
list_splice(struct list *l, uint64_t off, uint64_t cut,
    const struct list_piece *p, struct err *e)
{
	struct list_extent *old = l->ext, x;
	size_t n = l->n_ext;
	uint64_t size = l->size;
	int rc;

	MUST(off <= size && cut <= size - off);
	if (p->len > (uint64_t)INT64_MAX - (size - cut))
		return err_set(e, ERR_INVALID, "a file of over 2^63 bytes");
	l->ext = NULL;
	l->n_ext = l->ext_room = 0;
	rc = push_range(l, old, n, 0, off, e);
	if (rc == 0 && p->kind != 0 && p->len > 0) {
		rc = piece_extent(l, p, &x, e);
		if (rc == 0)
			rc = push(l, &x, e);
	}
	if (rc == 0)
		rc = push_range(l, old, n, off + cut, size, e);
	free(old);
	if (rc == 0)
		l->size = size - cut + (p->kind != 0 ? p->len : 0);
	return rc;
}

int
list_replace(struct list *l, size_t first, size_t n, const char *id,
    uint32_t crc32, struct err *e)
{
	uint64_t off = 0, len = 0;
	struct list_piece p = { .kind = LIST_SEGMENT,
		.id = id,
		.crc32 = crc32 };

	MUST(first + n <= l->n_ext);
	for (size_t i = 0; i < first; i++)
		off += l->ext[i].len;
	for (size_t i = first; i < first + n; i++)
		len += l->ext[i].len;
	p.len = len;
	return list_splice(l, off, len, &p, e);
}

int
list_spill(struct list *l, const char *id, struct err *e)
{
	uint32_t seg;
	int rc = add_seg(l, id, l->bytes.len, &seg, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < l->n_ext; i++)
		if (l->ext[i].kind == LIST_BYTES) {
			l->ext[i].kind = LIST_SEGMENT;
			l->ext[i].seg = seg;
		}
	buf_reset(&l->bytes);
	return 0;
}

void
list_note_change(struct list *l, uint64_t change, int64_t now_s)
{
	size_t n = 1, old = l->n_recent;

	/* A clock that was set makes some older or younger than they are. */
	while (n <= old && n < LIST_RECENT &&
	       now_s - l->recent[n - 1].at_s <= LIST_RECENT_S)
		n++;
	memmove(&l->recent[1], &l->recent[0], (n - 1) * sizeof(l->recent[0]));
	l->recent[0] = (struct list_change){ change, now_s };
	l->n_recent = n;
	l->modified_s = now_s;
}

bool
list_has_change(const struct list *l, uint64_t change)
{
	for (size_t i = 0; i < l->n_recent; i++)
		if (l->recent[i].id == change)
			return true;
	return false;
}

/* --- merging --- */

/* 0 below TIER0, then one more for each factor LIST_TIER. */
static unsigned
tier(uint64_t len)
{
	unsigned t = 0;

	for (; len >= TIER0 && t < 32; len /= LIST_TIER)
		t++;
	return t;
}

static uint64_t
merge_max(const struct list *l)
{
	return l->size / 256 > LIST_MERGE_MAX ? l->size / 256 : LIST_MERGE_MAX;
}

bool
list_plan(const struct list *l, size_t *ret_first, size_t *ret_n)
{
	size_t end = l->n_ext, first;
	uint64_t sum = 0;
	unsigned t;

	/* What lies in the list itself grows there first. */
	while (end > 0 && l->ext[end - 1].kind != LIST_SEGMENT)
		end--;
	if (end == 0)
		return false;
	t = tier(l->ext[end - 1].len);
	for (first = end; first > 0; first--) {
		const struct list_extent *x = &l->ext[first - 1];

		if (x->kind == LIST_HOLE || tier(x->len) > t ||
		    sum + x->len > merge_max(l))
			break;
		sum += x->len;
	}
	if (end - first < LIST_TIER)
		return false;
	*ret_first = first;
	*ret_n = end - first;
	return true;
}

/* Runs of neighbours with at most @max bytes together. How many extents are
 * left; the last run of two or more in *ret_first, *ret_n (0: none). */
static size_t
runs(const struct list *l, uint64_t max, size_t *ret_first, size_t *ret_n)
{
	size_t left = 0, i = 0;

	*ret_first = *ret_n = 0;
	while (i < l->n_ext) {
		uint64_t sum = l->ext[i].len;
		size_t first = i++;

		while (i < l->n_ext && l->ext[i].len <= max &&
		       sum <= max - l->ext[i].len)
			sum += l->ext[i++].len;
		left++;
		if (i - first > 1) {
			*ret_first = first;
			*ret_n = i - first;
		}
	}
	return left;
}

bool
list_plan_short(const struct list *l, size_t max, size_t *ret_first,
    size_t *ret_n)
{
	uint64_t size = TIER0;

	if (l->n_ext <= max)
		return false;
	/* A quarter less, so that it is some while until the next time. */
	while (runs(l, size, ret_first, ret_n) > max / 4 * 3 &&
	       size <= UINT64_MAX / 4)
		size *= 2;
	return *ret_n > 1;
}

size_t
list_find(const struct list *l, uint64_t off, uint64_t *ret_in)
{
	size_t i;

	MUST(off < l->size);
	for (i = 0; off >= l->ext[i].len; i++)
		off -= l->ext[i].len;
	*ret_in = off;
	return i;
}

bool
list_names(const struct list *l, struct str id)
{
	for (size_t i = 0; i < l->n_segs; i++)
		if (str_eqz(id, l->segs[i].id))
			return true;
	return false;
}

/* --- the record --- */

/* Which segments are named, and their numbers in the record. */
static uint32_t
number_segs(const struct list *l, uint32_t *number)
{
	uint32_t n = 0;

	for (size_t i = 0; i < l->n_segs; i++)
		number[i] = UINT32_MAX;
	for (size_t i = 0; i < l->n_ext; i++)
		if (l->ext[i].kind == LIST_SEGMENT &&
		    number[l->ext[i].seg] == UINT32_MAX)
			number[l->ext[i].seg] = n++;
	return n;
}

static int
encode_segs(const struct list *l, const uint32_t *number, uint32_t n,
    struct buf *b)
{
	int rc = pack_u32(b, n);

	/* In the order of their numbers. */
	for (uint32_t want = 0; rc == 0 && want < n; want++)
		for (size_t i = 0; i < l->n_segs; i++)
			if (number[i] == want) {
				rc = pack_str(b, str_of(l->segs[i].id));
				if (rc == 0)
					rc = pack_u64(b, l->segs[i].size);
				break;
			}
	return rc;
}

static int
encode_extents(const struct list *l, const uint32_t *number, struct buf *b)
{
	uint64_t at = 0;
	int rc = pack_u32(b, (uint32_t)l->n_ext);

	for (size_t i = 0; rc == 0 && i < l->n_ext; i++) {
		const struct list_extent *x = &l->ext[i];

		rc = pack_u8(b, (uint8_t)(x->kind | (x->has_crc ? 0x80 : 0)));
		if (rc == 0)
			rc = pack_u64(b, x->len);
		if (rc == 0 && x->has_crc)
			rc = pack_u32(b, x->crc32);
		if (rc == 0 && x->kind == LIST_SEGMENT) {
			rc = pack_u32(b, number[x->seg]);
			if (rc == 0)
				rc = pack_u64(b, x->off);
		}
		if (x->kind == LIST_BYTES)
			at += x->len;
	}
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)at);
	for (size_t i = 0; rc == 0 && i < l->n_ext; i++)
		if (l->ext[i].kind == LIST_BYTES)
			rc = buf_add(b, l->bytes.p + l->ext[i].off,
			    (size_t)l->ext[i].len);
	return rc;
}

int
list_encode(const struct list *l, struct buf *b, struct err *e)
{
	uint32_t *number =
	    mem_alloc((l->n_segs > 0 ? l->n_segs : 1) * sizeof(*number));
	bool has_successor = l->successor[0] != '\0';
	int rc = number == NULL
	             ? ERR_NO_MEMORY
	             : pack_u8(b,
			   has_successor ? LIST_FORMAT_SUCCESSOR : LIST_FORMAT);

	if (rc == 0)
		rc = pack_u64(b, l->size);
	if (rc == 0)
		rc = pack_u64(b, (uint64_t)l->created_s);
	if (rc == 0)
		rc = pack_u64(b, (uint64_t)l->modified_s);
	if (rc == 0)
		rc = pack_u32(b, (uint32_t)l->n_recent);
	for (size_t i = 0; rc == 0 && i < l->n_recent; i++) {
		rc = pack_u64(b, l->recent[i].id);
		if (rc == 0)
			rc = pack_u64(b, (uint64_t)l->recent[i].at_s);
	}
	if (rc == 0)
		rc = encode_segs(l, number, number_segs(l, number), b);
	if (rc == 0)
		rc = encode_extents(l, number, b);
	if (rc == 0 && has_successor)
		rc = pack_str(b, str_of(l->successor));
	mem_free(&number);
	return rc < 0 ? err_set(e, rc, "list of segments") : 0;
}

static int
corrupt(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "list of segments: %s", what);
}

static int
decode_segs(struct unpack *u, struct list *l, struct err *e)
{
	uint32_t n = unpack_u32(u), seg;
	char id[LIST_ID];
	int rc = 0;

	if (u->is_bad || n > LIST_EXTENTS_MAX)
		return corrupt(e, "number of segments");
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct str s = unpack_str(u, LIST_ID - 1);
		uint64_t size = unpack_u64(u);

		if (u->is_bad || s.len == 0 || memchr(s.p, '\0', s.len) != NULL)
			return corrupt(e, "name of a segment");
		memcpy(id, s.p, s.len);
		id[s.len] = '\0';
		rc = add_seg(l, id, size, &seg, e);
	}
	return rc;
}

static int
decode_extent(struct unpack *u, struct list *l, uint64_t *bytes, struct err *e)
{
	struct list_extent x = { 0 };
	uint8_t kind = unpack_u8(u);

	x.kind = kind & 0x7f;
	x.has_crc = kind & 0x80;
	x.len = unpack_u64(u);
	if (x.has_crc)
		x.crc32 = unpack_u32(u);
	if (x.kind == LIST_SEGMENT) {
		x.seg = unpack_u32(u);
		x.off = unpack_u64(u);
	}
	if (u->is_bad || x.kind < LIST_BYTES || x.kind > LIST_HOLE ||
	    x.len == 0 || x.len > (uint64_t)INT64_MAX - l->size)
		return corrupt(e, "an extent");
	if (x.kind == LIST_SEGMENT &&
	    (x.seg >= l->n_segs || x.off > l->segs[x.seg].size ||
		x.len > l->segs[x.seg].size - x.off))
		return corrupt(e, "an extent past its segment");
	if (x.kind == LIST_BYTES) {
		x.off = *bytes;
		*bytes += x.len;
	}
	l->size += x.len;
	return push(l, &x, e);
}

/* Seconds since 1970, to the end of the year 9999: differences of two fit. */
static int64_t
decode_time(struct unpack *u)
{
	uint64_t t = unpack_u64(u);

	if (t > 253402300799)
		u->is_bad = true;
	return u->is_bad ? 0 : (int64_t)t;
}

static int
decode_body(struct unpack *u, struct list *l, struct err *e)
{
	uint64_t size = unpack_u64(u), bytes = 0;
	struct str s;
	uint32_t n;
	int rc;

	l->created_s = decode_time(u);
	l->modified_s = decode_time(u);
	l->n_recent = unpack_u32(u);
	if (u->is_bad || l->n_recent > LIST_RECENT)
		return corrupt(e, "times, or number of changes");
	for (size_t i = 0; i < l->n_recent; i++) {
		l->recent[i].id = unpack_u64(u);
		l->recent[i].at_s = decode_time(u);
	}
	rc = decode_segs(u, l, e);
	if (rc < 0)
		return rc;
	n = unpack_u32(u);
	if (u->is_bad || n > LIST_EXTENTS_MAX)
		return corrupt(e, "number of extents");
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = decode_extent(u, l, &bytes, e);
	if (rc < 0)
		return rc;
	s = unpack_str(u, UINT32_MAX);
	if (u->is_bad || s.len != bytes || l->size != size)
		return corrupt(e, "sizes do not add up");
	return buf_adds(&l->bytes, s) < 0 ? no_memory(e) : 0;
}

static int
decode_successor(struct unpack *u, struct list *l, struct err *e)
{
	struct str s = unpack_str(u, LIST_ID - 1);

	if (u->is_bad || s.len == 0 || memchr(s.p, '\0', s.len) != NULL)
		return corrupt(e, "name of its successor");
	memcpy(l->successor, s.p, s.len);
	l->successor[s.len] = '\0';
	return 0;
}

int
list_decode(struct str record, struct list *ret, struct err *e)
{
	struct unpack u = unpack_of(record);
	uint8_t format = unpack_u8(&u);
	struct list l;
	int rc;

	list_init(&l);
	if (format != LIST_FORMAT && format != LIST_FORMAT_SUCCESSOR)
		rc = u.is_bad ? corrupt(e, "empty")
		              : err_set(e, ERR_VERSION,
				    "list of segments of a newer version");
	else
		rc = decode_body(&u, &l, e);
	if (rc == 0 && format == LIST_FORMAT_SUCCESSOR)
		rc = decode_successor(&u, &l, e);
	if (rc < 0) {
		list_fini(&l);
		return rc;
	}
	*ret = l;
	return 0;
}
