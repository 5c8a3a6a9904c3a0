/* What a storage node parses besides FastDFS's protocol: lists of segments,
 * messages of gateways, headers and queries of file URLs. The first byte chooses.
 * A list that decodes holds its invariants, takes a change, and encodes to one
 * that decodes. LINK: creel_storage creel_files creel_cluster */
#include "cluster/store_ops.h"
#include "lib/mem.h"
#include "storage/files/list.h"
#include "storage/server/url.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CHECK(x) ((x) ? (void)0 : abort())

static uint64_t
sum(const struct list *l)
{
	uint64_t n = 0;

	for (size_t i = 0; i < l->n_ext; i++) {
		const struct list_extent *x = &l->ext[i];

		CHECK(x->len > 0);
		if (x->kind == LIST_BYTES)
			CHECK(x->off + x->len <= l->bytes.len);
		else if (x->kind == LIST_SEGMENT)
			CHECK(x->seg < l->n_segs &&
			      x->off + x->len <= l->segs[x->seg].size);
		n += x->len;
	}
	return n;
}

static void
fuzz_list(struct str in)
{
	struct list_piece p = { LIST_BYTES, 3, STR_LIT("abc"), NULL, 0 };
	struct buf b = BUF_CAP(1 << 24);
	struct err e = ERR_INIT;
	struct list l, m;
	size_t first, n;
	uint32_t crc;

	if (list_decode(in, &l, &e) < 0)
		return;
	CHECK(sum(&l) == l.size);
	(void)list_crc32(&l, &crc);
	(void)list_plan(&l, &first, &n);
	if (list_plan_short(&l, 4, &first, &n))
		CHECK(first + n <= l.n_ext && n > 1);
	list_note_change(&l, 7, 1);
	if (list_splice(&l, l.size / 2, l.size / 4, &p, &e) == 0) {
		CHECK(sum(&l) == l.size);
		CHECK(list_encode(&l, &b, &e) == 0);
		CHECK(list_decode(buf_str(&b), &m, &e) == 0);
		CHECK(m.size == l.size && list_has_change(&m, 7));
		list_fini(&m);
	}
	list_fini(&l);
	buf_fini(&b);
}

static void
fuzz_messages(struct str in)
{
	union {
		struct sop_file file;
		struct sop_store store;
		struct sop_stream stream;
		struct sop_read read;
		struct sop_stat stat;
		struct sop_delete delete;
		struct sop_each each;
		struct sop_page page;
		struct sop_word word;
		struct sop_fence fence;
		struct sop_found found;
		struct sop_status status;
		enum sop_tidy tidy;
		struct id128 id;
	} x;
	struct unpack u = unpack_of(in);
	struct str room[16];

	(void)sop_file_unpack(&u, &x.file, NULL);
	(void)sop_store_unpack(in, &x.store, NULL);
	(void)sop_stream_unpack(in, &x.stream, NULL);
	(void)sop_read_unpack(in, &x.read, NULL);
	(void)sop_stat_unpack(in, &x.stat, NULL);
	(void)sop_delete_unpack(in, room, 16, &x.delete, NULL);
	(void)sop_find_unpack(in, &x.id, NULL);
	(void)sop_each_unpack(in, &x.each, NULL);
	(void)sop_fence_unpack(in, &x.fence, NULL);
	(void)sop_tidy_unpack(in, &x.tidy, NULL);
	(void)sop_found_unpack(in, &x.found, NULL);
	u = unpack_of(in);
	(void)sop_page_unpack(&u, &x.page, NULL);
	u = unpack_of(in);
	(void)sop_word_unpack(&u, &x.word, NULL);
	u = unpack_of(in);
	if (sop_status_unpack(&u, &x.status, NULL) == 0)
		sop_status_fini(&x.status);
}

static void
fuzz_url(struct str in)
{
	struct url_range r[URL_RANGES];
	char room[64];
	struct str v;
	int n = url_ranges(in, 1000, r);

	for (int i = 0; i < n; i++)
		CHECK(r[i].len > 0 && r[i].off + r[i].len <= 1000);
	CHECK(n <= URL_RANGES);
	(void)url_has_tag(in, STR_LIT("\"x\""), true);
	if (url_param(in, "token", room, sizeof(room), &v))
		CHECK(v.len <= sizeof(room));
	(void)url_type(in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct str in;

	if (len == 0)
		return 0;
	in = str_mem(data + 1, len - 1);
	switch (data[0] % 3) {
	case 0:
		fuzz_list(in);
		break;
	case 1:
		fuzz_messages(in);
		break;
	default:
		fuzz_url(in);
		break;
	}
	return 0;
}
